"""Wrong answers to notebooks/exercises/gan.py, and the points that each deserves.

For each answer cell (its grade_id) a list of (what is wrong, the code, the points of each check of that question).
The k-th wrong answers of all questions are handed in together, so a check that lets a mistake in one question cost
points in another shows up as well.
"""

Answer = tuple[str, str, dict[str, float]]

_DISCRIMINATOR = "torch.expm1(-real).mean() + torch.expm1(fake).mean()"
_SATURATING = "-torch.expm1(fake).mean()"
_NON_SATURATING = "torch.expm1(-fake).mean()"


def _dloss(points: float, loss: str) -> tuple[str, dict[str, float]]:
    return f"def hellinger_discriminator_loss(real, fake):\n    return {loss}", {"dloss-value": points}


def _gloss(
    points: float, saturating: str = _SATURATING, non_saturating: str = _NON_SATURATING
) -> tuple[str, dict[str, float]]:
    code = f"def hellinger_generator_losses(fake):\n    return {saturating}, {non_saturating}"
    return code, {"gloss-value": points}


def _best(expression: str) -> tuple[str, dict[str, float]]:
    return f"def best_output(log_p, log_q):\n    return {expression}", {"best-value": 0}


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
    loss: str = "loss_for_generator(logits)",
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


def _layers(points: float, generator: str = _GENERATOR, discriminator: str = _CRITIC) -> tuple[str, dict[str, float]]:
    return f"def choose_layers():\n    return {generator}, {discriminator}", {"layers-both": points}


def _penalty(
    points: tuple[float, float, float],
    draw: str = "torch.randn(pictures.shape, generator=rng, dtype=pictures.dtype) if noise is None else noise",
    along: str = "(pictures * noise).sum() / math.sqrt(pictures[0].numel())",
    gradient: str = "torch.autograd.grad(along, z, create_graph=True)[0]",
    result: str = "((gradient.norm(dim=1) - target) ** 2).mean()",
) -> tuple[str, dict[str, float]]:
    code = f"""\
def path_penalty(network, z, target, noise=None, rng=None):
    z = z.detach().requires_grad_()
    pictures = network(z)
    noise = {draw}
    along = {along}
    gradient = {gradient}
    return {result}"""
    return code, dict(zip(("penalty-direction", "penalty-norm", "penalty-graph"), points, strict=True))


def _coverage(
    balls: float,
    classes: float,
    drawn: str = "samples[asked == y]",
    wanted: str = "real[labels == y]",
    radii: str = "torch.cdist(wanted, wanted).kthvalue(k + 1, dim=1).values",
    share: str = "(torch.cdist(wanted, drawn) <= radii[:, None]).any(dim=1).double().mean()",
    skip: str = "len(drawn) == 0",
    result: str = "torch.stack(shares)",
) -> tuple[str, dict[str, float]]:
    code = f"""\
def class_coverage(samples, asked, real, labels, k, num_classes):
    shares = []
    for y in range(num_classes):
        drawn, wanted = {drawn}, {wanted}
        if {skip}:
            shares.append(torch.tensor(0.0, dtype=torch.float64))
            continue
        radii = {radii}
        shares.append({share})
    return {result}"""
    return code, {"coverage-balls": balls, "coverage-classes": classes}


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

