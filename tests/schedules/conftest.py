"""One schedule of each name, for tests that hold for all of them."""

import tempfile
from pathlib import Path

import jax
import numpy as np
import pytest

from ddpm_jax import schedules

STEPS = 200
TABLES = ("ddpm_linear", "ddpm_cosine", "ddpm_scaled_linear", "ddpm_sigmoid", "table")
CONTINUOUS = tuple(name for name in schedules.SCHEDULES if name not in TABLES)


def build(name):
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "betas.npy"
        np.save(file, np.linspace(1e-3, 0.05, STEPS))
        chosen = {"table_file": str(file)} if name == "table" else {}
        made = schedules.make(name, STEPS if name in TABLES else 0, **chosen)
    return made.bind(made.init(jax.random.key(0))) if isinstance(made, schedules.Trained) else made


@pytest.fixture(params=CONTINUOUS)
def continuous(request):
    """(name, schedule) of each schedule with derivatives."""
    return request.param, build(request.param)


@pytest.fixture(params=schedules.SCHEDULES)
def each(request):
    """(name, schedule) of each schedule; tables have 200 steps."""
    return request.param, build(request.param)
