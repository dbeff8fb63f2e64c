"""Crossbar, rings, meshes and the optical processor against formulas; their noise; projections as feedback."""

import math

import pytest
import torch

import hwmodels.projection  # noqa: F401  (declares the kind)
from hwmodels import NeurofaError, build, parts
from hwmodels.device import AgeingCells
from hwmodels.devices.digital import Digital
from hwmodels.optics.mesh import clements_phases, mesh_modes, neighbours, propagate, settable_phases, with_crosstalk
from hwmodels.projections.microring import bank_weights, detuning
from neurofa import Learner

DOUBLE = torch.float64


def gen(seed=0):
    return torch.Generator().manual_seed(seed)


def opened(spec, n_in=10, n_out=60, seed=0):
    projection = build("projection", spec)
    projection.open(n_in, n_out, gen(seed))
    return projection


def errors(n=5, n_in=10):
    return torch.randn(n, n_in, generator=gen(7))


def z(values, mean, std):
    """Largest z of mean and variance of Gaussian numbers."""
    n = values.numel()
    z_mean = abs(values.mean().item() - mean) / (std / math.sqrt(n))
    return max(z_mean, abs(values.var().item() / std**2 - 1) / math.sqrt(2 / n))


# crossbar


def test_an_ideal_crossbar_is_the_matrix_product():
    target, error = torch.randn(10, 60, generator=gen(3)), errors()
    for spec in ("crossbar(periphery=exact)", "crossbar(periphery=exact, peak=0.5, rows=3)"):
        crossbar = opened(spec)
        crossbar.program(target)
        torch.testing.assert_close(crossbar.effective(), target)
        torch.testing.assert_close(crossbar(error), error @ target)


def test_read_noise_reaches_every_pass_with_its_moments():
    crossbar = opened("crossbar(device=gaussian(read_noise=0.2), periphery=exact)", 1, 100_000)
    b, one = crossbar.effective(), torch.ones(1, 1)
    assert z(crossbar(one, gen(1)) - b, 0, 0.2 * b.square().mean().sqrt().item()) < 4
    assert not torch.equal(crossbar(one, gen(1)), crossbar(one, gen(2)))
    torch.testing.assert_close(crossbar.effective(), b)


def test_output_noise_is_relative_to_the_largest_weight_and_the_full_scale():
    crossbar = opened("crossbar(periphery=periphery(in_bits=None, out_bits=None, out_noise=0.05))", 4, 50_000)
    error = errors(1, 4) * 10
    noise = crossbar(error, gen(1)) - error @ crossbar.effective()
    assert z(noise, 0, 0.05 * error.abs().max().item() * crossbar.effective().abs().max().item()) < 4


def test_each_array_of_rows_has_its_own_converters():
    whole = opened("crossbar(periphery=periphery(in_bits=None, out_bits=None, out_noise=0.05))", 8, 50_000)
    cut = opened("crossbar(periphery=periphery(in_bits=None, out_bits=None, out_noise=0.05), rows=2)", 8, 50_000)
    error = torch.ones(1, 8)
    ratio = (cut(error, gen(1)) - error @ cut.effective()).std() / (
        whole(error, gen(1)) - error @ whole.effective()
    ).std()
    assert ratio.item() == pytest.approx(2, rel=0.05)  # four arrays


def test_cells_drift_and_keep_their_coarse_values():
    class Fading(Digital, AgeingCells):
        ageing = property(lambda self: self)

        def relax(self, cells, seconds, gen=None):
            return {"weight": cells["weight"] * math.exp(-seconds)}

    crossbar = build("projection", "crossbar(periphery=exact)")
    crossbar.device = Fading()
    crossbar.open(10, 60, gen())
    before = crossbar.effective().clone()
    crossbar.relax(0.5, gen())
    torch.testing.assert_close(crossbar.effective(), before * math.exp(-0.5))
    coarse = opened("crossbar(device=fixed(bits=3, range=1), peak=1, periphery=exact)")
    assert len(coarse.effective().unique()) <= 7


@pytest.mark.parametrize("device", parts("device"))
def test_a_crossbar_is_made_of_any_device(device):
    target = torch.randn(10, 60, generator=gen(3)) * 0.1
    crossbar = opened(f"crossbar(device={device}, peak=0.5)")
    crossbar.program(target, gen(1))
    held = crossbar.effective()
    assert torch.nn.functional.cosine_similarity(held.flatten(), target.flatten(), dim=0) > 0.5
    crossbar.relax(100.0, gen(2))
    assert crossbar(errors(), gen(3)).isfinite().all()


