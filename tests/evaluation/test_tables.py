"""One table, as Markdown and on the screen."""

import io

import pytest
from rich.console import Console

from xseg.evaluation import Table


def shown(table, **options):
    console = Console(width=60, record=True, file=io.StringIO())
    console.print(table.rich(**options))
    return console.export_text().splitlines()


def test_markdown():
    table = Table(("class", "IoU %"), [("cat", "50.00")], [("mean", "50.00")])
    assert table.markdown() == ["| class | IoU % |", "| --- | --- |", "| cat | 50.00 |", "| mean | 50.00 |"]
    assert table.markdown("---:")[1] == "| --- | ---: |"


@pytest.mark.parametrize(("rows", "lines"), [([], 2), ([("a|b",)], 3)])
def test_markdown_of_no_row_and_of_a_cell_with_a_bar(rows, lines):
    text = Table(("class",), rows).markdown()
    assert len(text) == lines
    assert text[2:] == [r"| a\|b |"] * len(rows)


def test_the_screen_shows_cells_as_they_are_and_totals_below_a_line():
    lines = shown(Table(("class", "n"), [("[red]car", "5")], [("all", "17")]), title="images")
    assert lines[0].strip() == "images"
    row, line, total = lines[-4:-1]
    assert row.split() == ["│", "[red]car", "│", "5", "│"], "numbers to the right, no markup"
    assert set(line) == set("├─┼┤") and total.split()[1::2] == ["all", "17"]
    assert len(shown(Table(("class", "n"), [("car", "5")]))) == 5, "no line without totals"
