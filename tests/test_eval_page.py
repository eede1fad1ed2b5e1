"""The report's pages: what they say, and that all can read it: on a phone, in the dark, by ear and by keyboard."""

from __future__ import annotations

import html
import io
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from eval_bundles import tape_bundle, tape_images
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from test_eval_report import NET, K, N

from idsnn_evaluation import evaluate, render_html
from idsnn_evaluation.document import Document
from idsnn_evaluation.show.comparison import comparison, front
from idsnn_evaluation.show.glossary import GLOSSARY, anchor
from idsnn_evaluation.show.page import render_comparison
from idsnn_evaluation.show.page.charts import heat
from idsnn_evaluation.show.page.layers import operations
from idsnn_evaluation.show.page.plots import Point, points
from idsnn_evaluation.show.terminal import show
from idsnn_evaluation.show.words import summary

LABELS = ["<script>alert(1)</script>", 'a "quoted" & long class name', "automobile", "d"]
MEASURED: Any = {
    **{"model": "model.onnx", "batch": 1, "runs": 20, "latency_ms": {"p50": 3.0, "p90": 4.0}, "one_step_ms": 1.5},
    **{"energy_mj": None, "energy_note": "unavailable", "note": "dense"},
    "machine": {"processor": "a processor with a long name", "cores": 2, "threads": None, "system": "Linux"},
    "c": {"runs": 20, "latency_ms": {"p50": 0.75, "p90": 1.0}, "note": "one <thread>"},
}


