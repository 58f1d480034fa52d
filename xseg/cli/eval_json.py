"""`xseg eval-json`: compute COCO's numbers from two JSON files."""


def add(commands) -> None:
    command = commands.add_parser("eval-json", help="COCO's numbers from two JSON files: ground truth and results")
    command.add_argument("truth", metavar="GT", help="annotations in COCO's format, such as instances_val2017.json")
    command.add_argument("results", metavar="DT", help="results in the format of COCO's server")
    command.add_argument("--kind", choices=("bbox", "segm"), help="default: segm if the results have masks, else bbox")
    command.add_argument("--out", metavar="DIR", help="folder for metrics.json and metrics.md (default: no files)")
    command.set_defaults(run=run)


def run(arguments) -> int:
    from xseg.run.eval_json import evaluate_json

    evaluate_json(arguments.truth, arguments.results, arguments.kind, arguments.out).print()
    if arguments.out:
        print(f"written to {arguments.out}/metrics.json and metrics.md")
    return 0
