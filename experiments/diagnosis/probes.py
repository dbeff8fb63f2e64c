"""Did hidden layers learn something useful? Probes of a run against those of a net whose hidden layers never learnt."""

from __future__ import annotations

import torch

from experiments.data import Dataset, still
from experiments.diagnosis.evidence import Probe
from experiments.runs.build import load_data
from experiments.runs.folder import RunFolder
from experiments.runs.linear_probe import probe_errors, probe_score, probe_splits
from hwmodels.registry import build
from neurofa.core.network import Network
from neurofa.training.checkpoint import load_network


def probe_run(folder: RunFolder) -> dict[str, Probe]:
    """Probe every hidden layer of a finished run, at its start, at its end, and in its control.

    The control is the readout-only run beside it; where none was trained, the network of the start stands in for it:
    its hidden layers are the same, but for the running statistics of normalisations.

    Args:
        folder: of the run.

    Returns:
        By layer; none where the held-out samples do not allow a score.

    Raises:
        NeurofaError: the data is missing.
    """
    spec = folder.spec()
    data = still(load_data(spec.data), "probes")
    start: Network = build(
        "network", spec.network, input_shape=data.input_shape, outputs=data.classes, seed=spec.seed,
        device=spec.device, periphery=spec.periphery,
    )  # fmt: skip
    end = load_network(folder.model)
    control = RunFolder(folder.control)
    nets = {"start": start, "end": end, "control": load_network(control.model) if control.finished else start}
    return compare(nets, data, seed=spec.seed)


def compare(networks: dict[str, Network], data: Dataset, *, seed: int = 0) -> dict[str, Probe]:
    """Probes of three networks on the same samples.

    Args:
        networks: ``start``, ``end`` and ``control``.
        data: on the CPU.
        seed: of the read noise of their devices.
    """
    held = probe_splits(data)[1]
    errors = {who: probe_errors(network, data, seed=seed, of_input=False) for who, network in networks.items()}
    found = {}
    for name in errors["end"]:
        scores = {who: probe_score(errors[who][name], held) for who in networks}
        start, end, control = (scores[who] for who in ("start", "end", "control"))
        if start is not None and end is not None and control is not None:
            chance = sign_test(errors["end"][name], errors["control"][name])
            found[name] = Probe(start=start, end=end, control=control, samples=len(held), p=chance)
    return found


def sign_test(a: torch.Tensor, b: torch.Tensor) -> float:
    """Two-sided probability that chance alone makes one error smaller as often; samples without difference left out.

    For right and wrong answers this is McNemar's exact test.

    Args:
        a: (N,) errors.
        b: (N,) errors on the same samples.
    """
    from scipy.stats import binomtest

    less, more = int((a < b).sum()), int((a > b).sum())
    return float(binomtest(less, less + more).pvalue) if less + more else 1.0
