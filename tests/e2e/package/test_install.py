# SPDX-License-Identifier: Apache-2.0
"""An installed program finds its own files, wherever its folder lies and from any folder that it is called in."""
import glob
import os
import shutil
import subprocess

import case
import program
import results
import world

BINARY = os.environ["PB_BINARY_DIR"]
FEWER = ("--set", "sweep.seeds=[42]", "--set", "sweep.methods=[none,lora]", "--set", "train.max_steps=2", "--set", "data.test_rows=4")
SHARED = ("man/man1/peftbench.1", "bash-completion/completions/peftbench", "zsh/site-functions/_peftbench", "doc/peftbench/README.md",
          "peftbench/configs/grid/quick.cfg", "peftbench/jobs/submit")


class Installed(case.Case):
    def setUp(self):
        super().setUp()
        self.root = os.path.join(self.folder, "root")
        self.addCleanup(setattr, program, "PROGRAM", program.PROGRAM)

    def do(self, *line, code=0):
        done = subprocess.run(line, cwd=self.folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=300)
        self.assertEqual(done.returncode, code, f"{line}: {done.stdout}{done.stderr}")
        return done.stdout

    def check(self, prefix):
        """Everything is below the prefix, and a grid runs by its name, from a folder that knows nothing of the sources."""
        for name in SHARED:
            self.assertTrue(os.path.isfile(os.path.join(prefix, "share", name)), name)
        self.assertEqual(glob.glob(os.path.join(prefix, "**", "__pycache__"), recursive=True), [])
        program.PROGRAM = os.path.join(prefix, "bin/peftbench")
        where = os.path.join(self.folder, "elsewhere")
        shutil.rmtree(where, ignore_errors=True)
        os.mkdir(where)
        result = program.run(["run", "quick", *FEWER], env={"PB_CONFIGS": None}, cwd=where)
        self.expect(result, 0, "results/quick/quick.h5")
        self.assertEqual(len(results.cells(os.path.join(where, "results/quick/quick.h5"))), 6)
        self.do(os.path.join(prefix, "share/peftbench/jobs/submit"), code=2)


class Prefix(Installed):
    def test_below_a_prefix_that_moves(self):
        first = os.path.join(self.folder, "first")
        self.do(os.environ["PB_CMAKE"], "--install", BINARY, "--prefix", first)
        self.check(first)
        os.rename(first, self.root)
        self.check(self.root)


class Debian(Installed):
    def test_the_package(self):
        for name in ("dpkg-deb", "dpkg-shlibdeps"):
            if shutil.which(name) is None:
                case.skip(f"{name} is not installed")
        self.do(os.environ["PB_CPACK"], "-G", "DEB", "--config", os.path.join(BINARY, "CPackConfig.cmake"), "-B", self.folder)
        package, = glob.glob(os.path.join(self.folder, "peftbench_*.deb"))
        needs = self.do("dpkg-deb", "--field", package, "Depends")
        for library in ("libc6", "libhdf5", "libopenmpi", "libconfig", "libjansson", "libpcre2", "libssl"):
            self.assertIn(library, needs)
        names = [line.split()[5] for line in self.do("dpkg-deb", "--contents", package).splitlines()]
        self.assertEqual([name for name in names if not name.startswith(("./usr/bin/", "./usr/share/")) and name != "./usr/"], [])
        self.install(package)

    def install(self, package):
        """In a clean root with a data base of its own; the libraries are those of this machine."""
        if os.geteuid() != 0:
            self.do("dpkg-deb", "--extract", package, self.root)
            self.check(os.path.join(self.root, "usr"))
            print("only unpacked: dpkg --root needs root")
            return
        os.makedirs(os.path.join(self.root, "var/lib/dpkg/updates"))
        world.write(os.path.join(self.root, "var/lib/dpkg/status"), "")
        os.mkdir(os.path.join(self.root, "var/lib/dpkg/info"))
        dpkg = ("dpkg", "--root", self.root, "--force-depends", "--log", "/dev/null")
        self.do(*dpkg, "--install", package)
        self.check(os.path.join(self.root, "usr"))
        self.do(*dpkg, "--purge", "peftbench")
        self.assertEqual([files for _, _, files in os.walk(os.path.join(self.root, "usr")) if files], [])


if __name__ == "__main__":
    case.main()
