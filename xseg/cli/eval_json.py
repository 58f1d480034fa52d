"""`xseg eval-json`: COCO's numbers from two JSON files."""


def add(commands) -> None:
    command = commands.add_parser("eval-json", help="COCO's numbers from two JSON files: ground truth and results")
    command.add_argument("truth", metavar="GT", help="annotations as of COCO, instances_val2017.json")
    command.add_argument("results", metavar="DT", help="results in the server's format, results.bbox.json")
    command.add_argument("--kind", choices=("bbox", "segm"), help="default: segm where the results have masks")
    command.add_argument("--out", metavar="DIR", help="for metrics.json and metrics.md (default: none written)")
    command.set_defaults(run=run)


def run(arguments) -> int:
    from xseg.run.eval_json import evaluate_json

    evaluate_json(arguments.truth, arguments.results, arguments.kind, arguments.out).print()
    if arguments.out:
        print(f"written to {arguments.out}/metrics.json and metrics.md")
    return 0
