# SPDX-License-Identifier: Apache-2.0
"""peftbench data: its numbers against counts computed here from the same files, bad files, and the benchmark."""
import collections
import gzip
import hashlib
import json
import math
import os
import signal
import time

import case
import program
import world

CONFIG = """dataset = {{ name = "own"; metric = "accuracy"; train_file = "{0}"; test_file = "{1}";
  columns = [ "text:string", "label:label" ]; labels = [ "no", "yes" ]; id = [ "idx" ];
  instruction = "Yes?"; lines = [ "{{text}}" ]; }};
"""
MODEL = os.path.join(program.SOURCE, "configs/demo/model")
SHARES = (5, 25, 50, 75, 95, 99)


def quantiles(lengths):
    """The smallest lengths that given percentages do not exceed, by sorting all of them."""
    ordered = sorted(lengths)
    made = {f"p{p}": ordered[max(1, math.ceil(p * len(ordered) / 100)) - 1] for p in SHARES}
    return dict(made, min=ordered[0], max=ordered[-1])


class Data(case.Case):
    def own(self, train, test=None, suffix=".jsonl", pack=lambda content: content):
        """A data set of lines (objects, or raw bytes); returns the path of its configuration."""
        files = []
        for name, rows in (("train", train), ("test", test or [{"text": "t", "label": 0}])):
            lines = [row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows]
            path = os.path.join(self.folder, name + suffix)
            files.append(world.write(path, pack(b"".join(line + b"\n" for line in lines))))
        return world.write(os.path.join(self.folder, "own.cfg"), CONFIG.format(*files))

    def data(self, *arguments, code=0, **options):
        return json.loads(self.expect(program.run(["data", *arguments, "--json"], **options), code).out)

    def check_lengths(self, found, lengths):
        self.assertEqual({k: v for k, v in found.items() if k != "mean"}, quantiles(lengths))
        self.assertAlmostEqual(found["mean"], sum(lengths) / len(lengths), places=9)


