"""Feedback that learns lives on devices, and moves as they do."""

import pytest
import torch

from hwmodels.errors import NeurofaError
from hwmodels.registry import build
from neurofa import Learner
from neurofa.core.randomness import generator
from neurofa.core.synapses import Synapses

PLASTIC = [
    ("raf(rank=4, {})", 4),
    ("draf(rank=4, {})", 3),
    ("draf(rank=4, broadcast=output, {})", 4),
    ("ldfa_local(rank=4, {})", 4),
    ("kp({})", 2),
    ("dkp(rate=1, {})", 1),
    ("fdfa(alpha=0.1, {})", 1),
    ("grape2025(eta=0.1, {})", 1),
    ("grape2026(eta=0.1, {})", 1),
    ("fdfa(alpha=0.5, program=2, {})", 1),
    ("local_loss({})", 2),
    ("local_guess({})", 2),
]


def trained(rule, steps=4):
    network = build("network", "mlp(hidden=[12, 10])", input_shape=(6,), outputs=5)
    learner = Learner(network, rule, optimizer=torch.optim.SGD(network.parameters(), lr=0.2))
    start = {key: value.clone() for key, value in learner.rule.state_dict().items()}
    gen = generator(0, "samples")
    for _ in range(steps):
        learner.step(torch.randn(16, 6, generator=gen), torch.randint(5, (16,), generator=gen))
    return learner, start


def changed(learner, start):
    """Synapses of the pathway on a device, with where their weights changed."""
    for name, part in learner.rule.named_modules():
        if isinstance(part, Synapses) and not part.exact:
            yield part, part.weight.detach() != start[f"{name}.weight"]


def start_of(learner, start, synapses):
    """The weights with which some synapses began."""
    return next(start[f"{name}.weight"] for name, part in learner.rule.named_modules() if part is synapses)


@pytest.mark.parametrize(("spec", "least"), PLASTIC)
def test_on_words_of_few_bits_it_moves_by_whole_steps(spec, least):
    learner, start = trained(spec.format("feedback=\"dense(device='fixed(bits=6)')\""))
    moved = 0
    for synapses, where in changed(learner, start):
        steps = synapses.weight.detach() / synapses.cells["scale"]
        assert torch.allclose(steps, steps.round(), atol=1e-4)
        assert float(steps.abs().max()) <= 31.001
        assert torch.equal(synapses.weight.detach(), synapses.device.value(synapses.cells))
        moved += bool(where.any())
    assert moved >= least


@pytest.mark.parametrize(("spec", "least"), PLASTIC)
def test_on_pulsed_devices_it_moves_by_pulses_that_the_ledger_counts(spec, least):
    learner, start = trained(spec.format("feedback=dense(device=wear(device=constant_step(dw_min=0.02)))"))
    plain, _ = trained(spec.format("feedback=dense(device=constant_step(dw_min=0.02))"))
    moved = 0
    theirs = (part for part in plain.rule.modules() if isinstance(part, Synapses) and not part.exact)
    for (synapses, where), other in zip(changed(learner, start), theirs, strict=True):
        assert torch.equal(synapses.weight, other.weight)  # a ledger changes nothing
        assert torch.equal(synapses.weight.detach(), synapses.device.value(synapses.cells))
        pulses = float(synapses.cells["cycles"].sum())
        if "program" not in spec:  # write-verify is not counted
            assert (pulses > 0) == bool(where.any())
            # on average a pulse moves a weight by dw_min, give or take the spread of single devices and of counts
            distance = float((synapses.weight.detach() - start_of(learner, start, synapses)).abs().sum())
            assert distance < 3 * 0.02 * (pulses + where.numel())
        moved += bool(where.any())
    assert moved >= least


@pytest.mark.parametrize("device", ["reram_es", "pcm", "mixed_precision(device=reram_es)"])
@pytest.mark.parametrize("spec", ["raf(rank=4, {})", "draf(rank=4, {})", "fdfa({})", "grape2026({})", "pepita({})"])
def test_presets_train(spec, device):
    learner, _ = trained(spec.format(f"feedback=\"dense(device='{device}')\""))
    assert all(bool(p.isfinite().all()) for p in (*learner.network.parameters(), *learner.rule.parameters()))


def test_a_pathway_whose_device_plays_every_sample_is_refused():
    with pytest.raises(NeurofaError, match="plastic feedback"):
        trained("raf(feedback=\"dense(device='pulse_trains(device=reram_es)')\")")


def alignment(rule, steps=60):
    """Cosine of B with the Jacobian of the last hidden layer, after some steps without learning."""
    network = build("network", "mlp(hidden=[8])", input_shape=(6,), outputs=5)
    learner = Learner(network, rule, optimizer=torch.optim.SGD(network.parameters(), lr=0.0))
    gen = generator(0, "samples")
    for _ in range(steps):
        learner.step(torch.randn(64, 6, generator=gen), torch.randint(5, (64,), generator=gen))
    jacobian = network.layer(network.readout).synapses["weight"].weight.detach().t()
    return float(torch.nn.functional.cosine_similarity(learner.rule.b.flatten(), jacobian.flatten(), 0))


def test_small_changes_are_lost_by_rounding_to_the_nearest_and_kept_otherwise():
    coarse = "feedback=\"dense(device='fixed(bits=6, rounding={})')\""
    assert alignment("fdfa(alpha=0.02)") > 0.95
    assert alignment("fdfa(alpha=0.02, " + coarse.format("nearest") + ")") == 0.0
    assert alignment("fdfa(alpha=0.02, " + coarse.format("stochastic") + ")") > 0.7
    assert alignment("fdfa(alpha=0.02, program=1, " + coarse.format("nearest") + ")") > 0.9
    assert alignment("fdfa(alpha=0.02, program=20, " + coarse.format("nearest") + ")") > 0.9


def test_a_matrix_that_is_written_now_and_then_waits_in_between():
    learner, start = trained("fdfa(alpha=0.5, program=3)", steps=2)
    assert torch.equal(learner.rule.b, start["feedback.b.weight"])
    assert not torch.equal(learner.rule.digital, start["digital"])
    learner, _ = trained("fdfa(alpha=0.5, program=3)", steps=3)
    assert torch.equal(learner.rule.b, learner.rule.digital)


def test_a_negative_interval_is_refused():
    with pytest.raises(NeurofaError, match="program=-1"):
        build("rule", "grape2025(program=-1)")