# microring


@pytest.mark.parametrize("scale", ["sample", "batch", "none"])
def test_ring_noise_belongs_to_the_inner_product_in_units_of_the_full_scale(scale):
    rings = opened(f"microring(sigma=0.202, mu=0.03, full_scale={scale}, gain=2)", 10, 100_000)
    error = torch.stack([errors(1)[0] * 0.1, errors(1)[0] * 4])
    s = (rings(error, gen(1)) - error @ rings.effective()) / rings.scale  # as if B were in [-1, 1]
    assert rings.effective().abs().max() == rings.scale
    sizes = error.abs().amax(1)
    alpha = {"sample": sizes, "batch": sizes.max().expand(2), "none": torch.ones(2)}[scale]
    for row, full in zip(s, alpha.tolist(), strict=True):
        assert z(row, 0.03 * full, 0.202 * full) < 4
        assert z(row, 0.03 * full, 0.206 * full) > 4  # a perturbed constant is seen


def test_effective_bits_of_the_published_noise():
    assert opened("microring(sigma=0.098)").bits == pytest.approx(4.351, abs=1e-3)
    assert opened("microring(sigma=0.202)").bits == pytest.approx(3.308, abs=1e-3)
    assert opened("microring(sigma=0.0)").bits == math.inf


def test_rings_far_apart_do_not_disturb_each_other():
    w = torch.rand(6, 30, generator=gen(), dtype=DOUBLE) * 2 - 1
    torch.testing.assert_close(bank_weights(detuning(w), None, 0.0), w)
    torch.testing.assert_close(bank_weights(detuning(w), 1e6, 0.0), w, rtol=0, atol=1e-6)


def test_crosstalk_is_the_product_of_what_every_ring_lets_through():
    w, spacing, heat = torch.rand(4, 3, generator=gen(), dtype=DOUBLE) * 2 - 1, 5.0, 0.02
    delta = detuning(w)
    ours = bank_weights(delta.clone(), spacing, heat)
    for i in range(3):
        seen = [
            delta[k, i] + heat * ((delta[k - 1, i] if k else 0) + (delta[k + 1, i] if k < 3 else 0)) for k in range(4)
        ]
        for j in range(4):
            through = 1.0
            for k in range(4):
                through *= 1 - 1 / (1 + (2 * (spacing * (j - k) - seen[k])) ** 2)
            assert ours[j, i].item() == pytest.approx(float(1 - 2 * through))


def test_closer_channels_disturb_more():
    exact = opened("microring").effective()
    off = [(opened(f"microring(spacing={d})").effective() - exact).norm().item() for d in (100, 30, 10)]
    assert 0 < off[0] < off[1] < off[2]


# meshes


def unitary(n, k=3, dtype=torch.complex128):
    return torch.linalg.qr(torch.randn(k, n, n, generator=gen(n), dtype=dtype))[0]


