"""Malformed values for every key, every flag, config files and JSON files, through the commands' real entry points."""

import ast
import json
import random
import re
import shutil
import string
import sys
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from tests.campaign import judge, world
from tests.campaign.judge import Judged, Outcome, Verdict, failed
from tests.campaign.world import CHECKOUT, Slot, World

WEIGHTS = {"override": 5, "in a file": 2, "file": 3, "flag": 5, "json": 3, "words": 1}

NUMBERS = (
    "nan inf -inf NaN 1e400 -1e400 1e-400 1e-46 -1 -0.0 0 1.5 1e3 2147483647 2147483648 4294967296 9223372036854775808 "
    "0x10 1_000 1,5 +3 1e 00 1e-320 True None"
).split()

WORDS = (
    "",
    " ",
    "None",
    "nonsense",
    "ä€ 漢字 \u202eabc",
    "a b",
    "'quoted'",
    '"',
    "../..",
    "/",
    "-",
    "--",
    "%s",
    "{}",
    "$HOME",
    "a\nb",
    "\x1b[31mred",
    "x" * 5000,
    "()",
    "(1,)",
    "(1, (2, 3))",
    "((((",
    "[1, 2]",
    "(1, 'a')",
    "(nan,)",
    "(None,)",
    "(1e400,)",
    "{1: 2}",
    "lambda: 0",
    "__import__('os').getcwd()",
    "(" * 300 + ")" * 300,
    "1" * 5000,
    "9" * 400 + ".0",
)
"""What a shell can pass on."""


def text(rng: random.Random) -> str:
    """A malformed value for a command line."""
    draw = rng.random()
    if draw < 0.45:
        return rng.choice(NUMBERS)
    if draw < 0.85:
        return rng.choice(WORDS)
    letters = string.printable + "äß漢\u0000"[:-1]
    return "".join(rng.choice(letters) for _ in range(rng.randrange(1, 40)))


def value(rng: random.Random) -> Any:
    """A malformed value as JSON has it."""
    return rng.choice(
        [
            None, True, -1, 0, 1.5, 2**31, 2**63, 10**400, 1e308, 5e-324, 1e-46, float("nan"), float("inf"), "", "abc",
            "1", "\ud800", "x" * 3000, [], [1, "a"], [[1], [2]], [None], {}, {"a": 1}, [1e308], [float("nan")], "ä€",
        ]
    )  # fmt: skip


def keys() -> dict[str, Any]:
    """Every key of the base config and its value."""
    from ddpm_jax.base import base
    from ddpm_jax.configuration import flatten

    return flatten(base())


def case(here: World, slot: Slot, rng: random.Random) -> tuple[str, Judged]:
    """Make a malformed input, give it to a command, and judge the refusal."""
    return CASES[world.choose(rng, WEIGHTS)](here, slot, rng)


def shown(words: str) -> str:
    """An input as a line shows it."""
    return repr(words if len(words) < 80 else f"{words[:60]}... of {len(words)}")


def override(here: World, slot: Slot, rng: random.Random) -> tuple[str, Judged]:
    """A value of a key on the command line."""
    here.bare(slot)
    key = rng.choice(list(keys()))
    word = text(rng)
    outcome = here.run(slot, *world.train_words(slot, f"--config.{key}={word}", "--print_config"))
    return f"--config.{key}={shown(word)}", override_judged(outcome, slot, key, word)


def override_judged(outcome: Outcome, slot: Slot, key: str, word: str) -> Judged:
    """Refused with a line about a key, or accepted: then the resolved config shows the value unchanged."""
    if outcome.code != 0:
        return judge.refused(outcome, r"config\.|--config", wrote=written(slot))
    if bad := judge.fault(outcome):
        return failed(bad)
    if there := written(slot):
        return failed(f"--print_config wrote {there}")
    try:
        kept = judge.flat(json.loads(outcome.out, parse_constant=_no_number)).get(key)
    except ValueError as error:
        return failed(f"--print_config does not print JSON: {error}")
    kept = kept if kept is not None else json.loads(outcome.out)
    return accepted(key, word, _at(json.loads(outcome.out), key))


def _no_number(word: str) -> None:
    raise ValueError(f"{word} is no JSON")


def _at(config: Any, key: str) -> Any:
    for part in key.split("."):
        config = config[part]
    return config


