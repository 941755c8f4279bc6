#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""bench_gpu as its users see it, at tiny sizes: test_bench_gpu.py PROGRAM DEVICE BUILD [CLASS] with the kind
of build of the CUDA backend (OFF, ON, HOST)."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import unittest

PROGRAM, DEVICE, BUILD = sys.argv[1:4]
FIELDS = ("part", "name", "what", "sizes", "command")
JOBS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "jobs")
PEER = os.path.join(JOBS, "bench_peer.py")
LONG_PART = 2 if BUILD == "HOST" else 3  # that lasts for seconds


class Case(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.lines_file = os.path.join(folder.name, "lines.jsonl")

    def start(self, *arguments, device=DEVICE, **environment):
        command = [PROGRAM, *arguments, "--tiny", "--device", device, "--json", self.lines_file]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                env={**os.environ, **environment})

    def run_parts(self, *arguments, **how):
        process = self.start(*arguments, **how)
        out, err = process.communicate()
        return process.returncode, out, err

    def lines(self):
        """All results of the file; its first line is about the run."""
        with open(self.lines_file, encoding="utf-8") as file:
            found = [json.loads(line) for line in file]
        self.assertIn("started", found[0])
        return [line for line in found[1:] if "what" in line]

    def failed(self):
        return [line for line in self.lines() if line.get("result") == "failed"]


class Parts(Case):
    def test_every_part_but_the_peer_gives_figures(self):
        code, out, err = self.run_parts("--limit", "5")
        self.assertEqual((code, err), (0, ""), out)
        lines = self.lines()
        self.assertEqual({line["part"] for line in lines}, set(range(1, 11)))
        for line in lines:
            self.assertTrue(all(field in line for field in FIELDS), line)
            self.assertTrue("value" in line and "unit" in line or "result" in line, line)
            self.assertNotIn(line.get("result"), ("no", "failed", "left out"), line)
        whole = {line["part"] for line in lines if line["what"] == "whole part"}
        self.assertEqual(whole, set(range(1, 11)))
        self.assertIn(f'{len(lines)} results, 0 of them "no" or "failed"', out)
        self.assertEqual([line["goal"] for line in lines if "goal" in line],
                         ["55 % with mma.sync, 60 % with wgmma"])

    def test_losses_are_those_of_peft(self):
        python = os.environ.get("PB_PYTHON")
        if not python or subprocess.run([python, "-c", "import torch, transformers, peft"], capture_output=True).returncode != 0:
            self.skipTest("PB_PYTHON names no interpreter with torch, transformers and peft")
        code, out, _ = self.run_parts("peer", "--limit", "5", "--peer", PEER)
        self.assertEqual(code, 0, out)
        same = [line for line in self.lines() if line["what"] == "losses as PEFT's"]
        self.assertEqual([line["result"] for line in same], ["yes", "yes"])
        self.assertIn("gang of 4, times as fast as PEFT", [line["what"] for line in self.lines()])

    def test_an_error_of_the_peer_is_that_of_its_task(self):
        script = os.path.join(os.path.dirname(self.lines_file), "peer.py")
        with open(script, "w", encoding="utf-8") as file:
            file.write("for line in __import__('sys').stdin: print('{\"error\": \"no memory\"}', flush=True)")
        code, _, _ = self.run_parts("peer", "--python", sys.executable, "--peer", script)
        self.assertEqual(code, 1)
        self.assertEqual([line["note"].split(": ", 1)[1] for line in self.failed()], ["no memory"] * 3)

    def test_a_peer_that_cannot_start_is_a_failure_with_its_reason(self):
        code, _, _ = self.run_parts("peer", "--python", "/absent/python", "--peer", PEER)
        self.assertEqual(code, 1)
        for line in self.failed():
            self.assertIn("--python names the interpreter", line["note"])


