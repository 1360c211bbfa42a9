"""The life of a sweep: start members as there is room, wait for those that others train, go on when one fails."""

import errno
import math
import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ddpm_jax import runs
from ddpm_jax.commands.preemption import SIGNALS
from ddpm_jax.errors import Busy, Preempted, UserError
from ddpm_jax.progress import Bar, duration
from ddpm_jax.runs import locks
from ddpm_jax.sweeps.expansion import Member
from ddpm_jax.sweeps.workers import LOGS, ROOM, Share, Worker, shares, stop

PAUSE = 0.2
"""Seconds between two looks at the processes."""

SHOWN = 1.0
"""Seconds between two looks at the runs' logs."""

IN_VAIN = 3
"""How often a run that is told to make room may have saved nothing new, before that counts as a failure."""

FULL = (*(os.strerror(number) for number in (errno.ENOSPC, errno.EDQUOT)), "the disk is full", "the disk quota is full")
"""What the last line of a member says where the next one would fail too."""


class UnreadableError(UserError):
    """What a run has left cannot be read: the run has failed, the others have not."""


@dataclass(frozen=True)
class Failure:
    """A member that failed, the line that says why, and its log."""

    member: Member
    line: str
    log: Path

    def __str__(self) -> str:
        return f"{self.member.name}: {self.line} ({self.log})"


def run(
    members: Iterable[Member],
    total: int,
    jobs: int,
    root: Path,
    ended: Callable[[Member, bool], None] = lambda member, good: None,
) -> list[Failure]:
    """Run the members that are not finished, at most `jobs` at a time, and return those that failed.

    Args:
        members: asked for the next one when there is room for it.
        total: how many there will be.
        jobs: how many run at once; each has its share of the machine.
        root: where their logs go, into `logs/`.
        ended: told of each that is finished (True) or failed (False).

    Raises:
        KeyboardInterrupt: SIGINT or SIGHUP came. The runs have been stopped.
        Preempted: SIGTERM or SIGUSR1 came. The runs have been told, and have saved where they are.
        UserError: the disk is full or cannot be written, or `members` or `ended` raised it. What was running went on
            to its end.
    """
    with _stop_signals() as signals, Bar("run", total, unit="runs", delay=0.0, stay=True, memory=math.inf) as bar:
        loop = _Loop(iter(members), shares(jobs), root, bar, ended)
        try:
            while not signals and loop.goes_on():
                time.sleep(PAUSE)
        finally:
            loop.stop(signals)
        if signals:
            raise Preempted if signals[0] in SIGNALS else KeyboardInterrupt
    if loop.obstacle:
        raise UserError(f"{loop.obstacle}; when that is mended, the same command goes on")
    return loop.failures


