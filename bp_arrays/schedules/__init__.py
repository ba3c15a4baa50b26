"""Learning-rate schedules: functions of the number of updates, without state."""

from bp_arrays.names import by_name
from bp_arrays.schedules._constant import Constant
from bp_arrays.schedules._cosine import Cosine
from bp_arrays.schedules._decay import Exponential, StepDecay
from bp_arrays.schedules._one_cycle import OneCycle
from bp_arrays.schedules._plateau import ReduceOnPlateau
from bp_arrays.schedules._schedule import Schedule
from bp_arrays.schedules._warmup import Warmup

SCHEDULES: dict[str, type[Schedule]] = {
    kind.__name__: kind
    for kind in (Constant, StepDecay, Cosine, Warmup, Exponential, OneCycle, ReduceOnPlateau)
}
"""Schedule classes by name."""


def schedule_named(name: str) -> type[Schedule]:
    """Return the schedule class of this name; case, "-" and "_" are ignored.

    >>> schedule_named("one-cycle")(0.1, steps=100)(29)
    0.1
    """
    return by_name("schedule", name, SCHEDULES)


__all__ = [
    "SCHEDULES",
    "Constant",
    "Cosine",
    "Exponential",
    "OneCycle",
    "ReduceOnPlateau",
    "Schedule",
    "StepDecay",
    "Warmup",
    "schedule_named",
]
