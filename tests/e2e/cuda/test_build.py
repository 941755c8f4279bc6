# SPDX-License-Identifier: Apache-2.0
"""The program with the CUDA backend on a machine without a device, and what ptxas says of its kernels."""
import glob
import os
import re
import subprocess

import case
import program
import world

BENCH = ("bench", "--shape", "tiny", "--steps", "2", "--batch", "1", "--prompt", "8", "--answer", "4")


def kernels(folder, architecture):
    """(source, mangled name, bytes spilled) of every kernel, from the messages of ptxas."""
    for path in sorted(glob.glob(os.path.join(folder, "*.cu.o.log"))):
        with open(path, encoding="utf-8") as file:
            text = file.read()
        pattern = rf"Compiling entry function '(\w+)' for '{architecture}'.*?(\d+) bytes spill stores, (\d+) bytes spill loads"
        for name, stores, loads in re.findall(pattern, text, re.S):
            yield os.path.basename(path)[:-len(".o.log")], name, int(stores) + int(loads)


class Kernels(case.Case):
    def test_no_kernel_spills_on_sm_90(self):
        found = list(kernels(os.environ["PB_CUDA_LOGS"], "sm_90"))
        self.assertGreater(len(found), 50)
        self.assertEqual([entry for entry in found if entry[2] > 0], [])

    def test_every_kernel_of_attention_is_among_them(self):
        names = [name for source, name, _ in kernels(os.environ["PB_CUDA_LOGS"], "sm_90") if source.startswith("attention")]
        for kernel in ("attention_forward", "attention_queries", "attention_keys", "attention_decode"):
            for width in (64, 128):
                found = [name for name in names if f"{kernel}_kernelILi{width}E" in name]
                self.assertEqual(len(found), 1, (kernel, width, names))

    def test_sm_80_is_compiled_too(self):
        names = [sorted(name for _, name, _ in kernels(os.environ["PB_CUDA_LOGS"], a)) for a in ("sm_80", "sm_90")]
        self.assertEqual(*names)


class NoDriver(case.Case):
    def setUp(self):
        super().setUp()
        if os.path.exists("/dev/nvidiactl"):
            case.skip("this machine has an NVIDIA driver")

    def test_auto_takes_the_cpu_and_says_so_once(self):
        for arguments in (BENCH, (*BENCH, "--device", "auto")):
            result = self.expect(program.run(arguments), 0)
            self.assertEqual(result.err.count("no NVIDIA driver"), 1, str(result))
            self.assertIn("the CPU computes", result.err)

    def test_cuda_is_refused_with_the_reason(self):
        for device in ("cuda", "cuda:1"):
            result = self.expect(program.run([*BENCH, "--device", device]), 2)
            self.assertIn("no NVIDIA driver", result.err)

    def searched(self, arguments, code=0):
        """The libraries of NVIDIA that the loader looks for, as it says itself."""
        logs = os.path.join(self.folder, "loader")
        self.expect(program.run(arguments, env={"LD_DEBUG": "libs", "LD_DEBUG_OUTPUT": logs}), code)
        text = "".join(world.read(path).decode() for path in glob.glob(logs + ".*"))
        self.assertIn("find library=libc.so", text)
        return set(re.findall(r"find library=(lib(?:cuda|cublas|nvidia)[\w.-]*)", text))

    def test_what_runs_on_the_cpu_opens_no_library_of_cuda(self):
        grid = self.world.grid([self.world.model()], [self.world.dataset()], ["none", "lora"])
        for arguments in (("list", "methods"), ("plan", grid, "--device", "cpu"), ("run", grid, "-o", self.output, "--device", "cpu"),
                          ("report", os.path.join(self.output, "tiny.h5")), (*BENCH, "--device", "cpu")):
            self.assertEqual(self.searched(arguments), set(), arguments)
        self.assertEqual(self.searched((*BENCH, "--device", "cuda"), 2), {"libcuda.so.1"})

    def test_cpu_says_nothing_of_cuda(self):
        result = self.expect(program.run([*BENCH, "--device", "cpu"]), 0)
        self.assertNotIn("cuda", result.err.lower())

    def test_it_needs_neither_cublas_nor_the_libraries_of_cuda_and_c_plus_plus(self):
        text = subprocess.run(["readelf", "--dynamic", program.PROGRAM], check=True, capture_output=True, text=True).stdout
        needed = re.findall(r"\(NEEDED\).*\[(.*)\]", text)
        self.assertTrue(needed)
        self.assertEqual([name for name in needed if re.search(r"cuda|cublas|nvidia|stdc\+\+", name)], [])


if __name__ == "__main__":
    case.main()