def accepted(key: str, word: str, kept: Any) -> Judged:
    """The verdict on a value that was taken: it must be the one that was given."""
    good = Judged(Verdict.NO_EFFECT, f"accepted as {kept!r}"[:200])
    if isinstance(kept, str):
        return good if kept == word else failed(f"{key} is {kept!r}")
    if isinstance(kept, bool):
        return good if word.lower() in {str(kept).lower(), str(int(kept)), "t"[: kept], "f"[: not kept]} else failed(f"{key} is {kept}")
    if isinstance(kept, list):
        try:
            given = ast.literal_eval(word)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return failed(f"{key} is {kept}")
        given = list(given) if isinstance(given, tuple | list) else [given]
        return good if given == kept else failed(f"{key} is {kept}")
    try:
        number = Decimal(word.strip().replace("_", "")) if not word.startswith("0x") else Decimal(int(word, 16))
    except InvalidOperation:
        return failed(f"{key} is {kept}")
    if number and not kept:
        return failed(f"{key} underflows to 0")
    return good if float(number) == float(kept) else failed(f"{key} is {kept}")


def written(slot: Slot) -> str:
    """A path that was written below the slot although nothing should be; empty if there is none."""
    found = world.listing(slot.folder / "runs", slot.folder / "here", slot.folder / "home", slot.folder / "tmp")
    found = {path for path in found if "__pycache__" not in path}
    return min(found, default="")


def in_a_file(here: World, slot: Slot, rng: random.Random) -> tuple[str, Judged]:
    """A value of a key that a config file sets."""
    here.bare(slot)
    key, given = rng.choice(list(keys())), value(rng)
    shape = repr(given).replace("nan", "float('nan')").replace("inf", "float('inf')")
    if isinstance(given, list) and rng.random() < 0.5:
        shape = f"tuple({shape})"
    content = world.TINY.replace("    return config\n", f"    config.{key} = {shape}\n    return config\n", 1)
    Path(slot.tiny).write_bytes(content.encode("utf-8", "surrogatepass"))
    outcome = here.run(slot, *world.train_words(slot, "--print_config"))
    what = f"a config file with config.{key} = {shown(shape)}"
    if outcome.code != 0:
        return what, judge.refused(outcome, r"config", wrote=written(slot))
    kept = _at(json.loads(outcome.out), key)
    same = kept == given or (isinstance(given, list) and kept == given)
    good = not judge.fault(outcome) and same
    return what, Judged(Verdict.NO_EFFECT, "accepted") if good else failed(f"{key} is {kept!r}: {judge.fault(outcome)}")


FILES: dict[str, Callable[[random.Random], str | bytes]] = {
    "a syntax error": lambda rng: world.TINY[: rng.randrange(30, len(world.TINY) - 150)] + "\ndef (",
    "an exception": lambda rng: world.TINY.replace(
        "    return config\n", f"    raise {rng.choice(EXCEPTIONS)}\n", 1
    ),
    "an exception at once": lambda rng: f"raise {rng.choice(EXCEPTIONS)}\n",
    "sys.exit": lambda rng: f"import sys\nsys.exit({rng.choice(['', '0', '3', repr('words')])})\n",
    "deep nesting": lambda rng: f"x = {'(' * 5000}{')' * 5000}\n",
    "deep recursion": lambda rng: world.TINY.replace("def get_config():\n", "def get_config():\n    return get_config()\n"),
    "binary": lambda rng: rng.randbytes(rng.randrange(1, 3000)),
    "zeros": lambda rng: bytes(100),
    "nothing": lambda rng: "",
    "another type": lambda rng: f"def get_config():\n    return {rng.choice(['None', '{}', '1', 'dict(a=1)'])}\n",
    "another key": lambda rng: world.TINY.replace("config.data.batch", "config.data.bach"),
    "a section that is a number": lambda rng: world.TINY.replace(
        "    return config\n", "    config.unlock()\n    config.data = 3\n    return config\n", 1
    ),
    "a key that is deleted": lambda rng: world.TINY.replace(
        "    return config\n", f"    del config.{rng.choice(list(keys()))}\n    return config\n", 1
    ),
    "another import": lambda rng: "import nothing_of_this_name\n" + world.TINY,
    "cyclic": lambda rng: world.TINY.replace(
        "    return config\n", "    config.unlock()\n    config.data.config = config\n    return config\n", 1
    ),
    "an argument": lambda rng: world.TINY.replace("get_config()", "get_config(a, b)", 1),
}
"""Config files that cannot be used, by what is wrong with them."""

EXCEPTIONS = (
    "ValueError('x' * 5000)",
    "KeyError('a')",
    "OSError(28, 'No space left on device')",
    "MemoryError()",
    "RecursionError()",
    "StopIteration",
    "SystemExit(0)",
    "GeneratorExit",
    "Exception('one\\ntwo\\nthree')",
    "UnicodeDecodeError('utf-8', b'a', 0, 1, 'x')",
    "BaseException('x')",
    "BrokenPipeError()",
)

