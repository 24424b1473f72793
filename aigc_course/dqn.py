r"""Deep Q-learning: the target of the temporal difference, Q-networks, and the agent that learns from playing.

The module reads like the papers: the target, the networks, the agent, the recipes by which the course trains. The games
themselves, the replay buffer and the evaluation are in `playing`. Sources: Mnih et al. (2015), "Human-level control
through deep reinforcement learning", https://doi.org/10.1038/nature14236; van Hasselt, Guez and Silver (2016),
https://arxiv.org/abs/1509.06461, for the double estimate; Wang et al. (2016), https://arxiv.org/abs/1511.06581, for the
duelling network.
"""

import copy
import math
from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from typing import Any, cast

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel

from aigc_course import training
from aigc_course.checks import check_count, check_not_negative, check_positive
from aigc_course.own_games import game_title, make_games
from aigc_course.playing import Games, ReplayBuffer, Transitions, choose, play

__all__ = [
    "ATARI_LAYERS",
    "DQN",
    "ConvQNetwork",
    "DenseQNetwork",
    "Games",
    "ReplayBuffer",
    "Transitions",
    "build",
    "choose",
    "greedy_values",
    "make_games",
    "play",
    "recipe",
    "td_target",
]

# --- the target of the temporal difference ----------------------------------------------------------------------------


def td_target(
    rewards: Float[Tensor, " batch"],
    terminated: Bool[Tensor, " batch"],
    next_values: Float[Tensor, " batch"],
    discount: float | Float[Tensor, " batch"],
) -> Float[Tensor, " batch"]:
    r"""Return what the actions taken should have been worth: $r + \gamma\, V(s')$, and $r$ where the game ended.

    $V(s')$ are `next_values`; $\gamma$ is `discount`, which for n-step returns is $\gamma^n$ of each row. The target
    less the value that the network gives now is the temporal difference. Mnih et al. (2015), algorithm 1.
    """
    return rewards + discount * next_values * ~terminated


def greedy_values(
    target_q: Float[Tensor, "batch actions"], online_q: Float[Tensor, "batch actions"] | None = None
) -> Float[Tensor, " batch"]:
    r"""Return the value of the best action, $\max_a Q^-(s', a)$ of the target network.

    With `online_q` the online network says which action is best and the target network what it is worth,
    $Q^-\big(s', \arg\max_a Q(s', a)\big)$: the Double DQN of van Hasselt, Guez and Silver (2016).
    """
    if online_q is None:
        return target_q.amax(dim=1)
    return target_q.gather(1, online_q.argmax(dim=1, keepdim=True)).squeeze(1)


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

# --- the agent --------------------------------------------------------------------------------------------------------


