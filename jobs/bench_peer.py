#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The peer of bench_gpu: LoRA training steps by Hugging Face's transformers and PEFT.

bench_peer.py reads tasks from its standard input, a JSON object per line, and prints an object per task:
losses and seconds of its steps, or an error. A task has device, dtype, rows of ids, batch, answer_start (where the
labels begin), warm and steps (untimed and timed), and either a model and an adapter (folders), or a
shape (keys of LlamaConfig), whose weights are random and whose adapter has peftbench's defaults: r 16,
alpha 16, dropout 0.05 on k_proj, v_proj, down_proj. Optimizer and clipping are peftbench's."""

import gc
import json
import os
import statistics
import sys
import time

os.environ["HF_HUB_OFFLINE"] = "1"

import peft  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402


def build(task, dtype, device):
    if "model" in task:
        model = transformers.AutoModelForCausalLM.from_pretrained(task["model"], dtype=dtype).to(device)
        return peft.PeftModel.from_pretrained(model, task["adapter"], is_trainable=True).train()
    config = transformers.LlamaConfig(max_position_embeddings=8192, attn_implementation="sdpa", **task["shape"])
    default = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
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


def run(task):
    device = task["device"]
    torch.manual_seed(1)
    model = build(task, getattr(torch, task["dtype"]), device)
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-3, weight_decay=1e-5, fused=device.startswith("cuda"))
    data = batches(task, device)
    seconds, losses = [], []
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
        losses.append(loss.item())
    name = torch.cuda.get_device_name(device) if device.startswith("cuda") else "cpu"
    return {
        "step_seconds": statistics.median(seconds[task["warm"]:]),
        "losses": losses,
        "trainable": sum(p.numel() for p in trained),
        "versions": f"torch {torch.__version__}, transformers {transformers.__version__}, "
                    f"peft {peft.__version__}, {name}",
    }


def answer(task):
    try:
        return run(json.loads(task))
    except Exception as problem:  # such as a lack of memory: the next task may be smaller
        return {"error": f"{type(problem).__name__}: {problem}"}


def main():
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # whatever libraries print is no answer
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    for line in sys.stdin:
        print(json.dumps(answer(line)), file=answers, flush=True)
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()  # the other side measures next


if __name__ == "__main__":
    main()
