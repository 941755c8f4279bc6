# SPDX-License-Identifier: Apache-2.0
"""The command line: help of every command, errors that name the intended word, and the single stages on JSON lines
with good and with broken input."""
import json
import os
import re
import subprocess

import case
import program
import world

COMMANDS = ["run", "plan", "status", "merge", "report", "pscp", "list", "info", "bench", "data", "tokenize", "prompt", "score", "logits",
            "train", "generate"]
BROKEN = {"no JSON": b"{", "a list": b"[1]", "not UTF-8": b'{"text": "\xff"}', "no key": b"{}", "null": b"null",
          "deep": b"[" * 100000, "text is a number": b'{"text": 3}', "trailing": b'{"text": "a"} x'}


class Help(case.Case):
    def test_program_lists_the_commands(self):
        out = self.expect(program.run(["--help"]), 0).out
        listed = re.findall(r"^  (\w+) ", out.partition("commands:\n")[2], flags=re.M)
        for command in COMMANDS:
            self.assertIn(command, listed)
        for command in listed:
            result = self.expect(program.run([command, "--help"]), 0, f"usage: peftbench {command}")
            self.assertEqual(result.err, "")
            self.assertEqual(program.run([command, "--no-such-option", "-h"]).code, 0, "help wins over mistakes")

    def test_version(self):
        self.assertRegex(self.expect(program.run(["--version"]), 0).out, r"\d+\.\d+")

    def test_help_under_the_launcher_is_printed_once(self):
        out = self.expect(program.run(["run", "--help"], ranks=2), 0).out
        self.assertEqual(out.count("usage: "), 1)

    def test_help_config_names_every_group(self):
        out = self.expect(program.run(["run", "--help-config"]), 0).out
        for word in ("sweep", "sweep.exclude", "sweep.override", "run", "train", "data", "learning_rate", "max_bad_share",
                     "9007199254740992"):
            self.assertIn(word, out)
        result = self.expect(program.run(["run", "--help-config", "--json"]), 2, "leave --json out")
        self.assertEqual(result.out, "")

    def test_an_installed_program_finds_its_configurations(self):
        build = os.path.dirname(os.path.dirname(os.path.realpath(program.PROGRAM)))
        subprocess.run(["cmake", "--install", build, "--prefix", self.output], check=True, stdout=subprocess.DEVNULL)
        installed = os.path.join(self.output, "bin", "peftbench")
        grid = os.path.join(self.output, "share", "peftbench", "configs", "grid", "quick.cfg")
        for arguments, text in ((["list", "models"], "demo"), (["plan", grid, "--cells", "--gflops", "1"], "demo-pairs")):
            result = program.launch([installed, *arguments], program.environment(None, {"PB_CONFIGS": None}), cwd=self.folder)
            self.expect(program.finish(result), 0, text)

    def test_far_more_threads_than_processors_are_refused(self):
        count = 64 + 4 * os.cpu_count()
        self.expect(program.run(["bench", "--shape", "tiny", "--threads", str(count)], timeout=60), 1, f"cpu: {count} threads",
                    "--threads")

    def test_info_is_json_when_asked(self):
        info = json.loads(self.expect(program.run(["info", "--json"]), 0).out)
        self.assertIn("peftbench", info["program"])
        self.assertNotIn("f32_gflops", info)
        measured = json.loads(self.expect(program.run(["info", "--json", "--measure"]), 0).out)
        self.assertEqual(set(measured) - set(info), {"f32_gflops", "candidates"})
        self.assertGreater(measured["f32_gflops"], 0)
        self.assertLessEqual(set(info["compressions"]), {"gzip", "zstd"})
        for line in self.expect(program.run(["info", "--measure"]), 0).out.splitlines():
            self.assertRegex(line, r"^(.{12}|\S{13,}) \S", "every value has a sign")

    def test_bench_is_json_when_asked(self):
        line = ["bench", "--shape", "tiny", "--steps", "2", "--prompt", "8", "--json"]
        made = json.loads(self.expect(program.run(line), 0).out)
        self.assertEqual(made["method"], "lora")
        self.assertGreater(made["tokens_per_second"], 0)
        self.assertGreater(made["forward_tokens_per_second"], 0)
        self.assertIn("thread", made["backend"])

    def test_bench_leaves_out_one_saving_after_the_other(self):
        line = ["bench", "--shape", "tiny", "--steps", "2", "--batch", "2", "--set", "method.dropout=0.0", "--profile"]
        for profile in ("glue", "gsm8k", "long"):
            with self.subTest(profile):
                made = json.loads(self.expect(program.run(line + [profile, "--json"] + ["--ablate"] * (profile == "glue")), 0).out)
                self.assertEqual(made["profile"], profile)
                self.assertGreater(made["eval_rows_per_second"], 0)
                shares = [made[f"{kind}_share"] for kind in ("gemm", "attention", "elementwise", "head", "optimizer", "other")]
                self.assertTrue(all(share >= 0 for share in shares), shares)
                self.assertAlmostEqual(sum(shares), 1, places=3)
                self.assertEqual([a["without"] for a in made.get("ablations", [])],
                                 ["padding", "prefix", "head", "last", "lowest", "cache", "leaving", "drafts", "order"] * (profile == "glue"))
        self.assertIn("without", self.expect(program.run(line + ["long", "--ablate"]), 0).out)

    def test_bench_measures_loading(self):
        line = ["bench", "--model", self.world.good_model, "--load", "--json"]
        made = json.loads(self.expect(program.run(line), 0).out)
        self.assertGreater(made["bytes"], 0)
        self.assertGreater(made["gb_per_second"], 0)
        self.assertGreater(made["copy_gb_per_second"], 0)

    def test_bench_knows_every_family(self):
        for family in ("Llama", "Mistral", "Qwen2", "Qwen3", "Gemma3", "Phi3"):
            with self.subTest(family):
                line = ["bench", "--shape", f"architecture={family}ForCausalLM,layers=2,width=64,heads=4,kv_heads=2,ff=96,vocab=256",
                        "--steps", "2", "--prompt", "8"]
                if family == "Phi3":
                    self.expect(program.run(line), 2, "qkv_proj")
                    line += ["--set", 'method.targets=["qkv_proj", "down_proj"]']
                self.assertRegex(self.expect(program.run(line), 0).out, r"training +[\d.]+ tokens/s\nforward +[\d.]+ tokens/s")

    def test_bench_has_keys_of_the_method(self):
        line = ["bench", "--shape", "tiny", "--steps", "2", "--prompt", "8", "--json"]
        trainable = [json.loads(self.expect(program.run(line + ["--set", f"method.r={r}"]), 0).out)["trainable"] for r in (2, 4)]
        self.assertEqual(2 * trainable[0], trainable[1])
        self.expect(program.run(line + ["--set", "train.batch=2"]), 2, "train.batch=2")


