"""A damaged file of a run is one line at the top of a report, and all else stands: every kind of damage, every file."""

import copy
import csv
import io
import json
import os
import random
import re
import shutil
import struct
import warnings
import zipfile
import zlib
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from ddpm_jax import files
from ddpm_jax.errors import UserError
from ddpm_jax.reporting import document, images, ledger, lines, plots, tables
from ddpm_jax.reporting.blocks import as_markdown
from ddpm_jax.reporting.groups import group
from ddpm_jax.reporting.writing import write
from ddpm_jax.runs import pictures

pytestmark = pytest.mark.slow

RECORDS, ROWS, PICTURES, ARRAYS = (
    ("result.json", "config.json"),
    "metrics.jsonl",
    ("samples.png", "film.png"),
    "seed0.npz",
)
PLACES = {name: name for name in (*RECORDS, ROWS, *PICTURES)} | {ARRAYS: f"samples/{ARRAYS}"}
CURVE = [
    {
        "steps": steps,
        "order": "",
        "network_evaluations_per_sample": float(steps),
        "flops_per_sample": 1e6 * steps,
        "quality": {"frechet": 10.0 + steps, "precision": 0.5},
    }
    for steps in (1, 4)
]
PAST = [
    {
        "step": step,
        "training_flops": 1e7 * step,
        "likelihood": {"value": 2.0 + step / 50, "standard_error": 0.1, "kind": "bound"},
        "quality": {"frechet": 20.0},
    }
    for step in (50, 100)
]


@pytest.fixture(scope="module")
def left(tmp_path_factory):
    """What each run leaves besides its records."""
    folder, values = tmp_path_factory.mktemp("left"), np.random.default_rng(0)
    pictures.grid(folder / "samples.png", values.uniform(-1, 1, (64, 8, 8, 1)))
    pictures.film(folder / "film.png", *values.uniform(-1, 1, (2, 3, 6, 8, 8, 1)))
    (folder / "samples").mkdir()
    np.savez_compressed(folder / "samples" / ARRAYS, images=values.integers(0, 17, (20, 8, 8, 1)).astype(np.uint8))
    return folder


@pytest.fixture
def run(fabricate, left):
    """`run(folder, seed)` makes a run's folder with all its files, as the present version writes them."""

    def make(folder, seed=0, name="a"):
        fabricate(folder, seed, name, curve=CURVE, history=PAST)
        for record in RECORDS:
            files.write_record(folder / record, json.loads((folder / record).read_text()))
        return shutil.copytree(left, folder, dirs_exist_ok=True)

    return make


def png(width, height, kind="PNG"):
    content = io.BytesIO()
    Image.new("L", (width, height)).save(content, kind)
    return content.getvalue()


