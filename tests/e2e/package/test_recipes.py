# SPDX-License-Identifier: Apache-2.0
"""The recipes of packaging/ have the version, the libraries and the names of files that the build has."""
import os
import re
import unittest

import case
import program
import world

PACKAGING = os.path.join(program.SOURCE, "packaging")


def read(*parts):
    return world.read(os.path.join(program.SOURCE, *parts)).decode()


class Recipes(unittest.TestCase):
    version = re.search(r"project\(peftbench VERSION ([\d.]+)", read("CMakeLists.txt")).group(1)

    def test_python_can_read_them(self):
        for name in ("spack/package.py", "reframe/quick.py", f"easybuild/peftbench-{self.version}-foss-2024a.eb"):
            compile(read("packaging", name), name, "exec")

    def test_easybuild(self):
        recipe = {"SOURCE_TAR_GZ": "archive", "SYSTEM": "system"}
        exec(read(f"packaging/easybuild/peftbench-{self.version}-foss-2024a.eb"), recipe)
        self.assertEqual((recipe["name"], recipe["version"]), ("peftbench", self.version))
        needed = {name.lower() for name, *_ in recipe["dependencies"]}
        self.assertEqual(needed, {"hdf5", "libconfig", "jansson", "pcre2", "utf8proc", "openssl", "zlib", "zstd", "hwloc"})

    def test_spack_has_what_the_documents_name(self):
        recipe = read("packaging/spack/package.py")
        line = re.search(r"spack install (.*)", read("INSTALL.md")).group(1)
        for name in re.findall(r"[a-z]\w*(?=[+~ ]|$)", re.sub(r"[+~]\w+", "", line)):
            name = {"openmpi": "mpi", "zlib": "zlib-api", "pkgconf": "pkgconfig"}.get(name, name)
            self.assertRegex(recipe, rf'depends_on\("{name}\b', name)

    def test_images(self):
        for name in ("Dockerfile", "apptainer.def"):
            recipe = read("packaging", name)
            for part in ("jobs/setup build", "-DPB_TESTS=OFF", "cpack -G DEB", "peftbench_*.deb", "openmpi-bin"):
                self.assertIn(part, recipe, name)


if __name__ == "__main__":
    case.main()
