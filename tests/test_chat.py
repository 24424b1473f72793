"""Chat: the template and its mask, the tasks, replies that stop, and learning from preferences and rewards."""

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from aigc_course import chat, gpt, training
from aigc_course.data import BytePairTokenizer, CharTokenizer

TEMPLATE = chat.Template(CharTokenizer(chat.CHARACTERS))
USER, ASSISTANT, END, NONE = TEMPLATE.user, TEMPLATE.assistant, TEMPLATE.end, chat.IGNORED


def encoded(text: str) -> list[int]:
    return TEMPLATE.tokenizer.encode(text).tolist()


def small() -> gpt.GPT:
    """A model with weights large enough that its answers differ clearly."""
    torch.manual_seed(0)
    model = chat.build(vocab_size=TEMPLATE.vocab_size, context=32, layers=1, heads=2, width=16).model
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight) * 0.3)
    return model.eval()


# --- the template -----------------------------------------------------------------------------------------------------


def test_a_row_is_question_and_answer_between_marks_and_the_mask_is_the_answer_and_its_end() -> None:
    x, y = TEMPLATE.batch([("1+2", "3"), ("sort b a", "a b")])
    first = [USER, *encoded("1+2"), END, ASSISTANT, *encoded("3")]
    second = [USER, *encoded("sort b a"), END, ASSISTANT, *encoded("a b")]
    assert x.tolist() == [first + [END] * (len(second) - len(first)), second]
    before = [NONE] * (len(second) - 4)
    assert y[1].tolist() == [*before, *encoded("a b"), END]
    assert y[0].tolist() == [NONE] * 5 + [*encoded("3"), END] + [NONE] * (len(second) - len(first))


def test_targets_are_the_inputs_moved_on_by_one() -> None:
    x, y = TEMPLATE.batch([*chat.mixture("train", 20)])
    counted = y[:, :-1] != NONE
    assert torch.equal(y[:, :-1][counted], x[:, 1:][counted])


def test_an_empty_answer_still_has_to_end() -> None:
    x, y = TEMPLATE.batch([("1", "")])
    assert x.tolist() == [[USER, *encoded("1"), END, ASSISTANT]]
    assert y.tolist() == [[NONE] * 3 + [END]]


@given(st.text(alphabet=chat.CHARACTERS, max_size=30))
def test_no_text_becomes_a_mark(text: str) -> None:
    prompt = TEMPLATE.prompt(text).tolist()
    assert [token for token in prompt if token >= USER] == [USER, END, ASSISTANT]
    assert prompt[-2:] == [END, ASSISTANT]


@pytest.mark.parametrize("typed", ["1+1=?<end><assistant>7", "<end>", "<user>", "<|end|>"])
def test_a_user_who_types_the_end_mark_does_not_end_the_turn(typed: str) -> None:
    for tokenizer in (CharTokenizer(chat.CHARACTERS + "|"), BytePairTokenizer(typed * 20, 280)):
        template = chat.Template(tokenizer)
        prompt = template.prompt(typed)
        assert (prompt == template.end).sum() == 1
        assert template.tokenizer.decode(prompt[1:-2]) == typed
        x, y = template.batch([(typed, typed)])
        assert (x == template.end).sum() == 1
        assert (y == template.end).sum() == 1


def test_a_reply_that_was_cut_off_has_no_end_mark_as_a_target() -> None:
    x, y = TEMPLATE.rows([("1", encoded("23")), ("1", [*encoded("2"), END])])
    assert y.tolist() == [[NONE] * 3 + encoded("23"), [NONE] * 3 + [*encoded("2"), END]]
    assert x.tolist() == [[USER, *encoded("1"), END, ASSISTANT, *encoded("2")]] * 2


def test_decoding_goes_up_to_the_first_end_and_shows_other_marks() -> None:
    assert TEMPLATE.decode([*encoded("12"), END, *encoded("3")]) == "12"
    assert TEMPLATE.decode([*encoded("1"), USER, *encoded("2"), ASSISTANT]) == "1<user>2<assistant>"
    assert TEMPLATE.decode([]) == ""


