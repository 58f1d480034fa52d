"""`xseg benchmark` times our code beside the libraries that a user could take instead, on equal inputs and threads.

The candidates of a section take turns, round after round, so that other load on the machine slows all of them alike.
Outputs that should agree are compared before anything is timed.
"""

from xseg.benchmark.report import print_report
from xseg.benchmark.running import benchmark

__all__ = ["benchmark", "print_report"]
