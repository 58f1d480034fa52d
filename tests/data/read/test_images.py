"""Reading and writing files: whole or an error that names the file."""

import os
import re
import struct
import subprocess
import sys
import zlib

import cv2
import numpy as np
import pytest
import torch
from peers import shared
from PIL import Image

from xseg.data import MaskModeError, read_ids, read_image, read_mask, voc_palette, write_mask
from xseg.data.read.images import compact, read_size_hw

RAMP = np.arange(40 * 60 * 3, dtype=np.uint32).reshape(40, 60, 3).astype(np.uint8)


def noise(height, width):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def opencv_pixels(path):
    """(H, W, 3) RGB."""
    return cv2.imread(str(path), cv2.IMREAD_COLOR_RGB)


def test_png_comes_back_in_rgb(tmp_path):
    Image.fromarray(RAMP).save(tmp_path / "a.png")
    image = read_image(tmp_path / "a.png")
    assert image.dtype == torch.uint8 and image.shape == (3, 40, 60)
    assert torch.equal(image.permute(1, 2, 0), torch.from_numpy(RAMP))


def test_grey_and_16_bit_images_have_three_channels(tmp_path):
    Image.fromarray(RAMP[..., 0]).save(tmp_path / "grey.png")
    cv2.imwrite(str(tmp_path / "deep.png"), np.full((4, 5), 128 * 257, np.uint16))
    assert read_image(tmp_path / "grey.png").shape == (3, 40, 60)
    assert read_image(tmp_path / "deep.png").unique().tolist() == [128]


def test_compact_keeps_values_and_takes_no_other_memory():
    pixels = torch.from_numpy(noise(9, 13)).permute(2, 0, 1)
    assert compact(pixels) is pixels, "interleaved pixels stay as they are"
    for view in (pixels[:, 2:7, 3:9], pixels[:, :, ::2], pixels[:1], pixels[0], pixels[:, :0]):
        assert torch.equal(compact(view), view) and compact(view).untyped_storage().nbytes() == view.numel()


def test_exif_orientation_is_applied(tmp_path):
    """Orientation 6: the camera was turned, and the viewer turns the pixels 90 degrees clockwise."""
    pixels = np.zeros((16, 32, 3), np.uint8)
    pixels[:, :16] = 255  # left half white: the top half after turning
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(pixels).save(tmp_path / "a.jpg", exif=exif, quality=95)
    image = read_image(tmp_path / "a.jpg")
    assert image.shape == (3, 32, 16)
    assert image[:, :14].min() > 240 and image[:, 18:].max() < 15


@pytest.mark.parametrize("orientation", range(10))
def test_exif_orientations_are_those_of_opencv(tmp_path, orientation):
    """0 and 9 stand for nothing."""
    exif = Image.Exif()
    exif[274] = orientation
    Image.fromarray(noise(16, 24)).save(tmp_path / "a.jpg", exif=exif)
    assert np.array_equal(read_image(tmp_path / "a.jpg").permute(1, 2, 0), opencv_pixels(tmp_path / "a.jpg"))


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
@pytest.mark.parametrize("orientation", range(10))
def test_the_size_in_the_header_is_that_of_the_pixels(tmp_path, suffix, orientation):
    exif = Image.Exif()
    exif[274] = orientation
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(noise(16, 24)).save(path, exif=exif)
    assert read_size_hw(path) == tuple(read_image(path).shape[1:])


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("options", [{}, dict(progressive=True), dict(subsampling=0, quality=30)])
def test_jpegs_have_the_pixels_of_opencv(tmp_path, mode, options):
    path = tmp_path / "a.jpg"
    Image.fromarray(noise(37, 50)).convert(mode).save(path, **options)
    assert np.array_equal(read_image(path).permute(1, 2, 0), opencv_pixels(path))


def test_photographs_have_the_pixels_of_opencv():
    for path in sorted((shared("data", "coco128") / "images" / "val2017").iterdir())[:40]:
        assert np.array_equal(read_image(path).permute(1, 2, 0), opencv_pixels(path)), path


@pytest.mark.parametrize("name", ["a.jpg", "a.png"])
@pytest.mark.parametrize("share", [0.3, 0.9])
def test_truncated_file_is_refused(tmp_path, name, share):
    path = tmp_path / name
    Image.fromarray(noise(200, 200)).save(path)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(ValueError, match=rf"{re.escape(str(path))} is .*truncated.*copy it again"):
        read_image(path)


