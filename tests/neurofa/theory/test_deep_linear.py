"""Theory of deep linear networks: the recursion against the learner, the early laws against the recursion."""

import math

import pytest
import torch

from hwmodels.errors import NeurofaError
from hwmodels.registry import build
from neurofa import Learner
from neurofa.core.randomness import generator
from neurofa.diagnostics.weight_alignment import feedback_matrices
from neurofa.linalg.spectra import cosine_similarity, isotropy
from neurofa.theory.deep_linear import DeepLinear, alignment_cosine, leading_terms
from neurofa.theory.moments import Moments
from neurofa.theory.structure import (
    effective_dimension,
    label_covariance,
    random_label_isotropy,
    structured_task,
)

DOUBLE = torch.float64
GEN = torch.Generator().manual_seed(0)


def task(n_in=9, outputs=3, samples=50):
    gen = generator(1, "task")
    return (torch.randn(samples, n, generator=gen, dtype=DOUBLE) for n in (n_in, outputs))


def trained(activation="identity", *, zero=True, feedback="dense", steps=200, hidden=(40, 30, 20)):
    """A learner with dfa in float64, the recursion with its feedback, and weights after the same steps."""
    x, y = task()
    spec = f"mlp(hidden={list(hidden)}, activation={activation}, bias=False)"
    network = build("network", spec, input_shape=(9,), outputs=3).double()
    if zero:
        for p in network.parameters():
            p.data.zero_()
    learner = Learner(
        network, f"dfa(feedback={feedback})", optimizer=torch.optim.SGD(network.parameters(), lr=0.02), loss="mse"
    )
    matrices = feedback_matrices(learner.rule, generator(0, "read"))
    theory = DeepLinear([matrices[n] for n in network.names if n in matrices], 9)
    for _ in range(steps):
        learner.step(x, y)
        theory.step(x, y, 0.02)
    weights = [network.layer(n).synapses["weight"].weight.detach() for n in network.names]
    return weights, theory


def off(weights, theory):
    return max(float((w - t).abs().max() / w.abs().max()) for w, t in zip(weights, theory.weights(), strict=True))


@pytest.mark.parametrize("feedback", ["dense", "orthogonal", "dense(distribution=normal, gain=2.0)"])
def test_the_learner_obeys_the_recursion_exactly(feedback):
    assert off(*trained(feedback=feedback)) < 1e-12


@pytest.mark.parametrize("control", [{"activation": "tanh"}, {"zero": False}])
def test_other_networks_do_not(control):
    assert off(*trained(**control)) > 1e-3


@pytest.mark.parametrize("feedback", ["dense", "orthogonal"])
def test_weight_alignment_follows_from_the_small_matrices(feedback):
    weights, theory = trained(feedback=feedback)
    f = theory.feedback
    products = f[1] @ f[0].t(), f[2] @ f[1].t(), f[2].t()
    direct = [cosine_similarity(w, product) for w, product in zip(weights[1:], products, strict=True)]
    assert theory.alignments() == pytest.approx(direct, abs=1e-12)
    isotropies = [isotropy(a) for a in theory.matrices[1:]]
    if feedback == "orthogonal":
        assert isotropies == pytest.approx(direct, abs=1e-6)  # the stored feedback is orthogonal to float32
    else:
        assert max(abs(a - b) for a, b in zip(isotropies, direct, strict=True)) > 1e-3


def test_the_identity_is_exact_for_orthogonal_columns():
    f, k = (torch.linalg.qr(torch.randn(n, 4, generator=GEN, dtype=DOUBLE))[0] for n in (30, 20))
    a = torch.randn(4, 4, generator=GEN, dtype=DOUBLE)
    eye = torch.eye(4, dtype=DOUBLE)
    assert cosine_similarity(f @ a @ k.t(), f @ k.t()) == pytest.approx(isotropy(a), abs=1e-14)
    assert alignment_cosine(a, 3 * eye, 2 * eye) == pytest.approx(isotropy(a), abs=1e-14)
    assert math.isnan(alignment_cosine(0 * eye, eye, eye))


def early_theory(lr=1e-6, steps=400):
    x, y = task()
    theory = DeepLinear([torch.randn(n, 3, generator=GEN, dtype=DOUBLE) / 3 for n in (12, 10, 8)], 9)
    for _ in range(steps):
        theory.step(x, y, lr)
    return theory, Moments.of(x, y)


