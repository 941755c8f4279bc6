# SPDX-License-Identifier: Apache-2.0
"""Token rows of train and generate in every form and with every key that tools write, and arrays instead of lines."""
import json
import os

import case
import program
import world

METHOD = 'method = { name = "lora"; };\n'


class TokenRows(case.Case):
    def setUp(self):
        super().setUp()
        self.method = world.write(os.path.join(self.folder, "lora.cfg"), METHOD)

    def train(self, content, code=0):
        text = content if isinstance(content, str) else "".join(json.dumps(row) + "\n" for row in content)
        path = world.write(os.path.join(self.folder, "rows.jsonl"), text)
        line = ["train", "--model", self.world.good_model, "--method", self.method, "--batches", path, "--steps", "2", "--batch", "2"]
        return self.expect(program.run(line), code)

    def steps(self, content):
        """The output of every step, without its time."""
        steps = [json.loads(line) for line in self.train(content).out.splitlines()]
        return [{k: v for k, v in step.items() if k != "seconds"} for step in steps]

    def generate(self, rows):
        path = world.write(os.path.join(self.folder, "ids.jsonl"), "".join(json.dumps(row) + "\n" for row in rows))
        return self.expect(program.run(["generate", "--model", self.world.good_model, "--ids-file", path, "--max-new-tokens", "4"]), 0).out

    plain = [{"input_ids": [5, 6, 7, 8], "labels": [-100, -100, 7, 8]}, {"input_ids": [9, 4, 3], "labels": [-100, 4, 3]}]

    def padded(self, left, right, **more):
        rows = []
        for row in self.plain:
            n = len(row["input_ids"])
            rows.append({"input_ids": [0] * left + row["input_ids"] + [0] * right,
                         "labels": [-100] * left + row["labels"] + [-100] * right,
                         "attention_mask": [0] * left + [1] * n + [0] * right, **more})
        return rows

    def test_padding_that_the_mask_leaves_out_changes_nothing(self):
        wanted = self.steps(self.plain)
        for left, right in ((0, 0), (3, 0), (0, 3), (2, 5)):
            with self.subTest(left=left, right=right):
                self.assertEqual(self.steps(self.padded(left, right)), wanted)
                self.assertEqual(self.generate(self.padded(left, right)), self.generate(self.plain))

    def test_arrays_and_objects_over_several_lines_are_read(self):
        wanted = self.steps(self.plain)
        for text in (json.dumps(self.plain), json.dumps(self.plain, indent=1), "\n".join(json.dumps(r, indent=2) for r in self.plain),
                     " ".join(map(json.dumps, self.plain)), "\n\n".join(map(json.dumps, self.plain)) + "\r\n"):
            with self.subTest(text[:20]):
                self.assertEqual(self.steps(text), wanted)

    def test_what_cannot_be_honoured_is_refused_by_name(self):
        row = {"input_ids": [5, 6, 7, 8], "labels": [-100, -100, 7, 8]}
        for more, text in (({"attention_mask": [1, 0, 1, 1]}, '"attention_mask"[1] is 0 between tokens'),
                           ({"attention_mask": [0, 0, 0, 0]}, '"attention_mask" leaves no token'),
                           ({"attention_mask": [1, 1, 1]}, '"attention_mask" must be a list of 4 numbers'),
                           ({"attention_mask": [1, 1, 1, 2]}, '"attention_mask"[3] is neither 0 nor 1'),
                           ({"attention_mask": [1, 1, 1, 0.5]}, '"attention_mask"[3] is not a whole number'),
                           ({"attention_mask": [True] * 4}, '"attention_mask"[0] is not a whole number'),
                           ({"attention_mask": "1111"}, '"attention_mask" must be a list'),
                           ({"attention_mask": [1, 1, 1, 0]}, '"labels"[3] is trained where "attention_mask" is 0'),
                           ({"position_ids": [4, 5, 6, 7]}, '"position_ids"[0] is not 0'),
                           ({"position_ids": [0, 1]}, '"position_ids" must be a list of 4'),
                           ({"token_type_ids": [0, 0, 1, 1]}, '"token_type_ids"[2] is not 0'),
                           ({"labels": [7, 8]}, '"labels" must be a list of 4'), ({"labels": None}, '"labels" must be a list of 4')):
            with self.subTest(more):
                result = self.train([self.plain[0], {**row, **more}], 1)
                self.assertIn("rows.jsonl:2: " + text, result.err)
        self.assertIn("rows.jsonl:1: row 2 of the array: ", self.train(json.dumps([row, {**row, "labels": [1]}]), 1).err)

    def test_keys_that_change_nothing_are_taken_and_unknown_ones_are_reported_once(self):
        wanted = self.steps(self.plain)
        rows = [{**row, "position_ids": list(range(len(row["input_ids"]))), "token_type_ids": [0] * len(row["input_ids"])}
                for row in self.plain]
        self.assertEqual(self.steps(rows), wanted)
        self.assertNotIn("is not read", self.train(rows).err)
        result = self.train([{**row, "weight": 2, "text": "a"} for row in self.plain])
        self.assertEqual(result.err.count('the key "weight" of token rows is ignored'), 1)
        self.assertEqual(result.err.count('the key "text" of token rows is ignored'), 1)


class Arrays(case.Case):
    def test_lines_are_expected_and_the_remedy_is_named(self):
        os.environ.setdefault("PB_CONFIGS", os.path.join(program.SOURCE, "configs"))
        for arguments in (["score", "--dataset", "sst2", "--protocol", "corrected"],
                          ["prompt", "--dataset", "sst2", "--protocol", "corrected", "--template", "none"],
                          ["tokenize", "--model", self.world.good_model]):
            with self.subTest(arguments[0]):
                row = {"prediction": "a", "label": "b"}
                self.expect(program.run(arguments, given=json.dumps([row])), 1, "standard input:1: ", "jq -c '.[]'")
                self.expect(program.run(arguments, given=json.dumps([row], indent=1)), 1, "standard input:1: ", "jq -c '.[]'")
                self.expect(program.run(arguments, given=json.dumps(row, indent=1)), 1, "standard input:1: ", "jq -c .")

    def test_files_of_rows_are_read_by_their_first_character(self):
        rows = [json.loads(line) for line in self.world.rows["train"]]
        self.world.dataset("array", train=[json.dumps(rows, indent=1).encode()], test=[json.dumps(rows[:4]).encode()])
        self.world.dataset("lines", train=[json.dumps(r).encode() + b"\n" for r in rows], test=[json.dumps(r).encode() + b"\n" for r in rows[:4]])
        found = {}
        for name in ("array", "lines"):
            config = self.world.path("dataset", name + ".cfg")
            found[name] = json.loads(self.expect(program.run(["data", config, "--json"]), 0).out)
        self.assertEqual(found["array"]["train"]["form"], "JSON array")
        self.assertEqual(found["array"]["train"]["examples"][2]["user"], found["lines"]["train"]["examples"][2]["user"])
        self.assertEqual(found["array"]["train"]["labels"], found["lines"]["train"]["labels"])
        config = self.world.path("dataset", "array.cfg")
        self.expect(program.run(["data", config, "--set", 'dataset.format="jsonl"']), 1, ".jsonl is a JSON array",
                    'dataset.format = "json"')
        self.world.dataset("several", train=[json.dumps(rows[0], indent=1).encode()])
        self.expect(program.run(["data", self.world.path("dataset", "several.cfg")]), 1, "train.jsonl:1: invalid JSON", "jq -c .")


if __name__ == "__main__":
    case.main()
