"""Learning rates that change during training: functions of the update, without state."""

from bp_arrays.errors import unknown_name
from bp_arrays.schedules.constant import Constant
from bp_arrays.schedules.cosine import Cosine
from bp_arrays.schedules.decay import Exponential, StepDecay
from bp_arrays.schedules.one_cycle import OneCycle
from bp_arrays.schedules.plateau import ReduceOnPlateau
from bp_arrays.schedules.schedule import Schedule
from bp_arrays.schedules.warmup import Warmup

SCHEDULES: dict[str, type[Schedule]] = {
    kind.__name__: kind
    for kind in (Constant, StepDecay, Cosine, Warmup, Exponential, OneCycle, ReduceOnPlateau)
}
"""Every schedule by name."""


def schedule_named(name: str) -> type[Schedule]:
    """The schedule of that name; capitals, "-" and "_" do not matter.

    >>> schedule_named("one-cycle")(0.1, steps=100)(29)
    0.1
    """
    plain = str(name).lower().replace("-", "").replace("_", "")
    for known, kind in SCHEDULES.items():
        if known.lower() == plain:
            return kind
    raise unknown_name("schedule", name, SCHEDULES)


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
