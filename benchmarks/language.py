"""Measure the GPT: nanoGPT's setting and what each change brings, speed against peers, the cache, how loss scales.

Run from the repository's root: python benchmarks/language.py, or with the names of parts: python
benchmarks/language.py shakespeare throughput. The results go to the terminal and, part by part, to
aigc_course/benchmarks/language.json, inside the package, since the chapters that plot them are also run where there is
no repository. The part `shakespeare` needs tinyshakespeare.txt, which is downloaded if the cache has none.
"""

import itertools
import math
from functools import partial
from pathlib import Path
from typing import Any

import common
import pytorch_lightning as pl
import torch
from common import clock, seconds
from torch.nn import functional as F

from aigc_course import gpt, training
from aigc_course.data import TextData

TARGET = Path(__file__).parents[1] / "aigc_course" / "benchmarks" / "language.json"

# --- nanoGPT's setting for a laptop: Shakespeare by characters, 4 layers, 4 heads, width 128, context 64 --------------

CONTEXT, BATCH_SIZE, STEPS = 64, 12, 2_000
# From the model of GPT-2 to today's defaults, one change a row; each row keeps the changes of the rows before it.
LADDER: list[tuple[str, dict[str, Any]]] = [
    ("as in GPT-2", {**gpt.GPT2, "learning_rate": 1e-3}),
    ("rotary positions", {"positions": "rotary"}),
    ("normalised queries and keys", {"normalise_queries": True}),
    ("squared ReLU", {"activation": "squared_relu"}),
    ("RMSNorm, no biases", {"normalisation": "rms", "bias": False}),
    ("untied, outputs begin at 0", {"tied": False, "embedding_std": 1.0, "zero_output": True}),
    ("four times the learning rate", {"learning_rate": 4e-3}),
]
SEEDS = range(2)  # for the first row and the last; the rows between are run from seed 0


def one_shakespeare(settings: dict[str, Any], seed: int) -> dict[str, Any]:
    """Train for nanoGPT's number of steps; return the loss on its validation data, windows side by side."""
    data = TextData("shakespeare", context=CONTEXT, batch_size=BATCH_SIZE)
    torch.manual_seed(seed)
    training_ = gpt.build(vocab_size=data.tokenizer.vocab_size, context=CONTEXT, **SIZES, **settings)
    model = training_.model
    start = clock()
    quiet: dict[str, Any] = {"limit_val_batches": 0, "enable_progress_bar": False}
    training.fit(training_, data, max_epochs=100, max_steps=STEPS, seed=seed, **quiet)
    wall, cpu = seconds(start, clock())
    held_out = torch.cat([data.tokens["validation"], data.tokens["test"]])  # the last tenth
    windows = (len(held_out) - 1) // CONTEXT
    x = held_out[: windows * CONTEXT].view(windows, CONTEXT)
    y = held_out[1 : windows * CONTEXT + 1].view(windows, CONTEXT)
    with torch.no_grad():
        parts = [model.loss(a, b) * len(a) for a, b in zip(x.split(200), y.split(200), strict=True)]
    return {
        "seed": seed,
        "weights": sum(weight.numel() for weight in model.parameters()),
        "validation_nats": round(float(sum(parts)) / windows, 4),
        "seconds": round(wall, 1),
        "cpu_seconds": round(cpu, 1),
    }


def shakespeare() -> dict[str, Any]:
    """Climb the ladder of changes; the ends of it from two seeds."""
    settings: dict[str, Any] = {}
    rows = []
    for number, (name, change) in enumerate(LADDER):
        settings = {**settings, **change}
        for seed in SEEDS if number in (0, len(LADDER) - 1) else [0]:
            rows.append({"change": name, "settings": settings, **one_shakespeare(settings, seed)})
            print(f"{name}: seed {seed}, {rows[-1]['validation_nats']} nats", flush=True)
    return {"context": CONTEXT, "batch_size": BATCH_SIZE, "steps": STEPS, "rows": rows}


# --- speed ------------------------------------------------------------------------------------------------------------

PAIRS, SPEED_STEPS, VOCABULARY = 5, 40, 65
SIZES: dict[str, Any] = {"layers": 4, "heads": 4, "width": 128}


def train_bare(model: torch.nn.Module, loss: Any, data: TextData) -> tuple[float, float]:
    """Train with nothing but PyTorch; the first half of the steps, to warm up, is not counted."""
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3, (0.9, 0.99), fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: max(0.0, 1 - step / (2 * SPEED_STEPS)))
    model.train()
    start = clock()
    for step, (x, y) in enumerate(itertools.islice(data.train_dataloader(), 2 * SPEED_STEPS)):
        if step == SPEED_STEPS:
            start = clock()
        optimizer.zero_grad()
        loss(model, x.to(common.DEVICE), y.to(common.DEVICE)).backward()
        optimizer.step()
        schedule.step()
    return seconds(start, clock())


