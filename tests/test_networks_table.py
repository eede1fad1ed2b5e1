"""docs/networks.md says what is so: its rows are those of the tests, and a sample of them is run again."""

from __future__ import annotations

import re

import pytest
from networks_table import PAGE, Row, outcome, sections

ROWS = [row for rows in sections().values() for row in rows]


def _said() -> dict[str, str]:
    found = {}
    for line in PAGE.read_text().splitlines():
        cells = line.strip("| ").split(" | ", 1)
        if line.startswith("| ") and len(cells) == 2:
            found[cells[0].replace("\\|", "|")] = cells[1]
    return found


def test_the_page_has_every_row_and_no_other() -> None:
    assert {row.construct for row in ROWS} == set(_said()) - {"written"}
    assert len(ROWS) > 140
    assert len({row.construct for row in ROWS}) == len(ROWS)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("row", ROWS[::11], ids=lambda row: row.construct)
def test_a_row_is_as_the_page_says(row: Row) -> None:
    assert outcome(row.subject()) == _said()[row.construct]


@pytest.mark.filterwarnings("ignore")
def test_every_refusal_says_who_where_why_and_what_to_do() -> None:
    said = _said()
    refused = [row for row in ROWS if said[row.construct].startswith("refused: ")]
    assert len(refused) > 80
    for row in refused:
        found = outcome(row.subject())
        assert found == said[row.construct]
        assert re.fullmatch(r"refused: (.+ at )?net\.py:12: .+; .+", found), found
