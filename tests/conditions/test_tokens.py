"""Captions as a frozen encoder reads them: a kind of condition, and what a network is given of it."""

import json
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddpm_jax.conditions import Conditions, Tokens
from ddpm_jax.data import encoder as encoders
from ddpm_jax.errors import UserError
from ddpm_jax.models.conditioning import Conditioning

SWAPPED = ["a red apple left of a green lime", "a green apple left of a red lime"]


@pytest.fixture
def encoder(tmp_path, write_encoder):
    return encoders.read(write_encoder(tmp_path / "encoder"))


@pytest.fixture
def kind(encoder):
    return Tokens(9, encoder.features, encoder.digest, encoder)


def test_values_read_back_and_end_in_zeros(kind):
    rows = kind.rows(["two  apples", *SWAPPED])
    assert rows.shape == (3, *kind.shape) == (3, 9, 9)
    assert rows.dtype == kind.dtype
    assert [kind.words(row) for row in rows] == ["two apples", *SWAPPED]
    assert (rows[..., -1] > 0).sum(1).tolist() == [3, 8, 8]  # "apple" and "##s" are two pieces
    assert not rows[0, 3:].any()
    assert np.abs(rows[0, :3, :-1]).min(-1).max() > 0
    assert kind.words(np.asarray(kind.null(1))[0]) == ""


def test_a_caption_is_the_same_alone_and_among_others_and_in_a_longer_kind(kind, encoder):
    together = kind.rows(SWAPPED * 2)
    for row, caption in zip(together, SWAPPED * 2, strict=True):
        np.testing.assert_allclose(kind.rows([caption])[0], row, atol=2e-3)  # of float16, as they are kept
    longer = Tokens(13, encoder.features, encoder.digest, encoder).rows(SWAPPED)
    np.testing.assert_allclose(longer[:, :9], together[:2], atol=2e-3)
    assert not longer[:, 9:].any()


def test_what_is_dropped_says_nothing(kind):
    rows = jnp.asarray(kind.rows(SWAPPED))
    dropped = kind.drop(jnp.asarray([True, False]), rows)
    np.testing.assert_array_equal(dropped, np.stack([np.zeros(kind.shape), rows[1]]))


@pytest.mark.parametrize(("caption", "words"), [("", "empty"), (" \t", "empty"), ("a red apple " * 4, "12 pieces")])
def test_a_caption_that_cannot_be_is_one_line(kind, caption, words):
    with pytest.raises(UserError, match=words) as caught:
        Conditions((("text", kind),)).rows({"text": ["a lime", caption]})
    assert str(caught.value).startswith("text: ")
    assert "\n" not in str(caught.value)


def test_the_encoder_is_known_by_what_it_says_and_not_by_where_it_lies(tmp_path, write_encoder, kind):
    def read(folder, *arguments, **facts):
        found = encoders.read(write_encoder(tmp_path / folder, *arguments, **facts))
        return Tokens(9, found.features, found.digest, found)

    assert read("elsewhere") == kind
    assert hash(read("elsewhere")) == hash(kind)
    assert read("elsewhere").plain() == kind.plain() == json.loads(json.dumps(kind.plain()))
    others = [read("seed", seed=1), read("words", "a red green apple lime left of three ##s")]
    others += [read("epsilon", layer_norm_eps=1e-6), read("heads", num_attention_heads=4)]
    assert len({kind, *others}) == 5


def context_of(kind, values, **options):
    """What a network is given, of random parameters that do not depend on the values."""
    part = Conditioning(Conditions((("text", kind),)), text_channels=16, **options)
    shapes = jax.eval_shape(lambda: part.init(jax.random.key(0), {"text": kind.null(1)}, 12))
    fill = np.random.RandomState(0)
    params = jax.tree.map(lambda a: jnp.asarray(fill.standard_normal(a.shape) / 4, a.dtype), shapes)
    return jax.jit(part.apply, static_argnums=2)(params, {"text": jnp.asarray(values)}, 12)


@pytest.mark.parametrize("depth", [0, 2])
def test_padding_changes_nothing_that_a_network_is_given(kind, encoder, depth):
    values = kind.rows(["two apples"])
    found = context_of(kind, values, text_depth=depth)
    longer = replace(kind, length=13)
    again = context_of(longer, longer.rows(["two apples"]), text_depth=depth)
    assert found.mask.tolist() == [[True] * 4 + [False] * 6]
    np.testing.assert_allclose(again.vector, found.vector, atol=1e-5)
    np.testing.assert_allclose(again.sequence[:, :4], found.sequence[:, :4], atol=1e-5)
    filled = values.copy()
    filled[:, 3:, :-1] = 7.0  # where the last entry says that there is none
    other = context_of(kind, filled, text_depth=depth)
    np.testing.assert_array_equal(other.vector, found.vector)
    np.testing.assert_array_equal(other.sequence[:, :4], found.sequence[:, :4])


@pytest.mark.parametrize("depth", [0, 2])
def test_a_network_can_tell_what_belongs_to_what_and_that_there_is_nothing(kind, depth):
    values = np.concatenate([kind.rows(SWAPPED), kind.null(1)])
    found = context_of(kind, values, text_depth=depth)
    assert found.mask.sum(1).tolist() == [9, 9, 1]
    assert np.all(np.isfinite(found.vector))
    assert np.abs(found.sequence[0, 2] - found.sequence[1, 2]).max() > 0.02  # "red" against "green"
    assert np.abs(found.sequence[0, 3] - found.sequence[1, 3]).max() > 1e-3  # "apple", of which each is said
    assert np.abs(found.vector[0] - found.vector[1]).max() > 1e-3
    assert np.abs(found.vector[2] - found.vector[0]).max() > 0.02
    assert context_of(kind, values, text_tokens=False).sequence is None
