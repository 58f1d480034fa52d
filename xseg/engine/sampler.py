"""Which image is next, and with which random numbers: a function of (seed, position) and of nothing else.

Position p of the training stream is the same image with the same augmentation whatever the number of workers and
ranks, and whether or not the run was interrupted before it.
"""

from collections.abc import Iterator, Sized

import torch
from mmengine.dist import get_dist_info, sync_random_seed
from mmengine.registry import DATA_SAMPLERS
from torch.utils.data import Sampler

from xseg.data.draw import Draw

from .seeds import mix_seed


@DATA_SAMPLERS.register_module()
class TrainSampler(Sampler):
    """Endless stream of `Draw(index, seed)`; rank r of w takes the positions r, r + w, r + 2w, ….

    Args:
        dataset: anything with a length.
        shuffle: a new permutation in every epoch; otherwise the order of the data set.
        seed: the same on all ranks; None draws one and shares it. mmengine hands in the seed of the run.
    """

    def __init__(self, dataset: Sized, shuffle: bool = True, seed: int | None = None) -> None:
        self.num_images = _count(dataset)
        self.shuffle = shuffle
        self.seed = sync_random_seed() if seed is None else seed
        self.rank, self.world_size = get_dist_info()
        self.start = 0  # position in the global stream, over all ranks

    def skip_to(self, position: int) -> None:
        """Let the next iterator begin at this global position: nothing before it is drawn or loaded."""
        if position < 0:
            raise ValueError(f"position must be 0 or more, got {position}")
        self.start = position

    def __iter__(self) -> Iterator[Draw]:
        epoch, order = -1, []
        position = self.start + self.rank
        while True:
            if position // self.num_images != epoch:
                epoch = position // self.num_images
                order = self._order(epoch)
            yield Draw(order[position % self.num_images], mix_seed(self.seed, 1, position))
            position += self.world_size

    def __len__(self) -> int:
        """Images per rank and epoch, for the loggers; the stream itself never ends."""
        return -(-self.num_images // self.world_size)

    def _order(self, epoch: int) -> list[int]:
        if not self.shuffle:
            return list(range(self.num_images))
        generator = torch.Generator().manual_seed(mix_seed(self.seed, 0, epoch))
        return torch.randperm(self.num_images, generator=generator).tolist()


@DATA_SAMPLERS.register_module()
class EvalSampler(Sampler):
    """Every image once over all ranks, in order and without padding, so that sums over ranks are exact.

    Args:
        dataset: anything with a length.
        limit: take only the first so many images (`--dry-run`).
        seed: unused; mmengine hands it to every sampler.
    """

    def __init__(self, dataset: Sized, limit: int | None = None, seed: int | None = None) -> None:
        num_images = _count(dataset)
        rank, world_size = get_dist_info()
        self.indices = range(rank, num_images if limit is None else min(limit, num_images), world_size)

    def __iter__(self) -> Iterator[int]:
        return iter(self.indices)

    def __len__(self) -> int:
        return len(self.indices)


def _count(dataset: Sized) -> int:
    if len(dataset) == 0:
        raise ValueError(
            f"dataset must hold at least one image, but {type(dataset).__name__} is empty; "
            "check its folder, its split file and its filters"
        )
    return len(dataset)
