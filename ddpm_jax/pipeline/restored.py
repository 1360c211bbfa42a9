"""A trained run, read back: its model, its weights at a step, and what they draw and measure."""

import math
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, PyTree, UInt8
from ml_collections import ConfigDict

from ddpm_jax import data, runs
from ddpm_jax.config.identity import move_encoder
from ddpm_jax.config.keys import IN_PYTHON
from ddpm_jax.data import Dataset
from ddpm_jax.devices.plan import Plan, make_plan
from ddpm_jax.devices.programs import in_32_bits
from ddpm_jax.editing import Inpaint, Restore, Vary
from ddpm_jax.errors import UserError
from ddpm_jax.evaluation.told import conditions_of
from ddpm_jax.experiment import Experiment, check_data, files_of, load_data, make
from ddpm_jax.generative import Model, Sampler, Sampling
from ddpm_jax.plugins import FOLDER
from ddpm_jax.samplers import optimised_grid
from ddpm_jax.training.state import weights


@dataclass(frozen=True, eq=False)
class Run:
    """A trained run.

    >>> import ddpm_jax as dj
    >>> run = dj.load_run("runs/digits_ddpm")  # doctest: +SKIP
    >>> pictures = run.sample(16, seed=1)  # doctest: +SKIP

    Attributes:
        experiment: its model, and how that is sampled and measured.
        plan: the devices to use.
        dataset: its data.
        params: its weights.
        step: of training, which they are from.
    """

    experiment: Experiment
    plan: Plan
    dataset: data.Dataset
    params: PyTree
    step: int

    @property
    def model(self) -> Model:
        """What was trained."""
        return self.experiment.model

    @in_32_bits
    def sample(
        self, count: int, seed: int = 0, sampling: Sampling | None = None, **told: Any
    ) -> UInt8[np.ndarray, "count *site"]:
        """Images as levels, `[count, *site]`; image i depends on the seed and i alone.

        Args:
            count: how many.
            seed: of the samples.
            sampling: in place of the run's own.
            told: of a conditional model, such as `label=7` or `text="a red apple"`: one value for all, or a list that
                the samples go round. Nothing: what the data's own images are told.

        Raises:
            UserError: the model is not told that, or not such a value.
        """
        how, batch = sampling or self.experiment.sampling_in(), self.experiment.config.sampler.batch
        condition = conditions_of(how.asked(self.model), self.dataset, count, told)
        return np.asarray(Sampler(self.model, how, self.plan, batch)(self.params, seed, count, condition)[0])

    @in_32_bits
    def inpaint(
        self,
        images: UInt8[np.ndarray, "count *site"],
        known: Bool[np.ndarray, "..."],
        seed: int = 0,
        task: Inpaint | None = None,
        **told: Any,
    ) -> UInt8[np.ndarray, "count *site"]:
        """These images with what is not known drawn anew; what is known comes back to the bit.

        In a fixed order `pipeline.editing.CANDIDATES` are drawn of each, and one is chosen (`editing.choose`).

        >>> run = load_run("runs/digits_ddpm")  # doctest: +SKIP
        >>> upper = np.arange(8)[:, None, None] < 4  # doctest: +SKIP
        >>> filled = run.inpaint(images, upper, label=3)  # doctest: +SKIP

        Args:
            images: as levels.
            known: True where they are; of a shape that broadcasts to theirs.
            seed: of what is drawn.
            task: the method; the one that the model was made for by default (`pipeline.editing.own_method`).
            told: as in `sample`. Nothing: nothing is told.

        Raises:
            UserError: the model cannot, or is not told that or such a value; or the images are of another shape.
        """
        from ddpm_jax.pipeline import editing

        self._check(images)
        task = task or Inpaint(editing.own_method(self.model))
        how = editing.Looking(seed, self._told(len(images), told), candidates=editing.CANDIDATES)
        return editing.inpaint(self, images, np.broadcast_to(known, images.shape), task, how).images

    @in_32_bits
    def vary(
        self, images: UInt8[np.ndarray, "count *site"], strength: float, seed: int = 0, **told: Any
    ) -> UInt8[np.ndarray, "count *site"]:
        """These images with the information of time `strength`, in (0, 1], removed and put back (Meng et al. 2022).

        The other arguments and the errors are those of `inpaint`; UserError too where the strength leaves no step.
        """
        from ddpm_jax.pipeline import editing

        self._check(images)
        how = editing.Looking(seed, self._told(len(images), told))
        return editing.vary(self, images, np.zeros(images.shape, bool), strength, Vary(), how).images

    @in_32_bits
    def restore(
        self,
        y: Float[Array, "count ..."] | Float[np.ndarray, "count ..."],
        task: Restore,
        seed: int = 0,
        **told: Any,
    ) -> UInt8[np.ndarray, "count *site"]:
        """Images that would have been measured as y, which is in units of the process: a linear inverse problem.

        >>> import ddpm_jax as dj
        >>> run = dj.load_run("runs/digits_ddpm")  # doctest: +SKIP
        >>> run.restore(y, dj.editing.Restore(dj.editing.Averages(2), noise=0.1))  # doctest: +SKIP

        The other arguments and the errors are those of `inpaint`.
        """
        from ddpm_jax.pipeline import editing

        return editing.restore(self, np.asarray(y), task, editing.Looking(seed, self._told(len(y), told))).images

    def _told(self, count: int, told: Any) -> Any:
        """What is told of each of so many images; None: nothing."""
        if not told:
            return None
        return conditions_of(self.experiment.sampling_in().asked(self.model), self.dataset, count, told)

    def _check(self, images: np.ndarray) -> None:
        if images.shape[1:] != self.model.description.shape:
            raise UserError(f"images: they are {images.shape[1:]}; the run's are {self.model.description.shape}")

    def denoise(
        self,
        x_t: Float[Array, "batch *site"] | Float[np.ndarray, "batch *site"],
        t: float | Array,
        condition: PyTree = None,
    ) -> Any:
        """The posterior at x_t: what the network says of the clean image."""
        return self.model.denoiser(self.params)(jnp.asarray(x_t), jnp.asarray(t, x_t.dtype), condition)

    @in_32_bits
    def optimised_times(
        self, steps: int, images: int = 64, seed: int = 0, candidates: int = 100, measure: str = "distance"
    ) -> tuple[float, ...]:
        """Times for `sampler.times`, of `steps` intervals, that are best for this network: `samplers.optimised_grid`.

        For the network as it is sampled: clipped and guided. What is clipped errs less where alpha is tiny, by which
        a network that predicts noise is divided, and which would look like curvature.

        >>> run = load_run("runs/digits_ddpm")  # doctest: +SKIP
        >>> run.optimised_times(10)  # doctest: +SKIP

        Args:
            steps: how many.
            images: of the training split, to choose by.
            seed: which, and of the noise.
            candidates: how many times to choose from; each is an evaluation an image.
            measure: of the error: `distance` or `divergence` (`samplers.optimised`).

        Raises:
            UserError: the process hides sites, or does not have so many times; or there is no such measure.
        """
        model, source = self.model, self.dataset.split("train")
        chosen = np.random.default_rng(seed).permutation(len(source))[:images]
        rows: Any = jax.tree.map(jnp.asarray, source.rows(np.sort(chosen)))
        how = self.experiment.sampling_in()
        x, condition = model.description.encode(rows["image"]), how.asked(model).of(rows["condition"])
        params = how.joined(self.params)
        process: Any = how.process or model.bound_process(params)
        least, total = getattr(model.times, "t_min", None), 0 if how.process else model.times.steps
        denoise, key = how.wrapped(model.denoiser(params), model, params=params), jax.random.key(seed)
        try:
            grid = optimised_grid(process, denoise, x, key, steps, condition, least, candidates, total, measure)
        except ValueError as error:
            raise UserError(f"no times can be chosen: {error}") from error
        return tuple(float(time) for time in grid)

    @in_32_bits
    def likelihood(self, images: UInt8[np.ndarray, "n *site"], **told: Any) -> Float[np.ndarray, " n"]:
        """Bits per dimension of each image, given what is `told` of them: of the kind `run.model.estimator.kind`.

        Raises:
            ValueError: the model gives images no probability.
            UserError: it is not told that, not such a value, or not one for each image.
        """
        count, model = len(images), self.model
        if model.estimator is None:
            raise ValueError("this model gives images no probability")
        known = model.network.conditions
        given = known.rows(told)
        for name, values in given.items():
            if len(values) != count:
                raise UserError(f"{name}: there are {len(values)} values for {count} images")
        condition = {**jax.tree.map(np.asarray, known.null(count)), **given}
        rows = {"image": images, "condition": condition, "row": np.arange(count, dtype=np.int32)}
        terms = self.plan.each(model.likelihood, self.experiment.config.sampler.batch)(self.params, rows)
        return np.asarray(terms.total) / (model.description.dimensions * math.log(2))


