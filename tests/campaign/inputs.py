"""Malformed values for every key, every flag, config files and JSON files, through the commands' real entry points."""

import ast
import json
import random
import re
import shutil
import string
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from tests.campaign import judge, malformed, places
from tests.campaign.judge import Judged, Outcome, Verdict, failed
from tests.campaign.places import CHECKOUT, Slot
from tests.campaign.world import World

WEIGHTS = {"override": 5, "in a file": 2, "file": 3, "flag": 5, "json": 3, "words": 1}


def case(here: World, slot: Slot, rng: random.Random) -> tuple[str, Judged]:
    """Make a malformed input, give it to a command, and judge the refusal."""
    return CASES[places.choose(rng, WEIGHTS)](here, slot, rng)


def override(here: World, slot: Slot, rng: random.Random) -> tuple[str, Judged]:
    """A value of a key on the command line."""
    here.bare(slot)
    key = rng.choice(list(malformed.keys()))
    word = malformed.text(rng)
    outcome = here.run(slot, *places.train_words(slot, f"--config.{key}={word}", "--print_config"))
    return f"--config.{key}={malformed.shown(word)}", override_judged(outcome, slot, key, word)


def override_judged(outcome: Outcome, slot: Slot, key: str, word: str) -> Judged:
    """Refused with a line about a key, or accepted: then the resolved config shows the value unchanged."""
    if outcome.code != 0:
        return judge.refused(outcome, r"config\.|--config", wrote=written(slot))
    if bad := judge.fault(outcome):
        return failed(bad)
    if there := written(slot):
        return failed(f"--print_config wrote {there}")
    try:
        kept = _at(json.loads(outcome.out, parse_constant=_no_number), key)
    except ValueError as error:
        return failed(f"--print_config does not print JSON: {error}")
    return accepted(key, word, kept)


def _no_number(word: str) -> None:
    raise ValueError(f"{word} is no JSON")


def _at(config: Any, key: str) -> Any:
    for part in key.split("."):
        config = config[part]
    return config


def accepted(key: str, word: str, kept: Any) -> Judged:
    """The verdict on a value that was taken: it must be the one that was given."""
    if isinstance(kept, str):
        same = kept == word
    elif isinstance(kept, bool):
        same = word.lower() in ({"true", "t", "1"} if kept else {"false", "f", "0"})
    elif isinstance(kept, list):
        same = _tuple(word) == kept
    else:
        number = _number(word)
        same = number is not None and float(number) == float(kept)
        if number and not kept:
            return failed(f"{key} underflows to 0")
    return Judged(Verdict.NO_EFFECT, f"accepted as {kept!r}"[:200]) if same else failed(f"{key} is {kept!r}"[:300])


def _tuple(word: str) -> list[Any] | None:
    try:
        given = ast.literal_eval(word)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
    return list(given) if isinstance(given, tuple | list) else [given]


def _number(word: str) -> Decimal | None:
    try:
        return Decimal(int(word, 16)) if word.startswith("0x") else Decimal(word.strip().replace("_", ""))
    except (InvalidOperation, ValueError):
        return None


def written(slot: Slot) -> str:
    """A path that was written below the slot although nothing should be; empty if there is none."""
    found = places.listing(slot.folder / "runs", slot.folder / "here", slot.folder / "home", slot.folder / "tmp")
    found = {path for path in found if "__pycache__" not in path}
    return min(found, default="")


