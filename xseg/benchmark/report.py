"""The benchmark's report: tables on the screen, as JSON and as Markdown, and curves as a PNG."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from xseg.benchmark.sections import Section
from xseg.evaluation.tables import Table


def report_of(section: Section, machine: dict) -> dict:
    """Plain values, one row per candidate.

    `times_first` is the speed over that of the group's first candidate (in curves: the first at the same x);
    `ceiling_percent` is the share of the machine's matmul or copy speed.
    """
    rows, first = [], {}
    for c in section.candidates:
        low, median, high = (float(v) for v in np.percentile(c.seconds, (25, 50, 75)))
        per_s = c.items / median
        share = None
        if c.gflop:
            share = c.gflop / median / machine["matmul_gflops"][c.dtype]
        elif c.gbyte:
            share = c.gbyte / median / machine["copy_gbyte_s"]
        row = {
            "group": c.group,
            "name": c.name,
            "ms": 1e3 * median,
            "quartiles_ms": [1e3 * low, 1e3 * high],
            "per_s": per_s,
            "times_first": per_s / first.setdefault((c.group, c.x), per_s),
            "rounds": len(c.seconds),
        }
        given = {"gflop": c.gflop, "gbyte": c.gbyte, "ceiling_percent": share and 100 * share, "dtype": c.dtype}
        rows.append({**row, **given, "peak_mib": c.peak_mib, "x": c.x})
    return {"rows": rows, "checks": section.checks, "left_out": section.left_out}


COLUMNS = ("what", "median ms", "quartiles ms", "per s", "x first", "GFLOP or GB", "% of ceiling", "peak MiB")


def cells(row: dict) -> list[str]:
    low, high = row["quartiles_ms"]
    optional = [
        (row["gflop"] or row["gbyte"], ".1f" if row["gflop"] else ".3f"),
        (row["ceiling_percent"], ".0f"),
        (row["peak_mib"], ".0f"),
    ]
    given = ["" if value is None else format(value, form) for value, form in optional]
    name = row["name"] if row["x"] is None else f"{row['name']}, {row['x']:g}"
    return [
        name,
        f"{row['ms']:.1f}",
        f"{low:.1f}-{high:.1f}",
        f"{row['per_s']:.4g}",
        f"{row['times_first']:.2f}",
        *given,
    ]


def headline(report: dict) -> str:
    m, s = report["machine"], report["scale"]
    ceiling = ", ".join(f"{value:.0f} GFLOP/s {name}" for name, value in m["matmul_gflops"].items())
    return (
        f"{m['device']}, {m['threads']} threads, torch {m['torch']}, {m['date']}; matmul ceiling {ceiling}, "
        f"copy {m['copy_gbyte_s']:.1f} GB/s; {s['size']} px, {s['rounds']} rounds"
    )


def write_report(report: dict, out: Path) -> None:
    """Write benchmark.json, benchmark.md with one table per group, and growth.png if there are curves."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "benchmark.json").write_text(json.dumps(report, indent=1))
    lines = ["# xseg benchmark", "", headline(report)]
    for name, section in report["sections"].items():
        lines += ["", f"## {name}"]
        for group, rows in grouped(section["rows"]).items():
            lines += ["", f"{group}:", "", *Table(COLUMNS, [cells(row) for row in rows]).markdown()]
        lines += ["", *(f"- {note}" for note in notes(section))]
        if curves := [row for row in section["rows"] if row["x"] is not None]:
            draw_curves(grouped(curves), out / f"{name}.png")
            lines += ["", f"![{name}]({name}.png)"]
    (out / "benchmark.md").write_text("\n".join(lines) + "\n")


def grouped(rows: Sequence[dict], key: str = "group") -> dict[str, list[dict]]:
    groups: dict[str, list[dict]] = {}
    for row in rows:
        groups.setdefault(row[key], []).append(row)
    return groups


def notes(section: dict) -> list[str]:
    return section["checks"] + [f"left out: {name}" for name in section["left_out"]]


def draw_curves(groups: dict[str, list[dict]], path: Path) -> None:
    """A PNG with one row per group, time on the left and peak memory on the right, and one line per candidate."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.1 * len(groups)), dpi=110, layout="constrained")
    for row, (group, points) in enumerate(groups.items()):
        for column, (key, title) in enumerate((("ms", "ms"), ("peak_mib", "peak MiB"))):
            axes = figure.add_subplot(len(groups), 2, 2 * row + column + 1)
            for name, line in grouped(points, "name").items():
                known = [(point["x"], point[key]) for point in line if point[key] is not None]
                axes.plot(*zip(*known, strict=True), "o-", label=name) if known else None
            axes.set(xlabel=group, ylabel=title, ylim=(0, None))
            plain_axes(axes)
            if column == 0:
                axes.legend(frameon=False)
    figure.savefig(path)


def plain_axes(axes) -> None:
    """Draw a light grid, and no frame at the top and on the right."""
    axes.grid(True, color="#dddddd", lw=0.6)
    axes.spines[["top", "right"]].set_visible(False)


def print_report(report: dict) -> None:
    from rich.console import Console

    console = Console(width=None if sys.stdout.isatty() else 150, highlight=False)
    console.print(headline(report))
    for name, section in report["sections"].items():
        for group, rows in grouped(section["rows"]).items():
            console.print(Table(COLUMNS, [cells(row) for row in rows]).rich(title=f"{name}: {group}"))
        for note in notes(section):
            console.print(note)
