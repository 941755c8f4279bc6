# SPDX-License-Identifier: Apache-2.0
"""The events of a run, and what the importer makes of them: every step, validation and end of every cell, once."""
import collections
import glob
import json
import os
import signal
import struct
import subprocess
import sys
import time

import case
import program
import results

IMPORTER = os.path.join(program.SOURCE, "jobs/import_events.py")
FAKE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "fake")
STEPS = 3


def lines_of(path):
    found = []
    for name in sorted(glob.glob(path + "*")):
        with open(name, encoding="utf-8") as file:
            found += [line.rstrip("\n") for line in file]
    return found


class Events(case.Case):
    """Two methods, two seeds; `none` has no steps."""

    def setUp(self):
        super().setUp()
        self.grid = self.world.grid([self.world.model()], [self.world.dataset()], ["none", "lora"], (1, 2))
        self.path = os.path.join(self.folder, "events.jsonl")

    def start(self, *more, **options):
        return self.run_grid(self.grid, 0, None, "--events", self.path, *more, **options)

    def test_every_step_and_end_is_a_line_of_one_writer(self):
        self.start(ranks=2)
        self.assertEqual(sorted(map(os.path.basename, glob.glob(self.path + "*"))), ["events.jsonl", "events.jsonl.1"])
        by_cell = collections.defaultdict(list)
        for line in lines_of(self.path):
            event = json.loads(line)
            if event["event"] == "run":
                self.assertEqual((event["sweep"], event["cells"]), ("tiny", 4))
            else:
                by_cell[event["method"], event["seed"]].append(event)
        self.assertEqual(set(by_cell), {("none", 1), ("none", 2), ("lora", 1), ("lora", 2)})
        cells = {(row["method"], int(row["seed"])): row for row in self.cells().values()}
        for key, events in by_cell.items():
            kinds = [event["event"] for event in events]
            self.assertEqual((kinds[0], kinds[-2:]), ("start", ["evaluation", "end"]))
            self.assertEqual(events[-1]["status"], "done")
            self.assertAlmostEqual(events[-2]["score"], float(cells[key]["score"]), 6)
            steps = [event["step"] for event in events if event["event"] == "step"]
            self.assertEqual(steps, list(range(1, STEPS + 1)) if key[0] == "lora" else [])
            self.assertEqual(len({event["rank"] for event in events}), 1)
            self.assertEqual([event["time"] for event in events], sorted(event["time"] for event in events))

    def test_members_of_a_gang_are_told_apart(self):
        self.start("--set", "run.gang=2")
        alone = os.path.join(self.folder, "alone.jsonl")
        self.path, gang = alone, self.path
        self.start("--fresh")
        pick = lambda path: sorted((e["seed"], e["step"], e["loss"]) for e in map(json.loads, lines_of(path)) if e["event"] == "step")
        self.assertEqual(len(pick(gang)), 2 * STEPS)
        self.assertEqual(pick(gang), pick(alone))

    def test_a_failed_cell_ends_with_its_cause(self):
        bad = self.world.dataset("bad", train=[b"no json\n"])
        grid = self.world.grid([self.world.model()], ["pairs", bad], ["lora"], (1, 2))
        self.run_grid(grid, 4, None, "--keep-going", "--events", self.path)
        events = [json.loads(line) for line in lines_of(self.path)]
        ends = {(event["dataset"], event["seed"]): event for event in events if event["event"] == "end"}
        self.assertEqual({key: event["status"] for key, event in ends.items()},
                         {("pairs", 1): "done", ("pairs", 2): "done", ("bad", 1): "failed", ("bad", 2): "failed"})
        self.assertIn("train.jsonl", ends["bad", 1]["message"])
        self.assertEqual({event["dataset"] for event in events if event["event"] == "evaluation"}, {"pairs"})

    def test_a_stopped_cell_ends_as_stopped(self):
        grid = self.world.grid([self.world.model()], [self.world.dataset()], ["lora"], (1, 2),
                               rest="train = { batch = 4; max_steps = 100000; epochs = 1000000.0; };\n")
        process = program.start(["run", grid, "-o", self.output, "--events", self.path])
        self.addCleanup(program.kill_session, process)
        deadline = time.monotonic() + 60
        while not any('"event": "step"' in line for line in lines_of(self.path)):
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        self.expect(program.finish(process, timeout=60), 3)
        events = [json.loads(line) for line in lines_of(self.path)]
        self.assertEqual([event["event"] for event in events if event["event"] in ("start", "evaluation", "end")], ["start", "end"])
        self.assertEqual((events[-1]["event"], events[-1]["status"]), ("end", "stopped"))

    def test_events_change_no_result_and_a_bad_path_is_told_first(self):
        self.start()
        digest = self.digest(os.path.join(self.output, "tiny.h5"))
        other = os.path.join(self.folder, "other")
        self.run_grid(self.grid, 0, other)
        self.assertEqual(self.digest(os.path.join(other, "tiny.h5")), digest)
        nowhere = os.path.join(self.folder, "no/such/folder/events")
        result = program.run(["run", self.grid, "-o", os.path.join(self.folder, "third"), "--events", nowhere])
        self.expect(result, 1, f"cannot append to {nowhere}")
        self.assertEqual(results.shards(os.path.join(self.folder, "third")), [])

    def test_a_full_disk_costs_the_events_and_not_the_run(self):
        self.path = "/dev/full"
        self.assertEqual(self.start().err.count("no more events are written: "), 1)
        self.assertEqual(len(self.cells()), 4)

    def test_lines_of_mlperf(self):
        path = os.path.join(self.folder, "mllog")
        self.start("--mllog", path)
        found = collections.Counter()
        for line in lines_of(path):
            mark, _, rest = line.partition(" ")
            self.assertEqual(mark, ":::MLLOG")
            entry = json.loads(rest)
            self.assertEqual(set(entry), {"namespace", "time_ms", "event_type", "key", "value", "metadata"})
            self.assertIsInstance(entry["time_ms"], int)
            found[entry["event_type"], entry["key"]] += 1
        self.assertEqual(found["INTERVAL_START", "run_start"], 4)
        self.assertEqual(found["INTERVAL_END", "run_stop"], 4)
        self.assertEqual(found["POINT_IN_TIME", "train_loss"], 2 * STEPS)
        self.assertEqual(found["POINT_IN_TIME", "eval_accuracy"], 4)

    def give(self, target, *more, code=0, python=sys.executable):
        self.calls = os.path.join(self.folder, "calls")
        env = dict(os.environ, PYTHONPATH=FAKE, FAKE_CALLS=self.calls)
        done = subprocess.run([python, IMPORTER, target, *glob.glob(self.path + "*"), *more], env=env, text=True,
                              capture_output=True, check=False, timeout=120)
        self.assertEqual(done.returncode, code, done.stderr)
        return done

    def check_calls(self, done_call):
        calls = [json.loads(line) for line in lines_of(self.calls)]
        names = [call[2] for call in calls if call[0] == "init"]
        self.assertEqual(len(names), 4)
        losses = [call for call in calls if call[0] == "log" and "train/loss" in call[2]]
        self.assertEqual(sorted(call[3] for call in losses), sorted([*range(1, STEPS + 1)] * 2))
        scores = [call[1] for call in calls if call[0] == "log" and "test/score" in call[2]]
        self.assertEqual(sorted(scores), sorted(names))
        self.assertEqual(sorted(call[1] for call in calls if call[0] == "finish" and call[2:] == done_call), sorted(names))
        return calls

    def test_runs_of_wandb_and_mlflow(self):
        self.start(ranks=2)
        with open(self.path, "a", encoding="utf-8") as file:
            file.write('{"event": "st')
        self.assertIn("passed over, it is not whole", self.give("wandb").stderr)
        self.assertIn(["tiny"], [call[1:2] for call in self.check_calls([{"status": "done"}, 0])])
        os.remove(self.calls)
        self.assertEqual(self.give("mlflow").stdout, "4 runs\n")
        self.assertEqual(len([call for call in self.check_calls(["FINISHED"]) if call[0] == "param"]), 16)

    def test_a_cell_that_begins_again_is_another_run(self):
        self.start()
        self.start("--fresh")
        self.assertEqual(self.give("wandb").stdout, "8 runs\n")
        names = [call[2] for call in map(json.loads, lines_of(self.calls)) if call[0] == "init"]
        self.assertEqual(sum(name.endswith("#2") for name in names), 4)

    def test_scalars_of_tensorboard(self):
        python = os.environ.get("PB_PYTHON", sys.executable)
        if subprocess.run([python, "-c", "import tensorboardX"], check=False, stderr=subprocess.DEVNULL).returncode != 0:
            case.skip("tensorboardX is not installed")
        self.start()
        runs = os.path.join(self.folder, "runs")
        self.give("tensorboard", "-o", runs, python=python)
        scalars = 0
        for name in glob.glob(os.path.join(runs, "*lora*", "events*")):
            with open(name, "rb") as file:
                while head := file.read(12):
                    scalars += b"train/loss" in file.read(struct.unpack("<Q", head[:8])[0])
                    file.read(4)
        self.assertEqual(scalars, 2 * STEPS)


if __name__ == "__main__":
    case.main()
