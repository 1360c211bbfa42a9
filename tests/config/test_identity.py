"""What makes two configs the same run, and how a config is kept."""

import json

import pytest

from ddpm_jax.config.base import base
from ddpm_jax.config.identity import (
    RENAMED,
    differences,
    digest,
    earlier_marks,
    flatten,
    from_dict,
    move_encoder,
    to_json,
    training_mark,
    validation_mark,
)
from ddpm_jax.config.keys import KEYS
from ddpm_jax.errors import UserError
from ddpm_jax.experiment import checks as c
from tests.config.examples import changed, refused, small


def test_json_round_trip():
    config = changed(optimizer__ema=(0.9999, 0.99), model__attention_resolutions=(), sampler__eta=0.0, seed=2**32 - 1)
    again = from_dict(json.loads(to_json(config)))
    assert flatten(again) == flatten(config)
    c.check(again)
    assert differences(config, again) == []


def test_an_encoder_may_move_but_neither_come_nor_go():
    here, there, none = (changed(model__conditions=("text",), model__text_encoder=place) for place in ("a", "b/c", ""))
    assert differences(here, there) == [] and training_mark(here) == training_mark(there)
    assert training_mark(here) != training_mark(none) == earlier_marks(none)[0]
    assert differences(here, none) == ["model.text_encoder is 'a', there ''"]
    move_encoder(here, "b/c")
    assert flatten(here) == flatten(there)
    with pytest.raises(UserError, match="no frozen encoder"):
        move_encoder(none, "a")


@pytest.mark.parametrize(("then", "now"), [(True, ("label",)), (False, ())])
def test_a_config_of_an_earlier_version_is_that_of_today(then, now):
    """Before conditions had names there was one, the label."""
    values = json.loads(to_json(changed(seed=3)))
    values["model"]["conditional"] = then
    for key in ("conditions", "text_channels", "text_depth", "text_tokens"):
        del values["model"][key]
    again = from_dict(values)
    assert flatten(again) == flatten(changed(seed=3, model__conditions=now))


def test_the_mark_that_a_config_had_in_an_earlier_version_is_known():
    """The number is of commit 27d1bfa, for the base with this seed and model and `model.conditional`."""
    config = base()
    config.update_from_flattened_dict({"seed": 3, "model.name": "dit", "model.conditions": ("label",)})
    assert earlier_marks(config)[1:] == (223813854598135,)
    for others in ((), ("text",), ("label", "text")):
        config.model.conditions = others
        assert len(earlier_marks(config)) == 1


def test_every_renamed_key_leads_to_one_of_today_and_to_values_that_it_may_have():
    for then, (now, known) in RENAMED.items():
        assert then not in KEYS
        assert not [value for value in known.values() if KEYS[now].mistyped(value)]


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"model": {"conditional": 1}}, "config.model.conditional: no such key; did you mean 'model.conditions'?"),
        ({"model": {"conditions": "label"}}, "config.model.conditions: 'label' is not of type tuple"),
        ([], "this is not a config: a config is an object of sections"),
        (None, "this is not a config: a config is an object of sections"),
        ({"data": 3}, "config.data: no such key"),
        ({"data": {"bach": 3}}, "config.data.bach: no such key; did you mean 'data.batch'?"),
        ({"data": {"batch": "x"}}, "config.data.batch: 'x' is not of type int"),
        ({"data": {"batch": 1.5}}, "config.data.batch: 1.5 is not of type int"),
        ({"data": {"batch": [1]}}, "config.data.batch: (1,) is not of type int"),
        ({"data": {"flip": 1}}, "config.data.flip: 1 is not of type bool"),
        ({"model": {"multipliers": 3}}, "config.model.multipliers: 3 is not of type tuple"),
        ({"seed": {"a": 1}}, "config.seed.a: no such key"),
    ],
)
def test_from_dict_refuses(values, line):
    assert refused(from_dict, values).startswith(line)


def test_differences_are_those_of_the_training():
    ours, theirs = small(), changed(data__batch=64, model__multipliers=(1, 2, 4))
    assert differences(ours, theirs) == [
        "data.batch is 128, there 64",
        "model.multipliers is (1, 2), there (1, 2, 4)",
    ]
    same = changed(logging__wandb="off", parallel__map="pmap", data__dir="x", training__log_every=3)
    assert differences(ours, same) == []
    figures = changed(evaluation__samples=7, sampler__steps=3, sampler__name="heun", training__skip_bad=2)
    assert differences(ours, figures) == []
    assert digest(ours) != digest(figures)  # another run of a sweep all the same
    other = changed(sampler__ema=0.0, evaluation__validation_images=3)
    assert len(differences(ours, other)) == 2  # what the validation losses in its log depend on
    assert differences(ours, other, trained=True) == []


def test_the_mark_of_training_changes_with_what_a_run_cannot_go_on_otherwise_with():
    mark = training_mark(small())
    assert 0 <= mark < 2**48
    assert float(mark) == mark
    assert training_mark(changed(sampler__steps=3, logging__wandb="off", evaluation__samples=5)) == mark
    others = {training_mark(changed(**{key: value})) for key, value in (("seed", 1), ("optimizer__learning_rate", 1.0))}
    assert len(others | {mark}) == 3
    marks = {validation_mark(config) for config in (small(), changed(sampler__steps=3), changed(sampler__ema=0.0))}
    assert len(marks) == 2


def test_a_key_that_only_begins_like_a_free_one_is_not_free(monkeypatch):
    monkeypatch.setattr("ddpm_jax.config.identity.CHANGEABLE", ("training.save", "data"))
    line = differences(small(), changed(training__save_every=7, data__batch=3))
    assert line == ["training.save_every is 5000, there 7"]


def test_own_pictures_of_another_folder_are_another_run_wherever_it_lies():
    configs = {}
    for place in ("a/flowers", "/b/flowers/", "a/birds"):
        configs[place] = base()
        configs[place].data.name, configs[place].data.dir = "folder", place
    digests = {place: digest(config) for place, config in configs.items()}
    assert digests["a/flowers"] == digests["/b/flowers/"] != digests["a/birds"]
    assert not differences(configs["a/flowers"], configs["/b/flowers/"])
    elsewhere = base()
    elsewhere.data.dir = "a/flowers"  # of a set of TFDS
    assert digest(elsewhere) == digest(base())
