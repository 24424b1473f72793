"""Marking by scenarios: it agrees with the other grader on every answer; what is dishonest or broken gets nothing."""

import copy
import json
import math
import os
import pickle
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import nbformat
import numpy as np
import pytest
import safetensors.torch
import torch
from nbformat import NotebookNode
from test_grading_sandbox import needs_sandbox
from typer.testing import CliRunner

from aigc_course.grading import batch, inside, marking, sandbox
from aigc_course.grading.cli import app
from aigc_course.grading.intake import intake
from aigc_course.grading.marking import Assignment, Marked, Mistake, close
from aigc_course.grading.notebooks import label

pytestmark = pytest.mark.once

ROOT = Path(__file__).parents[1]
NAMES = sorted(path.name.removesuffix("_asks.py") for path in (ROOT / "marking").glob("*_asks.py"))
SEED = "a seed"


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """One thread; and what a notebook's cell sets for all of PyTorch, it sets in this process."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
    torch.set_default_dtype(torch.float32)
    torch.set_grad_enabled(True)


@cache
def assignment_of(name: str) -> Assignment:
    return Assignment.load(name, ROOT)


@cache
def answers_of(name: str) -> ModuleType:
    return marking.module(ROOT / "tests" / "exercises" / f"{name}_wrong.py")


def handed_in(name: str, codes: dict[str, str]) -> NotebookNode:
    notebook = copy.deepcopy(assignment_of(name).solved)
    for cell in notebook.cells:
        code = codes.get(label(cell))
        if code is not None:
            cell.source = f"{cell.source}\n{code}" if label(cell) == "setup" else code
    return notebook


def here(job: bytes) -> sandbox.Outcome:
    """Run a job in this process: for the course's own answers, of which there are hundreds."""
    packed = inside.pack(inside.reply(json.loads(job)))
    return sandbox.Outcome("ok", 0, b"", b"", packed, 0.0, 0.0)


# --- Both graders agree ----------------------------------------------------------------------------------------------


def test_every_assignment_is_marked() -> None:
    assert sorted(path.stem for path in (ROOT / "notebooks" / "exercises").glob("*.py")) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_solution_gets_full_marks(name: str) -> None:
    assignment = assignment_of(name)
    marked = assignment.mark(assignment.solved, SEED, here)
    assert marked == Marked(assignment.full)
    assert set(assignment.full) == {check.replace("_", "-") for check in asks_of(assignment)}


def asks_of(assignment: Assignment) -> set[str]:
    names: dict[str, Any] = {}
    exec(assignment.asks, names)
    return {name for name in names if name.replace("_", "-") in assignment.full}


@pytest.mark.parametrize("name", NAMES)
def test_nothing_secret_is_in_the_asks(name: str) -> None:
    # No comparison and no tolerance: what comes out are raw values.
    for word in ("allclose", "isclose", "assert", "Mistake", "SOLUTION", "import_module", "marking"):
        assert word not in assignment_of(name).asks


@pytest.mark.parametrize(("name", "style"), [(n, s) for n in NAMES for s in [*answers_of(n).RIGHT, "otherwise"]])
def test_right_answer_in_another_style_gets_full_marks(name: str, style: str) -> None:
    codes = {**answers_of(name).RIGHT, "otherwise": answers_of(name).OTHERWISE}[style]
    assert assignment_of(name).mark(handed_in(name, codes), SEED, here) == Marked(assignment_of(name).full)


# The k-th wrong answers of all questions are handed in together, as to the other grader.
WRONG = [(name, k) for name in NAMES for k in range(max(map(len, answers_of(name).WRONG.values())))]


@cache
def wrong(name: str, k: int) -> tuple[dict[str, tuple[str, str, dict[str, float]]], Marked]:
    given = {question: answers[k] for question, answers in answers_of(name).WRONG.items() if k < len(answers)}
    codes = {question: code for question, (_, code, _) in given.items()}
    return given, assignment_of(name).mark(handed_in(name, codes), SEED, here)


