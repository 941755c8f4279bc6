# SPDX-License-Identifier: Apache-2.0
"""The hub, through its own library."""
import os
import re

from fetch.files import Failure, git_blob_of, sha256_of

COMMIT = re.compile(r"[0-9a-f]{40}")


class Hub:
    """The hub's own library, loaded when something has to be downloaded."""

    def __init__(self):
        self.library, self.known = None, {}

    def call(self, kind, repository, name, **arguments):
        """A function of the library, with each of its many errors as one line."""
        if self.library is None:
            try:
                import huggingface_hub
            except ImportError as error:
                raise Failure(f"{error}: downloads need a Python package, 'python3 -m pip install huggingface_hub'; "
                              "files that are already here are converted with --from-local DIR") from error
            self.library = huggingface_hub
        function = self.library.hf_hub_download if name == "hf_hub_download" else getattr(self.library.HfApi(), name)
        try:
            return function(repository, repo_type=kind, **arguments)
        except Exception as error:  # the library's classes differ between versions, their names do not
            kinds = [c.__name__ for c in type(error).__mro__]
            page = f"https://huggingface.co/{'datasets/' if kind == 'dataset' else ''}{repository}"
            if "RevisionNotFoundError" in kinds:
                raise LookupError(arguments["revision"]) from error
            if "GatedRepoError" in kinds:
                remedy = (f"access is gated: accept the licence on {page}, make a token at "
                          "https://huggingface.co/settings/tokens and set HF_TOKEN to it")
            elif "RepositoryNotFoundError" in kinds:
                remedy = f"there is no {page}, or it is private: set HF_TOKEN to a token that may read it"
            else:
                text = (str(error).strip().splitlines() or [""])[0]
                remedy = (f"{type(error).__name__}: {text}; look at network, HTTPS_PROXY and HF_ENDPOINT, then run "
                          "this again: what is complete is kept")
            raise Failure(f"{repository}: {remedy}") from error

    def tree(self, kind, repository, revision):
        """The commit of a revision, and its files by name; None when the repository has no such revision."""
        key = kind, repository, revision
        if key not in self.known:
            try:
                info = self.call(kind, repository, "repo_info", revision=revision, files_metadata=True)
                self.known[key] = info.sha, {file.rfilename: file for file in info.siblings}
            except LookupError:
                self.known[key] = None
        found = self.known[key]
        if found and COMMIT.fullmatch(revision) and found[0] != revision:
            raise Failure(f"{repository}: asked for commit {revision}, the hub gives {found[0]}")
        return found

    def download(self, kind, repository, commit, file, stage):
        """The file below stage, whole and as the hub describes it."""
        path = self.call(kind, repository, "hf_hub_download", filename=file.rfilename, revision=commit, local_dir=stage)
        if wrong := difference(path, file):
            os.remove(path)
            raise Failure(f"{repository}: {file.rfilename}, as downloaded, {wrong}; it was removed, run this again")
        return path


def attribute(thing, name):
    """Older versions of the library give dictionaries where newer ones give objects."""
    return thing.get(name) if isinstance(thing, dict) else getattr(thing, name, None)


def difference(path, file):
    """How a file differs from the hub's description, or None."""
    size = os.path.getsize(path)
    if file.size is not None and size != file.size:
        return f"has {size} bytes, the hub's has {file.size}"
    large, blob = attribute(file, "lfs"), attribute(file, "blob_id")
    if large and sha256_of(path) != attribute(large, "sha256"):
        return f"does not have the hub's SHA-256 {attribute(large, 'sha256')}"
    if not large and blob and git_blob_of(path) != blob:
        return f"does not have the hub's hash {blob}"
    return None
