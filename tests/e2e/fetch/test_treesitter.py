# SPDX-License-Identifier: Apache-2.0
"""jobs/fetch_treesitter.py: packages with the expected hash become a source folder, everything else one clear message."""
import contextlib
import functools
import hashlib
import http.server
import importlib.util
import io
import os
import sys
import tarfile
import threading
import unittest.mock

import case
import program

SCRIPT = os.path.join(program.SOURCE, "jobs/fetch_treesitter.py")


def load():
    spec = importlib.util.spec_from_file_location("fetch_treesitter", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def archive(top, files):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for name, text in files.items():
            member = tarfile.TarInfo(f"{top}/{name}")
            member.size = len(text)
            tar.addfile(member, io.BytesIO(text.encode()))
        link = tarfile.TarInfo(f"{top}/src/link.c")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/hostname"
        tar.addfile(link)
    return out.getvalue()


class Treesitter(case.Case):
    """Small packages instead of the real ones, which no test may download."""

    def setUp(self):
        super().setUp()
        self.module = load()
        self.target = os.path.join(self.folder, "build/tree-sitter")
        self.given = os.path.join(self.folder, "given")
        core = {"src/" + name: "core\n" for name in ("alloc.h", "array.h", "parser.h", "lib.c")}
        self.files = {"core-1.tar.gz": archive("core-1", {"LICENSE": "MIT\n", "setup.py": "no\n", **core,
                                                         "src/../../out.c": "no\n"}),
                      "python-2.tar.gz": archive("python-2", {"src/parser.c": "python\n", "LICENSE": "MIT\n"})}
        self.module.PACKAGES = (
            self.package("core", "core-1.tar.gz", {"src": "core/src", "LICENSE": "core/LICENSE"}),
            self.package("python", "python-2.tar.gz", {"src": "python/src", "LICENSE": "python/LICENSE"}))

    def package(self, name, file, kept):
        return name, file, hashlib.sha256(self.files[file]).hexdigest(), kept

    def give(self):
        os.makedirs(self.given)
        for name, content in self.files.items():
            with open(os.path.join(self.given, name), "wb") as file:
                file.write(content)

    def run_script(self, code, *arguments, texts=(), environment=None):
        err = io.StringIO()
        with unittest.mock.patch.object(sys, "argv", [SCRIPT, "--to", self.target, *arguments]), \
                unittest.mock.patch.dict(os.environ, environment or {}), contextlib.redirect_stderr(err):
            self.assertEqual(self.module.main(), code, err.getvalue())
        for text in texts:
            self.assertIn(text, err.getvalue())

    def there(self):
        return sorted(os.path.relpath(os.path.join(base, name), self.target)
                      for base, _, names in os.walk(self.target) for name in names)

    def check_made(self):
        self.assertEqual(self.there(), [
            "PACKAGES", "core/LICENSE", "core/src/alloc.h", "core/src/array.h", "core/src/lib.c", "core/src/parser.h",
            "python/LICENSE", "python/src/parser.c", "python/src/tree_sitter/alloc.h",
            "python/src/tree_sitter/array.h", "python/src/tree_sitter/parser.h"])
        self.assertEqual(os.listdir(os.path.dirname(self.target)), ["tree-sitter"])

    def test_files_at_hand(self):
        self.give()
        self.run_script(0, "--from", self.given)
        self.check_made()

    def test_an_index_of_links(self):
        self.give()
        for name, file, _, _ in self.module.PACKAGES:
            page = os.path.join(self.given, "simple", name, "index.html")
            os.makedirs(os.path.dirname(page))
            with open(page, "w", encoding="utf-8") as out:
                out.write(f'<a href="../../other-1.tar.gz">x</a><a href="../../{file}#sha256=0">y</a>')
        handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=self.given)
        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            index = f"http://127.0.0.1:{server.server_port}/simple"
            self.run_script(0, environment={"PIP_INDEX_URL": index, "no_proxy": "127.0.0.1"})
            server.shutdown()
        self.check_made()

    def test_another_hash_is_not_taken(self):
        self.files["python-2.tar.gz"] += b"x"
        self.give()
        self.run_script(1, "--from", self.given, texts=["python-2.tar.gz has the SHA-256", "it is not taken"])
        self.assertFalse(os.path.exists(self.target))
        self.assertEqual(os.listdir(os.path.dirname(self.target)), [])

    def test_without_a_network_it_says_what_is_left_out_and_what_to_do(self):
        self.run_script(1, texts=["codebleu is left out", "--from DIR"],
                        environment={"PIP_INDEX_URL": "http://127.0.0.1:9/simple", "no_proxy": "127.0.0.1"})

    def test_what_is_there_is_not_fetched_again(self):
        self.give()
        self.run_script(0, "--from", self.given)
        self.run_script(0, "--from", os.path.join(self.folder, "nowhere"))


if __name__ == "__main__":
    case.main()
