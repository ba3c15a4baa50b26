"""Feeding: a data set in batches on a device, whether it is in memory, on disk, or made anew."""

from bp_arrays.feeding.batches import Batches
from bp_arrays.feeding.block_feed import Blocks
from bp_arrays.feeding.door import Door, ModelDoor
from bp_arrays.feeding.feed import Batch, Feed

__all__ = ["Batch", "Batches", "Blocks", "Door", "Feed", "ModelDoor"]
