# SPDX-License-Identifier: Apache-2.0
"""Two nodes on one host: network namespaces with their own host names, joined by a bridge, and optionally Debian's Slurm
on them. Everything lives in the test's own namespaces: nothing is left on the host, and all processes end with the test.

Needs namespaces, and root for Slurm; if they are forbidden, enter() ends the test with code 77."""
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

import case
import results

INSIDE = "PB_INSIDE_NAMESPACES"
NODES = ("node1", "node2")
CONTROL = "10.213.7.254"


def skip(reason):
    print("skipped:", reason)
    sys.exit(77)


def enter(*programs, root=False):
    """Restarts this script in its own namespaces, once. root: that of the host, not of a user namespace."""
    if os.environ.get(INSIDE):
        return
    # Debian's daemons are in folders that are not in every user's path.
    os.environ["PATH"] += os.pathsep + "/usr/sbin:/sbin"
    for name in ("unshare", "nsenter", "ip", "mount", *programs):
        if shutil.which(name) is None:
            skip(f"{name} is not installed")
    # Everything needed later is tried now: a container may allow namespaces but no bridge in them.
    probe = ["sh", "-c", "ip link add probe type bridge && ip link add one type veth peer name two"]
    for user in ([], ["--map-root-user"]):
        line = ["unshare", *user, "--net", "--mount", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc"]
        tried = subprocess.run([*line, *probe], capture_output=True, text=True, check=False)
        if tried.returncode == 0:
            os.environ[INSIDE] = "1"
            os.execvp("unshare", [*line, sys.executable, *sys.argv])
        if root:
            break
    skip("no namespaces with a network of their own: " + (tried.stderr.strip() or f"exit code {tried.returncode}"))


def do(*words):
    subprocess.run(words, check=True, stdin=subprocess.DEVNULL)


class Nodes:
    """The namespaces and the way into them."""

    def __init__(self, folder):
        self.folder = folder
        self.holders, self.processes = {}, []
        do("hostname", "control")
        do("ip", "link", "set", "lo", "up")
        do("ip", "link", "add", "bridge", "type", "bridge")
        do("ip", "addr", "add", CONTROL + "/24", "dev", "bridge")
        do("ip", "link", "set", "bridge", "up")
        for number, name in enumerate(NODES, 1):
            self.holders[name] = self._start(name, number)
        hosts = self.file("hosts", "127.0.0.1 localhost\n" + f"{CONTROL} control\n" +
                          "".join(f"{self.address(i)} {name}\n" for i, name in enumerate(NODES, 1)))
        do("mount", "--bind", hosts, "/etc/hosts")
        # mpirun starts its daemons with an agent that is called like ssh: AGENT HOST COMMAND…
        cases = "".join(f"{name}) pid={pid} ;;\n" for name, pid in self.holders.items())
        self.agent = self.file("agent", f'#!/bin/sh\nhost=$1\nshift\ncase $host in\n{cases}esac\n'
                               'exec nsenter -t "$pid" -n -u sh -c "$*"\n')
        os.chmod(self.agent, 0o755)

    def close(self):
        """Ends the started processes, last first; the namespaces end with their last process."""
        for process in reversed(self.processes):
            process.kill()
            process.communicate()

    @staticmethod
    def address(number):
        return f"10.213.7.{number}"

    def file(self, name, content):
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="utf-8") as f:
            f.write(content)
        return path

    def _start(self, name, number):
        holder = subprocess.Popen(["unshare", "--net", "--uts", "sh", "-c", f"hostname {name}; echo; exec sleep infinity"],
                                  stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        holder.stdout.readline()
        self.processes.append(holder)
        do("ip", "link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", str(holder.pid))
        do("ip", "link", "set", name, "master", "bridge", "up")
        for words in (["addr", "add", self.address(number) + "/24", "dev", "eth0"], ["link", "set", "eth0", "up"],
                      ["link", "set", "lo", "up"]):
            do("nsenter", "-t", str(holder.pid), "-n", "ip", *words)
        return holder.pid

    def on(self, name, line):
        """The command line that runs another command on a node."""
        return ["nsenter", "-t", str(self.holders[name]), "-n", "-u", *line]

    def processes_on(self, name, program):
        """Process ids of a program on a node."""
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/comm", encoding="utf-8") as f:
                    if f.read().strip() == os.path.basename(program)[:15] and \
                            os.path.samefile(f"/proc/{pid}/ns/net", f"/proc/{self.holders[name]}/ns/net"):
                        found.append(int(pid))
            except OSError:
                continue
        return found

    def mpirun(self, launcher, ranks_per_node, line, *options):
        """mpirun, called on the first node."""
        hosts = ",".join(f"{name}:{ranks_per_node}" for name in NODES)
        return self.on(NODES[0], [launcher, "--host", hosts, "--mca", "plm_rsh_agent", self.agent, *options, *line])


class Case(case.Case):
    """A sweep of eight cells, and two nodes to run it on."""

    @classmethod
    def setUpClass(cls):
        folder = tempfile.mkdtemp(prefix="peftbench-")
        cls.addClassCleanup(shutil.rmtree, folder, ignore_errors=True)
        cls.nodes = Nodes(folder)
        cls.addClassCleanup(cls.nodes.close)

    def grid(self, steps):
        rest = f"train = {{ batch = 4; max_steps = {steps}; epochs = 1000.0; }};\ndata = {{ test_rows = 4; }};\n"
        return self.world.grid([self.world.model()], [self.world.dataset()], ["lora", "bitfit"], (1, 2, 3, 4), rest=rest)

    def alone(self, grid, threads, known={}):
        """Digest of the sweep by one process on one host: computed once for all tests, whose files have the same contents."""
        with open(grid, encoding="utf-8") as f:
            text = f.read()
        if (text, threads) not in known:
            output = os.path.join(self.folder, "alone")
            self.run_grid(grid, 0, output, "--threads", str(threads))
            known[text, threads] = self.digest(os.path.join(output, "tiny.h5"))
        return known[text, threads]

    def check(self, grid, threads=1):
        """The file of a finished sweep: every cell done, shared among the nodes, and the same as on one host."""
        path = os.path.join(self.output, "tiny.h5")
        self.assertEqual({cell["status"] for cell in self.cells().values()}, {"done"})
        self.assertEqual(self.digest(path), self.alone(grid, threads))
        text = results.h5dump("-A", path).stdout.decode()
        hosts = re.findall(r'ATTRIBUTE "host".*?\(0\): "(.*?)"', text, re.S)
        self.assertEqual(len(hosts), 8)
        self.assertEqual(set(hosts), set(NODES))

    def wait_for(self, event, alive):
        deadline = time.monotonic() + 60
        while not event():
            self.assertTrue(alive(), "it ended before it was asked to")
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.02)

    def wait_for_shards(self, count, alive):
        self.wait_for(lambda: len(results.shards(self.output)) >= count, alive)


