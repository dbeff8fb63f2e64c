"""Options that commands share: those of a run, made from the fields of ``RunSpec``, and a few flags.

A command that takes a run declares a parameter ``chosen: ChosenFields``; :func:`with_run_options` puts one option for
every field of a run in its place, and hands over the fields that were given.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, get_args, get_type_hints

import typer
from typer.core import TyperCommand, TyperOption

from experiments.runs import spec
from hwmodels.errors import NeurofaError
from hwmodels.registry.code import PART
from hwmodels.spec import Spec, parse

Command = Callable[..., None]
ChosenFields = dict[str, Any]
"""Fields of a run that were given on the command line, by name."""

AsJson = Annotated[bool, typer.Option("--json", help="Print a JSON object on stdout, and nothing else there.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress bar and no table.")]
Threads = Annotated[int | None, typer.Option(min=1, help="CPU threads. Default: torch's choice.")]
Workers = Annotated[int, typer.Option(min=0, help="Worker processes; 0: compute in this process.")]
WorkerThreads = Annotated[int, typer.Option("--threads", min=1, help="CPU threads of each worker.")]
Profile = Annotated[
    str | None, typer.Option(help="Chip that chooses what is not given, such as loihi1. Default: none.")
]
Weights = Annotated[
    Path | None, typer.Option(help='Safetensors file with the weights of a network "module(path=...)".')
]
CsvFile = Annotated[Path | None, typer.Option(help="Also write the rows to this CSV file.")]


def with_run_options(
    command: Command,
    *,
    only: Sequence[str] = (),
    without: Sequence[str] = (),
    defaults: Mapping[str, str] | None = None,
    lists: bool = False,
) -> Command:
    """Put one option for every field of a run in the place of a command's parameter ``chosen``.

    Args:
        command: a function with a parameter ``chosen``, which gets the fields that were given.
        only: fields that the command takes; none: all.
        without: fields that it does not take.
        defaults: what the help says of the default of a field, where the command has another one than ``RunSpec``.
        lists: whether an option takes several values, which arrive as a list (of a flag: one).

    Returns:
        The command as typer takes it.
    """
    names = [name for name in spec.options_of(spec.RunSpec) if (not only or name in only) and name not in without]
    own = inspect.signature(command, eval_str=True).parameters.values()
    parameters: list[inspect.Parameter] = []
    for parameter in own:
        if parameter.name == "chosen":
            parameters += [_parameter(name, (defaults or {}).get(name), lists=lists) for name in names]
        else:
            parameters.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))

    @functools.wraps(command)
    def run(**values: Any) -> None:
        given = {name: values.pop(name) for name in names}
        chosen = {name: value for name, value in given.items() if value not in (None, [])}
        if lists:
            chosen = {name: value if isinstance(value, list) else [value] for name, value in chosen.items()}
        command(chosen=chosen, **values)

    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run


def _parameter(name: str, default: str | None, *, lists: bool) -> inspect.Parameter:
    """Return the parameter of a command for one field of a run; without a value it is None."""
    option = spec.options_of(spec.RunSpec)[name]
    (field,) = (field for field in fields(spec.RunSpec) if field.name == name)
    hint = get_type_hints(spec.RunSpec)[name]
    kind: Any = str if hint is spec.SpecField else next(iter(get_args(hint)), hint)  # the type beside None
    if default is None:
        default = option.none if field.default is None else "no" if field.default is False else str(field.default)
    flags = (f"--{name.replace('_', '-')}", *option.flags)
    shown = typer.Option(*flags, help=f"{option.help} Default: {default}.")
    value: Any = list[kind] if lists and kind is not bool else kind
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[value | None, shown]
    )


def with_weights(chosen: ChosenFields, weights: Path | None) -> ChosenFields:
    """Return the fields of a run whose network takes its weights from a file.

    Args:
        chosen: fields that were given.
        weights: the file; None: the fields stay as they are.

    Raises:
        NeurofaError: the network is not one that a code file makes.
    """
    if weights is None:
        return chosen
    network = parse(str(chosen.get("network", spec.RunSpec().network)))
    if network.name != PART:
        raise NeurofaError(
            f"got --weights for network '{network.name}'; expected a network that a code file makes; give --network"
            ' "module(path=model.py, name=make_model)"'
        )
    return chosen | {"network": str(Spec(network.name, {**network.options, "weights": str(weights)}))}


class ListCommand(TyperCommand):
    """A command whose list options take several values behind one flag: ``--rule bp dfa``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Repeat the flag before every value of a list option, then parse: ``--rule bp --rule dfa``."""
        lists = [flag for p in self.params if isinstance(p, TyperOption) and p.multiple for flag in p.opts]
        return super().parse_args(ctx, repeat_flags(args, lists))


def repeat_flags(args: Sequence[str], lists: Sequence[str]) -> list[str]:
    """Write ``--rule bp dfa`` as ``--rule bp --rule dfa``.

    Args:
        args: words of a command line.
        lists: flags that take several values.

    >>> repeat_flags(["--rule", "bp", "dfa", "--seeds", "3"], ["--rule"])
    ['--rule', 'bp', '--rule', 'dfa', '--seeds', '3']
    """
    words: list[str] = []
    flag, values = "", 0
    for word in args:
        if word.startswith("-"):
            name, equals, _ = word.partition("=")
            flag, values = (name if name in lists else ""), len(equals)
        elif flag:
            if values:
                words.append(flag)
            values += 1
        words.append(word)
    return words
