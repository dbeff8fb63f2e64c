"""The choice of units of credit: where a traced model is cut, and what stays together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from torch import fx, nn

from hwmodels.errors import NeurofaError, did_you_mean
from neurofa.interop.tracing.flow import ValueFlow
from neurofa.interop.tracing.pieces import path_of, tensors_of
from neurofa.interop.tracing.tracer import MODEL, ModuleCall

UNITS = ("blocks", "finest")
"""Words for automatic cuts: whole blocks of the model, or the smallest units that can be cut."""
TIED = ("together", "copies")
"""Words for weights that several units share: these units become one, or each gets a copy of its own."""


@dataclass
class Cuts:
    """Where a model is cut.

    Args:
        ends: last node of every segment, by index.
        remarks: what a user should know, one sentence each.
    """

    ends: list[int]
    remarks: list[str] = field(default_factory=list)

    def segments(self, flow: ValueFlow) -> list[tuple[fx.Node, ...]]:
        """Return the nodes of every segment, in order.

        Args:
            flow: that is cut.
        """
        starts = [0, *(end + 1 for end in self.ends)]
        return [tuple(flow.nodes[start : end + 1]) for start, end in zip(starts, self.ends, strict=False)]


def choose_cuts(flow: ValueFlow, model: nn.Module, *, cut: Sequence[str] | None, units: str, tied: str) -> Cuts:
    """Return where a model is cut, with what shares a weight kept together.

    Args:
        flow: of the model.
        model: the model.
        cut: names of modules behind which it is cut; None: by its structure.
        units: ``blocks`` or ``finest``, where ``cut`` is None.
        tied: ``together`` or ``copies``.

    Raises:
        NeurofaError: an unknown word or name, or a name behind which more than one tensor crosses.
    """
    for name, word, known in (("units", units, UNITS), ("tied", tied, TIED)):
        if word not in known:
            raise NeurofaError(f"got {name}='{word}'; expected {' or '.join(known)}{did_you_mean(word, known)}")
    end = len(flow.nodes) - 1
    if cut is not None:
        chosen = sorted({_cut_behind(flow, name) for name in cut} - {end})
    else:
        chosen = flow.cuts() if units == "finest" else _between_blocks(flow)
    cuts = Cuts([*chosen, end])
    if tied == "together":
        _keep_together(cuts, flow, model)
    return cuts


def _cut_behind(flow: ValueFlow, name: str) -> int:
    """Return the last node of the module with a name.

    Raises:
        NeurofaError: no module with this name is called, or one tensor alone does not cross there.
    """
    named = {call.path.removeprefix(MODEL).removeprefix("."): call for call in flow.calls()}
    if name not in named:
        known = sorted(key for key in named if key)
        raise NeurofaError(
            f"got cut behind '{name}'; expected the name of a module that the forward calls{did_you_mean(name, known)};"
            f" such as {', '.join(known[:4])}"
        )
    span = flow.span(named[name])
    if span is None or (span[1] < len(flow.nodes) - 1 and flow.cut_at(span[1]) is None):
        across = (
            [] if span is None else [path_of(n) if n.op == "call_module" else n.name for n in flow.crossing[span[1]]]
        )
        what = f"{len(across)} values ({', '.join(across)})" if len(across) != 1 else "no tensor with samples first"
        raise NeurofaError(
            f"got cut behind '{name}', where {what} cross to what follows; expected one tensor (B, ...) alone; cut"
            " elsewhere"
        )
    return span[1]


def _between_blocks(flow: ValueFlow) -> list[int]:
    """Return the cuts that divide no block: no module whose inside is more than a chain, nor others of its class."""
    cuts = flow.cuts()
    blocks: list[ModuleCall] = []
    opened: list[ModuleCall] = []
    waiting = [_model_itself(flow)]
    while waiting:
        call = waiting.pop()
        opened.append(call)
        for inner in (item for item in call.items if isinstance(item, ModuleCall)):
            if _is_chain(flow, inner, set(cuts)):
                waiting.append(inner)
            else:
                blocks.append(inner)
    kinds = {call.kind for call in blocks if not issubclass(call.kind, nn.Sequential)}
    spans = [flow.span(call) for call in [*blocks, *(call for call in opened[1:] if call.kind in kinds)]]
    whole = [span for span in spans if span is not None]
    return [cut for cut in cuts if not any(first <= cut < last for first, last in whole)]


def _model_itself(flow: ValueFlow) -> ModuleCall:
    """Return the call of the model, or of the module that is all that it calls."""
    call = flow.tracer.top
    while True:
        items = [item for item in call.items if isinstance(item, ModuleCall) or item in flow.nodes]
        if len(items) != 1 or not isinstance(items[0], ModuleCall):
            return call
        call = items[0]


def _is_chain(flow: ValueFlow, call: ModuleCall, cuts: set[int]) -> bool:
    """Return whether the model can be cut between all that a call does one after another.

    Args:
        flow: of the model.
        call: of one of its modules.
        cuts: all of the flow.
    """
    place = {node: (index, index) for index, node in enumerate(flow.nodes)}
    spans = [flow.span(item) if isinstance(item, ModuleCall) else place.get(item) for item in call.items]
    known = [span for span in spans if span is not None]
    return all(any(i in cuts for i in range(first[1], second[0])) for first, second in pairwise(known))


def _keep_together(cuts: Cuts, flow: ValueFlow, model: nn.Module) -> None:
    """Remove cuts between segments that share a weight or a running statistic, and say so."""
    segments = cuts.segments(flow)
    first: dict[int, tuple[int, str]] = {}
    removed: set[int] = set()
    for index, nodes in enumerate(segments):
        for place, (name, _) in tensors_of(flow, model, nodes).items():
            if place in first and first[place][0] != index:
                inside = set(range(first[place][0], index))
                if not inside <= removed:
                    cuts.remarks.append(
                        f"weight '{first[place][1]}' is used in several places, so that all between them is one unit"
                        " (tied='copies' gives each place its own)"
                    )
                removed |= inside
            first.setdefault(place, (index, name))
    cuts.ends = [end for index, end in enumerate(cuts.ends) if index not in removed]
