# SPDX-License-Identifier: Apache-2.0
"""Adapters that a sweep keeps: complete, named by their hash, changing no result, and usable."""
import glob
import hashlib
import json
import os
import re
import shutil
import subprocess

import case
import program
import results
import world

LORA = '{ method = "lora"; vary = { method = { r = [2, 4]; }; }; }'
METHODS = ["none", "majority", "full", LORA, "prefix-tuning", "ia3", "adalora"]
REST = "train = { batch = 4; max_steps = 4; learning_rate = 0.01; };\ndata = { test_rows = 6; validation_share = 0.25; };\n"
TRAINED = {"lora%7Br%3D2%7D", "lora%7Br%3D4%7D", "prefix-tuning", "ia3", "adalora"}

# The largest difference to the logits that this program wrote beside the adapter.
PEFT = """
import sys
import torch, transformers, peft
from safetensors.torch import load_file
for folder in sys.argv[2:]:
    model = transformers.AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype=torch.float32)
    model = peft.PeftModel.from_pretrained(model, folder).eval()
    with torch.no_grad():
        logits = model(torch.tensor([[5, 6, 7, 8]])).logits[0]
    print((logits - load_file(folder + ".logits")["logits"].reshape(logits.shape)).abs().max().item())
"""


def sha256_sums(folder):
    """SHA-256 of what `sha256sum *` prints in the folder, and the bytes of its files."""
    lines, size = b"", 0
    for name in sorted(os.listdir(folder)):
        content = world.read(os.path.join(folder, name))
        lines += f"{hashlib.sha256(content).hexdigest()}  {name}\n".encode()
        size += len(content)
    return hashlib.sha256(lines).hexdigest(), size


class Sweep(case.Case):
    """A grid of methods with and without adapters."""

    def setUp(self):
        super().setUp()
        self.grid = self.world.grid([self.world.model()], [self.world.dataset()], METHODS, rest=REST)
        self.keep = ["--set", "run.save_adapters=best"]

    def folders(self):
        return sorted(glob.glob(os.path.join(self.output, "adapters", "good", "pairs", "*", "1")))


class Kept(Sweep):
    def test_adapters_are_kept_and_named_in_their_cells(self):
        self.run_grid(self.grid, 0, None, *self.keep, ranks=2)
        self.assertEqual({path.split(os.sep)[-2] for path in self.folders()}, TRAINED)
        text = results.h5dump("-A", os.path.join(self.output, "tiny.h5")).stdout.decode()
        known = set(re.findall(r'ATTRIBUTE "adapter_sha256".*?"([0-9a-f]{64})"', text, re.S))
        sums = {path: sha256_sums(path) for path in self.folders()}
        self.assertEqual(known, {hash for hash, _ in sums.values()})
        sizes = {cell["method"]: int(cell["adapter_bytes"]) for cell in self.cells().values()}
        self.assertEqual({name for name, size in sizes.items() if size < 0}, {"none", "majority", "full"})
        self.assertEqual(sizes["ia3"], sums[os.path.join(self.output, "adapters", "good", "pairs", "ia3", "1")][1])
        self.assertEqual(results.temporaries(self.output), [])

    def test_no_result_depends_on_keeping_them(self):
        plain = os.path.join(self.folder, "plain")
        self.run_grid(self.grid, output=plain)
        self.assertFalse(os.path.exists(os.path.join(plain, "adapters")))
        self.run_grid(self.grid, 0, None, *self.keep)
        self.assertEqual(self.digest(os.path.join(plain, "tiny.h5")), self.digest(os.path.join(self.output, "tiny.h5")))

    def test_finished_cells_without_one_are_counted(self):
        self.run_grid(self.grid)
        run = self.run_grid(self.grid, 0, None, *self.keep)
        self.assertIn("5 cells finished or failed without keeping an adapter; --fresh runs all cells again", run.err)
        self.assertEqual(self.folders(), [])
        self.run_grid(self.grid, 0, None, *self.keep, "--fresh")
        shutil.rmtree(self.folders()[0])
        self.assertIn("1 cell finished", self.run_grid(self.grid, 0, None, *self.keep).err)
        self.assertNotIn("adapter", self.run_grid(self.grid).err)

    def test_a_folder_that_cannot_be_written_fails_the_cell(self):
        world.write(os.path.join(self.output, "adapters"), "a file in its place")
        run = self.run_grid(self.grid, 4, None, *self.keep)
        self.assertIn("the adapter cannot be kept: ", run.err)
        self.assertEqual({cell["status"] for cell in self.cells().values() if cell["method"] in ("none", "full")}, {"done"})

    def test_other_programs_load_them(self):
        """generate runs each; Hugging Face PEFT computes the same logits, where it is installed."""
        self.run_grid(self.grid, 0, None, *self.keep)
        rows = world.write(os.path.join(self.folder, "ids.jsonl"), '{"input_ids": [5, 6, 7, 8]}\n')
        for folder in self.folders():
            options = ["--model", self.world.good_model, "--adapter", folder]
            self.expect(program.run(["generate", *options, "--ids-file", rows, "--max-new-tokens", "3"]), 0)
            self.expect(program.run(["logits", *options, "--ids", "5,6,7,8", "-o", folder + ".logits"]), 0)
        python = os.environ.get("PB_PYTHON")
        if python and subprocess.run([python, "-c", "import peft"], capture_output=True, check=False).returncode == 0:
            line = [python, "-c", PEFT, self.world.good_model, *self.folders()]
            far = subprocess.run(line, stdout=subprocess.PIPE, check=True).stdout.split()
            self.assertEqual(len(far), len(TRAINED))
            self.assertLess(max(map(float, far)), 1e-4)


