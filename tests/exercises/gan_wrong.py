"""Wrong answers to notebooks/exercises/gan.py, and the points that each deserves.

For each answer cell (its grade_id) a list of (what is wrong, the code, the points of each check of that question).
The k-th wrong answers of all questions are handed in together, so a check that lets a mistake in one question cost
points in another shows up as well.
"""

Answer = tuple[str, str, dict[str, float]]

_DISCRIMINATOR = "F.softplus(-real_logits).mean() + F.softplus(fake_logits).mean()"
_SATURATING = "-F.softplus(fake_logits).mean()"
_NON_SATURATING = "F.softplus(-fake_logits).mean()"


def _dloss(points: float, loss: str, before: str = "pass") -> tuple[str, dict[str, float]]:
    code = f"def loss_for_discriminator(real_logits, fake_logits):\n    {before}\n    return {loss}"
    return code, {"dloss-value": points}


def _gloss(
    points: float, saturating: str = _SATURATING, non_saturating: str = _NON_SATURATING
) -> tuple[str, dict[str, float]]:
    code = f"def losses_for_generator(fake_logits):\n    return {saturating}, {non_saturating}"
    return code, {"gloss-value": points}


def _slopes(saturating: str, non_saturating: str) -> tuple[str, dict[str, float]]:
    code = f"""\
def generator_slopes(fake_logits):
    D = torch.sigmoid(fake_logits)
    return {saturating}, {non_saturating}"""
    return code, {"slopes-value": 0}


def _dstep(
    own: float,
    other: float,
    fake: str = "generator(z).detach()",
    loss: str = "loss_for_discriminator(discriminator(x), discriminator(fake))",
    backward: str = "loss.backward()",
) -> tuple[str, dict[str, float]]:
    code = f"""\
def discriminator_backward(generator, discriminator, x, z):
    fake = {fake}
    loss = {loss}
    {backward}
    return loss.detach()"""
    return code, {"dstep-own": own, "dstep-other": other}


def _gstep(
    own: float,
    other: float,
    fake: str = "generator(z)",
    logits: str = "discriminator(fake)",
    loss: str = "losses_for_generator(logits)[1]",
    backward: str = "loss.backward(inputs=list(generator.parameters()))",
) -> tuple[str, dict[str, float]]:
    code = f"""\
def generator_backward(generator, discriminator, z):
    fake = {fake}
    logits = {logits}
    loss = {loss}
    {backward}
    return loss.detach()"""
    return code, {"gstep-own": own, "gstep-other": other}


def _optimal(value: float, stable: float, expression: str) -> tuple[str, dict[str, float]]:
    code = f"def optimal_discriminator(log_p, log_q):\n    return {expression}"
    return code, {"optimal-value": value, "optimal-stable": stable}


def _value(common: float, extreme: float, result: str) -> tuple[str, dict[str, float]]:
    code = f"""\
def value_at_optimum(log_p, log_q):
    p, q, D = log_p.exp(), log_q.exp(), torch.sigmoid(log_p - log_q)
    real, fake = torch.xlogy(p, D), torch.xlogy(q, torch.sigmoid(log_q - log_p))
    return {result}"""
    return code, {"value-common": common, "value-extreme": extreme}


_CONV = "(size + 2 * padding - kernel) // stride + 1"
_TRANSPOSED = "(size - 1) * stride + kernel - 2 * padding + output_padding"


def _size(
    conv_points: float, transposed_points: float, conv: str = _CONV, transposed: str = _TRANSPOSED
) -> tuple[str, dict[str, float]]:
    code = f"""\
def output_size(size, kernel, stride=1, padding=0, output_padding=0, transposed=False):
    return {transposed} if transposed else {conv}"""
    return code, {"size-conv": conv_points, "size-transposed": transposed_points}


_GENERATOR = "[(5, 1, 0, 0), (5, 3, 1, 0), (5, 3, 1, 0)]"
_CRITIC = "[(5, 3, 1), (5, 3, 1), (5, 1, 0)]"
_DIGITS = "[(7, 1, 0, 0), (4, 2, 1, 0), (4, 2, 1, 0)]"


def _layers(
    generator_points: float, discriminator_points: float, generator: str = _GENERATOR, discriminator: str = _CRITIC
) -> tuple[str, dict[str, float]]:
    code = f"def choose_layers():\n    return {generator}, {discriminator}"
    return code, {"layers-generator": generator_points, "layers-discriminator": discriminator_points}


