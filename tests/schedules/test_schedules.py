"""Schedules against torch.optim.lr_scheduler, and at their edges."""

from __future__ import annotations

import math
import warnings
from fractions import Fraction

import numpy as np
import pytest

from bp_arrays.errors import InputError
from bp_arrays.schedules import (
    SCHEDULES,
    Constant,
    Cosine,
    Exponential,
    OneCycle,
    ReduceOnPlateau,
    StepDecay,
    Warmup,
    schedule_named,
)

STEPS = 40


def torch_rates(make, steps=STEPS, initial=0.4):
    """What PyTorch's scheduler gives for each step."""
    torch = pytest.importorskip("torch")
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=initial)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scheduler = make(torch.optim.lr_scheduler, optimizer)
        rates = []
        for _ in range(steps):
            rates.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            scheduler.step()
    return rates


def after_warmup(s, o, steps):
    ramp = s.LinearLR(o, start_factor=1 / (steps + 1), total_iters=steps)
    return s.SequentialLR(o, [ramp, s.StepLR(o, 7, 0.5)], milestones=[steps])


WITNESSES = {
    "step": (StepDecay(0.4, factor=0.3, every=7), lambda s, o: s.StepLR(o, 7, gamma=0.3)),
    "exponential": (Exponential(0.4, decay=0.9), lambda s, o: s.ExponentialLR(o, gamma=0.9)),
    "cosine": (Cosine(0.4, steps=STEPS), lambda s, o: s.CosineAnnealingLR(o, STEPS)),
    "cosine to 0.1": (
        Cosine(0.4, steps=STEPS, final=0.1),
        lambda s, o: s.CosineAnnealingLR(o, STEPS, eta_min=0.1),
    ),
    "one cycle": (OneCycle(0.4, STEPS), lambda s, o: s.OneCycleLR(o, 0.4, STEPS)),
    "one cycle, other options": (
        OneCycle(0.4, STEPS, rise=0.42, start_divisor=10, end_divisor=50),
        lambda s, o: s.OneCycleLR(
            o, 0.4, STEPS, pct_start=0.42, div_factor=10, final_div_factor=50
        ),
    ),
    "warmup": (
        Warmup(5, then=0.4),
        lambda s, o: s.LinearLR(o, start_factor=1 / 6, total_iters=5),
    ),
    "warmup, step": (
        Warmup(5, then=StepDecay(0.4, 0.5, 7)),
        lambda s, o: after_warmup(s, o, 5),
    ),
}


@pytest.mark.parametrize("name", WITNESSES)
def test_equal_to_torch(name):
    schedule, make = WITNESSES[name]
    steps = STEPS - 1 if "cycle" in name else STEPS  # PyTorch refuses to step past its last
    ours = [schedule(step) for step in range(steps)]
    # PyTorch multiplies the last rate on; we compute each rate anew
    np.testing.assert_allclose(ours, torch_rates(make, steps), rtol=1e-12, atol=1e-17)


LOSSES = [
    *(1 / (n + 1) for n in range(5)),
    *([0.2] * 9),
    0.2 * (1 - 0.5e-4),
    0.1999,
    *([0.3, 0.25] * 8),
    math.nan,
    math.inf,
    0.01,
    *([0.01] * 12),
]


@pytest.mark.parametrize("factor", [0.1, 0.5])
@pytest.mark.parametrize("patience", [0, 1, 3, 10])
@pytest.mark.parametrize("minimum", [0.0, 0.03])
def test_plateau_equal_to_torch(factor, patience, minimum):
    torch = pytest.importorskip("torch")
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.4)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, factor=factor, patience=patience, threshold=1e-4, min_lr=minimum, eps=0.0
    )
    ours = ReduceOnPlateau(0.4, factor=factor, patience=patience, minimum=minimum)
    assert ours(0) == 0.4
    for epoch, loss in enumerate(LOSSES, start=1):
        scheduler.step(loss)
        assert ours(100 * epoch, LOSSES[:epoch]) == optimizer.param_groups[0]["lr"]


def test_plateau_for_losses_below_zero():
    """PyTorch takes standing still at −1 for an improvement; a plateau is one at any height."""
    schedule = ReduceOnPlateau(1.0, factor=0.5, patience=2)
    assert schedule(0, [-1.0] * 4) == 0.5
    assert schedule(0, [-1.0, -2.0, -3.0, -4.0]) == 1.0


def test_plateau_minimum_above_the_rate():
    assert ReduceOnPlateau(0.1, patience=0, minimum=0.5)(0, [1.0, 1.0, 1.0]) == 0.1


def test_plateau_is_a_function_of_its_history():
    schedule = ReduceOnPlateau(0.4, patience=1)
    before = [schedule(0, LOSSES[:n]) for n in range(len(LOSSES))]
    history = list(LOSSES)
    assert [schedule(0, history[:n]) for n in range(len(LOSSES))] == before
    assert history[:5] == LOSSES[:5]


