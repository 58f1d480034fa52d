"""`python tools/eval.py …`: the same as `xseg eval …`, for people who know OpenMMLab."""

import sys

from xseg.cli import main

raise SystemExit(main(["eval", *sys.argv[1:]]))