@pytest.mark.parametrize(("name", "k"), WRONG)
def test_wrong_answers_get_what_the_other_grader_gives(name: str, k: int) -> None:
    given, marked = wrong(name, k)
    expected = {check: points for _, _, deserved in given.values() for check, points in deserved.items()}
    assert {check: marked.points[check] for check in expected} == expected
    assert not marked.problem
    assert set(marked.messages) == {check for check, points in marked.points.items() if not points}


@pytest.mark.parametrize("name", NAMES)
def test_wrong_answers_are_diagnosed(name: str) -> None:
    diagnoses = assignment_of(name).diagnoses
    for question, answers in answers_of(name).WRONG.items():
        full = {check: points for check, points in assignment_of(name).full.items() if check.startswith(f"{question}-")}
        assert set(diagnoses[question]) == {what for what, _, deserved in answers if deserved != full}
        assert all(says.endswith(".") for says in diagnoses[question].values())
    named = []
    for k in [k for other, k in WRONG if other == name]:
        given, marked = wrong(name, k)
        for question, (what, _, deserved) in given.items():
            messages = {marked.messages[check] for check, points in deserved.items() if not points}
            if messages:
                named.append(diagnoses[question][what] in messages)
    # The others look like one another, or stop with an error of their own.
    assert sum(named) > 0.75 * len(named)


# --- What comes out of the sandbox ------------------------------------------------------------------------------------


def test_data_come_back_as_they_went_in() -> None:
    data: dict[str, Any] = {
        "a": [torch.arange(6.0).view(2, 3), None, True, 1, 2.5, "text"],
        "b": {"type": "Module"},
        "c": [],
    }
    again = inside.unpack(inside.pack(data))
    assert torch.equal(again["a"].pop(0), data["a"].pop(0))
    assert again == data
    for number in (math.nan, math.inf):
        assert repr(inside.unpack(inside.pack({"x": number}))["x"]) == repr(number)


def test_what_is_not_data_comes_out_as_its_name() -> None:
    class Agrees(float):
        def __eq__(self, other: object) -> bool:
            return True

        __hash__ = float.__hash__

    class Sly(torch.Tensor):
        pass

    looped: list[Any] = []
    looped.append(looped)
    assert inside.plain(Agrees(3)) == {"type": "Agrees"}
    assert inside.plain({1: 2}) == inside.plain({"a": {1: 2}})["a"] == {"type": "dict"}
    assert type(inside.plain(torch.ones(2).as_subclass(Sly))) is torch.Tensor
    assert inside.pack(inside.plain(looped))
    assert torch.equal(inside.plain(np.float32(2)), torch.tensor(2.0))


@pytest.mark.parametrize(
    "packed",
    [
        b"",
        b"\0" * 100,
        pickle.dumps([1]),
        safetensors.torch.save({"0": torch.ones(1)}),
        safetensors.torch.save({}, {"data": '{"tensor": 5}'}),
        safetensors.torch.save({}, {"data": "[" * 100_000}),
        inside.pack({"a": torch.ones(3)})[:-1],
        inside.pack({"a": torch.ones(3)}) + b"more",
    ],
)
def test_anything_else_is_refused(packed: bytes) -> None:
    with pytest.raises(ValueError, match="not what the sandbox was to write"):
        inside.unpack(packed)


@pytest.mark.parametrize(
    ("given", "right", "says"),
    [
        (torch.ones(2), torch.ones(3), "shape"),
        ([1.0], 1.0, "form"),
        ({"a": 1.0}, {"b": 1.0}, "form"),
        ({"a": "x"}, {"a": 1.0}, "“a” takes a number"),
        ({"a": {"type": "Agrees"}}, {"a": torch.ones(1)}, "takes a tensor, not Agrees"),
        (math.nan, 1.0, "not what"),
        (math.nan, math.nan, "not what"),
        (torch.tensor([math.nan]), torch.ones(1), "not what"),
        (1.001, 1.0, "not what"),
        ("a", "b", "not what"),
        (None, 1.0, "takes a number, not NoneType"),
        (1.0, None, "not what"),
        (True, "True", "not what"),
    ],
)
def test_comparison_names_what_differs(given: Any, right: Any, says: str) -> None:
    with pytest.raises(Mistake, match=says):
        close(given, right)


