# SPDX-License-Identifier: Apache-2.0
"""jobs/slurm on two nodes of a real Slurm: a whole sweep, the time limit, stops and requeues, a job array, and what can go wrong."""
import glob
import os
import re

import case
import cluster
import program

cluster.enter("slurmctld", "slurmd", "sbatch", "srun", "scontrol", root=True)

JOBS = os.path.join(program.SOURCE, "jobs")


class Batch(cluster.Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.slurm = cluster.Slurm(cls.nodes)
        cls.limited = cls("test_the_time_limit")  # its job waits for the limit beside those of the other tests
        cls.limited.setUp()
        cls.addClassCleanup(cls.limited.doCleanups)
        cls.limited.start_and_pause()

    def submit(self, *arguments, options=("--cpus-per-task=1",), script="grid", log="log-%j", **env):
        """The script as shipped, except for the options of sbatch. Jobs that are submitted together run side by side."""
        env = {**program.environment(4, None), "PB_JOBS": JOBS, "PB_PROGRAM": os.path.abspath(program.PROGRAM), **env}
        job = self.slurm.call("sbatch", "--parsable", *options, "--output", os.path.join(self.folder, log),
                              os.path.join(JOBS, "slurm", script + ".sbatch"), *arguments, env=env)
        self.assertRegex(job, r"^\d+$", self.slurm.logs())
        return job

    def read(self, job):
        with open(os.path.join(self.folder, "log-" + job), encoding="utf-8") as f:
            return f.read()

    def check_end(self, job, state, code, *texts):
        found = self.slurm.wait(job)
        self.assertEqual(found, (state, code), self.read(job))
        for text in texts:
            self.assertIn(text, self.read(job))

    def running(self, job):
        return lambda: self.slurm.state(job)[0] not in self.slurm.ENDS  # a busy controller may not answer

    def test_a_sweep_as_shipped(self):
        grid = self.grid(4)
        self.check_end(self.submit(grid, "-o", self.output, options=()), "COMPLETED", 0,
                       "2 nodes, 4 tasks, 8 threads each, --mpi=pmix", "4 processes")
        self.check(grid, 8)

    def test_a_stop_requeues_until_the_sweep_is_done(self):
        grid, stopped = self.grid(40), []
        for how in ((), ("--batch",)):  # Slurm signals the processes; a user may signal the script
            self.output = os.path.join(self.folder, "out" + "".join(how))
            job = self.submit(grid, "-o", self.output)
            self.wait_for_shards(1, self.running(job))
            self.slurm.call("scancel", *how, "--signal=USR1", job)
            stopped.append((how, self.output, job))
        for how, self.output, job in stopped:
            with self.subTest(how=how):
                self.check_end(job, "COMPLETED", 0, "the job goes back to the queue", "start 2:")
                self.check(grid)

    def test_requeues_are_bounded(self):
        job = self.submit(self.grid(40), "-o", self.output, PB_REQUEUES="0")
        self.wait_for_shards(1, self.running(job))
        self.slurm.call("scancel", "--signal=USR1", job)
        self.check_end(job, "FAILED", 3, "PB_REQUEUES is 0; submit the same line again")

    def start_and_pause(self):
        """The processes stand still until Slurm wakes them, to stop: from half a minute to a minute after the start."""
        self.sleeping = self.grid(40)
        self.job = self.submit(self.sleeping, "-o", self.output, options=("--cpus-per-task=1", "--time=2", "--signal=USR1@60"))
        self.wait_for_shards(1, self.running(self.job))
        program.pause([pid for name in cluster.NODES for pid in self.nodes.processes_on(name, program.PROGRAM)])

    def test_the_time_limit(self):
        limited = self.limited
        self.assertEqual(self.slurm.wait(limited.job, 200), ("COMPLETED", 0), limited.read(limited.job))
        for text in ("stopped with", "the job goes back to the queue", "start 2:"):
            self.assertIn(text, limited.read(limited.job))
        limited.check(limited.sleeping)

    def test_the_tasks_of_an_array_share_the_cells(self):
        grid, names = self.grid(40), []
        job = self.submit(grid, "-o", self.output, options=("--cpus-per-task=1", "--array=1-3"), script="array", log="log-%A_%a")
        for task in (1, 2, 3):
            self.check_end(f"{job}_{task}", "COMPLETED", 0, "1 nodes, 2 tasks, 1 threads each")
            names += re.findall(r"(good/pairs/\S+) done,", self.read(f"{job}_{task}"))
        self.assertEqual(len(names), 8)
        self.assertEqual(len(set(names)), 8)
        self.check(grid)

    def test_a_cell_that_does_not_fit_gets_further_in_every_start(self):
        grid = self.grid(100)
        job = self.submit(grid, "-o", self.output, "--set", "run.checkpoint_seconds=0.01")
        self.wait_for(lambda: glob.glob(os.path.join(self.output, "checkpoints", "*.ckpt")), self.running(job))
        self.slurm.call("scancel", "--signal=USR1", job)
        self.check_end(job, "COMPLETED", 0, "the job goes back to the queue", "start 2:")
        self.check(grid)
        self.assertIn("2", {cell["segments"] for cell in self.cells().values()})

    def test_no_requeue_when_cancelled(self):
        job = self.submit(self.grid(40), "-o", self.output)
        self.wait_for_shards(1, self.running(job))
        self.slurm.call("scancel", job)
        self.assertEqual(self.slurm.wait(job)[0], "CANCELLED")
        self.wait_for(lambda: "the job was cancelled" in self.read(job), lambda: True)
        self.assertNotIn("goes back to the queue", self.read(job))

    def test_a_plug_in_that_does_not_fit_is_named(self):
        grid = self.grid(2)
        jobs = [(name, self.submit(*options, grid, "-o", os.path.join(self.folder, name), **env))
                for options, env, name in ((["--mpi=pmi2"], {}, "pmi2"), (["--mpi", "none"], {}, "none"),
                                           ([], {"SLURM_MPI_TYPE": "nonsense"}, "nonsense"))]
        for name, job in jobs:
            with self.subTest(name=name):
                self.check_end(job, "FAILED", 1, f"srun --mpi={name} failed", "this Slurm has:", "pmix", "--mpi=TYPE")

    def test_mistakes_in_the_line(self):
        grid = self.grid(2)
        jobs = [(text, self.submit(*arguments, **env)) for arguments, env, text in (
            ((), {}, "usage:"), (("--mpi=pmix",), {}, "usage:"),
            ((grid,), {"PB_REQUEUES": "many"}, "PB_REQUEUES is 'many'"),
            ((grid,), {"PB_PROGRAM": "/nowhere"}, "there is no program '/nowhere'"),
            (("--mpi=list", grid), {}, "runs nothing"),
            # The program's codes are the job's.
            ((os.path.join(self.folder, "absent.cfg"),), {}, "absent.cfg"))]
        for text, job in jobs:
            with self.subTest(text=text):
                self.check_end(job, "FAILED", 2, text)


if __name__ == "__main__":
    case.main()
