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
# # Gaussian mixtures: EM and gradients
#
# **After this chapter you can**
#
# - write down the density of a Gaussian mixture in many dimensions and compute it without overflow;
# - derive the EM algorithm, write it in thirty lines, and prove that it never makes the fit worse;
# - fit the same mixture by gradient descent, and say what has to be done about its constraints first;
# - choose the number of components on held-out data, and draw handwritten digits from the result;
# - recognise a collapsed component, a local optimum and switched labels.
#
# **You need**: density, likelihood and divergence from [What generating means](generative_models.ipynb); matrices and
# partial derivatives. · [How long this chapter takes to run](../../book/results.md)

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
import io
import math
import textwrap
from itertools import pairwise
from pprint import pprint

import matplotlib.pyplot as plt
import torch
from IPython.display import Image, display
from matplotlib.colors import to_rgb
from PIL import Image as Picture
from sklearn.mixture import GaussianMixture as SklearnMixture

from aigc_course import diagrams, metrics, mixture, plots, results, training
from aigc_course.data import load_images

# %%
plots.use_style()
profile = training.resolve_profile(profile)
most_steps = {"smoke": 4, "cpu": 200, "gpu": 500}[profile]
epochs = {"smoke": 1, "cpu": 40, "gpu": 80}[profile]
sizes = {
    "smoke": [1, 3],
    "cpu": [1, 2, 5, 10, 20, 40, 80],
    "gpu": [1, 2, 5, 10, 20, 40, 80],
}[profile]
print(
    f"Profile {profile}: up to {most_steps} steps of EM, "
    f"{epochs} epochs of gradient descent,"
)
print(f"on the digits with {', '.join(map(str, sizes))} components.")

# %% [markdown]
# ## Three clouds without names
#
# Take the zeros, ones and sevens among our digits, and keep two numbers of each picture: its coordinates along the two directions
# in which these pictures vary most. (They are the first two *principal components*. The singular value decomposition finds
# them, and each picture, minus the mean picture, is projected on them. A picture of 784 numbers becomes a point in the
# plane.)


# %%
def pictures(split, kinds=range(10)):  # -> (n, 784) and the labels
    images, labels = load_images("digits", split)
    kept = torch.isin(labels, torch.tensor(list(kinds)))
    return images[kept].flatten(1).double(), labels[kept]


# -> the mean picture (784,), and the directions (count, 784), one per row
def principal(x, count):
    directions = torch.linalg.svd(x - x.mean(dim=0), full_matrices=False).Vh[:count]
    # the sign is a convention
    return x.mean(dim=0), -directions * directions.sum(dim=1, keepdim=True).sign()


# %%
x, kind = pictures("train", [0, 1, 7])
mean_picture, directions = principal(x, 2)
z = (x - mean_picture) @ directions.T  # (n, 2)
z_valid = (pictures("validation", [0, 1, 7])[0] - mean_picture) @ directions.T
print(f"{len(z)} points to fit, {len(z_valid)} of the validation split, held out")

# %% mystnb={"image": {"alt": "Grey points in the plane: a broad cloud on the left, a dense narrow one on the right, a third below between them; all three touch."}}
plt.scatter(*z.T, s=6, color="grey")
plt.xlabel("first direction")
plt.ylabel("second direction")
plt.show()

# %% [markdown]
# The labels are withheld, yet one sees three clouds: a wide one, a narrow one, and one in between. To fit a Gaussian, a
# "bell", to each we would need to know which point belongs to which cloud. To tell which point belongs to which cloud we
# would need the bells. The way out of this circle is bold and simple: start with *any* bells, compute for each point how
# much it belongs to each of them, refit the bells to those shares, and repeat.

# %% [markdown]
# ## The model
#
# In $d$ dimensions a Gaussian has a mean $\mu$ with $d$ numbers and a **covariance matrix** $\Sigma$ of $d \times d$ numbers,
# which holds its width in every direction and its slant. Its log-density is
#
# $$
# \log \mathcal N(x; \mu, \Sigma) = -\tfrac12 \Big( d \log 2\pi + \log\det\Sigma + (x-\mu)^\top \Sigma^{-1} (x-\mu) \Big).
# $$
#
# The last term is a squared distance from the mean, counted in the Gaussian's own widths. One does not invert $\Sigma$ to
# compute it. Every positive definite covariance matrix factors into $\Sigma = L L^\top$ with $L$ lower triangular (the
# **Cholesky factor**, a kind of square root). Solve $L u = x - \mu$ from the top row down; then the squared distance is
# $\lVert u \rVert^2$, and $\log\det\Sigma$ is twice the sum of the logarithms of $L$'s diagonal. The same $L$ serves to
# draw: $\mu + L\varepsilon$ with standard normal $\varepsilon$ has the covariance $L L^\top = \Sigma$.
#
# The mixture adds $K$ Gaussians, its **components**, with weights $\pi_k \ge 0$ that sum to 1:
#
# $$p(x) = \sum_{k=1}^{K} \pi_k \, \mathcal N(x; \mu_k, \Sigma_k).$$
#
# Behind it stands a story with a **latent variable** (a hidden one): first a component $k$ is chosen with the probability
# $\pi_k$, then $x$ is drawn from it, and $k$ is not recorded. Bayes' rule says how probable each $k$ is once $x$ is known:
#
# $$
# r_{nk} = p(k \mid x_n) = \frac{\pi_k \, \mathcal N(x_n; \mu_k, \Sigma_k)}{\sum_{j} \pi_j \, \mathcal N(x_n; \mu_j, \Sigma_j)} .
# $$
#
# This is the **responsibility** of component $k$ for point $n$; the responsibilities for a point sum to 1.

