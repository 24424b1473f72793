"""A pytest plugin for nbval's run: compare pictures too, and wait for output as long as a cell may take."""

from typing import Any


def pytest_collection_modifyitems(items: list[Any]) -> None:
    """Set on every cell what nbval has no options for."""
    for item in items:
        # nbval leaves PNGs out of the comparison; ours are the same to the byte, or a seed is missing.
        item.parent.skip_compare = tuple(key for key in item.parent.skip_compare if key != "image/png")
        # It stops waiting after 5 s, less than a cell that trains takes before it prints.
        item.output_timeout = 600
