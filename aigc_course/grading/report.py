"""From marks to what people read: feedback for each student, tables for the learning platform, a page for the teacher.

Nothing of a student's runs here, and no page runs anything: all text is escaped, and a Content Security Policy forbids
scripts and everything from elsewhere.
"""

import ast
import csv
import functools
import hashlib
import io
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jinja2
from nbformat import NotebookNode

from aigc_course.grading import marking
from aigc_course.grading.batch import MarkingError, known_mark, marked_by, only_one, taken_in
from aigc_course.grading.intake import Roster, Student, delimiter_of, manifest_of, sha256, write
from aigc_course.grading.notebooks import PLACEHOLDER, elsewhere, label, python, read
from aigc_course.grading.papers import Papers, ReleaseError

# The columns of nbgrader's own export.
_NBGRADER = (
    *("assignment", "duedate", "timestamp", "student_id", "last_name", "first_name", "email"),
    *("raw_score", "late_submission_penalty", "score", "max_score"),
)
# Those of the scores that a person gives.
BY_HAND = ("student", "question", "points", "comment")
# A statement says something about its author if it has so many nodes, and two answers look alike if they share so many
# such statements, and such a part of the shorter one.
NODES, SHARED, PART = 9, 4, 0.3
QUESTIONS = 3


@dataclass
class Check:
    """One line of a student's feedback. `points` is None for an answer that nobody has read yet."""

    name: str
    what: str
    full: float
    points: float | None
    message: str = ""


@dataclass
class Answer:
    """What a student wrote into one cell, and what it is worth."""

    name: str
    code: str | None
    words: str | None
    checks: list[Check]


@dataclass
class Part:
    """A part of the assignment, under one heading."""

    heading: str
    answers: list[Answer]


@dataclass
class Marks:
    """All that is known about a student's work.

    `problem` says why there are no marks, or is "". `machine` and `in_words` are points; `unread` those of answers in
    words that nobody has read yet.
    """

    id: str
    name: str
    email: str = ""
    parts: list[Part] = field(default_factory=list)
    problem: str = ""
    looks: list[str] = field(default_factory=list)
    cells: list[str] = field(default_factory=list)
    sandboxed: bool = True
    seed: str = ""
    viva: list[dict[str, str]] = field(default_factory=list)

    def _checks(self, by_machine: bool) -> Iterator[Check]:
        for part in self.parts:
            for answer in part.answers:
                if (answer.code is not None) == by_machine:
                    yield from answer.checks

    @property
    def machine(self) -> float:
        """The points that a machine gave."""
        return sum((check.points or 0.0 for check in self._checks(True)), 0.0)

    @property
    def in_words(self) -> float:
        """The points that a person gave."""
        return sum((check.points or 0.0 for check in self._checks(False)), 0.0)

    @property
    def unread(self) -> float:
        """The points of the answers that nobody has read yet."""
        return sum((check.full for check in self._checks(False) if check.points is None), 0.0)

    @property
    def so_far(self) -> float:
        """All points up to now."""
        return self.machine + self.in_words

    @property
    def full(self) -> float:
        """All points that the assignment has."""
        return sum((check.full for by_machine in (True, False) for check in self._checks(by_machine)), 0.0)


@dataclass(frozen=True)
class Pair:
    """Two students whose answers share rare statements: how each writes them, and how many the shorter one has."""

    first: str
    second: str
    shared: list[tuple[str, str]]
    total: int


