"""The command `xseg`: its arguments and its errors; what the commands do stands in `xseg.cli.commands`.

Exit codes: 0 well, 1 failed, 2 wrong usage, 3 a data check found faults, 143 stopped by SIGTERM with a checkpoint.
"""

from __future__ import annotations

import argparse
import ast
import os
import sys
from collections.abc import Sequence

from xseg import __version__
from xseg.cli.commands import (
    run_benchmark,
    run_config_info,
    run_config_list,
    run_convert_cityscapes,
    run_convert_crops,
    run_convert_labelme,
    run_convert_sbd,
    run_convert_voc,
    run_data_check,
    run_eval,
    run_eval_json,
    run_export,
    run_predict,
    run_study,
    run_train,
    run_weights_convert,
    run_weights_list,
)
from xseg.deploy.backends import CHOICES as BACKENDS
from xseg.deploy.backends import PRECISIONS


def main(argv: Sequence[str] | None = None) -> int:
    parser = build_parser()
    arguments = parser.parse_args(argv)
    if arguments.traceback:
        return arguments.run(arguments)
    try:
        return arguments.run(arguments)
    except BrokenPipeError:  # `xseg … | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (ValueError, KeyError, OSError, ModuleNotFoundError, FloatingPointError) as error:
        print(f"xseg: error: {message_of(error)}", file=sys.stderr)
        print("xseg: --traceback before the command shows where", file=sys.stderr)
        return 1


def message_of(error: Exception) -> str:
    """What an error says, without the traceback that a data loader's worker puts in front of it."""
    message = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    if "Original Traceback" in message:
        message = message.rpartition(f"\n{type(error).__name__}: ")[2].strip()
    return message


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="xseg", description="Dense prediction with aligned Xception backbones.")
    parser.add_argument("--version", action="version", version=f"xseg {__version__}")
    parser.add_argument("--traceback", action="store_true", help="show the whole traceback of an error")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    add_train(commands)
    add_eval(commands)
    add_eval_json(commands)
    add_predict(commands)
    add_export(commands)
    add_data(commands)
    add_config(commands)
    add_weights(commands)
    add_benchmark(commands)
    add_study(commands)
    return parser


def add_train(commands) -> None:
    command = commands.add_parser("train", help="train a model from a config")
    add_config_arguments(command)
    command.add_argument("--work-dir", metavar="D", help="for checkpoints and logs (default: work_dirs/<config>)")
    command.add_argument(
        "--resume",
        nargs="?",
        const=True,
        default=False,
        metavar="CKPT",
        help="go on from a checkpoint; without a name from the newest whole one of the work dir",
    )
    command.add_argument(
        "--load-from",
        metavar="W",
        help="weights to start from: a file or a published name; a whole model or a backbone",
    )
    command.add_argument(
        "--overwrite", action="store_true", help="remove checkpoints and logs of another run in the work dir"
    )
    command.add_argument("--new", nargs="+", metavar="MODULE", default=[], help="modules that --load-from leaves new")
    command.add_argument("--amp", nargs="?", const="bf16", choices=("bf16", "fp16"), help="mixed precision (bf16)")
    command.add_argument("--seed", type=int, metavar="N", help="of weights, order and augmentation")
    command.add_argument(
        "--launcher", choices=("none", "pytorch", "slurm"), default="none", help="under torchrun or srun"
    )
    command.add_argument(
        "--dry-run", action="store_true", help="two steps, one validation batch, one checkpoint, no trace"
    )
    command.set_defaults(run=run_train)


def add_eval(commands) -> None:
    command = commands.add_parser("eval", help="evaluate weights on a config's validation data")
    add_config_arguments(command)
    command.add_argument(
        "weights",
        metavar="WEIGHTS",
        nargs="?",
        help="a work dir, a weight file, or a published name (`xseg weights list`); default: those of the config",
    )
    command.add_argument("--out", metavar="DIR", help="for numbers and pictures (default: eval/ beside the weights)")
    command.add_argument("--worst", type=int, default=8, metavar="N", help="draw the N worst images (default: 8)")
    command.add_argument(
        "--launcher", choices=("none", "pytorch", "slurm"), default="none", help="under torchrun or srun"
    )
    command.add_argument("--panoptic", action="store_true", help="panoptic quality too, of a model with both heads")
    add_deploy_argument(command)
    add_import_argument(command)
    command.set_defaults(run=run_eval)


def add_eval_json(commands) -> None:
    command = commands.add_parser("eval-json", help="COCO's numbers from two JSON files: ground truth and results")
    command.add_argument("truth", metavar="GT", help="annotations as of COCO, instances_val2017.json")
    command.add_argument("results", metavar="DT", help="results in the server's format, results.bbox.json")
    command.add_argument("--kind", choices=("bbox", "segm"), help="default: segm where the results have masks")
    command.add_argument("--out", metavar="DIR", help="for metrics.json and metrics.md (default: none written)")
    command.set_defaults(run=run_eval_json)


