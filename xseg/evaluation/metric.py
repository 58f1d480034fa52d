"""The base of every metric: counts summed over images and processes, and the worst images.

A new metric is a class of about ten lines. It says what an image adds to a sum, and what numbers the sum gives:

    class WrongPixels(Metric):
        leading = "wrong"             # this number decides which checkpoint is the best
        higher_is_better = False

        def update(self, prediction, sample):
            wrong = prediction["mask"].cpu() != sample["mask"]
            self.add([wrong.sum(), wrong.numel()])

        def compute(self):
            wrong, pixels = self.total.tolist()
            return {"wrong": 100 * wrong / pixels}

A config names it as `val_evaluator = dict(type=WrongPixels)`, alone or in a list with others.
"""

from collections.abc import Callable, Iterable, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dist import all_gather_object, all_reduce
from mmengine.evaluator import BaseMetric
from torch import Tensor

from xseg.drawing import write_image
from xseg.evaluation.tables import Table, cell


class Metric(BaseMetric):
    """A measure of predictions. Its state is one tensor of counts and at most `num_worst` images.

    A subclass must have `leading`, `update` and `compute`. After `evaluate`, `total` holds the sum of all counts,
    `values` the numbers, `worst` the worst images, and the next evaluation starts from nothing.

    Args:
        num_worst: how many of the worst images are kept.

    Raises ValueError if the subclass is incomplete, with a list of all that is missing.
    """

    leading: str  # name of the number by which the best checkpoint is saved
    higher_is_better = True  # of the leading number
    default_prefix = ""  # numbers keep their names; mmengine warns about None

    def __init__(self, num_worst: int = 0):
        super().__init__(collect_device="cpu")
        self._check_contract()
        self.num_worst = num_worst
        self.total: Tensor | None = None
        self.values: dict[str, float | None] = {}
        self.worst: list = []
        self._running: Tensor | None = None
        self._worst: list[tuple[float, int | str, Any]] = []  # (value, id of the image, item)

    def update(self, prediction: dict, sample: dict) -> None:
        """Count one image: call `add`, and `keep_worst` where a picture of the image may be of use.

        A metric that counts a batch at once overrides `process` instead.

        Args:
            prediction: what the model's `predict` gives for the image: `mask`, `scores`, `boxes_xyxy`, …
            sample: the image as the data set gives it: `mask`, `label`, `boxes_xyxy`, …, `meta`.
        """
        raise NotImplementedError

    def compute(self) -> dict[str, float | None]:
        """Numbers by name from `total`; None for a number that the data do not define. `leading` must be among them."""
        raise NotImplementedError

    def report(self) -> dict:
        """Plain values for metrics.json."""
        return dict(self.values)

    def table(self) -> Table:
        """The numbers for the screen."""
        return Table(("metric", "value"), [(name, cell(value)) for name, value in self.values.items()])

    def write(self, out: Path) -> list[str]:
        """Write pictures and lists into the folder `out`; returns the names of files and folders."""
        return []

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the data set's classes."""
        return tuple(self.dataset_meta["classes"])

    def add(self, counts: Tensor | Sequence[float]) -> None:
        """Add counts of the same shape for every image; whole numbers are summed as int64, others as float64."""
        counts = torch.as_tensor(counts)
        counts = counts.cpu().double() if counts.is_floating_point() else counts.long()
        self._running = counts if self._running is None else self._running + counts

    def keep_worst(self, value: float, id: int | str, make: Callable[[], Any]) -> None:
        """Keep `make()` in `worst` if the image is among the `num_worst` of lowest value; the lower id wins a tie."""
        place = sum(row[:2] < (value, id) for row in self._worst)
        if place < self.num_worst:
            self._worst.insert(place, (value, id, make()))
            del self._worst[self.num_worst :]

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Count a batch; mmengine's interface."""
        for prediction, sample in zip(data_samples, data_batch["samples"], strict=True):
            self.update(prediction, sample)

    def evaluate(self, size: int) -> dict[str, float | None]:
        """Numbers of all images of all processes; mmengine's interface. `size` is not used, as no image comes twice."""
        self.gather()
        self.values = dict(self.compute())
        if self.leading not in self.values:
            raise ValueError(
                f"{type(self).__name__}.leading must name a number of compute(), which are "
                f"{', '.join(self.values) or 'none'}; got {self.leading!r}"
            )
        return dict(self.values)

    def compute_metrics(self, results: list) -> dict[str, float | None]:
        """The numbers once more; mmengine's interface."""
        return self.compute()

    def gather(self) -> None:
        """Set `total` and `worst` from the state of all processes, and empty that state."""
        self.total = sum_over_processes(self._running)
        rows = [row for rows in all_gather_object(self._worst) for row in rows]
        self.worst = [item for _, _, item in sorted(rows, key=itemgetter(0, 1))[: self.num_worst]]
        self._running, self._worst = None, []
        if self.total is None:
            raise ValueError("there was no image to evaluate; look at the folder and split of val_dataloader.dataset")

    def _check_contract(self) -> None:
        cls, missing = type(self), []
        if not hasattr(cls, "leading") and not hasattr(self, "leading"):
            missing.append('leading = "…", the name of the number that decides which checkpoint is the best')
        if cls.update is Metric.update and cls.process is Metric.process:
            missing.append("update(self, prediction, sample), which counts one image by self.add(…)")
        if cls.compute is Metric.compute:
            missing.append("compute(self), which returns a dict of numbers from self.total")
        if missing:
            raise ValueError(
                f"{cls.__name__} is no complete metric, see xseg.evaluation.Metric; it lacks {'; '.join(missing)}"
            )


def sum_over_processes(counts: Tensor | None) -> Tensor | None:
    """Sum of the counts of all processes, on the CPU. A process without images passes None; None if all do."""
    forms = all_gather_object(None if counts is None else (counts.shape, counts.dtype))
    form = next((form for form in forms if form is not None), None)
    if form is None:
        return None
    total = torch.zeros(form[0], dtype=form[1]) if counts is None else counts.cpu().clone()
    all_reduce(total)
    return total


def write_worst(out: Path, pictures: Iterable[tuple[str, np.ndarray]], stale: str = "*.jpg") -> list[str]:
    """Write (name, (H, W, 3) RGB) pictures, the worst first, as worst/NN_<name>.jpg.

    Args:
        stale: pattern of the pictures in worst/ that an earlier evaluation left, which are removed.

    Returns the paths within `out`.
    """
    for path in out.glob(f"worst/{stale}"):
        path.unlink()
    paths = []
    for rank, (name, picture) in enumerate(pictures, start=1):
        paths.append(f"worst/{rank:02d}_{name}.jpg")
        write_image(out / paths[-1], picture)
    return paths
