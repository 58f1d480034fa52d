"""Key maps translate parameter names and layouts of other programs into ours. A map is data; this file applies it."""

from __future__ import annotations

import itertools
import re
import string
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

Words = Mapping[str, str]  # our word -> word of the other program
Rule = tuple[str, str]  # our name -> name of the other program, with the same {fields} in both

BN = {"weight": "weight", "bias": "bias", "running_mean": "running_mean", "running_var": "running_var"}
FROM_ONE = {str(index): str(index + 1) for index in range(64)}  # we count from 0, most other programs from 1
HALVES = {"depthwise": "depthwise", "pointwise": "pointwise"}


@dataclass(frozen=True)
class KeyMap:
    """Names of the parameters of one network in one other program.

    Our names are those of a whole model: `backbone.…` and `head.…`.

    Args:
        source: the program and network, for messages.
        table: our name -> name in the source, one to one.
        bn_eps: module of ours ("backbone", "head") -> BatchNorm epsilon of the source. Its weights need this epsilon.
        aliases: (pattern, replacement) for names of the source, where its files differ in spelling.
        ignored: pattern of names that are not weights of the network.
        tensorflow: arrays have TensorFlow's layout: kernels HWIO, depthwise [h, w, C, 1], dense [in, out].
        backbone: the config of the backbone that the weights need; empty if one map is for several.
    """

    source: str
    table: Mapping[str, str]
    bn_eps: Mapping[str, float]
    aliases: Sequence[tuple[str, str]] = ()
    ignored: str = r"(.*\.)?num_batches_tracked"
    tensorflow: bool = False
    backbone: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self):
        assert len(set(self.table.values())) == len(self.table), f"{self.source}: two of our parameters share a name"

    def clean(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Weights of the source with the spelling of the table; ignored names are dropped."""
        cleaned = {}
        for name, value in state.items():
            if re.fullmatch(self.ignored, name):
                continue
            for pattern, replacement in self.aliases:
                name = re.sub(pattern, replacement, name)
            cleaned[name] = value
        return cleaned

    def to_ours(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Weights of the source with our names and layout. Names that are not in the table stay as they are."""
        our_names = {theirs: name for name, theirs in self.table.items()}
        return {our_names.get(n, n): self._layout(n, value) for n, value in self.clean(state).items()}

    def _layout(self, theirs: str, value: Tensor) -> Tensor:
        if not self.tensorflow or value.ndim not in (2, 4):
            return value.unsqueeze(-1).unsqueeze(-1) if value.ndim == 2 and "pointwise" in theirs else value
        if value.ndim == 2:
            return value.T
        if "depthwise" in theirs.rpartition("/")[2]:  # [h, w, C, 1] -> [C, 1, h, w]
            return value.permute(2, 3, 0, 1)
        return value.permute(3, 2, 0, 1)


def expand(rules: Iterable[Rule], **fields: Words) -> dict[str, str]:
    """Expand rules into a table of names. Each {field} takes each of its words, on both sides at once.

    >>> expand([("stem.{i}.conv", "conv1_{i}")], i={"0": "1", "1": "2"})
    {'stem.0.conv': 'conv1_1', 'stem.1.conv': 'conv1_2'}
    """
    table = {}
    for ours, theirs in rules:
        names = sorted({name for _, name, _, _ in string.Formatter().parse(ours) if name})
        for words in itertools.product(*(fields[name].items() for name in names)):
            pairs = dict(zip(names, words, strict=True))
            our_name = ours.format(**{name: pair[0] for name, pair in pairs.items()})
            table[our_name] = theirs.format(**{name: pair[1] for name, pair in pairs.items()})
    return table


def recognise(names: Iterable[str], maps: Iterable[KeyMap]) -> KeyMap | None:
    """The map that knows the largest number of the names. None if no map knows more than half of them."""
    names = list(names)
    best, most = None, len(names) / 2
    for candidate in maps:
        cleaned = candidate.clean(dict.fromkeys(names, torch.empty(0)))
        known = len(cleaned.keys() & set(candidate.table.values()))
        if known > most:
            best, most = candidate, known
    return best
