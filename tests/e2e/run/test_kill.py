# SPDX-License-Identifier: Apache-2.0
"""A job that is killed at any moment and restarted ends with the same file, and at no moment is a file
under its final name incomplete. The moments are drawn from a seed, spread over the whole length of the job."""
import os
import random
import re
import shutil
import subprocess
import time

import case
import program
import results

SEED = 20261124

# Kills of whole jobs are not the fault of the cells that they meet.
INNOCENT = ("--set", "run.max_attempts=1000")


class Steps:
    keys = ()

    def undisturbed(self, ranks):
        """Digest, number of cells, seconds of start and end without work, seconds of the work, of the longest cell."""
        output = os.path.join(self.folder, "undisturbed")
        begin = time.monotonic()
        result = self.run_grid(self.grid, 0, output, *self.keys, ranks=ranks, timeout=1500)
        whole = time.monotonic() - begin
        begin = time.monotonic()
        self.run_grid(self.grid, 0, output, *self.keys, ranks=ranks)
        idle = time.monotonic() - begin
        longest = max(float(s) for s in re.findall(r"done, ([\d.]+) s", result.err))
        digest = self.digest(os.path.join(output, self.name + ".h5"))
        return digest, len(self.cells(self.name, output)), idle, max(whole - idle, 0.1), longest

    def check_kills(self, kills, ranks):
        expected, count, idle, work, longest = self.undisturbed(ranks)
        draw = random.Random(SEED)
        latest = max(idle + 2 * work / kills, idle + 1.5 * longest)
        reader, killed, ended, leftovers = results.Reader(self.output), 0, 0, 0
        reader.start()
        try:
            while killed < kills:
                process = program.start(["run", self.grid, "-o", self.output, *self.keys, *INNOCENT], ranks)
                try:
                    result = program.finish(process, timeout=draw.uniform(0, latest))
                except subprocess.TimeoutExpired:
                    program.kill_session(process)
                    killed += 1
                    continue
                # Everything was done before the moment came: check that, and start over.
                self.expect(result, 0)
                self.check_end(expected, count)
                leftovers += len(results.temporaries(self.output))
                ended += 1
                reader.stop()
                self.assertEqual(reader.unreadable, [])
                shutil.rmtree(self.output)
                opened, reader = reader.opened, results.Reader(self.output)
                reader.opened = opened
                reader.start()
            self.run_grid(self.grid, 0, None, *self.keys, *INNOCENT, ranks=ranks, timeout=1500)
            self.check_end(expected, count)
        finally:
            reader.stop()
        leftovers += len(results.temporaries(self.output))
        print(f"{killed} kills, {ended + 1} ends, {reader.opened} files opened, {leftovers} temporaries left behind")
        self.assertEqual(reader.unreadable, [])
        self.assertGreater(reader.opened, 0)

    def check_end(self, expected, count):
        self.assertEqual(self.digest(os.path.join(self.output, self.name + ".h5")), expected)
        self.assertEqual(len(self.cells(self.name)), count)
        self.assertEqual(len(results.shards(self.output)), count)


class Generated(Steps, case.Case):
    """Small cells, so that kills meet every stage: start, training, shards, merge, report."""

    def setUp(self):
        super().setUp()
        self.name = "tiny"
        data = [self.world.dataset("pairs"), self.world.dataset("others", self.world.rows["train"][::-1])]
        methods = ["none", "lora", "ia3", "bitfit", "lntuning"]
        self.grid = self.world.grid([self.world.model()], data, methods, (1, 2, 3), rest="train = { batch = 4; max_steps = 12; };\n")

    def test_five_kills_change_nothing(self):
        self.check_kills(int(os.environ.get("PB_E2E_KILLS", "5")), 2)

    def test_leftovers_of_killed_jobs_do_no_harm_and_are_removed(self):
        self.run_grid(self.grid, 0, None, "--set", "sweep.seeds=[1]")
        first = results.shards(self.output)[0]
        for name in (first + ".tmp.elsewhere.1.0", os.path.join(self.output, "tiny.h5.tmp.elsewhere.1.0"),
                     os.path.join(self.output, "plan.json.tmp.elsewhere.1.0")):
            with open(name, "wb") as f:
                f.write(b"\x89HDF\r\n\x1a\nhalf")
        kept = [os.path.join(self.output, name) for name in ("notes.tmp.txt", "other.h5.tmp.elsewhere.1.0")]
        for name in kept:
            open(name, "wb").close()
        self.run_grid(self.grid, 0)
        self.assertEqual(results.temporaries(self.output), kept, "only what a run of this sweep leaves is removed")
        self.assertEqual(len(self.cells()), 30)
        self.expect(program.run(["status", self.output, "--json"]), 0, '"done": 30', '"left": 0')


class RealSmall(Steps, case.Case):
    keys = program.FEWER

    def setUp(self):
        super().setUp()
        if not os.path.isdir(os.path.join(program.SHARED, "models/stories260K")):
            case.skip(f"the shared model and data are not in {program.SHARED}")
        self.name = "real-small"
        self.grid = os.path.join(program.SOURCE, "configs/grid/real-small.cfg")

    def test_twenty_kills_change_nothing(self):
        self.check_kills(int(os.environ.get("PB_E2E_KILLS", "20")), 2)


if __name__ == "__main__":
    case.main()
