# SPDX-License-Identifier: Apache-2.0
"""Cells that plan accepts can run, and it reports others before anything is computed; and the models in configs/model, from
config.json alone: parameters, trainable parameters and FLOPs are those that transformers and PEFT count
(tests/golden/plan)."""
import json
import os
import re

import case
import program
import results
import world

GOLDEN = os.path.join(program.SOURCE, "tests/golden/plan")


def models():
    """Name → counts."""
    return json.loads(world.read(os.path.join(GOLDEN, "counts.json")))["models"]


class Counts(case.Case):
    def plan(self, names, methods, folder):
        grid = self.world.grid(names, ["demo-pairs"], methods)
        return program.run(["plan", grid, "--json"], env={"PB_MODELS": folder})

    def test_counts_are_those_of_transformers(self):
        expected = models()
        methods = list(next(iter(expected.values()))["trainable"])
        cells = json.loads(self.expect(self.plan(list(expected), methods, GOLDEN), 0).out)["cells"]
        self.assertEqual(len(cells), len(expected) * len(methods))
        for cell in cells:
            counts = expected[cell["model"]]
            with self.subTest(model=cell["model"], method=cell["method"]):
                self.assertIsNone(cell["error"])
                self.assertEqual(cell["model_params"], counts["parameters"])
                self.assertEqual(cell["trainable_params"], counts["trainable"][cell["method"]])
                # Printed with nine digits.
                self.assertAlmostEqual(cell["flops_base_t"], counts["forward_flops_512"] / 1e12, delta=1e-8)

    def test_a_grid_elsewhere_finds_the_configurations_of_the_program(self):
        grid = world.write(os.path.join(self.folder, "alone.cfg"),
                           'sweep = { name = "alone"; models = ["demo"]; datasets = ["demo-pairs"]; methods = ["none"]; seeds = [1]; };')
        self.expect(program.run(["plan", grid], env={"PB_CONFIGS": ""}), 0)

    def test_every_model_of_the_hub_has_its_counts(self):
        folder = os.path.join(program.SOURCE, "configs/model")
        named = {name[:-len(".cfg")] for name in os.listdir(folder) if b"hub " in world.read(os.path.join(folder, name))}
        self.assertEqual(named, set(json.loads(world.read(os.path.join(GOLDEN, "counts.json")))["models"]))

    def test_a_model_that_was_not_fetched_names_its_folder(self):
        result = self.plan(["smollm2-135m"], ["none"], self.folder)
        self.expect(result, 4, os.path.join(self.folder, "smollm2-135m"), "config.json")


class Origin(case.Case):
    def test_slots_filled_later_leave_the_results_valid(self):
        self.world.dataset()
        grid = self.world.grid([self.world.model()], ["pairs"], ["none"])
        self.run_grid(grid)
        shard = results.shards(self.output)[0]
        before = os.stat(shard).st_mtime_ns
        slots = f'hub = "a/b"; revision = "{"0" * 40}"; licence = "MIT"; sha256 = [ "config.json:{"0" * 64}" ];'
        world.write(self.world.path("model", "good.cfg"),
                    f'model = {{ path = "{self.world.good_model}"; {slots} }};\n')
        again = self.run_grid(grid)
        self.assertEqual(os.stat(shard).st_mtime_ns, before, f"the cell ran again\n{again}")


