# SPDX-License-Identifier: Apache-2.0
"""Variants of models, data sets and methods: what they compute, and their names wherever they appear."""
import csv
import io
import json
import os

import case
import program
import results
import world

LORA = 'method = {{ name = "lora"; r = {r}; dropout = 0.0; }};\ntrain = {{ learning_rate = {rate}; }};\n'
VARY = '{ method = "mine"; vary = { method = { r = [2, 4]; }; train = { learning_rate = [1e-4, 0.01]; }; }; }'
NAMES = ["mine{r=2,learning_rate=1e-04}", "mine{r=2,learning_rate=0.01}",
         "mine{r=4,learning_rate=1e-04}", "mine{r=4,learning_rate=0.01}"]


class Variants(case.Case):
    def setUp(self):
        super().setUp()
        self.world.model()
        self.world.dataset()
        self.method("mine", 16, 5e-5)

    def method(self, name, r, rate):
        world.write(self.world.path("method", name + ".cfg"), LORA.format(r=r, rate=rate))
        return name

    def hashes(self, methods, **options):
        output = os.path.join(self.folder, str(len(methods)))
        self.run_grid(self.world.grid(["good"], ["pairs"], methods, **options), output=output)
        with open(os.path.join(output, "plan.json"), encoding="utf-8") as f:
            plan = json.load(f)["cells"]
        cells = self.cells(output=output)
        return [(cell["config_hash"], cells["good", "pairs", cell["method"], str(cell["seed"])]["score"])
                for cell in plan]

    def test_a_variant_is_the_cell_of_a_file_with_its_settings(self):
        files = [self.method(f"own{i}", r, rate) for i, (r, rate) in
                 enumerate([(2, "1e-4"), (2, "0.01"), (4, "1e-4"), (4, "0.01")])]
        self.assertEqual(self.hashes([VARY]), self.hashes(files))

    def test_names_work_everywhere(self):
        grid = self.world.grid(["good"], ["pairs"], ["none", VARY])
        first = self.run_grid(grid, 0, None, "--set", f"sweep.methods=[{NAMES[2]}]")
        self.assertIn(NAMES[2], first.out)
        self.expect(program.run(["status", self.output]), 0, "done     1")
        again = self.run_grid(grid, ranks=2)
        self.assertNotIn(f"{NAMES[2]}/1 done", again.err, "a finished cell was run again")
        self.assertEqual([k[2] for k in self.cells()], ["none", *NAMES])
        self.assertEqual(len(results.shards(self.output)), 5)
        merged = os.path.join(self.output, "tiny.h5")
        alone = os.path.join(self.folder, "alone")
        self.run_grid(grid, output=alone)
        self.assertEqual(self.digest(merged), self.digest(os.path.join(alone, "tiny.h5")))
        report = json.loads(self.expect(program.run(["report", merged, "--json"]), 0).out)
        self.assertEqual({s["method"] for s in report["scores"]}, {"none", *NAMES})
        self.assertEqual([v["name"] for v in report["variants"]], NAMES)
        self.assertEqual(report["variants"][2], {"axis": "method", "name": NAMES[2], "base": "mine",
                                                 "settings": {"r": 4, "learning_rate": 1e-4}})
        self.expect(program.run(["status", self.output, "--json"]), 0, '"done": 5')

    def test_settings_are_columns_of_csv(self):
        self.run_grid(self.world.grid(["good"], ["pairs"], ["none", VARY]))
        wanted = {"none": ("none", "", "")}
        wanted.update({name: ("mine", r, rate) for name, r, rate in
                       zip(NAMES, "2244", ("0.0001", "0.01", "0.0001", "0.01"))})
        for form in ("csv-long", "csv-cells"):
            report = program.run(["report", os.path.join(self.output, "tiny.h5"), "--format", form])
            rows = list(csv.DictReader(io.StringIO(report.out)))
            self.assertEqual({row["method"] for row in rows}, set(wanted))
            for row in rows:
                rate = row["setting_learning_rate"] and f"{float(row['setting_learning_rate']):g}"
                self.assertEqual((row["method_base"], row["setting_r"], rate), wanted[row["method"]])
                self.assertEqual((row["model_base"], None in row), ("good", False))

    def test_the_report_chooses_variants(self):
        self.run_grid(self.world.grid(["good"], ["pairs"], ["none", VARY], (1, 2),
                                      rest="train = { batch = 4; max_steps = 3; };\n"
                                           "data = { test_rows = 4; validation_share = 0.25; };\n"))
        merged = os.path.join(self.output, "tiny.h5")
        losses = {}
        for cell in self.cells().values():
            losses.setdefault(cell["method"], []).append(float(cell["validation_loss"]))
        best = min(NAMES, key=lambda name: sum(losses[name]))
        report = json.loads(self.expect(program.run(["report", merged, "--best-by", "validation", "--json"]), 0).out)
        self.assertEqual([(c["method"], c["variant"], c["seeds"], c["variants"]) for c in report["chosen"]],
                         [("mine", best, 2, 4)])
        self.assertAlmostEqual(report["chosen"][0]["value"], sum(losses[best]) / 2, 4)  # of h5dump
        self.assertEqual([p["method"] for p in report["pscp"]], ["none", "mine"])
        self.expect(program.run(["report", merged, "--best-by", "score"]), 0, "choosing on the test rows is a mistake")
        self.expect(program.run(["report", merged, "--best-by", "best"]), 2, "validation, score, none")
        self.expect(program.run(["report", merged, "--best-by", "score", "--digest"]), 2, "--best-by")

    def test_variants_of_a_model_share_its_weights(self):
        grid = self.world.grid(['{ model = "good"; vary = { train = { batch = [2, 4]; }; }; }'],
                               ['{ dataset = "pairs"; vary = { data = { train_rows = [8, 16]; }; }; }'], ["mine"])
        run = self.run_grid(grid)
        self.assertEqual(run.err.count(" parameters, "), 1, run.err)
        rows = self.cells()
        self.assertEqual([(k[0], k[1]) for k in rows],
                         [(f"good{{batch={b}}}", f"pairs{{train_rows={n}}}") for b in (2, 4) for n in (8, 16)])
        self.assertEqual(len({row["config_hash"] for row in rows.values()}), 4)

    def test_the_example_is_ten_methods_from_one_file(self):
        plan = program.run(["plan", os.path.join(program.SOURCE, "configs/grid/rates.cfg"), "--json"])
        cells = json.loads(self.expect(plan, 0).out)["cells"]
        self.assertEqual(len({cell["method"] for cell in cells}), 1 + 3 * 3)
        self.assertEqual(len({(cell["trainable_params"], cell["method"].split("{")[0]) for cell in cells}), 1 + 3)

    def test_a_setting_that_the_method_refuses_is_reported_once_with_its_place(self):
        vary = VARY.replace("[2, 4]", "[\n2, 0]")
        plan = program.run(["plan", self.world.grid(["good"], ["pairs"], ["none", vary], (1, 2))])
        self.expect(plan, 2, "tiny.cfg:6: r = 0 is outside 1 … 65536 (4 cells)")
        self.assertEqual(plan.out.count("is outside"), 1)
        plan = program.run(["plan", self.world.grid(["good"], ["pairs"], [VARY.replace(" r ", " rank ")])])
        self.expect(plan, 2, 'tiny.cfg:5: key "rank" is not known here')


if __name__ == "__main__":
    case.main()
