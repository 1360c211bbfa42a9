"""Makes fixtures/schedulers.npz: the walks of diffusers' schedulers with a made-up denoiser, state by state.

Every walk starts at `start()`, takes the noise of `noise()` and the estimates of `clean(...)`. The tables of alpha and
sigma are made here, in NumPy. Run it with the extra `peers` installed:

    python tests/samplers/make_scheduler_fixture.py
"""

from pathlib import Path

import numpy as np

FIXTURE = Path(__file__).parent / "fixtures" / "schedulers.npz"
STEPS = 10
SHAPE = (3, 2, 2, 1)
EDM_TIMES = np.linspace(1, 0.1, STEPS)  # in the time where sigma^(1/7) is a straight line
CHURN = {"s_churn": 2.5, "s_tmin": 0.05, "s_tmax": 50.0, "s_noise": 1.003}
FLOW_SIGMAS = np.linspace(1, 0.1, STEPS)


def start() -> np.ndarray:
    """The state at t = 1, in units of its sigma."""
    return np.random.RandomState(0).standard_normal(SHAPE).astype(np.float32)


def noise() -> np.ndarray:
    """The noise of each step."""
    return np.random.RandomState(1).standard_normal((STEPS, *SHAPE)).astype(np.float32)


def clean(x_t, alpha, sigma, library=np):
    """A made-up estimate of the clean image, which leaves [-1, 1] at times."""
    scaled = x_t / (alpha * alpha + sigma * sigma) ** 0.5
    return 1.3 * library.tanh(0.6 * scaled + 0.2) + 0.1 * scaled


def table(beta_schedule: str) -> tuple[np.ndarray, np.ndarray]:
    """alpha and sigma of DDPM's 1000 steps."""
    if beta_schedule == "linear":
        betas = np.linspace(1e-4, 0.02, 1000)
    else:
        ends = np.cos((np.arange(1001) / 1000 + 0.008) / 1.008 * np.pi / 2) ** 2
        betas = np.minimum(1 - ends[1:] / ends[:-1], 0.999)
    product = np.cumprod(1 - betas)
    return np.sqrt(product), np.sqrt(1 - product)


def output(prediction: str, x_hat: np.ndarray, x_t: np.ndarray, alpha: float, sigma: float) -> np.ndarray:
    """The raw output that means x_hat."""
    z = (x_t - alpha * x_hat) / sigma
    return {"sample": x_hat, "epsilon": z, "v_prediction": alpha * z - sigma * x_hat}[prediction]


