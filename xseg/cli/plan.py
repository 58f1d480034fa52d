"""`xseg plan`: what a training on a folder of data would do, and why."""

from xseg.cli.fit import MINUTES, add_data_arguments, choices_of, split_options


def add(commands) -> None:
    command = commands.add_parser("plan", help="plan a training for a folder of images and labels, and say why")
    command.add_argument("data", metavar="DATA", help="folder in any common format, or a file that lists images")
    command.add_argument("--out", metavar="DIR", help="for plan.py, splits.json and plan.md (default: plan_<folder>)")
    command.add_argument("--backbone", metavar="B", help="as of `xseg train`")
    command.add_argument("--load-from", metavar="W", help="weights of a trained trunk to start from")
    command.add_argument("--seed", type=int, metavar="N", help="of the split")
    add_data_arguments(command)
    command.set_defaults(run=run)


def run(arguments) -> int:
    from pathlib import Path

    from xseg.data.formats import read_catalog
    from xseg.plan import make_plan
    from xseg.run.fit import show

    catalog = read_catalog(arguments.data, arguments.format, arguments.task)
    out = Path(arguments.out or f"plan_{Path(arguments.data).resolve().stem}")
    minutes = MINUTES if arguments.minutes is None else arguments.minutes
    plan = make_plan(catalog, minutes, out, choices_of(arguments), **split_options(arguments))
    if not arguments.epochs:
        plan.deadline = dict(minutes=minutes)
    show(plan)
    print(f"written to {plan.write()}; run it with: xseg train {out}/plan.py")
    return 0
