"""The assignments, graded: solutions, empty releases, wrong answers; and the tool that makes and grades them."""

import ast
import base64
import copy
import multiprocessing
import os
import re
import sys
import tempfile
import warnings
import zlib
from collections.abc import Callable
from functools import cache, cached_property
from pathlib import Path
from types import FrameType
from typing import Any

import gymnasium as gym
import jupytext
import nbformat
import pytest
import torch
from clean_environment import clean_environment
from nbformat import NotebookNode
from nbgrader.api import Gradebook
from nbgrader.converters import Autograde, GenerateAssignment
from nbgrader.coursedir import CourseDirectory
from nbgrader.utils import capture_log
from sqlalchemy.exc import SAWarning
from torch.utils._python_dispatch import TorchDispatchMode
from traitlets.config import Config

from aigc_course.grading import check
from aigc_course.grading.marking import module
from aigc_course.grading.notebooks import python

pytestmark = pytest.mark.once

ROOT = Path(__file__).parents[1]
SOURCES = ROOT / "notebooks" / "exercises"
REGION = re.compile(r"^ *### BEGIN (SOLUTION|HIDDEN TESTS)\n(.*?)^ *### END \1$", re.DOTALL | re.MULTILINE)

Points = dict[str, dict[str, float]]


tool = module(ROOT / "tools" / "exercises.py")


def label(cell: NotebookNode) -> dict[str, Any]:
    return cell.metadata.get("nbgrader", {})


def cell_of(notebook: NotebookNode, grade_id: str) -> NotebookNode:
    return next(cell for cell in notebook.cells if label(cell).get("grade_id") == grade_id)


class Assignment:
    """A source with its wrong answers in tests/exercises; what is made of them is made once, when it is asked for."""

    def __init__(self, name: str) -> None:
        self.source = SOURCES / f"{name}.py"
        answers = module(ROOT / "tests" / "exercises" / f"{name}_wrong.py")
        self.wrong: dict[str, list[tuple[str, str, dict[str, float]]]] = answers.WRONG
        self.otherwise: dict[str, str] = answers.OTHERWISE
        self.right: dict[str, dict[str, str]] = answers.RIGHT

    @cached_property
    def solved(self) -> NotebookNode:
        return tool.solution(self.source)

    @cached_property
    def released(self) -> NotebookNode:
        return tool.release(self.source)

    def _graded(self, by_hand: bool) -> dict[str, float]:
        entries = [label(cell) for cell in self.solved.cells if label(cell).get("grade")]
        return {entry["grade_id"]: entry["points"] for entry in entries if entry["solution"] == by_hand}

    @cached_property
    def full(self) -> dict[str, float]:
        """The points of every check that the machine grades."""
        return self._graded(by_hand=False)

    @cached_property
    def by_hand(self) -> dict[str, float]:
        """The points of every answer that a person has to read."""
        return self._graded(by_hand=True)

    @cached_property
    def by_nbgrader(self) -> Points:
        """What nbgrader gives, with a kernel for each notebook, which takes its time: so for few of them."""
        submissions = {"solution": self.solved, "release": self.released, "wrong 0": self.with_wrong_answers(0)}
        return autograded(self.solved, submissions)

    @cached_property
    def points(self) -> Points:
        """What nbgrader would give to the many others: a check is passed if its cell ends without an error."""
        submissions = {f"wrong {k}": self.with_wrong_answers(k) for k in range(max(map(len, self.wrong.values())))}
        right = {"otherwise": self.otherwise, **self.right}
        submissions |= {f"right {style}": self._handed_in(codes) for style, codes in right.items()}
        return {name: executed(notebook) for name, notebook in submissions.items()}

    def with_wrong_answers(self, k: int) -> NotebookNode:
        """The k-th wrong answers of all questions, handed in together."""
        return self._handed_in({q: given[k][1] for q, given in self.wrong.items() if k < len(given)})

    def _handed_in(self, codes: dict[str, str]) -> NotebookNode:
        notebook = copy.deepcopy(self.solved)
        for question, code in codes.items():
            cell = cell_of(notebook, question)
            cell.source = f"{cell.source}\n{code}" if question == "setup" else code
        return notebook