def report(
    assignment: str,
    course: Path,
    root: Path = Path(),
    roster: Roster | None = None,
    worksheet: Path | None = None,
    machine_only: bool = False,
) -> list[Marks]:
    """Write all pages and tables of an assignment into `course/reports/<assignment>/`; return every student's marks.

    - `feedback/<student>.html`: the answers, with points and reasons, without any hidden test;
    - `grades.csv`: the columns of nbgrader's export;
    - `moodle.csv` or `canvas.csv`: the worksheet with the grades filled in, if there is one;
    - `class.html`: for the teacher;
    - `viva.html`: questions to each student on their own work, for the teacher;
    - `by_hand.csv`: the answers in words that nobody has read yet. What stands in `course/by_hand/<assignment>.csv`,
      with the columns student, question, points and comment, counts.

    Whoever has no marks, or has an answer that nobody has read, has an empty score, never a 0. Writing all of it again
    gives the same files.

    Args:
        assignment: Its name, such as "vae".
        course: The folder in which `intake` and `run` have put their results.
        root: A copy of the course's repository.
        roster: The class, for names and for those who sent nothing.
        worksheet: The file that the roster was read from. If it is Moodle's grading worksheet or Canvas's gradebook, it
            is filled in.
        machine_only: Score without the answers in words.

    Raises:
        MarkingError: if something that is needed is not there, or cannot be read, in words.
    """
    students = taken_in(assignment, course)
    try:
        rules, papers = marking.Assignment.load(assignment, root), Papers.read(assignment, course)
        viva = marking.module(root / "marking" / f"{assignment}_viva.py").VIVA
    except (FileNotFoundError, ReleaseError) as error:
        raise MarkingError(str(error)) from error
    folder = course / "reports" / assignment
    by_hand = read_by_hand(course / "by_hand" / f"{assignment}.csv", rules.by_hand)
    try:
        intake = json.loads((course / "submitted" / assignment / "report.json").read_bytes())
    except (OSError, ValueError) as error:
        raise MarkingError(f"what intake reported cannot be read ({error}): run `aigc-grade intake` again") from error
    people = {} if roster is None else {student.id: student for student in roster.students.values()}
    ours, theirs = _statements(rules), dict[str, str]()  # everybody's solution, and those of papers of their own
    by_root = functools.cache(lambda place: marked_by(assignment, place))  # read once, if it is everybody's
    result, codes = [], {}
    for name in dict.fromkeys([*students, *people]):
        person = people.get(name, Student(name, name, ""))
        marks = Marks(name, person.name or name, person.email)
        path = students.get(name)
        if name in students:
            marks.looks = list(intake["students"].get(name, {}).get("look", ()))
        if name in students and path is None:
            marks.problem = "no notebook could be read"
        elif path is None:
            marks.problem = "no file is known to be this student's"
        else:
            try:
                place = papers.root(name, root)
                paper = rules if place == root else marking.Assignment.load(assignment, place)
            except (FileNotFoundError, ReleaseError) as error:
                marks.problem = str(error)
            else:
                _fill(marks, path, paper, by_root(place), course / "marked" / assignment, by_hand.get(name, {}))
                codes[name] = {answer.name: answer.code or "" for part in marks.parts for answer in part.answers}
                solution = ours if paper is rules else _statements(paper)
                marks.viva = _viva(marks, viva, path, solution)
                if paper is not rules:
                    theirs |= solution
        result.append(marks)
    unknown = sorted(students.keys() - people.keys()) if people else []
    if unknown:
        raise MarkingError(
            f"the roster does not have {len(unknown)} of the students taken in ({', '.join(unknown[:5])} …): "
            "name the roster that intake was given"
        )
    strangers = sorted(by_hand.keys() - {marks.id for marks in result})
    if strangers:
        raise MarkingError(f"{course / 'by_hand' / f'{assignment}.csv'} names students who are not there: {strangers}")
    result.sort(key=lambda marks: marks.id)
    filled = "", b""
    if worksheet is not None:
        scores = {marks.id: _score(marks, machine_only) for marks in result}
        numbers = {student.number: student.id for student in people.values() if student.number}
        filled = filled_in(worksheet, assignment, scores, numbers, _most(rules, machine_only))
    with only_one(folder):
        environment = jinja2.Environment(
            loader=jinja2.PackageLoader("aigc_course.grading", "pages"),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        common = {"title": _heading(rules.solved.cells[0].source), "points": "{:g}".format}

        def page(template: str, place: str, **values: Any) -> None:
            text = environment.get_template(template).render(**common, **values)
            write(folder / place, text.encode("utf-8", "replace"))

        for old in folder.glob("feedback/*.html"):
            if old.stem not in {marks.id for marks in result}:
                old.unlink()
        for marks in result:
            page("feedback.html", f"feedback/{marks.id}.html", student=marks, parts=marks.parts)
        page("viva.html", "viva.html", students=[marks for marks in result if marks.parts])
        page("class.html", "class.html", **_class(result, codes, rules, {**ours, **theirs}, intake))
        write(folder / "grades.csv", table(_NBGRADER, _rows(assignment, result, rules, machine_only)))
        unread = [
            {"student": marks.id, "question": check.name, "points": "", "comment": ""}
            for marks in result
            for check in marks._checks(False)
            if check.points is None
        ]
        write(folder / "by_hand.csv", table(BY_HAND, unread))
        for name in ("moodle", "canvas"):
            if name == filled[0]:
                write(folder / f"{name}.csv", filled[1])
            else:  # of an earlier report
                (folder / f"{name}.csv").unlink(missing_ok=True)
    return result


def read_by_hand(path: Path, full: Mapping[str, float]) -> dict[str, dict[str, tuple[float, str]]]:
    """Return points and comment of the answers that a person has read, by student and question.

    Raises:
        MarkingError: if the file cannot be read, or has points that cannot be.
    """
    if not path.exists():
        return {}
    found: dict[str, dict[str, tuple[float, str]]] = defaultdict(dict)
    try:
        lines = list(csv.DictReader(io.StringIO(path.read_bytes().decode("utf-8-sig"), newline="")))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise MarkingError(f"{path} cannot be read ({error})") from error
    for number, line in enumerate(lines, 2):
        missing = {"student", "question", "points"} - line.keys()
        if missing:
            raise MarkingError(f"{path} has no column {', '.join(sorted(missing))}")
        if not (line["points"] or "").strip():
            continue
        question = line["question"]
        if question not in full:
            raise MarkingError(f"{path}, line {number}: no answer in words is called {question!r}")
        try:
            points = float(line["points"])
        except ValueError:
            points = -1.0
        if not 0 <= points <= full[question]:
            raise MarkingError(f"{path}, line {number}: points are 0 to {full[question]:g}, not {line['points']!r}")
        if question in found[line["student"]]:
            raise MarkingError(f"{path}, line {number}: a second entry for {line['student']!r} and {question!r}")
        found[line["student"]][question] = points, line.get("comment") or ""
    return found


def filled_in(
    worksheet: Path, assignment: str, scores: Mapping[str, str], numbers: Mapping[str, str], most: float
) -> tuple[str, bytes]:
    """Return "moodle" or "canvas", and the worksheet with the scores; two empty ones if it is neither's.

    Where there is no score, what stood there stays; so does Canvas's EX, which excuses a student.

    Args:
        worksheet: The file.
        assignment: The assignment's name.
        scores: For each student the score, or "".
        numbers: For each of the platform's numbers the student.
        most: What a score can be at most. The platform's own maximum has to be the same.

    Raises:
        MarkingError: if it is not, or if several columns could be meant.
    """
    text = worksheet.read_bytes().decode("utf-8-sig")
    delimiter = delimiter_of(text)
    lines = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)
    columns = list(lines.fieldnames or ())
    if {"Identifier", "Grade"} <= set(columns):
        name, number, target = "moodle", "Identifier", "Grade"
    elif "ID" in columns and any(each.startswith("SIS ") for each in columns):
        # Canvas writes its own number behind an assignment's name; a column without one becomes a new assignment.
        own = [each for each in columns if re.fullmatch(rf"{re.escape(assignment)}( \(\d+\))?", each, re.IGNORECASE)]
        if len(own) > 1:
            raise MarkingError(f"{worksheet} has several columns for {assignment}: {', '.join(own)}; leave one")
        name, number, target = "canvas", "ID", own[0] if own else assignment
        known = ("Student", "LastName", "FirstName", "ID", "Section")
        columns = [*(each for each in columns if each in known or each.startswith("SIS ")), target]
    else:
        return "", b""
    rows = []
    for line in lines:
        kept = {each: line.get(each) or "" for each in columns}
        maximum = (
            kept[target] if kept.get("Student", "").strip() == "Points Possible" else kept.get("Maximum Grade", "")
        )
        if re.fullmatch(r"\d+([.,]\d+)?", maximum) and float(maximum.replace(",", ".")) != most:
            raise MarkingError(
                f"{worksheet} has the maximum {maximum}, and this report {most:g}: change it on the platform, and "
                "export the file again"
            )
        score = scores.get(numbers.get(re.sub(r"\D", "", line[number] or ""), ""), "")
        rows.append({**kept, target: score if score and kept[target] != "EX" else kept[target]})
    return name, table(columns, rows, delimiter)


