"""Files of networks and training states: safetensors for tensors, JSON for the rest, no pickle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from hwmodels.errors import NeurofaError
from hwmodels.files import atomic_path
from hwmodels.registry import build
from neurofa.core.network import Network
from neurofa.training.learner import Learner

FORMAT = "1"


def save_network(network: Network, path: Path | str) -> None:
    """Write a network to a safetensors file: weights, device cells, running statistics, and the recipe to build it.

    Args:
        network: the network.
        path: the file; it is written completely or not at all.
    """
    about = {
        "kind": "network",
        "spec": network.spec,
        "input_shape": network.input_shape,
        "outputs": network.outputs,
        "device": network.device_spec,
        "periphery": network.periphery_spec,
        "seed": network.seed,
    }
    _write(Path(path), network.state_dict(), about)


def load_network(path: Path | str, network: Network | None = None) -> Network:
    """Return a network that :func:`save_network` wrote.

    Args:
        path: the file.
        network: a network of the same structure, filled in place, which keeps its periphery; needed for networks that
            were not built by a recipe.

    Raises:
        NeurofaError: a missing file, another kind of file, or another structure.
    """
    about, tensors = _read(Path(path), "network")
    if network is None:
        if not about["spec"]:
            raise NeurofaError(
                f"got '{path}', whose network no recipe made; expected one to fill; pass network= of its structure"
            )
        network = build(
            "network",
            about["spec"],
            input_shape=tuple(about["input_shape"]),
            outputs=about["outputs"],
            seed=about["seed"],
            device=about["device"] or "digital",
            periphery=about.get("periphery", "exact"),  # older files have no periphery
        )
    assert network is not None
    _fill(network, tensors, Path(path))
    return network


def save_checkpoint(path: Path | str, learner: Learner, extra: dict[str, Any]) -> None:
    """Write the state of a training run, from which it continues exactly.

    Args:
        path: the file; it is written completely or not at all.
        learner: network, rule, optimizer and generators.
        extra: further data of the caller; JSON values.
    """
    optimizer = learner.optimizer.state_dict()
    tensors = {f"network.{k}": v for k, v in learner.network.state_dict().items()}
    tensors |= {f"rule.{k}": v for k, v in learner.rule.state_dict().items()}
    numbers: dict[str, dict[str, Any]] = {}
    for index, state in optimizer["state"].items():
        for key, value in state.items():
            if isinstance(value, Tensor):
                tensors[f"optimizer.{index}.{key}"] = value
            else:
                numbers.setdefault(str(index), {})[key] = value
    tensors["gen.learner"] = learner.gen.get_state()
    assert learner.rule.gen is not None
    tensors["gen.rule"] = learner.rule.gen.get_state()
    # initial_lr belongs to a scheduler, not to the optimizer
    groups = [{k: v for k, v in group.items() if k != "initial_lr"} for group in optimizer["param_groups"]]
    about = {"kind": "checkpoint", "groups": groups, "numbers": numbers, "steps": learner.steps, "extra": extra}
    _write(Path(path), tensors, about)


def load_checkpoint(path: Path | str, learner: Learner) -> dict[str, Any]:
    """Restore the state of a learner that :func:`save_checkpoint` wrote.

    Args:
        path: the file.
        learner: made as the one that was saved; changed in place.

    Returns:
        ``extra`` of :func:`save_checkpoint`.

    Raises:
        NeurofaError: a missing file, another kind of file, or the checkpoint of another learner.
    """
    about, tensors = _read(Path(path), "checkpoint")
    part = {
        head: {k[len(head) + 1 :]: v for k, v in tensors.items() if k.startswith(f"{head}.")}
        for head in ("network", "rule", "optimizer", "gen")
    }
    _fill(learner.network, part["network"], Path(path))
    _fill(learner.rule, part["rule"], Path(path))
    state: dict[int, dict[str, Any]] = {int(i): dict(v) for i, v in about["numbers"].items()}
    for key, value in part["optimizer"].items():
        index, name = key.split(".", 1)
        state.setdefault(int(index), {})[name] = value
    learner.optimizer.load_state_dict({"state": state, "param_groups": about["groups"]})
    learner.gen.set_state(part["gen"]["learner"].cpu())
    assert learner.rule.gen is not None
    learner.rule.gen.set_state(part["gen"]["rule"].cpu())
    learner.steps = about["steps"]
    extra: dict[str, Any] = about["extra"]
    return extra


def _fill(module: torch.nn.Module, tensors: dict[str, Tensor], path: Path) -> None:
    try:
        module.load_state_dict(tensors)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise NeurofaError(
            f"got '{path}' of another structure ({reason}); expected the same network and rule; use the spec that"
            " wrote it"
        ) from None


def _write(path: Path, tensors: dict[str, Tensor], about: dict[str, Any]) -> None:
    whole = {k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()}
    with atomic_path(path) as part:
        try:
            save_file(whole, part, metadata={"neurofa": json.dumps({"format": FORMAT, **about})})
        except SafetensorError as error:  # how safetensors reports a full disk or a folder without write permission
            raise OSError(str(error).splitlines()[0]) from None


def _read(path: Path, kind: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    if not path.is_file():
        raise NeurofaError(f"got '{path}', which is no file; expected a {kind} file; check the path")
    try:
        with safe_open(path, framework="pt") as file:
            meta = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        about = json.loads(meta.get("neurofa", "{}"))
    except (SafetensorError, OSError, json.JSONDecodeError) as error:
        raise NeurofaError(
            f"got '{path}', which cannot be read ({str(error).splitlines()[0]}); expected a whole {kind} file; make"
            " it anew"
        ) from None
    if about.get("format") != FORMAT or about.get("kind") != kind:
        raise NeurofaError(
            f"got '{path}' of kind '{about.get('kind', 'unknown')}', format {about.get('format', 'unknown')}; expected"
            f" a {kind} of format {FORMAT}; use the version that wrote it"
        )
    return about, tensors
