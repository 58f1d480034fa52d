"""`make_plan`: what a training on a catalog will do, as a table of reasons and as a config of a few lines."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from pprint import pformat

from mmengine.config import Config

from xseg.config import fill_num_classes, load_config
from xseg.data.formats import Catalog
from xseg.evaluation.tables import Table
from xseg.plan.fingerprint import Fingerprint, fingerprint
from xseg.plan.recipes import Choices, Recipe, recipe
from xseg.plan.splits import Splits, make_splits, near_duplicates
from xseg.plan.timing import Pace, pace

START_SECONDS = 8.0  # until the first step, and for checkpoints
VALIDATION_SHARE = 0.12  # of the time, at most
NEVER = 10**9  # iterations


@dataclass
class Plan:
    """A training that is planned. `config` is its text, `recipe.reasons` say why."""

    catalog: Catalog
    facts: Fingerprint
    splits: Splits
    recipe: Recipe
    pace: Pace
    minutes: float
    max_iters: int
    val_interval: int
    seconds_validation: float
    folder: Path
    deadline: dict = field(default_factory=dict)  # arguments of `DeadlineHook`

    def lines(self) -> list[str]:
        """What was understood of the data, for people."""
        return [*self.catalog.describe(), f"split used: {self.splits.reason}", *self.facts.lines()]

    @property
    def config(self) -> str:
        """The text of the config."""
        return config_text(self)

    def write(self) -> Path:
        """Write plan.py, splits.json and plan.md into the folder; returns the path of plan.py."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.splits.write(self.folder / "splits.json")
        lines = [f"# Plan for {self.catalog.root}", "", *(f"- {line}" for line in self.lines()), ""]
        table = Table(("setting", "value", "reason"), [tuple(reason) for reason in self.recipe.reasons]).markdown()
        (self.folder / "plan.md").write_text("\n".join([*lines, *table]) + "\n", encoding="utf-8")
        path = self.folder / "plan.py"
        path.write_text(self.config, encoding="utf-8")
        return path


def make_plan(
    catalog: Catalog,
    minutes: float,
    folder: str | os.PathLike,
    choices: Choices | None = None,
    share: float = 0.2,
    seed: int = 0,
    group: str | None = None,
    splits: Splits | None = None,
) -> Plan:
    """Plan a training of a catalog that takes so many minutes on this machine.

    Steps of the chosen network are timed, which takes some seconds.

    Args:
        folder: where plan.py and splits.json will lie.
        choices: what a person has decided.
        share, seed, group: of the split, see `make_splits`.
        splits: takes the place of the split.
    """
    choices = choices or Choices()
    facts = fingerprint(catalog)
    splits = splits or make_splits(catalog, lambda item: facts.present[item.id], share, seed, group)
    made = recipe(catalog, facts, choices)
    pairs = near_duplicates(catalog.items, splits.ids)
    made.say("split", f"{len(splits.ids['train'])} + {len(splits.ids['val'])}", splits.reason)
    if pairs:
        made.say(
            "near duplicates",
            len(pairs),
            f"images of val that look like one of train, as {pairs[0][1]} like {pairs[0][0]}: results may be too good; "
            "--group PATTERN keeps such images together",
        )
    plan = Plan(catalog, facts, splits, made, Pace(1, 1, "fp32"), minutes, 100, 100, 0, Path(folder))
    plan.write()
    cfg = load_config(plan.folder / "plan.py")
    fill_num_classes(cfg, "train_dataloader")
    plan.pace = pace(_without_balance(cfg))
    _set_length(plan, choices)
    return plan


