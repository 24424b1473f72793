r"""Deep Q-learning: games played side by side, a replay buffer, Q-networks, and the agent that learns from them.

The module reads like the papers: the targets, the buffer, the networks, the games, the agent, the recipes by which the
course trains. Sources: Mnih et al. (2015), "Human-level control through deep reinforcement learning",
https://doi.org/10.1038/nature14236; van Hasselt, Guez and Silver (2016), https://arxiv.org/abs/1509.06461, for the
double estimate; Wang et al. (2016), https://arxiv.org/abs/1511.06581, for the duelling network.

A transition is $(s, a, r, s', \text{terminated})$: what was seen, what was done, the reward, what was seen next, and
whether the game ended there by its own rules. An episode cut off by a time limit is not terminated: the game would have
gone on, and so does the value.
"""

import copy
import math
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple, cast

import gymnasium as gym
import numpy as np
import pytorch_lightning as pl
import torch
from gymnasium.vector import VectorEnv
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader

from aigc_course import training
from aigc_course.checks import check_count, check_not_negative, check_positive
from aigc_course.own_games import game_title, make_games

# --- the targets ------------------------------------------------------------------------------------------------------


def bellman_targets(
    rewards: Float[Tensor, " batch"],
    terminated: Bool[Tensor, " batch"],
    next_values: Float[Tensor, " batch"],
    discount: float,
) -> Float[Tensor, " batch"]:
    r"""Return what the actions taken should have been worth: $r + \gamma\, V(s')$, and $r$ where the game ended.

    $\gamma$ is `discount`, $V(s')$ are `next_values`. Mnih et al. (2015), algorithm 1.
    """
    return rewards + discount * next_values * ~terminated


def greedy_values(
    target_q: Float[Tensor, "batch actions"], online_q: Float[Tensor, "batch actions"] | None = None
) -> Float[Tensor, " batch"]:
    r"""Return the value of the best action, $\max_a Q^-(s', a)$ of the target network.

    With `online_q` the online network says which action is best and the target network what it is worth,
    $Q^-\big(s', \arg\max_a Q(s', a)\big)$: van Hasselt, Guez and Silver (2016), equation 4.
    """
    if online_q is None:
        return target_q.amax(dim=1)
    return target_q.gather(1, online_q.argmax(dim=1, keepdim=True)).squeeze(1)


# --- the replay buffer ------------------------------------------------------------------------------------------------


class Transitions(NamedTuple):
    """Transitions, one a row; observations keep the type they came in, so that pictures stay bytes."""

    observations: Shaped[Tensor, "batch ..."]
    actions: Int[Tensor, " batch"]
    rewards: Float[Tensor, " batch"]
    next_observations: Shaped[Tensor, "batch ..."]
    terminated: Bool[Tensor, " batch"]


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


# --- the networks -----------------------------------------------------------------------------------------------------


class _Head(nn.Module):
    r"""From features to one value an action, directly or as $V(s) + A(s, a) - \frac{1}{|\mathcal A|}\sum_b A(s, b)$."""

    def __init__(self, features: int, actions: int, dueling: bool) -> None:
        super().__init__()
        self.advantage = nn.Linear(features, actions)
        self.value = nn.Linear(features, 1) if dueling else None

    def forward(self, features: Float[Tensor, "batch features"]) -> Float[Tensor, "batch actions"]:
        advantage = self.advantage(features)
        if self.value is None:
            return advantage
        return self.value(features) + advantage - advantage.mean(dim=1, keepdim=True)


