"""What differs in the configs of the groups that are compared."""

import json
from collections import Counter
from collections.abc import Sequence

from ddpm_jax.files import Facts
from ddpm_jax.reporting.groups import SETTING, Group, differing
from ddpm_jax.reporting.markup import quoted
from ddpm_jax.reporting.tables import NONE, Table
from ddpm_jax.runs.shown import clean

SIDE_BY_SIDE, MOST_KEYS = 5, 12
"""Groups up to which they stand side by side; keys that are told."""


def table(groups: Sequence[Group]) -> Table | None:
    """What is not the same in the configs of the groups of one data set; None where all is.

    Of a few groups a row is a key. Of more it is a group, with what is not as in most of them.
    """
    configs = [one.runs[0].config for one in groups]
    keys = [key for key in differing(one.runs[0] for one in groups) if key != "name"]
    labels = [quoted(one.label) for one in groups]
    if not keys:
        return None
    if len(groups) <= SIDE_BY_SIDE:
        rows = [[quoted(key), *(_setting(config, key) for config in configs)] for key in keys[:MOST_KEYS]]
        if more := keys[MOST_KEYS:]:
            rows.append([f"and {len(more)} more", *[""] * len(groups)])
        return Table(["", *labels], rows)
    common = {key: Counter(json.dumps(config.get(key)) for config in configs).most_common(1)[0][0] for key in keys}
    rows = []
    for label, config in zip(labels, configs, strict=True):
        own = [key for key in keys if json.dumps(config.get(key)) != common[key]]
        words = [f"{quoted(key)} {_setting(config, key)}" for key in own[:MOST_KEYS]]
        more = [f"and {len(own) - MOST_KEYS} more"] if len(own) > MOST_KEYS else []
        rows.append([label, ", ".join([*words, *more]) or NONE])
    return Table(["", "is not as in most of them"], rows, frozenset({0, 1}))


def _setting(config: Facts, key: str) -> str:
    value = config.get(key)
    return NONE if value in (None, "", [], {}) else quoted(clean(f"{value}", SETTING))
