"""Where directions go: straight into the weights, or into ``.grad`` for the optimizer and from there to the device."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from hwmodels.errors import NeurofaError
from neurofa.core.event_rows import dense_rows
from neurofa.core.layer import Direction, Directions, Layer, Outer, Sum
from neurofa.core.network import Network
from neurofa.core.rule import Rule
from neurofa.core.synapses import Synapses


class Depositor:
    """Turns directions into changed weights.

    Args:
        network: its weights must all be in the optimizer.
        rule: its plastic pathway weights are added to the optimizer.
        optimizer: the user's.
        gen: source of the devices' write noise.
        clip: largest total norm, or None.
        accumulate: batches per update.
    """

    def __init__(
        self,
        network: Network,
        rule: Rule,
        optimizer: torch.optim.Optimizer,
        gen: torch.Generator,
        clip: float | None,
        accumulate: int,
    ) -> None:
        self.optimizer, self.gen, self.clip, self.accumulate = optimizer, gen, clip, accumulate
        self.decay = rule.decay
        # by index: optimizer.load_state_dict replaces the groups themselves
        self._groups = {id(p): index for index, group in enumerate(optimizer.param_groups) for p in group["params"]}
        for name, layer in network.items():
            for key in layer.synapses:
                if id(layer.synapse(key).weight) not in self._groups:
                    raise NeurofaError(
                        f"got an optimizer without '{key}' of layer '{name}'; expected all of network.parameters();"
                        " make the optimizer from the network that it trains"
                    )
        for name, layer in network.items():
            for key, (synapses, _) in rule.plastic(name).items():
                forward = key.rpartition("@")[2]
                beside = forward if forward in layer.returning else next(iter(layer.synapses))
                self._join(synapses, layer.synapse(beside))
        self._synapses = [layer.synapse(key) for _, layer in network.items() for key in layer.synapses]
        self.direct = clip is None and accumulate == 1 and _plain_sgd(optimizer)
        self._check_factored(network, rule)
        # Changes asked of devices, kept from step to step: fresh memory of this size costs more than the work in it.
        self._asked: dict[int, Tensor] = {}
        self._played: dict[int, tuple[Synapses, Outer, float]] = {}
        self._filled: dict[tuple[int, int], Synapses] = {}
        self._held: dict[int, Tensor] = {}
        self._waiting = 0

    @contextmanager
    def gathering(self) -> Iterator[None]:
        """Add up all directions until the end, then update once: for a sequence that comes in several chunks.

        Where the sequence is refused on the way, what was gathered for this update is dropped.
        """
        direct, self.direct = self.direct, False
        touched = self._filled
        try:
            yield
            touched = dict(self._filled)
            self._finish_gathered()
        except BaseException:
            self._filled, self._waiting = {}, 0
            raise
        finally:
            self.direct = direct
            if direct:
                # plain SGD needs no .grad from step to step; its memory is kept here
                for synapses in touched.values():
                    if synapses.weight.grad is not None:
                        self._held[id(synapses)] = synapses.weight.grad
                        synapses.weight.grad = None

    def _check_factored(self, network: Network, rule: Rule) -> None:
        """Refuse what cannot be played sample by sample."""
        for name, layer in network.items():
            for key in layer.synapses:
                synapses = layer.synapse(key)
                if not synapses.device.factored:
                    continue
                group = self.optimizer.param_groups[self._groups[id(synapses.weight)]]
                if not self.direct:
                    got, remedy = "momentum, another optimizer, clip or accumulate", "use sgd(lr=...) alone"
                elif group["weight_decay"] or (self.decay and key in layer.returning):
                    got, remedy = "weight decay", "switch it off"
                elif not layer.factors(key):
                    got, remedy = "updates that are no outer products", "use dense layers, or convolutions of one group"
                else:
                    continue
                self._refuse(f"{got} for '{key}' of layer '{name}'", synapses, remedy)
            for key, (synapses, _) in rule.plastic(name).items():
                if synapses.device.factored:
                    self._refuse(f"plastic feedback '{key}' at layer '{name}'", synapses, "use the device inside it")

    def refuse_factored(self, got: str, remedy: str) -> None:
        """Refuse devices that play every sample's update.

        Args:
            got: what they cannot do.
            remedy: what to do instead.

        Raises:
            NeurofaError: there is one.
        """
        for synapses in self._synapses:
            if synapses.device.factored:
                self._refuse(got, synapses, remedy)

    def _playable(self, direction: Direction, synapses: Synapses) -> Outer:
        """A direction as outer products, one after the other."""
        parts = direction.parts if isinstance(direction, Sum) else (direction,)
        outers = [part for part in parts if isinstance(part, Outer)]
        if len(outers) < len(parts):
            self._refuse("traces of single weights", synapses, "use lif neurons and a rule without a filter")
        rights = [dense_rows(part.right) if part.sparse else part.right for part in outers]
        return Outer(torch.cat([part.left for part in outers]), torch.cat(rights))

    @staticmethod
    def _refuse(got: str, synapses: Synapses, remedy: str) -> None:
        raise NeurofaError(
            f"got {got} on device {synapses.device.name}; expected plain SGD of outer products, since the device plays"
            f" each sample's update; {remedy}"
        )

    def _join(self, synapses: Synapses, beside: Synapses) -> None:
        """Put a pathway weight into the parameter group of the weight beside it."""
        if id(synapses.weight) not in self._groups:
            index = self._groups[id(beside.weight)]
            self.optimizer.param_groups[index]["params"].append(synapses.weight)
            self._groups[id(synapses.weight)] = index

    def layer(self, layer: Layer, directions: Directions, batch: int) -> None:
        """Take the directions of one layer, summed over a batch."""
        for key, direction in directions.items():
            self._put(layer.synapse(key), None, direction, batch, self.decay if key in layer.returning else 0.0)

    def pathway(self, targets: dict[str, tuple[Synapses, slice | None]], directions: Directions, batch: int) -> None:
        """Take the directions of plastic pathway weights."""
        for key, direction in directions.items():
            synapses, rows = targets[key]
            self._put(synapses, rows, direction, batch, self.decay)

    def _put(self, synapses: Synapses, rows: slice | None, direction: Direction, batch: int, decay: float) -> None:
        weight = synapses.weight
        if self.direct:
            group = self.optimizer.param_groups[self._groups[id(weight)]]
            lr, decay = group["lr"], decay + group["weight_decay"]
            now = weight.data if rows is None else weight.data[rows]
            if synapses.exact:
                _add(now, direction, alpha=-lr / batch, beta=1.0 - lr * decay)
                return
            if synapses.device.factored:
                self._played[id(synapses)] = synapses, self._playable(direction, synapses), lr / batch
                return
            if id(synapses) not in self._asked:
                self._asked[id(synapses)] = torch.zeros_like(weight)
            self._filled[id(synapses), 0] = synapses
            change = self._asked[id(synapses)] if rows is None else self._asked[id(synapses)][rows]
            _add(change, direction, alpha=-lr / batch, beta=0.0)
            if decay:
                change.add_(now, alpha=-lr * decay)
            return
        if weight.grad is None:
            held = self._held.get(id(synapses))
            weight.grad = torch.zeros_like(weight) if held is None else held
        grad = weight.grad if rows is None else weight.grad[rows]
        part = (id(synapses), 0 if rows is None else rows.start)
        fresh = part not in self._filled
        self._filled[part] = synapses
        _add(grad, direction, alpha=1.0 / (batch * self.accumulate), beta=0.0 if fresh else 1.0)
        if decay and fresh:
            grad.add_(weight.detach() if rows is None else weight.detach()[rows], alpha=decay)

    def finish(self) -> None:
        """End one batch: after ``accumulate`` of them, let the optimizer ask and the devices answer."""
        if self.direct:
            for synapses in self._filled.values():
                synapses.write(self._asked[id(synapses)], self.gen)
            for synapses, outer, rate in self._played.values():
                synapses.write_outer(outer.right, outer.left.neg(), lr=rate, gen=self.gen)
            self._filled.clear()
            self._played.clear()
            self.optimizer.step()  # every .grad is None: only counts the step, for schedulers and hooks
            return
        self._finish_gathered()

    def _finish_gathered(self) -> None:
        self._waiting += 1
        if self._waiting < self.accumulate:
            return
        self._waiting = 0
        touched = {id(s): s for s in self._filled.values()}.values()
        if self.clip is not None:
            torch.nn.utils.clip_grad_norm_([s.weight for s in touched], self.clip)
        self.optimizer.step()
        for synapses in touched:
            synapses.commit(self.gen)
        self._filled.clear()


def _add(target: Tensor, direction: Direction, *, alpha: float, beta: float) -> None:
    """Target <- beta target + alpha direction, in place and without a copy of the direction."""
    if isinstance(direction, Sum):
        for part in direction.parts:
            _add(target, part, alpha=alpha, beta=beta)
            beta = 1.0
        return
    if isinstance(direction, Outer) and (direction.tall or direction.sparse):
        direction = direction.dense()
    if isinstance(direction, Outer):
        torch.addmm(target, direction.left.t(), direction.right, beta=beta, alpha=alpha, out=target)
    elif beta == 0.0:
        torch.mul(direction, alpha, out=target)
    else:
        if beta != 1.0:
            target.mul_(beta)
        target.add_(direction, alpha=alpha)


def _plain_sgd(optimizer: torch.optim.Optimizer) -> bool:
    """Whether the optimizer is w <- w - lr (g + decay w) in every group."""

    def plain(groups: Iterable[dict[str, object]]) -> bool:
        return all(not (g["momentum"] or g["nesterov"] or g["maximize"]) for g in groups)

    return type(optimizer) is torch.optim.SGD and plain(optimizer.param_groups)
