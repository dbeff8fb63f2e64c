"""Convolutions as matrices: projections against least squares, the bounds against measurement, feedback that fits."""

import math
from itertools import pairwise

import pytest
import torch

from hwmodels.errors import NeurofaError
from hwmodels.registry import build
from neurofa import Learner
from neurofa.core.plan import Site
from neurofa.core.randomness import generator
from neurofa.core.window import Window
from neurofa.diagnostics.measure import measure_alignment
from neurofa.diagnostics.weight_alignment import feedback_matrices, kernel_bounds, weight_alignment
from neurofa.layers.conv import Conv2d
from neurofa.linalg.convolution import ConvGeometry, ConvolutionOperator, dense_convolution
from neurofa.linalg.nmf import nonnegative_factors
from neurofa.linalg.spectra import cosine_similarity
from neurofa.theory.conv import kernel_alignment, local_bound, nearest_kernel, product_norm, random_bound, tap_counts
from neurofa.training.replay import record

DOUBLE = torch.float64
CASES = [
    (Window(3), (2, 6, 5), (3, 4, 3)),
    (Window(3, 2, 1), (2, 5, 6), (2, 3, 3)),
    (Window(4, 2), (1, 9, 9), (2, 3, 3)),
    (Window(5, 1, 2), (2, 4, 4), (2, 4, 4)),
]


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=generator(seed, str(shape)), dtype=DOUBLE)


def random_feedback(in_shape, out_shape, o=4, seed=0):
    return normal(math.prod(out_shape), o, seed=seed), normal(math.prod(in_shape), o, seed=seed + 1000)


def basis(window, in_shape, out_shape):
    """T of every single tap, dense: (taps, n_out, n_in)."""
    size = (out_shape[0], in_shape[0], window.side, window.side)
    units = torch.eye(math.prod(size), dtype=DOUBLE).view(-1, *size)
    return torch.stack([dense_convolution(unit, window, in_shape) for unit in units])


@pytest.mark.parametrize(("window", "in_shape", "out_shape"), CASES)
def test_the_window_is_where_the_unrolled_convolution_is_not_zero(window, in_shape, out_shape):
    assert tuple(window.positions(n) for n in in_shape[1:]) == out_shape[1:]
    ones = torch.ones(out_shape[0], in_shape[0], window.side, window.side, dtype=DOUBLE)
    seen = dense_convolution(ones, window, in_shape).view(out_shape[0], -1, in_shape[0], math.prod(in_shape[1:]))
    mask = window.mask(in_shape[1:], out_shape[1:])
    assert all(torch.equal(seen[c, :, d], mask) for c in range(out_shape[0]) for d in range(in_shape[0]))


@pytest.mark.parametrize(("window", "in_shape", "out_shape"), CASES)
def test_projection_is_least_squares_over_all_kernels(window, in_shape, out_shape):
    left, right = random_feedback(in_shape, out_shape)
    geometry = ConvGeometry(window, in_shape, out_shape)
    product, matrices = left @ right.t(), basis(window, in_shape, out_shape).flatten(1)
    norms = matrices.square().sum(1)
    assert torch.allclose(norms, tap_counts(geometry).repeat(out_shape[0], in_shape[0], 1, 1).flatten())
    best = torch.linalg.lstsq(matrices.t(), product.flatten()[:, None], driver="gelsd").solution.flatten()
    found = nearest_kernel(left, right, geometry)
    assert torch.allclose(found.kernel.flatten(), best, atol=1e-10)
    assert found.cosine == pytest.approx(cosine_similarity(best @ matrices, product.flatten()), abs=1e-12)
    assert product_norm(left, right) == pytest.approx(float(product.norm()))
    kernel = normal(out_shape[0], in_shape[0], window.side, window.side)
    ours = kernel_alignment(kernel, left, right, geometry)
    assert ours == pytest.approx(cosine_similarity(dense_convolution(kernel, window, in_shape), product), abs=1e-12)
    assert abs(ours) < found.cosine
    assert kernel_alignment(found.kernel, left, right, geometry) == pytest.approx(found.cosine)


