"""The oracle on true drawings, on spoilt ones, and on what is no still life."""

import numpy as np
import pytest
from scipy import ndimage

from ddpm_jax.data.still_lifes import agreement, draw, draw_scene, parse, read

SIZES = [16, 32]


@pytest.mark.parametrize("size", SIZES)
def test_one_picture_is_read(size):
    images = draw_scene(parse("two small red cups left of a large yellow banana"), 0, np.arange(5), size)
    for reading in read(images):
        assert reading.plate is None
        assert [(one.kind, one.colour, one.size) for one in reading.things[:2]] == [("cup", "red", "small")] * 2
        last = reading.things[-1]
        assert (last.kind, last.colour, last.size) == ("banana", "yellow", "large")
        assert reading.things[0].x < last.x and last.misfit < 0.1


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("noise", "blur"), [(0.03, 0.0), (0.0, 0.4), (0.02, 0.4)])
def test_mild_noise_and_blur_change_little(size, noise, blur):
    images, scenes = draw(21, np.arange(200), size)
    spoilt = images / 255 + noise * np.random.default_rng(0).normal(size=images.shape)
    width = blur * size / 16
    spoilt = ndimage.gaussian_filter(spoilt, (0, width, width, 0))
    found = agreement(read(np.round(np.clip(spoilt, 0, 1) * 255).astype(np.uint8)), scenes)
    assert min(found.values()) > 0.96


@pytest.mark.parametrize("size", SIZES)
def test_light_on_the_ground_is_no_fruit(size):
    """A ground alone, lit far more than any that is drawn is, shows nothing."""
    ticks = np.linspace(0, 1, size)
    slopes = [ticks[:, None] + 0 * ticks, ticks[:, None] * 0 + ticks, (ticks[:, None] + ticks) / 2]
    images = np.stack([(0.05 + 0.33 * slope)[..., None] * [1.0, 0.9, 0.75] for slope in slopes])
    assert not any(reading.things for reading in read((images * 255).astype(np.uint8)))


@pytest.mark.parametrize("size", SIZES)
def test_what_is_no_still_life_is_read_without_fail(size):
    rng = np.random.default_rng(0)
    board = 255 * (np.indices((size, size)).sum(0) % 2)
    flat = np.arange(0, 256, 51)[:, None, None, None]
    images = [rng.integers(0, 256, (20, size, size, 3)), np.broadcast_to(flat, (6, size, size, 3))]
    images += [np.broadcast_to(board[..., None], (1, size, size, 3))]
    readings = read(np.concatenate(images).astype(np.uint8))
    assert len(readings) == 27
    assert not any(one.kind for reading in readings for one in reading.things)


@pytest.mark.parametrize("size", SIZES)
def test_a_shape_of_no_kind_is_found_but_not_known(size):
    images = np.full((1, size, size, 3), 50, np.uint8)
    unit = size // 16
    for step in range(6):  # a staircase
        images[:, (4 + step) * unit : (5 + step) * unit, (4 + step) * unit : (7 + step) * unit] = (220, 40, 30)
    (reading,) = read(images)
    assert [(one.kind, one.colour) for one in reading.things] == [(None, "red")]


def test_no_pictures_have_no_readings():
    assert read(np.zeros((0, 16, 16, 3), np.uint8)) == []


@pytest.mark.parametrize("size", [16, 32])
def test_areas_add_up_and_do_not_depend_on_how_fine_a_picture_is(size):
    def area(words):
        return np.mean([one.area for one in read(draw_scene(parse(words), 5, range(100), size))])

    apple, pear = area("a small red apple"), area("a large green pear")
    assert 0 < apple < pear < 0.5
    assert area("three small red apples") == pytest.approx(3 * apple, rel=0.1)
    assert area("a small red apple left of a large green pear") == pytest.approx(apple + pear, rel=0.1)
    assert area("a small red apple on a white plate") == pytest.approx(apple, rel=0.3)  # a plate is no thing
