"""Which sentences the figures support: each with its figures, one a seed, and the range in which it is true."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from ddpm_jax.reporting import adherence
from ddpm_jax.reporting.groups import Estimate, Group, estimate
from ddpm_jax.reporting.ledger import Figure, Run
from ddpm_jax.reporting.lines import ADHERENCE, GUIDANCE, figure_at, guided
from ddpm_jax.reporting.markup import quoted

SUPPORTED, CONTRADICTED, OPEN = "supported", "contradicted", "not decided"

FEW_STEPS, MANY_STEPS = 8, 32
PLAIN, WEIGHT, STRONG = 1.0, 3.0, 7.0
"""Weights of guidance: none, the study's own, the largest."""

CONTROL, WORDS = "pooled", "flow"
"""The control and the member that it is beside, which differ in what the network is told of the caption alone."""

Measure = Callable[[Run], float | None]


@dataclass(frozen=True)
class Share:
    """Of a run's own samples, those that show an attribute; see `adherence.figures`."""

    attribute: str
    place: str = "samples"

    def __call__(self, run: Run) -> float | None:
        figure = run.figures.get(adherence.name_of(self.place, self.attribute))
        return figure.value if figure else None


@dataclass(frozen=True)
class At:
    """A figure with a weight of guidance."""

    name: str
    weight: float

    def __call__(self, run: Run) -> float | None:
        return next((figure_at(at, self.name) for at in guided(run) if at[GUIDANCE] == self.weight), None)


@dataclass(frozen=True)
class InSteps:
    """The share that shows all that is asked, in so many steps with the run's own guidance."""

    steps: int

    def __call__(self, run: Run) -> float | None:
        own = run.config.get("sampler.guidance")
        there = (at for at in run.curve if at["steps"] == self.steps and at.get(GUIDANCE, own) == own)
        return next((figure_at(at, ADHERENCE) for at in there), None)


@dataclass(frozen=True)
class Less:
    """A figure less another of the same run."""

    figure: Measure
    other: Measure

    def __call__(self, run: Run) -> float | None:
        a, b = self.figure(run), self.other(run)
        return None if a is None or b is None else a - b


@dataclass(frozen=True)
class Claim:
    """A sentence about some members, or pairs of them.

    Attributes:
        sentence: without its full stop, in our markup.
        figures: by whose they are, one a seed.
        least: the sentence is true of figures from here ...
        most: ... to here.
        strict: not of `least` itself: a difference of none is no support.
        format: of the figures.
    """

    sentence: str
    figures: Mapping[str, Sequence[float]] = field(default_factory=dict)
    least: float = 0.0
    most: float = math.inf
    strict: bool = False
    format: str = ".3f"

    def verdict(self, whose: str) -> str:
        """SUPPORTED or CONTRADICTED where the 95 % interval over seeds is in the range or out of it as a whole.

        Else OPEN; so is one seed, which has no interval.
        """
        mean = self.mean(whose)
        if mean.count < 2:
            return OPEN
        above = mean.low > self.least if self.strict else mean.low >= self.least
        if above and mean.high <= self.most:
            return SUPPORTED
        return CONTRADICTED if mean.high < self.least or mean.low > self.most else OPEN

    def mean(self, whose: str) -> Estimate:
        """Of the figures, with its interval."""
        mean = estimate([Figure(value) for value in self.figures[whose]])
        assert mean is not None
        return mean

    def told(self) -> str:
        """The sentence, what is made of it, and the figures, in our markup."""
        parts = []
        for verdict in (SUPPORTED, CONTRADICTED, OPEN):
            whose = [self._figure(name) for name in self.figures if self.verdict(name) == verdict]
            parts += [f"*{verdict}* for {', '.join(whose)}"] if whose else []
        return f"{self.sentence}: {'; '.join(parts) or '*not measured*'}."

    def _figure(self, whose: str) -> str:
        mean = self.mean(whose)
        spread = "one seed" if mean.count < 2 else f"± {mean.half_width:{self.format}}"
        return f"{quoted(whose)} ({mean.value:{self.format}}, {spread})".replace(", ±", " ±")


