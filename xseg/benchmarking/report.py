"""The benchmark's tables: on the screen, as JSON, as Markdown."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from xseg.benchmarking.sections import Section


def report_of(section: Section, ceiling: dict[str, float]) -> dict:
    """Rows of plain values: milliseconds, ratio to the first of the group, GFLOP, share of the ceiling in percent."""
    rows, first = [], {}
    for c in section.candidates:
        low, median, high = (1e3 * float(v) for v in np.percentile(c.seconds, (25, 50, 75)))
        base = first.setdefault(c.group, median)
        share = c.gflop and 100 * c.gflop / (median / 1e3) / ceiling[c.dtype]
        row = {
            "group": c.group,
            "name": c.name,
            "ms": median,
            "quartiles_ms": [low, high],
            "ratio": median / base,
            "per_s": 1e3 * c.items / median,
            "rounds": len(c.seconds),
        }
        rows.append({**row, "gflop": c.gflop, "ceiling_percent": share, "dtype": c.dtype, "peak_mib": c.peak_mib})
    return {"rows": rows, "checks": section.checks, "left_out": section.left_out}


COLUMNS = ("what", "median ms", "quartiles ms", "x first", "per s", "GFLOP", "% of ceiling", "peak MiB")


def cells(row: dict) -> list[str]:
    low, high = row["quartiles_ms"]
    optional = [(row["gflop"], ".1f"), (row["ceiling_percent"], ".0f"), (row["peak_mib"], ".0f")]
    given = ["" if value is None else format(value, form) for value, form in optional]
    return [
        row["name"],
        f"{row['ms']:.1f}",
        f"{low:.1f}-{high:.1f}",
        f"{row['ratio']:.2f}",
        f"{row['per_s']:.4g}",
        *given,
    ]


def headline(report: dict) -> str:
    m, s = report["machine"], report["scale"]
    ceiling = ", ".join(f"{value:.0f} GFLOP/s {name}" for name, value in m["matmul_gflops"].items())
    return (
        f"{m['device']}, {m['threads']} threads, torch {m['torch']}, {m['date']}; matmul ceiling {ceiling}; "
        f"{s['size']} px, {s['rounds']} rounds"
    )


def write_report(report: dict, out: Path) -> None:
    """benchmark.json, and benchmark.md with a table a section."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "benchmark.json").write_text(json.dumps(report, indent=1))
    lines = ["# xseg benchmark", "", headline(report)]
    for name, section in report["sections"].items():
        lines += ["", f"## {name}", "", _line(COLUMNS), _line(["---"] * len(COLUMNS))]
        lines += [_line(cells(row)) for row in section["rows"]]
        lines += ["", *(f"- {note}" for note in notes(section))]
    (out / "benchmark.md").write_text("\n".join(lines) + "\n")


def _line(values: Sequence[str]) -> str:
    return f"| {' | '.join(values)} |"


def notes(section: dict) -> list[str]:
    return section["checks"] + [f"left out: {name}" for name in section["left_out"]]


def print_report(report: dict) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(width=None if sys.stdout.isatty() else 140, highlight=False)
    console.print(headline(report))
    for name, section in report["sections"].items():
        table = Table(COLUMNS[0], title=name, title_justify="left")
        for column in COLUMNS[1:]:
            table.add_column(column, justify="right")
        previous = None
        for row in section["rows"]:
            if previous not in (None, row["group"]):
                table.add_section()
            table.add_row(*cells(row))
            previous = row["group"]
        console.print(table)
        for note in notes(section):
            console.print(note)