# %% [markdown]
# The model as a drawing. A circle is a random variable, and a shaded one is observed. An arrow points from what is
# drawn first to what depends on it. A frame is repeated: the upper one for each of the $N$ points, the lower one for
# each of the $K$ components. Such a drawing is called a **graphical model**.

# %% tags=["hide-input"]
diagrams.draw(
    "A graphical model. The weights pi point to the hidden component k, which "
    "points to the observed point x, in a frame marked N. The parameters mu and "
    "Sigma, in a frame marked K, point to x too.",
    {"π": (0, 0), "k": (1.4, 0), "x": (2.8, 0), "μ, Σ": (2.8, 1.5)},
    [("π", "k", "x"), ("μ, Σ", "x")],
    variables=["k"],
    observed=["x"],
    bare=["π", "μ, Σ"],
    plates=[(0.9, -0.5, 3.4, 0.65, "N"), (2.2, 1.1, 3.4, 2.0, "K")],
)

# %% [markdown]
# ## From scratch
#
# The **E-step** (E for expectation) computes the responsibilities, with the parameters held fixed. It works with logarithms:
# far from every component the densities are too small for any floating-point number, but their logarithms are not.


# %%
def log_gaussian(x, mean, covariance):  # (n, d), (d,), (d, d) -> (n,)
    L = torch.linalg.cholesky(covariance)
    u = torch.linalg.solve_triangular(L, (x - mean).T, upper=False)  # (d, n)
    return (
        -0.5 * (len(mean) * math.log(2 * math.pi) + u.square().sum(dim=0))
        - L.diagonal().log().sum()
    )


# -> responsibilities (n, k), log-likelihood in nats per point
def e_step(x, weights, means, covariances):
    parts = zip(weights, means, covariances, strict=True)
    log_joint = torch.stack(
        [pi.log() + log_gaussian(x, mu, sigma) for pi, mu, sigma in parts], dim=1
    )
    log_p = log_joint.logsumexp(dim=1)
    return (log_joint - log_p[:, None]).exp(), log_p.mean()


# %% [markdown]
# The **M-step** (M for maximisation) refits each component to its share of the points. With $N_k = \sum_n r_{nk}$, the
# number of points that belong to component $k$ when shares are counted,
#
# $$
# \pi_k = \frac{N_k}{N}, \qquad \mu_k = \frac{1}{N_k} \sum_n r_{nk}\, x_n, \qquad
# \Sigma_k = \frac{1}{N_k} \sum_n r_{nk}\, (x_n - \mu_k)(x_n - \mu_k)^\top .
# $$
#
# With one component all $r_{nk}$ are 1, and these are the mean and covariance of the data.


# %%
def m_step(x, r):
    counts = r.sum(dim=0)
    means = r.T @ x / counts[:, None]
    covariances = []
    for k, mean in enumerate(means):
        covariances.append((r[:, k, None] * (x - mean)).T @ (x - mean) / counts[k])
    return counts / len(x), means, torch.stack(covariances)


# %% [markdown]
# We start badly on purpose: three wide components side by side, all low in the data.

# %%
start = mixture.GaussianMixture(
    weights=torch.full((3,), 1 / 3, dtype=torch.float64),
    means=torch.tensor(
        [[-2.0, -3.0], [0.0, -3.0], [2.0, -3.0]], dtype=torch.float64
    ),
    covariances=torch.cov(z.T).expand(3, 2, 2).contiguous(),
)
parameters = (start.weights, start.means, start.covariances)


# %%
scratch_curve = []
for _ in range(most_steps):
    r, log_likelihood = e_step(z, *parameters)
    scratch_curve.append(log_likelihood.item())
    parameters = m_step(z, r)
print(
    f"log-likelihood: {scratch_curve[0]:.3f} nats per point at the start, "
    f"{scratch_curve[-1]:.3f} at the end"
)


# %% [markdown]
# ## With the package
#
# `mixture.GaussianMixture` holds the three parameters and has the methods `log_prob`, `responsibilities` and `sample`;
# `mixture.em_step` is one E-step and one M-step; `mixture.fit_em` repeats it until the log-likelihood changes by less than `tol`.
# There is one addition: `reg_covar`, a tiny number added to every variance. You will see below what it is for.

# %%
path = [start]
for _ in range(most_steps):
    path.append(mixture.em_step(path[-1], z, reg_covar=0.0))
for ours, theirs in zip(
    parameters,
    (path[-1].weights, path[-1].means, path[-1].covariances),
    strict=True,
):
    assert torch.allclose(ours, theirs, atol=1e-6)
em, curve = mixture.fit_em(z, 3, start=start, tol=1e-6, max_steps=most_steps)
assert max(abs(a - b) for a, b in zip(curve, scratch_curve, strict=False)) < 1e-5
print(
    f"from scratch and package agree; fit_em stopped after {len(curve) - 1} steps"
)

# %% [markdown]
# Now watch it. Each point is coloured by its responsibilities, blue, orange and green in proportion. The ellipses are
# drawn at two standard deviations around each mean.


# %%
def draw(ax, model):
    palette = [to_rgb(colour) for colour in plots.COLOURS[: len(model.weights)]]
    colours = torch.tensor(palette, dtype=torch.float64)
    blends = (model.responsibilities(z) @ colours).clamp(0, 1).numpy()
    ax.scatter(*z.T, s=6, c=blends)
    angle = torch.linspace(0, 2 * math.pi, 100, dtype=torch.float64)
    circle = torch.stack([angle.cos(), angle.sin()])
    for mean, L in zip(model.means, model.scale_tril, strict=True):
        ax.plot(*(mean[:, None] + 2 * L @ circle), color="black", linewidth=1.5)
        ax.plot(*mean, "+", color="black", markersize=10)
    ax.set(xlim=(-10.5, 7), xlabel="first direction")
    ax.set(ylim=(-8.5, 6.5), ylabel="second direction")


