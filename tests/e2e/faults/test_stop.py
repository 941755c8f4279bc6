# SPDX-License-Identifier: Apache-2.0
"""A request to stop while shards are read and merged: exit code 3, everything kept. The signal arrives at a certain call of
the process itself, so that nothing here depends on time."""
import os
import re
import signal

import case
import faults
import program
import results
import world


class Stop(faults.Faults):
    def counts(self, *arguments):
        path = os.path.join(self.folder, "counts")
        self.expect(program.run(arguments, env=faults.environment([self.output], counts=path)), 0)
        return dict(re.findall(r"(\w+) (\d+)", world.read(path).decode()))

    def stop(self, number, at, *arguments):
        return program.run(arguments, env=faults.environment([self.output], "read", at, signal=number))

    def check(self, number, share, fresh):
        arguments = ["run", self.grid, "-o", self.output]
        self.begin()
        if fresh:
            os.remove(self.merged())
        reads = int(self.counts(*arguments)["read"])
        kept = self.begin()
        if fresh:
            os.remove(self.merged())
        result = self.stop(number, max(1, int(share * reads)), *arguments)
        self.expect(result, 3, f"stopped on {number.name}", "kept")
        self.check_kept(kept)
        self.assertEqual(results.temporaries(self.output), [])
        if not fresh:
            self.assertEqual(self.digest(self.merged()), self.expected)
        self.check_recovers(kept)

    def test_during_a_run_that_only_merges(self):
        for number in (signal.SIGTERM, signal.SIGUSR1):
            for share in (0.0, 0.3, 0.6):
                with self.subTest(number=number, share=share):
                    self.check(number, share, fresh=True)

    def test_during_the_command_merge(self):
        merged = os.path.join(self.folder, "again.h5")
        arguments = ["merge", self.output, "-o", merged]
        reads = int(self.counts(*arguments)["read"])
        os.remove(merged)
        for number in (signal.SIGTERM, signal.SIGUSR1):
            with self.subTest(number=number):
                self.expect(self.stop(number, reads // 2, *arguments), 3)
                self.assertFalse(os.path.exists(merged))
                self.assertEqual([name for name in os.listdir(self.folder) if ".tmp." in name], [])

    def test_before_the_first_cell(self):
        """Inputs are read and hashed while the folder of results has no cells yet, or all of them."""
        folders = self.inputs()[1:]
        nothing = os.path.join(self.folder, "nothing")
        for number, call, at in ((signal.SIGTERM, "open", 1), (signal.SIGUSR1, "read", 4), (signal.SIGINT, "map", 1)):
            with self.subTest(number=number, call=call):
                kept = self.begin()
                stop = faults.environment(folders, call, at, signal=number)
                self.expect(program.run(["run", self.grid, "-o", self.output], env=stop), 3, number.name, "kept")
                self.check_kept(kept)
                self.assertEqual(self.digest(self.merged()), self.expected)
                self.expect(program.run(["run", self.grid, "-o", nothing], env=stop), 3, number.name)
                self.assertFalse(os.path.exists(nothing))


if __name__ == "__main__":
    case.main()
