"""`xseg.fit("data/", minutes=30)`: from a folder in any common format to a trained, evaluated model."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from statistics import mean, stdev

from xseg.data.formats import Catalog, read_catalog
from xseg.engine.deadline import DeadlineHook
from xseg.engine.resume import check_work_dir
from xseg.plan import Choices, Plan, Splits, make_folds, make_plan
from xseg.plan.advice import advice
from xseg.plan.fingerprint import fingerprint
from xseg.run.evaluate import Report, evaluate
from xseg.run.train import train

EVALUATION = 1.5  # time of the evaluation at the end with its pictures, in validations
END_SECONDS = 5.0  # to load the checkpoint and to write reports


def fit(
    data: str | os.PathLike,
    *,
    minutes: float = 30,
    work_dir: str | os.PathLike | None = None,
    format: str | None = None,
    choices: Choices | None = None,
    share: float = 0.2,
    seed: int = 0,
    group: str | None = None,
    folds: int | None = None,
    launcher: str = "none",
    overwrite: bool = False,
    export: str | None = None,
) -> Report:
    """Recognise the data, plan a training that takes so many minutes, run it, and evaluate the best checkpoint.

    Args:
        data: a folder, or a file that lists images; see `xseg.data.formats`.
        minutes: for all of it, planning and evaluation included.
        work_dir: for plan, checkpoints, logs and evaluation; `work_dirs/<name of the folder>` if not given.
        format: of the data; None recognises it.
        choices: what the plan must not decide.
        share, seed, group: of the validation split where the data have none, see `xseg.plan.make_splits`.
        folds: cross-validation: so many trainings, each with its share of the minutes; the mean is printed.
        launcher: "pytorch" under torchrun, "slurm" under srun, else "none".
        overwrite: remove another run's checkpoints from the work dir.
        export: "onnx" writes model.onnx beside the checkpoints.

    Returns the report of the evaluation; with folds, that of the last one.

    Raises ValueError and FileNotFoundError for data that cannot be read or planned; the message says what to do.
    """
    start = time.monotonic()
    catalog = read_catalog(data, format, choices.task if choices else None)
    work_dir = Path(work_dir or f"work_dirs/{Path(data).resolve().stem}")
    if not overwrite:
        check_work_dir(work_dir, False)
    given = dict(choices=choices, share=share, seed=seed, group=group)
    run = dict(launcher=launcher, seed=seed, overwrite=overwrite, export=export)
    if not folds:
        return fit_once(catalog, minutes, work_dir, start=start, run=run, **given)
    facts = fingerprint(catalog)
    parts = make_folds(catalog, lambda item: facts.present[item.id], folds, seed, group)
    reports = []
    for number, splits in enumerate(parts, start=1):
        folder = work_dir / f"fold_{number}"
        reports.append(fit_once(catalog, minutes / folds, folder, start=None, run=run, splits=splits, **given))
    print(_over_folds(reports))
    return reports[-1]


def fit_once(
    catalog: Catalog,
    minutes: float,
    work_dir: Path,
    *,
    start: float | None,
    run: dict,
    splits: Splits | None = None,
    **given,
) -> Report:
    """Plan, train and evaluate once; arguments as of `fit` and `make_plan`.

    Args:
        start: `time.monotonic()` at which the minutes began; None for now.
        run: launcher, seed, overwrite and export, as of `fit`.
    """
    start = time.monotonic() if start is None else start
    plan = make_plan(catalog, minutes, work_dir / "plan", splits=splits, **given)
    show(plan)
    if not (given["choices"] and given["choices"].epochs):
        left = max(60 * minutes - (time.monotonic() - start) - END_SECONDS, 10)
        plan.deadline = dict(
            minutes=round(left / 60, 3),
            validation=round(plan.seconds_validation, 1),
            step=round(plan.pace.step, 3),
            after=EVALUATION,
        )
    path = plan.write()
    runner = train(path, work_dir=work_dir, launcher=run["launcher"], seed=run["seed"], overwrite=run["overwrite"])
    plan.deadline = {}
    for hook in runner.hooks:
        if isinstance(hook, DeadlineHook) and hook.changes:
            plan.deadline = dict(changes=hook.changes)
    if runner.rank == 0:
        plan.write()  # with what the clock decided, so that the training can be repeated
    report = evaluate(path, work_dir, launcher=run["launcher"])
    report.print()
    if report.is_main:
        for line in advice(plan, report, work_dir):
            print(line)
        if run["export"]:
            _export(work_dir)
        print(f"predict with: xseg predict {work_dir} IMAGES")
    return report


def show(plan: Plan) -> None:
    """Print what was understood, and the plan."""
    from rich.console import Console
    from rich.table import Table

    console = Console(width=None if sys.stdout.isatty() else 120)
    for line in plan.lines():
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("setting", "value", "reason"):
        table.add_column(name, no_wrap=name == "setting")
    for reason in plan.recipe.reasons:
        table.add_row(*reason)
    console.print(table)


def _export(work_dir: Path) -> None:
    from xseg.deploy.onnx import export
    from xseg.run.load import load

    for line in export(load(work_dir, device="cpu"), work_dir / "model.onnx"):
        print(line)


def _over_folds(reports: list[Report]) -> str:
    name = reports[0].metrics[0].leading
    values = [report[name] for report in reports if report[name] is not None]
    spread = f" ± {stdev(values):.2f}" if len(values) > 1 else ""
    return f"{name} over {len(reports)} folds: {mean(values):.2f}{spread} ({', '.join(f'{v:.2f}' for v in values)})"
