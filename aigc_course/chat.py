r"""Chat: a template with marks, questions whose answers a program can check, and learning from judged answers.

It reads from the text up: the template and its mask, the tasks, the course's model and its training, replies, and then
the formulas of learning from preferences and rewards. All logarithms are natural. Shapes: batch × time for tokens.

Sources: Ouyang et al. (2022), https://arxiv.org/abs/2203.02155, for the order of the stages; at each formula its own.
"""

import random
import zlib
from collections.abc import Callable, Sequence
from typing import Any, cast

import pytorch_lightning as pl
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from aigc_course import gpt, training
from aigc_course.checks import check_count, check_positive
from aigc_course.data import CharTokenizer
from aigc_course.data.tokens import Tokenizer

IGNORED = -100  # the target that PyTorch's cross-entropy leaves out

# --- the template -----------------------------------------------------------------------------------------------------


class Template:
    """The form of a conversation: `<user> question <end> <assistant> answer <end>`, each mark a token of its own.

    The marks get the numbers after those of the tokenizer. A text is always encoded by the tokenizer alone, which does
    not know them: whatever a user types, no text can become a mark.

    **Arguments:** `tokenizer`: what turns the texts between the marks into tokens.

    **Attributes:** `tokenizer`; `user`, `assistant`, `end`: the numbers of the marks; `vocab_size`: with the marks.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self.user, self.assistant, self.end = range(tokenizer.vocab_size, tokenizer.vocab_size + 3)
        self.vocab_size = tokenizer.vocab_size + 3

    def prompt(self, question: str) -> Int[Tensor, " time"]:
        """Return the tokens of a question, up to where the answer begins."""
        marks = torch.tensor([self.user, self.end, self.assistant])
        return torch.cat([marks[:1], self.tokenizer.encode(question), marks[1:]])

    def batch(self, pairs: Sequence[tuple[str, str]]) -> tuple[Int[Tensor, "batch time"], Int[Tensor, "batch time"]]:
        """Return inputs and targets, as `rows` does, of pairs (question, answer): each answer has its end mark."""
        return self.rows(
            [(question, [*self.tokenizer.encode(answer).tolist(), self.end]) for question, answer in pairs]
        )

    def rows(
        self, pairs: Sequence[tuple[str, list[int]]]
    ) -> tuple[Int[Tensor, "batch time"], Int[Tensor, "batch time"]]:
        """Return inputs `x` and targets `y`, `x` moved on by one, of pairs (question, tokens of a reply).

        `y` is `IGNORED` except at the reply's tokens. Shorter rows are filled up with end marks, whose targets are
        ignored too. Raises `ValueError` for no pairs and for a reply without a token.
        """
        if not pairs or not all(reply for _, reply in pairs):
            raise ValueError("pairs is empty, or a reply in it; it takes questions with replies of at least one token.")
        prompts = [self.prompt(question) for question, _ in pairs]
        longest = max(len(prompt) + len(reply) for prompt, (_, reply) in zip(prompts, pairs, strict=True))
        tokens = torch.full((len(pairs), longest), self.end)
        counts = torch.zeros(len(pairs), longest, dtype=torch.bool)
        for row, (prompt, (_, reply)) in enumerate(zip(prompts, pairs, strict=True)):
            start, stop = len(prompt), len(prompt) + len(reply)
            tokens[row, :start], tokens[row, start:stop] = prompt, torch.tensor(reply)
            counts[row, start:stop] = True
        return tokens[:, :-1], tokens.masked_fill(~counts, IGNORED)[:, 1:]

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of an answer, up to the first end mark; other marks are shown as `<user>`, `<assistant>`."""
        names = {self.user: "<user>", self.assistant: "<assistant>"}
        tokens = list(tokens)
        if self.end in tokens:
            tokens = tokens[: tokens.index(self.end)]
        pieces, plain = [], list[int]()
        for token in [*tokens, self.end]:
            if token < self.user:
                plain.append(token)
            else:
                pieces += [self.tokenizer.decode(torch.tensor(plain, dtype=torch.long)), names.get(token, "")]
                plain = []
        return "".join(pieces)


# --- tasks ------------------------------------------------------------------------------------------------------------

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
ANIMALS = ("ant", "bee", "cat", "dog", "eel", "fox", "gnu", "hen", "jay", "koi", "owl", "pig", "rat", "sow", "yak")
LETTERS = "abcde"
# All that the questions and answers are written with, and what a user needs to type a mark.
CHARACTERS = " 0123456789abcdefghijklmnopqrstuvwxyz+=?<>"


