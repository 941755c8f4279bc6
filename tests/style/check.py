#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The rules of the tree that a compiler does not check.

check.py [--root DIR] [RULE…] prints one line "file:line: violation" per violation and ends with
status 1 if there was one. Without a rule all run; --list names them. The tables below are the
authority on the order of modules, the owners of headers, and the homes of foreign headers."""

import argparse
import os
import re
import shutil
import subprocess
import sys

from c_names import DEFINITION, declared, without_comments_and_texts

# Lowest first: a module includes its own headers and those of modules before it.
MODULES = ("base comm config tensor batch backend text model method network dataset metric train record "
           "cell grid report sweep cli").split()

# Modules that know nothing of others although the order would let them.
APART = {"dataset": {"model", "method", "network"}, "train": {"dataset", "metric"}}

# The module of every public header; a header that is not listed is a violation.
HEADERS = {
    "base": "archive clock energy file hash interned json log memory mistakes permutation protocol random registry statistics status stop string utf8",
    "comm": "comm topology",
    "config": "config config_field",
    "tensor": "tensor",
    "batch": "batch forest",
    "backend": "backend device kernels linear operations processors rows step svd usage",
    "text": "python template tokenizer width",
    "model": "model safetensors weights",
    "method": "adapter baseline method trainable",
    "network": "gang network",
    "dataset": "dataset encoded profile",
    "metric": "metric",
    "train": "train",
    "record": "record results variant",
    "cell": "cell cell_env rates recorded",
    "grid": "grid",
    "report": "report pscp table",
    "sweep": "sweep",
    "cli": "cli",
}
OWNER = {header: module for module, names in HEADERS.items() for header in names.split()}

# The extension points, and the prefixes of the names of their tables.
REGISTRIES = {"comm": "comm_", "backend": "backend_", "method": "method_", "dataset": "builder_",
              "metric": "metric_"}

# Headers that CMake writes into the build folder.
GENERATED = {"cell": {"build.h"}, "report": {"page.h"}}

# Foreign headers and the only places below src/ that may include them.
HOMES = {
    r"mpi\.h": ("comm/",),
    r"hdf5(_hl)?\.h": ("record/",),
    r"libconfig\.h": ("config/",),
    r"(cblas|oneapi/dnnl/dnnl)\.h": ("backend/cpu/",),
    r"(cuda_runtime_api|cuda_bf16|cuda_fp16|cublasLt|cuda_host)\.h": ("backend/cuda/",),
    r"omp\.h": ("backend/cpu/", "backend/cuda/", "model/"),
    r"openssl/.*": ("base/hash.c",),
    r"pcre2\.h": ("text/",),
    r"utf8proc\.h": ("text/",),
    r"(tree_sitter/api|language|subtree|tree)\.h": ("metric/codebleu/syntax_tree.c",),
    r"hwloc.*": ("comm/",),
    r"jansson\.h": ("base/json.c", "text/", "model/", "method/", "dataset/", "metric/", "record/", "report/", "sweep/",
                    "cli/"),
    r"zlib\.h": ("dataset/gzip.c",),
    r"zstd(_errors)?\.h": ("dataset/zstd.c",),
    r"sanitizer/.*": ("base/",),
}

CUDA_HEADERS = r"(cuda|cublas|nvml)\w*\.h"
CUDA_HOMES = ("src/backend/cuda/", "tests/cuda_host/")

STANDARD = set("""assert complex ctype errno fenv float inttypes limits locale math setjmp signal
    stdalign stdarg stdatomic stdbool stddef stdint stdio stdlib stdnoreturn string tgmath threads
    time wchar wctype dirent dlfcn fcntl fnmatch ftw glob poll pthread sched semaphore spawn strings
    termios unistd sys/file sys/ioctl sys/mman sys/resource sys/stat sys/statvfs sys/sysinfo
    sys/auxv sys/syscall sys/time sys/types sys/uio sys/utsname sys/wait""".split())
HARDWARE = re.compile(r"(immintrin|x86intrin|cpuid|arm_neon|arm_sve)\.h")

# Calls that end the process, write to the terminal, or are unsafe or unaccounted, and the only
# places that may make them. For stdout and stderr the mere name counts.
CALLS = (
    (r"\b(exit|_exit|_Exit|quick_exit|abort|MPI_Abort)\s*\(", ("main.c", "comm/"),
     "ends the process; return a status instead"),
    (r"\b(printf|vprintf|puts|putchar|perror)\s*\(|\b(stdout|stderr)\b",
     ("base/log.c", "cli/", "report/"), "writes to the terminal: use pb_log"),
    (r"\b(malloc|calloc|realloc|strdup|strndup|aligned_alloc|posix_memalign)\s*\(",
     ("base/memory.c",), "is not accounted: use PB_ALLOC"),
    (r"\b(mkdtemp|mkstemp|mktemp|tmpfile|tmpnam|tempnam)\s*\(", ("base/temporary.c",),
     "makes a temporary file that nobody removes: use pb_temporary_make"),
    (r"\b(gets|sprintf|vsprintf|atoi|atol|atof|strtok|alloca|rand|srand|random)\s*\(",
     (), "is not used here: it checks nothing or has hidden state"),
)

# Rows with the escapes that the hub's files have.
OTHER_JSON = ("src/cli/bench/rows.c",)

# backend.h: a table of about 25 operations and their fronts, to be read side by side.
SIZE_LIMITS = ((re.compile(r"src/main\.c$"), 150), (re.compile(r"include/pb/backend\.h$"), 250),
               (re.compile(r"include/pb/.*\.(h|def)$"), 230),
               (re.compile(r".*\.(c|h|cu|cuh|cpp|def|py)$"), 600))
FUNCTION_LIMIT = 100
COLUMNS = 100
MACHINE_PATH = re.compile(r"(?<![\w.}$/])/(home|root|work|mnt|scratch|Users|nfs)/\w")
UNDONE = re.compile(r"\b(TO" r"DO|FIX" r"ME|XX" r"X|HA" r"CK)\b")

SOURCE_FOLDERS = ("include", "src", "tests", "cmake", "configs", "jobs", ".ci")
SOURCE_FILES = ("CMakeLists.txt", "CMakePresets.json", "README.md", "INSTALL.md", "CONTRIBUTING.md",
                "CHANGELOG.md", "CITATION.cff", "results/README.md", ".clang-tidy", ".clang-format")
C_FILE = re.compile(r".*\.(c|h|cu|cuh|cpp|def)$")
SCRIPT = re.compile(r"(.*\.(py|sh|sbatch|cmake|cfg)|(.*/)?CMakeLists\.txt|jobs/[a-z]+|tests/run|\.ci/run)$")


class Tree:
    """The files of a checkout by path relative to its root, and the violations found in them."""

    def __init__(self, root):
        self.root = root
        self.found = []
        self.texts = {}
        self.paths = sorted(self._walk())

    def _walk(self):
        for folder in SOURCE_FOLDERS:
            for base, folders, names in os.walk(os.path.join(self.root, folder)):
                folders[:] = [f for f in folders if f != "__pycache__"]
                for name in names:
                    yield os.path.relpath(os.path.join(base, name), self.root)
        for name in SOURCE_FILES:
            if os.path.exists(os.path.join(self.root, name)):
                yield name

    def matching(self, pattern):
        return [p for p in self.paths if re.match(pattern, p)]

    def text(self, path):
        if path not in self.texts:
            with open(os.path.join(self.root, path), encoding="utf-8", newline="") as file:
                self.texts[path] = file.read()
        return self.texts[path]

    def lines(self, path):
        return enumerate(self.text(path).split("\n"), 1)

    def wrong(self, path, line, what):
        self.found.append(f"{path}:{line}: {what}")

    def includes(self, path):
        """(line, name, is quoted) of every #include."""
        for number, line in self.lines(path):
            match = re.match(r'\s*#\s*include\s*(["<])([^">]+)[">]', line)
            if match:
                yield number, match[2], match[1] == '"'