# --- one student ------------------------------------------------------------------------------------------------------


def _fill(
    marks: Marks,
    path: Path,
    rules: marking.Assignment,
    by: str,
    folder: Path,
    by_hand: Mapping[str, tuple[float, str]],
) -> None:
    """Fill in what a student wrote, and what it is worth."""
    data = path.read_bytes()
    known = known_mark(folder / f"{marks.id}.json", {"notebook": sha256(data), "assignment": by})
    if known is None:
        marks.problem = "not marked yet"
        marks.looks.append("the notebook or the assignment has changed, or has never been marked: run `aigc-grade run`")
        return
    marks.problem, marks.sandboxed = known["problem"], known["sandbox"]
    marks.cells, marks.seed = list(known["cells"].values()), known["seed"]
    marks.looks += [known["problem"]] if known["problem"] else []
    marks.looks += known["looks"]
    try:
        notebook = read(path)
        written = {label(cell): cell.source for cell in notebook.cells if label(cell)}
        astray = set(elsewhere(rules.solved, notebook))
    except Exception as error:  # it was mended by hand, and there are more ways to damage a notebook than one can name
        marks.problem = marks.problem or f"the notebook cannot be read ({type(error).__name__})"
        return
    heading = ""
    for cell in rules.solved.cells:
        name, entry = label(cell), cell.metadata.get("nbgrader", {})
        if cell.cell_type == "markdown" and cell.source.startswith("## "):
            heading = re.sub(r" \([\d.]+ points?\)$", "", _heading(cell.source))
        if entry.get("solution"):
            if not marks.parts or marks.parts[-1].heading != heading:
                marks.parts.append(Part(heading, []))
            text = written.get(name, "")
            if cell.cell_type == "code":
                marks.parts[-1].answers.append(Answer(name, text, None, []))
                continue
            empty = text.strip() in ("", PLACEHOLDER) and name not in astray
            points, comment = by_hand.get(name, (0.0, "There is no answer.") if empty else (None, ""))
            answer = Answer(name, None, text, [Check(name, "Your answer", rules.by_hand[name], points, comment)])
            marks.parts[-1].answers.append(answer)
        elif name in rules.full and not known["problem"]:
            question = rules.question(name)
            answer = next(a for part in marks.parts for a in part.answers if a.name == question)
            said = known["messages"].get(name, "")
            answer.checks.append(Check(name, _about(cell), rules.full[name], known["points"][name], said))


