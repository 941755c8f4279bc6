# SPDX-License-Identifier: Apache-2.0
"""Results folders that were damaged from outside, and folders with shards of several configurations: nothing
intact is lost or run again, and everything damaged is named."""
import fcntl
import json
import os
import shutil

import case
import program
import results
import world


def flip(path):
    content = bytearray(world.read(path))
    content[len(content) // 2] ^= 1
    world.write(path, bytes(content))


def replace(make):
    """Replaces a file with something else."""
    def damage(path):
        os.remove(path)
        make(path)
    return damage


DAMAGES = {"empty": lambda path: os.truncate(path, 0), "cut": lambda path: os.truncate(path, 1000), "flipped": flip,
           "dangling": replace(lambda path: os.symlink("/nowhere/x.h5", path)), "pipe": replace(os.mkfifo),
           "folder": replace(lambda path: world.write(os.path.join(path, "x"), "x")),
           "another": lambda path: shutil.copy(os.path.join(os.path.dirname(path), max(os.listdir(os.path.dirname(path)))), path)}


class Damage(case.Case):
    def setUp(self):
        super().setUp()
        self.grid = self.world.grid([self.world.model()], [self.world.dataset()], ["none", "lora", "ia3", "bitfit"], (1, 2))

    def status(self):
        return json.loads(self.expect(program.run(["status", self.output, "--json"]), 0).out)

    def damage(self):
        """One shard with every kind of damage → their paths, and the times of the intact ones."""
        self.run_grid(self.grid)
        shards = results.shards(self.output)
        damaged, sound = shards[:len(DAMAGES)], shards[len(DAMAGES):]
        for path, damage in zip(damaged, DAMAGES.values()):
            damage(path)
        self.assertEqual(len(sound), 1)
        return damaged, {path: os.stat(path).st_mtime_ns for path in sound}

    def check_healed(self, damaged, sound, result):
        for path in damaged:
            self.assertIn(f"it is kept as {path}.damaged", result.err)
            self.assertTrue(os.path.lexists(path + ".damaged"))
            self.assertTrue(os.path.isfile(path))
        self.assertEqual({path: os.stat(path).st_mtime_ns for path in sound}, sound, "a sound cell was run again")
        self.assertEqual(len(self.cells()), 8)
        self.assertEqual(self.status(), dict(self.status(), done=8, left=0, damaged=0, damaged_shards=[]))

    def test_one_run_sets_all_damaged_shards_aside_and_runs_their_cells(self):
        self.run_grid(self.grid)
        expected = self.digest(os.path.join(self.output, "tiny.h5"))
        damaged, sound = self.damage()
        status = self.status()
        self.assertEqual([status[name] for name in ("cells", "done", "left", "stale", "damaged")], [8, 1, 7, 0, 7])
        for path in damaged:
            self.assertEqual(sum(path in text for text in status["damaged_shards"]), 1, path)
        self.expect(program.run(["status", self.output]), 0, "damaged  7", *damaged)
        self.check_healed(damaged, sound, self.run_grid(self.grid))
        self.assertEqual(self.digest(os.path.join(self.output, "tiny.h5")), expected)

    def test_a_fresh_run_meets_no_obstacle(self):
        damaged, _ = self.damage()
        self.check_healed(damaged, {}, self.run_grid(self.grid, 0, None, "--fresh"))

    def test_merge_names_all_damaged_shards_at_once(self):
        damaged, _ = self.damage()
        merged = os.path.join(self.folder, "merged.h5")
        for planned in (True, False):
            with self.subTest(planned=planned):
                if not planned:
                    os.remove(os.path.join(self.output, "plan.json"))
                    os.remove(damaged.pop())  # an intact file under a wrong name: without a plan this cannot be detected
                result = self.expect(program.run(["merge", self.output, "-o", merged]), 1, *damaged, "peftbench run",
                                     f"the {len(damaged)} shards named above")
                self.assertEqual(result.err.count("error: "), 1)
                self.assertFalse(os.path.exists(merged))

    def test_only_the_holder_of_the_lock_sets_aside(self):
        damaged, _ = self.damage()
        before = sorted(os.listdir(os.path.join(self.output, "shards")))
        with open(os.path.join(self.output, "run.lock"), "rb+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self.assertEqual(self.status()["damaged"], 7)
            self.expect(program.run(["run", self.grid, "-o", self.output, "--set", "run.claim_seconds=1"]), 1, "run.lock")
        self.assertEqual(sorted(os.listdir(os.path.join(self.output, "shards"))), before, "only the holder may set aside")
        self.check_healed(damaged, {}, self.run_grid(self.grid))

    def test_without_a_plan_the_number_of_cells_left_is_unknown(self):
        sweep = 'exclude = ( { method = "lora"; seed = 2; } );'
        self.grid = self.world.grid([self.world.model()], [self.world.dataset()], ["none", "lora"], (1, 2), sweep=sweep)
        self.run_grid(self.grid)
        self.assertEqual([self.status()[name] for name in ("cells", "done", "left")], [3, 3, 0])
        os.remove(os.path.join(self.output, "plan.json"))
        self.assertEqual([self.status()[name] for name in ("cells", "done", "left")], [3, 3, None])
        self.expect(program.run(["status", self.output]), 0, "unknown without plan.json")


class Configurations(case.Case):
    def test_shards_of_every_configuration_are_kept(self):
        grid = self.world.grid([self.world.model()], [self.world.dataset()], ["none", "lora"], (1, 2))
        merged = os.path.join(self.output, "tiny.h5")
        self.run_grid(grid)
        first, expected = {path: os.stat(path).st_mtime_ns for path in results.shards(self.output)}, self.digest(merged)
        result = self.run_grid(grid, 0, None, "--set", "train.learning_rate=0.01")
        self.assertIn("4 shards in", result.err)
        self.assertEqual(len(self.cells()), 4)
        self.assertNotEqual(self.digest(merged), expected)
        for path, moment in first.items():
            self.assertEqual(os.stat(path).st_mtime_ns, moment, "a finished shard was replaced")
        self.expect(program.run(["status", self.output, "--json"]), 0, '"done": 4', '"left": 0', '"stale": 4')
        result = self.run_grid(grid)
        self.assertNotIn(" done, ", result.err, "a cell was run again on the way back")
        self.assertEqual(self.digest(merged), expected)
        self.assertEqual(len(results.shards(self.output)), 8)


if __name__ == "__main__":
    case.main()
