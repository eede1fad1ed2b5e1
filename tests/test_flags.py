"""Flags made from a dataclass: what is given comes back, typed, and what the field says stands in the help."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idsnn.__main__ import main as overview
from idsnn_deploy.command_line import SYNONYMS, Parser
from idsnn_deploy.flags import about, add_flags, flag, from_flags
from idsnn_evaluation.config import EvaluateConfig
from idsnn_export.config import ExportConfig


@dataclass(frozen=True)
class Every:
    """A field of every kind."""

    first: Path = field(metadata=about("where from", "FROM"))
    others: tuple[Path, ...] = field(metadata=about("where to"))
    name: str = flag("none", "a word")
    steps: int | None = flag(None, "how many (default: 100 % of them)", "N")
    rate: float = flag(0.5, "how fast")
    kind: Literal["a", "b"] | None = flag(None, "which kind")
    on_top: bool = flag(False, "on top")
    parts: tuple[str, ...] = flag(("x", "y"), "which parts", "LIST")
    two: tuple[Path, Path] | None = flag(None, "a pair", ("A", "B"))
    plain: bool = flag(True, "plain")
    deep: int | None = flag(None, "under the heading", group="headed")
    list: tuple[float, ...] = flag((0.5, 2.0), "several", nargs="*")


def parser() -> Parser:
    made = Parser("prog", "What it does.", examples=["prog here there"], notes="A note.")
    made.add_version()
    add_flags(made, Every)
    return made


def read(argv: list[str]) -> Every:
    return from_flags(Every, parser().parse_intermixed_args(argv))


WORDS = st.text("abcXYZ0123456789/._", min_size=1, max_size=8)
PATHS = WORDS.map(Path)


@given(
    st.builds(
        Every,
        first=PATHS,
        others=st.lists(PATHS, min_size=1, max_size=3).map(tuple),
        name=WORDS,
        steps=st.none() | st.integers(0, 10**9),
        rate=st.floats(0, allow_infinity=False),
        kind=st.sampled_from([None, "a", "b"]),
        on_top=st.booleans(),
        parts=st.lists(WORDS, min_size=1, max_size=3).map(tuple),
        two=st.none() | st.tuples(PATHS, PATHS),
        plain=st.booleans(),
        deep=st.none() | st.integers(0, 10**9),
        list=st.lists(st.floats(0, allow_infinity=False), max_size=3).map(tuple),
    )
)
def test_what_is_written_on_the_command_line_is_what_the_dataclass_holds(every: Every) -> None:
    argv = [str(every.first), *map(str, every.others), "--name", every.name, "--rate", repr(every.rate)]
    argv += ["--parts", ",".join(every.parts), *(["--on-top"] * every.on_top)]
    argv += [*([] if every.plain else ["--no-plain"]), "--list", *map(repr, every.list)]
    argv += [] if every.deep is None else ["--deep", str(every.deep)]
    argv += [] if every.steps is None else ["--steps", str(every.steps)]
    argv += [] if every.kind is None else ["--kind", every.kind]
    argv += [] if every.two is None else ["--two", *map(str, every.two)]
    assert read(argv) == every


def test_what_is_left_out_is_the_field_s_default() -> None:
    assert read(["a", "b", "c"]) == Every(Path("a"), (Path("b"), Path("c")))


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ([], "FROM, others"),
        (["a", "b", "--steps", "x"], "--steps: invalid int value: 'x'"),
        (["a", "b", "--kind", "c"], "--kind: invalid choice: 'c'"),
        (["a", "b", "--two", "c"], "--two: expected 2 arguments"),
        (["a", "b", "--on_top"], "unrecognized arguments: --on_top; did you mean --on-top? prog --help says"),
        (["a", "b", "--part", "x"], "did you mean --parts?"),  # never abbreviated
        (["a", "b", "--zzz"], "unrecognized arguments: --zzz; prog --help says what there is"),
        (["a", "b", "--\x1b[2J"], "unrecognized arguments: --\\x1b[2J;"),
    ],
)
def test_what_does_not_fit_the_type_is_refused(argv: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        read(argv)
    assert stopped.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("prog: error: ")
    assert words in line


@pytest.mark.parametrize(
    ("given", "meant"), [("membran", "did you mean membrane? "), ("Sew", "did you mean sew? "), ("x", "")]
)
def test_a_misspelt_choice_is_guessed(given: str, meant: str, capsys: pytest.CaptureFixture[str]) -> None:
    parser = Parser("prog", "")
    parser.add_argument("--residual", choices=("spiking", "sew", "membrane"))
    with pytest.raises(SystemExit):
        parser.parse_args(["--residual", given])
    assert f"'membrane'); {meant}prog --help says what there is\n" in capsys.readouterr().err


def test_help_says_what_the_field_says_and_its_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    lines = [" ".join(line.split()) for line in parser().format_help().splitlines()]
    for line in (
        "FROM where from",
        "others where to",
        "--name NAME a word (default: none)",
        "--steps N how many (default: 100 % of them)",
        "--rate X how fast (default: 0.5)",
        "--kind {a,b} which kind",
        "--on-top on top",
        "--plain, --no-plain plain",
        "headed:",
        "--deep N under the heading",
        "--list [X ...] several (default: 0.5,2.0)",
        "--parts LIST which parts (default: x,y)",
        "--two A B a pair",
    ):
        assert line in lines


@pytest.mark.parametrize(
    ("config", "names"),
    [
        (
            ExportConfig,
            "source out format graphs int8 weights_int8 calibrate batch timesteps dt pool encoding data force",
        ),
        (
            EvaluateConfig,
            "bundle dataset data split limit variant compare early_exit write platform batch_size threads out json "
            "force",
        ),
    ],
)
def test_no_flag_of_a_command_goes_and_every_one_is_explained(config: type, names: str) -> None:
    assert set(names.split()) <= {each.name for each in fields(config)}
    assert all(len(each.metadata["help"]) > 10 for each in fields(config))


@dataclass(frozen=True)
class Known:
    """Flags that other tools call otherwise."""

    lr: float = flag(0.1, "how fast")
    timesteps: int = flag(4, "how long")
    out: str = flag("x", "where to")


@pytest.mark.parametrize(
    ("given", "meant"), [("learning-rate", "lr"), ("learning_rate=3", "lr"), ("steps", "timesteps"), ("output", "out")]
)
def test_a_flag_by_the_name_that_other_tools_give_it_is_understood(
    given: str, meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    made = Parser("prog", "What it does.")
    add_flags(made, Known)
    with pytest.raises(SystemExit):
        made.parse_args([f"--{given}"])
    assert f"did you mean --{meant}?" in capsys.readouterr().err


def test_every_synonym_stands_for_a_flag_that_some_command_has() -> None:
    from idsnn.cli import Flags

    known = {each.name.replace("_", "-") for config in (ExportConfig, EvaluateConfig, Flags) for each in fields(config)}
    known |= {"provider", "top"}  # of idsnn-deploy, which writes its flags by hand
    assert {name for names in SYNONYMS.values() for name in names} <= known


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["train", "--epochs", "3"], "argument train: the command is idsnn-train; python -m idsnn --help says"),
        (["fly"], "argument fly: it runs no command; python -m idsnn --help says what there is"),
    ],
)
def test_the_overview_takes_nothing(
    argv: list[str], said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for allowed in ([], ["--help"], ["--version"]):
        monkeypatch.setattr("sys.argv", ["idsnn", *allowed])
        overview()
        assert "idsnn-deploy " in capsys.readouterr().out
    monkeypatch.setattr("sys.argv", ["idsnn", *argv])
    with pytest.raises(SystemExit, match="2"):
        overview()
    assert said in capsys.readouterr().err