class Plan(case.Case):
    def plan(self, grid, code):
        result = self.expect(program.run(["plan", grid, "--json"]), code)
        return {(c["model"], c["dataset"], c["method"]): c for c in json.loads(result.out)["cells"]}

    def override(self, method, groups):
        return 'override = ( { when = { method = "%s"; }; set = { %s }; } );' % (method, groups)

    def test_an_override_of_files_and_limits_is_seen_per_cell(self):
        sweep = self.override("lora", 'dataset = { train_file = "/nonexistent"; };')
        grid = self.world.grid([self.world.model()], [self.world.dataset()], ["none", "lora", "ia3"], sweep=sweep)
        cells = self.plan(grid, 4)
        self.assertIn("/nonexistent", cells["good", "pairs", "lora"]["error"])
        for method in ("none", "ia3"):
            self.assertIsNone(cells["good", "pairs", method]["error"])
        self.run_grid(grid, 4, None, "--keep-going")
        self.assertEqual({key[2]: cell["status"] for key, cell in self.cells().items()},
                         {"none": "done", "lora": "failed", "ia3": "done"})
        sweep = self.override("lora", "data = { train_rows = 7; };")
        cells = self.plan(self.world.grid(["good"], ["pairs"], ["none", "lora"], sweep=sweep), 0)
        self.assertEqual([cells["good", "pairs", m]["train_rows"] for m in ("none", "lora")], [24, 7])

    def test_a_schedule_that_the_steps_do_not_hold_is_seen(self):
        """Both before anything is computed; 24 rows, of which 3 are for validation, make 6 steps of 4 rows."""
        rest = "train = { batch = 4; epochs = 1.0; };\ndata = { validation_share = 0.1; test_rows = 4; };\n"
        for tinit, code in ((5, 0), (6, 4)):
            sweep = self.override("adalora", "method = { tinit = %d; };" % tinit)
            grid = self.world.grid([self.world.model()], [self.world.dataset()], ["none", "adalora"], sweep=sweep, rest=rest)
            cells = self.plan(grid, code)
            self.assertIsNone(cells["good", "pairs", "none"]["error"])
            error = cells["good", "pairs", "adalora"]["error"]
            if code:
                self.assertIn("tiny.cfg:7: adalora: tinit 6 and tfinal 0 leave none of 6 steps", error)
        self.expect(program.run(["run", grid, "-o", self.output]), 2, "tiny.cfg:7: adalora: tinit 6", "nothing was run")

    def test_a_validation_that_leaves_no_rows_is_seen(self):
        rest = "data = { train_rows = 1; validation_share = 0.5; };\n"
        cells = self.plan(self.world.grid([self.world.model()], [self.world.dataset()], ["lora"], rest=rest), 4)
        self.assertIn("validation_share 0.5 of 1 training rows leaves none", cells["good", "pairs", "lora"]["error"])

    def seconds(self, methods, sweep="", rest="", **rows):
        grid = self.world.grid([self.world.model()], [self.world.dataset(**rows)], methods, sweep=sweep, rest=rest)
        # The rate is measured in every run: only values of the same table can be compared.
        return {key[2]: cell["seconds_modelled"] for key, cell in self.plan(grid, 0).items()}

    def test_seconds_depend_on_the_method(self):
        methods = ["none", "lora", "full", "prompt-tuning", "lntuning", "prefix-tuning"]
        # Where dropout acts, rows of a batch do not share what they begin with.
        s = self.seconds(methods, self.override("lora", "method = { dropout = 0.0; };"), "data = { validation_share = 0.0; };\n")
        self.assertLess(0, s["none"])
        for less, more in (("none", "lora"), ("lora", "full"), ("lntuning", "prompt-tuning"), ("lntuning", "lora"),
                           ("none", "lntuning")):
            self.assertLess(s[less], s[more], (less, more))
        # Adapters pass forward and backward; full also computes the gradients of the weights.
        self.assertAlmostEqual((s["full"] - s["none"]) / (s["lntuning"] - s["none"]), 1.5, delta=0.2)

    def test_the_backward_stops_at_the_lowest_trained_layer(self):
        """The same adapter in the last layer only: less work, though not in the forward pass."""
        last = self.layers() - 1
        sweep = self.override("low", 'method = { targets = [ "k_proj" ]; };').replace(" );", ", ") + (
            '{ when = { method = "high"; }; set = { method = { targets = [ "layers.%d.self_attn.k_proj" ]; }; }; } );' % last)
        for name in ("low", "high"):
            world.write(self.world.path("method", name + ".cfg"), 'method = { name = "lora"; };\n')
        s = self.seconds(["low", "high", "none"], sweep)
        self.assertLess(s["high"], s["low"])
        self.assertLess(s["none"], s["high"])

    def layers(self):
        with open(os.path.join(self.world.good_model, "config.json"), encoding="utf-8") as f:
            return json.load(f)["num_hidden_layers"]

    def test_seconds_follow_the_rows(self):
        once = self.world.rows["train"]
        self.world.dataset("twice", once * 2, self.world.rows["test"] * 2)
        longer = [[json.dumps(dict(json.loads(line), sentence1=json.loads(line)["sentence1"] * 4)).encode() + b"\n"
                   for line in self.world.rows[split]] for split in ("train", "test")]
        self.world.dataset("longer", *longer)
        grid = self.world.grid([self.world.model()], [self.world.dataset(), "twice", "longer"], ["lora"],
                               rest="train = { batch = 4; };\ndata = { validation_share = 0.0; };\n")
        s = {key[1]: cell["seconds_modelled"] for key, cell in self.plan(grid, 0).items()}
        self.assertAlmostEqual(s["twice"] / s["pairs"], 2, delta=0.01)
        self.assertEqual(list(s), sorted(s, key=s.get, reverse=True), "the longest cell comes first")
        self.assertGreater(s["longer"], 1.2 * s["pairs"])

    def test_the_test_generates_no_more_than_is_allowed(self):
        sweep = 'override = ( { when = { method = "short"; }; set = { eval = { max_new_tokens = 1; }; }; } );'
        for name in ("short", "free"):
            world.write(self.world.path("method", name + ".cfg"), 'method = { name = "none"; };\n')
        s = self.seconds(["short", "free"], sweep)
        self.assertLess(s["short"], s["free"])

    def test_a_missing_tokenizer_is_seen(self):
        self.world.copy_model("mute", without=("tokenizer.json",))
        grid = self.world.grid(["mute", self.world.model()], [self.world.dataset()], ["lora"])
        cells = self.plan(grid, 4)
        self.assertIn("tokenizer.json", cells["mute", "pairs", "lora"]["error"])
        self.assertIsNone(cells["good", "pairs", "lora"]["error"])

    def test_weights_are_not_needed(self):
        folder = self.world.copy_model("light")
        for name in os.listdir(folder):
            if name.endswith(".safetensors"):
                os.remove(os.path.join(folder, name))
        self.plan(self.world.grid(["light"], [self.world.dataset()], ["lora"]), 0)


