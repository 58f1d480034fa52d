"""The metric of detections, from `coco_scores` and `voc_scores`. It keeps one small entry per image."""

from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path

from mmengine.dist import all_gather_object, broadcast_object_list, is_main_process
from mmengine.registry import METRICS

from xseg.evaluation.analysis import write_analysis
from xseg.evaluation.coco import BACKENDS, KINDS, CocoScores, coco_scores
from xseg.evaluation.coco_files import write_results
from xseg.evaluation.entries import Entry, entry_of
from xseg.evaluation.metric import Metric
from xseg.evaluation.tables import Table, cell, percent
from xseg.evaluation.voc import VocScores, voc_scores

VOC_KINDS = {"voc07": True, "voc12": False}  # name -> whether AP is the mean at eleven points
LEADING = ("voc12", "voc07", *KINDS)  # the first that is evaluated leads


@METRICS.register_module()
class DetectionMetric(Metric):
    """COCO's twelve numbers in percent, "bbox_mAP", "bbox_mAP_50", …, "segm_mAP", …; None without objects.

    Predictions are dict(instances=…), a `heads.contract.Instances` with masks as run lengths or (K, H, W) bool. Their
    boxes and those of the samples are in pixels of the image as read, so the transforms of an evaluation must not
    resize. After `evaluate`, `scores` holds what the numbers come from, with AP by class, and `entries` (on the main
    process only) the detections.

    Args:
        kinds: some of "bbox", "segm", "voc07" and "voc12" (mAP at IoU 0.5 as "voc07_mAP", "voc12_mAP"); None means
            bbox, and also segm if samples and predictions have masks.
        backend: "faster_coco_eval", or the reference, "pycocotools".
        num_worst: how many of the images with the most errors are drawn.
    """

    def __init__(self, kinds: Sequence[str] | None = None, backend: str = "faster_coco_eval", num_worst: int = 0):
        super().__init__(num_worst)
        allowed = (*KINDS, *VOC_KINDS)
        if kinds is not None and (isinstance(kinds, str) or not kinds or set(kinds) - set(allowed)):
            raise ValueError(f"kinds must list some of {', '.join(allowed)}, or be None, got {kinds!r}")
        if backend not in BACKENDS:
            raise ValueError(f"backend must be {' or '.join(BACKENDS)}, got {backend!r}")
        self.kinds, self.backend = kinds and tuple(kinds), backend
        self.scores: dict[str, CocoScores | VocScores] = {}
        self.entries: list[Entry] = []

    @property
    def leading(self) -> str:
        """mAP by VOC's rules if `kinds` has one of them, otherwise of boxes, otherwise of masks."""
        return f"{next(kind for kind in LEADING if kind in (self.kinds or KINDS))}_mAP"

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names by label: all classes of the data set, or only its `things` (see `PanopticDataset`)."""
        names, things = self.dataset_meta["classes"], self.dataset_meta.get("things")
        return tuple(names) if things is None else tuple(names[index] for index in things)

    def update(self, prediction: dict, sample: dict) -> None:
        with_masks = self.kinds is None or "segm" in self.kinds
        self.results.append(entry_of(sample, prediction["instances"], len(self.classes), with_masks))

    def gather(self) -> None:
        """Set `entries` on the main process and `scores` on all; an image that two processes saw counts once."""
        entries = in_order(all_gather_object(self.results))
        self.results = []
        outcome = [None]
        if is_main_process():
            self.entries = entries
            try:
                outcome = [self._scores(entries)]
            except ValueError as error:  # all processes raise it; otherwise the others would wait for this one
                outcome = [error]
        broadcast_object_list(outcome)
        if isinstance(outcome[0], ValueError):
            raise outcome[0]
        self.scores = outcome[0]

    def compute(self) -> dict[str, float | None]:
        values = {}
        for kind, scores in self.scores.items():
            numbers = dict(mAP=scores.mean_ap) if kind in VOC_KINDS else scores.numbers
            values |= {f"{kind}_{name}": percent(value) for name, value in numbers.items()}
        return values

    def report(self) -> dict:
        """The numbers, and AP by class in percent; None for a class without objects."""
        by_class = {
            f"{kind}_AP": dict(zip(self.classes, map(percent, scores.ap), strict=True))
            for kind, scores in self.scores.items()
        }
        return self.values | by_class

    def table(self) -> Table:
        """AP by class and its mean, one column per kind."""
        columns = [scores.ap for scores in self.scores.values()]
        return Table(
            ("class", *(f"{kind} AP %" for kind in self.scores)),
            [
                (name, *(cell(percent(value)) for value in values))
                for name, *values in zip(self.classes, *columns, strict=True)
            ],
            [("mean", *(cell(self.values[f"{kind}_mAP"]) for kind in self.scores))],
        )

    def write(self, out: Path) -> list[str]:
        """Write results.bbox.json and results.segm.json for COCO's server, and the files of `write_analysis`.

        Only kinds that were evaluated are written, and nothing if only VOC's mAP was.
        """
        category_ids = self.dataset_meta.get("category_ids") or range(1, len(self.classes) + 1)
        coco = {kind: self.scores[kind] for kind in KINDS if kind in self.scores}
        files = [write_results(out, self.entries, category_ids, kind).name for kind in coco]
        return files + (write_analysis(out, self.entries, coco, self.classes, self.num_worst) if coco else [])

    def _scores(self, entries: list[Entry]) -> dict[str, CocoScores | VocScores]:
        num_classes = len(self.classes)
        kinds = self.kinds
        if kinds is None:
            masks = [part.masks for entry in entries for part in (entry.truth, entry.detections)]
            kinds = KINDS if masks and all(value is not None for value in masks) else ("bbox",)
        return {
            kind: voc_scores(entries, num_classes, eleven_points=VOC_KINDS[kind])
            if kind in VOC_KINDS
            else coco_scores(entries, num_classes, kind, self.backend)
            for kind in kinds
        }


def in_order(parts: Sequence[Sequence[Entry]]) -> list[Entry]:
    """Entries of all processes of an `EvalSampler` in the order of the data set, each image once."""
    by_id: dict = {}
    for row in zip_longest(*parts):
        for entry in row:
            if entry is not None:
                by_id.setdefault(entry.id, entry)
    return list(by_id.values())
