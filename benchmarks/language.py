"""Measure the GPT: nanoGPT's setting and what each change brings, speed against peers, the cache, how loss scales.

Run from the repository's root: python benchmarks/language.py, or with the names of parts: python
benchmarks/language.py shakespeare throughput. The results go to the terminal and, part by part, to
aigc_course/benchmarks/language.json, inside the package, since the chapters that plot them are also run where there is
no repository. The part `shakespeare` needs tinyshakespeare.txt, which is downloaded if the cache has none.
"""

import itertools
from functools import partial
from pathlib import Path
from typing import Any

import common
import torch
from common import clock, seconds
from torch.nn import functional as F

from aigc_course import gpt, training
from aigc_course.data import TextData

TARGET = Path(__file__).parents[1] / "aigc_course" / "benchmarks" / "language.json"

# --- nanoGPT's setting for a laptop: Shakespeare by characters, 4 layers, 4 heads, width 128, context 64 --------------

CONTEXT, BATCH_SIZE, STEPS = 64, 12, 2_000
# From the model of GPT-2, one change per row; each row keeps the changes of the rows before it.
LADDER: list[tuple[str, dict[str, Any]]] = [
    ("as in GPT-2", dict(gpt.GPT2)),
    ("rotary positions", {"positions": "rotary"}),
    ("normalised queries and keys", {"normalise_queries": True}),
    ("squared ReLU", {"activation": "squared_relu"}),
    ("RMSNorm, no biases", {"normalisation": "rms", "bias": False}),
]
# Changes to the last row, each by itself.
BRANCHES: list[tuple[str, dict[str, Any]]] = [
    ("outputs begin at 0", {"zero_output": True}),
    ("untied", {"tied": False}),
    ("untied, large embedding", {"tied": False, "embedding_std": 1.0}),
    ("untied, large embedding, ten times its rate", {"tied": False, "embedding_std": 1.0, "embedding_rate": 10}),
    ("SwiGLU", {"activation": "swiglu"}),
    ("value residuals", {"value_residuals": True}),
    ("Muon for the matrices of the blocks", {"muon": True}),
]
FIRST_RATE, SEEDS = 1e-3, range(3)  # a row takes the best rate of seed 0, and all seeds with it


