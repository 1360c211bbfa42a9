"""What a report is made of, and how it is written as Markdown. All its words are in our markup (`markup`)."""

from collections.abc import Sequence
from dataclasses import dataclass

from ddpm_jax.reporting import markup
from ddpm_jax.reporting.tables import Table, markdown


@dataclass(frozen=True)
class Heading:
    """A title; level 1 is the report's own."""

    level: int
    text: str

    def markdown(self) -> str:
        """As Markdown."""
        return f"{'#' * self.level} {markup.as_markdown(self.text)}"


@dataclass(frozen=True)
class Paragraph:
    """Some sentences."""

    text: str

    def markdown(self) -> str:
        """As Markdown."""
        return markup.as_markdown(self.text, starts=True)


@dataclass(frozen=True)
class Bullets:
    """Lines of a list."""

    lines: Sequence[str]

    def markdown(self) -> str:
        """As Markdown."""
        return "\n".join(f"- {markup.as_markdown(line, starts=True)}" for line in self.lines)


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
        title, caption = markup.as_markdown(self.title), markup.as_markdown(self.caption)
        return f"![{title}]({self.file})\n\n*{title}.* {caption}"


Block = Heading | Paragraph | Bullets | Figures | Picture


def as_markdown(blocks: Sequence[Block]) -> str:
    """The whole report."""
    return "\n\n".join(block.markdown() for block in blocks) + "\n"
