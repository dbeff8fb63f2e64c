"""The one training loop of the project: commands, sweeps and experiments all call :func:`train_run`."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path

import torch

from experiments.runs.folder import RunFolder, machine_info
from experiments.runs.interrupt import Interrupted, deferred_interrupt
from experiments.runs.plot import draw_curves
from experiments.runs.progress import Progress
from experiments.runs.recommended import RECOMMENDED
from experiments.runs.result import Result
from experiments.runs.spec import RunSpec
from experiments.runs.trainer import Trainer
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
        control: also train the readout-only control (in ``out/control``), with the settings of :func:`control_of`.

    Raises:
        NeurofaError: an unknown or impossible part, numbers that are not finite, a folder that cannot be written or
            holds another run.
        Interrupted: Ctrl-C; ``out`` holds the state of the last finished epoch.
    """
    control = control and spec.rule != CONTROL
    folder = None if out is None else RunFolder(out)
    trainer = Trainer(spec, folder)
    if folder is not None:
        folder.open(spec, resume=resume, overwrite=overwrite)
        if folder.finished:
            finished = folder.read_result()
            if finished.control is not None or not control:
                return finished
        folder.begin(spec, {"control": control, "data": dict(trainer.dataset.provenance), **machine_info()})
        trainer.restore(folder)
    with deferred_interrupt() as check_interrupt, _deterministic(spec.compute):
        trainer.train(progress or Progress(), check_interrupt)
        result = trainer.report()
        if control:
            inside = None if folder is None else folder.control
            beside = train_run(
                control_of(spec, inside if resume else None), inside, progress=progress, resume=resume, overwrite=True
            )
            result = replace(result, control=beside)
        check_interrupt()
    if folder is not None:
        save_network(trainer.network, folder.model)
        draw_curves(result, folder.curves)
        folder.finish(result)
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
