"""How fast information goes: schedules, time grids, and where in time training looks.

A schedule is a function `t -> (alpha, sigma)` of times in [0, 1]. A grid is an array of times to walk down when
sampling. A time distribution draws the intervals that one training batch looks at. Pure mathematics: imports nothing
of the other rooms but `errors`; everyone may import it.
"""

from ddpm_jax.schedules.gaussian import Schedule, Table, ddpm_cosine, ddpm_linear

SCHEDULES = {"ddpm_linear": ddpm_linear, "ddpm_cosine": ddpm_cosine}

__all__ = ["SCHEDULES", "Schedule", "Table", "ddpm_cosine", "ddpm_linear"]
