"""Mark a class: every notebook that intake took in, each by itself, side by side, and again after a crash.

Each submission has a file `course/marked/<assignment>/<student>.json`, which is written when it has been marked, whole
or not at all. Marking again passes over those whose notebook, assignment and way of running are still the same, unless
something about them needs a look. So whatever ends the program, the same command goes on where it stopped.
"""

import functools
import json
import multiprocessing
import os
import resource
import secrets
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

import torch
from filelock import Timeout

from aigc_course.grading import inside, marking, sandbox
from aigc_course.grading.intake import alone, sha256, write_json
from aigc_course.grading.notebooks import read
from aigc_course.grading.papers import Papers, ReleaseError

# Seconds after which a process that marks is ended. The sandbox has limits of its own; this is for what has none.
LATE = 12 * marking.LIMITS.seconds
# Bytes of address space that a process that marks may have; importing torch takes three of these gigabytes.
MEMORY = 10 * 2**30


class MarkingError(ValueError):
    """Nothing could be marked. The message says why, and what to do."""


def taken_in(assignment: str, course: Path) -> dict[str, Path | None]:
    """Return every student of an assignment, with the notebook that counts, or None if there is none.

    Raises:
        MarkingError: if nothing has been taken in.
    """
    folder = course / "submitted" / assignment
    students = sorted(path.parent for path in folder.glob("*/intake.json"))
    if not students:
        raise MarkingError(f"nothing has been taken in under {folder}: run `aigc-grade intake {assignment} …` first")
    return {place.name: path if (path := place / "notebook.ipynb").is_file() else None for place in students}


