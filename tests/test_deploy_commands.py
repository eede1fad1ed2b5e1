"""What the commands share: one line an error, the exit codes, the progress bar."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from idsnn_deploy import errors, progress
from idsnn_deploy.commands import Terminated, announced, require_extra, run_command, uninterrupted
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
        (MemoryError(), 2, "prog: error: there is not enough memory for this; give it less at a time\n"),
        (errors.BundleError("a\x1b]0;b\x9b\u202ec"), 2, "prog: error: a\\x1b]0;b\\x9b\\u202ec\n"),
        (KeyboardInterrupt(), 130, "\nprog: interrupted\n"),
    ],
)
def test_an_error_is_one_line_and_an_exit_code(
    error: BaseException, code: int, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command("prog", failing(error)) == code
    assert capsys.readouterr() == ("", line)


def test_what_nobody_foresaw_is_one_line_and_a_file_with_the_traceback(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert run_command("prog", failing(ZeroDivisionError("in\x1b[2J\nvain"))) == 70
    out, line = capsys.readouterr()
    (file,) = tmp_path.iterdir()
    assert out == ""
    assert line == (
        "prog: error: ZeroDivisionError: in\\x1b[2J; not foreseen, "
        f"please report it with its traceback, which is in {file}\n"
    )
    kept = file.read_text()
    assert kept.startswith("Traceback (most recent call last)")
    assert "raise error" in kept
    assert "\x1b" not in kept
    assert run_command("prog", lambda: 7) == 7


def test_a_traceback_that_cannot_be_kept_is_said(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/nowhere")
    assert run_command("prog", failing(ZeroDivisionError())) == 70
    assert "could not be written (No such file or directory); --debug shows it" in capsys.readouterr().err


@pytest.mark.parametrize("error", [errors.UsageError("a"), ZeroDivisionError("a"), OSError("a"), MemoryError()])
def test_debug_shows_where_an_error_comes_from(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    quiet = run_command("prog", failing(error))
    assert "Traceback" not in capsys.readouterr().err
    assert run_command("prog", failing(error), debug=True) == quiet
    said = capsys.readouterr().err
    assert said.startswith("Traceback")
    assert said.splitlines()[-1].startswith("prog: error: ")


@pytest.mark.parametrize(
    ("module", "extra", "arguments"),
    [
        ("idsnn_deploy.cli", "numpy", ["info", "gone", "--debug"]),
        ("idsnn_export.cli", "onnx", ["gone.nir", "--debug"]),
        ("idsnn_evaluation.cli", "matplotlib", ["gone", "--debug"]),
        ("idsnn.cli", "torch", ["--config", "gone", "--debug"]),
    ],
)
def test_each_command_takes_debug(
    module: str, extra: str, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip(extra)
    main = pytest.importorskip(module).main
    assert main(arguments) == 2
    *before, line = capsys.readouterr().err.splitlines()
    assert "Traceback (most recent call last):" in before
    assert "gone" in line
    assert main(arguments[:-1]) == 2
    assert "Traceback" not in (said := capsys.readouterr().err)
    assert said.count(": error: ") == 1


def test_what_numpy_remarks_is_for_those_who_debug(capsys: pytest.CaptureFixture[str]) -> None:
    def body() -> int:
        return int(np.isinf(np.array([1e308]) * 10).sum())

    assert run_command("prog", body) == 1
    assert capsys.readouterr() == ("", "")
    with pytest.warns(RuntimeWarning, match="overflow"):
        run_command("prog", body, debug=True)


def test_what_takes_long_is_said_once_it_does_and_nothing_of_what_is_quick(capsys: pytest.CaptureFixture[str]) -> None:
    with announced("prog", "loading\x1b", after=60):
        pass
    assert capsys.readouterr() == ("", "")
    with announced("prog", "loading\x1b", after=0.01):
        time.sleep(0.2)
    assert capsys.readouterr() == ("", "prog: loading\\x1b\n")


def test_every_error_is_in_the_tree_that_the_docstring_draws() -> None:
    classes = {name for name, value in vars(errors).items() if isinstance(value, type)}
    assert all(issubclass(getattr(errors, name), errors.IdsnnError) for name in classes)
    assert errors.__doc__ is not None
    assert classes <= set(errors.__doc__.split())


@pytest.mark.parametrize(
    ("cause", "otherwise", "line"),
    [
        (ValueError("\n a\nb"), None, "a"),
        (AssertionError(), None, "AssertionError"),
        (AssertionError(" \n"), "odd", "odd"),
        (RuntimeError("x" * 999), None, "x" * 300),
    ],
)
def test_an_error_of_somebody_else_s_is_one_short_line(cause: Exception, otherwise: str | None, line: str) -> None:
    assert errors.first_line(cause, otherwise) == line


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


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="Linux has a full device")
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_disk_behind_standard_output_is_said(unbuffered: str) -> None:
    script = "import sys\nfrom idsnn_deploy.commands import run_command\n"
    script += "sys.exit(run_command('prog', lambda: print('x' * 100) or 0))"
    environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-c", script], stdout=full, stderr=subprocess.PIPE, text=True, check=False, env=environment
        )
    line = "prog: error: standard output or a temporary file: No space left on device\n"
    assert (done.returncode, done.stderr) == (2, line)


def test_sigterm_ends_a_command_like_ctrl_c(capsys: pytest.CaptureFixture[str]) -> None:
    tidied = []

    def body() -> int:
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            tidied.append(True)
        return 0

    assert run_command("prog", body) == 143
    assert (capsys.readouterr(), tidied) == (("", "\nprog: terminated\n"), [True])
    before = signal.signal(signal.SIGTERM, lambda number, frame: tidied.append(False))  # a caller's own stays
    try:
        assert run_command("prog", body) == 0
    finally:
        signal.signal(signal.SIGTERM, before)
    assert tidied == [True, False, True]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupt_waits_for_the_end_of_what_is_imported_and_a_second_one_does_not(
    number: signal.Signals, code: int
) -> None:
    """As torch is imported it drops one."""
    ours = signal.signal(signal.SIGINT, signal.default_int_handler)  # a suite in the background ignores it
    try:
        _interrupted_once_and_twice(number, code)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        with uninterrupted():
            signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, ours)


def _interrupted_once_and_twice(number: signal.Signals, code: int) -> None:
    for times, reached in ((1, ["in it"]), (2, [])):
        done = []

        def body(times: int = times, done: list[str] = done) -> int:
            with uninterrupted():
                for _ in range(times):
                    signal.raise_signal(number)
                done.append("in it")
            done.append("behind it")
            return 0

        assert (run_command("prog", body), done) == (code, reached)


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
    assert drawn.startswith("\rreading ...")  # before the first item is done
    assert "reading [" in drawn
    assert "3/4" in drawn
    assert drawn.endswith("\r\x1b[K")
    assert "2 s left" in drawn
    assert list(track((i for i in range(3)), "counting")) == [0, 1, 2]


def test_an_error_takes_the_place_of_the_bar_that_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    def body() -> int:
        for _ in track([5, 6], "reading"):
            raise errors.DataError("a file")
        return 0

    monkeypatch.setattr(sys, "stderr", Terminal())
    assert run_command("prog", body) == 2
    assert sys.stderr.getvalue() == "\rreading ...\x1b[K\r\x1b[Kprog: error: a file\n"  # type: ignore[attr-defined]


def test_minutes_are_said_as_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(0, 10000, 100))
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert list(track([5, 6, 7], "reading")) == [5, 6, 7]
    assert "1/3, 3 min 20 s left" in sys.stderr.getvalue()  # type: ignore[attr-defined]


@pytest.mark.parametrize(("error", "word"), [(KeyboardInterrupt(), "interrupted"), (Terminated(), "terminated")])
def test_an_interrupted_command_says_how_to_go_on(
    error: BaseException, word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run_command("prog", failing(error), on_interrupt="the same command starts again")
    assert capsys.readouterr().err == f"\nprog: {word}; the same command starts again\n"


def test_progress_leaves_logs_clean(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(100))
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    assert sum(track(range(5), "adding")) == 10
    assert capsys.readouterr() == ("", "")
