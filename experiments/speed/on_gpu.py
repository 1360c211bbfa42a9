"""What only hardware can tell, in one command of at most eight minutes and one file with the device's name.

    python experiments/speed/on_gpu.py                          # results/NAME_OF_THE_DEVICE.json beside this file
    python experiments/speed/on_gpu.py --size=cpu --rows=unet   # a rehearsal without one

Checks: networks' outputs and training losses equal those of this machine's CPU within a tolerance, attention without
all weights equals plain attention, a run that goes on from a checkpoint ends bit for bit as one that was never stopped.
Times: training steps of a U-Net and a DiT and cached autoregression beside PyTorch, compiled too (`compare.py`), where
the extra `peers` is there; memory and time of these steps beside what `python -m ddpm_jax.plan` would say. It needs no
network. What there is no time for is left out, and said.
"""

import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import cases
import ours

from ddpm_jax import commands
from ddpm_jax.commands import starting
from ddpm_jax.errors import UserError, one_line
from ddpm_jax.files import obstacle, write_json

HERE = Path(__file__).parent
ROWS = ("unet", "dit", "cached")
LEAST = 60
"""Seconds without which a part is not begun."""

Part = Callable[[], dict[str, Any]]


def numbers() -> dict[str, Any]:
    """The greatest difference of outputs from a CPU's, over their size, for a network of each kind in float32."""
    import jax
    import jax.numpy as jnp

    from ddpm_jax import models

    options = {
        "unet": {"channels": 32, "multipliers": (1, 2), "blocks": 1, "attention_resolutions": (8,), "groups": 8},
        "dit": {"channels": 64, "depth": 2, "heads": 4},
        "transformer": {"channels": 64, "depth": 2, "heads": 4},
        "pixelcnn": {"channels": 16, "blocks": 1, "multipliers": (1, 1)},
    }
    found = {}
    for name, chosen in options.items():
        network = models.make(name, (16, 16, 3), 3, **chosen)
        params = network.init(jax.random.key(0))
        params = jax.tree.map(lambda leaf: leaf + 0.02 * jnp.sin(jnp.arange(leaf.size).reshape(leaf.shape)), params)
        x, t = jax.random.normal(jax.random.key(1), (4, 16, 16, 3)), jnp.array([0.1, 0.4, 0.7, 1.0])
        with jax.default_matmul_precision("highest"):
            here = jax.jit(network.apply)(params, x, t)
            there = jax.jit(network.apply)(*jax.device_put((params, x, t), jax.devices("cpu")[0]))
        difference = jnp.abs(jax.device_put(here, jax.devices("cpu")[0]) - there).max()
        found[name] = float(difference / jnp.abs(there).max())
    return {"differences": found, "tolerance": 2e-4, "good": max(found.values()) < 2e-4}


def losses() -> dict[str, Any]:
    """The losses of the first steps on the digits, beside those of a CPU."""
    import jax
    import numpy as np

    from ddpm_jax import data
    from ddpm_jax.config import base, families
    from ddpm_jax.devices.plan import Plan
    from ddpm_jax.experiment import make
    from ddpm_jax.pipeline.job import make_job

    found, dataset = {}, data.load("digits")
    for name, device in (("here", jax.devices()[0]), ("cpu", jax.devices("cpu")[0])):
        config = base.digits()
        families.flow(config)
        with jax.default_matmul_precision("highest"), jax.default_device(device):
            job = make_job(make(config, dataset.description), Plan(devices=(device,)), dataset)
            state, values = job.fresh(), []
            with job.data(0) as feed:
                for step in range(8):
                    state, metrics = job.run(state, feed(step, 1), 1, np.float32(0))
                    values.append(float(metrics.loss))
        found[name] = values
    apart = max(abs(a / b - 1) for a, b in zip(found["here"], found["cpu"], strict=True))
    return {"losses": found, "apart": apart, "tolerance": 1e-3, "good": apart < 1e-3}


