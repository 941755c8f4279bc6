# SPDX-License-Identifier: Apache-2.0
"""Shared by the tests of jobs/fetch_data.py: running it, its output folders, and configurations to change."""
import json
import os
import shutil
import subprocess
import sys

import case
import program
import world

SCRIPT = os.path.join(program.SOURCE, "jobs/fetch_data.py")
FAKE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "fake")
PYTHON = os.environ.get("PB_PYTHON") or sys.executable
ENTAILMENT = ("entailment", "not_entailment")
ROWS = [{"sentence1": 'A "quoted", text', "sentence2": "with / é \U0001F600", "label": 0, "idx": 0},
        {"sentence1": "", "sentence2": " spaces stay ", "label": 1, "idx": 1},
        {"sentence1": "of the hidden test", "sentence2": "no label", "label": -1, "idx": 2}]


def lines(rows):
    """Rows as datasets.Dataset.to_json writes them."""
    return "".join(json.dumps(row, separators=(",", ":")).replace("/", "\\/") + "\n" for row in rows).encode()


class Case(case.Case):
    def setUp(self):
        super().setUp()
        self.source, self.data = self.path("source"), self.path("data")
        self.models, self.hub = self.path("models"), self.path("hub")
        os.makedirs(self.source)

    def path(self, *parts):
        return os.path.join(self.folder, *parts)

    def environment(self, mode=""):
        return dict(os.environ, PB_DATA=self.data, PB_MODELS=self.models, FAKE_HUB=self.hub, FAKE_HUB_MODE=mode,
                    PYTHONPATH=FAKE if os.path.isdir(self.hub) else "", PYTHONDONTWRITEBYTECODE="1", COLUMNS="200")

    def start(self, *arguments, mode=""):
        return subprocess.Popen([PYTHON, SCRIPT, *arguments], env=self.environment(mode), stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)

    def fetch(self, *arguments, code=0, texts=(), mode=""):
        """Runs to the end, and never ends in a traceback."""
        result = self.expect(program.finish(self.start(*arguments, mode=mode)), code, *texts)
        self.assertNotIn("Traceback", result.err)
        return result

    def local(self, *names, **options):
        return self.fetch(*names, "--from-local", self.source, **options)

    def give(self, name, content):
        return world.write(os.path.join(self.source, name), content)

    def made(self, name, root=None):
        return world.read(os.path.join(root or self.data, name))

    def manifest(self, name, root=None):
        return json.loads(self.made(os.path.join(name, "fetch.json"), root))

    def below(self, root):
        """All files below a folder, including hidden ones."""
        return sorted(os.path.relpath(os.path.join(base, name), root) for base, _, names in os.walk(root) for name in names)

    def copy_configs(self):
        """A copy of the configurations, to be changed; returns the folder."""
        folder = self.path("changed")
        for kind in ("model", "dataset"):
            shutil.copytree(os.path.join(program.SOURCE, "configs", kind), os.path.join(folder, kind))
        return folder

    def change(self, path, old, new):
        text = world.read(path).decode()
        self.assertIn(old, text)
        world.write(path, text.replace(old, new))