# %%
def frame(step):  # one picture of the loop, with a palette of its own
    figure, ax = plt.subplots(figsize=(5.4, 4.2), dpi=80)
    draw(ax, path[step])
    ax.set_title(f"$t = {step}$")
    figure.canvas.draw()
    picture = Picture.frombuffer(
        "RGBA", figure.canvas.get_width_height(), figure.canvas.buffer_rgba()
    )
    plt.close(figure)
    return picture.convert("RGB").quantize(colors=64)


# %%
shown = [
    step
    for step in [0, 1, 2, 3, 4, 6, 8, 11, 14, 17, 20, 23, 26, 30, 36]
    if step < len(path)
]
# the end comes first: it is what a printed page shows
frames = [frame(step) for step in [shown[-1], *shown]]
buffer = io.BytesIO()
pauses = [1500] + [450] * len(shown)
frames[0].save(
    buffer, "GIF", save_all=True, append_images=frames[1:], duration=pauses, loop=0
)
print(f"{len(frames)} frames, step t written above each")


# %% mystnb={"image": {"alt": "Animation: three overlapping ellipses low in the data rise, part, and settle one on each cloud; at the end each cloud has its own colour."}}
display(
    Image(
        data=buffer.getvalue(),
        format="gif",
        alt="EM moves three ellipses from low in the data onto its clouds",
    )
)


# %%
def agreement(model):  # of the most responsible component with the digit
    choice = model.responsibilities(z).argmax(dim=1)
    counts = [torch.bincount(kind[choice == k]).max() for k in choice.unique()]
    return sum(counts).item() / len(z)


if profile != "smoke":
    assert agreement(path[6]) < 0.8, "two components still share two clouds"
    assert agreement(path[30]) > 0.9, "and now each has its own"
    unsure = em.responsibilities(z).amax(dim=1) < 0.9
    assert 0.01 < unsure.double().mean() < 0.2, "between two clouds"


# %% [markdown]
# The loop begins with the end, for those who read on paper. At $t = 0$ all three components overlap. Within a few steps
# they rise and turn, and the left one has found the left cloud. The other two still share two clouds
# wrongly; for some twenty steps the border between them moves, until each cloud has its own component. Points between two
# clouds keep mixed colours. That is right: the model cannot know to which they belong, and says so.

# %% [markdown]
# ## Why it cannot get worse
#
# The log-likelihood has a sum inside the logarithm, $\log \sum_k \pi_k \mathcal N_k$, and so its maximum has no closed
# form. Take any numbers $q_{nk} > 0$ that sum to 1 over $k$, multiply and divide by them, and use that the logarithm of
# an average is at least the average of the logarithms (**Jensen's inequality**, proved in the
# [previous chapter](generative_models.ipynb)):
#
# $$
# \log p(x_n) = \log \sum_k q_{nk} \frac{\pi_k \mathcal N(x_n; \mu_k, \Sigma_k)}{q_{nk}}
# \;\ge\; \sum_k q_{nk} \log \frac{\pi_k \mathcal N(x_n; \mu_k, \Sigma_k)}{q_{nk}} .
# $$
#
# The right side is a **lower bound**. Since $\pi_k \mathcal N_k = p(k \mid x_n)\, p(x_n)$, the gap between the sides is
#
# $$\log p(x_n) - \text{bound} = \sum_k q_{nk} \log \frac{q_{nk}}{p(k \mid x_n)} = D_{\mathrm{KL}}\big(q_n \,\|\, p(\cdot \mid x_n)\big),$$
#
# a Kullback–Leibler divergence, as in the previous chapter. Now each of the two steps has a meaning.
#
# - **E-step**: choose $q_{nk} = p(k \mid x_n)$, the responsibilities. The divergence is zero: the bound *touches* the
#   log-likelihood.
# - **M-step**: hold $q$ fixed and raise the bound as far as it goes. The sum is outside the logarithm now, and
#   $\sum_n \sum_k r_{nk} \big(\log \pi_k + \log \mathcal N(x_n; \mu_k, \Sigma_k)\big)$ splits into one part for each
#   component and one for the weights. The derivative with respect to $\mu_k$ is
#   $\Sigma_k^{-1} \sum_n r_{nk} (x_n - \mu_k)$, which is zero at the weighted mean above. With respect to
#   $\Sigma_k^{-1}$ it is $\tfrac12 \sum_n r_{nk} \big(\Sigma_k - (x_n - \mu_k)(x_n - \mu_k)^\top\big)$, since
#   $\log \det \Sigma_k^{-1}$ has the derivative $\Sigma_k$; it is zero at the weighted covariance about that mean.
#   For the weights, with the condition $\sum_k \pi_k = 1$ and a Lagrange multiplier $\lambda$, $N_k / \pi_k = \lambda$ for
#   every $k$; summing $N_k = \lambda \pi_k$ over $k$ gives $\lambda = N$, so $\pi_k = N_k / N$.
#
# After the M-step the log-likelihood is at least the new bound, which is at least the old bound, which was the old
# log-likelihood. **So it never falls.** Let us see one such step. From $t = 4$ we move the means along the line from
# where they are to where the M-step puts them, and leave everything else as it is.


# %%
# the means on the line from the model (s = 0) to the target (s = 1)
def moved(model, target, s):
    means = model.means + s * (target.means - model.means)
    return mixture.GaussianMixture(model.weights, means, model.covariances)


old, new = path[4], mixture.em_step(path[4], z, reg_covar=0.0)
r = old.responsibilities(z)
line = torch.linspace(-2, 4, 61)


