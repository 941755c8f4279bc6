#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""peftbench beside Hugging Face PEFT on the same work, in alternation, on the CPU.

    VENV/bin/python tests/bench/peer.py --program build/release/src/peftbench --shape 42m --threads 1 2

VENV has torch, transformers and peft. Both sides get one random checkpoint, one initial adapter and rows like GLUE's, in one
order, without dropout. Every round starts a process of each side for training and one for generation, so that start-up and
peak resident memory are those of a process that does nothing else. peftbench generates without the order of rows and the drafts that
a test of a sweep has besides. Printed are medians over the rounds, the ratios of
peftbench to PEFT, and how far losses and generated tokens agree. Run it on a quiet machine: load falls on whichever side runs."""

import argparse
import json
import math
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time

SHAPES = {  # hidden size, layers, heads, heads of keys, feed-forward size, vocabulary
    "tiny": (64, 2, 4, 2, 96, 512),
    "15m": (288, 6, 6, 6, 768, 32000),
    "42m": (512, 8, 8, 8, 1376, 32000),
    "135m": (576, 30, 9, 3, 1536, 49152),
}
TYPES = {"f32": "float32", "bf16": "bfloat16"}
WARM = 2  # steps that are not timed
NEW_TOKENS = 4
TEST_BATCH = 8


# ---- the peer: a process that reads a task and prints an object


def padded(torch, rows, side):
    """Ids and mask of rows, padded on this side, as a collator does."""
    longest = max(map(len, rows))
    fill = [[0] * (longest - len(row)) for row in rows]
    ids = [pad + row if side == "left" else row + pad for row, pad in zip(rows, fill)]
    ones = [[1] * len(row) for row in rows]
    mask = [pad + row if side == "left" else row + pad for row, pad in zip(ones, fill)]
    return torch.tensor(ids), torch.tensor(mask)


def peer_train(torch, model, task):
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1.0, weight_decay=task["weight_decay"])
    steps = []
    for number, rate in enumerate(task["rates"]):
        rows = [task["rows"][(number * task["batch"] + i) % len(task["rows"])] for i in range(task["batch"])]
        ids, mask = padded(torch, [row["input_ids"] for row in rows], "right")
        labels = torch.full_like(ids, -100)
        for i, row in enumerate(rows):
            labels[i, :len(row["labels"])] = torch.tensor(row["labels"])
        start = time.perf_counter()
        for group in optimizer.param_groups:
            group["lr"] = rate
        loss = model(input_ids=ids, attention_mask=mask, labels=labels, use_cache=False).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        steps.append({"loss": loss.item(), "seconds": time.perf_counter() - start})
    return steps


def peer_generate(torch, model, task):
    rows, out = task["prompts"], []
    start = time.perf_counter()
    for first in range(0, len(rows), TEST_BATCH):
        ids, mask = padded(torch, rows[first:first + TEST_BATCH], "left")
        with torch.inference_mode():
            made = model.generate(input_ids=ids, attention_mask=mask, max_new_tokens=NEW_TOKENS, min_new_tokens=NEW_TOKENS,
                                  do_sample=False, pad_token_id=0, eos_token_id=None)
        out += made[:, ids.shape[1]:].tolist()
    return {"seconds": time.perf_counter() - start, "ids": out}


def peer(task):
    os.environ["HF_HUB_OFFLINE"] = "1"
    import peft
    import torch
    import transformers
    transformers.logging.set_verbosity_error()
    torch.set_num_threads(task["threads"])
    model = transformers.AutoModelForCausalLM.from_pretrained(task["model"], dtype=getattr(torch, TYPES[task["dtype"]]))
    model = peft.PeftModel.from_pretrained(model, task["adapter"], is_trainable="rates" in task)
    if "rates" in task:
        return peer_train(torch, model.train(), task)
    return peer_generate(torch, model.eval(), task)


def make_model(task):
    """A random checkpoint and an initial adapter."""
    import peft
    import torch
    import transformers
    transformers.logging.disable_progress_bar()
    folder, dtype = task["make"], task["dtype"]
    hidden, layers, heads, kv_heads, ff, vocab = SHAPES[task["shape"]]
    torch.manual_seed(1)
    config = transformers.LlamaConfig(hidden_size=hidden, num_hidden_layers=layers, num_attention_heads=heads, initializer_range=0.05,
                                      num_key_value_heads=kv_heads, intermediate_size=ff, vocab_size=vocab, tie_word_embeddings=True,
                                      max_position_embeddings=2048)
    model = transformers.LlamaForCausalLM(config).to(getattr(torch, TYPES[dtype]))
    model.save_pretrained(os.path.join(folder, "model"))
    lora = peft.LoraConfig(r=16, lora_alpha=16, lora_dropout=0.0, task_type="CAUSAL_LM",
                           target_modules=["k_proj", "v_proj", "down_proj"])
    peft.get_peft_model(model, lora).save_pretrained(os.path.join(folder, "adapter"))


def answer(task):
    """This process stays small: what it had in memory would count as the peak of those that it starts."""
    run = Run([sys.executable, os.path.abspath(__file__), "--peer"], json.dumps(task))
    return run, json.loads(run.lines[-1])


# ---- both sides


def make_rows(count, vocab):
    draw = random.Random(1)
    common = [draw.randrange(3, vocab) for _ in range(45)]
    rows = []
    for _ in range(count):
        prompt = common + [draw.randrange(3, vocab) for _ in range(draw.randint(20, 100))]
        answer = [draw.randrange(3, vocab) for _ in range(draw.randint(2, 4))]
        rows.append({"input_ids": prompt + answer, "labels": [-100] * len(prompt) + answer})
    return rows


class Run:
    """A process: its output, seconds from its start to its first line and to its end, and its peak resident memory in MiB."""

    def __init__(self, command, given=""):
        start = time.perf_counter()
        with tempfile.TemporaryFile("w+") as errors:
            child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True)
            child.stdin.write(given)
            child.stdin.close()
            lines = []
            for line in child.stdout:
                self.first = time.perf_counter() - start if not lines else self.first
                lines.append(line)
            _, status, usage = os.wait4(child.pid, 0)
            child.returncode = os.waitstatus_to_exitcode(status)
            if child.returncode != 0:
                errors.seek(0)
                sys.exit(f"{' '.join(command[:3])} … failed:\n{errors.read()}")
        self.seconds = time.perf_counter() - start
        self.lines = lines
        self.peak = usage.ru_maxrss / 1024


class Sides:
    def __init__(self, folder, args, threads):
        self.folder, self.args, self.threads = folder, args, threads
        self.model, self.adapter = os.path.join(folder, "model"), os.path.join(folder, "adapter")
        self.rows = make_rows(args.batch * (args.steps + WARM), SHAPES[args.shape][5])
        self.prompts = [row["input_ids"][:row["labels"].count(-100)] for row in self.rows[:args.rows]]
        self.write("rows.jsonl", self.rows)
        self.write("prompts.jsonl", [{"input_ids": ids} for ids in self.prompts])
        self.write("one.jsonl", [{"input_ids": self.prompts[0]}])
        self.common = {"model": self.model, "adapter": self.adapter, "threads": threads, "dtype": args.dtype}

    def write(self, name, rows):
        with open(os.path.join(self.folder, name), "w", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)

    def own(self, command, *more):
        base = [self.args.program, command, "--model", self.model, "--adapter", self.adapter, "--device", "cpu",
                "--threads", str(self.threads), "--dtype", self.args.dtype, "--products", "auto"]
        return Run(base + list(more))

    def peer(self, **task):
        return answer({**self.common, **task})

    def own_train(self):
        run = self.own("train", "--batches", os.path.join(self.folder, "rows.jsonl"), "--steps", str(self.args.steps + WARM),
                       "--batch", str(self.args.batch), "--lr", "1e-3")
        return run, [json.loads(line) for line in run.lines]

    def peer_train(self, rates):
        return self.peer(rows=self.rows, batch=self.args.batch, rates=rates, weight_decay=1e-5)

    def own_generate(self):
        """Seconds are those beyond a run over a single row."""
        rest = ("--max-new-tokens", str(NEW_TOKENS), "--batch", str(TEST_BATCH), "--ignore-eos")
        one = self.own("generate", "--ids-file", os.path.join(self.folder, "one.jsonl"), *rest)
        run = self.own("generate", "--ids-file", os.path.join(self.folder, "prompts.jsonl"), *rest)
        seconds = run.seconds - one.seconds
        return (len(self.prompts) - 1) / seconds if seconds > 0 else math.nan, [json.loads(line)["ids"] for line in run.lines]

    def round(self):
        """Figures of both sides: (own, peer)."""
        own_run, own = self.own_train()
        peer_run, peers = self.peer_train([step["lr"] for step in own])
        own_rate, own_ids = self.own_generate()
        _, made = self.peer(prompts=self.prompts)
        tokens = sum(step["tokens"] for step in own[WARM:])
        return {
            "training tokens/s": [tokens / sum(step["seconds"] for step in steps[WARM:]) for steps in (own, peers)],
            "test rows/s": [own_rate, len(self.prompts) / made["seconds"]],
            "peak of training, MiB": [own_run.peak, peer_run.peak],
            "start to first step, s": [own_run.first, peer_run.seconds - sum(step["seconds"] for step in peers[1:])],
        }, {
            "largest relative difference of losses": max(abs(a["loss"] - b["loss"]) / b["loss"] for a, b in zip(own, peers)),
            "rows with the same tokens": sum(a == b for a, b in zip(own_ids, made["ids"])) / len(own_ids),
        }


def report(args, threads, rounds):
    print(f"{args.shape} {args.dtype}, {threads} thread{'s' if threads > 1 else ''}, {args.rounds} rounds, batch {args.batch}")
    print(f"  {'':26} {'peftbench':>11} {'PEFT':>11} {'ratio':>8}")
    for name in rounds[0][0]:
        own, other = (statistics.median(figures[name][side] for figures, _ in rounds) for side in (0, 1))
        print(f"  {name:26} {own:11.2f} {other:11.2f} {own / other:8.2f}")
    for name in rounds[0][1]:
        print(f"  {name}: {max(agreement[name] for _, agreement in rounds):.2g}" if "difference" in name else
              f"  {name}: {min(agreement[name] for _, agreement in rounds):.0%}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--program", help="peftbench")
    parser.add_argument("--shape", choices=SHAPES, default="42m")
    parser.add_argument("--dtype", choices=TYPES, default="f32")
    parser.add_argument("--threads", type=int, nargs="+", default=[1])
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--steps", type=int, default=10, help="timed steps")
    parser.add_argument("--rows", type=int, default=32, help="test rows")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", help="appends an object per round")
    parser.add_argument("--peer", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.peer:
        task = json.load(sys.stdin)
        print(json.dumps(make_model(task) if "make" in task else peer(task)))
        return
    if args.program is None or not 2 <= args.rows <= args.batch * (args.steps + WARM):
        parser.error("give --program, and between 2 and batch · (steps + 2) --rows")
    if "OPENBLAS_CORETYPE" in os.environ:
        print(f"OPENBLAS_CORETYPE is {os.environ['OPENBLAS_CORETYPE']}: unset it, it pins the kernels of products", file=sys.stderr)
    with tempfile.TemporaryDirectory(prefix="peftbench-peer-") as folder:
        answer({"make": folder, "shape": args.shape, "dtype": args.dtype})
        for threads in args.threads:
            sides, rounds = Sides(folder, args, threads), []
            for number in range(args.rounds):
                rounds.append(sides.round())
                if args.json:
                    with open(args.json, "a", encoding="utf-8") as file:
                        line = {"shape": args.shape, "dtype": args.dtype, "threads": threads, "round": number}
                        file.write(json.dumps({**line, **rounds[-1][0], **rounds[-1][1]}) + "\n")
            report(args, threads, rounds)


if __name__ == "__main__":
    main()
