"""What makes each published Gaussian diffusion what it is, whatever the data and the size of the network.

A family is a function that sets the choices of its paper on a config: schedule, prediction, loss, times, sampler. The
configs of digits and MNIST take them; those of CIFAR-10 spell out their papers' recipes instead.
"""

from collections.abc import Callable

from ml_collections import ConfigDict


def ddpm(config: ConfigDict) -> None:
    """Ho et al. 2020: linear betas, T = 1000, the network predicts the noise, L_simple, ancestral sampling."""


def ddpm_cosine(config: ConfigDict) -> None:
    """DDPM with the cosine schedule of Nichol and Dhariwal 2021."""
    config.process.schedule = "ddpm_cosine"


def improved_ddpm(config: ConfigDict) -> None:
    """Nichol and Dhariwal 2021: cosine schedule, learned variance, L_hybrid; the time scales and shifts."""
    config.process.schedule = "ddpm_cosine"
    config.model.variance = "learned"
    config.model.scale_shift = True
    config.objective.name = "hybrid"


def ncsn(config: ConfigDict) -> None:
    """NCSNv2 (Song and Ermon 2020): a few geometric noise levels, denoising score matching, annealed Langevin dynamics.

    The score is predicted as -epsilon/sigma and its error weighted by sigma^2, as there. The 20 levels, five steps at
    each and the step size follow their techniques 1, 2 and 4 for 64 values whose images are up to 10 apart. (Their step
    size is half of ours, which is that of Song and Ermon 2019.)
    """
    config.process.schedule = "ve"
    config.process.sigma_max = 10.0
    config.process.steps = 20
    config.model.time = "log_sigma"
    config.model.input = "unit"
    config.model.variance = "fixed_small"
    config.sampler.name = "annealed_langevin"
    config.sampler.spacing = "uniform"
    config.sampler.steps = 20
    config.sampler.corrector_steps = 5
    config.sampler.langevin_step = 3.4e-4


def _continuous(config: ConfigDict, schedule: str, time: str) -> None:
    config.process.schedule = schedule
    config.process.steps = 0
    config.model.variance = "fixed_small"
    config.model.time = time
    config.sampler.spacing = "uniform"


def vp(config: ConfigDict) -> None:
    """The variance-preserving SDE (Song et al. 2021b): DDPM in continuous time, sampled by Euler and Maruyama."""
    _continuous(config, "vp", "thousand")
    config.sampler.name = "euler"


def subvp(config: ConfigDict) -> None:
    """The sub-VP SDE (Song et al. 2021b), sampled by Euler and Maruyama."""
    vp(config)
    config.process.schedule = "subvp"


def ve(config: ConfigDict) -> None:
    """The variance-exploding SDE (Song et al. 2021b): a predictor step of reverse diffusion, a Langevin corrector."""
    _continuous(config, "ve", "log_sigma")
    config.model.input = "unit"
    config.sampler.name = "predictor_corrector"


def edm(config: ConfigDict) -> None:
    """EDM (Karras et al. 2022): preconditioned network, log-normal noise levels, Heun's method with 18 steps."""
    _continuous(config, "edm", "quarter_log_sigma")
    config.model.prediction = "F"
    config.model.input = "unit"
    config.objective.name = "edm"
    config.objective.times = "log_normal"
    config.sampler.name = "heun"
    config.sampler.spacing = "karras"
    config.sampler.steps = 18
    config.sampler.eta = 0.0
    config.sampler.clip = False


def flow(config: ConfigDict) -> None:
    """Flow matching on straight paths (Lipman et al. 2023; Liu et al. 2023): the network predicts the velocity."""
    _continuous(config, "flow", "thousand")
    config.model.prediction = "velocity"
    config.objective.name = "velocity"
    config.sampler.name = "heun"
    config.sampler.steps = 50
    config.sampler.eta = 0.0
    config.sampler.clip = False


def vdm(config: ConfigDict) -> None:
    """Variational diffusion (Kingma et al. 2021): the schedule is trained with the network, on the bound itself.

    Their low-discrepancy times; an eighth of a batch goes to the last interval, whose end the schedule decides too.
    """
    _continuous(config, "learned", "log_snr")
    config.objective.name = "bound"
    config.objective.times = "stratified"
    config.objective.decoder = 0.125


FAMILIES: dict[str, Callable[[ConfigDict], None]] = {
    family.__name__: family for family in (ddpm, ddpm_cosine, improved_ddpm, ncsn, vp, ve, subvp, edm, flow, vdm)
}
