# SPDX-License-Identifier: Apache-2.0
"""What records say of a device: its identity, its memory, its energy. The devices and NVML are those of tests/cuda_host, whose
counter of energy is 2 J higher at every reading."""
import json
import os
import re

import case
import program
import results

NAMES = ("gpu", "compute_capability", "multiprocessors", "cublaslt")
READ_BY_NVML = {"driver": "999.1.2", "sm_clock_mhz": "1000", "sm_clock_max_mhz": "1500", "memory_clock_mhz": "2000",
                "power_cap_w": "250.5", "ecc": "on"}
WORKSPACE_GB = (32 << 20) / 1e9
ENERGY = ("energy_j", "energy_train_j", "energy_validation_j", "energy_test_j")


def nvml(kind, **more):
    """The environment with one of the libraries."""
    return {"LD_LIBRARY_PATH": os.path.join(os.environ["PB_NVML"], kind), **more}


class Device(case.Case):
    def run_one(self, method="lora", device="cuda", **options):
        """Numbers of the only cell, its provenance, and the output of the run."""
        grid = self.world.grid([self.world.model()], [self.world.dataset()], [method])
        result = self.run_grid(grid, 0, None, "--device", device, **options)
        (cell,) = self.cells().values()
        path = f"/cells/good/pairs/{method}/1"
        text = results.h5dump("-w", "0", "-g", path + "/provenance", os.path.join(self.output, "tiny.h5")).stdout.decode()
        provenance = dict(re.findall(r'ATTRIBUTE "(\w+)" \{.*?\(0\): "(.*?)"', text, re.S))
        return cell, provenance, result

    def values(self, column):
        text = results.h5dump("-y", "-w", "0", "-d", f"/cells/good/pairs/lora/1/{column}", os.path.join(self.output, "tiny.h5"))
        return [word.strip().strip('"') for word in re.search(r"DATA \{(.*?)\}", text.stdout.decode(), re.S)[1].split(",")]

    def expect_no_energy(self, cell, provenance, why):
        self.assertEqual({name: cell[name] for name in ENERGY}, dict.fromkeys(ENERGY, "nan"))
        self.assertEqual(provenance["energy"], "absent: " + why)

    def test_energy_of_each_phase_is_measured(self):
        cell, provenance, _ = self.run_one(env=nvml("whole"))
        validations = len(self.values("validation/step"))
        self.assertGreater(validations, 0)
        # Readings: at the beginning, after the setup, around every validation, after training, after the test.
        self.assertEqual(float(cell["energy_validation_j"]), 2 * validations)
        self.assertEqual(float(cell["energy_train_j"]), 2 * (validations + 1))
        self.assertEqual(float(cell["energy_test_j"]), 2)
        self.assertEqual(float(cell["energy_j"]), 2 * (2 * validations + 3))
        self.assertEqual(provenance["energy"], "measured")
        self.assertLessEqual(READ_BY_NVML.items(), provenance.items())
        for name in NAMES:
            self.assertIn(provenance[name], provenance["products"])
        path = os.path.join(self.output, "tiny.h5")
        (costs,) = json.loads(self.expect(program.run(["report", path, "--json"]), 0).out)["costs"]
        parts = {"": 2 * validations + 3, "_train": validations + 1, "_validation": validations, "_test": 1}
        self.assertEqual({part: costs["energy" + part] for part in parts}, {part: 2 * n for part, n in parts.items()})
        text = self.expect(program.run(["report", path]), 0).out
        row = r" +".join(f"{2 * n}\\.0" for n in parts.values())
        self.assertRegex(text, rf"(?m)^lora +device +{row} +1$")

    def test_a_counter_that_goes_backwards_is_not_believed(self):
        self.expect_no_energy(*self.run_one(env=nvml("whole", FAKE_NVML="backwards"))[:2], "the counter went backwards")

    def test_a_device_without_a_counter_has_its_other_facts(self):
        cell, provenance, _ = self.run_one(env=nvml("old"))
        self.expect_no_energy(cell, provenance, "the library NVML has no nvmlDeviceGetTotalEnergyConsumption")
        self.assertEqual(provenance["driver"], "999.1.2")

    def test_without_nvml_a_cell_runs_all_the_same(self):
        cell, provenance, _ = self.run_one(env=nvml("none"))
        self.expect_no_energy(cell, provenance, "the library NVML cannot be opened")
        self.assertEqual(provenance["nvml"], "absent: the library NVML cannot be opened")
        self.assertNotIn("driver", provenance)
        for name in NAMES:
            self.assertIn(provenance[name], provenance["products"])

    def test_the_cpu_has_neither_energy_nor_device(self):
        cell, provenance, _ = self.run_one(device="cpu", env=nvml("whole"))
        self.expect_no_energy(cell, provenance, "the backend has no counter of energy")
        self.assertEqual(cell["memory_device_peak_gb"], "nan")
        for name in (*NAMES, *READ_BY_NVML):
            self.assertNotIn(name, provenance)

    def test_the_trace_has_device_memory_now_and_at_its_peak(self):
        cell, _, _ = self.run_one()
        now, peak = ([int(size) for size in self.values(f"memory/device_{name}")] for name in ("bytes", "peak_bytes"))
        self.assertTrue(all(0 <= a <= b for a, b in zip(now, peak)), (now, peak))
        self.assertTrue(any(a < b for a, b in zip(now, peak)), (now, peak))
        # What a row holds is the least that the next one can have as its peak.
        self.assertTrue(all(a <= b for a, b in zip(now, peak[1:])), (now, peak))
        most = max(size for size, phase in zip(peak, self.values("memory/phase")) if phase == "train")
        self.assertAlmostEqual(float(cell["memory_device_peak_gb"]) * 1e9, most, delta=1e-5 * most)
        self.assertLess(float(cell["memory_device_peak_gb"]), float(cell["memory_peak_gb"]))

    def test_more_processes_than_devices_are_reported_once_and_share_a_counter(self):
        _, _, result = self.run_one(env=nvml("whole", FAKE_CUDA_DEVICES="2"), ranks=2)
        self.assertNotIn("share their device", result.err)
        self.output += "-3"
        cell, provenance, result = self.run_one(env=nvml("whole", FAKE_CUDA_DEVICES="2"), ranks=3)
        self.assertEqual(result.err.count("2 of 3 processes share their device with others"), 1, str(result))
        self.expect_no_energy(cell, provenance, "several processes use the device, which has one counter")

    def test_processes_share_a_device_when_it_is_the_same_one(self):
        """With one device per task every process sees a device 0, each a different one."""
        _, provenance, result = self.run_one(env=nvml("whole", FAKE_CUDA_OWN="1"), ranks=2)
        self.assertNotIn("share their device", result.err)
        self.assertEqual(provenance["energy"], "measured")
        self.output += "-named"
        cell, provenance, result = self.run_one(device="cuda:0", env=nvml("whole", FAKE_CUDA_DEVICES="2"), ranks=2)
        self.assertEqual(result.err.count("2 of 2 processes share their device with others"), 1, str(result))
        self.expect_no_energy(cell, provenance, "several processes use the device, which has one counter")

    def test_plan_foresees_the_memory_of_the_device(self):
        rest = "train = { batch = 32; max_steps = 1; };\ndata = { test_rows = 4; };\n"
        model, dataset, told = self.world.model(), self.world.dataset(), {}
        for dtype, method in (("f32", "lora"), ("bf16", "lora"), ("bf16", "full")):
            grid = self.world.grid([model], [dataset], [method], rest=rest)
            # A stated rate needs no device; the workspace of cuBLASLt stays from one cell to the next.
            made = program.run(["plan", grid, "--json", "--device", "cuda", "--gflops", "1000", "--dtype", dtype],
                               env={"FAKE_CUDA_DEVICES": "-1"})
            plan = json.loads(self.expect(made, 0).out)
            self.assertEqual(plan["rate"], "stated")
            told[dtype, method] = plan["cells"][0]["device_memory_gb_modelled"] - WORKSPACE_GB
            output = os.path.join(self.folder, dtype + method)
            self.run_grid(grid, 0, output, "--device", "cuda", "--dtype", dtype)
            (cell,) = self.cells("tiny", output).values()
            ratio = told[dtype, method] / float(cell["memory_device_peak_gb"])
            self.assertTrue(0.9 < ratio < 1.4, (dtype, method, ratio))
        self.assertLess(told["bf16", "lora"], told["f32", "lora"])

    def test_plan_takes_the_stated_rate_and_names_the_lack_of_a_device_without_one(self):
        grid = self.world.grid([self.world.model()], [self.world.dataset()], ["lora"])
        nothing = {"FAKE_CUDA_DEVICES": "-1"}
        line = ["plan", grid, "--json", "--device", "cuda"]
        self.expect(program.run(line, env=nothing), 2, "no NVIDIA driver")
        seconds = [json.loads(self.expect(program.run([*line, "--gflops", rate], env=nothing), 0).out)["seconds_total_modelled"]
                   for rate in ("1000.5", "2001")]
        self.assertAlmostEqual(seconds[0], 2 * seconds[1], delta=1e-4 * seconds[0])
        cpu = json.loads(self.expect(program.run(["plan", grid, "--json", "--device", "cpu", "--gflops", "1000.5"]), 0).out)
        self.assertEqual(cpu["cells"][0]["device_memory_gb_modelled"], 0)
        self.assertAlmostEqual(cpu["seconds_total_modelled"], seconds[0], delta=1e-4 * seconds[0])

    def test_auto_computes_on_the_cpu_where_no_device_can_be_used_and_cuda_says_why(self):
        bench = ["bench", "--shape", "tiny", "--steps", "2", "--batch", "1", "--prompt", "8", "--answer", "4"]
        for environment, why in (
                ({"FAKE_CUDA_TROUBLE": "stub"}, r"cudaErrorStubLibrary: .*; the libcuda.so.1 that was loaded is the toolkit's stub"),
                ({"FAKE_CUDA_TROUBLE": "old driver"}, r"the driver is for CUDA 11.4 and too old for this program, which needs \d+.\d"),
                ({"FAKE_CUDA_TROUBLE": "busy"}, r"cudaErrorDevicesUnavailable: .*; another process has it, or its compute mode is Proh"),
                ({"FAKE_CUDA_TROUBLE": "old device"}, r"device 0, no device, has compute capability 7.0; at least 8.0 is needed"),
                ({"FAKE_CUBLASLT": "old"}, r"cuBLASLt 11.11.3 is too old, 12 or 13 is needed"),
                ({"FAKE_CUDA_DEVICES": "0"}, r"the driver shows no device")):
            self.assertRegex(self.expect(program.run([*bench, "--device", "cuda"], env=environment), 2).err, rf"^error: .*cuda: .*{why}")
            told = self.expect(program.run(bench, env=environment), 0).err
            self.assertEqual(len(re.findall(rf"(?m)^the CPU computes: cuda: .*{why}", told)), 1, told)

    def test_a_device_that_does_not_exist_is_a_mistake_of_the_configuration(self):
        for device, why in (("cuda:1", "no such device: 1; the driver shows 1: cuda:0"), ("cpu:1", "no such device: 1; the only one is 0"),
                            ("auto:1", '"auto" takes no number; name the device, such as cuda:1')):
            self.expect(program.run(["info", "--device", device]), 2, why)

    def test_info_lists_the_devices(self):
        environment = nvml("whole", FAKE_CUDA_DEVICES="2")
        facts = json.loads(self.expect(program.run(["info", "--json", "--device", "cuda:1"], env=environment), 0).out)
        self.assertEqual(facts["gpu_number"], "1")
        self.assertEqual(facts["sm_clock_mhz"], "1001")
        self.assertEqual([d["device"] for d in facts["devices"]], ["cuda:0", "cuda:1"])
        self.assertRegex(facts["devices"][1]["about"],
                         r"^no device, compute capability 9\.0, 4 multiprocessors, [\d.]+ GB, driver for CUDA \d+\.\d+$")
        lines = self.expect(program.run(["info"], env=nvml("none", FAKE_CUDA_DEVICES="-1")), 0).out
        self.assertRegex(lines, r"(?m)^devices +cuda: this machine has no NVIDIA driver$")


