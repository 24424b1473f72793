"""Grading a class: everything that one student's file or code can do, in one batch with others who keep their marks."""

import contextlib
import copy
import io
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import psutil
import pytest
from nbformat import NotebookNode

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tools"))

import exercises  # noqa: E402

SOURCE = """\
# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% nbgrader={"grade": false, "grade_id": "setup", "locked": true, "schema_version": 3, "solution": false, "task": false}
import math

# %% nbgrader={"grade": false, "grade_id": "double", "locked": false, "schema_version": 3, "solution": true, "task": false}
def double(x):
    ### BEGIN SOLUTION
    return 2 * x
    ### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "double-a", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
assert double(math.pi) == 2 * math.pi

# %% nbgrader={"grade": false, "grade_id": "half", "locked": false, "schema_version": 3, "solution": true, "task": false}
def half(x):
    ### BEGIN SOLUTION
    return x / 2
    ### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "half-a", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
assert half(4) == 2
### BEGIN HIDDEN TESTS
assert half(6) == 3
### END HIDDEN TESTS

# %% [markdown] nbgrader={"grade": true, "grade_id": "words", "locked": false, "points": 1, "schema_version": 3, "solution": true, "task": false}
# ### BEGIN SOLUTION
# Because.
# ### END SOLUTION
"""  # noqa: E501

SECONDS = 4
FULL = {"double-a": 2.0, "half-a": 3.0, "total": 5.0}
NO_DOUBLE = {"double-a": 0.0, "half-a": 3.0, "total": 3.0}

Change = Callable[[NotebookNode], Any]


def cell_of(notebook: NotebookNode, name: str) -> NotebookNode:
    return next(c for c in notebook.cells if c.metadata.get("nbgrader", {}).get("grade_id") == name)


def answer(code: str) -> Change:
    """The function `double` does this and then returns the right answer."""

    def change(notebook: NotebookNode) -> None:
        lines = [f"    {line}" for line in code.split("\n")]
        cell_of(notebook, "double").source = "\n".join(["def double(x):", *lines, "    return 2 * x"])

    return change


# --- What students' code does ----------------------------------------------------------------------------------------

UNRULY = """\
import logging, os, shutil, subprocess, sys, threading, time, warnings
from IPython.display import display
warnings.warn("a warning")
logging.warning("a message")
print("a progress bar", file=sys.stderr)
for _ in range(1000):
    display("many pictures")
for options in ({}, {"start_new_session": True}):
    child = subprocess.Popen(["sleep", "1000"], **options)
    print(child.pid, file=open(PIDS, "a"))
def chatter():
    while not time.sleep(0.01):
        print("and on" * 1000)
threading.Thread(target=chatter, daemon=True).start()
shutil.rmtree(os.getcwd())
os.chdir("/")"""

DEAF = """\
while True:
    try:
        while True:
            pass
    except BaseException:
        pass"""


def own_slow_cells(notebook: NotebookNode) -> None:
    notebook.cells[1:1] = [nbformat.v4.new_code_cell(f"import time; time.sleep({SECONDS - 1})") for _ in range(20)]


CODE: dict[str, tuple[Change, dict[str, float] | str]] = {
    "unruly": (answer(UNRULY), FULL),
    "raises SystemExit": (answer("raise SystemExit"), NO_DOUBLE),
    "asks": (answer("input('How much?')"), NO_DOUBLE),
    "reads stdin": (answer("x = len(open('/dev/stdin').read())"), NO_DOUBLE),
    "sleeps": (answer("import time; time.sleep(1000)"), NO_DOUBLE),
    "floods": (answer("while True: print('x' * 10**6)"), NO_DOUBLE),
    "one large list": (answer("[0] * 10**12"), NO_DOUBLE),
    "a growing list": (answer("many = []\nwhile True: many.append(bytearray(10**8))"), NO_DOUBLE),
    "a large file": (answer("open('large', 'wb').truncate(2**30)"), NO_DOUBLE),
    "_exit": (answer("import os; os._exit(0)"), "its kernel, ended in or before the cell"),
    "segfault": (answer("import ctypes; ctypes.string_at(0)"), "its kernel, ended in or before the cell"),
    "quit": (answer("quit()\nimport time; time.sleep(3)"), "its kernel, ended in or before the cell"),
    "deaf": (answer(DEAF), f"the cell 'double-a' took more than {SECONDS} seconds and could not be interrupted"),
    "kills the grader": (answer("import os; os.kill(os.getppid(), 9)"), "ended early, with exit code -9"),
    "many slow cells": (
        own_slow_cells,
        f"the notebook took more than {10 * SECONDS} seconds to reach the cell that begins with 'import time",
    ),
}