# %%
true, bound = [], []
for s in line:
    model = moved(old, new, s.double())
    true.append(model.log_prob(z).mean().item())
    bound.append(
        (r * (model.log_joint(z) - r.clamp(min=1e-300).log()))
        .sum(dim=1)
        .mean()
        .item()
    )
print(
    f"gap at s = 0: {abs(true[20] - bound[20]):.6f}; "
    f"the bound is highest at s = {line[bound.index(max(bound))]:.1f}"
)


# %% mystnb={"image": {"alt": "Two hill-shaped curves that touch at s = 0; the dashed one stays below and has its top at s = 1, where the solid one is higher than at s = 0."}}
plt.plot(line, true, label="log-likelihood")
plt.plot(line, bound, "--", label="bound")
plt.plot([0], [true[20]], "o", color="black", label="E-step: touch")
plt.plot(
    [1], [max(bound)], "^", color=plots.COLOURS[3], label="M-step: top of the bound"
)
plt.xlabel("s, along the line of the M-step")
plt.ylabel("nats per point")
plt.legend()
plt.show()
assert all(b <= t + 1e-12 for b, t in zip(bound, true, strict=True))
assert abs(line[bound.index(max(bound))] - 1) < 1e-5
assert true[30] > bound[30] >= bound[20] - 1e-12

# %% [markdown]
# The bound touches at $s = 0$ and lies below everywhere else. Its top is at $s = 1$, where the M-step goes; the
# log-likelihood there is higher still. Then a new E-step makes a new bound that touches there.
#
# Remember this bound. When the latent variable is not one of $K$ choices but a whole vector, and a network stands in place
# of the Gaussians, the posterior can no longer be computed. The bound still holds. It is then called the **ELBO**, and the
# [variational autoencoder](../vae/variational_autoencoder.ipynb) trains on it, with a second network that proposes $q$.

# %% mystnb={"image": {"alt": "Two panels against steps of EM. Left: the log-likelihood rises steeply and then levels off. Right, on a logarithmic axis, the rise of each step: it falls, grows once more to a hump, and then falls away."}}
rises = [after - before for before, after in pairwise(curve)]
figure, (left, right) = plt.subplots(1, 2, figsize=(6, 3))
left.plot(curve)
left.set(xlabel="steps of EM", ylabel="log-likelihood (nats per point)")
right.plot(range(1, len(curve)), rises)
right.set(xlabel="step of EM", ylabel="rise in this step", yscale="log")
plt.show()
print(f"smallest change in a step: {min(rises):.1e} nats")
assert min(rises) >= -1e-9, "EM never lowers the log-likelihood"
assert profile == "smoke" or max(rises[14:]) > 1.5 * min(rises[8:16]), "the hump"

# %% [markdown]
# The curve on the left climbs in every step. Seen from afar it seems to have levelled off half-way, but the panel on the
# right, which shows the rise of each step, has a hump there: the two components that share two clouds are still
# moving to one cloud each, as in the loop above. A flat stretch does not always mean the end.
#
# **A second opinion.** scikit-learn has the same model, written by other people. From the same start it must reach the same
# result:

# %%
tol = 1e-6 if profile != "smoke" else 0.05


# of the held-out log-likelihood, from the same start
def gap_to_scikit_learn(x, x_valid, start, reg_covar=1e-6):
    count = len(start.weights)
    begin = {
        "weights_init": start.weights,
        "means_init": start.means,
        "precisions_init": start.covariances.inverse(),
    }
    theirs = SklearnMixture(count, tol=tol, max_iter=1000, reg_covar=reg_covar)
    theirs.set_params(**{name: value.numpy() for name, value in begin.items()})
    theirs.fit(x.numpy())
    alike = {"start": start, "tol": 0.0, "max_steps": theirs.n_iter_}
    ours, _ = mixture.fit_em(x, count, **alike, reg_covar=reg_covar)
    return abs(ours.log_prob(x_valid).mean().item() - theirs.score(x_valid.numpy()))


# %%
gap_plane = gap_to_scikit_learn(z, z_valid, start)
print(
    "held-out log-likelihood: "
    f"difference from scikit-learn {gap_plane:.6f} nats per point"
)


# %% [markdown]
# ## The same mixture by gradient descent
#
# EM needs a model whose M-step can be solved. Gradient descent needs only the derivative of the log-likelihood, which
# PyTorch computes for us. But it knows nothing of constraints.
#
# > **Predict, then run.** We follow the gradient of the log-likelihood with respect to the weights, means and covariances
# > as they are, for a few steps. What breaks? (a) Nothing. (b) The weights no longer sum to 1. (c) That, and a covariance
# > matrix stops being one.

# %%
doubled = em.weights, em.means, 2 * em.covariances
learnt = [parameter.clone().requires_grad_() for parameter in doubled]
weights, means, covariances = learnt


# %%
for step in range(1, 4):
    parts = zip(weights, means, covariances, strict=True)
    log_joint = [pi.log() + log_gaussian(z, mu, sigma) for pi, mu, sigma in parts]
    log_likelihood = torch.stack(log_joint, dim=1).logsumexp(dim=1).mean()
    gradients = torch.autograd.grad(log_likelihood, learnt)
    with torch.no_grad():
        for parameter, gradient in zip(learnt, gradients, strict=True):
            parameter += gradient  # a learning rate of 1
    narrowest = torch.linalg.eigvalsh(covariances).min()
    weighed = f"the weights sum to {weights.sum():.2f}"
    print(f"step {step}: {weighed}, the smallest variance is {narrowest:.3f}")
    if narrowest <= 0:
        break
assert weights.sum() > 1.5
assert profile == "smoke" or narrowest < 0


