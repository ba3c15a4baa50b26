"""File formats: convert (header, arrays) to and from safetensors, ONNX and PyTorch."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from bp_arrays.formats._architecture import classes_by_name, part_from_json, to_json
from bp_arrays.formats._checkpoint_file import (
    PREFIX,
    CheckpointContent,
    LaterVersion,
    decode_checkpoint,
    encode_checkpoint,
    packed,
    unpacked,
)
from bp_arrays.formats._header import (
    COMPUTE_DTYPES,
    LOSS_SCALING,
    MONITORED,
    STORED_AS,
    Header,
    vector_names,
)
from bp_arrays.formats._safetensors import encode, open_model_file

if TYPE_CHECKING:
    from bp_arrays.formats._onnx_model import Input, onnx_bytes
    from bp_arrays.formats._pytorch import from_module, to_module

__all__ = [
    "COMPUTE_DTYPES",
    "LOSS_SCALING",
    "MONITORED",
    "PREFIX",
    "STORED_AS",
    "CheckpointContent",
    "Header",
    "Input",
    "LaterVersion",
    "classes_by_name",
    "decode_checkpoint",
    "encode",
    "encode_checkpoint",
    "from_module",
    "onnx_bytes",
    "open_model_file",
    "packed",
    "part_from_json",
    "to_json",
    "to_module",
    "unpacked",
    "vector_names",
]

LAZY = {
    "Input": "bp_arrays.formats._onnx_model",
    "from_module": "bp_arrays.formats._pytorch",
    "onnx_bytes": "bp_arrays.formats._onnx_model",
    "to_module": "bp_arrays.formats._pytorch",
}
"""What is imported when it is first asked for: most programs convert no models."""


def __getattr__(name: str) -> Any:
    if name not in LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(LAZY[name]), name)
