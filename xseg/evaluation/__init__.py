"""Metrics: pure functions on tensors, and their mmengine metrics."""

from xseg.evaluation.confusion import Scores, confusion_matrix, scores
from xseg.evaluation.segmentation import SegmentationMetric, WorstImage

__all__ = ["Scores", "SegmentationMetric", "WorstImage", "confusion_matrix", "scores"]
