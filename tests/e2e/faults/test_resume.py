# SPDX-License-Identifier: Apache-2.0
"""A run that is stopped or killed inside a cell goes on from its checkpoint, to the digest of one that was never stopped. The
signal arrives at a certain write of a checkpoint, so that nothing here depends on time."""
import errno
import glob
import os
import shutil
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
           "vera", "prompt-tuning", "majority", '{ method = "lora"; vary = { train = { split = [3]; }; }; }']
ALWAYS = ("--set", "run.checkpoint_seconds=1e-6")


class Runs(case.Case):
    device = ()
    settings = TRAIN

    def setUp(self):
        super().setUp()
        self.grid = self.world.grid([self.world.model()], [self.world.dataset()], METHODS, rest=self.settings)
        self.expected = self.undisturbed(self.grid, *self.device)
        self.below = [os.path.join(self.output, "checkpoints")]

    def checkpoints(self):
        return glob.glob(os.path.join(self.output, "checkpoints", "*.ckpt"))

    def running(self):
        """The cells that a killed process was running: the lines of its file between the first and the one that ends them."""
        [path] = glob.glob(os.path.join(self.output, "attempts", "*.running"))
        with open(path, encoding="utf-8") as f:
            lines = f.read().splitlines()
        return lines[1:lines.index("end")]

    def signalled(self, at, number, *more, ranks=None, call="rename"):
        env = faults.environment(self.below, call, at, signal=number)
        return program.run(["run", self.grid, "-o", self.output, *ALWAYS, *self.device, *more], ranks, env)

    def finish(self, *more, ranks=None):
        """Ends the run without faults, and checks that nothing was lost."""
        self.run_grid(self.grid, 0, self.output, *self.device, *more, ranks=ranks)
        self.assertEqual(self.digest(os.path.join(self.output, "tiny.h5")), self.expected)
        self.assertEqual(self.checkpoints(), [])
        return self.cells()

    def stop_often(self, *more, ranks=None, first=1):
        stops = 0
        while (result := self.signalled(first + stops % 3, signal.SIGTERM, *more, ranks=ranks)).code == 3:
            stops += 1
            self.assertLess(stops, 100, "no progress")
            self.assertEqual(results.temporaries(self.output), [])
        self.expect(result, 0)
        return stops


