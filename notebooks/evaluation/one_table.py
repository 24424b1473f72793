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
# # One table for every family
#
# **After this chapter you can**
#
# - read a table of generative models: what each column measures, and what it is blind to;
# - tell a difference from chance, by the spread over seeds and the floor of a distance;
# - say which family suits which purpose, and what the choice costs;
# - put a model of your own into the table.
#
# **You need**: the measures of [How good are these pictures?](image_quality.ipynb), and some of the families:
# [mixtures](../foundations/gaussian_mixture.ipynb), [VAEs](../vae/variational_autoencoder.ipynb),
# [GANs](../gan/dcgan.ipynb), [diffusion](../diffusion/denoising_diffusion.ipynb). · [How long this chapter takes to
# run](../../book/results.md)

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
import itertools
import json
import math
from importlib.resources import files

import matplotlib.pyplot as plt
import numpy as np
import torch
from IPython.display import HTML
from scipy.stats import spearmanr
from torch.nn import functional as F

from aigc_course import metrics, plots, results, training
from aigc_course.data import ImageData


# %%
plots.use_style()
profile = training.resolve_profile(profile)
draws = {"smoke": 200, "cpu": 1000, "gpu": 1000}[profile]
print(f"Profile {profile}: {draws} pictures of the row that you add yourself.")


# %% [markdown]
# ## Ten families, one set of digits
#
# Which kind of generative model should you use? Papers seldom let you tell. Each trains on its own data, at its own
# size, for as long as its authors could afford, and measures what it is good at. In this course ten families have
# learnt from the same 4,000 digits, so here they can be measured with one ruler:
#
# - **Gaussian mixture**: 20 normal distributions in the first 24 principal components
#   ([chapter](../foundations/gaussian_mixture.ipynb));
# - **VAE** ([chapter](../vae/variational_autoencoder.ipynb)), and **VQ-VAE with prior**: discrete codes, and a GPT that
#   writes them ([chapter](../vae/vector_quantised.ipynb));
# - **dense GAN**, **DCGAN** and **WGAN-GP** ([chapter](../gan/adversarial_game.ipynb), [chapter](../gan/dcgan.ipynb),
#   [chapter](../gan/wasserstein_gan.ipynb));
# - **PixelCNN** ([chapter](../likelihood/autoregressive_pixels.ipynb)) and **RealNVP**
#   ([chapter](../likelihood/normalising_flows.ipynb));
# - **diffusion** ([chapter](../diffusion/denoising_diffusion.ipynb)) and **flow matching**
#   ([chapter](../diffusion/flow_matching.ipynb)), with 20 evaluations of the network per picture and without guidance.
#
# Each is trained by its chapter's recipe, from three seeds, and draws 1,000 pictures. That takes two hours of one core,
# so `benchmarks/one_table.py` does it, and the figures come with the package.
#
# A row therefore measures a *recipe*: this network, trained for so long. A family is more than the recipe that a course
# chose for it. The recipes were made to run in a few minutes on a laptop, and the column of operations says how unequal
# they are. Nor are all asked for the same: the prior of the VQ-VAE, diffusion and flow matching are told which digit to
# draw, each digit equally often, and the others choose by themselves.

# %%
stored = json.loads(
    files("aigc_course")
    .joinpath("benchmarks/one_table.json")
    .read_text(encoding="utf-8")
)
rows = {row["model"]: row["runs"] for row in stored["rows"].values()}
for row in stored["rows"].values():
    print(f"{row['command']}: {row['date']}, {row['device']}")


# %% [markdown]
# ### What is measured
#
# *What the model costs.* **Parameters**, of all networks that training needs. **Training** in processor seconds of one
# core, and in operations, which do not depend on the machine. (Operations are those of matrix products and
# convolutions, as PyTorch counts them; the mixture's are estimated. The seconds were measured beside another job, which
# made them up to a tenth longer.) **Drawing**: processor seconds for 100 pictures.
#
# *How the pictures look.* Their features in the judge, the small classifier that
# [How good are these pictures?](image_quality.ipynb) introduced, are compared with those of the training pictures.
# **Fréchet distance** and **kernel distance**: how far apart are the two clouds of features? Smaller is better.
# **Precision** and **density**: do the samples lie where real digits are? **Recall** and **coverage**: do the real
# digits lie where samples are? **Sure**: the share of pictures of which the judge is at least 90 % sure.
#
# *Does the model copy?* The median distance of a sample to the nearest training picture, divided by that of a held-out
# digit to its nearest training picture. Near 0, the model plays back what it has seen. Values far above 1 are no merit
# either: such pictures are unlike any digit.
#
# One row differs in its data. PixelCNN draws *binary* pictures, each pixel black or white, and is compared with binary
# digits. Its distances have another floor than those of the others.

