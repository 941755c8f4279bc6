#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes the golden values of families and rope types from seeds, with torch and transformers:

    make_golden.py OUT      one folder per case: config.json, model.safetensors, golden.safetensors

golden.safetensors: ids, logits (all positions), nll; with a LoRA adapter on every linear module: lora.<name> its values,
lora.logits, and lora.grad.<name> the gradients of the mean NLL. float64 inside, written as float32. Never run by a test.
"""
import json
import os
import sys

import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModelForCausalLM

SMALL = {"vocab_size": 64, "hidden_size": 32, "intermediate_size": 40, "num_hidden_layers": 2, "num_attention_heads": 4,
         "num_key_value_heads": 2, "max_position_embeddings": 64, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0,
         "tie_word_embeddings": False, "rms_norm_eps": 1e-5, "attn_implementation": "eager"}
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16, "rope_theta": 10000.0}
CASES = {
    "phi3": ("phi3", {"sliding_window": 9}),
    "qwen2-windows": ("qwen2", {"use_sliding_window": True, "sliding_window": 6, "max_window_layers": 1,
                                "num_hidden_layers": 3}),
    "qwen3-bias": ("qwen3", {"attention_bias": True, "head_dim": 12}),
    "llama-linear": ("llama", {"rope_parameters": {"rope_type": "linear", "factor": 3.0, "rope_theta": 10000.0}}),
    "llama-dynamic": ("llama", {"rope_parameters": {"rope_type": "dynamic", "factor": 3.0, "rope_theta": 10000.0}}),
    "llama-dynamic-long": ("llama", {"max_position_embeddings": 16,
                                     "rope_parameters": {"rope_type": "dynamic", "factor": 3.0, "rope_theta": 10000.0}}),
    "llama-yarn": ("llama", {"rope_parameters": YARN}),
    "qwen3-yarn": ("qwen3", {"head_dim": 12, "rope_parameters": dict(YARN, beta_fast=8.0, beta_slow=0.5, truncate=False,
                                                                    attention_factor=1.25)}),
    "gemma3-linear": ("gemma3_text", {"head_dim": 8, "query_pre_attn_scalar": 12, "sliding_window": 5, "num_hidden_layers": 4,
                                      "tie_word_embeddings": True, "layer_types": ["sliding_attention", "full_attention"] * 2,
                                      "rope_parameters": {"full_attention": {"rope_type": "linear", "factor": 8.0,
                                                                             "rope_theta": 1e6},
                                                          "sliding_attention": {"rope_type": "default",
                                                                                "rope_theta": 1e4}}}),
}


def roughen(model):
    """Weights such that every part of the network affects the logits."""
    for name, parameter in sorted(model.named_parameters()):
        noise = torch.randn(parameter.shape, dtype=parameter.dtype)
        if parameter.ndim == 1:
            base = 1.0 if "norm" in name and "gemma" not in model.config.model_type else 0.0
            parameter.data = base + 0.2 * noise
        else:
            parameter.data = noise * (2.0 if "proj" in name and ("q_" in name or "k_" in name) else 0.7) / parameter.shape[1] ** 0.5


def make(out, name, model_type, extra):
    torch.manual_seed(len(name) * 1000 + sum(map(ord, name)))
    config = AutoConfig.for_model(model_type, **dict(SMALL, **extra))
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float64)
    roughen(model)
    for parameter in model.parameters():
        parameter.data = parameter.data.float().double()
    folder = os.path.join(out, name)
    model.float().save_pretrained(folder)
    model.double().eval()
    for unwanted in ("generation_config.json",):
        path = os.path.join(folder, unwanted)
        if os.path.exists(path):
            os.remove(path)
    ids = torch.randint(3, 64, (1, 40))
    golden = {"ids": ids[0].int()}
    logits = model(ids).logits[0]
    golden["logits"] = logits.detach()
    golden["nll"] = torch.nn.functional.cross_entropy(logits[:-1], ids[0, 1:], reduction="none").detach()
    adapted = get_peft_model(model, LoraConfig(r=3, lora_alpha=5, target_modules="all-linear", task_type="CAUSAL_LM"))
    trained = {n: p for n, p in sorted(adapted.named_parameters()) if p.requires_grad}
    for n, p in trained.items():
        p.data = (0.1 * torch.randn(p.shape, dtype=torch.float64)).float().double()
    logits = adapted(input_ids=ids).logits[0]
    loss = torch.nn.functional.cross_entropy(logits[:-1], ids[0, 1:])
    loss.backward()
    golden["lora.logits"] = logits.detach()
    golden["lora.loss"] = loss.detach().reshape(1)
    for n, p in trained.items():
        golden["lora." + n.replace(".default", "")] = p.detach()
        golden["lora.grad." + n.replace(".default", "")] = p.grad
    save_file({k: v.contiguous() if v.dtype == torch.int32 else v.float().contiguous() for k, v in golden.items()},
              os.path.join(folder, "golden.safetensors"))
    text = json.load(open(os.path.join(folder, "config.json")))
    json.dump(text, open(os.path.join(folder, "config.json"), "w"), indent=1, sort_keys=True)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    for case, (kind, options) in CASES.items():
        make(sys.argv[1], case, kind, options)
