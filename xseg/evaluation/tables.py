"""What a metric tells after an evaluation besides its numbers in the log.

`xseg.evaluate` asks every metric that has them for
    report() -> dict: plain values for metrics.json.
    table() -> Table: what is shown on the screen.
    write(out) -> list of str: pictures and lists, written into the folder `out`; names of the files and folders.
and sets `num_worst`, how many of the worst images are drawn, where a metric has it.
"""

from typing import NamedTuple


class Table(NamedTuple):
    """Text cells: one row a class, and below them the totals."""

    columns: tuple[str, ...]
    rows: list[tuple[str, ...]]
    totals: list[tuple[str, ...]]


def percent(share: float | None) -> float | None:
    """0..1 -> percent with four decimals."""
    return None if share is None else round(100 * share, 4)


def cell(value: float | None) -> str:
    """A percentage in a table; None where there is nothing to say of a class."""
    return "not in ground truth" if value is None else f"{value:.2f}"
