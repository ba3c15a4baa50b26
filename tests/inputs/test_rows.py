"""Which rows a training sees, and how: orders of one's own, sparse matrices."""

from __future__ import annotations

import numpy as np
import pytest

import bp_arrays as bp

scipy_sparse = pytest.importorskip("scipy.sparse")

RNG = np.random.default_rng(5)
X = RNG.normal(size=(10, 4)) * (RNG.random((10, 4)) < 0.4)
T = RNG.normal(size=(10, 1))


def trained(x, *, device="cpu", t=T, **options):
    model = bp.Model(bp.Linear(1), input_shape=(4,), device=device, dtype="float64", seed=0)
    options = {"epochs": 3, "batch_size": 4} | options
    bp.fit(model, x, t, loss=bp.L2Loss(), optimizer=bp.SGD(0.1), **options)
    return model


def test_an_order_of_ones_own_is_followed(device):
    orders = [RNG.permutation(10) for _ in range(3)]
    given = trained(X, device=device, shuffle=lambda epoch: orders[epoch])
    by_hand = bp.Model(bp.Linear(1), input_shape=(4,), device=device, dtype="float64", seed=0)
    sgd = bp.SGD(0.1)
    for order in orders:
        bp.fit(
            by_hand,
            X[order],
            T[order],
            loss=bp.L2Loss(),
            optimizer=sgd,
            batch_size=4,
            shuffle=False,
        )
    np.testing.assert_array_equal(
        given.host_parameters()["weight"], by_hand.host_parameters()["weight"]
    )


@pytest.mark.parametrize("order", [[0, 1], np.arange(10) / 2, np.arange(10) + 1, "rows"])
def test_orders_that_are_none_are_refused(order):
    with pytest.raises(bp.InputError, match=r"shuffle.*row numbers"):
        trained(X, shuffle=lambda epoch: order)


@pytest.mark.parametrize("kind", ["csr_array", "csc_matrix", "coo_array"])
def test_sparse_rows_train_and_predict_as_dense_ones(device, kind):
    sparse = getattr(scipy_sparse, kind)(X)
    dense, thin = trained(X, device=device), trained(sparse, device=device)
    np.testing.assert_array_equal(
        thin.host_parameters()["weight"], dense.host_parameters()["weight"]
    )
    np.testing.assert_array_equal(thin.predict(sparse, batch_size=3), dense.predict(X, 3))
    np.testing.assert_array_equal(
        device.to_numpy(thin.forward(sparse)[0]), device.to_numpy(dense.forward(X)[0])
    )


def test_sparse_rows_are_checked_too():
    bad = X.copy()
    bad[7, 2] = np.nan
    with pytest.raises(bp.InputError, match=r"x\[7, 2\]: expected a finite number, got nan"):
        trained(scipy_sparse.csr_array(bad))
    with pytest.raises(bp.InputError, match="sparse matrix of real numbers"):
        trained(scipy_sparse.csr_array(X.astype(complex)))


def test_sparse_targets_are_taken(device):
    t = scipy_sparse.csr_array(np.abs(T) * (T > 0))
    np.testing.assert_array_equal(
        trained(X, t=t, device=device).host_parameters()["weight"],
        trained(X, t=t.toarray(), device=device).host_parameters()["weight"],
    )
