#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Fetches the sources that the metric codebleu parses Python with, checks them, and leaves what is
compiled in build/tree-sitter: the library of tree-sitter and its grammar of Python (both MIT).

They come as the source packages that the Python package index has under the names below, from the
index that pip is set up to use; nothing in them is executed. Where there is no network, bring the two
files by hand: jobs/fetch_treesitter.py --from DIR. What is already there is only checked."""

import argparse
import hashlib
import html.parser
import io
import json
import os
import re
import shutil
import ssl
import subprocess
import sys
import tarfile
import tempfile
import urllib.parse
import urllib.request

ROOT = os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

# Name in the index, file, SHA-256 of the file, and the folders of it that are kept, as they are
# called here. The pair gives the trees of the golden files; other grammars give others.
PACKAGES = (
    ("tree-sitter", "tree-sitter-0.22.3.tar.gz",
     "6516bcef5d36e0365670b97c91a169c8b1aa82ea4b60946b879020820718ce3d",
     {"tree_sitter/core/lib/include": "core/include", "tree_sitter/core/lib/src": "core/src",
      "LICENSE": "core/LICENSE"}),
    ("tree-sitter-python", "tree_sitter_python-0.23.2.tar.gz",
     "da6abb90a8061d70651f170403e19aed1db4e6e5bcf4b9396245421899c94070",
     {"src": "python/src", "LICENSE": "python/LICENSE"}),
)
# The grammar's sources include these under tree_sitter/; the package leaves them out.
BORROWED = ("alloc.h", "array.h", "parser.h")
SECONDS = 60


class Links(html.parser.HTMLParser):
    """The addresses of a page."""

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        if tag == "a":
            self.found += [value for key, value in attrs if key == "href" and value]


def run(*command):
    result = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    return result.stdout.strip() if result.returncode == 0 else ""


def ask_pip(python):
    """The index of pip's configuration, or its default, taken from its help."""
    told = run(python, "-m", "pip", "config", "get", "global.index-url")
    text = re.sub(r"\s+", " ", run(python, "-m", "pip", "download", "--help")) if not told else ""
    match = re.search(r"--index-url <url>.*?\(default (\S+?)\)", text)
    return told or (match[1] if match else "")


def index_url():
    """The index that pip uses; a Python without pip is asked in a temporary environment."""
    told = os.environ.get("PIP_INDEX_URL") or ask_pip(sys.executable)
    if not told:
        with tempfile.TemporaryDirectory() as folder:
            run(sys.executable, "-m", "venv", folder)
            python = os.path.join(folder, "bin/python")
            told = ask_pip(python) if os.path.exists(python) else ""
    if not told:
        raise OSError("pip does not tell which package index it uses (python3-venv is missing?): set "
                      "PIP_INDEX_URL")
    return told.rstrip("/") + "/"


def read(url, accept):
    request = urllib.request.Request(url, headers={"Accept": accept})
    certificates = os.environ.get("PIP_CERT") or os.environ.get("SSL_CERT_FILE") or None
    context = ssl.create_default_context(cafile=certificates)
    with urllib.request.urlopen(request, timeout=SECONDS, context=context) as answer:
        return answer.read(), answer.headers.get_content_type(), answer.url


def address_of(index, name, file):
    page, kind, base = read(urllib.parse.urljoin(index, name + "/"),
                            "application/vnd.pypi.simple.v1+json, text/html;q=0.5")
    if kind.endswith("json"):
        links = [entry["url"] for entry in json.loads(page)["files"]]
    else:
        parser = Links()
        parser.feed(page.decode())
        links = parser.found
    for link in links:
        if os.path.basename(urllib.parse.urlsplit(link).path) == file:
            return urllib.parse.urljoin(base, link)
    raise OSError(f"the package index has no {file}")


def package(name, file, digest, folder):
    """The bytes of a package, from a folder or from the index, with the expected hash."""
    if folder:
        with open(os.path.join(folder, file), "rb") as stream:
            content = stream.read()
    else:
        content = read(address_of(index_url(), name, file), "*/*")[0]
    found = hashlib.sha256(content).hexdigest()
    if found != digest:
        raise OSError(f"{file} has the SHA-256 {found}, {digest} is expected: it is not taken")
    return content


def unpack(content, kept, target):
    """Plain files of the named folders; everything else in an archive is ignored."""
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        for member in archive:
            path = member.name.partition("/")[2]
            for source, own in kept.items():
                if member.isfile() and ".." not in path and (path == source or
                                                            path.startswith(source + "/")):
                    place = os.path.join(target, own + path[len(source):])
                    os.makedirs(os.path.dirname(place), exist_ok=True)
                    with open(place, "wb") as stream:
                        stream.write(archive.extractfile(member).read())


def fetch(target, folder, stamp):
    partial = f"{target}.partial-{os.getpid()}"
    shutil.rmtree(partial, ignore_errors=True)
    try:
        for name, file, digest, kept in PACKAGES:
            unpack(package(name, file, digest, folder), kept, partial)
        borrowed = os.path.join(partial, "python/src/tree_sitter")
        os.makedirs(borrowed, exist_ok=True)
        for header in BORROWED:
            shutil.copyfile(os.path.join(partial, "core/src", header), os.path.join(borrowed, header))
        with open(os.path.join(partial, "PACKAGES"), "w", encoding="utf-8") as stream:
            stream.write(stamp)
        shutil.rmtree(target, ignore_errors=True)
        os.rename(partial, target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def is_there(target, stamp):
    try:
        with open(os.path.join(target, "PACKAGES"), encoding="utf-8") as stream:
            return stream.read() == stamp
    except OSError:
        return False


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--from", dest="folder", metavar="DIR", help="take the two files from here")
    parser.add_argument("--to", metavar="DIR", default=os.path.join(ROOT, "build/tree-sitter"),
                        help="default: build/tree-sitter")
    arguments = parser.parse_args()
    stamp = "".join(f"{digest}  {file}\n" for _, file, digest, _ in PACKAGES)
    if is_there(arguments.to, stamp):
        return 0
    try:
        os.makedirs(os.path.dirname(os.path.abspath(arguments.to)), exist_ok=True)
        fetch(arguments.to, arguments.folder, stamp)
    except (OSError, ValueError, KeyError, tarfile.TarError) as error:
        print(f"fetch_treesitter: {error}", file=sys.stderr)
        print("fetch_treesitter: without these sources the metric codebleu is left out; with a network, "
              "start jobs/fetch_treesitter.py again, or bring the files: "
              + ", ".join(file for _, file, _, _ in PACKAGES)
              + " and jobs/fetch_treesitter.py --from DIR; then configure again (cmake --preset release)",
              file=sys.stderr)
        return 1
    print(f"fetch_treesitter: {', '.join(file for _, file, _, _ in PACKAGES)} are in {arguments.to}",
          file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
