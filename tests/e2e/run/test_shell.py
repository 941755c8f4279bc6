# SPDX-License-Identifier: Apache-2.0
"""The completions of bash and zsh and the manual page: all commands and options are there, and the tools can read them."""
import re
import shutil
import subprocess

import case
import program


def call(line, given):
    return subprocess.run(line, input=given, capture_output=True, text=True, check=False, timeout=60)


class Shell(case.Case):
    def printed(self, *arguments):
        return self.expect(program.run(arguments), 0).out

    def commands(self):
        """Commands and their options, from the texts of help."""
        names = re.findall(r"^  (\w+) ", self.printed("--help").partition("commands:")[2], re.M)
        self.assertGreaterEqual(len(names), 19)
        return {name: re.findall(r"^  (?:-\w, )?(--[\w-]+)", self.printed(name, "--help"), re.M) for name in names}

    def complete(self, *lines):
        """What bash offers at the end of each line: COMP_WORDS are the words, with an equals sign as one of them."""
        text = self.printed("completion", "bash")
        for line in lines:
            words = re.findall(r"[^\s=]+|=", line) + ([""] if line.endswith(" ") else [])
            text += f"COMP_WORDS=({' '.join(repr(w) for w in words)}) COMP_CWORD={len(words) - 1}\n"
            text += "COMPREPLY=(); _peftbench; echo \"${COMPREPLY[*]}\"\n"
        done = call(["bash", "-u"], text)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return [set(line.split()) for line in done.stdout.splitlines()]

    def test_bash(self):
        commands = self.commands()
        names = {*commands, "help", "--help", "--version"}
        offered = self.complete("peftbench ", "peftbench help ", *(f"peftbench {name} -" for name in commands))
        self.assertEqual(offered[:2], [names, names])
        for (name, options), found in zip(commands.items(), offered[2:]):
            self.assertEqual(found, set(options), name)
        for line, expected in (
                ("peftbench r", {"run", "report", "replay"}), ("peftbench run --ke", {"--keep-going"}), ("peftbench run --dtype ", {"f32", "bf16"}),
                ("peftbench run --dtype b", {"bf16"}), ("peftbench run --dtype=", {"f32", "bf16"}), ("peftbench run --dtype=b", {"bf16"}),
                ("peftbench list d", {"datasets"}), ("peftbench completion ", {"bash", "zsh"}), ("peftbench run ", set()),
                ("peftbench run a.cfg -o /us", {"/usr"}), ("peftbench run --events ", set()), ("peftbench nothing -", set())):
            with self.subTest(line):
                self.assertEqual(self.complete(line), [expected])

    def test_zsh(self):
        text = self.printed("completion", "zsh")
        for name, options in self.commands().items():
            own = re.search(rf"^{name}\)\n(.*?)^    ;;$", text, re.M | re.S).group(1)
            self.assertEqual(re.findall(r"^        '\*?(--[\w-]+)", own, re.M), options)
        if shutil.which("zsh"):
            done = call(["zsh", "-n"], text)
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            # Every specification is one that _arguments takes.
            body = text.replace("_arguments $specs", "print -l -- $specs").replace("local -a specs", "typeset -a specs")
            done = call(["zsh", "-f"], "words=(peftbench run x); CURRENT=3\n" + body)
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            self.assertIn("--log-level=[log level: error, warn, info, debug, trace]:value:(error warn info debug trace)", done.stdout)

    def test_manual(self):
        text = self.printed("manual")
        for name, options in self.commands().items():
            own = re.search(rf"^\.SS {name}\n(.*?)(?=^\.SS |\Z)", text, re.M | re.S).group(1).replace("\\-", "-")
            self.assertEqual(re.findall(r"^\.TP\n\.B (?:-\w, )?(--[\w-]+)", own, re.M), options)
        if shutil.which("groff"):
            done = call(["groff", "-man", "-Kutf8", "-Tutf8", "-ww", "-P-cbu"], text)
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            text = " ".join(done.stdout.split())
            for part in ("models|datasets|methods|metrics|templates|grids", "In the tables, ? means not known", "EXIT STATUS"):
                self.assertIn(part, text)

    def test_mistakes(self):
        self.expect(program.run(["completion", "fish"]), 2, 'unknown shell "fish"', "bash", "zsh")
        self.expect(program.run(["completion"]), 2)


if __name__ == "__main__":
    case.main()
