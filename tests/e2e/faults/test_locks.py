# SPDX-License-Identifier: Apache-2.0
"""File systems without locks, and files that other programs hold open: intact files are still read."""
import errno
import fcntl
import json
import subprocess

import case
import faults
import program
import results

NOT_SUPPORTED_BY_SERVER = 524  # the kernel's ENOTSUPP, which has no name outside it


class Locks(faults.Faults):
    def look(self, env=None):
        """Every command that reads results gives the same as on a clean folder."""
        merged = self.folder + "/again.h5"
        self.assertEqual(program.run(["report", self.merged(), "--digest"], env=env).out.strip(), self.expected)
        status = self.expect(program.run(["status", self.output, "--json"], env=env), 0)
        self.assertEqual([json.loads(status.out)[name] for name in ("done", "left", "damaged")], [4, 0, 0])
        self.expect(program.run(["merge", self.output, "-o", merged], env=env), 0)
        self.assertEqual(program.run(["report", merged, "--digest"], env=env).out.strip(), self.expected)
        for path in results.shards(self.output):
            self.expect(program.run(["report", path], env=env), 0)

    def test_file_systems_without_locks(self):
        for number in (errno.ENOLCK, errno.EOPNOTSUPP, NOT_SUPPORTED_BY_SERVER, errno.EIO, errno.EINVAL):
            with self.subTest(number=number):
                env = faults.environment([self.folder], "lock", 0, number)
                for missing in (4, 0, 2):
                    kept = self.begin(missing)
                    result = self.run_grid(self.grid, 0, env=env)
                    self.assertNotIn("damaged", result.err)
                    self.assertEqual(result.err.count("cannot lock"), 1, str(result))
                    self.check_kept(kept)
                self.look(env)
                self.check_recovers(kept)

    def test_files_that_another_process_has_locked(self):
        kept = self.begin()
        held = [open(path, "rb") for path in [*kept, self.merged()]]
        try:
            for file in held:
                fcntl.flock(file, fcntl.LOCK_EX)
            self.look()
            self.check_recovers(kept)
        finally:
            for file in held:
                file.close()

    def test_files_that_are_open_for_writing_in_hdf5(self):
        """Like viewers that request more than they need; the file may change, its results must not."""
        kept = self.begin()
        holder = subprocess.Popen([faults.HOLDER, *kept, self.merged()], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            self.assertEqual(holder.stdout.readline(), b"open\n")
            self.look()
            self.run_grid(self.grid, 0)
            self.check_kept({})
        finally:
            holder.communicate()
        self.look()
        self.check_recovers({})


if __name__ == "__main__":
    case.main()
