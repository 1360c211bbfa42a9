"""Types are the config's, never those of JAX_ENABLE_X64: parameters, samples and figures are the same with it on."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ddpm_jax as dj
from ddpm_jax import samplers, schedules
from ddpm_jax.config import base, families
from ddpm_jax.denoisers import Normal
from ddpm_jax.processes import Gaussian

pytestmark = pytest.mark.slow

SMALL = {
    "model.channels": 8,
    "model.blocks": 1,
    "model.multipliers": (1,),
    "model.attention_resolutions": (),
    "model.groups": 4,
    "training.steps": 3,
    "evaluation.at_end": False,
    "logging.wandb": "off",
}


@pytest.fixture(
    scope="module",
    params=[families.ddpm, families.pixelcnn],
    ids=lambda family: family.__name__,
)
def run(request, tmp_path_factory):
    """A run that is trained, read and sampled with the flag off."""
    config = base.digits()
    request.param(config)
    changes = dict(SMALL)
    if request.param is families.pixelcnn:
        changes |= {"model.channels": 4, "model.multipliers": (1, 1, 1)}
    folder = tmp_path_factory.mktemp("types") / "run"
    return config, changes, folder, dj.train(config, workdir=folder, settings=changes)


def leaves(tree):
    return jax.tree.leaves(tree)


@pytest.mark.slow
def test_a_run_is_trained_and_read_as_without_the_flag(run, tmp_path):
    config, changes, folder, plain = run
    with jax.enable_x64(True):
        read = dj.load_run(folder)
        trained = dj.train(config, workdir=tmp_path / "run", settings=changes)
        for other in (read, trained):
            for ours, theirs in zip(leaves(other.params), leaves(plain.params), strict=True):
                assert ours.dtype == theirs.dtype == np.float32
                np.testing.assert_array_equal(ours, theirs)
        images = plain.dataset.split("test").arrays()[0][:2]
        np.testing.assert_array_equal(read.sample(3, seed=1), plain.sample(3, seed=1))
        flagged = read.likelihood(images)
    np.testing.assert_array_equal(flagged, plain.likelihood(images))


@pytest.mark.slow
def test_fresh_parameters_and_losses_are_of_32_bits(run):
    _, _, _, plain = run
    model = plain.model
    fresh = model.init(jax.random.key(0))
    with jax.enable_x64(True):
        for ours, theirs in zip(leaves(model.init(jax.random.key(0))), leaves(fresh), strict=True):
            assert ours.dtype == np.float32
            np.testing.assert_array_equal(ours, theirs)
        x = jnp.zeros((2, *model.description.shape), jnp.float32)
        keys = jax.random.split(jax.random.key(1), 2)
        t, s, weight = model.times.draw(jax.random.key(2), 2, model.times.start())
        assert model.process.noise(keys, x.shape).dtype == t.dtype == s.dtype == weight.dtype == np.float32


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
@pytest.mark.parametrize("name", [name for name, one in samplers.SOLVERS.items() if "gaussian" in one.kinds])
def test_samples_of_a_law_have_the_type_that_is_asked_for(name, dtype):
    process = Gaussian(schedules.VP())

    def denoise(x_t, t, condition):
        alpha, sigma = process.at(t, x_t)
        return Normal(alpha * 0.3 / (alpha**2 * 0.3 + sigma**2) * x_t)

    solver = samplers.SOLVERS[name]()

    def drawn():
        return samplers.sample(process, denoise, solver, 4, jax.random.key(0), (2, 3), dtype=dtype)

    with jax.enable_x64(True):
        x = drawn()
        assert x.dtype == dtype
    if dtype == jnp.float32:
        np.testing.assert_allclose(x, drawn(), rtol=1e-4, atol=1e-5)


def test_the_commands_leave_the_flag_out_of_account():
    code = "import jax; from ddpm_jax.commands import starting; starting.start_jax(); print(jax.numpy.ones(1).dtype)"
    environment = {**os.environ, "JAX_ENABLE_X64": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["float32"]
