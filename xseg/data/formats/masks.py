"""What the pixels of mask files say: which values or colours they have, and which class each one is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from xseg.data.read.classes import IGNORE
from xseg.data.read.images import check_regular, read_ids, read_mask

SAMPLE = 200  # masks whose values are looked at
MAX_VALUES = 256  # more values or colours than this are no classes
UNLABELLED = {"unlabeled", "unlabelled", "void", "ignore", "ignored", "unknown", "ignore_label"}
Colour = tuple[int, int, int]
Values = dict[int, int] | dict[Colour, int]


class MaskValues(NamedTuple):
    """Classes of mask files. `values`, `classes`, `palette`: as in `Catalog`. `notes`: what was decided."""

    values: Values | None
    classes: tuple[str, ...]
    palette: tuple[Colour, ...] | None
    notes: tuple[str, ...]


def understand(paths: Sequence[Path], names: Mapping[int, str] | Mapping[Colour, str] | None, one: str) -> MaskValues:
    """The classes of masks, from a sample of them evenly over the data.

    Args:
        names: name of each value or colour, if a file beside the data states them; None otherwise.
        one: name of the one class of masks that have a background and nothing else.

    Raises ValueError for JPEG masks, for more than 256 values, and for a value without a name.
    """
    chosen = paths[:: max(1, -(-len(paths) // SAMPLE))]
    kinds = {_kind(path) for path in chosen}
    if "colours" in kinds and len(kinds) > 1:
        raise ValueError(f"{chosen[0].parent}: some masks are colours and some are numbers; save all in one way")
    seen = _seen(chosen, colours=kinds == {"colours"})
    if names is not None:
        return _named(seen, names, chosen[0])
    if kinds == {"colours"}:
        return _colours(seen)
    return _numbers(seen, one, are_indices=kinds == {"indices"})


def read_labels(path: Path, values: Mapping[Colour, int]) -> Tensor:
    """(H, W) uint8: the label of the colour of each pixel; 255 = ignored.

    Raises ValueError with the first pixel whose colour is no class.
    """
    codes = _codes(path)
    known = np.array([_code(colour) for colour in values], np.int64)
    order = np.argsort(known)
    known, labels = known[order], np.array(list(values.values()), np.uint8)[order]
    at = np.searchsorted(known, codes).clip(max=len(known) - 1)
    if (wrong := known[at] != codes).any():
        row, column = np.unravel_index(wrong.argmax(), wrong.shape)
        raise ValueError(
            f"{path}: the colour {_hex(codes[row, column])} at row {row}, column {column} is no class; save the mask "
            "without smoothing, or add the colour to the list of classes"
        )
    return torch.from_numpy(labels[at])


def _kind(path: Path) -> str:
    """ "colours" or "numbers"; ValueError for a lossy file."""
    check_regular(path, "mask")
    try:
        with Image.open(path) as file:
            if file.format == "JPEG":
                raise ValueError(f"{path} is a JPEG, which changes the values of a mask; save masks as PNG")
            return "colours" if file.mode in ("RGB", "RGBA", "CMYK") else "indices" if file.mode == "P" else "numbers"
    except OSError as error:
        raise ValueError(f"{path} is not a readable mask: {error}; write it again") from error


def _seen(paths: Sequence[Path], colours: bool) -> np.ndarray:
    """All values, or codes of colours, in the masks, sorted."""
    seen = np.zeros(0, np.int64)
    for path in paths:
        values = np.unique(_codes(path) if colours else _ids(path))
        seen = np.union1d(seen, values)
        if len(seen) > MAX_VALUES:
            what = "colours" if colours else "values"
            raise ValueError(
                f"{path}: the masks have more than {MAX_VALUES} {what}, so they are smoothed or are no masks of "
                "classes; save them without anti-aliasing, one value a class"
            )
    return seen


def _ids(path: Path) -> np.ndarray:
    with Image.open(path) as file:
        wide = file.mode.startswith("I")
    return read_ids(path) if wide else read_mask(path).numpy()


def _codes(path: Path) -> np.ndarray:
    """(H, W) int64: R * 65536 + G * 256 + B."""
    with Image.open(path) as file:
        pixels = np.asarray(file.convert("RGB"), np.int64)
    return pixels[..., 0] << 16 | pixels[..., 1] << 8 | pixels[..., 2]


def _named(seen: np.ndarray, names: Mapping, example: Path) -> MaskValues:
    colours = isinstance(next(iter(names)), tuple)
    kept = {key: name for key, name in names.items() if name.lower() not in UNLABELLED}
    known = {_code(key) if colours else key for key in names} | (set() if colours else {IGNORE})
    if unknown := [value for value in seen.tolist() if value not in known]:
        shown = _hex(unknown[0]) if colours else unknown[0]
        raise ValueError(f"{example.parent}: masks have the value {shown}, which the list of classes does not name")
    classes = tuple(dict.fromkeys(kept.values()))
    values = {key: classes.index(name) if key in kept else IGNORE for key, name in names.items()}
    dropped = [f"{name} is ignored" for key, name in names.items() if key not in kept]
    if not colours:
        values.setdefault(IGNORE, IGNORE)
        if values == {**{label: label for label in range(len(classes))}, IGNORE: IGNORE}:
            values = None
    return MaskValues(values, classes, _palette(values, classes) if colours else None, tuple(dropped))


def _colours(seen: np.ndarray) -> MaskValues:
    colours = [_colour(code) for code in seen.tolist()]
    colours.sort(key=lambda colour: (colour != (0, 0, 0), colour))
    classes = tuple("background" if colour == (0, 0, 0) else _hex(_code(colour)) for colour in colours)
    values = {colour: label for label, colour in enumerate(colours)}
    note = "classes are named by their colours; a class_dict.csv (name,r,g,b) beside the data gives names"
    return MaskValues(values, classes, tuple(colours), (note,))


def _numbers(seen: np.ndarray, one: str, are_indices: bool) -> MaskValues:
    values = seen.tolist()
    if set(values) <= {0, 255} or set(values) <= {0, 1}:
        top = max(values[-1], 1)
        note = f"value {top} is the class {one!r}" + (", not ignored pixels" if top == 255 else "")
        return MaskValues({0: 0, top: 1} if top == 255 else None, ("background", one), None, (note,))
    void = [f"value {IGNORE} is ignored"] if values[-1] == IGNORE else []
    real = [value for value in values if value != IGNORE]
    if are_indices or real[-1] < 2 * len(real) + 2:  # nearly all numbers up to the largest occur: they are labels
        classes = tuple(f"class {label}" for label in range(real[-1] + 1))
        note = "classes are named by their numbers; a classes.txt with one name a line gives names"
        return MaskValues(None, classes, None, (*void, note))
    classes = tuple(f"value {value}" for value in real)
    table = {value: label for label, value in enumerate(real)} | {IGNORE: IGNORE}
    return MaskValues(table, classes, None, (*void, f"the values {', '.join(map(str, real[:8]))}, … are classes"))


def _palette(values: Values, classes: Sequence[str]) -> tuple[Colour, ...]:
    colour_of = {label: colour for colour, label in reversed(values.items())}
    return tuple(colour_of[label] for label in range(len(classes)))


def _code(colour: Colour) -> int:
    red, green, blue = colour
    return red << 16 | green << 8 | blue


def _colour(code: int) -> Colour:
    return code >> 16, code >> 8 & 255, code & 255


def _hex(code: int) -> str:
    return f"#{int(code):06x}"
