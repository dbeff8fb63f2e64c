"""Values and errors of losses are those of torch's functions and of autograd through them."""

import pytest
import torch
from torch.nn import functional

from hwmodels.errors import NeurofaError
from hwmodels.registry import build
from neurofa import Learner
from neurofa.networks import MLP
from neurofa.testing.samples import small_network
from neurofa.training.learner import loss_and_teaching

WEIGHT = [0.5, 2.0, 0.0, 1.5]


def outputs(n=6, o=4, seed=0):
    torch.manual_seed(seed)
    return torch.randn(n, o, dtype=torch.float64, requires_grad=True)


def same(spec, y, target, wanted, weight=None):
    (gradient,) = torch.autograd.grad(wanted, y)
    result, _ = loss_and_teaching(build("loss", spec), y.detach(), target, weight)
    torch.testing.assert_close(result.value, wanted.detach(), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(
        result.error.reshape(gradient.shape) / len(result.error), gradient, rtol=1e-10, atol=1e-10
    )


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("weight", [None, WEIGHT])
@pytest.mark.parametrize("ignored", [None, -100, 1])
def test_cross_entropy_of_labels(smoothing, weight, ignored):
    y, labels = outputs(), torch.tensor([0, 3, 1, 1, 3, 0])
    if ignored is not None:
        labels[2:4] = ignored
    spec = f"cross_entropy(label_smoothing={smoothing}, weight={weight}, ignore_index={ignored})"
    own = None if weight is None else torch.tensor(weight, dtype=y.dtype)
    index = -100 if ignored is None else ignored
    wanted = functional.cross_entropy(y, labels, own, ignore_index=index, label_smoothing=smoothing)
    same(spec, y, labels, wanted)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("weight", [None, WEIGHT])
def test_cross_entropy_of_probabilities(smoothing, weight):
    y, target = outputs(), torch.softmax(torch.randn(6, 4, dtype=torch.float64), 1)
    own = None if weight is None else torch.tensor(weight, dtype=y.dtype)
    wanted = functional.cross_entropy(y, target, own, label_smoothing=smoothing)
    same(f"cross_entropy(label_smoothing={smoothing}, weight={weight})", y, target, wanted)


def test_cross_entropy_at_positions_ignores_padding():
    y = torch.randn(3, 5, 4, dtype=torch.float64, requires_grad=True)
    labels = torch.randint(4, (3, 5))
    labels[0, 2:] = labels[2, 4:] = -100
    wanted = functional.cross_entropy(y.flatten(0, 1), labels.flatten())
    same("cross_entropy(ignore_index=-100)", y, labels, wanted)


@pytest.mark.parametrize("weight", [None, WEIGHT])
@pytest.mark.parametrize("pos", [None, [3.0, 0.0, 1.0, 2.0]])
def test_bce(weight, pos):
    y, target = outputs(), torch.randint(2, (6, 4))
    own, positive = (None if w is None else torch.tensor(w, dtype=y.dtype) for w in (weight, pos))
    wanted = functional.binary_cross_entropy_with_logits(y, target.double(), own, pos_weight=positive)
    same(f"bce(weight={weight}, pos_weight={pos})", y, target, wanted)


def test_bce_takes_labels_as_one_against_all_and_numbers_of_one_output():
    y, labels = outputs(), torch.tensor([0, 3, 2, 1, 1, 0])
    wanted = functional.binary_cross_entropy_with_logits(y, functional.one_hot(labels, 4).double())
    same("bce", y, labels, wanted)
    y, yes = outputs(o=1), torch.tensor([0, 1, 1, 0, 1, 0])
    same("bce", y, yes, functional.binary_cross_entropy_with_logits(y, yes.double().unsqueeze(1)))


@pytest.mark.parametrize(
    "target", [torch.tensor([7, -2, 30]), torch.tensor([[7], [-2], [30]]), torch.tensor([0.5, 2, 3])]
)
def test_whole_numbers_are_numbers_for_mse_with_one_output(target):
    y = outputs(3, 1)
    wanted = functional.mse_loss(y, target.double().reshape(3, 1)) / 2
    same("mse", y, target, wanted)


def test_whole_numbers_of_the_shape_of_the_outputs_are_values_for_mse():
    y, target = outputs(3, 4), torch.randint(-9, 9, (3, 4))
    same("mse", y, target, functional.mse_loss(y, target.double(), reduction="sum") / 6)


WEIGHTED = {
    "cross_entropy": lambda y, t: functional.cross_entropy(y, t, reduction="none"),
    "cross_entropy(label_smoothing=0.1)": lambda y, t: functional.cross_entropy(
        y, t, reduction="none", label_smoothing=0.1
    ),
    "mse": lambda y, t: (y - functional.one_hot(t, 4)).square().sum(1) / 2,
    "bce": lambda y, t: functional.binary_cross_entropy_with_logits(
        y, functional.one_hot(t, 4).double(), reduction="none"
    ).mean(1),
}


@pytest.mark.parametrize("spec", WEIGHTED)
def test_weights_of_samples_give_the_weighted_mean(spec):
    y, labels, s = outputs(), torch.tensor([0, 3, 2, 1, 1, 0]), torch.tensor([0.0, 1.0, 2.0, 0.5, 3.0, 1.0])
    same(spec, y, labels, (WEIGHTED[spec](y, labels) * s).sum() / s.sum(), s)


def test_weights_of_samples_multiply_those_of_classes():
    y, labels, s = outputs(), torch.tensor([0, 3, -1, 1, 1, 0]), torch.tensor([0.0, 1.0, 2.0, 0.5, 3.0, 1.0])
    own = torch.tensor([0.5, 2.0, 1.0, 1.5], dtype=y.dtype)
    terms = functional.cross_entropy(y, labels, own, ignore_index=-1, reduction="none")
    mass = torch.where(labels >= 0, own[labels], 0)
    wanted = (terms * s).sum() / (mass * s).sum()
    same("cross_entropy(weight=[0.5, 2, 1, 1.5], ignore_index=-1)", y, labels, wanted, s)


@pytest.mark.parametrize(
    ("spec", "target", "weight", "words"),
    [
        ("cross_entropy", torch.full((6, 4), 0.5), None, "no probabilities"),
        ("cross_entropy", torch.tensor([[1.5, -0.5, 0, 0]]).expand(6, 4), None, "no probabilities"),
        ("cross_entropy", torch.full((6, 4), float("nan")), None, "no probabilities"),
        ("cross_entropy", torch.ones(6, 4, dtype=torch.int64), None, "whole-number label"),
        ("cross_entropy", torch.ones(6), None, "whole-number label"),
        ("cross_entropy(ignore_index=-1)", torch.full((6,), -2), None, "label -2"),
        ("cross_entropy(ignore_index=-1)", torch.full((6, 4), 0.25), None, "can be ignored"),
        ("cross_entropy(weight=[1, 2])", torch.zeros(6, dtype=torch.int64), None, "2 classes for 4 outputs"),
        ("bce", torch.full((6, 4), 2), None, "targets from 2 to 2"),
        ("bce(pos_weight=[1])", torch.ones(6, 4), None, "1 numbers of pos_weight"),
        ("bce", torch.full((6,), 7), None, "label 7"),
        ("mse", torch.full((6,), 7), None, "label 7"),
        ("mse", torch.ones(6), None, "targets of shape"),
        ("mse", torch.ones(6, 4), torch.ones(4), "weights of shape"),
        ("mse", torch.ones(6, 4), torch.full((6,), -1.0), "weights of samples from -1"),
    ],
)
def test_wrong_targets_are_refused_by_one_line(spec, target, weight, words):
    with pytest.raises(NeurofaError, match=words) as caught:
        loss_and_teaching(build("loss", spec), outputs().detach(), target, weight)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "spec",
    [
        "cross_entropy(label_smoothing=2)",
        "cross_entropy(weight=[])",
        "cross_entropy(weight=[-1, 2])",
        "bce(weight=[-1])",
    ],
)
def test_wrong_options_are_refused(spec):
    with pytest.raises(NeurofaError, match="expected"):
        build("loss", spec)