class List(case.Case):
    def names(self, kind, **options):
        return {entry["name"]: entry for entry in json.loads(self.expect(program.run(["list", kind, "--json"], **options), 0).out)}

    def test_every_kind_has_names_and_a_line_about_each(self):
        expected = {"models": ["demo", "smollm2-135m"], "datasets": ["rte", "demo-pairs"], "methods": ["lora", "p-tuning", "majority"],
                    "grids": ["quick"], "metrics": ["accuracy", "f1", "codebleu"], "templates": ["auto", "llama3", "none"]}
        for kind, some in expected.items():
            with self.subTest(kind):
                found = self.names(kind, cwd=self.folder)
                self.assertLessEqual(set(some), set(found))
                text = self.expect(program.run(["list", kind, "--width", "100"], cwd=self.folder), 0).out
                for name, entry in found.items():
                    self.assertNotEqual(entry["about"], "", name)
                    self.assertIn(f"  {name}", text)
                    self.assertEqual(entry["path"] is None, kind in ("metrics", "templates"))

    def test_files_are_found_as_other_commands_find_them(self):
        one, two = (os.path.join(self.folder, name) for name in ("one", "two"))
        world.write(os.path.join(one, "method/mine.cfg"), "# SPDX-License-Identifier: MIT\n#\n# A method\n# of my own. More.\n")
        world.write(os.path.join(one, "method/bare.cfg"), 'method = { name = "lora"; };\n')
        world.write(os.path.join(two, "method/mine.cfg"), "# Another one.\n")
        here = world.write(os.path.join(self.folder, "configs/method/lora.cfg"), "# Over the one of the program.\n")
        found = self.names("methods", cwd=self.folder, env={"PB_CONFIGS": f"{one}:/nowhere:{two}"})
        self.assertEqual((found["mine"]["about"], found["mine"]["path"]), ("A method of my own.", os.path.join(one, "method/mine.cfg")))
        self.assertEqual(found["bare"]["about"], "")
        for comment, about in (("LoRA by Hu et al. Rank 8, 0.1 % of all. More.", "LoRA by Hu et al. Rank 8, 0.1 % of all."),
                               ("LoRA (Hu et al. 2022; sec. 4. Table 2), e.g. for all. More. And more.",
                                "LoRA (Hu et al. 2022; sec. 4. Table 2), e.g. for all."), ("No end", "No end")):
            world.write(os.path.join(one, "method/mine.cfg"), f"# {comment}\n")
            self.assertEqual(self.names("methods", cwd=self.folder, env={"PB_CONFIGS": one})["mine"]["about"], about)
        self.assertEqual(os.path.realpath(os.path.join(self.folder, found["lora"]["path"])), os.path.realpath(here))
        self.assertEqual(list(found), sorted(found))

    def test_what_cannot_be_listed_is_named(self):
        self.expect(program.run(["list", "method"]), 2, '"method"', 'did you mean "methods"?', "templates")
        self.expect(program.run(["list"]), 2, "usage: peftbench list models|datasets")

    def test_unknown_names_list_what_exists(self):
        for arguments, *texts in ((["bench", "--method", "xxxxxxxx"], "known: none, full, lora"),
                                  (["prompt", "--explain", "xxxxxxxx"], "known: ", "rte", "winogrande"),
                                  (["data", "demo-pairs", "--model", "x", "--template", "xxxxxxxx"], "llama3, qwen3"),
                                  (["xxxxxxxx"], "known: run, plan")):
            with self.subTest(arguments):
                self.expect(program.run(arguments), 2, *texts)

    def test_help_names_nothing_that_is_refused(self):
        out = self.expect(program.run(["run", "--help-config"]), 0).out
        self.assertNotIn("cuda" if "cuda " not in program.run(["info"]).out else "\0", out)
        self.assertNotIn("65536", re.search(r"(?m)^ *group .*$", out)[0])


