"""What differs between groups is told, whatever their number, and what they share is not."""

import pytest

from ddpm_jax.reporting import settings
from ddpm_jax.reporting.groups import group
from ddpm_jax.reporting.ledger import read


def groups(tmp_path, fabricate, overrides):
    folders = [
        fabricate(tmp_path / f"{i}", name=f"g{i}", bits=1.0 + i, overrides=own) for i, own in enumerate(overrides)
    ]
    return group([read(folder) for folder in folders])[0]


def test_few_stand_side_by_side(tmp_path, fabricate):
    ours = groups(tmp_path, fabricate, [{"model.depth": 2}, {"model.depth": 3, "model.input": "hidden"}])
    table = settings.table(ours)
    rows = {row[0]: list(row[1:]) for row in table.rows}
    assert list(table.head) == ["", "g0", "g1"]
    assert rows.keys() == {"model.depth", "model.input"} and rows["model.depth"] == ["2", "3"]


def test_many_are_told_by_what_most_have_otherwise(tmp_path, fabricate):
    ours = groups(tmp_path, fabricate, [{}] * 4 + [{"model.depth": 3}] + [{"seed": 5, "model.channels": 7}])
    rows = dict(settings.table(ours).rows)
    assert rows["g4"] == "model.depth 3" and rows["g5"] == "model.channels 7"
    assert {rows[f"g{i}"] for i in range(4)} == {"-"}


@pytest.mark.parametrize("count", [1, 3])
def test_seeds_and_names_are_no_difference(count, tmp_path, fabricate):
    assert settings.table(groups(tmp_path, fabricate, [{"seed": i} for i in range(count)])) is None
