"""Plots: a colour a group, lines that say what the runs measured, and files that are small and open."""

import math

import numpy as np
import pytest
from PIL import Image

from ddpm_jax.reporting import lines, plots
from ddpm_jax.reporting.groups import Estimate, Point, group
from ddpm_jax.reporting.ledger import read


def point(steps, evaluations, flops, **quality):
    return {
        "steps": steps,
        "network_evaluations_per_sample": evaluations,
        "flops_per_sample": flops,
        "quality": quality,
    }


def history(step, flops, bits, kind, frechet):
    likelihood = {"value": bits, "standard_error": 0.1, "kind": kind} if kind else None
    return {"step": step, "training_flops": flops, "likelihood": likelihood, "quality": {"frechet": frechet}}


def groups_of(*folders):
    return group([read(folder) for folder in folders])[0]


def test_styles_differ_and_stay():
    labels = [f"group {i}" for i in range(40)]
    known = plots.styles(labels)
    assert len({(one.color, one.dashes) for one in known.values()}) == 40
    assert len({one.color for one in plots.styles(labels[:10]).values()}) == 10
    assert plots.styles(labels[:10]) == {label: known[label] for label in labels[:10]}


def test_quality_is_read_off_the_curves_by_steps(tmp_path, fabricate):
    a = [
        fabricate(tmp_path / "a0", 0, "a", curve=[point(8, 15.0, 1e6, frechet=4.0), point(4, 7.0, None, frechet=9.0)]),
        fabricate(tmp_path / "a1", 1, "a", curve=[point(8, 15.0, 1e6, frechet=6.0)]),
    ]
    groups = groups_of(*a, fabricate(tmp_path / "b", name="b", samples={"frechet": 3.0}))
    found = lines.quality(groups, "frechet", "network_evaluations_per_sample")
    assert [(at.x, at.y.value, at.y.count) for at in found["a"]] == [(7.0, 9.0, 1), (15.0, 5.0, 2)]
    assert [(at.x, at.y.value) for at in found["b"]] == [(16.0, 3.0)]  # no curve: its own sampler's point
    assert [(at.x, at.y.value) for at in lines.quality(groups, "frechet", "flops_per_sample")["a"]] == [(1e6, 5.0)]
    assert lines.quality(groups, "kl", "network_evaluations_per_sample") == {}


def test_other_orders_of_a_group_are_lines_of_their_own(tmp_path, fabricate):
    at = [point(4, 4.0, None, frechet=5.0), point(8, 8.0, None, frechet=4.0)]
    at = [{**one, "order": ""} for one in at] + [{**at[0], "order": "spread", "quality": {"frechet": 3.0}}]
    groups = groups_of(*[fabricate(tmp_path / f"a{seed}", seed, "a", curve=at) for seed in range(2)])
    found = lines.quality(groups, "frechet", "network_evaluations_per_sample")
    assert {label: [at.y.value for at in points] for label, points in found.items()} == {
        "a": [5.0, 4.0],
        "a, spread order": [3.0],
    }
    assert found["a, spread order"][0].y.count == 2
    assert lines.other_orders(groups[0]) == ["spread"]
    style = plots.styles(["a"])["a"]
    assert style.variant().color == style.color and style.variant() != style


def test_checkpoints_and_logs_become_lines(tmp_path, fabricate):
    past = [history(50, 5e8, 2.5, "bound", 20.0), history(100, 1e9, 2.0, "bound", math.nan)]
    groups = groups_of(fabricate(tmp_path / "a", name="a", history=past, bits=2.0))
    bound = lines.history_of_likelihood(groups, "bound")["a"]
    assert [(at.x, at.y.value) for at in bound] == [(5e8, 2.5), (1e9, 2.0)]
    assert lines.history_of_likelihood(groups, "exact") == {}
    assert [(at.x, at.y.value) for at in lines.history(groups, "frechet")["a"]] == [(5e8, 20.0)]
    loss = lines.training(groups, "loss", "training_flops")["a"]
    assert [at.x for at in loss] == pytest.approx([2.5e8, 5e8, 7.5e8, 1e9])
    assert loss[0].y.value == pytest.approx(20 / 25)
    assert [at.x for at in lines.training(groups, "validation_loss", "images_seen")["a"]] == [3200, 6400]


def many(count, seeds=3):
    made = np.random.default_rng(0).lognormal(1, 1, (count, 7))
    return {
        f"a group with a long name {i}": [
            Point(2.0**j, Estimate(float(value), 0.3 * float(value), seeds)) for j, value in enumerate(row)
        ]
        for i, row in enumerate(made)
    }


@pytest.mark.parametrize(("groups", "panels"), [(1, 1), (3, 2), (25, 4)])
def test_plots_are_small_and_open(tmp_path, groups, panels):
    drawn = many(groups)
    panel = plots.Panel("evaluations", "distance", drawn, {"training images": 2.0})
    path = plots.draw(tmp_path / "plot.png", [panel] * panels, plots.styles(list(drawn)))
    assert path.stat().st_size < 300_000
    with Image.open(path) as image:
        image.load()
        assert image.width == pytest.approx(9.2 * 120, abs=2)


def test_a_group_has_its_colour_in_every_plot(tmp_path):
    known = plots.styles(["a", "b", "c"])
    wanted = tuple(int(known["c"].color[i : i + 2], 16) for i in (1, 3, 5))
    for place, shown in enumerate((["a", "b", "c"], ["c"])):
        drawn = {label: [Point(float(i), Estimate(i + len(label) + 1.0, None, 1)) for i in range(3)] for label in shown}
        path = plots.draw(tmp_path / f"{place}.png", [plots.Panel("x", "y", drawn)], known)
        pixels = np.asarray(Image.open(path).convert("RGB")).reshape(-1, 3)
        assert (pixels == wanted).all(axis=1).sum() > 100


def test_one_place_or_zero_is_no_logarithm(tmp_path):
    drawn = {"a": [Point(16.0, Estimate(0.0, None, 1))], "b": [Point(16.0, Estimate(3.0, None, 1))]}
    assert plots.draw(tmp_path / "a.png", [plots.Panel("x", "y", drawn)], plots.styles(["a", "b"])).exists()
