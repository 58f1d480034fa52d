"""Images and masks from files; a damaged file is an error.

simplejpeg decodes JPEGs and opencv all other images. EXIF orientation is applied and 16 bits are scaled to 8. Both
libraries use libjpeg-turbo and give the same pixels. For damaged data opencv returns grey or shifted blocks without an
error, while simplejpeg raises one. Pillow decodes masks, because opencv turns palette indices into colours. The header
is read first in all cases, because a small file may decode to more pixels than fit into memory.
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
    """The limit in XSEG_MAX_PIXELS; the default is Pillow's own, about 13,400 x 13,400."""
    text = os.environ.get("XSEG_MAX_PIXELS", "178956970")
    if not text.isdecimal() or int(text) < 1:
        raise ValueError(f"XSEG_MAX_PIXELS must be the largest number of pixels of an image to read, got {text!r}")
    return int(text)


MAX_PIXELS = _max_pixels()  # of an image or a mask; a decoded image takes 3 bytes per pixel
if Image.MAX_IMAGE_PIXELS and MAX_PIXELS > 2 * Image.MAX_IMAGE_PIXELS:  # Pillow refuses larger images
    Image.MAX_IMAGE_PIXELS = MAX_PIXELS

_JPEG, _PNG = b"\xff\xd8", b"\x89PNG\r\n\x1a\n"  # first bytes of the files
_EXIF_ORIENTATION = 274  # tag
# Warnings of libjpeg about intact pixels; all its other warnings are about damaged data.
_HARMLESS_WARNINGS = ("unknown JFIF revision", "Unknown Adobe color transform")
_GREY_STEP = {"L;2": 85, "L;4": 17}  # Pillow stretches 2- and 4-bit grey to 0..255


class MaskModeError(ValueError):
    """A mask file contains colours or lossy values instead of class indices."""


def read_image(path: Path_) -> Tensor:
    """The image as (3, H, W) uint8 RGB with EXIF orientation applied; a view of (H, W, 3) memory.

    A JPEG has no checksum, so damage is detected only if it breaks the entropy code of the pixels. 512 bytes
    overwritten at random were always detected, 64 bytes in 9 of 10 files.

    Raises:
        FileNotFoundError: the file is missing.
        ValueError: the file is damaged, truncated, not an image, not a regular file, or has more than MAX_PIXELS.
    """
    content = _read_bytes(path, "image")
    pixels = _decode_jpeg(content, path) if content.startswith(_JPEG) else _decode(content, path)
    return torch.from_numpy(pixels).permute(2, 0, 1)


def compact(x: Tensor) -> Tensor:
    """The tensor in its own memory. Workers would send a view, such as a crop, together with the whole original."""
    return x if x.untyped_storage().nbytes() == x.nbytes else x.clone()


def read_mask(path: Path_) -> Tensor:
    """The class indices of a mask file as (H, W) uint8: palette indices, or the values of a grey image.

    Raises:
        FileNotFoundError, ValueError: the file is missing, truncated, not an image, or too large; see `read_image`.
        MaskModeError: the file contains colours, lossy values, or values above 255.
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
        MaskModeError: the file contains colours or lossy values.
    """
    values, file_format, mode, _ = _read_values(path)
    if file_format == "JPEG" or not (mode == "L" or mode.startswith("I")):
        raise MaskModeError(f"{path} is a {file_format} of mode {mode}, not a grey PNG of ids; use the original file")
    return values.astype(np.int32)


def read_segment_ids(path: Path_) -> np.ndarray:
    """(H, W) int64: the ids in a PNG of COCO's panoptic format, R + 256 G + 256^2 B; errors of `read_image`."""
    red, green, blue = read_image(path).long()
    return (red + 256 * green + 256**2 * blue).numpy()


def read_size_hw(path: Path_) -> tuple[int, int]:
    """(height, width) in pixels of the image as `read_image` gives it, from the header; the pixels are not read.

    Raises:
        FileNotFoundError, ValueError: the file is missing, no regular file or not an image.
    """
    check_regular(path)
    try:
        with Image.open(path) as file:
            exif = b"" if file.format == "TIFF" else file.info.get("exif", b"")  # Pillow turns the size of a TIFF
            return file.size if _orientation(exif) >= 5 else file.size[::-1]
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path} cannot be read as an image: {error}; copy it again") from error


