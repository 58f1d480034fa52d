"""Look at every file of a data set before a training run trips over one.

Faults are what makes a run fail or its numbers wrong; warnings are what may well be meant.
"""

from collections.abc import Mapping

from mmengine.registry import DATASETS
from torch.utils.data import Dataset

from xseg.data.check.classification import check_classification
from xseg.data.check.detection import check_detection
from xseg.data.check.report import Fault, Findings, Report, overlaps
from xseg.data.check.segmentation import check_segmentation
from xseg.data.sets.classification import ClassificationDataset
from xseg.data.sets.coco import CocoDetection
from xseg.data.sets.detection import DetectionDataset
from xseg.data.sets.segmentation import SegmentationDataset
from xseg.data.sets.voc import VOCDetection

__all__ = ["Fault", "Report", "check", "check_dataset"]

CHECKS = {  # in this order: the first whose class fits
    SegmentationDataset: check_segmentation,
    DetectionDataset: check_detection,
    ClassificationDataset: check_classification,
}


def check_dataset(dataset: Dataset | dict, name: str = "data set", num_threads: int | None = None) -> Report:
    """Look at one data set; see `check`."""
    return check({name: dataset}, num_threads)


def check(datasets: Mapping[str, Dataset | dict], num_threads: int | None = None) -> Report:
    """Read every image and annotation, go on after a fault, and look in the others for images of `train`.

    Transforms are not run.

    Args:
        datasets: data sets of any of the three tasks, or their configs. Boxes can be checked from a config alone: a
            `CocoDetection` or `VOCDetection` refuses wrong ones when it is made.
    """
    report = Report()
    digests: dict[str, dict[bytes, str]] = {}  # data set -> image content -> path
    for name, source in datasets.items():
        found = _check_one(source, name, num_threads)
        report.faults += found.faults
        report.warnings += found.warnings
        report.statistics[name], digests[name] = found.statistics, found.digests
    report.faults += overlaps(digests)
    return report


def _check_one(source: Dataset | dict, name: str, num_threads: int | None) -> Findings:
    if isinstance(source, dict):
        kind = source["type"] if isinstance(source["type"], type) else DATASETS.get(source["type"])
        if kind in (CocoDetection, VOCDetection):
            return check_detection(dict(source, type=kind), name, num_threads)
        source = DATASETS.build(dict(source))
    for kind, action in CHECKS.items():
        if isinstance(source, kind):
            return action(source, name, num_threads)
    raise ValueError(f"{name}: {type(source).__name__} cannot be checked; it is no data set of xseg")
