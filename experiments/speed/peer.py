"""The worker of `compare.py` for PyTorch, used as people use it there, and for `torch.compile` with `--compile`.

U-Nets in channels_last, fused Adam, `torch.inference_mode` for drawing, autocast for training in bfloat16 and weights
in bfloat16 for drawing, diffusers' schedulers. Imports nothing of this project but the cases.
"""

import argparse
import importlib
import importlib.metadata
import itertools
from collections.abc import Callable
from typing import Any

import worker
from cases import Case, product_flops

IMAGES = 1024
"""Random images to train on, which live on the device."""


class Peer(worker.Measured):
    """Prepares one case and runs it."""

    def __init__(self, threads: int, device: str, compiled: bool):
        self.threads, self.device, self.compiled = threads, device, compiled
        self.run: Callable[[], Any] = lambda: None

    def hello(self, _: Any = None) -> dict[str, Any]:
        """What this side is made of."""
        torch: Any = importlib.import_module("torch")
        importlib.import_module("diffusers")
        torch.set_num_threads(self.threads)
        torch.manual_seed(0)
        if self.device == "cuda":
            if not torch.cuda.is_available():
                raise RuntimeError("PyTorch sees no GPU")
            torch.backends.cudnn.benchmark = True
        versions = {name: importlib.metadata.version(name) for name in ("torch", "diffusers")}
        device = torch.cuda.get_device_name() if self.device == "cuda" else "cpu"
        return {"versions": versions, "device": device, "threads": torch.get_num_threads()}

    def memory(self, question: dict[str, Any]) -> dict[str, Any]:
        """The peak so far, in MiB: of the device if it is a GPU, else of the process."""
        torch: Any = importlib.import_module("torch")
        peak = torch.cuda.max_memory_allocated() / 2**20 if self.device == "cuda" else worker.peak_memory()
        if question.get("forget"):
            worker.forget_peak()
        return {"peak": peak}

    def _synchronise(self) -> None:
        if self.device == "cuda":
            importlib.import_module("torch").cuda.synchronize()

    def _limit(self, case: Case) -> dict[str, Any]:
        torch: Any = importlib.import_module("torch")
        dtype = getattr(torch, case.dtype)
        a, b = (torch.randn(case.batch, case.batch, device=self.device).to(dtype) for _ in range(2))

        def run() -> None:
            for _ in range(case.work):
                torch.matmul(a, b)
            self._synchronise()

        self.run = run
        return {"flops": product_flops(case)}

    def _build(self, case: Case) -> dict[str, Any]:
        torch: Any = importlib.import_module("torch")
        networks = importlib.import_module("peer_networks")
        model = networks.make(case.shape, case.levels, case.model).to(self.device)
        layout = torch.channels_last if case.model["name"] == "unet" else torch.contiguous_format
        model = model.to(memory_format=layout)
        images = torch.randint(0, case.levels, (IMAGES, *case.shape), dtype=torch.uint8, device=self.device)
        facts = self.counts(case, model)
        if case.task == "training":
            self.run = self._training(case, model, images, layout)
        else:
            model = model.eval().requires_grad_(False)
            model = model if case.dtype == "float32" else model.to(getattr(torch, case.dtype))
            loop = {"cached": self._cached, "heun": self._heun}.get(case.sampler, self._scheduled)(case, model, layout)

            @torch.inference_mode()
            def run() -> None:
                loop()
                self._synchronise()

            self.run = run
        return facts

    def counts(self, case: Case, model: Any) -> dict[str, Any]:
        """The network's parameters, and the FLOPs of a forward pass of a batch by PyTorch's counter.

        Attention is computed as plain products for it, because it does not know CPUs' fused one.
        """
        torch: Any = importlib.import_module("torch")
        counting = importlib.import_module("torch.utils.flop_counter")
        attention = importlib.import_module("torch.nn.attention")
        if case.model["name"] == "causal_transformer":
            tokens = case.shape[0] * case.shape[1]
            inputs = (torch.zeros(case.batch, tokens, dtype=torch.int64, device=self.device),)
        else:
            x = torch.zeros(case.batch, case.shape[-1], *case.shape[:-1], device=self.device)
            inputs = (x, torch.zeros(case.batch, device=self.device))
        with (
            counting.FlopCounterMode(display=False) as counter,
            attention.sdpa_kernel(attention.SDPBackend.MATH),
            torch.no_grad(),
        ):
            model(*inputs)
        count = sum(value.numel() for value in model.parameters())
        return {"parameters": count, "flops": float(counter.get_total_flops())}

    def _applied(self, model: Any) -> Callable[[Any, Any], Any]:
        """The network's answer to `(x, time)`, compiled if that is wanted."""
        torch: Any = importlib.import_module("torch")
        network = torch.compile(model) if self.compiled else model

        def answer(x: Any, time: Any) -> Any:
            out = network(x, time)
            return getattr(out, "sample", out)

        return answer

    def _training(self, case: Case, model: Any, images: Any, layout: Any) -> Callable[[], None]:
        """Steps of the usual loop: batch, noise and times, squared error (or cross entropy), clipping, Adam."""
        torch: Any = importlib.import_module("torch")
        F = torch.nn.functional
        optimizer = torch.optim.Adam(model.parameters(), lr=2e-4, fused=True)
        betas = torch.linspace(1e-4, 0.02, 1000, device=self.device)
        kept = torch.cumprod(1 - betas, 0)
        causal = case.model["name"] == "causal_transformer"
        compiled = torch.compile(model) if self.compiled and causal else model
        network = (lambda x, _: compiled(x)) if causal else self._applied(model)
        autocast = torch.autocast(self.device, dtype=torch.bfloat16, enabled=case.dtype == "bfloat16")

        def loss_of(batch: Any) -> Any:
            if causal:
                levels = batch.flatten(1).long()
                return F.cross_entropy(network(levels, None).float().flatten(0, 1), levels.flatten())
            x = (batch.permute(0, 3, 1, 2).float() * (2 / (case.levels - 1)) - 1).contiguous(memory_format=layout)
            noise, time = torch.randn_like(x), torch.randint(0, 1000, (case.batch,), device=self.device)
            share = kept[time][:, None, None, None]
            return F.mse_loss(network(share.sqrt() * x + (1 - share).sqrt() * noise, time).float(), noise)

        def run() -> None:
            for _ in range(case.work):
                batch = images[torch.randint(0, IMAGES, (case.batch,), device=self.device)]
                with autocast:
                    loss = loss_of(batch)
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
            self._synchronise()

        return run

    def _noise(self, case: Case, layout: Any) -> Any:
        torch: Any = importlib.import_module("torch")
        x = torch.randn(case.batch, case.shape[-1], *case.shape[:-1], device=self.device)
        return x.to(getattr(torch, case.dtype)).contiguous(memory_format=layout)

    def _scheduled(self, case: Case, model: Any, layout: Any) -> Callable[[], None]:
        """DDIM or DDPM by diffusers' schedulers, the loop of its pipelines."""
        diffusers: Any = importlib.import_module("diffusers")
        scheduler = (diffusers.DDIMScheduler if case.sampler == "ddim" else diffusers.DDPMScheduler)()
        network = self._applied(model)

        def run() -> None:
            x = self._noise(case, layout)
            scheduler.set_timesteps(case.work, device=self.device)
            for t in scheduler.timesteps:
                x = scheduler.step(network(x, t), t, x).prev_sample

        return run

    def _heun(self, case: Case, model: Any, layout: Any) -> Callable[[], None]:
        """Algorithm 1 of Karras et al. (2022) without churn, with their scaling of the network, in float32 or wider."""
        torch: Any = importlib.import_module("torch")
        network, dtype = self._applied(model), getattr(torch, case.dtype)
        ramp = torch.linspace(0, 1, case.work, dtype=torch.float64)
        sigmas = [*((80 ** (1 / 7) + ramp * (0.002 ** (1 / 7) - 80 ** (1 / 7))) ** 7).tolist(), 0.0]

        def slope(x: Any, sigma: float) -> Any:
            total = (sigma**2 + 0.25) ** 0.5
            time = torch.full((), 0.25, device=self.device) * torch.log(torch.full((), sigma, device=self.device))
            out = network((x / total).to(dtype), time).float()
            denoised = 0.25 / total**2 * x + sigma * 0.5 / total * out
            return (x - denoised) / sigma

        def run() -> None:
            x = self._noise(case, layout).float() * sigmas[0]
            for now, then in itertools.pairwise(sigmas):
                first = slope(x, now)
                ahead = x + (then - now) * first
                x = ahead if then == 0 else x + (then - now) * 0.5 * (first + slope(ahead, then))

        return run

    def _cached(self, case: Case, model: Any, _: Any) -> Callable[[], None]:
        """A pixel a step from the keys and values before it, drawn by `torch.multinomial`."""
        torch: Any = importlib.import_module("torch")
        advance = torch.compile(model.advance) if self.compiled else model.advance
        count = case.shape[0] * case.shape[1]

        def run() -> None:
            cache = model.cache(case.batch)
            pixel, drawn = torch.zeros(case.batch, 1, dtype=torch.int64, device=self.device), []
            for i in range(count):
                at = torch.tensor([i], device=self.device) if self.compiled else i
                pixel = torch.multinomial(torch.softmax(advance(pixel, at, cache, self.compiled).float(), -1), 1)
                drawn.append(pixel)
            torch.cat(drawn, dim=1)

        return run


def main() -> None:
    """Read the options, answer."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--device", choices=("cpu", "cuda"), required=True)
    parser.add_argument("--compile", action="store_true")
    options = parser.parse_args()
    worker.use_threads(options.threads)
    peer = Peer(options.threads, options.device, options.compile)
    worker.serve({"hello": peer.hello, "prepare": peer.prepare, "measure": peer.measure, "memory": peer.memory})


if __name__ == "__main__":
    main()
