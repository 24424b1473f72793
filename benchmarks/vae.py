"""Measure the VAE: `training.fit` against a bare PyTorch loop, and time and memory against the batch size.

Run from the repository's root: python benchmarks/vae.py. The results go to the terminal and to benchmarks/vae.json.
"""

import json
import resource
import statistics
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import common
import torch
from common import DEVICE, clock, seconds

from aigc_course import vae
from aigc_course.data import ImageData, random_affine

PAIRS, EPOCHS = 9, 8
BATCH_SIZES = (10, 30, 100, 300, 1000, 3000)


def with_fit(data: ImageData, settings: dict[str, Any]) -> tuple[float, float]:
    """Train the way the chapters do."""
    return common.seconds_with_fit(vae.VAE(**settings["model"]), data, EPOCHS)


def with_bare_loop(data: ImageData, settings: dict[str, Any]) -> tuple[float, float]:
    """Do the same with nothing but PyTorch."""
    model = vae.VAE(**settings["model"]).to(DEVICE)
    loader = data.train_dataloader()
    optimizer = torch.optim.Adam(model.parameters(), lr=model.learning_rate)
    steps = (1 + EPOCHS) * len(loader)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, model.learning_rate, steps, pct_start=0.1)
    start = clock()
    for epoch in range(1 + EPOCHS):
        if epoch == 1:
            start = clock()
        for images, _ in loader:
            x = random_affine(images.to(DEVICE), **data.augmentation).clamp(0, 1)
            log_likelihood, kl = model(x)
            loss = (model.beta * kl - log_likelihood).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return seconds(start, clock())


def throughput() -> dict[str, Any]:
    """Run both alternately and return their images a second, pair by pair."""
    settings = vae.recipe("auto")
    data = ImageData(**settings["data"])
    return common.throughput(
        partial(with_fit, data, settings),
        partial(with_bare_loop, data, settings),
        amount=EPOCHS * len(data.split("train")[0]),
        pairs=PAIRS,
    )


def peak_mib() -> float:
    if DEVICE == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    status = Path("/proc/self/status")
    if status.exists():  # Linux, whose getrusage counts the parent's peak for the child's
        return int(status.read_text().split("VmHWM:")[1].split()[0]) / 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # macOS


def one_batch_size(size: int) -> dict[str, float]:
    """Train on batches of this size; return milliseconds an image, and memory above what was there before."""
    model = vae.VAE(**vae.recipe("auto")["model"]).to(DEVICE)
    optimizer = torch.optim.Adam(model.parameters())
    steps = max(6, 3000 // size)
    before, times = peak_mib(), []
    for _ in range(1 + steps):
        start = clock()
        log_likelihood, kl = model(torch.rand(size, 1, 28, 28, device=DEVICE))
        optimizer.zero_grad()
        (kl - log_likelihood).mean().backward()
        optimizer.step()
        times.append(seconds(start, clock())[0])
    milliseconds = 1000 * statistics.median(times[1:]) / size  # the first step allocates
    return {"batch_size": size, "ms_per_image": round(milliseconds, 4), "peak_mib": round(peak_mib() - before)}


def batch_sizes() -> list[dict[str, float]]:
    """Measure every batch size in a process of its own: a peak, once reached, never sinks."""
    rows = []
    for size in BATCH_SIZES:
        child = subprocess.run([sys.executable, __file__, str(size)], check=True, stdout=subprocess.PIPE, text=True)
        rows.append(json.loads(child.stdout))
        print(child.stdout, end="", flush=True)
    return rows


def main() -> None:
    figures = {"throughput": throughput(), "batch_sizes": batch_sizes()}
    common.write(Path(__file__).with_suffix(".json"), {**common.circumstances("python benchmarks/vae.py"), **figures})


if __name__ == "__main__":
    main() if len(sys.argv) == 1 else print(json.dumps(one_batch_size(int(sys.argv[1]))))
