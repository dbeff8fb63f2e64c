"""Compiled writes against eager ones with the same key."""

import shutil
from dataclasses import replace

import pytest
import torch

from hwmodels.arrays.compiled_product import compiled_product
from hwmodels.arrays.product import analog_product
from hwmodels.device_models.compiled_write import compiled_write, write_in_place
from hwmodels.errors import NeurofaError
from hwmodels.numerics.compiled import draw_key
from hwmodels.numerics.random import Key
from hwmodels.registry import build, parts
from neurofa import Learner

needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="there is no g++ to compile with")


def start(spec, shape=(40, 70)):
    gen = torch.Generator().manual_seed(0)
    device = build("device", spec)
    cells = device.program(torch.randn(shape, generator=gen) * 0.05, gen)
    return device, cells, torch.randn(shape, generator=gen) * 0.003, draw_key(gen)


def copy(cells):
    return {key: cell.clone() for key, cell in cells.items()}


def agree(spec):
    device, cells, change, key = start(spec)
    slow, fast = copy(cells), copy(cells)
    seen = [torch.empty_like(change), torch.empty_like(change)]
    write_in_place(device, slow, seen[0], change, key)
    compiled_write(device)(fast, seen[1], change, key)
    moved = (slow[next(iter(slow))] != cells[next(iter(cells))]).any() or not torch.equal(seen[0], device.value(cells))
    assert moved
    # a count that lies on the edge of a whole number may fall to either side
    return all(
        ((a - b).abs() > 1e-4 * a.abs().max() + 1e-6).double().mean() < 1e-3
        for a, b in zip([*slow.values(), seen[0]], [*fast.values(), seen[1]], strict=True)
    )


@pytest.mark.long
@needs_compiler
@pytest.mark.filterwarnings("ignore")
def test_a_compiled_write_is_the_eager_one():
    assert agree("constant_step(write_noise_std=3, lifetime=1000)")


@pytest.mark.slow
@needs_compiler
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("spec", [name for name in parts("device") if not build("device", name).exact])
def test_every_device_can_be_compiled(spec):
    assert agree(spec)


@pytest.mark.parametrize("spec", ["constant_step", "reram_es", "fixed(bits=4)"])
def test_a_key_gives_writes_of_the_same_law_as_a_generator(spec):
    device, cells, _, _ = start(spec, (300, 400))
    change = torch.full((300, 400), 0.004)
    gen = torch.Generator().manual_seed(1)
    moved = [device.value(device.write(cells, change, g)) - device.value(cells) for g in (gen, Key(draw_key(gen)))]
    ours, theirs = (m.double() for m in moved)
    error = ((ours.var() + theirs.var()) / ours.numel()).sqrt()
    assert abs((ours.mean() - theirs.mean()) / error) < 4
    assert abs(ours.std() / theirs.std() - 1) < 0.02
    assert not torch.equal(*moved)


@pytest.mark.slow
@needs_compiler
@pytest.mark.filterwarnings("ignore")
def test_a_fused_learner_repeats_with_its_seed_and_learns_as_the_eager_one():
    x, y = torch.randn(64, 20, generator=torch.Generator().manual_seed(0)), torch.arange(64) % 4

    def losses(fused):
        network = build("network", "mlp(hidden=[30])", input_shape=(20,), outputs=4, seed=0, device="constant_step")
        optimizer = torch.optim.SGD(network.parameters(), lr=0.2)
        learner = Learner(network, "dfa", optimizer=optimizer, fused=fused)
        return [learner.step(x, y).loss.item() for _ in range(60)]

    once = losses(True)
    assert once == losses(True)
    assert once[-1] < 0.7 * once[0]
    assert once[-1] == pytest.approx(losses(False)[-1], rel=0.2)


def test_a_write_that_waits_for_the_host_is_refused():
    class Waiting(type(build("device", "constant_step"))):
        def write(self, cells, change, gen=None):
            return super().write(cells, change, gen) if change.sum().item() > 0 else cells

    device = Waiting()
    _, cells, change, key = start("constant_step")
    with pytest.raises(NeurofaError, match="leave out fused"):
        compiled_write(device)(cells, torch.empty_like(change), change, key)


