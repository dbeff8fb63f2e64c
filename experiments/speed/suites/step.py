"""One training step, against plain torch with ``loss.backward()`` and SGD."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch

from experiments.speed.suite import SpeedCase, SpeedMethod, SpeedSuite
from experiments.speed.timing import Step
from experiments.speed.workloads import StepWorkload, learner_step, mlp_workload, torch_step, vgg_workload
from hwmodels.errors import NeurofaError

RULES = ("dfa", "fa", "bp")
MORE_RULES = ("tdfa", "adfa", "drtp", "dkp", "usf", "frsf", "kp", "readout_only")
DIRECT = ("dfa", "tdfa", "adfa", "drtp", "dkp")
CHAINED = ("fa", "bp", "usf", "frsf", "kp")


class StepSuite(SpeedSuite, name="step"):
    """One training step of a rule against plain torch: the same layers, batch and learning rate.

    ``torch`` is ``nn.Sequential``, ``F.cross_entropy``, ``loss.backward()`` and ``torch.optim.SGD``; ``torch-fused``
    uses that optimizer's fused kernel, ``torch-channels-last`` the memory format that torch recommends for
    convolutions; the name of a rule is the learner with that rule; ``floor-direct`` and ``floor-chained`` are the
    matrix products or convolutions of such a rule and nothing else.
    """

    def cases(self) -> tuple[SpeedCase, ...]:
        wide, wider, small = (mlp_workload([width] * 3) for width in (1024, 4096, 256))
        images = vgg_workload([64, 64, "M", 128, 128, "M", 256, 256, "M"])
        return (
            step_case("mlp-1024", wide),
            step_case("mlp-4096", wider),
            step_case("mlp-256", small),
            step_case("conv", images),
            step_case("mlp-1024-momentum", wide, momentum=0.9),
            step_case("conv-momentum", images, momentum=0.9),
            step_case("mlp-1024-rules", wide, rules=MORE_RULES),
        )


def step_case(name: str, workload: StepWorkload, *, rules: Sequence[str] = RULES, momentum: float = 0.0) -> SpeedCase:
    """Return plain torch, the rules, and the floors of one network as one case.

    With momentum both sides go through ``.grad`` and the same optimizer; without, the learner may write its directions
    straight into the weights.

    Args:
        name: of the case.
        workload: the network and its batches.
        rules: the rules that are measured.
        momentum: momentum of SGD.
    """
    plain = partial(torch_step, workload, momentum=momentum)
    builders = {"torch": plain, "torch-fused": partial(plain, fused=True)}
    if len(workload.input_shape) == 3:
        builders["torch-channels-last"] = partial(plain, channels_last=True)
    methods = [SpeedMethod(name=method, build=build, floor="floor-chained") for method, build in builders.items()]
    for rule in rules:
        floor = "floor-direct" if rule in DIRECT else "floor-chained" if rule in CHAINED else ""
        build = partial(learner_step, workload, rule, momentum=momentum)
        methods.append(SpeedMethod(name=rule, build=build, floor=floor))
    for floor, direct in (("floor-direct", True), ("floor-chained", False)):
        methods.append(SpeedMethod(name=floor, build=partial(_floor, workload, direct), floor=floor))
    return SpeedCase(name=name, methods=tuple(methods))


def _floor(workload: StepWorkload, direct: bool, device: torch.device) -> Step:
    if workload.floor is None:
        raise NeurofaError(f"got no floor for {workload.spec}; expected the products of its step; leave the floor out")
    return workload.floor(direct=direct, device=device)
