"""The checker of the CPU sprint: what it measures, and what it refuses."""

import json
import math
import queue
import re
from pathlib import Path
from typing import Any

import common
import pytest
import sprint
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import book
from aigc_course import dqn

ENTRIES = sorted(sprint.FOLDER.glob("*/*.py"))
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


def judged_on(tokens: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sprint, "texts", lambda: (tokens, tokens, VOCABULARY))


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    judged_on(torch.randint(VOCABULARY, (60,), generator=torch.Generator().manual_seed(0)), monkeypatch)


def entry(folder: Path, body: str) -> Path:
    path = folder / "entry.py"
    path.write_text(
        f"import time\nimport torch\nSTEPS = 2\n\n\ndef train(tokens, vocab_size, seed, steps=STEPS):\n{body}"
    )
    return path


class Ink(nn.Module):
    """One logit for all pixels; or the pixels themselves, moved on by `ahead` places."""

    def __init__(self, ahead: int | None = None) -> None:
        super().__init__()
        self.logit, self.ahead = nn.Parameter(torch.tensor(0.3)), ahead

    def forward(self, x: Tensor) -> Tensor:
        if self.ahead is None:
            return self.logit * torch.ones_like(x)
        flat = x.flatten(1)
        before = torch.zeros(len(x), max(0, -self.ahead))
        return torch.cat([before, flat[:, : flat.shape[1] - before.shape[1]]], dim=1).view_as(x)


class Draws(nn.Module):
    """Draws real digits of the class; or what `made` returns."""

    def __init__(self, made: Any = None) -> None:
        super().__init__()
        self.made = made

    def draw(self, labels: Tensor) -> Tensor:
        if self.made is not None:
            return self.made(labels)
        x, y = sprint.given_digits()
        chosen = [(y == label).nonzero()[:, 0] for label in labels]
        return torch.stack([x[places[torch.randint(len(places), ())]] for places in chosen])


def test_equal_chances_cost_the_logarithm_of_their_number(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Bigram()
    nn.init.zeros_(model.table.weight)
    for count in (2, 8, 9, 30):
        judged_on(torch.arange(count) % VOCABULARY, monkeypatch)
        assert sprint.judge_text(model)["nats"] == pytest.approx(math.log(VOCABULARY))


def test_every_token_but_the_first_is_judged_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model, tokens = Bigram(), torch.arange(23) % VOCABULARY
    logits = model.table.weight.log_softmax(dim=-1)
    by_hand = -logits[tokens[:-1], tokens[1:]].mean().item()
    judged_on(tokens, monkeypatch)
    assert sprint.judge_text(model)["nats"] == pytest.approx(by_hand, abs=1e-6)


def test_one_logit_for_all_pixels_costs_the_entropy_of_the_ink() -> None:
    model, x = Ink(), sprint.ImageData("binary_digits").split("test")[0]
    sprint.check_likelihood(model)
    share = x.mean()
    with torch.no_grad():
        model.logit.copy_(torch.logit(share))
    entropy = -784 * (share * share.log() + (1 - share) * (1 - share).log())
    assert sprint.judge_likelihood(model)["nats"] == pytest.approx(float(entropy), rel=1e-4)


def test_real_digits_are_at_a_distance_near_zero() -> None:
    found = sprint.judge_digits(Draws())
    assert found["judge_accuracy"] > 0.95
    assert 0 <= found["frechet"] < 1.5


def test_an_untrained_player_scores_little_and_twice_the_same() -> None:
    torch.manual_seed(0)
    model = dqn.ConvQNetwork((4, 10, 10), 3, hidden=8)
    sprint.check_breakout(model)
    scores = [sprint.judge_breakout(model)["score"] for _ in range(2)]
    assert scores[0] == scores[1]
    assert 0 <= scores[0] < 5


def test_a_model_that_keeps_the_rules_is_counted() -> None:
    sprint.check_text(Bigram())
    assert sprint.count_weights(Bigram()) == VOCABULARY**2


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("model", "message"),
    [
        (SeesAhead(), "with other tokens from position"),
        (Bigram(context=1), "`context` is 1"),
        (nn.Linear(2, 2), "`context` is None"),
    ],
)
def test_a_text_model_that_breaks_a_rule_is_refused(model: nn.Module, message: str) -> None:
    with pytest.raises(sprint.RuleBroken, match=message):
        sprint.check_text(model)


@pytest.mark.bad_input
def test_a_pixel_that_sees_itself_is_refused() -> None:
    sprint.check_likelihood(Ink(ahead=-1))
    with pytest.raises(sprint.RuleBroken, match="from number 0 on, itself included"):
        sprint.check_likelihood(Ink(ahead=0))
    with pytest.raises(sprint.RuleBroken, match=r"\(4, 784\); \(4, 1, 28, 28\) was due"):
        sprint.check_likelihood(nn.Flatten())


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda labels: torch.zeros(len(labels), 784), "for 10 labels"),
        (lambda labels: torch.full((len(labels), 1, 28, 28), 1.5), "outside"),
        (lambda labels: torch.full((len(labels), 1, 28, 28), torch.nan), "outside"),
    ],
)
def test_pictures_of_another_kind_are_refused(made: Any, message: str) -> None:
    with pytest.raises(sprint.RuleBroken, match=message):
        sprint.check_digits(Draws(made))


