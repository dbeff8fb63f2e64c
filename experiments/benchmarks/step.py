"""One training step, against plain torch with ``loss.backward()`` and SGD."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import torch

from experiments.benchmarks._measure import Step
from experiments.benchmarks._suite import Case, Method, Suite
from experiments.benchmarks._work import Work, learned, mlp, plain, vgg
from hwmodels.errors import NeurofaError

RULES = ("dfa", "fa", "bp")
MORE_RULES = ("tdfa", "adfa", "drtp", "dkp", "usf", "frsf", "kp", "readout_only")
DIRECT = ("dfa", "tdfa", "adfa", "drtp", "dkp")
CHAINED = ("fa", "bp", "usf", "frsf", "kp")


class StepSuite(Suite, name="step"):
    """One training step of a rule against plain torch: the same layers, batch and learning rate.

    ``torch`` is ``nn.Sequential``, ``F.cross_entropy``, ``loss.backward()`` and ``torch.optim.SGD``; ``torch-fused``
    uses that optimizer's fused kernel, ``torch-channels-last`` the memory format that torch recommends for
    convolutions; the name of a rule is the learner with that rule; ``floor-direct`` and ``floor-chained`` are the
    matrix products or convolutions of such a rule and nothing else.
    """

    def cases(self) -> tuple[Case, ...]:
        wide, wider, small = mlp([1024] * 3), mlp([4096] * 3), mlp([256] * 3)
        images = vgg([64, 64, "M", 128, 128, "M", 256, 256, "M"])
        return (
            case("mlp-1024", wide),
            case("mlp-4096", wider),
            case("mlp-256", small),
            case("conv", images),
            case("mlp-1024-momentum", wide, momentum=0.9),
            case("conv-momentum", images, momentum=0.9),
            case("mlp-1024-rules", wide, rules=MORE_RULES),
        )


def case(name: str, work: Work, *, rules: Sequence[str] = RULES, momentum: float = 0.0) -> Case:
    """Plain torch, the rules, and the floors of one network.

    With momentum both sides go through ``.grad`` and the same optimizer; without, the learner may write its directions
    straight into the weights.
    """
    bind = functools.partial
    methods = [
        Method(name="torch", build=bind(plain, work, momentum), floor="floor-chained"),
        Method(name="torch-fused", build=bind(plain, work, momentum, fused=True), floor="floor-chained"),
    ]
    if len(work.input_shape) == 3:
        build_it = bind(plain, work, momentum, memory_format=torch.channels_last)
        methods.append(Method(name="torch-channels-last", build=build_it, floor="floor-chained"))
    for rule in rules:
        floor = "floor-direct" if rule in DIRECT else "floor-chained" if rule in CHAINED else ""
        methods.append(Method(name=rule, build=bind(learned, work, momentum, rule), floor=floor))
    for kind in ("direct", "chained"):
        build_it = bind(_floor, work, kind == "direct")
        methods.append(Method(name=f"floor-{kind}", build=build_it, floor=f"floor-{kind}"))
    return Case(name=name, methods=tuple(methods))


def _floor(work: Work, direct: bool, device: torch.device) -> Step:
    if work.floor is None:
        raise NeurofaError(f"got no floor for {work.recipe}; expected the products of its step; leave the floor out")
    return work.floor(direct=direct, device=device)
