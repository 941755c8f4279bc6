# SPDX-License-Identifier: Apache-2.0
"""Progress of a run: a line on a terminal, lines in a log, and the output of `status`."""
import json
import os
import pty
import re
import shutil
import signal
import time

import case
import program
import results
import world

LINE = r"train \d+ of 100000, loss [0-9.]+, .* left of train; 0 of 2 cells done, {} running, {} waiting; good/pairs/"


class Progress(case.Case):
    def setUp(self):
        super().setUp()
        rest = "train = { batch = 4; max_steps = 100000; epochs = 1000000.0; };\n"
        self.grid = self.world.grid([self.world.model()], [self.world.dataset()], ["lora"], (1, 2), rest=rest)
        self.short = ["--set", "train.max_steps=3"]

    def start(self, *more, ranks=None, **options):
        process = program.start(["run", self.grid, "-o", self.output, *more], ranks, **options)
        self.addCleanup(program.kill_session, process)
        return process

    def status(self, holds, process):
        """The first answer for which this holds."""
        deadline = time.monotonic() + 60
        while True:
            self.assertIsNone(process.poll(), "the run ended too early")
            self.assertLess(time.monotonic(), deadline)
            if os.path.exists(os.path.join(self.output, "plan.json")):
                answer = json.loads(self.expect(program.run(["status", self.output, "--json"]), 0).out)
                if holds(answer["running"]):
                    return answer["running"]
            time.sleep(0.1)

    def test_status_tells_what_runs_where(self):
        process = self.start(ranks=2)
        rows = self.status(lambda rows: len(rows) == 2 and all(row["step"] > 0 for row in rows), process)
        self.assertEqual([row["rank"] for row in rows], [0, 1])
        self.assertEqual({row["seed"] for row in rows}, {1, 2})
        members = program.session_members(process.pid)
        for row in rows:
            self.assertEqual((row["model"], row["dataset"], row["method"]), ("good", "pairs", "lora"))
            self.assertEqual((row["host"], row["phase"], row["steps"]), (os.uname().nodename, "train", 100000))
            self.assertIn(row["process"], members)
            self.assertGreater(row["loss"], 0)
            self.assertRegex(row["since"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")
        text = self.expect(program.run(["status", self.output]), 0).out
        for row in rows:
            self.assertRegex(text, rf"good/pairs/lora/{row['seed']} since {row['since']} on {row['host']}, rank {row['rank']}, "
                                   rf"process {row['process']}: train \d+ of 100000, loss ")
        # A killed run leaves the files; they are not shown, and the next run removes them.
        program.kill_session(process)
        self.assertEqual(len(os.listdir(os.path.join(self.output, "running"))), 2)
        self.assertEqual(json.loads(program.run(["status", self.output, "--json"]).out)["running"], [])
        self.assertNotIn("running", program.run(["status", self.output]).out)
        self.run_grid(self.grid, 0, None, *self.short)
        self.assertEqual(os.listdir(os.path.join(self.output, "running")), [])

    def test_a_stopped_run_leaves_no_file(self):
        process = self.start()
        self.status(lambda rows: len(rows) == 1, process)
        process.send_signal(signal.SIGTERM)
        self.expect(program.finish(process, timeout=60), 3)
        self.assertEqual(os.listdir(os.path.join(self.output, "running")), [])

    def test_lines_in_a_log(self):
        process = self.start("--set", "run.progress_seconds=0.5", ranks=2)
        self.status(lambda rows: len(rows) == 2 and all(row["step"] > 0 for row in rows), process)
        time.sleep(2)
        for pid in program.session_members(process.pid):
            if world.read(f"/proc/{pid}/comm").decode().strip() == os.path.basename(program.PROGRAM)[:15]:
                os.kill(pid, signal.SIGTERM)
        result = self.expect(program.finish(process, timeout=60), 3)
        self.assertRegex(result.err, "(?m)^" + LINE.format(2, 0))
        self.assertNotIn("\x1b", result.err)

    def test_no_lines_where_none_are_wanted(self):
        process = self.start("--set", "run.progress_seconds=0")
        self.status(lambda rows: len(rows) == 1 and rows[0]["step"] > 0, process)
        process.send_signal(signal.SIGTERM)
        self.assertNotIn("loss", self.expect(program.finish(process, timeout=60), 3).err)

    def test_watch_follows_a_run_to_its_end(self):
        process = self.start("--set", "train.max_steps=2000")
        self.status(lambda rows: len(rows) == 1 and rows[0]["step"] > 0, process)
        result = self.expect(program.run(["status", self.output, "--watch", "--every", "1", "--json"], timeout=120), 0)
        answers = [json.loads(line) for line in result.out.splitlines()]
        self.assertGreater(len(answers), 1)
        self.assertIn(2000, [row["steps"] for answer in answers for row in answer["running"]])
        self.assertEqual((answers[-1]["running"], answers[-1]["left"]), ([], 0))
        self.expect(program.finish(process, timeout=60), 0)
        once = self.expect(program.run(["status", self.output, "--watch"], timeout=60), 0, "left     0")
        self.assertEqual(once.out, self.expect(program.run(["status", self.output]), 0).out)

    def test_a_signal_ends_the_watch(self):
        process = self.start()
        self.status(lambda rows: len(rows) == 1, process)
        watch = program.start(["status", self.output, "--watch", "--every", "3600"])
        self.addCleanup(program.kill_session, watch)
        seen = b""
        while b"running  good/pairs/lora/" not in seen:
            seen += os.read(watch.stdout.fileno(), 4096)
        watch.send_signal(signal.SIGINT)
        self.expect(program.finish(watch, timeout=30), 0)
        self.assertTrue(seen.startswith(b"sweep    tiny\n"), seen)
        self.assertIsNone(process.poll(), "the run goes on")

    def test_lines_redrawn_on_a_terminal(self):
        mine, theirs = pty.openpty()
        process = program.start_with_stderr(["run", self.grid, "-o", self.output], theirs)
        self.addCleanup(program.kill_session, process)
        os.close(theirs)
        seen, deadline = b"", time.monotonic() + 60
        while len(re.findall(rb"\r\x1b\[Ktrain \d+ of 100000", seen)) < 3:
            self.assertLess(time.monotonic(), deadline, seen)
            seen += os.read(mine, 4096)
        process.send_signal(signal.SIGTERM)
        while True:
            try:
                more = os.read(mine, 4096)
            except OSError:
                break
            if not more:
                break
        process.communicate(timeout=60)
        self.assertEqual(process.returncode, 3)
        drawn = re.findall(rb"\r\x1b\[K(train [^\r\x1b]*)\r\n([^\r\x1b]*)\r\x1b\[K\x1b\[A", seen)
        self.assertTrue(drawn, seen)
        for cell, total in drawn:
            self.assertRegex(cell, rb"^train \d+ of 100000, loss ")
            self.assertRegex(total, rb"^0 of 2 cells done, 1 running, 1 waiting")
            self.assertLess(max(len(cell), len(total)), 80)

    def test_a_folder_that_cannot_be_had_is_reported_once_and_does_no_harm(self):
        world.write(os.path.join(self.output, "running"), "")
        for ranks in (None, 2):
            result = self.run_grid(self.grid, 0, None, *self.short, "--fresh", ranks=ranks)
            self.assertEqual(result.err.count("cannot show what runs here"), 1)
        self.assertEqual(len(self.cells()), 2)
        self.assertEqual(json.loads(program.run(["status", self.output, "--json"]).out)["running"], [])
        self.assertEqual(results.temporaries(self.output), [])

    def test_names_of_any_length(self):
        name = "x" * 100  # the longest possible
        shutil.copy(self.world.path("dataset", "pairs.cfg"), self.world.path("dataset", name + ".cfg"))
        self.grid = self.world.grid(["good"], [name], ["lora"], (1, 2), rest="train = { batch = 4; max_steps = 100000; "
                                    "epochs = 1000000.0; };\n")
        process = self.start()
        rows = self.status(lambda rows: len(rows) == 1, process)
        self.assertEqual(rows[0]["dataset"], name)
        self.assertIn(f"good/{name}/lora/1 since ", program.run(["status", self.output]).out)


if __name__ == "__main__":
    case.main()
