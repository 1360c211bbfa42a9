"""Names, paths, notes and devices of any letters: a report of them has the shape of one of plain names."""

import csv
import io
import json
import os
import random
import re
import string
import warnings
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from ddpm_jax import report
from ddpm_jax.reporting import document, plots, published
from ddpm_jax.reporting.groups import Estimate, Point
from ddpm_jax.reporting.writing import write
from ddpm_jax.runs import pictures
from ddpm_jax.runs.shown import clean

pytestmark = pytest.mark.slow

PIECES = [
    *string.punctuation,
    *("<b>so</b>", "</td><td>", "<!--", "<script>alert(1)</script>", "&lt;", "**so**", "`so`", "[a](b)", "![a](b)"),
    *(
        "$x^",
        "$\\frac",
        "_so",
        "__",
        "# a",
        "- a",
        "1. a",
        "| - |",
        "a|b",
        '"; "',
        "=1+1",
        "\n",
        "\r",
        "\t",
        "\x00",
        "\x1b[31m",
    ),
    *(
        "\ud800",
        "\udcff",
        "\u202e",
        "\u2066",
        "\u2028",
        "\x85",
        "שלום",
        "مرحبا",
        "日本語",
        "ไทย",
        "😀",
        "e\u0301",
        "Ω",
        "a" * 300,
    ),
]
NAMES = [*PIECES, *("".join(random.Random(i).choices(PIECES, k=4)) for i in range(40))]
ISOLATES = re.compile("[\u2068\u2069]")


class Page(HTMLParser):
    """Tags with their attributes in order, and the texts between them."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.texts = [], []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, *(name for name, _ in attrs)))
        self.texts.append("")

    def handle_endtag(self, tag):
        self.tags.append((f"/{tag}",))
        self.texts.append("")

    def handle_data(self, data):
        if self.texts:
            self.texts[-1] += ISOLATES.sub("", data)


def row(name):
    """A published row all of whose words are the name."""
    words = dict.fromkeys(("model", "paper", "source", "metric", "kind", "split", "note", "sampler"), name)
    return {**words, "value": 1.5, "evaluations": 3}


def folder_of(name):
    """A folder's name with as many of these characters as a file system takes."""
    return os.fsdecode(re.sub("[/\0]", "", name).encode("utf-8", "surrogatepass")[:100]) or "x"


