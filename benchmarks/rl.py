"""Measure the agents: CartPole from five seeds beside stable-baselines3, how their games end and how far apart the
actions' values are, each trick switched off in turn, speed.

Run from the repository's root: python benchmarks/rl.py, or with the names of parts: python benchmarks/rl.py steady
ablation. The results go to the terminal and, part by part, to aigc_course/benchmarks/rl.json, inside the package, since
the chapter that plots them is also run where there is no repository.
"""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import common
import torch
from common import clock, seconds
from pytorch_lightning.callbacks import LambdaCallback
from stable_baselines3 import DQN as Peer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env

from aigc_course import dqn, training

TARGET = Path(__file__).parents[1] / "aigc_course" / "benchmarks" / "rl.json"
SEEDS = range(5)
FRESH_SEEDS = range(5, 10)  # the recipe was chosen by the others
EPISODES = 100  # played at the end, with starts that nobody has seen
FRESH = 9_000_000  # their seeds begin here

# --- CartPole from several seeds --------------------------------------------------------------------------------------


def settings(seed: int, **changes: dict[str, Any]) -> dict[str, Any]:
    """The chapter's recipe with changes to its parts and with this seed."""
    recipe = dqn.recipe("cartpole", "cpu")
    recipe = {part: {**values, **changes.get(part, {})} for part, values in recipe.items()}
    recipe["games"]["seed"] = 10_000 * seed
    recipe["fit"]["seed"] = seed
    return recipe


def steps_an_epoch(recipe: dict[str, Any]) -> int:
    return recipe["games"]["count"] * recipe["agent"]["steps"] * recipe["games"]["chunks"]


def fresh_return(network: torch.nn.Module, seed: int) -> dict[str, float]:
    """Play the fresh episodes greedily; return their mean and how many lasted to the limit."""
    games = dqn.make_games("CartPole-v1", EPISODES)
    returns, _ = dqn.play(network, games, seed=FRESH + 10_000 * seed)
    games.close()
    return {"mean_return": round(float(returns.mean()), 1), "full_episodes": int((returns == 500).sum())}


class Look:
    """Looks at a learning network after each epoch: how its games end, and how large its action gap is.

    The states are those that the network visits in its own twenty greedy games, every tenth of them. The gap is
    |Q(s, left) - Q(s, right)|; its change and the share of states where the greedy action is another one are against
    the network of the epoch before.
    """

    def __init__(self, seed: int) -> None:
        self.seed, self.seconds = seed, 0.0
        self.before: torch.nn.Module | None = None
        names = ("fell", "left_the_track", "cut_off", "gap", "gap_change", "action_changed", "greedy_value")
        self.figures: dict[str, list[float]] = {name: [] for name in names}

    @torch.no_grad()
    def __call__(self, network: torch.nn.Module) -> None:
        """Play, and append each figure."""
        start, count = clock(), 20
        games = dqn.make_games("CartPole-v1", count)
        seen, running = torch.as_tensor(games.reset(seed=self.seed)[0]), torch.ones(count, dtype=torch.bool)
        visited, ends, steps = [], torch.zeros(3), 0
        while running.any():
            if steps % 10 == 0:
                visited.append(seen[running])
            following, _, ended, cut, _ = games.step(dqn.choose(network(seen), 0.0).numpy())
            seen, ended, cut = torch.as_tensor(following).clone(), torch.as_tensor(ended), torch.as_tensor(cut)
            over, out = running & (ended | cut), seen[:, 0].abs() > 2.4
            ends += torch.stack([over & ended & ~out, over & ended & out, over & ~ended]).sum(dim=1)
            running &= ~over
            steps += 1
        games.close()
        states = torch.cat(visited)
        q, earlier = network(states), (self.before or network)(states)
        gap, gap_before = q[:, 0] - q[:, 1], earlier[:, 0] - earlier[:, 1]
        changed = (gap.sign() != gap_before.sign()).float().mean()
        numbers = [gap.abs().median(), (gap - gap_before).abs().median(), changed, q.amax(dim=1).median()]
        for values, number in zip(self.figures.values(), [*(ends / count), *numbers], strict=True):
            values.append(round(float(number), 3))
        self.before = copy.deepcopy(network)
        self.seconds += seconds(start, clock())[1]


def ours(seed: int, *, look: bool = False, **changes: dict[str, Any]) -> dict[str, Any]:
    """Train by the recipe with changes; return the curve and what the best weights earn."""
    recipe = settings(seed, **changes)
    games = dqn.Games(**recipe["games"])
    torch.manual_seed(seed)
    agent, looking = dqn.build(recipe, games), Look(FRESH - 10_000 * (seed + 1))
    after = LambdaCallback(on_train_epoch_end=lambda _, agent: looking(agent.network))
    start = clock()
    callbacks = [after] if look else []
    history = training.fit(agent, games, **recipe["fit"], callbacks=callbacks, enable_progress_bar=False)
    cpu_seconds = seconds(start, clock())[1] - looking.seconds
    return {
        "seed": seed,
        **fresh_return(agent.network, seed),
        "cpu_seconds": round(cpu_seconds, 1),
        "steps": [round(count) for count in history["transitions"]],
        **(looking.figures if look else {}),
        "returns": [round(value, 1) for value in history["return"]],
        "online_returns": [round(value, 1) for value in history.get("return_online", [])],
        "values": [round(value, 2) for value in history.get("value", [])],
    }


