"""Linear probes of a run beside those of a network whose hidden layers never learnt."""

from __future__ import annotations

import torch

from experiments.data import Dataset, require_static
from experiments.diagnosis.evidence import LinearProbe
from experiments.runs.build import build_network, load_data
from experiments.runs.folder import RunFolder
from experiments.runs.linear_probe import probe_errors, probe_score, probe_splits
from neurofa.core.network import Network


def probe_run(folder: RunFolder) -> dict[str, LinearProbe]:
    """Score linear classifiers of every hidden layer's features: at the start of a run, at its end, in its control.

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
    data = require_static(load_data(spec.data), "probes")
    start, end = build_network(spec, data), folder.network()
    control = RunFolder(folder.control)
    networks = {"start": start, "end": end, "control": control.network() if control.finished else start}
    return compare_probes(networks, data, seed=spec.seed)


def compare_probes(networks: dict[str, Network], data: Dataset, *, seed: int = 0) -> dict[str, LinearProbe]:
    """Return the probes of three networks on the same samples, by layer.

    Args:
        networks: ``start``, ``end`` and ``control``.
        data: the data set, on the CPU.
        seed: seed of the read noise of the networks' devices.
    """
    held = probe_splits(data)[1]
    errors = {key: probe_errors(network, data, seed=seed, of_input=False) for key, network in networks.items()}
    probes = {}
    for name in errors["end"]:
        start, end, control = (probe_score(errors[key][name], held) for key in ("start", "end", "control"))
        if start is not None and end is not None and control is not None:
            chance = sign_test(errors["end"][name], errors["control"][name])
            probes[name] = LinearProbe(start=start, end=end, control=control, samples=len(held), p=chance)
    return probes


def sign_test(a: torch.Tensor, b: torch.Tensor) -> float:
    """Return the two-sided p value of the sign test of two errors; samples of equal error are left out.

    For right and wrong answers this is McNemar's exact test.

    Args:
        a: (N,) errors.
        b: (N,) errors on the same samples.
    """
    from scipy.stats import binomtest

    less, more = int((a < b).sum()), int((a > b).sum())
    return float(binomtest(less, less + more).pvalue) if less + more else 1.0