def module_of(path):
    """src/text/bpe.c → text; include/pb/forest.h → batch; src/main.c → above all."""
    if path.startswith("include/pb/"):
        return OWNER.get(os.path.basename(path).rsplit(".", 1)[0])
    return path.split("/")[1] if path.count("/") >= 2 else "main"


def position(module):
    return MODULES.index(module) if module in MODULES else len(MODULES)


def check_layers(tree):
    """A module includes its own private headers and public headers of its own and lower modules."""
    for path in tree.matching(r"include/"):
        if module_of(path) is None:
            tree.wrong(path, 1, "no module has this header: add it to HEADERS in tests/style/check.py")
    for path in tree.matching(r"(src|include)/.*\.(c|h|cu|cuh)$"):
        module = module_of(path)
        if module is None:
            continue
        if module != "main" and module not in MODULES:
            tree.wrong(path, 1, f"'{module}' is not in the list of modules")
        for line, name, quoted in tree.includes(path):
            if name.startswith("pb/"):
                owner = owner_of(name)
                if owner is None or f"include/{name}" not in tree.paths:
                    tree.wrong(path, line, f"'{name}' is not a public header")
                elif position(owner) > position(module):
                    tree.wrong(path, line, f"{module} may not use '{name}' of {owner}, a later module")
            elif quoted:
                check_private_include(tree, path, line, name, module)