def bomb(side):
    """A PNG of a few kilobytes with so many pixels a side."""

    def part(name, content):
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    head = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    pack = zlib.compressobj()
    rows = b"".join(pack.compress(bytes(1 + -(-side // 8))) for _ in range(side if side < 20_000 else 0)) + pack.flush()
    return b"\x89PNG\r\n\x1a\n" + part(b"IHDR", head) + part(b"IDAT", rows) + part(b"IEND", b"")


def npz(**arrays):
    content = io.BytesIO()
    np.savez(content, **arrays)
    return content.getvalue()


def huge_header():
    """Arrays whose header promises far more than there is."""
    header = repr({"descr": "|u1", "fortran_order": False, "shape": (10**9, 999, 999, 3)}).encode().ljust(117) + b"\n"
    inside = io.BytesIO()
    with zipfile.ZipFile(inside, "w") as archive:
        archive.writestr("images.npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + b"\0" * 99)
    return inside.getvalue()


DEEP = "[" * 100_000
NOISE = random.Random(0).randbytes(3000)
ANY_FILE = {
    "empty": b"",
    "noise": NOISE,
    "zeros": bytes(3000),
    "text": b"hello\nworld\n",
    "deep": DEEP.encode(),
    "deep and closed": (DEEP + "]" * 100_000).encode(),
    "deep objects": ('{"a":' * 3000 + "1" + "}" * 3000).encode(),
    "deep in an object": ('{"config": ' + '{"a":' * 700 + "1" + "}" * 700 + "}").encode(),
    "deep with a checksum": ('{"checksum": "0", "config": ' + '{"a":' * 700 + "1" + "}" * 701).encode(),
    "a number": b"3",
    "null": b"null",
    "a list": b"[1, 2]",
    "a string": b'"result"',
    "an empty object": b"{}",
    "utf-16": '{"config": {}}'.encode("utf-16"),
    "half of a pair": b'{"config": {"name": "\\ud800"}, "seed": "\\udcff"}',
    "too many digits": b'{"config": ' + b"9" * 5000 + b"}",
    "a checksum that does not fit": b'{"config": {}, "checksum": "0123456789abcdef"}',
}
SPECIAL = {
    ROWS: {
        "odd rows": b'3\n[]\n{"loss": 1}\n{"step": "1"}\n{"step": true}\n{"step": -1, "loss": 1}\nnull\n"x"\n',
        "numbers": b'{"step": 1e400, "loss": 1}\n{"step": 1, "loss": 1e400}\n{"step": 2, "loss": NaN}\n{"step": 2.5}\n',
        "digits": b'{"step": ' + b"9" * 400 + b', "loss": 1}\n{"step": ' + b"9" * 5000 + b"}\n",
        "words": b'{"step": 1, "loss": "low"}\n{"step": 2, "loss": [1]}\n{"step": 3, "validation_loss": {}}\n',
        "deep row": b'{"step": 1, "loss": ' + DEEP.encode() + b"}\n",
    },
    "samples.png": {
        "256 megapixels": bomb(16_000),
        "pixels without end": bomb(2**31 - 1),
        "no pixels": bomb(0),
        "one pixel": png(1, 1),
        "thin": png(1, 8002),
        "no grid": png(100, 101),
        "a jpeg": png(50, 50, kind="JPEG"),
    },
    "film.png": {"256 megapixels": bomb(16_000), "one pixel": png(1, 1), "no film": png(100, 101)},
    ARRAYS: {
        "pickled": npz(images=np.array([{}, None], object)),
        "other names": npz(labels=np.zeros((4, 8, 8, 1), np.uint8)),
        "empty array": npz(images=np.zeros((0, 8, 8, 1), np.uint8)),
        "no pixels": npz(images=np.zeros((4, 0, 8, 1), np.uint8)),
        "no channels": npz(images=np.zeros((4, 8, 8, 0), np.uint8)),
        "a number": npz(images=np.uint8(3)),
        "a row": npz(images=np.zeros(9, np.uint8)),
        "floats": npz(images=np.full((4, 8, 8, 1), 0.5)),
        "not finite": npz(images=np.full((4, 8, 8, 1), np.nan)),
        "complex": npz(images=np.zeros((4, 8, 8, 1), complex)),
        "words": npz(images=np.full((4, 8, 8, 1), "a")),
        "below zero": npz(images=np.full((4, 8, 8, 1), -3, np.int8)),
        "no archive": png(50, 50),
        "thin": npz(images=np.zeros((2, 1, 200_000, 1), np.uint8)),
        "a promise": huge_header(),
    },
}


def spoilt(content, how):
    """A file's content with a damage that every file may have: cut off, bits turned over, a part gone."""
    kind, number = how
    draws = random.Random(number)
    if kind == "cut":
        return content[: draws.randrange(len(content))]
    if kind == "flip":
        place, changed = draws.randrange(len(content)), bytearray(content)
        changed[place] ^= 1 << draws.randrange(8)
        return bytes(changed)
    place = draws.randrange(len(content))
    return content[:place] + bytes(min(64, len(content) - place)) + content[place + 64 :]


def kinds(name):
    """All damages of a file: those that are told, and those by chance, which may be harmless."""
    sure = [*ANY_FILE, *SPECIAL.get(name, ()), "folder", "pipe", "loop"]
    return [*sure, *((kind, seed) for kind in ("cut", "flip", "hole") for seed in range(20))]


def damage(folder, name, kind):
    path = folder / PLACES[name]
    content = path.read_bytes()
    path.unlink()
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "loop":
        path.symlink_to(path)
    elif isinstance(kind, tuple):
        path.write_bytes(spoilt(content, kind))
    else:
        path.write_bytes({**ANY_FILE, **SPECIAL.get(name, {})}[kind])


def shown(folder):
    """All that a report takes from a run's files but its log."""
    return (
        replace(ledger.read(folder), folder=folder.parent),
        images._grid(folder),
        images._film(folder),
        images._drawn(folder),
    )


@pytest.mark.parametrize(
    "name", [name if name in (ROWS, "result.json") else pytest.param(name, marks=pytest.mark.slow) for name in PLACES]
)
def test_a_damaged_file_is_one_line_and_the_rest_stands(tmp_path, run, name):
    run(tmp_path / "runs" / "good", name="good")
    bad = {}
    for number, kind in enumerate(kinds(name), 1):
        folder = run(tmp_path / "runs" / f"bad{number}.", number, "bad")
        before = shown(folder)
        damage(folder, name, kind)
        bad[folder] = kind, before
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        said = write([tmp_path / "runs"], tmp_path / "out")
    text, page = ((tmp_path / "out" / file).read_text() for file in ("report.md", "report.html"))
    with (tmp_path / "out" / "table.csv").open() as file:
        counted = {folder for row in csv.DictReader(file) for folder in row["folders"].split("; ")}
    assert "| good" in text and str(tmp_path / "runs" / "good") in counted and "good" not in "".join(said)
    for folder, (kind, before) in bad.items():
        notes = [note for note in said if str(folder) in note]
        if isinstance(kind, tuple) and not notes:
            if name != ROWS:  # rows carry no checksum
                for one, other in zip(before, shown(folder), strict=True):
                    assert np.array_equal(one, other) if isinstance(one, np.ndarray) else one == other, kind
            continue
        assert len(notes) == 1 and notes[0].startswith(str(folder)) and PLACES[name] in notes[0], kind
        assert len(notes[0]) < 1000 and notes[0].isprintable(), kind
        assert text.count(str(folder)) == page.count(str(folder)) == 1, kind
        assert (str(folder) in counted) == (name not in RECORDS), kind  # its figures stand where its records do
    for path in (tmp_path / "out").glob("*.png"):
        Image.open(path).load()


ODD = {
    "a word": "many",
    "a list": [1],
    "an object": {"a": 1},
    "yes": True,
    "below zero": -1,
    "a part": 2.5,
    "many digits": 10**400,
    "large": 1e308,
    "small": 5e-324,
    "not a number": float("nan"),
    "infinity": float("inf"),
    "null": None,
    "an empty list": [],
    "deep": json.loads("[" * 500 + "]" * 500),
}


def leaves(value, place=()):
    """The places of all values in a JSON value, objects and lists too."""
    yield place
    for key, item in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from leaves(item, (*place, key))


@pytest.mark.parametrize("kind", ODD)
def test_an_odd_value_anywhere_in_a_result_spoils_nothing(tmp_path, fabricate, kind, monkeypatch):
    monkeypatch.setattr(plots, "draw", lambda path, panels, known: path)  # these take time
    monkeypatch.setattr(images, "faults", lambda folder: [])
    good = fabricate(tmp_path / "runs" / "good", name="good", curve=CURVE, history=PAST)
    content = json.loads((good / "result.json").read_text())
    places = [place for place in leaves(content) if place and (place[0] != "config" or place[-1] in KNOWN)]
    assert len(places) > 100
    for number, place in enumerate(places):
        changed = copy.deepcopy(content)
        changed["config"] |= {"seed": number, "name": "bad"}
        inside = changed
        for key in place[:-1]:
            inside = inside[key]
        inside[place[-1]] = ODD[kind]
        bad = tmp_path / "runs" / f"{number}."
        shutil.copytree(good, bad)
        (bad / "result.json").write_text(json.dumps(changed))
        (bad / "config.json").write_text(json.dumps({"data": {"name": "digits"}}))
    found = ledger.gather([tmp_path / "runs"])
    for number, place in enumerate(places):
        said = [note for note in found.notes if str(tmp_path / "runs" / f"{number}.") in note]
        assert len(said) <= 1 and all("json" in note or "is not" in note for note in said), place
        assert all(note.isprintable() and len(note) < 1000 for note in said), place
    groups, notes = group(found.runs)
    blocks = document.compose(groups, [*found.notes, *notes], (), "title", tmp_path)
    assert "| good" in as_markdown(blocks)
    table, points = tables.comma_separated(groups), lines.comma_separated(groups)
    assert not re.search(r"\bnan\b|\binf\b", table + points) and len(table) < 50_000
    assert all(
        len(word) < 400 for block in blocks if hasattr(block, "table") for row in block.table.rows for word in row[1:-1]
    )


KNOWN = ("config", "seed", "name", "data", "splits", "test", "order", "multipliers")


@pytest.mark.parametrize("kind", [kind for kind in ODD if kind not in ("null", "small", "deep", "an empty list")])
@pytest.mark.parametrize(
    "place", [("likelihood", "test", "value"), ("quality", "samples", "frechet"), ("steps",), ("curve", 0, "steps")]
)
def test_an_odd_figure_is_named_and_the_others_are_shown(tmp_path, run, kind, place):
    bad = run(tmp_path / "bad")
    content = json.loads((bad / "result.json").read_text())
    del content["checksum"]
    inside = content
    for key in place[:-1]:
        inside = inside[key]
    inside[place[-1]] = ODD[kind]
    (bad / "result.json").write_text(json.dumps(content))
    found = ledger.gather([bad])
    fine = (kind == "below zero" and place[0] in ("likelihood", "quality")) or (
        kind == "a part" and "steps" not in place
    )
    words = ".".join(map(str, place)).replace(".0.", "[0].")
    assert [words in note for note in found.notes] == ([] if fine else [True])
    assert {"precision", "parameters", "training_flops"} & set(found.runs[0].figures)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_pictures_of_other_modes_are_shown_as_they_are(tmp_path, run, mode):
    folder = run(tmp_path / "a")
    plain = Image.open(folder / "samples.png")
    wanted = images.samples(folder)
    if mode == "I;16":
        image = Image.fromarray(np.asarray(plain).astype(np.uint16) << 8)
    else:
        image = plain.convert("RGB").convert(mode, dither=Image.Dither.NONE)
    image.save(folder / "samples.png")
    assert images.faults(folder) == []
    found = images.samples(folder)
    assert found.shape == wanted.shape
    assert np.abs(found.astype(int) - wanted).mean() < (20 if mode == "P" else 1) or mode == "1"


def test_samples_stand_in_for_a_damaged_picture(tmp_path, run):
    folder = run(tmp_path / "a")
    (folder / "samples.png").write_bytes(b"x")
    assert images.samples(folder) is not None and images.film(folder) is not None
    assert images.faults(folder) == ["samples.png is no PNG"]
    (folder / PLACES[ARRAYS]).write_bytes(b"x")
    assert images.samples(folder) is None and len(images.faults(folder)) == 2


def test_several_damaged_files_of_a_run_are_one_line(tmp_path, run):
    folder = run(tmp_path / "a")
    for name in (ROWS, *PICTURES, ARRAYS):
        (folder / PLACES[name]).write_bytes(b"x")
    (note,) = ledger.gather([folder]).notes
    assert all(PLACES[name] in note for name in (ROWS, *PICTURES, ARRAYS))


@pytest.mark.parametrize("name", [*RECORDS, ROWS])
def test_a_lost_file_is_told(tmp_path, run, name):
    run(tmp_path / "good")
    folder = run(tmp_path / "bad", 1)
    (folder / name).unlink()
    (note,) = ledger.gather([tmp_path]).notes
    assert note.startswith(str(folder)) and name in note


def test_a_config_of_another_run_is_told(tmp_path, run):
    folder, other = run(tmp_path / "a"), run(tmp_path / "b", 1)
    (folder / "config.json").write_bytes((other / "config.json").read_bytes())
    (note,) = ledger.gather([folder]).notes
    assert "config.json is not the config in result.json" in note and "seed" in note


def test_reasons_of_figures_that_are_not_there_are_told(tmp_path, run):
    folder = run(tmp_path / "a")
    content = files.read_record(folder / "result.json")
    content["likelihood"]["ode"], content["not_computed"] = None, {"likelihood.ode": "the disk is full"}
    files.write_record(folder / "result.json", content)
    assert ledger.gather([folder]).notes == [f"{folder}: likelihood.ode is not computed (the disk is full)"]


def test_nothing_but_damage_is_one_line(tmp_path, run):
    for number in range(8):
        (run(tmp_path / f"{number}", number) / "result.json").write_bytes(DEEP.encode())
    with pytest.raises(UserError, match="no run has a result to report") as caught:
        write([tmp_path], tmp_path / "out")
    assert "\n" not in str(caught.value) and "and 4 more" in str(caught.value)
