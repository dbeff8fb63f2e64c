"""Updates through an optimizer: directions are added to ``.grad``, it steps, and the devices realise the change."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from hwmodels.errors import NeurofaError
from neurofa.core.network import Network
from neurofa.core.rule import Rule
from neurofa.core.synapses import Synapses


class Updater:
    """Accumulation of directions in ``.grad``, and their update by the optimizer and the devices.

    Args:
        network: all of its weights must be in the optimizer.
        rule: its plastic pathway weights are added to the optimizer.
        optimizer: optimizer of the user.
        gen: source of the devices' write noise.
        clip: largest total norm, or None.
        accumulate: batches per update.

    Raises:
        NeurofaError: a weight that is missing in the optimizer, or an optimizer that evaluates the loss itself.
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
        if inspect.signature(type(optimizer).step).parameters["closure"].default is inspect.Parameter.empty:
            raise NeurofaError(
                f"got optimizer {type(optimizer).__name__}, which evaluates the loss several times a step; expected one"
                " that steps by one direction; use SGD, Adam or another"
            )
        self.optimizer, self.gen, self.clip, self.accumulate = optimizer, gen, clip, accumulate
        # by index: optimizer.load_state_dict replaces the groups themselves
        self.group_of: dict[nn.Parameter, int] = {
            p: index for index, group in enumerate(optimizer.param_groups) for p in group["params"]
        }
        """Index of the parameter group of every weight."""
        self.gathers = False
        """Whether directions are summed until the end of a sequence."""
        for name, layer in network.items():
            for key, synapses in layer.synapses.items():
                if synapses.weight not in self.group_of:
                    raise NeurofaError(
                        f"got an optimizer without '{key}' of layer '{name}'; expected all of network.parameters();"
                        " make the optimizer from the network that it trains"
                    )
        plasticity = rule.declares.plastic
        for name, layer in network.items() if plasticity is not None else ():
            for key, (synapses, _) in plasticity.plastic(name).items() if plasticity is not None else ():
                forward = key.rpartition("@")[2]  # name of the forward weight, without the prefix of a factor
                beside = forward if forward in layer.traits.returning else next(iter(layer.synapses))
                self._join(synapses, layer.synapses[beside])
        self._synapses = [synapses for _, layer in network.items() for synapses in layer.synapses.values()]
        pathway = [part for part in rule.modules() if isinstance(part, Synapses)]
        self.weights = [synapses.weight for synapses in (*self._synapses, *pathway)]
        """Weights of the network and of the rule's pathway."""
        self.filled: dict[tuple[Synapses, int], None] = {}
        """Synapses, with their first row, whose gradients are not empty."""
        self._waiting = 0

    def _join(self, synapses: Synapses, beside: Synapses) -> None:
        """Put a pathway weight into the parameter group of the weight beside it."""
        if synapses.weight not in self.group_of:
            index = self.group_of[beside.weight]
            self.optimizer.param_groups[index]["params"].append(synapses.weight)
            self.group_of[synapses.weight] = index

    def group(self, synapses: Synapses) -> dict[str, Any]:
        """Return the present parameter group of a weight.

        Raises:
            NeurofaError: the weight is another tensor than the optimizer was made from.
        """
        index = self.group_of.get(synapses.weight)
        if index is None:
            raise NeurofaError(
                f"got a weight of shape {tuple(synapses.weight.shape)} that replaced one of the optimizer; expected the"
                " parameters from which the optimizer was made; make a new learner, or copy values into the old ones"
            )
        return self.optimizer.param_groups[index]

    @contextmanager
    def gathering(self, *, direct: bool) -> Iterator[None]:
        """Sum all directions until the end, then update once: for a sequence of several chunks.

        If an error is raised, the directions of this update are dropped.

        Args:
            direct: whether other updates need no ``.grad``, which is then set to None.
        """
        touched = self.filled
        self.gathers = True
        try:
            yield
            touched = dict(self.filled)
            self.finish()
        except BaseException:
            self.forget()
            raise
        finally:
            self.gathers = False
            for synapses, _ in touched if direct else ():
                synapses.drop_gradient()

    def finish(self) -> None:
        """Complete one batch; after ``accumulate`` batches the optimizer steps and the devices realise the change."""
        self._waiting += 1
        if self._waiting < self.accumulate:
            return
        self._waiting = 0
        touched = {synapses: None for synapses, _ in self.filled}
        filled = {synapses.weight for synapses in touched}
        for weight in self.weights:
            if weight not in filled:
                weight.grad = None  # left by another optimizer or a backward pass, which this one would apply
        if self.clip is not None:
            torch.nn.utils.clip_grad_norm_([s.weight for s in touched], self.clip)
        self.optimizer.step()
        for synapses in touched:
            synapses.commit(self.gen)
        self.filled.clear()

    def forget(self) -> None:
        """Drop the directions that wait for an update."""
        self.filled, self._waiting = {}, 0

    def check_factored(self, network: Network, rule: Rule, *, direct: bool) -> None:
        """Refuse devices that need the factors of every update, where no factors are available.

        Args:
            network: the network.
            rule: its plastic feedback is checked as well.
            direct: whether the optimizer is plain SGD.

        Raises:
            NeurofaError: naming the weight and the reason.
        """
        plasticity = rule.declares.plastic
        decay = 0.0 if plasticity is None else plasticity.decay
        for name, layer in network.items():
            traits = layer.traits
            for key, synapses in layer.synapses.items():
                if not synapses.device.factored:
                    continue
                where = f"for '{key}' of layer '{name}'"
                group = self.group(synapses)
                if not direct:
                    got = f"momentum, another optimizer, clip or accumulate {where}"
                    synapses.refuse(got, "use sgd(lr=...) alone")
                if group["weight_decay"] or (decay and key in traits.returning):
                    synapses.refuse(f"weight decay {where}", "switch it off")
                if key not in traits.factored:
                    got = f"updates that are no outer products {where}"
                    synapses.refuse(got, "use dense layers, or convolutions of one group")
            for key, (beside, _) in plasticity.plastic(name).items() if plasticity is not None else ():
                if beside.device.factored:
                    beside.refuse(f"plastic feedback '{key}' at layer '{name}'", "use the device inside it")

    def refuse_factored(self, got: str, remedy: str) -> None:
        """Refuse devices that apply every sample's update.

        Args:
            got: the unsupported feature, for the message.
            remedy: what to do instead, for the message.

        Raises:
            NeurofaError: the network has such a device.
        """
        for synapses in self._synapses:
            if synapses.device.factored:
                synapses.refuse(got, remedy)
