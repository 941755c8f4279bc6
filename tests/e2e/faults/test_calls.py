# SPDX-License-Identifier: Apache-2.0
"""One system call fails, somewhere in a run: at worst it ends with a message, everything intact stays, and the same
command makes up for the rest."""
import errno
import os
import re

import case
import faults
import program
import results
import world

FAILURES = (("open", errno.EIO), ("open", errno.ENOSPC), ("open", errno.EINTR), ("read", errno.EIO), ("read", errno.EINTR),
            ("map", errno.ENOMEM), ("write", errno.EIO), ("write", errno.ENOSPC), ("write", errno.EINTR), ("fsync", errno.EIO),
            ("fsync", errno.EINTR), ("rename", errno.EIO), ("rename", errno.ENOSPC))
STEP = 5
SHORT = 2  # places per failure in the short form
FIRST = 40 if faults.LONG else 7  # calls in the folder of shards, which begin with checks of the existing ones


class Calls(faults.Faults):
    def count(self, folders):
        """Calls of every kind in a run that finds two of its four shards."""
        self.begin(missing=2)
        counts = os.path.join(self.folder, "counts")
        self.run_grid(self.grid, 0, env=faults.environment(folders, counts=counts))
        return {name: int(calls) for name, calls in re.findall(r"(\w+) (\d+)", world.read(counts).decode())}

    def check(self, folders, call, at, number):
        why = f"{call} {at} fails with {errno.errorcode[number]}"
        kept = self.begin(missing=2)
        result = program.run(["run", self.grid, "-o", self.output], env=faults.environment(folders, call, at, number))
        self.assertIn(result.code, (0, 1, 2, 4), f"{why}: {result}")
        if result.code == 2:  # an input that could not be read when all of them were inspected
            self.assertIn("nothing was run", result.err, why)
        if result.code != 0:
            self.assertRegex(result.err, "error: |failed", why)
        if number == errno.EINTR and call != "open":
            self.assertEqual(result.code, 0, f"{why}: {result}")
        self.check_kept(kept, why)
        for path in results.shards(self.output):
            self.assertTrue(results.is_readable(path), why)
        if result.code == 0:
            self.assertEqual(self.digest(self.merged()), self.expected, why)
            self.assertEqual(results.temporaries(self.output), [], why)
        else:
            self.check_recovers(kept, why)

    def test_one_failing_look_at_a_shard(self):
        """A call that fails for a moment causes only a pause."""
        folders = [os.path.join(self.output, "shards")]
        counts = self.count(folders)
        for call in ("open", "read"):
            for at in range(1, min(counts[call], FIRST) + 1):
                with self.subTest(call=call, at=at):
                    self.check(folders, call, at, errno.EIO)

    def test_a_write_that_takes_only_a_part_is_continued(self):
        kept, events = self.begin(missing=2), os.path.join(self.folder, "events")
        for below, more in ((os.path.join(self.output, "claims"), []), (events, ["--events", events])):
            with self.subTest(below):
                result = self.run_grid(self.grid, 0, None, *more, env=faults.environment([below], "write", 1))
                self.check_kept(kept)
                self.assertNotIn("no more events", result.err)
                kept = self.begin(missing=2)

    def test_one_failing_call(self):
        """A full disk affects only writes; every other error may also occur in reads."""
        folders = {True: [self.output], False: self.inputs()}
        counts = {full: self.count(below) for full, below in folders.items()}
        for call in ("open", "read", "write", "fsync", "rename"):
            self.assertGreater(counts[True][call], 2, f"calls of the program that the library does not see: {counts}")
        for call, number in FAILURES:
            full = number == errno.ENOSPC
            for at in faults.sample(range(1, counts[full][call] + 1, STEP), SHORT):
                with self.subTest(call=call, at=at, number=errno.errorcode[number]):
                    self.check(folders[full], call, at, number)


if __name__ == "__main__":
    case.main()
