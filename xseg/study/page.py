"""The files of a finished study: study.json, study.md, the plots, and index.html, which holds all of them."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from xseg.study.plots import draw_plots
from xseg.study.report import cells, columns, headline, markdown, remarks, report_of
from xseg.study.running import Result
from xseg.study.study import Study

TEMPLATE = "page.html.jinja"


def write_report(study: Study, results: Sequence[Result], out: Path) -> list[str]:
    """Write all files of the report to `out` and return their names."""
    report = report_of(study, results)
    (out / "study.json").write_text(json.dumps(report, indent=1))
    (out / "study.md").write_text(markdown(report), encoding="utf-8")
    plots = draw_plots(study, results, out)
    (out / "index.html").write_text(page(report, plots, out), encoding="utf-8")
    return ["study.json", "study.md", *(f"{name}.png" for name in plots), "index.html"]


def page(report: dict, plots: Mapping[str, str], folder: Path) -> str:
    """One self-contained HTML page.

    Args:
        plots: name -> title; each is embedded from `folder`/NAME.png.
    """
    environment = Environment(
        loader=PackageLoader("xseg", "study"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(TEMPLATE).render(
        title=report["title"],
        headline=headline(report),
        columns=columns(report),
        rows=[cells(row) for row in report["rows"]],
        remarks=remarks(report),
        plots=[{"title": title, "png": _base64(folder / f"{name}.png")} for name, title in plots.items()],
        metric=columns(report)[4],
        runs=[
            [row["variant"], run["seed"], run["diverged"] or f"{run['profile'][-1][report['metric']]:.2f}"]
            for row in report["rows"]
            for run in row["runs"]
        ],
        settings=[[row["variant"], _overrides(row["overrides"])] for row in report["rows"]],
        options=_overrides(report["options"]) if report["options"] else "",
    )


def _overrides(options: Mapping) -> str:
    return ", ".join(f"{key}={value}" for key, value in options.items()) or "nothing"


def _base64(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()
