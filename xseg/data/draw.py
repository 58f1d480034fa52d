"""The key by which a training sampler asks for one augmented sample."""

from typing import NamedTuple

import torch
from torch.utils.data import Dataset


class Draw(NamedTuple):
    """Sample `index`, augmented with the random numbers that follow from `seed` and from nothing else.

    A sampler that yields draws makes augmentation a function of its own order: the same for any number of workers,
    the same after a resume, different in every pass. A `DrawnDataset` takes it wherever it takes an int.
    """

    index: int
    seed: int  # 0 <= seed < 2**63


class DrawnDataset(Dataset):
    """A data set whose `sample(index)` takes all random numbers from torch's global generator."""

    def __getitem__(self, key: int | Draw) -> dict:
        """The sample; a `Draw` fixes the transforms' random numbers and leaves the caller's generators as they were."""
        if not isinstance(key, Draw):
            return self.sample(key)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(key.seed)  # torch.manual_seed would reseed the GPU, too
            return self.sample(key.index)

    def sample(self, index: int) -> dict:
        raise NotImplementedError(f"{type(self).__name__} must define sample(index)")