def products(spec, rows=64, n_in=300, n_out=256):
    gen = torch.Generator().manual_seed(0)
    x, w = torch.randn(rows, n_in, generator=gen), torch.rand(n_in, n_out, generator=gen) * 2 - 1
    return build("periphery", spec), x, w, w.abs().amax(), draw_key(gen)


def same_product(spec):
    io, x, w, unit, key = products(spec)
    slow, fast = analog_product(io, x, w, Key(key), unit=unit), compiled_product(io)(x, w, unit, key)
    assert torch.equal(fast, compiled_product(io)(x, w, unit, key))
    if io.noisy:
        other = compiled_product(io)(x, w, unit, key + 1)
        assert ((slow - other).abs() > 1e-4 * slow.abs().max()).double().mean() > 0.2
    # rounding may bring a signal from one level to the next
    return ((slow - fast).abs() > 1e-4 * slow.abs().max()).double().mean() < 0.02


@pytest.mark.long
@needs_compiler
@pytest.mark.filterwarnings("ignore")
def test_a_compiled_product_is_the_eager_one():
    assert same_product("periphery(in_noise=0.01, bound_management=True, read_noise=0.02, ir_drop=1.0)")


@pytest.mark.slow
@needs_compiler
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "spec", [*parts("periphery"), "periphery(sliced=True, in_noise=0.1)", "periphery(full_scale=batch)"]
)
def test_every_periphery_can_be_compiled(spec):
    assert same_product(spec)


@pytest.mark.slow
@needs_compiler
@pytest.mark.filterwarnings("ignore")
def test_a_fused_network_repeats_with_its_seed_and_needs_one():
    net = build("network", "mlp(hidden=[30])", input_shape=(20,), outputs=4, seed=0, periphery="training").eval()
    x = torch.randn(8, 20, generator=torch.Generator().manual_seed(0))
    eager = net(x, torch.Generator().manual_seed(1))
    net.fuse()
    once = net(x, torch.Generator().manual_seed(1))
    assert torch.equal(once, net(x, torch.Generator().manual_seed(1)))
    assert not torch.equal(once, eager)
    assert (once - eager).norm() < 0.5 * eager.norm()
    with pytest.raises(NeurofaError, match="no generator"):
        net(x)
    net.attach("standard")
    assert all(layer.arrays.fused for _, layer in net.items())
    net.fuse(False)
    net.attach("training")
    assert torch.equal(net(x, torch.Generator().manual_seed(1)), eager)


@pytest.mark.parametrize("spec", ["standard", "training", "inference", "periphery(in_noise=0.1, out_noise=0.2)"])
def test_a_key_gives_products_of_the_same_law_as_a_generator(spec):
    io, x, w, unit, key = products(f"{spec}", rows=1)
    many = x.expand(4000, -1)

    def draw(source, io=io):
        return analog_product(io, many, w, source, unit=unit).double()

    def apart(a, b):
        """Largest z of means and variances over the outputs, each from 4000 draws."""
        z_mean = (a.mean(0) - b.mean(0)) / ((a.var(0) + b.var(0)) / len(a)).sqrt().clamp_min(1e-9)
        squares = [(v - v.mean(0)).square() for v in (a, b)]
        spread = ((squares[0].var(0) + squares[1].var(0)) / len(a)).sqrt().clamp_min(1e-9)
        z_variance = (squares[0].mean(0) - squares[1].mean(0)) / spread
        return max(z_mean.abs().max().item(), z_variance.abs().max().item())

    drawn = draw(torch.Generator().manual_seed(1))
    assert apart(drawn, draw(Key(key))) < 5
    louder = replace(io, **{key: getattr(io, key) * 1.5 for key in ("in_noise", "out_noise", "read_noise")})
    assert apart(drawn, draw(Key(key), louder)) > 5
