"""`xseg study`: train variants of a network with several seeds each, and compare them."""

from pathlib import Path

from xseg.cli.options import add_override_arguments


def add(commands) -> None:
    command = commands.add_parser("study", help="train variants of a network with several seeds each, and compare them")
    command.add_argument("study", metavar="STUDY", help="name of a shipped study, path of your own study, or `list`")
    command.add_argument("--size", default="cpu", metavar="S", help="cpu (minutes on two cores, default) or gpu (days)")
    command.add_argument("--seeds", type=int, nargs="+", metavar="N", help="seeds instead of the study's own")
    command.add_argument(
        "--out", metavar="DIR", help="folder for runs and results (default: work_dirs/study_<name>_<size>)"
    )
    command.add_argument(
        "--amp", nargs="?", const="bf16", choices=("bf16", "fp16"), help="mixed precision; without a value bf16"
    )
    command.add_argument("--dry-run", action="store_true", help="only show the variants, parameters and multiply-adds")
    add_override_arguments(command)
    command.set_defaults(run=run)


def run(arguments) -> int:
    from xseg.study import dry_run, print_costs, read_study, run_study, shipped_studies, title_of, write_report

    if arguments.study == "list":
        studies = shipped_studies()
        for name, path in studies.items():
            print(f"{name:{max(map(len, studies))}}  {title_of(path)}")
        return 0
    study = read_study(arguments.study, arguments.size, arguments.seeds)
    data = {"overrides": arguments.cfg_options, "data_root": arguments.data_root}
    if arguments.dry_run:
        print_costs(study, dry_run(study, **data))
        return 0
    out = Path(arguments.out or f"work_dirs/study_{study.name}_{study.size}")
    results = run_study(study, out, amp=arguments.amp, **data)
    files = write_report(study, results, out)
    print((out / "study.md").read_text(encoding="utf-8"))
    print(f"written to {out}: {', '.join(files)}")
    return 0
