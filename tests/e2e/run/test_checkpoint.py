# SPDX-License-Identifier: Apache-2.0
"""What a checkpoint's folder holds beside or in place of what is expected: said by every command that opens it."""
import json
import os

import case
import program
import world


def edit_json(path, change):
    content = json.loads(world.read(path)) if os.path.exists(path) else {}
    change(content)
    return world.write(path, json.dumps(content))


class ChatTemplates(case.Case):
    """chat = "auto" is plain text only with a word about it."""

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


if __name__ == "__main__":
    case.main()
