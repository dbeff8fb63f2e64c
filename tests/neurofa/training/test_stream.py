"""Learning from sequences: nothing comes from later ticks or from other layers, and what cannot be is refused."""

from functools import partial

import pytest
import torch

from experiments.runs.spec import RunSpec
from hwmodels.errors import NeurofaError
from hwmodels.registry import build
from neurofa import Dense, Learner, Network
from neurofa.audit.poison import nan, poisoned, weights_of
from neurofa.core.directions import dense
from neurofa.core.events import Events
from neurofa.core.randomness import generator
from neurofa.layers.spiking import Spiking
from neurofa.spiking.sequence import CHUNK, initial_states
from neurofa.training import chunk_size as chosen
from neurofa.training.chunk_size import chunk_size
from neurofa.training.evaluation import respond
from neurofa.training.learner import assign, forward_pass, loss_and_teaching
from neurofa.training.replay import copied_return_weights, record

LABELS = torch.tensor([0, 2, 1, 2])
SPEC = "snn(hidden=[7, 6], recurrent=True)"
LOCAL = ["dfa", "drtp", "eprop", "erbp", "stllr", "decolle", "fa", "eprop_adaptive"]
FINITE = "reram_es"


def sgd(params, **options):
    return torch.optim.SGD(params, **{"lr": 0.2, **options})


def learner(rule="eprop", spec=SPEC, *, optimizer=sgd, device="digital", shape=(6,), options=None, **learning):
    network = build("network", spec, input_shape=shape, outputs=3, device=device)
    with torch.no_grad():
        for name, layer in network.items():
            for key, weight in layer.synapses.stored().items():
                if name != network.readout and device == "digital" and key != "recurrent":
                    weight.mul_(4.0)
    return Learner(network, rule, optimizer=optimizer(network.parameters(), **(options or {})), **learning)


def given(ticks=12):
    return (torch.rand(ticks, 4, 6, generator=generator(0, "spikes")) < 0.35).float()


def weights(made):
    return {key: value.detach().clone() for key, value in made.network.named_parameters()}


def same(ours, theirs):
    return all(torch.equal(ours[key], value) for key, value in theirs.items())


def near(ours, theirs, tolerance=1e-6):
    return all(torch.allclose(ours[key], value, atol=tolerance, rtol=tolerance) for key, value in theirs.items())


@pytest.mark.sample(9)
@pytest.mark.parametrize("update", ["chunk", "tick"])
@pytest.mark.parametrize("rule", [*LOCAL, "eprop_symmetric", "bptt"])
def test_later_ticks_reach_no_earlier_update(rule, update):
    xs, clean, other = given(), learner(rule), learner(rule)
    start = weights(other)
    clean.stream(xs[:8], LABELS, chunk=4, update=update, teach=(0, 8))
    xs[8:] = float("nan")
    where = "0 to 11" if rule == "bptt" else "8 to 11" if update == "chunk" else "8 to 8"
    with pytest.raises(NeurofaError, match=rf"layer 'spiking0' in ticks {where}; expected finite"):
        other.stream(xs, LABELS, chunk=4, update=update, teach=(0, 8))
    # all that was learnt before the poison is there, bit for bit; the control has learnt nothing yet
    assert same(weights(other), start if rule == "bptt" else weights(clean))
    assert not same(weights(clean), start)


def directions(rule, poison):
    """Directions of the middle layer, from views whose neighbours' weights were overwritten after the forward sweep."""
    made = learner(rule)
    network, gen = made.network, generator(0, "gen")
    kappa = 0.9 if made.rule.declares.sequences.filtered else 0.0
    name = network.names[1]
    tick = forward_pass(
        network,
        given().flatten(0, 1),
        gen=gen,
        return_weights=copied_return_weights(made.rule, gen),
        states=initial_states(network, 4),
        ticks=12,
        kappa=kappa,
    )
    teaching = loss_and_teaching(made.loss, tick.y, LABELS.repeat(12))[1]
    found = {}

    def emit(layer, _, view, given_directions):
        found[layer] = dense(given_directions)

    held = [t for other in network.names if other != name for t in weights_of(network.layer(other), tick.views[other])]
    with poisoned(held if poison else [], nan):
        assign(network, made.rule, tick, teaching, emit, gen)
    return found[name]


@pytest.mark.parametrize("rule", [*LOCAL, "eprop_symmetric", "bptt"])
def test_weights_of_other_layers_reach_no_local_update(rule):
    clean, again, poison = directions(rule, False), directions(rule, False), directions(rule, True)
    assert same(clean, again)
    assert any(bool(value.any()) for value in clean.values())
    assert same(clean, poison) == (rule in LOCAL)


