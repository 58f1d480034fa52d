"""`xseg eval`: evaluate weights on the validation data of a config."""

from xseg.cli.options import (
    add_config_arguments,
    add_deploy_argument,
    add_import_argument,
    add_launcher_argument,
    add_threads_argument,
    add_window_arguments,
    fix_threads,
    import_own,
    read_config,
    window_of,
)


def add(commands) -> None:
    command = commands.add_parser("eval", help="evaluate weights on a config's validation data")
    add_config_arguments(command)
    command.add_argument(
        "weights",
        metavar="WEIGHTS",
        nargs="?",
        help="a work dir, a weight file, or a published name (`xseg weights list`); default: the config's",
    )
    command.add_argument(
        "--out", metavar="DIR", help="folder for numbers and pictures (default: eval/ beside the weights)"
    )
    command.add_argument("--worst", type=int, default=8, metavar="N", help="draw the N worst images (default: 8)")
    add_threads_argument(command)
    add_launcher_argument(command)
    command.add_argument("--panoptic", action="store_true", help="also panoptic quality; needs a model with both heads")
    add_window_arguments(command)
    add_deploy_argument(command)
    add_import_argument(command)
    command.set_defaults(run=run)


def run(arguments) -> int:
    from xseg.run.evaluate import evaluate

    fix_threads(arguments)
    import_own(arguments)
    report = evaluate(
        read_config(arguments),
        arguments.weights,
        out=arguments.out,
        num_worst=arguments.worst,
        launcher=arguments.launcher,
        deploy=arguments.deploy,
        panoptic=arguments.panoptic,
        backend=arguments.backend,
        windows=window_of(arguments),
    )
    report.print()
    return 0
