"""A run on the page, without the page: what is drawn, for several at once, and what cannot be."""

import shutil
import threading

import numpy as np
import pytest

from ddpm_jax import runs
from ddpm_jax.errors import UserError
from ddpm_jax.page.removal import Removal
from ddpm_jax.page.studio import EXAMPLES, Studio, Wish, plain, png

pytestmark = pytest.mark.slow
HALF = np.zeros((64, 64), bool)
HALF[:, :30] = True


@pytest.fixture(scope="module")
def studio(trained):
    return Studio(runs.read_config(trained), trained)


def end(seen):
    *_, last = seen
    return last


def test_it_says_what_it_is_doing_before_a_picture_comes(studio):
    first, *_, last = studio.draw(Wish(seed=1, steps=3))
    assert first.picture is None and "compiling" in first.words
    assert "step 3 of 3" in last.words and last.picture.shape[-1] == 3
    again, *_ = studio.draw(Wish(seed=2, steps=3))
    assert "compiling" not in again.words


def test_a_seed_draws_what_the_run_draws(studio):
    wish = Wish(seed=4, count=3, label="7", guidance=1.0, sampler="ddim")  # which draws nothing on its way
    drawn = end(studio.draw(wish)).picture
    images = studio._as_wished(wish).sample(3, seed=4, label=7)
    shown = np.asarray(studio.run.model.description.encode(images))
    cells = drawn[2 : 2 + 128, 2:].reshape(128, 3, 130, 3)[:, :, :128, 0]  # the upper row, without gaps
    small = cells[::16, :, ::16].transpose(1, 0, 2)
    np.testing.assert_allclose(small, np.round((shown[..., 0] + 1) * 127.5), atol=16)  # a level


def test_settings_that_were_drawn_with_do_not_serve_others(studio):
    """Where nothing is asked nothing is guided: what was compiled for that is not for a class, nor the reverse."""
    wishes = [Wish(guidance=2.0), Wish(guidance=2.0, label="7"), Wish(guidance=2.0), Wish(guidance=1.0, label="7")]
    words = [end(studio.draw(wish)).words for wish in wishes]
    assert [int(one.split(": ")[1].split()[0]) for one in words] == [2, 4, 2, 2]


