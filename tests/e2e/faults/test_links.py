# SPDX-License-Identifier: Apache-2.0
"""Something else under every name that the program writes: no link is followed, nothing but a regular file is replaced, and
links to folders are folders."""
import os
import re
import shutil
import stat

import case
import faults
import program
import results
import world


class Links(faults.Faults):
    def setUp(self):
        super().setUp()
        self.victim = world.write(os.path.join(self.folder, "victim"), b"precious")
        self.rows = world.write(os.path.join(self.folder, "rows.jsonl"), '{"input_ids": [1, 2, 3], "labels": [-100, 2, 3]}\n')
        self.method = world.write(os.path.join(self.folder, "lora.cfg"), 'method = { name = "lora"; };\n')

    def link(self, path, target=None):
        if os.path.lexists(path):
            os.remove(path)
        os.symlink(target or self.victim, path)
        return path

    def check_victim(self, why):
        self.assertEqual(world.read(self.victim), b"precious", why)
        self.assertFalse(os.path.exists(os.path.join(self.folder, "nowhere")), why)

    def obstacles(self):
        """Kinds of files that are not regular, and how they are made."""
        yield "directory", os.mkdir, stat.S_ISDIR
        yield "pipe", os.mkfifo, stat.S_ISFIFO
        if os.geteuid() == 0:  # a device of our own: those of the system must not be at risk
            yield "device", lambda path: os.mknod(path, 0o600 | stat.S_IFCHR, os.makedev(1, 3)), stat.S_ISCHR

    def names(self):
        """Every file of a results folder; in the short form, one of its shards and one of its tokens."""
        for base, _, names in os.walk(self.clean):
            names = sorted(names)
            for name in names if faults.LONG or base == self.clean else names[:1]:
                path = os.path.relpath(os.path.join(base, name), self.clean)
                yield path
                if path.endswith(".tokens"):
                    yield os.path.splitext(path)[0] + ".lock"

    def test_links_in_a_results_folder(self):
        for name in self.names():
            for target in (self.victim, os.path.join(self.folder, "nowhere"), os.path.basename(name)):
                with self.subTest(name=name, target=target):
                    self.begin(missing=4)
                    shutil.rmtree(os.path.join(self.output, "tokens"))
                    os.mkdir(os.path.join(self.output, "tokens"))
                    path = self.link(os.path.join(self.output, name), target)
                    result = program.run(["run", self.grid, "-o", self.output])
                    self.check_victim(str(result))
                    if name == "run.lock":
                        self.expect(result, 1, path, "a symbolic link", "remove it")
                        os.remove(path)
                        result = program.run(["run", self.grid, "-o", self.output])
                    self.expect(result, 0)
                    self.assertEqual(self.digest(self.merged()), self.expected)

    def test_a_lock_with_another_name(self):
        path = os.path.join(self.output, "run.lock")
        os.remove(path)
        os.link(self.victim, path)
        self.expect(program.run(["run", self.grid, "-o", self.output]), 1, path, "hard links")
        self.check_victim("run.lock")

    def test_obstacles_in_a_results_folder(self):
        for name in ("run.lock", "plan.json", "tiny.h5"):
            for kind, make, is_kind in self.obstacles():
                with self.subTest(name=name, kind=kind):
                    kept = self.begin(missing=1)
                    path = os.path.join(self.output, name)
                    os.remove(path)
                    make(path)
                    result = program.run(["run", self.grid, "-o", self.output], timeout=60)
                    self.expect(result, 1, path, "a " + kind, "not a regular file")
                    self.assertEqual(result.err.count("error: "), 1, str(result))
                    self.assertTrue(is_kind(os.lstat(path).st_mode), "it was replaced")
                    (os.rmdir if kind == "directory" else os.remove)(path)
                    self.check_recovers(kept)

    def test_folders_that_are_links(self):
        elsewhere = os.path.join(self.folder, "elsewhere")
        for name in ("", "shards", "tokens"):
            with self.subTest(name=name):
                kept = self.begin(missing=2)
                path = os.path.join(self.output, name).rstrip("/")
                shutil.rmtree(elsewhere, ignore_errors=True)
                os.rename(path, elsewhere)
                os.symlink(elsewhere, path)
                self.check_recovers(kept)
                self.assertTrue(os.path.islink(path))
                os.remove(path)

    def test_folders_that_loop_or_lead_nowhere(self):
        for name in ("", "shards"):
            for target in ("loop", os.path.join(self.folder, "nowhere")):
                with self.subTest(name=name, target=target):
                    self.begin()
                    path = os.path.join(self.output, name).rstrip("/")
                    shutil.rmtree(path)
                    os.symlink(os.path.basename(path) if target == "loop" else target, path)
                    merge = ["merge", self.output, "-o", os.path.join(self.folder, "x.h5")]
                    for command in (["run", self.grid, "-o", self.output], merge, ["status", self.output]):
                        result = program.run(command, timeout=60)
                        self.expect(result, 1, path)
                        self.assertEqual(result.err.count("error: "), 1, str(result))
                    self.assertTrue(os.path.islink(path))
                    self.check_victim(name)
                    os.remove(path)

    def outputs(self):
        """Commands with the files that they are to write: name → arguments, and what must hold afterwards."""
        train = ["train", "--model", self.world.good_model, "--method", self.method, "--batches", self.rows, "--steps", "1"]
        yield "out.h5", ["merge", self.clean, "-o"]
        yield "out.csv", ["report", self.merged(self.clean), "--format", "csv", "-o"]
        yield "grads.safetensors", [*train, "--dump-grads"]
        yield "final.safetensors", [*train, "--dump-final"]
        yield "logits.safetensors", ["logits", "--model", self.world.good_model, "--ids", "1,2", "--output"]

    def test_files_named_by_the_user(self):
        for name, arguments in self.outputs():
            path = os.path.join(self.folder, name)
            with self.subTest(name=name):
                self.expect(program.run([*arguments, path]), 0)
                first = os.path.getsize(path)
                self.link(path)
                self.expect(program.run([*arguments, path]), 0)
                self.check_victim(name)
                self.assertTrue(stat.S_ISREG(os.lstat(path).st_mode))
                self.assertEqual(os.path.getsize(path), first)
                os.remove(path)
            for kind, make, is_kind in self.obstacles():
                with self.subTest(name=name, kind=kind):
                    make(path)
                    result = program.run([*arguments, path], timeout=60)
                    self.assertIn(result.code, (1, 2), str(result))  # 2: refused before the work
                    self.assertRegex(result.err, f"error: .*{re.escape(path)}.* a {kind}")
                    self.assertEqual(result.err.count("error: "), 1, str(result))
                    self.assertTrue(is_kind(os.lstat(path).st_mode), "it was replaced")
                    (os.rmdir if kind == "directory" else os.remove)(path)

    def test_a_saved_adapter(self):
        adapter = os.path.join(self.folder, "adapter")
        arguments = ["train", "--model", self.world.good_model, "--method", self.method, "--batches", self.rows, "--steps", "1",
                     "--save", adapter]
        self.expect(program.run(arguments), 0)
        files = {name: world.read(os.path.join(adapter, name)) for name in os.listdir(adapter)}
        self.assertIn("adapter_config.json", files)
        for name in files:
            self.link(os.path.join(adapter, name))
        self.expect(program.run(arguments), 0)
        self.check_victim("adapter")
        for name, content in files.items():
            self.assertEqual(world.read(os.path.join(adapter, name)), content)


if __name__ == "__main__":
    case.main()
