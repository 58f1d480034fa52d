"""What stands in a study's folder in the end: study.json, study.md, its plots, and index.html with all of it."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from xseg.study.plots import draw_plots
from xseg.study.report import cells, columns, headline, markdown, remarks, report_of
from xseg.study.running import Result
from xseg.study.study import Study

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 52rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
h1 { font-size: 1.5rem; line-height: 1.25 } h2 { font-size: 1.1rem; margin-top: 2rem }
.source, figcaption { color: #555; font-size: .9rem } figure { margin: 1.5rem 0 } img { max-width: 100% }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums }
th, td { padding: .3rem .6rem; border-bottom: 1px solid #ddd; text-align: right }
th:first-child, td:first-child { text-align: left }
"""


def write_report(study: Study, results: Sequence[Result], out: Path) -> list[str]:
    """Write everything to `out`; returns the names of the files."""
    report = report_of(study, results)
    (out / "study.json").write_text(json.dumps(report, indent=1))
    (out / "study.md").write_text(markdown(report), encoding="utf-8")
    plots = draw_plots(study, results, out)
    (out / "index.html").write_text(page(report, plots, out), encoding="utf-8")
    return ["study.json", "study.md", *(f"{name}.png" for name in plots), "index.html"]


def page(report: dict, plots: Mapping[str, str], folder: Path) -> str:
    """HTML with the pictures inside, so that the one file can be sent."""
    settings = [[row["variant"], _overrides(row["overrides"])] for row in report["rows"]]
    runs = [
        [row["variant"], str(run["seed"]), run["diverged"] or f"{run['profile'][-1][report['metric']]:.2f}"]
        for row in report["rows"]
        for run in row["runs"]
    ]
    pictures = [
        f'<figure><img alt="{escape(title)}" src="data:image/png;base64,{_base64(folder / f"{name}.png")}">'
        f"<figcaption>{escape(title)}</figcaption></figure>"
        for name, title in plots.items()
    ]
    parts = [
        f"<h1>{escape(report['title'])}</h1>",
        f'<p class="source">{escape(headline(report))}</p>',
        _table(columns(report), [cells(row) for row in report["rows"]]),
        "<ul>" + "".join(f"<li>{escape(line)}</li>" for line in remarks(report)) + "</ul>",
        *pictures,
        "<h2>Every run</h2>",
        _table(["variant", "seed", columns(report)[4]], runs),
        "<h2>What a variant changes</h2>",
        _table(["variant", "settings"], settings),
        f"<p>All variants: {escape(_overrides(report['options']))}.</p>" if report["options"] else "",
    ]
    head = f'<meta charset="utf-8"><title>{escape(report["title"])}</title><style>{STYLE}</style>'
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{"".join(parts)}</body></html>\n'


def _table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(title)}</th>" for title in titles)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _overrides(options: Mapping) -> str:
    return ", ".join(f"{key}={value}" for key, value in options.items()) or "nothing"


def _base64(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()
