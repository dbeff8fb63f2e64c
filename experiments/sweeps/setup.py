"""How the runs of a sweep or an experiment are done."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from experiments.sweeps.progress import SweepProgress


@dataclass(frozen=True, kw_only=True)
class Setup:
    """Folder, number of seeds, processes and size of the runs."""

    folder: Path
    """Rows and pictures are written here."""
    seeds: int = 3
    """Runs of each method that count."""
    workers: int = 2
    """Processes; 0: none but this one."""
    threads: int = 1
    """CPU threads of torch in each process."""
    compute: str = "cpu"
    """Where the arithmetic runs: cpu, cuda or auto."""
    full: bool = False
    """The large sizes instead of those that take minutes."""
    progress: SweepProgress = field(default_factory=SweepProgress)
