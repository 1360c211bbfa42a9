import io

import numpy as np
import pytest
from PIL import Image

from ddpm_jax.data.folders.decoding import Form, Unreadable, decode, measure

GENERATOR = np.random.default_rng(0)
RGB = GENERATOR.integers(0, 256, (6, 9, 3)).astype(np.uint8)
GREY = RGB[..., 0]


def written(image, kind="PNG", **options):
    """The bytes of a file."""
    content = io.BytesIO()
    image.save(content, kind, **options)
    return content.getvalue()


def pixels(content, **form):
    return decode(content, Form(**form)).pixels


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM", "WEBP"])
def test_what_keeps_every_level_is_read_as_it_is(kind):
    options = {"lossless": True} if kind == "WEBP" else {}
    np.testing.assert_array_equal(pixels(written(Image.fromarray(RGB), kind, **options)), RGB)
    found = pixels(written(Image.fromarray(GREY), kind, **options), channels=1)
    np.testing.assert_array_equal(found[..., 0], GREY)


def test_what_loses_some_is_near():
    smooth = np.linspace(0, 255, 32 * 32).reshape(32, 32).astype(np.uint8)
    found = pixels(written(Image.fromarray(smooth), "JPEG", quality=95), channels=1)[..., 0]
    assert np.abs(found.astype(int) - smooth).max() < 8


TURNED = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a.swapaxes(0, 1)[::-1, ::-1],
    8: lambda a: np.rot90(a, 1),
}
"""What a viewer does for each value of EXIF's orientation: the picture is to be looked at as it was taken."""


@pytest.mark.parametrize("value", TURNED)
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_pictures_are_the_right_way_up(value, kind):
    exif = Image.Exif()
    exif[0x0112] = value
    content = written(Image.fromarray(RGB), kind, exif=exif)
    upright = TURNED[value](RGB)
    found = decode(content, Form())
    np.testing.assert_array_equal(found.pixels, upright)
    assert found.size == measure(content) == upright.shape[1::-1]


def test_a_photograph_on_its_side_is_cut_in_its_middle():
    """Sixteen columns, white in the four in the middle, are rows once it is turned."""
    wide = np.zeros((8, 16, 3), np.uint8)
    wide[:, 6:10] = 255
    exif = Image.Exif()
    exif[0x0112] = 6
    found = pixels(written(Image.fromarray(wide), "JPEG", quality=100, subsampling=0, exif=exif), size=8)
    assert (found[2:6] > 200).all() and (found[[0, 7]] < 50).all()


@pytest.mark.parametrize("background", [(255, 255, 255), (0, 0, 0), (200, 10, 30)])
def test_alpha_is_laid_on_the_background(background):
    """c = (a f + (255 - a) b)/255, to the nearest level."""
    alpha = np.arange(54, dtype=np.uint8).reshape(6, 9, 1) * 4
    content = written(Image.fromarray(np.concatenate([RGB, alpha], -1)))
    a = alpha / 255.0
    truth = a * RGB + (1 - a) * np.array(background)
    found = pixels(content, background=background)
    assert np.abs(found - truth).max() <= 1
    np.testing.assert_array_equal(found[0, 0], background)  # where alpha is 0
    np.testing.assert_array_equal(pixels(content, channels=4)[..., 3], alpha[..., 0])


def test_what_is_transparent_has_no_part_in_what_is_resized():
    """A white disc in a red that nobody sees: no red is left at its edge."""
    picture = np.zeros((32, 32, 4), np.uint8)
    picture[..., 0] = 255
    y, x = np.mgrid[:32, :32] - 15.5
    picture[x**2 + y**2 < 100] = 255
    content = written(Image.fromarray(picture))
    black = pixels(content, size=8, background=(0, 0, 0))
    assert (black[..., 0] == black[..., 1]).all()
    kept = pixels(content, size=8, channels=4)
    assert (kept[kept[..., 3] > 0] >= 250).any() and (kept[kept[..., 3] > 10][:, 1] > 240).all()


def test_palettes_and_their_transparent_colour():
    image = Image.fromarray(GREY % 3).convert("P")
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255] + [0] * 759)
    colours = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255]])
    np.testing.assert_array_equal(pixels(written(image)), colours[GREY % 3])
    found = pixels(written(image, transparency=1), background=(7, 8, 9))
    colours[1] = (7, 8, 9)
    np.testing.assert_array_equal(found, colours[GREY % 3])