class Judge(BaseCallback):
    """Judges the peer as our agent is judged: as often, by as many greedy episodes, the best weights kept."""

    def __init__(self, interval: int, seed: int) -> None:
        super().__init__()
        self.interval, self.curve, self.steps = interval, list[float](), list[int]()
        self.best: tuple[float, dict[str, Any]] = (float("-inf"), {})
        self.games = dqn.make_games("CartPole-v1", dqn.recipe("cartpole", "cpu")["games"]["evaluation_episodes"])
        self.games.reset(seed=10_000 * seed + 1_000_000)
        self.look = Look(FRESH - 10_000 * (seed + 1))

    def _on_step(self) -> bool:
        if self.num_timesteps % self.interval == 0:
            network = self.model.q_net  # type: ignore[attr-defined]
            mean = float(dqn.play(network, self.games)[0].mean())
            self.curve.append(round(mean, 1))
            self.steps.append(self.num_timesteps)
            self.look(network)
            if mean >= self.best[0]:
                self.best = mean, copy.deepcopy(network.state_dict())
        return True

    def _on_training_end(self) -> None:
        self.games.close()


# The settings for CartPole-v1 in rl-baselines3-zoo's hyperparams/dqn.yml, and the steps that they are made for.
ZOO: dict[str, Any] = {
    "learning_rate": 2.3e-3,
    "batch_size": 64,
    "buffer_size": 100_000,
    "learning_starts": 1000,
    "gamma": 0.99,
    "target_update_interval": 10,
    "train_freq": 256,
    "gradient_steps": 128,
    "exploration_final_eps": 0.04,
    "policy_kwargs": {"net_arch": [256, 256]},
}
ZOO_STEPS, ZOO_EXPLORATION = 50_000, 0.16


def peer(seed: int) -> dict[str, Any]:
    """Train stable-baselines3's DQN by the zoo's settings for the steps that they are made for."""
    recipe = settings(seed)
    interval = recipe["games"]["count"] * recipe["agent"]["steps"] * recipe["games"]["chunks"]
    judge = Judge(interval, seed)
    games = make_vec_env("CartPole-v1")
    model = Peer("MlpPolicy", games, seed=seed, device="cpu", exploration_fraction=ZOO_EXPLORATION, **ZOO)
    start = clock()
    model.learn(ZOO_STEPS, callback=judge)
    cpu_seconds = seconds(start, clock())[1] - judge.look.seconds
    model.q_net.load_state_dict(judge.best[1])
    figures = fresh_return(model.q_net, seed)
    return {
        "seed": seed,
        **figures,
        "cpu_seconds": round(cpu_seconds, 1),
        "steps": judge.steps,
        **judge.look.figures,
        "returns": judge.curve,
    }


def show(name: str, run: dict[str, Any]) -> None:
    print(f"{name}: " + "  ".join(f"{k} {v}" for k, v in run.items() if not isinstance(v, list)), flush=True)


# What makes the chapter's recipe steady, taken away.
UNSTEADY: dict[str, dict[str, Any]] = {
    "games": {"n_steps": 1},
    "agent": {"learning_rate": 1e-3, "decay": False, "ceiling": None},
}


def from_each_seed(
    train: Callable[..., dict[str, Any]], name: str, seeds: range, **changes: Any
) -> list[dict[str, Any]]:
    runs = []
    for seed in seeds:
        runs.append(train(seed, **changes))
        show(name, runs[-1])
    return runs


def steady() -> dict[str, Any]:
    """Train by the chapter's recipe, from the seeds by which it was chosen and from fresh ones."""
    runs, fresh = (from_each_seed(ours, "steady", seeds, look=True) for seeds in (SEEDS, FRESH_SEEDS))
    return {"episodes": EPISODES, "recipe": settings(0), "runs": runs, "fresh_seeds": fresh}


def unsteady() -> dict[str, Any]:
    """Train without what makes the recipe steady."""
    changes: dict[str, Any] = {"look": True, **UNSTEADY}
    runs = from_each_seed(ours, "unsteady", SEEDS, **changes)
    return {"episodes": EPISODES, "changes": UNSTEADY, "recipe": settings(0, **UNSTEADY), "runs": runs}


