"""Quality against evaluations, orders and training: what a tiny run on the known law leaves in its result."""

import json
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddpm_jax import data
from ddpm_jax.config import families
from ddpm_jax.errors import UserError
from ddpm_jax.evaluation.curves import flops_per_sample
from ddpm_jax.experiment import checks, make
from ddpm_jax.train import train


@pytest.fixture
def known_config(tiny_config):
    """A transformer of any order on the known law, with two checkpoints."""
    families.random_order(tiny_config)
    tiny_config.data.name = "ising"
    tiny_config.data.batch = 8
    tiny_config.model.conditions = ()
    tiny_config.model.channels, tiny_config.model.depth, tiny_config.model.heads = 8, 1, 2
    tiny_config.model.dropout = 0.0
    tiny_config.sampler.steps = 12
    tiny_config.sampler.batch = 32
    tiny_config.training.steps, tiny_config.training.save_every, tiny_config.training.keep_every = 4, 2, 2
    tiny_config.evaluation.at_end = True
    tiny_config.evaluation.samples = 64
    tiny_config.evaluation.likelihood_images = 16
    tiny_config.evaluation.curve = (1, 5, 4)  # 5 steps are 4 groups of 3
    tiny_config.evaluation.curve_orders = ("", "raster")
    tiny_config.evaluation.history = tiny_config.evaluation.raw = True
    return tiny_config


def experiment_of(config):
    checks.check(config)
    description = data.load(config.data.name).description
    checks.check_data(config, description)
    return make(config, description)


@pytest.mark.slow
def test_what_a_run_leaves(known_config, tmp_path):
    train(known_config, tmp_path / "run")
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    points = {(point["order"], point["steps"]): point for point in result["curve"]}
    assert set(points) == {("", 12), *((order, steps) for order in ("", "raster") for steps in (1, 4)), ("", 5)}
    assert len(points) == len(result["curve"])
    for (_, steps), point in points.items():
        assert point["network_evaluations_per_sample"] == steps
        assert point["flops_per_sample"] == pytest.approx(steps * points["", 1]["flops_per_sample"])
    assert points["", 12]["quality"] == result["quality"]["samples"]
    # all at once there is no order: the same law, and here the same keys
    assert points["", 1]["quality"]["variance"] == pytest.approx(points["raster", 1]["quality"]["variance"], abs=0.3)
    first, last = result["history"]
    assert (first["step"], last["step"]) == (2, 4) and last["training_flops"] == 2 * first["training_flops"] > 0
    assert last["quality"] == result["quality"]["samples"] and last["likelihood"] == result["likelihood"]["test"]
    assert first["likelihood"]["value"] != last["likelihood"]["value"]
    assert result["raw"]["likelihood"]["value"] != result["likelihood"]["test"]["value"]
    assert result["raw"]["likelihood"]["kind"] == "bound"


@pytest.mark.parametrize(("order", "steps", "first"), [("raster", 3, [0, 1, 2, 3]), ("spread", 6, [0, 10])])
def test_a_network_of_any_order_is_sampled_in_another(known_config, order, steps, first):
    """Groups of 12/steps sites are revealed in turn: those that the order names first are there after one step."""
    known_config.sampler.order, known_config.sampler.steps = order, steps
    experiment = experiment_of(known_config)
    process, grid = experiment.sampling.process, experiment.sampling.grid
    keys = jax.random.split(jax.random.key(0), 5)
    assert len(grid) == steps + 1
    x_t = process.prior(keys, (5, 3, 4, 1))
    for number, (t, s) in enumerate(pairwise(grid)):
        x_t = process.reverse(keys, x_t, jnp.ones_like(x_t), jnp.float32(t), jnp.float32(s), 0.0)
        visible = np.asarray(process.visible(x_t)).reshape(5, -1)
        assert (visible.sum(axis=1) == (number + 1) * 12 // steps).all()
        if number == 0:
            assert np.flatnonzero(visible[0]).tolist() == sorted(first)


def test_the_order_of_sampling_has_its_limits(known_config):
    known_config.sampler.order, known_config.sampler.steps = "raster", 5
    with pytest.raises(UserError, match=r"config.sampler.steps: 5 steps in groups of 3 are 4; use that"):
        experiment_of(known_config)
    known_config.sampler.order = "rastr"
    with pytest.raises(UserError, match=r"config.sampler.order: unknown name 'rastr'.*raster"):
        checks.check(known_config)
    known_config.sampler.order, known_config.sampler.name = "raster", "confidence"
    with pytest.raises(UserError, match=r"config.sampler.order: confidence chooses the order itself"):
        checks.check(known_config)
    families.autoregressive(known_config)
    known_config.process.order = "raster"
    with pytest.raises(UserError, match=r"config.sampler.order: a network of the order raster"):
        checks.check(known_config)
    known_config.evaluation.curve = (0,)
    with pytest.raises(UserError, match=r"config.evaluation.curve: 0 is not a number of steps"):
        checks.check(known_config)


@pytest.mark.slow
def test_an_adaptive_sampler_has_no_count_of_flops(known_config):
    """Heun's method has: twice the steps, for a branch counts as its dearest, the last step's too."""
    families.flow(known_config)
    known_config.evaluation.curve_orders = ("",)  # noise has no order
    known_config.process.name, known_config.sampler.spacing = "gaussian", "uniform"
    known_config.process.order = "raster"
    known_config.model.name = "transformer"
    known_config.sampler.steps = 4
    experiment = experiment_of(known_config)
    assert flops_per_sample(experiment, experiment.sampling_in(8)) / flops_per_sample(
        experiment, experiment.sampling
    ) == pytest.approx(2)
    known_config.sampler.name, known_config.sampler.spacing = "tsit5", "uniform"
    adaptive = experiment_of(known_config)
    assert flops_per_sample(adaptive, adaptive.sampling) is None
