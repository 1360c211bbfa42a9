"""Words that are no keys: what is meant by them."""

import pytest

from ddpm_jax.config.keys import KEYS
from ddpm_jax.config.synonyms import SYNONYMS, instead, meant


def test_every_word_leads_to_a_key_and_is_none_itself():
    for word, key in SYNONYMS.items():
        assert key in KEYS and word not in KEYS
        assert meant(word) == meant(word.upper().replace("_", "-")) == key


@pytest.mark.parametrize(
    ("word", "key"),
    [
        ("optimizer.lr", "optimizer.learning_rate"),
        ("training.lr", "optimizer.learning_rate"),
        ("learning_rate", "optimizer.learning_rate"),
        ("epochs", "training.steps"),
        ("steps", "training.steps"),
        ("sampler.num_steps", "sampler.steps"),
        ("process.steps_", None),
        ("train.batch_size", "data.batch"),
        ("sampler.batch_size", "sampler.batch"),
        ("dataset", "data.name"),
        ("model.width", "model.channels"),
        ("order", None),  # there are two
        ("zork", None),
    ],
)
def test_what_is_meant(word, key):
    assert meant(word) == key


def test_of_several_sections_only_those_that_may_be_set_count():
    assert meant("steps", ("sampler", "evaluation")) == "sampler.steps"
    assert meant("order", ("evaluation",)) == "evaluation.order"
    assert meant("lr", ("sampler", "evaluation")) is None


def test_a_line_names_one_key_or_where_all_are():
    assert instead("optimizer.lr") == "did you mean 'optimizer.learning_rate'?"
    assert "'data.batch'" in instead("data.bach")
    assert "--print_config" in instead("zork")
