# SPDX-License-Identifier: Apache-2.0
"""The batch scripts without a batch system: bash can read them, what they start, and when they continue. fake/batch.py takes the
place of the commands of batch systems."""
import glob
import json
import os
import shutil
import subprocess

import case
import program
import world

JOBS = os.path.join(program.SOURCE, "jobs")
COMMANDS = ("srun", "mpirun", "sbatch", "scontrol", "qsub", "qstat", "bsub", "flux")
SCRIPTS = [*glob.glob(os.path.join(JOBS, "slurm", "*.sbatch")), *glob.glob(os.path.join(JOBS, "*", "grid.sh")),
           *(os.path.join(JOBS, name) for name in ("submit", "batch.sh", "site", "bench_gpu"))]


class Scripts(case.Case):
    def setUp(self):
        super().setUp()
        self.tools = os.path.join(self.folder, "bin")
        os.mkdir(self.tools)
        for name in COMMANDS:
            os.symlink(os.path.join(os.path.dirname(__file__), "fake/batch.py"), os.path.join(self.tools, name))
        self.nodes = world.write(os.path.join(self.folder, "nodes"), "one\none\ntwo\ntwo\n")

    def call(self, line, *arguments, code=0, codes="0", **env):
        """What the stand-ins were asked, and the messages; codes: those of the program, one after the other."""
        log = world.write(os.path.join(self.folder, "log"), "")
        env = {**os.environ, "PATH": self.tools + ":" + os.environ["PATH"], "PB_PROGRAM": "true", "FAKE_LOG": log,
               "FAKE_CODES": world.write(os.path.join(self.folder, "codes"), codes), "FAKE_NODES": self.nodes, **env}
        done = subprocess.run(["bash", os.path.join(JOBS, line), *arguments], cwd=program.SOURCE, env=env, capture_output=True,
                              text=True, timeout=60, check=False)
        self.assertEqual(done.returncode, code, done.stderr)
        self.messages = done.stderr
        return [json.loads(text) for text in world.read(log).splitlines()]

    def commands(self, *line, **how):
        return [call["command"] for call in self.call(*line, **how)]

    def submit(self, system, *arguments, **how):
        """The line of jobs/submit, with every character that a shell could lose."""
        return self.call("submit", system, "--name=a b", "--", "a.cfg", "-o", self.output, "--set", "sweep.name=it's a \"b\",$c", **how)

    def test_shells_can_read_every_script(self):
        self.assertEqual(len(SCRIPTS), 11)
        for script in SCRIPTS:
            for line in (["bash", "-n"], ["shellcheck", "-x"]):
                if shutil.which(line[0]) and not script.endswith("bench_gpu"):
                    done = subprocess.run([*line, script], cwd=program.SOURCE, capture_output=True, text=True, check=False)
                    self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "", ""), script)

    def test_what_slurm_starts(self):
        for name, arguments, expected in (
                ("grid", ("a.cfg", "-o", self.output), f"a.cfg --threads 3 -o {self.output}"),
                ("array", ("a.cfg", "-o", self.output), f"a.cfg --threads 3 -o {self.output}"),
                ("gpu", ("a.cfg", "-o", self.output), f"a.cfg --threads 3 -o {self.output} --device cuda"),
                ("gpu", ("a.cfg", "--device", "cuda:1"), "a.cfg --threads 3 --device cuda:1"),
                ("gpu", ("a.cfg", "--device=cpu"), "a.cfg --threads 3 --device=cpu")):
            with self.subTest(name=name, arguments=arguments):
                started, = self.call(f"slurm/{name}.sbatch", *arguments, SLURM_CPUS_PER_TASK="3")
                self.assertEqual(" ".join(started["arguments"]), f"--mpi=pmix --cpus-per-task=3 --cpu-bind=cores true run {expected}")

    def test_one_task_per_gpu(self):
        lines = world.read(os.path.join(JOBS, "slurm/gpu.sbatch")).decode().splitlines()
        options = dict(line[len("#SBATCH --"):].split("=", 1) for line in lines if line.startswith("#SBATCH --") and "=" in line)
        self.assertEqual(options["gpus-per-node"], options["ntasks-per-node"])

    def test_what_other_systems_start(self):
        program_line = ["true", "run", "a.cfg", "--threads"]
        words = ["-o", self.output, "--set", "sweep.name=it's a \"b\",$c"]
        for system, launch, threads, limit in (
                ("pbs", ["-n", "4", "--hostfile", self.nodes, "--map-by", "slot:PE=2"], "2", 5410),
                ("lsf", ["-n", "4", "--map-by", "slot:PE=8"], "8", None),
                ("flux", ["run", "-n", "4", "-c", "8"], "8", 14400)):
            with self.subTest(system):
                told = [] if limit is None else ["--set", f"run.time_limit_seconds={limit}", "--set", "run.time_reserve_seconds=180"]
                asked, started = self.submit(system)
                self.assertIn("--name=a b", asked["arguments"])
                self.assertEqual(started["arguments"], [*launch, *program_line, threads, *told, *words])

    def test_the_site_names_account_queue_and_launcher(self):
        site = world.write(os.path.join(self.folder, "site"), world.read(os.path.join(JOBS, "site")).decode() +
                           "PB_ACCOUNT=group PB_QUEUE=night PB_LAUNCH='mpirun -np $tasks \"of $threads\"'\n")
        for system, options in (("slurm/array", ["--account=group", "--partition=night"]), ("pbs", ["-A", "group", "-q", "night"]),
                                ("lsf", ["-P", "group", "-q", "night"]), ("flux", ["batch", "--bank=group", "--queue=night"])):
            with self.subTest(system):
                asked, *started = self.submit(system, PB_SITE=site)
                self.assertEqual(asked["arguments"][:len(options)], options)
                for call in started:
                    self.assertEqual(call["arguments"][:2], ["-np", "4"])
                    self.assertRegex(call["arguments"][2], "^of [28]$")
        started, = self.call("slurm/grid.sbatch", "a.cfg", PB_SITE=site, SLURM_NTASKS="6")
        self.assertEqual(started["arguments"][:3], ["-np", "6", "of 1"])

    def test_the_bench_reads_the_site(self):
        said = os.path.join(self.folder, "said")
        bench = world.write(os.path.join(self.folder, "bench_gpu"), '#!/bin/sh\necho "$1 $LOADED $4" >>"$SAID"\n')
        site = world.write(os.path.join(self.folder, "site"), "export LOADED=module\n")
        os.chmod(bench, 0o755)
        self.call("slurm/bench_gpu.sbatch", "--tiny", PB_BENCH=bench, SAID=said)
        self.assertEqual(world.read(said).decode(), "".join(f"{mode} module --tiny\n" for mode in ("check", "speed", "peer")))
        os.rename(site, site + "2")
        self.call("slurm/bench_gpu.sbatch", code=2, PB_BENCH=bench, SAID=said)
        self.assertIn("PB_SITE names the file", self.messages)
        self.call("slurm/bench_gpu.sbatch", PB_BENCH=bench, SAID=said, PB_SITE=site + "2")
        self.assertEqual(self.commands("submit", "slurm/bench_gpu", "--"), ["sbatch"])

    def test_continues_after_code_3_alone(self):
        some = (("0", 1), ("3 3 3 3 3", 4))
        every = (*some, ("1", 1), ("2", 1), ("4", 1), ("3 0", 2), ("3 3 1", 3))
        for system, submits, launches, cases in (("pbs", "qsub", "mpirun", every), ("lsf", "bsub", "mpirun", some), ("flux", "flux", "flux", some)):
            for codes, starts in cases:
                with self.subTest(system=system, codes=codes):
                    calls = self.submit(system, codes=codes, PB_REQUEUES="3")
                    self.assertEqual([call["command"] for call in calls], [submits, launches] * starts)
                    self.assertEqual(len({tuple(call["arguments"]) for call in calls[1::2]}), 1, "every start is the same")
                    self.assertEqual("PB_REQUEUES is 3; submit the same line again" in self.messages, starts == 4)
                    self.assertIn(f"start {starts}:", self.messages)
                    if system == "flux":  # a job's own instance is not where it is continued
                        self.assertEqual(["--parent" in call["arguments"] for call in calls[::2]], [False] + [True] * (starts - 1))

    def test_slurm_requeues_after_code_3_alone(self):
        for code, count in ((0, "0"), (1, "0"), (2, "0"), (4, "0"), (3, "0"), (3, "19"), (3, "20")):
            with self.subTest(code=code, count=count):
                calls = self.commands("slurm/array.sbatch", "a.cfg", "-o", self.output, code=code, codes=str(code),
                                      SLURM_RESTART_COUNT=count, SLURM_JOB_ID="7")
                self.assertEqual(calls, ["srun"] + (["scontrol"] if code == 3 and count != "20" else []))

    def test_not_continued(self):
        for text, arguments, env in (("--fresh would run every cell again", ["--fresh"], {}),
                                     ("no cell got further in this start", [], {"FAKE_STUCK": "1"}), ("PB_REQUEUES is 0", [], {"PB_REQUEUES": "0"})):
            with self.subTest(text):
                shutil.rmtree(self.output, ignore_errors=True)
                calls = self.commands("slurm/grid.sbatch", "a.cfg", "-o", self.output, *arguments, code=3, codes="3", **env)
                self.assertEqual(calls, ["srun"])
                self.assertIn(text, self.messages)

    def test_mistakes_are_named(self):
        absent = {"PB_JOBS": "/nonexistent"}
        for line, env, text in (
                (["slurm/gpu.sbatch"], {}, "usage: sbatch jobs/slurm/gpu.sbatch"), (["pbs/grid.sh"], {}, "usage: jobs/submit pbs"),
                *(([script, "a.cfg"], absent, "submit from the folder of the sources, or set PB_JOBS") for script in
                  ("slurm/gpu.sbatch", "slurm/array.sbatch", "slurm/grid.sbatch", "pbs/grid.sh", "lsf/grid.sh", "flux/grid.sh")),
                (["lsf/grid.sh", "a.cfg"], {"PB_SITE": "/nonexistent"}, "PB_SITE names the file"),
                (["flux/grid.sh", "a.cfg"], {"PB_THREADS": "99"}, "PB_THREADS is 99, and this job has 2 Nodes, 32 Cores, 0 GPUs"),
                (["submit"], {}, "usage: jobs/submit"), (["submit", "pbs", "a.cfg"], {}, "usage: jobs/submit"),
                (["submit", "pbs", "-l", "x", "--"], {}, "usage: jobs/submit"), (["submit", "lfs", "--", "a.cfg"], {}, "unknown batch system 'lfs'"),
                (["submit", "slurm/cpu", "--", "a.cfg"], {}, "there is no script 'slurm/cpu'"),
                (["submit", "pbs", "--", "a.cfg"], {"PB_REQUEUES": "many"}, "PB_REQUEUES is 'many'")):
            with self.subTest(line=line):
                self.assertEqual(self.call(*line, code=2, **env), [])
                self.assertIn(text, self.messages)


if __name__ == "__main__":
    case.main()