CONFIGURATION = """ClusterName=test
SlurmctldHost=control({control})
SlurmUser=root
SlurmdUser=root
AuthType=auth/none
AuthInfo=cred_expire=5
CredType=cred/none
MailProg=/bin/true
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU,CR_LLN
SwitchType=switch/none
SchedulerParameters=batch_sched_delay=0,sched_min_interval=100000,sched_interval=1
SlurmdParameters=config_overrides
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
TmpFS={folder}/tmp-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
KillWait=10
NodeName=node1 NodeAddr=10.213.7.1 CPUs=32 State=UNKNOWN
NodeName=node2 NodeAddr=10.213.7.2 CPUs=32 State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES State=UP
"""


class Slurm:
    """Debian's slurm-wlm: a controller on the bridge, a daemon on each node."""

    ENDS = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL")

    def __init__(self, nodes):
        self.nodes = nodes
        self.folder = os.path.join(nodes.folder, "slurm")
        for name in ("state", *(f"{kind}-{node}" for kind in ("spool", "tmp") for node in NODES)):
            os.makedirs(os.path.join(self.folder, name))
        self.environment = dict(os.environ, SLURM_CONF=os.path.join(self.folder, "slurm.conf"))
        nodes.file("slurm/slurm.conf", CONFIGURATION.format(folder=self.folder, control=CONTROL))
        nodes.file("slurm/cgroup.conf", "CgroupPlugin=cgroup/v1\nCgroupAutomount=no\n")
        self._start("slurmctld", ["slurmctld", "-D", "-i"])
        for name in NODES:
            self._start(name, nodes.on(name, ["slurmd", "-D", "-N", name]))
        deadline = time.monotonic() + 30
        while self.call("sinfo", "-h", "-o", "%D %T") != "2 idle":
            if time.monotonic() > deadline or any(p.poll() is not None for p in nodes.processes):
                raise RuntimeError("Slurm does not come up:\n" + self.logs())
            time.sleep(0.1)

    def _start(self, name, line):
        with open(os.path.join(self.folder, name + ".out"), "w", encoding="utf-8") as out:
            self.nodes.processes.append(subprocess.Popen(line, env=self.environment, stdin=subprocess.DEVNULL,
                                                         stdout=out, stderr=out))

    def logs(self):
        text = ""
        for name in sorted(os.listdir(self.folder)):
            if name.endswith((".out", ".log")):
                with open(os.path.join(self.folder, name), encoding="utf-8", errors="replace") as f:
                    text += f"--- {name}\n" + "".join(f.readlines()[-20:])
        return text

    def call(self, *words, env=None):
        done = subprocess.run(words, env=dict(self.environment, **(env or {})), capture_output=True, text=True,
                              stdin=subprocess.DEVNULL, check=False, timeout=60)
        return done.stdout.strip()

    def state(self, job):
        """State and exit code, as ("FAILED", 3)."""
        fields = dict(word.split("=", 1) for word in self.call("scontrol", "show", "job", job).split() if "=" in word)
        return fields.get("JobState"), int(fields.get("ExitCode", "0:0").split(":")[0])

    def wait(self, job, timeout=90):
        deadline = time.monotonic() + timeout
        while True:
            state = self.state(job)
            if state[0] in self.ENDS:
                return state
            if time.monotonic() > deadline:
                raise TimeoutError(f"job {job} is still {state[0]}\n" + self.logs())
            time.sleep(0.1)
