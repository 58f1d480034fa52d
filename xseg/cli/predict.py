"""`xseg predict`: predict images and write the results as files."""

from xseg.cli.options import (
    add_deploy_argument,
    add_import_argument,
    add_threads_argument,
    add_window_arguments,
    fix_threads,
    import_own,
    window_of,
)


def add(commands) -> None:
    command = commands.add_parser("predict", help="segment, detect or classify images and write the results as files")
    command.add_argument(
        "weights",
        metavar="WEIGHTS",
        help="a work dir, a checkpoint of xseg, hf:ORG/NAME; with --config any weights",
    )
    command.add_argument("inputs", nargs="+", metavar="INPUT", help="images, folders, patterns such as 'in/*.jpg'")
    command.add_argument("--out", default="predictions", metavar="DIR", help="folder of results (default: predictions)")
    command.add_argument("--config", metavar="CONFIG", help="config of the model, for weights that do not hold it")
    command.add_argument("--device", help="cpu, cuda, cuda:1, … (default: cuda if there is one)")
    command.add_argument("--output-stride", type=int, choices=(8, 16, 32), help="default: that of the training")
    add_window_arguments(command)
    command.add_argument("--scales", type=float, nargs="+", metavar="S", help="average over these scales")
    command.add_argument("--flip", action="store_true", help="average with the prediction of the mirrored image")
    add_save_arguments(command)
    add_threads_argument(command)
    add_deploy_argument(command)
    add_import_argument(command)
    command.set_defaults(run=run)


def add_save_arguments(command) -> None:
    group = command.add_argument_group("files of annotation tools, in place of pictures")
    group.add_argument("--save", metavar="FORMAT", help="labelme, coco, yolo, cvat, voc, png or geojson, into --out")
    group.add_argument("--tolerance", type=float, metavar="PIXELS", help="of simplified polygons (default 1; 0: exact)")
    group.add_argument("--min-area", type=int, metavar="PIXELS", help="of the smallest region of a class (default 16)")
    group.add_argument("--score", type=float, metavar="S", help="lowest score of a detection (default 0.5)")


def run(arguments) -> int:
    from dataclasses import replace

    from xseg.run.annotations import Saving
    from xseg.run.load import load
    from xseg.run.predict import find_images, predict

    fix_threads(arguments)
    options = {name: getattr(arguments, name) for name in ("tolerance", "min_area", "score")}
    options = {name: value for name, value in options.items() if value is not None}
    if options and not arguments.save:
        raise ValueError(f"--{next(iter(options)).replace('_', '-')} is for --save FORMAT; add it")
    saving = Saving(arguments.save, **options) if arguments.save else None
    find_images(arguments.inputs)  # wrong paths raise before the model is loaded
    given = {"device": arguments.device, "imports": import_own(arguments)}
    if arguments.config:
        model = load(arguments.config, arguments.weights, **given)
    else:
        model = load(arguments.weights, **given)
    if window := window_of(arguments):
        model.set_windows(**window)
    views = {"scales": arguments.scales, "flip": arguments.flip}
    if views := {name: value for name, value in views.items() if value}:
        if model.task != "segmentation":
            raise ValueError(f"--scales and --flip are for a Segmentor, this is a {type(model).__name__}")
        model.inference = replace(model.inference, **views)
    if arguments.output_stride:
        model.set_output_stride(arguments.output_stride)
    if arguments.deploy or arguments.backend:
        model = model.deploy(arguments.deploy, backend=arguments.backend or "torch")
    for line in predict(model, arguments.inputs, arguments.out, saving):
        print(line, flush=True)
    print(f"written to {arguments.out}")
    return 0
