# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Tuning a language model by reward
#
# **After this chapter you can**
#
# - read a language model as a policy: what its states, actions, episodes and rewards are;
# - derive the policy gradient, and say why no gradient passes through a token that was drawn;
# - show that a baseline leaves the gradient's mean as it is and lowers its variance;
# - train an agent by REINFORCE, and say what on-policy and off-policy mean;
# - tune a GPT by a reward that is a plain program, and catch it when it cheats;
# - hold it near the pre-trained model by a penalty, and say what the best such policy looks like.
#
# **You need**: rewards and policies from [Learning what actions are worth](q_learning.ipynb), the model of
# [A GPT from the ground up](../language/gpt.ipynb), and temperature and the key–value cache from
# [From probabilities to text](../language/decoding.ipynb). The [notation](../../book/notation.md) is on a page of its
# own. · [How long this chapter takes to run](../../book/results.md)

# %% tags=["parameters"]
profile = "auto"  # "gpu" where there is one, else "cpu"; "smoke" checks the code

# %% tags=["hide-input"]
import importlib.util

if importlib.util.find_spec("aigc_course") is None:  # as on Colab; needs a network
    address = "git+https://github.com/aigc-course/aigc-course"
    wanted = f"aigc-course[games,music] @ {address}"
    get_ipython().run_line_magic("pip", f'install -q "{wanted}"')
    importlib.invalidate_caches()  # the next cell finds what was just installed

# %%
import copy
import math
import textwrap
from functools import partial
from itertools import pairwise
from pprint import pprint

import matplotlib.pyplot as plt
import torch
from torch.nn.utils import clip_grad_norm_

from aigc_course import diagrams, dqn, gpt, plots, results, text_metrics, training
from aigc_course.data import load_text


# %%
plots.use_style()
profile = training.resolve_profile(profile)
steps, batch, held_out = {
    "smoke": (3, 8, 16),
    "cpu": (40, 64, 256),
    "gpu": (60, 128, 1024),
}[profile]
# a wider network moves further in a step
learning_rate = {"smoke": 3e-4, "cpu": 3e-4, "gpu": 2e-4}[profile]
print(f"Profile {profile}: trainings of up to {steps} steps,")
print(f"{batch} texts per step; measured on {held_out} new texts.")


# %% [markdown]
# ## A wish that is no text
#
# The course's GPT has read Python's documentation and writes more of it. It has learnt to guess the next token, and
# nothing else was ever asked of it. Now we have a wish: *every bracket that it opens shall be closed.* A program can
# check that in a moment. But how do we tell the model? There is no corpus of the texts that we want, so there is no
# next token to show it. All we can do is let it write, and say afterwards how much we liked it.
#
# First we look at how things stand. The model gets prompts, short stretches from random places of held-out text, and
# goes on from each by a fixed number of tokens.

# %%
prompt_length, new_tokens = 16, 40
device = (
    torch.accelerator.current_accelerator()
    if torch.accelerator.is_available()
    else torch.device("cpu")
)
reference, tokenizer = gpt.pretrained(profile)
# it stays as it is: all else is compared with it
reference = reference.to(device).eval().requires_grad_(False)
tokens = {
    split: tokenizer.encode(load_text("python_docs", split))
    for split in ("validation", "test")
}


# %%
def excerpts(split, count):  # from random places: (count, prompt + new)
    starts = torch.randint(
        len(tokens[split]) - prompt_length - new_tokens, (count, 1)
    )
    return tokens[split][starts + torch.arange(prompt_length + new_tokens)].to(
        device
    )


def written(texts):  # what stands after the prompts, as strings
    return [tokenizer.decode(row) for row in texts[:, prompt_length:].cpu()]


# %%
# how many pairs are properly nested, and how many brackets are left loose
def brackets(text):
    pairs, loose, opened = 0, 0, []
    for character in text:
        if character in "([{":
            opened.append(character)
        elif character in ")]}":
            if opened and opened[-1] + character in ("()", "[]", "{}"):
                opened.pop()
                pairs += 1
            else:
                loose += 1
    return pairs, loose + len(opened)


for text in ("f(x[0]) and g(", ")(", "([)]"):
    print(text, brackets(text))


# %%
def show(texts, count=4):  # dots for what cannot be printed, ↵ for a new line
    for text in written(texts)[:count]:
        line = "".join(
            c if c.isprintable() else "·" for c in text.replace("\n", "↵")
        )
        print(
            textwrap.fill(f"{brackets(text)} {line}", 76, subsequent_indent="    ")
        )


# %%
torch.manual_seed(1)
# nobody trained on it; from here on its prompts are for measuring only
real = excerpts("test", held_out)
texts = gpt.generate(reference, real[:, :prompt_length], new_tokens)
show(texts)
closed = {}
for name, some in (("held-out text", real), ("the model", texts)):
    closed[name] = sum(brackets(text)[1] == 0 for text in written(some)) / held_out
    print(f"{name}: every bracket closed in {closed[name]:.0%} of the stretches")
assert profile == "smoke" or closed["the model"] < closed["held-out text"] - 0.05


# %% [markdown]
# Before each text stands how many pairs it has and how many loose brackets. Held-out text does not reach 100 % either,
# because a stretch begins and ends anywhere, in the middle of a call too. But the model is clearly worse. Can it be
# told to do better?
#
# ## A text is an episode
#
# Everything is there that a [learning agent](q_learning.ipynb) has; only the names differ.
#
# | reinforcement learning | a language model |
# | --- | --- |
# | state $s_t$ | the prompt and the tokens $x_1, \dots, x_{t-1}$ written so far |
# | action $a_t$ | the next token $x_t$ |
# | policy $\pi(a \mid s)$ | the model's probabilities $\pi_\theta(x_t \mid x_{<t})$, with weights $\theta$ |
# | transition | the token is appended: nothing is left to chance |
# | episode | a text $x = (x_1, \dots, x_T)$ after the prompt; here always $T$ tokens long |
# | reward | 0 until the end, then $r(x)$; no discount |
#
# We write $\pi_\theta(x) = \prod_t \pi_\theta(x_t \mid x_{<t})$ for the probability of a whole text given its prompt.
# What we want to raise is the mean reward of the texts that the model writes,
#
# $$J(\theta) = \mathbb E_{x \sim \pi_\theta} [ r(x) ] = \sum_x \pi_\theta(x) \, r(x) .$$
#
# A network that learns action values, as in [deep Q-learning](dqn.ipynb), would have to learn the value of a token from
# its own estimates one step later: the *largest* of them over the whole vocabulary, and so on to the end of the text. The
# maximum of noisy estimates is too high even for two actions, as we have seen. Here we change the probabilities
# themselves, and the reward of the whole text is used as it is. Such methods are called **policy gradients**.
#
# ### No gradient passes through a drawn token
#
# Why not let PyTorch differentiate the reward? Because between the weights and the reward stands a draw. A token is a
# whole number; change the weights by a hair, and the same token is drawn, or suddenly another one. The slope is 0
# nearly everywhere, and nowhere of use. PyTorch does not even build a graph:

