# SPDX-License-Identifier: Apache-2.0
"""The scripts in jobs/slurm without Slurm: bash can read them, and what they start. srun is one that prints its arguments."""
import glob
import os
import subprocess

import case
import program
import world

FOLDER = os.path.join(program.SOURCE, "jobs/slurm")


class Scripts(case.Case):
    def call(self, name, *arguments, code=0, **env):
        """What the script would start, or its messages."""
        tools = os.path.join(self.folder, "bin")
        for tool, text in (("srun", '[ "$1" = --mpi=list ] && echo pmix || echo "$@"'), ("scontrol", "exit 1")):
            path = world.write(os.path.join(tools, tool), f"#!/bin/sh\n{text}\n")
            os.chmod(path, 0o755)
        env = {**os.environ, "PATH": tools + ":" + os.environ["PATH"], "PB_PROGRAM": program.PROGRAM, "SLURM_CPUS_PER_TASK": "3", **env}
        done = subprocess.run(["bash", os.path.join(FOLDER, name), *arguments], cwd=program.SOURCE, env=env, capture_output=True,
                              text=True, timeout=60, check=False)
        self.assertEqual(done.returncode, code, done.stderr)
        return done.stdout if code == 0 else done.stderr

    def test_bash_can_read_every_script(self):
        scripts = glob.glob(os.path.join(FOLDER, "*.sbatch"))
        self.assertGreaterEqual(len(scripts), 2)
        for script in scripts:
            done = subprocess.run(["bash", "-n", script], capture_output=True, text=True, check=False)
            self.assertEqual((done.returncode, done.stderr), (0, ""), script)

    def test_processes_on_gpus_are_told_to_use_them(self):
        for name, arguments, expected in (
                ("grid.sbatch", ("a.cfg", "-o", "out"), "a.cfg --threads 3 -o out\n"),
                ("gpu.sbatch", ("a.cfg", "-o", "out"), "a.cfg --threads 3 -o out --device cuda\n"),
                ("gpu.sbatch", ("a.cfg", "--device", "cuda:1"), "a.cfg --threads 3 --device cuda:1\n"),
                ("gpu.sbatch", ("a.cfg", "--device=cpu"), "a.cfg --threads 3 --device=cpu\n")):
            with self.subTest(name=name, arguments=arguments):
                line = self.call(name, *arguments)
                self.assertEqual(line, f"--mpi=pmix --cpus-per-task=3 --cpu-bind=cores {program.PROGRAM} run {expected}")

    def test_one_task_per_gpu(self):
        with open(os.path.join(FOLDER, "gpu.sbatch"), encoding="utf-8") as file:
            options = dict(line[len("#SBATCH --"):].strip().split("=", 1) for line in file if line.startswith("#SBATCH --") and "=" in line)
        self.assertEqual(options["gpus-per-node"], options["ntasks-per-node"])

    def test_mistakes_are_named(self):
        self.assertIn("usage: sbatch", self.call("gpu.sbatch", code=2))
        self.assertIn("there is no /nonexistent here", self.call("gpu.sbatch", "a.cfg", code=2, PB_GRID_SCRIPT="/nonexistent"))


if __name__ == "__main__":
    case.main()
