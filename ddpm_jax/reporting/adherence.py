"""Whether pictures show what was asked, as figures: a share for each attribute of a caption, and of the class."""

from ddpm_jax.files import Record

ALL, CLASS = "all", "class"
"""What a table calls the share that shows all that a caption asks, and that of the class that was asked."""

PLACES = {"samples": "real", "unseen": "unseen_real"}
"""What was asked: as in training, and combinations that are in no picture of training; and the data's own pictures."""

HEADLINE = "adherence"
"""The figure that stands for all others."""


def shares(found: Record) -> dict[str, float]:
    """The shares of one set of pictures by attribute, as `result.json` has them."""
    return {**found.get("text", {}), **({CLASS: found["label"]} if "label" in found else {})}


def headline(found: Record) -> float | None:
    """The share that shows all of the caption, or else the class; None where neither was measured."""
    known = shares(found)
    return known.get(ALL, known.get(CLASS))


def name_of(place: str, attribute: str) -> str:
    """What the ledger calls a share."""
    return f"{HEADLINE}_{place}_{attribute.replace(' ', '_')}"


def figures(found: Record) -> dict[str, float]:
    """All shares of a run's samples by the ledger's names, and `HEADLINE`."""
    named = {
        name_of(place, attribute): share
        for place in PLACES
        for attribute, share in shares(found.get(place, {})).items()
    }
    first = headline(found.get("samples", {}))
    return named if first is None else {**named, HEADLINE: first}
