# SPDX-License-Identifier: Apache-2.0
"""peftbench score: the golden cases through the command, broken lines, and where the file of a data set is searched for."""
import json
import math
import os

import case
import program
import world

GOLDEN = os.path.join(program.SHARED, "golden/protocol/metrics")
RECORD = 'dataset = { name = "record"; task = "text"; metric = "record"; };\n'
LABELS = 'dataset = {{ name = "own"; metric = "{}"; labels = [ "No", "Yes" ]; paper_labels = [ "Nein", "Ja" ]; }};\n'
GOOD = '{"prediction": "yes", "label": "Yes"}\n'


def lines(items, rows=None):
    """The golden items as lines of input; with rows, one for each, if the data set has several answers."""
    made = [{"prediction": i["predict"], "label": i["label"]} for i in items]
    for line, row in zip(made, rows or []):
        line["row"] = row
    return "".join(json.dumps(line) + "\n" for line in made)


class Golden(case.Case):
    def check(self, name, dataset, correlation=False):
        path = os.path.join(GOLDEN, name + ".json")
        if not os.path.isfile(path):
            case.skip("no shared golden files: set PB_SHARED")
        cases = json.loads(world.read(path))["cases"]
        self.assertGreaterEqual(len(cases), 11)
        for entry in cases:
            for protocol in ("paper", "corrected"):
                result = program.run(["score", "--dataset", dataset, "--protocol", protocol],
                                     given=lines(entry["items"], entry.get("dataset")))
                with self.subTest((name, entry["id"], protocol)):
                    got = json.loads(self.expect(result, 0).out)
                    for key, value in entry[protocol].items():
                        self.near(got[key], value, correlation)
                    if protocol == "paper":
                        table = entry["paper_table_value"]
                        self.near(got["main"] if got["main"] == "NaN" else 100 * got["main"], table, correlation)

    def near(self, got, value, correlation):
        if value == "NaN" or got == "NaN":
            self.assertEqual(got, value)
        else:
            self.assertLessEqual(abs(got - value), 1e-9 if correlation else 1e-12 * max(1, abs(value)))

    def test_digits_of_other_scripts_are_digits_to_the_paper_alone(self):
        given = '{"prediction": "(1+2) = \u0663", "label": "(1+2) = 3"}\n'
        for protocol, accuracy, errors in (("paper", 1, 0), ("corrected", 0, 1)):
            done = program.run(["score", "--dataset", "svamp", "--protocol", protocol], given=given)
            got = json.loads(self.expect(done, 0).out)
            self.assertEqual((got["accuracy"], got["format_errors"]), (accuracy, errors), protocol)

    def test_long_numbers_are_numbers(self):
        given = json.dumps({"prediction": "(10/3) = 3." + "3" * 900, "label": "(10 / 3) = 3.3333333"}) + "\n"
        done = program.run(["score", "--dataset", "svamp", "--protocol", "paper"], given=given)
        self.assertEqual(json.loads(self.expect(done, 0).out)["accuracy"], 1)

    def test_a_nul_in_a_text_is_reported_in_plain_words(self):
        given = '{"prediction": "a\\u0000b", "label": "a"}\n'
        self.expect(program.run(["score", "--dataset", "svamp", "--protocol", "paper"], given=given), 1,
                    "standard input:1", "a string contains \\u0000; remove it")

    def test_classes(self):
        self.check("mnli", "mnli")

    def test_two_classes(self):
        self.check("cola", "cola")

    def test_scores(self):
        self.check("stsb", "stsb", correlation=True)

    def test_equations(self):
        self.check("svamp", "svamp")

    def test_solutions(self):
        self.check("gsm8k", "gsm8k")

    def test_questions_with_several_answers(self):
        self.check("record", world.write(os.path.join(self.folder, "record.cfg"), RECORD))


