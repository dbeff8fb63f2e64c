"""A layer differentiated by autograd, whose affine maps can return errors through a rule's return weights."""

from __future__ import annotations

from abc import ABC
from contextlib import ExitStack

import torch
from torch import Tensor

from neurofa.core.directions import Direction, ReturnWeights
from neurofa.core.layer import Layer, LayerTraits
from neurofa.core.view import Graph, Params, State
from neurofa.maps.asymmetric import noise_mode, returning_mode


class AutogradLayer(Layer, ABC):
    """A layer defined by :meth:`compute` and :meth:`initialise` alone.

    Under a direct rule the directions are the exact vector-Jacobian product of :meth:`compute`. Under a chained rule
    every affine map returns its error through the rule's return weights; all matrices and kernels therefore have to be
    multiplied by ``torch.nn.functional.linear`` or ``conv2d``. :meth:`unreturned` detects weights that an error crosses
    in another way, and chained rules refuse such a layer.
    """

    @property
    def traits(self) -> LayerTraits:
        return LayerTraits(
            returning=self.matrices,
            exact_inside=len(self.matrices) > 1,
            mirror=self,
            unreturned=self.unreturned,
        )

    @property
    def matrices(self) -> tuple[str, ...]:
        """Names of the weights with two axes or more."""
        return tuple(key for key, synapses in self.synapses.items() if synapses.weight.dim() > 1)

    def record(
        self, params: Params, x: Tensor, state: State, return_weights: ReturnWeights | None, needs_input_error: bool
    ) -> tuple[Tensor, State, Graph | None]:
        if not (self.training or needs_input_error):
            return *self.compute(params, x, state), None
        # ids of tokens have no error
        leaf = x.detach().requires_grad_(needs_input_error and x.is_floating_point())
        leaves = {key: value.detach().requires_grad_() for key, value in params.items()}
        inner: dict[str, Tensor] = {}
        with torch.enable_grad(), ExitStack() as stack:
            # through the layer's own weights autograd returns the error without the mode
            if return_weights is not None and any(return_weights[k] is not params.get(k) for k in return_weights):
                stack.enter_context(returning_mode(leaves, return_weights, inner))
            y, after = self.compute(leaves, leaf, state)
        return y.detach(), {k: v.detach() for k, v in after.items()}, Graph(y, leaf, leaves, inner)

    def mirror(self, params: Params, x: Tensor, amplitude: float, gen: torch.Generator | None) -> dict[str, Direction]:
        correlations: dict[str, Direction] = {}
        with noise_mode(params, list(self.matrices), amplitude, gen, correlations):
            self.compute(params, x, {})
        return correlations

    @torch.no_grad()
    def unreturned(self, x: Tensor) -> list[str]:
        """Return the names of weights that an error would cross without a return weight.

        The test poisons weights: the layer runs on ``x`` with return weights everywhere, forward weights are then
        overwritten with NaN, and the error at the input must stay finite.

        Args:
            x: (B, *in_shape).
        """
        names = list(self.synapses)
        if not x.is_floating_point() or not self._leaks(x, names):
            return []
        return [name for name in names if self._leaks(x, [name])]

    def _leaks(self, x: Tensor, names: list[str]) -> bool:
        """Return whether NaN in these forward weights reaches the error at the input."""
        trial = {k: v.clone() for k, v in self.synapses.stored().items()}
        graph = self.record(trial, x, {}, {k: trial[k].clone() for k in self.traits.returning}, True)[2]
        assert graph is not None
        if not graph.y.requires_grad:
            return False
        # an error that passes through a weight of NaN is NaN, whatever else it is multiplied by
        for name in names:
            graph.params[name].data.fill_(float("nan"))
        errors = torch.autograd.grad(graph.y, graph.x, torch.ones_like(graph.y), allow_unused=True)
        below: Tensor | None = errors[0]
        return below is not None and not bool(below.isfinite().all())
