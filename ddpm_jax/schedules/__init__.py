"""How fast information goes: schedules, time grids, and where in time training looks.

A schedule is a function `t -> (alpha, sigma)` of times in [0, 1] of any shape and float dtype. `table.py` has those
known at i/T only, `continuous.py` those with a formula, `learned.py` the one with parameters; `calculus.py` derives
log-SNR, rates, drift and diffusion from any of them. A grid (`grids.py`) is an array of times to walk down when
sampling. `times.py` draws the intervals that one training batch looks at. Pure mathematics: imports nothing of the
other rooms; everyone may import it.

To add a schedule: a frozen dataclass (or a function) with float options that is or gives such a function, with the
attributes `continuous` (has derivatives in t) and `t_min` (the least time a network should see), and its name in
`SCHEDULES`.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ddpm_jax.schedules.calculus import drift_diffusion, log_snr, rates, time_of_log_snr
from ddpm_jax.schedules.continuous import EDM, VE, VP, Cosine, Flow, SubVP
from ddpm_jax.schedules.learned import Learned
from ddpm_jax.schedules.table import Schedule, Table, ddpm_cosine, ddpm_linear, interpolated

SCHEDULES: dict[str, Callable[..., Any]] = {
    "ddpm_linear": ddpm_linear,
    "ddpm_cosine": ddpm_cosine,
    "vp": VP,
    "subvp": SubVP,
    "ve": VE,
    "edm": EDM,
    "flow": Flow,
    "cosine": Cosine,
    "learned": Learned,
}
TABLES = ("ddpm_linear", "ddpm_cosine")
TRAINED = ("learned",)
HIDDEN = ("steps", "trains_shape")  # `make` sets these


@dataclass(frozen=True, eq=False)
class Parametrised:
    """A schedule before its parameters.

    Attributes:
        init: `key -> params`, a pytree; `{}` for a schedule without parameters.
        bind: `params -> schedule`.
    """

    init: Callable[[Any], Any]
    bind: Callable[[Any], Schedule]


def options(name: str) -> dict[str, Any]:
    """The options of a schedule and their defaults, without a table's number of steps."""
    parameters = inspect.signature(SCHEDULES[name]).parameters
    return {option: parameter.default for option, parameter in parameters.items() if option not in HIDDEN}


def make(name: str, steps: int = 0, **chosen: Any) -> Parametrised:
    """The schedule of a name with some of its options; `steps` is T, which only tables take.

    Raises ValueError for an unknown name or option, for options that contradict one another, and for a table with
    steps < 1.
    """
    if name not in SCHEDULES:
        raise ValueError(f"unknown schedule {name!r}; choose from {', '.join(SCHEDULES)}")
    for option in chosen:
        if option not in options(name):
            raise ValueError(f"schedule {name!r} has no option {option!r}; it has {', '.join(options(name)) or 'none'}")
    if name in TRAINED:
        family = SCHEDULES[name](**chosen, trains_shape=steps > 0)
        return Parametrised(family.init, family.bind)
    schedule = SCHEDULES[name](steps, **chosen) if name in TABLES else SCHEDULES[name](**chosen)
    return Parametrised(lambda key: {}, lambda params: schedule)


def t_min(name: str) -> float:
    """The least time above 0 that a network should see in continuous time. Raises ValueError for a table: it is 1/T."""
    if name in TABLES:
        raise ValueError(f"{name} is a table, whose least time is 1/T")
    return SCHEDULES[name].t_min  # type: ignore[attr-defined]


__all__ = [
    "EDM",
    "SCHEDULES",
    "TABLES",
    "TRAINED",
    "VE",
    "VP",
    "Cosine",
    "Flow",
    "Learned",
    "Parametrised",
    "Schedule",
    "SubVP",
    "Table",
    "ddpm_cosine",
    "ddpm_linear",
    "drift_diffusion",
    "interpolated",
    "log_snr",
    "make",
    "options",
    "rates",
    "t_min",
    "time_of_log_snr",
]
