"""Pictures made of images: what each shows, that a row's is its own, and what cannot be."""

import numpy as np
import pytest

from ddpm_jax import data
from ddpm_jax.config import base
from ddpm_jax.data.views import Edges, Grey, Known, Small
from ddpm_jax.errors import UserError
from ddpm_jax.experiment import check

ROWS = np.arange(200)


def noise(shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def test_edges_are_where_values_change_and_shades_leave_none():
    images = np.zeros((3, 6, 6, 3), np.uint8)
    images[0, 3:, :, 1] = 200
    images[1] = 20 * np.arange(6)[:, None, None]  # a slope of 20 levels a pixel
    lines, shown = Edges()(images, ROWS[:3])
    assert shown is None
    np.testing.assert_array_equal(lines[0, :, 0, 0] == 0, np.arange(6) == 3)
    assert (lines[1:] == 255).all()


def test_grey_keeps_grey_and_weighs_green_most():
    same = np.repeat(noise((2, 4, 4, 1)), 3, -1)
    np.testing.assert_array_equal(Grey()(same, ROWS[:2])[0], same[..., :1])
    red, green, blue = (Grey()(np.eye(3, dtype=np.uint8)[[c]].reshape(1, 1, 1, 3) * 255, ROWS[:1])[0] for c in range(3))
    assert green > red > blue
    assert int(red.item()) + int(green.item()) + int(blue.item()) == 255


def test_small_has_the_mean_and_a_constant_stays():
    images = noise((5, 8, 12, 3))
    small = Small()(images, ROWS[:5])[0]
    assert small.shape == (5, 2, 3, 3)
    assert abs(small.mean() - images.mean()) < 0.5
    assert (Small()(np.full((1, 4, 4, 1), 77, np.uint8), ROWS[:1])[0] == 77).all()


def test_a_hole_is_its_rows_own_and_never_nothing_or_all():
    known = Known()(noise((200, 16, 16, 1)), ROWS)[1]
    again = Known()(noise((200, 16, 16, 1), seed=1)[::-1], ROWS[::-1])[1][::-1]
    np.testing.assert_array_equal(known, again)
    shares = known.mean((1, 2, 3))
    assert 0 < shares.min() < 0.2 and 0.8 < shares.max() < 1
    assert len(np.unique(known.reshape(200, -1), axis=0)) > 150
    sides = [np.all(one == one[:, :1]) or np.all(one == one[:1]) for one in known[..., 0]]
    assert 0.15 < np.mean(sides) < 0.4  # a quarter hide a side


def test_a_data_set_with_views_has_the_same_images_and_shows_the_known_part():
    plain = data.load("digits")
    seen = data.with_views(plain, ("known", "edges"))
    assert list(seen.description.conditions) == ["label", "known", "edges"]
    one, other = plain.split("test").rows([5, 3]), seen.split("test").rows([5, 3])
    np.testing.assert_array_equal(one["image"], other["image"])
    np.testing.assert_array_equal(one["condition"]["label"], other["condition"]["label"])
    picture, given = np.split(other["condition"]["known"], 2, -1)
    x = np.asarray(seen.description.encode(one["image"]))
    np.testing.assert_allclose(picture[given > 0], x[given > 0], atol=2 / 255)
    assert (picture[given == 0] == 0).all()
    whole = seen.split("test").arrays()[1]["known"]
    np.testing.assert_array_equal(whole[[5, 3]], other["condition"]["known"])


def test_a_description_with_views_is_read_back():
    seen = data.with_views(data.load("digits"), ("known", "small"), noise=0.5)
    assert data.recorded(data.fingerprint(seen)).description == seen.description
    assert seen.description.conditions["small"].shape == (2, 2, 3)


@pytest.mark.parametrize(
    ("names", "line"),
    [
        (("edge",), "there is no view 'edge' of an image; did you mean 'edges'?"),
        (("grey",), "grey: the images have no colours"),
        (("edges", "edges"), "there are two conditions 'edges'"),
    ],
)
def test_what_cannot_be_is_one_line(names, line):
    with pytest.raises(UserError) as caught:
        data.with_views(data.load("digits"), names)
    assert str(caught.value).startswith(line)


def test_images_that_are_no_pictures_have_no_views():
    with pytest.raises(UserError, match="4 does not divide"):
        data.with_views(data.from_arrays({"train": noise((2, 6, 6, 1))}), ("small",))
    with pytest.raises(UserError, match="are no pictures"):
        data.with_views(data.from_arrays({"train": noise((2, 6, 1))}), ("edges",))


def test_noise_without_views_is_refused():
    config = base.digits()
    config.data.view_noise = 0.5
    with pytest.raises(UserError, match="view_noise: there are no views"):
        check(config)