@pytest.mark.parametrize("n", [2, 3, 4, 7, 12])
@pytest.mark.parametrize("dtype", [torch.complex128, DOUBLE])
def test_light_through_the_decomposed_mesh_gives_the_unitary_back(n, dtype):
    u = unitary(n, dtype=dtype)
    phases = clements_phases(u)
    assert phases.theta.shape == phases.phi.shape == (3, n * (n - 1) // 2)
    assert bool(((phases.theta >= 0) & (phases.theta <= math.pi + 1e-12)).all())
    torch.testing.assert_close(propagate(phases), u.to(torch.complex128), rtol=0, atol=1e-12)


def test_degenerate_unitaries_decompose():
    for u in (torch.eye(5), torch.eye(5).flip(0), torch.diag(torch.tensor([1.0, -1.0, 1.0, -1.0, 1.0]))):
        torch.testing.assert_close(propagate(clements_phases(u[None])).real[0].float(), u, rtol=0, atol=1e-6)


def test_the_mesh_is_rectangular():
    for n in (4, 7, 10):
        depth = [0] * n
        for m in mesh_modes(n):
            depth[m] = depth[m + 1] = max(depth[m], depth[m + 1]) + 1
        assert max(depth) == n
    beside = neighbours(6)
    none = len(mesh_modes(6))
    for i, row in enumerate(beside.tolist()):
        for j in row:
            assert j == none or i in beside[j].tolist()  # neighbours of each other
    assert (beside != none).sum(1).max() > 3


def test_crosstalk_and_loss_are_as_stated():
    p = torch.rand(2, 15, generator=gen(), dtype=DOUBLE)
    beside = neighbours(6)
    ours = with_crosstalk(p, beside, 0.1)
    for i in range(15):
        wanted = p[:, i] + 0.1 * sum((p[:, j] for j in beside[i].tolist() if j < 15), torch.zeros(2, dtype=DOUBLE))
        torch.testing.assert_close(ours[:, i], wanted)
    one = clements_phases(unitary(2))
    torch.testing.assert_close(propagate(one, 3.0).abs().square(), propagate(one).abs().square() * 10**-0.3)
    power = propagate(clements_phases(unitary(6)), 0.1).abs().square().sum(1)
    assert bool((power < 10**-0.02).all())
    assert bool((power > 10**-0.06 - 1e-9).all())  # at most six interferometers in a row


def test_phases_are_set_by_whole_numbers_of_voltage_steps():
    p = torch.linspace(-10, 10, 2001, dtype=DOUBLE)
    found = settable_phases(p, 4)
    steps = (found / (2 * math.pi)).sqrt() * 15
    torch.testing.assert_close(steps, steps.round())
    torch.testing.assert_close(settable_phases(p, None), p.remainder(2 * math.pi))
    fine = (settable_phases(p, 14) - p.remainder(2 * math.pi)).abs().max()
    assert fine < 2 * math.pi / 2**13


@pytest.mark.parametrize(("n_in", "n_out"), [(10, 60), (1, 5), (37, 20), (16, 16)])
def test_an_ideal_mesh_holds_any_matrix(n_in, n_out):
    mesh = opened("mzi(bits=None, crosstalk=0.0)", n_in, n_out)
    target = torch.randn(n_in, n_out, generator=gen(3))
    mesh.program(target)
    torch.testing.assert_close(mesh.effective(), target, rtol=0, atol=1e-6 * target.abs().max().item())
    mesh.program(torch.zeros(n_in, n_out))
    assert torch.equal(mesh.effective(), torch.zeros(n_in, n_out))


def test_coarser_phases_make_a_more_different_matrix_of_the_same_power():
    target, cosine = torch.randn(10, 60, generator=gen(3)), []
    for bits in (4, 6, 8, 12):
        mesh = opened(f"mzi(bits={bits}, crosstalk=0.0)")
        mesh.program(target)
        torch.testing.assert_close(mesh.effective().norm(), target.norm())
        cosine.append(torch.nn.functional.cosine_similarity(mesh.effective().flatten(), target.flatten(), dim=0).item())
    assert cosine == sorted(cosine)
    assert cosine[0] < 0.95 < 0.9999 < cosine[-1]


def test_phases_walk_and_detection_is_noisy():
    mesh = opened("mzi(bits=None, drift=0.02, crosstalk=0.0)", 12, 120)
    theta, b = mesh.theta.clone(), mesh.effective().clone()
    mesh.relax(4.0, gen(1))
    assert z(mesh.theta - theta, 0, 0.04) < 4
    moved = torch.nn.functional.cosine_similarity(mesh.effective().flatten(), b.flatten(), dim=0).item()
    assert 0.9 < moved < 0.9999
    noisy = opened("mzi(sigma=0.1)", 4, 50_000)
    error = errors(1, 4) * 3
    largest = noisy.peak.item()
    assert z(noisy(error, gen(1)) - error @ noisy.effective(), 0, 0.1 * error.abs().max().item() * largest) < 4


# optical processor


@pytest.mark.parametrize(
    "detection", ["holography", "phase_shifting", "phase_shifting(steps=5)", "anchors", "anchors(count=1)"]
)
@pytest.mark.parametrize("error", ["ternary", "sign"])
def test_an_ideal_camera_sees_the_linear_map_of_the_encoded_error(detection, error):
    opu = opened(f"opu(detection={detection}, camera=ideal, error={error})").double()
    e = errors().double()
    torch.testing.assert_close(opu(e), opu.encoder.quantize(e) @ opu.effective(), rtol=0, atol=1e-5)


def test_intensities_of_a_binary_image():
    opu = opened("opu(detection=intensity, camera=ideal, error=sign)")
    e = errors()
    image = (e > 0).float()
    field = torch.complex(image @ opu.m_real, image @ opu.m_imag)
    wanted = field.abs().square() - image.sum(1, keepdim=True) * 2 / 10
    torch.testing.assert_close(opu(e), wanted / math.sqrt(3))
    assert opu.effective() is None
    both = opened("opu(detection=intensity, camera=ideal)")
    torch.testing.assert_close(both(-e), -both(e))


def test_intensity_statistics_are_those_of_speckle():
    opu = opened("opu(detection=intensity, camera=ideal, error=sign)", 16, 50_000)
    lit = opu(torch.ones(1, 16)) * math.sqrt(3) + 2.0  # E |R|^2 = 2/n, all n lit
    assert abs(lit.mean().item() - 2) < 4 * 2 / math.sqrt(50_000)
    assert (lit > 4).double().mean().item() == pytest.approx(math.exp(-2), abs=0.01)


def test_frames_and_latency():
    frames = {"holography": 1, "phase_shifting": 3, "phase_shifting(steps=4)": 4, "anchors": 3, "intensity": 1}
    for detection, n in frames.items():
        assert opened(f"opu(detection={detection}, error=sign)").frames == n
        assert opened(f"opu(detection={detection})").frames == 2 * n
    assert opened("opu(detection=anchors, frame_rate=1000)").latency(50) == pytest.approx(0.3)


def test_shot_and_thermal_noise_have_their_moments():
    camera = build("camera", "camera(bits=None, exposure=0.25, full_well=1e5, thermal=50)")
    light = torch.full((1, 100_000), 1.5, dtype=DOUBLE)
    mean = torch.full((1, 1), 3.0, dtype=DOUBLE)
    electrons = 0.25 * 1e5 / 3.0
    std = math.sqrt(1.5 * electrons + 50**2) / electrons
    assert z(camera.expose(light, mean, gen()), 1.5, std) < 4
    assert z(camera.expose(light, mean, gen()), 1.5, 1.02 * std) > 4
    dark = build("camera", "camera(bits=None, thermal=0.0)").expose(light * 0, mean, gen())
    assert torch.equal(dark, light * 0)


def test_the_camera_saturates_and_has_as_many_values_as_its_bits():
    camera = build("camera", "camera(bits=4, exposure=0.5, thermal=0.0)")
    seen = camera.expose(torch.rand(1, 50_000, generator=gen()) * 8, torch.ones(1, 1), gen())
    assert len(seen.unique()) == 16
    assert seen.max().item() == pytest.approx(2.0)  # full well at 1 / exposure times the mean
    ideal = build("camera", "ideal")
    assert torch.equal(ideal.expose(seen, torch.ones(1, 1)), seen)


def test_a_longer_exposure_has_less_noise_until_it_saturates():
    off = []
    for exposure in (0.01, 0.2, 5.0):
        opu = opened(f"opu(camera=camera(bits=None, exposure={exposure}))", 10, 4000)
        e = errors(1)
        off.append((opu(e, gen(1)) - opu.encoder.quantize(e) @ opu.effective()).norm().item())
    assert off[1] < off[0]
    assert off[1] < off[2]


def test_several_anchors_have_fewer_weak_spots():
    e = errors(1)
    off = []
    for count in (1, 4):
        opu = opened(f"opu(detection=anchors(count={count}))", 10, 4000)
        off.append((opu(e, gen(1)) - opu.encoder.quantize(e) @ opu.effective()).square().mean().item())
    assert off[1] < off[0]


def test_the_medium_decorrelates_as_an_ornstein_uhlenbeck_process():
    opu = opened("opu(decorrelation=2)", 50, 2000)
    before = opu.effective().clone()
    opu.relax(1.0, gen(1))
    after = opu.effective()
    rho = math.exp(-0.5)
    assert z((after - rho * before) / opu.std, 0, math.sqrt(1 - rho**2)) < 4
    assert (after.var() / before.var()).item() == pytest.approx(1, abs=0.03)
    still = opened("opu", 50, 20)
    kept = still.effective().clone()
    assert still.ageing is None
    still.relax(1e9, gen(1))
    assert torch.equal(still.effective(), kept)


def test_passes_take_their_latency():
    drifting, error = opened("opu(decorrelation=0.05, frame_rate=1000)", 50, 2000), torch.ones(10, 50)
    before = drifting.effective().clone()
    drifting(error, gen(1))
    correlation = torch.nn.functional.cosine_similarity(before.flatten(), drifting.effective().flatten(), dim=0).item()
    assert correlation == pytest.approx(math.exp(-drifting.latency(10) / 0.05), abs=0.02)


# all of them


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("crossbar(peak=0.0)", "positive number or None"),
        ("crossbar(rows=0)", "at least 1"),
        ("microring(sigma=-1)", "0 or more"),
        ("microring(mu=1e999)", "finite"),
        ("microring(spacing=0.0)", "positive number or None"),
        ("microring(full_scale=row)", "sample"),
        ("mzi(modes=1)", "at least 2"),
        ("mzi(bits=1)", "2 to 24"),
        ("mzi(crosstalk=-0.1)", "0 or more"),
        ("opu(error=raw)", "binary"),
        ("opu(decorrelation=0.0)", "positive"),
        ("opu(frame_rate=-1)", "positive"),
        ("opu(camera=camera(bits=1))", "2 to 24"),
        ("opu(camera=camera(full_well=0.0))", "positive"),
        ("opu(camera=camera(exposure=0.0))", "positive"),
        ("opu(camera=camera(thermal=-1))", "0 or more"),
        ("opu(detection=holography(reference=0.0))", "positive"),
        ("opu(detection=phase_shifting(steps=2))", "at least 3"),
        ("opu(detection=anchors(count=0))", "at least 1"),
        ("matrix_free(signs=2)", "True or False"),
    ],
)
def test_wrong_constants_are_refused(spec, message):
    with pytest.raises(NeurofaError, match=message):
        build("projection", spec)