def uncut() -> dict[str, Any]:
    """Train by an earlier recipe, of three steps and a rate that falls from twice as high, for 65,536 steps."""
    changes: dict[str, Any] = {"agent": {"learning_rate": 1e-3, "ceiling": None}, "fit": {"max_epochs": 32}}
    runs = from_each_seed(ours, "uncut", SEEDS, look=True, **changes)
    return {"episodes": EPISODES, "changes": changes, "recipe": settings(0, **changes), "runs": runs}


def library() -> dict[str, Any]:
    """Train the peer."""
    return {"episodes": EPISODES, "zoo": ZOO, "steps": ZOO_STEPS, "runs": from_each_seed(peer, "peer", SEEDS)}


# --- one thing changed ------------------------------------------------------------------------------------------------

VARIANTS: dict[str, dict[str, dict[str, Any]]] = {
    "unsteady": {},
    "no averaging": {"agent": {"ema_decay": 0.0}},
    "dueling network": {"network": {"dueling": True}},
    "single estimate": {"agent": {"double": False}},
    "squared error": {"agent": {"huber": False, "clip": 0.0}},
    "no target network": {"agent": {"target_interval": 1}},
    "no replay": {"games": {"capacity": 256}, "agent": {"learning_starts": 256}},
    "no exploration": {"agent": {"epsilon": (0.0, 0.0)}},
    "limit ends the game": {"games": {"bootstrap_at_limit": False}},
}
ADDITIONS: dict[str, dict[str, dict[str, Any]]] = {
    "3-step returns": {"games": {"n_steps": 3}},
    "labels at most 100": {"agent": {"ceiling": 100.0}},
    "half the rate": {"agent": {"learning_rate": 5e-4}},
    "rate falls to 0": {"agent": {"decay": True}},
    "all four": {"games": {"n_steps": 3}, "agent": {"ceiling": 100.0, "learning_rate": 5e-4, "decay": True}},
}


def changed(variants: dict[str, dict[str, dict[str, Any]]]) -> dict[str, Any]:
    """Train the unsteady recipe with one thing changed a row, from the first seeds, for about 49,000 steps."""
    epochs = 24
    rows: dict[str, Any] = {}
    for name, changes in variants.items():
        rows[name] = {"changes": changes, "runs": []}
        parts = {part: {**UNSTEADY.get(part, {}), **changes.get(part, {})} for part in {*UNSTEADY, *changes}}
        for seed in SEEDS[:3]:
            run = ours(seed, look=False, fit={"max_epochs": epochs}, **parts)
            show(name, run)
            rows[name]["runs"].append(run)
    return {"epochs": epochs, "rows": rows}


def ablation() -> dict[str, Any]:
    """Take each trick away, or put another in its place."""
    return changed(VARIANTS)


def additions() -> dict[str, Any]:
    """Add what makes the recipe steady, each alone and all of them."""
    return changed(ADDITIONS)


# --- speed ------------------------------------------------------------------------------------------------------------


def throughput() -> dict[str, Any]:
    """Play and learn with both, the same network, batch, number of games and updates for a step, without judging.

    The peer has neither the double estimate nor averaged weights nor n-step returns, so for the race ours goes without
    them too.
    """
    plain = {"double": False, "ema_decay": 0.0}
    race = {"evaluation_episodes": 0, "n_steps": 1}
    recipe = settings(0, games=race, agent=plain, fit={"max_epochs": 6})
    agent_settings, count = recipe["agent"], recipe["games"]["count"]
    amount = steps_an_epoch(recipe) * (recipe["fit"]["max_epochs"] - 1)
    updates = amount // (count * agent_settings["steps"]) * agent_settings["updates"]

    def our_seconds() -> tuple[float, float]:
        games = dqn.Games(**recipe["games"])
        return common.seconds_with_fit(dqn.build(recipe, games), games, recipe["fit"]["max_epochs"] - 1)

    def peer_seconds() -> tuple[float, float]:
        model = Peer(
            "MlpPolicy",
            make_vec_env("CartPole-v1", n_envs=count),
            device="cpu",
            seed=0,
            learning_starts=0,
            train_freq=agent_settings["steps"],
            gradient_steps=agent_settings["updates"],
            batch_size=agent_settings.get("batch_size", 64),
            buffer_size=100_000,
            target_update_interval=1000,
            policy_kwargs={"net_arch": [recipe["network"]["width"]] * 2},
        )
        model.learn(steps_an_epoch(recipe))  # the machine warms up, as in ours
        start = clock()
        model.learn(amount, reset_num_timesteps=False)
        return seconds(start, clock())

    unit = {"amount": amount + updates, "unit": "steps_and_updates", "names": ("ours", "peer")}
    return {"steps": amount, "updates": updates, **common.throughput(our_seconds, peer_seconds, pairs=5, **unit)}


if __name__ == "__main__":
    parts = {"steady": steady, "unsteady": unsteady, "uncut": uncut, "library": library}
    parts |= {"ablation": ablation, "additions": additions, "throughput": throughput}
    common.run_parts(parts, "rl.py", TARGET)
