# SPDX-License-Identifier: Apache-2.0
"""Processes that are not alike, runs beside each other in one folder, and results that vanish during a run: each is
an error that says what to do, and never a cell that is silently missing."""
import os
import time

import case
import program
import results
import world


class Unlike(case.Case):
    """Results depend on kernels and threads, so every process has to have the same."""

    def setUp(self):
        super().setUp()
        grid = self.world.grid([self.world.model()], [self.world.dataset()], ["none", "lora"], (1, 2))
        self.run = ["run", grid, "-o", self.output]

    def refuse(self, settings, more=(), texts=()):
        result = program.run_each([*self.run, *more], settings)
        self.expect(result, 2, "rank 1: this process would compute with", "rank 0 with", "OPENBLAS_CORETYPE", *texts)
        self.assertEqual(result.err.count("error: "), 1)
        self.assertFalse(os.path.exists(self.output))

    def test_other_numbers_of_threads(self):
        self.refuse([["OMP_NUM_THREADS=1"], ["OMP_NUM_THREADS=2"]], ["--threads", "0"], ["1 thread", "2 threads"])

    def test_other_kernels(self):
        if "OpenBLAS" not in program.run(["info"]).out:
            case.skip("the products of this build are not by OpenBLAS")
        self.refuse([["PB=0"], ["OPENBLAS_CORETYPE=Haswell"]], texts=["pinned by OPENBLAS_CORETYPE=Haswell"])

    def test_all_threads_are_a_number_like_another(self):
        self.expect(program.run_each([*self.run, "--threads", "0"], [["OMP_NUM_THREADS=2"]] * 2), 0)
        before = {path: os.stat(path).st_mtime_ns for path in results.shards(self.output)}
        self.assertEqual(len(before), 4)
        self.expect(program.run([*self.run, "--threads", "2"]), 0)
        self.assertEqual({path: os.stat(path).st_mtime_ns for path in results.shards(self.output)}, before)


class Beside(case.Case):
    def setUp(self):
        super().setUp()
        rest = "train = { batch = 4; max_steps = 16; epochs = 100.0; };\n"
        self.grid = self.world.grid([self.world.model()], [self.world.dataset()], ["lora", "ia3", "bitfit"],
                                    tuple(range(1, 7)), rest=rest)

    def start(self, shards):
        """A run that has finished so many cells."""
        process = program.start(["run", self.grid, "-o", self.output])
        self.addCleanup(program.kill_session, process)
        deadline = time.monotonic() + 60
        while len(results.shards(self.output)) < shards:
            self.assertIsNone(process.poll(), "the run ended too early")
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.005)
        return process

    def test_the_second_run_in_a_folder_is_told_of_the_first(self):
        process = self.start(1)
        plan = world.read(os.path.join(self.output, "plan.json"))
        for ranks in (None, 2):
            with self.subTest(ranks=ranks):
                result = program.run(["run", self.grid, "-o", self.output, "--set", "sweep.seeds=[9]"], ranks=ranks)
                self.expect(result, 1, os.path.join(self.output, "run.lock"), f"host {os.uname().nodename}, process {process.pid};")
                self.assertEqual(result.err.count("error: "), 1)
        self.assertEqual(world.read(os.path.join(self.output, "plan.json")), plan)
        self.expect(program.finish(process), 0)
        self.run_grid(self.grid, 0)

    def test_a_killed_run_leaves_no_lock(self):
        program.kill_session(self.start(1))
        self.run_grid(self.grid, 0)
        self.assertEqual(len(self.cells()), 18)

    def test_results_that_vanish_during_a_run_are_an_error(self):
        process = self.start(1)
        os.remove(results.shards(self.output)[0])
        self.expect(program.finish(process), 1, self.output, "lacks the results of 1 of 18 cells", "the same command")
        self.run_grid(self.grid, 0)
        self.assertEqual(len(self.cells()), 18)


if __name__ == "__main__":
    case.main()
