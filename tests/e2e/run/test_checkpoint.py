# SPDX-License-Identifier: Apache-2.0
"""Unexpected files in or missing from a checkpoint's folder: reported by every command that opens it."""
import importlib.util
import json
import os
import shutil
import subprocess
import sys

import case
import program
import world


def edit_json(path, change):
    content = json.loads(world.read(path)) if os.path.exists(path) else {}
    change(content)
    return world.write(path, json.dumps(content))


class ChatTemplates(case.Case):
    """chat = "auto" becomes plain text only with a warning."""

    def model_with(self, name, chat=None, tokens=(), jinja=None):
        folder = self.world.copy_model(name)

        def change(config):
            config["additional_special_tokens"] = list(tokens)
            if chat is not None:
                config["chat_template"] = chat
        edit_json(os.path.join(folder, "tokenizer_config.json"), change)
        if jinja is not None:
            world.write(os.path.join(folder, "chat_template.jinja"), jinja)
        return folder

    def data(self, folder, template="auto"):
        name = self.world.dataset()
        return self.expect(program.run(["data", name, "--model", folder, "--template", template],
                                       env={"PB_CONFIGS": self.world.folder}), 0)

    def test_none_is_never_taken_in_silence(self):
        result = self.data(self.model_with("bare"))
        for text in ('chat template "auto" is none', "llama3 lacks <|start_header_id|>", "chatml lacks <|im_start|>", '"none"'):
            self.assertIn(text, result.err)
        for name, options, file in (("config", {"chat": "{{ messages }}"}, "tokenizer_config.json"),
                                    ("list", {"chat": [{"name": "default", "template": "x"}]}, "tokenizer_config.json"),
                                    ("jinja", {"jinja": "{{ messages }}"}, "chat_template.jinja")):
            with self.subTest(name):
                self.assertIn(f"though {file} holds one", self.data(self.model_with(name, **options)).err)

    def test_silence_where_it_is_right(self):
        chatml = ("<|im_start|>", "<|im_end|>")
        for name, options, template in (("base", {}, "none"), ("chatml", {"tokens": chatml}, "auto"),
                                        ("own", {"tokens": chatml, "chat": "{{ '<|im_start|>' + role }}"}, "auto")):
            with self.subTest(name):
                self.assertNotIn("chat template", self.data(self.model_with(name, **options), template).err)

    def test_a_template_that_is_not_the_models_own_is_named(self):
        tokens = ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|im_start|>", "<|im_end|>")
        result = self.data(self.model_with("other", chat="{{ '<|im_start|>' + role }}", tokens=tokens))
        self.assertIn('chat template "auto" is llama3 here, but tokenizer_config.json has none of its tokens', result.err)

    def test_a_run_warns_and_goes_on(self):
        self.world.dataset()
        result = self.run_grid(self.world.grid([self.world.model()], ["pairs"], ["none"]))
        self.assertIn('chat template "auto" is none', result.err)


FAMILIES = os.path.join(program.SOURCE, "tests/golden/family")

# The types that the configurations of transformers 5 check; a float is not accepted for an int.
INT, FLOAT, TEXT, FLAG, NONE = int, float, str, bool, type(None)
TYPES = {key: kinds for kinds, keys in (
    ((INT,), "num_hidden_layers hidden_size num_attention_heads num_key_value_heads head_dim intermediate_size vocab_size "
             "max_position_embeddings query_pre_attn_scalar original_max_position_embeddings"),
    ((INT, NONE), "bos_token_id pad_token_id sliding_window"), ((INT, list, NONE), "eos_token_id"),
    ((FLOAT,), "rms_norm_eps rope_theta rope_local_base_freq factor low_freq_factor high_freq_factor attention_factor "
               "beta_fast beta_slow"),
    ((TEXT,), "model_type hidden_act hidden_activation torch_dtype rope_type"), ((list,), "architectures layer_types"),
    ((FLAG,), "tie_word_embeddings attention_bias mlp_bias use_sliding_window truncate"),
    ((dict, NONE), "rope_scaling"), ((dict,), "rope_parameters full_attention sliding_attention")) for key in keys.split()}

LOAD = """
import sys
from transformers import AutoModelForCausalLM
for folder in sys.argv[1:]:
    _, report = AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)
    if any(report.values()):
        sys.exit(f"{folder}: {report}")
"""


