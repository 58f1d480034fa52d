"""Lists of images in CSV files."""

import csv
from pathlib import Path


def read_csv(path: Path, *columns: str) -> list[tuple]:
    """(line number, value of each of the columns) of every row; None where a short row ends before a column.

    Raises:
        FileNotFoundError, ValueError: there is no such file, or its first line lacks a column.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such list; write a CSV file with the columns {','.join(columns)}")
    with open(path, newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        if missing := set(columns) - set(reader.fieldnames or ()):
            raise ValueError(
                f"{path}: line 1 must name the columns {','.join(columns)}; {' and '.join(sorted(missing))} missing"
            )
        return [(reader.line_num, *(row[column] for column in columns)) for row in reader]