@dataclass(frozen=True)
class Members:
    """The groups of the study by their labels."""

    groups: Mapping[str, Group]

    def each(self, measure: Measure) -> dict[str, list[float]]:
        """A figure of every member but the control."""
        found = {label: list(by_seed(one, measure).values()) for label, one in self.groups.items() if label != CONTROL}
        return {label: values for label, values in found.items() if values}

    def beside(self, measure: Measure, others: Sequence[str]) -> dict[str, list[float]]:
        """A figure of WORDS less that of each of the others, seed by seed."""
        if WORDS not in self.groups:
            return {}
        ours, found = by_seed(self.groups[WORDS], measure), {}
        for label in others:
            theirs = by_seed(self.groups[label], measure) if label in self.groups else {}
            if shared := [ours[seed] - theirs[seed] for seed in ours if seed in theirs]:
                found[f"{WORDS} less {label}"] = shared
        return found


def by_seed(group: Group, measure: Measure) -> dict[int, float]:
    """A figure of each run that has it."""
    found = ((run.seed, measure(run)) for run in group.runs)
    return {seed: value for seed, value in found if value is not None}


def claims(groups: Sequence[Group]) -> list[Claim]:
    """The sentences that the study is about, with the figures of these groups, whose labels are its members."""
    study = Members({one.label: one for one in groups})
    everything, binding = Share("all"), Share("colour binding")
    others = [label for label in study.groups if label not in (WORDS, CONTROL)]
    return [
        Claim(
            "This world is neither too easy nor too hard: without guidance 60 to 90 % of pictures show all that is "
            "asked",
            *(study.each(At(ADHERENCE, PLAIN)), 0.6, 0.9),
        ),
        Claim(
            f"Guidance helps: more pictures show all that is asked with weight {WEIGHT:g} than with {PLAIN:g}",
            study.each(Less(At(ADHERENCE, WEIGHT), At(ADHERENCE, PLAIN))),
            strict=True,
        ),
        Claim("Asked for one thing, at least 97 % of pictures show all of it", study.each(Share("all of one")), 0.97),
        Claim("Asked for two things, at least 90 % show all of it", study.each(Share("all of two")), 0.9),
        Claim("Asked for three things, at least 75 % show all of it", study.each(Share("all of three")), 0.75),
        Claim(
            "Unseen combinations are shown right at most ten points less often",
            *(study.each(Less(Share("all", "unseen"), everything)), -0.1),
        ),
        Claim(
            "A caption as a whole binds colours worse than its words do",
            study.beside(binding, [CONTROL]),
            strict=True,
        ),
        Claim(
            "What is lost without the words is binding, more than the colour of one thing",
            study.beside(Less(binding, Share("colours")), [CONTROL]),
            strict=True,
        ),
        Claim(
            f"{WORDS} shows all that is asked more often than the other kinds",
            study.beside(everything, others),
            strict=True,
        ),
        Claim(
            f"Guidance costs diversity: recall is higher with weight {PLAIN:g} than with {STRONG:g}",
            study.each(Less(At("recall", PLAIN), At("recall", STRONG))),
            strict=True,
        ),
        Claim(
            f"Guidance costs distance: the Frechet distance is higher with weight {STRONG:g} than with {PLAIN:g}",
            study.each(Less(At("frechet", STRONG), At("frechet", PLAIN))),
            strict=True,
            format=".2f",
        ),
        Claim(
            f"{FEW_STEPS} steps are enough: at most two points fewer show all that is asked than in {MANY_STEPS}",
            *(study.each(Less(InSteps(FEW_STEPS), InSteps(MANY_STEPS))), -0.02),
        ),
    ]


def summary(found: Sequence[Claim]) -> str:
    """How many of the sentences stand, in our markup."""
    verdicts = [{one.verdict(whose) for whose in one.figures} for one in found]
    stand = sum(each == {SUPPORTED} for each in verdicts)
    fall = sum(CONTRADICTED in each for each in verdicts)
    without = sum(not each for each in verdicts)
    return (
        f"Of {len(found)} sentences {stand} hold for all that they are about, {fall} are contradicted for some, "
        f"{len(found) - stand - fall - without} are not decided for some and contradicted for none, and {without} "
        "have no figures."
    )
