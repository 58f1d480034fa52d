"""How a reader treats a fault in a file: data sets raise the first, the check of data collects all."""

from collections.abc import Callable

Report = Callable[[str, ValueError], None]  # kind of the fault, error


def refuse(kind: str, error: ValueError) -> None:
    """The report of a reader that accepts no fault."""
    raise error
