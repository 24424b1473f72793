"""Games side by side for an agent that learns by deep Q-learning: registered ones by name, and your own.

`make_games` is what a chapter calls, as `dqn.make_games`. The rest sees to it that a game of your own is either played
as it is meant or refused: nothing is trained in silence on something else.
"""

import copy
import math
from collections.abc import Callable, Mapping
from functools import partial
from numbers import Real
from typing import Any, cast

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv
from numpy.typing import NDArray

from aigc_course.checks import check_count, importing_extra


def make_games(
    name: str | Callable[..., gym.Env] | gym.Env,
    count: int,
    *,
    max_steps: int | None = None,
    sticky_actions: float | None = None,
    clip_rewards: bool = True,
    **options: Any,
) -> VectorEnv:
    """Return `count` games of this name, or of your own, side by side.

    `"MinAtar/Breakout-v1"` and its like show the picture as (channels, height, width) and take the actions that make
    a difference; `"ALE/Pong-v5"` and its like are Atari games as in Mnih et al. (2015): every fourth frame, the last
    four of them in grey at 84×84, rewards cut to [-1, 1]; but with sticky actions, which the paper did not have.
    A finished game is reset by the step after its last: that step's action is ignored and its reward is 0.

    **Your own game** is a class, or a function that makes a new `gymnasium.Env` at each call; of a game that is made
    already, copies are played. Observations from a `Box` keep their shape, which for pictures is (channels, height,
    width), and their type if it is bytes or bool; all others become float32. `Discrete`, `MultiDiscrete`,
    `MultiBinary`, `Tuple` and `Dict` spaces become one row of float32, in which a number out of n is n - 1 zeros and a
    single 1. Actions are numbered from 0 here, and the game gets those of its own space, which may start elsewhere.

    **Arguments:**

    - `name`: that of a registered game, or your own game.
    - `max_steps`: cut every episode off after so many steps, `None` to leave that to the game.
    - `sticky_actions`: the probability with which MinAtar's and Atari's games repeat the action they did last in place
      of the one they are told (Machado et al., 2018, https://arxiv.org/abs/1709.06009). `None` takes what the game's
      own specification says: 0.1 for MinAtar; for Atari's names with `-v5` 0.25, per frame of the console.
    - `clip_rewards`: whether Atari's rewards are cut. What is learnt from is cut; a score is not. Other games' rewards
      are never cut.
    - `options`: passed on to the game's maker.

    Raises `ValueError` for a name that Gymnasium does not know, a count below 1, sticky actions outside [0, 1] or asked
    of a game that is neither MinAtar's nor Atari's, a game whose actions are not numbered
    or whose observations are from another space, or one that cannot be copied, and `ModuleNotFoundError` for MinAtar or
    an Atari game if the package's extra `games` is not installed, and for another game that needs a missing package.
    `reset` and `step` of the games raise `ValueError` for what does not follow Gymnasium's interface, for observations
    outside their space (a `Box`'s bounds are not looked at) and for numbers that are not finite; what a game raises
    itself comes through.
    """
    check_count("count", count)
    if max_steps is not None:
        check_count("max_steps", max_steps)
    if sticky_actions is not None:
        if not 0 <= sticky_actions <= 1:
            raise ValueError(f"sticky_actions is {sticky_actions}; it takes a probability, or None.")
        if not (isinstance(name, str) and name.startswith(("ALE/", "MinAtar/"))):
            raise ValueError(
                f"sticky_actions is {sticky_actions}; {game_title(name)} is neither MinAtar's nor Atari's."
            )
    if isinstance(name, str) and name.startswith("ALE/"):
        if max_steps is not None:
            raise ValueError(f"max_steps is {max_steps}; an Atari game takes max_num_frames_per_episode instead.")
        with importing_extra("games"):
            from ale_py.vector_env import AtariVectorEnv

        given = {"repeat_action_probability": 0.25 if sticky_actions is None else sticky_actions, **options}
        return AtariVectorEnv(_atari_name(name), num_envs=count, reward_clipping=clip_rewards, **given)
    if sticky_actions is not None:
        options["sticky_action_prob"] = sticky_actions
    opened: list[gym.Env] = []
    try:
        for _ in range(count):
            opened.append(_make_game(name, options))
        if len({id(game.unwrapped) for game in opened}) < count:
            raise ValueError(f"{game_title(name)} returned one game twice; it has to make a new one at each call.")
        games: list[gym.Env] = [_Player(game, game_title(name)) for game in opened]
        if max_steps is not None:
            games = [gym.wrappers.TimeLimit(game, max_steps) for game in games]
        return SyncVectorEnv([partial(_as_is, game) for game in games], autoreset_mode=AutoresetMode.NEXT_STEP)
    except BaseException:
        for game in opened:
            game.close()
        raise


