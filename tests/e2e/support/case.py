# SPDX-License-Identifier: Apache-2.0
"""The base of all test cases, and the end of every test file: exit code 77 when everything was skipped."""
import os
import shutil
import sys
import tempfile
import time
import unittest

import program
import results
import world


def skip(reason):
    """A part of the machine is missing: visible, and a failure where everything must be present."""
    if os.environ.get("CI") and "shared" in reason:
        raise AssertionError(reason)
    raise unittest.SkipTest(reason)


class Case(unittest.TestCase):
    """A separate folder per test, removed at the end."""

    maxDiff = None
    undisturbed_digests = {}

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="peftbench-")
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.world = world.World(os.path.join(self.folder, "configs"))
        self.output = os.path.join(self.folder, "out")

    def expect(self, result, code, *texts):
        """Checks the exit code and that every text is in the output; nothing may have crashed."""
        self.assertEqual(result.code, code, str(result))
        for text in texts:
            self.assertIn(text, result.out + result.err)
        self.assertNotIn("AddressSanitizer", result.err)
        self.assertNotIn("runtime error:", result.err)
        return result

    def run_grid(self, grid, code=0, output=None, *more, **options):
        arguments = ["run", grid, "-o", output or self.output, *more]
        return self.expect(program.run(arguments, **options), code)

    def start_until(self, shards, arguments, ranks=None, env=None):
        """A run that has finished at least this number of cells, and is not over."""
        process = program.start(["run", *arguments], ranks, env)
        self.addCleanup(program.kill_session, process)
        deadline = time.monotonic() + 120
        while len(results.shards(self.output)) < shards:
            self.assertIsNone(process.poll(), "the run ended too early")
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.005)
        return process

    def digest(self, path):
        result = self.expect(program.run(["report", path, "--digest"]), 0)
        self.assertRegex(result.out, r"^[0-9a-f]{64}\n$")
        return result.out.strip()

    def undisturbed(self, grid, *more):
        """The digest of a run of its own; made once for all tests of a class with such a grid, whose models and data are the same."""
        key = (type(self), world.read(grid), more)
        if key not in Case.undisturbed_digests:
            output = os.path.join(self.folder, "undisturbed")
            self.run_grid(grid, 0, output, *more)
            Case.undisturbed_digests[key] = self.digest(os.path.join(output, "tiny.h5"))
        return Case.undisturbed_digests[key]

    def cells(self, name="tiny", output=None):
        """Cells of the merged file by key; none twice, and the whole file can be read by h5dump."""
        path = os.path.join(output or self.output, name + ".h5")
        self.assertEqual(results.h5dump(path).returncode, 0, path)
        rows = results.cells(path)
        keys = [results.key(row) for row in rows]
        self.assertEqual(len(keys), len(set(keys)), "a cell is in /results twice")
        return {key: row for key, row in zip(keys, rows)}


def main():
    if results.H5DUMP is None:
        print("h5dump is missing: install hdf5-tools")
        sys.exit(1 if os.environ.get("CI") else 77)
    done = unittest.main(module="__main__", exit=False, verbosity=2, argv=sys.argv).result
    if not done.wasSuccessful() or done.testsRun == 0:
        sys.exit(1)
    sys.exit(77 if len(done.skipped) == done.testsRun else 0)
