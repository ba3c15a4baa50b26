"""Data sets: in batches, as blocks on disk, from the usual files, and two that come along."""

from bp_arrays.data.array_blocks import ArrayBlocks
from bp_arrays.data.dataset import Dataset, Task
from bp_arrays.data.digits import read_digits
from bp_arrays.data.notes import read_notes
from bp_arrays.data.opening import BUILT_IN, open_dataset
from bp_arrays.data.parquet_blocks import ParquetBlocks
from bp_arrays.data.splitting import Split, split
from bp_arrays.feeding import Batches, Blocks

__all__ = [
    "BUILT_IN",
    "ArrayBlocks",
    "Batches",
    "Blocks",
    "Dataset",
    "ParquetBlocks",
    "Split",
    "Task",
    "open_dataset",
    "read_digits",
    "read_notes",
    "split",
]
