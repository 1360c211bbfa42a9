"""Where a run's numbers go: JSON lines always; W&B and TensorBoard as asked. A failure here never ends a run."""

import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

from ddpm_jax.files import Record
from ddpm_jax.training.facts import Facts
from ddpm_jax.training.lines import Lines

WANDB_MODES = ("offline", "online", "off")


class Log:
    """Metrics of a run, by step, to `metrics.jsonl` and to the trackers that are on. Only process 0 writes.

    W&B online starts at once, for it may ask for an account. Offline, where nothing can be wrong that anyone should
    hear of first, it starts with the first row or picture: by then training is under way.

    `identity` is the W&B run's id, by which a run that is started again goes on there; empty: the folder's place.
    `facts` are those of the checkpoint that the run goes on from.
    """

    def __init__(
        self,
        folder: Path,
        config: Record,
        wandb: str = "off",
        project: str = "ddpm_jax",
        group: str = "",
        tensorboard: bool = False,
        resume_step: int = 0,
        identity: str = "",
        facts: Facts | None = None,
    ):
        self._lines: Lines | None = None
        self._sinks: list[tuple[str, Callable[[int, dict[str, float | int]], None]]] = []
        self._images: list[Callable[[int, str, Path], None]] = []
        self._closers: list[Callable[[], None]] = []
        self._later: Callable[[], None] | None = None
        if jax.process_index() != 0:
            return
        self._guard("metrics.jsonl", lambda: self._open_lines(folder / "metrics.jsonl", resume_step, facts))
        if wandb == "online":
            self._guard("W&B", lambda: self._open_wandb(folder, config, wandb, project, group, identity))
        elif wandb != "off":
            self._later = lambda: self._open_wandb(folder, config, wandb, project, group, identity)
        if tensorboard:
            self._guard("TensorBoard", lambda: self._open_tensorboard(folder, resume_step))

    def _open_later(self) -> None:
        """Open what waits for something to log."""
        if self._later is not None:
            opening, self._later = self._later, None
            self._guard("W&B", opening)

    @staticmethod
    def _guard(name: str, action: Callable[[], Any]) -> None:
        try:
            action()
        except Exception as error:  # whatever a tracker or a full disk raises
            warnings.warn(f"logging to {name} failed, the run goes on: {error}", stacklevel=3)

    def _open_lines(self, path: Path, resume_step: int, facts: Facts | None) -> None:
        self._lines = Lines(path, resume_step, facts)
        self._sinks.append((path.name, self._lines.write))
        self._closers.append(self._lines.close)

    @property
    def mark(self) -> tuple[int, int]:
        """Of `metrics.jsonl`, as `Lines.mark`; where it is not written here, one that fits no file."""
        return (0, -1) if self._lines is None else self._lines.mark

    def _open_wandb(self, folder: Path, config: Record, mode: str, project: str, group: str, identity: str) -> None:
        os.environ.setdefault("WANDB_SILENT", "true")
        for what in ("CACHE", "DATA", *(["CONFIG"] if mode == "offline" else [])):  # else in the user's home
            os.environ.setdefault(f"WANDB_{what}_DIR", str(folder.absolute() / "wandb" / what.lower()))
        import hashlib

        import wandb

        identity = identity or hashlib.sha256(str(folder.absolute()).encode()).hexdigest()[:12]
        run = wandb.init(
            project=project,
            group=group or None,
            name=folder.name,
            id=identity,
            resume="allow" if mode == "online" else None,
            dir=str(folder),
            mode=mode,  # type: ignore[arg-type]
            config=config,
        )
        self._sinks.append(("W&B", lambda step, row: run.log(row, step=step)))
        self._images.append(lambda step, name, path: run.log({name: wandb.Image(str(path))}, step=step))
        self._closers.append(run.finish)

    def _open_tensorboard(self, folder: Path, resume_step: int) -> None:
        from tensorboardX import SummaryWriter

        writer = SummaryWriter(str(folder / "tensorboard"), purge_step=resume_step + 1 if resume_step else None)

        def write(step: int, row: dict[str, float | int]) -> None:
            for name, value in row.items():
                writer.add_scalar(name, value, step)

        def show(step: int, name: str, path: Path) -> None:
            import numpy as np
            from PIL import Image

            writer.add_image(name, np.asarray(Image.open(path).convert("RGB")), step, dataformats="HWC")

        self._sinks.append(("TensorBoard", write))
        self._images.append(show)
        self._closers.append(writer.close)

    def scalars(self, step: int, row: dict[str, float | int]) -> None:
        """Log a row of numbers at a step. A tracker that fails is told about once and then left out."""
        self._open_later()
        working = []
        for name, sink in self._sinks:
            try:
                sink(step, row)
                working.append((name, sink))
            except Exception as error:
                warnings.warn(f"logging to {name} failed and stops here, the run goes on: {error}", stacklevel=2)
        self._sinks = working

    def picture(self, step: int, name: str, path: Path) -> None:
        """Show a PNG in the trackers that show pictures."""
        self._open_later()
        for show in self._images:
            self._guard("a picture", lambda show=show: show(step, name, path))

    def close(self) -> None:
        """Flush and end every tracker."""
        for close in self._closers:
            self._guard("a tracker's end", close)
        self._sinks, self._images, self._closers, self._later = [], [], [], None
