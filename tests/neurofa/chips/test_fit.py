"""Chip profiles: their figures, the parts that they choose, the form of their rates, and a judge for every limit."""

from __future__ import annotations

import math
from dataclasses import FrozenInstanceError, fields, replace

import pytest
import torch

from hwmodels import build, parts
from hwmodels.errors import NeurofaError
from hwmodels.profile import Profile
from neurofa import Learner
from neurofa.chips.fit import _LIMITS, check_limits
from neurofa.chips.requirements import requirements_of
from neurofa.costs.memory import optimizer_state

NAMES = list(parts("profile"))


def learner(
    rule="dfa",
    network="mlp(hidden=[12, 10])",
    device="digital",
    shape=(8,),
    outputs=4,
    optimizer=None,
    periphery="exact",
):
    net = build("network", network, input_shape=shape, outputs=outputs, seed=0, device=device, periphery=periphery)
    make = optimizer or (lambda p: torch.optim.SGD(p, lr=0.0625))
    return Learner(net, rule, optimizer=make(net.parameters()))


def verdicts(profile, asked):
    return {finding.title: finding.verdict for finding in check_limits(build("profile", profile), asked)}


def one(profile, limit, asked):
    return next(f for f in check_limits(build("profile", profile), asked) if f.limit == limit)


# the profiles


def test_all_chips_are_there():
    assert set(NAMES) >= {"loihi1", "reckon", "odin", "brainscales2", "spinnaker2", "opu", "microring_bank", "rpu"}


@pytest.mark.parametrize("name", NAMES)
def test_a_profile_says_where_every_figure_is_from(name):
    profile = build("profile", name)
    assert profile.source
    assert profile.verified in ("read", "second-hand", "remembered")
    assert type(profile).__doc__
    known = {f.name for f in fields(Profile) if getattr(profile, f.name) not in (None, ())}
    assert known <= set(profile.limits), "a figure that no check would show"
    assert len(set(profile.limits)) == len(profile.limits)
    for limit, mark in profile.marks.items():
        assert limit in profile.limits
        assert getattr(profile, limit) is not None
        assert mark in ("second-hand", "remembered", "inferred")
    assert set(profile.limits) <= set(_LIMITS)
    with pytest.raises(FrozenInstanceError):
        profile.weight_bits = 3


# facts, written down a second time
FIGURES = {
    "loihi1": {
        "weight_bits": 9,
        "accumulator_bits": 16,
        "rate_bits": 4,
        "trace_bits": 7,
        "fraction_bits": 7,
        "rounding": "stochastic",
    },
    "reckon": {
        "weight_bits": 8,
        "inputs": 256,
        "hidden_layers": 1,
        "layer_width": 256,
        "outputs": 16,
        "trace_bits": 12,
        "membrane_bits": 16,
        "surrogate_segments": 5,
        "largest_step": 1,
        "error_bits": 16,
        "rate_bits": 1,
    },
    "odin": {
        "weight_bits": 4,
        "neurons": 256,
        "synapses": 65536,
        "membrane_bits": 8,
        "error_path": "none",
        "weight_sign": "source",
        "largest_step": 1,
    },
    "brainscales2": {"weight_bits": 7, "input_bits": 5, "output_bits": 8},
    "spinnaker2": {"arithmetic_bits": (8, 16, 32), "error_path": "chained"},
    "opu": {"projection_inputs": 1039680, "projection_outputs": 2073600, "projection_claimed": 10**6},
    "rpu": {"memory": "gokmen_vlasov", "pulses": 31},
}


@pytest.mark.parametrize("name", FIGURES)
def test_figures_are_those_of_the_sources(name):
    profile = build("profile", name)
    assert {key: getattr(profile, key) for key in FIGURES[name]} == FIGURES[name]


def test_remembered_figures_are_called_so():
    ring = build("profile", "microring_bank")
    assert ring.verified == "remembered"
    assert (ring.projection_outputs, ring.projection_inputs) == (50, 20)
    assert round(ring.detector_bits, 2) == 4.35
    assert round(build("profile", "microring_bank(sigma=0.202)").detector_bits, 2) == 3.31
    brain = build("profile", "brainscales2")
    assert {brain.marks[key] for key in ("input_bits", "output_bits", "trace_bits", "error_path")} == {"remembered"}
    findings = check_limits(ring, requirements_of(learner()))
    assert all(f.mark == "remembered" for f in findings if f.verdict != "not known")


# the parts that they choose


