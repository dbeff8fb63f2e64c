"""The training step is readable: its lines run in few files."""

from __future__ import annotations

import sys
from collections import defaultdict

import torch

from neurofa import Learner, build
from tests.house.structure import ROOT

ROOMS = tuple(str(ROOT / name) for name in ("hwmodels", "neurofa", "exports", "experiments"))


class Lines:
    """Files of the project in which lines run, and the functions there."""

    def __init__(self):
        self.files = defaultdict(set)

    def __enter__(self):
        self._before = sys.gettrace()
        sys.settrace(self._call)
        return self

    def __exit__(self, *_):
        sys.settrace(self._before)

    def _call(self, frame, event, argument):
        return self._line if frame.f_code.co_filename.startswith(ROOMS) else None

    def _line(self, frame, event, argument):
        if event == "line":
            self.files[frame.f_code.co_filename.removeprefix(f"{ROOT}/")].add(frame.f_code.co_name)
        return self._line

    def show(self, title):
        print(f"{title}: {len(self.files)} files")
        for name, functions in self.files.items():
            print(f"  {name}: {', '.join(sorted(functions))}")


def batch(*shape):
    gen = torch.Generator().manual_seed(0)
    return torch.rand(*shape, generator=gen), torch.randint(0, 10, (8,), generator=gen)


def test_a_dfa_step_on_an_mlp_runs_through_at_most_six_files():
    network = build("network", "mlp(hidden=[20, 15])", input_shape=(64,), outputs=10)
    learner = Learner(network, "dfa", optimizer=torch.optim.SGD(network.parameters(), lr=0.05))
    x, y = batch(8, 64)
    learner.step(x, y)
    with Lines() as lines:
        learner.step(x, y)
    lines.show("a dfa step")
    assert 0 < len(lines.files) <= 6, list(lines.files)


def test_a_chunk_of_eprop_runs_through_at_most_nine_files(monkeypatch):
    network = build("network", "snn(hidden=[20])", input_shape=(64,), outputs=10)
    learner = Learner(network, "eprop", optimizer=torch.optim.SGD(network.parameters(), lr=0.05))
    x, y = batch(12, 8, 64)
    lines, chunk = Lines(), Learner.chunk

    def watched(*arguments):
        with lines:
            return chunk(*arguments)

    monkeypatch.setattr(Learner, "chunk", watched)
    for update in ("end", "chunk"):
        learner.stream((x < 0.3).float(), y, chunk=4, update=update)
    lines.show("a chunk of e-prop")
    assert 0 < len(lines.files) <= 9, list(lines.files)
