"""What do noisy labels do to alignment: do they help it in the first phase and undo it when the noise is fitted?"""

from __future__ import annotations

from collections.abc import Sequence

from experiments.charts.figure import Axis, Panel, draw_figure
from experiments.charts.seeds import STEPS
from experiments.diagnosis.alignments import (
    GRADIENTS,
    WEIGHTS,
    alignment_marks,
    layers_with,
    logged_measurements,
    mean_std,
    phases_of,
)  # fmt: skip
from experiments.runs.measurements import Measurement, measurement_series
from experiments.sweeps.experiment import Experiment, ExperimentCheck, Findings, Reference, above
from experiments.sweeps.setup import Setup
from experiments.sweeps.study import Fields, Study, StudyResult, run_study
from experiments.tables import Record
from hwmodels.errors import NeurofaError
from hwmodels.spec import Spec
from neurofa.diagnostics.phases import phases

SOURCE = "Refinetti et al. 2021, arXiv 2011.12428"
RATES = (0.03, 0.1)
ISOTROPY = "alignment_matrix.isotropy"


class AlignLabelNoise(Experiment, name="align_label_noise"):
    """Alignment with labels of which a share p is replaced by random classes, on MNIST, from the first step to memory.

    As in the authors' code a label is replaced with probability p by a uniform class, two hidden layers of 64, batches
    of 32; unlike it, test labels stay clean, and a subset of the images is taken so that noise can be fitted in
    minutes. As remembered, the source finds that random labels help the first phase (their errors are isotropic, so
    alignment matrices are well conditioned) and that gradient alignment falls while the noise is fitted.

    The rate is chosen once, on validation data with clean labels, and taken for every p, so that times compare. By
    default 2000 images and 100 epochs; ``full``: 10000 images, 300 epochs.

    Args:
        data: whose labels are replaced; None: as said above.
        hidden: widths of the hidden layers.
        activation: of the hidden layers.
        shares: values of p, 0 to 1, rising.
        epochs: of the runs that count, instead of 100 or 300.
        tuning_epochs: of the runs that choose.

    Raises:
        NeurofaError: shares that do not rise within 0 to 1, or fewer than two hidden layers.
    """

    source = f"{SOURCE} (label noise as in the authors' code; its claims as remembered)"
    question = (
        "Does label noise help a network to align with its feedback, and does alignment fall when the network fits the"
        " noise?"
    )
    parts = ("noise",)

    def __init__(
        self, *, data: Spec | str | None = None, hidden: list[int] | None = None, activation: str = "tanh",
        shares: list[float] | None = None, epochs: int | None = None, tuning_epochs: int = 20,
    ) -> None:  # fmt: skip
        self.data = None if data is None else str(data)
        self.hidden, self.activation = [64, 64] if hidden is None else hidden, activation
        self.shares = [0.0, 0.1, 0.2, 0.5, 0.9] if shares is None else shares
        self.epochs, self.tuning_epochs = epochs, tuning_epochs
        if len(self.hidden) < 2:
            raise NeurofaError(f"got hidden={self.hidden}; expected two layers or more; add one")
        if not self.shares or any(not 0 <= p <= 1 for p in self.shares) or sorted(set(self.shares)) != self.shares:
            raise NeurofaError(f"got shares={self.shares}; expected probabilities that rise; change the shares")

    def run(self, part: str, setup: Setup) -> Findings:
        data = self.data or f"mnist(subset={10000 if setup.full else 2000})"
        common: Fields = {
            "network": f"mlp(hidden={self.hidden}, activation={self.activation})", "rule": "dfa",
            "epochs": self.epochs or (300 if setup.full else 100),
        }  # fmt: skip
        rates = [{"optimizer": f"sgd(lr={lr})"} for lr in RATES]
        tuned = Study(common={**common, "data": data}, methods={"clean": rates}, tuning_epochs=self.tuning_epochs)
        first = run_study(tuned, setup, name=f"{part}: clean labels")
        rate = first.lines[0]["optimizer"]
        methods = {
            _method(p): [{"data": f"noisy_labels(data={data}, p={p:g})", "optimizer": rate, "log": "alignment"}]
            for p in self.shares
        }
        outcome = run_study(Study(common=common, methods=methods, tuning_epochs=1), setup, name=part)
        found = {p: logged_measurements(outcome.runs[_method(p)]) for p in self.shares}
        rows = [_row(part, p, found[p], outcome) for p in self.shares]
        picture = f"{part}.png"
        self._draw(setup, picture, found, f"{data}, {common['epochs']} epochs, {setup.seeds} seeds, {rate}")
        return Findings(
            rows=rows, tuning=first.tuning, reference=[_ideal()], checks=checks(rows), pictures=[picture],
            columns=["p", "train_accuracy", "test_accuracy", "ga_peak", "ga_peak_step", "ga_end", "wa_peak",
                     "isotropy_peak"],
        )  # fmt: skip

    def _draw(self, setup: Setup, picture: str, found: dict[float, list[list[Measurement]]], title: str) -> None:
        second = _layers(found[self.shares[0]])[1]
        panels = [
            Panel(
                title=title, x=STEPS, y=Axis("cosine"),
                marks=[m for p, seeds in found.items() for m in alignment_marks(seeds, layer, what, f"p = {p:g}")],
            )
            for title, layer, what in (
                ("gradient alignment, all hidden layers", None, GRADIENTS),
                (f"weight alignment of {second}", second, WEIGHTS),
            )
        ]  # fmt: skip
        draw_figure(setup.folder / picture, panels, title=title)


