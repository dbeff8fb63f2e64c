"""The typed API: every part is importable from its shelf by name, and says the spec that builds it again."""

from __future__ import annotations

import copy
import importlib
import json
import pickle
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from typing_extensions import assert_type

import hwmodels.devices
import hwmodels.formats
import hwmodels.projections
import neurofa.feedbacks
import neurofa.layers
import neurofa.networks
import neurofa.neurons
import neurofa.rules
from experiments.runs.spec import RunSpec
from hwmodels.devices import Digital, Fixed, Stuck, worn
from hwmodels.errors import NeurofaError
from hwmodels.formats import Ternary
from hwmodels.projections import OPU
from hwmodels.registry import Recipe, Registered, build, kinds, parts, shelves
from neurofa import Learner, Network
from neurofa.feedbacks import ProjectedFeedback, SparseFeedback
from neurofa.layers import Block, Dense
from neurofa.maps.activations import Tanh
from neurofa.networks import MLP, SNN
from neurofa.neurons import LIF
from neurofa.rules import DFA, eprop, sdfa

PACKAGES = sorted({home for home in shelves._SHELVES.values() if hasattr(importlib.import_module(home), "__path__")})
PACKAGES.remove("experiments.speed.suites")  # suites are run by name only
NAMED = [(kind, name) for kind in kinds() for name in parts(kind)]


def built(kind, name):
    """A part with default options; None where the kind is no class of parts, or needs the sizes of data."""
    if kind in ("data", "optimizer", "schedule", "nonlinearity"):
        return None
    part = parts(kind)[name]
    return part() if kind == "network" else build(kind, name)


@pytest.mark.parametrize("package", PACKAGES)
def test_every_part_of_a_shelf_is_importable_by_name(package):
    shelf = importlib.import_module(package)
    for kind in shelves.kinds_of(package):
        for part in parts(kind).values():
            if part.__module__.startswith(f"{package}."):
                assert getattr(shelf, part.__name__) is part
                assert part.__name__ in dir(shelf)


def test_a_new_file_on_a_shelf_needs_no_other_change(tmp_path, monkeypatch):
    (tmp_path / "halved.py").write_text(
        "from neurofa.core.rule import Direct\n"
        "class HalvedDFA(Direct, name='halved_dfa'):\n"
        "    '''Half the error.'''\n"
        "    def signal(self, teaching):\n"
        "        return teaching.error / 2\n"
    )
    monkeypatch.setattr(neurofa.rules, "__path__", [*neurofa.rules.__path__, str(tmp_path)])
    monkeypatch.setattr(shelves, "_LOADED", shelves._LOADED - {"rule"})
    monkeypatch.setattr(shelves, "_PARTS", {kind: dict(known) for kind, known in shelves._PARTS.items()})
    from neurofa.rules import HalvedDFA

    assert repr(HalvedDFA(error="sign")) == "halved_dfa(error=sign)"
    assert "HalvedDFA" in dir(neurofa.rules)
    sys.modules.pop("neurofa.rules.halved")


def test_an_unknown_name_is_refused_with_the_nearest_one():
    with pytest.raises(AttributeError, match="has no attribute 'MPL'; did you mean 'MLP'"):
        neurofa.networks.MPL  # noqa: B018
    with pytest.raises(ImportError):
        from neurofa.rules import NoSuchRule  # noqa: F401


@pytest.mark.long
def test_what_is_registered_does_not_depend_on_earlier_imports():
    code = (
        "import json\n"
        "from hwmodels.registry import parts\n"
        "print(json.dumps({kind: list(parts(kind)) for kind in ('rule', 'data')}))"
    )
    answer = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True)
    found = json.loads(answer.stdout)
    assert found == {"rule": list(parts("rule")), "data": list(parts("data"))}
    assert {"dfa", "sdfa", "bp"} <= set(found["rule"])
    assert {"digits", "encoded"} <= set(found["data"])


@pytest.mark.long
def test_importing_neurofa_loads_no_heavy_library():
    heavy = ["h5py", "matplotlib", "onnx", "pandas", "scipy", "sklearn", "typer"]
    code = f"import sys, neurofa, hwmodels; print([name for name in {heavy} if name in sys.modules])"
    answer = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


@pytest.mark.parametrize(("kind", "name"), NAMED)
def test_a_part_says_the_spec_that_builds_it_again(kind, name):
    part = built(kind, name)
    if part is None:
        return
    assert isinstance(part, Registered)
    assert repr(part) == str(part) == str(part.spec)
    assert repr(copy.deepcopy(part)) == repr(part)
    for spec in (part.spec, part.full_spec, part.given):
        again = parts(kind)[spec.name](**spec.options) if kind == "network" else build(kind, str(spec))
        assert type(again) is type(part)
        assert again.full_spec == part.full_spec