GOOD = {
    "postponed annotations in a dataclass": "from __future__ import annotations\nimport dataclasses\n\n\n"
    "@dataclasses.dataclass(frozen=True)\nclass Options:\n    rate: float = 1e-3\n    many: list[int] | None = None\n\n\n",
    "a byte order mark": "\ufeff",
    "a comment in another script": "# -*- coding: utf-8 -*-\n# 漢字 ä\n",
    "an import of its own folder": "import sys\nassert __name__ != '__main__'\nassert __file__\n",
}
"""What may stand at the start of a config file that is good."""


def file(here: World, slot: Slot, rng: random.Random) -> tuple[str, Judged]:
    """A config file that cannot be used, or a good one that is unusual."""
    here.bare(slot)
    command = rng.choice(("train", "train", "sweep"))
    words = [command, f"--config={slot.tiny}", f"--workdir={slot.run}"]
    words += ["--print_config"] if command == "train" else ["--plan"]
    if rng.random() < 0.25:
        name = rng.choice(list(GOOD))
        Path(slot.tiny).write_text(GOOD[name] + world.TINY.split('"""\n', 1)[1])
        words = [words[0], *words[1:3], "--print_config"] if command == "train" else words
        outcome = here.run(slot, "train", *words[1:3], "--print_config")
        good = outcome.code == 0 and not judge.said(outcome)
        why = f"exit code {outcome.code}: {judge.last_words(outcome.err)}"
        return f"a config file with {name}", Judged(Verdict.NO_EFFECT, "accepted") if good else failed(why)
    name = rng.choice(list(FILES))
    content = FILES[name](rng)
    Path(slot.tiny).write_bytes(content.encode() if isinstance(content, str) else content)
    outcome = here.run(slot, *words)
    what = f"{command}, a config file with {name}: {shown(str(content[-70:]))}"
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
    name, word = rng.choice(flags_of(here, slot, command)), text(rng)
    if name in {"--profile", "--distributed", "--best", "--once"}:
        word = word or "x"
    words = HARMLESS[command](slot)
    words = [each for each in words if each.partition("=")[0] != name]
    before = world.listing(slot.folder)
    outcome = here.run(slot, COMMANDS[command], *words, f"{name}={word}", seconds=60)
    what = f"{command} {name}={shown(word)}"
    more = {path for path in world.listing(slot.folder) - before if "/cache/" not in path and "__pycache__" not in path}
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
    way, content = odd_json(path, rng)
    path.write_bytes(content)
    what = f"{name}: {way}"
    if name == "published":
        outcome = here.run(slot, "report", str(slot.run), f"--output={slot.folder / 'report'}", f"--published={path}")
    elif name == "config.json" and rng.random() < 0.7:
        outcome = here.run(slot, *world.sample_words(slot))
    else:
        outcome = here.run(slot, *here.report_words(slot))
    if bad := judge.fault(outcome):
        return what, failed(bad)
    if outcome.code == 0:
        return what, Judged(Verdict.NO_EFFECT if not judge.said(outcome) else Verdict.DETECTED, "accepted")
    return what, judge.refused(outcome)


def odd_json(path: Path, rng: random.Random) -> tuple[str, bytes]:
    """A JSON file's content made odd, and how."""
    old = path.read_text().splitlines()[0] if path.suffix == ".jsonl" else path.read_text()
    whole = json.loads(old)
    way = rng.choice(("a value", "a value", "a value", "deep", "surrogate", "a list", "a long number", "twice", "half", "nan"))
    if way == "a value":
        whole.pop("checksum", None) if isinstance(whole, dict) else None
        keys_there = [key for key in judge.flat(whole) if "." in key or path.suffix == ".jsonl"]
        key, given = rng.choice(keys_there), value(rng)
        inside = whole
        *places, last = key.split(".") if path.suffix != ".jsonl" else [key]
        for place in places:
            inside = inside[int(place) if isinstance(inside, list) else place]
        inside[int(last) if isinstance(inside, list) else last] = given
        return f"{key} is {shown(repr(given))}", _big(whole)
    return way, {
        "deep": lambda: b"[" * 100_000 + b"]" * 100_000,
        "surrogate": lambda: old.replace(":", ': "\\ud800", "x":', 1).encode(),
        "a list": lambda: b"[1, 2]",
        "a long number": lambda: old.replace(": ", f": {'9' * 6000}, \"x\": ", 1).encode(),
        "twice": lambda: (old + old).encode(),
        "half": lambda: old[: len(old) // 2].encode(),
        "nan": lambda: re.sub(r"\d+\.\d+", "NaN", old).encode(),
    }[way]()


def _big(value_: Any) -> bytes:
    """As JSON, numbers of any length too."""
    limit = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(0)
    try:
        return json.dumps(value_).encode()
    finally:
        sys.set_int_max_str_digits(limit)


CASES: dict[str, Callable[[World, Slot, random.Random], tuple[str, Judged]]] = {
    "override": override,
    "in a file": in_a_file,
    "file": file,
    "flag": flag,
    "json": json_file,
    "words": words,
}
