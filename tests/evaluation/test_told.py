"""What samples are asked for: a person's words, one or several, or what the data say of their own images."""

import numpy as np
import pytest

from ddpm_jax.conditions import NONE, Conditions, Label, Picture, Text, Vector
from ddpm_jax.data import from_arrays
from ddpm_jax.errors import UserError
from ddpm_jax.evaluation.told import conditions_of, pictures_of, words_of

TEXT = Text.of(["a red apple", "a pear"])
KINDS = Conditions((("label", Label(3)), ("text", TEXT), ("pose", Vector(2)), ("sketch", Picture((2, 2, 1)))))
IMAGES = np.zeros((2, 2, 2, 1), np.uint8)
OWN = {
    "label": [2, 1],
    "text": ["a pear", "a red apple"],
    "pose": np.array([[1.0, 2.0], [3.0, 4.0]]),
    "sketch": np.arange(8, dtype=np.uint8).reshape(2, 2, 2, 1),
}
DATA = from_arrays(dict.fromkeys(("train", "validation", "test"), (IMAGES, OWN)), conditions=KINDS)


def asked(count, **told):
    return conditions_of(KINDS, DATA, count, told)


def test_without_a_word_samples_are_told_what_test_images_are_or_lone_labels_in_turn():
    found, own = asked(5), KINDS.rows(OWN)
    for name in KINDS:  # all of one image: a label must not contradict a caption
        np.testing.assert_array_equal(found[name], own[name][[0, 1, 0, 1, 0]])
    assert conditions_of(KINDS.only(["label"]), DATA, 5)["label"].tolist() == [0, 1, 2, 0, 1]
    assert conditions_of(NONE, DATA, 5) == {}


@pytest.mark.parametrize(
    ("name", "one", "several"),
    [
        ("label", 2, [2, 0, 2]),
        ("label", np.int64(2), np.array([2, 0, 2])),
        ("text", "a pear", ["a pear", "red", "a pear"]),
        ("pose", (1.0, 2.0), [[1.0, 2.0], (0, 0), [1.0, 2.0]]),
        ("pose", np.array([1.0, 2.0]), np.array([[1.0, 2.0], [0, 0], [1, 2]])),
        ("sketch", OWN["sketch"][1], OWN["sketch"][[1, 0, 1]]),
    ],
)
def test_one_value_is_for_all_and_several_go_round(name, one, several):
    rows = KINDS.rows({name: several})[name]
    np.testing.assert_array_equal(asked(4, **{name: one})[name], rows[[0, 0, 0, 0]])
    found = asked(5, **{name: several})
    np.testing.assert_array_equal(found[name], rows[[0, 1, 2, 0, 1]])
    for other in set(KINDS) - {name}:  # of what is left out nothing is said
        np.testing.assert_array_equal(found[other], KINDS[other].null(5))


@pytest.mark.parametrize(
    ("told", "line"),
    [
        ({"label": 3}, "label: 3 is not one of 0 ... 2"),  # that is the label of images that nobody knows
        ({"label": [0, 3]}, "label: 3 is not one of 0 ... 2"),
        ({"label": []}, "label: no value is given"),
        ({"text": []}, "text: no value is given"),
        ({"text": "plum"}, "text: the word 'plum' is in no caption"),
        ({"pose": 1.0}, "pose: "),
        ({"caption": "a pear"}, "this model is not told 'caption': it is told label, text, pose, sketch"),
    ],
    ids=str,
)
def test_what_cannot_be_told_is_refused_in_a_line(told, line):
    with pytest.raises(UserError) as caught:
        asked(2, **told)
    assert str(caught.value).startswith(line) and "\n" not in str(caught.value)
    with pytest.raises(UserError, match="trained without conditions"):
        conditions_of(NONE, DATA, 2, told)


def test_words_are_a_line_for_each_sample_where_there_are_texts():
    assert words_of(KINDS, asked(2)) == ["a pear", "a red apple"]
    assert words_of(KINDS, asked(2, label=1)) == ["", ""]
    assert words_of(KINDS.only(["label"]), asked(2)) is None


def test_pictures_that_samples_were_told_and_white_where_none_was():
    rows = {name: np.array(values) for name, values in KINDS.null(3).items()}
    assert pictures_of(KINDS, rows) == []
    rows["sketch"][1:] = KINDS.rows(OWN)["sketch"]
    (found,) = pictures_of(KINDS, rows)
    assert found.shape == (3, 2, 2, 1) and (found[0] == 1).all()
    np.testing.assert_allclose((found[1:] + 1) * 127.5, OWN["sketch"], atol=1e-4)


def test_without_a_word_a_model_of_pictures_or_vectors_is_told_what_test_images_are():
    own = KINDS.rows(OWN)
    for name in ("sketch", "pose"):
        np.testing.assert_array_equal(conditions_of(KINDS.only([name]), DATA, 3)[name], own[name][[0, 1, 0]])
