"""Return weights of low rank: B = P Q beside every affine map, oriented as its weight W, with learning factors."""

from __future__ import annotations

import math
from abc import ABC
from dataclasses import replace
from functools import cached_property

import torch
from torch import Tensor, nn

from hwmodels.errors import NeurofaError
from hwmodels.format import Format
from neurofa.core.capabilities import Declaration, Plastic, Teaching
from neurofa.core.description import PathDescription, ReturnFactors
from neurofa.core.directions import Direction, Directions, LowRank, Outer, ReturnWeights, Sum, dense_direction
from neurofa.core.feedback import Feedback, RandomMatrices
from neurofa.core.plan import Plan, Site
from neurofa.core.products import MapWork, PhaseFlop, ServedLayer
from neurofa.core.rule import Chained
from neurofa.core.synapses import Synapses
from neurofa.core.view import LocalView, Params

P, Q = "p@", "q@"
"""Prefixes that turn the name of a weight into the names of its factors."""


class LowRankChained(Chained, ABC):
    """A chained rule whose maps return an error delta through r numbers: (delta P) Q, with P (n_out, r), Q (r, n_in).

    The rank of kernels counts channels: P (C_out, r), Q (r, C_in, k, k). A fused map of queries, keys and values
    (``qkv``) has rank 3r. The lowest layer, if it is a single map, returns no error and has no factors. Every gain of a
    normalisation has a return gain, which gets the same changes as the gain (Kolen-Pollack).

    Entries of P are drawn between +-g/sqrt(r) and those of Q between +-g sqrt(3/fan_in), where g is the ``gain`` of the
    feedback; its option ``distribution`` draws normal numbers of the same standard deviation instead.

    Args:
        rank: r, at least 1; at most min(n_out, n_in) of each map.
        only: names of the layers whose rank is r; the others have full rank. None: all.
        feedback: gain, distribution and device of both factors.
        error: number format of the output error before it is returned.
        clamp: largest magnitude of an element of a delivered error, as gradient of the batch's mean loss; None: none.
    """

    def __init__(
        self,
        *,
        rank: int,
        only: list[str] | None,
        feedback: Feedback | str,
        error: Format | str,
        clamp: float | None,
    ) -> None:
        super().__init__(feedback=feedback, error=error)
        if rank < 1:
            raise NeurofaError(f"got {self.name}(rank={rank}); expected at least 1; 10 is the default")
        if clamp is not None and not clamp > 0:
            raise NeurofaError(f"got {self.name}(clamp={clamp}); expected a positive number or none; change clamp")
        self.rank, self.only, self.clamp = rank, only, clamp

    decay: float = 0.0
    """Weight decay of the rule: none."""

    @cached_property
    def declares(self) -> Declaration:
        return replace(super().declares, plastic=self)

    def describe_path(self) -> PathDescription:
        returns: dict[str, dict[str, Synapses | ReturnFactors]] = {}
        for site in self.plan.sites:
            factors = {
                key: ReturnFactors(p=self.factor(site.name, P + key), q=self.factor(site.name, Q + key))
                for key in self.maps(site.name)
            }
            returns[site.name] = {**self.beside(site.name), **factors}
        return replace(super().describe_path(), returns=returns)

    def bind(self, plan: Plan, gen: torch.Generator) -> None:
        names = [site.name for site in plan.sites]
        for name in self.only or ():
            if name not in names:
                raise NeurofaError(f"got {self.name}(only=[{name}]); expected some of {', '.join(names)}; change only")
        lowest = plan.sites[0]
        sites = (replace(lowest, returning={}), *plan.sites[1:]) if lowest.elementwise else plan.sites
        super().bind(replace(plan, sites=tuple(_gains(site) for site in sites)), gen)
        self.plan = plan
        self.factors = nn.ModuleDict()
        self._maps = {site.name: [key for key, shape in site.returning.items() if len(shape) > 1] for site in sites}
        for site in sites:
            self._factor(site, gen)

    def _factor(self, site: Site, gen: torch.Generator) -> None:
        """Draw both factors of every map of one layer."""
        for key, shape in site.returning.items():
            if len(shape) > 1:
                rank = self.rank_of(site.name, key, shape)
                start = self.start_p((shape[0], rank))
                # drawn in any case, so that Q does not depend on how P starts
                p = drawn(self.feedback, (shape[0], rank), rank, gen)
                self.factors[_safe(site.name, P + key)] = p if start is None else Synapses(start, p.device, gen)
                q = (rank, *shape[1:])
                self.factors[_safe(site.name, Q + key)] = drawn(self.feedback, q, math.prod(shape[1:]) / 3, gen)

    def rank_of(self, name: str, key: str, shape: tuple[int, ...]) -> int:
        """Return the rank of one map of one layer.

        Args:
            name: the layer.
            key: the map's weight.
            shape: of that weight, (n_out, n_in) or (C_out, C_in, k, k).
        """
        full = min(shape[0], math.prod(shape[1:]))
        if self.only is not None and name not in self.only:
            return full
        packed = {"qkv", "in_proj_weight"} & set(key.split("."))  # three maps in one
        return min(full, self.rank * (3 if packed else 1))

    def start_p(self, shape: tuple[int, int]) -> Tensor | None:
        """Return the initial P, (n_out, r); None: it is drawn."""
        return None

    def factor(self, name: str, key: str) -> Synapses:
        """Return one stored factor of a return weight.

        Args:
            name: the layer's name.
            key: name of the forward weight, with the prefix ``p@`` or ``q@``.
        """
        factor = self.factors[_safe(name, key)]
        assert isinstance(factor, Synapses)
        return factor

    def maps(self, name: str) -> list[str]:
        """Return the names of the weights of one layer that have factors."""
        return self._maps.get(name, [])

    def return_weights(self, name: str, params: Params, gen: torch.Generator | None) -> ReturnWeights | None:
        gains = super().return_weights(name, params, gen) or {}
        weights: dict[str, Tensor | LowRank] = dict(gains)
        for key in self.maps(name) if params else ():
            weights[key] = LowRank(self.factor(name, P + key).read(gen), self.factor(name, Q + key).read(gen))
        return weights

    def deliver(self, name: str, teaching: Teaching) -> Tensor | None:
        if self.clamp is None or teaching.error_above is None:
            return teaching.error_above
        # errors here are per sample and position: B S times those of the mean loss
        bound = self.clamp * len(teaching.error_above) * (self.plan.positions or 1)
        return teaching.error_above.clamp(-bound, bound)

    def adapt(self, name: str, view: LocalView, directions: Directions) -> Directions:
        adapted: Directions = {key: directions[key] for key in self.beside(name) if key in directions}
        for key in self.maps(name):
            p, q = self.factor(name, P + key).weight.detach(), self.factor(name, Q + key).weight.detach()
            adapted |= self.learn(name, key, LowRank(p, q), view, directions[key])
        return adapted

    def learn(self, name: str, key: str, back: LowRank, view: LocalView, direction: Direction) -> Directions:
        """Return the directions of the factors of one map, summed over the batch, by prefixed name; default: none.

        Args:
            name: the layer.
            key: the map's weight.
            back: the stored factors.
            view: of the layer.
            direction: of the weight.
        """
        return {}

    def learning(self) -> tuple[str, ...]:
        """Return the prefixes of the factors that learn, of ``p@`` and ``q@``; default: none."""
        return ()

    def plastic(self, name: str) -> dict[str, Plastic]:
        weights = {key: Plastic(synapses) for key, synapses in self.beside(name).items()}
        for key in self.maps(name):
            weights |= {which + key: Plastic(self.factor(name, which + key)) for which in self.learning()}
        return weights

    def return_flop(self, name: str, m: MapWork) -> int:
        if m.key not in self.maps(name):
            return m.product
        return m.narrow(self.factor(name, P + m.key).weight.shape[1])

    def work_at(self, served: ServedLayer) -> list[PhaseFlop]:
        found = super().work_at(served)
        for m in served.work.maps:
            if m.key in self.maps(served.name):
                found += self.work_of(served, m, self.factor(served.name, P + m.key).weight.shape[1])
        return found

    def work_of(self, served: ServedLayer, m: MapWork, rank: int) -> list[PhaseFlop]:
        """Return the FLOP of the products by which the factors of one map learn; default: none.

        Args:
            served: the layer in a step.
            m: sizes of the map's product.
            rank: r of its factors.
        """
        return []


