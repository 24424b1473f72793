"""Deep Q-learning: targets, buffer and networks by mathematics, games of known rewards, training, bad input."""

import copy
import math
from collections.abc import Iterator
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import pytorch_lightning as pl
import tiny
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from aigc_course import dqn, training
from aigc_course.data import RingData

VALUES = st.lists(st.lists(st.floats(-50, 50, width=32), min_size=3, max_size=3), min_size=2, max_size=2)


class Known(gym.Env[Any, Any]):
    """A game whose observations say which game, which episode and which step they belong to; the reward is the step.

    Episodes end by the rule after `length` steps; with 0 they go on until a time limit.
    """

    alive = 0
    _names = 0

    def __init__(self, length: int = 3, reward: float | None = None, breaks_at: int = 0) -> None:
        self.observation_space = gym.spaces.Box(-np.inf, np.inf, (3,), np.float32)
        self.action_space = gym.spaces.Discrete(2)
        self.length, self.reward, self.breaks_at = length, reward, breaks_at
        Known._names += 1
        self.name, self.episode, self.time, self.total = Known._names, 0, 0, 0
        Known.alive += 1

    def _seen(self) -> Any:
        return np.array([self.name, self.episode, self.time], np.float32)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.episode, self.time = self.episode + 1, 0
        return self._seen(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.total += 1
        if self.total == self.breaks_at:
            raise RuntimeError("the game broke")
        self.time += 1
        reward = float(self.time) if self.reward is None else self.reward
        return self._seen(), reward, self.time == self.length, False, {}

    def close(self) -> None:
        Known.alive -= 1


class Chain(gym.Env[Any, Any]):
    """Places 0 to 4 in a row, seen as zeros with a single 1: one step right or left; place 4 ends the game with 1."""

    observation_space = gym.spaces.Box(0, 1, (5,), np.float32)
    action_space = gym.spaces.Discrete(2)
    place = 0

    def _seen(self) -> Any:
        return np.eye(5, dtype=np.float32)[self.place]

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.place = int(self.np_random.integers(4))
        return self._seen(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.place = max(0, self.place + (1 if action else -1))
        return self._seen(), float(self.place == 4), self.place == 4, False, {}


class Steered(Known):
    """A game with a steering wheel."""

    def __init__(self) -> None:
        super().__init__()
        self.action_space = gym.spaces.Box(-1, 1, (1,))


def register(name: str, game: Any, **options: Any) -> None:
    gym.register(name, game, **options)


@pytest.fixture(autouse=True, scope="module")
def _games_of_our_own() -> Iterator[None]:
    register("Known-v0", Known)
    register("Endless-v0", Known, max_episode_steps=5, kwargs={"length": 0, "reward": 1.0})
    register("Chain-v0", Chain, max_episode_steps=20)
    register("Steered-v0", Steered)
    yield
    for name in ("Known-v0", "Endless-v0", "Chain-v0", "Steered-v0"):
        del gym.registry[name]


def transitions(count: int, first: int = 0) -> dqn.Transitions:
    """Transitions from state n to n + 1 with action n, reward n."""
    n = torch.arange(first, first + count)
    states = n[:, None].float()
    return dqn.Transitions(states, n, n.float(), states + 1, n % 2 == 0, torch.ones_like(n))


def small(numbers: int = 3, **options: Any) -> dqn.DQN:
    torch.manual_seed(0)
    settings: dict[str, Any] = {"steps": 4, "updates": 4, "batch_size": 8, "learning_starts": 8}
    return dqn.DQN(dqn.DenseQNetwork((numbers,), 2, width=8), **{**settings, **options})


# --- targets ----------------------------------------------------------------------------------------------------------


def test_targets_are_the_formula_and_the_reward_alone_where_the_game_ended() -> None:
    targets = dqn.td_target(
        torch.tensor([1.0, 2.0, -1.0]), torch.tensor([False, True, False]), torch.tensor([10.0, 10.0, 0.5]), 0.9
    )
    torch.testing.assert_close(targets, torch.tensor([10.0, 2.0, -0.55]))


def test_the_double_estimate_asks_one_network_which_and_the_other_how_much() -> None:
    target_q = torch.tensor([[1.0, 5.0, 2.0], [3.0, 0.0, -1.0]])
    online_q = torch.tensor([[0.0, 1.0, 9.0], [7.0, 6.0, 5.0]])
    torch.testing.assert_close(dqn.greedy_values(target_q), torch.tensor([5.0, 3.0]))
    torch.testing.assert_close(dqn.greedy_values(target_q, online_q), torch.tensor([2.0, 3.0]))


@given(VALUES, VALUES)
def test_the_double_estimate_is_never_above_the_single_one(target: list[Any], online: list[Any]) -> None:
    target_q, online_q = torch.tensor(target), torch.tensor(online)
    assert (dqn.greedy_values(target_q, online_q) <= dqn.greedy_values(target_q)).all()
    torch.testing.assert_close(dqn.greedy_values(target_q, target_q), dqn.greedy_values(target_q))


def test_the_maximum_of_noisy_values_is_too_high_and_the_double_estimate_is_not() -> None:
    # Three actions worth 0, two independent estimates with noise: E max = 3 / (2 √π) for three standard normals.
    first, second = torch.randn(200_000, 3), torch.randn(200_000, 3)
    assert dqn.greedy_values(first).mean() == pytest.approx(0.8463, abs=0.01)
    assert dqn.greedy_values(first, second).mean() == pytest.approx(0.0, abs=0.01)


# --- the buffer -------------------------------------------------------------------------------------------------------


def test_the_buffer_keeps_the_newest_and_rows_stay_together() -> None:
    buffer = dqn.ReplayBuffer(10, (1,))
    for first in range(0, 24, 4):
        buffer.add(transitions(4, first))
        assert len(buffer) == min(first + 4, 10)
    drawn = buffer.sample(2000)
    assert set(drawn.actions.tolist()) == set(range(14, 24))
    torch.testing.assert_close(drawn.observations[:, 0], drawn.actions.float())
    torch.testing.assert_close(drawn.next_observations, drawn.observations + 1)
    torch.testing.assert_close(drawn.rewards, drawn.actions.float())
    assert (drawn.terminated == (drawn.actions % 2 == 0)).all()


def test_the_buffer_draws_evenly() -> None:
    buffer = dqn.ReplayBuffer(100, (1,))
    buffer.add(transitions(5))
    counts = torch.bincount(buffer.sample(50_000).actions, minlength=5)
    # Each count has a standard deviation of 89; four and a half of them.
    assert ((counts - 10_000).abs() < 400).all()


def test_the_buffer_keeps_pictures_as_bytes() -> None:
    buffer = dqn.ReplayBuffer(4, (1, 2, 2), torch.uint8)
    n = torch.zeros(3, dtype=torch.long)
    picture = torch.full((3, 1, 2, 2), 255, dtype=torch.uint8)
    buffer.add(dqn.Transitions(picture, n, n.float(), picture, n.bool(), n + 1))
    assert buffer.sample(2).observations.dtype == torch.uint8


# --- the networks -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [dqn.DenseQNetwork, dqn.ConvQNetwork])
def test_a_duelling_network_does_not_hear_what_is_common_to_all_advantages(kind: Any) -> None:
    shape = (4, 10, 10)
    network = kind(shape, 3, dueling=True)
    head = next(module for module in network.modules() if isinstance(module, dqn._Head))
    assert head.value is not None
    observations = torch.rand(5, *shape)
    before = network(observations)
    features: list[Tensor] = []
    head.register_forward_pre_hook(lambda _, inputs: features.append(inputs[0]))
    with torch.no_grad():
        head.advantage.bias.add_(7.0)
    torch.testing.assert_close(network(observations), before)
    torch.testing.assert_close(before.mean(dim=1), head.value(features[0]).squeeze(1))


def test_bytes_are_divided_by_255() -> None:
    network = dqn.ConvQNetwork((4, 84, 84), 6, layers=dqn.ATARI_LAYERS, hidden=512)
    pictures = torch.randint(256, (2, 4, 84, 84), dtype=torch.uint8)
    torch.testing.assert_close(network(pictures), network(pictures.float() / 255))
    # Mnih et al. (2015): 64 maps of 7×7 before the dense layer of 512.
    assert [tuple(p.shape) for p in network.parameters()][6] == (512, 64 * 7 * 7)


def test_choose_is_greedy_or_even() -> None:
    q = torch.tensor([[0.0, 1.0, 0.5, 0.2]]).expand(40_000, 4)
    assert (dqn.choose(q, 0.0) == 1).all()
    for epsilon in (0.4, 1.0):
        share = torch.bincount(dqn.choose(q, epsilon), minlength=4) / len(q)
        expected = torch.full((4,), epsilon / 4)
        expected[1] += 1 - epsilon
        torch.testing.assert_close(share, expected, atol=0.012, rtol=0)


# --- the games --------------------------------------------------------------------------------------------------------


def test_no_transition_crosses_the_border_of_an_episode() -> None:
    games = dqn.Games("Known-v0", count=3, capacity=1000, evaluation_episodes=0)
    games.setup("fit")
    for _ in range(40):
        games.step(torch.randint(2, (3,)))
    games.teardown("fit")
    stored = games.buffer._rows
    kept = len(games.buffer)
    # Of four steps in a row the fourth only resets.
    assert kept == 3 * 30
    before, after = stored.observations[:kept], stored.next_observations[:kept]
    torch.testing.assert_close(after[:, :2], before[:, :2])  # the same game and episode
    torch.testing.assert_close(after[:, 2], before[:, 2] + 1)
    torch.testing.assert_close(stored.rewards[:kept], after[:, 2])
    assert (stored.terminated[:kept] == (after[:, 2] == 3)).all()


@pytest.mark.parametrize("bootstrap", [True, False])
def test_a_time_limit_does_not_end_the_game(bootstrap: bool) -> None:
    games = dqn.Games("Endless-v0", count=2, capacity=1000, evaluation_episodes=0, bootstrap_at_limit=bootstrap)
    games.setup("fit")
    for _ in range(30):
        games.step(torch.zeros(2, dtype=torch.long))
    games.teardown("fit")
    rows = games.buffer._rows
    last = rows.next_observations[: len(games.buffer), 2] == 5
    assert last.sum() == 10
    assert (rows.terminated[: len(games.buffer)] == (last & (not bootstrap))).all()


@pytest.mark.parametrize("n", [1, 2, 3, 7])
def test_n_step_returns_are_the_formula_and_stop_where_the_episode_does(n: int) -> None:
    games = dqn.Games("Known-v0", count=3, capacity=1000, evaluation_episodes=0, n_steps=n, discount=0.5)
    games.setup("fit")
    for _ in range(40):
        games.step(torch.randint(2, (3,)))
    games.teardown("fit")
    kept = len(games.buffer)
    # Ten episodes a game are over, each with three starts: none is left waiting.
    assert kept == 90
    rows = dqn.Transitions(*(column[:kept] for column in games.buffer._rows))
    time = rows.observations[:, 2]
    torch.testing.assert_close(rows.next_observations[:, :2], rows.observations[:, :2])  # the same game and episode
    torch.testing.assert_close(rows.lengths.float(), (3 - time).clamp(max=n))
    torch.testing.assert_close(rows.next_observations[:, 2], time + rows.lengths)
    # The reward of step k is k.
    expected = [
        sum(0.5**k * (t + k + 1) for k in range(int(count))) for t, count in zip(time, rows.lengths, strict=True)
    ]
    torch.testing.assert_close(rows.rewards, torch.tensor(expected, dtype=torch.float))
    assert (rows.terminated == (rows.next_observations[:, 2] == 3)).all()


def test_n_step_returns_bootstrap_at_a_time_limit() -> None:
    games = dqn.Games("Endless-v0", count=2, capacity=1000, evaluation_episodes=0, n_steps=3)
    games.setup("fit")
    for _ in range(30):
        games.step(torch.zeros(2, dtype=torch.long))
    games.teardown("fit")
    rows = games.buffer._rows
    assert not rows.terminated[: len(games.buffer)].any()
    assert rows.next_observations[: len(games.buffer), 2].max() == 5
    assert rows.lengths[: len(games.buffer)].min() == 1


def test_a_step_that_only_resets_is_not_counted() -> None:
    agent, games = small(steps=40), dqn.Games("Known-v0", count=3, chunks=1, evaluation_episodes=0)
    history = training.fit(agent, games, max_epochs=1)
    assert agent.steps_done == len(games.buffer) == 90
    assert history["transitions"] == [90.0]


def test_play_counts_one_episode_a_game() -> None:
    games = dqn.make_games("Known-v0", 4)
    returns, lengths = dqn.play(dqn.DenseQNetwork((3,), 2, width=4), games)
    games.close()
    assert returns.tolist() == [6.0] * 4
    assert lengths.tolist() == [3] * 4


@pytest.mark.parametrize("name", ["MinAtar/Breakout-v1", "CartPole-v1", "ALE/Pong-v5"])
def test_the_seed_decides_a_game(name: str) -> None:
    def course(seed: int) -> Any:
        games = dqn.make_games(name, 2)
        actions = np.random.default_rng(0).integers(games.single_action_space.n, size=(60, 2))  # type: ignore[attr-defined]
        seen = [games.reset(seed=seed)[0].copy(), *(games.step(action)[0].copy() for action in actions)]
        games.close()
        return np.stack(seen)

    assert (course(3) == course(3)).all()
    assert (course(3) != course(4)).any()


@pytest.mark.parametrize("name", ["MinAtar/Breakout-v1", "CartPole-v1"])
def test_a_game_does_not_depend_on_the_game_before(name: str) -> None:
    games = dqn.make_games(name, 20, sticky_actions=0.5 if name.startswith("MinAtar/") else None)
    actions = np.random.default_rng(0).integers(games.single_action_space.n, size=(30, 20))  # type: ignore[attr-defined]
    courses = []
    for last_action in (0, 1):
        games.reset(seed=7)
        games.step(np.full(20, last_action))
        seen = [games.reset(seed=3)[0].copy(), *(games.step(action)[0].copy() for action in actions)]
        courses.append(np.stack(seen))
    games.close()
    assert (courses[0] == courses[1]).all()


def test_targets_are_cut_at_the_ceiling() -> None:
    agent = small(double=False, huber=False, discount=0.9, ceiling=2.0)
    nn.init.constant_(agent.target_network.net[-1].advantage.bias, 100.0)  # type: ignore[index,union-attr]
    batch = dqn.Transitions(
        torch.randn(2, 3),
        torch.tensor([0, 1]),
        torch.tensor([0.0, -1.0]),
        torch.randn(2, 3),
        torch.tensor([False, True]),
        torch.tensor([1, 1]),
    )
    q = agent.network(batch.observations).gather(1, batch.actions[:, None]).squeeze(1)
    expected = 0.5 * (q - torch.tensor([2.0, -1.0])).square().mean()  # the second game has ended
    torch.testing.assert_close(agent.loss(batch), expected)


def test_the_score_is_not_cut_and_what_is_learnt_from_is() -> None:
    games = dqn.Games("ALE/SpaceInvaders-v5", count=4, capacity=4000, evaluation_episodes=4)
    games.setup("fit")
    actions = np.random.default_rng(0).integers(games.actions, size=(300, 4))
    assert games.evaluation_games is not None
    seen = np.stack([games.evaluation_games.step(action)[1] for action in actions])
    for action in actions:
        games.step(torch.as_tensor(action))
    games.teardown("fit")
    assert set(np.unique(games.buffer._rows.rewards[: len(games.buffer)])) == {0.0, 1.0}
    assert seen.max() >= 5  # a ship pays 5 points or more


@pytest.mark.parametrize("name", ["MinAtar/Breakout-v1", "ALE/Pong-v5"])
def test_sticky_actions_are_the_games_own_chance(name: str) -> None:
    def course(seed: int, **options: Any) -> Any:
        games = dqn.make_games(name, 1, **options)
        if name.startswith("ALE/"):
            games.reset(seed=0)  # so that only the emulator's chance is left
        actions = np.random.default_rng(seed).integers(games.single_action_space.n, size=60)  # type: ignore[attr-defined]
        seen = [games.reset(seed=0)[0].copy(), *(games.step(action[None])[0].copy() for action in actions)]
        games.close()
        return np.stack(seen)

    usual = {"MinAtar/Breakout-v1": 0.1, "ALE/Pong-v5": 0.25}[name]
    assert (course(0) == course(0, sticky_actions=usual)).all()
    assert (course(0) != course(0, sticky_actions=0.0)).any()
    # An action that is always the last one again is never the one that was told.
    assert (course(0, sticky_actions=1.0) == course(1, sticky_actions=1.0)).all()


def test_pictures_of_the_games() -> None:
    for name, shape, actions in (("MinAtar/Breakout-v1", (4, 10, 10), 3), ("ALE/Pong-v5", (4, 84, 84), 6)):
        games = dqn.Games(name, count=2, capacity=10)
        assert (games.shape, games.actions) == (shape, actions)
    games = dqn.Games("MinAtar/Breakout-v1", count=2, capacity=10)
    assert games.buffer._rows.observations.dtype == torch.bool


# --- the agent --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("double", "huber"), [(False, True), (True, True), (True, False)])
def test_the_loss_is_the_formula_and_only_the_chosen_values_learn(double: bool, huber: bool) -> None:
    agent = small(double=double, huber=huber, discount=0.9)
    agent.target_network = copy.deepcopy(agent.network)
    for parameter in agent.target_network.parameters():
        nn.init.normal_(parameter)
    batch = dqn.Transitions(
        torch.randn(5, 3),
        torch.tensor([0, 1, 1, 0, 1]),
        torch.randn(5),
        torch.randn(5, 3),
        torch.tensor([False, True, False, False, True]),
        torch.tensor([1, 1, 1, 3, 3]),
    )
    q, next_q = agent.network(batch.observations), agent.network(batch.next_observations).detach()
    target_q = agent.target_network(batch.next_observations).detach()
    errors = []
    for i in range(5):
        best = int(next_q[i].argmax()) if double else int(target_q[i].argmax())
        y = batch.rewards[i] + (0 if batch.terminated[i] else 0.9 ** int(batch.lengths[i]) * target_q[i, best])
        error = (q[i, batch.actions[i]] - y).abs()
        errors.append(error - 0.5 if huber and error > 1 else 0.5 * error**2)
    expected = torch.stack(errors).mean()
    loss = agent.loss(batch)
    torch.testing.assert_close(loss, expected)
    loss.backward()
    assert all(parameter.grad is None for parameter in agent.target_network.parameters())
    # The gradient is that of the formula with the targets held fixed.
    found = [parameter.grad.clone() for parameter in agent.network.parameters() if parameter.grad is not None]
    for gradient, wanted in zip(found, torch.autograd.grad(expected, list(agent.network.parameters())), strict=True):
        torch.testing.assert_close(gradient, wanted)


def test_the_averaged_network_follows_by_the_formula() -> None:
    class Watch(pl.Callback):
        """Repeats the average from the weights after every chunk, which here has one update."""

        average = torch.empty(0)

        def on_train_batch_end(self, *arguments: Any) -> None:
            now = nn.utils.parameters_to_vector(agent.network.parameters()).detach()
            if agent.updates_done == 1:
                self.average = now.clone()  # the average begins at the first weights it sees
            elif agent.updates_done > 1:
                self.average = 0.9 * self.average + 0.1 * now

    agent, watch = small(5, updates=1, ema_decay=0.9), Watch()
    games = dqn.Games("Chain-v0", count=2, chunks=12, evaluation_episodes=0)
    training.fit(agent, games, max_epochs=1, callbacks=[watch])
    assert agent.averaged is not None
    averaged = nn.utils.parameters_to_vector(agent.averaged.module.parameters())
    torch.testing.assert_close(averaged, watch.average)
    assert not torch.allclose(averaged, nn.utils.parameters_to_vector(agent.network.parameters()))


def test_epsilon_falls_linearly_and_then_stays() -> None:
    agent = small(epsilon=(0.9, 0.1), exploration=100)
    found = []
    for agent.steps_done in (0, 50, 100, 1000):
        found.append(agent.current_epsilon)
    assert found == pytest.approx([0.9, 0.5, 0.1, 0.1])


def test_the_target_network_is_the_copy_of_its_turn() -> None:
    games = dqn.Games("Known-v0", count=2, chunks=3, evaluation_episodes=0)
    # The first chunk has 7 transitions at most, so that 8 of the 12 updates are made.
    agent = small(target_interval=8)
    training.fit(agent, games, max_epochs=1)
    assert agent.updates_done == 8
    for online, target in zip(agent.network.parameters(), agent.target_network.parameters(), strict=True):
        assert torch.equal(online, target)
    agent = small(target_interval=9)
    first = copy.deepcopy(agent.network.state_dict())
    training.fit(agent, dqn.Games("Known-v0", count=2, chunks=3, evaluation_episodes=0), max_epochs=1)
    assert all(torch.equal(value, first[name]) for name, value in agent.target_network.state_dict().items())
    assert not all(torch.equal(value, first[name]) for name, value in agent.network.state_dict().items())


def copies(agent: dqn.DQN) -> list[dict[str, Tensor]]:
    assert agent.averaged is not None
    return [network.state_dict() for network in (agent.target_network, agent.averaged.module)]


def equal(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return all(torch.equal(value, second[name]) for name, value in first.items())


@pytest.mark.parametrize("fits", [0, 1])
def test_a_training_begins_with_copies_of_the_network_as_it_is_then(fits: int) -> None:
    found = []

    class Look(pl.Callback):
        def on_train_start(self, *arguments: Any) -> None:
            found.extend(copy.deepcopy(copies(agent)))

    agent = small(5, ema_decay=0.9, target_interval=9)
    games = dqn.Games("Chain-v0", count=2, chunks=5)
    for _ in range(fits):
        training.fit(agent, games, max_epochs=1)
        assert all(equal(agent.network.state_dict(), weights) for weights in copies(agent))  # the best ones
    with torch.no_grad():
        for parameter in agent.network.parameters():
            parameter.normal_()  # somebody else's weights
    wanted = copy.deepcopy(agent.network.state_dict())
    training.fit(agent, games, max_epochs=1, callbacks=[Look()])
    assert len(found) == 2
    assert all(equal(wanted, weights) for weights in found)


@pytest.mark.parametrize("double", [True, False])
def test_it_finds_the_exact_values_of_a_chain(double: bool) -> None:
    games = dqn.Games("Chain-v0", count=4, chunks=100, capacity=2000, evaluation_episodes=4)
    torch.manual_seed(0)
    agent = dqn.DQN(
        dqn.DenseQNetwork((5,), 2, width=32, depth=1),
        learning_rate=5e-3,
        decay=True,
        discount=0.8,
        steps=4,
        updates=4,
        batch_size=32,
        target_interval=20,
        learning_starts=100,
        epsilon=(1.0, 0.3),
        double=double,
    )
    history = training.fit(agent, games, max_epochs=2)
    # An action that leads to a place n steps from the end is worth 0.8 ** n.
    expected = torch.tensor([[0.8 ** (4 - max(place - 1, 0)), 0.8 ** (3 - place)] for place in range(4)])
    with torch.no_grad():
        torch.testing.assert_close(agent(torch.eye(5)[:4]), expected, atol=0.05, rtol=0)
    assert history["return"][-1] == 1.0


@pytest.mark.parametrize("bootstrap", [True, False])
def test_the_value_goes_on_beyond_a_time_limit(bootstrap: bool) -> None:
    games = dqn.Games("Endless-v0", count=2, chunks=100, evaluation_episodes=0, bootstrap_at_limit=bootstrap)
    torch.manual_seed(0)
    agent = small(discount=0.8, learning_rate=5e-3, target_interval=10, decay=True)
    training.fit(agent, games, max_epochs=2)
    name = float(games.buffer._rows.observations[0, 0])
    with torch.no_grad():
        values = agent(torch.tensor([[name, 50.0, 4.0]])).amax(dim=1)
    # A reward of 1 a step for ever is worth 1 / (1 - 0.8); the last step of an episode that ends is worth 1.
    assert float(values) == pytest.approx(5.0 if bootstrap else 1.0, abs=0.7)


def test_two_trainings_are_equal_and_another_seed_is_not() -> None:
    def weights(seed: int) -> Tensor:
        agent = small(5)
        training.fit(agent, dqn.Games("Chain-v0", count=2, chunks=5, seed=seed), max_epochs=1, seed=seed)
        return nn.utils.parameters_to_vector(agent.network.parameters())

    assert torch.equal(weights(0), weights(0))
    assert not torch.equal(weights(0), weights(1))


def test_the_agent_ends_with_the_weights_that_were_judged_best(monkeypatch: pytest.MonkeyPatch) -> None:
    judged: list[dict[str, Tensor]] = []
    returns = iter([3.0, 8.0, 8.0, 1.0])

    def judge(network: nn.Module, games: Any) -> tuple[Tensor, Tensor]:
        judged.append(copy.deepcopy(network.state_dict()))
        return torch.tensor([next(returns)]), torch.tensor([1])

    monkeypatch.setattr(dqn, "play", judge)
    agent = small(5)
    history = training.fit(agent, dqn.Games("Chain-v0", count=2, chunks=5), max_epochs=4)
    assert history["return"] == [3.0, 8.0, 8.0, 1.0]
    assert all(torch.equal(value, judged[2][name]) for name, value in agent.network.state_dict().items())
    assert not all(torch.equal(value, judged[3][name]) for name, value in agent.network.state_dict().items())


@pytest.mark.parametrize("breaks_at", [0, 20])
def test_games_are_closed_also_by_an_error(breaks_at: int) -> None:
    register("Fragile-v0", Known, kwargs={"breaks_at": breaks_at})
    try:
        Known.alive = 0
        games = dqn.Games("Fragile-v0", count=3, chunks=2)
        if breaks_at:
            with pytest.raises(RuntimeError, match="the game broke"):
                training.fit(small(steps=16), games, max_epochs=1)
        else:
            training.fit(small(steps=16), games, max_epochs=1)
        assert Known.alive == 0
    finally:
        del gym.registry["Fragile-v0"]


def test_it_learns_to_balance() -> None:
    recipe = dqn.recipe("cartpole", "cpu")
    recipe["games"] |= {"chunks": 10, "evaluation_episodes": 10}
    recipe["agent"] |= {"exploration": 4000, "ema_decay": 0.99}
    games = dqn.Games(**recipe["games"])
    torch.manual_seed(0)
    agent = dqn.build(recipe, games)
    history = training.fit(agent, games, max_epochs=4)
    fresh = dqn.make_games("CartPole-v1", 20)
    returns, _ = dqn.play(agent.network, fresh, seed=123)
    fresh.close()
    # A random agent lasts about 22 steps.
    assert max(history["return"]) > 100
    assert returns.mean() > 80


@pytest.mark.parametrize("name", ["cartpole", "breakout", "pong"])
@pytest.mark.parametrize("profile", ["smoke", "cpu", "gpu"])
def test_recipes_can_be_built(name: str, profile: str) -> None:
    recipe = dqn.recipe(name, profile)
    games = dqn.Games(**{**recipe["games"], "capacity": 1000})
    agent = dqn.build(recipe, games)
    observations = torch.zeros(2, *games.shape, dtype=games.buffer._rows.observations.dtype)
    assert agent(observations).shape == (2, games.actions)


# --- bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: dqn.make_games("NoSuchGame-v1", 2), "name is 'NoSuchGame-v1', and Gymnasium does not know"),
        (lambda: dqn.make_games("not a name", 2), "name is 'not a name'"),
        (lambda: dqn.make_games("ALE/Pongg-v5", 2), "no such Atari game"),
        (lambda: dqn.make_games("MinAtar/Pong-v1", 2), "name is 'MinAtar/Pong-v1'"),
        (lambda: dqn.make_games("CartPole-v1", 0), "count is 0"),
        (lambda: dqn.make_games("Steered-v0", 1), "Steered-v0 takes actions from Box"),
        (lambda: dqn.Games("CartPole-v1", count=8, capacity=7), "capacity is 7; it takes a whole number ≥ 8"),
        (lambda: dqn.Games("CartPole-v1", count=0), "count is 0"),
        (lambda: dqn.Games("CartPole-v1", chunks=0), "chunks is 0"),
        (lambda: dqn.Games("CartPole-v1", evaluation_episodes=-1), "evaluation_episodes is -1"),
        (lambda: dqn.Games("CartPole-v1", n_steps=0), "n_steps is 0"),
        (lambda: dqn.Games("CartPole-v1", discount=1.5), "discount is 1.5"),
        (lambda: dqn.make_games("CartPole-v1", 1, sticky_actions=0.1), "CartPole-v1 is neither MinAtar's nor Atari's"),
        (lambda: dqn.make_games("ALE/Pong-v5", 1, sticky_actions=1.1), "sticky_actions is 1.1; it takes a probability"),
        (lambda: dqn.ReplayBuffer(0, (2,)), "capacity is 0"),
        (lambda: dqn.ReplayBuffer(3, (1,)).add(transitions(4)), "4 transitions do not fit"),
        (lambda: dqn.ReplayBuffer(9, (2,)).add(transitions(4)), r"shape \(1,\); the buffer takes \(2,\)"),
        (lambda: dqn.ReplayBuffer(9, (2,)).sample(1), "the buffer is empty"),
        (lambda: dqn.choose(torch.zeros(1, 2), 1.5), "epsilon is 1.5"),
        (lambda: dqn.choose(torch.zeros(1, 2), float("nan")), "epsilon is nan"),
        (lambda: dqn.DenseQNetwork((4,), 0), "actions is 0"),
        (lambda: dqn.DenseQNetwork((4,), 2, width=0), "width is 0"),
        (lambda: dqn.ConvQNetwork((4, 10), 2), r"shape is \(4, 10\)"),
        (lambda: dqn.ConvQNetwork((96, 96, 3), 2), r"shape is \(96, 96, 3\), which looks like \(height, width, cha"),
        (lambda: dqn.ConvQNetwork((7, 7, 4), 2), r"shape is \(7, 7, 4\), which looks like"),
        (lambda: dqn.ConvQNetwork((4, 10, 10), 2, layers=dqn.ATARI_LAYERS), "smaller than what the layers"),
        (lambda: small(discount=1.0), "discount is 1.0"),
        (lambda: small(ema_decay=1.0), "ema_decay is 1.0"),
        (lambda: small(learning_rate=0.0), "learning_rate is 0.0"),
        (lambda: small(epsilon=(1.0, 1.2)), "epsilon is"),
        (lambda: small(updates=0), "updates is 0"),
        (lambda: small(clip=-1.0), "clip is -1.0"),
        (lambda: small(ceiling=math.nan), "ceiling is nan"),
        (lambda: dqn.recipe("tetris"), "name is 'tetris'"),
    ],
)
def test_bad_input(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.bad_input
def test_a_continuous_game_is_closed_before_it_is_refused() -> None:
    Known.alive = 0
    with pytest.raises(ValueError, match="DDPG"):
        dqn.Games("Steered-v0")
    assert Known.alive == 0


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("agent", "data", "message"),
    [
        (lambda: small(), lambda: dqn.Games("CartPole-v1"), r"shape \(3,\) and knows 2 actions; CartPole-v1 has"),
        (
            lambda: small(batch_size=64),
            lambda: dqn.Games("Known-v0", capacity=32),
            "the buffer holds 32 transitions, fewer than the batch_size 64",
        ),
        (
            lambda: small(learning_starts=33),
            lambda: dqn.Games("Known-v0", capacity=32),
            "learning_starts is 33, and the buffer never holds more than 32",
        ),
        (
            lambda: small(discount=0.9),
            lambda: dqn.Games("Known-v0", n_steps=2),
            "the games add up rewards with a discount of 0.99, and the agent's is 0.9",
        ),
        (lambda: small(), lambda: RingData(batches=1), "the data are of the type RingData; an agent learns from Games"),
        (lambda: small(), lambda: tiny.loader("vae"), "the data are a loader; an agent learns from Games"),
    ],
)
def test_an_agent_and_games_that_do_not_fit(agent: Any, data: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        training.fit(agent(), data(), max_epochs=1)
