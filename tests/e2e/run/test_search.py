# SPDX-License-Identifier: Apache-2.0
"""Successive halving over the variants of a method: what is stopped, what goes on, and that nothing else decides it."""
import json
import os

import case
import program
import results

VARY = '{ method = "lora"; vary = { train = { learning_rate = [1e-6, 0.01, 1e-5, 0.03]; }; }; }'
NAMES = [f"lora{{learning_rate={rate}}}" for rate in ("1e-06", "0.01", "1e-05", "0.03")]
SEARCH = "  search = { rungs = [25, 50]; keep = 0.5; };"
REST = ("train = { batch = 4; max_steps = 8; evaluate_share = 0.25; };\n"
        "data = { test_rows = 4; validation_share = 0.25; };\n")


class Search(case.Case):
    def setUp(self):
        super().setUp()
        self.world.model()
        self.world.dataset()

    def grid(self, sweep=SEARCH, rest=REST, methods=("none", VARY), seeds=(1, 2)):
        return self.world.grid(["good"], ["pairs"], methods, seeds, sweep=sweep, rest=rest)

    def merged(self, output=None):
        return os.path.join(output or self.output, "tiny.h5")

    def reasons(self, output=None):
        report = json.loads(program.run(["report", self.merged(output), "--json", "--pairs", "none"]).out)
        return {(cell["method"], cell["seed"]): cell["reason"] for cell in report["invalid"]}

    def test_half_of_the_variants_go_on_at_each_rung(self):
        """One of four is left; it has the result that it has without a search, since rungs are steps of validation."""
        self.run_grid(self.grid())
        plain = os.path.join(self.folder, "plain")
        self.run_grid(self.grid(sweep=""), output=plain)
        cells, whole = self.cells(), self.cells(output=plain)
        reasons = self.reasons()
        self.assertEqual(len(reasons), 2 * 3)
        for seed in (1, 2):
            mine = [reasons.get((name, seed), "") for name in NAMES]
            self.assertEqual(sorted(text.split("%")[0] for text in mine), ["", "stopped at 25 ", "stopped at 25 ", "stopped at 50 "])
            for name, reason in zip(NAMES, mine):
                key = ("good", "pairs", name, str(seed))
                self.assertNotEqual(cells[key]["config_hash"], whole[key]["config_hash"])
                self.assertEqual(cells[key]["valid"], "FALSE" if reason else "TRUE")
                if reason:
                    self.assertEqual(cells[key]["score"], "nan")
                    continue
                for column in ("score", "validation_loss", "best_step", "train_tokens", "trainable_params"):
                    self.assertEqual(cells[key][column], whole[key][column])
        key = ("good", "pairs", "none", "1")
        self.assertEqual(cells[key]["config_hash"], whole[key]["config_hash"], "it has no variants")
        text = self.expect(program.run(["report", self.merged(), "--best-by", "validation"]), 0)
        self.assertIn("6 cells of other variants are left out", text.out)

    def test_nothing_but_the_cells_decides(self):
        digests = set()
        for ranks in (None, 2, 4):
            output = os.path.join(self.folder, f"ranks-{ranks}")
            self.run_grid(self.grid(), output=output, ranks=ranks)
            digests.add(self.digest(self.merged(output)))
        process = self.start_until(1, [self.grid(), "-o", self.output])
        program.kill_session(process)
        self.run_grid(self.grid())
        digests.add(self.digest(self.merged()))
        self.assertEqual(len(digests), 1)

    def test_a_group_runs_again_as_a_whole(self):
        self.run_grid(self.grid())
        before = self.digest(self.merged())
        os.remove([path for path in results.shards(self.output) if "lora" in path and "__1__" in path][2])
        again = self.run_grid(self.grid())
        self.assertEqual(again.err.count(" done, "), 4)
        self.assertEqual(self.digest(self.merged()), before)
        self.assertEqual(self.run_grid(self.grid()).err.count(" done, "), 0)

    def test_mistakes_have_their_messages(self):
        for sweep, message in (("search = { rungs = [50, 25]; };", "rungs = 25 follows 50; they are ascending"),
                               ("search = { rungs = []; };", "rungs is empty; leave search out"),
                               ("search = { rungs = [100]; };", "rungs = 100 is outside 1 … 99"),
                               ("search = { keep = 0.5; };", "sweep.search.rungs is missing"),
                               ("search = { rungs = [50]; keep = 1.0; };", "keep = 1 is outside 0.01 … 0.99")):
            with self.subTest(message):
                self.expect(program.run(["plan", self.grid(sweep=sweep)]), 2, "tiny.cfg:7: ", message)
        run = self.run_grid(self.grid(rest=REST.replace("validation_share = 0.25", "validation_share = 0.0")), 4)
        self.assertIn("give data.validation_share", run.err)
        steps = VARY.replace("learning_rate = [1e-6, 0.01, 1e-5, 0.03]", "max_steps = [4, 8]")
        run = self.run_grid(self.grid(methods=(steps,)), 4)
        self.assertIn("which must be equally many: ", run.err)


if __name__ == "__main__":
    case.main()
