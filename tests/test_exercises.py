"""The assignments, graded: solutions, empty releases, wrong answers; and the tool that makes and grades them."""

import copy
import importlib.util
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import jupytext
import nbformat
import pytest
import torch
from nbformat import NotebookNode

ROOT = Path(__file__).parents[1]
Points = dict[str, dict[str, float]]

SOURCE = ROOT / "notebooks" / "exercises" / "vae.py"


def _load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


tool = _load(ROOT / "tools" / "exercises.py")
answers = _load(ROOT / "tests" / "exercises" / "vae_wrong.py")
WRONG_CASES = [
    pytest.param(k, question, expected, id=f"{question}: {name}")
    for question, given in answers.WRONG.items()
    for k, (name, _, expected) in enumerate(given)
]
REGION = re.compile(r"^ *### BEGIN (SOLUTION|HIDDEN TESTS)\n(.*?)^ *### END \1$", re.DOTALL | re.MULTILINE)


def label(cell: NotebookNode) -> dict[str, Any]:
    return cell.metadata.get("nbgrader", {})


def cell_of(notebook: NotebookNode, grade_id: str) -> NotebookNode:
    return next(cell for cell in notebook.cells if label(cell).get("grade_id") == grade_id)


@pytest.fixture(scope="module")
def solved() -> NotebookNode:
    return tool.solution(SOURCE)


@pytest.fixture(scope="module")
def released() -> NotebookNode:
    return tool.release(SOURCE)


@pytest.fixture(scope="module")
def full(solved: NotebookNode) -> dict[str, float]:
    """The points of every check that the machine grades."""
    graded = [label(cell) for cell in solved.cells if label(cell).get("grade") and not label(cell)["solution"]]
    return {entry["grade_id"]: entry["points"] for entry in graded}


def careless(solved: NotebookNode) -> NotebookNode:
    """Right answers in another form, from someone who deletes, adds and changes cells, and whose code warns."""
    notebook = copy.deepcopy(solved)
    notebook.cells.remove(cell_of(notebook, "kl-value"))
    notebook.cells.insert(3, nbformat.v4.new_code_cell("x = mu = 'overwritten'; 1 / 0"))
    cell_of(notebook, "elbo-pixel").source = "assert False"
    for question, code in answers.OTHERWISE.items():
        cell_of(notebook, question).source = code
    return notebook


def wrong(solved: NotebookNode, k: int) -> NotebookNode:
    notebook = copy.deepcopy(solved)
    for question, given in answers.WRONG.items():
        if k < len(given):
            cell_of(notebook, question).source = given[k][1]
    return notebook


@pytest.fixture(scope="module")
def points(solved: NotebookNode, released: NotebookNode) -> Points:
    """All notebooks of this file, graded in one run: starting a kernel for each is what takes the time."""
    submissions = {"solution": solved, "release": released, "careless": careless(solved)}
    for k in range(max(map(len, answers.WRONG.values()))):
        submissions[f"wrong {k}"] = wrong(solved, k)
    return tool.grade(SOURCE, submissions)


# --- Grading ---------------------------------------------------------------------------------------------------------


def test_solution_gets_full_marks(points: Points, full: dict[str, float]) -> None:
    # The answer in words has no entry: a person has to read it.
    assert points["solution"] == {**full, "total": sum(full.values())}


def test_untouched_release_gets_nothing(points: Points, full: dict[str, float]) -> None:
    assert points["release"] == {**dict.fromkeys(full, 0.0), "words": 0.0, "total": 0.0}


def test_careless_student_loses_nothing(points: Points) -> None:
    assert points["careless"] == points["solution"]


def test_every_coding_question_has_wrong_answers(solved: NotebookNode) -> None:
    coding = [label(c)["grade_id"] for c in solved.cells if label(c).get("solution") and c.cell_type == "code"]
    assert list(answers.WRONG) == list(answers.OTHERWISE) == coding
    for given in answers.WRONG.values():
        names = [name for name, _, expected in given if "right" not in name]
        assert len(set(names)) == len(names) >= 5


@pytest.mark.parametrize(("k", "question", "expected"), WRONG_CASES)
def test_wrong_answer_gets_what_it_deserves(
    points: Points, full: dict[str, float], k: int, question: str, expected: dict[str, float]
) -> None:
    assert set(expected) == {check for check in full if check.startswith(f"{question}-")}
    assert {check: points[f"wrong {k}"][check] for check in expected} == expected


def test_notebooks_that_cannot_be_graded_are_named(solved: NotebookNode) -> None:
    duplicated, stripped = copy.deepcopy(solved), copy.deepcopy(solved)
    duplicated.cells.append(copy.deepcopy(cell_of(solved, "kl")))
    for cell in stripped.cells:
        cell.metadata.pop("nbgrader", None)
    with pytest.raises(ValueError, match="repair these notebooks") as error:
        tool.grade(SOURCE, {"ada": duplicated, "bob": stripped, "cy": solved})
    message = str(error.value)
    assert "ada: 2 cells are labelled 'kl'" in message
    assert "bob: no cell is labelled 'words'" in message
    assert "cy" not in message


# --- What students get -----------------------------------------------------------------------------------------------


