"""What makes each published model what it is, whatever the data and the size of the network.

A family is a function that sets the choices of its paper on a config: schedule, prediction, loss, times. Its sampler is
a solver of one network evaluation a step that in 20 steps, on the digits and without guidance, does about as well as
the paper's own in many more (experiments/solvers; `improved_ddpm` keeps its paper's). The papers' are in
docs/how-to/samplers.md. The configs of digits and MNIST take them; those of CIFAR-10 spell out their papers' recipes
instead.
"""

from collections.abc import Callable

from ml_collections import ConfigDict


def _solved(config: ConfigDict, solver: str, spacing: str, order: int = 0) -> None:
    """The probability flow by a solver of one evaluation a step."""
    config.sampler.name = solver
    config.sampler.spacing = spacing
    config.sampler.steps = 20
    config.sampler.eta = 0.0
    config.sampler.solver_order = order


def ddpm(config: ConfigDict) -> None:
    """Ho et al. 2020: linear betas, T = 1000, the network predicts the noise, L_simple."""
    _solved(config, "unipc", "quadratic")


def ddpm_cosine(config: ConfigDict) -> None:
    """DDPM with the cosine schedule of Nichol and Dhariwal 2021."""
    ddpm(config)
    config.process.schedule = "ddpm_cosine"


def improved_ddpm(config: ConfigDict) -> None:
    """Nichol and Dhariwal 2021: cosine schedule, learned variance, L_hybrid; the time scales and shifts."""
    config.process.schedule = "ddpm_cosine"
    config.model.variance = "learned"
    config.model.scale_shift = True
    config.objective.name = "hybrid"


def ncsn(config: ConfigDict) -> None:
    """NCSNv2 (Song and Ermon 2020): a few geometric noise levels, denoising score matching.

    The score is predicted as -epsilon/sigma and its error weighted by sigma^2, as there. The 20 levels follow their
    techniques 1 and 2 for 64 values whose images are up to 10 apart.
    """
    config.process.schedule = "ve"
    config.process.sigma_max = 10.0
    config.process.steps = 20
    config.model.time = "log_sigma"
    config.model.input = "unit"
    config.model.variance = "fixed_small"
    _solved(config, "unipc", "uniform")


def _continuous(config: ConfigDict, schedule: str, time: str) -> None:
    config.process.schedule = schedule
    config.process.steps = 0
    config.model.variance = "fixed_small"
    config.model.time = time


def vp(config: ConfigDict) -> None:
    """The variance-preserving SDE (Song et al. 2021b): DDPM in continuous time."""
    _continuous(config, "vp", "thousand")
    _solved(config, "unipc", "quadratic")


def subvp(config: ConfigDict) -> None:
    """The sub-VP SDE (Song et al. 2021b)."""
    vp(config)
    config.process.schedule = "subvp"


def ve(config: ConfigDict) -> None:
    """The variance-exploding SDE (Song et al. 2021b)."""
    _continuous(config, "ve", "log_sigma")
    config.model.input = "unit"
    _solved(config, "unipc", "uniform")


def edm(config: ConfigDict) -> None:
    """EDM (Karras et al. 2022): preconditioned network, log-normal noise levels."""
    _continuous(config, "edm", "quarter_log_sigma")
    config.model.prediction = "F"
    config.model.input = "unit"
    config.objective.name = "edm"
    config.objective.times = "log_normal"
    _solved(config, "unipc", "karras", order=3)
    config.sampler.clip = False


def flow(config: ConfigDict) -> None:
    """Flow matching on straight paths (Lipman et al. 2023; Liu et al. 2023): the network predicts the velocity."""
    _continuous(config, "flow", "thousand")
    config.model.prediction = "velocity"
    config.objective.name = "velocity"
    _solved(config, "adams_bashforth", "uniform")
    config.sampler.clip = False


def vdm(config: ConfigDict) -> None:
    """Variational diffusion (Kingma et al. 2021): the schedule is trained with the network, on the bound itself.

    Their low-discrepancy times; an eighth of a batch goes to the last interval, whose end the schedule decides too.
    """
    _continuous(config, "learned", "log_snr")
    config.objective.name = "bound"
    config.objective.times = "stratified"
    config.objective.decoder = 0.125
    _solved(config, "unipc", "uniform")