def attention() -> dict[str, Any]:
    """Attention without all weights beside plain attention, values and gradients, in bfloat16."""
    import jax
    import jax.numpy as jnp

    from ddpm_jax.models.efficient_attention import attend

    found = {}
    for tokens, chunk in ((256, 0), (1024, 1)):
        query, key, value = jax.random.normal(jax.random.key(0), (3, 2, 4, tokens, 64)).astype(jnp.bfloat16)

        def pulled(fused: bool, *given: Any, chunk: int = chunk) -> Any:
            return jax.grad(lambda q, k, v: (attend(q, k, v, chunk, fused).astype(jnp.float32) ** 2).sum(), (0, 1, 2))(
                *given
            )

        pairs = [
            (attend(query, key, value, chunk, True), attend(query, key, value, chunk)),
            *zip(*(jax.jit(partial(pulled, fused))(query, key, value) for fused in (True, False)), strict=True),
        ]
        wide = [[a.astype(jnp.float32) for a in pair] for pair in pairs]
        found[f"{tokens} tokens, chunk {chunk}"] = max(float(jnp.abs(a - b).max() / jnp.abs(b).max()) for a, b in wide)
    return {"differences": found, "tolerance": 0.03, "good": max(found.values()) < 0.03}


def resumed() -> dict[str, Any]:
    """Weights of a run that was stopped at half beside those of one that was not."""
    import jax
    import numpy as np

    import ddpm_jax as dj
    from ddpm_jax.config import base, families

    config = base.digits()
    families.flow(config)
    settings = {
        "training.save_every": 10,
        "training.keep_latest": 4,
        "evaluation.at_end": False,
        "evaluation.pictures": False,
        "logging.wandb": "off",
        "optimizer.schedule": "constant",
    }
    with tempfile.TemporaryDirectory() as folder:
        whole = dj.train(config, workdir=f"{folder}/whole", settings={**settings, "training.steps": 20})
        line = [sys.executable, "-m", "ddpm_jax.train", "--config=configs/digits/flow.py", f"--workdir={folder}/half"]
        line += [f"--config.{key}={value}" for key, value in settings.items()]
        for steps in (["--config.training.steps=10"], None):
            words = [*line, *steps] if steps else [*line[:3], f"--workdir={folder}/half", "--extend"]
            words += [] if steps else ["--config.training.steps=20"]
            done = subprocess.run(words, cwd=HERE.parents[1], capture_output=True, text=True, check=False)
            if done.returncode:
                raise RuntimeError(done.stderr.strip().splitlines()[-1])
        half = dj.load_run(f"{folder}/half")
        pairs = zip(jax.tree.leaves(whole.params), jax.tree.leaves(half.params), strict=True)
        equal = [bool(np.array_equal(a, b)) for a, b in pairs]
    return {"equal": sum(equal), "of": len(equal), "good": all(equal)}


def predicted(size: str, row: str) -> dict[str, Any]:
    """Memory and time of a training step, as its program says and as they are."""
    import jax
    import numpy as np

    from ddpm_jax.devices.peaks import ACCELERATORS, accelerator
    from ddpm_jax.devices.plan import make_plan
    from ddpm_jax.devices.topology import Topology
    from ddpm_jax.pipeline.job import make_job
    from ddpm_jax.planning import hlo
    from ddpm_jax.planning.estimate import estimate

    case, device = cases.cases(size)[row], jax.devices()[0]
    experiment, dataset = ours.experiment_of(case)
    job = make_job(experiment, make_plan(batch=case.batch, devices=(device,)), dataset)
    before = (device.memory_stats() or {}).get("peak_bytes_in_use", 0)
    state, clock, seconds = job.fresh(), np.float32(0), []
    with job.data(0) as feed:
        made = job.run.compiled(state, feed(0, case.work), case.work, clock)
        stats = made.memory_analysis()
        for _ in range(4):
            start = time.perf_counter()
            state, _ = job.run(state, feed(0, case.work), case.work, clock)
            jax.block_until_ready(state)
            seconds.append((time.perf_counter() - start) / case.work)
    names = ("argument_size_in_bytes", "temp_size_in_bytes", "generated_code_size_in_bytes")
    memory = sum(getattr(stats, name) for name in names) + stats.output_size_in_bytes - stats.alias_size_in_bytes
    peak = (device.memory_stats() or {}).get("peak_bytes_in_use", 0)
    flops, program = job.count_flops(), hlo.read(made.as_text(), 1)
    found: dict[str, Any] = {
        "step_seconds": statistics.median(seconds[1:]),
        "flops": flops,
        "memory_of_the_program": memory,
        "memory_of_the_device": peak if peak > before else None,  # else it is another part's peak
        "products": dict(program.products),
        "waits_for_the_host": dict(program.host),
    }
    if any(device.device_kind in known.kinds for known in ACCELERATORS):
        known = accelerator(device.device_kind)
        peak = (known.bfloat16 if case.dtype == "bfloat16" else None) or known.float32
        hardware = Topology(device.device_kind, "cuda", device.device_kind, (1,))
        found["predicted_seconds"] = estimate(program, hardware, flops, case.dtype).total
        found["share_of_the_peak"] = flops / found["step_seconds"] / peak
    return found