def test_updates_end_chunk_and_tick_are_what_they_say():
    xs, found = given(), {}
    for update in ("end", "chunk", "tick"):
        made = learner()
        steps = []
        made.optimizer.register_step_post_hook(lambda *_, steps=steps: steps.append(1))
        made.stream(xs, LABELS, chunk=4, update=update)
        assert len(steps) == {"end": 1, "chunk": 3, "tick": 12}[update]
        assert made.steps == 1
        found[update] = weights(made)
    assert not near(found["end"], found["chunk"])
    assert not near(found["chunk"], found["tick"])
    whole = learner()
    whole.stream(xs, LABELS, chunk=12, update="chunk")
    assert near(weights(whole), found["end"])
    by_ones = learner()
    by_ones.stream(xs, LABELS, chunk=1, update="chunk")
    assert same(weights(by_ones), found["tick"])


def test_only_taught_ticks_count():
    made = learner(options={"lr": 0.0})
    outputs = torch.cat([part.tick.y.unflatten(0, (part.ticks, 4)) for part in respond(made.network, given(), chunk=5)])
    result = made.stream(given(), LABELS, chunk=5, teach=(3, 8))
    wanted = torch.stack([torch.nn.functional.cross_entropy(y, LABELS) for y in outputs[3:8]]).mean()
    assert torch.allclose(result.loss, wanted, atol=1e-6)
    assert torch.allclose(result.y, outputs[3:8].mean(0), atol=1e-6)
    # what happens after the window changes nothing, what happens before it does
    late, early = given(), given()
    late[8:], early[:3] = 0, 0
    found = []
    for xs in (given(), late, early):
        made = learner()
        made.stream(xs, LABELS, chunk=4, teach=(3, 8))
        found.append(weights(made))
    assert same(found[0], found[1])
    assert not near(found[0], found[2])


def test_targets_of_every_tick_are_taken_in_their_own_tick():
    gen = generator(1, "targets")
    values = torch.randn(12, 4, 3, generator=gen)
    constant = values[:1].expand(12, -1, -1)
    found = {}
    for name, targets in (("ticks", values), ("constant", constant), ("sample", values[0])):
        for chunk in (3, 12):
            made = learner(loss="mse")
            made.stream(given(), targets, chunk=chunk)
            found[name, chunk] = weights(made)
    assert torch.equal(values, torch.randn(12, 4, 3, generator=generator(1, "targets")))  # they are the caller's
    assert near(found["constant", 3], found["sample", 12])
    assert near(found["ticks", 3], found["ticks", 12])
    assert not near(found["ticks", 3], found["sample", 3])


@pytest.mark.long
def test_learning_lowers_the_loss_and_memory_of_ticks_is_carried():
    made = learner(options={"lr": 0.05})
    losses = [float(made.stream(given(), LABELS, chunk=4).loss) for _ in range(60)]
    assert losses[-1] < 0.7 * losses[0]


@pytest.mark.parametrize(
    ("optimizer", "options", "learning"),
    [
        (torch.optim.Adam, {"lr": 0.01}, {}),
        (sgd, {"momentum": 0.9}, {}),
        (sgd, {}, {"clip": 0.05}),
        (sgd, {}, {"accumulate": 2}),
        (sgd, {"weight_decay": 0.1}, {}),
    ],
)
def test_every_optimizer_serves_sequences_whatever_the_chunk(optimizer, options, learning):
    found = []
    for chunk in (3, 12):
        made = learner(optimizer=optimizer, options=options, **learning)
        before = weights(made)
        for _ in range(2):
            made.stream(given(), LABELS, chunk=chunk)
        found.append(weights(made))
        assert not same(found[-1], before)
    assert near(*found, tolerance=1e-4)
    plain = learner()
    for _ in range(2):
        plain.stream(given(), LABELS, chunk=12)
    assert not near(weights(plain), found[0])


def test_accumulation_is_the_mean_of_two_sequences():
    whole, halves = learner(), learner(accumulate=2)
    whole.stream(given(), LABELS, chunk=5)
    before = weights(halves)
    halves.stream(given()[:, :2], LABELS[:2], chunk=5)
    assert same(weights(halves), before)
    halves.stream(given()[:, 2:], LABELS[2:], chunk=5)
    assert near(weights(halves), weights(whole))


