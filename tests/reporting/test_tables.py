"""Tables: cells that say what they are, Markdown that lines up, CSV that gives back the very numbers."""

import csv
import io

import pytest

from ddpm_jax.reporting import tables
from ddpm_jax.reporting.groups import Estimate, group
from ddpm_jax.reporting.ledger import read


def made(tmp_path, fabricate):
    folders = [fabricate(tmp_path / f"a{seed}", seed=seed, name="a", bits=2 + seed / 7) for seed in range(3)]
    folders.append(fabricate(tmp_path / "b", name="b", kind="exact", bits=3.0, samples={"kl": 0.25}, device="gpu"))
    return group([read(folder) for folder in folders])[0]


def test_a_cell_says_whose_interval_it_is():
    assert tables.cell(Estimate(2.0, 0.1, 3), ".3f") == "2.000 ± 0.100"
    assert tables.cell(Estimate(2.0, 0.1, 1), ".3f") == "2.000 ± 0.100 s.e."
    assert tables.cell(Estimate(2.0, None, 1), ".3f") == "2.000"
    assert tables.cell(Estimate(64.0, 0.0, 3), ".4g", interval=False) == "64"
    assert tables.cell(None, ".3f") == "-"


def test_columns_are_what_somebody_has_and_references_are_below(tmp_path, fabricate):
    groups = made(tmp_path, fabricate)
    table = tables.figures(groups, tables.references(groups))
    assert list(table.head) == ["", "bits/dim", "kind", "KL", "Frechet", "evaluations", "parameters"]
    lines = {line[0]: dict(zip(table.head, line, strict=True)) for line in table.rows}
    assert list(lines) == ["b", "a", "*independent pixels*", "*train*"] and lines["a"]["KL"] == "-"
    more = tables.details(groups, tables.references(groups))
    assert list(more.head) == ["", "precision", "steps", "training FLOPs", "device", "seeds"]
    beside = {line[0]: dict(zip(more.head, line, strict=True)) for line in more.rows}
    assert "*independent pixels*" not in beside  # nothing of it stands there
    assert beside["a"]["seeds"] == "0 1 2" and beside["b"]["device"] == "gpu"
    assert lines["*independent pixels*"]["bits/dim"] == "2.400 ± 0.024 s.e."
    assert lines["*train*"]["Frechet"] == "10.00" and lines["*train*"]["bits/dim"] == "-"
    same_device = tables.details(groups[1:], {})
    assert "device" not in same_device.head


def test_binary_images_are_told_in_nats_too(tmp_path, fabricate):
    groups, _ = group([read(fabricate(tmp_path / "a", bits=0.5))])
    table = tables.figures(groups, {})
    assert table.rows[0][table.head.index("nats")] == "22.00 ± 0.22 s.e."


def test_markdown_lines_up():
    table = tables.Table(("", "long head", "words"), [("a", "1", "x y"), ("bbbb", "-", "z")], frozenset({0, 2}))
    assert tables.markdown(table).splitlines() == [
        "|      | long head | words |",
        "| ---- | --------: | ----- |",
        "| a    |         1 | x y   |",
        "| bbbb |         - | z     |",
    ]


def test_csv_reads_back_to_the_same_numbers(tmp_path, fabricate):
    groups = made(tmp_path, fabricate)
    rows = {row["group"]: row for row in csv.DictReader(io.StringIO(tables.comma_separated(groups)))}
    assert set(rows) == {"a", "b"}
    for one in groups:
        row = rows[one.label]
        for name in ("bits_per_dimension", "nats", "frechet", "kl", "training_flops"):
            mean = one.figure(name)
            if mean is None:
                assert row[name] == row[f"{name}_half_width"] == ""
                continue
            assert float(row[name]) == mean.value and int(row[f"{name}_runs"]) == mean.count
            if mean.half_width is not None:
                assert float(row[f"{name}_half_width"]) == mean.half_width
        assert row["kind"] == one.kind and row["seeds"].split() == [str(seed) for seed in one.seeds]
    assert "recall" not in rows["a"]


def test_other_features_are_kept_apart(tmp_path, fabricate):
    import json

    groups = made(tmp_path, fabricate)
    assert list(tables.features(groups).values()) == [["b", "a"]]
    path = tmp_path / "b" / "result.json"
    result = json.loads(path.read_text())
    result["quality"]["samples"]["count"] = 100
    path.write_text(json.dumps(result))
    groups, _ = group([read(tmp_path / "a0"), read(tmp_path / "b")])
    assert tables.features(groups) == {"trained-cnn abcd, 447 images": ["a"], "trained-cnn abcd, 100 images": ["b"]}


def test_true_draws_of_a_known_law_are_called_so(tmp_path, fabricate):
    import json

    path = fabricate(tmp_path / "a", samples={"kl": 0.5}) / "result.json"
    result = json.loads(path.read_text())
    result["quality"] |= {"law": "known", "references": {"train": {"kl": 0.125}, "independent_pixels": {"kl": 0.75}}}
    path.write_text(json.dumps(result))
    groups, _ = group([read(tmp_path / "a")])
    table = tables.figures(groups, tables.references(groups))
    shown = {line[0]: line[table.head.index("KL")] for line in table.rows}
    assert shown == {"a": "0.5000", "*true draws*": "0.1250", "*independent pixels*": "0.7500"}


@pytest.mark.parametrize("count", [1, 3])
def test_costs_have_no_interval(tmp_path, fabricate, count):
    groups, _ = group([read(fabricate(tmp_path / f"a{seed}", seed=seed)) for seed in range(count)])
    table = tables.details(groups, {})
    assert table.rows[0][table.head.index("steps")] == "100"
    assert table.rows[0][table.head.index("training FLOPs")] == "1.00e+09"
