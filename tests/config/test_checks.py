"""What a config may hold: every impossible value has one line that starts with its key."""

from dataclasses import replace

import pytest
from ml_collections import ConfigDict

from ddpm_jax.conditions import Conditions, Label, Text, labels
from ddpm_jax.config import checks as values
from ddpm_jax.config.base import base
from ddpm_jax.config.identity import (
    SAME_RESULT,
    flatten,
)
from ddpm_jax.data import Description
from ddpm_jax.experiment import checks as c
from ddpm_jax.experiment.options import model_options
from tests.config.examples import about, changed, refused, small, told

DIGITS = Description(name="digits", shape=(8, 8, 1), levels=17, conditions=labels(10), version="1.0.0")


def test_base_is_good_and_new_each_time():
    c.check(base())
    base().data.batch = 7
    assert base().data.batch == 128


@pytest.mark.parametrize(
    ("key", "value", "line"),
    [
        ("seed", -1, "is less than 0"),
        ("seed", 2**32, "is not below 2^32"),
        ("data.batch", 0, "0 is less than 1"),
        ("data.batch", 2**31, "is not below 2^31"),
        ("data.placement", "hots", "did you mean 'host'?"),
        ("data.size", -1, "is less than 0"),
        ("data.size", 32, "is for pictures of your own, config.data.name=folder"),
        ("data.skip_bad", True, "is for pictures of your own, config.data.name=folder"),
        ("data.channels", 5, "is not in [0, 4]"),
        ("data.channels", 2, "2 is not one of 0, 1, 3, 4"),
        ("data.held_out", 0.5, "is not in (0, 0.5)"),
        ("process.name", "gausian", "did you mean 'gaussian'?"),
        ("process.schedule", "ddpm_liner", "did you mean 'ddpm_linear'?"),
        ("process.steps", -1, "is less than 0"),
        ("process.steps", 0, "is a table of T steps; for continuous time take another schedule"),
        ("process.sigma_max", 3.0, "schedule 'ddpm_linear' has no such option; it has beta_min, beta_max"),
        ("process.t_min", 0.1, "in discrete time it is 1/T"),
        ("model.time", "indx", "did you mean 'index'?"),
        ("model.input", "units", "did you mean 'unit'?"),
        ("model.sigma_data", 0.0, "is not above 0"),
        ("objective.times", "unifrm", "did you mean 'uniform'?"),
        ("evaluation.ode_divergence", "exakt", "did you mean 'exact'?"),
        ("model.name", "unett", "did you mean 'unet'?"),
        ("model.prediction", "epsilonn", "did you mean 'epsilon'?"),
        ("model.variance", "fixed_larg", "did you mean 'fixed_large'?"),
        ("model.dropout", 1.0, "is not in [0, 1)"),
        ("model.multipliers", (1, 2**31), "is not below 2^31"),
        ("objective.name", "simpel", "did you mean 'simple'?"),
        ("objective.condition_drop", -0.1, "is not in [0, 1)"),
        ("sampler.name", "first", "did you mean 'first_order'?"),
        ("sampler.steps", 1001, "is more than config.process.steps 1000"),
        ("sampler.spacing", "trailling", "did you mean 'trailing'?"),
        ("sampler.eta", -0.5, "is less than 0"),
        ("sampler.eta", float("nan"), "is not finite"),
        ("sampler.guidance", 2.0, "set config.model.conditions"),
        ("sampler.guidance", -1.0, "is less than 0"),
        ("sampler.guidance_interval", (0.5, 0.2), "is not (low, high] within 0 and 1"),
        ("sampler.guidance_interval", (0.5,), "is not (low, high] within 0 and 1"),
        ("sampler.guidance_interval", (0.5, 1.5), "is not (low, high] within 0 and 1"),
        ("model.conditions", ("label", "label"), "has one twice"),
        ("model.text_channels", 4, "is less than 8"),
        ("objective.condition_drop_each", 1.0, "is not in [0, 1)"),
        ("sampler.ema", 0.5, "is not one of config.optimizer.ema (0.9999,)"),
        ("sampler.batch", 0, "is less than 1"),
        ("optimizer.name", "adamm", "did you mean 'adam'?"),
        ("optimizer.schedule", "cosin", "did you mean 'cosine'?"),
        ("optimizer.learning_rate", 0.0, "is not above 0"),
        ("optimizer.learning_rate", float("inf"), "is not finite"),
        ("optimizer.epsilon", -1e-8, "is not above 0"),
        ("optimizer.warmup", -1, "is less than 0"),
        ("optimizer.clip", -1.0, "is less than 0"),
        ("optimizer.b2", 1.0, "is not in [0, 1)"),
        ("optimizer.ema", (0.9999, 1.0), "is not in (0, 1)"),
        ("optimizer.ema", (0.9999, float("nan")), "is not finite"),
        ("optimizer.ema", (0.9999, 0.9999), "has the same decay twice"),
        ("training.steps", -1, "is less than 0"),
        ("training.steps", 0, "no budget: set steps, images, seconds or flops"),
        ("training.dispatch", 0, "is less than 1"),
        ("training.save_every", 0, "is less than 1"),
        ("training.keep_latest", 0, "is less than 1"),
        ("evaluation.samples", 3, "is less than 4"),
        ("evaluation.likelihood_images", 1, "is less than 2"),
        ("parallel.map", "pmapp", "did you mean 'pmap'?"),
        ("parallel.shard", "fsd", "did you mean 'fsdp'?"),
        ("parallel.loop", "hostt", "did you mean 'host'?"),
        ("logging.wandb", "offlin", "did you mean 'offline'?"),
    ],
)
def test_impossible_values(key, value, line):
    config = small()
    config.update_from_flattened_dict({key: value})
    assert line in about(key, told(c.check, config))