# %%
logits = torch.zeros(1, 3, requires_grad=True)
token = torch.multinomial(logits.softmax(dim=-1), 1)
print(
    "probabilities know where they came from: "
    f"{logits.softmax(dim=-1).requires_grad}; the token: {token.requires_grad}"
)

# %% [markdown]
# A GAN for text would meet the same wall: its generator learns through the discriminator's gradient *with respect to
# the sample*, and a sample of tokens has none.
#
# ## The score function
#
# The way round is a piece of school mathematics. The reward of a given text does not depend on $\theta$; only the
# text's probability does. From $\nabla \log \pi = \nabla \pi / \pi$ it follows that $\nabla \pi = \pi \, \nabla \log
# \pi$, and
#
# $$
# \begin{aligned}
# \nabla_\theta J &= \sum_x r(x) \, \nabla_\theta \pi_\theta(x) \\
#                 &= \sum_x \pi_\theta(x) \, r(x) \, \nabla_\theta \log \pi_\theta(x) \\
#                 &= \mathbb E_{x \sim \pi_\theta} \big[ r(x) \, \nabla_\theta \log \pi_\theta(x) \big] .
# \end{aligned}
# $$
#
# The right-hand side is a mean over texts that the policy writes itself, so it can be estimated: write some, and
# average $r(x) \nabla \log \pi(x)$. In words: *make each text more likely, in proportion to its reward.* No gradient
# of $r$ is needed; it may be a program, a compiler, or a person with a thumb. This is **REINFORCE** (Williams, 1992),
# and $\nabla_\theta \log \pi_\theta$ is called the **score function**.
#
# We check it where everything can be computed: a policy that writes one token out of three, with logits $\theta$. With
# so few "texts" the expectation is a sum, and nothing has to be drawn.


# %%
def scores(theta):  # row a: the gradient of log pi(a)
    return torch.autograd.functional.jacobian(lambda t: t.log_softmax(dim=0), theta)


theta = torch.tensor([0.5, 0.0, -1.0], dtype=torch.double, requires_grad=True)
r = torch.tensor([1.0, 3.0, 2.0], dtype=torch.double)
(exact,) = torch.autograd.grad((theta.softmax(dim=0) * r).sum(), theta)
p, score = theta.softmax(dim=0).detach(), scores(theta.detach())
# row a: what one draw that gives a says of the gradient
estimates = r[:, None] * score
print("the gradient of J:      ", [f"{value:+.4f}" for value in exact.tolist()])
print(
    "the estimates' mean:    ",
    [f"{value:+.4f}" for value in (p @ estimates).tolist()],
)
torch.testing.assert_close(p @ estimates, exact)

# %% [markdown]
# ### A baseline costs nothing and saves much
#
# All three rewards are positive. So *every* draw raises the probability of what was drawn, the worst token included;
# that the best one rises most is only true on average. It would be more sensible to ask whether a text did better
# than usual: to subtract a **baseline** $b$, a number that does not depend on the text drawn.
#
# Does that spoil the mean? The mean of the score function is zero, since probabilities sum to 1:
#
# $$
# \mathbb E[\nabla \log \pi(x)] = \sum_x \pi(x) \frac{\nabla \pi(x)}{\pi(x)} = \nabla \sum_x \pi(x) = \nabla 1 = 0,
# $$
#
# so, for every $b$,
#
# $$
# \mathbb E\big[(r(x) - b) \nabla \log \pi(x)\big] = \nabla J .
# $$
#
# The variance does change. It is a parabola in $b$: for each $b$ we sum, over the three components of the gradient,
# the variance of an estimate from one draw.
#
# > **Predict, then run.** Someone adds 10 to every reward, which changes nothing about which token is best. What
# > happens to the estimates? (a) Nothing. (b) Their mean stays, their variance grows a little. (c) Their mean stays,
# > their variance grows more than tenfold.


# %%
# exact: the variance is summed over the gradient's components
def mean_and_variance(rewards, baseline=0.0):
    estimates = (rewards - baseline)[:, None] * score
    mean = p @ estimates
    return mean, (p @ (estimates - mean).square()).sum()


# %%
value = (p * r).sum()  # the mean reward
for name, some, b in (
    ("r", r, 0.0),
    ("r + 10", r + 10, 0.0),
    ("r - mean", r, value),
):
    mean, variance = mean_and_variance(some, b)
    print(
        f"{name:>8}: mean {[f'{number:+.4f}' for number in mean.tolist()]}, "
        f"variance {variance:.3f}"
    )
    torch.testing.assert_close(mean, exact)


# %% mystnb={"image": {"alt": "A parabola of the variance over the baseline; the point at zero lies some way up its left branch, the mean reward close to the lowest point."}}
grid = torch.linspace(-2, 5, 141, dtype=torch.double)
variances = [mean_and_variance(r, b)[1] for b in grid]
without, with_mean = mean_and_variance(r)[1], mean_and_variance(r, value)[1]
red, green = plots.COLOURS[3], plots.COLOURS[2]
plt.plot(grid, variances, label="variance of an estimate")
plt.plot(0, without, "o", color=red, label="without a baseline")
plt.plot(value, with_mean, "s", color=green, label="baseline = mean reward")
plt.xlabel("baseline (units of the reward)")
plt.ylabel("variance, summed over components")
plt.legend()
plt.show()


# %% [markdown]
# It is (c): the three printed means are one and the same gradient, and the variances are far apart. The mean reward is
# not quite the lowest point (exercise 1 finds that), but close, and it is easily estimated from the texts at hand.
#
# The baseline is to be independent of the text. So in a batch of $B$ texts with the rewards $r_1, \dots, r_B$ we take for
# each the mean of the *others*, the **leave-one-out** baseline (Kool, van Hoof and Welling, 2019, who take several texts for each prompt). What is left after
# subtraction is called the **advantage** $A_i$; with the mean $\bar r$ of the whole batch, a line of algebra makes it
# simple to compute:
#
# $$A_i = r_i - \frac{1}{B - 1} \sum_{j \ne i} r_j = \frac{B}{B - 1} \, ( r_i - \bar r ) .$$
#
# The formula also says what would happen if the text's own reward were left in, as many programs do: the advantage is
# $r_i - \bar r$, and the whole gradient is shorter by the factor $(B - 1) / B$. That does no harm: it points the same way.
# In our batches each text follows a prompt of its own, so the baseline is a mean over *different prompts*. It is still
# independent of the text; a mean over several texts after the same prompt would also take out how easy that prompt is.


# %%
def leave_one_out(rewards):  # (batch,) -> (batch,): how much better than the others
    return (rewards - rewards.mean()) * len(rewards) / (len(rewards) - 1)


assert torch.allclose(
    leave_one_out(r),
    torch.stack(
        [r[0] - r[[1, 2]].mean(), r[1] - r[[0, 2]].mean(), r[2] - r[:2].mean()]
    ),
)
print(leave_one_out(r).tolist())

