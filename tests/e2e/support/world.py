# SPDX-License-Identifier: Apache-2.0
"""A small world to run in: a random model with its tokenizer, data sets, and grids over them.

    world.py OUT   makes the files shared by all tests, with the demo's own generator

Everything is a few hundred kilobytes and the same on every machine."""
import json
import os
import shutil
import struct
import subprocess
import sys

import program

HERE = os.path.dirname(os.path.abspath(__file__))
GENERATOR = os.path.join(HERE, "../../../configs/demo/make_demo.py")

PAIRS = """dataset = {{
  name = "{name}"; metric = "f1"; train_file = "{train}"; test_file = "{test}";
  columns = [ "sentence1:string", "sentence2:string", "label:label" ];
  labels = [ "entailment", "not_entailment" ];
  instruction = "Does it follow?"; lines = [ "{{sentence1}}", "{{sentence2}}" ]; max_new_tokens = 4;
}};
"""


def make_shared(out):
    for kind, folder in (("tokenizer", "model"), ("model", "model"), ("data", "data")):
        subprocess.run([sys.executable, GENERATOR, kind, os.path.join(out, folder)], check=True)
    settle_kernels(os.path.join(out, "kernels"))


def settle_kernels(path):
    """Records the kernels that the program chooses here, if it does not keep those of the library."""
    if os.path.exists(path):
        os.remove(path)
    info = subprocess.run([program.PROGRAM, "info", "--json"], stdout=subprocess.PIPE, check=True).stdout
    facts = json.loads(info)
    if facts["kernels_by"] == "program":
        write(path, facts["kernels"])


def read(path):
    with open(path, "rb") as f:
        return f.read()


def write(path, content):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as f:
        f.write(content if isinstance(content, bytes) else content.encode())
    return path


class World:
    """A separate folder with configuration files; models and data come from the shared world unless changed."""

    def __init__(self, folder):
        self.folder = folder
        self.good_model = os.path.join(program.WORLD, "model")
        self.rows = {split: read(os.path.join(program.WORLD, f"data/pairs/{split}.jsonl")).splitlines(keepends=True)[:n]
                     for split, n in (("train", 24), ("test", 8))}

    def path(self, *parts):
        return os.path.join(self.folder, *parts)

    def model(self, name="good", path=None):
        """Configuration of a model; its folder is the good one unless given."""
        write(self.path("model", name + ".cfg"), f'model = {{ path = "{path or self.good_model}"; }};\n')
        return name

    def copy_model(self, name, without=()):
        """A model with its own folder, to be damaged; returns the folder."""
        folder = self.path("weights", name)
        shutil.copytree(self.good_model, folder, ignore=lambda _, names: [n for n in names if n in without])
        self.model(name, folder)
        return folder

    def dataset(self, name="pairs", train=None, test=None, extra=""):
        """Configuration and files of a data set; train, test: lists of lines instead of the good ones."""
        files = {}
        for split, lines in (("train", train), ("test", test)):
            lines = self.rows[split] if lines is None else lines
            files[split] = write(self.path("data", name, split + ".jsonl"), b"".join(lines))
        write(self.path("dataset", name + ".cfg"), PAIRS.format(name=name, **files) + extra)
        return name

    def grid(self, models, datasets, methods=("none", "lora"), seeds=(1,), name="tiny", sweep="", rest=""):
        """A grid file; sweep and rest are more text inside and after the group sweep. Few rows and steps. Values are
        names or, beginning with a brace, entries of variants."""
        lists = {k: ", ".join(v if v.startswith("{") else f'"{v}"' for v in values)
                 for k, values in (("models", models), ("datasets", datasets), ("methods", methods))}
        text = "sweep = {\n" + f'  name = "{name}";\n' + "".join(f"  {k} = ( {v} );\n" for k, v in lists.items())
        text += f"  seeds = [ {', '.join(map(str, seeds))} ];\n{sweep}\n}};\n"
        text += rest or "train = { batch = 4; max_steps = 3; };\ndata = { test_rows = 4; };\n"
        return write(self.path("grid", name + ".cfg"), text)


# ---------------------------------------------------------------- safetensors

def split_safetensors(content):
    """Bytes of a file → its header and its data."""
    length = struct.unpack("<Q", content[:8])[0]
    return json.loads(content[8:8 + length]), content[8 + length:]


def join_safetensors(header, data):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + data


if __name__ == "__main__":
    make_shared(sys.argv[1])
