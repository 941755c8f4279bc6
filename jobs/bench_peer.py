#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The peer of bench_gpu: LoRA training steps by Hugging Face's transformers and PEFT.

bench_peer.py TASK reads a JSON file that bench_gpu writes (shape, rows, batch, steps) and prints one
JSON object with the median seconds of a step. Weights are random, of the shape's BF16, as PEFT holds
them; the adapter has peftbench's defaults: r 16, alpha 16, dropout 0.05 on k_proj, v_proj, down_proj."""

import json
import statistics
import sys
import time

import peft
import torch
import transformers


def build(shape, device):
    config = transformers.LlamaConfig(max_position_embeddings=8192, attn_implementation="sdpa", **shape)
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    with torch.device(device):
        model = transformers.LlamaForCausalLM(config)
    torch.set_default_dtype(default)
    lora = peft.LoraConfig(r=16, lora_alpha=16, lora_dropout=0.05, task_type="CAUSAL_LM",
                           target_modules=["k_proj", "v_proj", "down_proj"])
    return peft.get_peft_model(model, lora).train()


def batches(task, device):
    rows = torch.tensor(task["rows"], device=device)
    labels = rows.clone()
    labels[:, :task["answer_start"]] = -100
    return list(zip(rows.split(task["batch"]), labels.split(task["batch"])))


def wait(device):
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        task = json.load(file)
    device = task["device"]
    torch.manual_seed(1)
    model = build(task["shape"], device)
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-3, weight_decay=1e-5, fused=device.startswith("cuda"))
    data = batches(task, device)
    seconds = []
    loss = None
    for step in range(task["warm"] + task["steps"]):
        ids, labels = data[step % len(data)]
        wait(device)
        start = time.perf_counter()
        loss = model(input_ids=ids, labels=labels, use_cache=False).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        wait(device)
        seconds.append(time.perf_counter() - start)
    name = torch.cuda.get_device_name(device) if device.startswith("cuda") else "cpu"
    print(json.dumps({
        "step_seconds": statistics.median(seconds[task["warm"]:]),
        "last_loss": loss.item(),
        "trainable": sum(p.numel() for p in trained),
        "versions": f"torch {torch.__version__}, transformers {transformers.__version__}, "
                    f"peft {peft.__version__}, {name}",
    }))


if __name__ == "__main__":
    main()