@in_32_bits
def load_run(
    folder: str | Path,
    best: bool = False,
    model: Model | None = None,
    dataset: Dataset | None = None,
    sampling: Sampling | None = None,
    text_encoder: str | Path = "",
) -> Run:
    """The run in a folder.

    >>> run = load_run("runs/digits_ddpm")  # doctest: +SKIP
    >>> run.likelihood(run.dataset.split("test").arrays()[0][:4])  # doctest: +SKIP

    Args:
        folder: where it was trained.
        best: take the checkpoint with the lowest validation loss and not the latest.
        model: of a run that was trained from Python, which its folder does not know.
        dataset: likewise.
        sampling: likewise; `Sampling.default` otherwise.
        text_encoder: the folder of its frozen encoder, if not where the run had it.

    Raises:
        UserError: there is no run, no checkpoint, or none that reads back; or a model made in Python is missing, or is
            another; or one is given to a run that knows its own.
    """
    folder = Path(folder)
    config = runs.read_unchecked(folder)
    if text_encoder:
        move_encoder(config, str(text_encoder))
    if config.model.name != IN_PYTHON:
        runs.check_config(folder, config)
        if model is not None or dataset is not None or sampling is not None:
            raise UserError(f"{folder}: its config says its model, data and sampling; leave them out")
        return restore(config, folder, best, images=None)
    if model is None or dataset is None:
        raise UserError(f"{folder}: its model was made in Python; give load_run(folder, model=..., dataset=...)")
    from ddpm_jax.pipeline.python import check_fit, digest

    check_fit(model, dataset)
    if digest(model) != config.model.options.digest:
        raise UserError(f"{folder}: it holds a run of another model, or of an earlier version")
    return restore(config, folder, best, given(config, model, sampling), dataset)


