"""What a run kept of its data: enough to draw samples where the images are not at hand."""

from pathlib import Path
from typing import Any

from ddpm_jax.conditions import Conditions, Label, of_plain
from ddpm_jax.data.description import Description
from ddpm_jax.data.encoder import read
from ddpm_jax.data.sources import Dataset
from ddpm_jax.errors import UserError
from ddpm_jax.files import Facts


def recorded(fingerprint: Facts, encoder: str | Path = "") -> Dataset:
    """A data set without images, of the fingerprint that a run kept (`identity.fingerprint`).

    Args:
        fingerprint: as plain JSON.
        encoder: the folder of the frozen encoder that read its captions, if one did.

    Raises:
        ValueError: it describes no data.
        UserError: the encoder does not read, or is another.
    """
    try:
        plain = fingerprint["description"]
        kinds: list[tuple[str, Any]] = []
        if plain["labels"]:
            kinds.append(("label", Label(plain["labels"], tuple(plain.get("class_names", ())))))
        for name, one in plain.get("conditions", {}).items():
            reader = read(encoder) if encoder and "encoder" in one else None
            if reader is not None and reader.digest != one["encoder"]:
                raise UserError(f"the encoder in {encoder} is not the one that the run had")
            kinds.append((name, of_plain(one, reader)))
        description = Description(
            plain["name"], plain["version"], tuple(plain["shape"]), plain["levels"], Conditions(tuple(kinds))
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"no description of data ({type(error).__name__}: {error})") from error
    return Dataset(description, {}, recorded=fingerprint)
