"""The key by which a training sampler asks for one augmented sample."""

from typing import NamedTuple

import torch
from torch.utils.data import Dataset


class Draw(NamedTuple):
    """Asks for sample `index`, augmented with random numbers that depend on `seed` alone.

    With a sampler that yields draws, augmentation depends on the order of the sampler alone. It is the same for any
    number of workers and after a resume, and different in every epoch. A `DrawnDataset` accepts a draw or an int.
    """

    index: int
    seed: int  # 0 <= seed < 2**63


class DrawnDataset(Dataset):
    """A data set that defines `sample(index)`, with all random numbers from torch's global generator."""

    def __getitem__(self, key: int | Draw) -> dict:
        """The sample. A `Draw` sets the seed of the transforms and does not change the generators of the caller."""
        if not isinstance(key, Draw):
            return self.sample(key)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(key.seed)  # torch.manual_seed would also seed the GPU
            return self.sample(key.index)

    def sample(self, index: int) -> dict:
        raise NotImplementedError(f"{type(self).__name__} must define sample(index)")
