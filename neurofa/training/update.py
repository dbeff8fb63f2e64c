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
    """Sums directions in ``.grad``, lets the optimizer step, and lets the devices realise the changes.

    Args:
        network: all of its weights must be in the optimizer.
        rule: its plastic pathway weights are added to the optimizer.
        optimizer: optimizer of the user.
        gen: source of the devices' write noise.
        clip: largest norm of all gradients together; None: no clipping.
        accumulate: batches whose directions are averaged into one update.

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
        """Whether the directions of all chunks of a sequence are summed before one update."""
        for name, layer in network.items():
            for key, synapses in layer.synapses.items():
                if synapses.weight.requires_grad and synapses.weight not in self.group_of:
                    raise NeurofaError(
                        f"got an optimizer without '{key}' of layer '{name}'; expected all of network.parameters();"
                        " make the optimizer from the network that it trains"
                    )
        plasticity = rule.declares.plastic
        for name, layer in network.items() if plasticity is not None else ():
            for key, (synapses, _, own_step) in plasticity.plastic(name).items() if plasticity is not None else ():
                forward = key.rpartition("@")[2]  # name of the forward weight, without the prefix of a factor
                beside = forward if forward in layer.traits.returning else next(iter(layer.synapses))
                if not layer.synapses[beside].weight.requires_grad:
                    raise NeurofaError(
                        f"got '{beside}' of layer '{name}' that requires no gradient, beside feedback that learns with"
                        " it; expected weights that learn; unfreeze it, or use a rule with fixed feedback"
                    )
                if not own_step:
                    self._join(synapses, layer.synapses[beside])
        self._synapses = [synapses for _, layer in network.items() for synapses in layer.synapses.values()]
        pathway = [part for part in rule.modules() if isinstance(part, Synapses)]
        self.weights = [synapses.weight for synapses in (*self._synapses, *pathway)]
        """Weights of the network and of the rule's pathway."""
        self.filled: dict[tuple[Synapses, int], None] = {}
        """Synapses whose ``.grad`` holds a direction, each with the first row that it fills."""
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
        """Sum all directions inside the ``with`` block, then update the weights once: for a sequence of several chunks.

        If an error is raised in the block, its directions are dropped.

        Args:
            direct: whether the learner otherwise writes directions without ``.grad`` (plain SGD); ``.grad`` is then set
                to None behind the block.
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
        # a weight whose layer did not learn has no gradient, and its device nothing to realise
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
        """Refuse devices that write outer products (``device.factored``), where an update is no outer product.

        Such a device receives error and input of every sample, not their sum. Another optimizer than plain SGD, weight
        decay, or a layer without such factors cannot provide them.

        Args:
            network: the network.
            rule: its plastic feedback is checked as well.
            direct: whether the learner writes directions without ``.grad``: plain SGD, without clipping or
                accumulation.

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
                if not synapses.weight.requires_grad:
                    continue
                group = self.group(synapses)
                if not direct:
                    got = f"momentum, another optimizer, clip or accumulate {where}"
                    synapses.refuse(got, "use sgd(lr=...) alone")
                if group["weight_decay"] or (decay and key in traits.returning):
                    synapses.refuse(f"weight decay {where}", "switch it off")
                if key not in traits.factored:
                    got = f"updates that are no outer products {where}"
                    synapses.refuse(got, "use dense layers, or convolutions of one group")
            for key, (beside, *_) in plasticity.plastic(name).items() if plasticity is not None else ():
                if beside.device.factored:
                    beside.refuse(f"plastic feedback '{key}' at layer '{name}'", "use the device inside it")

    def refuse_factored(self, got: str, remedy: str) -> None:
        """Refuse a feature for devices that write the outer product of every sample (``device.factored``).

        Args:
            got: the unsupported feature, for the message.
            remedy: what to do instead, for the message.

        Raises:
            NeurofaError: the network has such a device.
        """
        for synapses in self._synapses:
            if synapses.device.factored:
                synapses.refuse(got, remedy)
