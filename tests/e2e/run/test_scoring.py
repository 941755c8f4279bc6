# SPDX-License-Identifier: Apache-2.0
"""How a cell makes its predictions: baselines, likelihood; and the tokens that are kept for the next cell."""
import collections
import glob
import json
import math
import os
import re
import struct
import unittest

import case
import program
import results
import world


def column(path, cell, name):
    """A column of a cell's predictions, as texts."""
    text = results.h5dump("-y", "-w", "0", "-d", f"/cells/{cell}/predictions/{name}", path).stdout.decode()
    body = re.search(r"DATA \{(.*)\}\s*\}", text, flags=re.S)[1].partition("ATTRIBUTE")[0]
    return re.findall(r'"([^"]*)"', body) or re.findall(r"-?[\d.]+", body)


def logits(path):
    """Rows of the tensor `logits`."""
    header, data = world.split_safetensors(world.read(path))
    rows, width = header["logits"]["shape"]
    values = struct.unpack(f"<{rows * width}f", data[:4 * rows * width])
    return [values[i * width:(i + 1) * width] for i in range(rows)]


class Baselines(case.Case):
    def test_they_answer_from_the_training_answers_alone(self):
        labels = [json.loads(line)["label"] for line in self.world.rows["train"]]
        names = ["entailment", "not_entailment"]
        grid = self.world.grid([self.world.model()], [self.world.dataset()], ["majority", "all-positive", "random"], (1, 2),
                               rest="data = { validation_share = 0.0; };\n")
        self.run_grid(grid)
        path, cells = os.path.join(self.output, "tiny.h5"), self.cells()
        most = names[max((0, 1), key=lambda k: (labels.count(k), -k))]
        for seed in (1, 2):
            self.assertEqual(set(column(path, f"good/pairs/majority/{seed}", "prediction")), {most})
            self.assertEqual(set(column(path, f"good/pairs/all-positive/{seed}", "prediction")), {names[1]})
            self.assertLessEqual(set(column(path, f"good/pairs/random/{seed}", "prediction")), set(names))
        self.assertNotEqual(*(column(path, f"good/pairs/random/{seed}", "prediction") for seed in (1, 2)))
        for cell in cells.values():
            self.assertEqual((cell["status"], cell["trainable_params"], cell["invalid_share"]), ("done", "0", "0"))

    def test_data_sets_that_a_baseline_is_not_for_are_reported_before_anything_runs(self):
        self.world.model(), self.world.dataset()
        path = self.world.path("dataset/three.cfg")
        self.world.dataset("three")
        world.write(path, world.read(path).decode().replace('"entailment", ', '"entailment", "neutral", ').replace("f1", "macro_f1"))
        for method, dataset, *words in (("all-positive", "three", "method all-positive is for 2 classes, but data set three has 3"),
                                       ("mean", "pairs", "method mean needs answers that are single numbers", "those of data set pairs are not")):
            grid = self.world.grid(["good"], [dataset], [method])
            self.expect(program.run(["plan", grid]), 2, *words, "sweep.exclude")


class Savings(case.Case):
    def test_predictions_do_not_depend_on_what_is_saved(self):
        """Neither on which rows are predicted together: they stay in the order of the data set."""
        self.world.model(), self.world.dataset()
        names = ["padding", "prefix", "head", "last", "lowest", "cache", "leaving", "drafts", "order"]
        for scoring in ("generation", "likelihood"):
            expected = None
            for number, without in enumerate([[], names, ["order"]]):
                grid = self.world.grid(["good"], ["pairs"], ["none", "lora"], rest="eval = { batch = 3; };\n")
                output = os.path.join(self.folder, f"{scoring}{number}")
                self.run_grid(grid, 0, output, "--set", f"eval.scoring={scoring}", "--set", f"eval.without={json.dumps(without)}")
                path = os.path.join(output, "tiny.h5")
                predictions = [column(path, f"good/pairs/{method}/1", name)
                               for method in ("none", "lora") for name in ("row", "prediction", "label")]
                expected = expected or predictions
                self.assertEqual(predictions, expected, f"{scoring} without {without}")

    def test_an_unknown_saving_is_refused_before_anything_runs(self):
        self.world.model(), self.world.dataset()
        grid = self.world.grid(["good"], ["pairs"], ["none"], rest='eval = { without = ["prefix", "heads"]; };\n')
        self.expect(program.run(["plan", grid]), 2, "eval.without", '"heads" is unknown', "padding, prefix")