@pytest.mark.parametrize("fault", ["cut, with an end", "overwritten", "zeros", "missing"])
@pytest.mark.parametrize("options", [{}, dict(progressive=True), dict(restart_marker_rows=1)])
def test_damaged_jpeg_is_refused(tmp_path, fault, options):
    """opencv and Pillow give an image of each, with up to all pixels behind the damage wrong."""
    path = tmp_path / "a.jpg"
    Image.fromarray(noise(200, 200)).save(path, **options)
    content, random = path.read_bytes(), np.random.default_rng(0).bytes(512)
    half = len(content) // 2
    path.write_bytes(
        {
            "cut, with an end": content[:half] + b"\xff\xd9",
            "overwritten": content[:half] + random + content[half + 512 :],
            "zeros": content[:half] + bytes(4096) + content[half + 4096 :],
            "missing": content[:half] + content[half + 512 :],
        }[fault]
    )
    with pytest.raises(ValueError, match=rf"{re.escape(str(path))} is damaged or truncated, a JPEG .*copy it again"):
        read_image(path)


def test_what_libjpeg_warns_of_without_harm_is_read(tmp_path):
    path = tmp_path / "a.jpg"
    Image.fromarray(noise(30, 30)).save(path)
    content = path.read_bytes()
    version = content.index(b"JFIF\0") + 5
    path.write_bytes(content[:version] + b"\x09" + content[version + 1 :])
    assert np.array_equal(read_image(path).permute(1, 2, 0), opencv_pixels(path))


def test_whole_jpeg_with_a_long_appendix_is_read(tmp_path):
    path = tmp_path / "phone.jpg"
    Image.fromarray(noise(50, 50)).save(path)
    path.write_bytes(path.read_bytes() + bytes(10_000))
    assert read_image(path).shape == (3, 50, 50)


@pytest.mark.parametrize("read", [read_image, read_mask])
@pytest.mark.parametrize("content", [b"", b"hello", b"\xff\xd8\xff\xd9"])
def test_what_is_no_image_is_refused(tmp_path, read, content):
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=re.escape(str(path))):
        read(path)


@pytest.mark.parametrize("read", [read_image, read_mask])
def test_missing_file_is_named(tmp_path, read):
    with pytest.raises(FileNotFoundError, match=r"gone\.png: no such"):
        read(tmp_path / "gone.png")


READERS = [read_image, read_mask, read_ids]


@pytest.mark.parametrize("read", READERS)
def test_more_pixels_than_the_limit_are_refused_by_the_header(tmp_path, read):
    """A PNG of 30,000 x 30,000 zeros has 2.6 MB on disk and took 12.8 GB."""
    path = tmp_path / "a.png"
    path.write_bytes(png(30_000, 30_000, bytes(1000)))
    with pytest.raises(ValueError, match=r"a\.png.*900000000 pixels.* 178956970.*tiles, or set XSEG_MAX_PIXELS"):
        read(path)


def test_a_jpeg_of_more_pixels_than_the_limit_is_refused_by_its_header(tmp_path):
    path = tmp_path / "a.jpg"
    Image.fromarray(noise(16, 16)).save(path)
    content = path.read_bytes()
    frame = content.index(b"\xff\xc0") + 5
    path.write_bytes(content[:frame] + struct.pack(">HH", 30_000, 20_000) + content[frame + 4 :])
    with pytest.raises(ValueError, match=r"a\.jpg has 20000x30000 pixels .* more than 178956970.* set XSEG_MAX_PIXELS"):
        read_image(path)


@pytest.mark.parametrize("limit, result", [("2399", "has 60x40 pixels"), ("many", "must be")])
def test_the_environment_sets_the_limit(tmp_path, limit, result):
    Image.fromarray(RAMP).save(tmp_path / "a.png")
    code = f"from xseg.data import read_image; read_image({str(tmp_path / 'a.png')!r}); print('read')"
    environment = dict(os.environ, XSEG_MAX_PIXELS=limit)
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert result in run.stdout + run.stderr


