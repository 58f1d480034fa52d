"""`python tools/train.py …`: the same as `xseg train …`, for people who know OpenMMLab."""

import sys

from xseg.cli import main

raise SystemExit(main(["train", *sys.argv[1:]]))
