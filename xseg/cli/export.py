"""`xseg export`: write a model as one ONNX file."""

from xseg.cli.options import add_import_argument, import_own


def add(commands) -> None:
    command = commands.add_parser("export", help="write a model as one ONNX file for images of any size, and check it")
    command.add_argument(
        "source", metavar="CONFIG|WEIGHTS", help="a work dir, a checkpoint of xseg, hf:ORG/NAME, or a config"
    )
    command.add_argument("--weights", metavar="W", help="with a config: weights instead of the config's own")
    command.add_argument("--out", default="model.onnx", metavar="FILE", help="default: model.onnx")
    command.add_argument("--output-stride", type=int, choices=(8, 16, 32), help="default: that of the training")
    command.add_argument("--data-root", metavar="DIR", help="with a config: folder of its data set, for class names")
    add_import_argument(command)
    command.set_defaults(run=run)


def run(arguments) -> int:
    from xseg.deploy.onnx import export
    from xseg.run.load import load

    model = load(arguments.source, arguments.weights, "cpu", arguments.data_root, import_own(arguments))
    if arguments.output_stride:
        model.set_output_stride(arguments.output_stride)
    for line in export(model, arguments.out):
        print(line)
    return 0
