"""What is good and what is bad: how a command ended, what it said, and whether what it made is right.

The judge knows nothing of how the product works. It looks at exit codes, at lines and at files.
"""

import csv
import enum
import io
import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


class Verdict(enum.StrEnum):
    """What became of a case."""

    SURVIVED = "survived"  # stopped or squeezed, and yet the end is the undisturbed one
    DETECTED = "detected"  # a line said what is wrong, and nothing wrong was made
    NO_EFFECT = "no effect"  # the outcome is the undamaged one, and nothing was said
    REFUSED = "refused"  # one line that names what to change; nothing was written
    ABORTED = "aborted"  # ended by a native library, which no code of ours can catch; no traceback, nothing lost
    SKIPPED = "skipped"  # cannot be tried here
    FAILED = "failed"


@dataclass(frozen=True)
class Judged:
    """A verdict and the reason for it."""

    verdict: Verdict
    why: str = ""


@dataclass(frozen=True)
class Outcome:
    """How a command ended.

    Attributes:
        code: its exit code; minus the signal that ended it; None if it did not end in time.
        out: what it printed.
        err: what it printed to standard error.
        seconds: how long it took.
    """

    code: int | None
    out: str
    err: str
    seconds: float = 0.0


FREE = ("config.logging", "config.name")
"""Keys of a result that may differ between two runs of the same thing."""

KEPT = "could not be computed"
"""What is said where some figure is missing and the others are there, with exit code 1."""

FEW = 6
"""Lines that a command may say about one thing that is wrong."""

TRACES = ("Traceback (most recent call last)", "Exception ignored in", "Fatal Python error", '  File "')
PROGRESS = re.compile(
    r"\d+%\||\(\d+ %\)|[a-z] [\d,]+, \S+ \w+/s|compiling \.\.\. \d|^compiled in \d"
)  # of how far it is
ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
NATIVE = re.compile(
    r"^((ERROR|WARNING|INFO|CRITICAL):\w+:|\*\*\*|[IWEF]\d{4} |WARNING: All log messages|    @ |PC: @|[FEWI]0000)"
)
TIMES = re.compile(r"seconds|per_second|utilisation|git_commit|^checksum$")
"""Keys whose values differ between two runs of the same thing."""


def failed(why: str) -> Judged:
    """A bad verdict."""
    return Judged(Verdict.FAILED, why)


def lines_of(text: str) -> list[str]:
    """The lines that a person reads: without progress bars and empty lines."""
    parts = [part for line in ANSI.sub("", text).split("\n") for part in line.split("\r")]
    return [part.strip() for part in parts if part.strip() and not PROGRESS.search(part)]


def said(outcome: Outcome) -> list[str]:
    """What a command said on standard error; of several mistakes told at once the first counts."""
    return [line for line in lines_of(outcome.err) if not line.startswith("  and ")]


def fault(outcome: Outcome, few: int = FEW, signals: Sequence[int] = ()) -> str:
    """What is wrong with how a command ended or with how it said it; empty if nothing is.

    Args:
        outcome: how it ended.
        few: the most lines that it may say on standard error.
        signals: those that were sent, by which it may have ended.
    """
    return next(_faults(outcome, few, signals), "")


def _faults(outcome: Outcome, few: int, signals: Sequence[int]) -> Iterator[str]:
    if found := traceback_in(outcome):
        yield f"a traceback: {found}"
    if outcome.code is None:
        yield f"it hangs: {last_words(outcome.err) or last_words(outcome.out)}"
    elif outcome.code < 0 and -outcome.code not in signals:
        yield f"a native abort (signal {-outcome.code}): {last_words(outcome.err)}"
    words = said(outcome)
    yield from (f"the words of a library: {line[:200]}" for line in words if NATIVE.match(line))
    if len(words) > few:
        yield f"{len(words)} lines, such as: {words[0][:100]} ... {words[-1][:100]}"
    if outcome.code == 1 and not incomplete(outcome):
        yield f"an unexpected fault (exit code 1): {last_words(outcome.err)}"


def incomplete(outcome: Outcome) -> bool:
    """Whether some figure is missing, as is said, and the others are kept."""
    return outcome.code == 1 and KEPT in last_words(outcome.err)


def traceback_in(outcome: Outcome) -> str:
    """The exception's line of a traceback that was shown; empty if none was."""
    for text in (outcome.out, outcome.err):
        if any(trace in text for trace in TRACES):
            errors = [line for line in lines_of(text) if re.match(r"[\w.]*(Error|Exception|Exit|Interrupt)\b", line)]
            return (errors or [last_words(text)])[-1][:300]
    return ""


def last_words(text: str) -> str:
    """The last line that was said."""
    return (lines_of(text) or [""])[-1][:300]


NAMES = re.compile(r"config\.|--\w|\.json|\.py|\.npz|checkpoint|folder|/|\bRUNS\b|\$[A-Z]")
"""What an error can name so that one knows what to change."""


