"""Tables of text: one class that Markdown pages and the screen are made from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import rich.table


MOST_ROWS = 40  # classes in a table on the screen


class Table(NamedTuple):
    """Text cells: column titles, one row per class (or variant, or candidate), and rows of totals below."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    totals: Sequence[Sequence[str]] = ()

    def markdown(self, rule: str = "---") -> list[str]:
        """Lines of a Markdown table; totals follow the rows, "|" inside a cell is escaped.

        Args:
            rule: of all columns after the first; "---:" aligns them to the right.
        """
        rules = ["---", *[rule] * (len(self.columns) - 1)]
        head, *body = ([text.replace("|", r"\|") for text in line] for line in (self.columns, *self.rows, *self.totals))
        return [f"| {' | '.join(line)} |" for line in (head, rules, *body)]

    def rich(self, left: Sequence[int] = (0,), **style) -> rich.table.Table:
        """The table for a rich console; cells are shown as they are, without rich's markup.

        Args:
            left: positions of the columns that are aligned to the left; the others are aligned to the right.
            style: arguments of `rich.table.Table`, such as title and box.
        """
        from rich.markup import escape
        from rich.table import Table as RichTable

        table = RichTable(title_justify="left", **style)
        for position, column in enumerate(self.columns):
            table.add_column(escape(column), justify="left" if position in left else "right")
        for row in self.rows:
            table.add_row(*map(escape, row))
        if self.totals:
            table.add_section()
        for row in self.totals:
            table.add_row(*map(escape, row))
        return table


def percent(share: float | None) -> float | None:
    """A share in 0..1 as a percentage with four decimals."""
    return None if share is None else round(100 * share, 4)


def cell(value: float | None) -> str:
    """A percentage of a class as text; None means that the ground truth does not contain the class."""
    return "not in ground truth" if value is None else f"{value:.2f}"


def shown_classes(values: dict[str, float | None]) -> list[str]:
    """The classes that fit into a table: all up to `MOST_ROWS`, otherwise those of the lowest values."""
    if len(values) <= MOST_ROWS:
        return list(values)
    known = {name: value for name, value in values.items() if value is not None}
    return sorted(known, key=known.get)[:MOST_ROWS]