class Lines(case.Case):
    def setUp(self):
        super().setUp()
        self.own = world.write(os.path.join(self.folder, "own.cfg"), LABELS.format("f1"))
        self.record = world.write(os.path.join(self.folder, "record.cfg"), RECORD)

    def score(self, given, *more, dataset=None, protocol="corrected", **options):
        return program.run(["score", "--dataset", dataset or self.own, "--protocol", protocol, *more], given=given, **options)

    def test_one_object_with_every_value(self):
        given = GOOD + "\n" + '{"prediction": "no", "label": "Yes", "more": [1]}\n' + '{"prediction": "h\u00e4", "label": "No"}'
        result = self.expect(self.score(given), 0)
        self.assertEqual(result.err, "")
        got = json.loads(result.out)
        self.assertEqual((got["n"], got["invalid"], got["confusion.yes.no"], got["confusion.no.invalid"]), (3, 1, 1, 1))
        self.assertAlmostEqual(got["f1"], 2 / 3)
        self.assertEqual(got["main"], got["f1"])
        self.assertAlmostEqual(got["invalid_share"], 1 / 3)
        self.assertAlmostEqual(got["output_chars_mean"], 7 / 3)
        self.assertLess(got["main_low"], got["main"])
        self.assertEqual(self.score(given).out, result.out, "twice the same")

    def test_labels_and_undefined_values_of_the_paper(self):
        got = json.loads(self.expect(self.score('{"prediction": "ja", "label": "Ja"}', protocol="paper"), 0).out)
        self.assertEqual((got["f1"], got["main_low"]), (1, "NaN"))
        one = '{"prediction": "1", "label": "2"}\n'
        got = json.loads(self.expect(self.score(2 * one, dataset="stsb", protocol="paper"), 0).out)
        self.assertEqual((got["pearsonr"], got["main"], got["main_high"]), ("NaN", "NaN", "NaN"))

    def test_broken_lines_are_named(self):
        broken = {"no JSON": b"{", "a list": b"[1]", "not UTF-8": b'{"prediction": "\xff", "label": "Yes"}', "null": b"null",
                  "deep": b"[" * 100000, "trailing": b'{"prediction": "a", "label": "Yes"} x', "a text": b'"a"',
                  "twice": b'{"label": "Yes", "prediction": "a", "label": "No"}', "NUL": b'{"prediction": "\\u0000", "label": "Yes"}',
                  "surrogate": b'{"prediction": "\\ud800", "label": "Yes"}'}
        for name, line in broken.items():
            with self.subTest(name):
                self.assertEqual(self.expect(self.score(GOOD.encode() + b"\n" + line), 1, "standard input:3: ").out, "")

    def test_wrong_keys_say_what_is_expected(self):
        form = '{"prediction": "…", "label": "…"}'
        for line, text in (("{}", '"prediction" is missing'), ('{"prediction": "a"}', '"label" is missing'),
                           ('{"prediction": null, "label": "Yes"}', '"prediction" is not a string'),
                           ('{"prediction": "3.8", "label": 3.8}', "a number is written as the text it has in the data"),
                           ('{"predict": "a", "label": "Yes"}', '"prediction" is missing')):
            with self.subTest(line):
                self.expect(self.score(GOOD + line), 1, "standard input:2: ", text, form)
        self.expect(self.score("[]"), 1, "standard input:1: ", form)

    def test_labels_that_the_set_does_not_have_are_named(self):
        self.expect(self.score(GOOD + "\n" + '{"prediction": "a", "label": "Maybe"}'), 1, "standard input:3: ", '"maybe"',
                    "not one of the data set's labels")
        self.expect(self.score('{"prediction": "1", "label": "much"}', dataset="stsb"), 1, "standard input:1: ", "is not a number")

    def test_nothing_to_score(self):
        for given in ("", "\n\n  \n"):
            self.expect(self.score(given), 1, "standard input: no lines")

    def test_rows_of_questions(self):
        item = {"prediction": "a b", "label": "b"}
        good = {"idx": {"passage": 0, "query": 1}, "answers": ["b", "a b"]}
        got = json.loads(self.expect(self.score(json.dumps(item | {"row": good}), dataset=self.record), 0).out)
        self.assertEqual((got["exact_match"], got["queries"]), (1, 1))
        result = self.expect(self.score(json.dumps(item), dataset=self.record), 0, 'no line has a "row"')
        self.assertEqual(json.loads(result.out)["exact_match"], 1, "the article goes")
        for row in (3, None, [], {}, {"idx": 1, "answers": ["b"]}, {"idx": {"passage": 0, "query": "1"}, "answers": ["b"]},
                    good | {"answers": []}, good | {"answers": "b"}, good | {"answers": [1]}, {"idx": good["idx"]}):
            with self.subTest(row):
                self.expect(self.score(json.dumps(item | {"row": row}), dataset=self.record), 1, "standard input:1: ", '"row"')
        mixed = json.dumps(item | {"row": good}) + "\n" + json.dumps(item)
        self.expect(self.score(mixed, dataset=self.record), 1, "standard input:2: ", "with every line or with no line")

    def test_many_lines_and_long_texts(self):
        given = (GOOD * 20000) + '{"prediction": "%s", "label": "No"}' % ("x" * 3000000)
        got = json.loads(self.expect(self.score(given, timeout=60), 0).out)
        self.assertEqual(got["n"], 20001)
        self.assertTrue(math.isclose(got["output_chars_mean"], (20000 * 3 + 3000000) / 20001))

    def test_one_process_only(self):
        self.expect(program.run(["score", "--dataset", self.own, "--protocol", "paper"], ranks=2, given=GOOD), 2, "without a launcher")


