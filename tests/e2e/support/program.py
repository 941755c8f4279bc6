# SPDX-License-Identifier: Apache-2.0
"""Running the program as a user does: alone or under the MPI launcher, with limits, killed or asked to stop."""
import os
import signal
import subprocess
import time

PROGRAM = os.environ.get("PB_PROGRAM", "peftbench")
LAUNCHER = os.environ.get("PB_MPIEXEC", "mpirun")
SOURCE = os.environ.get("PB_SOURCE_DIR", os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../.."))
SHARED = os.environ.get("PB_SHARED", os.path.join(SOURCE, "../shared"))
WORLD = os.environ.get("PB_E2E_WORLD", "")
# Options that make less of configs/grid/real-small.cfg, for tests that run it many times.
FEWER = ("--set", "sweep.seeds=[42]", "--set", "data.train_rows=16", "--set", "data.test_rows=6", "--set", "train.max_steps=4")

for setting in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):  # those of the shell: a test that needs one says so
    os.environ.pop(setting, None)


class Result:
    """Exit code, standard output and standard error of a program that has ended."""

    def __init__(self, code, out, err):
        self.code, self.out, self.err = code, out, err

    def __str__(self):
        return f"exit code {self.code}\n--- stdout\n{self.out}\n--- stderr\n{self.err}"


def command(arguments, ranks=None):
    """Without ranks the program is started directly; with them, by the launcher."""
    return [PROGRAM, *arguments] if ranks is None else [LAUNCHER, "-n", str(ranks), PROGRAM, *arguments]


def kernels():
    """The setting that saves every start of the program the measurement of kernels, if world.py found one."""
    try:
        with open(os.path.join(WORLD, "kernels"), encoding="utf-8") as f:
            return {"OPENBLAS_CORETYPE": f.read()}
    except FileNotFoundError:
        return {}


def environment(ranks, extra):
    """The environment of a test; extra: changes to it, None removes a variable. Leaks of the MPI library are not ours.
    Digests of two folders are compared: a measurement of products in each is for the tests of it."""
    env = dict(os.environ, **kernels(), OMP_NUM_THREADS="1", PB_PRODUCTS="blas", PB_CONFIGS=os.path.join(SOURCE, "configs"),
               PB_SHARED=SHARED, PB_DATA=os.path.join(SHARED, "data"))
    if ranks is not None:
        # Open MPI: more ranks than cores, and root in a container; other launchers ignore these.
        env.update(ASAN_OPTIONS="detect_leaks=0", OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1",
                   OMPI_MCA_rmaps_base_oversubscribe="1", PRTE_MCA_rmaps_default_mapping_policy=":oversubscribe")
    env.update(extra or {})
    return {name: value for name, value in env.items() if value is not None}


def start(arguments, ranks=None, env=None, **options):
    """The job gets its own session, so that kill_session reaches the launcher and every rank."""
    return launch(command(arguments, ranks), environment(ranks, env), **options)


def launch(line, env, **options):
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    return subprocess.Popen(line, env=env, start_new_session=True, **options)


def start_with_stderr(arguments, stderr):
    """Without a launcher, with its messages sent to a file descriptor, such as a terminal's."""
    return subprocess.Popen(command(arguments), env=environment(None, None), start_new_session=True,
                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=stderr)


def run_each(arguments, settings, timeout=120):
    """One rank per entry of settings, lists of NAME=VALUE, as on nodes that differ."""
    return run_together([(own, arguments) for own in settings], timeout)


def run_together(ranks, timeout=120):
    """One rank per entry: its settings, a list of NAME=VALUE, and its arguments. The launcher does not wait a second
    for the others once one has failed: ranks end together, after their messages."""
    parts = [["-n", "1", "env", *settings, PROGRAM, *arguments] for settings, arguments in ranks]
    line = [LAUNCHER, *parts[0], *(word for part in parts[1:] for word in (":", *part))]
    env = environment(len(parts), {"OMPI_MCA_odls_base_sigkill_timeout": "0"})
    process = launch(line, env, stdin=subprocess.DEVNULL)
    try:
        return finish(process, timeout=timeout)
    except subprocess.TimeoutExpired:
        kill_session(process)
        raise


def finish(process, given=None, timeout=600):
    out, err = process.communicate(given, timeout=timeout)
    return Result(process.returncode, *((text or b"").decode("utf-8", "replace") for text in (out, err)))


def run(arguments, ranks=None, env=None, given=None, timeout=600, **options):
    """Runs to the end. given: bytes or text for standard input."""
    if isinstance(given, str):
        given = given.encode()
    stdin = subprocess.DEVNULL if given is None else subprocess.PIPE
    process = start(arguments, ranks, env, stdin=stdin, **options)
    try:
        return finish(process, given, timeout)
    except subprocess.TimeoutExpired:
        kill_session(process)
        raise


def session_members(session):
    """Process ids of a session, without zombies: ranks have their own process groups."""
    members = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", encoding="utf-8", errors="replace") as f:
                    fields = f.read().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[3]) == session and fields[0] != "Z":
                members.append(int(name))
    return members


def session_ends(process, seconds=30):
    """Whether no process of the session is left after at most this time: a killed one takes a moment to be gone."""
    deadline = time.monotonic() + seconds
    while session_members(process.pid):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def pause(pids):
    """SIGSTOP, and wait until each is stopped: nothing that they do is left to chance until SIGCONT."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    deadline = time.monotonic() + 30
    while any(state(pid) not in "TtZ" for pid in pids):
        if time.monotonic() > deadline:
            raise RuntimeError(f"processes {pids} do not stop")
        time.sleep(0.005)


def proceed(pids):
    for pid in pids:
        try:
            os.kill(pid, signal.SIGCONT)
        except ProcessLookupError:
            pass


def state(pid):
    """The letter of /proc: R, S, D, T, Z …"""
    with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as f:
        return f.read().rpartition(")")[2].split()[0]


def kill_session(process):
    """SIGKILL to every process of the job until none is left, as when a node goes down."""
    deadline = time.monotonic() + 30
    while members := session_members(process.pid):
        for pid in members:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        if time.monotonic() > deadline:
            raise RuntimeError(f"processes {members} outlive SIGKILL")
        time.sleep(0.005)
    process.communicate()
