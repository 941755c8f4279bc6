# SPDX-License-Identifier: Apache-2.0
"""Output folders with their manifest: hashes, and files that are either whole or absent."""
import contextlib
import hashlib
import json
import os

MANIFEST = "fetch.json"
STAGE = ".fetch"  # downloads lie here until they are checked; the hub's library resumes them there


class Failure(Exception):
    """What went wrong with one name, in one line: file, place, remedy."""


known_hashes = {}


def sha256_of(path):
    """Cached until the file changes: checkpoints are large."""
    stat = os.stat(path)
    key = stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns
    if key not in known_hashes:
        known_hashes[key] = digest(path, hashlib.sha256())
    return known_hashes[key]


def git_blob_of(path):
    return digest(path, hashlib.sha1(b"blob %d\0" % os.path.getsize(path)))


def digest(path, state):
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            state.update(block)
    return state.hexdigest()


def sync(path):
    """Makes a file, or the names in a folder, survive a power failure."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class Folder:
    """An output folder and its manifest. A file gets its name only when it is whole, on disk and in the manifest."""

    def __init__(self, path):
        self.path, self.manifest = path, {}
        with contextlib.suppress(FileNotFoundError):
            with open(self.file(MANIFEST), encoding="utf-8") as file:
                try:
                    self.manifest = json.load(file)
                except ValueError as error:
                    raise Failure(f"{file.name}: {error}; move it and the files beside it away") from error
        self.files = self.manifest.setdefault("files", {})

    def file(self, name):
        return os.path.join(self.path, name)

    def temporary(self, name):
        return self.file(f".{name}.part")

    def has(self, name, expected):
        """Whether the file matches the manifest; expected: the SHA-256 of the configuration, or None."""
        path, entry = self.file(name), self.files.get(name)
        if not os.path.exists(path) or entry is None:
            return False
        found = sha256_of(path)
        if found != entry["sha256"]:
            raise Failure(f"{path}: has SHA-256 {found}, but was fetched with {entry['sha256']}: it was changed or is "
                          "damaged; move it away and run this again")
        if expected and found != expected:
            raise Failure(f"{path}: has SHA-256 {found}, the configuration asks for {expected}: move it away to "
                          "fetch it again, or correct the slot")
        return True

    def save(self):
        temporary = self.temporary(MANIFEST)
        with open(temporary, "w", encoding="utf-8") as file:
            json.dump(self.manifest, file, indent=1)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, self.file(MANIFEST))
        sync(self.path)

    def commit(self, source, name, **entry):
        """The manifest comes first: killed in between, the file is missing and is fetched again."""
        sync(source)
        self.files[name] = {"bytes": os.path.getsize(source), "sha256": sha256_of(source), **entry}
        self.save()
        os.replace(source, self.file(name))
        sync(self.path)
