"""What do noisy labels do to alignment: do they help it in the first phase and undo it when the noise is fitted?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from experiments.charts.figure import Axis, Panel, draw_figure
from experiments.charts.seeds import STEPS
from experiments.diagnosis import alignments
from experiments.diagnosis.alignments import GRADIENTS, WEIGHTS, mean_std, phases_of
from experiments.protocols.tables import mean_known
from experiments.runs.measurements import Measurement, measurement_series
from experiments.sweeps.candidates import rate_grid
from experiments.sweeps.experiment import Checks, Experiment, Findings, Reference, above
from experiments.sweeps.setup import Setup
from experiments.sweeps.study import Study, run_study
from experiments.tables import Record
from hwmodels.errors import NeurofaError
from hwmodels.spec import Spec
from neurofa.diagnostics.phases import phases

SOURCE = "Refinetti et al. 2021, arXiv 2011.12428"
RATES = (0.03, 0.1)
ISOTROPY = "alignment_matrix.isotropy"
KEPT = ("train_accuracy", "train_accuracy_std", "test_accuracy", "test_accuracy_std", "test_accuracies", "n")
"""Columns of the study that the table has too."""
IDEAL = Reference("isotropy of A for labels that do not depend on the inputs", 0.949, SOURCE, "derived here")
"""Errors of balanced random labels at uniform outputs have covariance I/10 - J/100: tr/(sqrt(10) ||.||_F)."""
Seeds = Sequence[Sequence[Measurement]]
"""What the runs of all seeds logged."""


@dataclass(frozen=True, kw_only=True)
class AlignLabelNoise(Experiment, name="align_label_noise"):
    """Alignment with labels of which a share p is replaced by random classes, on MNIST, from the first step to memory.

    As in the authors' code a label is replaced with probability p by a uniform class, two hidden layers of 64, batches
    of 32; unlike it, test labels stay clean, and a subset of the images is taken so that noise can be fitted in
    minutes. As remembered, the source finds that random labels help the first phase (their errors are isotropic, so
    alignment matrices are well conditioned) and that gradient alignment falls while the noise is fitted.

    The rate is chosen once, on validation data with clean labels, and taken for every p, so that times compare.

    Raises:
        NeurofaError: shares that do not rise within 0 to 1, or fewer than two hidden layers.
    """

    source = f"{SOURCE} (label noise as in the authors' code; its claims as remembered)"
    differs = "test labels stay clean, 10,000 images instead of all, rates are tuned, and the epochs are ours"
    question = "Does label noise help a network to align, and does alignment fall when the network fits the noise?"
    parts = ("noise",)

    data: Spec | str | None = None
    """Data whose labels are replaced; None: 2000 images of MNIST (full: 10000)."""
    hidden: tuple[int, ...] = (64, 64)
    """Widths of the hidden layers."""
    activation: str = "tanh"
    """Activation of the hidden layers."""
    shares: tuple[float, ...] = (0.0, 0.1, 0.2, 0.5, 0.9)
    """Values of p, 0 to 1, rising."""
    epochs: int | None = None
    """Epochs of the runs that count, instead of 100 (full: 300)."""
    tuning_epochs: int = 20
    """Epochs of the runs that choose."""

    def __post_init__(self) -> None:
        hidden, shares = list(self.hidden), list(self.shares)
        if len(hidden) < 2:
            raise NeurofaError(f"got hidden={hidden}; expected two layers or more; add one")
        if not shares or any(not 0 <= p <= 1 for p in shares) or sorted(set(shares)) != shares:
            raise NeurofaError(f"got shares={shares}; expected probabilities that rise; change the shares")

    def run(self, part: str, setup: Setup) -> Findings:
        data = str(self.data or f"mnist(subset={10000 if setup.full else 2000})")
        network = f"mlp(hidden={list(self.hidden)}, activation={self.activation})"
        common = {"network": network, "epochs": self.epochs or (300 if setup.full else 100)}
        clean = {"clean": rate_grid("dfa", RATES)}
        study = Study(common={**common, "data": data}, methods=clean, tuning_epochs=self.tuning_epochs)
        tuned = run_study(study, setup, name=f"{part}: clean labels")
        setting = {"rule": "dfa", "optimizer": tuned.lines[0]["optimizer"], "log": "alignment"}
        methods = {f"p = {p:g}": [{**setting, "data": f"noisy_labels(data={data}, p={p:g})"}] for p in self.shares}
        outcome = run_study(Study(common=common, methods=methods, tuning_epochs=1), setup, name=part)
        logged = {method: alignments.logged_measurements(outcome.runs[method]) for method in methods}
        pairs = zip(outcome.lines, self.shares, strict=True)
        rows = [_row(line, logged[line["method"]]) | {"part": part, "p": p} for line, p in pairs]
        title = f"{data}, {common['epochs']} epochs, {setup.seeds} seeds, {setting['optimizer']}"
        draw_figure(setup.folder / f"{part}.png", _panels(logged), title=title)
        accuracies, alignment = ["train_accuracy", "test_accuracy"], ["ga_peak", "ga_peak_step", "ga_end", "wa_peak"]
        columns = ["p", *accuracies, *alignment, "isotropy_peak"]
        pictures = [f"{part}.png"]
        return Findings(rows=rows, tuning=tuned.tuning, reference=[IDEAL], pictures=pictures, columns=columns)

    def checks(self, part: str, rows: Sequence[Record]) -> Checks:
        if len(rows) < 2:
            return
        least, most = rows[0], rows[-1]
        noise, clean = f"p = {most['p']:g}", f"p = {least['p']:g}"
        aligned, fell = (min(most[key]) - max(least[key]) for key in ("wa_peaks", "ga_falls"))
        between, fall = f"{noise} over {clean}, worst against best seed", min(most["ga_falls"])
        yield above(f"largest weight alignment, {between}", aligned, 0)
        yield above(f"fall of gradient alignment behind its peak, {noise}, least of the seeds", fall, 0)
        yield above(f"fall of gradient alignment, {between}", fell, 0)


def _row(line: Record, seeds: Seeds) -> Record:
    """Return a row of the table: accuracies, and alignment at its peak and in the end."""
    gradients = [phase for phase in phases_of(seeds, None, GRADIENTS) if phase is not None]
    falls = [phase.peak - phase.end for phase in gradients]
    layers = alignments.layers_with(seeds, "gradient_norm")[1:-1]
    weights, isotropies = ([_mean_peak(seed, layers, what) for seed in seeds] for what in (WEIGHTS, ISOTROPY))
    row = {key: line[key] for key in ("method", "optimizer", "epochs", *KEPT)}
    row |= mean_std("ga_peak", [g.peak for g in gradients]) | mean_std("ga_end", [g.end for g in gradients])
    row |= mean_std("ga_peak_step", [g.peak_time for g in gradients]) | mean_std("ga_fall", falls)
    row |= mean_std("wa_peak", weights) | mean_std("isotropy_peak", isotropies)
    return row | {"ga_falls": falls, "wa_peaks": weights}


def _mean_peak(seed: Sequence[Measurement], layers: Sequence[str], what: str) -> float | None:
    """Return the largest value over training, averaged over layers."""
    tops = [phases(*measurement_series(seed, layer, what)) for layer in layers]
    return mean_known(None if top is None else top.peak for top in tops)


def _panels(logged: Mapping[str, Seeds]) -> list[Panel]:
    second = alignments.layers_with(next(iter(logged.values())), "gradient_norm")[1]
    gradients = Panel(title="gradient alignment, all hidden layers", x=STEPS, y=Axis("cosine"))
    weights = Panel(title=f"weight alignment of {second}", x=STEPS, y=Axis("cosine"))
    for method, seeds in logged.items():
        gradients.marks.extend(alignments.alignment_marks(seeds, None, GRADIENTS, method))
        weights.marks.extend(alignments.alignment_marks(seeds, second, WEIGHTS, method))
    return [gradients, weights]
