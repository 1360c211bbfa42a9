"""Stands in for `python -m ddpm_jax.train` where a test is of what starts runs: no jax, a moment, the same folder.

Its learning rate says what becomes of it: 7 fails, 8 fails as on a full disk, 9 is killed, 6 fills the screen until it
is stopped. Each start adds a line to `starts.txt` beside the run folder.
"""

import math
import os
import signal
import time
from pathlib import Path

from ddpm_jax import command, locks, runs
from ddpm_jax.errors import Busy, UserError


def main(arguments):
    parser = command.Parser()
    parser.add_argument("--config")
    parser.add_argument("--workdir")
    parser.add_argument("--once", action="store_true")
    options, config, _ = command.parse_with_config(parser, arguments)
    folder, rate = Path(options.workdir), config.optimizer.learning_rate
    with locks.hold(folder):
        if options.once and runs.finished(folder):
            raise Busy("another process has finished it")
        with (folder.parent / "starts.txt").open("a") as file:
            file.write(f"{folder.name} {os.sched_getaffinity(0)} {os.environ.get('CUDA_VISIBLE_DEVICES')}\n")
        print("training")
        if rate == 6:
            while True:
                time.sleep(0.05)
        if rate == 7:
            raise UserError("step 3: the loss or its gradient is not finite; lower config.optimizer.learning_rate")
        if rate == 8:
            raise OSError(28, "No space left on device", str(folder / "result.json"))
        if rate == 9:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(float(os.environ.get("STAND_IN_SECONDS", "0")))
        value = math.log10(rate / 1e-3) ** 2
        result = {"config": config.to_dict(), "likelihood": {"test": {"value": value}}, runs.FINISHED: True}
        runs.write_json(folder / runs.RESULT, result)


if __name__ == "__main__":
    command.run(main, "stopped")
