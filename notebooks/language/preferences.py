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
# # Better answers from judged ones
#
# **After this chapter you can**
#
# - derive direct preference optimisation (DPO) from the best policy under a KL penalty, and write its loss;
# - tune a chat model by a reward that a program computes, with the group's mean as baseline (RLOO, GRPO);
# - read reward against divergence, and pass@1 against pass@k;
# - show what a policy makes of a checker with a gap;
# - rank models by pairs with Bradley and Terry's model, and test a judge for the order in which it sees two answers.
#
# **You need**: the chat model from [From a text to an answer](chat.ipynb), and the policy gradient, its baseline and the
# KL penalty from [Tuning a language model by reward](../rl/reward_tuned_generation.ipynb). ·
# [How long this chapter takes to run](../../book/results.md)

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
from itertools import permutations

import matplotlib.pyplot as plt
import torch
from torch.nn import functional as F
from torch.nn.utils import clip_grad_norm_

from aigc_course import chat, diagrams, plots, results, training

# %%
plots.use_style()
profile = training.resolve_profile(profile)
held_out, asked, epochs, steps, questions = {
    "smoke": (8, 16, 1, 2, 4),
    "cpu": (400, 2000, 2, 90, 32),
    "gpu": (1000, 4000, 2, 90, 32),
}[profile]
size, longest = 8, 16  # replies per question, tokens per reply
comparisons, judge_steps = (100, 2) if profile == "smoke" else (6000, 150)
print(
    f"Profile {profile}: {asked} questions for pairs, {steps} steps of {questions}"
)
print(f"questions with {size} replies each; measured on {held_out} new questions.")
on_gpu = torch.accelerator.is_available()
device = torch.accelerator.current_accelerator() if on_gpu else "cpu"


# %% [markdown]
# ## A model that has read a careless writer
#
# The chat model of the last chapter answers nearly everything. Here it has been trained a little further, on new questions, two
# thirds of which a careless writer answered: sums without the carry, days one late, counts one too high. What a language model
# has read is like that. It holds right and wrong answers, and the model learns to write both.

