#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""How well ranks share cells over TCP without one-sided communication, and what an idle rank costs: measurements, not a test.

    measure_ranks.py PEFTBENCH [--ranks 2,4] [--steps 60]

Makes the small world of the tests, runs equal and unequal cells, and prints for each run the makespan, from the start of
the first cell to the end of the last, beside the best possible one for the times that the cells took: the larger of
their sum divided by the ranks and the longest one. Then a single long cell on two ranks: processor time of the idle one."""
import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "../support"))
NETWORK = {"OMPI_MCA_btl": "tcp,self", "OMPI_MCA_osc": "^ucx,pt2pt,sm,rdma"}


def makespan(process):
    """Reads the whole log: seconds from the line of the sweep to the last cell, and seconds of each cell."""
    begin = end = None
    cells = []
    for line in process.stderr:
        text = line.decode("utf-8", "replace")
        if text.startswith("sweep "):
            begin = time.monotonic()
        found = re.match(r"cell \d+ of \d+ \S+ done, ([0-9.]+) s", text)
        if found:
            end = time.monotonic()
            cells.append(float(found.group(1)))
    process.wait()
    if process.returncode != 0 or not cells:
        raise SystemExit(f"the run ended with {process.returncode}")
    return end - begin, cells


def measure(program, grid, folder, ranks, name, sets):
    output = os.path.join(folder, "out")
    shutil.rmtree(output, ignore_errors=True)
    process = program.start(["run", grid, "-o", output, *(word for s in sets for word in ("--set", s))], ranks, NETWORK)
    threading.Thread(target=process.stdout.read, daemon=True).start()
    seconds, cells = makespan(process)
    best = max(sum(cells) / ranks, max(cells))
    print(f"{name}, {len(cells)} cells of {min(cells):.1f} to {max(cells):.1f} s, {ranks} ranks: "
          f"{seconds:.1f} s, at best {best:.1f} s, ratio {seconds / best:.3f}", flush=True)


def processor_seconds(pid):
    with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as f:
        fields = f.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure_idle(program, grid, folder, seconds):
    output = os.path.join(folder, "out")
    shutil.rmtree(output, ignore_errors=True)
    process = program.start(["run", grid, "-o", output, "--set", "sweep.seeds=[1]", "--set", 'sweep.methods=["lora"]',
                             "--set", "train.max_steps=1000000"], 2, NETWORK)
    try:
        while not os.path.exists(os.path.join(output, "plan.json")):
            time.sleep(0.1)
        time.sleep(3)
        ranks = []
        for pid in program.session_members(process.pid):
            with open(f"/proc/{pid}/comm", encoding="utf-8") as f:
                if f.read().strip() == os.path.basename(program.PROGRAM)[:15]:
                    ranks.append(pid)
        before = [processor_seconds(pid) for pid in ranks]
        time.sleep(seconds)
        used = sorted((processor_seconds(pid) - b) / seconds for pid, b in zip(ranks, before))
        print(f"one cell, 2 ranks, {seconds} s: idle rank {100 * used[0]:.2f} % of a core, busy rank {100 * used[1]:.1f} %")
    finally:
        program.kill_session(process)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("--ranks", default="2,4")
    parser.add_argument("--steps", type=int, default=60, help="of an equal cell; unequal ones have up to that many")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="peftbench-") as folder:
        shared = os.path.join(folder, "world")
        os.environ.update(PB_PROGRAM=os.path.abspath(options.program), PB_E2E_WORLD=shared)
        subprocess.run([sys.executable, os.path.join(HERE, "../support/world.py"), shared], check=True)
        import program  # these read the environment
        import world
        made = world.World(os.path.join(folder, "configs"))
        rest = f"train = {{ batch = 4; max_steps = {options.steps}; epochs = 100000.0; }};\n"
        seeds = tuple(range(1, 9))
        equal = made.grid([made.model()], [made.dataset()], ["lora"], seeds, name="equal", rest=rest)
        when = ", ".join(f"{{ when = {{ seed = [{seed}]; }}; set = {{ train = {{ max_steps = {max(1, options.steps // seed)}; }}; }}; }}"
                         for seed in seeds)
        unequal = made.grid(["good"], ["pairs"], ["lora", "ia3", "bitfit"], seeds, name="unequal",
                            sweep=f"  override = ( {when} );", rest=rest)
        for ranks in map(int, options.ranks.split(",")):
            measure(program, equal, folder, ranks, "equal", ())
            measure(program, unequal, folder, ranks, "unequal", ())
        measure_idle(program, equal, folder, 5)


main()
