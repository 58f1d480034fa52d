"""What the commands of `xseg` do with their arguments. Each imports what it needs when it runs: help stays quick."""

from __future__ import annotations

import ast
import sys
from pathlib import Path


def run_train(arguments) -> int:
    from xseg.run.train import train

    load_from = arguments.load_from
    if arguments.new:
        if load_from is None:
            raise ValueError("--new names modules that --load-from leaves as initialised: give --load-from too")
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


def run_eval(arguments) -> int:
    from xseg.run.evaluate import evaluate

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
    )
    report.print()
    return 0


def run_eval_json(arguments) -> int:
    from xseg.run.eval_json import evaluate_json

    evaluate_json(arguments.truth, arguments.results, arguments.kind, arguments.out).print()
    if arguments.out:
        print(f"written to {arguments.out}/metrics.json and metrics.md")
    return 0


def run_predict(arguments) -> int:
    from dataclasses import replace

    from xseg.run.load import load
    from xseg.run.predict import find_images, predict

    find_images(arguments.inputs)  # wrong paths are told before the model is loaded
    given = {"device": arguments.device, "imports": import_own(arguments)}
    if arguments.config:
        model = load(arguments.config, arguments.weights, **given)
    else:
        model = load(arguments.weights, **given)
    views = {"window_hw": arguments.window, "scales": arguments.scales, "flip": arguments.flip}
    if views := {name: value for name, value in views.items() if value}:
        if model.task != "segmentation":
            raise ValueError(f"--window, --scales and --flip are for a Segmentor, this is a {type(model).__name__}")
        model.inference = replace(model.inference, **views)
    if arguments.output_stride:
        model.set_output_stride(arguments.output_stride)
    if arguments.deploy or arguments.backend:
        model = model.deploy(arguments.deploy, backend=arguments.backend or "torch")
    for line in predict(model, arguments.inputs, arguments.out):
        print(line, flush=True)
    print(f"written to {arguments.out}")
    return 0


def run_export(arguments) -> int:
    from xseg.deploy.onnx import export
    from xseg.run.load import load

    model = load(arguments.source, arguments.weights, "cpu", arguments.data_root, import_own(arguments))
    if arguments.output_stride:
        model.set_output_stride(arguments.output_stride)
    for line in export(model, arguments.out):
        print(line)
    return 0


def run_data_check(arguments) -> int:
    from xseg.data.check import check

    cfg = read_config(arguments)
    loaders = {key.removesuffix("_dataloader"): cfg[key] for key in cfg if key.endswith("_dataloader") and cfg[key]}
    report = check({name: loader.dataset.to_dict() for name, loader in loaders.items()})
    report.print()
    return 0 if report.ok else 3


def run_convert_sbd(arguments) -> int:
    from xseg.data.convert.sbd import convert_sbd

    counts = convert_sbd(arguments.sbd_root, arguments.voc_root)
    print(", ".join(f"{name}: {count}" for name, count in counts.items()))
    return 0


def run_convert_crops(arguments) -> int:
    from xseg.data.convert.crops import convert_crops

    for split, counts in convert_crops(arguments.voc_root, arguments.out, arguments.margin).items():
        print(f"{split}: " + ", ".join(f"{count} {name}" for name, count in counts.items()))
    return 0


def run_convert_voc(arguments) -> int:
    from xseg.data.convert.to_coco import convert_voc

    given = {name: getattr(arguments, name) for name in ("split", "classes", "difficult", "drop_invalid", "overwrite")}
    return print_written(convert_voc(arguments.root, arguments.out, **given), arguments)


def run_convert_cityscapes(arguments) -> int:
    from xseg.data.convert.to_coco import convert_cityscapes

    written = convert_cityscapes(arguments.root, arguments.out, arguments.split, arguments.overwrite)
    return print_written(written, arguments)


def run_convert_labelme(arguments) -> int:
    from xseg.data.convert.labelme import convert_labelme

    given = {name: getattr(arguments, name) for name in ("classes", "drop_invalid", "overwrite")}
    return print_written(convert_labelme(arguments.root, arguments.out, **given), arguments)


def print_written(written, arguments) -> int:
    """What a conversion to COCO wrote, and how a config reads it."""
    images, objects, crowds, left_out = written
    print(f"{images} images, {objects} objects, {crowds} of them crowds, {left_out} left out: {arguments.out}")
    file = str(Path(arguments.out).resolve())
    print(f"dataset=dict(type=CocoDetection, root={arguments.root!r}, images='.', annotations={file!r})")
    return 0


def run_weights_list(arguments) -> int:
    from rich.console import Console
    from rich.table import Table

    from xseg.weights.published import PUBLISHED

    table = Table("name", "as published", "licence", "config", box=None, pad_edge=False)
    for name, row in PUBLISHED.items():
        table.add_row(name, row.metric, row.licence, row.config)
    table.add_row("timm:NAME", "any Xception of timm, as timm:xception65.ra3_in1k", "Apache-2.0", "xception65_imagenet")
    table.add_row("hf:ORG/NAME", "what push_to_hub uploaded", "", "its own")
    Console(width=None if sys.stdout.isatty() else 160).print(table)
    return 0


def run_weights_convert(arguments) -> int:
    from xseg.run.convert_weights import convert

    print(convert(arguments.weights, arguments.out, arguments.config))
    return 0


def run_config_list(arguments) -> int:
    from xseg.config import shipped_configs

    configs = shipped_configs()
    width = max(map(len, configs))
    for name, path in configs.items():
        title = (ast.get_docstring(ast.parse(path.read_text())) or "").splitlines()[0]
        print(f"{name:{width}}  {title}")
    return 0


def run_config_info(arguments) -> int:
    print(read_config(arguments).pretty_text)
    return 0


def run_benchmark(arguments) -> int:
    from xseg.benchmark import benchmark, print_report

    given = {name: getattr(arguments, name) for name in ("rounds", "size", "threads")}
    report = benchmark(arguments.sections, quick=arguments.quick, out=arguments.out, **given)
    print_report(report)
    print(f"written to {arguments.out}/benchmark.json and benchmark.md")
    return 0


def run_study(arguments) -> int:
    from xseg.study import dry_run, print_costs, read_study, run_study, shipped_studies, title_of, write_report

    if arguments.study == "list":
        studies = shipped_studies()
        for name, path in studies.items():
            print(f"{name:{max(map(len, studies))}}  {title_of(path)}")
        return 0
    study = read_study(arguments.study, arguments.size, arguments.seeds)
    data = {"overrides": arguments.cfg_options, "data_root": arguments.data_root}
    if arguments.dry_run:
        print_costs(study, dry_run(study, **data))
        return 0
    out = Path(arguments.out or f"work_dirs/study_{study.name}_{study.size}")
    results = run_study(study, out, amp=arguments.amp, **data)
    files = write_report(study, results, out)
    print((out / "study.md").read_text(encoding="utf-8"))
    print(f"written to {out}: {', '.join(files)}")
    return 0


def read_config(arguments):
    from xseg.config import load_config

    return load_config(
        arguments.config, arguments.cfg_options, arguments.data_root, arguments.backbone, arguments.schedule
    )


def import_own(arguments) -> list[str]:
    """Import the modules of --import, which may lie in the working directory; return their names."""
    from xseg.run.load import import_modules

    if arguments.imports:
        sys.path.insert(0, "")
    return import_modules(arguments.imports)
