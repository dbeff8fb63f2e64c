"""Nodes of NIR without neurons as torch modules, and branches of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from neurofa.interop.nir.chain import Branches, Link
from neurofa.interop.nir.parameters import integers, padding_of
from neurofa.interop.nir.read import kind_of


class Scale(nn.Module):
    """Factors of single values, (B, *shape) to the same.

    Args:
        factors: (*shape), or a shape that broadcasts to it.
    """

    def __init__(self, factors: Tensor) -> None:
        super().__init__()
        self.factors = nn.Parameter(factors)

    def forward(self, x: Tensor) -> Tensor:
        """Return the products."""
        return x * self.factors


class Summed(nn.Module):
    """Modules on several ways, whose ends are summed.

    Args:
        modules: in the order of execution.
        sources: by module: which are summed at its input; -1: the input of all.
        ends: which are summed at the output.
    """

    def __init__(self, modules: list[nn.Module], sources: list[list[int]], ends: list[int]) -> None:
        super().__init__()
        self.nodes, self.sources, self.ends = nn.ModuleList(modules), sources, ends

    def forward(self, x: Tensor) -> Tensor:
        """Return the sum at the end of all ways."""
        outputs = {-1: x}
        for index, module in enumerate(self.nodes):
            outputs[index] = module(_sum(outputs, self.sources[index]))
        return _sum(outputs, self.ends)


def _sum(outputs: dict[int, Tensor], which: list[int]) -> Tensor:
    total = outputs[which[0]]
    for index in which[1:]:
        total = total + outputs[index]
    return total


def summed_module(branches: Branches) -> nn.Module:
    """Return the module of branches."""
    at = {"": -1} | {link.name: index for index, link in enumerate(branches.links)}
    modules = [module_of(link) for link in branches.links]
    sources = [[at[name] for name in names] for names in branches.sources]
    return Summed(modules, sources, [at[name] for name in branches.ends])


def module_of(link: Link) -> nn.Module:
    """Return the torch module of a node without neurons, with its weights in double precision."""
    node, kind = link.node, kind_of(link.node)
    if kind in ("Linear", "Affine"):
        weight = tensor(node.weight)
        return _filled(nn.Linear(weight.shape[1], weight.shape[0], bias=kind == "Affine"), node)
    if kind in ("Conv1d", "Conv2d"):
        return _convolution(node, 1 if kind == "Conv1d" else 2)
    if kind in ("AvgPool2d", "SumPool2d"):
        size, stride, padding = (integers(getattr(node, k), 2) for k in ("kernel_size", "stride", "padding"))
        divisor = 1 if kind == "SumPool2d" else None
        return nn.AvgPool2d(_pair(size), _pair(stride), _pair(padding), divisor_override=divisor)
    if kind == "Flatten":
        # axes here count the batch
        begin, end = (int(v) for v in (node.start_dim, node.end_dim))
        return nn.Flatten(begin + 1 if begin >= 0 else begin, end + 1 if end >= 0 else end)
    if kind == "Scale":
        return Scale(tensor(np.broadcast_to(node.scale, link.out_shape)))
    return nn.Identity()


def _convolution(node: Any, axes: int) -> nn.Module:
    weight = np.asarray(node.weight)
    groups = int(node.groups)
    options: dict[str, Any] = {
        "stride": integers(node.stride, axes),
        "padding": padding_of(node.padding, axes),
        "dilation": integers(node.dilation, axes),
        "groups": groups,
    }
    kernel: Any = tuple(weight.shape[2:])
    kind = nn.Conv1d if axes == 1 else nn.Conv2d
    return _filled(kind(weight.shape[1] * groups, weight.shape[0], kernel, **options), node)


def _filled(module: Any, node: Any) -> nn.Module:
    filled: nn.Module = module.double()
    module.weight.data.copy_(tensor(node.weight))
    if module.bias is not None:
        module.bias.data.copy_(tensor(np.broadcast_to(node.bias, (len(module.bias),))))
    return filled


def tensor(values: Any) -> Tensor:
    """Return numbers as a tensor of their own, in double precision."""
    return torch.from_numpy(np.array(values, dtype=np.float64))


def _pair(sizes: tuple[int, ...]) -> tuple[int, int]:
    first, second = sizes
    return first, second