def test_plain_sgd_keeps_no_grad_and_mixes_with_static_steps():
    made, fresh = learner(), learner()
    for _ in range(2):
        made.stream(given(), LABELS, chunk=4)
        assert all(p.grad is None for p in made.network.parameters())
        assert made.direct
    # the second sequence begins with the first one's memory: nothing of it may be left in there
    fresh.network.load_state_dict(made.network.state_dict())
    for one in (made, fresh):
        one.stream(given(8), LABELS, chunk=4)
        one.step(given()[0], LABELS)
    assert same(weights(made), weights(fresh))


@pytest.mark.parametrize("learning", [{}, {"accumulate": 2}, {"clip": 1.0}])
def test_a_refused_sequence_leaves_nothing_behind(learning):
    made, fresh = learner(**learning), learner(**learning)
    xs = given()
    xs[9] = float("nan")
    with pytest.raises(NeurofaError, match="'spiking0' in ticks 8 to 11"):
        made.stream(xs, LABELS, chunk=4)
    assert same(weights(made), weights(fresh))
    for one in (made, fresh):
        for _ in range(2):
            one.stream(given(), LABELS, chunk=4)
    assert same(weights(made), weights(fresh))
    assert all(bool(value.isfinite().all()) for value in weights(made).values())


@pytest.mark.parametrize("update", ["end", "chunk"])
@pytest.mark.parametrize("device", ["fixed(bits=6)", FINITE, "pulse_trains"])
def test_devices_learn_from_sequences(device, update):
    # errors of the output's size move coarse weights within one sequence
    made = learner("dfa", device=device, feedback_scale="fixed")
    before = weights(made)
    chunk = 12 if device == "pulse_trains" and update == "end" else 4
    result = made.stream(given(), LABELS, chunk=chunk, update=update)
    assert bool(result.loss.isfinite())
    changed = [key for key, value in weights(made).items() if not torch.equal(value, before[key])]
    assert any("recurrent" in key for key in changed)
    for name in made.network.names:
        layer = made.network.layer(name)
        for key in layer.synapses:
            synapse = layer.synapses[key]
            assert torch.equal(synapse.weight.detach(), synapse.device.value(synapse.cells))


def test_pulse_trains_are_played_for_every_chunk_and_refuse_what_is_no_outer_product():
    dense_in, sparse = (learner("dfa", device="pulse_trains") for _ in range(2))
    dense_in.stream(given(), LABELS, chunk=4, update="chunk")
    sparse.stream(Events.from_dense(given()), LABELS, chunk=4, update="chunk")
    assert near(weights(dense_in), weights(sparse))
    with pytest.raises(NeurofaError, match="several chunks together on device pulse_trains"):
        learner("dfa", device="pulse_trains").stream(given(), LABELS, chunk=4)
    with pytest.raises(NeurofaError, match="traces of single weights on device pulse_trains"):
        learner("eprop", device="pulse_trains").stream(given(), LABELS, chunk=4, update="chunk")
    with pytest.raises(NeurofaError, match="sums over all ticks on device pulse_trains"):
        learner("bptt", device="pulse_trains").stream(given(), LABELS)


@pytest.mark.parametrize("rule", ["dfa", "eprop_symmetric"])
def test_a_periphery_stands_around_spiking_layers(rule):
    exact, around, again = (learner(rule) for _ in range(3))
    for one in (around, again):
        one.network.attach("training")
    losses = [one.stream(given(), LABELS, chunk=4).loss for one in (exact, around, again)]
    assert losses[0] != losses[1]
    assert torch.equal(losses[1], losses[2])
    assert same(weights(around), weights(again))
    assert not same(weights(around), weights(exact))
    events = learner(rule)
    events.network.attach("training")
    assert torch.equal(events.stream(Events.from_dense(given()), LABELS, chunk=4).loss, losses[1])
    bptt = learner("bptt")
    bptt.network.attach("training")
    with pytest.raises(NeurofaError, match=r"got a periphery around layer 'spiking0'.*use periphery exact"):
        bptt.stream(given(), LABELS)


@pytest.mark.parametrize("hidden", ["[7]", "[7, 6]"])
@pytest.mark.parametrize("recurrent", [False, True])
def test_symmetric_eprop_is_bptt_on_one_layer_without_recurrence(hidden, recurrent):
    found = []
    for rule in ("bptt", "eprop_symmetric"):
        made = learner(rule, f"snn(hidden={hidden}, recurrent={recurrent})")
        made.network.double()
        made.stream(given().double(), LABELS, chunk=5)
        found.append(weights(made))
    assert near(*found, tolerance=1e-10) == (hidden == "[7]" and not recurrent)


