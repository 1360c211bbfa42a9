"""Pictures: what is drawn where, read back from the PNG."""

import numpy as np
import pytest
from PIL import Image

from ddpm_jax.runs import pictures


def read(path):
    with Image.open(path) as image:
        assert image.format == "PNG"
        return np.asarray(image)


def test_tile_places_every_image_and_keeps_its_values():
    values = np.linspace(-1, 1, 6).reshape(2, 3, 1, 1, 1)
    canvas = pictures.tile(np.broadcast_to(values, (2, 3, 40, 50, 1)), gap=3)
    assert canvas.shape == (2 * 43 + 3, 3 * 53 + 3, 1)
    for row in range(2):
        for column in range(3):
            cell = canvas[3 + 43 * row :][:40, 3 + 53 * column :][:, :50]
            assert (cell == round((values[row, column, 0, 0, 0] + 1) * 127.5)).all()
    border = np.concatenate([canvas[:3].ravel(), canvas[-3:].ravel(), canvas[:, :3].ravel(), canvas[43:46].ravel()])
    assert (border == 255).all()


def test_small_images_are_enlarged_by_a_whole_factor():
    image = np.where(np.indices((8, 8)).sum(0) % 2, 1.0, -1.0)[None, None, :, :, None]
    canvas = pictures.tile(image, gap=0)
    assert canvas.shape == (32, 32, 1)
    np.testing.assert_array_equal(canvas[::4, ::4, 0], np.where(image[0, 0, ..., 0] > 0, 255, 0))
    np.testing.assert_array_equal(canvas, canvas[::4, ::4].repeat(4, 0).repeat(4, 1))
    assert pictures.tile(np.zeros((1, 1, 5, 9, 1)), gap=0).shape == (35, 63, 1)


def test_values_outside_are_cut_not_wrapped():
    canvas = pictures.tile(np.array([-3.0, -1.0, 1.0, 3.0]).reshape(1, 4, 1, 1, 1), gap=0)
    assert canvas[0, ::32, 0].tolist() == [0, 0, 255, 255]


@pytest.mark.parametrize(("count", "size"), [(1, (1, 1)), (2, (1, 2)), (5, (2, 3)), (64, (8, 8))])
def test_grid(tmp_path, count, size):
    path = pictures.grid(tmp_path / "new" / "x.png", np.full((count, 32, 32, 1), -1.0))
    image = read(path)
    assert image.shape == tuple(34 * n + 2 for n in size)
    black = [image[2 + 34 * (i // size[1]), 2 + 34 * (i % size[1])] == 0 for i in range(size[0] * size[1])]
    assert black == [i < count for i in range(size[0] * size[1])]


def test_colours(tmp_path):
    red = np.stack([np.ones((32, 32)), -np.ones((32, 32)), -np.ones((32, 32))], -1)
    image = read(pictures.grid(tmp_path / "x.png", red[None]))
    assert image.shape == (36, 36, 3)
    assert image[10, 10].tolist() == [255, 0, 0]


def test_film_has_time_from_left_to_right_and_estimates_below(tmp_path):
    frames, count = 3, 2
    value = np.arange(2 * frames * count).reshape(2, frames, count) / 20  # [kind, frame, image]
    noisy, estimates = np.broadcast_to(value[..., None, None, None], (*value.shape, 32, 32, 1))
    image = read(pictures.film(tmp_path / "x.png", noisy, estimates))
    assert image.shape == (2 * count * 34 + 2, frames * 34 + 2)
    for row in range(2 * count):
        for frame in range(frames):
            expected = value[row % 2, frame, row // 2]
            assert image[10 + 34 * row, 10 + 34 * frame] == round((expected + 1) * 127.5)


@pytest.mark.parametrize(("channels", "shape"), [(2, (36, 36)), (4, (36, 36, 3))])
def test_channels_that_are_no_colours_still_draw(tmp_path, channels, shape):
    assert read(pictures.grid(tmp_path / "x.png", np.zeros((1, 32, 32, channels)))).shape == shape
