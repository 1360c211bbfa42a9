"""Time grids: the times a sampler or a bound visits, from 1 down to 0, one more than it has intervals."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import jax
import numpy as np

from ddpm_jax.schedules.calculus import log_snr, time_of_log_snr
from ddpm_jax.schedules.table import Schedule, Table

OF_TABLES = ("trailing", "leading")
OF_LEVELS = ("karras", "log_snr")
"""Even in a function of the noise level, so that they can go from one level to another."""
SPACINGS = ("uniform", "quadratic", *OF_LEVELS, "beta", *OF_TABLES)

NEAR_END = 1 - 1e-3
"""Where log-SNR is taken to start if it is minus infinity at t = 1."""

CLOSE = 1e-3
"""The relative difference of noise levels below which they are one: published ones are rounded."""

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


def make_grid(
    schedule: Schedule,
    steps: int,
    spacing: str,
    t_min: float,
    rho: float = 7.0,
    sigma_min: float = 0.0,
    sigma_max: float = 0.0,
    beta: tuple[float, float] = (0.6, 0.6),
) -> np.ndarray:
    """`[steps + 1]` times in falling order, float64: 1, ..., t_min, and then 0. One step is the grid [1, 0].

    With u from 1 to 0 in even steps, a time between the ends is given by

    - `uniform`: t = t_min + (1 - t_min) u.
    - `quadratic`: sqrt(t) in even steps (the quadratic tau of Song et al. 2021a, appendix D.2).
    - `karras`: (sigma/alpha)^(1/rho) in even steps (Karras et al. 2022, eq. 5), through the inverse schedule.
    - `log_snr`: log-SNR in even steps (Lu et al. 2022, section 3.3), through the inverse schedule.
    - `beta`: t = t_min + (1 - t_min) q with q the quantile of Beta(a, b) at u (Lee et al. 2024). Below 1 they make
      steps denser at the ends.

    Where alpha(1) = 0, so that log-SNR is minus infinity at t = 1, `karras` and `log_snr` have their first point at
    t = 1 - 1e-3 (on a table at its last entry with alpha > 0) and then move it to 1. With `sigma_max` they begin at
    that level instead, and with `sigma_min` they end at that one: `steps` levels, and then 0, as k-diffusion has them.

    On a table, whose log-SNR is joined by straight lines for this, times are moved to entries i/T, each used once.
    `trailing` and `leading` are for tables only and described at `table_grid`; they need no `t_min`, and `leading` does
    not start at 1.

    Args:
        schedule: t -> (alpha, sigma).
        steps: the number of intervals, the last one (0, t_min] included.
        spacing: one of `SPACINGS`.
        t_min: the least time above 0; on a table it is moved to an entry.
        rho: of `karras`.
        sigma_min: the last sigma/alpha of `karras` and `log_snr`; 0 is that at t_min.
        sigma_max: their first; 0 is that at t = 1. Below it the grid does not start at 1.
        beta: a and b of `beta`.

    Raises:
        ValueError: a request that no grid can meet, in one line.
    """
    if spacing not in SPACINGS:
        raise ValueError(f"unknown spacing {spacing!r}; choose from {', '.join(SPACINGS)}")
    if steps < 1:
        raise ValueError(f"a grid needs at least 1 step, not {steps}")
    if (sigma_min or sigma_max) and spacing not in OF_LEVELS:
        raise ValueError(f"spacing {spacing!r} has no noise levels; use {' or '.join(OF_LEVELS)}")
    table = schedule if isinstance(schedule, Table) else None
    if table is None and spacing in OF_TABLES:
        raise ValueError(f"spacing {spacing!r} is for tables; choose from {', '.join(SPACINGS[:-2])}")
    if table is not None:
        if spacing in OF_TABLES:
            return table_grid(table.steps, steps, spacing)
        t_min = max(round(t_min * table.steps), 1) / table.steps
    if steps == 1 and not sigma_max:
        return np.array([1.0, 0.0])
    if not 0 < t_min < NEAR_END:
        raise ValueError(f"t_min {t_min} is not in (0, {NEAR_END})")
    if spacing in OF_LEVELS:
        times = _times_of_levels(schedule, steps, spacing, t_min, rho, (sigma_max, sigma_min))
    else:
        times = _times(steps, spacing, t_min, beta)
    if table is not None:
        first, last = (round(float(time) * table.steps) for time in (times[0], times[-1]))
        if steps > first - last + 1:
            raise ValueError(f"a grid of {steps} steps down to {last} does not fit a table of {first}")
        times = _distinct_entries(times, table.steps)
    grid = np.append(times, 0.0)
    if not np.all(np.diff(grid) < 0):
        raise ValueError(f"{steps} steps of spacing {spacing!r} are too many to tell apart between 1 and {t_min}")
    return grid


def grid_of_times(schedule: Schedule, times: Sequence[float], t_min: float, steps: int = 0) -> np.ndarray:
    """Times chosen by hand, `[N + 1]`, as a grid: from 1 to 0, on a table or with `steps` = T at its entries i/T.

    Raises:
        ValueError: they do not fall from 1 to 0, go below t_min, or two are at one entry; in one line.
    """
    grid = np.asarray(times, np.float64)
    if grid.ndim != 1 or len(grid) < 2 or (grid[0], grid[-1]) != (1, 0) or not np.all(np.diff(grid) < 0):
        raise ValueError(f"{tuple(times)} do not fall from 1 to 0")
    if len(grid) > 2 and grid[-2] < t_min * (1 - CLOSE):
        raise ValueError(f"{grid[-2]:g} is below {t_min:g}, the least time that a network sees")
    return _at_entries(grid, schedule.steps if isinstance(schedule, Table) else steps)


def grid_of_levels(schedule: Schedule, levels: Sequence[float], t_min: float, steps: int = 0) -> np.ndarray:
    """The times of noise levels sigma/alpha chosen by hand, `[N + 1]`, which fall to 0, as a grid.

    The first may be below that of t = 1; then the grid begins where it is. As `grid_of_times` on a table.

    Raises:
        ValueError: they do not fall to 0, are not levels of the schedule, or two are at one entry; in one line.
    """
    chosen = np.asarray(levels, np.float64)
    if chosen.ndim != 1 or len(chosen) < 2 or chosen[-1] != 0 or not np.all(np.diff(chosen) < 0):
        raise ValueError(f"{tuple(levels)} do not fall to 0")
    there = _range(schedule, t_min)
    there.check(chosen[0], chosen[-2])
    times = there.inverse(-2 * np.log(chosen[:-1]))
    if there.begins(chosen[0]):
        times[0] = 1.0
    return _at_entries(np.append(times, 0.0), schedule.steps if isinstance(schedule, Table) else steps)


def restarted(schedule: Schedule, grid: np.ndarray, low: float, high: float, times: int) -> np.ndarray:
    """A grid that, once it is below a range of noise levels, goes back to its start and down again, `times` times.

    Of Xu et al. 2023 (algorithm 1), whose interval (t_min, t_max) is that of the grid's own times with sigma/alpha in
    [low, high]. Where times rise a sampler takes a forward step.

    Raises:
        ValueError: fewer than two times above 0 are in the range.
    """
    if not times:
        return grid
    if not low < high:
        raise ValueError(f"{low:g} is not below {high:g}")
    alpha, sigma = map(np.asarray, schedule(np.asarray(grid[:-1], np.float32)))
    inside = np.flatnonzero((sigma >= low * alpha) & (sigma <= high * alpha))
    if len(inside) < 2:
        number = f"{len(inside)} of the grid's times have sigma/alpha from {low:g} to {high:g}"
        raise ValueError(f"{number}, and two are needed: take more steps, or a wider range")
    first, last = inside[0], inside[-1]
    return np.concatenate([grid[: last + 1], *[grid[first : last + 1]] * times, grid[last + 1 :]])


def _at_entries(grid: np.ndarray, steps: int) -> np.ndarray:
    """The nearest i/T; as it is where T is 0. Raises ValueError where two are the same."""
    moved = np.round(grid * steps) / steps if steps else grid
    if not np.all(np.diff(moved) < 0):
        raise ValueError(f"two of the {len(grid)} times are at the same of {steps} entries")
    return moved


def _times(count: int, spacing: str, t_min: float, beta: tuple[float, float]) -> np.ndarray:
    """`count` times from 1 down to t_min."""
    if spacing == "uniform":
        times = np.linspace(1, t_min, count)
    elif spacing == "quadratic":
        times = np.linspace(1, np.sqrt(t_min), count) ** 2
    else:
        from scipy.special import betaincinv  # the quantile of scipy.stats.beta, which is slow to import

        if not min(beta) > 0:
            raise ValueError(f"a and b of the beta law, {beta}, must be above 0")
        times = t_min + (1 - t_min) * betaincinv(*beta, np.linspace(1, 0, count))
    times[0], times[-1] = 1.0, t_min
    return times


def _times_of_levels(
    schedule: Schedule, count: int, spacing: str, t_min: float, rho: float, ends: tuple[float, float]
) -> np.ndarray:
    """`count` times of noise levels, before they are moved to a table's entries; `ends` are sigma_max and sigma_min."""
    if count == 2 and ends == (0, 0):
        return np.array([1.0, t_min])
    there, (first, last) = _range(schedule, t_min), ends
    there.check(*filter(None, ends))
    start = -2 * np.log(first) if first else there.start
    end = -2 * np.log(last) if last else there.end
    if count > 1 and not start < end:
        raise ValueError(f"sigma_min {np.exp(-end / 2):g} is not below sigma_max {np.exp(-start / 2):g}")
    if spacing == "karras":
        roots = np.linspace(np.exp(-start / (2 * rho)), np.exp(-end / (2 * rho)), count)  # of sigma/alpha
        times = there.inverse(-2 * rho * np.log(roots))
    else:
        times = there.inverse(np.linspace(start, end, count))
    if not first or there.begins(first):
        times[0] = 1.0
    if count > 1 and not last:
        times[-1] = t_min
    return times


