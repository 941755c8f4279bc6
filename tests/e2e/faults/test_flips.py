# SPDX-License-Identifier: Apache-2.0
"""Files with one wrong byte: never a crash, and never a different result."""
import os
import random

import case
import faults
import program
import results
import world

FLIPS = 200 if faults.LONG else 40


class Flips(faults.Faults):
    def flipped(self, path):
        """Copies of a file, each with a different byte changed → the path of the copy, and the place."""
        content, chance = world.read(path), random.Random(faults.SEED)
        copy = os.path.join(self.folder, "flipped.h5")
        for _ in range(FLIPS):
            at = chance.randrange(len(content))
            changed = bytes([content[at] ^ chance.randrange(1, 256)])
            yield world.write(copy, content[:at] + changed + content[at + 1:]), at

    def check(self, result, at, *texts):
        """One clear error, or the result of the intact file."""
        if result.code == 0:
            self.assertEqual(result.out.strip(), self.expected, f"byte {at}: another result")
            return
        self.assertEqual(result.code, 1, f"byte {at}: {result}")
        self.assertEqual(result.err.count("error: "), 1, f"byte {at}: {result}")
        for text in texts:
            self.assertIn(text, result.err, f"byte {at}")

    def test_merged_file(self):
        for path, at in self.flipped(self.merged()):
            self.check(program.run(["report", path, "--digest"]), at, path, "merge")

    def test_shards(self):
        shards = results.shards(self.output)
        self.expected = ""  # of a shard, report prints tables
        for number, (path, at) in enumerate(self.flipped(shards[0])):
            result = program.run(["report", path])
            self.assertEqual(result.code, 1, f"byte {at}: {result}")
            self.check(result, at, path)
            if number % 8 == 0:
                world.write(shards[0], world.read(path))
                self.assertEqual(program.run(["merge", self.output, "-o", os.path.join(self.folder, "x.h5")]).code, 1)

    def test_a_run_makes_a_flipped_shard_again(self):
        kept = self.begin()
        path, _ = next(self.flipped(min(kept)))
        world.write(min(kept), world.read(path))
        self.run_grid(self.grid, 0)
        self.assertEqual(self.digest(self.merged()), self.expected)
        self.assertTrue(os.path.exists(min(kept) + ".damaged"))

    def test_a_run_merges_a_flipped_file_again(self):
        kept = self.begin()
        path, _ = next(self.flipped(self.merged()))
        world.write(self.merged(), world.read(path))
        self.run_grid(self.grid, 0)
        self.check_recovers(kept)


if __name__ == "__main__":
    case.main()
