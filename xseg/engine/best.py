"""The checkpoint hook of every training: the best checkpoint follows the metric."""

from collections.abc import Sequence

from mmengine.hooks import CheckpointHook
from mmengine.registry import HOOKS

LEADING = "leading"


@HOOKS.register_module()
class BestCheckpointHook(CheckpointHook):
    """mmengine's CheckpointHook, which takes the name and the direction of `save_best` from the metric.

    Args:
        save_best: "leading" for the leading number of the first metric that names one (see `xseg.evaluation.Metric`);
            otherwise as in CheckpointHook: the name of a number, or None to save no best checkpoint.
        rule: "greater" or "less"; None takes the metric's `higher_is_better` for the leading number.
        others: as in CheckpointHook.
    """

    def __init__(self, *args, save_best: str | Sequence[str] | None = LEADING, rule: str | None = None, **others):
        self.follows_metric = save_best == LEADING
        self._args, self._rule, self._others = args, rule, others
        self._set(*((None, None) if self.follows_metric else (save_best, rule)))

    def before_train(self, runner) -> None:
        if self.follows_metric and runner.val_loop is not None:
            metrics = runner.val_loop.evaluator.metrics
            if not self.follow(metrics):
                runner.logger.warning(
                    f"No best checkpoint is saved: none of {', '.join(type(metric).__name__ for metric in metrics)} "
                    "names its leading number; set default_hooks.checkpoint.save_best and rule"
                )
        super().before_train(runner)

    def follow(self, metrics: Sequence) -> bool:
        """Save the best checkpoint by the first metric that has a `leading` number; False if none has."""
        for metric in metrics:
            if (leading := getattr(metric, "leading", None)) is not None:
                self._set(leading, self._rule or ("greater" if metric.higher_is_better else "less"))
                return True
        return False

    def _set(self, save_best, rule) -> None:
        # CheckpointHook makes all that depends on the name when it is initialised
        super().__init__(*self._args, save_best=save_best, rule=rule, **self._others)
