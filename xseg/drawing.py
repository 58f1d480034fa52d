"""Pictures: coloured masks, overlays, side-by-side panels, confusion matrices. Arrays are RGB uint8, sizes (H, W)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import cv2
import numpy as np

Palette = Sequence[Sequence[int]]


def colour_mask(mask: np.ndarray, palette: Palette, void: Sequence[int] = (255, 255, 255)) -> np.ndarray:
    """Labels (H, W) -> colours (H, W, 3); labels without a colour in the palette, such as 255, get the void colour."""
    table = np.full((256, 3), void, np.uint8)
    table[: len(palette)] = palette
    return np.take(table, mask, axis=0)


def overlay(image: np.ndarray, mask: np.ndarray, palette: Palette, alpha: float = 0.55) -> np.ndarray:
    """The image blended with its coloured mask; class borders are opaque. A black class 0 and void stay uncoloured."""
    colours = colour_mask(mask, palette)
    blended = cv2.addWeighted(colours, alpha, image, 1 - alpha, 0)
    clear = (mask == 255) | ((mask == 0) & (not any(palette[0])))
    edges = cv2.morphologyEx(mask, cv2.MORPH_GRADIENT, np.ones((2, 2), np.uint8)) > 0
    blended = cv2.copyTo(image, clear.view(np.uint8), blended)
    return cv2.copyTo(colours, (edges & ~clear).view(np.uint8), blended)


def draw_masks(
    image: np.ndarray, masks: Iterable[np.ndarray], colours: Sequence[Sequence[int]], alpha: float = 0.45
) -> np.ndarray:
    """The image blended with masks (H, W) bool in their colours, with opaque outlines; later masks lie on top."""
    drawn = image.copy()
    thickness = max(1, round(max(image.shape[:2]) / 500))
    for mask, colour in zip(masks, colours, strict=True):
        drawn[mask] = np.round((1 - alpha) * drawn[mask] + alpha * np.asarray(colour)).astype(np.uint8)
        contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(drawn, contours, -1, tuple(map(int, colour)), thickness)
    return drawn


def draw_boxes(
    image: np.ndarray, boxes_xyxy: np.ndarray, titles: Sequence[str], colours: Sequence[Sequence[int]]
) -> np.ndarray:
    """The image with boxes (M, 4) in their colours and a title above each; later boxes lie on top."""
    drawn = image.copy()
    thickness = max(1, round(max(image.shape[:2]) / 500))
    for box, title, colour in zip(np.round(boxes_xyxy).astype(int), titles, colours, strict=True):
        (x0, y0, x1, y1), colour = box.tolist(), tuple(map(int, colour))
        cv2.rectangle(drawn, (x0, y0), (x1, y1), colour, thickness)
        (width, height), _ = cv2.getTextSize(title, cv2.FONT_HERSHEY_SIMPLEX, 0.4, 1)
        top = max(y0, height + 4)
        cv2.rectangle(drawn, (x0, top - height - 4), (x0 + width + 2, top), colour, -1)
        ink = (0, 0, 0) if sum(colour) > 380 else (255, 255, 255)
        cv2.putText(drawn, title, (x0 + 1, top - 3), cv2.FONT_HERSHEY_SIMPLEX, 0.4, ink, 1, cv2.LINE_AA)
    return drawn


def segment_colours(labels: Sequence[int], palette: Palette) -> np.ndarray:
    """(S, 3) uint8: a distinct colour for each segment, near that of its class. Black is left to void."""
    taken, colours = {(0, 0, 0)}, []
    for label in labels:
        shift, colour = 0, tuple(map(int, palette[label]))
        while colour in taken:
            shift += 1
            colour = tuple(
                (value + shift * step) % 256 for value, step in zip(palette[label], (37, 22, 29), strict=True)
            )
        taken.add(colour)
        colours.append(colour)
    return np.array(colours, np.uint8).reshape(-1, 3)


def panel(tiles: Sequence[np.ndarray], titles: Sequence[str], min_height: int = 240) -> np.ndarray:
    """Pictures of one size side by side, with a title above each; small ones are enlarged to `min_height` pixels."""
    scale = max(1, -(-min_height // tiles[0].shape[0]))
    columns = []
    for tile, title in zip(tiles, titles, strict=True):
        tile = tile.repeat(scale, 0).repeat(scale, 1)
        bar = np.full((26, tile.shape[1], 3), 32, np.uint8)
        cv2.putText(bar, title, (6, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (235, 235, 235), 1, cv2.LINE_AA)
        columns.append(np.vstack([bar, tile]))
    return np.hstack(columns)


def captioned(image: np.ndarray, lines: Sequence[str], min_height: int = 240) -> np.ndarray:
    """The image with lines of text below. Small images are enlarged, and narrow ones get a margin on the right."""
    scale = max(1, -(-min_height // image.shape[0]))
    image = image.repeat(scale, 0).repeat(scale, 1)
    widest = max(cv2.getTextSize(line, cv2.FONT_HERSHEY_SIMPLEX, 0.45, 1)[0][0] for line in lines)
    picture = np.full((len(image) + 20 * len(lines) + 8, max(image.shape[1], widest + 12), 3), 32, np.uint8)
    picture[: len(image), : image.shape[1]] = image
    for row, line in enumerate(lines, 1):
        place = (6, len(image) + 20 * row)
        cv2.putText(picture, line, place, cv2.FONT_HERSHEY_SIMPLEX, 0.45, (235, 235, 235), 1, cv2.LINE_AA)
    return picture


def legend(classes: Sequence[str], palette: Palette, width: int) -> np.ndarray:
    """A picture of coloured squares with class names, in as many lines as fit into `width` pixels."""
    entries = [(name, 30 + cv2.getTextSize(name, cv2.FONT_HERSHEY_SIMPLEX, 0.45, 1)[0][0] + 14) for name in classes]
    rows, x = [[]], 0
    for (name, length), colour in zip(entries, palette, strict=False):
        if x + length > width and rows[-1]:
            rows.append([])
            x = 0
        rows[-1].append((name, x, colour))
        x += length
    picture = np.full((24 * len(rows) + 4, width, 3), 32, np.uint8)
    for row, line in enumerate(rows):
        for name, x, colour in line:
            top = 24 * row + 5
            cv2.rectangle(picture, (x + 8, top), (x + 24, top + 15), tuple(map(int, colour)), -1)
            cv2.rectangle(picture, (x + 8, top), (x + 24, top + 15), (200, 200, 200), 1)
            cv2.putText(
                picture, name, (x + 30, top + 12), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (235, 235, 235), 1, cv2.LINE_AA
            )
    return picture


def write_image(path: str | Path, image: np.ndarray) -> None:
    """Write RGB (H, W, 3) to a file in the format of its suffix; missing folders are created."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    done, content = cv2.imencode(path.suffix, cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    if not done:
        raise ValueError(f"{path}: no picture format {path.suffix!r}; use .png or .jpg")
    path.write_bytes(content.tobytes())


