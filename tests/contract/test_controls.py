"""The suites bite: each broken part is refused by the check that is meant for it."""

import contextlib
from dataclasses import replace
from functools import cached_property

import pytest
import torch

from hwmodels import registry
from hwmodels.registry import shelves
from neurofa.core.feedback import MatrixFeedback
from neurofa.layers.dense import Dense
from neurofa.rules.dfa import DFA
from neurofa.testing import (
    EXCEPTIONS,
    check_feedback,
    check_layer,
    check_network,
    check_rule,
    feedback_checks,
    layer_checks,
    network_checks,
    rule_checks,
    run_check,
)


@contextlib.contextmanager
def registered(kind, part):
    """The part under the name ``broken`` for a while."""
    registry.parts(kind)
    shelves._PARTS[kind]["broken"] = part
    try:
        yield
    finally:
        del shelves._PARTS[kind]["broken"]


class Hidden(DFA):
    """Draws from the global generator."""

    def deliver(self, name, teaching):
        return super().deliver(name, teaching) * (1 + torch.rand(()))


class Loud(DFA):
    """Delivers an error where there is none."""

    def deliver(self, name, teaching):
        return super().deliver(name, teaching) + 1.0


class Exploding(DFA):
    """Divides by zero."""

    def deliver(self, name, teaching):
        return super().deliver(name, teaching) / 0


class Forgetful(DFA):
    """Keeps its pathway outside of the state dict."""

    def bind(self, plan, gen):
        super().bind(plan, gen)
        self.gain = [torch.rand((), generator=gen) + 1]

    def deliver(self, name, teaching):
        return super().deliver(name, teaching) * self.gain[0]


class Single(DFA):
    """Falls back to float32."""

    def deliver(self, name, teaching):
        return super().deliver(name, teaching).float()


class Partial(DFA):
    """Leaves one hidden layer out."""

    def deliver(self, name, teaching):
        return None if name == "dense1" else super().deliver(name, teaching)


class Boaster(DFA):
    """Declares more than it does."""

    @cached_property
    def declares(self):
        return replace(super().declares, transports="signs")


class Secretive(DFA):
    """Multiplies beside what it tells."""

    def deliver(self, name, teaching):
        teaching.error @ torch.eye(teaching.error.shape[1])
        return super().deliver(name, teaching)


@pytest.mark.sample(6)
@pytest.mark.parametrize(
    ("part", "check"),
    [
        (Secretive, "declares_its_products_on_mlp"),
        (Secretive, "declares_its_products_on_vit"),
        (Hidden, "is_deterministic"),
        (Loud, "zero_error_gives_no_update"),
        (Exploding, "learns_on_mlp"),
        (Forgetful, "pathway_persists"),
        (Single, "works_in_float64"),
        (Partial, "learns_on_mlp"),
        (Boaster, "is_as_declared_on_mlp"),
    ],
)
def test_broken_rule_is_refused(part, check):
    with registered("rule", part):
        with pytest.raises((AssertionError, RuntimeError, ValueError)):
            run_check("rule", "broken", check, dict(rule_checks())[check])
        with pytest.raises((AssertionError, RuntimeError, ValueError)):
            check_rule("broken")


class Doubled(Dense):
    """A closed form that is off by a factor."""

    def pullback(self, view):
        found = super().pullback(view)
        return {**found, "weight": found["weight"].dense() * 2}


