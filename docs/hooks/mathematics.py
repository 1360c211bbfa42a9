"""Formulas as MathML, made when the site is built: browsers show them without a script, a font or a network.

They are written as GitHub shows them: a block of code called math, and $`...`$ in a line.
"""

import re

from latex2mathml.converter import convert

BLOCK = re.compile(r"^```math\n(.*?)\n```$", re.M | re.S)
INLINE = re.compile(r"\$`([^`]+)`\$([.,;:)]*)")


def on_page_markdown(markdown: str, **_) -> str:
    """The page with its formulas as MathML."""
    markdown = BLOCK.sub(lambda match: f"\n{convert(match[1], display='block')}\n", markdown)
    return INLINE.sub(_inline, markdown)


def _inline(match: re.Match[str]) -> str:
    """In a span, so that it begins no block and stays with the comma after it."""
    return f'<span class="formula">{convert(match[1])}{match[2]}</span>'