class Configurations(case.Case):
    def test_names_are_found_in_configs_and_beside_the_program(self):
        line = ["score", "--dataset", "mine", "--protocol", "paper"]
        given = '{"prediction": "ja", "label": "Ja"}'
        result = self.expect(program.run(line, given=given, cwd=self.folder), 2, "configs/dataset/mine.cfg", "PB_CONFIGS")
        self.assertEqual(result.out, "")
        world.write(os.path.join(self.folder, "configs/dataset/mine.cfg"), LABELS.format("f1"))
        self.expect(program.run(line, given=given, cwd=self.folder), 0, '"f1": 1')
        here = {"PB_CONFIGS": os.path.join(self.folder, "configs")}
        self.expect(program.run(line, given=given, cwd="/", env=here), 0, '"f1": 1')
        rte = ["score", "--dataset", "rte", "--protocol", "paper"]
        self.expect(program.run(rte, given='{"prediction": "entailment", "label": "entailment"}', cwd="/", env={"PB_CONFIGS": ""}), 0)

    def test_mistakes_in_names_and_keys(self):
        own = world.write(os.path.join(self.folder, "own.cfg"), LABELS.format("f1"))
        other = world.write(os.path.join(self.folder, "other.cfg"), 'method = { name = "lora"; };\n')
        empty = world.write(os.path.join(self.folder, "empty.cfg"), "")
        odd = world.write(os.path.join(self.folder, "odd.cfg"), LABELS.format("f3"))
        for arguments, texts in ((["--dataset", "mnlii"], ['did you mean "mnli"?']), (["--dataset", "a/b"], ["neither a name"]),
                                 (["--dataset", ""], ["neither a name"]), (["--dataset", "nowhere.cfg"], ["nowhere.cfg"]),
                                 (["--dataset", other], [other, "method"]), (["--dataset", empty], ["group dataset is missing"]),
                                 (["--dataset", odd], [odd + ":1", '"f3"']),
                                 (["--dataset", own, "--set", "dataset.metrik=f1"], ["metrik", "metric"]),
                                 (["--dataset", own, "--set", "train.batch=2"], ["dataset.KEY"]),
                                 (["--dataset", own, "--set", "dataset.labels=[\"a\",\"A\"]"], ["the same text"])):
            with self.subTest(arguments):
                protocol = "corrected"
                self.expect(program.run(["score", *arguments, "--protocol", protocol], given=GOOD, cwd=self.folder,
                                        env={"PB_CONFIGS": os.path.join(program.SOURCE, "configs")}), 2, *texts)
        self.expect(program.run(["score", "--dataset", own, "--protocol", "papr"], given=GOOD), 2, "papr")
        self.expect(program.run(["score", "--dataset", own], given=GOOD), 2, "--protocol")

    def test_keys_can_be_set_and_row_files_are_not_needed(self):
        line = ["score", "--dataset", "mnli", "--protocol", "corrected", "--set", "dataset.metric=accuracy"]
        given = '{"prediction": "neutral", "label": "neutral"}\n{"prediction": "x", "label": "entailment"}\n'
        env = dict(program.environment(None, None))
        del env["PB_DATA"]
        process = program.launch(program.command(line), env, stdin=program.subprocess.PIPE)
        result = self.expect(program.finish(process, given.encode(), 60), 0)
        self.assertEqual(json.loads(result.out)["main"], 0.5)


if __name__ == "__main__":
    case.main()