def _penalty(
    points: tuple[float, float, float],
    draw: str = "torch.rand(len(real), generator=generator, dtype=real.dtype)",
    u: str = "mix.reshape(-1, *[1] * (real.ndim - 1))",
    between: str = "u * real + (1 - u) * fake",
    gradient: str = "torch.autograd.grad(critic(between).sum(), between, create_graph=True)[0]",
    result: str = "((gradient.flatten(1).norm(dim=1) - 1) ** 2).mean()",
) -> tuple[str, dict[str, float]]:
    code = f"""\
def gradient_penalty(critic, real, fake, mix=None, generator=None):
    mix = {draw} if mix is None else mix
    u = {u}
    between = ({between}).detach().requires_grad_()
    gradient = {gradient}
    return {result}"""
    return code, dict(zip(("penalty-points", "penalty-norm", "penalty-graph"), points, strict=True))


def _mistakes(letters: str, most: float, everything: float) -> tuple[str, dict[str, float]]:
    return f"def mistakes():\n    return {letters}", {"mistakes-most": most, "mistakes-all": everything}


_CLEAR_D = "d_optimiser.zero_grad()"
_CLEAR_G = "g_optimiser.zero_grad()"


def _bug(
    points: tuple[float, float, float],
    before: str = "",
    real: str = "2 * x - 1",
    d_fake: str = "fake.detach()",
    d_clear: str = _CLEAR_D,
    g_fake: str = "fake",
    g_loss: str = "F.softplus(-logits).mean()",
    g_clear: str = _CLEAR_G,
    after: str = "",
) -> tuple[str, dict[str, float]]:
    code = f"""\
def training_step(generator, discriminator, optimisers, x, z):
    g_optimiser, d_optimiser = optimisers
    {before}
    fake = generator(z)
    d_loss = F.softplus(-discriminator({real})).mean() + F.softplus(discriminator({d_fake})).mean()
    {d_clear}
    d_loss.backward()
    d_optimiser.step()
    logits = discriminator({g_fake})
    g_loss = {g_loss}
    {g_clear}
    g_loss.backward()
    {after}
    g_optimiser.step()
    return d_loss.detach(), g_loss.detach()"""
    return code, dict(zip(("bug-discriminator", "bug-generator", "bug-data"), points, strict=True))


_ONE_LOSS = """\
def training_step(generator, discriminator, optimisers, x, z):
    real, fake = discriminator(2 * x - 1), discriminator(generator(z))
    d_loss, g_loss = F.softplus(-real).mean() + F.softplus(fake).mean(), F.softplus(-fake).mean()
    for optimiser in optimisers:
        optimiser.zero_grad()
    (d_loss + g_loss).backward()
    for optimiser in optimisers:
        optimiser.step()
    return d_loss.detach(), g_loss.detach()"""

_RIGHT_UPON_WRONG = """\
def training_step(generator, discriminator, optimisers, x, z):
    fake = generator(z)
    d_loss = loss_for_discriminator(discriminator(2 * x - 1), discriminator(fake.detach()))
    optimisers[1].zero_grad()
    d_loss.backward()
    optimisers[1].step()
    g_loss = losses_for_generator(discriminator(fake))[1]
    optimisers[0].zero_grad()
    g_loss.backward()
    optimisers[0].step()
    return d_loss.detach(), g_loss.detach()"""

_GENERATOR_FIRST = """\
def training_step(generator, discriminator, optimisers, x, z):
    fake = generator(z)
    g_loss = F.softplus(-discriminator(fake)).mean()
    optimisers[0].zero_grad()
    g_loss.backward()
    optimisers[0].step()
    d_loss = F.softplus(-discriminator(2 * x - 1)).mean() + F.softplus(discriminator(fake.detach())).mean()
    optimisers[1].zero_grad()
    d_loss.backward()
    optimisers[1].step()
    return d_loss.detach(), g_loss.detach()"""

_SIMULTANEOUS = """\
def training_step(generator, discriminator, optimisers, x, z):
    fake = generator(z)
    g_loss = F.softplus(-discriminator(fake)).mean()
    d_loss = F.softplus(-discriminator(2 * x - 1)).mean() + F.softplus(discriminator(fake.detach())).mean()
    for optimiser in optimisers:
        optimiser.zero_grad()
    g_loss.backward(inputs=list(generator.parameters()))
    d_loss.backward()
    for optimiser in optimisers:
        optimiser.step()
    return d_loss.detach(), g_loss.detach()"""

_BUG_POINTS = ("bug-discriminator", "bug-generator", "bug-data")
_BCE = "F.binary_cross_entropy_with_logits"

