"""Wrong answers to notebooks/exercises/vae.py, and the points that each deserves.

For each answer cell (its grade_id) a list of (what is wrong, the code, the points of each check of that question).
The k-th wrong answers of all questions are handed in together, so a check that lets a mistake in one question cost
points in another shows up as well.
"""

Answer = tuple[str, str, dict[str, float]]


def _draw(expression: str, value: float, noise: float, uniform: str = "") -> tuple[str, dict[str, float]]:
    code = f"""\
def laplace_draw(mu, log_scale, u=None, generator=None):
    u = {uniform or "torch.rand(mu.shape, generator=generator, dtype=mu.dtype) if u is None else u"}
    side, tail = torch.sign(u - 0.5), torch.log1p(-2 * (u - 0.5).abs())
    return {expression}"""
    return code, {"draw-value": value, "draw-noise": noise}


def _kl(expression: str, reduction: float, value: float) -> tuple[str, dict[str, float]]:
    code = f"""\
def kl_to_prior(mu, log_var, prior_mu, prior_log_var):
    var, prior_var, distance = log_var.exp(), prior_log_var.exp(), (mu - prior_mu) ** 2
    log_ratio = prior_log_var - log_var
    return {expression}"""
    return code, {"kl-reduction": reduction, "kl-value": value}


_TERMS = "(var + distance) / prior_var + log_ratio - 1"


_BCE = "F.binary_cross_entropy_with_logits"


_LOG_DENSITY = "-0.5 * ((x - decoded) / s) ** 2 - math.log(s) - 0.5 * math.log(2 * math.pi)"


def _elbo(
    pixel: float,
    reduction: float,
    log_density: str = _LOG_DENSITY,
    result: str = "(log_density.flatten(1).sum(1) - kl).mean()",
) -> tuple[str, dict[str, float]]:
    code = f"def elbo(x, decoded, s, kl):\n    log_density = {log_density}\n    return {result}"
    return code, {"elbo-pixel": pixel, "elbo-reduction": reduction}


_TERMS_OF_Q = "math.log(2 * math.pi) + log_var + (z[:, None] - mu) ** 2 / log_var.exp()"


def _aggregate(
    density: float,
    mean: float,
    log_q: str = f"-0.5 * ({_TERMS_OF_Q}).sum(-1)",
    result: str = "torch.logsumexp(log_q, dim=1) - math.log(len(mu))",
) -> tuple[str, dict[str, float]]:
    code = f"def log_aggregate(z, mu, log_var):\n    log_q = {log_q}\n    return {result}"
    return code, {"aggregate-density": density, "aggregate-mean": mean}


def _information(
    points: float,
    z: str = "mu + (0.5 * log_var).exp() * eps",
    own: str = "-0.5 * (math.log(2 * math.pi) + log_var + eps**2).sum(-1)",
    result: str = "(own - all_).mean()",
) -> tuple[str, dict[str, float]]:
    code = f"""\
def information(mu, log_var, eps):
    z = {z}
    each = torch.distributions.Normal(mu, (0.5 * log_var).exp()).log_prob(z[:, :, None]).sum(-1)
    all_ = each.logsumexp(-1) - math.log(len(mu))
    own = {own}
    return {result}"""
    return code, {"information-value": points}


def _read(
    evidence: float,
    posterior: float,
    given_y: str = "torch.logsumexp(log_w, dim=0) - math.log(len(log_w))",
    joint: str = "given_y + log_prior",
    log_px: str = "torch.logsumexp(joint, dim=1)",
    log_posterior: str = "joint - torch.logsumexp(joint, dim=1, keepdim=True)",
) -> tuple[str, dict[str, float]]:
    code = f"""\
def read_class(log_w, log_prior):
    given_y = {given_y}
    joint = {joint}
    return {log_px}, {log_posterior}"""
    return code, {"read-evidence": evidence, "read-posterior": posterior}


def _mistakes(letters: str, most: float, everything: float) -> tuple[str, dict[str, float]]:
    return f"def mistakes():\n    return {letters}", {"mistakes-most": most, "mistakes-all": everything}


_BCE = "F.binary_cross_entropy_with_logits"


def _bug(
    points: tuple[float, float, float],
    z: str = "mu + (0.5 * log_var).exp() * eps",
    cross_entropy: str = f'{_BCE}(logits, x, reduction="sum") / len(x)',
    kl: str = "0.5 * (mu**2 + log_var.exp() - log_var - 1).sum(1)",
    loss: str = "cross_entropy + kl.mean()",
) -> tuple[str, dict[str, float]]:
    code = f"""\
def training_step(model, optimiser, x, eps):
    mu, log_var = model.encode(x)
    z = {z}
    logits = model.decode(z)
    cross_entropy = {cross_entropy}
    kl = {kl}
    loss = {loss}
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    return loss.detach()"""
    return code, dict(zip(("bug-reconstruction", "bug-kl", "bug-sampling"), points, strict=True))


