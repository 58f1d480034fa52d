"""The key by which a training sampler asks for one augmented sample."""

from typing import NamedTuple


class Draw(NamedTuple):
    """Sample `index`, augmented with the random numbers that follow from `seed` and from nothing else.

    A sampler that yields draws makes augmentation a function of its own order: the same for any number of workers,
    the same after a resume, different in every pass. `SegmentationDataset` takes it wherever it takes an int.
    """

    index: int
    seed: int  # 0 <= seed < 2**63
