"""The environment in which notebooks run when the book is made, checked or graded: none of a person's settings acts."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# What belongs to the machine, not to a person's taste: where libraries are, which GPUs may be used, the way to the
# network, and what older OpenBLAS must be told about processors on which it computes wrong results otherwise.
_PASSED = [
    "LD_LIBRARY_PATH",
    "CUDA_VISIBLE_DEVICES",
    "CUDA_DEVICE_ORDER",
    "OPENBLAS_CORETYPE",
    "OPENBLAS_L2_SIZE",
    "NVPL_BLAS_DEBUG_CPU_TYPE",
    *(name for proxy in ("http_proxy", "https_proxy", "all_proxy", "no_proxy") for name in (proxy, proxy.upper())),
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "SYSTEMROOT",  # without it Windows opens no socket
]


def clean_environment(folder: Path, python: str | Path = sys.executable) -> dict[str, str]:
    """Return the environment variables, all of them, of notebooks that run by `python`.

    They have an empty home in `folder`, a cache of the course's files of their own (`AIGC_COURSE_DATA`), and one
    kernel, `python3`, which is `python`, whatever kernels are installed. The settings of Python, IPython, Jupyter,
    matplotlib and PyTorch, the locale, the time zone and the number of threads are the same for everybody.

    `folder` is made if it is missing.
    """
    folder = folder.resolve()
    kernel, fonts = folder / "jupyter" / "kernels" / "python3", folder / "matplotlib"
    for made in (folder / "home", kernel, fonts):
        made.mkdir(parents=True, exist_ok=True)
    argv = [str(python), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    spec = {"argv": argv, "display_name": "Python 3 (ipykernel)", "language": "python"}
    (kernel / "kernel.json").write_text(json.dumps(spec), encoding="utf-8")
    variables = {
        **{name: os.environ[name] for name in _PASSED if name in os.environ},
        # The environment's own programs come first.
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
        "HOME": str(folder / "home"),
        "TMPDIR": tempfile.gettempdir(),
        "LANG": "C.UTF-8",
        "TZ": "UTC",
        "PYTHONUTF8": "1",
        "PYTHONNOUSERSITE": "1",
        "PYTHONHASHSEED": "0",
        "JUPYTER_PATH": str(folder / "jupyter"),
        "MPLCONFIGDIR": str(fonts),
        # The number of threads changes a loss in its seventh digit. Those that wait must sleep, not spin: on a busy
        # machine spinning made the same training many times slower.
        "OMP_NUM_THREADS": "1",
        "OMP_WAIT_POLICY": "passive",
        "AIGC_COURSE_QUIET": "1",
        "AIGC_COURSE_DATA": str(folder / "cache"),
    }
    # Listing the machine's fonts can take long, and then matplotlib says so on stderr: once, and not in a cell.
    shared = ROOT / "build" / "fonts" / version("matplotlib")
    if not shared.exists():
        command = [python, "-c", "import matplotlib.font_manager"]
        subprocess.run(command, env=variables, cwd=folder, stderr=subprocess.DEVNULL, check=True)
        part = shared.with_name(f".{shared.name}.{os.getpid()}")
        shutil.copytree(fonts, part, dirs_exist_ok=True)
        try:
            part.rename(shared)
        except OSError:  # another run was faster
            shutil.rmtree(part)
    shutil.copytree(shared, fonts, dirs_exist_ok=True)
    return variables
