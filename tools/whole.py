"""Write a file whole or not at all. Without the course's package, whose import takes seconds."""

import os
from pathlib import Path


def write_whole(path: Path, content: str | bytes) -> None:
    """Put `content` into `path`: under a name of its own beside it, then renamed, so that nobody sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}{path.suffix}")
    try:
        part.write_bytes(content.encode() if isinstance(content, str) else content)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