def check_private_include(tree, path, line, name, module):
    beside = os.path.normpath(os.path.join(os.path.dirname(path), name))
    in_module = os.path.normpath(f"src/{module}/{name}")
    home = f"src/{module}/"
    if name in GENERATED.get(module, ()):
        return
    if not any(p in tree.paths and p.startswith(home) for p in (beside, in_module)):
        tree.wrong(path, line, f"'{name}' is not a private header of {module}")


def check_links(tree):
    """A module links to modules before it whose headers it includes, and to no others."""
    for path in tree.matching(r"src/[a-z]+/.*CMakeLists\.txt$"):
        module = path.split("/")[1]
        used = linked(tree, path)
        for name in sorted(used):
            if position(name) > position(module):
                tree.wrong(path, 1, f"{module} may not link to {name}, a later module")
            elif name in APART.get(module, ()):
                tree.wrong(path, 1, f"{module} knows nothing of {name}")
        if path != f"src/{module}/CMakeLists.txt":
            continue
        reachable = set()
        for source in tree.matching(r"(src|include)/.*\.(c|h|cu|cuh)$"):
            if module_of(source) != module:
                continue
            for line, name, _ in tree.includes(source):
                owner = owner_of(name)
                reachable |= reached_headers(tree, f"include/{name}")
                if owner is not None and owner not in used and position(owner) < position(module):
                    tree.wrong(source, line, f"'{name}' is of {owner}, to which {module} does not link")
        for name in sorted(used - {owner_of(header[len("include/"):]) for header in reachable} - {module, "base"}):
            if position(name) < position(module):
                tree.wrong(path, 1, f"{module} links to {name}, but includes nothing of it")


def owner_of(name):
    """pb/forest.h → batch."""
    return OWNER.get(name[3:].rsplit(".", 1)[0]) if name.startswith("pb/") else None


def reached_headers(tree, path):
    """The public headers that a header includes, with itself."""
    found, ahead = set(), {path} & set(tree.paths)
    while ahead:
        found |= ahead
        ahead = {f"include/{name}" for one in ahead for _, name, _ in tree.includes(one)} & set(tree.paths) - found
    return found


def linked(tree, path):
    """The modules that a CMakeLists.txt names."""
    return set(re.findall(r"\bpb_([a-z]+)\b", re.sub(r"#.*", "", tree.text(path)))) & set(MODULES)


def check_foreign(tree):
    """A foreign header stays in the module that wraps it."""
    for path in tree.matching(r"(src|include)/.*\.(c|h|cu|cuh)$"):
        for line, name, quoted in tree.includes(path):
            if quoted or name.endswith(".h") and name[:-2] in STANDARD or HARDWARE.match(name):
                continue
            homes = next((h for pattern, h in HOMES.items() if re.fullmatch(pattern, name)), None)
            if homes is None:
                tree.wrong(path, line, f"<{name}> is not in any list of tests/style/check.py")
            elif not path[len("src/"):].startswith(homes):
                tree.wrong(path, line, f"<{name}> belongs to {', '.join(homes)}")