def test_warmup_hands_the_history_on():
    schedule = Warmup(4, then=ReduceOnPlateau(0.5, factor=0.5, patience=0))
    assert schedule(1, [1.0]) == pytest.approx(0.5 * 2 / 5)
    assert schedule(9, [1.0, 1.0]) == 0.25


@pytest.mark.parametrize(
    ("schedule", "last"), [(Cosine(0.4, 10, 0.1), 0.1), (OneCycle(0.4, 10), 0.4 / 25 / 1e4)]
)
def test_last_value_is_kept(schedule, last):
    for step in (10, 11, 15, 20, 1000):
        assert schedule(step) == pytest.approx(last, rel=1e-12)


@pytest.mark.parametrize("schedule", [StepDecay, lambda i, factor, _: Exponential(i, factor)])
def test_a_rate_whose_power_alone_is_no_float(schedule):
    for initial, factor in ((1e-300, 10.0), (1e300, 0.1)):
        rates = schedule(initial, factor, 1)
        for step in (0, 10, 300, 400, 600):
            exact = Fraction(initial) * Fraction(factor) ** step
            assert rates(step) == pytest.approx(float(exact), rel=1e-11)
    assert schedule(1.0, 0.1, 1)(10**6) == 0.0
    with pytest.raises(InputError, match=r"below 1.8e\+308, got a larger one for update 400"):
        schedule(1e-3, 10.0, 1)(400)


@pytest.mark.parametrize(
    "schedule", [Cosine(1.7e308, 3), OneCycle(1.7e308, 10), Warmup(2, Cosine(1.7e308, 3))]
)
def test_the_largest_rates_stay_finite(schedule):
    assert all(0.0 <= schedule(step) <= 1.7e308 for step in (*range(12), 10**15))


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 10])
@pytest.mark.parametrize("rise", [0.0, 0.3, 0.5, 0.99])
def test_one_cycle_of_few_steps(steps, rise):
    rates = [OneCycle(0.4, steps, rise)(step) for step in range(steps + 2)]
    assert all(0 < rate <= 0.4 for rate in rates)
    assert rates[-1] == pytest.approx(0.4 / 25 / 1e4)


@pytest.mark.parametrize(
    "schedule",
    [
        Constant(np.float64(0.1)),
        StepDecay(np.float32(0.5), np.float64(0.5), np.int64(3)),
        Cosine(np.float64(0.1), 10, np.float64(0.0)),
        Warmup(3, np.float64(0.1)),
        Exponential(np.float64(0.1), np.float64(0.5)),
        OneCycle(np.float64(0.1), 10, np.float64(0.3)),
        ReduceOnPlateau(np.float64(0.1), factor=np.float64(0.5), patience=0),
    ],
)
def test_rates_are_python_floats(schedule):
    for step in (0, 1, 5, 9):
        assert type(schedule(step, [np.float64(1.0), np.float64(1.0)])) is float


BAD = [
    (lambda: Constant(0.0), "value"),
    (lambda: Constant("0.1"), "value"),
    (lambda: Constant(math.nan), "value"),
    (lambda: Constant(True), "value"),
    (lambda: StepDecay(-1, 0.5, 3), "initial"),
    (lambda: StepDecay(1, 0, 3), "factor"),
    (lambda: StepDecay(1, 0.5, 0), "every"),
    (lambda: StepDecay(1, 0.5, 2.5), "every"),
    (lambda: Cosine(1, 0), "steps"),
    (lambda: Cosine(1, 5, final=-0.1), "final"),
    (lambda: Cosine(math.inf, 5), "initial"),
    (lambda: Warmup(0, 0.1), "steps"),
    (lambda: Warmup(3, "cosine"), "then"),
    (lambda: Exponential(1, 0), "decay"),
    (lambda: OneCycle(1, 10, rise=1.0), "rise"),
    (lambda: OneCycle(1, 10, start_divisor=0.5), "start_divisor"),
    (lambda: OneCycle(1, 10, end_divisor=0), "end_divisor"),
    (lambda: ReduceOnPlateau(1, factor=1.0), "factor"),
    (lambda: ReduceOnPlateau(1, patience=-1), "patience"),
    (lambda: ReduceOnPlateau(1, patience=True), "patience"),
    (lambda: ReduceOnPlateau(1, threshold=-1e-3), "threshold"),
    (lambda: ReduceOnPlateau(1, minimum=-1), "minimum"),
]


@pytest.mark.parametrize(("make", "field"), BAD)
def test_bad_hyper_parameters(make, field):
    with pytest.raises(InputError, match=rf"\({field}=.*\): expected"):
        make()


def test_names():
    assert schedule_named("onecycle") is OneCycle
    assert schedule_named("reduce-on-plateau") is ReduceOnPlateau
    with pytest.raises(InputError, match="did you mean 'Cosine'"):
        schedule_named("cosin")
    assert len(SCHEDULES) == 7
