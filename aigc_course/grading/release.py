"""The students' notebook of an assignment, and a paper of its own for each student, from one source.

A paper is a copy of an assignment's four files (see `marking`) in which some things are others: a distribution, a
number, a convention, the mistakes to be found, the order of the statements about them. What may differ, the *knobs*,
stands in `marking/<assignment>_variants.py`:

    VARIANTS = {
        "distribution": {
            "Laplace": {},  # the first option is the assignment as it stands
            "logistic": {"source": [("the Laplace", "the logistic"), …], "rules": [(…, …)]},
        },
    }

An option says, for each of the files, which pieces of text take the places of which. Which option a student gets is
drawn from their id and the course's key, so the same command gives the same papers again, and nobody who does not have
the key can tell whose paper is like theirs.
"""

import hashlib
import hmac
import json
import re
import secrets
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import jupytext
import nbformat
import yaml
from filelock import Timeout
from nbformat import NotebookNode

from aigc_course.grading.intake import Roster, alone, write, write_json
from aigc_course.grading.notebooks import label
from aigc_course.grading.papers import PUBLIC, Papers, ReleaseError

Option = Mapping[str, Sequence[tuple[str, str]]]
Variants = Mapping[str, Mapping[str, Option]]
# The files of an assignment, as `marking.files` returns them.
FILES = ("source", "asks", "rules", "wrong")
LETTERS = "ABCDEFGHIJ"
# The knob that every assignment has: the order of the ten statements about the faulty code.
ORDER = "order of the statements"
_STATEMENT = re.compile(r"^# - \*\*[A-J]\*\* .*\n(?:#   .*\n)*", re.MULTILINE)


# --- the students' notebook -------------------------------------------------------------------------------------------


def released(source: str, paper: str = PUBLIC) -> NotebookNode:
    """Return the students' version of a jupytext source, as nbgrader makes it: no solutions, no hidden tests.

    Cell ids come from the labels, or from the position for cells without one, so equal sources give equal notebooks.
    `paper` is what the notebook says about which paper it is.

    Raises:
        ValueError: if a label is not a valid cell id or occurs twice.
    """
    from nbgrader import preprocessors  # here, since students have this package without nbgrader

    notebook = solved(source)
    for each in ("ClearSolutions", "LockCells", "ClearOutput", "ClearHiddenTests", "ClearMarkScheme"):
        notebook, _ = getattr(preprocessors, each)().preprocess(notebook, {})
    for cell in notebook.cells:
        cell.source = cell.source.rstrip()  # hidden tests leave blank lines behind
    for each in ("ComputeChecksums", "CheckCellMetadata"):
        notebook, _ = getattr(preprocessors, each)().preprocess(notebook, {})
    notebook.metadata["aigc_course"] = {"paper": paper}
    return notebook


def solved(source: str) -> NotebookNode:
    """Return the notebook of a jupytext source, solutions and hidden tests included; errors as of `released`."""
    notebook = jupytext.reads(source, fmt="py:percent")
    notebook.metadata.pop("jupytext", None)  # about the source, not for the students
    ids = [label(cell) or f"cell-{i}" for i, cell in enumerate(notebook.cells)]
    wrong = sorted({name for name in ids if ids.count(name) > 1 or not re.fullmatch(r"[\w-]{1,64}", name)})
    if wrong:
        raise ValueError(f"each grade_id must be unique and made of letters, digits, - and _; got {wrong}")
    for cell, name in zip(notebook.cells, ids, strict=True):
        cell.id = name
    return notebook


# --- what differs -----------------------------------------------------------------------------------------------------


def choice(assignment: str, variants: Variants, student: str, key: bytes) -> dict[str, str]:
    """Return the option of each knob that a student gets.

    Option k of n is drawn with probability 1/n, from HMAC-SHA256 of the assignment, the student's id and the knob under
    the course's key. `ORDER` has the letters of the statements as they stand, in their new order.
    """

    def drawn(knob: str) -> int:
        about = json.dumps([assignment, student.casefold(), knob]).encode()
        return int.from_bytes(hmac.digest(key, about, "sha256"))

    found = {knob: list(options)[drawn(knob) % len(options)] for knob, options in variants.items()}
    order = sorted(LETTERS, key=lambda letter: drawn(f"{ORDER}, {letter}"))
    return {**found, ORDER: "".join(order)}


def varied(texts: Mapping[str, str], variants: Variants, chosen: Mapping[str, str]) -> dict[str, str]:
    """Return the texts of an assignment's files, by the names in `FILES`, with these options in them.

    Raises:
        ReleaseError: if there is no such knob or option, or a text does not have what is to be replaced.
    """
    result = dict(texts)
    for knob, name in chosen.items():
        if knob == ORDER:
            continue
        if name not in variants.get(knob, {}):
            raise ReleaseError(f"there is no option {name!r} of {knob!r}")
        for file, pairs in variants[knob][name].items():
            for old, new in pairs:
                if old not in result[file]:
                    raise ReleaseError(f"{knob}, {name}: the {file} does not have {old!r}")
                result[file] = result[file].replace(old, new)
    return _reordered(result, chosen.get(ORDER, LETTERS))


