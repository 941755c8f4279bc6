# SPDX-License-Identifier: Apache-2.0
"""jobs/fetch_data.py --from-local: files in every format become the JSON lines of the hub, or one clear message."""
import csv
import gzip
import io
import json
import os
import re
import time

import case
import fetching
import program
import world
from fetching import ROWS, lines


def as_csv(rows, **options):
    out = io.StringIO()
    writer = csv.DictWriter(out, rows[0], **options)
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


class Formats(fetching.Case):
    def check(self, name, content):
        """The train split in this file gives ROWS."""
        self.give("rte/test.jsonl", lines(ROWS))
        self.give("rte/" + name, content)
        self.local("rte", texts=["train.jsonl 3 rows"])
        self.assertEqual(self.made("rte/train.jsonl"), lines(ROWS))
        self.assertEqual(self.below(self.data), ["rte/fetch.json", "rte/test.jsonl", "rte/train.jsonl"])

    def test_json_lines(self):
        self.check("train.jsonl", "\n".join(json.dumps(row, ensure_ascii=False) for row in ROWS))

    def test_json_lines_compressed(self):
        self.check("train.jsonl.gz", gzip.compress(lines(ROWS)))

    def test_json_lines_called_json(self):
        self.check("train.json", b"\xef\xbb\xbf" + lines(ROWS))

    def test_json_array(self):
        self.check("train.json", json.dumps(ROWS, indent=2))

    def rows_as_texts(self):
        names = (*fetching.ENTAILMENT, "-1")
        return [dict(row, label=names[row["label"]]) for row in ROWS]

    def test_csv_with_class_names(self):
        rows = [{k: v for k, v in row.items() if k != "idx"} for row in self.rows_as_texts()]
        self.give("rte/train.csv.gz", gzip.compress(as_csv(rows).encode()))
        self.give("rte/validation.csv", as_csv([dict(row, label=ROWS[i]["label"]) for i, row in enumerate(rows)]))
        self.local("rte")
        expected = [{k: v for k, v in row.items() if k != "idx"} for row in ROWS]
        self.assertEqual(self.made("rte/train.jsonl"), lines(expected))
        self.assertEqual(self.made("rte/test.jsonl"), lines(expected))

    def test_tsv_knows_no_quotes(self):
        rows = [{"sentence": '" not closed ', "label": 1}, {"sentence": 'a "b"', "label": 0}]
        self.give("cola/train.tsv", "".join(f"{s}\t{label}\n" for s, label in [("sentence", "label")] +
                                            [(r["sentence"], r["label"]) for r in rows]))
        self.give("cola/validation.jsonl", lines(rows))
        self.local("cola")
        self.assertEqual(self.made("cola/train.jsonl"), lines(rows))

    def test_csv_carries_lists_and_nulls_and_numbers(self):
        row = {"question": "q", "subject": "s", "choices": '["a", "b", "c", "d"]', "answer": "C"}
        self.give("mmlu/auxiliary_train.csv", as_csv([row]))
        self.give("mmlu/validation.csv", as_csv([row]))
        self.local("mmlu")
        self.assertEqual(self.made("mmlu/train.jsonl"), lines([dict(row, choices=list("abcd"), answer=2)]))
        row = {"question_id": "12", "intent": "i", "rewritten_intent": "", "snippet": "x"}
        self.give("conala/train.csv", as_csv([row]))
        self.give("conala/test.csv", as_csv([row]))
        self.local("conala")
        self.assertEqual(self.made("conala/test.jsonl"), lines([dict(row, question_id=12, rewritten_intent=None)]))

    def test_booleans_are_classes(self):
        row = {"question": "q", "passage": "p", "idx": 0, "label": True}
        for part in ("train", "validation"):
            self.give(f"boolq/{part}.jsonl", json.dumps(row))
        self.local("boolq")
        self.assertEqual(self.made("boolq/train.jsonl"), lines([dict(row, label=1)]))