def test_bptt_takes_statistics_of_layers_without_a_memory():
    network = Network([Dense(6, 5, norm="batch"), Spiking(5, 4), Spiking(4, 3, neuron="leaky")], (6,))
    before = {k: v.clone() for k, v in network.named_buffers() if "mean" in k}
    Learner(network, "bptt", optimizer=sgd(network.parameters())).stream(given(), LABELS)
    assert before
    assert not any(torch.equal(v, before[k]) for k, v in network.named_buffers() if k in before)


CONV = {"shape": (2, 8, 8)}
IMAGES = torch.zeros(5, 4, 2, 8, 8)
REFUSED = [
    ({}, {"xs": given().transpose(0, 1)}, r"shape \(4, 12, 6\) for 4 targets: batch first; expected \(T, B, 6\).*use"),
    ({}, {"xs": given()[:, :3]}, "of 3 samples with 4 targets; expected one target a sample; check both"),
    ({}, {"xs": torch.zeros(12, 4, 7)}, r"shape \(12, 4, 7\); expected \(T, B, 6\), time first.*; reshape it"),
    ({}, {"xs": torch.zeros(12)}, r"shape \(12,\); expected \(T, B, 6\)"),
    ({}, {"xs": given()[:0]}, r"shape \(0, 4, 6\); expected .* not empty"),
    ({}, {"xs": given()[:, :0], "targets": LABELS[:0]}, r"shape \(12, 0, 6\); expected .* not empty"),
    ({}, {"xs": Events.from_dense(torch.zeros(12, 4, 5))}, r"shape \(12, 4, 5\); expected \(T, B, 6\)"),
    ({}, {"xs": given().long()}, r"torch.int64; expected floating point; convert it with xs.float\(\)"),
    ({}, {"xs": given().double()}, "torch.float64 for weights of torch.float32; expected one dtype; use xs.to"),
    ({}, {"xs": given() * 2, "binary": True}, "from 0 to 2 where spikes were promised; expected 0 and 1; encode"),
    ({}, {"xs": given() * float("nan"), "binary": True}, "where spikes were promised; expected 0 and 1; encode"),
    *[
        ({}, {"teach": teach}, rf"teach=\({teach[0]}, {teach[1]}\) for 12 ticks; expected a part of them; change teach")
        for teach in ((-1, 3), (3, 3), (4, 2), (0, 13), (12, 13))
    ],
    ({}, {"update": "never"}, "update='never'; expected at least 1 tick, and end, chunk, tick; change them"),
    ({}, {"chunk": 0}, "got chunk=0.*; expected at least 1 tick"),
    ({}, {"targets": torch.tensor(1)}, r"targets of shape \(\).*expected one label a sample"),
    ({}, {"targets": torch.zeros(12, 4, dtype=torch.int64)}, r"targets of shape \(12, 4\).*with loss mse"),
    ({"loss": "mse"}, {"targets": torch.zeros(15, 4, 3)}, r"targets of shape \(15, 4, 3\).*for 12 ticks; expected"),
    ({}, {"targets": torch.tensor([0, 9, 1, 2])}, "got label 9; expected labels 0 to 2"),
    ({"rule": "pepita"}, {}, "rule 'pepita' for sequences, which compares two passes; expected .*; use eprop"),
    ({"spec": "snn(hidden=[7], readout=lif)"}, {}, "a filter for a readout of lif; expected leaky.*filtered=False"),
    (
        {"rule": "dfa", "spec": "conv_snn(channels=[3], neuron=alif)", **CONV},
        {"xs": IMAGES, "chunk": 2},
        "got alif neurons behind a convolution.*; expected traces that all neurons share; use lif",
    ),
    (
        {"rule": "eprop", "spec": "conv_snn(channels=[3])", **CONV},
        {"xs": IMAGES, "chunk": 2},
        "got lif neurons behind a convolution.*; expected traces that all neurons share; use lif .* without a filter",
    ),
    (
        {"rule": "stllr", "spec": "snn(hidden=[7], traces='uniform(bits=4)')"},
        {},
        "traces in uniform for lif neurons; expected one trace an input",
    ),
    (
        {"rule": "dfa", "spec": "snn(hidden=[7], neuron=alif, traces='uniform(bits=4)')"},
        {},
        "traces in uniform for alif neurons; expected one trace an input.*; use lif",
    ),
]


@pytest.mark.parametrize(("made", "options", "message"), REFUSED)
def test_what_cannot_be_is_refused_in_one_line_before_anything_changes(made, options, message):
    ours = learner(**made)
    before = weights(ours)
    arguments = {"xs": given(), "targets": LABELS, **options}
    with pytest.raises(NeurofaError, match=message) as refused:
        ours.stream(arguments.pop("xs"), arguments.pop("targets"), **arguments)
    text = str(refused.value)
    assert text.startswith("got ")
    assert "\n" not in text
    assert "; expected " in text
    assert text.count(";") >= 2
    assert same(weights(ours), before)