def test_early_matrices_grow_as_predicted():
    lr, steps = 1e-6, 400
    theory, found = early_theory(lr, steps)
    laws = leading_terms(found.yx, theory.grams)
    assert [law.exponent for law in laws] == [1, 2, 4, 8]
    for a, law in zip(theory.matrices, laws, strict=True):
        predicted = law.coefficient * (lr * steps) ** law.exponent
        # steps of finite length lag behind the flow by about exponent^2 / (2 steps)
        assert float((a - predicted).norm() / predicted.norm()) < law.exponent**2 / steps


def test_a_later_matrix_does_not_grow_as_an_early_one():
    theory, found = early_theory(lr=0.02, steps=3000)
    laws = leading_terms(found.yx, theory.grams)
    assert float(theory.matrices[0].norm() / (laws[0].coefficient * 60).norm()) < 0.5


def test_the_symmetric_part_of_the_second_matrix_is_half_a_square():
    x, y = task()
    gaps = []
    for lr in (0.02, 0.01):
        theory = DeepLinear([torch.randn(n, 3, generator=generator(2), dtype=DOUBLE) / 2 for n in (12, 10)], 9)
        for _ in range(int(4 / lr)):
            theory.step(x, y, lr)
        first, second = theory.matrices[0], theory.matrices[1]
        square = first @ first.t() / 2
        gaps.append(float(((second + second.t()) / 2 - square).norm() / square.norm()))
    # exact in continuous time: the gap is of the order of the step
    assert gaps[1] < 0.02
    assert gaps[0] / gaps[1] == pytest.approx(2, rel=0.1)


def test_feedback_must_be_for_one_error():
    for bad in ([], [torch.zeros(4, 2), torch.zeros(4, 3)]):
        with pytest.raises(NeurofaError, match="same o"):
            DeepLinear(bad, 5)


def test_structured_labels_have_their_covariance():
    _, y = structured_task(40000, 2, 0.5, 0.4, generator(3))
    wanted = label_covariance(0.5, 0.4)
    moments = (y[:, :, None] * y[:, None, :]).flatten(1)
    z = (moments.mean(0) - wanted.flatten()) / (moments.std(0) / len(y) ** 0.5)
    assert float(z.abs().max()) < 4
    assert float(((moments.mean(0) - label_covariance(0.5, 0.8).flatten()) / (moments.std(0) / 200)).abs().max()) > 4
    same = structured_task(10, 2, 0.7, 0.0, generator(3))[1]
    assert float((same[:, 1] - 0.7 * same[:, 0]).abs().max()) < 1e-7
    for bad in ((0.0, 0.5), (1.0, 1.5), (-1.0, 0.2)):
        with pytest.raises(NeurofaError, match="alpha"):
            label_covariance(*bad)


@pytest.mark.parametrize(("alpha", "beta", "value"), [(1, 1, 1.00), (1, 0.6, 0.93), (1, 0.2, 0.78), (0.2, 1, 0.735)])
def test_isotropy_of_random_labels_in_many_dimensions(alpha, beta, value):
    assert random_label_isotropy(label_covariance(alpha, beta)) == pytest.approx(value, abs=0.005)


def test_moments_behind_the_prediction():
    """A z-test of E (tr C)^2 / E tr C^2 over draws of S with a spread of input variances."""
    labels = label_covariance(0.6, 0.3)
    variances = torch.tensor([4.0, 1.0, 1.0, 0.25], dtype=DOUBLE)
    d = effective_dimension(variances.diag())
    assert d == pytest.approx(6.25**2 / (16 + 2 + 0.0625))
    root = torch.linalg.cholesky(labels) @ torch.randn(20000, 2, 4, generator=generator(4), dtype=DOUBLE)
    s = root * variances.sqrt()
    c = s @ s.transpose(1, 2)
    trace, square = c.diagonal(dim1=1, dim2=2).sum(1).square(), c.square().sum((1, 2))

    def z(dimension):
        share = 2 * random_label_isotropy(labels, dimension) ** 2
        gap = trace - share * square  # mean zero where the prediction holds
        return abs(float(gap.mean() / (gap.std() / len(gap) ** 0.5)))

    assert z(d) < 4
    assert z(4.0) > 4
    assert z(math.inf) > 4
