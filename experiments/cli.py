"""The ``neurofa`` command: one line for an error, exit code 2 for wrong input, 130 for Ctrl-C."""

from __future__ import annotations

import importlib
import io
import os
import pkgutil
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any

import typer

import experiments.commands
from hwmodels.errors import NeurofaError
from hwmodels.registry.code import allowed_code, code_named

WRONG_INPUT, STOPPED = 2, 130
ALLOW_CODE = "--allow-code"
"""Word, anywhere on the command line, by which code may be run that a run, a study or an export names."""

# Errors of the command line itself. Their class has moved between versions of typer; this base has not.
_CommandLineError: type[Exception] = typer.BadParameter.__mro__[2]

EPILOG = (
    "Parts are written as specs that read like calls: dfa, 'mlp(hidden=[800, 800], activation=tanh)',"
    " 'fixed(bits=4, rounding=stochastic)'. Quote them. 'neurofa list' shows every part and its options."
    f" Code files are run where their path stands on the command line; with {ALLOW_CODE} also where a stored run, a"
    " study or an export names them."
)


def _version(requested: bool) -> None:
    if requested:
        from neurofa import __version__

        typer.echo(f"neurofa {__version__}")
        raise typer.Exit


def application() -> typer.Typer:
    """Return the application with every command of ``experiments.commands``."""
    app = typer.Typer(
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode="rich",
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
        epilog=EPILOG,
    )

    @app.callback()
    def neurofa(
        version: Annotated[
            bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
        ] = False,
    ) -> None:
        """Learning without backpropagation, on simulated analog hardware.

        Begin with: [bold]neurofa train[/bold]
        """

    for module in pkgutil.iter_modules(experiments.commands.__path__):
        if not module.name.startswith("_"):
            importlib.import_module(f"{experiments.commands.__name__}.{module.name}").register(app)
    return app


def run_command(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code.

    Args:
        arguments: the words after ``neurofa``.
    """
    words = [word for word in arguments if word != ALLOW_CODE]
    try:
        with _warnings_in_one_line(), allowed_code(*_code_on(words), everything=ALLOW_CODE in arguments):
            code = application()(words, standalone_mode=False, prog_name="neurofa")
    except NeurofaError as error:
        return _refuse(str(error))
    except _CommandLineError as error:
        message = error.format_message() if hasattr(error, "format_message") else str(error)
        command = getattr(getattr(error, "ctx", None), "command_path", "neurofa")
        # without a message the help has been shown instead
        return _refuse(f"{message.rstrip('.')} (see: {command} --help)") if message else WRONG_INPUT
    except (KeyboardInterrupt, typer.Abort):
        typer.echo("neurofa: stopped", err=True)
        return STOPPED
    except BrokenPipeError:
        # the reader of stdout (head, less) has closed it: nothing can be written, at exit either
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (MemoryError, RuntimeError) as error:
        if not _out_of_memory(error):
            raise
        reason = str(error).splitlines()[0] if str(error) else "MemoryError"
        return _refuse(f"got sizes that do not fit into memory ({reason}); expected smaller ones; lower them")
    except OSError as error:
        place = f"'{error.filename}'" if error.filename else "a file"
        return _refuse(f"got {place} ({error.strerror or error}); expected a place that can be used; choose another")
    return code if isinstance(code, int) else 0


def _code_on(words: Sequence[str]) -> list[str]:
    """Return the code files whose paths stand in specs on the command line, which may therefore be imported."""
    texts = [text for word in words for text in {word, word.partition("=")[2] if word.startswith("--") else word}]
    return [str(spec.options["path"]) for spec in code_named(texts)]


def _out_of_memory(error: Exception) -> bool:
    """Return whether torch, numpy or Python could not have the memory that a size asks for."""
    signs = ("can't allocate memory", "out of memory", "Storage size calculation overflowed")
    return isinstance(error, MemoryError) or any(sign in str(error) for sign in signs)


@contextmanager
def _warnings_in_one_line() -> Iterator[None]:
    """Print warnings for users as one line on stderr, without the place in the code."""
    with warnings.catch_warnings():
        show = warnings.showwarning

        def show_line(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
            if issubclass(category, UserWarning):
                typer.echo(f"neurofa: warning: {' '.join(str(message).split())}", err=True)
            else:
                show(message, category, *place, **more)

        warnings.showwarning = show_line
        yield


def _refuse(message: str) -> int:
    typer.echo(f"neurofa: {' '.join(message.split())}", err=True)
    return WRONG_INPUT


def main() -> None:
    """Entry point of the ``neurofa`` command."""
    for stream in (sys.stdout, sys.stderr):
        # a character that the terminal or the pipe has no code for (cp1252, LC_ALL=C) is shown as ?
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    sys.exit(run_command(sys.argv[1:]))


if __name__ == "__main__":
    main()
