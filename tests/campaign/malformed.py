"""Malformed input, made up: values for a command line and for JSON, config files, and JSON files made odd."""

import json
import random
import re
import string
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.campaign import judge, places

NUMBERS = """
nan inf -inf NaN 1e400 -1e400 1e-400 1e-46 1e-320 -1 -0.0 0 00 1.5 1e3 1e +3 0x10 1_000 1,5 True None 2147483647
2147483648 4294967296 9223372036854775808
""".split()  # noqa: SIM905

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
    from ddpm_jax.config.base import base
    from ddpm_jax.config.identity import flatten

    return flatten(base())


def shown(words: str) -> str:
    """An input as a line shows it."""
    return repr(words if len(words) < 80 else f"{words[:60]}... of {len(words)}")


FILES: dict[str, Callable[[random.Random], str | bytes]] = {
    "a syntax error": lambda rng: places.TINY[: rng.randrange(30, len(places.TINY) - 150)] + "\ndef (",
    "an exception": lambda rng: places.TINY.replace("    return config\n", f"    raise {rng.choice(EXCEPTIONS)}\n", 1),
    "an exception at once": lambda rng: f"raise {rng.choice(EXCEPTIONS)}\n",
    "sys.exit": lambda rng: f"import sys\nsys.exit({rng.choice(['', '0', '3', repr('words')])})\n",
    "deep nesting": lambda rng: f"x = {'(' * 5000}{')' * 5000}\n",
    "deep recursion": lambda rng: places.TINY.replace(
        "def get_config():\n", "def get_config():\n    return get_config()\n"
    ),
    "binary": lambda rng: rng.randbytes(rng.randrange(1, 3000)),
    "zeros": lambda rng: bytes(100),
    "nothing": lambda rng: "",
    "another type": lambda rng: f"def get_config():\n    return {rng.choice(['None', '{}', '1', 'dict(a=1)'])}\n",
    "another key": lambda rng: places.TINY.replace("config.data.batch", "config.data.bach"),
    "a section that is a number": lambda rng: places.TINY.replace(
        "    return config\n", "    config.unlock()\n    config.data = 3\n    return config\n", 1
    ),
    "a key that is deleted": lambda rng: places.TINY.replace(
        "    return config\n", f"    del config.{rng.choice(list(keys()))}\n    return config\n", 1
    ),
    "another import": lambda rng: "import nothing_of_this_name\n" + places.TINY,
    "cyclic": lambda rng: places.TINY.replace(
        "    return config\n", "    config.unlock()\n    config.data.config = config\n    return config\n", 1
    ),
    "an argument": lambda rng: places.TINY.replace("get_config()", "get_config(a, b)", 1),
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
    "@dataclasses.dataclass\nclass Options:\n    rate: float = 1e-3\n    many: list[int] | None = None\n\n",
    "a byte order mark": "\ufeff",
    "a comment in another script": "# -*- coding: utf-8 -*-\n# 漢字 ä\n",
    "an import of its own folder": "import sys\nassert __name__ != '__main__'\nassert __file__\n",
}
"""What may stand at the start of a config file that is good."""


def odd_json(path: Path, rng: random.Random) -> tuple[str, bytes]:
    """A JSON file's content made odd, and how."""
    old = path.read_text().splitlines()[0] if path.suffix == ".jsonl" else path.read_text()
    whole = json.loads(old)
    way = rng.choice(
        ("a value", "a value", "a value", "deep", "surrogate", "a list", "a long number", "twice", "half", "nan")
    )
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
        "a long number": lambda: old.replace(": ", f': {"9" * 6000}, "x": ', 1).encode(),
        "twice": f"{old}{old}".encode,
        "half": lambda: old.encode()[: len(old) // 2],
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
