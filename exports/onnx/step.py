"""One learning step in ONNX operators: the forward pass, the error, and the way back to every layer."""

from __future__ import annotations

import numpy as np

from exports.graph.arrays import Array
from exports.graph.model import Model
from exports.graph.nodes import AffineNode, NormParameters
from exports.graph.pathways import ChainedPath, DirectPath, Factors, Learning
from exports.onnx.builder import GraphBuilder
from exports.onnx.layers import NodeRecord, add_node
from exports.onnx.returns import affine_error, factor_error, input_error, transposed_error, weight_directions
from exports.onnx.signals import encode_error, teaching_signal
from hwmodels.errors import NeurofaError


class LearningStep:
    """The operators of one learning step: forward pass, output error, errors of all layers, new weights.

    Args:
        model: the network with its feedback.
        learning: constants of rule and optimizer.
        only_errors: stop before the weights change: the error is an input, and all arrays are initializers.
    """

    def __init__(self, model: Model, learning: Learning, *, only_errors: bool = False) -> None:
        self.model, self.learning, self.only_errors = model, learning, only_errors
        self.b = GraphBuilder()
        self.learns: dict[str, Array] = {}
        """Arrays that learn, which are inputs of the graph, by name."""
        self.new: dict[str, str] = {}
        """Names of their values after the step."""
        self.delivered: dict[str, str] = {}
        """Name of the error delivered to each hidden layer, by layer."""
        self.params = {
            node.name: {key: self._parameter(f"{node.name}.{key}", array) for key, array in node.arrays().items()}
            for node in model.nodes
        }
        affine = [node for node in model.nodes if isinstance(node, AffineNode)]
        self.lowest, self.readout = affine[0].name, affine[-1].name
        self.records: dict[str, NodeRecord] = {}
        self.y = self._forward()
        self.target, self.error = "target", "error"
        if not only_errors:
            self._output_error()
            # directions are sums over the batch of B samples
            size = self.b.op("Gather", self.b.op("Shape", "input"), self.b.constant(0, np.int64), axis=0)
            self.rate = self.b.op("Div", "lr", self.b.cast(size))
        match model.feedback:
            case DirectPath() as path:
                self._backward_direct(path)
            case ChainedPath() as path:
                self._backward_chained(path)
            case _:
                self._teach(affine[-1], self.error)

    def _parameter(self, name: str, array: Array, *, learns: bool = True) -> str:
        """Return the name of an array: an input of the graph where it learns, else an initializer."""
        if self.only_errors or not learns:
            return self.b.weight(name, array.values)
        self.learns[name] = array
        return name

    def _forward(self) -> str:
        x = "input"
        for node in self.model.nodes:
            record = self.records[node.name] = add_node(self.b, node, x, self.params[node.name], training=True)
            x = record.y
            if isinstance(node, AffineNode) and node.norm is not None and not self.only_errors:
                self._update_statistics(node, node.norm, record)
        return x

    def _update_statistics(self, node: AffineNode, norm: NormParameters, record: NodeRecord) -> None:
        """Let running mean and (unbiased) variance follow those of the batch."""
        if norm.kind != "batch":
            return
        b = self.b
        # n values of each channel: all values over the number of channels
        n = b.op("Div", b.cast(b.op("Size", record.a)), b.constant(float(node.out_shape[0])))
        unbiased = b.op("Div", n, b.op("Sub", n, b.constant(1.0)))
        variance = b.op("Mul", record.more["variance"], unbiased)
        for key, value in (("mean", record.more["mean"]), ("variance", variance)):
            name = f"{node.name}.norm_{key}"
            old = b.op("Mul", name, b.constant(1 - norm.momentum))
            self.new[name] = b.op("Add", old, b.op("Mul", b.reshape(value, -1), b.constant(norm.momentum)))

    def _output_error(self) -> None:
        b, loss = self.b, self.model.loss
        if loss == "cross_entropy":
            off_on = b.constant([0.0, 1.0])
            self.target = b.op("OneHot", "target", b.constant(self.model.outputs, np.int64), off_on, axis=1)
            self.error = b.op("Sub", b.op("Softmax", self.y, axis=1), self.target)
        elif loss == "mse":
            self.error = b.op("Sub", self.y, "target")
        else:
            raise NeurofaError(
                f"got loss '{loss}' for a learning graph; expected cross_entropy or mse, without options; use one of"
                " them"
            )

    def _backward_direct(self, path: DirectPath) -> None:
        """Teach every hidden layer that has a slice of the pathway and is not frozen, and the readout."""
        # the readout learns from the error itself; only what enters the pathway is encoded
        source = self.target if self.learning.signal == "target" else self.error
        sent, matrix = encode_error(self.b, self.model.error, source), None
        if self.learning.plasticity == "kolen_pollack" and path.matrix is not None:
            matrix = self._parameter("feedback.matrix", path.matrix)
        slices = {part.layer: part for part in path.slices if part.layer not in self.learning.frozen}
        for node in reversed(self.model.nodes):
            if not isinstance(node, AffineNode):
                continue
            if node.name == self.readout:
                self._teach(node, self.error)
            elif node.name in slices:
                self._teach(node, teaching_signal(self.b, path, slices[node.name], sent, matrix))
        if matrix is not None:
            self._learn_matrix(path, sent)

    def _backward_chained(self, path: ChainedPath) -> None:
        """Teach every layer the error that the layer above returns."""
        returned, above = encode_error(self.b, self.model.error, self.error), ""
        for node in reversed(self.model.nodes):
            record = self.records[node.name]
            if not isinstance(node, AffineNode):
                above = above and transposed_error(self.b, node, record, above)
                continue
            delta, change = self._teach(node, above or self.error)
            self._learn_returns(node, path, change)
            if node.name == self.readout and returned != self.error:
                # the readout learns from the error itself, and returns the encoded one
                delta = affine_error(self.b, node, record, returned, self.params[node.name], "own")[0]
            above = "" if node.name == self.lowest else self._return_error(node, path, delta)

    def _teach(self, node: AffineNode, error: str) -> tuple[str, str]:
        """Update a layer by the error at its output; return the error at its affine output and W's direction."""
        record = self.records[node.name]
        g = self.learning.derivative
        if node.name == self.readout:
            g = "own"
        else:
            self.delivered[node.name] = error
        delta, directions = affine_error(self.b, node, record, error, self.params[node.name], g)
        if self.only_errors:
            return delta, ""
        directions = weight_directions(self.b, node, delta, record.x) | directions
        for key, change in directions.items():
            self._update(f"{node.name}.{key}", change, decays=key in ("weight", "norm_gain"))
        return delta, directions["weight"]

    def _learn_returns(self, node: AffineNode, path: ChainedPath, change: str) -> None:
        """Update the return weights beside a layer from the direction dW of its own weights."""
        weight, name, b = path.returns.get(node.name, {}).get("weight"), f"feedback.{node.name}.weight", self.b
        if self.only_errors or weight is None:
            return
        if self.learning.plasticity == "kolen_pollack" and isinstance(weight, Array):
            self._update(self._parameter(name, weight), change, decays=True)
        elif self.learning.plasticity == "two_factor" and isinstance(weight, Factors):
            # dP = dW Q^T and dQ = P^T dW
            p, q = (self._parameter(f"{name}.{key}", array) for key, array in weight.arrays().items())
            flat = b.op("Flatten", change, axis=1)
            self._update(p, b.op("Gemm", flat, b.op("Flatten", q, axis=1), transB=1), decays=True)
            self._update(q, b.reshape(b.op("Gemm", p, flat, transA=1), *weight.q.shape), decays=True)

    def _learn_matrix(self, path: DirectPath, sent: str) -> None:
        """Update B by rate h^T e, with the outputs h of the layers that its rows teach (Kolen and Pollack)."""
        b, rows = self.b, []
        scaled = b.op("Mul", sent, b.constant(float(self.learning.constants.get("rate", 1.0))))
        for part in path.slices:
            if part.spread != "own":
                raise NeurofaError(
                    "got feedback that learns a row for each channel; expected a row for each value; use feedback dense"
                )
            output = b.op("Flatten", self.records[part.layer].y, axis=1)
            rows.append(b.op("Gemm", output, scaled, transA=1))
        self._update("feedback.matrix", b.op("Concat", *rows, axis=0), decays=True)

    def _update(self, name: str, change: str, *, decays: bool) -> None:
        """Add W' = W - lr decay W - lr / B dW."""
        b, constants, kept = self.b, self.learning.constants, name
        decay = float(constants.get("weight_decay") or 0.0)
        decay += float(constants.get("rule_decay") or 0.0) if decays else 0.0
        if decay:
            # of the weights before the step, as torch's SGD
            kept = b.op("Sub", name, b.op("Mul", b.op("Mul", name, "lr"), b.constant(decay)))
        self.new[name] = b.op("Sub", kept, b.op("Mul", change, self.rate))

    def _return_error(self, node: AffineNode, path: ChainedPath, delta: str) -> str:
        """Add the error that a layer returns to the one below; return its name."""
        if node.norm is not None:
            raise NeurofaError(
                f"got a norm at '{node.name}' under a chained rule for a learning graph; expected none: its return"
                " gain is not written out; use a direct rule, or export to HDF5"
            )
        if path.tied == "weights":
            return input_error(self.b, node, delta, self.params[node.name]["weight"])
        if path.tied == "signs":
            raise NeurofaError("got return weights made of signs for ONNX; expected own ones; export to HDF5")
        weight, name = path.returns[node.name]["weight"], f"feedback.{node.name}.weight"
        if isinstance(weight, Factors):
            learns = self.learning.plasticity == "two_factor"
            p, q = (self._parameter(f"{name}.{key}", a, learns=learns) for key, a in weight.arrays().items())
            return input_error(self.b, node, factor_error(self.b, node, delta, p, weight.q.shape[0]), q)
        learns = self.learning.plasticity == "kolen_pollack"
        return input_error(self.b, node, delta, self._parameter(name, weight, learns=learns))