_WITH_THE_GIVEN_LOSSES = """\
def training_step(generator, discriminator, optimisers, x, z):
    fake = generator(z)
    d_loss = loss_for_discriminator(discriminator(2 * x - 1), discriminator(fake.detach()))
    optimisers[1].zero_grad()
    d_loss.backward()
    optimisers[1].step()
    g_loss = loss_for_generator(discriminator(fake))
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
        ("the chapter's game", *_dloss(0, "F.softplus(-real).mean() + F.softplus(fake).mean()")),
        ("v for T", *_dloss(0, "-real.mean() + (fake / (1 - fake)).mean()")),
        (
            "f for its conjugate",
            *_dloss(0, "torch.expm1(-real).mean() + ((1 - (-fake).exp()).sqrt() - 1).square().mean()"),
        ),
        ("T for both", *_dloss(0, "torch.expm1(-real).mean() - torch.expm1(-fake).mean()")),
        (
            "1 - T rounded",
            *_dloss(0, "torch.expm1(-real).mean() + ((1 - (-fake).exp()) / (1 - (1 - (-fake).exp()))).mean()"),
        ),
        ("sums for means", *_dloss(0, _DISCRIMINATOR.replace("mean", "sum"))),
        ("one mean over both batches", *_dloss(0, "torch.expm1(torch.cat([-real, fake])).mean()")),
        ("the real pictures only", *_dloss(0, "torch.expm1(-real).mean()")),
        ("real and generated exchanged", *_dloss(0, "torch.expm1(-fake).mean() + torch.expm1(real).mean()")),
        ("the constants forgotten", *_dloss(0, "(-real).exp().mean() + fake.exp().mean()")),
        ("half of it", *_dloss(0, f"({_DISCRIMINATOR}) / 2")),
        ("detached", *_dloss(0, f"({_DISCRIMINATOR}).detach()")),
    ],
    "gloss": [
        ("signs of both", *_gloss(0, "torch.expm1(fake).mean()", "-torch.expm1(-fake).mean()")),
        ("sign of the saturating loss", *_gloss(0, saturating="torch.expm1(fake).mean()")),
        ("T lowered", *_gloss(0, non_saturating="-torch.expm1(-fake).mean()")),
        ("sums for means", *_gloss(0, _SATURATING.replace("mean", "sum"), _NON_SATURATING.replace("mean", "sum"))),
        ("the losses swapped", *_gloss(0, _NON_SATURATING, _SATURATING)),
        ("the chapter's losses", *_gloss(0, "-F.softplus(fake).mean()", "F.softplus(-fake).mean()")),
        ("1 - T rounded", *_gloss(0, saturating="-((1 - (-fake).exp()) / (1 - (1 - (-fake).exp()))).mean()")),
        ("v for T", *_gloss(0, non_saturating="-fake.mean()")),
        ("one for each picture", *_gloss(0, "-torch.expm1(fake)", "torch.expm1(-fake)")),
        ("the constants forgotten", *_gloss(0, "-fake.exp().mean()", "(-fake).exp().mean()")),
        ("the saturating one twice", *_gloss(0, non_saturating=_SATURATING)),
    ],
    "best": [
        ("the ratio's logarithm, as in the chapter's game", *_best("log_p - log_q")),
        ("p and q exchanged", *_best("0.5 * (log_q - log_p)")),
        ("T for v", *_best("1 - (0.5 * (log_q - log_p)).exp()")),
        ("the ratio", *_best("(log_p - log_q).exp()")),
        ("the root of the ratio", *_best("(0.5 * (log_p - log_q)).exp()")),
        ("out of the logarithms", *_best("0.5 * (log_p.exp() / log_q.exp()).log()")),
        ("twice", *_best("2 * (log_p - log_q)")),
        ("a probability", *_best("torch.sigmoid(log_p - log_q)")),
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
        ("the wrong player's loss", *_dstep(0, 1, loss="loss_for_generator(discriminator(fake))")),
        ("no backward", *_dstep(0, 0, backward="pass")),
        ("gradients twice", *_dstep(0, 1, backward="loss.backward(retain_graph=True); loss.backward()")),
        (
            "gradients of the sum",
            *_dstep(0, 1, backward="(loss * len(x)).backward()"),
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
        ("the saturating loss", *_gstep(0, 1, loss="-F.softplus(logits).mean()")),
        ("fakes labelled 0", *_gstep(0, 1, loss="F.softplus(logits).mean()")),
        ("sum for mean", *_gstep(0, 1, loss="F.softplus(-logits).sum()")),
        ("the discriminator's own loss", *_gstep(0, 1, loss="loss_for_discriminator(logits, logits)")),
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
        ("the chapter's layers, for digits", *_layers(0, _DIGITS, "[(4, 2, 1), (4, 2, 1), (7, 1, 0)]")),
        ("3, 9, 27", *_layers(0, generator="[(3, 1, 0, 0), (3, 3, 0, 0), (3, 3, 0, 0)]")),
        # Both fit together at 48, which is no use for objects of 45.
        (
            "made for 48",
            *_layers(0, "[(3, 1, 0, 0), *[(4, 2, 1, 0)] * 4]", "[*[(4, 2, 1)] * 4, (3, 1, 0)]"),
        ),
        ("a last kernel of 7 upon 5 places", *_layers(0, discriminator="[(5, 3, 1), (5, 3, 1), (7, 1, 0)]")),
        ("ends at 2", *_layers(0, discriminator="[(5, 3, 1), (5, 3, 1), (4, 1, 0)]")),
        ("45 in one go", *_layers(0, "[(45, 1, 0, 0)]", "[(45, 1, 0)]")),
        ("gaps", *_layers(0, "[(5, 1, 0, 0), (1, 3, 0, 2), (1, 3, 0, 2)]", "[(1, 3, 0), (1, 3, 0), (5, 1, 0)]")),
        ("output padding as large as the stride", *_layers(0, "[(5, 1, 0, 0), (3, 3, 0, 3), (3, 3, 0, 0)]")),
        ("layers that do nothing", *_layers(0, f"{_GENERATOR} + [(1, 1, 0, 0)]", f"{_CRITIC} + [(1, 1, 0)]")),
        ("the generator's layers for both", *_layers(0, discriminator=_GENERATOR)),
    ],
    "penalty": [
        ("directions too long", *_penalty((0, 1, 1), along="(pictures * noise).sum()")),
        ("directions too short", *_penalty((0, 1, 1), along="(pictures * noise).sum() / pictures[0].numel()")),
        (
            "one direction for all",
            *_penalty((0, 1, 1), draw="torch.randn(pictures.shape[1:], generator=rng) if noise is None else noise"),
        ),
        (
            "uniform directions",
            *_penalty((0, 1, 1), draw="torch.rand(pictures.shape, generator=rng) if noise is None else noise"),
        ),
        ("rng ignored", *_penalty((0, 1, 1), draw="torch.randn_like(pictures) if noise is None else noise")),
        ("the sum of all pixels", *_penalty((0, 0, 1), along="pictures.sum() / math.sqrt(pictures[0].numel())")),
        (
            "mean over the batch within",
            *_penalty((1, 0, 1), along="(pictures * noise).mean() * math.sqrt(pictures[0].numel())"),
        ),
        ("norm over the batch", *_penalty((1, 0, 1), result="(gradient.norm() - target) ** 2")),
        ("norm squared", *_penalty((1, 0, 1), result="((gradient.square().sum(1) - target) ** 2).mean()")),
        ("sum", *_penalty((1, 0, 1), result="((gradient.norm(dim=1) - target) ** 2).sum()")),
        ("the Wasserstein GAN's target", *_penalty((1, 0, 1), result="((gradient.norm(dim=1) - 1) ** 2).mean()")),
        ("absolute deviations", *_penalty((1, 0, 1), result="(gradient.norm(dim=1) - target).abs().mean()")),
        ("the missing create_graph", *_penalty((1, 1, 0), gradient="torch.autograd.grad(along, z)[0]")),
        ("detached", *_penalty((1, 1, 0), gradient="torch.autograd.grad(along, z, create_graph=True)[0].detach()")),
        ("backward, into the weights", *_penalty((1, 1, 0), gradient="(along.backward(create_graph=True), z.grad)[1]")),
    ],
    "coverage": [
        (
            "recall: balls round the samples",
            *_coverage(
                0,
                1,
                radii="torch.cdist(drawn, drawn).kthvalue(k + 1, dim=1).values",
                share="(torch.cdist(wanted, drawn) <= radii).any(dim=1).double().mean()",
            ),
        ),
        (
            "precision: the share of samples",
            *_coverage(0, 1, share="(torch.cdist(wanted, drawn) <= radii[:, None]).any(dim=0).double().mean()"),
        ),
        (
            "density",
            *_coverage(0, 1, share="(torch.cdist(wanted, drawn) <= radii[:, None]).double().sum() / (k * len(drawn))"),
        ),
        ("each its own neighbour", *_coverage(0, 1, radii="torch.cdist(wanted, wanted).kthvalue(k, dim=1).values")),
        ("one neighbour too many", *_coverage(0, 1, radii="torch.cdist(wanted, wanted).sort(dim=1).values[:, k + 1]")),
        (
            "one radius for all",
            *_coverage(0, 1, radii="torch.cdist(wanted, wanted).kthvalue(k + 1, 1).values.mean().expand(len(wanted))"),
        ),
        (
            "every sample inside",
            *_coverage(0, 0, share="(torch.cdist(wanted, drawn) <= radii[:, None]).all(dim=1).double().mean()"),
        ),
        (
            "percent",
            *_coverage(0, 1, share="100 * (torch.cdist(wanted, drawn) <= radii[:, None]).any(dim=1).double().mean()"),
        ),
        ("the class asked for ignored", *_coverage(1, 0, drawn="samples")),
        ("the labels ignored", *_coverage(1, 0, wanted="real")),
        (
            "neighbours of every class",
            *_coverage(1, 0, radii="torch.cdist(real, real).kthvalue(k + 1, dim=1).values[labels == y]"),
        ),
        (
            "of all real pictures",
            *_coverage(
                1, 0, share="(torch.cdist(wanted, drawn) <= radii[:, None]).any(dim=1).double().sum() / len(real)"
            ),
        ),
        ("one number for all classes", *_coverage(0, 0, result="torch.stack(shares).mean()")),
        (
            "no sample, no answer",
            *_coverage(1, 0, skip="False", share="(torch.cdist(wanted, drawn).amin(dim=1) <= radii).double().mean()"),
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
        ("a list", *_mistakes('["A", "D", "E", "H", "I"]', 0, 2)),
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
    ],
}

# Right, but written otherwise than the solution: no check may insist on one way to write an answer.
OTHERWISE: dict[str, str] = {
    "dloss": """\