class Faults(Case):
    def send_to_part(self, process, what):
        """Sends a signal to the process of a part once it has printed a result."""
        first = process.stdout.readline()
        self.assertNotEqual(first, "")
        with open(f"/proc/{process.pid}/task/{process.pid}/children", encoding="ascii") as file:
            for child in file.read().split():
                os.kill(int(child), what)

    def expect_the_rest(self, process, part, note):
        """One failure; the part goes on after it, and so does the next part."""
        out, err = process.communicate()
        self.assertEqual(process.returncode, 1, err)
        failed = self.failed()
        self.assertEqual([line["part"] for line in failed], [part], out)
        self.assertIn(note, failed[0]["note"])
        self.assertNotEqual(failed[0]["what"], "whole part")
        after = self.lines()[self.lines().index(failed[0]) + 1:]
        self.assertIn(part, [line["part"] for line in after if line["what"] != "whole part"])
        self.assertIn((1, "whole part"), [(line["part"], line["what"]) for line in after])

    def test_after_a_crash_the_part_goes_on_with_the_next_item(self):
        process = self.start("--parts", f"{LONG_PART},1", "--limit", "5")
        self.send_to_part(process, signal.SIGABRT)
        self.expect_the_rest(process, LONG_PART, "ended by signal 6")

    def test_an_item_that_hangs_is_ended(self):
        process = self.start("--parts", f"{LONG_PART},1", "--limit", "0.7")
        self.send_to_part(process, signal.SIGSTOP)
        self.expect_the_rest(process, LONG_PART, "had to be ended after")

    def test_a_part_ends_at_its_limit(self):
        code, out, _ = self.run_parts("--parts", f"{LONG_PART},6", "--limit", "0.001")
        self.assertEqual(code, 1, out)
        whole = [line["part"] for line in self.lines() if line["what"] == "whole part" and "value" in line]
        self.assertEqual(whole, [LONG_PART, 6])

    def test_a_failed_call_of_cuda_ends_its_item_alone(self):
        if BUILD != "HOST":
            self.skipTest("only the runtime on the CPU lets a call fail")
        code, out, _ = self.run_parts("--parts", "6,8", "--limit", "5", FAKE_CUDA_FAIL="120")
        self.assertEqual(code, 1, out)
        products = {(line["what"], line["sizes"]) for line in self.lines() if line["part"] == 6}
        self.assertEqual(len(products), 81)  # 80 and the whole part
        failed = [line for line in self.failed() if line["part"] == 6]
        self.assertTrue(0 < len(failed) < 40, out)
        for line in failed:
            self.assertIn("cuda: ", line["note"])

    def test_lack_of_memory_is_a_line_with_the_sizes(self):
        if BUILD != "HOST":
            self.skipTest("only the runtime on the CPU has little memory")
        code, out, _ = self.run_parts("--parts", "8,6", "--limit", "5", FAKE_CUDA_MEMORY="36000000")
        self.assertEqual(code, 1, out)
        self.assertEqual({line["part"] for line in self.failed()}, {8})
        for line in self.failed():
            self.assertIn("are free", line["note"])
        self.assertEqual(len([line for line in self.lines() if line["part"] == 6]), 81)

    def test_power_and_clock_under_load_are_figures(self):
        if BUILD != "HOST":
            self.skipTest("this machine has no NVML, nor a fake one")
        code, out, _ = self.run_parts("--parts", "1", "--limit", "5")
        self.assertEqual(code, 0, out)
        units = {line["what"]: (line["value"] > 0, line["unit"]) for line in self.lines() if "value" in line}
        self.assertEqual(units["mean power"], (True, "W"))
        self.assertEqual(units["clock of multiprocessors"], (True, "MHz"))

    def test_findings_of_the_sanitizer_are_a_no_with_their_report(self):
        if BUILD != "HOST":
            self.skipTest("the sanitizer is for devices")
        folder = os.path.dirname(self.lines_file)
        tool = os.path.join(folder, "compute-sanitizer")
        with open(tool, "w", encoding="utf-8") as file:  # runs its program; one tool of three finds something
            file.write('#!/bin/sh\necho report of $2 >$6\ntool=$2\nshift 6\n"$@" || exit 98\n'
                       '[ $tool != racecheck ] || exit 99\n')
        os.chmod(tool, 0o755)
        code, _, err = self.run_parts("--parts", "5", "--limit", "5", PATH=f"{folder}:{os.environ['PATH']}")
        self.assertEqual((code, err), (1, "report of racecheck\n"))
        self.assertEqual([(line["what"], line["result"]) for line in self.lines() if "result" in line],
                         [("memcheck", "yes"), ("racecheck", "no"), ("synccheck", "yes")])
        with open(self.lines_file, encoding="utf-8") as file:
            self.assertIn('"said": "report of racecheck"', file.read())

    def carry(self):
        """A carried folder, and an environment without a compiler."""
        build = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(PROGRAM))))
        folder = os.path.join(os.path.dirname(self.lines_file), "carried")
        bare = {"PATH": "/usr/bin:/bin", "CUDA_HOME": "/absent"}
        subprocess.run([os.path.join(JOBS, "bench_gpu"), "carry", folder], stderr=subprocess.PIPE, check=True,
                       env={**bare, "PB_BENCH_BUILD": build})
        self.assertEqual(sorted(os.listdir(folder)), ["bench_gpu", "bench_gpu.bin", "bench_peer.py", "site"])
        return folder, bare

    def test_the_carried_folder_runs_on_its_own(self):
        folder, bare = self.carry()
        command = [os.path.join(folder, "bench_gpu"), "--parts", "1", "--tiny", "--device", "cpu"]
        subprocess.run(command, cwd=folder, env=bare, stdout=subprocess.PIPE, check=True)
        self.lines_file = os.path.join(folder, "bench_gpu.jsonl")
        self.assertIn("whole part", [line["what"] for line in self.lines()])

    def test_a_job_runs_every_mode_and_ends_with_the_worst_code(self):
        folder, bare = self.carry()
        command = ["bash", os.path.join(JOBS, "slurm", "bench_gpu.sbatch"), "--parts", "4", "--golden", "absent",
                   "--tiny", "--device", "cpu"]
        environment = {**bare, "PB_BENCH": os.path.join(folder, "bench_gpu"), "SLURM_JOB_ID": "7"}
        done = subprocess.run(command, cwd=folder, env=environment, stdout=subprocess.PIPE)
        self.assertEqual(done.returncode, 1)
        with open(os.path.join(folder, "bench_gpu-7.jsonl"), encoding="utf-8") as file:
            self.assertEqual(file.read().count('"started"'), 3)

    def test_a_machine_without_program_and_compiler_is_told_what_to_do(self):
        script = os.path.join(JOBS, "bench_gpu")
        environment = {"PATH": "/usr/bin:/bin", "CUDA_HOME": "/absent", "PB_BENCH_BUILD": "/absent"}
        done = subprocess.run([script, "check"], env=environment, stderr=subprocess.PIPE, text=True)
        self.assertEqual(done.returncode, 2)
        self.assertIn("carry DIR", done.stderr)

    def test_results_are_added_to_the_file(self):
        self.run_parts("--parts", "1", "--limit", "5")
        count = len(self.lines())
        self.run_parts("--parts", "1", "--limit", "5")
        self.assertEqual(len(self.lines()), 2 * count)

    def test_the_parts_are_listed_with_their_limits(self):
        done = subprocess.run([PROGRAM, "--list"], stdout=subprocess.PIPE, text=True, check=True)
        seconds = {}
        for line in done.stdout.splitlines():
            for mode in line.split(" s  ")[1].split():
                seconds[mode] = seconds.get(mode, 0) + int(line.split(" s  ")[0].split()[-1])
        self.assertEqual(sorted(seconds), ["check", "peer", "speed"])
        self.assertLessEqual(max(seconds["check"], seconds["speed"]), 300)
        self.assertLessEqual(seconds["peer"], 120)

    def test_mistakes_end_with_2_and_one_line(self):
        for arguments in (["fast"], ["--parts", "12"], ["--parts", "1;2"], ["--limit", "0"],
                          ["check", "speed"], ["--fast"]):
            code, out, err = self.run_parts(*arguments)
            self.assertEqual((code, out, err.count("\n")), (2, "", 1), (arguments, err))

    def test_an_absent_checkpoint_is_a_failure_of_its_part(self):
        code, _, _ = self.run_parts("--parts", "4", "--golden", "absent")
        self.assertEqual(code, 1)
        self.assertIn("absent", self.failed()[0]["note"])

    def test_a_machine_without_a_device_ends_with_2_and_one_line(self):
        if BUILD == "ON" and os.path.exists("/proc/driver/nvidia"):
            self.skipTest("this machine has a driver")
        code, out, err = self.run_parts("check", device="cuda", FAKE_CUDA_DEVICES="-1")
        self.assertEqual((code, out, err.count("\n")), (2, "", 1), err)
        self.assertIn("cuda" if BUILD == "OFF" else "no NVIDIA driver", err)
        self.assertFalse(os.path.exists(self.lines_file))


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[4:]])
