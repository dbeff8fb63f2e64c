"""Spec strings: names with options that read like calls and are never evaluated.

``"dfa(feedback=dense(gain=0.5), error=ternary)"`` is parsed into a :class:`Spec`: registered names, nested specs and
literals (numbers, strings, booleans, ``None``, lists). A bare word is a name without options. Anything else (an
operator, an attribute, an index, a positional argument) is refused. The path of a file needs no quotes:
``"arrays(path=data/mine.npz)"``.
"""

from __future__ import annotations

import ast
import keyword
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from hwmodels.errors import NeurofaError


@dataclass(frozen=True)
class Spec:
    """A name and its options, e.g. ``fixed(bits=4, rounding=stochastic)``."""

    name: str
    options: Mapping[str, object] = field(default_factory=dict)

    def __str__(self) -> str:
        """Return the canonical text; parsing it gives an equal spec."""
        if not self.options:
            return self.name
        return f"{self.name}({', '.join(f'{k}={render(v)}' for k, v in self.options.items())})"


def render(value: object) -> str:
    """Return the canonical text of an option's value."""
    if isinstance(value, list | tuple):
        return f"[{', '.join(render(v) for v in value)}]"
    if isinstance(value, str):
        plain = value.isascii() and value.isidentifier() and not keyword.iskeyword(value)
        return value if plain else repr(value)
    if isinstance(value, float) and math.isinf(value):
        return "1e999" if value > 0 else "-1e999"  # the only literals that read back as infinity
    return str(value)


_PATHS = re.compile(
    r"""(?P<quoted>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")|(?P<option>\bpath\s*=\s*)(?P<path>[^\s,()\[\]'"=]+)(?=\s*[,)])"""
)
"""Texts in quotes, and values of options named ``path`` without quotes, up to a comma or a bracket."""
LARGEST = 2**63 - 1
"""Largest whole number in a spec: no tensor has a larger size, and none holds a larger number."""


def parse(text: str) -> Spec:
    """Return the spec that a text stands for.

    Args:
        text: such as ``"mlp(hidden=[800, 800], activation=tanh)"``.

    Raises:
        NeurofaError: the text is not a name with literal options.

    >>> str(parse("fixed( bits = 4 )"))
    'fixed(bits=4)'
    """
    text = _PATHS.sub(_quoted_path, text)
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        reason = getattr(error, "msg", None) or type(error).__name__
        raise NeurofaError(
            f"got spec {text!r} ({reason}); expected name(option=value, ...); close the brackets and quotes"
        ) from None
    value = _value(tree, text)
    if isinstance(value, str) and isinstance(tree, ast.Name | ast.Call):
        return Spec(value)
    if isinstance(value, Spec):
        return value
    raise NeurofaError(f"got spec {text!r}; expected name(option=value, ...); begin with a registered name")


def _quoted_path(match: re.Match[str]) -> str:
    """Return a path in quotes, so that its dots and slashes are no operators; other texts as they are."""
    path = match["path"]
    return match[0] if path is None or path == "None" else f"{match['option']}{path!r}"


def _value(node: ast.expr, text: str) -> object:
    match node:
        case ast.Constant(value=value) if value is None or isinstance(value, bool | int | float | str):
            if isinstance(value, int) and value > LARGEST:
                raise NeurofaError(f"got {value} in spec {text!r}; expected whole numbers up to 2^63 - 1; change it")
            return value
        case ast.Name(id=name):
            return name
        case ast.UnaryOp(op=ast.USub() | ast.UAdd() as sign, operand=ast.Constant(value=number)) if isinstance(
            number, int | float
        ) and not isinstance(number, bool):
            return -number if isinstance(sign, ast.USub) else number
        case ast.List(elts=items) | ast.Tuple(elts=items):
            return [_value(item, text) for item in items]
        case ast.Call(func=ast.Name(id=name), args=[], keywords=keywords) if all(k.arg for k in keywords):
            names = [str(k.arg) for k in keywords]
            if len(set(names)) < len(names):
                raise NeurofaError(f"got spec {text!r} with an option given twice; expected each once; remove one")
            # a name without options is the same part with and without brackets
            return Spec(name, {str(k.arg): _value(k.value, text) for k in keywords}) if keywords else name
        case ast.Call(func=ast.Name(id=name), args=[_, *_]):
            raise NeurofaError(
                f"got a value without a name in {name}(...) of spec {text!r}; expected option=value; name the option"
            )
    part = ast.get_source_segment(text.strip(), node) or text
    raise NeurofaError(
        f"got {part!r} in spec {text!r}; expected names and literals only; specs are read, never evaluated"
    )


def specs_in(value: object) -> Iterator[Spec]:
    """Yield a spec and those among its options at any depth; texts are parsed, and skipped where they are no specs.

    >>> [spec.name for spec in specs_in("encoded(data=module(path=data.py))") if spec.options]
    ['encoded', 'module']
    """
    if isinstance(value, str):
        try:
            value = parse(value)
        except NeurofaError:
            return
    if isinstance(value, Spec):
        yield value
        for option in value.options.values():
            yield from specs_in(option)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from specs_in(part)


def with_defaults(text: str, name: str, **options: object) -> str:
    """Return the text of a spec with further options, where the spec names the part ``name``.

    Options that the spec gives itself are kept. The spec of another part is returned unchanged.

    Args:
        text: any spec.
        name: of the part that gets the options.
        options: values by name.

    >>> with_defaults("sdfa(feedback=opu)", "sdfa", error="sign")
    'sdfa(error=sign, feedback=opu)'
    """
    spec = parse(text)
    return str(Spec(name, {**options, **spec.options})) if spec.name == name else text
