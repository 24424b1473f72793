"""The CPU sprint: what can be learnt in 300 CPU-seconds on one thread, with at most a million weights?

Run from the repository's root: python benchmarks/sprint.py TRACK/NAME checks the entry benchmarks/sprint/TRACK/NAME.py
with five seeds and, if it keeps the rules, writes its row into aigc_course/benchmarks/sprint.json. --seeds 1 is a
trial: nothing is written.

An entry is one file with a number STEPS and a function

    train(*given, seed, steps=STEPS) -> torch.nn.Module

The tracks differ in what is given, in what the model has to do, and in what counts:

- `text`: `tokens, vocab_size`, the first nine tenths of tinyshakespeare as a row of numbers, one for each of its 65
  characters. The model has an attribute `context` and turns tokens of shape (batch, time ≤ context) into logits
  (batch, time, 65), of which none depends on a later token. What counts is the mean of -log p, in nats, over the whole
  last tenth, read in windows of `context` side by side.
- `likelihood`: `pictures` of shape (n, 1, 28, 28), the training split of the binary digits. The model turns pictures
  into as many logits, of which none depends on its own pixel or on a later one in reading order. What counts is the
  mean of -log p(picture), in nats, over the 500 test digits.
- `digits`: `pictures, labels`, the training split of the digits, values from 0 to 1. The model has a method
  `draw(labels)` that returns as many pictures. It draws 100 of each class from PyTorch's global generator. At least
  90 % have to be read as what was asked for, and what counts is the Fréchet distance to the training digits.
- `breakout`: nothing. The model turns observations of MinAtar's Breakout, booleans of shape (n, 4, 10, 10), into the
  values of its actions. What counts is the mean score of 100 games with sticky actions, played greedily.

Everywhere `train` takes at most 300 seconds of processor time on one thread, its children's included, and the model has
at most a million numbers, buffers included. Both are checked here, and so is all of the above. Seconds depend on the
machine, so the operations of a whole training are counted too, as PyTorch counts them (matrix products and
convolutions; on a CPU without attention's own work).
"""

import argparse
import importlib.util
import json
import multiprocessing
import os
import resource
import statistics
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import common
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aigc_course import metrics, playing
from aigc_course.data import ImageData, TextData

FOLDER = Path(__file__).parent / "sprint"
TARGET = Path(__file__).parents[1] / "aigc_course" / "benchmarks" / "sprint.json"
BUDGET, MOST_WEIGHTS, SEEDS = 300.0, 1_000_000, 5


class RuleBroken(Exception):
    """The entry does not keep a rule; the message says which, and by how much."""


# --- the tracks -------------------------------------------------------------------------------------------------------


class Track(NamedTuple):
    """What a track gives to `train`, and how it judges the model.

    `given` returns what `train` gets before the seed. `check` raises `RuleBroken` for a model that does not do what the
    track asks for. `judge` returns figures, of which the first counts.
    """

    given: Callable[[], tuple[Any, ...]]
    check: Callable[[nn.Module], None]
    judge: Callable[[nn.Module], dict[str, float]]


def texts() -> tuple[Tensor, Tensor, int]:
    """Return what is trained on, what is judged on, and the number of different characters."""
    data = TextData("shakespeare", context=64, batch_size=1)
    held_out = torch.cat([data.tokens["validation"], data.tokens["test"]])
    return data.tokens["train"], held_out, data.tokenizer.vocab_size


def given_text() -> tuple[Tensor, int]:
    train, _, vocab_size = texts()
    return train, vocab_size


