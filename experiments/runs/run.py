"""The one training loop of the project: commands, sweeps and experiments all call :func:`train_run`."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from experiments.runs.divergence import DivergedError
from experiments.runs.folder import RunFolder
from experiments.runs.ingredients import run_ingredients
from experiments.runs.interrupt import Interrupted, deferred_interrupt
from experiments.runs.machine import machine_info
from experiments.runs.plot import draw_curves
from experiments.runs.progress import Progress
from experiments.runs.recommended import RECOMMENDED
from experiments.runs.result import Result
from experiments.runs.spec import RunSpec
from experiments.runs.trainer import Trainer
from experiments.runs.writer import RunWriter, hold_folder
from hwmodels.errors import NeurofaError
from neurofa.training.checkpoint import save_network

__all__ = ["Interrupted", "Result", "RunSpec", "train_run"]

CONTROL = "readout_only"
"""Rule of the control: the hidden layers keep their initial weights."""


def train_run(
    spec: RunSpec,
    out: Path | None = None,
    *,
    progress: Progress | None = None,
    resume: bool = False,
    overwrite: bool = False,
    control: bool = False,
    renew: bool = False,
    control_optimizer: str | None = None,
    search: Mapping[str, Any] | None = None,
) -> Result:
    """Train one network, and return its result; with a folder, write checkpoints, network, curves and result there.

    The same spec gives the same rows bit for bit on the same machine, resumed or not: the order of the data, the
    weights, the feedback and all noise come from generators seeded by the run's seed.

    Args:
        spec: the run.
        out: folder of the run; None: nothing is written.
        progress: shows the run; None: nothing is shown.
        resume: go on after the last finished epoch in ``out``; a finished run is returned as it is.
        overwrite: begin anew in a folder that holds a run.
        renew: with ``resume``, begin anew where data or other people's code have changed since; False: refuse.
        control: also train the readout-only control (in ``out/control``), with the settings of :func:`control_of`.
        control_optimizer: of the control; None: as :func:`control_of` chooses it.
        search: how the optimizers were found, JSON values, kept in ``run.json``.

    Raises:
        NeurofaError: an unknown or impossible part, numbers that are not finite, a folder that cannot be written or
            holds another run, or data or code that have changed since it was begun.
        Interrupted: Ctrl-C; ``out`` holds the state of the last finished epoch.
    """
    control = control and spec.rule != CONTROL and spec.epochs > 0
    trainer = Trainer(spec)
    if out is None:
        return _train(trainer, None, progress or Progress(), control=control, control_optimizer=control_optimizer)
    folder, present = RunFolder(out), run_ingredients(spec)
    if resume and folder.run.exists() and not folder.is_made_of(present):
        if not renew:
            raise NeurofaError(
                f"got --resume where data '{spec.data}' or the code of a part have changed since '{out}' was begun;"
                " expected the same; begin anew with --overwrite, or choose another --out"
            )
        resume, overwrite = False, True
    with hold_folder(folder, spec, resume=resume, overwrite=overwrite) as writer:
        if resume and folder.finished:
            finished = folder.read_result()
            if finished.control is not None or not control:
                return finished
        about = {"spec": spec.to_json(), "key": spec.key, "seed": spec.seed, "control": control}
        data = dict(trainer.dataset.provenance)
        if search is not None:
            about["optimizer_search"] = dict(search)
        elif resume and folder.run.exists():
            about |= {key: value for key, value in folder.about().items() if key == "optimizer_search"}
        writer.begin({**about, "data": data, "ingredients": present, **machine_info()})
        trainer.continue_in(writer)
        return _train(trainer, writer, progress or Progress(), control=control, control_optimizer=control_optimizer)


def _train(
    trainer: Trainer, writer: RunWriter | None, progress: Progress, *, control: bool, control_optimizer: str | None
) -> Result:
    """Train what is left, report it, and write the report."""
    spec = trainer.spec
    with deferred_interrupt() as check_interrupt, _deterministic(spec.compute):
        trainer.train(progress, check_interrupt)
        result = trainer.report()
        if control:
            inside = None if writer is None else writer.folder.control
            resume = writer is not None and writer.resume
            other = control_of(spec, inside if resume else None)
            if control_optimizer is not None:
                other = replace(other, optimizer=control_optimizer)
            try:
                beside = train_run(
                    other,
                    inside,
                    progress=progress,
                    resume=resume,
                    overwrite=True,
                )
                result = replace(result, control=beside)
            except DivergedError as error:  # no reason to lose the run itself
                progress.notice(f"no control: {error}")
        check_interrupt()
    if writer is not None:
        folder = writer.folder
        writer.put(folder.model, lambda part: save_network(trainer.network, part))
        writer.put(folder.curves, lambda part: draw_curves(result, part))
        writer.finish(result)
    return result


def control_of(spec: RunSpec, begun: Path | None = None) -> RunSpec:
    """Return the readout-only control of a run: the same settings, and an optimizer that is as well chosen.

    Where the run has the optimizer that its rule recommends, the control has its own, lest a rule that needs small
    steps is compared with a readout that has hardly learnt. Any other optimizer is shared.

    Args:
        spec: the run.
        begun: folder of the control, which is gone on with as it was begun; None: it is new.
    """
    control = replace(spec, rule=CONTROL)
    if begun is not None and RunFolder(begun).run.is_file():
        return replace(control, optimizer=RunFolder(begun).spec().optimizer)
    recommended = spec.optimizer == replace(spec, optimizer=RECOMMENDED).optimizer
    return replace(control, optimizer=RECOMMENDED) if recommended else control


def _deterministic(compute: str) -> AbstractContextManager[None]:
    """On a GPU, choose the convolution algorithms that give the same bits every time."""
    return nullcontext() if compute == "cpu" else torch.backends.cudnn.flags(deterministic=True, benchmark=False)