class DQN(training.NetworkModel):
    r"""An agent that learns the values of actions by playing: deep Q-learning.

    Each training step is a chunk: `steps` steps in every game with an $\varepsilon$-greedy choice of actions, then
    `updates` updates of the network on batches from the buffer. An update lowers

    $$\frac1n \sum_i \operatorname{Huber}\big(Q(s_i, a_i) - y_i\big), \qquad
      y_i = r_i + \gamma (1 - \text{terminated}_i) \, Q^-\big(s'_i, a^*_i\big)$$

    where the target network $Q^-$ is a copy of $Q$ made every `target_interval` updates, and $a^*$ is the best action
    in the eyes of $Q$ (`double`) or of $Q^-$. (With n-step returns of `Games`, $\gamma^n$ stands for $\gamma$.) The
    Huber loss is quadratic up to an error of 1 and linear beyond.

    With `ema_decay` $\beta$ a second copy of the network follows slowly, $\bar\theta \leftarrow \beta \bar\theta + (1 -
    \beta)\,\theta$ after each update. It plays where the agent is judged; the learning network plays to learn.

    After each epoch the agent plays `Games.evaluation_episodes` greedy episodes; at the end its network, and the copies
    too, have the weights with the highest mean return there (the later ones among equals). A training begins with
    copies of the network as it is then. Its data are `Games`, on one device.

    **Arguments:**

    - `network`: from observations to one value an action, such as `DenseQNetwork`.
    - `learning_rate`: Adam's; with `decay` it falls linearly to 0 over the training.
    - `discount`: $\gamma$, in [0, 1).
    - `steps`, `updates`, `batch_size`, `target_interval`: as above.
    - `learning_starts`: transitions in the buffer before the first update.
    - `epsilon`: the chance of a random action at first and at last; `exploration`: steps, counted over all games, in
      which it falls linearly from one to the other.
    - `double`: Double DQN; `huber`: False for half the squared error; `clip`: the gradient's largest norm, 0 for any.
    - `ceiling`: what no state can be worth more than, such as $1 / (1 - \gamma)$ where a step pays at most 1; targets
      above it are cut to it. None for no such bound.
    - `ema_decay`: $\beta$, in [0, 1); 0 for no averaging.

    **Logged** once an epoch: `loss`; `value`, the mean of $\max_a Q(s, a)$ over the batches; `epsilon`; `return`, the
    mean of the evaluation; with averaging `return_online`, the same for the learning network; and `transitions`, the
    steps taken so far, counted over all games.

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
        ceiling: float | None = None,
        ema_decay: float = 0.0,
    ) -> None:
        super().__init__()
        check_positive("learning_rate", learning_rate)
        if ceiling is not None and not math.isfinite(ceiling):
            raise ValueError(f"ceiling is {ceiling}; it takes the most that a state can be worth, or None.")
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
        self.double_estimate, self.huber, self.clip, self.ceiling = double, huber, clip, ceiling
        self.steps_done, self.updates_done = 0, 0
        self._best: tuple[float, dict[str, Tensor]] = (-math.inf, {})
        self.save_hyperparameters(ignore=["network"])
        self.keep_networks(network=network)

    def forward(self, observations: Shaped[Tensor, "batch ..."]) -> Float[Tensor, "batch actions"]:
        """Return $Q(s, a)$ for every action."""
        return self.network(observations)

    # The algorithm.

    def training_step(self, batch: int, batch_idx: int) -> None:
        """Play `steps` steps in every game, then make `updates` updates."""
        games = self._games
        with torch.no_grad():
            for _ in range(self.steps):
                q = self.network(games.observations.to(self.device))
                self.steps_done += games.step(choose(q, self.current_epsilon))
        if len(games.buffer) < max(self.learning_starts, self.batch_size):
            return
        drawn = games.buffer.sample(self.updates * self.batch_size)
        batches = zip(*(column.to(self.device).split(self.batch_size) for column in drawn), strict=True)
        for optimizer, columns in zip(self._optimizers(batch_idx / games.chunks), batches, strict=True):
            optimizer.zero_grad()
            self.manual_backward(self.loss(Transitions(*columns)))
            if self.clip:
                nn.utils.clip_grad_norm_(self.network.parameters(), self.clip)
            optimizer.step()
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
            targets = td_target(batch.rewards.to(q), batch.terminated, next_values, self.discount**batch.lengths)
            if self.ceiling is not None:
                targets = targets.clamp(max=self.ceiling)
        taken = q.gather(1, batch.actions[:, None]).squeeze(1)
        loss = F.smooth_l1_loss(taken, targets) if self.huber else 0.5 * F.mse_loss(taken, targets)
        self.collect(loss=loss, value=q.detach().amax(dim=1).mean())
        return loss

    @property
    def current_epsilon(self) -> float:
        """The chance of a random action at this point of the training."""
        first, last = self.epsilon
        return first + (last - first) * min(1.0, self.steps_done / self.exploration)

    def on_train_epoch_end(self) -> None:
        """Let the agent be judged on games of their own, and remember the best weights."""
        super().on_train_epoch_end()
        self.log_dict({"epsilon": self.current_epsilon, "transitions": float(self.steps_done)})
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
            self.network.load_state_dict(self._best[1])
            self._renew_copies()

    # What Lightning asks for.

    @property
    def _games(self) -> Games:
        data = cast(Any, self.trainer).datamodule
        if not isinstance(data, Games):
            found = "a loader" if data is None else f"of the type {type(data).__name__}"
            raise ValueError(f"the data are {found}; an agent learns from Games, which it plays itself.")
        return data

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam on the online network."""
        return torch.optim.Adam(self.network.parameters(), self.learning_rate, fused=True)

    def _optimizers(self, share: float) -> list[Any]:
        """The optimizer for each update of a chunk that begins when this share of the epoch is over.

        It is the plain one: Lightning's wrapper would cost as much as a small network's update. The wrapper makes the
        first, since it counts Lightning's steps, and no checkpoint is written where it has counted none.
        """
        optimizer = cast(torch.optim.Optimizer, self.optimizers(use_pl_optimizer=False))
        done = (self.trainer.current_epoch + share) / cast(int, self.trainer.max_epochs)
        for group in optimizer.param_groups:
            group["lr"] = self.learning_rate * (1 - done if self.decay else 1)
        return [self.optimizers(), *[optimizer] * (self.updates - 1)]

    def setup(self, stage: str) -> None:
        """Begin with fresh copies, and without the best weights of an earlier training: a new one is judged by itself.

        A checkpoint that the training goes on from is loaded later, and has copies of its own.
        """
        if stage == "fit":
            self._best = (-math.inf, {})
            self._renew_copies()

    def _renew_copies(self) -> None:
        self.target_network.load_state_dict(self.network.state_dict())
        if self.averaged is not None:
            self.averaged.module.load_state_dict(self.network.state_dict())
            self.averaged.n_averaged.zero_()  # the average begins anew, at the first weights that it sees

    def on_fit_start(self) -> None:
        """Compare the network with the games before a step is taken."""
        _check_fit(self, self._games)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Store the counts and the best weights too."""
        checkpoint["agent"] = {"steps": self.steps_done, "updates": self.updates_done, "best": list(self._best)}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take over the counts and the best weights."""
        agent = checkpoint["agent"]
        self.steps_done, self.updates_done, self._best = agent["steps"], agent["updates"], tuple(agent["best"])