@pytest.mark.parametrize("spec", ["crossbar", "microring", "mzi"])
def test_wrong_matrices_are_refused(spec):
    projection = opened(spec)
    with pytest.raises(NeurofaError, match="transpose or cut"):
        projection.program(torch.zeros(60, 10))
    with pytest.raises(NeurofaError, match="finite numbers"):
        projection.program(torch.full((10, 60), math.nan))


@pytest.mark.sample(4)
@pytest.mark.parametrize(
    "feedback",
    [
        "crossbar",
        "microring(sigma=0.1)",
        "mzi(bits=6)",
        "opu(decorrelation=1)",
        "opu(detection=anchors)",
        "matrix_free",
    ],
)
def test_any_projection_teaches_any_direct_rule(feedback):
    x, labels = torch.randn(60, 12, generator=gen(1)), torch.arange(60) % 3
    x += torch.nn.functional.one_hot(labels, 12) * 3
    for rule in (f"dfa(feedback={feedback})", f"drtp(feedback={feedback})"):
        network = build("network", "mlp(hidden=[20, 15])", input_shape=(12,), outputs=3)
        learner = Learner(network, rule, optimizer=torch.optim.SGD(network.parameters(), lr=0.3))
        before = network.layer("dense0").synapses["weight"].weight.detach().clone()
        losses = [learner.step(x, labels).loss.item() for _ in range(30)]
        assert losses[-1] < 0.7 * losses[0]
        assert not torch.equal(before, network.layer("dense0").synapses["weight"].weight)


def test_a_projection_is_opened_as_the_rule_needs_it():
    network = build("network", "mlp(hidden=[20, 15])", input_shape=(12,), outputs=3)
    learner = Learner(network, "dfa(feedback=mzi(gain=2))", optimizer=torch.optim.SGD(network.parameters(), lr=0.1))
    feedback = learner.rule.feedback
    assert feedback.name == "mzi"
    assert feedback.gain == 2
    assert (feedback.projection.n_in, feedback.projection.n_out) == (3, 35)
    with pytest.raises(NeurofaError, match="chained rule"):
        Learner(network, "fa(feedback=mzi)", optimizer=torch.optim.SGD(network.parameters(), lr=0.1))
    shallow = build("network", "mlp(hidden=[])", input_shape=(12,), outputs=3)
    Learner(shallow, "dfa(feedback=opu)", optimizer=torch.optim.SGD(shallow.parameters(), lr=0.1)).step(
        torch.zeros(2, 12), torch.tensor([0, 1])
    )
