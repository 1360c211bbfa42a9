"""Scenes and their words."""

import itertools

import numpy as np
import pytest

from ddpm_jax.data.still_lifes import COLOURS, KINDS, PLACES, RELATIONS, SIZES, Group, Scene, caption, parse, scenes
from ddpm_jax.errors import UserError


def test_parse_undoes_caption_and_no_two_scenes_have_one_caption():
    drawn = [scene for unseen in (False, True) for scene in scenes(3, np.arange(2000), unseen)]
    words = [caption(scene) for scene in drawn]
    assert [parse(one) for one in words] == drawn
    assert len(set(words)) == len(set(drawn))


def test_every_group_at_every_place_and_on_every_plate_is_said_and_read():
    told = set()
    for kind, colour, size, count in itertools.product(KINDS, (None, *COLOURS), (None, *SIZES), (1, 2, 3)):
        group = Group(kind, colour, size, count)
        for where, plate in [(None, None), *((place, None) for place in PLACES), (None, "white"), (None, "red")]:
            try:
                scene = Scene((group,), where, plate)
            except UserError:
                assert plate == colour or (size == "large" and count > (1 if plate else 2))
                continue
            assert parse(caption(scene)) == scene
            told.add(caption(scene))
    assert len(told) > 3000


@pytest.mark.parametrize(
    ("words", "scene"),
    [
        ("a red apple", Scene((Group("apple", "red"),))),
        ("a green banana on a white plate", Scene((Group("banana", "green"),), plate="white")),
        ("An Orange pear at the top.", Scene((Group("pear", "orange"),), "at the top")),
        ("a pear on an orange plate", Scene((Group("pear"),), plate="orange")),
        ("one blue cup", Scene((Group("cup", "blue"),))),
        (
            "two small limes left of a large watermelon",
            Scene((Group("lime", size="small", count=2), Group("watermelon", size="large")), "left of"),
        ),
        (
            "three pink bottles above a white bottle",
            Scene((Group("bottle", "pink", count=3), Group("bottle", "white")), "above"),
        ),
    ],
)
def test_words_say_a_scene(words, scene):
    assert parse(words) == scene


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ("a red aple", "'apple'"),
        ("a crimson apple", "'crimson'"),
        ("a greeen banana", "'green'"),
        ("a red apple lft of a cup", "'left'"),
        ("a red apples", "number"),
        ("two apple", "number"),
        ("red apple", "number"),
        ("a red large apple", "number"),
        ("", "number"),
        ("a red apple left of", "number"),
        ("a red apple on a plate", "COLOUR"),
        ("a red apple on the left of", "nothing can follow"),
        ("a red apple on a red plate", "colour"),
        ("three cups above two limes", "4 things"),
        ("three large cups above a lime", "large"),
        ("two large cups on a red plate", "large"),
        ("a cup above a red cup", "told apart"),
        ("a red cup above two red cups", "told apart"),
    ],
)
def test_what_cannot_be_said_is_refused_in_a_line(words, named):
    with pytest.raises(UserError, match=named) as caught:
        parse(words)
    assert "\n" not in str(caught.value)


def test_relations_need_two_groups_and_places_one():
    one, two = (Group("apple"),), (Group("apple"), Group("pear"))
    for groups, choices in ((one, RELATIONS), (two, (None, *PLACES))):
        for where in choices:
            with pytest.raises(UserError):
                Scene(groups, where)
