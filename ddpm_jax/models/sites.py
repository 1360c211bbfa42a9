"""How a network reads an image as a sequence of sites."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Sites:
    """The sites of an image in an order. Sites are numbered in row-major order, channels last where they are apart.

    Attributes:
        order: the number of the site at each place of the sequence.
        chunk: how many sites of the sequence are predicted at once, from those of the chunks before.
        apart: whether a site is one value; else it is a pixel with its channels.
        levels: inputs lie on this many levels, evenly spaced in [-1, 1], and may be embedded by level; 0: any reals.
    """

    order: tuple[int, ...]
    chunk: int = 1
    apart: bool = False
    levels: int = 0

    @property
    def groups(self) -> int:
        """How many chunks there are; the last may be smaller."""
        return -(-len(self.order) // self.chunk)
