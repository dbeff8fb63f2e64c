"""ONNX files checked: valid, complete, runnable, and the same numbers as torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from exports.checks import FileCheck, guarded
from exports.files.optional import need
from exports.graph.model import Model
from exports.graph.reference import start
from exports.onnx.builder import checked
from exports.onnx.runtime import Runtime
from exports.programming.spike_probes import drawn, responses
from exports.restore import twin
from hwmodels.errors import NeurofaError
from neurofa.core.randomness import generator
from neurofa.core.rule import Direct
from neurofa.training.learner import Learner

CLOSE, LEARNT, STEPS = 1e-5, 1e-4, 10
"""Largest difference of outputs, and of weights after so many steps of learning."""


def onnx_checks(path: Path, learner: Learner | None, model: Model | None, inputs: Tensor | None) -> list[FileCheck]:
    """Check a file; with a learner also against what torch computes, for real inputs or drawn ones.

    Raises:
        NeurofaError: no such file.
    """
    onnx = need("onnx")
    if not path.is_file():
        raise NeurofaError(f"got '{path}', which is no file; expected an ONNX file; check the path")
    try:
        loaded = onnx.load(path)
    except Exception as error:  # protobuf raises classes of its own
        return [FileCheck("opens", False, f"cannot be read ({str(error).splitlines()[0] or type(error).__name__})")]
    about = {prop.key: prop.value for prop in loaded.metadata_props}
    part = about.get("part", "")
    found = [FileCheck("opens", True, f"opset {loaded.opset_import[0].version}, {len(loaded.graph.node)} nodes")]
    found.append(guarded("checker", lambda: _checker(loaded)))
    told = all(about.get(key) for key in ("format", "format_version", "part"))
    found.append(FileCheck("metadata", told, f"part {part}" if told else "format, format_version or part is missing"))
    if not all(check.ok for check in found):
        return found
    found.append(guarded("finite", lambda: _finite(loaded)))
    found.append(guarded("runs", lambda: _runs(loaded)))
    if learner is not None and model is not None:
        found.append(guarded("against", lambda: _against(loaded, part, learner, model, inputs)))
    return found


def _checker(model: Any) -> FileCheck:
    checked(model)
    outside = sorted({node.domain for node in model.graph.node if node.domain})
    if outside:
        return FileCheck("checker", False, f"custom operators of {', '.join(outside)}")
    return FileCheck("checker", True, "onnx.checker with full shape inference, standard operators alone")


def _finite(model: Any) -> FileCheck:
    to_array = need("onnx").numpy_helper.to_array
    bad = [
        i.name for i in model.graph.initializer if not torch.from_numpy(to_array(i).copy()).double().isfinite().all()
    ]
    return FileCheck(
        "finite", not bad, f"NaN or infinity in '{bad[0]}'" if bad else "no NaN, no infinity in the weights"
    )


def feeds(session: Any, sizes: dict[str, int], seed: int = 0) -> dict[str, Tensor]:
    """Numbers for all inputs: spikes would do as well as these normal ones; labels are 0."""
    gen, found = generator(seed, "onnx"), {}
    for put in session.session.get_inputs():
        shape = [sizes.get(n, 1) if isinstance(n, str) else n for n in put.shape]
        labels = put.type == "tensor(int64)"
        found[put.name] = torch.zeros(shape, dtype=torch.int64) if labels else torch.randn(shape, generator=gen) * 0.1
    return found


def _runs(model: Any) -> FileCheck:
    session = Runtime(model)
    for sizes in ({"B": 2, "T": 3}, {"B": 5, "T": 1}):
        for name, value in session(feeds(session, sizes)).items():
            if not bool(value.isfinite().all()):
                return FileCheck("runs", False, f"output '{name}' is not finite")
    return FileCheck("runs", True, "onnxruntime, batches of 2 and 5")


def _against(model: Any, part: str, learner: Learner, described: Model, inputs: Tensor | None) -> FileCheck:
    session = Runtime(model)
    network = learner.network
    if part in ("inference", "inference_int8"):
        training = network.training
        network.eval()
        normal = torch.randn(16, *network.input_shape, generator=generator(0, "against"))
        x = normal if inputs is None else inputs
        wanted, got = network(x), session({"input": x})["output"]
        network.train(training)
        off = float((got - wanted).abs().amax())
        if part == "inference":
            return FileCheck(
                "against", off <= CLOSE * max(1.0, float(wanted.abs().amax())), f"outputs {off:.2e} off torch's"
            )
        same = float((got.argmax(1) == wanted.argmax(1)).float().mean())
        return FileCheck(
            "against", same >= 0.75, f"outputs {off:.2e} off, {same:.0%} of the decisions as in floating point"
        )
    if part == "feedback":
        return _against_feedback(session, learner)
    if part == "learning":
        return _against_learning(session, learner, described)
    if part in ("step", "loop"):
        return _against_spikes(session, part, learner, described, inputs)
    return FileCheck("against", False, f"part '{part}' is unknown")


def _against_feedback(session: Runtime, learner: Learner) -> FileCheck:
    rule = learner.rule
    if not isinstance(rule, Direct):
        return FileCheck("against", True, "a chained pathway: compared by its learning graph")
    error = torch.randn(16, learner.network.outputs, generator=generator(0, "against"))
    gen, passes = generator(1, "against"), 64
    got, off, spread = session({"error": error}), 0.0, 0.0
    for name in rule.feedback.slices:
        seen = torch.stack([rule.feedback.send(rule.encoder.quantize(error, gen), gen)(name) for _ in range(passes)])
        noise = float(seen.std(0).amax())
        spread = max(spread, noise)
        off = max(off, float((got[f"teaching.{name}"] - seen.mean(0)).abs().amax()))
    allowed = CLOSE * max(1.0, float(error.abs().amax())) + 6 * spread / passes**0.5
    noisy = f", of a noisy pathway (one pass {spread:.2e})" if spread else ""
    return FileCheck("against", off <= allowed, f"teaching signals {off:.2e} off torch's{noisy}")


def _against_learning(session: Runtime, learner: Learner, model: Model) -> FileCheck:
    from exports.onnx.learning import initial

    own = twin(learner, model.provenance.get("recipe", {}))
    own.network.train()
    weights = {name: array.values.clone() for name, array in initial(model).items()}
    now = {name: array.state for name, array in initial(model).items()}
    rate, gen = float(own.optimizer.param_groups[0]["lr"]), generator(0, "against")
    for _ in range(STEPS):
        x = torch.randn(16, *own.network.input_shape, generator=gen)
        target = torch.randint(own.network.outputs, (16,), generator=gen)
        given = target if own.loss.labels else torch.nn.functional.one_hot(target, own.network.outputs).float()
        put = {"input": x, "target": given, "lr": torch.tensor(rate), **weights}
        found = session({name: value for name, value in put.items() if name in session.inputs})
        weights |= {name.removeprefix("new."): v for name, v in found.items() if name.startswith("new.")}
        own.step(x, given)
    off = 0.0
    for name, state in now.items():
        prefix, _, key = state.partition(":")
        held = (own.network if prefix == "network" else own.rule).state_dict()[key]
        off = max(off, float((held - weights[name]).abs().amax()))
    return FileCheck("against", off <= LEARNT, f"weights {off:.2e} off torch's after {STEPS} steps")


def _against_spikes(session: Runtime, part: str, learner: Learner, model: Model, inputs: Tensor | None) -> FileCheck:
    """Spikes of all layers and outputs of all ticks, at several numbers of ticks and samples."""
    probes = [drawn(model.input_shape, ticks, samples, ticks) for ticks, samples in ((20, 4), (7, 1))]
    differ = total = 0
    off, size = 0.0, 1.0
    for xs in probes if inputs is None else [*probes, inputs]:
        wanted = responses(learner.network, xs)
        got = session({"input": xs}) if part == "loop" else _by_steps(session, model, xs)
        for name, y in wanted.items():
            if name == "output":
                off, size = max(off, float((got[name] - y).abs().amax())), max(size, float(y.abs().amax()))
            else:
                differ, total = differ + int((got[name] != y).sum()), total + int(y.sum())
    real = "random spikes" if inputs is None else f"random spikes and {inputs.shape[1]} samples of the run's data"
    said = f"{differ} spikes differ from torch's, of {total}; outputs {off:.2e} off; on {real}"
    return FileCheck("against", differ == 0 and off <= CLOSE * size, said)


def _by_steps(session: Runtime, model: Model, xs: Tensor) -> dict[str, Tensor]:
    """All ticks through a graph of one tick, its states put in again: outputs as of the loop."""
    states, found = start(model, xs.shape[1]), dict[str, list[Tensor]]()
    for x in xs.unbind(0):
        put = {"input": x, **states}
        got = session({name: put[name] for name in session.inputs})
        states = {key: got[f"new.{key}"] for key in states}
        for name, value in got.items():
            if not name.startswith("new."):
                found.setdefault(name, []).append(value)
    return {name: torch.stack(values) for name, values in found.items()}