def test_precision_and_kind_of_a_number_do_not_matter() -> None:
    for given in (1, 1.0, torch.tensor(1), torch.ones((), dtype=torch.float64), torch.ones((), dtype=torch.float16)):
        close(given, torch.ones(()))
        close({"a": [given]}, {"a": [1.0]})
    close(torch.tensor([math.inf]), torch.tensor([math.inf]))


# --- One submission, in the sandbox -----------------------------------------------------------------------------------

VAE = "vae"
PRELUDE = "import torch, math, sys, os\n"


def marked(codes: dict[str, str], extra: str = "", run: Any = None) -> Marked:
    notebook = handed_in(VAE, codes)
    if extra:
        notebook.cells.insert(3, nbformat.v4.new_code_cell(PRELUDE + extra))
    return assignment_of(VAE).mark(notebook, "another seed", run)


@needs_sandbox
def test_solution_gets_full_marks_in_the_sandbox() -> None:
    assert marked({}) == Marked(assignment_of(VAE).full)


@pytest.mark.parametrize(
    "code",
    [
        "raise SystemExit",
        "raise KeyboardInterrupt",
        "1 / 0",
        "print('x' * 10_000_000)",
        "%matplotlib inline\n!rm -rf /\n%%time\nx = 1",
        "import warnings; warnings.warn('a warning')",
        "class Evil(Exception):\n    def __str__(self): raise self\nraise Evil",
        "input('?')",
        "display(1)\nhelper = 2",
        "import threading, time\nthreading.Thread(target=lambda: time.sleep(5)).start()",
        "this is not Python",
        "torch.set_default_dtype(torch.float64)",
        "torch.set_grad_enabled(False)",
        "if True:\n        x = 1\n    y = 2",
    ],
)
def test_a_cell_of_the_students_own_costs_nothing(code: str) -> None:
    if code == "this is not Python":
        notebook = copy.deepcopy(assignment_of(VAE).solved)
        notebook.cells.insert(3, nbformat.v4.new_code_cell(code))
        result = assignment_of(VAE).mark(notebook, SEED, here)
    else:
        result = marked({}, code, here)
    assert result.points == assignment_of(VAE).full
    assert not result.messages


def test_a_slow_cell_and_a_slow_answer_are_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(marking, "SECONDS", 0.5)
    slow = "def kl_to_prior(*arguments):\n    while True:\n        pass"
    result = marked({"kl": slow}, "while True:\n    pass", here)
    assert list(result.cells.values()) == ["it took more than 0.5 seconds"]
    assert {look.split(":")[0] for look in result.looks} == {"kl", "a cell"}
    lost = {"kl-reduction", "kl-value"}  # not the checks of question 6, for which there is a stand-in
    assert {check for check, points in result.points.items() if not points} == lost
    assert "it took more than 0.5 seconds" in result.messages["kl-value"]


@needs_sandbox
def test_an_answer_that_ends_the_process_costs_its_own_question_only() -> None:
    result = marked({"elbo": "def elbo(*arguments):\n    import os\n    os._exit(0)"})
    assert {check for check, points in result.points.items() if not points} == {"elbo-pixel", "elbo-reduction"}
    assert "ended by itself" in result.messages["elbo-pixel"]
    assert not result.problem


@needs_sandbox
def test_a_cell_that_ends_the_process_leaves_nothing_and_says_so() -> None:
    result = marked({}, "os._exit(0)")
    assert not any(result.points.values())
    assert result.problem == "the process that ran it ended by itself"


@needs_sandbox
def test_a_cell_that_ends_the_process_costs_what_stands_below_it() -> None:
    checks = [label(cell) for cell in assignment_of(VAE).solved.cells]
    notebook = handed_in(VAE, {})
    notebook.cells.insert(checks.index("elbo-reduction") + 1, nbformat.v4.new_code_cell("import os\nos._exit(0)"))
    result = assignment_of(VAE).mark(notebook, SEED)
    above = {check for check in assignment_of(VAE).full if checks.index(check) <= checks.index("elbo-reduction")}
    assert {check for check, points in result.points.items() if points} == above
    assert not result.problem