class Screen(case.Case):
    """What is printed without --cells fits one screen; JSON has all of it."""
    def setUp(self):
        super().setUp()
        self.path = self.world.grid([self.world.model()], [self.world.dataset()], ["none", "lora", "ia3"], [1, 2])

    def plan(self, *more):
        return self.expect(program.run(["plan", self.path, "--gflops", "100", "--threads", "1", *more]), 0).out

    def test_cells_are_listed_on_request(self):
        plain, cells = self.plan(), self.plan("--cells")
        self.assertNotIn("TFLOPs/512", plain)
        self.assertIn("TFLOPs/512", cells)
        self.assertEqual(len(re.findall(r"(?m)^good +pairs ", cells)), 6)
        self.assertTrue(cells.endswith(plain))
        self.assertRegex(plain, r"(?m)^cells +none +lora +ia3 +all +time +memory GB$")
        self.assertRegex(plain, r"(?m)^good +2 +2 +2 +6 ")

    def test_times_are_those_of_the_processes_asked_for(self):
        plan = json.loads(self.plan("--json", "--processes", "2"))
        times = plan["walltimes"]
        self.assertEqual([t["processes"] for t in times], [1, 2, 4])
        self.assertEqual(plan["seconds_makespan_modelled"], times[1]["seconds_modelled"])
        self.assertAlmostEqual(times[0]["seconds_modelled"], plan["seconds_total_modelled"], delta=1e-6)
        self.assertAlmostEqual(sum(c["seconds_modelled"] for c in plan["cells"]), plan["seconds_total_modelled"], delta=1e-5)
        self.assertAlmostEqual(max(c["seconds_modelled"] for c in plan["cells"]), plan["seconds_largest_modelled"], delta=1e-6)
        for t in times:
            self.assertLessEqual(t["seconds_bound"], t["seconds_modelled"])
            self.assertLessEqual(t["seconds_modelled"], t["seconds_bound"] + plan["seconds_largest_modelled"])

    def test_the_lines_that_start_it_have_what_was_asked_for(self):
        plan = json.loads(self.plan("--json", "--processes", "6"))
        self.assertRegex(plan["mpirun"], r"^mpirun -n 6 .*peftbench run .*tiny\.cfg --threads 1$")
        nodes, tasks = map(int, re.search(r"--nodes=(\d+) --ntasks-per-node=(\d+)", plan["sbatch"]).groups())
        self.assertGreaterEqual(nodes * tasks, 6)
        self.assertLess((nodes - 1) * tasks, 6)
        for line in (plan["mpirun"], plan["sbatch"]):
            self.assertIn(line, self.plan("--processes", "6"))

    def test_processes_are_placed_by_the_topology(self):
        def lines(node, threads):
            result = program.run(["plan", self.path, "--gflops", "100", "--threads", str(threads), "--processes", "4"], env={"HWLOC_SYNTHETIC": node})
            return self.expect(result, 0).out
        if "node " not in self.plan():
            case.skip("built without hwloc")
        for node, threads, words in (("pack:2 numa:2 core:8 pu:2", 8, ["ppr:1:numa:PE=8 ", "32 cores here, in 2 sockets and 4 NUMA domains: one process for each NUMA domain has --threads 8"]),
                                     ("pack:2 [numa] core:8 pu:2", 8, ["ppr:1:numa:PE=8 ", "16 cores here, in 2 sockets and 2 NUMA domains"]),
                                     ("pack:2 [numa] core:8 pu:2", 4, ["slot:PE=4 ", "--nodes=1 --ntasks-per-node=4"]),
                                     ("pack:1 [numa] core:8 pu:1", 8, ["slot:PE=8 ", "8 cores here, in one NUMA domain", "--nodes=4 --ntasks-per-node=1"])):
            with self.subTest(node=node, threads=threads):
                text = lines(node, threads)
                for word in words:
                    self.assertIn(word, text)

    def test_the_sums_of_models_are_those_of_cells(self):
        plan = json.loads(self.plan("--json"))
        (model,) = plan["models"]
        self.assertEqual((model["model"], model["cells"]), ("good", 6))
        self.assertEqual(model["memory_gb_modelled"], max(c["memory_gb_modelled"] for c in plan["cells"]))
        self.assertGreaterEqual(plan["disk_files_modelled"], 6)
        self.assertEqual((plan["rate"], plan["gflops"]), ("stated", 100))


