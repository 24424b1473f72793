"""Taking in what a class sent: whose it is, what is repaired, what is named; archives that mean harm; kill -9."""

import copy
import hashlib
import io
import json
import os
import re
import signal
import stat
import textwrap
import warnings
import zipfile
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import nbformat
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from nbformat import NotebookNode
from typer.testing import CliRunner

from aigc_course.grading.cli import app
from aigc_course.grading.intake import Intake, IntakeError, Roster, Sender, Student, intake, sender_of
from aigc_course.grading.notebooks import LARGEST

STUB = "\n    # YOUR CODE HERE\n    raise NotImplementedError()"


def released() -> NotebookNode:
    """An assignment: a setup cell, two functions with a check each, and two answers in words."""
    notebook = nbformat.v4.new_notebook(metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}})

    def cell(name: str, source: str, kind: str = "code", **entry: Any) -> None:
        new = getattr(nbformat.v4, f"new_{kind}_cell")(source, id=name)
        if entry:
            rest = {"grade": False, "solution": False, "task": False, "schema_version": 3} | entry
            new.metadata.nbgrader = {"grade_id": name, "locked": not rest["solution"]} | rest
        notebook.cells.append(new)

    cell("setup", "import math", task=False)
    for name in ("double", "half"):
        cell(f"about-{name}", f"Write `{name}`.", "markdown")
        cell(name, f"def {name}(x):{STUB}", solution=True)
        cell(f"{name}-a", f"assert {name}(4) == {8 if name == 'double' else 2}", grade=True, points=2)
    for name in ("why", "how"):
        cell(f"about-{name}", f"Say {name}.", "markdown")
        cell(name, "YOUR ANSWER HERE", "markdown", solution=True, grade=True, points=1)
    return notebook


RELEASE = released()
ANSWERS = {
    "double": "def double(x):\n    return 2 * x",
    "half": "def half(x):\n    return x / 2",
    "why": "Because.",
    "how": "So.",
}


def cell_of(notebook: NotebookNode, name: str) -> NotebookNode:
    return next(c for c in notebook.cells if c.metadata.get("nbgrader", {}).get("grade_id") == name)


def answered(**other: str) -> NotebookNode:
    notebook = copy.deepcopy(RELEASE)
    for name, text in (ANSWERS | other).items():
        cell_of(notebook, name).source = text
    return notebook


def data_of(notebook: NotebookNode) -> bytes:
    return json.dumps(notebook).encode()


GOOD = data_of(answered())


def changed(change: Callable[[NotebookNode], Any]) -> bytes:
    notebook = answered()
    change(notebook)
    return data_of(notebook)


def zipped(files: dict[str, bytes], **about: Any) -> bytes:
    """A ZIP archive; `about` is set on the entry of the last file."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for i, (name, data) in enumerate(files.items()):
            member = zipfile.ZipInfo(name, (2026, 1, 5, 12, 0, 0))
            member.compress_type = zipfile.ZIP_DEFLATED
            if i == len(files) - 1:
                for key, value in about.items():
                    setattr(member, key, value)
            archive.writestr(member, data)
    return out.getvalue()


def encrypted(files: dict[str, bytes]) -> bytes:
    data = bytearray(zipped(files))
    for mark, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(mark) + place] |= 1
    return bytes(data)


# --- Every kind of breakage ------------------------------------------------------------------------------------------


def stripped(notebook: NotebookNode) -> None:
    for cell in notebook.cells:
        cell.metadata = {}


def without_ids(notebook: NotebookNode) -> None:
    notebook.nbformat_minor = 4
    for cell in notebook.cells:
        del cell["id"]


def colab(notebook: NotebookNode) -> None:
    notebook.metadata = {"colab": {"provenance": []}, "kernelspec": {"name": "ir", "display_name": "R"}}
    for cell in notebook.cells:
        cell.metadata["id"], cell.id = "aBcDeF", "same"


def windows(notebook: NotebookNode) -> None:
    for cell in notebook.cells:
        cell.source = cell.source.replace("\n", "\r\n")


def copied(name: str, text: str | None = None, at: int = 1) -> Callable[[NotebookNode], None]:
    def change(notebook: NotebookNode) -> None:
        second = copy.deepcopy(cell_of(notebook, name))
        second.source = second.source if text is None else text
        notebook.cells.insert(at, second)

    return change


def deleted(*names: str) -> Callable[[NotebookNode], Any]:
    return lambda notebook: [notebook.cells.remove(cell_of(notebook, name)) for name in names]


def edited(name: str, text: str) -> Callable[[NotebookNode], None]:
    return lambda notebook: cell_of(notebook, name).update(source=text)


def relabelled(notebook: NotebookNode) -> None:
    for cell in notebook.cells:
        if "nbgrader" in cell.metadata:
            cell.metadata.nbgrader.grade_id += "-gan"
        cell.source += "\n# Adversarial."


def retyped(notebook: NotebookNode) -> None:
    """The answers were deleted and typed again in cells of the student's own, one with a helper above it."""
    for name in ANSWERS:
        cell_of(notebook, name).metadata = {}
    notebook.cells.insert(2, nbformat.v4.new_code_cell("def helper(x):\n    return x"))


def split(notebook: NotebookNode) -> None:
    first = cell_of(notebook, "double")
    second = copy.deepcopy(first)
    first.source, second.source = first.source.split("\n", 1)
    notebook.cells.insert(notebook.cells.index(first) + 1, second)


def split_words(notebook: NotebookNode) -> None:
    stripped(notebook)
    notebook.cells.append(nbformat.v4.new_markdown_cell("And so on."))


def cheap(notebook: NotebookNode) -> None:
    check = cell_of(notebook, "double-a")
    check.source, check.metadata.tags = "pass", ["skip-execution"]
    check.metadata.nbgrader.update(points=100, locked=False, solution=True)


def raw(notebook: NotebookNode) -> None:
    half = cell_of(notebook, "half")
    half.cell_type = "raw"
    del half["outputs"], half["execution_count"]