def hellinger_discriminator_loss(real, fake):
    warnings.warn("this is not a mistake")
    T_real, T_fake = 1 - (-real).exp(), 1 - (-fake.double()).exp()
    return -(T_real.mean() - (T_fake / (1 - T_fake)).mean())""",
    "gloss": """\
def hellinger_generator_losses(fake):
    return [1 - fake.exp().sum() / len(fake), (-fake).exp().sum() / len(fake) - 1]""",
    "best": """\
def best_output(log_p, log_q):
    T = -torch.expm1(0.5 * (log_q - log_p).clamp(-60, 1000).double())
    return torch.where(T.isfinite() & (T < 0.99) & (T > -1e6), -torch.log1p(-T), 0.5 * (log_p - log_q).double())""",
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
def path_penalty(network, z, target, noise=None, rng=None):
    z = z.clone().requires_grad_(True)
    pictures = network(z)
    noise = torch.randn(*pictures.shape, generator=rng).to(pictures) if noise is None else noise
    y = noise / pictures[0].numel() ** 0.5
    (gradient,) = torch.autograd.grad(pictures, z, grad_outputs=y, create_graph=True)
    return (gradient.square().sum(1).sqrt() - target).square().mean()""",
    "coverage": """\
def class_coverage(samples, asked, real, labels, k, num_classes):
    distances = torch.cdist(real, real, compute_mode="donot_use_mm_for_euclid_dist")
    distances[labels[:, None] != labels] = math.inf
    radii = distances.sort(dim=1).values[:, k]
    near = torch.cdist(real, samples, compute_mode="donot_use_mm_for_euclid_dist") <= radii[:, None]
    covered = (near & (labels[:, None] == asked)).any(dim=1)
    return torch.tensor([covered[labels == y].float().mean() for y in range(num_classes)])""",
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
def hellinger_discriminator_loss(real, fake):
    return (torch.exp(-real.double()) - 1).mean() + (torch.exp(fake.double()) - 1).mean()""",
        "gloss": """\
