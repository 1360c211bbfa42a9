r"""Our small markup, and how what others wrote is put into it.

`*so*` is emphasis, backticks are code, and a backslash takes its meaning from the character behind it; all else is
text. `quoted` puts names, paths, notes and whatever comes from outside into the markup as the text that it is.
`as_markdown` and `as_html` write the markup; they let nothing through that either language would read as more.
"""

import html
import re
import unicodedata
from collections.abc import Iterator

from ddpm_jax.runs.shown import clean

NAME = 200
"""Characters of a name that are shown at most."""

_ISOLATE, _END = "\u2068", "\u2069"
_MARKUP = re.compile(r"\\(.)|`([^`]+)`|(?<![\w*])\*((?:\\.|[^*\s\\])(?:\\.|[^*\\])*)\*(?![\w*])", re.DOTALL)
_SPECIAL = re.compile(
    r"[\\`\[\]#~$@|]|(?<!\s)\*|\*(?!\s)|(?<![^\W_])_|_(?![^\W_])|<(?!\s)|(?<!\s)>|&(?=[#\w])|:(?=//)|(?<=www)\.",
    re.IGNORECASE,
)
"""What Markdown, or a reader of it that looks for addresses and formulas, may take for more than text."""

_ENTITIES = {"<": "&lt;", ">": "&gt;", "&": "&amp;", "|": "&#124;"}
"""Entities, which readers of HTML and of tables take for text as well."""


def quoted(text: object) -> str:
    """The text in our markup: nothing in it is markup, and letters from right to left turn nothing around it."""
    line = re.sub(r"([\\`*])", r"\\\1", clean(text))
    turns = not line.isascii() and any(unicodedata.bidirectional(one) in ("R", "AL", "AN") for one in line)
    return f"{_ISOLATE}{line}{_END}" if turns else line


def as_markdown(markup: str, starts: bool = False) -> str:
    """The markup as Markdown; `starts` where it starts a line, at which more has a meaning."""
    marks = {"": "", "code": "`", "em": "*"}
    parts = [(marks[kind], text if kind == "code" else _SPECIAL.sub(_literal, text)) for kind, text in _parts(markup)]
    line = "".join(f"{mark}{text}{mark}" for mark, text in parts).strip()
    return re.sub(r"^(\d{1,9}(?=[.)])|(?=[-+=]))", r"\1\\", line) if starts else line


def as_html(markup: str) -> str:
    """The markup as HTML, between tags."""
    parts = [(kind, html.escape(text, quote=False)) for kind, text in _parts(markup)]
    return "".join(f"<{kind}>{text}</{kind}>" if kind else text for kind, text in parts)


def _literal(found: re.Match[str]) -> str:
    return _ENTITIES.get(found[0]) or f"\\{found[0]}"


def _parts(markup: str) -> Iterator[tuple[str, str]]:
    """The parts of the markup in order: its kind (``, `code`, `em`) and its text."""
    place, text = 0, ""
    for found in _MARKUP.finditer(markup):
        text += markup[place : found.start()]
        place = found.end()
        if found[1] is not None:
            text += found[1]
            continue
        if text:
            yield "", text
        text = ""
        yield ("code", found[2]) if found[2] is not None else ("em", re.sub(r"\\(.)", r"\1", found[3], flags=re.DOTALL))
    if text := text + markup[place:]:
        yield "", text
