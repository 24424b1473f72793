"""What all tests share: a cache directory of their own, quiet training, fixed seeds."""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import matplotlib as mpl
import pytest
import torch

import aigc_course

ROOT = Path(__file__).parents[1]
MAKE_VARIABLES = re.findall(r"^(\w+) \?=", (ROOT / "Makefile").read_text(), re.MULTILINE)


@pytest.fixture(scope="session", autouse=True)
def course_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Give the session an empty cache, plus the files of ../shared/data where that folder exists (in our CI)."""
    folder = tmp_path_factory.mktemp("cache")
    for pattern in ("t10k-*.gz", "tinyshakespeare.txt"):
        for file in (ROOT.parent / "shared" / "data").glob(pattern):
            shutil.copyfile(file, folder / file.name)
    # A shell ignores it for what runs in its background, and then nothing can be stopped.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    threads = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIGC_COURSE_DATA", str(folder))
        patch.setenv("AIGC_COURSE_QUIET", "1")
        patch.delenv("AIGC_COURSE_RESULTS", raising=False)
        patch.setenv("OMP_NUM_THREADS", "1")  # for child processes
        # What the Make that runs these tests hands on to those it does not know of: its jobs, and the variables it was
        # called with.
        for name in os.environ:
            if name.startswith(("MAKE", "MFLAGS")) or name in MAKE_VARIABLES:
                patch.delenv(name)
        torch.set_num_threads(1)  # sums depend on the number of threads in their last digits
        mpl.use("Agg")
        yield folder
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.fixture
def python() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start another Python, which finds the package where this one found it; it ends with the test at the latest."""
    children = []

    def start(*arguments: str) -> subprocess.Popen[str]:
        paths = [str(Path(aigc_course.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
        pipe = subprocess.PIPE
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
        child = subprocess.Popen(
            [sys.executable, *arguments], env=environment, stdin=pipe, stdout=pipe, stderr=pipe, text=True
        )
        children.append(child)
        return child

    yield start
    for child in children:
        with child:  # closes the pipes and waits
            child.kill()
