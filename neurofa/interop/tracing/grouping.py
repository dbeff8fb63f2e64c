"""Layers for the segments of a traced model: this package's own where a unit is exactly one of them, else blocks."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn
from torch.nn import functional
from torch.nn.modules.conv import _ConvNd

from neurofa.interop.modules import Named, unchanged
from neurofa.interop.tracing.cutting import Cuts
from neurofa.interop.tracing.flow import ValueFlow
from neurofa.interop.tracing.pieces import PieceBuilder, as_module, path_of, tensors_of
from neurofa.interop.tracing.tracer import MODEL
from neurofa.interop.units import Unit, affine_layer, has_layer, parameter_free_layer
from neurofa.layers.block import Block

MULTIPLICATIONS = frozenset(
    {
        functional.linear,
        functional.bilinear,
        functional.embedding,
        functional.conv1d,
        functional.conv2d,
        functional.conv3d,
        torch.matmul,
        torch.bmm,
        torch.einsum,
        operator.matmul,
        "matmul",
        "bmm",
    }
)
"""Functions and methods that multiply by a matrix or kernel, or look rows of one up."""


@dataclass(frozen=True)
class Segment:
    """Consecutive nodes between two cuts.

    Args:
        nodes: of the flow.
        module: torch's own module that does the same, if the segment is one call.
        weighted: whether it has weights.
        opens: whether its input meets a matrix, a kernel or an embedding, so that a unit begins here.
        resizes: whether the shape of a sample changes.
        axes: of the tensor that enters, samples included.
    """

    nodes: tuple[fx.Node, ...]
    module: Named | None
    weighted: bool
    opens: bool
    resizes: bool
    axes: int

    @property
    def norm(self) -> bool:
        """Whether it is one module with weights that is no matrix: a normalisation."""
        return self.weighted and not self.opens and self.nodes[0].op == "call_module"

    @property
    def simple(self) -> bool:
        """Whether it is one linear map, convolution or embedding."""
        return self.opens and self.module is not None and isinstance(self.module[1], (nn.Linear, _ConvNd, nn.Embedding))

    @property
    def stands_alone(self) -> bool:
        """Whether a layer without weights does the same; dropout belongs to what is before."""
        if self.module is None or isinstance(self.module[1], nn.Dropout):
            return False
        return parameter_free_layer(self.module[1]) is not None


class Grouping:
    """Groups the segments of a traced model into layers.

    Args:
        flow: of the model.
        model: the model.
        vocabulary: number of tokens whose ids enter the model; None: numbers do.
        evaluating: modules that stay in evaluation mode, by name.
        whole: whether every segment is one unit, as the user cut it; otherwise what has no weights joins others.
        finest: whether a normalisation that stands alone is a unit.
    """

    def __init__(
        self,
        flow: ValueFlow,
        model: nn.Module,
        *,
        vocabulary: int | None,
        evaluating: frozenset[str],
        whole: bool,
        finest: bool,
    ) -> None:
        self.flow, self.model, self.vocabulary, self.evaluating = flow, model, vocabulary, evaluating
        self.whole, self.finest = whole, finest
        self.pieces = PieceBuilder(flow, model)

    def units(self, cuts: Cuts) -> list[Unit]:
        """Return the layers, each with the module that it stands for, in order.

        Args:
            cuts: of the flow.
        """
        segments = [self._segment(nodes) for nodes in cuts.segments(self.flow)]
        groups = [[part] for part in segments]
        if not self.whole:
            groups = [part for group in self._groups(segments) for part in self._parted(group)]
        while len(groups) > 1 and not any(part.weighted for part in groups[-1]):
            last = groups.pop()  # a readout has weights
            groups[-1] += last
        source = self.flow.input
        units = []
        for group in groups:
            nodes = [node for part in group for node in part.nodes]
            units.append(self._unit(group, nodes, source))
            source = nodes[-1]
        return units

    def _segment(self, nodes: tuple[fx.Node, ...]) -> Segment:
        single = as_module(self.flow, self.model, nodes[0]) if len(nodes) == 1 else None
        module = single if single is not None and self._own(single) else None
        held = tensors_of(self.flow, self.model, nodes).values()
        first = nodes[0].all_input_nodes[0]
        before, after = self.flow.values[first][0], self.flow.values[nodes[-1]][0]
        return Segment(
            nodes,
            module,
            weighted=any(isinstance(tensor, nn.Parameter) for _, tensor in held),
            opens=any(map(self._multiplies, nodes)),
            resizes=not isinstance(before, Tensor) or before.shape != after.shape,
            axes=before.dim() if isinstance(before, Tensor) else 0,
        )

    def _multiplies(self, node: fx.Node) -> bool:
        """Return whether the value that a node takes meets a matrix, a kernel or an embedding."""
        if node.op == "call_module":
            part = self.model.get_submodule(path_of(node))
            return any(p.dim() > 1 for p in part.parameters())
        if node.target not in MULTIPLICATIONS:
            return False
        return any(given not in self.flow.carried for given in node.all_input_nodes)

    def _own(self, named: Named) -> bool:
        """Return whether a module is torch's own, and changes its mode with the network."""
        return unchanged(named[1]) and named[0] not in self.evaluating

    def _groups(self, segments: Sequence[Segment]) -> list[list[Segment]]:
        """Return the segments that belong together: a matrix or kernel with all up to the next one.

        A normalisation belongs to the map right before it, else to what follows.
        """
        groups: list[list[Segment]] = []
        for part in segments:
            group = groups[-1] if groups else []
            opened = any(each.opens for each in group)
            weighted = any(each.weighted for each in group)
            if part.opens:
                joins = weighted and not opened
            elif part.norm:
                joins = opened and group[-1].simple
            else:
                joins = weighted or (bool(group) and not part.weighted)
            if self.finest and part.norm and not (opened and plain_map(group)):
                joins = False
            if self.finest and part.opens:
                joins = False
            if joins:
                group.append(part)
            else:
                groups.append([part])
        return groups

    def _parted(self, group: list[Segment]) -> list[list[Segment]]:
        """Return a group without what has no weights and can stand alone at its end, and that as layers of its own."""
        tail = len(group)
        while tail and not group[tail - 1].weighted:
            tail -= 1
        affine = plain_map(group)
        end = tail
        while end < len(group):
            part = group[end]
            if part.stands_alone or (part.resizes and (affine or part.nodes[0].op == "call_module")):
                break
            end += 1
        parted = [group[:end]] if end else []
        joins = False  # consecutive operations without a layer of their own are one block
        for part in group[end:]:
            if joins and not part.stands_alone:
                parted[-1].append(part)
            else:
                parted.append([part])
            joins = not part.stands_alone
        return parted

    def _unit(self, group: Sequence[Segment], nodes: Sequence[fx.Node], source: fx.Node) -> Unit:
        tokens = self.vocabulary if source is self.flow.input else None
        modules = [part.module for part in group if part.module is not None]
        if len(modules) == len(group) and tokens is None:
            plain = [module for _, module in modules]
            if plain_map(group):
                layer, used = affine_layer(plain)
                if used == len(plain):
                    return Unit(layer, tuple(modules))
            elif len(plain) == 1 and (free := parameter_free_layer(plain[0])) is not None:
                return Unit(free, tuple(modules))
        alone = len(nodes) == 1 and nodes[0].op == "call_module" and str(nodes[0].target) == MODEL
        module = self.model if alone else self.pieces.piece(nodes, source, nodes[-1])
        inside = {name for name, _ in module.named_modules()}
        staying = tuple(sorted(self.evaluating & inside))
        name = self._title(nodes)
        return Unit(Block(module, vocabulary=tokens, evaluating=staying), ((name, module),), tokens, staying)

    def _title(self, nodes: Sequence[fx.Node]) -> str:
        """Return what a unit is called in messages: the modules from which to which it reaches."""
        called = [path_of(node) for node in nodes if node.op == "call_module"]
        if not called:
            return nodes[0].name
        return called[0] if called[0] == called[-1] else f"{called[0]} to {called[-1]}"


def plain_map(group: Sequence[Segment]) -> bool:
    """Return whether a group begins with a linear map or convolution that a layer of this package supports."""
    if not group or group[0].module is None:
        return False
    head = group[0].module[1]
    # a linear map of tokens is a block: a dense layer takes one vector a sample
    return has_layer(head) and (group[0].axes == 2 or not isinstance(head, nn.Linear))