def autograded(solved: NotebookNode, submissions: dict[str, NotebookNode]) -> Points:
    """What `nbgrader autograde` gives, in a course of its own; answers that a person has to read are left out."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        root, name = Path(folder), "assignment"
        for variable in os.environ:
            patch.delenv(variable)
        for variable, value in clean_environment(root / "settings").items():
            patch.setenv(variable, value)
        config = Config()
        config.CourseDirectory.root, config.CourseDirectory.assignment_id = folder, name
        config.Execute.shutdown_kernel = "immediate"

        def put(notebook: NotebookNode, place: str) -> None:
            (root / place / name).mkdir(parents=True)
            nbformat.write(notebook, root / place / name / f"{name}.ipynb")

        put(solved, "source")
        for student, notebook in submissions.items():
            put(notebook, f"submitted/{student}")
        for converter in (GenerateAssignment, Autograde):
            with warnings.catch_warnings():
                # nbgrader 0.9.6 relies on a cascade that SQLAlchemy 2 warns about; the gradebook is right all the same.
                warnings.simplefilter("ignore", SAWarning)
                done = capture_log(converter(coursedir=CourseDirectory(config=config), config=config))
            assert done["success"], f"{done.get('log', '')}\n{done['error']}"
        with Gradebook(f"sqlite:///{root / 'gradebook.db'}") as gradebook:
            found = {name_: gradebook.find_submission_notebook(name, name, name_).grades for name_ in submissions}
            return {
                student: {grade.name: grade.auto_score for grade in grades if grade.auto_score is not None}
                for student, grades in found.items()
            }


def executed(notebook: NotebookNode) -> dict[str, float]:
    """Run a notebook's cells with a label in a process of their own; return the points of its checks."""
    fork = multiprocessing.get_context("fork")
    receiver, sender = fork.Pipe(duplex=False)
    process = fork.Process(target=_execute, args=(notebook, sender))
    process.start()
    sender.close()
    points: dict[str, float] = receiver.recv()
    process.join()
    return points


def _execute(notebook: NotebookNode, sender: Any) -> None:
    warnings.simplefilter("ignore")
    os.environ["NBGRADER_EXECUTION"] = "autograde"
    names: dict[str, Any] = {"__name__": "__main__", "display": lambda *_: None}
    points = {}
    for cell in notebook.cells:
        if cell.cell_type == "code" and label(cell):  # the others only show something, and take their time for it
            passed = True
            try:
                exec(compile(python(cell.source), NOTEBOOK, "exec"), names)
            except BaseException:
                passed = False
            if label(cell).get("grade"):
                points[label(cell)["grade_id"]] = label(cell)["points"] * float(passed)
    sender.send(points)


NOTEBOOK = "<notebook>"
NAMES = sorted(path.stem for path in SOURCES.glob("*.py"))
assignment_of = cache(Assignment)
WRONG_CASES = [
    pytest.param(name, k, question, expected, id=f"{name}, {question}: {what}")
    for name in NAMES
    for question, given in assignment_of(name).wrong.items()
    for k, (what, _, expected) in enumerate(given)
]
RIGHT_CASES = [(name, style) for name in NAMES for style in ["otherwise", *assignment_of(name).right]]


@pytest.fixture(params=NAMES)
def assignment(request: pytest.FixtureRequest) -> Assignment:
    return assignment_of(request.param)


# --- Grading ---------------------------------------------------------------------------------------------------------


def test_solution_gets_full_marks(assignment: Assignment) -> None:
    # The answer in words has no entry: a person has to read it.
    assert assignment.by_nbgrader["solution"] == assignment.full == executed(assignment.solved)


def test_untouched_release_gets_nothing(assignment: Assignment) -> None:
    assert assignment.by_nbgrader["release"] == dict.fromkeys([*assignment.full, *assignment.by_hand], 0.0)


def test_nbgrader_gives_the_points_that_running_the_cells_gives(assignment: Assignment) -> None:
    assert assignment.by_nbgrader["wrong 0"] == assignment.points["wrong 0"]