def read_stored_hw(path: Path_) -> tuple[int, int]:
    """(height, width) of the pixels as stored, before the turn that EXIF asks for; ValueError as `read_size_hw`."""
    check_regular(path)
    try:
        with Image.open(path) as file:
            return file.height, file.width
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path} cannot be read as an image: {error}; copy it again") from error


def write_mask(path: Path_, mask: Tensor | np.ndarray, palette: Sequence[Sequence[int]] | None = None) -> None:
    """Write (H, W) class indices as a palette PNG. Viewers show it in colour, and `read_mask` reads it unchanged.

    Args:
        palette: RGB per class; VOC's colours are used for the remaining entries up to 256.
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
    """ValueError for a path that is not a regular file, such as a FIFO or /dev/zero; FileNotFoundError if missing."""
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"{path}: no such {what} file; copy it there, or remove its name from the list of the split"
        ) from error
    if not stat.S_ISREG(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else "a device, a pipe or a socket"
        raise ValueError(f"{path} is {kind}, not a regular file; give the path of the {what} file")


def read_values(content: bytes, place: Path_) -> tuple[np.ndarray, str, str, object]:
    """Pixels of a mask as Pillow gives them, the file format, the mode, and Pillow's name of the raw mode in the file.

    Raises:
        ValueError: the content is broken or too large; the message contains `place`.
    """
    with _opened(content, place, "a mask") as file:
        coding = file.tile[0][3] if file.tile else None  # Pillow deletes it when it loads the pixels
        try:
            return np.array(file), file.format, file.mode, coding
        except (OSError, SyntaxError, ValueError) as error:  # Pillow's errors for short and for broken files
            raise ValueError(f"{place} is truncated or broken: {error}; copy it again") from error


def _read_values(path: Path_) -> tuple[np.ndarray, str, str, object]:
    return read_values(_read_bytes(path, "mask"), path)


def _read_bytes(path: Path_, what: str) -> bytes:
    check_regular(path, what)
    return Path(path).read_bytes()


def _opened(content: bytes, place: Path_, what: str) -> Image.Image:
    """The file with its header read but not its pixels; ValueError for more than MAX_PIXELS and for no image."""
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
    """(H, W, 3) uint8 RGB, equal to opencv's pixels; ValueError for damaged data."""
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
        if any(warning in str(error) for warning in _HARMLESS_WARNINGS):  # about the header; simplejpeg stops there
            return _opencv(content, path)
        raise ValueError(
            f"{path} is damaged or truncated, a JPEG ({len(content)} bytes): {error}; copy it again. If this is "
            "the original and a viewer shows the whole image, save it again from the viewer"
        ) from error
    if pixels.shape[2] == 4:
        return _opencv(content, path)  # libjpeg does not convert CMYK; opencv does, and applies the orientation
    return np.ascontiguousarray(_turned(pixels, _orientation(_exif(content))))


def _exif(content: bytes) -> bytes:
    """The EXIF block of a JPEG, empty if it is missing or cannot be read."""
    try:
        return JpegImageFile(io.BytesIO(content)).info.get("exif", b"") if b"Exif" in content else b""
    except (OSError, SyntaxError, ValueError, struct.error):
        return b""


def _orientation(block: bytes) -> int:
    """EXIF's orientation, 1 to 8; 1 (upright) if it is missing or cannot be read."""
    if not block:
        return 1
    exif = Image.Exif()  # `getexif` of the file would also use the orientation in XMP, which opencv does not
    try:
        exif.load(block)
        orientation = exif.get(_EXIF_ORIENTATION)
    except (OSError, SyntaxError, ValueError, struct.error):
        return 1
    return orientation if orientation in range(1, 9) else 1


def _turned(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """(H, W, 3) pixels in the orientation that a viewer shows. Source: Exif 2.32, tag 274, Orientation."""
    if orientation >= 5:
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels


def _decode(content: bytes, path: Path_) -> np.ndarray:
    """(H, W, 3) uint8 RGB of an image that is not a JPEG."""
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
