"""`xseg config`: names and contents of configs."""

import ast

from xseg.cli.options import add_config_arguments, read_config


def add(commands) -> None:
    group = commands.add_parser("config", help="shipped configs").add_subparsers(required=True, metavar="WHAT")
    names = group.add_parser("list", help="names and titles of the shipped configs")
    names.set_defaults(run=run_list)
    show = group.add_parser("show", help="the whole config after inheritance and overrides, ready to be saved as one")
    add_config_arguments(show)
    show.set_defaults(run=run_show)


def run_list(arguments) -> int:
    from xseg.config import shipped_configs

    configs = shipped_configs()
    width = max(map(len, configs))
    for name, path in configs.items():
        title = (ast.get_docstring(ast.parse(path.read_text())) or "").splitlines()[0]
        print(f"{name:{width}}  {title}")
    return 0


def run_show(arguments) -> int:
    print(read_config(arguments).pretty_text)
    return 0