def old_release(notebook: NotebookNode) -> None:
    copied("half-a")(notebook)
    notebook.cells[1].metadata.nbgrader.grade_id = "half-z"


Files = dict[str, bytes | tuple[bytes, int]]  # with the minute of the hour at which a file was changed
V3 = json.dumps(nbformat.convert(nbformat.reads(GOOD.decode(), 4), 3)).encode()
SLOW = data_of(answered(double="def double(x):\n    return x + x"))

# What is repaired: the notebook that comes out has the answers above.
REPAIRED: dict[str, tuple[Files, str]] = {
    "nothing": ({"vae.ipynb": GOOD}, "^$"),
    "Copy of": ({"Copy of vae.ipynb": GOOD}, "^$"),
    "(1)": ({"vae (1).ipynb": GOOD}, "^$"),
    "an odd name": ({"Größe 🎲\u202e.ipynb": GOOD}, "^$"),
    "a long name": ({"x" * 200 + ".ipynb": GOOD}, "^$"),
    "in a folder": ({"a/b/vae.ipynb": GOOD}, "^$"),
    ".ipynb.txt": ({"vae.ipynb.txt": GOOD}, "ending of its name"),
    "no ending": ({"vae/vae": GOOD}, "ending of its name"),
    "byte order mark": ({"vae.ipynb": b"\xef\xbb\xbf" + GOOD}, "byte order mark"),
    "UTF-16": ({"vae.ipynb": GOOD.decode().encode("utf-16")}, "UTF-16"),
    "UTF-16 without a mark": ({"vae.ipynb": GOOD.decode().encode("utf-16-le")}, "UTF-16"),
    "line ends": ({"vae.ipynb": changed(windows)}, "line ends"),
    "format 3": ({"vae.ipynb": V3}, "notebook format 3"),
    "no cell ids": ({"vae.ipynb": changed(without_ids)}, "^$"),
    "Colab": ({"vae.ipynb": changed(colab)}, "^$"),
    "raw cell": ({"vae.ipynb": changed(raw)}, "^$"),
    "equal copies": ({"vae.ipynb": changed(copied("double"))}, "label of equal copies of the answer double"),
    "untouched copy": (
        {"vae.ipynb": changed(copied("double", f"def double(x):{STUB}", 4))},
        "removed untouched copies of the answer double",
    ),
    "check deleted": ({"vae.ipynb": changed(deleted("half-a", "setup"))}, "put back the cells setup, half-a"),
    "check edited": ({"vae.ipynb": changed(edited("half-a", "pass"))}, "undid changes in the cell half-a"),
    "check cheapened": ({"vae.ipynb": changed(cheap)}, "undid changes in the cell double-a"),
    "check copied": ({"vae.ipynb": changed(copied("double-a"))}, "label of copies of the cell double-a"),
    "imports": ({"vae.ipynb": changed(edited("setup", "import math\nimport json"))}, "added imports a cell"),
    "older release": ({"vae.ipynb": changed(old_release)}, "^$"),
    "labels stripped": ({"vae.ipynb": changed(stripped)}, "put back the labels setup, double, double-a, half,"),
    "answers retyped": ({"vae.ipynb": changed(retyped)}, "put back the labels double, half, why, how"),
    "zipped": ({"vae.zip": zipped({"work/vae.ipynb": GOOD})}, "^$"),
    "zipped on a Mac": (
        {"vae.zip": zipped({"vae.ipynb": GOOD, "__MACOSX/._vae.ipynb": b"\0\5\26\7", ".DS_Store": b"\0"})},
        "^$",
    ),
    "a PDF beside it": ({"vae.ipynb": GOOD, "vae.pdf": b"%PDF-1.7"}, "^$"),
    "another assignment beside it": ({"vae.ipynb": GOOD, "gan.ipynb": changed(relabelled)}, "^$"),
    "Jupyter's copy": ({"vae.ipynb": GOOD, ".ipynb_checkpoints/vae-checkpoint.ipynb": (SLOW, 30)}, "^$"),
    "the same twice": ({"vae.ipynb": GOOD, "vae (1).ipynb": (GOOD, 5)}, "^$"),
    "older and newer": ({"vae.ipynb": (SLOW, 1), "final.ipynb": (GOOD, 30)}, "^$"),
}

