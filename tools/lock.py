"""Write requirements-ci.txt: every package that the checks run with, by version and hash.

pip resolves the extra ``dev`` within constraints.txt as on a fresh machine and reports what it
would install; of the report the versions and SHA-256 hashes are kept, and no addresses:

    python tools/lock.py

Whether the installed ones are those: ``pip install --require-hashes -r requirements-ci.txt``.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
HEAD = """\
# What the checks run with: made by `python tools/lock.py` on {platform} with Python {python}.
# A version with "+cpu" comes from PyTorch's index of builds without CUDA.
"""


def resolved(extra: str) -> dict[str, Any]:
    """pip's report of what it would install for an extra of this project."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        subprocess.run(
            [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet",
             "--report", str(report), "--constraint", "constraints.txt", f".[{extra}]"],
            cwd=ROOT, check=True,
        )  # fmt: skip
        found: dict[str, Any] = json.loads(report.read_text(encoding="utf-8"))
        return found


def lines(report: dict[str, Any]) -> list[str]:
    """``name==version --hash=sha256:…`` of each package but the project itself, sorted."""
    found = []
    for entry in report["install"]:
        about, hashes = entry["metadata"], entry["download_info"].get("archive_info", {})
        if "hashes" not in hashes:
            continue  # the project itself, a folder
        sha = hashes["hashes"]["sha256"]
        found.append(f"{about['name'].lower()}=={about['version']} --hash=sha256:{sha}")
    return sorted(found)


def main() -> None:
    """Write the file."""
    given = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    report = json.loads(given.read_text(encoding="utf-8")) if given else resolved("dev")
    where = report["environment"]
    head = HEAD.format(
        platform=f"{where['sys_platform']} {where['platform_machine']}",
        python=where["python_version"],
    )
    text = head + "\n".join(lines(report)) + "\n"
    (ROOT / "requirements-ci.txt").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
