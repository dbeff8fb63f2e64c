"""Files checked: what they say, what they compute, and whether that is what a learner computes."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from exports.checks import FileCheck, guarded, told
from exports.graph.model import Model
from exports.hdf5.checks import file_checks
from exports.hdf5.read import Stored, opened
from exports.nir.check import nir_checks
from exports.onnx.check import onnx_checks
from exports.programming.spike_probes import responses
from exports.restore import rebuild, restore
from hwmodels.errors import NeurofaError
from hwmodels.spec import with_defaults
from neurofa.core.randomness import generator
from neurofa.core.rule import Direct
from neurofa.spiking.sequence import has_memory
from neurofa.training.learner import Learner

SHOWN = 8
"""Devices out of tolerance that one line names."""

LARGE = 2**26
"""Numbers in a matrix from which on nothing is built that would hold it a second time."""


def verify(
    path: Path, learner: Learner | None = None, model: Model | None = None, inputs: Tensor | None = None
) -> list[FileCheck]:
    """Check a file of any of the formats; whatever is wrong with it is said by a check, not raised.

    Args:
        path: the file.
        learner: to compare with; None: from the file alone.
        model: that learner's neutral graph.
        inputs: real data to compare outputs on, (T, B, ...) for a network with a memory; None: drawn ones.
    """
    suffix = path.suffix.lower()
    try:
        if suffix == ".onnx":
            return onnx_checks(path, learner, model, inputs)
        if suffix == ".nir":
            return nir_checks(path, model, inputs)
        with opened(path) as stored:
            found = [
                FileCheck("opens", True, f"HDF5, kind {stored.kind}, version {stored.file.attrs['format_version']}")
            ]
            found += file_checks(stored)
            if stored.kind == "measured":
                return [*found, *_measured(stored)]
            sound = all(check.ok for check in found)
            return [*found, *(_computed(stored, learner) if sound else [])]
    except NeurofaError as error:
        return [FileCheck("opens", False, str(error))]
    except (OSError, KeyError, ValueError, RuntimeError) as error:  # whatever h5py makes of a damaged file
        return [FileCheck("opens", False, f"a part of '{path}' cannot be read ({str(error).splitlines()[0]})")]


def _computed(stored: Stored, learner: Learner | None) -> list[FileCheck]:
    """What the file computes when it is read back into a learner."""
    found: list[FileCheck] = []
    recipe = stored_recipe(stored)
    if learner is not None:
        found.append(guarded("against", lambda: _same_state(stored, learner)))
    if not isinstance(recipe, dict) or not recipe.get("network"):
        return [*found, FileCheck("network", True, "not computed: the file does not say how its network is built")]
    largest = max((math.prod(stored.file[path].shape) for path in stored.datasets()), default=0)
    if largest > LARGE:
        return [
            *found,
            FileCheck("network", True, "not computed: a matrix is too large to be held again; its products are"),
        ]
    try:
        again = rebuild(recipe)
        restore(again, stored)
    except NeurofaError as error:
        return [*found, FileCheck("network", False, str(error))]
    found.append(guarded("network", lambda: _network(stored, again)))
    if isinstance(again.rule, Direct) and "probes/feedback" in stored.file:
        found.append(guarded("feedback", lambda: _feedback(stored, again)))
    return found


def stored_recipe(stored: Stored) -> Any:
    """Return how the learner is built, None where the file does not say it.

    The default error of ``sdfa`` was ternary in earlier versions: the file's own error encoding says which one it is.
    """
    recipe = stored.attributes("provenance").get("recipe")
    if isinstance(recipe, dict) and recipe.get("rule"):
        error = stored.attributes("error_encoding")["format"]
        recipe["rule"] = with_defaults(recipe["rule"], "sdfa", error=error)
    return recipe


def _same_state(stored: Stored, learner: Learner) -> FileCheck:
    faults = []
    for state, path in stored.states().items():
        prefix, _, key = state.partition(":")
        own = (learner.network if prefix == "network" else learner.rule).state_dict().get(key)
        if own is None or not torch.equal(own.cpu(), stored.tensor(path)):
            faults.append(f"'{path}' is not what the run holds")
    return told("against", faults, f"{len(stored.states())} arrays are those of the run, bit for bit")


def _within(stored: Stored, where: str, seen: Callable[[torch.Generator], Tensor]) -> str:
    """Empty where the mean of some passes lies in the pass band of a probe; else what does not."""
    expected, spread, band = (stored.tensor(f"{where}/{key}") for key in ("expected", "spread", "band"))
    gen = generator(1, "verify")
    passes = 8 if bool((spread > 0).any()) else 1
    mean = torch.stack([seen(gen) for _ in range(passes)]).mean(0)
    out = (mean - expected).abs() > band
    # with some hundred noisy numbers, one in a thousand may lie outside of four standard deviations of few passes
    if float(out.float().mean()) > (1e-3 if passes > 1 else 0.0):
        return f"{int(out.sum())} of {out.numel()} values at '{where}' lie outside of the pass band"
    return ""


def _network(stored: Stored, learner: Learner) -> FileCheck:
    x = stored.tensor("probes/network/input")
    learner.network.eval()
    if has_memory(learner.network):
        return _spikes(stored, learner, x)
    fault = _within(stored, "probes/network/output", lambda gen: learner.network(x, gen))
    return told("network", [fault] if fault else [], f"{len(x)} probe vectors give the expected outputs")


def _spikes(stored: Stored, learner: Learner, xs: Tensor) -> FileCheck:
    faults = []
    answers = sorted(name for name in stored.file["probes/network"] if name != "input")
    for name in answers:

        def seen(gen: torch.Generator, name: str = name) -> Tensor:
            return responses(learner.network, xs, gen)[name]

        if fault := _within(stored, f"probes/network/{name}", seen):
            faults.append(fault)
    many = f"{xs.shape[1]} probe sequences of {xs.shape[0]} ticks"
    return told("network", faults, f"{many} give the expected outputs and spikes ({', '.join(answers)})")


def _feedback(stored: Stored, learner: Learner) -> FileCheck:
    error, rule, faults = stored.tensor("probes/feedback/input"), learner.rule, []
    for name in rule.feedback.slices:

        def seen(gen: torch.Generator, name: str = name) -> Tensor:
            return rule.feedback.send(rule.encoder.quantize(error, gen), gen)(name)

        if fault := _within(stored, f"probes/feedback/{name}", seen):
            faults.append(fault)
    return told("feedback", faults, f"{len(error)} errors give the expected teaching signals")


def _measured(stored: Stored) -> list[FileCheck]:
    """Devices out of tolerance, by address, and probes outside of their bands."""
    far: list[tuple[float, str]] = []
    count = total = 0
    for path in stored.tiled():
        for name, own, planes in stored.tiles(path):
            for key, g in planes.items():
                if f"target_{key}" not in planes:
                    continue
                wanted = planes[f"target_{key}"]
                off = (g - wanted).abs()
                bad = torch.nonzero(off > own["tolerance"])
                count, total = count + len(bad), total + off.numel()
                for row, column in bad[off[tuple(bad.t())].argsort(descending=True)][:SHOWN].tolist():
                    place = f"input {own['first_input'] + row} output {own['first_output'] + column}"
                    address = f"{path} tile {name} {key} {place}"
                    values = f"{float(g[row, column]) * 1e6:.4g} for {float(wanted[row, column]) * 1e6:.4g} uS"
                    far.append((float(off[row, column]), f"{address}: {values}"))
    far.sort(reverse=True)
    named = [text for _, text in far[:SHOWN]]
    head = [f"{count} of {total} devices are out of tolerance, the worst: {named[0]}", *named[1:]] if count else []
    found = [told("tolerance", head, f"all {total} devices", most=SHOWN)]
    faults, good = [], 0
    for name in stored.file.get("probes", ()):
        where = f"probes/{name}/output"
        if f"{where}/measured" in stored.file:
            out = (stored.tensor(f"{where}/measured") - stored.tensor(f"{where}/expected")).abs()
            outside = int((out > stored.tensor(f"{where}/band")).sum())
            good += out.numel() - outside
            if outside:
                faults.append(f"{outside} of {out.numel()} products of '{name}' lie outside of the pass band")
    return [*found, told("probes", faults, f"{good} products lie in their pass bands")]
