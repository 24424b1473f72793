"""The course's DQN for Breakout: its recipe, for as long as the budget allows."""

import torch
from torch import nn

from aigc_course import dqn, training

STEPS = 37  # epochs


def train(seed: int, steps: int = STEPS) -> nn.Module:
    recipe = dqn.recipe("breakout", "cpu")
    recipe["games"]["seed"] = 10_000 * seed
    torch.manual_seed(seed)
    games = dqn.Games(**recipe["games"])
    agent = dqn.build(recipe, games)
    training.fit(agent, games, max_epochs=steps, seed=seed, enable_progress_bar=False)
    return agent.network
