# SPDX-License-Identifier: Apache-2.0
"""`report A.h5 B.h5 --compare`: what differs between two sweeps is named, and the exit code judges it."""
import os

import case
import program
from test_formats import Made


class Compare(Made):
    def compare(self, a, b, code, *more):
        return self.expect(program.run(["report", a, b, "--compare", "--width", "300", *more]), code).out

    def test_a_file_is_like_itself(self):
        path = self.sweep(2, 3, 4, 2)
        out = self.compare(path, path, 0)
        self.assertEqual(out.count("no difference"), 2)
        self.assertIn("only in A: 0; only in B: 0", out)
        for number in ("score", "training losses", "seconds_train", "memory_peak_gb"):
            self.assertRegex(out, rf"(?m)^{number} +46 +46 +0 ", "46 of 48 cells are done")

    def test_cells_of_one_alone_are_named(self):
        a, b = self.sweep(1, 2, 3, 2), self.sweep(1, 2, 2, 1)
        for first, second, side in ((a, b, "A"), (b, a, "B")):
            out = self.compare(first, second, 4)
            self.assertEqual(out.count(f"only in {side}: Llama-3.2-1B/"), 8)
            self.assertIn(f"only in {side}: Llama-3.2-1B/qqp/lora/43", out)
            self.assertIn("in both: 4, 0 of them in another configuration", out)

    def test_settings_and_distances_of_two_runs(self):
        grid = self.world.grid([self.world.model()], [self.world.dataset()], ["none", "lora"], (1, 2))
        paths = []
        for rate in ("1e-3", "2e-3"):
            folder = os.path.join(self.folder, rate)
            self.run_grid(grid, 0, folder, "--set", f"train.learning_rate={rate}")
            paths.append(os.path.join(folder, "tiny.h5"))
        out = self.compare(*paths, 4)
        self.assertRegex(out, r"(?m)^train\.learning_rate +0\.001 +0\.002 +4$")
        self.assertRegex(out, r"(?m)^training losses +4 +2 +2 ", "lora's differ, none has no step")
        self.assertRegex(out, r"(?m)^seconds_train +\d+ +\d+ +0 ", "any time is alike unless a tolerance is given")
        self.compare(*paths, 0, "--tolerance", "2")
        self.compare(*paths, 4, "--tolerance", "2", "--cost-tolerance", "0")
        self.assertIn("| train.learning\\_rate |".replace("\\_", "_"), self.compare(*paths, 4, "--format", "markdown"))

    def test_usage(self):
        path = self.sweep(1, 1, 1, 1)
        for arguments, text in (([path], "takes two files"), ([path, path, path], "takes two files"),
                                ([path, path, "--format", "html"], "--format text, markdown or latex"),
                                ([path, path, "--digest"], "does not take --digest"),
                                ([path, path, "--tolerance", "-1"], "outside 0 … 2")):
            self.expect(program.run(["report", *arguments, "--compare"]), 2, text)
        for option in ("--tolerance", "--cost-tolerance"):
            self.expect(program.run(["report", path, option, "0.1"]), 2, f"{option} is of --compare")


if __name__ == "__main__":
    case.main()