def check_kernels(tree):
    """CUDA stays in backend/cuda/ and tests/cuda_host/, and kernels are written with device.cuh alone."""
    for path in tree.matching(r"(src|include|tests)/.*\.(c|h|cu|cuh|cpp|def)$"):
        at_home = path.startswith(CUDA_HOMES)
        for line, name, _ in tree.includes(path):
            if not at_home and re.fullmatch(CUDA_HEADERS, name):
                tree.wrong(path, line, f"<{name}> belongs to {', '.join(CUDA_HOMES)}")
            if path.startswith("src/") and path.endswith(".cu") and not (name in ("kernels.h", "math.h") or name.endswith(".cuh")):
                tree.wrong(path, line, f"a .cu file includes kernels.h and .cuh files, and not {name}")
        for line, text in tree.lines(path):
            if not at_home and path != "src/backend/registry.def" and re.match(r"\s*#\s*(el)?if.*CUDA", text):
                tree.wrong(path, line, "what depends on CUDA is in backend/cuda/ and in backend/registry.def")
    for path in tree.matching(r"src/.*\.cu$"):
        code = without_comments_and_texts(tree.text(path))
        for match in re.finditer(r"<<<|\b(__shared__|__constant__|__threadfence_\w+|clock|assert|printf)\b", code):
            line = code.count("\n", 0, match.start()) + 1
            tree.wrong(path, line, f"'{match[0]}' is not for kernels: see device.cuh")


def check_calls(tree):
    """No call that ends the process, prints, bypasses the accounting of memory, or checks nothing."""
    for path in tree.matching(r"(src|include)/.*\.(c|h|cu|cuh)$"):
        code = without_comments_and_texts(tree.text(path))
        for pattern, homes, why in CALLS:
            if homes and path[len("src/"):].startswith(homes):
                continue
            for match in re.finditer(pattern, code):
                line = code.count("\n", 0, match.start()) + 1
                tree.wrong(path, line, f"'{match[0].strip('( ')}' {why}")


def check_formats(tree):
    """JSON has one writer, which escapes texts and prints numbers in one way; texts are cut at whole characters."""
    for path in tree.matching(r"(src|include)/.*\.(c|h|cu|cuh)$"):
        for line, text in tree.lines(path):
            if re.search(r'\\"\w+\\": ?(\\")?%', text) and path not in OTHER_JSON:
                tree.wrong(path, line, "JSON made by hand: use pb_json_put_… of pb/json.h")
            if re.search(r'%-?\.[1-9]\d*s', text):
                tree.wrong(path, line, "a precision cuts characters in two: use %.*s and PB_FIT of pb/utf8.h")


def check_sizes(tree):
    """Files and functions short enough to keep in mind."""
    for path in tree.paths:
        limit = next((n for pattern, n in SIZE_LIMITS if pattern.match(path)), None)
        if limit is not None and tree.text(path).count("\n") > limit:
            tree.wrong(path, limit + 1, f"the file is longer than {limit} lines: split it")
    for path in tree.matching(r"(src|include)/.*\.(c|h|cu|cuh)$"):
        start = 0
        for number, line in tree.lines(path):
            if line == "{":
                start = number
            elif line == "}" and start:
                if number - start - 1 > FUNCTION_LIMIT:
                    tree.wrong(path, start, f"the function is longer than {FUNCTION_LIMIT} lines")
                start = 0


def check_text(tree):
    """Licence line, #pragma once, columns, white space, nothing left undone, no machine-specific paths."""
    for path in tree.paths:
        is_c = C_FILE.match(path)
        if not (is_c or SCRIPT.match(path) or path.endswith((".md", ".in"))):
            continue
        text = tree.text(path)
        top = text.split("\n", 2)
        first = top[1] if top[0].startswith("#!") and len(top) > 1 else top[0]
        if is_c and first != "// SPDX-License-Identifier: Apache-2.0":
            tree.wrong(path, 1, "the first line is not the SPDX line")
        if path.endswith((".py", ".sh", ".sbatch")) or re.match(r"(jobs/[a-z]+|tests/run|\.ci/run)$", path):
            if first != "# SPDX-License-Identifier: Apache-2.0":
                tree.wrong(path, 1, "the SPDX line is missing at the top")
        if path.endswith((".h", ".cuh")) and not re.search(r"^#pragma once$", text, re.M):
            tree.wrong(path, 1, "#pragma once is missing")
        if text and not text.endswith("\n"):
            tree.wrong(path, text.count("\n") + 1, "no line break at the end of the file")
        for number, line in tree.lines(path):
            check_line(tree, path, number, line, is_c)