def _reordered(texts: dict[str, str], order: str) -> dict[str, str]:
    """Put the statements into this order, and give the answers, right and wrong, their new letters."""
    source = texts["source"]
    statements = list(_STATEMENT.finditer(source))
    answer = re.search(r'^    return "([A-J]{5})"$', source, re.MULTILINE)
    if [found[0][6] for found in statements] != list(LETTERS) or not answer or sorted(order) != list(LETTERS):
        raise ReleaseError("the source has no ten statements in a row, from A to J, with a solution of five letters")
    first, last = statements[0].start(), statements[-1].end()
    lines = [statements[LETTERS.index(old)][0] for old in order]
    block = "".join(line[:6] + new + line[7:] for new, line in zip(LETTERS, lines, strict=True))
    to = str.maketrans(order, LETTERS)  # what was B has the letter of B's new place
    new_answer = "".join(sorted(answer[1].translate(to)))
    source = source[:first] + block + source[last:]
    wrong = re.sub(
        r"^.*_mistakes\(.*$",
        lambda line: re.sub(r'"([A-J]+)"', lambda text: f'"{text[1].translate(to)}"', line[0]),
        texts["wrong"],
        flags=re.MULTILINE,
    )
    return {**texts, "source": source.replace(f'"{answer[1]}"', f'"{new_answer}"'), "wrong": wrong}


def knobs(assignment: str, root: Path = Path()) -> Variants:
    """Return what may differ in an assignment, from a copy of the course's repository."""
    from aigc_course.grading.marking import module  # here, since it imports torch

    path = root / "marking" / f"{assignment}_variants.py"
    if not path.is_file():
        raise ReleaseError(f"there is no {path}: run this in the folder of the course's repository")
    return module(path).VARIANTS


# --- in a course's folder ---------------------------------------------------------------------------------------------


def release_all(assignment: str, course: Path, root: Path = Path()) -> tuple[Path, str]:
    """Write the notebook for a class without papers of their own; return where it is, and where Colab can open it.

    Raises:
        ReleaseError: if there is no such assignment, or if its students were given papers of their own.
    """
    given = Papers.read(assignment, course)
    if given.students is not None:
        raise ReleaseError(
            f"students of {course} were given papers of their own for {assignment}: name the roster with --variants"
        )
    place = course / "release" / assignment / f"{assignment}.ipynb"
    source = _places(assignment, root)["source"].read_text("utf-8")
    write(place, (nbformat.writes(released(source)) + "\n").encode())
    settings = yaml.safe_load((root / "_config.yml").read_text("utf-8"))["repository"]
    address = settings["url"].replace("https://github.com/", "https://colab.research.google.com/github/")
    return place, f"{address}/blob/{settings['branch']}/notebooks/exercises/{assignment}.ipynb"


def _places(assignment: str, root: Path) -> dict[str, Path]:
    from aigc_course.grading.marking import files  # here, since it imports torch

    try:
        return dict(zip(FILES, files(assignment, root), strict=True))
    except FileNotFoundError as error:
        raise ReleaseError(str(error)) from error


def release_class(assignment: str, course: Path, roster: Roster, root: Path = Path()) -> dict[str, dict[str, str]]:
    """Write a paper for each student of a roster; return what each has of what may differ.

    - `release/<assignment>/<student>/<assignment>.ipynb` is what the student is given;
    - `papers/<assignment>/<student>/` has that paper's source with its solution, and how it is marked;
    - `papers/<assignment>/papers.json` says who has what;
    - `papers/key` is the course's key. Without it nobody can draw the same papers again.

    Doing it again makes papers for those who have none yet. The others keep the one that they were given, even if the
    assignment has changed since; to make theirs anew, delete the folders above.

    Raises:
        ReleaseError: if a file of the assignment is not there, or does not fit what may differ in it; or if somebody
            else is releasing.
    """
    places = _places(assignment, root)
    texts = {name: path.read_text("utf-8") for name, path in places.items()}
    variants = knobs(assignment, root)
    with ExitStack() as stack:
        try:
            stack.enter_context(alone(course / "papers"))
        except Timeout as error:
            raise ReleaseError(f"somebody else is releasing into {course}: wait until it has ended") from error
        papers = Papers.read(assignment, course)
        key = _key(course / "papers" / "key")
        about: dict[str, dict[str, str]] = {}
        given = papers.students or {}
        for student in roster.students.values():
            if student.id in given and papers.given(student.id).is_file():  # they may be at work on it
                continue
            chosen = choice(assignment, variants, student.id, key)
            paper = varied(texts, variants, chosen)
            for name, path in places.items():
                place = course / "papers" / assignment / student.id / path.relative_to(root)
                write(place, paper[name].encode())
            # Under the key, so that it does not tell whoever puts papers together which one is theirs.
            about_it = json.dumps([assignment, student.id, *(paper[name] for name in FILES)]).encode()
            notebook = released(paper["source"], hmac.digest(key, about_it, "sha256").hex())
            write(papers.given(student.id), (nbformat.writes(notebook) + "\n").encode())
            about[student.id] = chosen
        write_json(course / "papers" / assignment / "papers.json", {"students": {**given, **about}})
    return {student.id: about.get(student.id) or dict(given[student.id]) for student in roster.students.values()}


def _key(path: Path) -> bytes:
    """Return the course's key, and make it the first time."""
    if not path.exists():
        write(path, secrets.token_hex(32).encode())
    return hashlib.sha256(path.read_bytes().strip()).digest()