def test_release_has_no_answers(solved: NotebookNode, released: NotebookNode) -> None:
    text = "\n".join(cell.source for cell in released.cells)
    for marker in ("SOLUTION", "HIDDEN", "_check", "Rubric", "Model answer"):
        assert marker not in text
    assert cell_of(released, "words").source == "YOUR ANSWER HERE"
    secret = {
        line.strip()
        for cell in solved.cells
        for region in REGION.findall(cell.source)
        for line in region[1].split("\n")
    }
    # Lines that the assignment shows elsewhere on purpose, such as loss.backward() in the faulty step.
    shown = {line.strip() for cell in solved.cells for line in REGION.sub("", cell.source).split("\n")}
    assert len(secret - shown) > 100
    assert not (secret - shown) & {line.strip() for line in text.split("\n")}
    for cell in solved.cells:
        if cell.cell_type == "code" and label(cell).get("solution"):
            assert REGION.search(cell.source), "a docstring above the solution stays; the solution is marked"
            stub = cell_of(released, label(cell)["grade_id"]).source
            assert stub.startswith("def ")
            assert stub.endswith("    # YOUR CODE HERE\n    raise NotImplementedError()")
            body = {line.strip() for line in REGION.findall(cell.source)[0][1].split("\n")} - {""}
            assert not body & {line.strip() for line in stub.split("\n")}


def test_release_runs_until_something_is_missing(released: NotebookNode) -> None:
    unsolved = []
    namespace: dict[str, Any] = {"__name__": "notebook"}
    with torch.random.fork_rng():
        for cell in released.cells:
            if cell.cell_type == "code":
                try:
                    exec(cell.source, namespace)
                except NotImplementedError:
                    unsolved.append(cell)
    checks = [cell for cell in released.cells if label(cell).get("grade") and cell.cell_type == "code"]
    assert [cell for cell in unsolved if cell in checks] == checks
    assert [cell.source for cell in unsolved if cell not in checks] == ["demonstrate(training_step, learning_rate=0.1)"]


def test_cells_are_short(released: NotebookNode) -> None:
    for cell in released.cells:
        assert cell.cell_type != "code" or len(cell.source.split("\n")) <= 15, cell.source


# --- The source ------------------------------------------------------------------------------------------------------


def test_labels_are_what_nbgrader_wants(solved: NotebookNode) -> None:
    labelled = [label(cell) for cell in solved.cells if label(cell)]
    for entry in labelled:
        keys = {"grade", "grade_id", "locked", "schema_version", "solution", "task"}
        assert set(entry) == (keys | {"points"} if entry["grade"] else keys)
        assert entry["schema_version"] == 3
    # The header holds nothing about the source's own format that could reach the students.
    assert set(jupytext.read(SOURCE).metadata) == {"jupytext", "kernelspec"}
    assert set(jupytext.read(SOURCE).metadata.jupytext) == {"text_representation"}
    assert set(solved.metadata) == {"kernelspec"}


def test_points_in_the_text_are_those_of_the_labels(solved: NotebookNode, full: dict[str, float]) -> None:
    announced: dict[str, float] = {}
    graded: dict[str, float] = {}
    for cell in solved.cells:
        if heading := re.match(r"## (\d)\. .* \((\d+) points\)", cell.source):
            question = heading[1]
            announced[question] = float(heading[2])
        if label(cell).get("grade"):
            graded[question] = graded.get(question, 0) + label(cell)["points"]
            if cell.cell_type == "code":
                check = re.match(r"# Check (\d)[a-c] \((\d) points\): ", cell.source)
                assert check is not None
                assert (check[1], float(check[2])) == (question, label(cell)["points"])
    table = re.findall(r"^\| (\d)\. .* \| (\d+) \|$", solved.cells[0].source, re.MULTILINE)
    assert graded == announced == {number: float(value) for number, value in table}
    assert sum(graded.values()) == sum(full.values()) + 6 == 30


# --- The tool --------------------------------------------------------------------------------------------------------


def test_two_releases_are_byte_identical(tmp_path: Path, released: NotebookNode) -> None:
    out = tmp_path / "new" / "vae.ipynb"
    tool.main(["release", str(SOURCE), str(out)])
    assert out.read_text("utf-8") == nbformat.writes(released) + "\n"
    assert [path.name for path in out.parent.iterdir()] == ["vae.ipynb"]
    for cell in released.cells:
        assert cell.id == label(cell).get("grade_id", cell.id)


def test_failed_release_leaves_the_old_one(tmp_path: Path) -> None:
    source, out = tmp_path / "vae.py", tmp_path / "vae.ipynb"
    out.write_text("old")
    source.write_text(SOURCE.read_text("utf-8").replace("    ### END SOLUTION\n", "", 1), "utf-8")
    with pytest.raises(RuntimeError, match=r"(?s)nbgrader failed.*no end solution statement"):
        tool.main(["release", str(source), str(out)])
    source.write_text(SOURCE.read_text("utf-8").replace('"grade_id": "kl-value"', '"grade_id": "kl"'), "utf-8")
    with pytest.raises(ValueError, match=r"unique.*\['kl'\]"):
        tool.main(["solution", str(source), str(out)])
    assert out.read_text() == "old"
    assert {path.name for path in tmp_path.iterdir()} == {"vae.py", "vae.ipynb"}


def test_solution_is_the_source(tmp_path: Path, solved: NotebookNode) -> None:
    out = tmp_path / "vae.ipynb"
    tool.main(["solution", str(SOURCE), str(out)])
    assert nbformat.read(out, as_version=4) == solved
    assert "Rubric" in cell_of(solved, "words").source
