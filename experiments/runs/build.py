"""The parts of a run, built from its settings: data, network, learner, compute device."""

from __future__ import annotations

import functools
from pathlib import Path

import torch

from experiments.data import Dataset, Sequences
from experiments.runs.memory import within_memory
from experiments.runs.spec import RunSpec
from hwmodels.errors import NeurofaError
from hwmodels.registry import build
from hwmodels.spec import specs_in
from neurofa.core.network import Network
from neurofa.training.learner import Learner


def load_data(text: str) -> Dataset | Sequences:
    """Return the data set of a spec; the last one stays in memory, since the runs of a sweep share it.

    Files that the spec names are read again when they have changed.
    """
    return read_data(text, _state_of_files(text))


def _state_of_files(text: str) -> tuple[object, ...]:
    """Return where the files lie that a spec names, with sizes and times of change."""
    found: list[object] = []
    for named in (spec.options.get("path") for spec in specs_in(text)):
        if isinstance(named, str):
            path = Path(named).expanduser().absolute()
            files = sorted(path.rglob("*")) if path.is_dir() else [path]
            states = [(file, file.stat()) for file in files if file.is_file()]
            found += [(str(file), state.st_size, state.st_mtime_ns) for file, state in states]
    return tuple(found)


@functools.lru_cache(maxsize=1)
def read_data(text: str, files: tuple[object, ...]) -> Dataset | Sequences:  # noqa: ARG001
    """Return the data set of a spec.

    Args:
        text: the spec.
        files: the state of its files, by which a call is recognised.
    """
    with within_memory(text):
        dataset: Dataset | Sequences = build("data", text)
    return dataset


def compute_device(name: str) -> torch.device:
    """Return the torch device of that name.

    Raises:
        NeurofaError: there is no GPU.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise NeurofaError(
            "got compute=cuda on a machine without a usable GPU; expected a CUDA build of torch and its driver; use"
            " --compute cpu"
        )
    return torch.device(name)


def build_network(spec: RunSpec, dataset: Dataset | Sequences) -> Network:
    """Return the network of a run with its initial weights, on the device to which its data set delivers batches."""
    tokens = isinstance(dataset, Dataset) and dataset.tokens
    with within_memory(spec.network):
        network: Network = build(
            "network",
            spec.network,
            input_shape=dataset.input_shape,
            outputs=dataset.classes,
            seed=spec.seed,
            device=spec.device,
            periphery=spec.periphery,
        )
    if tokens != (network.vocabulary is not None):
        takes, gives = ("ids of tokens", "numbers") if network.vocabulary is not None else ("numbers", "ids of tokens")
        raise NeurofaError(
            f"got data '{dataset.name}' of {gives} for network '{spec.network}', which takes {takes}; expected both"
            f" alike; use {'network gpt' if tokens else 'data text, shakespeare or wikitext2'}"
        )
    return network.to(dataset.compute)


def build_learner(network: Network, spec: RunSpec) -> Learner:
    """Return a learner that trains a network with rule, loss and other settings of a run, and with a new optimizer."""
    with within_memory(f"{spec.rule} on {spec.network}"):
        return Learner(
            network,
            spec.rule,
            optimizer=build("optimizer", spec.optimizer)(network.parameters()),
            loss=spec.loss,
            seed=spec.seed,
            accumulate=spec.accumulate,
            clip=spec.clip,
            fused=spec.fused,
            feedback_seed=spec.feedback_seed,
            feedback_scale=spec.feedback_scale,
        )