class DenseQNetwork(nn.Module):
    """From observations that are a few numbers to one value an action, through fully connected layers with ReLU.

    **Arguments:** `shape`: of one observation; `actions`: how many there are; `width`, `depth`: of the hidden layers;
    `dueling`: learn the state's value and the actions' advantages apart (Wang et al., 2016, equation 9).

    Raises `ValueError` for a size below 1.
    """

    def __init__(
        self, shape: Sequence[int], actions: int, *, width: int = 256, depth: int = 2, dueling: bool = False
    ) -> None:
        super().__init__()
        for name, value in (("actions", actions), ("width", width), ("depth", depth), ("shape", min(shape, default=0))):
            check_count(name, value)
        self.shape, self.actions = tuple(shape), actions
        self.arguments: dict[str, Any] = {"shape": self.shape, "actions": actions, "width": width, "depth": depth}
        self.arguments["dueling"] = dueling
        sizes = [math.prod(shape), *[width] * depth]
        layers: list[nn.Module] = [nn.Flatten()]
        for inputs, outputs in pairwise(sizes):
            layers += [nn.Linear(inputs, outputs), nn.ReLU()]
        self.net = nn.Sequential(*layers, _Head(width, actions, dueling))

    def forward(self, observations: Shaped[Tensor, "batch ..."]) -> Float[Tensor, "batch actions"]:
        """Return $Q(s, a)$ for every action."""
        return self.net(observations.to(next(self.parameters()).dtype))


class ConvQNetwork(nn.Module):
    """From pictures to one value an action, through convolutions and a dense layer, all with ReLU.

    Bytes are divided by 255. The default is the network of MinAtar (Young and Tian, 2019,
    https://arxiv.org/abs/1903.03176); `ATARI_LAYERS` with 512 hidden units that of Mnih et al. (2015).

    **Arguments:** `shape`: `(channels, height, width)` of one observation; `actions`: how many there are; `layers`:
    channels, kernel size and stride of each convolution; `hidden`: units of the dense layer; `dueling`: as for
    `DenseQNetwork`.

    Raises `ValueError` for a size below 1, for a shape with the channels last, or for a picture that the convolutions
    leave nothing of.
    """

    def __init__(
        self,
        shape: Sequence[int],
        actions: int,
        *,
        layers: Sequence[Sequence[int]] = ((16, 3, 1),),
        hidden: int = 128,
        dueling: bool = False,
    ) -> None:
        super().__init__()
        check_count("actions", actions)
        check_count("hidden", hidden)
        if len(shape) != 3 or min(shape) < 1:
            raise ValueError(f"shape is {tuple(shape)}; it takes (channels, height, width), all ≥ 1.")
        if shape[2] <= 4 and min(shape[:2]) > 6:
            raise ValueError(
                f"shape is {tuple(shape)}, which looks like (height, width, channels); it takes (channels, height, "
                "width). Turn the game's pictures: gymnasium.wrappers.TransformObservation(game, lambda picture: "
                "picture.transpose(2, 0, 1), gymnasium.spaces.Box(0, 255, (channels, height, width), np.uint8))."
            )
        self.shape, self.actions = tuple(shape), actions
        self.arguments: dict[str, Any] = {"shape": self.shape, "actions": actions, "hidden": hidden, "dueling": dueling}
        self.arguments["layers"] = [list(layer) for layer in layers]
        channels, height, width = shape
        convolutions: list[nn.Module] = []
        for outputs, kernel, stride in layers:
            convolutions += [nn.Conv2d(channels, outputs, kernel, stride), nn.ReLU()]
            channels, height, width = outputs, (height - kernel) // stride + 1, (width - kernel) // stride + 1
            if min(height, width) < 1:
                raise ValueError(f"a picture of shape {tuple(shape)} is smaller than what the layers {layers} look at.")
        self.convolutions = nn.Sequential(*convolutions)
        dense = [nn.Flatten(), nn.Linear(channels * height * width, hidden), nn.ReLU()]
        self.dense = nn.Sequential(*dense, _Head(hidden, actions, dueling))

    def forward(self, observations: Shaped[Tensor, "batch c h w"]) -> Float[Tensor, "batch actions"]:
        """Return $Q(s, a)$ for every action."""
        pictures = observations.to(next(self.parameters()).dtype)
        return self.dense(self.convolutions(pictures / 255 if observations.dtype == torch.uint8 else pictures))


ATARI_LAYERS = ((32, 8, 4), (64, 4, 2), (64, 3, 1))

# --- the games --------------------------------------------------------------------------------------------------------


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


