"""Pictures side by side: the rows are the runs' own images, in the groups' order."""

import numpy as np
import pytest
from PIL import Image

from ddpm_jax.reporting import images, strips
from ddpm_jax.reporting.groups import group
from ddpm_jax.reporting.ledger import read
from ddpm_jax.runs import pictures


def made(tmp_path, fabricate, names):
    folders = [fabricate(tmp_path / name, name=name, bits=2.0 + i) for i, name in enumerate(names)]
    return folders, group([read(folder) for folder in folders])[0]


def row_of(path, number, height):
    """The pixels of a row of a picture, from the right end of its labels on."""
    canvas = np.asarray(Image.open(path).convert("RGB"))
    top = strips.GAP + number * (height + strips.GAP)
    return canvas[top : top + height]


def test_rows_are_samples_from_either_file(tmp_path, fabricate):
    (a, b, _), groups = made(tmp_path, fabricate, ["a", "b", "c"])
    levels = np.random.default_rng(0).integers(0, 17, (64, 8, 8, 1)).astype(np.uint8)
    levels[0, 0, 0] = 16
    scaled = levels / 16 * 2 - 1
    pictures.grid(a / "samples.png", scaled)
    (b / "samples").mkdir()
    np.savez(b / "samples" / "seed0.npz", images=levels)
    path = tmp_path / "all.png"
    assert strips.samples(path, groups) == ["a", "b"]
    wanted = pictures.tile(scaled[None, :16]).repeat(2, 0).repeat(2, 1)  # as large as the page has room for
    for number in range(2):
        row = row_of(path, number, len(wanted))
        np.testing.assert_array_equal(row[:, -wanted.shape[1] - strips.GAP : -strips.GAP, 0], wanted[..., 0])


def test_films_show_the_first_image_s_two_rows(tmp_path, fabricate):
    (a,), groups = made(tmp_path, fabricate, ["a"])
    noisy, estimates = np.random.default_rng(0).uniform(-1, 1, (2, 5, 6, 8, 8, 3))
    pictures.film(a / "film.png", noisy, estimates)
    assert strips.films(tmp_path / "all.png", groups) == ["a"]
    wanted = pictures.tile(np.stack([noisy[:, 0], estimates[:, 0]]))
    row = row_of(tmp_path / "all.png", 0, len(wanted))
    np.testing.assert_array_equal(row[:, -wanted.shape[1] - strips.GAP : -strips.GAP], wanted)


def test_films_keep_their_times_and_those_of_earlier_versions_are_cut_as_they_were_made(tmp_path, fabricate):
    (a, b), groups = made(tmp_path, fabricate, ["a", "b"])
    noisy, estimates = np.random.default_rng(0).uniform(-1, 1, (2, 5, 6, 8, 8, 3))
    pictures.film(a / "film.png", noisy, estimates, times=[1.0, 0.8, 0.6, 0.4, 0.2])
    pairs = np.stack([noisy, estimates], 1)  # rows that were all alike, and nothing else in the file
    pictures.save(b / "film.png", pictures.tile(np.moveaxis(pairs, (2, 1), (0, 1)).reshape(12, 5, 8, 8, 3)))
    pair = pictures.tile(np.stack([noisy[:, 0], estimates[:, 0]]))
    later, earlier = images.film(a), images.film(b)
    np.testing.assert_array_equal(earlier, pair)
    np.testing.assert_array_equal(later[-len(pair) :, -pair.shape[1] :], pair)
    assert (later[: -len(pair)] < 128).any()  # the times
    assert strips.films(tmp_path / "all.png", groups) == ["a", "b"]


def test_pictures_with_captions_keep_them_in_a_report(tmp_path, fabricate):
    (a,), groups = made(tmp_path, fabricate, ["a"])
    draw, captions = np.random.default_rng(0), ["a lime left of two apples", "", "a plum"]
    pictures.grid(
        a / "samples.png", draw.uniform(-1, 1, (64, 4, 4, 3)), [*captions, *[""] * 5, captions[0], *[""] * 55]
    )
    pictures.film(a / "film.png", *draw.uniform(-1, 1, (2, 5, 6, 4, 4, 3)), captions=captions * 2)
    for name, show, share in (("samples", strips.samples, 4), ("film", strips.films, 6)):  # samples are two rows of 8
        whole = np.asarray(Image.open(a / f"{name}.png"))
        apart = pictures.APART if name == "film" else 0
        first = whole[: (len(whole) - 2 + apart) // share - apart + 2]
        assert (first[-20:].max(-1) < 128).any()  # the caption
        assert show(tmp_path / "all.png", groups) == ["a"]
        row = row_of(tmp_path / "all.png", 0, len(first))[:, : -strips.GAP]
        np.testing.assert_array_equal(row[:, -first.shape[1] :], first)


def test_nothing_to_show_writes_nothing(tmp_path, fabricate):
    (a,), groups = made(tmp_path, fabricate, ["a"])
    (a / "film.png").write_bytes(b"\x89PNG\r\n\x1a\n cut off")
    (a / "samples").mkdir()
    (a / "samples" / "seed0.npz").write_bytes(b"PK")
    assert strips.films(tmp_path / "films.png", groups) == strips.samples(tmp_path / "samples.png", groups) == []
    assert not (tmp_path / "films.png").exists() and not (tmp_path / "samples.png").exists()


@pytest.mark.slow
def test_a_large_picture_is_made_to_fit(tmp_path, fabricate):
    folders, groups = made(tmp_path, fabricate, [f"run {i}" for i in range(12)])
    noise = np.random.default_rng(0).uniform(-1, 1, (64, 32, 32, 3))
    for folder in folders:
        pictures.grid(folder / "samples.png", noise)
    assert len(strips.samples(tmp_path / "all.png", groups)) == 12
    assert (tmp_path / "all.png").stat().st_size <= 300_000
    Image.open(tmp_path / "all.png").load()
