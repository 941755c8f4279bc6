# SPDX-License-Identifier: Apache-2.0
"""The libraries of products are chosen once for a folder of results, and every process and every later run takes them."""
import json
import os

import case
import program
import results
import world

MEASURED = {"PB_PRODUCTS": None}


class Products(case.Case):
    def setUp(self):
        super().setUp()
        self.grid = self.world.grid([self.world.model()], [self.world.dataset()], ["none", "lora"], (1, 2))
        self.file = os.path.join(self.output, "products-f32.json")

    def give(self, choice):
        world.write(self.file, json.dumps({"products": choice}))

    def digest_here(self):
        return self.digest(os.path.join(self.output, "tiny.h5"))

    def needs_onednn(self):
        if program.run(["info", "--products", "nt=ff nn=ff tn=ff"]).code != 0:
            case.skip("oneDNN is not here")

    def test_a_measured_choice_is_kept_and_taken_again(self):
        self.run_grid(self.grid, env=MEASURED)
        with open(self.file, encoding="utf-8") as f:
            choice = json.load(f)["products"]
        self.assertRegex(choice, r"^nt=[bf]{2} nn=[bf]{2} tn=[bf]{2}$")
        kept = {path: os.stat(path).st_mtime_ns for path in [self.file, *results.shards(self.output)]}
        self.run_grid(self.grid, env=MEASURED, ranks=2)
        for path, moment in kept.items():
            self.assertEqual(os.stat(path).st_mtime_ns, moment, path)

    def test_every_process_and_run_takes_the_choice_of_the_folder(self):
        """No measurement gives this one: nothing but the file can be its source."""
        self.needs_onednn()
        digests = []
        for ranks in (None, 2):
            self.output = os.path.join(self.folder, f"out{ranks}")
            self.file = os.path.join(self.output, "products-f32.json")
            self.give("nt=fb nn=fb tn=bf")
            self.run_grid(self.grid, env=MEASURED, ranks=ranks)
            digests.append(self.digest_here())
            text = results.h5dump(os.path.join(self.output, "tiny.h5")).stdout
            self.assertIn("nt=fb nn=fb tn=bf", text if isinstance(text, str) else text.decode())
        self.assertEqual(digests[0], digests[1])
        path = os.path.join(self.output, "tiny.h5")
        self.expect(program.run(["replay", path, "--cell", "lora/2"]), 0)

    def test_settings_come_before_the_file(self):
        for how in ({"env": {"PB_PRODUCTS": "blas"}}, {"env": MEASURED, "more": ["--products", "blas"]},
                    {"env": MEASURED, "more": ["--set", "run.products=blas"]}):
            with self.subTest(how=how):
                self.run_grid(self.grid, 0, self.output, *how.pop("more", []), **how)
                self.assertFalse(os.path.exists(self.file))

    def test_a_bad_choice_is_one_clear_error(self):
        for content, text in (("{}", "has no choice"), ('{"products": "quick"}', "expected auto, blas"),
                              ("{", "products-f32.json"), ('{"products": "nt=hb nn=bb tn=bb"}', "only with dtype bf16")):
            with self.subTest(content=content):
                world.write(self.file, content)
                result = program.run(["run", self.grid, "-o", self.output], env=MEASURED)
                self.assertNotEqual(result.code, 0)
                self.assertIn(text, result.err)
                self.assertIn("products-f32.json", result.err)
                self.assertEqual(results.shards(self.output), [])
        self.expect(program.run(["run", self.grid, "-o", self.output, "--products", "quick"]), 2, "expected auto, blas")


if __name__ == "__main__":
    case.main()
