"""Install the built wheel with the extra ``cli`` into an environment of its own, and use it from a
folder that is not the checkout; then the sdist.

    python -m build && python tools/check_package.py dist
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).parents[1]


def run(*words: str | Path, folder: Path) -> str:
    """What a program prints; its failure ends this one."""
    done = subprocess.run(list(map(str, words)), cwd=folder, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, words))}\n{done.stdout}{done.stderr}")
    return done.stdout


def main(dist: Path) -> None:
    (wheel,), (sdist,) = dist.glob("*.whl"), dist.glob("*.tar.gz")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        venv.create(folder / "env", with_pip=True)
        python, program = (folder / "env" / "bin" / n for n in ("python", "diffdescent"))
        pip = (python, "-m", "pip", "install", "--quiet", "--constraint", ROOT / "constraints.txt")
        run(*pip, f"{wheel.resolve()}[cli]", folder=folder)
        version = run(program, "--version", folder=folder).strip()
        if wheel.name.split("-")[1] != version.split()[-1]:
            sys.exit(f"{wheel.name} says that it is {version}.")
        print(run(program, "demo", "--n", "2", "--out", "demo", folder=folder))
        if not (folder / "demo" / "images.png").is_file():
            sys.exit("The demo of the wheel drew nothing.")
        run(*pip, "--no-deps", "--force-reinstall", sdist.resolve(), folder=folder)
        run(program, "sample", "cifar10-mixture", "--n", "1", "--steps", "3", folder=folder)
    print(f"{wheel.name} and {sdist.name}: installed, and used.")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
