"""A config and hardware to a plan: what fits, what is sent, how long it takes."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import jax
from ml_collections import ConfigDict

from ddpm_jax import cache
from ddpm_jax.data import Dataset
from ddpm_jax.devices.flops import of_jaxpr
from ddpm_jax.devices.groups import best_group
from ddpm_jax.devices.plan import make_plan
from ddpm_jax.devices.topology import Topology, check_batch
from ddpm_jax.errors import UserError
from ddpm_jax.experiment import check, check_data, make
from ddpm_jax.files import Record
from ddpm_jax.pipeline.job import Job, make_job
from ddpm_jax.planning import compiling, hlo, memory, paper
from ddpm_jax.planning.estimate import Estimate, estimate, largest_batch, parts_that_fit
from ddpm_jax.training.step import flops_of_step

WHAT = ("train", "sample", "likelihood")
ROOM = {"tpu": 0.98, "cuda": 0.75, "cpu": 1.0}
"""The share of a device's memory that a program can have: libtpu has 15.75 GiB of 16, of a GPU JAX takes so much."""


@dataclass(frozen=True)
class Turn:
    """A program of a run: a training step, a batch of samples, a batch of likelihoods.

    Attributes:
        what: of `WHAT`.
        flops: of all devices together; None where they cannot be counted.
        memory: bytes on one device, by what they are; of one that does not fit `needed` alone.
        program: what one turn does.
        estimate: of its time.
        seconds: that compiling took, when it was compiled.
    """

    what: str
    flops: float | None
    memory: dict[str, float]
    program: hlo.Program
    estimate: Estimate | None
    seconds: float

    @property
    def needed(self) -> float:
        """Bytes on one device."""
        return sum(self.memory.values())


@dataclass(frozen=True)
class Planned:
    """A run on hardware.

    Attributes:
        name: of the config, and of the member.
        topology: the hardware.
        batch: global.
        dtype: of the products.
        spread: how the state is spread, in words.
        parameters: how many.
        parts: bytes of the state and the data.
        flops: of a training step.
        steps: of the budget; None where only time limits it.
        turns: of the programs that were compiled.
        advice: what to change, a line each.
    """

    name: str
    topology: Topology
    batch: int
    dtype: str
    spread: str
    parameters: int
    parts: list[memory.Part]
    flops: float
    steps: int | None
    turns: list[Turn]
    advice: list[str]

    @property
    def room(self) -> float:
        """Bytes that a device has for a program."""
        return ROOM[self.topology.platform] * self.topology.accelerator.memory

    @property
    def kept(self) -> int:
        """Bytes of state and data on one device."""
        return sum(part.on_one for part in self.parts)

    @property
    def fits(self) -> bool:
        """Whether what is kept, and each program, has room."""
        return max([self.kept, *(turn.needed for turn in self.turns)]) <= self.room

    def plain(self) -> Record:
        """As data."""
        hours = None
        trained = next((turn.estimate for turn in self.turns if turn.what == "train" and turn.estimate), None)
        if trained and self.steps:
            hours = trained.total * self.steps / 3600
        accelerator = asdict(self.topology.accelerator)
        return {
            **{name: getattr(self, name) for name in ("name", "batch", "dtype", "spread", "parameters", "flops")},
            "topology": {**asdict(self.topology), "devices": self.topology.count, "accelerator": accelerator},
            "steps": self.steps,
            "kept": [asdict(part) for part in self.parts],
            "room": self.room,
            "fits": self.fits,
            "programs": [asdict(turn) for turn in self.turns],
            "hours": hours,
            "chip_hours": None if hours is None else hours * self.topology.chips,
            "advice": self.advice,
        }


