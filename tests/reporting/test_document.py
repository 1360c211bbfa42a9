"""What a report says around its tables."""

from pathlib import Path

import pytest

from ddpm_jax.reporting import document
from ddpm_jax.reporting.groups import Group
from ddpm_jax.reporting.ledger import Run


@pytest.mark.parametrize(
    ("counts", "law", "words"),
    [((64, 64), True, ""), ((64, 1024), True, "(64, 1,024)"), ((64, 1024), False, "")],
)
def test_distances_from_a_law_of_different_numbers_of_samples_are_told(counts, law, words):
    measured = [{"samples": {"count": count}, **({"law": "ising"} if law else {})} for count in counts]
    results = [*({"quality": quality} for quality in measured), {"likelihood": {}}]  # the last without samples
    runs = [Run(Path(), {}, result, {}, None) for result in results]
    said = document._counts([Group("", "ising", runs)])
    assert words in said and bool(said) == bool(words)