def confusion_picture(path: str | Path, confusion: np.ndarray, classes: Sequence[str]) -> None:
    """Draw a confusion matrix to a file; each row shows shares of its ground-truth class."""
    from matplotlib.figure import Figure

    share = confusion / np.maximum(confusion.sum(1, keepdims=True), 1)
    side = max(4.5, 0.42 * len(classes) + 2.5)
    figure = Figure(figsize=(side + 0.8, side), layout="constrained")
    axes = figure.add_subplot()
    drawn = axes.imshow(share, vmin=0, vmax=1, cmap="Blues")
    axes.set_xticks(range(len(classes)), classes, rotation=90)
    axes.set_yticks(range(len(classes)), classes)
    axes.set(xlabel="prediction", ylabel="ground truth", title="Share of each ground-truth class, %")
    for row, column in zip(*np.nonzero(share >= 0.005), strict=True):
        colour = "white" if share[row, column] > 0.5 else "black"
        text = f"{100 * share[row, column]:.0f}"
        axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=8 if len(classes) < 12 else 6)
    figure.colorbar(drawn, ax=axes, shrink=0.8)
    figure.savefig(path, dpi=130)


def curves_picture(
    path: str | Path, precision: np.ndarray, recalls: np.ndarray, names: Sequence[str], classes: Sequence[str]
) -> None:
    """Draw precision (T, R, C) over recall (R,) to a file: one graph per class, with a line for each of the T `names`.

    A line with negative values is not drawn: its class has no objects.
    """
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    columns = min(len(classes), 5 if len(classes) <= 20 else 10)
    rows = -(-len(classes) // columns)
    figure = Figure(figsize=(2.1 * columns + 1.2, 2.1 * rows + 0.5), layout="constrained")
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    colours = colormaps["viridis"](np.linspace(0.9, 0, len(names)))
    for label, axes in enumerate(grid.flat):
        axes.set_visible(label < len(classes))
        if label >= len(classes):
            continue
        axes.set(xlim=(0, 1), ylim=(0, 1.02))
        axes.set_title(classes[label], fontsize=9)
        axes.tick_params(labelsize=7)
        for line, name, colour in zip(precision[..., label], names, colours, strict=True):
            if (line >= 0).all():
                axes.plot(recalls, line, color=colour, label=name, linewidth=1)
    handles = [line for axes in grid.flat for line in axes.get_lines()][: len(names)]
    figure.legend(handles=handles, title="IoU", loc="outside right upper", fontsize=8, title_fontsize=8)
    figure.supxlabel("recall", fontsize=9)
    figure.supylabel("precision", fontsize=9)
    figure.savefig(path, dpi=130 if len(classes) <= 20 else 80)
