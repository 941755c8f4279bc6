# SPDX-License-Identifier: Apache-2.0
"""Processes that differ, concurrent runs in one folder, and results that vanish during a run: each is
an error with a remedy, and never a silently missing cell."""
import hashlib
import json
import os
import re
import shutil
import signal

import case
import program
import results
import world


class Unlike(case.Case):
    """Results depend on kernels and threads, so every process must have the same."""

    def setUp(self):
        super().setUp()
        grid = self.world.grid([self.world.model()], [self.world.dataset()], ["none", "lora"], (1, 2))
        self.run = ["run", grid, "-o", self.output]

    def refuse(self, settings, more=(), texts=()):
        result = program.run_each([*self.run, *more], settings)
        self.expect(result, 2, "rank 1: this process would compute with", "rank 0 with", "OPENBLAS_CORETYPE", *texts)
        self.assertEqual(result.err.count("error: "), 1)
        self.assertFalse(os.path.exists(self.output))

    def test_other_numbers_of_threads(self):
        self.refuse([["OMP_NUM_THREADS=1"], ["OMP_NUM_THREADS=2"]], ["--threads", "0"], ["1 thread", "2 threads"])

    def test_other_kernels(self):
        if len(json.loads(program.run(["info", "--json", "--measure"]).out)["candidates"]) < 2:
            case.skip("the products of this build have one kind of kernels here")
        self.refuse([["PB=0"], ["OPENBLAS_CORETYPE=Prescott"]], texts=["Prescott"])

    def test_all_threads_are_a_number_like_another(self):
        self.expect(program.run_each([*self.run, "--threads", "0"], [["OMP_NUM_THREADS=2"]] * 2), 0)
        before = {path: os.stat(path).st_mtime_ns for path in results.shards(self.output)}
        self.assertEqual(len(before), 4)
        self.expect(program.run([*self.run, "--threads", "2"]), 0)
        self.assertEqual({path: os.stat(path).st_mtime_ns for path in results.shards(self.output)}, before)


class Started(case.Case):
    """Every process must be started for the same work: any other is named, and nothing is written."""

    def setUp(self):
        super().setUp()
        self.grid = self.world.grid([self.world.model()], [self.world.dataset()], ["none", "lora"], (1, 2))
        self.own = ["run", self.grid, "-o", self.output]

    def refuse(self, other, *texts, ranks=2):
        """The last rank is started with different arguments."""
        result = program.run_together([([], self.own)] * (ranks - 1) + [([], other)])
        self.expect(result, 2, *texts)
        self.assertEqual(result.err.count("error: "), 1)
        self.assertFalse(os.path.exists(self.output))

    def test_other_keys(self):
        host = f"rank 1: this process on host {os.uname().nodename} differs from rank 0"
        self.refuse([*self.own, "--set", "train.batch=2"], host, "--set train.batch=2", "nothing")
        self.refuse([*self.own, "--threads", "2"], host, "--threads 2")
        self.refuse(["run", self.grid, "-o", self.output + "2"], host, self.output + "2")
        self.refuse([*self.own, "--set", "sweep.seeds=[1,2]"], "rank 3: this process", ranks=4)

    def other_grid(self, name="other", **changes):
        given = dict(models=["good"], datasets=["pairs"], methods=["none", "lora"], seeds=(1, 2))
        path = self.world.grid(*{**given, **changes}.values(), name=name)
        text = world.read(path).decode().replace(f'name = "{name}"', 'name = "tiny"')
        return ["run", world.write(path, text), "-o", self.output]

    def test_another_grid_file(self):
        self.refuse(self.other_grid(seeds=(1, 3)), "rank 1", "cell good/pairs/none/3", "cell good/pairs/none/2")
        self.refuse(self.other_grid(seeds=(1, 2, 3)), "rank 1", "cell good/pairs/none/3")
        self.refuse(self.other_grid(seeds=(1,)), "rank 1", "cell good/pairs/none/2")
        self.refuse(self.other_grid(methods=["lora", "none"]), "rank 1", "cell good/pairs/lora/1", "cell good/pairs/none/1")
        self.refuse(["run", self.world.grid(["good"], ["pairs"], ["none", "lora"], (1, 2), name="renamed"), "-o", self.output],
                    "rank 1", 'sweep.name = "renamed"', 'sweep.name = "tiny"')
        self.refuse([*self.own[:1], self.world.path("grid", "none.cfg"), *self.own[2:]], "rank 1", "none.cfg")

    def test_another_key_of_one_cell_is_named_with_its_group(self):
        words = self.other_grid()
        text = world.read(words[1]).decode().replace("max_steps = 3", "max_steps = 4")
        world.write(words[1], text)
        self.refuse(words, "rank 1", "in cell good/pairs/none/1", "train.max_steps = 4", "train.max_steps = 3")

    def test_the_same_grid_in_another_place_is_the_same(self):
        self.expect(program.run_together([([], self.own), ([], self.other_grid())]), 0)
        self.assertEqual(len(self.cells()), 4)

    def test_other_commands_and_mistyped_options(self):
        self.refuse(["info"], "different commands")
        self.refuse(["run", "--help"], "different commands")
        self.refuse([*self.own, "--bogus"], "rank 1", "--bogus")
        self.refuse(["run", "-o", self.output], "rank 1", "give one grid file")
        self.refuse(["rum"], "rank 1", 'unknown command "rum"')


