"""Read files into named arrays: CSV, Parquet, IDX, .npz and .npy, and two built-in data sets."""

from bp_arrays.readers._cells import TRUTH, exact_number, missing_labels
from bp_arrays.readers._columns import column_index
from bp_arrays.readers._csv import check_separator
from bp_arrays.readers._dataset import Dataset, Task
from bp_arrays.readers._digits import read_digits
from bp_arrays.readers._notes import read_notes
from bp_arrays.readers._npz import mapped_npy
from bp_arrays.readers._open_dataset import BUILT_IN, open_dataset
from bp_arrays.readers._parquet_table import ParquetTable, parquet_files
from bp_arrays.readers._split import Split, split
from bp_arrays.readers._targets import check_present

__all__ = [
    "BUILT_IN",
    "TRUTH",
    "Dataset",
    "ParquetTable",
    "Split",
    "Task",
    "check_present",
    "check_separator",
    "column_index",
    "exact_number",
    "mapped_npy",
    "missing_labels",
    "open_dataset",
    "parquet_files",
    "read_digits",
    "read_notes",
    "split",
]
