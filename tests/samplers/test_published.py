"""Steps that papers and other projects publish, written here from their formulas, at random inputs in float64.

lambda = log(alpha/sigma), h = lambda_s - lambda_t; D is an estimate of x, e one of the noise.
"""

from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddpm_jax import keys as random
from ddpm_jax.denoisers import Normal
from ddpm_jax.processes import Gaussian
from ddpm_jax.samplers import DEIS, DPM2M, DPM2S, DPM3M, PNDM, AdamsBashforth, FirstOrder, Heun, Problem, UniPC
from ddpm_jax.schedules import VE, VP, Flow, ddpm_linear

pytestmark = pytest.mark.slow

NOISE = np.random.default_rng(3).normal(size=(2, 3))
TIMES = [0.83, 0.71, 0.52, 0.33, 0.3]
SCHEDULES = [VP(), VE(0.02, 50.0), Flow(), ddpm_linear(100)]


@pytest.fixture(params=SCHEDULES, ids=lambda schedule: type(schedule).__name__)
def process(request):
    with jax.enable_x64(True):
        yield Gaussian(request.param)


def level(process, t):
    alpha, sigma = process.schedule(jnp.float64(t))
    return float(alpha), float(sigma)


def clean(x, alpha, sigma):
    """Any smooth estimate; both the solver and the formulas ask it."""
    return np.tanh(1.7 * x / (0.3 + alpha + sigma)) * (1 - 0.2 * sigma / (1 + sigma)) + 0.1 * alpha / (alpha + sigma)


def walked(solver, process, times=TIMES):
    """x after each step, from the same start, with NOISE in place of fresh noise."""

    def denoise(x_t, t, condition):
        alpha, sigma = process.at(t, x_t)
        return Normal(
            jnp.tanh(1.7 * x_t / (0.3 + alpha + sigma)) * (1 - 0.2 * sigma / (1 + sigma))
            + 0.1 * alpha / (alpha + sigma)
        )

    problem = Problem(process, denoise, grid=np.array(times))
    x = jnp.asarray(start(process))
    memory, states = solver.start(problem, x), []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(random, "normal", lambda keys, shape, dtype=None: jnp.asarray(NOISE))
        for t, s in pairwise(times):
            x, _, memory = solver.step(problem, jax.random.key(0), x, memory, jnp.float64(t), jnp.float64(s))
            states.append(np.asarray(x))
    return states


def start(process):
    return level(process, TIMES[0])[1] * np.random.default_rng(1).normal(size=(2, 3))


def published(process, step, times=TIMES):
    """x after each step of `step(i, x, here, there, history)`, where here and there are (alpha, sigma, lambda)."""
    levels = [(*level(process, t), np.log(np.divide(*level(process, t)))) for t in times]
    x, states, history = start(process), [], []
    for i, (here, there) in enumerate(pairwise(levels)):
        x = step(i, x, here, there, history)
        states.append(x)
    return states


def agree(solver, process, step):
    for ours, theirs in zip(walked(solver, process), published(process, step), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-10 * np.abs(theirs).max())


def ddim(x, D, here, there):
    return there[0] * D + there[1] * (x - here[0] * D) / here[1]


def test_heun_of_karras(process):
    """Algorithm 1 in sigma/alpha, of x/alpha: with alpha = 1 by default, elsewhere where it is asked for."""

    def step(i, x, here, there, history):
        (alpha, sigma, _), (alpha_s, sigma_s, _) = here, there
        d = (x / alpha - clean(x, alpha, sigma)) / (sigma / alpha)
        moved = x / alpha + (sigma_s / alpha_s - sigma / alpha) * d
        d2 = (moved - clean(alpha_s * moved, alpha_s, sigma_s)) / (sigma_s / alpha_s)
        return alpha_s * (x / alpha + (sigma_s / alpha_s - sigma / alpha) * (d + d2) / 2)

    agree(Heun(coordinate="noise_ratio"), process, step)
    if isinstance(process.schedule, VE):
        agree(Heun(), process, step)


def test_heun_of_flow_matching(process):
    """The trapezium of dx/dt = z - x in t."""
    if not isinstance(process.schedule, Flow):
        pytest.skip("of straight paths")

    def step(i, x, here, there, history):
        (alpha, t, _), (alpha_s, s, _) = here, there
        v = (x - clean(x, alpha, t)) / t
        moved = x + (s - t) * v
        return x + (s - t) * (v + (moved - clean(moved, alpha_s, s)) / s) / 2

    agree(Heun(), process, step)