def _as_is(game: gym.Env) -> gym.Env:
    return game


def game_title(name: str | Callable[..., gym.Env] | gym.Env) -> str:
    """Return what a message calls the game: its registered name, or the name of its class or function."""
    if isinstance(name, gym.Env):
        return type(name.unwrapped).__name__
    return str(getattr(name, "__name__", name))


def _make_game(name: str | Callable[..., gym.Env] | gym.Env, options: dict[str, Any]) -> gym.Env:
    if isinstance(name, gym.Env):
        if options:
            raise ValueError(f"{game_title(name)} is made already and takes no options such as {', '.join(options)}.")
        try:
            game = copy.deepcopy(name)
        except Exception as error:
            raise ValueError(
                f"{game_title(name)} cannot be copied ({type(error).__name__}: {error}). "
                "Give its class, or a function that makes a new game at each call."
            ) from error
        game.unwrapped.np_random = np.random.default_rng()  # or all copies would have the same luck until a seed comes
        return game
    if not isinstance(name, str):
        game = name(**options) if callable(name) else None
        if not isinstance(game, gym.Env):
            raise ValueError(
                f"name is {name!r}{f', which returned {game!r}' if callable(name) else ''}; it takes the name of a "
                "registered game, a gymnasium.Env, its class, or a function that returns a new one."
            )
        return game
    if name.startswith("MinAtar/"):
        with importing_extra("games"):
            import minatar.gym

        if "MinAtar/Breakout-v1" not in gym.registry:
            minatar.gym.register_envs()
    try:
        game = gym.make(name, **options)
    except gym.error.DependencyNotInstalled as error:
        raise ModuleNotFoundError(f"{name} needs a package that is not installed. {error}") from error
    except gym.error.Error as error:
        raise ValueError(
            f"name is {name!r}, and Gymnasium does not know such a game ({error}) "
            "It takes the name of a registered one, such as 'CartPole-v1', 'MinAtar/Breakout-v1' or 'ALE/Pong-v5', "
            "or a game of your own: a gymnasium.Env, its class, or a function that returns a new one."
        ) from error
    return _MinAtar(game) if name.startswith("MinAtar/") else game


def _atari_name(name: str) -> str:
    from ale_py import roms

    # Gymnasium writes "MsPacman", the files of the games "ms_pacman".
    game = name.removeprefix("ALE/").removesuffix("-v5")
    snake = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in game).lstrip("_")
    known = roms.get_all_rom_ids()
    if snake not in known:
        raise ValueError(
            f"name is {name!r}, and there is no such Atari game. It takes 'ALE/Pong-v5' or another of {known}."
        )
    return snake


class _MinAtar(gym.ObservationWrapper):
    """A MinAtar game with the channels first. A new game begins without the last action of the one before, which a
    sticky action of its first step would otherwise repeat: MinAtar's own reset leaves it standing."""

    def __init__(self, game: gym.Env) -> None:
        super().__init__(game)
        height, width, channels = cast(tuple[int, ...], game.observation_space.shape)
        self.observation_space = gym.spaces.Box(0, 1, (channels, height, width), cast(Any, bool))

    def reset(self, **options: Any) -> tuple[Any, dict[str, Any]]:
        cast(Any, self.unwrapped).game.last_action = 0
        return super().reset(**options)

    def observation(self, observation: Any) -> Any:
        return observation.transpose(2, 0, 1)


