"""`python -m xseg`, for torchrun."""

from xseg.cli import main

raise SystemExit(main())