class _Loop:
    def __init__(
        self,
        coming: Iterator[Member],
        parts: list[Share],
        root: Path,
        bar: Bar,
        ended: Callable[[Member, bool], None],
    ):
        self._coming, self._shares, self._root, self._bar, self._ended = coming, parts, root, bar, ended
        self._more = True
        self._workers: dict[int, Worker] = {}
        self._waiting: list[Member] = []
        self._made_room: dict[str, tuple[int, int]] = {}
        self._orphans = [path.parent for path in root.glob(f"*/{locks.LOCK}")]
        self._blocked = False
        self.failures: list[Failure] = []
        self.obstacle = ""
        self._shown, self._done = 0.0, 0

    def goes_on(self) -> bool:
        """Look at every process and start what there is room for; False when all is done."""
        for index, worker in list(self._workers.items()):
            if worker.code() is not None:
                del self._workers[index]
                self._settle(worker)
        self._fill()
        self._show()
        return bool(self._workers) or (not self.obstacle and bool(self._waiting or self._more))

    def stop(self, signals: list[int]) -> None:
        """End the processes that still run, as the first of the signals that have come asks for it."""
        count = len(self._workers)
        if signals and signals[0] in SIGNALS:  # which may well be said twice, and is no hurry
            what = f"{count} run{'s save' if count != 1 else ' saves'} and end{'s' * (count == 1)}"
            self._bar.write(f"told to make room: {what}; the same command goes on")
            stop(list(self._workers.values()), lambda: bool({*signals} - {*SIGNALS}), ROOM)
        elif self._workers:
            self._bar.write(f"stopping {count} (once more, and they are killed)")
            stop(list(self._workers.values()), lambda: len(signals) > 1)

    def _settle(self, worker: Worker) -> None:
        """A process has ended."""
        member, code = worker.member, worker.code()
        if code == 0:
            self._end(member, f"finished in {duration(worker.seconds)}")
        elif code == Busy.code:  # another sweep was quicker
            self._wait(member)
        elif code == Preempted.code:
            self._go_on(worker)
        else:
            self._fail(worker, worker.last_words())

    def _fail(self, worker: Worker, line: str) -> None:
        failure = Failure(worker.member, line, worker.log)
        self.failures.append(failure)
        if any(words in line for words in FULL):
            self._give_up(str(failure))
        self._end(worker.member, f"failed: {line}", good=False)

    def _go_on(self, worker: Worker) -> None:
        """Somebody has told a run alone to make room: it is started again, unless that leads nowhere."""
        member, step = worker.member, runs.latest_checkpoint(worker.member.folder) or 0
        before, times = self._made_room.get(member.name, (-1, 0))
        times = times + 1 if step <= before else 0
        self._made_room[member.name] = step, times
        if times >= IN_VAIN:
            self._fail(worker, f"told to make room {times + 1} times at step {step}")
        else:
            self._bar.write(f"{member.name}: was told to make room at step {step}; it goes on when its turn comes")
            self._waiting.append(member)

    def _end(self, member: Member, words: str = "", good: bool = True) -> None:
        if words:
            self._bar.write(f"{member.name}: {words}")
        self._done += 1
        self._bar.update(self._done, counts=bool(words))  # one that was finished already took no time
        try:
            self._ended(member, good)
        except UnreadableError as error:
            self.failures.append(Failure(member, str(error), self._log(member)))
        except UserError as error:
            self._give_up(str(error))

    def _log(self, member: Member) -> Path:
        return self._root / LOGS / f"{member.name}.txt"

    def _give_up(self, words: str) -> None:
        """Start nothing more; what runs goes on to its end."""
        self.obstacle = self.obstacle or words

    def _wait(self, member: Member) -> None:
        self._waiting.append(member)
        self._bar.write(f"{member.name}: {locks.holder(member.folder) or 'another process'} trains it; waiting")

    def _fill(self) -> None:
        """Start a member in every share that is free."""
        self._orphans = [folder for folder in self._orphans if _orphan_cores(folder)]
        used: set[int] = set().union(*(_orphan_cores(folder) for folder in self._orphans))
        if self._orphans and not self._blocked and all(share.cores & used for share in self._shares):
            self._blocked = True  # said once
            self._bar.write(f"an earlier sweep's run still has the cores: {self._orphans[0]}; waiting for it")
        for index, share in enumerate(self._shares):
            if index in self._workers or share.cores & used or self.obstacle:
                continue
            try:
                member = self._next()
            except UserError as error:
                self._give_up(str(error))
                return
            if member is None:
                return
            log = self._log(member)
            try:
                self._workers[index] = Worker(member, share, log)
            except OSError as error:
                self._give_up(f"{log}: {error.strerror}")

    def _next(self) -> Member | None:
        """A member that is neither finished nor another process's."""
        for member in list(self._waiting):
            if not locks.holder(member.folder):
                self._waiting.remove(member)
                if not runs.finished(member.folder):
                    return member
                self._end(member, "finished by another process")
        for member in self._coming:
            if runs.finished(member.folder):
                self._end(member)
            elif locks.holder(member.folder):
                self._wait(member)
            else:
                return member
        self._more = False
        return None

    def _show(self) -> None:
        """Where the running members are, as their own logs have it."""
        if time.monotonic() < self._shown + SHOWN:
            return
        self._shown = time.monotonic()
        where = []
        for worker in self._workers.values():
            step, steps = runs.last_row(worker.member.folder).get("step", 0), worker.member.config.training.steps
            where.append(f"{worker.member.name} {step}{f'/{steps}' if steps else ''}")
        self._bar.update(self._done, ", ".join(where))


def _orphan_cores(folder: Path) -> frozenset[int]:
    """The cores of the process that trains in the folder, if it is here and whoever started it has gone."""
    held = locks.holder(folder)
    if held is None or not held.here or held.parent == _parent(held.pid):
        return frozenset()
    try:
        return frozenset(os.sched_getaffinity(held.pid))
    except (OSError, AttributeError):
        return frozenset()


def _parent(pid: int) -> int | None:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except (OSError, ValueError, IndexError):
        return None


@contextmanager
def _stop_signals() -> Iterator[list[int]]:
    """The signals to stop that have come; they interrupt nothing."""
    came: list[int] = []
    numbers = (signal.SIGINT, signal.SIGHUP, *SIGNALS)
    before = [signal.signal(number, lambda number, frame: came.append(number)) for number in numbers]
    try:
        yield came
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
