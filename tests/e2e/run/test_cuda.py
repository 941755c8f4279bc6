# SPDX-License-Identifier: Apache-2.0
"""A sweep over the backend cuda, whose kernels this build runs on the CPU, has the numbers of the CPU as far as the type
of its products allows; what a call of CUDA's runtime refuses fails one cell."""
import json
import os
import re

import case
import program
import results
import world

METHODS = ["full", "lora", "prefix-tuning"]


class Cuda(case.Case):
    def values(self, output, name, method):
        text = results.h5dump("-y", "-m", "%.17g", "-d", f"/cells/good/pairs/{method}/1/{name}",
                              os.path.join(output, "tiny.h5")).stdout.decode()
        return re.search(r"^   DATA \{(.*?)^   \}", text, flags=re.S | re.M)[1]

    def curve(self, output, name, method):
        return [float(x) for x in self.values(output, name, method).split(",")]

    def test_a_sweep_has_the_numbers_of_the_cpu(self):
        grid = self.world.grid([self.world.model()], [self.world.dataset()], METHODS)
        for dtype, near in (("f32", 1e-4), ("bf16", 4e-3)):
            output = {}
            for device in ("cpu", "cuda"):
                output[device] = os.path.join(self.folder, f"out-{dtype}-{device}")
                self.run_grid(grid, 0, output[device], "--device", device, "--dtype", dtype)
                self.assertEqual(len(self.cells("tiny", output[device])), len(METHODS))
            for method in METHODS:
                for name in ("train/loss", "validation/loss"):
                    wanted, got = (self.curve(output[device], name, method) for device in ("cpu", "cuda"))
                    self.assertEqual(len(wanted), len(got))
                    for a, b in zip(wanted, got):
                        self.assertLess(abs(a - b), near * abs(a), (dtype, method, name))
                self.assertGreater(max(self.curve(output["cuda"], "memory/device_bytes", method)), 1e5)

    def test_graphs_change_no_digest(self):
        """Few rows, so that passes of the same sizes come again and are replayed; in bf16 by a gang."""
        data = self.world.dataset("pairs", self.world.rows["train"][:4])
        grid = self.world.grid([self.world.model()], [data], ["lora", "prefix-tuning"],
                               rest="train = { batch = 2; max_steps = 4; epochs = 4.0; };\ndata = { test_rows = 1; };\n")
        for dtype, gang in (("f32", 1), ("bf16", 2)):
            digests = []
            for graphs in ("true", "false"):
                output = os.path.join(self.folder, dtype + graphs)
                self.run_grid(grid, 0, output, "--device", "cuda", "--dtype", dtype, "--set", f"run.gang={gang}",
                              "--set", "run.graphs=" + graphs)
                digests.append(self.digest(os.path.join(output, "tiny.h5")))
            self.assertEqual(digests[0], digests[1], dtype)

    def test_a_gang_has_the_digest_of_cells_alone(self):
        """Also where the library's rows depend on their number, so that nothing is shared."""
        grid = self.world.grid([self.world.model()], [self.world.dataset()], ["lora", "ia3"], (1, 2),
                               rest="train = { batch = 2; max_steps = 2; };\ndata = { test_rows = 2; };\n")
        for mode in ({}, {"FAKE_CUBLASLT": "rows"}):
            digests = []
            for gang in (1, 4):
                output = os.path.join(self.folder, f"out-{len(mode)}-{gang}")
                told = self.run_grid(grid, 0, output, "--device", "cuda", "--set", f"run.gang={gang}", env=mode).err
                shared, apart = ("] are " + text in told for text in ("shared", "not shared"))
                self.assertEqual((shared, apart), (gang > 1 and not mode, gang > 1 and bool(mode)), told)
                digests.append(self.digest(os.path.join(output, "tiny.h5")))
            self.assertEqual(digests[0], digests[1], mode)

    def test_predictions_are_those_of_the_cpu(self):
        grid = self.world.grid([self.world.model()], [self.world.dataset()], METHODS, rest="train = { batch = 4; max_steps = 2; };\n")
        for scoring in ("generation", "likelihood"):
            texts = {}
            for device in ("cpu", "cuda"):
                output = os.path.join(self.folder, f"out-{scoring}-{device}")
                self.run_grid(grid, 0, output, "--device", device, "--set", f"eval.scoring={scoring}", "--set", "data.test_rows=4")
                texts[device] = [self.values(output, "predictions/prediction", method) for method in METHODS]
            self.assertEqual(texts["cpu"], texts["cuda"])

    def test_adapters_trained_on_the_device_are_used_anywhere(self):
        rows = world.write(self.world.path("rows.jsonl"), "".join(
            json.dumps({"input_ids": ids, "labels": [-100] * 3 + ids[3:]}) + "\n" for ids in ([5, 6, 7, 8, 9, 10], [11, 12, 13, 14, 15])))
        for method in METHODS:
            folder, seen = os.path.join(self.folder, method), {}
            name = method.split("-")[0]
            config = world.write(self.world.path(method + ".cfg"), f'method = {{ name = "{name}"; }};\n')
            train = ["train", "--batches", rows, "--batch", "2", "--steps", "2", "--lr", "0.01"]
            self.expect(program.run([*train, "--model", self.world.good_model, "--method", config, "--device", "cuda", "--save", folder]), 0)
            use = ["--model", folder] if method == "full" else ["--model", self.world.good_model, "--adapter", folder]
            again = ["--method", config] if method == "full" else []
            for device in ("cpu", "cuda"):
                done = program.run(["generate", *use, "--ids-file", rows, "--max-new-tokens", "6", "--ignore-eos", "--device", device])
                more = program.run([*train, *use, *again, "--device", device])
                seen[device] = self.expect(done, 0).out, [json.loads(line)["loss"] for line in self.expect(more, 0).out.splitlines()]
            self.assertEqual(seen["cpu"][0], seen["cuda"][0])
            self.assertEqual(len(seen["cuda"][1]), 2)
            for a, b in zip(seen["cpu"][1], seen["cuda"][1]):
                self.assertLess(abs(a - b), 1e-4 * a, method)

    def test_a_cell_that_the_device_refuses_fails_alone(self):
        """One lacks device memory, in another a call fails; what the third has is what it has undisturbed."""
        grid = self.world.grid([self.world.model()], [self.world.dataset()], ["full", "lora", "bitfit"],
                               rest="train = { batch = 2; max_steps = 2; };\ndata = { test_rows = 2; };\n")
        self.run_grid(grid, 0, None, "--device", "cuda")
        expected = self.digest(os.path.join(self.output, "tiny.h5"))
        for call in range(1500, 1510):
            output = os.path.join(self.folder, f"failed-{call}")
            run = self.run_grid(grid, 4, output, "--device", "cuda", env={"FAKE_CUDA_MEMORY": "43000000", "FAKE_CUDA_FAIL": str(call)})
            failed = {cell["method"]: cell["message"] for cell in self.cells("tiny", output).values() if cell["status"] != "done"}
            if len(failed) > 1:
                break
            # A call that releases something ends no cell, but is not passed over.
            (name,) = re.findall(rf"^fake_cuda: call {call}, (\w+), fails$", run.err, re.M)
            self.assertRegex(run.err, rf"cuda: .*{name}.*: cudaErrorUnknown: unknown error")
        self.assertEqual(len(failed), 2)
        self.assertRegex(failed.pop("full"), r"^cuda: device 0 has no 0\.\d+ GB for \w+; this process holds .* of 0\.043 GB are free$")
        self.assertRegex(*failed.values(), r"cuda: .*(cudaErrorUnknown: unknown error|CUBLAS_STATUS_EXECUTION_FAILED)")
        before = {path: os.stat(path).st_mtime_ns for path in results.shards(output)}
        self.run_grid(grid, 0, output, "--device", "cuda", "--retry-failed")
        kept = [path for path, moment in before.items() if os.path.exists(path) and os.stat(path).st_mtime_ns == moment]
        self.assertEqual(len(kept), 1, "the cell that had not failed was run again, or a failed one was not")
        self.assertEqual(self.digest(os.path.join(output, "tiny.h5")), expected)

    def test_a_device_holds_the_weights_of_one_model(self):
        models = [self.world.model(name) for name in ("good", "second", "third")]
        grid = self.world.grid(models, [self.world.dataset()], ["lora"],
                               rest="train = { batch = 2; max_steps = 2; };\ndata = { test_rows = 2; };\n")
        self.run_grid(grid, 0, None, "--device", "cuda", env={"FAKE_CUDA_MEMORY": "46000000"})

    def test_devices_are_named_and_refused(self):
        told = self.expect(program.run(["info", "--device", "cuda"]), 0).out
        self.assertRegex(told, r"backend +cuda\n")
        self.assertRegex(told, r"products +.*compute capability 9\.0, 4 multiprocessors, cuBLASLt")
        self.expect(program.run(["info", "--device", "cuda:1"]), 2, "no such device: 1; the driver shows 1: cuda:0")


if __name__ == "__main__":
    case.main()
