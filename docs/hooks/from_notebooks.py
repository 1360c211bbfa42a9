"""Notebooks as pages: the text, the code, and what was kept of its output. Nothing is run when the site is built."""

import json
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.pages import Page

DISPLAYED = re.compile(r"\$\$(.+?)\$\$", re.S)
INLINE = re.compile(r"(?<![$`\\])\$([^$\n]+)\$(?![$`])")


def on_page_markdown(markdown: str, page: Page, **_) -> str:
    """The page, where its source is a notebook."""
    path = Path(page.file.abs_src_path or "")
    return markdown_of(path) if path.suffix == ".ipynb" else markdown


def markdown_of(path: Path) -> str:
    """A notebook in Markdown, with its formulas as the pages of docs/ write them."""
    cells = json.loads(path.read_text("utf-8"))["cells"]
    return "\n\n".join(text(cell) if cell["cell_type"] == "markdown" else code(cell) for cell in cells) + "\n"


def text(cell: dict[str, Any]) -> str:
    """A cell of text."""
    words = DISPLAYED.sub(lambda match: f"```math\n{match[1].strip()}\n```", "".join(cell["source"]))
    return INLINE.sub(lambda match: f"$`{match[1]}`$", words)


def code(cell: dict[str, Any]) -> str:
    """A cell of code, what it printed, and its pictures."""
    parts, printed = [f"```python\n{''.join(cell['source'])}\n```"], ""
    for output in cell["outputs"]:
        printed += "".join(output.get("text", ""))
    if printed.strip():
        parts.append(f"```text\n{printed.strip()}\n```")
    pictures = [output["data"]["image/png"] for output in cell["outputs"] if "image/png" in output.get("data", {})]
    parts += [f"![What this draws](data:image/png;base64,{''.join(picture).strip()})" for picture in pictures]
    return "\n\n".join(parts)
