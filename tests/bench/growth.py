#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""How the cost of a training step grows with the length and number of rows, the rank of LoRA, the vocabulary, threads and
processes: tables in Markdown, from peftbench bench. Run it on a quiet machine.

    tests/bench/growth.py --program build/release/src/peftbench [--keys layers=8,width=512] [--steps 5]

One size grows at a time; the others stay at 4 rows of 128 tokens, rank 16, 32000 entries, one thread. The last column is the
step's time per unit of what grows, relative to the first line: 1 is proportional growth."""

import argparse
import json
import os
import subprocess

LENGTHS = [64, 128, 256, 512, 1024, 2048, 4096]
BATCHES = [1, 2, 4, 8, 16, 32]
RANKS = [1, 4, 16, 64, 128]
VOCABULARIES = [2000, 8000, 32000, 128000]


class Bench:
    def __init__(self, args):
        self.args = args

    def start(self, length=128, batch=4, rank=16, vocabulary=32000, threads=1):
        keys = ",".join(filter(None, [self.args.keys, f"vocab={vocabulary}"]))
        command = [self.args.program, "bench", "--shape", keys, "--steps", str(self.args.steps), "--batch", str(batch), "--prompt",
                   str(length - 8), "--answer", "8", "--threads", str(threads), "--device", "cpu", "--json",
                   "--set", f"method.r={rank}", "--set", "method.dropout=0.0"]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)

    def finish(self, child):
        out, _ = child.communicate()
        if child.returncode != 0:
            raise SystemExit(f"{' '.join(child.args)} failed")
        return json.loads(out)

    def table(self, title, name, values):
        print(f"\n| {title} | s/step | tokens/s | test rows/s | products | attention | head | peak MB | per unit |")
        print("|" + "---:|" * 9)
        first = None
        for value in values:
            made = self.finish(self.start(**{name: value}))
            unit = made["step_seconds"] / value
            first = first or unit
            print(f"| {value} | {made['step_seconds']:.4f} | {made['tokens_per_second']:.0f} | {made['eval_rows_per_second']:.1f} | "
                  f"{made['gemm_share']:.0%} | {made['attention_share']:.0%} | {made['head_share']:.0%} | {made['peak_mb']:.0f} | "
                  f"{unit / first:.3f} |", flush=True)

    def side_by_side(self):
        """One process of one thread, one of two, two of one."""
        print("\n| processes × threads | tokens/s, all together | test rows/s, all together |\n|---|---:|---:|")
        for processes, threads in ((1, 1), (1, 2), (2, 1)):
            children = [self.start(threads=threads) for _ in range(processes)]
            made = [self.finish(child) for child in children]
            print(f"| {processes} × {threads} | {sum(m['tokens_per_second'] for m in made):.0f} | "
                  f"{sum(m['eval_rows_per_second'] for m in made):.1f} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--program", required=True, help="peftbench")
    parser.add_argument("--keys", default="", help="keys of the shape besides vocab (default: those of 40m)")
    parser.add_argument("--steps", type=int, default=5, help="timed steps of each line")
    parser.add_argument("--tiny", action="store_true", help="two sizes of each kind, on a model that is tiny")
    args = parser.parse_args()
    few = slice(0, 2) if args.tiny else slice(None)
    args.keys = args.keys or ("layers=2,width=64,heads=4,kv_heads=2,ff=96" if args.tiny else "")
    bench = Bench(args)
    for title, name, values in (("tokens of a row", "length", LENGTHS), ("rows of a step", "batch", BATCHES),
                                ("rank", "rank", RANKS), ("vocabulary", "vocabulary", VOCABULARIES)):
        bench.table(title, name, values[few])
    if len(os.sched_getaffinity(0)) > 1:
        bench.side_by_side()


if __name__ == "__main__":
    main()
