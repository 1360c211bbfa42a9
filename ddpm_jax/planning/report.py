"""A plan in words."""

from collections.abc import Iterator

from ddpm_jax.planning.estimate import seconds
from ddpm_jax.planning.making import Planned, Turn

NAMES = {"train": "a training step", "sample": "a step of a batch of samples", "likelihood": "a batch of likelihoods"}
MODEL = "Times are of a model: computing as said, sending by rings over the links, nothing overlapping."


def lines(made: Planned) -> Iterator[str]:
    """What a person is told, a line each."""
    at, row = made.topology, made.topology.accelerator
    yield f"{made.name} on {at.name}: {at.count} devices of {row.memory / 1e9:.1f} GB ({row.kinds[0]})"
    yield f"batch {made.batch} ({made.batch // at.count} a device), {made.parameters:,} parameters, {made.spread}"
    yield ""
    yield f"{'memory on one device':28} {'one copy':>12} {'on a device':>12} {'stays whole':>12}"
    for part in made.parts:
        cells = [f"{number / 1e6:,.1f} MB" for number in (part.total, part.on_one)]
        whole = f"{part.whole / 1e6:,.1f} MB" if part.whole else "-"
        yield f"{part.name:28} {cells[0]:>12} {cells[1]:>12} {whole:>12}"
    yield f"{'state and data':28} {'':12} {made.kept / 1e6:>9,.1f} MB"
    for turn in made.turns:
        yield ""
        yield from _turn(turn, made)
    yield ""
    if made.turns:
        most = max(turn.needed for turn in made.turns)
        verdict, words = "fits" if made.fits else "DOES NOT FIT", ""
    else:
        most, words = made.kept, ", without activations: nothing was compiled"
        verdict = "the state and the data fit" if made.fits else "DOES NOT FIT"
    yield f"{verdict}: {most / 1e9:.2f} GB of the {made.room / 1e9:.2f} GB that a program can have{words}"
    yield f"a training step has {made.flops:.3e} FLOPs"
    time = next((turn.estimate for turn in made.turns if turn.what == "train"), None)
    if time and made.steps:
        hours = time.total * made.steps / 3600
        cost = f"{hours:,.1f} hours, {hours * at.chips:,.1f} chip-hours"
        yield f"{made.steps:,} steps: {cost}, without what lies between dispatches"
    if made.turns:
        yield MODEL
    yield from (f"advice: {line}" for line in made.advice)


def _turn(turn: Turn, made: Planned) -> Iterator[str]:
    at, time = made.topology, turn.estimate
    yield f"{NAMES[turn.what]} (compiled in {turn.seconds:,.0f} s)"
    between = ", ".join(f"{name} {number / 1e6:,.1f} MB" for name, number in turn.memory.items())
    yield f"  memory: {turn.needed / 1e9:.2f} GB: {between}"
    if time:
        products = "" if time.products is None else f", of which products {time.products * 1e3:.2f}"
        yield (
            f"  time: {time.total * 1e3:.2f} ms: computing {time.computing * 1e3:.2f} ({time.basis}{products}), "
            f"sending {time.sending * 1e3:.2f}"
        )
        peak = (at.accelerator.bfloat16 if made.dtype == "bfloat16" else None) or at.accelerator.float32
        if turn.flops:
            share = turn.flops / time.total / at.count / peak
            inner = "" if not time.products else f"; products at {turn.flops / time.products / at.count / peak:.0%}"
            yield f"  {turn.flops:.3e} FLOPs, {share:.1%} of the peak{inner}"
    for one in turn.program.sent:
        many = f"{one.count} {one.kind}" + ("s" if one.count > 1 else "")
        yield (
            f"  sends: {many}, {one.bytes / 1e6:,.2f} MB over {one.devices} devices, {seconds(one, at) * 1e3:.3f} ms"
        )
    if not turn.program.sent:
        yield "  sends: nothing"
    host = ", ".join(f"{count} {name}" for name, count in turn.program.host.items())
    yield f"  waits for the host: {host or 'never'}"
    products = ", ".join(f"{count} of {name}" for name, count in turn.program.products.items())
    yield f"  products and convolutions: {products or 'none'}"
    started = "; the microseconds that starting each takes are not in the time" if at.platform == "cuda" else ""
    yield f"  operations: {turn.program.total.operations:,}{started}"
    for kind, work in turn.program.work.items():
        clock = at.generation.clock if at.generation and work.cycles else None
        time = f", {work.cycles / clock * 1e3:.2f} ms" if clock else ""
        yield f"    {kind}: {work.operations:,}, {work.accessed / 1e9:,.2f} GB read and written{time}"
