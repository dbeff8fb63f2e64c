"""Optimizers by name: torch's own, from recipes that give a factory, since an optimizer is made from parameters."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable

import torch
from torch import nn

from hwmodels.errors import NeurofaError
from hwmodels.registry import recipe

Factory = Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]
"""Makes an optimizer over some parameters."""


@recipe("optimizer", "sgd", source="Robbins and Monro 1951; Sutskever et al. 2013 (momentum)")
def sgd_factory(
    *, lr: float = 0.1, momentum: float = 0.0, weight_decay: float = 0.0, nesterov: bool = False
) -> Factory:
    """Stochastic gradient descent; without momentum it needs no state and updates weights in place."""
    _check(lr, shares={"momentum": momentum}, sizes={"weight_decay": weight_decay})
    if nesterov and not momentum:
        raise NeurofaError("got sgd(nesterov=True) without momentum; expected momentum above 0; add momentum=0.9")
    return functools.partial(torch.optim.SGD, lr=lr, momentum=momentum, weight_decay=weight_decay, nesterov=nesterov)


@recipe("optimizer", "adam", source="Kingma and Ba 2015, arXiv 1412.6980; Reddi et al. 2018 (amsgrad)")
def adam_factory(
    *,
    lr: float = 1e-3,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    amsgrad: bool = False,
) -> Factory:
    """Adam: steps scaled by running first and second moments (two numbers of digital state a weight)."""
    _check(lr, shares={"beta1": beta1, "beta2": beta2}, sizes={"eps": eps, "weight_decay": weight_decay})
    return functools.partial(
        torch.optim.Adam, lr=lr, betas=(beta1, beta2), eps=eps, weight_decay=weight_decay, amsgrad=amsgrad
    )


@recipe("optimizer", "adamw", source="Loshchilov and Hutter 2019, arXiv 1711.05101")
def adamw_factory(
    *, lr: float = 1e-3, beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-8, weight_decay: float = 0.01
) -> Factory:
    """Adam with weight decay that is not scaled by the moments."""
    _check(lr, shares={"beta1": beta1, "beta2": beta2}, sizes={"eps": eps, "weight_decay": weight_decay})
    return functools.partial(torch.optim.AdamW, lr=lr, betas=(beta1, beta2), eps=eps, weight_decay=weight_decay)


@recipe("optimizer", "rmsprop", source="Tieleman and Hinton 2012, lecture 6.5")
def rmsprop_factory(
    *, lr: float = 1e-3, alpha: float = 0.99, eps: float = 1e-8, momentum: float = 0.0, weight_decay: float = 0.0
) -> Factory:
    """Steps scaled by a running mean of squared directions."""
    _check(lr, shares={"alpha": alpha, "momentum": momentum}, sizes={"eps": eps, "weight_decay": weight_decay})
    return functools.partial(
        torch.optim.RMSprop, lr=lr, alpha=alpha, eps=eps, momentum=momentum, weight_decay=weight_decay
    )


@recipe("optimizer", "adagrad", source="Duchi, Hazan and Singer 2011")
def adagrad_factory(*, lr: float = 0.01, eps: float = 1e-10, weight_decay: float = 0.0) -> Factory:
    """Steps scaled by the sum of all squared directions so far."""
    _check(lr, shares={}, sizes={"eps": eps, "weight_decay": weight_decay})
    return functools.partial(torch.optim.Adagrad, lr=lr, eps=eps, weight_decay=weight_decay)


def _check(lr: float, *, shares: dict[str, float], sizes: dict[str, float]) -> None:
    """Refuse values out of range before there are parameters, which torch's own checks need, and lr=0, which it takes.

    Args:
        lr: learning rate, above 0.
        shares: options by name, from 0 to below 1.
        sizes: options by name, 0 or more.
    """
    if not lr > 0:
        raise NeurofaError(f"got lr={lr}; expected a positive learning rate; change lr")
    for name, value in shares.items():
        if not 0 <= value < 1:
            raise NeurofaError(f"got {name}={value}; expected a number from 0 to below 1; change {name}")
    for name, value in sizes.items():
        if not value >= 0:
            raise NeurofaError(f"got {name}={value}; expected 0 or more; change {name}")
