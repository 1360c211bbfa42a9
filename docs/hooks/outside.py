"""What the pages link to outside docs/ is part of the site, so that one link serves there and in the repository.

A page of docs/ keeps its place in the site; any other file of the repository has its own path, `experiments/README.md`
for one. A link to a folder means its README, and one to a notebook the page that `from_notebooks.py` makes of it.
"""

import os
import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

from from_notebooks import markdown_of
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

LINK = re.compile(r"(\]\(|\b(?:src|href|srcset)=\")([^)\"\s#]+)")
FENCE = re.compile(r"^```.*?^```", re.M | re.S)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what is linked to, and what that links to in its turn; and what the navigation names."""
    root = Path(config.config_file_path).parent
    known = {file.src_uri for file in files}
    waiting = [root / "docs" / uri for uri in sorted(known) if uri.endswith(".md")]
    waiting += [source(root / uri) for uri in _named(config.nav) if uri not in known]
    while waiting:
        path = waiting.pop()
        if not path.is_file():
            continue
        uri = site_uri(path, root)
        if uri not in known:
            known.add(uri)
            files.append(File.generated(config, uri, abs_src_path=str(path)))
        if path.suffix in (".md", ".ipynb"):
            markdown = markdown_of(path) if path.suffix == ".ipynb" else path.read_text("utf-8")
            found = (target(path, link, root) for link in links(markdown))
            waiting += [other for other in found if other and site_uri(other, root) not in known]
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Point the links to the places that the files have in the site."""
    root = Path(config.config_file_path).parent
    path = Path(page.file.abs_src_path)
    start = os.path.dirname(page.file.src_uri)

    def pointed(match: re.Match[str]) -> str:
        other = target(path, match[2], root)
        return match[0] if other is None else match[1] + os.path.relpath(site_uri(other, root), start or ".")

    return outside_fences(markdown, lambda text: LINK.sub(pointed, text))


def links(markdown: str) -> list[str]:
    """Where the links and pictures of a page lead, but for those in blocks of code."""
    return [match[2] for match in LINK.finditer(FENCE.sub("", markdown))]


def target(path: Path, link: str, root: Path) -> Path | None:
    """The file of the repository that a link means; None where it leads elsewhere, or nowhere."""
    if ":" in link:
        return None
    other = (path.parent / link).resolve()
    other = other / "README.md" if other.is_dir() else other
    return other if other.is_relative_to(root) and other.is_file() else None


def site_uri(path: Path, root: Path) -> str:
    """The place of a file of the repository in the site."""
    path = path.with_suffix(".md") if path.suffix == ".ipynb" else path
    return path.relative_to(root).as_posix().removeprefix("docs/")


def source(path: Path) -> Path:
    """The file of the repository that a page of the navigation is made of: a notebook, where there is no such page."""
    notebook = path.with_suffix(".ipynb")
    return notebook if notebook.is_file() and not path.is_file() else path


def outside_fences(markdown: str, change: Callable[[str], str]) -> str:
    """A page with its text changed, and its blocks of code as they are."""
    ends = [0, *(place for match in FENCE.finditer(markdown) for place in match.span()), len(markdown)]
    pieces = [markdown[a:b] for a, b in pairwise(ends)]
    return "".join(change(piece) if i % 2 == 0 else piece for i, piece in enumerate(pieces))


def _named(nav: Any) -> list[str]:
    if isinstance(nav, str):
        return [nav]
    parts = nav.values() if isinstance(nav, dict) else nav or []
    return [uri for part in parts for uri in _named(part)]