# %% [markdown]
# ## A policy gradient on the pole
#
# Before the language model, a policy that acts more than once: the pole on a cart of the [second
# chapter](dqn.ipynb). Now a whole episode $s_0, a_0, r_0, s_1, a_1, r_1, \dots$ is drawn, and its probability is a
# product of what the game contributes and what the policy does. Only the latter depends on $\theta$, so the score of an
# episode is $\sum_t \nabla \log \pi_\theta(a_t \mid s_t)$. Nor can an action change the rewards before it, so each term
# needs only the return from there on, $G_t = \sum_{k \ge t} \gamma^{k - t} r_k$ with the discount $\gamma$ (Sutton and
# Barto, chapter 13):
#
# $$\nabla J \approx \frac1n \sum_{\text{episodes}} \sum_t \big(G_t - b(s_t)\big) \, \nabla \log \pi_\theta(a_t \mid s_t) ,$$
#
# with $n$ for the number of episodes. (The discount makes this an approximation: a factor $\gamma^t$ is left out, as is usual.) The baseline $b$ may depend
# on the state, since the state was there before the action was drawn. A second network learns it, by regression to the
# returns. Each batch is played by the present policy, used for one step, and thrown away: the method is **on-policy**.
# Deep Q-learning was **off-policy**: its buffer holds what older policies did.


# %%
def dense(outputs):
    layers = [torch.nn.Linear(4, 64), torch.nn.Tanh(), torch.nn.Linear(64, outputs)]
    return torch.nn.Sequential(*layers)


@torch.no_grad()
def episodes(pole_policy, games):  # columns of (steps, games, ...)
    seen, running, film = games.reset()[0], torch.ones(games.num_envs).bool(), []
    while running.any():
        states = torch.as_tensor(seen).clone()
        actions = torch.multinomial(pole_policy(states).softmax(dim=-1), 1)[:, 0]
        seen, rewards, ended, cut, _ = games.step(actions.numpy())
        film.append((states, actions, torch.tensor(rewards) * running, running))
        running = running & ~torch.as_tensor(ended | cut)
    return [torch.stack(column) for column in zip(*film, strict=True)]


# %%
def returns_to_go(rewards, discount=0.99):  # (steps, games) of both
    total, found = torch.zeros(rewards.shape[1]), []
    for reward in rewards.float().flip(0):
        total = reward + discount * total
        found.append(total)
    return torch.stack(found).flip(0)


def action_scores(pole_policy, states, actions):  # log pi(a | s)
    log_p = pole_policy(states).log_softmax(dim=-1)
    return log_p.gather(-1, actions[..., None])[..., 0]


# %%
def pole_loss(pole_policy, baseline, film):
    states, actions, rewards, running = film
    found, b = returns_to_go(rewards), 100 * baseline(states)[..., 0]
    log_p = action_scores(pole_policy, states, actions)
    # minus what REINFORCE raises, per game, in a handy unit
    loss = -((found - b.detach()) * log_p * running).sum() / (100 * len(states[0]))
    # no weight is in both networks, so that one optimiser can serve them
    return loss + ((found - b)[running] / 100).square().mean()


# %%
def balance(updates, count=16):
    pole_policy, baseline, lengths = dense(2), dense(1), []
    weights = [*pole_policy.parameters(), *baseline.parameters()]
    adam = torch.optim.Adam(weights, 1e-2)
    games = dqn.make_games("CartPole-v1", count)
    games.reset(seed=0)
    for _ in range(updates):
        film = episodes(pole_policy, games)
        adam.zero_grad()
        pole_loss(pole_policy, baseline, film).backward()
        adam.step()
        lengths.append(film[2].sum(dim=0).mean().item())
    games.close()
    return pole_policy, baseline, lengths


# %%
torch.manual_seed(0)
pole_policy, _, lengths = balance({"smoke": 3}.get(profile, 60))
hundred = {"smoke": 5}.get(profile, 100)
games = dqn.make_games("CartPole-v1", hundred)
balanced = dqn.play(pole_policy, games, seed=9_000_000)[0].mean().item()
print(
    f"drawn actions: {lengths[0]:.0f} steps in the first batch, "
    f"{lengths[-1]:.0f} in the last"
)
print(f"the likelier action in fresh games: {balanced:.0f} of 500 steps")
assert profile == "smoke" or balanced > 250

# %% mystnb={"image": {"alt": "The mean length of the games of a batch over the updates: it begins near twenty steps and climbs to several hundred."}}
plt.plot(lengths)
plt.xlabel("update")
plt.ylabel("mean length of the batch's games (steps)")
plt.show()

# %% [markdown]
# There is no replay buffer and no target network, and after some seconds of training the pole stays up for most of the
# time. The price is in the data: every game is used for one step only.
#
# How much does the baseline save here? We stop early, after ten updates, let that policy play a hundred games, and take
# each game's estimate of the gradient alone: without a baseline, with the mean return as the baseline, and with the
# learnt one. As above, the variance is summed over the gradient's components.


# %%
def spread(pole_policy, film, found, b):
    states, actions, _, running = film
    estimates = []
    for n in range(states.shape[1]):
        log_p = action_scores(pole_policy, states[:, n], actions[:, n])
        aim = ((found - b)[:, n] * log_p * running[:, n]).sum()
        parts = torch.autograd.grad(aim, list(pole_policy.parameters()))
        estimates.append(torch.cat([part.flatten() for part in parts]))
    return torch.stack(estimates).var(dim=0).sum().item()


# %%
torch.manual_seed(1)
early, early_baseline, _ = balance({"smoke": 2}.get(profile, 10))
games.reset(seed=1)
film = episodes(early, games)
games.close()
found = returns_to_go(film[2])
with torch.no_grad():
    learnt = 100 * early_baseline(film[0])[..., 0]
mean_return = (found * film[3]).sum() / film[3].sum()


# %%
none = torch.zeros_like(found)
baselines = {"none": none, "mean return": none + mean_return, "learnt": learnt}
spreads = {name: spread(early, film, found, b) for name, b in baselines.items()}
for name, size in spreads.items():
    print(f"{name:>11}: variance {size:9,.0f}, {size / spreads['none']:.0%}")
assert profile == "smoke" or spreads["mean return"] < 0.8 * spreads["none"]

# %% [markdown]
# With the mean return as the baseline the variance is well below that without one. The variance of a mean over $n$ games
# is that of one game divided by $n$, so in the same proportion fewer games give an equally good gradient. What the learnt baseline adds depends on how well it has been learnt by then: in early
# batches it may be no better than the plain mean.
#
# ## The policy gradient on the GPT
#
# The log-probability of a text is a sum over its tokens,
# $\log \pi_\theta(x) = \sum_t \log \pi_\theta(x_t \mid x_{<t})$. One pass of the model over the finished text gives all
# of them, just as in training.


# %%
# (batch, prompt + new) -> (batch, new): of each token written, in nats
def log_probability(policy, texts):
    log_p = policy(texts[:, :-1])[:, prompt_length - 1 :].log_softmax(dim=-1)
    return log_p.gather(2, texts[:, prompt_length:, None])[..., 0]


# %% [markdown]
# The derivation has one condition that is easily broken: $x$ must be drawn from *the same* $\pi_\theta$ whose logarithm
# is differentiated. So we draw at temperature 1, without top-p, and **dropout is off** in both: with dropout on, each
# pass would score the text by a different, randomly thinned network than the one that wrote it. The pre-trained model
# has dropout, so it is kept in evaluation mode throughout, for gradients too. (Exercise 2 shows what goes wrong
# otherwise.) We check: token by token, with the cache, we draw and note the probability at that moment; then we score
# the finished texts in one pass.