# --- What happens to students' cells ---------------------------------------------------------------------------------


def battered(notebook: NotebookNode) -> None:
    """Through Colab, with checks and the setup deleted, an answer as raw text, and another kernel."""
    for name in ("setup", "half-a"):
        notebook.cells.remove(cell_of(notebook, name))
    half = cell_of(notebook, "half")
    half.cell_type, half.metadata["id"] = "raw", "aBcDeF"
    del half["outputs"], half["execution_count"]
    notebook.metadata = {"colab": {"provenance": []}, "kernelspec": {"name": "ir", "display_name": "R"}}
    for cell in notebook.cells:
        cell.id = "same"


def cheap(notebook: NotebookNode) -> None:
    """A wrong answer, whose check is changed so that it is not run, not locked and worth more."""
    cell_of(notebook, "double").source = "def double(x): pass"
    check = cell_of(notebook, "double-a")
    check.source = "pass"
    check.metadata.tags = ["skip-execution"]
    check.metadata.nbgrader.update(solution=True, locked=False, points=100)
    del cell_of(notebook, "half-a").metadata.nbgrader["schema_version"]


def copied_check(notebook: NotebookNode) -> None:
    notebook.cells.insert(1, copy.deepcopy(cell_of(notebook, "double-a")))


def older(notebook: NotebookNode) -> None:
    """The release of an older version: a check that is no more, and another text."""
    old = copy.deepcopy(cell_of(notebook, "half-a"))
    old.metadata.nbgrader.grade_id, old.source = "half-z", "assert False"
    notebook.cells.insert(4, old)
    cell_of(notebook, "half-a").source = "assert half(10) == 5"


def stripped(notebook: NotebookNode) -> None:
    for cell in notebook.cells:
        cell.metadata = {}


def split(notebook: NotebookNode) -> None:
    second = copy.deepcopy(cell_of(notebook, "double"))
    first = cell_of(notebook, "double")
    first.source, second.source = first.source.split("\n", 1)
    notebook.cells.insert(2, second)


def deleted(notebook: NotebookNode) -> None:
    for name in ("half", "words"):
        notebook.cells.remove(cell_of(notebook, name))


def another(notebook: NotebookNode) -> None:
    for cell in notebook.cells[1:]:
        cell.metadata.nbgrader.grade_id += "-gan"


def surrogate(notebook: NotebookNode) -> None:
    notebook.cells[1].source = "'\ud800'"


CELLS: dict[str, tuple[Change, dict[str, float] | str]] = {
    "battered": (battered, FULL),
    "cheap": (cheap, NO_DOUBLE),
    "copied check": (copied_check, FULL),
    "older": (older, FULL),
    "stripped": (stripped, "no cell has a label"),
    "split": (split, "2 cells are labelled 'double'"),
    "deleted": (deleted, "no cell is labelled 'half'; no cell is labelled 'words'"),
    "another": (another, "another assignment.*double-gan"),
    "surrogate": (surrogate, "damaged.*surrogates"),
    "no cells": (lambda notebook: notebook.pop("cells"), "damaged.*cells"),
    "a label that is text": (lambda n: n.cells[0].metadata.update(nbgrader="setup"), "damaged"),
    "a cell that is none": (lambda n: n.cells.append({"cell_type": "cell", "source": "", "metadata": {}}), "damaged"),
}

