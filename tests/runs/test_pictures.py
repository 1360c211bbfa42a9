"""Pictures: what is drawn where, read back from the PNG."""

import hashlib
import io

import numpy as np
import pytest
from PIL import Image

from ddpm_jax.runs import pictures

SEVERAL = ["two small limes left of a large watermelon on a white plate", "apple", "", "\u202e\x1b 😀 日本", "x" * 500]


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
    apart = pictures.APART
    assert image.shape == (2 * count * 34 + 2 + (count - 1) * apart, frames * 34 + 2)
    for row in range(2 * count):
        for frame in range(frames):
            expected = value[row % 2, frame, row // 2]
            assert image[10 + 34 * row + apart * (row // 2), 10 + 34 * frame] == round((expected + 1) * 127.5)


def test_the_pairs_of_a_film_stand_apart_from_one_another(tmp_path):
    """The white between two images is several times that within one."""
    black = -np.ones((3, 4, 8, 8, 1))
    image = read(pictures.film(tmp_path / "x.png", black, black))
    white = (image == 255).all(1)
    edges = np.flatnonzero(np.diff(white.astype(int)))
    between = np.diff(edges)[1::2]  # of white, without the borders
    assert len(between) == 7
    assert between[1::2].min() > 4 * between[::2].max()


@pytest.mark.slow
@pytest.mark.parametrize("size", [(8, 8, 1), (16, 16, 3), (64, 48, 3)])
@pytest.mark.parametrize("captions", [None, SEVERAL])
def test_times_are_above_the_frames_and_names_beside_the_rows(tmp_path, size, captions):
    noisy, estimates = np.random.default_rng(0).uniform(-1.2, 1.2, (2, 4, 5, *size))
    times = [1.0, 0.875, 0.12, 0.1]
    pictures.film(tmp_path / "bare.png", noisy, estimates, captions)
    bare = read(tmp_path / "bare.png")
    image = read(pictures.film(tmp_path / "x.png", noisy, estimates, captions, times))
    top, left = (theirs - ours for theirs, ours in zip(image.shape[:2], bare.shape[:2], strict=True))
    np.testing.assert_array_equal(image[top:, left:], bare)
    above, beside = dark(image[:top, left:, None]), dark(image[top:, :left, None])
    wide = (bare.shape[1] - 2) // 4
    ink = [int(above[:, 2 + number * wide :][:, : wide - 2].sum()) for number in range(4)]
    assert min(ink) > 0 and ink[0] < ink[3] < ink[2]  # "1" is less than "0.1", and that than "0.12"
    assert int(above.sum()) == sum(ink)  # none is cut, or runs into its neighbour
    high = (len(bare) - 2 + pictures.APART) // 5
    for number in range(5):  # two names an image, in the middles of its rows
        rows = np.flatnonzero(beside[number * high :][:high].any(1))
        assert 1 <= len(np.flatnonzero(np.diff(rows) > 3)) <= 2
    with Image.open(tmp_path / "x.png") as kept:
        assert top < int(kept.info[pictures.STRIP]) <= top + high


def test_as_many_times_as_frames(tmp_path):
    with pytest.raises(ValueError, match="2 times for 3 frames"):
        pictures.film(tmp_path / "x.png", *np.zeros((2, 3, 2, 8, 8, 1)), times=[1.0, 0.5])


@pytest.mark.parametrize(("channels", "shape"), [(2, (36, 36)), (4, (36, 36, 3))])
def test_channels_that_are_no_colours_still_draw(tmp_path, channels, shape):
    assert read(pictures.grid(tmp_path / "x.png", np.zeros((1, 32, 32, channels)))).shape == shape


def ramp(*shape):
    return np.arange(np.prod(shape)).reshape(shape) % 17 / 8 - 1.1


@pytest.mark.parametrize(
    ("shape", "pixels"),
    [
        ((5, 16, 12, 3), ("49d08453779c08a8", "b96a27fadd164744")),
        ((3, 40, 33, 1), ("4c8724c658e69c33", "5240ed9ab0a0008d")),
    ],
)
@pytest.mark.parametrize("captions", [None, "empty"])
def test_without_captions_nothing_has_changed(tmp_path, shape, pixels, captions):
    given = [""] * shape[0] if captions else None
    paths = [
        pictures.grid(tmp_path / "grid.png", ramp(*shape), given),
        pictures.film(tmp_path / "film.png", *ramp(2, 4, *shape), given),
    ]
    whole = [read(path) for path in paths]
    pair = (len(whole[1]) - 2 + pictures.APART) // shape[0]  # with the white behind it, which came later
    kept = [row for row in range(len(whole[1])) if row % pair < pair - pictures.APART or row >= len(whole[1]) - 2]
    whole[1] = whole[1][kept]
    for image, digest in zip(whole, pixels, strict=True):  # of what was drawn before there were captions
        assert hashlib.sha256(image.tobytes()).hexdigest()[:16] == digest
    content = io.BytesIO()
    Image.fromarray(whole[0]).save(content, "PNG", optimize=True)
    assert paths[0].read_bytes() == content.getvalue()


def without(images, image, tops, pitch):
    """A picture with white where rows of images have to be: unchanged, at most enlarged; and by how much they are."""
    rest, (_, columns, height, width, _) = image.copy(), images.shape
    factor = (pitch - 2) // width
    assert image.shape[1] == columns * pitch + 2
    pixels = ((images.clip(-1, 1) + 1) * 127.5).round().astype(np.uint8).repeat(factor, 2).repeat(factor, 3)
    for row, top in enumerate(tops):
        for column in range(columns):
            left = 2 + pitch * column
            place = (slice(top, top + factor * height), slice(left, left + factor * width))
            np.testing.assert_array_equal(image[place], pixels[row, column].reshape(image[place].shape))
            rest[place] = 255
    return rest, factor


def dark(part):
    return part.reshape(*part.shape[:2], -1).max(-1) < 128


@pytest.mark.parametrize("size", [(16, 16, 3), (32, 32, 1), (20, 7, 3), (7, 20, 1), (200, 150, 3)])
def test_captions_are_below_their_images_which_stay_as_they_are(tmp_path, size):
    images = np.ones((6, *size))
    images[:5] = np.random.default_rng(0).uniform(-1.2, 1.2, (5, *size))
    image = read(pictures.grid(tmp_path / "x.png", images[:5], SEVERAL))
    high, wide = (image.shape[0] - 2) // 2, (image.shape[1] - 2) // 3
    rest, factor = without(images.reshape(2, 3, *size), image, (2, 2 + high), wide)
    assert len(image) == 2 * high + 2 and factor * size[1] >= 128
    cells = [rest[row * high :, column * wide :][:high, :wide] for row in range(2) for column in range(3)]
    for cell in map(dark, cells):
        assert not cell[: 2 + factor * size[0]].any() and not cell[:, :2].any() and not cell[:, -4:].any()
    ink = [int(dark(cell).sum()) for cell in cells]
    assert ink[4] > ink[0] > ink[1] > ink[2] == ink[5] == 0 < ink[3]
    for cell in (cells[2], cells[5]):
        assert (cell == 255).all()


@pytest.mark.parametrize(("frames", "size"), [(1, (16, 16, 3)), (10, (16, 16, 3)), (10, (32, 32, 1)), (3, (90, 70, 3))])
def test_captions_of_a_film_are_below_each_pair_of_rows(tmp_path, frames, size):
    noisy, estimates = np.random.default_rng(0).uniform(-1.2, 1.2, (2, frames, 5, *size))
    image = read(pictures.film(tmp_path / "x.png", noisy, estimates, SEVERAL))
    high, wide = (image.shape[0] - 2 + pictures.APART) // 5, (image.shape[1] - 2) // frames
    row = (wide - 2) // size[1] * size[0] + 2
    pairs = np.stack([noisy, estimates]).transpose(2, 0, 1, 3, 4, 5).reshape(10, frames, *size)
    rest, _ = without(pairs, image, [2 + number * high + kind * row for number in range(5) for kind in range(2)], wide)
    assert len(image) == 5 * high - pictures.APART + 2 and frames * wide > 128
    strips = [rest[number * high :][:high] for number in range(5)]
    assert all((strip[: 2 * row] == 255).all() for strip in strips)
    ink = [int(dark(strip).sum()) for strip in strips]
    assert ink[4] > ink[0] > ink[1] > ink[2] == 0 < ink[3]


def test_one_caption_more_or_less_is_a_mistake(tmp_path):
    for number in (1, 3):
        with pytest.raises(ValueError, match=f"{number} captions for 2 images"):
            pictures.grid(tmp_path / "x.png", np.zeros((2, 8, 8, 1)), ["a"] * number)
        with pytest.raises(ValueError, match=f"{number} captions for 2 images"):
            pictures.film(tmp_path / "x.png", *np.zeros((2, 3, 2, 8, 8, 1)), captions=["a"] * number)
    assert not (tmp_path / "x.png").exists()


@pytest.mark.parametrize(("channels", "depth"), [(2, 2), (4, 3)])
def test_captions_of_channels_that_are_no_colours(tmp_path, channels, depth):
    image = read(pictures.grid(tmp_path / "x.png", np.ones((1, 32, 32, channels)), ["apple"]))
    assert image.ndim == depth and image.min() < 64


def test_a_grid_with_captions_is_a_small_file(tmp_path):
    random = np.random.default_rng(0)
    images = random.uniform(-1, 1, (64, 4, 4, 3)).repeat(8, 1).repeat(8, 2) + random.normal(0, 0.02, (64, 32, 32, 3))
    path = pictures.grid(tmp_path / "x.png", images, [SEVERAL[0]] * 64)
    assert path.stat().st_size < 300_000


@pytest.mark.parametrize(("told", "drawn"), [(1, 1), (1, 3), (3, 1), (3, 3), (2, 1)])
def test_what_was_told_is_to_the_left_of_what_was_drawn(told, drawn):
    random = np.random.RandomState(0)
    images, other = random.uniform(-1, 1, (2, 4, 6, drawn)), random.uniform(-1, 1, (2, 2, 3, told))
    shown = pictures.beside(images, [other])
    assert shown.shape == (2, 4, 6 + 1 + 6, 3 if 3 in (told, drawn) else 1)
    assert (shown[:, :, 6] == 1).all()
    np.testing.assert_array_equal(
        shown[:, ::2, 0:6:2],
        np.broadcast_to(other[..., :3] if told == 3 else other[..., :1], shown[:, ::2, 0:6:2].shape),
    )
    np.testing.assert_array_equal(shown[:, 1::2, 1:6:2], shown[:, ::2, 0:6:2])
    np.testing.assert_array_equal(shown[:, :, 7:], np.broadcast_to(images, shown[:, :, 7:].shape))


def test_of_several_all_are_shown_and_of_none_the_images_alone():
    images = np.zeros((2, 4, 4, 3))
    assert pictures.beside(images, []) is images
    assert pictures.beside(images, [np.ones((2, 8, 4, 1)), np.ones((2, 4, 4, 3))]).shape == (2, 4, 2 + 1 + 4 + 1 + 4, 3)