@pytest.mark.parametrize(("name", "style"), RIGHT_CASES)
def test_right_answer_in_another_style_gets_full_marks(name: str, style: str) -> None:
    assert assignment_of(name).points[f"right {style}"] == assignment_of(name).full


def test_every_coding_question_has_wrong_answers(assignment: Assignment) -> None:
    coding = [label(c)["grade_id"] for c in assignment.solved.cells if label(c).get("solution")]
    coding = [question for question in coding if question not in assignment.by_hand]
    assert list(assignment.wrong) == list(assignment.otherwise) == coding
    for given in assignment.wrong.values():
        names = [name for name, _, expected in given if "right" not in name]
        assert len(set(names)) == len(names) >= 5


@pytest.mark.parametrize(("name", "k", "question", "expected"), WRONG_CASES)
def test_wrong_answer_gets_what_it_deserves(name: str, k: int, question: str, expected: dict[str, float]) -> None:
    assignment = assignment_of(name)
    assert set(expected) == {check for check in assignment.full if check.startswith(f"{question}-")}
    assert {check: assignment.points[f"wrong {k}"][check] for check in expected} == expected


def test_checks_on_diffusion_name_the_mistake() -> None:
    assignment = assignment_of("diffusion")
    says: dict[str, dict[str, str]] = module(ROOT / "tests" / "exercises" / "diffusion_wrong.py").SAYS
    assert list(says) == list(assignment.wrong)
    cells = [cell for cell in assignment.solved.cells if cell.cell_type == "code" and label(cell)]
    checks = [cell for cell in cells if label(cell)["grade"]]
    namespace: dict[str, Any] = {"__name__": "notebook"}
    for cell in cells:
        exec(compile(cell.source, NOTEBOOK, "exec"), namespace)
    for question, messages in says.items():
        assert len(messages) >= 5
        codes = {what: code for what, code, _ in assignment.wrong[question]}
        for what, message in messages.items():
            failed = []
            for cell in [cell for cell in checks if label(cell)["grade_id"].startswith(f"{question}-")]:
                before = dict(namespace)
                exec(compile(codes[what], NOTEBOOK, "exec"), namespace)
                try:
                    exec(compile(cell.source, NOTEBOOK, "exec"), namespace)
                except AssertionError as error:
                    failed.append(str(error))
                # The same dictionary, since the checks' functions look names up in it.
                namespace.clear()
                namespace.update(before)
            assert any(message in each for each in failed), (question, what, failed)


# --- How much work the checks ask for --------------------------------------------------------------------------------

# A check is to take no more than about five seconds, for a right answer with a loop for each number too. Seconds depend
# on the machine and on what else it does, so the work is counted instead: the operations that torch is asked for, some
# ten microseconds each, and the lines of Python that run in the notebook, a microsecond or less.
OPERATIONS, LINES = 400_000, 1_000_000
ROW_LOOPS = ("row by row", "one by one")  # styles with a loop for each number


