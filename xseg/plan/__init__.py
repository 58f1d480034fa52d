"""From a folder of data to a training: splits, a fingerprint, and a plan whose numbers have reasons."""

from xseg.plan.fingerprint import Fingerprint, fingerprint
from xseg.plan.plan import Plan, make_plan
from xseg.plan.recipes import Choices
from xseg.plan.splits import Splits, make_folds, make_splits

__all__ = ["Choices", "Fingerprint", "Plan", "Splits", "fingerprint", "make_folds", "make_plan", "make_splits"]
