"""The registry: how parts come in, are found, and are built; and what is said when they are not."""

from __future__ import annotations

import importlib
import sys
import textwrap
from dataclasses import dataclass
from typing import Literal

import pytest

from hwmodels import NeurofaError, Registered, Spec, build, declare_kind, find, kinds, options, parts, recipe
from hwmodels.registry import shelves


@pytest.fixture(autouse=True)
def _own_registry(monkeypatch):
    """What a test registers is gone after it."""
    monkeypatch.setattr(shelves, "_SHELVES", dict(shelves._SHELVES))
    monkeypatch.setattr(shelves, "_PARTS", {kind: dict(known) for kind, known in shelves._PARTS.items()})
    monkeypatch.setattr(shelves, "_LOADED", set(shelves._LOADED))


class Gadget(Registered, kind="gadget"):
    pass


@pytest.fixture
def wheel():
    @dataclass(frozen=True, kw_only=True)
    class Wheel(Gadget, name="wheel"):
        spokes: int = 8
        size: float | None = None
        inner: Gadget | str = "hub"
        plan: tuple[int, ...] | list[int] = ()
        side: Literal["left", "right"] = "left"
        spins: bool = False

    return Wheel


def test_a_class_header_registers(wheel):
    assert parts("gadget") == {"wheel": wheel}
    assert find("gadget", "wheel") is wheel
    assert wheel.name == "wheel"
    assert wheel.kind == "gadget"
    assert "gadget" in kinds()
    assert list(options(wheel)) == ["spokes", "size", "inner", "plan", "side", "spins"]


def test_build_takes_text_specs_and_built_parts(wheel):
    assert build("gadget", "wheel(spokes=3)") == wheel(spokes=3)
    assert build("gadget", Spec("wheel", {"size": 2})) == wheel(size=2)
    part = wheel()
    assert build("gadget", part) is part
    assert build("gadget", "wheel(inner=hub(holes=2))").inner == Spec("hub", {"holes": 2})
    assert build("gadget", "wheel(plan=[1, 2], side=right, size=None)").plan == [1, 2]


def test_a_recipe_registers_and_takes_context():
    @recipe("gadget", "tandem", source="a bicycle")
    def tandem(*, seats: int = 2, shape: tuple[int, ...]):
        """Two wheels."""
        return seats, shape

    assert parts("gadget")["tandem"] is tandem
    assert tandem.source == "a bicycle"  # type: ignore[attr-defined]
    assert build("gadget", "tandem(seats=3)", shape=(1, 2)) == (3, (1, 2))
    with pytest.raises(NeurofaError, match=r"got tandem without 'shape'; expected tandem\(shape=...\); add it"):
        build("gadget", "tandem")
    with pytest.raises(NeurofaError, match="got option 'shape' for gadget 'tandem'; expected seats"):
        build("gadget", "tandem(shape=[1])", shape=(1,))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("wheal", "got gadget 'wheal'; expected one of wheel; did you mean 'wheel'? (see: neurofa list gadget)"),
        ("zzz", "got gadget 'zzz'; expected one of wheel (see: neurofa list gadget)"),
        ("wheel(spokes=many)", "got wheel(spokes=many); expected a whole number; change the value"),
        ("wheel(spokes=2.0)", "got wheel(spokes=2.0); expected a whole number; change the value"),
        ("wheel(spokes=True)", "got wheel(spokes=True); expected a whole number; change the value"),
        ("wheel(size=big)", "got wheel(size=big); expected a number or None; change the value"),
        ("wheel(inner=3)", "got wheel(inner=3); expected a gadget or a name; change the value"),
        ("wheel(side=top)", "got wheel(side=top); expected left or right; change the value"),
        ("wheel(spins=1)", "got wheel(spins=1); expected True or False; change the value"),
    ],
)
def test_wrong_specs_are_refused(wheel, spec, message):
    with pytest.raises(NeurofaError) as caught:
        build("gadget", spec)
    assert str(caught.value) == message


def test_an_unknown_option_is_refused_with_the_nearest_one(wheel):
    with pytest.raises(NeurofaError) as caught:
        build("gadget", "wheel(spoke=3)")
    options_of_wheel = "spokes, size, inner, plan, side, spins"
    assert str(caught.value) == (
        f"got option 'spoke' for gadget 'wheel'; expected {options_of_wheel}; did you mean 'spokes'?"
    )


def test_a_list_with_a_wrong_entry_is_refused(wheel):
    with pytest.raises(NeurofaError, match=r"got wheel\(plan=\[1, a\]\); expected .*; change the value"):
        build("gadget", "wheel(plan=[1, a])")


def test_an_unknown_kind_is_refused():
    with pytest.raises(NeurofaError, match=r"got kind 'devise'; expected one of .*device.*; did you mean 'device'\?"):
        parts("devise")


def test_a_second_part_of_one_name_is_refused(wheel):
    with pytest.raises(NeurofaError, match="got a second gadget called 'wheel'; expected unique names; rename one"):

        @recipe("gadget", "wheel")
        def other():
            """Not the wheel."""


def test_one_new_file_in_the_folder_of_a_kind_is_enough(tmp_path, monkeypatch):
    folder = tmp_path / "gadget_shop"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "_private.py").write_text("raise RuntimeError('never imported')")
    (folder / "bell.py").write_text(
        textwrap.dedent("""
            from hwmodels import Registered, recipe

            @recipe("shopped", "bell")
            def bell(*, loud: bool = False):
                return "ding", loud
        """)
    )
    monkeypatch.syspath_prepend(tmp_path)
    declare_kind("shopped", "gadget_shop")
    assert list(parts("shopped")) == ["bell"]
    assert build("shopped", "bell(loud=True)") == ("ding", True)
    for name in ("gadget_shop", "gadget_shop.bell"):
        sys.modules.pop(name)


def test_a_third_party_registers_through_an_entry_point(tmp_path, monkeypatch):
    (tmp_path / "thirdparty_horn.py").write_text(
        "from hwmodels import recipe\n@recipe('honked', 'horn')\ndef horn():\n    return 'honk'\n"
    )
    info = tmp_path / "thirdparty_horn-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: thirdparty-horn\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[neurofa.honked]\nhorn = thirdparty_horn\n")
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    declare_kind("honked", "hwmodels.formats")
    assert build("honked", "horn") == "honk"
    sys.modules.pop("thirdparty_horn")


def test_a_folder_that_fails_to_import_fails_again(tmp_path, monkeypatch):
    folder = tmp_path / "broken_shop"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "broken.py").write_text("raise RuntimeError('out of stock')")
    monkeypatch.syspath_prepend(tmp_path)
    declare_kind("broken", "broken_shop")
    for _ in range(2):
        with pytest.raises(RuntimeError, match="out of stock"):
            parts("broken")
    sys.modules.pop("broken_shop")
