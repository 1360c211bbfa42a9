"""Grids that jump back, so that what is drawn and what is known come to fit each other."""

import numpy as np
from jaxtyping import Float


def jumping(
    grid: Float[np.ndarray, " points"], length: int, repeats: int, until: int | None = None
) -> Float[np.ndarray, " more"]:
    """The grid, gone back `length` steps and down again `repeats` - 1 times after every `length` steps.

    As RePaint's schedule (Lugmayr et al. 2022, appendix C); an interval upwards is a draw of the process
    (`Process.forward`), and those down are steps of the sampler.

    >>> jumping(np.array([1.0, 0.75, 0.5, 0.25, 0.0]), 2, 2).tolist()
    [1.0, 0.75, 0.5, 1.0, 0.75, 0.5, 0.25, 0.0]

    Args:
        grid: falling times.
        length: of a jump, in steps.
        repeats: how often each stretch is walked; 1 is the grid.
        until: the number of steps after which there are no jumps; None: all but the last.

    Raises:
        ValueError: a length or repeats below 1.
    """
    if length < 1 or repeats < 1:
        raise ValueError(f"jumps of {length} steps, {repeats} times: both must be at least 1")
    walked, last = [float(grid[0])], len(grid) - 2 if until is None else until
    for start in range(0, len(grid) - 1, length):
        stretch = [float(time) for time in grid[start + 1 : start + length + 1]]
        again = repeats if len(stretch) == length and start + length <= last else 1
        for turn in range(again):
            walked += ([float(grid[start])] if turn else []) + stretch
    return np.asarray(walked)
