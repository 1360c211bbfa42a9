"""What the values of a config may be, each by itself and beside one another; `experiment.checks` asks the parts.

A config file takes `base.base()`, changes some of it and returns it. Values keep their types: a path to a value
and a type are all that an override can change. Checks raise `UserError` with one line that starts with the key.
"""

import itertools
import math
from collections.abc import Iterable, Iterator
from typing import Any

from ml_collections import ConfigDict

from ddpm_jax.config import guidance
from ddpm_jax.config.identity import flatten
from ddpm_jax.config.keys import KEYS, OPTIONS, is_option
from ddpm_jax.config.synonyms import instead
from ddpm_jax.errors import UserError, one_line


def check_types(config: ConfigDict) -> None:
    """Every key is there, and none besides; every value is of its type, finite, and fits where it will be kept.

    Raises:
        UserError: a line for each key to change, which it starts with.
    """
    values = flatten(config)
    there = {key.partition(".")[0] for key in values}
    missing = [key for key in KEYS if key not in values and key not in OPTIONS.values()]
    missed = dict.fromkeys(key if key.partition(".")[0] in there else key.partition(".")[0] for key in missing)
    found = [(key, "is missing; start from ddpm_jax.config.base.base()") for key in missed]
    for key, value in values.items():
        if is_option(key):
            if not _plain(value):
                words = "is no option: options are numbers, strings, True or False, and tuples of these"
                found.append((key, f"{value!r} {words}"))
        elif key not in KEYS:
            found.append((key, f"no such key; {instead(key)}"))
        elif reason := KEYS[key].mistyped(value):
            found.append((key, reason))
    tell(found)


def _plain(value: Any) -> bool:
    """Whether JSON keeps it: numbers, strings, True or False, and tuples of these."""
    if isinstance(value, tuple):
        return all(map(_plain, value))
    return isinstance(value, bool | int | str) or (isinstance(value, float) and math.isfinite(value))


def tell(found: Iterable[tuple[str, str]]) -> None:
    """Raise one UserError of all that was found, `(key, reason)`, a line for each key; none where nothing was."""
    reasons: dict[str, str] = {}
    for key, reason in found:
        reasons.setdefault(key, one_line(reason))  # what comes later may be a consequence
    if reasons:
        raise UserError("\n".join(f"config.{key}: {reason}" for key, reason in reasons.items()))


def check_values(config: ConfigDict) -> None:
    """The part of `check` that needs no heavy import: types, ranges, and values that contradict one another."""
    check_types(config)
    tell(value_refusals(config))


def value_refusals(config: ConfigDict) -> Iterator[tuple[str, str]]:
    """Values out of their range, and those that contradict one another: `(key, reason)`."""
    values = flatten(config)
    for name, key in KEYS.items():
        if isinstance(key.default, int | float) and (reason := key.missed(values[name])):
            yield (name, reason)
    if config.data.batch % config.training.accumulate:
        yield (
            "training.accumulate",
            f"{config.training.accumulate} does not divide config.data.batch {config.data.batch}",
        )
    for steps in config.evaluation.curve:
        if steps < 1:
            yield ("evaluation.curve", f"{steps} is not a number of steps, at least 1")
    for decay in config.optimizer.ema:
        if not 0 < decay < 1:
            yield ("optimizer.ema", f"a decay of {decay} is not in (0, 1)")
    if len(set(config.optimizer.ema)) < len(config.optimizer.ema):
        yield ("optimizer.ema", f"{config.optimizer.ema} has the same decay twice")
    if config.sampler.ema and config.sampler.ema not in config.optimizer.ema:
        yield ("sampler.ema", f"{config.sampler.ema} is not one of config.optimizer.ema {config.optimizer.ema}")
    if not any(values[f"training.{limit}"] for limit in ("steps", "images", "seconds", "flops")):
        yield ("training.steps", "no budget: set steps, images, seconds or flops")
    if config.parallel.map == "pmap" and config.parallel.shard != "replicated":
        yield ("parallel.shard", '"pmap" keeps the state replicated; use config.parallel.map="jit" for fsdp')
    if config.parallel.map == "pmap" and config.parallel.distributed:
        yield ("parallel.map", '"pmap" is for the devices of one process; use "jit" with several processes')
    yield from guidance.refusals(config)
    yield from _times_by_hand(config)
    if len(set(config.model.conditions)) < len(config.model.conditions):
        yield ("model.conditions", f"{config.model.conditions} has one twice")
    if config.model.text_encoder and not config.model.conditions:
        yield ("model.text_encoder", "the network is told no text: add it to config.model.conditions")
    if len({bool(words) for words in config.data.splits.values()}) > 1:
        yield ("data.splits", "name all three, train, validation and test, or none")


def _times_by_hand(config: ConfigDict) -> Iterator[tuple[str, str]]:
    """What of the sampler's times cannot be: `(key, reason)`."""
    section = config.sampler
    for name, first in (("times", 1), ("sigmas", None)):
        if not (given := section[name]):
            continue
        key, number = f"sampler.{name}", len(given) - 1
        falling = all(later < earlier for earlier, later in itertools.pairwise(given))
        if number < 1 or not falling or given[-1] != 0 or given[0] != (given[0] if first is None else first):
            yield key, f"{given} do not fall {'from 1 ' * (first is not None)}to 0"
        elif section.steps not in (0, number):
            words = f"{section.steps} is not the number of config.{key}, {number}"
            yield "sampler.steps", f"{words}; use that, or leave those empty"
        if name == "sigmas" and section.times:
            yield key, "config.sampler.times are given too; leave one of them empty"
        if config.evaluation.curve:
            yield "evaluation.curve", f"config.{key} are given, which are of one number of steps; leave it empty"