# What is named, with the reason; no notebook comes out.
NAMED: dict[str, tuple[Files, str]] = {
    "empty": ({"vae.ipynb": b""}, "the file is empty"),
    "blank": ({"vae.ipynb": b"\n \0"}, "the file is empty"),
    "cut off": ({"vae.ipynb": GOOD[:-300]}, "not JSON, or it was cut off"),
    "latin-1": ({"vae.ipynb": GOOD.replace(b"Because", b"Sch\xf6n")}, "not JSON.*utf-8"),
    "deep": ({"vae.ipynb": b"[" * 100_000}, "not JSON"),
    "a list": ({"vae.ipynb": b"[1, 2]"}, "JSON, but not a notebook"),
    "other JSON": ({"vae.gdoc": b'{"url": "https://example.org"}'}, "JSON, but not a notebook"),
    "link": ({"vae.ipynb": b"https://colab.research.google.com/drive/1"}, "a link; ask for the file itself"),
    "Windows' link": ({"vae.url": b"[InternetShortcut]\nURL=https://example.org"}, "a link"),
    "PDF": ({"vae.pdf": b"%PDF-1.7 \xff"}, "a PDF; ask for the .ipynb file"),
    "web page": ({"vae.ipynb": b"\n<!DOCTYPE html>"}, "a web page; ask for the .ipynb file"),
    "Python": ({"vae.py": b"def double(x): return 2 * x"}, "a Python file; ask for the .ipynb file"),
    "picture": ({"vae.png": b"\x89PNG\r\n\x1a\n"}, "a picture"),
    "RAR": ({"vae.rar": b"Rar!\x1a\x07"}, "a RAR archive"),
    "7z": ({"vae.7z": b"7z\xbc\xaf\x27\x1c"}, "a 7z archive"),
    "Word": ({"vae.docx": zipped({"[Content_Types].xml": b"", "word/document.xml": b""})}, "an Office document"),
    "format 99": ({"vae.ipynb": GOOD.replace(b'"nbformat": 4', b'"nbformat": 99')}, "damaged"),
    "no cells": ({"vae.ipynb": changed(lambda n: n.pop("cells"))}, "damaged.*cells"),
    "a cell of no kind": ({"vae.ipynb": changed(lambda n: n.cells[1].update(cell_type="cell"))}, "damaged"),
    "surrogate": ({"vae.ipynb": changed(edited("half", "'\ud800'"))}, "damaged.*surrogates"),
    "a label that is text": ({"vae.ipynb": changed(lambda n: n.cells[0].metadata.update(nbgrader="x"))}, "damaged"),
    "split": ({"vae.ipynb": changed(split)}, "2 cells are labelled 'double'"),
    "two answers": (
        {"vae.ipynb": changed(copied("half", "def half(x): pass"))},
        "2 cells are labelled 'half'",
    ),
    "answer deleted": ({"vae.ipynb": changed(deleted("half", "why"))}, "'half'; no cell is labelled 'why'"),
    "stripped and split": ({"vae.ipynb": changed(split_words)}, "no cell is labelled 'how'"),
    "another assignment": ({"vae.ipynb": changed(relabelled)}, "another assignment.*double-gan"),
    "nothing of it": ({"vae.ipynb": data_of(nbformat.v4.new_notebook())}, "no cell has a label"),
    "zip in a zip": ({"a.zip": zipped({"b.zip": zipped({"vae.ipynb": GOOD})})}, "a.zip/b.zip: .*ZIP archive; unpack"),
    "encrypted zip": ({"vae.zip": encrypted({"vae.ipynb": GOOD})}, "encrypted; ask for it without a password"),
    "empty zip": ({"vae.zip": b"PK\5\6" + bytes(18)}, "ZIP archive"),
    "zip of nothing": ({"vae.zip": zipped({"vae/": b""})}, "the folder is empty"),
    "zip cut off": ({"vae.zip": zipped({"vae.ipynb": GOOD})[:-200]}, "not a zip file"),
    "zip damaged": (
        {"vae.zip": zipped({"vae.ipynb": GOOD}).replace(b"vae.ipynb", b"vaX.ipynb", 1)},
        "cannot be unpack",
    ),
    "zip of a PDF": ({"vae.zip": zipped({"vae.pdf": b"%PDF-1.7"})}, "vae.zip/vae.pdf: .* a PDF"),
    "zip bomb": ({"vae.zip": zipped({"vae.ipynb": bytes(2**25)})}, "zip bomb"),
    "zip of too many": ({"vae.zip": b"PK\3\4" + b"PK\1\2" * 20_001}, "more than 20,000 files"),
    "path out of the zip": ({"vae.zip": zipped({"../../vae.ipynb": GOOD})}, "leads out of the archive"),
    "absolute path": ({"vae.zip": zipped({"/etc/vae.ipynb": GOOD})}, "leads out of the archive"),
    "a drive's path": ({"vae.zip": zipped({"C:\\vae.ipynb": GOOD})}, "leads out of the archive"),
    "a folder of data": ({"vae.zip": zipped({"vae\\\\": GOOD})}, "called like a folder, but holds data"),
    "link in a zip": (
        {"vae.zip": zipped({"vae.ipynb": b"/etc/passwd"}, external_attr=(stat.S_IFLNK | 0o777) << 16)},
        "it is a link",
    ),
    "device in a zip": (
        {"vae.zip": zipped({"vae.ipynb": b""}, external_attr=(stat.S_IFCHR | 0o666) << 16)},
        "a device, a pipe or a socket",
    ),
    "two of one name": ({"vae.zip": zipped({"vae.ipynb": GOOD, "VAE.ipynb": SLOW})}, "several files of this name"),
    "none is newer": ({"vae.ipynb": GOOD, "final.ipynb": SLOW}, "none is newer: .*final.ipynb, .*vae.ipynb"),
}

# A notebook comes out, and a person should look.
DOUBTFUL: dict[str, tuple[Files, str]] = {
    "untouched": ({"vae.ipynb": data_of(RELEASE)}, "no answer differs"),
    "words elsewhere": (
        {"vae.ipynb": changed(lambda n: (edited("how", "")(n), n.cells.append(nbformat.v4.new_markdown_cell("So."))))},
        "the answer 'how' is empty",
    ),
    "the newest is broken": ({"vae.ipynb": (GOOD, 1), "final.ipynb": (GOOD[:99], 30)}, "newer file, .*final.ipynb"),
}
KINDS = {**REPAIRED, **NAMED, **DOUBTFUL}


def time_of(content: bytes | tuple[bytes, int]) -> tuple[bytes, datetime]:
    data, minute = content if isinstance(content, tuple) else (content, 0)
    return data, datetime(2026, 1, 5, 12, minute)


def as_zip(path: Path, files: Files) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            data, time = time_of(content)
            archive.writestr(zipfile.ZipInfo(name, time.timetuple()[:6]), data)
    return path


def as_folder(path: Path, files: Files) -> Path:
    for name, content in files.items():
        data, time = time_of(content)
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
        os.utime(path / name, (time.timestamp(),) * 2)
    return path


def tree(folder: Path) -> dict[str, tuple[bytes, int]]:
    paths = [path for path in folder.rglob("*") if path.is_file() and path.name != ".lock"]
    return {path.relative_to(folder).as_posix(): (path.read_bytes(), path.stat().st_mtime_ns) for path in paths}


