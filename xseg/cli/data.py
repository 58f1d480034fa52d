"""`xseg data`: check and convert data sets."""

from xseg.cli import data_convert
from xseg.cli.options import add_config_arguments, read_config


def add(commands) -> None:
    group = commands.add_parser("data", help="check and convert data sets").add_subparsers(
        required=True, metavar="WHAT"
    )
    check = group.add_parser("check", help="audit a config's data before training; exits with 3 on faults")
    add_config_arguments(check)
    check.set_defaults(run=run_check)
    data_convert.add(group)


def run_check(arguments) -> int:
    from xseg.data.check import check

    cfg = read_config(arguments)
    loaders = {key.removesuffix("_dataloader"): cfg[key] for key in cfg if key.endswith("_dataloader") and cfg[key]}
    report = check({name: loader.dataset.to_dict() for name, loader in loaders.items()})
    report.print()
    return 0 if report.ok else 3
