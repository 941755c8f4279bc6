# SPDX-License-Identifier: Apache-2.0
"""Reading result files with the tools of HDF5, which know nothing of the program."""
import glob
import os
import re
import shutil
import subprocess
import threading

H5DUMP = os.environ.get("PB_H5DUMP") or shutil.which("h5dump")


def h5dump(*arguments):
    return subprocess.run([H5DUMP, *arguments], capture_output=True, check=False)


def is_readable(path):
    """Opens the file and walks over all of its objects."""
    return h5dump("-H", path).returncode == 0


def cells(path):
    """Rows of /results, one dictionary each, numbers as text."""
    done = h5dump("-y", "-w", "0", "-d", "/results", path)
    if done.returncode != 0:
        raise ValueError(f"{path}: {done.stderr.decode()}")
    schema, _, data = done.stdout.decode().partition("DATA {")
    schema = re.sub(r"H5T_ENUM \{.*?\}", "", schema, flags=re.S)
    names = re.findall(r'"(\w+)";', schema)
    # One member per line; quotation marks inside texts are printed unescaped.
    lines = [line.strip() for line in data.partition("ATTRIBUTE")[0].splitlines()]
    values = [line.rstrip(",") for line in lines if line.strip("{}, ") and not line.endswith("): {")]
    values = [v[1:-1].replace("\\000", "") if v.startswith('"') else v for v in values]
    if not names or len(values) % len(names) != 0:
        raise ValueError(f"{path}: {len(values)} values for {len(names)} columns")
    return [dict(zip(names, values[i:i + len(names)])) for i in range(0, len(values), len(names))]


def key(cell):
    return cell["model"], cell["dataset"], cell["method"], cell["seed"]


def shards(folder):
    return sorted(glob.glob(os.path.join(folder, "shards", "*.h5")))


def temporaries(folder):
    return sorted(glob.glob(os.path.join(folder, "**", "*.tmp*"), recursive=True))


class Reader(threading.Thread):
    """Opens every *.h5 below a folder repeatedly, and records what could not be read."""

    def __init__(self, folder):
        super().__init__(daemon=True)
        self.folder, self.opened, self.unreadable, self.over = folder, 0, [], threading.Event()

    def run(self):
        while not self.over.is_set():
            for path in glob.glob(os.path.join(self.folder, "**", "*.h5"), recursive=True):
                done = h5dump("-H", path)
                self.opened += 1
                if done.returncode != 0 and os.path.exists(path):
                    self.unreadable.append((path, done.stderr.decode().strip()))
                if self.over.is_set():
                    return
            self.over.wait(0.01)

    def stop(self):
        self.over.set()
        self.join()
