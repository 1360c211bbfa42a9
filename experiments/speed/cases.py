"""What `compare.py` measures, as data: one case a row, with a size for two CPU cores and one for a GPU.

Read by this project's worker and by PyTorch's, so it imports neither.
"""

import dataclasses
import math
from typing import Any

TASKS = ("training", "sampling", "likelihood", "product")
SIZES = ("cpu", "gpu")
FLOPS_TOLERANCE = 0.05
"""How far apart the FLOPs of two forward passes may be, as a share: causal attention in parts leaves some out."""

UNET = {"blocks": 2, "multipliers": (1, 2, 2, 2), "attention_resolutions": (16,), "groups": 32, "heads": 1}
DDPMPP = {"blocks": 2, "multipliers": (2, 2, 2), "attention_resolutions": (16,)}


@dataclasses.dataclass(frozen=True)
class Case:
    """One row: the same work for both sides.

    Attributes:
        name: of the row.
        title: what is measured, in words.
        task: of `TASKS`.
        family: of `ddpm_jax.config.families`, whose choices our config takes.
        model: the network and its options, by the keys of `config.model`; all but `name` are its own.
        shape: of an image, `(*space, channels)`.
        levels: values that a dimension can take.
        batch: images at once.
        work: of one run: training steps, a sampler's steps, network evaluations of a bound, or matrix products.
        dtype: of activations; parameters of a training step are float32.
        sampler: `ddim`, `ddpm`, `heun` or `cached`.
        peer: whether PyTorch has the same network; else ours is measured alone.
        target: the least ratio that is aimed at; 0: none.
    """

    name: str
    title: str
    task: str
    family: str = "ddpm"
    model: dict[str, Any] = dataclasses.field(default_factory=dict)
    shape: tuple[int, ...] = (32, 32, 3)
    levels: int = 256
    batch: int = 16
    work: int = 1
    dtype: str = "float32"
    sampler: str = ""
    peer: bool = True
    target: float = 0.0

    @property
    def images(self) -> int:
        """How many images one run trains on, draws or judges."""
        return self.batch * (self.work if self.task == "training" else 1)

    @property
    def passes(self) -> int:
        """One run in forward passes of the batch; a step's backward pass counts as two, a cached image as one pass."""
        if self.task == "training":
            return 3 * self.work
        return {"heun": 2 * self.work - 1, "cached": 1}.get(self.sampler, self.work)


def from_dict(values: dict[str, Any]) -> Case:
    """The case that `dataclasses.asdict` took apart, also after JSON, which has no tuples."""
    model = {key: tuple(value) if isinstance(value, list) else value for key, value in values["model"].items()}
    return Case(**{**values, "model": model, "shape": tuple(values["shape"])})


def cases(size: str) -> dict[str, Case]:
    """The rows by name, in the order of the table."""
    large = size == "gpu"
    dtype, training, sampling = ("bfloat16", 20, 128) if large else ("float32", 2, 16)
    channels = 128 if large else 64
    unet = {"name": "unet", "channels": channels, **UNET}
    ddpmpp = {"name": "ddpmpp", "channels": channels, **DDPMPP}
    wide = {"channels": 768, "depth": 12, "heads": 12} if large else {"channels": 256, "depth": 6, "heads": 4}
    dit = {"name": "dit", "patch": 2, **wide}
    causal = {"name": "causal_transformer", "context": 0, **wide}
    space = (32, 32, 1) if large else (16, 16, 1)
    drawn: dict[str, Any] = {"task": "sampling", "model": unet, "batch": sampling, "dtype": dtype}
    trained: dict[str, Any] = {"task": "training", "batch": 128 if large else 16, "work": training, "dtype": dtype}
    rows = [
        Case("unet", "training step, DDPM U-Net", model=unet, target=1.0, **trained),
        Case("ddpmpp", "training step, DDPM++", model=ddpmpp, peer=False, **trained),
        Case("dit", "training step, DiT", model=dit, target=1.0 if large else 0.0, **trained),
        Case(
            "causal",
            "training step, causal transformer",
            family="autoregressive",
            model=causal,
            shape=space,
            **trained,
        ),
        Case("ddim", "DDIM", work=50, sampler="ddim", target=1.2, **drawn),
        Case("ddpm", "DDPM", work=20, sampler="ddpm", **drawn),
        Case("heun", "Heun (EDM)", family="edm", work=18, sampler="heun", **drawn),
        Case(
            "cached",
            "autoregression with a cache",
            target=2.0,
            family="autoregressive",
            sampler="cached",
            work=math.prod(space),
            **{**drawn, "model": causal, "shape": space},
        ),
        Case("likelihood", "variational bound", work=10, peer=False, **{**drawn, "task": "likelihood"}),
    ]
    return {case.name: case for case in rows}


def long(case: Case) -> Case:
    """The case at its full length: DDPM draws in 1000 steps."""
    return dataclasses.replace(case, work=1000) if case.sampler == "ddpm" else case


def product(size: str) -> Case:
    """The limit: plain products of two square matrices, of side `batch`."""
    if size == "gpu":
        return Case("limit", "matrix product", "product", batch=8192, work=100, dtype="bfloat16")
    return Case("limit", "matrix product", "product", batch=2048, work=10)


def product_flops(case: Case) -> float:
    """Of one run of `product`."""
    return 2.0 * case.batch**3 * case.work


def row_title(case: Case) -> str:
    """What was run, with its length where that makes the images' cost."""
    if case.task == "training":
        return case.title
    of_all = " of 1000" if case.sampler == "ddpm" and case.work != 1000 else ""
    return f"{case.title}, {case.work}{of_all} {'evaluations' if case.task == 'likelihood' else 'steps'}"
