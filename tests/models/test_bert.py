"""The encoder of texts equals another implementation, and says in a line what is no such encoder."""

import importlib.util
import json
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

from ddpm_jax.errors import UserError
from ddpm_jax.models import bert

_spec = importlib.util.spec_from_file_location("make_bert_fixture", Path(__file__).parent / "make_bert_fixture.py")
assert _spec and _spec.loader
peer = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(peer)


encode = jax.jit(bert.encode)


def drawn():
    return {name: peer.weight(name, shape) for name, shape in bert.shapes(peer.FACTS)}


def write(folder, weights=None, **facts):
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps({**peer.FACTS, **facts}))
    safetensors.numpy.save_file(drawn() if weights is None else weights, folder / "model.safetensors")
    return folder


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return bert.read(write(tmp_path_factory.mktemp("bert")))


def test_it_equals_transformers(encoder):
    """Library version in the fixture: 5.24.0 with PyTorch 2.15.0."""
    numbers, mask = peer.texts()
    with np.load(peer.FIXTURE) as kept:
        expected = kept["output"]
    found = np.asarray(encode(encoder, numbers, mask))
    assert expected[mask].std() > 0.5
    np.testing.assert_allclose(found[mask], expected[mask], atol=2e-5)


def test_what_is_no_piece_changes_nothing(encoder):
    numbers, mask = peer.texts()
    other = np.where(mask, numbers, 29 - numbers)
    found, again = (np.asarray(encode(encoder, given, mask)) for given in (numbers, other))
    np.testing.assert_array_equal(found[mask], again[mask])
    alone = encode(encoder, numbers[1:2, :4], mask[1:2, :4])
    np.testing.assert_allclose(alone[0], found[1, :4], atol=1e-5)


def test_without_places_it_is_equivariant_and_with_them_it_is_not(encoder):
    numbers, _ = peer.texts()
    order, mask = np.random.RandomState(1).permutation(7), np.ones((1, 7), bool)
    name = "embeddings.position_embeddings.weight"
    blind = bert.Bert({**encoder.weights, name: 0 * encoder.weights[name]}, encoder.heads, encoder.epsilon)
    for which, alike in ((blind, True), (encoder, False)):
        found, moved = (encode(which, given, mask) for given in (numbers[:1], numbers[:1, order]))
        assert np.allclose(found[:, order], moved, atol=1e-4) == alike


def test_a_piece_says_what_stands_around_it(encoder):
    """Two orders of the same words are told apart at every piece."""
    one, other = np.array([[3, 4, 5, 6, 4, 7]]), np.array([[3, 6, 5, 4, 4, 7]])
    mask = np.ones((1, 6), bool)
    gap = np.abs(np.asarray(encode(encoder, one, mask) - encode(encoder, other, mask))).max(-1)
    assert gap.min() > 0.01


def test_older_names_heads_and_half_precision_are_read(encoder, tmp_path):
    older = {}
    for name, array in drawn().items():
        norm = name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")
        older[f"bert.{norm}"] = array.astype(np.float16)
    older |= {
        "bert.pooler.dense.weight": np.ones((12, 12), np.float32),
        "cls.predictions.bias": np.ones(30, np.float32),
    }
    found = bert.read(write(tmp_path / "older", older))
    assert found.weights.keys() == encoder.weights.keys()
    for name, array in encoder.weights.items():
        assert found.weights[name].dtype == jnp.float32
        np.testing.assert_allclose(found.weights[name], array, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"model_type": "roberta"}, "roberta"),
        ({"model_type": None}, "model_type"),
        ({"hidden_act": "relu"}, "relu"),
        ({"position_embedding_type": "relative_key"}, "relative_key"),
        ({"num_attention_heads": 5}, "num_attention_heads"),
        ({"num_hidden_layers": 3}, "layer.2"),
        ({"num_hidden_layers": "2"}, "num_hidden_layers"),
        ({"vocab_size": 31}, "word_embeddings"),
        ({"intermediate_size": 0}, "intermediate_size"),
        ({"max_position_embeddings": None}, "max_position_embeddings"),
        ({"layer_norm_eps": "small"}, "layer_norm_eps"),
    ],
)
def test_another_architecture_is_one_line(tmp_path, facts, words):
    with pytest.raises(UserError, match=words) as caught:
        bert.read(write(tmp_path, **facts))
    assert "\n" not in str(caught.value)


def _cut(path):
    path.write_bytes(path.read_bytes()[:-5])


def _poison(path):
    weights = drawn()
    weights["embeddings.LayerNorm.bias"][3] = np.nan
    safetensors.numpy.save_file(weights, path)


@pytest.mark.parametrize(
    ("name", "damage", "words"),
    [
        ("config.json", Path.unlink, "no config.json"),
        ("config.json", lambda path: path.write_text("{"), "config.json does not read"),
        ("config.json", lambda path: path.write_text("[]"), "no object"),
        ("model.safetensors", Path.unlink, "no model.safetensors"),
        ("model.safetensors", _cut, "safetensors"),
        ("model.safetensors", lambda path: path.write_bytes(b""), "safetensors"),
        ("model.safetensors", _poison, "finite"),
    ],
)
def test_a_damaged_folder_is_one_line(tmp_path, name, damage, words):
    damage(write(tmp_path) / name)
    with pytest.raises(UserError, match=re.escape(words)) as caught:
        bert.read(tmp_path)
    assert "\n" not in str(caught.value)
