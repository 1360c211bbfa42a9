"""A config as dotted keys: how it is kept, what makes it another run, and what a run may go on with."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import PurePath
from typing import Any

from ml_collections import ConfigDict

from ddpm_jax.config.base import base
from ddpm_jax.config.loading import put
from ddpm_jax.errors import UserError
from ddpm_jax.files import Facts, Record
from ddpm_jax.plugins import FOLDER, dotted

SAME_RESULT = ("name", "logging", "parallel", "data.dir", "training.log_every", "training.save_minutes")
"""Keys and sections that do not change what a run computes: a run may be resumed with others."""

AFTER_TRAINING = ("evaluation", "sampler")
"""Sections that only figures and samples depend on: a run may go on with others, and be evaluated with others."""

CHANGEABLE = (*SAME_RESULT, *AFTER_TRAINING, "training.skip_bad", "training.keep_latest", "training.keep_every")
"""What a run in a folder may go on with otherwise: it does not change the steps that are done."""

PLACES = ("model.text_encoder",)
"""Where something lies that a run knows by its content (`data.json`): it may move, but neither come nor go."""

RENAMED: dict[str, tuple[str, dict[Any, Any]]] = {
    "model.conditional": ("model.conditions", {True: ("label",), False: ()}),
}
"""Keys of earlier versions, as runs' folders have them: the key of today, and its value for each of theirs."""

VALIDATION = ("sampler.ema", "evaluation.validation_images")
"""Of these, what the validation losses of a run depend on, which must be alike until it is trained."""


def flatten(config: ConfigDict | Facts, prefix: str = "") -> Record:
    """Dotted keys and their values."""
    flat = {}
    for key, value in config.items():
        if isinstance(value, ConfigDict | Mapping):
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[prefix + key] = value
    return flat


def to_json(config: ConfigDict) -> str:
    """The resolved config as indented JSON."""
    return json.dumps(config.to_dict(), indent=2)


def from_dict(values: Any) -> ConfigDict:
    """A config from the object that `to_json` wrote, here or in an earlier version: the base with its values put in.

    Raises:
        UserError: a key that this version does not have, or a value of another type.
    """
    if not isinstance(values, Mapping):
        raise UserError("this is not a config: a config is an object of sections")
    config = base()
    for key, value in flatten(values).items():
        put(config, *of_today(key, _tupled(value)))
    return config


def of_today(key: str, value: Any) -> tuple[str, Any]:
    """A key and its value as this version has them; what it does not know stays, and is refused."""
    name, values = RENAMED.get(key, (key, {}))
    return (name, values[value]) if isinstance(value, bool) and value in values else (key, value)


def _tupled(value: Any) -> Any:
    return tuple(map(_tupled, value)) if isinstance(value, list | tuple) else value


def result_keys(config: ConfigDict) -> Record:
    """The dotted keys and values that change what a run computes; of the user's own data their folder's name."""
    flat = flatten(config)
    found = {key: value for key, value in flat.items() if not within(key, SAME_RESULT)}
    return {**found, "data.dir": own_data(flat)} if own_data(flat) else found


def own_data(flat: Facts) -> str:
    """The last part of the path of the user's own data, by which people tell them apart; empty of other data sets."""
    place = flat.get("data.dir", "") if flat.get("data.name") == FOLDER else ""
    return PurePath(place).name if isinstance(place, str) else ""


def own_parts(config: ConfigDict) -> bool:
    """Whether every part is the project's, and none the user's own by a dotted path."""
    return not any(isinstance(value, str) and dotted(value) for value in flatten(config).values())


def traced_keys(config: ConfigDict) -> Record:
    """The dotted keys and values that the compiled training step may depend on."""
    return {
        key: value for key, value in flatten(config).items() if not within(key, (*AFTER_TRAINING, "name", "logging"))
    }


def within(key: str, places: Iterable[str]) -> bool:
    """Whether a dotted key is one of the places, or in a section that is."""
    return any(f"{key}.".startswith(f"{place}.") for place in places)


def digest(config: ConfigDict) -> str:
    """The hexadecimal SHA-256 of all that changes what a run computes: runs that share it are the same run."""
    return hashlib.sha256(json.dumps(result_keys(config), sort_keys=True).encode()).hexdigest()


def training_mark(config: ConfigDict) -> int:
    """A number of 48 bits for all that a run cannot go on otherwise with, as far as it is not the base's."""
    return _mark(_apart(_fixed(flatten(config)), _fixed(flatten(base()))))


def earlier_marks(config: ConfigDict) -> tuple[int, ...]:
    """The numbers that earlier versions had for it; the latest first.

    For them a run with its encoder in another place was another run, and before that keys had other names.
    """
    own = _apart(flatten(config), flatten(base()))
    marks = [_mark(own)]
    for then, (now, values) in reversed(RENAMED.items()):
        for theirs, ours in values.items():
            if own.get(now) == ours:
                own = {**{key: value for key, value in own.items() if key != now}, then: theirs}
                marks.append(_mark(dict(sorted(own.items()))))
    return tuple(marks)


def _fixed(flat: Facts) -> Record:
    """The values, of places only whether they are given."""
    return {key: bool(value) if key in PLACES else value for key, value in flat.items()}


def _apart(own: Facts, known: Facts) -> Record:
    """What cannot be changed, as far as it is not what is known."""
    return {key: own[key] for key in sorted(own) if not within(key, CHANGEABLE) and own[key] != known.get(key)}


def validation_mark(config: ConfigDict) -> int:
    """A number of 48 bits for what the validation losses of a run depend on besides."""
    own = flatten(config)
    return _mark({key: own[key] for key in VALIDATION})


def _mark(values: Facts) -> int:
    return int(hashlib.sha256(json.dumps(values).encode()).hexdigest()[:12], 16)


def differences(ours: ConfigDict, theirs: ConfigDict, trained: bool = False) -> list[str]:
    """The keys, with both values, that a run in a folder cannot go on with; `trained`: its training is done."""
    a, b = flatten(ours), flatten(theirs)
    one, other = _fixed(a), _fixed(b)
    fixed = [key for key in {**a, **b} if not within(key, CHANGEABLE) or (key in VALIDATION and not trained)]
    return [f"{key} is {a.get(key)!r}, there {b.get(key)!r}" for key in fixed if one.get(key) != other.get(key)]


def move_encoder(config: ConfigDict, folder: str) -> None:
    """Say where the run's frozen encoder lies now. Raises UserError where the run has none."""
    if not config.model.text_encoder:
        raise UserError("this run has no frozen encoder; leave its place out")
    config.model.text_encoder = folder
