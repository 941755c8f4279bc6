# SPDX-License-Identifier: Apache-2.0
"""Output of the commands: the path of the results in the last line, tables that no log line interrupts and that fit their
width, and readers that stop reading."""
import csv
import io
import json
import os
import re
import signal
import subprocess
import unicodedata

import case
import program
import results
import world


def columns(text):
    """Columns of a terminal."""
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


class Finished(case.Case):
    """One small sweep for all tests of the class."""

    def setUp(self):
        super().setUp()
        self.grid = self.world.grid([self.world.model()], [self.world.dataset()], ["none", "lora"], (1, 2))
        self.path = os.path.join(self.output, "tiny.h5")

    def merged(self, arguments, ranks=None):
        """Both streams in one pipe, as in `2>&1 | cat`."""
        line = program.command(arguments, ranks)
        done = subprocess.run(line, env=program.environment(ranks, None), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, check=False, timeout=300)
        return done.returncode, done.stdout.decode()

    def test_the_path_is_the_last_line_and_no_table_is_torn(self):
        alone = self.run_grid(self.grid)
        self.assertEqual(alone.out.splitlines()[-1], self.path)
        for round_number in range(4):
            for shard in results.shards(self.output)[:2]:
                os.remove(shard)
            code, text = self.merged(["run", self.grid, "-o", self.output], 2)
            with self.subTest(round_number):
                self.assertEqual(code, 0, text)
                self.assertEqual(text.splitlines()[-1], self.path)
                table = text[text.index("sweep tiny, protocol"):]
                self.assertEqual([line.split()[:1] for line in table.splitlines()],
                                 [line.split()[:1] for line in alone.out.splitlines()])

    def test_json_is_one_object_with_the_path(self):
        made = json.loads(self.run_grid(self.grid, 0, None, "--json", ranks=2).out)
        self.assertEqual(made["path"], self.path)
        self.assertEqual(made["cells"]["done"], 4)
        self.assertNotIn("path", json.loads(self.expect(program.run(["report", self.path, "--json"]), 0).out))

    def test_a_stopped_run_prints_what_there_is(self):
        self.run_grid(self.grid)
        os.remove(results.shards(self.output)[0])
        more = self.world.grid(["good"], ["pairs"], ["none", "lora", "full"], (1, 2),
                               rest="train = { batch = 4; max_steps = 3; };\ndata = { test_rows = 4; };\n"
                               "run = { time_limit_seconds = 61.0; };\n")
        result = program.run(["run", more, "-o", self.output])
        self.assertIn(result.code, (0, 3))
        self.assertIn("sweep tiny, protocol", result.out)
        self.assertEqual(result.out.splitlines()[-1], self.path)
        process = program.start(["run", self.grid, "-o", self.output, "--fresh"])
        process.send_signal(signal.SIGTERM)
        result = program.finish(process)
        self.assertIn(result.code, (3, -signal.SIGTERM), "before the handler is there, or in the run")
        if result.code == 3:
            self.assertEqual(result.out.splitlines()[-1], self.path)

    def test_merge_needs_no_name(self):
        self.run_grid(self.grid)
        os.remove(self.path)
        result = self.expect(program.run(["merge", self.output]), 0)
        self.assertEqual(result.out, self.path + "\n")
        self.assertTrue(os.path.exists(self.path))
        other = os.path.join(self.folder, "other.h5")
        self.assertEqual(self.expect(program.run(["merge", self.output, "-o", other]), 0).out, other + "\n")
        os.remove(os.path.join(self.output, "plan.json"))
        self.expect(program.run(["merge", self.output]), 1, "-o FILE.h5", "plan.json")

    def head(self, arguments, given=b""):
        """The first line only, as read by `| head -n 1`."""
        rows = world.write(os.path.join(self.folder, "given"), given)
        with open(rows, "rb") as stdin, open(os.path.join(self.folder, "err"), "w+b") as err:
            line = program.command(arguments)
            process = subprocess.Popen(line, env=program.environment(None, None), stdin=stdin, stdout=subprocess.PIPE, stderr=err)
            first = process.stdout.readline()
            process.stdout.close()
            code = process.wait(120)
            err.seek(0)
            return code, first.decode(), err.read().decode()

    def test_a_reader_that_stops_is_no_error(self):
        self.run_grid(self.grid)
        row = b'{"text": "tom gave the red ball to anna."}\n'
        method = os.path.join(program.SOURCE, "configs/method/lora.cfg")
        rows = world.write(os.path.join(self.folder, "rows.jsonl"), '{"input_ids": [1, 5, 6], "labels": [-100, 5, 6]}\n')
        for arguments, given in ((["report", self.path], b""), (["run", self.grid, "-o", self.output], b""),
                                 (["--help"], b""), (["run", "--help-config"], b""), (["plan", self.grid], b""),
                                 (["train", "--model", self.world.good_model, "--method", method, "--batches", rows, "--steps",
                                   "1000000"], b""),
                                 (["tokenize", "--model", self.world.good_model], row * 20000)):
            with self.subTest(arguments):
                code, line, err = self.head(arguments, given)
                self.assertEqual(code, 0, err)
                self.assertTrue(line.endswith("\n"))
                self.assertNotIn("error", err)

    def test_a_full_disk_is_an_error(self):
        self.run_grid(self.grid)
        for arguments in (["report", self.path], ["--help"], ["info"]):
            with self.subTest(arguments), open("/dev/full", "wb") as full:
                done = subprocess.run(program.command(arguments), env=program.environment(None, None), stdout=full,
                                      stderr=subprocess.PIPE, check=False)
                self.assertEqual(done.returncode, 1)
                self.assertIn(b"standard output cannot be written", done.stderr)

    def widest(self, text):
        return max(columns(line) for line in text.splitlines())

    def test_tables_fit_their_width(self):
        self.run_grid(self.grid)
        table = world.write(os.path.join(self.folder, "t.csv"),
                            "method,score,params,flops_t,memory_gb\nlora,50,1,1,1\n大模型-e\u0301-" + "name-" * 20 + ",1,1,1,1\n")
        data = self.world.path("dataset/pairs.cfg")
        for arguments in (["report", self.path], ["report", self.path, "--pairs", "all"], ["plan", self.grid],
                          ["pscp", table], ["run", self.grid, "-o", self.output], ["data", data, "--examples", "0"]):
            for width in (60, 80, 120):
                with self.subTest(arguments=arguments, width=width):
                    given = self.expect(program.run([*arguments, "--width", str(width)]), 0).out
                    lines = [line for line in given.splitlines() if self.folder not in line and "sha256" not in line]
                    self.assertLessEqual(self.widest("\n".join(lines)), width)
                    if arguments[0] in ("report", "pscp"):
                        by_environment = self.expect(program.run(arguments, env={"COLUMNS": str(width)}), 0).out
                        strip = lambda text: re.sub(r"[\d.]+", "", re.sub(r" +", " ", text))  # measured numbers may differ
                        self.assertEqual(strip(by_environment), strip(given))
        for name in ("", "nonsense", "0", "-5"):
            self.assertEqual(program.run(["pscp", table], env={"COLUMNS": name}).out, program.run(["pscp", table, "--width", "120"]).out)
        self.expect(program.run(["report", self.path, "--width", "3"]), 2, "--width")

    def test_lines_fit_their_width(self):
        self.run_grid(self.grid)
        for arguments in (["status", self.output], ["info", "--measure"], ["bench", "--shape", "tiny", "--steps", "2"],
                          ["prompt", "--explain", "rte"], ["list", "models"], ["list", "datasets"]):
            with self.subTest(arguments=arguments):
                for width, given in ((40, program.run([*arguments, "--width", "40"])), (60, program.run(arguments, env={"COLUMNS": "60"}))):
                    lines = [line for line in self.expect(given, 0).out.splitlines() if not line.startswith("directory ")]
                    self.assertLessEqual(self.widest("\n".join(lines)), width)
        merged = self.expect(program.run(["merge", self.output, "--width", "20"]), 0).out
        self.assertEqual(merged, self.path + "\n", "a path is one line")
        self.assertEqual(len(self.expect(program.run(["info", "--json", "--width", "40"]), 0).out.splitlines()), 1)
        whole = self.expect(program.run(["info"]), 0).out
        self.assertRegex(whole, r"(?m)^methods +none .* mean$", "nobody said how wide a line may be")

    def test_every_command_takes_a_width(self):
        for command in ("run plan status merge report pscp list info bench data tokenize prompt score logits train generate".split()):
            out = self.expect(program.run([command, "--width", "3"]), 2, "--width 3 is outside 20").out
            self.assertEqual(out, "")

    def test_help_fits_its_width(self):
        for command in ("", "run", "plan", "report", "bench", "train", "data", "prompt"):
            for width in (40, 60, 80):
                out = self.expect(program.run([command, "--help"] if command else ["--help"], env={"COLUMNS": str(width)}), 0).out
                self.assertLessEqual(self.widest(out), width, command)

    def test_csv_is_read_by_others(self):
        self.run_grid(self.grid)
        out = self.expect(program.run(["report", self.path, "--format", "csv"]), 0).out
        rows = list(csv.DictReader(io.StringIO(out, newline="")))
        self.assertEqual({row["table"] for row in rows} - {"score", "score_rows", "score_seeds", "cost", "pscp", "paired"}, set())
        for row in rows:
            self.assertNotIn(None, row)
            for field in row.values():
                self.assertFalse(field[:1] in "=+@" and field, row)
                float(row["value"] or "nan")

    def test_signs_and_numbers(self):
        self.run_grid(self.grid)
        os.remove(results.shards(self.output)[0])
        self.expect(program.run(["merge", self.output]), 0)
        text = self.expect(program.run(["report", self.path]), 0).out
        self.assertIn("? not known, - does not apply", text)
        self.assertIn("4 cells, 3 done, 0 failed, 0 invalid, 1 missing", text)
        self.assertNotRegex(text, r"-0\.0+\b|\bnan\b|n/a|unknown")
        self.assertRegex(text, r"(?m)^none  +0 .* - +\S+ +[12]$", "nothing is trained, so no speed applies")
        one = self.world.grid(["good"], ["pairs"], ["none"], name="single")
        result = self.run_grid(one, 0, os.path.join(self.folder, "single"))
        self.assertIn("1 cell, 1 done", result.out)
        self.assertIn("over 1 seed;", result.out)
        self.assertIn("sweep single: 1 cell, corrected protocol, 1 process,", result.err)


if __name__ == "__main__":
    case.main()
