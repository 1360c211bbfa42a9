"""The published figures are well formed, each has a source, and every CIFAR-10 config of the family has one."""

import json
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


@pytest.fixture(scope="module")
def rows():
    return json.loads((ROOT / "experiments" / "published" / "gaussian_cifar10.json").read_text())


def test_every_row_has_every_field_of_its_type(rows):
    for row in rows:
        assert row.keys() == FIELDS.keys(), row
        for field, kinds in FIELDS.items():
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


def test_a_source_says_where_to_look(rows):
    for row in rows:
        assert "arXiv:" in row["source"] or "github.com/" in row["source"], row


def test_no_figure_is_given_twice(rows):
    seen = [tuple(row[field] for field in FIELDS if field != "note") for row in rows]
    assert len(seen) == len(set(seen))


def test_every_config_of_the_family_has_an_unconditional_fid(rows):
    configs = {path.stem for path in (ROOT / "configs" / "cifar10").glob("*.py")} & FAMILY
    assert "ddpm" in configs
    assert configs <= {row["model"] for row in rows if row["metric"] == "fid" and not row["conditional"]}


def test_rows_are_of_the_family_or_of_its_deep_variants(rows):
    assert {row["model"].removesuffix("_deep") for row in rows} <= FAMILY
