"""Do networks from different starts end more alike when they share their fixed feedback?"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import torch

from experiments.charts.accuracies import dots_chart
from experiments.runs.build import load_data
from experiments.runs.spec import RunSpec
from experiments.sweeps.experiment import Experiment, ExperimentCheck, Findings, Reference, above
from experiments.sweeps.setup import Setup
from experiments.sweeps.study import Fields, Study, StudyResult, run_study
from experiments.sweeps.sweep import run_folder
from experiments.tables import Record, mean, standard_deviation
from hwmodels.errors import NeurofaError
from hwmodels.registry import build
from hwmodels.spec import Spec
from neurofa.core.network import Network
from neurofa.linalg.spectra import cosine_similarity
from neurofa.training.checkpoint import load_network

SHARED, OWN, BP = "dfa, one F", "dfa, own F", "bp"
SOURCE = "Refinetti et al. 2021, arXiv 2011.12428, experiments on deep non-linear networks"
RATES = (0.03, 0.1, 0.3)


class AlignDegeneracyDeep(Experiment, name="align_degeneracy_deep"):
    """Similarity of independently started networks: direct feedback alignment with one F, with an F each, and BP.

    Of all networks that fit the data, direct feedback alignment is drawn to those whose weights align with F; when F
    is shared, networks of other weights, another order of the data and noise should end near each other. Measured is
    the mean over pairs of seeds of cos(vec W_l, vec W_l'), layer by layer, hidden units not permuted. Networks with an
    F each are the control: they are trained by the same rule with the same settings, and share nothing.

    Parts: ``mnist`` and ``cifar10``, both a multilayer perceptron. The rate of ``dfa`` and ``bp`` is chosen on
    validation data. By default 5000 training images and 10 epochs; ``full``: all images, 50 epochs.

    Args:
        digits: data of the part mnist; None: as said above.
        images: data of the part cifar10; None: as said above.
        hidden: widths of the hidden layers.
        activation: of the hidden layers.
        epochs: of the runs that count, instead of 10 or 50.
        tuning_epochs: of the runs that choose.
    """

    source = SOURCE
    question = (
        "Do networks that start apart end with more similar weights, layer by layer, when they learn by direct feedback"
        " alignment with one shared feedback than when they learn by backpropagation?"
    )
    parts = ("mnist", "cifar10")

    def __init__(
        self, *, digits: Spec | str | None = None, images: Spec | str | None = None, hidden: list[int] | None = None,
        activation: str = "tanh", epochs: int | None = None, tuning_epochs: int = 3,
    ) -> None:  # fmt: skip
        self.digits, self.images = (None if data is None else str(data) for data in (digits, images))
        self.hidden, self.activation = [100, 100, 100] if hidden is None else hidden, activation
        self.epochs, self.tuning_epochs = epochs, tuning_epochs

    def run(self, part: str, setup: Setup) -> Findings:
        if setup.seeds < 2:
            raise NeurofaError(f"got seeds={setup.seeds}; expected 2 or more to compare networks; raise --seeds")
        given = {"mnist": self.digits, "cifar10": self.images}[part]
        common: Fields = {
            "data": given or (part if setup.full else f"{part}(subset=5000)"),
            "network": f"mlp(hidden={self.hidden}, activation={self.activation})",
            "epochs": self.epochs or (50 if setup.full else 10),
        }
        tuned = self._study(common, {
            SHARED: [{"rule": "dfa", "feedback_seed": 0, "optimizer": f"sgd(lr={lr})"} for lr in RATES],
            BP: [{"rule": "bp", "optimizer": f"sgd(lr={lr})"} for lr in RATES],
        }, setup, part)  # fmt: skip
        chosen = next(line["optimizer"] for line in tuned.lines if line["method"] == SHARED)
        control = self._study(common, {OWN: [{"rule": "dfa", "optimizer": chosen}]}, setup, f"{part}: control")
        rows = []
        for method, outcome in ((SHARED, tuned), (OWN, control), (BP, tuned)):
            rows += _rows(part, method, outcome, setup)
        picture = f"{part}.png"
        dots = {m: {row["layer"]: row["pairs"] for row in rows if row["method"] == m} for m in (SHARED, OWN, BP)}
        title = f"{common['data']}, {common['epochs']} epochs: a dot a pair of {setup.seeds} seeds"
        dots_chart(setup.folder / picture, dots, title=f"{part}: {title}", x_label="cosine between trained weights")
        near = Reference(f"{part}: bp, cosine between nets, near", 0.0, SOURCE, "remembered, not verified")
        return Findings(
            rows=rows, tuning=tuned.tuning, reference=[near], checks=checks(part, rows), pictures=[picture],
            columns=["method", "layer", "similarity", "start", "test_accuracy", "optimizer"],
        )  # fmt: skip

    def _study(self, common: Fields, methods: Mapping[str, Sequence[Fields]], setup: Setup, name: str) -> StudyResult:
        study = Study(common=common, methods=methods, tuning_epochs=self.tuning_epochs)
        return run_study(study, setup, name=name, keep=True)


def _rows(part: str, method: str, outcome: StudyResult, setup: Setup) -> list[Record]:
    """One line a layer: similarity of the trained networks, and of the same networks before they were trained."""
    line = next(line for line in outcome.lines if line["method"] == method)
    runs = outcome.runs[method]
    ends = [weights(load_network(run_folder(setup.folder, run.key).model)) for run in runs]
    starts = [weights(_start(RunSpec.from_json(run.spec))) for run in runs]
    after, before = similarities(ends), similarities(starts)
    return [
        {
            "part": part, "method": method, "layer": layer, "similarity": mean(pairs),
            "similarity_std": standard_deviation(pairs), "pairs": pairs, "start": mean(before[layer]),
            "optimizer": line["optimizer"], "epochs": line["epochs"],
            "test_accuracy": line["test_accuracy"], "test_accuracy_std": line["test_accuracy_std"], "n": line["n"],
        }
        for layer, pairs in after.items()
    ]  # fmt: skip


def _start(spec: RunSpec) -> Network:
    data = load_data(spec.data)
    made: Network = build(
        "network", spec.network, input_shape=data.input_shape, outputs=data.classes, seed=spec.seed, device=spec.device
    )
    return made


def weights(network: Network) -> dict[str, torch.Tensor]:
    """The weight matrices by layer, without biases."""
    return {
        name: torch.cat([layer.synapses[k].weight.detach().flatten() for k in layer.traits.returning])
        for name, layer in network.items()
        if layer.traits.returning
    }


def similarities(networks: Sequence[Mapping[str, torch.Tensor]]) -> dict[str, list[float]]:
    """Cosine between the weights of every pair of networks, by layer."""
    pairs = list(itertools.combinations(networks, 2))
    return {layer: [cosine_similarity(a[layer], b[layer]) for a, b in pairs] for layer in networks[0]}


def checks(part: str, rows: Sequence[Record]) -> list[ExperimentCheck]:
    """What the table says, layer by layer: the least similar pair of one method against the most similar of another.

    Args:
        part: one of the experiment's parts.
        rows: one a method and layer, with ``pairs``.
    """
    pairs = {(row["method"], row["layer"]): row["pairs"] for row in rows}
    made = []
    for other in (BP, OWN):
        for layer in dict.fromkeys(row["layer"] for row in rows):
            apart = min(pairs[SHARED, layer]) - max(pairs[other, layer])
            what = f"{part}: {layer}: least similar pair of {SHARED} over most similar of {other}"
            made.append(above(what, apart, 0))
    return made