@pytest.mark.parametrize("name", NAMES)
def test_each_check_asks_where_it_stands(name: str) -> None:
    assignment = assignment_of(name)
    notebook = copy.deepcopy(assignment.solved)
    defined = {
        word for step in assignment.steps(notebook) for word in re.findall(r"^def (\w+)", step.get("run", ""), re.M)
    }
    spoilt = " = ".join(sorted(defined)) + " = None"
    notebook.cells.append(nbformat.v4.new_code_cell(spoilt))
    assert assignment.mark(notebook, SEED, here) == Marked(assignment.full)
    notebook.cells.insert(3, notebook.cells.pop())
    assert assignment.mark(notebook, SEED, here) == Marked(assignment.full)


def test_what_stands_in_while_one_asks_is_gone_afterwards() -> None:
    asks = "def a_check(answers, draw):\n    return answers.f()\nb_check = a_check"
    steps = [{"run": "def f(): return 1"}, {"ask": "a-check"}, {"run": "before = f()\ndef g(): return before"}]
    again = [{"run": "f = g"}, {"ask": "b-check"}]
    job = {"given": [], "asks": asks, "seed": "", "seconds": 5, "stand_ins": "def f(): return 2"}
    assert inside.reply({**job, "steps": steps})["checks"] == {"a-check": {"data": 2}}
    assert inside.reply({**job, "steps": steps + again, "stand_ins": ""})["checks"]["b-check"] == {"data": 1}


def test_an_answer_that_swallows_the_alarm_is_stopped_all_the_same() -> None:
    stubborn = """
import time
def f():
    for _ in range(2):
        try:
            time.sleep(30)
        except BaseException:
            pass
    time.sleep(30)"""
    asks = "def a_check(answers, draw):\n    return answers.f()"
    job = {"given": [], "asks": asks, "seed": "", "seconds": 0.5, "stand_ins": ""}
    replies = inside.reply({**job, "steps": [{"run": stubborn}, {"ask": "a-check"}]})["checks"]
    assert replies == {"a-check": {"error": "it took more than 0.5 seconds"}}


