"""Registry of the cases of all components."""

from __future__ import annotations

from functools import cache

from bp_arrays.testing._case import Case
from bp_arrays.testing.cases import (
    _attention as attention,
    _convolution as convolution,
    _functions as functions,
    _graphs as graphs,
    _losses as loss_term_cases,
    _maths as maths_cases,
    _normalization as normalization,
    _optimizers as update_cases,
    _recurrence as recurrence,
    _training as training_cases,
)


@cache
def cases() -> tuple[Case, ...]:
    """Return every case, in the order of the report.

    >>> {"Linear", "Sigmoid", "CrossEntropy", "Adam"} <= {case.component for case in cases()}
    True
    """
    return (
        *functions.function_cases(),
        *maths_cases.activation_cases(),
        *maths_cases.loss_cases(),
        *loss_term_cases.loss_term_cases(),
        *maths_cases.layer_cases(),
        *graphs.combined_loss_cases(),
        *graphs.ensemble_loss_cases(),
        *graphs.graph_cases(),
        *convolution.convolution_cases(),
        *normalization.normalization_cases(),
        *recurrence.recurrence_cases(),
        *attention.attention_cases(),
        *attention.add_rows_cases(),
        *maths_cases.kernel_cases(),
        *convolution.convolution_kernel_cases(),
        *update_cases.initializer_cases(),
        *update_cases.random_cases(),
        *update_cases.optimizer_cases(),
        *update_cases.schedule_cases(),
        *training_cases.training_cases(),
        *training_cases.mixed_training_cases(),
    )


def components() -> list[str]:
    """List the names of the components, in the order of the report."""
    return list(dict.fromkeys(case.component for case in cases()))