WRONG: dict[str, list[Answer]] = {
    "dloss": [
        ("the value for the loss", *_dloss(0, f"-({_DISCRIMINATOR})")),
        (
            "cross-entropy of probabilities",
            *_dloss(
                0,
                "F.binary_cross_entropy(real_logits.sigmoid(), 0 * real_logits + 1)"
                " + F.binary_cross_entropy(fake_logits.sigmoid(), 0 * fake_logits)",
            ),
        ),
        ("sums for means", *_dloss(0, _DISCRIMINATOR.replace("mean", "sum"))),
        ("one mean over both batches", *_dloss(0, "F.softplus(torch.cat([-real_logits, fake_logits])).mean()")),
        (
            # Labels of shape (n, 1) and logits of shape (n,) make (n, n) numbers: every label meets every logit.
            "labels of another shape",
            *_dloss(
                0,
                "2 * (is_real * F.softplus(-logits) + (1 - is_real) * F.softplus(logits)).mean()",
                before="logits = torch.cat([real_logits, fake_logits])\n"
                "    is_real = (torch.arange(len(logits)) < len(real_logits)).float()[:, None]",
            ),
        ),
        ("the real pictures only", *_dloss(0, "F.softplus(-real_logits).mean()")),
        ("labels the wrong way round", *_dloss(0, "F.softplus(real_logits).mean() + F.softplus(-fake_logits).mean()")),
        ("half of it", *_dloss(0, f"({_DISCRIMINATOR}) / 2")),
        ("detached", *_dloss(0, f"({_DISCRIMINATOR}).detach()")),
    ],
    "gloss": [
        ("sign of the saturating loss", *_gloss(0, saturating="F.softplus(fake_logits).mean()")),
        ("fakes labelled 0", *_gloss(0, non_saturating="F.softplus(fake_logits).mean()")),
        (
            "sums for means",
            *_gloss(0, _SATURATING.replace("mean", "sum"), _NON_SATURATING.replace("mean", "sum")),
        ),
        ("the losses swapped", *_gloss(0, _NON_SATURATING, _SATURATING)),
        (
            "logarithms of rounded numbers",
            *_gloss(0, "(1 - fake_logits.sigmoid()).log().mean()", "-fake_logits.sigmoid().log().mean()"),
        ),
        ("of probabilities", *_gloss(0, "-F.softplus(fake_logits.sigmoid()).mean()")),
        ("one for each picture", *_gloss(0, "-F.softplus(fake_logits)", "F.softplus(-fake_logits)")),
        ("the value, not the loss", *_gloss(0, "F.softplus(fake_logits).mean()", "-F.softplus(-fake_logits).mean()")),
    ],
    "slopes": [
        ("sign", *_slopes("D", "torch.sigmoid(-fake_logits)")),
        ("swapped", *_slopes("-torch.sigmoid(-fake_logits)", "-D")),
        ("digits lost", *_slopes("-D", "D - 1")),
        ("with respect to D", *_slopes("-1 / (1 - D)", "-1 / D")),
        ("mean over the batch", *_slopes("-D / len(D)", "-torch.sigmoid(-fake_logits) / len(D)")),
        ("times D (1 - D) once too often", *_slopes("-D * D * (1 - D)", "-D * (1 - D) ** 2")),
        ("the losses themselves", *_slopes("F.logsigmoid(-fake_logits)", "-F.logsigmoid(fake_logits)")),
        ("both the same", *_slopes("-D", "-D")),
    ],
    "dstep": [
        ("the missing detach", *_dstep(1, 0, fake="generator(z)")),
        (
            "gradients cleared instead of cut",
            *_dstep(1, 0, fake="generator(z)", backward="loss.backward(); generator.zero_grad()"),
        ),
        ("the generator frozen for good", *_dstep(1, 0, fake="generator.requires_grad_(False)(z)")),
        (
            "the logits detached too",
            *_dstep(0, 1, loss="loss_for_discriminator(discriminator(x), discriminator(fake).detach())"),
        ),
        (
            "real and fake exchanged",
            *_dstep(0, 1, loss="loss_for_discriminator(discriminator(fake), discriminator(x))"),
        ),
        ("the wrong player's loss", *_dstep(0, 1, loss="losses_for_generator(discriminator(fake))[1]")),
        ("no backward", *_dstep(0, 0, backward="pass")),
        ("gradients twice", *_dstep(0, 1, backward="loss.backward(retain_graph=True); loss.backward()")),
        (
            # Not wrong: it calls the function of question 1, which is wrong in the same notebook.
            "right, upon wrong functions",
            *_dstep(1, 1),
        ),
    ],
    "gstep": [
        ("gradients for both", *_gstep(1, 0, backward="loss.backward()")),
        ("the picture detached", *_gstep(0, 0, fake="generator(z).detach()", backward="loss.backward()")),
        (
            "the discriminator's gradients cleared",
            *_gstep(1, 0, backward="loss.backward(); discriminator.zero_grad()"),
        ),
        (
            "the discriminator frozen for good",
            *_gstep(1, 0, logits="discriminator.requires_grad_(False)(fake)", backward="loss.backward()"),
        ),
        ("the saturating loss", *_gstep(0, 1, loss="losses_for_generator(logits)[0]")),
        ("fakes labelled 0", *_gstep(0, 1, loss="F.softplus(logits).mean()")),
        ("sum for mean", *_gstep(0, 1, loss="F.softplus(-logits).sum()")),
        ("the discriminator's own loss", *_gstep(0, 1, loss="loss_for_discriminator(logits, logits)")),
        ("right, upon wrong functions", *_gstep(1, 1)),
    ],
    "optimal": [
        ("not stable", *_optimal(1, 0, "log_p.exp() / (log_p.exp() + log_q.exp())")),
        ("p and q exchanged", *_optimal(0, 1, "torch.sigmoid(log_q - log_p)")),
        ("the ratio", *_optimal(0, 0, "(log_p - log_q).exp()")),
        ("sum for difference", *_optimal(0, 0, "torch.sigmoid(log_p + log_q)")),
        ("the logit", *_optimal(0, 0, "log_p - log_q")),
        ("the logarithm", *_optimal(0, 0, "F.logsigmoid(log_p - log_q)")),
        ("never above a half", *_optimal(0, 0, "0.5 * torch.sigmoid(log_p - log_q)")),
        ("over the points, not over p and q", *_optimal(0, 1, "torch.softmax(log_p - log_q, dim=-1)")),
        ("too soft", *_optimal(0, 1, "torch.sigmoid((log_p - log_q) / 2)")),
    ],
    "value": [
        ("the loss", *_value(0, 1, "-(real + fake).sum()")),
        ("rounded 1 - D*", *_value(1, 0, "(torch.xlogy(p, D) + torch.xlogy(q, 1 - D)).sum()")),
        ("0 times minus infinity", *_value(1, 0, "(p * D.log() + q * torch.sigmoid(log_q - log_p).log()).sum()")),
        ("the real half", *_value(0, 1, "real.sum()")),
        ("mean over the outcomes", *_value(0, 1, "(real + fake).mean()")),
        ("the divergence", *_value(0, 1, "(real + fake).sum() / 2 + math.log(2)")),
        ("bits", *_value(0, 1, "(real + fake).sum() / math.log(2)")),
        ("not weighted", *_value(0, 0, "(F.logsigmoid(log_p - log_q) + F.logsigmoid(log_q - log_p)).sum()")),
        (
            "right, upon wrong functions",
            *_value(
                1,
                1,
                "(torch.xlogy(p, optimal_discriminator(log_p, log_q))"
                " + torch.xlogy(q, optimal_discriminator(log_q, log_p))).sum()",
            ),
        ),
    ],
    "size": [
        ("+ 1 forgotten", *_size(0, 1, conv="(size + 2 * padding - kernel) // stride")),
        ("padding at one end", *_size(0, 0, _CONV.replace("2 *", ""), _TRANSPOSED.replace("2 *", ""))),
        ("not rounded", *_size(0, 1, conv="(size + 2 * padding - kernel) / stride + 1")),
        ("rounded up", *_size(0, 1, conv="-((kernel - size - 2 * padding) // stride) + 1")),
        ("stride times size", *_size(1, 0, transposed="size * stride + kernel - 2 * padding + output_padding")),
        ("padding added", *_size(1, 0, transposed=_TRANSPOSED.replace("- 2", "+ 2"))),
        ("output padding forgotten", *_size(1, 0, transposed="(size - 1) * stride + kernel - 2 * padding")),
        ("kernel forgotten", *_size(1, 0, transposed="size * stride - 2 * padding + output_padding")),
        ("the two exchanged", *_size(0, 0, conv=_TRANSPOSED, transposed=_CONV)),
        ("output padding for both", *_size(0, 1, conv=f"{_CONV} + output_padding")),
    ],
    "layers": [
        ("the chapter's layers, for digits", *_layers(0, 0, _DIGITS, "[(4, 2, 1), (4, 2, 1), (7, 1, 0)]")),
        ("3, 9, 27", *_layers(0, 1, generator="[(3, 1, 0, 0), (3, 3, 0, 0), (3, 3, 0, 0)]")),
        # Both fit together at 48, which is no use for objects of 45.
        (
            "made for 48",
            *_layers(0, 0, "[(3, 1, 0, 0), *[(4, 2, 1, 0)] * 4]", "[*[(4, 2, 1)] * 4, (3, 1, 0)]"),
        ),
        ("a last kernel of 7 upon 5 places", *_layers(1, 0, discriminator="[(5, 3, 1), (5, 3, 1), (7, 1, 0)]")),
        ("ends at 2", *_layers(1, 0, discriminator="[(5, 3, 1), (5, 3, 1), (4, 1, 0)]")),
        ("45 in one go", *_layers(0, 0, "[(45, 1, 0, 0)]", "[(45, 1, 0)]")),
        ("gaps", *_layers(0, 0, "[(5, 1, 0, 0), (1, 3, 0, 2), (1, 3, 0, 2)]", "[(1, 3, 0), (1, 3, 0), (5, 1, 0)]")),
        ("output padding as large as the stride", *_layers(0, 1, "[(5, 1, 0, 0), (3, 3, 0, 3), (3, 3, 0, 0)]")),
        ("layers that do nothing", *_layers(0, 0, f"{_GENERATOR} + [(1, 1, 0, 0)]", f"{_CRITIC} + [(1, 1, 0)]")),
        ("the generator's layers for both", *_layers(1, 0, discriminator=_GENERATOR)),
    ],
    "penalty": [
        (
            "one u for the whole batch",
            *_penalty((0, 1, 1), draw="torch.rand(1, generator=generator).repeat(len(real))"),
        ),
        ("u along the width", *_penalty((0, 1, 1), u="mix")),
        ("real and fake exchanged", *_penalty((0, 1, 1), between="(1 - u) * real + u * fake")),
        ("normal u", *_penalty((0, 1, 1), draw="torch.randn(len(real), generator=generator, dtype=real.dtype)")),
        ("norm over the batch", *_penalty((1, 0, 1), result="(gradient.norm() - 1) ** 2")),
        ("norm over one axis", *_penalty((1, 0, 1), result="((gradient.norm(dim=1) - 1) ** 2).mean()")),
        ("norm squared", *_penalty((1, 0, 1), result="((gradient.flatten(1).square().sum(1) - 1) ** 2).mean()")),
        ("sum", *_penalty((1, 0, 1), result="((gradient.flatten(1).norm(dim=1) - 1) ** 2).sum()")),
        (
            "the missing create_graph",
            *_penalty((1, 1, 0), gradient="torch.autograd.grad(critic(between).sum(), between)[0]"),
        ),
        (
            "backward, into the weights",
            *_penalty((1, 1, 0), gradient="(critic(between).sum().backward(create_graph=True), between.grad)[1]"),
        ),
    ],
    "mistakes": [
        ("four of five", *_mistakes('"ADEHB"', 1, 0)),
        ("three of five", *_mistakes('"ADEBC"', 0, 0)),
        ("the other five", *_mistakes('"BCFGJ"', 0, 0)),
        ("all ten", *_mistakes('"ABCDEFGHIJ"', 0, 0)),
        ("a set of four", *_mistakes('set("ADEH")', 0, 0)),
        ("a letter twice", *_mistakes('"AADEH"', 0, 0)),
        ("small letters", *_mistakes('"adehi"', 0, 0)),
    ],
    "bug": [
        (
            "all five mistakes left",
            *_bug(
                (0, 0, 0),
                real="x",
                d_clear="",
                g_fake="fake.detach()",
                g_loss="F.softplus(logits).mean()",
                g_clear="",
                after=_CLEAR_G,
            ),
        ),
        ("the discriminator's gradients pile up", *_bug((0, 1, 1), d_clear="")),
        ("detached in the generator's loss", *_bug((1, 0, 1), g_fake="fake.detach()")),
        ("fakes labelled 0 in the generator's loss", *_bug((1, 0, 1), g_loss="F.softplus(logits).mean()")),
        ("zero_grad between backward and step", *_bug((1, 0, 1), g_clear="", after=_CLEAR_G)),
        ("pictures from 0 to 1", *_bug((1, 1, 0), real="x")),
        ("pictures from -1/2 to 1/2", *_bug((1, 1, 0), real="x - 0.5")),
        (
            "cleared at the top, the missing detach",
            *_bug(
                (1, 0, 1),
                before=f"{_CLEAR_D}; {_CLEAR_G}",
                d_clear="",
                d_fake="fake",
                g_clear="",
                g_fake="generator(z)",
            ),
        ),
        ("the generator first", _GENERATOR_FIRST, dict(zip(_BUG_POINTS, (1, 0, 1), strict=True))),
        ("both at the same time", _SIMULTANEOUS, dict(zip(_BUG_POINTS, (1, 0, 1), strict=True))),
        ("one loss for both players", _ONE_LOSS, dict(zip(_BUG_POINTS, (0, 0, 1), strict=True))),
        (
            # Not wrong: it calls the function of question 1, which is wrong in the same notebook.
            "right, upon wrong functions",
            _RIGHT_UPON_WRONG,
            dict(zip(_BUG_POINTS, (1, 1, 1), strict=True)),
        ),
    ],
}

