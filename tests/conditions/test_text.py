"""Captions as numbers: words of a vocabulary or bytes, and back; what is not known is refused with the nearest."""

import json
import pickle
from dataclasses import replace

import numpy as np
import pytest

from ddpm_jax.conditions import Conditions, Text
from ddpm_jax.conditions.text import PADDING, split
from ddpm_jax.data import Description
from ddpm_jax.errors import UserError

CAPTIONS = ["A red apple, left of a pear.", "two  apples", "Don't cut the ice-cream!", "Ärger über Öl", "pear"]


def test_captions_come_back_in_words():
    text = Text.of(CAPTIONS)
    rows = text.rows(CAPTIONS)
    assert [text.words(row) for row in rows] == [
        "a red apple , left of a pear .",
        "two apples",
        "don't cut the ice-cream !",
        "ärger über öl",
        "pear",
    ]
    assert text.length == 9
    np.testing.assert_array_equal(text.rows([text.words(row) for row in rows]), rows)


def test_the_vocabulary_has_the_words_of_all_captions_once_and_whatever_their_order():
    text = Text.of(CAPTIONS)
    assert set(text.vocabulary) == {word for caption in CAPTIONS for word in split(caption)}
    assert len(set(text.vocabulary)) == len(text.vocabulary) == text.size - 1
    assert Text.of(CAPTIONS[::-1]) == text
    numbers = text.rows(CAPTIONS)
    assert set(numbers.ravel()) == set(range(text.size))


@pytest.mark.parametrize("text", [Text.of(CAPTIONS), Text((), 40)], ids=["words", "bytes"])
def test_padding_stands_after_the_words_only_and_is_all_of_nothing(text):
    rows = text.rows(CAPTIONS)
    lengths = (rows != PADDING).sum(1)
    assert all((row[:length] != PADDING).all() for row, length in zip(rows, lengths, strict=True))
    assert (lengths > 0).all()
    np.testing.assert_array_equal(text.null(2), np.full((2, text.length), PADDING))
    longer = replace(text, length=text.length + 5)
    np.testing.assert_array_equal(longer.rows(CAPTIONS)[:, : text.length], rows)
    assert (longer.rows(CAPTIONS)[:, text.length :] == PADDING).all()


@pytest.mark.parametrize("caption", ["plain", "naïve Ångström", "日本語", "a 🍐 and 🍎", "\x00\x7f"])
def test_bytes_take_any_text_and_give_it_back(caption):
    size = len(caption.encode())
    text = Text((), size)
    (row,) = text.rows([caption])
    assert row.shape == (size,) and 0 < row.min() <= row.max() < text.size
    assert text.words(row) == caption
    with pytest.raises(UserError, match=f"has {size} bytes, and the longest has {size - 1}"):
        Text((), size - 1).rows([caption])


def test_every_byte_has_a_number_of_its_own():
    text = Text((), 1)
    numbers = {int(text.rows([chr(code)])[0, 0]) for code in range(128)}
    assert len(numbers) == 128 and PADDING not in numbers
    assert text.size == 257


@pytest.mark.parametrize(
    ("caption", "words"),
    [
        ("", "is empty"),
        ("   ", "is empty"),
        ("two pears", "the word 'pears' is in no caption of training; did you mean 'pear'?"),
        ("two APLES", "the word 'aples' is in no caption of training; did you mean 'apples'?"),
        ("two two two two", "'two two two two' has 4 words, and the longest has 3"),
        ("zzz", "the word 'zzz' is in no caption of training; choose from: apples, pear, red, two"),
    ],
)
def test_what_cannot_be_said_is_refused_in_a_line(caption, words):
    with pytest.raises(UserError, match=r"^[^\n]*$") as caught:
        Text(("apples", "pear", "red", "two"), 3).rows(["two apples", caption])
    assert words in str(caught.value)


def test_a_large_vocabulary_is_not_shown_whole():
    with pytest.raises(UserError) as caught:
        Text(tuple(f"word{number}" for number in range(5000)), 3).rows(["zzz"])
    assert "'zzz'" in str(caught.value) and len(str(caught.value)) < 200


def test_no_words_at_all_are_refused():
    for captions in ([], ["", "  "]):
        with pytest.raises(UserError, match="no word"):
            Text.of(captions)


def test_a_caption_that_was_encoded_changes_nothing_of_the_kind():
    """It is part of networks, which are hashed and compared, and of what a run keeps of its data."""

    def plain(text):
        return json.dumps(Description("any", "1", (2, 2, 1), 2, Conditions((("text", text),))).plain())

    fresh, used = Text.of(CAPTIONS), Text.of(CAPTIONS)
    before = hash(used), plain(used), pickle.dumps(used)
    used.rows(CAPTIONS)
    assert (hash(used), plain(used)) == before[:2] == (hash(fresh), plain(fresh))
    assert used == fresh == pickle.loads(before[2])
    assert {fresh: 1}[used] == 1
    assert used.plain() == fresh.plain() and set(used.plain()) == {"kind", "vocabulary", "length"}
    assert fresh != Text.of(CAPTIONS[:2]) and fresh != replace(fresh, length=10)
