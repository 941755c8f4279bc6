# SPDX-License-Identifier: Apache-2.0
"""Models that cannot be used: each of their cells fails with a message that names file and place, and the cells of
the good model beside them give the same as alone."""
import json
import os
import struct

import case
import program
import world

TENSOR = "model.layers.1.mlp.up_proj.weight"


def safetensors_variants(good):
    """Damaged forms of a good file: name, content, what the message must name."""
    header, data = world.split_safetensors(good)
    length = struct.unpack("<Q", good[:8])[0]

    def changed(change):
        copy = json.loads(json.dumps(header))
        change(copy)
        return world.join_safetensors(copy, data)

    def entry(**fields):
        return changed(lambda h: h[TENSOR].update(fields))

    begin, end = header[TENSOR]["data_offsets"]
    shape = header[TENSOR]["shape"]
    yield "empty", b"", ""
    yield "three bytes", good[:3], ""
    yield "length only", good[:8], ""
    yield "header cut in the middle", good[:8 + length // 2], ""
    yield "header only", good[:8 + length], ""
    yield "data cut in the middle", good[:len(good) // 2], ""
    yield "last byte missing", good[:-1], ""
    yield "one byte too many", good + b"\0", ""
    yield "header length 0", struct.pack("<Q", 0) + good[8:], ""
    yield "header length one more", struct.pack("<Q", length + 1) + good[8:], ""
    yield "header length beyond the file", struct.pack("<Q", len(good) * 2) + good[8:], ""
    yield "header length 2^63", struct.pack("<Q", 1 << 63) + good[8:], ""
    yield "header length 2^64 - 1", b"\xff" * 8 + good[8:], ""
    yield "header is no JSON", world.join_safetensors(b'{"a": ', data), ""
    yield "header is a list", world.join_safetensors(b"[1, 2, 3]", data), ""
    yield "header is not UTF-8", world.join_safetensors(b'{"\xff\xfe": {}}', data), ""
    yield "header of 100,000 brackets", world.join_safetensors(b"[" * 100000, data), ""
    yield "a name twice", world.join_safetensors(json.dumps(header).encode()[:-1] + b', "%s": %s}' % (
        TENSOR.encode(), json.dumps(header[TENSOR]).encode()), data), "duplicate"
    yield "unknown dtype", entry(dtype="F31"), TENSOR
    yield "integers as weights", entry(dtype="I32"), TENSOR
    yield "half the element size", entry(dtype="F16"), TENSOR
    yield "dtype is a number", entry(dtype=3), TENSOR
    yield "shape is missing", changed(lambda h: h[TENSOR].pop("shape")), TENSOR
    yield "offsets are missing", changed(lambda h: h[TENSOR].pop("data_offsets")), TENSOR
    yield "negative extent", entry(shape=[-shape[0], -shape[1]]), TENSOR
    yield "extent 0", entry(shape=[0, shape[1]]), TENSOR
    yield "extents that overflow", entry(shape=[1 << 40, 1 << 40]), TENSOR
    yield "extent is a fraction", entry(shape=[1.5, 2]), TENSOR
    yield "shape too large for its bytes", entry(shape=[shape[0] + 1, shape[1]]), TENSOR
    yield "offsets swapped", entry(data_offsets=[end, begin]), TENSOR
    yield "offset negative", entry(data_offsets=[-4, end - begin - 4]), TENSOR
    yield "offset beyond the file", entry(data_offsets=[begin + len(data), end + len(data)]), TENSOR
    yield "overlap with another tensor", entry(data_offsets=[begin - 4, end - 4]), ""
    yield "three offsets", entry(data_offsets=[begin, end, end]), TENSOR
    yield "a tensor is missing, a hole is left", changed(lambda h: h.pop(TENSOR)), ""
    yield "shape transposed", entry(shape=shape[::-1]), TENSOR
    yield "shape flattened", entry(shape=[shape[0] * shape[1]]), TENSOR
    yield "another name", changed(lambda h: h.update({TENSOR + "x": h.pop(TENSOR)})), TENSOR
    for value, name in ((float("nan"), "NaN"), (float("inf"), "infinity"), (float("-inf"), "minus infinity")):
        at = 8 + length + begin + 400
        yield f"{name} among the weights", good[:at] + struct.pack("<f", value) + good[at + 4:], TENSOR


class BadModel(case.Case):
    def setUp(self):
        super().setUp()
        self.world.dataset()
        self.good = world.read(os.path.join(self.world.good_model, "model.safetensors"))

    def check_models(self, models, texts, ranks=None):
        """Runs the good model beside bad ones; texts: what the message of every bad one must contain."""
        grid = self.world.grid([*models, self.world.model()], ["pairs"], ["none", "lora"])
        result = self.run_grid(grid, 4, None, "--keep-going", ranks=ranks)
        self.assertNotIn("runtime error", result.err)
        self.assertNotIn("AddressSanitizer", result.err)
        cells = self.cells()
        self.assertEqual(len(cells), 2 * len(models) + 2)
        for (model, _, _, _), cell in cells.items():
            with self.subTest(model=model, message=cell["message"]):
                self.assertEqual(cell["status"], "done" if model == "good" else "failed")
                self.assertEqual(cell["message"] == "", model == "good")
                for text in texts.get(model, []):
                    self.assertIn(text, cell["message"])
        return cells

    def bad_config(self, name, change):
        folder = self.world.copy_model(name, ["config.json"])
        config = json.loads(world.read(os.path.join(self.world.good_model, "config.json")))
        change(config)
        world.write(os.path.join(folder, "config.json"), json.dumps(config))
        return name

    def test_damaged_weights_of_every_kind(self):
        texts = {}
        variants = list(safetensors_variants(self.good))
        self.assertGreaterEqual(len(variants), 20)
        for number, (what, content, named) in enumerate(variants):
            name = f"v{number:02d}-" + "".join(c if c.isalnum() else "-" for c in what)
            folder = self.world.copy_model(name, ["model.safetensors"])
            world.write(os.path.join(folder, "model.safetensors"), content)
            texts[name] = [folder, named]
        self.check_models(list(texts), texts)

    def test_parts_of_the_folder_are_missing(self):
        texts = {}
        for name, gone in (("no-tokenizer", "tokenizer.json"), ("no-config", "config.json"),
                           ("no-weights", "model.safetensors")):
            texts[name] = [self.world.copy_model(name, [gone]), gone]
        self.world.model("no-folder", self.world.path("weights/nowhere"))
        texts["no-folder"] = [self.world.path("weights/nowhere")]
        self.world.model("a-file", world.write(self.world.path("weights/file"), "x"))
        texts["a-file"] = [self.world.path("weights/file")]
        for ranks in (None, 2):
            with self.subTest(ranks=ranks):
                self.output = os.path.join(self.folder, f"ranks{ranks}")
                self.check_models(list(texts), texts, ranks)

    def test_configurations_that_are_not_understood(self):
        texts = {}
        for name, words, change in (
                ("architecture", ["FalconForCausalLM", "LlamaForCausalLM"],
                 lambda c: c.update(architectures=["FalconForCausalLM"], model_type="falcon")),
                ("two-architectures", ["architectures"], lambda c: c.update(architectures=["A", "B"])),
                ("no-width", ["hidden_size"], lambda c: c.pop("hidden_size")),
                ("width-text", ["hidden_size"], lambda c: c.update(hidden_size="96")),
                ("width-zero", ["hidden_size"], lambda c: c.update(hidden_size=0)),
                ("width-other", ["config.json"], lambda c: c.update(hidden_size=48)),
                ("layers-more", ["model.layers.4."], lambda c: c.update(num_hidden_layers=5)),
                ("layers-fewer", ["model.layers.3."], lambda c: c.update(num_hidden_layers=3)),
                ("heads-odd", ["num_attention_heads"], lambda c: c.update(num_attention_heads=5)),
                ("rope", ["rope"], lambda c: c.update(rope_scaling={"rope_type": "strange", "factor": 2.0})),
                ("activation", ["hidden_act"], lambda c: c.update(hidden_act="tanhshrink")),
                ("vocabulary", ["embed_tokens"], lambda c: c.update(vocab_size=449))):
            texts[self.bad_config(name, change)] = words
        for name, content in (("no-json", b"{"), ("list", b"[]"), ("not-utf8", b'{"a": "\xff"}'), ("nothing", b"")):
            folder = self.world.copy_model(name, ["config.json"])
            texts[name] = [world.write(os.path.join(folder, "config.json"), content)]
        self.check_models(list(texts), texts)

    def test_tokenizers_that_are_broken(self):
        texts = {}
        good = json.loads(world.read(os.path.join(self.world.good_model, "tokenizer.json")))

        def variant(name, content):
            folder = self.world.copy_model(name, ["tokenizer.json"])
            content = content if isinstance(content, bytes) else json.dumps(content).encode()
            texts[name] = [world.write(os.path.join(folder, "tokenizer.json"), content)]
        variant("empty", b"")
        variant("no-json", b'{"version": ')
        variant("list", [])
        variant("no-model", {k: v for k, v in good.items() if k != "model"})
        variant("unknown-model", dict(good, model=dict(good["model"], type="Strange")))
        variant("merge-unknown", dict(good, model=dict(good["model"], merges=["qqq zzz"])))
        variant("regex", dict(good, pre_tokenizer={"type": "Split", "pattern": {"Regex": "(("}, "behavior": "Isolated",
                                                   "invert": False}))
        self.check_models(list(texts), texts)

    def test_a_vocabulary_larger_than_the_model_never_reads_beyond_it(self):
        """Whatever is decided about such a pair, ids beyond the embedding must not be looked up."""
        folder = self.world.copy_model("large", ["tokenizer.json"])
        tokenizer = json.loads(world.read(os.path.join(self.world.good_model, "tokenizer.json")))
        tokenizer["added_tokens"].append({"id": 100000, "content": "tom", "single_word": False, "lstrip": False,
                                          "rstrip": False, "normalized": False, "special": False})
        world.write(os.path.join(folder, "tokenizer.json"), json.dumps(tokenizer))
        cells = self.check_models(["large"], {})
        for key, cell in cells.items():
            if key[0] == "large":
                self.assertIn("100000", cell["message"])

    def test_one_model_and_one_data_set_broken_leaves_the_one_good_cell(self):
        self.world.model("nowhere", self.world.path("nowhere"))
        self.world.dataset("broken", [b"not JSON\n"])
        grid = self.world.grid([self.world.model(), "nowhere"], ["pairs", "broken"], ["lora"])
        self.run_grid(grid, 4, None, "--keep-going", ranks=2)
        cells = self.cells()
        self.assertEqual({key[:2]: cell["status"] for key, cell in cells.items()},
                         {("good", "pairs"): "done", ("good", "broken"): "failed",
                          ("nowhere", "pairs"): "failed", ("nowhere", "broken"): "failed"})
        self.assertIn("broken/train.jsonl:1", cells["good", "broken", "lora", "1"]["message"])
        self.assertIn(self.world.path("nowhere"), cells["nowhere", "pairs", "lora", "1"]["message"])
        alone = os.path.join(self.folder, "alone")
        self.run_grid(self.world.grid(["good"], ["pairs"], ["lora"], name="alone"), 0, alone)
        good = self.cells("alone", alone)["good", "pairs", "lora", "1"]
        for column in ("score", "config_hash", "memory_peak_gb", "train_tokens", "best_step"):
            self.assertEqual(cells["good", "pairs", "lora", "1"][column], good[column], column)


class Commands(case.Case):
    """The commands that open a single model."""

    def test_damaged_weights_end_them_with_the_same_message(self):
        good = world.read(os.path.join(self.world.good_model, "model.safetensors"))
        for number, (what, content, named) in enumerate(list(safetensors_variants(good))[::6]):
            folder = self.world.copy_model(f"v{number}", ["model.safetensors"])
            path = world.write(os.path.join(folder, "model.safetensors"), content)
            with self.subTest(what):
                out = os.path.join(self.folder, "out.safetensors")
                result = program.run(["logits", "--model", folder, "--ids", "1,2", "-o", out])
                self.expect(result, 1, path, named)
                self.assertFalse(os.path.exists(out))


if __name__ == "__main__":
    case.main()
