"""Deliberate faults, one line each: what a hand that writes backward passes gets wrong."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Fault:
    """One fault: in `file` of the package, `old`, which stands there once, becomes `new`.

    `only` names the components whose check must catch it; where that is empty, or the check
    finds nothing, the tests in the folder `tests` of this repository must.
    """

    kind: str
    file: str
    old: str
    new: str
    only: str = ""
    tests: str = ""

    @property
    def name(self) -> str:
        """The file, and what the line becomes."""
        return f"{self.file}: {' '.join(self.new.split())[:70] or 'line left out'}"

    @property
    def folder(self) -> str:
        """Where the tests are that must catch it: by default those of the same room."""
        return self.tests or self.file.partition("/")[0]


SIGN, FACTOR, MEAN = "flipped sign", "dropped factor", "missing 1/N"
AXIS, TRANSPOSED = "wrong axis", "transposed"
LEAK, HOST, IN_PLACE = "float64 leak", "host constant or read", "in place on the input"
STALE, LAST, WRONG = "stale state", "last minibatch", "wrong formula"
EXTREME, RANDOM, DEVICE = "overflow or lost digits", "random streams", "device room"

FAULTS = (
    # the layers
    Fault(TRANSPOSED, "layers/linear.py", "delta @ w.T if",
          "xp.reshape(w @ delta.T, x.shape) if", "Linear"),
    Fault(FACTOR, "layers/linear.py", '{"weight": x.T @ delta}',
          '{"weight": x.T @ delta / x.shape[0]}', "Linear"),
    Fault(AXIS, "layers/linear.py", "xp.sum(delta, axis=0)",
          "xp.sum(delta, axis=1)[: delta.shape[1]]", "Linear"),
    Fault(WRONG, "layers/linear.py", "xp.sum(delta, axis=0)", "xp.mean(delta, axis=0)", "Linear"),
    Fault(SIGN, "layers/linear.py", "delta @ w.T", "-delta @ w.T", "Linear"),
    Fault(IN_PLACE, "layers/linear.py", "        a = x @ w", "        x *= 1.5\n        a = x @ w",
          "Linear"),
    Fault(WRONG, "layers/sequential.py", "for k, back in reversed(steps):",
          "for k, back in reversed(steps[:-1]):", "Sequential"),
    Fault(WRONG, "layers/sequential.py", "ctx = ctx.with_input_gradient", "pass",
          "training step"),
    Fault(FACTOR, "layers/residual.py", "dx = delta + df", "dx = df", "Residual"),
    Fault(SIGN, "layers/residual.py", "return x + f, backward", "return x - f, backward",
          "Residual"),
    Fault(FACTOR, "layers/dropout.py", "xp.where(mask, delta * scale, 0.0)",
          "xp.where(mask, delta, 0.0)", "Dropout"),
    Fault(WRONG, "layers/dropout.py", "xp.where(mask, delta * scale, 0.0)", "delta * scale",
          "Dropout"),
    Fault(FACTOR, "layers/dropout.py", "scale = 1.0 / q", "scale = 1.0", "", "layers"),
    Fault(FACTOR, "layers/standardize.py", "return delta / deviation, {}", "return delta, {}",
          "Standardize"),
    Fault(TRANSPOSED, "layers/flatten.py", "xp.reshape(delta, x.shape)",
          "xp.reshape(xp.flip(delta, axis=1), x.shape)", "Flatten"),
    # the activations
    Fault(SIGN, "activations/sigmoid.py", "h * (1.0 - h)", "h * (1.0 + h)", "Sigmoid"),
    Fault(WRONG, "activations/sigmoid.py", "delta * (h * (1.0 - h))", "delta * (a * (1.0 - a))",
          "Sigmoid"),
    Fault(FACTOR, "activations/sigmoid.py", "(1.0 - h) * (1.0 + h)", "(1.0 - h)", "Tanh"),
    Fault(EXTREME, "activations/elementwise.py",
          "    e = xp.exp(-xp.abs(a))\n    return xp.where(a >= 0.0, 1.0, e) / (1.0 + e)",
          "    e = xp.exp(a)\n    return e / (1.0 + e)", "Sigmoid"),
    Fault(WRONG, "activations/relu.py", "xp.where(h > 0.0, delta, 0.0)",
          "xp.where(delta > 0.0, delta, 0.0)", "ReLU"),
    Fault(FACTOR, "activations/relu.py", "xp.where(a > 0.0, delta, s * delta)",
          "xp.where(h > 0.0, delta, 0.0)", "LeakyReLU"),
    Fault(FACTOR, "activations/elu.py", "scale * alpha * xp.exp(below)), {}",
          "scale * xp.exp(below)), {}", "ELU"),
    Fault(WRONG, "activations/elu.py", "alpha * xp.expm1(below)", "alpha * xp.exp(below)", "ELU"),
    Fault(EXTREME, "activations/elu.py", "below = xp.minimum(a, 0.0)", "below = a", "ELU"),
    Fault(EXTREME, "activations/elu.py", "xp.expm1(below)), backward",
          "(xp.exp(below) - 1.0)), backward", "ELU"),
    Fault(FACTOR, "activations/gelu.py", "(2.0 * dz)", "dz", "GELU"),
    Fault(WRONG, "activations/gelu.py", "(cdf + held * density)", "(cdf + density)", "GELU"),
    Fault(SIGN, "activations/gelu.py", "(s + a * (s * (1.0 - s)))", "(s - a * (s * (1.0 - s)))",
          "SiLU"),
    Fault(AXIS, "activations/softmax.py", "(delta - xp.sum(delta * h, axis=-1, keepdims=True))",
          "(delta - xp.sum(delta * h, axis=0, keepdims=True))", "Softmax"),
    Fault(EXTREME, "activations/softmax.py", "xp.exp(a - xp.max(a, axis=-1, keepdims=True))",
          "xp.exp(a)", "Softmax"),
    Fault(FACTOR, "activations/softmax.py",
          "(e / total) * xp.sum(delta, axis=-1, keepdims=True)", "(e / total)", "LogSoftmax"),
    Fault(HOST, "activations/softplus.py", "return delta * logistic(a, xp), {}",
          "return delta * float(logistic(a, xp)[0, 0]), {}", "Softplus"),
    Fault(EXTREME, "activations/softplus.py",
          "xp.maximum(a, 0.0) + xp.log1p(xp.exp(-xp.abs(a)))", "xp.log(1.0 + xp.exp(a))",
          "Softplus"),
    Fault(LEAK, "activations/sigmoid.py", "h = ctx.xp.tanh(a)",
          "h = ctx.xp.tanh(ctx.xp.astype(a, ctx.xp.float64))", "Tanh"),
    Fault(LEAK, "activations/softmax.py", "e = xp.exp(a - xp.max(a, axis=-1, keepdims=True))",
          "e = xp.exp(xp.astype(a, xp.float64) - xp.max(a, axis=-1, keepdims=True))", "Softmax"),
    Fault(IN_PLACE, "activations/softmax.py",
          "            return h * (delta - xp.sum(delta * h, axis=-1, keepdims=True)), {}",
          "            delta -= xp.sum(delta * h, axis=-1, keepdims=True)\n"
          "            return h * delta, {}", "Softmax"),
    Fault(EXTREME, "activations/elementwise.py", "return xp.where(a >= 0.0, 1.0, e) / (1.0 + e)",
          "return 0.5 * xp.tanh(0.5 * a) + 0.5", "", "activations"),
    # the losses
    Fault(MEAN, "losses/loss.py", "c = 1.0 / y.shape[0] if", "c = 1.0 if", "L2Loss"),
    Fault(FACTOR, "losses/loss.py", "lambda: derivative(column)", "lambda: derivative(1.0)",
          "L2Loss"),
    Fault(WRONG, "losses/loss.py", "weight = weight / xp.where(total > 0.0, total, 1.0)",
          "weight = weight / weight.shape[0]", "", "losses"),
    Fault(FACTOR, "losses/difference.py", "0.5 * ctx.xp.sum(r * r, axis=_axes(y)), lambda c: c * r",
          "ctx.xp.sum(r * r, axis=_axes(y)), lambda c: c * r", "L2Loss"),
    Fault(SIGN, "losses/difference.py", "0.5 * ctx.xp.sum(r * r, axis=_axes(y)), lambda c: c * r",
          "0.5 * ctx.xp.sum(r * r, axis=_axes(y)), lambda c: -c * r", "L2Loss"),
    Fault(MEAN, "losses/difference.py", "(c * (2.0 / n)) * r", "(c * 2.0) * r",
          "MeanSquaredError"),
    Fault(WRONG, "losses/difference.py", "(c / n) * xp.sign(r)", "(c / n) * r",
          "MeanAbsoluteError"),
    Fault(WRONG, "losses/difference.py", "lambda c: (c / n) * held", "lambda c: (c / n) * r",
          "Huber"),
    Fault(SIGN, "losses/cross_entropy.py", "c * (p - q)", "c * (q - p)", "CrossEntropy"),
    Fault(MEAN, "losses/cross_entropy.py", "(c / n) * (logistic(y, xp) - t)",
          "c * (logistic(y, xp) - t)", "BinaryCrossEntropy"),
    Fault(MEAN, "losses/cross_entropy.py", "q = (1.0 - s) * q + s / y.shape[-1]",
          "q = (1.0 - s) * q + s", "", "losses"),
    Fault(HOST, "losses/cross_entropy.py",
          "classes = xp.arange(y.shape[-1], dtype=t.dtype, device=ctx.device)",
          "classes = xp.arange(y.shape[-1], dtype=t.dtype)", "CrossEntropy"),
    Fault(WRONG, "losses/cross_entropy.py", "p = p * xp.sum(q, axis=-1, keepdims=True)", "pass",
          "CrossEntropy, probabilities"),
    Fault(LEAK, "losses/cross_entropy.py", "shifted = y - xp.max(y, axis=-1, keepdims=True)",
          "shifted = xp.astype(y - xp.max(y, axis=-1, keepdims=True), xp.float64)",
          "CrossEntropy"),
    Fault(IN_PLACE, "losses/cross_entropy.py", "shifted = y - xp.max(y, axis=-1, keepdims=True)",
          "y -= xp.max(y, axis=-1, keepdims=True)\n        shifted = y", "CrossEntropy"),
    Fault(AXIS, "losses/cross_entropy.py", "total = xp.sum(e, axis=-1, keepdims=True)",
          "total = xp.sum(e, axis=0, keepdims=True)", "CrossEntropy"),
    Fault(HOST, "losses/cross_entropy.py",
          "xp.asarray(self.class_weights, dtype=y.dtype, device=ctx.device)",
          "xp.asarray(self.class_weights, dtype=y.dtype)", "CrossEntropy, class weights"),
    Fault(FACTOR, "losses/cross_entropy.py", "return by_sample if weight is None else by_sample * "
          "weight", "return by_sample if weight is None else weight", "", "losses"),
    # the optimizers and their schedules
    Fault(SIGN, "optimizers/sgd.py", "return theta - eta * g, ()", "return theta + eta * g, ()",
          "", "optimizers"),
    Fault(WRONG, "optimizers/sgd.py", "g + self.momentum * b if self.nesterov",
          "b if self.nesterov", "", "optimizers"),
    Fault(STALE, "optimizers/sgd.py", "return theta - eta * direction, (b,)",
          "return theta - eta * direction, state", "", "optimizers"),
    Fault(FACTOR, "optimizers/adam.py", "m_hat = c1 * m", "m_hat = m", "", "optimizers"),
    Fault(WRONG, "optimizers/adam.py", "(1.0 - self.beta2) * (g * g)",
          "(1.0 - self.beta1) * (g * g)", "", "optimizers"),
    Fault(STALE, "optimizers/adam.py", "+ self.epsilon), (m, v)", "+ self.epsilon), state", "",
          "optimizers"),
    Fault(FACTOR, "optimizers/adam.py", "eta * self.weight_decay * theta",
          "self.weight_decay * theta", "", "optimizers"),
    Fault(STALE, "optimizers/rmsprop.py", "return theta - eta * b, (v, b)",
          "return theta - eta * b, (state[0], b)", "", "optimizers"),
    Fault(FACTOR, "optimizers/adagrad.py", "s = s + g * g", "s = g * g", "", "optimizers"),
    Fault(SIGN, "optimizers/transforms.py", "return g + self.decay * theta",
          "return g - self.decay * theta", "", "optimizers"),
    Fault(EXTREME, "optimizers/transforms.py", "        h = g / unit\n",
          "        unit = 1.0\n        h = g / unit\n", "", "optimizers"),
    Fault(FACTOR, "schedules/cosine.py", "(1.0 + math.cos(math.pi * min(fraction, 1.0))) / 2.0",
          "(1.0 + math.cos(math.pi * min(fraction, 1.0)))", "", "schedules"),
    Fault(LAST, "schedules/warmup.py", "(step + 1) / (self.steps + 1)", "step / self.steps", "",
          "schedules"),
    # initialisers and random numbers
    Fault(FACTOR, "initializers/he.py", "math.sqrt(2.0 / fan_in)", "math.sqrt(1.0 / fan_in)", "",
          "initializers"),
    Fault(TRANSPOSED, "initializers/orthogonal.py", "orthonormal_columns(columns, rows, rng).T",
          "orthonormal_columns(rows, rows, rng)[:, :rows]", "", "initializers"),
    Fault(RANDOM, "random/threefry.py", "fallen &= (1 << distance) - 1  # they go", "pass",
          "", "random"),
    Fault(RANDOM, "random/stream.py", "        self._draws += 1\n", "", "", "random"),
    Fault(RANDOM, "random/stream.py", "mask, threshold / LEVELS", "mask, 1.0 - rate", "", "random"),
    # the device room and the execution
    Fault(DEVICE, "devices/numpy_backend.py", "return np.array(host, dtype=dtype, copy=True)",
          "return np.asarray(host, dtype=np.float64)", "", "devices"),
    Fault(DEVICE, "devices/strict_backend.py",
          "host, dtype=dtype, device=self.native(kind, index), copy=True", "host, dtype=dtype", "",
          "devices"),
    Fault(DEVICE, "devices/torch_backend.py", "return np.array(array.numpy(), copy=True)",
          "return array.numpy()", "", "devices"),
    Fault(DEVICE, "devices/selection.py", "if availability.usable:", "if True:", "", "devices"),
    Fault(DEVICE, "devices/backend.py", "if answer != 3.0:", "if False:", "", "devices"),
    Fault(LAST, "execution/updating.py", "range(0, length, step)",
          "range(0, length - step + 1, step)", "", "execution"),
    Fault(STALE, "execution/updating.py", "zip((theta, *state), results, strict=True)",
          "zip((theta,), results[:1], strict=True)", "", "execution"),
    Fault(WRONG, "execution/formula.py", "left, right = (other, self) if swapped",
          "left, right = (self, other) if swapped", "", "execution"),
    Fault(STALE, "execution/loops.py", '"g[i] = theta_i"', '"g[i] = g_i"', "", "execution"),
    Fault(EXTREME, "execution/lean_numpy.py", "and math.copysign(1.0, y) > 0.0", "",
          "", "execution"),
    # batches, and the training that uses them
    Fault(LAST, "training/batches.py", "min(start + batch_size, self.rows)) for start in starts]",
          "start + batch_size) for start in starts if start + batch_size <= self.rows]", "",
          "training"),
    Fault(LAST, "training/batches.py", "rows = slice(start, stop) if order is None else",
          "rows = slice(start, stop - 1) if order is None else", "", "training"),
    Fault(LAST, "model/model.py", "range(0, max(x.shape[0] if x.ndim else 1, 1), rows)",
          "range(0, max(x.shape[0] - 1 if x.ndim else 1, 1), rows)", "", "model"),
    Fault(LAST, "training/batches.py", "for start in range(0, self.rows, step):",
          "for start in range(0, self.rows - 1, step):", "", "training"),
    Fault(WRONG, "training/batches.py", "yield Batch(part, t[rows],",
          "yield Batch(part, t[start:stop],", "", "training"),
    Fault(WRONG, "training/batches.py", "a if a is None else xp.take(a, rows, axis=0) for a in",
          "a if a is None else a[start:stop, ...] for a in", "", "training"),
    Fault(FACTOR, "training/evaluating.py", "return value * weight, weight, measured",
          "return value, weight, measured", "", "training"),
    Fault(STALE, "training/functional.py", "replace(state, vectors=vectors, step=state.step + 1)",
          "replace(state, step=state.step + 1)", "", "training"),
    Fault(STALE, "training/functional.py", "        model.vector = theta\n", "", "", "training"),
    Fault(RANDOM, "training/functional.py", "random=Stream(xp, native, seed, counter)",
          "random=Stream(xp, native, seed, 0)", "", "training"),
    Fault(RANDOM, "training/passes.py", "self._step[0] = step", "self._step[0] = 0", "",
          "training"),
    Fault(WRONG, "training/passes.py", "start += gradient.shape[0]", "start += 0", "",
          "execution"),
    Fault(STALE, "training/passes.py", "self._program.bind(dict(",
          "hasattr(self, '_values') or self._program.bind(dict(", "", "training"),
    Fault(IN_PLACE, "training/passes.py", "value.item() if value.ndim == 0 else value.copy()",
          "value.item() if value.ndim == 0 else value", "", "execution"),
    Fault(STALE, "training/in_place.py", "replace(state, step=step)\n        return",
          "state\n        return", "", "training"),
    Fault(IN_PLACE, "training/in_place.py", "sys.getrefcount(self.shown) == 3",
          "sys.getrefcount(self.shown) >= 3", "", "training"),
    Fault(STALE, "training/in_place.py", "self.can_go_back = True", "pass", "", "training"),
    Fault(IN_PLACE, "execution/program.py", "if slot.shape == result.shape and slot.dtype == "
          "result.dtype:", "if slot.dtype == result.dtype:", "", "execution"),
    Fault(STALE, "execution/program.py", "last[id(slot.root)] = number", "last[id(slot)] = number",
          "", "execution"),
    Fault(WRONG, "execution/recording.py", "if out is not None and out[0] is not inputs[0]:",
          "if False:", "", "execution"),
    Fault(RANDOM, "layers/dropout.py", "scale = 1.0 / q", "scale = 1.0 / (1.0 - self.rate)", "",
          "layers"),
    Fault(TRANSPOSED, "model/layout.py", "yield xp.reshape(gradient, (entry.size,))",
          "yield xp.reshape(gradient.T if gradient.ndim == 2 else gradient, (entry.size,))",
          "", "training"),
    Fault(WRONG, "model/layout.py", "entries[-1].offset + entries[-1].size if entries",
          "entries[-1].offset if entries", "", "model"),
)  # fmt: skip
