"""What a config may say of guidance: one weight, or a weight of its own for each condition; and of what it asks of
training, to leave conditions out."""

import math
from collections.abc import Iterator, Sequence
from typing import Any


def weights(words: Sequence[str]) -> tuple[tuple[str, float], ...]:
    """The conditions of words `name:weight` and their weights, in their order.

    >>> weights(("label:1.5", "text:3"))
    (('label', 1.5), ('text', 3.0))

    Raises:
        ValueError: a word is none of this form, a weight is below 0, or a name is there twice; in one line.
    """
    return _numbers(words, "weight", math.inf)


def shares(words: Sequence[str]) -> tuple[tuple[str, float], ...]:
    """The same of words `name:share`, such as text:0.1; a share is below 1."""
    return _numbers(words, "share", 1.0)


def _numbers(words: Sequence[str], what: str, below: float) -> tuple[tuple[str, float], ...]:
    found: dict[str, float] = {}
    for word in words:
        name, _, number = word.partition(":")
        try:
            value = float(number)
        except ValueError:
            value = math.nan
        if not name or not 0 <= value < below:
            limit = f" below {below:g}" if below < math.inf else ""
            raise ValueError(f"{word!r} is not name:{what}, such as label:0.5; a {what} is a number from 0{limit}")
        if name in found:
            raise ValueError(f"{name} has two {what}s")
        found[name] = value
    return tuple(found.items())


def refusals(config: Any) -> Iterator[tuple[str, str]]:
    """What of guidance cannot be, or contradicts the training: `(key, reason)`."""
    section, told, drop = config.sampler, config.model.conditions, config.objective.condition_drop
    low, high = (*section.guidance_interval, 0, 0)[:2]
    if len(section.guidance_interval) != 2 or not 0 <= low <= high <= 1:
        yield "sampler.guidance_interval", f"{section.guidance_interval} is not (low, high] within 0 and 1"
    if config.evaluation.curve_guidance and not ((told and drop) or section.weak):
        yield "evaluation.curve_guidance", "guidance needs conditions, and a share of training without them"
    if section.weak:
        if section.guidance_each:
            yield "sampler.guidance_each", "a weak run is guided away from with one weight; leave it ()"
        elif section.guidance == 1:
            yield "sampler.weak", "nothing is guided: set a weight, config.sampler.guidance"
    elif section.guidance != 1 and not told:
        yield "sampler.guidance", "guidance needs a network that is told something: set config.model.conditions"
    elif section.guidance != 1 and not drop:
        reason = "guidance needs a network trained without conditions too: config.objective.condition_drop"
        yield "sampler.guidance", reason
    if section.guidance_each and not section.weak:
        yield from _each(config)
    if config.objective.condition_drop_own:
        yield from _own(config)


def _always_told(config: Any) -> list[str]:
    """The conditions that training leaves out with the others only."""
    section = config.objective
    try:
        own = dict(shares(section.condition_drop_own))
    except ValueError:  # which is told of that key
        return []
    return [name for name in config.model.conditions if not own.get(name, section.condition_drop_each)]


def _own(config: Any) -> Iterator[tuple[str, str]]:
    """What cannot be where conditions are left out of training in shares of their own."""
    key, told = "objective.condition_drop_own", tuple(config.model.conditions)
    try:
        names = tuple(name for name, _ in shares(config.objective.condition_drop_own))
    except ValueError as error:
        yield key, str(error)
        return
    if len(told) < 2:
        yield key, "shares of their own are for several conditions; the share of one is condition_drop"
        return
    for name in names:
        if name not in told:
            yield key, f"the network is not told {name!r}, but {', '.join(told)}"


def _each(config: Any) -> Iterator[tuple[str, str]]:
    """What cannot be where each condition has a weight of its own."""
    key, told = "sampler.guidance_each", tuple(config.model.conditions)
    try:
        names = tuple(name for name, _ in weights(config.sampler.guidance_each))
    except ValueError as error:
        yield key, str(error)
        return
    known = ", ".join(told) or "nothing"
    if len(told) < 2:
        yield key, f"weights of their own are for several conditions, and the network is told {known}; use guidance"
        return
    for name in names:
        if name not in told:
            yield key, f"the network is not told {name!r}, but {known}"
    for name in told:
        if name not in names:
            yield key, f"{name} has no weight; 1 is none"
    if never := ", ".join(_always_told(config)):
        keys = "config.objective.condition_drop_each, or condition_drop_own for some"
        yield key, f"it needs a network trained without each of its conditions too, and {never} always is told: {keys}"
    if config.sampler.guidance != 1:
        yield "sampler.guidance", "there are weights for each condition, in guidance_each; leave it 1"
    if config.evaluation.curve_guidance:
        yield "evaluation.curve_guidance", "there are weights for each condition, in sampler.guidance_each; leave it ()"
