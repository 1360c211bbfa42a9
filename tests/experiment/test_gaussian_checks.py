"""Every impossible combination is refused with its reason, and every config file of the project is possible."""

from pathlib import Path

import numpy as np
import pytest

from ddpm_jax.config.base import base
from ddpm_jax.config.families import FAMILIES, GAUSSIAN
from ddpm_jax.config.loading import changed
from ddpm_jax.errors import UserError
from ddpm_jax.experiment import check, files_of
from ddpm_jax.samplers import SOLVERS
from tests.config.examples import about, from_file, told

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*/*.py"))


LANGEVIN = {"sampler__name": "annealed_langevin", "sampler__eta": 1.0}
OWN = {"sampler__steps": 0}
"""The number of steps is that of the times given."""


def of(family, **changes):
    config = base()
    config.sampler.steps = 100
    FAMILIES[family](config)
    config.update_from_flattened_dict({key.replace("__", "."): value for key, value in changes.items()})
    return config


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: f"{path.parent.name}_{path.stem}")
def test_every_config_of_the_project_is_possible(path):
    check(from_file(path))


@pytest.mark.parametrize(
    ("family", "changes", "key", "reason"),
    [
        # what is the sampler's alone
        ("flow", {"sampler__restarts": 1, "sampler__restart_range": (3.0, 3.1)}, "sampler.restart_range", "are needed"),
        ("flow", {"sampler__restarts": 1, "sampler__name": "tsit5"}, "sampler.restarts", "takes no steps"),
        ("ddpm", {"sampler__clip_range": (1.0, -1.0)}, "sampler.clip_range", "is not (low, high)"),
        ("flow", {"sampler__coordinate": "noise_ratio"}, "sampler.coordinate", "use line"),
        ("flow", {"sampler__name": "euler", "sampler__noise_scale": 1.1}, "sampler.noise_scale", "no fresh noise"),
        (
            "ddpm",
            {"process__decoder_variance": "second_step", "evaluation__decoder_noise": 0.02},
            "evaluation.decoder_noise",
            "set it to 0",
        ),
        ("improved_ddpm", {"process__decoder_variance": "second_step"}, "process.decoder_variance", "puts out its own"),
        ("ddpm", {"evaluation__curve": (5000,)}, "evaluation.curve", "does not fit a table"),
        ("flow", {"sampler__restarts": 1, "sampler__restart_range": (0.3, 0.06)}, "sampler.restart_range", "not below"),
        ("vp", {"process__decoder_variance": "second_step"}, "process.decoder_variance", "no second step"),
        ("vp", {"model__variance": "learned_range"}, "model.variance", "in continuous time"),
        # a score where sigma(0) = 0
        ("vp", {"model__prediction": "score"}, "model.prediction", "the score is infinite where vp begins"),
        ("ddpm", {"model__prediction": "score"}, "model.prediction", "the score is infinite where ddpm_linear begins"),
        # epsilon at zero terminal SNR, as an output and as a loss
        ("flow", {"model__prediction": "epsilon"}, "model.prediction", "ends in pure noise, alpha(1) = 0"),
        ("flow", {"objective__name": "simple"}, "objective.name", "asks for nothing at t = 1"),
        ("flow", {"objective__name": "min_snr"}, "objective.name", "asks for nothing at t = 1"),
        ("vp", {"objective__name": "score"}, "objective.name", "the score is infinite where vp begins"),
        (
            "vp",
            {"process__schedule": "cosine", "model__prediction": "v"},
            "objective.name",
            "simple asks for nothing at t = 1, where cosine has alpha = 0",
        ),
        # derivatives that a table has not
        ("ddpm", {"model__prediction": "velocity"}, "model.prediction", "needs the schedule's derivatives"),
        ("ddpm", {"objective__name": "sigmoid"}, "objective.name", "needs the schedule's derivatives"),
        ("ddpm", {"sampler__name": "tsit5", "sampler__eta": 0.0}, "sampler.name", "tsit5 cannot use a table"),
        ("ddpm", {"sampler__name": "euler"}, "sampler.name", "euler cannot use a table"),
        # times
        ("flow", {"model__time": "log_snr"}, "model.time", "log_snr is infinite where flow ends"),
        ("vp", {"objective__decoder": 0.1}, "objective.decoder", "only the bound has an interval of its own"),
        ("vp", {"evaluation__decoder_noise": 1e6}, "evaluation.decoder_noise", ""),
        ("vp", {"evaluation__likelihood_groups": 1}, "evaluation.likelihood_groups", "one stratum"),
        ("vp", {"model__time": "index"}, "model.time", "there is no index in continuous time"),
        ("ddpm", {"model__name": "ncsnpp"}, "model.time", "ncsnpp has Fourier features of scale 16"),
        ("vp", {"model__name": "ncsnpp"}, "model.time", "too fast for thousand"),
        ("vdm", {"model__name": "ncsnpp"}, "model.time", "too fast for log_snr"),
        ("vp", {"process__schedule": "ddpm_cosine"}, "process.steps", "is a table of T steps"),
        ("vp", {"sampler__spacing": "leading"}, "sampler.spacing", "leading is for tables"),
        ("ddpm", {"sampler__steps": 1001}, "sampler.steps", "is more than config.process.steps 1000"),
        (
            "ddpm",
            {"objective__decoder": 0.1, "objective__name": "bound"},
            "objective.decoder",
            "in discrete time the last interval is one of T",
        ),
        # a variance that nobody trains, and one that nobody has
        ("ddpm", {"model__variance": "learned"}, "model.variance", "does not train a variance"),
        ("ddpm", {"objective__name": "hybrid"}, "objective.name", "hybrid trains a variance"),
        ("vp", {"model__variance": "learned", "objective__name": "hybrid"}, "model.variance", "in continuous time"),
        ("ddpm", {"model__prediction": "categorical"}, "model.variance", "a categorical prediction has no fixed_large"),
        # a trained schedule
        ("vdm", {"objective__name": "v"}, "objective.name", "only the bound can do"),
        ("vdm", {"objective__decoder": 0.0}, "objective.decoder", "must count"),
        ("vdm", {"objective__times": "log_normal"}, "objective.times", "a mean over uniform times"),
        ("vdm", {"objective__times": "logit_normal"}, "objective.times", "a mean over uniform times"),
        ("vdm", {"sampler__spacing": "log_snr"}, "sampler.spacing", "the grid is fixed before"),
        # samplers
        ("vp", {"sampler__name": "dpm_2m", "sampler__churn": 10.0}, "sampler.churn", "takes no churn"),
        ("ncsn", {**LANGEVIN, "sampler__churn": 10.0}, "sampler.churn", "takes no churn"),
        ("edm", {"sampler__name": "adams_bashforth", "sampler__eta": 1.0}, "sampler.eta", "adds no fresh noise"),
        ("flow", {"sampler__name": "euler", "sampler__eta": 1.0}, "sampler.name", "needs a schedule with alpha(1) > 0"),
        (
            "flow",
            {"sampler__name": "predictor_corrector", "sampler__eta": 1.0},
            "sampler.name",
            "needs a schedule with alpha(1) > 0",
        ),
        (
            "edm",
            {"sampler__churn": 10.0, "sampler__churn_min": 2.0, "sampler__churn_max": 1.0},
            "sampler.churn_max",
            "",
        ),
        ("ncsn", {**LANGEVIN, "sampler__langevin_step": 0.01}, "sampler.langevin_step", "moves diverge from"),
        ("vp", {"sampler__name": "annealed_langevin"}, "sampler.langevin_step", "moves diverge from"),
        ("ncsn", {"sampler__steps": 21}, "sampler.steps", "is more than config.process.steps 20"),
        ("ncsn", {"sampler__steps": 19, "sampler__spacing": "karras"}, "sampler.steps", "finer than the levels"),
        # times by hand, levels, and between entries
        ("vp", {"sampler__times": (1.0, 0.5, 0.0)}, "sampler.steps", "not the number of config.sampler.times, 2"),
        ("vp", {"sampler__times": (0.9, 0.0), **OWN}, "sampler.times", "fall from 1 to 0"),
        ("vp", {"sampler__times": (1.0, 1e-6, 0.0), **OWN}, "sampler.times", "the least time"),
        ("ddpm", {"sampler__times": (1.0, 0.5004, 0.5, 0.0), **OWN}, "sampler.times", "of 1000 entries"),
        ("vp", {"sampler__sigmas": (3.0, 1.0), **OWN}, "sampler.sigmas", "fall to 0"),
        ("vp", {"sampler__sigmas": (1e4, 1.0, 0.0), **OWN}, "sampler.sigmas", "is not within"),
        ("vdm", {"sampler__sigmas": (3.0, 1.0, 0.0), **OWN}, "sampler.sigmas", "not known before"),
        (
            "vp",
            {"sampler__sigmas": (1.0, 0.0), "sampler__times": (1.0, 0.0), **OWN},
            "sampler.sigmas",
            "leave one of them empty",
        ),
        (
            "vp",
            {"sampler__times": (1.0, 0.0), "evaluation__curve": (5,), **OWN},
            "evaluation.curve",
            "of one number of steps",
        ),
        # options of times that nothing reads
        ("vp", {"sampler__sigma_max": 5.0}, "sampler.sigma_max", "is not read by quadratic spacing"),
        ("vp", {"sampler__beta_a": 2.0}, "sampler.beta_a", "use beta"),
        ("vp", {"sampler__beta_b": 2.0, "sampler__spacing": "karras"}, "sampler.beta_b", "by karras spacing"),
        ("vp", {"sampler__times": (1.0, 0.5, 0.0), "sampler__sigma_min": 0.1, **OWN}, "sampler.sigma_min", "by hand"),
        ("vp", {"sampler__restart_range": (0.1, 0.2)}, "sampler.restart_range", "there are no restarts"),
        ("edm", {"sampler__clip_range": (0.0, 1.0)}, "sampler.clip_range", "nothing is clipped"),
        ("vp", {"sampler__sigma_max": 1e4, "sampler__spacing": "karras"}, "sampler.sigma_max", "is not within"),
        ("vp", {"sampler__between": True}, "sampler.between", "in continuous time"),
        ("ddpm", {"sampler__between": True, "sampler__spacing": "trailing"}, "sampler.spacing", "at a table's entries"),
        # pure noise at a table's end
        ("ddpm", {"process__zero_terminal": True}, "model.prediction", "ends in pure noise"),
        (
            "ddpm",
            {"process__zero_terminal": True, "model__prediction": "v"},
            "objective.name",
            "asks for nothing at t = 1",
        ),
        ("ddpm", {"process__zero_terminal": True, "model__time": "log_snr"}, "model.time", "is infinite"),
        ("vp", {"process__zero_terminal": True}, "process.zero_terminal", "has no such option"),
        # schedules
        ("ddpm", {"process__offset": 0.1}, "process.offset", "has no such option"),
        ("ddpm", {"process__schedule": "table"}, "process.table_file", "there is no file"),
        ("ddpm", {"process__table_values": "alphas_cumprod"}, "process.table_values", "has no such option"),
        ("ve", {"process__sigma_min": 200.0}, "process.schedule", "ve cannot be made"),
        ("vp", {"process__sigma_min": 0.1}, "process.sigma_min", "schedule 'vp' has no such option"),
    ],
)
def test_impossible_combinations(family, changes, key, reason):
    words = about(key, told(check, of(family, **changes)))
    assert words and reason in words


def test_what_is_refused_for_one_schedule_is_possible_for_another():
    check(of("ve", model__prediction="score"))  # sigma(0) = sigma_min
    check(
        of(
            "vp",
            process__schedule="cosine",
            model__prediction="v",
            objective__name="v",
            sampler__name="heun",
            sampler__eta=0.0,
        )
    )
    check(of("vp", objective__name="sigmoid", sampler__name="tsit5", sampler__eta=0.0))
    check(of("improved_ddpm", objective__name="bound", objective__times="importance"))


@pytest.mark.parametrize("name", ["unet", "dit", "ddpmpp"])
def test_sinusoids_take_every_time(name):
    for family in ("ddpm", "vp", "ve", "edm", "vdm"):
        check(of(family, model__name=name))


def test_fourier_features_take_logarithms_of_sigma():
    for family in ("ncsn", "ve", "edm"):
        check(of(family, model__name="ncsnpp"))
    check(of("vp", model__name="ncsnpp", model__time="quarter_log_sigma"))


def test_langevin_is_for_gaussian_processes_and_only_first_order_hides_sites_again():
    for name, solver in SOLVERS.items():
        config = of("masked", sampler__name=name, sampler__eta=1.0)
        if name == "first_order":
            check(config)
            continue
        lines = told(check, config)
        assert about("sampler.name", lines) or about("sampler.eta", lines), lines
        assert ("is for Gaussian processes" in about("sampler.name", lines)) == ("gaussian" in solver.kinds)


@pytest.mark.parametrize("family", [family.__name__ for family in GAUSSIAN])
def test_another_sampler_by_its_name_is_not_refused_for_what_the_familys_own_has(family):
    """Only for what it cannot be on this process: its name, or moves that diverge on these levels."""
    for name in SOLVERS:
        config = changed(of(family), [f"--config.sampler.name={name}"])
        try:
            check(config)
        except UserError as error:
            own = {"config.sampler.name", *(["config.sampler.langevin_step"] if name == "annealed_langevin" else [])}
            assert {line.partition(": ")[0] for line in str(error).split("\n")} <= own, error
            assert name not in ("ddpm", "ddim", "heun", "dpm_2m", "unipc"), error  # which do on any


def test_what_the_sampler_may_visit():
    """Between a table's entries by any spacing and solver, and levels and times by hand."""
    check(of("ddpm", sampler__between=True, sampler__spacing="karras", sampler__sigma_max=14.6))
    check(of("ddpm", sampler__between=True, sampler__spacing="beta", sampler__name="tsit5", sampler__eta=0.0))
    check(of("ncsn", sampler__between=True, sampler__steps=40))
    check(of("vdm", sampler__times=(1.0, 0.5, 0.0), sampler__steps=2))
    check(of("flow", process__shift=3.0, sampler__sigmas=(80.0, 1.0, 0.0), sampler__steps=0))
    pure = {"process__zero_terminal": True, "model__prediction": "v", "objective__name": "v"}
    for schedule in ("ddpm_linear", "ddpm_cosine", "ddpm_scaled_linear", "ddpm_sigmoid"):
        check(of("ddpm", process__schedule=schedule, evaluation__ode_images=4, **pure))
    check(of("ddpm", process__schedule="ddpm_cosine", process__offset=0.02, process__cap=0.99))


def test_a_table_of_ones_own_is_read_from_its_file(tmp_path):
    np.savez(tmp_path / "mine.npz", alphas_cumprod=np.linspace(0.99, 0.0, 50))
    own = {"process__schedule": "table", "process__table_file": str(tmp_path / "mine.npz"), "process__steps": 50}
    own |= {"process__table_values": "alphas_cumprod", "sampler__steps": 10}
    check(of("ddpm", model__prediction="v", objective__name="v", **own))
    lines = told(check, of("ddpm", model__prediction="v", objective__name="v", **{**own, "process__steps": 40}))
    assert "steps is 40" in about("process.table_file", lines)
    before = files_of(of("ddpm", **own))
    assert before and not files_of(of("ddpm"))
    np.savez(tmp_path / "mine.npz", alphas_cumprod=np.linspace(0.98, 0.0, 50))
    assert files_of(of("ddpm", **own)) != before  # a run knows its table by what is in it