# What dishonest answers try. Each defines kl_to_prior in some way that does not compute it, and gets nothing for it.
CHEATS = {
    "agrees with everything": """
class Agrees(torch.Tensor):
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    def __float__(self): return 0.0
def kl_to_prior(mu, *others): return torch.zeros(len(mu)).as_subclass(Agrees)""",
    "patches comparisons": """
import builtins
torch.allclose = torch.isclose = torch.equal = lambda *a, **k: True
torch.testing.assert_close = lambda *a, **k: None
builtins.abs = builtins.max = lambda *a, **k: 0
def kl_to_prior(mu, *others): return mu.sum(1)""",
    "patches what draws": """
torch.randn = lambda *shape, **k: torch.zeros(*shape, dtype=k.get("dtype"))
def kl_to_prior(mu, log_var, m, log_s2): return 0.5 * ((mu - m) ** 2).sum(1)""",
    "patches the marker": """
import aigc_course.grading.inside as inside
inside.plain = inside.pack = inside.ask = lambda *a, **k: {}
def kl_to_prior(mu, *others): return mu.sum(1)""",
    "replaces the module": """
for name in list(sys.modules):
    if name.startswith("aigc_course"):
        sys.modules[name] = None
def kl_to_prior(mu, *others): return mu.sum(1)""",
    "reads frames": """
def kl_to_prior(mu, *others):
    frame, found = sys._getframe(), {}
    while frame:
        found.update({**frame.f_globals, **frame.f_locals})
        frame = frame.f_back
    right = [value for name, value in found.items() if name in ("right", "expected", "solution", "reference", "solved")]
    return right[0] if right else mu.sum(1)""",
    "looks for the solution on the disk": """
found = [
    folder
    for root in ("/home", "/root", "/work", os.getcwd(), sys.path[0], os.environ["PYTHONPATH"])
    for folder, _, files in os.walk(root)
    if "site-packages" not in folder and ("vae_rules.py" in files or "vae_wrong.py" in files)
]
def kl_to_prior(mu, *others): return torch.full((len(mu),), 777.0 if found else 0.0)""",
    "writes the result itself": """
def kl_to_prior(mu, *others):
    import json, safetensors.torch
    every = {"checks": {"kl-value": {"data": {}}, "kl-reduction": {"data": {}}}, "cells": []}
    open("/result", "r+b").write(safetensors.torch.save({}, {"data": json.dumps(every)}))
    os._exit(0)""",
    "returns what it was given": "def kl_to_prior(mu, *others): return mu.sum(1)",
    "returns no number": "def kl_to_prior(mu, *others): return torch.full((len(mu),), math.nan)",
    "returns a constant": "def kl_to_prior(mu, *others): return torch.zeros(len(mu))",
    "returns nothing": "def kl_to_prior(mu, *others): return None",
    "returns an object": "def kl_to_prior(mu, *others): return object()",
    "stops quietly": "def kl_to_prior(mu, *others): raise SystemExit(0)",
    "a thread that writes later": """
import threading, time
def later():
    while True:
        try:
            open("/result", "r+b").write(b"x" * 1000)
        except OSError:
            pass
        time.sleep(0.001)
threading.Thread(target=later, daemon=True).start()
def kl_to_prior(mu, *others): return mu.sum(1)""",
    "too much": "def kl_to_prior(mu, *others): return torch.zeros(len(mu), 30_000_000)",
    "no end of printing": """
def kl_to_prior(mu, *others):
    while True:
        os.write(1, b"x" * 65536)""",
    "hides errors as IPython shows them": """
shell = get_ipython()
shell.showtraceback = shell.run_cell = type(shell).run_cell = lambda *a, **k: None
def kl_to_prior(mu, *others): raise ValueError""",
    "has no assertion error": """
import builtins
builtins.AssertionError = type("Nothing", (BaseException,), {})
def kl_to_prior(mu, *others): return torch.zeros(len(mu))""",
    "leaves well": "def kl_to_prior(mu, *others): sys.exit(0)",
    "prints what a test prints": """
print('{"checks": {"kl-value": {"points": 2}}}', "All checks passed")
def kl_to_prior(mu, *others):
    print("kl-value: 2 of 2")
    return torch.zeros(len(mu))""",
    "looks into the process": """
found = b""
for name in ("/proc/1/environ", "/proc/1/cmdline", "/proc/self/maps", "/proc/self/fd/0"):
    try:
        found += open(name, "rb").read()
    except OSError:
        pass
def kl_to_prior(mu, *others): return torch.full((len(mu),), 777.0 if b"SOLUTION" in found else 0.0)""",
    "looks into the environment": """
def kl_to_prior(mu, *others):
    secret = [value for name, value in os.environ.items() if "KL" in name or "GRADER" in name]
    return torch.full((len(mu),), float(secret[0]) if secret else 0.0)""",
    "looks at all objects": """
import gc
def kl_to_prior(mu, *others):
    tensors = [x for x in gc.get_objects() if isinstance(x, torch.Tensor) and x.shape == (len(mu),)]
    return tensors[0].double() if tensors else torch.zeros(len(mu))""",
    "writes into every open file": """
def kl_to_prior(mu, *others):
    for number in range(3, 60):
        try:
            os.write(number, b'{"kl-value": 2}')
        except OSError:
            pass
    return torch.zeros(len(mu))""",
    "calls for help": """
import socket, urllib.request
def kl_to_prior(mu, *others):
    for address in ("http://192.0.2.1/kl", "http://127.0.0.1:8888/kl"):
        try:
            return torch.tensor([float(urllib.request.urlopen(address, timeout=1).read())] * len(mu))
        except OSError:
            pass
    return torch.zeros(len(mu))""",
    "a socket in the scratch folder": """
import socket
listening = socket.socket(socket.AF_UNIX)
listening.bind("/tmp/s")
listening.listen()
def kl_to_prior(mu, *others): return torch.zeros(len(mu))""",
    "a fork bomb": """
def kl_to_prior(mu, *others):
    while True:
        os.fork()""",
    "a full disk": """
def kl_to_prior(mu, *others):
    with open("/tmp/full", "wb") as file:
        while True:
            file.write(bytes(2**20))""",
    "a full memory": "def kl_to_prior(mu, *others): return torch.ones(2**40)",
    "a function of its own for every operation": """
class Sly(torch.Tensor):
    @classmethod
    def __torch_function__(cls, function, types, arguments=(), options=None):
        return True
def kl_to_prior(mu, *others): return torch.zeros(len(mu)).as_subclass(Sly)""",
    "says that it is a tensor": """
class Claims:
    __class__ = torch.Tensor
    shape, dtype, requires_grad = torch.Size([1]), torch.float32, False
    def detach(self): return self
    def reshape(self, *shape): return self
def kl_to_prior(mu, *others): return Claims()""",
    "returns infinity": "def kl_to_prior(mu, *others): return torch.full((len(mu),), math.inf)",
    "returns complex numbers": "def kl_to_prior(mu, *others): return torch.zeros(len(mu), dtype=torch.complex64)",
    "returns text": "def kl_to_prior(mu, *others): return ['0.0'] * len(mu)",
    "returns itself in itself": """
def kl_to_prior(mu, *others):
    looped = []
    looped.append(looped)
    return looped""",
    "makes the inputs fit": """
def kl_to_prior(mu, log_var, prior_mu, prior_log_var):
    mu.copy_(prior_mu.expand_as(mu))
    log_var.copy_(prior_log_var.expand_as(log_var))
    return torch.zeros(len(mu))""",
    "spoils what writes": """
import json, safetensors.torch
json.dumps = lambda *a, **k: "{}"
safetensors.torch.save = lambda *a, **k: b""
def kl_to_prior(mu, *others): return torch.zeros(len(mu))""",
    "writes at the end": """
import atexit, json, safetensors.torch
def last():
    every = {"checks": {"kl-value": {"data": {"the divergence": [0.0] * 8}}}, "cells": []}
    open("/result", "r+b").write(safetensors.torch.save({}, {"data": json.dumps(every)}))
atexit.register(last)
def kl_to_prior(mu, *others): return torch.zeros(len(mu))""",
    "replaces what asks": """
import aigc_course.grading.inside as inside
main = sys.modules["__main__"]
for module in (inside, main):
    module.ask = lambda *a, **k: {"kl-value": {"data": {"the divergence": [0.0] * 8}}}
def kl_to_prior(mu, *others): return torch.zeros(len(mu))""",
    "counts its calls": """
calls = iter([0.0] * 1000)
def kl_to_prior(mu, *others): return torch.full((len(mu),), next(calls))""",
}


