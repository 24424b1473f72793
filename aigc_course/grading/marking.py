"""Mark one submission: ask its answers in the sandbox, ask the solution outside, compare outside, name the mistake.

    assignment = Assignment.load("vae")
    marked = assignment.mark(notebook, seed=secrets.token_hex(16))
    marked.points, marked.messages

An assignment consists of four files: its source (`notebooks/exercises/vae.py`), which holds the solution; its asks
(`marking/vae_asks.py`), the only one of which anything enters the sandbox; its rules (`marking/vae_rules.py`), which
compare what came out; and the known wrong answers (`tests/exercises/vae_wrong.py`), each with its diagnosis.
"""

import ast
import functools
import importlib.util
import inspect
import json
import logging
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import jupytext
import torch
from nbformat import NotebookNode
from torch import Tensor

from aigc_course.grading import inside, sandbox
from aigc_course.grading.notebooks import label, python, question_of, repaired

# What a cell or an ask may take, in seconds, and the whole of a submission.
SECONDS = 30.0
LIMITS = sandbox.Limits(seconds=300, cpu_seconds=300)
# What the course's own code may take: nothing ends it but the one who waits.
_TRUSTED = 600.0


class Mistake(Exception):
    """What came out of the sandbox is not right. The message is for the student."""


@dataclass(frozen=True)
class Marked:
    """What a submission is worth, as far as a machine can tell.

    Args:
        points: For each check, its points or 0.
        messages: For each check that failed, why, in words for the student.
        problem: Why the whole could not be marked, or "". Then all points are 0, and somebody has to look.
        cells: The errors of the notebook's cells, by their position among those that ran.
        looks: What somebody has to look at, since it may be the machine's fault or something worse than a mistake.
    """

    points: dict[str, float]
    messages: dict[str, str] = field(default_factory=dict)
    problem: str = ""
    cells: dict[int, str] = field(default_factory=dict)
    looks: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Assignment:
    """One assignment, with all that is needed to mark it.

    Args:
        solved: The solved notebook.
        asks: The source of its asks.
        rules: Its rules: a function per check, where it is not enough that all numbers are near the solution's. For a
            check `kl-value` it is `kl_value(given, right)`, which raises `Mistake`. `STAND_INS` has, for some checks,
            functions of other questions that the answer may call.
        wrong: For each question its known wrong answers: what is wrong, the code, the points of its checks.
        diagnoses: For each question, what to tell a student who made this mistake.
    """

    solved: NotebookNode
    asks: str
    rules: ModuleType
    wrong: Mapping[str, Sequence[tuple[str, str, Mapping[str, int | float]]]]
    diagnoses: Mapping[str, Mapping[str, str]]
    _replied: dict[str, Any] = field(default_factory=dict, repr=False)  # for the seed last used

    @classmethod
    def load(cls, name: str, root: Path = Path()) -> "Assignment":
        """Return the assignment of this name, from a copy of the course's repository.

        Raises:
            FileNotFoundError: if one of its files is not there.
        """
        source, asks, rules, wrong = files(name, root)
        answers = module(wrong)
        return cls(jupytext.read(source), asks.read_text("utf-8"), module(rules), answers.WRONG, answers.DIAGNOSES)

    @functools.cached_property
    def full(self) -> dict[str, float]:
        """The points of every check that is marked by a machine."""
        return {label(cell): float(cell.metadata.nbgrader.points) for cell in self.solved.cells if _is_check(cell)}

    @functools.cached_property
    def by_hand(self) -> dict[str, float]:
        """The points of every answer that a person reads."""
        asked = [cell for cell in self.solved.cells if _about(cell).get("grade") and _about(cell).get("solution")]
        return {label(cell): float(cell.metadata.nbgrader.points) for cell in asked}

    @functools.cached_property
    def _questions_by_name(self) -> dict[str, str]:
        """The question that asks for a function."""
        asked = [cell for cell in self.solved.cells if cell.cell_type == "code" and _about(cell).get("solution")]
        return {name: label(cell) for cell in asked for name in re.findall(r"^def (\w+)", cell.source, re.MULTILINE)}

    @functools.cached_property
    def given(self) -> list[str]:
        """What the assignment's own code cells define, but for its checks and answers."""
        return [_definitions(cell.source) for cell in self.solved.cells if _is_given(cell)]

    def steps(self, notebook: NotebookNode) -> list[dict[str, str]]:
        """Return what is to be done with a notebook, from top to bottom.

        `{"run": source}` stands for a cell: of the assignment's own what they define, and all of the student's.
        `{"ask": check}` stands where the notebook has this check.

        Raises:
            ValueError: if the notebook is not one of this assignment, in words.
        """
        # Those without a label are demonstrations, unless the student has written something else into them.
        own = {cell.source for cell in self.solved.cells if not label(cell)}
        return [
            {"ask": label(cell)}
            if _is_check(cell)
            else {"run": _definitions(cell.source) if _is_given(cell) else python(cell.source)}
            for cell in repaired(self.solved, notebook).cells
            if cell.cell_type == "code" and cell.source not in own
        ]

    def question(self, check: str) -> str:
        """Return the question that a check belongs to."""
        return question_of(check, self.wrong)

    def unmarked(self, problem: str, message: str = "") -> Marked:
        """Return what a notebook is worth that could not be marked; `message`, if there is one, is for the student."""
        messages = dict.fromkeys(self.full, message) if message else {}
        return Marked(dict.fromkeys(self.full, 0.0), messages, problem)

    def prepare(self) -> None:
        """Define the solution now, so that processes that are forked from this one need not.

        It computes no gradient: where there is a GPU, PyTorch computes none in a fork of a process that has.

        Raises:
            RuntimeError: if a cell of it fails.
        """
        _ = self._solution

    def mark(self, notebook: NotebookNode, seed: str, run: Callable[[bytes], sandbox.Outcome] | None = None) -> Marked:
        """Return what a student's notebook is worth.

        Args:
            notebook: As the student sent it; what can be repaired is.
            seed: From which all inputs are drawn. It must be one that no student could know: `secrets.token_hex(16)`.
            run: What runs a job; `None` stands for the sandbox.

        Raises:
            sandbox.SandboxUnavailable: if there is no sandbox on this machine.
        """
        try:
            steps = self.steps(notebook)
        except ValueError as error:
            return self.unmarked(str(error))
        run = run or in_sandbox
        replies, errors, problem = self._replies(steps, list(self.full), "", seed, run)
        if problem:
            return self.unmarked(problem, f"Nothing could be asked: {problem}.")
        right = self._right(seed)
        messages = {check: self._verdict(check, replies, right) for check in self.full}
        # A mistake in one question costs nothing in the next: what failed with the student's own functions may call
        # stand-ins for them, in a process in which nobody asks for those. Only where those functions have lost points:
        # else an answer that can tell the two processes apart had a second guess for nothing.
        lost = {self.question(check) for check in messages if messages[check]}
        again: dict[str, list[str]] = {}
        for check, stand_ins in getattr(self.rules, "STAND_INS", {}).items():
            if messages[check] and lost & {self._questions_by_name.get(one.__name__, "") for one in stand_ins}:
                again.setdefault("\n".join(map(inspect.getsource, stand_ins)), []).append(check)
        for source, checks in again.items():
            others, _, _ = self._replies(steps, checks, source, seed, run)
            for check in checks:
                if not self._verdict(check, others, right):
                    messages[check] = ""
                elif "data" in others[check]:
                    replies[check] = others[check]
        failed = {check: message for check, message in messages.items() if message}
        diagnosed = {check: self._diagnosis(check, replies, seed) or message for check, message in failed.items()}
        points = {check: 0.0 if check in failed else self.full[check] for check in self.full}
        ended = {self.question(check): replies[check].get("error", "") for check in failed}
        said = [*ended.items(), *(("a cell", error) for error in dict.fromkeys(errors))]
        looks = [f"{where}: {error}" for where, error in said if _perhaps_the_machine(error)]
        return Marked(points, diagnosed, "", {i: error for i, error in enumerate(errors) if error}, looks)

    def _replies(
        self,
        steps: list[dict[str, str]],
        checks: list[str],
        stand_ins: str,
        seed: str,
        run: Callable[[bytes], sandbox.Outcome],
    ) -> tuple[dict[str, Any], list[str], str]:
        """Return the replies to these checks, the errors of the cells, and what went wrong with the whole."""
        wanted = [step for step in steps if step.get("ask", "") in ("", *checks)]
        while checks and "run" in wanted[-1]:  # no answer needs what is below the last check
            wanted.pop()
        job = {"given": self.given, "steps": wanted, "stand_ins": stand_ins, "asks": self.asks, "seed": seed}
        outcome = run(json.dumps({**job, "seconds": SECONDS}).encode())
        problem = _ENDED.get(outcome.ended, "")
        if outcome.result is not None:
            try:
                said = inside.unpack(outcome.result)
                replies = {check: _reply(said["checks"][check]) for check in checks}
                seen = said["cells"]
                if not isinstance(seen, list) or len(seen) != sum("run" in step for step in wanted):
                    raise ValueError("there is not one error, or none, for each cell")
                return replies, list(map(_shown, seen)), ""
            except Exception:  # whatever was forged there
                problem = _UNREADABLE
        nothing: dict[str, Any] = {check: {"error": problem} for check in checks}
        questions = list(dict.fromkeys(map(self.question, checks)))
        if len(questions) < 2:
            return nothing, [], problem
        # One answer took the others with it: each question by itself, and only the guilty one has nothing to show. If
        # it was not an answer but a cell, there is nothing to be had below it.
        errors: list[str] = []
        found = False
        for question in questions:
            own = [check for check in checks if self.question(check) == question]
            replies, seen, ended = self._replies(steps, own, stand_ins, seed, run)
            nothing |= replies
            errors, found = max(errors, seen, key=len), found or not ended
            last = max(i for i, step in enumerate(steps) if step.get("ask") in own)
            if ended and self._replies(steps[:last], [], stand_ins, seed, run)[2]:
                break
        return nothing, errors, "" if found else problem

    def _right(self, seed: str) -> dict[str, Any]:
        """What the solution replies."""
        right = self._asked(list(self.full), seed, "")
        for check, reply in right.items():
            if "error" in reply:
                raise RuntimeError(f"the solution fails when {check} is asked: {reply['error']}")
        return right

    def _asked(self, checks: list[str], seed: str, code: str) -> dict[str, Any]:
        """What the solution replies if this code takes the place of one of its answers."""
        if self._replied.get("seed") != seed:
            self._replied.clear()
            self._replied["seed"] = seed
        replies = self._replied.setdefault(code, {})
        missing = [check for check in checks if check not in replies]
        if missing:
            names = dict(self._solution)
            exec(compile(code, "<answer>", "exec"), names)
            replies.update(
                inside.ask(inside.module_of(self.asks), missing, inside.Answers(names, names), seed, _TRUSTED)
            )
        return {check: replies[check] for check in checks}

    @functools.cached_property
    def _solution(self) -> dict[str, Any]:
        names, errors = inside.run_cells([step["run"] for step in self.steps(self.solved) if "run" in step], _TRUSTED)
        if any(errors):
            raise RuntimeError(f"a cell of the solution fails: {next(filter(None, errors))}")
        return names

    def _verdict(self, check: str, replies: Mapping[str, Any], right: Mapping[str, Any]) -> str:
        """Return what is wrong with a reply, or "" if nothing is."""
        reply = replies[check]
        if "error" in reply:
            return f"Your function stopped, or was not there: {reply['error']}"
        rule = getattr(self.rules, check.replace("-", "_"), close)
        try:
            rule(reply["data"], right[check]["data"])
        except Mistake as mistake:
            return str(mistake)
        except Exception as error:  # the data are not what any answer can have made; a rule need not foresee it
            logging.getLogger(__name__).info("%s: %r", check, error)
            return f"What your function returned cannot be compared ({type(error).__name__})."
        return ""

    def _diagnosis(self, check: str, replies: Mapping[str, Any], seed: str) -> str:
        """Return what is known about the wrong answer that replies as this one does, or "" if there is none.

        Several may reply to this check alike. Then it is the one that is most like it in the question's other checks.
        """
        question = self.question(check)
        checks = [name for name in self.full if self.question(name) == question and "data" in replies[name]]
        best, most = "", 0
        for what, code, points in self.wrong[question]:
            if check not in checks or points[check]:
                continue
            wrong = self._asked(checks, seed, code)
            alike = [name for name in checks if "data" in wrong[name] and _same(replies[name], wrong[name])]
            if check in alike and len(alike) > most:
                best, most = self.diagnoses[question][what], len(alike)
        return best


