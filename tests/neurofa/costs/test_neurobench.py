"""Operations, sparsities, updates and bytes, beside counts by hand, by loops, and by the NeuroBench harness."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hwmodels.errors import NeurofaError
from hwmodels.registry import build
from neurofa.core.events import Events
from neurofa.core.network import Network
from neurofa.costs.learning import learning_operations, trace_storage
from neurofa.costs.neurobench import WorkloadMeter, connection_sparsity, footprint_bytes, state_storage, weight_storage
from neurofa.costs.writes import write_summary
from neurofa.training.learner import Learner


def spikes(*shape: int, seed: int = 0, p: float = 0.3) -> Tensor:
    gen = torch.Generator().manual_seed(seed)
    return (torch.rand(*shape, generator=gen) < p).float()


def made(spec: str, inputs: tuple[int, ...] = (6,), outputs: int = 3, device: str = "digital") -> Network:
    network: Network = build("network", spec, input_shape=inputs, outputs=outputs, device=device)
    return network


def learner(network: Network, rule: str) -> Learner:
    return Learner(network, rule, optimizer=torch.optim.SGD(network.parameters(), lr=0.1))


def set_weights(network: Network, *weights: list[list[float]]) -> None:
    layers = [layer for _, layer in network.items() if layer.synapses]
    for layer, values in zip(layers, weights, strict=True):
        layer.synapses["weight"].weight.data.copy_(torch.tensor(values))


def test_counts_by_hand() -> None:
    network = made("snn(hidden=[2], neuron=lif(beta=0.5), bias=False)", (2,), 1)
    set_weights(network, [[2.0, 0.0], [0.0, 0.5]], [[1.0, 0.0]])
    # neuron 0 fires in tick 0 only (u = 2, then 1 - 1 = 0), neuron 1 never (0.5, then 0.25)
    xs = torch.tensor([[[1.0, 1.0]], [[0.0, 0.0]]])
    meter = WorkloadMeter(network)
    ys = meter.run(xs)
    found = meter.workload()
    assert ys.flatten().tolist() == pytest.approx([1.0, 0.9])
    assert found.dense == 2 * (4 + 2)
    assert found.effective_acs == 2 + 1  # two inputs meet a weight each, one spike meets one weight
    assert found.effective_macs == 0
    assert found.activation_sparsity == 3 / 4
    assert found.membrane_updates == 3 + 3  # all three at first; then 2 to 0, 0.5 to 0.25, and the readout 1 to 0.9
    assert connection_sparsity(network) == 3 / 6


def test_inputs_that_are_no_spikes_are_multiplied() -> None:
    network = made("snn(hidden=[2], bias=False)", (2,), 1)
    set_weights(network, [[0.1, 0.1], [0.1, 0.1]], [[1.0, 1.0]])
    meter = WorkloadMeter(network)
    meter.run(torch.tensor([[[0.5, 1.0]], [[-1.0, 1.0]]]))
    found = meter.workload()
    assert (found.effective_macs, found.effective_acs) == (4, 4)


def by_loops(network: Network, xs: Tensor) -> dict[str, float]:
    """The definitions, weight by weight, on ticks open to autograd."""
    acs = macs = dense = updates = zeros = activations = 0.0
    states: dict[str, dict[str, Tensor]] = {}
    for t, tick in enumerate(xs):
        x = tick
        for name, layer in network.items():
            params = layer.synapses.read()
            before = states.get(name, {})
            y, after = layer.compute(params, x, before)
            if "weight" in params:
                inputs = {"weight": x}
                if "recurrent" in params:
                    inputs["recurrent"] = before.get("out", torch.zeros_like(y))
                for key, value in inputs.items():
                    count = sum(
                        float(a != 0 and w != 0)
                        for row in value.tolist()
                        for column in params[key].tolist()
                        for a, w in zip(row, column, strict=True)
                    )
                    spiking = set(value.flatten().tolist()) <= {-1.0, 0.0, 1.0}
                    acs, macs = acs + count * spiking, macs + count * (not spiking)
                    dense += len(value) * params[key].numel()
                if layer.neuron.spiking:  # type: ignore[attr-defined,union-attr]
                    zeros, activations = zeros + float((y == 0).sum()), activations + y.numel()
                changed = after["mem"] != before["mem"] if t else torch.ones_like(after["mem"])
                updates += float(changed.sum())
                states[name] = after
            x = y
    b = xs.shape[1]
    return {
        "acs": acs / b,
        "macs": macs / b,
        "dense": dense / b,
        "updates": updates / b,
        "sparsity": zeros / activations,
    }


@pytest.mark.parametrize(
    "spec",
    [
        "snn(hidden=[5])",
        "snn(hidden=[5, 4], recurrent=True)",
        "snn(hidden=[5], neuron=alif, readout=lif)",
        "snn(hidden=[5], neuron=synaptic)",
        "snn(hidden=[5], neuron=lif(reset=zero))",
    ],
)
def test_counts_are_those_of_loops(spec: str) -> None:
    network, xs = made(spec), spikes(7, 3, 6, p=0.5)
    for name in network.names:
        weight = network.layer(name).synapses["weight"].weight
        weight.data.mul_(3).masked_fill_(spikes(*weight.shape, seed=1) > 0, 0)
    xs[2, 0, 0] = 2.0
    meter = WorkloadMeter(network)
    meter.run(xs)
    found, wanted = meter.workload(), by_loops(network, xs)
    assert found.activation_sparsity == pytest.approx(wanted["sparsity"])
    got = (found.effective_acs, found.effective_macs, found.dense, found.membrane_updates)
    assert got == pytest.approx(tuple(wanted[key] for key in ("acs", "macs", "dense", "updates")))
    assert wanted["macs"] > 0
    assert 0 < wanted["sparsity"] < 1


def test_convolutions_are_counted_at_every_position() -> None:
    network = made("conv_snn(channels=[2], kernel=3)", (1, 4, 4), 2)
    xs = spikes(2, 3, 1, 4, 4)
    meter = WorkloadMeter(network)
    meter.run(xs)
    found = meter.workload()
    ones = nn.functional.conv2d((xs.flatten(0, 1) != 0).float(), torch.ones(2, 1, 3, 3), padding=1)
    pooled = 2 * 2 * 2
    inside = 2 * (4 * 9 + 8 * 6 + 4 * 4)  # of a padded kernel at 16 places; padding is no input
    assert found.dense == 2 * (inside + pooled * 2)
    assert found.effective_acs + found.effective_macs >= float(ones.sum()) / 3
    assert found.effective_acs >= float(ones.sum()) / 3  # pooled spikes are fractions, and may be multiplied


def test_batches_add_up_and_events_are_spikes() -> None:
    network, xs = made("snn(hidden=[5])"), spikes(6, 4, 6)
    whole, halves, sparse = WorkloadMeter(network), WorkloadMeter(network), WorkloadMeter(network)
    y = whole.run(xs)
    split = torch.cat([halves.run(xs[:, :2]), halves.run(xs[:, 2:])], 1)
    assert torch.allclose(y, split)
    assert torch.allclose(sparse.run(Events.from_dense(xs)), y, atol=1e-6)
    assert whole.workload() == halves.workload() == sparse.workload()


def test_still_networks_are_one_tick() -> None:
    network = made("mlp(hidden=[5], activation=relu)")
    x = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))
    meter = WorkloadMeter(network)
    y = meter.run(x.unsqueeze(0))
    found = meter.workload()
    assert torch.allclose(y[0], network(x))
    stored = network.layer("dense0").synapses.stored()
    hidden = torch.relu(x @ stored["weight"].T + stored["bias"])
    assert found.effective_macs == 6 * 5 + float((hidden != 0).sum()) * 3 / 4
    assert found.activation_sparsity == pytest.approx(float((hidden == 0).double().mean()))
    assert found.membrane_updates == 0


def test_blocks_are_refused() -> None:
    with pytest.raises(NeurofaError, match=r"got layer '.*' of kind block; expected affine layers"):
        WorkloadMeter(made("resnet20", (3, 8, 8), 10))


def test_nothing_run_is_refused() -> None:
    with pytest.raises(NeurofaError, match="got no samples to count"):
        WorkloadMeter(made("snn(hidden=[5])")).workload()


def test_bytes() -> None:
    weights = 6 * 5 + 5 + 5 * 3 + 3
    assert footprint_bytes(made("snn(hidden=[5])")) == 4 * weights
    for device in ("fixed(bits=4, rounding=stochastic)", "wear(device=fixed(bits=4), endurance=1e999)"):
        network = made("snn(hidden=[5])", device=device)
        matrices = 6 * 5 + 5 * 3
        assert footprint_bytes(network) == 4 * weights, "cells are no part of the network"
        assert weight_storage(network).bytes == pytest.approx((4 * matrices + 32 * 8) / 8)
    analog = weight_storage(made("snn(hidden=[5])", device="ecram"))
    assert (analog.elements, analog.bytes) == (45, 4 * 8)


def test_state_is_told_in_its_formats() -> None:
    assert state_storage(made("snn(hidden=[5])")).bytes == 4 * 8
    narrow = made("snn(hidden=[8], neuron=lif(membrane=uniform(bits=16)), readout=leaky(membrane=uniform(bits=16)))")
    assert (state_storage(narrow).bytes, state_storage(narrow).stored) == (4 * 11, 2 * 11)
    recurrent = state_storage(made("snn(hidden=[8], recurrent=True)"))
    assert (recurrent.bytes, recurrent.stored) == (4 * (8 + 8 + 3), 4 * 11 + 1)


def test_traces_do_not_grow_with_time_and_a_tape_does() -> None:
    network = made("snn(hidden=[5])")
    for rule, size in (("dfa", 6 + 1 + 5 + 1), ("readout_only", 5 + 1)):
        short, long = (trace_storage(learner(network, rule), ticks, 4).bytes for ticks in (8, 80))
        assert short == long == 4 * size
    filtered = trace_storage(learner(network, "eprop"), 80, 4).bytes
    assert filtered == 4 * (2 * 5 * (6 + 1) + 5 + 1), "a trace and its filter for every weight"
    short, long = (trace_storage(learner(network, "bptt"), ticks, 4).bytes for ticks in (8, 80))
    assert long > 8 * short


def test_traces_are_told_in_their_format() -> None:
    network = made("snn(hidden=[5], traces=uniform(bits=8))")
    found = trace_storage(learner(network, "dfa"), 8, 4)
    assert (found.bytes, found.stored) == (4 * 13, 13)


def test_operations_of_learning() -> None:
    network, xs = made("snn(hidden=[5], neuron=lif(surrogate=boxcar(width=0.3)))"), spikes(8, 3, 6)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    found = learning_operations(learner(network, "dfa"), xs, torch.tensor([0, 1, 2]), chunk=4, teach=None)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    weights = 6 * 5 + 5 * 3
    assert found.flop["forward"] == found.flop["update"] == 2 * weights * 8
    assert found.flop["traces"] == 2 * (6 + 1 + 5 + 1) * 8
    assert found.update_dense == weights * 8
    assert found.update_events is not None
    assert 0 < found.update_events < 0.5 * found.update_dense
    every = learning_operations(
        learner(made("snn(hidden=[5])"), "dfa"), xs, torch.tensor([0, 1, 2]), chunk=4, teach=None
    )
    assert every.update_events is not None
    assert every.update_events > found.update_events, "a smooth derivative leaves no error at zero"


def test_chunks_do_not_change_what_is_counted_densely() -> None:
    network, xs = made("snn(hidden=[5], recurrent=True)"), spikes(8, 3, 6)
    counts = [
        learning_operations(learner(network, "dfa"), xs, torch.tensor([0, 1, 2]), chunk=chunk, teach=None).update_dense
        for chunk in (3, 8)
    ]
    assert counts == [8 * (6 * 5 + 5 * 5 + 5 * 3)] * 2


def test_writes_come_from_the_ledger() -> None:
    assert write_summary(made("snn(hidden=[5])")) is None
    network = made("snn(hidden=[5], bias=False)", device="wear(device=digital, endurance=1e999)")
    student = learner(network, "dfa")
    for seed in range(3):
        student.stream(spikes(8, 3, 6, seed=seed, p=0.9), torch.tensor([0, 1, 2]))
    found = write_summary(network, updates=3)
    assert found is not None
    assert found.per_update is not None
    assert found.per_update == pytest.approx(found.mean / 3)
    assert 0 < found.per_update <= 1
    assert found.largest == 3


def test_equal_to_the_neurobench_harness() -> None:
    snn: Any = pytest.importorskip("snntorch", reason="snntorch is not installed: pip install 'neurofa[spikes]'")
    reason = "neurobench is not installed: pip install 'neurofa[neurobench]'"
    models: Any = pytest.importorskip("neurobench.models", reason=reason)
    workload: Any = pytest.importorskip("neurobench.metrics.workload", reason=reason)
    static: Any = pytest.importorskip("neurobench.metrics.static", reason=reason)
    benchmarks: Any = pytest.importorskip("neurobench.benchmarks", reason=reason)
    network, xs = made("snn(hidden=[9], readout=lif)"), spikes(10, 4, 6, p=0.6)
    for name in network.names:
        network.layer(name).synapses["weight"].weight.data.mul_(2)
    network.layer("spiking0").synapses["weight"].weight.data[:3, :2] = 0
    first, last = nn.Linear(6, 9), nn.Linear(9, 3)
    for plain, (_, layer) in zip((first, last), network.items(), strict=True):
        plain.weight.data.copy_(layer.synapses.stored()["weight"])
        plain.bias.data.copy_(layer.synapses.stored()["bias"])
    hidden, out = (snn.Leaky(beta=0.9, init_hidden=True, output=last) for last in (False, True))
    # snnTorch keeps decay, threshold and the like as buffers; states join them when it runs
    constants = sum(b.numel() * b.element_size() for b in itertools.chain(hidden.buffers(), out.buffers()))
    theirs = models.SNNTorchModel(nn.Sequential(first, hidden, last, out))
    samples = torch.utils.data.TensorDataset(xs.transpose(0, 1), torch.zeros(4))
    data = torch.utils.data.DataLoader(samples, batch_size=2)
    metrics = [
        [static.ConnectionSparsity, static.Footprint],
        [workload.ActivationSparsity, workload.SynapticOperations, workload.MembraneUpdates],
    ]
    wanted = benchmarks.Benchmark(theirs, data, [], [], metrics).run(quiet=True)
    meter = WorkloadMeter(network)
    for x, _ in data:
        meter.run(x.transpose(0, 1))
    found = meter.workload()
    operations_ = wanted["SynapticOperations"]
    assert found.effective_acs == operations_["Effective_ACs"]
    assert found.effective_macs == operations_["Effective_MACs"] == 0
    assert found.dense == operations_["Dense"]
    assert found.activation_sparsity == pytest.approx(wanted["ActivationSparsity"])
    assert found.membrane_updates == wanted["MembraneUpdates"]
    assert connection_sparsity(network) == pytest.approx(wanted["ConnectionSparsity"], abs=1e-4)
    assert footprint_bytes(network) == wanted["Footprint"] - constants
