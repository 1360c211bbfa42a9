"""Captions: where lines break, against another implementation, and that no character gets out of its place."""

import random
import textwrap
from functools import partial

import numpy as np
import pytest

from ddpm_jax.runs import captions, fonts

WORDS = [
    "a",
    "an",
    "of",
    "on",
    "red",
    "left",
    "lime",
    "apple",
    "banana",
    "watermelon",
    "Ωé",
    "😀",
    "don't",
    "blue-green",
]
ODD = [
    "\x00\x07\x1b[31m",
    "\u202egnol\u202c",
    "\u2066\u2069",
    "\ud83d",
    "日本語",
    "שלום عليكم",
    "👩‍👩‍👧‍👦❤️🏳️‍🌈",
    "Z" + "\u0300\u0323" * 40,
    "W" * 200,
    "ﷺ" * 60,
    "\u200b" * 50,
    "a\r\nb\x85c\u2028d",
    "\ue000\U0010ffff",
    "\\n%s{}<b>",
    "x" * 100_000,
]


class Typewriter:
    """A font all of whose characters are one pixel wide."""

    def getlength(self, text):
        return len(text)


def texts():
    for seed in range(200):
        draw = random.Random(seed)
        yield " ".join(draw.choices(WORDS, k=draw.randint(1, 12)))


def test_lines_break_where_the_standard_library_breaks_them():
    for text in texts():
        for width in (10, 13, 30):
            wanted = textwrap.wrap(text, width, break_on_hyphens=False)
            assert captions.wrapped(text, Typewriter(), width, most=99) == wanted


@pytest.mark.parametrize("font", [Typewriter, partial(fonts.of_size, captions.SIZE)], ids=["typewriter", "ours"])
def test_lines_fit_and_what_is_left_out_is_seen_to_be(font):
    for text in texts():
        for width in (25, 60, 122):
            lines = captions.wrapped(text, font(), width)
            assert len(lines) <= captions.LINES and all(font().getlength(line) <= width for line in lines)
            shown, whole = "".join(lines).replace(" ", ""), text.replace(" ", "")
            assert shown == whole or (shown.endswith("…") and whole.startswith(shown[:-1]))


def test_a_line_ends_where_one_more_word_would_not_fit():
    assert captions.wrapped("ab cd efg", Typewriter(), 5) == ["ab cd", "efg"]
    assert captions.wrapped("ab cd efg", Typewriter(), 4) == ["ab", "cd", "efg"]
    assert captions.wrapped("ab cd efg hi", Typewriter(), 4) == ["ab", "cd", "efg…"]
    assert captions.wrapped("abcdefgh", Typewriter(), 3) == ["abc", "def", "gh"]
    assert captions.wrapped("abcdefghij", Typewriter(), 3) == ["abc", "def", "gh…"]
    assert captions.wrapped("abcd", Typewriter(), -5) == ["a", "b", "…"]
    assert captions.wrapped("  ", Typewriter(), 5) == []


@pytest.mark.parametrize("text", ODD, ids=ascii)
def test_any_characters_stay_in_their_place(text):
    width = 128
    alone, beside = captions.drawn([text], width), captions.drawn([text, "", "lime", text], width)
    assert alone.shape == (1, beside.shape[1], width) and beside.shape[1] % 2 == 0
    np.testing.assert_array_equal(beside[[0, 3]], alone.repeat(2, axis=0))
    assert (beside[1] == 255).all() and (alone[..., -2:] == 255).all()
    usual = captions.drawn(["lime"], width)
    np.testing.assert_array_equal(beside[2, : usual.shape[1]], usual[0])


def test_what_does_not_show_is_drawn_as_its_escape():
    np.testing.assert_array_equal(captions.drawn(["a\u202eb\x1b"], 128), captions.drawn(["a\\u202eb\\x1b"], 128))


def test_words_are_read_from_left_to_right_and_lines_from_the_top():
    one, three = captions.drawn(["lime"], 128)[0], captions.drawn(["lime " * 9], 128)[0]
    assert len(three) == len(one) + 2 * captions.LINE
    assert (one.min(0) < 128).any() and (one[:, 64:] == 255).all()
    ink = three.min(1) < 128
    assert [ink[captions.ABOVE + captions.LINE * line :][: captions.LINE].any() for line in range(3)] == [True] * 3


@pytest.mark.parametrize(("texts", "shown"), [(None, False), ([], False), (["", " \n"], False), (["", "a"], True)])
def test_empty_captions_are_none(texts, shown):
    assert captions.any_shown(texts) is shown
    assert captions.drawn(texts or [], 128).shape[0] == len(texts or [])
