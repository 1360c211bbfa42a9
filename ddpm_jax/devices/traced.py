"""Functions that are traced once: what tracing found is kept in the cache by what it follows from.

To trace and lower a U-Net's step takes Python longer than XLA takes to read its compiled program. What is kept is used
only where it was made from every module that is loaded now, and each still has the same content: no change of code goes
unseen. What is traced is kept as StableHLO (`jax.export`), and compiled as ever, or read from JAX's own cache.
"""

import hashlib
import json
import math
import pickle
import sys
import sysconfig
import time
from collections.abc import Callable, Iterable
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

KIND, VERSION = "traced", 1
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
        function: what is traced, for one device, and arguments of one kind: those of the first call.
        name: what it is.
        made_from: what it follows from besides code: a config, facts about data. As plain JSON.
        donate: the arguments that it may overwrite.
        sharding: where its results lie.
        found: the function of leaves that runs, and the structure of its results, once they are known.
    """

    function: Any
    name: str
    made_from: Facts
    donate: tuple[int, ...]
    sharding: Any
    found: list[Any] = field(default_factory=list)

    def __call__(self, *arguments: Any) -> PyTree:
        """What the function gives."""
        flat, structure = self._ready(arguments)
        return self.function(*arguments) if flat is None else jax.tree.unflatten(structure, flat(*_leaves(arguments)))

    def lower(self, *arguments: Any) -> Any:
        """The program that runs, to look at it: see `jax.stages.Lowered`."""
        flat, _ = self._ready(arguments)
        return self.function.lower(*arguments) if flat is None else flat.lower(*_leaves(arguments))

    def _ready(self, arguments: tuple) -> list[Any]:
        if not self.found:
            kinds = [(str(kind), kind.weak_type) for kind in map(jax.typeof, _leaves(arguments))]
            told = {"function": self.name, "arguments": [str(jax.tree.structure(arguments)), kinds]}
            content = remembered({**told, "from": self.made_from}, partial(_exported, self.function, arguments))
            self.found.extend(self._read(content, arguments) if content else (None, None))
        return self.found

    def _read(self, content: bytes, arguments: tuple) -> tuple[Any, Any]:
        from jax import export

        structure, exported = pickle.loads(content)
        sizes = np.cumsum([0, *(len(_leaves(argument)) for argument in arguments)])
        donated = tuple(leaf for number in self.donate for leaf in range(sizes[number], sizes[number + 1]))
        call = export.deserialize(bytearray(exported)).call
        return jax.jit(call, donate_argnums=donated, out_shardings=self.sharding), structure


_leaves = jax.tree.leaves


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
        return pickle.dumps((structures[0], bytes(exported.serialize())))
    except (ValueError, NotImplementedError, ImportError, AttributeError, TypeError, pickle.PicklingError):
        return b""  # it has a kernel, or a type, that no other process may read; what else is wrong comes again


def remembered(made_from: Facts, make: Callable[[], bytes]) -> bytes:
    """What `make` gives, or gave in an earlier process: it follows from `made_from` and from code alone.

    The code is every module that is loaded when it is made. It is called where this process has loaded another, or one
    has changed since, or JAX's options or devices have. Nothing is kept of what is empty.
    """
    key = [VERSION, json.dumps(made_from, sort_keys=True), *_surroundings()]
    if _settled(_files()):
        kept = _load(key)
        if kept is not None:
            return kept
    content = make()
    files = _files()
    if content and _settled(files):
        head = json.dumps({"files": files, "digest": _digest(files)}).encode()
        folder.save(KIND, key, head + b"\n" + content)
    return content


def _load(key: Iterable[Any]) -> bytes | None:
    head, _, content = (folder.load(KIND, key) or b"").partition(b"\n")
    try:
        known = json.loads(head)
        same = (
            {*_files()} <= {*known["files"]} and _settled(known["files"]) and _digest(known["files"]) == known["digest"]
        )
    except (ValueError, KeyError, TypeError):  # there is none, or it is not ours
        return None
    return content if same else None


def _files() -> list[str]:
    """Those of the modules that are loaded, but for what comes with Python, and for what is no text."""
    python = Path(sysconfig.get_path("stdlib"))
    loaded = {str(file) for module in list(sys.modules.values()) if (file := getattr(module, "__file__", None))}
    return sorted(file for file in loaded if file.endswith(".py") and not _of(python, file))


@cache
def _of(python: Path, file: str) -> bool:
    """Whether a file is of the standard library, whose folder has those of installed packages too."""
    path = Path(file)
    return path.is_relative_to(python) and not {"site-packages", "dist-packages"} & {*path.parts}


def _settled(files: Iterable[str]) -> bool:
    """Whether these files are, for all that is known, what the process has loaded."""
    return all(_changed(file) < BEGAN - MARGIN for file in files)


def _changed(file: str) -> float:
    """When, in seconds."""
    try:
        return Path(file).stat().st_mtime
    except OSError:
        return math.inf


def _digest(files: Iterable[str]) -> str:
    """Of what is in them."""
    return hashlib.sha256("".join(map(_content, files)).encode()).hexdigest()


@cache
def _content(file: str) -> str:
    return hashlib.sha256(Path(file).read_bytes()).hexdigest()


def _surroundings() -> list[str]:
    """What tracing depends on besides code and arguments."""
    device = jax.devices()[0]
    versions = [version(name) for name in ("jax", "jaxlib", "flax", "optax", "numpy")]
    options = [f"{name}={value}" for name, value in sorted(jax.config.values.items())]
    return [sys.version, sys.prefix, device.platform, device.device_kind, *versions, *options]
