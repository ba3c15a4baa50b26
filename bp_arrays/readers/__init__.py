"""Read files into named arrays: CSV, Parquet, IDX, .npz and .npy, and two built-in data sets."""

from bp_arrays.readers._csv import check_separator
from bp_arrays.readers._dataset import Dataset, Task
from bp_arrays.readers._digits import read_digits
from bp_arrays.readers._notes import read_notes
from bp_arrays.readers._npz import mapped_npy
from bp_arrays.readers._open_dataset import BUILT_IN, is_table, open_dataset
from bp_arrays.readers._parquet_table import ParquetTable, parquet_files
from bp_arrays.readers._split import Split, split
from bp_arrays.readers._table import Table, read, table_names
from bp_arrays.readers._targets import check_present, class_numbers
from bp_arrays.tables import TRUTH, column_index, exact_number, missing_labels

__all__ = [
    "BUILT_IN",
    "TRUTH",
    "Dataset",
    "ParquetTable",
    "Split",
    "Table",
    "Task",
    "check_present",
    "check_separator",
    "class_numbers",
    "column_index",
    "exact_number",
    "is_table",
    "mapped_npy",
    "missing_labels",
    "open_dataset",
    "parquet_files",
    "read",
    "read_digits",
    "read_notes",
    "split",
    "table_names",
]
