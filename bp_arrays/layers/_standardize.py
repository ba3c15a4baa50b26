"""`Standardize`: features with mean 0 and standard deviation 1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from bp_arrays.checks import argument_error, array_error, as_number
from bp_arrays.initializers import Initializer, Ones, Values, Zeros, mean_and_scale
from bp_arrays.kernels import narrowed
from bp_arrays.layers._context import Context
from bp_arrays.layers._layer import Layer, Parameter, Specification, check_one_array
from bp_arrays.typing import Array, Backward, ParameterTree, Shape


@dataclass(frozen=True, repr=False)
class Standardize(Layer):
    """Standardized features: y = (x − mean) / scale, with the standard deviation as the scale.

    Mean and scale, one number per feature of the last axis, are non-trainable parameters of the
    model, so that the saved model accepts raw data. `Standardize.of(x)` measures them on the
    training data; its `inverse()` at the end of a net returns values in the unit of the data. Or
    set the parameters "mean" and "scale" later. While they are 0 and 1 the layer does nothing, and
    `fit` warns.

    Parameters
    ----------
    mean, scale : sequence of float, default ()
        The first values of the parameters, one per feature; empty for means of 0 and scales of 1.
        A scale is > 0: 1 for a constant feature.

    Raises
    ------
    InputError
        If one of the two is empty and the other not, or their lengths differ, or a number is not
        finite, or a scale not > 0.

    Examples
    --------
    Inputs with mean 1 and deviation 2, targets with mean 10 and deviation 4:

    >>> import bp_arrays as bp
    >>> x, t = [[-1.0], [3.0]], [[6.0], [14.0]]
    >>> scaled, unscaled = bp.Standardize.of(x), bp.Standardize.of(t).inverse()
    >>> model = bp.Model(bp.Sequential(scaled, unscaled), input_shape=1, device="cpu")
    >>> model.predict(x).tolist(), bp.Model(scaled, 1, device="cpu").predict(x).tolist()
    ([[6.0], [14.0]], [[-1.0], [1.0]])
    """

    computes_in_float32: ClassVar[bool] = True

    mean: tuple[float, ...] = ()
    scale: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        for name in ("mean", "scale"):
            values = getattr(self, name)
            if isinstance(values, (str, bytes)) or not hasattr(values, "__len__"):
                raise argument_error("Standardize", name, values, "numbers, one per feature")
            above = 0.0 if name == "scale" else None
            checked = tuple(
                as_number("Standardize", f"{name}[{k}]", value, above)
                for k, value in enumerate(values)
            )
            object.__setattr__(self, name, checked)
        if len(self.mean) != len(self.scale):
            expected = f"as many numbers as means, {len(self.mean)}"
            raise argument_error("Standardize", "scale", self.scale, expected)

    @classmethod
    def of(cls, x: Any) -> Standardize:
        """Return the layer with the mean and the standard deviation of data, in float64.

        Parameters
        ----------
        x : array (rows, ..., features), or (rows,) for one feature
            Host data, such as NumPy, a memory map or a data frame of numbers, or an array on a
            device. All positions of an image or a sequence count for their channel. Use the rows
            of training only.

        Returns
        -------
        Standardize
            With the scale 1 for a constant feature, which it maps to 0.

        Raises
        ------
        InputError
            If x has no rows, is not numbers, or has a value that is NaN or infinite.
        """
        return cls(*mean_and_scale("Standardize.of", x))

    def inverse(self) -> Standardize:
        """Return the layer y = x scale + mean, for the end of a net.

        The net then predicts targets in their own unit, which the loss compares, too: it grows
        with the square of that unit.
        """
        mean = tuple(-m / s for m, s in zip(self.mean, self.scale, strict=True))
        return Standardize(mean, tuple(1.0 / s for s in self.scale))

    def __repr__(self) -> str:
        if not self.mean:
            return "Standardize()"
        return f"Standardize(mean={_shown(self.mean)}, scale={_shown(self.scale)})"

    def init(self, input_shape: Shape) -> tuple[Specification, Shape]:
        check_one_array(self, input_shape)
        features = input_shape[-1:]
        if self.mean and features != (len(self.mean),):
            raise array_error(
                "Standardize", "input", f"{len(self.mean)} features, as measured", input_shape
            )
        mean: Initializer = Values(self.mean) if self.mean else Zeros()
        scale: Initializer = Values(self.scale) if self.scale else Ones()
        return {
            "mean": Parameter(features, mean, trainable=False),
            "scale": Parameter(features, scale, trainable=False, positive=True),
        }, input_shape

    def forward(self, params: ParameterTree, x: Array, ctx: Context) -> tuple[Array, Backward]:
        scale = params["scale"]

        def backward(delta: Array) -> tuple[Array, ParameterTree]:
            return narrowed(delta / scale, x.dtype, ctx.xp), {}

        return (x - params["mean"]) / scale, backward


def _shown(values: tuple[float, ...]) -> str:
    """Return a few numbers of a tuple: the pixels of an image are too many for a line."""
    numbers = [f"{value:.6g}" for value in values]
    if len(numbers) > 4:
        numbers = [*numbers[:2], "...", numbers[-1]]
    return f"({', '.join(numbers)}{',' if len(numbers) == 1 else ''})"
