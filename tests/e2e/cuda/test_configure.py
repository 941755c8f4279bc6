# SPDX-License-Identifier: Apache-2.0
"""PB_CUDA=AUTO builds the backend where CMake finds a toolkit of CUDA 12 or later, and says why it does not elsewhere."""
import os
import re
import subprocess

import case
import program
import world

NVCC = """#!/bin/sh
echo "Cuda compilation tools, release {0}, V{0}.1"
"""


class Configure(case.Case):
    def toolkit(self, version):
        """The folder of a toolkit as far as CMake looks at it."""
        folder = os.path.join(self.folder, "cuda-" + version)
        os.chmod(world.write(folder + "/bin/nvcc", NVCC.format(version)), 0o755)
        for name in ("include/cuda_runtime.h", "lib64/libcudart.so", "lib64/libcudart_static.a"):
            world.write(os.path.join(folder, name), "")
        return folder

    def configure(self, *options):
        """Whether it ends well, and its output; every call begins with an empty folder."""
        build = os.path.join(self.folder, f"build-{len(os.listdir(self.folder))}")
        line = [os.environ["PB_CMAKE"], "-S", program.SOURCE, "-B", build, "-DPB_TESTS=OFF", *options]
        done = subprocess.run(line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        return done.returncode == 0, done.stdout

    def expect_one_line(self, made, line):
        """Of all that it prints, one line is about CUDA."""
        good, text = made
        self.assertTrue(good, text)
        self.assertEqual([found for found in text.splitlines() if re.search("cuda", found, re.I)], ["-- CUDA backend: " + line])

    def test_auto_is_on_with_a_toolkit(self):
        self.expect_one_line(self.configure("-DCUDAToolkit_ROOT=" + self.toolkit("12.0")), "ON")

    def test_auto_is_off_without_one_or_with_an_old_one(self):
        for option in ("-DCMAKE_DISABLE_FIND_PACKAGE_CUDAToolkit=ON", "-DCUDAToolkit_ROOT=" + self.toolkit("11.8")):
            self.expect_one_line(self.configure(option), "OFF, since CMake finds no toolkit of CUDA 12 or later; CUDAToolkit_ROOT "
                                 "names the folder of one")

    def test_on_is_refused_with_an_old_toolkit(self):
        good, text = self.configure("-DPB_CUDA=ON", "-DCUDAToolkit_ROOT=" + self.toolkit("11.8"))
        self.assertFalse(good, text)
        self.assertRegex(text, r'(?s)Could NOT find CUDAToolkit: Found unsuitable version\s+"11\.8.*at\s+least\s+"12"')


if __name__ == "__main__":
    case.main()