def mark_class(
    assignment: str,
    course: Path,
    root: Path = Path(),
    jobs: int | None = None,
    sandboxed: bool = True,
    scheduler: str = "",
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Mark every student's notebook; yield each student and what is in their file, in the order in which they are done.

    What is in a file: `points` and `full`, by check; `messages`, for the student, by check; `problem`, if the notebook
    could not be marked, else ""; `looks`, what a person has to look at; `cells`, the errors of its cells; `by_hand`,
    the questions that a person reads, with their points; `sandbox`, whether it ran in one; `seed`, from which the
    inputs were drawn; `notebook` and `assignment`, the SHA-256 of what was marked, and by what.

    Args:
        assignment: Its name, such as "vae".
        course: The folder in which `intake` has put what students sent.
        root: A copy of the course's repository, which has the solutions.
        jobs: How many are marked side by side; None stands for as many as there are processors.
        sandboxed: False runs the students' code with the rights of whoever calls this.
        scheduler: The address of a Dask scheduler, whose workers then do the marking; see `cluster`.

    Raises:
        MarkingError: if there is nothing to mark, another marking is running, or no scheduler answers.
        sandbox.SandboxUnavailable: if there is no sandbox on this machine.
    """
    students = taken_in(assignment, course)
    if sandboxed and not scheduler:
        sandbox.check()
    try:
        rules, papers = marking.Assignment.load(assignment, root), Papers.read(assignment, course)
    except (FileNotFoundError, ReleaseError) as error:
        raise MarkingError(str(error)) from error
    folder = course / "marked" / assignment
    by_root = functools.cache(lambda place: marked_by(assignment, place))  # read once, if it is everybody's
    with only_one(folder):
        waiting = []
        for student, path in students.items():
            what = None if path is None else sha256(path.read_bytes())
            try:
                own = papers.root(student, root)
                by, problem = by_root(own), ""
            except (FileNotFoundError, ReleaseError) as error:
                own, by, problem = root, "", str(error)
            stamp = {"notebook": what, "assignment": by, "sandbox": sandboxed}
            known = known_mark(folder / f"{student}.json", stamp)
            if known and not known["problem"] and not known["looks"]:
                yield student, known
            else:
                waiting.append(Waiting(student, path, stamp, None if own == root else own, problem))
        if waiting and scheduler:
            from aigc_course.grading.cluster import on_cluster  # here, since it needs an extra

            for one, content in on_cluster(rules, assignment, waiting, root, scheduler):
                write_json(folder / f"{one.student}.json", content)
                yield one.student, content
        elif waiting:
            yield from _side_by_side(rules, assignment, waiting, folder, jobs or os.cpu_count() or 1)


@contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Be the only one who writes into a folder, as `alone`.

    Raises:
        MarkingError: if somebody else is writing.
    """
    with ExitStack() as stack:
        try:
            stack.enter_context(alone(folder))
        except Timeout as error:
            raise MarkingError(f"somebody else is writing into {folder}: wait until it has ended") from error
        yield


def marked_by(assignment: str, root: Path = Path()) -> str:
    """Return the SHA-256 of all that decides the marks of an assignment: its four files and the programs."""
    programs = [Path(str(module.__file__)) for module in (marking, inside)]
    return sha256(b"".join(path.read_bytes() for path in (*marking.files(assignment, root), *programs)))


@dataclass(frozen=True)
class Waiting:
    """What is to be marked: `own_paper` is where the student's paper is, if it is not everybody's.

    It cannot be marked if there is a `problem`.
    """

    student: str
    path: Path | None
    stamp: dict[str, Any]
    own_paper: Path | None
    problem: str


def _side_by_side(
    rules: marking.Assignment, name: str, waiting: list[Waiting], folder: Path, jobs: int
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Mark each submission in a process of its own, forked from this one, so that importing torch is paid for once."""
    fork = multiprocessing.get_context("fork")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # several run side by side; and what is forked has none of its parent's threads
    running: dict[Any, tuple[Any, str, dict[str, Any], float]] = {}
    waiting = waiting[::-1]
    try:
        rules.prepare()
        while waiting or running:
            while waiting and len(running) < jobs:
                one = waiting.pop()
                process = fork.Process(target=mark, args=(rules, name, one, folder / f"{one.student}.json"))
                process.start()
                running[process.sentinel] = process, one.student, one.stamp, time.monotonic() + LATE
            ended = wait(list(running), timeout=1)
            for sentinel, (process, student, stamp, late) in list(running.items()):
                if sentinel not in ended:
                    if time.monotonic() < late:
                        continue
                    process.kill()
                process.join()
                del running[sentinel]
                place = folder / f"{student}.json"
                done = known_mark(place, stamp)
                if done is None:
                    problem = f"the process that marked it ended early, with exit code {process.exitcode}"
                    done = content_of(rules, stamp, "", rules.unmarked(problem))
                    write_json(place, done)
                yield student, done
    finally:
        for process, *_ in running.values():
            process.kill()
        torch.set_num_threads(threads)


def mark(rules: marking.Assignment, name: str, one: Waiting, result: Path) -> None:
    """Mark a notebook, and write what is to be in its file into `result`. The process is for this alone."""
    # Data from the sandbox could be made to grow when they are compared.
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    seed = secrets.token_hex(16)
    run = marking.in_sandbox if one.stamp["sandbox"] else marking.without_sandbox
    if one.path is None or one.problem:
        marked = rules.unmarked(one.problem or "there is no notebook; see what intake says")
    else:
        try:
            rules = rules if one.own_paper is None else marking.Assignment.load(name, one.own_paper)
            marked = rules.mark(read(one.path), seed, run)
        except ValueError as error:
            marked = rules.unmarked(str(error))
        except Exception as error:  # one notebook, whatever is in it, does not stop the others
            marked = rules.unmarked(f"marking it failed: {type(error).__name__}: {error}")
    write_json(result, content_of(rules, one.stamp, seed, marked))


def content_of(rules: marking.Assignment, stamp: dict[str, Any], seed: str, marked: marking.Marked) -> dict[str, Any]:
    """Return what is in a student's file."""
    return {**stamp, "seed": seed, "full": rules.full, "by_hand": rules.by_hand, **asdict(marked)}


def known_mark(path: Path, stamp: dict[str, Any]) -> dict[str, Any] | None:
    """Return what is in a student's file, or None if there is none, or not one with this stamp."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) and {name: content.get(name) for name in stamp} == stamp else None
