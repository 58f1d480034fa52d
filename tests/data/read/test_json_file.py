"""JSON files."""

import pytest

from xseg.data.read.json_file import read_json


@pytest.mark.parametrize(
    "text", ["", "{", "[" * 100_000, "1" * 5000, "\ud800"], ids=["empty", "torn", "deep", "long", "odd"]
)
def test_the_file_with_the_fault_is_named(tmp_path, text):
    (tmp_path / "a.json").write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(ValueError, match=r"a\.json is not JSON, or not complete: .*; copy it again"):
        read_json(tmp_path / "a.json")
