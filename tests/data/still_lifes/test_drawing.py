"""The pictures: the same ones in any batch, things whole and apart."""

import numpy as np
import pytest
from scipy import ndimage

from ddpm_jax.data.still_lifes import KINDS, draw, draw_scene, held_out, parse, scenes
from ddpm_jax.data.still_lifes.layout import GAP, SIDE, Thing, layouts
from ddpm_jax.data.still_lifes.raster import rasterise
from ddpm_jax.data.still_lifes.shapes import SHAPES
from ddpm_jax.errors import UserError


@pytest.mark.parametrize("size", [16, 32])
@pytest.mark.parametrize("unseen", [False, True])
def test_a_number_has_its_picture_in_any_batch(size, unseen):
    images, drawn = draw(9, np.arange(700), size, unseen)
    assert images.shape == (700, size, size, 3) and images.dtype == np.uint8
    some = [650, 3, 3, 512]
    again, said = draw(9, some, size, unseen)
    np.testing.assert_array_equal(again, images[some])
    assert said == [drawn[one] for one in some]
    alone, _ = draw(9, [77], size, unseen)
    np.testing.assert_array_equal(alone[0], images[77])
    np.testing.assert_array_equal(draw_scene(drawn[:9], 9, np.arange(9), size), images[:9])
    assert not np.array_equal(draw(10, np.arange(9), size, unseen)[0], images[:9])


def test_a_scene_has_many_pictures():
    images = draw_scene(parse("two green limes"), 0, np.arange(40), 16)
    assert len({image.tobytes() for image in images}) == 40
    assert images.astype(float).std(axis=0).mean() > 10


def covers(things, size):
    """Each thing's share of every pixel of a picture of `size`, drawn on its own: [n, size, size]."""
    patches = rasterise(things, np.zeros((len(things), 2), np.float32), size)
    out = np.zeros((len(things), 3 * size, 3 * size))
    pixels = np.arange(patches.cover.shape[-1])
    for one, cover, left, top in zip(out, patches.cover, patches.left, patches.top, strict=True):
        one[(size + top + pixels)[:, None], size + left + pixels] = cover
    return out


def test_things_lie_in_the_picture_and_a_pixel_of_sixteen_apart():
    size, numbers = 64, np.arange(150)
    drawn = [scene for unseen in (False, True) for scene in scenes(4, numbers, unseen)]
    unit, least = size / SIDE, np.inf
    for things in layouts(drawn, 4, np.concatenate([numbers, numbers])):
        masks = covers(things, size) > 0.5
        inside = masks[:, size : 2 * size, size : 2 * size]
        assert inside.sum() == masks.sum()
        for number, mask in enumerate(masks):
            others = np.delete(masks, number, axis=0).any(axis=0)
            if others.any():
                least = min(least, ndimage.distance_transform_edt(~others)[mask].min())
    assert (GAP - 0.3) * unit < least


def test_a_thing_that_is_drawn_has_the_area_of_its_shape():
    """The cover's sum is length squared times the area, counted at random points of the unit box."""
    points = np.random.default_rng(0).uniform(-0.6, 0.6, (2, 200_000)).astype(np.float32)
    for kind in KINDS:
        area = (SHAPES[kind](*points).distance < 0).mean() * 1.2**2
        for length, turn, size in ((6.5, 0.15, 32), (4.2, -0.1, 16)):
            cover = covers([Thing(0, kind, "red", "large", length, turn, 7.3, 8.6)], size).sum()
            np.testing.assert_allclose(cover, area * (length * size / SIDE) ** 2, rtol=0.06)


def test_what_is_not_said_is_drawn_but_nothing_held_out():
    things = layouts([parse("a banana on a red plate")] * 400, 0, np.arange(400))
    colours = {thing.colour for (thing,) in things}
    assert colours == {"orange", "yellow", "blue", "purple", "pink", "white"}  # no green one is seen, no red on red
    assert {thing.size for (thing,) in things} == {"small", "large"}
    assert not held_out(parse("a banana on a red plate"))


@pytest.mark.parametrize("size", [8, 17])
def test_other_sizes_are_refused(size):
    with pytest.raises(UserError, match="16 or more"):
        draw(0, [0], size)
