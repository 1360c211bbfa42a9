"""What a still life can show, as a value and as words: `caption` and `parse` undo each other."""

import re
from dataclasses import dataclass

from ddpm_jax.errors import UserError, nearest

KINDS = ("apple", "banana", "pear", "lime", "watermelon", "mushroom", "cup", "bottle")
COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "white")
SIZES = ("small", "large")
NUMBERS = ("one", "two", "three")
RELATIONS = ("left of", "right of", "above", "below")
PLACES = ("on the left", "on the right", "at the top", "at the bottom")
MOST = 4  # things in one picture, the plate aside
PLURALS = {kind: f"{kind}s" for kind in KINDS}

_SINGULARS = {plural: kind for kind, plural in PLURALS.items()}
_WHERE = re.compile(rf" ({'|'.join(RELATIONS)}|{'|'.join(PLACES)}|on an?)(?: |$)")
WORDS = {
    *KINDS,
    *_SINGULARS,
    *COLOURS,
    *SIZES,
    *NUMBERS,
    *" ".join((*RELATIONS, *PLACES)).split(),
    *("a", "an", "plate"),
}


@dataclass(frozen=True)
class Group:
    """One to three things of one kind, colour and size; a colour or size that is None is not said.

    >>> Group("banana", "green", count=2)
    Group(kind='banana', colour='green', size=None, count=2)
    """

    kind: str
    colour: str | None = None
    size: str | None = None
    count: int = 1

    def __post_init__(self):
        for word, choices in ((self.kind, KINDS), (self.colour, COLOURS), (self.size, SIZES)):
            if word is not None and word not in choices:
                raise UserError(f"{word!r} is not in a still life: {nearest(word, choices)}")
        if not 1 <= self.count <= len(NUMBERS):
            raise UserError(f"{self.count} things in a group: choose 1 to {len(NUMBERS)}")


@dataclass(frozen=True)
class Scene:
    """One group, perhaps at a place or on a plate; or two groups, the first `where` of the second.

    >>> caption(Scene((Group("lime", size="small", count=2), Group("watermelon", size="large")), "left of"))
    'two small limes left of a large watermelon'

    Args:
        groups: one or two of them.
        where: one of RELATIONS for two groups; one of PLACES, or None, for one.
        plate: the colour of the plate under the only group, or None.

    Raises:
        UserError: the scene says what cannot be drawn or told apart; the line names it.
    """

    groups: tuple[Group, ...]
    where: str | None = None
    plate: str | None = None

    def __post_init__(self):
        first, last = self.groups[0], self.groups[-1]
        choices = {1: (None, *PLACES), 2: RELATIONS}.get(len(self.groups), ())
        if self.where not in choices:
            raise UserError(f"{len(self.groups)} groups cannot be {self.where!r}: one has a place, two have a relation")
        if self.plate is not None:
            if self.plate not in COLOURS:
                raise UserError(f"{self.plate!r} is not in a still life: {nearest(self.plate, COLOURS)}")
            if len(self.groups) > 1 or self.where:
                raise UserError("a plate is under a group that is alone and has no place: leave one of them out")
            if self.plate == first.colour:
                raise UserError(f"a {self.plate} thing is not seen on a {self.plate} plate: change one colour")
        if len(self.groups) == 2 and first.kind == last.kind and len({first.colour, last.colour, None}) < 3:
            raise UserError(f"two groups of {PLURALS[first.kind]} are told apart by colours: give each its own")
        if sum(group.count for group in self.groups) > MOST:
            raise UserError(f"more than {MOST} things do not fit a picture: lower a count")
        for group in self.groups:
            if group.size == "large" and group.count > self.most_large:
                raise UserError(f"{NUMBERS[group.count - 1]} large {PLURALS[group.kind]} do not fit: leave out 'large'")

    @property
    def most_large(self) -> int:
        """How many things a group can have where they are large: 3 only where nothing else is said, 1 on a plate."""
        if self.plate:
            return 1
        return 2 if len(self.groups) > 1 or self.where else 3


def caption(scene: Scene) -> str:
    """The scene in words; one caption a scene.

    >>> caption(Scene((Group("banana", "green"),), plate="white"))
    'a green banana on a white plate'
    """
    words = [_phrase(scene.groups[0])]
    words += [scene.where] if scene.where else []
    words += [_phrase(group) for group in scene.groups[1:]]
    words += [f"on {_article(scene.plate)} {scene.plate} plate"] if scene.plate else []
    return " ".join(words)


def parse(words: str) -> Scene:
    """The scene that a caption says: `parse(caption(scene)) == scene`. "one" is read as "a"; capitals do not matter.

    Raises:
        UserError: a word is not of the grammar (its nearest is named), or the words are not in its order.
    """
    text = " ".join(words.lower().replace(",", " ").rstrip(" .").split())
    for word in text.split():
        if word not in WORDS:
            raise UserError(f"caption {words!r}: {word!r} is not a word of still lifes: {nearest(word, WORDS)}")
    found = _WHERE.search(text)
    if not found:
        return Scene((_group(text, words),))
    before, where, after = text[: found.start()], found[1], text[found.end() :]
    first = _group(before, words)
    if where in RELATIONS:
        return Scene((first, _group(after, words)), where)
    if where in PLACES:
        if after:
            raise UserError(f"caption {words!r}: nothing can follow {where!r}")
        return Scene((first,), where)
    colour, _, plate = after.partition(" ")
    if plate != "plate" or colour not in COLOURS:
        raise UserError(f"caption {words!r}: say 'on a COLOUR plate', with one of {', '.join(COLOURS)}")
    return Scene((first,), plate=colour)


def _phrase(group: Group) -> str:
    described = [word for word in (group.size, group.colour) if word]
    noun = group.kind if group.count == 1 else PLURALS[group.kind]
    number = _article((*described, noun)[0]) if group.count == 1 else NUMBERS[group.count - 1]
    return " ".join((number, *described, noun))


def _article(word: str) -> str:
    return "an" if word[0] in "aeiou" else "a"


def _group(text: str, words: str) -> Group:
    """A group from its words: number, size, colour, kind."""
    number, *rest = text.split() or [""]
    count = {"a": 1, "an": 1, **{number: count for count, number in enumerate(NUMBERS, 1)}}.get(number)
    size = rest.pop(0) if rest and rest[0] in SIZES else None
    colour = rest.pop(0) if rest and rest[0] in COLOURS else None
    noun = rest[0] if len(rest) == 1 else ""
    kind = _SINGULARS.get(noun) if count != 1 else noun if noun in KINDS else None
    if count is None or kind is None:
        raise UserError(f"caption {words!r}: {text!r} must be a number, a size, a colour and a thing, in this order")
    return Group(kind, colour, size, count)
