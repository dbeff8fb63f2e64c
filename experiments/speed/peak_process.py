"""The process that measures the memory peak of one method: ``python -m experiments.speed.peak_process``."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

import torch

from experiments.speed.peak_memory import peak_bytes
from experiments.speed.suite import select_cases
from hwmodels.registry import build


def print_peak(words: Sequence[str]) -> None:
    """Print the peak of one method as JSON.

    Args:
        words: suite, case, method, device, threads.
    """
    suite, case, method, device, threads = words
    torch.set_num_threads(int(threads))
    methods = {m.name: m for m in select_cases(build("speed", suite), [case])[0].methods}
    sys.stdout.write(json.dumps({"peak_bytes": peak_bytes(methods[method].build, torch.device(device))}))


if __name__ == "__main__":
    print_peak(sys.argv[1:])