@pytest.mark.parametrize(
    ("part", "text"),
    [
        (Fixed(bits=4), "fixed(bits=4)"),
        (Fixed(bits=8, range=None), "fixed"),
        (Stuck(device=Fixed(bits=4), low=0.5), "stuck(device=fixed(bits=4), low=0.5)"),
        (Stuck(device="fixed( bits = 4 )"), "stuck(device=fixed(bits=4))"),
        (Stuck(device=Digital()), "stuck"),
        (worn(endurance=1e999), "wear(endurance=1e999)"),
        (DFA(), "dfa"),
        (DFA(error="ternary"), "dfa(error=ternary)"),
        (
            DFA(error=Ternary(), feedback=SparseFeedback(density=0.2)),
            "dfa(feedback=sparse(density=0.2), error=ternary)",
        ),
        (DFA(feedback=ProjectedFeedback(projection=OPU(error="sign"))), "dfa(feedback=opu(error=sign))"),
        (DFA(frozen=["dense0"]), "dfa(frozen=[dense0])"),
        (sdfa(), "sdfa"),
        (eprop(filtered=False, feedback="sparse"), "eprop(feedback=sparse, filtered=False)"),
        (Dense(4, 3), "dense(n_in=4, n_out=3)"),
        (Dense(4, 5, activation=Tanh(), bias=False), "dense(n_in=4, n_out=5, activation=tanh, bias=False)"),
        (LIF(beta=0.5, surrogate="triangular(width=2)"), "lif(beta=0.5, surrogate=triangular(width=2))"),
        (MLP(hidden=[800, 800]), "mlp(hidden=[800, 800])"),
        (MLP(hidden=(256, 256)), "mlp"),
        (SNN(neuron=LIF(beta=0.5), recurrent=True), "snn(neuron=lif(beta=0.5), recurrent=True)"),
    ],
)
def test_repr_is_the_spec(part, text):
    assert repr(part) == text
    if not isinstance(part, Recipe):
        assert repr(build(part.kind, text)) == text
    assert repr(copy.deepcopy(part)) == text
    assert repr(pickle.loads(pickle.dumps(part))) == text


def test_changed_copies_of_a_part_say_what_was_changed():
    assert repr(replace(Fixed(bits=4), rounding="nearest")) == "fixed(bits=4, rounding=nearest)"
    assert repr(replace(MLP(hidden=[8]), bias=False)) == "mlp(hidden=[8], bias=False)"


def test_full_specs_write_every_option_of_the_parts_inside():
    stuck = Stuck(device=Fixed(bits=4), low=0.5)
    inside = "fixed(bits=4, range=None, headroom=None, rounding=stochastic)"
    assert str(stuck.full_spec) == f"stuck(device={inside}, low=0.5, high=0.0904, range=None)"
    assert build("device", str(stuck.full_spec)) == stuck


def test_given_specs_keep_options_that_equal_their_defaults():
    assert str(Fixed(rounding="stochastic", bits=8).given) == "fixed(rounding=stochastic, bits=8)"


def test_options_that_no_spec_can_hold_are_named_and_not_kept():
    module = torch.nn.Linear(3, 2)
    block = Block(module)
    assert repr(block) == "block(wrapped=<Linear>)"
    assert module not in vars(block).values()
    with pytest.raises(NeurofaError, match=r"got block\(wrapped=<Linear>\) with a Linear for a spec; expected numbers"):
        block.spec  # noqa: B018


def test_a_part_without_options_takes_no_arguments():
    with pytest.raises(TypeError, match=r"Tanh\(\) takes no arguments"):
        Tanh(3)


def test_parts_of_another_kind_are_refused():
    with pytest.raises(NeurofaError, match="got format ternary for a device; expected a device or its spec"):
        build("device", Ternary())


def test_typed_parts_serve_wherever_specs_do():
    by_text = build("network", "mlp(hidden=[5])", input_shape=(4,), outputs=3, seed=1, device="fixed(bits=6)")
    typed = build("network", MLP(hidden=[5]), input_shape=(4,), outputs=3, seed=1, device=Fixed(bits=6))
    direct = MLP(hidden=[5]).build(input_shape=(4,), outputs=3, seed=1, device=Fixed(bits=6))
    for network in (typed, direct):
        assert network.spec == by_text.spec == "mlp(hidden=[5])"
        for (key, value), (other_key, other) in zip(
            network.state_dict().items(), by_text.state_dict().items(), strict=True
        ):
            assert key == other_key
            assert torch.equal(value, other)
    learner = Learner(typed, DFA(error="ternary"), optimizer=torch.optim.SGD(typed.parameters(), lr=0.1))
    assert repr(learner).startswith(
        "rule dfa(error=ternary), optimizer SGD(lr=0.1), loss cross_entropy\n"
        "feedback scale backprop: errors of 0.46 of the output error\nmlp(hidden=[5])"
    )
    typed_run = RunSpec(network=MLP(hidden=[5]), rule=DFA(error="ternary"), device=Fixed(bits=6))
    assert typed_run == RunSpec(network="mlp(hidden=[5])", rule="dfa(error=ternary)", device="fixed(bits=6)")


def test_a_recipe_without_the_sizes_of_data_is_refused():
    with pytest.raises(NeurofaError, match="got network mlp without 'outputs'; expected build"):
        build("network", MLP(), input_shape=(4,))


def test_recipes_are_values():
    assert MLP(hidden=[5], activation="tanh") == MLP(hidden=(5,), activation=Tanh())
    assert len({MLP(), MLP(hidden=[256, 256]), MLP(hidden=[5])}) == 2
    with pytest.raises(NeurofaError, match="got hidden=0; expected at least 1"):
        MLP(hidden=[4, 0])


def test_type_checkers_know_the_api() -> None:
    assert_type(DFA(error="ternary"), DFA)
    assert_type(sdfa(), DFA)
    assert_type(hwmodels.devices.Fixed(bits=4), Fixed)
    assert_type(hwmodels.formats.Ternary(), Ternary)
    assert_type(hwmodels.projections.OPU(), OPU)
    assert_type(neurofa.feedbacks.SparseFeedback(), SparseFeedback)
    assert_type(neurofa.layers.Dense(4, 3), Dense)
    assert_type(neurofa.neurons.LIF(), LIF)
    assert_type(neurofa.networks.MLP(hidden=[100]), MLP)
    assert_type(MLP().build(input_shape=(4,), outputs=3), Network)