@pytest.mark.parametrize("name", NAMES)
def test_the_chosen_parts_can_be_built(name):
    profile = build("profile", name)
    for kind, spec in (
        ("device", profile.device()),
        ("periphery", profile.periphery()),
        ("format", profile.error()),
        ("feedback", profile.feedback),
    ):
        if spec is not None:
            assert build(kind, spec).kind == kind


def test_the_chosen_words_have_the_codes_of_the_chip():
    top = {name: build("device", build("profile", name).device()) for name in ("brainscales2", "loihi1", "reckon")}
    assert top["brainscales2"].top == 63
    assert top["loihi1"].inner.top == 255
    assert top["loihi1"].fraction == 7
    assert (top["reckon"].inner.top, top["reckon"].most, top["reckon"].fraction) == (127, 1, None)
    changed = build("device", build("profile", "loihi1(weight_bits=6)").device())
    assert (changed.inner.bits, changed.fraction) == (6, 10)
    rpu = build("device", build("profile", "rpu").device())
    assert (rpu.inner.name, rpu.slots) == ("gokmen_vlasov", 31)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("loihi1(weight_bits=1)", "weight_bits=1"),
        ("loihi1(weight_bits=0)", "weight_bits=0"),
        ("loihi1(accumulator_bits=8)", "at least weight_bits=9"),
        ("loihi1(rounding=up)", "nearest or stochastic"),
        ("loihi1(error_path=sideways)", "none or direct or chained"),
        ("loihi1(neurons=-3)", "neurons=-3"),
        ("spinnaker2(arithmetic_bits=[8, 0])", "arithmetic_bits"),
        ("microring_bank(sigma=0)", "sigma=0"),
        ("loihi1(colour=3)", "option 'colour'"),
        ("loihi", "did you mean 'loihi1'"),
    ],
)
def test_wrong_constants_are_refused(spec, words):
    with pytest.raises(NeurofaError, match=words.replace("(", r"\(")):
        build("profile", spec)


# m 2^-k


@pytest.mark.parametrize(
    ("bits", "rate", "below"),
    [
        (4, 0.1, 12 / 128),  # 12.8 / 128
        (4, 1.0, 1.0),
        (4, 15.0, 15.0),
        (4, 15.9, 15.0),
        (4, 16.0, 16.0),
        (4, 17.0, 16.0),
        (4, 0.003125, 12 / 4096),  # 12.8 / 4096
        (1, 0.1, 1 / 16),
        (1, 0.125, 0.125),
        (1, 0.1249999, 1 / 16),
        (None, 0.1, 0.1),
    ],
)
def test_rates_are_rounded_down_to_the_form(bits, rate, below):
    assert build("profile", f"loihi1(rate_bits={bits})").rate_below(rate) == below


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_no_rate_of_the_form_lies_between(bits):
    profile = build("profile", f"loihi1(rate_bits={bits})")
    form = sorted({m * 2.0**-k for k in range(-4, 24) for m in range(1, 2**bits)})
    gen = torch.Generator().manual_seed(0)
    rates = torch.exp(torch.empty(500, dtype=torch.float64).uniform_(-9, 2, generator=gen)).tolist()
    for rate in rates:
        below = profile.rate_below(rate)
        assert below == max(f for f in form if f <= rate)
        assert profile.rate_below(below) == below
        assert below > rate * (1 - 2.0 ** (1 - bits)) or bits == 1
    # control: these rates are hardly ever of the form themselves
    assert sum(profile.rate_below(rate) == rate for rate in rates) == 0


def test_a_rate_that_is_none_is_refused():
    for rate in (0.0, -0.1, math.inf, math.nan):
        with pytest.raises(NeurofaError, match="positive number"):
            build("profile", "loihi1").rate_below(rate)


# what a learner asks for


def test_sizes_are_counted():
    asked = requirements_of(learner(), batch_size=32)
    assert (asked.inputs, asked.widths, asked.hidden) == (8, (12, 10, 4), (12, 10))
    assert asked.synapses == 8 * 12 + 12 * 10 + 10 * 4
    assert asked.fan_in == 12
    assert asked.matrix == (4, 22)
    assert requirements_of(learner("dfa(feedback=shared)")).matrix == (4, 12)
    assert (asked.batch, asked.rates, asked.dtype_bits) == (32, (0.0625,), 32)


def test_kernels_are_counted_at_every_position():
    subject = learner(network="cnn", shape=(1, 12, 12))
    by_hand, fan_in = 0, 0
    for name, layer in subject.network.items():
        if layer.synapses:
            weight = layer.synapses.stored()["weight"]
            positions = math.prod(subject.network.shapes[name][1:])
            by_hand += weight.numel() * positions
            fan_in = max(fan_in, weight[0].numel())
    asked = requirements_of(subject)
    assert asked.synapses == by_hand
    assert asked.fan_in == fan_in
    stored = sum(p.numel() for name, p in subject.network.named_parameters() if name.endswith("weight"))
    assert asked.synapses > stored  # control: counting the kernels once is less