class Small(Data):
    def test_numbers_are_those_of_the_file(self):
        texts = [f"row {'x' * (i * i % 97)} \u00e9\U0001f600" for i in range(250)]
        texts += ["a" * 70000, "\u4e16" * 80001, texts[3]]
        rows = [{"text": text, "label": i % 3 % 2} for i, text in enumerate(texts)]
        config = self.own(rows, [{"text": texts[7], "label": 1}, {"text": "new", "label": 1}])
        found = self.data(config, "--threads", "2")
        train, test = found["train"], found["test"]
        content = world.read(os.path.join(self.folder, "train.jsonl"))
        content = content if isinstance(content, bytes) else content.encode()
        self.assertEqual(train["sha256"], hashlib.sha256(content).hexdigest())
        self.assertEqual((train["bytes"], train["form"], train["compression"]), (len(content), "JSON lines", ""))
        self.assertEqual((train["rows"], train["samples"], train["left_out"]), (len(rows), len(rows), 0))
        labels = collections.Counter("no yes".split()[row["label"]] for row in rows)
        self.assertEqual(train["labels"], dict(labels))
        self.assertEqual(train["top_answers"], [{"answer": k, "count": n} for k, n in labels.most_common()])
        self.assertEqual(train["repeated_texts"], len(texts) - len(set(texts)))
        self.assertEqual(train["overlap_with_test"], texts.count(texts[7]))
        self.assertNotIn("overlap_with_test", test)
        self.check_lengths(train["prompt_characters"], [len("Yes?\n" + text) for text in texts])
        self.check_lengths(train["answer_characters"], [len(k) for k in labels.elements()])
        self.assertEqual(train["examples"][1], {"row": 1, "line": 2, "user": "Yes?\n" + texts[1], "answer": "yes"})
        self.assertEqual(len(train["examples"]), 3)

    def test_threads_change_nothing(self):
        config = self.own([{"text": f"{i * i % 701}", "label": i % 2} for i in range(3000)])
        self.assertEqual(self.data(config, "--threads", "1"), self.data(config, "--threads", "3"))

    def test_answers_without_labels_are_counted(self):
        rows = [{"text": str(i), "label": 0} for i in range(9)]
        config = self.own(rows)
        args = [config, "--split", "train", "--set", 'dataset.answer="{text|label}!"', "--set", "dataset.labels=[]",
                "--set", 'dataset.columns=["text:string", "label:int"]']
        found = self.data(*args)["train"]
        self.assertEqual((found["different_answers"], found["labels"], found["top_answers"]), (9, {}, []))
        config = self.own([{"text": str(i % 4), "label": 0} for i in range(9)] + [{"text": "once", "label": 0}])
        found = self.data(*args)["train"]
        self.assertEqual(found["different_answers"], 5)
        self.assertEqual([(a["answer"], a["count"]) for a in found["top_answers"]], [("0!", 3), ("1!", 2), ("2!", 2), ("3!", 2)])

    def test_a_packed_file_has_the_numbers_of_the_plain_one(self):
        if "gzip" not in json.loads(program.run(["info", "--json"]).out)["compressions"]:
            case.skip("no gzip in this build")
        rows = [{"text": f"{i}", "label": i % 2} for i in range(50)]
        plain = self.data(self.own(rows))["train"]
        packed = self.data(self.own(rows, suffix=".jsonl.gz", pack=gzip.compress))["train"]
        self.assertEqual(packed["compression"], "gzip")
        self.assertEqual(packed["bytes"], os.path.getsize(os.path.join(self.folder, "train.jsonl.gz")))
        for key in ("rows", "samples", "labels", "prompt_characters", "examples"):
            self.assertEqual(packed[key], plain[key])

    def test_a_bad_file_shows_its_faults_and_fails(self):
        config = self.own([{"text": "a", "label": 0, "idx": 1}, {"text": "b", "label": 7, "idx": 2}, b"no JSON",
                           {"text": "", "label": 1, "idx": 3}, {"text": "c", "label": 1, "idx": 1}, {"text": "d"},
                           {"text": "e", "label": -1, "idx": 9}, b"{"])
        found = self.data(config, code=1)
        expected = {"unreadable": (2, 3), "column": (1, 6), "label": (1, 2), "answer": (0, 0), "empty": (1, 4),
                    "duplicate": (1, 5)}
        for code, extra in ((1, ()), (0, ("--set", "data.max_bad_share=0.75"))):
            train = self.data(config, *extra, code=code)["train"]
            self.assertEqual({k: (f["rows"], f["first_line"]) for k, f in train["faults"].items()}, expected)
            self.assertEqual((train["rows"], train["samples"], train["left_out"], train["unlabelled"]), (8, 2, 6, 1))
            self.assertEqual("problem" in train, code == 1)
        self.assertIn("train.jsonl:2:", found["train"]["problem"])
        text = self.expect(program.run(["data", config]), 1, "first of 6 bad rows of 8", "data.max_bad_share").out
        self.assertRegex(text, r"unreadable +2, first in line 3\n")
        self.expect(program.run(["data", config, "--set", "data.max_bad_share=0.7"]), 1)

    def test_a_file_without_one_good_row_shows_its_faults_too(self):
        config = self.own([b"no", b"JSON"])
        found = self.data(config, "--set", "data.max_bad_share=1", code=1)
        self.assertEqual(found["train"]["faults"]["unreadable"], {"rows": 2, "first_line": 1})
        self.assertIsNone(found["train"]["prompt_characters"])
        self.assertIn("none of its 2 rows", found["train"]["problem"])

    def test_control_characters_do_not_reach_the_terminal(self):
        config = self.own([{"text": "\x1b[2Jevil\x07\r\u202e\n  rows 5", "label": 0}] * 2)
        out = self.expect(program.run(["data", config]), 0).out
        self.assertIsNone(next((c for c in out if c < " " and c != "\n" or c == "\x7f"), None))
        self.assertIn("| \\x1b[2Jevil", out)
        self.assertIn("|   rows 5\n", out)

    def test_tokens_are_those_of_a_run(self):
        model = os.path.join(program.SOURCE, "configs/demo/model")
        config = self.own([{"text": "w " * (i % 40 + 1), "label": i % 2} for i in range(199)], [{"text": "w ", "label": 0}])
        cache = os.path.join(self.folder, "cache")
        args = [config, "--model", model, "--set", "data.cutoff_tokens=2000", "--cache", cache]
        first = self.data(*args)
        for split in ("train", "test"):
            found = first[split]
            row, prompt, answer = (found[k + "_tokens"] for k in ("row", "prompt", "answer"))
            self.assertEqual(found["over_cutoff"], 0)
            self.assertAlmostEqual(row["mean"], prompt["mean"] + answer["mean"], places=6)
        self.assertEqual(first["test"]["cache"], {"found": False, "rows": 1, "tokens": first["test"]["row_tokens"]["max"]})
        self.assertEqual(first["train"]["cache"]["rows"], first["train"]["samples"] - first["train"]["overlap_with_test"])
        self.assertGreater(first["train"]["overlap_with_test"], 0)
        self.assertTrue(self.data(*args)["train"]["cache"]["found"])
        cutoff = first["train"]["row_tokens"]["p75"]
        cut = self.data(config, "--model", model, "--set", f"data.cutoff_tokens={cutoff}")["train"]
        self.assertEqual(cut["row_tokens"], first["train"]["row_tokens"], "lengths are those before the cut")
        self.assertGreater(cut["over_cutoff"], 0)
        self.assertLessEqual(cut["over_cutoff"], 0.25 * cut["samples"])
        self.assertEqual(cut["too_long"], 0)
        none = self.data(config, "--model", model, "--set", "data.cutoff_tokens=3", code=1)["train"]
        self.assertEqual((none["over_cutoff"], none["too_long"]), (199, 199))
        self.assertIn("199 of 199 samples are longer than data.cutoff_tokens = 3", none["problem"])
        self.data(config, "--model", model, "--set", "data.cutoff_tokens=3", "--set", "data.max_truncated_share=1")

    def test_mistakes_are_named(self):
        config = self.own([{"text": "a", "label": 0}])
        for line, message in ((["--rows", "9"], "--rows has no effect without --bench"), (["--template", "none"], "needs --model"),
                              (["--cache", "x"], "needs --model"), (["--bench"], "leave out the name"),
                              (["--set", "train.batch=1"], "keys like dataset.KEY"), (["--split", "dev"], "both"),
                              (["--model", config], "tokenizer")):
            with self.subTest(line):
                self.assertIn(program.run(["data", config, *line]).code, (1, 2))
                self.expect(program.run(["data", config, *line]), program.run(["data", config, *line]).code, message)
        self.expect(program.run(["data"]), 2, "the name of a data set is missing")
        self.expect(program.run(["data", "colla"]), 2, "did you mean \"cola\"")
        self.expect(program.run(["data", "no.cfg"]), 2, "no such file")
        line = ["env", "-u", "PB_DATA", program.PROGRAM, "data", "cola"]
        self.expect(program.finish(program.launch(line, program.environment(None, None))), 2, "PB_DATA is not set; export it")


