"""Data sets: batches, blocks on disk, readers of common files, and two built-in data sets."""

from bp_arrays.data._array_blocks import ArrayBlocks
from bp_arrays.data._array_feed import RowFeed as RowFeed
from bp_arrays.data._batches import Batches, as_batches as as_batches
from bp_arrays.data._block_feed import BlockFeed as BlockFeed, Blocks
from bp_arrays.data._bootstrap import bootstrap_weights
from bp_arrays.data._feed import (
    Batch as Batch,
    BatchIterator as BatchIterator,
    Feed as Feed,
    Order as Order,
    Piece as Piece,
    rows_of as rows_of,
)
from bp_arrays.data._fingerprint import fingerprint as fingerprint
from bp_arrays.data._parquet_blocks import ParquetBlocks
from bp_arrays.readers import (
    BUILT_IN,
    Dataset,
    Split,
    Table,
    Task,
    open_dataset,
    read,
    read_digits,
    read_notes,
    split,
)

__all__ = [
    "BUILT_IN",
    "ArrayBlocks",
    "Batches",
    "Blocks",
    "Dataset",
    "ParquetBlocks",
    "Split",
    "Table",
    "Task",
    "bootstrap_weights",
    "open_dataset",
    "read",
    "read_digits",
    "read_notes",
    "split",
]