@pytest.mark.parametrize(
    ("rule", "hidden", "path", "weights"),
    [
        ("dfa", [6, 6], "direct", "own"),
        ("drtp", [6, 6], "direct", "own"),
        ("fa", [6, 6], "chained", "own"),
        ("fa", [6], "direct", "own"),
        ("usf", [6, 6], "chained", "signs"),
        ("bp", [6, 6], "chained", "forward"),
        ("bp", [6], "direct", "readout"),
        ("readout_only", [6, 6], "readout", "none"),
    ],
)
def test_the_way_of_the_error(rule, hidden, path, weights):
    asked = requirements_of(learner(rule, f"mlp(hidden={hidden})"))
    assert (asked.path, asked.feedback_weights) == (path, weights)


@pytest.mark.parametrize(
    ("make", "state"),
    [
        (lambda p: torch.optim.SGD(p, lr=0.1), 0),
        (lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9), 1),
        (lambda p: torch.optim.Adam(p, lr=0.1), 2),
        (lambda p: torch.optim.AdamW(p, lr=0.1, amsgrad=True), 3),
        (lambda p: torch.optim.RMSprop(p, lr=0.1), 1),
        (lambda p: torch.optim.Adagrad(p, lr=0.1), 1),
    ],
)
def test_learning_state_is_counted_without_touching_the_optimizer(make, state):
    weight = torch.nn.Parameter(torch.randn(3, 2))
    optimizer = make([weight])
    before = weight.detach().clone()
    kept = str(optimizer.state_dict())
    assert optimizer_state(optimizer) == state
    assert torch.equal(weight, before)
    assert weight.grad is None
    assert str(optimizer.state_dict()) == kept


def test_an_optimizer_with_a_scheduler_is_not_stepped():
    weight = torch.nn.Parameter(torch.ones(3, 2))
    optimizer = torch.optim.SGD([weight], lr=0.1, momentum=0.9, weight_decay=0.5)
    torch.optim.lr_scheduler.StepLR(optimizer, 1)
    weight.grad = torch.ones(3, 2)
    assert optimizer_state(optimizer) == 1
    assert torch.equal(weight.detach(), torch.ones(3, 2))
    assert not optimizer.state
    optimizer.step()  # control: a step would be seen
    assert not torch.equal(weight.detach(), torch.ones(3, 2))


@pytest.mark.parametrize(
    ("rule", "activation", "pieces"),
    [
        ("dfa", "relu", 2),
        ("dfa", "leaky_relu", 2),
        ("dfa", "identity", 1),
        ("dfa", "tanh", math.inf),
        ("dfa", "gelu", math.inf),
        ("adfa(g=step)", "tanh", 2),
        ("adfa(g=one)", "tanh", 1),
        ("adfa(g=bell)", "relu", math.inf),
    ],
)
def test_pieces_of_the_derivative(rule, activation, pieces):
    asked = requirements_of(learner(rule, f"mlp(hidden=[6], activation={activation})"))
    assert list(asked.derivatives.values()) == [pieces]


def test_blocks_have_a_smooth_derivative_and_devices_inside_devices_are_found():
    asked = requirements_of(learner(network="vit", shape=(3, 32, 32)))
    assert math.inf in asked.derivatives.values()
    (found,) = requirements_of(learner(device="stuck(device=update_engine(device=fixed(bits=5)))")).devices
    assert (found.element, found.word_bits, found.fraction_bits) == ("fixed", 5, 7)


# the judges