# %%
torch.manual_seed(0)
prompts = real[:8, :prompt_length]
texts, cache, at_the_draw = prompts, reference.new_cache(len(prompts)), []
for _ in range(new_tokens):
    log_p = reference(texts[:, cache[0].length :], cache)[:, -1].log_softmax(dim=-1)
    drawn = torch.multinomial(log_p.exp(), 1)
    at_the_draw.append(log_p.gather(1, drawn))
    texts = torch.cat([texts, drawn], dim=1)
torch.testing.assert_close(
    log_probability(reference, texts),
    torch.cat(at_the_draw, dim=1),
    atol=1e-4,
    rtol=1e-4,
)
print("Scored in one pass: the probabilities with which the tokens were drawn.")

# %% [markdown]
# Here is the whole method. A step writes a batch of texts, rewards them, scores them, and moves the weights. REINFORCE
# with the leave-one-out mean over several texts *after the same prompt* is known as **RLOO** (Ahmadian et al., 2024); ours
# takes the mean over prompts. A reward that a program computes is called a *verifiable* one. Two lines about a penalty with the factor $\beta$ are for later; until then $\beta = 0$. The learning rate is far
# below the pre-training's: the weights are to be corrected, not washed away. What unit the reward is counted in does not
# matter to the size of a step, and that is Adam's doing, which divides each gradient by the size of such gradients so
# far. (The gradients are clipped to length 1 as well, so that no single batch outweighs the others in Adam's averages. That
# alone would not remove the unit: gradients shorter than 1 are left as they are.) We check it below.


# %%
# the loss whose gradient is REINFORCE's, and what the batch looked like
def losses(policy, reward, beta):
    prompts = excerpts("validation", batch)[:, :prompt_length]
    texts = gpt.generate(policy, prompts, new_tokens)
    log_p = log_probability(policy, texts).sum(dim=1)
    with torch.no_grad():  # the ratio's mean estimates the KL divergence
        log_ratio = log_p - log_probability(reference, texts).sum(dim=1)
    counts = [brackets(text) for text in written(texts)]  # pairs, loose
    found = torch.tensor(counts, device=device).float()
    rewards = reward(*found.T)
    advantage = leave_one_out(rewards - beta * log_ratio)  # no gradient in it
    with_bracket = (found.sum(dim=1) > 0).float()
    seen = {"reward": rewards, "kl": log_ratio, "with_bracket": with_bracket}
    means = {name: numbers.mean().item() for name, numbers in seen.items()}
    return -(advantage * log_p).mean(), means


# %%
def tune(reward, beta=0.0):
    # evaluation mode is copied too
    policy = copy.deepcopy(reference).requires_grad_(True)
    optimizer = torch.optim.Adam(policy.parameters(), learning_rate)
    torch.manual_seed(0)
    history = {"reward": [], "kl": [], "with_bracket": []}
    for _ in range(steps):
        loss, seen = losses(policy, reward, beta)
        optimizer.zero_grad()
        loss.backward()
        clip_grad_norm_(policy.parameters(), 1.0)
        optimizer.step()
        for name, number in seen.items():
            history[name].append(number)
    return policy.requires_grad_(False), history


# %%
moved = {}
for scale in (1.0, 100.0):  # one step, without clipping
    torch.manual_seed(0)
    policy = copy.deepcopy(reference).requires_grad_(True)
    adam = torch.optim.Adam(policy.parameters(), learning_rate)
    reward = partial(lambda scale, pairs, loose: scale * (pairs - loose), scale)
    loss, _ = losses(policy, reward, 0.0)
    loss.backward()
    adam.step()
    moved[scale] = torch.cat([weight.flatten() for weight in policy.parameters()])
old = torch.cat([weight.flatten() for weight in reference.parameters()])
apart = (moved[1.0] - moved[100.0]).norm() / (moved[1.0] - old).norm()
print(f"rewards times 100: the step differs by {apart:.1%} of its length")
assert apart < 0.05

# %% [markdown]
# Mind what the loss is not. Its *value* means nothing (the advantages sum to zero); only its gradient counts. To
# see whether the training works, look at the reward.
#
# ## First wish: every bracket closes
#
# The reward is our wish, word for word: 1 if no bracket is left loose, else 0.
#
# > **Predict, then run.** What will the model learn? (a) To close what it opens. (b) To open fewer brackets, or none.
# > (c) Nothing: one number for forty tokens is too little to learn from.


# %%
def closes(pairs, loose):
    return (loose == 0).float()


closing, closing_history = tune(closes)
print(
    "last steps:",
    {
        name: f"{sum(numbers[-5:]) / len(numbers[-5:]):.2f}"
        for name, numbers in closing_history.items()
    },
)

# %% mystnb={"image": {"alt": "Over the steps the share of texts whose brackets close climbs to the top, while the share that has any bracket falls far below where it began."}}
plt.plot(closing_history["reward"], label="every bracket closes (the reward)")
plt.plot(
    closing_history["with_bracket"],
    "--",
    color=plots.COLOURS[3],
    label="has a bracket at all",
)
plt.ylim(0, 1.05)
plt.xlabel("step")
plt.ylabel("share of the texts")
plt.legend()
plt.show()

# %% [markdown]
# The reward climbs to nearly 1: a triumph, if one only looks at that line. The dashed one tells how it was done. It is
# (b): a text without brackets has none that are loose. Nobody told the model that we *like* brackets. This is **reward
# hacking**: what was paid for was delivered, and it is not what was meant. We measure it on new prompts, from a split
# that the tuning never saw, and read.


# %%
def bracket_row(texts):  # a number for each text
    counts = [brackets(text) for text in written(texts)]
    pairs, loose = torch.tensor(counts).float().T
    row = {"closed": closes(pairs, loose), "any": (pairs + loose > 0).float()}
    return row | {"pairs": pairs, "loose": loose, "reward": pairs - loose}


# %%
@torch.no_grad()
def measure(policy, texts=None):  # on the same prompts for every policy
    torch.manual_seed(1)
    if texts is None:
        texts = gpt.generate(policy, real[:, :prompt_length], new_tokens)
    log_p = log_probability(policy, texts)
    log_ref = log_probability(reference, texts)
    row = bracket_row(texts)
    row |= {"KL": (log_p - log_ref).sum(dim=1), "nats/token": -log_ref}
    row = {name: numbers.mean().item() for name, numbers in row.items()}
    generated = texts[:, prompt_length:].flatten().cpu()
    row["distinct-2"] = text_metrics.distinct_n(generated, 2)
    return {**row, "texts": texts}


# %%
def table(rows):
    columns = ["closed", "any", "pairs", "loose", "KL", "nats/token", "distinct-2"]
    widths = {name: max(8, len(name) + 2) for name in columns}
    print(" " * 14 + "".join(f"{name:>{width}}" for name, width in widths.items()))
    for name, row in rows.items():
        line = f"{name:>14}"
        for column, width in widths.items():
            cell = "–" if math.isnan(row[column]) else f"{row[column]:.2f}"
            line += f"{cell:>{width}}"
        print(line)


