"""Several processes as one program: how they find one another, whether they agree, and how they part.

On a cluster that JAX knows (Slurm, Open MPI, TPU pods) it finds the processes itself. Elsewhere each is told three
things by its environment: `JAX_COORDINATOR_ADDRESS` (host:port of process 0), `JAX_NUM_PROCESSES` and `JAX_PROCESS_ID`.
`DDPM_JAX_JOIN_SECONDS` is how long they wait for one another. Imports jax late.
"""

import argparse
import json
import os
import sys
import threading
from collections import Counter
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ddpm_jax.errors import Preempted, UserError
from ddpm_jax.files import Record

ADDRESS, COUNT, INDEX, SECONDS = (
    "JAX_COORDINATOR_ADDRESS",
    "JAX_NUM_PROCESSES",
    "JAX_PROCESS_ID",
    "DDPM_JAX_JOIN_SECONDS",
)

PATIENCE = 300
"""Seconds to wait for a process that has not come."""

FAREWELL = 10
"""Seconds that a process which has failed waits for the others to end as well."""

EACH_ITS_OWN = ("logging", "data.dir", "model.text_encoder")
"""Keys and sections of the config that may differ between the processes of one run."""

SHOWN = 3
"""Differences that a line tells; the rest are counted."""


def environment(address: str, count: int, index: int) -> dict[str, str]:
    """The variables that tell process `index` of `count` where the others are."""
    return {ADDRESS: address, COUNT: str(count), INDEX: str(index)}


def read_environment(variables: Mapping[str, str]) -> Record:
    """The arguments of `jax.distributed.initialize` that the variables ask for; none where they do not.

    Raises:
        UserError: one is missing or wrong.
    """
    given = {name: variables[name] for name in (ADDRESS, COUNT, INDEX) if variables.get(name)}
    if COUNT not in given and INDEX not in given:
        return {}  # JAX reads an address by itself, and finds out the rest on the clusters that it knows
    for name in (ADDRESS, COUNT, INDEX):
        if name not in given:
            raise UserError(f"{name} is not set, but {' and '.join(given)}; several processes need all three")
    count, index = _whole(given, COUNT), _whole(given, INDEX)
    if count < 1:
        raise UserError(f"{COUNT}: {count} is less than 1")
    if index >= count:
        raise UserError(f"{INDEX}: {index} is not one of 0 ... {count - 1} ({COUNT} is {count})")
    host, _, port = given[ADDRESS].rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 2**16:
        raise UserError(f"{ADDRESS}: {given[ADDRESS]!r} is not host:port, such as node0:12345")
    return {
        "coordinator_address": given[ADDRESS],
        "num_processes": count,
        "process_id": index,
        "cluster_detection_method": "deactivate",  # it would give each process one device
    }


def _whole(variables: Mapping[str, str], name: str) -> int:
    if not variables[name].isdecimal():
        raise UserError(f"{name}: {variables[name]!r} is not a whole number")
    return int(variables[name])


def facts(config: Any, options: argparse.Namespace) -> Record:
    """What the processes of one run must agree on: the config's values and the command's options, by name."""
    from ddpm_jax.config.identity import flatten, within

    flat = flatten(config)
    shared = {key: flat[key] for key in flat if not within(key, EACH_ITS_OWN)}
    chosen = {
        name: value for name, value in vars(options).items() if name not in ("config", "data_dir", "text_encoder")
    }
    return {
        **{f"config.{key}": value for key, value in shared.items()},
        **{f"--{name}": value for name, value in chosen.items()},
    }


def join(facts: Record, preemptible: bool = False) -> None:
    """Make this process one of several, once all of them have come and agree on the facts, the code and the devices.

    Args:
        facts: what this process is about to do, by name: values that JSON can hold.
        preemptible: SIGTERM is to be heard by JAX, which agrees with the others on where to stop (see `preemption`).

    Raises:
        UserError: the processes cannot find one another, or differ; all of them raise the same line then.
    """
    import jax

    arguments = read_environment(os.environ)
    seconds = _whole(os.environ, SECONDS) if os.environ.get(SECONDS) else PATIENCE
    jax.config.update("jax_enable_preemption_service", preemptible)  # it takes SIGTERM, which else ends the process
    failures: list[Exception] = []

    def connect() -> None:
        try:
            jax.distributed.initialize(**arguments, initialization_timeout=seconds + 60)
        except Exception as error:
            failures.append(error)

    # JAX aborts the process, with a stack trace, when its time is over. Ours is over before, and Ctrl-C is heard.
    waiting = threading.Thread(target=connect, daemon=True)
    waiting.start()
    try:
        waiting.join(seconds)
    except KeyboardInterrupt:
        _end("stopped", 130)
    except Preempted:
        _end("the machine is wanted back", Preempted.code)
    if waiting.is_alive():
        me = f"process {arguments['process_id']} of {arguments['num_processes']}" if arguments else "this process"
        where = arguments.get("coordinator_address", "the coordinator")
        _end(
            f"error: the processes cannot be joined: {me} has waited {seconds} s at {where} for the others; "
            f"start all of them, look for one that has failed, or set {SECONDS}",
            2,
        )
    if failures:
        line = (str(failures[0]).splitlines() or [type(failures[0]).__name__])[0]
        raise UserError(
            f"config.parallel.distributed: the processes cannot be joined: {line} (outside a cluster that JAX knows, "
            f"set {ADDRESS}, {COUNT} and {INDEX}, or start them by launch/local.py)"
        ) from failures[0]
    check_agreement(facts)