# %%
COLUMNS = {
    "parameters": ("parameters", "{:,.0f}"),
    "training_cpu_seconds": ("training, s", "{:,.0f}"),
    "training_operations": ("operations", "{:.1e}"),
    "cpu_seconds_per_100": ("100 pictures, s", "{:.3f}"),
    "frechet": ("Fréchet", "{:.2f}"),
    "kernel": ("kernel", "{:.2f}"),
    "precision": ("precision", "{:.2f}"),
    "recall": ("recall", "{:.2f}"),
    "density": ("density", "{:.2f}"),
    "coverage": ("coverage", "{:.2f}"),
    "confident_share": ("sure", "{:.2f}"),
    "copies": ("nearest", "{:.2f}"),
}


# %%
def figures_of(runs, column):  # one number for each seed
    if column == "copies":
        return [run["nearest"] / run["nearest_held_out"] for run in runs]
    return [run[column] for run in runs]


table = {
    model: {column: figures_of(runs, column) for column in COLUMNS}
    for model, runs in rows.items()
}
means = {
    model: {column: np.mean(values) for column, values in row.items()}
    for model, row in table.items()
}


# %% [markdown]
# Here is the table, the mean of three seeds in each cell and below it the difference between the highest and the
# lowest. **Click the head of a column to sort by it**, and once more for the other order.

# %% tags=["hide-input"]
SORT = """
const head = this.parentElement, body = this.closest('table').tBodies[0];
const up = head.getAttribute('aria-sort') !== 'ascending';
for (const other of head.parentElement.cells) other.removeAttribute('aria-sort');
head.setAttribute('aria-sort', up ? 'ascending' : 'descending');
const key = row => row.cells[head.cellIndex].dataset.key;
const words = (a, b) => key(a).localeCompare(key(b));
const order = (a, b) => isNaN(key(a)) ? words(a, b) : key(a) - key(b);
const sorted = [...body.rows].sort((a, b) => (up ? 1 : -1) * order(a, b));
sorted.forEach(row => body.append(row));
"""
BUTTON = "border:0;background:none;color:inherit;font:inherit;cursor:pointer"


# %% tags=["hide-input"]
def button(title):
    script = " ".join(SORT.split())
    inside = f'style="{BUTTON}" onclick="{script}"'
    return f"<th><button {inside}>{title}&nbsp;↕</button></th>"


# %% tags=["hide-input"]
def cell(values, form):
    middle, spread = np.mean(values), max(values) - min(values)
    small = f"<br><small>{form.format(spread)}</small>" if spread else ""
    return f'<td data-key="{middle:.6g}">{form.format(middle)}{small}</td>'


heads = "".join(button(title) for title, _ in [("model", ""), *COLUMNS.values()])
lines = [
    f'<tr><td data-key="{model}">{model}</td>'
    + "".join(cell(row[column], form) for column, (_, form) in COLUMNS.items())
    for model, row in table.items()
]
HTML(
    f'<div style="overflow-x:auto"><table><thead><tr>{heads}</tr></thead>'
    f"<tbody>{''.join(lines)}</tbody></table></div>"
)

# %% [markdown]
# > **Predict, then run.** How many of the ten columns of quality and cost have the same winner? (a) Nearly all: a good
# > model is good in everything. (b) The measures of looks agree, the costs do not. (c) No model wins more than a third
# > of the columns.

# %%
SMALL_IS_GOOD = {"parameters", "training_operations", "cpu_seconds_per_100"} | {
    "frechet",
    "kernel",
}
judged = [
    *("parameters", "training_operations", "cpu_seconds_per_100"),
    *("frechet", "kernel", "precision", "recall", "density", "coverage"),
    "confident_share",
]
winners = {}
for column in judged:
    sign = 1 if column in SMALL_IS_GOOD else -1
    winners[column] = min(means, key=lambda model: sign * means[model][column])
    print(f"{COLUMNS[column][0]:16s} {winners[column]}")


