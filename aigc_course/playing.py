r"""Playing: how an agent chooses, how it is judged, and the games it learns from with their replay buffer.

A transition is $(s, a, r, s', \text{terminated})$: what was seen, what was done, the reward, what was seen next, and
whether the game ended there by its own rules. An episode cut off by a time limit is not terminated: the game would have
gone on, and so does the value. With n-step returns $r$ is the discounted sum of up to n rewards, and $s'$ what was seen
after the last of them.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, cast

import gymnasium as gym
import numpy as np
import pytorch_lightning as pl
import torch
from gymnasium.vector import VectorEnv
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor, nn
from torch.utils.data import DataLoader

from aigc_course import training
from aigc_course.checks import check_count
from aigc_course.own_games import make_games

# --- choosing and being judged ----------------------------------------------------------------------------------------


def choose(q: Float[Tensor, "batch actions"], epsilon: float) -> Int[Tensor, " batch"]:
    r"""Return the best action of each row, or with probability $\varepsilon$ one drawn evenly from all.

    Raises `ValueError` for an epsilon outside [0, 1].
    """
    if not 0 <= epsilon <= 1:
        raise ValueError(f"epsilon is {epsilon}; it takes a number in [0, 1].")
    best = q.argmax(dim=1)
    if epsilon == 0:
        return best
    drawn = torch.randint(q.shape[1], best.shape, device=q.device)
    return torch.where(torch.rand(best.shape, device=q.device) < epsilon, drawn, best)


LONGEST_EPISODE = 100_000


@torch.no_grad()
def play(
    network: nn.Module, games: VectorEnv, *, seed: int | None = None, epsilon: float = 0.0
) -> tuple[Float[Tensor, " games"], Int[Tensor, " games"]]:
    """Let each game be played once from its start, and return the returns (undiscounted) and the lengths in steps.

    One episode a game: were the first so many to end counted instead, short episodes would be counted more often.

    **Arguments:** `network`: from observations to the values of the actions; `games`: from `make_games`; `seed`: of the
    games, for the same starts each time, None to go on from where they are; `epsilon`: the chance of an action drawn at
    random.

    Raises `ValueError` if a game has not ended after 100,000 steps.
    """
    device = next(network.parameters()).device
    observations, _ = games.reset(seed=seed)
    returns, lengths = torch.zeros(games.num_envs), torch.zeros(games.num_envs, dtype=torch.long)
    running = torch.ones(games.num_envs, dtype=torch.bool)
    with training.evaluating(network):
        while running.any():
            if lengths.max() >= LONGEST_EPISODE:
                raise ValueError(
                    f"{int(running.sum())} of {games.num_envs} games have not ended after {LONGEST_EPISODE:,} steps; "
                    "give them a limit, such as max_steps=1000 in make_games or Games."
                )
            actions = choose(network(torch.as_tensor(observations, device=device)), epsilon)
            observations, rewards, terminated, truncated, _ = games.step(actions.cpu().numpy())
            returns += torch.as_tensor(rewards).float() * running
            lengths += running
            running &= ~torch.as_tensor(terminated | truncated)
    return returns, lengths


# --- the replay buffer ------------------------------------------------------------------------------------------------


class Transitions(NamedTuple):
    """Transitions, one a row; observations keep the type they came in, so that pictures stay bytes."""

    observations: Shaped[Tensor, "batch ..."]
    actions: Int[Tensor, " batch"]
    rewards: Float[Tensor, " batch"]
    next_observations: Shaped[Tensor, "batch ..."]
    terminated: Bool[Tensor, " batch"]
    lengths: Int[Tensor, " batch"]  # steps from an observation to the next one: 1, or up to n for n-step returns


class ReplayBuffer:
    """The last `capacity` transitions, in memory that is taken once; when it is full the oldest make room.

    **Arguments:** `shape`, `dtype`: of one observation.

    Raises `ValueError` for a capacity below 1.
    """

    def __init__(self, capacity: int, shape: Sequence[int], dtype: torch.dtype = torch.float32) -> None:
        check_count("capacity", capacity)
        self.capacity, self.shape = capacity, tuple(shape)
        self._rows = Transitions(
            torch.zeros(capacity, *shape, dtype=dtype),
            torch.zeros(capacity, dtype=torch.long),
            torch.zeros(capacity),
            torch.zeros(capacity, *shape, dtype=dtype),
            torch.zeros(capacity, dtype=torch.bool),
            torch.zeros(capacity, dtype=torch.long),
        )
        self._added = 0

    def __len__(self) -> int:
        return min(self._added, self.capacity)

    def add(self, new: Transitions) -> None:
        """Store the transitions in the order given.

        Raises `ValueError` for more transitions than the buffer holds or observations of another shape.
        """
        count = len(new.actions)
        if count > self.capacity:
            raise ValueError(f"{count} transitions do not fit into a buffer with a capacity of {self.capacity}.")
        for name, value in (("observations", new.observations), ("next_observations", new.next_observations)):
            if tuple(value.shape[1:]) != self.shape:
                raise ValueError(f"{name} have the shape {tuple(value.shape[1:])}; the buffer takes {self.shape}.")
        places = torch.arange(self._added, self._added + count) % self.capacity
        for column, values in zip(self._rows, new, strict=True):
            column[places] = values.to(column)
        self._added += count

    def state_dict(self) -> dict[str, Any]:
        """Return the transitions, as a list of columns, and how many have been added in all."""
        return {"columns": [column[: len(self)].clone() for column in self._rows], "added": self._added}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Hold what another buffer of the same capacity and shape held. `ValueError` if it does not fit."""
        columns, added = state["columns"], state["added"]
        if len(columns[0]) != min(added, self.capacity) or tuple(columns[0].shape[1:]) != self.shape:
            raise ValueError(
                f"the stored buffer has {len(columns[0])} of {added} transitions with observations of shape "
                f"{tuple(columns[0].shape[1:])}; this one, with a capacity of {self.capacity} and observations of "
                f"shape {self.shape}, takes {min(added, self.capacity)} of them. Build the games as they were."
            )
        for column, values in zip(self._rows, columns, strict=True):
            column[: len(values)] = values
        self._added = added

    def sample(self, count: int) -> Transitions:
        """Return `count` transitions drawn evenly, with replacement, by PyTorch's global generator.

        Raises `ValueError` for a count below 1 or an empty buffer.
        """
        check_count("count", count)
        if not len(self):
            raise ValueError("the buffer is empty; add transitions before you sample.")
        places = torch.randint(len(self), (count,))
        return Transitions(*(column[places] for column in self._rows))


