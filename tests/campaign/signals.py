"""Signals to training, sampling and evaluation at random moments: how they end, and that nothing is lost by it."""

import random
import signal
import subprocess
import time

from tests.campaign import flips, judge, kills, places
from tests.campaign.judge import Judged, Verdict, failed
from tests.campaign.places import Slot
from tests.campaign.world import World

PREEMPTED, STOPPED = 85, 130

CODES = {
    signal.SIGTERM: (PREEMPTED,),
    signal.SIGUSR1: (PREEMPTED,),
    signal.SIGINT: (STOPPED,),
    signal.SIGHUP: (-signal.SIGHUP, 128 + signal.SIGHUP, PREEMPTED, STOPPED),
}
"""Exit codes that each may end training with. Of the last, which means that the terminal has gone, nothing is promised
but that nothing is lost."""

GRACE = 30.0
"""Seconds in which a process must save and end."""


def case(here: World, slot: Slot, rng: random.Random) -> tuple[str, Judged]:
    """Send a signal at a random moment, judge the end, and go on with the run."""
    if rng.random() < 0.15:
        return pipe(here, slot, rng)
    here.fresh(slot)
    number = rng.choice((signal.SIGINT, signal.SIGTERM, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP))
    times = rng.choice((1, 1, 5)) if number in {signal.SIGINT, signal.SIGTERM} else 1
    real = rng.random() < 0.3
    when = kills.moment(rng, here.seconds if real else 0.6 * here.seconds)
    process = here.start(slot, *places.train_words(slot), real=real)
    what = f"{times} x {number.name} to {'real ' * real}training {when}"
    if not when.wait(slot, process):
        what += " (too late)"
    claimed = (slot.run / ".lock").exists()
    struck = process.code() is None
    for _ in range(times):
        process.send(number)
        time.sleep(rng.uniform(0, 0.15))
    outcome = process.end(GRACE + 15)
    default = [number] if not claimed or number == signal.SIGHUP or (times > 1 and number == signal.SIGINT) else []
    # by the signal itself: before anything is written, or when the next came as the command was ending
    if bad := judge.fault(outcome, signals=default):
        return what, failed(bad)
    if outcome.seconds > when.seconds + 60 + GRACE:
        return what, failed(f"it took {outcome.seconds:.0f} s to end")
    codes = {*CODES[number], *(-one for one in default), 0}  # 0: it came when all was done
    if struck and outcome.code not in codes:
        return what, failed(f"exit code {outcome.code}: {judge.last_words(outcome.err)}")
    again = here.run(slot, *places.train_words(slot))
    return what, kills.survived(again, *flips.end_of(here, slot)) if again.code == 0 else kills.ended(again)


def pipe(here: World, slot: Slot, rng: random.Random) -> tuple[str, Judged]:
    """Whoever reads the output has gone, as `head -1` does: no traceback, and the run is not lost."""
    here.fresh(slot, "half")
    command = rng.choice(("train", "train", "sample", "evaluate", "report"))
    words = {
        "train": places.train_words(slot),
        "sample": places.sample_words(slot),
        "evaluate": ["evaluate", f"--workdir={slot.run}"],
        "report": here.report_words(slot),
    }[command]
    process = here.start(slot, *words, stdout=subprocess.PIPE)
    assert isinstance(process.process, subprocess.Popen) and process.process.stdout
    if rng.random() < 0.5:
        process.process.stdout.readline()
    process.process.stdout.close()
    outcome = process.end()
    what = f"{command} into a pipe that is closed"
    for trace in judge.TRACES:
        if trace in outcome.err:
            return what, failed(f"a traceback: {judge.last_words(outcome.err)}")
    if outcome.code not in {0, 1, -signal.SIGPIPE, 128 + signal.SIGPIPE}:
        return what, failed(f"exit code {outcome.code}: {judge.last_words(outcome.err)}")
    if command != "train":
        return what, Judged(Verdict.SURVIVED)
    again = here.run(slot, *words)
    return what, kills.survived(again, *flips.end_of(here, slot)) if again.code == 0 else kills.ended(again)
