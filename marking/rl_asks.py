"""What is asked of the answers to notebooks/exercises/rl.py when they are marked.

Each function draws inputs, calls the student's functions, and returns what they returned, as data. It runs in the same
process as the student's code, so it holds nothing that must not be read: no solution, and no expected value.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Generator, Tensor, nn

from aigc_course.grading.inside import Answers, gradients

COLUMNS = ("states", "actions", "rewards", "next_states", "terminated")


def _seed(draw: Generator) -> int:
    return int(torch.randint(2**31, (), generator=draw))


def _generator(draw: Generator) -> Generator:
    return Generator().manual_seed(_seed(draw))


def _between(low: float, high: float, draw: Generator) -> float:
    return low + (high - low) * torch.rand((), generator=draw).item()


# Question 1


def targets_terminated(answers: Answers, draw: Generator) -> dict[str, Any]:
    found, given = [], []
    for batch, discount in ((1, 0.9), (7, 0.0), (32, _between(0.5, 0.99, draw)), (32, 1.0)):
        rewards, values = torch.randn(2, batch, generator=draw)
        over = torch.rand(batch, generator=draw) < 0.4
        given.append([rewards, over, torch.zeros(batch, dtype=torch.bool), values])
        found.append(answers.bellman_targets(*given[-1], discount))
    return {"the targets": found, "types": [type(each).__name__ for each in found], "what was given": given}


def targets_truncated(answers: Answers, draw: Generator) -> dict[str, Any]:
    cases = []
    for batch in (4, 32):
        discount = _between(0.5, 0.99, draw)
        rewards, values = torch.randn(2, batch, generator=draw)
        kind = torch.randperm(batch, generator=draw) % 4
        over, cut, never = kind > 1, kind % 2 > 0, torch.zeros(batch, dtype=torch.bool)
        cases.append(
            {
                "cut": cut,
                "with a time limit": answers.bellman_targets(rewards, over, cut, values, discount),
                "without": answers.bellman_targets(rewards, over, never, values, discount),
                "of games that go on": answers.bellman_targets(rewards, never, cut, values, discount),
                "of games worth more": answers.bellman_targets(rewards, never, cut, values + 1, discount),
            }
        )
    return {"the targets": cases}


# Question 2


def epsilon_greedy(answers: Answers, draw: Generator) -> dict[str, Any]:
    found = []
    for batch, actions in ((1, 2), (50, 6), (500, 3)):
        values = torch.randint(-3, 4, (batch, actions), generator=draw).float()  # with many ties
        found.append(answers.epsilon_greedy(values, 0.0, _generator(draw)))
    return {"the actions": found, "types": [type(each).__name__ for each in found]}


def epsilon_random(answers: Answers, draw: Generator) -> dict[str, Any]:
    cases = []
    for actions, different in ((2, 6000), (3, 6000), (7, 6000), (4, 1)):
        values = torch.randn(different, actions, generator=draw).repeat(6000 // different, 1)
        cases.append({"values": values, "actions": answers.epsilon_greedy(values.clone(), 1.0, _generator(draw))})
    return {"of nothing but exploration": cases}


def epsilon_mixture(answers: Answers, draw: Generator) -> dict[str, Any]:
    generator, found = _generator(draw), {}
    # Few rows in many calls: rows that depend on each other are the other checks' business.
    values = torch.randn(4, generator=draw).repeat(5, 1)
    for epsilon in (0.0, 1.0, 0.1, 0.5, 0.8):
        calls = [answers.epsilon_greedy(values, epsilon, generator) for _ in range(900)]
        found[f"epsilon {epsilon}"] = torch.cat(calls)
    some, none = [], []
    for _ in range(120):
        values = torch.randn(40, 10, generator=draw)
        some.append(answers.epsilon_greedy(values, 0.5, generator))
        none.append(answers.epsilon_greedy(values, 0.0, generator))
    return {"the actions": found, "some explore": torch.stack(some), "none explores": torch.stack(none)}


def epsilon_generator(answers: Answers, draw: Generator) -> dict[str, Any]:
    values, seed, cases = torch.randn(40, 5, generator=draw), _seed(draw), []

    def actions(epsilon: float, generator: Generator | int) -> Tensor:
        generator = Generator().manual_seed(generator) if isinstance(generator, int) else generator
        return answers.epsilon_greedy(values, epsilon, generator)

    for epsilon in (0.7, 0.9):  # torch's own generator is somewhere else each time
        one = Generator().manual_seed(seed)
        cases.append(
            {
                "the same seed": [actions(epsilon, seed), actions(epsilon, seed)],
                "other seeds": torch.stack([actions(epsilon, seed + k) for k in range(1, 25)]),
                "one after the other": torch.stack([actions(epsilon, one) for _ in range(25)]),
            }
        )
    return {"a little exploration": cases, "nothing but exploration": [actions(1.0, seed), actions(1.0, seed)]}


# Question 3


def _transitions(draw: Generator, count: int, width: int) -> dict[str, Tensor]:
    return {
        "states": torch.randn(count, width, generator=draw),
        "actions": torch.randint(1, 1000, (count,), generator=draw),
        "rewards": torch.randn(count, generator=draw),
        "next_states": torch.randn(count, width, generator=draw),
        "terminated": torch.rand(count, generator=draw) < 0.5,
    }


def ring_rows(answers: Answers, draw: Generator) -> dict[str, Any]:
    cases = []
    for capacity, width, counts in ((8, 2, (1, 1, 3)), (5, 3, (5,)), (30, 1, (7, 1, 12))):
        buffer = answers.new_buffer(capacity, width)
        tensors, added, batches = {name: buffer[name] for name in COLUMNS}, [], []
        for count in counts:
            batches.append(_transitions(draw, count, width))
            answers.add_to_buffer(buffer, batches[-1])
            added.append(buffer["added"])
        now = {name: buffer[name] for name in COLUMNS}
        cases.append({"added": added, "the buffer": now, "its first tensors": tensors, "the batches": batches})
    return {"cases": cases}


def ring_oldest(answers: Answers, draw: Generator) -> dict[str, Any]:
    cases = []
    for capacity, counts in ((4, (3, 3, 4, 1, 2)), (7, (7, 7, 1)), (5, (1,) * 13), (10, (8, 9, 10, 3))):
        # A second buffer, so large that nothing in it is overwritten.
        ring, line = answers.new_buffer(capacity, 2), answers.new_buffer(100, 2)
        for count in counts:
            batch = _transitions(draw, count, 2)
            for buffer in (ring, line):
                answers.add_to_buffer(buffer, {name: column.clone() for name, column in batch.items()})
        cases.append([{name: buffer[name] for name in COLUMNS} for buffer in (ring, line)])
    return {"the buffer, and a large one": cases}


def draw_rows(answers: Answers, draw: Generator) -> dict[str, Any]:
    cases = []
    for stored, count in ((6, 1), (6, 5), (50, 40)):
        buffer = {**_transitions(draw, stored, 2), "added": stored}
        batch = answers.sample_from_buffer(buffer, count, _generator(draw))
        drawn = {name: column.clone() if isinstance(column, Tensor) else column for name, column in batch.items()}
        for column in batch.values():
            if isinstance(column, Tensor):
                column.zero_()  # the batch is the caller's, and no part of the buffer
        cases.append({"the batch": drawn, "the buffer": {name: buffer[name] for name in (*COLUMNS, "added")}})
    return {"cases": cases}


def draw_evenly(answers: Answers, draw: Generator) -> dict[str, Any]:
    cases = []
    for capacity, added in ((20, 7), (6, 6), (5, 13), (5, 5000)):
        buffer, stored = answers.new_buffer(capacity, 2), min(capacity, added)
        for name, column in _transitions(draw, stored, 2).items():
            buffer[name][:stored] = column
        buffer["added"] = added
        rewards = buffer["rewards"][:stored].clone()
        # By the rewards alone: whether the other columns belong to them is the other check's business.
        batch = answers.sample_from_buffer(buffer, 4000, _generator(draw))
        cases.append({"stored": rewards, "drawn": batch["rewards"]})
    return {"the rewards": cases}


def stack_rows(answers: Answers, draw: Generator) -> dict[str, Any]:
    found, types, given = [], [], []
    for stored, count, chance in ((12, 4, 0.2), (30, 2, 0.4), (9, 5, 0.0), (6, 1, 1.0)):
        pictures = torch.randint(1, 256, (stored, 3, 2), generator=draw).to(torch.uint8)
        begins = torch.rand(stored, generator=draw) < chance
        begins[0] = True
        places = torch.cat([torch.randperm(stored, generator=draw), torch.randint(stored, (stored,), generator=draw)])
        stacks = answers.stack_pictures(pictures, begins, places, count)
        types.append(type(stacks).__name__)
        found.append(stacks.clone() if isinstance(stacks, Tensor) else stacks)
        if count < 3 and isinstance(stacks, Tensor):
            stacks.zero_()  # the stacks are the caller's, and no part of the stored pictures
        given.append([pictures, begins, places])
    return {"the stacks": found, "types": types, "what was given": given}


# Question 4


def double_choice(answers: Answers, draw: Generator) -> dict[str, Any]:
    found = []
    for batch, width, actions in ((1, 3, 2), (6, 4, 3), (20, 2, 7), (5, 5, 5)):
        states, networks = torch.randn(batch, width, generator=draw), []
        for _ in range(2):
            network = nn.Linear(width, actions)
            drawn = {name: torch.randn(each.shape, generator=draw) for name, each in network.named_parameters()}
            network.load_state_dict(drawn)
            networks.append(network)
        found.append(answers.double_values(*networks, states))
    return {"the values": found, "types": [type(each).__name__ for each in found]}


def double_gradient(answers: Answers, draw: Generator) -> dict[str, Any]:
    networks = [answers.table_network((3 * torch.randn(8, 3, generator=draw)).tolist()) for _ in range(2)]
    states = torch.randperm(8, generator=draw)
    values = answers.double_values(*networks, states)
    after = [
        {
            "can learn": network.weight.requires_grad,
            "in the mode of training": network.training,
            "the gradient": network.weight.grad,
            "the table": network.weight.detach().clone(),
        }
        for network in networks
    ]
    with torch.no_grad():
        for network in networks:
            network.weight *= -1
    return {
        "has a gradient": values.requires_grad,
        "the values": values,
        "the networks": after,
        "the values of other tables": answers.double_values(*networks, states),
    }


def huber_value(answers: Answers, draw: Generator) -> dict[str, Any]:
    losses = []
    for count, actions, discount in (
        (1, 2, 0.9),
        (1, 3, 0.0),
        (6, 3, _between(0.5, 0.99, draw)),
        (30, 5, 0.7),
        (4, 4, 1.0),
    ):
        losses.append(answers.td_loss(*answers.table_batch(count, actions, _seed(draw)), discount))
    return {"the loss": losses}


def huber_gradient(answers: Answers, draw: Generator) -> dict[str, Any]:
    cases = []
    for count, actions, discount in ((1, 2, 0.9), (7, 3, _between(0.5, 0.99, draw)), (31, 5, 0.7)):
        online, target, batch = answers.table_batch(count, actions, _seed(draw))
        batch["rewards"] *= 5  # errors beyond 1 as well
        loss = answers.td_loss(online, target, batch, discount)
        slopes = gradients(loss, [online.weight, target.weight])
        cases.append({"the loss": loss, "of online": slopes[0], "of target": slopes[1]})
    return {"the gradients": cases}


# Question 5


def variance_exact(answers: Answers, draw: Generator) -> dict[str, Any]:
    found = []
    for actions in (2, 3, 6):
        logits, rewards = torch.randn(actions, generator=draw), 2 * torch.randn(actions, generator=draw)
        for baseline in (0.0, _between(0.5, 1.5, draw), -5.0):
            found.append(answers.gradient_variance(logits.clone(), rewards.clone(), baseline))
    return {"the variance": found}


def advantage_others(answers: Answers, draw: Generator) -> dict[str, Any]:
    given = [3 * torch.randn(*shape, generator=draw) + 5 for shape in ((1, 2), (4, 3), (3, 8))]
    given.append(given[1][:, :1].repeat(1, 4))  # equal texts
    found = [answers.advantages(rewards) for rewards in given]
    return {"the advantages": found, "types": [type(each).__name__ for each in found], "what was given": given}


def surrogate_gradient(answers: Answers, draw: Generator) -> dict[str, Any]:
    cases = []
    for batch, time, vocab in ((1, 1, 2), (6, 1, 3), (9, 2, 3), (16, 4, 2)):
        logits = torch.randn(batch, time, vocab, generator=draw, dtype=torch.float64, requires_grad=True)
        tokens = torch.randint(vocab, (batch, time), generator=draw)
        advantage = 2 * torch.randn(batch, generator=draw, dtype=torch.float64)
        advantage[0] = -advantage[0].abs() - 0.5
        advantage.requires_grad_()
        # All have full length: the padding is the other check's business.
        loss = answers.policy_loss(logits, tokens, torch.full((batch,), time), advantage)
        slopes = gradients(loss, [logits, advantage])
        cases.append({"the loss": loss, "of the logits": slopes[0], "of the advantage": slopes[1]})
    return {"the gradients": cases}


def _loss_and_slope(answers: Answers, texts: Sequence[Tensor], lengths: Sequence[int], time: int) -> list[Any]:
    """Of the same text, so many times, with these lengths; only the first places are there."""
    logits, tokens, advantage = (each.repeat_interleave(len(lengths), dim=0) for each in texts)
    logits, tokens = logits[:, :time].clone().requires_grad_(), tokens[:, :time].clone()
    loss = answers.policy_loss(logits, tokens, torch.tensor(lengths), advantage)
    return [loss, *gradients(loss, [logits])]


def surrogate_padding(answers: Answers, draw: Generator) -> dict[str, Any]:
    cases = []
    for vocab, time in ((3, 4), (5, 7)):
        tokens = torch.randint(vocab, (1, time), generator=draw)
        text = torch.randn(1, time, vocab, generator=draw), tokens, torch.rand(1, generator=draw) + 0.5
        cases.append(
            {
                "with padding": [_loss_and_slope(answers, text, [length], time) for length in (1, 2, time)],
                "without": [_loss_and_slope(answers, text, [length], length) for length in (1, 2, time)],
                "a short and a long text": _loss_and_slope(answers, text, [1, time], time),
            }
        )
    return {"the loss and its gradient": cases}


def charge_kl(answers: Answers, draw: Generator) -> dict[str, Any]:
    found = []
    for batch, time, beta in ((1, 1, 0.5), (40, 6, _between(0.1, 0.3, draw)), (3, 2, 2.0), (2, 3, 0.0)):
        rewards = torch.randn(batch, generator=draw, requires_grad=True)
        log_p, log_ref = -3 * torch.rand(2, batch, time, generator=draw)
        found.append(answers.charged(rewards, log_p.requires_grad_(), log_ref, beta))
    return {
        "the rewards": found,
        "types": [type(each).__name__ for each in found],
        "with a gradient": [each.requires_grad for each in found if isinstance(each, Tensor)],
    }


# Question 6


def mistakes_most(answers: Answers, draw: Generator) -> dict[str, Any]:
    return {"the letters": answers.mistakes()}


def mistakes_all(answers: Answers, draw: Generator) -> dict[str, Any]:
    return {"the letters": list(answers.mistakes())}  # how they are put together was the other check's business


# One step at a time: what it should change is known exactly, and need not be learnt in thousands of steps.


def bug_ends(answers: Answers, draw: Generator) -> dict[str, Any]:
    generator, rate, discount = _generator(draw), _between(0.2, 0.8, draw), _between(0.3, 0.8, draw)
    cases = []
    for terminal, interrupted, steps in (
        (True, 0.0, 12),
        (True, 0.5, 12),
        (False, 0.0, 12),
        (False, 1.0, 12),
        (False, 0.5, 60),
    ):
        # One action, which leads to state 1. All states that the game goes on from have the same value.
        chances = torch.tensor([[[0.0, 1.0]], [[0.0, 1.0]]])
        values, rewards = (3 * torch.randn(2, steps, generator=draw)).tolist()
        after, entries = [], []
        for k, (value, reward) in enumerate(zip(values, rewards, strict=True)):
            q, state = torch.full((2, 1), value), 0 if terminal else k % 2
            if terminal:
                q[1] = 5 - value  # a number without a meaning
            world = {"chances": chances, "rewards": [0.0, reward], "terminal": {1} if terminal else set()}
            world["interrupted"] = interrupted
            after.append(answers.training_step(q, state, world, 0.5, rate, discount, generator))
            entries.append(q[state, 0])
        cases.append(
            {
                "terminal": terminal,
                "interrupted": interrupted,
                "values before": values,
                "values after": torch.stack(entries),
                "rewards": rewards,
                "states to go on from": after,
            }
        )
    return {"discount": discount, "worlds": cases}


def bug_path(answers: Answers, draw: Generator) -> dict[str, Any]:
    generator, rate, discount = _generator(draw), _between(0.2, 0.8, draw), _between(0.3, 0.8, draw)
    cases = []
    for states, actions, epsilon, often in ((3, 2, 1.0, 30), (4, 3, 1.0, 50), (4, 2, 0.6, 60)):
        # No ends, no interruptions, no chance; the actions of a state lead to different states.
        ways = torch.stack([torch.randperm(states, generator=draw)[:actions] for _ in range(states)])
        rewards = 2 * torch.randn(states, generator=draw)
        world = {"chances": nn.functional.one_hot(ways, states).float(), "rewards": rewards.tolist()}
        world |= {"terminal": set(), "interrupted": 0.0}
        steps = []
        for state in range(states):
            before = 2 * torch.randn(states, actions, generator=draw)
            for some, count in ((epsilon, often), (0.0, 5)):
                tables = [before.clone() for _ in range(count)]
                after = [answers.training_step(q, state, world, some, rate, discount, generator) for q in tables]
                steps.append(
                    {
                        "epsilon": some,
                        "state": state,
                        "table before": before,
                        "tables after": torch.stack(tables),
                        "states to go on from": after,
                    }
                )
        cases.append({"ways": ways, "rewards": rewards, "steps": steps})
    return {"discount": discount, "worlds": cases}


def bug_chance(answers: Answers, draw: Generator) -> dict[str, Any]:
    generator, discount, cases = _generator(draw), _between(0.3, 0.8, draw), []
    for often in (0.5, _between(0.2, 0.4, draw)):
        # One action, no ends, and next states that do not depend on the state.
        rewards = (2 * torch.randn(2, generator=draw)).tolist()
        rewards[1] += 4  # different from the other one
        world = {"chances": torch.tensor([often, 1 - often]).repeat(2, 1, 1), "rewards": rewards}
        world |= {"terminal": set(), "interrupted": 0.0}
        rates = [1.0, 0.1, 0.4, 0.7, _between(0.2, 0.6, draw)] * 50
        values = [0.0] * 5 + (3 * torch.randn(245, generator=draw)).tolist()
        after, entries = [], []
        for k, (value, rate) in enumerate(zip(values, rates, strict=True)):
            q = torch.full((2, 1), value)
            after.append(answers.training_step(q, k % 2, world, 0.5, rate, discount, generator))
            entries.append(q[k % 2, 0])
        cases.append(
            {
                "chance": often,
                "rewards": rewards,
                "learning rates": rates,
                "values before": values,
                "values after": torch.stack(entries),
                "states to go on from": after,
            }
        )
    return {"discount": discount, "worlds": cases}
