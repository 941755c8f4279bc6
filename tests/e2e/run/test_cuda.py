# SPDX-License-Identifier: Apache-2.0
"""A sweep over the backend cuda, whose kernels this build runs on the CPU, has the numbers of the CPU as far as the type
of its products allows; what a call of CUDA's runtime refuses fails one cell."""
import os
import re

import case
import program
import results

METHODS = ["full", "lora", "prefix-tuning"]


class Cuda(case.Case):
    def curve(self, output, name, method):
        text = results.h5dump("-y", "-m", "%.17g", "-d", f"/cells/good/pairs/{method}/1/{name}",
                              os.path.join(output, "tiny.h5")).stdout.decode()
        return [float(x) for x in re.search(r"DATA \{(.*?)\}", text, flags=re.S)[1].split(",")]

    def test_a_sweep_has_the_numbers_of_the_cpu(self):
        grid = self.world.grid([self.world.model()], [self.world.dataset()], METHODS)
        for dtype, near in (("f32", 1e-4), ("bf16", 4e-3)):
            output = {}
            for device in ("cpu", "cuda"):
                output[device] = os.path.join(self.folder, f"out-{dtype}-{device}")
                self.run_grid(grid, 0, output[device], "--device", device, "--dtype", dtype)
                self.assertEqual(len(self.cells("tiny", output[device])), len(METHODS))
            for method in METHODS:
                for name in ("train/loss", "validation/loss"):
                    wanted, got = (self.curve(output[device], name, method) for device in ("cpu", "cuda"))
                    self.assertEqual(len(wanted), len(got))
                    for a, b in zip(wanted, got):
                        self.assertLess(abs(a - b), near * abs(a), (dtype, method, name))
                self.assertGreater(max(self.curve(output["cuda"], "memory/device_bytes", method)), 1e5)

    def test_devices_are_named_and_refused(self):
        told = self.expect(program.run(["info", "--device", "cuda"]), 0).out
        self.assertRegex(told, r"backend +cuda\n")
        self.assertRegex(told, r"products +.*compute capability 9\.0, 4 multiprocessors, cuBLASLt")
        self.expect(program.run(["info", "--device", "cuda:1"]), 2, "there is no device 1, the driver shows 1: cuda:0")


if __name__ == "__main__":
    case.main()
