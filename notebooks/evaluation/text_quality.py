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
# # How good is this text?
#
# **After this chapter you can**
#
# - turn a perplexity into bits per character, and say when two of them may be compared;
# - compute BLEU by hand, and tell which questions it cannot answer;
# - measure variety, repetition and copying, and fool each of these measures on purpose;
# - plan a comparison by people: pairs, blind, and with enough judgements.
#
# **You need**: [A GPT from the ground up](../language/gpt.ipynb) and
# [From probabilities to text](../language/decoding.ipynb). The same questions about pictures are in
# [How good are these pictures?](image_quality.ipynb). · [How long this chapter takes to run](../../book/results.md)

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
import math
import textwrap
from collections import Counter
from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
import torch
from scipy.stats import binomtest
from sklearn.metrics import cohen_kappa_score
from torch.nn import functional as F
from torchmetrics.text import BLEUScore, SacreBLEUScore

from aigc_course import gpt, plots, recurrent, results, text_metrics, training
from aigc_course.data import BytePairTokenizer, CharTokenizer, load_text

# %%
plots.use_style()
profile = training.resolve_profile(profile)
# characters of each text that is measured
size = {"smoke": 800, "cpu": 4000, "gpu": 4000}[profile]
train, validation, test = [
    load_text("python_docs", split) for split in ("train", "validation", "test")
]
model, tokenizer = gpt.pretrained(profile)
T = model.config.context
print(f"Profile {profile}: texts of {size} characters;")
print(f"{len(train)} characters to train on, {len(test)} to test.")

# %% [markdown]
# ## A perfect score
#
# Here are four texts. One is real: documentation of Python that no model of this course was trained on. One was drawn
# from the course's GPT. One is the same GPT again, but at each step it wrote the token that it holds most likely. And
# one is a row of characters, drawn uniformly.


