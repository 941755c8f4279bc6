# SPDX-License-Identifier: Apache-2.0
"""Random faults hit the runs of a small grid, one after the other, and the run after them goes on: no file is unreadable, no finished
cell is lost or there twice, and the result is that of a run that met none. The table at the end shows what they cost.

PB_FAULTS_COUNT (25) and PB_FAULTS_SEED choose how many and which, of a sweep in packs where it is odd; tests/faults starts many."""
import collections
import errno
import glob
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import time

import case
import faults
import program
import results
import test_resume
import world

COUNT = int(os.environ.get("PB_FAULTS_COUNT", "25"))
INTERVAL = 0.2
SETTINGS = ("train = { batch = 3; accumulate = 2; max_steps = 24; epochs = 100.0; evaluate_share = 0.3; };\n"
            "data = { test_rows = 5; };\neval = { batch = 2; };\n")
OPTIONS = ("--retry-failed", "--set", f"run.checkpoint_seconds={INTERVAL}", "--set", "run.max_attempts=1000")
CALLS = 60  # a failing call is one of so many in a process
Cost = collections.namedtuple("Cost", "steps seconds")


class Random(test_resume.Runs):
    settings = SETTINGS
    stops = {"SIGTERM": signal.SIGTERM, "SIGINT": signal.SIGINT, "SIGUSR1": signal.SIGUSR1}
    damages = {"damaged shard": "shards/*.h5", "damaged checkpoint": "checkpoints/*.ckpt", "damaged merged file": "*.h5"}
    kinds = ["kill of a rank", "kill of the launcher", "kill of the job", *stops, "SIGSTOP", "full disk", "short write", *damages,
             "two jobs", "clock jump", "memory limit"]
    kills = kinds[:3]

    def setUp(self):
        super().setUp()
        self.seed = int(os.environ.get("PB_FAULTS_SEED", faults.SEED))
        self.packed = self.seed % 2 == 1
        self.draw = random.Random(self.seed)
        self.events = os.path.join(self.folder, "events")
        self.counts, self.costs, self.chains = collections.Counter(), collections.defaultdict(list), collections.Counter()
        self.begin()
        process = self.start(None)
        self.wait_for_cells(process)
        begin = time.monotonic()
        self.expect(program.finish(process), 0)
        self.span = time.monotonic() - begin
        self.begin()

    def begin(self):
        """A new folder of results: files that are damaged, what was finished, the time of every cell's steps and what ended them, the kinds that it met."""
        shutil.rmtree(self.output, ignore_errors=True)
        for path in glob.glob(self.events + "*"):
            os.remove(path)
        self.done, self.read, self.last, self.met, self.hurt = 0, {}, {}, [], {}

    # ------------------------------------------------------------------------------------------------ the runs

    def line(self):
        return ["run", self.grid, "-o", self.output, *OPTIONS, *(("--set", "run.pack_cells=2") if self.packed else ())]

    def start(self, ranks, env=None):
        process = program.start([*self.line(), "--events", self.events], ranks, env, stdin=subprocess.DEVNULL)
        self.addCleanup(program.kill_session, process)
        return process

    def wait_for_cells(self, process):
        """Until a cell begins, or the run ends."""
        size = sum(os.path.getsize(path) for path in glob.glob(self.events + "*"))
        while process.poll() is None and b'"start"' not in b"".join(map(world.read, glob.glob(self.events + "*")))[size:]:
            time.sleep(0.005)

    def wait(self, process):
        """Until a random moment, mostly after a cell has begun → whether the run has not ended before it."""
        if self.draw.random() < 0.9:
            self.wait_for_cells(process)
        try:
            process.wait(self.draw.uniform(0, 0.7 * self.span))
            return False
        except subprocess.TimeoutExpired:
            return True

    @staticmethod
    def programs(process):
        """Process ids of the ranks."""
        def name(pid):
            try:
                return os.path.basename(os.readlink(f"/proc/{pid}/exe"))
            except OSError:
                return ""
        return [pid for pid in program.session_members(process.pid) if name(pid) == os.path.basename(program.PROGRAM)]

    @staticmethod
    def send(pids, number):
        for pid in pids:
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                pass

    # ---------------------------------------------------------------------------------------------- the faults

    def strike(self, kind):
        """A run that meets the fault, to its end → its result, and whether the fault came before the end."""
        ranks = 2 if kind in self.kills[:2] else self.draw.choice((None, 2))
        if kind in self.kills + list(self.stops) + list(self.damages):
            return self.stop(kind, ranks)
        if kind in ("SIGSTOP", "memory limit", "two jobs"):
            return self.disturb(kind, ranks)
        at, seconds = self.draw.randint(1, CALLS), self.draw.choice((-1, 1)) * self.draw.randint(10, 10 ** 6)
        call, number = {"full disk": ("write", errno.ENOSPC), "short write": ("write", 0), "clock jump": ("clock", 0)}[kind]
        env = {**faults.environment([self.output], call, at, number), "FAULT_SECONDS": str(seconds)}
        result = program.finish(self.start(ranks, env))
        self.assertIn(result.code, (0, 1, 4) if kind == "full disk" else (0,), str(result))
        return result, True

    def stop(self, kind, ranks):
        process = self.start(ranks)
        running = self.wait(process)
        pids = self.programs(process)
        if kind == "kill of a rank" and pids:
            self.send([self.draw.choice(pids)], signal.SIGKILL)
        elif kind == "kill of the launcher":
            self.send([process.pid], signal.SIGKILL)
        elif kind in self.stops:
            one = [self.draw.choice(pids)] if pids else []
            self.send({"SIGUSR1": [process.pid], "SIGINT": one, "SIGTERM": pids}[kind], self.stops[kind])
        elif kind not in self.kills[:2]:
            self.send(program.session_members(process.pid), signal.SIGKILL)
        if not program.session_ends(process, 10):
            self.send(program.session_members(process.pid), signal.SIGKILL)
            self.assertTrue(program.session_ends(process), "processes are left")
        result = program.finish(process)
        if kind in self.stops and running and len(pids) == (ranks or 1) and result.code != 0:
            self.assertIn(result.code, (3, -self.stops[kind], 128 + self.stops[kind]), str(result))
        return result, running and (kind not in self.damages or self.damage(kind))

    def damage(self, kind):
        pattern = "shards/*.pack" if self.packed and kind == "damaged shard" else self.damages[kind]
        paths = sorted(glob.glob(os.path.join(self.output, pattern)))
        if not paths:
            return False
        path = self.draw.choice(paths)
        content = world.read(path)
        at = self.draw.randrange(len(content))
        changed = content[:at] if self.draw.random() < 0.5 else \
            content[:at] + bytes([content[at] ^ self.draw.randrange(1, 256)]) + content[at + 1:]
        world.write(path, changed)
        if kind == "damaged shard":
            self.done = 0 if self.packed else self.done - 1  # a pack that is cut loses what follows
        self.last = {cell: (times, kind) for cell, (times, _) in self.last.items()}
        self.hurt[path] = changed
        return True

    def disturb(self, kind, ranks):
        process = self.start(ranks)
        running = self.wait(process)
        pids = self.programs(process)
        if kind == "two jobs":
            second = program.run(self.line())
            result = program.finish(process)
            for refused in (r for r in (result, second) if r.code != 0):
                self.expect(refused, 1, "run.lock")
            self.assertIn(0, (result.code, second.code))
            return second if result.code else result, running
        if kind == "SIGSTOP":
            self.send(pids, signal.SIGSTOP)
            time.sleep(0.1)
            self.send(pids, signal.SIGCONT)
        elif pids:
            pid = self.draw.choice(pids)
            try:
                with open(f"/proc/{pid}/statm", encoding="ascii") as f:
                    size = int(f.read().split()[0]) * resource.getpagesize()
                resource.prlimit(pid, resource.RLIMIT_AS, (size, size))
            except (ProcessLookupError, FileNotFoundError, IndexError, ValueError):
                pass
        result = program.finish(process)
        if kind != "memory limit":
            self.assertEqual(result.code, 0, str(result))
        return result, running

    # ---------------------------------------------------------------------------------------------- the checks

    def collect(self, kind):
        """What was computed twice: steps of this run that an earlier one had done, at the cost of the fault that ended that one."""
        seen = collections.defaultdict(dict)
        for path in sorted(glob.glob(self.events + "*")):
            lines = world.read(path).splitlines(keepends=True)
            for line in lines[self.read.get(path, 0):]:
                event = json.loads(line) if line.endswith(b"\n") else {}
                if event.get("event") == "step":
                    seen[tuple(event[name] for name in ("model", "dataset", "method", "seed"))][event["step"]] = event["time"]
            self.read[path] = len(lines)
        for cell, times in seen.items():
            first, (before, why) = min(times), self.last.get(cell, ({}, ""))
            if why:
                twice = [time for step, time in before.items() if step >= first - 1]
                lost = max(0, max(before) - first + 1)
                self.costs[why].append(Cost(lost, max(twice) - min(twice) if lost else 0.0))
            # Steps beyond the last of this run, of one before it, have been counted already.
            self.last[cell] = ({**{step: at for step, at in before.items() if step < first}, **times}, kind)

    def check(self, kind, result):
        for path in glob.glob(os.path.join(self.output, "**", "*.h5"), recursive=True):
            if self.hurt.get(path) != world.read(path):
                self.assertTrue(results.is_readable(path), f"{kind}: {path}")
        if not os.path.isdir(os.path.join(self.output, "shards")):
            return
        status = program.run(["status", self.output, "--json"])
        done = json.loads(self.expect(status, 0).out)["done"]
        self.assertGreaterEqual(done, self.done, f"{kind}: finished cells are lost: {result}")
        self.done = done

    def end(self):
        """The run is over: the same file as without faults."""
        self.assertEqual(self.digest(os.path.join(self.output, "tiny.h5")), self.expected, f"seed {self.seed}: {self.met}")
        self.assertEqual(len(self.cells()), len(test_resume.METHODS))
        self.assertEqual(self.checkpoints(), [])
        self.chains.update(set(self.met))
        self.begin()

    def test_faults(self):
        begin, hits = time.monotonic(), 0
        while hits < COUNT:
            kind = self.kinds[hits % len(self.kinds)]
            result, hit = self.strike(kind)
            self.collect(kind)
            if hit:
                self.met.append(kind)
                self.counts[kind] += 1
                hits += 1
                if hits % 25 == 0:
                    print(f"{hits} of {COUNT} faults, {time.monotonic() - begin:.0f} s", flush=True)
            self.check(kind, result)
            if result.code == 0 and not (hit and kind in self.damages):
                self.end()
        if self.met:
            result = program.finish(self.start(None))
            self.expect(result, 0)
            self.collect("")
            self.end()
        self.show(time.monotonic() - begin)
        for kind in self.stops:
            self.assertEqual([cost.steps for cost in self.costs[kind] if cost.steps], [], f"{kind} lost steps")

    def show(self, seconds):
        print(f"\nseed {self.seed}: {sum(self.counts.values())} faults in {seconds:.0f} s; checkpoints every {INTERVAL} s")
        print(f"{'kind':22} faults  cells gone on  most steps lost  most seconds lost  runs with the digest")
        for kind in self.kinds:
            costs = self.costs[kind] or [Cost(0, 0.0)]
            print(f"{kind:22} {self.counts[kind]:6} {len(self.costs[kind]):14} {max(c.steps for c in costs):16} "
                  f"{max(c.seconds for c in costs):18.2f} {self.chains[kind]:21}")


if __name__ == "__main__":
    case.main()
