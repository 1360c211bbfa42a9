"""Whether a picture shows its caption: yes for true ones, no for others."""

import functools
import math
from dataclasses import replace

import numpy as np
import pytest

from ddpm_jax.data.still_lifes import Found, Reading, Scene, accuracy, agreement, agrees, draw, parse, read
from ddpm_jax.data.still_lifes.splits import OPPOSITE
from ddpm_jax.errors import UserError


@pytest.mark.slow
@pytest.mark.parametrize("size", [16, 32])
@pytest.mark.parametrize("unseen", [False, True])
def test_the_oracle_is_right_about_fresh_drawings(size, unseen):
    found = accuracy(size, 400, seed=77, unseen=unseen)
    few = {
        name for name in found.columns if name.startswith("all of")
    }  # asked of some 60 pictures at least, not of 400
    assert min(found.attributes.values()) >= 0.985
    assert min(share for name, share in found.columns.items() if name not in few) >= 0.985
    assert min(found.columns[name] for name in few) >= 0.965
    assert np.mean(list(found.attributes.values())) >= 0.99


@functools.cache
def read_drawings(size):
    images, scenes = draw(31, np.arange(250), size)
    return read(images), scenes


def swapped_colours(scene):
    first, second = scene.groups
    return replace(scene, groups=(replace(first, colour=second.colour), replace(second, colour=first.colour)))


def swapped_relation(scene):
    return replace(scene, where=OPPOSITE[scene.where])


def swapped_kinds(scene):
    first, second = scene.groups
    return replace(scene, groups=(replace(first, kind=second.kind), replace(second, kind=first.kind)))


def other_count(scene):
    first, *rest = scene.groups
    return replace(scene, groups=(replace(first, count=first.count % 2 + 1), *rest))


@pytest.mark.parametrize("size", [16, 32])
@pytest.mark.parametrize(
    ("change", "column"),
    [
        (swapped_colours, "colour binding"),
        (swapped_relation, "position"),
        (swapped_kinds, "position"),
        (other_count, "counting"),
    ],
)
def test_wrong_captions_are_refused(size, change, column):
    readings, scenes = read_drawings(size)
    wrong = []
    for place, scene in enumerate(scenes):
        colours = [group.colour for group in scene.groups]
        two_kinds = len({group.kind for group in scene.groups}) == 2
        if change is not other_count and not (two_kinds and None not in colours and len(set(colours)) == 2):
            continue
        try:
            wrong.append((place, change(scene)))
        except UserError:
            continue
    places, said = zip(*wrong, strict=True)
    found = agreement([readings[place] for place in places], said)
    assert len(said) > 60
    assert found["all"] <= 0.01 and found[column] <= 0.01


def reading(*things, plate=None):
    return Reading(tuple(Found(kind, colour, size, x, y, 0.0) for kind, colour, size, x, y in things), plate)


APPLE, PEAR = ("apple", "red", "small", 3.0, 8.0), ("pear", "green", "large", 12.0, 8.0)


@pytest.mark.parametrize(
    ("shown", "words", "wrong"),
    [
        (reading(APPLE, PEAR), "a small red apple left of a large green pear", set()),
        (reading(APPLE, PEAR), "a red apple right of a green pear", {"position"}),
        (reading(APPLE, PEAR), "a small apple left of a small pear", {"size"}),
        (reading(APPLE, PEAR), "a green apple left of a red pear", {"colour binding"}),
        (reading(APPLE, PEAR), "two apples left of a pear", {"counting"}),
        (reading(APPLE, PEAR), "an apple left of a cup", {"two objects", "counting", "position"}),
        (reading(APPLE, PEAR), "a red apple", set()),  # but not all: a pear is there too
        (reading(APPLE), "a red apple on the left", set()),
        (reading(APPLE), "a red apple on the right", {"position"}),
        (reading(APPLE), "a pink apple", {"colours"}),
        (reading(APPLE, plate="white"), "a red apple on a white plate", set()),
        (reading(APPLE, plate="white"), "a red apple on a blue plate", {"colour binding"}),
        (reading(APPLE), "a red apple on a blue plate", {"colour binding", "position"}),
        (reading(), "a red apple", {"one object", "counting", "colours"}),
        (
            reading(APPLE, ("apple", "green", "large", 12.0, 8.0)),
            "a red apple left of a green apple",
            set(),
        ),
        (
            reading(APPLE, ("apple", "green", "large", 12.0, 8.0)),
            "a green apple left of a red apple",
            {"position"},
        ),
    ],
)
def test_each_column_says_its_own(shown, words, wrong):
    found = agrees(shown, parse(words))
    assert {name for name, value in found.items() if value is False and not name.startswith("all")} == wrong
    extra = len(shown.things) != sum(group.count for group in parse(words).groups)
    assert found["all"] == (not wrong and not extra)


def test_an_unknown_thing_or_a_plate_too_many_spoils_all():
    scene = parse("a red apple")
    assert agrees(reading(APPLE), scene)["all"]
    assert not agrees(reading(APPLE, (None, "red", None, 12.0, 8.0)), scene)["all"]
    assert not agrees(reading(APPLE, plate="blue"), scene)["all"]


def test_all_that_is_asked_is_told_apart_by_how_many_things_are_asked():
    one, two, three = parse("a red apple"), parse("a red apple left of a green pear"), parse("three apples")
    found = agreement([reading(APPLE), reading(APPLE), reading(APPLE, PEAR)], [one, two, two])
    assert (found["all of one"], found["all of two"]) == (1, 1 / 2) and math.isnan(found["all of three"])
    assert agrees(reading(APPLE), three)["all of three"] is False


def test_shares_are_of_the_scenes_that_ask():
    shown = [reading(APPLE), reading(APPLE, PEAR)]
    said: list[Scene] = [parse("a red apple"), parse("an apple left of a pear")]
    found = agreement(shown, said)
    assert found["one object"] == found["two objects"] == found["position"] == 1
    assert math.isnan(found["size"]) and math.isnan(found["colour binding"])
