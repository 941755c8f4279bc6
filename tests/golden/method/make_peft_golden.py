#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes golden values with HF PEFT itself, for training that the shared golden values do not cover: the budget of AdaLoRA
and the optimiser of LoRA+. Needs the model and data.json that make_golden.py writes:

    make_peft_golden.py OUT      OUT/small as it is; one folder per case, laid out like the shared golden values

Everything is float64, rows are not padded. Values are written as float32. Never run by a test.
"""
import json
import math
import os
import shutil
import sys

import torch
from peft import AdaLoraConfig, LoraConfig, get_peft_model
from peft.optimizers import create_loraplus_optimizer
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from make_golden import TRAIN, loss_of, rate, save

TARGETS = ["k_proj", "down_proj"]
RATIO = 16.0
SCHEDULE = {"tinit": 1, "tfinal": 3, "deltaT": 2, "total_step": TRAIN["steps"]}
CASES = {
    "adalora_budget": (AdaLoraConfig(init_r=5, target_r=2, lora_alpha=7, orth_reg_weight=0.3, beta1=0.8, beta2=0.7,
                                     target_modules=TARGETS, task_type="CAUSAL_LM", **SCHEDULE), None),
    "adalora_short": (AdaLoraConfig(init_r=3, target_r=1, lora_alpha=4, tinit=2, tfinal=0, deltaT=3,
                                    total_step=TRAIN["steps"], target_modules=["q_proj", "up_proj"],
                                    task_type="CAUSAL_LM"), None),
    "lora_plus": (LoraConfig(r=4, lora_alpha=8, target_modules=TARGETS, task_type="CAUSAL_LM"),
                  'name = "lora"; r = 4; alpha = 8.0; dropout = 0.0; targets = ["k_proj", "down_proj"]; '
                  'lora_plus_ratio = 16.0;'),
    "dora_plus": (LoraConfig(r=2, lora_alpha=3, use_dora=True, target_modules=["o_proj", "up_proj"],
                             task_type="CAUSAL_LM"),
                  'name = "dora"; r = 2; alpha = 3.0; dropout = 0.0; targets = ["o_proj", "up_proj"]; '
                  'lora_plus_ratio = 16.0;'),
}


def file_name(name):
    """As save_pretrained writes it."""
    name = name.replace("lora_magnitude_vector.default.weight", "lora_magnitude_vector")
    return name.replace(".default", "")


def loss_with_penalty(model, batch):
    """The term that HF PEFT's forward adds to the loss is the same for every row."""
    loss = loss_of(model, batch)
    if isinstance(model.peft_config["default"], AdaLoraConfig):
        ids = torch.tensor([batch[0]["ids"]])
        loss = loss + model(ids, labels=ids).loss - model.base_model.model(ids, labels=ids).loss
    return loss


def make_optimiser(model, plus):
    if plus:
        return create_loraplus_optimizer(model, torch.optim.AdamW, lr=TRAIN["lr"], loraplus_lr_ratio=RATIO,
                                         loraplus_weight_decay=TRAIN["weight_decay"])
    return torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], weight_decay=TRAIN["weight_decay"])


def make(folder, small, text, config, options):
    torch.manual_seed(23)
    base = AutoModelForCausalLM.from_pretrained(small, dtype=torch.float64, attn_implementation="eager")
    model = get_peft_model(base, config).eval()
    for name, parameter in model.named_parameters():
        if "ranknum" in name:  # its copy as float64 is a parameter that trains
            parameter.requires_grad_(False)
    values = {n: p for n, p in sorted(model.named_parameters()) if p.requires_grad}
    for name, value in values.items():
        noise = (0.1 if "magnitude" in name else 0.3) * torch.randn(value.shape, dtype=torch.float64)
        value.data = (value.data + noise if "magnitude" in name else noise).float().double()
    ids = torch.tensor([text["sequences"][0]])
    outputs = {"init.logits": model(ids).logits[0]}
    model.save_pretrained(os.path.join(folder, "adapter_init"))

    first = loss_with_penalty(model, text["batches"][0])
    grads = torch.autograd.grad(first, list(values.values()))
    save(os.path.join(folder, "grads.safetensors"), dict(zip(map(file_name, values), grads)))
    optimiser = make_optimiser(model, options is not None)
    factors = [group["lr"] / TRAIN["lr"] for group in optimiser.param_groups]
    curve = []
    for step in range(TRAIN["steps"]):
        for group, factor in zip(optimiser.param_groups, factors):
            group["lr"] = rate(step) * factor
        optimiser.zero_grad()
        loss = loss_with_penalty(model, text["batches"][step % 3])
        loss.backward()
        norm = math.sqrt(sum(float((v.grad ** 2).sum()) for v in values.values()))
        for value in values.values():
            value.grad *= min(1.0, TRAIN["clip"] / (norm + 1e-6))
        optimiser.step()
        if isinstance(config, AdaLoraConfig):
            model.base_model.update_and_allocate(step)
        curve.append({"step": step, "loss": loss.item(), "grad_norm": norm, "lr": rate(step)})
    outputs["final.logits"] = model(ids).logits[0]
    model.save_pretrained(os.path.join(folder, "adapter_final"))
    save(os.path.join(folder, "outputs.safetensors"), outputs)
    golden = {"train": TRAIN, "trainable_parameters": sum(v.numel() for v in values.values()),
              "loss_batch0_init_f64": first.item(), "curve_f64": curve}
    if options is not None:
        golden["options"] = options
    with open(os.path.join(folder, "golden.json"), "w", encoding="utf-8") as file:
        json.dump(golden, file, indent=1)
    tidy(os.path.join(folder, "adapter_init"))
    if getattr(config, "tfinal", 1) > 0:
        tidy(os.path.join(folder, "adapter_final"))
    else:  # HF PEFT's file lacks rows that grew after the last allocation, so it differs from what was trained
        shutil.rmtree(os.path.join(folder, "adapter_final"))


def tidy(folder):
    """No model card and no path of the base model; tensors as float32."""
    os.remove(os.path.join(folder, "README.md"))
    path = os.path.join(folder, "adapter_model.safetensors")
    save_file({n: v.float().contiguous() for n, v in load_file(path).items()}, path, metadata={"format": "pt"})
    path = os.path.join(folder, "adapter_config.json")
    with open(path, encoding="utf-8") as file:
        config = json.load(file)
    config["base_model_name_or_path"] = "small"
    with open(path, "w", encoding="utf-8") as file:
        json.dump(config, file, indent=1, sort_keys=True)


def main(out):
    torch.set_num_threads(1)
    small = os.path.join(out, "small")
    with open(os.path.join(small, "data.json"), encoding="utf-8") as file:
        text = json.load(file)
    for name, (config, options) in CASES.items():
        make(os.path.join(out, name), small, text, config, options)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
