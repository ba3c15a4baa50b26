"""Optional dependencies: the extra that installs each, and the error if it is missing."""

from __future__ import annotations

from importlib import import_module
from typing import Literal

from bp_arrays.errors import MissingExtraError

Extra = Literal["mpi", "onnx", "parquet", "plot", "sklearn", "tensorboard", "torch"]

EXTRAS: dict[Extra, tuple[str, str]] = {
    "mpi": ("mpi4py.MPI", "training in several processes needs mpi4py and an MPI library"),
    "onnx": ("onnx", "ONNX files need onnx"),
    "parquet": ("pyarrow", "Parquet files need pyarrow"),
    "plot": ("matplotlib", "plots need Matplotlib"),
    "sklearn": ("sklearn", "MLPClassifier and MLPRegressor need scikit-learn"),
    "tensorboard": ("tensorboard", "TensorBoard's event files need tensorboard"),
    "torch": ("torch", "to_torch needs PyTorch"),
}
"""For each extra, the package that must be importable, and the reason for the message."""

NO_EXTRA = ("torch",)
"""Packages installed by their own name: no extra of this library brings them."""


def require_extra(extra: Extra) -> None:
    """Raise MissingExtraError, with the command that installs it, unless the package is there.

    Raises
    ------
    MissingExtraError
        If the package cannot be imported.
    """
    package, reason = EXTRAS[extra]
    try:
        import_module(package)
    except ImportError as error:
        requirement = extra if extra in NO_EXTRA else f'"bp_arrays[{extra}]"'
        raise MissingExtraError(f"{reason}: pip install {requirement}") from error