def _set_length(plan: Plan, choices: Choices) -> None:
    """Iterations and validations that fit into the time, or the epochs that were asked for."""
    made, num_train, num_val = plan.recipe, len(plan.splits.ids["train"]), len(plan.splits.ids["val"])
    plan.seconds_validation = 2 + num_val * plan.pace.image
    seconds = 60 * plan.minutes - START_SECONDS - 1.5 * plan.seconds_validation  # the evaluation
    if choices.epochs:
        plan.max_iters = max(1, round(choices.epochs * num_train / made.batch_size))
        made.say("iterations", plan.max_iters, f"{choices.epochs:g} epochs, as you say")
    else:
        validations = max(0, int(VALIDATION_SHARE * seconds / plan.seconds_validation))
        validations = min(validations, 5)
        plan.max_iters = max(20, int((seconds - validations * plan.seconds_validation) / plan.pace.step))
        epochs = plan.max_iters * made.batch_size / num_train
        why = f"{plan.minutes:g} minutes at {plan.pace.step:.2f} s a step, {plan.seconds_validation:.0f} s a validation"
        made.say("iterations", plan.max_iters, f"{why}: {epochs:.0f} epochs")
    total = plan.max_iters * plan.pace.step
    count = min(6, int(VALIDATION_SHARE * total / plan.seconds_validation))
    plan.val_interval = max(1, -(-plan.max_iters // max(1, count)))
    if count or choices.epochs:
        made.say(
            "validations", max(1, count), f"at most {VALIDATION_SHARE:.0%} of the time; the best checkpoint is kept"
        )
    else:
        made.settings["train_cfg.val_begin"] = NEVER
        made.say("validations", "none", "they would take more than an eighth of the time; the last weights are kept")
    made.say("batch size", made.batch_size, "of the recipe") if not choices.batch_size else None
    made.say("precision", plan.pace.dtype, "the faster one of a few steps")


def config_text(plan: Plan) -> str:
    """The config as Python: what differs from the shipped one."""
    made = plan.recipe
    source = dict(root=str(plan.catalog.root.resolve() if plan.catalog.root.is_dir() else plan.catalog.root))
    data = dict(
        type=made.dataset, **source, format=plan.catalog.format, splits=str((plan.folder / "splits.json").resolve())
    )
    if made.with_masks:
        data["with_masks"] = True
    settings: dict = {}
    for key, value in made.settings.items():
        _put(settings, key, value)
    _put(settings, "train_cfg.max_iters", plan.max_iters)
    _put(settings, "train_cfg.val_interval", plan.val_interval)
    _put(settings, "default_hooks.checkpoint.interval", plan.val_interval)
    if plan.deadline:
        _put(settings, "default_hooks.deadline", dict(type="DeadlineHook", **plan.deadline))
    if plan.pace.dtype != "fp32":
        settings.setdefault("optim_wrapper", {}).update(type="XsegAmpOptimWrapper", dtype=plan.pace.dtype)
    for loader, split, transforms in (
        ("train_dataloader", "train", made.train_transforms),
        ("val_dataloader", "val", made.val_transforms),
    ):
        part = settings.setdefault(loader, {})
        part["dataset"] = dict(_delete_=True, **data, split=split, transforms=transforms)
    head = [f'"""{_title(plan)}', "", "xseg train plan.py repeats this training.", '"""', "", f"_base_ = {made.base!r}"]
    if made.backbone:
        head.append(f"backbone = {made.backbone!r}")
    if made.load_from:
        file = Path(made.load_from)
        head.append(f"load_from = {str(file.resolve() if file.exists() else file)!r}")
    body = [f"{name} = {pformat(value, width=116, sort_dicts=False)}" for name, value in settings.items()]
    return "\n".join([*head, *body]) + "\n"


def _title(plan: Plan) -> str:
    task, name = plan.recipe.task.capitalize(), plan.catalog.root.resolve().name
    return f"{task} of {len(plan.catalog.classes)} classes: {name}, {plan.facts.num_images} images."


def _put(settings: dict, dotted: str, value: object) -> None:
    *places, last = dotted.split(".")
    for place in places:
        settings = settings.setdefault(place, {})
    settings[last] = value


def _without_balance(cfg: Config) -> Config:
    """The config without class weights that would be counted over all data: they take no time in a step."""
    for node in (cfg.model, *cfg.model.get("losses", ())):
        if node.get("class_weights") == "balanced":
            node.pop("class_weights")
    return cfg
