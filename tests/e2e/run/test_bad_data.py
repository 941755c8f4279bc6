# SPDX-License-Identifier: Apache-2.0
"""Data sets that cannot be read: their cells fail with file, line and reason, and the cells of the good set are done."""
import json
import os

import case
import program
import world


class BadData(case.Case):
    def check_sets(self, texts, more="", ranks=None):
        """Runs the good set beside the bad ones; texts: what the message of every bad one must contain."""
        rest = "train = { batch = 4; max_steps = 3; };\ndata = { test_rows = 4; %s };\n" % more
        grid = self.world.grid([self.world.model()], [*texts, self.world.dataset()], ["none", "lora"], rest=rest)
        self.run_grid(grid, 4, None, "--keep-going", ranks=ranks)
        cells = self.cells()
        self.assertEqual(len(cells), 2 * len(texts) + 2)
        for (_, dataset, _, _), cell in cells.items():
            with self.subTest(dataset=dataset, message=cell["message"]):
                self.assertEqual(cell["status"], "done" if dataset == "pairs" else "failed")
                for text in texts.get(dataset, []):
                    self.assertIn(text, cell["message"])

    def replaced(self, name, line, split="train", at=2):
        """A set with one line replaced; its texts name the file and the line."""
        lines = list(self.world.rows[split])
        lines[at] = line
        self.world.dataset(name, **{split: lines})
        return [self.world.path("data", name, f"{split}.jsonl:{at + 1}")]

    def test_one_bad_line_in_every_way(self):
        good = b'{"sentence1": "a b.", "sentence2": "a.", "label": 0, "idx": 1}'
        variants = {
            "no-column": (good.replace(b"sentence2", b"sentence3"), "sentence2"),
            "column-null": (good.replace(b'"a."', b"null"), "sentence2"),
            "column-number": (good.replace(b'"a."', b"7"), "sentence2"),
            "label-text": (good.replace(b'"label": 0', b'"label": "maybe"'), "label"),
            "label-beyond": (good.replace(b'"label": 0', b'"label": 2'), "label"),
            "label-fraction": (good.replace(b'"label": 0', b'"label": 0.5'), "label"),
            "half-a-line": (good[:20], "JSON"),
            "two-objects": (good + good, "JSON"),
            "a-list": (b"[1, 2]", "object"),
            "a-number": (b"12", "object"),
            "no-quotes": (b"sentence1: a", "JSON"),
            "key-twice": (good.replace(b'"idx"', b'"label"'), "JSON"),
            "not-utf8": (good.replace(b"a b", b"a \xff b"), "UTF-8"),
            "overlong-utf8": (good.replace(b"a b", b"a \xc0\xaf b"), "UTF-8"),
            "surrogate-bytes": (good.replace(b"a b", b"a \xed\xa0\x80 b"), "UTF-8"),
            "lone-surrogate": (good.replace(b"a b", b"a \\ud800 b"), "JSON"),
            "nul-byte": (good.replace(b"a b", b"a \0 b"), "NUL"),
            "deep": (b"[" * 100000, "JSON"),
        }
        texts = {}
        for name, (line, word) in variants.items():
            texts[name] = [*self.replaced(name, line + b"\n"), word]
        texts["in-test"] = self.replaced("in-test", b"{}\n", "test")
        self.check_sets(texts)

    def test_files_that_are_missing_or_empty(self):
        texts = {}
        for name, lines in (("empty", []), ("blank", [b"\n", b"  \n"])):
            self.world.dataset(name, train=lines)
            texts[name] = [self.world.path("data", name, "train.jsonl")]
        self.world.dataset("empty-test", test=[])
        texts["empty-test"] = [self.world.path("data/empty-test/test.jsonl")]
        self.world.dataset("gone")
        os.remove(self.world.path("data/gone/train.jsonl"))
        texts["gone"] = [self.world.path("data/gone/train.jsonl")]
        self.world.dataset("folder")
        os.remove(self.world.path("data/folder/train.jsonl"))
        os.mkdir(self.world.path("data/folder/train.jsonl"))
        texts["folder"] = [self.world.path("data/folder/train.jsonl"), "directory"]
        self.check_sets(texts, ranks=2)

    def check_rows(self, cell, **counts):
        names = ("truncated", "too_long", "bad", "unlabelled", "no_answer")
        self.assertEqual({name: cell[f"rows_{name}"] for name in names}, {name: str(counts.get(name, 0)) for name in names})

    def test_rows_that_do_not_fit_are_counted(self):
        """One row is cut; two in training and one in testing are too long for their answer alone."""
        long = {"train": list(self.world.rows["train"]), "test": list(self.world.rows["test"])}
        row = '{"sentence1": "%s", "sentence2": "b.", "label": 0, "idx": 1}\n'
        long["train"][5] = (row % ("a " * 200)).encode()
        self.world.dataset("long", **long, extra="data = { cutoff_tokens = 64; };\n")
        for split, at in (("train", 7), ("train", 8), ("test", 1)):
            long[split][at] = (row % split).replace('"label": 0', '"label": 1').encode()
        self.world.dataset("longer", **long, extra="data = { cutoff_tokens = 64; };\n")
        path = self.world.path("dataset/longer.cfg")
        answer = "an answer that is far longer than all the tokens that a row may have " * 4
        text = world.read(path).decode().replace('"not_entailment"', f'"{answer}"')
        world.write(path, text)
        for split in long:
            for at, line in enumerate(long[split]):
                if b'"idx": 1}' not in line:
                    long[split][at] = line.replace(b'"label": 1', b'"label": 0')
            world.write(self.world.path("data/longer", split + ".jsonl"), b"".join(long[split]))
        rest = "train = { batch = 4; max_steps = 2; };\n"
        grid = self.world.grid([self.world.model()], ["long", "longer", self.world.dataset()], ["lora"], rest=rest)
        result = self.run_grid(grid, 0)
        cells = self.cells()
        self.check_rows(cells["good", "pairs", "lora", "1"])
        self.check_rows(cells["good", "long", "lora", "1"], truncated=1)
        self.check_rows(cells["good", "longer", "lora", "1"], truncated=1, too_long=3)
        self.assertEqual(result.err.count("2 training rows left out and 1 test rows without their text"), 1)

    def test_a_set_of_which_most_rows_are_cut_is_refused(self):
        """20 of 24 training rows; then 4 of 8 test rows, which is the allowed share; then more on request."""
        row = ('{"sentence1": "%s", "sentence2": "b.", "label": 0, "idx": 1}\n' % ("a " * 200)).encode()
        more = "data = { cutoff_tokens = 64; %s };\n"
        self.world.dataset("train-cut", train=[row] * 20 + self.world.rows["train"][20:], extra=more % "")
        self.world.dataset("test-cut", test=[row] * 5 + self.world.rows["test"][5:], extra=more % "")
        self.world.dataset("half-cut", test=[row] * 4 + self.world.rows["test"][4:], extra=more % "")
        self.world.dataset("allowed", test=[row] * 5 + self.world.rows["test"][5:], extra=more % "max_truncated_share = 0.7;")
        grid = self.world.grid([self.world.model()], ["train-cut", "test-cut", "half-cut", "allowed"], ["none", "lora"],
                               rest="train = { batch = 4; max_steps = 2; };\n")
        result = self.run_grid(grid, 4)
        cells = self.cells()
        for name, words in (("train-cut", "20 of 24 training rows"), ("test-cut", "5 of 8 test rows")):
            cell = cells["good", name, "lora", "1"]
            self.assertEqual(cell["status"], "failed")
            for text in (words, "data.cutoff_tokens = 64", "the share of 0.5 that data.max_truncated_share allows", "raise"):
                self.assertIn(text, cell["message"])
        for name, count in (("half-cut", 4), ("allowed", 5)):
            self.assertEqual(cells["good", name, "lora", "1"]["status"], "done")
            self.check_rows(cells["good", name, "lora", "1"], truncated=count)
            self.assertEqual(result.err.count(f"data set {name}: 0 of 24 training rows and {count} of 8 test rows were cut"), 1)
        self.assertIn("rows that data.cutoff_tokens cut: half-cut 12.5 %, allowed 15.6 %", result.out)
        merged = os.path.join(self.output, "tiny.h5")
        scores = json.loads(program.run(["report", merged, "--format", "json"]).out)["scores"]
        shares = {(s["dataset"], s["method"]): s["truncated_share"] for s in scores}
        self.assertEqual((shares["half-cut", "lora"], shares["train-cut", "lora"]), (0.125, None))
        self.assertIn("rows,good,half-cut,lora,,truncated_share,1,0.125,", program.run(["report", merged, "--format", "csv"]).out)

    def test_bad_rows_within_the_share_that_is_allowed_are_reported(self):
        self.replaced("some", b"not JSON\n")
        rest = "train = { batch = 4; max_steps = 3; };\ndata = { max_bad_share = 0.1; };\n"
        grid = self.world.grid([self.world.model()], ["some"], ["lora"], rest=rest)
        result = self.run_grid(grid, 0)
        self.assertIn("1 of 24 rows left out", result.err)
        self.assertRegex(result.err, r"some/train.jsonl: 1 of 24 rows left out, .*\(1 unreadable, first in line 3\)")
        self.check_rows(self.cells()["good", "some", "lora", "1"], bad=1)

    def test_rows_without_a_label_are_reported_and_counted_on_every_rank(self):
        lines = list(self.world.rows["train"])
        lines[1] = lines[1].replace(b'"label": 0', b'"label": -1').replace(b'"label": 1', b'"label": -1')
        lines[2] = lines[2].replace(b'"label": 0', b'"label": null').replace(b'"label": 1', b'"label": null')
        self.world.dataset("odd", train=lines)
        path = self.world.path("dataset/odd.cfg")
        world.write(path, world.read(path).decode().replace("label:label", "label:label?"))
        grid = self.world.grid([self.world.model()], ["odd"], ["none", "lora"], (1, 2))
        result = self.run_grid(grid, 0, ranks=2)
        self.assertIn(result.err.count("1 samples unlabelled, 1 without an answer"), (1, 2), "once per process that had a cell")
        for cell in self.cells().values():
            self.check_rows(cell, unlabelled=1, no_answer=1)

    def test_byte_order_mark_and_windows_line_ends_are_no_errors(self):
        lines = [line.replace(b"\n", b"\r\n") for line in self.world.rows["train"]]
        self.world.dataset("windows", train=[b"\xef\xbb\xbf", *lines, b"\r\n"])
        self.run_grid(self.world.grid([self.world.model()], ["windows"], ["lora"]), 0)

    def test_a_set_named_like_no_builder_or_column(self):
        path = self.world.path("dataset/{}.cfg").format
        texts = {}
        for name, old, new, words in (("builder", "metric = ", 'builder = "templat"; metric = ', ["templat", "template", "builder.cfg:2: "]),
                                      ("column", "sentence1:string", "sentence1:strin", ["strin", "column.cfg:3: dataset.columns"]),
                                      ("line", "{sentence1}", "{sentence9}", ["sentence9", "line.cfg:5: dataset.lines"])):
            self.world.dataset(name)
            text = world.read(path(name)).decode().replace(old, new, 1)
            world.write(path(name), text)
            texts[name] = words
        self.check_sets(texts)


if __name__ == "__main__":
    case.main()
