"""`xseg benchmark`: time xseg beside other libraries on this machine."""


def add(commands) -> None:
    command = commands.add_parser("benchmark", help="time xseg beside other libraries on this machine")
    names = ("inference", "train", "data", "metrics", "predict", "kernels", "growth", "start")
    command.add_argument(
        "--sections",
        nargs="+",
        choices=names,
        metavar="S",
        help=f"sections to run: {', '.join(names)} (default: all; with --quick the first four)",
    )
    command.add_argument("--quick", action="store_true", help="small images, no compilation; 2 minutes on 2 cores")
    command.add_argument("--rounds", type=int, metavar="N", help="measurements of each candidate (10; with --quick 3)")
    command.add_argument(
        "--size", type=int, metavar="PIXELS", help="edge of the square images, a multiple of 16 (512; with --quick 256)"
    )
    command.add_argument("--threads", type=int, metavar="N", help="CPU threads (default: torch's)")
    command.add_argument(
        "--out", default="benchmark", metavar="DIR", help="folder for benchmark.json, benchmark.md and growth.png"
    )
    command.set_defaults(run=run)


def run(arguments) -> int:
    from xseg.benchmark import benchmark, print_report

    given = {name: getattr(arguments, name) for name in ("rounds", "size", "threads")}
    report = benchmark(arguments.sections, quick=arguments.quick, out=arguments.out, **given)
    print_report(report)
    print(f"written to {arguments.out}/benchmark.json and benchmark.md")
    return 0
