# SPDX-License-Identifier: Apache-2.0
"""The part of the hub's library that jobs/fetch_data.py calls, over a folder: $FAKE_HUB/KIND/OWNER/NAME/COMMIT/files, and
$FAKE_HUB/KIND/OWNER/NAME/refs.json with the commit of each branch. $FAKE_HUB_MODE makes something go wrong, and every
download is a line of $FAKE_HUB/log."""
import hashlib
import json
import os
import shutil
import time
from types import SimpleNamespace

ROOT, MODE = os.environ["FAKE_HUB"], os.environ.get("FAKE_HUB_MODE", "")


class HfHubHTTPError(OSError):
    pass


class RepositoryNotFoundError(HfHubHTTPError):
    pass


class GatedRepoError(RepositoryNotFoundError):
    pass


class RevisionNotFoundError(HfHubHTTPError):
    pass


def commit_folder(repo_id, repo_type, revision):
    if MODE == "offline":
        raise ConnectionError("the network is down\nsecond line")
    if MODE == "gated":
        raise GatedRepoError("403")
    folder = os.path.join(ROOT, repo_type or "model", repo_id)
    if not os.path.isdir(folder):
        raise RepositoryNotFoundError("401")
    with open(os.path.join(folder, "refs.json"), encoding="utf-8") as file:
        commit = json.load(file).get(revision, revision)
    if not os.path.isdir(os.path.join(folder, commit)):
        raise RevisionNotFoundError("404")
    return os.path.join(folder, commit)


def sibling(root, path):
    with open(path, "rb") as file:
        content = file.read()
    large = path.endswith((".safetensors", ".parquet"))
    lfs = SimpleNamespace(size=len(content), sha256=hashlib.sha256(content).hexdigest()) if large else None
    blob = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
    return SimpleNamespace(rfilename=os.path.relpath(path, root), size=len(content), lfs=lfs, blob_id=blob)


class HfApi:
    def repo_info(self, repo_id, *, revision=None, repo_type=None, files_metadata=False):
        assert files_metadata, "sizes and hashes are needed"
        root = commit_folder(repo_id, repo_type, revision)
        paths = [os.path.join(base, name) for base, _, names in os.walk(root) for name in names]
        return SimpleNamespace(sha=os.path.basename(root), siblings=[sibling(root, path) for path in sorted(paths)])


def hf_hub_download(repo_id, filename, *, repo_type=None, revision=None, local_dir=None):
    source, target = os.path.join(commit_folder(repo_id, repo_type, revision), filename), os.path.join(local_dir, filename)
    with open(os.path.join(ROOT, "log"), "a", encoding="utf-8") as log:
        log.write(f"{repo_id}@{revision}/{filename}\n")
    os.makedirs(os.path.dirname(target), exist_ok=True)
    with open(source, "rb") as file:
        content = file.read()
    if MODE == f"hang {filename}":
        with open(target + ".incomplete", "wb") as file:
            file.write(content[:len(content) // 2])
        with open(os.path.join(ROOT, "hangs"), "wb"):
            time.sleep(600)
    if MODE == f"cut {filename}":
        content = content[:len(content) // 2]
    if MODE == f"flip {filename}":
        content = bytes([content[0] ^ 1]) + content[1:]
    with open(target, "wb") as file:
        file.write(content)
    shutil.copystat(source, target)
    return target
