"""`xseg study` trains variants of a network, each with several seeds under one recipe, and compares them."""

from xseg.study.page import write_report
from xseg.study.report import print_costs
from xseg.study.running import Result, Run, dry_run, run_study
from xseg.study.study import Study, find_study, read_study, shipped_studies, title_of

__all__ = [
    "Result",
    "Run",
    "Study",
    "dry_run",
    "find_study",
    "print_costs",
    "read_study",
    "run_study",
    "shipped_studies",
    "title_of",
    "write_report",
]