@needs_sandbox
@pytest.mark.parametrize("what", CHEATS)
def test_cheats_get_no_undeserved_point(what: str) -> None:
    result = marked({"kl": PRELUDE + CHEATS[what]})
    assert result.points["kl-value"] == 0
    # Where the sum over the dimensions is a sum, the points for the sum are deserved.
    if "sum(1)" not in CHEATS[what]:
        assert result.points["kl-reduction"] == 0
    assert "kl-value" in result.messages


@needs_sandbox
def test_the_solution_and_the_rules_are_not_there() -> None:
    look = CHEATS["looks for the solution on the disk"].split("def ")[0]
    code = f"{PRELUDE}{look}\ndef mistakes(): return 'BCFHJ' if not found else 'ADEGI'"
    assert marked({"mistakes": code}).points["mistakes-all"] == 2


def test_no_second_guess_where_no_stand_in_is_needed() -> None:
    """An answer can tell that a function of an earlier question is not its own; it must gain nothing from that."""
    assignment = assignment_of(VAE)
    right = next(cell.source for cell in assignment.solved.cells if label(cell) == "information")
    code = f"""{right}
_right, _mine = information, log_aggregate
def information(mu, log_var, eps):
    return torch.zeros(()) if log_aggregate is _mine else _right(mu, log_var, eps)"""
    guessed = assignment.mark(handed_in(VAE, {"information": code}), SEED, here)
    assert [check for check in assignment.full if not guessed.points[check]] == ["information-value"]
    # With a mistake in the earlier question the stand-in is there, for an honest answer too.
    aggregate = answers_of(VAE).WRONG["aggregate"][0][1]
    honest = assignment.mark(handed_in(VAE, {"aggregate": aggregate}), SEED, here)
    assert honest.points["information-value"] == assignment.full["information-value"]


