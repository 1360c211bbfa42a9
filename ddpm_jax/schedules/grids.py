"""Time grids: the times a sampler or a bound visits, from 1 down to 0, one more than it has intervals."""

import numpy as np

SPACINGS = ("trailing", "leading")


def table_grid(total: int, steps: int, spacing: str = "trailing") -> np.ndarray:
    """`steps` of a table's `total` times i/T, in falling order, and then 0: `[steps + 1]`, float64.

    `trailing` starts at i = T, so that the first step sees pure noise: i = round(T - k T/steps).
    `leading` ends at i = 1, as DDIM's published code does: i = 1 + k floor(T/steps). The two are named after Lin et al.
    2023 (table 2). With steps = T both are all of T, ..., 1, 0.

    Raises ValueError unless 1 <= steps <= total.
    """
    if not 1 <= steps <= total:
        raise ValueError(f"a grid of {steps} steps does not fit a table of {total}")
    if spacing == "trailing":
        indices = np.round(total - np.arange(steps) * (total / steps))
    elif spacing == "leading":
        indices = 1 + np.arange(steps)[::-1] * (total // steps)
    else:
        raise ValueError(f"unknown spacing {spacing!r}; choose from {SPACINGS}")
    return np.append(indices, 0) / total