def check_student(done: Intake, folder: Path, student: str, kind: str, files: Files, before: str) -> None:
    """Whatever happened to a file, it is kept, it is in the report, and the student has a notebook or a reason."""
    expected = KINDS[kind][1]
    about = done.report["students"][student]
    entries = {entry["path"]: entry for entry in done.report["files"] if entry["path"].startswith(before)}
    for name, content in files.items():
        path = before + name.replace("\u202e", "\\u202e")
        if ".ipynb_checkpoints" in name:
            assert entries[path]["outcome"] == "ignored"
            continue
        kept = list((folder / student / "original").glob(f"{hashlib.sha256(time_of(content)[0]).hexdigest()[:12]}-*"))
        assert [each.read_bytes() for each in kept][:1] == [time_of(content)[0]]
        assert entries[path]["student"] == student
    said = "\n".join([*about["repairs"], *about["look"]])
    if kind in NAMED:
        assert about["notebook"] is None
        assert not (folder / student / "notebook.ipynb").exists()
        assert {entry["outcome"] for entry in entries.values()} == {"look"}
    else:
        notebook = nbformat.read(folder / student / "notebook.ipynb", as_version=4)
        nbformat.validate(notebook)
        names = [cell.metadata.get("nbgrader", {}).get("grade_id") for cell in notebook.cells]
        assert [name for name in names if name] == [c.id for c in RELEASE.cells if "nbgrader" in c.metadata]
        for cell in RELEASE.cells:
            if "nbgrader" in cell.metadata:
                mended = cell_of(notebook, cell.id)
                assert mended.metadata == cell.metadata
                if not cell.metadata.nbgrader.solution:
                    assert mended.source == cell.source
                elif kind in REPAIRED:
                    assert mended.source == ANSWERS[cell.id]
        assert bool(about["look"]) == (kind in DOUBTFUL)
        assert sum(entry["outcome"] == "taken" for entry in entries.values()) == 1
    pattern = re.compile(expected)
    assert pattern.search(said), said


@pytest.mark.parametrize("layout", ["zip", "folder"])
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_certain_is_repaired_and_the_rest_is_named(tmp_path: Path, kind: str, layout: str) -> None:
    files = KINDS[kind][0]
    source = {"zip": as_zip, "folder": as_folder}[layout](
        tmp_path / "sent", {f"ada/{name}": content for name, content in files.items()}
    )
    roster = Roster([Student("ada", "Ada Lovelace")])
    folder = tmp_path / "course" / "submitted" / "vae"
    done = intake("vae", source, RELEASE, tmp_path / "course", roster)
    check_student(done, folder, "ada", kind, files, "ada/")
    assert done.changes == {"ada": "new"}
    assert (done.looks > 0) == (kind not in REPAIRED)
    before = tree(folder)
    assert intake("vae", source, RELEASE, tmp_path / "course", roster).changes == {"ada": "unchanged"}
    assert tree(folder) == before


def test_a_class_with_every_breakage(tmp_path: Path) -> None:
    assert len(KINDS) >= 60
    kinds = {f"s{i:03d}": kind for i, kind in enumerate(KINDS)}
    roster = Roster([Student(student, f"Given{student} Family") for student in kinds] + [Student("absent", "Nobody")])
    before = {student: f"Given{student} Family_{100 + i}_assignsubmission_file_/" for i, student in enumerate(kinds)}
    files = {before[s] + name: content for s, kind in kinds.items() for name, content in KINDS[kind][0].items()}
    files |= {"Eve Mallory_9_assignsubmission_file_/vae.ipynb": GOOD, "__MACOSX/._x": b"\0"}
    done = intake("vae", as_zip(tmp_path / "class.zip", files), RELEASE, tmp_path, roster)
    for student, kind in kinds.items():
        check_student(done, tmp_path / "submitted" / "vae", student, kind, KINDS[kind][0], before[student])
    assert {entry["path"] for entry in done.report["files"]} >= {name.replace("\u202e", "\\u202e") for name in files}
    assert done.report["missing"] == ["absent"]
    nobodys = {e["path"]: (e["outcome"], e["reason"]) for e in done.report["files"] if e["student"] is None}
    assert nobodys["__MACOSX/._x"] == ("ignored", "resource forks of macOS")
    assert nobodys["Eve Mallory_9_assignsubmission_file_/vae.ipynb"] == (
        "look",
        "“Eve Mallory” is nobody on the roster",
    )
    assert done.report == json.loads((tmp_path / "submitted" / "vae" / "report.json").read_text("utf-8"))


# --- Whose is it? ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("Ada King_12_assignsubmission_file_/vae.ipynb", Sender("Moodle", "Ada King", "12")),
        ("Ada King_12_assignsubmission_file/a/vae.ipynb", Sender("Moodle", "Ada King", "12")),
        ("Ada King_12_assignsubmission_file_vae.ipynb", Sender("Moodle", "Ada King", "12")),
        ("Ada King_12_assignsubmission_onlinetext/onlinetext.html", Sender("Moodle", "Ada King", "12")),
        ("Eve_1_assignsubmission_file_Bob_2_assignsubmission_file_x.ipynb", Sender("Moodle", "Eve", "1")),
        ("kingada_12_345_vae-1.ipynb", Sender("Canvas", "kingada", "12", 345)),
        ("kingada_LATE_12_345_vae.ipynb", Sender("Canvas", "kingada", "12", 345)),
        ("eve_1_2_bob_3_4_x.ipynb", Sender("Canvas", "eve", "1", 2)),
        ("kingada_12_text.html", Sender("Canvas", "kingada", "12")),
        ("LATE_anon_x4Gd2_345_vae.ipynb", Sender("Canvas", "anon_x4Gd2", "", 345)),
        ("ada/kingbob_12_345_vae.ipynb", Sender("plain", "ada")),
        ("ada/Bob_12_assignsubmission_file_/vae.ipynb", Sender("plain", "ada")),
        ("ada.ipynb", Sender("plain", "ada")),
        ("ada.king@uni.edu.ipynb.txt", Sender("plain", "ada.king@uni.edu")),
    ],
)
def test_names_of_files_are_read_as_platforms_write_them(path: str, expected: Sender) -> None:
    assert sender_of(path) == expected


