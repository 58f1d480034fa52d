"""Reading images and masks from files, whole or not at all.

JPEGs come through simplejpeg, all other images through opencv: fast, EXIF orientation applied, 16 bit scaled to 8. Both
use libjpeg-turbo and give the same pixels, but where libjpeg finds damaged data, opencv returns grey or shifted blocks
without an error, and simplejpeg raises one. Masks come through Pillow, because opencv turns palette indices into
colours. Of both the header is read first: a small file may hold more pixels than there is memory.
"""

import io
import os
import stat
import struct
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import simplejpeg
import torch
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile
from torch import Tensor

from xseg.data.read.classes import voc_palette
from xseg.data.sample import Path_

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")


def _max_pixels() -> int:
    """Pillow's own limit, about 13,400 x 13,400, or the environment's."""
    text = os.environ.get("XSEG_MAX_PIXELS", "178956970")
    if not text.isdecimal() or int(text) < 1:
        raise ValueError(f"XSEG_MAX_PIXELS must be the largest number of pixels of an image to read, got {text!r}")
    return int(text)


MAX_PIXELS = _max_pixels()  # of an image or a mask; decoded, an image takes 3 bytes each
if Image.MAX_IMAGE_PIXELS and MAX_PIXELS > 2 * Image.MAX_IMAGE_PIXELS:  # where Pillow refuses
    Image.MAX_IMAGE_PIXELS = MAX_PIXELS

_JPEG, _PNG = b"\xff\xd8", b"\x89PNG\r\n\x1a\n"  # first bytes of the files
_EXIF_ORIENTATION = 274  # tag
# What libjpeg warns of where the pixels are whole; all its other warnings tell of damaged data.
_HARMLESS_WARNINGS = ("unknown JFIF revision", "Unknown Adobe color transform")
_GREY_STEP = {"L;2": 85, "L;4": 17}  # Pillow stretches 2- and 4-bit grey to 0..255


class MaskModeError(ValueError):
    """A mask file that holds colours, or lossy values, instead of class indices."""


def read_image(path: Path_) -> Tensor:
    """The image as (3, H, W) uint8 RGB, EXIF orientation applied; a view whose memory is (H, W, 3).

    A JPEG has no checksum: damage is found where it breaks the code of the pixels. Of 512 bytes overwritten at random
    that is always the case, of 64 in 9 of 10 files.

    Raises:
        FileNotFoundError, ValueError: the file is missing, damaged, truncated, not an image, no regular file, or has
            more than MAX_PIXELS; the message names it.
    """
    content = _read_bytes(path, "image")
    pixels = _decode_jpeg(content, path) if content.startswith(_JPEG) else _decode(content, path)
    return torch.from_numpy(pixels).permute(2, 0, 1)


def compact(x: Tensor) -> Tensor:
    """The tensor in memory of its own: a view, such as a crop, would travel with all that it was cut from."""
    return x if x.untyped_storage().nbytes() == x.nbytes else x.clone()