def _add(draw: random.Random) -> tuple[str, str, str]:
    a, b = draw.randint(10, 99), draw.randint(10, 99)
    return f"{a}+{b}=?", str(a + b), f"{min(a, b)}+{max(a, b)}"


def _day(draw: random.Random) -> tuple[str, str, str]:
    weeks, days, day = draw.randint(1, 9), draw.randint(1, 9), draw.randrange(7)
    question = f"{weeks} weeks {days} days after {DAYS[day]}?"
    return question, DAYS[(day + days) % 7], question


def _count(draw: random.Random) -> tuple[str, str, str]:
    letter, word = draw.choice(LETTERS), "".join(draw.choices(LETTERS, k=6))
    question = f"count {letter} in {word}"
    return question, str(word.count(letter)), question


def _sort(draw: random.Random) -> tuple[str, str, str]:
    words = draw.sample(ANIMALS, 3)
    ordered = " ".join(sorted(words))
    return f"sort {' '.join(words)}", ordered, ordered


# Each draws a question, its answer, and what the question is about: two questions about the same share a split.
TASKS: dict[str, Callable[[random.Random], tuple[str, str, str]]] = {
    "add": _add,
    "day": _day,
    "count": _count,
    "sort": _sort,
}


def questions(task: str, split: str, count: int, *, seed: int = 0) -> list[tuple[str, str]]:
    """Return `count` pairs (question, answer) of a task, drawn at random from one split.

    A checksum of what a question is about decides its split: one fifth of all possible questions is for `"test"`, the
    others for `"train"`, and whatever the seed, none is in both. Questions that differ in their order only, 12+34 and
    34+12 or the same words to be sorted, belong to the same split.

    Raises `ValueError` for an unknown task or split and for a count below 1.
    """
    if task not in TASKS:
        raise ValueError(f"task is {task!r}; it takes one of {', '.join(map(repr, TASKS))}.")
    if split not in ("train", "test"):
        raise ValueError(f"split is {split!r}; it takes 'train' or 'test'.")
    check_count("count", count)
    draw = random.Random(f"{task} {split} {seed}")
    found: list[tuple[str, str]] = []
    while len(found) < count:
        question, answer, about = TASKS[task](draw)
        if (zlib.crc32(about.encode()) % 5 == 0) == (split == "test"):
            found.append((question, answer))
    return found


def mixture(split: str, count: int, *, seed: int = 0) -> list[tuple[str, str]]:
    """Return `count` pairs (question, answer) of all tasks in turn, two of five of them sums, which are the hardest."""
    turns = ("add", "count", "add", "day", "sort")
    drawn = {task: iter(questions(task, split, count, seed=seed)) for task in TASKS}
    return [next(drawn[turns[number % len(turns)]]) for number in range(count)]


def slip(question: str, answer: str) -> str:
    """Return what a careless writer answers: sums without the carry, days one late, counts one too high."""
    if "+" in question:
        a, b = (int(number) for number in question.removesuffix("=?").split("+"))
        return str(a + b - 10 * (a % 10 + b % 10 >= 10))
    if answer in DAYS:
        return DAYS[(DAYS.index(answer) + 1) % 7]
    return str(int(answer) + 1) if answer.isdigit() else answer


# --- the course's chat model ------------------------------------------------------------------------------------------


class ChatData(pl.LightningDataModule):
    """Batches `(x, y)` of training questions in the template, from a fixed set in random order.

    **Arguments:** `count`: questions in the set; `batch_size`; `seed`: of the set; `task`: one of `TASKS`, or `None`
    for their `mixture`; `tokenizer`: by default one token per character; `careless`: the share of the answers, in
    [0, 1], that are a careless writer's (see `slip`).

    **Attributes:** `template`; `x`, `y`: the whole set, tokens (count, time).

    Raises `ValueError` for counts below 1, a share outside its range, and as `questions` does.
    """

    def __init__(
        self,
        *,
        count: int,
        batch_size: int,
        seed: int = 0,
        task: str | None = None,
        tokenizer: Tokenizer | None = None,
        careless: float = 0.0,
    ) -> None:
        super().__init__()
        check_count("count", count)
        check_count("batch_size", batch_size)
        if not 0 <= careless <= 1:
            raise ValueError(f"careless is {careless}; it takes a share in [0, 1].")
        self.batch_size, self.template = batch_size, Template(tokenizer or CharTokenizer(CHARACTERS))
        pairs = mixture("train", count, seed=seed) if task is None else questions(task, "train", count, seed=seed)
        draw = random.Random(seed)
        pairs = [(question, slip(question, a) if draw.random() < careless else a) for question, a in pairs]
        self.x, self.y = self.template.batch(pairs)

    def train_dataloader(self) -> DataLoader[tuple[Tensor, ...]]:
        """Questions in random order."""
        return DataLoader(TensorDataset(self.x, self.y), self.batch_size, shuffle=True, drop_last=True)