# %% [markdown]
# It is (c). The mixture wins the three columns of cost. The measures of looks do not agree either: three go to the VQ-VAE
# with its prior, three to the DCGAN, and recall to the PixelCNN. Whoever may choose the column may choose the winner.
#
# ## What is a difference, and what is chance?
#
# Two things set the scale. *The floor*: real digits that were not among the training pictures are no perfect score
# either. So many of them, drawn anew, have a distance to the others, with a mean and a spread. *The seeds*: the same
# recipe from three seeds gives three models.

# %%
floor = {data: values for data, values in stored["floor"].items()}
for data, (middle, deviation) in floor.items():
    print(f"real {data:13s} {middle:.2f}, standard deviation {deviation:.2f}")


# %% mystnb={"image": {"alt": "One row per model, three marks each, ordered by Fréchet distance on a logarithmic axis; a grey band at the left is the floor."}}
by_distance = sorted(means, key=lambda model: means[model]["frechet"])
figure, ax = plt.subplots(figsize=(6, 3.6))
for number, model in enumerate(by_distance):
    ax.plot(table[model]["frechet"], [number] * 3, "o", color=plots.COLOURS[0])
middle, deviation = floor["digits"]
ax.axvspan(middle - deviation, middle + deviation, color="grey", alpha=0.3)
ax.set_xscale("log")
ax.set_yticks(range(len(by_distance)), by_distance)
ax.invert_yaxis()
ax.set_xlabel("judge's Fréchet distance, three seeds (grey: the floor)")
plt.show()


# %% [markdown]
# As in [A GPT from the ground up](../language/gpt.ipynb) we are strict: one model is *better* in a column only if the
# worst of its three seeds beats the best of the other's three. Of neighbours in this order, how many can be told apart?

# %%
for first, second in itertools.pairwise(by_distance):
    a, b = table[first]["frechet"], table[second]["frechet"]
    told = "better than" if max(a) < min(b) else "not told apart from"
    print(f"{first:18s} {told:19s} {second}")


# %% [markdown]
# A ranking prints ten different places even where two of them are one: the first two models cannot be told apart here,
# nor can diffusion and flow matching. Three seeds are few, too: if two recipes were
# equally good, all three of one would still beat all three of the other in one of ten comparisons (of the 20 ways to
# divide six results into three and three, two are so), and there are 45 pairs.
#
# ## Do the measures agree?
#
# If all columns measured one thing, "quality", they would order the models alike. Spearman's rank correlation says how
# alike two orders are: 1 for the same order, 0 for none in common, −1 for the opposite.

# %% mystnb={"image": {"alt": "A square of rank correlations between seven columns, positive ones blue and negative ones red, with the number in each field."}}
looks = [*judged[3:], "cpu_seconds_per_100"]
values = np.array([[means[model][column] for column in looks] for model in means])
signs = [-1 if column in SMALL_IS_GOOD else 1 for column in looks]
agreement = spearmanr(values * signs).statistic
figure, ax = plt.subplots(figsize=(5.4, 5))
ax.imshow(agreement, cmap="RdBu", vmin=-1, vmax=1)
for (i, j), value in np.ndenumerate(agreement):
    colour = "white" if abs(value) > 0.6 else "black"
    ax.text(j, i, f"{value:.1f}", ha="center", va="center", color=colour)
titles = [COLUMNS[column][0] for column in looks]
ax.set_xticks(range(len(looks)), titles, rotation=60, ha="right")
ax.set_yticks(range(len(looks)), titles)
ax.grid(False)
plt.show()


# %% [markdown]
# Every column is turned so that more is better, speed too. Five columns give nearly one order: both distances, precision,
# density and coverage. The judge's confidence follows them less closely, and recall goes its own way. It asks how many
# real digits have a sample in their neighbourhood's reach, and a few samples that lie apart have wide neighbourhoods: the
# VAE, whose soft pictures are on the sixth place by distance, is second in recall. Speed stands against all of them.
#
# ## Quality, speed and coverage in one picture
#
# What a user wants is often three things at once: pictures that look right (a small distance), soon (few seconds per
# picture), and of every kind (coverage). In this picture the best place is the lower left, and a large mark covers more.

# %% mystnb={"image": {"alt": "Ten labelled discs: seconds per 100 pictures to the right, Fréchet distance upwards, both logarithmic; a disc's area is the coverage."}}
figure, ax = plt.subplots(figsize=(6, 4.6))
for number, (model, row) in enumerate(means.items()):
    x, y = row["cpu_seconds_per_100"], row["frechet"]
    colour = plots.COLOURS[number % len(plots.COLOURS)]
    ax.scatter(x, y, s=20 + 500 * row["coverage"], alpha=0.6, color=colour)
    ax.annotate(
        model, (x, y), xytext=(0, 9), textcoords="offset points", ha="center"
    )
