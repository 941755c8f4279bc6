# SPDX-License-Identifier: Apache-2.0
"""Several jobs on one folder: together they do what one does, and each cell once."""
import glob
import json
import os
import re
import shutil
import signal
import threading
import time

import case
import program
import results
import world

REST = "train = { batch = 4; max_steps = 24; epochs = 100.0; };\n"
HOST = os.uname().nodename
PACKED = "run.pack_cells=4"


class Jobs(case.Case):
    def setUp(self):
        super().setUp()
        self.methods = ["none", "lora", "ia3", "majority", "random"]
        self.grid = self.world.grid([self.world.model()], [self.world.dataset()], self.methods, (1, 2, 3), rest=REST)
        self.whole = 15

    def start(self, *more, ranks=None):
        process = program.start(["run", self.grid, "-o", self.output, *more], ranks)
        self.addCleanup(program.kill_session, process)
        return process

    def start_in_a_cell(self, *more):
        """A job that is paused inside a cell which is not its first, and the name of its file."""
        process = self.start_until(1, [self.grid, "-o", self.output, *more])
        jobs, attempts = os.path.join(self.output, "jobs"), os.path.join(self.output, "attempts")
        while True:
            program.pause([process.pid])
            self.assertIsNone(process.poll(), "the run ended too early")
            begun = self.named(attempts)
            if begun and not os.path.exists(os.path.join(self.output, "shards", begun[0] + ".h5")):
                return process, os.path.join(jobs, os.listdir(jobs)[0])
            program.proceed([process.pid])
            time.sleep(0.01)

    def named(self, attempts):
        """The cells that the process names as running."""
        files = [name for name in os.listdir(attempts) if name.endswith(".running")] if os.path.isdir(attempts) else []
        lines = world.read(os.path.join(attempts, files[0])).decode().splitlines() if files else []
        return lines[1:lines.index("end")] if "end" in lines else []

    def start_beside(self, *more, ranks=None):
        """A second job, which has finished a cell."""
        return self.start_until(len(results.shards(self.output)) + 1, [self.grid, "-o", self.output, *more], ranks)

    def check(self, expected):
        if expected:  # a gang's memory is that of all its members
            self.assertEqual(self.digest(os.path.join(self.output, "tiny.h5")), expected)
        self.assertEqual(len(self.cells()), self.whole)
        self.assertEqual(len(results.shards(self.output)) + len(self.packed()), self.whole)
        left = set(os.listdir(self.output)) & {"claims", "jobs", "attempts", "checkpoints"}
        self.assertEqual(left, set())

    def packed(self):
        """The names of the records of all packs."""
        packs = glob.glob(os.path.join(self.output, "shards", "*.pack"))
        return [name for path in packs for name in re.findall(rb"peftbench cell \d+ \d+ [0-9a-f]{16} (\S+)\n", world.read(path))]

    def done(self, result):
        return re.findall(r"(good/pairs/\S+) done,", result.err)

    def test_three_jobs_do_each_cell_once(self):
        expected = self.undisturbed(self.grid)
        for how in ("run.gang=1", "run.gang=2", PACKED):
            with self.subTest(how):
                jobs = [self.start("--set", how, ranks=ranks) for ranks in (None, None, 2)]
                ended = [self.expect(program.finish(job), 0) for job in jobs]
                did = [cell for result in ended for cell in self.done(result)]
                self.assertEqual(sorted(did), sorted(set(did)))
                self.assertEqual(len(did), self.whole)
                self.assertTrue(any("tiny.h5" in result.out for result in ended))
                self.assertEqual(len(self.packed()), self.whole if how == PACKED else 0)
                self.check(expected if how != "run.gang=2" else None)
                shutil.rmtree(self.output)

    def test_a_killed_job_leaves_its_pack_to_the_others(self):
        expected, jobs = self.undisturbed(self.grid), []
        for count in (1, 2):
            jobs.append(self.start("--set", PACKED, ranks=count))
            while len(self.packed()) < count:
                self.assertIsNone(jobs[-1].poll(), "the run ended too early")
                time.sleep(0.005)
        program.kill_session(jobs[0])
        self.expect(program.finish(jobs[1]), 0)
        self.assertEqual(len(set(self.packed())), self.whole)
        self.check(expected)

    def test_what_a_job_leaves_that_is_killed_between_cells_is_removed(self):
        """It has nothing that anybody could take over."""
        process = self.start_beside()
        world.write(os.path.join(self.output, "attempts", "gone.1.0.running"), "process 1 on gone\nend\n")
        self.expect(program.finish(process), 0)
        self.check(None)

    def test_a_killed_job_is_taken_over(self):
        expected = self.undisturbed(self.grid)
        killed, _ = self.start_in_a_cell()
        other = self.start_beside()
        program.kill_session(killed)
        self.expect(program.finish(other), 0, "which is gone, and is taken over")
        self.check(expected)

    def move(self, path, seconds):
        """Lets the job look like one of another machine whose heartbeat was so many seconds ago."""
        about = json.loads(world.read(path))
        with open(path, "w", encoding="utf-8") as f:
            json.dump(dict(about, machine="another", host="far"), f)
        os.utime(path, (time.time() - seconds,) * 2)

    def test_claims_of_another_node_expire(self):
        """Also when the clock of its file system was ahead: then the others see that the heartbeat stays as it is."""
        expected = self.undisturbed(self.grid)
        for age in (0, -86400):
            with self.subTest(age=age):
                killed, path = self.start_in_a_cell()
                program.kill_session(killed)
                self.move(path, age)
                result = self.run_grid(self.grid, 0, None, "--set", "run.claim_seconds=2")
                self.assertIn("which is gone, and is taken over", result.err)
                self.check(expected)
                shutil.rmtree(self.output)

    def test_a_cell_of_a_living_job_is_left_to_it(self):
        killed, path = self.start_in_a_cell()
        program.kill_session(killed)
        self.move(path, 0)
        over = threading.Event()

        def beat():
            while not over.wait(0.1):
                os.utime(path)

        beats = threading.Thread(target=beat)
        beats.start()
        try:
            result = self.run_grid(self.grid, 0, None, "--set", "run.claim_seconds=5")
            self.assertIn("left to other jobs: 1 cell, run by job ", result.err)
            self.assertIn("(host far, ", result.err)
            self.assertFalse(os.path.exists(os.path.join(self.output, "tiny.h5")), "the last one merges")
            status = json.loads(program.run(["status", self.output, "--json"]).out)
            self.assertEqual((status["done"], status["left"]), (self.whole - 1, 1))
            self.assertEqual([job["host"] for job in status["jobs"]], ["far"])
        finally:
            over.set()
            beats.join()

    def test_status_names_the_jobs(self):
        first, _ = self.start_in_a_cell()
        second = self.start_beside(ranks=2)
        status = json.loads(program.run(["status", self.output, "--json"]).out)
        self.assertEqual(sorted(job["ranks"] for job in status["jobs"]), [1, 2])
        self.assertEqual({job["host"] for job in status["jobs"]}, {HOST})
        self.assertIn(first.pid, [job["process"] for job in status["jobs"]])
        self.assertRegex(program.run(["status", self.output]).out, rf"(?m)^job      {re.escape(HOST)}\.{first.pid}\.\d+ since ")
        program.proceed([first.pid])
        for job in (first, second):
            self.expect(program.finish(job), 0)

    def test_a_stopped_job_gives_its_cells_back(self):
        expected = self.undisturbed(self.grid)
        first, _ = self.start_in_a_cell()
        second = self.start_beside()
        os.kill(first.pid, signal.SIGUSR1)
        program.proceed([first.pid])
        self.expect(program.finish(first), 3, "the same command continues")
        self.expect(program.finish(second), 0)
        self.check(expected)

    def test_a_crash_in_one_job_counts_in_the_others(self):
        killed, _ = self.start_in_a_cell("--set", "run.max_attempts=1")
        other = self.start_beside("--set", "run.max_attempts=1")
        program.kill_session(killed)
        result = self.expect(program.finish(other), 4, "which is gone, and is taken over", "1 of 15 cells failed")
        self.assertEqual(result.err.count("is taken over"), 1)
        failed = [row for row in self.cells().values() if row["status"] == "failed"]
        self.assertEqual(len(failed), 1)
        self.assertIn("it took its process down 1 time", failed[0]["message"])
        self.assertEqual(json.loads(program.run(["status", self.output, "--json"]).out)["failed"], 1)

    def test_a_group_of_a_search_belongs_to_one_job(self):
        vary = '{ method = "lora"; vary = { train = { learning_rate = [1e-6, 0.01, 1e-5, 0.03]; }; }; }'
        rest = "train = { batch = 4; max_steps = 8; evaluate_share = 0.25; };\ndata = { validation_share = 0.25; };\n"
        self.grid = self.world.grid(["good"], ["pairs"], ["none", vary], (1, 2, 3), rest=rest,
                                    sweep="  search = { rungs = [25, 50]; keep = 0.5; };")
        expected = self.undisturbed(self.grid)
        jobs = [self.start(), self.start(ranks=2)]
        did = [self.done(self.expect(program.finish(job), 0)) for job in jobs]
        self.assertEqual(sorted(did[0] + did[1]), sorted(set(did[0] + did[1])))
        for seed in (1, 2, 3):
            for cells in did:
                self.assertIn(len([cell for cell in cells if "lora{" in cell and cell.endswith(f"/{seed}")]), (0, 4))
        self.check(expected)

    def test_each_job_has_its_own_events(self):
        folder = os.path.join(self.folder, "events")
        os.mkdir(folder)
        jobs = [self.start("--events", folder) for _ in range(2)]
        for job in jobs:
            self.expect(program.finish(job), 0)
        names = os.listdir(folder)
        self.assertEqual(len(names), 2)
        ends = []
        for name, job in zip(sorted(names), sorted(jobs, key=lambda job: f"{HOST}.{job.pid}")):
            self.assertRegex(name, rf"^events\.{re.escape(HOST)}\.{job.pid}\.\d+\.jsonl$")
            lines = [json.loads(line) for line in world.read(os.path.join(folder, name)).splitlines()]
            ends += [(line["method"], line["seed"]) for line in lines if line["event"] == "end"]
        self.assertEqual(len(ends), self.whole)
        self.assertEqual(len(set(ends)), self.whole)


if __name__ == "__main__":
    case.main()
