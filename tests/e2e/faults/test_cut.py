# SPDX-License-Identifier: Apache-2.0
"""Weights that are truncated while a run has them mapped: a message that names the file, exit code 1, and finished cells
stay finished."""
import os
import shutil
import signal
import time

import case
import program
import results
import world


class Cut(case.Case):
    def setUp(self):
        super().setUp()
        self.model = self.world.copy_model("own")
        self.weights = os.path.join(self.model, "model.safetensors")
        self.kept = shutil.copy(self.weights, os.path.join(self.folder, "kept"))

    def wait(self, process, ready):
        deadline = time.monotonic() + 120
        while not ready():
            self.assertIsNone(process.poll(), "it ended too early")
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.005)

    def cut(self, process):
        """Truncates the weights, waits for the end of the program, and restores them."""
        os.truncate(self.weights, 4096)
        result = program.finish(process, timeout=120)
        deadline = time.monotonic() + 30  # the launcher may end before a rank that it killed
        while program.session_members(process.pid):
            self.assertLess(time.monotonic(), deadline, "processes are left")
            time.sleep(0.05)
        shutil.copy(self.kept, self.weights)
        return result

    def check_lost(self, result):
        self.expect(result, 1, f"error: cannot read {self.weights} any more", "truncated while in use", "run the same command again")

    def train(self):
        """A training run without an end, once it has written a few steps."""
        rows = world.write(os.path.join(self.folder, "rows.jsonl"), '{"input_ids": [1, 2, 3], "labels": [-100, 2, 3]}\n')
        method = world.write(os.path.join(self.folder, "lora.cfg"), 'method = { name = "lora"; };\n')
        log = os.path.join(self.folder, "steps")
        arguments = ["train", "--model", self.model, "--method", method, "--batches", rows, "--steps", "1000000"]
        with open(log, "wb") as out:
            process = program.launch(program.command(arguments), program.environment(None, None), stdout=out)
        self.wait(process, lambda: world.read(log).count(b"\n") > 2)
        return process

    def test_train(self):
        self.check_lost(self.cut(self.train()))

    def test_a_signal_that_was_sent_is_no_lost_page(self):
        process = self.train()
        process.send_signal(signal.SIGBUS)
        result = program.finish(process, timeout=120)
        self.assertNotEqual(result.code, 0)
        self.assertNotIn("cut short", result.err)

    def run_and_cut(self, ranks):
        rest = "train = { batch = 4; max_steps = 100; epochs = 100.0; };\ndata = { test_rows = 4; };\n"
        grid = self.world.grid(["own"], [self.world.dataset()], ["lora"], (1, 2, 3), rest=rest)
        process = program.start(["run", grid, "-o", self.output], ranks)
        self.wait(process, lambda: results.shards(self.output))
        finished = {path: world.read(path) for path in results.shards(self.output)}
        result = self.cut(process)
        if result.code == 4:  # it was truncated between two cells: the next one detects that the model changed
            self.expect(result, 4, "the model changed")
        else:
            self.check_lost(result)
        self.run_grid(grid, 0, ranks=ranks)
        for path, content in finished.items():
            self.assertTrue(world.read(path) == content, f"{path}: a finished cell was run again")
        self.assertEqual(len(self.cells()), 3)

    def test_run_alone(self):
        self.run_and_cut(None)

    def test_run_of_two_ranks(self):
        self.run_and_cut(2)


if __name__ == "__main__":
    case.main()
