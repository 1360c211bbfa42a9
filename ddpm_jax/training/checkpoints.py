"""Checkpoints by orbax: saved in the background, verified by a checksum, with a fall-back to the one before.

A checkpoint is a folder `STEP` of two trees of arrays, the training state and a few facts about it. Orbax writes it
elsewhere and renames it when it is whole. Nothing else is needed to read it: no index of all checkpoints, no metadata.
"""

import contextlib
import logging
import shutil
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from ddpm_jax.devices.agreement import agree, agree_on, all_agree, checksum, wait_for_all
from ddpm_jax.devices.plan import Plan
from ddpm_jax.errors import UserError, refused_by_the_system
from ddpm_jax.files import Record, checkpoint_steps, set_aside
from ddpm_jax.training import earlier, names
from ddpm_jax.training.facts import DamagedCheckpointError, Facts, abstract_facts, packed, unpacked
from ddpm_jax.training.state import TrainState

STATE, FACTS = "state", "facts"
"""The two trees of a checkpoint."""

DELETED, REPLACED, UNFINISHED = ".deleted", ".replaced", ".orbax-checkpoint-tmp"
"""Ends of names of folders that are no checkpoints: about to go, to go when another is in its place, and left
by a process that was killed."""


@dataclass(frozen=True)
class Restored:
    """A state read back, and what is known of it."""

    state: TrainState
    facts: Facts


Value = TypeVar("Value")


