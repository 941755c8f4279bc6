# SPDX-License-Identifier: Apache-2.0
"""peftbench prompt: golden rows through the command, its output for each kind of sample, broken rows, --explain."""
import json
import os

import case
import program
import world

GOLDEN = os.path.join(program.SHARED, "golden/protocol/prompts")
INFO = {"PB_PEFTBENCH_INFO": os.path.join(program.SHARED, "protocol/dataset_info.json")}
KEYS = ["inputs", "targets", "user", "assistant", "prompt", "answer"]
CHOICE = """dataset = {
  name = "moods"; columns = [ "sentence:string", "label:label" ]; labels = [ "calm", "angry" ];
  instruction = "Mood?"; lines = [ "{sentence}" ];
};
"""
SEVERAL = """dataset = {
  name = "several"; task = "text"; columns = [ "q:string", "a:strings" ]; inputs = true; answers = "a"; no_answers = "-";
  instruction = "Q"; lines = [ "{q}" ];
};
"""


def prompt(dataset, given, *more, protocol="corrected", template="chatml", **options):
    line = ["prompt", "--dataset", dataset, "--protocol", protocol, "--template", template, *more]
    return program.run(line, given=given, **options)


def samples(result):
    return [json.loads(line) for line in result.out.split("\n") if line]


class Golden(case.Case):
    def check(self, dataset):
        path = os.path.join(GOLDEN, dataset + ".jsonl")
        if not os.path.isfile(path):
            case.skip("no shared golden files: set PB_SHARED")
        entries = [json.loads(line) for line in world.read(path).decode().split("\n") if line]
        for split in ("train", "test"):
            # A row that gives n samples appears n times; it is passed once, at its first one.
            wanted = [e for e in entries if e["split"] == split]
            first = [e for i, e in enumerate(wanted) if i == 0 or e["row"] != wanted[i - 1]["row"]]
            given = "".join(json.dumps(e["row"]) + "\n" for e in first)
            for template in ("llama3", "qwen3", "gemma", "mistral"):
                result = prompt(dataset, given, "--split", split, protocol="paper", template=template, env=INFO)
                got = samples(self.expect(result, 0))
                self.assertEqual(sum(e["expand"][1] for e in first), len(got))
                place = {}
                at = 0
                for e in first:
                    place[json.dumps(e["row"])] = at
                    at += e["expand"][1]
                for e in wanted:
                    with self.subTest((dataset, template, e["source"], e["expand"])):
                        sample = got[place[json.dumps(e["row"])] + e["expand"][0]]
                        self.assertEqual(list(sample), KEYS)
                        self.assertEqual({k: sample[k] for k in KEYS[:4]}, {k: e[k] for k in KEYS[:4]})
                        self.assertEqual({k: sample[k] for k in KEYS[4:]}, e["rendered"][template])

    def test_sets_with_builders_of_their_own(self):
        self.check("record")
        self.check("wsc")

    def test_solutions_in_a_text(self):
        self.check("apps")

    def test_classes_and_instructions_that_differ(self):
        self.check("rte")
        self.check("winogrande")