# Right, but written otherwise than the solution: no check may insist on one way to write an answer.
OTHERWISE: dict[str, str] = {
    "dloss": """\
def loss_for_discriminator(real_logits, fake_logits):
    warnings.warn("this is not a mistake")
    bce = F.binary_cross_entropy_with_logits
    return bce(real_logits, torch.ones_like(real_logits)) + bce(fake_logits, torch.zeros_like(fake_logits))""",
    "gloss": """\
def losses_for_generator(fake_logits):
    bce = F.binary_cross_entropy_with_logits
    return [F.logsigmoid(-fake_logits).mean(), bce(fake_logits, torch.ones_like(fake_logits))]""",
    "slopes": """\
def generator_slopes(fake_logits):
    logits = fake_logits.clone().requires_grad_()
    losses = F.logsigmoid(-logits).sum(), -F.logsigmoid(logits).sum()
    return [torch.autograd.grad(loss, logits)[0] for loss in losses]""",
    "dstep": """\
def discriminator_backward(generator, discriminator, x, z):
    with torch.no_grad():
        fake = generator(z)
    real_logits, fake_logits = discriminator(torch.cat([x, fake])).split([len(x), len(z)])
    loss = F.softplus(-real_logits).mean() + F.softplus(fake_logits).mean()
    weights = list(discriminator.parameters())
    for weight, gradient in zip(weights, torch.autograd.grad(loss, weights)):
        weight.grad = gradient
    return loss.item()""",
    "gstep": """\
def generator_backward(generator, discriminator, z):
    discriminator.requires_grad_(False)
    loss = F.binary_cross_entropy_with_logits(discriminator(generator(z)), torch.ones(len(z)))
    loss.backward()
    discriminator.requires_grad_(True)
    return loss.detach()""",
    "optimal": """\
def optimal_discriminator(log_p, log_q):
    return torch.stack([log_p, log_q]).softmax(dim=0)[0]""",
    "value": """\
def value_at_optimum(log_p, log_q):
    log_sum = torch.logaddexp(log_p, log_q)
    real = torch.where(log_p.exp() > 0, log_p.exp() * (log_p - log_sum), 0.0)
    return real.sum() + torch.where(log_q.exp() > 0, log_q.exp() * (log_q - log_sum), 0.0).sum()""",
    "size": """\
def output_size(size, kernel, stride=1, padding=0, output_padding=0, transposed=False):
    if transposed:
        places = {i * stride + j for i in range(size) for j in range(kernel)}
        return max(places) + 1 - 2 * padding + output_padding
    return math.floor((size + 2 * padding - (kernel - 1) - 1) / stride + 1)""",
    "layers": """\
def choose_layers():
    generator = ((3, 1, 0, 0), (5, 4, 2, 2), (5, 4, 0, 0))  # 1, 3, 11, 45
    discriminator = [[5, 2, 2], [5, 2, 2], [5, 2, 2], [6, 1, 0]]  # 45, 23, 12, 6, 1
    return generator, discriminator""",
    "penalty": """\
def gradient_penalty(critic, real, fake, mix=None, generator=None):
    mix = torch.rand(real.shape[0], generator=generator).to(real) if mix is None else mix
    total = 0.0
    for x, x_fake, u in zip(real, fake, mix):
        between = torch.lerp(x_fake, x, u)[None].requires_grad_(True)
        scores = critic(between)
        gradient = torch.autograd.grad(scores, between, torch.ones_like(scores), create_graph=True)[0]
        total = total + (gradient.square().sum().sqrt() - 1).square()
    return total / len(real)""",
    "mistakes": """\
def mistakes():
    return "".join(sorted({"H", "I", "A", "D", "E"}))""",
    "bug": """\
def training_step(generator, discriminator, optimisers, x, z):
    with torch.no_grad():
        fake = generator(z)
    optimisers[1].zero_grad()
    real_logits, fake_logits = discriminator(torch.cat([(x - 0.5) / 0.5, fake])).split(len(x))
    discriminator_loss = -F.logsigmoid(real_logits).mean() - F.logsigmoid(-fake_logits).mean()
    discriminator_loss.backward()
    optimisers[1].step()
    optimisers[0].zero_grad()
    generator_loss = -F.logsigmoid(discriminator(generator(z))).mean()
    generator_loss.backward(inputs=list(generator.parameters()))
    optimisers[0].step()
    return discriminator_loss.item(), generator_loss.item()""",
}