# %%
def draw(**choice):  # eight pieces side by side are faster than one long one
    prompt = tokenizer.encode("The ")[None].expand(8, -1)
    # every token has at least one character
    pieces = gpt.generate(model, prompt, size // 8 + 50, **choice)
    return "".join(tokenizer.decode(piece)[: size // 8] for piece in pieces)


# %%
torch.manual_seed(0)
letters = sorted(set(train))
loop = gpt.generate(model, tokenizer.encode("The ")[None], size, greedy=True)[0]
texts = {
    "held out": test[:size],
    "GPT": draw(),
    "greedy loop": tokenizer.decode(loop)[:size],
    "random": "".join(
        letters[i] for i in torch.randint(len(letters), (size,)).tolist()
    ),
}


# %%
for name, text in texts.items():
    print(f"{name}:")
    print(
        textwrap.indent(
            textwrap.fill(" ".join(text[:320].split()), width=72), "    "
        )
    )

# %% [markdown]
# You see at once which one you would rather read. Now let a number decide. A language model can measure how *surprised*
# it is by a text: a model $p$ reads the tokens $x_1, \dots, x_T$ from left to right, and at each step we note the
# probability it had given to the token that came. The geometric mean of one over these probabilities is the
# **perplexity**,
#
# $$\mathrm{PPL} = \exp(\ell), \qquad \ell = -\frac1T \sum_{t=1}^{T} \log p(x_t \mid x_1, \dots, x_{t-1}),$$
#
# where $\ell$ is the mean loss in nats per token. A perplexity of 8 means: on average the model was as unsure as if it
# had had to guess among 8 equally likely tokens. Lower is better, it is said.
#
# > **Predict, then run.** The GPT reads all four. Which has the lowest perplexity? (a) The real text. (b) The sample.
# > (c) The greedy one.


# %%
def perplexity(text):
    return math.exp(model.nats_per_token(tokenizer.encode(text)))


perplexities = {name: perplexity(text) for name, text in texts.items()}
for name, value in perplexities.items():
    print(f"{name:12} {value:10.2f}")
if profile != "smoke":
    assert 3 * perplexities["greedy loop"] < perplexities["GPT"]
    assert perplexities["GPT"] < 0.9 * perplexities["held out"]

# %% [markdown]
# It is (c), and by far: hardly anything in it surprises the model. The text goes in circles, and after one round it is
# clear what comes next.
#
# The GPT's ordinary sample, too, surprises the GPT less than real text does. If its probabilities were right, real text
# would cost it exactly what it *expects* to pay, the entropy of its own predictions, and so would its samples. We can
# compare the two on real text, position by position:

# %%
tokens = tokenizer.encode(test)
rows = tokens[: len(tokens) // T * T].view(-1, T)[:64]
with torch.no_grad():
    log_p = model(rows[:, :-1])[:, 7:].log_softmax(dim=-1)  # as for the samples
paid = -log_p.gather(2, rows[:, 8:, None]).mean().item()
expected = -(log_p.exp() * log_p).sum(dim=-1).mean().item()
print(f"real text: expected {expected:.2f} nats per token, paid {paid:.2f}")
assert profile == "smoke" or paid > 1.05 * expected

# %%
torch.manual_seed(0)
own = gpt.generate(model, rows[:, :8], T - 8)
with torch.no_grad():
    log_p = model(own[:, :-1])[:, 7:].log_softmax(dim=-1)
sampled = -log_p.gather(2, own[:, 8:, None]).mean().item()
print(f"its own samples: paid {sampled:.2f}")
assert profile == "smoke" or abs(sampled - expected) < 0.5 * (paid - expected)

# %% [markdown]
# The model pays more than it expects: it is **overconfident** on text that it was not trained on. On its own samples it
# pays about what it expects, and so they look cheaper than real text. (Over a long text another error can win:
# Braverman et al., 2020, found that what large models write becomes *less* predictable to themselves as it goes on,
# until it costs more than real text does.)
#
# So there are two questions, and this chapter keeps them apart. *How good is a model?* is asked with real, held-out
# text, and perplexity is a fair answer if four traps are avoided. *How good is a text that a model wrote?* is another
# matter. For that there are half a dozen measures, and each of them can be fooled.

# %% [markdown]
# ## Trap 1: perplexity of what?
#
# The formula divides by the number of *tokens*, and the tokenizer decides what a token is. Let us take one kind of
# model, which counts groups of up to five tokens (an n-gram model, see [Predicting the next
# character](../language/recurrent_language_model.ipynb)), and give it the same text, cut into characters or into byte
# pairs with vocabularies of growing size. All five read the same held-out text to the end.

# %%
cuts = {"characters": CharTokenizer(train + validation + test)}
cuts |= {
    f"{vocab} byte pairs": BytePairTokenizer(train, vocab)
    for vocab in (300, 512, 1024, 2048)
}
ladder = {}
print(f"{'tokens':16} {'tokens':>8} {'per token':>12} {'bits per'}")
print(f"{'':16} {'of test':>8} {'perplexity':>12} {'character'}")


# %%
for name, cut in cuts.items():
    counter = recurrent.NGram(cut.vocab_size, order=5).fit(cut.encode(train))
    tokens = cut.encode(test)
    # the first token is not predicted; its characters make no difference here
    nats = counter.nats_per_token(tokens)
    ladder[name] = (
        math.exp(nats),
        text_metrics.bits_per_character(nats, len(tokens) - 1, len(test)),
    )
    print(
        f"{name:16} {len(tokens):8} {ladder[name][0]:12.2f} {ladder[name][1]:9.3f}"
    )


# %% mystnb={"image": {"alt": "Left: perplexity per token rises steeply from characters to the largest vocabulary. Right: bits per character hardly change, and characters are highest."}}
figure, axes = plt.subplots(1, 2, figsize=(6, 3), sharey=True)
for ax, column, label in [
    (axes[0], 0, "perplexity per token"),
    (axes[1], 1, "bits per character"),
]:
    ax.barh(
        list(ladder),
        [row[column] for row in ladder.values()],
        color=plots.COLOURS[column],
    )
    ax.set_xlabel(label)
axes[0].invert_yaxis()
axes[0].set_ylabel("tokenizer")
plt.show()


# %%
by_token, by_character = zip(*ladder.values(), strict=True)
assert list(by_token) == sorted(by_token)
assert max(by_character) == by_character[0] < 1.15 * min(by_character)

# %% [markdown]
# By perplexity the characters win by a wide margin, and each larger vocabulary is worse than the one before. But of
# course it is easier to predict the next *character* than the next *word*: there are fewer of them. The model of
# characters has to predict more tokens on the way to the end of the text.
#
# What can be compared is the probability of the whole text, $\log p(\text{text}) = -T \ell$. Divide its negative by
# something that is the same for all tokenizers, the number $C$ of characters, and take the logarithm to base 2:
#
# $$\text{bits per character} = \frac{T\, \ell}{C \ln 2}.$$
#
# It has a plain meaning: with this model as a compressor, the text would take that many bits per character. On the
# right nothing is left of that order. The differences are small, and the model of characters, best on the left, is the
# worst. A likely reason: its four tokens of context reach less far back. From here on we give bits per character, and
# the package's function does what the formula says:

# %%
tokens = tokenizer.encode(test)
nats = model.nats_per_token(tokens)
bits = text_metrics.bits_per_character(nats, len(tokens) - 1, len(test))
assert math.isclose(bits, (len(tokens) - 1) * nats / (len(test) * math.log(2)))
print(
    "The GPT on the test text: "
    f"perplexity {math.exp(nats):.2f} per token, {bits:.3f} bits per character"
)

# %% [markdown]
# ## Trap 2: the beginning of a window
#
# A GPT reads at most a *context* of tokens. A long text has to be cut into windows, and the first token of a window has
# to be predicted from nothing, the second from one token. How much does that matter? We let windows begin at many
# points of the text, and look at the loss by the position within the window.

# %%
starts = torch.arange(0, len(tokens) - T - 1, 32 if profile != "smoke" else 256)
windows = tokens[starts[:, None] + torch.arange(T + 1)]
with torch.no_grad():
    parts = [
        F.cross_entropy(model(w[:, :-1]).mT, w[:, 1:], reduction="none")
        for w in windows.split(64)
    ]
by_position = torch.cat(parts).mean(dim=0)  # position 0: one token has been seen
edges = [0] + [2**k for k in range(int(math.log2(T)) + 1)]
means = [by_position[a:b].mean().item() for a, b in pairwise(edges)]

# %% mystnb={"image": {"alt": "A curve that falls steeply over the first few tokens of a window and is nearly flat towards its end."}}
plt.plot(edges[1:], means, "o-")
plt.xscale("log", base=2)
plt.xticks(edges[1:], edges[1:])
plt.xlabel("tokens seen before, in this window (up to)")
plt.ylabel("mean loss (nats per token)")
plt.show()
if profile != "smoke":
    assert means[0] - means[3] > 0.6 * (means[0] - min(means))
    assert means[-1] < means[3] < means[0] - 1

# %% [markdown]
# With only one token to go by the loss is high. A few more help a great deal; after that the curve flattens: much of
# what this model makes use of is close by. The high loss at the beginning is due to our cutting, not to the model. So
# the windows should **overlap**: move on by a step that is shorter than the window, and of each window count only the
# tokens that have not been counted yet. Then each has a good piece of text in front of it.


# %%
@torch.no_grad()
def nats_per_token(tokens, step):
    losses, counted, start, last = [], 0, 0, len(tokens) - 1 - T
    while counted < len(tokens) - 1:
        window = tokens[start : start + T + 1]
        nats = F.cross_entropy(
            model(window[None, :-1])[0], window[1:], reduction="none"
        )
        losses.append(nats[counted - start :])  # what no window before has counted
        counted, start = start + T, min(start + step, last)
    return torch.cat(losses).double().mean().item()


# %%
by_step = {
    step: nats_per_token(tokens[:4000], step) for step in (T >> k for k in range(3))
}
for step, value in by_step.items():
    print(
        f"a step of {step:3}: {value:.3f} nats per token, "
        f"perplexity {math.exp(value):.2f},",
        end=" ",
    )
    print(f"{T // step}× the work")
if profile != "smoke":
    assert abs(by_step[T // 4] - by_step[T // 2]) < 0.03
# the package does the same
assert abs(by_step[T // 2] - model.nats_per_token(tokens[:4000])) < 1e-4


# %% [markdown]
# The same model, the same text: windows side by side (the first line) make it look worse than windows that overlap by
# half. Papers have been written about smaller differences. So a perplexity needs the context and the step beside it.
# Half a context is the course's choice: twice the work, and each token has at least half a context before it. A still
# smaller step adds work and next to nothing else.

# %% [markdown]
# ## Trap 3: a test that has leaked
#
# Texts on the web are copied everywhere. If a piece of the test text is somewhere in the training text, the figure is a
# measure of memory. We leak it on purpose: the n-gram model of characters is trained on the training text and on a
# growing share of the *test* text, and is asked about the test text and, as a control, the validation text, which
# nobody leaked.

# %%
characters, leaked = cuts["characters"], (0.0, 0.1, 0.25, 0.5, 1.0)
by_leak = {"test": [], "validation": []}


# %%
for share in leaked:
    seen = train + test[: int(share * len(test))]
    counter = recurrent.NGram(characters.vocab_size, order=6).fit(
        characters.encode(seen)
    )
    for name, text in [("test", test), ("validation", validation)]:
        by_leak[name].append(
            counter.nats_per_token(characters.encode(text)) / math.log(2)
        )
    print(
        f"{share:4.0%} leaked: "
        f"{by_leak['test'][-1]:.3f} bits per character on the test text,",
        end=" ",
    )
    print(f"copied {text_metrics.copied_share(test, seen, 50):.2f}")


# %% mystnb={"image": {"alt": "Bits per character against the share of the test text that leaked: the test's line falls a long way, the validation's stays nearly flat."}}
for name, values in by_leak.items():
    plt.plot(100 * np.array(leaked), values, "o-", label=f"{name} text")
plt.xlabel("share of the test text in the training text (%)")
plt.ylabel("bits per character")
plt.ylim(bottom=0)
plt.legend()
plt.show()

# %% [markdown]
# A leak looks like a breakthrough. The control does not move by much: the model has learnt hardly anything about
# *other* text. Two remedies follow. Keep a control that has surely not leaked, for example text that was written later.
# And search the training text for the test text. The last number of each line is the share of its characters that
# occur, in stretches of at least 50, word for word in the training text; we shall build this measure below. It is not 0
# without a leak, because manuals repeat themselves, but it grows with the leak as it should.

# %% [markdown]
# ## Trap 4: a good model of which 99 samples of 100 are noise
#
# Perplexity judges the *model's probabilities*, not its samples. Here is how far the two can be apart. Build a model
# that tosses a biased coin before it writes a document: with probability 0.01 it lets the GPT write, and with 0.99 it
# writes random characters. The probability that it gives to a held-out document $x$ is at least the first term alone,
#
# $$\log p(x) \ge \log 0.01 + \log p_\text{GPT}(x).$$
#
# > **Predict, then run.** The document is our test text. How much worse is the coin-tossing model, in bits per
# > character? (a) A hundred times. (b) About 1 %. (c) One cannot see it in the third digit.

# %%
cost = math.log2(100)  # bits, once per document
print(
    f"the GPT {bits:.5f}, the coin-tosser at most "
    f"{bits + cost / len(test):.5f} bits per character"
)

# %% [markdown]
# It is (c). The coin costs $\log_2 100 \approx 6.6$ bits, *once*, and a document has thousands of characters. (Theis,
# van den Oord and Bethge, 2016, made the argument for pictures.) You could hardly find the difference in a table, and
# 99 of 100 samples are rubbish. Conversely, a model that plays back its training text has perfect samples and gives new
# text no probability. If the samples matter, the samples have to be measured.

# %% [markdown]
# ## BLEU: is it like the reference?
#
# In translation there is something to compare with: a **reference**, a translation made by a person. BLEU (Papineni
# et al., 2002) asks how many of the *candidate's* words, pairs, triples and fours of words occur in the reference.
# Take this pair:

# %%
pair = [
    "the cat sat on the mat and the dog slept",
    "the cat sat on a mat while the dog was asleep",
]
candidate, reference = [text.split() for text in pair]


def grams(words, n):
    return Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))


for n in range(1, 5):
    # of each n-gram, the smaller of the two counts
    common = grams(candidate, n) & grams(reference, n)
    print(
        f"{n}: {common.total()} of {grams(candidate, n).total()},",
        ", ".join(" ".join(gram) for gram in common),
    )

# %% [markdown]
# A word of the candidate is counted no more often than the reference has it: there are three *the* in the candidate,
# two in the reference, so two count. Without this **clipping**, each word of *the the the the* would count as right.
# The share at length $n$ is the **clipped precision** $p_n$, and BLEU takes the geometric mean of four of them:
#
# $$
# \mathrm{BLEU} = \mathrm{BP} \cdot \Big(\prod_{n=1}^{4} p_n\Big)^{1/4}, \qquad
# \mathrm{BP} = \min\big(1,\; e^{\,1 - r/c}\big).
# $$
#
# Precision alone would reward leaving things out: *the cat* consists of nothing but right words. So a candidate of $c$
# words that is shorter than its reference of $r$ words pays the **brevity penalty** BP. In code:


# %%
def bleu(candidate, reference):
    precisions = []
    for n in range(1, 5):
        have, common = (
            grams(candidate, n),
            grams(candidate, n) & grams(reference, n),
        )
        precisions.append(common.total() / have.total())
    penalty = min(1, math.exp(1 - len(reference) / len(candidate)))
    return penalty * math.prod(precisions) ** (1 / 4)


# %%
score = bleu(candidate, reference)
print(
    f"BLEU {score:.3f}, of which the brevity penalty "
    f"{math.exp(1 - len(reference) / len(candidate)):.3f}"
)
library = BLEUScore()  # torchmetrics: cuts at white space, as we do
assert math.isclose(score, library([pair[0]], [[pair[1]]]).item(), rel_tol=1e-5)


# %% [markdown]
# ### How BLEU is fooled
#
# Now several candidates for one reference. Before you run the cell, put them into *your* order, from best to worst.

# %%
reference = "the function does not change the list that it was given"
candidates = {
    "the same": reference,
    "a synonym": "the function does not alter the list that it was given",
    "a paraphrase": "its argument , a list , is left as it is",
    "the opposite": "the function does change the list that it was given",
    "swapped": "the list that it was given does not change the function",
    "cut short": "the function does not change the list",
    "nonsense": "that it was given the function does not change the list",
}
scores = {
    name: library([text], [[reference]]).item() for name, text in candidates.items()
}
for name, text in candidates.items():
    print(f"{scores[name]:.2f}  {name:14} {text}")

# %% [markdown]
# The opposite of the reference, with one little *not* left out, scores even a little more than the synonym. The two
# sentences with the halves in the wrong order score very well: n-grams see only four words at a time. The paraphrase
# says exactly the right thing in other words, and gets 0, since the geometric mean is 0 as soon as there is no common
# group of four words. BLEU compares *wording*, and takes it for meaning.
#
# One cure is more references, since a candidate may take each n-gram from any of them:

# %%
more = [
    "its argument , a list , is left unchanged",
    "the function leaves the list as it is",
    reference,
]
for count in (1, 2, 3):
    values = [
        library([candidates[name]], [more[-count:]]).item()
        for name in ("a synonym", "a paraphrase")
    ]
    print(
        f"{count} reference{'s' * (count > 1)}: "
        f"synonym {values[0]:.2f}, paraphrase {values[1]:.2f}"
    )

# %% [markdown]
# With enough references the paraphrase scores at last. But the figure has changed, though the candidate has not: a BLEU
# with four references and one with a single reference are different scales. The same holds for the cutting into words.

# %%
pair = ("The list isn't changed, is it?", "the list isn't changed , is it ?")
rulers = {
    "cut at white space": BLEUScore(),
    "sacreBLEU, 13a": SacreBLEUScore(tokenize="13a"),
    "13a, lower case": SacreBLEUScore(tokenize="13a", lowercase=True),
    "each character": SacreBLEUScore(tokenize="char", lowercase=True),
}
by_ruler = {
    name: ruler([pair[0]], [[pair[1]]]).item() for name, ruler in rulers.items()
}
for name, value in by_ruler.items():
    print(f"{name:20} {value:.2f}")

# %% [markdown]
# One sentence, from 0 to 1, by the treatment of commas and capitals alone. Post (2018) showed that for such reasons
# published BLEU figures were often not comparable, and proposed *sacreBLEU*, which fixes the cutting and prints a
# signature with every score. Write it beside yours.
#
# And last: a text that a GPT writes freely has **no reference**. There is no text that it should equal. We shall use
# BLEU all the same, with pieces of the whole held-out text as references. Then it asks: do these word groups occur in
# real text?

# %% [markdown]
# ## Variety: distinct-n and repetition
#
# A text that goes in circles can be recognised by itself. Li et al. (2016) count the share of different n-grams among
# all: **distinct-n**. We take groups of three characters (they counted words; with short texts characters are
# steadier). The other side of the coin is the **repeated share**: how much of the text lies in a stretch of, say, 30
# characters that occurred before in the same text?

# %%
variety = {}
for name, text in texts.items():
    groups = [text[i : i + 3] for i in range(len(text) - 2)]
    distinct = len(set(groups)) / len(groups)
    assert distinct == text_metrics.distinct_n(text, 3)
    print(
        f"{name:12} distinct-3 {distinct:.3f}, "
        f"repeated {text_metrics.repeated_share(text, 30):.3f}"
    )
    variety[name] = distinct
if profile != "smoke":
    assert variety["greedy loop"] < 0.1 < variety["held out"] - 0.1
    assert text_metrics.repeated_share(texts["greedy loop"], 30) > 0.8

# %% [markdown]
# The greedy loop is caught: next to no variety, nearly everything repeated. But what wins? Random characters. Nothing
# is as varied as noise. Real text lies in between: language repeats itself a little. **So neither end of the scale is
# the goal; the value of real text is.** And that value depends on the length.

# %%
lengths = [size // 2**k for k in range(6)]


# %% mystnb={"image": {"alt": "Distinct-3 against the length of the text: random characters stay at the top, GPT samples and real text fall more slowly, not at every step, the greedy loop drops to the bottom."}}
for name, text in texts.items():
    plt.plot(
        lengths,
        [text_metrics.distinct_n(text[:length], 3) for length in lengths],
        "o-",
        label=name,
    )
plt.xscale("log")
plt.xticks(lengths, lengths)
plt.minorticks_off()
plt.xlabel("length of the text (characters)")
plt.ylabel("distinct-3")
plt.ylim(0, 1.05)
plt.legend(ncols=4, loc="lower center", bbox_to_anchor=(0.5, 1), columnspacing=1)
plt.show()


# %%
falls = {
    name: text_metrics.distinct_n(text[: lengths[-1]], 3)
    - text_metrics.distinct_n(text, 3)
    for name, text in texts.items()
}
if profile != "smoke":
    assert min(falls[name] for name in ("held out", "GPT", "greedy loop")) > 0.1
    assert falls["random"] < 0.05


# %% [markdown]
# From one end to the other all curves but that of noise fall, as a long text has used up the common groups and must
# repeat them. So a short sample looks more varied than a long one. Compare texts of the same length only; in this
# chapter all have the same.

# %% [markdown]
# ## Copies
#
# A model may also have learnt its training text by heart. Then its samples are varied, fluent, and stolen. We measure
# the **copied share**: the share of the sample's characters that lie in a stretch of at least $L$ characters that
# occurs word for word in the training text. How long is long? Short stretches occur in every text; so let us vary the
# length.

# %%
torch.manual_seed(1)
place = torch.randint(len(train) - size, ()).item()
texts["played back"] = train[place : place + size]
every = 40
texts["disguised"] = "".join(
    "~" if i % every == 0 else c for i, c in enumerate(texts["played back"])
)
thresholds = (10, 20, 30, 40, 50, 75, 100)


# %%
copied = {
    name: [
        text_metrics.copied_share(texts[name], train, length)
        for length in thresholds
    ]
    for name in ("played back", "disguised", "GPT", "held out")
}
print(
    "copied, L = 50: "
    f"{', '.join(f'{name} {values[4]:.3f}' for name, values in copied.items())}"
)
if profile != "smoke":
    assert min(values[0] for values in copied.values()) > 0.5
    assert copied["held out"][4] < 0.05


# %% mystnb={"image": {"alt": "Copied share against the shortest stretch that counts: text played back stays at one, its disguised twin falls to zero at forty characters, GPT samples and held-out text fall early."}}
for name, values in copied.items():
    plt.plot(thresholds, values, "o-", label=name)
plt.axvline(50, color="black", linestyle=":")
plt.xlabel("shortest stretch that counts, L (characters)")
plt.ylabel("copied share")
plt.ylim(-0.03, 1.03)
plt.legend()
plt.show()

# %% [markdown]
# With ten characters most of every text is "copied", real new text included: words and turns of phrase are common
# property. With 50 hardly any of the held-out text is, and what is left is what the manual repeats word for word. So
# $L = 50$ (the dotted line) is a sensible threshold *for this text*: the held-out text gives the scale, as always.
#
# The same picture shows a trick. *Disguised* is the training text with every fortieth character overwritten. From
# $L = 40$ on it has no copied stretch left. It can still be read. A threshold invites one to stay just below it.

# %% [markdown]
# ## All texts, all measures
#
# Now everything in one table. Three texts are new in it: samples of the GPT with a low temperature, which are more
# cautious; the held-out text with its words shuffled; and *n-gram*, a sample of a model that counts groups of six
# characters. BLEU stops at pairs of words here (*BLEU-2*): there is so little real text to compare with that many texts
# share few groups of four words with it or none, and those with none would get 0.

# %%
torch.manual_seed(2)
counter = recurrent.NGram(characters.vocab_size, order=6).fit(
    characters.encode(train)
)
texts["n-gram"] = characters.decode(counter.sample(size))
texts["GPT, cool"] = draw(temperature=0.5)
words = test[:size].split(" ")
texts["shuffled"] = " ".join(words[i] for i in torch.randperm(len(words)).tolist())
assert all(len(text) == size for text in texts.values())

rest = test[size:].split()  # held-out text that is not in the table
references = [" ".join(rest[i : i + 25]) for i in range(0, len(rest) - 24, 25)]
print(
    f"{len(references)} references of 25 words; "
    "the texts are cut into candidates of 25 words, too"
)


# %%
def measure(text):
    words, tokens = text.split(), tokenizer.encode(text)
    pieces = [" ".join(words[i : i + 25]) for i in range(0, len(words) - 24, 25)]
    nats = model.nats_per_token(tokens)
    return {
        "bits": text_metrics.bits_per_character(nats, len(tokens) - 1, len(text)),
        "BLEU-2": BLEUScore(n_gram=2)(pieces, [references] * len(pieces)).item()
        if pieces
        else 0.0,
        "distinct": text_metrics.distinct_n(text, 3),
        "repeated": text_metrics.repeated_share(text, 30),
        "copied": text_metrics.copied_share(text, train, 50),
    }


table = {name: measure(text) for name, text in texts.items()}


# %%
if profile != "smoke":
    real, cool, mixed = table["held out"], table["GPT, cool"], table["shuffled"]
    assert min(table, key=lambda name: table[name]["bits"]) == "greedy loop"
    assert table["played back"]["bits"] < real["bits"] < mixed["bits"] - 0.5
    assert mixed["BLEU-2"] < 0.75 * real["BLEU-2"]
    assert table["GPT"]["BLEU-2"] < cool["BLEU-2"]
    assert abs(mixed["distinct"] - real["distinct"]) < 0.05
    assert table["random"]["repeated"] == 0
    assert mixed["repeated"] < real["repeated"] / 2

# %%
order = [
    "held out",
    "GPT",
    "GPT, cool",
    "n-gram",
    "greedy loop",
    "shuffled",
    "random",
    "played back",
    "disguised",
]


# %%
print(
    f"{size} characters each; bits under the GPT; "
    "distinct-3; repeated in 30; copied from 50"
)
print(f"{'':12}" + "".join(f"{column:>10}" for column in table["held out"]))
for name in order:
    print(
        f"{name:12}" + "".join(f"{value:10.3f}" for value in table[name].values())
    )


# %% [markdown]
# Read the first line first: it is what real text gets. Then go down each column and ask which text beats it.
#
# - **bits** (how surprised the GPT is): the greedy loop is best; cool samples and training text played back are ahead
#   of real text too. Shuffled words and noise are far worse.
# - **BLEU-2** against held-out text: the shuffled text has the words of real text but few of its pairs; noise has
#   nothing. The cautious sample does better than the bold one.
# - **distinct**: noise is best, and the shuffled text has about the variety of the text it was made of.
# - **repeated**: noise is best, for it never repeats a stretch; shuffling hides repetition too.
# - **copied**: noise and the disguised copy have nothing copied at all.
#
# Which brings us to the list of the fooled. A trick fools a measure if it does at least as well as the best of the
# honest models, the GPT and the n-grams; the lines come from the table.

# %%
honest, tricks = (
    ["GPT", "GPT, cool", "n-gram"],
    ["greedy loop", "shuffled", "random", "played back", "disguised"],
)
small_is_good = {"bits", "repeated", "copied"}


def fooled_by(column):
    sign = -1 if column in small_is_good else 1
    best = max(sign * table[name][column] for name in honest)
    return [name for name in tricks if sign * table[name][column] >= best]


fooled = {column: fooled_by(column) for column in table["held out"]}
for column, names in fooled.items():
    print(f"{column:9} is fooled by: {', '.join(names) or 'none of these'}")

# %% [markdown]
# | measure | what it sees | what it does not see, or what can fool it | what sees through that |
# | --- | --- | --- | --- |
# | perplexity of a text | what the model did not expect | dull loops; training text | repeated share; copied share |
# | bits per character of a model | the probabilities of new text | bad samples; leaks | reading samples; a control text |
# | BLEU | word groups of the references | a missing *not*; halves in the wrong order; paraphrases | people; several references |
# | distinct-n | loops, stock phrases | noise, shuffled words; it falls with the length | bits; equal lengths |
# | repeated share | loops | noise, shuffled words; a loop with small changes | bits; shorter stretches |
# | copied share | playing back word for word | disguised copies; noise | a search that forgives changes; bits |
#
# Compared with the first line, the value of real text, loop, shuffled words, noise and playback each stand out in one
# column at least. The disguised copy only looks like a poor text, not like a copy; it takes a search made for it
# (exercise 2). And all measures are blind to what matters most. Not one tells whether the text is *true*, whether it
# makes sense, or whether anybody wants to read it. For that one has to ask people.

# %% [markdown]
# ## Asking people
#
# A comparison by people is an experiment, with the rules of an experiment:
#
# | step | rule | why |
# | --- | --- | --- |
# | question | one, in plain words: "which would you rather have in a manual?" | "better" means something different to everyone |
# | pairs | two texts for one prompt, side by side; choose one | comparing is easier than grading |
# | samples | drawn by a seed, none chosen, all equally long | the longer text tends to win |
# | blind | no names of models | expectations influence judgements |
# | order | left and right by the toss of a coin | many prefer what they read first |
# | controls | a few pairs with real text against shuffled words | shows who does not read |
# | number | fixed before the first judgement | stopping when one likes the result is cheating |
# | report | votes, ties, number of people, agreement, all texts | so that others can check |
#
# ### Do two people agree?
#
# If two readers of the same pairs agree no more often than by chance, there is nothing to measure. We simulate two
# readers, A and B, who each see 200 pairs. Each pair has a true lead of the left text, drawn from a normal
# distribution, and each reader sees it with an error of the same size.

# %%
rng = np.random.default_rng(0)
lead = rng.normal(size=200)
# 1: the left text
reader_a, reader_b = [
    (lead + rng.normal(size=200) > 0).astype(int) for _ in range(2)
]


def kappa(a, b):
    agree = np.mean(a == b)
    chance = np.mean(a) * np.mean(b) + np.mean(1 - a) * np.mean(1 - b)
    return agree, chance, (agree - chance) / (1 - chance)


# %%
counts = [
    [int(np.sum((reader_a == i) & (reader_b == j))) for j in (1, 0)] for i in (1, 0)
]
print(f"{'':10}{'B: left':>10}{'B: right':>10}")
for label, row in zip(("A: left", "A: right"), counts, strict=True):
    print(f"{label:10}{row[0]:10}{row[1]:10}")
agreement, by_chance, value = kappa(reader_a, reader_b)
print(f"agreement {agreement:.2f}, by chance {by_chance:.2f}, kappa {value:.2f}")
assert math.isclose(value, cohen_kappa_score(reader_a, reader_b))


# %% [markdown]
# The agreement alone says little, for two readers who toss coins agree in half of the pairs. Cohen (1960) subtracts
# what chance would bring. With the observed agreement $p_o$ and the agreement $p_e$ of two readers with the same habits
# who do not look at the texts,
#
# $$\kappa = \frac{p_o - p_e}{1 - p_e},$$
#
# which is 1 for perfect agreement and 0 for chance.
#
# > **Predict, then run.** Two readers do not read at all. Both click *left* nine times out of ten. They agree on how
# > many pairs, and what is their $\kappa$? (a) Half; 0. (b) About four fifths; 0. (c) About four fifths; about 0.6.

# %%
lazy_a, lazy_b = [(rng.random(2000) < 0.9).astype(int) for _ in range(2)]
print(
    "agreement {:.2f}, by chance {:.2f}, kappa {:.2f}".format(
        *kappa(lazy_a, lazy_b)
    )
)
assert 0.78 < kappa(lazy_a, lazy_b)[0] < 0.86
assert abs(kappa(lazy_a, lazy_b)[2]) < 0.1

# %% [markdown]
# It is (b): $0.9^2 + 0.1^2 = 0.82$, and a $\kappa$ of about 0. Agreement of more than 80 % sounds like a solid
# result. (For the same reason $\kappa$ is harsh where one answer is rare: even good readers then have little room
# above chance.)

# %% [markdown]
# ### How many judgements does it take?
#
# Suppose readers prefer the new model in 60 % of the pairs. Ten judgements cannot show that: six to four is what coins
# do. The **sign test** asks: if it were all chance, how probable is a vote at least as uneven as this one, to either
# side? If that is at most 5 %, we call the difference real. The probability of getting there is the **power**. If the
# better text wins each of $n$ judgements with probability $p$, the winner's votes are binomial, and everything can be
# computed exactly. We check it by simulating many such votes.

# %%
votes, trials = (25, 50, 100, 200, 400), 400 if profile == "smoke" else 2000
simulated = {}
for n in votes:
    # SciPy's exact sign test
    p_values = np.array([binomtest(k, n).pvalue for k in range(n + 1)])
    for preference in (0.55, 0.6, 0.7):
        wins = rng.binomial(n, preference, size=trials)
        simulated[preference, n] = np.mean(
            (wins > n / 2) & (p_values[wins] <= 0.05)
        )


# %%
worst = max(
    abs(share - text_metrics.sign_test_power(n, p))
    for (p, n), share in simulated.items()
)
print(
    f"largest difference between {trials} "
    f"simulated votes and the exact power: {worst:.3f}"
)
assert worst < (0.1 if profile == "smoke" else 0.05)


# %% mystnb={"image": {"alt": "Three rising jagged curves of power against the number of judgements: a preference of 70 per cent reaches the dotted line early, 60 per cent later, 55 per cent not at all; dots of simulations lie on the curves."}}
for preference, colour in zip((0.7, 0.6, 0.55), plots.COLOURS, strict=False):
    numbers = range(5, 401)
    power = [text_metrics.sign_test_power(n, preference) for n in numbers]
    label = f"preference {preference:.0%}"
    plt.plot(numbers, power, color=colour, linewidth=1.2, label=label)
    plt.plot(votes, [simulated[preference, n] for n in votes], "o", color=colour)
    needed = text_metrics.judgements_needed(preference)
    print(f"{preference:.0%}: {needed} judgements for a power of 80 %")
plt.axhline(0.8, color="black", linestyle=":")
plt.xlabel("judgements")
plt.ylabel("power")
plt.legend(loc="lower right")
plt.show()


# %% [markdown]
# The curves are exact, the dots are simulated votes; the curves are jagged since votes are whole numbers. The dotted
# line is the usual demand: find the difference in four cases of five. A clear preference shows after some fifty
# judgements, one of 60 % takes about two hundred, and for 55 % even 400 are not enough. As a rule of thumb, half the
# lead over chance costs four times the judgements:
#
# $$n \approx \left(\frac{z_{0.975} / 2 + z_{0.8} \sqrt{p(1 - p)}}{p - 1/2}\right)^2 \approx \frac{2}{(p - 1/2)^2},$$
#
# with the quantiles $z_{0.975} = 1.96$ and $z_{0.8} = 0.84$ of the normal distribution, and $p$ near ½. Card et al.
# ([2020](https://arxiv.org/abs/2010.06595)) find that the usual studies with human ratings are too small to show small
# differences.

# %%
for preference in (0.55, 0.6, 0.7, 0.8):
    lead, spread = preference - 0.5, math.sqrt(preference * (1 - preference))
    about = ((1.96 / 2 + 0.84 * spread) / lead) ** 2
    print(
        f"{preference:.0%}: {text_metrics.judgements_needed(preference)} exactly, "
        f"{about:.0f} by the approximation",
        end="",
    )
    print(f", {2 / lead**2:.0f} by the rule of thumb")

# %% [markdown]
# ### When it fails: left and right
#
# Votes can be fooled too. Suppose readers see *no* difference at all between two models, but click the left text in 60
# % of the cases. In one study model A always stands on the left, in the other a coin decides. How often does the sign
# test find a "real" difference?

# %%
n, fixed, tossed = 210, [], []
p_values = np.array([binomtest(k, n).pvalue for k in range(n + 1)])
for _ in range(trials):
    clicks_left = rng.random(n) < 0.6
    a_is_left = rng.random(n) < 0.5
    fixed.append(p_values[clicks_left.sum()] <= 0.05)
    tossed.append(p_values[(clicks_left == a_is_left).sum()] <= 0.05)
print(
    "a difference that is not there is found in "
    f"{np.mean(fixed):.1%} of the studies with a fixed order,"
)
print(f"and in {np.mean(tossed):.1%} of those with a coin for each pair")
assert np.mean(tossed) < 0.08 < 0.65 < np.mean(fixed)

# %% [markdown]
# With a fixed order most studies find a winner where there is none. A toss of the coin for each pair brings the false
# alarms down to what the level of 5 % allows. Nothing else was changed.

# %% [markdown]
# ## What the source articles got wrong here
#
# Squared error is offered as a loss for text, as if tokens were quantities, and BLEU without the reference it needs
# ([errata](../../book/errata.md#errata-language-models)).

# %% [markdown]
# ## The promise
#
# This chapter promises that every measure orders the texts as described, the tricks included,

# %%
column = {
    name: {text: row[name] for text, row in table.items()}
    for name in table["held out"]
}


# %%
if profile != "smoke":
    dullest = min(perplexities, key=perplexities.get)
    assert dullest == "greedy loop", "the dullest text has the lowest perplexity"
    cost, repeated, distinct = (column[k] for k in ("bits", "repeated", "distinct"))
    assert cost["GPT, cool"] < cost["held out"] < cost["shuffled"] < cost["random"]
    assert repeated["greedy loop"] > 0.5 > repeated["held out"], "a loop repeats"
    assert distinct["greedy loop"] < distinct["held out"] < distinct["random"]
    assert column["copied"]["played back"] == 1, "every word is copied"
    assert column["copied"]["disguised"] == 0, "a small disguise is enough"
    wins = {(a, b) for b in fooled for a in fooled[b]}
    assert wins >= {("random", "distinct"), ("greedy loop", "bits")}
    print("Every trick works.")
assert scores["a paraphrase"] == 0 < scores["a synonym"] < scores["the opposite"], (
    "BLEU does not read"
)


# %% [markdown]
# that the traps of perplexity are as deep as shown,

# %%
assert ladder["characters"][0] < ladder["2048 byte pairs"][0] / 5, (
    "perplexity depends on the tokenizer"
)
assert ladder["characters"][1] > ladder["1024 byte pairs"][1], (
    "bits per character tell another story"
)
assert by_leak["test"][-1] < 0.75 * by_leak["test"][0], (
    "a leak looks like a breakthrough"
)
assert by_leak["validation"][-1] > 0.9 * by_leak["validation"][0], (
    "and the control does not see it"
)


# %%
if profile != "smoke":
    assert by_step[T] > by_step[T // 2], "windows side by side are unfair"
print("The traps are there.")


# %% [markdown]
# and that the GPT writes text of its own, and about two hundred judgements tell 60 % from 50 %.

# %%
figures = results.record(
    "text_quality",
    profile,
    bits_per_character=round(bits, 3),
    characters=size,
    distinct_3_gpt=round(column["distinct"]["GPT"], 3),
    copied_share_gpt=round(column["copied"]["GPT"], 3),
    copied_share_held_out=round(column["copied"]["held out"], 3),
    perplexity_greedy_loop=round(perplexities["greedy loop"], 2),
    judgements_60_percent=text_metrics.judgements_needed(0.6),
)


# %%
print(
    figures["bits_per_character"],
    figures["copied_share_gpt"],
    figures["judgements_60_percent"],
)
assert 190 <= figures["judgements_60_percent"] <= 220, "about two hundred"
assert profile == "smoke" or figures["copied_share_gpt"] < 0.3, "text of its own"


# %% [markdown]
# ## Summary
#
# - Perplexity per token cannot be compared between tokenizers; bits per character can. Say the context and the step,
#   and look for leaks.
# - A low perplexity on real text is a merit of a model. In a text that a model wrote it is a sign of dullness.
# - BLEU compares wording with a reference. It needs one, and a figure is worth nothing without its tokenizer and
#   number of references.
# - Distinct-n, repeated share and copied share have no best value; the value of real text of the same length is the
#   goal.
# - Each measure can be fooled alone; together, and beside real text, they are harder to fool. None knows whether a
#   text is true.
# - People compare in pairs, blind, in random order. A preference of 60 % takes about two hundred independent
#   judgements.
#
# ## Check yourself
#
# **1.** A model of words reports a perplexity of 60 per word, a model of characters one of 2.4 per character. On their
# text a word has 5.6 characters, the space included. Which is better?

# %% tags=["hide-cell"]
# @title Solution
of_words = text_metrics.bits_per_character(
    math.log(60), tokens=1000, characters=5600
)
of_characters = text_metrics.bits_per_character(
    math.log(2.4), tokens=5600, characters=5600
)
print(f"words {of_words:.3f}, characters {of_characters:.3f} bits per character")
assert of_words < of_characters < math.log2(2.41)

# %% [markdown]
# **2.** The text played back escaped by one changed character in forty. Catch it: count a stretch as copied if *25*
# characters occur in the training text, and give the figure of held-out text beside it. What does the shorter stretch
# cost?

# %% tags=["hide-cell"]
# @title Solution
shorter = {
    name: text_metrics.copied_share(texts[name], train, 25)
    for name in ("disguised", "held out", "GPT")
}
for name, share in shorter.items():
    print(
        f"{name:12} {share:.3f}, from 50 characters on {column['copied'][name]:.3f}"
    )
assert shorter["disguised"] > 0.9 > shorter["held out"]

# %% [markdown]
# <details><summary>Answer</summary>
#
# It is caught, with a share of nearly 1. But now more of the real, new text counts as copied too, so that a little
# copying is harder to see. And if the new threshold is known, changing one character in twenty-five is enough.
#
# </details>
#
# **3.** BLEU of a whole test set is not the mean of the sentences' BLEU: the counts are added up first. Show it with
# two sentences, of which one has no group of four words in common with its reference.

# %% tags=["hide-cell"]
# @title Solution
pairs = [(candidates["a synonym"], reference), ("it is a list", "it is the list")]
whole = library([c for c, _ in pairs], [[r] for _, r in pairs]).item()
each = [library([c], [[r]]).item() for c, r in pairs]
print(
    f"together {whole:.3f}, one by one {each[0]:.3f} "
    f"and {each[1]:.3f}, mean {np.mean(each):.3f}"
)
assert 0 == each[1] < np.mean(each) < whole

# %% [markdown]
# **4.** 210 judgements, but of 10 readers, 21 each. Every reader has a taste of their own: reader $i$ prefers model A
# with a probability that is drawn evenly from 0.2 to 0.8, so on average there is no preference. How often does the
# sign test on all 210 find one?

# %% tags=["hide-cell"]
# @title Solution
tastes = rng.uniform(0.2, 0.8, size=(trials, 10))
for_a = rng.binomial(21, tastes).sum(axis=1)
alarms = np.mean(p_values[for_a] <= 0.05)
print(f"{alarms:.1%} of the studies find a difference that is not there")
assert alarms > 0.08

# %% [markdown]
# <details><summary>Answer</summary>
#
# Far more often than in 5 % of the cases. Judgements of one reader are correlated, so 210 of them are worth fewer than
# 210 independent ones. Ask many readers for a few judgements each, or test the readers' shares instead of the single
# votes.
#
# </details>
#
# **5.** A paper reports a perplexity of 15.2 for its model and 16.8 for an older one. Name four things to ask before
# you believe that the new model is better.
#
# <details><summary>Answer</summary>
#
# Is the tokenizer the same, or are both given in bits per character (or byte)? Were context and step equal? Is it the
# same test text, and was it looked for in the training text of *both*? How much does the figure vary over seeds? And,
# if the model is to write: what do its samples look like, by repetition, copies and the eyes of people?
#
# </details>
#
# **Graded assignment**: [the pieces of a language model](../exercises/language.ipynb).
#
# ## Further reading
#
# - C. E. Shannon, [A Mathematical Theory of Communication](https://doi.org/10.1002/j.1538-7305.1948.tb01338.x)
#   (1948): entropy of text, and the first samples of n-grams.
# - K. Papineni et al., [BLEU: a Method for Automatic Evaluation of Machine
#   Translation](https://doi.org/10.3115/1073083.1073135) (2002); M. Post, [A Call for Clarity in Reporting BLEU
#   Scores](https://arxiv.org/abs/1804.08771) (2018).
# - J. Li et al., [A Diversity-Promoting Objective Function for Neural Conversation
#   Models](https://arxiv.org/abs/1510.03055) (2016): distinct-n.
# - A. Holtzman et al., [The Curious Case of Neural Text Degeneration](https://arxiv.org/abs/1904.09751) (2020): the
#   most probable text is dull repetition, and real text is not the most probable.
# - M. Braverman et al., [Calibration, Entropy Rates, and Memory in Language Models](https://arxiv.org/abs/1906.05664)
#   (2020): the entropy of what large models write drifts upward.
# - K. Lee et al., [Deduplicating Training Data Makes Language Models Better](https://arxiv.org/abs/2107.06499)
#   (2022): long copies of 50 tokens, in training and test sets.
# - L. Theis, A. van den Oord and M. Bethge, [A note on the evaluation of generative
#   models](https://arxiv.org/abs/1511.01844) (2016): likelihood and samples.
# - D. Card et al., [With Little Power Comes Great Responsibility](https://arxiv.org/abs/2010.06595) (2020): how many
#   judgements it takes to see a difference.
# - J. Cohen, [A Coefficient of Agreement for Nominal Scales](https://doi.org/10.1177/001316446002000104) (1960).
#
# Back to [How good are these pictures?](image_quality.ipynb).
