"""Run the pinned specs by the ``neurofa`` command that is importable, and compare their metrics with runs.json.

python tests/pinned/compare.py              a table: every spec, equal bit for bit or the largest relative difference
python tests/pinned/compare.py --only kp    only the specs whose name holds a word
python tests/pinned/compare.py --write      make runs.json anew (only where a change of the numbers is wanted)
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

HERE = Path(__file__).parent
STORED = HERE / "runs.json"

DIGITS = ["--data", "digits(subset=640)", "--batch-size", "8"]
SPIKES = ["--data", "encoded(data=digits(subset=320), encoder=rate, ticks=10)", "--batch-size", "8"]
SPECS: dict[str, list[str]] = {
    "dfa_ternary": [
        *DIGITS,
        "--network",
        "mlp(hidden=[32])",
        "--rule",
        "dfa(error=ternary)",
        "--optimizer",
        "sgd(lr=0.01, momentum=0.9)",
        "--epochs",
        "2",
    ],
    "fa_fixed": [
        *DIGITS,
        "--network",
        "mlp(hidden=[24, 16])",
        "--rule",
        "fa",
        "--device",
        "fixed(bits=4, rounding=stochastic)",
        "--epochs",
        "2",
        "--seed",
        "1",
    ],
    "kp_cnn": [
        *DIGITS,
        "--network",
        "cnn(channels=[4, 6], kernel=3, hidden=16)",
        "--rule",
        "kp",
        "--optimizer",
        "sgd(lr=0.02, momentum=0.9)",
        "--epochs",
        "2",
    ],
    "ldfa_local": [
        *DIGITS,
        "--network",
        "mlp(hidden=[24, 24])",
        "--rule",
        "ldfa_local(rank=4)",
        "--optimizer",
        "adam(lr=0.003)",
        "--schedule",
        "cosine",
        "--epochs",
        "2",
    ],
    "raf_pcm": [
        *DIGITS,
        "--network",
        "mlp(hidden=[24, 16])",
        "--rule",
        "raf(rank=6, step=None)",
        "--device",
        "pcm",
        "--epochs",
        "2",
    ],
    "grape2026": [
        *DIGITS,
        "--network",
        "mlp(hidden=[20, 20])",
        "--rule",
        "grape2026(calibrate=2)",
        "--epochs",
        "2",
    ],
    "drtp_reram_periphery": [
        *DIGITS,
        "--network",
        "mlp(hidden=[24])",
        "--rule",
        "drtp",
        "--device",
        "reram_es",
        "--periphery",
        "training",
        "--epochs",
        "2",
    ],
    "pepita": [*DIGITS, "--network", "mlp(hidden=[32], activation=relu)", "--rule", "pepita", "--epochs", "2"],
    "local_loss_conv_stack": [
        *DIGITS,
        "--network",
        "conv_stack(channels=[4, 6])",
        "--rule",
        "local_loss",
        "--optimizer",
        "adam(lr=0.005)",
        "--epochs",
        "1",
    ],
    "forward_gradient_mixed_precision": [
        *DIGITS,
        "--network",
        "mlp(hidden=[20])",
        "--rule",
        "forward_gradient",
        "--device",
        "mixed_precision(device=reram_array_hfo2)",
        "--epochs",
        "2",
    ],
    "weight_mirror_tiki_taka": [
        *DIGITS,
        "--network",
        "mlp(hidden=[20], norm=batch)",
        "--rule",
        "weight_mirror",
        "--device",
        "tiki_taka",
        "--epochs",
        "2",
    ],
    "bp_vit": [
        *DIGITS,
        "--network",
        "vit(width=12, depth=1, heads=2)",
        "--rule",
        "bp",
        "--optimizer",
        "adam(lr=0.005)",
        "--epochs",
        "2",
    ],
    "dfa_crossbar": [
        *DIGITS,
        "--network",
        "mlp(hidden=[24, 16])",
        "--rule",
        "dfa(feedback=crossbar(device=pcm))",
        "--epochs",
        "2",
    ],
    "dfa_opu_accumulate": [
        *DIGITS,
        "--network",
        "mlp(hidden=[32])",
        "--rule",
        "dfa(feedback=opu)",
        "--accumulate",
        "2",
        "--clip",
        "2.0",
        "--optimizer",
        "sgd(lr=0.3)",
        "--epochs",
        "2",
    ],
    "eprop_recurrent": [
        *SPIKES,
        "--network",
        "snn(hidden=[20], recurrent=True)",
        "--rule",
        "eprop",
        "--optimizer",
        "adam(lr=0.005)",
        "--chunk",
        "4",
        "--epochs",
        "2",
    ],
    "eprop_symmetric": [
        *SPIKES,
        "--network",
        "snn(hidden=[20], neuron=alif)",
        "--rule",
        "eprop_symmetric",
        "--update",
        "chunk",
        "--chunk",
        "5",
        "--epochs",
        "2",
    ],
    "stllr_microring": [
        *SPIKES,
        "--network",
        "snn(hidden=[20])",
        "--rule",
        "stllr(feedback=microring)",
        "--optimizer",
        "adam(lr=0.005)",
        "--epochs",
        "2",
    ],
    "decolle_conv_snn": [
        *SPIKES,
        "--network",
        "conv_snn(channels=[4, 6], kernel=3, neuron='lif(threshold=0.3)')",
        "--rule",
        "decolle",
        "--optimizer",
        "adam(lr=0.02)",
        "--epochs",
        "1",
    ],
}
"""The arguments of ``neurofa train`` of every run, without its folder."""
QUICK = {"dfa_ternary", "fa_fixed", "grape2026", "stllr_microring"}
"""Those of every test run; the others are tested with the slow ones."""

FIGURES = (
    "test_loss",
    "test_accuracy",
    "loss",
    "train_accuracy",
    "validation_loss",
    "validation_accuracy",
    "epochs",
    "epoch",
    "samples",
)
"""What is kept of result.json."""
ROW = ("epoch", "train_loss", "train_accuracy", "validation_loss", "validation_accuracy", "lr")
"""What is kept of an epoch."""


def neurofa(*words: str | Path) -> int:
    """Run the command in this process; returns its exit code."""
    from experiments.cli import main

    before = sys.argv
    sys.argv = ["neurofa", *map(str, words)]
    try:
        main()
    except SystemExit as left:
        return left.code if isinstance(left.code, int) else int(left.code is not None)
    finally:
        sys.argv = before
    return 0


def train(words: list[str], out: Path) -> dict[str, Any]:
    """Train by ``neurofa train`` into a folder; returns the figures of result.json, and the rows of the epochs."""
    # what a run had without --optimizer when these were stored; now a rule recommends one
    optimizer = [] if "--optimizer" in words else ["--optimizer", "sgd(lr=0.1)"]
    # and the size of delivered errors was the same for every network
    scale = [] if "--feedback-scale" in words else ["--feedback-scale", "fixed"]
    code = neurofa("train", *words, *optimizer, *scale, "--no-control", "-q", "--out", out)
    if code:
        raise RuntimeError(f"neurofa train {' '.join(words)}: exit code {code}")
    result = json.loads((out / "result.json").read_text())
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return {**{key: result[key] for key in FIGURES}, "rows": [{key: row[key] for key in ROW} for row in rows]}


def numbers(metrics: dict[str, Any]) -> dict[str, float]:
    """All numbers of a run by name: ``test_loss``, ``1/train_loss``, ..."""
    rows = {f"{row['epoch']}/{key}": value for row in metrics["rows"] for key, value in row.items()}
    return {**{key: value for key, value in metrics.items() if key != "rows"}, **rows}


def worst(stored: dict[str, Any], found: dict[str, Any]) -> tuple[str, float]:
    """The number that differs most, relative to the stored one; ("", 0.0) where all are equal bit for bit."""
    before, after = numbers(stored), numbers(found)
    if before.keys() != after.keys():
        return f"other numbers: {sorted(before.keys() ^ after.keys())}", float("inf")
    apart = {key: abs(after[key] - value) / max(abs(value), 1e-300) for key, value in before.items()}
    name = max(apart, key=apart.__getitem__)
    return (name, apart[name]) if apart[name] > 0 else ("", 0.0)


def main() -> int:
    """Compare, or write; the exit code is 1 where a number differs."""
    parser = argparse.ArgumentParser(description="Compare runs of today's code with the stored ones.")
    parser.add_argument("--only", default="", help="a part of the names of the specs to run")
    parser.add_argument("--write", action="store_true", help="make runs.json anew")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    import neurofa as package

    say = sys.stdout.write
    say(f"code: {Path(package.__file__).parent}, torch {torch.__version__}\n")
    stored = {} if asked.write else json.loads(STORED.read_text())["runs"]
    specs = SPECS if asked.write else {name: run["train"] for name, run in stored.items()}
    made, differing, began = {}, 0, time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        train(["--data", "digits(subset=32)", "--epochs", "1"], Path(folder) / "imports")  # they take seconds
        for name, words in specs.items():
            if asked.only not in name:
                continue
            start = time.perf_counter()
            found = train(words, Path(folder) / name)
            seconds = time.perf_counter() - start
            made[name] = {"train": words, "seconds": round(seconds, 1), "metrics": found}
            verdict = f"test accuracy {found['test_accuracy']:.3f}, loss {found['test_loss']:.6f}"
            if not asked.write:
                where, apart = worst(stored[name]["metrics"], found)
                differing += apart > 0
                verdict = f"differs by {apart:.2g} ({where})" if apart else "equal bit for bit"
            say(f"{name:34} {seconds:5.1f} s  {verdict}\n")
    say(f"{len(made)} runs, {differing} differ, {time.perf_counter() - began:.1f} s\n")
    if asked.write and not asked.only:
        about = {
            "torch": torch.__version__,
            "python": platform.python_version(),
            "threads": 1,
            "cpu": torch.backends.cpu.get_cpu_capability(),
            "cores": os.cpu_count(),
        }
        STORED.write_text(json.dumps({"made_with": about, "runs": made}, indent=1) + "\n")
    return int(differing > 0)


if __name__ == "__main__":
    sys.exit(main())
