"""Attack the product through its own commands, and say for each case what became of it.

    python -m tests.campaign --seed=0 --minutes=3
    python -m tests.campaign --seed=0 --long
    python -m tests.campaign --seed=0 --case=flips:123

Cases are made up from the seed: kills, damaged files, malformed input, signals, full disks, limits, environments.
Exit code 1 if a case failed; each of those is shown with the command that repeats it.
"""

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path

from tests.campaign import campaign


def main() -> int:
    """Read the command line, run the cases and show what became of them."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.campaign", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=0, help="of the cases (default: 0)")
    parser.add_argument("--minutes", type=float, help="stop starting cases after so many (default: 3, long: no limit)")
    parser.add_argument("--kinds", default="", help=f"some of {','.join(campaign.KINDS)} (default: all)")
    parser.add_argument("--counts", default="", help="how many cases of a kind, such as kills=100,flips=1000")
    parser.add_argument("--long", action="store_true", help="as many of each kind as the promises are about")
    parser.add_argument("--case", metavar="KIND:NUMBER", action="append", default=[], help="one case; may be repeated")
    parser.add_argument("--jobs", type=int, default=2, help="cases at a time (default: 2)")
    parser.add_argument("--real", action="store_true", help="every process a real one: slower, to look at one case")
    parser.add_argument("--output", metavar="FILE.json", help="where all verdicts go")
    parser.add_argument("--folder", metavar="DIR", help="keep what is prepared here for the next time")
    options = parser.parse_args()
    try:
        plan = campaign.plan(options.kinds, options.counts, options.long, options.case)
    except ValueError as error:
        parser.error(str(error))
    limited = not (options.long or options.case or options.counts)
    minutes = options.minutes or (3.0 if limited else 0.0)
    folder = Path(options.folder) if options.folder else Path(tempfile.mkdtemp(prefix="ddpm_jax_campaign_"))
    try:
        results = campaign.run(folder, options.seed, plan, minutes * 60, options.jobs, options.real)
    finally:
        if not options.folder:
            shutil.rmtree(folder, ignore_errors=True)
    if options.output:
        Path(options.output).write_text(json.dumps([result.to_dict() for result in results], indent=1))
    print(campaign.table(results, options.seed))
    return int(any(result.failed for result in results))


if __name__ == "__main__":
    sys.exit(main())
