"""Time grids: the times a sampler or a bound visits, from 1 down to 0, one more than it has intervals."""

from collections.abc import Callable

import jax
import numpy as np

from ddpm_jax.schedules.calculus import log_snr, time_of_log_snr
from ddpm_jax.schedules.table import Schedule, Table, interpolated

OF_TABLES = ("trailing", "leading")
SPACINGS = ("uniform", "quadratic", "karras", "log_snr", *OF_TABLES)

NEAR_END = 1 - 1e-3
"""Where log-SNR is taken to start if it is minus infinity at t = 1."""


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
        raise ValueError(f"unknown spacing {spacing!r}; choose from {OF_TABLES}")
    return np.append(indices, 0) / total


def make_grid(schedule: Schedule, steps: int, spacing: str, t_min: float, rho: float = 7.0) -> np.ndarray:
    """`[steps + 1]` times in falling order, float64: 1, ..., t_min, and then 0. One step is the grid [1, 0].

    With u from 1 to 0 in even steps, a time between the ends is given by

    - `uniform`: t = t_min + (1 - t_min) u.
    - `quadratic`: sqrt(t) in even steps (the quadratic tau of Song et al. 2021a, appendix D.2).
    - `karras`: (sigma/alpha)^(1/rho) in even steps (Karras et al. 2022, eq. 5), through the inverse schedule.
    - `log_snr`: log-SNR in even steps (Lu et al. 2022, section 3.3), through the inverse schedule.

    Where alpha(1) = 0 the last two have their first point at t = 1 - 1e-3 and then move it to 1, because log-SNR is
    minus infinity there.

    On a table, whose log-SNR is joined by straight lines for this, times are moved to entries i/T, each used once.
    `trailing` and `leading` are for tables only and described at `table_grid`; they need no `t_min`, and `leading` does
    not start at 1.

    Args:
        schedule: t -> (alpha, sigma).
        steps: the number of intervals, the last one (0, t_min] included.
        spacing: one of `SPACINGS`.
        t_min: the least time above 0; on a table it is moved to an entry.
        rho: of `karras`.

    Raises:
        ValueError: a request that no grid can meet, in one line.
    """
    if spacing not in SPACINGS:
        raise ValueError(f"unknown spacing {spacing!r}; choose from {', '.join(SPACINGS)}")
    if steps < 1:
        raise ValueError(f"a grid needs at least 1 step, not {steps}")
    least = 0
    if isinstance(schedule, Table):
        if spacing in OF_TABLES:
            return table_grid(schedule.steps, steps, spacing)
        least = max(round(t_min * schedule.steps), 1)
        if steps > schedule.steps - least + 1:
            raise ValueError(f"a grid of {steps} steps down to {least} does not fit a table of {schedule.steps}")
        t_min = least / schedule.steps
    elif spacing in OF_TABLES:
        raise ValueError(f"spacing {spacing!r} is for tables; choose from {', '.join(SPACINGS[:-2])}")
    if steps == 1:
        return np.array([1.0, 0.0])
    if not 0 < t_min < NEAR_END:
        raise ValueError(f"t_min {t_min} is not in (0, {NEAR_END})")
    times = _times(schedule, steps, spacing, t_min, rho)
    if isinstance(schedule, Table):
        times = _distinct_entries(times, schedule.steps, least)
    grid = np.append(times, 0.0)
    if not np.all(np.diff(grid) < 0):
        raise ValueError(f"{steps} steps of spacing {spacing!r} are too many to tell apart between 1 and {t_min}")
    return grid


def _times(schedule: Schedule, count: int, spacing: str, t_min: float, rho: float) -> np.ndarray:
    """`count` >= 2 times from 1 down to t_min, before they are moved to a table's entries."""
    if spacing == "uniform":
        times = np.linspace(1, t_min, count)
    elif spacing == "quadratic":
        times = np.linspace(1, np.sqrt(t_min), count) ** 2
    elif spacing == "karras":
        times = _through_log_snr(
            schedule, count, t_min, lambda value: np.exp(-value / (2 * rho)), lambda warped: -2 * rho * np.log(warped)
        )
    else:
        times = _through_log_snr(schedule, count, t_min, lambda value: value, lambda warped: warped)
    times[0], times[-1] = 1.0, t_min
    return times


def _through_log_snr(schedule: Schedule, count: int, t_min: float, warp: Callable, unwarp: Callable) -> np.ndarray:
    """Times at which warp(log-SNR) is in even steps. Computed at once, in float64, even inside a traced function."""
    if isinstance(schedule, Table):
        if count < 3:
            return np.array([1.0, t_min])
        schedule = interpolated(schedule)
    with jax.ensure_compile_time_eval(), jax.enable_x64(True):
        start = 1.0 if float(schedule(np.float64(1.0)[None])[0][0]) > 0 else NEAR_END
        ends = np.asarray(log_snr(schedule, np.array([start, t_min])))
        return np.array(time_of_log_snr(schedule, unwarp(np.linspace(*warp(ends), count))))


def _distinct_entries(times: np.ndarray, total: int, least: int) -> np.ndarray:
    """The nearest indices of a table, moved apart where two are the same; the ends stay `total` and `least`."""
    indices = np.round(times * total).astype(int)
    for k in range(1, len(indices)):
        indices[k] = min(indices[k], indices[k - 1] - 1)
    indices[-1] = least
    for k in range(len(indices) - 2, -1, -1):
        indices[k] = max(indices[k], indices[k + 1] + 1)
    return indices / total