class Files(case.Case):
    """Copies of the files must be the same on every node: tried with two sets of files on one node."""

    def setUp(self):
        super().setUp()
        world.write(self.world.path("model", "copied.cfg"), 'model = { path = "${PB_COPY}/model"; };\n')
        world.write(self.world.path("dataset", "pairs.cfg"), world.PAIRS.format(
            name="pairs", train="${PB_COPY}/train.jsonl", test="${PB_COPY}/test.jsonl"))
        self.grid = self.world.grid(["copied"], ["pairs"], ["none", "lora"], (1, 2))
        self.copies = [self.copy("first"), self.copy("second")]

    def copy(self, name):
        folder = os.path.join(self.folder, name)
        shutil.copytree(self.world.good_model, os.path.join(folder, "model"))
        for split, lines in self.world.rows.items():
            world.write(os.path.join(folder, split + ".jsonl"), b"".join(lines))
        return folder

    def start(self, last):
        run = ["run", self.grid, "-o", self.output]
        return program.run_together([([f"PB_COPY={self.copies[0]}"], run)] * 2 + [([f"PB_COPY={last}"], run)])

    def test_the_same_contents_in_another_place_are_the_same(self):
        self.expect(self.start(self.copies[1]), 0)
        self.assertEqual(len(self.cells()), 4)

    def refuse(self, name, change, what):
        paths = [os.path.join(copy, name) for copy in self.copies]
        good = world.read(paths[1])
        world.write(paths[1], change(good))
        hashes = [hashlib.sha256(world.read(path)).hexdigest() for path in paths]
        result = self.expect(self.start(self.copies[1]), 2, "rank 2: this process on host ", what, *self.copies)
        if name.endswith(".jsonl"):
            self.expect(result, 2, *(f"{path} (SHA-256 {sha})" for path, sha in zip(paths, hashes)))
        self.assertEqual(result.err.count("error: "), 1)
        self.assertFalse(os.path.exists(self.output))
        world.write(paths[1], good)

    def test_a_changed_row(self):
        self.refuse("train.jsonl", lambda text: text.replace(b"a", b"b", 1), "training rows")
        self.refuse("test.jsonl", lambda text: text + text.splitlines(keepends=True)[0], "test rows")

    def test_changed_weights_and_tokenizer(self):
        self.refuse("model/model.safetensors", lambda data: data[:-4] + bytes(4), "weights")
        self.refuse("model/tokenizer.json", lambda text: text.replace(b'"pre_tokenizer"', b' "pre_tokenizer"', 1), "tokenizer")

    def test_a_file_that_is_missing_on_one_node(self):
        os.remove(os.path.join(self.copies[1], "test.jsonl"))
        result = self.start(self.copies[1])
        self.expect(result, 2, "rank 2", "test rows", "unreadable")
        self.assertFalse(os.path.exists(self.output))


class Beside(case.Case):
    def setUp(self):
        super().setUp()
        rest = "train = { batch = 4; max_steps = 16; epochs = 100.0; };\n"
        self.grid = self.world.grid([self.world.model()], [self.world.dataset()], ["lora", "ia3", "bitfit"],
                                    tuple(range(1, 7)), rest=rest)

    def start(self):
        """A run that is paused after its first cell, so that it is not over before the others have tried."""
        process = self.start_until(1, [self.grid, "-o", self.output])
        program.pause([process.pid])
        self.assertLess(len(results.shards(self.output)), 18)
        return process

    def test_a_second_run_of_another_plan_learns_of_the_first(self):
        process = self.start()
        plan = world.read(os.path.join(self.output, "plan.json"))
        where = f"(host {os.uname().nodename}, process {process.pid})"
        for ranks, sets, said in ((None, "sweep.seeds=[9]", 'lora/9" here'), (2, "train.batch=2", '"train.batch = 2;" here, "train.batch = 4;" there'),
                                  (None, "sweep.seeds=[1,2]", "good/pairs/ia3/1")):
            with self.subTest(ranks=ranks):
                result = program.run(["run", self.grid, "-o", self.output, "--set", sets], ranks=ranks)
                self.expect(result, 2, self.output, where, said)
                self.assertEqual(result.err.count("error: "), 1)
        self.assertEqual(world.read(os.path.join(self.output, "plan.json")), plan)
        program.proceed([process.pid])
        self.expect(program.finish(process), 0)
        self.run_grid(self.grid, 0)

    def test_a_killed_run_leaves_no_lock(self):
        program.kill_session(self.start())
        self.run_grid(self.grid, 0)
        self.assertEqual(len(self.cells()), 18)

    def test_results_that_vanish_during_a_run_are_an_error(self):
        process = self.start()
        os.remove(results.shards(self.output)[0])
        program.proceed([process.pid])
        self.expect(program.finish(process), 1, self.output, "lacks the results of 1 of 18 cells", "the same command")
        self.run_grid(self.grid, 0)
        self.assertEqual(len(self.cells()), 18)


