"""Covers: arguments that are whole numbers, in every public function and class that has one."""

from __future__ import annotations

import numpy as np
import pytest

import bp_arrays as bp
from bp_arrays.estimators import MLPRegressor

RNG = np.random.default_rng(0)
X = RNG.normal(size=(12, 3))
T = X[:, :1]
HOW = {"loss": bp.L2Loss(), "optimizer": bp.SGD()}


def model():
    return bp.Model(bp.Linear(1), 3, device="cpu", seed=0)


def regressor(**settings):
    settings = {"hidden_layer_sizes": (2,), "max_iter": 1, "n_iter_no_change": 1} | settings
    return MLPRegressor(**settings, solver="sgd").fit(X, T[:, 0])


CALLS = {
    "Linear(out_features)": bp.Linear,
    "Model(input_shape)": lambda n: bp.Model(bp.Identity(), n, device="cpu"),
    "Model(input_shape) of a tuple": lambda n: bp.Model(bp.Identity(), (n, 2), device="cpu"),
    "Model(seed)": lambda n: bp.Model(bp.Linear(1), 3, device="cpu", seed=n),
    "InputSpec(shape)": bp.InputSpec,
    "InputSpec(size)": lambda n: bp.InputSpec(3, "index", n),
    "fit(epochs)": lambda n: bp.fit(model(), X, T, epochs=n, **HOW),
    "fit(batch_size)": lambda n: bp.fit(model(), X, T, batch_size=n, **HOW),
    "fit(seed)": lambda n: bp.fit(model(), X, T, seed=n, **HOW),
    "Trainer(seed)": lambda n: bp.Trainer(model(), seed=n, **HOW),
    "evaluate(batch_size)": lambda n: bp.evaluate(model(), X, T, loss=HOW["loss"], batch_size=n),
    "predict(batch_size)": lambda n: model().predict(X, batch_size=n),
    "Batches(batch_size)": lambda n: bp.data.Batches(X, T, batch_size=n),
    "Batches(seed)": lambda n: bp.data.Batches(X, T, seed=n),
    "StepDecay(every)": lambda n: bp.StepDecay(0.1, 0.5, n),
    "Cosine(steps)": lambda n: bp.Cosine(0.1, n),
    "Warmup(steps)": lambda n: bp.Warmup(n, 0.1),
    "OneCycle(steps)": lambda n: bp.OneCycle(0.1, n),
    "ReduceOnPlateau(patience)": lambda n: bp.ReduceOnPlateau(0.1, patience=n),
    "EarlyStopping(patience)": bp.EarlyStopping,
    "CrossEntropy(ignore_index)": lambda n: bp.CrossEntropy(ignore_index=n),
    "Accuracy(ignore_index)": lambda n: bp.Accuracy(ignore_index=n),
    "split(seed)": lambda n: bp.data.split(bp.data.open_dataset("notes"), seed=n),
    "weight(indices)": lambda n: bp.explain(model(), X[0], 1.0, bp.L2Loss()).weight("weight", n, 1),
    "hidden_layer_sizes": lambda n: regressor(hidden_layer_sizes=n),
    "hidden_layer_sizes of a tuple": lambda n: regressor(hidden_layer_sizes=(n,)),
    "max_iter": lambda n: regressor(max_iter=n),
    "batch_size": lambda n: regressor(batch_size=n),
    "n_iter_no_change": lambda n: regressor(n_iter_no_change=n),
}


@pytest.mark.filterwarnings("ignore::UserWarning")  # scikit-learn's ConvergenceWarning
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_whole_numbers_of_python_and_numpy_are_taken_and_no_others(call):
    for n in (2, np.int64(2), np.uint8(2)):
        call(n)
    for n in (2.0, 2.5, np.float64(2.0), True, np.True_, "2", np.array(2.0)):
        with pytest.raises(bp.InputError) as caught:
            call(n)
        assert "\n" not in str(caught.value)
