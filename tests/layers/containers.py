"""Containers as a user writes them: branches side by side, and an encoder."""

from __future__ import annotations

from dataclasses import dataclass

import bp_arrays as bp


@dataclass(frozen=True)
class Branches(bp.Layer):
    """Two layers on one input, their outputs side by side."""

    left: bp.Layer
    right: bp.Layer

    def parts(self):
        return {"left": self.left, "right": self.right}

    def init(self, input_shape):
        left, (left_size,) = self.left.init(input_shape)
        right, (right_size,) = self.right.init(input_shape)
        return {"left": left, "right": right}, (left_size + right_size,)

    def forward(self, params, x, ctx):
        left, left_backward = ctx.forward("left", self.left, params, x)
        right, right_backward = ctx.forward("right", self.right, params, x)
        size = left.shape[-1]

        def backward(delta):
            dx_left, dleft = left_backward(delta[:, :size])
            dx_right, dright = right_backward(delta[:, size:])
            return dx_left + dx_right, {"left": dleft, "right": dright}

        return ctx.xp.concat([left, right], axis=-1), backward


@dataclass(frozen=True)
class Encoder(bp.Layer):
    """A gain of its own, then a residual block and a second layer, made of two sizes."""

    width: int
    out_features: int

    def parts(self):
        block = bp.Residual(bp.Linear(self.width), bp.Tanh(), bp.Linear(self.width))
        return {"block": block, "out": bp.Linear(self.out_features)}

    def init(self, input_shape):
        specification = {"gain": bp.Parameter(input_shape, bp.Ones())}
        for name, part in self.parts().items():
            specification[name], input_shape = part.init(input_shape)
        return specification, input_shape

    def forward(self, params, x, ctx):
        xp, g, parts = ctx.xp, params["gain"], self.parts()
        h, block_backward = ctx.forward("block", parts["block"], params, g * x)
        y, out_backward = ctx.forward("out", parts["out"], params, h)

        def backward(delta):
            dh, dout = out_backward(delta)
            dgx, dblock = block_backward(dh)
            gradients = {"gain": xp.sum(dgx * x, axis=0), "block": dblock, "out": dout}
            return dgx * g, gradients

        return y, backward


@dataclass(frozen=True, init=False)
class Stack(bp.Layer):
    """Layers one after the other, as a user would write Sequential."""

    layers: tuple[bp.Layer, ...]

    def __init__(self, *layers):
        object.__setattr__(self, "layers", layers)

    def parts(self):
        return {f"step{k}": layer for k, layer in enumerate(self.layers)}

    def init(self, input_shape):
        specification = {}
        for name, layer in self.parts().items():
            specification[name], input_shape = layer.init(input_shape)
        return specification, input_shape

    def forward(self, params, x, ctx):
        steps = {}
        for name, layer in self.parts().items():
            x, steps[name] = ctx.forward(name, layer, params, x)

        def backward(delta):
            gradients = {}
            for name in reversed(steps):
                delta, gradients[name] = steps[name](delta)
            return delta, gradients

        return x, backward


def branches():
    left = bp.Sequential(bp.Linear(3), bp.Sigmoid())
    return Branches(left, bp.Sequential(bp.Linear(2), bp.Tanh()))


CONTAINERS = {
    "branches": bp.Sequential(bp.Linear(4), branches(), bp.Linear(2)),
    "branches alone": branches(),
    "encoder": bp.Sequential(Encoder(5, 3), bp.ReLU(), bp.Linear(2)),
    "stack": bp.Sequential(bp.Tanh(), Stack(bp.Linear(4), bp.Sigmoid(), bp.Linear(2))),
    "in Sequential in Residual": bp.Sequential(
        bp.Residual(bp.Sequential(branches(), bp.Linear(5))), bp.Linear(2)
    ),
    "in itself": bp.Sequential(Branches(branches(), bp.Linear(1)), bp.Linear(2)),
}