def hellinger_generator_losses(fake):
    fake = fake.to(torch.float64)
    return 1 - torch.exp(fake).mean(), torch.exp(-fake).mean() - 1""",
        "best": """\
def best_output(log_p, log_q):
    return (log_p.double() - log_q.double()) / 2""",
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
def path_penalty(network, z, target, noise=None, rng=None):
    z = torch.autograd.Variable(z, requires_grad=True)
    pictures = network(z)
    noise = torch.randn(pictures.shape, generator=rng, dtype=torch.float64) if noise is None else noise
    along = torch.sum(pictures.double() * noise.double()) / math.sqrt(math.prod(pictures.shape[1:]))
    slope, = torch.autograd.grad(along, z, create_graph=True)
    return (torch.linalg.vector_norm(slope.double(), dim=1) - target).pow(2).mean()""",
        "coverage": """\
def class_coverage(samples, asked, real, labels, k, num_classes):
    shares = torch.zeros(num_classes, dtype=torch.float64)
    for y in labels.unique().tolist():
        centres = real[labels == y].double()
        squares = (centres[:, None] - centres).square().sum(-1)
        radii = squares.topk(k + 1, largest=False).values[:, -1]
        near = (centres[:, None] - samples[asked == y].double()).square().sum(-1) <= radii[:, None]
        shares[y] = near.any(1).double().mean()
    return shares""",
        "bug": _WITH_THE_GIVEN_LOSSES,
    },
    "in NumPy where no gradient is asked for": {
        "setup": "import numpy as np",
        "best": """\
def best_output(log_p, log_q):
    return torch.from_numpy(0.5 * (log_p.numpy() - log_q.numpy()))""",
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
        "coverage": """\
def class_coverage(samples, asked, real, labels, k, num_classes):
    x, a, y, b = (each.numpy() for each in (samples, asked, real, labels))
    shares = []
    for c in range(num_classes):
        centres, drawn = y[b == c], x[a == c]
        radii = np.sort(np.linalg.norm(centres[:, None] - centres, axis=-1), axis=1)[:, k]
        near = np.linalg.norm(centres[:, None] - drawn, axis=-1) <= radii[:, None]
        shares.append(near.any(axis=1).mean() if len(drawn) else 0.0)
    return torch.tensor(np.array(shares))""",
    },
    "one by one": {
        "dloss": """\
def hellinger_discriminator_loss(real, fake):
    total = 0
    for v in real:
        total = total - (1 - torch.exp(-v)) / len(real)
    for v in fake:
        total = total + (torch.exp(v) - 1) / len(fake)
    return total""",
        "gloss": """\
def hellinger_generator_losses(fake):
    saturating = sum(1 - math.e**v for v in fake) / len(fake)
    return saturating, sum(math.e ** (-v) - 1 for v in fake) / len(fake)""",
        "best": """\
def best_output(log_p, log_q):
    flat = [0.5 * (a - b) for a, b in zip(log_p.flatten().tolist(), log_q.flatten().tolist())]
    return torch.tensor(flat).reshape(log_p.shape)""",
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
        "penalty": """\
def path_penalty(network, z, target, noise=None, rng=None):
    z = z.detach().clone().requires_grad_(True)
    pictures = network(z)
    noise = torch.randn(pictures.shape, generator=rng) if noise is None else noise
    total = 0.0
    for i in range(len(z)):
        along = (pictures[i] * noise[i]).sum() / pictures[i].numel() ** 0.5
        slope = torch.autograd.grad(along, z, create_graph=True)[0][i]
        total = total + (slope.norm() - target) ** 2
    return total / len(z)""",
        "coverage": """\
def class_coverage(samples, asked, real, labels, k, num_classes):
    covered, count = [0] * num_classes, [0] * num_classes
    for i, centre in enumerate(real.tolist()):
        y = int(labels[i])
        others = [math.dist(centre, r) for j, r in enumerate(real.tolist()) if j != i and labels[j] == y]
        radius = sorted(others)[k - 1]
        drawn = [s for j, s in enumerate(samples.tolist()) if asked[j] == y]
        covered[y] += any(math.dist(centre, s) <= radius for s in drawn)
        count[y] += 1
    return torch.tensor([a / b for a, b in zip(covered, count)])""",
    },
    "in place": {
        "dloss": """\
def hellinger_discriminator_loss(real, fake):
    loss = (-real).exp().mean()
    loss += fake.exp().mean()
    loss -= 2
    return loss""",
        "penalty": """\
def path_penalty(network, z, target, noise=None, rng=None):
    z = z.detach()
    z.requires_grad_()
    pictures = network(z)
    y = torch.randn(pictures.shape, generator=rng) if noise is None else noise.clone()
    y /= pictures[0].numel() ** 0.5
    slope = torch.autograd.grad((pictures * y).sum(), z, create_graph=True)[0]
    return ((slope.square().sum(1).sqrt() - target) ** 2).mean()""",
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
    g_loss = loss_for_generator(discriminator(fake))
    g_loss.backward()
    optimisers[0].step()
    optimisers[1].zero_grad()
    return d_loss.item(), g_loss.item()""",
    },
    "with star imports": {
        "setup": "from numpy import *\nfrom torch.nn.functional import *\nfrom math import *",
        "best": """\
def best_output(log_p, log_q):
    return (log_p - log_q) / 2""",
        "penalty": """\
def path_penalty(network, z, target, noise=None, rng=None):
    z = z.detach().requires_grad_()
    pictures = network(z)
    noise = torch.randn(pictures.shape, generator=rng) if noise is None else noise
    along = (pictures * noise).sum() / sqrt(prod(pictures.shape[1:]))
    slope = torch.autograd.grad(along, z, create_graph=True)[0]
    return ((slope.norm(dim=1) - target) ** 2).mean()""",
    },
    # Functions that take more than their docstrings say, and answers that rely on it.
    "generous functions": {
        "dloss": """\
def hellinger_discriminator_loss(real=None, fake=None, weight=1.0):
    loss = 0.0
    if real is not None:
        loss = loss + torch.expm1(-real).mean()
    if fake is not None:
        loss = loss + torch.expm1(fake).mean()
    return weight * loss""",
        "gloss": """\
def hellinger_generator_losses(fake):
    return -hellinger_discriminator_loss(fake=fake), hellinger_discriminator_loss(real=fake)""",
        "dstep": """\
def discriminator_backward(generator, discriminator, x, z):
    with torch.no_grad():
        fake = generator(z)
    loss = loss_for_discriminator(real_logits=discriminator(x), fake_logits=discriminator(fake))
    loss.backward()
    return loss.detach()""",
        "gstep": """\
def generator_backward(generator, discriminator, z):
    loss = loss_for_generator(fake_logits=discriminator(generator(z)))
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
        "coverage": """\
def class_coverage(samples, asked, real, labels, k, num_classes, only=None):
    if only is None:
        each = [class_coverage(samples, asked, real, labels, k, num_classes, y) for y in range(num_classes)]
        return torch.stack(each)
    centres, drawn = real[labels == only], samples[asked == only]
    radii = torch.cdist(centres, centres).kthvalue(k + 1).values
    return (torch.cdist(centres, drawn) <= radii[:, None]).any(1).float().mean()""",
    },
}

