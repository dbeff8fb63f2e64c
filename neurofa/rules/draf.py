"""Direct restricted adaptive feedback: one low-dimensional error is sent directly to every hidden layer."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property

import torch
from torch import Tensor, nn

from hwmodels.errors import NeurofaError
from hwmodels.format import Format
from neurofa.core.capabilities import Declaration, Plastic, Teaching
from neurofa.core.directions import Directions, Outer, ReturnWeights
from neurofa.core.feedback import Feedback
from neurofa.core.plan import Plan
from neurofa.core.products import PhaseFlop, ServedLayer
from neurofa.core.recommended import Recommended
from neurofa.core.rule import Chained, require_positions
from neurofa.core.synapses import Synapses
from neurofa.core.view import LocalView, Params
from neurofa.families.low_rank import drawn, oja, standardised

BROADCASTS = ("penultimate", "transported", "output")
"""Options of ``broadcast``, see :class:`DRAF`."""


class DRAF(Chained, name="draf"):
    """Direct RAF: h_l receives (e P_l) Q_l^T, with P_l (m, r) by Oja on e and Q_l (n_l, r) by Kolen-Pollack.

    h_l is the output of hidden layer l and e, (B, m), the error that is sent to all layers. P_l finds the leading
    principal directions of e by Oja's rule. dQ_l = h_l^T (e P_l), as if Q_l were the readout of h_l for the r
    components of e; dP_l = C P_l - P_l P_l^T C P_l with C = Z^T Z / m, where Z is the centred e with each element in
    units of its own standard deviation. C/B has trace 1, so plain SGD is stable while lr times ``oja`` is below 1. (The
    authors' code omits the 1/m, to which Adam is invariant.)

    The error e is that at the output of the last hidden layer (512 units in the authors' code), except with ``output``.
    ``broadcast`` names the weights through which the readout returns it:

    - ``penultimate``: through return weights B_L, which learn with W_L as in kp. Every update is then local; B_L aligns
      with W_L at the rate at which decay removes its initial values.
    - ``transported``: through the readout's weights W_L, as in the authors' code. The updates of all other layers then
      depend on W_L, and the rule is not local.
    - ``output``: through none, since e is the error of the o outputs; the rank is at most o.

    The last hidden layer receives e itself, except with ``output``; a network with one hidden layer then has no path
    of low rank. P_l is drawn uniformly from +-1/sqrt(r), Q_l from +-sqrt(3/n_l), both times the feedback's gain.

    Args:
        rank: r, at least 1; at most the length of e.
        broadcast: ``penultimate``, ``transported`` or ``output``, see above.
        p: ``oja``, or ``fixed`` (only Q learns).
        q: ``kp`` or ``fixed`` (with p=fixed: direct feedback alignment of low rank).
        oja: learning rate of P in units of the optimizer's.
        feedback: distribution and device of the factors and of B_L.
        error: number format of the output error before it is returned or sent.
    """

    source = "Hanut and Kadmon 2025, arXiv 2502.20580 v1-v3 (dRAF), as in the first author's code"
    recommended = Recommended(dense="adam(lr=0.003)")

    def __init__(
        self,
        *,
        rank: int = 10,
        broadcast: str = "penultimate",
        p: str = "oja",
        q: str = "kp",
        oja: float = 1.0,
        feedback: Feedback | str = "dense",
        error: Format | str = "raw",
    ) -> None:
        super().__init__(feedback=feedback, error=error)
        if rank < 1:
            raise NeurofaError(f"got draf(rank={rank}); expected at least 1; 10 is the default")
        choices = {"broadcast": (broadcast, BROADCASTS), "p": (p, ("oja", "fixed")), "q": (q, ("kp", "fixed"))}
        for option, (value, known) in choices.items():
            if value not in known:
                raise NeurofaError(f"got draf({option}={value}); expected {', '.join(known)}; choose one")
        if not oja > 0:
            raise NeurofaError(f"got draf(oja={oja}); expected a positive number; 1 is the default")
        self.rank, self.broadcast, self.p, self.q, self.oja = rank, broadcast, p, q, oja
        self._crosses = broadcast != "output"
        self._narrow: dict[str, Tensor] = {}

    decay: float = 0.0
    """Weight decay of the rule: none."""

    @cached_property
    def declares(self) -> Declaration:
        copied = self.broadcast == "transported"
        return Declaration(
            local=not copied,
            transports="weights" if copied else "nothing",
            return_path=None if self.broadcast == "output" else self,
            plastic=self,
            work=self,
            path=self,
        )

    def bind(self, plan: Plan, gen: torch.Generator) -> None:
        # the readout alone has return weights, and only where e crosses them
        own = self.broadcast == "penultimate" and bool(plan.hidden)
        super().bind(replace(plan, sites=(plan.readout,) if own else ()), gen)
        self.plan = plan
        self.last = plan.hidden[-1].name if plan.hidden and self._crosses else ""
        served = [site for site in plan.hidden if site.name != self.last]
        require_positions(self.name, plan)
        m = self._length = plan.hidden[-1].width if self.last else plan.outputs
        rank = min(self.rank, m)
        self.shapes = {site.name: site.out_shape for site in served}
        self.ps, self.qs = nn.ModuleDict(), nn.ModuleDict()
        for site in served:
            self.ps[site.name] = drawn(self.feedback, (m, rank), rank, gen)
            self.qs[site.name] = drawn(self.feedback, (site.width, rank), site.width / 3, gen)

    def factor(self, which: str, name: str) -> Synapses:
        """Return the stored factor P, (m, r), or Q, (n_l, r), of one layer.

        Args:
            which: ``p`` or ``q``.
            name: the layer's name.
        """
        factor = (self.ps if which == "p" else self.qs)[name]
        assert isinstance(factor, Synapses)
        return factor

    def return_weights(self, name: str, params: Params, gen: torch.Generator | None) -> ReturnWeights | None:
        if name != self.plan.readout.name:
            return None
        return params if self.broadcast == "transported" else super().return_weights(name, params, gen)

    def begin(self, teaching: Teaching, gen: torch.Generator | None) -> None:
        self._noise = gen
        if not self._crosses:
            self._sent = self.encoder.quantize(teaching.error, gen)

    def deliver(self, name: str, teaching: Teaching) -> Tensor | None:
        if name == self.last:
            # layers are served from the readout to the input, so that e is there for all below
            assert teaching.error_above is not None
            self._sent = teaching.error_above.reshape(-1, self._length)
            return teaching.error_above
        narrow = self._narrow[name] = self._sent @ self.factor("p", name).read(self._noise)
        sent = narrow @ self.factor("q", name).read(self._noise).t()
        return sent.view(-1, *self.shapes[name])

    def adapt(self, name: str, view: LocalView, directions: Directions) -> Directions:
        adapted: Directions = {key: directions[key] for key in self.beside(name) if key in directions}
        if name not in self.shapes:
            return adapted
        if self.q == "kp":
            adapted["q"] = Outer(view.y.reshape(len(self._sent), -1), self._narrow[name])
        if self.p == "oja":
            z = standardised(self._sent, each=True)
            # the 1/m of C = Z^T Z / m
            adapted["p"] = oja(self.factor("p", name).weight.detach(), z) * (self.oja / z.shape[1])
        return adapted

    def plastic(self, name: str) -> dict[str, Plastic]:
        weights = {key: Plastic(synapses) for key, synapses in self.beside(name).items()}
        if name in self.shapes:
            learning = (("p", self.p == "oja"), ("q", self.q == "kp"))
            weights |= {which: Plastic(self.factor(which, name)) for which, learns in learning if learns}
        return weights

    def work_at(self, served: ServedLayer) -> list[PhaseFlop]:
        found = replace(served, sends=served.sends and served.readout).plain_work(self.return_flop)
        if served.name in self.shapes:
            m, r = self.factor("p", served.name).weight.shape
            found.append(PhaseFlop("delivery", 2 * served.batch * r * (m + served.width)))
            if self.q == "kp":
                found.append(PhaseFlop("adaptation", 2 * served.batch * served.width * r))
            if self.p == "oja":
                found.append(PhaseFlop("adaptation", 4 * m * r * (served.batch + r)))
        again = [m.product for m in served.work.maps if m.factored and m.key in self.beside(served.name)]
        return [*found, *[PhaseFlop("adaptation", flop) for flop in again]]