def files(name: str, root: Path = Path()) -> tuple[Path, Path, Path, Path]:
    """Return an assignment's four files, in a copy of the course's repository: source, asks, rules and wrong answers.

    Raises:
        FileNotFoundError: if one of them is not there.
    """
    marks = root / "marking"
    found = (
        root / "notebooks" / "exercises" / f"{name}.py",
        marks / f"{name}_asks.py",
        marks / f"{name}_rules.py",
        root / "tests" / "exercises" / f"{name}_wrong.py",
    )
    for path in found:
        if not path.is_file():
            raise FileNotFoundError(f"there is no {path}: run this in the folder of the course's repository")
    return found


def in_sandbox(job: bytes) -> sandbox.Outcome:
    """Run a job of `inside` in a sandbox of its own."""
    return sandbox.run(["-m", "aigc_course.grading.inside", sandbox.RESULT], job, limits=LIMITS)


def without_sandbox(job: bytes) -> sandbox.Outcome:
    """Run a job of `inside` with the rights of whoever calls this: for students whom one trusts with one's files."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        result = Path(folder, "result")
        result.touch()
        start = time.monotonic()
        command = [sys.executable, "-m", "aigc_course.grading.inside", str(result)]
        try:
            done = subprocess.run(
                command, input=job, capture_output=True, cwd=folder, timeout=LIMITS.seconds, start_new_session=True
            )
        except subprocess.TimeoutExpired:
            return sandbox.Outcome("timeout", None, b"", b"", None, time.monotonic() - start, 0.0)
        packed = result.read_bytes() if done.returncode == 0 and result.is_file() else b""
        ended: sandbox.Ended = "ok" if packed else "no result" if done.returncode == 0 else "error"
        seconds = time.monotonic() - start
        return sandbox.Outcome(ended, done.returncode, done.stdout, done.stderr, packed or None, seconds, 0.0)


_ENDED = {
    "error": "the process that ran it ended by itself",
    "no result": "the process that ran it ended by itself",
    "killed": "the process that ran it was ended by an error, such as too little memory",
    "timeout": f"it took more than {LIMITS.seconds:g} seconds",
    "cpu": f"it took more than {LIMITS.cpu_seconds} seconds of computing",
    "output": "it printed without end",
    "large result": "it returned too much",
}
_UNREADABLE = "what came out of the process that ran it could not be read"


def module(path: Path) -> ModuleType:
    """Return the module in a file of the course's."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is not a Python file")
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def _about(cell: NotebookNode) -> Any:
    return cell.metadata.get("nbgrader", {})