def planned(
    name: str, config: ConfigDict, topology: Topology, what: Sequence[str] = ("train",), instant: bool = False
) -> Planned:
    """What a run would take.

    Raises:
        UserError: the config cannot be, its batch does not divide over the devices, or there is no compiler for them.
    """
    check(config)
    check_batch(config.data.batch, topology.count)
    ways, parts = config.parallel, config.training.accumulate
    if (config.data.batch // topology.count) % parts:
        line = f"{parts} parts of a batch of {config.data.batch} do not divide over {topology.count} devices"
        raise UserError(f"config.training.accumulate: {line}")
    if ways.group and (ways.shard != "fsdp" or topology.count % ways.group):
        line = f"{ways.group} with {ways.shard} on {topology.count} devices cannot be; 0 finds the best"
        raise UserError(f"config.parallel.group: {line}")
    if ways.map == "pmap" and not instant:
        raise UserError("config.parallel.map: pmap is not compiled for; plan with jit, which sends the same")
    dataset = paper.dataset_of(config)
    check_data(config, dataset.description)
    experiment = make(config, dataset.description)
    if "likelihood" in what and experiment.model.estimator is None:
        raise UserError("--what: this model gives images no probability; leave likelihood out")
    if "sample" in what:
        experiment.sampling_in()
    here = make_job(experiment, make_plan(devices=tuple(jax.devices()[:1])), dataset)  # to trace it
    group = 1
    if ways.shard == "fsdp":
        group = ways.group or best_group(here.abstract, topology.count // topology.slices)
    found = memory.parts(here, topology.count, group)
    spread = f"{ways.map}, {ways.shard}" + (f" in groups of {group}" if ways.shard == "fsdp" else "")
    flops, turns = here.count_flops(), []
    if not instant:
        devices = compiling.devices_of(topology)
        plan = make_plan(ways.map, ways.shard, ways.loop, config.data.batch, ways.group, devices)
        job = make_job(experiment, plan.fitted(here.abstract), dataset)
        turns = [_turn(one, job, here, dataset, topology) for one in what]
    made = Planned(
        name,
        topology,
        config.data.batch,
        config.model.dtype,
        spread,
        here.parameters,
        found,
        flops,
        here.budget.steps,
        turns,
        [],
    )
    return Planned(**{**vars(made), "advice": list(_advice(made, config))})


def _turn(what: str, job: Job, here: Job, dataset: Dataset, topology: Topology) -> Turn:
    traced = {
        "train": lambda: compiling.step(job),
        "sample": lambda: compiling.sample(job),
        "likelihood": lambda: compiling.likelihood(job, dataset),
    }[what]()
    lowered = traced.lower()
    text = lowered.as_text()
    turn = what == "sample" or (what == "train" and job.plan.loops_on_device)
    key = [text, topology.name, jax.__version__, *(_version(one) for one in ("libtpu", "jax-cuda13-plugin")), turn, 5]
    kept = cache.load("plans", key)
    if kept is None:
        print(f"compiling {what} for {topology.name} ...", flush=True)
        made = compiling.compiled(lowered, topology.platform)
        program = hlo.read(made.text, topology.count, topology.slices, turn) if made.text else hlo.Program()
        known = {"compiled": {**vars(made), "text": ""}, "program": asdict(program)}
        cache.save("plans", key, json.dumps(known).encode())
    else:
        known = json.loads(kept)
        sent = tuple(hlo.Sent(**one) for one in known["program"]["sent"])
        work = {kind: hlo.Work(**one) for kind, one in known["program"]["work"].items()}
        made = compiling.Compiled(**known["compiled"])
        program = hlo.Program(**{**known["program"], "sent": sent, "work": work})
    if what == "train":
        flops = here.count_flops()
        done = flops_of_step(here.recipe, here.abstract, here.feed.example, again=True)
    else:
        turns = len(job.experiment.sampling_in().grid) - 1 if turn else 1
        flops = done = of_jaxpr(traced.jaxpr.jaxpr) / turns
    memory_of = {"needed": made.refused} if made.refused else dict(made.memory)
    time = None
    if not made.refused and topology.platform != "cpu":
        time = estimate(program, topology, done, job.experiment.config.model.dtype)
    return Turn(what, None if math.isnan(flops) else flops, memory_of, program, time, made.seconds)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _advice(made: Planned, config: ConfigDict) -> Any:
    """What to change, where it does not fit or leaves much room."""
    devices, kept, room = made.topology.count, float(made.kept), made.room
    whole = sum(part.whole for part in made.parts)
    if whole > 0.1 * kept:
        yield (
            f"{whole / 1e9:.2f} GB of the state stay whole on each device, for no group divides an axis of theirs: "
            "take widths that have more factors of two"
        )
    state = sum(part.on_one for part in made.parts if not part.name.startswith("data"))
    if kept > room:
        data = kept - state
        if data > 0.3 * room:
            yield "the data alone take much of the memory: config.data.placement=host"
        if config.parallel.shard != "fsdp" and devices > 1:
            yield "the state does not fit whole: config.parallel.shard=fsdp"
        elif state > room:
            yield "the state does not fit: more devices, or a smaller model"
        return
    for turn in made.turns:
        if turn.what != "train":
            continue
        between = turn.needed - kept
        if turn.needed > room:
            now = config.training.accumulate
            parts = parts_that_fit(made.batch // now, devices, kept, between, room)
            if not config.model.remat:
                yield "config.model.remat=True computes activations again and saves their memory"
            if parts:
                yield f"config.training.accumulate={parts * now} would fit, if what lies between shrinks with the rows"
            if (batch := largest_batch(made.batch, devices, kept, between, room)) > 0:
                yield f"config.data.batch={batch} would fit, by the same rule"
        elif turn.needed < room / 2 and (batch := largest_batch(made.batch, devices, kept, between, room)) > made.batch:
            yield f"there is room: a batch of up to {batch} would fit, if what lies between grows with it"
