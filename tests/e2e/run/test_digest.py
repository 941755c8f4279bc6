# SPDX-License-Identifier: Apache-2.0
"""The digest of a sweep depends only on the sweep: not on ranks, repetitions, resumes, or which rank wrote which shard."""
import json
import os
import shutil

import case
import program
import results

METHODS = ["none", "lora", "ia3", "bitfit", "prompt-tuning"]


class Steps:
    """The steps are the same for every grid; self.grid, self.name and self.keys come from the test case."""

    keys = ()

    def fresh(self, name, ranks, *more, output=None):
        output = output or os.path.join(self.folder, name)
        self.run_grid(self.grid, 0, output, *self.keys, *more, ranks=ranks, timeout=1500)
        return output, self.digest(os.path.join(output, self.name + ".h5"))

    def check_ranks_and_resumes(self, numbers):
        """The same by each of these numbers of ranks, and when the last resumes what one process began."""
        first, expected = self.fresh("one", 1)
        count = len(self.cells(self.name, first))
        for ranks in numbers:
            with self.subTest(ranks=ranks):
                output, digest = self.fresh(f"ranks{ranks}", ranks)
                self.assertEqual(digest, expected)
                self.assertEqual(len(self.cells(self.name, output)), count)
        with self.subTest("half of the cells were run earlier, by another number of ranks"):
            output, _ = self.fresh("half", 1, "--set", 'sweep.methods=["none", "lora"]')
            before = {path: os.stat(path).st_mtime_ns for path in results.shards(output)}
            self.assertTrue(0 < len(before) < count)
            self.assertEqual(self.fresh("half", 4, output=output)[1], expected)
            self.assertEqual(len(self.cells(self.name, output)), count)
            for path, time in before.items():
                self.assertEqual(os.stat(path).st_mtime_ns, time, "a finished cell was run again")
        return first, expected

    def check_alone_and_shards_of_others(self, first, expected):
        with self.subTest("without a launcher"):
            self.assertEqual(self.fresh("alone", None)[1], expected)
        with self.subTest("shards of different jobs in one folder"):
            for i, path in enumerate(results.shards(first)):
                if i % 2 == 0:
                    shutil.copy(path, os.path.join(self.folder, "ranks4", "shards"))
            output, digest = self.fresh("ranks4", 2)
            self.assertEqual(digest, expected)


class Generated(Steps, case.Case):
    def setUp(self):
        super().setUp()
        self.name = "tiny"
        self.data = [self.world.dataset("pairs"), self.world.dataset("others", self.world.rows["train"][::-1])]
        self.grid = self.world.grid([self.world.model()], self.data)

    def test_digest_depends_on_the_sweep_alone(self):
        self.grid = self.world.grid(["good"], self.data, METHODS, (1, 2))
        self.check_alone_and_shards_of_others(*self.check_ranks_and_resumes((2, 4)))

    def test_a_second_run_finds_everything_done_and_gives_the_same_file(self):
        output, expected = self.fresh("twice", 2)
        self.assertEqual(self.fresh("twice", 2, output=output)[1], expected)
        result = self.run_grid(self.grid, 0, output)
        self.assertNotIn("cell 1 of", result.err)

    def test_slow_kernels_that_the_user_wants_are_warned_of_once(self):
        """Every cell opens its own backend."""
        result = self.run_grid(self.grid, ranks=2, env={"OPENBLAS_CORETYPE": "Prescott"})
        candidates = json.loads(self.expect(program.run(["info", "--json", "--measure"]), 0).out)["candidates"]
        self.assertEqual(result.err.count("makes products"), 1 if len(candidates) > 1 else 0, str(result))

    def test_another_configuration_gives_another_digest(self):
        _, expected = self.fresh("one", None)
        for change in ("train.learning_rate=0.01", "sweep.seeds=[3]", "data.train_rows=8", "eval.max_new_tokens=2"):
            with self.subTest(change):
                self.assertNotEqual(self.fresh(change, None, "--set", change)[1], expected)

    def test_another_content_of_a_file_runs_its_cells_again(self):
        output, expected = self.fresh("data", None)
        self.world.dataset("others", self.world.rows["train"])
        result = self.run_grid(self.grid, 0, output)
        self.assertIn("others/lora/1 done", result.err)
        self.assertNotIn("pairs/lora/1 done", result.err)
        self.assertNotEqual(self.digest(os.path.join(output, "tiny.h5")), expected)
        self.assertEqual(len(self.cells("tiny", output)), 4)

    def test_fresh_runs_every_cell_again_and_gives_the_same(self):
        output, expected = self.fresh("fresh", None)
        before = {path: os.stat(path).st_ino for path in results.shards(output)}
        self.assertEqual(self.fresh("fresh", None, "--fresh", output=output)[1], expected)
        for path, number in before.items():
            self.assertNotEqual(os.stat(path).st_ino, number, path)

    def test_merge_of_the_folder_has_the_digest_of_the_run(self):
        output, expected = self.fresh("merge", 2)
        merged = os.path.join(self.folder, "merged.h5")
        self.expect(program.run(["merge", output, "-o", merged]), 0)
        self.assertEqual(self.digest(merged), expected)

    def test_status_counts_what_is_done_and_left(self):
        output, _ = self.fresh("status", None)
        os.remove(results.shards(output)[0])
        result = self.expect(program.run(["status", output, "--json"]), 0)
        self.assertIn('"cells": 4, "done": 3, "failed": 0, "invalid": 0, "left": 1', result.out)


class RealSmall(Steps, case.Case):
    keys = program.FEWER

    def setUp(self):
        super().setUp()
        if not os.path.isdir(os.path.join(program.SHARED, "models/stories260K")):
            case.skip(f"the shared model and data are not in {program.SHARED}")
        self.name = "real-small"
        self.grid = os.path.join(program.SOURCE, "configs/grid/real-small.cfg")

    def test_digest_depends_on_the_sweep_alone(self):
        """The rest that generated cells show is the same code."""
        self.check_ranks_and_resumes((4,))


if __name__ == "__main__":
    case.main()