CLASS = Roster(
    [
        Student("ada", "Ada King", "ada.king@uni.edu"),
        Student("bob", "Bob O'Neill", "bob@uni.edu"),
        Student("jose", "José Núñez"),
        Student("lee1", "Ann Lee", number="71"),
        Student("lee2", "Ann Lee", number="72"),
        Student("4711"),
    ]
)


@pytest.mark.parametrize(
    ("sender", "expected"),
    [
        (Sender("Moodle", "Ada King", "12"), "ada"),
        (Sender("Moodle", "King Ada", "12"), "ada"),
        (Sender("Moodle", "Bob ONeill", "12"), "bob"),
        (Sender("Moodle", "Jose\u0301 Nu\u0301n\u0303ez", "12"), "jose"),
        (Sender("Canvas", "oneillbob", "12"), "bob"),
        (Sender("Moodle", "Ann Lee", "72"), "lee2"),
        (Sender("Moodle", "Participant", "71"), "lee1"),
        (Sender("Moodle", "Whoever", "4711"), "4711"),
        (Sender("plain", "ADA"), "ada"),
        (Sender("plain", "ada.king"), "ada"),
        (Sender("plain", "bob@uni.edu"), "bob"),
        (Sender("plain", "Copy of vae_ada"), "ada"),
        (Sender("plain", "ada - vae (2)"), "ada"),
        (Sender("plain", "King, Ada"), "ada"),
        (Sender("Moodle", "Ann Lee", "12"), "can be several students: Ann Lee .lee1., Ann Lee .lee2."),
        (Sender("Moodle", "Ada King", "71"), "number 71 is that of Ann Lee .lee1., but its name is “Ada King”"),
        (Sender("Moodle", "Eve", "12"), "nobody on the roster"),
        (Sender("plain", "Jose Nunez"), "looks like José Núñez .jose., but is written differently"),
        (Sender("Moodle", "Аda King", "12"), "looks like Ada King .ada., .*CYRILLIC CAPITAL LETTER A"),
        (Sender("Moodle", "Ada Κing", "12"), "looks like Ada King .ada., .*GREEK CAPITAL LETTER KAPPA"),
        (Sender("Moodle", "Ada\u200b King", "12"), "looks like Ada King .ada., .*ZERO WIDTH SPACE"),
        (Sender("Moodle", "Ａda King", "12"), "looks like Ada King .ada., .*FULLWIDTH"),
        (Sender("Canvas", "kingаda", "12"), "looks like Ada King .ada., .*CYRILLIC SMALL LETTER A"),
        (Sender("plain", "Ada Klng"), "looks like Ada King"),
        (Sender("plain", "аda"), "looks like Ada King"),
    ],
)
def test_students_are_known_or_named_never_guessed(sender: Sender, expected: str) -> None:
    student, reason = CLASS.who(sender, "vae")
    if student is None:
        assert re.search(expected, reason), reason
    else:
        assert (student.id, reason) == (expected, "")


def taken_in(tmp_path: Path, files: Files, roster: Roster | None = CLASS, name: str = "sent.zip") -> Intake:
    return intake("vae", as_zip(tmp_path / name, files), RELEASE, tmp_path / "course", roster)


def reasons(done: Intake) -> dict[str, str]:
    return {entry["path"]: entry["reason"] for entry in done.report["files"] if entry["outcome"] == "look"}


def test_two_accounts_of_one_name_are_named_until_a_teacher_decides(tmp_path: Path) -> None:
    files: Files = {f"Ada King_{i}_assignsubmission_file_/vae.ipynb": GOOD for i in (12, 13)}
    done = taken_in(tmp_path, files)
    assert done.report["students"] == {}
    assert all("two accounts of this name (12, 13)" in reason for reason in reasons(done).values())
    assert len(reasons(done)) == done.looks == 2
    assert taken_in(tmp_path, {"ada/vae.ipynb": GOOD}, name="decided.zip").looks == 0
    # The other account comes later.
    first = taken_in(tmp_path, dict([next(iter(files.items()))]), name="first.zip")
    assert first.changes == {"ada": "updated"}
    before = tree(tmp_path / "course" / "submitted" / "vae" / "ada")
    assert "two accounts" in str(reasons(taken_in(tmp_path, dict([list(files.items())[1]]), name="later.zip")))
    assert tree(tmp_path / "course" / "submitted" / "vae" / "ada") == before


def test_names_that_differ_in_form_only_are_named(tmp_path: Path) -> None:
    done = taken_in(tmp_path, {"José Núñez/vae.ipynb": GOOD, "Jose\u0301 Núñez/vae.ipynb": SLOW, "ada/x.ipynb": GOOD})
    assert list(done.report["students"]) == ["ada"]
    assert len(reasons(done)) == 2
    assert all("look alike and are written differently" in reason for reason in reasons(done).values())


def test_without_a_roster_names_and_numbers_of_the_platform_count(tmp_path: Path) -> None:
    files: Files = {
        "Ada King_12_assignsubmission_file_/vae.ipynb": GOOD,
        "Аda King_13_assignsubmission_file_/vae.ipynb": GOOD,
        "Bob_14_assignsubmission_file_/vae.ipynb": GOOD,
    }
    done = taken_in(tmp_path, files, None)
    looks = {name: about["look"] for name, about in done.report["students"].items()}
    assert list(looks) == ["Ada King_12", "Bob_14", "Аda King_13"]
    assert looks["Bob_14"] == []
    assert "looks alike: Аda King_13" in looks["Ada King_12"][0]
    assert "looks alike: Ada King_12" in looks["Аda King_13"][0]
    done = intake("gan", as_zip(tmp_path / "case.zip", {"ada/x.ipynb": GOOD, "Ada/x.ipynb": GOOD}), RELEASE, tmp_path)
    assert len(reasons(done)) == 2