def add_predict(commands) -> None:
    command = commands.add_parser("predict", help="segment or classify images, folders or glob patterns")
    command.add_argument(
        "weights", metavar="WEIGHTS", help="a work dir, a checkpoint of ours, hf:ORG/NAME, or with --config any weights"
    )
    command.add_argument("inputs", nargs="+", metavar="INPUT", help="images, folders, patterns such as 'in/*.jpg'")
    command.add_argument("--out", default="predictions", metavar="DIR", help="default: predictions")
    command.add_argument("--config", metavar="CONFIG", help="for weights that do not say which model they are")
    command.add_argument("--device", help="cpu, cuda, cuda:1, … (default: cuda if there is one)")
    command.add_argument("--output-stride", type=int, choices=(8, 16, 32), help="other than in training")
    command.add_argument("--window", type=int, nargs=2, metavar=("H", "W"), help="slide a window over large images")
    command.add_argument("--scales", type=float, nargs="+", metavar="S", help="average over these scales")
    command.add_argument("--flip", action="store_true", help="average with the mirrored image")
    add_deploy_argument(command)
    add_import_argument(command)
    command.set_defaults(run=run_predict)


def add_export(commands) -> None:
    command = commands.add_parser("export", help="a model as one ONNX file for images of any size, compared with it")
    command.add_argument("source", metavar="CONFIG|WEIGHTS", help="a work dir, a checkpoint of ours, hf:…, or a config")
    command.add_argument("--weights", metavar="W", help="of a config, instead of its own")
    command.add_argument("--out", default="model.onnx", metavar="FILE", help="default: model.onnx")
    command.add_argument("--output-stride", type=int, choices=(8, 16, 32), help="other than in training")
    command.add_argument("--data-root", metavar="DIR", help="of a config, where its data set tells the class names")
    add_import_argument(command)
    command.set_defaults(run=run_export)


def add_data(commands) -> None:
    group = commands.add_parser("data", help="check and convert data sets").add_subparsers(
        required=True, metavar="WHAT"
    )
    check = group.add_parser("check", help="audit a config's data before training; exits with 3 on faults")
    add_config_arguments(check)
    check.set_defaults(run=run_data_check)
    convert = group.add_parser("convert", help="bring a data set into a layout that configs read")
    formats = convert.add_subparsers(required=True, metavar="FORMAT")
    sbd = formats.add_parser("sbd", help="SBD's .mat files: VOC's augmented training set of 10,582 images")
    sbd.add_argument(
        "sbd_root", metavar="SBD", help="folder that holds cls/, train.txt and val.txt, or dataset/ with them"
    )
    sbd.add_argument("voc_root", metavar="VOC2012", help="folder that holds JPEGImages/ and SegmentationClass/")
    sbd.set_defaults(run=run_convert_sbd)
    crops = formats.add_parser("crops", help="the boxes of a detection set in VOC layout, cut out for classification")
    crops.add_argument("voc_root", metavar="VOC_ROOT", help="it holds JPEGImages/, Annotations/ and ImageSets/Main/")
    crops.add_argument("out", metavar="OUT", help="new folder for {train,val}/CLASS/*.png and classes.txt")
    crops.add_argument("--margin", type=float, default=0.1, metavar="M", help="around a box, in its longer edges (0.1)")
    crops.set_defaults(run=run_convert_crops)
    voc = formats.add_parser("voc", help="VOC's detection layout to one COCO JSON")
    voc.add_argument("root", metavar="VOC_ROOT", help="it holds JPEGImages/, Annotations/ and ImageSets/Main/")
    voc.add_argument(
        "--split", nargs="+", default=["train"], metavar="S", help="or several, as VOC2007/trainval (train)"
    )
    voc.add_argument(
        "--difficult",
        choices=("ignore", "keep", "drop"),
        default="ignore",
        help="objects: ignore marks them as crowds, neither learned nor asked for nor punished (default)",
    )
    cityscapes = formats.add_parser("cityscapes", help="Cityscapes' instances (gtFine) to one COCO JSON with masks")
    cityscapes.add_argument("root", metavar="ROOT", help="it holds leftImg8bit/ and gtFine/")
    cityscapes.add_argument("--split", default="train", metavar="S", help="train, val (default: train)")
    labelme = formats.add_parser("labelme", help="labelme's files, one JSON an image, to one COCO JSON with masks")
    labelme.add_argument("root", metavar="FOLDER", help="it holds the files, also in folders of its own")
    for command in (voc, labelme):
        command.add_argument("--classes", metavar="FILE", help="names in the order of labels, one a line")
        command.add_argument("--drop-invalid", action="store_true", help="leave out objects without area in the image")
    for command, run in ((voc, run_convert_voc), (cityscapes, run_convert_cityscapes), (labelme, run_convert_labelme)):
        command.add_argument("out", metavar="OUT.json")
        command.add_argument("--overwrite", action="store_true", help="write over OUT.json if it exists")
        command.set_defaults(run=run)


