"""Spec strings: what is read, what is refused, and that nothing is run."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwmodels import NeurofaError, Spec, parse
from hwmodels.spec import LARGEST

NAMES = st.from_regex(r"[a-z][a-z0-9_]{0,8}x", fullmatch=True)
LITERALS = st.one_of(
    st.none(), st.booleans(), st.integers(-LARGEST, LARGEST), st.floats(allow_nan=False), st.text(max_size=12), NAMES
)


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("dfa", Spec("dfa")),
        ("  dfa ( ) ", Spec("dfa")),
        ("fixed(bits=4)", Spec("fixed", {"bits": 4})),
        ("fixed(bits=-4, range=+1.5e-3)", Spec("fixed", {"bits": -4, "range": 0.0015})),
        ("mlp(hidden=[800, 800], activation=tanh)", Spec("mlp", {"hidden": [800, 800], "activation": "tanh"})),
        ("mlp(hidden=(8, 4))", Spec("mlp", {"hidden": [8, 4]})),
        ("a(b=None, c=True, d='x y', e=[])", Spec("a", {"b": None, "c": True, "d": "x y", "e": []})),
        ("dfa(feedback=opu(error=ternary))", Spec("dfa", {"feedback": Spec("opu", {"error": "ternary"})})),
        ("arrays(path=data/mine.npz, x=a)", Spec("arrays", {"path": "data/mine.npz", "x": "a"})),
        ("arrays(path = ../my-data_1.npz )", Spec("arrays", {"path": "../my-data_1.npz"})),
        ("folder(path=C:\\a\\new)", Spec("folder", {"path": "C:\\a\\new"})),
        ("folder(path=2024)", Spec("folder", {"path": "2024"})),
        ("folder(path=None)", Spec("folder", {"path": None})),
        ("folder(path='a, b.png', size=[8, 8])", Spec("folder", {"path": "a, b.png", "size": [8, 8]})),
        ("f(a='path=x.y,', b=\"path=z.w)\")", Spec("f", {"a": "path=x.y,", "b": "path=z.w)"})),
        ("encoded(data=folder(path=/tmp/a))", Spec("encoded", {"data": Spec("folder", {"path": "/tmp/a"})})),
        ("dfa(feedback=[dense(gain=1), sparse()])", Spec("dfa", {"feedback": [Spec("dense", {"gain": 1}), "sparse"]})),
    ],
)
def test_good_specs(text, spec):
    assert parse(text) == spec
    assert parse(str(parse(text))) == spec


@pytest.mark.parametrize(
    "text",
    ["", "   ", "fixed(", "fixed(bits=4", "fixed bits=4", "fixed(bits=)", "fixed('a", "\0", "lambda", "a;b", "("],
)
def test_malformed_specs(text):
    with pytest.raises(NeurofaError) as caught:
        parse(text)
    message = str(caught.value)
    assert message.startswith(f"got spec {text!r}")
    assert "expected name(option=value, ...)" in message
    assert "\n" not in message


@pytest.mark.parametrize("text", ["4", "'dfa'", "None", "True", "[1, 2]", "-1"])
def test_a_spec_begins_with_a_name(text):
    with pytest.raises(NeurofaError, match="begin with a registered name"):
        parse(text)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("__import__('os').system('true')", "__import__('os').system('true')"),
        ("dfa(gain=1 + 1)", "1 + 1"),
        ("dfa(gain=os.path)", "os.path"),
        ("dfa(gain=x[0])", "x[0]"),
        ("dfa(gain=lambda: 1)", "lambda: 1"),
        ("dfa(gain=[i for i in y])", "[i for i in y]"),
        ("dfa(**options)", "dfa(**options)"),
        ("dfa(gain=f'{x}')", "f'{x}'"),
        ("dfa(gain={1: 2})", "{1: 2}"),
        ("dfa(gain=b'x')", "b'x'"),
        ("dfa(gain=1j)", "1j"),
        ("dfa(gain=...)", "..."),
        ("dfa(gain=-True)", "-True"),
        ("dfa(gain=not x)", "not x"),
        ("dfa(gain=(y := 1))", "y := 1"),
        ("f(a=1)(b=2)", "f(a=1)(b=2)"),
    ],
)
def test_code_is_refused_and_named(text, part):
    with pytest.raises(NeurofaError) as caught:
        parse(text)
    assert str(caught.value) == (
        f"got {part!r} in spec {text!r}; expected names and literals only; specs are read, never evaluated"
    )


def test_a_value_without_a_name_is_refused():
    with pytest.raises(NeurofaError, match=r"got a value without a name in fixed\(...\) of spec 'fixed\(4\)'"):
        parse("fixed(4)")
    with pytest.raises(NeurofaError, match="name the option"):
        parse("dfa(feedback=dense(*gains))")


def test_an_option_given_twice_is_refused():
    with pytest.raises(NeurofaError, match="with an option given twice; expected each once; remove one"):
        parse("fixed(bits=4, bits=5)")


def test_deep_nesting_is_one_line_and_no_crash():
    with pytest.raises(NeurofaError) as caught:
        parse("f(a=" * 5000 + "1" + ")" * 5000)
    assert "\n" not in str(caught.value)


@given(
    st.recursive(
        LITERALS,
        lambda inner: st.one_of(
            st.lists(inner, max_size=3),
            st.builds(Spec, NAMES, st.dictionaries(NAMES, inner, min_size=1, max_size=3)),
        ),
        max_leaves=8,
    ),
    NAMES,
)
def test_the_canonical_text_reads_back(value, name):
    spec = Spec(name, {"option": value})
    assert parse(str(spec)) == spec
