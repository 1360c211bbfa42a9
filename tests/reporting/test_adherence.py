"""What is read of adherence, its tables, and lines over guidance that do not mix with those over steps."""

import json

import pytest

from ddpm_jax.reporting import ledger, lines, tables
from ddpm_jax.reporting.adherence import figures, headline
from ddpm_jax.reporting.groups import group


def told(folder, changes):
    """Change a fabricated result."""
    result = json.loads((folder / "result.json").read_text())
    (folder / "result.json").write_text(json.dumps({**result, **changes}))
    return folder


def shares(**text):
    return {"text": text}


@pytest.fixture
def two_seeds(tmp_path, fabricate):
    """Runs of two seeds whose own weight is 3, measured at other weights and in fewer steps too."""

    def at(seed, weight, steps, share, frechet):
        quality = {"frechet": frechet + seed, "recall": 1 - weight / 10}
        return {
            "steps": steps,
            "order": "",
            "guidance": weight,
            "network_evaluations_per_sample": 2.0 * steps,
            "quality": quality,
            "adherence": shares(all=share + seed / 10),
        }

    for seed in (0, 1):
        points = [
            at(seed, 3.0, 8, 0.8, 5),
            at(seed, 3.0, 2, 0.3, 9),
            at(seed, 7.0, 8, 0.7, 8),
            at(seed, 0.0, 8, 0.1, 2),
        ]
        folder = fabricate(tmp_path / f"{seed}", seed, "a", {"sampler.guidance": 3.0}, curve=points)
        adherence = {
            "samples": shares(**{"one object": 0.9 + seed / 100, "all": 0.8 + seed / 10}),
            "real": shares(**{"one object": 0.99, "all": 0.98}),
            "unseen": shares(**{"one object": 0.7, "all": 0.6}),
            "unseen_real": None,
        }
        told(folder, {"adherence": adherence})
    return group(ledger.gather([tmp_path]).runs)[0]


def test_tables_have_what_was_asked_and_what_is_real(two_seeds):
    seen, unseen = (tables.adherences(two_seeds, place) for place in ("samples", "unseen"))
    assert seen is not None and unseen is not None
    assert seen.head == ["", "one object", "all"]
    assert seen.rows[0][1].startswith("0.905 ± ") and seen.rows[0][2].startswith("0.850 ± ")
    assert seen.rows[1:] == [["*the data's own*", "0.990", "0.980"]]
    assert [row[0] for row in unseen.rows] == ["a"]  # its own pictures were not measured
    assert "adherence_unseen_one_object" in tables.comma_separated(two_seeds)
    assert two_seeds[0].figure("adherence").value == pytest.approx(0.85)


def test_a_weight_of_guidance_is_no_number_of_steps(two_seeds):
    """One steps' point is that of the run's own weight: the mean of 5 and 6, not of all weights."""
    drawn = lines.quality(two_seeds, "frechet", "network_evaluations_per_sample")["a"]
    assert [(point.x, point.y.value) for point in drawn] == [(4.0, 9.5), (16.0, 5.5)]
    drawn = lines.guidance(two_seeds, lines.ADHERENCE)["a"]
    assert [(point.x, round(point.y.value, 9)) for point in drawn] == [(0.0, 0.15), (3.0, 0.85), (7.0, 0.75)]
    assert all(point.y.spread > 0 for point in drawn)


def test_every_weight_of_guidance_has_a_column(two_seeds):
    shown = tables.guidance(two_seeds, "frechet", ".1f")
    assert shown is not None and list(shown.head) == ["", "0", "3", "7"]
    assert [one.partition(" ")[0] for one in shown.rows[0]] == ["a", "2.5", "5.5", "8.5"]


def test_against_diversity_points_are_in_the_order_of_weights(two_seeds):
    drawn = lines.guidance(two_seeds, lines.ADHERENCE, "recall")["a"]
    assert [point.x for point in drawn] == pytest.approx([1.0, 0.7, 0.3])
    assert not any(point.y.spread for point in drawn)
    with_guidance = [line.split(",") for line in lines.comma_separated(two_seeds).splitlines()]
    assert sum(line[2:4] == ["adherence", "guidance"] for line in with_guidance) == 3


def test_classes_have_one_column(tmp_path, fabricate):
    told(fabricate(tmp_path / "a"), {"adherence": {"samples": {"label": 0.75}, "real": {"label": 0.875}}})
    (one,), _ = group(ledger.gather([tmp_path]).runs)
    table = tables.adherences([one], "samples")
    assert table is not None and table.head == ["", "class"] and [row[1] for row in table.rows] == ["0.750", "0.875"]
    assert tables.adherences([one], "unseen") is None
    assert one.figure("adherence").value == 0.75


@pytest.mark.parametrize("value", [1.5, -0.1, "much", True, float("nan")])
def test_what_is_no_share_is_left_out_and_named(tmp_path, fabricate, value):
    samples = {"text": {"all": 0.5, "counting": value}, "label": value}
    folder = told(fabricate(tmp_path / "a"), {"adherence": {"samples": samples, "real": 3}})
    run = ledger.read(folder)
    assert {name for name in run.figures if "adherence" in name} == {"adherence", "adherence_samples_all"}
    for place in ("samples.text.counting", "samples.label", "real"):
        assert f"adherence.{place} " in run.faults[0]


def test_nothing_asked_is_no_figure():
    assert headline({}) is None and figures({}) == {} and figures({"samples": {"text": {}}}) == {}
