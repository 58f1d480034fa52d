"""Class weights for data where some classes cover a hundred times the pixels of others."""

import numpy as np

from xseg.data.read.images import read_mask
from xseg.data.sets.classification import ClassificationDataset
from xseg.data.sets.segmentation import SegmentationDataset


def balanced_weights(dataset: SegmentationDataset) -> list[float]:
    """One factor a class by `weights_of_counts`, of the labelled pixels in all masks."""
    counts = np.zeros(256, np.int64)
    for _, _, path in dataset.pairs:
        counts += np.bincount(dataset.map_labels(read_mask(path), path).numpy().ravel(), minlength=256)
    return weights_of_counts(counts[: len(dataset.classes)])


def weights_of_counts(counts: np.ndarray) -> list[float]:
    """One factor a class: sqrt(median count / count) over the classes seen; 1 for a class never seen.

    The root halves, on a logarithmic scale, the median frequency balancing of Eigen and Fergus 2015 (arXiv:1411.4734),
    which makes a network see rare classes everywhere.
    """
    weights, seen = np.ones(len(counts)), counts > 0
    if seen.any():
        weights[seen] = np.sqrt(np.median(counts[seen]) / counts[seen])
    return [round(float(weight), 2) for weight in weights]


def balanced_label_weights(dataset: ClassificationDataset) -> list[float]:
    """One factor a class by `weights_of_counts`, of the number of its images."""
    labels = [label for index in range(len(dataset)) for label in dataset.labels_of(index)]
    return weights_of_counts(np.bincount(np.array(labels, np.int64), minlength=len(dataset.classes)))