def _is_check(cell: NotebookNode) -> bool:
    return bool(_about(cell).get("grade") and not _about(cell).get("solution"))


def _is_given(cell: NotebookNode) -> bool:
    return cell.cell_type == "code" and bool(_about(cell).get("locked")) and not _is_check(cell)


def _definitions(source: str) -> str:
    """Return a cell without what it only shows: its imports, functions, classes and variables."""
    kept = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef, ast.Assign, ast.AnnAssign)
    return ast.unparse(ast.Module([each for each in ast.parse(python(source)).body if isinstance(each, kept)], []))


def _perhaps_the_machine(error: str) -> bool:
    unusual = (*_ENDED.values(), _UNREADABLE, f"it took more than {SECONDS:g} seconds")
    return error in unusual or error.startswith("MemoryError") or "allocate" in error


def _shown(error: Any) -> str:
    """An error's text as it may be shown: not too long, and without what a terminal takes for a command."""
    text = error if isinstance(error, str) else type(error).__name__
    return re.sub(r"[\x00-\x1f\x7f-\x9f]", " ", text[: 2 * inside.MESSAGE])


def _reply(said: Any) -> dict[str, Any]:
    """A reply, once it has been made certain that it is one."""
    if isinstance(said, dict) and isinstance(said.get("error"), str):
        return {"error": _shown(said["error"])}
    return {"data": said["data"]}


