#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What many cells cost when each computes next to nothing: seconds by step, files and memory.

    tests/tools/scale.py build/release/src/peftbench [CELLS …] [--ranks N]
"""
import argparse
import collections
import os
import shutil
import subprocess
import sys
import tempfile
import time


def measure(command, environment):
    """Seconds; those up to the line before the first cell and up to that of the last one; those of processors, and the largest
    resident set of a process in MB."""
    begin, before, last, tail = time.monotonic(), None, None, collections.deque(maxlen=20)
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment, text=True) as process:
        for line in process.stderr:
            tail.append(line)
            if "results in" in line:
                before = time.monotonic() - begin
            elif " done, " in line:
                last = time.monotonic() - begin
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"{' '.join(command)} ended with {process.returncode}:\n{''.join(tail)}")
    return time.monotonic() - begin, before, last, used.ru_utime + used.ru_stime, used.ru_maxrss / 1000


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("cells", nargs="*", type=int, default=[1000, 3000, 10000])
    parser.add_argument("--ranks", type=int, default=4)
    options = parser.parse_args()
    launch = ["mpirun", "--oversubscribe", "-n", str(options.ranks)] if options.ranks > 1 else []
    if launch and os.geteuid() == 0:
        launch.append("--allow-run-as-root")
    environment = dict(os.environ, OMPI_MCA_mpi_yield_when_idle="1")
    print("cells   step    seconds  CPU s   CPU ms/cell  MB of the largest process")
    for cells in options.cells:
        folder = tempfile.mkdtemp(prefix="peftbench-scale-")
        try:
            grid, output = os.path.join(folder, "null.cfg"), os.path.join(folder, "out")
            with open(grid, "w", encoding="utf-8") as f:
                f.write('sweep = { name = "null"; models = ["demo"]; datasets = ["demo-pairs"]; methods = ["majority", "random"];\n'
                        f'  seeds = [{", ".join(map(str, range(cells // 2)))}]; }};\ndata = {{ test_rows = 2; }};\n')
            steps = {"plan": [options.program, "plan", grid],
                     "run": [*launch, options.program, "run", grid, "-o", output],
                     "resume": [*launch, options.program, "run", grid, "-o", output],
                     "status": [options.program, "status", output],
                     "merge": [options.program, "merge", output, "-o", os.path.join(folder, "merged.h5")],
                     "report": [options.program, "report", os.path.join(output, "null.h5")]}
            for name, command in steps.items():
                seconds, before, last, used, memory = measure(command, environment)
                parts = f"  {before:.1f} s before the first cell" if before else ""
                parts += f", {last - before:.1f} s for the cells, {seconds - last:.1f} s for merge and report" if last else ""
                print(f"{cells:<7} {name:<7} {seconds:7.1f} {used:7.1f} {used / cells * 1e3:8.2f} {memory:8.0f}{parts}", flush=True)
            files = sum(len(names) for _, _, names in os.walk(output))
            size = os.path.getsize(os.path.join(folder, "merged.h5")) / 1e6
            print(f"{cells:<7} {files} files in the results, the merged file has {size:.0f} MB", flush=True)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
