"""Do networks from different starts end more alike when they share their fixed feedback?"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch

from experiments.charts.accuracies import dots_chart
from experiments.diagnosis.alignments import mean_std
from experiments.runs.build import load_data
from experiments.runs.spec import RunSpec
from experiments.sweeps.candidates import rate_grid
from experiments.sweeps.experiment import Checks, Experiment, Findings, Reference, above
from experiments.sweeps.rows import SweepRow
from experiments.sweeps.setup import Setup
from experiments.sweeps.study import Study, run_study
from experiments.sweeps.sweep import run_folder
from experiments.tables import Record, mean
from hwmodels.errors import NeurofaError
from hwmodels.registry import build
from hwmodels.spec import Spec
from neurofa.core.network import Network
from neurofa.linalg.spectra import cosine_similarity

SHARED, OWN, BP = "dfa, one F", "dfa, own F", "bp"
SOURCE = "Refinetti et al. 2021, arXiv 2011.12428, experiments on deep non-linear networks"
RATES = (0.03, 0.1, 0.3)
KEPT = ("optimizer", "epochs", "test_accuracy", "test_accuracy_std", "n")
"""Columns of the study that every row of the table has too."""


@dataclass(frozen=True, kw_only=True)
class AlignDegeneracyDeep(Experiment, name="align_degeneracy_deep"):
    """Similarity of independently started networks: direct feedback alignment with one F, with an F each, and BP.

    Of all networks that fit the data, direct feedback alignment is drawn to those whose weights align with F; when F
    is shared, networks of other weights, another order of the data and noise should end near each other. Measured is
    the mean over pairs of seeds of cos(vec W_l, vec W_l'), layer by layer, hidden units not permuted. Networks with an
    F each are the control: they are trained by the same rule with the same settings, and share nothing.

    Parts: ``mnist`` and ``cifar10``, both a multilayer perceptron. The rate of ``dfa`` and ``bp`` is chosen on
    validation data.
    """

    source = SOURCE
    differs = (
        "networks, data sets, 50 epochs and final weights are ours, where the source averages over pairs at 40 times"
    )
    question = "Do networks from different starts end more alike by dfa with one shared feedback than by bp?"
    parts = ("mnist", "cifar10")

    digits: Spec | str | None = None
    """Data of the part mnist; None: 5000 images (full: all)."""
    images: Spec | str | None = None
    """Data of the part cifar10; None: 5000 images (full: all)."""
    hidden: tuple[int, ...] = (100, 100, 100)
    """Widths of the hidden layers."""
    activation: str = "tanh"
    """Activation of the hidden layers."""
    epochs: int | None = None
    """Epochs of the runs that count, instead of 10 (full: 50)."""
    tuning_epochs: int = 3
    """Epochs of the runs that choose."""

    def run(self, part: str, setup: Setup) -> Findings:
        if setup.seeds < 2:
            raise NeurofaError(f"got seeds={setup.seeds}; expected 2 or more to compare networks; raise --seeds")
        data = {"mnist": self.digits, "cifar10": self.images}[part]
        common = {"data": str(data or (part if setup.full else f"{part}(subset=5000)"))}
        common |= {"network": f"mlp(hidden={list(self.hidden)}, activation={self.activation})"}
        epochs = self.epochs or (50 if setup.full else 10)
        methods = {SHARED: rate_grid("dfa", RATES, feedback_seed=0), BP: rate_grid("bp", RATES)}
        study = Study(common={**common, "epochs": epochs}, methods=methods, tuning_epochs=self.tuning_epochs)
        tuned = run_study(study, setup, name=part, keep=True)
        chosen = next(line["optimizer"] for line in tuned.lines if line["method"] == SHARED)
        control = replace(study, methods={OWN: [{"rule": "dfa", "optimizer": chosen}]})
        own = run_study(control, setup, name=f"{part}: control", keep=True)
        rows: list[Record] = []
        dots = {}
        for method, outcome in ((SHARED, tuned), (OWN, own), (BP, tuned)):
            line = next(line for line in outcome.lines if line["method"] == method)
            kept = {"part": part, "method": method, **{key: line[key] for key in KEPT}}
            layers = _similarity_rows(outcome.runs[method], setup)
            rows += [{**kept, **layer} for layer in layers]
            dots[method] = {layer["layer"]: layer["pairs"] for layer in layers}
        title = f"{part}: {common['data']}, {epochs} epochs: a dot a pair of {setup.seeds} seeds"
        dots_chart(setup.folder / f"{part}.png", dots, title=title, x_label="cosine between trained weights")
        near = Reference(f"{part}: bp, cosine between nets, near", 0.0, SOURCE, "remembered, not verified")
        columns = ["method", "layer", "similarity", "start", "test_accuracy", "optimizer"]
        pictures = [f"{part}.png"]
        return Findings(rows=rows, tuning=tuned.tuning, reference=[near], pictures=pictures, columns=columns)

    def checks(self, part: str, rows: Sequence[Record]) -> Checks:
        pairs = {(row["method"], row["layer"]): row["pairs"] for row in rows}
        for other, layer in itertools.product((BP, OWN), dict.fromkeys(row["layer"] for row in rows)):
            apart = min(pairs[SHARED, layer]) - max(pairs[other, layer])
            what = f"{part}: {layer}: least similar pair of {SHARED} over most similar of {other}"
            yield above(what, apart, 0)


def _similarity_rows(runs: Sequence[SweepRow], setup: Setup) -> list[Record]:
    """Return a row for each layer: similarity of the trained networks, and of the same networks before training."""
    after = similarities([flat_weights(run_folder(setup.folder, run.key).network()) for run in runs])
    before = similarities([flat_weights(_initial_network(RunSpec.from_json(run.spec))) for run in runs])
    return [
        {"layer": layer, **mean_std("similarity", pairs), "pairs": pairs, "start": mean(before[layer])}
        for layer, pairs in after.items()
    ]


def _initial_network(spec: RunSpec) -> Network:
    data = load_data(spec.data)
    shapes = {"input_shape": data.input_shape, "outputs": data.classes}
    network: Network = build("network", spec.network, **shapes, seed=spec.seed, device=spec.device)
    return network


def flat_weights(network: Network) -> dict[str, torch.Tensor]:
    """Return the weights of each layer in one vector, without biases."""
    return {
        name: torch.cat([layer.synapses[k].weight.detach().flatten() for k in layer.traits.returning])
        for name, layer in network.items()
        if layer.traits.returning
    }


def similarities(networks: Sequence[Mapping[str, torch.Tensor]]) -> dict[str, list[float]]:
    """Return the cosine between the weights of every pair of networks, by layer."""
    pairs = list(itertools.combinations(networks, 2))
    return {layer: [cosine_similarity(a[layer], b[layer]) for a, b in pairs] for layer in networks[0]}
