"""Tables of what the code knows, put where a page says `<!-- keys -->` or `<!-- help COMMAND -->`."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
MARK = re.compile(r"^<!-- (keys|help) ?(.*?) -->$", re.M)
FAMILIES = {"gaussian": "the Gaussian family", "ordered": "the ordered family", "uniform": "uniform corruption"}


def on_page_markdown(markdown: str, **_) -> str:
    """The page with its tables."""
    return MARK.sub(lambda match: keys() if match[1] == "keys" else help_of(match[2]), markdown)


def keys() -> str:
    """A table for each section of a config: every key with its type, default, bounds and meaning."""
    from ddpm_jax.config.keys import KEYS

    sections: dict[str, list[str]] = {}
    for name, key in KEYS.items():
        section = name.partition(".")[0] if "." in name else "the run"
        of = " and ".join(FAMILIES[kind] for kind in key.of.split())
        meaning = key.meaning + (f" ({of} only)" if of else "")
        kind = "options" if key.default == {} else type(key.default).__name__
        row = (f"`{name}`", kind, f"`{key.default!r}`", bounds(key), meaning)
        sections.setdefault(section, []).append("| " + " | ".join(word.replace("|", "\\|") for word in row) + " |")
    head = "| key | type | default | bounds | meaning |\n|---|---|---|---|---|\n"
    return "\n\n".join(f"## {section}\n\n{head}" + "\n".join(rows) for section, rows in sections.items())


def bounds(key: Any) -> str:
    """What a number may be, in words of a table."""
    return ", ".join(_bounds(key)) or "-"


def _bounds(key: Any) -> Iterator[str]:
    signs = {"least": "≥", "above": ">", "most": "≤", "below": "<"}
    yield from (f"{sign} {getattr(key, name):g}" for name, sign in signs.items() if getattr(key, name) is not None)
    if key.some:
        yield f"0 or ≥ {key.some}"
    if key.bits != 31:
        yield f"< 2^{key.bits}"


def help_of(command: str) -> str:
    """What a command says of itself: `ddpm_jax.train`, or a script's path."""
    words = [command] if command.endswith(".py") else ["-m", command]
    environment = {**os.environ, "COLUMNS": "100", "PYTHONPATH": str(ROOT), "NO_COLOR": "1"}
    said = subprocess.run(
        [sys.executable, *words, "--help"], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    return f"```text\n{said.stdout.strip()}\n```"