ax.set_xscale("log")
ax.set_yscale("log")
ax.margins(0.15)
ax.set_xlabel("processor seconds for 100 pictures")
ax.set_ylabel("judge's Fréchet distance")
plt.show()


# %%
def beaten_by(model):  # whoever is better in all three
    wanted = ("cpu_seconds_per_100", "frechet", "coverage")

    def cost(name):
        return np.array(
            [means[name][c] * (-1 if c == "coverage" else 1) for c in wanted]
        )

    return [name for name in means if (cost(name) < cost(model)).all()]


for model in by_distance:
    better = beaten_by(model)
    others = " and ".join(better[:2]) + (", and more" if better[2:] else "")
    print(f"{model:18s} is beaten in all three by {others or 'nobody'}")

# %% [markdown]
# The lower left belongs to models that draw in one pass, and to the two best by distance. Diffusion and flow matching,
# the methods behind today's pictures, are beaten in all three. That is a true reading of this table, and would be a wrong
# one of the field. The table has one recipe for each, without guidance, on a thousandth of the data and of the time that
# made them famous. What the same network draws when it is guided, [Sampling and guidance](../diffusion/sampling_and_guidance.ipynb)
# measures. And the DCGAN's column of operations is as long as theirs: on this budget and at this size, nothing is lost by
# the older method.
#
# ## The column that most rows leave empty
#
# Two families give a probability for every picture, and they do not speak of the same pictures.

# %%
for model, runs in rows.items():
    if runs[0]["nats"] is not None:
        nats = [run["nats"] for run in runs]
        print(
            f"{model:10s} {np.mean(nats):8.1f} nats per test picture, seeds differ "
            f"by {max(nats) - min(nats):.1f}: {runs[0]['nats_of']}"
        )


# %% [markdown]
# The PixelCNN's number is minus the logarithm of a *probability*: a binary picture is one of finitely many. RealNVP's
# speaks of 256 levels of grey, is a bound from above, and would be another number for 16 levels. They must not stand in
# one column, and neither says how samples look. [Pixel by pixel](../likelihood/autoregressive_pixels.ipynb) compares the
# families that can be compared, on one fixed binarisation: there a mixture, the VAE's bound and the PixelCNN have the
# same units.
#
# ## Add a row of your own
#
# The ruler is short. Whatever draws pictures can be measured with it, your own model too: it takes pictures with values
# from 0 to 1, and compares them with the training pictures as the benchmark does.


# %%
digits = ImageData("digits")
train, held_out = digits.split("train")[0], digits.split("test")[0]
known = metrics.judge_features(train)
unseen = metrics.nearest(held_out, train).distances.median()


def measured(x, chosen):  # chosen: which real pictures stand for all
    features, again = metrics.judge_features(x), known[chosen]
    precision, recall = metrics.neighbour_precision_recall(features, again)
    density, coverage = metrics.neighbour_density_coverage(features, again)
    return {
        "frechet": float(metrics.frechet_distance(features, known)),
        **{"precision": precision, "recall": recall},
        **{"density": density, "coverage": coverage},
        "confident_share": metrics.confident_share(x),
        "copies": float(metrics.nearest(x, train).distances.median() / unseen),
    }


# %% [markdown]
# Two generators that nobody should use. The first draws every pixel by itself, with the mean and the spread that this
# pixel has in the training pictures. The second takes training pictures and adds a little noise.
#
# > **Predict, then run.** Which of the ten families does the second one beat in Fréchet distance? (a) None. (b) Some.
# > (c) All.

# %%
torch.manual_seed(0)
chosen = torch.randperm(len(train))[:draws]
noise = torch.randn(draws, 1, 28, 28)
own = {
    "pixels alone": (train.mean(dim=0) + train.std(dim=0) * noise).clamp(0, 1),
    "copies, noisy": (train[chosen] + 0.02 * noise).clamp(0, 1),
}
again = torch.randperm(len(train))[:draws]
added = {name: measured(x, again) for name, x in own.items()}
for column in added["pixels alone"]:
    figures = "   ".join(
        f"{name} {row[column]:6.2f}" for name, row in added.items()
    )
    print(f"{column:16s} {figures}")