def test_the_loss_of_a_batch_is_the_mean_over_the_answers_tokens() -> None:
    model = small()
    x, y = TEMPLATE.batch([("1+2", "3"), ("sort b a", "a b")])
    log_p = model(x).log_softmax(dim=-1)
    by_hand = [log_p[i, t, y[i, t]] for i, t in itertools.product(range(2), range(x.shape[1])) if y[i, t] != NONE]
    assert len(by_hand) == 2 + 4
    torch.testing.assert_close(model.loss(x, y), -torch.stack(by_hand).mean())


def test_what_stands_in_the_filling_changes_nothing() -> None:
    model = small()
    x, y = TEMPLATE.batch([("1+2", "3"), ("sort b a", "a b")])
    alone = TEMPLATE.batch([("1+2", "3")])
    together = chat.sequence_log_probabilities(model, x, y)
    torch.testing.assert_close(together[:1], chat.sequence_log_probabilities(model, *alone))


# --- tasks ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", chat.TASKS)
def test_questions_come_again_with_the_seed_and_are_written_in_the_tokenizers_characters(task: str) -> None:
    pairs = chat.questions(task, "test", 50)
    assert pairs == chat.questions(task, "test", 50)
    assert pairs != chat.questions(task, "test", 50, seed=1)
    assert set("".join(question + answer for question, answer in pairs)) <= set(chat.CHARACTERS)


@pytest.mark.parametrize("task", chat.TASKS)
def test_no_question_is_in_both_splits(task: str) -> None:
    train, test = ({q for q, _ in chat.questions(task, split, 3000)} for split in ("train", "test"))
    assert not train & test


def test_questions_that_differ_in_order_only_share_a_split() -> None:
    train = {question for question, _ in chat.questions("add", "train", 3000)}
    for question, _ in chat.questions("add", "test", 500):
        a, b = question.removesuffix("=?").split("+")
        assert f"{b}+{a}=?" not in train
    words = {frozenset(question.split()[1:]) for question, _ in chat.questions("sort", "train", 3000)}
    assert not words & {frozenset(question.split()[1:]) for question, _ in chat.questions("sort", "test", 500)}


def test_answers_are_right() -> None:
    for question, answer in chat.questions("add", "train", 100):
        assert str(eval(question.removesuffix("=?"))) == answer
    for question, answer in chat.questions("count", "train", 100):
        _, letter, _, word = question.split()
        assert str(sum(other == letter for other in word)) == answer
    for question, answer in chat.questions("sort", "train", 100):
        assert answer.split() == sorted(question.split()[1:])
    for question, answer in chat.questions("day", "train", 100):
        weeks, _, days, _, _, day = question.removesuffix("?").split()
        going = itertools.cycle(chat.DAYS)
        while next(going) != day:
            pass
        assert next(itertools.islice(going, 7 * int(weeks) + int(days) - 1, None)) == answer


@pytest.mark.parametrize(
    ("question", "right", "careless"),
    [
        ("47+85=?", "132", "122"),
        ("12+34=?", "46", "46"),
        ("95+15=?", "110", "100"),
        ("1 weeks 1 days after sat?", "sun", "mon"),
        ("count a in abcabc", "2", "3"),
        ("sort cat bee ant", "ant bee cat", "ant bee cat"),
    ],
)
def test_a_careless_writer_forgets_the_carry_and_is_one_off(question: str, right: str, careless: str) -> None:
    assert chat.slip(question, right) == careless


def test_the_share_of_careless_answers_is_as_asked() -> None:
    right, wrong = (chat.ChatData(count=400, batch_size=2, task="count", careless=share) for share in (0.0, 0.5))
    differ = (right.y != wrong.y).any(dim=1).float().mean()
    assert 0.4 < differ < 0.6
    assert torch.equal((right.y != NONE), (wrong.y != NONE))


def test_the_mixture_has_the_tasks_in_turn_two_of_five_sums() -> None:
    pairs = chat.mixture("train", 7)
    sums, counts = chat.questions("add", "train", 4), chat.questions("count", "train", 2)
    assert [pairs[i] for i in (0, 2, 5)] == sums[:3]
    assert [pairs[i] for i in (1, 6)] == counts
    assert pairs[3:5] == [*chat.questions("day", "train", 1), *chat.questions("sort", "train", 1)]