WRONG: dict[str, list[Answer]] = {
    "draw": [
        ("the chapter's noise", *_draw("mu + log_scale.exp() * 2**0.5 * torch.erfinv(2 * u - 1)", 0, 0)),
        ("the other tail", *_draw("mu + log_scale.exp() * side * tail", 0, 2)),
        ("the root of the scale", *_draw("mu - (0.5 * log_scale).exp() * side * tail", 0, 2)),
        ("the logarithm for the scale", *_draw("mu - log_scale * side * tail", 0, 0)),
        ("times 1 / b", *_draw("mu - side * tail / log_scale.exp()", 0, 2)),
        ("one side only", *_draw("mu - log_scale.exp() * (1 - u).log()", 0, 0)),
        ("the factor 2 forgotten", *_draw("mu - log_scale.exp() * side * (1 - (u - 0.5).abs()).log()", 0, 0)),
        ("a logistic distribution", *_draw("mu + log_scale.exp() * (u / (1 - u)).log()", 0, 0)),
        ("detached", *_draw("(mu - log_scale.exp() * side * tail).detach()", 2, 0)),
        (
            "one noise for the whole batch",
            *_draw(
                "mu - log_scale.exp() * side * tail",
                2,
                0,
                "torch.rand(mu.shape[1], generator=generator) if u is None else u",
            ),
        ),
        (
            "u ignored",
            *_draw("mu - log_scale.exp() * side * tail", 0, 2, "torch.rand(mu.shape, generator=generator)"),
        ),
        (
            "generator ignored",
            *_draw("mu - log_scale.exp() * side * tail", 2, 0, "torch.rand_like(mu) if u is None else u"),
        ),
        (
            "normal noise",
            *_draw(
                "mu - log_scale.exp() * side * tail",
                2,
                0,
                "torch.randn(mu.shape, generator=generator).sigmoid() if u is None else u",
            ),
        ),
        ("u as it is", *_draw("mu + log_scale.exp() * (u - 0.5)", 0, 0)),
    ],
    "kl": [
        ("half missing", *_kl(f"({_TERMS}).sum(1)", 2, 0)),
        ("sign", *_kl(f"-0.5 * ({_TERMS}).sum(1)", 2, 0)),
        ("mean over the latent dimensions", *_kl(f"0.5 * ({_TERMS}).mean(1)", 0, 2)),
        ("summed over the batch too", *_kl(f"0.5 * ({_TERMS}).sum()", 0, 2)),
        ("wrong axis", *_kl(f"0.5 * ({_TERMS}).sum(0)", 0, 2)),
        ("sigma for variance", *_kl("0.5 * ((var.sqrt() + distance) / prior_var + log_ratio - 1).sum(1)", 2, 0)),
        ("exp forgotten", *_kl("0.5 * ((log_var + distance) / prior_log_var + log_ratio - 1).sum(1)", 2, 0)),
        ("the KL the wrong way round", *_kl("0.5 * ((prior_var + distance) / var - log_ratio - 1).sum(1)", 2, 0)),
        ("the chapter's formula", *_kl("0.5 * (mu**2 + var - log_var - 1).sum(1)", 2, 0)),
        ("the prior's variance forgotten", *_kl("0.5 * (var + distance - log_var - 1).sum(1)", 2, 0)),
    ],
    "elbo": [
        ("KL added", *_elbo(2, 0, result="(log_density.flatten(1).sum(1) + kl).mean()")),
        ("the loss", *_elbo(0, 0, result="(kl - log_density.flatten(1).sum(1)).mean()")),
        ("mean over pixels", *_elbo(2, 0, result="(log_density.flatten(1).mean(1) - kl).mean()")),
        ("sum over the batch", *_elbo(2, 0, result="(log_density.flatten(1).sum(1) - kl).sum()")),
        ("the KL term of all pictures for each", *_elbo(2, 0, result="log_density.sum() / len(x) - kl.sum()")),
        ("the last axis only", *_elbo(2, 0, result="log_density.sum(-1).mean() - kl.mean()")),
        (
            "the chapter's decoder",
            *_elbo(0, 2, "-F.binary_cross_entropy_with_logits(decoded, x, reduction='none')"),
        ),
        ("2 pi forgotten", *_elbo(0, 2, "-0.5 * ((x - decoded) / s) ** 2 - math.log(s)")),
        ("log s forgotten", *_elbo(0, 2, "-0.5 * ((x - decoded) / s) ** 2 - 0.5 * math.log(2 * math.pi)")),
        ("s for its square", *_elbo(0, 2, _LOG_DENSITY.replace("((x - decoded) / s) ** 2", "(x - decoded) ** 2 / s"))),
        ("half forgotten", *_elbo(0, 2, _LOG_DENSITY.replace("-0.5 * ((x", "-((x"))),
        ("log s counted twice", *_elbo(0, 2, _LOG_DENSITY.replace("- math.log(s)", "- 2 * math.log(s)"))),
        ("squared error", *_elbo(0, 2, "-((x - decoded) ** 2)")),
        ("detached", *_elbo(0, 0, result="(log_density.flatten(1).sum(1) - kl).mean().detach()")),
    ],
    "aggregate": [
        ("mean of the logarithms", *_aggregate(1, 0, result="log_q.mean(1)")),
        ("log n forgotten", *_aggregate(1, 0, result="torch.logsumexp(log_q, dim=1)")),
        ("not stable", *_aggregate(1, 0, result="log_q.exp().mean(1).log()")),
        ("the nearest picture only", *_aggregate(1, 0, result="log_q.amax(1) - math.log(len(mu))")),
        (
            "over the points",
            *_aggregate(0, 0, result="(torch.logsumexp(log_q, dim=0) - math.log(len(z))).expand(len(z))"),
        ),
        (
            "one normal distribution for all",
            *_aggregate(
                1,
                0,
                log_q="mu.mean(0), log_var.exp().mean(0) + mu.var(0, correction=0)",
                result="torch.distributions.Normal(log_q[0], log_q[1] ** 0.5).log_prob(z).sum(1)",
            ),
        ),
        (
            "2 pi forgotten",
            *_aggregate(0, 1, f"-0.5 * ({_TERMS_OF_Q.replace('math.log(2 * math.pi) + ', '')}).sum(-1)"),
        ),
        (
            "sigma for variance",
            *_aggregate(0, 1, f"-0.5 * ({_TERMS_OF_Q.replace('log_var.exp()', '(log_var / 2).exp()')}).sum(-1)"),
        ),
        ("mean over the dimensions", *_aggregate(0, 1, f"-0.5 * ({_TERMS_OF_Q}).mean(-1)")),
        ("the prior for q", *_aggregate(0, 0, "-0.5 * (math.log(2 * math.pi) + z[:, None] ** 2 + 0 * mu).sum(-1)")),
    ],
    "information": [
        (
            "the divergence from the prior",
            *_information(0, result="(0.5 * (mu**2 + log_var.exp() - log_var - 1)).sum(1).mean()"),
        ),
        ("sign", *_information(0, result="(all_ - own).mean()")),
        ("sum", *_information(0, result="(own - all_).sum()")),
        ("sum over the pictures", *_information(0, result="(own - all_).mean(0).sum()")),
        ("log n forgotten", *_information(0, result="(own - each.logsumexp(-1)).mean()")),
        ("variance for sigma", *_information(0, z="mu + log_var.exp() * eps")),
        ("the mean for the draws", *_information(0, z="mu.expand(eps.shape)")),
        ("own density at the mean", *_information(0, own="-0.5 * (math.log(2 * math.pi) + log_var).sum(-1)")),
        (
            "half of the exponent forgotten",
            *_information(0, own="-0.5 * (math.log(2 * math.pi) + log_var).sum(-1) - eps.square().sum(-1)"),
        ),
        ("never below 0 in a draw", *_information(0, result="(own - all_).clamp(min=0).mean()")),
        ("bits", *_information(0, result="(own - all_).mean() / math.log(2)")),
        (
            # Not wrong: it calls the function of the first half, which is wrong in the same notebook.
            "right, upon wrong functions",
            *_information(2, result="(own - log_aggregate(z.flatten(0, 1), mu, log_var).view(own.shape)).mean()"),
        ),
    ],
    "read": [
        ("mean of the logarithms", *_read(0, 0, given_y="log_w.mean(0)")),
        ("log k forgotten", *_read(0, 2, given_y="torch.logsumexp(log_w, dim=0)")),
        ("not stable", *_read(0, 0, given_y="log_w.exp().mean(0).log()")),
        ("the best draw", *_read(0, 0, given_y="log_w.amax(0)")),
        ("the prior forgotten", *_read(0, 0, joint="given_y")),
        ("the logarithm of the prior multiplied", *_read(0, 0, joint="given_y * log_prior")),
        ("mean over the classes", *_read(0, 2, log_px="torch.logsumexp(joint, dim=1) - math.log(joint.shape[1])")),
        ("the likeliest class only", *_read(0, 2, log_px="joint.amax(1)")),
        ("not divided by p(x)", *_read(2, 0, log_posterior="joint")),
        ("probabilities", *_read(2, 0, log_posterior="joint.softmax(1)")),
        ("divided over the pictures", *_read(2, 0, log_posterior="joint.log_softmax(0)")),
        (
            "a posterior of each draw, averaged",
            *_read(2, 0, log_posterior="(log_w + log_prior).softmax(2).mean(0).log()"),
        ),
        ("the average of the classes' logarithms", *_read(0, 2, log_px="(log_prior.exp() * given_y).sum(1)")),
    ],
    "mistakes": [
        ("four of five", *_mistakes('"BCFHA"', 1, 0)),
        ("three of five", *_mistakes('"BCFAD"', 0, 0)),
        ("the other five", *_mistakes('"ADEGI"', 0, 0)),
        ("all ten", *_mistakes('"ABCDEFGHIJ"', 0, 0)),
        ("six", *_mistakes('"ABCFHJ"', 0, 0)),
        ("a letter twice", *_mistakes('"BBCFH"', 0, 0)),
        ("a list", *_mistakes('["B", "C", "F", "H"]', 0, 0)),
        ("none", *_mistakes('""', 0, 0)),
        ("a list of the right five", *_mistakes('["B", "C", "F", "H", "J"]', 0, 2)),
    ],
    "bug": [
        ("all five mistakes left", *_bug((0, 0, 0), z="mu", cross_entropy=f"{_BCE}(x, logits.sigmoid())", kl="0 * mu")),
        (
            "sigmoid left",
            *_bug((0, 1, 1), cross_entropy=f'{_BCE}(logits.sigmoid(), x, reduction="sum") / len(x)'),
        ),
        ("arguments swapped", *_bug((0, 1, 1), cross_entropy=f'{_BCE}(x, logits, reduction="sum") / len(x)')),
        ("mean over pixels left", *_bug((0, 1, 1), cross_entropy=f"{_BCE}(logits, x)")),
        ("no sampling", *_bug((1, 1, 0), z="mu + 0 * eps")),
        ("noise times the variance", *_bug((1, 1, 0), z="mu + log_var.exp() * eps")),
        ("KL averaged over the dimensions", *_bug((1, 0, 1), kl="0.5 * (mu**2 + log_var.exp() - log_var - 1).mean(1)")),
        ("no KL", *_bug((1, 0, 1), loss="cross_entropy")),
        ("KL subtracted", *_bug((1, 0, 1), loss="cross_entropy - kl.mean()")),
        (
            # Not wrong: it calls the function of question 2, which is wrong in the same notebook.
            "right, upon wrong functions",
            *_bug((1, 1, 1), kl="kl_to_prior(mu, log_var, torch.zeros(2), torch.zeros(2))"),
        ),
    ],
}

