"""Import of any torch module: traced, cut where one tensor alone crosses, compared with the original."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from hwmodels.arrays.periphery import Periphery
from hwmodels.device import Device
from hwmodels.errors import NeurofaError
from neurofa.core.network import Network
from neurofa.core.randomness import generator
from neurofa.core.summary import exact_credit, exact_text
from neurofa.interop.borrowed_model import kept
from neurofa.interop.comparison import compare_layers
from neurofa.interop.modules import numbers_of
from neurofa.interop.tracing.cutting import choose_cuts
from neurofa.interop.tracing.flow import ValueFlow
from neurofa.interop.tracing.grouping import Grouping
from neurofa.interop.tracing.modes import traced
from neurofa.interop.tracing.pieces import path_of
from neurofa.interop.tracing.tracer import MODEL
from neurofa.interop.units import assemble
from neurofa.maps.wrapped import first_line, independent_copy, refuse_lazy


class UncutModel(UserWarning):
    """Parts of a model that cannot be cut, or are called as they are."""


def from_module(
    module: nn.Module,
    example_input: Tensor,
    *,
    cut: Sequence[str] | None = None,
    units: str = "blocks",
    tied: str = "together",
    vocabulary: int | None = None,
    device: Device | str = "digital",
    periphery: Periphery | str = "exact",
    seed: int = 0,
) -> Network:
    """Return the network of any torch module, with copies of its weights: a chain of units of credit.

    The forward is traced by ``torch.fx`` and cut where one tensor alone crosses: behind the blocks of a residual net,
    behind the layers of a transformer. A unit that is one linear map or convolution, with its normalisation,
    activation and dropout, becomes this package's layer of that kind; every other unit becomes a block, inside of which
    credit is exact. A part that cannot be traced, because it branches on numbers in a tensor or has hooks, is called
    as it is. Skips, weights that several places share, frozen weights, buffers, modes (a part that its model keeps in
    evaluation mode stays there), dtype and place are kept.

    Before the network is returned it is compared with the module, in float64, in training and in evaluation mode:
    outputs, gradients of all weights, running statistics; first unit by unit, then as a whole.

    Args:
        module: of one tensor to one tensor, samples first; further arguments keep their defaults. It stays as it is.
        example_input: (B, *input_shape), one batch: numbers, or ids of tokens (int64).
        cut: names of modules behind which the network is cut, and nowhere else; ``[]``: one unit. None: by structure.
        units: ``blocks`` cuts no block of the model; ``finest`` cuts wherever one tensor alone crosses.
        tied: what becomes of units that share a weight: ``together`` makes them, and all between them, one unit;
            ``copies`` gives each a weight of its own, which training drives apart.
        vocabulary: number of tokens; None: rows of the embedding that takes the ids.
        device: device that stores the affine weights, or its spec.
        periphery: converters and noise around the arrays of affine weights, or their spec.
        seed: of the noise with which a device is programmed.

    Raises:
        NeurofaError: the module does not run on the example, returns something else than one tensor, has no weights
            at its end, or a unit would differ from its modules (they are named); a cut where more than one tensor
            crosses.

    Warns:
        UncutModel: parts are called as they are, or units were joined since they share a weight.
    """
    _check(module, example_input)
    with kept(module):
        batches = _two_batches(module, example_input)
        flow = traced(module, batches)
        tokens = None if example_input.is_floating_point() else vocabulary or _vocabulary(flow, module)
        cuts = choose_cuts(flow, module, cut=cut, units=units, tied=tied)
        grouping = Grouping(
            flow,
            module,
            vocabulary=tokens,
            evaluating=_staying(module),
            whole=cut is not None,
            finest=units == "finest",
        )
        parts = grouping.units(cuts)
        shape, numbers = example_input.shape[1:], numbers_of([module])
        compare_layers(module, assemble(parts, shape, seed=seed, numbers=numbers), parts, example_input)
    network = assemble(parts, shape, device=device, periphery=periphery, seed=seed, numbers=numbers)
    _remark(flow, [*cuts.remarks, exact_text(*exact_credit(layer for _, layer in network.items()))])
    return network


def _check(module: object, example: object) -> None:
    if not isinstance(module, nn.Module):
        raise NeurofaError(f"got a {type(module).__name__}; expected an nn.Module; pass the module")
    if not isinstance(example, Tensor) or example.dim() < 2 or not len(example):
        what = f"a tensor of shape {tuple(example.shape)}" if isinstance(example, Tensor) else type(example).__name__
        raise NeurofaError(
            f"got {what} as example_input; expected one tensor (B, ...), a batch of samples; wrap a module of several"
            " inputs in one that takes one tensor"
        )
    if not example.is_floating_point() and example.dtype != torch.int64:
        raise NeurofaError(f"got example_input of {example.dtype}; expected numbers, or ids of tokens as int64")
    refuse_lazy(module)


def _two_batches(module: nn.Module, example: Tensor) -> tuple[Tensor, Tensor]:
    """Return batches of two and of three samples with different numbers, on which the module runs."""
    rows = example.detach()[torch.arange(5) % len(example)]
    if rows.is_floating_point():
        rows = rows + 0.01 * torch.randn(rows.shape, generator=generator(0, "trace")).to(rows)
    try:
        with torch.no_grad():
            independent_copy(module).eval()(rows[:2].clone())
    except NeurofaError:
        raise
    except Exception as error:
        raise NeurofaError(
            f"got a {type(module).__name__} that does not run on batches of shape (2, {str(tuple(rows.shape[1:]))[1:]}"
            f" ({first_line(error)}); expected a forward of one tensor; correct example_input"
        ) from None
    return rows[:2], rows[2:]


def _vocabulary(flow: ValueFlow, module: nn.Module) -> int:
    """Return the number of tokens that the embeddings of the input know.

    Raises:
        NeurofaError: no embedding takes the input itself.
    """
    found = []
    for node in flow.nodes:
        if flow.input in node.all_input_nodes and node.op == "call_module":
            part = module.get_submodule(path_of(node)) if str(node.target) != MODEL else module
            known = [part] if isinstance(part, nn.Embedding) else [m for m in part.modules() if type(m) is nn.Embedding]
            found += [m.num_embeddings for m in known[:1]]
    if not found:
        raise NeurofaError(
            "got ids of tokens that enter no nn.Embedding; expected the number of tokens; pass vocabulary=..."
        )
    return min(found)


def _staying(module: nn.Module) -> frozenset[str]:
    """Return the names of modules that stay in evaluation mode when the model is put into training mode."""
    trained = independent_copy(module).train()
    return frozenset(name for name, part in trained.named_modules() if not part.training)


def _remark(flow: ValueFlow, remarks: Sequence[str]) -> None:
    """Say what could not be cut, in one warning."""
    said = [
        f"'{path.removeprefix(MODEL).removeprefix('.') or 'the model'}' is called as it is ({reason})"
        for path, reason in flow.tracer.untraced.items()
    ]
    if said or len(remarks) > 1:
        warnings.warn("; ".join([*said, *remarks]), UncutModel, stacklevel=3)
