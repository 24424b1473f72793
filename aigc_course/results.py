"""What a chapter promises and what it measured, for the pages that compare chapters."""

import json
import os
from pathlib import Path
from typing import Any

import torch

from aigc_course.data.files import written_whole
from aigc_course.training import resolve_profile


def record(chapter: str, profile: str, **figures: Any) -> dict[str, Any]:
    """Return the chapter's figures with profile and device; store them if the book is being made.

    The file `<chapter>.json` is written only where the environment variable `AIGC_COURSE_RESULTS` names a folder, as
    Make does for the run that publishes: a second, checking run or a reader's own never overwrites what the book shows.

    **Arguments:** `figures` are numbers, strings or lists and dictionaries of such, each under its standard name with
    its unit, for example `negative_elbo_nats=103.9`.

    Raises `ValueError` for a figure that is not finite or that JSON cannot hold, or a chapter's name with a slash.
    """
    if not chapter.isidentifier():
        raise ValueError(f"chapter is {chapter!r}; it takes a chapter's file name without folder and ending.")
    result = {"chapter": chapter, "profile": resolve_profile(profile), "device": _device(), **figures}
    try:
        text = json.dumps(result, indent=2, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{chapter}'s figures cannot be recorded ({error}); give finite plain numbers.") from error
    folder = os.environ.get("AIGC_COURSE_RESULTS")
    if folder:
        path = Path(folder) / f"{chapter}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        with written_whole(path) as part:
            part.write_text(text + "\n", encoding="utf-8")
    return result


def _device() -> str:
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    threads = torch.get_num_threads()
    return f"CPU, {threads} thread{'s' if threads > 1 else ''}"
