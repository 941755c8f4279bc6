# SPDX-License-Identifier: Apache-2.0
"""Cells that train together have the results that they have alone."""
import json
import os
import signal
import time

import case
import program
import results

METHODS = ["none", "lora", "ia3", "bitfit", "prompt-tuning"]


class Gangs(case.Case):
    def setUp(self):
        super().setUp()
        self.data = [self.world.dataset("pairs"), self.world.dataset("others", self.world.rows["train"][:14])]
        self.world.model()

    def grid(self, **more):
        return self.world.grid(["good"], self.data, METHODS, (1, 2), **more)

    def fresh(self, grid, gang, ranks=None, code=0):
        """The output folder of a new run, and its digest."""
        output = os.path.join(self.folder, f"gang{gang}-{ranks}".replace('"', ""))
        self.run_grid(grid, code, output, "--set", f"run.gang={gang}", ranks=ranks, timeout=600)
        return output, self.digest(os.path.join(output, "tiny.h5"))

    def gangs(self, output):
        """The number of cells of each size of gang."""
        sizes = [int(cell["gang"]) for cell in self.cells("tiny", output).values()]
        return {size: sizes.count(size) for size in sizes}

    def test_the_digest_does_not_depend_on_gangs(self):
        grid = self.grid()
        output, expected = self.fresh(grid, 1)
        self.assertEqual(self.gangs(output), {1: 20})
        for ranks in (1, 2):
            for gang, sizes in ((2, {1: 4, 2: 16}), (4, {1: 4, 4: 16}), ('"auto"', {1: 20})):
                with self.subTest(gang=gang, ranks=ranks):
                    output, digest = self.fresh(grid, gang, ranks)
                    self.assertEqual(digest, expected)
                    self.assertEqual(self.gangs(output), sizes)

    def test_a_stopped_run_resumes_inside_a_gang(self):
        grid = self.grid(rest="train = { batch = 4; max_steps = 24; epochs = 100.0; };\n")
        _, expected = self.fresh(grid, 1)
        process = program.start(["run", grid, "-o", self.output, "--set", "run.gang=3"], None)
        deadline = time.monotonic() + 60
        while len(results.shards(self.output)) < 4:
            self.assertIsNone(process.poll(), "the job ended before it was asked to")
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGTERM)
        self.expect(program.finish(process, timeout=60), 3, "left", "the same command continues")
        kept = results.shards(self.output)
        self.assertTrue(4 <= len(kept) < 20, kept)
        self.assertEqual(results.temporaries(self.output), [])
        self.assertEqual(len(self.cells()), len(kept))
        before = {path: os.stat(path).st_mtime_ns for path in kept}
        self.run_grid(grid, 0, self.output, "--set", "run.gang=3", ranks=2)
        for path, moment in before.items():
            self.assertEqual(os.stat(path).st_mtime_ns, moment, "a finished cell was run again")
        self.assertEqual(self.digest(os.path.join(self.output, "tiny.h5")), expected)

    def test_a_cell_that_fails_leaves_its_gang_alone(self):
        sweep = """  override = ( { when = { method = "lora"; seed = 2; };
                       set = { train = { learning_rate = 1e3; weight_decay = 1e3; batch = 2; max_steps = 12; }; }; } );"""
        grid = self.grid(sweep=sweep)
        _, expected = self.fresh(grid, 1, code=4)
        together, digest = self.fresh(grid, 4, code=4)
        self.assertEqual(digest, expected)
        failed = [cell for cell in self.cells("tiny", together).values() if cell["status"] != "done"]
        self.assertEqual({(cell["method"], cell["seed"]) for cell in failed}, {("lora", "2")})
        self.assertEqual({cell["gang"] for cell in failed}, {"4"})
        self.assertIn("the run diverged", failed[0]["message"])

    def test_the_plan_counts_the_memory_of_a_gang(self):
        grid, memory = self.grid(), {}
        for gang in (1, 4):
            result = self.expect(program.run(["plan", grid, "--json", "--set", f"run.gang={gang}"]), 0)
            memory[gang] = [cell["memory_gb_modelled"] for cell in json.loads(result.out)["cells"]]
        weights = 4e-9 * 455520
        for first in range(0, 16, 4):  # the longest first; those without training come last
            sum_of_four = sum(memory[1][first:first + 4]) - 3 * weights
            for i in range(first, first + 4):
                self.assertAlmostEqual(memory[4][i], sum_of_four, delta=1e-6)
        self.assertEqual(memory[4][16:], memory[1][16:])

    def test_other_sizes_are_refused(self):
        grid = self.grid()
        for gang, text in (("0", "1"), ("65", "64"), ('"many"', '"auto"'), ("true", '"auto"')):
            with self.subTest(gang):
                result = program.run(["run", grid, "-o", self.output, "--set", f"run.gang={gang}"])
                self.expect(result, 2, "gang", text)


if __name__ == "__main__":
    case.main()