class Boasting(Dense):
    """Tells half of its rows."""

    def work(self, shape, *, sends):
        told = super().work(shape, sends=sends)
        return replace(told, maps=tuple(replace(m, rows=m.rows // 2) for m in told.maps))


class InPlace(Dense):
    """Changes its input."""

    def compute(self, params, x, state):
        return super().compute(params, x.mul_(1.0000001), state)


class Transporting(Dense):
    """Returns the error through its own weights, whatever it was given."""

    def input_error(self, view, weights):
        return super().input_error(view, view.params)


class Biased(Dense):
    """A plain module of another map."""

    def module(self):
        plain = super().module()
        next(plain.parameters()).data.add_(1e-3)
        return plain


class Sideways(Dense):
    """A forward-mode derivative that is one per cent too large."""

    def tangent(self, view, dot, moved):
        return super().tangent(view, dot, moved) * 1.01


@pytest.mark.parametrize(
    ("part", "check"),
    [
        (Sideways, "tangent_is_the_adjoint_in_training"),
        (Boasting, "declares_its_products"),
        (Doubled, "matches_autograd_in_training_with_own_weights"),
        (InPlace, "forward_is_pure"),
        (Transporting, "returns_through_other_weights"),
        (Biased, "module_is_the_same_map"),
    ],
)
def test_broken_layer_is_refused(part, check):
    with registered("layer", part):
        with pytest.raises(AssertionError):
            run_check("layer", "broken", check, dict(layer_checks())[check])
        with pytest.raises(AssertionError):
            check_layer("broken")


class Pathway(MatrixFeedback):
    """A pathway with the usual options, to be broken in one place."""

    def __init__(self, *, gain: float = 1.0) -> None:
        super().__init__(gain=gain, distribution="uniform", values="raw", device="digital")


class Weak(Pathway):
    def entries(self, shape, fan, gen):
        return super().entries(shape, fan, gen) * 0.9


class Unsized(Pathway):
    def rows(self, sites, width, outputs, gen):
        self.factors = dict.fromkeys(self.factors, 1.0)
        return super().rows(sites, width, outputs, gen)


class Unseeded(Pathway):
    def entries(self, shape, fan, gen):
        return super().entries(shape, fan, torch.Generator().manual_seed(0))


class Saturating(Pathway):
    def project(self, error, gen=None):
        return super().project(error, gen).tanh()


class Overlapping(Pathway):
    def _open(self, sites, outputs, gen):
        super()._open(sites, outputs, gen)
        self.slices[sites[0].name] = slice(0, sites[0].width - 1)


class Unsaved(Pathway):
    def _open(self, sites, outputs, gen):
        super()._open(sites, outputs, gen)
        kept = self.b
        del self.b
        self.__dict__["b"] = kept

    def project(self, error, gen=None):
        return error @ self.__dict__["b"].read(gen)


@pytest.mark.parametrize(
    ("part", "check"),
    [
        (Weak, "gain_is_as_declared"),
        (Unsized, "delivers_the_size_of_the_plan"),
        (Unseeded, "seed_decides"),
        (Saturating, "is_linear"),
        (Overlapping, "slices_fit"),
        (Unsaved, "copies_and_persists"),
    ],
)
def test_broken_feedback_is_refused(part, check):
    with registered("feedback", part):
        with pytest.raises((AssertionError, RuntimeError)):
            run_check("feedback", "broken", check, dict(feedback_checks())[check])
        with pytest.raises((AssertionError, RuntimeError)):
            check_feedback("broken")


def test_broken_network_is_refused():
    good = registry.find("network", "mlp")

    def unseeded(*, input_shape, outputs, seed=0, device="digital"):
        """A perceptron that ignores its seed."""
        return good().build(input_shape=input_shape, outputs=outputs, seed=0, device=device)

    with registered("network", unseeded):
        with pytest.raises(AssertionError, match="do not depend on the seed"):
            run_check("network", "broken", "seed_decides", dict(network_checks())["seed_decides"])
        with pytest.raises(AssertionError):
            check_network("broken")


def test_an_exception_that_is_none_is_refused(monkeypatch):
    monkeypatch.setitem(EXCEPTIONS, ("rule", "dfa", "refuses_nan"), "no reason")
    with pytest.raises(AssertionError, match="remove it"):
        check_rule("dfa")


@pytest.mark.parametrize(
    ("check", "name"), [(check_rule, "dfa"), (check_layer, "dense"), (check_feedback, "dense"), (check_network, "mlp")]
)
def test_whole_suites_pass_on_good_parts(check, name):
    check(name)


def test_every_exception_names_what_exists():
    suites = {
        "rule": rule_checks,
        "layer": layer_checks,
        "feedback": feedback_checks,
        "network": network_checks,
    }
    for (kind, part, check), reason in EXCEPTIONS.items():
        assert part in registry.parts(kind)
        assert check in dict(suites[kind]())
        assert reason