class Games(pl.LightningDataModule):
    """The data of an agent: games to learn from, which it plays itself, the buffer, and games to be judged by.

    The games are opened when training starts and closed when it stops, also by an error.

    A checkpoint holds the buffer, and is as large. It does not hold the state of the games, which cannot be stored:
    when training goes on from one (`fit(..., ckpt_path=...)`), all games begin anew. Network, optimiser, buffer, counts
    and random generators are then those of the checkpoint, but the games to come are not those of an unstopped run.

    **Arguments:**

    - `name`, `max_steps`: as for `make_games`.
    - `count`: games side by side to learn from.
    - `capacity`: transitions in the replay buffer.
    - `chunks`: steps of training in an "epoch", which here is the interval at which figures are logged.
    - `evaluation_episodes`: games played greedily after each epoch, with starts of their own; 0 for none.
    - `bootstrap_at_limit`: False treats an episode that a time limit cut off as if the game had ended: a mistake to
      learn from.
    - `seed`: of the games.

    Raises `ValueError` for a count below its range, and as `make_games` does.
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
        seed: int = 0,
        max_steps: int | None = None,
    ) -> None:
        super().__init__()
        check_count("count", count)
        check_count("chunks", chunks)
        check_count("evaluation_episodes", evaluation_episodes, 0)
        check_count("capacity", capacity, count)
        self.game, self.count, self.chunks, self.seed, self.max_steps = name, count, chunks, seed, max_steps
        self.evaluation_episodes, self.bootstrap_at_limit = evaluation_episodes, bootstrap_at_limit
        games = make_games(name, 1, max_steps=max_steps)
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
        self.games = make_games(self.game, self.count, max_steps=self.max_steps)
        if self.evaluation_episodes:
            self.evaluation_games = make_games(self.game, self.evaluation_episodes, max_steps=self.max_steps)
            # Far from the seeds of the games to learn from, which are those that follow `seed`.
            self.evaluation_games.reset(seed=self.seed + 1_000_000)
        observations, _ = self.games.reset(seed=self.seed)
        self.observations = torch.as_tensor(observations)
        self._over = torch.zeros(self.count, dtype=torch.bool)

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

    def step(self, actions: Int[Tensor, " games"]) -> None:
        """Take one step in every game and keep the transitions.

        The step after a game's last only resets it: what it returns leads from one episode's end to another's start,
        and is not a transition.
        """
        assert self.games is not None
        following, rewards, terminated, truncated, _ = self.games.step(actions.cpu().numpy())
        next_observations, ended = torch.as_tensor(following), torch.as_tensor(terminated)
        cut = torch.as_tensor(truncated)
        real = ~self._over
        self.buffer.add(
            Transitions(
                self.observations[real],
                actions.cpu()[real],
                torch.as_tensor(rewards).float()[real],
                next_observations[real],
                (ended if self.bootstrap_at_limit else ended | cut)[real],
            )
        )
        self._over = ended | cut
        # A vector of games may write its next observations into the same memory.
        self.observations = next_observations.clone()

    def train_dataloader(self) -> DataLoader[Any]:
        """Numbers that count the chunks of an epoch; the data are made by playing."""
        return DataLoader(cast(Any, range(self.chunks)), batch_size=None)


# --- the agent --------------------------------------------------------------------------------------------------------


class DQN(training.NetworkModel):
    r"""An agent that learns the values of actions by playing: deep Q-learning.

    Each training step is a chunk: `steps` steps in every game with an $\varepsilon$-greedy choice of actions, then
    `updates` updates of the network on batches from the buffer. An update lowers

    $$\frac1n \sum_i \operatorname{Huber}\big(Q(s_i, a_i) - y_i\big), \qquad
      y_i = r_i + \gamma (1 - \text{terminated}_i) \, Q^-\big(s'_i, a^*_i\big)$$

    where the target network $Q^-$ is a copy of $Q$ made every `target_interval` updates, and $a^*$ is the best action
    in the eyes of $Q$ (`double`) or of $Q^-$. The Huber loss is quadratic up to an error of 1 and linear beyond.

    With `ema_decay` $\beta$ a second copy of the network follows slowly, $\bar\theta \leftarrow \beta \bar\theta + (1 -
    \beta)\,\theta$ after each update. It plays where the agent is judged; the learning network plays to learn.

    After each epoch the agent plays `Games.evaluation_episodes` greedy episodes; at the end its network has the weights
    with the highest mean return there (the later ones among equals). It is trained with `Games` as its data, on one
    device.

    **Arguments:**

    - `network`: from observations to one value an action, such as `DenseQNetwork`.
    - `learning_rate`: Adam's; with `decay` it falls linearly to 0 over the training.
    - `discount`: $\gamma$, in [0, 1).
    - `steps`, `updates`, `batch_size`, `target_interval`: as above.
    - `learning_starts`: transitions in the buffer before the first update.
    - `epsilon`: the chance of a random action at first and at last; `exploration`: steps, counted over all games, in
      which it falls linearly from one to the other.
    - `double`: Double DQN; `huber`: False for half the squared error; `clip`: the gradient's largest norm, 0 for any.
    - `ema_decay`: $\beta$, in [0, 1); 0 for no averaging.

    **Logged** once an epoch: `loss`; `value`, the mean of $\max_a Q(s, a)$ over the batches; `epsilon`; `return`, the
    mean of the evaluation; and with averaging `return_online`, the same for the learning network.

    Raises `ValueError` for an argument outside its range, and when training begins, for a network that does not fit
    the games.
    """

    network_classes = (DenseQNetwork, ConvQNetwork)

    def __init__(
        self,
        network: DenseQNetwork | ConvQNetwork,
        *,
        learning_rate: float = 1e-3,
        decay: bool = False,
        discount: float = 0.99,
        steps: int = 32,
        updates: int = 128,
        batch_size: int = 64,
        target_interval: int = 100,
        learning_starts: int = 1000,
        epsilon: tuple[float, float] = (1.0, 0.05),
        exploration: int = 10_000,
        double: bool = True,
        huber: bool = True,
        clip: float = 10.0,
        ema_decay: float = 0.0,
    ) -> None:
        super().__init__()
        check_positive("learning_rate", learning_rate)
        check_not_negative("clip", clip)
        for name, share in (("discount", discount), ("ema_decay", ema_decay)):
            if not 0 <= share < 1:
                raise ValueError(f"{name} is {share}; it takes a number in [0, 1).")
        counts = {"steps": steps, "updates": updates, "batch_size": batch_size, "target_interval": target_interval}
        for name, value in {**counts, "learning_starts": learning_starts, "exploration": exploration}.items():
            check_count(name, value)
        if len(epsilon) != 2 or not all(0 <= value <= 1 for value in epsilon):
            raise ValueError(f"epsilon is {epsilon}; it takes two numbers in [0, 1], the first and the last.")
        self.automatic_optimization = False  # a training step has many updates
        self.network = network
        self.target_network = copy.deepcopy(network).requires_grad_(False)
        average = partial(training.running_average, ema_decay)
        self.averaged = AveragedModel(network, multi_avg_fn=average) if ema_decay else None
        self.learning_rate, self.decay, self.discount = learning_rate, decay, discount
        self.steps, self.updates, self.batch_size, self.target_interval = steps, updates, batch_size, target_interval
        self.learning_starts, self.epsilon, self.exploration = learning_starts, tuple(epsilon), exploration
        self.double_estimate, self.huber, self.clip = double, huber, clip
        self.steps_done, self.updates_done = 0, 0
        self._best: tuple[float, dict[str, Tensor]] = (-math.inf, {})
        self.save_hyperparameters(ignore=["network"])
        self.keep_networks(network=network)

    def forward(self, observations: Shaped[Tensor, "batch ..."]) -> Float[Tensor, "batch actions"]:
        """Return $Q(s, a)$ for every action."""
        return self.network(observations)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam on the online network."""
        return torch.optim.Adam(self.network.parameters(), self.learning_rate, fused=True)

    def setup(self, stage: str) -> None:
        """Forget the best weights of an earlier training: a new one is judged by itself."""
        self._best = (-math.inf, {})

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Store the counts and the best weights too."""
        checkpoint["agent"] = {"steps": self.steps_done, "updates": self.updates_done, "best": list(self._best)}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take over the counts and the best weights."""
        agent = checkpoint["agent"]
        self.steps_done, self.updates_done, self._best = agent["steps"], agent["updates"], tuple(agent["best"])

    def on_fit_start(self) -> None:
        """Compare the network with the games before a step is taken."""
        games = self._games
        if (self.network.shape, self.network.actions) != (games.shape, games.actions):
            raise ValueError(
                f"the network takes observations of shape {self.network.shape} and knows {self.network.actions} "
                f"actions; {game_title(games.game)} has observations of shape {games.shape} and "
                f"{games.actions} actions."
            )
        if games.buffer.capacity < self.batch_size:
            raise ValueError(
                f"the buffer holds {games.buffer.capacity} transitions, fewer than the batch_size {self.batch_size}; "
                "give the games a larger capacity."
            )
        if games.buffer.capacity < self.learning_starts:
            raise ValueError(
                f"learning_starts is {self.learning_starts}, and the buffer never holds more than "
                f"{games.buffer.capacity} transitions: it would never learn. Lower the one or raise the other."
            )

    @property
    def _games(self) -> Games:
        data = cast(Any, self.trainer).datamodule
        if not isinstance(data, Games):
            found = "a loader" if data is None else f"of the type {type(data).__name__}"
            raise ValueError(f"the data are {found}; an agent learns from Games, which it plays itself.")
        return data

    @property
    def current_epsilon(self) -> float:
        """The chance of a random action at this point of the training."""
        first, last = self.epsilon
        return first + (last - first) * min(1.0, self.steps_done / self.exploration)

    def training_step(self, batch: int, batch_idx: int) -> None:
        """Play `steps` steps in every game, then make `updates` updates."""
        games = self._games
        with torch.no_grad():
            for _ in range(self.steps):
                games.step(choose(self.network(games.observations.to(self.device)), self.current_epsilon))
                self.steps_done += games.count
        if len(games.buffer) < max(self.learning_starts, self.batch_size):
            return
        # The plain optimiser: Lightning's wrapper would cost as much as a small network's update. It takes one of
        # a chunk's updates, since Lightning counts its steps, and writes no checkpoint where it has counted none.
        optimizer = cast(torch.optim.Optimizer, self.optimizers(use_pl_optimizer=False))
        counted = cast(Any, self.optimizers())
        drawn = games.buffer.sample(self.updates * self.batch_size)
        batches = zip(*(column.to(self.device).split(self.batch_size) for column in drawn), strict=True)
        done = (self.trainer.current_epoch + batch_idx / games.chunks) / cast(int, self.trainer.max_epochs)
        for group in optimizer.param_groups:
            group["lr"] = self.learning_rate * (1 - done if self.decay else 1)
        for number, columns in enumerate(batches):
            optimizer.zero_grad()
            self.manual_backward(self.loss(Transitions(*columns)))
            if self.clip:
                nn.utils.clip_grad_norm_(self.network.parameters(), self.clip)
            (optimizer if number else counted).step()
            if self.averaged is not None:
                self.averaged.update_parameters(self.network)
            self.updates_done += 1
            if self.updates_done % self.target_interval == 0:
                self.target_network.load_state_dict(self.network.state_dict())

    def loss(self, batch: Transitions) -> Float[Tensor, ""]:
        """Return what an update lowers on these transitions."""
        q = self.network(batch.observations)
        with torch.no_grad():
            online_q = self.network(batch.next_observations) if self.double_estimate else None
            next_values = greedy_values(self.target_network(batch.next_observations), online_q)
            targets = bellman_targets(batch.rewards.to(q), batch.terminated, next_values, self.discount)
        taken = q.gather(1, batch.actions[:, None]).squeeze(1)
        loss = F.smooth_l1_loss(taken, targets) if self.huber else 0.5 * F.mse_loss(taken, targets)
        self.collect(loss=loss, value=q.detach().amax(dim=1).mean())
        return loss

    def on_train_epoch_end(self) -> None:
        """Let the agent be judged on games of their own, and remember the best weights."""
        super().on_train_epoch_end()
        self.log("epsilon", self.current_epsilon)
        if (games := self._games.evaluation_games) is not None:
            policy = self.network if self.averaged is None else self.averaged.module
            if self.averaged is not None:
                self.log("return_online", float(play(self.network, games)[0].mean()))
            mean = float(play(policy, games)[0].mean())
            self.log("return", mean)
            if mean >= self._best[0]:
                self._best = mean, copy.deepcopy(policy.state_dict())

    def on_train_end(self) -> None:
        """Give the network the best weights that it had, and its copies the same."""
        if self._best[1]:
            copies = [self.target_network, *([] if self.averaged is None else [self.averaged.module])]
            for network in (self.network, *copies):
                network.load_state_dict(self._best[1])


# --- the course's agents ----------------------------------------------------------------------------------------------


def recipe(name: str, profile: str = "auto") -> dict[str, Any]:
    """Return what decides an agent of the chapters, as plain values: settings of `games`, `network`, `agent`, `fit`.

    `name` is `"cartpole"`, `"breakout"` (MinAtar's) or `"pong"` (Atari's). Raises `ValueError` for another name or an
    unknown profile.
    """
    profile = training.resolve_profile(profile)
    scale = {"smoke": 0, "cpu": 1, "gpu": 2}[profile]
    recipes: dict[str, Any] = {
        "cartpole": {
            "games": {
                "name": "CartPole-v1",
                "count": 8,
                "capacity": 100_000,
                "chunks": (2, 8, 8)[scale],
                "evaluation_episodes": (2, 20, 20)[scale],
                "seed": 0,
            },
            "network": {"width": 128},
            "agent": {
                "learning_rate": 1e-3,
                "steps": 32,
                "updates": (32, 128, 128)[scale],
                "learning_starts": (200, 1000, 1000)[scale],
                "exploration": 10_000,
                "ema_decay": 0.9995,
            },
            "fit": {"max_epochs": (2, 48, 48)[scale], "seed": 0},
        },
        "breakout": {
            "games": {
                "name": "MinAtar/Breakout-v1",
                "count": 16,
                "capacity": (2_000, 100_000, 500_000)[scale],
                "chunks": (1, 20, 100)[scale],
                "evaluation_episodes": (2, 20, 20)[scale],
                "seed": 0,
            },
            "network": {"hidden": 128},
            "agent": {
                "learning_rate": 1e-3,
                "decay": True,
                "steps": 16,
                "updates": (8, 64, 64)[scale],
                "target_interval": 500,
                "learning_starts": (200, 5_000, 5_000)[scale],
                "exploration": (1_000, 30_000, 200_000)[scale],
                "ema_decay": 0.9995,
            },
            "fit": {"max_epochs": (2, 25, 40)[scale], "seed": 0},
        },
        "pong": {
            "games": {
                "name": "ALE/Pong-v5",
                "count": (2, 8, 16)[scale],
                "capacity": (300, 10_000, 100_000)[scale],
                "chunks": (1, 2, 50)[scale],
                "evaluation_episodes": (1, 1, 8)[scale],
                "seed": 0,
            },
            "network": {"layers": ATARI_LAYERS, "hidden": 512},
            "agent": {
                "learning_rate": 1e-4,
                "steps": 16,
                "updates": (2, 8, 64)[scale],
                "batch_size": 32,
                "target_interval": 1000,
                "learning_starts": (50, 200, 10_000)[scale],
                "epsilon": (1.0, 0.01),
                "exploration": 100_000,
                "ema_decay": 0.9995,
            },
            "fit": {"max_epochs": (1, 1, 80)[scale], "seed": 0},
        },
    }
    if name not in recipes:
        raise ValueError(f"name is {name!r}; it takes {', '.join(map(repr, recipes))}.")
    return recipes[name]


def build(recipe: dict[str, Any], games: Games) -> DQN:
    """Return the agent of a recipe for these games; the weights are drawn from PyTorch's global generator."""
    network = ConvQNetwork if len(games.shape) == 3 else DenseQNetwork
    return DQN(network(games.shape, games.actions, **recipe["network"]), **recipe["agent"])
