"""Pictures side by side: the rows are the runs' own images, in the groups' order."""

import numpy as np
from PIL import Image

from ddpm_jax.reporting import strips
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
    images = np.random.default_rng(0).integers(0, 17, (64, 8, 8, 1)).astype(np.uint8)
    images[0, 0, 0] = 16
    scaled = images / 16 * 2 - 1
    pictures.grid(a / "samples.png", scaled)
    (b / "samples").mkdir()
    np.savez(b / "samples" / "seed0.npz", images=images)
    path = tmp_path / "all.png"
    assert strips.samples(path, groups) == ["a", "b"]
    wanted = pictures.tile(scaled[None, :16])
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


def test_pictures_with_captions_keep_them_in_a_report(tmp_path, fabricate):
    (a,), groups = made(tmp_path, fabricate, ["a"])
    draw, captions = np.random.default_rng(0), ["a lime left of two apples", "", "a plum"]
    pictures.grid(a / "samples.png", draw.uniform(-1, 1, (64, 4, 4, 3)), [*captions, *[""] * 61])
    pictures.film(a / "film.png", *draw.uniform(-1, 1, (2, 5, 6, 4, 4, 3)), captions=captions * 2)
    for name, show, share in (("samples", strips.samples, 8), ("film", strips.films, 6)):
        whole = np.asarray(Image.open(a / f"{name}.png"))
        first = whole[: (len(whole) - 2) // share + 2]
        assert (first[-20:].max(-1) < 128).any()  # the caption
        assert show(tmp_path / "all.png", groups) == ["a"]
        row, width = row_of(tmp_path / "all.png", 0, len(first))[:, : -strips.GAP], first.shape[1]
        right = width - 2 if name == "samples" else 0  # where the second row of a grid stands
        np.testing.assert_array_equal(row[:, -width - right :][:, :width], first)


def test_nothing_to_show_writes_nothing(tmp_path, fabricate):
    (a,), groups = made(tmp_path, fabricate, ["a"])
    (a / "film.png").write_bytes(b"\x89PNG\r\n\x1a\n cut off")
    (a / "samples").mkdir()
    (a / "samples" / "seed0.npz").write_bytes(b"PK")
    assert strips.films(tmp_path / "films.png", groups) == strips.samples(tmp_path / "samples.png", groups) == []
    assert not (tmp_path / "films.png").exists() and not (tmp_path / "samples.png").exists()


def test_a_large_picture_is_made_to_fit(tmp_path, fabricate):
    folders, groups = made(tmp_path, fabricate, [f"run {i}" for i in range(12)])
    noise = np.random.default_rng(0).uniform(-1, 1, (64, 32, 32, 3))
    for folder in folders:
        pictures.grid(folder / "samples.png", noise)
    assert len(strips.samples(tmp_path / "all.png", groups)) == 12
    assert (tmp_path / "all.png").stat().st_size <= 300_000
    Image.open(tmp_path / "all.png").load()
