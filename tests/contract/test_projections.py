"""Every registered projection, built from defaults and in variants, keeps its contract; broken ones are refused."""

from __future__ import annotations

import pytest
import torch

import hwmodels.arrays.converters
import hwmodels.projection
from hwmodels import build, parts, registry
from hwmodels.registry import shelves
from hwmodels.testing.projections import check_projection, projection_checks

SPECS = [
    *parts("projection"),
    "crossbar(periphery=exact)",
    "crossbar(device=gaussian(read_noise=0.1), periphery=training, peak=1, rows=4)",
    "crossbar(periphery=inference, device=fixed(bits=6))",
    "crossbar(periphery=periphery(sliced=True))",
    "microring(sigma=0.202, full_scale=batch, heat=0.01)",
    "microring(spacing=20)",
    "mzi(bits=None, crosstalk=0.0, sigma=0.1, drift=0.01)",
    "mzi(modes=4, loss=0.1)",
    "opu(error=sign, detection=phase_shifting)",
    "opu(detection=anchors, decorrelation=10)",
    "opu(detection=anchors(count=3), camera=ideal, error=sign)",
    "opu(detection=intensity)",
    "matrix_free(signs=True)",
]
CHECKS = dict(projection_checks())


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("spec", SPECS)
def test_projection(spec, check):
    CHECKS[check](spec)


@pytest.mark.parametrize("name", parts("projection"))
def test_projections_say_where_they_come_from(name):
    part = registry.find("projection", name)
    assert part.__doc__
    assert part.source


@pytest.mark.parametrize("kind", ["periphery", "camera", "detection", "conductance"])
def test_parts_of_projections_build_from_defaults(kind):
    for name, part in parts(kind).items():
        assert build(kind, name) == build(kind, name)
        assert part.__doc__
        assert part.source


class Honest(hwmodels.projection.Programmable):
    name = "honest"

    def _program(self, target, gen):
        self.set_buffer("b", target)

    def forward(self, error, gen=None):
        return error @ self.b

    def effective(self):
        return self.b


class Weak(Honest):
    def _program(self, target, gen):
        super()._program(target * 0.8, gen)


class Unseeded(Honest):
    def _program(self, target, gen):
        super()._program(torch.rand(target.shape) - 0.5, gen)


class Narrow(Honest):
    def forward(self, error, gen=None):
        return (error @ self.b)[:, 1:]


class InPlace(Honest):
    def forward(self, error, gen=None):
        return error.mul_(1.5) @ self.b


class Different(Honest):
    def forward(self, error, gen=None):
        return error @ self.b.flip(0)


class Leaking(Honest, hwmodels.projection.AgeingMatrix):
    ageing = property(lambda self: self)

    def relax(self, seconds, gen=None):
        self.b.mul_(0.99)


class Unsaved(Honest):
    def set_buffer(self, name, value):
        object.__setattr__(self, name, value)

    def forward(self, error, gen=None):
        return error @ self.b.to(error)


class Waiting(Honest):
    def forward(self, error, gen=None):
        return error @ self.b if bool((error != 0).any()) else torch.zeros(len(error), self.n_out).to(error)


@pytest.fixture
def registered(monkeypatch):
    def add(part):
        monkeypatch.setitem(shelves._PARTS["projection"], "honest", part)
        return "honest"

    return add


def test_the_honest_projection_passes(registered):
    check_projection(registered(Honest))


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (Weak, "got a power"),
        (Unseeded, "of one seed that differ|global generator"),
        (Narrow, "got shape"),
        (InPlace, "that a pass changed"),
        (Different, "cosine"),
        (Leaking, "moved in zero seconds"),
        (Unsaved, "a loaded projection that differs"),
        (Waiting, "waits for the host"),
    ],
)
def test_a_projection_that_breaks_the_contract_is_refused(registered, broken, message):
    with pytest.raises((AssertionError, RuntimeError), match=message):
        check_projection(registered(broken))
