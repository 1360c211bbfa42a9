"""The command that edits: what is known comes back, pictures of one's own, and wrong input in one line."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ddpm_jax.data.folders.decoding import Form, decode
from ddpm_jax.edit import main as edit
from ddpm_jax.errors import UserError

pytestmark = pytest.mark.slow


@pytest.fixture
def pictures(tmp_path, monkeypatch):
    """A working folder with pictures and masks of several kinds."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    colours = Image.fromarray(rng.integers(0, 256, (60, 100, 3), dtype=np.uint8))
    colours.save("colour.png")
    colours.convert("P").save("palette.png")
    colours.convert("CMYK").save("cmyk.jpg")
    Image.fromarray(rng.integers(0, 2**16, (60, 100), dtype=np.uint16)).save("sixteen.png")
    Image.fromarray(rng.integers(0, 256, (60, 100, 4), dtype=np.uint8)).save("alpha.png")
    white = np.zeros((60, 100), np.uint8)
    for name, pixels in (("nothing", white), ("everything", white + 255)):
        Image.fromarray(pixels).save(f"{name}.png")
    white[:, 50:] = 255
    Image.fromarray(white).save("mask.png")
    Image.fromarray(white[:30]).save("small.png")
    (tmp_path / "text.png").write_text("no picture")
    Image.new("1", (20_000, 20_000)).save("vast.png")  # 400 megapixels in some 50 kB


def result(name):
    with np.load(f"{name}.npz") as found:
        return dict(found)


@pytest.mark.parametrize("method", ["replacement", "tmpd", "pigdm", "dps"])
def test_what_is_known_comes_back_to_the_bit(trained, pictures, method):
    edit([f"--workdir={trained}", "--image=test:3", "--mask=left", f"--method={method}", "--output=out"])
    found = result("out")
    known = np.broadcast_to(found["known"], found["image"].shape)
    assert known.sum() == known.size / 2
    assert np.all(found["images"][:, known] == found["image"][known])
    assert np.any(found["images"][:, ~known] != found["image"][~known])
    assert Image.open("out.png").width > 100


@pytest.mark.parametrize("name", ["colour.png", "palette.png", "cmyk.jpg", "sixteen.png", "alpha.png"])
def test_a_picture_of_ones_own_stays_as_it_is_outside_the_mask(trained, pictures, name):
    edit([f"--workdir={trained}", f"--image={name}", "--mask=mask.png", "--count=1", "--output=out"])
    whole = np.asarray(Image.open("out_pasted.png"))
    before = decode(Path(name).read_bytes(), Form(0, 3)).pixels
    assert whole.shape == before.shape == (60, 100, 3)
    np.testing.assert_array_equal(whole[:, :50], before[:, :50])  # black in the mask
    np.testing.assert_array_equal(whole[:, 80:], before[:, 80:])  # beyond the middle square
    assert np.any(whole[:, 50:80] != before[:, 50:80])


def test_a_thin_line_of_a_mask_is_drawn_whole(trained, pictures):
    """A scratch far thinner than the run's pixels: all of it is new, and nothing beside it."""
    line = np.zeros((60, 100), np.uint8)
    line[20:40, 52:54] = 255
    Image.fromarray(line).save("line.png")
    edit([f"--workdir={trained}", "--image=colour.png", "--mask=line.png", "--count=1", "--output=out"])
    whole, before = (np.asarray(Image.open(name)).astype(int) for name in ("out_pasted.png", "colour.png"))
    changed = (whole != before).any(-1)
    assert not changed[line == 0].any() and changed[line > 0].mean() > 0.9
    assert 0 < (~result("out")["known"]).sum() <= 8


