"""What a network is told: every condition counts, padding does not, and a cache is told once what a pass is told."""

import functools
import itertools
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddpm_jax import models
from ddpm_jax.conditions import Conditions, Label, Picture, Text, Vector
from ddpm_jax.conditions.text import PADDING
from ddpm_jax.errors import UserError
from ddpm_jax.models import Conditioning

WORDS = Text(("a", "apple", "green", "left", "of", "pear", "red"), 6)
KINDS = {"label": Label(3), "pose": Vector(2), "text": WORDS, "sketch": Picture((3, 5, 1))}
"""One of each; the sketch is of another size than the image."""

GREY = np.full((3, 5, 1), 128, np.uint8)
BASE = {"label": 1, "pose": [0.5, -1.0], "text": "a red apple", "sketch": GREY}
OTHERS = {
    "label": [0, 2],
    "pose": [[0.5, -0.5], [0.0, 0.0]],
    "text": ["a green apple", "a red apple left of", "apple a red"],
    "sketch": [np.where(np.arange(15).reshape(3, 5, 1) == 7, 255, GREY).astype(np.uint8), GREY * 0],
}
TAKEN = {
    name: tuple(KINDS) if "channels" in uses else tuple(name for name in KINDS if name != "sketch")
    for name, uses in models.USES.items()
}
"""What each network can be told."""


def sets():
    """Every network with every set that it can take. Most are slow together: all at once and one alone are not.

    A label alone is in `test_networks` too.
    """
    for name, taken in TAKEN.items():
        for count in range(len(taken), 0, -1):
            for names in itertools.combinations(taken, count):
                quick = count == len(taken) or (count == 1 and name not in ("ddpmpp", "unet") and names != ("label",))
                yield pytest.param(name, names, marks=() if quick else pytest.mark.slow, id=f"{name}-{'-'.join(names)}")


every_network = pytest.mark.parametrize("name", TAKEN)
SHAPE, TIME = (4, 4, 1), {"ddpmpp": 0.3, "ncsnpp": 0.3}


def conditioning(network, names, kinds=KINDS, **options):
    """With the words of a text one by one where the network reads a sequence."""
    tokens = "sequence" in models.USES[network]
    told = Conditions(tuple((name, kinds[name]) for name in names))
    return Conditioning(told, text_channels=8, text_depth=1, **{"text_tokens": tokens, **options})


@functools.cache
def told(make_small, filled, name, names, kinds=None, **options):
    """A network, parameters of a common size, and its compiled `apply`."""
    extra = {"attention_resolutions": (4,)} if name == "unet" else {}
    network = make_small(name, SHAPE, 2, conditioning(name, names, dict(kinds or KINDS), **options), **extra)
    return network, filled(network, seed=1), jax.jit(network.apply)


def rows_of(conditions, values):
    """Examples, a dict of some names each, as arrays: names left out say nothing."""
    found = {name: np.array(rows) for name, rows in conditions.null(len(values)).items()}
    for name in conditions:
        for number, value in enumerate(values):
            if name in value:
                found[name][number] = conditions.rows({name: [value[name]]})[name][0]
    return jax.tree.map(jnp.asarray, found)


def apply_to(network, apply, params, name, condition):
    """The output for one input and one time, told each row of the condition."""
    count = len(jax.tree.leaves(condition)[0])
    x = jnp.broadcast_to(jnp.asarray(np.random.RandomState(3).randn(*SHAPE), jnp.float32), (count, *SHAPE))
    return np.asarray(apply(params, x, jnp.full(count, TIME.get(name, 300.0)), condition))


def apart(outputs):
    """The least distance between two of them, where it is largest in the image."""
    distances = np.abs(outputs[:, None] - outputs).max(axis=tuple(range(2, outputs.ndim + 1)))
    return distances[~np.eye(len(outputs), dtype=bool)].min()


def cases(names):
    """The base; for each condition others, and none; nothing at all."""
    base = {name: BASE[name] for name in names}
    changed = [{**base, name: value} for name in names for value in OTHERS[name]]
    without = [{other: base[other] for other in names if other != name} for name in names]
    return [base, *changed, *without, *([{}] if len(names) > 1 else [])]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "names"), list(sets()))
def test_the_output_depends_on_each_condition(make_small, filled, name, names):
    """On every value of it, on whether it is given, and on the order of words."""
    network, params, apply = told(make_small, filled, name, names)
    outputs = apply_to(network, apply, params, name, rows_of(network.conditions, cases(names)))
    assert np.isfinite(outputs).all()
    assert apart(outputs) > 1e-4


