"""What costs no marks and does no harm: added imports, answers in other cells, attempts to install packages."""

import copy
import json
import sys
import zipfile
from pathlib import Path

import nbformat
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

# %% nbgrader={"grade": false, "grade_id": "area", "locked": false, "schema_version": 3, "solution": true, "task": false}
def area(r):
    ### BEGIN SOLUTION
    return math.pi * r**2
    ### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "area-a", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
assert area(1) == math.pi

# %% [markdown]
# Say why.

# %% [markdown] nbgrader={"grade": true, "grade_id": "words", "locked": false, "points": 1, "schema_version": 3, "solution": true, "task": false}
# Because.
"""  # noqa: E501

FULL = {"area-a": 2.0, "total": 2.0}
INSTALL = """\
import subprocess, sys
for command in ([sys.executable, "-m", "pip"], ["pip"]):
    for options in ([], ["--user"], ["--target", "here"]):
        done = subprocess.run([*command, "install", "--no-deps", *options, WHEEL])
        assert done.returncode != 0
    assert subprocess.run([*command, "uninstall", "-y", "pip"]).returncode != 0"""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source.py"
    path.write_text(SOURCE, "utf-8")
    return path


def cell_of(notebook: NotebookNode, name: str) -> NotebookNode:
    return next(c for c in notebook.cells if c.metadata.get("nbgrader", {}).get("grade_id") == name)


def answered(source: Path, setup: str = "import math", area: str = "return math.pi * r**2") -> NotebookNode:
    notebook = exercises.release(source)
    cell_of(notebook, "setup").source = setup
    cell_of(notebook, "area").source = f"def area(r):\n    {area}"
    return notebook


def test_imports_added_to_the_setup_cell_are_kept_and_nothing_else_is(source: Path) -> None:
    setup = (
        "!pip install something\n%matplotlib inline\nimport math, missing_module\nimport math as m\nfrom math import pi"
    )
    sent = {
        "imports": answered(source, setup + "\nmath.pi = 3", "return pi * m.pow(r, 2)"),
        "assignment": answered(source, "import math\nmy_pi = math.pi", "return my_pi"),
        "not Python": answered(source, "import math as m\nimport math Greetings", "return m.pi"),
    }
    points, problems = exercises.grade(source, sent)
    assert not problems
    assert {name: found["total"] for name, found in points.items()} == {
        "imports": 2.0,
        "assignment": 0.0,
        "not Python": 0.0,
    }


def test_an_answer_in_words_in_another_cell_needs_a_look(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    empty = answered(source)
    own_code = copy.deepcopy(empty)
    own_code.cells.insert(1, nbformat.v4.new_code_cell("r = 2"))
    text, code_below, question = (copy.deepcopy(empty) for _ in range(3))
    text.cells.insert(3, nbformat.v4.new_markdown_cell("Because of the circle."))
    code_below.cells.append(nbformat.v4.new_code_cell("# Because of the circle."))
    question.cells[3].source += " Because of the circle."
    answer = copy.deepcopy(text)
    cell_of(answer, "words").source = "Because."
    entry = {**FULL, "needs a look": ["words"]}
    expected = {
        "empty": (empty, {**FULL, "words": 0.0}),
        "own code": (own_code, {**FULL, "words": 0.0}),
        "in a text cell": (text, entry),
        "in a cell below": (code_below, entry),
        "behind the question": (question, entry),
        "where it belongs": (answer, FULL),
    }
    for name, (notebook, _) in expected.items():
        exercises.write(notebook, tmp_path / f"{name}.ipynb")
    paths = [str(tmp_path / f"{name}.ipynb") for name in expected]
    assert exercises.main(["grade", str(source), *paths]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found == dict(zip(paths, (entry for _, entry in expected.values()), strict=True))


def test_students_code_cannot_change_the_installed_packages(source: Path, tmp_path: Path) -> None:
    wheel = tmp_path / "handed_in-1-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("handed_in.py", "")
        archive.writestr("handed_in-1.dist-info/METADATA", "Metadata-Version: 2.1\nName: handed-in\nVersion: 1\n")
        archive.writestr(
            "handed_in-1.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr("handed_in-1.dist-info/RECORD", "")
    body = INSTALL.replace("WHEEL", repr(str(wheel))).replace("\n", "\n    ") + "\n    return math.pi * r**2"
    points, _ = exercises.grade(source, {"ada": answered(source, area=body)}, seconds_per_cell=60)
    assert points["ada"]["area-a"] == 2.0
    assert not list(Path(sys.prefix).rglob("handed_in*"))