class ValueResiduals(torch.nn.Module):
    """The layer of queries, keys and values, which adds to its values a learnt share of the first block's.

    Source: Zhou et al. (2025), https://arxiv.org/abs/2410.17897.
    """

    def __init__(self, layer: torch.nn.Linear, first: "list[ValueResiduals]") -> None:
        super().__init__()
        self.layer, self.first = layer, first  # in a list, or the first layer would be a part of this one
        self.share = torch.nn.Parameter(torch.tensor(0.5)) if first else None
        self.values = torch.empty(0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return queries, keys and values, beside each other."""
        queries_keys, self.values = self.layer(x).tensor_split([2 * x.shape[-1]], dim=-1)
        values = self.values
        if self.share is not None:
            values = values + self.share * self.first[0].values
        return torch.cat([queries_keys, values], dim=-1)


def orthogonal(update: torch.Tensor) -> torch.Tensor:
    """Return a matrix whose singular vectors are those of `update`, and whose singular values are all near 1."""
    tall = len(update) > update.shape[1]
    x = (update.T if tall else update) / update.norm().clamp(min=1e-7)
    for _ in range(5):  # an iteration of Newton and Schulz, with the coefficients of Jordan et al.
        square = x @ x.T
        x = 3.4445 * x + (2.0315 * square @ square - 4.775 * square) @ x
    return x.T if tall else x


class Muon(torch.optim.Optimizer):
    """A momentum whose singular values are brought near 1, scaled to the size of Adam's updates.

    Source: Jordan et al. (2024), https://kellerjordan.github.io/posts/muon/; the scale is that of Liu et al. (2025),
    https://arxiv.org/abs/2502.16982. `torch.optim.Muon` is the same in bfloat16, which is thirty times slower on a
    processor without instructions for it.
    """

    def __init__(self, matrices: list[Any], rate: float, decay: float) -> None:
        super().__init__(matrices, {"lr": rate, "weight_decay": decay})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Move all matrices."""
        for group in self.param_groups:
            for weight in group["params"]:
                mean = self.state[weight].setdefault("mean", torch.zeros_like(weight))
                mean.lerp_(weight.grad, 0.05)
                update = orthogonal(weight.grad.lerp(mean, 0.95))  # Nesterov's way
                weight.mul_(1 - group["lr"] * group["weight_decay"])
                weight.sub_(group["lr"] * 0.2 * max(weight.shape) ** 0.5 * update)


class MuonAndAdamW(torch.optim.Optimizer):
    """One optimizer to Lightning: Muon for some weights, AdamW for the others, at one rate."""

    def __init__(self, matrices: list[Any], others: list[dict[str, Any]], rate: float, decay: float) -> None:
        self.parts = [Muon(matrices, rate, decay), torch.optim.AdamW(others, rate, (0.9, 0.99), fused=True)]
        super().__init__([group for part in self.parts for group in part.param_groups], {})  # the groups are shared

    def step(self, closure: Any = None) -> Any:
        """Let Lightning compute the gradients, and move all weights."""
        loss = None if closure is None else closure()
        for part in self.parts:
            part.step()
        return loss


class Training(gpt.NextTokenTraining):
    """`NextTokenTraining` with a factor on the embedding's learning rate, and with Muon for the blocks if asked."""

    def __init__(self, model: gpt.GPT, embedding_rate: float = 1, muon: bool = False) -> None:
        super().__init__(model)
        self.embedding_rate, self.muon = embedding_rate, muon

    def configure_optimizers(self) -> Any:
        """Return the usual optimizer, changed as asked for, and the usual schedule."""
        configured = super().configure_optimizers()
        if self.embedding_rate == 1 and not self.muon:
            return configured
        groups = configured["optimizer"].param_groups
        if self.embedding_rate != 1:
            embedding = self.model.embedding.weight
            groups[0]["params"] = [weight for weight in groups[0]["params"] if weight is not embedding]
            # Not from the other groups' rates, which the schedule above has already lowered for its first step.
            rate = self.embedding_rate * self.learning_rate
            configured["optimizer"].add_param_group(
                {"params": [embedding], "weight_decay": self.weight_decay, "lr": rate}
            )
        if self.muon:
            blocks = [weight for weight in self.model.blocks.parameters() if weight.ndim == 2]
            chosen = {id(weight) for weight in blocks}
            others = [
                {"params": [weight for weight in group["params"] if id(weight) not in chosen], "weight_decay": decay}
                for group, decay in zip(groups, (self.weight_decay, 0.0), strict=True)
            ]
            configured["optimizer"] = MuonAndAdamW(blocks, others, self.learning_rate, self.weight_decay)
        total = training.planned_steps(self)
        schedule = torch.optim.lr_scheduler.LambdaLR(configured["optimizer"], lambda step: self.rate(step / total))
        configured["lr_scheduler"]["scheduler"] = schedule
        return configured


def one_shakespeare(settings: dict[str, Any], seed: int) -> dict[str, Any]:
    """Train for nanoGPT's number of steps; return the loss on its validation data, windows side by side."""
    data = TextData("shakespeare", context=CONTEXT, batch_size=BATCH_SIZE)
    torch.manual_seed(seed)
    architecture = {name: value for name, value in settings.items() if name in gpt.GPTConfig.__dataclass_fields__}
    config = gpt.GPTConfig(data.tokenizer.vocab_size, CONTEXT, **SIZES, **architecture)
    model = gpt.GPT(config)
    if settings.get("value_residuals"):
        first: list[ValueResiduals] = []
        for block in model.blocks:
            attention: Any = block.attention
            attention.qkv = ValueResiduals(attention.qkv, first[:1])
            first.append(attention.qkv)
    training_ = Training(model, settings.get("embedding_rate", 1), settings.get("muon", False))
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


def next_rate(nats: dict[float, float]) -> float | None:
    """Return a rate still to be tried, twice the largest or half the smallest; None if the best lies between others."""
    best = min(nats, key=lambda rate: nats[rate])
    if best == max(nats):
        return 2 * best
    return best / 2 if best == min(nats) else None


def shakespeare() -> dict[str, Any]:
    """Climb the ladder of changes, then try the branches at its end, each row with a rate chosen for it."""
    settings: dict[str, Any] = {}
    rows, near = [], FIRST_RATE
    for name, change in LADDER + BRANCHES:
        row = {**settings, **change}
        runs, rates = [], [near, near / 2]
        for rate in rates:  # which grows as long as the best rate lies at an end
            runs.append({"learning_rate": rate, **one_shakespeare({**row, "learning_rate": rate}, 0)})
            further = next_rate({run["learning_rate"]: run["validation_nats"] for run in runs})
            if len(runs) == len(rates) and further is not None:
                rates.append(further)
        best = min(runs, key=lambda run: run["validation_nats"])["learning_rate"]
        runs += [
            {"learning_rate": best, **one_shakespeare({**row, "learning_rate": best}, seed)} for seed in SEEDS if seed
        ]
        kept = (name, change) in LADDER
        if kept:  # the next row has the change too, and looks for its own rate near this one
            settings, near = row, best
        rows.append({"change": name, "kept": kept, "settings": row, "learning_rate": best, "runs": runs})
        print(f"{name}: rate {best}, {[run['validation_nats'] for run in runs]} nats", flush=True)
    return {"context": CONTEXT, "batch_size": BATCH_SIZE, "steps": STEPS, "rows": rows}


def one_beginning(zero_output: bool, seed: int) -> dict[str, Any]:
    """Train the course's own GPT on its own text, whose outputs begin at 0 or do not."""
    settings = gpt.recipe("cpu")
    data = TextData(**settings["data"])
    torch.manual_seed(seed)
    module = gpt.build(**{**settings["model"], "zero_output": zero_output})
    quiet: dict[str, Any] = {"limit_val_batches": 0, "enable_progress_bar": False}
    training.fit(module, data, **{**settings["fit"], "seed": seed, **quiet})
    nats = round(module.model.nats_per_token(data.tokens["validation"]), 4)
    print(f"outputs begin at 0: {zero_output}, seed {seed}: {nats} nats per token", flush=True)
    return {"zero_output": zero_output, "seed": seed, "validation_nats": nats}


def beginnings() -> dict[str, Any]:
    """Ask on another text, with the course's recipe, whether outputs should begin at 0."""
    return {"runs": [one_beginning(zero, seed) for seed, zero in itertools.product(SEEDS, (True, False))]}


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
    config = gpt.GPTConfig(VOCABULARY, context, **SIZES)
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


# --- scaling: loss against weights and tokens seen; fresh text against text read again --------------------------------

# Layers and width. All weights are counted, the embedding too, which is the last layer as well.
SCALING_SIZES = ((1, 16), (2, 24), (2, 40), (3, 56), (4, 80), (4, 112))
BUDGETS = (1e10, 3e10, 1e11, 3e11)  # operations, 6 x weights x tokens
SCALING_RATES = (2e-3, 4e-3, 8e-3, 16e-3)
SCALING_BATCH = 4
LEAST_STEPS, MOST_EPOCHS = 100, 4  # up to about four epochs repeated text is nearly as good as fresh text
REPEATED_SIZE, REPEATED_UNIQUE, REPEATED_SEEN = (3, 56), (20_000, 80_000, 313_000), (80_000, 313_000, 1_250_000)


def one_scaling(layers: int, width: int, seen: float, unique: int | None, rate: float) -> dict[str, Any]:
    """Train on `seen` tokens from the first `unique` of the text, the rate falling to 0 at the end; measure once."""
    data = TextData(context=CONTEXT, batch_size=SCALING_BATCH, limit=unique)
    torch.manual_seed(0)
    module = gpt.build(
        vocab_size=data.tokenizer.vocab_size,
        context=CONTEXT,
        layers=layers,
        width=width,
        zero_output=True,
        learning_rate=rate,
    )
    steps, start = max(1, round(seen / (CONTEXT * SCALING_BATCH))), clock()
    quiet: dict[str, Any] = {"limit_val_batches": 0, "enable_progress_bar": False, "gradient_clip_val": 1.0}
    training.fit(module, data, max_epochs=100_000, max_steps=steps, seed=0, **quiet)
    return {
        "layers": layers,
        "width": width,
        "weights": sum(weight.numel() for weight in module.model.parameters() if weight.ndim == 2),
        "tokens_seen": steps * CONTEXT * SCALING_BATCH,
        "unique_tokens": len(data.tokens["train"]),
        "learning_rate": rate,
        "nats": round(module.model.nats_per_token(data.tokens["validation"]), 4),
        "cpu_seconds": round(seconds(start, clock())[1], 1),
    }


def best_rate(layers: int, width: int, seen: float, unique: int | None = None) -> dict[str, Any]:
    """Return the run with the best rate: whoever compares sizes at one rate measures the rate too."""
    runs = [one_scaling(layers, width, seen, unique, rate) for rate in SCALING_RATES]
    best = min(runs, key=lambda run: run["nats"])
    print("  ".join(f"{name} {value}" for name, value in best.items()), flush=True)
    return {**best, "nats_by_rate": [run["nats"] for run in runs]}


def scaling() -> dict[str, Any]:
    """Spend each budget on every size that it can train; then read texts of three lengths once and again."""
    text = TextData(context=CONTEXT, batch_size=SCALING_BATCH)
    vocabulary, unique = text.tokenizer.vocab_size, len(text.tokens["train"])
    rows = []
    for budget, (layers, width) in itertools.product(BUDGETS, SCALING_SIZES):
        seen = budget / (6 * (12 * layers * width**2 + vocabulary * width))
        if seen >= LEAST_STEPS * CONTEXT * SCALING_BATCH and seen <= MOST_EPOCHS * unique:
            rows.append({"operations": budget, **best_rate(layers, width, seen)})
    repeated = [
        best_rate(*REPEATED_SIZE, seen, amount)
        for amount, seen in itertools.product(REPEATED_UNIQUE, REPEATED_SEEN)
        if seen >= amount
    ]
    return {"batch_size": SCALING_BATCH, "context": CONTEXT, "rates": SCALING_RATES, "rows": rows, "repeated": repeated}


PARTS = {
    "shakespeare": shakespeare,
    "beginnings": beginnings,
    "throughput": throughput,
    "generation": generation,
    "scaling": scaling,
}

if __name__ == "__main__":
    common.run_parts(PARTS, "language.py", TARGET)
