"""The one training loop of the project: commands, sweeps and experiments all call :func:`train_run`."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path

import torch

from experiments.runs.divergence import DivergedError
from experiments.runs.folder import RunFolder, machine_info
from experiments.runs.interrupt import Interrupted, deferred_interrupt
from experiments.runs.plot import draw_curves
from experiments.runs.progress import Progress
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
        control: also train the readout-only control with the same settings (in ``out/control``).

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
            try:
                beside = train_run(
                    replace(spec, rule=CONTROL), inside, progress=progress, resume=resume, overwrite=True
                )
                result = replace(result, control=beside)
            except DivergedError as error:  # no reason to lose the run itself
                (progress or Progress()).notice(f"no control: {error}")
        check_interrupt()
    if folder is not None:
        save_network(trainer.network, folder.model)
        draw_curves(result, folder.curves)
        folder.finish(result)
    return result


def _deterministic(compute: str) -> AbstractContextManager[None]:
    """On a GPU, choose the convolution algorithms that give the same bits every time."""
    return nullcontext() if compute == "cpu" else torch.backends.cudnn.flags(deterministic=True, benchmark=False)
