"""Runners: the execution of training steps on each device."""

from dataclasses import replace

from bp_arrays.execution import fused_update, why_no_graph
from bp_arrays.training._parts import Division
from bp_arrays.training._step import TrainingStep
from bp_arrays.training.runners._cuda_graph import CudaGraphRunner
from bp_arrays.training.runners._eager import EagerRunner
from bp_arrays.training.runners._eager_parts import EagerPartsRunner
from bp_arrays.training.runners._replay import ReplayRunner
from bp_arrays.training.runners._replay_parts import ReplayPartsRunner
from bp_arrays.training.runners._reuse import step_key
from bp_arrays.training.runners._runner import Runner


def runner_for(
    step: TrainingStep,
    *,
    compiled: bool,
    key: bytes | None = None,
    division: Division = Division(),  # noqa: B008
) -> Runner:
    """Return the runner for the step's device, and for batches of one part or of several.

    Parameters
    ----------
    step : TrainingStep
    compiled : bool
        Whether steps may be replayed or compiled.
    key : bytes, optional
        The `step_key` under which they are kept for the next training run.
    division : Division, optional
        The parts of a batch.
    """
    device = step.model.device
    if step.model.scales_loss and device.runs_as == "replay":
        return _unrecorded_runner(step, division, refused=compiled)
    if not division.is_trivial:
        if device.runs_as == "replay":
            return ReplayPartsRunner(step, division, compiled=compiled, key=key)
        return EagerPartsRunner(step, division, compiled=compiled, key=key)
    if device.runs_as == "replay":
        return ReplayRunner(step, compiled=compiled, key=key)
    if device.runs_as != "cuda graph" or not compiled:
        return EagerRunner(step, compiled=compiled, key=key)
    step = _with_fused_update(step)
    why = why_no_graph(device)
    if not why:
        return CudaGraphRunner(step)
    runner = EagerRunner(step, compiled=False)
    runner.refuse("steps run operation by operation, not as a CUDA graph", why)
    return runner


def _unrecorded_runner(step: TrainingStep, division: Division, *, refused: bool) -> Runner:
    """Return the runner of steps on NumPy that may be skipped."""
    runner: Runner = EagerRunner(step, compiled=False)
    if not division.is_trivial:
        runner = EagerPartsRunner(step, division, compiled=False)
    if refused:
        why = "the update of a step is skipped if its gradients overflow in float16"
        runner.refuse("steps run operation by operation, they are not replayed", why)
    return runner


def _with_fused_update(step: TrainingStep) -> TrainingStep:
    """Return the step with its update as one kernel, where there is one."""
    optimizer, model = step.optimizer, step.model
    vectors, scalars = model.training_state.vectors, optimizer.scalars(1, 1.0)
    update = fused_update(
        optimizer.update, len(vectors), len(scalars), model.dtype, elementwise=optimizer.elementwise
    )
    return replace(step, fused_update=update)


__all__ = ["CudaGraphRunner", "EagerRunner", "ReplayRunner", "Runner", "runner_for", "step_key"]
