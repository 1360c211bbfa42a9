"""Small limits of files, memory, processes and time: one line, no traceback; without them the same command goes on."""

import os
import random
import shutil
import signal

from tests.campaign import flips, judge, kills, places, world
from tests.campaign.judge import Judged, Verdict, failed
from tests.campaign.places import Slot
from tests.campaign.world import World

WEIGHTS = {
    "RLIMIT_NOFILE": 3,
    "RLIMIT_AS": 3,
    "RLIMIT_FSIZE": 3,
    "RLIMIT_NPROC": 1,
    "RLIMIT_CPU": 1,
    "RLIMIT_STACK": 1,
    "RLIMIT_DATA": 1,
}

NOBODY = 65534


def value(rng: random.Random, name: str) -> int:
    """A limit that is small, but lets Python itself start."""
    low, high = {
        "RLIMIT_NOFILE": (8, 200),
        "RLIMIT_AS": (2.5e8, 6e9),
        "RLIMIT_DATA": (1e8, 2e9),
        "RLIMIT_FSIZE": (100, 3e5),
        "RLIMIT_NPROC": (1, 40),
        "RLIMIT_CPU": (1, 6),
        "RLIMIT_STACK": (1e5, 4e6),
    }[name]
    return int(low * (high / low) ** rng.random())


def case(here: World, slot: Slot, rng: random.Random) -> tuple[str, Judged]:
    """Run a command under a limit, and then, if it trains, without."""
    name = places.choose(rng, WEIGHTS)
    limit = value(rng, name)
    command = rng.choice(("train", "train", "sample", "evaluate", "report"))
    real = name not in {"RLIMIT_NOFILE", "RLIMIT_FSIZE"} or rng.random() < 0.3
    what = f"{command} with {name}={limit}"
    here.fresh(slot, "" if command == "train" else "finished")
    words = {
        "train": places.train_words(slot),
        "sample": places.sample_words(slot),
        "evaluate": ["evaluate", f"--workdir={slot.run}"],
        "report": here.report_words(slot),
    }[command]
    before: list[str] = []
    if name == "RLIMIT_NPROC":  # root may have any number
        if os.geteuid() != 0 or not shutil.which("setpriv") or not others_may_run(here, slot):
            return what, Judged(Verdict.SKIPPED, "needs root, and a Python that other users may run")
        for path in (slot.folder, *map(str, places.listing(slot.folder))):
            os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
        before = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    outcome = here.run(slot, *words, real=real, limits={name: limit}, before=before)
    first = judged(outcome, here, slot, command, [signal.SIGXCPU, signal.SIGKILL] if name == "RLIMIT_CPU" else [])
    if command != "train" or first.verdict in {Verdict.FAILED, Verdict.SKIPPED}:
        return what, first
    again = here.run(slot, *words)
    end = kills.survived(again, *flips.end_of(here, slot)) if again.code == 0 else kills.ended(again)
    return what, first if end.verdict != Verdict.FAILED else failed(f"without the limit: {end.why}")


def others_may_run(here: World, slot: Slot) -> bool:
    """Whether another user may run this Python and read the slot."""
    here.fresh(slot)
    before = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    try:
        return here.run(slot, "report", "--help", before=before).code == 0
    except OSError:
        return False


def judged(outcome: judge.Outcome, here: World, slot: Slot, command: str, signals: list[int]) -> Judged:
    """The verdict on a command under a limit."""
    if outcome.code is not None and -outcome.code in signals:
        return Judged(Verdict.SURVIVED, "ended by the limit")
    if outcome.code == 0:
        return judge.after_damage(outcome, *_end(here, slot, command))
    words, last = judge.said(outcome), judge.last_words(outcome.err)
    if "ddpm_jax" not in outcome.err and any(sign in outcome.err for sign in ("<frozen", "Fatal Python error")):
        return Judged(Verdict.SKIPPED, f"Python itself does not start: {last}")
    if trace := judge.traceback_in(outcome):
        return failed(f"a traceback: {trace}")
    if outcome.code is not None and outcome.code not in {1, 2}:
        return Judged(Verdict.ABORTED, f"exit code {outcome.code}: {last}")
    return _told(outcome, words)


def _told(outcome: judge.Outcome, words: list[str]) -> Judged:
    if outcome.code is None or len(words) > judge.FEW or not any(line.startswith("error:") for line in words):
        return failed(f"exit code {outcome.code}, {len(words)} lines: {' / '.join(line[:120] for line in words[-3:])}")
    return Judged(Verdict.DETECTED, words[-1])


def _end(here: World, slot: Slot, command: str) -> tuple[str, str]:
    if command == "report":
        return "", "" if places.read_report(slot) else "there is no report"
    return {"train": flips.end_of, "evaluate": flips.figures_of, "sample": _samples}[command](here, slot)


def _samples(here: World, slot: Slot) -> tuple[str, str]:
    drawn = places.read_samples(places.drawn_file(slot))
    return ("", "") if drawn == here.samples[str(world.STEPS[-1])] else (f"the samples differ: {drawn}", "")
