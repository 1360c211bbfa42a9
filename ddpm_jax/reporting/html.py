"""A report as one HTML page that needs no other file and no network: pictures are inside it."""

import base64
import html
from collections.abc import Sequence
from functools import singledispatch
from pathlib import Path

from ddpm_jax.reporting.blocks import Block, Bullets, Figures, Heading, Paragraph, Picture
from ddpm_jax.reporting.markup import as_html
from ddpm_jax.runs.shown import clean

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #1a1a1a; background: #fff; max-width: 78rem; margin: 2rem auto;
  padding: 0 1rem; }
p, ul { max-width: 52rem; }
h1, h2, h3 { line-height: 1.2; margin: 2rem 0 0.6rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: 14px; font-variant-numeric: tabular-nums; }
th, td { padding: 0.25rem 0.6rem; border-bottom: 1px solid #ddd; text-align: right; vertical-align: top; }
td { white-space: nowrap; } td.words { text-align: left; white-space: normal; } th { border-bottom: 2px solid #555; }
th.words { text-align: left; }
figure { margin: 1.2rem 0; } figure img { max-width: 100%; } figcaption { color: #444; font-size: 14px; }
code { background: #f2f2f2; padding: 0 0.2em; }
"""


def page(title: str, blocks: Sequence[Block], folder: Path) -> str:
    """The page, whose title is plain text; pictures are read from the folder."""
    body = "\n".join(render(block, folder) for block in blocks)
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(clean(title))}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


@singledispatch
def render(block: Block, folder: Path) -> str:
    """A block as HTML."""
    raise TypeError(block)


@render.register
def _(block: Heading, folder: Path) -> str:
    return f"<h{block.level}>{as_html(block.text)}</h{block.level}>"


@render.register
def _(block: Paragraph, folder: Path) -> str:
    return f"<p>{as_html(block.text)}</p>"


@render.register
def _(block: Bullets, folder: Path) -> str:
    return f"<ul>{''.join(f'<li>{as_html(line)}</li>' for line in block.lines)}</ul>"


@render.register
def _(block: Figures, folder: Path) -> str:
    def line(tag: str, cells: Sequence[str]) -> str:
        kinds = [' class="words"' if i in block.table.words else "" for i in range(len(cells))]
        inside = "".join(f"<{tag}{kind}>{as_html(text)}</{tag}>" for kind, text in zip(kinds, cells, strict=True))
        return f"<tr>{inside}</tr>"

    rows = "\n".join(line("td", cells) for cells in block.table.rows)
    head = line("th", block.table.head)
    return f'<div class="wide"><table>\n<thead>{head}</thead>\n<tbody>\n{rows}\n</tbody>\n</table></div>'


@render.register
def _(block: Picture, folder: Path) -> str:
    data = base64.b64encode((folder / block.file).read_bytes()).decode()
    title = as_html(block.title)
    return (
        f'<figure><img alt="{html.escape(block.title)}" src="data:image/png;base64,{data}">'
        f"<figcaption><em>{title}.</em> {as_html(block.caption)}</figcaption></figure>"
    )
