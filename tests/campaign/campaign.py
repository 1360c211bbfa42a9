"""The campaign: which cases there are, how they are run two at a time, and the table at the end."""

import random
import sys
import textwrap
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from queue import Empty, Queue
from typing import Any

from ddpm_jax.progress import Bar
from tests.campaign import disks, environments, flips, inputs, kills, limits, places, signals
from tests.campaign.judge import Judged, Verdict, failed
from tests.campaign.places import Slot
from tests.campaign.world import World

Make = Callable[[World, Slot, random.Random], tuple[str, Judged]]

KINDS: dict[str, Make] = {
    "kills": kills.case,
    "flips": flips.case,
    "inputs": inputs.case,
    "signals": signals.case,
    "disks": disks.case,
    "limits": limits.case,
    "environments": environments.case,
}
"""How a case of each kind is made from a random generator, done in a slot and judged: what it was, and the verdict."""

SHARES = {"kills": 3, "flips": 12, "inputs": 12, "signals": 2, "disks": 2, "limits": 2, "environments": 3}
"""Of a campaign that ends with the time: cases of each kind for one round."""

LONG = {"kills": 110, "flips": 1000, "inputs": 320, "signals": 40, "disks": 30, "limits": 40, "environments": 60}
"""How many cases the promises are about."""


@dataclass(frozen=True)
class Result:
    """What became of a case."""

    kind: str
    number: int
    what: str
    judged: Judged
    seconds: float

    @property
    def failed(self) -> bool:
        return self.judged.verdict == Verdict.FAILED

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "judged": {"verdict": str(self.judged.verdict), "why": self.judged.why}}


def plan(kinds: str = "", counts: str = "", long: bool = False, cases: Sequence[str] = ()) -> list[tuple[str, int]]:
    """The cases in their order, kinds mixed; as many as there may be time for.

    Raises:
        ValueError: a kind or a number is not there.
    """
    if cases:
        return [_case(words) for words in cases]
    chosen = [kind for kind in kinds.split(",") if kind] or list(KINDS)
    numbers = dict(LONG) if long else {}
    for word in filter(None, counts.split(",")):
        kind, _, count = word.partition("=")
        numbers[kind] = int(count)
    if counts and not long and not kinds:
        chosen = list(numbers)
    for kind in (*chosen, *numbers):
        if kind not in KINDS:
            raise ValueError(f"no kind {kind!r}; choose from {', '.join(KINDS)}")
    amounts = {kind: numbers.get(kind, SHARES[kind] * 1000) for kind in chosen}
    most = max(amounts.values())
    if not numbers:  # in rounds
        order = [(number / SHARES[kind], kind, number) for kind in chosen for number in range(amounts[kind])]
    else:
        order = [(number * most / amounts[kind], kind, number) for kind in chosen for number in range(amounts[kind])]
    return [(kind, number) for _, kind, number in sorted(order)]


def _case(words: str) -> tuple[str, int]:
    kind, _, number = words.partition(":")
    if kind not in KINDS or not number.isdigit():
        raise ValueError(f"{words!r} is not KIND:NUMBER, such as flips:123")
    return kind, int(number)


def run(
    folder: Path, seed: int, cases: Sequence[tuple[str, int]], seconds: float, jobs: int = 2, real: bool = False
) -> list[Result]:
    """Run the cases, `jobs` at a time, until they are done or the seconds over (0: no limit), or until Ctrl-C.

    With `real`, every process imports all that it needs itself, as a user's does; else most are forked from one.
    """
    here = World(folder / places.hash_of_product(), jobs, real)
    deadline = time.monotonic() + seconds if seconds else float("inf")
    waiting: Queue[tuple[str, int]] = Queue()
    for case in cases:
        waiting.put(case)
    results: list[Result] = []
    total = len(cases) if not seconds else None
    try:
        print("preparing the runs that are attacked", file=sys.stderr, flush=True)
        here.prepare()
        with Bar("case", total, unit="cases") as bar:

            def work(slot: Slot) -> None:
                for kind, number in _taken(waiting, deadline):
                    result = try_case(here, slot, seed, kind, number)
                    results.append(result)
                    if result.failed:
                        bar.write(f"{kind}:{number} {result.what}: {result.judged.why}"[:400])
                    bar.update(len(results), f"{sum(r.failed for r in results)} failed")

            workers = [threading.Thread(target=work, args=[slot], daemon=True) for slot in here.slots]
            for worker in workers:
                worker.start()
            try:
                for worker in workers:
                    worker.join()
            except KeyboardInterrupt:  # what is done counts
                while not waiting.empty():
                    waiting.get_nowait()
                for worker in workers:
                    worker.join()
    finally:
        here.close()
    return sorted(results, key=lambda result: (list(KINDS).index(result.kind), result.number))


def _taken(waiting: Queue[tuple[str, int]], deadline: float) -> Iterator[tuple[str, int]]:
    """Cases from the queue, while there is time."""
    while time.monotonic() < deadline:
        try:
            yield waiting.get_nowait()
        except Empty:
            return


def try_case(here: World, slot: Slot, seed: int, kind: str, number: int) -> Result:
    """Run one case. The same seed, kind and number are the same case."""
    began = time.monotonic()
    try:
        what, judged = KINDS[kind](here, slot, random.Random(f"{seed}/{kind}/{number}"))
    except Exception:  # the campaign's own fault, which must not end it
        what, judged = "the campaign itself", failed(traceback.format_exc()[-600:])
    finally:
        here.end_all(slot)
    return Result(kind, number, what, judged, time.monotonic() - began)


def table(results: Sequence[Result], seed: int) -> str:
    """The closing words: how many cases of each kind had which verdict, and how to repeat those that failed."""
    verdicts = list(Verdict)
    rows = [["kind", "cases", *verdicts]]
    kinds = [kind for kind in KINDS if any(result.kind == kind for result in results)]
    for kind in kinds:
        count = Counter(result.judged.verdict for result in results if result.kind == kind)
        rows.append([kind, str(count.total()), *(str(count[verdict]) for verdict in verdicts)])
    count = Counter(result.judged.verdict for result in results)
    rows.append(["all", str(count.total()), *(str(count[verdict]) for verdict in verdicts)])
    lines = [" ".join([f"{row[0]:<13}", *(f"{cell:>10}" for cell in row[1:])]) for row in rows]
    for result in results:
        if result.failed:
            lines.append(f"\npython -m tests.campaign --seed={seed} --case={result.kind}:{result.number}")
            lines.append(textwrap.indent(f"{result.what}\n{result.judged.why}", "  "))
    return "\n".join(lines)
