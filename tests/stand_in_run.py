"""Stands in for `python -m ddpm_jax.train` where a test is of what starts runs: no jax, a moment, the same folder.

Its learning rate says what becomes of it: 7 fails, 8 fails as on a full disk, 9 is killed, 6 goes on until it is
stopped, 5 is told to make room by somebody until it has saved twice. All take STAND_IN_SECONDS, or less where a file
`over` comes into their working folder. Each start adds a line to `starts.txt` beside the run folder. Told to make room
it saves a checkpoint's folder, one step on, and exits as a run does; where STAND_IN_SAVES is 0 it saves nothing, with
STAND_IN_DEAF it does not listen.
"""

import math
import os
import signal
import time
from pathlib import Path

from ddpm_jax import commands, files, runs
from ddpm_jax.commands import preemption
from ddpm_jax.errors import Busy, Preempted, UserError
from ddpm_jax.runs import locks


def main(arguments):
    parser = commands.Parser()
    parser.add_argument("--config")
    parser.add_argument("--workdir")
    parser.add_argument("--once", action="store_true")
    options, config, _ = commands.parse_with_config(parser, arguments)
    folder, rate = Path(options.workdir), config.optimizer.learning_rate
    with locks.hold(folder):
        if options.once and runs.finished(folder):
            raise Busy("another process has finished it")
        with (folder.parent / "starts.txt").open("a") as file:
            file.write(f"{folder.name} {os.sched_getaffinity(0)} {os.environ.get('CUDA_VISIBLE_DEVICES')}\n")
        with preemption.listening() as notice, notice.only_noted():
            print("training", flush=True)
            if rate == 5 and (runs.latest_checkpoint(folder) or 0) < 2:
                os.kill(os.getpid(), signal.SIGTERM)
            end = time.monotonic() + float(os.environ.get("STAND_IN_SECONDS", "0"))
            while rate == 6 or (time.monotonic() < end and not Path("over").exists()) or notice.came:
                if notice.came and "STAND_IN_DEAF" not in os.environ:
                    step = (runs.latest_checkpoint(folder) or 0) + int(os.environ.get("STAND_IN_SAVES", "1"))
                    (folder / runs.CHECKPOINTS / str(step) / "state").mkdir(parents=True, exist_ok=True)
                    print(f"saved step {step}")
                    raise Preempted
                time.sleep(0.02)
        if rate == 7:
            raise UserError("step 3: the loss or its gradient is not finite; lower config.optimizer.learning_rate")
        if rate == 8:
            raise OSError(28, "No space left on device", str(folder / "result.json"))
        if rate == 9:
            os.kill(os.getpid(), signal.SIGKILL)
        value = math.log10(rate / 1e-3) ** 2
        result = {"config": config.to_dict(), "likelihood": {"test": {"value": value}}, runs.FINISHED: True}
        files.write_record(folder / runs.RESULT, result)


if __name__ == "__main__":
    commands.run(main, "stopped")
