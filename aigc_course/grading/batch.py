"""Mark a class: every notebook that intake took in, each by itself, side by side, and again after a crash.

Each submission has a file `course/marked/<assignment>/<student>.json`, which is written when it has been marked, whole
or not at all. Marking again passes over those whose notebook, assignment and way of running are still the same, unless
something about them needs a look. So whatever ends the program, the same command goes on where it stopped.
"""

import json
import multiprocessing
import os
import resource
import secrets
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

import torch
from filelock import Timeout

from aigc_course.grading import inside, marking, sandbox
from aigc_course.grading.intake import alone, sha256, write_json
from aigc_course.grading.notebooks import read

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
    assignment: str, course: Path, root: Path = Path(), jobs: int | None = None, sandboxed: bool = True
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

    Raises:
        MarkingError: if there is nothing to mark, or another marking is running.
        sandbox.SandboxUnavailable: if there is no sandbox on this machine.
    """
    students = taken_in(assignment, course)
    if sandboxed:
        sandbox.check()
    try:
        rules = marking.Assignment.load(assignment, root)
    except FileNotFoundError as error:
        raise MarkingError(str(error)) from error
    by = marked_by(assignment, root)
    folder = course / "marked" / assignment
    with only_one(folder):
        waiting = []
        for student, path in students.items():
            what = None if path is None else sha256(path.read_bytes())
            stamp = {"notebook": what, "assignment": by, "sandbox": sandboxed}
            known = known_mark(folder / f"{student}.json", stamp)
            if known and not known["problem"] and not known["looks"]:
                yield student, known
            else:
                waiting.append((student, path, stamp))
        if waiting:
            yield from _side_by_side(rules, waiting, folder, jobs or os.cpu_count() or 1)


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


def _side_by_side(
    rules: marking.Assignment, waiting: list[tuple[str, Path | None, dict[str, Any]]], folder: Path, jobs: int
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
                student, path, stamp = waiting.pop()
                process = fork.Process(target=_mark, args=(rules, path, stamp, folder / f"{student}.json"))
                process.start()
                running[process.sentinel] = process, student, stamp, time.monotonic() + LATE
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
                    done = _content(rules, stamp, "", rules.unmarked(problem))
                    write_json(place, done)
                yield student, done
    finally:
        for process, *_ in running.values():
            process.kill()
        torch.set_num_threads(threads)


def _mark(rules: marking.Assignment, path: Path | None, stamp: dict[str, Any], result: Path) -> None:
    # Data from the sandbox could be made to grow when they are compared.
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    seed = secrets.token_hex(16)
    run = marking.in_sandbox if stamp["sandbox"] else marking.without_sandbox
    if path is None:
        marked = rules.unmarked("there is no notebook; see what intake says")
    else:
        try:
            marked = rules.mark(read(path), seed, run)
        except ValueError as error:
            marked = rules.unmarked(str(error))
        except Exception as error:  # one notebook, whatever is in it, does not stop the others
            marked = rules.unmarked(f"marking it failed: {type(error).__name__}: {error}")
    write_json(result, _content(rules, stamp, seed, marked))


def _content(rules: marking.Assignment, stamp: dict[str, Any], seed: str, marked: marking.Marked) -> dict[str, Any]:
    return {**stamp, "seed": seed, "full": rules.full, "by_hand": rules.by_hand, **asdict(marked)}


def known_mark(path: Path, stamp: dict[str, Any]) -> dict[str, Any] | None:
    """Return what is in a student's file, or None if there is none, or not one with this stamp."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) and {name: content.get(name) for name in stamp} == stamp else None