def _kept(config: ConfigDict, process: str, schedule: str, time: str, steps: int) -> None:
    """Sites or values that are kept or not, each a choice of levels, trained on the bound in continuous time."""
    config.process.name = process
    config.process.schedule = schedule
    config.process.steps = 0
    config.model.prediction = "categorical"
    config.model.variance = "fixed_small"
    config.model.time = time
    config.objective.name = "bound"
    config.objective.times = "stratified"
    config.sampler.spacing = "uniform"
    config.sampler.steps = steps
    config.sampler.clip = False
    config.evaluation.decoder_noise = 0.0
    config.evaluation.ode_images = 0


def _ordered(config: ConfigDict) -> None:
    _kept(config, "ordered", "linear", "hidden", steps=0)
    config.sampler.eta = 0.0


def _causal(config: ConfigDict, network: str) -> None:
    _ordered(config)
    config.model.name = network
    config.objective.name = "likelihood"
    config.objective.times = "clean"
    config.sampler.name = "cached"


def autoregressive(config: ConfigDict) -> None:
    """A causal transformer, pixel by pixel in raster order (Parmar et al. 2018; Child et al. 2019)."""
    _causal(config, "causal_transformer")


def pixelcnn(config: ConfigDict) -> None:
    """PixelCNN++ (Salimans et al. 2017): shifted convolutions, a mixture of logistics with coupled channels."""
    _causal(config, "pixelcnn")
    config.model.prediction = "logistics"
    config.model.multipliers = (1, 1, 1)


def spread(config: ConfigDict) -> None:
    """Four pixels at once, far apart in the image: a coarse grid first, then what lies between."""
    _causal(config, "causal_transformer")
    config.process.order = "spread"
    config.process.chunk = 4


def chunked(config: ConfigDict) -> None:
    """Four pixels at once, neighbours in raster order: as many evaluations as `spread`."""
    _causal(config, "causal_transformer")
    config.process.chunk = 4


def random_order(config: ConfigDict) -> None:
    """Any order: each image in an order of its own (Uria et al. 2014; Hoogeboom et al. 2022)."""
    _ordered(config)
    config.process.order = "random"
    config.model.name = "transformer"


def masked(config: ConfigDict) -> None:
    """Masked diffusion: each pixel is hidden at its own time (Austin et al. 2021; Shi et al. 2024)."""
    _ordered(config)
    config.process.order = "independent"
    config.process.schedule = "cosine"
    config.sampler.steps = 64


def one_shot(config: ConfigDict) -> None:
    """A plain regressor: all pixels at once from nothing. It answers with the average of all images, a blur."""
    _ordered(config)
    config.process.chunk = 0
    config.model.prediction = "x0"
    config.objective.name = "regression"


def uniform(config: ConfigDict) -> None:
    """Uniform corruption: each value is replaced by chance at its own time (Austin et al. 2021; Schiff et al. 2024)."""
    _kept(config, "uniform", "cosine", "thousand", steps=64)


def classifier(config: ConfigDict) -> None:
    """A classifier of noisy images (Dhariwal and Nichol 2021, section 4), on the process that the config has.

    To guide runs of that process. It draws no images and gives them no probability.
    """
    config.model.name = "half_unet"
    config.model.conditions = ()
    config.objective.name = "classifier"
    config.sampler.guidance = 1.0
    config.evaluation.samples = 0
    config.evaluation.likelihood_images = 0
    config.evaluation.ode_images = 0
    config.evaluation.pictures = False


GAUSSIAN = (ddpm, ddpm_cosine, improved_ddpm, ncsn, vp, ve, subvp, edm, flow, vdm)
ORDERED = (autoregressive, pixelcnn, random_order, spread, chunked, masked, one_shot)

UNIFORM = (uniform,)

FAMILIES: dict[str, Callable[[ConfigDict], None]] = {
    family.__name__: family for family in (*GAUSSIAN, *ORDERED, *UNIFORM)
}