@torch.no_grad()
def check_text(model: nn.Module) -> None:
    context, vocab_size = getattr(model, "context", None), texts()[2]
    if not isinstance(context, int) or context < 2:
        raise RuleBroken(f"the model's `context` is {context!r}; it takes a whole number from 2.")
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(vocab_size, (4, context), generator=generator)
    logits = model(tokens)
    if logits.shape != (4, context, vocab_size):
        raise RuleBroken(f"logits have the shape {tuple(logits.shape)}; (4, {context}, {vocab_size}) was due.")
    for kept in {1, context // 2, context - 1}:
        changed = torch.cat([tokens[:, :kept], (tokens[:, kept:] + 1) % vocab_size], dim=1)
        refuse_moved(logits[:, :kept], model(changed)[:, :kept], f"other tokens from position {kept} on")


def refuse_moved(before: Tensor, after: Tensor, changed: str) -> None:
    moved = float((after - before).abs().max())
    if not moved <= 1e-3:
        raise RuleBroken(f"with {changed}, earlier logits move by {moved:.3g}.")


@torch.no_grad()
def judge_text(model: nn.Module) -> dict[str, float]:
    """Return the mean of -log p over all tokens but the first, in nats, windows side by side."""
    tokens, context, total = texts()[1], int(model.context), 0.0  # type: ignore[arg-type]
    for start in range(0, len(tokens) - 1, context):
        x, y = tokens[start : start + context][None], tokens[start + 1 : start + context + 1]
        logits = model(x)[0, : len(y)].double()
        total += float(F.cross_entropy(logits, y, reduction="sum"))
    return {"nats": total / (len(tokens) - 1)}


def given_binary() -> tuple[Tensor]:
    return (ImageData("binary_digits").split("train")[0],)


@torch.no_grad()
def check_likelihood(model: nn.Module) -> None:
    x = ImageData("binary_digits").split("validation")[0][:4]
    logits = model(x)
    if logits.shape != x.shape:
        raise RuleBroken(f"logits have the shape {tuple(logits.shape)}; {tuple(x.shape)} was due.")
    for kept in (0, 1, 27, 28, 29, 405, 783):
        changed = torch.cat([x.flatten(1)[:, :kept], 1 - x.flatten(1)[:, kept:]], dim=1).view_as(x)
        before, after = (each.flatten(1)[:, : kept + 1] for each in (logits, model(changed)))
        refuse_moved(before, after, f"other pixels from number {kept} on, itself included")


@torch.no_grad()
def judge_likelihood(model: nn.Module) -> dict[str, float]:
    """Return the mean of -log p(picture) over the test digits, in nats."""
    x = ImageData("binary_digits").split("test")[0]
    total = 0.0
    for part in x.split(100):
        total += float(F.binary_cross_entropy_with_logits(model(part).double(), part.double(), reduction="sum"))
    return {"nats": total / len(x)}


def given_digits() -> tuple[Tensor, Tensor]:
    return ImageData("digits").split("train")


def drawn(model: nn.Module, labels: Tensor) -> Tensor:
    if not callable(getattr(model, "draw", None)):
        raise RuleBroken("the model has no method `draw`.")
    with torch.no_grad():
        x = model.draw(labels)
    if not isinstance(x, Tensor) or x.shape != (len(labels), 1, 28, 28):
        raise RuleBroken(f"for {len(labels)} labels, `draw` has to return as many pictures of 1 x 28 x 28 pixels.")
    if not bool(((x >= 0) & (x <= 1)).all()):
        raise RuleBroken("the pictures have values outside [0, 1].")
    return x


def check_digits(model: nn.Module) -> None:
    drawn(model, torch.arange(10))


def judge_digits(model: nn.Module) -> dict[str, float]:
    """Return the Fréchet distance of 1,000 drawn digits to the training digits, and the judge's accuracy."""
    torch.manual_seed(0)
    labels = torch.arange(10).repeat(100)
    x = drawn(model, labels)
    accuracy = metrics.judge_accuracy(x, labels)
    if accuracy < 0.9:
        raise RuleBroken(f"{accuracy:.1%} of the digits are read as what was asked for; 90 % are due.")
    distance = metrics.frechet_distance(*(metrics.judge_features(each) for each in (x, given_digits()[0])))
    return {"frechet": float(distance), "judge_accuracy": accuracy}


def breakout(count: int) -> Any:
    return playing.make_games("MinAtar/Breakout-v1", count, sticky_actions=0.1, max_steps=5_000)


@torch.no_grad()
def check_breakout(model: nn.Module) -> None:
    games = breakout(3)
    seen = torch.as_tensor(games.reset(seed=0)[0])
    actions = int(games.single_action_space.n)
    games.close()
    values = model(seen)
    if values.shape != (3, actions):
        raise RuleBroken(f"the values have the shape {tuple(values.shape)}; (3, {actions}) was due.")


def judge_breakout(model: nn.Module) -> dict[str, float]:
    """Return the mean score of a hundred games."""
    games = breakout(100)
    scores, _ = playing.play(model, games, seed=9_000_000)
    games.close()
    return {"score": float(scores.mean())}


TRACKS = {
    "text": Track(given_text, check_text, judge_text),
    "likelihood": Track(given_binary, check_likelihood, judge_likelihood),
    "digits": Track(given_digits, check_digits, judge_digits),
    "breakout": Track(tuple, check_breakout, judge_breakout),
}


# --- the check --------------------------------------------------------------------------------------------------------


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


def count_weights(model: nn.Module) -> int:
    """Return the count of the model's numbers. Raises `RuleBroken` for too many."""
    if not isinstance(model, nn.Module):
        raise RuleBroken(f"`train` returned a {type(model).__name__}; a torch.nn.Module was due.")
    stored = {tensor.data_ptr(): tensor.numel() for tensor in [*model.parameters(), *model.buffers()]}
    weights = sum(stored.values())
    if weights > MOST_WEIGHTS:
        raise RuleBroken(f"the model has {weights:,} numbers; at most {MOST_WEIGHTS:,} are allowed.")
    return weights


def one_run(path: Path, seed: int, queue: Any) -> None:
    """Train and judge one model; put the row, or the rule that was broken, into the queue."""
    try:
        torch.set_num_threads(1)
        track, entry = TRACKS[path.parent.name], load(path)
        given = track.given()
        before = used()
        model = entry.train(*given, seed)
        seconds = used() - before
        if seconds > BUDGET:
            raise RuleBroken(f"training took {seconds:.0f} CPU-seconds; {BUDGET:.0f} are allowed.")
        weights = count_weights(model)
        model.eval()
        track.check(model)
        figures = {name: round(value, 4) for name, value in track.judge(model).items()}
        queue.put({"seed": seed, **figures, "cpu_seconds": round(seconds, 1), "weights": weights})
    except RuleBroken as broken:
        queue.put(str(broken))


def used() -> float:
    """Processor time of this process, all its threads, and its children, in seconds."""
    here, below = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return here.ru_utime + here.ru_stime + below.ru_utime + below.ru_stime


def run(path: Path, seed: int) -> dict[str, Any]:
    """Return the row of one seed, made in a process of its own. Raises `RuleBroken`."""
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    worker = context.Process(target=one_run, args=(path, seed, queue))
    worker.start()
    worker.join()
    if worker.exitcode or queue.empty():
        raise RuleBroken(f"the run with seed {seed} ended with status {worker.exitcode}; its error stands above.")
    row = queue.get()
    if isinstance(row, str):
        raise RuleBroken(row)
    return dict(row)


def operations(path: Path) -> int:
    """Return the operations of a whole training, one more than those that are judged: counting takes time."""
    with common.Operations() as counter:
        load(path).train(*TRACKS[path.parent.name].given(), 0)
    return counter.total


def check(name: str, seeds: int) -> dict[str, Any]:
    """Run an entry with some seeds and return its row of the table. Raises `RuleBroken`."""
    path, runs = FOLDER / f"{name}.py", []
    if path.parent.name not in TRACKS or path.parent.parent != FOLDER:
        raise RuleBroken(f"{name} has no track; an entry is called TRACK/NAME, with one of {', '.join(TRACKS)}.")
    if seeds >= SEEDS:  # a row will be written
        state = subprocess.run(["git", "status", "--porcelain", "--", path], capture_output=True, text=True, check=True)
        if state.stdout:
            raise RuleBroken(f"{path.name} is not committed as it is, so a row could not say where to find it.")
    entry = load(path)
    for seed in range(seeds):
        runs.append(run(path, seed))
        print(json.dumps(runs[-1]), flush=True)
    counting = list(runs[0])[1]  # after the seed comes what counts
    values = [row[counting] for row in runs]
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True)
    return {
        "track": path.parent.name,
        "name": path.stem,
        "what": (entry.__doc__ or name).strip().splitlines()[0],
        "commit": commit.stdout.strip(),
        "figure": counting,
        "mean": round(statistics.mean(values), 4),
        "spread": round(max(values) - min(values), 4),
        "operations": operations(path) if seeds >= SEEDS else None,
        "runs": runs,
        **common.circumstances(f"python benchmarks/sprint.py {name}"),
    }


def main() -> int:
    """Check one entry; with all seeds, write its row."""
    parser = argparse.ArgumentParser(description="Check an entry of the CPU sprint.")
    parser.add_argument("name", help="the entry's file in benchmarks/sprint, as TRACK/NAME without .py")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="fewer than five are a trial")
    arguments = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)
    try:
        row = check(arguments.name, arguments.seeds)
    except RuleBroken as broken:
        print(f"{arguments.name} does not count: {broken}")
        return 1
    print(f"{arguments.name}: {row['figure']} {row['mean']}, spread {row['spread']}")
    if arguments.seeds >= SEEDS:
        table = json.loads(TARGET.read_text())["entries"] if TARGET.exists() else []
        same = row["track"], row["name"]
        common.write(TARGET, {"entries": [*(o for o in table if (o["track"], o["name"]) != same), row]})
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