# %%
# not comparable
people = measure(reference, real) | {"KL": math.nan, "distinct-2": math.nan}
rows = {"held-out text": people, "pre-trained": measure(reference)}
rows["closes"] = measure(closing)
table(rows)
print()
show(rows["closes"]["texts"])

# %% [markdown]
# The columns: the share of texts whose brackets all close, and the share that has any; pairs and loose brackets per
# text; then three that the reward knows nothing about. *KL*, which has a section of its own below, says how far the
# policy has moved. *Nats/token* is the loss of the **pre-trained** model on these texts: how strange they look to the
# one that has learnt what documentation is like. *Distinct-2* is the [share of different pairs of
# tokens](../evaluation/text_quality.ipynb) among all pairs, over all the texts together. (For held-out text it would
# mislead: so many stretches of a short text overlap.)
#
# The texts have lost more than their brackets: the pre-trained model finds them stranger than its own. A likely reason
# is that each step goes in a direction estimated from one batch of rewards, with much noise, and that the reward says
# nothing about spelling or grammar. How far would the model have *had* to go? The policy that always satisfies us, and
# otherwise stays as close to the pre-trained one as it can, is the pre-trained one under the condition that the
# brackets close: write, throw away what fails, write again. Its distance from the pre-trained model, in the same unit
# as the column KL, is $-\log P(\text{closed})$ for each prompt (exercise 3). With one $P$ for all prompts together we
# get a lower bound of the mean, and an idea of the size.

# %%
needed = -math.log(rows["pre-trained"]["closed"])
print(
    f"needed: at least {needed:.2f} nats; "
    f"travelled: {rows['closes']['KL']:.1f} nats"
)
if profile != "smoke":
    assert rows["closes"]["nats/token"] > rows["pre-trained"]["nats/token"] + 0.3
    assert rows["closes"]["KL"] > 5 * needed

# %% [markdown]
# ## Second wish: pay for brackets
#
# The gap in the wish is easily mended, it seems: pay for each proper pair, and charge for each loose bracket,
# $r(x) = \text{pairs} - \text{loose}$. Writing no bracket now earns nothing.


# %%
def counts(pairs, loose):
    return pairs - loose


betas = (0.0, 0.1, 0.3, 1.0)
tuned, histories = {}, {}
tuned[0.0], histories[0.0] = tune(counts)
rows["beta 0"] = measure(tuned[0.0])
table({name: rows[name] for name in ("pre-trained", "beta 0")})
print()
show(rows["beta 0"]["texts"])

# %% mystnb={"image": {"alt": "The reward stays low at first, then shoots up to a ceiling marked by a dashed line, and stays there."}}
plt.plot(histories[0.0]["reward"])
plt.axhline(
    new_tokens, color="grey", linestyle="--", label="one pair for every token"
)
plt.xlabel("step")
plt.ylabel("pairs less loose brackets, per text")
plt.legend()
plt.show()
assert profile == "smoke" or histories[0.0]["reward"][-1] > 0.75 * new_tokens

# %% [markdown]
# A perfect student, again. It has found that its vocabulary has a token with a whole pair of brackets in it, and
# writes little else. The reward is near the most that can be had, one pair for every token, and the texts are worthless.
# *Distinct-2* near 0 says that all texts have become one.
#
# One could go on mending: no more than three pairs, no pair twice, something between the brackets. Each patch is an
# invitation to find the next gap, and the model searches harder than we do. The trouble lies deeper. We know much
# more about good texts than we can write into a program; and most of what we cannot write down, the pre-trained
# model knows.
#
# ## Stay close to what you know
#
# So let us pay for brackets *and* charge for every step away from the pre-trained model $\pi_\text{ref}$, the
# **reference**. The distance is measured by the [Kullback–Leibler divergence](../../book/glossary.md),
#
# $$
# \mathrm{KL}(\pi_\theta \,\|\, \pi_\text{ref}) = \mathbb E_{x \sim \pi_\theta} \bigg[ \sum_{t=1}^{T} \log
# \frac{\pi_\theta(x_t \mid x_{<t})}{\pi_\text{ref}(x_t \mid x_{<t})} \bigg]
# \quad \text{nats per text,}
# $$
#
# and the aim becomes $J_\beta = \mathbb E[r(x)] - \beta \, \mathrm{KL}$. The penalty's factor $\beta$ is a price: one
# nat costs $\beta$ units of reward. The divergence is an expectation over our own texts, so each text gives an
# estimate: the logarithm of how much more likely it is under the policy than under the reference. For a single text
# it may well be negative; its mean is not.

# %%
diagrams.draw(
    "From the policy pi an arrow leads to the text x, from x to the reward r and "
    "to the reference, from these two to the sum. A dashed arrow leads from the "
    "sum back to pi.",
    {"π": (0, 1.1), "x": (1.3, 1.1), "πʳᵉᶠ": (2.7, 0), "r": (2.7, 1.1)}
    | {"+": (4.1, 0.55)},
    [("π", "x", "r", "+"), ("x", "πʳᵉᶠ", "+")],
    dashed=[("+", "π")],
    variables=["x"],
    notes={"πʳᵉᶠ": "−β log π / πʳᵉᶠ"},
)

# %% [markdown]
# A text $x$ is drawn from the policy; the reward and the reference both judge it. Only the policy learns (dashed).
#
# In the code the penalty is simply **part of the reward**, $r(x) - \beta \log \frac{\pi_\theta(x)}{\pi_\text{ref}(x)}$.
# Is that allowed? This "reward" depends on $\theta$, and the derivation assumed that it does not. The product rule
# gives one term more, $-\beta \, \mathbb E[\nabla \log \pi_\theta(x)]$, and that is zero, as we saw at the
# baseline. So the gradient is exact. (The other way, to compute the mean of the log-ratio over a batch and call
# `backward()` on it, gives *only* the term that is zero on average: pure noise.) On the three tokens:

# %%
p_ref = torch.tensor([0.6, 0.1, 0.3], dtype=torch.double)
log_p = theta.log_softmax(dim=0)
# beta = 0.5
(exact,) = torch.autograd.grad(
    (log_p.exp() * (r - 0.5 * (log_p - p_ref.log()))).sum(), theta
)
in_the_reward = r - 0.5 * (p.log() - p_ref.log())
torch.testing.assert_close(p @ (in_the_reward[:, None] * score), exact)
print(
    "The gradient of E[r] - beta KL:", [f"{value:+.4f}" for value in exact.tolist()]
)