def in_a_file(here: World, slot: Slot, rng: random.Random) -> tuple[str, Judged]:
    """A value of a key that a config file sets."""
    here.bare(slot)
    key, given = rng.choice(list(malformed.keys())), malformed.value(rng)
    shape = repr(given).replace("nan", "float('nan')").replace("inf", "float('inf')")
    if isinstance(given, list) and rng.random() < 0.5:
        shape = f"tuple({shape})"
    content = places.TINY.replace("    return config\n", f"    config.{key} = {shape}\n    return config\n", 1)
    Path(slot.tiny).write_bytes(content.encode("utf-8", "surrogatepass"))
    outcome = here.run(slot, *places.train_words(slot, "--print_config"))
    what = f"a config file with config.{key} = {malformed.shown(shape)}"
    if outcome.code != 0:
        return what, judge.refused(outcome, r"config", wrote=written(slot))
    kept = _at(json.loads(outcome.out), key)
    same = kept == given or (isinstance(given, list) and kept == given)
    good = not judge.fault(outcome) and same
    return what, Judged(Verdict.NO_EFFECT, "accepted") if good else failed(f"{key} is {kept!r}: {judge.fault(outcome)}")


def file(here: World, slot: Slot, rng: random.Random) -> tuple[str, Judged]:
    """A config file that cannot be used, or a good one that is unusual."""
    here.bare(slot)
    command = rng.choice(("train", "train", "sweep"))
    words = [command, f"--config={slot.tiny}", f"--workdir={slot.run}"]
    words += ["--print_config"] if command == "train" else ["--plan"]
    if rng.random() < 0.25:
        name = rng.choice(list(malformed.GOOD))
        Path(slot.tiny).write_text(malformed.GOOD[name] + places.TINY.split('"""\n', 1)[1])
        words = [words[0], *words[1:3], "--print_config"] if command == "train" else words
        outcome = here.run(slot, "train", *words[1:3], "--print_config")
        good = outcome.code == 0 and not judge.said(outcome)
        why = f"exit code {outcome.code}: {judge.last_words(outcome.err)}"
        return f"a config file with {name}", Judged(Verdict.NO_EFFECT, "accepted") if good else failed(why)
    name = rng.choice(list(malformed.FILES))
    content = malformed.FILES[name](rng)
    Path(slot.tiny).write_bytes(content.encode() if isinstance(content, str) else content)
    outcome = here.run(slot, *words)
    what = f"{command}, a config file with {name}: {malformed.shown(str(content[-70:]))}"
    return what, judge.refused(outcome, r"config", wrote=written(slot))


COMMANDS = {
    "train": "train",
    "sample": "sample",
    "evaluate": "evaluate",
    "sweep": "sweep",
    "report": "report",
    "launch/local.py": str(CHECKOUT / "launch" / "local.py"),
    "launch/slurm.py": str(CHECKOUT / "launch" / "slurm.py"),
}
HARMLESS = {
    "train": lambda slot: [f"--config={slot.tiny}", f"--workdir={slot.run}", "--print_config"],
    "sample": lambda slot: [f"--workdir={slot.run}", "--count=1", f"--output={slot.folder / 'drawn' / 'one'}"],
    "evaluate": lambda slot: [f"--workdir={slot.run}"],
    "sweep": lambda slot: [f"--config={slot.tiny}", f"--workdir={slot.folder / 'runs' / 'sweep'}", "--plan"],
    "report": lambda slot: [str(slot.run), f"--output={slot.folder / 'report'}"],
    "launch/local.py": lambda slot: [f"--config={slot.tiny}", f"--workdir={slot.folder / 'runs' / 'l'}", "--dry_run"],
    "launch/slurm.py": lambda slot: [f"--config={slot.tiny}", f"--workdir={slot.folder / 'runs' / 's'}", "--dry_run"],
}
"""Command lines that work and take a moment."""


def flags_of(here: World, slot: Slot, command: str) -> list[str]:
    """The flags that a command's help tells of."""
    helped = here.run(slot, COMMANDS[command], "--help").out
    return sorted(set(re.findall(r"--[a-z_]+", helped)) - {"--help", "--dry_run", "--print_config", "--plan"})


