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
# # From probabilities to text
#
# **After this chapter you can**
#
# - write greedy decoding, temperature, top-k, top-p and beam search yourself, in a few lines each;
# - say what each does to the distribution, and why a fixed number of candidates fits no two contexts;
# - show that the likeliest text is not the best one, and measure how a text repeats itself;
# - build the key–value cache, and count the work that it saves and the memory that it takes;
# - stream a text piece by piece without breaking a character in two.
#
# **You need**: the model from [A GPT from the ground up](gpt.ipynb), and queries, keys and values from
# [Attention](attention.ipynb). The [notation](../../book/notation.md) is on a page of its own. · [How long this
# chapter takes to run](../../book/results.md)

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
import codecs
import json
import math
import re
import textwrap
from importlib.resources import files
from itertools import islice
from pprint import pprint
from statistics import median

import matplotlib.pyplot as plt
import numpy as np
import torch

from aigc_course import gpt, plots, recurrent, results, text_metrics, training
from aigc_course.data import load_text


# %%
plots.use_style()
profile = training.resolve_profile(profile)
length, draws, places, steps = {
    "smoke": (60, 2, 2, 12),
    "cpu": (400, 4, 8, 64),
    "gpu": (400, 4, 8, 64),
}[profile]
print(
    f"Profile {profile}: {draws} × {places} texts of {length} "
    f"tokens for each way to write; beams of {steps} tokens."
)


# %% [markdown]
# ## One model, four texts
#
# The model of [an earlier chapter](gpt.ipynb) has read Python's documentation. It takes tokens and gives, for each of
# the tokens in its vocabulary, the probability that it comes next. It does not write: a rule has to pick a token,
# append it, and ask again. Here are four such rules. The model is the same, and so is the prompt.

# %%
model, tokenizer = gpt.pretrained(profile)
model.eval()
V, T = model.config.vocab_size, model.config.context
# the model was not trained on it, nor was a setting chosen by it
test = tokenizer.encode(load_text("python_docs", "test"))
print(f"a vocabulary of {V} tokens, a context of {T}")


# %%
def visible(text):  # a dot for what cannot be printed
    return "".join(c if c.isprintable() or c == "\n" else "·" for c in text)


def readable(text):  # long lines wrapped
    return "\n".join(
        textwrap.fill(line, 76, subsequent_indent="  ")
        for line in visible(text).splitlines()
    )


def write(prompt, count, **choice):
    torch.manual_seed(0)
    return tokenizer.decode(
        gpt.generate(model, tokenizer.encode(prompt)[None], count, **choice)[0]
    )


# %%
ways = {
    "A": {"greedy": True},
    "B": {"temperature": 2.0},
    "C": {},
    "D": {"top_p": 0.9},
}
shown = {name: write("The statement", 120, **way) for name, way in ways.items()}
for name, text in shown.items():
    print(f"----- {name}\n{readable(text)}\n")


# %%
def words(text):
    return re.findall(r"[a-z]+", text.lower())


known, real, again = set(words(load_text("python_docs"))), {}, {}
for name, text in shown.items():
    real[name] = sum(w in known for w in words(text)) / max(1, len(words(text)))
    again[name] = text_metrics.repeated_share(tokenizer.encode(text), 4)
    print(f"{name}: {real[name]:.0%} of the words are known,", end=" ")
    print(f"{again[name]:.0%} of the text is repeated")
if profile != "smoke":
    assert again["A"] > 0.3 > max(again["C"], again["D"])
    assert real["B"] < 0.8
    assert real["B"] < real["D"] - 0.1


# %% [markdown]
# A small model knows how documentation sounds, not what is true; do not ask for sense. Ask which text could be
# mistaken, from a few steps away, for a page of the manual. A soon repeats itself. B is confetti: many of its words do
# not exist. C and D look more like a manual, though words may be invented in both; C may draw any token, D only likely
# ones. This chapter explains what each of them did, and how to do all of it fast.
#
# ## What there is to pick from
#
# Let $x_1, \dots, x_t$ be the tokens so far. The model gives a **logit** $z_i$, any real number, for each token $i$
# of the vocabulary of size $V$, and
#
# $$p_i = p(x_{t+1} = i \mid x_1, \dots, x_t) = \frac{e^{z_i}}{\sum_{j=1}^V e^{z_j}} .$$
#
# The **entropy** says how spread out such a distribution is: $H(p) = -\sum_i p_i \log_2 p_i$, in bits. It is 0 if one
# token is certain, and $\log_2 V$ if all are equally likely. We let the model read a stretch of held-out text and look
# at two positions: one of the more certain ones, and one of the less certain.


# %%
def entropy(p):  # (..., vocab) -> (...), in bits
    return torch.special.entr(p).sum(dim=-1) / math.log(2)


# long runs of spaces are counted; dollars would begin a formula in a plot
def name(token):
    text = re.sub(
        " {3,}", lambda run: f" ×{len(run[0])} ", tokenizer.decode(token.view(1))
    )
    return repr(text).replace("$", r"\$")


# %%
window = test[:T]
with torch.no_grad():
    # (time, vocab): at each position, those of the next token
    logits = model(window[None])[0]