class ChatTraining(gpt.NextTokenTraining):
    r"""Teach a GPT to answer: next-token training whose loss leaves out the targets that are `IGNORED`.

    $$\mathcal{L} = -\frac{1}{\sum_t m_t} \sum_t m_t \log p(x_{t+1} \mid x_1, \dots, x_t),$$

    with the mask $m_t = 1$ where $x_{t+1}$ belongs to the answer or is the end mark after it, else 0; the sums run over
    the batch too. Arguments and optimiser as in `gpt.NextTokenTraining`.
    """

    def training_step(self, batch: Any, batch_idx: int) -> Float[Tensor, ""]:
        """Return the loss on a batch `(x, y)`."""
        x, y = training.tensors_of(batch, "x", "y", least=2)
        loss = self.model.loss(x, y)
        self.collect(train_loss=loss)
        return loss


def build(**config: Any) -> ChatTraining:
    """Return the training of a new GPT, from the fields of a `GPTConfig`."""
    return ChatTraining(gpt.GPT(gpt.GPTConfig(**config)))


def build_careless(profile: str, learning_rate: float) -> ChatTraining:
    """Return the further training of the chat model of a profile."""
    return ChatTraining(pretrained(profile)[0], learning_rate=learning_rate)


def recipe(profile: str = "auto", *, careless: bool = False) -> dict[str, Any]:
    """Return all that decides the chat model, as plain values: `data`, `model` and `fit` settings.

    With `careless` it is the recipe of a short further training, on answers of which a careless writer gave two thirds.

    Raises `ValueError` for an unknown profile.
    """
    profile = training.resolve_profile(profile)
    scale = {"smoke": 0, "cpu": 1, "gpu": 2}[profile]
    batch_size = (16, 50, 100)[scale]
    fit = {"seed": 0, "gradient_clip_val": 1.0}
    if careless:
        return {
            "before": recipe(profile),
            "data": {"count": (64, 5_000, 10_000)[scale], "batch_size": batch_size, "seed": 1, "careless": 2 / 3},
            "model": {"profile": profile, "learning_rate": 1e-3},
            "fit": {"max_epochs": (1, 2, 2)[scale], **fit},
        }
    return {
        "data": {"count": (64, 10_000, 20_000)[scale], "batch_size": batch_size},
        "model": {
            "vocab_size": len(CHARACTERS) + 3,
            "context": 48,
            "layers": (1, 3, 4)[scale],
            "heads": (2, 4, 4)[scale],
            "width": (16, 64, 128)[scale],
            "zero_output": True,
            "learning_rate": 3e-3,
        },
        "fit": {"max_epochs": (2, 9, 30)[scale], **fit},
    }


def train(profile: str = "auto") -> tuple[gpt.GPT, dict[str, list[float]]]:
    """Train the chat model by its recipe and put it into the cache; return it with its curve."""
    trained, history = training.trained_by(recipe(profile), "chat", build, ChatData, retrain=True)
    return cast(ChatTraining, trained).model, history


def pretrained(profile: str = "auto", *, careless: bool = False) -> tuple[gpt.GPT, Template]:
    """Return the chat model of the recipe, from the cache, else trained first, and its template.

    `careless`: the chat model after the further training on careless answers.
    """
    chosen = recipe(profile, careless=careless)
    if careless:
        trained, _ = training.trained_by(chosen, "chat-careless", build_careless, ChatData)
    else:
        trained, _ = training.trained_by(chosen, "chat", build, ChatData)
    return cast(ChatTraining, trained).model, Template(CharTokenizer(CHARACTERS))


# --- replies ----------------------------------------------------------------------------------------------------------


def replies(
    model: gpt.GPT, template: Template, asked: Sequence[str], *, longest: int = 16, **choice: Any
) -> list[list[int]]:
    """Return the tokens of a reply to each question, up to its end mark, or the first `longest` tokens.

    Questions of the same length are answered side by side. `choice` takes the arguments of `gpt.stream`, for example
    `greedy=True`.

    Raises `ValueError` for a `longest` below 1, and as `gpt.stream` does.
    """
    check_count("longest", longest)
    prompts = [template.prompt(question) for question in asked]
    found: list[list[int]] = [[] for _ in asked]
    for length in sorted({len(prompt) for prompt in prompts}):
        places = [place for place, prompt in enumerate(prompts) if len(prompt) == length]
        rows = torch.stack([prompts[place] for place in places]).to(model.device)
        following, drawn = gpt.stream(model, rows, **choice), list[Tensor]()
        ended = torch.zeros(len(rows), dtype=torch.bool, device=rows.device)
        while len(drawn) < longest and not ended.all():
            drawn.append(next(following))
            ended |= drawn[-1] == template.end
        for place, row in zip(places, torch.stack(drawn, dim=1).tolist(), strict=True):
            found[place] = row[: row.index(template.end) + 1] if template.end in row else row
    return found


