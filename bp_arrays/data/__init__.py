"""Data sets: two that come with the library, and readers of the usual files."""

from bp_arrays.data.dataset import Dataset, Task
from bp_arrays.data.digits import read_digits
from bp_arrays.data.notes import read_notes
from bp_arrays.data.opening import BUILT_IN, open_dataset
from bp_arrays.data.splitting import Split, split

__all__ = [
    "BUILT_IN",
    "Dataset",
    "Split",
    "Task",
    "open_dataset",
    "read_digits",
    "read_notes",
    "split",
]
