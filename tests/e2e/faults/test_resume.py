# SPDX-License-Identifier: Apache-2.0
"""A run that is stopped or killed inside a cell goes on from its checkpoint, to the digest of one that was never stopped. The
signal arrives at a certain write of a checkpoint, so that nothing here depends on time."""
import errno
import glob
import os
import signal

import case
import faults
import program
import results
import world

TRAIN = ("train = { batch = 3; accumulate = 2; max_steps = 9; epochs = 100.0; evaluate_share = 0.3; };\n"
         "data = { test_rows = 5; };\neval = { batch = 2; };\n")
METHODS = ["none", '{ method = "lora"; vary = { method = { dropout = [0.1]; }; }; }',
           '{ method = "adalora"; vary = { method = { init_r = [4]; target_r = [2]; tfinal = [2]; delta_t = [1]; }; }; }',
           "vera", "prompt-tuning", "majority"]
ALWAYS = ("--set", "run.checkpoint_seconds=1e-6")


class Resume(case.Case):
    def setUp(self):
        super().setUp()
        self.grid = self.world.grid([self.world.model()], [self.world.dataset()], METHODS, rest=TRAIN)
        clean = os.path.join(self.folder, "clean")
        self.run_grid(self.grid, 0, clean)
        self.expected = self.digest(os.path.join(clean, "tiny.h5"))
        self.below = [os.path.join(self.output, "checkpoints")]

    def checkpoints(self):
        return glob.glob(os.path.join(self.output, "checkpoints", "*.ckpt"))

    def signalled(self, at, number, *more, ranks=None):
        env = faults.environment(self.below, "rename", at, signal=number)
        return program.run(["run", self.grid, "-o", self.output, *ALWAYS, *more], ranks, env)

    def finish(self, *more, ranks=None):
        """Ends the run without faults, and checks that nothing was lost."""
        self.run_grid(self.grid, 0, self.output, *more, ranks=ranks)
        self.assertEqual(self.digest(os.path.join(self.output, "tiny.h5")), self.expected)
        self.assertEqual(self.checkpoints(), [])
        return self.cells()

    def stop_often(self, *more, ranks=None):
        stops = 0
        while (result := self.signalled(1 + stops % 3, signal.SIGTERM, *more, ranks=ranks)).code == 3:
            stops += 1
            self.assertLess(stops, 100, "no progress")
            self.assertEqual(results.temporaries(self.output), [])
        self.expect(result, 0)
        return stops

    def test_stopped_in_every_cell(self):
        self.assertGreaterEqual(self.stop_often(), 20)
        cells = self.finish()
        for key, cell in cells.items():
            self.assertEqual(int(cell["segments"]) > 5, "majority" not in key and "none" not in key, (key, cell["segments"]))


if __name__ == "__main__":
    case.main()
