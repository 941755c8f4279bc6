# SPDX-License-Identifier: Apache-2.0
"""Adapters that a sweep keeps: complete, named by their hash, changing no result, and usable."""
import glob
import hashlib
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


class Kept(case.Case):
    def setUp(self):
        super().setUp()
        self.grid = self.world.grid([self.world.model()], [self.world.dataset()], METHODS, rest=REST)
        self.keep = ["--set", "run.save_adapters=best"]

    def folders(self):
        return sorted(glob.glob(os.path.join(self.output, "adapters", "good", "pairs", "*", "1")))

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


if __name__ == "__main__":
    case.main()
