"""DDPM's tables, by a formula or from a file. `steps` is T, and all preserve the variance: alpha^2 + sigma^2 = 1.

Each can be rescaled to end in pure noise (`zero_terminal`, see `table.with_pure_noise`).
"""

import csv
import zipfile
import zlib
from pathlib import Path

import numpy as np

from ddpm_jax.schedules.table import Table, with_pure_noise

BETAS, ALPHAS_CUMPROD = "betas", "alphas_cumprod"
VALUES = (BETAS, ALPHAS_CUMPROD)
"""What a file may hold, by the names that other projects give them: the betas, or prod (1 - beta) = alpha^2."""


def ddpm_linear(steps: int = 1000, beta_min: float = 0.1, beta_max: float = 20.0, zero_terminal: bool = False) -> Table:
    """DDPM's schedule: betas on a straight line from `beta_min`/T to `beta_max`/T (Ho et al. 2020, section 4).

    For T = 1000 they are theirs, 1e-4 to 0.02. Dividing by T leaves the noise at the end about the same for any T
    (Nichol and Dhariwal 2021, their code); as T grows the table tends to the schedule `VP` with the same two ends.
    Raises ValueError where a beta is not in (0, 1).
    """
    _check_steps(steps)
    return _made(np.linspace(beta_min, beta_max, steps) / steps, zero_terminal)


def ddpm_scaled_linear(
    steps: int = 1000, beta_min: float = 0.85, beta_max: float = 12.0, zero_terminal: bool = False
) -> Table:
    """Latent diffusion's schedule (Rombach et al. 2022, their code): sqrt(beta) on a straight line.

    The ends are `beta_min`/T and `beta_max`/T as in `ddpm_linear`. For T = 1000 the defaults, 8.5e-4 to 0.012, are
    those of Stable Diffusion; the class-conditional models of the paper have 1.5 and 19.5. Raises ValueError where a
    beta is not in (0, 1).
    """
    _check_steps(steps)
    _check_ends(beta_min, beta_max)
    return _made(np.linspace(np.sqrt(beta_min), np.sqrt(beta_max), steps) ** 2 / steps, zero_terminal)


def ddpm_sigmoid(
    steps: int = 1000, beta_min: float = 0.1, beta_max: float = 20.0, zero_terminal: bool = False
) -> Table:
    """Betas along a sigmoid over [-6, 6] (Xu et al. 2022, GeoDiff, their code): slow at both ends, fast in the middle.

    beta = (beta_min + (beta_max - beta_min) sigmoid(u))/T with u from -6 to 6, so that the first and the last miss the
    two ends by sigmoid(-6), a quarter of a percent of the range. The defaults are `ddpm_linear`'s. Raises ValueError
    where a beta is not in (0, 1).
    """
    _check_steps(steps)
    _check_ends(beta_min, beta_max)
    share = 1 / (1 + np.exp(-np.linspace(-6, 6, steps)))
    return _made((beta_min + (beta_max - beta_min) * share) / steps, zero_terminal)


def ddpm_cosine(steps: int = 1000, offset: float = 0.008, cap: float = 0.999, zero_terminal: bool = False) -> Table:
    """The cosine schedule (Nichol and Dhariwal 2021, eq. 17).

    alpha(t)^2 = f(t)/f(0) with f(t) = cos^2((t + offset)/(1 + offset) pi/2), and no beta above `cap`. Raises ValueError
    for an offset below 0 and a cap outside (0, 1).
    """
    _check_steps(steps)
    if not offset >= 0:
        raise ValueError(f"offset {offset} must be at least 0")
    if not 0 < cap < 1:
        raise ValueError(f"cap {cap} must be in (0, 1)")
    f = np.cos((np.arange(steps + 1) / steps + offset) / (1 + offset) * np.pi / 2) ** 2
    return _made(np.minimum(1 - f[1:] / f[:-1], cap), zero_terminal)


def from_file(steps: int = 1000, table_file: str = "", table_values: str = BETAS, zero_terminal: bool = False) -> Table:
    """A table of one's own, from a file with T numbers, in the order of the noise.

    A `.npy` holds them alone; in an `.npz` they are the array, in a `.csv` the column, of the name `table_values`. A
    `.csv` of one column needs no head.

    Args:
        steps: T.
        table_file: its path.
        table_values: `betas`, or `alphas_cumprod`, which may end in 0.
        zero_terminal: rescale it to end in pure noise.

    Raises:
        ValueError: no such file, other than T numbers, or numbers that are no schedule; in one line.
    """
    _check_steps(steps)
    if table_values not in VALUES:
        raise ValueError(f"table_values {table_values!r} is not {' or '.join(VALUES)}")
    if not table_file:
        raise ValueError("there is no file: give table_file, a .npy, .npz or .csv")
    values = _read(table_file, table_values)
    if values.shape != (steps,):
        raise ValueError(f"{table_file} holds {table_values} of shape {values.shape}, and steps is {steps}")
    if table_values == BETAS:
        return _made(values, zero_terminal)
    inside = (values[:-1] > 0) & (values[:-1] < 1)
    if not (np.all(inside) and np.all(np.diff(values) < 0) and 0 <= values[-1] < 1):
        raise ValueError(f"{table_file}: alphas_cumprod must fall and lie in (0, 1); the last alone may be 0")
    squared = np.append(1.0, values)
    table = Table(alphas=np.sqrt(squared), sigmas=np.sqrt(1 - squared))
    return with_pure_noise(table) if zero_terminal else table


def _read(file: str, name: str) -> np.ndarray:
    """The numbers of a file, float64."""
    path = Path(file)
    try:
        path = path.expanduser()
        if path.suffix == ".npy":
            found = np.load(path, allow_pickle=False)
        elif path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as arrays:
                if name not in arrays:
                    raise ValueError(f"has no array {name!r}, but {', '.join(arrays) or 'none'}")
                found = arrays[name]
        elif path.suffix == ".csv":
            found = _column(path, name)
        else:
            raise ValueError("is no .npy, .npz or .csv")
        return np.asarray(found, np.float64)
    except FileNotFoundError as error:
        raise ValueError(f"there is no file {path}") from error
    except (OSError, ValueError, TypeError, EOFError, RuntimeError, csv.Error, zipfile.BadZipFile, zlib.error) as error:
        reason = getattr(error, "strerror", None) or str(error).partition("\n")[0]
        raise ValueError(f"{path}: {reason}") from error


def _column(path: Path, name: str) -> list[float]:
    """The column of a name; of a file of one column without a head, that one."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = [row for row in csv.reader(file) if row]
    if not rows:
        raise ValueError("is empty")
    heads = [cell.strip() for cell in rows[0]]
    if name in heads:
        at = heads.index(name)
        return [float(row[at]) if at < len(row) else float("nan") for row in rows[1:]]
    if len(heads) > 1 or not _number(heads[0]):
        raise ValueError(f"has no column {name!r}, but {', '.join(heads)}")
    return [float(row[0]) for row in rows]


def _number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _made(betas: np.ndarray, zero_terminal: bool) -> Table:
    table = Table.from_betas(betas)
    return with_pure_noise(table) if zero_terminal else table


def _check_steps(steps: int) -> None:
    if steps < 1:
        raise ValueError(f"a table needs at least 1 step, not {steps}")


def _check_ends(beta_min: float, beta_max: float) -> None:
    if not 0 < beta_min <= beta_max:
        raise ValueError(f"beta_min {beta_min} and beta_max {beta_max} must be above 0 and in this order")
