# SPDX-License-Identifier: Apache-2.0
"""Stopping early on request keeps everything; failed cells are results, and the others are unharmed."""
import os
import signal
import time

import case
import program
import results
import world


class Stop(case.Case):
    def setUp(self):
        super().setUp()
        rest = "train = { batch = 4; max_steps = 16; epochs = 100.0; };\n"
        self.grid = self.world.grid([self.world.model()], [self.world.dataset()], ["lora", "ia3", "bitfit", "lntuning"],
                                    (1, 2, 3), rest=rest)

    def undisturbed(self, known=[]):
        """Digest of the sweep when nothing stops it: computed once for all tests, whose files have the same contents."""
        if not known:
            output = os.path.join(self.folder, "undisturbed")
            self.run_grid(self.grid, 0, output)
            known.append(self.digest(os.path.join(output, "tiny.h5")))
        return known[0]

    def stop(self, number, ranks, to):
        """Starts the job, and sends the signal to the processes that `to` picks once two shards exist."""
        process = self.start_until(2, [self.grid, "-o", self.output], ranks)
        paused = self.ranks_of(process)
        program.pause(paused)
        self.assertLess(len(results.shards(self.output)), 12)
        for pid in to(process):
            os.kill(pid, number)
        program.proceed(paused)
        return program.finish(process, timeout=60)

    def check_stop(self, number, ranks=None, to=lambda process: [process.pid]):
        self.expect(self.stop(number, ranks, to), 3, "left", "the same command continues")
        kept = results.shards(self.output)
        self.assertTrue(2 <= len(kept) < 12, kept)
        self.assertEqual(results.temporaries(self.output), [])
        for path in kept:
            self.assertTrue(results.is_readable(path), path)
        self.assertEqual(len(self.cells()), len(kept))
        before = {path: os.stat(path).st_mtime_ns for path in kept}
        self.run_grid(self.grid, 0, ranks=ranks)
        self.assertEqual(len(self.cells()), 12)
        for path, moment in before.items():
            self.assertEqual(os.stat(path).st_mtime_ns, moment, "a finished cell was run again")
        self.assertEqual(self.digest(os.path.join(self.output, "tiny.h5")), self.undisturbed())

    def test_sigterm_alone(self):
        self.check_stop(signal.SIGTERM)

    def test_sigint_alone(self):
        self.check_stop(signal.SIGINT)

    @staticmethod
    def ranks_of(process):
        ranks = []
        for pid in program.session_members(process.pid):
            with open(f"/proc/{pid}/comm", encoding="utf-8") as f:
                ranks += [pid] if f.read().strip() == os.path.basename(program.PROGRAM)[:15] else []
        return ranks

    def test_sigterm_to_every_rank_as_batch_systems_send_it(self):
        self.check_stop(signal.SIGTERM, 2, self.ranks_of)

    def test_sigterm_to_one_rank_of_two(self):
        result = self.stop(signal.SIGTERM, 2, lambda process: self.ranks_of(process)[-1:])
        self.expect(result, 3, "the same command continues")
        self.run_grid(self.grid, 0, ranks=2)
        self.assertEqual(len(self.cells()), 12)

    def test_sigterm_to_the_launcher_ends_it_with_a_code_of_its_own(self):
        """It may pass on the signal so late that all cells are done by then, and a second later it kills what has not ended, even in
        the middle of a write: the next run removes what is left behind."""
        result = self.stop(signal.SIGTERM, 2, lambda process: [process.pid])
        self.assertNotEqual(result.code, 0, str(result))
        for folder in ("shards", "checkpoints", "attempts"):
            world.write(os.path.join(self.output, folder, "cell.tmp.host.1.2"), b"half")
        self.run_grid(self.grid, 0, ranks=2)
        self.assertEqual(results.temporaries(self.output), [])
        self.assertEqual(len(self.cells()), 12)
        self.assertEqual(self.digest(os.path.join(self.output, "tiny.h5")), self.undisturbed())

    def test_from_the_first_moment_of_the_program(self):
        """Before kernels are chosen and MPI starts, and a little later; SIGXFSZ is ignored once main has begun."""
        for number, ranks, later in ((signal.SIGTERM, None, 0), (signal.SIGINT, None, 0.03), (signal.SIGUSR1, 2, 0), (signal.SIGTERM, 2, 0.1)):
            with self.subTest(number=number, later=later):
                process = program.start(["run", self.grid, "-o", self.output], ranks)
                self.addCleanup(program.kill_session, process)
                while len(begun := [pid for pid in self.ranks_of(process) if self.ignores(pid, signal.SIGXFSZ)]) < (ranks or 1):
                    self.assertIsNone(process.poll())
                time.sleep(later)
                os.kill(begun[-1], number)
                self.expect(program.finish(process, timeout=60), 3, "stopped" if later else "before the first cell")
                self.assertEqual(results.shards(self.output), [])

    @staticmethod
    def ignores(pid, number):
        with open(f"/proc/{pid}/status", encoding="utf-8") as f:
            mask = next(line.split()[1] for line in f if line.startswith("SigIgn:"))
        return int(mask, 16) >> (number - 1) & 1 == 1

    def test_sigusr1_before_the_time_limit(self):
        self.check_stop(signal.SIGUSR1)

    def test_time_limit(self):
        seeds = ["--set", "sweep.seeds=[1,2,3,4,5,6]"]  # enough cells that some are done and some are left
        begin = time.monotonic()
        self.run_grid(self.grid, 0, os.path.join(self.folder, "undisturbed"), *seeds)
        half = (time.monotonic() - begin) / 2
        limits = ["--set", f"run.time_limit_seconds={half + 1:.1f}", "--set", "run.time_reserve_seconds=1.0"]
        self.expect(program.run(["run", self.grid, "-o", self.output, *seeds, *limits]), 3, "the same command continues")
        self.assertTrue(0 < len(results.shards(self.output)) < 24)
        self.run_grid(self.grid, 0, None, *seeds)
        self.assertEqual(len(self.cells()), 24)


