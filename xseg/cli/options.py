"""Options that several commands share."""

from __future__ import annotations

import argparse
import ast
import sys

from xseg.deploy.backends import CHOICES as BACKENDS
from xseg.deploy.backends import PRECISIONS


def add_config_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("config", metavar="CONFIG", help="path, or name of a shipped config (`xseg config list`)")
    add_combination_arguments(command)
    add_override_arguments(command)


def add_combination_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--backbone",
        metavar="B",
        help="replace the backbone: xception41, xception65@0.5 (width), timm:resnet50, "
        "vit:vit_small_patch14_dinov2, smp:mit_b0",
    )
    command.add_argument("--schedule", metavar="S", help="replace the schedule: 1x, 2x, 30k, 90k, …")


def add_override_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("--data-root", metavar="DIR", help="folder of the data set; replaces the config's root")
    command.add_argument(
        "--cfg-options",
        nargs="+",
        action=Overrides,
        default={},
        metavar="K=V",
        help="override config values: train_dataloader.batch_size=4 'model.inference={\"flip\": True}'",
    )


def read_config(arguments):
    from xseg.config import load_config

    return load_config(
        arguments.config, arguments.cfg_options, arguments.data_root, arguments.backbone, arguments.schedule
    )


def add_launcher_argument(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--launcher",
        choices=("none", "pytorch", "slurm"),
        default="none",
        help="pytorch under torchrun, slurm under srun (default: none)",
    )


def add_threads_argument(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--threads",
        type=int,
        metavar="N",
        help="of the CPU (default: OMP_NUM_THREADS, otherwise chosen by timing while the command runs)",
    )


def fix_threads(arguments) -> None:
    """Use the number of threads of --threads, if it is given."""
    if arguments.threads is not None:
        from xseg.engine import set_threads

        set_threads(arguments.threads)


def add_window_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--window",
        type=int,
        nargs=2,
        metavar=("H", "W"),
        help="predict in windows of H x W pixels: large images in little memory, small objects of large images",
    )
    command.add_argument(
        "--overlap",
        type=float,
        metavar="SHARE",
        help="of a window with the next (default: 0.33 for pixels, 0.2 for objects)",
    )


def window_of(arguments) -> dict | None:
    """Arguments of `Model.set_windows`, or None without --window."""
    if arguments.window is None:
        if arguments.overlap is not None:
            raise ValueError("--overlap is of --window H W; add it")
        return None
    return {"window_hw": arguments.window} | ({} if arguments.overlap is None else {"overlap": arguments.overlap})


def add_deploy_argument(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--deploy",
        nargs="?",
        const="fp32",
        choices=PRECISIONS,
        help="run the faster deployment form, with folded BatchNorms and without parts for training; computes in fp32 "
        "(default), bf16 or fp16",
    )
    command.add_argument(
        "--backend",
        choices=BACKENDS,
        help="engine of the deployed model (default: torch); auto: the fastest installed one; implies --deploy",
    )


def add_import_argument(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--import",
        dest="imports",
        action="append",
        default=[],
        metavar="MODULE",
        help="a module with your own backbones, heads or losses, also from the working directory; can be repeated",
    )


def import_own(arguments) -> list[str]:
    """Import the modules of --import, also from the working directory; return their names."""
    from xseg.run.load import import_modules

    if arguments.imports:
        sys.path.insert(0, "")
    return import_modules(arguments.imports)


class Overrides(argparse.Action):
    """`a.b=1 c=text` -> {"a.b": 1, "c": "text"}; see `literal` for the values."""

    def __call__(self, parser, namespace, values, option_string=None):
        options = dict(getattr(namespace, self.dest))
        for item in values:
            key, equals, text = item.partition("=")
            if not (key and equals):
                parser.error(f"{option_string} takes KEY=VALUE, got {item!r}")
            options[key] = literal(text)
        setattr(namespace, self.dest, options)


def literal(text: str) -> object:
    """The Python literal that a text spells, also from true, false and none; else the text itself."""
    try:
        return ast.literal_eval({"true": "True", "false": "False", "none": "None"}.get(text, text))
    except (ValueError, SyntaxError):
        return text