def test_folders_around_everything_are_left_out(tmp_path: Path) -> None:
    done = taken_in(tmp_path, {"all/of it/ada/vae.ipynb": GOOD, "all/of it/bob.ipynb": GOOD, "__MACOSX/x": b""})
    assert set(done.report["students"]) == {"ada", "bob"}
    # A single folder is a student's, whatever the files in it are called.
    done = taken_in(tmp_path, {"eve/jose.ipynb": GOOD}, name="eve.zip")
    assert "“eve” is nobody on the roster" in reasons(done)["eve/jose.ipynb"]


def test_the_newest_upload_counts_and_the_others_are_kept(tmp_path: Path) -> None:
    files: Files = {"kingada_12_90_vae.ipynb": (SLOW, 30), "kingada_LATE_12_100_vae-1.ipynb": (GOOD, 1)}
    done = taken_in(tmp_path, files)
    ada = tmp_path / "course" / "submitted" / "vae" / "ada"
    assert done.looks == 0
    assert done.report["students"]["ada"]["notebook"]["from"] == "kingada_LATE_12_100_vae-1.ipynb"
    assert {entry["path"]: entry["outcome"] for entry in done.report["files"]} == dict(
        zip(files, ("kept", "taken"), strict=True)
    )
    # A later export: the earlier files stay, and still count if they are newer.
    done = taken_in(tmp_path, {"kingada_12_95_vae.ipynb": SLOW}, name="old.zip")
    assert done.report["students"]["ada"]["notebook"]["from"] == "kingada_LATE_12_100_vae-1.ipynb"
    newest = data_of(answered(why="Why not?"))
    done = taken_in(tmp_path, {"kingada_12_110_vae-2.ipynb": newest}, name="new.zip")
    assert done.changes == {"ada": "updated"}
    assert cell_of(nbformat.read(ada / "notebook.ipynb", 4), "why").source == "Why not?"
    assert len(list((ada / "original").iterdir())) == 4


ROSTERS = {
    "own": "id,name,email\nada,Ada King,ada@uni.edu\n",
    "Excel": "\ufeffID;First name;Last name;E-mail\r\nada;Ada;King;ada@uni.edu\r\n",
    "tabs": "Student ID\tFull name\tEmail address\nada\tAda King\tada@uni.edu\n",
}


@pytest.mark.parametrize("kind", ROSTERS)
def test_rosters_are_read(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "roster.csv"
    path.write_bytes(ROSTERS[kind].encode())
    assert list(Roster.read(path).students.values()) == [Student("ada", "Ada King", "ada@uni.edu")]


def test_platforms_rosters_are_read(tmp_path: Path) -> None:
    path = tmp_path / "roster.csv"
    path.write_text('Identifier,"Full name","Email address",Status\n"Participant 12","Ada King",a@b,x\n', "utf-8")
    assert list(Roster.read(path).students.values()) == [Student("12", "Ada King", "a@b", "12")]
    path.write_text('Student,ID,SIS Login ID,vae\n    Points Possible,,,30\n"King, Ada",12,ada,\n', "utf-8")
    assert list(Roster.read(path).students.values()) == [Student("12", "King, Ada", "", "12")]


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"name\nAda\n", "no column “id”"),
        (b"", "no column “id”"),
        (b"id,name\n", "no students"),
        (b"id,name\n,Ada\n", "the id ''"),
        (b"id\n../ada\n", "the id '../ada'"),
        (b"id\nreport.json\n", "the id 'report.json'"),
        (b"id\nada\nADA\n", "the id 'ADA' twice"),
        (b"id,name\nada,Jos\xe9\n", "not in UTF-8"),
    ],
)
def test_bad_rosters_are_refused(tmp_path: Path, text: bytes, message: str) -> None:
    path = tmp_path / "roster.csv"
    path.write_bytes(text)
    with pytest.raises(IntakeError, match=message):
        Roster.read(path)


# --- Input that means harm -------------------------------------------------------------------------------------------


def test_large_files_links_and_pipes_in_a_folder_are_named(tmp_path: Path) -> None:
    sent = as_folder(tmp_path / "sent", {"ada/vae.ipynb": GOOD})
    for student in ("bob", "jose", "4711", "lee1"):
        (sent / student).mkdir()
    with open(sent / "bob" / "vae.ipynb", "wb") as file:
        file.truncate(500 * 10**6)
    (sent / "jose" / "vae.ipynb").symlink_to(sent / "ada" / "vae.ipynb")
    (sent / "lee2").symlink_to(sent / "ada")
    os.mkfifo(sent / "4711" / "vae.ipynb")
    done = intake("vae", sent, RELEASE, tmp_path / "course", CLASS)
    said = reasons(done)
    assert set(said) == {"bob/vae.ipynb", "jose/vae.ipynb", "4711/vae.ipynb", "lee1/", "lee2"}
    assert said["bob/vae.ipynb"] == f"the file has more than {LARGEST // 2**20} MB"
    assert said["jose/vae.ipynb"] == said["lee2"] == "it is a link; ask for the file itself"
    assert said["4711/vae.ipynb"] == "it is a device, a pipe or a socket, not a file"
    assert said["lee1/"] == "the folder is empty"
    assert done.report["students"]["ada"]["notebook"] is not None


def test_members_that_mean_harm_are_named_and_the_others_taken(tmp_path: Path) -> None:
    """In the platform's own archive, beside good files."""
    path = as_zip(tmp_path / "sent.zip", {"ada/vae.ipynb": GOOD, "jose/a.ipynb": GOOD, "jose/A.ipynb": SLOW})
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("../bob/vae.ipynb", GOOD)
        link = zipfile.ZipInfo("4711/vae.ipynb")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
        archive.writestr("lee1/vae.ipynb", bytes(2**25), zipfile.ZIP_DEFLATED)
        archive.writestr("lee2/vae.ipynb", GOOD, zipfile.ZIP_BZIP2)
    done = intake("vae", path, RELEASE, tmp_path / "course", CLASS)
    said = reasons(done)
    assert said.pop("lee1/vae.ipynb").endswith("a zip bomb")
    assert said.pop("lee2/vae.ipynb").startswith("it is packed in an unusual way")
    assert said.pop("4711/vae.ipynb") == "it is a link; ask for the file itself"
    assert set(said) == {"../bob/vae.ipynb", "jose/a.ipynb", "jose/A.ipynb"}
    assert done.report["students"]["ada"]["look"] == []
    assert not (tmp_path / "course" / "submitted" / "bob").exists()


