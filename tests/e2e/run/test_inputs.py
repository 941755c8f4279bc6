# SPDX-License-Identifier: Apache-2.0
"""Files that are replaced while a sweep runs: no cell is committed under a configuration hash that does not match what
it read, and the same command repairs everything."""
import hashlib
import os
import re

import case
import program
import results
import world


def sha(content):
    return hashlib.sha256(content).hexdigest()


def attribute(path, name):
    """A text attribute of the cell of a shard."""
    text = results.h5dump("-A", path).stdout.decode()
    return re.search(r'ATTRIBUTE "' + name + r'".*?\(0\): "([^"]*)"', text, re.S)[1]


def seal(content):
    """The bytes of a shard with the checksum that belongs to them."""
    at = content.index(b"with these digits as zeros: ") + len("with these digits as zeros: ")
    rest = content[at + 64:]
    return content[:at] + sha(content[:at] + b"0" * 64 + rest).encode() + rest


class Inputs(case.Case):
    def setUp(self):
        super().setUp()
        rest = "train = { batch = 4; max_steps = 12; epochs = 100.0; };\n"
        self.model = self.world.copy_model("own")
        self.grid = self.world.grid(["own"], [self.world.dataset()], ["lora", "ia3"], (1, 2, 3), rest=rest)
        self.merged = os.path.join(self.output, "tiny.h5")

    def replace(self, path, content):
        world.write(path + ".new", content)
        os.replace(path + ".new", path)

    def replace_after_a_cell(self, path, content, ranks, *more):
        """Runs the sweep, and changes the contents of the file once the first shard exists."""
        process = self.start_until(1, [self.grid, "-o", self.output, *more], ranks)
        self.replace(path, content)
        return program.finish(process, timeout=120)

    def check_and_mend(self, path, change, name, ranks, *more):
        before = world.read(path)
        after = change(before)
        result = self.expect(self.replace_after_a_cell(path, after, ranks, *more), 4, "changed after this run started", "the same command")
        states = {shard: attribute(shard, "status") for shard in results.shards(self.output)}
        self.assertEqual(set(states.values()), {"done", "failed"}, "the file came too late or too early")
        hashes = {state: {attribute(shard, name) for shard in states if states[shard] == state} for state in set(states.values())}
        self.assertEqual(len(hashes["done"]), 1)
        self.assertTrue(hashes["failed"].isdisjoint(hashes["done"]), "a cell failed that read what it should")
        done = {shard: os.stat(shard).st_mtime_ns for shard in states if states[shard] == "done"}
        world.write(path, before)
        self.run_grid(self.grid, 0, None, *more, ranks=ranks)
        self.assertEqual({shard: os.stat(shard).st_mtime_ns for shard in done}, done, "a sound cell was run again")
        self.assertEqual(self.digest(self.merged), self.undisturbed())
        return result

    def undisturbed(self, known=[]):
        if not known:
            output = os.path.join(self.folder, "undisturbed")
            self.run_grid(self.grid, 0, output)
            known.append(self.digest(os.path.join(output, "tiny.h5")))
        return known[0]

    def check_rows(self, split, ranks, *more):
        path = self.world.path("data", "pairs", split + ".jsonl")
        old = world.read(path)

        def reverse(content):
            return b"".join(content.splitlines(keepends=True)[::-1])

        result = self.check_and_mend(path, reverse, "data_hash", ranks, *more)
        for text in (path, sha(old), sha(reverse(old))):
            self.assertIn(text, result.err)
        # The new file makes different cells; the old ones are kept beside them.
        world.write(path, reverse(old))
        self.run_grid(self.grid, 0, None, *more, ranks=ranks)
        self.assertEqual(len(results.shards(self.output)), 12)

    def test_training_file(self):
        self.check_rows("train", None)

    def test_training_file_on_two_ranks(self):
        self.check_rows("train", 2)

    def test_test_file_without_kept_tokens(self):
        self.check_rows("test", None, "--no-cache")

    def test_test_file_without_kept_tokens_on_two_ranks(self):
        self.check_rows("test", 2, "--no-cache")

    def test_weights(self):
        path = os.path.join(self.model, "model.safetensors")
        result = self.check_and_mend(path, lambda content: content[:-4] + b"\0\0\0\x3c", "model_hash", None)
        self.assertIn(self.model + ": the model changed", result.err)

    def test_weights_of_the_same_size_and_time(self):
        """Overwritten in place, as by `cp -p` and `rsync --inplace`."""
        path = os.path.join(self.model, "model.safetensors")

        def replace(path, content):
            about = os.stat(path)
            with open(path, "r+b") as f:
                f.write(content)
            os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))

        self.replace = replace
        result = self.check_and_mend(path, lambda content: content[:-4] + b"\0\0\0\x3c", "model_hash", None)
        self.assertIn(self.model + ": the model changed", result.err)

    def test_tokenizer_on_two_ranks(self):
        path = os.path.join(self.model, "tokenizer.json")
        result = self.check_and_mend(path, lambda content: content + b"\n", "tokenizer_hash", 2)
        self.assertIn(self.model + ": the tokenizer changed", result.err)

    def test_the_same_contents_again_are_no_change(self):
        path = os.path.join(self.model, "model.safetensors")
        self.expect(self.replace_after_a_cell(path, world.read(path), None), 0)
        self.assertEqual(self.digest(self.merged), self.undisturbed())

    def test_finished_records_of_other_inputs_are_run_again(self):
        """As left by a program that did not check what its cells read."""
        self.run_grid(self.grid, 0)
        for name, part in (("data_hash", 0), ("data_hash", 1), ("model_hash", 0), ("tokenizer_hash", 0)):
            with self.subTest(name=name, part=part):
                path = results.shards(self.output)[0]
                before = world.read(path)
                today = attribute(path, name).split()[part]
                world.write(path, seal(before.replace(today.encode(), b"f" * 64)))
                kept = {other: os.stat(other).st_mtime_ns for other in results.shards(self.output) if other != path}
                result = self.run_grid(self.grid, 0)
                self.expect(result, 0, f"{path} was made from other inputs", "f" * 64, today, path + ".damaged")
                self.assertEqual(len(re.findall(" done, ", result.err)), 1)
                self.assertEqual({other: os.stat(other).st_mtime_ns for other in kept}, kept)
                self.assertEqual(attribute(path, name).split()[part], today)
                self.assertEqual(self.digest(self.merged), self.undisturbed())
                os.remove(path + ".damaged")


if __name__ == "__main__":
    case.main()
