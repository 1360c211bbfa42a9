"""How far the law of what is drawn is from a table, where sites are hidden: by enumeration, exact.

The table is an Ising model on 2 rows and 3 columns: p(x) ~ exp(J sum of x_i x_j over neighbours), whose every
conditional is known. In a step sites are drawn independently of one another given those before; that is the only error.
The law of `confidence` is counted over draws instead, of which true ones have a divergence too.
"""

from dataclasses import asdict
from typing import Any

import numpy as np

from ddpm_jax.metrics.law import between, law_distance, law_references
from ddpm_jax.oracles import JointTable
from ddpm_jax.processes import Ordered, make_order
from ddpm_jax.processes.orders import Independent
from ddpm_jax.schedules.keeping import KEEPS

SPACE, COUPLING = (2, 3), 0.6
STEPS = (1, 2, 3, 4, 6, 12)
DRAWS = 2**16

ARMS: dict[str, tuple[str, str, float, float]] = {
    "raster": ("raster", "linear", 0.0, 1.0),
    "spread": ("spread", "linear", 0.0, 1.0),
    "random": ("random", "linear", 0.0, 1.0),
    "independent": ("independent", "linear", 0.0, 1.0),
    "independent, cosine": ("independent", "cosine", 0.0, 1.0),
    "independent, eta 1": ("independent", "linear", 1.0, 1.0),
    "independent, eta 1, cap 0.1": ("independent", "linear", 1.0, 0.1),
}
"""Of `first_order`: the order, the share kept, eta, and `remask_cap`."""
TEMPERATURES = (0.0, 1.0, 4.0)
"""Of `confidence`, in the random order."""


def table() -> JointTable:
    """The law."""
    count = SPACE[0] * SPACE[1]
    spins = np.indices((2,) * count).reshape(count, -1).T.reshape(-1, *SPACE) * 2.0 - 1
    energy = (spins[:, 1:] * spins[:, :-1]).sum((1, 2)) + (spins[:, :, 1:] * spins[:, :, :-1]).sum((1, 2))
    weights = np.exp(COUPLING * energy)
    return JointTable((weights / weights.sum()).reshape((2,) * count), np.array([-1.0, 1.0]))


def enumerated(arm: str, steps: int) -> np.ndarray:
    """The law of an arm of `first_order` in so many steps."""
    order, keep, eta, cap = ARMS[arm]
    made = Independent(SPACE, remask_cap=cap) if order == "independent" else make_order(order, SPACE)
    process = Ordered(made, KEEPS[keep])
    return table().sampled_law(process, process.grid(steps), eta)


def counted(temperature: float, steps: int) -> Any:
    """Draws of `confidence` in so many steps, as levels."""
    import jax

    from ddpm_jax.samplers import Confidence, sample

    law, process = table(), Ordered(make_order("random", SPACE), KEEPS["linear"])
    solver, denoise = Confidence(confidence_temperature=temperature), law.denoiser(process)
    shape = (2**14, *SPACE, 1)
    grid = process.grid(steps)
    draw = jax.jit(lambda key: sample(process, denoise, solver, grid, key, shape))
    parts = [np.asarray(draw(jax.random.key(seed))) for seed in range(DRAWS // shape[0])]
    return (np.concatenate(parts) > 0).astype(np.uint8)


def most(arm: str) -> int:
    """The steps an order can take: no more than sites, unless these have times of their own."""
    return STEPS[-1] if arm.startswith("independent") else SPACE[0] * SPACE[1]


def measure() -> dict[str, Any]:
    """KL divergence and total variation by arm and network evaluations, and those of as many true draws."""
    law = table().probabilities
    arms = {arm: {str(n): asdict(between(enumerated(arm, n), law, 0)) for n in STEPS if n <= most(arm)} for arm in ARMS}
    for temperature in TEMPERATURES:
        arms[f"confidence, temperature {temperature:g}"] = {
            str(n): asdict(law_distance(counted(temperature, n), law)) for n in STEPS if n <= most("confidence")
        }
    true = asdict(law_references(law, DRAWS)["train"])
    return {"arms": arms, "draws": DRAWS, "true_draws": true, "coupling": COUPLING, "space": SPACE}
