"""The documents: commands as .ci/run takes them, examples that run, tables that parse, names and links that exist."""

from __future__ import annotations

import importlib.util
import itertools
import os
import pkgutil
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer

import neurofa
from experiments.cli import application
from hwmodels.registry import build, find, kinds, options, parts
from hwmodels.spec import parse
from tests.house.structure import PACKAGES

ROOT = Path(__file__).parents[2]
DOCUMENTS = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/glossary.md"]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(document: str, language: str) -> list[str]:
    text = (ROOT / document).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


# commands of the checks


def test_the_first_two_commands_set_up_and_train_then_set_up_and_test():
    train, test = blocks("README.md", "bash")[:2]
    assert train.strip().count("\n") == test.strip().count("\n") == 0
    assert train.startswith("python3 -m venv .venv && ")
    assert train.endswith(" && .venv/bin/neurofa train\n")
    assert test.startswith("python3 -m venv .venv && ")
    assert test.endswith(" && .venv/bin/pytest -n auto\n")


@pytest.mark.parametrize("number", [1, 2])
def test_the_checks_run_the_commands_as_they_stand(number):
    # the function of .ci/run alone, not the whole file, which would set up environments
    function = re.search(r"^readme\(\) \{.*\}$", (ROOT / ".ci" / "run").read_text(), flags=re.MULTILINE)
    assert function is not None
    answer = subprocess.run(
        ["bash", "-c", f"{function[0]}\nreadme {number}"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert answer.stdout == blocks("README.md", "bash")[number - 1]


# examples


def printed(script: str, folder: Path) -> str:
    """What a script prints that runs in a process of its own, with warnings as errors."""
    home = os.pathsep.join([str(Path(neurofa.__path__[0]).parent), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": home.rstrip(os.pathsep)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_model_a_loader_and_a_table_of_ones_own_are_twenty_lines(tmp_path):
    (script,) = [block for block in blocks("README.md", "python") if "DataLoader(" in block]
    assert sum(bool(line.strip()) for line in script.splitlines()) <= 20
    if importlib.util.find_spec("pandas") is None:  # the same rows, without the table
        script = script.replace("from pandas import DataFrame\n", "")
        script = script[: script.index("results = ")]
    show = "print(*[max(row['validation_accuracy'] for row in rows if row['rule'] == rule) for rule in ('dfa', 'bp')])"
    table = "print(results.shape)\n" if "DataFrame" in script else ""
    answer = printed(f"import torch\ntorch.set_num_threads(1)\n{script}\n{show}\n{table}", tmp_path).splitlines()
    # ten classes; the loader shuffles differently every time
    assert min(map(float, answer[0].split())) > 0.85
    assert [line.endswith(", 3)") for line in answer[1:]] == [True] * bool(table)


def test_the_readmes_examples_learn(tmp_path):
    example, _, coarse, spikes, own = blocks("README.md", "python")
    script = "\n".join(
        [
            "import torch",
            "torch.set_num_threads(1)",
            example,
            "accuracy_of_mlp = accuracy",
            coarse,
            "assert repr(rule) == 'dfa(feedback=sparse(density=0.2), error=sign)'",
            spikes,
            own,
            "x = torch.randn(3, 1, 8, 8)",
            "assert torch.equal(taken(x), again(x))",
            "assert '10,200 of 13,960 weights' in repr(taken)",
            "print(accuracy_of_mlp, float(coarse_loss), float(loss), float(own_loss))",
        ]
    )
    accuracy, coarse_loss, spiking_loss, own_loss = map(float, printed(script, tmp_path).split())
    assert accuracy > 0.9
    assert coarse_loss < 5
    assert spiking_loss < 1.5  # ten classes by chance: 2.3
    assert own_loss < 1.0


# the command line


def command_lines() -> list[str]:
    """Every ``neurofa`` command of the console blocks, without comments."""
    found = []
    for document in DOCUMENTS:
        for block in blocks(document, "console"):
            for line in re.findall(r"^\$ (.*)$", block, flags=re.MULTILINE):
                words = shlex.split(line, comments=True)
                starts = [0, *[i + 1 for i, word in enumerate(words) if word == "&&"], len(words) + 1]
                pieces = [words[a : b - 1] for a, b in itertools.pairwise(starts)]
                found += [shlex.join(piece) for piece in pieces if piece[0] == "neurofa"]
    return found


def parsed(line: str) -> dict[str, object]:
    """Arguments and options of a command by name, as its parser reads them; nothing is run."""
    command, words = typer.main.get_command(application()), shlex.split(line)[1:]
    while hasattr(command, "commands"):
        name, *words = words
        assert name in command.commands, f"No such command '{name}'"
        command = command.commands[name]
    return dict(command.make_context(name, words).params)


def check_part(kind: str, text: str) -> None:
    """Refuse a spec of an unknown part or option."""
    spec = parse(text)
    part = find(kind, spec.name)
    if kind in ("data", "network"):
        assert set(spec.options) <= set(options(part)), text
    else:
        build(kind, text)


def test_there_are_commands_to_check():
    assert len(command_lines()) > 25


@pytest.mark.sample(7)
@pytest.mark.parametrize("line", command_lines())
def test_a_command_line_is_parsed_and_its_parts_exist(line):
    for key, value in parsed(line).items():
        if key in set(kinds()) - {"format"} and value is not None:  # the format of an export is that of a file
            for text in value if isinstance(value, list | tuple) else [value]:
                check_part(key, str(text))


@pytest.mark.sample(2)
@pytest.mark.parametrize(
    "line", ["neurofa bench step", "neurofa train --rle dfa", "neurofa train --epochs many", "neurofa verify"]
)
def test_a_wrong_command_line_is_noticed(line):
    with pytest.raises(Exception, match=r"No such|Missing|valid integer"):
        parsed(line)


def test_commands_in_the_text_exist():
    known = typer.main.get_command(application()).commands
    for document in [name for name in DOCUMENTS if name != "CHANGELOG.md"]:  # which names old ones
        text = (ROOT / document).read_text(encoding="utf-8")
        for words in re.findall(r"`neurofa ([^`]+)`", text):
            assert words.split()[0] in known, f"{document} says `neurofa {words}`"


# tables


def tables(text: str) -> list[list[list[str]]]:
    """Cells of every table by row, the line below the heading included."""
    found: list[list[list[str]]] = []
    inside = False
    for line in re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL).splitlines():
        if line.startswith("|"):
            cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
            found = [*found[:-1], [*found[-1], cells]] if inside else [*found, [cells]]
        inside = line.startswith("|")
    return found


def faults(text: str) -> list[str]:
    """What keeps tables from being shown as tables."""
    found = []
    for rows in tables(text):
        head = " | ".join(rows[0])
        if len(rows) < 3 or not all(re.fullmatch(r":?-{3,}:?", cell) for cell in rows[1]):
            found.append(f"no heading above: {head}")
        found += [f"{len(row)} cells for {len(rows[0])}: {row[0]}" for row in rows if len(row) != len(rows[0])]
    return found


@pytest.mark.parametrize("document", DOCUMENTS)
def test_tables_are_shown_as_tables(document):
    assert faults((ROOT / document).read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "text",
    ["| a | b |\n|---|---|\n| 1 | 2 |\n\n| 3 | 4 |\n", "| a | b |\n|---|---|\n| 1 | 2 | 3 |\n", "| a |\n| 1 |\n"],
)
def test_a_broken_table_is_noticed(text):
    assert faults(text)


def named(first: str, heading: str = "kind") -> set[str]:
    """Names in code in the rows of the README's table whose first cell begins so."""
    (table,) = [rows for rows in tables(README) if rows[0][0] == heading]
    rows = [row for row in table if row[0].startswith(first)]
    assert rows, first
    return {name for row in rows for name in re.findall(r"`(\w+)[(`]", row[1])}


WORDS = {"device", "nn"}


@pytest.mark.parametrize(
    ("first", "kind"),
    [
        ("rules", "rule"),
        ("networks", "network"),
        ("number formats", "format"),
        ("peripheries", "periphery"),
        ("chip profiles", "profile"),
        ("feedback", "feedback"),
        ("neurons", "neuron"),
        ("layers", "layer"),
        ("normalisations", "norm"),
        ("activations", "activation"),
        ("losses", "loss"),
        ("surrogate", "surrogate"),
        ("encoders", "encoder"),
    ],
)
def test_the_table_of_parts_is_complete(first, kind):
    assert named(first) - WORDS == set(parts(kind))


def test_the_table_of_parts_names_all_data_and_known_devices():
    assert named("static data") | named("data of your own") | named("text") | named("sequences") == set(parts("data"))
    assert named("devices") - WORDS <= set(parts("device"))


def test_the_table_of_experiments_is_complete():
    (table,) = [rows for rows in tables(README) if rows[0][0] == "experiment"]
    assert {name for row in table[2:] for name in re.findall(r"`(\w+)`", row[0])} == set(parts("experiment"))


def test_the_layout_names_every_room():
    (table,) = [rows for rows in tables(README) if rows[0][0] == "room"]
    shown = {name for row in table[2:] for name in re.findall(r"`([\w.]+)`", row[0])}
    folders = {f"{p.__name__}.{m.name}" for p in PACKAGES for m in pkgutil.iter_modules(p.__path__) if m.ispkg}
    assert shown == folders | {package.__name__ for package in PACKAGES}


def test_the_glossary_points_at_what_is_there():
    text = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    places = [row[2] for rows in tables(text) if rows[0][-1].startswith("not to be") for row in rows[2:]]
    names = [name for place in places for name in re.findall(r"`((?:\w+\.)+\w+)`", place)]
    assert len(names) > 60
    for name in names:
        assert name == "pyproject.toml" or pkgutil.resolve_name(name) is not None


# links and pins


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_to_files(document):
    place = ROOT / document
    for target in re.findall(r"\]\(([^)#]+)\)", place.read_text(encoding="utf-8")):
        if not target.startswith("http"):
            assert (place.parent / target).exists(), f"{document} links to {target}"


def test_every_tool_and_library_that_is_always_installed_is_pinned():
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    section = text[text.index("\ndependencies = [") : text.index("\nspikes = ")]
    wanted = set(re.findall(r'"([A-Za-z0-9-]+)[><=]', section))
    constraints = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    pinned = set(re.findall(r"^([A-Za-z0-9_.-]+)==[0-9][0-9.a-z]*$", constraints, re.MULTILINE))
    assert {"torch", "pytest", "mypy"} <= wanted
    assert wanted <= pinned