class Lost(case.Case):
    """An error that destroys the context of a process: every call of the runtime fails from then on."""
    def failed(self):
        return {cell["method"]: cell["message"] for cell in self.cells().values() if cell["status"] != "done"}

    def grid(self):
        return self.world.grid([self.world.model()], [self.world.dataset()], ["lora", "bitfit", "ia3", "vera"],
                               rest="train = { batch = 2; max_steps = 2; };\ndata = { test_rows = 2; };\n")

    def expect_lost(self, result, rank=""):
        self.assertEqual(len(re.findall(rf"^{rank}error: an error of cuda destroyed the context of this process, which takes no more "
                                        "cells; others and later runs do$", result.err, re.M)), 1, result.err)
        (message,) = self.failed().values()
        self.assertRegex(message, "cuda: .*cudaErrorIllegalAddress: an illegal memory access was encountered$")
        self.assertEqual(result.err.count("cudaErrorIllegalAddress"), 1, result.err)

    def test_the_running_cell_fails_and_the_rest_is_left_to_the_next_run(self):
        grid = self.grid()
        result = self.run_grid(grid, 3, None, "--device", "cuda", env={"FAKE_CUDA_LOSE": "3000"})
        self.expect_lost(result)
        self.assertIn("stopped with 2 of 4 cells left: the same command continues", result.err)
        self.run_grid(grid, 4, None, "--device", "cuda")
        self.assertEqual((len(self.cells()), len(self.failed())), (4, 1))
        self.run_grid(grid, 0, None, "--device", "cuda", "--retry-failed")
        kept = self.digest(os.path.join(self.output, "tiny.h5"))
        self.output += "-undisturbed"
        self.run_grid(grid, 0, None, "--device", "cuda")
        self.assertEqual(self.digest(os.path.join(self.output, "tiny.h5")), kept)

    def test_another_process_runs_what_is_left(self):
        for rank in (0, 1):
            self.output = os.path.join(self.folder, f"out-{rank}")
            result = self.run_grid(self.grid(), 4, None, "--device", "cuda", ranks=2,
                                   env={"FAKE_CUDA_DEVICES": "2", "FAKE_CUDA_LOSE": f"800@{rank}"})
            self.expect_lost(result, rank=rf"\[{rank} grid\] ")
            self.assertEqual(len(self.cells()), 4)

    def test_a_gang_fails_as_a_whole(self):
        result = self.run_grid(self.grid(), 3, None, "--device", "cuda", "--set", "run.gang=2", env={"FAKE_CUDA_LOSE": "1500"})
        self.assertEqual(len(self.failed()), 2)
        self.assertIn("stopped with 2 of 4 cells left", result.err)


if __name__ == "__main__":
    case.main()