def test_names_in_archives_of_a_mac_are_read(tmp_path: Path) -> None:
    path = as_zip(tmp_path / "sent.zip", {"José Núñez/vae.ipynb": GOOD})
    data = bytearray(path.read_bytes())
    for mark, place in ((b"PK\x03\x04", 7), (b"PK\x01\x02", 9)):
        data[data.index(mark) + place] &= ~8  # without the flag that says UTF-8
    path.write_bytes(data)
    assert list(intake("vae", path, RELEASE, tmp_path / "course", CLASS).report["students"]) == ["jose"]


NASTY = st.text(st.sampled_from('ab./\\:é\u0301\u202e\x1b\n ~_1%*?"|'), min_size=1, max_size=12)


@settings(max_examples=60, deadline=None)
@example(members=[(":", GOOD), ("\\1\\", b"")])
@given(members=st.lists(st.tuples(NASTY, st.sampled_from([GOOD, SLOW, b"", b"PK\3\4"])), min_size=1, max_size=6))
def test_every_file_of_any_archive_is_in_the_report_and_nothing_is_written_elsewhere(
    tmp_path_factory: pytest.TempPathFactory, members: list[tuple[str, bytes]]
) -> None:
    root = tmp_path_factory.mktemp("any")
    with zipfile.ZipFile(root / "sent.zip", "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the library warns of a name that occurs twice
        for name, data in members:
            archive.writestr(name, data)
    with zipfile.ZipFile(root / "sent.zip") as archive:
        count = sum(m.file_size > 0 or m.filename[-1] not in "/\\" for m in archive.infolist())
    if not count:
        return
    done = intake("vae", root / "sent.zip", RELEASE, root / "course")
    # An empty folder need not be there, but may: if its path leads out of the archive, it is named for that.
    entries = [entry for entry in done.report["files"] if entry["size"] or not entry["path"].endswith("/")]
    assert len(entries) == count
    assert all(entry["reason"] for entry in entries if entry["outcome"] in ("look", "ignored"))
    assert all(entry["path"].isprintable() for entry in entries)
    assert {path.name for path in root.iterdir()} == {"sent.zip", "course"}
    assert {path.name for path in (root / "course").iterdir()} == {"submitted"}
    assert {path.name for path in (root / "course" / "submitted").iterdir()} == {"vae"}
    before = tree(root)
    assert set(intake("vae", root / "sent.zip", RELEASE, root / "course").changes.values()) <= {"unchanged"}
    assert tree(root) == before


# --- Again, interrupted, by hand -------------------------------------------------------------------------------------

KILLED = """
    import os, signal, sys
    from pathlib import Path
    import nbformat
    from aigc_course.grading import intake as module
    source, release, courses = map(Path, sys.argv[1:])
    release = nbformat.read(release, 4)
    write, replace = Path.write_bytes, Path.replace

    def run(course, end):
        count = 0
        def passes():
            nonlocal count
            count += 1
            return count != end
        def half_written(path, data):
            if passes():
                return write(path, data)
            write(path, data[: len(data) // 2])
            os.kill(os.getpid(), signal.SIGKILL)
        def renamed(path, target):
            if not passes():
                os.kill(os.getpid(), signal.SIGKILL)
            replace(path, target)
            if not passes():
                os.kill(os.getpid(), signal.SIGKILL)
        Path.write_bytes, Path.replace = half_written, renamed
        module.intake("vae", source, release, course)

    for end in range(1, 1000):
        child = os.fork()
        if not child:
            run(courses / str(end), end)
            os._exit(0)
        if not os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]):
            break
    print(end)
"""


def test_kill_at_any_moment_and_the_same_again(tmp_path: Path, python: Callable[..., Any]) -> None:
    source = as_zip(tmp_path / "sent.zip", {"ada/vae.ipynb": GOOD, "ada/old.pdf": b"%PDF", "bob/vae.ipynb": GOOD[:9]})
    nbformat.write(RELEASE, tmp_path / "release.ipynb")
    child = python("-c", textwrap.dedent(KILLED), str(source), str(tmp_path / "release.ipynb"), str(tmp_path / "c"))
    out, errors = child.communicate()
    assert child.returncode == 0, errors
    # Three originals, a notebook, two manifests, a report: each is half written, not yet renamed, or just renamed.
    assert int(out) == 3 * 7 + 1

    def contents(folder: Path) -> dict[str, bytes]:
        return {path: data for path, (data, _) in tree(folder).items()}

    intake("vae", source, RELEASE, tmp_path / "reference")
    expected = contents(tmp_path / "reference")
    assert len(expected) == 7
    for end in range(1, int(out)):
        course = tmp_path / "c" / str(end)
        left = contents(course)
        whole = {path: data for path, data in left.items() if not path.endswith(".part")}
        assert whole.items() <= expected.items()  # nothing is there in part
        intake("vae", source, RELEASE, course)
        assert contents(course) == expected


def test_what_was_changed_by_hand_stays(tmp_path: Path) -> None:
    taken_in(tmp_path, {"ada/vae.ipynb": GOOD, "bob/vae.ipynb": changed(split)})
    folder = tmp_path / "course" / "submitted" / "vae"
    for student in ("ada", "bob"):
        (folder / student / "notebook.ipynb").write_text("by hand")
    done = taken_in(tmp_path, {"ada/vae.ipynb": (SLOW, 30), "bob/vae.ipynb": changed(split)})
    assert done.changes == {"ada": "changed by hand", "bob": "changed by hand"}
    for student in ("ada", "bob"):
        assert (folder / student / "notebook.ipynb").read_text() == "by hand"
        assert "changed by hand and stays" in done.report["students"][student]["look"][-1]
        (folder / student / "notebook.ipynb").unlink()
    done = taken_in(tmp_path, {"ada/vae.ipynb": (SLOW, 30)})
    assert done.changes == {"ada": "updated"}
    assert done.report["students"]["ada"]["look"] == []


def test_an_original_that_was_damaged_is_put_back(tmp_path: Path) -> None:
    taken_in(tmp_path, {"ada/vae.ipynb": GOOD})
    (original,) = (tmp_path / "course" / "submitted" / "vae" / "ada" / "original").iterdir()
    original.write_bytes(b"damaged")
    taken_in(tmp_path, {"ada/vae.ipynb": GOOD})
    assert original.read_bytes() == GOOD
    original.unlink()
    done = taken_in(tmp_path, {"ada/vae.ipynb": SLOW}, name="later.zip")
    assert done.report["students"]["ada"]["notebook"]["from"] == "ada/vae.ipynb"


# --- The command -----------------------------------------------------------------------------------------------------


def called(*arguments: str | Path) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, [str(each) for each in arguments], env={"COLUMNS": "200", "TERM": "dumb"})
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.stdout, done.stderr


