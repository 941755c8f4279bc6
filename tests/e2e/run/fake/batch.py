#!/usr/bin/env -S python3 -I -S
# SPDX-License-Identifier: Apache-2.0
"""Takes the place of the commands of batch systems: writes what it was asked as a line of JSON to $FAKE_LOG, and runs a job
at once, with the environment that the real command gives it. A launcher ends with the next code of $FAKE_CODES."""
import json
import os
import subprocess
import sys

name, arguments = os.path.basename(sys.argv[0]), sys.argv[1:]


def record(**more):
    with open(os.environ["FAKE_LOG"], "a", encoding="utf-8") as log:
        log.write(json.dumps({"command": name, "arguments": arguments, **more}) + "\n")


def run_job(script, env):
    record()
    sys.exit(subprocess.run(["bash", script], env=env, check=False).returncode and 0)


def launch():
    """The program: leaves what a start leaves, and a new checkpoint unless FAKE_STUCK is set."""
    record()
    with open(os.environ["FAKE_CODES"], encoding="utf-8") as f:
        code, *rest = f.read().split()
    with open(os.environ["FAKE_CODES"], "w", encoding="utf-8") as f:
        f.write(" ".join(rest))
    folder = arguments[arguments.index("-o") + 1] if "-o" in arguments else None
    if folder:
        os.makedirs(os.path.join(folder, "checkpoints"), exist_ok=True)
        for number, file in enumerate(("plan.json", "checkpoints/cell.ckpt")):
            if number == 0 or "FAKE_STUCK" not in os.environ:
                path = os.path.join(folder, file)
                open(path, "wb").close()
                os.utime(path, (1e9 + number, 1e9 + number))
    sys.exit(int(code))


kept = {key: value for key, value in os.environ.items() if not key.startswith("PB_")}
if name == "srun" and arguments == ["--mpi=list"]:
    print("pmix")
elif name in ("srun", "mpirun") or (name == "flux" and arguments[0] == "run"):
    launch()
elif name == "qsub":  # only the named variables reach the job
    names = arguments[arguments.index("-v") + 1].split(",")
    run_job(arguments[-1], {**kept, **{key: os.environ[key] for key in names}, "PBS_JOBID": "7", "PBS_NODEFILE": os.environ["FAKE_NODES"],
                            "OMP_NUM_THREADS": "2"})
elif name == "bsub":  # the script is the standard input
    run_job("/dev/stdin", {**os.environ, "LSB_DJOB_NUMPROC": "4"})
elif name == "flux" and "batch" in arguments:
    run_job(arguments[-1], dict(os.environ))
elif name == "flux":
    print({"resource": "2 Nodes, 32 Cores, 0 GPUs", "job": "14400"}[arguments[0]])
elif name == "qstat":
    print("Job Id: 7\n    Job_Name = peftbench\n    Resource_List.walltime = 01:30:10")
elif name == "sbatch" or arguments[0] == "requeue":
    record()
