"""The JSON Schemas in docs/ are what the types say, and they tell a real report from a broken one."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypedDict

import json_schema
import pytest
from eval_bundles import tape_bundle, tape_images
from jsonschema import Draft202012Validator
from test_eval_report import NET, N

from idsnn_deploy.json_types import Positive, WhereThere
from idsnn_evaluation import Report, evaluate
from idsnn_evaluation.cost.measure import measure
from idsnn_evaluation.show.comparison import comparison

ROOT = Path(__file__).resolve().parents[1]
# Tables whose keys are names: of classes, packages and constants, and what the manifest says of a teacher.
OPEN = {"per_class", "versions", "exported_with", "constants", "teacher"}


@pytest.mark.parametrize("file", json_schema.SCHEMAS)
def test_a_schema_is_what_the_types_say(file: str) -> None:
    text = (ROOT / "docs" / file).read_text()
    assert text == json_schema.text(file), "renew it: python tests/json_schema.py"
    Draft202012Validator.check_schema(json.loads(text))


class Inner(TypedDict):
    """What is inside."""

    name: Annotated[str, "what it is called"]
    kind: Literal["a", "b"]


@dataclass(frozen=True)
class Outer:
    """What is outside.

    And more.
    """

    inner: Inner
    sizes: tuple[Positive, ...]
    pair: tuple[int, float]
    table: dict[str, Inner | None]
    any: Any
    number: int | float | None = None
    often: WhereThere[bool] = False


def test_every_annotation_has_its_form() -> None:
    inner = {"$ref": "#/$defs/Inner"}
    size = {"type": "integer", "minimum": 1, "maximum": 2**53}
    assert json_schema.schema(Outer, "test") == {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "test",
        "$ref": "#/$defs/Outer",
        "$defs": {
            "Outer": {
                "type": "object",
                "description": "What is outside.",
                "properties": {
                    "inner": inner,
                    "sizes": {"type": "array", "items": size},
                    "pair": {
                        "type": "array",
                        "prefixItems": [{"type": "integer"}, {"type": "number"}],
                        "minItems": 2,
                        "maxItems": 2,
                    },
                    "table": {"type": "object", "additionalProperties": {"anyOf": [inner, {"type": "null"}]}},
                    "any": {},
                    "number": {"type": ["number", "null"]},
                    "often": {"type": "boolean"},
                },
                "required": ["inner", "sizes", "pair", "table", "any"],
            },
            "Inner": {
                "type": "object",
                "description": "What is inside.",
                "properties": {
                    "name": {"type": "string", "description": "what it is called"},
                    "kind": {"enum": ["a", "b"]},
                },
                "required": ["name", "kind"],
            },
        },
    }


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    teacher = {"name": "ResNet-34", "accuracy": None, "dense_macs": 9}
    folder = tape_bundle(tmp_path_factory.mktemp("tape") / "bundle", NET.layers, NET.tables, teacher=teacher)
    return evaluate(folder, tape_images(N), NET.labels)


@pytest.fixture(scope="module")
def body(report: Report) -> Any:
    measured = {
        "model": "model.onnx",
        "batch": 1,
        "runs": 20,
        "latency_ms": {"p50": 1.5, "p90": 2},
        "energy_mj": None,
        "energy_note": "no counter",
        "note": "dense",
        "machine": {"processor": "x", "cores": None, "threads": 2, "system": "Linux"},
    }
    return {**report.to_dict(), "measured": measured}


def test_every_key_of_a_report_is_in_its_documentation() -> None:
    known = set(re.findall(r"\w+", (ROOT / "docs" / "report.md").read_text()))
    sections = json.loads((ROOT / "docs" / "report.schema.json").read_text())["$defs"].values()
    assert {key for each in sections for key in each["properties"]} <= known


def validator(closed: bool = False) -> Draft202012Validator:
    schema = json.loads((ROOT / "docs" / "report.schema.json").read_text())
    for name, each in schema["$defs"].items():
        if closed and name != "Teacher":
            each["additionalProperties"] = False
    return Draft202012Validator(schema)


def test_a_report_is_valid_and_holds_no_key_that_the_schema_does_not_know(body: Any) -> None:
    rows = comparison([body, body], ["a", "b"])
    for each in (body, {**body, "early_exit": None, "measured": None}):
        validator(closed=True).validate(each)
        validator(closed=True).validate({"format_version": 1, "comparison": rows, "reports": [each]})


def test_what_is_measured_here_is_valid(report: Report, tmp_path: Path) -> None:
    from idsnn_deploy.manifest import read_bundle

    folder = tape_bundle(tmp_path / "bundle", NET.layers, NET.tables)
    validator(closed=True).validate({**report.to_dict(), "measured": measure(read_bundle(folder), threads=1, c=True)})


@pytest.mark.parametrize(
    "file", sorted(ROOT.glob("benchmarks/results/**/report.json")), ids=lambda file: file.parent.name
)
def test_a_report_of_an_earlier_version_is_valid(file: Path) -> None:
    validator().validate(json.loads(file.read_text()))


YOUNGER = {"noise", "enough", "warnings"}  # keys that reports of earlier versions lack


def shortened(body: Any) -> Any:
    """One row of every table, and one layer of every kind."""
    found = copy.deepcopy(body)
    neurons = next(each for each in found["layers"] if each["role"] == "neurons")
    found["layers"] = [found["layers"][0], neurons]
    for table in ("arithmetic", "memory", "platforms"):
        del found["energy"][table][1:]
    del found["early_exit"]["curve"][1:]
    found["energy"]["constants"] = dict([*found["energy"]["constants"].items()][:1])
    return found


def keys(value: Any, name: str = "") -> Iterator[tuple[dict[str, Any], str]]:
    """Every object of a report with each of its keys, but for those of open tables."""
    if isinstance(value, list):
        for each in value:
            yield from keys(each)
    elif isinstance(value, dict):
        for key in value:
            if name not in OPEN:
                yield value, key
            yield from keys(value[key], key)


def test_a_report_without_one_of_its_keys_or_with_another_kind_of_value_is_refused(body: Any) -> None:
    short, check = shortened(body), validator()
    assert check.is_valid(short)
    tried = [*keys(short)]
    for at, key in tried:
        kept = dict(at)
        del at[key]
        assert check.is_valid(short) == (key in YOUNGER), f"without {key}"
        at.update({**kept, key: [[1]]})
        assert not check.is_valid(short), f"with {key} as a list of lists"
        at.update(kept)
    assert len(tried) > 200
    assert check.is_valid(short)


@pytest.mark.parametrize(
    ("section", "change"),
    [
        ("format_version", 2),
        ("accuracy", {"top1": 1.5}),
        ("accuracy", {"samples": 0}),
        ("provenance", {"variant": "fp16"}),
        ("provenance", {"encoding": "rate"}),
        ("early_exit", {"margin": -0.1}),
    ],
)
def test_a_value_out_of_its_range_is_refused(body: Any, section: str, change: Any) -> None:
    changed = {**body[section], **change} if isinstance(change, dict) else change
    assert not validator().is_valid({**body, section: changed})


def test_an_energy_is_least_and_most(body: Any) -> None:
    changed = copy.deepcopy(body)
    changed["energy"]["arithmetic"][0]["pj"] = [1.0]
    assert not validator().is_valid(changed)


BUNDLES = [
    ROOT / "examples" / "digits" / "bundle",
    ROOT / "examples" / "events" / "bundle",
    ROOT / "tests" / "data" / "tiny",
    ROOT / "tests" / "data" / "tiny_frames",
]


@pytest.mark.parametrize("folder", BUNDLES, ids=lambda folder: folder.name)
def test_a_manifest_is_valid_and_without_a_key_that_readers_need_it_is_not(folder: Path) -> None:
    check = Draft202012Validator(json.loads((ROOT / "docs" / "manifest.schema.json").read_text()))
    body = json.loads((folder / "manifest.json").read_text())
    check.validate(body)
    for key in body.keys() - {"encoding", "teacher", "events", "division", "warnings"}:
        assert not check.is_valid({name: value for name, value in body.items() if name != key}), key
    layers = [
        {"kind": 7}, {"weight_shape": [0, 1]}, {"groups": 0}, {"shape": ["a"]}, {"name": ""},
    ]  # fmt: skip
    for change in layers:
        key = next(iter(change))
        broken = [{**layer, **change} if key in layer else layer for layer in body["layers"]]
        if any(key in layer for layer in body["layers"]):
            assert not check.is_valid({**body, "layers": broken}), change
    for change in ({"timesteps": 0}, {"dt": -1}, {"encoding": "video"}, {"test_accuracy": 2}, {"labels": []}):
        assert not check.is_valid({**body, **change}), change