# --- games to learn from ----------------------------------------------------------------------------------------------


class _Start(NamedTuple):
    """Where transitions of n steps begin, one for each game; `waiting`: the game has not come to their end yet."""

    observations: Shaped[Tensor, "games ..."]
    actions: Int[Tensor, " games"]
    rewards: Float[Tensor, " games"]
    waiting: Bool[Tensor, " games"]


class Games(pl.LightningDataModule):
    r"""The data of an agent: games to learn from, which it plays itself, the buffer, and games to be judged by.

    The games are opened when training starts and closed when it stops, also by an error.

    A checkpoint holds the buffer, and is as large. It does not hold the state of the games, which cannot be stored:
    when training goes on from one (`fit(..., ckpt_path=...)`), all games begin anew. Network, optimiser, buffer, counts
    and random generators are then those of the checkpoint, but the games to come are not those of an unstopped run.

    **Arguments:**

    - `name`, `max_steps`, `sticky_actions`: as for `make_games`.
    - `count`: games side by side to learn from.
    - `capacity`: transitions in the replay buffer.
    - `chunks`: steps of training in an "epoch", which here is the interval at which figures are logged.
    - `evaluation_episodes`: games played greedily after each epoch, with starts of their own and the rewards that the
      game gives, none of them cut; 0 for none.
    - `bootstrap_at_limit`: False treats an episode that a time limit cut off as if the game had ended: a mistake to
      learn from.
    - `n_steps`: n of the n-step returns: a transition leads n steps on (or to the episode's end, if that comes first),
      and its reward is the sum of the rewards on the way, each discounted by `discount`, $\sum_{k<n} \gamma^k r_{t+k}$
      (Sutton and Barto, 2018, section 7.1).
    - `seed`: of the games.

    Raises `ValueError` for a count below its range, a discount outside [0, 1], and as `make_games` does.
    """

    def __init__(
        self,
        name: str | Callable[..., gym.Env] | gym.Env,
        *,
        count: int = 8,
        capacity: int = 100_000,
        chunks: int = 10,
        evaluation_episodes: int = 20,
        bootstrap_at_limit: bool = True,
        n_steps: int = 1,
        discount: float = 0.99,
        seed: int = 0,
        max_steps: int | None = None,
        sticky_actions: float | None = None,
    ) -> None:
        super().__init__()
        check_count("count", count)
        check_count("chunks", chunks)
        check_count("evaluation_episodes", evaluation_episodes, 0)
        check_count("n_steps", n_steps)
        check_count("capacity", capacity, count)
        if not 0 <= discount <= 1:
            raise ValueError(f"discount is {discount}; it takes a number in [0, 1].")
        self.game, self.count, self.chunks, self.seed = name, count, chunks, seed
        self.evaluation_episodes, self.bootstrap_at_limit = evaluation_episodes, bootstrap_at_limit
        self.n_steps, self.discount = n_steps, discount
        self.options = {"max_steps": max_steps, "sticky_actions": sticky_actions}
        games = make_games(name, 1, **cast(Any, self.options))
        space = games.single_observation_space
        self.shape = cast(tuple[int, ...], space.shape)
        self.actions = int(cast(gym.spaces.Discrete, games.single_action_space).n)
        games.close()
        self.buffer = ReplayBuffer(capacity, self.shape, torch.from_numpy(np.zeros(0, space.dtype)).dtype)
        self.games: VectorEnv | None = None
        self.evaluation_games: VectorEnv | None = None

    def setup(self, stage: str) -> None:
        """Open the games and begin all of them."""
        self.teardown(stage)
        options = cast(Any, self.options)
        self.games = make_games(self.game, self.count, **options)
        if self.evaluation_episodes:
            # The score is the game's own. The seeds are far from those that follow `seed`, of the games to learn from.
            self.evaluation_games = make_games(self.game, self.evaluation_episodes, clip_rewards=False, **options)
            self.evaluation_games.reset(seed=self.seed + 1_000_000)
        observations, _ = self.games.reset(seed=self.seed)
        self.observations = torch.as_tensor(observations)
        self._over = torch.zeros(self.count, dtype=torch.bool)
        self._starts: list[_Start] = []

    def teardown(self, stage: str) -> None:
        """Close the games."""
        for games in (self.games, self.evaluation_games):
            if games is not None:
                games.close()
        self.games = self.evaluation_games = None

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint keeps of the data: the buffer."""
        return {"buffer": self.buffer.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Fill the buffer as it was. Raises `ValueError` if it is not of the same size."""
        self.buffer.load_state_dict(state_dict["buffer"])

    def on_exception(self, exception: BaseException) -> None:
        """Close the games."""
        self.teardown("fit")

    def step(self, actions: Int[Tensor, " games"]) -> int:
        """Take one step in every game, keep the transitions that end with it, and return in how many games it was one.

        The step after a game's last only resets it: what it returns leads from one episode's end to another's start,
        and is not a transition.
        """
        assert self.games is not None
        following, rewards, terminated, truncated, _ = self.games.step(actions.cpu().numpy())
        next_observations, ended = torch.as_tensor(following), torch.as_tensor(terminated)
        over, played = ended | torch.as_tensor(truncated), ~self._over
        self._starts.append(_Start(self.observations, actions.cpu(), torch.zeros(self.count), played.clone()))
        for number, start in enumerate(self._starts):
            length = len(self._starts) - number  # steps since then
            start.rewards.add_(torch.as_tensor(rewards).float(), alpha=self.discount ** (length - 1))
            done = start.waiting & over if length < self.n_steps else start.waiting.clone()
            self.buffer.add(
                Transitions(
                    start.observations[done],
                    start.actions[done],
                    start.rewards[done],
                    next_observations[done],
                    (ended if self.bootstrap_at_limit else over)[done],
                    torch.full((int(done.sum()),), length),
                )
            )
            start.waiting[done] = False
        self._starts = self._starts[max(0, len(self._starts) + 1 - self.n_steps) :]
        self._over = over
        # A vector of games may write its next observations into the same memory.
        self.observations = next_observations.clone()
        return int(played.sum())

    def train_dataloader(self) -> DataLoader[Any]:
        """Numbers that count the chunks of an epoch; the data are made by playing."""
        return DataLoader(cast(Any, range(self.chunks)), batch_size=None)
