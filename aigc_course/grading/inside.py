"""What runs inside the sandbox: a student's cells, and then calls of their answers, whose results come out as data.

    python -m aigc_course.grading.inside RESULT < job.json

The functions that make the calls are the assignment's **asks** (`marking/NAME_asks.py`). Each draws inputs from a seed
and returns what the answers made of them: tensors, numbers, texts, and lists and dictionaries of these. No expected
value, no comparison and no solution is in here. The trusted process asks its own solution in the same way, with the
same functions of this module, and compares (`aigc_course.grading.marking`).

Everything here shares a process with the student's code and can be changed by it. It is convenient for honest answers,
such as when a cell runs for ever; what holds against dishonest ones is the sandbox, and that the results have to be
right for a seed that nobody knew before.
"""

import contextlib
import hashlib
import json
import os
import re
import signal
import sys
import types
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import Tensor

# Characters of an error's message that come out, and the depth of nested data.
MESSAGE, DEPTH = 300, 8


class Answers:
    """The functions of a notebook, as attributes: those that the assignment gives, and of the others the student's."""

    def __init__(self, given: Mapping[str, Any], names: Mapping[str, Any]) -> None:
        self._given, self._names = given, names

    def __getattr__(self, name: str) -> Any:
        if name in self._given:
            return self._given[name]
        if name not in self._names:
            raise NameError(f"there is no {name} in the notebook")
        return self._names[name]


class TooSlow(BaseException):
    """A cell or a call took longer than allowed. Not an Exception, so that `except Exception` does not swallow it."""


class _Shell:
    """What `get_ipython()` returns: the commands of a notebook do nothing here, and a cell under one just runs."""

    def __init__(self, names: dict[str, Any]) -> None:
        self._names = names

    def run_cell_magic(self, name: str, line: str, cell: str) -> None:
        if name in ("time", "timeit", "capture", "prun"):
            _execute(cell, self._names)

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *arguments, **options: None


def run_cells(cells: Iterable[str], seconds: int | float) -> tuple[dict[str, Any], list[str]]:
    """Run code cells one after the other, as a notebook does; return what they defined, and each cell's error or "".

    Args:
        cells: Python, IPython's own syntax already translated.
        seconds: After so much time a cell is stopped, and the next begins.
    """
    names = _nothing_yet()
    return names, [_run_cell(cell, names, seconds) for cell in cells]


def _nothing_yet() -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": "__main__"}
    names["get_ipython"] = lambda: _Shell(names)
    names["display"] = lambda *shown, **how: None
    return names


def _run_cell(cell: str, names: dict[str, Any], seconds: int | float) -> str:
    with _quiet():
        return _tried(partial(_execute, cell, names), seconds)[1]


def ask(
    asks: types.ModuleType, checks: Iterable[str], answers: Answers, seed: str, seconds: int | float
) -> dict[str, Any]:
    """Ask the answers, check by check; return for each `{"data": …}`, or `{"error": "what went wrong"}`.

    Args:
        asks: The module of asks. For a check `kl-value` it has a function `kl_value(answers, draw)`.
        checks: The grade_ids of the checks to ask for.
        answers: Whom to ask.
        seed: From it and the check's name comes the seed of `draw`, a generator of torch's.
        seconds: After so much time an ask is stopped.
    """
    replies = {}
    for check in checks:
        number = int.from_bytes(hashlib.sha256(f"{seed} {check}".encode()).digest()[:7], "big")
        draw = torch.Generator().manual_seed(number)
        torch.manual_seed(number)
        asked = getattr(asks, check.replace("-", "_"))
        with _quiet(), _as_at_first():
            value, error = _tried(partial(_plain_reply, asked, answers, draw), seconds)
        replies[check] = {"error": error} if error else {"data": value}
    return replies


def module_of(source: str) -> types.ModuleType:
    """Return the module of asks that has this source."""
    asks = types.ModuleType("asks")
    exec(compile(source, "<asks>", "exec"), asks.__dict__)
    return asks


def gradients(value: Any, inputs: Sequence[Tensor]) -> list[Tensor | None]:
    """Return the gradients of a number with respect to the inputs; None for an input that it does not depend on."""
    if not isinstance(value, Tensor) or not value.requires_grad:
        return [None] * len(inputs)
    return list(torch.autograd.grad(value.sum(), inputs, allow_unused=True, retain_graph=True))


def plain(value: Any, depth: int = DEPTH) -> Any:
    """Return a value as data: tensors detached and on the CPU, arrays as tensors, all else as its type's name.

    What is not data comes out as `{"type": "its name"}`.
    """
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, np.ndarray | np.generic):
        with contextlib.suppress(TypeError):
            value = torch.as_tensor(np.asarray(value))
    if isinstance(value, Tensor):
        dense = value.detach().as_subclass(Tensor).cpu()
        return (dense.to_dense() if dense.layout != torch.strided else dense).clone().contiguous()
    if isinstance(value, list | tuple) and depth:
        return [plain(each, depth - 1) for each in value]
    if isinstance(value, dict) and depth and all(type(name) is str for name in value):
        return {name: plain(each, depth - 1) for name, each in value.items()}
    return {"type": type(value).__name__}


