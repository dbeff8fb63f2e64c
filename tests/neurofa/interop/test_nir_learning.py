"""Networks of NIR files learn like others: by local rules and through time, on devices, and their audits hold."""

import numpy as np
import pytest
import torch

from neurofa import Learner, NeurofaError
from neurofa.audit.sequence import audit_sequence
from neurofa.core.programming import ClippedWeights
from neurofa.interop.nir import from_nir
from neurofa.losses import CrossEntropy
from neurofa.training.evaluation import sequence_loss
from tests.neurofa.interop import nir_graphs
from tests.neurofa.interop.nir_graphs import affine, between, chain, cuba, gen, lif

nir = pytest.importorskip("nir")
DT = 1e-3
LABELS = torch.tensor([0, 2, 1, 2, 0, 1])


def trainable():
    """Neurons of their own constants, and a readout that all outputs share."""
    g = gen(2)
    one = np.ones(3)
    readout = nir.LI(tau=1e-2 * one, r=10 * one, v_leak=0 * one)
    return chain((6,), affine(9, 6, g), lif((9,), g), affine(8, 9, g), cuba((8,), g), affine(3, 8, g, 0.3), readout)


def given(ticks=20):
    g = torch.Generator().manual_seed(1)
    rates = torch.rand(len(LABELS), 6, generator=g) * 0.8
    return (torch.rand(ticks, len(LABELS), 6, generator=g) < rates).float()


def learner(rule, graph=trainable, *, lr=0.01, device="digital"):
    network = from_nir(graph(), dt=DT, device=device)
    return Learner(network, rule, optimizer=torch.optim.SGD(network.parameters(), lr=lr), seed=3)


@pytest.mark.parametrize("rule", ["eprop", "dfa", "bptt", "drtp", "eprop(filtered=False)"])
def test_they_learn(rule):
    made = learner(rule)
    xs = given()
    before = {key: p.detach().clone() for key, p in made.network.named_parameters()}
    losses = [float(made.stream(xs, LABELS).loss) for _ in range(25)]
    assert losses[-1] < 0.9 * losses[0]
    moved = [key for key, p in made.network.named_parameters() if not torch.equal(p, before[key])]
    assert len(moved) == len(before)


@pytest.mark.parametrize("rule", ["eprop", "dfa", "eprop(filtered=False)"])
def test_chunks_of_ticks_give_the_same_directions(rule):
    updates = []
    for chunk in (20, 7, 1):
        made = learner(rule, lr=1.0)
        made.network.double()
        before = {key: p.detach().clone() for key, p in made.network.named_parameters()}
        made = Learner(made.network, rule, optimizer=torch.optim.SGD(made.network.parameters(), lr=1.0), seed=3)
        made.stream(given().double(), LABELS, chunk=chunk)
        updates.append({key: p.detach() - before[key] for key, p in made.network.named_parameters()})
    for other in updates[1:]:
        for key, change in updates[0].items():
            assert torch.allclose(change, other[key], atol=1e-10), key
            assert change.abs().max() > 0


def test_readouts_of_several_decays_have_no_filter_and_learn_without():
    made = learner("eprop", nir_graphs.dense)
    with pytest.raises(NeurofaError, match=r"filter for a readout of leaky.*use filtered=False"):
        made.stream(given(), LABELS)
    made = learner("eprop(filtered=False)", nir_graphs.dense)
    assert float(made.stream(given(), LABELS, chunk=6).loss) > 0


@pytest.mark.parametrize("rule", ["eprop", "dfa", "drtp"])
def test_audits_hold(rule):
    network = from_nir(trainable(), dt=DT)
    report = audit_sequence(rule, network, given(6), LABELS)
    assert report.agrees
    assert all(not found.other_weights for found in report.dependencies.values())


@pytest.mark.long
def test_images_and_branches_learn_and_identities_stay():
    made = learner("dfa", nir_graphs.scaled_thresholds, lr=0.1)
    (identity,) = [
        layer for _, layer in made.network.items() if not any(s.weight.requires_grad for s in layer.synapses.values())
    ]
    before = identity.synapses["weight"].weight.detach().clone()
    scale = made.network.layer("block0").synapses["factors"].weight.detach().clone()
    made.stream(given(), LABELS)
    assert torch.equal(identity.synapses["weight"].weight, before)
    assert not torch.equal(made.network.layer("block0").synapses["factors"].weight, scale)
    for graph in (nir_graphs.convolutional, nir_graphs.branches):
        made = learner("dfa", graph, lr=0.02)
        xs = (
            torch.rand(8, len(LABELS), *made.network.input_shape, generator=torch.Generator().manual_seed(4)) < 0.4
        ).float()
        loss = sequence_loss(made.network, CrossEntropy(), xs, LABELS)[0]
        for _ in range(20):
            made.stream(xs, LABELS)
        assert float(sequence_loss(made.network, CrossEntropy(), xs, LABELS)[0]) < float(loss)


def test_weights_are_programmed_on_a_device():
    with pytest.warns(ClippedWeights, match="'weight' of layer 'spiking0'"):
        network = from_nir(trainable(), dt=DT, device="fixed(bits=4)")
    weight = network.layer("spiking0").synapses["weight"].weight
    assert len(weight.unique()) <= 16
    exact = from_nir(trainable(), dt=DT).layer("spiking0").synapses["weight"].weight
    most = float(weight.detach().max())
    assert float((weight.detach() - exact.detach().clamp(-most, most)).abs().max()) < most / 7
    with pytest.warns(ClippedWeights):
        made = learner("dfa", device="fixed(bits=8)")
    assert float(made.stream(given(), LABELS).loss) > 0


def test_constants_of_single_neurons_are_used_by_conv_layers_too():
    g = gen(6)
    own = lif(
        (2, 4, 4), g, v_leak=np.zeros((2, 4, 4)), v_reset=np.zeros((2, 4, 4)), tau=between(2e-3, 2e-2, (2, 4, 4), g)
    )
    network = from_nir(
        chain((1, 4, 4), nir_graphs.conv(2, 1, 3, g), own, nir.Flatten(None, 0, -1), affine(3, 32, g)), dt=DT
    )
    made = Learner(network, "eprop(filtered=False)", optimizer=torch.optim.SGD(network.parameters(), lr=0.1))
    xs = (torch.rand(6, 2, 1, 4, 4) < 0.5).float()
    with pytest.raises(NeurofaError, match="behind a convolution under a rule that needs a trace for every weight"):
        made.stream(xs, LABELS[:2], chunk=3)
    assert float(made.stream(xs, LABELS[:2], chunk=6).loss) > 0