def along_flop(m: MapWork, rank: int) -> int:
    """Return the FLOP of :func:`along_p`, or of :func:`along_q`, for one map in a step.

    If the direction of the weight is kept as outer products, the product of the resulting factors is included.

    Args:
        m: sizes of the map's product.
        rank: r.
    """
    return m.narrow(rank) if m.factored else 2 * rank * m.n_out * m.n_in


def drawn(feedback: Feedback, shape: tuple[int, ...], fan: float, gen: torch.Generator) -> Synapses:
    """Return one factor, uniform in +-gain/sqrt(fan) (or normal, with standard deviation gain/sqrt(3 fan)).

    Args:
        feedback: distribution and device.
        shape: of the factor.
        fan: number of terms by whose root the bound is divided, see above.
        gen: source of the entries and of the device's variation.
    """
    if not isinstance(feedback, RandomMatrices):
        return feedback.draw(shape, gen)
    return Synapses(feedback.entries(shape, fan, gen), feedback.device, gen)


def along_p(back: LowRank, direction: Direction) -> Direction:
    """Return P^T dW, shaped as Q: with this direction of Q, P Q tracks P P^T W.

    Args:
        back: the factors P and Q.
        direction: dW, of the forward weight.
    """
    if isinstance(direction, Sum):
        return Sum(tuple(_single(along_p(back, part)) for part in direction.parts))
    if isinstance(direction, Outer):
        return Outer(direction.left @ back.p, direction.right)
    return (back.p.t() @ dense_direction(direction).flatten(1)).view(back.q.shape)


