# SPDX-License-Identifier: Apache-2.0
"""Data sets: which files hold a split, on the hub or among the user's files, and their conversion to JSON lines."""
import contextlib
import os
import re
import shutil

from fetch import rows
from fetch.files import STAGE, Failure, sha256_of

PARTS = ("train", "test")
CONVERTED = "refs/convert/parquet"  # the hub's own conversion of a data set to parquet


# ---------------------------------------------------------------- which files

def pick(names, config, split, where):
    """The files of a split in a repository, in order; config '-': the only folder that has the split."""
    for kind in rows.KINDS:
        shape = re.compile(rf"(?:(?P<folder>.*)/)?{re.escape(split)}"
                           rf"(?:/(?P<number>\d+)|-(?P<index>\d+)-of-(?P<total>\d+)(?:-\w+)?)?\.{kind}(?:\.gz)?")
        folders = {}
        for match in filter(None, map(shape.fullmatch, sorted(names))):
            folder = match["folder"] or ""
            if config == "-" or folder == config or folder.endswith("/" + config):
                folders.setdefault(folder, []).append(match)
        if len(folders) > 1:
            raise Failure(f"{where}: split '{split}' is in several folders: {', '.join(sorted(folders))}")
        for found in folders.values():
            check_whole(found, f"{where}: split '{split}'")
            return [match[0] for match in found]
    return []


def check_whole(found, what):
    """A split is one file or a complete set of numbered files, and never both."""
    numbers = [int(match["number"] or match["index"] or 0) for match in found]
    total = int(found[0]["total"] or len(found))
    if numbers != list(range(total)) or len({(m["number"] is None, m["total"]) for m in found}) > 1:
        raise Failure(f"{what} is incomplete or occurs twice: {', '.join(match[0] for match in found)}")


def files_below(root, depth=3):
    for base, folders, names in os.walk(root):
        inside = os.path.relpath(base, root)
        folders[:] = sorted(f for f in folders if not f.startswith(".") and inside.count(os.sep) < depth)
        yield from (os.path.normpath(os.path.join(inside, name)).replace(os.sep, "/") for name in names)


def local_files(directory, name, part, source, alone):
    """Files of a split among the user's files: (path, name for messages and the manifest)."""
    repository, config, split = source.split()
    own, bare = os.path.join(directory, name), [directory] if alone else []
    tries = [(own, config, split), (own, "-", split)]
    tries += [(os.path.join(directory, repository), config, split)]
    tries += [(os.path.join(directory, repository.split("/")[-1]), config, split)]
    tries += [(root, "-", word) for word in (split, part) for root in [own, *bare]]
    for root, wanted, word in tries:
        found = pick(list(files_below(root)), wanted, word, root)
        if found:
            return [(os.path.join(root, f), os.path.relpath(os.path.join(root, f), directory)) for f in found]
    raise Failure(f"{directory}: no file for the split '{split}' of {name} ({repository}, config {config}); looked for "
                  f"{name}/{split}.EXT, {name}/{part}.EXT and the hub's layout, EXT: {', '.join(rows.KINDS)}, also .gz")


def hub_files(sources, hub, source, fetched):
    """(repository, commit, config, files) of a split on the hub; fetched: the manifest's entry of an earlier run."""
    repository, config, split = source.split()
    if fetched:
        tries = [(fetched["repository"], fetched["revision"], fetched["config"])]
    else:
        tries = []
        for place, wanted in ((repository, config), (sources["mirrors"].get(repository), "-")):
            pinned = sources["revisions"].get(place)
            tries += [(place, r, wanted) for r in ([pinned] if pinned else ["main", CONVERTED]) if place]
    for place, revision, wanted in tries:
        found = hub.tree("dataset", place, revision)
        names = pick(found[1], wanted, split, f"{place} at {revision}") if found else []
        if names:
            return place, found[0], wanted, [found[1][n] for n in names]
    raise Failure(f"{repository}: no data file of config '{config}', split '{split}' at "
                  + " or ".join(f"{place}@{revision}" for place, revision, _ in tries))


# ---------------------------------------------------------------- conversion to JSON lines

class Set:
    """A data set of sources.json and the folder it goes to; local: the user's folder of files, or None for the hub."""

    def __init__(self, name, sources, folder, hub, local, alone):
        self.name, self.sources, self.folder = name, sources, folder
        self.hub, self.local, self.alone = hub, local, alone
        self.entry = sources["sets"][name]

    def fetch(self):
        told = []
        for part in PARTS:
            if part in self.entry:
                output = part + ".jsonl"
                self.check_pin(output)
                if self.folder.has(output, self.expected(output)):
                    told.append(f"{output} verified")
                else:
                    told.append(f"{output} {self.fetch_part(part, output)} rows")
        shutil.rmtree(self.folder.file(STAGE), ignore_errors=True)
        return ", ".join(told)

    def expected(self, output):
        return self.sources["sha256"].get(f"{self.name}/{output}")

    def check_pin(self, output):
        """The files of an earlier run must be of the commit that their slot now asks for."""
        old = self.folder.files.get(output, {})
        pinned = self.sources["revisions"].get(old.get("repository"))
        if pinned and pinned != old["revision"]:
            raise Failure(f"{self.folder.file(output)}: was made from {old['repository']} at {old['revision']}, "
                          f"sources.json asks for {pinned}: move the folder away, or correct the slot")

    def find(self, part):
        """(path, name) of each source file, and their origin for the manifest."""
        source = self.entry[part]
        if self.local:
            return local_files(self.local, self.name, part, source, self.alone), {}
        old = self.folder.files.get(part + ".jsonl", {})
        place, commit, config, files = hub_files(self.sources, self.hub, source, old if "revision" in old else None)
        stage = self.folder.file(STAGE)
        found = [(self.hub.download("dataset", place, commit, f, stage), f"{place}/{f.rfilename}") for f in files]
        return found, {"repository": place, "revision": commit, "config": config, "split": source.split()[2]}

    def fetch_part(self, part, output):
        path = self.folder.file(output)
        if os.path.exists(path):
            raise Failure(f"{path}: was not made by this program: move it away, or choose another folder")
        found, origin = self.find(part)
        os.makedirs(self.folder.path, exist_ok=True)
        temporary = self.folder.temporary(output)
        try:
            with open(temporary, "wb") as out:
                count = rows.convert(found, self.entry["columns"], out)
            expected, hashed = self.expected(output), sha256_of(temporary)
            if expected and hashed != expected:
                raise Failure(f"{path}: would have SHA-256 {hashed}, sources.json asks for {expected}")
            made_from = {name: sha256_of(source) for source, name in found}
            self.folder.commit(temporary, output, rows=count, made_from=made_from, **origin)
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.remove(temporary)
        return count

    def plan(self):
        """What fetch would do, as far as this is known without network."""
        told = []
        for part in PARTS:
            source = self.entry.get(part)
            if source and os.path.exists(self.folder.file(part + ".jsonl")):
                told.append(f"{part}.jsonl is there")
            elif source and self.local:
                found = local_files(self.local, self.name, part, source, self.alone)
                told.append(f"{part}.jsonl from {', '.join(name for _, name in found)}")
            elif source:
                pinned = self.sources["revisions"].get(source.split()[0])
                told.append(f"{part}.jsonl from {source} at {pinned or 'main'}")
        return f"{self.folder.path}: " + "; ".join(told)

    def slots(self):
        """What was fetched, in the form of sources.json."""
        files = self.folder.files
        return {"revisions": {f["repository"]: f["revision"] for f in files.values() if "revision" in f},
                "sha256": {f"{self.name}/{output}": f["sha256"] for output, f in files.items()}}
