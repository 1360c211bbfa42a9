"""Examples in docstrings are blocks of code in the pages, wherever in a docstring they stand."""

import re
from typing import Any

from griffe import Extension, Object

EXAMPLE = re.compile(r"^( *)>>> .*(?:\n(?! *$).*)*", re.M)


class Examples(Extension):
    """Puts a fence around every run of lines that begins with a prompt."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        """Change a docstring that has been read."""
        if obj.docstring:
            obj.docstring.value = fenced(obj.docstring.value)


def fenced(text: str) -> str:
    """The text with its examples in fences; a comment to doctest is left out."""

    def fence(match: re.Match[str]) -> str:
        indent, lines = match[1], re.sub(r" *# doctest:.*", "", match[0])
        return f"{indent}```pycon\n{lines}\n{indent}```"

    return EXAMPLE.sub(fence, text)
