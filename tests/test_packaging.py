"""What is installed, what imports what, and what the packages promise."""

from __future__ import annotations

import ast
import gc
import importlib
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import file_table
import pytest
import tomllib

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = {"idsnn", "idsnn_export", "idsnn_deploy", "idsnn_evaluation"}
COMMANDS = {
    "idsnn-train": "idsnn.cli",
    "idsnn-export": "idsnn_export.cli",
    "idsnn-deploy": "idsnn_deploy.cli",
    "idsnn-evaluate": "idsnn_evaluation.cli",
}
HEAVY = {"torch", "snntorch", "lightning", "onnx", "nir", "onnxruntime", "matplotlib"}


def loaded_after(code: str) -> set[str]:
    """Top-level modules in a fresh interpreter after running `code`."""
    script = f"{code}\nimport sys\nprint(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


@pytest.mark.slow
def test_wheel_and_sdist_hold_the_four_packages(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(tmp_path), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == PACKAGES
    assert {f"{package}/py.typed" for package in PACKAGES} <= set(names)
    (sdist,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        held = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
    assert {"idsnn/__init__.py", "deploy/idsnn_deploy/__init__.py", "LICENSE", "README.md"} <= held


def test_the_device_runtime_imports_neither_torch_nor_the_other_packages() -> None:
    loaded = loaded_after("import idsnn_deploy; idsnn_deploy.Session")
    assert not loaded & {"torch", "onnx", "nir", "idsnn", "idsnn_export", "idsnn_evaluation"}


def test_reading_interpreting_and_compiling_nir_imports_no_torch() -> None:
    loaded = loaded_after("import idsnn_export as e; e.read_nir, e.interpret, e.to_onnx")
    assert {"idsnn_export", "nir", "onnx"} <= loaded
    assert "torch" not in loaded


def test_the_evaluator_imports_neither_torch_nor_idsnn() -> None:
    loaded = loaded_after("import idsnn_evaluation; idsnn_evaluation.evaluate")
    assert not loaded & {"torch", "onnx", "nir", "idsnn", "idsnn_export"}


@pytest.mark.parametrize("module", COMMANDS.values(), ids=COMMANDS)
def test_a_command_s_parser_loads_nothing_heavy(module: str) -> None:
    assert not loaded_after(f"import {module}") & HEAVY


@pytest.mark.parametrize("module", COMMANDS.values(), ids=COMMANDS)
def test_help_is_shown_without_a_single_package(module: str) -> None:
    """Processor time is mostly modules: 0.15 s are some 160 of the standard library (benchmarks/startup.py)."""
    script = f"import {module}, contextlib\nwith contextlib.suppress(SystemExit): {module}.main(['--help'])"
    names = subprocess.run(
        [sys.executable, "-I", "-c", f"import sys; sys.path[:] = {sys.path}\n{script}\nprint(*sys.modules)"],
        capture_output=True, text=True, check=True,
    ).stdout.splitlines()[-1].split()  # fmt: skip
    ours = PACKAGES | sys.stdlib_module_names | {"__main__"}
    assert {name.partition(".")[0] for name in names} - ours <= {"_distutils_hack", "sitecustomize"}
    assert len(names) < 200


def examples(text: str) -> list[str]:
    return [line for line in text.partition("examples:\n")[2].splitlines() if line.startswith("  idsnn-")]


@pytest.mark.parametrize("command", ["run", "bench", "check", "info"])
def test_help_of_each_of_deploy_s_commands_has_examples_that_parse(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    from idsnn_deploy.cli import _parser

    with pytest.raises(SystemExit):
        _parser().parse_args([command, "--help"])
    lines = examples(capsys.readouterr().out)
    assert len(lines) == 3
    for line in lines:
        assert _parser().parse_args(line.partition("#")[0].split()[1:]).bundle == "BUNDLE"


@pytest.mark.parametrize("module", COMMANDS.values(), ids=COMMANDS)
def test_help_has_groups_three_examples_and_a_line_for_every_flag(
    module: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        importlib.import_module(module).main(["--help"])
    text = capsys.readouterr().out
    assert len(examples(text)) >= 3
    if module == "idsnn.cli":
        headings = ("\ndata:\n", "\nnetwork:\n", "\nmethod:\n", "\nschedule:\n", "\nrun:\n")
        assert [text.index(heading) for heading in headings] == sorted(text.index(heading) for heading in headings)


@pytest.mark.parametrize("module", COMMANDS.values(), ids=COMMANDS)
def test_every_command_says_its_versions(module: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        importlib.import_module(module).main(["--version"])
    assert stopped.value.code == 0
    said = capsys.readouterr().out
    assert said.startswith("idsnn 0.1.0, python 3.")
    assert "torch 2." in said


WITHOUT = """
import sys
class Gone:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {gone!r}: raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Gone())
"""


@pytest.mark.parametrize(
    ("gone", "name", "says"),
    [
        ("torch", "idsnn.LIF", "idsnn.LIF needs torch: pip install 'idsnn[train]'"),
        ("torch", "idsnn_export.to_nir", "idsnn_export.to_nir needs torch: pip install 'idsnn[train]'"),
        ("onnx", "idsnn_export.to_onnx", "idsnn_export.to_onnx needs onnx: pip install 'idsnn[export]'"),
        (
            "rich",
            "idsnn_evaluation.render_html",
            "idsnn_evaluation.render_html needs rich: pip install 'idsnn[evaluation]'",
        ),
    ],
)
def test_a_name_whose_packages_are_not_installed_names_the_extra(gone: str, name: str, says: str) -> None:
    package = name.partition(".")[0]
    script = WITHOUT.format(gone={gone}) + f"import {package}\n{name}"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1] == f"idsnn_deploy.errors.MissingExtraError: {says}"


def test_help_of_a_command_whose_extra_is_not_installed_is_shown_and_names_it() -> None:
    script = WITHOUT.format(gone={"torch"}) + (
        "import importlib.util as u\nfind = u.find_spec\nu.find_spec = lambda n: None if n == 'torch' else find(n)\n"
        "import idsnn.cli as c\n"
        "try: c.main(['--help'])\nexcept SystemExit as stopped: print(stopped.code)\nprint(c.main([]))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-2:] == ["0", "2"]
    assert "\nidsnn-train needs torch: pip install 'idsnn[train]'\n" in done.stdout
    assert done.stderr == "idsnn-train: error: idsnn-train needs torch: pip install 'idsnn[train]'\n"


@pytest.mark.parametrize(
    ("module", "arguments"),
    [
        ("idsnn.cli", ["--dataset", "folder", "--data", "gone", "--dry-run"]),
        ("idsnn_export.cli", ["gone.nir"]),
        ("idsnn_evaluation.cli", ["gone"]),
    ],
)
def test_the_first_line_comes_into_a_pipe_before_anything_heavy_is_loaded(module: str, arguments: list[str]) -> None:
    heavy = [*sorted(HEAVY), "numpy", "PIL", "h5py", "rich", "lightning_fabric"]
    script = (
        f"import sys, {module} as c, idsnn_deploy.commands as commands\n"
        f"def said(prog, what): print(prog, what, *(n for n in {heavy} if n in sys.modules), sep='|'); sys.exit()\n"
        f"c.announce = said\nc.main({arguments})"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    (line,) = done.stdout.splitlines()
    prog, what, *loaded = line.split("|")
    assert {module: prog for prog, module in COMMANDS.items()}[module] == prog
    assert "gone" in what or "folder" in what
    assert not loaded


def test_training_begins_before_anything_is_loaded_that_only_its_end_needs() -> None:
    """No module of `idsnn` imports these as it is loaded; a step waits for torch alone (benchmarks/startup.py)."""
    for file in sorted((ROOT / "idsnn").rglob("*.py")):
        for node in ast.parse(file.read_text()).body:
            named = [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            named += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            tops = {name.partition(".")[0] for name in named}
            assert not tops & {"matplotlib", "torchvision", "sklearn", "scipy"}, f"{file}: {ast.unparse(node)}"


def test_modules_are_loaded_without_the_garbage_collector_which_is_then_as_it_was() -> None:
    from idsnn.cli import _uncollected

    def loading(fails: bool) -> None:
        with _uncollected():
            assert not gc.isenabled()
            if fails:
                raise ModuleNotFoundError

    loading(fails=False)
    assert gc.isenabled()
    with pytest.raises(ModuleNotFoundError):
        loading(fails=True)
    assert gc.isenabled()
    gc.disable()
    try:
        loading(fails=False)
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_python_m_idsnn_says_what_there_is() -> None:
    done = subprocess.run([sys.executable, "-m", "idsnn"], capture_output=True, text=True, check=True)
    assert all(f"  {command} " in done.stdout for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_runs_as_installed(command: str) -> None:
    program = Path(sys.executable).parent / command
    helped = subprocess.run([program, "--help"], capture_output=True, text=True, check=False)
    assert helped.returncode == 0
    assert command in helped.stdout
    refused = subprocess.run([program, "--no-such-flag"], capture_output=True, text=True, check=False)
    assert refused.returncode == 2
    assert "Traceback" not in refused.stderr


@pytest.mark.parametrize("package", sorted(PACKAGES))
def test_every_public_name_exists_and_has_a_docstring(package: str) -> None:
    module = importlib.import_module(package)
    assert module.__doc__
    for name in module.__all__:
        assert getattr(module, name).__doc__, f"{package}.{name} has no docstring"


def test_the_package_says_its_version() -> None:
    import idsnn

    assert idsnn.__version__ == tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


def test_the_pins_name_no_address() -> None:
    pins = (ROOT / "constraints.txt").read_text()
    assert "://" not in pins
    assert "idsnn" not in pins


def test_the_file_table_says_of_every_module_what_the_module_says_first() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    assert text == file_table.page(text), "renew it: python tests/file_table.py"
    assert text.count("| `") > 120
