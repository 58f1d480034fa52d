"""Metrics: pure functions on tensors, and their mmengine metrics."""

from xseg.evaluation.classification import ClassificationMetric, MisjudgedImage, count_pairs, rank_of_truth
from xseg.evaluation.coco import CocoScores, coco_scores
from xseg.evaluation.coco_files import result_rows, write_results
from xseg.evaluation.coco_reading import CocoFiles, read_coco_files
from xseg.evaluation.confusion import Scores, confusion_matrix, scores
from xseg.evaluation.detection import DetectionMetric
from xseg.evaluation.entries import Entry, Truth, entry_of
from xseg.evaluation.errors import ERRORS, ErrorScores, Verdict, error_scores, judge
from xseg.evaluation.metric import Metric
from xseg.evaluation.multilabel import MisrankedImage, MultiLabelMetric, average_precision_at
from xseg.evaluation.panoptic import PanopticMetric, PanopticScores, panoptic_counts, panoptic_scores
from xseg.evaluation.segmentation import SegmentationMetric, WorstImage
from xseg.evaluation.tables import Table
from xseg.evaluation.voc import VocScores, average_precision, voc_scores

__all__ = [
    "ERRORS",
    "ClassificationMetric",
    "CocoFiles",
    "CocoScores",
    "DetectionMetric",
    "Entry",
    "ErrorScores",
    "Metric",
    "MisjudgedImage",
    "MisrankedImage",
    "MultiLabelMetric",
    "PanopticMetric",
    "PanopticScores",
    "Scores",
    "SegmentationMetric",
    "Table",
    "Truth",
    "Verdict",
    "VocScores",
    "WorstImage",
    "average_precision",
    "average_precision_at",
    "coco_scores",
    "confusion_matrix",
    "count_pairs",
    "entry_of",
    "error_scores",
    "judge",
    "panoptic_counts",
    "panoptic_scores",
    "rank_of_truth",
    "read_coco_files",
    "result_rows",
    "scores",
    "voc_scores",
    "write_results",
]
