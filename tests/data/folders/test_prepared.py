"""Pictures that were prepared are those of the folder, read a few at a time; what was cut off is none."""

import json

import numpy as np
import pytest

from ddpm_jax import data
from ddpm_jax.data import sources
from ddpm_jax.errors import UserError
from ddpm_jax.prepare import main as prepare
from tests.data.folders.examples import line_of, load, refused


@pytest.fixture
def pictures(draw, table):
    """40 pictures with a class and a caption."""
    root = draw([f"{number}.png" for number in range(40)], (12, 9))
    rows = [
        {"file_name": f"{number}.png", "label": ("oak", "ash")[number % 2], "text": f"tree {number}"}
        for number in range(40)
    ]
    table(root / "metadata.csv", rows)
    return root


@pytest.fixture
def done(pictures, tmp_path):
    prepare([str(pictures), f"--output={tmp_path / 'done'}", "--size=8"])
    return tmp_path / "done"


def test_it_is_the_folders_own_data(pictures, done):
    before, after = load(pictures, size=8), load(done)
    assert after.description == before.description
    assert after.description.class_names == ("ash", "oak")
    for split in before.sources:
        images, conditions = before.split(split).arrays()
        found, known = after.split(split).arrays()
        np.testing.assert_array_equal(found, images)
        assert list(known) == list(conditions) == ["label", "text"]
        for name, values in conditions.items():
            np.testing.assert_array_equal(known[name], values)
            assert known[name].dtype == values.dtype
    assert data.difference(data.fingerprint(before), data.fingerprint(after)) is None
    assert sorted(path.name for path in done.iterdir()) == sorted(
        ["prepared.json", *(f"{split}.array_record" for split in before.sources)]
    )


def test_batches_are_streamed_and_a_split_is_not_held(done, monkeypatch):
    source = load(done).split("train")
    monkeypatch.setattr(sources.Source, "arrays", lambda *_: pytest.fail("a split was held"))
    batches = data.host_batches(source, seed=0, batch=5)
    steps = len(source) // 5
    found = np.concatenate([batch["row"] for batch in data.prefetch(batches, 0, steps, threads=2)])
    assert len(set(found.tolist())) == 5 * steps
    batch = batches[1]
    np.testing.assert_array_equal(batch["image"], source.rows(batch["row"])["image"])


def test_words_of_splits(done):
    whole = load(done)
    images = whole.split("train").arrays()[0]
    part = load(done, {"train": "train[:10]", "validation": "train[10:]", "test": "test"})
    np.testing.assert_array_equal(part.split("train").arrays()[0], images[:10])
    np.testing.assert_array_equal(part.split("validation").arrays()[0], images[10:])
    prints = [data.fingerprint(one)["splits"] for one in (whole, part)]
    assert prints[0]["train"]["content"] != prints[1]["train"]["content"]
    assert prints[0]["test"] == prints[1]["test"]
    assert "data.splits.train" in refused(load, done, {"train": "trian"})


def test_options_of_a_config_must_be_those_of_the_preparation(done):
    assert load(done, size=8, channels=3).sizes == load(done).sizes
    for name, value in (("size", 16), ("channels", 1), ("background", "black"), ("held_out", 0.2), ("split_seed", 1)):
        line = refused(load, done, **{name: value})
        assert line.startswith(f"config.data.{name}: is {value!r}") and "leave it out" in line


def test_arrays_are_prepared_too(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (50, 4, 4, 1)).astype(np.uint8)
    np.savez(tmp_path / "a.npz", images=images, labels=np.arange(50) % 2)
    prepare([str(tmp_path / "a.npz"), f"--output={tmp_path / 'done'}"])
    before, after = load(tmp_path / "a.npz"), load(tmp_path / "done")
    np.testing.assert_array_equal(before.split("train").arrays()[0], after.split("train").arrays()[0])
    assert data.difference(data.fingerprint(before), data.fingerprint(after)) is None


@pytest.mark.parametrize("damage", ["missing", "empty", "half", "a bit", "another"])
def test_files_that_were_damaged(damage, done):
    file = done / "train.array_record"
    content = bytearray(file.read_bytes())
    if damage == "missing":
        file.unlink()
    elif damage == "another":
        file.write_bytes((done / "test.array_record").read_bytes())
    elif damage == "a bit":
        content[2000] ^= 4
        file.write_bytes(content)
    else:
        file.write_bytes(content[: len(content) // 2 if damage == "half" else 0])
    with pytest.raises(UserError, match="prepare the pictures again") as caught:
        load(done).split("train").arrays()
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("content", ["", "{", "[]", '{"format": 1}', '{"format": 2, "checksum": "0"}'])
def test_a_description_that_was_damaged(content, done):
    (done / "prepared.json").write_text(content)
    assert "prepare the pictures again" in refused(load, done)


def test_a_flipped_bit_in_the_description_is_seen(done):
    text = (done / "prepared.json").read_text()
    changed = json.loads(text)
    changed["splits"]["train"]["images"] -= 1
    (done / "prepared.json").write_text(json.dumps(changed))
    assert "prepare the pictures again" in refused(load, done)


def test_what_the_command_refuses(pictures, done, tmp_path, draw):
    new = f"--output={tmp_path / 'new'}"
    for words, line in (
        ([str(pictures), f"--output={done}"], "--output: "),
        ([str(tmp_path / "none"), new], "there is no folder"),
        ([str(done), new], f"{done} is prepared already"),
        ([str(pictures), new, "--channels=2"], "--channels: "),
        ([str(pictures), new, "--held_out=0.5"], "--held_out: 0.5 is not in (0, 0.5)"),
        ([str(pictures), new, "--background=wihte"], "--background: 'wihte' is no colour"),
        ([str(pictures), new, "--size=-1"], "--size: "),
    ):
        assert line_of(prepare, words).startswith(line)
    draw({"10.png": (20, 20)})
    assert line_of(prepare, [str(pictures), new]).startswith("--size: the pictures in")
    (pictures / "11.png").write_bytes(b"x")
    line = line_of(prepare, [str(pictures), new, "--size=8"])
    assert "11.png" in line and line.endswith("or set --skip_bad")
    assert not (tmp_path / "new").exists()
    prepare([str(pictures), new, "--size=8", "--skip_bad"])
    assert sum(load(tmp_path / "new").sizes.values()) == 39