def test_command_prints_what_happened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notebooks" / "exercises").mkdir(parents=True)
    nbformat.write(RELEASE, tmp_path / "notebooks" / "exercises" / "vae.ipynb")
    (tmp_path / "roster.csv").write_text("id,name\nada,Ada King\nbob,Bob\n")
    as_zip(tmp_path / "good.zip", {"ada/[red]vae.ipynb": GOOD})
    status, out, _ = called("intake", "vae", "good.zip", "--roster", "roster.csv")
    assert status == 0
    assert "ada/[red]vae.ipynb" in out
    assert "1 of 1 students have a notebook; 0 things need a look; 1 of the roster sent nothing" in out
    assert "Nothing came from: bob" in out
    status, out, _ = called("intake", "vae", "good.zip", "--roster", "roster.csv")
    assert (status, "Everything is unchanged." in out) == (0, True)
    as_zip(tmp_path / "bad.zip", {"bob/vae.ipynb": b"", "eve\x1b[31m/vae.ipynb": GOOD})
    status, out, _ = called("intake", "vae", "bad.zip", "--roster", "roster.csv")
    assert status == 1
    assert "bob/vae.ipynb: the file is empty" in out
    assert "“eve\\u001b[31m” is nobody on the roster" in out
    assert "\x1b" not in out
    assert (tmp_path / "course" / "submitted" / "vae" / "report.json").exists()


def test_help_has_examples() -> None:
    for arguments in (["--help"], ["intake", "--help"]):
        status, out, _ = called(*arguments)
        assert status == 0
    assert "aigc-grade intake vae" in out
    assert "--roster" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["vae", "missing.zip", "--release", "release.ipynb"], "missing.zip"),
        (["vae", "good.zip"], "make exercises"),
        (["vae", "good.zip", "--release", "good.zip"], "good.zip is not a notebook"),
        (["vae", "good.zip", "--release", "empty.ipynb"], "no answer cells"),
        (["vae", "good.zip", "--release", "solved.ipynb"], "holds solutions or hidden tests"),
        (["../vae", "good.zip", "--release", "release.ipynb"], "takes letters, digits"),
        (["vae", "release.ipynb", "--release", "release.ipynb"], "neither a folder nor a ZIP archive"),
        (["vae", "nothing", "--release", "release.ipynb"], "holds no files"),
        (["vae", ".", "--release", "release.ipynb"], "is where the results go"),
        (["vae", "many.zip", "--release", "release.ipynb"], "20,001 files; it may have 20,000"),
        (["vae", "huge.zip", "--release", "release.ipynb"], "unpacks to more than 8 GB"),
        (["vae", "good.zip", "--release", "release.ipynb", "--roster", "release.ipynb"], "no column “id”"),
    ],
)
def test_wrong_usage_has_status_2_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    solved = answered(double="def double(x):\n    ### BEGIN SOLUTION\n    return 2 * x\n    ### END SOLUTION")
    for name, notebook in {"release": RELEASE, "solved": solved, "empty": nbformat.v4.new_notebook()}.items():
        nbformat.write(notebook, tmp_path / f"{name}.ipynb")
    (tmp_path / "nothing").mkdir()
    as_zip(tmp_path / "good.zip", {"ada.ipynb": GOOD})
    if "many.zip" in arguments:
        as_zip(tmp_path / "many.zip", {f"{i}.ipynb": b"" for i in range(20_001)})
    huge = bytearray(zipped({f"{i}.ipynb": b"" for i in range(3)}))
    for i in range(3):
        place = huge.index(f"{i}.ipynb".encode(), huge.index(b"PK\x01\x02"))
        huge[place - 46 + 24 : place - 46 + 28] = (2**32 - 2).to_bytes(4, "little")  # the size it claims to have
    (tmp_path / "huge.zip").write_bytes(huge)
    status, out, errors = called("intake", *arguments)
    assert status == 2
    assert message in " ".join((out + errors).replace("│", " ").split())
    assert not (tmp_path / "course").exists()


def test_only_one_intake_runs_at_a_time(tmp_path: Path, python: Callable[..., Any]) -> None:
    folder = tmp_path / "course" / "submitted" / "vae"
    folder.mkdir(parents=True)
    code = f"from filelock import FileLock\nwith FileLock({str(folder / '.lock')!r}): print(1, flush=True); input()"
    child = python("-c", code)
    child.stdout.readline()
    with pytest.raises(IntakeError, match="another intake"):
        taken_in(tmp_path, {"ada/vae.ipynb": GOOD})
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert taken_in(tmp_path, {"ada/vae.ipynb": GOOD}).looks == 0


def test_reading_needs_neither_torch_nor_nbgrader(python: Callable[..., Any]) -> None:
    code = "import sys, aigc_course.grading.cli; print([m for m in ('torch', 'nbgrader', 'numpy') if m in sys.modules])"
    out, errors = python("-c", code).communicate()
    assert (out.strip(), errors) == ("[]", "")