@pytest.mark.parametrize("read", READERS)
def test_what_is_no_regular_file_is_refused(tmp_path, read):
    """A FIFO hung, /dev/zero filled the memory."""
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "zero.png").symlink_to("/dev/zero")
    (tmp_path / "folder.png").mkdir()
    for name, kind in (("pipe.png", "a device, a pipe"), ("zero.png", "a device, a pipe"), ("folder.png", "a folder")):
        with pytest.raises(ValueError, match=rf"{name} is {kind}.*, not a regular file"):
            read(tmp_path / name)
    Image.fromarray(RAMP[..., 0]).save(tmp_path / "a.png")
    (tmp_path / "link.png").symlink_to("a.png")
    assert read(tmp_path / "link.png").shape[-2:] == (40, 60), "links to files are read"


@pytest.mark.parametrize("palette", [None, voc_palette(21)])
def test_palette_ids_survive(tmp_path, palette):
    """opencv would give colours, and torchvision other ids, for 0, 15 and 255."""
    mask = np.zeros((5, 7), np.uint8)
    mask[1, 2], mask[3, 4] = 15, 255
    write_mask(tmp_path / "a.png", torch.from_numpy(mask), palette)
    assert torch.equal(read_mask(tmp_path / "a.png"), torch.from_numpy(mask))
    with Image.open(tmp_path / "a.png") as file:
        assert file.mode == "P" and file.convert("RGB").getpixel((2, 1)) == (192, 128, 128)


def test_grey_masks_are_read_as_they_are(tmp_path):
    mask = RAMP[..., 1]
    Image.fromarray(mask).save(tmp_path / "grey.png")
    Image.fromarray(mask.astype(np.uint16)).save(tmp_path / "deep.png")
    Image.fromarray(mask > 99).save(tmp_path / "bits.png")
    assert torch.equal(read_mask(tmp_path / "grey.png"), torch.from_numpy(mask))
    assert torch.equal(read_mask(tmp_path / "deep.png"), torch.from_numpy(mask))
    assert torch.equal(read_mask(tmp_path / "bits.png"), torch.from_numpy((mask > 99).astype(np.uint8)))


def test_four_bit_grey_is_not_stretched(tmp_path):
    """Pillow reads index 3 of a 4-bit grey PNG as 51."""
    path = tmp_path / "four.png"
    path.write_bytes(four_bit_png([[0, 3], [9, 15]]))
    assert read_mask(path).tolist() == [[0, 3], [9, 15]]


@pytest.mark.parametrize("mode, kind", [("RGB", "RGB"), ("RGBA", "RGB"), ("LA", "mode-LA")])
def test_colour_mask_is_refused_with_remedy(tmp_path, mode, kind):
    path = tmp_path / "a.png"
    Image.new(mode, (4, 4)).save(path)
    with pytest.raises(MaskModeError, match=rf"a\.png is an {kind} image, not class indices; save masks as palette"):
        read_mask(path)


def test_mask_values_above_255_and_jpeg_masks_are_refused(tmp_path):
    Image.fromarray(np.full((3, 3), 256, np.uint16)).save(tmp_path / "deep.png")
    Image.new("L", (3, 3)).save(tmp_path / "a.jpg")
    with pytest.raises(MaskModeError, match="values 256 to 256"):
        read_mask(tmp_path / "deep.png")
    with pytest.raises(MaskModeError, match="JPEG"):
        read_mask(tmp_path / "a.jpg")


def test_truncated_mask_is_refused(tmp_path):
    path = tmp_path / "a.png"
    write_mask(path, noise(100, 100)[..., 0])
    path.write_bytes(path.read_bytes()[:4000])
    with pytest.raises(ValueError, match=r"a\.png is truncated"):
        read_mask(path)


def test_write_mask_refuses_other_shapes(tmp_path):
    with pytest.raises(ValueError, match=r"\(H, W\), got \(1, 2, 2\)"):
        write_mask(tmp_path / "a.png", torch.zeros(1, 2, 2, dtype=torch.uint8))


def four_bit_png(rows):
    """A grey PNG of bit depth 4, which neither Pillow nor opencv writes."""
    packed = b"".join(b"\0" + bytes(a << 4 | b for a, b in zip(row[::2], row[1::2], strict=True)) for row in rows)
    return png(len(rows[0]), len(rows), packed, bits=4)


def png(width, height, packed, bits=8):
    """A grey PNG of rows as they are packed, each with its filter's byte in front."""

    def chunk(name, content):
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0)
    parts = (chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(packed)), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)