def along_q(back: LowRank, direction: Direction) -> Direction:
    """Return dW Q^T, shaped as P: with this direction of P, P Q tracks W Q^T Q.

    Args:
        back: the factors P and Q.
        direction: dW, of the forward weight.
    """
    rows = back.q.flatten(1).t()
    if isinstance(direction, Sum):
        return Sum(tuple(_single(along_q(back, part)) for part in direction.parts))
    if isinstance(direction, Outer):
        return Outer(direction.left, direction.right @ rows)
    return dense_direction(direction).flatten(1) @ rows


def _single(direction: Direction) -> Tensor | Outer:
    assert isinstance(direction, Tensor | Outer)
    return direction


def oja(p: Tensor, z: Tensor) -> Tensor:
    """Return the direction of Oja's subspace rule, to be subtracted: -(C P - P P^T C P) with C = Z^T Z.

    Its stable fixed points are P with orthonormal columns that span the r leading eigenvectors of C.

    Args:
        p: (n, r).
        z: (N, n), centred samples.

    Returns:
        (n, r), summed over the samples.

    Source: Oja 1989, Int. J. Neural Syst. 1, 61.
    """
    # Z^T (Z P) instead of C P: C, (n, n), is never formed
    data = z.t() @ (z @ p)
    return torch.addmm(data, p, p.t() @ data, beta=-1)


def standardised(errors: Tensor, *, each: bool = False) -> Tensor:
    """Return errors minus their mean over samples, divided by the largest standard deviation of an element.

    Args:
        errors: (..., n), where every position is a sample.
        each: use each element's own standard deviation instead.

    Returns:
        (N, n).
    """
    rows = errors.flatten(0, -2)
    centred = rows - rows.mean(0)
    variance = centred.square().sum(0).div(max(1, len(rows) - 1))
    return centred.div_((variance if each else variance.amax()).sqrt() + 1e-8)


def _gains(site: Site) -> Site:
    """Return the site without return weights except those of gains."""
    return replace(site, returning={key: shape for key, shape in site.returning.items() if len(shape) < 2})


def _safe(name: str, key: str) -> str:
    return f"{name}/{key}".replace(".", "/")
