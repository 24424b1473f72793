"""What the benchmarks share: a clock that waits for the device, and how a result is written down."""

import datetime
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import LambdaCallback
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from aigc_course import training
from aigc_course.data.files import written_whole

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def clock() -> tuple[float, float]:
    """Return wall time and this process's CPU time, once the device has done what it was given."""
    if DEVICE == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter(), time.process_time()


def seconds(start: tuple[float, float], end: tuple[float, float]) -> tuple[float, float]:
    return end[0] - start[0], end[1] - start[1]


class Operations(TorchDispatchMode):
    """Counts, while it is entered, the operations of matrix products and convolutions, as PyTorch's counter does.

    That counter also asks which module does what, and then refuses gradients of gradients, as WGAN-GP needs them. On a
    CPU attention's own products are left out: PyTorch has no formula for that kernel.
    """

    total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        if func._overloadpacket in flop_registry:
            self.total += flop_registry[func._overloadpacket](*args, **kwargs, out_val=result)
        return result


def seconds_with_fit(model: pl.LightningModule, data: pl.LightningDataModule, epochs: int) -> tuple[float, float]:
    """Train by `training.fit`; return wall and CPU seconds of all epochs but a first, in which the machine warms up."""
    times: list[tuple[float, float]] = []  # at every epoch's start and at the end, so that setting up is left out
    watch = LambdaCallback(
        on_train_epoch_start=lambda *_: times.append(clock()), on_train_end=lambda *_: times.append(clock())
    )
    quiet: dict[str, Any] = {"limit_val_batches": 0, "enable_progress_bar": False}
    training.fit(model, data, max_epochs=1 + epochs, callbacks=[watch], **quiet)
    return seconds(times[1], times[-1])


def throughput(
    first: Callable[[], tuple[float, float]],
    second: Callable[[], tuple[float, float]],
    *,
    amount: int,
    pairs: int,
    names: tuple[str, str] = ("fit", "bare"),
    unit: str = "images",
) -> dict[str, Any]:
    """Run both alternately and return what they do in a second, and the first's speed over the second's, pair by pair.

    **Arguments:** `first`, `second`: work through `amount` units and return wall and CPU seconds.
    """
    rows = []
    for number in range(pairs):
        times = first(), second()
        speeds = {f"{name}_{unit}_per_s": round(amount / time[0]) for name, time in zip(names, times, strict=True)}
        ratios = {
            "ratio": round(times[1][0] / times[0][0], 3),
            "ratio_of_cpu_time": round(times[1][1] / times[0][1], 3),
        }
        rows.append({**speeds, **ratios})
        print(f"pair {number + 1}: " + "  ".join(f"{name} {value}" for name, value in rows[-1].items()), flush=True)
    medians = {name: statistics.median(row[name] for row in rows) for name in rows[0]}
    print("median: " + "  ".join(f"{name} {value}" for name, value in medians.items()), flush=True)
    return {"median": medians, "pairs": rows}


def circumstances(command: str) -> dict[str, Any]:
    """Return what a figure has to be read with: the command, the date, the device, the versions."""
    return {
        "command": command,
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "device": torch.cuda.get_device_name() if DEVICE == "cuda" else f"CPU, threads: {torch.get_num_threads()}",
        "versions": {"python": sys.version.split()[0], "torch": torch.__version__, "pytorch_lightning": pl.__version__},
    }


def write(target: Path, result: dict[str, Any]) -> None:
    """Write the result as JSON; whoever reads the file meanwhile finds the old one, whole."""
    with written_whole(target) as part:
        part.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def run_parts(parts: dict[str, Callable[[], dict[str, Any]]], script: str, target: Path) -> None:
    """Run the parts that the command line names, or all, and write each result into the target when it is there."""
    chosen = sys.argv[1:] or list(parts)
    for name in chosen:
        if name not in parts:
            raise SystemExit(f"There is no part {name!r}; there are {', '.join(parts)}.")
    for name in chosen:
        figures = parts[name]()
        known = json.loads(target.read_text(encoding="utf-8")) if target.exists() else {}
        known[name] = {**circumstances(f"python benchmarks/{script} {name}"), **figures}
        write(target, {part: known[part] for part in parts if part in known})
