"""Frechet distance of trained runs by their papers' samplers and by others, of which their families take one."""

from pathlib import Path
from typing import Any

import numpy as np
from trained import quality, reference

SEEDS = (0, 1, 2)
"""Of the draws; the network is one."""

ANCESTRAL = {"name": "first_order", "eta": 1.0, "steps": 100}
UNIPC = {"name": "unipc", "eta": 0.0, "steps": 20}
DIFFUSION = {"name": "euler", "eta": 1.0, "spacing": "uniform", "steps": 100}
QUADRATIC = {**UNIPC, "spacing": "quadratic"}
VELOCITY = {"name": "adams_bashforth", "eta": 0.0, "spacing": "uniform", "steps": 20}

SAMPLERS: dict[str, dict[str, dict[str, Any]]] = {
    "ddpm": {"ancestral": {**ANCESTRAL, "spacing": "trailing"}, "unipc, quadratic": QUADRATIC},
    "ddpm_cosine": {
        "ancestral": {**ANCESTRAL, "spacing": "trailing"},
        "unipc, quadratic": QUADRATIC,
        "adams_bashforth, uniform": VELOCITY,
    },
    "improved_ddpm": {
        "ancestral, learned variance": {**ANCESTRAL, "spacing": "trailing"},
        "unipc, quadratic": QUADRATIC,
        "adams_bashforth, uniform": VELOCITY,
    },
    "ncsn": {
        "annealed Langevin": {
            "name": "annealed_langevin",
            "eta": 1.0,
            "spacing": "uniform",
            "steps": 20,
            "corrector_steps": 5,
            "langevin_step": 3.4e-4,  # technique 4 of Song and Ermon 2020, for these images
        },
        "unipc, uniform": {**UNIPC, "spacing": "uniform"},
    },
    "vp": {"Euler-Maruyama": DIFFUSION, "unipc, quadratic": QUADRATIC},
    "subvp": {"Euler-Maruyama": DIFFUSION, "unipc, quadratic": QUADRATIC},
    "ve": {
        "predictor-corrector": {**DIFFUSION, "name": "predictor_corrector"},
        "unipc, uniform": {**UNIPC, "spacing": "uniform"},
    },
    "edm": {
        "Heun, karras": {"name": "heun", "eta": 0.0, "spacing": "karras", "steps": 18},
        "unipc of order 3, karras": {**UNIPC, "spacing": "karras", "solver_order": 3},
    },
    "flow": {
        "Heun, uniform": {"name": "heun", "eta": 0.0, "spacing": "uniform", "steps": 50},
        "adams_bashforth, uniform": VELOCITY,
    },
    "vdm": {
        "ancestral": {**ANCESTRAL, "spacing": "uniform"},
        "unipc, uniform": {**UNIPC, "spacing": "uniform"},
    },
    "masked": {
        "64 steps": {"name": "first_order", "eta": 0.0, "steps": 64},
        "32 steps": {"name": "first_order", "eta": 0.0, "steps": 32},
        "16 steps": {"name": "first_order", "eta": 0.0, "steps": 16},
        "surest first, 16 steps": {"name": "confidence", "eta": 0.0, "steps": 16, "confidence_temperature": 1.0},
    },
}
"""Of each member: its paper's first, and others."""

SAID = ("name", "eta", "spacing", "steps", "solver_order", "corrector_steps", "confidence_temperature")
"""Keys of a sampler that tell which of them a run's own is."""


def measure(folder: Path, member: str) -> dict[str, Any]:
    """The figures of a run of a member: `samplers[name]` has the evaluations and a distance for each of `SEEDS`."""
    import ddpm_jax as dj
    from ddpm_jax.progress import bar

    run, found = dj.load_run(str(folder)), {}
    family: Any = run.experiment.family
    for name, chosen in bar(SAMPLERS[member].items(), f"{folder.name}: sampler", "samplers"):
        config = run.experiment.config.copy_and_resolve_references()
        config.sampler.solver_order = 0
        config.sampler.update(chosen)
        sampling = family.sampling(config, run.model, None, None)
        each = [quality(run, sampling, seed) for seed in SEEDS]
        found[name] = {
            "evaluations": float(np.mean([one["evaluations"] for one in each])),
            "frechet": [one["frechet"] for one in each],
            "own": all(config.sampler[key] == run.experiment.config.sampler[key] for key in SAID),
        }
    return {"steps": run.step, "samplers": found, **reference(run)}
