"""What a student looks at before handing in: is everything there, and can it be read? Nothing runs, nothing is judged.

What an assignment consists of is in `outline.json`, which `tools/exercises.py outline` makes from the sources.
"""

import ast
import json
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from nbformat import NotebookNode

from aigc_course.grading.intake import sha256
from aigc_course.grading.notebooks import PLACEHOLDER, label, python, question_of, read, text_of


@dataclass(frozen=True)
class Checked:
    """What was found: the assignment's name, how many answers it has, and how many of them are there and whole.

    `problems` names what would cost points, `notes` what is put right when the notebook is taken in.
    """

    assignment: str
    answers: int
    whole: int
    problems: list[str]
    notes: list[str]


Outline = dict[str, dict[str, Any]]


def outline() -> dict[str, Outline]:
    """Return, for each assignment and each of its labels: the cell's `kind`, and the SHA-256 of its possible `texts`.

    A kind is "code" or "words" for an answer, "check" or "given" for a cell that is not to be changed. A cell has
    several texts if students have papers of their own.
    """
    return json.loads(files("aigc_course.grading").joinpath("outline.json").read_text("utf-8"))


def outline_of(*releases: NotebookNode) -> Outline:
    """Return the outline of a release, which there may be in several variants."""
    found: Outline = {}
    for release in releases:
        for cell in release.cells:
            if label(cell):
                entry = cell.metadata.nbgrader
                answer = "code" if cell.cell_type == "code" else "words"
                kind = answer if entry.solution else "check" if entry.grade else "given"
                texts = found.setdefault(label(cell), {"kind": kind, "texts": []})["texts"]
                if (text := _hash(cell.source)) not in texts:
                    texts.append(text)
    return found


def check(path: Path, assignment: str = "") -> Checked:
    """Look at a notebook before it is handed in.

    Args:
        path: The notebook.
        assignment: Its name; if it is empty, the labels decide.

    Raises:
        ValueError: if there is no notebook in the file, or none of an assignment, in words.
    """
    known = outline()
    notebook = read(path)
    try:
        cells = [cell for cell in notebook.cells if label(cell)]
        shared = {name: len(known[name].keys() & set(map(label, cells))) for name in known}
        _ = [text_of(cell.source) for cell in cells]
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"the notebook is damaged ({type(error).__name__}: {error})") from error
    if assignment and assignment not in known:
        raise ValueError(f"there is no assignment {assignment!r}; there are {', '.join(known)}")
    name = max(shared, key=lambda each: (shared[each], each == assignment))
    if not shared[name]:
        raise ValueError(
            "it is no notebook of an assignment: "
            + ("its labels are others" if cells else "no cell has a label; another program may have removed them")
        )
    if assignment and shared[assignment] < shared[name]:
        raise ValueError(f"it is a notebook of the assignment {name}, not of {assignment}")

    problems, notes, answers, whole = [], [], 0, 0
    for wanted, about in known[name].items():
        found = [cell for cell in cells if label(cell) == wanted]
        if about["kind"] in ("check", "given"):
            same = [_hash(cell.source) in about["texts"] for cell in found]
            if not all(same) or len(found) != 1:
                what = "changed" if found and not all(same) else "deleted" if not found else "copied"
                notes.append(f"the cell {wanted!r}, which belongs to the assignment, was {what}")
            continue
        answers += 1
        problem = _problem(wanted, about, found)
        whole += not problem
        problems += [problem] if problem else []
    problems += _below_their_checks(known[name], [label(cell) for cell in cells])
    return Checked(name, answers, whole, problems, notes)


def _below_their_checks(about: Outline, labels: list[str]) -> list[str]:
    """Name the answers that stand below one of their checks: from top to bottom they would not be there in time."""
    answers = [name for name, entry in about.items() if entry["kind"] == "code"]
    below = {}
    for check in (name for name in about if about[name]["kind"] == "check" and name in labels):
        answer = question_of(check, answers)
        if answer in labels and labels.index(answer) > labels.index(check):
            below[answer] = f"the answer {answer!r} stands below its check: move it up"
    return list(below.values())


def _hash(source: str) -> str:
    return sha256(text_of(source).encode("utf-8", "replace"))


def _problem(name: str, about: dict[str, Any], found: list[NotebookNode]) -> str:
    if len(found) != 1:
        what = "has no cell" if not found else f"has {len(found)} cells: keep one"
        return f"the answer {name!r} {what}"
    text = found[0].source
    if not text.strip() or text.strip() == PLACEHOLDER:
        return f"the answer {name!r} is empty"
    if _hash(text) in about["texts"]:
        return f"the answer {name!r} is as it was handed out"
    if about["kind"] == "code":
        try:
            ast.parse(python(text))
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            line = getattr(error, "lineno", None)
            return f"the answer {name!r} is not Python{f': line {line}' if line else ''}"
    return ""
