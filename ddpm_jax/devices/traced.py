"""Functions that are traced once: what tracing found is kept in the cache by what it follows from.

To trace and lower a U-Net's step takes Python longer than XLA takes to read its compiled program. What is kept is used
only while every module that was loaded when it was made has the same content: no change of code goes unseen. What is
traced is kept as StableHLO (`jax.export`), and compiled as ever, or read from JAX's own cache.
"""

import hashlib
import json
import math
import pickle
import sys
import sysconfig
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree

from ddpm_jax import cache as folder
from ddpm_jax.files import Facts

KIND = "traced"
"""Of entries in the cache. The first line of one has the files of the modules, and a digest of their content."""

BEGAN = time.time()
MARGIN = 10.0
"""Seconds. A file that has changed since so long before a process began may not be what the process has loaded."""


@dataclass(frozen=True, eq=False)
class Traced:
    """A function compiled by `jit`, traced at most once for what it follows from, in this process or an earlier one.

    It runs what `jax.export` makes of the function, whether that is new or was kept: both are the same program. A
    function that cannot be exported runs as it is.

    Attributes:
        function: what is traced, for one device.
        name: what it is.
        made_from: what it follows from besides code: a config, facts about data. As plain JSON.
        donate: the arguments that it may overwrite.
        sharding: where its results lie.
        programs: those that are ready, by the structure, shapes and types of their arguments.
    """

    function: Any
    name: str
    made_from: Facts
    donate: tuple[int, ...]
    sharding: Any
    programs: dict[Any, Callable[..., PyTree]] = field(default_factory=dict)

    def __call__(self, *arguments: Any) -> PyTree:
        """What the function gives."""
        leaves, tree = jax.tree.flatten(arguments)
        kinds = tree, tuple((np.shape(leaf), leaf.dtype) for leaf in leaves)
        if kinds not in self.programs:
            made_from = {"function": self.name, "arguments": str(kinds), "from": self.made_from}
            content = remembered(made_from, partial(_exported, self.function, arguments))
            self.programs[kinds] = self._program(content, arguments) if content else self.function
        return self.programs[kinds](*arguments)

    def trace(self, *arguments: Any) -> Any:
        """As of any compiled function, to look at it: see `jax.stages`. Nothing is kept."""
        return self.function.trace(*arguments)

    def lower(self, *arguments: Any) -> Any:
        """Likewise."""
        return self.function.lower(*arguments)

    def _program(self, content: bytes, arguments: tuple) -> Callable[..., PyTree]:
        from jax import export

        structure, exported = pickle.loads(content)
        sizes = np.cumsum([0, *(len(jax.tree.leaves(argument)) for argument in arguments)])
        donated = tuple(leaf for number in self.donate for leaf in range(sizes[number], sizes[number + 1]))
        call = export.deserialize(bytearray(exported)).call
        return partial(_run, jax.jit(call, donate_argnums=donated, out_shardings=self.sharding), structure)


def _run(flat: Any, structure: Any, *arguments: Any) -> PyTree:
    return jax.tree.unflatten(structure, flat(*jax.tree.leaves(arguments)))


def _exported(function: Any, arguments: tuple) -> bytes:
    """The structure of what a function gives, and the function, of its arguments' leaves; empty where it cannot be."""
    from jax import export

    leaves, tree = jax.tree.flatten(arguments)
    structures: list[Any] = []

    def flat(*leaves: Any) -> list[Any]:
        results, structure = jax.tree.flatten(function(*jax.tree.unflatten(tree, leaves)))
        structures.append(structure)
        return results

    try:
        exported = export.export(jax.jit(flat))(*leaves)
    except (ValueError, NotImplementedError):  # it has a kernel that no other process may read
        return b""
    return pickle.dumps((structures[0], bytes(exported.serialize())))


def remembered(made_from: Facts, make: Callable[[], bytes]) -> bytes:
    """What `make` gives, or gave in an earlier process: it follows from `made_from` and from code alone.

    The code is every module that is loaded when it is made. It is called where one of them has changed since, or JAX's
    options or devices have.
    """
    key = [json.dumps(made_from, sort_keys=True), *_surroundings()]
    kept = folder.load(KIND, key)
    if kept is not None:
        head, _, content = kept.partition(b"\n")
        known = json.loads(head)
        if _digest(tuple(known["files"])) == known["digest"]:
            return content
    content, files = make(), _files()
    if all(_changed(file) < BEGAN - MARGIN for file in files):
        head = json.dumps({"files": files, "digest": _digest(files)}).encode()
        folder.save(KIND, key, head + b"\n" + content)
    return content


def _files() -> tuple[str, ...]:
    """Those of the modules that are loaded, but for what comes with Python, and for what is no text."""
    ours, pythons = ([sysconfig.get_path(name) for name in names] for names in (("purelib", "platlib"), ("stdlib",)))
    loaded = {str(file) for module in list(sys.modules.values()) if (file := getattr(module, "__file__", None))}
    found = (file for file in loaded if file.endswith(".py"))
    return tuple(sorted(file for file in found if file.startswith((*ours,)) or not file.startswith((*pythons,))))


def _changed(file: str) -> float:
    """When, in seconds."""
    try:
        return Path(file).stat().st_mtime
    except OSError:
        return math.inf


@cache
def _digest(files: tuple[str, ...]) -> str:
    """Of what is in them."""
    digest = hashlib.sha256()
    for file in files:
        try:
            digest.update(hashlib.sha256(Path(file).read_bytes()).digest())
        except OSError:  # gone
            digest.update(b"-")
    return digest.hexdigest()


def _surroundings() -> list[str]:
    """What tracing depends on besides code and arguments."""
    device = jax.devices()[0]
    versions = [version(name) for name in ("jax", "jaxlib", "flax", "optax", "numpy")]
    options = [f"{name}={value}" for name, value in sorted(jax.config.values.items())]
    return [sys.version, sys.prefix, device.platform, device.device_kind, *versions, *options]