def add_config(commands) -> None:
    group = commands.add_parser("config", help="shipped configs").add_subparsers(required=True, metavar="WHAT")
    names = group.add_parser("list", help="names and titles of the shipped configs")
    names.set_defaults(run=run_config_list)
    info = group.add_parser("info", help="a config as it is after inheritance and overrides, ready to be saved as one")
    add_config_arguments(info)
    info.set_defaults(run=run_config_info)


def add_weights(commands) -> None:
    group = commands.add_parser("weights", help="published weights, and weights of other programs").add_subparsers(
        required=True, metavar="WHAT"
    )
    names = group.add_parser("list", help="published weights: name, figure, licence, config")
    names.set_defaults(run=run_weights_list)
    convert = group.add_parser("convert", help="any weights to one .safetensors of ours with a card")
    convert.add_argument(
        "weights", metavar="W", help="a file, folder or prefix, a published name, timm:NAME, hf:ORG/NAME"
    )
    convert.add_argument("out", metavar="OUT.safetensors")
    convert.add_argument("--config", required=True, metavar="C", help="the config of the model that they belong to")
    convert.set_defaults(run=run_weights_convert)


def add_benchmark(commands) -> None:
    command = commands.add_parser("benchmark", help="ours beside other libraries, in turn, on this machine")
    names = ("inference", "train", "data", "metrics", "predict", "kernels", "growth", "start")
    command.add_argument(
        "--sections",
        nargs="+",
        choices=names,
        metavar="S",
        help=f"of {', '.join(names)} (default: all; with --quick the first four)",
    )
    command.add_argument("--quick", action="store_true", help="two minutes on two cores: small, nothing compiled")
    command.add_argument("--rounds", type=int, metavar="N", help="times that each takes its turn (10; quick 3)")
    command.add_argument(
        "--size", type=int, metavar="PIXELS", help="edge of the square images, a multiple of 16 (512; quick 256)"
    )
    command.add_argument("--threads", type=int, metavar="N", help="of the CPU (default: torch's)")
    command.add_argument("--out", default="benchmark", metavar="DIR", help="for benchmark.json, .md and growth.png")
    command.set_defaults(run=run_benchmark)


def add_study(commands) -> None:
    command = commands.add_parser("study", help="train a grid of variants and seeds, and compare them")
    command.add_argument("study", metavar="STUDY", help="name of a shipped study, path of your own, or `list`")
    command.add_argument("--size", default="cpu", metavar="S", help="cpu (minutes on two cores, default) or gpu (days)")
    command.add_argument("--seeds", type=int, nargs="+", metavar="N", help="instead of the study's own")
    command.add_argument("--out", metavar="DIR", help="for runs and results (default: work_dirs/study_<name>_<size>)")
    command.add_argument("--amp", nargs="?", const="bf16", choices=("bf16", "fp16"), help="mixed precision (bf16)")
    command.add_argument("--dry-run", action="store_true", help="show the grid, its parameters and multiply-adds")
    add_override_arguments(command)
    command.set_defaults(run=run_study)


def add_deploy_argument(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--deploy",
        nargs="?",
        const="fp32",
        choices=PRECISIONS,
        help="fold BatchNorms and drop what only training needs, for speed; bf16 and fp16 compute in that",
    )
    command.add_argument(
        "--backend",
        choices=BACKENDS,
        help="what computes the deployed model, where installed; auto: the fastest (default: torch); means --deploy",
    )


def add_import_argument(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--import",
        dest="imports",
        action="append",
        default=[],
        metavar="MODULE",
        help="a module with your own backbones, heads or losses, perhaps in the working directory; can be repeated",
    )


def add_config_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("config", metavar="CONFIG", help="path, or name of a shipped config (`xseg config list`)")
    command.add_argument(
        "--backbone", metavar="B", help="another: xception41, xception65@0.5 (width), timm:resnet50, smp:mit_b0"
    )
    command.add_argument("--schedule", metavar="S", help="another length: 1x, 2x, 30k, 90k, …")
    add_override_arguments(command)


def add_override_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("--data-root", metavar="DIR", help="where the data set lies, instead of the config's root")
    command.add_argument(
        "--cfg-options",
        nargs="+",
        action=Overrides,
        default={},
        metavar="K=V",
        help="override config values: train_dataloader.batch_size=4 'model.inference={\"flip\": True}'",
    )


class Overrides(argparse.Action):
    """`a.b=1 c=text` -> {"a.b": 1, "c": "text"}: a Python literal if it is one, else the string as typed."""

    def __call__(self, parser, namespace, values, option_string=None):
        options = dict(getattr(namespace, self.dest))
        for item in values:
            key, equals, text = item.partition("=")
            if not (key and equals):
                parser.error(f"{option_string} takes KEY=VALUE, got {item!r}")
            options[key] = literal(text)
        setattr(namespace, self.dest, options)


def literal(text: str) -> object:
    try:
        return ast.literal_eval({"true": "True", "false": "False", "none": "None"}.get(text, text))
    except (ValueError, SyntaxError):
        return text
