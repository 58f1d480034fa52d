"""The images that label files name, found among the files of a tree, and their sizes."""

import posixpath
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from itertools import takewhile

from xseg.data.formats.tree import Tree, folders, stem
from xseg.data.read.images import read_size_hw, read_stored_hw

IMAGE_FOLDERS = {"images", "image", "img", "imgs", "jpegimages", "photos"}
MASK_FOLDERS = {"segmentationclass", "segmentationobject", "masks", "mask", "labels", "annotations", "masks_machine"}


class Images:
    """The images of one catalog.

    Attributes:
        used: entries of `tree.files` that `find` returned.
        restated: number of images whose label file states another size than the image has.
    """

    def __init__(self, tree: Tree):
        self.tree = tree
        self.used: set[str] = set()
        self.restated = 0

    def find(self, stated: str, label_file: str) -> str | None:
        """The image that a label file states, as an entry of `tree.files`.

        Among the images with the same file name, the first of these: the path relative to the label file's folder, the
        path relative to the root, the longest common end with the stated path, the most folder names in common with the
        label file, a folder such as images/. Upper and lower case and forms of Unicode are not told apart.

        Returns: None if there is no such image, or several fit equally well.
        """
        return self._take(self._by_name.get(_key(posixpath.basename(_plain(stated))), ()), stated, label_file)

    def find_stem(self, stem: str, label_file: str) -> str | None:
        """As `find`, for the file name without its suffix; images in folders of masks are left out."""
        names = self._by_stem.get(_key(posixpath.basename(_plain(stem))), ())
        return self._take([name for name in names if not _folder_names(name) & MASK_FOLDERS], stem, label_file)

    def _take(self, names: Sequence[str], stated: str, label_file: str) -> str | None:
        if not names:
            return None
        stated, here = _key(_plain(stated)), posixpath.dirname(_key(label_file))
        beside = posixpath.normpath(posixpath.join(here, stated))

        def fit(name: str) -> tuple:
            key, folder_names = _key(name), _folder_names(name)
            bare = posixpath.splitext(key)[0]
            return (
                beside in (key, bare),
                stated in (key, bare),
                _common_end(key, stated),
                len(folder_names & _folder_names(label_file)),
                bool(folder_names & IMAGE_FOLDERS),
            )

        scores = [fit(name) for name in names]
        if scores.count(max(scores)) > 1:
            return None
        best = names[scores.index(max(scores))]
        self.used.add(best)
        return best

    def unlabelled(self) -> list[str]:
        """Images beside `used` ones that no label file names; a file with the stem of a used one is a mask."""
        places = {posixpath.dirname(name) for name in self.used}
        stems = {posixpath.splitext(name)[0] for name in self.used}
        return [
            name
            for name in self.tree.images
            if name not in self.used and posixpath.dirname(name) in places and posixpath.splitext(name)[0] not in stems
        ]

    def size_hw(self, name: str, stated_hw: Sequence[float] | None, label_file: object) -> tuple[int, int]:
        """(height, width) of the image as read. A stated size that differs is counted in `restated`.

        Raises:
            ValueError: the labels belong to the image before its EXIF rotation.
        """
        path = self.tree.path(name)
        size_hw = read_size_hw(path)
        if stated_hw is None or min(stated_hw) <= 0 or tuple(stated_hw) == size_hw:
            return size_hw
        if tuple(stated_hw) == read_stored_hw(path) == size_hw[::-1]:
            raise ValueError(
                f"{label_file}: its size {stated_hw[1]}x{stated_hw[0]} (width x height) is that of {path} before the "
                "rotation in its EXIF data; rotate the labels, or remove the rotation from the image"
            )
        self.restated += 1
        return size_hw

    def notes(self) -> list[str]:
        if not self.restated:
            return []
        return [
            f"{self.restated} label files state another size than their image has; coordinates are taken as they are"
        ]

    @cached_property
    def _by_name(self) -> dict[str, list[str]]:
        return _grouped(self.tree.images, lambda name: posixpath.basename(name))

    @cached_property
    def _by_stem(self) -> dict[str, list[str]]:
        return _grouped(self.tree.images, lambda name: posixpath.splitext(posixpath.basename(name))[0])


def item_ids(names: Sequence[str]) -> list[str]:
    """An id for each image: its path without the suffix; with the suffix where two images would have one id."""
    counts = Counter(posixpath.splitext(name)[0] for name in names)
    return [bare if counts[bare := posixpath.splitext(name)[0]] == 1 else name for name in names]


def pair(
    images: Images, label_files: Iterable[str], find: Callable[[str], str | None]
) -> tuple[dict[str, str], list[str]]:
    """{label file: its image} for formats with one label file an image, and the note about files without one.

    Raises:
        FileNotFoundError, ValueError: 1 in 20 files or more have no image; two files belong to one image.
    """
    image_of: dict[str, str] = {}
    label_of: dict[str, str] = {}
    missing, path = [], images.tree.path
    for name in label_files:
        image = find(name)
        if image is None:
            missing.append((name, stem(name)))
        elif image in label_of:
            raise ValueError(f"{path(name)} and {path(label_of[image])} both belong to {image}; keep one of them")
        else:
            image_of[name], label_of[image] = image, name
    return image_of, without_image(missing, len(missing) + len(image_of), images.tree)


def without_image(missing: Sequence[tuple[str, str]], total: int, tree: Tree, what: str = "label files") -> list[str]:
    """The note about labels without an image.

    Args:
        missing: (label file or place in it, stated image) of each. total: number of labelled images.

    Raises:
        FileNotFoundError: 1 in 20 or more have none.
    """
    if not missing:
        return []
    (place, stated), count = missing[0], len(missing)
    if 20 * count >= total:
        raise FileNotFoundError(
            f"{tree.path(place)}: its image {stated} is not below {tree.root}, or several files fit; {count} of "
            f"{total} {what} have no image. Copy the images there, or remove the labels"
        )
    return [f"{count} of {total} {what} have no image and are left out, the first {place}"]


def background_note(count: int) -> list[str]:
    return [f"{count} images without a label file lie beside labelled ones; they count as background"] if count else []


def _plain(path: str) -> str:
    """A path as written on any system: with "/", without a drive and without "./"."""
    return re.sub(r"^[A-Za-z]:", "", path.replace("\\", "/")).removeprefix("./").strip("/")


def _key(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _common_end(path: str, other: str) -> int:
    """Number of parts that two paths share from the file name on."""
    pairs = zip(path.split("/")[::-1], other.split("/")[::-1], strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def _folder_names(name: str) -> set[str]:
    return {_key(folder) for folder in folders(name)}


def _grouped(names: Iterable[str], part) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(_key(part(name)), []).append(name)
    return groups
