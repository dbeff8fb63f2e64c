"""One step of learning as a graph: weights, input and target in, output and new weights out."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from exports.graph.arrays import Array
from exports.graph.model import Model
from exports.graph.neurons import SpikingNode
from exports.graph.nodes import AffineNode, Node
from exports.graph.operations import TracedNode
from exports.graph.pathways import ChainedPath, DirectPath, Factors, Learning, Slice
from exports.onnx.builder import Builder
from exports.onnx.inference import metadata
from exports.onnx.layers import Kept, forward
from exports.onnx.returns import back, carry, direction, encode, localise, narrow
from hwmodels.errors import NeurofaError

RULES = ("dfa", "drtp", "adfa", "dkp", "fa", "bp", "kp", "ldfa_local", "readout_only")
"""Rules whose step is written out here."""


def learning(model: Model) -> Any:
    """One update of plain SGD by the model's rule, in any batch size.

    Inputs: ``input`` (B, *input_shape), ``target`` (B,) labels (int64) or (B, o) values, ``lr`` (0-dim), and every
    array that learns by its name ``LAYER.ARRAY``; outputs: ``output`` (B, o) before the update, ``loss_error`` (B, o),
    and ``new.NAME`` for every one of them. Feedback that stays is inside.

    Raises:
        NeurofaError: a rule, optimizer or layer without such a graph, with the reason.
    """
    known = model.learning
    _check(model, known)
    step = _Step(model)
    step.run()
    return step.close()


def feedback(model: Model) -> Any:
    """``error`` (B, o) to ``teaching.LAYER`` for every hidden layer; chained pathways also need the ``input``.

    Of a noisy pathway this is the ideal part: the linear map with its static errors.

    Raises:
        NeurofaError: a pathway without such a graph, with the reason.
    """
    if isinstance(model.feedback, DirectPath):
        b = Builder()
        sent = encode(b, model.error, "error")
        for part in model.feedback.slices:
            b.rename(teaching(b, model.feedback, part, sent), f"teaching.{part.layer}")
        outputs = {f"teaching.{part.layer}": ("B", *part.shape) for part in model.feedback.slices}
        return _finish(b, model, "feedback", {"error": ("B", model.outputs)}, outputs)
    if not isinstance(model.feedback, ChainedPath):
        raise NeurofaError(
            f"got the feedback of rule '{model.learning.rule if model.learning else '?'}' for ONNX; expected a direct"
            " or"
            " chained pathway; export to HDF5"
        )
    _check(model, model.learning)
    _memoryless(model)
    step = _Step(model, only_errors=True)
    step.run()
    return step.close()


def _memoryless(model: Model) -> None:
    """Refuse layers whose errors and directions need the memory of their neurons."""
    for node in model.nodes:
        if isinstance(node, SpikingNode):
            raise NeurofaError(
                f"got spiking neurons at '{node.name}' for a graph of errors or learning; expected layers without a"
                " memory, since eligibility traces are not written out; take the step, the loop and a direct feedback,"
                " or export to HDF5"
            )


def _check(model: Model, known: Learning | None) -> None:
    _memoryless(model)
    if known is None or known.rule not in RULES:
        raise NeurofaError(
            f"got rule '{'none' if known is None else known.rule}' for a learning graph; expected one of"
            f" {', '.join(RULES)}; export to HDF5"
        )
    used = known.constants
    odd = [key for key in ("momentum", "nesterov", "maximize", "clip", "clamp", "calibrate") if used.get(key)]
    if known.optimizer != "SGD" or odd or used.get("accumulate", 1) != 1:
        what = (
            known.optimizer
            if known.optimizer != "SGD"
            else f"{(odd or ['accumulate'])[0]}={used[(odd or ['accumulate'])[0]]}"
        )
        raise NeurofaError(f"got {what} for a learning graph; expected plain SGD without them; train with sgd(lr=...)")
    for node in model.nodes:
        weights = [a for a in node.arrays().values() if getattr(a, "device", "digital") != "digital"]
        if weights:
            raise NeurofaError(
                f"got weights on {getattr(weights[0], 'device', '')} at '{node.name}' for a learning graph; expected"
                " digital"
                " ones: writes to a device draw random numbers; export to HDF5"
            )
        if isinstance(node, TracedNode):
            raise NeurofaError(
                f"got a block at '{node.name}' for a learning graph; expected dense and convolutional layers, whose"
                " local"
                " derivatives are written out; export to HDF5"
            )
        if isinstance(node, AffineNode) and node.dropout:
            raise NeurofaError(
                f"got dropout at '{node.name}' for a learning graph; expected none: it draws; take it out"
            )


def teaching(b: Builder, path: DirectPath, part: Slice, sent: str, matrix: str | None = None) -> str:
    """Teaching signal of one layer, (B, *shape): its rows of B times the encoded error."""
    if path.matrix is None:
        raise NeurofaError(
            f"got the feedback '{path.hardware.kind if path.hardware else ''}' without a linear map for ONNX;"
            " expected one;"
            " use a linear detection, or export to HDF5"
        )
    first, last = part.rows
    if matrix is None:
        rows = b.weight(f"feedback.{part.layer}", path.matrix.values[first:last])
    else:
        rows = b.op("Slice", matrix, b.sizes(first), b.sizes(last), b.sizes(0), b.sizes(1))
    signal = b.op("Gemm", sent, rows, transB=1)
    if part.spread == "own":
        return b.reshape(signal, -1, *part.shape) if len(part.shape) > 1 else signal
    inner = [n if i == (0 if len(part.shape) == 3 else len(part.shape) - 1) else 1 for i, n in enumerate(part.shape)]
    return b.op("Expand", b.reshape(signal, -1, *inner), b.sizes(1, *part.shape))


class _Step:
    """One pass forwards, the error, and the way back; ``only_errors`` stops before the weights change."""

    def __init__(self, model: Model, *, only_errors: bool = False) -> None:
        self.model, self.only_errors, self.b = model, only_errors, Builder()
        self.known: Learning = model.learning
        self.learns: dict[str, Array] = {}
        self.new: dict[str, str] = {}
        self.delivered: dict[str, tuple[str, tuple[int, ...]]] = {}
        self.params = {
            node.name: {key: self._put(node, key, a) for key, a in node.arrays().items()} for node in model.nodes
        }
        affine = [node for node in model.nodes if isinstance(node, AffineNode)]
        self.readout, self.lowest = affine[-1].name, affine[0].name

    def _put(self, node: Node, key: str, array: Array) -> str:
        name = f"{node.name}.{key}"
        if self.only_errors:
            return self.b.weight(name, array.values)
        self.learns[name] = array
        return name

    def run(self) -> None:
        """Write the whole step."""
        kept: dict[str, Kept] = {}
        x = "input"
        for node in self.model.nodes:
            kept[node.name] = forward(self.b, node, x, self.params[node.name], training=True)
            x = kept[node.name].y
            if (
                not self.only_errors
                and isinstance(node, AffineNode)
                and node.norm is not None
                and node.norm.kind == "batch"
            ):
                self._statistics(node, kept[node.name])
        self.y = x
        error = "error" if self.only_errors else self._error(x)
        self.error = error
        if not self.only_errors:
            size = self.b.op("Gather", self.b.op("Shape", "input"), self.b.constant(0, np.int64), axis=0)
            self.rate = self.b.op("Div", "lr", self.b.op("Cast", size, to=1))
        self._way_back(kept, error)

    def _error(self, y: str) -> str:
        if self.model.loss == "cross_entropy":
            off_on = self.b.constant([0.0, 1.0])
            hot = self.b.op("OneHot", "target", self.b.constant(self.model.outputs, np.int64), off_on, axis=1)
            self.hot = hot
            return self.b.op("Sub", self.b.op("Softmax", y, axis=1), hot)
        if self.model.loss != "mse":
            raise NeurofaError(
                f"got loss '{self.model.loss}' for a learning graph; expected cross_entropy or mse; use one of them"
            )
        self.hot = "target"
        return self.b.op("Sub", y, "target")

    def _way_back(self, kept: dict[str, Kept], error: str) -> None:
        path, b = self.model.feedback, self.b
        above: str | None = None
        matrix = None
        sent = ""
        if isinstance(path, DirectPath):
            sent = encode(b, self.model.error, self.hot if self.known.signal == "target" else error)
            if self.known.rule == "dkp" and path.matrix is not None:
                self.learns["feedback.matrix"] = path.matrix
                matrix = "feedback.matrix"
        slices = {part.layer: part for part in path.slices} if isinstance(path, DirectPath) else {}
        encoded = encode(b, self.model.error, error) if isinstance(path, ChainedPath) else error
        for node in reversed(self.model.nodes):
            own = kept[node.name]
            if not isinstance(node, AffineNode):
                above = carry(b, node, own, above) if above is not None else None
                continue
            arrived: str | None
            if node.name == self.readout:
                arrived = error
            elif node.name in slices:
                frozen = node.name in self.known.frozen
                arrived = None if frozen else teaching(b, path, slices[node.name], sent, matrix)
            else:
                arrived = above
            if arrived is None:
                continue
            if node.name != self.readout:
                self.delivered[node.name] = (arrived, node.out_shape)
            g = "own" if node.name == self.readout else self.known.derivative
            delta, moved = localise(b, node, own, arrived, self.params[node.name], g)
            self._learn(node, own, delta, moved)
            if node.name == self.readout and encoded != error:
                # the readout learns from the error itself; what returns is the encoded one
                delta, _ = localise(b, node, own, encoded, self.params[node.name], g)
            above = self._below(node, delta) if isinstance(path, ChainedPath) and node.name != self.lowest else None
        if matrix is not None:
            self._kolen_pollack(path, kept, sent)

    def _learn(self, node: AffineNode, own: Kept, delta: str, moved: dict[str, str]) -> None:
        if self.only_errors:
            return
        found = direction(self.b, node, delta, own.x) | moved
        for key, change in found.items():
            self._update(f"{node.name}.{key}", change, decays=key in ("weight", "norm_gain"))
        back_weights = (
            self.model.feedback.returns.get(node.name, {}) if isinstance(self.model.feedback, ChainedPath) else {}
        )
        item = back_weights.get("weight")
        if self.known.rule == "kp" and isinstance(item, Array):
            name = f"feedback.{node.name}.weight"
            self.learns[name] = item
            self._update(name, found["weight"], decays=True)
        if self.known.rule == "ldfa_local" and isinstance(item, Factors):
            self._factors(node, item, found["weight"])

    def _factors(self, node: AffineNode, item: Factors, change: str) -> None:
        """DP = dW Q^T and dQ = P^T dW."""
        b, names = self.b, {}
        for key, array in (("P", item.p), ("Q", item.q)):
            names[key] = f"feedback.{node.name}.weight.{key}"
            self.learns[names[key]] = array
        flat = b.op("Flatten", change, axis=1)
        q = b.op("Flatten", names["Q"], axis=1)
        self._update(names["P"], b.op("Gemm", flat, q, transB=1), decays=True)
        along = b.op("Gemm", names["P"], flat, transA=1)
        self._update(names["Q"], b.reshape(along, *item.q.shape), decays=True)

    def _kolen_pollack(self, path: DirectPath, kept: dict[str, Kept], sent: str) -> None:
        b, rows = self.b, []
        scaled = b.op("Mul", sent, b.constant(float(self.known.constants["rate"])))
        for part in path.slices:
            if part.spread != "own":
                raise NeurofaError("got dkp with rows for channels; expected a row for each value; use feedback dense")
            rows.append(b.op("Gemm", b.op("Flatten", kept[part.layer].y, axis=1), scaled, transA=1))
        self._update("feedback.matrix", b.op("Concat", *rows, axis=0), decays=True)

    def _statistics(self, node: AffineNode, own: Kept) -> None:
        """Running mean and (unbiased) variance follow those of the batch."""
        b, norm = self.b, node.norm
        assert norm is not None  # noqa: S101 (asked for nodes with a norm only)
        count = b.op("Cast", b.op("Size", own.a), to=1)
        n = b.op("Div", count, b.constant(float(node.out_shape[0])))
        unbiased = b.op("Div", n, b.op("Sub", n, b.constant(1.0)))
        for key, value in (("mean", own.more["mean"]), ("variance", b.op("Mul", own.more["variance"], unbiased))):
            name = f"{node.name}.norm_{key}"
            old = b.op("Mul", name, b.constant(1 - norm.momentum))
            self.new[name] = b.op("Add", old, b.op("Mul", b.reshape(value, -1), b.constant(norm.momentum)))

    def _update(self, name: str, change: str, *, decays: bool) -> None:
        """W' = W - lr decay W - lr / B dW."""
        b = self.b
        decay = float(self.known.constants.get("weight_decay") or 0.0)
        decay += float(self.known.constants.get("rule_decay") or 0.0) if decays else 0.0
        kept = name
        if decay:
            kept = b.op("Sub", name, b.op("Mul", b.op("Mul", name, "lr"), b.constant(decay)))
        self.new[name] = b.op("Sub", kept, b.op("Mul", change, self.rate))

    def _below(self, node: AffineNode, delta: str) -> str:
        path = self.model.feedback
        if node.norm is not None:
            raise NeurofaError(
                f"got a norm at '{node.name}' under a chained rule for a learning graph; expected none: its return"
                " gain is"
                " not written out; use a direct rule, or export to HDF5"
            )
        if path.tied == "weights":
            return back(self.b, node, delta, self.params[node.name]["weight"])
        if path.tied == "signs":
            raise NeurofaError("got return weights made of signs for ONNX; expected own ones; export to HDF5")
        item = path.returns[node.name]["weight"]
        where = f"feedback.{node.name}.weight"
        if isinstance(item, Factors):
            plastic = self.known.rule == "ldfa_local" and not self.only_errors
            p, q = (
                f"{where}.{key}" if plastic else self.b.weight(f"{where}.{key}", array.values)
                for key, array in (("P", item.p), ("Q", item.q))
            )
            return back(self.b, node, narrow(self.b, node, delta, p, item.q.shape[0]), q)
        plastic = self.known.rule == "kp" and not self.only_errors
        return back(self.b, node, delta, where if plastic else self.b.weight(where, item.values))

    def close(self) -> Any:
        """The checked model."""
        x = {"input": ("B", *self.model.input_shape)}
        if self.only_errors:
            for name, (value, _) in self.delivered.items():
                self.b.rename(value, f"teaching.{name}")
            outputs = {f"teaching.{name}": ("B", *shape) for name, (_, shape) in self.delivered.items()}
            return _finish(self.b, self.model, "feedback", x | {"error": ("B", self.model.outputs)}, outputs)
        for name, value in self.new.items():
            self.b.rename(value, f"new.{name}")
        self.b.rename(self.y, "output")
        self.b.rename(self.error, "loss_error")
        labels = self.model.loss == "cross_entropy"
        target = (torch.int64, ("B",)) if labels else (torch.float32, ("B", self.model.outputs))
        o = (torch.float32, ("B", self.model.outputs))
        taken = {name: (torch.float32, array.shape) for name, array in self.learns.items()}
        given = {f"new.{name}": (torch.float32, self.learns[name].shape) for name in self.new}
        inputs = {"input": (torch.float32, x["input"]), "target": target, "lr": (torch.float32, ()), **taken}
        about = metadata(self.model, "learning", rule=self.known.spec, lr=self.known.constants.get("lr"))
        return self.b.model("neurofa_learning", inputs, {"output": o, "loss_error": o, **given}, about)

    @property
    def initial(self) -> dict[str, Array]:
        """What the inputs that learn begin as."""
        return self.learns


def initial(model: Model) -> dict[str, Array]:
    """What the inputs of the learning graph begin as, by name."""
    step = _Step(model)
    step.run()
    return step.initial


def _finish(b: Builder, model: Model, part: str, inputs: dict[str, Any], outputs: dict[str, Any]) -> Any:
    path = model.feedback
    ideal = isinstance(path, DirectPath) and path.hardware is not None and not path.hardware.exact
    about = metadata(model, part, ideal_part_of_a_noisy_pathway=ideal)
    return b.model(
        f"neurofa_{part}", {k: (torch.float32, s) for k, s in inputs.items()},
        {k: (torch.float32, s) for k, s in outputs.items()}, about,
    )  # fmt: skip