def beside_pytorch(size: str, rows: Sequence[str], seconds: float, python: str) -> dict[str, Any]:
    """`compare.py` within so many seconds."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "compare.json"
        line = [sys.executable, str(HERE / "compare.py"), f"--size={size}", f"--rows={','.join(rows)}", "--pairs=2"]
        line += [
            "--compile",
            "--compile_seconds=60",
            f"--output={file}",
            *([f"--peer_python={python}"] if python else []),
        ]
        done = subprocess.run(line, timeout=seconds, capture_output=True, text=True, check=False)
        print(done.stdout, flush=True)
        if done.returncode:
            raise RuntimeError((done.stderr.strip() or "no words").splitlines()[-1])
        return json.loads(file.read_text())


def parts(options: Any, left: Callable[[], float]) -> Iterator[tuple[str, Part]]:
    """What is done, in its order."""
    rows = [row for row in options.rows.split(",") if row]
    yield "numbers", numbers
    yield "losses", losses
    yield "attention", attention
    for row in rows:
        if cases.cases(options.size)[row].task == "training":
            yield f"predicted, {row}", partial(predicted, options.size, row)
    yield "resumed", resumed
    yield "beside PyTorch", lambda: beside_pytorch(options.size, rows, left() - 5, options.peer_python)


def main(arguments: Sequence[str]) -> None:
    """Read the command line, do all that there is time for, and write the file."""
    parser = commands.Parser(prog="python experiments/speed/on_gpu.py", description=__doc__)
    parser.add_argument("--size", choices=cases.SIZES, default="gpu", help="of the networks (default: gpu)")
    parser.add_argument("--rows", metavar="A,B", default=",".join(ROWS), help=f"to time (default: {','.join(ROWS)})")
    parser.add_argument("--minutes", type=float, default=8.0, help="that it may take (default: 8)")
    parser.add_argument("--peer_python", metavar="FILE", default="", help="the Python that has PyTorch (default: this)")
    parser.add_argument("--output", metavar="FILE.json", default="", help="(default: results/ and the device's name)")
    options = commands.parse(parser, arguments)
    begun = time.monotonic()
    for row in options.rows.split(","):
        if row not in cases.cases(options.size):
            raise UserError(f"--rows: there is no row {row!r}; choose from {', '.join(cases.cases(options.size))}")
    starting.start_jax()
    import jax

    from ddpm_jax import runs

    device = jax.devices()[0]
    if options.size == "gpu" and device.platform == "cpu":
        raise UserError("--size: JAX sees no GPU; install its build for one, or rehearse with --size=cpu")
    name = re.sub(r"\W+", "_", device.device_kind.lower()).strip("_")
    output = Path(options.output or HERE / "results" / f"{name}.json")
    if reason := obstacle(output.parent):
        raise UserError(f"--output: {output} cannot be written ({reason}); choose another")
    result: dict[str, Any] = {"size": options.size, **runs.provenance(), "parts": {}, "left_out": {}}

    def left() -> float:
        return 60 * options.minutes - (time.monotonic() - begun)

    for what, part in parts(options, left):
        if left() < LEAST:
            result["left_out"][what] = "no time was left"
            continue
        start = time.monotonic()
        try:
            found = part()
        except Exception as error:  # the others go on
            result["left_out"][what] = one_line(error)
            print(f"{what}: left out: {one_line(error)}", flush=True)
            continue
        found["seconds"] = round(time.monotonic() - start, 1)
        result["parts"][what] = found
        print(f"{what}: {'good' if found.get('good', True) else 'NOT GOOD'} ({found['seconds']} s)", flush=True)
        output.parent.mkdir(parents=True, exist_ok=True)
        write_json(output, result)
    for what, reason in result["left_out"].items():
        print(f"left out: {what} ({reason})")
    print(output)
    if bad := [what for what, found in result["parts"].items() if not found.get("good", True)]:
        raise UserError(f"not as it should be: {', '.join(bad)}; the figures are in {output}")


if __name__ == "__main__":
    commands.run(main)