@pytest.mark.parametrize(("window", "in_shape", "out_shape"), [CASES[0], CASES[1], CASES[3]])
def test_random_feedback_reaches_the_bound_in_the_mean(window, in_shape, out_shape):
    """Z-test over draws of F; the local bound, for locally connected layers, in the same draws."""
    mask = window.mask(in_shape[1:], out_shape[1:])
    full = mask.repeat(out_shape[0], 1).view(-1, 1, mask.shape[1]).expand(-1, in_shape[0], -1).flatten(1)
    geometry, shared, local = ConvGeometry(window, in_shape, out_shape), [], []
    for seed in range(150):
        left, right = random_feedback(in_shape, out_shape, seed=seed)
        shared.append((nearest_kernel(left, right, geometry).cosine, product_norm(left, right)))
        local.append(float(((left @ right.t()) * full).norm()) / shared[-1][1])
    size = torch.tensor([s for _, s in shared], dtype=DOUBLE).square()

    def z(found, bound):
        gap = (torch.tensor(found, dtype=DOUBLE).square() - bound**2) * size
        return abs(float(gap.mean() / (gap.std() / len(gap) ** 0.5)))

    cosines = [c for c, _ in shared]
    bounds = random_bound(geometry), local_bound(geometry)
    assert z(cosines, bounds[0]) < 4
    assert z(local, bounds[1]) < 4
    assert z(cosines, 1.2 * bounds[0]) > 4
    assert z(cosines, bounds[1]) > 4


def test_bounds_have_their_closed_forms():
    geometry = ConvGeometry(Window(4), (3, 14, 14), (5, 11, 11))
    assert random_bound(geometry) == pytest.approx(4 / (14 * 11))
    assert local_bound(geometry) == pytest.approx(4 / 14)


def test_mismatched_feedback_is_refused():
    with pytest.raises(NeurofaError, match="check the layers"):
        nearest_kernel(normal(5, 2), normal(60, 2), ConvGeometry(*CASES[0]))


def test_multiplicative_updates_never_raise_the_error_and_reach_that_of_a_library():
    from sklearn.decomposition import NMF

    v = Window(3).mask((7, 6), (5, 4))

    def error(steps):
        u, w = nonnegative_factors(v, 4, generator(0), steps=steps)
        assert float(u.min()) >= 0
        assert float(w.min()) >= 0
        return float((v - u @ w.t()).norm())

    errors = [error(steps) for steps in (1, 3, 10, 30, 100, 300)]
    assert errors == sorted(errors, reverse=True)
    theirs = NMF(n_components=4, init="random", random_state=0, max_iter=2000, tol=1e-8).fit(v.numpy())
    assert errors[-1] < 1.05 * theirs.reconstruction_err_
    u, w = nonnegative_factors(v, 4, generator(0))
    assert torch.allclose(u.norm(dim=0), w.norm(dim=0))
    assert torch.equal(nonnegative_factors(v, 4, generator(1), right=w)[1], w)


@pytest.mark.parametrize(("window", "in_shape", "out_shape"), CASES)
@pytest.mark.parametrize("rank", [3, 40])
def test_singular_terms_are_those_of_the_dense_matrix(window, in_shape, out_shape, rank):
    kernel = normal(out_shape[0], in_shape[0], window.side, window.side)
    operator = ConvolutionOperator(kernel, ConvGeometry(window, in_shape, out_shape))
    dense = dense_convolution(kernel, window, in_shape)
    columns = normal(len(dense), 2)
    assert torch.allclose(operator.transposed_times(columns), dense.t() @ columns, atol=1e-12)
    left, right = operator.singular_factors(rank, generator(0))
    u, s, vt = torch.linalg.svd(dense, full_matrices=False)
    assert left.shape == (len(dense), rank)
    assert torch.allclose(left @ right.t(), (u[:, :rank] * s[:rank]) @ vt[:rank], atol=1e-9)


STACK = (
    Site("a", (8, 11, 11), {}, True, (), Window(4)),
    Site("b", (8, 8, 8), {}, True, (), Window(4)),
    Site("c", (8, 5, 5), {}, True, (), Window(4)),
    Site("d", (30,), {}, True),
)


def stacked(spec, seed=0, sites=STACK, o=10):
    feedback = build("feedback", spec)
    feedback.open(sites, o, generator(seed, "feedback"))
    return {k: v.flatten(1).t() for k, v in feedback(torch.eye(o)).items()}


