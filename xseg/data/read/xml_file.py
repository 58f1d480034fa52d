"""XML files as elements; the error names the file."""

import math
from xml.etree import ElementTree

from xseg.data.sample import Path_


def read_xml(path: Path_, missing: str = "copy it there") -> ElementTree.Element:
    """The root element of an XML file.

    A DOCTYPE is refused: annotation files have none, and it may define entities that grow without bound.

    Args:
        missing: the remedy if there is no such file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not XML, not complete, or has a DOCTYPE.
    """
    try:
        return ElementTree.parse(path, ElementTree.XMLParser(target=_PlainTree())).getroot()
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{path}: no such annotation file; {missing}") from error
    except (ElementTree.ParseError, ValueError, LookupError) as error:  # the last two: encodings
        raise ValueError(f"{path} is not XML, or not complete: {error}; copy it again") from error


class _PlainTree(ElementTree.TreeBuilder):
    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        raise ValueError("it has a DOCTYPE, which may define entities")


def number_of(text: str | None, place: str) -> float:
    """The number in a text, which may be infinite or NaN; ValueError with the place for any other text."""
    try:
        return float(text)
    except (TypeError, ValueError):
        raise ValueError(f"{place} must be a number, got {text!r:.60}") from None


def finite_number(text: str | None, place: str) -> float:
    """As `number_of`; ValueError also for an infinite number and for NaN."""
    number = number_of(text, place)
    if not math.isfinite(number):
        raise ValueError(f"{place} must be a finite number, got {text!r:.60}")
    return number