# Right, but written otherwise than the solution: no check may insist on one way to write an answer.
OTHERWISE: dict[str, str] = {
    "draw": """\
def laplace_draw(mu, log_scale, u=None, generator=None):
    noise = torch.rand(*mu.shape, generator=generator) if u is None else u
    return mu + log_scale.exp() * torch.where(noise < 0.5, torch.log(2 * noise), -torch.log(2 - 2 * noise))""",
    "kl": """\
def kl_to_prior(mu, log_var, prior_mu, prior_log_var):
    q, prior = (torch.distributions.Normal(m, (v / 2).exp()) for m, v in ((mu, log_var), (prior_mu, prior_log_var)))
    return torch.distributions.kl_divergence(q, prior).sum(-1)""",
    "elbo": """\
def elbo(x, decoded, s, kl):
    warnings.warn("this is not a mistake")
    total = 0.0
    for picture, mean, price in zip(x, decoded, kl):
        total = total + torch.distributions.Normal(mean, s).log_prob(picture).sum() - price
    return total / len(x)""",
    "aggregate": """\
def log_aggregate(z, mu, log_var):
    q = torch.distributions.Independent(torch.distributions.Normal(mu, (log_var / 2).exp()), 1)
    equal = torch.distributions.Categorical(logits=torch.zeros(len(mu), dtype=mu.dtype))
    return torch.distributions.MixtureSameFamily(equal, q).log_prob(z)""",
    "information": """\
def information(mu, log_var, eps):
    q = torch.distributions.Normal(mu, log_var.exp().sqrt())
    total = 0.0
    for noise in eps:
        z = mu + q.scale * noise
        total = total + (q.log_prob(z).sum(1) - log_aggregate(z, mu, log_var)).mean()
    return total / len(eps)""",
    "read": """\
def read_class(log_w, log_prior):
    largest = log_w.max(dim=0).values
    joint = largest + (log_w - largest).exp().mean(dim=0).log() + log_prior
    return [joint.logsumexp(dim=1), joint.log_softmax(dim=1)]""",
    "mistakes": """\
def mistakes():
    return "JHFCB"[::-1]""",
    "bug": """\
def training_step(model, optimiser, x, eps):
    optimiser.zero_grad()
    mu, log_var = model.encode(x)
    p = torch.distributions.Bernoulli(logits=model.decode(mu + log_var.exp() ** 0.5 * eps), validate_args=False)
    loss = -p.log_prob(x).sum(1) + (mu**2 / 2 + log_var.exp() / 2 - log_var / 2 - 0.5).sum(1)
    loss.mean().backward()
    optimiser.step()
    return loss.mean().item()""",
}