def _leaves(data: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(data, dict) and data.keys() != {"type"}:
        for key, each in data.items():
            yield from _leaves(each, f"{name}, {key}" if name else str(key))
    elif isinstance(data, list):
        for i, each in enumerate(data):
            yield from _leaves(each, f"{name}[{i}]")
    else:
        yield name, data


def _number(value: Any) -> Tensor | None:
    if isinstance(value, Tensor):
        return value
    return torch.tensor(float(value), dtype=torch.float64) if isinstance(value, bool | int | float) else None


def close(given: Any, right: Any, rtol: int | float = 1e-4, atol: int | float = 1e-5, equal_nan: bool = False) -> None:
    """Raise `Mistake` unless two pieces of data have the same form and nearly the same numbers.

    Whether a single number is Python's or a tensor's, and in which precision, does not matter. What is not a number is
    near nothing, unless `equal_nan`.
    """
    found, expected = list(_leaves(given)), list(_leaves(right))
    if [name for name, _ in found] != [name for name, _ in expected]:
        raise Mistake("What is returned does not have the form that was asked for.")
    for (name, value), (_, wanted) in zip(found, expected, strict=True):
        what = f"“{name}”" if name else "What is returned"
        number, target = _number(value), _number(wanted)
        if target is None:
            if value != wanted:
                raise Mistake(f"{what} is not what was asked for.")
        elif number is None:
            kind = _shown(value["type"]) if isinstance(value, dict) else type(value).__name__
            raise Mistake(f"{what} takes {'a tensor' if isinstance(wanted, Tensor) else 'a number'}, not {kind}.")
        elif number.shape != target.shape:
            raise Mistake(f"{what} has the shape {tuple(number.shape)}, not {tuple(target.shape)}.")
        elif not torch.allclose(_wide(number), _wide(target), rtol, atol, equal_nan):
            raise Mistake(f"{what} is not what was asked for.")


def tensor(given: Any, right: Any, what: str = "What is returned") -> Tensor:
    """Return what was given, in double precision; raise `Mistake` unless it is a tensor, shaped as `right`."""
    number, target = _number(given), _number(right)
    if number is None or target is None:
        raise Mistake(f"{what} must be a tensor.")
    if number.shape != target.shape:
        raise Mistake(f"{what} must have the shape {tuple(target.shape)}, not {tuple(number.shape)}.")
    return _wide(number)


def numbers(given: Sequence[Any]) -> Tensor:
    """Return single numbers, Python's or tensors, as one tensor."""
    return torch.stack([torch.as_tensor(each, dtype=torch.float64).reshape(()) for each in given])


def untouched(given: Any, right: Any, what: str = "The tensors that your function is given") -> None:
    """Raise `Mistake` unless what the student's function was given is as it was when the solution was asked."""
    try:
        close(given, right, rtol=0, atol=0)
    except Mistake:
        raise Mistake(f"{what} must stay as they are.") from None


def most_letters(given: Any, right: Any) -> None:
    """Raise `Mistake` unless five statements were chosen from ten, and four of them rightly."""
    named = given["the letters"]
    if type(named) is not str or not len(set(named)) == len(named) == 5 or not set(named) <= set("ABCDEFGHIJ"):
        raise Mistake("Five different letters from A to J are asked for, in one string.")
    if len(set(named) & set(right["the letters"])) < 4:
        raise Mistake("Fewer than four letters are right.")


def all_letters(given: Any, right: Any) -> None:
    """Raise `Mistake` unless the five right statements were chosen from ten, in a list of letters."""
    if sorted(given["the letters"]) != sorted(right["the letters"]):
        raise Mistake("Not all five letters are right.")


def _wide(number: Tensor) -> Tensor:
    return number.to(torch.complex128 if number.is_complex() else torch.float64)


def _same(given: Any, wrong: Any) -> bool:
    try:
        close(given, wrong, 1e-3, 1e-4, equal_nan=True)
    except Exception:  # Mistake, or data that no answer of ours returns
        return False
    return True
