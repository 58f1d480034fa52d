"""Data sets of people as they lie on disk: one file a format, each of which makes a `Catalog` of a folder."""

from xseg.data.formats.catalog import Catalog, Item, Region
from xseg.data.formats.recognise import FORMATS, read_catalog

__all__ = ["FORMATS", "Catalog", "Item", "Region", "read_catalog"]