def test_other_tasks_draw(trained, pictures):
    common = [f"--workdir={trained}", "--image=colour.png", "--count=3", "--output=out"]
    Image.fromarray(np.arange(16, dtype=np.uint8).reshape(4, 4) * 15).save("tiny.png")
    for words in (
        ["--task=variation", "--strength=0.6", "--label=7", "--guidance=2"],
        ["--task=restore", "--measure=averages:2"],
        ["--task=restore", "--measure=blur:1", "--method=tmpd", "--noise=0.1"],
        ["--task=restore", "--measure=projections:20"],
        ["--task=restore", "--measure=averages:2", "--measured", "--image=tiny.png"],
        ["--task=interpolate", "--other=test:0"],
        ["--mask=middle", "--jump=1", "--repeats=2", "--steps=4"],
    ):
        edit([*common, *words])
        assert result("out")["images"].shape == (3, 8, 8, 1)
        assert Image.open("out_film.png").width > 100


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--image=nowhere.png", "--mask=left"], "--image: nowhere.png cannot be read"),
        (["--image=text.png", "--mask=left"], "--image: text.png: it is no picture that Pillow reads"),
        (["--image=test:9999", "--mask=left"], "--image: test:9999: there are"),
        (["--image=tset:3", "--mask=left"], "--image: tset:3: there is no split 'tset'; did you mean 'test'?"),
        (["--image=colour.png"], "--mask is missing: --task=inpaint needs it"),
        (["--image=colour.png", "--mask=small.png"], "--mask: small.png is 100 x 30, the image 100 x 60"),
        (["--image=colour.png", "--mask=nothing.png"], "--mask: nothing.png is white nowhere"),
        (["--image=colour.png", "--mask=everything.png"], "--mask: everything.png is white everywhere"),
        (["--image=colour.png", "--mask=lft"], "--mask: 'lft' is neither a file nor a region; did you mean 'left'?"),
        (["--image=colour.png", "--task=inpant"], "--task: 'inpant' is none; did you mean 'inpaint'?"),
        (["--image=colour.png", "--mask=left", "--method=x"], "--method: 'x' is none"),
        (["--image=colour.png", "--task=variation", "--strength=0.01"], "--strength: 0.01 leaves no step"),
        (["--image=colour.png", "--task=variation", "--strength=2"], "--strength: 2.0 leaves no step"),
        (["--image=colour.png", "--task=restore"], "--measure is missing"),
        (["--image=colour.png", "--task=restore", "--measure=x"], "--measure: 'x' is none of averages:FACTOR"),
        (["--image=colour.png", "--task=restore", "--measure=averages:3"], "--measure: a factor of 3 does not divide"),
        (["--image=colour.png", "--task=restore", "--measure=projections:65"], "--measure: 65 projections of images"),
        (["--image=colour.png", "--task=restore", "--measure=grey", "--mask=left"], "--mask: it is for inpaint"),
        (["--image=colour.png", "--mask=left", "--strength=0.5"], "--strength: it is for --task=variation"),
        (["--image=colour.png", "--mask=left", "--prompt=a pear"], "--prompt: this model was trained with label"),
        (["--image=colour.png", "--task=interpolate", "--other=test:0", "--count=1"], "--count: the first result"),
        (["--image=colour.png", "--mask=left", "--method=tmpd", "--jump=2"], "--jump: jumps go with --method=replac"),
        (["--image=colour.png", "--mask=left", "--sampler=tsit5"], "--sampler: tsit5 cannot use a table"),
        (["--image=colour.png", "--mask=left", "--output=."], "--output: . is a folder"),
        (["--image=colour.png", "--mask=left", "--count=0"], "--count: 0 is not a whole number of at least 1"),
        (["--image=colour.png", "--task=follow"], "--task: the network is told label, and no picture to follow"),
        (["--image=colour.png", "--mask=left", "--candidates=9"], "--candidates: they are for holes and networks of"),
        (["--image=colour.png", "--mask=left", "--repeats=9"], "--repeats: it says how often stretches are walked"),
        (["--image=colour.png", "--mask=left", "--method=trained"], "--method: the network was not told what is known"),
        (["--image=colour.png", "--mask=left", "--measured"], "--measured: it is for --task=restore"),
        (["--image=test:0", "--task=restore", "--measure=blur:1", "--measured"], "--measured: test:0 is an image"),
        (
            ["--image=colour.png", "--task=restore", "--measure=projections:9", "--measured"],
            "--measured: what Projections gives is no picture",
        ),
        (["--image=vast.png", "--mask=left"], "--image: vast.png: "),
        (["--image=colour.png", "--mask=left", "--noise=0.1"], "--noise: it is of what is measured"),
        (["--image=colour.png", "--mask=left", "--negative=x"], "--negative: it needs a model of text"),
        (["--image=colour.png", "--mask=left", "--noise=0"], "--noise: 0.0 is not above 0"),
    ],
    ids=lambda words: " ".join(words)[:50] if isinstance(words, list) else "",
)
def test_wrong_input_is_one_line_and_leaves_nothing(trained, pictures, words, line):
    with pytest.raises(UserError) as caught:
        edit([f"--workdir={trained}", "--output=out", *words])
    assert str(caught.value).startswith(line) and "\n" not in str(caught.value)
    assert not list(Path().glob("out*"))


def test_a_run_that_is_told_pictures_follows_them_and_fills_holes(told_run, pictures):
    common = [f"--workdir={told_run}", "--count=2", "--output=out"]
    for words in (
        ["--image=test:3", "--task=follow", "--shows=edges"],
        ["--image=colour.png", "--task=follow", "--shows=edges", "--prompt=a red apple", "--negative=a pear"],
        ["--image=test:3", "--mask=left"],
        ["--image=colour.png", "--mask=mask.png", "--method=replacement", "--prompt=a red apple"],
    ):
        edit([*common, *words])
        found = result("out")
        assert found["images"].shape == (2, 16, 16, 3) and found["texts"].shape[0] == 2
        assert Image.open("out.png").width > 100
    known = np.broadcast_to(found["known"], found["image"].shape)
    assert np.all(found["images"][:, known] == found["image"][known])


def test_what_is_hidden_of_a_test_image_is_told_by_nothing(told_run, pictures):
    edit([f"--workdir={told_run}", "--image=test:3", "--mask=left", "--count=1", "--output=out"])
    assert not result("out")["edgess"].any()  # they were made of all of it