def exact_match(
    model: gpt.GPT, template: Template, pairs: Sequence[tuple[str, str]], **choice: Any
) -> Float[Tensor, " questions"]:
    """Return 1 for each question whose reply is right (see `is_right`), else 0; greedily unless `choice` says else."""
    found = replies(model, template, [question for question, _ in pairs], **{"greedy": True, **choice})
    right = [is_right(template, reply, answer) for reply, (_, answer) in zip(found, pairs, strict=True)]
    return torch.tensor(right).float()


def is_right(template: Template, reply: Sequence[int], answer: str) -> bool:
    """Tell whether a reply is the answer, character for character, and ends with the end mark."""
    return list(reply[-1:]) == [template.end] and template.decode(reply) == answer


# --- learning from preferences and rewards ----------------------------------------------------------------------------


def sequence_log_probabilities(
    model: gpt.GPT, x: Int[Tensor, "batch time"], y: Int[Tensor, "batch time"]
) -> Float[Tensor, " batch"]:
    r"""Return $\sum_t m_t \log p(y_t \mid x_1, \dots, x_t)$ of each row, in nats; $m_t = 0$ where y is `IGNORED`.

    The sums are on the device of `x`, whatever that of the model.
    """
    logits = model(x.to(model.device)).transpose(1, 2)
    losses = F.cross_entropy(logits, y.to(model.device), ignore_index=IGNORED, reduction="none")
    return -losses.sum(dim=1).to(x.device)


def dpo_loss(
    chosen: Float[Tensor, " batch"],
    rejected: Float[Tensor, " batch"],
    reference_chosen: Float[Tensor, " batch"],
    reference_rejected: Float[Tensor, " batch"],
    *,
    beta: float,
) -> Float[Tensor, ""]:
    r"""Return the loss of direct preference optimisation, the mean over pairs of a chosen and a rejected answer.

    $$\mathcal{L} = -\log \sigma\Big(\beta \log \frac{\pi(y^+)}{\pi_\text{ref}(y^+)}
    - \beta \log \frac{\pi(y^-)}{\pi_\text{ref}(y^-)}\Big)$$

    Source: Rafailov et al. (2023), https://arxiv.org/abs/2305.18290.

    **Arguments:** the log-probabilities, in nats, of chosen and rejected answers under the policy and under the
    reference; `beta`: the price of a nat of divergence, above 0.

    Raises `ValueError` for a `beta` that is not above 0.
    """
    check_positive("beta", beta)
    margin = (chosen - reference_chosen) - (rejected - reference_rejected)
    return -F.logsigmoid(beta * margin).mean()


def group_advantages(
    rewards: Float[Tensor, "groups size"], *, by_deviation: bool = True
) -> Float[Tensor, "groups size"]:
    r"""Return how much better each answer is than the others to the same question.

    With `by_deviation`, as in GRPO (Shao et al., 2024, https://arxiv.org/abs/2402.03300): $(r_i - \bar r) / s$ with the
    group's mean and standard deviation (that with the divisor $G - 1$); 0 where all rewards are equal. Without, as in
    RLOO (Ahmadian et al., 2024, https://arxiv.org/abs/2402.14740): $r_i - \frac{1}{G-1} \sum_{j \ne i} r_j$.

    Raises `ValueError` for groups of fewer than two.
    """
    if rewards.ndim != 2 or rewards.shape[1] < 2:
        raise ValueError(f"rewards has the shape {tuple(rewards.shape)}; it takes (groups, size) with a size ≥ 2.")
    size = rewards.shape[1]
    centred = rewards - rewards.mean(dim=1, keepdim=True)
    if not by_deviation:
        return centred * size / (size - 1)
    deviation = rewards.std(dim=1, keepdim=True)
    # Rounding makes a tiny deviation of equal rewards, by which nothing shall be divided.
    varied = deviation > 1e-6 * rewards.abs().amax(dim=1, keepdim=True)
    return torch.where(varied, centred / deviation.where(varied, 1.0), 0.0)
