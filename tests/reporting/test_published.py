"""Published figures: read as data, ours beside those of the same model, data, metric and kind only."""

import json
from pathlib import Path

import pytest

from ddpm_jax.errors import UserError
from ddpm_jax.reporting import published
from ddpm_jax.reporting.groups import group
from ddpm_jax.reporting.ledger import read

KEPT = Path(__file__).parents[2] / "experiments" / "published"


def row(**changes):
    return {
        "model": "ddpm",
        "paper": "Ho",
        "source": "arXiv:1, table 1",
        "metric": "bits_per_dimension",
        "kind": "bound",
        "value": 3.75,
        "split": "test",
        "data": "cifar10",
        "conditional": False,
        **changes,
    }


def test_the_kept_files_read_with_their_data_set():
    rows = published.read([str(KEPT / "*.json")])
    named = {(row["model"], row["value"]): published.data_of(row) for row in rows}
    assert named["ddpm", 3.17] == "cifar10" and named["md4", 2.75] == "cifar10"
    assert named["nade", 88.33] == "mnist, static binarisation"
    assert len(rows) == sum(len(json.loads(path.read_text())) for path in KEPT.glob("*.json"))


def test_ours_stands_beside_the_same_thing_only(tmp_path, fabricate):
    cifar = {"data.name": "cifar10"}
    groups, _ = group(
        [
            read(fabricate(tmp_path / "cifar10_ddpm", bits=3.7, overrides=cifar)),
            read(fabricate(tmp_path / "v", name="vdm", bits=2.6, overrides={**cifar, "data.batch": 8})),
            read(fabricate(tmp_path / "digits_ddpm", bits=2.4)),
        ]
    )

    def ours(**changes):
        found = published.ours(row(**changes), groups)
        return found and found.value

    assert ours() == 3.7 and ours(model="vdm") == 2.6
    assert ours(data="digits") == 2.4
    for other in ({"kind": "exact"}, {"kind": "ode"}, {"metric": "fid", "kind": None}, {"split": "train"}):
        assert ours(**other) is None
    assert ours(model="edm_vp") is None and ours(data="mnist") is None and ours(conditional=True) is None
    table = published.beside([row(ema="0.9999", note="read | twice"), row(model="edm_vp", value=1.97)], groups)
    assert [line[2:4] for line in table.rows] == [["3.75", "3.700 ± 0.037 s.e."], ["1.97", "-"]]
    assert table.rows[0][5] == "average 0.9999; read / twice"


@pytest.mark.parametrize(
    ("content", "words"),
    [("[{}]", "a row has no"), ("{", "is not a list"), ("3", "is not a list"), ("[3]", "is not a list")],
)
def test_wrong_files_are_one_line(tmp_path, content, words):
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(UserError, match=words) as caught:
        published.read([str(tmp_path / "a.json")])
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="there is no file"):
        published.read([str(tmp_path / "none*.json")])
