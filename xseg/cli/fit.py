"""`xseg train DATA` and `xseg plan DATA`: what the two have in common."""

import argparse
import os

MINUTES = 30.0
SUFFIXES_OF_CONFIGS = (".py",)


def add_data_arguments(command: argparse.ArgumentParser) -> None:
    """The options of a training on data instead of a config."""
    group = command.add_argument_group("with DATA, a folder of images and labels, instead of a config")
    group.add_argument("--minutes", type=float, metavar="M", help=f"for all, plan and evaluation too ({MINUTES:g})")
    group.add_argument("--format", metavar="F", help="of the labels (default: recognised)")
    group.add_argument(
        "--task", help="segmentation, detection, instances, panoptic, classification, multilabel (default: by labels)"
    )
    group.add_argument("--epochs", type=float, metavar="N", help="length, instead of --minutes")
    group.add_argument("--batch-size", type=int, metavar="N", help="images a step")
    group.add_argument("--lr", type=float, metavar="R", help="learning rate")
    group.add_argument("--size", type=int, metavar="P", help="pixels: edge of the crop, or shorter edge for detection")
    group.add_argument("--val-share", type=float, metavar="S", help="for validation, if the data have no split (0.2)")
    group.add_argument("--group", metavar="PATTERN", help="images that stay together in a split, as '(.*)_frame'")
    group.add_argument("--folds", type=int, metavar="K", help="cross-validation with K trainings")


def is_data(text: str) -> bool:
    """Whether an argument names data: a folder, or a file that is no config."""
    if os.path.isdir(text):
        return True
    if not os.path.isfile(text) or text.endswith(SUFFIXES_OF_CONFIGS):
        return False
    if not text.endswith(".json"):
        return True
    with open(text, encoding="utf-8", errors="replace") as file:
        return '"model"' not in file.read(1 << 16)


def given_data_options(arguments) -> list[str]:
    """The options of DATA that were given, for the refusal with a config."""
    names = ("minutes", "format", "task", "epochs", "batch_size", "lr", "size", "val_share", "group", "folds")
    return [f"--{name.replace('_', '-')}" for name in names if getattr(arguments, name, None) is not None]


def choices_of(arguments):
    """`xseg.plan.Choices` of the arguments."""
    from xseg.plan import Choices

    return Choices(
        task=arguments.task,
        backbone=arguments.backbone,
        load_from=arguments.load_from,
        epochs=arguments.epochs,
        batch_size=arguments.batch_size,
        lr=arguments.lr,
        size=arguments.size,
    )


def split_options(arguments) -> dict:
    """The arguments of a split that were given."""
    given = dict(share=arguments.val_share, seed=arguments.seed, group=arguments.group)
    return {name: value for name, value in given.items() if value is not None}
