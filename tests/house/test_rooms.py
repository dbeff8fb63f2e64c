"""The house: modules have rooms, imports run downwards, bases are slim, names are one word for one thing."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.house import structure

LIMITS = {"neurofa": 3, "hwmodels": 10, "exports": 10, "experiments": 10}
BASES = {
    ("neurofa.core.rule", "Rule"): 10,
    ("neurofa.core.layer", "Layer"): 12,
    ("neurofa.spiking.temporal", "Temporal"): 15,
}
LAZY_ALLOWED = ("experiments.commands.", "experiments.cli")
"""Commands import their work when they are called, so that ``--help`` answers at once."""


@pytest.mark.parametrize(("package", "limit"), LIMITS.items())
def test_few_modules_lie_directly_in_a_package(package, limit):
    folders = {name.rpartition(".")[0] for name in structure.modules()}
    direct = [n for n in structure.modules() if n.count(".") == 1 and n.startswith(f"{package}.") and n not in folders]
    assert len(direct) <= limit, direct


def test_no_modules_import_each_other_in_a_circle_lazily_either():
    assert structure.circles(structure.graph(rooms=False)) == []


def test_no_rooms_import_each_other_in_a_circle():
    assert structure.circles(structure.graph(rooms=True)) == []


def test_circles_are_found():
    assert structure.circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [["a", "b", "c"]]
    assert structure.circles({"a": {"b"}, "b": {"c"}, "d": {"c"}}) == []


def test_lazy_imports_are_for_heavy_libraries_alone():
    lazy = [i for i in structure.imports() if i.lazy and not i.importer.startswith(LAZY_ALLOWED)]
    assert lazy == []


@pytest.mark.parametrize(("base", "limit"), BASES.items(), ids=[cls for _, cls in BASES])
def test_bases_are_slim(base, limit):
    declared = structure.members(*base)
    print(f"{base[1]} declares {len(declared)}: {', '.join(declared)}")
    assert len(declared) <= limit, declared


def test_no_two_public_classes_have_one_name():
    doubled = {name: homes for name, homes in structure.public_classes().items() if len(homes) > 1}
    assert doubled == {}


def test_tests_lie_in_the_rooms_that_they_test():
    tests = Path(__file__).parents[1]
    folders = [path for name in LIMITS for path in (tests / name).rglob("*") if path.is_dir()]
    rooms = [str(path.relative_to(tests)) for path in folders if path.name != "__pycache__"]
    assert rooms
    assert [room for room in rooms if not (structure.ROOT / room).is_dir()] == []