class Samples(case.Case):
    def setUp(self):
        super().setUp()
        self.moods = world.write(os.path.join(self.folder, "moods.cfg"), CHOICE)
        self.several = world.write(os.path.join(self.folder, "several.cfg"), SEVERAL)

    def test_a_new_set_is_one_file(self):
        got = samples(self.expect(prompt(self.moods, '{"sentence": "Go\\naway {{idx}}", "label": 1}'), 0))
        chat = "<|im_start|>user\nMood?\nGo\naway {{idx}}<|im_end|>\n<|im_start|>assistant\n"
        self.assertEqual(got, [{"inputs": None, "targets": None, "user": "Mood?\nGo\naway {{idx}}", "assistant": "angry",
                                "prompt": chat, "answer": "angry<|im_end|>\n"}])

    def test_several_answers(self):
        given = '{"q": "x", "a": ["b", "c"]}\n\n{"q": "y", "a": []}\n'
        for protocol, split in (("paper", "test"), ("paper", "train"), ("corrected", "train")):
            got = samples(self.expect(prompt(self.several, given, "--split", split, protocol=protocol), 0))
            self.assertEqual([(s["inputs"], s["targets"]) for s in got], [("x", "b"), ("x", "c"), ("y", "-")])
        got = samples(self.expect(prompt(self.several, given), 0))
        self.assertEqual([(s["inputs"], s["targets"], s.get("references")) for s in got], [("x", "b", ["c"]), ("y", "-", None)])

    def test_no_answer_is_null(self):
        own = world.write(os.path.join(self.folder, "own.cfg"),
                          'dataset = { name = "o"; columns = ["q:string", "a:string?"]; lines = ["{q}"]; answer = "{a}"; };')
        got = samples(self.expect(prompt(own, '{"q": "x", "a": null}\n{"q": "x", "a": ""}', template="qwen3"), 0))
        self.assertEqual([(s["assistant"], s["answer"]) for s in got], [(None, None), ("", "<|im_end|>\n")])
        self.assertTrue(got[0]["prompt"].endswith("<think>\n\n</think>\n\n"))

    def test_a_tokenizer_names_the_first_and_last_token(self):
        given = '{"sentence": "x", "label": 0}'
        model = os.path.join(program.SHARED, "tokenizers/mistral-v0.3")
        own = samples(self.expect(prompt(self.moods, given, template="none"), 0))[0]
        self.assertEqual((own["prompt"], own["answer"]), ("Mood?\nx\n", "calm"))
        if os.path.isdir(model):
            got = samples(self.expect(prompt(self.moods, given, "--model", model, template="none"), 0))[0]
            self.assertEqual((got["prompt"], got["answer"]), ("<s>Mood?\nx\n", "calm</s>"))
        self.expect(prompt(self.moods, given, "--model", self.folder), 1, self.folder)

    def test_every_template_has_its_marks(self):
        for template, mark in (("llama3", "<|eot_id|>"), ("qwen3", "<|im_end|>"), ("gemma", "<end_of_turn>"),
                               ("mistral", "[/INST]"), ("phi3", "<|end|>"), ("chatml", "<|im_end|>")):
            got = samples(self.expect(prompt(self.moods, '{"sentence": "x", "label": 0}', template=template), 0))
            self.assertIn(mark, got[0]["prompt"])

    def test_broken_rows_are_named(self):
        good = b'{"sentence": "x", "label": 0}\n\n'
        broken = {"no JSON": b"{", "a list": b"[1]", "not UTF-8": b'{"sentence": "\xff", "label": 0}', "null": b"null",
                  "deep": b"[" * 100000, "trailing": b'{"sentence": "x", "label": 0} x', "no column": b'{"label": 0}',
                  "twice": b'{"label": 1, "sentence": "a", "label": 0}', "label": b'{"sentence": "x", "label": 2}',
                  "NUL": b'{"sentence": "\\u0000", "label": 0}', "type": b'{"sentence": 1, "label": 0}'}
        for name, line in broken.items():
            with self.subTest(name):
                result = self.expect(prompt(self.moods, good + line), 1, "standard input:3: ")
                self.assertEqual(len(samples(result)), 1)

    def test_spans_that_are_no_expressions_are_named(self):
        row = {"text": "a" * 60 + "!", "span1_text": "(a+)+$", "span1_index": 0, "span2_text": "b", "span2_index": 1, "label": 0}
        line = ["--set", 'dataset.instruction_sha=""']
        self.expect(prompt("wsc", json.dumps(row), *line, protocol="paper", timeout=60), 1, "standard input:1: ", "span1_text")
        self.expect(prompt("wsc", json.dumps(row | {"span1_text": "("}), *line, protocol="paper"), 1, "span1_text", "without its )")
        self.expect(prompt("wsc", json.dumps(row), timeout=60), 0)


class Usage(case.Case):
    def test_what_is_missing_or_wrong_is_named(self):
        line = ["--dataset", "rte", "--protocol", "corrected", "--template", "none"]
        for i in (0, 2, 4):
            self.expect(program.run(["prompt", *line[:i], *line[i + 2:]], given=""), 2, line[i])
        self.expect(program.run(["prompt", *line[:4], "--template", "lama3"], given=""), 2, "lama3")
        self.expect(program.run(["prompt", "--dataset", "rtee", *line[2:]], given=""), 2, 'did you mean "rte"?')
        self.expect(program.run(["prompt", *line, "--set", "train.batch=2"], given=""), 2, "dataset.KEY")
        self.expect(program.run(["prompt", *line, "--explain", "rte"], given=""), 2, "with --explain")
        self.expect(program.run(["prompt", "--dataset", "synthetic", *line[2:]], given="{}"), 1, "synthetic")
        self.expect(program.run(["prompt", *line], ranks=2, given=""), 2, "without a launcher")
        self.assertEqual(self.expect(program.run(["prompt", *line], given="\n\n"), 0).out, "")

    def test_the_paper_needs_the_texts_of_the_original(self):
        self.expect(prompt("rte", "", protocol="paper", env={"PB_PEFTBENCH_INFO": ""}), 2, "PB_PEFTBENCH_INFO", "dataset_info.json")
        self.expect(prompt("rte", "", "--set", "data.peftbench_info=nowhere.json", protocol="paper"), 1, "nowhere.json")

    def test_explain_says_what_differs(self):
        for name, texts in (("winogrande", ["in training none", "ea8bc936f4", "Option2: {option2}", "metric f1"]),
                            ("boolq", ['"False", "True"', '"false", "true"', "3533195a23"]),
                            ("wsc", ["regular expression", "* and the pronoun"]), ("stsb", ["float32", "metric pearsonr", "1024"]),
                            ("record", ["a sample for each of answers", "entity_spans"]), ("apps", ["starter code", "codebleu"])):
            with self.subTest(name):
                result = self.expect(program.run(["prompt", "--explain", name]), 0)
                for text in texts + ["all data sets", "data.validation_seed"]:
                    self.assertIn(text, result.out)
        self.assertIn("not one of the original's", self.expect(program.run(["prompt", "--explain", "demo-single"]), 0).out)
        self.expect(program.run(["prompt", "--explain", "boolk"]), 2, "--explain", 'did you mean "boolq"?')


if __name__ == "__main__":
    case.main()