def test_dpm_solver_2s(process):
    """Lu et al. 2022b, algorithm 1, with r = 1/2."""
    if not getattr(process.schedule, "continuous", True):
        pytest.skip("the middle of lambda is no entry of a table")

    def step(i, x, here, there, history):
        middle = (here[2] + there[2]) / 2
        low, high = 0.0, 1.0
        for _ in range(80):  # lambda falls in t
            t = (low + high) / 2
            low, high = (t, high) if np.log(np.divide(*level(process, t))) > middle else (low, t)
        alpha, sigma = level(process, low)
        h, D = there[2] - here[2], clean(x, *here[:2])
        u = sigma / here[1] * x - alpha * np.expm1(-h / 2) * D
        return there[1] / here[1] * x - there[0] * np.expm1(-h) * clean(u, alpha, sigma)

    agree(DPM2S(), process, step)


@pytest.mark.parametrize("eta", [0.0, 0.4, 1.0, 1.6])
def test_dpm_solver_2m_as_an_equation_with_noise(process, eta):
    """k-diffusion's `sample_dpmpp_2m_sde`, midpoint, x in units of alpha, for any eta."""

    def step(i, x, here, there, history):
        (alpha, sigma, lam), (alpha_s, sigma_s, lam_s) = here, there
        D, h = clean(x, alpha, sigma), lam_s - lam
        y, ratio, ratio_s = x / alpha, sigma / alpha, sigma_s / alpha_s
        y = ratio_s / ratio * np.exp(-eta * h) * y - np.expm1(-h - eta * h) * D
        if history:
            before, h_last = history[-1]
            y = y - 0.5 * np.expm1(-h - eta * h) * h / h_last * (D - before)
        history.append((D, h))
        return alpha_s * (y + NOISE * ratio_s * np.sqrt(-np.expm1(-2 * eta * h)))

    agree(DPM2M(eta, noise_law="sde"), process, step)


@pytest.mark.parametrize("eta", [0.0, 0.4, 1.0, 1.6])
def test_dpm_solver_3m_as_an_equation_with_noise(process, eta):
    """k-diffusion's `sample_dpmpp_3m_sde`, and without noise DPM-Solver++(3M), but for a factor of 2.

    Their codes multiply the second divided difference, which is half the second derivative, by phi_3, where the
    expansion has the derivative. With theirs the order is 2: see `test_their_third_order_is_the_second`.
    """

    def step(i, x, here, there, history):
        (alpha, sigma, lam), (alpha_s, sigma_s, lam_s) = here, there
        D, h = clean(x, alpha, sigma), lam_s - lam
        far = h * (1 + eta)
        y = np.exp(-far) * x / alpha - np.expm1(-far) * D
        if len(history) > 1:
            (d1, h1), (d2, h2) = history[-1], history[-2]
            r0, r1 = h1 / h, h2 / h
            first, second = (D - d1) / r0, (d1 - d2) / r1
            slope = first + (first - second) * r0 / (r0 + r1)
            curve = (first - second) / (r0 + r1)
            phi2 = np.expm1(-far) / far + 1
            y = y + phi2 * slope - (phi2 / far - 0.5) * 2 * curve
        elif history:
            d1, h1 = history[-1]
            y = y + (np.expm1(-far) / far + 1) * (D - d1) / (h1 / h)
        history.append((D, h))
        return alpha_s * (y + NOISE * sigma_s / alpha_s * np.sqrt(-np.expm1(-2 * eta * h)))

    agree(DPM3M(eta, noise_law="sde"), process, step)


@pytest.mark.parametrize("order", [1, 2, 3])
def test_unipc(process, order):
    """Zhao et al. 2023, algorithms 1 and 2 in x with B_2(h), from the linear systems of their code."""

    def coefficients(ratios, h, size):
        """rho of R rho = b: rows ratio^(k - 1), b_k = k! phi_(k + 1)(-h)/B(h)."""
        hh, phi, factorial, rows, right = -h, np.expm1(-h) / -h - 1, 1, [], []
        for k in range(1, size + 1):
            rows.append(np.power(ratios, k - 1))
            right.append(phi * factorial / np.expm1(hh))
            factorial *= k + 1
            phi = phi / hh - 1 / factorial
        return np.linalg.solve(np.array(rows)[:size, :size], np.array(right))

    def moved(x, here, there, D, differences, rho):
        h = there[2] - here[2]
        total = sum(r * d for r, d in zip(rho, differences, strict=True))
        return there[1] / here[1] * x - there[0] * np.expm1(-h) * (D + total)

    def step(i, x, here, there, history):
        """History: (estimate, level, mended x) of each time."""
        D = clean(x, *here[:2])
        if history:
            last, at, x_last = history[-1]
            h = here[2] - at[2]
            older = history[-2 : -1 - order : -1] if order > 1 else []
            ratios = [(level[2] - at[2]) / h for _, level, _ in older]
            differences = [(d - last) / r for (d, _, _), r in zip(older, ratios, strict=True)] + [D - last]
            rho = [0.5] if not older else coefficients(np.array([*ratios, 1.0]), h, len(older) + 1)
            x = moved(x_last, at, here, last, differences, rho)
        history.append((D, here, x))
        h = there[2] - here[2]
        older = history[-2 : -1 - order : -1] if order > 1 else []
        ratios = [(level[2] - here[2]) / h for _, level, _ in older]
        differences = [(d - D) / r for (d, _, _), r in zip(older, ratios, strict=True)]
        rho = [0.5] if len(older) == 1 else coefficients(np.array(ratios), h, len(older)) if older else []
        return moved(x, here, there, D, differences, rho)

    agree(UniPC(solver_order=order), process, step)


