"""`python tools/predict.py …`: the same as `xseg predict …`, for people who know OpenMMLab."""

import sys

from xseg.cli import main

raise SystemExit(main(["predict", *sys.argv[1:]]))
