# SPDX-License-Identifier: Apache-2.0
"""More threads than processors, for any numbers of them: reported once, with the correct launch line."""
import json
import os
import unittest.mock

import case
import program

SHARE = "share 1 processor and wait for each other"


class Processors(case.Case):
    def setUp(self):
        super().setUp()
        mask = sorted(os.sched_getaffinity(0))
        if len(mask) < 2:
            case.skip("this machine has one processor")
        self.first, self.all = mask[0], mask
        self.bench = ["bench", "--shape", "tiny", "--steps", "2", "--batch", "1", "--prompt", "8", "--answer", "4"]

    def run_on(self, processors, arguments, **env):
        """Confined as by taskset; --threads sets the number of threads."""
        os.sched_setaffinity(0, processors)
        try:
            return self.expect(program.run(arguments, env={"OMP_NUM_THREADS": "", **env}), 0)
        finally:
            os.sched_setaffinity(0, self.all)

    def test_two_threads_on_one_processor(self):
        result = self.run_on([self.first], [*self.bench, "--threads", "2"])
        self.assertEqual(result.err.count(SHARE), 1, str(result))
        self.expect(result, 0, "2 threads", "taskset", "allow 2, or use --threads 1")
        result = self.run_on([self.first], ["info", "--json", "--threads", "2"])
        self.assertEqual(result.err.count(SHARE), 1, str(result))
        self.assertEqual(json.loads(result.out)["processors"], "1")

    def test_more_threads_than_the_machine_has(self):
        many = os.cpu_count() + 1
        result = self.run_on(self.all, [*self.bench, "--threads", str(many)])
        self.assertEqual(result.err.count(f"{many} threads share"), 1, str(result))

    def test_threads_that_have_processors_are_no_matter(self):
        for processors, threads in ((self.all, 2), ([self.first], 1)):
            with self.subTest(threads=threads):
                result = self.run_on(processors, [*self.bench, "--threads", str(threads)])
                self.assertNotIn("wait for each other", result.err)

    def test_zero_says_what_it_took(self):
        self.expect(self.run_on([self.first], [*self.bench, "--threads", "0"]), 0, "--threads 0: 1 thread per process, one for each")
        self.expect(self.run_on(self.all[:2], [*self.bench, "--threads=0"]), 0, "--threads 0: 2 threads per process, one for each")
        result = self.run_on(self.all, [*self.bench, "--threads=0"], OMP_NUM_THREADS="1")
        self.expect(result, 0, "--threads 0: 1 thread per process, as OMP_NUM_THREADS says")

    def test_a_run_says_it_once_for_all_its_processes(self):
        grid = self.world.grid([self.world.model()], [self.world.dataset()], ["none"], (1,))
        if "Open MPI" not in program.launch([program.LAUNCHER, "--version"], dict(os.environ)).communicate()[0].decode():
            case.skip("the launcher is not Open MPI's")
        result = self.run_grid(grid, 0, self.output, "--threads", "2", ranks=2, env={"OMPI_MCA_hwloc_base_binding_policy": "core"})
        if SHARE not in result.err:
            case.skip("the launcher does not bind here")
        self.assertEqual(result.err.count("wait for each other"), 1, str(result))
        self.expect(result, 0, "every process: 2 threads", "mpirun --bind-to none", "--map-by slot:PE=2 --bind-to core")

    def test_a_rank_that_differs_is_named(self):
        settings = [["PB=0"], ["taskset", "-c", str(self.first)]]
        with unittest.mock.patch.dict(os.environ, OMPI_MCA_hwloc_base_binding_policy="none"):
            result = program.run_each(["info", "--threads", "2"], settings)
        self.assertEqual(result.err.count("wait for each other"), 1, str(result))
        self.expect(result, 0, "rank 1: 2 threads " + SHARE)

    def test_processes_bound_to_one_processor_are_told_how_to_spread(self):
        settings = [["taskset", "-c", str(self.first)]] * 2
        with unittest.mock.patch.dict(os.environ, OMPI_MCA_hwloc_base_binding_policy="none"):
            result = program.run_each(["info", "--threads", "1"], settings)
        self.expect(result, 0, f"2 processes of 1 thread share 1 of {os.cpu_count()} processors of a node: start them with mpirun --map-by slot:PE=1 --bind-to core")
        self.assertEqual(result.err.count("share 1 of"), 1, str(result))


if __name__ == "__main__":
    case.main()
