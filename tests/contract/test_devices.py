"""Every registered device and number format, built from defaults and in a few variants, keeps its contract."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, dataclass

import pytest
import torch

from hwmodels import build, find, parts
from hwmodels.device import AgeingCells, Device
from hwmodels.format import Format
from hwmodels.testing import check_device, check_format, device_checks, format_checks

DEVICES = [
    *parts("device"),
    "fixed(bits=2)",
    "pcm(pair=False)",
    "one_sided(device=constant_step, refresh_pulses=None)",
    "fixed(bits=4, rounding=nearest)",
    "fixed(range=0.5, bits=24)",
]
FORMATS = [
    *parts("format"),
    "ternary(relative=True)",
    "pow2(bits=2)",
    "pow2(range=0.1, flush=True)",
    "uniform(bits=2, range=0.05)",
    "uniform(bits=4, per=channel)",
    "uniform(bits=5, symmetric=False)",
    "uniform(bits=3, symmetric=False, range=0.1)",
    "uniform(bits=4, rounding=stochastic)",
    "uniform(bits=4, symmetric=False, rounding=stochastic)",
]
SHAPED = {"uniform(bits=4, per=channel)": "a scale per channel needs two axes"}


@pytest.mark.parametrize("check", [pytest.param(check, id=name) for name, check in device_checks()])
@pytest.mark.parametrize("spec", DEVICES)
def test_device(spec, check):
    check(build("device", spec))


@pytest.mark.parametrize("check", [pytest.param(check, id=name) for name, check in format_checks()])
@pytest.mark.parametrize("spec", FORMATS)
def test_format(spec, check):
    if spec in SHAPED and check.__name__ == "format_keeps_shape_dtype_and_input":
        with pytest.raises(ValueError, match="use per=tensor"):
            check(build("format", spec))
    else:
        check(build("format", spec))


@pytest.mark.parametrize(("kind", "spec"), [("device", s) for s in DEVICES] + [("format", s) for s in FORMATS])
def test_parts_are_frozen_values_with_a_source_and_a_docstring(kind, spec):
    part = build(kind, spec)
    assert part == build(kind, spec)
    assert hash(part) == hash(build(kind, spec))
    assert part.source
    assert type(part).__doc__
    with pytest.raises(FrozenInstanceError):
        part.anything = 1
    with pytest.raises(TypeError):
        find(kind, part.name)(3)


# controls: a part that breaks the contract is refused by the check for it


@dataclass(frozen=True, kw_only=True)
class Honest(Device):
    def program(self, target, gen=None):
        return {"w": target.clone()}

    def value(self, cells):
        return cells["w"]

    def write(self, cells, change, gen=None):
        return {"w": (cells["w"] + change).clamp(-1, 1)}


class Aliasing(Honest):
    def program(self, target, gen=None):
        return {"w": target}


class InPlace(Honest):
    def write(self, cells, change, gen=None):
        cells["w"].add_(change).clamp_(-1, 1)
        return cells


class GloballyRandom(Honest):
    def write(self, cells, change, gen=None):
        return {"w": (cells["w"] + change + torch.randn_like(change)).clamp(-1, 1)}


class Widening(Honest):
    def write(self, cells, change, gen=None):
        return {"w": (cells["w"] + change).clamp(-1, 1).double()}


class Drifting(Honest):
    def write(self, cells, change, gen=None):
        return {"w": (cells["w"] + change + 1e-6).clamp(-1, 1)}


class Backwards(Honest):
    def write(self, cells, change, gen=None):
        return {"w": (cells["w"] - change).clamp(-1, 1)}


class Unbounded(Honest):
    def write(self, cells, change, gen=None):
        return {"w": cells["w"] + change}


class Waiting(Honest):
    def write(self, cells, change, gen=None):
        return {"w": (cells["w"] + change).clamp(-1, 1) if bool((change != 0).any()) else cells["w"].clone()}


class Leaking(Honest, AgeingCells):
    ageing = property(lambda self: self)

    def relax(self, cells, seconds, gen=None):
        return {"w": cells["w"] * 0.99}


class SecretlyNoisy(Honest):
    def read(self, cells, gen=None):
        return cells["w"] + torch.randn(cells["w"].shape, generator=gen, dtype=cells["w"].dtype)


class Shrinking(Honest):
    def program(self, target, gen=None):
        return {"w": target * 0.9}


class Deaf(Honest):
    def program(self, target, gen=None):
        return {"w": torch.zeros_like(target)}


class Redrawn(Honest):
    """Its elements differ, and programming again draws other ones."""

    def program(self, target, gen=None):
        return {"w": target.clone(), "top": torch.rand(target.shape, generator=gen, dtype=target.dtype) + 1}

    def write(self, cells, change, gen=None):
        return {**cells, "w": torch.minimum((cells["w"] + change).clamp(min=-1), cells["top"])}


def test_the_honest_device_passes():
    check_device(Honest())


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (Aliasing, "share the target's memory"),
        (InPlace, "an input that a device function changed"),
        (GloballyRandom, "two results of one seed|global generator"),
        (Widening, "after write"),
        (Drifting, "for no change"),
        (Backwards, "for a positive change"),
        (Unbounded, "still move"),
        (Waiting, "waits for the host"),
        (Leaking, "zero seconds"),
        (SecretlyNoisy, "reads that differ from the values"),
        (Shrinking, "own values moved"),
        (Deaf, "cosine"),
        (Redrawn, "after reprogramming"),
    ],
)
def test_a_device_that_breaks_the_contract_is_refused(broken, message):
    with pytest.raises(AssertionError, match=message):
        check_device(broken())


@dataclass(frozen=True, kw_only=True)
class Grid(Format):
    """Whole numbers times 1/16 within +-1."""

    bits = 6.0  # type: ignore[assignment]

    def quantize(self, x, gen=None):
        return (x * 16).round().clamp(-16, 16) / 16

    def inside(self, x):
        return x.abs() <= 1


class OneBit(Grid):
    bits = 1.0  # type: ignore[assignment]


class Halving(Grid):
    def quantize(self, x, gen=None):
        return super().quantize(x) / 2


class InPlaceGrid(Grid):
    def quantize(self, x, gen=None):
        return x.mul_(16).round_().clamp_(-16, 16).div_(16)


class Offset(Grid):
    def quantize(self, x, gen=None):
        return super().quantize(x).clamp_min(0.0625)


class HidesNaN(Grid):
    def quantize(self, x, gen=None):
        return super().quantize(x).nan_to_num()


class WaitsForMax(Grid):
    def quantize(self, x, gen=None):
        return super().quantize(x if x.max().item() > 0 else x.clone())


class Random(Grid):
    def quantize(self, x, gen=None):
        return (x * 16 + torch.rand_like(x)).floor().clamp(-16, 16) / 16


def test_the_honest_format_passes():
    check_format(Grid())


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (OneBit, "values from 1 bits"),
        (Halving, "moved when quantized again"),
        (InPlaceGrid, "input that was changed"),
        (Offset, "from 0"),
        (HidesNaN, "from NaN"),
        (WaitsForMax, "waits for the host"),
        (Random, "two results of one seed"),
    ],
)
def test_a_format_that_breaks_the_contract_is_refused(broken, message):
    with pytest.raises(AssertionError, match=message):
        check_format(broken())
