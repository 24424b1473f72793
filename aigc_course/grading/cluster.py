"""Mark a class on several machines: each notebook is a job of a Dask cluster, and the results come back here.

    aigc-grade run vae --scheduler tcp://10.0.0.7:8786

Each worker needs this package with its extras `instructor` and `cluster`, in the version that is here, and the sandbox;
it needs no copy of the repository, since a job carries the paper that it is marked by. So workers, and the network
between them, are as much to be trusted as this machine: Dask itself does not ask who sends a job. A worker that ends
costs nothing but time: its jobs go to others, up to three times.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import torch

from aigc_course.grading import batch, marking

try:
    from distributed import Client, as_completed
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"{error.name} is not installed: it comes with an extra of this package. "
        'Install it with: pip install "aigc-course[cluster]"',
        name=error.name,
    ) from error

# Seconds that are waited for the scheduler to answer.
PATIENCE = 30


def on_cluster(
    rules: marking.Assignment, name: str, waiting: Sequence[batch.Waiting], root: Path, address: str
) -> Iterator[tuple[batch.Waiting, dict[str, Any]]]:
    """Mark notebooks on the cluster of this scheduler; yield each with what is to be in its file, as they are done.

    Raises:
        batch.MarkingError: if no scheduler answers there, or it has no workers.
    """
    try:
        client = Client(address, timeout=PATIENCE)
    except (OSError, ValueError) as error:
        raise batch.MarkingError(f"no Dask scheduler answers at {address} ({error})") from error
    with closing(client):
        if not client.scheduler_info(n_workers=-1)["workers"]:
            raise batch.MarkingError(f"the Dask scheduler at {address} has no workers: start some, and try again")
        sent = {client.submit(_in_own_process, _job(name, one, root), pure=False): one for one in waiting}
        for future in as_completed(list(sent)):
            one = sent.pop(future)
            try:
                content = json.loads(future.result())
            except Exception as error:  # whatever happened there, the others are marked
                problem = f"the worker that marked it failed: {type(error).__name__}: {error}"
                content = batch.content_of(rules, one.stamp, "", rules.unmarked(problem))
            yield one, content


def _job(name: str, one: batch.Waiting, root: Path) -> bytes:
    """Return all that is needed to mark a notebook: the notebook, and the files of its paper."""
    own = one.own_paper or root
    files = {str(path.relative_to(own)): path.read_text("utf-8") for path in marking.files(name, own)}
    notebook = None if one.path is None else one.path.read_bytes().decode("utf-8", "surrogateescape")
    about = {"student": one.student, "stamp": one.stamp, "problem": one.problem}
    return json.dumps({"name": name, "files": files, "notebook": notebook, **about}).encode()


def _in_own_process(job: bytes) -> bytes:
    """On a worker: mark a notebook in a new process, since a job may need a main thread, and has a limit of memory."""
    done = subprocess.run([sys.executable, "-m", __name__], input=job, capture_output=True, timeout=batch.LATE)
    if done.returncode:
        raise RuntimeError(f"exit code {done.returncode}: {done.stderr.decode(errors='replace')[-1000:]}")
    return done.stdout


def _main() -> None:
    """Mark the notebook of the job that comes in, and write what is to be in its file."""
    torch.set_num_threads(1)  # a worker may have others beside it
    job = json.loads(sys.stdin.buffer.read())
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        root, result, notebook = Path(folder, "paper"), Path(folder, "result.json"), None
        for place, text in job["files"].items():
            path = root / place
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
        if job["notebook"] is not None:
            notebook = Path(folder, "notebook.ipynb")
            notebook.write_bytes(job["notebook"].encode("utf-8", "surrogateescape"))
        rules = marking.Assignment.load(job["name"], root)
        one = batch.Waiting(job["student"], notebook, job["stamp"], None, job["problem"])
        batch.mark(rules, job["name"], one, result)
        sys.stdout.buffer.write(result.read_bytes())


if __name__ == "__main__":
    _main()
