"""What is shown obeys nobody but whoever shows it: names from files pass one function on their way out."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import unicodedata
from dataclasses import replace
from pathlib import Path

import pytest
import tiny_bundle as tiny
from tiny_bundle import STATIC, resigned

from idsnn_deploy.cli import main
from idsnn_deploy.commands import say
from idsnn_deploy.printable import each_text, printable

ROOT = Path(__file__).parents[1]
# Clears the screen, sets the title, a control sequence of one byte, turns the line round, half a character, markup.
NASTY = "a\x1b[2J\x1b]0;t\x07\x9b31m\u202e\u2066\ud800[/x][red]$\\frac$<b>"


def test_only_what_is_printed_as_itself_stays_itself() -> None:
    for code in range(0x11000):
        char = chr(code)
        shown = printable(char)
        if unicodedata.category(char)[0] in "CZ" and unicodedata.category(char) != "Zs":
            assert shown.isascii()
            assert shown.isprintable()
            assert shown.encode().decode("unicode_escape") == char
        else:
            assert shown == char
    assert printable("a\nb") == "a\\nb"
    assert printable("a\n\tb", lines=True) == "a\n\\tb"


def test_every_text_of_a_value_is_reached() -> None:
    assert each_text({"a\x1b": ["\x9b", 1, None, ({"b": "\r"},)]}) == {"a\\x1b": ["\\x9b", 1, None, [{"b": "\\r"}]]}


def safe(text: str) -> bool:
    return all(char == "\n" or char.isprintable() or unicodedata.category(char) == "Zs" for char in text)


def test_what_is_said_is_safe_and_json_is_ascii(capsys: pytest.CaptureFixture[str]) -> None:
    say(f"{NASTY}\nsecond line")
    text = capsys.readouterr().out
    assert safe(text)
    assert text.endswith("\nsecond line\n")
    say({"name": NASTY, "é": 1})
    shown = capsys.readouterr().out
    assert shown.isascii()
    assert safe(shown)
    assert json.loads(shown) == {"name": NASTY, "é": 1}


@pytest.fixture
def nasty(tmp_path: Path) -> Path:
    """A bundle whose every text is nasty, in a folder that is too."""
    folder = Path(shutil.copytree(STATIC, tmp_path / "b\x1b[2J\x9b"))
    name = NASTY.replace("\ud800", "")
    conv, lif, fc = tiny.manifest(True).layers
    layers = (replace(conv, sources=(name,)), replace(lif, kind=name), replace(fc, sources=("lif", name)))
    return resigned(
        folder, labels=[name, name + "2", "c"], dataset=name, layers=layers, versions={name: name},
        parity={name: {name: 1}},
    )  # fmt: skip


@pytest.mark.parametrize("flags", [[], ["--json"]])
@pytest.mark.parametrize("command", [["info", "--layers"], ["run"], ["run", "--steps", "--top", "3"], ["check"]])
def test_the_commands_of_the_device_show_names_safely(
    command: list[str], flags: list[str], nasty: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from PIL import Image

    image = nasty.parent / "i\x1b[2J\u202e.png"
    Image.new("L", (5, 6)).save(image)
    images = [str(image)] if command[0] == "run" else []
    assert main([command[0], str(nasty), *images, *command[1:], *flags]) == 0
    out, err = capsys.readouterr()
    assert safe(out)
    assert safe(err)
    assert "b\\x1b[2J" in out or "\\u001b" in out or command[0] == "check" or not flags


def test_an_error_shows_names_safely(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", str(tmp_path / "x\x1b[2J\u202e\udc80\n")]) == 2
    assert safe(capsys.readouterr().err)


def test_a_terminal_that_is_not_unicode_shows_the_rest() -> None:
    script = "from idsnn_deploy.commands import *\nrun_command('p', lambda: say('caf\\xe9 \\u732b') or 0)"
    done = subprocess.run(
        [sys.executable, "-c", script],
        check=False,
        capture_output=True,
        env={"PYTHONPATH": str(ROOT / "deploy"), "PYTHONIOENCODING": "ascii"},
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, rb"caf\xe9 \u732b" + b"\n", b"")


# Whatever else prints has no text from outside in it, or is a child that its parent reads.
PRINTS = {
    "deploy/idsnn_deploy/commands.py": 5,
    "deploy/idsnn_deploy/command_line.py": 1,
    "deploy/idsnn_deploy/bench.py": 2,
}
CONSOLES = {"idsnn/display.py": 2, "evaluation/idsnn_evaluation/show/terminal.py": 1}


def test_text_goes_out_by_one_door() -> None:
    for pattern, doors in ((r"(?<![.\w])print\(", PRINTS), (r"\bConsole\(", CONSOLES)):
        found = {
            str(file.relative_to(ROOT)): len(
                re.findall(pattern, re.sub(r"`[^`]*`|^ *(?:>>>|\.\.\.).*$", "", file.read_text(), flags=re.M))
            )
            for package in ("idsnn", "export", "deploy", "evaluation")
            for file in (ROOT / package).rglob("*.py")
        }
        assert {name: count for name, count in found.items() if count} == doors
    for name in CONSOLES:
        source = (ROOT / name).read_text()
        assert source.count("markup=False, emoji=False") == source.count("Console(")