def test_values_that_contradict_one_another():
    assert refused(c.check, changed(parallel__map="pmap", parallel__shard="fsdp")).startswith("config.parallel.shard: ")
    line = refused(c.check, changed(process__steps=10, sampler__steps=10))
    assert line.startswith("config.process.steps: ddpm_linear cannot be made with 10 steps")
    assert refused(c.check, changed(data__name="folder")).startswith("config.data.dir: ")
    c.check(changed(data__name="folder", data__dir="pictures", data__size=32, data__splits__train=""))
    c.check(changed(sampler__guidance=2.0, model__conditions=("label",)))
    c.check(changed(training__steps=0, training__seconds=1.0))
    c.check(changed(sampler__ema=0.0, optimizer__ema=()))


def test_mistakes_are_told_all_at_once():
    for mistakes in (
        {"model.prediction": "score", "objective.times": "clean", "evaluation.exact_images": 5},
        {"process.schedule": "ddpm_liner", "sampler.name": "first"},
    ):
        lines = told(c.check, changed(**{key.replace(".", "__"): value for key, value in mistakes.items()}))
        assert len(lines) == len(mistakes)
        assert all(about(key, lines) for key in mistakes)


def test_every_limited_key_exists():
    known = flatten(base())
    assert set(c.choices()) <= set(known)
    for same in SAME_RESULT:
        assert any(f"{key}.".startswith(f"{same}.") for key in known)


@pytest.mark.parametrize(
    ("key", "value", "line"),
    [
        ("data.batch", True, "True is not of type int"),
        ("data.batch", 1.5, "1.5 is not of type int"),
        ("data.batch", None, "None is not of type int"),
        ("data.flip", 1, "1 is not of type bool"),
        ("data.name", 3, "3 is not of type str"),
        ("optimizer.clip", "1", "'1' is not of type float"),
        ("model.multipliers", 2, "2 is not of type tuple"),
        ("model.multipliers", (1, True), "True is not of type int"),
        ("model.multipliers", (1.0,), "1.0 is not of type int"),
        ("optimizer.ema", ("0.9999",), "'0.9999' is not of type float"),
    ],
)
def test_types(key, value, line):
    config, (section, name) = small(), key.split(".")
    with config.ignore_type():
        config[section][name] = value
    assert refused(c.check, config) == f"config.{key}: {line}"