def _heading(source: str) -> str:
    return source.split("\n")[0].lstrip("# ").strip()


def _about(cell: NotebookNode) -> str:
    """Return what a check says about itself in its first sentence, as in `# Check 2a (2 points): one number for …`."""
    lines = []
    for line in cell.source.split("\n"):
        if not line.startswith("#"):
            break
        lines.append(line.lstrip("# "))
    text = re.sub(r" \([\d.]+ points?\)", "", " ".join(lines))
    return re.split(r"\.(?:\s|$)", text, maxsplit=1)[0] + "." if text else label(cell)


def _score(marks: Marks, machine_only: bool) -> str:
    if marks.problem or (marks.unread and not machine_only):
        return ""
    return f"{marks.machine if machine_only else marks.so_far:g}"


def _most(rules: marking.Assignment, machine_only: bool) -> float:
    return sum(rules.full.values()) + (0.0 if machine_only else sum(rules.by_hand.values()))


def _rows(
    assignment: str, students: Sequence[Marks], rules: marking.Assignment, machine_only: bool
) -> Iterator[dict[str, str]]:
    most = _most(rules, machine_only)
    for marks in students:
        if "," in marks.name:  # as Canvas writes it
            last, _, first = (part.strip() for part in marks.name.partition(","))
        else:
            first, _, last = marks.name.rpartition(" ")
        score = _score(marks, machine_only)
        row = dict.fromkeys(_NBGRADER, "") | {"assignment": assignment, "student_id": marks.id, "email": marks.email}
        row |= {"last_name": last, "first_name": first} if marks.name != marks.id else {}
        # To a spreadsheet program these would be formulas.
        row = {name: f"'{text}" if text.startswith(("=", "+", "-", "@")) else text for name, text in row.items()}
        yield row | {"raw_score": score, "score": score, "max_score": f"{most:g}", "late_submission_penalty": "0"}