class _Operations(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += 1
        return func(*args, **(kwargs or {}))


def work_of(cell: NotebookNode, namespace: dict[str, Any]) -> tuple[int, int]:
    """Run a cell; return how many torch operations it asked for, and how many lines of the notebook it ran."""
    code, lines = compile(cell.source, NOTEBOOK, "exec"), 0

    def trace(frame: FrameType, event: str, argument: Any) -> Callable[..., Any] | None:
        nonlocal lines
        if frame.f_code.co_filename != NOTEBOOK:
            return None
        lines += event == "line"
        return trace

    before = sys.gettrace()
    with _Operations() as operations:
        sys.settrace(trace)
        try:
            exec(code, namespace)
        finally:
            sys.settrace(before)
    return operations.count, lines


def test_work_is_counted() -> None:
    def work(source: str) -> tuple[int, int]:
        return work_of(nbformat.v4.new_code_cell(source), {})

    loop = "import torch\nx = torch.ones(100)\nfor i in range(100):\n    x[i] = i"
    operations, lines = work(loop)
    assert 200 <= operations <= 500
    assert 200 <= lines <= 300
    assert work(loop.replace("100", "1000"))[0] > 9 * operations
    assert work("total = sum(i for i in range(1000))")[1] >= 1000  # on a single line too
    assert work("def f(n):\n    return n and f(n - 1)\n\nf(50)")[1] >= 50


@pytest.mark.parametrize("loops", [False, True], ids=["solution", "row by row"])
def test_no_check_asks_for_much_work(assignment: Assignment, loops: bool) -> None:
    codes = next(codes for style, codes in assignment.right.items() if style in ROW_LOOPS) if loops else {}
    namespace: dict[str, Any] = {"__name__": "notebook"}
    counts: dict[str, tuple[int, int]] = {}
    with torch.random.fork_rng(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for cell in assignment._handed_in(codes).cells:
            if label(cell).get("grade") and cell.cell_type == "code":
                counts[label(cell)["grade_id"]] = work_of(cell, namespace)
            elif label(cell) and cell.cell_type == "code":
                exec(compile(cell.source, NOTEBOOK, "exec"), namespace)
    assert set(counts) == set(assignment.full)
    assert max(operations for operations, _ in counts.values()) > 1000
    for name, (operations, lines) in counts.items():
        assert operations <= OPERATIONS, name
        assert lines <= LINES, name


# --- What students get -----------------------------------------------------------------------------------------------


def test_outline_is_up_to_date(assignment: Assignment) -> None:
    name = assignment.source.stem
    command = "python tools/exercises.py outline notebooks/exercises/*.py aigc_course/grading/outline.json"
    assert check.outline()[name] == tool.outline(assignment.source), f"run: {command}"
    assert sorted(check.outline()) == NAMES


def test_release_has_no_answers(assignment: Assignment) -> None:
    solved, released = assignment.solved, assignment.released
    text = "\n".join(cell.source for cell in released.cells)
    for marker in ("SOLUTION", "HIDDEN", "_check", "Rubric", "Model answer"):
        assert marker not in text
    for question in assignment.by_hand:
        assert "Rubric" in cell_of(solved, question).source
        assert cell_of(released, question).source == "YOUR ANSWER HERE"
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


def test_release_runs_until_something_is_missing(assignment: Assignment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NBGRADER_EXECUTION", "test")  # a part without points takes a minute else
    unsolved = []
    namespace: dict[str, Any] = {"__name__": "notebook"}
    with torch.random.fork_rng():
        for cell in assignment.released.cells:
            if cell.cell_type == "code":
                try:
                    exec(cell.source, namespace)
                except NotImplementedError:
                    unsolved.append(cell)
    checks = [cell for cell in assignment.released.cells if label(cell).get("grade") and cell.cell_type == "code"]
    assert [cell for cell in unsolved if cell in checks] == checks
    # The others show what the student's function does; nothing that the grader knows needs an answer to run.
    shows = [cell for cell in unsolved if cell not in checks]
    assert not any(map(label, shows))
    assert shows[-1].source.startswith("demonstrate(training_step")


def test_cells_are_short(assignment: Assignment) -> None:
    for cell in assignment.released.cells:
        assert cell.cell_type != "code" or len(cell.source.split("\n")) <= 15, cell.source


def test_every_assertion_has_a_message(assignment: Assignment) -> None:
    checks = [cell.source for cell in assignment.solved.cells if cell.cell_type == "code" and label(cell).get("grade")]
    assertions = [node for text in checks for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Assert)]
    calls = [node for text in checks for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)]
    comparisons = [node for node in calls if ast.unparse(node.func) == "_compare"]  # it takes what to call the value
    assert len(assertions) + len(comparisons) > 40
    assert [ast.unparse(node) for node in assertions if node.msg is None] == []


# --- The source ------------------------------------------------------------------------------------------------------


def test_labels_are_what_nbgrader_wants(assignment: Assignment) -> None:
    labelled = [label(cell) for cell in assignment.solved.cells if label(cell)]
    for entry in labelled:
        keys = {"grade", "grade_id", "locked", "schema_version", "solution", "task"}
        assert set(entry) == (keys | {"points"} if entry["grade"] else keys)
        assert entry["schema_version"] == 3
    # The header holds nothing about the source's own format that could reach the students.
    header = jupytext.read(assignment.source).metadata
    assert set(header) == {"jupytext", "kernelspec"}
    assert set(header.jupytext) == {"text_representation"}
    assert set(assignment.solved.metadata) == {"kernelspec"}


def test_points_in_the_text_are_those_of_the_labels(assignment: Assignment) -> None:
    announced: dict[str, float] = {}
    graded: dict[str, float] = {}
    checks: list[str] = []
    for cell in assignment.solved.cells:
        if heading := re.match(r"## (\d)\. .* \((\d+) points\)", cell.source):
            question = heading[1]
            announced[question] = float(heading[2])
        if label(cell).get("grade"):
            graded[question] = graded.get(question, 0) + label(cell)["points"]
            if cell.cell_type == "code":
                check = re.match(r"# Check (\d)([a-f]) \((1 point|[2-9] points)\): ", cell.source)
                assert check is not None
                assert (check[1], float(check[3][0])) == (question, label(cell)["points"])
                checks.append(check[1] + check[2])
    table = re.findall(r"^\| (\d)\. .* \| (\d+) \|$", assignment.solved.cells[0].source, re.MULTILINE)
    assert graded == announced == {number: float(value) for number, value in table}
    assert checks == sorted(set(checks))
    assert sum(graded.values()) == sum(assignment.full.values()) + sum(assignment.by_hand.values()) == 30


def test_instructors_page_knows_every_question(assignment: Assignment) -> None:
    page = (ROOT / "book" / "instructors.md").read_text("utf-8")
    section = page.split(f"### Assignment `{assignment.source.stem}`")[1].split("\n#")[0]
    rows = re.findall(r"^\| .* \| Q(\d) \| (\d+) \|$", section, re.MULTILINE)
    assert rows == re.findall(r"^\| (\d)\. .* \| (\d+) \|$", assignment.solved.cells[0].source, re.MULTILINE)


def test_assignment_names_every_chapter_of_its_part() -> None:
    for part in ("diffusion", "language", "rl"):
        text = "\n".join(cell.source for cell in assignment_of(part).released.cells)
        chapters = [path.stem for path in (ROOT / "notebooks" / part).glob("*.py")]
        assert len(chapters) >= 3
        assert [name for name in chapters if f"(../{part}/{name}.ipynb)" not in text] == []


# --- What students of reinforcement learning watch at the end ---------------------------------------------------------


def _defined(notebook: NotebookNode) -> dict[str, Any]:
    """What the labelled cells define; the checks are left out."""
    namespace: dict[str, Any] = {"__name__": "notebook"}
    for cell in notebook.cells:
        if cell.cell_type == "code" and label(cell) and not label(cell)["grade"]:
            exec(compile(cell.source, NOTEBOOK, "exec"), namespace)
    return namespace


def test_pole_is_gymnasiums() -> None:
    push = _defined(assignment_of("rl").released)["push"]
    game: Any = gym.make("CartPole-v1").unwrapped
    draw = torch.Generator().manual_seed(0)
    for seed in range(20):
        state, over = torch.as_tensor(game.reset(seed=seed)[0]), False
        while not over:
            action = torch.randint(2, (1,), generator=draw)
            game.state = state.double().numpy()
            expected, _, terminated, *_ = game.step(int(action))
            after, over = push(state[None], action)
            torch.testing.assert_close(after[0], torch.as_tensor(expected))
            assert bool(over) == terminated
            state = after[0]


def test_whoever_pushes_at_random_lasts_about_22_steps() -> None:
    names = _defined(assignment_of("rl").released)
    draw = torch.Generator().manual_seed(0)
    states, lasted = names["new_games"](2000, draw), torch.zeros(2000)
    going_on = torch.ones(2000, dtype=torch.bool)
    for _ in range(500):
        lasted += going_on
        states, over = names["push"](states, torch.randint(2, (2000,), generator=draw))
        going_on &= ~over
    assert abs(lasted.mean() - 22) < 1.5
    text = "\n".join(cell.source for cell in assignment_of("rl").released.cells)
    assert "pushes at random lasts about 22 steps" in text


def test_stand_ins_are_the_solutions() -> None:
    solved, functions = assignment_of("rl").solved, []
    for question in ("targets", "epsilon", "ring", "draw", "double", "huber"):
        (function,) = ast.parse(cell_of(solved, question).source).body
        assert isinstance(function, ast.FunctionDef)
        function.body = function.body[1:]  # without the docstring
        functions.append(ast.unparse(function))
    code = "\n\n".join(functions)
    packed = base64.b64encode(zlib.compress(code.encode(), 9)).decode()
    lines = [f'    "{packed[i : i + 76]}"' for i in range(0, len(packed), 76)]
    cell = cell_of(solved, "play-stand-ins").source
    namespace: dict[str, Any] = {}
    exec(cell, namespace)
    found = zlib.decompress(base64.b64decode(namespace["STAND_INS"])).decode()
    assert found == code, "play-stand-ins must be\n" + "\n".join(["STAND_INS = (", *lines, ")"])


def test_agent_learns_by_what_is_there(capsys: pytest.CaptureFixture[str]) -> None:
    solved, released = (_defined(each) for each in (assignment_of("rl").solved, assignment_of("rl").released))
    with torch.random.fork_rng():
        networks = [names["learn"](names["players"](), seconds=60, rounds=80) for names in (solved, released)]
    printed = capsys.readouterr().out
    assert printed.count(": yours") == 4
    assert printed.count(": a stand-in (not written yet)") == 4
    for own, borrowed in zip(*(network.parameters() for network in networks), strict=True):
        assert torch.equal(own, borrowed), "the stand-ins are right answers too"
    lengths = solved["lengths_of"](networks[0], count=20)
    assert lengths.shape == (20,)
    assert 1 <= lengths.min() <= lengths.max() <= 500
    solved["film"](networks[0], steps=12)


def test_function_that_stops_with_an_error_is_replaced(capsys: pytest.CaptureFixture[str]) -> None:
    names = _defined(assignment_of("rl").solved)
    del names["epsilon_greedy"]
    names["double_values"] = names["sample_from_buffer"]  # called by td_loss, with other arguments
    with torch.random.fork_rng():
        play = names["players"]()
        # The clock alone stops it, after a first round.
        names["learn"](play, seconds=0, rounds=10**9)
    lines = capsys.readouterr().out.split("\n")
    assert [line.split(" (")[0] for line in lines[:4]] == [
        "epsilon_greedy: a stand-in",
        "add_to_buffer: yours",
        "sample_from_buffer: yours",
        "td_loss: a stand-in",
    ]
    assert play.add_to_buffer is names["add_to_buffer"]


# --- The tool --------------------------------------------------------------------------------------------------------


def test_two_releases_are_byte_identical(tmp_path: Path, assignment: Assignment) -> None:
    out = tmp_path / "new" / "out.ipynb"
    tool.main(["release", str(assignment.source), str(out)])
    assert out.read_text("utf-8") == nbformat.writes(assignment.released) + "\n"
    assert [path.name for path in out.parent.iterdir()] == ["out.ipynb"]
    for cell in assignment.released.cells:
        assert cell.id == label(cell).get("grade_id", cell.id)


def test_failed_release_leaves_the_old_one(tmp_path: Path) -> None:
    text = (SOURCES / "vae.py").read_text("utf-8")
    source, out = tmp_path / "vae.py", tmp_path / "vae.ipynb"
    out.write_text("old")
    source.write_text(text.replace("    ### END SOLUTION\n", "", 1), "utf-8")
    with pytest.raises(RuntimeError, match="no end solution statement"):
        tool.main(["release", str(source), str(out)])
    source.write_text(text.replace('"grade_id": "kl-value"', '"grade_id": "kl"'), "utf-8")
    with pytest.raises(ValueError, match=r"unique.*\['kl'\]"):
        tool.main(["solution", str(source), str(out)])
    assert out.read_text() == "old"
    assert {path.name for path in tmp_path.iterdir()} == {"vae.py", "vae.ipynb"}


def test_solution_is_the_source(tmp_path: Path, assignment: Assignment) -> None:
    out = tmp_path / "out.ipynb"
    tool.main(["solution", str(assignment.source), str(out)])
    assert nbformat.read(out, as_version=4) == assignment.solved
