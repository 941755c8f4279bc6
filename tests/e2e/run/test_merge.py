# SPDX-License-Identifier: Apache-2.0
"""The end of a run: a stop during the merge keeps everything, and merged cells are not merged again."""
import os
import signal
import time

import case
import program
import results
import world

CELLS = 150  # of baselines, which run no model: quickly done, and merged slowly enough for a signal


class Merge(case.Case):
    def setUp(self):
        super().setUp()
        self.merged = os.path.join(self.output, "tiny.h5")

    def grid(self, cells):
        return self.world.grid([self.world.model()], [self.world.dataset()], ["majority"], tuple(range(1, cells + 1)))

    def stop_in_the_merge(self, arguments, number, ranks=None):
        """The signal is sent when the temporary file of the merge exists."""
        process = program.start(arguments, ranks)
        deadline = time.monotonic() + 120
        while not any(".h5.tmp." in name for name in os.listdir(self.output)):
            self.assertIsNone(process.poll(), "it ended before it was asked to")
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.002)
        for pid in [process.pid] if ranks is None else program.session_members(process.pid):
            with open(f"/proc/{pid}/comm", encoding="utf-8") as f:
                if f.read().strip() == os.path.basename(program.PROGRAM)[:15]:
                    os.kill(pid, number)
        return program.finish(process, timeout=60)

    def check_kept(self, result, name, merged, shards):
        self.expect(result, 3, name)
        self.assertEqual(results.temporaries(self.output), [])
        self.assertEqual(world.read(self.merged), merged, "the earlier merged file was touched")
        self.assertEqual(results.shards(self.output), shards)

    def test_a_stop_in_the_merge_keeps_everything(self):
        self.run_grid(self.grid(CELLS - 1))
        merged = world.read(self.merged)
        grid = self.grid(CELLS)
        run = ["run", grid, "-o", self.output]
        result = self.stop_in_the_merge(run, signal.SIGTERM)
        shards = results.shards(self.output)
        self.assertEqual(len(shards), CELLS, "no cell was run again")
        self.check_kept(result, "SIGTERM", merged, shards)
        self.check_kept(self.stop_in_the_merge(run, signal.SIGUSR1), "SIGUSR1", merged, shards)
        self.check_kept(self.stop_in_the_merge(run, signal.SIGINT), "SIGINT", merged, shards)
        self.check_kept(self.stop_in_the_merge(run, signal.SIGTERM, 2), "SIGTERM", merged, shards)
        merge = ["merge", self.output, "-o", self.merged]
        self.check_kept(self.stop_in_the_merge(merge, signal.SIGTERM), "nothing was written", merged, shards)
        self.assertNotIn(" done, ", self.run_grid(grid).err)
        self.assertEqual(len(self.cells()), CELLS)

    def test_what_is_merged_is_kept(self):
        grid = self.grid(3)

        def state():
            about = os.stat(self.merged)
            return about.st_ino, about.st_mtime_ns

        first = self.run_grid(grid)
        before, content = state(), world.read(self.merged)
        for ranks in (None, 2):
            again = self.run_grid(grid, ranks=ranks)
            self.assertEqual(state(), before)
            self.assertEqual(again.out, first.out)
        self.assertEqual(self.run_grid(grid, 0, None, "--json").out[0], "{")

        flipped = bytearray(content)
        flipped[len(content) // 2] ^= 1
        for name, change in (("flipped", lambda: world.write(self.merged, bytes(flipped))),
                             ("cut", lambda: os.truncate(self.merged, 1000)), ("removed", lambda: os.remove(self.merged)),
                             ("another run", lambda: self.run_grid(self.grid(2)))):
            with self.subTest(name):
                change()
                self.run_grid(self.grid(3))
                self.assertNotEqual(state(), before)
                self.assertEqual(len(self.cells()), 3)
                before = state()


if __name__ == "__main__":
    case.main()