def reachable(found):
    """Largest cosine of a kernel with each product of neighbours."""
    return [nearest_kernel(found[b.name], found[a.name], geometry(a, b)).cosine for a, b in pairwise(STACK[:3])]


def geometry(below, site):
    return ConvGeometry(site.window, below.out_shape, site.out_shape)


def test_structure_lets_shared_kernels_align():
    bounds = [random_bound(geometry(a, b)) for a, b in pairwise(STACK[:3])]
    repeated = [local_bound(geometry(a, b)) for a, b in pairwise(STACK[:3])]
    for spec in ("dense", "orthogonal", "shared"):
        assert reachable(stacked(spec)) == pytest.approx(bounds, rel=0.15)
    assert reachable(stacked("pooled")) == pytest.approx(repeated, rel=1e-5)
    for spec, least in (("aligned", 0.8), ("aligned(by=svd)", 0.4)):
        assert min(reachable(stacked(spec))) > least


def test_the_mask_is_kept():
    found = stacked("aligned")
    product = (found["b"] @ found["a"].t()).view(8, 64, 8, 121).square().sum((0, 2))
    mask = Window(4).mask((11, 11), (8, 8))
    assert float((product * mask).sum() / product.sum()) > 0.8
    assert float(mask.mean()) < 0.15


@pytest.mark.parametrize("spec", ["orthogonal(gain=2.0)", "aligned(gain=2.0)", "aligned(by=svd, gain=2.0)"])
def test_every_layer_has_the_declared_power(spec):
    powers = {name: float(f.square().mean().sqrt()) * 30**0.5 for name, f in stacked(spec).items()}
    exact = [powers[s.name] for s in (STACK if spec.startswith("orthogonal") else STACK[:3])]
    assert exact == pytest.approx([2.0] * len(exact), rel=1e-4)


def test_columns_are_orthogonal_and_rows_where_the_layer_is_narrow():
    found = stacked("orthogonal", sites=(*STACK, Site("e", (4,), {}, True)))
    for name, f in found.items():
        gram = f @ f.t() if name == "e" else f.t() @ f
        scale = float(gram.diagonal().mean())
        assert torch.allclose(gram / scale, torch.eye(len(gram)), atol=1e-5)
    other = stacked("dense")["b"]
    assert float((other.t() @ other / (other.t() @ other).diagonal().mean() - torch.eye(10)).abs().max()) > 0.05


def test_without_windows_aligned_rows_are_independent():
    a, b = (stacked("aligned", sites=STACK[3:], seed=seed)["d"] for seed in (0, 1))
    assert abs(cosine_similarity(a, b)) < 0.3
    assert float((a.t() @ a / a.square().sum(0).mean() - torch.eye(10)).abs().max()) > 0.05


@pytest.mark.parametrize("by", ["svd ", "x"])
def test_an_unknown_way_is_refused(by):
    with pytest.raises(NeurofaError, match="nmf or svd"):
        build("feedback", "aligned").__class__(by=by)


def test_a_network_tells_its_windows_through_pooling():
    cnn = build("network", "cnn(channels=[3, 4], kernel=5)", input_shape=(1, 12, 12), outputs=5)
    assert [site.window for site in cnn.plan().sites] == [Window(5, 1, 2), Window(10, 2, 4), None, None]
    window = cnn.plan().sites[1].window
    below, above = (site.out_shape[1:] for site in cnn.plan().sites[:2])
    # by poisoning: which outputs of the second convolution change with one position of the first one's output
    conv, pool = cnn.layer("conv2d2"), cnn.layer("max_pool2d1")
    conv.synapses["weight"].weight.data.fill_(1.0)
    mask = window.mask(below, above)
    for at in (0, 17, 143):
        x = torch.zeros(1, 3, *below)
        start = conv.compute(conv.synapses.stored(), pool.compute({}, x, {})[0], {})[0].clone()
        x.view(1, 3, -1)[..., at] = 1.0
        moved = conv.compute(conv.synapses.stored(), pool.compute({}, x, {})[0], {})[0] != start
        assert torch.equal(moved[0].any(0).flatten(), mask[:, at] > 0)


def wired(wiring, seed=0):
    spec = f"conv_stack(channels=[3, 4, 4], wiring={wiring}, activation=tanh)"
    return build("network", spec, input_shape=(2, 16, 15), outputs=5, seed=seed)


