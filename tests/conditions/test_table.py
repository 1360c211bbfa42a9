"""Several conditions by name: which there are, and how often an example is told none, or not one of them."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import chi2

from ddpm_jax.conditions import NONE, Conditions, Label, Picture, Text, Vector, labels, of_plain
from ddpm_jax.errors import UserError

TOLD = Conditions((("label", Label(3)), ("text", Text(("apple", "pear"), 2)), ("pose", Vector(2))))


def given(count):
    """Values that say something, of each."""
    rows = TOLD.rows({"label": [1] * count, "text": ["pear"] * count, "pose": [[0.0, 0.0]] * count})
    return jax.tree.map(jnp.asarray, rows)


def keys_of(count, seed=0):
    return jax.random.split(jax.random.key(seed), count)


def gone(conditions, found):
    """`[conditions, batch]`, whether an example is not told it."""
    null = conditions.null(1)
    alike = [(found[name] == null[name]).reshape(len(found[name]), -1).all(1) for name in conditions]
    return np.stack(alike)


def test_names_stand_in_their_order_and_lead_to_their_kinds():
    assert list(TOLD) == ["label", "text", "pose"] and len(TOLD) == 3
    assert TOLD["pose"] == Vector(2) and "text" in TOLD and "texts" not in TOLD
    assert list(TOLD.only(["pose", "label"])) == ["pose", "label"]
    assert TOLD.only([]) == NONE == labels(0) and not len(NONE)
    assert labels(3) == TOLD.only(["label"])


@pytest.mark.parametrize("names", [("pose", "pose"), ("label", "image")])
def test_a_name_that_stands_for_something_else_is_refused(names):
    with pytest.raises(UserError, match="another") as caught:
        Conditions(tuple((name, Vector(2)) for name in names))
    assert "\n" not in str(caught.value)


def test_an_unknown_name_is_refused_with_the_nearest():
    for ask in (lambda: TOLD.only(["label", "txt"]), lambda: TOLD.rows({"txt": ["pear"]})):
        with pytest.raises(UserError, match="no condition 'txt'; did you mean 'text'"):
            ask()
    with pytest.raises(UserError, match="no condition 'text'; the data have none"):
        NONE.only(["text"])


def test_a_value_that_cannot_be_is_refused_with_its_name():
    with pytest.raises(UserError, match=r"^text: the word 'plum' is in no caption"):
        TOLD.rows({"label": [0], "text": ["plum"]})
    with pytest.raises(UserError, match=r"^label: 7 is not one of 0 \.\.\. 2"):
        TOLD.rows({"label": [7], "text": ["pear"]})


def test_of_more_values_those_of_these_names_are_taken():
    values = given(2)
    assert set(TOLD.only(["text"]).of(values)) == {"text"}
    assert NONE.of(values) == {} == NONE.null(2)
    assert jax.tree.map(jnp.shape, TOLD.null(5)) == jax.tree.map(jnp.shape, given(5))
    assert gone(TOLD, TOLD.null(5)).all() and not gone(TOLD, given(5)).any()


@pytest.mark.parametrize("own", [{}, {"text": 0.6}, {"label": 0.0, "text": 0.7, "pose": 0.4}])
def test_all_are_dropped_together_and_each_by_itself_as_often_as_asked(own):
    """Of the eight sets that may be missing, each as often as two kinds of independent coins say."""
    count, all_of, each = 20_000, 0.3, 0.2
    missing = gone(TOLD, jax.jit(lambda keys: TOLD.drop(keys, given(count), all_of, each, own))(keys_of(count)))
    observed = np.bincount(missing.T @ np.array([1, 2, 4]), minlength=8)
    chances, single = np.zeros(8), [own.get(name, each) for name in TOLD]
    for coins in np.ndindex(2, 2, 2, 2):  # one for all, one for each
        chance = np.prod([share if coin else 1 - share for coin, share in zip(coins, (all_of, *single), strict=True)])
        chances[7 if coins[0] else np.dot(coins[1:], [1, 2, 4])] += chance
    may = chances > 0
    assert not observed[~may].any()
    assert ((observed - count * chances)[may] ** 2 / (count * chances)[may]).sum() < chi2.ppf(1 - 1e-6, 7)


def test_without_a_share_for_each_they_go_together_and_a_lone_one_has_one_share():
    count = 20_000
    together = gone(TOLD, TOLD.drop(keys_of(count), given(count), 0.25))
    assert (together == together[0]).all()
    assert abs(together[0].mean() - 0.25) < 4.5 * np.sqrt(0.25 * 0.75 / count)
    alone = TOLD.only(["label"])
    with_each, without = (
        gone(alone, alone.drop(keys_of(count), alone.of(given(count)), 0.25, each)) for each in (0.9, 0.0)
    )
    np.testing.assert_array_equal(with_each, without)


@pytest.mark.parametrize("each", [0.0, 0.3])
def test_what_an_example_is_told_depends_on_its_own_key_alone(each):
    keys, order = keys_of(500), np.random.default_rng(0).permutation(500)[:40]
    whole = gone(TOLD, TOLD.drop(keys, given(500), 0.3, each))
    np.testing.assert_array_equal(gone(TOLD, TOLD.drop(keys[order], given(40), 0.3, each)), whole[:, order])
    np.testing.assert_array_equal(gone(TOLD, TOLD.drop(keys, given(500), 0.3, each)), whole)
    assert (gone(TOLD, TOLD.drop(keys_of(500, seed=1), given(500), 0.3, each)) != whole).any()


def test_neighbours_are_dropped_independently():
    missing = gone(TOLD, TOLD.drop(keys_of(20_000), given(20_000), 0.5))[0] - 0.5
    assert max(abs((missing[:-lag] * missing[lag:]).mean()) for lag in (1, 2, 3)) < 4.5 * 0.25 / np.sqrt(20_000)


def test_nothing_is_dropped_where_nothing_is_asked_and_nothing_of_none():
    assert not gone(TOLD, TOLD.drop(keys_of(100), given(100), 0.0)).any()
    assert NONE.drop(keys_of(3), {}, 0.5, 0.5) == {}


@pytest.mark.parametrize("kind", [Label(3), Vector(2), Picture((2, 3, 1)), Text(("a", "pear"), 4), Text((), 7)])
def test_a_kind_comes_back_from_json(kind):
    assert of_plain(json.loads(json.dumps(kind.plain()))) == kind


@pytest.mark.parametrize("plain", [{}, {"kind": "smell"}, {"kind": "text"}, {"kind": "label", "classes": 3, "more": 1}])
def test_what_is_no_kind_is_refused(plain):
    with pytest.raises(ValueError):
        of_plain(plain)