def _method(p: float) -> str:
    return f"p = {p:g}"


def _ideal() -> Reference:
    """Errors of balanced random labels at uniform outputs have covariance I/10 - J/100: tr/(sqrt(10) ||.||_F)."""
    return Reference("isotropy of A for labels that do not depend on the inputs", 0.949, SOURCE, "derived here")


def _row(part: str, p: float, found: Sequence[Sequence[Measurement]], outcome: StudyResult) -> Record:
    line = next(line for line in outcome.lines if line["method"] == _method(p))
    gradients = [phase for phase in phases_of(found, None, GRADIENTS) if phase is not None]
    layers = _layers(found)[1:-1]
    weights = [_means(seed, layers, WEIGHTS) for seed in found]
    isotropies = [_means(seed, layers, ISOTROPY) for seed in found]
    kept = ("train_accuracy", "train_accuracy_std", "test_accuracy", "test_accuracy_std", "test_accuracies", "n")
    return {
        "part": part, "method": line["method"], "p": p, **{key: line[key] for key in kept},
        "optimizer": line["optimizer"], "epochs": line["epochs"],
        **mean_std("ga_peak", [g.peak for g in gradients]),
        **mean_std("ga_peak_step", [g.peak_time for g in gradients]),
        **mean_std("ga_end", [g.end for g in gradients]), **mean_std("ga_fall", [g.peak - g.end for g in gradients]),
        "ga_falls": [g.peak - g.end for g in gradients],
        **mean_std("wa_peak", weights), "wa_peaks": weights, **mean_std("isotropy_peak", isotropies),
    }  # fmt: skip


def _layers(found: Sequence[Sequence[Measurement]]) -> list[str]:
    return layers_with(found, "gradient_norm")


def _means(seed: Sequence[Measurement], layers: Sequence[str], what: str) -> float | None:
    """Largest value over training, averaged over layers."""
    tops = [phases(*measurement_series(seed, layer, what)) for layer in layers]
    known = [top.peak for top in tops if top is not None]
    return sum(known) / len(known) if known else None


def checks(rows: Sequence[Record]) -> list[ExperimentCheck]:
    """What the table says of the two remembered claims; differences of least and largest over seeds.

    Args:
        rows: one a share p, rising.
    """
    if len(rows) < 2:
        return []
    least, most = rows[0], rows[-1]
    noise, clean = f"p = {most['p']:g}", f"p = {least['p']:g}"
    return [
        above(f"largest weight alignment, {noise} over {clean}, worst against best seed",
              min(most["wa_peaks"]) - max(least["wa_peaks"]), 0),
        above(f"fall of gradient alignment behind its peak, {noise}, least of the seeds", min(most["ga_falls"]), 0),
        above(f"fall of gradient alignment, {noise} over {clean}, worst against best seed",
              min(most["ga_falls"]) - max(least["ga_falls"]), 0),
    ]  # fmt: skip