def test_three_wirings_begin_as_one_function():
    x = normal(4, 2, 16, 15).float()
    shared, local, full = (wired(w) for w in ("shared", "local", "full"))
    assert torch.allclose(local(x), shared(x), atol=1e-6)
    assert torch.allclose(full(x), shared(x), atol=1e-6)
    assert not torch.allclose(wired("full", 1)(x), shared(x), atol=1e-2)
    sizes = [sum(p.numel() for p in n.parameters()) for n in (shared, local, full)]
    assert sizes == sorted(set(sizes))
    assert [s.window for s in local.plan().sites] == [s.window for s in shared.plan().sites]


def test_the_local_wiring_learns_as_the_masked_unrolled_one():
    """One step of backpropagation: the full layers move as the local ones inside of the windows, and outside too."""
    x, y = normal(6, 2, 16, 15).float(), torch.arange(6) % 5
    moved = {}
    for wiring in ("shared", "local", "full"):
        network = wired(wiring)
        learner = Learner(network, "bp", optimizer=torch.optim.SGD(network.parameters(), lr=0.5))
        learner.step(x, y)
        moved[wiring] = network
    units = torch.eye(2 * 16 * 15).view(-1, 2, 16, 15)
    block = moved["local"].layer("block0")
    head = block.module()[0]
    with torch.no_grad():
        local = head(units).flatten(1).t()
    full = moved["full"].layer("dense1").synapses.stored()["weight"]
    kernel = torch.ones(3, 2, 3, 3)
    mask = dense_convolution(kernel, Window(3, 2), (2, 16, 15)) > 0
    assert torch.allclose(full[mask], local[mask], atol=1e-6)
    assert not bool(local[~mask].any())
    assert float(full[~mask].abs().max()) > 1e-3
    # shared kernels take the sum over positions
    start, shared = (n.layer("conv2d0").synapses.stored()["weight"] for n in (wired("shared"), moved["shared"]))
    change = (local - dense_convolution(start, Window(3, 2), (2, 16, 15))).flatten()
    size = (3, 2, 3, 3)
    summed = torch.stack(
        [
            change @ dense_convolution(unit, Window(3, 2), (2, 16, 15)).flatten()
            for unit in torch.eye(54).view(-1, *size)
        ]
    ).view(size)
    assert torch.allclose(shared - start, summed, atol=1e-5)


def test_a_stack_that_does_not_fit_is_refused():
    with pytest.raises(NeurofaError, match="images that hold them"):
        build("network", "conv_stack(channels=[2, 2, 2])", input_shape=(1, 8, 8), outputs=3)


def test_diagnostics_report_the_alignment_of_convolutions():
    network = build("network", "conv_stack(channels=[4, 4, 4])", input_shape=(1, 20, 20), outputs=6)
    learner = Learner(network, "dfa", optimizer=torch.optim.SGD(network.parameters(), lr=0.1))
    x, y = normal(8, 1, 20, 20).float(), torch.arange(8) % 6
    found = measure_alignment(learner, x, y)["layers"]
    gen = generator(0, "test")
    tick = record(network, learner.rule, x, gen)
    f = feedback_matrices(learner.rule, gen)
    for below, name in (("conv2d0", "conv2d1"), ("conv2d1", "conv2d2")):
        layer = network.layer(name)
        assert isinstance(layer, Conv2d)
        dense = dense_convolution(layer.synapses.stored()["weight"], layer.map.window, network.shapes[below])
        assert found[name]["weight_alignment"] == pytest.approx(
            cosine_similarity(dense, f[name] @ f[below].t()), abs=1e-6
        )
        assert abs(found[name]["weight_alignment"]) < found[name]["weight_alignment_bound"] < 1
    assert "weight_alignment" not in found["conv2d0"]
    layers = weight_alignment(network, learner.rule, tick, f)
    assert set(layers) == {"conv2d1", "conv2d2", "dense4"}
    # behind a pooling the convolution's input is not what the feedback below was made for
    cnn = build("network", "cnn(channels=[3, 4])", input_shape=(1, 12, 12), outputs=6)
    pooled = Learner(cnn, "dfa", optimizer=torch.optim.SGD(cnn.parameters(), lr=0.1))
    assert kernel_bounds(cnn, pooled.rule, feedback_matrices(pooled.rule, gen)) == {}
