"""The learning engine of a digital chip: resolution of an update, one step at most, and the chance of a step."""

from __future__ import annotations

import math

import pytest
import torch

from hwmodels import build
from hwmodels.errors import NeurofaError
from hwmodels.testing import device_checks

N = 200_000
FULL = 1.0
WORDS = f"fixed(bits=8, range={FULL})"
STEP = FULL / 127


def moved(spec: str, change: float, *, at: float = 0.0, seed: int = 0) -> torch.Tensor:
    """Steps by which N words at ``at`` move when each is asked for ``change`` steps."""
    device = build("device", spec)
    cells = device.program(torch.full((N, 1), at * STEP), torch.Generator().manual_seed(seed))
    before = device.value(cells)
    asked = torch.full_like(before, change * STEP)
    after = device.value(device.write(cells, asked, torch.Generator().manual_seed(seed + 1)))
    return ((after - before) / STEP).double()


def z_of_mean(sample: torch.Tensor, mean: float, std: float) -> float:
    return abs(sample.mean().item() - mean) / max(std / math.sqrt(N), 1e-9)


@pytest.mark.parametrize("change", [0.004, 0.3, -0.7, 0.999])
def test_below_one_step_the_chance_of_a_step_is_the_change(change: float) -> None:
    steps = moved(f"update_engine(device={WORDS}, fraction=None, most=1)", change)
    assert set(steps.round().unique().tolist()) <= {0.0, math.copysign(1.0, change)}
    p = abs(change)
    std = math.sqrt(p * (1 - p))
    assert z_of_mean(steps, change, std) < 4
    assert z_of_mean(steps, change * 1.2, std) > 4  # control: another probability would be seen


def test_more_than_one_step_is_never_taken() -> None:
    assert moved(f"update_engine(device={WORDS}, fraction=None, most=1)", 5.5).round().unique().tolist() == [1.0]
    assert moved(f"update_engine(device={WORDS}, fraction=None, most=2)", -5.5).round().unique().tolist() == [-2.0]
    # control: the words alone take what is asked for
    assert moved(WORDS, 5.5).round().unique().tolist() == [5.0, 6.0]


@pytest.mark.parametrize(
    ("cut", "change", "left"),
    [
        ("floor", 0.3, math.floor(0.3 * 8) / 8),
        ("floor", -0.3, math.floor(-0.3 * 8) / 8),
        ("zero", -0.3, -math.floor(0.3 * 8) / 8),
        ("floor", 0.1, 0.0),
        ("floor", -0.1, -1 / 8),
        ("zero", -0.1, 0.0),
    ],
)
def test_bits_below_the_accumulator_are_dropped(cut: str, change: float, left: float) -> None:
    steps = moved(f"update_engine(device={WORDS}, fraction=3, cut={cut})", change)
    p = abs(left)
    assert z_of_mean(steps, left, math.sqrt(p * (1 - p))) < 4
    # control: without the engine the mean is the change that was asked for, and is told apart from what is left
    alone = moved(WORDS, change)
    assert z_of_mean(alone, left, math.sqrt(abs(change) * (1 - abs(change)))) > 4


def test_without_limits_it_is_the_word_itself() -> None:
    engine = f"update_engine(device={WORDS}, fraction=None)"
    assert torch.equal(moved(engine, 0.37, seed=3), moved(WORDS, 0.37, seed=3))
    assert not torch.equal(moved(engine, 0.37, seed=3), moved(WORDS, 0.37, seed=4))


def test_words_saturate_and_zero_changes_nothing() -> None:
    engine = f"update_engine(device={WORDS}, most=1)"
    assert moved(engine, 3.0, at=127).abs().max() == 0
    assert moved(engine, -3.0, at=127).round().unique().tolist() == [-1.0]
    assert moved(engine, 0.0).abs().max() == 0


@pytest.mark.parametrize("spec", [f"update_engine(device={WORDS}, most=1)", "update_engine(cut=zero)"])
def test_variants_keep_the_contract_of_devices(spec: str) -> None:
    device = build("device", spec)
    for _, check in device_checks():
        if (
            check.__name__ != "device_saturates" or device.most is None
        ):  # at one step a write, fifty writes reach no bound
            check(device)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("update_engine(device=gaussian)", "expected digital words"),
        ("update_engine(fraction=-1)", "fraction=-1"),
        ("update_engine(most=0)", "most=0"),
        ("update_engine(cut=nearest)", "floor"),
    ],
)
def test_wrong_constants_are_refused(spec: str, words: str) -> None:
    with pytest.raises(NeurofaError, match=words):
        build("device", spec)