ON_LOIHI = {"rule": "dfa(error=uniform(bits=8))", "device": "update_engine(device=fixed(bits=9))"}
ON_RECKON = {
    "rule": "bp",
    "network": "mlp(hidden=[12], activation=relu)",
    "device": "update_engine(device=fixed(bits=8), fraction=None, most=1)",
}
ON_OPU = {"rule": "dfa(feedback=opu)"}
ON_BRAINSCALES2 = {"device": "fixed(bits=7)", "periphery": "periphery(in_bits=5, out_bits=8)"}
ON_RPU = {"device": "pulse_trains(device=gokmen_vlasov)"}
MOMENTUM = {"optimizer": lambda p: torch.optim.SGD(p, lr=0.0625, momentum=0.9)}
ADAM = {"optimizer": lambda p: torch.optim.Adam(p, lr=0.0625)}
BREAKS = [
    ("loihi1", ON_LOIHI, "weight_bits", {"device": "update_engine(device=fixed(bits=10), fraction=6)"}, "1 bit"),
    ("loihi1", ON_LOIHI, "rounding", {"device": "update_engine(device=fixed(bits=9, rounding=nearest))"}, "another"),
    ("loihi1", ON_LOIHI, "accumulator_bits", {"device": "update_engine(device=fixed(bits=9), fraction=9)"}, "2 bit"),
    ("loihi1", ON_LOIHI, "accumulator_bits", {"device": "fixed(bits=9)"}, "finer than 16 bit"),
    ("loihi1", ON_LOIHI, "rate_bits", {"optimizer": lambda p: torch.optim.SGD(p, lr=0.1)}, "6.67% above 0.09375"),
    ("loihi1", ON_LOIHI, "synapse_state", ADAM, "2 times"),
    ("loihi1", ON_LOIHI, "error_path", {"rule": "fa(error=uniform(bits=8))"}, "from layer to layer"),
    ("loihi1", ON_LOIHI, "error_bits", {"rule": "dfa(error=uniform(bits=10))"}, "2 bit"),
    ("loihi1", ON_LOIHI, "error_bits", {"rule": "dfa"}, "24 bit"),
    ("loihi1(neurons=26)", ON_LOIHI, "neurons", {"network": "mlp(hidden=[12, 11])"}, "1.038 times"),
    ("loihi1(synapses=256)", ON_LOIHI, "synapses", {"shape": (9,)}, "1.047 times"),
    ("loihi1(fan_in=12)", ON_LOIHI, "fan_in", {"network": "mlp(hidden=[24, 10])"}, "2 times"),
    ("reckon", ON_RECKON, "largest_step", {"device": "update_engine(device=fixed(bits=8), fraction=None)"}, "no limit"),
    ("reckon", ON_RECKON, "largest_step", {"device": "update_engine(device=fixed(bits=8), most=3)"}, "3 times"),
    ("reckon", ON_RECKON, "synapse_state", MOMENTUM, "1 more"),
    ("reckon", ON_RECKON, "feedback_weights", {"rule": "dfa(error=uniform(bits=16))"}, "not those of the readout"),
    ("reckon", ON_RECKON, "inputs", {"shape": (257,)}, "1.004 times"),
    ("reckon", ON_RECKON, "layer_width", {"network": "mlp(hidden=[512], activation=relu)"}, "2 times"),
    ("reckon", ON_RECKON, "outputs", {"outputs": 17}, "1.062 times"),
    ("reckon", ON_RECKON, "surrogate_segments", {"network": "mlp(hidden=[12])"}, "not constant by pieces"),
    ("opu", ON_OPU, "feedback", {"rule": "dfa(error=ternary)"}, "another pathway"),
    ("opu", ON_OPU, "detector_bits", {"rule": "dfa(feedback=opu(camera=camera(bits=12)))"}, "4 bit"),
    ("opu(projection_inputs=4)", ON_OPU, "projection_inputs", {"outputs": 5}, "1.25 times"),
    ("opu(projection_outputs=22)", ON_OPU, "projection_outputs", {"network": "mlp(hidden=[22, 22])"}, "2 times"),
    ("opu(projection_claimed=22)", ON_OPU, "projection_claimed", {"network": "mlp(hidden=[22, 22])"}, "2 times"),
    (
        "microring_bank",
        {"rule": "dfa(feedback=microring)"},
        "detector_bits",
        {"rule": "dfa(feedback=microring(sigma=0.049))"},
        "1 bit",
    ),
    ("brainscales2", ON_BRAINSCALES2, "input_bits", {"periphery": "periphery(in_bits=7, out_bits=8)"}, "2 bit"),
    ("brainscales2", ON_BRAINSCALES2, "output_bits", {"periphery": "periphery(in_bits=5, out_bits=9)"}, "1 bit"),
    ("brainscales2", ON_BRAINSCALES2, "input_bits", {"periphery": "exact"}, "27 bit"),
    ("rpu", ON_RPU, "memory", {"device": "pulse_trains(device=ecram)"}, "another memory"),
    ("rpu", ON_RPU, "pulses", {"device": "pulse_trains(device=gokmen_vlasov, slots=62)"}, "2 times"),
    ("rpu", ON_RPU, "pulses", {"device": "gokmen_vlasov"}, "no train is played"),
]


