"""Class weights for unbalanced data, where some classes have a hundred times the pixels of others."""

import numpy as np

from xseg.data.read.images import read_mask
from xseg.data.sets.classification import ClassificationDataset
from xseg.data.sets.segmentation import SegmentationDataset


def balanced_weights(dataset: SegmentationDataset) -> list[float]:
    """One factor per class from the number of its pixels in all masks; see `weights_of_counts`."""
    counts = np.zeros(256, np.int64)
    for _, _, path in dataset.pairs:
        counts += np.bincount(dataset.map_labels(read_mask(path), path).numpy().ravel(), minlength=256)
    return weights_of_counts(counts[: len(dataset.classes)])


def weights_of_counts(counts: np.ndarray) -> list[float]:
    """One factor per class: sqrt(median count / count), with the median over classes that occur; 1 for other classes.

    Source: median frequency balancing of Eigen and Fergus 2015 (arXiv:1411.4734). The root is our own: it halves the
    weights on a logarithmic scale, because the full weights make a network predict rare classes everywhere.
    """
    weights, occurs = np.ones(len(counts)), counts > 0
    if occurs.any():
        weights[occurs] = np.sqrt(np.median(counts[occurs]) / counts[occurs])
    return [round(float(weight), 2) for weight in weights]


def balanced_label_weights(dataset: ClassificationDataset) -> list[float]:
    """One factor per class from the number of its images; see `weights_of_counts`."""
    labels = [label for index in range(len(dataset)) for label in dataset.labels_of(index)]
    return weights_of_counts(np.bincount(np.array(labels, np.int64), minlength=len(dataset.classes)))