def read_mask(path: Path_) -> Tensor:
    """The class indices of a mask file as (H, W) uint8: palette indices, or the values of a grey image.

    Raises:
        FileNotFoundError, ValueError: the file is missing, truncated, not an image, or too large; see `read_image`.
        MaskModeError: it holds colours, lossy values, or values above 255.
    """
    values, file_format, mode, coding = _read_values(path)
    if file_format == "JPEG":
        raise MaskModeError(f"{path} is a JPEG, which blurs class indices; save masks as palette or grey PNG")
    if mode in ("P", "L", "1"):
        values = values.astype(np.uint8, copy=False)
        coding = coding[0] if isinstance(coding, tuple) else coding
        return torch.from_numpy(values // _GREY_STEP[coding] if coding in _GREY_STEP else values)
    if mode.startswith("I"):
        if values.size and (values.max() > 255 or values.min() < 0):
            raise MaskModeError(
                f"{path} is a 16- or 32-bit mask with values {values.min()} to {values.max()}; "
                "class ids must be 0 to 254, and 255 for ignored pixels"
            )
        return torch.from_numpy(values.astype(np.uint8))
    kind = "RGB" if mode in ("RGB", "RGBA") else f"mode-{mode}"
    raise MaskModeError(
        f"{path} is an {kind} image, not class indices; "
        "save masks as palette or grey PNG whose pixel values are class ids"
    )


def read_ids(path: Path_) -> np.ndarray:
    """(H, W) int32: the values of a grey image of 8 or 16 bits, such as Cityscapes' instance ids.

    Raises:
        FileNotFoundError, ValueError: the file is missing, truncated, not an image, or too large; see `read_image`.
        MaskModeError: it holds colours or lossy values.
    """
    values, file_format, mode, _ = _read_values(path)
    if file_format == "JPEG" or not (mode == "L" or mode.startswith("I")):
        raise MaskModeError(f"{path} is a {file_format} of mode {mode}, not a grey PNG of ids; take the original file")
    return values.astype(np.int32)


def read_segment_ids(path: Path_) -> np.ndarray:
    """(H, W) int64: the ids in a PNG of COCO's panoptic format, R + 256 G + 256^2 B; errors of `read_image`."""
    red, green, blue = read_image(path).long()
    return (red + 256 * green + 256**2 * blue).numpy()


def read_size_hw(path: Path_) -> tuple[int, int]:
    """(height, width) in pixels as the header of an image file states them; the pixels are not read.

    Raises:
        FileNotFoundError, ValueError: the file is missing, no regular file or not an image.
    """
    check_regular(path)
    try:
        with Image.open(path) as file:
            return file.height, file.width
    except (OSError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path} cannot be read as an image: {error}; copy it again") from error


def write_mask(path: Path_, mask: Tensor | np.ndarray, palette: Sequence[Sequence[int]] | None = None) -> None:
    """Write (H, W) class indices as a palette PNG, which viewers show in colour and `read_mask` reads unchanged.

    Args:
        palette: RGB per class; VOC's colours fill it up to 256 entries.
    """
    indices = np.ascontiguousarray(mask, dtype=np.uint8)
    if indices.ndim != 2:
        raise ValueError(f"mask must have shape (H, W), got {tuple(indices.shape)}")
    colours = [tuple(colour) for colour in palette or ()]
    colours = colours[:256] + voc_palette(256)[len(colours) :]
    image = Image.fromarray(indices)
    image.putpalette([int(value) for colour in colours for value in colour])
    image.save(path, format="PNG")


def check_regular(path: Path_, what: str = "image") -> None:
    """ValueError for what cannot be read to its end, such as a FIFO or /dev/zero; FileNotFoundError for nothing."""
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"{path}: no such {what} file; copy it there, or take its name from the list of the split"
        ) from error
    if not stat.S_ISREG(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else "a device, a pipe or a socket"
        raise ValueError(f"{path} is {kind}, not a regular file; take the {what} itself")


def read_values(content: bytes, place: Path_) -> tuple[np.ndarray, str, str, object]:
    """Pixels of a mask as Pillow gives them, file format, mode, and how the mode is coded in the file.

    Raises:
        ValueError: broken or too large; `place` names the file.
    """
    with _opened(content, place, "a mask") as file:
        coding = file.tile[0][3] if file.tile else None  # gone after loading
        try:
            return np.array(file), file.format, file.mode, coding
        except (OSError, SyntaxError, ValueError) as error:  # what Pillow raises for short and for broken files
            raise ValueError(f"{place} is truncated or broken: {error}; copy it again") from error


def _read_values(path: Path_) -> tuple[np.ndarray, str, str, object]:
    return read_values(_read_bytes(path, "mask"), path)


def _read_bytes(path: Path_, what: str) -> bytes:
    check_regular(path, what)
    return Path(path).read_bytes()


def _opened(content: bytes, place: Path_, what: str) -> Image.Image:
    """A file of which the header alone is read yet; ValueError where it has more than MAX_PIXELS or is no image."""
    try:
        file = Image.open(io.BytesIO(content))
    except Image.DecompressionBombError as error:
        raise ValueError(f"{place}: {error} {_TOO_LARGE}") from error
    except (OSError, SyntaxError, ValueError) as error:
        raise ValueError(f"{place} cannot be decoded as {what} ({len(content)} bytes); copy it again") from error
    _check_pixels(*file.size, place)
    return file


_TOO_LARGE = "Cut images and masks into tiles, or set XSEG_MAX_PIXELS to a larger number."


def _check_pixels(width: int, height: int, place: Path_) -> None:
    if width * height > MAX_PIXELS:
        raise ValueError(f"{place} has {width}x{height} pixels (width x height), more than {MAX_PIXELS}. {_TOO_LARGE}")


def _decode_jpeg(content: bytes, path: Path_) -> np.ndarray:
    """(H, W, 3) uint8 RGB; opencv's pixels, but ValueError where data is damaged."""
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(content, strict=False)
    except ValueError as error:
        raise ValueError(
            f"{path} cannot be decoded as a JPEG ({len(content)} bytes): {error}; copy it again"
        ) from error
    _check_pixels(width, height, path)
    try:
        pixels = simplejpeg.decode_jpeg(content, "CMYK" if colours in ("CMYK", "YCCK") else "RGB")
    except ValueError as error:
        if any(warning in str(error) for warning in _HARMLESS_WARNINGS):  # of the header, where simplejpeg stops
            return _opencv(content, path)
        raise ValueError(
            f"{path} is damaged or truncated, a JPEG ({len(content)} bytes): {error}; copy it again, or, if this is "
            "the original and it looks whole, save it anew from an image viewer"
        ) from error
    if pixels.shape[2] == 4:
        return _opencv(content, path)  # libjpeg does not convert CMYK; opencv does, and turns it
    return np.ascontiguousarray(_turned(pixels, _orientation(content)))


def _orientation(content: bytes) -> int:
    """EXIF's code of how a viewer turns the pixels of a JPEG, 1 to 8; 1, not at all, where it cannot be read."""
    if b"Exif" not in content:
        return 1
    exif = Image.Exif()  # by itself, because `getexif` of the file takes the orientation in XMP, too; opencv does not
    try:
        exif.load(JpegImageFile(io.BytesIO(content)).info.get("exif", b""))
        orientation = exif.get(_EXIF_ORIENTATION)
    except (OSError, SyntaxError, ValueError, struct.error):
        return 1
    return orientation if orientation in range(1, 9) else 1


def _turned(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """The pixels (H, W, 3) as a viewer shows them. Source: Exif 2.32, tag 274, Orientation."""
    if orientation >= 5:
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels


def _decode(content: bytes, path: Path_) -> np.ndarray:
    """(H, W, 3) uint8 RGB of what is no JPEG."""
    _opened(content, path, "an image").close()
    return _opencv(content, path)


def _opencv(content: bytes, path: Path_) -> np.ndarray:
    """(H, W, 3) uint8 RGB."""
    try:
        pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR_RGB)
    except cv2.error as error:
        raise ValueError(f"{path} cannot be decoded as an image: {error}") from error
    if pixels is None:
        kind = "is damaged or truncated, a PNG" if content.startswith(_PNG) else "cannot be decoded as an image"
        raise ValueError(f"{path} {kind} ({len(content)} bytes); copy it again or remove it")
    return pixels