# Right in other ways that students have: for each way of writing its answers; the solution's stand for the rest. What
# stands under "setup" is added to the setup cell.
RIGHT: dict[str, dict[str, str]] = {
    "in double precision": {
        "dloss": """\
def loss_for_discriminator(real_logits, fake_logits):
    return F.softplus(-real_logits.double()).mean() + F.softplus(fake_logits.double()).mean()""",
        "gloss": """\
def losses_for_generator(fake_logits):
    fake_logits = fake_logits.to(torch.float64)
    return -F.softplus(fake_logits).mean(), F.softplus(-fake_logits).mean()""",
        "slopes": """\
def generator_slopes(fake_logits):
    D = torch.sigmoid(fake_logits.double())
    return -D, -torch.sigmoid(-fake_logits.double())""",
        "optimal": """\
def optimal_discriminator(log_p, log_q):
    return 1 / (1 + torch.exp(log_q.double() - log_p.double()))""",
        "value": """\
def value_at_optimum(log_p, log_q):
    log_p, log_q = log_p.double(), log_q.double()
    log_sum = torch.logaddexp(log_p, log_q)
    real, fake = log_p > -math.inf, log_q > -math.inf
    value = (log_p.exp() * (log_p - log_sum))[real].sum()
    return value + (log_q.exp() * (log_q - log_sum))[fake].sum()""",
        "penalty": """\
def gradient_penalty(critic, real, fake, mix=None, generator=None):
    u = torch.rand(len(real), generator=generator, dtype=torch.float64) if mix is None else mix
    u = u.view(-1, *[1 for _ in real.shape[1:]]).to(real.dtype)
    between = torch.autograd.Variable(u * real + (1 - u) * fake, requires_grad=True)
    gradient, = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
    return (torch.linalg.vector_norm(gradient.double().flatten(1), dim=1) - 1).pow(2).mean()""",
        "bug": _RIGHT_UPON_WRONG,
    },
    "in NumPy where no gradient is asked for": {
        "setup": "import numpy as np",
        "slopes": """\
def generator_slopes(fake_logits):
    logits = fake_logits.numpy().astype(float)
    return torch.from_numpy(-1 / (1 + np.exp(-logits))), torch.from_numpy(-1 / (1 + np.exp(logits)))""",
        "optimal": """\
def optimal_discriminator(log_p, log_q):
    with np.errstate(over="ignore"):
        return torch.tensor(1 / (1 + np.exp(log_q.numpy().astype(float) - log_p.numpy())))""",
        "value": """\
def value_at_optimum(log_p, log_q):
    log_p, log_q = log_p.numpy(), log_q.numpy()
    log_sum = np.logaddexp(log_p, log_q)
    real, fake = np.isfinite(log_p), np.isfinite(log_q)
    value = np.sum((np.exp(log_p) * (log_p - log_sum))[real]) + np.sum((np.exp(log_q) * (log_q - log_sum))[fake])
    return torch.tensor(value)""",
        "size": """\
def output_size(size, kernel, stride=1, padding=0, output_padding=0, transposed=False):
    if transposed:
        return int(stride * (size - 1) + kernel - 2 * padding + output_padding)
    return int(np.floor((size + 2 * padding - kernel) / stride)) + 1""",
    },
    "one by one": {
        "dloss": """\
def loss_for_discriminator(real_logits, fake_logits):
    real = sum(F.softplus(-logit) for logit in real_logits) / len(real_logits)
    return real + sum(F.softplus(logit) for logit in fake_logits) / len(fake_logits)""",
        "gloss": """\
def losses_for_generator(fake_logits):
    saturating = non_saturating = 0
    for logit in fake_logits:
        saturating = saturating - F.softplus(logit) / len(fake_logits)
        non_saturating = non_saturating + F.softplus(-logit) / len(fake_logits)
    return saturating, non_saturating""",
        "slopes": """\
def generator_slopes(fake_logits):
    rows = [(-1 / (1 + math.exp(-logit)), -1 / (1 + math.exp(logit))) for logit in fake_logits.tolist()]
    return torch.tensor([row[0] for row in rows]), torch.tensor([row[1] for row in rows])""",
        "optimal": """\
def optimal_discriminator(log_p, log_q):
    result = torch.empty(log_p.shape)
    for i, (p, q) in enumerate(zip(log_p.flatten().tolist(), log_q.flatten().tolist())):
        difference = q - p
        result.view(-1)[i] = 0.0 if difference > 700 else 1 / (1 + math.exp(difference))
    return result""",
        "value": """\
def value_at_optimum(log_p, log_q):
    value = torch.tensor(0.0, dtype=torch.float64)
    for a, b in zip(log_p.tolist(), log_q.tolist()):
        top = max(a, b)
        both = top + math.log(math.exp(a - top) + math.exp(b - top))
        for each in (a, b):
            if each > -math.inf:
                value += math.exp(each) * (each - both)
    return value""",
        "penalty": OTHERWISE["penalty"],
    },
    "in place": {
        "penalty": """\
def gradient_penalty(critic, real, fake, mix=None, generator=None):
    mix = torch.rand(len(real), generator=generator) if mix is None else mix
    between = fake.clone().detach()
    between += mix.view(-1, *[1] * (real.dim() - 1)) * (real - fake)
    between.requires_grad_()
    scores = critic(between)
    slope = torch.autograd.grad(scores, between, torch.ones_like(scores), create_graph=True)[0].flatten(1)
    return ((slope.square().sum(1).sqrt() - 1) ** 2).mean()""",
        "bug": """\
def training_step(generator, discriminator, optimisers, x, z):
    for optimiser in optimisers:
        optimiser.zero_grad()
    pictures = x.clone()
    pictures *= 2
    pictures -= 1
    fake = generator(z)
    d_loss = loss_for_discriminator(discriminator(pictures), discriminator(fake.detach()))
    d_loss.backward()
    optimisers[1].step()
    g_loss = losses_for_generator(discriminator(fake))[1]
    g_loss.backward()
    optimisers[0].step()
    optimisers[1].zero_grad()
    return d_loss.item(), g_loss.item()""",
    },
    "with star imports": {
        "setup": "from numpy import *\nfrom torch.nn.functional import *\nfrom math import *",
        "dloss": """\
def loss_for_discriminator(real_logits, fake_logits):
    return softplus(-real_logits).mean() + softplus(fake_logits).mean()""",
    },
    # Functions that take more than their docstrings say, and turns that rely on it.
    "generous functions": {
        "dloss": """\
def loss_for_discriminator(real_logits=None, fake_logits=None, weight=1.0):
    loss = 0.0
    if real_logits is not None:
        loss = loss + F.softplus(-real_logits).mean()
    if fake_logits is not None:
        loss = loss + F.softplus(fake_logits).mean()
    return weight * loss""",
        "gloss": """\
def losses_for_generator(fake_logits, which=None):
    losses = -F.softplus(fake_logits).mean(), F.softplus(-fake_logits).mean()
    return losses if which is None else losses[which]""",
        "dstep": """\
def discriminator_backward(generator, discriminator, x, z):
    with torch.no_grad():
        fake = generator(z)
    loss = loss_for_discriminator(real_logits=discriminator(x))
    loss = loss + loss_for_discriminator(fake_logits=discriminator(fake))
    loss.backward()
    return loss.detach()""",
        "gstep": """\
def generator_backward(generator, discriminator, z):
    loss = losses_for_generator(discriminator(generator(z)), which=1)
    loss.backward(inputs=list(generator.parameters()))
    return loss.detach()""",
        "optimal": """\
def optimal_discriminator(log_p, log_q, logit=False):
    return log_p - log_q if logit else torch.sigmoid(log_p - log_q)""",
        "value": """\
def value_at_optimum(log_p, log_q):
    logit = optimal_discriminator(log_p, log_q, logit=True)
    real = torch.where(log_p > -math.inf, log_p.exp() * F.logsigmoid(logit), 0.0)
    return (real + torch.where(log_q > -math.inf, log_q.exp() * F.logsigmoid(-logit), 0.0)).sum()""",
        "bug": """\
def training_step(generator, discriminator, optimisers, x, z):
    fake = generator(z)
    d_loss = loss_for_discriminator(discriminator(2 * x - 1), discriminator(fake.detach()), weight=1)
    optimisers[1].zero_grad()
    d_loss.backward()
    optimisers[1].step()
    g_loss = losses_for_generator(discriminator(fake), which=1)
    optimisers[0].zero_grad()
    g_loss.backward()
    optimisers[0].step()
    return d_loss.detach(), g_loss.detach()""",
    },
}
