"""Class weights for data where some classes cover a hundred times the pixels of others."""

import numpy as np

from xseg.data.datasets import SegmentationDataset
from xseg.data.images import read_mask


def balanced_weights(dataset: SegmentationDataset) -> list[float]:
    """One factor a class: sqrt(median share / share) of the labelled pixels in all masks; 1 for a class never seen.

    The root halves, on a logarithmic scale, the median frequency balancing of Eigen and Fergus 2015 (arXiv:1411.4734),
    which makes a network see rare classes everywhere.
    """
    num_classes = len(dataset.classes)
    counts = np.zeros(256, np.int64)
    for _, _, path in dataset.pairs:
        counts += np.bincount(dataset.map_labels(read_mask(path), path).numpy().ravel(), minlength=256)
    seen = counts[:num_classes] > 0
    weights = np.ones(num_classes)
    if seen.any():
        weights[seen] = np.sqrt(np.median(counts[:num_classes][seen]) / counts[:num_classes][seen])
    return [round(float(weight), 2) for weight in weights]