class Fitted(case.Case):
    """--from FILE.h5: rates of work are those of finished cells."""
    def test_rates_are_fitted_to_the_cells_of_a_file(self):
        grid = self.world.grid([self.world.model()], [self.world.dataset()], ["none", "lora", "ia3", "majority"], [1, 2])
        self.run_grid(grid)
        path = os.path.join(self.output, "tiny.h5")
        plans = [json.loads(self.expect(program.run(["plan", grid, "--json", "--from", path]), 0).out) for _ in range(2)]
        self.assertEqual(plans[0], plans[1], "nothing is measured")
        plan = plans[0]
        self.assertEqual((plan["rate"], plan["fit"]["cells"], plan["fit"]["file"]), ("fitted", 8, path))
        for cell in plan["cells"]:
            seconds = sum(amount * plan["fit"]["seconds_per_unit"][kind] for kind, amount in cell["work"].items())
            self.assertAlmostEqual(cell["seconds_modelled"], seconds, delta=1e-5 * seconds + 1e-6)
        text = self.expect(program.run(["plan", grid, "--from", path, "--width", "400"]), 0).out
        self.assertRegex(text, r"(?m)^rate +fitted to 8 cells of .*tiny\.h5, whose seconds it misses by \d+ % \(root mean square\), ")

    def test_work_is_about_what_a_run_counts(self):
        rest = "train = { batch = 4; epochs = 2.0; };\ndata = { test_rows = 8; };\n"
        grid = self.world.grid([self.world.model()], [self.world.dataset()], ["none", "lora", "ia3", "full", "prompt-tuning"], rest=rest)
        self.run_grid(grid)
        counted = {key[2]: float(cell["flops_train"]) for key, cell in self.cells().items()}
        for cell in json.loads(self.expect(program.run(["plan", grid, "--json", "--gflops", "100"]), 0).out)["cells"]:
            with self.subTest(cell["method"]):
                if cell["method"] == "none":
                    self.assertEqual((cell["work"]["train_flops"], counted["none"]), (0, 0))
                else:
                    ratio = cell["work"]["train_flops"] / counted[cell["method"]]
                    self.assertTrue(0.8 < ratio < 1.25, ratio)

    def test_files_that_hold_no_times_are_refused(self):
        self.world.model()
        rest = 'train = { learning_rate = 1e3; weight_decay = 1e3; batch = 2; max_steps = 12; };\ndata = { test_rows = 4; };\n'
        grid = self.world.grid(["good"], [self.world.dataset()], ["full"], rest=rest)
        self.run_grid(grid, 4)
        path = os.path.join(self.output, "tiny.h5")
        self.expect(program.run(["plan", grid, "--from", path]), 2, path, "no finished cell")
        self.expect(program.run(["plan", grid, "--from", path, "--gflops", "100"]), 2, "--gflops and --from")
        self.expect(program.run(["plan", grid, "--from", grid]), 1, grid)
        self.expect(program.run(["plan", grid, "--from", "nothing.h5"]), 1, "nothing.h5")