# %%
reference, template = chat.pretrained(profile, careless=True)
reference = reference.to(device).eval().requires_grad_(False)
test = [
    pair for t in chat.TASKS for pair in chat.questions(t, "test", held_out // 4)
]


def draw(policy, pairs):  # the pairs, each `size` times, and a reply to each
    repeated = [pair for pair in pairs for _ in range(size)]
    return repeated, chat.replies(
        policy, template, [question for question, _ in repeated], longest=longest
    )


# %%
torch.manual_seed(0)
for question, right in test[:: held_out // 8]:
    _, replies = draw(reference, [(question, right)])
    some = [template.decode(reply)[:11] for reply in replies[:3]]
    print(f"{question:26} ({right})  {', '.join(some)}")

# %% [markdown]
# In brackets stands the right answer, and behind it are three draws. Right ones are among them, and wrong ones. Good examples would
# repair that, as we know from the last chapter. But suppose there are none: all we get is a *judgement* of what the model itself
# has written. It comes in two forms. A person, or another model, says which of two replies is the better one: a **preference**.
# Or a program says whether a reply is right: a **verifiable reward**.
#
# ### One try and eight
#
# **Pass@k** is the probability that at least one of $k$ replies to a question is right. From $n \ge k$ replies, of which
# $c$ are right, it is estimated without bias by the share of sets of $k$ that have a right one (Chen et al., 2021),
#
# $$\text{pass@}k = 1 - \binom{n - c}{k} \Big/ \binom{n}{k} .$$


# %%
def pass_at(right, k):  # right: (questions, n), 0 or 1
    n = right.shape[1]
    wrong = n - right.sum(dim=1).int()
    none = torch.tensor([math.comb(w, k) / math.comb(n, k) for w in wrong.tolist()])
    return 1 - none.mean().item()


one = torch.tensor([[1.0, 0.0, 0.0, 0.0]])
print([round(pass_at(one, k), 2) for k in (1, 2, 4)])
assert pass_at(one, 1) == 0.25
assert pass_at(one, 4) == 1


# %%
def judged(pairs, replies):  # 1 for each reply that is right
    right = [
        chat.is_right(template, reply, answer)
        for reply, (_, answer) in zip(replies, pairs, strict=True)
    ]
    return torch.tensor(right).float()


def log_p(policy, pairs, replies):  # of each reply, in nats
    x, y = template.rows([(q, r) for (q, _), r in zip(pairs, replies, strict=True)])
    return chat.sequence_log_probabilities(policy, x, y)


# %%
@torch.no_grad()
def measure(policy):  # on the same new questions for every policy
    torch.manual_seed(1)
    pairs, replies = draw(policy, test)
    right = judged(pairs, replies).view(-1, size)
    kl = log_p(policy, pairs, replies) - log_p(reference, pairs, replies)
    row = {f"pass@{k}": pass_at(right, k) for k in (1, 8)} | {
        "KL": kl.mean().item()
    }
    row["length"] = sum(map(len, replies)) / len(replies)
    row["exact"] = chat.exact_match(policy, template, test).mean().item()
    return row


# %%
def table(rows):
    columns = ("exact", "pass@1", "pass@8", "KL", "length")
    print(" " * 16 + "".join(f"{name:>9}" for name in columns))
    for name, row in rows.items():
        cells = "".join(f"{row[column]:9.2f}" for column in columns)
        print(f"{name:>16}{cells}")


rows = {"careless": measure(reference)}
table(rows)
if profile != "smoke":
    assert rows["careless"]["pass@8"] > rows["careless"]["pass@1"] + 0.1

# %% [markdown]
# *Exact* is the exact match of the greedy reply, as in the last chapter, and pass@1 the share of drawn replies that are right. *KL*
# says how far a policy has moved from this model, $\mathrm{KL}(\pi \,\|\, \pi_\text{ref})$ in nats per reply, estimated from the
# same replies, and *length* is the mean number of tokens, end mark included. Pass@8 is far above pass@1: what the model should say
# is among what it does say.
#
# ## Preferences: DPO
#
# Let $q$ be a question and $y$ a reply, $\pi_\theta(y \mid q)$ the policy and $\pi_\text{ref}$ the model we begin with. In
# [the chapter on reward](../rl/reward_tuned_generation.ipynb) we found the policy that is best under a reward $r$ and a price
# $\beta$ for each nat of divergence. For each question it is
#
# $$\pi^*(y \mid q) = \frac{1}{Z(q)} \, \pi_\text{ref}(y \mid q) \, e^{r(q, y) / \beta} .$$
#
# There we walked towards it by policy gradients. Rafailov et al. (2023) read the equation from right to left: *every* policy
# $\pi$ is the best one for some reward, namely for
#
# $$r(q, y) = \beta \log \frac{\pi(y \mid q)}{\pi_\text{ref}(y \mid q)} + \beta \log Z(q) .$$
#
# Now the preferences. In **Bradley and Terry's model** (1952) each reply has a strength, here its reward, and of two replies
# $y^+$ is preferred to $y^-$ with the probability
#
# $$P(y^+ \succ y^-) = \frac{e^{r(q, y^+)}}{e^{r(q, y^+)} + e^{r(q, y^-)}} = \sigma\big(r(q, y^+) - r(q, y^-)\big),
# \qquad \sigma(z) = \frac{1}{1 + e^{-z}} .$$
#
# Only the difference of the rewards counts. So $\beta \log Z(q)$, the one thing that nobody can compute, drops out:
#
# $$\mathcal L(\theta) = - \log \sigma\Big( \beta \log \frac{\pi_\theta(y^+ \mid q)}{\pi_\text{ref}(y^+ \mid q)}
# - \beta \log \frac{\pi_\theta(y^- \mid q)}{\pi_\text{ref}(y^- \mid q)} \Big) ,$$
#
# the mean over pairs. This is the likelihood of the preferences, with the policy itself in the role of the reward model. Nothing
# is drawn during training, there is no baseline and no reward model, and the reference's log-probabilities are computed
# once: **direct preference optimisation** is a classification of pairs.


# %%
def dpo_loss(chosen, rejected, ref_chosen, ref_rejected, beta):  # each (pairs,)
    better = beta * (chosen - ref_chosen)  # implicit rewards, but for log Z
    worse = beta * (rejected - ref_rejected)
    return -(better - worse).sigmoid().log().mean()


# %%
torch.manual_seed(0)
four = torch.randn(4, 6, dtype=torch.double).requires_grad_(True)
loss = dpo_loss(*four, beta=0.3)
torch.testing.assert_close(loss, chat.dpo_loss(*four, beta=0.3))
(slope,) = torch.autograd.grad(loss, four)
for name, part in zip(("chosen", "rejected"), slope[:2], strict=True):
    numbers = ", ".join(f"{value:+.3f}" for value in part[:3].tolist())
    print(f"slope along log π of the first three {name} replies: {numbers}")
torch.testing.assert_close(slope[0], -slope[1])

# %% [markdown]
# The gradient pulls the chosen reply up and the rejected one down, with equal force,
# $\beta \, \sigma(\hat r^- - \hat r^+)$ per pair, where $\hat r = \beta \log (\pi_\theta / \pi_\text{ref})$: strongly where the
# implicit rewards $\hat r$ have the pair the wrong way round, hardly at all where they have it right.
#
# Does the minimum really lie at $\pi^*$? On five "replies" everything can be computed: all pairs, each weighted with the
# probability that Bradley and Terry's judge prefers it that way.

# %%
r = torch.tensor([0.0, 1.0, -1.0, 0.5, 2.0], dtype=torch.double)
p_ref = torch.tensor([0.1, 0.3, 0.2, 0.35, 0.05], dtype=torch.double)
a, b = torch.tensor(list(permutations(range(5), 2))).T
judge = (r[a] - r[b]).sigmoid()  # how often a is preferred to b


# %%
def tiny_optimum(beta):
    logits = p_ref.log().requires_grad_(True)
    newton = torch.optim.LBFGS([logits], max_iter=200, tolerance_grad=1e-10)

    def closure():
        newton.zero_grad()
        ratio = beta * (logits.log_softmax(dim=0) - p_ref.log())
        loss = -(judge * F.logsigmoid(ratio[a] - ratio[b])).sum()
        loss.backward()
        return loss

    newton.step(closure)
    return logits.detach().softmax(dim=0)


# %%
for beta in (3.0, 1.0, 0.3):
    best = (p_ref.log() + r / beta).softmax(dim=0)
    found = tiny_optimum(beta)
    torch.testing.assert_close(found, best, atol=1e-4, rtol=1e-3)
    print(f"beta {beta}:", [f"{p:.3f}" for p in found.tolist()])
print("reference:", [f"{p:.3f}" for p in p_ref.tolist()])

# %% [markdown]
# It does, for each price. (With all pairs and the judge's true probabilities, that is. From few pairs, each judged once, the
# loss has no such minimum: it falls as long as the policy pulls the two replies further apart.)
#
# ### On the chat model
#
# The pairs come from the model's own replies to training questions: for each question one right and one wrong reply, if it has
# both among eight. The judge is the program, so it never errs.

# %%
torch.manual_seed(0)
pairs, replies = draw(reference, chat.mixture("train", asked, seed=2))
right = judged(pairs, replies).view(-1, size)
both = ((right.sum(dim=1) > 0) & (right.sum(dim=1) < size)).nonzero()[:, 0]
if profile == "smoke":  # whose model is never right
    both = torch.arange(asked)
first = torch.stack([right.argmax(dim=1), right.argmin(dim=1)], dim=1)[both]
places = (both[:, None] * size + first).T.flatten().tolist()
count = len(both)
print(f"{count} of {asked} questions have a right and a wrong reply")


# %%
chosen_first = [(pairs[i][0], replies[i]) for i in places]  # then the rejected
x, y = template.rows(chosen_first)
with torch.no_grad():
    ref = chat.sequence_log_probabilities(reference, x, y)
for i in range(3):
    q, good, bad = chosen_first[i][0], *(chosen_first[i + k][1] for k in (0, count))
    good, bad = (template.decode(reply)[:20] for reply in (good, bad))
    print(f"{q:26} {good} rather than {bad}")


# %%
def start(learning_rate):  # a copy of the reference, and its optimiser
    policy = copy.deepcopy(reference).requires_grad_(True)
    return policy, torch.optim.Adam(policy.parameters(), learning_rate)


def descend(policy, adam, loss):
    adam.zero_grad()
    loss.backward()
    clip_grad_norm_(policy.parameters(), 1.0)
    adam.step()


# %%
def prefer(beta, batch=64):
    policy, adam = start(learning_rate=3e-4)
    torch.manual_seed(0)
    for _ in range(epochs):
        for part in torch.randperm(count).split(batch):
            i = torch.cat([part, part + count])
            new = chat.sequence_log_probabilities(policy, x[i], y[i])
            loss = chat.dpo_loss(*new.chunk(2), *ref[i].chunk(2), beta=beta)
            descend(policy, adam, loss)
    return policy.requires_grad_(False)


# %%
betas, by_dpo = (0.1, 0.3, 1.0), {}
for beta in betas:
    by_dpo[beta] = prefer(beta)
    rows[f"DPO, beta {beta:g}"] = measure(by_dpo[beta])
table(rows)


# %%
with torch.no_grad():
    moved = {
        b: chat.sequence_log_probabilities(p, x, y) - ref for b, p in by_dpo.items()
    }
for beta, change in moved.items():
    up, down = (part.mean().item() for part in change.chunk(2))
    print(f"beta {beta:g}: log π of chosen {up:+.2f}, of rejected {down:+.2f} nats")

# %%
if profile != "smoke":
    chosen = {beta: change[:count].mean() for beta, change in moved.items()}
    assert chosen[0.1] < chosen[1.0] - 0.5
    assert chosen[0.1] < -0.3
    low, high = (rows[f"DPO, beta {beta:g}"] for beta in (0.1, 1.0))
    assert high["pass@1"] > low["pass@1"] + 0.05
    assert high["KL"] < low["KL"]
    assert high["pass@1"] > rows["careless"]["pass@1"] + 0.05

# %% [markdown]
# At the price 1 more replies are right than before. At the price 0.1 the model has moved further, and fewer are right
# than at the price 1. Look at the two logarithms. The loss sees their *difference* only. At a low price the policy has
# to pull the two far apart before $\sigma$ is satisfied, since the force $\sigma(\hat r^- - \hat r^+)$ fades when
# $\beta$ times the difference is a few nats; and here it does so by pushing the rejected replies down, while the chosen
# ones fall too, as the printed numbers say. What the rejected ones lose need not go to the chosen ones: it may go to
# replies that are in no pair (exercise 2). This is known from large models as
# **likelihood displacement** (Razin et al., 2024).
#
# ## A verifiable reward: RLOO and GRPO
#
# If a program can tell whether a reply is right, pairs are a detour. The reward is 1 for a right reply and 0 for a wrong one, and
# the policy gradient needs nothing else: draw replies $y_1, \dots, y_G$ to one question, a **group**, and make each more likely
# in proportion to its advantage. The gradient of $\frac 1 G \sum_i A_i \log \pi_\theta(y_i \mid q)$ is the estimate, where the
# baseline in $A_i$ comes from the group itself, so it knows how hard *this* question is:
#
# - **RLOO** (Ahmadian et al., 2024) subtracts the mean of the others, $A_i = r_i - \frac{1}{G - 1} \sum_{j \ne i} r_j$;
# - **GRPO** (Shao et al., 2024) subtracts the group's mean and divides by its standard deviation,
#   $A_i = (r_i - \bar r) / s$.
#
# RLOO's gradient is right on average, as we have seen; GRPO's is another one, in which questions that are almost always or
# almost never answered weigh more: with a share $c$ of right replies, $s \approx \sqrt{c (1 - c)}$, so that a rare right reply
# gets the advantage $\sqrt{(1 - c) / c}$. (Shao et al. also divide by the length of each reply, clip the loss as PPO
# does, so that a batch may serve for several steps, and add a KL term to the loss. Liu et al. (2025) show that dividing
# by length and by deviation biases the gradient. We take one step per batch, sum over tokens, and only *measure* the
# divergence.)


# %%
def advantage(r, by_deviation=True):  # (questions, G) -> (questions, G)
    centred = r - r.mean(dim=1, keepdim=True)
    if not by_deviation:  # RLOO, after a line of algebra
        return centred * r.shape[1] / (r.shape[1] - 1)
    return centred / (r.std(dim=1, keepdim=True) + 1e-8)


some = torch.tensor([[1.0, 0, 0, 0, 0, 0, 0, 0], [1, 1, 1, 1, 0, 0, 0, 0], [1] * 8])
for by_deviation, name in ((False, "RLOO"), (True, "GRPO")):
    A = advantage(some, by_deviation)
    torch.testing.assert_close(
        A, chat.group_advantages(some, by_deviation=by_deviation)
    )
    of_right = [f"{value:.2f}" for value in A[:, 0].tolist()]
    print(f"{name}: a right reply gets", of_right)

# %% [markdown]
# In the printed groups one, four and all of the eight replies are right. Where all are right, or all are wrong, there is nothing to
# learn, and no gradient.

# %% tags=["hide-input"]
diagrams.draw(
    "A question q enters the policy, which writes G replies. Each goes through the "
    "checking program and gets a reward. The mean of the rewards is subtracted to "
    "give advantages, and a dashed arrow leads from them back to the policy.",
    {"q": (0, 1), "π": (1.2, 1), "y₁": (2.6, 0.4), "yG": (2.6, 1.6)}
    | {"check": (4.1, 1), "r": (5.4, 1), "A": (6.6, 1)},
    [("q", "π"), ("π", "y₁", "check"), ("π", "yG", "check"), ("check", "r", "A")],
    variables=["y₁", "yG", "r", "A"],
    observed=["q"],
    dashed=[("A", "π")],
    labels={"yG": "y₈"},
)


# %%
def tune(reward, steps, by_deviation=True):
    (policy, adam), history = start(learning_rate=5e-4), []
    torch.manual_seed(0)
    for step in range(steps):
        some = chat.mixture("train", questions, seed=2 + step)
        pairs, replies = draw(policy, some)
        rewards = reward(pairs, replies).view(-1, size)
        A = chat.group_advantages(rewards, by_deviation=by_deviation)
        new = log_p(policy, pairs, replies)
        with torch.no_grad():
            kl = (new - log_p(reference, pairs, replies)).mean().item()
        descend(policy, adam, -(A.flatten() * new).mean())
        history.append((rewards.mean().item(), kl))
    return policy.requires_grad_(False), history


# %%
by_grpo, history = tune(judged, steps)
rows["GRPO"] = measure(by_grpo)
rows["RLOO"] = measure(tune(judged, steps, by_deviation=False)[0])
table({name: rows[name] for name in ("careless", "RLOO", "GRPO")})
if profile != "smoke":
    assert rows["RLOO"]["pass@1"] > rows["careless"]["pass@1"] + 0.1

# %% mystnb={"image": {"alt": "The share of right replies in each step of GRPO: a noisy line that rises over the steps."}}
plt.plot([reward for reward, _ in history])
plt.xlabel("step")
plt.ylabel("share of right replies")
plt.ylim(0, 1)
plt.show()


# %%
def by_task(policy):  # exact match of each task
    right = chat.exact_match(policy, template, test).view(len(chat.TASKS), -1)
    return dict(zip(chat.TASKS, right.mean(dim=1).tolist(), strict=True))


before, after = by_task(reference), by_task(by_grpo)
for task in chat.TASKS:
    print(f"{task:>6}: {before[task]:.2f} before, {after[task]:.2f} after")
gained = [after[task] - before[task] for task in ("add", "day", "count")]
assert profile == "smoke" or sum(gained) / 3 > 0.2

# %% [markdown]
# Taken together, ninety steps of GRPO repair a large part of what the careless writer had spoilt in the first three
# tasks, and no right answer was shown. How the gain is shared out among them differs from training to training, and one
# of the three may gain nothing. RLOO, with the same questions and rate, raises pass@1, too. Compare the columns: pass@1
# rises towards what pass@8 was before. The reward has brought to the top what the model wrote now and then. It cannot
# teach a reply that never occurs: where all eight are wrong, the advantages are 0. In large models, too, pass@1 rises
# by such a training, while pass@k for large $k$ does not, or even falls (Yue et al., 2025).
#
# ### Reward against divergence

# %% mystnb={"image": {"alt": "Share of right replies against divergence from the careless model: the points of DPO, one for each price, and those of RLOO and GRPO; GRPO's lies above DPO's. A line of dots shows GRPO's way: it goes right first, and then up."}}
way = torch.tensor(history).split(10)  # the mean of ten steps for each dot
paid, moved_by = torch.stack([part.mean(dim=0) for part in way]).T
plt.plot(moved_by, paid, ".-", color=plots.COLOURS[3], alpha=0.4)
for name, row in rows.items():
    at, label = (row["KL"], row["pass@1"]), {"ha": "left", "xytext": (7, -4)}
    if name == "RLOO":
        label = {"ha": "right", "xytext": (-7, 0)}
    plt.plot(*at, "o", color=plots.COLOURS[3 * (name == "GRPO")])
    plt.annotate(name, at, textcoords="offset points", **label)
plt.xlim(-0.3, 1.3 * max(row["KL"] for row in rows.values()) + 0.1)
plt.xlabel("KL (nats per reply)")
plt.ylabel("share of right replies")
plt.show()
assert profile == "smoke" or moved_by[0] > 0.5 * moved_by.max()

# %% [markdown]
# Up is better, to the left is cheaper. For DPO the price decides where a policy ends; the lowest price goes furthest,
# and not highest. The line is GRPO's way, on the questions of its training: in the first ten steps the divergence
# rises more than half as far as it ever will, and then the reward climbs. GRPO gets more reward than DPO. The comparison is not a
# fair one: DPO learns from one set of pairs that the old model wrote, GRPO from new replies at each step, which are the
# policy's own.
#
# ## When it fails: the checker has a gap
#
# A verifiable reward is a program, and somebody has to write it. Suppose that the careless writer did: sums are checked without
# the carry, days and counts one off. The checker still agrees with the truth where there is no carry, and on all words to sort.
#
# > **Predict, then run.** What does GRPO make of the careless model with this reward? (a) It gets better, more slowly, since the
# > checker is right on many questions. (b) The errors cancel, and it stays as it is. (c) The reward rises, and the exact match
# > falls.


# %%
def mistaken(pairs, replies):  # as the careless writer checks
    checked = [(question, chat.slip(question, right)) for question, right in pairs]
    return judged(checked, replies)


gamed, gamed_history = tune(mistaken, min(steps, 50))
rows["gamed"] = measure(gamed)
table({name: rows[name] for name in ("careless", "GRPO", "gamed")})
gained = [reward for reward, _ in gamed_history]
first, last = (sum(part) / len(part) for part in (gained[:5], gained[-5:]))
print(f"the checker's reward: {first:.2f} at first, {last:.2f} at last")

# %%
torch.manual_seed(0)
for question, right in test[:: held_out // 8]:
    reply = chat.replies(gamed, template, [question], longest=longest)[0]
    print(f"{question:26} ({right})  {template.decode(reply)[:30]}")
if profile != "smoke":
    assert last > first
    assert rows["gamed"]["exact"] < rows["careless"]["exact"] - 0.05

# %% [markdown]
# It is (c). Whoever looks at the reward alone sees a success. The policy has no notion of a sum: it delivers what is paid. Here the
# gap is an error in the program. In [the chapter on reward](../rl/reward_tuned_generation.ipynb) the program was right, and the
# model found a way past what was meant. In rewards that are learnt from people's choices the gap may be as plain as length: of the
# gain by such tuning a large part has been found to be longer answers (Singhal et al., 2023). The guard is the same each time:
# a measure of what is wanted that is not the reward.
#
# ## Ranking by pairs
#
# Where no program can tell right from wrong, models are ranked by comparing their replies in pairs. Bradley and Terry's model
# turns the comparisons into a number per model, its strength $s_i$, with $P(i \text{ beats } j) = \sigma(s_i - s_j)$. (Elo's
# numbers are the same strengths times $400 / \ln 10$.) Our judge can be checked: the better reply is the right one, and if both
# are right or both wrong there is no decision. If every question were equally hard and model $i$ were right with probability
# $p_i$, then among the decided pairs
#
# $$P(i \text{ beats } j) = \frac{p_i (1 - p_j)}{p_i (1 - p_j) + p_j (1 - p_i)}
# = \sigma\Big(\log \frac{p_i}{1 - p_i} - \log \frac{p_j}{1 - p_j}\Big) ,$$
#
# so the model would hold exactly, with the log-odds as strengths.

# %%
players = {"careless": reference, "DPO": by_dpo[1.0], "GRPO": by_grpo}
torch.manual_seed(2)
asked_once = [question for question, _ in test]
one_each = torch.stack(
    [
        judged(test, chat.replies(policy, template, asked_once, longest=longest))
        for policy in (*players.values(), gamed)
    ]
)
players = [*players, "gamed"]
wins = one_each @ (1 - one_each).T  # (i, j): how often i is right and j is not
for name, row in zip(players, wins.int().tolist(), strict=True):
    print(f"{name:>14} beats", dict(zip(players, row, strict=True)))


# %%
def strengths(wins):  # the maximum of the likelihood, by gradient ascent
    s = torch.zeros(len(wins), requires_grad=True)
    adam = torch.optim.Adam([s], 0.1)
    for _ in range(500):
        adam.zero_grad()
        # half a win for everyone keeps a model that never lost from infinity
        loss = -((wins + 0.5) * F.logsigmoid(s[:, None] - s[None])).sum()
        loss.backward()
        adam.step()
    return (s - s.mean()).detach()


# %%
fitted = strengths(wins)
p = one_each.mean(dim=1).clamp(0.01, 0.99)
odds = (p / (1 - p)).log()
for name, s, o in zip(players, fitted, odds - odds.mean(), strict=True):
    print(f"{name:>14}: strength {s:+.2f}, log-odds of being right {o:+.2f}")
if profile != "smoke":
    assert fitted.argmax() == odds.argmax()
    assert fitted.argmin() == odds.argmin()

# %% [markdown]
# Best and worst are the same in both columns. The numbers are not quite; a likely reason is that some questions are
# harder than others. (A model that has never won would have the strength $-\infty$, had we not given it half a win.)
#
# ### A judge that looks at the order
#
# In practice the judge is often a large language model that is shown both replies. Such judges have been found to prefer the reply
# in the first place and the longer one, and are suspected of preferring their own (Zheng et al., 2023). Ours is a small
# one: the chat model of the last chapter, trained a little further to compare. It is shown a question with two answers
# and writes 1 or 2. It learns from examples, and suppose that whoever wrote them put the right answer first in
# seven of ten.


# %%
def wrong_answer(question, right):
    if question.startswith("sort"):
        first, second, third = right.split()
        return f"{second} {first} {third}"
    return chat.slip(question, right)


def compared(pairs):  # (question, right, wrong), where the careless writer errs
    cases = [
        (question, right, wrong_answer(question, right))
        for question, right in pairs
    ]
    return [case for case in cases if case[1] != case[2]]


def show(question, right, wrong, right_first):
    first, second = (right, wrong) if right_first else (wrong, right)
    return f"{question} {first} or {second}"


# %%
lessons = compared(chat.mixture("train", comparisons, seed=5))
print(show(*lessons[0], True), "|", show(*lessons[0], False))


# %%
def train_judge(share):  # of the lessons that have the right answer first
    torch.manual_seed(0)
    first = (torch.rand(len(lessons)) < share).tolist()
    shown = [show(*lesson, f) for lesson, f in zip(lessons, first, strict=True)]
    x, y = template.batch(
        [(text, "1" if f else "2") for text, f in zip(shown, first, strict=True)]
    )
    judge = copy.deepcopy(chat.pretrained(profile)[0]).to(device)
    adam = torch.optim.Adam(judge.train().requires_grad_(True).parameters(), 1e-3)
    for _ in range(judge_steps):
        i = torch.randint(len(x), (64,))
        descend(judge, adam, judge.loss(x[i].to(device), y[i].to(device)))
    return judge.eval().requires_grad_(False)


# %%
def first_wins(judge, cases, right_first):  # for each case
    shown = [show(*case, right_first) for case in cases]
    one, two = (template.batch([(text, a) for text in shown]) for a in "12")
    score = chat.sequence_log_probabilities
    return score(judge, *one) > score(judge, *two)


# %%
biases = {}
for share in (0.7, 0.5):
    judge = train_judge(share)
    print(f"Right answer first in {share:.0%} of the lessons. It wins in new pairs")
    for task in chat.TASKS:
        cases = compared(chat.questions(task, "test", 200, seed=3))
        as_first = first_wins(judge, cases, True).float().mean().item()
        as_second = 1 - first_wins(judge, cases, False).float().mean().item()
        biases[share, task] = as_first - as_second
        print(
            f"{task:>6}: {as_first:.0%} shown first, {as_second:.0%} shown second"
        )


# %%
if profile != "smoke":
    assert biases[0.7, "add"] > 0.3
    assert biases[0.5, "add"] < biases[0.7, "add"] - 0.3
    least = min(abs(biases[0.7, task]) for task in chat.TASKS)
    assert least < biases[0.7, "add"] - 0.2

# %% [markdown]
# How much the order matters depends on the task. For the first judge it weighs heavily in sums: there the right answer
# wins when it stands first, and often loses when it stands second. In some other task it matters far less. With as many
# lessons in either order the second judge's bias towards the first place is gone, or much smaller: it was in the
# lessons. (It need not be zero. A judge that is unsure may lean to either side, and a short training need not correct
# that.)
#
# A single order would have told a story of its own. So show every pair in both orders, and count a win only where the
# two judgements agree, or take the mean of both. The share of pairs on which they contradict each other says how far
# the judge is to be trusted at all. (A judge without bias that is only unsure contradicts itself, too: exercise 3.)
#
# ## What the source articles got wrong here
#
# Nothing about this step: none of them says how a model that goes on with a text is made to prefer one answer to another
# ([errata on language models](../../book/errata.md#errata-language-models)).
#
# ## The promise
#
# On questions that no training saw: GRPO raises the exact match of the careless model by at least 20 points of a hundred, and its
# pass@1 by at least 10; DPO's replies at the price 1 win at least 55 % of the decided pairs against the careless
# model's; and with the mistaken checker the exact match falls below where it began.


# %%
def decided_wins(policy):  # share of decided pairs, all replies against all
    torch.manual_seed(4)
    p, q = (
        judged(*draw(one, test)).view(-1, size).mean(dim=1)
        for one in (policy, reference)
    )
    won, lost = (p * (1 - q)).sum(), (q * (1 - p)).sum()
    return ((won + 1e-6) / (won + lost + 2e-6)).item()


# %%
dpo_win_rate = decided_wins(by_dpo[1.0])
was, now, best = rows["careless"], rows["GRPO"], rows["DPO, beta 1"]
promised = {
    "exact_match_before": was["exact"],
    "exact_match_after": now["exact"],
    "exact_match_dpo": best["exact"],
    "dpo_win_rate": dpo_win_rate,
    "exact_match_gamed": rows["gamed"]["exact"],
}

# %%
for name, row in (("before", was), ("after", now)):
    promised |= {f"pass_at_{k}_{name}": row[f"pass@{k}"] for k in (1, 8)}
promised |= {"kl_nats_grpo": now["KL"], "kl_nats_dpo": best["KL"]}
rounded = {name: round(number, 3) for name, number in promised.items()}
figures = results.record("preferences", profile, **rounded)
for name, number in rounded.items():
    print(f"{name:20} {number}")


# %%
if profile != "smoke":
    gain = figures["exact_match_after"] - figures["exact_match_before"]
    assert gain >= 0.2, "a verifiable reward teaches"
    assert figures["pass_at_1_after"] > figures["pass_at_1_before"] + 0.1
    assert figures["dpo_win_rate"] >= 0.55, "pairs teach, too"
    assert now["pass@1"] > best["pass@1"], "GRPO gets more reward than DPO"
    assert figures["exact_match_gamed"] < figures["exact_match_before"]


# %% [markdown]
# ## Summary
#
# - A model that is right now and then can learn from judgements of its own replies. What it never writes is never paid.
# - Every policy is the best one for the reward $\beta \log (\pi / \pi_\text{ref})$, up to a constant per question. Put into Bradley and
#   Terry's model, the constant drops out, and what is left is DPO's loss: a classification of pairs.
# - With a verifiable reward a group of replies to the same question gives the baseline: RLOO subtracts the mean of the others, GRPO
#   divides by the deviation, too.
# - DPO's loss sees differences only. Watch the log-probabilities of the chosen replies, too.
# - Report reward together with divergence, and pass@1 together with pass@k.
# - A policy delivers what is paid, errors of the checker included. Measure what you want beside what you pay for.
# - Rank by pairs with Bradley and Terry's model, and show every pair in both orders.
#
# ## Check yourself
#
# **1.** A group of eight has one right reply. Which advantage does it get from RLOO and from GRPO, and which with seven right
# replies? Compute it by hand, then check. (Take the standard deviation with the divisor $G - 1$.)

# %% tags=["hide-cell"]
# @title Solution
for c in (1, 7):
    group = torch.tensor([[1.0] * c + [0.0] * (8 - c)])
    rloo = chat.group_advantages(group, by_deviation=False)[0, 0]
    grpo = chat.group_advantages(group)[0, 0]
    print(f"{c} right: RLOO {rloo:.3f}, GRPO {grpo:.3f}")
    share = c / 8
    assert torch.isclose(rloo, torch.tensor((8 - c) / 7))
    assert torch.isclose(grpo, torch.tensor(((1 - share) / share * 7 / 8) ** 0.5))

# %% [markdown]
# <details><summary>Answer</summary>
#
# RLOO: $1 - \frac{c - 1}{7}$, so 1 and $\frac 1 7$. GRPO: the mean is $c / 8$, the squared deviation
# $\frac 8 7 \cdot \frac c 8 (1 - \frac c 8)$, which gives the square root of $\frac 7 8 \cdot \frac{1 - c/8}{c/8}$: 2.475 and
# 0.354.
#
# </details>
#
# **2.** DPO's loss depends on log-probabilities through their differences only. Show that it stays the same if the policy gives both
# replies of a pair a tenth of their probability. What does that mean for the replies that are in no pair?

# %% tags=["hide-cell"]
# @title Solution
one = chat.dpo_loss(*four, beta=0.3)
less = four - torch.tensor([math.log(10), math.log(10), 0, 0])[:, None]
torch.testing.assert_close(chat.dpo_loss(*less, beta=0.3), one)
print(f"{one:.4f} both times")

# %% [markdown]
# <details><summary>Answer</summary>
#
# The two logarithms cancel. So the loss does not mind if both fall, and the probability that they lose goes to replies of which the
# pairs say nothing. In large models the probability of the *preferred* reply often falls during DPO (Razin et al., 2024).
#
# </details>
#
# **3.** A judge without any order bias prefers the right one of two replies with probability $\sigma(2)$, each time anew, and is
# shown a right and a wrong reply in both orders. How often do its two judgements contradict each other? Compute it, and
# simulate it.

# %% tags=["hide-cell"]
# @title Solution
p = torch.tensor(2.0).sigmoid().item()
torch.manual_seed(0)
once, again = torch.rand(2, 100_000) < p  # whether the right one is preferred
contradict = (once != again).float().mean().item()
print(f"computed {2 * p * (1 - p):.3f}, simulated {contradict:.3f}")
assert abs(contradict - 2 * p * (1 - p)) < 0.01

# %% [markdown]
# **4.** In words: a team tunes a model that writes programs, and pays 1 for a program that passes the tests that come with the task.
# Pass@1 on new tasks rises. What could the model have learnt that nobody wanted, and what would you look at?
#
# <details><summary>Answer</summary>
#
# To pass the tests without solving the task: by returning the values that the visible tests ask for, by catching all errors, by
# changing the tests if it can reach them. One would measure with other tests, which the model never sees and cannot reach, compare
# pass rates on visible and hidden ones, and read programs. And one would look at pass@k: if it has fallen, some of the variety was sold.
#
# </details>
#
# **Graded assignment**: [the pieces of a language model](../exercises/language.ipynb).
#
# ## Further reading
#
# - R. Rafailov et al., [Direct Preference Optimization: Your Language Model is Secretly a Reward
#   Model](https://arxiv.org/abs/2305.18290) (2023).
# - Z. Shao et al., [DeepSeekMath](https://arxiv.org/abs/2402.03300) (2024): GRPO; A. Ahmadian et al., [Back to
#   Basics](https://arxiv.org/abs/2402.14740) (2024): RLOO; Z. Liu et al., [Understanding R1-Zero-Like
#   Training](https://arxiv.org/abs/2503.20783) (2025): what GRPO's divisions do.
# - N. Razin et al., [Unintentional Unalignment: Likelihood Displacement in Direct Preference
#   Optimization](https://arxiv.org/abs/2410.08847) (2024).
# - M. Chen et al., [Evaluating Large Language Models Trained on Code](https://arxiv.org/abs/2107.03374) (2021): pass@k; Y. Yue et
#   al., [Does Reinforcement Learning Really Incentivize Reasoning Capacity in LLMs Beyond the Base
#   Model?](https://arxiv.org/abs/2504.13837) (2025): what happens to pass@k for large k.
# - R. A. Bradley and M. E. Terry, [Rank Analysis of Incomplete Block Designs](https://doi.org/10.2307/2334029) (1952).
# - P. Singhal et al., [A Long Way to Go: Investigating Length Correlations in RLHF](https://arxiv.org/abs/2310.03716) (2023);
#   L. Zheng et al., [Judging LLM-as-a-Judge with MT-Bench and Chatbot Arena](https://arxiv.org/abs/2306.05685) (2023).
#
# Next: the assignment [on the pieces of a GPT](../exercises/language.ipynb), and then [How good is this
# text?](../evaluation/text_quality.ipynb).