class Resume(Runs):
    def test_stopped_in_every_cell(self):
        self.assertGreaterEqual(self.stop_often(), 20)
        for key, cell in self.finish().items():
            trained = "majority" not in key and "none" not in key
            self.assertEqual(int(cell["segments"]) > 5, trained, (key, cell["segments"]))
            self.assertGreaterEqual(float(cell["seconds_lost"]), 0)

    def test_stopped_on_ranks_and_in_gangs(self):
        for ranks, gang in ((2, 1), (4, 1), (None, 3)):
            with self.subTest(ranks=ranks, gang=gang):
                shutil.rmtree(self.output, ignore_errors=True)
                self.assertGreaterEqual(self.stop_often("--set", f"run.gang={gang}", ranks=ranks, first=5), 1)
                self.finish()

    def test_a_gang_that_was_stopped_goes_on_alone_and_together(self):
        for gang, then in ((3, 1), (1, 3)):
            with self.subTest(gang=gang, then=then):
                shutil.rmtree(self.output, ignore_errors=True)
                for _ in range(2):
                    self.expect(self.signalled(4, signal.SIGTERM, "--set", f"run.gang={gang}"), 3, "same command continues")
                self.assertEqual(len(self.checkpoints()), gang)
                cells = self.finish("--set", f"run.gang={then}")
                self.assertEqual(sum(int(cell["segments"]) == 3 for cell in cells.values()), gang)

    def test_killed_at_any_write_of_a_checkpoint(self):
        """One step is lost at most; every kill leaves the checkpoint before, and a cell that got further is not to blame."""
        for gang, attempts in ((1, 2), (3, 1000)):
            shutil.rmtree(self.output, ignore_errors=True)
            more, kills = ["--set", f"run.max_attempts={attempts}", "--set", f"run.gang={gang}"], 0
            while (result := self.signalled(2 + kills % 4, signal.SIGKILL, *more)).code == -signal.SIGKILL:
                kills += 1
                self.assertLess(kills, 60, "no progress")
            self.expect(result, 0)
            self.assertGreaterEqual(kills, 5)
            self.finish()

    def test_a_cell_that_takes_its_process_down_is_passed_over(self):
        """It is killed when it reads its checkpoint, twice. A stop that was asked for does not count, and ends the series."""
        self.expect(self.signalled(1, signal.SIGTERM), 3)
        self.below = self.checkpoints()
        self.assertEqual(len(self.below), 1)
        for number, code in ((signal.SIGKILL, -9), (signal.SIGTERM, 3), (signal.SIGKILL, -9), (signal.SIGKILL, -9)):
            self.expect(self.signalled(1, number, call="open"), code)
        status = self.expect(program.run(["status", self.output]), 0).out
        self.assertIn("saved    1 cell with a checkpoint to go on from\ncrashed  1 cell ran when a process went down\n", status)
        self.expect(self.signalled(1, signal.SIGKILL, call="open"), 4, "it took its process down 2 times", "--retry-failed")
        self.assertEqual(sorted(cell["status"] for cell in self.cells().values()), ["done"] * (len(METHODS) - 1) + ["failed"])
        self.assertFalse(os.path.exists(os.path.join(self.output, "attempts")))
        self.finish("--retry-failed")

    def test_a_gang_that_goes_down_is_taken_apart(self):
        at, marks = 0, []
        while len(marks) < 4:
            at += 1
            shutil.rmtree(self.output, ignore_errors=True)
            self.expect(self.signalled(at, signal.SIGKILL, "--set", "run.gang=4"), -signal.SIGKILL)
            marks = self.running()
        cells = self.finish("--set", "run.gang=4")
        self.assertEqual({int(cell["gang"]) for cell in cells.values()}, {1})

    def test_a_checkpoint_that_cannot_be_written_is_reported_once(self):
        for call in ("open", "write", "fsync", "rename"):
            with self.subTest(call):
                shutil.rmtree(self.output, ignore_errors=True)
                env = faults.environment(self.below, call, 0, errno.ENOSPC)
                result = program.run(["run", self.grid, "-o", self.output, *ALWAYS], env=env)
                self.expect(result, 0)
                self.assertEqual(result.err.count("a checkpoint cannot be written"), 1, result.err)
                self.finish()

    def test_a_checkpoint_of_no_use_is_ignored(self):
        for damage in (lambda b: b[:len(b) // 2], lambda b: b[:-70] + bytes([b[-70] ^ 1]) + b[-69:], lambda b: b""):
            shutil.rmtree(self.output, ignore_errors=True)
            self.expect(self.signalled(3, signal.SIGTERM), 3)
            path, = self.checkpoints()
            world.write(path, damage(world.read(path)))
            result = program.run(["run", self.grid, "-o", self.output])
            self.expect(result, 0, "a cell begins again: " + path)
            self.finish()

    def test_a_checkpoint_that_a_kill_left_beside_the_result_is_removed(self):
        self.expect(self.signalled(3, signal.SIGTERM), 3)
        path, = self.checkpoints()
        content = world.read(path)
        self.finish()
        world.write(path, content)
        self.finish()

    def test_fresh_and_other_settings_begin_again(self):
        self.expect(self.signalled(3, signal.SIGTERM), 3)
        kept, = self.checkpoints()
        self.run_grid(self.grid, 0, self.output, "--set", "train.learning_rate=2e-3")
        self.assertEqual(self.checkpoints(), [kept])
        self.run_grid(self.grid, 0, self.output, "--fresh")
        self.assertEqual({int(cell["segments"]) for cell in self.cells().values()}, {1})
        self.finish()


class OnDevice(Runs):
    """Over memory that only operations may touch."""
    device = ("--device", "guarded")

    def setUp(self):
        self.addCleanup(setattr, program, "PROGRAM", program.PROGRAM)
        program.PROGRAM = os.environ["PB_GUARDED"]
        super().setUp()

    def test_stopped_and_killed(self):
        for number in (signal.SIGTERM, signal.SIGKILL, signal.SIGTERM):
            for at in (2, 5, 8):
                self.assertIn(self.signalled(at, number).code, (3, -signal.SIGKILL))
        self.finish()


if __name__ == "__main__":
    case.main()
