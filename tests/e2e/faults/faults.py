# SPDX-License-Identifier: Apache-2.0
"""A small grid whose files meet faults, and the conditions that must hold afterwards. PB_FAULTS_LONG=1 tries many more."""
import json
import os
import random
import shutil

import case
import program
import results
import world

LIBRARY = os.environ["PB_FAULTS"]
HOLDER = os.environ["PB_HOLDER"]
LONG = os.environ.get("PB_FAULTS_LONG") == "1"
SEED = 20260


def environment(folders, call="", at=0, number=0, signal=0, counts=""):
    """Variables of faults.c; number: the errno."""
    sanitizer = os.environ.get("ASAN_OPTIONS", "") + ":verify_asan_link_order=0"
    return {"LD_PRELOAD": LIBRARY, "FAULT_FOLDERS": ":".join(folders), "FAULT_CALL": call, "FAULT_AT": str(at),
            "FAULT_ERRNO": str(number), "FAULT_SIGNAL": str(int(signal)), "FAULT_COUNTS": counts,
            "ASAN_OPTIONS": sanitizer.strip(":")}


def sample(places, short):
    """All places in the long form, otherwise a fixed selection of them."""
    places = list(places)
    return places if LONG or len(places) <= short else sorted(random.Random(SEED).sample(places, short))


class Faults(case.Case):
    """self.clean is a results folder from a run without faults, self.expected its digest."""

    def setUp(self):
        super().setUp()
        datasets = [self.world.dataset(), self.world.dataset("more", test=self.world.rows["train"][:8])]
        self.grid = self.world.grid([self.world.model()], datasets, ["none", "majority"])
        self.clean = os.path.join(self.folder, "clean")
        self.run_grid(self.grid, 0, self.clean)
        self.expected = self.digest(self.merged(self.clean))
        self.begin()

    def merged(self, output=None):
        return os.path.join(output or self.output, "tiny.h5")

    def begin(self, missing=0):
        """self.output becomes a copy of the clean folder, without some shards → bytes of the others by path."""
        shutil.rmtree(self.output, ignore_errors=True)
        shutil.copytree(self.clean, self.output)
        for path in results.shards(self.output)[:missing]:
            os.remove(path)
        return {path: world.read(path) for path in results.shards(self.output)}

    def inputs(self):
        """Folders of everything a run reads or writes."""
        return [self.output, self.world.folder, self.world.good_model, os.path.dirname(self.grid)]

    def check_kept(self, kept, why=""):
        """Whole shards are unchanged, and nothing was set aside."""
        for path, content in kept.items():
            self.assertTrue(os.path.exists(path), f"{why}: {path} is gone")
            self.assertTrue(world.read(path) == content, f"{why}: {path} was changed")
        shards = os.listdir(os.path.join(self.output, "shards"))
        self.assertEqual([name for name in shards if "damaged" in name], [], why)

    def check_recovers(self, kept, why=""):
        """A run without faults ends with the results of a clean one."""
        result = program.run(["run", self.grid, "-o", self.output, "--retry-failed"])
        self.assertEqual(result.code, 0, f"{why}: {result}")
        self.check_kept(kept, why)
        self.assertEqual(self.digest(self.merged()), self.expected, why)
        self.assertEqual(results.temporaries(self.output), [], why)
        status = program.run(["status", self.output, "--json"])
        self.assertEqual(json.loads(self.expect(status, 0).out)["done"], 4, why)
