"""Set up the environment that Make works in, or repair one that was interrupted, copied or moved.

python3 tools/environment.py .venv

It runs before anything is installed, on whatever Python the machine has: its syntax is that of Python 3.6.
"""

import fcntl
import importlib.util
import os
import subprocess
import sys
from pathlib import Path


def check_python() -> None:
    """Leave with a sentence if this Python is one that the course cannot use."""
    found = "{} is Python {}.{}.{}".format(sys.executable, *sys.version_info)
    if not (3, 11) <= sys.version_info[:2] <= (3, 13):
        sys.exit(
            f"Python 3.11, 3.12 or 3.13 is needed (3.14 is not supported yet); {found}.\n"
            "If you have another one, name it: make SYSTEM_PYTHON=python3.13"
        )
    if importlib.util.find_spec("ensurepip") is None:
        package = "python{}.{}-venv".format(*sys.version_info)
        sys.exit(f"{found} without the part that makes environments. On Debian and Ubuntu: apt install {package}")


def check_path() -> None:
    """Leave with a sentence if the checkout's path has characters that the scripts in an environment cannot hold."""
    found = [character for character in '"$`\\:\n' if character in os.getcwd()]
    if found:
        held = " and ".join(found)
        sys.exit(f"The path of this folder, {os.getcwd()}, holds {held}: scripts cannot name it. Rename it.")


def check_folder(environment: Path, recorded: str) -> None:
    """Leave with a sentence if the folder holds something that must not be cleared."""
    if not environment.exists() or recorded == os.getcwd():
        return
    if any(environment.iterdir()) and not (environment / "pyvenv.cfg").exists():
        sys.exit(f"{environment} is not empty and not an environment. Delete it, or name another: make VENV=.venv")
    if Path.cwd() not in environment.resolve().parents:
        owner = f"belongs to {recorded}" if recorded else "was not set up by this checkout"
        sys.exit(f"The environment {environment} {owner}. Delete it, or name another: make VENV=.venv")


def set_up(environment: Path) -> None:
    """Make the environment, or bring it up to date; its stamp `.ready` then holds the path of the checkout.

    Scripts in an environment, and its link to the package, hold absolute paths: one that was copied or moved with its
    checkout would run the code of the old one. Such an environment is made anew, like one without a stamp, which was
    interrupted while packages were installed.
    """
    stamp, python = environment / ".ready", environment / "bin" / "python"
    recorded = stamp.read_text() if stamp.exists() else ""
    # The link to a Python that was removed from the machine does not "exist".
    usable = recorded == os.getcwd() and python.exists()
    inputs = [Path("requirements.txt"), Path("pyproject.toml")]
    if usable and all(stamp.stat().st_mtime >= path.stat().st_mtime for path in inputs):
        return  # another call of Make has done it while this one waited
    check_folder(environment, recorded)
    print(f"Setting up the environment in {environment} …", flush=True)
    if usable:
        stamp.unlink()
    else:
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(environment)], check=True)
    # Isolated (-I): packages that PYTHONPATH or the user's own folder has would count as installed.
    pip = [str(python), "-I", "-m", "pip", "install", "--disable-pip-version-check"]
    subprocess.run([*pip, "--requirement", "requirements.txt"], check=True)
    # The build system is among the packages just installed.
    subprocess.run([*pip, "--no-deps", "--no-build-isolation", "--editable", "."], check=True)
    stamp.write_text(os.getcwd())


def main() -> None:
    """Read the command line; of two calls at once, one works and the other waits."""
    check_python()
    check_path()
    environment = Path(sys.argv[1])
    with open("requirements.txt", "r+") as lock:  # network file systems lock only what is open for writing
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("Another call of make is setting up the environment; waiting for it …", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            set_up(environment)
        except subprocess.CalledProcessError as error:
            failed = " ".join(error.cmd)
            sys.exit(
                f"The environment {environment} is not ready, since this failed: {failed}\nCall make again to go on."
            )


if __name__ == "__main__":
    main()
