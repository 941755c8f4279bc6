#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""bench_gpu as its users see it, at tiny sizes: test_bench_gpu.py PROGRAM DEVICE [BUILD] with the kind of
build of the CUDA backend (OFF, ON, HOST)."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import unittest

PROGRAM, DEVICE, BUILD = sys.argv[1:4]
FIELDS = ("part", "name", "what", "sizes", "command")


class BenchGpu(unittest.TestCase):
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
        with open(self.lines_file, encoding="utf-8") as file:
            return [json.loads(line) for line in file]

    def test_every_part_but_the_peer_gives_figures(self):
        code, out, err = self.run_parts("--limit", "5")
        self.assertEqual((code, err), (0, ""), out)
        lines = self.lines()
        self.assertEqual({line["part"] for line in lines}, set(range(1, 11)))
        for line in lines:
            if line["what"] != "whole part":
                self.assertTrue(all(field in line for field in FIELDS), line)
            self.assertTrue("value" in line and "unit" in line or "result" in line, line)
            self.assertNotIn(line.get("result"), ("no", "failed", "left out"), line)
        whole = {line["part"] for line in lines if line["what"] == "whole part"}
        self.assertEqual(whole, set(range(1, 11)))
        self.assertIn(f'{len(lines)} results, 0 of them "no" or "failed"', out)

    def test_a_part_that_dies_is_a_line_and_the_next_one_runs(self):
        process = self.start("--parts", "3,5")
        children = f"/proc/{process.pid}/task/{process.pid}/children"
        killed = False
        while process.poll() is None and not killed:
            with open(children, encoding="ascii") as file:
                found = [int(text) for text in file.read().split()]
            for child in found:
                with open(f"/proc/{child}/cmdline", encoding="ascii") as file:
                    if "--one-part" in file.read():
                        os.kill(child, signal.SIGSEGV)
                        killed = True
            time.sleep(0.01)
        process.communicate()
        self.assertEqual(process.returncode, 1)
        last = [line for line in self.lines() if line["what"] == "whole part"]
        self.assertEqual([line["part"] for line in last], [3, 5])
        self.assertEqual(last[0]["result"], "failed")
        self.assertIn("value", last[1])

    def test_a_part_without_time_says_what_it_left_out(self):
        code, out, _ = self.run_parts("--parts", "6", "--limit", "0.000001")
        self.assertEqual(code, 0, out)
        self.assertEqual([line.get("result") for line in self.lines()], ["left out", None])

    def test_mistakes_end_with_2_and_one_line(self):
        for arguments in (["fast"], ["--parts", "12"], ["--parts", "1;2"], ["--limit", "0"],
                          ["check", "speed"], ["--fast"]):
            code, out, err = self.run_parts(*arguments)
            self.assertEqual((code, out, err.count("\n")), (2, "", 1), (arguments, err))

    def test_an_absent_checkpoint_is_a_failure_of_its_part(self):
        code, _, _ = self.run_parts("--parts", "4", "--golden", "absent")
        self.assertEqual(code, 1)
        self.assertIn("no checkpoint is there", self.lines()[0]["note"])

    def test_a_machine_without_a_device_ends_with_2_and_one_line(self):
        if BUILD == "ON" and os.path.exists("/proc/driver/nvidia"):
            self.skipTest("this machine has a driver")
        code, out, err = self.run_parts("check", device="cuda", FAKE_CUDA_DEVICES="-1")
        self.assertEqual((code, out, err.count("\n")), (2, "", 1), err)
        self.assertIn("cuda" if BUILD == "OFF" else "no NVIDIA driver", err)
        self.assertFalse(os.path.exists(self.lines_file))


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[4:]])