# %% [markdown]
# It is (c). The "likelihood" can be raised without limit by making the weights larger, so the gradient does that. And the
# components, which we had made twice as wide as they should be, shrink: one step a little too long, and a variance is
# negative. No distribution has such a covariance. The cure is to change the variables, so that *every* value of the new
# ones is allowed:
#
# - weights: $\pi = \operatorname{softmax}(a)$, positive with sum 1 for any numbers $a$;
# - covariances: $\Sigma_k = L_k L_k^\top$ with $L_k$ lower triangular and the *exponential* of a free number in each entry
#   of its diagonal, so that $\Sigma_k$ is always positive definite.
#
# The trick returns often in the course: a network's outputs are free numbers, and a function turns them into what is
# needed. `mixture.GradientMixture` is this model as a `LightningModule`; `training.fit` runs Adam on batches of 128 points.

# %%
torch.manual_seed(0)
descent = mixture.GradientMixture(start, learning_rate=0.1)
# the same start
assert torch.allclose(descent.mixture().covariances, start.covariances, atol=1e-4)
points = mixture.PointData(z, z_valid, batch_size=128)
history = training.fit(descent, points, max_epochs=epochs)
reached = descent.mixture().log_prob(z).mean().item()
print("log-likelihood on the training points, nats per point:")
print(f"EM {curve[-1]:.4f}, gradient descent {reached:.4f}")
gap_descent = curve[-1] - reached
assert profile == "smoke" or abs(gap_descent) < 0.01

# %% mystnb={"image": {"alt": "Two rising curves against passes over the data that end at the same height."}}
plt.plot(curve, label="EM")
passes = range(1, epochs + 1)
plt.plot(
    passes,
    [-loss for loss in history["train_loss"]],
    "--",
    marker="." if epochs < 3 else "",
    label="gradient descent",
)
plt.xlabel("passes over the data")
plt.ylabel("log-likelihood (nats per point)")
plt.legend()
plt.show()

# %% [markdown]
# Both end at the same height. One pass is one step of EM, or ten steps of Adam. EM needs no learning rate; gradient descent
# does, and with another choice the curve would look different. On the other hand gradient descent moves after
# every batch, not once per pass, and it works for every model with a derivative. This is why the rest of the course relies
# on it.

# %% [markdown]
# ## Drawing digits
#
# Now all ten digits, and 30 directions instead of two. Much of each picture is lost; here is what 30 numbers keep:

# %% mystnb={"image": {"alt": "Upper row: eight digits. Lower row: the same digits rebuilt from thirty numbers, blurred but legible."}}
x_all, _ = pictures("train")
mean_all, basis = principal(x_all, 30)
codes = {
    split: (pictures(split)[0] - mean_all) @ basis.T
    for split in ("train", "validation", "test")
}


def as_pictures(codes):  # (n, 30) -> (n, 1, 28, 28)
    return (codes @ basis + mean_all).clamp(0, 1).view(-1, 1, 28, 28)


originals = pictures("test")[0][:8].view(-1, 1, 28, 28)
plots.image_grid(
    torch.cat([originals, as_pictures(codes["test"][:8])]),
    row_labels=["original", "30 numbers"],
)
plt.show()

# %% [markdown]
# Blurred, but legible. So a density for these 30 numbers, the *code* of a picture, is a generator of digits: draw a code
# from the mixture, and go back from code to picture. How many components? In 30 dimensions each has
# $30 + 30 \cdot 31 / 2 + 1 = 496$ free parameters, and there are 4,000 pictures. The validation split decides.
#
# > **Predict, then run.** With 80 components, will held-out digits fare (a) best, (b) a little worse than with the best
# > number of components, (c) many nats worse?

# %%
fits, digit_rises = {}, []
for k in sizes:
    fits[k], c = mixture.fit_em(
        codes["train"], k, reg_covar=1e-3, max_steps=most_steps
    )
    digit_rises += [after - before for before, after in pairwise(c)]


# %%
nats = {
    split: {k: fit.log_prob(codes[split]).mean().item() for k, fit in fits.items()}
    for split in ("train", "validation")
}
for k in sizes:
    print(
        f"{k:2d} components: {nats['train'][k]:.2f} on training, "
        f"{nats['validation'][k]:.2f} on validation"
    )
best = max(sizes, key=lambda k: nats["validation"][k])
print(
    f"chosen: {best} components. Largest fall in any step: "
    f"{max(0.0, -min(digit_rises)):.4f} nats"
)


# %% mystnb={"image": {"alt": "Two curves against the number of components. Training rises all the way; validation rises to a maximum at a medium number and then falls."}}
for name, marker in [("train", "o"), ("validation", "s")]:
    plt.plot(sizes, [nats[name][k] for k in sizes], marker=marker, label=name)
plt.xscale("log")
plt.xticks(sizes, [str(k) for k in sizes])
plt.minorticks_off()
plt.xlabel("components")
plt.ylabel("log-likelihood (nats per picture)")
plt.legend()
plt.show()
if profile != "smoke":
    assert list(nats["train"].values()) == sorted(nats["train"].values())
    assert 1 < best < 80
    assert nats["validation"][best] - nats["validation"][80] > 3

# %% [markdown]
# It is (c). On the training pictures each larger number of components is better. On held-out pictures more components help
# up to a point, and then cost many nats: with 80 of them a component has about fifty pictures from which to estimate the
# widths of 30 directions. This is overfitting again. (The theorem is about the exact M-step. `reg_covar`, here 0.001, widens
# the components a little after each, so that a step *may* lose a trace; the printed largest fall says whether one did.)
#
# Let us draw: above from a single Gaussian, below from the mixture that the validation split chose.

# %% tags=["gallery"] mystnb={"image": {"alt": "Four rows of generated pictures. The upper two come from one Gaussian, the lower two from the mixture; both are blurred, the lower ones differ more from each other."}}
rows = [fits[k].sample(16, torch.Generator().manual_seed(3)) for k in (1, best)]
plots.image_grid(
    as_pictures(torch.cat(rows)), row_labels=["one Gaussian", "", "mixture", ""]
)
plt.show()