@pytest.mark.bad_input
def test_digits_that_were_not_asked_for_are_refused() -> None:
    with pytest.raises(sprint.RuleBroken, match="90 % are due"):
        sprint.judge_digits(Draws(lambda labels: Draws().draw((labels + 1) % 10)))
    with pytest.raises(sprint.RuleBroken, match="no method `draw`"):
        sprint.check_digits(nn.Linear(2, 2))


@pytest.mark.bad_input
@pytest.mark.parametrize("name", ["muon_gpt", "nowhere/muon_gpt", "text/../text/muon_gpt"])
def test_an_entry_without_a_track_is_refused(name: str) -> None:
    with pytest.raises(sprint.RuleBroken, match="has no track"):
        sprint.check(name, 1)


@pytest.mark.bad_input
def test_a_buffer_counts_and_a_wrong_shape_is_refused() -> None:
    model = Bigram()
    model.register_buffer("stored", torch.zeros(2_000_000))
    with pytest.raises(sprint.RuleBroken, match="2,000,049 numbers"):
        sprint.count_weights(model)
    with pytest.raises(sprint.RuleBroken, match="returned a int"):
        sprint.count_weights(3)  # type: ignore[arg-type]
    with pytest.raises(sprint.RuleBroken, match=r"logits have the shape \(4, 8, 5\); \(4, 8, 7\) was due"):
        sprint.check_text(Bigram(weights=5))


@pytest.mark.bad_input
@pytest.mark.parametrize("text", [None, "STEPS = 3", "def train(): ..."])
def test_a_file_without_an_entry_is_refused(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "entry.py"
    if text is not None:
        path.write_text(text)
    with pytest.raises(sprint.RuleBroken, match="there is no file" if text is None else "needs a function"):
        sprint.load(path)


def test_training_beyond_the_budget_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "text").mkdir()
    body = "    end = time.process_time() + 0.2\n    while time.process_time() < end:\n        pass\n"
    path = entry(tmp_path / "text", body)
    monkeypatch.setattr(sprint, "BUDGET", 0.1)
    said: Any = queue.Queue()
    sprint.one_run(path, 0, said)
    assert "CPU-seconds; 0 are allowed" in said.get_nowait()


def test_operations_are_those_that_pytorch_counts_and_gradients_of_gradients_too() -> None:
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Tanh(), nn.Linear(4 * 36, 2))
    x = torch.randn(5, 1, 8, 8)
    with FlopCounterMode(display=False) as theirs:
        network(x).square().sum().backward()
    with common.Operations() as once:
        network(x).square().sum().backward()
    assert once.total == theirs.get_total_flops() > 0
    with common.Operations() as twice:
        (slope,) = torch.autograd.grad(network(x.requires_grad_()).sum(), x, create_graph=True)
        slope.square().sum().backward()
    assert twice.total > once.total


@pytest.mark.parametrize("path", ENTRIES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_entry_keeps_the_rules_and_repeats_itself(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    track, made = sprint.TRACKS[path.parent.name], sprint.load(path)
    tokens = torch.randint(65, (3_000,), generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr(sprint, "texts", lambda: (tokens, tokens, 65))
    models = [made.train(*track.given(), 0, steps=1).eval() for _ in range(2)]
    track.check(models[0])
    assert sprint.count_weights(models[0]) <= sprint.MOST_WEIGHTS
    for one, other in zip(models[0].parameters(), models[1].parameters(), strict=True):
        assert torch.equal(one, other)


def test_page_has_a_table_for_every_track_with_the_best_first() -> None:
    table = book.sprint_table()
    tracks = re.findall(r"^### (\w+)$", table, re.MULTILINE)
    assert tracks == list(sprint.TRACKS) == list(book.SPRINT)
    entries = json.loads(sprint.TARGET.read_text("utf-8"))["entries"]
    for track, part in zip(tracks, table.split("### ")[1:], strict=True):
        rows = [line.split("|")[1:-1] for line in part.splitlines() if line.startswith("| `")]
        names = {cells[0].split("`")[1] for cells in rows}
        assert names == {entry["name"] for entry in entries if entry["track"] == track}
        assert all((sprint.FOLDER / track / f"{name}.py").is_file() for name in names)
        figures = [float(cells[1].split("±")[0]) for cells in rows]
        assert figures == sorted(figures, reverse=track == "breakout")
        assert all(float(cells[2]) <= sprint.BUDGET for cells in rows)
    assert "muon_gpt" in table