def reported(place, fabricate, names, data=""):
    """The folder of a report of a run for each name, in all places where there are words."""
    for number, name in enumerate(names):
        folder = fabricate(
            place / f"{number} {folder_of(name)}",
            name=name,
            bits=1 + number / 100,
            device=name,
            commit=name,
            overrides={"data.name": f"digits{data}"},
        )
        content = json.loads((folder / "result.json").read_text())
        content["quality"]["samples"]["features"] = name
        content["quality"]["references"] = {"train": {"frechet": 1.0}, name: {"frechet": 2.0}}
        content["not_computed"] = {name: name}
        (folder / "result.json").write_text(json.dumps(content))
        pictures.grid(folder / "samples.png", np.zeros((64, 8, 8, 1)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write([place], place / "out", [{"data": name, **row(name)} for name in names], names[0])
    return place / "out"


def shape(markdown):
    """What each line of the Markdown is: a heading, an item, a row of so many cells, a picture, or text."""
    kinds = []
    for line in markdown.split("\n"):
        start = re.match(r"#+ |- |!\[|\||", line)[0]
        kinds.append((start, len(re.findall(r"(?<!\\)\|", line)) if start == "|" else 0, bool(line)))
    return kinds


@pytest.mark.parametrize("name", [name for name in NAMES if clean(name)])
def test_a_report_has_the_shape_that_plain_names_give_it(tmp_path, fabricate, monkeypatch, name):
    monkeypatch.setattr(plots, "draw", lambda path, panels, known: (path.write_bytes(b"\x89PNG"), path)[1])
    found = reported(tmp_path / "a", fabricate, [name], name)
    plain = reported(tmp_path / "b", fabricate, ["plain"], "plain")
    text, page = ((found / file).read_text("utf-8") for file in ("report.md", "report.html"))
    ours, theirs = Page(page), Page((plain / "report.html").read_text())
    assert ours.tags == theirs.tags
    assert shape(text) == shape((plain / "report.md").read_text())
    assert Page(text).tags == []
    shown = clean(name, 200)
    name_words = shown.replace("_", " ").split()
    for mine, other in zip(ours.texts, theirs.texts, strict=True):
        if other == "plain":
            assert mine.replace("_", " ").split() == (name_words or ["unnamed"]) or mine.startswith(shown[:-1])
        elif other == "digitsplain":
            assert mine == clean(f"digits{name}", 200)
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066\u2067]", text + page)
    with (found / "table.csv").open(newline="") as file:
        (line,) = csv.DictReader(file)
    assert line["group"] == line["device"] == line["commit"] == shown
    assert not list(tmp_path.glob("*/out/*[!a-z0-9_.]*"))


def test_all_names_at_once_with_their_pictures(tmp_path, fabricate, capsys):
    names = ["a", *NAMES[::3]]
    found = reported(tmp_path / "a", fabricate, names)
    files = sorted(path.name for path in found.iterdir())
    assert all(re.fullmatch(r"[a-z0-9_]+\.(png|md|html|csv)", name) for name in files)
    for path in found.glob("*.png"):
        Image.open(path).load()
    text = (found / "report.md").read_text()
    assert len(set(re.findall(r"^!\[[^]]*\]\((.*)\)$", text, re.MULTILINE))) == len(list(found.glob("*.png")))
    assert capsys.readouterr().err.replace("\r", "\n").count("Warning") == 0


def test_file_names_of_data_sets_are_plain_and_no_two_alike():
    names = ["a-b", "a_b", "A b", "日本", "שלום", "", "../../etc", "x" * 300, "x" * 301, "data", "a_b_2"]
    found = document.endings(names)
    assert len(set(found.values())) == len(names)
    assert all(re.fullmatch("_[a-z0-9_]{1,60}", ending) for ending in found.values())
    assert document.endings(["a", "a"]) == {"a": ""}


@pytest.mark.parametrize("name", NAMES[:: len(NAMES) // 12])
def test_pictures_show_any_name_and_say_nothing(tmp_path, name):
    drawn = {label: [Point(1.0, Estimate(1.0, None, 1)), Point(4.0, Estimate(2.0, None, 1))] for label in (name, "b")}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        path = plots.draw(tmp_path / "a.png", [plots.Panel("x", "y", drawn, {name: 1.5})], plots.styles(list(drawn)))
    Image.open(path).load()


def test_a_label_that_starts_with_an_underscore_is_in_the_legend(tmp_path):
    def dark(label):
        drawn = {label: [Point(1.0, Estimate(1.0, None, 1)), Point(4.0, Estimate(2.0, None, 1))]}
        path = plots.draw(tmp_path / "a.png", [plots.Panel("x", "y", drawn)], plots.styles([label]))
        legend = np.asarray(Image.open(path).convert("L"))[-40:]
        return int((legend < 128).sum())

    assert dark("_mine") > 0.8 * dark("mine") > 50


def test_lines_on_the_screen_are_what_it_can_show(tmp_path, fabricate, monkeypatch):
    place = tmp_path / os.fsdecode(b"\xff \xc3\xa9\n\x1b[31m")
    fabricate(place / "a")
    (fabricate(place / "b", 1) / "result.json").write_text("")
    for encoding in ("ascii", "utf-8"):
        screen = io.TextIOWrapper(io.BytesIO(), encoding, errors="strict")
        monkeypatch.setattr("sys.stdout", screen)
        report.main([str(place)])
        screen.flush()
        said = screen.buffer.getvalue()
        assert said.count(b"\n") == 4 and b"\x1b" not in said and b"\\udcff" in said


def test_published_words_are_kept_whole(tmp_path):
    (tmp_path / "a_digits.json").write_text(json.dumps([row("x" * 1000)]))
    (found,) = published.read([str(tmp_path / "*.json")])
    assert found["note"] == "x" * 1000 and found["data"] == "digits"
