"""Text that others wrote as a line that shows: in reports, on the screen, in pictures."""

import re

_BREAKS = re.compile("\r\n|[\t\n\v\f\r\x85\u2028\u2029]")
_UNSHOWN = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufeff\ufffe\uffff]")
"""Controls, those that turn the direction of what follows among them, and halves of pairs."""


def clean(text: object, most: int | None = None) -> str:
    """The text in one line of characters that show; others are written as escapes. Longer than `most`, it is cut."""
    line = _UNSHOWN.sub(lambda found: escape(found[0]), _BREAKS.sub(" ", str(text)).strip())
    return line if most is None or len(line) <= most else f"{line[: most - 1]}…"


def escape(character: str) -> str:
    r"""The character as Python writes it in ASCII: `\x1b`, `\u202e`."""
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
