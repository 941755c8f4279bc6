# SPDX-License-Identifier: Apache-2.0
"""Invalid grid files and options: exit code 2 before anything is computed, with file, line, key and the
nearest valid one."""
import os

import case
import program
import world


class BadGrid(case.Case):
    def setUp(self):
        super().setUp()
        self.world.model()
        self.world.dataset()

    def refuse(self, grid, *texts, more=(), code=2, processes=(None,)):
        for ranks in processes:
            result = program.run(["run", grid, "-o", self.output, *more], ranks=ranks)
            with self.subTest(ranks=ranks, err=result.err):
                self.expect(result, code, *texts)
                errors = {line.partition("error: ")[2] for line in result.err.splitlines() if "error: " in line}
                self.assertEqual(len(errors), 1, "one error, the same on every rank")
                self.assertFalse(os.path.exists(os.path.join(self.output, "tiny.h5")))

    def grid(self, **changes):
        arguments = {"models": ["good"], "datasets": ["pairs"]}
        arguments.update(changes)
        return self.world.grid(**arguments)

    def test_unknown_names_of_every_axis(self):
        self.refuse(self.grid(models=["god"]), "tiny.cfg:3", '"god"', "good", processes=(None, 2))
        self.refuse(self.grid(datasets=["pears"]), "tiny.cfg:4", '"pears"', "pairs")
        self.refuse(self.grid(methods=["lora", "lorra"]), "tiny.cfg:5", '"lorra"', "lora")
        self.refuse(self.grid(methods=["lora", "lora"]), "tiny.cfg:5", "twice")
        self.refuse(self.grid(models=["../secret"]), "tiny.cfg:3", "../secret")

    def test_a_grid_that_is_not_there(self):
        self.expect(program.run(["plan", "quick"]), 0, "sweep quick: 54 cells")
        for name in ("quickly", os.path.join(self.folder, "no.cfg")):
            self.refuse(name, name, "No such file or directory", "configs/grid/quick.cfg", processes=(None, 2))
            self.expect(program.run(["plan", name]), 2, name, "configs/grid/quick.cfg")

    def test_unknown_keys(self):
        self.refuse(self.grid(rest="train = { learning_rat = 0.1; };\n"), "learning_rat", "learning_rate", processes=(None, 2))
        self.refuse(self.grid(rest="trains = { batch = 1; };\n"), "trains", "train")
        self.refuse(self.grid(sweep='protokol = "paper";'), "protokol", "protocol")
        self.refuse(self.grid(), "train.bach", "batch", more=["--set", "train.bach=3"])

    def test_wrong_types_and_bounds(self):
        for rest, words in (("train = { batch = \"four\"; };\n", ["batch"]), ("train = { batch = 0; };\n", ["batch"]),
                            ("train = { batch = -1; };\n", ["batch"]), ("train = { batch = 1.5; };\n", ["batch"]),
                            ("train = { beta1 = 1.0; };\n", ["beta1"]), ("train = 3;\n", ["train"]),
                            ("data = { train_rows = [1]; };\n", ["train_rows"]),
                            ("train = { shuffle = 1; };\n", ["shuffle"])):
            with self.subTest(rest):
                self.refuse(self.grid(rest=rest), "tiny.cfg:9", *words)

    def test_text_that_is_no_configuration(self):
        for name, text in (("cut", "sweep = { name = "), ("binary", b"\x7fELF\0\0"), ("not-utf8", b'sweep = { name = "\xff"; };'),
                           ("empty", "")):
            with self.subTest(name):
                self.refuse(world.write(self.world.path("grid", name + ".cfg"), text), name + ".cfg")
        self.refuse(self.world.path("grid/nowhere.cfg"), "nowhere.cfg", processes=(None, 2))
        self.refuse(self.folder, self.folder, "directory")

    def test_empty_axes_and_seeds(self):
        self.refuse(self.grid(methods=[]), "methods")
        self.refuse(self.grid(seeds=[]), "seeds")
        self.refuse(self.grid(seeds=['"one"']), "seeds")
        self.refuse(self.grid(seeds=[1, 1]), "tiny.cfg:6", "twice")
        self.refuse(self.grid(seeds=["9007199254740993"]), "tiny.cfg:6", "9007199254740993 is outside 0 … 9007199254740992")

    def test_wrong_assignments(self):
        for text in ("train.batch", "=3", "train.batch=", "train..batch=3", "nothing.here=1"):
            with self.subTest(text):
                self.refuse(self.grid(), more=["--set", text])

    def test_environment_variable_that_is_not_set(self):
        self.world.model("variable", "${PB_NO_SUCH_VARIABLE}/model")
        result = program.run(["run", self.grid(models=["variable", "good"]), "-o", self.output])
        self.expect(result, 2, "variable.cfg:1", "${PB_NO_SUCH_VARIABLE}/model", "not set")

    def test_wrong_method_options_name_the_file(self):
        world.write(self.world.path("method/strange.cfg"), 'method = { name = "lora"; rank = 4; };\n')
        self.refuse(self.grid(methods=["strange"]), "strange.cfg:1", "rank")
        world.write(self.world.path("method/wrong.cfg"), 'method = { name = "lara"; };\n')
        self.refuse(self.grid(methods=["wrong"]), "wrong.cfg:1", "lara", "lora")

    def test_unknown_metric(self):
        path = self.world.path("dataset/pairs.cfg")
        world.write(path, world.read(path).decode().replace('"f1"', '"acuracy"'))
        self.refuse(self.grid(), "pairs.cfg:2", '"acuracy"', 'did you mean "accuracy"', processes=(None, 2))
        self.expect(program.run(["plan", self.grid()]), 2, "pairs.cfg:2", '"acuracy"')

    def test_time_limit_that_leaves_no_time(self):
        self.refuse(self.grid(), "time_limit_seconds = 50", "time_reserve_seconds = 60",
                    more=["--set", "run.time_limit_seconds=50.0"], processes=(None, 2))

    def test_device_and_threads(self):
        if "cuda " in program.run(["info"]).out:
            case.skip("this build has the device")
        self.refuse(self.grid(), "cuda", "auto, cpu", more=["--device", "cuda"])
        self.refuse(self.grid(), "gpu9", more=["--device", "gpu9"])
        self.refuse(self.grid(rest="run = {\n  device = \"gpu9\"; };\n"), "tiny.cfg:10: run.device", "gpu9")
        self.refuse(self.grid(), "threads", more=["--threads", "-1"])


if __name__ == "__main__":
    case.main()
