# SPDX-License-Identifier: Apache-2.0
"""Folders that cannot be written and disks that are full: one clear error, exit code 1, and whatever was committed
before stays readable and is not repeated."""
import os
import resource
import subprocess

import case
import program
import results
import world


class Storage(case.Case):
    def setUp(self):
        super().setUp()
        self.grid = self.world.grid([self.world.model()], [self.world.dataset()], ["none", "lora", "ia3", "bitfit"], (1, 2))

    def mount(self, size):
        """A separate file system, which is soon full."""
        disk = os.path.join(self.folder, "disk")
        os.mkdir(disk)
        mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=" + size, "tmpfs", disk], capture_output=True, check=False)
        if mount.returncode != 0:
            case.skip(f"no small file system can be mounted: {mount.stderr.decode().strip()}")
        self.addCleanup(subprocess.run, ["umount", "-l", disk], check=False)
        return disk

    def check_kept(self, folder, before):
        """Existing files are unchanged, everything under a final name can be read, and the job can continue."""
        for path, content in before.items():
            self.assertEqual(world.read(path), content)
        for path in results.shards(folder):
            self.assertTrue(results.is_readable(path), path)

    def test_output_below_a_file(self):
        path = world.write(os.path.join(self.folder, "file"), "x")
        for ranks in (None, 2):
            with self.subTest(ranks=ranks):
                result = program.run(["run", self.grid, "-o", os.path.join(path, "out")], ranks=ranks)
                self.expect(result, 1, path, "in the way", "choose another path")
        self.assertEqual(world.read(path), b"x")

    def test_output_is_a_file(self):
        path = world.write(os.path.join(self.folder, "file"), "x")
        self.expect(program.run(["run", self.grid, "-o", path]), 1, path)

    def test_output_where_nobody_can_write(self):
        if not os.path.isdir("/proc/self"):
            case.skip("there is no /proc here")
        self.expect(program.run(["run", self.grid, "-o", "/proc/peftbench"]), 1, "/proc/peftbench")

    def test_output_without_permission(self):
        if os.geteuid() == 0:
            case.skip("root may write anywhere")
        os.mkdir(self.output, 0o500)
        self.expect(program.run(["run", self.grid, "-o", self.output]), 1, self.output, "ermission")

    def test_shards_folder_is_a_file(self):
        world.write(os.path.join(self.output, "shards"), "x")
        self.expect(program.run(["run", self.grid, "-o", self.output]), 1, os.path.join(self.output, "shards"))

    def test_file_sizes_are_limited(self):
        """The limit allows plan and start but truncates the shards: like a full disk, as seen by write()."""
        self.run_grid(self.grid, 0, None, "--set", 'sweep.methods=["none"]')
        kept = {path: world.read(path) for path in [*results.shards(self.output), os.path.join(self.output, "tiny.h5")]}
        limit = 16384
        self.assertLess(limit, min(len(content) for content in kept.values()))
        result = program.run(["run", self.grid, "-o", self.output],
                             preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
        self.expect(result, 1, self.output, "File too large", "ulimit -f")
        self.check_kept(self.output, kept)
        self.assertEqual(results.temporaries(self.output), [])
        self.run_grid(self.grid, 0)
        self.assertEqual(len(self.cells()), 8)

    def test_only_the_merged_file_is_too_large(self):
        """Wherever the limit falls in the merged file, nothing crashes, whether or not cells were run before."""
        merged = os.path.join(self.output, "tiny.h5")
        self.run_grid(self.grid, 0)
        self.run_grid(self.grid, 0, None, "--fresh")  # the first run also made tokens, which its memory traces show
        largest, whole = max(os.path.getsize(path) for path in results.shards(self.output)), os.path.getsize(merged)
        self.assertLess(largest + 4096, whole)
        for share in (0.0, 0.3, 0.6, 0.9, 1.0):
            limit = largest + 1024 + int(share * (whole - largest - 2048))
            for fresh in ([], ["--fresh"]):
                with self.subTest(limit=limit, fresh=fresh):
                    if os.path.exists(merged):
                        os.remove(merged)
                    result = program.run(["run", self.grid, "-o", self.output, *fresh],
                                         preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
                    self.expect(result, 1, merged, "File too large", "ulimit -f")
                    self.assertFalse(os.path.exists(merged))
                    self.assertEqual(results.temporaries(self.output), [])
        self.run_grid(self.grid, 0)
        self.assertEqual(len(self.cells()), 8)

    def test_disk_is_full_when_the_shards_are_merged(self):
        disk = self.mount("64m")
        output = os.path.join(disk, "out")
        self.run_grid(self.grid, 0, output)
        merged = os.path.join(output, "tiny.h5")
        whole = os.path.getsize(merged)
        for share in (0.1, 0.5, 0.9):
            with self.subTest(share=share):
                if os.path.exists(merged):
                    os.remove(merged)
                full = os.path.join(disk, "full")
                room = os.statvfs(disk)
                world.write(full, bytes(room.f_bavail * room.f_bsize - int(share * whole)))
                self.expect(program.run(["run", self.grid, "-o", output]), 1, merged, "No space left on device",
                            "free some space")
                os.remove(full)
        self.run_grid(self.grid, 0, output)
        self.assertEqual(len(self.cells("tiny", output)), 8)

    def test_disk_is_full(self):
        disk = self.mount("400k")
        output = os.path.join(disk, "out")
        self.run_grid(self.grid, 0, output, "--set", 'sweep.methods=["none"]')
        kept = {path: world.read(path) for path in results.shards(output)}
        full = os.path.join(disk, "full")
        filler = os.open(full, os.O_WRONLY | os.O_CREAT)
        try:
            while True:
                os.write(filler, bytes(4096))
        except OSError:
            os.close(filler)
        for ranks in (None, 2):
            with self.subTest(ranks=ranks):
                result = program.run(["run", self.grid, "-o", output], ranks=ranks)
                self.expect(result, 1, "No space left on device", "free some space", output)
                self.check_kept(output, kept)
                self.assertEqual(results.temporaries(output), [])
        os.remove(full)
        subprocess.run(["mount", "-o", "remount,size=64m", disk], check=True)
        self.run_grid(self.grid, 0, output)
        self.assertEqual(len(self.cells("tiny", output)), 8)

    def test_standard_output_is_full(self):
        if not os.path.exists("/dev/full"):
            case.skip("there is no /dev/full here")
        with open("/dev/full", "wb") as full:
            done = subprocess.run([program.PROGRAM, "--help"], stdout=full, stderr=subprocess.PIPE, check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"standard output", done.stderr)


if __name__ == "__main__":
    case.main()
