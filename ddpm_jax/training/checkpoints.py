"""Checkpoints by orbax: saved in the background, verified by a checksum, with a fall-back to the one before."""

import logging
import shutil
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import jax

from ddpm_jax.errors import UserError
from ddpm_jax.parallel import Plan, checksum
from ddpm_jax.training.state import TrainState

ELAPSED, SUM, FROZEN_SUM, METRIC = "elapsed_seconds", "checksum", "frozen_checksum", "validation_loss"


@dataclass(frozen=True)
class Restored:
    """A state read back, and the seconds of training that led to it."""

    state: TrainState
    elapsed: float


class Checkpoints:
    """The checkpoints of one run: the latest, the best by validation loss, and every N steps for good.

    A checkpoint carries the checksum of its arrays. One that does not read, or reads as something else, is passed over
    with a warning, and the one before it is used. `frozen` parameters are saved once, beside the steps.
    """

    def __init__(
        self,
        folder: Path,
        plan: Plan,
        keep_latest: int = 2,
        keep_best: int = 1,
        keep_every: int = 0,
        read_only: bool = False,
    ):
        self._keep = keep_latest, keep_best, keep_every
        self._read_only = read_only
        self._plan = plan
        self._folder = folder.absolute()
        self._sum = jax.jit(checksum)
        self._saving: Any = None
        if not read_only:
            self._drop_empty()
        if jax.process_count() > 1 or read_only or self._any():
            _ = self._orbax  # a new run's first step need not wait for its import; several processes open it together

    def _any(self) -> bool:
        """Whether the folder holds anything."""
        return self._folder.exists() and any(self._folder.iterdir())

    @cached_property
    def _ocp(self) -> Any:
        """Orbax, imported when there is something to read or to save."""
        from orbax.checkpoint import v1 as ocp

        logging.getLogger("absl").setLevel(logging.ERROR)  # orbax tells every step of every save
        return ocp

    @cached_property
    def _orbax(self) -> Any:
        """Orbax's checkpointer on the folder."""
        latest, best, every = self._keep
        keep = self._ocp.training.preservation_policies
        policies: list[Any] = [keep.LatestN(latest)]
        if best:
            lowest = keep.BestN(
                get_metric_fn=lambda metrics: metrics[METRIC],
                reverse=True,
                n=best,
                keep_checkpoints_without_metrics=False,
            )
            policies.append(lowest)
        if every:
            policies.append(keep.EveryNSteps(every))
        return self._ocp.training.Checkpointer(
            self._folder,
            preservation_policy=keep.AnyPreservationPolicy(policies),
            cleanup_tmp_directories=not self._read_only,
        )

    @property
    def _open(self) -> bool:
        return "_orbax" in self.__dict__

    def _drop_empty(self) -> None:
        """A killed process can leave an empty step folder, which orbax would take for the latest checkpoint."""
        if jax.process_index() == 0 and self._folder.is_dir():
            for step in self._folder.iterdir():
                if step.name.isdigit() and step.is_dir() and not any(step.iterdir()):
                    shutil.rmtree(step, ignore_errors=True)

    @property
    def steps(self) -> list[int]:
        """The steps that are kept, rising."""
        return [checkpoint.step for checkpoint in self._orbax.checkpoints] if self._open else []

    @property
    def best(self) -> int | None:
        """The step with the lowest validation loss of those kept; None where none has one."""
        kept = self._orbax.checkpoints if self._open else []
        losses = {c.step: c.metrics[METRIC] for c in kept if c.metrics and METRIC in c.metrics}
        return min(losses, key=lambda step: losses[step]) if losses else None

    def save(self, state: TrainState, elapsed: float, validation_loss: float | None = None) -> None:
        """Start saving; waits for the save before it. Does nothing where the step is saved already.

        The state may be donated as soon as this returns: orbax copies it to the host before it returns.
        """
        self.wait()
        step = int(state.step)
        if step in self.steps:
            return
        if state.frozen and not self._frozen.exists():
            self._ocp.save(self._frozen, state.frozen)
        light = replace(state, frozen={})
        extra = {ELAPSED: elapsed, SUM: int(self._sum(light)), FROZEN_SUM: int(self._sum(state.frozen))}
        metrics = None if validation_loss is None else {METRIC: validation_loss}
        self._saving = self._orbax.save_async(step, light, force=True, metrics=metrics, custom_metadata=extra)

    @property
    def _frozen(self) -> Path:
        return self._folder.parent / "frozen"

    def restore(self, abstract: TrainState, step: int | None = None) -> Restored:
        """The state at `step`, or at the latest step that reads back whole, in the plan's shardings.

        Args:
            abstract: the state's shapes and types (`jax.eval_shape`).
            step: a kept step; None for the latest.

        Raises:
            UserError: there is no checkpoint, or none that can be read.
        """
        steps = self.steps if step is None else [step]
        if not steps:
            raise UserError(f"{self._folder.parent}: no checkpoint here yet; train first")
        problems = []
        for candidate in reversed(steps):
            try:
                return self._read(abstract, candidate)
            except Exception as error:  # orbax, tensorstore and the file system each raise their own
                reason = str(_root(error)).splitlines() or [type(error).__name__]
                problems.append(f"step {candidate}: {reason[0][:200]}")
                if len(problems) < len(steps):
                    warnings.warn(f"checkpoint {problems[-1]}; trying the one before", stacklevel=2)
        raise UserError(f"{self._folder}: no checkpoint can be read ({'; '.join(problems)})")

    def _read(self, abstract: TrainState, step: int) -> Restored:
        light = replace(abstract, frozen={})
        state = self._orbax.load(step, self._with_shardings(light))
        extra = self._orbax.metadata(step).custom_metadata or {}
        if int(self._sum(state)) != extra[SUM]:
            raise ValueError("its arrays are not those that were saved (checksum)")
        frozen = {}
        if jax.tree.leaves(abstract.frozen):
            frozen = self._ocp.load(self._frozen, self._with_shardings(abstract.frozen))
            if int(self._sum(frozen)) != extra[FROZEN_SUM]:
                raise ValueError(f"the arrays in {self._frozen} are not those that were saved (checksum)")
        return Restored(replace(state, frozen=frozen), float(extra[ELAPSED]))

    def _with_shardings(self, tree: Any) -> Any:
        return jax.tree.map(
            lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
            tree,
            self._plan.state_sharding(tree),
        )

    def resume(self, fresh: Callable[[], TrainState], abstract: TrainState) -> tuple[TrainState, float]:
        """The state to go on with and the seconds behind it: the latest that reads back, or a fresh one.

        Later checkpoints, which did not read, are deleted: the run comes to their steps again.
        """
        if not self.steps:
            return fresh(), 0.0
        restored = self.restore(abstract)
        for later in self.steps:
            if later > int(restored.state.step):
                self._orbax.delete(later)
        return restored.state, restored.elapsed

    def wait(self) -> None:
        """Wait for the save that is under way, and raise what went wrong with it."""
        if self._saving is not None:
            self._saving.result()
            self._saving = None

    def close(self) -> None:
        """Finish what is under way."""
        self.wait()
        if self._open:
            self._orbax.close()

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *exception: Any) -> None:
        self.close()


def _root(error: BaseException) -> BaseException:
    """The exception at the start of a chain."""
    while error.__cause__ or error.__context__:
        error = error.__cause__ or error.__context__  # type: ignore[assignment]
    return error
