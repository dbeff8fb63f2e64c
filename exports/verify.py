"""Files of every format checked: their own consistency, what they compute, and whether a learner computes the same."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from exports.checks import FileCheck, error_text, from_faults, guarded, seal_check
from exports.files.listing import NAME, is_as_listed
from exports.graph.model import Model
from exports.hdf5.checks import file_checks
from exports.hdf5.measured import measured_checks
from exports.hdf5.read import HardwareFile, open_hardware_file
from exports.nir.checks import nir_checks
from exports.onnx.checks import onnx_checks
from exports.programming.probes import teaching_signals
from exports.programming.spike_probes import spike_responses
from exports.restore import learner_states, rebuild_learner, restore_learner
from hwmodels.errors import NeurofaError
from hwmodels.spec import with_defaults
from neurofa.core.randomness import generator
from neurofa.spiking.sequence import has_memory
from neurofa.training.learner import Learner

LARGE = 2**26
"""Numbers in a matrix beyond which no learner is built that would hold it a second time."""
PASSES = 8
"""Noisy passes whose mean is compared with a probe."""
STRAY = 1e-3
"""Share of some hundred noisy numbers that may lie outside of four standard deviations of few passes."""

Passes = Callable[[torch.Generator], dict[str, Tensor]]
"""One pass with noise: outputs by name."""


def verify_file(
    path: Path, learner: Learner | None = None, model: Model | None = None, inputs: Tensor | None = None
) -> list[FileCheck]:
    """Check an exported or measured file of any format; every fault is the result of a check, none is raised.

    Args:
        path: an HDF5, ONNX (``.onnx``) or NIR (``.nir``) file.
        learner: to compare with; None: the file alone is checked.
        model: that learner's neutral graph.
        inputs: real data on which outputs are compared, (B, ...), or (T, B, ...) for a network with a memory; None:
            random ones.
    """
    try:
        checks = _checks(path, learner, model, inputs)
    except NeurofaError as error:
        return [FileCheck("opens", False, str(error))]
    except Exception as error:  # h5py and numpy raise many classes for a damaged file
        return [FileCheck("opens", False, f"a part of '{path}' cannot be read ({error_text(error)})")]
    same = is_as_listed(path)
    if same is not None:
        checks.append(FileCheck("listing", same, f"{'as' if same else 'not as'} listed in {NAME} beside it"))
    return checks


def _checks(path: Path, learner: Learner | None, model: Model | None, inputs: Tensor | None) -> list[FileCheck]:
    suffix = path.suffix.lower()
    if suffix == ".onnx":
        return onnx_checks(path, learner, model, inputs)
    if suffix == ".nir":
        return nir_checks(path, model, inputs)
    with open_hardware_file(path) as file:
        version = file.h5.attrs["format_version"]
        opens = FileCheck("opens", True, f"HDF5, kind {file.kind}, version {version}")
        checks = [opens, seal_check(file.sealed), *file_checks(file)]
        if file.kind == "measured":
            return checks + measured_checks(file)
        return checks + (_computed_checks(file, learner) if all(check.ok for check in checks) else [])


def _computed_checks(file: HardwareFile, learner: Learner | None) -> list[FileCheck]:
    """Compare the state with a learner's, and the probes with a learner that is rebuilt from the file."""
    checks = [] if learner is None else [guarded("against", lambda: _check_state(file, learner))]
    recipe = stored_recipe(file)
    if not recipe:
        return [*checks, FileCheck("network", True, "not computed: the file does not say how its network is built")]
    if max((math.prod(file.shape(path)) for path in file.datasets()), default=0) > LARGE:
        reason = "not computed: a matrix is too large to be held again; its products are"
        return [*checks, FileCheck("network", True, reason)]
    try:
        rebuilt = rebuild_learner(recipe)
        restore_learner(rebuilt, file)
    except NeurofaError as error:
        return [*checks, FileCheck("network", False, str(error))]
    checks.append(guarded("network", lambda: _check_network(file, rebuilt)))
    if "probes/feedback" in file:
        checks.append(guarded("feedback", lambda: _check_feedback(file, rebuilt)))
    return checks


def _check_state(file: HardwareFile, learner: Learner) -> FileCheck:
    paths, own = file.states(), learner_states(learner)
    faults = [
        f"'{path}' is not what the run holds"
        for state, path in paths.items()
        if state not in own or not torch.equal(own[state].cpu(), file.tensor(path))
    ]
    return from_faults("against", faults, f"{len(paths)} arrays are those of the run, bit for bit")


def _check_network(file: HardwareFile, learner: Learner) -> FileCheck:
    network, x = learner.network, file.tensor("probes/network/input")
    network.eval()
    if has_memory(network):
        names = [name for name in file.names("probes/network") if name != "input"]
        faults = _band_faults(file, "probes/network", names, lambda gen: spike_responses(network, x, gen))
        sequences = f"{x.shape[1]} probe sequences of {x.shape[0]} ticks"
        detail = f"{sequences} give the expected outputs and spikes ({', '.join(names)})"
    else:
        faults = _band_faults(file, "probes/network", ["output"], lambda gen: {"output": network(x, gen)})
        detail = f"{len(x)} probe vectors give the expected outputs"
    return from_faults("network", faults, detail)


def _check_feedback(file: HardwareFile, learner: Learner) -> FileCheck:
    error, names = file.tensor("probes/feedback/input"), list(learner.rule.feedback.slices)
    faults = _band_faults(file, "probes/feedback", names, lambda gen: teaching_signals(learner.rule, error, gen))
    return from_faults("feedback", faults, f"{len(error)} errors give the expected teaching signals")


def _band_faults(file: HardwareFile, group: str, names: list[str], passes: Passes) -> list[str]:
    """Return the outputs whose mean over some passes lies outside of the pass band of a probe.

    Args:
        file: with the probe.
        group: of the probe.
        names: of its outputs.
        passes: computes one pass.
    """
    faults = []
    for name in names:
        expected, spread, band = (file.tensor(f"{group}/{name}/{key}") for key in ("expected", "spread", "band"))
        gen = generator(1, "verify")
        noisy = bool((spread > 0).any())
        mean = torch.stack([passes(gen)[name] for _ in range(PASSES if noisy else 1)]).mean(0)
        outside = (mean - expected).abs() > band
        if float(outside.float().mean()) > (STRAY if noisy else 0.0):
            count = f"{int(outside.sum())} of {outside.numel()} values"
            faults.append(f"{count} at '{group}/{name}' lie outside of the pass band")
    return faults


def stored_recipe(file: HardwareFile) -> dict[str, Any]:
    """Return the recipe in a file's provenance, as :func:`exports.restore.rebuild_learner` takes it; empty: none."""
    recipe = file.attributes("provenance").get("recipe")
    if not isinstance(recipe, dict) or not recipe.get("network"):
        return {}
    # the default error of sdfa was ternary in earlier versions: the file's own error encoding tells
    error = file.attributes("error_encoding")["format"]
    return recipe | {"rule": with_defaults(recipe["rule"], "sdfa", error=error)}
