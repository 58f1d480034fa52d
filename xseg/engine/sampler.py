"""Samplers: the next image and its random numbers depend only on (seed, position).

Position p of the training stream is the same image with the same augmentation for any number of workers and ranks, and
after any interruption.
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
    """Endless stream of `Draw(index, seed)`; rank r of w ranks takes the positions r, r + w, r + 2w, ….

    Args:
        dataset: any object with a length; a `DetectionDataset` for the last two arguments.
        shuffle: True draws a new permutation for every epoch; False keeps the order of the data set.
        seed: equal on all ranks; None draws one and shares it. mmengine passes the seed of the run.
        same_orientation: the images of a step, over all ranks, are all wide (width >= height) or all tall, which saves
            padding. Every image comes once per epoch, except for the few that fill the last step of each orientation.
            The order depends on the number of images per step, which `skip_to` receives.
        repeat_threshold: share of images below which a class is rare; images with rare classes come more often, see
            `repeat_factors`.
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
                "objects do not count); check its annotations, its classes and its filters"
            )
        self.shuffle = shuffle
        self.seed = sync_random_seed() if seed is None else seed
        self.rank, self.world_size = get_dist_info()
        self.start = 0  # position in the stream of all ranks
        self.images_per_step = 1  # of all ranks
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
        """Let the next iterator begin at this position; earlier images are neither drawn nor loaded.

        Args:
            position: number of earlier images, over all ranks.
            images_per_step: images of a training step, over all ranks; used by `same_orientation`.
        """
        if position < 0:
            raise ValueError(f"position must be 0 or more, got {position}")
        self.start, self.images_per_step = position, images_per_step

    def __iter__(self) -> Iterator[Draw]:
        position = self.start + self.rank
        epoch, first = 0, 0  # `first`: position of the first image of the epoch
        order = self._order(0)
        if self._repeats is None:  # all epochs have the same length
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
        """Images per rank and epoch, for loggers; the stream itself has no end."""
        return -(-len(self._order(0)) // self.world_size)

    def _order(self, epoch: int) -> list[int]:
        order = torch.arange(self.num_images)
        if self._repeats is not None:  # rounded up with the probability of the fraction
            chance = torch.rand(self.num_images, generator=self._generator(2, epoch), dtype=torch.float64)
            counts = torch.floor(torch.from_numpy(self._repeats) + chance)
            order = order.repeat_interleave(counts.long())
        if self.shuffle:
            order = order[torch.randperm(len(order), generator=self._generator(0, epoch))]
        if self._is_wide is not None:
            order = self._in_rows(order, epoch)
        return order.tolist()

    def _in_rows(self, order: torch.Tensor, epoch: int) -> torch.Tensor:
        """The images in rows (steps) of one orientation; the last row of each repeats images from the start."""
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
    """Mean number of times that an epoch shows each image: (N,) float64, 1 or more.

    A class that is in a share f of the images has the factor max(1, sqrt(threshold / f)). An image has the highest
    factor of its classes; an image without objects has 1.

    Args:
        labels: labels of the objects of every image.
        threshold: share of images, in (0, 1]; 0.001 for LVIS.

    Source: Gupta et al. 2019 (arXiv:1908.03195), Sec. 5.
    """
    if not 0 < threshold <= 1:
        raise ValueError(f"threshold must be a share of the images in (0, 1], got {threshold}")
    num_images = np.zeros(num_classes)  # with an object of the class
    for image_labels in labels:
        num_images[np.unique(image_labels)] += 1
    of_class = np.maximum(1, np.sqrt(threshold * len(labels) / np.maximum(num_images, 1)))
    return np.array([of_class[image_labels].max(initial=1) for image_labels in labels])


@DATA_SAMPLERS.register_module()
class EvalSampler(Sampler):
    """Every image once over all ranks, in order and without padding, so that sums over ranks are exact.

    Args:
        dataset: any object with a length.
        limit: number of images to take from the start (`--dry-run`); None takes all.
        seed: unused; mmengine passes it to every sampler.
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
            f"{argument} needs a data set with {name}, as detection data sets have; got {type(dataset).__name__}"
        )
    return getattr(dataset, name)