# Right in other ways that students have: for each way of writing its answers; the solution's stand for the rest. What
# stands under "setup" is added to the setup cell.
RIGHT: dict[str, dict[str, str]] = {
    "in double precision": {
        "draw": """\
def laplace_draw(mu, log_scale, u=None, generator=None):
    if u is None:
        u = torch.rand(mu.shape, generator=generator, dtype=torch.float64)
    q = torch.distributions.Laplace(mu.double(), log_scale.double().exp())
    return q.icdf(u.double())""",
        "kl": """\
def kl_to_prior(mu, log_var, prior_mu, prior_log_var):
    mu, log_var, prior_mu, prior_log_var = (each.double() for each in (mu, log_var, prior_mu, prior_log_var))
    ratio = (log_var.exp() + (mu - prior_mu) ** 2) / prior_log_var.exp()
    return 0.5 * (ratio + prior_log_var - log_var - 1).sum(1)""",
        "elbo": """\
def elbo(x, decoded, s, kl):
    x, decoded, kl = x.double(), decoded.double(), kl.double()
    s2 = torch.tensor(s, dtype=torch.float64) ** 2
    terms = torch.log(2 * torch.pi * s2) + (x - decoded).square() / s2
    return (-0.5 * terms.flatten(1).sum(1) - kl).mean()""",
        "aggregate": """\
def log_aggregate(z, mu, log_var):
    z, mu, log_var = z.double(), mu.double(), log_var.double()
    log_q = torch.distributions.Normal(mu, (0.5 * log_var).exp()).log_prob(z.unsqueeze(1)).sum(2)
    return torch.logsumexp(log_q, 1) - math.log(mu.size(0))""",
        "information": """\
def information(mu, log_var, eps):
    mu, log_var, eps = mu.double(), log_var.double(), eps.double()
    z = mu + torch.exp(0.5 * log_var) * eps
    log_q = torch.distributions.Normal(mu, torch.exp(0.5 * log_var)).log_prob(z[..., None, :]).sum(-1)
    own = torch.diagonal(log_q, dim1=1, dim2=2)
    return (own - log_q.logsumexp(-1)).mean() + math.log(len(mu))""",
        "read": """\
def read_class(log_w, log_prior):
    joint = log_w.double().logsumexp(0) - math.log(log_w.shape[0]) + log_prior.double()
    log_px = joint.logsumexp(-1)
    return log_px, joint - log_px.unsqueeze(-1)""",
    },
    "in single precision": {
        "draw": """\
def laplace_draw(mu, log_scale, u=None, generator=None):
    u = (torch.rand(*mu.shape, generator=generator) if u is None else u).float() - 0.5
    return mu.float() - log_scale.float().exp() * u.sign() * torch.log(1 - 2 * u.abs())""",
        "kl": """\
def kl_to_prior(mu, log_var, prior_mu, prior_log_var):
    mu, log_var, prior_mu, prior_log_var = (each.float() for each in (mu, log_var, prior_mu, prior_log_var))
    sigma, s = (log_var / 2).exp(), (prior_log_var / 2).exp()
    return torch.sum(torch.log(s / sigma) + (sigma**2 + (mu - prior_mu) ** 2) / (2 * s**2) - 0.5, dim=1)""",
        "elbo": """\
def elbo(x, decoded, s, kl):
    squares = F.mse_loss(decoded.float(), x.float(), reduction="none").reshape(len(x), -1)
    pixels = squares.shape[1]
    return (-squares.sum(1) / (2 * s**2) - pixels * math.log(s * math.sqrt(2 * math.pi)) - kl.float()).mean()""",
        "aggregate": """\
def log_aggregate(z, mu, log_var):
    z, mu, log_var = z.float(), mu.float(), log_var.float()
    log_q = -0.5 * ((z[:, None] - mu).square() / log_var.exp() + log_var + math.log(2 * math.pi)).sum(2)
    return log_q.logsumexp(1) - math.log(len(mu))""",
        "information": """\
def information(mu, log_var, eps):
    mu, log_var, eps = mu.float(), log_var.float(), eps.float()
    z = (mu + (log_var / 2).exp() * eps).reshape(-1, mu.shape[1])
    own = -0.5 * (eps**2 + log_var + math.log(2 * math.pi)).sum(2).reshape(-1)
    return torch.mean(own - log_aggregate(z, mu, log_var))""",
        "read": """\
def read_class(log_w, log_prior):
    joint = torch.logsumexp(log_w.float(), 0) - math.log(len(log_w)) + log_prior.float()
    return torch.logsumexp(joint, 1), torch.log_softmax(joint, 1)""",
    },
    "in NumPy": {
        "setup": "import numpy as np",
        "kl": """\
def kl_to_prior(mu, log_var, prior_mu, prior_log_var):
    mu, log_var, m, log_s2 = (np.asarray(each) for each in (mu, log_var, prior_mu, prior_log_var))
    terms = (np.exp(log_var) + (mu - m) ** 2) / np.exp(log_s2) + log_s2 - log_var - 1
    return torch.from_numpy(0.5 * terms.sum(axis=1))""",
        "aggregate": """\
def log_aggregate(z, mu, log_var):
    z, mu, log_var = (each.numpy() for each in (z, mu, log_var))
    log_q = -0.5 * (np.log(2 * np.pi) + log_var + (z[:, None] - mu) ** 2 / np.exp(log_var)).sum(-1)
    return torch.as_tensor(np.logaddexp.reduce(log_q, axis=1) - np.log(len(mu)))""",
        "information": """\
def information(mu, log_var, eps):
    m, v, e = (each.numpy().astype(float) for each in (mu, log_var, eps))
    z = m + np.exp(v / 2) * e
    own = -0.5 * (np.log(2 * np.pi) + v + e**2).sum(-1)
    every = -0.5 * (np.log(2 * np.pi) + v + (z[:, :, None] - m) ** 2 / np.exp(v)).sum(-1)
    return torch.tensor(np.mean(own - np.logaddexp.reduce(every, axis=-1)) + np.log(len(m)))""",
        "read": """\
def read_class(log_w, log_prior):
    joint = np.logaddexp.reduce(log_w.numpy(), axis=0) - np.log(len(log_w)) + log_prior.numpy()
    log_px = np.logaddexp.reduce(joint, axis=1)
    return torch.from_numpy(log_px), torch.from_numpy(joint - log_px[:, None])""",
        "bug": """\
def training_step(model, optimiser, x, eps):
    mu, log_var = model.encode(x)
    logits = model.decode(mu + log_var.exp().sqrt() * eps)
    loss = (F.softplus(logits) - x * logits).sum(1) + 0.5 * (mu**2 + log_var.exp() - log_var - 1).sum(1)
    loss = loss.mean()
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    return float(loss)""",
    },
    "without a gradient where none is asked for": {
        "kl": """\
@torch.no_grad()
def kl_to_prior(mu, log_var, prior_mu, prior_log_var):
    ratio = (log_var.exp() + (mu - prior_mu) ** 2) / prior_log_var.exp()
    return 0.5 * (ratio + prior_log_var - log_var - 1).sum(1)""",
        "aggregate": """\
def log_aggregate(z, mu, log_var):
    with torch.no_grad():
        log_q = -0.5 * (math.log(2 * math.pi) + log_var + (z[:, None] - mu) ** 2 / log_var.exp()).sum(-1)
        return log_q.logsumexp(1) - math.log(len(mu))""",
        "read": """\
@torch.no_grad()
def read_class(log_w, log_prior):
    joint = log_w.logsumexp(0) - math.log(len(log_w)) + log_prior
    return joint.logsumexp(1), joint.log_softmax(1)""",
        "bug": OTHERWISE["bug"],
    },
    "row by row": {
        "draw": """\
def laplace_draw(mu, log_scale, u=None, generator=None):
    rows = []
    for i in range(len(mu)):
        noise = torch.rand(mu.shape[1], generator=generator) if u is None else u[i]
        row = []
        for m, v, n in zip(mu[i], log_scale[i], noise.tolist()):
            row.append(m + v.exp() * (math.log(2 * n) if n < 0.5 else -math.log(2 - 2 * n)))
        rows.append(torch.stack(row))
    return torch.stack(rows)""",
        "kl": """\
def kl_to_prior(mu, log_var, prior_mu, prior_log_var):
    result = torch.zeros(len(mu))
    for i in range(len(mu)):
        for d in range(mu.shape[1]):
            s2, sigma2 = prior_log_var[d].exp(), log_var[i, d].exp()
            distance = (mu[i, d] - prior_mu[d]) ** 2
            result[i] += 0.5 * (sigma2 / s2 + distance / s2 - 1 + prior_log_var[d] - log_var[i, d])
    return result""",
        "elbo": """\
def elbo(x, decoded, s, kl):
    total = 0.0
    for i in range(len(x)):
        for a, b in zip(x[i].flatten(), decoded[i].flatten()):
            total = total - 0.5 * math.log(2 * math.pi * s**2) - (a - b) ** 2 / (2 * s**2)
        total = total - kl[i]
    return total / len(x)""",
        "aggregate": """\
def log_aggregate(z, mu, log_var):
    result = []
    for point in z.tolist():
        logs = []
        for means, variances in zip(mu.tolist(), log_var.tolist()):
            total = 0.0
            for a, m, v in zip(point, means, variances):
                total -= 0.5 * (math.log(2 * math.pi) + v + (a - m) ** 2 / math.exp(v))
            logs.append(total)
        top = max(logs)
        result.append(top + math.log(sum(math.exp(each - top) for each in logs) / len(logs)))
    return torch.tensor(result)""",
        "information": """\
def information(mu, log_var, eps):
    total = 0.0
    for j in range(len(eps)):
        for i in range(len(mu)):
            z = mu[i] + log_var[i].exp().sqrt() * eps[j, i]
            logs = []
            for m, v in zip(mu, log_var):
                logs.append(float((-0.5 * (math.log(2 * math.pi) + v + (z - m) ** 2 / v.exp())).sum()))
            top = max(logs)
            total += logs[i] - top - math.log(sum(math.exp(each - top) for each in logs) / len(logs))
    return torch.tensor(total / (len(eps) * len(mu)))""",
        "read": """\
def read_class(log_w, log_prior):
    k, batch, classes = log_w.shape
    log_px, log_posterior = torch.zeros(batch), torch.zeros(batch, classes)
    for i in range(batch):
        joint = []
        for y in range(classes):
            top = max(float(log_w[j, i, y]) for j in range(k))
            mean = sum(math.exp(float(log_w[j, i, y]) - top) for j in range(k)) / k
            joint.append(top + math.log(mean) + float(log_prior[y]))
        top = max(joint)
        log_px[i] = top + math.log(sum(math.exp(each - top) for each in joint))
        log_posterior[i] = torch.tensor(joint) - log_px[i]
    return log_px, log_posterior""",
    },
    "in place, on copies": {
        "draw": """\
def laplace_draw(mu, log_scale, u=None, generator=None):
    z = torch.rand(mu.shape, generator=generator) if u is None else u.clone()
    z -= 0.5
    side = z.sign()
    z = z.abs_().mul_(-2).log1p_().mul_(-1) * side
    z = z * log_scale.exp()
    z += mu
    return z""",
        "elbo": """\
def elbo(x, decoded, s, kl):
    error = x - decoded
    error /= s
    bound = -0.5 * (error**2).flatten(1).sum(1)
    bound -= x[0].numel() * (math.log(s) + 0.5 * math.log(2 * math.pi))
    bound -= kl
    return bound.mean()""",
    },
    "with star imports": {
        "setup": "from numpy import *\nfrom torch.nn.functional import *\nfrom math import *",
        "elbo": """\
def elbo(x, decoded, s, kl):
    log_density = -gaussian_nll_loss(decoded, x, torch.full_like(x, s**2), full=True, reduction="none")
    return (log_density.flatten(1).sum(1) - kl).mean()""",
        "aggregate": """\
def log_aggregate(z, mu, log_var):
    log_q = -0.5 * (log(2 * pi) + log_var + (z[:, None] - mu) ** 2 / log_var.exp()).sum(-1)
    return log_q.logsumexp(1) - log(len(mu))""",
        "read": """\
def read_class(log_w, log_prior):
    joint = log_w.logsumexp(0) - log(len(log_w)) + log_prior
    return joint.logsumexp(1), log_softmax(joint, dim=1)""",
    },
    # Functions that take more than their docstrings say, and answers that rely on it.
    "generous functions": {
        "kl": """\
def kl_to_prior(mu, log_var, prior_mu=None, prior_log_var=None):
    m, v = (torch.zeros(mu.shape[1]) if p is None else p for p in (prior_mu, prior_log_var))
    return 0.5 * ((log_var.exp() + (mu - m) ** 2) / v.exp() + v - log_var - 1).sum(1)""",
        "aggregate": """\
def log_aggregate(z, mu, log_var, every=False):
    log_q = -0.5 * (math.log(2 * math.pi) + log_var + (z[..., None, :] - mu) ** 2 / log_var.exp()).sum(-1)
    return log_q if every else log_q.logsumexp(-1) - math.log(len(mu))""",
        "information": """\
def information(mu, log_var, eps):
    z = mu + (log_var / 2).exp() * eps
    own = log_aggregate(z, mu, log_var, every=True).diagonal(dim1=1, dim2=2)
    return (own - log_aggregate(z, mu, log_var)).mean()""",
        "bug": """\
def training_step(model, optimiser, x, eps):
    mu, log_var = model.encode(x)
    logits = model.decode(mu + (log_var / 2).exp() * eps)
    loss = F.binary_cross_entropy_with_logits(logits, x) * x.shape[1] + kl_to_prior(mu, log_var).mean()
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    return loss.detach()""",
    },
}

