"""Files of networks and training states: safetensors for tensors, JSON for the rest, no pickle, a digest of both."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
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
from neurofa.core.synapses import present_cell
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
    path = Path(path)
    about, tensors = _read(path, "network")
    if network is None:
        if not about.get("spec"):
            raise NeurofaError(
                f"got '{path}', whose network no recipe made; expected one to fill; pass network= of its structure"
            )
        network = _build_network(path, about)
    _require_same(network, tensors, path)
    network.load_state_dict(tensors)
    return network


def _build_network(path: Path, about: dict[str, Any]) -> Network:
    """Build the network of a file from the recipe in it."""
    for key, kind in (("spec", str), ("input_shape", list), ("outputs", int), ("seed", int)):
        if not isinstance(about.get(key), kind):
            raise NeurofaError(
                f"got {key}={about.get(key)!r:.60} in '{path}'; expected {kind.__name__}; make the file anew"
            )
    with _damage(path):
        network: Network = build(
            "network",
            about["spec"],
            input_shape=tuple(about["input_shape"]),
            outputs=about["outputs"],
            seed=about["seed"],
            device=about.get("device") or "digital",
            periphery=about.get("periphery", "exact"),  # older files have no periphery
        )
    return network


def network_states(path: Path | str, kind: str) -> dict[str, Tensor]:
    """Return weights, device cells and statistics of the network in a file, by name.

    Args:
        path: the file.
        kind: ``network`` or ``checkpoint``.

    Raises:
        NeurofaError: a missing file, or another kind of file.
    """
    tensors = _read(Path(path), kind)[1]
    if kind == "network":
        return tensors
    return {key.removeprefix("network."): value for key, value in tensors.items() if key.startswith("network.")}


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
    for index, group in enumerate(groups):
        for key in [key for key, value in group.items() if isinstance(value, Tensor)]:
            tensors[f"group.{index}.{key}"] = group.pop(key)
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
    path = Path(path)
    about, tensors = _read(path, "checkpoint")
    for key, kind in (("groups", list), ("numbers", dict), ("steps", int), ("extra", dict)):
        if not isinstance(about.get(key), kind):
            raise NeurofaError(
                f"got {key}={about.get(key)!r:.60} in '{path}'; expected {kind.__name__}; make the file anew"
            )
    part = {
        head: {k[len(head) + 1 :]: v for k, v in tensors.items() if k.startswith(f"{head}.")}
        for head in ("network", "rule", "optimizer", "group", "gen")
    }
    missing = {"learner", "rule"} - part["gen"].keys()
    if missing:
        raise NeurofaError(
            f"got '{path}' without the generator of the {min(missing)}; expected a whole checkpoint; make it anew"
        )
    _require_same(learner.network, part["network"], path)
    _require_same(learner.rule, part["rule"], path)
    learner.network.load_state_dict(part["network"])
    learner.rule.load_state_dict(part["rule"])
    with _damage(path):
        state: dict[int, dict[str, Any]] = {int(i): dict(v) for i, v in about["numbers"].items()}
        for key, value in part["optimizer"].items():
            index, name = key.split(".", 1)
            state.setdefault(int(index), {})[name] = value
        for key, value in part["group"].items():
            group, name = key.split(".", 1)
            about["groups"][int(group)][name] = value
        learner.optimizer.load_state_dict({"state": state, "param_groups": about["groups"]})
        learner.gen.set_state(part["gen"]["learner"].cpu())
        assert learner.rule.gen is not None
        learner.rule.gen.set_state(part["gen"]["rule"].cpu())
    learner.steps = about["steps"]
    extra: dict[str, Any] = about["extra"]
    return extra


def _require_same(module: torch.nn.Module, tensors: dict[str, Tensor], path: Path) -> None:
    """Refuse a state of other names or shapes before anything is loaded, which would leave a module half filled."""
    own, held = ({key: tuple(value.shape) for key, value in state.items()} for state in (module.state_dict(), tensors))
    for key in sorted(own.keys() | held.keys()):
        if own.get(key) != held.get(key):
            raise NeurofaError(
                f"got '{path}' of another structure ('{key}' is {held.get(key, 'missing')} there,"
                f" {own.get(key, 'missing')} here); expected the same network and rule; use the spec that wrote it"
            )


@contextmanager
def _damage(path: Path) -> Iterator[None]:
    """Turn what wrong values in a file raise into one line; files of earlier versions have no digest that told of it.

    Raises:
        NeurofaError: with the first line of the reason.
    """
    try:
        yield
    except NeurofaError as error:
        raise NeurofaError(f"got '{path}' that cannot be used ({error})") from None
    except (AttributeError, LookupError, MemoryError, OverflowError, RuntimeError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise NeurofaError(
            f"got '{path}' that cannot be used ({reason}); expected a whole file; make it anew"
        ) from None


def _write(path: Path, tensors: dict[str, Tensor], about: dict[str, Any]) -> None:
    whole = {k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()}
    about = {"format": FORMAT, **about}
    text = json.dumps(about | {"sha256": _digest(whole, about)})
    with atomic_path(path) as part:
        try:
            save_file(whole, part, metadata={"neurofa": text})
        except SafetensorError as error:  # how safetensors reports a full disk or a folder without write permission
            raise OSError(str(error).splitlines()[0]) from None


def _digest(tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> str:
    """Return the SHA-256 of all tensors, with their names, types and shapes, and of the JSON values beside them."""
    digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _read(path: Path, kind: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    if not path.is_file():
        raise NeurofaError(f"got '{path}', which is no file; expected a {kind} file; check the path")
    try:
        with safe_open(path, framework="pt") as file:
            meta = file.metadata() or {}
            tensors = {present_cell(key): file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        about = json.loads(meta.get("neurofa", "{}"))
    except (SafetensorError, OSError, ValueError, RecursionError, RuntimeError, MemoryError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise NeurofaError(
            f"got '{path}', which cannot be read ({reason}); expected a whole {kind} file; make it anew"
        ) from None
    if not isinstance(about, dict) or about.get("format") != FORMAT or about.get("kind") != kind:
        found = about if isinstance(about, dict) else {}
        raise NeurofaError(
            f"got '{path}' of kind '{found.get('kind', 'unknown')}', format {found.get('format', 'unknown')}; expected"
            f" a {kind} of format {FORMAT}; use the version that wrote it"
        )
    written = about.pop("sha256", None)  # files of earlier versions have none
    if written is not None and written != _digest(tensors, about):
        raise NeurofaError(f"got '{path}', whose numbers are not what was written; expected a whole file; make it anew")
    return about, tensors