def our_loss(model: gpt.GPT, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return model.loss(x, y)


def their_loss(model: torch.nn.Module, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return F.cross_entropy(model(x).logits.flatten(0, 1), y.flatten())


def our_training(**settings: Any) -> gpt.NextTokenTraining:
    torch.manual_seed(0)
    return gpt.build(vocab_size=VOCABULARY, context=CONTEXT, **SIZES, **settings).to(common.DEVICE)


def hugging_face() -> torch.nn.Module:
    """A GPT-2 of the same size, without dropout, as ours."""
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=VOCABULARY,
        n_positions=CONTEXT,
        n_embd=SIZES["width"],
        n_layer=SIZES["layers"],
        n_head=SIZES["heads"],
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        use_cache=False,
        bos_token_id=None,
        eos_token_id=None,
    )
    model: torch.nn.Module = GPT2LMHeadModel(config)
    return model.to(common.DEVICE)


def throughput() -> dict[str, Any]:
    """Train on the same batches: ours by `fit` and bare, ours and Hugging Face's GPT-2, alternately."""
    data = TextData(context=CONTEXT, batch_size=BATCH_SIZE, limit=SPEED_STEPS * CONTEXT * BATCH_SIZE + 1)
    data.tokens = {split: tokens % VOCABULARY for split, tokens in data.tokens.items()}
    long = TextData(context=CONTEXT, batch_size=BATCH_SIZE, limit=2 * SPEED_STEPS * CONTEXT * BATCH_SIZE + 1)
    long.tokens = {split: tokens % VOCABULARY for split, tokens in long.tokens.items()}
    race = partial(common.throughput, amount=SPEED_STEPS * CONTEXT * BATCH_SIZE, unit="tokens", pairs=PAIRS)

    def ours(**style: Any) -> tuple[float, float]:
        return train_bare(our_training(**style).model, our_loss, long)

    def theirs() -> tuple[float, float]:
        return train_bare(hugging_face(), their_loss, long)

    def with_fit() -> tuple[float, float]:
        return common.seconds_with_fit(our_training(), data, 1)

    peers = ("ours", "hugging_face")
    return {
        "model": SIZES,
        "fit_against_bare": race(with_fit, ours),
        "ours_against_hugging_face": race(ours, theirs, names=peers),
        "ours_as_gpt2_against_hugging_face": race(partial(ours, **gpt.GPT2), theirs, names=peers),
    }


def generation() -> dict[str, Any]:
    """Generate 512 tokens with and without the cache, from one seed; the tokens must be the same."""
    torch.manual_seed(0)
    count, context = 512, 640
    config = gpt.GPTConfig(VOCABULARY, context, **SIZES, zero_output=False)
    model = gpt.GPT(config).to(common.DEVICE).eval()
    prompt = torch.randint(VOCABULARY, (1, 64), device=common.DEVICE)
    rows = []
    for number in range(3):
        texts, times = [], []
        for cache in (True, False):
            torch.manual_seed(number)
            start = clock()
            texts.append(gpt.generate(model, prompt, count, cache=cache))
            times.append(seconds(start, clock())[0])
        if not torch.equal(*texts):
            raise RuntimeError("with and without the cache the tokens differ")
        rows.append({"cached_seconds": round(times[0], 2), "plain_seconds": round(times[1], 2)})
        rows[-1]["ratio"] = round(times[1] / times[0], 2)
        print("  ".join(f"{name} {value}" for name, value in rows[-1].items()), flush=True)
    return {"tokens": count, "context": context, "prompt": 64, "model": SIZES, "runs": rows}


# --- scaling: three sizes of model, three amounts of text ------------------------------------------------------------

WIDTHS = {"small": (2, 32), "medium": (3, 80), "large": (4, 160)}  # layers and width
AMOUNTS = (18_000, 72_000, 288_000)  # characters of Python's documentation
SCALING_STEPS, SCALING_BATCH, LOOKS = 800, 24, 10


class _Watch(pl.Callback):
    """Looks at the loss on the validation split ten times during the training."""

    def __init__(self, data: TextData) -> None:
        self.data, self.curve = data, [(0, math.log(data.tokenizer.vocab_size))]

    def on_train_batch_end(self, trainer: Any, model: Any, *_: Any) -> None:
        if trainer.global_step % (SCALING_STEPS // LOOKS) == 0:
            nats = model.model.nats_per_token(self.data.tokens["validation"])
            self.curve.append((trainer.global_step, round(nats, 4)))


def scaling() -> dict[str, Any]:
    """Train every size on every amount for the same number of steps."""
    rows = []
    for (name, (layers, width)), amount in itertools.product(WIDTHS.items(), AMOUNTS):
        data = TextData(context=CONTEXT, batch_size=SCALING_BATCH, limit=amount)
        torch.manual_seed(0)
        config = gpt.GPTConfig(
            data.tokenizer.vocab_size, CONTEXT, layers=layers, width=width, tied=False, embedding_std=1.0
        )
        model = gpt.GPT(config)
        watch, start = _Watch(data), clock()
        quiet: dict[str, Any] = {"limit_val_batches": 0, "enable_progress_bar": False, "callbacks": [watch]}
        lessons = gpt.NextTokenTraining(model, learning_rate=4e-3)
        training.fit(lessons, data, max_epochs=1_000, max_steps=SCALING_STEPS, seed=0, **quiet)
        matrices = sum(weight.numel() for weight in model.blocks.parameters() if weight.ndim == 2)
        rows.append(
            {
                "size": name,
                "layers": layers,
                "width": width,
                "weights": matrices,  # of the blocks, without embeddings, as is usual for scaling laws
                "characters": amount,
                "curve": watch.curve,
                "best_nats": min(nats for _, nats in watch.curve),
                "cpu_seconds": round(seconds(start, clock())[1], 1),
            }
        )
        print(f"{name}, {amount} characters: {rows[-1]['best_nats']} nats, {rows[-1]['cpu_seconds']} s", flush=True)
    return {"steps": SCALING_STEPS, "batch_size": SCALING_BATCH, "context": CONTEXT, "rows": rows}


PARTS = {"shakespeare": shakespeare, "throughput": throughput, "generation": generation, "scaling": scaling}

if __name__ == "__main__":
    common.run_parts(PARTS, "language.py", TARGET)