by_entropy = entropy(logits.softmax(dim=-1)).argsort()
by_entropy = by_entropy[by_entropy >= T // 4]  # with something to go by
contexts = {
    "sharp": int(by_entropy[len(by_entropy) // 16]),
    "flat": int(by_entropy[-len(by_entropy) // 16]),
}


# %%
for kind, position in contexts.items():
    tail = tokenizer.decode(window[: position + 1])[-60:]
    print(f"{kind}: … {tail!r},")
    print(f"    then? {entropy(logits[position].softmax(dim=-1)):.2f} bits")

# %% mystnb={"image": {"alt": "Two rows of bars for the likeliest tokens: on the left one bar dwarfs the others, on the right, at a finer scale, all twelve bars can be seen."}}
figure, axes = plt.subplots(1, 2, figsize=(6, 3.6))
for ax, (kind, position) in zip(axes, contexts.items(), strict=True):
    top = logits[position].softmax(dim=-1).topk(12)
    ax.barh(range(12), top.values, color=plots.COLOURS[0])
    ax.set_yticks(range(12), [name(token) for token in top.indices], fontsize=9)
    ax.invert_yaxis()
    ax.set_xlabel(f"probability ({kind})")
plt.show()


# %%
if profile != "smoke":
    sharp, flat = [logits[t].softmax(dim=-1) for t in contexts.values()]
    assert sharp.max() > 0.7 > 0.3 > flat.max()
    assert flat.topk(12).values.sum() < 0.8
    assert entropy((flat.log() / 2).softmax(dim=-1)) > 0.75 * math.log2(V)

# %% [markdown]
# On the left there is hardly a choice. On the right even the likeliest token is improbable, and the twelve bars
# together leave much of the probability to tokens that are not drawn. (The outermost quotation marks belong to the
# plot, not to the tokens, and × counts spaces.) Every rule below has to do something sensible in both cases.
#
# **Greedy decoding** takes the likeliest token, $x_{t+1} = \arg\max_i p_i$. It draws nothing: the same prompt always
# gives the same text. **Sampling** draws token $i$ with probability $p_i$, which is what the model learnt to imitate.
# Everything between the two changes the distribution first.
#
# ## Temperature
#
# Divide the logits by a number $\tau > 0$, the **temperature**, before the softmax:
#
# $$p_i^{(\tau)} = \frac{e^{z_i / \tau}}{\sum_j e^{z_j / \tau}} .$$
#
# The ratio of two probabilities becomes $(p_i / p_j)^{1 / \tau}$. Below 1 the gaps widen, and as $\tau \to 0$
# sampling turns into greedy decoding. Above 1 they shrink, and as $\tau \to \infty$ every token is equally likely.
# The order never changes.


# %%
def with_temperature(logits, temperature):
    return (logits / temperature).softmax(dim=-1)


for kind, position in contexts.items():
    for temperature in (0.5, 1.0, 2.0):
        p = with_temperature(logits[position], temperature)
        print(
            f"{kind}, temperature {temperature}: "
            f"the likeliest token has {p.max():.3f}, entropy {entropy(p):.2f} bits"
        )
        theirs = gpt.next_token_probabilities(
            logits[position][None], temperature=temperature
        )[0]
        assert torch.allclose(p, theirs)

# %% mystnb={"image": {"alt": "Entropy against temperature: two curves rise from zero, the flat context first, the sharp one later; both approach a dashed line at the top."}}
temperatures = torch.linspace(0.05, 6, 120)
for kind, position in contexts.items():
    entropies = [
        entropy(with_temperature(logits[position], t)) for t in temperatures
    ]
    plt.plot(temperatures, entropies, label=kind)
most = math.log2(V)
plt.axhline(most, color="grey", linestyle="--", label="all tokens equally likely")
plt.axvline(1.0, color="grey", linewidth=1)
plt.xlabel("temperature")
plt.ylabel("entropy (bits)")
plt.legend()
plt.show()


# %% [markdown]
# Entropy only rises with the temperature (exercise 1 proves it), and it rises everywhere at once: at a temperature that
# makes the sharp context varied, the flat one is close to noise. One knob turns all contexts alike. And even at
# $\tau = 1$, where nothing is changed, there is a problem that the pictures do not show: the **tail**.
#
# ## Cutting the tail: top-k and top-p
#
# Hundreds of tokens have a probability near zero each, and together they have a share that counts. About tokens that it
# hardly ever saw in such a context a model has learnt little, and a long text takes many draws. If the tail holds 5 %,
# then of a hundred tokens about five come from it, and with probability $1 - 0.95^{100}$, more than 99 %, at least one.
# The model then has to go on from there.
#
# **Top-k** keeps the $k$ likeliest tokens. **Top-p**, or *nucleus* sampling (Holtzman et al., 2020), keeps as few of
# the likeliest tokens as are needed for a share $\pi$ of the probability. Let the tokens be sorted,
# $p_1 \ge p_2 \ge \dots$; then the kept ones are
#
# $$
# \begin{aligned}
# K_\text{top-k} &= \{1, \dots, k\}, \qquad
# K_\text{top-p} = \Big\{\, i : \sum_{j < i} p_j < \pi \Big\}, \\
# p'_i &= \frac{p_i}{\sum_{j \in K} p_j} \;\text{ for } i \in K, \text{ else } 0 .
# \end{aligned}
# $$
#
# Read the second condition twice: a token stays if those *before* it have not yet reached $\pi$. So the first one
# always stays, and the sum of what is kept is at least $\pi$, not at most. (The threshold is called `top_p` in the
# code; $\pi$ avoids one more $p$.)


# %%
def keep_top_k(p, k):  # (vocab,) -> (vocab,)
    kept = torch.where(p >= p.topk(k).values[-1], p, 0.0)
    return kept / kept.sum()


def keep_top_p(p, share):  # (vocab,) -> (vocab,)
    ordered, tokens = p.sort(descending=True, stable=True)
    before = ordered.cumsum(dim=0) - ordered
    kept = torch.zeros_like(p)
    kept[tokens] = torch.where(before < share, ordered, 0.0)
    return kept / kept.sum()


# %%
for position in contexts.values():
    row, p = logits[position][None], logits[position].softmax(dim=-1)
    (kept,) = gpt.next_token_probabilities(row, top_k=5)
    assert torch.allclose(keep_top_k(p, 5), kept)
    (kept,) = gpt.next_token_probabilities(row, top_p=0.9)
    assert torch.allclose(keep_top_p(p, 0.9), kept)
    (both,) = gpt.next_token_probabilities(
        row, temperature=0.7, top_k=50, top_p=0.9
    )
    ours = keep_top_p(keep_top_k(with_temperature(row[0], 0.7), 50), 0.9)
    assert torch.allclose(ours, both, atol=1e-6)


# %%
print("By hand and by the package: the same probabilities.")
print("Together, they act in this order: temperature, then top-k, then top-p.")


# %%
p, ranks = (
    logits[contexts["flat"]].softmax(dim=-1).sort(descending=True).values,
    range(1, 31),
)
rules = {
    "temperature 0.5": with_temperature(p.log(), 0.5),
    "top-k, k = 5": keep_top_k(p, 5),
}
rules["top-p, 0.5"] = keep_top_p(p, 0.5)


# %% mystnb={"image": {"alt": "Three panels of bars over tokens sorted by probability: a temperature below one tilts all bars, top-k cuts after a fixed number, top-p where half of the probability is reached."}}
figure, axes = plt.subplots(1, 3, figsize=(6, 2.8), sharey=True)
for ax, (rule, changed) in zip(axes, rules.items(), strict=True):
    ax.bar(ranks, changed[:30], color=plots.COLOURS[0], label="after the rule")
    ax.step(ranks, p[:30], where="mid", color=plots.COLOURS[3], label="before")
    ax.set_xlabel(f"rank ({rule})", fontsize=9)
axes[0].set_ylabel("probability")
figure.legend(
    *axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=2
)
plt.show()


# %% [markdown]
# The line is the flat context as the model gives it, the bars are what each rule makes of it, for the thirty
# likeliest tokens. A temperature tilts everything and cuts nothing. Top-k cuts after the fifth bar, wherever that is.
# Top-p cuts where half of the probability is reached.
#
# > **Predict, then run.** How many tokens does it take to hold 90 % of the probability, in the sharp context and in
# > the flat one? (a) About as many in both. (b) In the flat one two to five times as many. (c) In the flat one more
# > than ten times as many.

# %% mystnb={"image": {"alt": "Cumulative probability against rank on a logarithmic scale: one curve is near the top at once, the other climbs slowly; a horizontal and a vertical line mark the two rules."}}
needed = {}
for kind, position in contexts.items():
    p = logits[position].softmax(dim=-1).sort(descending=True).values
    needed[kind] = int((keep_top_p(p, 0.9) > 0).sum())
    print(
        f"{kind}: 90 % lies in {needed[kind]} of {len(p)} tokens; "
        f"the 20 likeliest hold {100 * p[:20].sum():.1f} %"
    )
    plt.semilogx(range(1, len(p) + 1), p.cumsum(dim=0), label=kind)
plt.axhline(0.9, color="grey", linestyle="--", label="top-p, 0.9")
plt.axvline(20, color="grey", linestyle=":", label="top-k, k = 20")
plt.xlabel("number of tokens kept")
plt.ylabel("their probability together")
plt.legend()
plt.show()


# %%
if profile != "smoke":
    assert needed["flat"] > 10 * needed["sharp"], "more than ten times as many"
    assert needed["sharp"] <= 8 < 20 < needed["flat"]

# %% [markdown]
# With the trained model it is (c). So a fixed $k$, here 20, is wrong twice. In the sharp context it lets in a dozen
# tokens and more that the model all but excludes; in the flat one it throws away a good part of what could well follow.
# Top-p follows the dashed line: the number of tokens moves with the context. That is its whole advantage. (A relative of
# it, **min-p**, keeps the tokens whose probability is at least a fixed share of the largest one; Nguyen et al., 2024.)
#
# Is the tail *wrong*, then? The held-out text can tell: how often does its next token lie outside the nucleus, and how
# often should it, by the model's own probabilities?


# %%
@torch.no_grad()
# (batch, time) -> (batch, time - start): of each token from `start` on, in nats
def log_probability(tokens, start):
    log_p = model(tokens[:, :-1]).log_softmax(dim=-1)
    return log_p.gather(2, tokens[:, 1:, None])[:, start - 1 :, 0]


@torch.no_grad()
# how often a text leaves the nucleus, and how often the model expects it to
def outside_nucleus(windows, share):
    p = model(windows[:, :-1])[:, 8:].flatten(0, 1).softmax(dim=-1)
    cut = gpt.next_token_probabilities(p.log(), top_p=share) == 0
    left = cut.gather(1, windows[:, 9:].reshape(-1, 1)).float().mean()
    return left.item(), (p * cut).sum(dim=1).mean().item()


# %%
windows = test[: len(test) // T * T].view(-1, T)
many = windows[:64]
left, expected = outside_nucleus(many, 0.9)
print(
    f"outside the nucleus of 0.9: the text {left:.3f}, "
    f"by the model's numbers {expected:.3f}"
)
assert profile == "smoke" or left > expected + 0.02


# %% [markdown]
# People leave the nucleus, and the trained model even underestimates how often: on new text it is overconfident. So the
# tail *as a whole* is no mistake, and cutting it makes the distribution worse as a prediction.
#
# Nor is drawing a mistake: draws from a model whose probabilities were right would be as good as text by people, tail
# and all. What is poor is *which* tokens our model holds possible there. To see it we take a second model as a judge, a
# table of letter counts from the training text that knows nothing of the GPT (an [n-gram
# model](recurrent_language_model.ipynb) of bytes). At each position at which the held-out text leaves the nucleus we
# let the GPT draw a token from its tail, and measure how many nats more than the real token it costs under the judge.
# We do the same at other positions, with draws from the nucleus. For a perfect model both differences would be 0 on
# average.

# %%
training_text = load_text("python_docs")
judge = recurrent.NGram(256, 6).fit(torch.tensor(list(training_text.encode())))


def judged_cost(
    before, token
):  # nats of a token's bytes, after the bytes before it
    read, nats = list(before), 0.0
    for byte in tokenizer.decode_bytes(token.view(1)):
        nats -= judge.log_probabilities(torch.tensor(read[-5:]))[byte].item()
        read.append(byte)
    return nats


# %%
# at some positions of the text: what a draw costs more than the real token
@torch.no_grad()
def excess(windows, share, every):
    found = {"tail": [], "nucleus": []}
    for window in windows:
        p = model(window[None, :-1])[0].softmax(dim=-1)
        cut = gpt.next_token_probabilities(p.log(), top_p=share) == 0
        for t in range(8, len(p)):
            real, in_tail = window[t + 1], bool(cut[t, window[t + 1]])
            if in_tail or t % every == 0:
                drawn = torch.multinomial(p[t] * (cut[t] == in_tail), 1)
                before = tokenizer.decode_bytes(window[t - 8 : t + 1])
                more = judged_cost(before, drawn) - judged_cost(before, real)
                found["tail" if in_tail else "nucleus"].append(more)
    return {part: torch.tensor(values) for part, values in found.items()}


# %%
torch.manual_seed(0)
some, share = (many[:12], 0.5) if profile == "smoke" else (many[:40], 0.9)
more = excess(some, share, every=5)
mean = {part: values.mean().item() for part, values in more.items()}
error = {
    part: values.std(correction=0) / len(values) ** 0.5
    for part, values in more.items()
}
for part in more:
    print(
        f"{part:8}: a draw costs {mean[part]:.2f} ± {error[part]:.2f} nats more "
        f"than the real token ({len(more[part])} positions)"
    )
assert profile == "smoke" or mean["tail"] > mean["nucleus"] + 0.5 > 0.5

# %% [markdown]
# By this judge the model's draws are worse than the real tokens everywhere, and in the tail by far more. Cutting the
# tail is a repair of *this* model, at the price of variety; a model with better probabilities there would need less of
# it.
#
# ## Looking for the likeliest text: beam search
#
# Perhaps picking one token at a time is the mistake, and one should search for the *text* that is likeliest as a whole,
#
# $$\arg\max_{x_{t+1}, \dots, x_{t+n}} \; \sum_{s=t+1}^{t+n} \log p(x_s \mid x_1, \dots, x_{s-1}) .$$
#
# (Logarithms, since a product of a hundred probabilities is too small for a computer's numbers.) There are $V^n$ texts.
# Greedy decoding looks at one of them, and can go wrong: a likely token may lead to where nothing is likely. **Beam
# search** keeps the $b$ best beginnings instead of one. At each step all of their $b \times V$ continuations are scored
# and the $b$ best are kept.


# %%
@torch.no_grad()
# (1, time) -> the `width` best texts, and log p of what was added to each
def beam_search(prompt, count, width):
    beams, scores = prompt, torch.zeros(len(prompt))
    for _ in range(count):
        log_p = model(beams)[:, -1].log_softmax(dim=-1)  # (beams, vocab)
        best = (scores[:, None] + log_p).flatten().topk(width)
        beam, token = best.indices // V, best.indices % V
        beams, scores = torch.cat([beams[beam], token[:, None]], dim=1), best.values
    return beams, scores


# %%
prompt_length = T // 8
starts = torch.linspace(0, len(test) - prompt_length - length, places).long()
pieces = test[starts[:, None] + torch.arange(prompt_length + length)]
# what people wrote, and how they went on
prompts, human = pieces[:, :prompt_length], pieces[:, prompt_length:]
one = beam_search(prompts[:1], steps, 1)[0]
assert torch.equal(one, gpt.generate(model, prompts[:1], steps, greedy=True)), (
    "a beam of one is greedy decoding"
)


# %%
texts, scores = beam_search(prompts[:1], steps, 4)
assert torch.allclose(
    scores, log_probability(texts, prompt_length).sum(dim=1), atol=1e-2
), "the scores add up"
print(
    "greedy: "
    f"{log_probability(one, prompt_length).sum():.2f} nats for {steps} tokens"
)
print(f"a beam of four: {', '.join(f'{score:.2f}' for score in scores)} nats")
same = (texts[1:] == texts[:1])[:, prompt_length:].float().mean()
print(f"in common with the best of the four: {same:.0%} of the tokens")
assert profile == "smoke" or same > 0.5


# %% [markdown]
# The beam's best text is usually likelier than the greedy one, though it need not be: the beam could drop the greedy
# text early, and then find nothing better. The four are also nearly alike; often only a few tokens differ.
#
# Now for several prompts, all from held-out text, and wider beams. Besides the log-probability we measure how much of a
# text is repetition: the share of tokens in stretches of four that occurred earlier in the same text
# (`text_metrics.repeated_share`).

# %%
widths = (1, 2, 4, 8)
beams = {
    width: torch.cat([beam_search(p[None], steps, width)[0][:1] for p in prompts])
    for width in widths
}
written = {f"beam of {width}": texts for width, texts in beams.items()}
torch.manual_seed(0)
written["top-p 0.9"] = gpt.generate(model, prompts, steps, top_p=0.9)
written["held-out text"] = pieces[:, : prompt_length + steps]
nats = {
    way: log_probability(texts, prompt_length).mean().item()
    for way, texts in written.items()
}


# %%
repeats = {
    way: sum(text_metrics.repeated_share(row[prompt_length:], 4) for row in texts)
    / places
    for way, texts in written.items()
}
for way in written:
    print(
        f"{way:>13}: log p per token {nats[way]:.2f} nats, "
        f"{100 * repeats[way]:.0f} % repeated"
    )
if profile != "smoke":
    searched = [f"beam of {width}" for width in widths]
    least = min(repeats[way] for way in searched)
    assert least > 2 * max(repeats["held-out text"], repeats["top-p 0.9"])
    assert nats["held-out text"] < min(nats[way] for way in searched) - 0.5


# %% [markdown]
# Read down the two columns. A wider beam finds likelier text: the search does its work. But what is found by searching,
# at any width, repeats a good part of itself, several times as much as people do, while the text that was drawn does
# not. And the last line is the point of this chapter: what people really wrote is, by the model's own probabilities,
# far *less* likely than everything that the search finds. Here is what was found for one prompt, and what the
# documentation says:

# %%
for title, texts in (
    ("a beam of eight", beams[8]),
    ("held-out text", written["held-out text"]),
):
    print(f"----- {title}\n{readable(tokenizer.decode(texts[places // 2]))}\n")

# %% [markdown]
# Does that mean that maximum likelihood, by which the model was trained, is wrong? No. It asks that *on average* real
# text be likely. A text where every single token is the most likely one is as untypical as a coin that always comes up
# heads: for a coin with 60 % heads this is the likeliest sequence of all, and a hundred tosses practically never give
# it. Beam search is useful where there is *one* thing to say, in translation or speech recognition. For open text it is
# not.
#
# ### The shorter, the likelier
#
# Each token multiplies the probability by a number below 1. If a text may end, every further token makes it less
# likely, and the search prefers what stops early. We draw texts, let each end at its first full stop, and compare
# lengths.

# %%
stops = [
    i
    for i in range(tokenizer.vocab_size)
    if "." in tokenizer.decode(torch.tensor([i]))
]


# %%
torch.manual_seed(0)
drawn = gpt.generate(model, tokenizer.encode("The")[None].repeat(128, 1), T - 8)
first = drawn.shape[1] - T + 8
ended = torch.isin(drawn[:, first:], torch.tensor(stops))
finished = ended.any(dim=1)
ends = ended.float().argmax(dim=1)[finished] + 1  # tokens up to the full stop
score = log_probability(drawn, first)[finished].cumsum(dim=1)
score = score.gather(1, ends[:, None] - 1)[:, 0]
print(
    f"{len(ends)} of {len(drawn)} texts come to an end; "
    f"the likeliest has {ends[score.argmax()]} tokens"
)
print(f"a token costs {-(score.sum() / ends.sum()):.2f} nats on average")


# %%
if profile != "smoke":
    assert torch.corrcoef(torch.stack([ends.float(), score]))[0, 1] < -0.8
    assert ends[score.argmax()] <= ends.float().quantile(0.25)


# %% mystnb={"image": {"alt": "A cloud of points falls along a line from the upper left: the longer the sentence, the lower its log-probability."}}
plt.plot(ends, score, "o", color=plots.COLOURS[0], alpha=0.6)
plt.xlabel("length of the sentence (tokens)")
plt.ylabel("log-probability (nats)")
plt.show()

# %% [markdown]
# The points fall along a line whose slope is about minus the mean cost of a token. The likeliest sentence is among the
# shortest. In translation, where one can search exactly, the likeliest answer to more than half of the sentences was
# found to be the *empty* one (Stahlberg and Byrne, 2019). So beam search divides the score by the length $n$, or by a
# power $n^\alpha$ of it (Wu et al., 2016). It is a patch, with a knob to tune.
#
# ## When it fails: the loop
#
# The worst failure of decoding is known to everyone who has let a small model run: it begins to repeat itself and never
# stops. We let the greedy rule go on writing.

# %%
greedy = gpt.generate(model, prompts, length, greedy=True)[:, prompt_length:]
loudest = max(greedy, key=lambda row: text_metrics.repeated_share(row, 8))
print(readable(tokenizer.decode(loudest[: length // 2])))
assert profile == "smoke" or text_metrics.repeated_share(loudest, 8) > 0.7

# %% [markdown]
# Why does it never get out? Nothing is drawn, so the tokens in view decide the next one. There are only so many ways to
# fill a finite window: sooner or later a machine without chance comes to a window that it has had before, and from
# there on everything repeats, for ever. In practice it happens much sooner. A likely reason: a small model goes mostly
# by the last few tokens, so it does not take the whole window to be the same.
#
# ### Likely text does not look like this
#
# Here is the same thing along a single text: the probability that the model gives to each token, for the greedy text
# and for the one that a person wrote after the same prompt.

# %%
# what fits into the context, so that the model sees all that was before
number = T - prompt_length
order = sorted(
    range(places), key=lambda i: text_metrics.repeated_share(greedy[i], 8)
)
continued = {"held-out": human[:, :number], "greedy": greedy[:, :number]}


# %%
along = {
    who: log_probability(torch.cat([prompts, text], dim=1), prompt_length).exp()
    for who, text in continued.items()
}
rare = {}
for who, p in along.items():
    low = 100 * (p < 0.1).float().mean()
    print(
        f"{who}: {p.mean():.2f} on average over all prompts; "
        f"below 0.1 are {low:.0f} % of the tokens"
    )
    rare[who] = low
assert profile == "smoke" or rare["greedy"] < 15 < 40 < rare["held-out"]


# %% mystnb={"image": {"alt": "Above, a jagged line that keeps jumping between nearly zero and nearly one; below, a line that soon goes through the same ups and downs again and again and rarely comes near zero."}}
figure, axes = plt.subplots(2, 1, figsize=(6, 4), sharex=True, sharey=True)
for ax, (who, p), colour in zip(
    axes, along.items(), (plots.COLOURS[0], plots.COLOURS[3]), strict=True
):
    ax.plot(range(1, p.shape[1] + 1), p[order[-1]], color=colour, linewidth=1.5)
    ax.set_ylabel(f"probability\n({who})")
axes[1].set_xlabel("token after the prompt")
plt.show()

# %% [markdown]
# The person's line jumps: easy tokens, the ends of words and phrases, and between them, near zero, those that could not
# be predicted. The greedy line rarely comes near zero, and soon it repeats like a wallpaper. (In the large model of
# Holtzman et al., 2020, it becomes flat, close to 1: there each repetition makes the next one likelier still.) A good
# rule should give a text that *jumps like a person's*.
#
# Where the pattern has valleys the model is far from sure that the loop goes on. That is a way out.
#
# > **Predict, then run.** The greedy text has repeated itself several times. From here on we *draw* the tokens, at
# > temperature 1, with the loop in view. How many of the draws are still in the loop, word for word, twenty tokens
# > later? (a) Nearly all: it has become a habit. (b) About half. (c) Hardly any.

# %%
whole = torch.cat([prompts, greedy], dim=1)[order[-(places // 2) :], :T].repeat(
    32, 1
)
# the greedy texts that repeat most, and how they go on
start, loop = whole[:, :-20], whole[:, -20:]
caught = {}
escapes = {
    f"temperature {value}": {"temperature": value} for value in (0.3, 0.6, 1.0)
} | {"top-p 0.9": {"top_p": 0.9}}


# %% mystnb={"image": {"alt": "Share of draws still in the loop against tokens drawn: at a low temperature the line falls slowly, at one it drops to nearly zero."}}
for label, choice in escapes.items():
    torch.manual_seed(0)
    drawn = gpt.generate(model, start, 20, **choice)[:, -20:]
    still = (drawn == loop).cumprod(dim=1).float().mean(dim=0)
    plt.plot(range(21), [1.0, *still], label=label)
    print(f"{label}: {100 * still[-1]:.0f} % of the draws are still in the loop")
    caught[label] = still
plt.xticks(range(0, 21, 5))
plt.xlabel("tokens drawn")
plt.ylabel("share of draws in the loop")
plt.legend()
plt.show()


# %%
if profile != "smoke":
    assert caught["temperature 1.0"][-1] < 0.1, "hardly any"
    assert caught["temperature 0.3"].mean() > caught["temperature 1.0"].mean() + 0.1


# %% [markdown]
# It is (c). A loop of likely tokens is still improbable as a whole, since *every* token has to be drawn: if their
# probabilities have the geometric mean $q$, $n$ of them have the probability $q^n$. So a little chance is enough to
# break a loop. But not too little: at the coldest setting the draws take longer to leave, and, as we shall see, soon
# fall into the next loop.
#
# ### How much, at which setting?
#
# For each setting we write several texts after each of the held-out prompts and measure two things over all of their
# tokens: the repeated share, now in stretches of eight tokens, and the share of different pairs among all pairs of
# neighbours (`text_metrics.distinct_n`; Li et al., 2016). The same for held-out text of the same length, since both
# depend on the length. Each point is the mean over the prompts; the bars are the spread (one standard deviation) over
# independent draws.


# %%
# (draws × places, time) -> mean and spread over the draws, for both figures
def measured(texts):
    found = [
        (text_metrics.repeated_share(row, 8), text_metrics.distinct_n(row, 2))
        for row in texts
    ]
    by_draw = torch.tensor(found).view(-1, places, 2).mean(dim=1)
    return {"repeated": by_draw[:, 0], "distinct": by_draw[:, 1], "texts": texts}


# %%
def sweep(option, values):
    found = []
    for value in values:
        torch.manual_seed(0)
        texts = gpt.generate(
            model, prompts.repeat(draws, 1), length, **{option: value}
        )[:, prompt_length:]
        found.append({"value": value, **measured(texts)})
    return found


by_temperature, by_top_p = (
    sweep("temperature", (0.3, 0.6, 0.8, 1.0, 1.4)),
    sweep("top_p", (0.3, 0.6, 0.8, 0.9, 1.0)),
)
always, people = measured(greedy), measured(human)


# %%
labels = {"repeated": "repeated", "distinct": "different pairs"}


def draw_shares(ax, rows):  # means and spreads of the sweep, and the two levels
    values = [row["value"] for row in rows]
    for (name, label), colour in zip(labels.items(), plots.COLOURS, strict=False):
        mean = [float(row[name].mean()) for row in rows]
        spread = [float(row[name].std()) for row in rows]
        style = {"color": colour, "marker": "o", "capsize": 3, "label": label}
        ax.errorbar(values, mean, yerr=spread, **style)
        ax.plot(0, always[name], "s", color=colour, clip_on=False)
        level = people[name].item()
        ax.axhline(level, color=colour, linestyle="--", linewidth=1)


# %% mystnb={"image": {"alt": "Two panels, against temperature and against top-p: the repeated share falls steeply, the share of different pairs rises and crosses the dashed line for held-out text."}}
figure, axes = plt.subplots(1, 2, figsize=(6, 3.6), sharey=True)
options, sweeps = ("temperature", "top-p"), (by_temperature, by_top_p)
for ax, option, rows in zip(axes, options, sweeps, strict=True):
    draw_shares(ax, rows)
    ax.set_xlabel(option)
axes[0].set_ylabel("share of the text")
handles = axes[0].get_legend_handles_labels()
figure.legend(*handles, loc="outside upper center", ncols=2)
plt.show()


# %%
print(
    f"repeated: greedy {always['repeated'].mean():.3f}, "
    f"held-out text {people['repeated'].mean():.3f}"
)
for option, rows in zip(options, sweeps, strict=True):
    first, last = (rows[k]["repeated"].mean().item() for k in (0, -1))
    print(
        f"{option}: repeated {first:.3f} at its lowest, {last:.3f} at its highest"
    )
    if profile != "smoke":
        different = [row["distinct"].mean().item() for row in rows]
        assert different == sorted(different)
        assert different[0] < people["distinct"].item() < different[-1]
        assert always["repeated"].mean() > 2 * last < 2 * first


# %% [markdown]
# The squares at 0 are greedy decoding, the dashed lines held-out text. Repetition drops steeply: somewhere between
# greedy decoding and a temperature of 1 the loops break. Variety rises all the time, and beyond its dashed line the
# text is *more* varied than what people write. That is not a merit: the most varied text of all is drawn at random from
# the vocabulary, while a person who stays with a subject has to name it again. The aim is neither the lowest curve nor
# the highest, but the dashed lines.
#
# ### Quality against variety
#
# Variety is easy to measure; what does it cost in quality? For that we need a judge that did not write the text. We
# have one that works quite differently, the table that has counted the training text, byte by byte. Its bits per byte
# say how well a text's *surface*, the next letter given five, agrees with the manual. It knows nothing of sentences, so
# do not take it for a reader.


# %%
# bits per byte of the texts; in English text a byte is a character
def judged(texts):
    joined = "\n\n".join(tokenizer.decode(row) for row in texts)
    found = judge.nats_per_token(torch.tensor(list(joined.encode()))) / math.log(2)
    return found, text_metrics.copied_share(joined, training_text)


# %%
settings = {"held-out text": people, "greedy": always}
settings |= {
    f"{k} {row['value']}": row
    for k, rows in (("temperature", by_temperature), ("top-p", by_top_p))
    for row in rows
}
for row in settings.values():
    row["bits"], row["copied"] = judged(row["texts"])
for setting, row in settings.items():
    print(
        f"{setting:>15}: {row['bits']:.2f} bits per byte, "
        f"{100 * row['copied']:4.1f} % copied"
    )


# %% mystnb={"image": {"alt": "Bits per byte against the share of different pairs: two rising curves, to the right of the point for greedy decoding; the star for held-out text stands apart from them."}}
swept = [(by_temperature, "temperature", "o-"), (by_top_p, "top-p", "s-")]
for rows, label, marker in swept:
    different = [row["distinct"].mean() for row in rows]
    plt.plot(different, [row["bits"] for row in rows], marker, label=label)
diamond = {"marker": "D", "color": plots.COLOURS[3], "label": "greedy"}
star = {"marker": "*", "color": "black", "markersize": 14, "label": "held-out text"}
plt.plot(always["distinct"].mean(), always["bits"], linestyle="", **diamond)
plt.plot(people["distinct"].mean(), people["bits"], linestyle="", **star)
plt.xlabel("different pairs, share of all pairs")
plt.ylabel("the judge's bits per byte")
plt.legend()
plt.show()


# %%
if profile != "smoke":
    assert always["bits"] < people["bits"] - 0.3
    for rows in (by_temperature, by_top_p):
        different = np.array([row["distinct"].mean().item() for row in rows])
        of_rows = np.array([row["bits"] for row in rows])
        at_the_star = np.interp(people["distinct"].item(), different, of_rows)
        assert at_the_star < people["bits"] - 0.1, "more ordinary"
        as_surprising = np.interp(people["bits"], of_rows, different)
        assert as_surprising > people["distinct"].item() + 0.05, "more varied"
    assert by_temperature[-1]["bits"] > people["bits"] + 0.5
    cold = (always["copied"], by_temperature[0]["copied"], by_top_p[0]["copied"])
    assert min(cold) > people["copied"]


# %% [markdown]
# Down is what the judge finds ordinary, right is variety. Low is *not* good: held-out text has a value of its own, and
# a loop of ordinary words has less. The star is where one wants to be, and the settings move along a curve that misses
# it. At the star's variety the model's text is more ordinary than a person's; where it is as surprising as a person's,
# it is more varied. A likely reason: people stay with their subject *and* write what is hard to predict. A setting
# chooses a point on its rule's curve, and neither curve reaches the star. At the hot end the bits per byte rise far
# above those of held-out text.
#
# The last column of the table is the share of characters in stretches of fifty that occur word for word in the training
# text (`text_metrics.copied_share`). Held-out text has some: phrases of the manual. The cold settings copy more. [How
# good is this text?](../evaluation/text_quality.ipynb) goes on from here.
#
# ## A cure with its own damage
#
# Instead of drawing, one could forbid repetition. Two rules are widely used. The **repetition penalty** of Keskar et
# al. (2019) makes tokens that have been used less likely: their logits are divided by $\theta > 1$. A negative logit
# would grow by that, so Hugging Face's `transformers` multiplies it by $\theta$ instead; this is the form that is used
# today, and here. **No-repeat n-gram** (Paulus et al., 2017, with $n = 3$) forbids every token that would complete a
# stretch of $n$ tokens that is there already.


# %%
def penalise(logits, tokens, strength):  # (batch, vocab), (batch, time)
    used = logits.gather(1, tokens)
    return logits.scatter(
        1, tokens, torch.where(used > 0, used / strength, used * strength)
    )


def forbid(logits, tokens, n):
    logits = logits.clone()
    for row, text in zip(logits, tokens.tolist(), strict=True):
        for i in range(len(text) - n + 1):
            if text[i : i + n - 1] == text[len(text) - n + 1 :]:
                row[text[i + n - 1]] = -math.inf
    return logits


# %%
@torch.no_grad()
def greedy_by(rule, strength, count):
    tokens = prompts
    for _ in range(count):
        token = rule(model(tokens)[:, -1], tokens, strength).argmax(
            dim=-1, keepdim=True
        )
        tokens = torch.cat([tokens, token], dim=1)
    return tokens


# %%
count = min(length, T - prompt_length)
strengths = (1.0, 1.1, 1.3, 1.6, 2.0)
cured = [greedy_by(penalise, strength, count) for strength in strengths]
never = greedy_by(forbid, 4, count)
assert torch.equal(cured[0][:, prompt_length:], greedy[:, :count]), (
    "a penalty of 1 changes nothing"
)
assert all(text_metrics.repeated_share(row, 4) == 0 for row in never), (
    "the rule keeps its word"
)
print(readable(tokenizer.decode(never[places // 2])))


# %% [markdown]
# Both rules are blind to *why* something repeats. The names of things, `the`, the comma and the space have to occur
# again; a text about an object called `iterator` cannot do without the word. We measure the damage on held-out text:
# how much worse does the penalised model predict it? And which share of its tokens would the second rule have
# forbidden?


# %%
@torch.no_grad()
# bits per token of the penalised model, on windows of held-out text
def held_out_bits(strength):
    x, y = many[:16, :-1], many[:16, 1:]
    logits = model(x)
    # (batch, time, vocab), so far
    used = torch.nn.functional.one_hot(x, V).cumsum(dim=1) > 0
    changed = torch.where(logits > 0, logits / strength, logits * strength)
    log_p = torch.where(used, changed, logits).log_softmax(dim=-1)
    return -log_p.gather(2, y[:, :, None]).mean().item() / math.log(2)


bits = [held_out_bits(strength) for strength in strengths]


# %%
said_again = [
    sum(text_metrics.repeated_share(row[prompt_length:], 4) for row in texts)
    / places
    for texts in cured
]
needed = sum(1 - text_metrics.distinct_n(row[:count], 4) for row in human) / places
for strength, bit, share in zip(strengths, bits, said_again, strict=True):
    print(
        f"penalty {strength}: {100 * share:3.0f} % repeated; "
        f"held-out text {bit:.2f} bits per token"
    )
print(
    "no repeated stretch of 4: "
    f"forbids {100 * needed:.1f} % of what people wrote in {count} tokens"
)


# %%
if profile != "smoke":
    assert bits == sorted(bits)
    assert said_again[0] > 0.4 > 0.05 > said_again[-1]


# %% mystnb={"image": {"alt": "Against the penalty: on the left the repeated share falls, on the right the bits per token of held-out text rise."}}
figure, (left, right) = plt.subplots(1, 2, figsize=(6, 3))
left.plot(strengths, said_again, "o-")
left.set_ylabel("greedy text: repeated share")
right.plot(strengths, bits, "o-", color=plots.COLOURS[3])
right.set_ylabel("held-out text: bits per token")
for ax in (left, right):
    ax.set_xlabel("penalty")
plt.show()

# %% [markdown]
# The penalty has another flaw. The same number added to all logits changes no probability, but it changes which logits
# are positive, and so the penalised probabilities:

# %%
read = prompts[:1]
with torch.no_grad():
    row = model(read)[:, -1]
plain, shifted = [
    penalise(row + c, read, 1.3).softmax(dim=-1) for c in (0.0, -30.0)
]
same = torch.allclose((row - 30).softmax(dim=-1), row.softmax(dim=-1), atol=1e-5)
share = [p[0, read[0].unique()].sum().item() for p in (plain, shifted)]
print(f"unpenalised probabilities equal: {same}; used tokens, together:")
print(f"{share[0]:.3f}, and with every logit lower by 30, {share[1]:.3f}")
assert same
assert share[1] < 0.8 * share[0]

# %% [markdown]
# The cure works, and a strong dose does harm: the larger the penalty, the worse the model predicts real text. Penalties
# slightly above 1 together with sampling are a usual compromise; for code or tables, where everything repeats, leave
# them off.
#
# ## The key–value cache
#
# So far this was about *what* to pick; now it is about the work. To append one token, the plain loop runs the whole
# text through the model, and nearly all of that has been computed before. The layers are causal: what is computed at a
# position depends on the tokens up to there and on nothing after it. A new token changes none of it.

# %% mystnb={"image": {"alt": "A triangle of squares: in each row, one step, all squares but the last are marked as computed again."}}
shown = 10
again = [
    (step, position) for step in range(1, shown + 1) for position in range(1, step)
]
down, across = zip(*again, strict=True)
fresh = range(1, shown + 1)
plt.figure(figsize=(4.4, 3.8))
plt.plot(across, down, "s", color=plots.COLOURS[1], label="computed again")
plt.plot(fresh, fresh, "s", color=plots.COLOURS[0], label="new")
plt.xlabel("position in the text")
plt.ylabel("step")
plt.gca().invert_yaxis()
plt.gca().set_aspect("equal")
plt.legend()
plt.show()


# %% [markdown]
# Without a cache all squares of the triangle are computed: $1 + 2 + \dots + n = n (n + 1) / 2$ passes of a token
# through the model for $n$ tokens. With a cache only the diagonal, $n$.
#
# What has to be kept? In attention the new token's query is compared with the keys of all positions up to its own, and
# their values are averaged. The old queries are not needed again, and everything else in a block works at one position
# alone. So one keeps, for each layer, **keys and values**, and nothing else. From scratch, for one layer and one head:

# %%
torch.manual_seed(0)
x = torch.randn(10, 16)  # (time, width): what comes into the layer
w_q, w_k, w_v = torch.randn(3, 16, 16) / 4

q, k, v = x @ w_q, x @ w_k, x @ w_v
future = torch.ones(10, 10).triu(diagonal=1).bool()
at_once = (q @ k.T / 16**0.5).masked_fill(future, -math.inf).softmax(dim=-1) @ v


# %%
keys, values, one_by_one = torch.empty(0, 16), torch.empty(0, 16), []
for new in x:  # as if the rows came one at a time
    keys, values = (
        torch.cat([keys, (new @ w_k)[None]]),
        torch.cat([values, (new @ w_v)[None]]),
    )
    # no mask: the future is not there yet
    weights = (keys @ (new @ w_q) / 16**0.5).softmax(dim=0)
    one_by_one.append(weights @ values)
assert torch.allclose(at_once, torch.stack(one_by_one), atol=1e-5)
print(
    "One at a time with the cache, or all at once with the mask: the same outputs."
)


# %% [markdown]
# The package's `LayerCache` does this for all heads of a layer, in memory set aside at the start (to append by `cat`
# copies everything each time); a model has one per layer. Rotary positions need no extra care: a key is rotated by its
# own position before it is stored.

# %%
window = test[None, :T]
cache = model.new_cache(batch=1)
with torch.no_grad():
    whole = model(window)
    pieces_of_it = torch.cat(
        [model(token, cache) for token in window.split(1, dim=1)], dim=1
    )
assert torch.allclose(whole, pieces_of_it, atol=1e-3)


# %%
texts = []
for cached in (True, False):
    torch.manual_seed(0)
    texts.append(gpt.generate(model, window[:, :8], T - 8, top_p=0.9, cache=cached))
assert torch.equal(*texts)
print("With and without the cache: the same logits and the same text.")


# %% [markdown]
# Now we count. A hook on the embedding records how many tokens each call of the model reads.


# %%
def tokens_read(count, cache):  # at each step
    read = []
    hook = model.embedding.register_forward_hook(
        lambda layer, inputs, output: read.append(inputs[0].numel())
    )
    gpt.generate(model, test[None, :1], count, greedy=True, cache=cache)
    hook.remove()
    return read


n = T
plain, cached = sum(tokens_read(n, cache=False)), sum(tokens_read(n, cache=True))
print(f"{n} tokens: {plain} passes without the cache, {cached} with it")
assert (plain, cached) == (n * (n + 1) // 2, n)

# %% [markdown]
# So is generation $(n + 1) / 2$ times as fast? A count is not a time. The benchmark of this part,
# `benchmarks/language.py`, has timed both ways in one process, with the same tokens; its results come with the package.

# %%
stored = (
    files("aigc_course")
    .joinpath("benchmarks/language.json")
    .read_text(encoding="utf-8")
)
benchmark = json.loads(stored)["generation"]
print(f"{benchmark['command']}, {benchmark['date']}, {benchmark['device']}")


# %%
m, n = benchmark["prompt"], benchmark["tokens"]
counted = (n * m + n * (n - 1) // 2) / (m + n - 1)
ratios = [run["ratio"] for run in benchmark["runs"]]
cache_ratio = median(ratios)
print(
    f"{n} tokens after a prompt of {m}: "
    f"by passes {counted:.0f} to 1, by the clock {cache_ratio:.1f} to 1"
)
print(f"the runs: {', '.join(f'{ratio:.1f}' for ratio in ratios)}")


# %% [markdown]
# The gain is real and far smaller than the count. The stored seconds tell where the rest went. Without the cache a call
# reads hundreds of tokens, so its time divided by their number is at least what the arithmetic of one token takes. A
# call with the cache reads a single token:

# %%
in_view = m + (n - 1) / 2  # tokens a call reads without the cache, on average
of_token = min(run["plain_seconds"] for run in benchmark["runs"]) / n / in_view
of_call = median([run["cached_seconds"] for run in benchmark["runs"]]) / n
print(f"a token among many: {1e6 * of_token:.0f} microseconds;")
print(f"a call with one token: {1e6 * of_call:.0f} microseconds")
assert of_token < 0.2 * of_call

# %% [markdown]
# So most of a call with one token is spent on what every call costs, whatever it reads: Python, the start of about a
# hundred small operations, and fetching the weights; which of them most, these figures do not say. With the cache
# hardly any arithmetic is left to save. In a large model one of these costs dominates, fetching all the weights from
# memory: with the cache every step fetches them for one token. There the speed of writing is limited by memory and not
# by arithmetic (Pope et al., 2023), servers write many texts side by side so that one fetch serves all, and the prompt,
# read in one go, costs little per token.
#
# ### What it takes
#
# Two vectors, key and value, of the model's width, for each layer and each position of each text:
#
# $$\text{bytes} = 2 \times \text{layers} \times \text{width} \times \text{context} \times \text{texts} \times \text{bytes per number} .$$


# %%
def cache_bytes(layers, width, context, texts=1, per_number=4):
    return 2 * layers * width * context * texts * per_number


ours = cache_bytes(len(model.blocks), model.config.width, T)
held = [part for layer in cache for part in vars(layer).values()]
tensors = [part for part in held if isinstance(part, torch.Tensor)]
assert sum(part.numel() * part.element_size() for part in tensors) == ours
print(f"this model: {ours / 2**20:.2f} MiB per text")
print(
    "32 layers of width 4096, context 4096, 2 bytes: "
    f"{cache_bytes(32, 4096, 4096, 1, 2) / 2**30:.0f} GiB per text"
)

# %% [markdown]
# The second line has the sizes of a model with seven billion parameters, which themselves take 14 GB at two bytes each.
# With seven texts the cache is as large as the model. Hence designs in which all heads, or groups of them, share one
# set of keys and values (Shazeer, 2019; Ainslie et al., 2023): with 8 sets for 32 heads the cache is a quarter.
#
# ### When the context is full
#
# The model was trained on stretches of $T$ tokens and cannot take more. Our `stream` then drops the older half, reads
# the rest afresh and goes on. Why not drop one token at each step, and keep the rest of the cache? One can: a *rolling*
# cache does just that (Xiao et al., 2024, keep the first few tokens besides). But the result differs from that of
# reading the shortened text afresh. In the first layer keys and values depend on one token each, and stay right (the
# keys were rotated by their old positions, but attention depends on differences of positions only); in every later
# layer they were computed from the dropped token too:

# %%
values = {layer: [] for layer in range(len(model.blocks))}
hooks = [
    block.attention.qkv.register_forward_hook(
        lambda _, given, out, layer=layer: values[layer].append(
            out[0].chunk(3, -1)[2]
        )
    )
    for layer, block in enumerate(model.blocks)
]
with torch.no_grad():
    model(window), model(window[:, 1:])


# %%
for layer, (kept, anew) in values.items():
    change = (kept[1:] - anew).norm() / anew.norm()
    print(f"layer {layer + 1}: kept values differ from fresh ones by {change:.1%}")
    assert (change < 1e-5) == (layer == 0)
for hook in hooks:
    hook.remove()

# %% [markdown]
# Our `stream` reads afresh, so that with and without the cache the text stays the same. We watch how many tokens are in
# view at each step, and how many are read.

# %% mystnb={"image": {"alt": "A sawtooth: the tokens in view rise to the full context, fall to half, rise again; the tokens read with the cache are one except for a spike at each fall."}}
plt.plot(tokens_read(3 * T, cache=False), label="in view of the model")
plt.plot(
    tokens_read(3 * T, cache=True),
    color=plots.COLOURS[3],
    linewidth=1.5,
    label="read, with the cache",
)
plt.axhline(T, color="grey", linestyle="--", label="context")
plt.xlabel("step")
plt.ylabel("tokens")
plt.legend(loc="upper center", bbox_to_anchor=(0.5, 1.22), ncols=3, fontsize=9)
plt.show()

# %% [markdown]
# What was dropped has no influence any more. Let the model write until its context is full and a little further; then
# give a *fresh* call only the newer half of that text, without prompt and beginning:

# %%
full, kept_from, more = T, (T + 1) // 2, 16
long = gpt.generate(
    model, prompts[:1], full - prompt_length + 1 + more, greedy=True
)
fresh = gpt.generate(model, long[:, kept_from : full + 1], more, greedy=True)
assert torch.equal(fresh[:, -more:], long[:, -more:])
print(f"Token {full + 2} and those after it: the same,")
print(f"whether or not the first {kept_from} tokens ever existed.")

# %% [markdown]
# The prompt is gone too. A chat that "suddenly forgets" what was agreed at its beginning does just this. Real systems
# keep the first tokens, or summarise, or have a context so long that it rarely matters; no trick lets a model see
# what is no longer in its window.
#
# ## Streaming
#
# A reader should not wait for the last token to see the first. `stream` is a generator that never ends: it gives one
# token at a time, and the caller decides when to stop. The bars mark where a token ends.

# %%
torch.manual_seed(0)
prompt = "The statement"
print(prompt, end="")
for token in islice(
    gpt.stream(model, tokenizer.encode(prompt)[None], top_p=0.9), 40
):
    print("|" + visible(tokenizer.decode(token)), end="", flush=True)
print()

# %% [markdown]
# There is a trap. The tokens are made of *bytes*, and a character outside ASCII has two to four of them. A token may
# end in the middle of a character, and half a character is no text:

# %%
text = "naïve, 你好, 🙂"
tokens = tokenizer.encode(text)
in_pieces = "".join(tokenizer.decode(token[None]) for token in tokens)
print(f"all at once:  {tokenizer.decode(tokens)}")
print(f"one at a time: {in_pieces}")
assert tokenizer.decode(tokens) == text != in_pieces

# %% [markdown]
# Each � is a byte, or some, that made no sense alone. The remedy is to decode *bytes*, and to hold back those of an
# unfinished character until the rest of it arrives. Python's library has such an **incremental decoder** for every
# encoding. It also recognises bytes that can never become a character, and replaces those.


# %%
# an iterator of tokens (1,) -> an iterator of pieces of text
def whole_characters(tokens):
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    for token in tokens:
        yield decoder.decode(tokenizer.decode_bytes(token))
    yield decoder.decode(b"", final=True)  # what was left unfinished


assert "".join(whole_characters(tokens.split(1))) == text
broken = torch.cat([tokens[-1:], tokenizer.encode("a"), tokens])
assert "".join(whole_characters(broken.split(1))) == tokenizer.decode(broken)
print("|".join(whole_characters(tokens.split(1))))

# %% [markdown]
# ### When to stop
#
# Our model reads one long text and has never seen an end, so it would go on for ever. There are three usual ways to
# stop: a **number of tokens**, which is always needed as a last resort; an **end token**, which the training data
# carry after each document (GPT-2 has one), so that the model itself says when it is done; and a **stop string**,
# such as a full stop, a blank line or the next speaker's name. The last has a trap of its own: the string may be
# spread over two tokens, so look for it in the text, not in the token (exercise 3). Here is the simple case, a full
# stop, with a number as a last resort.

# %%
torch.manual_seed(1)
sentence = "The statement"
for piece in whole_characters(
    islice(gpt.stream(model, tokenizer.encode(sentence)[None], top_p=0.9), 60)
):
    sentence += piece
    if "." in piece:
        print("stopped at a full stop:")
        break
else:
    print("stopped by the number of tokens:")
print(readable(sentence))

# %% [markdown]
# ## What the source articles got wrong here
#
# None explains how a text comes out of a model token by token, and from the formula that one prints nothing can be
# sampled ([errata](../../book/errata.md#errata-language-models)).
#
# ## The promise
#
# This chapter promises that greedy decoding repeats at least 30 % of its text and sampling from the nucleus of 0.9 at
# most 10 %, in stretches of eight tokens, over texts of the same length after the same held-out prompts; that beams
# find likelier texts than people write; and that the cache changes the speed and not the text.

# %%
nucleus = next(row for row in by_top_p if row["value"] == 0.9)
figures = results.record(
    "decoding",
    profile,
    repeated_share_greedy=round(always["repeated"].mean().item(), 3),
    repeated_share_top_p=round(nucleus["repeated"].mean().item(), 3),
    repeated_share_held_out=round(people["repeated"].mean().item(), 3),
    cache_ratio=round(cache_ratio, 2),
)
pprint({key: figures[key] for key in list(figures)[3:]}, sort_dicts=False)


# %%
if profile != "smoke":
    assert figures["repeated_share_greedy"] >= 0.3, (
        "greedy decoding goes in circles"
    )
    assert figures["repeated_share_top_p"] <= 0.1, "draws from the nucleus do not"
    assert nats["beam of 8"] > nats["beam of 1"] > nats["held-out text"], (
        "likelier than greedy, likelier than people"
    )
    assert min(ratios) >= 5, "the cache pays"


# %% [markdown]
# ## Summary
#
# - A model gives probabilities; a decoding rule makes a text of them.
# - Temperature sharpens or flattens every context alike. Top-k keeps a fixed number of tokens, too many in sharp
#   contexts and too few in flat ones. Top-p keeps a fixed share, and so a number that fits.
# - The likeliest text is not a good text. Greedy decoding and beam search find likely texts, which repeat themselves.
#   People's text is less likely, and its probability jumps up and down. A little chance breaks loops.
# - Aim for the figures of held-out text, not for the lowest or the highest. Penalties break loops, and damage what
#   has to repeat.
# - A key–value cache turns $n (n + 1) / 2$ passes into $n$, for the same text. It takes memory for each layer,
#   position and text. When the context is full, something is forgotten.
# - When you stream, hold back unfinished characters; when you stop at a string, look for it in the text.
#
# ## Check yourself
#
# **1.** Show that the entropy rises with the temperature. With $H$ in nats:
# $\frac{dH}{d\tau} = \mathrm{Var}(z) / \tau^3$, where the variance of the logits is taken under $p^{(\tau)}$. Derive
# it, then check it against PyTorch's derivative.

# %% tags=["hide-cell"]
# @title Solution
z = logits[contexts["flat"]].double()
for value in (0.5, 1.0, 2.0):
    tau = torch.tensor(value, dtype=torch.double, requires_grad=True)
    p = (z / tau).softmax(dim=-1)
    (slope,) = torch.autograd.grad(torch.special.entr(p).sum(), tau)
    variance = (p * z.square()).sum() - (p * z).sum().square()
    print(
        f"temperature {value}: {slope:.4f} nats, "
        f"by the formula {variance / tau**3:.4f}"
    )
    assert torch.allclose(slope, variance / tau**3)

# %% [markdown]
# <details><summary>Answer</summary>
#
# Write $\beta = 1 / \tau$ and $Z = \sum_i e^{\beta z_i}$. Then $H = \log Z - \beta\, \mathbb E[z]$. The derivative of
# $\log Z$ with respect to $\beta$ is $\mathbb E[z]$, and that of $\mathbb E[z]$ is $\mathrm{Var}(z)$, so
# $dH / d\beta = -\beta\, \mathrm{Var}(z)$. Since $d\beta / d\tau = -1 / \tau^2$, the result follows. A variance is
# never negative.
#
# </details>
#
# **2.** The package applies the temperature before it cuts. Does the order matter for top-k? For top-p? Count the
# tokens that are kept in the flat context with a temperature of 0.5, in both orders.

# %% tags=["hide-cell"]
# @title Solution
row = logits[contexts["flat"]]
p = row.softmax(dim=-1)
first_heat = keep_top_p(with_temperature(row, 0.5), 0.9)
first_cut = with_temperature(keep_top_p(p, 0.9).log(), 0.5)
print(
    f"top-p: {(first_heat > 0).sum()} tokens if heated first, "
    f"{(first_cut > 0).sum()} if cut first"
)
assert (first_heat > 0).sum() <= (first_cut > 0).sum()
top_k_heated, top_k_cut = (
    keep_top_k(with_temperature(row, 0.5), 5),
    with_temperature(keep_top_k(p, 5).log(), 0.5),
)
assert torch.allclose(top_k_heated, top_k_cut, atol=1e-6)

# %% [markdown]
# <details><summary>Answer</summary>
#
# Not for top-k: the temperature never changes the order of the tokens, so the same $k$ are kept, and among them the
# ratios are the same. For top-p it does: a temperature below 1 moves probability to the front, and fewer tokens are
# needed to reach the share. Two libraries with the same settings may differ here.
#
# </details>
#
# **3.** Write `until(pieces, stop)`, which gives the text of an iterator of pieces up to, and without, the stop
# string, even if it is spread over several pieces. It should ask for no piece more than it needs.


# %% tags=["hide-cell"]
# @title Solution
def until(pieces, stop):
    text = ""
    for piece in pieces:
        text += piece
        if stop in text:
            return text[: text.index(stop)]
    return text


source = iter(["The e", "nd.", "\n", "\nNext", " page"])
assert until(source, "\n\n") == "The end."
assert list(source) == [" page"], "nothing more was asked for"
assert until(["no", " stop"], "\n\n") == "no stop"
print("Stopped at a blank line that was spread over two pieces.")

# %% [markdown]
# **4.** How many texts can be written side by side on a machine with 80 GB of memory, by the model with 32 layers of
# width 4096, two bytes per number, 14 GB of weights, and texts of 4,096 tokens? How many if 8 sets of keys and values
# serve the 32 heads?

# %% tags=["hide-cell"]
# @title Solution
free = 80e9 - 14e9
side_by_side = int(free // cache_bytes(32, 4096, 4096, 1, 2))
shared = int(free // cache_bytes(32, 4096 * 8 // 32, 4096, 1, 2))
print(f"{side_by_side} texts; {shared} with shared keys and values")
assert (side_by_side, shared) == (30, 122)

# %% [markdown]
# **5.** In words: a colleague reports that her decoding rule gives texts of 0.4 bits per byte under a strong judge,
# where held-out text has 1.0, and is pleased. What do you suspect, and what would you measure?
#
# <details><summary>Answer</summary>
#
# That the texts are *too* predictable: they repeat themselves, or are copied from the judge's training data. The
# judge cannot tell a good text from a dull one, only a likely one from an unlikely one. Measure the repeated share,
# distinct n-grams and the copied share beside those of held-out text of the same length, and read some of the texts.
# The aim is held-out text's own figure.
#
# </details>
#
# **Graded assignment**: [the pieces of a language model](../exercises/language.ipynb).
#
# ## Further reading
#
# - A. Holtzman et al., [The Curious Case of Neural Text Degeneration](https://arxiv.org/abs/1904.09751) (2020):
#   top-p, and the dullness of likely text; several of this chapter's measurements, for a large model.
# - M. N. Nguyen et al., [Turning Up the Heat: Min-p Sampling for Creative and Coherent LLM
#   Outputs](https://arxiv.org/abs/2407.01082) (2024).
# - J. Li et al., [A Diversity-Promoting Objective Function for Neural Conversation
#   Models](https://arxiv.org/abs/1510.03055) (2016): distinct n-grams.
# - F. Stahlberg and B. Byrne, [On NMT Search Errors and Model Errors: Cat Got Your
#   Tongue?](https://arxiv.org/abs/1908.10090) (2019): exact search, and the empty translation.
# - Y. Wu et al., [Google's Neural Machine Translation System](https://arxiv.org/abs/1609.08144) (2016): beam search
#   in earnest, with its correction for length.
# - N. S. Keskar et al., [CTRL: A Conditional Transformer Language Model for Controllable
#   Generation](https://arxiv.org/abs/1909.05858) (2019): the repetition penalty.
# - R. Paulus, C. Xiong and R. Socher, [A Deep Reinforced Model for Abstractive
#   Summarization](https://arxiv.org/abs/1705.04304) (2017): no repeated trigram.
# - N. Shazeer, [Fast Transformer Decoding: One Write-Head is All You Need](https://arxiv.org/abs/1911.02150) (2019),
#   and J. Ainslie et al., [GQA: Training Generalized Multi-Query Transformer Models from Multi-Head
#   Checkpoints](https://arxiv.org/abs/2305.13245) (2023): smaller caches.
# - R. Pope et al., [Efficiently Scaling Transformer Inference](https://arxiv.org/abs/2211.05102) (2023): what a step of
#   a large model spends its time on; G. Xiao et al., [Efficient Streaming Language Models with Attention
#   Sinks](https://arxiv.org/abs/2309.17453) (2024): a rolling cache, and why the first tokens stay in it.
#
# Next: [Writing faster, with less memory](inference.ipynb).