def table(columns: Sequence[str], rows: Any, delimiter: str = ",") -> bytes:
    """Return rows as a CSV file."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode("utf-8", "replace")


# --- the class --------------------------------------------------------------------------------------------------------


def _class(
    students: Sequence[Marks],
    codes: Mapping[str, Mapping[str, str]],
    rules: marking.Assignment,
    ours: Mapping[str, str],
    intake: Mapping[str, Any],
) -> dict[str, Any]:
    """What the teacher's page shows."""
    marked = [marks for marks in students if not marks.problem]
    machine = sum(rules.full.values())
    step = max(1.0, machine / 10)
    bounds = [step * i for i in range(int(machine / step + 0.999))]
    distribution = []
    for i, low in enumerate(bounds):
        last = i == len(bounds) - 1
        high = machine if last else low + step
        count = sum(low <= marks.machine < high or (last and marks.machine >= low) for marks in marked)
        distribution.append((f"{low:.3g} to {'' if last else 'under '}{high:.3g}", count))
    passed: Counter[str] = Counter()
    told: Counter[tuple[str, str]] = Counter()
    about: dict[str, tuple[str, str]] = {}
    for marks in marked:
        messages = set()
        for part in marks.parts:
            for answer in part.answers:
                for check in answer.checks if answer.code is not None else ():
                    about[check.name] = part.heading, check.what
                    passed[check.name] += check.points == check.full
                    if check.message:
                        messages.add((part.heading, check.message))
        told.update(messages)
    checks = [{"heading": about[name][0], "what": about[name][1], "passed": passed[name]} for name in about]
    mistakes = [
        {"heading": heading, "message": message, "count": count}
        for (heading, message), count in sorted(told.items(), key=lambda item: (-item[1], item[0]))
        if count > 1
    ]
    rare, pairs = look_alikes(codes, ours)
    names = {marks.id: marks.name if marks.name == marks.id else f"{marks.name} ({marks.id})" for marks in students}
    looks = [
        (names[marks.id], look) for marks in students for look in dict.fromkeys([*marks.looks, marks.problem]) if look
    ]
    looks += [
        ("nobody's file", f"{entry['path']}: {entry['reason']}")
        for entry in intake["files"]
        if entry["student"] is None and entry["outcome"] == "look"
    ]
    return {
        "students": students,
        "marked": marked,
        "machine": machine,
        "mean": round(sum(marks.machine for marks in marked) / max(1, len(marked)), 1),
        "looks": looks,
        "distribution": distribution,
        "most": max((count for _, count in distribution), default=1),
        "checks": sorted(checks, key=lambda row: row["passed"]),
        "mistakes": mistakes[:20],
        "rare": rare,
        "pairs": [(names[pair.first], names[pair.second], pair) for pair in pairs],
        "without_sandbox": sum(not marks.sandboxed for marks in marked),
    }


