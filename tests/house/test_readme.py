"""What the documents promise: commands as .ci/run takes them, examples that run, pins, links that lead somewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = ["README.md", "CONTRIBUTING.md"]


def blocks(document: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", (ROOT / document).read_text(), flags=re.MULTILINE | re.DOTALL)


def test_the_first_two_commands_set_up_and_train_then_set_up_and_test():
    train, test = blocks("README.md", "bash")[:2]
    assert train.strip().count("\n") == test.strip().count("\n") == 0
    assert train.startswith("python3 -m venv .venv && ")
    assert train.endswith(" && .venv/bin/neurofa train\n")
    assert test.startswith("python3 -m venv .venv && ")
    assert test.endswith(" && .venv/bin/pytest\n")


@pytest.mark.parametrize("number", [1, 2])
def test_the_checks_run_the_commands_as_they_stand(number):
    # the function of .ci/run alone, not the whole file, which would set up environments
    function = re.search(r"^readme\(\) \{.*\}$", (ROOT / ".ci" / "run").read_text(), flags=re.MULTILINE)
    assert function is not None
    got = subprocess.run(
        ["bash", "-c", f"{function[0]}\nreadme {number}"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert got.stdout == blocks("README.md", "bash")[number - 1]


def run(script: str) -> str:
    """What a script prints in a process of its own, so that the registry of this one stays as it is."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", f"import torch\ntorch.set_num_threads(1)\n{script}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_readmes_example_learns():
    example, spikes = blocks("README.md", "python")
    accuracy, loss = run(f"{example}\n{spikes}\nprint(accuracy, float(loss))").split()
    assert float(accuracy) > 0.9
    assert float(loss) < 1.5  # ten classes by chance: 2.3


def test_the_contributors_rule_registers_and_learns():
    (rule,) = blocks("CONTRIBUTING.md", "python")
    example, _ = blocks("README.md", "python")
    changed = example.replace('"dfa"', '"root_dfa"')
    assert changed != example
    assert float(run(f"{rule}\n{changed}\nprint(accuracy)")) > 0.9


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_to_files(document):
    for target in re.findall(r"\]\(([^)#]+)\)", (ROOT / document).read_text()):
        if not target.startswith("http"):
            assert (ROOT / target).exists(), f"{document} links to {target}"


def test_every_tool_and_library_that_is_always_installed_is_pinned():
    text = (ROOT / "pyproject.toml").read_text()
    section = text[text.index("\ndependencies = [") : text.index("\nspikes = ")]
    wanted = set(re.findall(r'"([A-Za-z0-9-]+)[><=]', section))
    pinned = set(
        re.findall(r"^([A-Za-z0-9_.-]+)==[0-9][0-9.a-z]*$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    )
    assert {"torch", "pytest", "mypy"} <= wanted
    assert wanted <= pinned
