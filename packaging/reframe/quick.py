# SPDX-License-Identifier: Apache-2.0
"""For ReFrame: the program as it is installed at a site runs its embedded grid on two processes, and says how fast.

    reframe -c packaging/reframe/quick.py -r -S modules=peftbench"""
import reframe as rfm
import reframe.utility.sanity as sn


@rfm.simple_test
class PeftbenchQuick(rfm.RunOnlyRegressionTest):
    descr = "54 cells of a tiny model: scores, tables and one HDF5 file"
    valid_systems = ["*"]
    valid_prog_environs = ["*"]
    sourcesdir = None
    num_tasks = 2
    time_limit = "10m"
    executable = "peftbench"
    executable_opts = ["run", "quick", "-o", "results"]
    prerun_cmds = ["peftbench info"]
    postrun_cmds = ["peftbench status results", "peftbench report results/quick.h5 --digest"]

    @sanity_function
    def every_cell_is_done(self):
        return sn.all([sn.assert_found(r"^done +54$", self.stdout), sn.assert_found(r"^left +0$", self.stdout),
                       sn.assert_found(r"^[0-9a-f]{64}$", self.stdout)])

    @performance_function("cells/h")
    def rate(self):
        return sn.extractsingle(r"^rate +([\d.]+) cells per hour", self.stdout, 1, float)
