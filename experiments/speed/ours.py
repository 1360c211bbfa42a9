"""The worker of `compare.py` for this project: JAX, started and run the way its commands do.

A training step is the one of `ddpm_jax.train`, several in a dispatch, with the average of parameters that it keeps;
samples and bounds are those of the sample and evaluate commands, each one compiled program.
"""

from collections.abc import Callable, Sequence
from typing import Any

import worker
from cases import Case, product_flops

from ddpm_jax import commands
from ddpm_jax.commands import starting
from ddpm_jax.devices import flops

IMAGES = 1024
"""Random images to train on, which live on the device."""

SOLVERS = {
    "ddim": ("first_order", "trailing"),
    "ddpm": ("first_order", "trailing"),
    "heun": ("heun", "karras"),
    "cached": ("cached", "uniform"),
}
"""Of a case's sampler: ours, and the spacing of its steps."""


def config_of(case: Case) -> Any:
    """The config that a user would write for this case, checked."""
    from ddpm_jax.config import families
    from ddpm_jax.config.base import base
    from ddpm_jax.experiment import check

    config = base()
    getattr(families, case.family)(config)
    config.data.batch = config.sampler.batch = case.batch
    config.data.placement = "device"
    config.model.update({**case.model, "dropout": 0.0, "dtype": case.dtype})
    config.optimizer.warmup = 0
    config.training.dispatch = case.work if case.task == "training" else 1
    if case.task == "sampling":
        config.sampler.steps = 0 if case.sampler == "cached" else case.work
        config.sampler.name, config.sampler.spacing = SOLVERS[case.sampler]
        config.sampler.solver_order = 0  # the family's is of its own solver
        config.sampler.eta = 1.0 if case.sampler == "ddpm" else 0.0
    if case.task == "likelihood":
        config.evaluation.likelihood_groups = case.work
    check(config)
    return config


def dataset_of(case: Case) -> Any:
    """Random images of the case's shape."""
    import numpy as np

    from ddpm_jax.data import Dataset, Description, Source

    description = Description("random", "1", case.shape, case.levels)
    images = np.random.RandomState(0).randint(0, case.levels, (IMAGES, *case.shape)).astype(np.uint8)
    source = Source(description, IMAGES, lambda rows: (images[rows], {}))
    return Dataset(description, {"train": source, "validation": source})


def experiment_of(case: Case) -> tuple[Any, Any]:
    """The experiment of this case, and its data."""
    from ddpm_jax.experiment import make

    dataset = dataset_of(case)
    return make(config_of(case), dataset.description), dataset


def counts(case: Case, experiment: Any) -> dict[str, Any]:
    """The network's parameters, and the FLOPs of a forward pass of a batch: of its products, and as XLA counts all."""
    import jax
    import jax.numpy as jnp

    from ddpm_jax.models import parameter_count

    model = experiment.model
    params = jax.eval_shape(model.init, jax.random.key(0))
    x = jax.ShapeDtypeStruct((case.batch, *case.shape), jnp.float32)
    inputs = params["network"], x, jax.ShapeDtypeStruct((case.batch,), jnp.float32)
    traced = jax.jit(model.network.apply).trace(*inputs)
    compiler: Any = traced.lower().cost_analysis() or {}
    return {
        "parameters": parameter_count(params),
        "flops": flops.of_jaxpr(traced.jaxpr),
        "compiler_flops": compiler.get("flops"),
    }


class Ours(worker.Measured):
    """Prepares one case and runs it."""

    def __init__(self) -> None:
        self.run: Callable[[], Any] = lambda: None

    def hello(self, _: Any = None) -> dict[str, Any]:
        """What this side is made of."""
        import jax

        from ddpm_jax import runs

        return {**runs.provenance(), "platform": jax.devices()[0].platform}

    def memory(self, question: dict[str, Any]) -> dict[str, Any]:
        """The peak so far, in MiB: of the device if it keeps count, else of the process."""
        import jax

        facts = (jax.devices()[0].memory_stats() or {}) if jax.devices()[0].platform != "cpu" else {}
        peak = facts["peak_bytes_in_use"] / 2**20 if "peak_bytes_in_use" in facts else worker.peak_memory()
        if question.get("forget"):
            worker.forget_peak()
        return {"peak": peak}

    def _limit(self, case: Case) -> dict[str, Any]:
        import jax
        import jax.numpy as jnp

        a, b = (jax.random.normal(jax.random.key(i), (case.batch, case.batch), jnp.dtype(case.dtype)) for i in (0, 1))
        multiply = jax.jit(jnp.matmul)

        def run() -> None:
            jax.block_until_ready([multiply(a, b) for _ in range(case.work)])

        self.run = run
        return {"flops": product_flops(case)}

    def _build(self, case: Case) -> dict[str, Any]:
        import jax

        from ddpm_jax.keys import PARAMETERS, purpose_key

        experiment, dataset = experiment_of(case)
        if case.task == "training":
            self.run = self._training(case, experiment, dataset)
        else:
            params = jax.jit(experiment.model.init)(purpose_key(0, PARAMETERS))
            self.run = self._drawing(case, experiment, params, dataset)
        return counts(case, experiment)

    def _training(self, case: Case, experiment: Any, dataset: Any) -> Callable[[], None]:
        """A dispatch of the training job."""
        import jax
        import jax.numpy as jnp

        from ddpm_jax.devices.plan import make_plan
        from ddpm_jax.pipeline.job import make_job

        job = make_job(experiment, make_plan(batch=case.batch), dataset)
        kept = {"state": job.fresh()}
        clock = jnp.float32(0)

        def run() -> None:
            with job.data(0) as feed:
                kept["state"], _ = job.run(kept["state"], feed(0, case.work), case.work, clock)
            jax.block_until_ready(kept["state"])

        return run

    def _drawing(self, case: Case, experiment: Any, params: Any, dataset: Any) -> Callable[[], None]:
        """Samples, or bounds, by one compiled program."""
        import jax
        import jax.numpy as jnp
        import numpy as np

        from ddpm_jax import keys

        if case.task == "likelihood":
            rows = dataset.split("train").rows(np.arange(case.batch))
            bound = jax.jit(experiment.model.likelihood)
            return lambda: jax.block_until_ready(bound(params, rows))
        number = iter(range(2**31))

        @jax.jit
        def draw(params: Any, root: Any) -> Any:
            each = keys.per_example(root, jnp.arange(case.batch))
            return experiment.sampling.draw(experiment.model, params, each, {})[0]

        return lambda: jax.block_until_ready(draw(params, jax.random.key(next(number))))


def main(arguments: Sequence[str]) -> None:
    """Read the options, start JAX, answer."""
    parser = commands.Parser(description=__doc__)
    parser.add_argument("--threads", type=int, required=True)
    worker.use_threads(commands.parse(parser, arguments).threads)
    starting.start_jax()
    ours = Ours()
    worker.serve({"hello": ours.hello, "prepare": ours.prepare, "measure": ours.measure, "memory": ours.memory})


if __name__ == "__main__":
    commands.run(main)
