"""Run by test_joining.py as one of several processes: joins the others with the facts in its argument, a JSON object.

With `fail` among the facts, process 1 then fails alone while process 0 waits for it; with `sleep` all wait so long.
"""

import json
import os
import time

from ddpm_jax import commands
from ddpm_jax.commands import joining, starting
from ddpm_jax.errors import UserError

joining.FAREWELL = 1


def main(words):
    facts = json.loads(words[0])
    import jax  # here, so that a test knows when the waiting begins

    print("joining", flush=True)
    starting.start_jax(True, facts)
    from jax.experimental.multihost_utils import sync_global_devices

    print(f"joined {jax.process_index()} of {jax.process_count()}", flush=True)
    if facts.get("fail") and os.environ[joining.INDEX] == "1":
        raise UserError("my disk is full")
    time.sleep(facts.get("sleep", 0))
    sync_global_devices("a step")


if __name__ == "__main__":
    commands.run(main)
