"""The published weights of GPT-2 in the course's GPT. Source: Radford et al. (2019)."""

from torch import Tensor

from aigc_course.gpt import GPT, GPT2, GPTConfig


def from_gpt2(weights: dict[str, Tensor], heads: int) -> GPT:
    """Return a GPT with the published weights of GPT-2, or of a model of its kind from Hugging Face `transformers`.

    Its learning rate is set to 5e-5, for fine-tuning: rates for small new models would destroy what it knows.

    **Arguments:**

    - `weights`: what `safetensors.torch.load_file("model.safetensors")` or `GPT2LMHeadModel.state_dict()` returns.
    - `heads`: the weights do not tell; 12, 16, 20 and 25 for GPT-2 from small to XL.

    The sizes are read off the weights; what else the file holds, such as GPT-2's stored masks, is left. Raises
    `ValueError` if a weight is missing or of a wrong shape.
    """
    given = {name.removeprefix("transformer."): weight for name, weight in weights.items()}
    needed = {"wte.weight", "wpe.weight"} - given.keys()
    if needed:
        raise ValueError(f"the weights lack {', '.join(sorted(needed))}; they are not those of a GPT-2.")
    (vocab_size, width), context = given["wte.weight"].shape, len(given["wpe.weight"])
    # By number, not by name: "h.10" would come before "h.2".
    layers = 1 + max((int(name.split(".")[1]) for name in given if name.startswith("h.")), default=-1)
    sizes = {"vocab_size": vocab_size, "context": context, "layers": layers, "heads": heads, "width": width}
    model = GPT(GPTConfig(**{**GPT2, **sizes, "learning_rate": 5e-5}))
    ours = {"embedding": "wte", "positions": "wpe", "norm": "ln_f"}
    for i in range(layers):
        parts = {"norm_1": "ln_1", "attention.qkv": "attn.c_attn", "attention.out": "attn.c_proj", "norm_2": "ln_2"}
        parts |= {"mlp.0": "mlp.c_fc", "mlp.2": "mlp.c_proj"}
        ours |= {f"blocks.{i}.{our}": f"h.{i}.{their}" for our, their in parts.items()}
    state = {}
    for name, target in model.state_dict().items():
        module, _, kind = name.rpartition(".")
        source = "wte.weight" if module == "head" else f"{ours[module]}.{kind}"
        weight = given.get(source)
        # GPT-2's layers multiply from the other side: (inputs, outputs) where torch.nn.Linear has (outputs, inputs).
        if weight is not None and ".c_" in source and kind == "weight":
            weight = weight.T
        if weight is None or weight.shape != target.shape:
            found = "missing" if weight is None else f"of shape {tuple(weight.shape)}"
            raise ValueError(f"the weight {source} is {found}; {tuple(target.shape)} was expected.")
        state[name] = weight
    model.load_state_dict(state)
    return model.eval()