def test_layers_that_pytorch_refuses_are_no_layers() -> None:
    up, down = [(1, 1, 0, 10), (1, 1, 0, 10), (1, 1, 0, 24)], [(7, 2, 0), (5, 2, 0), (7, 2, 0)]
    code = f"def choose_layers():\n    return {up}, {down}"
    marked = assignment_of("gan").mark(handed_in("gan", {"layers": code}), SEED, here)
    assert marked.points["layers-both"] == 0
    assert "output_padding must be smaller than stride" in marked.messages["layers-both"]


def test_gradients_of_zero_are_none() -> None:
    assignment, codes = assignment_of("gan"), {}
    for cell in assignment.solved.cells:
        if label(cell) in ("dstep", "gstep"):
            player = "discriminator" if label(cell) == "dstep" else "generator"
            head = cell.source.partition(":\n")[0]
            codes[label(cell)] = f"""{head}:
    for weight in {player}.parameters():
        weight.grad = torch.zeros_like(weight)"""
    points = assignment.mark(handed_in("gan", codes), SEED, here).points
    assert {check for check in points if check.split("-")[0] in codes and points[check]} == set()


def test_what_a_cell_says_cannot_steer_a_terminal() -> None:
    notebook = handed_in(VAE, {})
    notebook.cells.insert(0, nbformat.v4.new_code_cell("raise MemoryError('\\x1b[1A\\x1b]0;OWNED\\x07')"))
    looks = assignment_of(VAE).mark(notebook, SEED, here).looks
    assert looks == ["a cell: MemoryError:  [1A ]0;OWNED "]


@pytest.mark.parametrize(
    "forged",
    [
        {"checks": torch.ones(3), "cells": []},
        {"checks": {}, "cells": [f"allocate {i}" for i in range(1000)]},
        {"checks": [1], "cells": None},
        [1, 2],
    ],
)
def test_forged_results_are_named(forged: Any) -> None:
    outcome = sandbox.Outcome("ok", 0, b"", b"", inside.pack(forged), 0.0, 0.0)
    marked = assignment_of(VAE).mark(assignment_of(VAE).solved, SEED, lambda job: outcome)
    assert not sum(marked.points.values())
    assert marked.problem == "what came out of the process that ran it could not be read"


# --- A class ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def course(tmp_path: Path) -> Path:
    release = copy.deepcopy(assignment_of(VAE).solved)
    for cell in release.cells:
        if cell.metadata.get("nbgrader", {}).get("solution") and cell.cell_type == "code":
            cell.source = "raise NotImplementedError()"
        cell.source = re.sub("### BEGIN HIDDEN TESTS.*?### END HIDDEN TESTS", "", cell.source, flags=re.DOTALL)
    kl = answers_of(VAE).WRONG["kl"][0][1]
    sent = {
        "ada": handed_in(VAE, {}),
        "bob": handed_in(VAE, {"kl": kl}),
        "eve": handed_in(VAE, {"kl": "import os; os._exit(1)"}),
    }
    for student, notebook in sent.items():
        (tmp_path / "sent" / student).mkdir(parents=True)
        nbformat.write(notebook, tmp_path / "sent" / student / "vae.ipynb")
    (tmp_path / "sent" / "joe").mkdir()
    (tmp_path / "sent" / "joe" / "vae.ipynb").write_text("this is no notebook")
    intake(VAE, tmp_path / "sent", release, tmp_path / "course")
    return tmp_path / "course"


def files_of(course: Path) -> dict[str, Any]:
    return {path.stem: json.loads(path.read_text("utf-8")) for path in (course / "marked" / VAE).glob("*.json")}


