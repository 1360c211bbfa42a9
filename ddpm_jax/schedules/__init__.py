"""How fast information goes: schedules and time grids.

A schedule is a function `t -> (alpha, sigma)` of times in [0, 1] of any shape and float dtype. `table.py` has those
known at i/T only, which `betas.py` makes; `continuous.py` those with a formula, `learned.py` the one with parameters;
`calculus.py` derives log-SNR, rates, drift and diffusion from any of them. A grid (`grids.py`) is an array of times to
walk down when sampling. Pure mathematics: imports nothing of the other folders; everyone may import it.

To add a schedule: a frozen dataclass (or a function) with float options that is or gives such a function, with the
attributes `continuous` (has derivatives in t) and `t_min` (the least time a network should see), and its name in
`SCHEDULES`.

>>> from ddpm_jax import schedules
>>> alpha, sigma = schedules.Flow()(0.25)
>>> float(alpha), float(sigma)
(0.75, 0.25)
"""

from collections.abc import Callable
from typing import Any

from ddpm_jax import plugins
from ddpm_jax.plugins import Options
from ddpm_jax.schedules.betas import ddpm_cosine, ddpm_linear, ddpm_scaled_linear, ddpm_sigmoid, from_file
from ddpm_jax.schedules.calculus import drift_diffusion, log_snr, rates, time_of_log_snr
from ddpm_jax.schedules.continuous import EDM, VE, VP, Cosine, Flow, SubVP, shift_of_size
from ddpm_jax.schedules.learned import Learned, Trained
from ddpm_jax.schedules.table import Schedule, Table, interpolated, with_pure_noise

SCHEDULES: dict[str, Callable[..., Any]] = {
    "ddpm_linear": ddpm_linear,
    "ddpm_cosine": ddpm_cosine,
    "ddpm_scaled_linear": ddpm_scaled_linear,
    "ddpm_sigmoid": ddpm_sigmoid,
    "table": from_file,
    "vp": VP,
    "subvp": SubVP,
    "ve": VE,
    "edm": EDM,
    "flow": Flow,
    "cosine": Cosine,
    "learned": Learned,
}
GIVEN = ("steps", "trains_shape")
"""Arguments that are no options: `make` gives them to a schedule that takes them."""


def options(name: str) -> Options:
    """The options of a schedule and their defaults, without those that `make` sets."""
    return plugins.options(plugins.find(SCHEDULES, name), GIVEN)


def make(name: str, steps: int = 0, **chosen: Any) -> Schedule | Trained:
    """The schedule of a name, or of a dotted path, with some of its options; `steps` is T, which only tables take.

    Raises ValueError for an unknown name or option, for options that contradict one another, and for a table with
    steps < 1.
    """
    function = plugins.find(SCHEDULES, name)
    for option in chosen:
        if option not in options(name):
            raise ValueError(f"schedule {name!r} has no option {option!r}; it has {', '.join(options(name)) or 'none'}")
    return plugins.made(name, function, {**chosen, **plugins.given(function, steps=steps, trains_shape=steps > 0)})


__all__ = [
    "EDM",
    "GIVEN",
    "SCHEDULES",
    "VE",
    "VP",
    "Cosine",
    "Flow",
    "Learned",
    "Schedule",
    "SubVP",
    "Table",
    "Trained",
    "ddpm_cosine",
    "ddpm_linear",
    "ddpm_scaled_linear",
    "ddpm_sigmoid",
    "drift_diffusion",
    "from_file",
    "interpolated",
    "log_snr",
    "make",
    "options",
    "rates",
    "shift_of_size",
    "time_of_log_snr",
    "with_pure_noise",
]