class _Player(gym.Wrapper):
    """A game as the agent meets it: observations as one array, actions from 0, and nothing taken over unchecked."""

    def __init__(self, game: gym.Env, title: str) -> None:
        super().__init__(game)
        self._title, self._steps = title, 0
        seen, actions = getattr(game, "observation_space", None), getattr(game, "action_space", None)
        if not isinstance(actions, gym.spaces.Discrete):
            raise ValueError(
                f"{title} takes actions from {actions}; Q-learning compares the values of all actions and needs "
                "numbered ones (a Discrete space). For continuous actions there are other methods, such as DDPG or SAC."
            )
        self._seen, self._actions = cast(gym.Space[Any], seen), actions
        self.action_space = gym.spaces.Discrete(int(actions.n))
        shape: tuple[int, ...] = (_width(self._seen, title),)
        if isinstance(seen, gym.spaces.Box):
            shape = seen.shape or (1,)
        if 0 in shape:
            raise ValueError(f"{title} has observations from {seen}, which hold no number.")
        if not (isinstance(seen, gym.spaces.Box) and seen.dtype in (bool, np.uint8, np.float32) and seen.shape):
            self.observation_space = gym.spaces.Box(-np.inf, np.inf, shape, np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        self._steps = 0
        try:
            answer = self.env.reset(seed=seed, options=options)
            if not (isinstance(answer, tuple) and len(answer) == 2 and isinstance(answer[1], dict)):
                raise ValueError(
                    f"reset() returned {answer!r}; it has to return (observation, info), info a dictionary."
                )
            return self._array(answer[0]), answer[1]
        except Exception as error:
            error.add_note(f"This was in reset() of the game {self._title}. {_INTERFACE}")
            raise

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self._steps += 1
        try:
            answer = self.env.step(cast(Any, self._actions.dtype).type(self._actions.start + action))
            if not (isinstance(answer, tuple) and len(answer) == 5 and isinstance(answer[4], dict)):
                raise ValueError(
                    f"step() returned {answer!r}; it has to return "
                    "(observation, reward, terminated, truncated, info), info a dictionary."
                )
            observation, reward, terminated, truncated, info = answer
            if not isinstance(reward, Real | np.bool_) or not math.isfinite(reward):
                raise ValueError(f"the reward is {reward!r}; it has to be a finite number.")
            for name, ends in (("terminated", terminated), ("truncated", truncated)):
                if not isinstance(ends, bool | np.bool_):
                    raise ValueError(f"{name} is {ends!r}; it has to be True or False.")
            return self._array(observation), float(reward), bool(terminated), bool(truncated), info
        except Exception as error:
            error.add_note(f"This was in step {self._steps} of an episode of the game {self._title}. {_INTERFACE}")
            raise

    def _array(self, observation: Any) -> NDArray[Any]:
        space = cast(gym.spaces.Box, self.observation_space)
        if isinstance(self._seen, gym.spaces.Box):
            return _numbers(self._seen, observation, space.dtype).reshape(space.shape)
        return _row(self._seen, observation)


_INTERFACE = (
    "Gymnasium's interface is reset(*, seed=None, options=None), which returns (observation, info), and step(action), "
    "which returns (observation, reward, terminated, truncated, info); that of the older Gym is another."
)


def _width(space: gym.Space[Any], title: str) -> int:
    """How many numbers an observation is as a row; `ValueError` for a space that has no fixed number."""
    if isinstance(space, gym.spaces.Dict):
        return sum(_width(part, title) for part in space.spaces.values())
    if isinstance(space, gym.spaces.Tuple):
        return sum(_width(part, title) for part in space.spaces)
    if isinstance(space, gym.spaces.Box | gym.spaces.MultiBinary | gym.spaces.Discrete | gym.spaces.MultiDiscrete):
        return int(gym.spaces.flatdim(space))
    raise ValueError(
        f"{title} has observations from {space}; a network takes a fixed number of values, from the spaces Box, "
        "Discrete, MultiDiscrete, MultiBinary, Tuple and Dict."
    )


def _row(space: gym.Space[Any], observation: Any) -> NDArray[np.float32]:
    """The observation as a row of float32, a number out of n as n - 1 zeros and a single 1."""
    if isinstance(space, gym.spaces.Box):
        return _numbers(space, observation, np.float32).reshape(-1)
    if isinstance(space, gym.spaces.Dict) and isinstance(observation, Mapping):
        if observation.keys() == space.spaces.keys():
            return np.concatenate([_row(part, observation[key]) for key, part in space.spaces.items()])
    elif isinstance(space, gym.spaces.Tuple) and isinstance(observation, tuple | list):
        if len(observation) == len(space.spaces):
            return np.concatenate([_row(part, one) for part, one in zip(space.spaces, observation, strict=True)])
    # Asked first, since `flatten` takes a number below its space's start for one counted from the end.
    elif not isinstance(observation, bool) and space.contains(observation):
        return np.asarray(gym.spaces.flatten(space, observation), np.float32)
    kind = f" with the type {space.dtype}" if space.dtype else ""
    raise ValueError(f"the observation is {observation!r}; its space is {space}{kind}.")


def _numbers(space: gym.spaces.Box, observation: Any, dtype: Any) -> NDArray[Any]:
    """A copy of the observation in this type; `ValueError` for another shape and for what the type cannot hold."""
    given = np.asarray(observation)
    if given.dtype.kind not in "biuf" or given.shape != space.shape:
        raise ValueError(
            f"the observation has the shape {given.shape} and the type {given.dtype}; its space is {space}."
        )
    with np.errstate(over="ignore", invalid="ignore"):
        numbers = given.astype(dtype)
    held = np.isfinite(numbers) if numbers.dtype.kind == "f" else numbers == given
    if not held.all():
        raise ValueError(f"the observation holds {given[~held].ravel()[0]}, which is no number of its space {space}.")
    return numbers
