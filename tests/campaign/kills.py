"""SIGKILL at random moments: to training, to a sweep, and to the pieces that write; then the same command again."""

import json
import random
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass

from tests.campaign import flips, judge, places
from tests.campaign.judge import Judged, Verdict, failed
from tests.campaign.places import PROGRAMS, Slot
from tests.campaign.processes import Started
from tests.campaign.world import World

WEIGHTS = {
    "train": 3,
    "real train": 1.5,
    "save": 2,
    "result": 1,
    "rows": 1,
    "cache": 1,
    "sweep": 1,
    "real sweep": 0.15,
}

SIGNS = (
    "runs/run/.lock",
    "runs/run/config.json",
    "runs/run/metrics.jsonl",
    "runs/run/checkpoints",
    "runs/run/checkpoints/2*",
    "runs/run/checkpoints/4*",
    "runs/run/checkpoints/4/metrics",
    "runs/run/checkpoints/6*",
    "runs/run/checkpoints/6/state",
    "runs/run/checkpoints/6/_CHECKPOINT_METADATA",
    "runs/run/.metrics*",
    "runs/run/result.json",
    "runs/run/wandb",
    "runs/run/samples.png",
    "cache/*/*",
    "cache/*/.*",
    "cache/.*",
)
"""Files whose appearing is a moment."""


@dataclass(frozen=True)
class Moment:
    """When to strike: so many seconds after the start, or after a file appears."""

    seconds: float
    sign: str = ""

    def __str__(self) -> str:
        return f"{self.seconds:.3f} s after {self.sign or 'the start'}"

    def wait(self, slot: Slot, process: Started, patience: float = 60.0) -> bool:
        """Wait for it; False if the process ends before."""
        end = time.monotonic() + patience
        while self.sign and process.code() is None and time.monotonic() < end and not any(slot.folder.glob(self.sign)):
            time.sleep(0.002)
        end = time.monotonic() + self.seconds
        while process.code() is None and time.monotonic() < end:
            time.sleep(0.002)
        return process.code() is None


def moment(rng: random.Random, whole: float) -> Moment:
    """A random moment in something that takes `whole` seconds."""
    if rng.random() < 0.4:
        return Moment(rng.uniform(0, whole))
    return Moment(min(rng.expovariate(20), 1.0), rng.choice(SIGNS))


def case(here: World, slot: Slot, rng: random.Random) -> tuple[str, Judged]:
    """Kill something once or a few times, and judge what is left."""
    kind = places.choose(rng, WEIGHTS)
    if kind in {"train", "real train"}:
        return train(here, slot, rng, kind == "real train")
    if kind in {"sweep", "real sweep"}:
        return sweep(here, slot, rng, kind == "real sweep")
    return piece(here, slot, rng, kind)


def train(here: World, slot: Slot, rng: random.Random, real: bool) -> tuple[str, Judged]:
    """Kill training, and start it again until it is done: the end is that of a run that nobody killed."""
    here.fresh(slot)
    if rng.random() < 0.3:
        places.forget(slot)
    more = ["--config.logging.wandb=offline"] if rng.random() < 0.3 else []
    words = places.train_words(slot, *more)
    whole = here.seconds if real else 0.6 * here.seconds
    moments = [moment(rng, whole) for _ in range(rng.choice((1, 1, 2, 3)))]
    struck = []
    for when in moments:
        process = here.start(slot, *words, real=real)
        if when.wait(slot, process):
            process.send(signal.SIGKILL)
            struck.append(str(when))
        outcome = process.end()
        if bad := judge.fault(outcome, signals=[signal.SIGKILL] if str(when) in struck else []):
            return f"training, killed {'; '.join(struck)}", failed(bad)
    outcome = here.run(slot, *words, real=real)
    what = f"{'real ' * real}training{' with W&B' * bool(more)}, killed {'; '.join(struck) or 'too late'}"
    return what, survived(outcome, *flips.end_of(here, slot)) if outcome.code == 0 else ended(outcome)


def ended(outcome: judge.Outcome) -> Judged:
    """The verdict on a command that should have come to its end and did not."""
    return failed(judge.fault(outcome) or f"exit code {outcome.code}: {judge.last_words(outcome.err)}")


def survived(outcome: judge.Outcome, wrong: str, lost: str, few: int = judge.FEW) -> Judged:
    """The verdict on the end of what was disturbed: nothing may be wrong and nothing lost, whatever was said."""
    if bad := judge.fault(outcome, few):
        return failed(bad)
    return failed(wrong or lost) if wrong or lost else Judged(Verdict.SURVIVED, " / ".join(judge.said(outcome))[:200])