class Likelihood(case.Case):
    def test_the_class_is_the_one_whose_tokens_are_likeliest(self):
        """Recomputed from the program's logits, one prompt followed by one label at a time."""
        self.world.model(), self.world.dataset()
        grid = self.world.grid(["good"], ["pairs"], ["none"], rest="eval = { batch = 3; };\n")
        self.run_grid(grid, 0, self.output, "--set", "eval.scoring=likelihood")
        predictions = column(os.path.join(self.output, "tiny.h5"), "good/pairs/none/1", "prediction")
        names = ["entailment", "not_entailment"]
        config = self.world.path("dataset/pairs.cfg")
        rows = b"".join(self.world.rows["test"]).decode()
        shown = program.run(["prompt", "--dataset", config, "--protocol", "corrected", "--template", "none", "--split", "test",
                             "--model", self.world.good_model], given=rows)
        prompts = [json.loads(line)["prompt"] for line in self.expect(shown, 0).out.splitlines()]
        self.assertEqual(len(predictions), len(prompts))
        differences = 0
        for prompt, prediction in zip(prompts, predictions):
            sums = [self.log_likelihood(prompt, name) for name in names]
            self.assertEqual(prediction, names[sums.index(max(sums))], sums)
            differences += abs(sums[0] - sums[1]) > 0.1
        self.assertGreater(differences, len(prompts) // 2, "the two classes can be told apart")

    def tokens(self, text):
        done = program.run(["tokenize", "--model", self.world.good_model], given=json.dumps({"text": text}) + "\n")
        return json.loads(self.expect(done, 0).out)["ids"]

    def log_likelihood(self, prompt, name):
        begin, answer = self.tokens(prompt), self.tokens(name)
        file = os.path.join(self.folder, "logits.safetensors")
        ids = ",".join(map(str, begin + answer))
        self.expect(program.run(["logits", "--model", self.world.good_model, "--ids", ids, "-o", file]), 0)
        rows = logits(file)
        total = 0.0
        for k, token in enumerate(answer):
            row = rows[len(begin) + k - 1]
            most = max(row)
            total += row[token] - most - math.log(sum(math.exp(x - most) for x in row))
        return total

    def test_methods_with_rows_before_the_prompt_are_scored_too(self):
        self.world.model(), self.world.dataset()
        rest = "eval = { scoring = \"likelihood\"; };\ntrain = { batch = 4; max_steps = 3; };\n"
        grid = self.world.grid(["good"], ["pairs"], ["lora", "prompt-tuning", "prefix-tuning"], rest=rest)
        self.run_grid(grid)
        for cell in self.cells().values():
            self.assertEqual((cell["status"], cell["invalid_share"]), ("done", "0"))

    def test_a_set_without_classes_has_no_likelihood(self):
        self.world.model(), self.world.dataset()
        path = self.world.path("dataset/pairs.cfg")
        text = world.read(path).decode().replace('labels = [ "entailment", "not_entailment" ];', "").replace(
            '"label:label" ]', '"label:int" ]').replace('metric = "f1"', 'metric = "exact_match"')
        world.write(path, text)
        grid = self.world.grid(["good"], ["pairs"], ["none"])
        self.expect(program.run(["plan", grid, "--set", "eval.scoring=likelihood"]), 2,
                    "eval.scoring", "data set pairs has none", "sweep.override")


class Tokens(case.Case):
    def files(self, output=None):
        return sorted(glob.glob(os.path.join(output or self.output, "tokens", "*.tokens")))

    def make_grid(self):
        return self.world.grid([self.world.model()], [self.world.dataset(), self.world.dataset("more", test=self.world.rows["train"][:8])],
                               ["none", "lora", "majority"])

    def test_they_are_made_once_and_change_no_result(self):
        grid, digests = self.make_grid(), []
        for ranks, name, more in ((None, "one", []), (3, "three", []), (2, "none", ["--no-cache"])):
            output = os.path.join(self.folder, name)
            self.run_grid(grid, 0, output, *more, ranks=ranks)
            digests.append(self.digest(os.path.join(output, "tiny.h5")))
            self.assertEqual(len(self.files(output)), 0 if more else 4)
        self.assertEqual(len(set(digests)), 1, digests)
        again = os.path.join(self.folder, "again")
        times = {f: os.stat(f).st_mtime_ns for f in self.files(os.path.join(self.folder, "one"))}
        env = {"PB_CACHE": os.path.join(self.folder, "one", "tokens")}
        self.run_grid(grid, 0, again, env=env)
        self.assertEqual(self.digest(os.path.join(again, "tiny.h5")), digests[0])
        self.assertEqual(times, {f: os.stat(f).st_mtime_ns for f in self.files(os.path.join(self.folder, "one"))})
        self.assertFalse(os.path.exists(os.path.join(again, "tokens")))

    def test_damaged_ones_are_made_again(self):
        grid = self.make_grid()
        self.run_grid(grid)
        before = self.digest(os.path.join(self.output, "tiny.h5"))
        for k, file in enumerate(self.files()):
            data = bytearray(world.read(file))
            if k % 2:
                data[len(data) // 2] ^= 1
            else:
                del data[len(data) // 3:]
            world.write(file, bytes(data))
        result = self.run_grid(grid, 0, self.output, "--fresh")
        self.assertEqual(result.err.count("it is made again"), 4)
        self.assertEqual(self.digest(os.path.join(self.output, "tiny.h5")), before)

    def test_training_texts_that_are_tested_are_left_out_and_counted(self):
        rows = self.world.rows
        self.world.dataset("leak", train=rows["train"] + rows["test"][:3])
        grid = self.world.grid([self.world.model()], ["leak"], ["lora"], rest="train = { max_steps = 2; };\n")
        result = self.run_grid(grid)
        self.assertIn("the texts of 3 samples are in the test file as well; such samples are left out", result.err)
        cell = self.cells()["good", "leak", "lora", "1"]
        self.assertEqual(cell["rows_overlap"], "3")
        self.assertEqual(int(cell["rows_train"]) + int(cell["rows_validation"]), len(rows["train"]))


class AllDatasets(case.Case):
    @unittest.skipUnless(os.path.isdir(os.path.join(program.SHARED, "data")), "shared data are absent")
    def test_every_data_set_trains_is_evaluated_and_has_its_row(self):
        """With fewer rows and steps than the grid has."""
        grid = os.path.join(program.SOURCE, "configs/grid/all-datasets.cfg")
        fewer = ("data.train_rows=4", "data.test_rows=2", "train.max_steps=1", "eval.batch=2", "eval.max_new_tokens=4")
        result = self.run_grid(grid, 0, None, *(word for key in fewer for word in ("--set", key)), ranks=2)
        cells = self.cells("all-datasets")
        methods = collections.defaultdict(set)
        for (_, dataset, method, _), cell in cells.items():
            self.assertEqual((cell["status"], cell["valid"]), ("done", "TRUE"), (dataset, method, cell["message"]))
            methods[dataset].add(method)
        self.assertEqual(len(methods), 27)
        for dataset, names in methods.items():
            self.assertLessEqual({"lora", "ia3", "lntuning", "none", "majority", "random"}, names, dataset)
            self.assertRegex(result.out, rf"(?m)^{dataset} ")


if __name__ == "__main__":
    case.main()
