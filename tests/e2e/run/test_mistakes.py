# SPDX-License-Identifier: Apache-2.0
"""Checks before the first cell: all errors of a grid are listed at once, by plan and by run in the same
words, and nothing is run until they are fixed or the other cells are requested."""
import json
import os
import re

import case
import program
import results
import world


class Mistakes(case.Case):
    def setUp(self):
        super().setUp()
        self.world.model()
        self.world.dataset()

    def changed_model(self, name, change):
        folder = self.world.copy_model(name, ["config.json"])
        config = json.loads(world.read(os.path.join(self.world.good_model, "config.json")))
        change(config)
        world.write(os.path.join(folder, "config.json"), json.dumps(config))
        return name

    def bad_parts(self):
        """Names of bad models, data sets and methods, and what their messages must contain."""
        self.world.copy_model("mute", ["tokenizer.json"])
        self.changed_model("gptq", lambda c: c.update(quantization_config={"quant_method": "gptq", "bits": 4}))
        self.world.model("talkative")
        path = self.world.path("model/talkative.cfg")
        world.write(path, world.read(path).decode().replace("};", ' chat = "lama3"; };'))
        self.world.dataset("column", train=[b'{"sentence1": "a", "label": 0}\n'] * 3)
        self.world.dataset("gone")
        os.remove(self.world.path("data/gone/test.jsonl"))
        self.world.dataset("measured")
        path = self.world.path("dataset/measured.cfg")
        world.write(path, world.read(path).decode().replace('"f1"', '"acuracy"'))
        world.write(self.world.path("method/aim.cfg"), 'method = { name = "lora"; targets = [ "qkv_proj" ]; };\n')
        world.write(self.world.path("method/typo.cfg"), 'method = { name = "lora"; rang = 4; };\n')
        return {"mute": ["weights/mute", "tokenizer.json"], "gptq": ["weights/gptq/config.json", "quantization_config"],
                "talkative": ["talkative.cfg:1", '"lama3"', 'did you mean "llama3"', "qwen3"]}, {
                    "column": ["data/column/train.jsonl:1", "sentence2"], "gone": ["data/gone/test.jsonl"],
                    "measured": ["measured.cfg:2", '"acuracy"']}, {
                        "aim": ["qkv_proj"], "typo": ["typo.cfg:1", "rang"]}

    def errors(self, result):
        return [line.partition("error: ")[2] for line in result.err.splitlines() if "error: " in line]

    def test_all_are_listed_at_once_and_nothing_is_run(self):
        models, datasets, methods = self.bad_parts()
        grid = self.world.grid(["good", *models], ["pairs", *datasets], ["none", *methods])
        for ranks in (None, 2):
            with self.subTest(ranks=ranks):
                result = self.run_grid(grid, 2, ranks=ranks)
                self.assertEqual(result.out, "")
                lines = self.errors(result)
                self.assertEqual(len(lines), 9, str(result))
                for texts in (*models.values(), *datasets.values(), *methods.values()):
                    self.assertTrue([line for line in lines if all(text in line for text in texts)], (texts, lines))
                self.assertIn("cells cannot run because of the 8 errors above", lines[-1])
                self.assertIn("47 of 48 cells", lines[-1])
                self.assertIn("--keep-going", lines[-1])
                self.assertFalse(os.path.exists(self.output), "not even a folder was made")

    def test_plan_says_the_same_in_the_same_words(self):
        models, datasets, methods = self.bad_parts()
        grid = self.world.grid(["good", *models], ["pairs", *datasets], ["none", *methods])
        said = {re.sub(r" \(\d+ cells?\)$", "", line) for line in self.errors(self.run_grid(grid, 2))[:-1]}
        planned = json.loads(self.expect(program.run(["plan", grid, "--json"]), 2).out)
        self.assertEqual({m["message"] for m in planned["mistakes"]}, said)
        self.assertEqual(planned["bad_cells"], 47)
        text = self.expect(program.run(["plan", grid]), 2).out
        for message in said:
            self.assertEqual(text.count(message), 1)

    def test_one_mistake_is_one_error(self):
        grid = self.world.grid(["good"], ["pairs"], ["none", "lora"], rest='train = { bach = 3; };\n')
        lines = self.errors(self.run_grid(grid, 2, ranks=2))
        self.assertEqual(len(lines), 1)
        self.assertIn("2 of 2 cells", lines[0])
        self.assertNotIn("--keep-going", lines[0], "no cell is left that could run")

    def test_names_without_a_file_are_listed_at_once(self):
        grid = self.world.grid(["god", "good"], ["pears"], ["lorra", "none", "lara"])
        lines = self.errors(self.run_grid(grid, 2, ranks=2))
        self.assertEqual(len(lines), 5)
        for name in ("god", "pears", "lorra", "lara", "the 4 errors above"):
            self.assertTrue([line for line in lines if name in line], name)

    def test_the_other_cells_run_when_asked(self):
        models, datasets, methods = self.bad_parts()
        grid = self.world.grid(["good", "mute"], ["pairs", "column"], ["none", "typo"])
        result = self.run_grid(grid, 4, None, "--keep-going", ranks=2)
        self.assertEqual(len(re.findall(r"warn: .*will be recorded as failed", result.err)), 3, result.err)
        for (model, dataset, method, _), cell in self.cells().items():
            with self.subTest(model=model, dataset=dataset, method=method):
                good = (model, dataset, method) == ("good", "pairs", "none")
                self.assertEqual(cell["status"], "done" if good else "failed")
                if not good:
                    reasons = [texts for name, texts in {**models, **datasets, **methods}.items()
                               if name in (model, dataset, method)]
                    self.assertTrue([t for t in reasons if all(text in cell["message"] for text in t)], cell["message"])
        again = self.run_grid(grid, 2)
        self.assertIn("--keep-going", again.err)
        self.assertEqual(len(results.shards(self.output)), 8, "nothing of what is there is lost")

    def test_no_cell_that_can_run_is_a_mistake_all_the_same(self):
        self.bad_parts()
        self.run_grid(self.world.grid(["mute"], ["pairs"], ["none"]), 2, None, "--keep-going")
        self.assertFalse(os.path.exists(self.output))

    def test_weights_are_asked_for_by_run(self):
        self.world.copy_model("light", ["model.safetensors"])
        grid = self.world.grid(["light"], ["pairs"], ["none"])
        self.expect(program.run(["plan", grid]), 0)
        self.run_grid(grid, 2)
        folder = self.world.copy_model("cut", ["model.safetensors"])
        weights = world.read(os.path.join(self.world.good_model, "model.safetensors"))
        path = world.write(os.path.join(folder, "model.safetensors"), weights[:-1])
        grid = self.world.grid(["cut"], ["pairs"], ["none"])
        self.expect(program.run(["plan", grid]), 4, path)
        self.assertIn(path, self.run_grid(grid, 2, ranks=2).err)

    def test_weights_that_are_found_bad_when_they_are_read(self):
        """Valid headers, but an invalid value: every such model is named before a cell runs."""
        good = world.read(os.path.join(self.world.good_model, "model.safetensors"))
        for name in ("hot", "cold"):
            folder = self.world.copy_model(name, ["model.safetensors"])
            world.write(os.path.join(folder, "model.safetensors"), good[:-4] + b"\0\0\xc0\x7f")
        result = self.run_grid(self.world.grid(["hot", "good", "cold"], ["pairs"], ["none"]), 2, ranks=2)
        self.assertEqual(len(self.errors(result)), 3)
        self.run_grid(self.world.grid(["hot", "good", "cold"], ["pairs"], ["none"]), 4, None, "--keep-going")


if __name__ == "__main__":
    case.main()
