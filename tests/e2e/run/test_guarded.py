# SPDX-License-Identifier: Apache-2.0
"""A program whose backend has memory that only operations may touch gives the same as the CPU, bit for bit, and counts
that memory as device memory."""
import os
import re

import case
import program
import results
import world

METHODS = sorted({name[:-4] for name in os.listdir(os.path.join(program.SOURCE, "configs/method"))} - {"mean"})
# Values that depend on the time, the place and the kind of memory.
OTHER = re.compile(r"seconds|per_second|energy|mfu|^memory|created|^message$")
ROWS = [b'{"input_ids": [1, 5, 6, 7, 8], "labels": [-100, -100, 6, 7, 8]}', b'{"input_ids": [1, 9, 4], "labels": [-100, 9, 4]}']


class Guarded(case.Case):
    def setUp(self):
        super().setUp()
        self.addCleanup(setattr, program, "PROGRAM", program.PROGRAM)
        self.users, program.PROGRAM = program.PROGRAM, os.environ["PB_GUARDED"]

    def both(self, arguments, *outputs):
        """Runs a command on both devices: its output, and the bytes of the files that it wrote."""
        made = []
        for device in ("cpu", "guarded"):
            folder = world.write(os.path.join(self.folder, device, "place"), b"")[:-len("/place")]
            line = [word.replace("DEVICE", folder) for word in arguments]
            out = self.expect(program.run([*line, "--device", device]), 0).out
            made.append([re.sub(r'"seconds": [\d.e+-]+', "", out)] + [world.read(os.path.join(folder, name)) for name in outputs])
        self.assertEqual(made[0], made[1])

    def test_a_sweep_has_the_same_numbers(self):
        grid = self.world.grid([self.world.model()], [self.world.dataset()], METHODS)
        made = {}
        for device in ("cpu", "guarded"):
            output = os.path.join(self.folder, "out-" + device)
            self.run_grid(grid, 0, output, "--device", device)
            made[device] = self.cells("tiny", output)
            path = os.path.join(output, "tiny.h5")
            for name in ("train/loss", "train/grad_norm", "validation/loss", "memory/device_bytes"):
                text = results.h5dump("-y", "-m", "%.17g", "-d", f"/cells/good/pairs/lora/1/{name}", path).stdout.decode()
                made[device, name] = re.search(r"DATA \{(.*?)\}", text, flags=re.S)[1].split(",")
        self.assertEqual(len(made["cpu"]), len(METHODS))
        for key, cell in made["cpu"].items():
            other = made["guarded"][key]
            for name in cell:
                if not OTHER.search(name):
                    self.assertEqual(cell[name], other[name], (key, name))
            self.assertGreater(float(other["memory_peak_gb"]), 0)
        for name in ("train/loss", "train/grad_norm", "validation/loss"):
            self.assertEqual(made["cpu", name], made["guarded", name])
        self.assertEqual({float(x) for x in made["cpu", "memory/device_bytes"]}, {0})
        self.assertGreater(max(float(x) for x in made["guarded", "memory/device_bytes"]), 1e5)

    def test_a_gang_shares_products_and_has_the_digest_of_cells_alone(self):
        methods, digests = ["lora", "ia3", "bitfit", "prompt-tuning", "full"], []
        grid = self.world.grid([self.world.model()], [self.world.dataset()], methods, (1, 2))
        for device, gang in (("cpu", 4), ("guarded", 1), ("guarded", 4)):
            output = os.path.join(self.folder, f"out-{device}-{gang}")
            told = self.run_grid(grid, 0, output, "--device", device, "--set", f"run.gang={gang}").err
            tries = device == "guarded" and gang > 1  # which of them are shared depends on the product library
            self.assertEqual(tries, re.search(r"gangs: products with weights of \w+ \[\d+, \d+\] are (shared|not shared: )", told) is not None, told)
            digests.append(self.digest(os.path.join(output, "tiny.h5")))
        self.assertEqual(len(set(digests)), 1, digests)

    def test_weights_are_placed_once_and_bytes_of_a_cell_do_not_depend_on_the_cells_before_it(self):
        models = ["even", "twin"]  # of one folder, both would have the same weights; of equally long names, cells the same bytes
        for name in models:
            self.world.copy_model(name)
        grid = self.world.grid(models, [self.world.dataset()], ["lora", "full"], (1, 2))
        told = self.run_grid(grid, 0, self.output, "--device", "guarded").err
        self.assertEqual(sorted(re.findall(r"model (\w+): [\d.]+ MB placed in the memory of guarded", told)), models)
        peaks = {}
        for (_, _, method, seed), cell in self.cells().items():
            peaks.setdefault((method, seed), []).append(cell["memory_peak_gb"])
        for key, (first, second) in peaks.items():
            self.assertEqual(first, second, key)

    def test_commands_give_the_same_bytes(self):
        rows = world.write(os.path.join(self.folder, "rows.jsonl"), b"\n".join(ROWS) + b"\n")
        model = ["--model", self.world.good_model]
        for name, options in (("full", ""), ("lora", "r = 4;"), ("prompt", "num_virtual_tokens = 3;"), ("prefix", "num_virtual_tokens = 2;")):
            with self.subTest(name):
                method = world.write(os.path.join(self.folder, name + ".cfg"), f'method = {{ name = "{name}"; {options} }};\n')
                saved = "saved/model.safetensors" if name == "full" else "saved/adapter_model.safetensors"
                self.both(["train", *model, "--method", method, "--batches", rows, "--steps", "3", "--batch", "2",
                           "--dump-grads", "DEVICE/grads", "--dump-final", "DEVICE/final", "--save", "DEVICE/saved"],
                          "grads", "final", saved)
                adapter = ["--model", "DEVICE/saved"] if name == "full" else [*model, "--adapter", "DEVICE/saved"]
                self.both(["logits", *adapter, "--ids", "1,5,6,7", "-o", "DEVICE/logits", "--hidden"], "logits")
                self.both(["generate", *adapter, "--ids-file", rows, "--max-new-tokens", "4"])

    def test_users_do_not_see_it(self):
        self.expect(program.run(["info", "--device", "guarded"]), 0)
        program.PROGRAM = self.users
        self.expect(program.run(["info", "--device", "guarded"]), 2, 'unknown backend "guarded"')


if __name__ == "__main__":
    case.main()