def check_agreement(facts: Record) -> None:
    """Compare the processes' devices, which each knows of all, and then their code, versions and facts.

    Raises:
        UserError: they differ; it says who in what, and is the same line in every process.
    """
    import jax

    devices: dict[int, Any] = {}
    for device in jax.devices():
        devices.setdefault(device.process_index, []).append(device.device_kind)
    kinds = {index: dict(Counter(names)) for index, names in devices.items()}
    _refuse({index: {"devices": _words(counts)} for index, counts in kinds.items()})
    check_alike({**code(), **facts})


def check_alike(facts: Record) -> None:
    """Compare facts, values that JSON can hold, between the processes.

    Raises:
        UserError: as `check_agreement`.
    """
    import jax

    if jax.process_count() > 1:
        _refuse(_gather({**facts, "process": jax.process_index()}))


def _words(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in counts.items())


def code() -> dict[str, str]:
    """What is run: a digest of this package's source files, and the versions of what it stands on."""
    from ddpm_jax.files import sha256

    root = Path(__file__).parents[1]
    sources = sorted(root.rglob("*.py"))
    parts = [part for path in sources for part in (path.relative_to(root).as_posix(), path.read_text())]
    facts = {"source": sha256(parts)[:12], "python": ".".join(map(str, sys.version_info[:2]))}
    for name in ("jax", "jaxlib", "flax", "numpy"):
        try:
            facts[name] = version(name)
        except PackageNotFoundError:
            facts[name] = "unknown"
    return facts


def _gather(facts: Record) -> dict[int, Record]:
    """Every process's facts, by process."""
    import numpy as np
    from jax.experimental.multihost_utils import process_allgather

    words = np.frombuffer(json.dumps(facts).encode(), np.uint8)
    sizes = np.asarray(process_allgather(np.int32(len(words)))).ravel()
    padded = np.zeros(sizes.max(), np.uint8)
    padded[: len(words)] = words
    rows = np.asarray(process_allgather(padded)).reshape(len(sizes), -1)
    known = [json.loads(row[:size].tobytes()) for row, size in zip(rows, sizes, strict=True)]
    return {row.pop("process"): row for row in known}


def differences(facts: Mapping[int, Record]) -> list[str]:
    """For each fact that is not the same in all processes: its values, and whose each is."""
    found = []
    for name in dict.fromkeys(name for own in facts.values() for name in own):
        owners: dict[str, list[int]] = {}
        for index in sorted(facts):
            value = repr(facts[index][name]) if name in facts[index] else "missing"
            owners.setdefault(value.strip("'"), []).append(index)
        if len(owners) > 1:
            found.append(f"{name}: " + ", ".join(f"{value} in {_who(who)}" for value, who in owners.items()))
    return found


def _who(processes: list[int]) -> str:
    more = f" and {len(processes) - SHOWN} more" if len(processes) > SHOWN else ""
    return f"process{'es' * (len(processes) > 1)} {', '.join(map(str, processes[:SHOWN]))}{more}"


def _refuse(facts: Mapping[int, Record]) -> None:
    if found := differences(facts):
        more = f"; and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
        raise UserError(f"the processes differ in {'; '.join(found[:SHOWN])}{more}; start all of them alike")


def joined() -> bool:
    """Whether this process is one of several."""
    jax = sys.modules.get("jax")
    return jax is not None and jax.distributed.is_initialized()


def lost(error: BaseException) -> bool:
    """Whether the error says that another process has gone."""
    return joined() and "Gloo" in str(error) and "onnection" in str(error)


def leave(code: int) -> None:
    """End a process that has failed. If the others do not end as well, it goes alone, which ends their waiting.

    Does nothing where there are no others. An ordinary exit would wait for them for minutes, and they for it.
    """
    if joined():
        import jax

        sys.stdout.flush()
        farewell = threading.Thread(target=jax.distributed.shutdown, daemon=True)
        farewell.start()
        farewell.join(FAREWELL)
        os._exit(code)


def _end(line: str, code: int) -> None:
    """End at once, while JAX still waits in its thread."""
    print(line, file=sys.stderr, flush=True)
    os._exit(code)
