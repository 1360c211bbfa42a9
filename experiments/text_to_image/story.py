"""The study's report: which sentences its figures support, then its tables, curves and pictures.

Reads run folders only, and needs no JAX. Written for `run.py`.
"""

from collections.abc import Sequence, Set
from pathlib import Path

import claims
import study

from ddpm_jax.errors import UserError
from ddpm_jax.files import write_bytes
from ddpm_jax.reporting import document, html, ledger, lines, tables
from ddpm_jax.reporting.blocks import Block, Bullets, Heading, Paragraph, as_markdown
from ddpm_jax.reporting.groups import Group, group
from ddpm_jax.reporting.markup import quoted

TITLE = "Tell it what to draw: text to image by every kind of model"

INTRODUCTION = """Noise on straight paths (flow) and on DDPM's, hidden pixels (masked) and pixel by pixel
(autoregressive) are told the same captions by the same encoder, trained with them, and trained for the same FLOPs. An
oracle reads from the pixels what a picture shows. Beside them stands a control (pooled): flow, told its caption as a
whole and not word by word."""

COLUMNS = """The columns of the tables of what was asked are those of GenEval (Ghosh et al. 2023), each of the pictures
whose caption asks it: *one object* and *two objects*, whether things of these kinds are there; *counting*, as many as
asked; *colours*, of things alone; *position*, a relation or a place; *colour binding*, that each of two, or a thing and
its plate, has its own colour; *size*; and *all* that is asked and nothing else, then the same apart by how many things
are asked; *area*, the share of a picture that things cover. No model's share means more than that of the data's own
pictures, in italics, for there the oracle is all that errs."""

VERDICTS = """A sentence is *supported* where the whole 95 % t-interval over seeds is on its side, *contradicted* where
all of it is on the other, and else *not decided*; one seed decides nothing. Differences are of the same seed. Figures
without a weight are those of weight 3, on captions like those of training. With many sentences at 95 %, one in twenty
may be wrong."""

LIMITS = """What these figures cannot say: pictures are drawn by the project, small, and of a small grammar. The
autoregressor has a causal transformer and all others a U-Net, so that there kind and network are not told apart.
Learning rates were not tried for each. The captions are the same for all seeds: an interval says how other trainings
would differ, not other captions. Distances are on features of photographs (colour), not of
such drawings."""


def write(runs: Path, output: Path, members: Set[str]) -> list[str]:
    """Write report.md, report.html, two tables as CSV, and their pictures; gives back notes, and the files to look at.

    `members` are the names of the run folders of the study: others, of an earlier version of it, are left out.

    Raises:
        UserError: there is no run of the study that has a result.
    """
    found = ledger.gather([runs])
    groups, notes = group([run for run in found.runs if run.folder.name in members])
    if not groups:
        raise UserError(f"--runs: no run of the present study in {runs} has a result; leave --report out to train")
    groups = sorted(groups, key=lambda one: list(study.MEMBERS).index(one.runs[0].config["name"]))
    output.mkdir(parents=True, exist_ok=True)
    blocks = compose(groups, output)
    written = {
        "report.md": as_markdown(blocks),
        "report.html": html.page(TITLE, blocks, output),
        "table.csv": tables.comma_separated(groups),
        "lines.csv": lines.comma_separated(groups),
    }
    for name, content in written.items():
        write_bytes(output / name, content.encode())
    return [*found.notes, *notes, *(str(output / name) for name in written)]


def compose(groups: Sequence[Group], output: Path) -> list[Block]:
    """The report's blocks; its pictures are drawn into the folder on the way."""
    sentences = claims.claims(groups)
    section = document.Section(groups[0].data, groups, output, "", document.styles(groups))
    blocks: list[Block] = [
        Heading(1, TITLE),
        Paragraph(" ".join(INTRODUCTION.split())),
        Paragraph(document.opening(groups)),
        *([Bullets(several)] if (several := document.differences(groups)) else []),
        Heading(2, "What the figures support"),
        Paragraph(f"{claims.summary(sentences)} {' '.join(VERDICTS.split())}"),
        Bullets([one.told() for one in sentences]),
        Paragraph(" ".join(LIMITS.split())),
        Heading(2, f"The figures, on {quoted(section.name)}"),
        Paragraph(" ".join(COLUMNS.split())),
    ]
    for part in document.PARTS:
        blocks += [block for block in part(section) if not isinstance(block, Heading)]
    return blocks
