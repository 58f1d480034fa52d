"""Which image is next, and with which random numbers: a function of (seed, position) and of nothing else.

Position p of the training stream is the same image with the same augmentation whatever the number of workers and
ranks, and whether or not the run was interrupted before it.
"""

from collections.abc import Iterator, Sequence, Sized

import numpy as np
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
        dataset: anything with a length; a `DetectionDataset` for the last two.
        shuffle: a new permutation in every epoch; otherwise the order of the data set.
        seed: the same on all ranks; None draws one and shares it. mmengine hands in the seed of the run.
        same_orientation: the images of a step over all ranks are all wide (width >= height) or all tall, which saves
            padding. Every image comes once in an epoch, but for the few that fill up the last step of either kind. How
            many images a step takes is told to `skip_to`; another number gives another order.
        repeat_threshold: share of the images below which a class is rare; images with rare classes come more often,
            see `repeat_factors`.
    """

    def __init__(
        self,
        dataset: Sized,
        shuffle: bool = True,
        seed: int | None = None,
        same_orientation: bool = False,
        repeat_threshold: float | None = None,
    ) -> None:
        self.num_images = _count(dataset)
        if getattr(dataset, "num_learnable", None) == 0:
            raise ValueError(
                f"{type(dataset).__name__} has {self.num_images} images, but no object to learn (crowds and difficult "
                "ones do not count); check its annotations, its classes and its filters"
            )
        self.shuffle = shuffle
        self.seed = sync_random_seed() if seed is None else seed
        self.rank, self.world_size = get_dist_info()
        self.start = 0  # position in the global stream, over all ranks
        self.images_per_step = 1  # over all ranks
        if not isinstance(same_orientation, bool):
            raise ValueError(
                f"same_orientation must be True or False, got {same_orientation}; the number of images follows the "
                "batch size and the number of processes"
            )
        self._is_wide, self._repeats = None, None
        if same_orientation:
            height, width = _needed(dataset, "sizes_hw", "same_orientation").T
            self._is_wide = width >= height
        if repeat_threshold is not None:
            labels_of = _needed(dataset, "labels_of", "repeat_threshold")
            labels = [labels_of(index) for index in range(self.num_images)]
            self._repeats = repeat_factors(labels, len(dataset.classes), repeat_threshold)

    def skip_to(self, position: int, images_per_step: int = 1) -> None:
        """Let the next iterator begin at this global position: nothing before it is drawn or loaded.

        Args:
            position: images before it, over all ranks.
            images_per_step: of a training step, over all ranks; `same_orientation` needs it.
        """
        if position < 0:
            raise ValueError(f"position must be 0 or more, got {position}")
        self.start, self.images_per_step = position, images_per_step

    def __iter__(self) -> Iterator[Draw]:
        position = self.start + self.rank
        epoch, first = 0, 0  # and the position at which it begins
        order = self._order(0)
        if self._repeats is None:  # all epochs are equally long
            epoch = position // len(order)
            first = epoch * len(order)
            order = self._order(epoch)
        while True:
            while position >= first + len(order):
                first += len(order)
                epoch += 1
                order = self._order(epoch)
            yield Draw(order[position - first], mix_seed(self.seed, 1, position))
            position += self.world_size

    def __len__(self) -> int:
        """Images per rank and epoch, for the loggers; the stream itself never ends."""
        return -(-len(self._order(0)) // self.world_size)

    def _order(self, epoch: int) -> list[int]:
        order = torch.arange(self.num_images)
        if self._repeats is not None:  # rounded up as often as the fraction says
            chance = torch.rand(self.num_images, generator=self._generator(2, epoch), dtype=torch.float64)
            counts = torch.floor(torch.from_numpy(self._repeats) + chance)
            order = order.repeat_interleave(counts.long())
        if self.shuffle:
            order = order[torch.randperm(len(order), generator=self._generator(0, epoch))]
        if self._is_wide is not None:
            order = self._in_rows(order, epoch)
        return order.tolist()

    def _in_rows(self, order: torch.Tensor, epoch: int) -> torch.Tensor:
        """The same images in rows of one orientation; the last row of each is filled up from its beginning."""
        is_wide, length = torch.from_numpy(self._is_wide)[order], self.images_per_step
        rows = []
        for images in (order[is_wide], order[~is_wide]):
            places = torch.arange(-(-len(images) // length) * length) % max(len(images), 1)
            rows.append(images[places].reshape(-1, length))
        rows = torch.cat(rows)
        if self.shuffle:
            rows = rows[torch.randperm(len(rows), generator=self._generator(3, epoch))]
        return rows.flatten()

    def _generator(self, purpose: int, epoch: int) -> torch.Generator:
        return torch.Generator().manual_seed(mix_seed(self.seed, purpose, epoch))


def repeat_factors(labels: Sequence[np.ndarray], num_classes: int, threshold: float) -> np.ndarray:
    """How often an epoch shows each image on average: (N,) float64, 1 or more.

    A class in a share f of the images counts max(1, sqrt(threshold / f)), an image as its rarest class; one without
    objects counts 1.

    Args:
        labels: of every image's objects.
        threshold: share of images, in (0, 1]; LVIS takes 0.001.

    Source: Gupta et al. 2019 (arXiv:1908.03195), Sec. 5.
    """
    if not 0 < threshold <= 1:
        raise ValueError(f"threshold must be a share of the images in (0, 1], got {threshold}")
    held = np.zeros(num_classes)
    for found in labels:
        held[np.unique(found)] += 1
    of_class = np.maximum(1, np.sqrt(threshold * len(labels) / np.maximum(held, 1)))
    return np.array([of_class[found].max(initial=1) for found in labels])


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


def _needed(dataset: Sized, name: str, argument: str) -> object:
    if not hasattr(dataset, name):
        raise ValueError(
            f"{argument} needs a data set with {name}, as detection data sets are; got {type(dataset).__name__}"
        )
    return getattr(dataset, name)
