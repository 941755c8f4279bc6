# SPDX-License-Identifier: Apache-2.0
"""Cells whose passes are split have the same results whoever computes the parts."""
import os
import signal
import time

import case
import program
import world

METHODS = ["none", "lora", "full", '{ method = "lora"; vary = { method = { dropout = [0.2]; }; train = { split = [2]; }; }; }']
TRAIN = ("train = { batch = 5; accumulate = 2; split = 3; max_steps = 8; epochs = 100.0; evaluate_share = 0.3; };\n"
         "data = { test_rows = 5; };\neval = { batch = 2; };\n")
ONE = ("--set", 'sweep.methods=["lora"]', "--set", "sweep.seeds=[1]", "--set", "train.max_steps=200")


class Split(case.Case):
    def setUp(self):
        super().setUp()
        self.grid = self.world.grid([self.world.model()], [self.world.dataset()], METHODS, rest=TRAIN)
        self.expected = self.undisturbed(self.grid)

    def helps(self, log):
        return log.count("this process helps rank")

    def test_the_digest_does_not_depend_on_who_computes(self):
        for ranks in (2, 4):
            with self.subTest(ranks=ranks):
                output = os.path.join(self.folder, str(ranks))
                result = self.run_grid(self.grid, 0, output, "--log-level", "debug", ranks=ranks)
                self.assertEqual(self.digest(os.path.join(output, "tiny.h5")), self.expected)
                self.assertEqual(self.helps(self.cells_alone(ranks).err), min(ranks - 1, 2))
                self.assertNotIn("warn: cell", result.err)
        self.assertEqual({self.stop_by_a_signal_to_the_helper()}, self.digests)

    def cells_alone(self, ranks):
        """A run of one cell, so that every other process is idle from the beginning."""
        output = os.path.join(self.folder, f"one-{ranks}")
        result = self.run_grid(self.grid, 0, output, "--log-level", "debug", *ONE, ranks=ranks)
        digest = self.digest(os.path.join(output, "tiny.h5"))
        self.digests = getattr(self, "digests", set()) | {digest}
        self.assertEqual(len(self.digests), 1)
        return result

    def stop_by_a_signal_to_the_helper(self):
        """It stops the cell, which goes on in the next run."""
        output, log = os.path.join(self.folder, "stopped"), os.path.join(self.folder, "log")
        with open(log, "wb") as f:
            process = program.start(["run", self.grid, "-o", output, "--log-level", "debug", *ONE], 2, stderr=f)
        self.addCleanup(program.kill_session, process)
        while b"this process helps rank 0" not in world.read(log):
            self.assertIsNone(process.poll(), "the run ended too early")
            time.sleep(0.005)
        [helper] = [pid for pid in program.session_members(process.pid)
                    if b"OMPI_COMM_WORLD_RANK=1" in world.read(f"/proc/{pid}/environ").split(b"\0")]
        os.kill(helper, signal.SIGTERM)
        self.assertEqual(program.finish(process, timeout=60).code, 3, world.read(log).decode())
        self.assertEqual(len(os.listdir(os.path.join(output, "checkpoints"))), 1)
        self.run_grid(self.grid, 0, output, *ONE)
        return self.digest(os.path.join(output, "tiny.h5"))

    def test_a_search_refuses_split_cells(self):
        methods = ['{ method = "lora"; vary = { method = { r = [2, 4]; }; }; }']
        grid = self.world.grid(["good"], ["pairs"], methods, rest=TRAIN, name="searched",
                               sweep="  search = { rungs = [50]; keep = 0.5; };\n")
        self.run_grid(grid, 4, os.path.join(self.folder, "searched"))
        messages = {cell["message"] for cell in self.cells("searched", os.path.join(self.folder, "searched")).values()}
        self.assertEqual(len(messages), 1)
        self.assertIn("set train.split = 1", messages.pop())


if __name__ == "__main__":
    case.main()
