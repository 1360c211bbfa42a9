"""Time grids: the times a sampler or a bound visits, from 1 down to 0, one more than it has intervals."""

from collections.abc import Callable

import jax
import numpy as np

from ddpm_jax.schedules.calculus import log_snr, time_of_log_snr
from ddpm_jax.schedules.table import Schedule, Table

OF_TABLES = ("trailing", "leading")
SPACINGS = ("uniform", "quadratic", "karras", "log_snr", *OF_TABLES)

NEAR_END = 1 - 1e-3
"""Where log-SNR is taken to start if it is minus infinity at t = 1."""

_log_snr = jax.jit(log_snr, static_argnums=0)
_inverse = jax.jit(time_of_log_snr, static_argnums=0)


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

    Where alpha(1) = 0, so that log-SNR is minus infinity at t = 1, the last two have their first point at t = 1 - 1e-3
    (on a table at its last entry with alpha > 0) and then move it to 1.

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
    if count == 2 or spacing == "uniform":
        times = np.linspace(1, t_min, count)
    elif spacing == "quadratic":
        times = np.linspace(1, np.sqrt(t_min), count) ** 2
    else:
        start, end, inverse = _log_snrs(schedule, t_min)
        if spacing == "karras":
            roots = np.linspace(np.exp(-start / (2 * rho)), np.exp(-end / (2 * rho)), count)  # of sigma/alpha
            times = inverse(-2 * rho * np.log(roots))
        else:
            times = inverse(np.linspace(start, end, count))
    times[0], times[-1] = 1.0, t_min
    return times


def _log_snrs(schedule: Schedule, t_min: float) -> tuple[float, float, Callable[[np.ndarray], np.ndarray]]:
    """Log-SNR where it starts and at t_min, and its inverse. In float64, and at once even inside a traced function."""
    if isinstance(schedule, Table):
        index = np.arange(1, schedule.steps + 1)[schedule.alphas[1:] > 0]
        entries = 2 * (np.log(schedule.alphas[index]) - np.log(schedule.sigmas[index]))
        least = entries[round(t_min * schedule.steps) - 1]
        return entries[-1], least, lambda value: np.interp(-value, -entries, index / schedule.steps)

    def now(function: Callable, values: np.ndarray) -> np.ndarray:
        with jax.ensure_compile_time_eval(), jax.enable_x64(True):
            return np.array(function(schedule, values))

    last, near_end, least = now(_log_snr, np.array([1.0, NEAR_END, t_min]))
    return last if np.isfinite(last) else near_end, least, lambda value: now(_inverse, value)


def _distinct_entries(times: np.ndarray, total: int, least: int) -> np.ndarray:
    """The nearest indices of a table, moved apart where two are the same; the ends stay `total` and `least`."""
    indices = np.round(times * total).astype(int)
    for k in range(1, len(indices)):
        indices[k] = min(indices[k], indices[k - 1] - 1)
    indices[-1] = least
    for k in range(len(indices) - 2, -1, -1):
        indices[k] = max(indices[k], indices[k + 1] + 1)
    return indices / total