@every_network
def test_what_stands_for_no_word_is_never_read(make_small, filled, name):
    """Whatever its embedding, the output is the same to the last bit: for captions of every length, and for none."""
    names = TAKEN[name]
    network, params, apply = told(make_small, filled, name, names)
    condition = rows_of(network.conditions, cases(names))
    assert {0, 3, 5} <= set((np.asarray(condition["text"]) != PADDING).sum(1))
    words = params["conditioning"]["text"]["words"]["embedding"]
    conditioned = {**params["conditioning"]["text"], "words": {"embedding": words.at[PADDING].set(100.0)}}
    other = {**params, "conditioning": {**params["conditioning"], "text": conditioned}}
    outputs = (apply_to(network, apply, one, name, condition) for one in (params, other))
    np.testing.assert_array_equal(*outputs)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in ("unet", "ddpmpp") else name for name in TAKEN]
)
def test_room_for_longer_captions_changes_nothing(make_small, filled, name, more=13):
    """The same captions and parameters, with more padding after them, words or none."""
    network, params, apply = told(make_small, filled, name, ("text",))
    roomy = replace(WORDS, length=WORDS.length + more)
    other, same, longer = told(make_small, filled, name, ("text",), (("text", roomy),))
    assert jax.tree.map(jnp.shape, same) == jax.tree.map(jnp.shape, params)
    short, long = (rows_of(one.conditions, cases(("text",))) for one in (network, other))
    assert long["text"].shape[1] == short["text"].shape[1] + more
    output = apply_to(network, apply, params, name, short)
    np.testing.assert_allclose(apply_to(other, longer, params, name, long), output, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", [name for name in TAKEN if "sketch" in TAKEN[name] and name not in ("unet", "ddpmpp")])
def test_a_picture_of_zeros_is_not_no_picture(make_small, filled, name):
    network, params, apply = told(make_small, filled, name, ("sketch",))
    zeros = np.zeros((4, 3, 5, 2), np.float32)
    zeros[1::2, ..., 1] = 1  # given
    outputs = apply_to(network, apply, params, name, {"sketch": zeros})
    np.testing.assert_allclose(outputs[:2], outputs[2:], rtol=0, atol=1e-5)
    assert np.abs(outputs[0] - outputs[1]).max() > 1e-3
    np.testing.assert_array_equal(zeros[:1], network.conditions.null(1)["sketch"])


def test_no_condition_is_that_which_says_nothing(make_small, filled):
    network, params, apply = told(make_small, filled, "dit", TAKEN["dit"])
    nothing = apply_to(network, apply, params, "dit", network.conditions.null(2))
    x = jnp.broadcast_to(jnp.asarray(np.random.RandomState(3).randn(*SHAPE), jnp.float32), (2, *SHAPE))
    np.testing.assert_allclose(jax.jit(network.apply)(params, x, jnp.full(2, 300.0)), nothing, rtol=0, atol=1e-5)
    for wrong in ({"label": jnp.zeros(2, jnp.int32)}, {**network.conditions.null(2), "more": jnp.zeros(2)}):
        with pytest.raises(ValueError, match="label, pose, text, sketch"):
            network.apply(params, x, jnp.full(2, 300.0), wrong)


@pytest.mark.parametrize(
    ("name", "options", "most"),
    [
        ("dit", {"remat": True}, 1e-5),
        ("dit", {"dtype": "bfloat16"}, 0.1),
        ("causal_transformer", {"dtype": "bfloat16"}, 0.1),
        pytest.param("unet", {"remat": True}, 1e-5, marks=pytest.mark.slow),
        pytest.param("unet", {"dtype": "bfloat16"}, 0.1, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_other_ways_to_compute_it_are_told_the_same(make_small, filled, name, options, most):
    network, params, apply = told(make_small, filled, name, TAKEN[name])
    other = replace(network, module=network.module.clone(**options))
    assert jax.eval_shape(other.init, jax.random.key(0)) == jax.eval_shape(network.init, jax.random.key(0))
    condition = rows_of(network.conditions, cases(TAKEN[name]))
    output = apply_to(network, apply, params, name, condition)
    same = apply_to(other, jax.jit(other.apply), params, name, condition)
    assert same.dtype == np.float32
    assert np.linalg.norm(same - output) <= most * np.linalg.norm(output)


def test_the_gradient_reaches_all_that_reads_a_condition_but_the_embedding_of_no_word(make_small, filled):
    network, params, _ = told(make_small, filled, "dit", TAKEN["dit"])
    condition = rows_of(network.conditions, cases(TAKEN["dit"]))

    def loss(params):
        x = jnp.ones((len(condition["label"]), *SHAPE))
        return jnp.square(network.apply(params, x, x[:, 0, 0, 0], condition)).mean()

    gradient = jax.jit(jax.grad(loss))(params)
    words = gradient["conditioning"]["text"]["words"].pop("embedding")
    assert not words[PADDING].any()
    assert (np.abs(words[1:]).max(1) > 0).tolist() == [word != "pear" for word in WORDS.vocabulary]  # nobody says it
    for path, leaf in jax.tree.leaves_with_path(gradient):
        assert np.abs(leaf).max() > 0, jax.tree_util.keystr(path)


def test_networks_told_alike_are_alike_though_one_has_read_captions(make_small):
    one, other = (make_small("dit", SHAPE, 2, conditioning("dit", ("text",))) for _ in range(2))
    one.conditions["text"].rows(["a red apple"])
    assert one == other and hash(one) == hash(other)
    assert one != make_small("dit", SHAPE, 2, conditioning("dit", ("text",), {"text": replace(WORDS, length=7)}))


@pytest.mark.parametrize("name", models.CAUSAL)
def test_site_by_site_a_network_says_what_it_says_at_once(make_small, filled, name):
    """Conditions are told once, at the start; rows of a batch are told different ones."""
    names = TAKEN[name]
    network, params, apply = told(make_small, filled, name, names)
    condition = rows_of(network.conditions, cases(names))
    whole = apply_to(network, apply, params, name, condition)
    count, sites = len(whole), SHAPE[0] * SHAPE[1]
    x = jnp.broadcast_to(jnp.asarray(np.random.RandomState(3).randn(*SHAPE), jnp.float32), (count, *SHAPE))

    @jax.jit
    def each(params, condition):
        def body(cache, step):
            raw, cache = network.advance(params, cache, x, step)
            return cache, raw[:, 0]

        return jax.lax.scan(body, network.start(params, count, condition), jnp.arange(sites))[1]

    found = each(params, condition).swapaxes(0, 1)
    np.testing.assert_allclose(found, whole.reshape(found.shape), rtol=0, atol=1e-5 * max(1, np.abs(whole).max()))


# What cannot be told


@pytest.mark.parametrize(
    ("name", "names", "options", "line"),
    [
        *(
            (name, ("label", "text"), {"text_tokens": True},
             f"conditions: {name} cannot be told words of a text; use unet or dit or transformer or "
             "causal_transformer; or set config.model.text_tokens=False")
            for name in ("ddpmpp", "ncsnpp", "pixelcnn")
        ),
        *(
            (name, ("sketch", "label"), {}, f"conditions: {name} cannot be told a picture; use unet or dit or ddpmpp")
            for name in ("transformer", "causal_transformer", "pixelcnn")
        ),
        ("pixelcnn", ("text", "sketch"), {"text_tokens": True},
         "conditions: pixelcnn cannot be told a picture or words of a text; use unet or dit"),
        *(
            (name, ("text",), {"text_channels": channels}, f"text_channels: {channels} is not a multiple of 4")
            for name in ("dit", "pixelcnn") for channels in (10, 0)
        ),
    ],
)  # fmt: skip
def test_what_a_network_cannot_be_told_is_refused(refused, name, names, options, line):
    part = Conditioning(Conditions(tuple((one, KINDS[one]) for one in names)), **{"text_tokens": False, **options})
    sites = {"sites": models.Sites(tuple(range(16)))} if name in models.CAUSAL else {}
    refused(name, SHAPE, {"conditioning": part, **sites}, line)


@every_network
def test_what_each_network_can_be_told_passes(name):
    options = {"multipliers": (1, 2)} if "multipliers" in models.options(name) else {}
    options |= {"attention_resolutions": ()} if "attention_resolutions" in models.options(name) else {}
    sites = {"sites": models.Sites(tuple(range(16)))} if name in models.CAUSAL else {}
    for names in (TAKEN[name], ("label",), ()):
        models.check(name, SHAPE, conditioning(name, names), **sites, **options)


def test_names_of_conditions_do_not_clash_with_names_of_parameters():
    kinds = {"x": WORDS, "x_vector": Vector(2), "x_vector_": Label(3), "x_": WORDS}
    told = Conditioning(Conditions(tuple(kinds.items())), text_channels=8, text_depth=1)
    null = told.conditions.null(1)
    params = told.init(jax.random.key(0), null, 4)["params"]
    assert set(kinds) < set(params) and len(params) == 6
    text = dict(params["x_vector__"]), dict(params["x__vector"])
    assert all(one["kernel"].shape == (8, 4) for one in text)
    alone = Conditioning(Conditions((("x", WORDS),)), text_channels=8, text_depth=1)
    assert set(alone.init(jax.random.key(0), {"x": null["x"]}, 4)["params"]) == {"x", "x_vector"}


@pytest.mark.parametrize("name", ["parts", "init", "text_tokens"])
def test_a_name_that_a_network_has_for_something_else_is_one_line(name):
    told = Conditioning(Conditions(((name, Vector(2)),)))
    with pytest.raises(UserError, match=f"^config.model.conditions: '{name}' is a name of the network's own"):
        models.check("dit", (4, 4, 1), told, channels=12, depth=1, heads=2, patch=2)
