#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""peftbench beside Hugging Face PEFT on the same work, in alternation, on the CPU.

    VENV/bin/python tests/bench/peer.py --program build/release/src/peftbench --shape 42m --threads 1 2

VENV has torch, transformers and peft. Both sides get one random checkpoint, one initial adapter and rows like GLUE's, in one
order, without dropout. Every round starts a process of each side for training and one for generation, so that start-up and
peak resident memory are those of a process that does nothing else. Test rows are answered as in the test of a sweep: rows that begin
alike together, once without drafts, and once with the different answers of that run as drafts, as if they were class names that
the model has learnt. Printed are medians over the rounds, the ratios of peftbench to PEFT, and how far losses and generated tokens
agree. Run it on a quiet machine: load falls on whichever side runs.

With --grid both train, validate and test seven methods on one data set: peftbench as a sweep (--processes N: under mpirun), PEFT in a
process for each method, as people do, and once more in one process for all. Whole processes are timed."""

import argparse
import json
import math
import os
import random
import shlex
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
COMMON, ENDING = 45, 5  # tokens that all prompts begin and end with
TARGETS = ["k_proj", "v_proj", "down_proj"]

# The grid: methods by the names of both sides, and sizes.
METHODS = {
    "lora": ("LoraConfig", {"r": 16, "lora_alpha": 16, "lora_dropout": 0.05, "target_modules": TARGETS}),
    "dora": ("LoraConfig", {"r": 16, "lora_alpha": 16, "lora_dropout": 0.05, "target_modules": TARGETS, "use_dora": True}),
    "ia3": ("IA3Config", {"target_modules": TARGETS, "feedforward_modules": ["down_proj"]}),
    "lntuning": ("LNTuningConfig", {}),
    "prompt-tuning": ("PromptTuningConfig", {"num_virtual_tokens": 100}),
    "prefix-tuning": ("PrefixTuningConfig", {"num_virtual_tokens": 32, "prefix_projection": True, "encoder_hidden_size": 512}),
    "p-tuning": ("PromptEncoderConfig", {"num_virtual_tokens": 100, "encoder_hidden_size": 768}),
}
GRID_STEPS, GRID_ROWS, GRID_HELD, GRID_TEST = 20, 88, 9, 16


# ---- the peer: a process that reads a task and prints an object


def padded(torch, rows, side):
    """Ids and mask of rows, padded on this side, as a collator does."""
    longest = max(map(len, rows))
    fill = [[0] * (longest - len(row)) for row in rows]
    ids = [pad + row if side == "left" else row + pad for row, pad in zip(rows, fill)]
    ones = [[1] * len(row) for row in rows]
    mask = [pad + row if side == "left" else row + pad for row, pad in zip(ones, fill)]
    return torch.tensor(ids), torch.tensor(mask)


def batch_loss(torch, model, rows):
    ids, mask = padded(torch, [row["input_ids"] for row in rows], "right")
    labels = torch.full_like(ids, -100)
    for i, row in enumerate(rows):
        labels[i, :len(row["labels"])] = torch.tensor(row["labels"])
    return model(input_ids=ids, attention_mask=mask, labels=labels, use_cache=False).loss


def peer_train(torch, model, task, after_step=lambda: None):
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1.0, weight_decay=task["weight_decay"])
    steps = []
    for number, rate in enumerate(task["rates"]):
        rows = [task["rows"][(number * task["batch"] + i) % len(task["rows"])] for i in range(task["batch"])]
        start = time.perf_counter()
        for group in optimizer.param_groups:
            group["lr"] = rate
        loss = batch_loss(torch, model, rows)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        steps.append({"loss": loss.item(), "seconds": time.perf_counter() - start})
        after_step()
    return steps


def peer_generate(torch, model, task):
    rows, out = task["prompts"], []
    start = time.perf_counter()
    for first in range(0, len(rows), TEST_BATCH):
        ids, mask = padded(torch, rows[first:first + TEST_BATCH], "left")
        with torch.inference_mode():
            made = model.generate(input_ids=ids, attention_mask=mask, max_new_tokens=NEW_TOKENS, do_sample=False, pad_token_id=0,
                                  eos_token_id=task.get("end"))
        out += made[:, ids.shape[1]:].tolist()
    return {"seconds": time.perf_counter() - start, "ids": out}


def peer_cell(torch, transformers, peft, task, name):
    """A method of the grid: every step is followed by a validation, as every 5 % of 20 steps."""
    kind, keys = METHODS[name]
    config = getattr(peft, kind)(task_type="CAUSAL_LM", **keys)
    model = transformers.AutoModelForCausalLM.from_pretrained(task["model"], dtype=getattr(torch, TYPES[task["dtype"]]))
    model = peft.get_peft_model(model, config).train()
    held = task["held"]

    def validate():
        model.eval()
        with torch.inference_mode():
            for first in range(0, len(held), task["batch"]):
                batch_loss(torch, model, held[first:first + task["batch"]]).item()
        model.train()

    peer_train(torch, model, task, validate)
    return len(peer_generate(torch, model.eval(), task)["ids"])


def peer_tokens(transformers, task):
    """Rows of texts as ids, with an end to each answer."""
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_file=os.path.join(task["tokenise"], "tokenizer.json"))
    rows = []
    for text in task["texts"]:
        prompt, answer = (tokenizer.encode(text[part], add_special_tokens=False) for part in ("prompt", "answer"))
        rows.append({"input_ids": prompt + answer, "labels": [-100] * len(prompt) + answer})
    return rows


def peer(task):
    os.environ["HF_HUB_OFFLINE"] = "1"
    import peft
    import torch
    import transformers
    transformers.logging.set_verbosity_error()
    if "tokenise" in task:
        return peer_tokens(transformers, task)
    torch.set_num_threads(task["threads"])
    if "methods" in task:
        return [peer_cell(torch, transformers, peft, task, name) for name in task["methods"]]
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
                           target_modules=TARGETS)
    peft.get_peft_model(model, lora).save_pretrained(os.path.join(folder, "adapter"))


def answer(task):
    """This process stays small: what it had in memory would count as the peak of those that it starts."""
    run = Run([sys.executable, os.path.abspath(__file__), "--peer"], json.dumps(task))
    return run, json.loads(run.lines[-1])


# ---- both sides


def make_rows(count, vocab):
    draw = random.Random(1)
    common, ending = ([draw.randrange(3, vocab) for _ in range(length)] for length in (COMMON, ENDING))
    rows = []
    for _ in range(count):
        prompt = common + [draw.randrange(3, vocab) for _ in range(draw.randint(20, 100) - ENDING)] + ending
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
        self.rows = make_rows(max(args.rows, args.batch * (args.steps + WARM)), SHAPES[args.shape][5])
        self.prompts = [row["input_ids"][:row["labels"].count(-100)] for row in self.rows[:args.rows]]
        self.write("rows.jsonl", self.rows)
        self.write("prompts.jsonl", [{"input_ids": ids} for ids in self.prompts])
        self.write("one.jsonl", [{"input_ids": self.prompts[0]}])
        self.common = {"model": self.model, "adapter": self.adapter, "threads": threads, "dtype": args.dtype}
        facts = Run([args.program, "info", "--json", "--products", "auto", "--dtype", args.dtype, "--device", "cpu"])
        self.products = json.loads("".join(facts.lines))["products_choice"]  # as a sweep measures and keeps it

    def write(self, name, rows):
        with open(os.path.join(self.folder, name), "w", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)

    def own(self, command, *more):
        base = [self.args.program, command, "--model", self.model, "--adapter", self.adapter, "--device", "cpu",
                "--threads", str(self.threads), "--dtype", self.args.dtype, "--products", self.products]
        return Run(base + list(more))

    def peer(self, **task):
        return answer({**self.common, **task})

    def own_train(self):
        run = self.own("train", "--batches", os.path.join(self.folder, "rows.jsonl"), "--steps", str(self.args.steps + WARM),
                       "--batch", str(self.args.batch), "--lr", "1e-3")
        return run, [json.loads(line) for line in run.lines]

    def peer_train(self, rates):
        return self.peer(rows=self.rows, batch=self.args.batch, rates=rates, weight_decay=1e-5)

    def own_generate(self, drafts=None):
        """Rows per second, beyond a run over a single row, and ids."""
        rest = ["--max-new-tokens", str(NEW_TOKENS), "--batch", str(TEST_BATCH), "--ignore-eos"]
        if drafts is not None:
            self.write("drafts.jsonl", [{"input_ids": ids} for ids in drafts])
            rest += ["--drafts", os.path.join(self.folder, "drafts.jsonl")]
        one = self.own("generate", "--ids-file", os.path.join(self.folder, "one.jsonl"), *rest)
        run = self.own("generate", "--ids-file", os.path.join(self.folder, "prompts.jsonl"), *rest)
        seconds = run.seconds - one.seconds
        return (len(self.prompts) - 1) / seconds if seconds > 0 else math.nan, [json.loads(line)["ids"] for line in run.lines]

    def round(self):
        """Figures of both sides: (own, peer)."""
        own_run, own = self.own_train()
        peer_run, peers = self.peer_train([step["lr"] for step in own])
        plain_rate, plain_ids = self.own_generate()
        own_rate, own_ids = self.own_generate(sorted(set(map(tuple, plain_ids))))
        _, made = self.peer(prompts=self.prompts)
        peer_rate = len(self.prompts) / made["seconds"]
        tokens = sum(step["tokens"] for step in own[WARM:])
        return {
            "training tokens/s": [tokens / sum(step["seconds"] for step in steps[WARM:]) for steps in (own, peers)],
            "test rows/s": [own_rate, peer_rate],
            "test rows/s, no drafts": [plain_rate, peer_rate],
            "peak of training, MiB": [own_run.peak, peer_run.peak],
            "start to first step, s": [own_run.first - own[0]["seconds"], peer_run.seconds - sum(step["seconds"] for step in peers)],
        }, {
            "largest relative difference of losses": max(abs(a["loss"] - b["loss"]) / b["loss"] for a, b in zip(own, peers)),
            "rows with the same tokens": sum(a == b for a, b in zip(own_ids, made["ids"])) / len(own_ids),
            "rows with the same tokens without drafts": sum(a == b for a, b in zip(own_ids, plain_ids)) / len(own_ids),
        }


# ---- the grid


def letters(number):
    return "".join(chr(97 + number // 26 ** place % 26) for place in range(4))


def make_tokenizer(folder, vocab):
    """Every word of four letters is a token, with and without a space before it."""
    tokens = {"<pad>": 0, "<s>": 1, "</s>": 2}
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    for character in map(chr, printable + [256 + i for i in range(len(others))]):
        tokens[character] = len(tokens)
    count = (vocab - len(tokens)) // 2
    for number in range(count):
        tokens[letters(number)] = len(tokens)
        tokens["\u0120" + letters(number)] = len(tokens)
    split = {"type": "Split", "pattern": {"Regex": " ?[a-z]+|\\s"}, "behavior": "Isolated", "invert": False}
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    special = [{"id": i, "content": name, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
               for i, name in enumerate(("<pad>", "<s>", "</s>"))]
    model = {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None,
             "fuse_unk": False, "byte_fallback": False, "ignore_merges": True, "vocab": tokens, "merges": []}
    with open(os.path.join(folder, "tokenizer.json"), "w", encoding="utf-8") as file:
        json.dump({"version": "1.0", "truncation": None, "padding": None, "added_tokens": special, "normalizer": None,
                   "pre_tokenizer": {"type": "Sequence", "pretokenizers": [split, byte_level]}, "post_processor": None,
                   "decoder": byte_level, "model": model}, file)
    with open(os.path.join(folder, "tokenizer_config.json"), "w", encoding="utf-8") as file:
        json.dump({"bos_token": "<s>", "eos_token": "</s>", "tokenizer_class": "PreTrainedTokenizerFast"}, file)
    return count


class Grid:
    """One data set of class names, and the configurations of a sweep."""

    def __init__(self, folder, args, threads):
        self.folder, self.args, self.threads, self.runs = folder, args, threads, 0
        self.model = os.path.join(folder, "model")
        self.draw, self.words = random.Random(2), make_tokenizer(self.model, SHAPES[args.shape][5])
        self.labels = [self.text(3) for _ in range(3)]
        self.file("dataset/rows.cfg", f"""dataset = {{ name = "rows"; metric = "accuracy"; train_file = "../train.jsonl";
            test_file = "../test.jsonl"; columns = [ "text:string", "label:label" ]; labels = {json.dumps(self.labels)};
            instruction = "{self.text(COMMON)}"; lines = [ "{{text}}" ]; max_new_tokens = {NEW_TOKENS}; }};""")
        self.file("model/random.cfg", f'model = {{ path = "{self.model}"; chat = "none"; }};')
        self.file("grid.cfg", f"""sweep = {{ name = "grid"; models = [ "random" ]; datasets = [ "rows" ];
            methods = {json.dumps(list(METHODS))}; seeds = [ 42 ]; protocol = "corrected"; }};
            data = {{ validation_share = {GRID_HELD / GRID_ROWS - 0.001}; }};
            train = {{ batch = {args.batch}; max_steps = {GRID_STEPS}; epochs = 100.0; evaluate_share = {1 / GRID_STEPS}; }};
            eval = {{ batch = {TEST_BATCH}; }};""")
        train, test = self.rows("train", GRID_ROWS), self.rows("test", GRID_TEST)
        prompts = [row["input_ids"][:row["labels"].count(-100)] for row in test]
        self.common = {"model": self.model, "threads": threads, "dtype": args.dtype, "rows": train[GRID_HELD:], "held": train[:GRID_HELD],
                       "batch": args.batch, "rates": [1e-4] * GRID_STEPS, "weight_decay": 1e-5, "prompts": prompts, "end": 2}

    def text(self, words):
        return " ".join(letters(self.draw.randrange(self.words)) for _ in range(words))

    def file(self, name, text):
        path = os.path.join(self.folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text + "\n")
        return path

    def rows(self, split, count):
        """Writes the file of a split; its rows as ids."""
        lines = "".join(json.dumps({"text": self.text(self.draw.randint(20, 100)), "label": self.draw.randrange(3)}) + "\n"
                        for _ in range(count))
        self.file(split + ".jsonl", lines.rstrip("\n"))
        made = Run([self.args.program, "prompt", "--dataset", os.path.join(self.folder, "dataset/rows.cfg"), "--protocol", "corrected",
                    "--template", "none", "--split", split, "--model", self.model], lines)
        return answer({"tokenise": self.model, "texts": [json.loads(line) for line in made.lines]})[1]

    def own(self):
        self.runs += 1
        launch = shlex.split(f"mpirun -n {self.args.processes}") if self.args.processes > 1 else []
        return Run([*launch, self.args.program, "run", os.path.join(self.folder, "grid.cfg"), "-o",
                    os.path.join(self.folder, f"results{self.runs}"), "--threads", str(self.threads), "--dtype", self.args.dtype,
                    "--device", "cpu"]).seconds

    def round(self):
        apart = sum(answer({**self.common, "methods": [name]})[0].seconds for name in METHODS)
        together = answer({**self.common, "methods": list(METHODS)})[0].seconds
        return self.own(), apart, together


def grid_report(folder, args, threads):
    os.environ["PB_CONFIGS"] = folder
    grid = Grid(folder, args, threads)
    own, apart, together = (statistics.median(seconds) for seconds in zip(*(grid.round() for _ in range(args.rounds))))
    print(f"{args.shape} {args.dtype}, seven methods, {args.processes} × {threads} threads beside {threads} of PEFT, {args.rounds} rounds")
    print(f"  peftbench {own:.2f} s, PEFT {apart:.2f} s in a process for each method ({apart / own:.2f} times as long), "
          f"{together:.2f} s in one ({together / own:.2f} times as long)", flush=True)


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
    parser.add_argument("--rows", type=int, default=64, help="test rows")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", help="appends an object per round")
    parser.add_argument("--grid", action="store_true", help="seven methods, trained, validated and tested")
    parser.add_argument("--processes", type=int, default=1, help="of peftbench, with --grid; PEFT has the --threads alone")
    parser.add_argument("--peer", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.peer:
        task = json.load(sys.stdin)
        print(json.dumps(make_model(task) if "make" in task else peer(task)))
        return
    if args.program is None or args.rows < 2:
        parser.error("give --program, and at least 2 --rows")
    if "OPENBLAS_CORETYPE" in os.environ:
        print(f"OPENBLAS_CORETYPE is {os.environ['OPENBLAS_CORETYPE']}: unset it, it pins the kernels of products", file=sys.stderr)
    with tempfile.TemporaryDirectory(prefix="peftbench-peer-") as folder:
        answer({"make": folder, "shape": args.shape, "dtype": args.dtype})
        for threads in args.threads:
            if args.grid:
                grid_report(folder, args, threads)
                continue
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
