"""The kinds of a condition: values come in and are read again, what says nothing is unlike all that is given."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddpm_jax.conditions import Label, Picture, Text, Vector
from ddpm_jax.data import Description
from ddpm_jax.errors import UserError

KINDS = {
    "label": (Label(3), [0, 2, 1, 2]),
    "vector": (Vector(2), [[0.0, 0.0], [1.5, -2.0], [0.0, 1.0], [3.0, 3.0]]),
    "image": (Picture((2, 3, 1)), np.arange(24, dtype=np.uint8).reshape(4, 2, 3, 1) * 10),
    "text": (Text(("a", "pear", "red"), 4), ["a pear", "red", "a red pear", "pear"]),
    "bytes": (Text((), 7), ["a", "bc", "é", "d e"]),
}
every_kind = pytest.mark.parametrize("name", KINDS)


@every_kind
def test_a_value_has_the_shape_and_the_type_that_the_kind_says(name):
    kind, values = KINDS[name]
    rows, null = kind.rows(values), kind.null(4)
    assert rows.shape == null.shape == (4, *kind.shape)
    assert rows.dtype == null.dtype == kind.dtype


@every_kind
def test_what_says_nothing_is_no_value_and_reads_as_nothing(name):
    kind, values = KINDS[name]
    null = np.asarray(kind.null(4))
    assert (null == null[:1]).all()
    assert all((row != nothing).any() for row, nothing in zip(kind.rows(values), null, strict=True))
    assert kind.words(null[0]) == ""


@every_kind
def test_some_are_dropped_and_the_others_stay(name):
    kind, values = KINDS[name]
    rows, dropped = kind.rows(values), jnp.array([True, False, False, True])
    found = kind.drop(dropped, jnp.asarray(rows))
    assert found.dtype == rows.dtype
    np.testing.assert_array_equal(found[1:3], rows[1:3])
    np.testing.assert_array_equal(found[::3], kind.null(2))


@every_kind
def test_as_json_it_is_told_from_others_of_its_kind(name):
    kind, _ = KINDS[name]
    plain = kind.plain()
    assert json.loads(json.dumps(plain)) == plain
    assert all(plain != other.plain() for one, (other, _) in KINDS.items() if one != name)
    others = {"label": Label(4), "vector": Vector(3), "image": Picture((3, 2, 1)), "text": Text(("a", "pear"), 4)}
    assert plain != others.get(name, Text((), 8)).plain()


def test_classes_may_be_named():
    kind = Label(3, ("7", "cat", "dog"))
    assert kind.rows(["dog", "7", "dog"]).tolist() == kind.rows([2, 0, 2]).tolist() == [2, 0, 2]
    assert [kind.words(number) for number in np.arange(4)] == ["7", "cat", "dog", ""]
    with pytest.raises(UserError, match="'cta' is no class; did you mean 'cat'"):
        kind.rows(["cta"])
    assert kind == Label(3) and hash(kind) == hash(Label(3))  # names are for people


def test_labels_are_whole_numbers_up_to_the_one_that_nobody_knows():
    kind = Label(3)
    for given in ([0, 1, 3], np.array([0, 1, 3], np.int64), np.array([0, 1, 3], np.uint8)):
        np.testing.assert_array_equal(kind.rows(given), [0, 1, 3])
    assert [kind.words(value) for value in kind.rows([2, 3])] == ["2", ""]
    for wrong in ([4], [-1], [0, 2**40], [1.0], ["1"], [True], [None], [[1, 2]]):
        with pytest.raises(UserError) as caught:
            kind.rows(wrong)
        assert "0 ... 2" in str(caught.value) and "\n" not in str(caught.value)


def test_a_vector_of_zeros_is_given_all_the_same():
    kind = Vector(3)
    zeros = kind.rows([[0, 0, 0]])
    assert (zeros != kind.null(1)).any()
    np.testing.assert_array_equal(zeros[:, :3], 0)
    for wrong in ([[1.0, 2.0]], [1.0, 2.0, 3.0], [[[1.0, 2.0, 3.0]]]):
        with pytest.raises(UserError, match="3"):
            kind.rows(wrong)


def test_a_picture_is_what_an_image_of_its_levels_is_to_a_network():
    levels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    shown = Picture((16, 16, 1)).rows(levels)
    images = Description("any", "1", (16, 16, 1), 256)
    np.testing.assert_allclose(shown[..., :1], images.encode(levels), rtol=0, atol=1.2e-7)
    np.testing.assert_array_equal(images.decode(shown[..., :1]), levels)
    assert (shown[..., 1] == 1).all()


def test_black_and_grey_pictures_are_given_all_the_same():
    kind = Picture((2, 2, 3))
    for level in (0, 127, 128):
        assert (kind.rows(np.full((1, 2, 2, 3), level, np.uint8)) != kind.null(1)).any()


@pytest.mark.parametrize(
    "wrong",
    [np.zeros((1, 2, 2, 1), np.uint8), np.zeros((2, 2, 3), np.uint8), np.zeros((1, 2, 2, 3)), [[1, 2]]],
    ids=["channels", "alone", "reals", "a list"],
)
def test_pictures_of_another_shape_or_type_are_refused(wrong):
    with pytest.raises(UserError, match=r"\(2, 2, 3\), uint8") as caught:
        Picture((2, 2, 3)).rows(wrong)
    assert "\n" not in str(caught.value)


def test_noise_of_a_picture_has_the_deviation_that_is_told():
    kind, count = Picture((16, 16, 1), noise=0.8), 200
    rows = kind.rows(np.full((count, 16, 16, 1), 255, np.uint8))
    shown = np.asarray(kind.augmented(jax.random.split(jax.random.key(0), count), jnp.asarray(rows)))
    pixels, told = shown[..., 0] - 1, shown[:, 0, 0, 2]
    assert (shown[..., 1] == 1).all() and (shown[..., 2] == told[:, None, None]).all()
    np.testing.assert_allclose(pixels.std((1, 2)), told, rtol=0.25, atol=1e-6)
    assert abs(np.mean(told) - 0.4) < 0.05 and told.max() <= 0.8  # every level as often
    assert abs(pixels.mean()) < 0.01


def test_a_hole_of_a_picture_has_no_noise_and_says_nothing():
    kind = Picture((4, 4, 1), noise=1.0)
    shown = np.zeros((3, 4, 4, 1), bool)
    shown[:, :2] = True
    rows = jnp.asarray(kind.rows(np.full((3, 4, 4, 1), 9, np.uint8), shown))
    noisy = np.asarray(kind.noisy(jax.random.split(jax.random.key(1), 3), rows, jnp.full(3, 0.7)))
    np.testing.assert_array_equal(noisy[:, 2:], np.asarray(kind.null(3))[:, 2:])
    assert (noisy[:, :2, :, 0] != rows[:, :2, :, 0]).all()


def test_a_picture_without_noise_is_described_and_shown_as_before_there_was_any():
    kind = Picture((2, 3, 1))
    assert set(kind.plain()) == {"kind", "size"} and set(Picture((2, 3, 1), 0.5).plain()) == {"kind", "size", "noise"}
    rows = jnp.asarray(kind.rows(KINDS["image"][1]))
    np.testing.assert_array_equal(kind.augmented(jax.random.split(jax.random.key(0), 4), rows), rows)
