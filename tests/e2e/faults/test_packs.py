# SPDX-License-Identifier: Apache-2.0
"""Sweeps whose results are in packs: the same digest as with a file per cell, whatever happens to the processes and the files."""
import errno
import glob
import os
import shutil
import signal
import threading
import time

import case
import faults
import program
import results
import world

MOST_FILES = 100


def count_files(folder):
    return sum(len(files) for _, _, files in os.walk(folder))


class Packs(case.Case):
    seeds, keys = range(10), ("--set", "run.pack_cells=5")

    def setUp(self):
        super().setUp()
        rows = self.world.rows["test"][:2]
        self.grid = self.world.grid([self.world.model()], [self.world.dataset(test=rows)], ["majority", "random"], self.seeds)

    def run_it(self, ranks=None, output=None, *more):
        return self.run_grid(self.grid, 0, output, *self.keys, *more, ranks=ranks)

    def merged(self, output=None):
        return os.path.join(output or self.output, "tiny.h5")

    def packs(self):
        return sorted(glob.glob(os.path.join(self.output, "shards", "*.pack")))

    def expected(self, ranks=None):
        """The digest of a run without faults."""
        output = os.path.join(self.folder, "undisturbed")
        self.run_it(ranks, output)
        return self.digest(self.merged(output))

    def killed(self, at, ranks=None, call="write"):
        env = faults.environment([os.path.join(self.output, "shards")], call, at, signal=signal.SIGKILL)
        return program.run(["run", self.grid, "-o", self.output, *self.keys, "--set", "run.max_attempts=1000"], ranks, env)

    def status(self, *texts):
        return self.expect(program.run(["status", self.output]), 0, *texts)


class Small(Packs):
    def test_the_digest_is_that_of_a_file_per_cell(self):
        single = os.path.join(self.folder, "single")
        self.run_grid(self.grid, 0, single)
        self.assertEqual(len(results.shards(single)), 20)
        digest = self.digest(self.merged(single))
        for ranks in (None, 4):
            with self.subTest(ranks=ranks):
                shutil.rmtree(self.output, ignore_errors=True)
                self.run_it(ranks)
                self.assertEqual(results.shards(self.output), [])
                self.assertIn(len(self.packs()), range(1, (ranks or 1) + 1))
                self.assertEqual(self.digest(self.merged()), digest)
                self.assertEqual(len(self.cells()), 20)
                self.assertIn("is kept", self.run_it(ranks).err)

    def test_a_sweep_that_grows_has_both(self):
        expected = self.expected()
        self.run_grid(self.grid, 0, None, "--set", "sweep.seeds=[0,1]")
        self.assertEqual(len(results.shards(self.output)), 4)
        self.assertIn("cell 5 of 20", self.run_it().err)
        self.assertEqual(self.digest(self.merged()), expected)

    def test_killed_in_the_middle_of_records(self):
        expected, kills = self.expected(), 0
        while (result := self.killed(4 + kills % 3)).code == -signal.SIGKILL:
            kills += 1
            self.assertLess(kills, 40, "no progress")
            self.status()
        self.expect(result, 0)
        self.assertGreaterEqual(kills, 5)
        self.assertEqual(len(self.packs()), 1)
        self.assertEqual(self.digest(self.merged()), expected)
        self.assertEqual(len(self.cells()), 20)
        self.assertFalse(os.path.exists(os.path.join(self.output, "attempts")))

    def test_a_kill_is_counted_for_its_cell(self):
        env = faults.environment([os.path.join(self.output, "shards")], "write", 1, signal=signal.SIGKILL)
        for _ in range(2):
            result = program.run(["run", self.grid, "-o", self.output, *self.keys], env=env)
            self.assertEqual(result.code, -signal.SIGKILL, str(result))
        self.status("crashed  1 cell ran when a process went down")
        result = program.run(["run", self.grid, "-o", self.output, *self.keys])
        self.expect(result, 4, "it took its process down 2 times")
        self.run_it(None, None, "--retry-failed")
        self.assertEqual(self.digest(self.merged()), self.expected())

    def test_a_full_disk_is_an_error_and_costs_one_cell(self):
        for at in (1, 6):
            env = faults.environment([os.path.join(self.output, "shards")], "write", at, number=errno.ENOSPC)
            result = program.run(["run", self.grid, "-o", self.output, *self.keys], env=env)
            self.expect(result, 1, "cannot write", ".pack", "free some space")
        self.assertNotIn("ends inside a record", self.status().err)
        self.run_it()
        self.assertEqual(self.digest(self.merged()), self.expected())

    def test_damage_is_named_and_costs_the_record_that_it_hit(self):
        expected = self.expected()
        self.run_it()
        [pack] = self.packs()
        sound = world.read(pack)
        lines = [at for at in range(len(sound)) if sound.startswith(b"peftbench cell ", at)]
        self.assertEqual(len(lines), 20)
        for place, text in ((lines[7] + 5000, "0001.pack, record 8 (good__pairs__"), (lines[7] + 20, "after record 7, are no record")):
            with self.subTest(text):
                shutil.rmtree(os.path.join(self.output, "shards"))
                world.write(pack, sound[:place] + bytes([sound[place] ^ 1]) + sound[place + 1:])
                self.status("damaged  1", text, "done     19")
                self.expect(program.run(["merge", self.output, "-o", os.path.join(self.folder, "x.h5")]), 1, text)
                result = self.run_it()
                self.assertIn(text, result.err)
                self.assertIn(f"kept as {pack}.{lines[7]}.damaged", result.err)
                self.assertIn("cell 20 of 20", result.err)
                self.assertNotIn("cell 19 of 20", result.err)
                self.assertEqual(self.digest(self.merged()), expected)
        world.write(pack, sound[:-100])
        self.status("ends inside a record", "left     1")
        self.run_it()
        self.assertEqual(self.digest(self.merged()), expected)


class Large(Packs):
    """More cells than a sweep keeps in files of their own."""
    seeds, keys = range(300), ()

    def watch(self, over, most):
        while not over.wait(0.2):
            most.append(count_files(self.output))

    def test_few_files_and_one_digest_on_any_ranks_and_after_kills(self):
        expected, over, most = self.expected(), threading.Event(), []
        watcher = threading.Thread(target=self.watch, args=(over, most), daemon=True)
        watcher.start()
        for _ in range(2):
            process = program.start(["run", self.grid, "-o", self.output, "--set", "run.max_attempts=1000"], 4)
            time.sleep(5)
            program.kill_session(process)
        self.run_it(4)
        over.set()
        watcher.join()
        self.assertLessEqual(max(most + [count_files(self.output)]), MOST_FILES)
        self.assertEqual(self.digest(self.merged()), expected)
        self.assertEqual(len(self.cells()), 600)


if __name__ == "__main__":
    case.main()
