"""`xseg config`: list the shipped configs, and print a config."""

import ast

from xseg.cli.options import add_combination_arguments, add_config_arguments, read_config


def add(commands) -> None:
    group = commands.add_parser("config", help="shipped configs").add_subparsers(required=True, metavar="WHAT")
    names = group.add_parser("list", help="names and titles of the shipped configs")
    names.set_defaults(run=run_list)
    info = group.add_parser("info", help="data, schedule, and a table of the model: sizes, parameters, cost and memory")
    add_config_arguments(info)
    info.add_argument(
        "--size", nargs=2, type=int, metavar=("H", "W"), help="of the images in pixels (default: the training crop)"
    )
    info.add_argument("--batch", type=int, metavar="N", help="images in a batch (default: the config's)")
    info.add_argument("--amp", nargs="?", const="bf16", choices=("bf16", "fp16"), help="mixed precision (bf16)")
    info.set_defaults(run=run_info)
    show = group.add_parser("show", help="the whole config after inheritance and overrides, ready to be saved as one")
    add_config_arguments(show)
    show.set_defaults(run=run_show)
    new = group.add_parser("new", help="write a short config of your own that inherits from a shipped one")
    new.add_argument("path", metavar="FILE.py")
    new.add_argument("--from", dest="base", required=True, metavar="NAME", help="of a shipped config")
    new.add_argument("--data", "--data-root", dest="data_root", metavar="DIR", help="where the data set lies")
    add_combination_arguments(new)
    new.set_defaults(run=run_new)


def run_list(arguments) -> int:
    from xseg.config import shipped_configs

    configs = shipped_configs()
    width = max(map(len, configs))
    for name, path in configs.items():
        title = (ast.get_docstring(ast.parse(path.read_text())) or "").splitlines()[0]
        print(f"{name:{width}}  {title}")
    return 0


def run_info(arguments) -> int:
    from xseg.run.config_info import config_info

    options = {"--backbone": arguments.backbone, "--schedule": arguments.schedule}
    name = " ".join([arguments.config, *(f"{key} {value}" for key, value in options.items() if value)])
    config_info(read_config(arguments), name, arguments.size, arguments.batch, arguments.amp).print()
    return 0


def run_show(arguments) -> int:
    print(read_config(arguments).pretty_text)
    return 0


def run_new(arguments) -> int:
    from xseg.config.writing import write_config

    path, base, data_root = arguments.path, arguments.base, arguments.data_root
    command = write_config(path, base, data_root, arguments.backbone, arguments.schedule)
    print(f"{path}: inherits from {base}; run it by\n{command}")
    return 0