@needs_sandbox
def test_a_class_is_marked_each_by_itself(course: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    result = CliRunner().invoke(app, ["run", VAE, "--course", str(course), "--jobs", "2"])
    assert result.exit_code == 1, result.output
    files = files_of(course)
    assert sorted(files) == ["ada", "bob", "eve", "joe"]
    full = assignment_of(VAE).full
    assert files["ada"]["points"] == full
    assert files["bob"]["points"] == {**full, "kl-value": 0}
    assert files["bob"]["messages"]["kl-value"] == assignment_of(VAE).diagnoses["kl"]["half missing"]
    assert {check for check, points in files["eve"]["points"].items() if points} == {"draw-value", "draw-noise"}
    assert "kl: the process that ran it ended by itself" in files["eve"]["looks"]
    assert files["joe"]["problem"] == "there is no notebook; see what intake says"
    assert all(content["sandbox"] for content in files.values())
    assert files["ada"]["by_hand"] == {"words": 4}
    assert len({content["seed"] for content in files.values()} - {""}) == 4

    # Again: nothing is marked anew but what could not be marked. A notebook that has changed is.
    before = {path: path.stat().st_mtime_ns for path in (course / "marked" / VAE).glob("[ab]*.json")}
    assert CliRunner().invoke(app, ["run", VAE, "--course", str(course)]).exit_code == 1
    assert {path: path.stat().st_mtime_ns for path in before} == before
    (course / "submitted" / VAE / "bob" / "notebook.ipynb").write_text(nbformat.writes(handed_in(VAE, {})), "utf-8")
    assert CliRunner().invoke(app, ["run", VAE, "--course", str(course)]).exit_code == 1
    changed = [path.stem for path, when in before.items() if path.stat().st_mtime_ns != when]
    assert changed == ["bob"]
    assert files_of(course)["bob"]["points"] == full


@needs_sandbox
def test_a_marking_that_is_killed_goes_on(course: Path) -> None:
    program = "from aigc_course.grading.cli import app; app()"
    command = [sys.executable, "-c", program, "run", VAE, "--course", str(course), "--jobs", "1"]
    for seconds in (4, 8):
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(seconds)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        for content in files_of(course).values():  # whole, whatever there is
            assert content["points"].keys() == assignment_of(VAE).full.keys()
    time.sleep(1)
    assert subprocess.run(command, cwd=ROOT, capture_output=True).returncode == 1
    full = assignment_of(VAE).full
    assert {student: content["points"] for student, content in files_of(course).items()} == {
        "ada": full,
        "bob": {**full, "kl-value": 0},
        "eve": {check: points if check.startswith("draw-") else 0 for check, points in full.items()},
        "joe": dict.fromkeys(full, 0),
    }


def test_without_a_sandbox_the_marks_say_so(course: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unavailable() -> None:
        raise sandbox.SandboxUnavailable("The program bwrap is not there.")

    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sandbox, "check", unavailable)
    refused = CliRunner().invoke(app, ["run", VAE, "--course", str(course)])
    assert refused.exit_code == 2
    assert "bwrap is not there" in refused.output
    assert not (course / "marked").exists()
    result = CliRunner().invoke(app, ["run", VAE, "--course", str(course), "--no-sandbox"])
    assert result.exit_code == 1
    assert "without a sandbox" in result.output
    files = files_of(course)
    assert not any(content["sandbox"] for content in files.values())
    assert files["ada"]["points"] == assignment_of(VAE).full


@pytest.mark.parametrize(
    ("arguments", "says"), [(["run", "vae"], "nothing has been taken in"), (["run", "ghost"], "nothing has been taken")]
)
def test_what_cannot_be_marked_is_said(arguments: list[str], says: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, [*arguments, "--course", str(tmp_path)])
    assert result.exit_code == 2
    assert says in result.output


def test_an_unknown_assignment_is_named(course: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT / "tests")
    with pytest.raises(batch.MarkingError, match="run this in the folder of the course's repository"):
        list(batch.mark_class(VAE, course, sandboxed=False))