def test_of_several_pictures_the_first_is_taken():
    frames = [Image.fromarray(np.full((8, 8), value, np.uint8)) for value in (10, 200)]
    for kind, options in (("GIF", {}), ("WEBP", {"lossless": True}), ("TIFF", {}), ("PNG", {})):
        content = written(frames[0], kind, save_all=True, append_images=frames[1:], **options)
        assert (pixels(content) == 10).all(), kind


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_become_eight(kind):
    """v/257, so that both ends stay; Pillow alone would cut at 255."""
    deep = np.array([[0, 128, 129, 257], [32768, 65278, 65406, 65535]], np.uint16)
    found = pixels(written(Image.fromarray(deep), kind), channels=1)[..., 0]
    np.testing.assert_array_equal(found, np.rint(deep / 257))
    assert found.max() == 255


def test_one_bit_and_inks():
    np.testing.assert_array_equal(pixels(written(Image.fromarray(GREY > 99)), channels=1)[..., 0], (GREY > 99) * 255)
    inks = np.zeros((2, 2, 4), np.uint8)
    inks[0, 0, 0], inks[0, 1, 3] = 255, 255  # all cyan, all black; the rest is paper
    found = pixels(written(Image.fromarray(inks, "CMYK"), "TIFF"))
    np.testing.assert_array_equal(found, [[[0, 255, 255], [0, 0, 0]], [[255, 255, 255], [255, 255, 255]]])


def disc(height, width, radius):
    y, x = np.mgrid[:height, :width]
    inside = (x - (width - 1) / 2) ** 2 + (y - (height - 1) / 2) ** 2 < radius**2
    return np.repeat((inside * 255).astype(np.uint8)[..., None], 3, -1)


@pytest.mark.parametrize(("height", "width"), [(60, 60), (60, 140), (140, 60), (61, 84), (640, 500), (20, 32)])
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_disc_stays_a_disc_in_the_middle(height, width, kind):
    """Its light spreads as far along both axes, and as far as the shorter side's factor says."""
    short = min(height, width)
    content = written(Image.fromarray(disc(height, width, short / 3)), kind, quality=95)
    found = pixels(content, size=32, channels=1)[..., 0] / 255.0
    assert found.shape == (32, 32)
    places = np.arange(32) - 15.5
    weights = found.sum(0), found.sum(1)
    means = [(weight * places).sum() / weight.sum() for weight in weights]
    spreads = [np.sqrt((weight * places**2).sum() / weight.sum()) for weight in weights]
    np.testing.assert_allclose(means, 0, atol=0.05)
    np.testing.assert_allclose(spreads[0], spreads[1], rtol=0.01)
    np.testing.assert_allclose(spreads, 32 / 3 / 2, rtol=0.02)  # a disc of radius r has r/2 along an axis


def test_what_is_too_fine_becomes_grey_and_no_pattern():
    """Stripes a pixel wide: what is not antialiased keeps some of them."""
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    found = pixels(written(Image.fromarray(stripes)), size=16)
    assert np.abs(found[:, 2:-2].astype(int) - 127).max() <= 2


def test_a_picture_of_that_size_is_left_alone():
    square = RGB[:, :6]
    np.testing.assert_array_equal(pixels(written(Image.fromarray(square)), size=6), square)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "TIFF"])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.9])
def test_what_is_cut_off_is_no_picture(kind, share):
    noise = Image.fromarray(GENERATOR.integers(0, 256, (64, 64)).astype(np.uint8))
    content = written(noise, kind)
    with pytest.raises(Unreadable) as caught:
        decode(content[: int(share * len(content))], Form(size=16))
    assert str(caught.value) and "\n" not in str(caught.value) and len(str(caught.value)) <= 100


@pytest.mark.parametrize(
    "content", [b"", b"hello", b"\0" * 100, b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", b"\x89PNG\r\n\x1a\n"]
)
def test_what_is_no_picture_says_so(content):
    for look in (lambda content: decode(content, Form()), measure):
        with pytest.raises(Unreadable):
            look(content)


def test_numbers_without_a_highest_are_refused():
    for numbers in (np.zeros((4, 4), np.float32), np.zeros((4, 4), np.int32)):
        with pytest.raises(Unreadable, match="8 or 16 bits"):
            pixels(written(Image.fromarray(numbers), "TIFF"))
