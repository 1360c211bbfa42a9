"""Small programs that a case runs as processes of their own.

python tests/campaign/programs.py digest RUN CONFIG   the SHA-256 of the arrays of every checkpoint, by step
python tests/campaign/programs.py save FOLDER         save checkpoints in a loop, until killed
python tests/campaign/programs.py saved FOLDER        what is there to read of them
python tests/campaign/programs.py result FOLDER       write result.json in a loop
python tests/campaign/programs.py rows FOLDER         write metrics.jsonl in a loop
python tests/campaign/programs.py cache FOLDER        prepare and decode the digits into new caches in a loop
python tests/campaign/programs.py sweep ...           a sweep whose runs are `tests/stand_in_run.py`
"""

import dataclasses
import hashlib
import itertools
import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

CHECKOUT = Path(__file__).resolve().parents[2]


def sha256(*arrays: np.ndarray) -> str:
    """Of arrays with their types and shapes."""
    digest = hashlib.sha256()
    for array in map(np.asarray, arrays):
        digest.update(f"{array.dtype}{array.shape}".encode() + np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def tell(words: object) -> None:
    """Print, so that it is out although the process is killed."""
    os.write(1, f"{words}\n".encode())


def digest(run: Path, described: Path) -> None:
    """Read every checkpoint of `run`, whose config is in `described`."""
    import jax

    from ddpm_jax import runs
    from ddpm_jax.devices.plan import make_plan
    from ddpm_jax.experiment import load_data, make
    from ddpm_jax.pipeline.job import abstract_state
    from ddpm_jax.training.checkpoints import Checkpoints

    config = runs.read_config(described)
    dataset = load_data(config)
    abstract = abstract_state(make(config, dataset.description))
    found = {}
    with Checkpoints(run / runs.CHECKPOINTS, make_plan("jit", "replicated", "auto"), read_only=True) as checkpoints:
        for step in checkpoints.steps:
            try:
                found[step] = sha256(*jax.tree.leaves(jax.device_get(checkpoints.restore(abstract, step).state)))
            except Exception as error:
                found[step] = f"does not read: {str(error)[:200]}"
    tell(json.dumps(found))


def _checkpoints(folder: Path, read_only: bool = False) -> tuple[Any, Any]:
    """Checkpoints of states that are made up, and what makes the state of a step."""
    import jax.numpy as jnp
    import optax

    from ddpm_jax.devices.plan import make_plan
    from ddpm_jax.training.checkpoints import Checkpoints
    from ddpm_jax.training.state import new_state

    def state(step: int) -> Any:
        numbers = np.random.default_rng(step).normal(size=(64, 64)).astype(np.float32)
        params = {"a": jnp.asarray(numbers), "b": {"c": jnp.asarray(numbers[0])}}
        frozen = {"f": jnp.arange(1000, dtype=jnp.float32)}
        return dataclasses.replace(new_state(params, (), optax.identity(), frozen), step=jnp.int32(step))

    plan = make_plan("jit", "replicated", "auto")
    return Checkpoints(folder / "checkpoints", plan, 2, 1, 0, read_only=read_only), state


def save(folder: Path) -> None:
    """Go on from what is there, and tell each step that is committed."""
    import jax

    from ddpm_jax.training.facts import Facts

    checkpoints, state = _checkpoints(folder)
    found = checkpoints.resume(lambda: state(0), jax.eval_shape(lambda: state(0)))
    for step in itertools.count(int(found.state.step) + 1):
        checkpoints.save(state(step), Facts(float(step), 1.0 / step))
        checkpoints.wait()
        tell(step)


def saved(folder: Path) -> None:
    """Read the newest: its step, and whether its arrays are those of that step."""
    import jax

    checkpoints, state = _checkpoints(folder, read_only=True)
    found = checkpoints.restore(jax.eval_shape(lambda: state(0))).state
    step = int(found.step)
    same = sha256(*jax.tree.leaves(jax.device_get(found))) == sha256(*jax.tree.leaves(jax.device_get(state(step))))
    tell(json.dumps({"step": step, "same": same}))


def result(folder: Path) -> None:
    """Write a counter and something long into result.json, again and again."""
    from ddpm_jax import runs

    for number in itertools.count():
        runs.write_result(folder, {"number": number, "again": number, "long": [number] * 2000})
        tell(number)


def rows(folder: Path) -> None:
    """Write rows, each told when it is written."""
    from ddpm_jax.training.logging import Log

    log = Log(folder, {}, "off")
    for step in itertools.count(1):
        log.scalars(step, {"loss": 1.0 / step, "words": float(step)})
        tell(step)


def cache(folder: Path) -> None:
    """Prepare the digits in one cache after the other, and tell what they are."""
    from ddpm_jax import data

    for number in itertools.count():
        os.environ["DDPM_JAX_CACHE"] = str(folder / str(number))
        arrays = data.load("digits").split("test").arrays()
        tell(f"{number} {sha256(*arrays)}")


def read_caches(folder: Path) -> None:
    """What is read from every cache that is there."""
    from ddpm_jax import data

    for part in sorted(folder.iterdir()):
        os.environ["DDPM_JAX_CACHE"] = str(part)
        tell(sha256(*data.load("digits").split("test").arrays()))


def sweep(arguments: list[str]) -> None:
    """The command, with `stand_in_run.py` in place of training."""
    from ddpm_jax import commands, sweep
    from ddpm_jax.sweeps import expansion, loop

    real = expansion.Member.command

    def stand_in(self: Any, python: str = sys.executable) -> list[str]:
        return [python, str(CHECKOUT / "tests" / "stand_in_run.py"), *real(self)[3:]]

    expansion.Member.command = stand_in  # type: ignore[method-assign]
    expansion.check = lambda members, data=False: [400] * len(members)  # type: ignore[assignment]
    loop.PAUSE = 0.02
    sys.argv = ["sweep", *arguments]
    commands.run(sweep.main, "stopped; the same command goes on with what is left")


def main(name: str, *words: str) -> None:
    """Do what the first word says."""
    if name == "sweep":
        sweep(list(words))
    else:
        globals()[name](*map(Path, words))


if __name__ == "__main__":
    main(*sys.argv[1:])
