"""Run folders: what is in one, whose it is, and how it is read back.

`folder.py` has the folder and its config, `naming.py` its name, `results.py` its `result.json`, `book.py` the figures
as they come, `pictures.py` its PNGs and `captions.py` the words under them, `fonts.py` and `shown.py` text in pictures
and in lines, `locks.py` who works in it, `origin.py` what else a figure depends on, `lineage.py` what it began with and
how it was made longer. The commands, sweeps, reports, `evaluation` and `pipeline` import it. All of it is light.
"""

from ddpm_jax.runs.folder import (
    CHECKPOINTS,
    CONFIG,
    METRICS,
    check_config,
    check_data,
    check_folder,
    claim,
    config_reads,
    extend,
    identity,
    last_row,
    latest_checkpoint,
    make_folder,
    mend_config,
    read_config,
    read_data,
    read_unchecked,
)
from ddpm_jax.runs.lineage import read_lineage
from ddpm_jax.runs.naming import default_folder
from ddpm_jax.runs.origin import provenance
from ddpm_jax.runs.results import (
    FINISHED,
    RESULT,
    begin_figures,
    end_figures,
    finished,
    trained,
    write_result,
)

__all__ = [
    "CHECKPOINTS",
    "CONFIG",
    "FINISHED",
    "METRICS",
    "RESULT",
    "begin_figures",
    "check_config",
    "check_data",
    "check_folder",
    "claim",
    "config_reads",
    "default_folder",
    "end_figures",
    "extend",
    "finished",
    "identity",
    "last_row",
    "latest_checkpoint",
    "make_folder",
    "mend_config",
    "provenance",
    "read_config",
    "read_data",
    "read_lineage",
    "read_unchecked",
    "trained",
    "write_result",
]