def check_line(tree, path, number, line, is_c):
    if is_c and len(line) > COLUMNS:
        tree.wrong(path, number, f"{len(line)} columns, {COLUMNS} allowed")
    if "\t" in line or "\r" in line:
        tree.wrong(path, number, "tab or carriage return")
    if line != line.rstrip() and not path.endswith(".md"):
        tree.wrong(path, number, "white space at the end of the line")
    if UNDONE.search(line):
        tree.wrong(path, number, "something is left undone: do it, or say it in README or CHANGELOG")
    if MACHINE_PATH.search(line):
        tree.wrong(path, number, "a path of one machine")


def check_sources(tree):
    """Every source is listed in CMake, every private header is included by its module."""
    for path in tree.matching(r"(src|tests)/.*\.(c|cu|cpp)$"):
        folder = os.path.dirname(path)
        lists = []
        while folder:
            lists.append(folder)
            folder = os.path.dirname(folder)
        if path.startswith("tests/"):  # a helper may be listed in the folder that uses it
            lists += [os.path.dirname(p) for p in tree.matching(r"tests/.*CMakeLists\.txt$")]
        if not any(lists_source(tree, folder, path) for folder in lists):
            tree.wrong(path, 1, "no CMakeLists.txt lists this source")
    for path in tree.matching(r"src/.*/CMakeLists\.txt$"):
        text = re.sub(r"#.*", "", tree.text(path))
        for name in re.findall(r"[\w/]+\.(?:cu?|cpp)\b", text):
            if os.path.normpath(os.path.join(os.path.dirname(path), name)) not in tree.paths:
                tree.wrong(path, 1, f"'{name}' is listed, but not there")
    for path in tree.matching(r"src/.*\.h$"):
        name = os.path.basename(path)
        module = tree.matching(f"src/{module_of(path)}/.*\\.(c|h)$")
        if not any(os.path.basename(used) == name for p in module for _, used, _ in tree.includes(p)):
            tree.wrong(path, 1, "nothing includes this header")


def check_circles(tree):
    """The files of a module call each other in one direction: no circular calls."""
    for module in MODULES:
        paths = tree.matching(rf"src/{module}/.*\.(c|cu)$")
        code = {path: without_comments_and_texts(tree.text(path)) for path in paths}
        home = {name: path for path in paths for name in re.findall(DEFINITION, code[path], re.M)}
        calls = {path: {home[name] for name in used_names(tree, path, code[path]) if name in home} for path in paths}
        reported = set()
        for path in paths:
            circle = {other for other in reached(calls, path) if path in reached(calls, other)}
            if len(circle) > 1 and not circle & reported:
                reported |= circle
                tree.wrong(path, 1, "calls in a circle with " + ", ".join(sorted(circle - {path})))


def used_names(tree, path, code):
    """Names of other files' functions and tables: no members, and none that the file defines itself."""
    own = set(re.findall(r"^static [^;={]*?\b(\w+)(?:\(|\[|;| =)", code, re.M))
    names = set(re.findall(r"(?<![\w.])(?<!->)[a-z]\w*", code))
    listed = os.path.join(os.path.dirname(path), "registry.def")
    if "registry.def" in tree.text(path) and listed in tree.paths:
        for prefix in re.findall(r"(\w+)##name", code):
            names |= {prefix + name for _, name, _ in entries(tree, listed)}
    return names - own


def reached(calls, path):
    """The files that a file calls, directly or through others."""
    found, ahead = set(), {path}
    while ahead:
        ahead = {other for one in ahead for other in calls[one]} - found
        found |= ahead
    return found


def check_prefixes(tree):
    """pb_ and PB_ mark what public headers declare, and nothing else."""
    public = {"PB_ENTRY"}
    for path in tree.matching(r"include/pb/.*\.def$"):
        public |= {f"pb_{name}" for name in re.findall(r"^PB_\w+\((\w+)", tree.text(path), re.M)}
    for path in tree.matching(r"include/pb/.*\.h$"):
        public |= set(re.findall(r"\b(?:pb|PB)_\w+", without_comments_and_texts(tree.text(path))))
        for name in sorted(declared(tree.text(path))):
            if not name.startswith(("pb_", "PB_")):
                tree.wrong(path, line_of(tree, path, name), f"'{name}' of a public header does not begin with pb_ or PB_")
    for path in tree.matching(r"src/.*\.(c|cu|cuh|h)$"):
        for name in sorted(declared(tree.text(path)) - public):
            if name.startswith(("pb_", "PB_")):
                tree.wrong(path, line_of(tree, path, name), f"'{name}' begins like a public name, but no public header declares it")


