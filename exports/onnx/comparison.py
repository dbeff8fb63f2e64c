"""ONNX graphs compared with what torch computes: outputs, spikes, teaching signals, and weights after learning."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor

from exports.checks import FileCheck
from exports.graph.model import Model
from exports.graph.reference import zero_states
from exports.onnx.learning import initial_values
from exports.onnx.runtime import Runtime
from exports.programming.probes import teaching_signals
from exports.programming.spike_probes import random_spikes, spike_responses
from exports.restore import learner_states, twin_learner
from neurofa.core.network import Network, evaluating
from neurofa.core.randomness import generator
from neurofa.training.learner import Learner

CLOSE, LEARNT, STEPS = 1e-5, 1e-4, 10
"""Largest difference of outputs, and of weights after so many steps of learning."""


def compare_with_learner(
    part: str, runtime: Runtime, learner: Learner, model: Model, inputs: Tensor | None
) -> FileCheck:
    """Compare what an ONNX graph computes with what torch computes with the learner.

    Args:
        part: what the graph holds, as its metadata say: ``inference``, ``inference_int8``, ``feedback``, ``learning``,
            ``loop`` or ``step``.
        runtime: the graph.
        learner: to compare with.
        model: that learner's neutral graph.
        inputs: real data, (B, ...), or (T, B, ...) for a network with a memory; None: random ones.
    """
    network = without_converters(learner.network)
    match part:
        case "inference" | "inference_int8":
            return _check_outputs(runtime, network, inputs, rough=part == "inference_int8")
        case "feedback":
            return _check_feedback(runtime, learner)
        case "learning":
            return _check_learning(runtime, learner, model)
        case "loop":
            return _check_spikes(lambda xs: runtime({"input": xs}), network, model, inputs)
        case "step":
            return _check_spikes(lambda xs: _run_ticks(runtime, model, xs), network, model, inputs)
    return FileCheck("against", False, f"part '{part}' is unknown")


def without_converters(network: Network) -> Network:
    """Return the network with exact products, which are all that a graph holds: itself, or a copy."""
    if all(
        layer.traits.array_host is None or layer.traits.array_host.periphery is None for _, layer in network.items()
    ):
        return network
    exact = copy.deepcopy(network)
    exact.attach("exact")
    return exact


def _check_outputs(runtime: Runtime, network: Network, inputs: Tensor | None, *, rough: bool) -> FileCheck:
    normal = torch.randn(16, *network.input_shape, generator=generator(0, "against"))
    x = normal if inputs is None else inputs
    with evaluating(network):
        wanted, computed = network(x), runtime({"input": x})["output"]
    error = float((computed - wanted).abs().amax())
    if not rough:
        close = error <= CLOSE * max(1.0, float(wanted.abs().amax()))
        return FileCheck("against", close, f"outputs {error:.2e} off torch's")
    same = float((computed.argmax(1) == wanted.argmax(1)).float().mean())
    detail = f"outputs {error:.2e} off, {same:.0%} of the decisions as in floating point"
    return FileCheck("against", same >= 0.75, detail)


def _check_feedback(runtime: Runtime, learner: Learner) -> FileCheck:
    rule, passes = learner.rule, 64
    error = torch.randn(16, learner.network.outputs, generator=generator(0, "against"))
    if not teaching_signals(rule, error, generator(1, "against")):
        return FileCheck("against", True, "a chained pathway: compared by its learning graph")
    gen, off, spread = generator(1, "against"), 0.0, 0.0
    computed = runtime({"error": error})
    for name in rule.feedback.slices:
        signals = torch.stack([teaching_signals(rule, error, gen)[name] for _ in range(passes)])
        noise = float(signals.std(0).amax())
        spread = max(spread, noise)
        off = max(off, float((computed[f"teaching.{name}"] - signals.mean(0)).abs().amax()))
    # the mean of noisy passes is within 6 standard errors of the ideal signal
    allowed = CLOSE * max(1.0, float(error.abs().amax())) + 6 * spread / passes**0.5
    noisy = f", of a noisy pathway (one pass {spread:.2e})" if spread else ""
    return FileCheck("against", off <= allowed, f"teaching signals {off:.2e} off torch's{noisy}")


def _check_learning(runtime: Runtime, learner: Learner, model: Model) -> FileCheck:
    if model.feedback is not None and not model.feedback.exact:
        return FileCheck("against", True, "the ideal part of a noisy pathway: compared by its feedback graph")
    twin = twin_learner(learner, model.provenance.get("recipe", {}))
    twin.network.train()
    arrays = initial_values(model)
    weights = {name: array.values.clone() for name, array in arrays.items()}
    rate, gen = float(twin.optimizer.param_groups[0]["lr"]), generator(0, "against")
    for _ in range(STEPS):
        x = torch.randn(16, *twin.network.input_shape, generator=gen)
        labels = torch.randint(twin.network.outputs, (16,), generator=gen)
        target = labels if twin.loss.labels else torch.nn.functional.one_hot(labels, twin.network.outputs).float()
        outputs = runtime({"input": x, "target": target, "lr": torch.tensor(rate), **weights})
        weights |= {name.removeprefix("new."): v for name, v in outputs.items() if name.startswith("new.")}
        twin.step(x, target)
    states = learner_states(twin)
    off = max(float((states[array.state] - weights[name]).abs().amax()) for name, array in arrays.items())
    return FileCheck("against", off <= LEARNT, f"weights {off:.2e} off torch's after {STEPS} steps")


def _check_spikes(
    run: Callable[[Tensor], dict[str, Tensor]], network: Network, model: Model, inputs: Tensor | None
) -> FileCheck:
    """Compare spikes of all layers and outputs of all ticks, at several numbers of ticks and samples."""
    probes = [random_spikes(model.input_shape, ticks, samples, ticks) for ticks, samples in ((20, 4), (7, 1))]
    differ = total = 0
    off, size = 0.0, 1.0
    for xs in probes if inputs is None else [*probes, inputs]:
        wanted, computed = spike_responses(network, xs), run(xs)
        for name, y in wanted.items():
            if name == "output":
                off, size = max(off, float((computed[name] - y).abs().amax())), max(size, float(y.abs().amax()))
            else:
                differ, total = differ + int((computed[name] != y).sum()), total + int(y.sum())
    data = "random spikes" if inputs is None else f"random spikes and {inputs.shape[1]} samples of the run's data"
    detail = f"{differ} spikes differ from torch's, of {total}; outputs {off:.2e} off; on {data}"
    return FileCheck("against", differ == 0 and off <= CLOSE * size, detail)


def _run_ticks(runtime: Runtime, model: Model, xs: Tensor) -> dict[str, Tensor]:
    """Run all ticks through a graph of one tick, feeding its states back: outputs as those of the loop."""
    states, outputs = zero_states(model, xs.shape[1]), dict[str, list[Tensor]]()
    for x in xs.unbind(0):
        results = runtime({"input": x, **states})
        states = {key: results[f"new.{key}"] for key in states}
        for name, value in results.items():
            if not name.startswith("new."):
                outputs.setdefault(name, []).append(value)
    return {name: torch.stack(values) for name, values in outputs.items()}
