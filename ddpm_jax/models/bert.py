"""BERT as a pure function of published weights: what each piece of a text means among the others.

Devlin et al. 2019, arXiv:1810.04805: a transformer whose layers normalise after each sum. Nothing here is trained.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float32, Int

from ddpm_jax.errors import UserError, one_line
from ddpm_jax.files import Facts, Record, from_json
from ddpm_jax.models.attention import attend_where

WEIGHTS, FACTS = "model.safetensors", "config.json"
"""Names of the files in a folder."""

ALIKE = {"model_type": "bert", "hidden_act": "gelu", "position_embedding_type": "absolute", "is_decoder": False}
"""What `config.json` may say of the architecture; all but the first may be left out."""

SIZES = ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
"""And numbers that it must have."""

USUAL = {"max_position_embeddings": 512, "type_vocab_size": 2, "layer_norm_eps": 1e-12}
"""And those that it may leave out."""


@partial(jax.tree_util.register_dataclass, data_fields=["weights"], meta_fields=["heads", "epsilon"])
@dataclass(frozen=True)
class Bert:
    """The weights of an encoder.

    Attributes:
        weights: arrays by their published names, float32.
        heads: of attention.
        epsilon: of the normalisations.
    """

    weights: Mapping[str, Array]
    heads: int
    epsilon: float

    @property
    def features(self) -> int:
        """Of each piece."""
        return self.weights[f"{_EMBEDDINGS}.word_embeddings.weight"].shape[1]

    @property
    def pieces(self) -> int:
        """How many there are in the vocabulary."""
        return self.weights[f"{_EMBEDDINGS}.word_embeddings.weight"].shape[0]

    @property
    def longest(self) -> int:
        """Pieces of the longest text that it reads."""
        return self.weights[f"{_EMBEDDINGS}.position_embeddings.weight"].shape[0]

    @property
    def layers(self) -> int:
        """How many there are."""
        return sum(name.endswith("intermediate.dense.weight") for name in self.weights)


_EMBEDDINGS = "embeddings"


def encode(
    bert: Bert, numbers: Int[Array | np.ndarray, "batch length"], mask: Bool[Array | np.ndarray, "batch length"]
) -> Float32[Array, "batch length features"]:
    """The last layer's outputs.

        h = LN(word + place + type 0),  then layer by layer  h = LN(h + attention(h)),  h = LN(h + W2 gelu(W1 h)).

    Args:
        bert: the weights.
        numbers: of pieces.
        mask: which of them there are; the others change nothing and are given what means nothing. One at least.
    """
    with jax.default_matmul_precision("highest"):  # the same on every device
        words, places, kinds = (
            bert.weights[f"{_EMBEDDINGS}.{name}_embeddings.weight"] for name in ("word", "position", "token_type")
        )
        h = _normalised(bert, words[numbers] + places[: numbers.shape[1]] + kinds[0], f"{_EMBEDDINGS}.LayerNorm")
        for i in range(bert.layers):
            h = _layer(bert, h, mask, f"encoder.layer.{i}")
    return h


def _layer(bert: Bert, h: Array, mask: Array | np.ndarray, name: str) -> Array:
    three = (_dense(bert, h, f"{name}.attention.self.{part}") for part in ("query", "key", "value"))
    heads = (part.reshape(*h.shape[:2], bert.heads, -1).transpose(0, 2, 1, 3) for part in three)
    read = attend_where(*heads, visible=jnp.asarray(mask)[:, None, None]).transpose(0, 2, 1, 3).reshape(h.shape)
    h = h + _dense(bert, read, f"{name}.attention.output.dense")
    h = _normalised(bert, h, f"{name}.attention.output.LayerNorm")
    wide = jax.nn.gelu(_dense(bert, h, f"{name}.intermediate.dense"), approximate=False)
    return _normalised(bert, h + _dense(bert, wide, f"{name}.output.dense"), f"{name}.output.LayerNorm")


def _dense(bert: Bert, h: Array, name: str) -> Array:
    return h @ bert.weights[f"{name}.weight"].T + bert.weights[f"{name}.bias"]


def _normalised(bert: Bert, h: Array, name: str) -> Array:
    h = h - h.mean(-1, keepdims=True)
    h = h / jnp.sqrt((h * h).mean(-1, keepdims=True) + bert.epsilon)
    return h * bert.weights[f"{name}.weight"] + bert.weights[f"{name}.bias"]


def read(folder: Path) -> Bert:
    """From `config.json` and `model.safetensors` of a folder, as model hubs keep them.

    Heads on top of the encoder (a pooler, a prediction of words) are left out.

    Raises:
        UserError: a file is missing or does not read, it is another architecture, or the weights do not fit it.
    """
    facts = _facts(folder / FACTS)
    given = _weights(folder / WEIGHTS)
    weights = {}
    for name, shape in shapes(facts):
        if name not in given:
            raise UserError(f"{folder / WEIGHTS}: it has no {name}, which a BERT of {FACTS} has")
        if given[name].shape != shape:
            raise UserError(f"{folder / WEIGHTS}: {name} is {given[name].shape}, and {FACTS} says {shape}")
        array = np.asarray(given[name], np.float32)
        if not np.isfinite(array).all():
            raise UserError(f"{folder / WEIGHTS}: {name} has values that are not finite")
        weights[name] = jnp.asarray(array)
    return Bert(weights, facts["num_attention_heads"], float(facts["layer_norm_eps"]))


def shapes(facts: Facts) -> Iterator[tuple[str, tuple[int, ...]]]:
    """The published name and the shape of each weight, of the numbers in `config.json`."""
    pieces, width, layers, _, wide = (facts[name] for name in SIZES)
    counts = {"word": pieces, "position": facts["max_position_embeddings"], "token_type": facts["type_vocab_size"]}
    for name, count in counts.items():
        yield f"{_EMBEDDINGS}.{name}_embeddings.weight", (count, width)
    dense = [(f"attention.self.{part}", width, width) for part in ("query", "key", "value")]
    dense += [
        ("attention.output.dense", width, width),
        ("intermediate.dense", wide, width),
        ("output.dense", width, wide),
    ]
    norms = [f"{_EMBEDDINGS}.LayerNorm"]
    for i in range(layers):
        for name, out, into in dense:
            yield f"encoder.layer.{i}.{name}.weight", (out, into)
            yield f"encoder.layer.{i}.{name}.bias", (out,)
        norms += [f"encoder.layer.{i}.attention.output.LayerNorm", f"encoder.layer.{i}.output.LayerNorm"]
    for name in norms:
        yield f"{name}.weight", (width,)
        yield f"{name}.bias", (width,)


def _facts(path: Path) -> Record:
    try:
        facts = from_json(path.read_bytes())
    except FileNotFoundError as error:
        raise UserError(f"{path.parent}: there is no {path.name}, so this is no folder of an encoder") from error
    except (OSError, ValueError) as error:
        raise UserError(f"{path} does not read ({error})") from error
    if not isinstance(facts, dict):
        raise UserError(f"{path} does not read: it holds no object")
    for name, wanted in ALIKE.items():
        if facts.get(name, None if name == "model_type" else wanted) != wanted:
            raise UserError(f"{path}: {name} is {facts.get(name)!r}; only {wanted!r} is read here")
    facts = {**USUAL, **facts}
    for name in (*SIZES, *USUAL):
        kind, least = (float, 0) if name == "layer_norm_eps" else (int, 1)
        if not isinstance(facts.get(name), kind) or not facts[name] >= least:
            raise UserError(f"{path}: {name} is {facts.get(name)!r}, and must be a number")
    if facts["hidden_size"] % facts["num_attention_heads"]:
        raise UserError(f"{path}: hidden_size is no multiple of num_attention_heads")
    return facts


def _weights(path: Path) -> dict[str, np.ndarray]:
    """By their newer names and without the prefix of models with a head."""
    import safetensors.numpy

    try:
        given = safetensors.numpy.load(path.read_bytes())
    except FileNotFoundError as error:
        raise UserError(f"{path.parent}: there is no {path.name}") from error
    except Exception as error:  # of the library's own
        raise UserError(f"{path} does not read as safetensors ({one_line(error)})") from error
    older = {"gamma": "weight", "beta": "bias"}
    named = {}
    for name, array in given.items():
        place, _, last = name.removeprefix("bert.").rpartition(".")
        named[f"{place}.{older.get(last, last)}"] = array
    return named