def test_many_draw_at_once_what_each_would_draw_alone(studio):
    wishes = [Wish(seed=seed, label=str(seed)) for seed in range(4)]
    alone, found = [end(studio.draw(wish)).picture for wish in wishes], [None] * 4

    def draw(number):
        found[number] = end(studio.draw(wishes[number])).picture

    threads = [threading.Thread(target=draw, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for one, other in zip(alone, found, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_hole_is_filled_and_the_rest_stays(studio):
    own = studio.example(5)
    last = end(studio.fill(Wish(count=2), own, HALF)).picture
    row = last[2 : 2 + 128].reshape(128, -1, 3)[:, 2 : 2 + 128, 0][::16, ::16]
    before = np.round((np.asarray(studio.run.model.description.encode(own.levels))[..., 0] + 1) * 127.5)
    np.testing.assert_allclose(row[:, 4:], before[:, 4:], atol=1)
    assert np.any(row[:, :4] != before[:, :4])


def test_a_picture_of_ones_own_is_brought_and_varied(studio):
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    brought = studio.brought(pixels)
    assert brought.levels.shape == (8, 8, 1) and brought.own.shape == (40, 60, 3)
    assert end(studio.fill(Wish(steps=8), brought, np.zeros((40, 60), bool), strength=0.5)).picture is not None


@pytest.mark.parametrize(
    ("wish", "line"),
    [
        (Wish(count=0), "count: 0 is not one of 1"),
        (Wish(count=1000), "count: 1000 is not one of 1"),
        (Wish(seed=-1), "seed: -1 is not a whole number"),
        (Wish(steps=10**9), "steps: 1000000000 is not one of"),
        (Wish(sampler="cached"), "sampler"),
        (Wish(sampler="nothing"), "sampler"),
        (Wish(label="12"), "label: 12 is not one of"),
        (Wish(guidance=-3.0, label="7"), "guidance"),
    ],
    ids=lambda value: "" if isinstance(value, str) else repr(value)[:60],
)
def test_what_cannot_be_is_a_line_without_options(studio, wish, line):
    with pytest.raises(UserError) as caught:
        list(studio.draw(wish))
    words = plain(caught.value)
    assert words.startswith(line) and "--" not in words and "config." not in words


def test_nothing_painted_is_said(studio):
    with pytest.raises(UserError, match="nothing is painted"):
        list(studio.fill(Wish(), studio.example(0), np.zeros((8, 8), bool)))
    with pytest.raises(UserError, match="nothing is known"):
        list(studio.fill(Wish(), studio.example(0), np.ones((8, 8), bool)))


def test_a_folder_that_vanishes_is_not_missed(trained, tmp_path):
    copy = shutil.copytree(trained, tmp_path / "copy")
    studio = Studio(runs.read_config(copy), copy)
    shutil.rmtree(copy)
    assert end(studio.draw(Wish())).picture is not None
    assert end(studio.fill(Wish(), studio.example(1), HALF)).picture is not None


def test_the_samplers_offered_all_draw(studio):
    assert {"unipc", "heun", "first_order"} <= set(studio.samplers) and "cached" not in studio.samplers
    for name in ("heun", "ddpm"):
        assert end(studio.draw(Wish(sampler=name, steps=3, count=1))).picture is not None


def test_what_is_removed_grows_with_time_along_one_path(studio):
    removal = Removal(studio)
    x, small, same, much = (removal._looked(3, np.array([removal.nearest(t)]), 0, False) for t in (0.1, 0.1, 0.1, 0.9))
    np.testing.assert_array_equal(small[1][0], same[1][0])
    image = x[0]
    near, far = (np.abs(one[1][0][0] - image).mean() for one in (small, much))
    assert near < far
    seen = removal.at(3, 0.9, 0, True)
    assert abs(removal.grid[removal.nearest(0.9)] - 0.9) < 0.02 and seen.picture.shape == (132, 392, 3)
    assert removal.film(3, 0, False).picture.shape[0] == 2 * 130 + 2


def test_an_example_that_there_is_not_is_a_line(studio):
    with pytest.raises(UserError, match="test images here"):
        studio.example(EXAMPLES)


def test_a_picture_goes_through_a_file_unchanged(studio):
    pixels = np.random.default_rng(1).integers(0, 256, (8, 8, 1), dtype=np.uint8)
    levels = studio.brought(pixels).levels
    np.testing.assert_array_equal(levels, np.round(pixels / 255 * 16))
    assert png(pixels)[1:4] == b"PNG"


def test_the_page_edits_the_test_image_itself(studio):
    """What is shown to paint on is it enlarged; unpainted pixels are its own, to the level."""
    gradio = pytest.importorskip("gradio", reason="needs the extra `demo`")
    from ddpm_jax.page.layout import Fill, canvas

    assert gradio
    painted = canvas(studio, 7)
    layer = np.zeros_like(painted["background"])
    layer[:160, :, 3] = 255
    *_, (picture, _) = Fill(studio).shown({**painted, "layers": [layer]}, 7, 1.0, 0, 1, "", 0, None, "", "", None)
    row = picture[2 : 2 + 128, 2 : 2 + 128, 0][::16, ::16]
    before = np.round((np.asarray(studio.run.model.description.encode(studio.example(7).levels))[..., 0] + 1) * 127.5)
    np.testing.assert_allclose(row[4:], before[4:], atol=1)


def test_wrong_numbers_of_the_slider_are_a_line(studio):
    pytest.importorskip("gradio", reason="needs the extra `demo`")
    from ddpm_jax.page.layout import Look

    look = Look([Removal(studio)])
    assert look.at(0, 0.5, 10**20, False)[1].startswith("error: seed")
    assert look.at(99.0, 0.5, 0, False)[1].startswith("error: there are")
    assert look.at(None, None, None, False)[1].startswith("t = ")


def test_a_sketch_comes_to_the_network_as_it_was_drawn(told_run):
    """Black lines on nothing, as the page gives them, are black on white in the size of what is told."""
    pytest.importorskip("gradio", reason="needs the extra `demo`")
    from ddpm_jax.page.layout import Follow, opaque

    studio = Studio(runs.read_config(told_run), told_run)
    assert studio.sketched == "edges"
    drawn = np.zeros((320, 320, 4), np.uint8)
    drawn[:, 100:120, 3] = 255
    sketch = studio.sketch(opaque(drawn))
    assert sketch.shape == (16, 16, 1)
    np.testing.assert_array_equal(sketch[..., 0] == 0, np.broadcast_to(np.arange(16) == 5, (16, 16)))
    assert set(np.unique(sketch)) == {0, 255}
    *_, (picture, words) = Follow(studio).shown({"composite": drawn}, 0, 1, "", 0, None, "", "", None)
    assert "evaluations" in words and picture.ndim == 3
