# SPDX-License-Identifier: Apache-2.0
"""What cells record of their costs: the energy that the system counts for the node, where a folder stands in for /sys and a
thread lets its counters run; memory over time; operations and the share of the rate of products."""
import json
import os
import re
import threading

import case
import program
import results
import world

POWERCAP = "class/powercap"
RANGE = 1_000_000_000_000


class Counters(threading.Thread):
    """One package, which draws power as long as the block runs."""

    def __init__(self, root):
        super().__init__(daemon=True)
        self.root, self.microjoules, self.over = root, RANGE - 1, threading.Event()
        self.put("name", "package-0")
        self.put("max_energy_range_uj", str(RANGE))
        self.put("energy_uj", str(self.microjoules))

    def put(self, name, text):
        path = os.path.join(self.root, POWERCAP, "intel-rapl:0", name)
        os.replace(world.write(path + ".new", text + "\n"), path)

    def run(self):
        while not self.over.wait(0.002):
            self.microjoules = (self.microjoules + 1_000_000) % RANGE
            self.put("energy_uj", str(self.microjoules))

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.join()


class Energy(case.Case):
    def run_one(self, **options):
        """Numbers of the only cell, how its energy is known, and the output of the run."""
        self.root = os.path.join(self.folder, "sys")
        grid = self.world.grid([self.world.model()], [self.world.dataset()], ["lora"])
        result = self.run_grid(grid, env={"PB_SYS": self.root}, **options)
        (cell,) = self.cells().values()
        text = results.h5dump("-w", "0", "-g", "/cells/good/pairs/lora/1/provenance", os.path.join(self.output, "tiny.h5"))
        known = dict(re.findall(r'ATTRIBUTE "(energy\w*)" \{.*?\(0\): "(.*?)"', text.stdout.decode(), re.S))
        return cell, known, result

    def joules(self, cell, part):
        return [float(cell[f"energy_{part}_{phase}j"]) for phase in ("", "train_", "validation_", "test_")]

    def test_a_package_is_measured_and_other_parts_are_absent(self):
        with Counters(os.path.join(self.folder, "sys")):
            cell, known, result = self.run_one()
        whole, *parts = self.joules(cell, "package")
        self.assertGreater(parts[0], 0)
        self.assertTrue(sum(parts) <= whole < RANGE / 1e7, (whole, parts))
        self.assertEqual(known["energy_package"], "measured: RAPL")
        for part in ("dram", "node"):
            self.assertEqual(known["energy_" + part], "absent: the system has no such counter")
            self.assertEqual(cell[f"energy_{part}_j"], "nan")
        self.assertNotIn("energy", result.err)
        report = ["report", os.path.join(self.output, "tiny.h5")]
        (costs,) = json.loads(self.expect(program.run([*report, "--json"]), 0).out)["costs"]
        for part, joules in zip(("", "_train", "_validation", "_test"), (whole, *parts)):
            self.assertAlmostEqual(costs["energy_package" + part], joules, delta=1e-5 * whole)
        self.assertIsNone(costs["energy_node_train"])
        text = self.expect(program.run(report), 0).out
        self.assertEqual(re.findall(r"(?m)^lora +(device|package|dram|node) ", text), ["package"])
        self.assertRegex(text, r"\nenergy of the package: measured: RAPL \(1 cell\)\nenergy of the dram: absent: the system has no such ")
        for name, column in (("memory_mean", "memory_mean_gb"), ("memory_p99", "memory_p99_gb"), ("mfu_test", "mfu_test")):
            self.assertAlmostEqual(costs[name], float(cell[column]), delta=1e-4 * costs[name])

    def test_each_process_of_a_node_has_an_equal_share(self):
        with Counters(os.path.join(self.folder, "sys")):
            cell, known, _ = self.run_one(ranks=2)
        self.assertGreater(self.joules(cell, "package")[0], 0)
        self.assertEqual(known["energy_package"], "modelled: 1/2 of what RAPL counts, the share of each process of the node")

    def test_a_counter_without_sense_is_reported_once_and_absent(self):
        counters = Counters(os.path.join(self.folder, "sys"))
        counters.put("energy_uj", "many")
        cell, known, result = self.run_one(ranks=2)
        self.assertRegex(known["energy_package"], "^absent: .*intel-rapl:0/energy_uj holds no number of joules$")
        self.assertEqual(cell["energy_package_j"], "nan")
        self.assertEqual(result.err.count("energy is not measured"), 1, result.err)


class Costs(case.Case):
    def setUp(self):
        super().setUp()
        self.run_grid(self.world.grid([self.world.model()], [self.world.dataset()], ["lora"],
                                      rest="train = { batch = 4; max_steps = 9; };\ndata = { test_rows = 4; };\n"))
        (self.cell,) = self.cells().values()

    def column(self, name):
        text = results.h5dump("-y", "-w", "0", "-m", "%.17g", "-d", "/cells/good/pairs/lora/1/" + name,
                              os.path.join(self.output, "tiny.h5")).stdout.decode()
        return [word.strip().strip('"') for word in re.search(r"DATA \{(.*?)\}", text, re.S)[1].split(",")]

    def test_memory_over_time_is_that_of_the_trace(self):
        times = [float(t) for t in self.column("memory/seconds")]
        held = [(int(size), time - before) for size, time, before, phase
                in zip(self.column("memory/host_bytes"), times, [times[0], *times], self.column("memory/phase")) if phase == "train"]
        whole = sum(seconds for _, seconds in held)
        mean, p99, peak = (float(self.cell[f"memory_{name}_gb"]) * 1e9 for name in ("mean", "p99", "peak"))
        self.assertAlmostEqual(mean, sum(size * seconds for size, seconds in held) / whole, delta=1e-5 * mean)
        self.assertGreaterEqual(sum(seconds for size, seconds in held if size <= 1.00001 * p99), 0.99 * whole)
        self.assertLess(sum(seconds for size, seconds in held if size < 0.99999 * p99), 0.99 * whole)
        self.assertTrue(mean <= p99 <= peak, (mean, p99, peak))

    def test_the_operations_of_the_phases_are_those_of_their_parts(self):
        flops = {name: float(number) for name, number in zip(self.column("phases/name"), self.column("phases/flops"))}
        parts = {name: float(self.cell["flops_" + name]) for name in ("train", "validation", "test")}
        self.assertAlmostEqual(flops["train"], parts["train"] + parts["validation"], delta=1e-5 * flops["train"])
        self.assertAlmostEqual(flops["test"], parts["test"], delta=1e-5 * flops["test"])
        # The rate of products is the same for all.
        rates = [float(self.cell["flops_" + part]) / float(self.cell["seconds_" + part]) / float(self.cell[share])
                 for part, share in (("train", "mfu"), ("validation", "mfu_validation"), ("test", "mfu_test"))]
        self.assertLess(max(rates) / min(rates), 1.0001)


if __name__ == "__main__":
    case.main()
