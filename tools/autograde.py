"""Grade the submissions of one batch, each in a process of its own. tools/exercises.py starts this program.

    python tools/autograde.py FOLDER SECONDS_PER_CELL JOBS

Every folder in FOLDER is an nbgrader course with one submission. Each gets a file `result.json`, which holds either
{"points": {grade_id: points}} or {"problem": "why there are none"}. Whatever a student's code does, it does it to its
own process, its own gradebook and its own time. The processes are forked from this one, since importing nbgrader takes
almost as long as running a notebook.
"""

import json
import multiprocessing
import os
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from exercises import MARK, NAME, STUDENT, end_processes
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from nbformat import NotebookNode
from nbgrader.api import Gradebook
from nbgrader.converters import Autograde
from nbgrader.coursedir import CourseDirectory
from nbgrader.preprocessors import Execute
from traitlets.config import Config
from whole import write_whole

# A whole notebook may take as long as this many cells that use up their time.
CELLS = 10
# Seconds beyond that after which a process that grades is ended: starting a kernel on a busy machine takes some.
GRACE = 120
# Bytes that a process may have in memory, and that a file may have. No answer needs a tenth of either.
LIMITS = {resource.RLIMIT_DATA: 4 * 2**30, resource.RLIMIT_FSIZE: 2**28, resource.RLIMIT_CORE: 0}


class _Execute(Execute):
    """Runs a notebook; says in which cell it had to stop, and keeps only the outputs on which a grade depends."""

    def preprocess(self, nb: NotebookNode, resources: Any, retries: Any = None) -> tuple[NotebookNode, Any]:
        """Run it in a folder of its own: what its code deletes there is not what nbgrader is about to write."""
        with tempfile.TemporaryDirectory(dir=resources["metadata"]["path"], ignore_cleanup_errors=True) as folder:
            here = {**resources, "metadata": {**resources["metadata"], "path": folder}}
            graded, _ = super().preprocess(nb, here, retries)
        return graded, resources

    def preprocess_cell(self, cell: NotebookNode, resources: Any, index: int) -> tuple[NotebookNode, Any]:
        started = time.monotonic()
        if index == 0:
            self.end = started + CELLS * self.timeout
        name = cell.metadata.get("nbgrader", {}).get("grade_id")
        where = f"the cell {name!r}" if name else f"the cell that begins with {cell.source[:60].split(chr(10))[0]!r}"
        if started > self.end:
            raise TimeoutError(f"the notebook took more than {CELLS * self.timeout} seconds to reach {where}")
        try:
            return super().preprocess_cell(cell, resources, index)
        except DeadKernelError:
            raise RuntimeError(f"the process that runs the notebook, its kernel, ended in or before {where}") from None
        except CellTimeoutError:
            if time.monotonic() - started < self.timeout:
                raise RuntimeError(f"{where} wrote more than could be read") from None
            raise TimeoutError(f"{where} took more than {self.timeout} seconds and could not be interrupted") from None

    def output(self, outs: list[NotebookNode], msg: dict[str, Any], display_id: Any, cell_index: int) -> Any:
        """Keep errors and results. What is printed counts for nothing, and could fill the memory."""
        if msg["msg_type"] in ("error", "execute_result"):
            return super().output(outs, msg, display_id, cell_index)
        return None


class _Autograde(Autograde):
    """Autograde that remembers why a notebook could not be graded, where nbgrader would only log it."""

    problem = ""

    def convert_single_notebook(self, notebook_filename: str) -> None:
        try:
            super().convert_single_notebook(notebook_filename)
        except Exception as error:
            self.problem = str(error) or type(error).__name__


def _grade(course: Path, seconds_per_cell: int) -> None:
    """Grade the one submission of a course; write `result.json`."""
    os.setsid()
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in range(3):
        os.dup2(nowhere, stream)
    for what, most in LIMITS.items():
        hard = resource.getrlimit(what)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(what, (most, most))
    os.environ[MARK] = str(course)

    config = Config()
    config.CourseDirectory.root = str(course)
    config.CourseDirectory.assignment_id = NAME
    config.CourseDirectory.student_id = STUDENT
    steps = Autograde.autograde_preprocessors.default()
    config.Autograde.autograde_preprocessors = [_Execute if step is Execute else step for step in steps]
    config.Execute.timeout = seconds_per_cell
    config.Execute.iopub_timeout = 10  # a cell that was interrupted gets this long to stop
    config.Execute.store_widget_state = False
    config.Execute.shutdown_kernel = "immediate"  # nothing is left to save; waiting took a third of the time
    config.KernelManager.connection_file = str(course / "kernel.json")
    # Sockets that are files: of kernels that start side by side, two could choose the same free port.
    config.KernelManager.transport = "ipc"
    config.KernelManager.ip = str(course / "kernel")
    autograde = _Autograde(coursedir=CourseDirectory(config=config), config=config)
    autograde.start()
    if autograde.problem:
        result: dict[str, Any] = {"problem": autograde.problem}
    else:
        with Gradebook(f"sqlite:///{course / 'gradebook.db'}") as gradebook:
            grades = gradebook.find_submission_notebook(NAME, NAME, STUDENT).grades
            result = {"points": {g.name: g.auto_score for g in grades if g.auto_score is not None}}
    write_whole(course / "result.json", json.dumps(result))


def main(folder: Path, seconds_per_cell: int, jobs: int) -> None:
    """Grade every course in a folder, `jobs` of them side by side."""
    fork = multiprocessing.get_context("fork")
    parent = os.getppid()
    waiting = sorted(folder.iterdir(), reverse=True)
    running: dict[Path, tuple[Any, float]] = {}
    while waiting or running:
        while waiting and len(running) < jobs:
            course = waiting.pop()
            process = fork.Process(target=_grade, args=(course, seconds_per_cell))
            process.start()
            running[course] = process, time.monotonic() + (CELLS + 1) * seconds_per_cell + GRACE
        for course, (process, end) in list(running.items()):
            late = time.monotonic() > end
            if late:
                process.kill()
            elif process.is_alive():
                continue
            process.join()
            del running[course]
            end_processes(course)  # the kernel, if it is still there, and what the student's code started
            if not (course / "result.json").exists():
                what = "did not end" if late else f"ended early, with exit code {process.exitcode}"
                problem = {"problem": f"the process that graded it {what}"}
                write_whole(course / "result.json", json.dumps(problem))
        if os.getppid() != parent:  # whoever wanted to know is gone
            end_processes(folder)
        time.sleep(0.05)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
