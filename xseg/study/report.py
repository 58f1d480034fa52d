"""The report of a study: plain values, their comparison with the paper's findings, and a table."""

from __future__ import annotations

from collections.abc import Sequence
from math import hypot
from pathlib import Path

import torch

from xseg.benchmark.timing import host
from xseg.evaluation.tables import Table
from xseg.study.running import Cost, Result
from xseg.study.study import Study

COLUMNS = ("variant", "parameters", "GMAC", "steps/s", "metric", "seeds")


def report_of(study: Study, results: Sequence[Result]) -> dict:
    """Plain values: the study, the machine, one row per variant, and a line on each of the paper's findings."""
    rows = []
    for result in results:
        mean, std = result.mean_std(study.metric)
        row = {
            "variant": result.variant,
            "overrides": study.variants[result.variant],
            **result.cost._asdict(),
            "steps_per_s": result.steps_per_s,
            "mean": mean,
            "std": std,
        }
        rows.append({**row, "runs": [run._asdict() for run in result.runs]})
    by_name = {result.variant: result for result in results}
    return {
        "study": study.name,
        "title": study.title,
        "size": study.size,
        "config": Path(study.config).stem,
        "options": study.options,
        "metric": study.metric,
        "seeds": list(study.seeds),
        "machine": host("cuda" if torch.cuda.is_available() else "cpu"),
        "rows": rows,
        "paper": study.paper,
        "findings": [finding(study, by_name[first], by_name[second]) for first, second in study.better],
        "caveat": study.caveat,
    }


def finding(study: Study, first: Result, second: Result) -> str:
    """A line that says whether `first` beats `second`, as the paper finds.

    A difference of the means counts only if it exceeds the spread, the root of the sum of both variances.
    """
    names = f"{first.variant} over {second.variant}"
    (mean, std), (mean_2, std_2) = (result.mean_std(study.metric) for result in (first, second))
    if mean is None or mean_2 is None:
        survivors = [result.variant for result, m in ((first, mean), (second, mean_2)) if m is not None]
        reason = f"only {survivors[0]} trained to the end" if survivors else "both diverged"
        return f"{names}: not comparable, {reason}"
    difference = f"{mean - mean_2:+.2f} {study.metric}"
    if std is None or std_2 is None:
        return f"{names}: {difference}; one seed has no spread, so nothing is shown"
    spread = hypot(std, std_2)
    if abs(mean - mean_2) <= spread:
        return f"{names}: {difference}, within the spread of the seeds ({spread:.2f}): neither shown nor refuted"
    verdict = "as the paper finds" if mean > mean_2 else "this CONTRADICTS the paper"
    return f"{names}: {difference}, more than the spread of the seeds ({spread:.2f}): {verdict}"


def columns(report: dict) -> list[str]:
    return [f"{report['metric']}, %" if name == "metric" else name for name in COLUMNS]


def cells(row: dict) -> list[str]:
    """Texts of a table row, in the order of `COLUMNS`."""
    finished = sum(not run["diverged"] for run in row["runs"])
    return [
        row["variant"],
        f"{row['parameters']:,}",
        f"{row['gmac']:.4g}",
        "" if row["steps_per_s"] is None else f"{row['steps_per_s']:.2f}",
        accuracy(row["mean"], row["std"]),
        str(len(row["runs"])) + (f", {len(row['runs']) - finished} diverged" if finished < len(row["runs"]) else ""),
    ]


def accuracy(mean: float | None, std: float | None) -> str:
    if mean is None:
        return "diverged"
    return f"{mean:.2f}" if std is None else f"{mean:.2f} ± {std:.2f}"


def headline(report: dict) -> str:
    """One line on the command, config, steps, seeds and machine of the numbers."""
    m, seeds = report["machine"], ", ".join(map(str, report["seeds"]))
    profiles = [run["profile"] for row in report["rows"] for run in row["runs"] if run["profile"]]
    steps = max((profile[-1]["step"] for profile in profiles), default=0)
    return (
        f"`xseg study {report['study']} --size {report['size']}`, config {report['config']}, {steps} steps, "
        f"seeds {seeds}; {m['device']}, {m['threads']} threads, torch {m['torch']}, {m['date']}"
    )


def remarks(report: dict) -> list[str]:
    """Lines: the paper's finding, this study's result on it, and why the two may differ."""
    lines = [f"The paper: {report['paper']}"] if report["paper"] else []
    return [*lines, *report["findings"], *([f"Caveat: {report['caveat']}"] if report["caveat"] else [])]


def markdown(report: dict) -> str:
    table = Table(columns(report), [cells(row) for row in report["rows"]]).markdown()
    lines = [f"# {report['title']}", "", headline(report), "", *table, "", *(f"- {line}" for line in remarks(report))]
    return "\n".join(lines) + "\n"


def print_costs(study: Study, costs: dict[str, Cost]) -> None:
    """Print the grid of variants with their costs, before any training."""
    from rich.console import Console

    rows = []
    first = next(iter(costs.values()))
    for variant, cost in costs.items():
        share = f"{100 * cost.parameters / first.parameters:.1f} %"
        changed = ", ".join(f"{key}={value}" for key, value in study.variants[variant].items())
        rows.append((variant, f"{cost.parameters:,}", f"{cost.gmac:.4g}", share, changed))
    console = Console(width=160, highlight=False)
    console.print(
        f"{study.title}\n{study.size}: config {Path(study.config).stem}, seeds {', '.join(map(str, study.seeds))}"
    )
    table = Table(("variant", "parameters", "GMAC", "share of the first", "overrides"), rows)
    console.print(table.rich(left=(0, 4), box=None, pad_edge=False))
    console.print(f"{len(costs) * len(study.seeds)} runs")