@dataclass(frozen=True)
class _Range:
    """The log-SNRs of a schedule.

    Attributes:
        least: at t = 1, where it may be minus infinity; of a table that of the last entry with alpha > 0.
        start: where grids start: the same, or a finite one near it.
        end: at t_min.
        inverse: log-SNR -> t, of those from the start to the end.
    """

    least: float
    start: float
    end: float
    inverse: Callable[[np.ndarray], np.ndarray]

    def check(self, *levels: float) -> None:
        """Raise ValueError for a sigma/alpha that the schedule does not have."""
        low, high = np.exp(-self.end / 2), np.exp(-self.least / 2)
        for level in levels:
            if not low * (1 - CLOSE) <= level <= high * (1 + CLOSE):
                raise ValueError(f"the level {level:g} is not within those of the schedule, {low:.4g} to {high:.4g}")

    def begins(self, level: float) -> bool:
        """Whether this sigma/alpha is that of t = 1."""
        return bool(level >= np.exp(-self.least / 2) * (1 - CLOSE))


def _range(schedule: Schedule, t_min: float) -> _Range:
    """In float64, and at once even inside a traced function."""
    if isinstance(schedule, Table):
        index = np.arange(1, schedule.steps + 1)[schedule.alphas[1:] > 0]
        entries = 2 * (np.log(schedule.alphas[index]) - np.log(schedule.sigmas[index]))
        end = entries[max(round(t_min * schedule.steps), 1) - 1]
        return _Range(entries[-1], entries[-1], end, lambda value: np.interp(-value, -entries, index / schedule.steps))

    def now(function: Callable, values: np.ndarray) -> np.ndarray:
        with jax.ensure_compile_time_eval(), jax.enable_x64(True):
            return np.array(function(schedule, values))

    least, near_end, end = now(_log_snr, np.array([1.0, NEAR_END, t_min]))
    start = least if np.isfinite(least) else near_end
    return _Range(least, start, end, lambda value: now(_inverse, value))


def _distinct_entries(times: np.ndarray, total: int) -> np.ndarray:
    """The nearest indices of a table, moved apart where two are the same; the ends stay theirs."""
    indices = np.round(times * total).astype(int)
    least = indices[-1]
    for k in range(1, len(indices)):
        indices[k] = min(indices[k], indices[k - 1] - 1)
    indices[-1] = least
    for k in range(len(indices) - 2, -1, -1):
        indices[k] = max(indices[k], indices[k + 1] + 1)
    return indices / total
