"""Synapses, the only container of weights: a device realises the weight changes that the optimizer requests."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NoReturn

import torch
from torch import Tensor, nn

from hwmodels.description import DescribedBuffers, TensorDescription
from hwmodels.device import Cells, Device, relaxed
from hwmodels.device_models.compiled_write import compiled_write
from hwmodels.devices.wear import add_ledger
from hwmodels.errors import NeurofaError
from hwmodels.numerics.compiled import draw_key
from neurofa.core.directions import TALL, Direction, Outer, RowSums, Sum
from neurofa.core.event_rows import dense_rows
from neurofa.core.programming import clipped_share, generator_for, warn_of_clipping

RENAMED_CELLS = {"_fate": "_drift"}
"""Ends of the names of cells in earlier files, and their present ones."""


class Synapses(DescribedBuffers):
    """One weight tensor stored on a device.

    ``weight`` is an ordinary parameter: any ``torch.optim`` optimizer steps it, and ``state_dict``, ``.to()`` and
    ``deepcopy`` work as usual. :meth:`commit` then requests the optimizer's change from the device and sets ``weight``
    to the realised value. Weights that anything else changes in place (an initialisation, an average, a state dict
    without cells) are programmed before they are used (:meth:`settle`), so that weight and cells never part.

    Args:
        target: weights to program, any shape.
        device: physics of one stored weight.
        gen: source of randomness for programming.
        adopt: let an exact device keep ``target`` without a copy, which saves memory for large matrices; the caller
            must not use ``target`` afterwards.

    With ``fused`` set, a write is one compiled kernel (:mod:`hwmodels.device_models.compiled_write`).
    """

    weight: nn.Parameter
    """The stored weight, as the optimizer sees it; any shape."""
    fused: bool = False
    """Whether a write is one compiled kernel."""

    def __init__(
        self, target: Tensor, device: Device, gen: torch.Generator | None = None, *, adopt: bool = False
    ) -> None:
        super().__init__()
        self.device = device
        cells: Cells = {}
        if device.exact:  # the weight itself is the only stored state
            value = target.detach() if adopt else target.detach().clone()
        else:
            cells = device.program(target.detach(), gen)
            value = device.value(cells).clone()
        self.clipped = clipped_share(device, cells, target.detach())
        """Share of the initial weights beyond the range of the device, and that range."""
        self.weight = nn.Parameter(value)
        self._cells = tuple(cells)
        for key in self._cells:
            self.register_buffer(f"cell_{key}", cells[key])
        self._request: Tensor | None = None
        self._outer: tuple[Outer, float] | None = None
        self._requested = False
        self._spare_gradient: Tensor | None = None
        self._settled = _version(self.weight)

    @property
    def exact(self) -> bool:
        """Whether the stored weights are the optimizer's numbers, without a device model."""
        return self.device.exact

    @property
    def cells(self) -> Cells:
        """State of the device, by name."""
        if self.exact:
            return {"weight": self.weight.detach()}
        self.settle()
        return self._stored_cells()

    def _stored_cells(self) -> Cells:
        return {key: self.get_buffer(f"cell_{key}") for key in self._cells}

    def read(self, gen: torch.Generator | None = None) -> Tensor:
        """Return the weights as read in one pass, detached, with the device's read noise."""
        self.settle(gen)
        return self.device.read(self._stored_cells(), gen) if self.device.noisy else self.weight.detach()

    def stored(self) -> Tensor:
        """Return the stored weights, detached, without read noise."""
        self.settle()
        return self.weight.detach()

    def settle(self, gen: torch.Generator | None = None) -> None:
        """Program the weights if anything but the device has changed them in place since the last call.

        Args:
            gen: source of programming noise; None: one that follows from the weights.
        """
        # every read of a step comes here, so that nothing else is done before this line
        if not self.device.exact and self._settled != _version(self.weight):
            self._reprogram(gen)

    @torch.no_grad()
    def _reprogram(self, gen: torch.Generator | None) -> None:
        """Program the weights as they are now, unless they are what the cells stand for."""
        target, stored = self.weight.detach(), self.device.value(self._stored_cells())
        # a copy or a change of the number format has another version, and the same weights up to rounding
        eps = max(torch.finfo(target.dtype).eps, torch.finfo(torch.float32).eps)
        if not bool((target - stored).abs().amax() <= 4 * eps * stored.abs().amax()):
            target = target.clone()
            self.program(target, generator_for(target) if gen is None else gen)
            shares = {f"weights of shape {tuple(target.shape)}": self.clips(target)}
            warn_of_clipping(shares, str(self.device))
        self._settled = _version(self.weight)

    @torch.no_grad()
    def commit(self, gen: torch.Generator | None = None) -> None:
        """Let the device realise the change of ``weight`` since the last commit; nothing happens on an exact device."""
        if self.exact:
            return
        cells = self._stored_cells()
        self._write(cells, self.weight.detach() - self.device.value(cells), gen)

    @torch.no_grad()
    def write(self, change: Tensor, gen: torch.Generator | None = None) -> None:
        """Write a change of the weights (same shape) that is not yet in ``weight``.

        Args:
            change: requested change, shaped as the weight.
            gen: source of write noise.
        """
        if self.exact:
            self.weight.add_(change)
        else:
            self._write(self.cells, change, gen)

    def _write(self, cells: Cells, change: Tensor, gen: torch.Generator | None) -> None:
        if self.fused and gen is not None:
            compiled_write(self.device)(cells, self.weight.data, change, draw_key(gen))
            self._settled = _version(self.weight)
        else:
            self._store(self.device.write(cells, change, gen))

    @torch.no_grad()
    def write_outer(self, x: Tensor, d: Tensor, *, lr: float, gen: torch.Generator | None = None) -> None:
        """Write the change lr sum_b d_b x_b^T, given by its factors.

        Args:
            x: (B, n_in) inputs.
            d: (B, n_out) factors at the output; for descent, minus the error.
            lr: learning rate, >= 0.
            gen: source of pulses and noise.
        """
        self._store(self.device.write_outer(self.cells, x, d, lr=lr, gen=gen))

    def descend(self, direction: Direction, rate: float, *, shrink: float = 0.0, rows: slice | None = None) -> None:
        """Request w <- (1 - shrink) w - rate direction, without ``.grad``.

        An exact device applies it at once. Any other stores the request until :meth:`realise`.

        Args:
            direction: shaped as the weight, or as ``rows`` of it, summed over a batch.
            rate: learning rate divided by the batch size.
            shrink: learning rate times weight decay.
            rows: rows of the weight that the direction belongs to; None: all.

        Raises:
            NeurofaError: a device that applies each sample's update, with weight decay or a direction without factors.
        """
        weight = self.weight.data if rows is None else self.weight.data[rows]
        if self.exact:
            accumulate(weight, direction, alpha=-rate, beta=1.0 - shrink)
        elif self.device.factored:
            if shrink:
                self.refuse("weight decay", "switch it off")
            self._outer = self._as_outer(direction), rate
        else:
            if self._request is None:
                # reused from step to step: allocating memory of this size takes longer than filling it
                self._request = torch.zeros_like(self.weight.data)
            change = self._request if rows is None else self._request[rows]
            accumulate(change, direction, alpha=-rate, beta=0.0)
            if shrink:
                change.add_(weight, alpha=-shrink)
            self._requested = True

    def realise(self, gen: torch.Generator | None = None) -> None:
        """Let the device realise the requests of :meth:`descend`, if there are any."""
        # assigned only where there is one: a module takes microseconds to set an attribute
        if self._requested and self._request is not None:
            self.write(self._request, gen)
            self._requested = False
        if self._outer is not None:
            outer, rate = self._outer
            self.write_outer(outer.right, outer.left.neg(), lr=rate, gen=gen)
            self._outer = None

    def forget(self) -> None:
        """Drop the request of :meth:`descend`."""
        self._requested, self._outer = False, None

    @torch.no_grad()
    def add_gradient(
        self, direction: Direction, scale: float, *, fresh: bool, decay: float = 0.0, rows: slice | None = None
    ) -> None:
        """Add a direction to ``weight.grad``, for an optimizer that needs it.

        Args:
            direction: shaped as the weight, or as ``rows`` of it, summed over a batch.
            scale: factor of the direction.
            fresh: whether the gradient starts from zero instead of its present values.
            decay: weight decay of the rule, added with the first direction.
            rows: rows of the weight that the direction belongs to; None: all.

        Raises:
            NeurofaError: the device needs the factors of every update.
        """
        if self.device.factored:
            self.refuse("momentum, another optimizer, clip or accumulate", "use sgd(lr=...) alone")
        if self.weight.grad is None:
            self.weight.grad = torch.zeros_like(self.weight) if self._spare_gradient is None else self._spare_gradient
            self._spare_gradient = None
        grad = self.weight.grad if rows is None else self.weight.grad[rows]
        accumulate(grad, direction, alpha=scale, beta=0.0 if fresh else 1.0)
        if decay and fresh:
            grad.add_(self.weight.detach() if rows is None else self.weight.detach()[rows], alpha=decay)

    def drop_gradient(self) -> None:
        """Set ``weight.grad`` to None, and keep its memory for the next gradient."""
        if self.weight.grad is not None:
            self._spare_gradient, self.weight.grad = self.weight.grad, None

    def refuse(self, got: str, remedy: str) -> NoReturn:
        """Refuse an update that the device cannot apply sample by sample.

        Args:
            got: the requested feature, for the message.
            remedy: what to do instead, for the message.

        Raises:
            NeurofaError: always.
        """
        raise NeurofaError(
            f"got {got} on device {self.device.name}; expected plain SGD of outer products, since the device applies"
            f" each sample's update; {remedy}"
        )

    def _as_outer(self, direction: Direction) -> Outer:
        """Return a direction as one list of outer products."""
        parts = direction.parts if isinstance(direction, Sum) else (direction,)
        outers = [part.outer() if isinstance(part, RowSums) else part for part in parts if not isinstance(part, Tensor)]
        if len(outers) < len(parts):
            self.refuse("traces of single weights", "use lif neurons and a rule without a filter")
        rights = [dense_rows(part.right) if part.sparse else part.right for part in outers]
        return Outer(torch.cat([part.left for part in outers]), torch.cat(rights))

    @torch.no_grad()
    def program(self, target: Tensor, gen: torch.Generator | None = None) -> None:
        """Program new weights (a trained model, a measured matrix) by write and verify.

        Args:
            target: shaped as the weight.
            gen: source of programming noise.

        Raises:
            NeurofaError: the target has another shape.
        """
        if target.shape != self.weight.shape:
            raise NeurofaError(
                f"got weights of shape {tuple(target.shape)}; expected {tuple(self.weight.shape)}; check the source"
            )
        target = target.to(self.weight)
        if self.exact:
            self.weight.copy_(target)
        else:
            self._store(self.device.reprogram(self._stored_cells(), target, gen))

    @torch.no_grad()
    def relax(self, seconds: float, gen: torch.Generator | None = None) -> None:
        """Apply retention and drift of the device over a time.

        Args:
            seconds: the time, s.
            gen: source of noise.
        """
        if not self.exact:
            self._store(relaxed(self.device, self.cells, seconds, gen))

    def describe_buffer(self, key: str) -> TensorDescription:
        cell = key.removeprefix("cell_")
        return TensorDescription(meaning=f"'{cell}' of {self.device.name}", unit=self.device.cell_unit(cell))

    def count_writes(self) -> None:
        """Count every write from now on (device ``wear``, which changes nothing else); not on an exact device."""
        if self.exact:
            return
        self.device, cells = add_ledger(self.device, self.cells)
        for key in self._cells:
            delattr(self, f"cell_{key}")
        self._cells = tuple(cells)
        for key, cell in cells.items():
            self.register_buffer(f"cell_{key}", cell)

    def _store(self, cells: Cells) -> None:
        for key in self._cells:
            buffer = self.get_buffer(f"cell_{key}")
            if cells[key] is not buffer:
                buffer.copy_(cells[key])
        self.weight.copy_(self.device.value(self._stored_cells()))
        self._settled = _version(self.weight)

    def clips(self, target: Tensor) -> tuple[float, float]:
        """Return the share of weights beyond the device's range if these are programmed, and that range.

        Args:
            target: the weights that the present cells were programmed with.
        """
        return clipped_share(self.device, self.cells, target.detach().to(self.weight.detach()))

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        self.settle()
        super()._save_to_state_dict(destination, prefix, keep_vars)

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, local_metadata: dict[str, Any], *others: Any
    ) -> None:
        # copied, never assigned: optimizers and generators know the present tensors
        super()._load_from_state_dict(
            state_dict, prefix, {**local_metadata, "assign_to_params_buffers": False}, *others
        )
        self._settled = -1  # cells may have been loaded without their weights: compared at the next use

    def extra_repr(self) -> str:
        """Return shape and device, for ``print(network)``."""
        return f"{tuple(self.weight.shape)}, device={self.device}"