# As between nodes: TCP only, and no component for one-sided communication, as on Debian 12 without UCX.
NETWORK = {"OMPI_MCA_btl": "tcp,self", "OMPI_MCA_osc": "^ucx,pt2pt,sm,rdma"}
LONG = ["--set", "train.max_steps=60"]


class Network(case.Case):
    def setUp(self):
        super().setUp()
        rest = "train = { batch = 4; max_steps = 8; epochs = 100.0; };\n"
        self.grid = self.world.grid([self.world.model()], [self.world.dataset()], ["none", "lora", "ia3"], (1, 2, 3, 4),
                                    rest=rest)

    def test_two_and_four_ranks_give_the_digest_of_one(self):
        self.run_grid(self.grid, 0)
        expected = self.digest(os.path.join(self.output, "tiny.h5"))
        for ranks in (2, 4):
            with self.subTest(ranks=ranks):
                output = os.path.join(self.folder, f"ranks{ranks}")
                result = self.run_grid(self.grid, 0, output, ranks=ranks, env=NETWORK)
                self.assertEqual(self.digest(os.path.join(output, "tiny.h5")), expected)
                # Every cell is logged once, with its number and the rank that ran it.
                numbers = re.findall(r"cell (\d+) of 12 \S+ done, [0-9.]+ s, rank (\d)", result.err)
                self.assertEqual([int(number) for number, _ in numbers], list(range(1, 13)))
                self.assertEqual({int(rank) for _, rank in numbers}, set(range(ranks)))

    def start(self, ranks):
        """A long run over the network, paused after a few cells; with its ranks' processes, rank 0 first."""
        process = self.start_until(2, [self.grid, "-o", self.output, *LONG], ranks, NETWORK)
        found = {}
        for pid in program.session_members(process.pid):
            if world.read(f"/proc/{pid}/comm").decode().strip() == os.path.basename(program.PROGRAM)[:15]:
                program.pause([pid])
                variables = dict(item.partition("=")[::2] for item in world.read(f"/proc/{pid}/environ").decode().split("\0"))
                found[int(variables["OMPI_COMM_WORLD_RANK"])] = pid
        self.assertEqual(sorted(found), list(range(ranks)))
        self.assertLess(len(results.shards(self.output)), 12)
        return process, found

    def test_a_signal_to_any_one_rank_stops_the_run(self):
        for ranks, stopped in ((2, 0), (2, 1), (4, 3)):
            with self.subTest(ranks=ranks, stopped=stopped):
                process, pids = self.start(ranks)
                os.kill(pids[stopped], signal.SIGTERM)
                program.proceed(pids.values())
                self.expect(program.finish(process, timeout=120), 3, "left", "the same command continues")
                self.assertEqual(results.temporaries(self.output), [])
                shutil.rmtree(self.output)

    def test_a_killed_rank_ends_the_run_and_loses_no_finished_cell(self):
        for killed in (0, 1):
            with self.subTest(killed=killed):
                process, pids = self.start(2)
                os.kill(pids[killed], signal.SIGKILL)
                program.proceed(pids.values())
                self.assertNotIn(program.finish(process, timeout=120).code, (0, 3, 4))
                self.assertTrue(program.session_ends(process), "a rank survived")
                kept = results.shards(self.output)
                self.assertGreaterEqual(len(kept), 2)
                self.run_grid(self.grid, 0, self.output, *LONG, ranks=2, env=NETWORK)
                self.assertEqual(len(self.cells()), 12)
                shutil.rmtree(self.output)

    def test_results_that_cannot_be_kept_on_any_rank_end_the_run(self):
        """The folder of the shards is a file: every rank fails in its first cell, and none waits for another."""
        for ranks in (1, 2, 4):
            with self.subTest(ranks=ranks):
                world.write(os.path.join(self.output, "shards"), "")
                result = program.run(["run", self.grid, "-o", self.output], ranks=ranks, env=NETWORK, timeout=120)
                self.expect(result, 1, os.path.join(self.output, "shards"))


if __name__ == "__main__":
    case.main()