def flag(here: World, slot: Slot, rng: random.Random) -> tuple[str, Judged]:
    """A malformed value of a flag."""
    command = rng.choice(list(COMMANDS))
    if command in {"sample", "evaluate", "report"}:
        here.fresh(slot, "finished")
    else:
        here.fresh(slot)
    name, word = rng.choice(flags_of(here, slot, command)), malformed.text(rng)
    if name in {"--profile", "--distributed", "--best", "--once"}:
        word = word or "x"
    words = HARMLESS[command](slot)
    words = [each for each in words if each.partition("=")[0] != name]
    before = places.listing(slot.folder)
    outcome = here.run(slot, COMMANDS[command], *words, f"{name}={word}", seconds=60)
    what = f"{command} {name}={malformed.shown(word)}"
    more = {
        path for path in places.listing(slot.folder) - before if "/cache/" not in path and "__pycache__" not in path
    }
    if outcome.code == 2:
        names = re.escape(name) + "|" + judge.NAMES.pattern
        return what, judge.refused(outcome, names, wrote=min(more, default=""))
    if bad := judge.fault(outcome):
        return what, failed(bad)
    if outcome.code != 0:
        return what, failed(f"exit code {outcome.code}: {judge.last_words(outcome.err)}")
    stray = {path for path in more if Path(path).is_relative_to(slot.folder / "home")}
    return what, failed(f"accepted, and wrote {min(stray)}") if stray else Judged(Verdict.NO_EFFECT, "accepted")


def words(here: World, slot: Slot, rng: random.Random) -> tuple[str, Judged]:
    """Words that are no option, options that are not there or are cut, and none at all."""
    here.bare(slot)
    command = rng.choice(list(COMMANDS))
    start = HARMLESS[command](slot)
    wrong = {
        "a stray word": [*start, "nonsense"],
        "an unknown option": [*start, f"--{''.join(rng.choices(string.ascii_lowercase, k=6))}=1"],
        "a cut option": [*start, "--workdi=x"],
        "an option of another dialect": [*start, "-x"],
        "nothing": [],
        "an unknown key": [*start, "--config.optimizer.learning_rat=1"],
        "a section": [*start, "--config.optimizer=1"],
    }
    name = rng.choice(list(wrong))
    if command == "report" and name == "a stray word":
        name = "nothing"
    outcome = here.run(slot, COMMANDS[command], *wrong[name])
    return f"{command} with {name}: {wrong[name][-1:]}", judge.refused(outcome, r"--|config|RUNS|option", written(slot))


def json_file(here: World, slot: Slot, rng: random.Random) -> tuple[str, Judged]:
    """A JSON file of a run, or one that is given, with odd content and no checksum."""
    here.fresh(slot, "finished")
    name = rng.choice(("config.json", "config.json", "result.json", "metrics.jsonl", "published"))
    path = slot.run / name if name != "published" else slot.folder / "published.json"
    published = sorted((CHECKOUT / "experiments" / "published").glob("*.json"))
    if name == "published":
        if not published:
            return name, Judged(Verdict.SKIPPED, "no file of others' figures")
        shutil.copy(published[0], path)
    way, content = malformed.odd_json(path, rng)
    path.write_bytes(content)
    what = f"{name}: {way}"
    if name == "published":
        outcome = here.run(slot, "report", str(slot.run), f"--output={slot.folder / 'report'}", f"--published={path}")
    elif name == "config.json" and rng.random() < 0.7:
        outcome = here.run(slot, *places.sample_words(slot))
    else:
        outcome = here.run(slot, *here.report_words(slot))
    if bad := judge.fault(outcome):
        return what, failed(bad)
    if outcome.code == 0:
        return what, Judged(Verdict.NO_EFFECT if not judge.said(outcome) else Verdict.DETECTED, "accepted")
    return what, judge.refused(outcome)


CASES: dict[str, Callable[[World, Slot, random.Random], tuple[str, Judged]]] = {
    "override": override,
    "in a file": in_a_file,
    "file": file,
    "flag": flag,
    "json": json_file,
    "words": words,
}
