"""Plots of a study: training profiles over steps and time, as in the paper, and the metric over what was varied."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from xseg.benchmark.report import plain_axes
from xseg.study.running import Result
from xseg.study.study import Study

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999")  # Okabe and Ito


def draw_plots(study: Study, results: Sequence[Result], out: Path) -> dict[str, str]:
    """Write the PNG files to `out`; returns name -> title of the plots. A plot without data is not drawn."""
    import matplotlib

    matplotlib.use("Agg")
    plots = {}
    trained = [result for result in results if any(run.profile for run in result.runs)]
    if trained:
        for name, key in (("profile_steps", "step"), ("profile_time", "seconds")):
            draw_profiles(study, trained, key, out / f"{name}.png")
        plots["profile_steps"] = f"Training profile: {study.metric} of the validation against steps"
        plots["profile_time"] = f"Training profile: {study.metric} of the validation against seconds of training"
    if study.axis and any(result.finals(study.metric) for result in results):
        draw_axis(study, results, out / "axis.png")
        plots["axis"] = f"{study.metric} against {study.axis_title}"
    return plots


def draw_profiles(study: Study, results: Sequence[Result], key: str, path: Path) -> None:
    """Draw the mean over seeds as a thick line and every seed as a thin one."""
    figure, axes = _figure()
    for colour, result in zip(_colours(results), results, strict=True):
        profiles = [run.profile for run in result.runs if run.profile]
        for profile in profiles:
            axes.plot([r[key] for r in profile], [r[study.metric] for r in profile], color=colour, lw=0.7, alpha=0.45)
        rows = list(zip(*profiles, strict=False))  # validations that all seeds reached
        x = [sum(r[key] for r in row) / len(row) for row in rows]
        y = [sum(r[study.metric] for r in row) / len(row) for row in rows]
        axes.plot(x, y, color=colour, lw=2.2, marker="o", ms=4, label=result.variant)
    axes.set_xlabel("step" if key == "step" else "seconds of training, without validation")
    _finish(figure, axes, study, path)


def draw_axis(study: Study, results: Sequence[Result], path: Path) -> None:
    """Draw every seed as a dot, and the means with their standard deviations."""
    figure, axes = _figure()
    kept = [result for result in results if result.finals(study.metric)]
    numbers = {
        "variant": range(len(kept)),
        "parameters": [result.cost.parameters / 1e6 for result in kept],
        "gmac": [result.cost.gmac for result in kept],
    }
    xs = list(numbers[study.axis])
    means, stds = zip(*(result.mean_std(study.metric) for result in kept), strict=True)
    joined = "-" if study.axis == "variant" else ""
    axes.errorbar(xs, means, [std or 0 for std in stds], fmt=f"o{joined}", color=COLOURS[0], capsize=4, lw=1.8, ms=6)
    for x, result in zip(xs, kept, strict=True):
        values = [*result.finals(study.metric).values()]
        axes.plot([x] * len(values), values, ".", color=COLOURS[1], ms=5, zorder=3)
    if study.axis == "variant":
        axes.set_xticks(xs, [result.variant for result in kept])
        axes.margins(x=0.1)
    else:
        for x, mean, result in zip(xs, means, kept, strict=True):
            axes.annotate(result.variant, (x, mean), xytext=(7, -12), textcoords="offset points", fontsize=9)
        axes.margins(x=0.25)
    axes.set_xlabel(study.axis_title)
    _finish(figure, axes, study, path)


def _figure():
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 4.4), dpi=110, layout="constrained")
    axes = figure.subplots()
    plain_axes(axes)
    return figure, axes


def _finish(figure, axes, study: Study, path: Path) -> None:
    axes.set_ylabel(f"validation {study.metric}, %")
    if axes.get_legend_handles_labels()[1]:
        axes.legend(frameon=False, loc="lower right")
    figure.savefig(path)


def _colours(results: Sequence[Result]) -> list[str]:
    return [COLOURS[index % len(COLOURS)] for index in range(len(results))]