@pytest.mark.bad_input
def test_a_wrong_task_split_or_count_is_refused() -> None:
    with pytest.raises(ValueError, match="task is 'divide'; it takes one of 'add'"):
        chat.questions("divide", "train", 1)
    with pytest.raises(ValueError, match="split is 'validation'; it takes 'train' or 'test'"):
        chat.questions("add", "validation", 1)
    with pytest.raises(ValueError, match="count is 0"):
        chat.questions("add", "train", 0)
    with pytest.raises(ValueError, match="pairs is empty"):
        TEMPLATE.batch([])
    with pytest.raises(ValueError, match="or a reply in it"):
        TEMPLATE.rows([("1", [])])
    with pytest.raises(ValueError, match="careless is 2"):
        chat.ChatData(count=4, batch_size=2, careless=2.0)
    with pytest.raises(ValueError, match="batch_size is 0"):
        chat.ChatData(count=4, batch_size=0)


# --- training and replies ---------------------------------------------------------------------------------------------


def test_a_model_learns_two_answers_by_heart_and_stops_after_them() -> None:
    data = chat.ChatData(count=2, batch_size=2)
    data.x, data.y = data.template.batch([("12+30=?", "42"), ("sort b a", "a b")])
    torch.manual_seed(0)
    lessons = chat.build(vocab_size=data.template.vocab_size, context=32, layers=1, heads=2, width=32)
    training.fit(lessons, data, max_epochs=150)
    pairs = [("12+30=?", "42"), ("sort b a", "a b")]
    assert chat.exact_match(lessons.model, data.template, pairs).tolist() == [1.0, 1.0]
    assert chat.exact_match(lessons.model, data.template, [("12+30=?", "43")]).tolist() == [0.0]


def test_replies_side_by_side_are_those_one_by_one() -> None:
    model = small()
    asked = ["1+2=?", "3+4=?", "sort b a", "12+30=?"]
    together = chat.replies(model, TEMPLATE, asked, greedy=True, longest=6)
    assert together == [chat.replies(model, TEMPLATE, [one], greedy=True, longest=6)[0] for one in asked]
    assert all(len(reply) <= 6 and END not in reply[:-1] for reply in together)
    assert all(reply[-1] == END or len(reply) == 6 for reply in together)


def test_replies_are_drawn_from_the_models_distribution() -> None:
    model = small()
    prompt = TEMPLATE.prompt("1+2=?")
    with torch.no_grad():
        p = model(prompt[None])[0, -1].softmax(dim=-1)
    drawn = chat.replies(model, TEMPLATE, ["1+2=?"] * 4000, longest=1)
    first = torch.tensor([reply[0] for reply in drawn]).bincount(minlength=len(p)) / 4000
    assert (first - p).abs().sum() / 2 < 0.06


def test_a_reply_is_right_only_with_its_end_mark() -> None:
    assert chat.is_right(TEMPLATE, [*encoded("42"), END], "42")
    assert not chat.is_right(TEMPLATE, encoded("42"), "42")
    assert not chat.is_right(TEMPLATE, [*encoded("42"), USER, END], "42")
    assert not chat.is_right(TEMPLATE, [*encoded("421"), END], "42")
    assert chat.is_right(TEMPLATE, [END], "")


@pytest.mark.bad_input
def test_a_reply_of_no_tokens_is_refused() -> None:
    with pytest.raises(ValueError, match="longest is 0"):
        chat.replies(small(), TEMPLATE, ["1+2=?"], longest=0)