class Failing(case.Case):
    def setUp(self):
        super().setUp()
        self.lines = list(self.world.rows["train"])
        self.world.dataset("broken", [b'{"sentence1": "a"}\n'] * 4)
        self.grid = self.world.grid([self.world.model()], [self.world.dataset(), "broken"], ["none", "lora"], (1, 2))

    def states(self):
        return {key[1:]: cell["status"] for key, cell in self.cells().items()}

    def test_failed_cells_are_results_and_the_others_unharmed(self):
        for ranks in (None, 2):
            with self.subTest(ranks=ranks):
                output = os.path.join(self.folder, f"ranks{ranks}")
                result = self.run_grid(self.grid, 4, output, "--keep-going", ranks=ranks)
                self.assertIn("broken/lora/1 failed", result.err)
                cells = self.cells("tiny", output)
                for (_, dataset, _, _), cell in cells.items():
                    self.assertEqual(cell["status"], "failed" if dataset == "broken" else "done")
                    self.assertIn("broken/train.jsonl:1" if dataset == "broken" else "", cell["message"])
                self.assertEqual(len(cells), 8)

    def test_failed_cells_run_again_only_when_asked(self):
        self.run_grid(self.grid, 4, None, "--keep-going")
        result = self.run_grid(self.grid, 4, None, "--keep-going")
        self.assertNotIn("broken/lora/1 failed", result.err)
        result = self.run_grid(self.grid, 4, None, "--keep-going", "--retry-failed")
        self.assertIn("broken/lora/1 failed", result.err)
        self.assertNotIn("pairs/lora/1 done", result.err)

    def test_a_mended_cell_is_another_one_and_runs_by_itself(self):
        self.run_grid(self.grid, 4, None, "--keep-going")
        self.world.dataset("broken")
        result = self.run_grid(self.grid, 0)
        self.assertIn("broken/lora/1 done", result.err)
        self.assertEqual(set(self.states().values()), {"done"})


if __name__ == "__main__":
    case.main()
