"""The published figures are well formed, each has a source, and every CIFAR-10 config of the family has one."""

import json
import math
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FAMILY = {
    "ddpm",
    "improved_ddpm",
    "ncsnv2",
    "ddpmpp_vp",
    "ddpmpp_subvp",
    "ncsnpp_ve",
    "edm_vp",
    "edm_ve",
    "vdm",
    "flow",
}
FIELDS = {
    "model": (str,),
    "paper": (str,),
    "source": (str,),
    "metric": (str,),
    "kind": (str, type(None)),
    "value": (float,),
    "evaluations": (int, type(None)),
    "sampler": (str, type(None)),
    "ema": (str, type(None)),
    "selection": (str, type(None)),
    "samples": (int, type(None)),
    "split": (str,),
    "conditional": (bool,),
    "note": (str,),
}


ORDERED_FIELDS = {
    "model": (str,),
    "paper": (str,),
    "source": (str,),
    "data": (str,),
    "binarisation": (str, type(None)),
    "metric": (str,),
    "kind": (str,),
    "value": (float,),
    "order": (str, type(None)),
    "steps": (int, type(None)),
    "parameters": (int, type(None)),
    "conditions": (str,),
    "split": (str,),
    "conditional": (bool,),
    "confirmed": (str,),
    "note": (str,),
}


def read(name):
    return json.loads((ROOT / "experiments" / "published" / name).read_text())


@pytest.fixture(scope="module")
def rows():
    return read("gaussian_cifar10.json")


@pytest.fixture(scope="module")
def ordered():
    return read("ordered.json")


@pytest.mark.parametrize(("name", "fields"), [("gaussian_cifar10.json", FIELDS), ("ordered.json", ORDERED_FIELDS)])
def test_every_row_has_every_field_of_its_type(name, fields):
    for row in read(name):
        assert row.keys() == fields.keys(), row
        for field, kinds in fields.items():
            assert type(row[field]) in kinds, (field, row)
        assert all(row[field].strip() for field in ("model", "paper", "source")), row


def test_the_values_are_possible(rows):
    for row in rows:
        assert row["split"] in ("train", "test")
        assert row["value"] > 0
        if row["metric"] == "fid":
            assert row["kind"] is None
            assert row["sampler"], "an FID is a figure of a sampler"
        else:
            assert row["metric"] == "bits_per_dimension"
            assert row["kind"] in ("bound", "ode", "exact")
            assert row["evaluations"] is None and row["samples"] is None
            assert row["value"] < 8  # what eight bits cost without a model


def test_the_values_of_ordered_models_are_possible(ordered):
    for row in ordered:
        assert row["split"] == "test"
        assert row["kind"] in ("exact", "bound")
        if row["data"] == "cifar10":
            assert (row["metric"], row["binarisation"]) == ("bits_per_dimension", None)
            assert 2 < row["value"] < 8
        else:
            assert (row["data"], row["metric"]) == ("mnist", "nats")
            assert row["binarisation"] in ("static", "dynamic")
            assert 70 < row["value"] < 206 < 784 * math.log(2)  # independent pixels; without a model
        assert row["steps"] is None or row["steps"] > 1
        assert row["parameters"] is None or row["parameters"] > 10**6


def test_what_hides_at_random_is_a_bound_and_one_order_is_exact(ordered):
    for row in ordered:
        if row["order"] is None or row["order"].startswith(("random", "independent")):
            assert row["kind"] == "bound", row
    known = {row["model"]: row["kind"] for row in ordered}
    exact = ("pixelcnn", "pixelcnnpp", "sparse_transformer", "pixelrnn_diagonal_bilstm")
    assert {known[model] for model in exact} == {"exact"}


def test_a_figure_that_was_not_confirmed_says_so(ordered):
    for row in ordered:
        assert row["confirmed"] in ("source", "second source", "no")
        assert (row["confirmed"] == "no") == ("from memory" in row["note"]), row


def test_a_source_says_where_to_look(rows, ordered):
    for row in rows + ordered:
        assert "arXiv:" in row["source"] or "github.com/" in row["source"], row


def test_no_figure_is_given_twice(rows, ordered):
    for table in (rows, ordered):
        seen = [tuple(value for field, value in row.items() if field != "note") for row in table]
        assert len(seen) == len(set(seen))


def test_every_config_of_the_family_has_an_unconditional_fid(rows):
    configs = {path.stem for path in (ROOT / "configs" / "cifar10").glob("*.py")} & FAMILY
    assert "ddpm" in configs
    assert configs <= {row["model"] for row in rows if row["metric"] == "fid" and not row["conditional"]}


def test_rows_are_of_the_family_or_of_its_deep_variants(rows):
    assert {row["model"].removesuffix("_deep") for row in rows} <= FAMILY