# %% [markdown]
# ### What the best policy looks like
#
# Without a penalty the optimum puts all probability on the best text. With it the optimum can be written down. Let
# $\pi^*(x) = \pi_\text{ref}(x) \, e^{r(x) / \beta} / Z$, where $Z = \sum_x \pi_\text{ref}(x) e^{r(x) / \beta}$ makes it
# sum to 1. Then, putting $r(x) = \beta \log \big(Z \, \pi^*(x) / \pi_\text{ref}(x)\big)$ into the aim,
#
# $$
# J_\beta = \mathbb E_{x \sim \pi} \Big[ r(x) - \beta \log \frac{\pi(x)}{\pi_\text{ref}(x)} \Big]
# = \beta \log Z - \beta \, \mathrm{KL}(\pi \,\|\, \pi^*) .
# $$
#
# A divergence is never negative and is 0 only for equal distributions: $\pi^*$ is the best policy, and $\beta \log Z$ is
# what it reaches. It re-weights what the reference would write. What the reference never writes stays at zero,
# however well it is paid. We look at eight "texts", the last of them the spam: best paid, and all but absent
# from the reference. Gradient ascent on the logits and the formula must meet.

# %%
p_ref = torch.tensor(
    [0.3, 0.25, 0.2, 0.1, 0.08, 0.05, 0.0199, 0.0001], dtype=torch.double
)
r = torch.tensor([0.0, 1.0, 0.0, 2.0, 1.0, 3.0, 2.0, 12.0], dtype=torch.double)


def best_policy(beta):
    return (p_ref.log() + r / beta).softmax(dim=0)


# %%
logits = p_ref.log().requires_grad_(True)
for _ in range(4000):
    log_p = logits.log_softmax(dim=0)
    (slope,) = torch.autograd.grad(
        (log_p.exp() * (r - 2.0 * (log_p - p_ref.log()))).sum(), logits
    )
    logits = (logits + slope).detach().requires_grad_(True)
print(
    "farthest apart after gradient ascent, beta = 2: "
    f"{(logits.softmax(dim=0) - best_policy(2.0)).abs().max():.1e}"
)
torch.testing.assert_close(
    logits.softmax(dim=0).detach(), best_policy(2.0), atol=1e-6, rtol=1e-4
)


# %% mystnb={"image": {"alt": "Three panels with bars for eight texts beside a line for the reference: with a high price they nearly agree, with a middle one the well-paid texts rise, with a low one the last bar takes all."}}
figure, axes = plt.subplots(1, 3, figsize=(6, 2.8), sharey=True)
for ax, beta in zip(axes, (8.0, 2.0, 0.5), strict=True):
    ax.bar(
        range(1, 9), best_policy(beta), color=plots.COLOURS[0], label="best policy"
    )
    ax.step(
        range(1, 9), p_ref, where="mid", color=plots.COLOURS[3], label="reference"
    )
    ax.set_xlabel(rf"text ($\beta$ = {beta:g})")
    ax.set_xticks(range(1, 9))
axes[0].set_ylabel("probability")
figure.legend(
    *axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=2
)
plt.show()

# %% [markdown]
# On the left a nat is costly, and the policy hardly moves. In the middle the well-paid texts have grown at the cost of
# the unpaid ones, and the spam is still small: its factor $e^{12 / 2}$ is large, but it starts from almost nothing. On
# the right a nat is cheap, and the spam takes everything. So the penalty does not abolish hacking. It sets a price, and
# at a low price even a very unlikely text pays.
#
# ## Four prices
#
# The same second wish, the same number of steps, three values of $\beta$ beside the 0 that we had.

# %%
for beta in betas[1:]:
    tuned[beta], histories[beta] = tune(counts, beta=beta)
    rows[f"beta {beta:g}"] = measure(tuned[beta])
table({name: row for name, row in rows.items() if name != "closes"})
if profile != "smoke":
    in_order = [rows[f"beta {beta:g}"] for beta in betas]  # the lowest price first
    for low, high in pairwise(in_order):
        assert low["reward"] > high["reward"]
        assert low["KL"] > high["KL"]
        assert low["distinct-2"] < high["distinct-2"]
    assert rows["beta 0.3"]["closed"] > rows["pre-trained"]["closed"]
    assert rows["beta 0.1"]["pairs"] > 2 * rows["beta 0.3"]["pairs"]
    assert rows["beta 0.3"]["distinct-2"] < rows["pre-trained"]["distinct-2"]

# %% mystnb={"image": {"alt": "Two panels over the steps, on logarithmic scales: without a penalty reward and divergence rise to their ceilings; the higher the price, the lower both stay."}}
figure, axes = plt.subplots(1, 2, figsize=(6, 3.2))
for beta in betas:
    for ax, name in zip(axes, ("reward", "kl"), strict=True):
        ax.plot(histories[beta][name], label=rf"$\beta$ = {beta:g}")
        ax.set_yscale("symlog", linthresh=1)
        ax.set_xlabel("step")
axes[0].set_ylabel("reward (pairs less loose)")
axes[1].set_ylabel("KL (nats per text)")
figure.legend(
    *axes[0].get_legend_handles_labels(),
    loc="outside upper center",
    ncols=4,
    fontsize=9,
)
plt.show()

# %%
for name in ("pre-trained", "beta 1", "beta 0.3", "beta 0.1"):
    print(f"----- {name}")
    show(rows[name]["texts"])

# %% [markdown]
# Read the four groups in turn. At the highest price little happens. At 0.3 the texts still sound like the manual, as far as
# the small model ever does, but they speak of calls and methods in almost every line, mostly with their brackets
# closed: the model chooses, out of what it might have written anyway, what we asked for. At 0.1 the cheating begins:
# one call after the other, strung together by a word or two. At 0 nothing else is left.
#
# The table and the curves say the same. As the price falls, reward (pairs less loose) and divergence go up together,
# and *distinct-2* goes down: variety is being sold. (A run need not climb steadily: where more divergence costs more
# than it brings, the penalty pulls the policy back.) Nats per token show this late: at $\beta = 0.3$ they are hardly
# above those of the pre-trained model's own texts, though variety has fallen. That column alone would let a model pass
# that says a few likely phrases over and over; likely text need not be good text, as [greedy
# decoding](../language/decoding.ipynb) has shown before. One number is never enough. Plotted against each other, they
# draw the **frontier** between what we asked for and what we were silent about.

# %%
shown = [
    (rows[f"beta {beta:g}"], histories[beta], rf"$\beta$ = {beta:g}")
    for beta in betas
]
# after the few steps of the smoke profile an estimate may be negative
scale = "linear" if profile == "smoke" else "log"


# %% mystnb={"image": {"alt": "Two panels over the divergence, on a logarithmic scale. Left: reward climbs with divergence, the runs along similar curves. Right: the variety of the texts falls from the dashed line of the pre-trained model towards zero."}}
figure, axes = plt.subplots(1, 2, figsize=(6, 3.4))
for colour, (row, history, label) in zip(plots.COLOURS, shown, strict=False):
    cloud = {"color": colour, "alpha": 0.4, "markersize": 5}
    axes[0].plot(history["kl"], history["reward"], ".", **cloud)
    dot = {"color": colour, "markersize": 9, "label": label}
    for ax, name in zip(axes, ("reward", "distinct-2"), strict=True):
        ax.plot(row["KL"], row[name], "o", **dot)
        ax.set(xscale=scale, xlim=(0.3, 1000), xlabel="KL (nats per text)")
