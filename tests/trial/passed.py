"""What of a trial has passed, noted in a file: a trial that was stopped goes on from there."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from tests.paths import ROOT


class Passed:
    """The cases that passed, by what they did; without a file none is known and none is noted.

    What passed with other sources of the program counts only with ``earlier``.
    """

    def __init__(self, path: Path | None, earlier: bool = False) -> None:
        self.path, self.code, self.earlier = path, code(), 0
        self._known: dict[str, tuple[str, str]] = {}
        if path is not None and path.is_file():
            for line in path.read_text().splitlines():
                key, outcome, code_then = json.loads(line)
                if earlier or code_then == self.code:
                    self._known[key] = outcome, code_then

    def outcome(self, case: object) -> str | None:
        """How a case ended that has passed; None for one that is still to be run."""
        outcome, code_then = self._known.get(_key(case), (None, self.code))
        self.earlier += code_then != self.code
        return outcome

    def note(self, case: object, outcome: str) -> None:
        """A case has passed. One line is appended, in one write."""
        if self.path is not None:
            with open(self.path, "a", encoding="utf-8") as file:
                file.write(json.dumps([_key(case), outcome, self.code]) + "\n")


def code() -> str:
    """A hash of the program's sources."""
    found = hashlib.sha256()
    for path in sorted((ROOT / "src").rglob("*.py")):
        found.update(path.relative_to(ROOT).as_posix().encode() + path.read_bytes())
    return found.hexdigest()[:12]


def _key(case: object) -> str:
    return hashlib.sha256(repr(case).encode()).hexdigest()[:20]
