"""One short training of each family to a figure: a wrong sign, or a wrong weight, would leave the band."""

import json

import pytest

from ddpm_jax.config import families
from ddpm_jax.config.base import digits
from ddpm_jax.train import train


def small(family):
    config = digits()
    families.FAMILIES[family](config)
    config.model.dropout, config.optimizer.warmup, config.optimizer.learning_rate = 0.0, 20, 4e-3
    config.training.steps = config.training.save_every = 300
    config.evaluation.likelihood_images, config.evaluation.samples = 100, 0
    config.evaluation.likelihood_groups, config.evaluation.ode_images = 20, 0
    config.evaluation.pictures = False
    config.sampler.ema, config.optimizer.ema = 0.98, (0.98,)
    config.logging.wandb = "off"
    return config


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "least", "most"),
    [
        # an independent categorical a pixel scores 2.40 bits on the digits, a uniform one 4.09
        ("edm", 2.3, 3.0),
        ("autoregressive", 1.8, 2.05),
        ("masked", 2.15, 2.38),
        ("uniform", 2.15, 2.38),
    ],
)
def test_a_short_training_comes_into_its_band(tmp_path, family, least, most):
    config = small(family)
    if family == "edm":
        config.model.channels, config.model.groups, config.model.blocks, config.data.batch = 16, 8, 1, 32
    else:
        config.model.channels, config.model.depth, config.model.heads = 32, 2, 2
        config.model.name = "causal_transformer" if family == "autoregressive" else "transformer"
    train(config, tmp_path / "run")
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    bits = result["likelihood"]["test"]["value"]
    assert least < bits < most
