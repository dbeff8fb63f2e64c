"""Optimizers by name: recipes that give a factory, since an optimizer is made from a network's parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import nn

from hwmodels.errors import NeurofaError
from hwmodels.registry import recipe

Factory = Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]
"""Makes an optimizer over some parameters."""


@recipe("optimizer", "sgd", source="Robbins and Monro 1951; Sutskever et al. 2013 (momentum)")
def sgd(*, lr: float = 0.1, momentum: float = 0.0, weight_decay: float = 0.0, nesterov: bool = False) -> Factory:
    """Stochastic gradient descent; without momentum it needs no state and updates weights in place."""
    _rate(lr)
    _shares(momentum=momentum)
    _not_negative(weight_decay=weight_decay)
    if nesterov and not momentum:
        raise NeurofaError("got sgd(nesterov=True) without momentum; expected momentum above 0; add momentum=0.9")
    return lambda params: torch.optim.SGD(
        params, lr=lr, momentum=momentum, weight_decay=weight_decay, nesterov=nesterov
    )


@recipe("optimizer", "adam", source="Kingma and Ba 2015, arXiv 1412.6980; Reddi et al. 2018 (amsgrad)")
def adam(
    *, lr: float = 1e-3, beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-8, weight_decay: float = 0.0,
    amsgrad: bool = False,
) -> Factory:  # fmt: skip
    """Adam: steps scaled by running first and second moments (two numbers of digital state a weight)."""
    _rate(lr)
    _shares(beta1=beta1, beta2=beta2)
    _not_negative(eps=eps, weight_decay=weight_decay)
    return lambda params: torch.optim.Adam(
        params, lr=lr, betas=(beta1, beta2), eps=eps, weight_decay=weight_decay, amsgrad=amsgrad
    )


@recipe("optimizer", "adamw", source="Loshchilov and Hutter 2019, arXiv 1711.05101")
def adamw(
    *, lr: float = 1e-3, beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-8, weight_decay: float = 0.01
) -> Factory:
    """Adam with weight decay that is not scaled by the moments."""
    _rate(lr)
    _shares(beta1=beta1, beta2=beta2)
    _not_negative(eps=eps, weight_decay=weight_decay)
    return lambda params: torch.optim.AdamW(params, lr=lr, betas=(beta1, beta2), eps=eps, weight_decay=weight_decay)


@recipe("optimizer", "rmsprop", source="Tieleman and Hinton 2012, lecture 6.5")
def rmsprop(
    *, lr: float = 1e-3, alpha: float = 0.99, eps: float = 1e-8, momentum: float = 0.0, weight_decay: float = 0.0
) -> Factory:
    """Steps scaled by a running mean of squared directions."""
    _rate(lr)
    _shares(alpha=alpha, momentum=momentum)
    _not_negative(eps=eps, weight_decay=weight_decay)
    return lambda params: torch.optim.RMSprop(
        params, lr=lr, alpha=alpha, eps=eps, momentum=momentum, weight_decay=weight_decay
    )


@recipe("optimizer", "adagrad", source="Duchi, Hazan and Singer 2011")
def adagrad(*, lr: float = 0.01, eps: float = 1e-10, weight_decay: float = 0.0) -> Factory:
    """Steps scaled by the sum of all squared directions so far."""
    _rate(lr)
    _not_negative(eps=eps, weight_decay=weight_decay)
    return lambda params: torch.optim.Adagrad(params, lr=lr, eps=eps, weight_decay=weight_decay)


def _rate(lr: float) -> None:
    if not lr > 0:
        raise NeurofaError(f"got lr={lr}; expected a positive learning rate; change lr")


def _shares(**values: float) -> None:
    for name, value in values.items():
        if not 0 <= value < 1:
            raise NeurofaError(f"got {name}={value}; expected a number from 0 to below 1; change {name}")


def _not_negative(**values: float) -> None:
    for name, value in values.items():
        if not value >= 0:
            raise NeurofaError(f"got {name}={value}; expected 0 or more; change {name}")