def accumulate(target: Tensor, direction: Direction, *, alpha: float, beta: float) -> None:
    """Compute target <- beta target + alpha direction, in place and without a copy of the direction.

    Args:
        target: shaped as the weight.
        direction: of the weight.
        alpha: factor of the direction.
        beta: factor of the target; with 0 its old values are not read.
    """
    if isinstance(direction, Sum):
        for part in direction.parts:
            accumulate(target, part, alpha=alpha, beta=beta)
            beta = 1.0  # the first part has applied it
        return
    if isinstance(direction, RowSums):
        if beta != 1.0:
            target.mul_(beta) if beta else target.zero_()
        target.index_add_(0, direction.chosen, direction.values, alpha=alpha)
        return
    if isinstance(direction, Outer):
        # addmm is slow for tall products, and has no kernel for sparse ones
        tall = direction.left.shape[1] > TALL * direction.right.shape[1]
        if tall or direction.right.layout == torch.sparse_csr:
            direction = direction.dense()
    if isinstance(direction, Outer):
        torch.addmm(target, direction.left.t(), direction.right, beta=beta, alpha=alpha, out=target)
    elif beta == 0.0:
        torch.mul(direction, alpha, out=target)
    else:
        if beta != 1.0:
            target.mul_(beta)
        target.add_(direction, alpha=alpha)


