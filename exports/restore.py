"""From files back into learners: exactly, from one of the copies, or fitted to what was measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from exports.hdf5.read import Source, Stored
from exports.programming.integers import row_blocks
from hwmodels.errors import NeurofaError
from hwmodels.projection import Programmable
from hwmodels.registry import build
from neurofa.core.randomness import generator
from neurofa.core.synapses import Synapses
from neurofa.feedbacks.projection import Projected
from neurofa.training.learner import Learner

OUTLIER = 5.0
"""Robust standard deviations from which a device counts as an outlier."""


def rebuild(recipe: dict[str, Any], *, lr: float = 0.1, weight_decay: float = 0.0) -> Learner:
    """A learner of the same structure with plain SGD, with weights of its own.

    Args:
        recipe: ``network``, ``input_shape``, ``outputs``, ``seed``, ``device``, ``periphery``, ``rule``, ``loss``.
        lr: learning rate.
        weight_decay: of the optimizer.

    Raises:
        NeurofaError: nothing in the file says how to build it.
    """
    if not recipe.get("network"):
        raise NeurofaError("got a network that no recipe made; expected one; pass the learner that it belongs to")
    network = build(
        "network", recipe["network"], input_shape=tuple(recipe["input_shape"]), outputs=recipe["outputs"],
        seed=recipe["seed"], device=recipe["device"], periphery=recipe["periphery"],
    )  # fmt: skip
    optimizer = torch.optim.SGD(network.parameters(), lr=lr, weight_decay=weight_decay)
    return Learner(network, recipe["rule"], optimizer=optimizer, loss=recipe["loss"], seed=recipe["seed"])


def twin(learner: Learner, recipe: dict[str, Any]) -> Learner:
    """Another learner in the same state, with the plain SGD part of its optimizer."""
    group = learner.optimizer.param_groups[0]
    made = rebuild(recipe, lr=group["lr"], weight_decay=group.get("weight_decay", 0.0))
    made.network.load_state_dict(learner.network.state_dict())
    made.rule.load_state_dict(learner.rule.state_dict())
    return made


@torch.no_grad()
def restore(learner: Learner, stored: Stored) -> None:
    """Make a learner exactly what was exported, device cells and feedback included.

    Raises:
        NeurofaError: another structure; the first key that does not fit is named.
    """
    if stored.kind != "network":
        raise NeurofaError(f"got '{stored.path}', a {stored.kind} file; expected an exported network; use replace")
    paths = stored.states()
    for prefix, module in (("network", learner.network), ("rule", learner.rule)):
        wanted = module.state_dict()
        lacking = [key for key in wanted if f"{prefix}:{key}" not in paths]
        # an effective matrix of hardware is no state; what it is made of is
        extra = [s for s in paths if s.startswith(f"{prefix}:") and s.removeprefix(f"{prefix}:") not in wanted]
        if lacking or extra:
            raise NeurofaError(
                f"got '{stored.path}' {'without' if lacking else 'with'} '{(lacking or extra)[0]}'; expected the state"
                " of the same network and rule; import it into the run that it was exported from"
            )
        for key, tensor in wanted.items():
            shape = tuple(stored.file[paths[f"{prefix}:{key}"]].shape)
            if shape != tuple(tensor.shape):
                raise NeurofaError(
                    f"got '{key}' of shape {shape} in '{stored.path}'; expected {tuple(tensor.shape)}; import it into"
                    " the"
                    " run that it was exported from"
                )
        for key, tensor in wanted.items():
            _fill(tensor, stored, paths[f"{prefix}:{key}"])


def _fill(tensor: Tensor, stored: Stored, path: str) -> None:
    """Read a dataset into a tensor of a state dict, which shares its memory with the module, block by block."""
    if not tensor.ndim or not tensor.numel():
        tensor.copy_(stored.tensor(path))
        return
    for rows in row_blocks(tensor):
        tensor[rows] = torch.from_numpy(stored.file[path][rows])


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """How a matrix that was read in compares with the one that it replaced."""

    path: str
    scale: float
    """s of the least squares fit measured = s target."""
    cosine: float
    """Between measured and target."""
    error: float
    """Root mean square of measured / s - target (measured - target, where the scale is kept), in units of the target's
    own."""
    outliers: int
    """Weights more than 5 robust standard deviations off."""
    worst: tuple[str, ...]
    """The largest of them, by index, with what was measured and what was wanted."""


def fit(path: str, measured: Tensor, target: Tensor, *, keep_scale: bool) -> tuple[Fitted, Tensor]:
    """Compare what was measured with what was wanted, and take the common factor out.

    Args:
        path: of the matrix.
        measured: as read back.
        target: as wanted, same shape.
        keep_scale: leave the measured numbers as they are.

    Returns:
        The comparison, and the weights to use.

    Raises:
        NeurofaError: another shape, numbers that are not finite, or nothing in common with the target.
    """
    if measured.shape != target.shape:
        raise NeurofaError(
            f"got '{path}' of shape {tuple(measured.shape)}; expected {tuple(target.shape)}; check the file"
        )
    if not bool(measured.isfinite().all()):
        raise NeurofaError(f"got NaN or infinity in '{path}'; expected finite numbers; measure again")
    m, w = measured.double(), target.double()
    power = float(w.square().sum())
    scale = float((m * w).sum()) / power if power else 1.0
    if scale <= 0 and not keep_scale:
        raise NeurofaError(
            f"got '{path}' that fits its target with the factor {scale:.3g}; expected a positive one; check sign and"
            " orientation"
        )
    cosine = scale * power**0.5 / max(float(m.norm()), 1e-300) if power else 1.0
    off = m / (1.0 if keep_scale else scale) - w
    middle = (off - off.median()).abs().median() * 1.4826
    far = (off - off.median()).abs() > OUTLIER * middle.clamp_min(1e-12)
    indices = torch.nonzero(far)
    order = off[far].abs().argsort(descending=True)[:5]
    worst = tuple(
        f"{tuple(indices[i].tolist())}: {float(off[tuple(indices[i])] + w[tuple(indices[i])]):.4g} for"
        f" {float(w[tuple(indices[i])]):.4g}"
        for i in order.tolist()
    )
    error = float(off.square().mean().sqrt()) / max((power / w.numel()) ** 0.5, 1e-300)
    found = Fitted(path=path, scale=scale, cosine=cosine, error=error, outliers=int(far.sum()), worst=worst)
    return found, measured if keep_scale else (m / scale).to(target.dtype)


def replace(
    learner: Learner, stored: Stored, paths: dict[str, str], *, source: Source, keep_scale: bool = False, seed: int = 0
) -> list[Fitted]:
    """Program the matrices of a file into a learner.

    Args:
        learner: changed in place.
        stored: a file of either kind.
        paths: state key by path of a matrix, as the exported network says; an empty key is the matrix of the feedback's
            hardware.
        source: which copy is read.
        keep_scale: leave measured numbers as they are.
        seed: of programming errors, where weights live on a noisy device.

    Returns:
        How each compares with what it replaced.
    """
    gen, found = generator(seed, "import"), []
    for path, state in paths.items():
        measured = stored.matrix(path, source)
        if state:
            synapses = _synapses(learner, state)
            one, weights = fit(path, measured, synapses.weight.detach(), keep_scale=keep_scale)
            synapses.program(weights, gen)
        else:
            projection = _projection(learner, path)
            target = projection.effective()
            assert target is not None  # noqa: S101 (a Programmable has one)
            one, weights = fit(path, measured, target.t(), keep_scale=keep_scale)
            projection.program(weights.t().contiguous(), gen)
        found.append(one)
    return found


def _synapses(learner: Learner, state: str) -> Synapses:
    prefix, _, key = state.partition(":")
    module = learner.network if prefix == "network" else learner.rule
    part: Any = module
    for piece in key.removesuffix(".weight").split("."):
        part = part._modules.get(piece) if part is not None else None
    if not isinstance(part, Synapses):
        raise NeurofaError(f"got '{key}' in a file; expected weights of this {prefix}; import it into its own run")
    return part


def _projection(learner: Learner, path: str) -> Programmable:
    feedback = learner.rule.feedback
    if isinstance(feedback, Projected) and isinstance(feedback.projection, Programmable):
        return feedback.projection
    raise NeurofaError(
        f"got '{path}' for the feedback '{feedback.name}'; expected a pathway that can be programmed; import it into"
        " a run"
        " with a dense, crossbar, microring or mzi feedback"
    )
