"""The CPU sprint: what is the best guess at Shakespeare's next character after 300 CPU-seconds on one thread?

Run from the repository's root: python benchmarks/sprint.py NAME checks the entry benchmarks/sprint/NAME.py with five
seeds and, if it keeps the rules, writes its row into aigc_course/benchmarks/sprint.json. --seeds 1 is a trial: nothing
is written.

An entry is one file with a number STEPS and a function

    train(tokens, vocab_size, seed, steps=STEPS) -> torch.nn.Module

that gets the first nine tenths of tinyshakespeare as a row of numbers, one for each of its 65 characters. The model it
returns has an attribute `context`, and turns tokens of shape (batch, time ≤ context) into logits (batch, time, 65). The
rules, all checked here:

- `train` takes at most 300 seconds of processor time on one thread, and no other process;
- the model has at most a million numbers, buffers included;
- no logit depends on a later token;
- what counts is the mean of -log p, in nats, over the whole last tenth, read in windows of `context` side by side.

Seconds depend on the machine, so the operations of the training are counted too, as PyTorch counts them (matrix
products; on a CPU without attention's own work).
"""

import argparse
import importlib.util
import json
import multiprocessing
import os
import resource
import statistics
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any

import common
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from aigc_course.data import TextData

FOLDER = Path(__file__).parent / "sprint"
TARGET = Path(__file__).parents[1] / "aigc_course" / "benchmarks" / "sprint.json"
BUDGET, MOST_WEIGHTS, SEEDS = 300.0, 1_000_000, 5


class RuleBroken(Exception):
    """The entry does not keep a rule; the message says which, and by how much."""


