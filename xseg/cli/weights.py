"""`xseg weights`: published weights, and weights of other programs."""

import sys


def add(commands) -> None:
    group = commands.add_parser("weights", help="published weights, and weights of other programs").add_subparsers(
        required=True, metavar="WHAT"
    )
    names = group.add_parser("list", help="published weights: name, figure, licence, config")
    names.set_defaults(run=run_list)
    convert = group.add_parser("convert", help="any weights to one .safetensors of ours with a card")
    convert.add_argument(
        "weights", metavar="W", help="a file, folder or prefix, a published name, timm:NAME, hf:ORG/NAME"
    )
    convert.add_argument("out", metavar="OUT.safetensors")
    convert.add_argument("--config", required=True, metavar="C", help="the config of the model that they belong to")
    convert.set_defaults(run=run_convert)


def run_list(arguments) -> int:
    from rich.console import Console
    from rich.table import Table

    from xseg.weights.published import PUBLISHED

    table = Table("name", "as published", "licence", "config", box=None, pad_edge=False)
    for name, row in PUBLISHED.items():
        table.add_row(name, row.metric, row.licence, row.config)
    table.add_row("timm:NAME", "any Xception of timm, as timm:xception65.ra3_in1k", "Apache-2.0", "xception65_imagenet")
    table.add_row("hf:ORG/NAME", "what push_to_hub uploaded", "", "its own")
    Console(width=None if sys.stdout.isatty() else 160).print(table)
    return 0


def run_convert(arguments) -> int:
    from xseg.run.convert_weights import convert

    print(convert(arguments.weights, arguments.out, arguments.config))
    return 0