# %%
for k in (1, best):
    drawn = as_pictures(fits[k].sample(1000, torch.Generator().manual_seed(4)))
    sure = metrics.confident_share(drawn)
    commonest = metrics.digit_shares(drawn).max().item()
    print(
        f"{k:2d} components: the judge is sure of {sure:.0%}; "
        f"{commonest:.0%} are to it one and the same digit"
    )
    assert profile == "smoke" or (commonest > 0.5) == (k == 1)

# %% [markdown]
# The single Gaussian treats all kinds of digits as one, and draws crossings of them. The mixture first chooses a component,
# and then varies only within it. A small network that has learnt to read digits is the **judge** of this course's
# pictures. It takes more than half of the first kind for one and the same digit, and less than half of the second. Both
# are blurred, as the copies above were: 30 directions do not hold sharp strokes. Still, this is a **real generator**, without a network,
# trained in seconds. Here is the mean of each of its components:

# %% mystnb={"image": {"alt": "Blurred digits, the means of the components; several digits appear more than once in different slants."}}
order = fits[best].weights.argsort(descending=True)
plots.image_grid(as_pictures(fits[best].means[order][:24]))
plt.show()

# %%
chosen = fits[best].responsibilities(codes["train"]).argmax(dim=1)
labels = pictures("train")[1]
of_one_digit = [
    torch.bincount(labels[chosen == k]).max().item() for k in chosen.unique()
]
purity = sum(of_one_digit) / len(labels)
print(f"{purity:.0%} of the pictures are of the digit most frequent")
print("in the component that is most responsible for them")
assert profile == "smoke" or purity > 0.6

# %% [markdown]
# No label was used, and yet most components hold mainly one digit in one style: the same digit comes upright, slanted, wide
# or narrow.
#
# We now **measure** once on the test split, and add gradient descent from the same start as EM:

# %%
begin = mixture.initialise(codes["train"], best, reg_covar=1e-3)
by_gradient = mixture.GradientMixture(begin, learning_rate=0.05)
data = mixture.PointData(codes["train"], codes["validation"], batch_size=200)
digit_history = training.fit(by_gradient, data, max_epochs=epochs)
test_nats = {
    "one Gaussian": fits[1],
    "mixture, EM": fits[best],
    "mixture, by gradient": by_gradient.mixture(),
}
for name, model in test_nats.items():
    test_nats[name] = -model.log_prob(codes["test"]).mean().item()
    print(f"{name:20s} {test_nats[name]:.2f} nats per picture")

# %% mystnb={"image": {"alt": "Cost of training and validation against epochs of gradient descent: both fall steeply and flatten; validation stays above."}}
plots.curves(
    digit_history, ["train_loss", "val_loss"], ylabel="cost (nats per picture)"
)
plt.show()
assert profile == "smoke" or digit_history["val_loss"][-1] > (
    digit_history["train_loss"][-1] + 1
)

# %% [markdown]
# A nat is a factor of $e$ in the geometric average of the densities: the mixture gives held-out digits a far higher density
# than the single Gaussian does. A sick curve would look different: a validation cost that turns upwards while the
# training cost falls (overfitting), or a sudden plunge of the training cost (a collapse, see below).
#
# EM and gradient descent began at the same place and did not reach the same likelihood. Has each stopped on a maximum of its
# own? We can ask: start EM where gradient descent ended. On a maximum it would stay where it is. We do so from three
# starts, on the training pictures:

# %%
starts = [0, 1, 2] if profile != "smoke" else [0]
continued = []
for seed in starts:
    begin = mixture.initialise(codes["train"], best, seed=seed, reg_covar=1e-3)
    options = {"reg_covar": 1e-3, "max_steps": most_steps}
    _, em_curve = mixture.fit_em(codes["train"], best, start=begin, **options)
    if seed > 0:
        by_gradient = mixture.GradientMixture(begin, learning_rate=0.05)
        training.fit(by_gradient, data, max_epochs=epochs)
    end = by_gradient.mixture()
    _, c = mixture.fit_em(codes["train"], best, start=end, **options)
    continued.append(c)
    print(f"start {seed}: EM {em_curve[-1]:.2f}, gradient {c[0]:.2f},", end=" ")
    print(f"then one step of EM {c[1]:.2f}, and more {c[-1]:.2f}")
assert profile == "smoke" or min(c[-1] - c[0] for c in continued) > 0.02

# %% [markdown]
# EM rises at once, so gradient descent had not arrived at a maximum: with this learning rate and this number of epochs it
# stopped on a slope. Compare the last figures with those of EM from the same start: the two ways lead to different maxima,
# and which is higher may differ from start to start.
#
# > **About these nats.** They are densities of 30 numbers. The pixel models of the other chapters give probabilities to 784
# > pixels, so the two kinds cannot be compared: what lies outside the 30 directions costs nothing here.
#
# Does scikit-learn agree in 30 dimensions too?

# %%
begin = mixture.initialise(codes["train"], min(10, max(sizes)), reg_covar=1e-3)
gap_digits = gap_to_scikit_learn(
    codes["train"], codes["validation"], begin, reg_covar=1e-3
)
print(
    "held-out log-likelihood: "
    f"difference from scikit-learn {gap_digits:.6f} nats per picture"
)
assert max(gap_plane, gap_digits) <= 1e-3

# %% [markdown]
# ## When it fails: three ways
#
# **A component collapses on a point.** Take our three components in the plane and add a fourth, tiny one, with its mean
# exactly on a data point. The smaller its width $s$, the higher its density at that point, without limit.