# %%
beats = [
    m for m in means if added["copies, noisy"]["frechet"] < means[m]["frechet"]
]
print(f"the noisy copies have a smaller distance than {len(beats)} of {len(means)}")
print("nearest training picture:", f"{added['copies, noisy']['copies']:.2f}")
if profile != "smoke":
    assert len(beats) == len(means)
    assert added["copies, noisy"]["copies"] < 0.5
    assert added["pixels alone"]["frechet"] > max(
        means[model]["frechet"] for model in ("VAE", "DCGAN", "diffusion")
    )


# %% [markdown]
# It is (c), and it is why the last column is there. A model that has learnt nothing but the training set beats all ten
# families in Fréchet distance. Only the distance to the nearest training picture gives it away: its samples are
# far nearer to training pictures than new digits are. The other row has a lesson too: the judge is at least 90 % sure of
# every single picture of noise. A classifier that has seen nothing but digits has no word for "none of these".
#
# ## When it fails
#
# **The best seed is printed.** Nobody needs to lie: train three times, show the best. Suppose that the author of one model
# does so, and that the others are shown at their worst, as one finds them after a single try. To which place does each
# model rise?

# %%
risen = []
for place, model in enumerate(by_distance, start=1):
    best = min(table[model]["frechet"])
    rivals = [max(table[m]["frechet"]) for m in means if m != model]
    flattered = 1 + sum(rival < best for rival in rivals)
    risen += [model] if flattered < place else []
    print(f"{model:18s} by its mean on place {place}, flattered on {flattered}")


# %% [markdown]
# Three models rise by one place, the DCGAN to the first, each past one that it cannot be told apart from. Seeds of one
# recipe differ, and the more they do, the more the best of them flatters.
#
# **Rows have different numbers of samples.** The Fréchet distance of few pictures is larger, whatever they are
# ([why](image_quality.ipynb)). Here real digits of the training set are compared with all of it:

# %%
torch.manual_seed(0)
by_count = {}
for count in (100, 200, 500, 1000):
    some = known[torch.randperm(len(known))[:count]]
    by_count[count] = float(metrics.frechet_distance(some, known))
    print(f"{count:5d} real digits: {by_count[count]:.2f}")
assert by_count[100] > by_count[200] > by_count[1000]


# %% [markdown]
# ## What to choose when
#
# No row is best, so the question is what you want to do.
#
# | You want | Take | Since |
# | --- | --- | --- |
# | a first model, today | the mixture | it learns in two seconds, has a density, and shows what the others have to beat |
# | many pictures, soon | the DCGAN | one pass for each; of the fast models the only one with a small distance |
# | pictures to order, or parts of pictures restored | diffusion, flow matching | [one network](../diffusion/sampling_and_guidance.ipynb) does all of these without being trained for them; it costs many passes |
# | to work with codes: compress, compare, change one property | the VAE | an encoder and a smooth space of codes; [its pictures](../vae/variational_autoencoder.ipynb) are soft |
# | good pictures *and* codes, or pictures as tokens among words | the VQ-VAE with a prior | [discrete codes](../vae/vector_quantised.ipynb), and the smallest distance here with the fewest weights of the networks |
# | the probability of a picture | PixelCNN, or a flow | only these two rows have one; which of them depends on whether you want speed or nats |
#
# The third column is about what this course has measured, on digits of 28 by 28 pixels. For other data the columns stay,
# and the rows have to be run again.
#
# ## What the source articles got wrong here
#
# They compare families in words alone, without data, size or time of training, and offer measures that need an original
# for samples, which have none. See the [errata](../../book/errata.md#errata-evaluation).
#
# ## The promise
#
# This chapter promises a table with ten rows, three seeds in each, none of which is a copy of its training set, and
# that what the text says about the rows is true of them.

# %%
entries = [
    {"model": model, **{column: round(float(row[column]), 4) for column in COLUMNS}}
    for model, row in means.items()
]
figures = results.record(
    "one_table", profile, samples=stored["samples"], rows=entries
)
print(f"{len(figures['rows'])} rows; the best by distance: {by_distance[0]}")

# %%
assert len(table) == 10
for model, row in table.items():
    assert len(row["frechet"]) == 3, model
    assert min(row["copies"]) > 0.5, model