def line_of(tree, path, name):
    return next(number for number, line in tree.lines(path) if re.search(rf"\b{name}\b", line))


REGISTRY_FORM = re.compile(r'\[\] = \{\n#define PB_ENTRY\(name, source\) &\w+##name,\n#include "registry\.def"\n    NULL,\n\};')


def check_registries(tree):
    """The extension points have one form: only registry.def lists the tables, and their sources define them."""
    for module, table in REGISTRIES.items():
        home, path = f"src/{module}/", f"src/{module}/registry.def"
        if f"{home}registry.c" not in tree.paths:
            continue
        if path not in tree.paths:
            tree.wrong(f"{home}registry.c", 1, "there is no registry.def beside it")
            continue
        if not REGISTRY_FORM.search(tree.text(f"{home}registry.c")):
            tree.wrong(f"{home}registry.c", 1, "the array is not made of registry.def alone")
        elif not re.search(r"\bpb_registry_find\(&registry, ", tree.text(f"{home}registry.c")):
            tree.wrong(f"{home}registry.c", 1, "entries are not found by pb_registry_find")
        for number, line in tree.lines(path):
            if re.match(r"\s*PB_ENTRY", line) and number not in [n for n, _, _ in entries(tree, path)]:
                tree.wrong(path, number, "an entry is PB_ENTRY(name, source)")
        seen = set()
        for number, name, source in entries(tree, path):
            if name in seen:
                tree.wrong(path, number, f"'{name}' is listed twice")
            seen.add(name)
            sources = [p for p in tree.paths if p == home + source or source.endswith("/") and p.startswith(home + source)]
            if not any(re.search(rf"^const \w+ {table}{name} = ", tree.text(p), re.M) for p in sources):
                tree.wrong(path, number, f"{source} does not define {table}{name}")
        defined = {name for _, name, _ in entries(tree, path)}
        for source in tree.matching(rf"{home}.*\.c$"):
            for name in re.findall(rf"^const \w+ {table}(\w+) = ", tree.text(source), re.M):
                if name not in defined:
                    tree.wrong(source, 1, f"{table}{name} is not in {path}")


def check_order(tree):
    """CMake and README have the modules in the order of MODULES."""
    if "src/CMakeLists.txt" in tree.paths:
        listed = re.search(r"foreach\(module ([\w\s]+)\)", tree.text("src/CMakeLists.txt"))
        if listed is None or listed[1].split() != MODULES:
            tree.wrong("src/CMakeLists.txt", 1, "the modules are not those of tests/style/check.py in their order")
    block = re.search(r"\*\*The modules\.\*\*.*?```\n(.*?)```", tree.text("README.md"), re.S) if "README.md" in tree.paths else None
    if block and re.findall(r"^ (\w+) ", block[1], re.M) != MODULES[::-1]:
        tree.wrong("README.md", 1, "the modules are not those of tests/style/check.py, highest first")


def check_documents(tree):
    """README lists the commands of the program; what the documents name in code style exists; CITATION.cff has the version."""
    if "README.md" in tree.paths and "src/cli/cli.c" in tree.paths:
        table = set(re.findall(r"^\| `([a-z]+)[^`]*` \|", tree.text("README.md"), re.M))
        commands = set(re.findall(r"&command_([a-z]+)", tree.text("src/cli/cli.c")))
        for name in sorted(commands - table):
            tree.wrong("README.md", 1, f"the table of commands lacks '{name}'")
        for name in sorted(table - commands):
            tree.wrong("README.md", 1, f"'{name}' is not a command of the program")
    for path in tree.matching(r"(README|INSTALL|CONTRIBUTING)\.md$"):
        for number, line in tree.lines(path):
            for name in re.findall(r"`((?:include|src|tests|configs|jobs|cmake)/[\w./-]+)", line):
                if not os.path.exists(os.path.join(tree.root, name)):
                    tree.wrong(path, number, f"there is no '{name}'")
    if "CITATION.cff" in tree.paths and "CMakeLists.txt" in tree.paths:
        version = re.search(r"^project\([^)]*VERSION ([\d.]+)", tree.text("CMakeLists.txt"), re.M)
        if version and f"\nversion: {version[1]}\n" not in tree.text("CITATION.cff"):
            tree.wrong("CITATION.cff", 1, f"the version is not that of CMakeLists.txt, {version[1]}")


