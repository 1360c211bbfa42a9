"""PixelCNN++: what a site's output may depend on, and the same network site by site."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddpm_jax import models
from ddpm_jax.errors import UserError

RASTER = models.Sites(tuple(range(16)))
SIZES = [
    ((4, 4, 2), {"blocks": 1, "multipliers": (1,)}),
    ((4, 6, 1), {"blocks": 2, "multipliers": (1, 2)}),
    ((8, 4, 1), {"blocks": 1, "multipliers": (2, 1, 1)}),
]


@pytest.mark.slow
@pytest.mark.parametrize(("shape", "options"), SIZES)
def test_a_site_depends_on_all_sites_before_it_and_on_no_other(make_small, filled, inputs, shape, options):
    network = make_small("pixelcnn", shape, 3, channels=4, **options)
    params, (x, time) = filled(network), inputs("pixelcnn", 1, shape)

    def output(x):
        return network.apply(params, x[None], time)[0].reshape(-1, 3)

    jacobian = jax.jit(jax.jacobian(output))(x[0])
    sites = jacobian.shape[0]
    influence = np.abs(jacobian.reshape(sites, 3, sites, shape[-1])).max((1, 3))
    assert (influence[np.triu_indices(sites)] == 0).all()
    # The last row's sites see all rows above, as far as the layers reach: no blind spot of a single stream.
    rows, columns = np.divmod(np.arange(sites), shape[1])
    near = (np.abs(rows[:, None] - rows) <= 2) & (np.abs(columns[:, None] - columns) <= 2)
    assert (influence[near & (np.arange(sites)[:, None] > np.arange(sites))] > 0).all()
    # A pixel's channels count each.
    each = np.abs(jacobian.reshape(sites, 3, sites, shape[-1])).max(1)
    assert (each[1:, 0] > 0).any(0).all()


@pytest.mark.parametrize(("shape", "options"), SIZES)
def test_site_by_site_is_the_whole_pass(make_small, filled, inputs, shape, options):
    network = make_small("pixelcnn", shape, 3, 2, channels=4, **options)
    params, (x, time), condition = filled(network), inputs("pixelcnn", 3, shape), {"label": jnp.arange(3)}
    sites = shape[0] * shape[1]
    whole = jax.jit(network.apply)(params, x, time, condition).reshape(3, sites, 3)

    @jax.jit
    def all_steps(cache):
        def body(cache, step):
            hidden = jnp.arange(sites).reshape(shape[:2]) >= step  # what is not known yet is never read
            raw, cache = network.advance(params, cache, jnp.where(hidden[..., None], jnp.nan, x), step)
            return cache, raw

        return jax.lax.scan(body, cache, jnp.arange(sites))[1]

    raw = all_steps(network.start(params, 3, condition))
    assert raw.shape == (sites, 3, 1, 3)
    np.testing.assert_allclose(raw[:, :, 0].swapaxes(0, 1), whole, rtol=0, atol=1e-5 * max(1, np.abs(whole).max()))


@pytest.mark.parametrize("options", [{}, {"dtype": "bfloat16"}, {"remat": True}])
def test_a_cache_keeps_its_shapes_and_types(make_small, filled, inputs, options):
    network = make_small("pixelcnn", (4, 4, 1), 2, 1, sites=RASTER, **options)
    assert network.causal
    x, _ = inputs("pixelcnn", 2, (4, 4, 1))
    params = filled(network)
    cache = jax.eval_shape(functools.partial(network.start, count=2), params)
    raw, after = jax.eval_shape(network.advance, params, cache, x, jnp.int32(0))
    assert after == cache
    assert (raw.shape, raw.dtype) == ((2, 1, 2), jnp.float32)


def test_a_step_costs_the_same_in_a_longer_image(make_small, filled, inputs):
    def work(height):
        network = make_small("pixelcnn", (height, 4, 1), 2)
        params, (x, _) = filled(network), inputs("pixelcnn", 1, (height, 4, 1))
        cache = network.start(params, 1)
        lowered = jax.jit(network.advance).lower(params, cache, x, jnp.int32(0))
        cost = lowered.cost_analysis() or {}
        return sum(leaf.size for leaf in jax.tree.leaves(cache)), cost["flops"]

    memory, flops = work(16)
    assert work(32) == (memory, flops)
    assert flops > 1000


@pytest.mark.slow
def test_a_fresh_network_knows_nothing_and_keeps_its_scale(make_small, inputs):
    network = make_small("pixelcnn", (4, 4, 1), 4, channels=16, blocks=2, multipliers=(1, 1))
    params = jax.jit(network.init)(jax.random.key(0))

    @jax.jit
    def streams(x, time):
        chosen = {"mutable": "intermediates", "capture_intermediates": lambda module, _: module.name in names}
        output, seen = network.module.apply({"params": params}, x, time, {}, None, **chosen)
        return output, [seen["intermediates"][name]["__call__"][0][0] for name in names]

    names = ("down", "right")
    output, ends = streams(*inputs("pixelcnn", 4, (4, 4, 1)))
    assert np.abs(output).max() < 1e-3
    assert all(0.3 < h.std() < 3 for h in ends)


@pytest.mark.slow
def test_a_label_begins_as_strong_as_it_is_published(make_small):
    """What it adds in a block is normal with deviation 0.05: `hw` of `gated_resnet` in pixel_cnn_pp/nn.py of OpenAI."""
    network = make_small("pixelcnn", (4, 4, 1), 4, told=10, channels=32, blocks=1, multipliers=(1, 1))
    params = jax.jit(network.init)(jax.random.key(0))
    labels = params["conditioning"]["label"]["embedding"]
    kernels = [leaf for path, leaf in jax.tree_util.tree_leaves_with_path(params) if "'told'" in str(path)]
    kernels = [kernel for kernel in kernels if kernel.ndim == 2]
    assert len(kernels) == 10  # of five blocks in either stream
    for kernel in kernels:
        assert np.std(labels @ kernel) == pytest.approx(0.05, rel=0.2)


@pytest.mark.parametrize(
    ("shape", "options", "line"),
    [
        ((8, 1), {}, "name: a PixelCNN reads images with two spatial axes, not 8"),
        ((4, 4, 4, 1), {}, "name: a PixelCNN reads images with two spatial axes, not 4x4x4"),
        ((28, 28, 1), {"multipliers": (1, 1, 1, 1)}, "multipliers: an image of 28x28 can be halved 2 times, not 3"),
        ((8, 8, 1), {"multipliers": ()}, "multipliers: there must be at least one"),
        ((8, 8, 1), {"multipliers": (1, 0)}, "multipliers: (1, 0) has one below 1"),
        ((8, 8, 1), {"multipliers": (1,), "blocks": 0}, "blocks: 0"),
        ((8, 8, 1), {"multipliers": (1,), "channels": 0}, "channels: 0"),
        ((8, 8, 1), {"heads": 2}, "heads: the PixelCNN has no such option"),
    ],
)
def test_refused(refused, shape, options, line):
    refused("pixelcnn", shape, options, line)


@pytest.mark.parametrize(
    ("sites", "key"),
    [
        (models.Sites(tuple(range(16))[::-1]), "process.order"),
        (models.Sites(RASTER.order, chunk=2), "process.chunk"),
        (models.Sites(RASTER.order, apart=True), "process.sites"),
    ],
)
def test_only_pixels_one_by_one_in_raster_order(sites, key):
    with pytest.raises(UserError, match=f"^config.{key}: a PixelCNN"):
        models.make("pixelcnn", (4, 4, 1), 2, sites=sites, multipliers=(1, 1))
    models.check("pixelcnn", (4, 4, 1), sites=RASTER, multipliers=(1, 1))