def pack(data: Any) -> bytes:
    """Return data as bytes in the format of safetensors: the tensors, and all else as JSON in the header."""
    tensors: dict[str, Tensor] = {}

    def without(value: Any) -> Any:
        if isinstance(value, Tensor):
            tensors[str(len(tensors))] = value
            return {"tensor": len(tensors) - 1}
        if isinstance(value, list):
            return [without(each) for each in value]
        if isinstance(value, dict):
            return {name: without(each) for name, each in value.items()}
        return value

    return safetensors.torch.save(tensors, {"data": json.dumps(without(data))})


def unpack(packed: bytes) -> Any:
    """Return what `pack` was given. Nothing in it can run.

    Raises:
        ValueError: if it is not such data.
    """
    try:
        tensors = safetensors.torch.load(packed)
        header = json.loads(packed[8 : 8 + int.from_bytes(packed[:8], "little")])
        content = json.loads(header["__metadata__"]["data"])

        def full(value: Any) -> Any:
            if isinstance(value, dict) and value.keys() == {"tensor"}:
                return tensors[str(value["tensor"])]
            if isinstance(value, dict):
                return {name: full(each) for name, each in value.items()}
            return [full(each) for each in value] if isinstance(value, list) else value

        return full(content)
    except Exception as error:  # whatever the bytes make the readers raise
        raise ValueError(f"this is not what the sandbox was to write: {type(error).__name__}") from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        nowhere = stack.enter_context(open(os.devnull, "w"))
        stack.enter_context(contextlib.redirect_stdout(nowhere))
        stack.enter_context(contextlib.redirect_stderr(nowhere))
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        yield


@contextlib.contextmanager
def _as_at_first() -> Iterator[None]:
    """Whatever a cell has set for all of PyTorch is as at first, and afterwards as the cell has set it."""
    dtype = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        with torch.enable_grad(), torch.device("cpu"):
            yield
    finally:
        torch.set_default_dtype(dtype)


def _tried(call: Callable[[], Any], seconds: int | float) -> tuple[Any, str]:
    """Return what a call returns and "", or None and what went wrong."""

    def stop(*_: Any) -> None:
        raise TooSlow

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds, 1)  # once more every second, if the code swallows it
    try:
        return call(), ""
    except TooSlow:
        return None, f"it took more than {seconds:g} seconds"
    except BaseException as error:  # SystemExit and KeyboardInterrupt, too
        return None, _said(error)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _execute(cell: str, names: dict[str, Any]) -> None:
    exec(compile(cell, "<cell>", "exec"), names)


def _plain_reply(asked: Callable[..., Any], answers: Answers, draw: torch.Generator) -> Any:
    return plain(asked(answers, draw))


def _said(error: BaseException) -> str:
    try:
        message = str(error)
    except BaseException:
        message = ""
    message = re.sub(r"\s+", " ", message)[:MESSAGE]
    return f"{type(error).__name__}: {message}" if message else type(error).__name__


def reply(job: Mapping[str, Any]) -> dict[str, Any]:
    """Run a job: the assignment's cells, and then the student's, with the asks where the notebook has its checks.

    Args:
        job: `given`, the code cells that the assignment gives; `steps`, the student's notebook from top to bottom,
            where `{"run": source}` is a cell and `{"ask": check}` a check; `stand_ins`, functions that take the place
            of the student's while one asks (none where they are themselves asked); `asks`, the source of the asks;
            `seed` as in `ask`; `seconds` for each cell and each ask.

    Returns:
        `{"checks": {check: {"data": …} or {"error": "…"}}, "cells": [each cell's error, or ""]}`.
    """
    seconds, asks = job["seconds"], module_of(job["asks"])
    given, _ = run_cells(job["given"], seconds)
    names, errors = _nothing_yet(), []
    replies: dict[str, Any] = {}
    for step in job["steps"]:
        if "run" in step:
            errors.append(_run_cell(step["run"], names, seconds))
        else:
            own = dict(names)
            _run_cell(job["stand_ins"], names, seconds)
            replies |= ask(asks, [step["ask"]], Answers(given, names), job["seed"], seconds)
            names.clear()
            names.update(own)
    return {"checks": replies, "cells": errors}


if __name__ == "__main__":
    packed = pack(reply(json.load(sys.stdin)))
    with open(sys.argv[1], "r+b") as file:
        file.write(packed)
    os._exit(0)  # without waiting for a thread that a cell has left running