class Commands(Sweep):
    """train and evaluate compute what a cell of a sweep does."""

    sets = ["--set", "data.test_rows=6", "--set", "data.validation_share=0.25"]

    def setUp(self):
        super().setUp()
        self.env = {"PB_CONFIGS": self.world.folder}
        self.run_grid(self.grid, 0, None, *self.keep)
        report = json.loads(program.run(["report", os.path.join(self.output, "tiny.h5"), "--json"]).out)
        self.scores = {s["method"]: (s["mean"], s["rows_low"], s["rows_high"]) for s in report["scores"]}

    def folder_of(self, method):
        return os.path.join(self.output, "adapters", "good", "pairs", method, "1")

    def command(self, name, *options, code=0):
        line = [name, "--model", self.world.good_model, "--dataset", "pairs", "--seed", "1", *self.sets, *options]
        return self.expect(program.run(line, env=self.env), code)

    def score_of(self, output):
        last = json.loads(output.splitlines()[-1])
        return last["score"], last["score_low"], last["score_high"]

    def metrics_of(self, method):
        """All numbers of the cell's metric, exactly."""
        path = f"/cells/good/pairs/{method}/1/metrics/value"
        dump = results.h5dump("-y", "-w", "0", "-m", "%.17g", "-d", path, os.path.join(self.output, "tiny.h5"))
        data = dump.stdout.decode().partition("DATA {")[2].partition("}")[0]
        return [float(number) for number in data.replace(",", " ").split()]

    def test_evaluate_has_the_scores_of_the_cell(self):
        """Bit for bit, also the mean lengths of the texts that are generated."""
        names = {"none": [], **{name: ["--adapter", self.folder_of(name)] for name in sorted(TRAINED)}}
        lengths = set()
        for name, adapter in names.items():
            with self.subTest(name):
                out = self.command("evaluate", *adapter).out
                metrics = json.loads(out)["metrics"]
                self.assertEqual(self.score_of(out), self.scores[name.replace("%7B", "{").replace("%7D", "}").replace("%3D", "=")])
                self.assertEqual(list(metrics.values()), self.metrics_of(name))
                lengths.add(metrics["output_chars_mean"])
        self.assertGreater(len(lengths), 2, "the cells hardly differ")

    def test_predictions_are_what_score_reads(self):
        path = os.path.join(self.folder, "predictions.jsonl")
        out = self.command("evaluate", "--predictions", path).out
        scored = program.run(["score", "--dataset", "pairs", "--protocol", "corrected"], env=self.env, given=world.read(path))
        self.assertEqual(self.expect(scored, 0).out.count("\n"), 1)
        self.assertEqual(json.loads(scored.out)["n"], json.loads(out)["rows"])
        self.assertEqual(json.loads(scored.out)["f1"], json.loads(out)["metrics"]["f1"])

    def test_train_makes_the_adapter_of_the_cell(self):
        """From the command alone: template, validation, best values, group train and test."""
        for name, text in (("ia3", None), ("lora%7Br%3D4%7D", "r = 4;")):
            method = os.path.join(program.SOURCE, "configs", "method", name[:4].rstrip("%") + ".cfg")
            sets = ["--set", "method.r=4"] if text else []
            saved = os.path.join(self.folder, "saved-" + name)
            out = self.command("train", "--method", method, "--batch", "4", "--steps", "4", "--lr", "0.01", "--save", saved, *sets).out
            lines = [json.loads(line) for line in out.splitlines()]
            self.assertEqual(len([line for line in lines if "loss" in line]), 4)
            self.assertGreater(len([line for line in lines if set(line) == {"step", "validation_loss"}]), 0)
            self.assertEqual(self.score_of(out), self.scores["ia3" if text is None else "lora{r=4}"])
            self.assertEqual(world.read(os.path.join(saved, "adapter_model.safetensors")),
                             world.read(os.path.join(self.folder_of(name), "adapter_model.safetensors")))
            goes_on = self.command("train", "--adapter", saved, "--steps", "1").out
            self.assertEqual(len(goes_on.splitlines()), len([1 for line in goes_on.splitlines() if line]))

    def test_the_group_train_of_the_files_counts(self):
        method = world.write(os.path.join(self.folder, "m.cfg"), 'method = { name = "ia3"; };\ntrain = { max_steps = 2; batch = 3; };\n')
        losses = [line for line in self.command("train", "--method", method).out.splitlines() if "grad_norm" in line]
        self.assertEqual(len(losses), 2)
        losses = [line for line in self.command("train", "--method", method, "--steps", "3").out.splitlines() if "grad_norm" in line]
        self.assertEqual(len(losses), 3)
        losses = [line for line in self.command("train", "--method", method, "--steps", "3", "--set", "train.max_steps=1").out.splitlines()
                  if "grad_norm" in line]
        self.assertEqual(len(losses), 1)

    def test_mistakes_name_their_option(self):
        method = ["--method", os.path.join(program.SOURCE, "configs/method/ia3.cfg")]
        self.command("train", *method, "--batches", "x.jsonl", "--steps", "1", code=2)
        self.expect(program.run(["train", "--model", self.world.good_model, *method]), 2, "give either --dataset or --batches")
        self.expect(program.run(["train", "--model", self.world.good_model, *method, "--batches", "x"]), 2, "needs --steps N")
        self.assertIn("either --method or --adapter", self.command("train", code=2).err)
        self.assertIn("--dump-final goes with --batches", self.command("train", *method, "--dump-final", "x", code=2).err)
        self.assertIn('train.batsh', self.command("train", *method, "--set", "train.batsh=1", code=2).err)
        self.assertIn("no such", self.command("evaluate", "--adapter", "/nowhere", code=1).err.lower())
        bad = program.run(["evaluate", "--model", self.world.good_model, "--dataset", "pears"], env=self.env)
        self.expect(bad, 2, '--dataset', 'did you mean "pairs"?')
        bad = program.run(["evaluate", "--model", "/nowhere", "--dataset", "pairs"], env=self.env)
        self.assertIn(bad.code, (1, 2))
        self.assertIn("/nowhere", bad.err)


if __name__ == "__main__":
    case.main()