class SynapseGroup(nn.ModuleDict):
    """Synapses of one layer, by the name of the weight (names of nested modules have dots)."""

    def add(self, name: str, target: Tensor, device: Device, gen: torch.Generator | None) -> None:
        """Create the synapses of one weight.

        Args:
            name: of the weight.
            target: initial weights, any shape.
            device: physics of one stored weight.
            gen: source of programming noise.
        """
        super().__setitem__(module_name(name), Synapses(target, device, gen))

    def __getitem__(self, name: str) -> Synapses:
        part = self._modules[module_name(name)]
        assert isinstance(part, Synapses)
        return part

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and module_name(name) in self._modules

    def __iter__(self) -> Iterator[str]:
        return (key.replace("/", ".") for key in self._modules)

    def keys(self) -> list[str]:  # type: ignore[override]
        """Return the names of the weights."""
        return list(self)

    def values(self) -> list[Synapses]:  # type: ignore[override]
        """Return the synapses."""
        return [self[key] for key in self]

    def items(self) -> list[tuple[str, Synapses]]:  # type: ignore[override]
        """Return names and synapses."""
        return [(key, self[key]) for key in self]

    def read(self, gen: torch.Generator | None = None) -> dict[str, Tensor]:
        """Return the weights as read in one pass, with the devices' read noise."""
        return {key.replace("/", "."): part.read(gen) for key, part in self._modules.items()}  # type: ignore[operator]

    def stored(self) -> dict[str, Tensor]:
        """Return the stored weights, without read noise."""
        return {key: synapses.stored() for key, synapses in self.items()}


def synapses_of(module: nn.Module) -> dict[str, Synapses]:
    """Return all synapses inside a module, by their dotted name in the module."""
    return {name: part for name, part in module.named_modules() if isinstance(part, Synapses)}


def present_cell(key: str) -> str:
    """Return the present name of a cell, or of a key of a state dict that ends with it."""
    for old, new in RENAMED_CELLS.items():
        if key.endswith(old):
            return key.removesuffix(old) + new
    return key


def _version(weight: Tensor) -> int:
    """Return torch's count of the changes in place of a tensor; 0 for one that is not counted."""
    return 0 if weight.is_inference() else weight._version


def module_name(name: str) -> str:
    """Return a name with slashes for dots, which torch does not allow in names of modules."""
    return name.replace(".", "/")
