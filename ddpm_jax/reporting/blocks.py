"""What a report is made of, and how it is written as Markdown. `*so*` is emphasis in its words, backticks are code."""

from collections.abc import Sequence
from dataclasses import dataclass

from ddpm_jax.reporting.tables import Table, markdown


@dataclass(frozen=True)
class Heading:
    """A title; level 1 is the report's own."""

    level: int
    text: str

    def markdown(self) -> str:
        """As Markdown."""
        return f"{'#' * self.level} {self.text}"


@dataclass(frozen=True)
class Paragraph:
    """Some sentences."""

    text: str

    def markdown(self) -> str:
        """As Markdown."""
        return self.text


@dataclass(frozen=True)
class Bullets:
    """Lines of a list."""

    lines: Sequence[str]

    def markdown(self) -> str:
        """As Markdown."""
        return "\n".join(f"- {line}" for line in self.lines)


@dataclass(frozen=True)
class Figures:
    """A table."""

    table: Table

    def markdown(self) -> str:
        """As Markdown."""
        return markdown(self.table)


@dataclass(frozen=True)
class Picture:
    """A PNG in the report's folder, with a caption."""

    file: str
    title: str
    caption: str

    def markdown(self) -> str:
        """As Markdown."""
        return f"![{self.title}]({self.file})\n\n*{self.title}.* {self.caption}"


Block = Heading | Paragraph | Bullets | Figures | Picture


def as_markdown(blocks: Sequence[Block]) -> str:
    """The whole report."""
    return "\n\n".join(block.markdown() for block in blocks) + "\n"