@pytest.fixture(scope="module")
def body(pages: list[Path]) -> Document:
    found: Document = json.loads((pages[0].parent / "report.json").read_text())
    return found


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A report page and a comparison page, with names that HTML must escape."""
    from dataclasses import replace

    root = tmp_path_factory.mktemp("pages")
    teacher = {"name": "t", "dense_macs": 9}
    folder = tape_bundle(root / "bundle", NET.layers, NET.tables, labels=LABELS, teacher=teacher, test_accuracy=0.75)
    report = replace(evaluate(folder, tape_images(N), NET.labels), measured=MEASURED)
    found = [_varied(report.to_dict(), i) for i in range(7)]
    names = ["<a>", "b", "a run of which somebody wanted to say everything in its name", *"defg"]
    (root / "report.html").write_text(render_html(report))
    (root / "both.html").write_text(render_comparison(comparison(found, names), found))
    (root / "report.json").write_text(json.dumps(report.to_dict()))
    return [root / "report.html", root / "both.html"]


def _varied(report: Document, i: int) -> Document:
    """The same report with a little more of everything, so that points lie close together."""
    found: Document = json.loads(json.dumps(report))
    found["accuracy"]["top1"] *= 1 - 0.01 * (i % 4)
    found["totals"]["firing_rate"] = (found["totals"]["firing_rate"] or 0.0) * (1 + 0.02 * i)
    return found


def test_networks_side_by_side_are_placed_by_their_time_in_c_where_it_was_measured(
    pages: list[Path], body: Document
) -> None:
    page = pages[1].read_text()
    assert "accuracy against Latency in C: " in page
    assert "for 0.75 ms" in page
    without = [json.loads(json.dumps(body)) for _ in range(3)]
    without[0]["measured"]["c"]["latency_ms"] = None  # no compiler
    del without[1]["measured"]["c"]  # not asked for
    without[2]["measured"] = None
    rows = comparison(without, ["a", "b", "c"])
    assert [row["c_latency_ms"] for row in rows] == [None, None, None]
    assert "Latency in C" not in render_comparison(rows, without)
    assert "latency in C" in render_comparison(rows, without)  # in the table of all figures, with a dash


def test_the_page_puts_c_beside_the_model_and_one_step_of_it(pages: list[Path]) -> None:
    said = "Its C takes 0.75 ms (one &lt;thread&gt;), 0.25 times model.onnx&#x27;s and 0.5 times one step&#x27;s."
    assert said in pages[0].read_text()


def test_a_page_asks_the_network_for_nothing_and_runs_no_script(pages: list[Path]) -> None:
    for page in pages:
        markup = page.read_text()
        assert "<script" not in markup
        assert not re.search(r"src=(?!\"data:)|href=(?!\"#)", markup)
        assert not re.search(r"url\(|@import|https?://", markup)
        assert 'name="viewport"' in markup
        prose = re.sub(r"<style>.*?</style>", "", markup, flags=re.DOTALL)
        assert not re.search(r"\S *\n *[^<\s]|\S  +\S", prose)  # its sentences are one line each
        assert "prefers-color-scheme: dark" in markup


def test_a_page_says_what_the_report_holds(pages: list[Path]) -> None:
    markup = pages[0].read_text()
    for words in (
        "three readings",
        "Firing rate by layer and step",
        "Operations by layer",
        "Stopping early",
        "Arm Cortex-A",
    ):
        assert words in markup
    assert markup.count('class="raster"') == K
    assert "&lt;script&gt;" in markup


def test_the_head_says_in_one_breath_what_a_reader_wants_to_know_first(pages: list[Path], body: Document) -> None:
    breath, markup = summary(body), pages[0].read_text()
    rate = body["totals"]["firing_rate"]
    assert rate is not None
    for said in (
        f"{100 * body['accuracy']['top1']:.1f} % of {N} test samples",
        f"{3 * rate:.2f} times per sample (T x firing rate: 3 steps at {100 * rate:.1f} %)",
        "(A)",
        "(B)",
        "an ANN of 2 bits (C)",
        "on this machine a sample takes 3 ms, 2.0 times one step",
    ):
        assert said in breath
    beside = "In torch it scored 75.0 % on the test samples of its training."
    assert re.sub(r"\s", " ", html.unescape(markup)).count(f"{breath} {beside}") == 1
    links = re.findall(r'<a class="card" href="#(term-[^"]+)">', markup)
    assert links == [
        anchor(term) for term in ("accuracy", "T x firing rate", "reading A", "reading B", "reading C", "latency")
    ]


def test_a_narrow_terminal_breaks_a_table_s_lines_and_cuts_no_figure(body: Document) -> None:
    shown = []
    for width in (20, 300):
        console = Console(file=io.StringIO(), width=width, markup=False, emoji=False)
        show(body, console)
        assert console.width == width
        assert isinstance(console.file, io.StringIO)
        text = console.file.getvalue()
        start, end = text.index("Layers, per sample"), text.index("C  2 bits")
        shown.append([line.split() for line in text[start:end].splitlines()])
    assert shown[0] == shown[1]
    assert len(shown[0]) > 10


def test_the_key_of_operations_names_what_there_is(body: Document) -> None:
    events: Document = json.loads(json.dumps(body))
    events["totals"]["stem_macs"] = 0
    assert [operations(each).count("MACs where no spikes arrive") for each in (body, events)] == [1, 0]


def test_the_glossary_explains_every_term_in_page_and_docs_alike(pages: list[Path]) -> None:
    markup = pages[0].read_text().replace("\u00a0", " ")
    docs = (Path(__file__).parents[1] / "docs" / "report.md").read_text()
    assert list(GLOSSARY) == sorted(GLOSSARY, key=str.casefold)
    for term, entry in GLOSSARY.items():
        assert f'<dt id="{anchor(term)}">{html.escape(term)}</dt><dd>{html.escape(entry.meaning)}' in markup
        assert f"| {term} | {entry.meaning} |" in docs
    for words in ("spike", "firing rate", "accumulate", "membrane", "ANN", "stem", "break-even", "reading B", "T x"):
        assert any(words in term for term in GLOSSARY)


class Outline(HTMLParser):
    """What a reader without eyes or mouse has of a page."""

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.headings: list[int] = []
        self.complaints: list[str] = []
        self.open: list[str] = []
        self.feed(markup)
        self.complaints += [f"<{tag}> is never closed" for tag in self.open]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        has = dict(attrs)
        self.ids += [has["id"] or ""] if "id" in has else []
        self.links += [has["href"] or ""] if "href" in has else []
        self.headings += [int(tag[1])] if re.fullmatch(r"h\d", tag) else []
        named = has.get("alt") or has.get("aria-label") or has.get("aria-hidden")
        if (tag == "img" or (tag == "svg" and has.get("role") != "presentation")) and not named:
            self.complaints.append(f"a picture without words: {self.getpos()}")
        if has.get("class") == "scroll" and (has.get("tabindex") != "0" or not has.get("aria-label")):
            self.complaints.append(f"what scrolls is not reached by keyboard: {self.getpos()}")
        if tag == "table" and "div" not in self.open:
            self.complaints.append(f"a table that cannot scroll: {self.getpos()}")
        if tag not in {"meta", "img", "br", "line", "rect", "circle", "polyline", "path"}:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.complaints.append(f"</{tag}> closes nothing: {self.getpos()}")


def test_a_page_is_whole_without_eyes_or_mouse(pages: list[Path]) -> None:
    for page in pages:
        markup = page.read_text()
        found = Outline(markup)
        assert found.complaints == []
        assert len(found.ids) == len(set(found.ids))
        assert {link.removeprefix("#") for link in found.links} <= set(found.ids)
        assert found.headings[0] == 1
        assert all(b <= a + 1 for a, b in zip(found.headings, found.headings[1:], strict=False))
        assert markup.count("<table") >= 1
        assert '<html lang="en">' in markup
    assert 'alt="a sample of the class automobile, as the network gets it"' in pages[0].read_text()


def test_every_figure_has_its_numbers_in_words_or_in_a_table(pages: list[Path], body: Document) -> None:
    markup = html.unescape(pages[0].read_text())
    said = re.findall(r'class="chart"[^>]*aria-label="([^"]+)"', pages[0].read_text())
    assert len(said) == 3 + K  # operations, steps, stopping early, and the evidence of each sample
    for each in body["accuracy"]["by_step"]:
        assert f'<td class="n">{100 * each:.2f}\u00a0%</td>' in markup
    for layer in body["layers"]:
        assert f"<td>{layer['name']}</td>" in markup or f"<th scope=row>{layer['name']}</th>" in markup


def scheme(dark: bool) -> dict[str, tuple[float, float, float]]:
    """The colours of the style sheet by name, in 0..1."""
    style = resources.files("idsnn_evaluation.show.page").joinpath("style.css").read_text()
    blocks = re.findall(r":root \{(.*?)\}", style, re.DOTALL)
    words = dict(re.findall(r"--([\w-]+): ([^;]+);", blocks[0] + (blocks[1] if dark else "")))
    colours = {}
    for name, value in words.items():
        digits = [value[i : i + 2] for i in (1, 3, 5)] if value.startswith("#") else []
        parts = [int(each, 16) for each in digits] or list(map(int, value.split()))
        colours[name] = (parts[0] / 255, parts[1] / 255, parts[2] / 255)
    return colours


def contrast(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    """WCAG 2.2: (L1 + 0.05) / (L2 + 0.05), L = 0.2126 R + 0.7152 G + 0.0722 B of linear components."""
    linear = [[v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in each] for each in (a, b)]
    dark, light = sorted(0.2126 * r + 0.7152 * g + 0.0722 * b for r, g, b in linear)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("dark", [False, True])
def test_text_and_marks_stand_out_from_what_is_behind_them(dark: bool) -> None:
    colours = scheme(dark)
    for behind in ("paper", "card"):
        for text in ("ink", "soft", "spiking", "ann"):
            assert contrast(colours[text], colours[behind]) >= 4.5, (text, behind)
    for mark in ("spiking", "ann", "teacher", "other"):
        assert contrast(colours[mark], colours["card"]) >= 3, mark
        assert contrast(colours[mark], colours["track"]) >= 3, mark
    hot = [0.6 * a + 0.4 * b for a, b in zip(colours["spiking-rgb"], colours["card"], strict=True)]
    assert contrast(tuple(hot), colours["ink"]) >= 4.5


def test_a_hundred_steps_are_shown_in_columns_that_can_be_read() -> None:
    rates = np.random.default_rng(0).random((3, 100))
    markup = heat(["a", "b", "c"], rates.tolist())
    titles = re.findall(r"<th scope=col>([^<]*)</th>", markup)
    assert titles[:3] == ["layer", "1–7", "8–14"]
    assert titles[-2:] == ["99–100", "mean"]
    cells = re.findall(r"<td[^>]*>([\d.]+)</td>", markup)
    assert cells[0] == f"{100 * rates[0, :7].mean():.1f}"
    assert cells[15] == f"{100 * rates[0].mean():.1f}"


@given(st.lists(st.tuples(st.integers(1, 6), st.integers(1, 6)), min_size=1, max_size=12))
def test_the_front_is_what_one_meets_from_the_cheapest_on(places: list[tuple[int, int]]) -> None:
    """From the cheapest on, the best of equally cheap ones first, whoever is better than all before is on it."""
    best, met = 0, set()
    for cost, accuracy in sorted(places, key=lambda each: (each[0], -each[1])):
        if accuracy > best:
            best = accuracy
            met.add((cost, accuracy))
    assert [place in met for place in places] == front([(float(cost), accuracy) for cost, accuracy in places])


def test_points_that_coincide_keep_their_numbers() -> None:
    markup = points([Point(i, 1.0, 0.5, True) for i in range(1, 9)], "x", "says", ["1", "1"])
    at = [
        (float(x), float(y)) for x, y in re.findall(r'<text x="([\d.]+)" y="([\d.]+)" text-anchor="middle">\d', markup)
    ]
    numbered = at[:8]
    assert len({(round(x), round(y)) for x, y in numbered}) == 8
    assert all(abs(a[0] - b[0]) >= 10 or abs(a[1] - b[1]) >= 11 for a in numbered for b in numbered if a != b)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("chromium") is None, reason="no Chromium here; `make browser` installs Debian's")
def test_no_text_leaves_its_box_or_covers_another(pages: list[Path], tmp_path: Path) -> None:
    held = json.dumps({page.stem: page.read_text() for page in pages}).replace("</", "<\\/")
    probe = tmp_path / "probe.html"
    probe.write_text(Path(__file__).with_name("page_probe.html").read_text().replace("PAGES", held))
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--v=0", "--dump-dom"]
    flags += ["--disable-background-networking", f"--user-data-dir={tmp_path / 'profile'}"]
    done = subprocess.run(["chromium", *flags, probe.as_uri()], capture_output=True, text=True, timeout=300, check=True)
    assert "CONSOLE" not in done.stderr  # a page that breaks its own policy complains here
    answer = re.search(r"<body>(\{.*\})\s*</body>", done.stdout, re.DOTALL)
    assert answer is not None
    measured = json.loads(html.unescape(answer[1]))
    assert measured["texts"] > 6 * 300
    assert measured["found"][:9] == []
