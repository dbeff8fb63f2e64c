"""ONNX files checked: valid, complete, runnable, and the same numbers as torch."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from exports.checks import FileCheck, error_text, guarded
from exports.files.optional import require_library
from exports.graph.model import Model
from exports.graph.reference import zero_states
from exports.onnx.builder import checked_model
from exports.onnx.learning import initial_values
from exports.onnx.runtime import Runtime
from exports.programming.probes import teaching_signals
from exports.programming.spike_probes import random_spikes, spike_responses
from exports.restore import learner_states, twin_learner
from hwmodels.errors import NeurofaError
from neurofa.core.network import Network
from neurofa.core.randomness import generator
from neurofa.training.learner import Learner

CLOSE, LEARNT, STEPS = 1e-5, 1e-4, 10
"""Largest difference of outputs, and of weights after so many steps of learning."""


def onnx_checks(path: Path, learner: Learner | None, model: Model | None, inputs: Tensor | None) -> list[FileCheck]:
    """Check a file; with a learner also against what torch computes.

    Args:
        path: the file.
        learner: to compare with; None: the file alone is checked.
        model: that learner's neutral graph.
        inputs: real data, (B, ...), or (T, B, ...) for a network with a memory; None: random ones.

    Raises:
        NeurofaError: no such file.
    """
    onnx = require_library("onnx")
    if not path.is_file():
        raise NeurofaError(f"got '{path}', which is no file; expected an ONNX file; check the path")
    try:
        loaded = onnx.load(path)
    except Exception as error:  # protobuf raises classes of its own
        return [FileCheck("opens", False, f"cannot be read ({error_text(error)})")]
    about = {prop.key: prop.value for prop in loaded.metadata_props}
    part = about.get("part", "")
    complete = all(about.get(key) for key in ("format", "format_version", "part"))
    checks = [
        FileCheck("opens", True, f"opset {loaded.opset_import[0].version}, {len(loaded.graph.node)} nodes"),
        guarded("checker", lambda: _check_validity(loaded)),
        FileCheck("metadata", complete, f"part {part}" if complete else "format, format_version or part is missing"),
    ]
    if not all(check.ok for check in checks):
        return checks
    checks += [guarded("finite", lambda: _check_finite(loaded)), guarded("runs", lambda: _check_run(loaded))]
    if learner is not None and model is not None:
        checks.append(guarded("against", lambda: _check_part(part, Runtime(loaded), learner, model, inputs)))
    return checks


def _check_validity(model: Any) -> FileCheck:
    checked_model(model)
    outside = sorted({node.domain for node in model.graph.node if node.domain})
    if outside:
        return FileCheck("checker", False, f"custom operators of {', '.join(outside)}")
    return FileCheck("checker", True, "onnx.checker with full shape inference, standard operators alone")


def _check_finite(model: Any) -> FileCheck:
    to_array = require_library("onnx").numpy_helper.to_array
    values = {i.name: torch.from_numpy(to_array(i).copy()) for i in model.graph.initializer}
    bad = [name for name, array in values.items() if not array.double().isfinite().all()]
    detail = f"NaN or infinity in '{bad[0]}'" if bad else "no NaN, no infinity in the weights"
    return FileCheck("finite", not bad, detail)


def random_feeds(runtime: Runtime, sizes: dict[str, int], seed: int = 0) -> dict[str, Tensor]:
    """Draw normal numbers for all inputs of a graph; labels are 0.

    Args:
        runtime: the graph.
        sizes: of the open axes, by name.
        seed: of the draw.
    """
    gen, feeds = generator(seed, "onnx"), {}
    for value in runtime.session.get_inputs():
        shape = [sizes.get(n, 1) if isinstance(n, str) else n for n in value.shape]
        labels = value.type == "tensor(int64)"
        feeds[value.name] = torch.zeros(shape, dtype=torch.int64) if labels else torch.randn(shape, generator=gen) * 0.1
    return feeds


def _check_run(model: Any) -> FileCheck:
    runtime = Runtime(model)
    for sizes in ({"B": 2, "T": 3}, {"B": 5, "T": 1}):
        for name, value in runtime(random_feeds(runtime, sizes)).items():
            if not bool(value.isfinite().all()):
                return FileCheck("runs", False, f"output '{name}' is not finite")
    return FileCheck("runs", True, "onnxruntime, batches of 2 and 5")


def _check_part(part: str, runtime: Runtime, learner: Learner, model: Model, inputs: Tensor | None) -> FileCheck:
    """Compare one kind of graph with what torch computes."""
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
    training = network.training
    network.eval()
    normal = torch.randn(16, *network.input_shape, generator=generator(0, "against"))
    x = normal if inputs is None else inputs
    wanted, computed = network(x), runtime({"input": x})["output"]
    network.train(training)
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