class Places(fetching.Case):
    def test_the_split_of_the_hub_wins_over_our_name(self):
        self.give("rte/train.jsonl", lines(ROWS))
        self.give("rte/test.jsonl", lines(ROWS[2:]))
        self.give("rte/validation.jsonl", lines(ROWS[:2]))
        self.assertIn("rte/validation.jsonl", self.local("rte", "--dry-run").out)
        self.assertFalse(os.path.exists(self.data), "a dry run writes nothing")
        self.local("rte")
        self.assertEqual(self.made("rte/test.jsonl"), lines(ROWS[:2]))
        self.assertEqual(list(self.manifest("rte")["files"]["test.jsonl"]["made_from"]), ["rte/validation.jsonl"])

    def test_layout_of_the_hub(self):
        for folder in ("nyu-mll/glue", "glue"):
            with self.subTest(folder):
                self.give(f"{folder}/rte/train-00000-of-00002-0a1b.jsonl", lines(ROWS[:1]))
                self.give(f"{folder}/rte/train-00001-of-00002-0a1b.jsonl", lines(ROWS[1:]))
                self.give(f"{folder}/rte/validation/0000.jsonl", lines(ROWS[:2]))
                self.give(f"{folder}/rte/validation/0001.jsonl", lines(ROWS[2:]))
                self.give(f"{folder}/mrpc/train.jsonl", lines(ROWS[:1]))
                self.data = self.path("data", folder)
                self.local("rte")
                self.assertEqual(self.made("rte/train.jsonl"), lines(ROWS))
                self.assertEqual(self.made("rte/test.jsonl"), lines(ROWS))
                world.write(self.path("source", folder, "rte/unrelated.jsonl"), b"")

    def test_a_single_name_may_lie_in_the_folder_itself(self):
        self.give("train.jsonl", lines(ROWS))
        self.give("validation.jsonl", lines(ROWS))
        self.local("rte", "mrpc", code=1, texts=["no file for the split 'train' of rte", "2 of 2 failed: rte, mrpc"])
        self.local("rte")

    def test_what_is_missing_or_there_twice(self):
        self.give("rte/train-00000-of-00002.jsonl", lines(ROWS))
        self.local("rte", code=1, texts=["is incomplete", "train-00000-of-00002.jsonl"])
        self.give("rte/train-00001-of-00002.jsonl", lines(ROWS))
        self.give("rte/train.jsonl", lines(ROWS))
        self.local("rte", code=1, texts=["occurs twice"])
        self.give("cola/a/train.jsonl", b"")
        self.give("cola/b/train.jsonl", b"")
        self.local("cola", code=1, texts=["several folders: a, b"])
        self.assertFalse(os.path.exists(self.data))


class Mistakes(fetching.Case):
    def setUp(self):
        super().setUp()
        self.give("rte/validation.jsonl", lines(ROWS))

    def bad(self, name, content, *texts):
        with self.subTest(name=name, texts=texts):
            path = self.give("rte/" + name, content)
            self.local("rte", code=1, texts=["rte/" + name, *texts])
            self.assertEqual(self.below(self.data) if os.path.exists(self.data) else [], [])
            os.remove(path)

    def changed(self, **values):
        return lines([ROWS[0], dict(ROWS[1], **values)])

    def test_rows(self):
        without = lines([ROWS[0], {k: v for k, v in ROWS[1].items() if k != "sentence2"}])
        self.bad("train.jsonl", without, "row 2", "no column 'sentence2'", "sentence1, label, idx")
        for value in (2, -2, "2", "neutral", None, 1.0, True, [0]):
            self.bad("train.jsonl", self.changed(label=value), "row 2", "column 'label'", "entailment, not_entailment")
        self.bad("train.jsonl", self.changed(sentence1=3), "row 2", "column 'sentence1'", "expected string")
        self.bad("train.jsonl", self.changed(sentence1=None), "row 2", "column 'sentence1'", "expected string")
        self.bad("train.jsonl", self.changed(idx=float("nan")), "row 2")
        self.bad("train.json", json.dumps([ROWS[0], "text"]), "row 2", "not an object")

    def test_files(self):
        good = lines(ROWS)
        self.bad("train.jsonl", b"", "no rows")
        self.bad("train.jsonl", good + b"{", "line 4")
        self.bad("train.jsonl", good + b'{"a": "\xff"}\n', "line 4")
        self.bad("train.json", json.dumps(ROWS)[:-9], "cannot be read")
        self.bad("train.jsonl.gz", gzip.compress(good)[:-12], "cannot be read")
        self.bad("train.jsonl.gz", good, "cannot be read")
        self.bad("train.csv", "sentence1,sentence2,label\na,b,0\na,b\n", "line 3", "2 fields", "3 columns")
        self.bad("train.csv", 'sentence1,sentence2,label\n"a,b,0\n', "cannot be read")
        self.bad("train.tsv", "sentence1\tsentence2\tlabel\na\tb\tmaybe\n", "row 1", "column 'label'")

    def test_usage(self):
        self.fetch("rtee", code=2, texts=["unknown name 'rtee'", "did you mean 'rte'?"])
        self.fetch("qwen3-17b", code=2, texts=["did you mean 'qwen3-1.7b'?"])
        self.fetch(code=2, texts=["give names"])
        self.fetch("rte", "--from-local", self.path("nowhere"), code=2, texts=["nowhere"])
        self.local("qwen3-1.7b", code=1, texts=["for data sets", os.path.join(self.models, "qwen3-1.7b")])
        self.data = ""
        self.local("rte", code=1, texts=["PB_DATA", "--data DIR"])
        self.fetch("--help", texts=["--from-local DIR", "HF_TOKEN", "exit codes"])

    def test_without_the_library_it_is_named(self):
        if b"0" in program.subprocess.run([fetching.PYTHON, "-c", "import huggingface_hub; print(0)"],
                                          capture_output=True, check=False).stdout:
            case.skip("huggingface_hub is installed")
        self.fetch("rte", code=1, texts=["pip install huggingface_hub", "--from-local"])