@pytest.mark.parametrize("rule", ["bp", "dfa", "drtp", "local_loss(gradient=exact)", "fa"])
def test_a_step_with_weight_zero_is_a_step_without_the_sample(rule):
    steps = []
    for kept in (slice(0, 6), slice(0, 4)):
        network = MLP(hidden=[5]).build(input_shape=(3,), outputs=4, seed=0).double()
        learner = Learner(network, rule, optimizer=torch.optim.SGD(network.parameters(), lr=0.1))
        torch.manual_seed(1)
        x, labels = torch.randn(6, 3, dtype=torch.float64), torch.randint(4, (6,))
        weight = torch.tensor([1.0, 1, 1, 1, 0, 0]) if kept.stop == 6 else None
        loss = learner.step(x[kept], labels[kept], weight).loss
        steps.append([loss, *(w.detach().clone() for w in network.parameters())])
    for ours, theirs in zip(*steps, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


def test_a_network_that_answers_at_positions_learns_nothing_from_padding():
    network = small_network("gpt").double()
    learner = Learner(
        network,
        "dfa",
        optimizer=torch.optim.SGD(network.parameters(), lr=0.1),
        loss="cross_entropy(ignore_index=-100)",
    )
    x, labels = network.example(3, torch.Generator().manual_seed(0)), torch.full((3, network.positions), -100)
    before = [w.detach().clone() for w in network.parameters()]
    assert float(learner.step(x, labels).loss) == 0
    assert all(torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))
    labels[:, 0] = 1
    assert float(learner.step(x, labels).loss) > 0
    with pytest.raises(NeurofaError, match="weights of shape"):
        learner.step(x, labels, torch.ones(2))
