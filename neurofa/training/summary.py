"""A learner as text: rule, optimizer with its rate, loss, and the table of the network."""

from __future__ import annotations

import torch

from neurofa.core.loss import Loss
from neurofa.core.network import Network
from neurofa.core.rule import Rule


def learner_summary(network: Network, rule: Rule, optimizer: torch.optim.Optimizer, loss: Loss) -> str:
    """Return rule, optimizer and loss in one line, followed by the table of the network.

    Args:
        network: the network that learns.
        rule: its learning rule.
        optimizer: shown by class and learning rates, one rate if all parameter groups share it.
        loss: loss of the run.

    A third line says how large the delivered errors are, where a direct pathway delivers them.

    >>> from neurofa import Learner
    >>> from neurofa.networks import MLP
    >>> network = MLP(hidden=[5]).build(input_shape=(4,), outputs=3)
    >>> Learner(network, "dfa(error=ternary)", optimizer=torch.optim.SGD(network.parameters(), lr=0.1))
    rule dfa(error=ternary), optimizer SGD(lr=0.1), loss cross_entropy
    feedback scale backprop: errors of 0.46 of the output error
    mlp(hidden=[5]): input 4, periphery exact
    name    layer                                    output  device   parameters
    dense0  dense(n_in=4, n_out=5, activation=tanh)  5       digital          25
    dense1  dense(n_in=5, n_out=3)                   3       digital          18
    total                                                                     43
    """
    rates = dict.fromkeys(float(group["lr"]) for group in optimizer.param_groups)
    shown = f"{type(optimizer).__name__}(lr={' and '.join(map(str, rates))})"
    lines = [f"rule {rule!r}, optimizer {shown}, loss {loss!r}", *feedback_lines(rule), repr(network)]
    return "\n".join(lines)


def feedback_lines(rule: Rule) -> list[str]:
    """Return one line about the size of the errors that a direct pathway delivers to hidden layers; else none.

    Args:
        rule: bound to a network.

    >>> from neurofa import Learner
    >>> from neurofa.networks import MLP
    >>> network = MLP(hidden=[50, 50]).build(input_shape=(4,), outputs=3)
    >>> learner = Learner(network, "dfa", optimizer=torch.optim.SGD(network.parameters(), lr=0.1))
    >>> feedback_lines(learner.rule)
    ['feedback scale backprop: errors of 0.0734 to 0.138 of the output error']
    """
    if not rule.declares.direct or not rule.feedback.factors:
        return []
    sizes = rule.feedback.delivered.values()
    low, high = f"{min(sizes):.3g}", f"{max(sizes):.3g}"
    scale = "fixed" if all(factor == 1 for factor in rule.feedback.factors.values()) else "backprop"
    shown = low if low == high else f"{low} to {high}"
    return [f"feedback scale {scale}: errors of {shown} of the output error"]
