"""Where commands end: what is no fault of the program is one sentence and an exit code."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated

import pytest
import typer
from rich.table import Table

from diffdescent.apps.cli.boundary import Stopped, boundary, printable
from diffdescent.apps.cli.checked import checked
from diffdescent.apps.cli.terminal import console
from diffdescent.base.errors import UserError
from diffdescent.base.extensions import IMPORTED, extend
from diffdescent.core.limits import In
from tests.end_to_end.train.test_crash import environment


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (UserError("No such thing."), 2, "Error: No such thing."),
        (KeyboardInterrupt(), 130, "Interrupted; give the same command to continue."),
        (Stopped(signal.SIGTERM), 143, "Terminated; give the same command to continue."),
        (
            OSError(errno.ENOSPC, "No space left on device", "/a/b"),
            2,
            "Error: '/a/b': No space left on device; free some space.",
        ),
        (OSError(errno.ENAMETOOLONG, "File name too long", "x" * 300), 2, "give a shorter path."),
        (OSError(errno.EROFS, "Read-only file system", "/a"), 2, "this one is read-only."),
        (MemoryError(), 2, "Error: There is not enough memory for this; lower --batch-size,"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: 1 bytes"), 2, "not enough"),
    ],
)
def test_one_sentence_and_a_code(
    error: BaseException, code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped, boundary():
        raise error
    assert stopped.value.code == code
    shown = capsys.readouterr().err
    assert said in shown
    assert len(shown.splitlines()) == 1
    assert len(shown) < 300


@pytest.mark.parametrize("error", [RuntimeError("boom"), ValueError("boom"), KeyError("boom")])
def test_a_bug_keeps_its_traceback(error: Exception) -> None:
    with pytest.raises(type(error)), boundary():
        raise error


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_a_command_and_the_handlers_are_put_back(
    number: signal.Signals, code: int
) -> None:
    before = [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)]
    cleaned = []

    def work() -> None:
        try:
            os.kill(os.getpid(), number)
            time.sleep(1)
        except Exception:
            cleaned.append("swallowed")
        finally:
            cleaned.append("finally")

    with pytest.raises(SystemExit) as stopped, boundary():
        work()
    assert stopped.value.code == code
    assert cleaned == ["finally"]
    assert [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)] == before


def test_messages_steer_no_terminal() -> None:
    assert printable("a\nb \x1b[31mred\x07 λ") == r"a b \x1b[31mred\x07 λ"


def test_text_from_outside_is_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    shown = console(width=60)
    table = Table(title="[/x] :smile: [red]")
    table.add_column("[/x]")
    table.add_row("[bold]a[/]")
    shown.print("[/x]", table)
    text = capsys.readouterr().out
    assert text.count("[/x]") == 3
    assert ":smile:" in text
    assert "[red]" in text
    assert "[bold]a[/]" in text


def test_numbers_are_finite_and_in_range() -> None:
    def command(
        n: Annotated[int, typer.Option(help="n")] = 1,
        seed: int = 0,
        scale: Annotated[float | None, typer.Option(help="s")] = None,
        share: Annotated[float, typer.Option(help="s"), In(0, 1)] = 0.5,
        k: Annotated[list[int] | None, typer.Option("--k")] = None,
        name: str = "",
    ) -> tuple[object, ...]:
        return n, seed, scale, share, k, name

    run = checked("command", command)
    assert run(n=3, seed=2**64 - 1, scale=1e300, share=1.0, k=[1, 2], name="x")[0] == 3
    assert run(scale=None, k=None) == command()
    for wrong, said in (
        ({"n": 10**11}, r"'--n' of 'command' must be at most 10000000, not 100000000000\."),
        ({"seed": -1}, "must be a whole number from 0 to 18446744073709551615, not -1"),
        ({"seed": 2**64}, "from 0 to 18446744073709551615"),
        ({"scale": float("nan")}, "'--scale' of 'command' must be a finite number, not nan"),
        ({"scale": float("inf")}, "finite"),
        ({"share": 1.5}, r"must lie in \[0, 1\]"),
        ({"k": [1, 10**9]}, "at most"),
    ):
        with pytest.raises(UserError, match=said):
            run(**wrong)


def test_ctrl_c_in_the_first_second(tmp_path: Path) -> None:
    """Wherever it falls, while libraries are imported or a model is loaded: no traceback."""
    script = (
        "import sys; sys.argv = 'diffdescent sample cifar10 --n 64 --out o'.split();"
        "from diffdescent.__main__ import main; print('begun', flush=True); main()"
    )
    for pause in (0.02, 0.5):  # at 0 it may fall on the script above, before main
        process = subprocess.Popen(
            [sys.executable, "-c", script], cwd=tmp_path, env=environment(),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        time.sleep(pause)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
        assert process.returncode == 130, said
        assert said.splitlines()[-1] == "Interrupted; give the same command to continue."
        assert "Traceback" not in said


def test_a_reader_that_goes_away_is_no_error(tmp_path: Path) -> None:
    script = f"{sys.executable} -m diffdescent list | head -1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, env=environment(), capture_output=True, text=True,
        check=True, timeout=120,
    )  # fmt: skip
    assert done.stderr == ""
    assert done.stdout.splitlines()[-1] == "141", "as a program that SIGPIPE ends"


def test_what_a_file_of_the_users_own_raises_keeps_its_traceback(tmp_path: Path) -> None:
    own = tmp_path / "own_file.py"
    own.write_text("def fail():\n    open('/no/such/file')\n")
    extend(str(own))
    try:
        with pytest.raises(FileNotFoundError), boundary():
            sys.modules["own_file"].fail()
    finally:
        IMPORTED.clear()
    with pytest.raises(SystemExit) as stopped, boundary():
        sys.modules["own_file"].fail()
    assert stopped.value.code == 2


def test_the_users_folder_is_known_where_the_shell_leaves_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    seen: list[object] = []

    def command(out: Path = Path("x"), more: list[Path] | None = None) -> None:
        seen.extend([out, more])

    run = checked("one", command)
    run(out=Path("~/a"), more=[Path("~/b"), Path("c~/d")])
    assert seen == [tmp_path / "a", [tmp_path / "b", Path("c~/d")]]
    run(out=Path("~no_such_user/a"))
    assert seen[2] == Path("~no_such_user/a")


def test_a_library_that_is_being_loaded_is_left_at_once(tmp_path: Path) -> None:
    """PyTorch aborts where an exception leaves its initialization, and others swallow it. A file
    that is being written is another matter."""
    (tmp_path / "loading.py").write_text(
        "import os, signal\n"
        "try:\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    for _ in range(1000): pass\n"
        "except BaseException as error:\n"
        "    print(type(error).__name__, flush=True)\n"
        "    raise\n"
    )
    script = (
        "import sys; sys.path.insert(0, '.')\n"
        "from pathlib import Path\n"
        "from diffdescent.apps.cli.boundary import boundary\n"
        "from diffdescent.base.files import write_atomically, replace_file\n"
        "def write(file): import loading\n"
        "with boundary():\n"
        "    if sys.argv[1] == 'read': import loading\n"
        "    replace_file(Path('kept.bin'), write)\n"
    )
    for place, seen in (("read", ""), ("write", "Stopped\n")):
        done = subprocess.run(
            [sys.executable, "-c", script, place], cwd=tmp_path, env=environment(),
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == 130, done.stderr
        assert done.stderr == "Interrupted; give the same command to continue.\n"
        assert done.stdout == seen
    assert {path.name for path in tmp_path.iterdir()} <= {"loading.py", "__pycache__"}


def test_a_removed_working_folder_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(SystemExit, match="2"), boundary():
        raise AssertionError("the command ran")
    assert "has been removed; change to another one" in capsys.readouterr().err


def test_no_columns_at_all_are_no_width(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "0")
    assert console().width == 200


@pytest.mark.parametrize("stderr", ["closed", "full"])
def test_the_exit_code_says_it_where_no_sentence_can(
    monkeypatch: pytest.MonkeyPatch, stderr: str
) -> None:
    with open("/dev/full", "w") as full:
        monkeypatch.setattr(sys, "stderr", full if stderr == "full" else None)
        with pytest.raises(SystemExit, match="2"), boundary():
            raise UserError("No such thing.")
        with contextlib.suppress(OSError):
            full.close()