def given(config: Any, model: Model, sampling: Sampling | None = None) -> Experiment:
    """The experiment of a model that was made in Python."""
    return Experiment(config, model, sampling or Sampling.default(model))


def restore(
    config: ConfigDict,
    folder: Path,
    best: bool = False,
    experiment: Experiment | None = None,
    dataset: Dataset | None = None,
    images: bool | None = True,
) -> Run:
    """Read the run in `folder` back, whose config is `config`, and the other runs that its sampler asks.

    Args: as `read`.

    Raises:
        UserError: no checkpoint, or none that reads back; or another run is not there, or does not fit this one.
    """
    from ddpm_jax.pipeline.helpers import found

    run = read(config, folder, best, experiment, dataset, images=images)
    helpers = found(config, folder, run.dataset)
    return replace(run, experiment=run.experiment.helped(helpers))


def read(
    config: Any,
    folder: Path,
    best: bool = False,
    experiment: Experiment | None = None,
    dataset: Dataset | None = None,
    step: int | None = None,
    images: bool | None = True,
) -> Run:
    """Read the run in `folder` back alone.

    Args:
        config: from `runs.read_config`, perhaps with other sampler settings.
        folder: the run's.
        best: take the checkpoint with the lowest validation loss and not the latest.
        experiment: of a model made in Python; the config makes it otherwise.
        dataset: likewise; or one that is read already.
        step: a checkpoint that is kept, in place of the latest.
        images: whether those of the user's own folder are needed; if not, what the run kept of them will do. None: they
            are wanted if they are there.

    Raises:
        UserError: no checkpoint, or none that reads back, or not that one.
    """
    from ddpm_jax.pipeline.job import abstract_state
    from ddpm_jax.training.checkpoints import Checkpoints

    if runs.latest_checkpoint(folder) is None:
        raise UserError(f"{folder}: no checkpoint here; train first, or put a copy of {runs.CHECKPOINTS}/ back")
    ways = config.parallel
    plan = make_plan(ways.map, ways.shard, ways.loop)
    if ways.group and plan.count % ways.group == 0:  # other devices than the run's find groups of their own
        plan = replace(plan, group=ways.group)
    dataset = dataset or data_of(config, folder, images)
    runs.check_data(folder, {**data.fingerprint(dataset), **files_of(config)})
    if experiment is None:
        check_data(config, dataset.description)
        experiment = make(config, dataset.description)
    abstract = abstract_state(experiment)
    plan = plan.fitted(abstract)
    with Checkpoints(folder / runs.CHECKPOINTS, plan, read_only=True) as checkpoints:
        if step is not None and step not in checkpoints.steps:
            kept = ", ".join(map(str, checkpoints.steps))
            raise UserError(f"{folder}: step {step} is not kept there; choose from {kept}")
        step = checkpoints.best if best else step
        unread = [kept for kept in checkpoints.steps if best and checkpoints.facts(kept) is None]
        if best and step is None:
            raise UserError(f"{folder}: no checkpoint here whose validation loss reads; leave out --best")
        if unread:
            warnings.warn(f"step {step} is the best that reads; the checkpoints {unread} do not", stacklevel=2)
        state = checkpoints.restore(abstract, step).state
    return Run(experiment, plan, dataset, weights(state, config.sampler.ema), int(state.step))


def data_of(config: Any, folder: Path, images: bool | None = True) -> Dataset:
    """The data of the run in `folder`; of the user's own what it kept of them, where the images are not needed.

    Args: as `read`.
    """
    own = config.data.name == FOLDER
    if own and not (Path(config.data.dir).expanduser().exists() if images is None else images):
        kept = runs.read_data(folder)
        try:
            return data.recorded(kept, config.model.text_encoder)
        except ValueError:  # then the images are to say it
            pass
    return load_data(config)