axes[0].set_yscale("symlog", linthresh=1)
axes[0].set(ylim=(-1, 80), ylabel="reward (pairs less loose)")
axes[1].axhline(rows["pre-trained"]["distinct-2"], color="grey", linestyle="--")
axes[1].set(ylim=(-0.03, 0.8), ylabel="distinct-2")
handles = axes[1].get_legend_handles_labels()
figure.legend(*handles, loc="outside upper center", ncols=4, fontsize=9)
plt.show()


# %% [markdown]
# The large dots are the tuned models on new prompts, the small ones on the left the batches on the way there. The runs
# climb similar curves, not one and the same: compare the rewards of different prices at the same divergence. The price
# decides how far up they get in the same number of steps, and without one nothing stops them short of the top. On the
# right is the other side of the bill: the first nats cost little of the variety, and beyond a point each further pair
# is paid for with it, down to a single text. No formula gives the right $\beta$. One looks at such a curve, and one
# *reads the texts*, because every number in the table could be hacked as well, were it made the reward.
#
# ## From here to the assistants
#
# The systems that answer questions are tuned by this scheme, reinforcement learning from human feedback (**RLHF**):
# Ziegler et al. (2019) for style and summaries, Stiennon et al. (2020) for summaries, Ouyang et al. (2022) for
# following instructions; the idea of learning the reward from people's choices is older (Christiano et al., 2017).
# What we have done is the last of its three stages. What is different there:
#
# - **The reward is learnt.** "Helpful" is no program. People are shown two answers and choose one; a second network
#   $r_\phi$, the **reward model**, is trained to give the chosen one, $x^+$, a higher number than the other, $x^-$, by
#   the loss $-\log \sigma\big(r_\phi(x^+) - r_\phi(x^-)\big)$, with the logistic function $\sigma$. That brings in what
#   nobody can write down, and a new weakness: our bracket counter is at least right about brackets, while a reward
#   model is only right near the texts that it was trained on.
# - **So there are two gaps**: between what we want and what people choose, and between what they choose and what the
#   reward model says. As the policy moves away from the reference it finds the second one. Gao et al. (2022) let a large
#   reward model play the people, and trained small ones on its judgements: with growing divergence the small model's
#   reward went on rising, while the large one's rose, and then fell. This is **over-optimisation**, and the
#   penalty, or stopping early, is the guard against it.
# - **The optimiser is usually PPO** (Schulman et al., 2017). It takes several steps on each batch, as writing texts is
#   costly; by then the policy is no longer the one that wrote them, so the ratio of the two probabilities is put into
#   the loss, and clipped. A second network estimates the baseline, at each token.
# - **There is a first stage**: the model is [fine-tuned](../language/fine_tuning.ipynb) on examples of what is
#   wanted, and that is the reference. A policy gradient can only strengthen what is written now and then: a text
#   that never occurs is never paid.
#
# The KL penalty is the same, as part of the reward, with the same $\pi^*$ as its aim. [Better answers from judged
# ones](../language/preferences.ipynb) goes on from here: pairs without a reward model, and groups of answers as a baseline.
#
# ## What the source articles got wrong here
#
# One proposes GANs for dialogue without a word on the gradient that a drawn token does not pass on
# ([errata](../../book/errata.md#dialogue-from-a-gan)).
#
# ## The promise
#
# On prompts that no training saw: tuned for closed brackets alone, the model closes all brackets in at least 90 % of
# its texts, and at most half as many texts as before have any bracket; paid for pairs without a penalty, it writes
# spam, at least 15 pairs per text and nearly all texts alike; and with $\beta = 0.3$ its reward is at least one pair per
# text above the pre-trained model's, at a divergence of at most 25 nats per text, with at least half of the variety,
# while the pre-trained model finds its texts hardly stranger than its own (at most 0.3 nats per token more).

# %%
before, kept = rows["pre-trained"], rows["beta 0.3"]
promised = {
    "reward_before": before["reward"],
    "reward_tuned": kept["reward"],
    "kl_nats_tuned": kept["KL"],
    "nats_per_token_added": kept["nats/token"] - before["nats/token"],
    "with_bracket_before": before["any"],
    "with_bracket_hacked": rows["closes"]["any"],
    "pairs_spam": rows["beta 0"]["pairs"],
    "distinct_2_before": before["distinct-2"],
    "distinct_2_tuned": kept["distinct-2"],
    "distinct_2_spam": rows["beta 0"]["distinct-2"],
}

# %%
rounded = {name: round(number, 3) for name, number in promised.items()}
figures = results.record("reward_tuned_generation", profile, **rounded)
pprint(rounded, sort_dicts=False)


# %%
if profile != "smoke":
    was, now = figures["reward_before"], figures["reward_tuned"]
    assert now >= was + 1, "much more reward"
    assert figures["kl_nats_tuned"] <= 25, "from nearby"
    added = figures["nats_per_token_added"]
    assert added <= 0.3, "and the texts still sound like documentation"
    was, now = figures["distinct_2_before"], figures["distinct_2_tuned"]
    assert now >= was / 2, "and are not all alike"
    assert rows["closes"]["closed"] >= 0.9, "the first wish is fulfilled"
    was, now = figures["with_bracket_before"], figures["with_bracket_hacked"]
    assert now <= was / 2, "by writing no brackets"
    assert figures["pairs_spam"] >= 15, "the second wish too"
    assert figures["distinct_2_spam"] <= 0.1, "by spam"


# %% [markdown]
# ## Summary
#
# - A language model is a policy: the text so far is the state, the next token the action, a text an episode.
# - No gradient passes through a draw. The score function goes round it: weight the gradient of a text's log-probability by
#   its reward. The reward may be any program.
# - A baseline that does not depend on the text leaves the mean of the gradient as it is, and lowers its variance.
# - Draw and score with the same distribution: temperature 1, no top-p, no dropout.
# - A model delivers what is paid for. "Every bracket closes" is satisfied by writing none; "many pairs" by spam.
# - A penalty $\beta\,\mathrm{KL}$ keeps the policy near the reference. The optimum is
#   $\pi_\text{ref} \, e^{r / \beta} / Z$; $\beta$ sets the price of a nat, and a cheap one buys spam again. Look at the
#   frontier, and read the texts.
#
# ## Check yourself
#
# **1.** Which baseline gives the lowest variance on the three tokens? Derive it, and compare it with the mean reward.

# %% tags=["hide-cell"]
# @title Solution
rewards = torch.tensor([1.0, 3.0, 2.0], dtype=torch.double)
# probability times the squared length of the score
weight = p * score.square().sum(dim=1)
best = (weight * rewards).sum() / weight.sum()
print(f"best baseline {best:.3f}, mean reward {(p * rewards).sum():.3f}")
lowest = mean_and_variance(rewards, best)[1]
assert all(
    mean_and_variance(rewards, best + shift)[1] > lowest for shift in (-0.01, 0.01)
)
assert (
    lowest
    < mean_and_variance(rewards, (p * rewards).sum())[1]
    < mean_and_variance(rewards)[1]
)