@pytest.mark.parametrize(("profile", "fits", "limit", "change", "excess"), BREAKS)
def test_a_limit_holds_until_it_is_broken(profile, fits, limit, change, excess):
    before = check_limits(build("profile", profile), requirements_of(learner(**fits)))
    assert "broken" not in {f.verdict for f in before}
    after = check_limits(build("profile", profile), requirements_of(learner(**{**fits, **change})))
    found = [f for f in after if f.limit == limit]
    assert found[0].verdict == "broken"
    assert excess in found[0].excess
    assert {f.verdict for f in before if f.limit == limit} & {"holds", "not simulated"}
    for f in after:  # what is told to be broken says by how much, and nothing else does
        assert bool(f.excess) == (f.verdict == "broken")


def test_two_hidden_layers_are_too_many_and_a_longer_chain_too():
    asked = requirements_of(learner(**{**ON_RECKON, "network": "mlp(hidden=[12, 12], activation=relu)"}))
    broken = {f.limit: f.excess for f in check_limits(build("profile", "reckon"), asked) if f.verdict == "broken"}
    assert broken == {
        "hidden_layers": "2 times",
        "error_path": "from layer to layer",
        "feedback_weights": "not those of the readout",
    }


def test_samples_in_an_update_are_batch_times_accumulated():
    subject = learner(**ON_LOIHI)
    assert one("loihi1", "batch", requirements_of(subject)).verdict == "holds"
    assert one("loihi1", "batch", requirements_of(subject, batch_size=32)).excess == "32 times"
    subject.accumulate = 3
    assert one("loihi1", "batch", requirements_of(subject)).excess == "3 times"


def test_every_rate_of_a_schedule_counts():
    asked = requirements_of(learner(**ON_LOIHI), rates=(0.0625, 0.09375, 0.0))
    assert one("loihi1", "rate_bits", asked).verdict == "holds"
    off = replace(asked, rates=(0.0625, 0.0620))
    assert one("loihi1", "rate_bits", off).verdict == "broken"
    assert "0.062 is" in one("loihi1", "rate_bits", off).excess


def test_signs_of_sources_are_counted():
    subject = learner()
    mixed = one("odin", "weight_sign", requirements_of(subject))
    assert mixed.verdict == "broken"
    for p in subject.network.parameters():
        if p.dim() > 1:
            p.data.abs_().mul_(torch.where(torch.arange(p.shape[1]) % 2 == 0, 1.0, -1.0))
    assert one("odin", "weight_sign", requirements_of(subject)).verdict == "holds"
    with torch.no_grad():
        subject.network.layer("dense0").synapses["weight"].weight[0, 0] *= -1
    assert one("odin", "weight_sign", requirements_of(subject)).excess == "1 of 30 sources have both"


@pytest.mark.parametrize("rule", ["dfa", "bp", "drtp", "readout_only"])
def test_no_rule_fits_a_chip_that_takes_no_error(rule):
    finding = one("odin", "error_path", requirements_of(learner(rule)))
    assert (finding.verdict, finding.excess) == ("broken", "no error can enter")
    assert one("spinnaker2", "error_path", requirements_of(learner(rule))).verdict == "holds"


def test_what_is_not_known_not_applicable_or_not_simulated_is_said_and_not_counted():
    asked = requirements_of(learner(**ON_LOIHI))
    found = verdicts("loihi1", asked)
    assert found["neurons"] == found["feedback weights"] == "not known"
    assert found["width of a trace, bit"] == "not applicable"
    assert found["width of the error at the readout, bit"] == "not simulated"
    assert verdicts("brainscales2", asked)["width of the arithmetic, bit"] == "not simulated"
    trace = one("loihi1", "trace_bits", asked)
    assert (trace.chip, trace.needed) == ("7", "no spiking layer")
    for f in check_limits(build("profile", "loihi1"), asked):
        if f.verdict == "not known":
            assert (f.chip, f.needed, f.mark) == ("not known", "", "")


def test_analog_states_are_no_words():
    for device in ("gokmen_vlasov", "pcm"):
        assert one("loihi1", "weight_bits", requirements_of(learner(device=device))).excess == "no words"
    assert one("loihi1", "weight_bits", requirements_of(learner(device="gaussian"))).excess == "23 bit"


def test_an_accumulator_beside_every_weight_is_learning_state() -> None:
    word = "update_engine(device=fixed(bits=9, rounding=stochastic))"
    states = []
    for device in (word, f"mixed_precision(device={word}, threshold=0.1)", "tiki_taka_v2"):
        network = build("network", "mlp(hidden=[4])", input_shape=(3,), outputs=2, device=device)
        optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
        states.append(requirements_of(Learner(network, "dfa", optimizer=optimizer)).state)
    assert states == [0, 1, 1]