class Golden(Data):
    def test_cola(self):
        folder = os.path.join(program.SHARED, "data/cola")
        if not os.path.isdir(folder):
            case.skip("no shared data: set PB_SHARED")
        rows = {}
        for split in ("train", "test"):
            with open(os.path.join(folder, split + ".jsonl"), encoding="utf-8") as f:
                rows[split] = [json.loads(line) for line in f]
        found = self.data("cola")
        instruction = found["train"]["examples"][0]["user"].partition("\n")[0]
        for split, lines in rows.items():
            texts = [row["sentence"] for row in lines]
            labels = collections.Counter(("unacceptable", "acceptable")[row["label"]] for row in lines)
            self.assertEqual(found[split]["labels"], dict(labels))
            self.assertEqual(found[split]["repeated_texts"], len(texts) - len(set(texts)))
            self.check_lengths(found[split]["prompt_characters"], [len(instruction) + 1 + len(text) for text in texts])
        test = {row["sentence"] for row in rows["test"]}
        overlap = sum(row["sentence"] in test for row in rows["train"])
        self.assertEqual(overlap, 16)
        self.assertEqual(found["train"]["overlap_with_test"], overlap)


class Bench(Data):
    def test_measures_three_sizes_and_leaves_nothing(self):
        env = {"TMPDIR": self.folder}
        before = os.listdir(self.folder)
        out = self.expect(program.run(["data", "--bench", "--model", MODEL, "--rows", "2000", "--threads", "2", "--json"], env=env), 0).out
        rows = [json.loads(line) for line in out.splitlines()]
        self.assertEqual([row["rows"] for row in rows], [500, 1000, 2000])
        for row in rows:
            self.assertEqual(len(row["seconds"]), 6)
            self.assertTrue(all(seconds > 0 for seconds in row["seconds"].values()))
            self.assertGreater(row["tokens"], 10 * row["rows"])
            self.assertGreaterEqual(row["token_row_bytes"], 4 * row["tokens"])
        self.assertEqual(os.listdir(self.folder), before)
        again = program.run(["data", "--bench", "--model", MODEL, "--rows", "2000", "--json"], env=env).out
        for row, other in zip(rows, map(json.loads, again.splitlines())):
            self.assertEqual((row["file_bytes"], row["tokens"]), (other["file_bytes"], other["tokens"]))

    def test_memory_beyond_the_token_rows_does_not_grow_with_them(self):
        with open(program.PROGRAM, "rb") as f:
            if b"__asan_init" in f.read():
                case.skip("under a sanitizer growing blocks are copied")
        out = self.expect(program.run(["data", "--bench", "--model", MODEL, "--rows", "40000", "--threads", "1", "--json"]), 0).out
        small, _, large = map(json.loads, out.splitlines())
        grown = large["token_row_bytes"] - small["token_row_bytes"]
        self.assertLess(large["peak_beyond_bytes"] - small["peak_beyond_bytes"], 0.5 * grown)

    def test_a_signal_leaves_nothing(self):
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            process = program.start(["data", "--bench", "--model", MODEL, "--rows", "400000", "--threads", "1"], env={"TMPDIR": self.folder})
            deadline = time.monotonic() + 20
            while time.monotonic() < deadline and not any(n.startswith("peftbench-data-") for n in os.listdir(self.folder)):
                time.sleep(0.01)
            process.send_signal(number)
            self.expect(program.finish(process), 3, "is removed: stopped on " + number.name)
            self.assertFalse([n for n in os.listdir(self.folder) if n.startswith("peftbench-data-")])

    def test_a_folder_that_cannot_be_made_is_named(self):
        self.expect(program.run(["data", "--bench", "--model", MODEL], env={"TMPDIR": os.path.join(self.folder, "none")}), 1, "set TMPDIR")


if __name__ == "__main__":
    case.main()