def load(path: Path) -> ModuleType:
    """Return the entry as a module. Raises `RuleBroken` if it is no entry."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if not path.is_file() or spec is None or spec.loader is None:
        raise RuleBroken(f"there is no file {path}.")
    entry = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(entry)
    if not callable(getattr(entry, "train", None)) or not isinstance(getattr(entry, "STEPS", None), int):
        raise RuleBroken(f"{path.name} needs a function `train` and a whole number `STEPS`.")
    return entry


def texts() -> tuple[Tensor, Tensor, int]:
    """Return what is trained on, what is judged on, and the number of different characters."""
    data = TextData("shakespeare", context=64, batch_size=1)
    held_out = torch.cat([data.tokens["validation"], data.tokens["test"]])
    return data.tokens["train"], held_out, data.tokenizer.vocab_size


def check_model(model: nn.Module, vocab_size: int) -> int:
    """Return the count of the model's numbers. Raises `RuleBroken` for too many, and where a logit sees ahead."""
    context = getattr(model, "context", None)
    if not isinstance(context, int) or context < 2:
        raise RuleBroken(f"the model's `context` is {context!r}; it takes a whole number from 2.")
    stored = {tensor.data_ptr(): tensor.numel() for tensor in [*model.parameters(), *model.buffers()]}
    weights = sum(stored.values())
    if weights > MOST_WEIGHTS:
        raise RuleBroken(f"the model has {weights:,} numbers; at most {MOST_WEIGHTS:,} are allowed.")
    model.eval()
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(vocab_size, (4, context), generator=generator)
    with torch.no_grad():
        logits = model(tokens)
        if logits.shape != (4, context, vocab_size):
            raise RuleBroken(f"logits have the shape {tuple(logits.shape)}; (4, {context}, {vocab_size}) was due.")
        for kept in {1, context // 2, context - 1}:
            changed = torch.cat([tokens[:, :kept], (tokens[:, kept:] + 1) % vocab_size], dim=1)
            moved = float((model(changed)[:, :kept] - logits[:, :kept]).abs().max())
            if moved > 1e-3:
                raise RuleBroken(f"with other tokens from position {kept} on, earlier logits move by {moved:.3g}.")
    return weights


@torch.no_grad()
def judge(model: nn.Module, tokens: Tensor) -> float:
    """Return the mean of -log p over all tokens but the first, in nats, windows side by side."""
    model.eval()
    context, total = int(model.context), 0.0  # type: ignore[arg-type]
    for start in range(0, len(tokens) - 1, context):
        x, y = tokens[start : start + context][None], tokens[start + 1 : start + context + 1]
        logits = model(x)[0, : len(y)].double()
        total += float(F.cross_entropy(logits, y, reduction="sum"))
    return total / (len(tokens) - 1)


def one_run(path: Path, seed: int, steps: int | None, queue: Any) -> None:
    """Train and judge one model; put the row, or the rule that was broken, into the queue."""
    try:
        torch.set_num_threads(1)
        train_tokens, held_out, vocab_size = texts()
        entry = load(path)
        before = used()
        model = entry.train(train_tokens, vocab_size, seed, **({} if steps is None else {"steps": steps}))
        seconds = used() - before
        if seconds > BUDGET:
            raise RuleBroken(f"training took {seconds:.0f} CPU-seconds; {BUDGET:.0f} are allowed.")
        weights = check_model(model, vocab_size)
        nats = judge(model, held_out)
        queue.put({"seed": seed, "nats": round(nats, 4), "cpu_seconds": round(seconds, 1), "weights": weights})
    except RuleBroken as broken:
        queue.put(str(broken))


def used() -> float:
    """Processor time of this process, all its threads, and its children, in seconds."""
    here, below = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return here.ru_utime + here.ru_stime + below.ru_utime + below.ru_stime


def run(path: Path, seed: int, steps: int | None = None) -> dict[str, Any]:
    """Return the row of one seed, made in a process of its own. Raises `RuleBroken`."""
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    worker = context.Process(target=one_run, args=(path, seed, steps, queue))
    worker.start()
    worker.join()
    if worker.exitcode or queue.empty():
        raise RuleBroken(f"the run with seed {seed} ended with status {worker.exitcode}; its error stands above.")
    row = queue.get()
    if isinstance(row, str):
        raise RuleBroken(row)
    return dict(row)


def operations(path: Path) -> float:
    """Return the operations of the whole training: the third step's, times the number of steps."""
    entry, (tokens, _, vocab_size) = load(path), texts()
    counts = []
    for steps in (2, 3):
        with FlopCounterMode(display=False) as counter:
            entry.train(tokens, vocab_size, 0, steps=steps)
        counts.append(counter.get_total_flops())
    return float((counts[1] - counts[0]) * entry.STEPS)


def check(name: str, seeds: int) -> dict[str, Any]:
    """Run an entry with some seeds and return its row of the table. Raises `RuleBroken`."""
    path, runs = FOLDER / f"{name}.py", []
    entry = load(path)
    for seed in range(seeds):
        runs.append(run(path, seed))
        print(json.dumps(runs[-1]), flush=True)
    nats = [row["nats"] for row in runs]
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True)
    return {
        "name": name,
        "what": (entry.__doc__ or name).strip().splitlines()[0],
        "commit": commit.stdout.strip(),
        "nats": round(statistics.mean(nats), 4),
        "spread": round(max(nats) - min(nats), 4),
        "operations": operations(path),
        "runs": runs,
        **common.circumstances(f"python benchmarks/sprint.py {name}"),
    }


def main() -> int:
    """Check one entry; with all seeds, write its row."""
    parser = argparse.ArgumentParser(description="Check an entry of the CPU sprint.")
    parser.add_argument("name", help="the entry's file in benchmarks/sprint, without .py")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="fewer than five are a trial")
    arguments = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    try:
        row = check(arguments.name, arguments.seeds)
    except RuleBroken as broken:
        print(f"{arguments.name} does not count: {broken}")
        return 1
    print(f"{row['name']}: {row['nats']} nats, spread {row['spread']}, {row['operations']:.3g} operations")
    if arguments.seeds >= SEEDS:
        table = json.loads(TARGET.read_text())["entries"] if TARGET.exists() else []
        table = [other for other in table if other["name"] != row["name"]] + [row]
        common.write(TARGET, {"entries": sorted(table, key=lambda entry: entry["nats"])})
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
