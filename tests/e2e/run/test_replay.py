# SPDX-License-Identifier: Apache-2.0
"""A recorded cell runs again from its record alone, and what differs is named."""
import hashlib
import json
import os
import re
import shutil

import case
import program
import results
import world

REST = ("train = { batch = 4; max_steps = 4; learning_rate = 0.01; };\n"
        "data = { test_rows = 4; validation_share = 0.25; };\n")
VARY = '{ method = "lora"; vary = { train = { learning_rate = [1e-6, 0.01]; }; }; }'
SPLIT = '{ method = "lora"; vary = { train = { split = [3]; }; }; }'
EQUAL = "equal: every result is the same, bit for bit\n"
MARK = b" file, SHA-256 of all its bytes with these digits as zeros: "


def sealed(content):
    """The bytes of a results file with the checksum that belongs to them."""
    at = content.index(MARK) + len(MARK)
    zeroed = content[:at] + b"0" * 64 + content[at + 64:]
    return content[:at] + hashlib.sha256(zeroed).hexdigest().encode() + content[at + 64:]


class Replay(case.Case):
    def run_cells(self, methods, *more, rest=REST, sweep="", model=None):
        """A sweep, after which nothing but its results, its model and its rows is left."""
        self.model = model or self.world.model()
        self.world.dataset()
        self.run_grid(self.world.grid([self.model], ["pairs"], methods, rest=rest, sweep=sweep), None, None, *more)
        for folder in ("model", "dataset", "method", "grid"):
            shutil.rmtree(self.world.path(folder), ignore_errors=True)
        self.file = os.path.join(self.output, "tiny.h5")

    def run_grid(self, grid, code=0, output=None, *more, **options):
        result = program.run(["run", grid, "-o", output or self.output, *more], **options)
        self.assertIn(result.code, (0, 4), str(result))
        return result

    def replay(self, key, code=0, *more, **options):
        return self.expect(program.run(["replay", self.file, "--cell", key, *more], **options), code)

    def expect_equal(self, *methods):
        for method in methods:
            with self.subTest(method):
                self.assertTrue(self.replay(f"/{method}/1").out.endswith("\n\n" + EQUAL))

    def test_every_kind_of_method_is_equal_from_any_folder(self):
        outside = world.write(self.world.path("elsewhere", "own.cfg"), 'method = { name = "lora"; r = 3; dropout = 0.1; };\n')
        methods = ["none", "majority", "full", "adalora", "prefix-tuning", "p-tuning", "ia3", SPLIT, outside]
        self.run_cells(methods, "--set", "run.gang=2")
        shutil.rmtree(self.world.path("elsewhere"))
        os.makedirs(os.path.join(self.folder, "away"))
        self.expect_equal(*methods[:-2], "lora{split=3}")
        result = self.replay("own", cwd=os.path.join(self.folder, "away"))
        self.assertRegex(result.out, r"^good/pairs/own/1 of \S+tiny.h5: done, recorded \S+Z\n\n" + EQUAL)

    def test_a_search_decides_as_it_did(self):
        search = "  search = { rungs = [50]; keep = 0.5; };"
        self.run_cells(["none", VARY], sweep=search)
        names = {cell["method"]: cell["valid"] for cell in self.cells().values()}
        self.assertEqual(sorted(names.values()), ["FALSE", "TRUE", "TRUE"])
        self.expect_equal(*names)
        stopped = next(name for name, valid in names.items() if valid == "FALSE")
        self.assertIn("invalid: stopped at 50 % of its steps", self.replay(stopped).out)

    def test_a_failed_cell_says_so_and_fails_again(self):
        self.run_cells(["lora"], "--keep-going", rest=REST.replace("test_rows", "cutoff_tokens = 12; max_truncated_share = 0.01; test_rows"))
        result = self.replay("lora")
        self.assertRegex(result.out, r"lora/1 of .*: failed, recorded .*\nfailed: .*max_truncated_share")
        self.assertTrue(result.out.endswith(EQUAL))

    def test_another_setup_differs_and_both_are_named(self):
        self.run_cells(["lora"])
        result = self.replay("good/pairs/lora/1", 1, "--dtype", "bf16")
        self.assertRegex(result.out, r"(?m)^dtype +f32 +bf16$")
        self.assertRegex(result.out, r"(?m)^train/loss +4 of 4 ")
        self.assertRegex(result.out, r"\ndiffers: \d+ of the results; backend, threads, kernels or version of results are not")
        told = json.loads(self.replay("lora", 1, "--dtype", "bf16", "--json").out)
        self.assertEqual((told["cell"], told["status"], told["equal"], told["same_setup"]), ("good/pairs/lora/1", "done", False, False))
        self.assertIn({"name": "dtype", "recorded": "f32", "now": "bf16"}, told["machine"])
        loss = next(d for d in told["differences"] if (d["list"], d["name"]) == ("train", "loss"))
        self.assertEqual((loss["count"], loss["of"]), (4, 4))
        self.assertNotEqual(loss["recorded"], loss["now"])
        self.assertTrue(0 < loss["largest"] < 0.1, loss)

    def test_a_key_names_one_cell(self):
        self.run_cells(["none", "lora"])
        result = self.replay("pairs", 2)
        self.assertRegex(result.err, r"--cell pairs is part of 2 cells; give more of it:\n  good/pairs/none/1\n  good/pairs/lora/1$")
        self.assertIn("--cell dora: no cell has this in its key; the cells are:\n  good", self.replay("dora", 2).err)
        self.expect(program.run(["replay", self.file]), 2, "--cell")
        self.expect(program.run(["replay", os.path.join(self.folder, "no.h5"), "--cell", "x"]), 2, "no.h5")

    def test_inputs_are_found_where_they_are_now_and_refused_when_they_changed(self):
        self.world.copy_model("own")
        self.run_cells(["ia3"], model="own")
        model, data = (os.path.join(self.folder, "new", name) for name in ("model", "data"))
        os.makedirs(os.path.dirname(model))
        os.rename(self.world.path("weights", "own"), model)
        self.assertIn("--model DIR", self.replay("ia3", 2).err)
        shutil.move(self.world.path("data"), data)
        self.assertIn("--data DIR", self.replay("ia3", 2, "--model", model).err)
        for folder in (data, os.path.join(data, "pairs"), os.path.dirname(model)):
            self.assertTrue(self.replay("ia3", 0, "--model", model, "--data", folder).out.endswith(EQUAL))
        rows = os.path.join(data, "pairs", "train.jsonl")
        content = world.read(rows)
        world.write(rows, content + content.splitlines(keepends=True)[0])
        self.assertRegex(self.replay("ia3", 2, "--model", model, "--data", data).err,
                         r"an input has changed since the cell was recorded: its \S+train.jsonl was [0-9a-f]{64}, now it is [0-9a-f]{64}")
        world.write(rows, content)
        header, weights = world.split_safetensors(world.read(os.path.join(model, "model.safetensors")))
        world.write(os.path.join(model, "model.safetensors"),
                    world.join_safetensors(header, weights[:-1] + bytes([weights[-1] ^ 1])))
        self.assertRegex(self.replay("ia3", 2, "--model", model, "--data", data).err, "its model was [0-9a-f]{64}, now")

    def test_a_kept_adapter_is_compared(self):
        self.world.copy_model("own")
        self.run_cells(["lora", "p-tuning"], "--set", 'run.save_adapters="best"', model="own")
        self.expect_equal("lora", "p-tuning")
        moved = os.path.join(self.folder, "moved")
        os.rename(self.world.path("weights", "own"), moved)
        self.assertTrue(self.replay("lora", 0, "--model", moved).out.endswith(EQUAL))
        whole = world.read(self.file)
        for hash in set(re.findall(rb"[0-9a-f]{64}", results.h5dump("-a", "/cells/own/pairs/lora/1/provenance/adapter_sha256", self.file).stdout)):
            whole = whole.replace(hash, hash[::-1])
        world.write(self.file, sealed(whole))
        result = self.replay("lora", 1, "--model", moved)
        self.assertRegex(result.out, r"(?m)^adapter_sha256 +1 of 1 .*[0-9a-f]{20}")
        self.assertRegex(result.out, r"\ndiffers: 1 of the results, although ")

    def test_a_tampered_record_is_refused(self):
        self.run_cells(["lora"])
        whole = world.read(self.file)
        changed = whole.replace(b"learning_rate = 0.01", b"learning_rate = 0.02")
        self.assertNotEqual(changed, whole)
        world.write(self.file, changed)
        self.assertIn("checksum", self.replay("lora", 2).err)
        world.write(self.file, sealed(changed))
        self.assertRegex(self.replay("lora", 2).err, "the record was changed after it was written: its configuration and inputs give")
        world.write(self.file, sealed(re.sub(rb"(method = \{\n    name = \")lora", rb"\1loda", whole)))
        self.assertIn("loda", self.replay("lora", 2).err)

    def test_a_shard_will_do(self):
        self.run_cells(["lora"])
        (self.file,) = results.shards(self.output)
        self.expect_equal("lora")


if __name__ == "__main__":
    case.main()
