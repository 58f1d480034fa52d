"""JSON files as Python values; the error names the file."""

import json
from pathlib import Path

from xseg.data.sample import Path_


def read_json(path: Path_, remedy: str = "copy it again") -> object:
    """The value in a JSON file of UTF-8, with or without a byte order mark.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not JSON, not complete, nested too deep, or has a number of thousands of digits; the message
            names the file and the remedy.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not JSON, or not complete: {error}; {remedy}") from error
