"""Games of your own: every kind of space, actions that start elsewhere, copies, limits, and what is refused."""

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces

from aigc_course import dqn, playing, training


class Corridor(gym.Env[Any, Any]):
    """Places 2 to 6, seen as a number; action -1 goes down, 0 stays, 1 goes up; place 6 ends the game with 1."""

    alive = 0

    def __init__(self, start: int = 2) -> None:
        self.observation_space: spaces.Space[Any] = spaces.Discrete(5, start=2)
        self.action_space: spaces.Space[Any] = spaces.Discrete(3, start=-1)
        self.start, self.place, self.taken = start, start, list[Any]()
        Corridor.alive += 1

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.place = self.start
        return self.place, {}

    def step(self, action: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        self.taken.append(action)
        self.place = min(6, max(2, self.place + int(action)))
        return self.place, float(self.place == 6), self.place == 6, False, {}

    def close(self) -> None:
        Corridor.alive -= 1


class Shown(gym.Env[Any, Any]):
    """A game that shows the same observation for ever, and answers a step with `reward` and `answer` if given."""

    def __init__(self, space: Any, observation: Any, reward: Any = 0.0, answer: Any = None, over: Any = False) -> None:
        self.observation_space, self.action_space = space, spaces.Discrete(2)
        self.observation, self.reward, self.answer, self.over = observation, reward, answer, over

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        return self.observation, {}

    def step(self, action: Any) -> Any:
        return self.answer or (self.observation, self.reward, self.over, False, {})


class Dice(gym.Env[Any, Any]):
    """A game in which every start is at random."""

    observation_space = spaces.Box(0, 1, (1,), np.float32)
    action_space = spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        return self.np_random.random(1, np.float32), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        return self.np_random.random(1, np.float32), 0.0, False, False, {}


class OldGym(gym.Env[Any, Any]):
    """A game with the interface of Gym before version 0.26."""

    observation_space = spaces.Box(0, 1, (1,), np.float32)
    action_space = spaces.Discrete(2)

    def reset(self) -> Any:  # type: ignore[override]
        return np.zeros(1, np.float32)

    def step(self, action: Any) -> Any:
        return np.zeros(1, np.float32), 0.0, False, {}


class Locked(Dice):
    """A game that holds what cannot be copied."""

    def __init__(self) -> None:
        self.lines = (line for line in "ab")


def shown(space: Any, observation: Any) -> Any:
    """Return what the agent sees of an observation, after one reset and after one step: they have to be the same."""
    games = dqn.make_games(lambda: Shown(space, observation), 2)
    first = games.reset()[0]
    second = games.step(np.zeros(2, np.int64))[0]
    assert first.dtype == second.dtype == games.single_observation_space.dtype
    assert first.shape[1:] == games.single_observation_space.shape
    np.testing.assert_array_equal(first[0], second[1])
    return first[0]


@pytest.mark.parametrize(
    ("space", "observation", "expected"),
    [
        (spaces.Discrete(4), 2, [0, 0, 1, 0]),
        (spaces.Discrete(4), np.int64(0), [1, 0, 0, 0]),
        (spaces.Discrete(3, start=-1), -1, [1, 0, 0]),
        (spaces.Discrete(3, start=5), np.array(7), [0, 0, 1]),
        (spaces.MultiDiscrete([2, 3]), np.array([1, 0]), [0, 1, 1, 0, 0]),
        (spaces.MultiDiscrete([2, 3], start=[1, -1]), np.array([1, 1]), [1, 0, 0, 0, 1]),
        (spaces.MultiDiscrete(np.array([[2], [2]])), np.array([[0], [1]]), [1, 0, 0, 1]),
        (spaces.MultiBinary(3), np.array([1, 0, 1], np.int8), [1, 0, 1]),
        (spaces.Tuple([spaces.Discrete(2), spaces.Box(-1, 1, (2,))]), (1, np.array([0.5, 0.25])), [0, 1, 0.5, 0.25]),
        # A dictionary is read in the order of its space, whatever the order of the observation.
        (
            spaces.Dict({"a": spaces.Discrete(2), "b": spaces.Tuple([spaces.MultiBinary(1)])}),
            {"b": (np.array([1]),), "a": 0},
            [1, 0, 1],
        ),
    ],
)
def test_numbers_of_something_become_zeros_with_a_single_one(space: Any, observation: Any, expected: Any) -> None:
    seen = shown(space, observation)
    assert seen.dtype == np.float32
    assert seen.tolist() == expected


@pytest.mark.parametrize(
    ("space", "observation", "dtype"),
    [
        (spaces.Box(-np.inf, np.inf, (2,), np.float64), np.array([1e-3, 2.0]), np.float32),
        (spaces.Box(-5, 5, (2,), np.float32), np.array([0.5, 7.0]), np.float32),  # bounds are often set too narrow
        (spaces.Box(0, 9, (2, 2), np.int64), np.array([[1, 2], [3, 4]]), np.float32),
        (spaces.Box(0, 255, (1, 2, 2), np.uint8), np.array([[[1, 2], [3, 255]]]), np.uint8),
        (spaces.Box(0, 1, (2,), bool), np.array([True, False]), np.bool_),  # type: ignore[arg-type]
        (spaces.Box(-1, 1, (2,), np.float32), [0.5, 0.25], np.float32),
    ],
)
def test_boxes_keep_their_shape(space: Any, observation: Any, dtype: Any) -> None:
    seen = shown(space, observation)
    assert seen.dtype == dtype
    np.testing.assert_allclose(seen, np.asarray(observation), rtol=1e-6)


def test_a_single_number_is_a_row_of_one() -> None:
    assert shown(spaces.Box(-1, 1, (), np.float32), np.float32(0.5)).tolist() == [0.5]


@pytest.mark.parametrize(("name", "shape"), [("Blackjack-v1", (32 + 11 + 2,)), ("CliffWalking-v1", (48,))])
def test_registered_games_with_such_spaces_train(name: str, shape: tuple[int, ...]) -> None:
    games = dqn.Games(name, count=2, chunks=2, capacity=500, evaluation_episodes=2, max_steps=20)
    assert games.shape == shape
    agent = dqn.DQN(dqn.DenseQNetwork(games.shape, games.actions, width=8), updates=2, learning_starts=64)
    assert np.isfinite(training.fit(agent, games, max_epochs=2)["loss"]).all()


def test_a_place_in_two_numbers() -> None:
    class Warehouse(Shown):
        def __init__(self) -> None:
            super().__init__(spaces.MultiDiscrete([6, 6]), np.array((2, 5)))
            self.action_space = spaces.Discrete(4)

    games = dqn.Games(Warehouse, count=8, chunks=4, evaluation_episodes=20, max_steps=60)
    assert (games.shape, games.actions) == ((12,), 4)


def test_actions_are_those_of_the_games_own_space() -> None:
    made: list[Corridor] = []

    def make() -> Corridor:
        made.append(Corridor())
        return made[-1]

    games = dqn.make_games(make, 3)
    games.reset()
    games.step(np.array([0, 1, 2]))
    assert [game.taken for game in made] == [[-1], [0], [1]]
    assert isinstance(made[0].taken[0], np.integer)


@pytest.mark.parametrize("game", [Corridor, lambda: Corridor(), Corridor()], ids=["class", "function", "game"])
def test_the_agent_learns_the_best_action(game: Any) -> None:
    games = dqn.Games(game, count=4, chunks=10, capacity=2_000, evaluation_episodes=2, max_steps=20)
    torch.manual_seed(0)
    agent = dqn.DQN(
        dqn.DenseQNetwork(games.shape, games.actions, width=16),
        discount=0.8,
        updates=16,
        learning_starts=100,
        exploration=2_000,
        learning_rate=5e-3,
        target_interval=20,
    )
    history = training.fit(agent, games, max_epochs=3)
    assert max(history["return"]) == 1
    with torch.no_grad():
        values = agent(torch.eye(5)[:4])
    assert values.argmax(dim=1).tolist() == [2] * 4  # up, at every place
    assert values.amax(dim=1).numpy() == pytest.approx([0.8**3, 0.8**2, 0.8, 1], abs=0.1)


def test_copies_of_a_game_are_games_of_their_own() -> None:
    game = Corridor()
    games = dqn.make_games(game, 2)
    games.reset()
    games.step(np.array([2, 1]))
    assert games.step(np.array([2, 1]))[0].argmax(axis=1).tolist() == [2, 0]
    assert game.taken == []


def test_copies_of_a_game_do_not_share_their_luck() -> None:
    game = Dice()
    game.reset(seed=0)
    games = dqn.make_games(game, 2)
    first, second = games.reset()[0]
    assert first != second
    np.testing.assert_array_equal(games.reset(seed=3)[0], dqn.make_games(Dice, 2).reset(seed=3)[0])


def test_max_steps_cuts_off_and_does_not_end() -> None:
    games = dqn.make_games(Dice, 2, max_steps=3)
    games.reset(seed=0)
    ends = [games.step(np.zeros(2, np.int64))[2:4] for _ in range(3)]
    assert [cut.any() for _, cut in ends] == [False, False, True]
    assert not any(over.any() for over, _ in ends)
    lengths = dqn.play(dqn.DenseQNetwork((1,), 2, width=4), dqn.make_games(Dice, 2, max_steps=3))[1]
    assert lengths.tolist() == [3, 3]


def test_options_reach_the_maker() -> None:
    assert dqn.make_games(Corridor, 1, start=4).reset()[0].argmax() == 2


def test_games_are_closed_if_the_first_observation_is_wrong() -> None:
    class Wrong(Corridor):
        def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
            return 7, {}

    Corridor.alive = 0
    games = dqn.Games(Wrong, count=2, evaluation_episodes=2)
    agent = dqn.DQN(dqn.DenseQNetwork(games.shape, games.actions, width=4))
    with pytest.raises(ValueError, match="the observation is 7"):
        training.fit(agent, games, max_epochs=1)
    assert Corridor.alive == 0


# --- bad input --------------------------------------------------------------------------------------------------------


def play_a_step(game: Any) -> None:
    games = dqn.make_games(game, 1)
    games.reset(seed=0)
    games.step(np.zeros(1, np.int64))


BOX = spaces.Box(-1, 1, (1,), np.float32)
ONE = np.ones(1, np.float32)
ONE_GAME = Dice()


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("game", "message"),
    [
        (lambda: Shown(spaces.Discrete(3), 3), "the observation is 3; its space is Discrete"),
        (lambda: Shown(spaces.Discrete(3), -1), "the observation is -1"),
        (lambda: Shown(spaces.Discrete(3, start=1), 0), "the observation is 0"),
        (lambda: Shown(spaces.Discrete(3), 1.0), "the observation is 1.0"),
        (lambda: Shown(spaces.Discrete(3), True), "the observation is True"),
        (lambda: Shown(spaces.Discrete(3), None), "the observation is None"),
        (lambda: Shown(spaces.MultiDiscrete([2, 2]), np.array([0, 2])), r"the observation is array\(\[0, 2\]\)"),
        (lambda: Shown(spaces.MultiDiscrete([2, 2], start=[1, 1]), np.array([0, 1])), "the observation is"),
        (lambda: Shown(spaces.MultiBinary(2), np.array([0, 2])), "its space is MultiBinary"),
        (lambda: Shown(spaces.MultiDiscrete([2], dtype=np.int8), np.array([0])), "with the type int8"),
        (lambda: Shown(spaces.Tuple([BOX, BOX]), (ONE,)), "its space is Tuple"),
        (lambda: Shown(spaces.Dict({"a": BOX}), {"b": ONE}), "its space is Dict"),
        (lambda: Shown(spaces.Dict({"a": BOX}), ONE), "its space is Dict"),
        (lambda: Shown(spaces.Dict({"a": BOX}), {"a": ONE * np.nan}), "the observation holds nan"),
        (lambda: Shown(BOX, ONE * np.nan), "the observation holds nan"),
        (lambda: Shown(BOX, ONE * np.inf), "the observation holds inf"),
        (lambda: Shown(BOX, np.ones(2, np.float32)), r"the shape \(2,\)"),
        (lambda: Shown(BOX, "up"), "the type <U2"),
        (lambda: Shown(spaces.Box(0, 255, (1,), np.uint8), np.array([300])), "the observation holds 300"),
        (lambda: Shown(spaces.Box(0, 255, (1,), np.uint8), np.array([0.5])), "the observation holds 0.5"),
        (lambda: Shown(BOX, ONE, reward=None), "the reward is None"),
        (lambda: Shown(BOX, ONE, reward=np.ones(1)), "the reward is array"),
        (lambda: Shown(BOX, ONE, reward=float("nan")), "the reward is nan"),
        (lambda: Shown(BOX, ONE, over=None), "terminated is None"),
        (lambda: Shown(BOX, ONE, answer=(ONE, 0.0, False, {})), r"step\(\) returned .*truncated, info"),
        (lambda: Shown(spaces.Text(4), "up"), "<lambda> has observations from Text"),
        (lambda: Shown(spaces.Sequence(BOX), (ONE,)), "has observations from Sequence"),
        (lambda: Shown(spaces.Dict({"a": spaces.Graph(BOX, None)}), None), "has observations from Graph"),
        (lambda: Shown(spaces.OneOf([BOX, BOX]), (0, ONE)), "has observations from OneOf"),
        (lambda: Shown(None, ONE), "has observations from None"),
        (lambda: Shown(spaces.Box(0, 1, (0,)), ONE[:0]), "hold no number"),
        (lambda: 3, "which returned 3"),
        (3, "name is 3; it takes"),
        (torch, "it takes the name of a registered game"),
        (Locked(), "Locked cannot be copied .*Give its class"),
    ],
)
def test_what_a_game_does_wrong_is_said(game: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        play_a_step(game)


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("space", "name"),
    [(spaces.Box(-1, 1, (1,)), "Box"), (spaces.MultiDiscrete([2, 2]), "MultiDiscrete"), (None, "None")],
)
def test_actions_that_are_not_numbered_are_refused(space: Any, name: str) -> None:
    game = Dice()
    game.action_space = space
    with pytest.raises(ValueError, match=f"Dice takes actions from {name}"):
        dqn.make_games(game, 1)