# --- What happens to students' files ---------------------------------------------------------------------------------


def version_3(text: str) -> bytes:
    notebook = nbformat.convert(nbformat.reads(text, 4), 3)
    return json.dumps(notebook).encode()


FILES: dict[str, tuple[Callable[[str], bytes], dict[str, float] | str]] = {
    "Copy of x": (str.encode, FULL),
    "x (1)": (str.encode, FULL),
    "Größe 🎲": (str.encode, FULL),
    "a/x": (str.encode, FULL),
    "b/x": (lambda text: text.replace("return 2 * x", "return x").encode(), NO_DOUBLE),
    "byte order mark": (lambda text: text.encode("utf-8-sig"), FULL),
    "utf-16": (lambda text: text.encode("utf-16"), FULL),
    "format 3": (version_3, FULL),
    "latin-1": (lambda text: text.replace("Because", "Schön").encode("latin-1"), "not JSON.*utf-8"),
    "empty": (lambda text: b"", "the file is empty"),
    "blank": (lambda text: b"\n", "the file is empty"),
    "cut": (lambda text: text.encode()[:-300], "not JSON, or it was cut off: .*line"),
    "web page": (lambda text: b"\n<html>", "not a notebook but a web page"),
    "archive": (lambda text: b"PK\x03\x04 own.ipynb", "not a notebook but a ZIP archive; unpack it"),
    "PDF": (lambda text: b"%PDF-1.7 \xff", "not a notebook but a PDF"),
    "link": (lambda text: b"https://example.org/own.ipynb", "not a notebook but a link"),
    "deep": (lambda text: b"[" * 100_000, "not JSON"),
    "list": (lambda text: b"[1, 2]", "not a notebook"),
    "other JSON": (lambda text: b'{"a": 1}', "not a notebook"),
    "format 99": (lambda text: text.replace('"nbformat": 4', '"nbformat": 99').encode(), "damaged"),
}


class Batch:
    """Everything above, graded in one call of the command line, between two good submissions."""

    def __init__(self, folder: Path) -> None:
        source = folder / "source.py"
        source.write_text(SOURCE, "utf-8")
        solved = exercises.solution(source)
        self.pids = folder / "pids"
        self.folder = folder
        self.expected: dict[str, dict[str, float] | str] = {}

        self._write("good", nbformat.writes(solved).encode(), FULL)
        for name, (edit, expected) in FILES.items():
            self._write(name, edit(nbformat.writes(solved)), expected)
        for name, (change, expected) in {**CELLS, **CODE}.items():
            notebook = copy.deepcopy(solved)
            change(notebook)
            self._write(name, json.dumps(notebook).replace("PIDS", f"'{self.pids}'").encode(), expected)
        self.expected["missing.ipynb"] = "cannot be read: No such file"
        self.expected["folder.ipynb"] = "not a file"
        self.expected["pipe.ipynb"] = "not a file"
        self.expected["loop.ipynb"] = "cannot be read"
        (folder / "folder.ipynb").mkdir()
        os.mkfifo(folder / "pipe.ipynb")
        (folder / "loop.ipynb").symlink_to("loop.ipynb")
        self._write("another good one", nbformat.writes(solved).encode(), FULL)

        out, err = io.StringIO(), io.StringIO()
        names = [str(folder / name) for name in self.expected]
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            self.status = exercises.main(["grade", str(source), *names, f"--seconds-per-cell={SECONDS}", "--jobs=4"])
        results = json.loads(out.getvalue())
        assert list(results) == names
        self.results = {name.removeprefix(f"{folder}/"): result for name, result in results.items()}
        self.messages = err.getvalue()

    def _write(self, name: str, data: bytes, expected: dict[str, float] | str) -> None:
        path = self.folder / f"{name}.ipynb"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
        self.expected[path.relative_to(self.folder).as_posix()] = expected


@pytest.fixture(scope="module")
def batch(tmp_path_factory: pytest.TempPathFactory) -> Batch:
    return Batch(tmp_path_factory.mktemp("class"))


