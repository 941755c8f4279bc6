# SPDX-License-Identifier: Apache-2.0
"""Inputs that are not files, and files that are damaged: one clear error naming the file, never a wait or a crash."""
import os

import case
import program
import world


KINDS = (("a pipe", os.mkfifo), ("a device", lambda path: os.symlink("/dev/zero", path)))


class NoRegularFiles(case.Case):
    """Something else in place of every input: nothing writes to the pipe, so a reader that opens it waits forever, and the
    device, to which a link leads, has no end."""

    def setUp(self):
        super().setUp()
        self.model = self.world.copy_model("own")
        self.rows = world.write(os.path.join(self.folder, "rows.jsonl"), '{"input_ids": [1, 2, 3], "labels": [-100, 2, 3]}\n')
        self.method = world.write(os.path.join(self.folder, "lora.cfg"), 'method = { name = "lora"; };\n')

    def refuse(self, path, *arguments, code=1):
        kept = path + ".kept"
        if os.path.exists(path):
            os.rename(path, kept)
        for kind, make in KINDS:
            make(path)
            try:
                with self.subTest(path, kind=kind):
                    self.expect(program.run(arguments, timeout=60), code, path, kind + ", not a regular file")
            finally:
                os.remove(path)
        if os.path.exists(kept):
            os.rename(kept, path)

    def train(self, *more):
        return ["train", "--model", self.model, "--method", self.method, "--batches", self.rows, "--steps", "1", *more]

    def test_files_of_a_model(self):
        for name in ("config.json", "model.safetensors", "tokenizer.json"):
            self.refuse(os.path.join(self.model, name), *self.train())

    def test_files_of_train_and_generate(self):
        for path, more in ((self.method, ()), (self.rows, ()), (os.path.join(self.folder, "init"), ("--init",))):
            self.refuse(path, *self.train(*more, *([path] if more else [])))
        ids = os.path.join(self.folder, "ids.jsonl")
        self.refuse(ids, "generate", "--model", self.model, "--ids-file", ids, "--max-new-tokens", "1")

    def test_files_of_an_adapter(self):
        adapter = os.path.join(self.folder, "adapter")
        self.expect(program.run(self.train("--save", adapter)), 0)
        for name in ("adapter_config.json", "adapter_model.safetensors"):
            self.refuse(os.path.join(adapter, name), "logits", "--model", self.model, "--adapter", adapter, "--ids", "1,2",
                        "--output", os.path.join(self.folder, "logits.safetensors"))

    def test_files_of_a_grid(self):
        grid = self.world.grid([self.world.model("own", self.model)], [self.world.dataset()], ["none"])
        arguments = ("run", grid, "-o", self.output)
        self.refuse(grid, *arguments, code=2)
        self.refuse(self.world.path("grid/../model/own.cfg"), *arguments, code=2)
        for path in (self.world.path("data/pairs/train.jsonl"), os.path.join(self.model, "model.safetensors"),
                     os.path.join(self.model, "tokenizer.json")):
            self.refuse(path, *arguments, "--fresh", code=2)

    def test_results_and_tables(self):
        for name, arguments in (("results.h5", ["report"]), ("table.csv", ["pscp"])):
            path = os.path.join(self.folder, name)
            self.refuse(path, *arguments, path)


class DamagedFiles(case.Case):
    def test_control_bytes_of_a_damaged_file_do_not_reach_the_terminal(self):
        folder = self.world.copy_model("own")
        world.write(os.path.join(folder, "config.json"), b'{"a": \x1b[31m\x07}')
        result = program.run(["generate", "--model", folder, "--prompt", "a", "--max-new-tokens", "1"])
        self.expect(result, 1, "config.json", "\\x1b")
        self.assertNotRegex(result.err, "[\x00-\x08\x0b-\x1f\x7f]")

    def test_unknown_groups_of_a_method_file(self):
        rows = world.write(os.path.join(self.folder, "rows.jsonl"), '{"input_ids": [1, 2], "labels": [-100, 2]}\n')
        path = os.path.join(self.folder, "method.cfg")
        arguments = ["train", "--model", self.world.good_model, "--method", path, "--batches", rows, "--steps", "1"]
        for text, words in (('\nmethd = { name = "lora"; };', ("method.cfg:2", '"methd"', '"method"')),
                            ('method = { name = "lora"; };\n\nmodel = { };', ("method.cfg:3", '"model"'))):
            with self.subTest(text):
                world.write(path, text)
                self.expect(program.run(arguments), 2, *words)
        world.write(path, 'method = { name = "lora"; };\ntrain = { batch = 2; };')
        self.expect(program.run(arguments), 0)

    def test_values_that_are_not_there(self):
        rows = world.write(os.path.join(self.folder, "rows.jsonl"), '{"input_ids": [1, 2], "labels": [-100, 2]}\n')
        method = world.write(os.path.join(self.folder, "method.cfg"), 'method = { name = "lora"; };')
        nowhere = os.path.join(self.folder, "nowhere")
        arguments = ["train", "--model", self.world.good_model, "--method", method, "--batches", rows, "--steps", "1", "--init"]
        for path in (nowhere, nowhere + "/"):
            with self.subTest(path):
                self.expect(program.run([*arguments, path]), 1, nowhere, "No such file or directory")


if __name__ == "__main__":
    case.main()