class Saved(case.Case):
    """Checkpoints that `train --save` writes: numbers have the types that transformers requires; if it is installed,
    it loads them."""

    def tearDown(self):
        """All folders of a test in one process, because the library is slow to start."""
        if importlib.util.find_spec("transformers") is not None and self.saved:
            loaded = subprocess.run([sys.executable, "-c", LOAD, *self.saved], capture_output=True, text=True, timeout=250)
            self.assertEqual(loaded.returncode, 0, loaded.stderr[-2000:])

    def setUp(self):
        super().setUp()
        self.saved = []

    def source(self, family, change=None, rename=None):
        """A copy of a small model of the golden files, with a different config.json or different names of tensors."""
        folder = os.path.join(self.folder, "source")
        shutil.rmtree(folder, ignore_errors=True)
        os.makedirs(folder)
        config = json.loads(world.read(os.path.join(FAMILIES, family, "config.json")))
        weights = world.read(os.path.join(FAMILIES, family, "model.safetensors"))
        if rename is not None:
            header, data = world.split_safetensors(weights)
            weights = world.join_safetensors({rename(name): entry for name, entry in header.items()}, data)
        world.write(os.path.join(folder, "config.json"), json.dumps(change(config) if change else config))
        world.write(os.path.join(folder, "model.safetensors"), weights)
        return folder

    def save(self, folder):
        method = world.write(os.path.join(self.folder, "full.cfg"), 'method = { name = "full"; };\n')
        rows = world.write(os.path.join(self.folder, "rows.jsonl"), '{"input_ids": [3, 4, 5], "labels": [3, 4, 5]}\n')
        saved = os.path.join(self.folder, f"saved{len(self.saved)}")
        self.expect(program.run(["train", "--model", folder, "--method", method, "--batches", rows, "--steps", "1",
                                 "--save", saved]), 0)
        return saved

    def check_types(self, values, ids):
        for key, value in values.items():
            self.assertIn(type(value), TYPES[key], key)
            if isinstance(value, dict):
                self.check_types(value, ids)
            if key.endswith("_token_id") and value is not None:
                self.assertLess(max(value) if isinstance(value, list) else value, ids, key)

    def check(self, folder):
        saved = self.save(folder)
        config = json.loads(world.read(os.path.join(saved, "config.json")))
        self.check_types(config, config["vocab_size"])
        self.saved.append(saved)
        return config

    def test_every_family(self):
        for family in sorted(os.listdir(FAMILIES)):
            if os.path.isdir(os.path.join(FAMILIES, family)):
                with self.subTest(family):
                    self.check(self.source(family))

    def test_mistral(self):
        def change(config):
            config.pop("rope_scaling", None)
            return dict(config, architectures=["MistralForCausalLM"], model_type="mistral", sliding_window=16)
        config = self.check(self.source("llama-linear", change))
        self.assertEqual((config["model_type"], config["sliding_window"]), ("mistral", 16))

    def test_gemma3_from_inside_a_model_of_several_parts(self):
        def wrap(config):
            text = {k: v for k, v in config.items() if k != "architectures"}
            return {"architectures": ["Gemma3ForConditionalGeneration"], "model_type": "gemma3", "pad_token_id": 3,
                    "text_config": dict(text, query_pre_attn_scalar=16)}

        def rename(name):
            return name if name == "__metadata__" else "language_model." + name
        config = self.check(self.source("gemma3-linear", wrap, rename))
        self.assertEqual((config["architectures"], config["query_pre_attn_scalar"], config["pad_token_id"]),
                         (["Gemma3ForCausalLM"], 16, 3))

    def test_padding_outside_the_vocabulary_is_none(self):
        """The default of Phi-3 is 32000, beyond a small vocabulary: transformers would not load the folder."""
        for pad in ({}, {"pad_token_id": None}, {"pad_token_id": -1}, {"pad_token_id": 32000}, {"pad_token_id": 5}):
            def change(config, pad=pad):
                config.pop("pad_token_id", None)
                return {**config, **pad}
            with self.subTest(**pad):
                expected = 5 if pad.get("pad_token_id") == 5 else None
                self.assertEqual(self.check(self.source("phi3", change))["pad_token_id"], expected)

    def test_a_fraction_stays_one(self):
        """Only transformers 4 reads this key; as a whole number its value would mean a different model."""
        saved = self.save(self.source("gemma3-linear", lambda config: dict(config, query_pre_attn_scalar=12.5)))
        self.assertEqual(json.loads(world.read(os.path.join(saved, "config.json")))["query_pre_attn_scalar"], 12.5)