# %%
# our mixture, plus a component of the width s and the weight of one point, on the
# first point
def with_a_fourth(s):
    share = torch.tensor([1 / len(z)], dtype=torch.float64)
    weights = torch.cat([em.weights * (1 - share), share])
    covariance = s**2 * torch.eye(2, dtype=torch.float64)[None]
    return mixture.GaussianMixture(
        weights,
        torch.cat([em.means, z[:1]]),
        torch.cat([em.covariances, covariance]),
    )


# %%
widths = torch.logspace(0, -12, 25, dtype=torch.float64)
gain = {"training points": [], "validation points": []}
for s in widths:
    for name, values in zip(gain, (z, z_valid), strict=True):
        gain[name].append(
            (with_a_fourth(s).log_prob(values) - em.log_prob(values)).sum().item()
        )
climb = [after - before for before, after in pairwise(gain["training points"])]
assert min(climb[8:]) > 0.9 * max(climb[8:]) > 0, "a straight line"
assert max(abs(value) for value in gain["validation points"][4:]) < 0.5


# %% mystnb={"image": {"alt": "Against a shrinking width: once the component is narrow, the gain on training points climbs in a straight line without end; that on validation points stays near zero."}}
for (name, values), style in zip(gain.items(), ["-", "--"], strict=True):
    plt.plot(widths, values, style, label=name)
plt.xscale("log")
plt.gca().invert_xaxis()
plt.xlabel("width s of the fourth component")
plt.ylabel("gain in log-likelihood (nats)")
plt.legend()
plt.show()

# %% [markdown]
# The likelihood of the training points has no maximum: each time the width shrinks by the same factor, the gain grows by the
# same amount. The validation points gain nothing from a component that is narrower than the distance to its neighbours.
# Maximum likelihood, taken literally, asks for the collapse; EM usually escapes it by starting elsewhere. The cure is
# `reg_covar`: with a small $\epsilon$ added to every variance no component can be narrower than that. Without it and with
# it:

# %%
for reg_covar in (0.0, 1e-3):
    try:
        held, c = mixture.fit_em(
            z, 4, start=with_a_fourth(0.01), reg_covar=reg_covar
        )
        narrowest = held.covariances[3].diagonal().min()
        print(f"reg_covar {reg_covar}: {len(c) - 1} steps,", end=" ")
        print(f"narrowest variance {narrowest:.4f}")
    except ValueError as error:
        assert reg_covar == 0
        print(textwrap.fill(f"reg_covar {reg_covar}: {error}", 80))
assert profile == "smoke" or narrowest > 10 * reg_covar

# %% [markdown]
# The first run stops with an error that names the component. In the second, the added variance lets it reach its neighbours
# again, and it grows. (Where a point has no neighbours, the component stays on it: useless, but harmless.)
#
# **The nearest maximum is not the best.** EM climbs, and stops on the first maximum that it meets. Eight starts, with four
# components and with three:

# %%
spread = {}
for k in (4, 3):
    reached = [
        mixture.fit_em(z, k, seed=seed, tol=1e-6, max_steps=5 * most_steps)[1][-1]
        for seed in range(8)
    ]
    spread[k] = max(reached) - min(reached)
    print(f"{k} components, log-likelihood reached:")
    print(", ".join(f"{value:.3f}" for value in sorted(reached)))
    print(f"from worst to best: {spread[k]:.3f} nats per point")
assert profile == "smoke" or spread[4] > 0.01 > 10 * spread[3]

# %% [markdown]
# With four components the same algorithm on the same data ends on different maxima. So one runs EM from several starts and
# keeps the best on the validation split. (With three components, as many as there are clouds, all eight starts agree here.)
#
# **Labels switch.** Nothing says which component is number 1. Two fits may be the same density with the components in
# another order, and then their parameters must not be averaged:

# %%
one, _ = mixture.fit_em(z, 3, seed=0, max_steps=most_steps)
other = mixture.GaussianMixture(
    one.weights.roll(1), one.means.roll(1, dims=0), one.covariances.roll(1, dims=0)
)


# %%
average = mixture.GaussianMixture(
    (one.weights + other.weights) / 2,
    (one.means + other.means) / 2,
    (one.covariances + other.covariances) / 2,
)
for name, model in [
    ("a fit", one),
    ("reordered", other),
    ("average of both", average),
]:
    print(f"{name:15s} {model.log_prob(z).mean():.3f} nats per point")
assert torch.allclose(one.log_prob(z), other.log_prob(z))
assert profile == "smoke" or average.log_prob(z).mean() < one.log_prob(z).mean() - 1


# %% [markdown]
# The first two are the same density. Their average is much worse than either: it puts components between the clouds. With
# $K$ components there are $K!$ such orders, and so $K!$ equal maxima. The hidden units of a neural network can be reordered
# in the same way, which is one reason not to average the weights of two networks that were trained apart.

# %% [markdown]
# ## What the source articles got wrong here
#
# Readers who have seen the source articles find what is wrong with their mixtures, each with a test that runs the fault, in
# the [errata](../../book/errata.md#errata-mixture).

# %% [markdown]
# ## The promise
#
# This chapter promises: EM never lowers the log-likelihood; it agrees with scikit-learn to 0.001 nats; gradient descent comes
# within 0.01 nats of it in the plane; and on held-out digits the chosen mixture beats one Gaussian by more than 5 nats.

# %%
figures = results.record(
    "gaussian_mixture",
    profile,
    components=best,
    heldout_pca30_nats_gaussian=round(test_nats["one Gaussian"], 2),
    heldout_pca30_nats_mixture=round(test_nats["mixture, EM"], 2),
    heldout_pca30_nats_by_gradient=round(test_nats["mixture, by gradient"], 2),
    scikit_learn_gap_nats=round(max(gap_plane, gap_digits), 6),
)
pprint({name: value for name, value in figures.items() if "nats" in name})


