#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes golden values of methods that HF PEFT does not have, or has few of, from seeds, with torch and transformers:

    make_golden.py OUT [NAME…]    OUT/small: a model and data.json, made where they are missing; one folder per case, laid
                                  out like the shared golden values: those named, or all

Another machine gives other last digits: for a new case, name it alone, so that the others stay as they are.

Each method is computed from its formula, in float64, through hooks on the linear modules of a Llama; rows are not padded.
Gradients are torch's. Values are written as float32. Never run by a test.
"""
import json
import math
import os
import sys

import torch
from safetensors.torch import save_file
from torch.nn.functional import cross_entropy
from transformers import AutoConfig, AutoModelForCausalLM

TRAIN = {"steps": 12, "lr": 1e-3, "weight_decay": 1e-2, "warmup_ratio": 0.1, "clip": 1.0}
WARMUP = math.ceil(TRAIN["warmup_ratio"] * TRAIN["steps"])
ACTIVATIONS = {"tanh": torch.tanh, "relu": torch.relu, "silu": torch.nn.functional.silu}


class Bottleneck:
    """h + W_up act(W_down h + b_down) + b_up at the outputs of o_proj and down_proj."""

    def __init__(self, placement, size, activation):
        self.targets = ("down_proj",) if placement == "pfeiffer" else ("o_proj", "down_proj")
        self.size, self.activation = size, ACTIVATIONS[activation]
        self.config = {"peft_type": "BOTTLENECK", "placement": placement, "bottleneck_size": size,
                       "non_linearity": activation}

    def shapes(self, weight):
        width = weight.shape[0]
        return {"adapter_down.weight": (self.size, width), "adapter_down.bias": (self.size,),
                "adapter_up.weight": (width, self.size), "adapter_up.bias": (width,)}

    def output(self, t, weight, x, y):
        down = self.activation(y @ t["adapter_down.weight"].T + t["adapter_down.bias"])
        return y + down @ t["adapter_up.weight"].T + t["adapter_up.bias"]


class Reflections:
    """W H_1 … H_r with H_k = I - 2 u uᵀ / uᵀu, u column k."""

    def __init__(self, r, targets):
        self.r, self.targets = r, targets
        self.config = {"peft_type": "HRA", "r": r, "apply_GS": False, "target_modules": list(targets)}

    def shapes(self, weight):
        return {"hra_u": (weight.shape[1], self.r)}

    def output(self, t, weight, x, y):
        reflected = x
        for k in reversed(range(self.r)):
            u = t["hra_u"][:, k]
            reflected = reflected - 2 * (reflected @ u / (u @ u))[..., None] * u
        return y + (reflected - x) @ weight.T


def factors(weight):
    """U and Vᵀ of the singular value decomposition; the first entry of largest magnitude in a column of U is positive."""
    u, _, vt = torch.linalg.svd(weight, full_matrices=False)
    largest = u[u.abs().argmax(dim=0), torch.arange(u.shape[1])]
    return u * largest.sign(), vt * largest.sign()[:, None]


class SingularVectors:
    """U (Σ + M) Vᵀ with M trained at the positions of a pattern."""

    def __init__(self, pattern, beside, targets):
        self.pattern, self.beside, self.targets = pattern, beside, targets
        self.config = {"peft_type": "SVFT", "pattern": pattern, "off_diag": beside, "target_modules": list(targets)}

    def positions(self, weight):
        """Row and column of every entry, in the order of the file."""
        r = min(weight.shape)
        d = min(0 if self.pattern == "plain" else self.beside, r - 1)
        count = r * (2 * d + 1) - d * (d + 1)
        if self.pattern in ("plain", "banded"):
            return torch.tensor([(i, i + o) for o in range(-d, d + 1) for i in range(r) if 0 <= i + o < r])
        if self.pattern == "random":
            order = torch.randperm(r * r, generator=torch.Generator().manual_seed(weight.shape[0]))
        else:
            u, vt = factors(weight)
            order = (u.T @ vt.T).abs().flatten().argsort(descending=True)
        place = order[:count].sort().values
        return torch.stack([place // r, place % r], 1)

    def shapes(self, weight):
        return {"svft_M": (len(self.positions(weight)),)}

    def fixed(self, weight):
        return {"svft_positions": self.positions(weight).double()} if self.pattern in ("random", "top_k") else {}

    def output(self, t, weight, x, y):
        u, vt = factors(weight)
        at = self.positions(weight)
        m = torch.zeros(vt.shape[0], vt.shape[0], dtype=torch.float64).index_put((at[:, 0], at[:, 1]), t["svft_M"])
        return y + x @ vt.T @ m.T @ u.T


CASES = {
    "bn_houlsby": Bottleneck("houlsby", 6, "tanh"),
    "bn_pfeiffer": Bottleneck("pfeiffer", 5, "relu"),
    "hra_odd": Reflections(3, ("down_proj", "q_proj", "v_proj")),
    "svft_plain": SingularVectors("plain", 1, ("k_proj", "down_proj")),
    "svft_banded": SingularVectors("banded", 2, ("down_proj", "k_proj", "q_proj", "up_proj")),
    "svft_random": SingularVectors("random", 1, ("k_proj", "up_proj")),
    "svft_top_k": SingularVectors("top_k", 1, ("o_proj", "q_proj")),
}


def make_model(folder):
    torch.manual_seed(20)
    config = AutoConfig.for_model(
        "llama", vocab_size=64, hidden_size=32, intermediate_size=40, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=64, bos_token_id=1, eos_token_id=2, pad_token_id=0,
        tie_word_embeddings=False, rms_norm_eps=1e-5, attn_implementation="eager")
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float64)
    for _, parameter in sorted(model.named_parameters()):
        noise = torch.randn(parameter.shape, dtype=torch.float64)
        parameter.data = 1 + 0.2 * noise if parameter.ndim == 1 else noise / parameter.shape[1] ** 0.5
    model.float().save_pretrained(folder)
    os.remove(os.path.join(folder, "generation_config.json"))


def small_model(folder):
    if not os.path.exists(folder):
        make_model(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
    model.requires_grad_(False)
    return model.double().eval()


def data():
    torch.manual_seed(21)

    def row(length):
        return torch.randint(3, 64, (length,)).tolist()
    batches = [[{"ids": row(9 + 3 * ((r + b) % 4)), "prompt_len": 3 + r} for r in range(4)] for b in range(3)]
    return {"sequences": [row(20)], "batches": batches}


def attach(model, method, values):
    """Hooks that compute the method with `values`, a dictionary by full name."""
    hooks = []
    for path, module in model.named_modules():
        if path.split(".")[-1] not in method.targets:
            continue
        prefix = f"base_model.model.{path}."
        mine = {n[len(prefix):]: v for n, v in values.items() if n.startswith(prefix)}
        hooks.append(module.register_forward_hook(
            lambda module, args, y, mine=mine: method.output(mine, module.weight, args[0], y)))
    return hooks


def loss_of(model, batch):
    total = count = 0
    for row in batch:
        ids = torch.tensor([row["ids"]])
        start = max(row["prompt_len"], 1)
        total = total + cross_entropy(model(ids).logits[0, start - 1:-1], ids[0, start:], reduction="sum")
        count += len(row["ids"]) - start
    return total / count


def rate(step):
    if step < WARMUP:
        return TRAIN["lr"] * step / WARMUP
    return TRAIN["lr"] * (1 + math.cos(math.pi * (step - WARMUP) / (TRAIN["steps"] - WARMUP))) / 2


def save_adapter(folder, method, tensors):
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "adapter_config.json"), "w", encoding="utf-8") as file:
        json.dump(method.config, file, indent=1, sort_keys=True)
    save(os.path.join(folder, "adapter_model.safetensors"), tensors)


def save(path, tensors):
    save_file({n: v.detach().float().contiguous() for n, v in tensors.items()}, path)


def make(folder, model, text, method):
    torch.manual_seed(22)
    values, fixed = {}, {}
    for path, module in model.named_modules():
        if path.split(".")[-1] in method.targets:
            for name, shape in method.shapes(module.weight).items():
                value = 0.3 * torch.randn(shape, dtype=torch.float64)
                values[f"base_model.model.{path}.{name}"] = value.float().double().requires_grad_()
            for name, value in getattr(method, "fixed", lambda weight: {})(module.weight).items():
                fixed[f"base_model.model.{path}.{name}"] = value
    hooks = attach(model, method, {**values, **fixed})
    ids = torch.tensor([text["sequences"][0]])
    outputs = {"init.logits": model(ids).logits[0]}
    save_adapter(os.path.join(folder, "adapter_init"), method, {**values, **fixed})

    first = loss_of(model, text["batches"][0])
    names = sorted(values)
    save(os.path.join(folder, "grads.safetensors"),
         dict(zip(names, torch.autograd.grad(first, [values[n] for n in names]))))
    optimiser = torch.optim.AdamW(values.values(), weight_decay=TRAIN["weight_decay"])
    curve = []
    for step in range(TRAIN["steps"]):
        optimiser.param_groups[0]["lr"] = rate(step)
        optimiser.zero_grad()
        loss = loss_of(model, text["batches"][step % 3])
        loss.backward()
        norm = math.sqrt(sum(float((v.grad ** 2).sum()) for v in values.values()))
        for value in values.values():
            value.grad *= min(1.0, TRAIN["clip"] / (norm + 1e-6))
        optimiser.step()
        curve.append({"step": step, "loss": loss.item(), "grad_norm": norm, "lr": rate(step)})
    outputs["final.logits"] = model(ids).logits[0]
    save_adapter(os.path.join(folder, "adapter_final"), method, {**values, **fixed})
    save(os.path.join(folder, "outputs.safetensors"), outputs)
    for hook in hooks:
        hook.remove()
    golden = {"train": TRAIN, "trainable_parameters": sum(v.numel() for v in values.values()),
              "loss_batch0_init_f64": first.item(), "curve_f64": curve}
    with open(os.path.join(folder, "golden.json"), "w", encoding="utf-8") as file:
        json.dump(golden, file, indent=1)


def small_data(path):
    if not os.path.exists(path):
        with open(path, "w", encoding="utf-8") as file:
            json.dump(data(), file)
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def main(out, names):
    torch.set_num_threads(1)
    unknown = set(names) - set(CASES)
    if unknown:
        sys.exit(f"{', '.join(sorted(unknown))}: not among the cases {', '.join(CASES)}")
    model = small_model(os.path.join(out, "small"))
    text = small_data(os.path.join(out, "small", "data.json"))
    for name in names or CASES:
        make(os.path.join(out, name), model, text, CASES[name])


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main(sys.argv[1], sys.argv[2:])
