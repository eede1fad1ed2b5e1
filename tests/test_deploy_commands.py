"""What the commands share: one line an error, the exit codes, the progress bar."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable

import pytest

from idsnn_deploy import errors, progress
from idsnn_deploy.commands import require_extra, run_command
from idsnn_deploy.progress import track


def failing(error: BaseException) -> Callable[[], int]:
    def body() -> int:
        raise error

    return body


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (errors.UsageError("a\n b"), 2, "prog: error: a b\n"),
        (errors.ParityError("no"), 1, "prog: error: no\n"),
        (errors.DivergedError("nan"), 1, "prog: error: nan\n"),
        (OSError(28, "No space left on device", "x/y"), 2, "prog: error: x/y: No space left on device\n"),
        (OSError("odd"), 2, "prog: error: system: odd\n"),
        (KeyboardInterrupt(), 130, "\nprog: interrupted\n"),
    ],
)
def test_an_error_is_one_line_and_an_exit_code(
    error: BaseException, code: int, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command("prog", failing(error)) == code
    assert capsys.readouterr() == ("", line)


def test_a_mistake_of_ours_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        run_command("prog", failing(ZeroDivisionError()))
    assert run_command("prog", lambda: 7) == 7


def test_every_error_is_in_the_tree_that_the_docstring_draws() -> None:
    classes = {name for name, value in vars(errors).items() if isinstance(value, type)}
    assert all(issubclass(getattr(errors, name), errors.IdsnnError) for name in classes)
    assert errors.__doc__ is not None
    assert classes <= set(errors.__doc__.split())


def test_a_reader_that_goes_away_ends_the_command_in_silence() -> None:
    script = (
        "import sys\nfrom idsnn_deploy.commands import run_command\n"
        "def body():\n    for i in range(100000): print(i)\n    return 0\n"
        "sys.exit(run_command('prog', body))"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        running.stdout.readline()
        running.stdout.close()
        assert running.stderr.read() == b""
        assert running.wait() == 141


def test_a_missing_extra_says_how_to_install_it() -> None:
    require_extra("idsnn-x", "train", "json", "os")
    with pytest.raises(errors.MissingExtraError, match=r"idsnn-x needs no_such: pip install 'idsnn\[train\]'"):
        require_extra("idsnn-x", "train", "json", "no_such")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_is_drawn_on_a_terminal_after_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(100))
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert list(track([5, 6, 7, 8], "reading")) == [5, 6, 7, 8]
    drawn = sys.stderr.getvalue()  # type: ignore[attr-defined]
    assert "reading [" in drawn
    assert "3/4" in drawn
    assert drawn.endswith("\r\x1b[K")
    assert list(track((i for i in range(3)), "counting")) == [0, 1, 2]


def test_progress_leaves_logs_clean(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(100))
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    assert sum(track(range(5), "adding")) == 10
    assert capsys.readouterr() == ("", "")
