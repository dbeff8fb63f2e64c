"""Stored results of parts that were corrected are not taken again."""

import pytest

from experiments.runs.ingredients import run_ingredients, same_ingredients
from experiments.runs.spec import RunSpec

SMALL = {"data": "digits(subset=64)"}


@pytest.mark.parametrize(
    ("fields", "revised"),
    [
        ({"device": "reram_es"}, "reram_es 2"),
        ({"device": "wear(device='hermes(devices=1)')"}, "hermes 2"),
        ({"rule": "dfa(feedback=crossbar(device=reram_cmo))"}, "reram_cmo 2"),
        ({"rule": "stllr", "device": "pcm_gst"}, "pcm_gst 2, stllr 2"),
        ({"device": "reram_sb"}, None),
        ({"device": "fixed(bits=2)"}, "fixed 2"),
        ({"device": "wear(device='fixed(bits=2)')"}, "fixed 2"),
        ({"rule": "dfa(feedback=crossbar(device=fixed(bits=2)))", "device": "fixed"}, "fixed 2"),
        ({"device": "fixed(bits=2, headroom=2)"}, None),  # which means what it meant
        ({"device": "fixed(bits=2, range=1.0)"}, None),
        ({"device": "fixed(bits=3)"}, None),
        ({"device": "fixed"}, None),
        ({}, None),
    ],
)
def test_runs_with_a_corrected_part_are_not_those_of_before(fields, revised):
    present = run_ingredients(RunSpec(**SMALL, **fields))
    assert present.get("parts") == revised
    assert same_ingredients(present, present)
    before = {key: value for key, value in present.items() if key != "parts"}
    for stored in (before, None):  # a row of before, and one of a version without ingredients
        assert same_ingredients(stored, present) == (revised is None)