# %%
if profile != "smoke":
    assert min(rises) >= -1e-9, "EM never lowers the log-likelihood"
    assert figures["scikit_learn_gap_nats"] <= 1e-3, "two programs, one answer"
    assert gap_descent <= 0.01, "gradient descent reaches what EM reaches"
    assert (
        figures["heldout_pca30_nats_mixture"]
        < figures["heldout_pca30_nats_gaussian"] - 5
    ), "one Gaussian is not enough"


# %% [markdown]
# ## Summary
#
# - A mixture is a story with a hidden choice; the responsibilities are the posterior of that choice.
# - EM alternates: compute the posterior of the choice (E), refit each component to its share (M). It raises a lower bound
#   that touches the log-likelihood, so it never makes the fit worse.
# - Gradient descent needs free parameters: softmax for weights, a Cholesky factor with positive diagonal for covariances.
# - The number of components is chosen on held-out data.
# - The likelihood has no maximum unless the variances have a lower limit; EM finds nearby maxima; the order of components
#   means nothing.
# - A mixture in the space of principal components draws blurred digits. That space is flat, a plane of 30 dimensions; the
#   networks of the next part can bend it.
#
# ## Check yourself
#
# **1.** The model found three clouds without labels. How often does a point's most responsible component agree with its digit?
# (Components have no names: give each the digit that is most frequent in it.)

# %% tags=["hide-cell"]
# @title Solution
print(f"{agreement(em):.0%} of {len(z)} points")
assert agreement(em) > (0.9 if profile != "smoke" else 0.3)

# %% [markdown]
# **2.** Find the bug: this E-step normalises the responsibilities, but over the wrong axis. What property do you check to
# notice it, and what happens to the log-likelihood when EM runs with it?
#
# ```python
# r = mixture_.log_joint(z).softmax(dim=0)
# ```

# %% tags=["hide-cell"]
# @title Solution
wrong, right = start.log_joint(z).softmax(dim=0), start.log_joint(z).softmax(dim=1)
print(
    f"sums over components: {wrong.sum(dim=1).min():.1e} "
    f"to {wrong.sum(dim=1).max():.1e}; they should be 1"
)
assert torch.allclose(right.sum(dim=1), torch.ones(len(z), dtype=torch.float64))
found = start.weights, start.means, start.covariances


# %% tags=["hide-cell"]
# @title Solution, continued
buggy_curve = []
for _ in range(5):
    model = mixture.GaussianMixture(*found)
    buggy_curve.append(model.log_prob(z).mean().item())
    weights, means, covariances = m_step(z, model.log_joint(z).softmax(dim=0))
    # even with the weights put right
    found = weights / weights.sum(), means, covariances
print("log-likelihood:", ", ".join(f"{value:.2f}" for value in buggy_curve))
assert max(curve) > max(buggy_curve)


# %% [markdown]
# **3.** Draw from the mixture in the plane yourself (a component, then $\mu_k + L_k \varepsilon$), and check the mean and the
# covariance of 100,000 draws against those of the data. Why must they agree?

# %% tags=["hide-cell"]
# @title Solution
generator = torch.Generator().manual_seed(0)
k = torch.multinomial(em.weights, 100_000, replacement=True, generator=generator)
noise = torch.randn(100_000, 2, generator=generator, dtype=torch.float64)
draws = em.means[k] + (em.scale_tril[k] @ noise[:, :, None])[:, :, 0]
print(
    "largest difference of the means: "
    f"{(draws.mean(dim=0) - z.mean(dim=0)).abs().max():.2f}"
)


# %% tags=["hide-cell"]
# @title Solution, continued
print(
    "deviations:",
    [round(v, 2) for v in draws.std(dim=0).tolist()],
    [round(v, 2) for v in z.std(dim=0).tolist()],
)
assert torch.allclose(draws.mean(dim=0), z.mean(dim=0), atol=0.05)
assert torch.allclose(torch.cov(draws.T), torch.cov(z.T), atol=0.2)


# %% [markdown]
# <details><summary>Answer</summary>
#
# After every M-step the mixture's mean is $\sum_k \pi_k \mu_k = \frac1N \sum_n \sum_k r_{nk} x_n$, and since the
# responsibilities sum to 1, that is the mean of the data. The same sum works for the covariance (apart from `reg_covar`). So
# a comparison of mean and covariance cannot tell a good mixture from a single Gaussian: likelihood can.
#
# </details>
#
# **4.** Suppose that in 20 directions instead of 30 the same mixture costs several nats less per picture. Is it the better
# generator?
#
# <details><summary>Answer</summary>
#
# No conclusion is possible. The two are densities of different things, 20 numbers and 30 numbers. With fewer directions even
# the copies of real digits lose more, so the pictures are blurrier. Only models of the *same* variables can be compared by
# likelihood.
#
# </details>
#
# ## Further reading
#
# - A. P. Dempster, N. M. Laird and D. B. Rubin,
#   [Maximum Likelihood from Incomplete Data via the EM Algorithm](https://doi.org/10.1111/j.2517-6161.1977.tb01600.x) (1977).
# - C. F. J. Wu, [On the Convergence Properties of the EM Algorithm](https://doi.org/10.1214/aos/1176346060) (1983): what "never
#   lower" does and does not promise.
# - C. M. Bishop, *Pattern Recognition and Machine Learning* (2006), chapter 9: mixtures and EM in detail.
# - F. Pedregosa et al., [Scikit-learn: Machine Learning in Python](https://arxiv.org/abs/1201.0490) (2011).
#
# Next: [The variational autoencoder](../vae/variational_autoencoder.ipynb), where the latent variable becomes a code, and
# networks take the place of the Gaussians.