# What to tell a student about each of the wrong answers. Where two cannot be told apart, the words hold for both.
_NOT_AFTER = (
    "Your generator's loss is computed against the discriminator as it was before its step. It is to be computed "
    "against the discriminator as its step has left it."
)
_STANDS_STILL = (
    "Your generator's step changes nothing, since its weights have no gradient when the optimiser makes the step. "
    "Either the pictures have lost their history, or the gradients are cleared between backward and step."
)
_CUT = (
    "Your penalty has the right value, but no gradient of it reaches the generator's weights: the inner gradient has "
    "lost its own history."
)

DIAGNOSES: dict[str, dict[str, str]] = {
    "dloss": {
        "the value for the loss": "This is V(T), which the discriminator raises; its loss is −V(T).",
        "the chapter's game": "This is the loss of the chapters' game. The loss of the squared Hellinger distance is "
        "asked for.",
        "v for T": "Your loss puts the network's output v where T belongs; T is 1 − exp(−v).",
        "f for its conjugate": "The second term of V takes the conjugate f* at T; yours takes f itself.",
        "T for both": "Your second term is the mean of T. V subtracts the mean of f*(T) there.",
        "1 - T rounded": "For large v, single precision rounds 1 − T to 0, and your loss is infinite. Simplify f*(T) "
        "as a function of v on paper first.",
        "sums for means": "Your loss takes sums over the batches; each expectation is the mean over its own batch.",
        "one mean over both batches": "Your loss is one mean over all pictures together. Each expectation is the mean "
        "over its own batch, and the two means are added.",
        "the real pictures only": "The term of the generated pictures is missing from your loss.",
        "real and generated exchanged": "The real and the generated pictures have changed places in your loss.",
        "the constants forgotten": "Your gradients are right, but the loss is too large by a constant: at v = 0 both "
        "T and f*(T) are 0.",
        "half of it": "Your loss is half of −V(T); the two terms are added, not averaged.",
        "detached": "Your loss has the right value, but it has lost its history, so no gradient reaches the outputs.",
    },
    "gloss": {
        "signs of both": "Both of your losses have the wrong sign: made small, they would lower T for generated "
        "pictures.",
        "sign of the saturating loss": "Your saturating loss has the wrong sign. It is the generator's part of V, "
        "which comes with a minus.",
        "T lowered": "Your non-saturating loss has the wrong sign: made small, it would lower T for generated "
        "pictures.",
        "sums for means": "Your losses are sums over the batch; means are asked for.",
        "the losses swapped": "Your two losses have changed places: the saturating one comes first.",
        "the chapter's losses": "These are the two losses of the chapters' game. Those of the squared Hellinger "
        "distance are asked for.",
        "1 - T rounded": "For large v, single precision rounds 1 − T to 0, and your saturating loss is infinite. "
        "Simplify f*(T) as a function of v on paper first.",
        "v for T": "Your non-saturating loss puts the network's output v where T belongs; T is 1 − exp(−v).",
        "one for each picture": "You return a loss for each picture; each of the two losses is a single number, the "
        "mean over the batch.",
        "the constants forgotten": "Your gradients are right, but each loss is shifted by a constant: at v = 0 both T "
        "and f*(T) are 0.",
        "the saturating one twice": "Your second loss is the saturating one again; the non-saturating one is asked "
        "for.",
    },
    "best": {
        "the ratio's logarithm, as in the chapter's game": "This is the logarithm of p/q, the best output in the "
        "chapters' game. With this f and T = 1 − exp(−v), another output is best.",
        "p and q exchanged": "Your output has the wrong sign: p and q have changed places, so it is high where "
        "generated pictures are more likely.",
        "T for v": "This is the best T. The output v with T = 1 − exp(−v) is asked for.",
        "the ratio": "This is the ratio u = p/q, at which f' is to be taken; the output v is asked for.",
        "the root of the ratio": "This is the root of p/q, still on the scale of the densities. The output v with T = "
        "1 − exp(−v) is asked for.",
        "out of the logarithms": "Your formula holds, but it leaves the logarithmic scale: densities such as e^−1000 "
        "become 0 there, and their ratio is no number.",
        "twice": "Your output grows too fast with the logarithm of the ratio: f' at u = p/q holds a root, not a "
        "square.",
        "a probability": "This is the best discriminator's probability in the chapters' game; here the output v, any "
        "real number, is asked for.",
    },
    "dstep": {
        "the missing detach": "The discriminator's loss sends gradients to the generator as well: its pictures still "
        "have their history.",
        "gradients cleared instead of cut": "You clear the generator's .grad afterwards, and what was there before "
        "the call is lost. No gradient should reach the generator in the first place.",
        "the generator frozen for good": "Your function sets requires_grad of the generator's weights to False and "
        "leaves it so. The generator can no longer be trained.",
        "the logits detached too": "You detach the logits of the generated pictures, so the discriminator learns "
        "nothing from these pictures. Cut the history before the discriminator, not after it.",
        "real and fake exchanged": "The real and the generated pictures have changed places in your loss.",
        "the wrong player's loss": "This is the generator's loss; the discriminator's turn takes its own.",
        "no backward": "You return a loss, but no gradient is computed: .grad of the discriminator's weights is still "
        "None.",
        "gradients twice": "Your loss is right, but its gradients are twice as large as they should be: backward adds "
        "to .grad each time it is called.",
        "gradients of the sum": "Your loss is the mean over the batch, but your gradients are those of the sum.",
    },
    "gstep": {
        "gradients for both": "The generator's loss writes gradients to the discriminator's weights as well.",
        "the picture detached": "No gradient reaches the generator. Either backward was not called, or the generated "
        "pictures have lost their history on the way through the discriminator.",
        "the discriminator's gradients cleared": "You clear the discriminator's .grad afterwards, and what was there "
        "before the call is lost. The gradients should not be written there in the first place.",
        "the discriminator frozen for good": "Your function sets requires_grad of the discriminator's weights to "
        "False and leaves it so. The discriminator can no longer be trained.",
        "the saturating loss": "This is the saturating loss, E[log(1 − D(G(z)))]; the non-saturating one is asked for.",
        "fakes labelled 0": "Your loss is small when the pictures are recognised as generated. The generator wants "
        "the opposite.",
        "sum for mean": "Your loss is the sum over the batch; the mean is asked for.",
        "the discriminator's own loss": "This is the discriminator's loss, with the generated pictures as the real "
        "ones, too. The generator's non-saturating loss is asked for.",
    },
    "optimal": {
        "not stable": "Your formula is right where the densities can be represented. Densities such as e^−1000 or "
        "e^1000 become 0 or infinity outside the logarithmic scale, and your answer is no number.",
        "p and q exchanged": "p and q have changed places: this is the probability that x is generated.",
        "the ratio": "This is the ratio p/q; D* is a probability, between 0 and 1.",
        "sum for difference": "Your answer depends on the sum of the two logarithms, so it changes when both "
        "densities have a common factor. D* depends on their ratio alone.",
        "the logit": "This is the logit of D*; the probability itself is asked for.",
        "the logarithm": "This is the logarithm of D*; the probability itself is asked for.",
        "never above a half": "Your answer is half of D*, so it never exceeds 1/2.",
        "over the points, not over p and q": "Your answer is normalised over the points, so it depends on how many "
        "there are. Each x is to be treated on its own: normalise over p and q.",
        "too soft": "Your answer lies too close to 1/2: its logit has a factor that does not belong there.",
    },
    "value": {
        "the loss": "This is the discriminator's loss; the value of the game is minus that.",
        "rounded 1 - D*": "Where D* rounds to 1, your 1 − D* is 0 and its logarithm minus infinity, though the true "
        "value of 1 − D* is not 0.",
        "0 times minus infinity": "For outcomes of probability zero your formula computes 0 times minus infinity, "
        "which is not a number. Such outcomes contribute 0.",
        "the real half": "Your value has the term of the real outcomes only; that of the generated ones is missing.",
        "mean over the outcomes": "You take the mean over the outcomes. An expectation is the sum over the outcomes, "
        "weighted by their probabilities.",
        "the divergence": "This is the Jensen–Shannon divergence; V(D*) is asked for.",
        "bits": "Your value is measured in bits, with logarithms to the base 2; nats are asked for.",
        "not weighted": "Your sums count every outcome alike. An expectation weights each outcome by its probability.",
    },
    "size": {
        "+ 1 forgotten": "Your convolution's size is too small by 1: the kernel's first position counts as well.",
        "padding at one end": "You count the padding once; it is applied at each of the two ends.",
        "not rounded": "Your convolution's size is a fraction, not an int. The kernel moves on only as long as it "
        "fits.",
        "rounded up": "You round the convolution's size up, so the last position reaches beyond the end. The kernel "
        "moves on only as long as it fits.",
        "stride times size": "Your transposed convolution is too large by one stride: between size inputs there are "
        "only size − 1 steps.",
        "padding added": "Your transposed convolution adds the padding; there it is cut off at each end.",
        "output padding forgotten": "Your transposed convolution ignores output_padding.",
        "kernel forgotten": "Your transposed convolution does not depend on the kernel. The last input, too, is "
        "spread out over as many places as the kernel has.",
        "the two exchanged": "The two rules have changed places: that of the convolution is used for the transposed "
        "one, and the reverse.",
        "output padding for both": "Your convolution adds output_padding, which matters only for the transposed one.",
    },
    "layers": {
        "the chapter's layers, for digits": "These layers are made for pictures of 28×28, as in the chapter; objects "
        "of 45×45×45 are asked for.",
        "3, 9, 27": "Your generator ends at a size of 27, not at 45.",
        "made for 48": "Your two networks fit each other, but at a size of 48; objects of 45×45×45 are asked for.",
        "a last kernel of 7 upon 5 places": "Your discriminator's last layer has a kernel of 7, but only 5 places are "
        "left there.",
        "ends at 2": "Your discriminator ends at a size of 2, not of 1.",
        "45 in one go": "You use a single layer with a kernel of 45; at least three layers are asked for, and a "
        "kernel of at most 7.",
        "gaps": "Some of your strides are larger than the kernel, which leaves gaps or skips inputs: stride ≤ kernel "
        "is asked for.",
        "output padding as large as the stride": "In one of your layers output_padding is as large as the stride; it "
        "has to be smaller.",
        "layers that do nothing": "Your last layer of each network leaves the size as it is; every layer has to "
        "change it.",
        "the generator's layers for both": "You return the generator's layers for the discriminator as well; its own "
        "layers have three numbers each and reduce the size from 45 to 1.",
    },
    "penalty": {
        "directions too long": "Your directions are eps itself; the division by the root of P, the number of numbers "
        "per picture, is missing.",
        "directions too short": "You divide eps by P, the number of numbers per picture; y is eps divided by the root "
        "of P.",
        "one direction for all": "You draw one eps for the whole batch; every example has an eps of its own.",
        "uniform directions": "You draw eps from a uniform distribution; N(0, I) is asked for.",
        "rng ignored": "You draw eps without rng, so the same seed does not give the same directions.",
        "the sum of all pixels": "Your penalty ignores the noise: all pixels are summed alike, instead of being "
        "weighted by the direction y.",
        "mean over the batch within": "You take the mean over the batch before the gradient, so each example's "
        "gradient is too short by the batch size. The mean belongs after the squares.",
        "norm over the batch": "Your norm runs over the whole batch; each example has a norm of its own.",
        "norm squared": "You compare the squared norm with the target; the norm itself is asked for.",
        "sum": "Your penalty is the sum over the batch; the mean is asked for.",
        "the Wasserstein GAN's target": "You compare the norm with 1, as the Wasserstein GAN's penalty does; here the "
        "target is an argument.",
        "absolute deviations": "You take the absolute value of each deviation from the target; its square is asked "
        "for.",
        "the missing create_graph": _CUT,
        "detached": _CUT,
        "backward, into the weights": "Your penalty is right, but computing it writes gradients into .grad of the "
        "generator's weights.",
    },
    "coverage": {
        "recall: balls round the samples": "Your balls lie around the samples, as for recall. For the coverage they "
        "lie around the real pictures.",
        "precision: the share of samples": "This is the share of samples that lie in a ball. The share of real "
        "pictures whose ball holds a sample is asked for.",
        "density": "This is the density, which counts how many balls each sample lies in. The coverage asks only "
        "whether a ball holds any sample.",
        "each its own neighbour": "You count each real picture as its own nearest neighbour, so your balls reach to "
        "the neighbour k − 1, not k.",
        "one neighbour too many": "Your balls reach to the neighbour k + 1, not k.",
        "one radius for all": "All of your balls have the same radius, a mean; each real picture has a radius of its "
        "own.",
        "every sample inside": "You ask that all samples lie in a ball; a single one is enough to cover it.",
        "percent": "Your coverage is in percent; a share from 0 to 1 is asked for.",
        "the class asked for ignored": "For each class you use all samples. Only those that were asked for as this "
        "class count.",
        "the labels ignored": "For each class you use all real pictures. Only those with its label count.",
        "neighbours of every class": "You look for the nearest neighbours among the real pictures of all classes; "
        "only those of the same class count.",
        "of all real pictures": "You divide by the number of all real pictures; the coverage of a class is a share of "
        "the real pictures of that class.",
        "one number for all classes": "You return the mean over the classes; one number per class is asked for, in a "
        "tensor of shape (num_classes,).",
        "no sample, no answer": "Your function stops at a class for which no sample was asked; its coverage is 0.",
    },
    "mistakes": {
        "four of five": "Four of your five letters are right.",
        "three of five": "Three of your five letters are right.",
        "the other five": "These are the five false statements; the true ones are asked for.",
        "all ten": "You name all ten letters; exactly five statements are true.",
        "a set of four": "You return a set of four letters; five letters in one string are asked for.",
        "a letter twice": "One letter occurs twice in your answer; five different letters are asked for.",
        "small letters": "Your letters are small ones; write them as in the list, as capitals.",
        "a list": "You return a list; one string is asked for.",
    },
    "bug": {
        "all five mistakes left": "In this check your step behaves exactly as faulty_step does.",
        "the discriminator's gradients pile up": "The discriminator's gradients are never cleared, so those of "
        "earlier steps are added to each new one.",
        "detached in the generator's loss": _STANDS_STILL,
        "fakes labelled 0 in the generator's loss": "Your generator's loss is small when its pictures are recognised "
        "as generated; the non-saturating loss is asked for.",
        "zero_grad between backward and step": _STANDS_STILL,
        "pictures from 0 to 1": "The real pictures still lie between 0 and 1, and the generated ones between −1 and "
        "1. Both must have the same range.",
        "pictures from -1/2 to 1/2": "You bring the real pictures to the range from −1/2 to 1/2; that of the "
        "generated ones is −1 to 1.",
        "cleared at the top, the missing detach": "The discriminator's loss leaves gradients in the generator's "
        "weights too, and nothing clears them before the generator's step, which therefore follows both losses.",
        "the generator first": _NOT_AFTER,
        "both at the same time": _NOT_AFTER,
        "one loss for both players": "You add the two losses and differentiate the sum, so each player also follows "
        "the other one's loss. Each player's step follows its own loss only.",
    },
}