class Mistakes(case.Case):
    def test_unknown_commands_and_options_name_the_nearest(self):
        for arguments, *texts in ((["rum"], "run"), (["generat"], "generate"), (["run", "--retry-faild"], "--retry-failed"),
                                  (["train", "--step", "3"], "--steps"), (["logits", "--idz", "1"], "--ids"),
                                  (["tokenize", "--modle", "x"], "--model"), (["bench", "--stepz=1"], "--steps"),
                                  (["report", "--diggest", "x"], "--digest"), (["generate", "-x"], "-x"),
                                  (["run"], "grid file"), (["run", "a.cfg", "b.cfg"], "b.cfg"), (["status"], "status"),
                                  (["train"], "--model"), (["logits", "--model"], "--model"),
                                  (["train", "--steps", "three"], "three"), (["bench", "--steps", "0"], "--steps"),
                                  (["bench", "--method", "lorra"], "lora"), (["bench", "--shape", "huge"], "huge"),
                                  (["bench", "--shape", ""], '""'), (["bench", "--shape", "heads=8,"], '""'),
                                  (["bench", "--shape", "width=512,width=64"], "width is given twice"),
                                  (["bench", "--shape", "tiny", "--model", "x"], "--model and --shape exclude each other"),
                                  (["bench", "--load"], "--load needs --model"), (["bench", "--profile", "x"], "known: glue, gsm8k, long"),
                                  (["bench", "--profile", "glue", "--prompt", "9"], "--prompt has no effect with --profile"),
                                  (["bench", "--model", "x", "--load", "--steps", "3"], "--steps has no effect"),
                                  (["info", "--seed", "1"], "--seed"), (["run", "--seed", "1", "a.cfg"], "--seed"), (["plan", "--seed", "1", "a.cfg"], "--seed"), (["logits", "--seed", "1"], "--seed"), (["generate", "--seed", "1"], "--seed"),
                                  (["run", "--fresh=yes", "a.cfg"], "--fresh"), (["info", "--log-level", "loud"], "loud")):
            with self.subTest(arguments):
                result = program.run(arguments)
                self.expect(result, 2, *texts)
                self.assertNotIn("Traceback", result.err)

    def test_files_that_are_not_there(self):
        for arguments in (["report", "nowhere.h5"], ["status", "nowhere"], ["merge", "nowhere", "-o", "x.h5"], ["merge", "nowhere"],
                          ["pscp", "nowhere.csv"], ["tokenize", "--model", "nowhere"]):
            with self.subTest(arguments):
                self.expect(program.run(arguments, given=b"", cwd=self.folder), 1, "nowhere")
        self.assertEqual(os.listdir(self.folder), [])

    def test_report_of_a_file_that_is_no_result(self):
        for name, content in (("empty", b""), ("text", b"hello"), ("half", b"\x89HDF\r\n\x1a\n" + bytes(100))):
            path = world.write(os.path.join(self.folder, name + ".h5"), content)
            with self.subTest(name):
                self.expect(program.run(["report", path]), 1, path)