class WithoutData(case.Case):
    """Where the files of a data set are not there, a plan takes its group `typical`; a run needs them."""
    MODELS = ["llama-3-8b-instruct", "llama-3.2-1b-instruct", "mistral-7b-instruct-v0.3", "gemma-3-1b-it", "qwen3-1.7b"]
    METHODS = ["none", "lora", "ia3", "lntuning", "prompt-tuning", "prefix-tuning", "p-tuning"]

    def sets(self):
        """The 27 of the paper."""
        return re.findall(r'"([a-z0-9_]+)"', re.search(r"datasets = \[(.*?)\]", world.read(
            os.path.join(program.SOURCE, "configs/grid/all-datasets.cfg")).decode(), re.S).group(1))

    def plan(self, grid, *more, code=0):
        folder = {"PB_MODELS": GOLDEN, "PB_DATA": os.path.join(self.folder, "nothing")}
        return self.expect(program.run(["plan", grid, "--gflops", "1000", *more], env=folder), code)

    def test_the_grid_of_the_paper_needs_config_json_only(self):
        grid = self.world.grid(self.MODELS, self.sets(), self.METHODS, [1, 2, 3, 4, 5], rest="train = { epochs = 20.0; };\n")
        cells = json.loads(self.plan(grid, "--json").out)["cells"]
        self.assertEqual(len(cells), 5 * 27 * 7 * 5)
        self.assertEqual({cell["rows_from"] for cell in cells}, {"assumed"})
        rte = next(cell for cell in cells if cell["dataset"] == "rte")
        self.assertEqual((rte["train_rows"], rte["test_rows"]), (2490, 277))
        self.assertLess(0, min(cell["seconds_modelled"] for cell in cells))
        screen = self.plan(grid).out.splitlines()
        self.assertLess(len(screen), 25)
        self.assertTrue(any(re.match("assumed .* 27 data sets", line) for line in screen), screen)

    def one(self, typical, more="", data=""):
        text = ('dataset = { name = "gone"; train_file = "gone-train.jsonl"; test_file = "gone-test.jsonl"; columns = [ "a:string", "label:label" ];'
                ' labels = [ "x", "y" ]; instruction = "What is it?"; lines = [ "{a}" ]; %s %s };\n' % (typical, more))
        world.write(self.world.path("dataset", "gone.cfg"), text)
        return self.world.grid([self.world.model()], ["gone"], ["lora"], rest=data)

    def test_a_limit_of_rows_cuts_what_is_assumed(self):
        typical = "typical = { train_rows = 100; test_rows = 50; tokens = 30; answer_tokens = 2; };"
        (cell,) = json.loads(self.plan(self.one(typical, data="data = { train_rows = 70; test_rows = 60; };\n"), "--json").out)["cells"]
        self.assertEqual((cell["train_rows"], cell["test_rows"], cell["prompt_tokens"], cell["answer_tokens"]), (70, 50, 30, 2))

    def test_a_run_does_not_assume(self):
        typical = "typical = { train_rows = 100; test_rows = 50; tokens = 30; answer_tokens = 2; };"
        self.expect(program.run(["run", self.one(typical), "-o", self.output]), 2, "gone-train.jsonl", "nothing was run")

    def test_files_are_read_where_they_are(self):
        self.world.dataset()
        path = self.world.path("dataset", "pairs.cfg")
        text = world.read(path).decode()
        at = text.rindex("};")
        world.write(path, text[:at] + "typical = { train_rows = 1000; test_rows = 500; tokens = 30; answer_tokens = 2; };" + text[at:])
        (cell,) = json.loads(self.plan(self.world.grid([self.world.model()], ["pairs"], ["lora"]), "--json").out)["cells"]
        self.assertEqual((cell["train_rows"], cell["rows_from"]), (24, "tokens"))
        world.write(path, re.sub(r'(test_file *= *")[^"]*', r"\1gone.jsonl", text[:at] + "typical = { train_rows = 9; test_rows = 9; tokens = 9; answer_tokens = 9; };" + text[at:]))
        self.plan(self.world.grid(["good"], ["pairs"], ["lora"]), code=4)

    def test_what_is_typical_is_checked(self):
        for typical, words in (("", ["gone-train.jsonl"]),
                               ("typical = { train_rows = 100; test_rows = 50; tokens = 30; };", ["typical needs all of", "answer_tokens"]),
                               ("typical = { };", ["typical needs all of"]),
                               ("typical = { train_rows = -1; };", ["gone.cfg:1", "train_rows = -1 is outside"]),
                               ("typical = { tokens = 0; };", ["tokens = 0 is outside"]),
                               ('typical = { tokens = "many"; };', ["tokens", "text"]),
                               ('typical = { rows = 4; };', ["rows", "train_rows"]),
                               ('typical = "large";', ["typical"])):
            with self.subTest(typical):
                grid = self.one(typical)
                result = program.run(["plan", grid])
                self.assertIn(result.code, (2, 4), str(result))
                for word in words:
                    self.assertIn(word, result.out + result.err)


if __name__ == "__main__":
    case.main()