# %% [markdown]
# <details><summary>Answer</summary>
#
# The mean does not depend on $b$, so it is enough to lower $\mathbb E[(r - b)^2 \lVert \nabla \log \pi \rVert^2]$. Its
# derivative is zero at $b = \mathbb E[r \lVert \nabla \log \pi \rVert^2] \,/\, \mathbb E[\lVert \nabla \log \pi
# \rVert^2]$: a mean reward in which draws with a long score count more.
#
# </details>
#
# **2.** A colleague draws texts at temperature 0.5, since they read better, and scores them at temperature 1. Compute
# the mean of her estimates on the three tokens, for several baselines. Is it right? Is it at least the same for all of
# them?

# %% tags=["hide-cell"]
# @title Solution
sharp = (theta.detach() / 0.5).softmax(dim=0)
right = p @ (rewards[:, None] * score)
for b in (0.0, 2.0, 10.0):
    mean = sharp @ ((rewards - b)[:, None] * score)
    print(
        f"baseline {b:>4}: {[f'{number:+.3f}' for number in mean.tolist()]}, "
        f"right {[f'{n:+.3f}' for n in right.tolist()]}"
    )
    assert not torch.allclose(mean, right, atol=0.01)

# %% [markdown]
# <details><summary>Answer</summary>
#
# No baseline makes it right, and now the baseline even changes the mean, because the scores no longer average to zero under
# the distribution that was drawn from. Dropout does the same in small: the network that scores is another than the one that
# wrote. Either draw from what you score, or weight each text by the ratio of the two probabilities, as PPO does.
#
# </details>
#
# **3.** Show that the reference under the condition of success is at a divergence of $-\log P(\text{success})$, and check it on
# the eight texts, for "a reward of 2 or more". Which $\beta$ does it belong to, if the reward is 1 for success and 0 else?

# %% tags=["hide-cell"]
# @title Solution
success = r >= 2
conditioned = torch.where(success, p_ref, 0.0) / p_ref[success].sum()
divergence = (
    conditioned[success] * (conditioned[success] / p_ref[success]).log()
).sum()
print(f"{divergence:.4f} nats; -log P = {-p_ref[success].sum().log():.4f}")
assert torch.allclose(divergence, -p_ref[success].sum().log())
limit = (p_ref.log() + success / 0.01).softmax(dim=0)
assert torch.allclose(limit, conditioned)

# %% [markdown]
# <details><summary>Answer</summary>
#
# Where it is not zero, the conditioned distribution is the reference divided by $P(\text{success})$, so the logarithm of the
# ratio is $-\log P(\text{success})$ for every text. It is the limit of $\pi^*$ for $\beta \to 0$: the failures' weight,
# relative to the successes', is $e^{-1 / \beta}$.
#
# </details>
#
# **4.** No training at all: write $n$ texts for each prompt and keep the one with the highest reward. How good is
# **best of $n$** on our prompts, for $n$ up to 16? Its divergence from the reference is at most $\log n - (n - 1) / n$
# nats, and close to that if two of the $n$ texts hardly ever have the same reward. Compare it with the tuned model: what
# is the catch?

# %% tags=["hide-cell"]
# @title Solution
torch.manual_seed(2)
some = real[: held_out // 8, :prompt_length].repeat_interleave(16, dim=0)
drawn = torch.tensor(
    [brackets(text) for text in written(gpt.generate(reference, some, new_tokens))]
).float()
of_prompt = counts(*drawn.T).view(-1, 16)
best_of = {n: of_prompt[:, :n].amax(dim=1).mean().item() for n in (1, 4, 16)}
for n, mean in best_of.items():
    print(
        f"best of {n:>2}: "
        f"reward {mean:.2f} at no more than {math.log(n) - (n - 1) / n:.2f} nats"
    )

# %% tags=["hide-cell"]
# @title Solution, continued
for beta in (1.0, 0.3):
    row = rows[f"beta {beta:g}"]
    print(f"beta = {beta:g}: reward {row['reward']:.2f} at {row['KL']:.1f} nats")
assert best_of[1] <= best_of[4] <= best_of[16]
if profile != "smoke":
    assert best_of[16] > rows["beta 1"]["reward"] + 0.5
    assert rows["beta 1"]["KL"] > math.log(16) - 15 / 16

# %% [markdown]
# <details><summary>Answer</summary>
#
# Choosing spends its nats on nothing but the reward: the best of 16 gets more reward than the model tuned at
# $\beta = 1$, at fewer nats. (A likely reason: part of every step of the training follows the noise of its batch.) The
# catch: each text costs $n$ times the writing, for ever, and $n$ grows exponentially with the divergence that one
# wants. Training pays once. Best of $n$ is the baseline that every tuning should be measured against, and it hacks a
# bad reward just the same.
#
# </details>
#
# **5.** In words: a team pays its model for the time that users spend reading its answers. What will it learn, would a KL
# penalty cure it, and what would you look at?
#
# <details><summary>Answer</summary>
#
# To write long answers, probably also vague or upsetting ones: whatever keeps people reading. A penalty slows that down, and
# keeps the language fluent; it does not make reading time into helpfulness. The gap is in the wish, not in the optimiser.
# One would plot reward against divergence beside measures that were not paid for (length, a blind comparison by people,
# whether the question was answered), stop where they part, and read answers.
#
# </details>
#
# **Graded assignment**: [reinforcement learning](../exercises/rl.ipynb).
#
# ## Further reading
#
# - R. J. Williams, [Simple statistical gradient-following algorithms for connectionist reinforcement
#   learning](https://doi.org/10.1007/BF00992696) (1992): REINFORCE, with the baseline.
# - W. Kool, H. van Hoof and M. Welling, [Buy 4 REINFORCE Samples, Get a Baseline for
#   Free!](https://wouterkool.github.io/publication/buy-4-samples-free-baseline/) (2019): the leave-one-out baseline; A. Ahmadian et al., [Back to
#   Basics](https://arxiv.org/abs/2402.14740) (2024): RLOO, for tuning language models.
# - P. Christiano et al., [Deep reinforcement learning from human preferences](https://arxiv.org/abs/1706.03741) (2017).
# - D. M. Ziegler et al., [Fine-Tuning Language Models from Human Preferences](https://arxiv.org/abs/1909.08593) (2019):
#   the penalty as part of the reward; also the story of a sign error, after which a model learnt to write what people
#   liked least.
# - N. Stiennon et al., [Learning to summarize from human feedback](https://arxiv.org/abs/2009.01325) (2020): with curves of
#   over-optimisation.
# - L. Ouyang et al., [Training language models to follow instructions with human
#   feedback](https://arxiv.org/abs/2203.02155) (2022).
# - L. Gao, J. Schulman and J. Hilton, [Scaling Laws for Reward Model Overoptimization](https://arxiv.org/abs/2210.10760)
#   (2022): best of $n$ and policy gradients, reward against divergence.
# - J. Schulman et al., [Proximal Policy Optimization Algorithms](https://arxiv.org/abs/1707.06347) (2017).
# - R. S. Sutton and A. G. Barto, [Reinforcement Learning: An
#   Introduction](http://incompleteideas.net/book/the-book-2nd.html) (2nd edition, 2018): REINFORCE with a baseline is
#   in section 13.4.
#
# Next: [Assignment: reinforcement learning](../exercises/rl.ipynb).