NAMES = [f"{name}.ipynb" for name in ("good", "another good one", *FILES, *CELLS, *CODE)]
NAMES += ["missing.ipynb", "folder.ipynb", "pipe.ipynb", "loop.ipynb"]


@pytest.mark.parametrize("name", NAMES)
def test_each_submission_is_graded_by_itself(batch: Batch, name: str) -> None:
    expected, result = batch.expected[name], batch.results[name]
    if name == "floods.ipynb" and "problem" in result:  # on a busy machine it cannot always be stopped gently
        assert re.search("could not be interrupted|more than could be read", result["problem"]), result["problem"]
    elif isinstance(expected, dict):
        assert result == expected
    else:
        assert list(result) == ["problem"], result
        assert re.search(expected, result["problem"]), result["problem"]


def test_what_needs_a_look_is_listed(batch: Batch) -> None:
    problems = {name: result["problem"] for name, result in batch.results.items() if "problem" in result}
    assert batch.status == 1
    first, *lines = batch.messages.splitlines()
    assert first == f"{len(problems)} of {len(batch.results)} submissions could not be graded:"
    assert lines == [f"{batch.folder / name}: {problem}" for name, problem in problems.items()]


def test_no_process_is_left(batch: Batch) -> None:
    pids = [int(pid) for pid in batch.pids.read_text().split()]
    assert len(pids) == 2
    assert not any(map(psutil.pid_exists, pids))


@pytest.mark.parametrize("temporary", ["short", "long" * 30])
def test_a_batch_without_problems_has_status_0(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, temporary: str
) -> None:
    (tmp_path / temporary).mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / temporary))
    source, sent = tmp_path / "source.py", tmp_path / "x.ipynb"
    source.write_text(SOURCE, "utf-8")
    exercises.write(exercises.release(source), sent)
    assert exercises.main(["grade", str(source), str(sent), str(sent)]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out) == {str(sent): {"double-a": 0.0, "half-a": 0.0, "words": 0.0, "total": 0.0}}
    assert err == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["grade", "missing.py", "x.ipynb"], "there is no file missing.py"),
        (["grade", __file__], "SUBMISSION.ipynb"),
        (["grade", __file__, "x.ipynb", "--seconds-per-cell", "0"], "takes a whole number from 1, got 0"),
        (["grade", __file__, "x.ipynb", "--jobs", "two"], "takes a whole number from 1, got two"),
    ],
)
def test_wrong_usage_has_status_2(capsys: pytest.CaptureFixture[str], arguments: list[str], message: str) -> None:
    with pytest.raises(SystemExit) as error:
        exercises.main(arguments)
    assert error.value.code == 2
    assert message in capsys.readouterr().err


def test_an_interrupted_batch_leaves_nothing(tmp_path: Path) -> None:
    source, sent = tmp_path / "source.py", tmp_path / "x.ipynb"
    source.write_text(SOURCE, "utf-8")
    solved = exercises.solution(source)
    started = tmp_path / "started"
    answer(f"import os, time; print(os.getpid(), file=open({str(started)!r}, 'w'), flush=True); time.sleep(1000)")(
        solved
    )
    exercises.write(solved, sent)
    command = [sys.executable, exercises.__file__, "grade", str(source), str(sent), "--seconds-per-cell=1000"]
    with (
        # tmp_path is too long for the kernel's sockets, and would not be used.
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen(command, env={**os.environ, "TMPDIR": folder}, stderr=subprocess.PIPE) as grader,
    ):
        while not (started.exists() and started.read_text()):
            assert grader.poll() is None
            time.sleep(0.1)
        grader.send_signal(signal.SIGINT)
        _, messages = grader.communicate()
        assert b"KeyboardInterrupt" in messages
        deadline = time.monotonic() + 30  # a killed process stays in the list until the system has cleared it away
        while psutil.pid_exists(int(started.read_text())):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert not os.listdir(folder)