assert max(list(winners.values()).count(model) for model in means) <= 3
assert set(by_distance[:2]) == {"VQ-VAE with prior", "DCGAN"}
assert set(by_distance[2:4]) == {"diffusion", "flow matching"}
assert by_distance[5] == "VAE"
assert by_distance[-1] == "RealNVP"
assert sorted(means, key=lambda model: -means[model]["recall"])[1] == "VAE"
assert len(risen) == 3
assert "DCGAN" in risen
for model in ("diffusion", "flow matching"):
    assert {"DCGAN", "VQ-VAE with prior"} <= set(beaten_by(model))
print("All of it holds.")


# %% [markdown]
# ## Summary
#
# - A row measures a recipe: a network, its data and its training. Operations say how unequal recipes are.
# - Costs, looks and probabilities are different columns, and different models win them.
# - A distance needs its floor and its spread over seeds beside it. Two models are told apart only if all seeds of one beat
#   all seeds of the other, and with three seeds even that is chance in one of ten comparisons.
# - A model that copies wins all measures of looks. The distance to the nearest training picture, beside that of new
#   pictures, gives it away.
# - Nats of binary pictures and nats of grey ones must not stand in one column.
#
# ## Check yourself
#
# **1.** Three seeds against three: if two recipes are equally good, all three of one beat all three of the other in one
# of ten comparisons, one way or the other. How many seeds of each make this rarer than one in a hundred?

# %% tags=["hide-cell"]
# @title Solution
for seeds in range(2, 7):
    chance = 2 / math.comb(2 * seeds, seeds)
    print(f"{seeds} seeds of each: {chance:.4f}")
assert 2 / math.comb(8, 4) > 0.01 > 2 / math.comb(10, 5)

# %% [markdown]
# <details><summary>Answer</summary>
#
# Five. If both recipes draw their results from the same distribution, every way to divide the $2n$ results into $n$ and
# $n$ is equally likely, and two of them put all the best on one side.
#
# </details>
#
# **2.** Give the ruler digits that are blurred: each pixel is the mean of the three times three around it. Which of the
# measures notice, precision or recall? Think first.

# %% tags=["hide-cell"]
# @title Solution
blurred = F.avg_pool2d(held_out[:draws], 3, stride=1, padding=1)
sharp, soft = (
    measured(x, torch.arange(len(x))) for x in (held_out[:draws], blurred)
)
for column in ("frechet", "precision", "recall", "coverage", "confident_share"):
    print(f"{column:16s} {sharp[column]:6.2f} sharp, {soft[column]:6.2f} blurred")
assert soft["frechet"] > 2 * sharp["frechet"]

# %% [markdown]
# <details><summary>Answer</summary>
#
# Precision and recall both fall, and by about as much: blurred digits do not lie among the sharp ones, and sharp ones not
# among the blurred. The distance grows about eightfold. The judge hardly notices: it can still read what the digit is. So the
# share of pictures of which it is sure says whether pictures can be named, not whether they look right.
#
# </details>
#
# **3.** A colleague trains the DCGAN from twelve seeds and reports the best, with a Fréchet distance 0.3 below the mean
# of our three. What do you answer?
#
# <details><summary>Answer</summary>
#
# That the best of twelve is not to be compared with a mean of three. Ask for the mean and the spread of all twelve, or
# take the best of twelve of the other model too. And ask whether the distance by which it was chosen is the one that is
# reported: then it was fitted to this measure.
#
# </details>
#
# **4.** Somebody puts PixelCNN's nats and RealNVP's nats into one column and concludes that PixelCNN is nine times as
# good. Name two reasons why the numbers cannot be compared.
#
# <details><summary>Answer</summary>
#
# They speak of different data: PixelCNN of binary pictures, RealNVP of pictures with 256 levels of grey, in which there
# is much more to be said about each pixel. And one is the model's probability, the other a bound from above on the cost
# of a dequantised picture. A ratio would mean nothing even on the same data, since a change of units adds a constant.
#
# </details>
#
# ## Further reading
#
# - L. Theis, A. van den Oord and M. Bethge, [A note on the evaluation of generative
#   models](https://arxiv.org/abs/1511.01844) (2016): likelihood, looks and other purposes need not agree.
# - M. Lucic et al., [Are GANs Created Equal? A Large-Scale Study](https://arxiv.org/abs/1711.10337) (2018): with the
#   same budget for the search of settings, and several seeds, differences between losses of GANs shrink.
# - G. Stein et al., [Exposing flaws of generative model evaluation metrics and their unfair treatment of diffusion
#   models](https://arxiv.org/abs/2306.04675) (2023): rows of published models, and people as judges.
#
# Next: [How good is this text?](text_quality.ipynb).
