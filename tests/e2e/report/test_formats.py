# SPDX-License-Identifier: Apache-2.0
"""The report in every format: readable by a parser, with the same numbers, and unbroken by names that try to."""
import csv
import io
import json
import os
import pty
import re
import shutil
import subprocess
import tempfile

import case
import program

MAKE_SWEEP = os.environ["PB_MAKE_SWEEP"]


class Made(case.Case):
    """Reports of made-up sweeps, which are read only: each is made once; a failed and a missing cell in each with more than 31 cells."""

    @classmethod
    def setUpClass(cls):
        cls.made = tempfile.mkdtemp(prefix="peftbench-")
        cls.addClassCleanup(shutil.rmtree, cls.made, ignore_errors=True)
        cls.reports = {}

    def sweep(self, models, datasets, methods, seeds, *hostile):
        folder = os.path.join(self.made, f"{models}-{datasets}-{methods}-{seeds}-{len(hostile)}")
        if not os.path.exists(folder):
            os.makedirs(folder)
            subprocess.run([MAKE_SWEEP, folder, str(models), str(datasets), str(methods), str(seeds), *hostile], check=True,
                           timeout=120)
        return os.path.join(folder, "made-up.h5")

    def report(self, path, form, *more):
        words = ("report", path, "--format", form, *more)
        if words not in self.reports:
            self.reports[words] = self.expect(program.run(list(words)), 0).out
        return self.reports[words]

    def sweeps(self):
        yield "plain", self.sweep(2, 3, 4, 2)
        yield "one cell", self.sweep(1, 1, 1, 1)
        yield "hostile", self.sweep(2, 3, 3, 2, "hostile")


class Formats(Made):
    def test_rows_of_markdown_have_the_columns_of_their_header(self):
        for name, path in self.sweeps():
            with self.subTest(name):
                text = self.report(path, "markdown")
                tables = re.findall(r"(?:^\|.*\n)+", text, re.M)
                self.assertGreaterEqual(len(tables), 3)
                for table in tables:
                    widths = {len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}
                    self.assertEqual(len(widths), 1, table)
                self.assertNotIn("<script", text)
                self.assertTrue(text.endswith("\n") and not text.endswith("\n\n"))

    def test_rows_of_latex_have_the_columns_of_their_header(self):
        for name, path in self.sweeps():
            with self.subTest(name):
                text = self.report(path, "latex", "--pairs", "all").partition("\n")[2]
                bare = re.sub(r"\\[\\{}$&#_%]", lambda match: "\\\\" if match[0] == "\\\\" else "", text)
                self.assertEqual(bare.count("{"), bare.count("}"))
                self.assertNotRegex(re.sub(r"\{!\}\{%|\$[^$\n]*\$", "", bare), r"[#_^%$~]")
                for environment in ("table", "tabular", "longtable", "itemize"):
                    self.assertEqual(text.count(f"\\begin{{{environment}}}"), text.count(f"\\end{{{environment}}}"))
                for columns, body in re.findall(r"\\begin\{(?:tabular|longtable)\}\{@\{\}(\w+)@\{\}\}(.*?)\\bottomrule", bare, re.S):
                    for row in re.findall(r"^  (.*) \\\\$", body, re.M):
                        self.assertEqual(row.count("&") + 1, len(columns), row)
                for rule in ("\\toprule", "\\midrule", "\\bottomrule", "\\caption{scores"):
                    self.assertIn(rule, text)

    def test_cells_are_lines_with_every_number(self):
        for name, path in self.sweeps():
            with self.subTest(name):
                rows = list(csv.DictReader(io.StringIO(self.report(path, "csv-cells"))))
                made = json.loads(self.report(path, "json"))
                self.assertEqual(len(rows), made["cells"]["planned"])
                for state, count in (("done", made["cells"]["done"]), ("failed", len(made["failed"])),
                                     ("missing", len(made["missing"]))):
                    self.assertEqual(sum(row["state"] == state for row in rows), count)
                for row in rows:
                    self.assertEqual(bool(row["score"]), row["state"] == "done")
                first = made["scores"][0]
                own = [float(row["score"]) for row in rows if row["state"] == "done" and row["model"].strip("'") == first["model"]
                       and row["dataset"] == first["dataset"] and row["method"].strip("'") == first["method"]]
                self.assertAlmostEqual(sum(own) / len(own), first["mean"], 9)

    def test_long_csv_keeps_its_first_name(self):
        path = self.sweep(1, 2, 2, 1)
        self.assertEqual(self.report(path, "csv"), self.report(path, "csv-long"))

    def test_the_best_of_a_row_stands_out_and_failures_are_named(self):
        path = self.sweep(2, 3, 4, 2)
        best = max((s for s in json.loads(self.report(path, "json"))["scores"] if s["dataset"] == "mnli"
                    and s["model"] == "Llama-3.2-1B"), key=lambda s: s["mean"])
        markdown, latex = self.report(path, "markdown"), self.report(path, "latex")
        self.assertRegex(markdown, rf"\*\*{best['mean']:.2f} ")
        self.assertRegex(latex, rf"\\textbf\{{{best['mean']:.2f} ")
        for text in (markdown, latex, self.report(path, "text")):
            self.assertIn("the loss of step 7 is not finite", text)
            self.assertIn("missing: ", text)

    def on_terminal(self, path, **more):
        leader, follower = pty.openpty()
        env = dict(program.environment(None, None), TERM="xterm", COLUMNS="200", **more)
        env = {name: value for name, value in env.items() if value is not None}
        with os.fdopen(leader, "rb") as reader:
            process = subprocess.Popen(program.command(["report", path]), env=env, stdout=follower, stderr=subprocess.DEVNULL)
            os.close(follower)
            parts = []
            try:
                while part := os.read(reader.fileno(), 65536):
                    parts.append(part)
            except OSError:  # the terminal is closed
                pass
            self.assertEqual(process.wait(60), 0)
        return b"".join(parts).decode().replace("\r\n", "\n")

    def test_colour_is_for_terminals_that_want_it(self):
        path = self.sweep(1, 2, 2, 1)
        plain = self.expect(program.run(["report", path, "--width", "200"]), 0).out
        self.assertNotIn("\x1b", plain)
        coloured = self.on_terminal(path, NO_COLOR=None)
        self.assertIn("\x1b[1m", coloured)
        self.assertEqual(re.sub(r"\x1b\[\d*m", "", coloured), plain)
        self.assertEqual(self.on_terminal(path, NO_COLOR="1"), plain)


if __name__ == "__main__":
    case.main()
