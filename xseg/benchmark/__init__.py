"""`xseg benchmark`: ours beside what a user would run instead: one process, the same input, the same threads, in turn.

Candidates of a section run one after the other, round after round, so that whatever else the machine does falls on
all of them; before that, outputs that should agree are compared.
"""

from xseg.benchmark.report import print_report
from xseg.benchmark.running import benchmark

__all__ = ["benchmark", "print_report"]