def unclear(outcome: Outcome, names: re.Pattern[str] | str = NAMES, code: int = 2, besides: int = 0) -> str:
    """What is wrong with a refusal, which must be exit code 2 and one line that names what to change.

    Args:
        outcome: how the command ended.
        names: what the line must name.
        code: the exit code.
        besides: how many other lines may stand before it, such as warnings.
    """
    if bad := fault(outcome, 1 + besides):
        return bad
    if outcome.code != code:
        return f"exit code {outcome.code}: {last_words(outcome.err)}"
    words = said(outcome)
    errors = [line for line in words if line.startswith("error:")]
    if len(errors) != 1 or len(words) > 1 + besides or not words[-1].startswith("error:"):
        return f"not one line that starts with error: {' / '.join(line[:150] for line in words) or 'nothing is said'}"
    if len(errors[0]) > 2000:
        return f"a line of {len(errors[0])} characters: {errors[0][:100]}"
    if not re.search(names, errors[0]):
        return f"the line does not name what to change: {errors[0][:300]}"
    return ""


def refused(outcome: Outcome, names: re.Pattern[str] | str = NAMES, wrote: str = "") -> Judged:
    """The verdict on a refusal. `wrote` names what was written all the same."""
    if bad := unclear(outcome, names):
        return failed(bad)
    if wrote:
        return failed(f"refused, but written: {wrote}")
    return Judged(Verdict.REFUSED, last_words(outcome.err))


def after_damage(outcome: Outcome, wrong: str, lost: str = "", made: bool = False, told: bool = False) -> Judged:
    """The verdict on a command that met something damaged.

    Args:
        outcome: how it ended.
        wrong: what it made that is wrong, in words; empty if nothing.
        lost: what is missing in what it made, which it must have said.
        made: it made something although it ended with an error.
        told: what it made tells of the damage, as a report does.
    """
    words = said(outcome)
    last = last_words(outcome.err)
    bad = fault(outcome)
    if not bad and outcome.code != 0:
        bad = unclear(outcome, code=1 if incomplete(outcome) else 2, besides=FEW - 1) or (
            f"it ended with an error and yet wrote its output: {last}" * made
        )
    elif not bad and wrong:
        bad = f"{wrong} ({f'said: {words[-1][:150]}' if words else 'not a word'})"
    elif not bad and lost and not (told or words):
        bad = f"{lost}, without a word"
    if bad:
        return failed(bad)
    return Judged(Verdict.DETECTED, last or lost) if told or words else Judged(Verdict.NO_EFFECT)


def timeless(value: Any) -> Any:
    """A result without what depends on the clock and the commit."""
    if isinstance(value, dict):
        return {key: timeless(item) for key, item in value.items() if not TIMES.search(key)}
    return [timeless(item) for item in value] if isinstance(value, list) else value


def flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """The leaves of nested objects and lists by their path."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    inner = {key: leaf for name, item in items for key, leaf in flat(item, f"{prefix}{name}.").items()}
    return inner or ({} if isinstance(value, dict | list) else {prefix.rstrip("."): value})


def compare_figures(ours: Any, wanted: Any) -> tuple[str, str]:
    """Which leaf of `ours` is wrong and which is missing or null, each in words and empty if there is none."""
    mine, theirs = flat(timeless(ours)), flat(timeless(wanted))
    theirs = {key: value for key, value in theirs.items() if not key.startswith(FREE)}
    lost = [key for key, value in theirs.items() if value is not None and mine.get(key) is None]
    wrong = [key for key, value in theirs.items() if mine.get(key) is not None and mine[key] != value]
    shown = f"{wrong[0]} is {mine[wrong[0]]!r}, not {theirs[wrong[0]]!r}" if wrong else ""
    return shown[:300], f"{len(lost)} figures are missing, such as {lost[0]}" if lost else ""


def read_rows(path: Path) -> list[dict[str, Any]] | None:
    """The rows of a `metrics.jsonl`; None where a line is no row."""
    try:
        rows = [json.loads(line) for line in path.read_text().splitlines()]
    except (OSError, ValueError):
        return None
    return rows if all(isinstance(row, dict) for row in rows) else None


def compare_rows(ours: Path, wanted: Path) -> tuple[str, str]:
    """What is wrong and what is missing in a `metrics.jsonl`, each in words. Every row must be there once."""
    mine, theirs = read_rows(ours), read_rows(wanted)
    assert theirs is not None
    if mine is None:
        return ("", f"{ours.name} is missing") if not ours.exists() else (f"{ours.name} does not read", "")
    count = [Counter(json.dumps(timeless(row), sort_keys=True) for row in rows) for rows in (mine, theirs)]
    lost, more = count[1] - count[0], count[0] - count[1]
    return (
        f"{ours.name} has a row too many: {next(iter(more))[:200]}" if more else "",
        f"{ours.name} lacks {lost.total()} rows, such as {next(iter(lost))[:200]}" if lost else "",
    )


def compare_tables(ours: str, wanted: str) -> str:
    """A cell of a CSV table that the table of undamaged runs does not have in a row of that name; empty if none is."""
    theirs: dict[str, list[dict[str, str]]] = {}
    for row in csv.DictReader(io.StringIO(wanted)):
        theirs.setdefault(next(iter(row.values())), []).append(row)
    for row in csv.DictReader(io.StringIO(ours)):
        name = next(iter(row.values()))
        if name not in theirs:
            return f"a row of the name {name!r}"
        for key, value in row.items():
            if value and value not in {other.get(key) for other in theirs[name]}:
                return f"{key} of {name!r} is {value}, not {theirs[name][0].get(key)}"
    return ""
