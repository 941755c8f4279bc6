# SPDX-License-Identifier: Apache-2.0
"""Numbers of a cell match their definitions in results/README.md, and settings that cannot change them change no cell."""
import json
import os
import re
import struct

import case
import program
import results
import world


class Numbers(case.Case):
    def run_cell(self, name, *more):
        grid = self.world.grid([self.world.model()], [self.world.dataset()], ["lora"], rest="train = { batch = 4; max_steps = 8; };\n")
        output = os.path.join(self.folder, name)
        self.run_grid(grid, 0, output, *more)
        return output, self.cells("tiny", output)["good", "pairs", "lora", "1"]

    def test_training_operations_and_mfu_leave_out_validation(self):
        _, rarely = self.run_cell("rarely", "--set", "train.evaluate_share=0.0")
        output, often = self.run_cell("often", "--set", "train.evaluate_share=0.1")
        self.assertGreater(float(often["seconds_validation"]), 0)
        self.assertEqual(rarely["flops_train"], often["flops_train"])
        text = results.h5dump("-a", "/cells/good/pairs/lora/1/provenance/peak_gflops", os.path.join(output, "tiny.h5")).stdout
        rate = float(re.search(r'"([\d.]+)', text.decode()).group(1)) * 1e9
        mfu = float(often["flops_train"]) / float(often["seconds_train"]) / rate
        self.assertAlmostEqual(float(often["mfu"]) / mfu, 1, delta=0.01)

    def test_a_model_beyond_the_range_of_numbers_has_no_score(self):
        folder = self.world.copy_model("large", ["model.safetensors"])
        header, data = world.split_safetensors(world.read(os.path.join(self.world.good_model, "model.safetensors")))
        begin, end = header["model.norm.weight"]["data_offsets"]
        data = data[:begin] + struct.pack("<f", 3e38) * ((end - begin) // 4) + data[end:]
        world.write(os.path.join(folder, "model.safetensors"), world.join_safetensors(header, data))
        for share, message in (("0.0", "logits of row 1 of 4"), ("0.5", "before anything was trained")):
            with self.subTest(share):
                grid = self.world.grid(["large"], [self.world.dataset()], ["none"])
                output = os.path.join(self.folder, share)
                self.run_grid(grid, 4, output, "--set", f"data.validation_share={share}")
                cell = self.cells("tiny", output)["large", "pairs", "none", "1"]
                self.assertEqual(cell["status"], "failed")
                self.assertIn(message, cell["message"])
                self.assertIn("use another checkpoint or adapter", cell["message"])
                self.assertNotIn("learning rate", cell["message"])

    def test_values_of_rows_are_stored_and_compared(self):
        grid = self.world.grid([self.world.model()], [self.world.dataset()], ["none", "lora"], rest="train = { batch = 4; max_steps = 8; };\n")
        self.run_grid(grid)
        path, means = os.path.join(self.output, "tiny.h5"), {}
        for (_, _, method, _), cell in self.cells().items():
            columns = {}
            for name in ("row", "correct", "value"):
                text = results.h5dump("-y", "-d", f"/cells/good/pairs/{method}/1/predictions/{name}", path).stdout.decode()
                columns[name] = [float(x) for x in re.search(r"DATA \{(.*?)\}", text, flags=re.S)[1].split(",")]
            self.assertEqual(len(columns["value"]), int(cell["rows_test"]))
            self.assertEqual(columns["value"], columns["correct"])
            means[method] = sum(columns["value"]) / len(columns["value"])
        report = json.loads(self.expect(program.run(["report", path, "--json"]), 0).out)
        self.assertEqual(len(report["paired"]), 1)
        pair = report["paired"][0]
        self.assertEqual((pair["method"], pair["versus"], pair["test"], pair["seeds"]), ("none", "lora", "mcnemar", 1))
        self.assertEqual(pair["rows"], int(cell["rows_test"]))
        self.assertAlmostEqual(pair["difference"], 100 * (means["none"] - means["lora"]), places=9)
        text = self.expect(program.run(["report", path, "--pairs", "all", "--width", "60"]), 0, "paired tests", "McNemar").out
        tables = [line for line in text.splitlines() if line.startswith("pairs ")]
        self.assertTrue(tables and all(len(line) <= 60 for line in tables))
        self.expect(program.run(["report", path, "--pairs", "some"]), 2, "--pairs")
        self.expect(program.run(["report", path, "--width", "0"]), 2, "--width")

    def test_notes_for_readers_are_no_part_of_a_cell(self):
        output, cell = self.run_cell("notes")
        shard = results.shards(output)[0]
        moment = os.stat(shard).st_mtime_ns
        path = self.world.path("model/good.cfg")
        world.write(path, world.read(path).decode().replace("}", ' licence = "MIT"; revision = "4f2a"; }'))
        grid = self.world.path("grid/tiny.cfg")
        self.run_grid(grid, 0, output)
        self.assertEqual(os.stat(shard).st_mtime_ns, moment, "the cell was run again")
        self.assertEqual(self.cells("tiny", output)["good", "pairs", "lora", "1"]["config_hash"], cell["config_hash"])


if __name__ == "__main__":
    case.main()
