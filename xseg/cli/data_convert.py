"""`xseg data convert`: convert a data set to a layout that configs read."""

from pathlib import Path


def add(group) -> None:
    convert = group.add_parser("convert", help="convert a data set to a layout that configs read")
    formats = convert.add_subparsers(required=True, metavar="FORMAT")
    sbd = formats.add_parser("sbd", help="SBD's .mat files: VOC's augmented training set of 10,582 images")
    sbd.add_argument(
        "sbd_root", metavar="SBD", help="folder with cls/, train.txt and val.txt, or with dataset/ that holds them"
    )
    sbd.add_argument("voc_root", metavar="VOC2012", help="folder with JPEGImages/ and SegmentationClass/")
    sbd.set_defaults(run=run_sbd)
    crops = formats.add_parser("crops", help="cut the boxes of a data set in VOC's layout out, for classification")
    crops.add_argument("voc_root", metavar="VOC_ROOT", help="folder with JPEGImages/, Annotations/ and ImageSets/Main/")
    crops.add_argument("out", metavar="OUT", help="new folder for {train,val}/CLASS/*.png and classes.txt")
    crops.add_argument(
        "--margin",
        type=float,
        default=0.1,
        metavar="M",
        help="margin around a box, in units of its longer edge (0.1)",
    )
    crops.set_defaults(run=run_crops)
    voc = formats.add_parser("voc", help="VOC's detection layout to one COCO JSON")
    voc.add_argument("root", metavar="VOC_ROOT", help="folder with JPEGImages/, Annotations/ and ImageSets/Main/")
    voc.add_argument(
        "--split",
        nargs="+",
        default=["train"],
        metavar="S",
        help="one or several, such as VOC2007/trainval (train)",
    )
    voc.add_argument(
        "--difficult",
        choices=("ignore", "keep", "drop"),
        default="ignore",
        help="for difficult objects; ignore (default) marks them as crowds, which training and evaluation skip",
    )
    cityscapes = formats.add_parser("cityscapes", help="Cityscapes' instances (gtFine) to one COCO JSON with masks")
    cityscapes.add_argument("root", metavar="ROOT", help="folder with leftImg8bit/ and gtFine/")
    cityscapes.add_argument("--split", default="train", metavar="S", help="train or val (default: train)")
    labelme = formats.add_parser("labelme", help="labelme's files, one JSON per image, to one COCO JSON with masks")
    labelme.add_argument("root", metavar="FOLDER", help="folder with the files, also in its subfolders")
    for command in (voc, labelme):
        command.add_argument("--classes", metavar="FILE", help="class names in the order of labels, one per line")
        command.add_argument("--drop-invalid", action="store_true", help="skip objects that have no area in the image")
    for command, run in ((voc, run_voc), (cityscapes, run_cityscapes), (labelme, run_labelme)):
        command.add_argument("out", metavar="OUT.json")
        command.add_argument("--overwrite", action="store_true", help="replace OUT.json if it exists")
        command.set_defaults(run=run)


def run_sbd(arguments) -> int:
    from xseg.data.convert.sbd import convert_sbd

    counts = convert_sbd(arguments.sbd_root, arguments.voc_root)
    print(", ".join(f"{name}: {count}" for name, count in counts.items()))
    return 0


def run_crops(arguments) -> int:
    from xseg.data.convert.crops import convert_crops

    for split, counts in convert_crops(arguments.voc_root, arguments.out, arguments.margin).items():
        print(f"{split}: " + ", ".join(f"{count} {name}" for name, count in counts.items()))
    return 0


def run_voc(arguments) -> int:
    from xseg.data.convert.to_coco import convert_voc

    given = {name: getattr(arguments, name) for name in ("split", "classes", "difficult", "drop_invalid", "overwrite")}
    return print_written(convert_voc(arguments.root, arguments.out, **given), arguments)


def run_cityscapes(arguments) -> int:
    from xseg.data.convert.to_coco import convert_cityscapes

    written = convert_cityscapes(arguments.root, arguments.out, arguments.split, arguments.overwrite)
    return print_written(written, arguments)


def run_labelme(arguments) -> int:
    from xseg.data.convert.labelme import convert_labelme

    given = {name: getattr(arguments, name) for name in ("classes", "drop_invalid", "overwrite")}
    return print_written(convert_labelme(arguments.root, arguments.out, **given), arguments)


def print_written(written, arguments) -> int:
    """Print the counts of a conversion to COCO, and the data set for a config."""
    images, objects, crowds, left_out = written
    print(f"{images} images, {objects} objects, {crowds} of them crowds, {left_out} left out: {arguments.out}")
    file = str(Path(arguments.out).resolve())
    print(f"dataset=dict(type=CocoDetection, root={arguments.root!r}, images='.', annotations={file!r})")
    return 0
