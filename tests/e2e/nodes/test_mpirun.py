# SPDX-License-Identifier: Apache-2.0
"""Two nodes under mpirun, over TCP: they share the sweep, and its result is that of a run on one host."""
import os
import re
import signal
import subprocess

import case
import cluster
import program

# It reports itself as Open MPI, OpenRTE (mpiexec of version 4) or PRRTE.
version = subprocess.run([program.LAUNCHER, "--version"], capture_output=True, check=False).stdout
if not re.search(rb"Open MPI|OpenRTE|PRRTE", version):
    cluster.skip(f"{program.LAUNCHER} is not Open MPI's")
cluster.enter()

WITHOUT_WINDOWS = ("--mca", "btl", "tcp,self", "--mca", "osc", "^ucx,pt2pt,sm,rdma")


class Mpirun(cluster.Case):
    def start(self, grid, *options):
        line = [program.PROGRAM, "run", grid, "-o", self.output]
        return program.launch(self.nodes.mpirun(program.LAUNCHER, 2, line, *options), program.environment(4, None),
                              stdin=subprocess.DEVNULL)

    def test_a_sweep_over_two_nodes(self):
        grid = self.grid(16)
        self.expect(program.finish(self.start(grid), timeout=120), 0, "4 processes")
        self.check(grid)

    def test_without_one_sided_communication(self):
        grid = self.grid(16)
        self.expect(program.finish(self.start(grid, *WITHOUT_WINDOWS), timeout=120), 0)
        self.check(grid)

    def test_a_stop_reaches_the_other_node(self):
        grid = self.grid(40)
        process = self.start(grid)
        self.wait_for_shards(1, lambda: process.poll() is None)
        os.kill(process.pid, signal.SIGUSR1)
        self.expect(program.finish(process, timeout=60), 3, "the same command continues")
        self.expect(program.finish(self.start(grid), timeout=120), 0)
        self.check(grid)

    def test_a_process_that_dies_on_the_other_node(self):
        grid = self.grid(40)
        process = self.start(grid)
        self.wait_for_shards(1, lambda: process.poll() is None)
        os.kill(self.nodes.processes_on(cluster.NODES[1], program.PROGRAM)[-1], signal.SIGKILL)
        self.assertNotIn(program.finish(process, timeout=60).code, (0, 3))
        self.expect(program.finish(self.start(grid), timeout=120), 0)
        self.check(grid)


if __name__ == "__main__":
    case.main()
