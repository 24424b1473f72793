"""The checker of the CPU sprint: what it measures, and what it refuses."""

import math
import queue
from pathlib import Path
from typing import Any

import pytest
import sprint
import torch
from torch import Tensor, nn

ENTRIES = sorted(path.stem for path in sprint.FOLDER.glob("*.py"))
VOCABULARY = 7


class Bigram(nn.Module):
    context = 8

    def __init__(self, context: int = 8, weights: int = VOCABULARY) -> None:
        super().__init__()
        self.context = context
        self.table = nn.Embedding(VOCABULARY, weights)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.table(tokens)[..., :VOCABULARY]


class SeesAhead(Bigram):
    def forward(self, tokens: Tensor) -> Tensor:
        return self.table(tokens.roll(-1, dims=1))


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = torch.randint(VOCABULARY, (60,), generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr(sprint, "texts", lambda: (tokens, tokens.flip(0), VOCABULARY))


def entry(folder: Path, body: str) -> Path:
    path = folder / "entry.py"
    path.write_text(
        f"import time\nimport torch\nSTEPS = 2\n\n\ndef train(tokens, vocab_size, seed, steps=STEPS):\n{body}"
    )
    return path


def test_equal_chances_cost_the_logarithm_of_their_number() -> None:
    model = Bigram()
    nn.init.zeros_(model.table.weight)
    for count in (2, 8, 9, 30):
        assert sprint.judge(model, torch.arange(count) % VOCABULARY) == pytest.approx(math.log(VOCABULARY))


def test_every_token_but_the_first_is_judged_once() -> None:
    model, tokens = Bigram(), torch.arange(23) % VOCABULARY
    logits = model.table.weight.log_softmax(dim=-1)
    by_hand = -logits[tokens[:-1], tokens[1:]].mean().item()
    assert sprint.judge(model, tokens) == pytest.approx(by_hand, abs=1e-6)


def test_a_model_that_keeps_the_rules_is_counted() -> None:
    assert sprint.check_model(Bigram(), VOCABULARY) == VOCABULARY**2


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("model", "message"),
    [
        (SeesAhead(), "with other tokens from position"),
        (Bigram(weights=200_000), "1,400,000 numbers; at most 1,000,000"),
        (Bigram(context=1), "`context` is 1"),
        (nn.Linear(2, 2), "`context` is None"),
    ],
)
def test_a_model_that_breaks_a_rule_is_refused(model: nn.Module, message: str) -> None:
    with pytest.raises(sprint.RuleBroken, match=message):
        sprint.check_model(model, VOCABULARY)


@pytest.mark.bad_input
def test_a_buffer_counts_and_a_wrong_shape_is_refused() -> None:
    model = Bigram()
    model.register_buffer("stored", torch.zeros(2_000_000))
    with pytest.raises(sprint.RuleBroken, match="2,000,049 numbers"):
        sprint.check_model(model, VOCABULARY)
    with pytest.raises(sprint.RuleBroken, match=r"logits have the shape \(4, 8, 5\); \(4, 8, 7\) was due"):
        sprint.check_model(Bigram(weights=5), VOCABULARY)


@pytest.mark.bad_input
@pytest.mark.parametrize("text", [None, "STEPS = 3", "def train(): ..."])
def test_a_file_without_an_entry_is_refused(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "entry.py"
    if text is not None:
        path.write_text(text)
    with pytest.raises(sprint.RuleBroken, match="there is no file" if text is None else "needs a function"):
        sprint.load(path)


def test_training_beyond_the_budget_is_refused(tmp_path: Path, small: None, monkeypatch: pytest.MonkeyPatch) -> None:
    path = entry(tmp_path, "    end = time.process_time() + 0.2\n    while time.process_time() < end:\n        pass\n")
    monkeypatch.setattr(sprint, "BUDGET", 0.1)
    said: Any = queue.Queue()
    sprint.one_run(path, 0, None, said)
    assert "CPU-seconds; 0 are allowed" in said.get_nowait()


@pytest.mark.parametrize("name", ENTRIES)
def test_every_entry_keeps_the_rules_and_repeats_itself(name: str) -> None:
    made, tokens = sprint.load(sprint.FOLDER / f"{name}.py"), torch.randint(65, (3_000,))
    models = [made.train(tokens, 65, 0, steps=1) for _ in range(2)]
    assert sprint.check_model(models[0], 65) <= sprint.MOST_WEIGHTS
    for one, other in zip(models[0].parameters(), models[1].parameters(), strict=True):
        assert torch.equal(one, other)
