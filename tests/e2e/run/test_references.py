# SPDX-License-Identifier: Apache-2.0
"""Answers that no prediction can be scored against: refused with file and line by score, data, plan and run, before
anything is trained; the paper's protocol keeps them."""
import json
import os

import case
import program
import world

NUMBERS = """dataset = {{ name = "{name}"; task = "number"; metric = "{metric}"; train_file = "{train}"; test_file = "{test}";
  columns = [ {columns} ]; instruction = "Solve."; lines = [ "{{q}}" ]; answer = "{answer}"; max_new_tokens = 4; {more} }};
"""


class References(case.Case):
    def numbers(self, name, metric, good, bad, answer="{a}", columns='"q:string", "a:string"', more=""):
        """A set whose second test row is bad; returns the place of that row."""
        rows = [{"q": f"question {i}", "a": good} for i in range(6)]
        tests = [{"q": "first", "a": good}, {"q": "second", "a": bad}]
        files = {split: world.write(self.world.path("data", name, split + ".jsonl"), "".join(json.dumps(r) + "\n" for r in given))
                 for split, given in (("train", rows), ("test", tests))}
        text = NUMBERS.format(name=name, metric=metric, columns=columns, answer=answer, more=more, **files)
        world.write(self.world.path("dataset", name + ".cfg"), text)
        return files["test"] + ":2: "

    def kinds(self):
        labels = 'labels = [ "yes", "no" ];'
        return {
            "solution": (self.numbers("solution", "gsm8k", "#### 7", "7"), "has no number after"),
            "worded": (self.numbers("worded", "gsm8k", "#### 7", "#### seven"), "has no number after"),
            "equation": (self.numbers("equation", "svamp", "( 3 + 4 ) = 7", "( 3 + 4 )"), "has no number after"),
            "score": (self.numbers("score", "pearsonr", "3.5", "nan"), "is not a number"),
            "letter": (self.numbers("letter", "accuracy", "yes", "perhaps", more=labels), "not one of the data set's labels"),
            "entity": (self.numbers("entity", "record", ["x"], [], columns='"q:string", "a:strings"',
                                    more='answers = "a"; no_answers = "<unk>";'), "the row has no right answer"),
        }

    def test_run_and_plan_refuse_them_before_anything_is_trained(self):
        kinds = self.kinds()
        rest = "train = { batch = 2; max_steps = 2; };\n"
        grid = self.world.grid([self.world.model()], [*kinds, self.world.dataset()], ["lora"], rest=rest)
        refused = self.run_grid(grid, 2)
        for place, words in kinds.values():
            self.assertIn(place, refused.err)
            self.assertIn(words, refused.err)
        self.run_grid(grid, 4, None, "--keep-going")
        for (_, dataset, _, _), cell in self.cells().items():
            with self.subTest(dataset=dataset, message=cell["message"]):
                self.assertEqual(cell["status"], "done" if dataset == "pairs" else "failed")
                for text in kinds.get(dataset, ()):
                    self.assertIn(text, cell["message"])
        plan = json.loads(self.expect(program.run(["plan", grid, "--json"]), 4).out)
        self.assertEqual(plan["bad_cells"], len(kinds))
        for cell in plan["cells"]:
            for text in kinds.get(cell["dataset"], ()):
                self.assertIn(text, cell["error"])

    def test_data_names_the_line_and_fails(self):
        for name, (place, words) in self.kinds().items():
            with self.subTest(name):
                config = self.world.path("dataset", name + ".cfg")
                result = self.expect(program.run(["data", config, "--json"]), 1, place, words)
                faults = json.loads(result.out)["test"]["faults"]
                self.assertEqual(faults["answer"], {"rows": 1, "first_line": 2})
                if name != "entity":  # such rows are kept in training, with a different answer
                    self.expect(program.run(["data", config, "--json", "--set", f'dataset.train_file="{place[:-4]}"']), 1)

    def test_rows_within_the_share_that_is_allowed_are_left_out(self):
        self.numbers("some", "gsm8k", "#### 7", "7")
        rest = "train = { batch = 2; max_steps = 2; };\ndata = { max_bad_share = 0.5; };\n"
        result = self.run_grid(self.world.grid([self.world.model()], ["some"], ["none"], rest=rest), 0)
        self.assertIn("1 of 2 rows left out, 0 kept with a fault (1 with an answer that cannot be scored, first in line 2)", result.err)
        self.assertEqual(self.cells()["good", "some", "none", "1"]["rows_test"], "1")

    def test_a_setting_makes_the_number_alone_a_solution(self):
        self.numbers("bare", "gsm8k", "7", "8")
        config = self.world.path("dataset", "bare.cfg")
        self.expect(program.run(["data", config]), 1, 'dataset.answer = "#### {column}"')
        self.expect(program.run(["data", config, "--set", 'dataset.answer="#### {a}"']), 0)

    def test_the_paper_keeps_them(self):
        self.numbers("paper", "gsm8k", "7", "8")
        config = self.world.path("dataset", "paper.cfg")
        found = json.loads(self.expect(program.run(["data", config, "--protocol", "paper", "--json"]), 0).out)
        self.assertEqual(found["test"]["left_out"], 0)

    def test_score_names_the_line(self):
        os.environ.setdefault("PB_CONFIGS", os.path.join(program.SOURCE, "configs"))
        for name, good, bad in (("gsm8k", "#### 7", "7"), ("svamp", "(3 + 4) = 7", "(3 + 4)"), ("stsb", "3.5", "inf")):
            lines = "".join(json.dumps({"prediction": good, "label": label}) + "\n" for label in (good, bad))
            for protocol, code in (("corrected", 1), ("paper", 0)):
                with self.subTest(name, protocol=protocol):
                    result = program.run(["score", "--dataset", name, "--protocol", protocol], given=lines)
                    self.expect(result, code, *(["standard input:2: "] if code else []))


if __name__ == "__main__":
    case.main()