@pytest.mark.bad_input
def test_the_older_interface_is_named() -> None:
    with pytest.raises(TypeError) as caught:
        play_a_step(OldGym)
    assert "This was in reset() of the game OldGym." in caught.value.__notes__[0]
    assert "older Gym" in caught.value.__notes__[0]


@pytest.mark.bad_input
def test_what_a_game_raises_says_which_game_and_which_step() -> None:
    class Broken(Dice):
        def step(self, action: Any) -> Any:
            raise RuntimeError("the dice rolled away")

    with pytest.raises(RuntimeError, match="the dice rolled away") as caught:
        play_a_step(Broken)
    assert "in step 1 of an episode of the game Broken" in caught.value.__notes__[0]


@pytest.mark.bad_input
def test_a_game_without_an_end_is_not_played_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(playing, "LONGEST_EPISODE", 50)
    with pytest.raises(ValueError, match=r"2 of 2 games have not ended after 50 steps; .*max_steps"):
        dqn.play(dqn.DenseQNetwork((1,), 2, width=4), dqn.make_games(Dice, 2))


def test_a_known_game_that_lacks_a_package_is_not_called_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    def make(name: str, **options: Any) -> None:
        raise gym.error.DependencyNotInstalled('run `pip install "gymnasium[box2d]"`')

    monkeypatch.setattr(gym, "make", make)
    with pytest.raises(ModuleNotFoundError, match=r'LunarLander-v3 needs a package .* install "gymnasium\[box2d\]"'):
        dqn.make_games("LunarLander-v3", 1)


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: dqn.make_games(Dice, 2, max_steps=0), "max_steps is 0"),
        (lambda: dqn.make_games("ALE/Pong-v5", 2, max_steps=9), "max_num_frames_per_episode"),
        (lambda: dqn.make_games(Dice(), 2, start=4), "Dice is made already and takes no options such as start"),
        (lambda: dqn.make_games(lambda: ONE_GAME, 2), "<lambda> returned one game twice"),
    ],
)
def test_bad_arguments(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
