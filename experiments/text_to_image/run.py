"""Text to image by every kind of model: the whole study, from nothing to its report.

    python experiments/text_to_image/run.py                          # all members, three seeds
    python experiments/text_to_image/run.py --members=flow,pooled --seeds=0
    python experiments/text_to_image/run.py --report                 # the report of what there is

Started again, it goes on where it stopped. The report is of the members and seeds that are asked for.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from ddpm_jax import commands
from ddpm_jax.errors import UserError
from ddpm_jax.sweeps import expansion

HERE = Path(__file__).parent
STUDY = HERE / "study.py"

sys.path.append(str(HERE.parent))
import studies  # noqa: E402


def main(arguments: Sequence[str]) -> None:
    """Read the command line and do it."""
    import study

    members, seeds = ",".join(study.MEMBERS), ",".join(map(str, study.SEEDS))
    parser = commands.Parser(prog="python experiments/text_to_image/run.py", description=__doc__)
    parser.add_argument("--members", metavar="A,B", default=members, help=f"of {members} (all)")
    parser.add_argument("--seeds", metavar="A,B", default=seeds, help=f"whole numbers ({seeds})")
    studies.add_options(parser, "runs/text_to_image")
    options = commands.parse(parser, arguments)
    hint = "it is empty; name some, or leave it out for all"
    chosen, numbers = (studies.listed(f"--{name}", getattr(options, name), hint) for name in ("members", "seeds"))
    studies.check_names("--members", "member", chosen, study.MEMBERS)
    studies.check_seeds("--seeds", numbers, seeds)
    runs, output = studies.places(options)
    asked = f"{STUDY}:{','.join(chosen)}/{','.join(numbers)}"
    done = options.report or studies.sweep(asked, runs, options.jobs)
    import story

    if not runs.is_dir():
        raise UserError(f"--runs: there is no folder {runs}; leave --report out to train")
    for line in story.write(runs, output, {one.name for one in expansion.members(asked, runs)}):
        print(line)
    studies.check_done(done)


if __name__ == "__main__":
    commands.run(main)