@pytest.mark.sample(2)
@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("snn(neuron=lif(beta=-0.1))", "got lif.beta=-0.1.; expected 0 to 1 a tick; change beta"),
        ("snn(readout=leaky(kappa=1.5))", "got leaky.kappa=1.5.; expected 0 to 1"),
        ("snn(neuron=lif(threshold=0.0))", "got lif.threshold=0.0.; expected a positive number"),
        (
            "snn(traces='uniform(bits=4, rounding=stochastic)')",
            "got traces in uniform.*; expected rounding to the near",
        ),
        ("snn(neuron=lif(membrane=uniform(rounding=stochastic)))", "got membrane in uniform.*; expected rounding"),
        ("snn(hidden=[0])", "got hidden=0; expected at least 1"),
    ],
)
def test_networks_that_cannot_be_are_refused(spec, message):
    with pytest.raises(NeurofaError, match=message):
        build("network", spec, input_shape=(6,), outputs=3)


@pytest.mark.parametrize("rule", ["eprop", "bptt"])
@pytest.mark.parametrize("layer", ["spiking0", "spiking1", "spiking2"])
def test_a_weight_that_is_no_number_is_found_by_its_layer(layer, rule):
    made = learner(rule)
    made.network.layer(layer).synapses["weight"].weight.data[0, 0] = float("nan")
    others = {key: value for key, value in weights(made).items() if layer not in key}
    with pytest.raises(NeurofaError, match=f"got NaN or infinity in 'mem' of layer '{layer}' in ticks 0 to"):
        made.stream(torch.ones(12, 4, 6), LABELS, chunk=4)
    assert same(weights(made), others)


def test_a_spiking_layer_has_no_plain_module():
    network = learner().network
    with pytest.raises(NeurofaError, match=r"got Spiking, a layer that keeps a state .*; expected .*; use"):
        network.module()


def test_recording_a_static_tick_works_on_spiking_networks():
    made = learner("fa")
    tick = record(made.network, made.rule, given()[0], generator(0, "gen"))
    assert tick.y.shape == (4, 3)


def test_a_control_without_traces_serves_what_could_keep_none():
    ours = learner(rule="readout_only", spec="conv_snn(channels=[3], neuron=alif)", **CONV)
    before = weights(ours)
    ours.stream(IMAGES, LABELS, chunk=2)
    moved = {key for key, value in weights(ours).items() if not torch.equal(value, before[key])}
    assert moved
    assert all(key.startswith(f"layers.{ours.network.readout}.") for key in moved)


def test_runs_and_learners_work_on_as_many_ticks_at_once():
    assert RunSpec().chunk is None
    assert RunSpec().key == RunSpec(chunk=CHUNK).key
    assert RunSpec.from_stored(RunSpec(chunk=CHUNK).to_json()).chunk is None


def test_a_chunk_is_chosen_by_memory_where_every_weight_has_a_trace(monkeypatch):
    leaky = "snn(hidden=[7], readout=leaky(kappa=0.8))"
    filtered = learner(rule="eprop", spec=leaky)
    size = partial(chunk_size, filtered.network, filtered.rule)
    assert size(50, 4) == CHUNK
    assert size(1000, 4) == 1000
    monkeypatch.setattr(chosen, "MEMORY", 4 * 4 * 400 * (sum(filtered.network.input_shape) + 10 * (7 + 3)))
    assert 100 < size(1000, 4) <= 400
    assert size(1000, 400) == CHUNK
    for rule, spec in (("dfa", leaky), ("eprop(filtered=False)", leaky), ("stllr(psi=neuron)", "snn(hidden=[7])")):
        made = learner(rule=rule, spec=spec)
        assert chunk_size(made.network, made.rule, 1000, 4) == CHUNK
    alif = learner(rule="dfa", spec="snn(hidden=[7], neuron=alif)")
    assert chunk_size(alif.network, alif.rule, 1000, 4) == 400


def test_the_chosen_chunk_gives_the_directions_of_any():
    xs = (torch.rand(150, 2, 6, generator=torch.Generator().manual_seed(1)) < 0.3).float()
    after = []
    for chunk in (None, 40):
        made = learner(rule="eprop", spec="snn(hidden=[7], readout=leaky(kappa=0.8))")
        made.stream(xs, torch.tensor([0, 2]), chunk=chunk)
        after.append(weights(made))
    assert all(torch.allclose(w, after[1][key], rtol=1e-4, atol=1e-6) for key, w in after[0].items())
