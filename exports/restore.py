"""From files back into learners: the exact state, one of the copies, or measured matrices."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from exports.hdf5.read import HardwareFile, Source
from exports.programming.fit import LEAST_COSINE, MatrixFit, fit_matrix
from exports.programming.integers import row_blocks
from hwmodels.errors import NeurofaError
from hwmodels.projection import Projection
from hwmodels.registry import build
from neurofa.core.programming import warn_of_clipping
from neurofa.core.randomness import generator
from neurofa.core.synapses import Synapses, synapses_of
from neurofa.training.learner import Learner


def rebuild_learner(recipe: dict[str, Any], *, lr: float = 0.1, weight_decay: float = 0.0) -> Learner:
    """Build the learner that a recipe describes, with newly drawn weights and plain SGD as its optimizer.

    Args:
        recipe: specs of ``network``, ``device``, ``periphery`` and ``rule``, name of the ``loss``; ``input_shape``,
            ``outputs`` and ``seed``: an exported file holds it in its provenance. ``feedback_scale`` is missing in
            older files, which mean ``fixed``.
        lr: learning rate.
        weight_decay: factor at which the optimizer adds the weights to their gradient.

    Raises:
        NeurofaError: the recipe names no network.
    """
    if not recipe.get("network"):
        raise NeurofaError("got a network that no recipe made; expected one; pass the learner that it belongs to")
    options = {key: recipe[key] for key in ("outputs", "seed", "device", "periphery")}
    network = build("network", recipe["network"], input_shape=tuple(recipe["input_shape"]), **options)
    optimizer = torch.optim.SGD(network.parameters(), lr=lr, weight_decay=weight_decay)
    about = {key: recipe[key] for key in ("loss", "seed")}
    scale = recipe.get("feedback_scale", "fixed")
    return Learner(network, recipe["rule"], optimizer=optimizer, feedback_scale=scale, **about)


def twin_learner(learner: Learner, recipe: dict[str, Any]) -> Learner:
    """Build a copy of a learner, in the same state, whose optimizer is plain SGD of the same rate and weight decay.

    Args:
        learner: the learner, whose modules are not touched.
        recipe: how it is built, as of :func:`rebuild_learner`.

    Raises:
        NeurofaError: the recipe names no network.
    """
    group = learner.optimizer.param_groups[0]
    twin = rebuild_learner(recipe, lr=group["lr"], weight_decay=group.get("weight_decay", 0.0))
    twin.network.load_state_dict(learner.network.state_dict())
    twin.rule.load_state_dict(learner.rule.state_dict())
    return twin


def learner_states(learner: Learner) -> dict[str, Tensor]:
    """Return the state of network and rule by ``network:KEY`` and ``rule:KEY``, sharing memory with the modules."""
    parts = {"network": learner.network, "rule": learner.rule}
    return {f"{part}:{key}": value for part, module in parts.items() for key, value in module.state_dict().items()}


@torch.no_grad()
def restore_learner(learner: Learner, file: HardwareFile) -> None:
    """Bring a learner into exactly the state that was exported, device cells and feedback included.

    Raises:
        NeurofaError: the file is of another structure; the first key that does not fit is named.
    """
    if file.kind != "network":
        raise NeurofaError(f"got '{file.path}', a {file.kind} file; expected an exported network; use replace")
    paths, states = file.states(), learner_states(learner)
    missing = [key for key in states if key not in paths]
    extra = [key for key in paths if key not in states]
    if missing or extra:
        raise NeurofaError(
            f"got '{file.path}' {'without' if missing else 'with'} '{(missing or extra)[0]}'; expected the state of the"
            " same network and rule; import it into the run that it was exported from"
        )
    for key, tensor in states.items():
        shape = file.shape(paths[key])
        if shape != tuple(tensor.shape):
            raise NeurofaError(
                f"got '{key}' of shape {shape} in '{file.path}'; expected {tuple(tensor.shape)}; import it into the run"
                " that it was exported from"
            )
    for key, tensor in states.items():
        _fill(tensor, file, paths[key])


def _fill(tensor: Tensor, file: HardwareFile, path: str) -> None:
    """Read a dataset into a tensor of a state dict, which shares its memory with the module, block by block."""
    if not tensor.ndim or not tensor.numel():
        tensor.copy_(file.tensor(path))
        return
    for rows in row_blocks(tensor):
        tensor[rows] = file.rows(path, rows)


def replace_matrices(
    learner: Learner,
    file: HardwareFile,
    states: dict[str, str],
    *,
    source: Source,
    keep_scale: bool = False,
    seed: int = 0,
    least_cosine: float = LEAST_COSINE,
) -> list[MatrixFit]:
    """Read matrices from a file and program them into a learner, in the place of its own weights and feedback.

    All are compared with those that they replace before the first one is programmed.

    Args:
        learner: changed in place.
        file: an exported or a measured file.
        states: by the path of each matrix in the file, the key of the state dict that it replaces (``network:KEY`` or
            ``rule:KEY``); an empty key stands for the matrix of the feedback's hardware.
        source: which copy of a matrix is read: ``float``, ``quantized`` (whole numbers) or ``conductance``.
        keep_scale: program the numbers as they were read; otherwise the common factor by which they differ from the
            replaced matrix is divided out first (:func:`fit_matrix`).
        seed: of the programming errors of a noisy device.
        least_cosine: to the matrix that it replaces, -1 to 1: below it a matrix is refused.

    Returns:
        The comparison of each matrix with the one that it replaced.

    Raises:
        NeurofaError: a matrix that the learner does not have or cannot program, or one unlike the one it replaces.
    """
    gen, fits = generator(seed, "import"), list[MatrixFit]()
    programs = list[Callable[[], None]]()
    for path, state in states.items():
        measured = file.matrix(path, source)
        projection = None
        if state:
            synapses = _synapses(learner, state)
            target = synapses.weight.detach()
        else:
            projection, target = _projection(learner, path)
            target = target.t()
        fit, weights = fit_matrix(path, measured, target, keep_scale=keep_scale, least_cosine=least_cosine)
        fits.append(fit)
        if projection is None:
            programs.append(functools.partial(_program, synapses, weights, gen, path))
        else:
            programs.append(functools.partial(projection.program, weights.t().contiguous(), gen))
    for program in programs:
        program()
    return fits


def _program(synapses: Synapses, weights: Tensor, gen: torch.Generator, path: str) -> None:
    """Program weights, and say which share of them the device clips."""
    synapses.program(weights, gen)
    warn_of_clipping({f"'{path}'": synapses.clips(weights)}, str(synapses.device))


def _synapses(learner: Learner, state: str) -> Synapses:
    prefix, _, key = state.partition(":")
    synapses = synapses_of(learner.network if prefix == "network" else learner.rule)
    name = key.removesuffix(".weight")
    if name not in synapses:
        raise NeurofaError(f"got '{key}' in a file; expected weights of this {prefix}; import it into its own run")
    return synapses[name]


def _projection(learner: Learner, path: str) -> tuple[Projection, Tensor]:
    """Return the projection of the feedback and its effective matrix (n_in, n_out)."""
    feedback = learner.rule.feedback
    projection = feedback.hardware()
    target = None if projection is None else projection.effective()
    if projection is None or target is None:
        raise NeurofaError(
            f"got '{path}' for the feedback '{feedback.name}'; expected a pathway that can be programmed; import it"
            " into a run with a dense, crossbar, microring or mzi feedback"
        )
    return projection, target