class Stages(case.Case):
    def setUp(self):
        super().setUp()
        self.good = self.world.good_model
        self.method = os.path.join(program.SOURCE, "configs/method/lora.cfg")

    def test_tokenize_there_and_back(self):
        texts = ["tom gave the red ball to anna.", "", "é ü \U0001F600 \\ \" \n", " a  b "]
        lines = "".join(json.dumps({"text": t}) + "\n" for t in texts)
        ids = self.expect(program.run(["tokenize", "--model", self.good], given=lines), 0).out
        self.assertEqual(len(ids.splitlines()), len(texts))
        back = self.expect(program.run(["tokenize", "--model", self.good, "--decode"], given=ids), 0).out
        self.assertEqual([json.loads(line)["text"] for line in back.splitlines()], texts)

    def test_tokenize_of_broken_lines_names_the_line(self):
        for name, line in BROKEN.items():
            with self.subTest(name):
                result = program.run(["tokenize", "--model", self.good], given=b'{"text": "tom"}\n\n' + line + b"\n")
                self.expect(result, 1, "standard input:3")
                self.assertEqual(len(result.out.splitlines()), 1)
        for ids in ("[-1]", "[512000]", "[1.5]", '["a"]', "3", "[9223372036854775808]", "[4294967297]"):
            with self.subTest(ids):
                result = program.run(["tokenize", "--model", self.good, "--decode"], given=f'{{"ids": {ids}}}\n')
                self.expect(result, 1, "standard input:1")

    def test_tokenize_of_a_line_without_an_end(self):
        for given in (b"a" * (65 << 20), b"\n" + b"\0" * (65 << 20)):
            result = program.run(["tokenize", "--model", self.good], given=given)
            self.expect(result, 1, f"standard input:{1 + given.count(10)}: the line is longer than the 67108864 bytes")

    def test_no_input_is_no_output(self):
        self.assertEqual(self.expect(program.run(["tokenize", "--model", self.good], given=b""), 0).out, "")

    def rows(self, *lines):
        return world.write(os.path.join(self.folder, "rows.jsonl"), b"".join(line + b"\n" for line in lines))

    def train(self, *lines):
        return program.run(["train", "--model", self.good, "--method", self.method, "--batches", self.rows(*lines), "--steps", "2", "--batch", "1"])

    def test_train_prints_one_json_object_per_step(self):
        result = self.expect(self.train(b'{"input_ids": [1, 5, 6, 7], "labels": [-100, -100, 6, 7]}'), 0)
        steps = [json.loads(line) for line in result.out.splitlines()]
        self.assertEqual([s["step"] for s in steps], [0, 1])
        self.assertEqual(steps[0]["tokens"], 4)
        self.assertEqual(steps[0]["label_tokens"], 2)

    def test_train_takes_the_train_group_of_the_method_file(self):
        rows = self.rows(*[b'{"input_ids": [1, 5, 6, 7], "labels": [-100, -100, 6, 7]}'] * 6)
        path = world.write(os.path.join(self.folder, "own.cfg"), 'method = { name = "lora"; };\n'
                           "train = { learning_rate = 0.25; batch = 3; warmup_ratio = 0.0; };\n")
        line = ["train", "--model", self.good, "--method", path, "--batches", rows, "--steps", "2"]
        for more, rate, tokens in (([], 0.25, 12), (["--lr", "0.5"], 0.5, 12), (["--batch", "1"], 0.25, 4)):
            with self.subTest(more):
                result = self.expect(program.run(line + more), 0, "own.cfg: its group train sets learning_rate, batch, warmup_ratio")
                first = json.loads(result.out.splitlines()[0])
                self.assertEqual((first["lr"], first["tokens"]), (rate, tokens))
        world.write(path, 'method = { name = "lora"; };\n\ntrain = { batsh = 3; };\n')
        self.expect(program.run(line), 2, "own.cfg:3", "batsh", "batch")

    def test_train_on_broken_rows_names_the_line(self):
        good = b'{"input_ids": [1, 5, 6], "labels": [-100, 5, 6]}'
        for name, line in dict(BROKEN, **{
                "no labels": b'{"input_ids": [1, 2]}', "too few labels": b'{"input_ids": [1, 2], "labels": [1]}',
                "no ids": b'{"input_ids": [], "labels": []}', "id beyond": b'{"input_ids": [1, 512], "labels": [1, 2]}',
                "negative id": b'{"input_ids": [1, -1], "labels": [1, 2]}', "label beyond": b'{"input_ids": [1, 2], "labels": [1, 512]}',
                "label -1": b'{"input_ids": [1, 2], "labels": [1, -1]}', "fraction": b'{"input_ids": [1, 2.0], "labels": [1, 2]}',
                "huge": b'{"input_ids": [1, 4294967297], "labels": [1, 2]}', "twice": b'{"input_ids": [1], "input_ids": [1], "labels": [1]}',
                "text": b'{"input_ids": "12", "labels": [1, 2]}'}).items():
            with self.subTest(name):
                self.expect(self.train(good, b"", line), 1, "rows.jsonl:3")

    def test_train_without_any_row_or_label(self):
        self.expect(self.train(), 1, "rows.jsonl")
        self.expect(self.train(b"", b"  "), 1, "rows.jsonl")
        self.assertNotEqual(self.train(b'{"input_ids": [1, 5], "labels": [-100, -100]}').code, 0)

    def test_train_on_a_late_row_without_labels_makes_no_step(self):
        good = b'{"input_ids": [1, 5, 6], "labels": [-100, 5, 6]}'
        result = self.expect(self.train(good, b'{"input_ids": [1, 5], "labels": [-100, -100]}'), 1, "training row 2 of 2")
        self.assertEqual(result.out, "")

    def test_train_tries_its_outputs_before_the_first_step(self):
        file = self.rows(b'{"input_ids": [1, 5, 6], "labels": [-100, 5, 6]}')
        nowhere = os.path.join(self.folder, "nowhere", "x")
        for option, path in (("--dump-final", nowhere), ("--dump-grads", nowhere), ("--dump-final", self.folder), ("--save", file),
                             ("--save", "/proc/x")):
            with self.subTest(option + " " + path):
                line = ["train", "--model", self.good, "--method", self.method, "--batches", file, "--steps", "2", option, path]
                result = self.expect(program.run(line), 1, f"{option}: ", path)
                self.assertEqual(result.out, "")
        out = os.path.join(self.folder, "a", "b")
        self.expect(program.run(line[:-2] + ["--save", out, "--dump-final", os.path.join(self.folder, "final")]), 0)
        self.assertEqual(sorted(os.listdir(out)), ["adapter_config.json", "adapter_model.safetensors"])
        self.assertFalse([name for name in os.listdir(self.folder) if ".tmp." in name])

    def test_an_adapter_beyond_the_range_of_numbers_is_an_error(self):
        adapter = os.path.join(self.folder, "adapter")
        rows = self.rows(b'{"input_ids": [1, 5, 6], "labels": [-100, 5, 6]}')
        self.expect(program.run(["train", "--model", self.good, "--method", self.method, "--batches", rows, "--steps", "1",
                                 "--save", adapter]), 0)
        path = os.path.join(adapter, "adapter_config.json")
        config = json.loads(world.read(path))
        world.write(path, json.dumps(dict(config, lora_alpha=1e308)))
        out = os.path.join(self.folder, "out.safetensors")
        for line in (["generate", "--prompt", "tom", "--max-new-tokens", "2"], ["logits", "--ids", "1,5", "-o", out]):
            with self.subTest(line[0]):
                self.expect(program.run([*line, "--model", self.good, "--adapter", adapter]), 1, "logits of row 1", "not finite")
        self.assertFalse(os.path.exists(out))

    def test_generate(self):
        path = self.rows(b'{"input_ids": [1, 5, 6]}', b'{"input_ids": [1]}')
        result = self.expect(program.run(["generate", "--model", self.good, "--ids-file", path, "--max-new-tokens", "3"]), 0)
        for line in result.out.splitlines():
            self.assertLessEqual(len(json.loads(line)["ids"]), 3)
        self.assertEqual(len(result.out.splitlines()), 2)
        self.expect(program.run(["generate", "--model", self.good, "--prompt", "tom has", "--max-new-tokens", "3"]), 0)

    def test_rows_are_answered_in_their_order_and_drafts_change_nothing(self):
        rows = [[1, 5, *range(10, 30), last] for last in (9, 6, 8, 7)] + [[1, 4]]
        path = self.rows(*(json.dumps({"input_ids": ids}).encode() for ids in rows))
        line = ["generate", "--model", self.good, "--max-new-tokens", "5", "--ids-file"]
        alone = self.expect(program.run([*line, path, "--batch", "1"]), 0).out
        self.assertEqual(self.expect(program.run([*line, path, "--batch", "4"]), 0).out, alone)
        answers = [json.loads(text)["ids"] for text in alone.splitlines()]
        drafts = os.path.join(self.folder, "drafts.jsonl")
        world.write(drafts, "".join(json.dumps({"input_ids": ids}) + "\n" for ids in [*answers[:2], answers[2][:1] + [3], [7]]).encode())
        self.assertEqual(self.expect(program.run([*line, path, "--drafts", drafts]), 0).out, alone)
        world.write(drafts, b'{"input_ids": [512]}')
        self.expect(program.run([*line, path, "--drafts", drafts]), 1, "drafts.jsonl:1")

    def test_generate_from_broken_rows_names_the_line(self):
        for name, line in dict(BROKEN, **{"beyond": b'{"input_ids": [512]}', "empty": b'{"input_ids": []}'}).items():
            with self.subTest(name):
                path = self.rows(b'{"input_ids": [1]}', line)
                result = program.run(["generate", "--model", self.good, "--ids-file", path, "--max-new-tokens", "2"])
                self.expect(result, 1, "rows.jsonl:2")

    def test_logits(self):
        out = os.path.join(self.folder, "out.safetensors")
        self.expect(program.run(["logits", "--model", self.good, "--ids", "1,5,6", "-o", out]), 0)
        header, data = world.split_safetensors(world.read(out))
        self.assertEqual(header["logits"], {"dtype": "F32", "shape": [3, 512], "data_offsets": [0, len(data)]})
        self.assertEqual(len(data), 3 * 512 * 4)
        for ids in ("", "1,", "1,,2", "1,x", "512", "-1", "99999999999999999999"):
            with self.subTest(ids):
                self.expect(program.run(["logits", "--model", self.good, "--ids", ids, "-o", out]), 2)
        for option, value in (("--merge", None), ("--init", out)):
            result = program.run(["logits", "--model", self.good, "--ids", "1", "-o", out, option, *([value] if value else [])])
            self.expect(result, 2, option, "adapter")
        shown = self.expect(program.run(["logits", "--model", self.good, "--ids", "1,5", "-o", out, "--json"]), 0).out
        self.assertEqual(json.loads(shown), {"rows": 2, "vocab": 512, "path": out})
        result = program.run(["logits", "--model", self.good, "--ids", "1", "-o", os.path.join(out, "below")])
        self.expect(result, 1, out)

    def test_commands_for_one_process_refuse_a_launcher(self):
        self.expect(program.run(["logits", "--model", self.good, "--ids", "1", "-o", "x"], ranks=2), 2, "without a launcher")


if __name__ == "__main__":
    case.main()