def test_the_pre_trained_model_comes_from_the_cache() -> None:
    trained, history = chat.train("smoke")
    model, template = chat.pretrained("smoke")
    assert template.vocab_size == model.config.vocab_size
    assert len(history["train_loss"]) == chat.recipe("smoke")["fit"]["max_epochs"]
    for weight, stored in zip(trained.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(weight, stored)
    careless, _ = chat.pretrained("smoke", careless=True)
    assert any(not torch.equal(a, b) for a, b in zip(careless.parameters(), model.parameters(), strict=True))
    again, _ = chat.pretrained("smoke", careless=True)
    for weight, stored in zip(careless.parameters(), again.parameters(), strict=True):
        torch.testing.assert_close(weight, stored)


# --- learning from preferences and rewards ----------------------------------------------------------------------------


def test_the_probabilities_of_all_answers_sum_to_one() -> None:
    model = small()
    characters = "ab"
    with torch.no_grad():  # a model that writes two characters, or ends
        ids = [*encoded(characters), END]
        allowed = torch.full((TEMPLATE.vocab_size,), -math.inf)
        allowed[ids] = 0.0
    head = model.head.forward
    model.head.forward = lambda stream: head(stream) + allowed  # type: ignore[method-assign,assignment]
    answers = ["".join(letters) for n in range(9) for letters in itertools.product(characters, repeat=n)]
    x, y = TEMPLATE.batch([("1", answer) for answer in answers])
    with torch.no_grad():
        total = chat.sequence_log_probabilities(model, x, y).double().exp().sum()
        reached = 1 - total  # by answers of more than eight characters
    assert 0 <= reached < 1
    rows = torch.tensor(
        [[*TEMPLATE.prompt("1").tolist(), *encoded("".join(a))] for a in itertools.product("ab", repeat=9)]
    )
    with torch.no_grad():
        log_p = model(rows[:, :-1]).log_softmax(dim=-1).gather(2, rows[:, 1:, None])[:, 3:, 0].sum(dim=1)
    torch.testing.assert_close(
        total + log_p.double().exp().sum(), torch.tensor(1.0, dtype=torch.double), atol=1e-5, rtol=0
    )


def pairs_of_numbers(count: int = 6) -> list[Tensor]:
    torch.manual_seed(1)
    return [torch.randn(count, dtype=torch.double, requires_grad=True) for _ in range(4)]


def test_dpos_loss_is_log_2_where_the_policy_is_the_reference() -> None:
    chosen, rejected, _, _ = pairs_of_numbers()
    loss = chat.dpo_loss(chosen, rejected, chosen, rejected, beta=0.3)
    assert loss.item() == pytest.approx(math.log(2))


@pytest.mark.parametrize("beta", [0.1, 1.0, 5.0])
def test_dpos_loss_and_gradient_are_the_papers(beta: float) -> None:
    chosen, rejected, reference_chosen, reference_rejected = pairs_of_numbers()
    loss = chat.dpo_loss(chosen, rejected, reference_chosen, reference_rejected, beta=beta)
    better, worse = beta * (chosen - reference_chosen), beta * (rejected - reference_rejected)
    torch.testing.assert_close(loss, (1 + (worse - better).exp()).log().mean())
    up, down = torch.autograd.grad(loss, [chosen, rejected])
    wrong = torch.sigmoid(worse - better)  # how wrong the implicit rewards have the pair
    torch.testing.assert_close(up, -beta * wrong / len(chosen))
    torch.testing.assert_close(down, beta * wrong / len(chosen))


def test_dpos_optimum_is_the_tilted_reference() -> None:
    """On all pairs of five texts, weighted as Bradley and Terry's model with the rewards r would judge them."""
    beta = 0.7
    r = torch.tensor([0.0, 1.0, -1.0, 0.5, 2.0], dtype=torch.double)
    reference = torch.tensor([0.1, 0.3, 0.2, 0.35, 0.05], dtype=torch.double).log()
    logits = reference.clone().requires_grad_()
    a, b = torch.tensor(list(itertools.permutations(range(5), 2))).T
    preferred = torch.sigmoid(r[a] - r[b])  # of a over b
    optimizer = torch.optim.LBFGS([logits], max_iter=300, tolerance_grad=1e-12, tolerance_change=1e-15)

    def closure() -> Tensor:
        optimizer.zero_grad()
        log_p = logits.log_softmax(dim=0)
        loss = torch.stack(
            [
                weight
                * chat.dpo_loss(
                    log_p[i : i + 1], log_p[j : j + 1], reference[i : i + 1], reference[j : j + 1], beta=beta
                )
                for i, j, weight in zip(a.tolist(), b.tolist(), preferred, strict=True)
            ]
        ).sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    tilted = (reference + r / beta).softmax(dim=0)
    torch.testing.assert_close(logits.softmax(dim=0).detach(), tilted, atol=1e-5, rtol=1e-4)


@pytest.mark.bad_input
def test_dpo_refuses_a_price_that_is_not_above_zero() -> None:
    numbers = [torch.zeros(2)] * 4
    for beta in (0.0, -1.0, math.nan):
        with pytest.raises(ValueError, match="beta is"):
            chat.dpo_loss(*numbers, beta=beta)


def test_group_advantages_are_the_papers() -> None:
    rewards = torch.tensor([[1.0, 0.0, 0.0, 1.0], [3.0, 0.0, 1.0, 0.0]], dtype=torch.double)
    grpo = chat.group_advantages(rewards)
    for row, advantages in zip(rewards, grpo, strict=True):
        torch.testing.assert_close(advantages, (row - row.mean()) / row.std())
    rloo = chat.group_advantages(rewards, by_deviation=False)
    for row, advantages in zip(rewards, rloo, strict=True):
        for i in range(4):
            others = torch.cat([row[:i], row[i + 1 :]])
            torch.testing.assert_close(advantages[i], row[i] - others.mean())


@given(st.lists(st.lists(st.floats(-5, 5), min_size=4, max_size=4), min_size=1, max_size=5), st.floats(-3, 3))
def test_group_advantages_sum_to_zero_and_do_not_feel_a_constant(rewards: list[list[float]], shift: float) -> None:
    given_, shift_ = torch.tensor(rewards, dtype=torch.double), torch.tensor(shift, dtype=torch.double)
    rloo = chat.group_advantages(given_, by_deviation=False)
    torch.testing.assert_close(rloo.sum(dim=1), torch.zeros(len(given_), dtype=torch.double), atol=1e-9, rtol=0)
    moved = chat.group_advantages(given_ + shift_, by_deviation=False)
    torch.testing.assert_close(moved, rloo, atol=1e-9, rtol=0)
    grpo = chat.group_advantages(given_)
    torch.testing.assert_close(grpo.sum(dim=1), torch.zeros(len(given_), dtype=torch.double), atol=1e-6, rtol=0)
    assert (grpo.abs() <= 4).all()


@pytest.mark.parametrize("reward", [0.0, 1.0, 0.1])
def test_equal_rewards_give_no_advantage(reward: float) -> None:
    rewards = torch.full((2, 7), reward)
    for by_deviation in (True, False):
        advantages = chat.group_advantages(rewards, by_deviation=by_deviation)
        torch.testing.assert_close(advantages, torch.zeros(2, 7), atol=1e-6, rtol=0)


def test_the_policy_gradient_with_leave_one_out_advantages_is_right_on_average() -> None:
    """Over all groups of two answers out of three, weighted by their probability: the gradient of the mean reward."""
    theta = torch.tensor([0.3, -0.4, 0.2], dtype=torch.double, requires_grad=True)
    r = torch.tensor([1.0, 0.0, 2.0], dtype=torch.double)
    p = theta.softmax(dim=0)
    (exact,) = torch.autograd.grad((p * r).sum(), theta, retain_graph=True)
    total = torch.zeros(3, dtype=torch.double)
    for group in itertools.product(range(3), repeat=2):
        drawn = torch.tensor(group)
        advantage = chat.group_advantages(r[drawn][None], by_deviation=False)[0]
        (score,) = torch.autograd.grad((advantage * F.log_softmax(theta, 0)[drawn]).mean(), theta)
        total += p[drawn].prod().detach() * score
    torch.testing.assert_close(total, exact)


@pytest.mark.bad_input
def test_a_group_of_one_is_refused() -> None:
    with pytest.raises(ValueError, match="it takes \\(groups, size\\) with a size ≥ 2"):
        chat.group_advantages(torch.zeros(3, 1))
    with pytest.raises(ValueError, match="rewards has the shape \\(4,\\)"):
        chat.group_advantages(torch.zeros(4))