# What a student is told whose answer is wrong in this way: by question and what is wrong.
DIAGNOSES: dict[str, dict[str, str]] = {
    "draw": {
        "the chapter's noise": "Your noise has a normal distribution, as in the chapter; here z has to have a Laplace "
        "distribution.",
        "the other tail": "Your z lies on the wrong side of mu: F grows, so z has to grow with u.",
        "the root of the scale": "You scale by the square root of b, as if log_scale were a log-variance; it is the "
        "logarithm of b itself.",
        "the logarithm for the scale": "You scale by log(b); b itself is the scale.",
        "times 1 / b": "You divide by b; a larger scale has to spread the draws further.",
        "one side only": "Your draws lie on one side of mu only: this is an exponential distribution. The Laplace "
        "distribution has two sides, and F has a case for each.",
        "the factor 2 forgotten": "A factor 2 is missing inside your logarithm: solve u = F(z) once more, with the "
        "factor 1/2 that F has.",
        "a logistic distribution": "Your function inverts the distribution function of a logistic distribution; the "
        "one of a Laplace distribution is asked for.",
        "detached": "Your z is cut off from mu and log_scale, so no gradient reaches them.",
        "one noise for the whole batch": "You draw one row of noise for the whole batch; every entry needs noise of "
        "its own.",
        "u ignored": "You draw noise even when the caller gives u; then u is the noise.",
        "generator ignored": "You do not draw with the caller's generator, so the same seed does not give the same z "
        "again.",
        "normal noise": "You draw u as a sigmoid of normal noise, which is not uniform between 0 and 1.",
        "u as it is": "You shift and scale u itself, so z has a uniform distribution; u has to pass through the "
        "inverse of F.",
    },
    "kl": {
        "half missing": "Your divergence is twice as large as it should be: a factor 1/2 is missing.",
        "sign": "The sign is flipped: your value is never positive, and a divergence is never negative.",
        "mean over the latent dimensions": "This is the mean over the latent dimensions; the sum is asked for.",
        "summed over the batch too": "You sum over the batch as well; one number per example is asked for.",
        "wrong axis": "You sum over the examples; the sum over the latent dimensions is asked for, one for each "
        "example.",
        "sigma for variance": "You use sigma where the variance sigma^2 belongs.",
        "exp forgotten": "You use the logarithms of the variances where the variances themselves belong.",
        "the KL the wrong way round": "This is KL(p || q), the wrong way round; KL(q || p) is asked for.",
        "the chapter's formula": "This is the chapter's formula, for the prior N(0, I); here the prior has a mean m "
        "and a variance s^2.",
        "the prior's variance forgotten": "You use the prior's mean, but not its variance; your formula is right for s "
        "= 1 alone.",
    },
    "elbo": {
        "KL added": "You add the KL term to the bound; it has to be subtracted.",
        "the loss": "This is the negative of the bound, which is the training loss; the bound itself is asked for.",
        "mean over pixels": "You average the log-density over the pixels; their sum is asked for.",
        "sum over the batch": "You sum over the batch; the mean of the examples' bounds is asked for.",
        "the KL term of all pictures for each": "You subtract the KL terms of the whole batch from every picture; each "
        "has its own.",
        "the last axis only": "You sum the log-density over the last axis only; it has to be summed over all axes but "
        "the first.",
        "the chapter's decoder": "This is the Bernoulli decoder of the chapter; here every pixel is normal, with the "
        "mean decoded and the standard deviation s.",
        "2 pi forgotten": "The constant with 2 pi is missing in the log-density.",
        "log s forgotten": "The term with log s is missing in the log-density.",
        "s for its square": "You divide the squared error by s; it has to be the variance, s squared.",
        "half forgotten": "The factor 1/2 of the squared error is missing.",
        "log s counted twice": "You subtract log s twice: the density of a pixel is divided by s once.",
        "squared error": "This is the squared error alone; the log-density scales it and has further terms.",
        "detached": "Your bound is cut off from what you are given, so no gradient reaches decoded and kl.",
    },
    "aggregate": {
        "mean of the logarithms": "This is the mean of the logarithms; the logarithm of the mean density is asked for.",
        "log n forgotten": "This is the logarithm of the sum of the n densities; that of their mean is asked for.",
        "not stable": "You leave the logarithmic scale: far from all pictures the densities are rounded to zero, and "
        "the logarithm of that is minus infinity.",
        "the nearest picture only": "You count only the picture with the largest density; all of them are averaged.",
        "over the points": "You average over the points; the mean over the pictures is asked for, one for each point.",
        "one normal distribution for all": "You describe all codes by one normal distribution with their mean and "
        "variance; q(z) is the mean of n densities.",
        "2 pi forgotten": "The constant with 2 pi is missing in the log-density.",
        "sigma for variance": "You divide the squared distance by sigma; it has to be the variance sigma^2.",
        "mean over the dimensions": "You average log q over the latent dimensions; independent dimensions add up.",
        "the prior for q": "This is the density of the prior; it does not depend on the encoder's answers mu and "
        "log_var.",
    },
    "information": {
        "the divergence from the prior": "This is the mean divergence from the prior; it contains the mismatch with "
        "the prior as well as the information.",
        "sign": "The sign is flipped: your estimate is minus the information.",
        "sum": "You sum over all draws; their mean is asked for.",
        "sum over the pictures": "You sum over the pictures; the mean over all draws of all pictures is asked for.",
        "log n forgotten": "Your log q(z) is the logarithm of a sum of n densities; q(z) is their mean.",
        "variance for sigma": "You scale the noise by the variance; the codes are drawn with the standard deviation "
        "sigma.",
        "the mean for the draws": "You take the mean mu as the code in each draw; the noise has to move it.",
        "own density at the mean": "You take the density log q(z|x_i) at the mean mu_i; it has to be at the draw.",
        "half of the exponent forgotten": "In your log q(z|x_i) the factor 1/2 of the squared distance is missing.",
        "never below 0 in a draw": "You cut off the negative values. In a single draw the logarithm may be negative; "
        "only the mean over all draws is the information.",
        "bits": "Your estimate is in bits; nats are asked for.",
    },
    "read": {
        "mean of the logarithms": "You average the logarithms of the weights; the logarithm of their mean is asked "
        "for.",
        "log k forgotten": "You take the sum of the k weights; their mean is asked for.",
        "not stable": "You leave the logarithmic scale: weights as small as e^-1000 are rounded to zero.",
        "the best draw": "You count only the largest of the k weights; their mean is asked for.",
        "the prior forgotten": "The shares p(y) of the classes are missing.",
        "the logarithm of the prior multiplied": "You multiply by the logarithm of the prior; where probabilities are "
        "multiplied, logarithms are added.",
        "mean over the classes": "You average p(y) p(x|y) over the classes; p(x) is their sum.",
        "the likeliest class only": "You count only the likeliest class; p(x) is the sum over all classes.",
        "not divided by p(x)": "This is log p(y) p(x|y), which is not divided by p(x).",
        "probabilities": "These are the probabilities p(y|x); their logarithms are asked for.",
        "divided over the pictures": "Your probabilities sum to 1 over the pictures; for each picture they have to sum "
        "to 1 over the classes.",
        "a posterior of each draw, averaged": "You apply Bayes' rule to every draw by itself and average what comes "
        "out; the weights are averaged first.",
        "the average of the classes' logarithms": "You average log p(x|y) over the classes; p(x) averages p(x|y) "
        "itself, before the logarithm.",
    },
    "mistakes": {
        "four of five": "Four of the five letters are right; one is not.",
        "three of five": "Fewer than four letters are right. For each statement, look for the line that it is about.",
        "the other five": "Fewer than four letters are right. For each statement, look for the line that it is about.",
        "all ten": "These are all ten letters; exactly five statements are true.",
        "six": "These are six letters; exactly five statements are true.",
        "a letter twice": "One letter appears twice; five different letters are asked for.",
        "a list": "This is a list of four letters; five letters are asked for, in one string.",
        "none": "The string is empty; five letters are asked for.",
        "a list of the right five": "The letters are right; they are to be in one string, not in a list.",
    },
    "bug": {
        "all five mistakes left": "This step still does what faulty_step does.",
        "sigmoid left": "What you reconstruct goes through a sigmoid twice: the function that computes the "
        "cross-entropy takes logits.",
        "arguments swapped": "The logits and the picture have changed places in the cross-entropy.",
        "mean over pixels left": "The cross-entropy is averaged over the pixels; the sum is asked for.",
        "no sampling": "The noise eps has no effect: you decode the mean instead of a draw.",
        "noise times the variance": "You scale the noise by the variance; the standard deviation sigma is asked for.",
        "KL averaged over the dimensions": "The KL term is averaged over the latent dimensions; their sum is asked "
        "for.",
        "no KL": "The codes cost nothing: there is no KL term in your loss.",
        "KL subtracted": "You subtract the KL term from the loss, which rewards codes for being costly; it is added.",
    },
}
