"""`xseg weights`: list published weights, and convert weights of any source."""

import sys


def add(commands) -> None:
    group = commands.add_parser("weights", help="list published weights, convert weights").add_subparsers(
        required=True, metavar="WHAT"
    )
    names = group.add_parser("list", help="published weights: name, metric, licence, config")
    names.set_defaults(run=run_list)
    convert = group.add_parser("convert", help="convert weights of any source to one .safetensors file with a card")
    convert.add_argument(
        "weights", metavar="W", help="a file, folder or prefix, a published name, timm:NAME, hf:ORG/NAME"
    )
    convert.add_argument("out", metavar="OUT.safetensors")
    convert.add_argument("--config", required=True, metavar="C", help="config of the model that the weights belong to")
    convert.set_defaults(run=run_convert)


def run_list(arguments) -> int:
    from rich.console import Console
    from rich.table import Table

    from xseg.weights.published import PUBLISHED

    table = Table("name", "as published", "licence", "config", box=None, pad_edge=False)
    for name, row in PUBLISHED.items():
        table.add_row(name, row.metric, row.licence, row.config)
    table.add_row(
        "timm:NAME", "any Xception of timm, such as timm:xception65.ra3_in1k", "Apache-2.0", "imagenet/xception65"
    )
    table.add_row("hf:ORG/NAME", "a model uploaded by push_to_hub", "", "its own")
    Console(width=None if sys.stdout.isatty() else 160).print(table)
    return 0


def run_convert(arguments) -> int:
    from xseg.run.convert_weights import convert

    print(convert(arguments.weights, arguments.out, arguments.config))
    return 0
