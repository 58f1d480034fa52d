"""`xseg train`: train a model from a config."""

from xseg.cli.fit import MINUTES, add_data_arguments, choices_of, given_data_options, is_data, split_options
from xseg.cli.options import (
    add_config_arguments,
    add_launcher_argument,
    add_threads_argument,
    fix_threads,
    read_config,
)


def add(commands) -> None:
    command = commands.add_parser("train", help="train a model from a config")
    add_config_arguments(command)
    command.add_argument("--work-dir", metavar="D", help="folder of checkpoints and logs (default: work_dirs/<config>)")
    command.add_argument(
        "--resume",
        nargs="?",
        const=True,
        default=False,
        metavar="CKPT",
        help="continue from a checkpoint; without a name, from the newest readable one in the work dir",
    )
    command.add_argument(
        "--load-from",
        metavar="W",
        help="initial weights, of the model or of its backbone: a file or a published name",
    )
    command.add_argument(
        "--overwrite", action="store_true", help="remove checkpoints and logs of another run from the work dir"
    )
    command.add_argument(
        "--new", nargs="+", metavar="MODULE", default=[], help="modules that do not take weights from --load-from"
    )
    command.add_argument(
        "--amp", nargs="?", const="bf16", choices=("bf16", "fp16"), help="mixed precision; without a value bf16"
    )
    command.add_argument("--seed", type=int, metavar="N", help="seed of weights, order and augmentation")
    add_threads_argument(command)
    add_launcher_argument(command)
    command.add_argument(
        "--dry-run",
        action="store_true",
        help="test the config: two steps, one validation batch and one checkpoint; keeps no files",
    )
    command.add_argument("--export", choices=("onnx",), help="after a training on DATA: write model.onnx too")
    add_data_arguments(command)
    command.set_defaults(run=run)


def run(arguments) -> int:
    fix_threads(arguments)
    if is_data(arguments.config):
        return run_data(arguments)
    if unused := given_data_options(arguments) + (["--export"] if arguments.export else []):
        raise ValueError(f"{', '.join(unused)}: for DATA only; {arguments.config} is a config and says these itself")
    from xseg.run.train import train

    load_from = arguments.load_from
    if arguments.new:
        if load_from is None:
            raise ValueError("--new names modules that do not take weights from --load-from; give --load-from too")
        load_from = {"path": load_from, "new": arguments.new}
    train(
        read_config(arguments),
        work_dir=arguments.work_dir,
        resume=arguments.resume,
        load_from=load_from,
        amp=arguments.amp,
        seed=arguments.seed,
        launcher=arguments.launcher,
        dry_run=arguments.dry_run,
        overwrite=arguments.overwrite,
    )
    return 0


def run_data(arguments) -> int:
    """Train on a folder instead of a config."""
    from xseg.run.fit import fit

    unused = [name for name in ("resume", "new", "dry_run", "cfg_options", "schedule") if getattr(arguments, name)]
    if unused:
        names = ", ".join(f"--{name.replace('_', '-')}" for name in unused)
        raise ValueError(f"{names}: for a config; `xseg plan {arguments.config}` writes one, which takes them")
    fit(
        arguments.config,
        minutes=MINUTES if arguments.minutes is None else arguments.minutes,
        work_dir=arguments.work_dir,
        format=arguments.format,
        choices=choices_of(arguments),
        folds=arguments.folds,
        launcher=arguments.launcher,
        overwrite=arguments.overwrite,
        export=arguments.export,
        **split_options(arguments),
    )
    return 0