class Checkpoints:
    """The checkpoints of one run: the latest, the best by validation loss, and every N steps for good.

    One that does not read, or reads as something else, is set aside with a warning, and the one before it is used.
    `frozen` parameters are saved once, beside the steps.

    Args:
        folder: of the checkpoints.
        plan: the devices.
        keep_latest: how many of the newest checkpoints are kept, and of those with a validation loss.
        keep_best: how many of the lowest validation loss.
        keep_every: those at multiples of this are kept for good; 0: none.
        read_only: write and delete nothing.
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
        self._saving: tuple[int, Facts, Any] | None = None
        self._facts: dict[int, Facts | None] = {}
        self._unread: set[int] = set()
        self._told_earlier = False
        if not read_only:
            if jax.process_index() == 0:
                self._clean()
            wait_for_all("checkpoints are cleaned")
        if jax.process_count() > 1:  # orbax reads in all processes together: not later, when one looks alone
            for step in agree_on(self.steps):
                self.facts(step)

    @cached_property
    def _ocp(self) -> Any:
        """Orbax, imported when there is something to read or to save."""
        from orbax.checkpoint import v1 as ocp

        for name in ("absl", "asyncio"):  # orbax tells every step of every save, asyncio every task that was given up
            logging.getLogger(name).setLevel(logging.CRITICAL)
        warnings.filterwarnings("ignore", message="coroutine .* was never awaited", category=RuntimeWarning)
        return ocp

    def _clean(self) -> None:
        """Remove what a killed process left: half-saved folders, half-deleted ones."""
        if not self._folder.is_dir():
            return
        for path in self._folder.iterdir():
            if path.is_dir() and (UNFINISHED in path.name or path.name.endswith(DELETED)):
                shutil.rmtree(path, ignore_errors=True)
        self._settle_replaced()

    @property
    def steps(self) -> list[int]:
        """The steps that are kept, rising."""
        return checkpoint_steps(self._folder)

    @property
    def milestones(self) -> list[int]:
        """The kept steps that have a validation loss, rising."""
        return [step for step in self.steps if (facts := self.facts(step)) is not None and facts.milestone]

    @property
    def best(self) -> int | None:
        """The step with the lowest validation loss of those kept; None where none has one."""
        return next(iter(self._by_loss()), None)

    def _by_loss(self) -> list[int]:
        return sorted(self.milestones, key=lambda step: self._facts[step].validation_loss)  # type: ignore[union-attr]

    def facts(self, step: int) -> Facts | None:
        """What is known of a kept step; None where it does not read."""
        if step not in self._facts and step not in self._unread:
            try:
                self._facts[step] = self._read_facts(step)
            except Exception as error:  # whatever orbax and the file system raise for a damaged one
                if not refused_by_the_system(error, of_the_moment=True):
                    self._facts[step] = None
                elif jax.process_count() > 1:  # it may read later, but not in one process alone
                    self._unread.add(step)
        return self._facts.get(step)

    def _read_facts(self, step: int) -> Facts:
        return unpacked(self._packed_facts(step))

    def _packed_facts(self, step: int) -> Record:
        if self._is_earlier(step):
            return earlier.packed_facts(self._folder / str(step))
        return self._load(step, FACTS, abstract_facts())

    def _is_earlier(self, step: int) -> bool:
        return earlier.is_earlier(self._folder / str(step))

    def _load(self, step: int, part: str, asked: PyTree) -> PyTree:
        return self._ocp.load(self._folder / str(step), asked, checkpointable_name=part)

    def save(self, state: TrainState, facts: Facts) -> None:
        """Start saving; waits for the save before it. Does nothing where the step is saved already, as well known.

        The state may be donated as soon as this returns: orbax copies it to the host before it returns.

        Raises:
            UserError: the system refuses it, or the run's folder is not there any more.
        """
        self.wait()
        step = int(state.step)
        there = bool(agree(float(step in self.steps)))  # file systems may tell processes different things
        if there:
            known = self.facts(step)
            if not facts.milestone or (known is not None and known.milestone):
                return
            if jax.process_index() == 0:
                (self._folder / str(step)).rename(self._folder / f"{step}{REPLACED}")
            wait_for_all("a checkpoint makes room for one that knows more")
        with self._telling():
            if not self._folder.parent.is_dir():
                raise UserError(f"{self._folder.parent} has been removed while the run was trained")
            self._folder.mkdir(exist_ok=True)
            if state.frozen and not self._frozen.exists():
                self._ocp.save(self._frozen, state.frozen)
            light = replace(state, frozen={})
            sums = int(self._sum(light)), int(self._sum(state.frozen))
            parts = {STATE: light, FACTS: packed(facts, *sums)}
            self._saving = step, facts, self._ocp.save_checkpointables_async(self._folder / str(step), parts)

    @contextlib.contextmanager
    def _telling(self) -> Iterator[None]:
        """What the system refuses inside is a UserError that says so, whatever orbax makes of it."""
        try:
            yield
        except UserError:
            raise
        except Exception as error:
            if jax.process_index() == 0 and self._folder.is_dir():
                self._settle_replaced()
            if line := refused_by_the_system(error):
                again = "the same command goes on from the last checkpoint when that is mended"
                raise UserError(f"{self._folder}: nothing can be saved: {line}; {again}") from error
            raise

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
        steps = agree_on(self.steps) if step is None else [step]
        for name in self._emptied() if step is None else ():
            warnings.warn(f"checkpoint step {name} is empty; trying the one before", stacklevel=2)
        if not steps:
            raise UserError(f"{self._folder.parent}: no checkpoint here yet; train first")
        problems = []
        for candidate in reversed(steps):
            restored, reason = None, ""
            try:
                restored = self._read(abstract, candidate)
            except Exception as error:  # orbax, tensorstore and the file system each raise their own
                if line := refused_by_the_system(error, of_the_moment=True):
                    raise UserError(f"{self._folder}: step {candidate} cannot be read now: {line}") from error
                reason = _reason(error)
            if restored is not None:
                return restored
            problems.append(f"step {candidate}: {reason}")
            if len(problems) < len(steps):
                warnings.warn(f"checkpoint {problems[-1]}; trying the one before", stacklevel=2)
        raise UserError(
            f"{self._folder}: no checkpoint can be read ({'; '.join(problems)}); put a copy of it back, or train anew "
            "with another --workdir"
        )

    def _emptied(self) -> list[str]:
        """The folders of steps, after the newest that is kept, that hold nothing any more."""
        newest = max(self.steps, default=-1)
        names = [path.name for path in self._folder.glob("[0-9]*") if path.name.isdecimal() and path.is_dir()]
        return [name for name in sorted(names) if int(name) > newest]

    def _read(self, abstract: TrainState, step: int) -> Restored:
        packed_facts = _together(lambda: self._packed_facts(step))
        facts = _together(lambda: unpacked(packed_facts))
        light, read = replace(abstract, frozen={}), partial(self._load_state, step=step)
        state = _together(lambda: names.load(read, light))  # by the names that its checksum is of
        frozen, old = {}, self._is_earlier(step)
        if int(self._sum(replace(state, skipped=None) if old else state)) != int(packed_facts["sum"]):
            raise DamagedCheckpointError("its arrays are not those that were saved (checksum)")
        if int(state.step) != step:
            raise DamagedCheckpointError(f"it holds step {int(state.step)}")
        if jax.tree.leaves(abstract.frozen):
            frozen = _together(lambda: self._ocp.load(self._frozen, self._with_shardings(abstract.frozen)))
            if int(self._sum(frozen)) != int(packed_facts["frozen_sum"]):
                line = f"the arrays in {self._frozen} are not those that were saved (checksum)"
                raise DamagedCheckpointError(line)
        self._facts[step] = facts
        named = names.today(state, light)
        changes = ["their count of skipped steps is taken as 0"] if old else []
        changes += ["their parameters are given the names of this one"] if named is not state else []
        if changes and not self._told_earlier:
            self._told_earlier = True
            line = f"an earlier version of ddpm_jax saved checkpoints here; {' and '.join(changes)}"
            warnings.warn(f"{self._folder}: {line}", stacklevel=3)
        return Restored(replace(named, frozen=frozen), facts)

    def _load_state(self, abstract: TrainState, step: int) -> TrainState:
        if not self._is_earlier(step):
            return self._load(step, STATE, self._with_shardings(abstract))
        none = self._plan.initialise(partial(jnp.zeros, abstract.skipped.shape, abstract.skipped.dtype))
        return TrainState(**self._load(step, STATE, self._with_shardings(earlier.held(abstract))), skipped=none)

    def _with_shardings(self, tree: PyTree) -> PyTree:
        return jax.tree.map(
            lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
            tree,
            self._plan.state_sharding(tree),
        )

    def resume(self, fresh: Callable[[], TrainState], abstract: TrainState) -> Restored:
        """The state to go on with and what is known of it: the latest that reads back, or a fresh one.

        Later checkpoints, which did not read, are set aside: the run comes to their steps again.
        """
        if not agree_on(self.steps):
            return Restored(fresh(), Facts())
        restored = self.restore(abstract)
        later = [step for step in self.steps if step > int(restored.state.step)]
        if jax.process_index() == 0:
            for name in self._emptied():
                (self._folder / name).rmdir()
            for step in later:
                self._set_aside(step)
        wait_for_all("damaged checkpoints are set aside")
        return restored

    def wait(self) -> None:
        """Wait for the save that is under way, raise what went wrong with it, and drop what need not be kept."""
        if self._saving is None:
            return
        step, facts, saving = self._saving
        self._saving = None
        try:
            with self._telling():
                saving.result()
        finally:
            if jax.process_index() == 0:
                self._settle_replaced()
        self._facts[step] = facts
        if jax.process_index() == 0:
            self._prune()

    def _settle_replaced(self) -> None:
        """A checkpoint that was to be replaced goes if its successor is there, and comes back if it is not."""
        for path in self._folder.glob(f"*{REPLACED}"):
            there = path.with_name(path.name.removesuffix(REPLACED))
            if there.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.rename(there)

    def _prune(self) -> None:
        latest, best, every = self._keep
        steps = self.steps
        kept = {*steps[-latest:], *self.milestones[-latest:], *self._by_loss()[:best]}
        for step in steps:
            if step in kept or (every and step % every == 0):
                continue
            if self.facts(step) is not None:
                self._delete(step)
            elif step in self._facts:  # damaged; else it could not be read just now
                self._set_aside(step)

    def _set_aside(self, step: int) -> None:
        aside = set_aside(self._folder / str(step))
        warnings.warn(f"checkpoint step {step} is set aside as {aside}", stacklevel=3)

    def _delete(self, step: int) -> None:
        going = self._folder / f"{step}{DELETED}"  # half-deleted it must not look like a checkpoint
        with contextlib.suppress(OSError):
            (self._folder / str(step)).rename(going)
            shutil.rmtree(going)

    def close(self) -> None:
        """Finish what is under way."""
        self.wait()

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *exception: Any) -> None:
        self.close()


def _together(read: Callable[[], Value]) -> Value:
    """What is read, once every process has it. Where one cannot read it all raise, and none computes on with others."""
    try:
        value = read()
    except Exception:
        all_agree(False)
        raise
    if not all_agree(True):
        raise DamagedCheckpointError("another process cannot read it")
    return value


def _reason(error: BaseException) -> str:
    """What the exception at the start of a chain says, in a line."""
    while error.__cause__ or error.__context__:
        error = error.__cause__ or error.__context__  # type: ignore[assignment]
    lines = str(error).splitlines() or [type(error).__name__]
    if names.are_others(error):
        return "it holds other parameters than this model has, such as those of an earlier version"
    return lines[0][:200]
