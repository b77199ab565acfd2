"""The workflow files, which only a forge can run: that they read, that every command in them exists
here, and that what they take from others is fixed by its hash."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from diffdescent.base.version import __version__
from tests.paths import ROOT

FILES = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
EVENTS = {"push", "pull_request", "schedule", "workflow_dispatch"}
OURS = {"python", "make", "sed", "test", "tar", "gh"}
"""Programs that a runner has."""


def workflow(path: Path) -> dict[str, Any]:
    read = yaml.safe_load(path.read_text(encoding="utf-8"))
    return {("on" if key is True else key): value for key, value in read.items()}


def steps(path: Path) -> Iterator[dict[str, Any]]:
    for job in workflow(path)["jobs"].values():
        yield from job["steps"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_workflow_has_the_shape_of_one(path: Path) -> None:
    found = workflow(path)
    assert set(found) == {"name", "on", "permissions", "jobs"}
    assert set(found["on"]) <= EVENTS
    for job in found["jobs"].values():
        assert job["runs-on"] == "ubuntu-latest"
        assert all(("run" in step) != ("uses" in step) for step in job["steps"])


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_actions_are_fixed_by_their_hash(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    taken = re.findall(r"uses: (\S+)(.*)", text)
    assert len(taken) == sum("uses" in step for step in steps(path)) > 0
    for action, note in taken:
        assert re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40}", action)
        assert re.fullmatch(r"  # v\d+\.\d+\.\d+", note), "which version the hash is"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_commands_exist(path: Path) -> None:
    """In bash's own reading, and each program, make target and file of ours is there."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    for step in steps(path):
        if "run" not in step:
            continue
        command = re.sub(r"\$\{\{.*?\}\}", "x", step["run"])
        subprocess.run([shutil.which("bash") or "bash", "-n", "-c", command], check=True)
        for one in re.split(r"&&|\n", command.strip()):
            words = shlex.split(one)
            if words[0].startswith("."):
                assert (ROOT / words[0]).stat().st_mode & 0o100
            elif words[0] == "make":
                assert set(words[1:]) <= targets
            else:
                assert words[0] in OURS


def test_pythons_are_those_of_the_package() -> None:
    """What is promised is what is tested."""
    found = workflow(ROOT / ".github" / "workflows" / "ci.yml")["jobs"]
    tested = set(found["versions"]["strategy"]["matrix"]["python"])
    tested |= {step["with"]["python-version"] for step in found["all"]["steps"] if "with" in step}
    promised = re.findall(
        r"Programming Language :: Python :: (3\.\d+)", (ROOT / "pyproject.toml").read_text("utf-8")
    )
    assert set(promised) == tested


@pytest.mark.parametrize(("tag", "right"), [(f"v{__version__}", True), ("v0.0.0.1", False)])
def test_a_release_has_the_tag_of_its_version(tag: str, right: bool) -> None:
    [check] = [s["run"] for s in steps(ROOT / ".github/workflows/release.yml") if "name" in s]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", check],
        cwd=ROOT,
        env={**os.environ, "PATH": path, "GITHUB_REF_NAME": tag},
        check=False,
    )
    assert (done.returncode == 0) == right
