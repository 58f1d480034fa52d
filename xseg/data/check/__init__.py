"""Check every file of a data set before training.

Faults make a run fail or its numbers wrong. Warnings may be intended.
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

CHECKS = {  # the first entry whose class fits is used
    SegmentationDataset: check_segmentation,
    DetectionDataset: check_detection,
    ClassificationDataset: check_classification,
}


def check_dataset(dataset: Dataset | dict, name: str = "data set", num_threads: int | None = None) -> Report:
    """Check one data set; see `check`."""
    return check({name: dataset}, num_threads)


def check(datasets: Mapping[str, Dataset | dict], num_threads: int | None = None) -> Report:
    """Read every image and annotation, collect all faults, and find images of `train` in the other data sets.

    Transforms are not run.

    Args:
        datasets: data sets or their configs, by name. Wrong boxes of a `CocoDetection` or `VOCDetection` can only be
            collected from its config, because building the data set raises the first one.
    """
    report = Report()
    digests: dict[str, dict[bytes, str]] = {}  # data set -> image content -> path
    for name, source in datasets.items():
        findings = _check_one(source, name, num_threads)
        report.faults += findings.faults
        report.warnings += findings.warnings
        report.statistics[name], digests[name] = findings.statistics, findings.digests
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
    raise ValueError(f"{name}: {type(source).__name__} cannot be checked; it must derive from a data set of xseg.data")