def sweep(here: World, slot: Slot, rng: random.Random, real: bool) -> tuple[str, Judged]:
    """Kill a sweep, whose runs may live on, and start it again: every member ends, and none twice."""
    here.fresh(slot) if real else here.bare(slot)
    root = slot.folder / "runs" / "sweep"
    words = [f"--config={slot.tiny}", f"--workdir={root}", f"--jobs={rng.choice((1, 2))}"]
    program = "sweep" if real else PROGRAMS
    variables = here.environment(slot, STAND_IN_SECONDS=str(round(rng.uniform(0, 0.3), 3)))
    struck = []
    for _ in range(rng.choice((1, 2))):
        when = Moment(rng.uniform(0, 20.0 if real else 3.0))
        process = here.start(slot, program, *([] if real else ["sweep"]), *words, real=real, environment=variables)
        if when.wait(slot, process):
            process.send(signal.SIGKILL)
            struck.append(str(when))
        if bad := judge.fault(process.end(), signals=[signal.SIGKILL] if struck else []):
            return "a sweep, killed", failed(bad)
    outcome = here.run(slot, program, *([] if real else ["sweep"]), *words, real=real, environment=variables)
    what = f"{'real ' * real}sweep, killed {'; '.join(struck) or 'too late'}"
    if outcome.code != 0:
        return what, ended(outcome)
    results = [path for path in root.glob("*/result.json") if json.loads(path.read_text()).get("finished") is True]
    lost = "" if len(results) == 3 else f"{len(results)} of 3 members are finished"
    return what, survived(outcome, "", lost)


def piece(here: World, slot: Slot, rng: random.Random, kind: str) -> tuple[str, Judged]:
    """Kill a loop that writes; what is there reads whole, and is no older than what was told to be there."""
    here.bare(slot)
    slot.run.mkdir()
    told = -1
    moments = []
    for _ in range(rng.choice((1, 2))):
        process = here.start(slot, PROGRAMS, kind, str(slot.run))
        _first_words(process)
        when = Moment(rng.uniform(0, 0.6))
        when.wait(slot, process)
        process.send(signal.SIGKILL)
        outcome = process.end()
        moments.append(f"{when.seconds:.3f} s after it began to write")
        if bad := judge.fault(outcome, signals=[signal.SIGKILL]):
            return f"{kind}, killed", failed(bad)
        lines = outcome.out.splitlines()
        told = int(lines[-1].split()[0]) if lines else told
    return f"a loop of {kind}, killed {'; '.join(moments)}", PIECES[kind](here, slot, told)


def _first_words(process: Started, patience: float = 60.0) -> None:
    end = time.monotonic() + patience
    while process.code() is None and time.monotonic() < end and not process.out.stat().st_size:
        time.sleep(0.005)


def _saved(here: World, slot: Slot, told: int) -> Judged:
    outcome = here.run(slot, PROGRAMS, "saved", str(slot.run))
    if outcome.code != 0:
        return ended(outcome)
    found = json.loads(outcome.out.splitlines()[-1])
    if not found["same"]:
        return failed(f"the arrays are not those of step {found['step']}")
    if found["step"] < told:
        return failed(f"step {told} was committed, and {found['step']} is read")
    return Judged(Verdict.SURVIVED)


def _result(here: World, slot: Slot, told: int) -> Judged:
    result = json.loads((slot.run / "result.json").read_text())
    if result["number"] != result["again"] or result["long"] != [result["number"]] * 2000:
        return failed("a mixed result.json")
    return Judged(Verdict.SURVIVED) if result["number"] >= told else failed(f"{told} was written, {result} is there")


def _rows(here: World, slot: Slot, told: int) -> Judged:
    whole = (slot.run / "metrics.jsonl").read_text().splitlines()
    steps = [json.loads(line)["step"] for line in whole[:-1]]  # the last may be half a line
    with_last = [*steps, _step(whole[-1])] if whole else []
    good = set(range(1, told + 1)) <= set(with_last)
    return Judged(Verdict.SURVIVED) if good else failed(f"{told} rows were written, {len(with_last)} are there")


def _step(line: str) -> int:
    try:
        return json.loads(line)["step"]
    except ValueError:
        return 0


def _caches(here: World, slot: Slot, told: int) -> Judged:
    outcome = here.run(slot, PROGRAMS, "read_caches", str(slot.run))
    if outcome.code != 0:
        return ended(outcome)
    if len(found := set(outcome.out.split())) > 1:
        return failed(f"{len(found)} different data sets are read from caches")
    return Judged(Verdict.SURVIVED)


PIECES: dict[str, Callable[[World, Slot, int], Judged]] = {
    "save": _saved,
    "result": _result,
    "rows": _rows,
    "cache": _caches,
}