def _check_fit(agent: DQN, games: Games) -> None:
    """Raise `ValueError` if the agent cannot learn from these games."""
    network, title, capacity = agent.network, game_title(games.game), games.buffer.capacity
    if (network.shape, network.actions) != (games.shape, games.actions):
        raise ValueError(
            f"the network takes observations of shape {network.shape} and knows {network.actions} actions; {title} has "
            f"observations of shape {games.shape} and {games.actions} actions."
        )
    if games.n_steps > 1 and games.discount != agent.discount:
        raise ValueError(
            f"the games add up rewards with a discount of {games.discount}, and the agent's is {agent.discount}; with "
            "n_steps above 1 give both the same."
        )
    if capacity < agent.batch_size:
        raise ValueError(
            f"the buffer holds {capacity} transitions, fewer than the batch_size {agent.batch_size}; give the games a "
            "larger capacity."
        )
    if capacity < agent.learning_starts:
        raise ValueError(
            f"learning_starts is {agent.learning_starts}, and the buffer never holds more than {capacity} transitions: "
            "it would never learn. Lower the one or raise the other."
        )


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
                "n_steps": 3,
                "chunks": (2, 8, 8)[scale],
                "evaluation_episodes": (2, 20, 20)[scale],
                "seed": 0,
            },
            "network": {"width": 128},
            "agent": {
                "learning_rate": 5e-4,
                "decay": True,
                "ceiling": 100.0,
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
                "sticky_actions": 0.1,
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
                "sticky_actions": 0.25,
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
