"""The figures of a run as they come: each is kept at once, and one that cannot be computed is null, with its reason.

No figure is lost for a fault beside it.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from ddpm_jax.errors import Incomplete, Unavailable, UserError, keep_traceback, refused_by_the_system
from ddpm_jax.files import Record

REASONS = "not_computed"
"""The key of the reasons, by the dotted keys of the figures that are null."""

Value = TypeVar("Value")


def _fault(error: Exception) -> str:
    """A fault of the program in a line, which names the file that has its traceback."""
    file = keep_traceback(error)
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}" + (f" (see {file})" if file else "")


def _ignore(figures: Record) -> None:
    del figures


@dataclass
class Book:
    """Figures by their keys.

    Attributes:
        keep: is given what is new, to be put beside what is kept already, such as into `result.json`.
        values: all figures up to now, as `result.json` has them.
        reasons: by the dotted key of a figure, why it is null.
        faults: the keys of those that failed for a reason that may go away: memory, a fault of the program.
    """

    keep: Callable[[Record], Any] = _ignore
    values: Record = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    def put(self, key: str, value: Any) -> None:
        """Keep a figure under its dotted key."""
        first, *rest = key.split(".")
        place, last = self.values, first
        for name in rest:
            place, last = place.setdefault(last, {}), name
        place[last] = value
        self.keep({first: self.values[first], REASONS: dict(self.reasons)})

    def refuse(self, key: str, reason: str) -> None:
        """Keep that a figure cannot be had, and why."""
        self.reasons[key] = reason
        self.put(key, None)

    def attempt(self, key: str, compute: Callable[[], Value]) -> Value | None:
        """The value of `compute`; None where it fails, whose reason is kept under the key.

        Of several processes one alone must not go on: there a fault that the others may not have is raised.
        """
        import jax

        try:
            return compute()
        except Unavailable as error:
            self.reasons[key] = str(error)
        except UserError as error:  # such as a damaged checkpoint
            self.reasons[key] = str(error)
            if refused_by_the_system(error, of_the_moment=True):
                self.faults.append(key)
        except Exception as error:
            if jax.process_count() > 1:
                raise
            self.reasons[key] = refused_by_the_system(error) or _fault(error)
            self.faults.append(key)
        self.keep({REASONS: dict(self.reasons)})
        return None

    def compute(self, key: str, compute: Callable[[], Value]) -> Value | None:
        """As `attempt`, and the value, or null, is kept under the key."""
        value = self.attempt(key, compute)
        self.put(key, value)
        return value

    def said(self) -> list[str]:
        """A line for each figure that is null."""
        return [f"{key} is not computed: {reason}" for key, reason in self.reasons.items()]

    def check(self, again: str) -> None:
        """Raise Incomplete if there were faults; `again` says what tries once more."""
        if self.faults:
            first = self.faults[0]
            more = f" (and {len(self.faults) - 1} more)" if len(self.faults) > 1 else ""
            line = f"{first} could not be computed{more}: {self.reasons[first]}"
            raise Incomplete(f"{line}; the others are kept; {again}")
