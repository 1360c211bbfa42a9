"""A classifier of noisy images as a config asks for it, and what it cannot be asked."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddpm_jax.conditions import NONE, labels
from ddpm_jax.config.base import base, digits
from ddpm_jax.config.families import FAMILIES, classifier
from ddpm_jax.data import Description
from ddpm_jax.experiment import check, check_data, make
from tests.config.examples import about, refused, told

DIGITS = Description("digits", "1.0.0", (8, 8, 1), 17, labels(10))


def of(family="ddpm", **changes):
    config = base()
    config.sampler.steps = 100
    FAMILIES[family](config)
    classifier(config)
    config.update_from_flattened_dict({key.replace("__", "."): value for key, value in changes.items()})
    return config


@pytest.mark.parametrize("family", ["ddpm", "ddpm_cosine", "vp", "subvp", "ve", "edm", "ncsn"])
def test_every_process_with_some_image_at_the_end_has_a_classifier(family):
    check(of(family))


@pytest.mark.parametrize(
    ("family", "changes", "key", "reason"),
    [
        ("flow", {}, "process.schedule", "where alpha(1) = 0"),
        ("vdm", {"objective__decoder": 0.0}, "process.schedule", "this schedule is trained"),
        ("ddpm", {"model__name": "unet"}, "model.name", "use half_unet"),
        ("ddpm", {"model__conditions": ("label",)}, "model.conditions", "leave it empty"),
        ("ddpm", {"evaluation__samples": 100}, "evaluation.samples", "draws no images"),
        ("ddpm", {"evaluation__likelihood_images": 100}, "evaluation.likelihood_images", "set it to 0"),
        ("ddpm", {"evaluation__pictures": True}, "evaluation.pictures", "set it to False"),
        ("ddpm", {"sampler__classifier": "runs/other"}, "sampler.classifier", "draws no images"),
        ("vp", {"model__time": "index"}, "model.time", "there is no index"),
        ("masked", {}, "objective.name", "is of noise"),
    ],
)
def test_what_a_classifier_cannot_be(family, changes, key, reason):
    assert reason in about(key, told(check, of(family, **changes)))


def test_its_network_is_for_no_other_model():
    config = base()
    config.model.name = "half_unet"
    assert "answers once for a whole image" in about("model.name", told(check, config))


def test_data_have_the_labels_that_it_tells():
    config = digits()
    classifier(config)
    check_data(config, DIGITS)
    line = refused(check_data, config, Description("digits", "1.0.0", (8, 8, 1), 17, NONE))
    assert line.startswith("config.data.name: ") and "no labels" in line


@pytest.mark.slow
def test_a_step_of_training_lowers_its_loss_on_what_it_saw():
    """It is an ordinary model: parameters, a loss of rows, and no step of the loop knows more."""
    config = digits()
    classifier(config)
    config.model.channels, config.model.blocks, config.model.attention_resolutions = 8, 1, ()
    model = make(config, DIGITS).model
    params, keys = model.init(jax.random.key(0)), jax.random.split(jax.random.key(1), 8)
    images = np.random.default_rng(0).integers(0, 17, (8, 8, 8, 1)).astype(np.uint8)
    rows = {"image": jnp.asarray(images), "condition": {"label": jnp.arange(8)}, "row": jnp.arange(8)}
    t = jnp.full(8, 0.002)

    @jax.jit
    def loss(params):
        return model.loss(params, {}, keys, None, rows, t, t - 0.001, jnp.ones(8))[0].mean()

    first, slope = jax.jit(jax.value_and_grad(loss))(params)
    assert abs(float(first) - np.log(10)) < 1e-3  # nothing is told yet
    assert float(loss(jax.tree.map(lambda p, d: p - 0.1 * d, params, slope))) < float(first) - 1e-3