def test_whole_numbers_are_reals():
    config = small()
    with config.ignore_type():
        config.optimizer.learning_rate = 1
        config.optimizer.clip = 10**12  # the bound on whole numbers is not for these
    c.check(config)


def test_keys_and_sections():
    config = small()
    config.data.bach = 3
    assert refused(c.check, config) == "config.data.bach: no such key; did you mean 'data.batch'?"
    del config.data
    assert "is missing; start from ddpm_jax.config.base.base()" in refused(c.check, config)
    assert "is missing" in about("data", told(c.check, ConfigDict({"a": 1})))


@pytest.mark.parametrize(
    ("sizes", "options", "key"),
    [
        ({"train": 0}, {}, "data.name"),
        ({"validation": 0}, {}, "data.name"),
        ({"test": 3}, {}, "evaluation.samples"),
        ({"train": 3}, {}, "evaluation.samples"),
        ({"test": 1}, {"evaluation__samples": 0}, "evaluation.likelihood_images"),
        ({"test": 1}, {"evaluation__samples": 0, "evaluation__likelihood_images": 0}, None),
        ({"test": 0}, {"evaluation__at_end": False}, None),
        ({"test": 4, "train": 4, "validation": 1}, {}, None),
    ],
)
def test_too_few_images_are_refused_before_training(sizes, options, key):
    whole = {"train": 1000, "validation": 350, "test": 447, **sizes}
    if key is None:
        c.check_data(changed(**options), DIGITS, whole)
    else:
        assert refused(c.check_data, changed(**options), DIGITS, whole).startswith(f"config.{key}: ")


def keys_of(kind):
    return [key for key, value in flatten(small()).items() if type(value) is kind]


@pytest.mark.parametrize("value", [1e-46, 5e-324, -1e-40, 1e39])
def test_no_float_that_float32_takes_for_another(value):
    """Least of all for 0, which means "none"."""
    for key in keys_of(float):
        config = small()
        config.update_from_flattened_dict({key: value})
        assert refused(values.check_types, config).startswith(f"config.{key}: ")


def test_what_depends_on_data():
    c.check_data(small(), DIGITS)
    line = refused(c.check_data, changed(model__multipliers=(1,) * 5), DIGITS)
    assert line.startswith("config.model.multipliers: an image of 8x8 can be halved 3 times, not 4")
    assert refused(c.check_data, changed(model__groups=7), DIGITS).startswith("config.model.groups: ")
    assert "there is no condition 'label'; the data have none ('digits')" in refused(
        c.check_data, changed(model__conditions=("label",)), replace(DIGITS, conditions=labels(0))
    )
    assert model_options(changed(model__conditions=("label",)), DIGITS)["conditioning"].conditions == labels(10)
    assert model_options(small(), DIGITS)["conditioning"] is None
    several = replace(DIGITS, conditions=Conditions((("text", Text(("a",), 3)), ("label", Label(10)))))
    line = refused(c.check_data, changed(model__conditions=("txt",)), several)
    assert line.startswith("config.model.conditions: there is no condition 'txt'; did you mean 'text'?")
    line = refused(c.check_data, changed(model__conditions=("text",), model__text_channels=10), several)
    assert line.startswith("config.model.text_channels: 10 is not a multiple of 4")
    asked = changed(model__conditions=("label", "text"), model__text_depth=1, model__text_tokens=False)
    part = model_options(asked, several)["conditioning"]
    assert list(part.conditions) == ["label", "text"] and (part.text_depth, part.text_tokens) == (1, False)
    real = replace(DIGITS, levels=None)
    assert "has no levels, so there are no bits per dimension" in refused(c.check_data, small(), real)
