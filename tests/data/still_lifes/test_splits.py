"""The stream of scenes and what it keeps from training."""

import itertools

import numpy as np
import pytest

from ddpm_jax.data.still_lifes import COLOURS, KINDS, SPLITS, Group, Scene, caption, held_out, numbers, parse, scenes
from ddpm_jax.data.still_lifes.splits import HELD_OUT_PAIRS, HELD_OUT_RELATIONS
from ddpm_jax.errors import UserError


@pytest.fixture(scope="module")
def seen():
    """Scenes of the stream of training."""
    return scenes(1, np.arange(6000))


@pytest.fixture(scope="module")
def unseen():
    """Scenes of the other."""
    return scenes(1, np.arange(6000), unseen=True)


def words_of(scene):
    """Its held-out combinations, found in the caption alone."""
    text = caption(scene).replace("small ", "").replace("large ", "")
    found = [pair for pair in HELD_OUT_PAIRS if f"{pair[0]} {pair[1]}" in text]
    turned = {"above": "below", "left of": "right of"}
    for first, where, second in HELD_OUT_RELATIONS:
        for one, between, other in ((first, where, second), (second, turned[where], first)):
            before, _, after = text.partition(f" {between} ")
            if after and one in before and other in after:
                found.append((one, between, other))
    return found


def test_no_seen_scene_has_a_held_out_combination_and_every_unseen_one_has(seen, unseen):
    assert not any(words_of(scene) for scene in seen)
    assert all(words_of(scene) for scene in unseen)
    met = {one for scene in unseen for one in words_of(scene)}
    assert len(met) == len(HELD_OUT_PAIRS) + 2 * len(HELD_OUT_RELATIONS)  # both ways round


def test_a_relation_said_the_other_way_round_is_held_out_too():
    assert held_out(parse("a red apple above a white cup")) and held_out(parse("a white cup below two apples"))
    assert not held_out(parse("a red apple below a white cup"))
    assert held_out(parse("two green bananas at the top")) and not held_out(parse("a yellow banana"))


def test_all_else_is_seen(seen):
    """Every other pair of colour and kind, and every other pair of kinds in a relation, either way."""
    pairs = {(group.colour, group.kind) for scene in seen for group in scene.groups if group.colour}
    assert len(pairs) == len(COLOURS) * len(KINDS) - len(HELD_OUT_PAIRS)
    many = [*seen, *scenes(1, np.arange(6000, 12000))]
    related = {(*(group.kind for group in scene.groups), scene.where) for scene in many if len(scene.groups) == 2}
    assert len(related) == 4 * len(KINDS) ** 2 - 2 * len(HELD_OUT_RELATIONS)


def test_a_third_has_one_group_and_no_scene_too_many_things(seen, unseen):
    for stream in (seen, unseen):
        share = np.mean([len(scene.groups) == 1 for scene in stream])
        assert abs(share - 1 / 2) < 0.06  # some proposals are drawn again
        assert max(sum(group.count for group in scene.groups) for scene in stream) == 4


def test_a_number_has_its_scene_in_any_batch(seen):
    assert scenes(1, np.array([4999, 3])) == [seen[4999], seen[3]]
    assert scenes(2, np.arange(50)) != seen[:50]


def test_splits_do_not_meet():
    ends = sorted(SPLITS.values())
    assert all(end <= first for (_, end), (first, _) in itertools.pairwise(ends))
    assert numbers("test", [0, 5]).tolist() == [SPLITS["test"][0], SPLITS["test"][0] + 5]
    with pytest.raises(UserError, match="'train'"):
        numbers("trian", [0])
    with pytest.raises(IndexError):
        numbers("test", [SPLITS["test"][1]])


def test_scenes_are_values():
    assert Scene((Group("cup", "red"),)) in {parse("a red cup")}