# The LoRA options of HF PEFT 0.21 that this program does not write, as HF PEFT writes them when they are unused.
PEFT_021 = {"alora_invocation_tokens": None, "arrow_config": None, "auto_mapping": None, "corda_config": None,
            "ensure_weight_tying": False, "eva_config": None, "exclude_modules": None, "init_lora_weights": True,
            "kasa_config": None, "layer_replication": None, "layers_pattern": None, "layers_to_transform": None,
            "loftq_config": {}, "lora_bias": False, "lora_ga_config": None, "megatron_config": None,
            "megatron_core": "megatron.core", "modules_to_save": None, "monteclora_config": None, "peft_version": "0.21.2",
            "qalora_group_size": 16, "revision": None, "target_parameters": None, "trainable_token_indices": None,
            "use_bdlora": None, "use_qalora": False, "velora_config": None}

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:" + "0" * 64 + "\nsize 988097824\n"


class Adapters(case.Case):
    def setUp(self):
        super().setUp()
        self.adapter = os.path.join(self.folder, "adapter")
        rows = world.write(os.path.join(self.folder, "rows.jsonl"), '{"input_ids": [3, 4, 5], "labels": [3, 4, 5]}\n')
        method = world.write(os.path.join(self.folder, "lora.cfg"),
                             'method = { name = "lora"; r = 2; targets = [ "q_proj" ]; };\n')
        self.expect(program.run(["train", "--model", self.world.good_model, "--method", method, "--batches", rows,
                                 "--steps", "1", "--save", self.adapter]), 0)

    def logits(self, code, *texts):
        return self.expect(program.run(["logits", "--model", self.world.good_model, "--adapter", self.adapter, "--ids", "1,2",
                                        "-o", os.path.join(self.folder, "out.safetensors")]), code, *texts)

    def edit(self, **keys):
        edit_json(os.path.join(self.adapter, "adapter_config.json"), lambda config: config.update(keys))

    def test_ordinary_adapters_are_quiet(self):
        self.edit(**PEFT_021)
        self.assertNotIn("warn", self.logits(0).err)

    def test_unknown_keys_are_listed_once(self):
        self.edit(an_option_of_tomorrow=3, another="x", not_used=None, nor_this=False)
        result = self.logits(0, "adapter_config.json", "an_option_of_tomorrow, another;")
        self.assertEqual(result.err.count("an_option_of_tomorrow"), 1)
        self.assertNotIn("not_used", result.err)

    def test_a_key_that_changes_the_mathematics_is_refused(self):
        self.edit(use_qalora=True)
        self.logits(1, "use_qalora")

    def test_other_forms_are_named(self):
        os.rename(os.path.join(self.adapter, "adapter_model.safetensors"), os.path.join(self.adapter, "adapter_model.bin"))
        self.logits(1, "adapter_model.bin", "PeftModel.from_pretrained(", "save_pretrained(")
        os.remove(os.path.join(self.adapter, "adapter_config.json"))
        self.logits(1, "holds no adapter_config.json")
        world.write(os.path.join(self.adapter, "config.json"), "{}")
        self.logits(1, "the config.json of a model")


class Pointers(case.Case):
    """Git LFS pointers in place of files, under every name that is read."""

    def test_files_of_a_model(self):
        for name in ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "added_tokens.json",
                     "special_tokens_map.json", "generation_config.json"):
            folder = self.world.copy_model("pointers", [name])
            path = world.write(os.path.join(folder, name), POINTER)
            with self.subTest(name):
                command = ["logits", "--model", folder, "--ids", "1,2", "-o", os.path.join(self.folder, "out")]
                if "token" in name:
                    command = ["tokenize", "--model", folder]
                self.expect(program.run(command, given='{"text": "a"}\n'), 1, path, "Git LFS pointer", "git lfs pull")
            shutil.rmtree(folder)

    def test_data_files_and_token_rows(self):
        name = self.world.dataset(train=[POINTER.encode()])
        result = program.run(["data", name], env={"PB_CONFIGS": self.world.folder})
        self.expect(result, 1, "train.jsonl", "Git LFS pointer", "git lfs pull")
        rows = world.write(os.path.join(self.folder, "rows.jsonl"), POINTER)
        method = world.write(os.path.join(self.folder, "full.cfg"), 'method = { name = "full"; };\n')
        self.expect(program.run(["train", "--model", self.world.good_model, "--method", method, "--batches", rows,
                                 "--steps", "1"]), 1, rows, "Git LFS pointer")


if __name__ == "__main__":
    case.main()