class Again(fetching.Case):
    def setUp(self):
        super().setUp()
        self.give("rte/train.jsonl", lines(ROWS))
        self.give("rte/validation.jsonl", lines(ROWS[:2]))

    def test_a_second_run_verifies(self):
        self.local("rte")
        before = os.stat(os.path.join(self.data, "rte/train.jsonl")).st_mtime_ns
        self.fetch("rte", texts=["train.jsonl verified, test.jsonl verified"])
        self.assertEqual(os.stat(os.path.join(self.data, "rte/train.jsonl")).st_mtime_ns, before)
        os.remove(os.path.join(self.data, "rte/test.jsonl"))
        self.local("rte", texts=["train.jsonl verified, test.jsonl 2 rows"])

    def test_changed_and_foreign_files_are_not_touched(self):
        self.local("rte")
        path = world.write(os.path.join(self.data, "rte/train.jsonl"), b"mine\n")
        self.fetch("rte", code=1, texts=[path, "was changed or is damaged"])
        self.assertEqual(world.read(path), b"mine\n")
        os.remove(os.path.join(self.data, "rte/fetch.json"))
        self.local("rte", code=1, texts=[path, "was not made by this program"])
        world.write(os.path.join(self.data, "rte/fetch.json"), b"{")
        self.local("rte", code=1, texts=["fetch.json"])

    def test_expected_hashes_are_enforced(self):
        configs = self.copy_configs()
        self.local("rte")
        slots = json.loads(self.fetch("rte", "--print-hashes").out)["sha256"]
        sources = os.path.join(configs, "dataset/sources.json")
        self.change(sources, '"sha256": {}', '"sha256": ' + json.dumps(slots))
        self.fetch("rte", "--configs", configs, texts=["verified"])
        self.change(sources, slots["rte/test.jsonl"], "0" * 64)
        self.fetch("rte", "--configs", configs, code=1, texts=["test.jsonl", "0" * 64])
        self.data = self.path("other")
        self.local("rte", "--configs", configs, code=1, texts=["test.jsonl", "0" * 64])
        self.assertEqual(self.below(self.data), ["rte/fetch.json", "rte/train.jsonl"])

    def test_killed_in_the_middle(self):
        many = lines(ROWS) * 40000
        self.give("rte/train.jsonl", many)
        part = os.path.join(self.data, "rte/.train.jsonl.part")
        process = self.start("rte", "--from-local", self.source)
        while process.poll() is None and not (os.path.exists(part) and os.path.getsize(part)):
            time.sleep(0.001)
        process.kill()
        process.communicate()
        self.assertTrue(os.path.exists(part), "the kill came too late")
        self.assertFalse(os.path.exists(os.path.join(self.data, "rte/train.jsonl")))
        self.local("rte", texts=["train.jsonl 120000 rows"])
        self.assertEqual(self.made("rte/train.jsonl"), many)
        self.assertEqual(self.below(self.data), ["rte/fetch.json", "rte/test.jsonl", "rte/train.jsonl"])


class Configurations(fetching.Case):
    def test_sources_have_every_column_that_a_configuration_reads(self):
        folder = os.path.join(program.SOURCE, "configs/dataset")
        sets = json.loads(world.read(os.path.join(folder, "sources.json")))["sets"]
        self.assertEqual(sum("train" in entry for entry in sets.values()), 27)
        for name in sorted(os.listdir(folder)):
            text = world.read(os.path.join(folder, name)).decode()
            if name.endswith(".cfg") and "${PB_DATA}" in text:
                columns = re.findall(r'"([\w.]+):\w+"', re.search(r"columns\s*=\s*\[(.*?)\]", text, re.S)[1])
                with self.subTest(name):
                    self.assertLessEqual({c.split(".")[0] for c in columns}, set(sets[name[:-4]]["columns"]))

    def test_the_program_reads_what_was_made(self):
        rows = [json.loads(line) for line in self.world.rows["train"]]
        for part in ("train", "validation"):
            self.give(f"rte/{part}.csv", as_csv(rows))
        self.local("rte")
        grid = self.world.grid([self.world.model()], ["rte"])
        result = self.expect(program.run(["plan", grid, "--json"], env={"PB_DATA": self.data}), 0)
        for cell in json.loads(result.out)["cells"]:
            self.assertEqual((cell["train_rows"], cell["error"]), (len(rows), None))


class Shared(fetching.Case):
    def test_real_rows_come_back_byte_for_byte(self):
        self.source = os.path.join(program.SHARED, "data")
        if not os.path.isdir(self.source):
            case.skip("no shared data: set PB_SHARED")
        self.local("datasets")
        done = [path for path in self.below(self.data) if path.endswith(".jsonl")]
        self.assertEqual(len(done), 54)
        for path in done:
            self.assertEqual(self.made(path), self.made(path, self.source), path)


if __name__ == "__main__":
    case.main()
