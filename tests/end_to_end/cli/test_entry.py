"""The entrance: help and version without PyTorch, program names, exit codes, unknown commands."""

from __future__ import annotations

import subprocess
import sys

import pytest

from diffdescent.apps.cli.commands import Commands
from diffdescent.apps.cli.lazy import LazyGroup, load
from diffdescent.base.version import __version__
from tests.end_to_end.cli.command import run

HEAVY = ("torch", "numpy", "matplotlib", "PIL", "diffusers", "yaml", "scipy", "polars")


def process(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command], capture_output=True, text=True, timeout=240, check=False
    )


def loaded_by(*arguments: str) -> set[str]:
    """Which of the heavy libraries the command loads, in a process of its own."""
    script = (
        f"import sys\nsys.argv = ['diffdescent', *{arguments!r}]\n"
        "from diffdescent.apps.cli.app import main\n"
        "try:\n    main()\nexcept SystemExit as stop:\n    assert not stop.code, stop.code\n"
        f"print('LOADED', *(m for m in {HEAVY!r} if m in sys.modules))\n"
    )
    done = process("-c", script)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].removeprefix("LOADED").split())


@pytest.mark.parametrize("arguments", [("--help",), ("-h",), ("--version",)])
def test_the_entrance_does_not_load_torch(arguments: tuple[str, ...]) -> None:
    assert not loaded_by(*arguments)


def test_version_and_help() -> None:
    assert run("--version").stdout.strip() == f"diffdescent {__version__}"
    assert run("-h").stdout == run("--help").stdout
    for name in Commands.table:
        assert name in run("--help").stdout


def test_as_a_module_it_has_its_own_name_and_exit_code() -> None:
    done = process("-m", "diffdescent", "--help")
    assert done.returncode == 0
    assert "Usage: python -m diffdescent" in done.stdout
    done = process("-m", "diffdescent", "smaple")
    assert done.returncode == 2
    assert done.stderr.startswith("Error: Unknown command 'smaple'; did you mean 'sample'")
    assert len(done.stderr.splitlines()) == 1


def test_an_unknown_command_is_one_sentence_with_the_nearest_name() -> None:
    error = run("evalute", code=2).stderr
    nearest = "did you mean 'evaluate' or 'calibrate'?"
    assert error.startswith(f"Error: Unknown command 'evalute'; {nearest}")


def all_commands(group: type[LazyGroup], *parents: str) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    for name, entry in group.table.items():
        found.append((*parents, name))
        command = load(name, entry)
        if isinstance(command, LazyGroup):
            found += all_commands(type(command), *parents, name)
    return found


def test_every_command_of_the_tables_loads_and_has_help() -> None:
    commands = all_commands(Commands)
    assert ("sample",) in commands
    for command in commands:
        assert "Usage:" in run(*command, "--help").stdout


def test_what_help_says_without_loading_a_library_is_what_the_library_says() -> None:
    """Commands repeat a few names and defaults, so that --help is quick."""
    from diffdescent.apps.cli.landscape import COUNTS
    from diffdescent.apps.cli.peculiarity.clusters import LEAST
    from diffdescent.apps.cli.peculiarity.minima import BASE
    from diffdescent.apps.cli.peculiarity.study import STEPS, TEACHER
    from diffdescent.apps.cli.theory.ideal import GRID
    from diffdescent.evaluate import METRICS, RESIZES
    from diffdescent.lab import landscape
    from diffdescent.lab.peculiarity import clusters, points
    from diffdescent.lab.theory import ideal
    from diffdescent.lab.theory.sets.by_name import NAMES

    assert COUNTS.split(",") == [str(count) for count in landscape.COUNTS]
    assert clusters.LEAST == LEAST
    assert ",".join(map(str, points.STEPS)) == STEPS
    assert (points.TEACHER, points.BASE) == (TEACHER, BASE)
    assert ideal.GRID == GRID
    for command, names in (
        (("evaluate",), (*METRICS, *RESIZES)),
        (("compare",), RESIZES),
        (("theory", "error"), NAMES),
    ):
        text = run(*command, "--help").stdout
        for name in names:
            assert name in text


@pytest.mark.parametrize("command", all_commands(Commands), ids=" ".join)
def test_help_of_a_command_does_not_load_torch(command: tuple[str, ...]) -> None:
    assert not loaded_by(*command, "--help")