@pytest.mark.parametrize("order", [2, 3, 4])
def test_linear_multistep(process, order):
    """k-diffusion's `sample_lms` and rho-AB of DEIS: Lagrange's polynomials of e in sigma/alpha, integrated."""

    def step(i, x, here, there, history):
        ratio, ratio_s = here[1] / here[0], there[1] / there[0]
        history.append((ratio, (x / here[0] - clean(x, *here[:2])) / ratio))
        places, noises = zip(*history[: -1 - order : -1], strict=True)
        y = x / here[0]
        for j, noise in enumerate(noises):
            basis = np.poly1d([1.0])
            for k, place in enumerate(places):
                if k != j:
                    basis *= np.poly1d([1, -place]) / (places[j] - place)
            whole = basis.integ()
            y = y + (whole(ratio_s) - whole(ratio)) * noise
        return there[0] * y

    agree(AdamsBashforth(solver_order=order, coordinate="noise_ratio"), process, step)
    agree(DEIS(solver_order=order), process, step)


def test_plms(process):
    """Liu et al. 2022, eq. 12, with a first step that goes twice, as in diffusers' `step_plms`."""

    def noise(x, at):
        return (x - at[0] * clean(x, *at[:2])) / at[1]

    def move(x, e, here, there):
        return there[0] * (x - here[1] * e) / here[0] + there[1] * e

    def step(i, x, here, there, history):
        e = noise(x, here)
        history.append(e)
        if i == 0:
            return move(x, (e + noise(move(x, e, here, there), there)) / 2, here, there)
        weights = {1: (3, -1), 2: (23, -16, 5), 3: (55, -59, 37, -9)}[min(i, 3)]
        total = sum(w * past for w, past in zip(weights, history[::-1], strict=False)) / sum(weights)
        return move(x, total, here, there)

    agree(PNDM(), process, step)


def test_eta_above_one_takes_all_the_noise_there_is(process):
    """k-diffusion's `get_ancestral_step`: sigma_up = min(sigma_s, eta sqrt(...)), of x in units of alpha."""

    def step(i, x, here, there, history):
        (alpha, sigma, _), (alpha_s, sigma_s, _) = here, there
        a, b = sigma / alpha, sigma_s / alpha_s
        up = min(b, 1.8 * np.sqrt(b**2 * (a**2 - b**2) / a**2))
        d = (x / alpha - clean(x, alpha, sigma)) / a
        return alpha_s * (x / alpha + (np.sqrt(b**2 - up**2) - a) * d + 1.01 * up * NOISE)

    agree(FirstOrder(1.8, noise_scale=1.01), process, step)


def test_their_third_order_is_the_second():
    """On one normal's law, from sigma 50 to 0.1 in even steps of lambda: half the curvature, order 2; all of it, 3."""

    def estimate(x, sigma):
        return 0.3 + 0.05 / (0.05 + sigma**2) * (x - 0.3)

    def error(count, share):
        levels, x, history = np.geomspace(50, 0.1, count + 1), 50.0, []
        for sigma, sigma_s in pairwise(levels):
            D, h = estimate(x, sigma), np.log(sigma / sigma_s)
            phi2 = np.expm1(-h) / h + 1
            x = sigma_s / sigma * x - np.expm1(-h) * D
            if len(history) > 1:
                first, second = D - history[-1], history[-1] - history[-2]
                x += phi2 * (first + (first - second) / 2) - (phi2 / h - 0.5) * share * (first - second) / 2
            elif history:
                x += phi2 * (D - history[-1])
            history.append(D)
        exact = 0.3 + np.sqrt((0.05 + 0.01) / (0.05 + 2500)) * (50 - 0.3)
        return abs(x - exact)

    for share, order in ((1, 2), (2, 3)):
        slope = np.log2(error(400, share) / error(800, share))
        assert slope == pytest.approx(order, abs=0.15)