def entries(tree, path):
    """(line, name, source) of every entry of a registry.def."""
    for number, line in tree.lines(path):
        match = re.fullmatch(r"PB_ENTRY\((\w+), ([\w/.]+)\)", line)
        if match:
            yield number, match[1], match[2]


def lists_source(tree, folder, path):
    cmake = f"{folder}/CMakeLists.txt"
    if cmake not in tree.paths:
        return False
    registry = f"{folder}/registry.def"
    if registry in tree.paths and any(f"{folder}/{source}" == path for _, _, source in entries(tree, registry)):
        return True
    text = re.sub(r"#.*", "", tree.text(cmake))
    if re.search(rf"(?<![\w/.]){re.escape(os.path.relpath(path, folder))}(?![\w.])", text):
        return True
    if f"${{CMAKE_SOURCE_DIR}}/{path}" in text:
        return True
    # foreach(object a b) … test_${object}.c
    name = os.path.basename(path)
    for variable, words in re.findall(r"foreach\((\w+)\s+([^)]*)\)", text):
        for pattern in re.findall(rf"[\w/.]*\$\{{{variable}\}}[\w/.]*\.c", text):
            if name in (pattern.replace(f"${{{variable}}}", word) for word in words.split()) \
                    and folder == os.path.dirname(path):
                return True
    return False


def clang_format():
    """clang-format 14, which defines the format of the tree, or None."""
    for name in (os.environ.get("PB_CLANG_FORMAT"), "clang-format-14", "clang-format"):
        path = shutil.which(name) if name else None
        if path:
            version = subprocess.run([path, "--version"], capture_output=True, text=True).stdout
            if re.search(r"version 14\.", version):
                return path
    return None


def check_format(tree):
    """clang-format 14 would leave every C file as it is."""
    files = tree.matching(r"(include|src|tests)/.*\.(c|h|cu|cuh|cpp)$")
    if not files:
        return
    result = subprocess.run([clang_format(), "--style=file", "--dry-run", "-Werror", *files],
                            capture_output=True, text=True, cwd=tree.root)
    reported = set()
    for path, line in re.findall(r"^([^\s:]+):(\d+):\d+: error", result.stderr, re.M):
        if path not in reported:
            reported.add(path)
            tree.wrong(path, line, "not formatted: clang-format -i with clang-format 14")
    if result.returncode != 0 and not reported:
        tree.wrong(".clang-format", 1, result.stderr.strip())


RULES = {name[len("check_"):]: globals()[name] for name in (
    "check_layers", "check_links", "check_foreign", "check_kernels", "check_calls", "check_formats", "check_sizes", "check_text",
    "check_sources", "check_circles", "check_prefixes", "check_registries", "check_order", "check_documents", "check_format")}
SKIPPED = 77


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    default = os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../.."))
    parser.add_argument("--root", default=default)
    parser.add_argument("--list", action="store_true", help="print the names of the rules")
    parser.add_argument("rules", nargs="*", metavar="RULE")
    arguments = parser.parse_args()
    if arguments.list:
        print("\n".join(RULES))
        return 0
    for rule in arguments.rules:
        if rule not in RULES:
            parser.error(f"unknown rule '{rule}'; there are {', '.join(RULES)}")
    tree = Tree(arguments.root)
    for rule in arguments.rules or RULES:
        if rule == "format" and clang_format() is None:
            print("clang-format 14 is missing: formatting was not checked", file=sys.stderr)
            if arguments.rules == ["format"]:
                return 1 if os.environ.get("CI") else SKIPPED
            continue
        RULES[rule](tree)
    print("\n".join(tree.found) if tree.found else f"{len(tree.paths)} files keep the rules")
    return 1 if tree.found else 0


if __name__ == "__main__":
    sys.exit(main())
