"""Tables of numbers and texts: their columns, what is learned of them, their rows as numbers."""

from bp_arrays.tables._cells import (
    MISSING_WORDS,
    TRUTH,
    exact_number,
    has_comma,
    is_missing,
    is_number,
    missing_labels,
    number,
    truth,
)
from bp_arrays.tables._frame_source import FrameSource, frame_samples
from bp_arrays.tables._learning import MISSING, Learned, Missing, check_missing, learned
from bp_arrays.tables._parsers import CATEGORY_LIMIT
from bp_arrays.tables._reading import cells_like, read_cells
from bp_arrays.tables._rounded import EXACT, first_rounded, is_rounded, rounded_error
from bp_arrays.tables._rows import Cells, TableRows
from bp_arrays.tables._source import Kind, Piece, Source, column_index, first_names
from bp_arrays.tables._spec import KEY as TABLE_KEY, NumberColumn, TableSpec, TextColumn
from bp_arrays.tables._spool import Spool

__all__ = [
    "CATEGORY_LIMIT",
    "EXACT",
    "MISSING",
    "MISSING_WORDS",
    "TABLE_KEY",
    "TRUTH",
    "Cells",
    "FrameSource",
    "Kind",
    "Learned",
    "Missing",
    "NumberColumn",
    "Piece",
    "Source",
    "Spool",
    "TableRows",
    "TableSpec",
    "TextColumn",
    "cells_like",
    "check_missing",
    "column_index",
    "exact_number",
    "first_names",
    "first_rounded",
    "frame_samples",
    "has_comma",
    "is_missing",
    "is_number",
    "is_rounded",
    "learned",
    "missing_labels",
    "number",
    "read_cells",
    "rounded_error",
    "truth",
]