def look_alikes(codes: Mapping[str, Mapping[str, str]], ours: Mapping[str, str]) -> tuple[int, list[Pair]]:
    """Return how many may share a statement for it to be rare, and the pairs of students who share many rare ones.

    Statements are compared as syntax trees in which variables have no names, so renaming, comments and layout change
    nothing. What the assignment's own cells hold does not count, the model answers included: many find them.

    Args:
        codes: For each student their answers, by question.
        ours: The assignment's own statements.
    """
    own: dict[str, dict[str, str]] = {}
    owners: dict[str, list[str]] = defaultdict(list)
    for name, answers in codes.items():
        own[name] = {tree: text for tree, text in statements_of(*answers.values()).items() if tree not in ours}
        for statement in own[name]:
            owners[statement].append(name)
    rare = max(2, len(codes) // 10)
    shared: dict[tuple[str, str], list[str]] = defaultdict(list)
    for statement, names in owners.items():
        if 2 <= len(names) <= rare:
            for i, first in enumerate(sorted(names)):
                for second in sorted(names)[i + 1 :]:
                    shared[first, second].append(statement)
    pairs = []
    for (first, second), statements in shared.items():
        total = min(len(own[first]), len(own[second]))
        if len(statements) >= max(SHARED, PART * total):
            pairs.append(Pair(first, second, [(own[first][s], own[second][s]) for s in statements], total))
    return rare, sorted(pairs, key=lambda pair: (-len(pair.shared), pair.first, pair.second))


def _statements(assignment: marking.Assignment) -> dict[str, str]:
    return statements_of(*(cell.source for cell in assignment.solved.cells if cell.cell_type == "code"))


def statements_of(*codes: str) -> dict[str, str]:
    """Return the statements of some programs: their trees without names, and how they are written."""
    found = {}
    for code in codes:
        if code.lstrip().startswith("%%"):  # for IPython, the whole cell would be one text
            code = code.lstrip().partition("\n")[2]
        try:
            for node in ast.walk(ast.parse(python(code))):
                own = isinstance(node, ast.stmt) and not hasattr(node, "body")
                docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
                if own and not docstring and sum(1 for _ in ast.walk(node)) >= NODES:
                    text = ast.unparse(node)
                    for part in ast.walk(node):
                        if isinstance(part, ast.Name):
                            part.id = "_"
                        elif isinstance(part, ast.arg):
                            part.arg = "_"
                    found[ast.dump(node)] = text
        except (SyntaxError, ValueError, RecursionError, MemoryError):  # no program, or one nested too deeply
            continue
    return found


# --- questions to a student -------------------------------------------------------------------------------------------


def _viva(
    marks: Marks, viva: Sequence[tuple[str, str, str]], path: Path, ours: Mapping[str, str]
) -> list[dict[str, str]]:
    """Return questions on what a student's own notebook shows: first mistakes, then figures, then lines of code."""

    def order(text: str) -> bytes:  # another one for everybody, and not known beforehand
        return hashlib.sha256(f"{marks.seed} {text}".encode()).digest()

    found = []
    failed = [(part, answer, check) for part in marks.parts for answer in part.answers for check in answer.checks]
    failed = [(part, answer, check) for part, answer, check in failed if check.message and answer.code]
    for part, answer, check in sorted(failed, key=lambda one: order(one[2].name))[:1]:
        asks = f"In “{part.heading}” you were told: “{check.message}” What would you change, and why there?"
        found.append({"shown": answer.code or "", "asks": asks, "wanted": f"This is about: {check.what}"})
    printed = _printed(path)
    for pattern, asks, wanted in sorted(viva, key=lambda one: order(one[0])):
        match = re.search(pattern, printed, re.MULTILINE)
        if match and len(found) < QUESTIONS:
            found.append({"shown": match[0], "asks": asks, "wanted": wanted})
    lines = [
        (part.heading, text)
        for part in marks.parts
        for answer in part.answers
        for statement, text in statements_of(answer.code or "").items()
        if statement not in ours
    ]
    for heading, text in sorted(lines, key=lambda one: order(one[1])):
        if len(found) < QUESTIONS:
            asks = f"This line is from your answer to “{heading}”. What does it do, and what would go wrong without it?"
            found.append({"shown": text, "asks": asks, "wanted": "The words of somebody who wrote it."})
    return found


def _printed(path: Path) -> str:
    """Return what the cells of the notebook had printed when it was sent; the repaired one has no outputs."""
    about = manifest_of(path.parent)
    counted = (about["notebook"] or {}).get("from")
    taken = [entry for entry in about["files"] if entry["outcome"] == "taken" and entry["path"] == counted]
    kept = [entry["original"] for entry in taken if entry["original"]]
    if not kept:
        return ""
    try:
        notebook = read(path.parent / kept[0])
        outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
        return "\n".join(str(output.get("text", ""))[:10_000] for output in outputs)
    except Exception:  # there are more ways to damage outputs than one can name, and no mark depends on them
        return ""