def walks() -> dict[str, np.ndarray]:
    """Each scheduler's states after each step, `[STEPS, *SHAPE]`."""
    import diffusers
    import torch
    from diffusers.schedulers import scheduling_ddpm, scheduling_edm_euler

    def tensor(value: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.asarray(value, np.float32))

    def walk(scheduler, beta_schedule="linear", scale=None, noisy=False, **options) -> np.ndarray:
        """On a table; `scale` turns x_t into the scheduler's units."""
        alphas, sigmas = table(beta_schedule)
        scale = scale or (lambda index: 1.0)
        scheduler.set_timesteps(STEPS)
        assert list(scheduler.timesteps.int()) == list(range(999, 0, -100))
        x, states, prediction = start() * scale(999), [], scheduler.config.prediction_type
        for i, index in enumerate(range(999, 0, -100)):
            x_t = x.astype(np.float64) / scale(index)
            alpha, sigma = alphas[index], sigmas[index]
            raw = output(prediction, clean(x_t, alpha, sigma), x_t, alpha, sigma)
            if noisy:
                options["variance_noise"] = tensor(noise()[i])
            getattr(scheduler, "scale_model_input", lambda *_: None)(tensor(x), scheduler.timesteps[i])
            x = scheduler.step(tensor(raw), scheduler.timesteps[i], tensor(x), **options).prev_sample.numpy()
            states.append(x / (scale(index - 100) if index > 100 else 1))
        return np.stack(states)

    def ddpm(beta_schedule="linear", quiet=False, **options) -> np.ndarray:
        draws = iter(np.zeros_like(noise()) if quiet else noise())
        scheduling_ddpm.randn_tensor = lambda *_, **__: tensor(next(draws))
        scheduler = diffusers.DDPMScheduler(
            timestep_spacing="trailing", beta_schedule=beta_schedule, **{"clip_sample": False, **options}
        )
        # Its own table is multiplied up in float32, too coarse where alpha is tiny.
        scheduler.alphas_cumprod = torch.from_numpy(table(beta_schedule)[0] ** 2)
        return walk(scheduler, beta_schedule)

    def ddim(clip=False, **options) -> np.ndarray:
        scheduler = diffusers.DDIMScheduler(timestep_spacing="trailing", clip_sample=clip)
        return walk(scheduler, use_clipped_model_output=clip, **options)

    def dpm(algorithm: str, **options) -> np.ndarray:
        scheduler = diffusers.DPMSolverMultistepScheduler(
            timestep_spacing="trailing", algorithm_type=algorithm, solver_order=2, **options
        )
        return walk(scheduler, noisy=algorithm.startswith("sde"))

    def sigma_form(kind: type) -> np.ndarray:
        alphas, _ = table("linear")
        return walk(kind(timestep_spacing="trailing"), scale=lambda index: 1 / alphas[index])

    def edm() -> np.ndarray:
        draws = iter(noise())
        scheduler = diffusers.EDMEulerScheduler()
        scheduler.set_timesteps(sigmas=torch.from_numpy(1 - EDM_TIMES))
        x, states = 80 * start(), []
        for i, time in enumerate(scheduler.timesteps):
            sigma = float(scheduler.sigmas[i])
            churned = CHURN["s_tmin"] <= sigma <= CHURN["s_tmax"]
            gamma = min(CHURN["s_churn"] / STEPS, np.sqrt(2) - 1) if churned else 0
            scheduler.scale_model_input(tensor(x), time)
            # The state that the step will estimate at is not given out: it is repeated here.
            fresh = next(draws)
            scheduling_edm_euler.randn_tensor = lambda *_, fresh=fresh, **__: tensor(fresh)
            later = sigma * (1 + gamma)
            x_later = x + CHURN["s_noise"] * np.sqrt(later**2 - sigma**2) * fresh
            x_hat = tensor(clean(x_later.astype(np.float64), 1.0, later))
            x = scheduler.step(x_hat, time, tensor(x), pred_original_sample=x_hat, **CHURN).prev_sample.numpy()
            states.append(x)
        return np.stack(states)

    def flow() -> np.ndarray:
        scheduler = diffusers.FlowMatchEulerDiscreteScheduler()
        scheduler.set_timesteps(sigmas=list(FLOW_SIGMAS))
        x, states = start(), []
        for time, sigma in zip(scheduler.timesteps, FLOW_SIGMAS, strict=True):
            x_hat = clean(x.astype(np.float64), 1 - sigma, sigma)
            x = scheduler.step(tensor((x - x_hat) / sigma), time, tensor(x)).prev_sample.numpy()
            states.append(x)
        return np.stack(states)

    original = scheduling_ddpm.randn_tensor, scheduling_edm_euler.randn_tensor
    try:
        return {
            "ddpm_epsilon": ddpm(prediction_type="epsilon"),
            "ddpm_sample": ddpm(prediction_type="sample"),
            "ddpm_v": ddpm(prediction_type="v_prediction"),
            "ddpm_cosine": ddpm("squaredcos_cap_v2", prediction_type="v_prediction"),
            "ddpm_clip": ddpm(clip_sample=True),
            "ddpm_large": ddpm(variance_type="fixed_large"),
            "ddpm_large_quiet": ddpm(variance_type="fixed_large", quiet=True),
            "ddim": ddim(),
            "ddim_half": ddim(eta=0.5, noisy=True),
            "ddim_clip": ddim(clip=True),
            "dpm_2m": dpm("dpmsolver++"),
            "dpm_2m_sde": dpm("sde-dpmsolver++"),
            "euler_sigma": sigma_form(diffusers.EulerDiscreteScheduler),
            "edm_churn": edm(),
            "flow": flow(),
        }
    finally:
        scheduling_ddpm.randn_tensor, scheduling_edm_euler.randn_tensor = original


if __name__ == "__main__":
    kept = walks()
    FIXTURE.parent.mkdir(exist_ok=True)
    np.savez_compressed(FIXTURE, **kept)
    print(f"{FIXTURE}: {FIXTURE.stat().st_size} bytes, {len(kept)} walks")
