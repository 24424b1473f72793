"""The errata on reinforcement learning, checked like the others: small reconstructions of our own with the same faults.

`tests/test_errata.py` holds the other parts' checks, and the test that keeps the errata's list and these names equal.
"""

import itertools

import pytest
import torch
from torch import Tensor

from aigc_course import dqn

GAMMA = 0.7


def exact_values(chances: Tensor, rewards: Tensor, ended: Tensor) -> Tensor:
    """Return Q* of a small game by value iteration; chances are (state, action, next state), rewards the same."""
    q = torch.zeros(rewards.shape[:2], dtype=torch.float64)
    for _ in range(600):
        q = (chances * (rewards + GAMMA * q.amax(dim=1) * ~ended)).sum(dim=2)
    return q


def slippery() -> tuple[Tensor, Tensor, Tensor]:
    """Three states in a row, two actions; a step succeeds with probability 0.5; the last state pays 1 and ends."""
    chances, rewards = torch.zeros(3, 2, 3, dtype=torch.float64), torch.zeros(3, 2, 3, dtype=torch.float64)
    for state, action in itertools.product(range(3), range(2)):
        chances[state, action, min(2, max(0, state + (1 if action else -1)))] += 0.5
        chances[state, action, state] += 0.5
    rewards[:2, :, 2] = 1
    return chances, rewards, torch.tensor([False, False, True])


def move_towards(y: Tensor, q: Tensor, counts: Tensor, place: tuple[int, int]) -> None:
    """Make one step of Q-learning, the smaller the more often it was made here."""
    counts[place] += 1
    q[place] += (y - q[place]) / counts[place] ** 0.7


def test_bellman_needs_an_expectation() -> None:
    chances, rewards, ended = slippery()
    q = exact_values(chances, rewards, ended)
    draws = rewards + GAMMA * q.amax(dim=1) * ~ended  # the article's right-hand side, for each possible next state
    possible = chances[:2] > 0
    gaps = (draws[:2] - q[:2, :, None]).abs()[possible]
    assert gaps.max() > 0.2  # the equation is false for single draws, even for the best values there are
    torch.testing.assert_close((chances * draws).sum(dim=2), q)  # and true on average

    # Taken as an assignment it never settles; with a falling step size the draws average out.
    generator = torch.Generator().manual_seed(0)
    assigned, learnt, jumps = q.clone(), torch.zeros_like(q), []
    counts = torch.zeros_like(q)
    for _ in range(20_000):
        state, action = int(torch.randint(2, (), generator=generator)), int(torch.randint(2, (), generator=generator))
        following = int(torch.multinomial(chances[state, action], 1, generator=generator))
        for table in (assigned, learnt):
            y = rewards[state, action, following] + GAMMA * table[following].max() * (not ended[following])
            if table is assigned:
                jumps.append(abs(float(y - table[state, action])))
                table[state, action] = y
            else:
                move_towards(y, table, counts, (state, action))
    assert max(jumps[-1000:]) > 0.2
    assert (learnt[:2] - q[:2]).abs().max() < 0.1


def test_ended_games_have_no_future() -> None:
    chances, rewards, _ = slippery()
    # The end pays nothing more. A table that goes on adding γ max Q there, and starts high, believes in a future.
    chances[2], rewards[2] = torch.eye(3, dtype=torch.float64)[2], 0.0
    q = torch.ones(3, 2, dtype=torch.float64)
    for _ in range(20):  # the last state is never left, so that no update reaches its values
        update = (chances * (rewards + GAMMA * q.amax(dim=1))).sum(dim=2)
        q[:2] = update[:2]
    right = exact_values(*slippery())
    assert (q[:2] > right[:2] + 0.2).all()
    targets = dqn.td_target(torch.ones(1), torch.tensor([True]), torch.ones(1), GAMMA)
    assert targets.item() == 1


def test_play_needs_no_labels() -> None:
    # Nothing was collected or labelled: a table learns the exact values from what random play runs into.
    chances, rewards, ended = slippery()
    generator = torch.Generator().manual_seed(1)
    q, counts, state = torch.zeros(3, 2, dtype=torch.float64), torch.zeros(3, 2, dtype=torch.float64), 0
    for _ in range(20_000):
        action = int(torch.randint(2, (), generator=generator))
        following = int(torch.multinomial(chances[state, action], 1, generator=generator))
        y = rewards[state, action, following] + GAMMA * q[following].max() * (not ended[following])
        move_towards(y, q, counts, (state, action))
        state = 0 if ended[following] else following
    assert (q[:2] - exact_values(chances, rewards, ended)[:2]).abs().max() < 0.1


def test_a_maximum_over_torques_is_no_list() -> None:
    with pytest.raises(ValueError, match="continuous"):
        dqn.make_games("Pendulum-v1", 1)
