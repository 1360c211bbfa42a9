"""Published figures: read as data, ours beside those of the same model, data, metric and kind only."""

import json
from pathlib import Path

import pytest

from ddpm_jax.errors import UserError
from ddpm_jax.reporting import published
from ddpm_jax.reporting.groups import group
from ddpm_jax.reporting.ledger import read
from ddpm_jax.reporting.tables import markdown

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
    assert [line[2:4] for line in table.rows] == [("3.75", "3.700 ± 0.037 s.e."), ("1.97", "-")]
    assert table.rows[0][5] == "average 0.9999; read | twice"
    assert "average 0.9999; read &#124; twice |" in markdown(table)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        *(
            ("[{}]", "row 1 has no"),
            ("{", "is not a list"),
            ("3", "is not a list"),
            ("[3]", "row 1 is not a published"),
        ),
        *(("[" * 100_000, "is not a list"), ("\x00\x01", "is not a list"), ("{}", "is not a list"), ("null", "a list")),
        *((json.dumps([row(value=value)]), "row 1: value is") for value in ("x", True, [1], 10**400, float("nan"))),
        *((json.dumps([row(), row(**{key: 3})]), f"row 2: {key} is not text") for key in ("model", "kind", "split")),
        *((json.dumps([row(note=note)]), "row 1: note is") for note in ([1], {}, float("inf"), True)),
    ],
)
def test_wrong_files_are_one_line(tmp_path, content, words):
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(UserError, match=words) as caught:
        published.read([str(tmp_path / "a.json")])
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="there is no file"):
        published.read([str(tmp_path / "none*.json")])
