# SPDX-License-Identifier: Apache-2.0
"""Checkpoints: which files of a repository are needed, and how they get into the folder of the model."""
import os
import re
import shutil

from fetch.files import STAGE, Failure, sha256_of
from fetch.hub import difference

# Files of the top folder; Mistral's consolidated files hold the same weights in another layout.
CHECKPOINT = re.compile(r"(?!consolidated)[^/]+\.(safetensors|json)|tokenizer\.model|merges\.txt|vocab\.json")


class Model:
    """The group model of a configuration, and the folder it goes to."""

    def __init__(self, options, folder, hub):
        self.options, self.folder, self.hub = options, folder, hub
        self.repository, self.slots_file = options["hub"], options["file"]
        self.expected = options["sha256"]

    def fetch(self):
        manifest = self.folder.manifest
        revision = self.revision()
        wanted = manifest.get("wanted")
        if wanted and all([self.folder.has(name, self.expected.get(name)) for name in wanted]):
            return f"{len(wanted)} files verified"
        found = self.hub.tree("model", self.repository, revision)
        if found is None:
            raise Failure(f"{self.repository}: there is no revision '{revision}'")
        commit, tree = found
        names = self.names(commit, tree)
        os.makedirs(self.folder.path, exist_ok=True)
        manifest.update(repository=self.repository, revision=commit, wanted=names)
        self.folder.save()
        count = sum([self.fetch_file(commit, tree[name]) for name in names])
        shutil.rmtree(self.folder.file(STAGE), ignore_errors=True)
        return f"{count} of {len(names)} files downloaded, commit {commit}"

    def revision(self):
        """The commit of an earlier run, which must agree with the slot's; else the slot's; else the newest."""
        pinned, fetched = self.options.get("revision"), self.folder.manifest.get("revision")
        if pinned and fetched and pinned != fetched:
            raise Failure(f"{self.folder.path}: holds {fetched} of {self.repository}, {self.slots_file} asks for "
                          f"{pinned}: move the folder away, or correct the slot")
        return fetched or pinned or "main"

    def names(self, commit, tree):
        """What the program reads of a checkpoint, smallest first; every slot has to name one of these."""
        names = sorted((n for n in tree if CHECKPOINT.fullmatch(n)), key=lambda n: (tree[n].size or 0, n))
        if not any(n.endswith(".safetensors") for n in names):
            raise Failure(f"{self.repository} has no safetensors file at {commit}")
        for name in self.expected:
            if name not in names:
                raise Failure(f"{self.slots_file}: sha256 names '{name}', which {self.repository} has not at {commit}")
        return names

    def fetch_file(self, commit, file):
        """Returns whether it had to be downloaded; an identical file from elsewhere is accepted."""
        name, path = file.rfilename, self.folder.file(file.rfilename)
        expected = self.expected.get(name)
        if self.folder.has(name, expected):
            return False
        here = os.path.exists(path)
        if here and (wrong := difference(path, file)):
            raise Failure(f"{path}: {wrong} for {self.repository} at {commit}: move it away and run this again")
        source = path if here else self.hub.download("model", self.repository, commit, file, self.folder.file(STAGE))
        if expected and sha256_of(source) != expected:
            raise Failure(f"{path}: {self.repository} at {commit} has SHA-256 {sha256_of(source)}, {self.slots_file} "
                          f"asks for {expected}: correct the slot revision or sha256")
        self.folder.commit(source, name)
        return not here

    def plan(self):
        """What fetch would do, as far as this is known without network."""
        wanted = self.folder.manifest.get("wanted", [])
        missing = [name for name in wanted if not os.path.exists(self.folder.file(name))]
        state = f"{len(missing)} of {len(wanted)} files missing" if wanted else "nothing there yet"
        if wanted and not missing:
            state = f"all {len(wanted)} files there"
        return f"{self.folder.path}: {state}, {self.repository} at {self.revision()}"

    def slots(self):
        """What was fetched, in the form of the configuration."""
        texts = ",\n".join(f'               "{n}:{f["sha256"]}"' for n, f in sorted(self.folder.files.items()))
        return (f"# {self.slots_file}\n  revision = \"{self.folder.manifest['revision']}\";\n"
                f"  sha256   = [\n{texts}\n             ];")
