#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Each rule of check.py finds its violations: a small tree that follows the rules is broken in one
place at a time."""

import os
import subprocess
import sys
import tempfile
import unittest

import check

SPDX = "// SPDX-License-Identifier: Apache-2.0\n"

GOOD = {
    "include/pb/status.h": SPDX + "#pragma once\n\nint pb_status_get(void);\n",
    "include/pb/comm.h": SPDX + '#pragma once\n\n#include "pb/status.h"\n\nint pb_comm_find(void);\n',
    "include/pb/train.h": SPDX + "#pragma once\n",
    "src/base/CMakeLists.txt": "pb_module(base SOURCES status.c)\n",
    "src/base/status.c": SPDX + '#include "pb/status.h"\n\n#include <stdlib.h>\n\n'
                                "int pb_status_get(void)\n{\n    return 0;\n}\n",
    "src/comm/CMakeLists.txt": "pb_module(comm SOURCES mpi.c USES pb_base)\n",
    "src/comm/mpi.c": SPDX + '#include "pb/comm.h"\n#include "group.h"\n\n#include <mpi.h>\n',
    "src/comm/group.h": SPDX + "#pragma once\n",
    "src/config/CMakeLists.txt": "pb_module(config SOURCES read.c USES pb_base)\n",
    "src/config/read.c": SPDX + '#include "pb/status.h"\n',
    "tests/unit/base/CMakeLists.txt": "foreach(object status log)\n"
                                      "    pb_test(NAME ${object} SOURCES test_${object}.c)\n"
                                      "endforeach()\n",
    "tests/unit/base/test_status.c": SPDX + '#include "pb/status.h"\n',
}


class Rules(unittest.TestCase):
    def violations(self, changed, *rules):
        with tempfile.TemporaryDirectory() as root:
            for path, text in {**GOOD, **changed}.items():
                os.makedirs(os.path.join(root, os.path.dirname(path)), exist_ok=True)
                with open(os.path.join(root, path), "w", encoding="utf-8") as file:
                    file.write(text)
            tree = check.Tree(root)
            for rule in rules or [name for name in check.RULES if name != "format"]:
                check.RULES[rule](tree)
            return tree.found

    def one(self, changed, *parts):
        lines = self.violations(changed)
        self.assertEqual(len(lines), 1, lines)
        for part in parts:
            self.assertIn(part, lines[0])

    def test_the_program_tells_and_fails(self):
        """From a violation to the exit status, and an unknown rule."""
        script = os.path.join(os.path.dirname(os.path.abspath(check.__file__)), "check.py")
        with tempfile.TemporaryDirectory() as root:
            for text, status in (("int x;\n", 0), ("\tint x;\n", 1)):
                os.makedirs(os.path.join(root, "include/pb"), exist_ok=True)
                with open(os.path.join(root, "include/pb/comm.h"), "w", encoding="utf-8") as file:
                    file.write(SPDX + "#pragma once\n" + text)
                result = subprocess.run([sys.executable, script, "--root", root, "text"],
                                        capture_output=True, text=True)
                self.assertEqual(result.returncode, status, result)
            self.assertIn("include/pb/comm.h:3: tab", result.stdout)
        result = subprocess.run([sys.executable, script, "none"], capture_output=True, text=True)
        self.assertEqual(result.returncode, 2)

    def source(self, code):
        return {"src/config/read.c": SPDX + code + "\n"}

    def test_a_tree_that_keeps_the_rules_passes(self):
        self.assertEqual(self.violations({}), [])

    def test_a_later_module_is_not_included(self):
        self.one(self.source('#include "pb/train.h"'), "src/config/read.c:2:", "later module")

    def test_a_public_header_does_not_include_a_later_one(self):
        self.one({"include/pb/comm.h": SPDX + '#pragma once\n#include "pb/train.h"\n'},
                 "include/pb/comm.h:3:", "later module")

    def test_a_header_without_a_module_is_reported(self):
        self.one({"include/pb/stray.h": SPDX + "#pragma once\n"}, "no module has this header")

    def test_a_header_that_is_not_there_is_reported(self):
        self.one(self.source('#include "pb/config.h"'), "not a public header")

    def test_a_private_header_of_another_module_is_not_included(self):
        self.one(self.source('#include "../comm/group.h"'), "not a private header of config")

    def test_an_unknown_module_is_reported(self):
        lines = self.violations({"src/extra/a.c": SPDX}, "layers")
        self.assertEqual(len(lines), 1)
        self.assertIn("'extra' is not in the list", lines[0])

    def test_a_module_does_not_link_to_a_later_one(self):
        self.one({"src/base/CMakeLists.txt": "pb_module(base SOURCES status.c USES pb_comm)\n"},
                 "may not link to comm")

    def test_a_module_links_to_nothing_that_it_does_not_include(self):
        self.one({"src/config/CMakeLists.txt": "pb_module(config SOURCES read.c USES pb_comm pb_base)\n"},
                 "config links to comm, but includes nothing of it")
        through = {"include/pb/config.h": SPDX + '#pragma once\n\n#include "pb/comm.h"\n',
                   "src/config/read.c": SPDX + '#include "pb/config.h"\n',
                   "src/config/CMakeLists.txt": "pb_module(config SOURCES read.c USES pb_comm pb_base)\n"}
        self.assertEqual(self.violations(through), [])
        self.one({"src/comm/self/CMakeLists.txt": "target_link_libraries(pb_comm PRIVATE pb_config)\n"},
                 "src/comm/self/CMakeLists.txt:1:", "may not link to config")

    def test_train_and_dataset_know_nothing_of_what_they_stand_beside(self):
        for module, other in (("train", "dataset"), ("dataset", "network")):
            found = self.violations({f"src/{module}/CMakeLists.txt": f"pb_module({module} SOURCES a.c USES pb_{other})\n",
                                     f"src/{module}/a.c": SPDX}, "links")
            self.assertIn(f"{module} knows nothing of {other}", found[0])

    def test_the_order_of_modules_is_the_same_everywhere(self):
        order = " ".join(check.MODULES)
        rows = "".join(f" {name}  what it does\n" for name in reversed(check.MODULES))
        listed = {"src/CMakeLists.txt": f"foreach(module {order})\nendforeach()\n",
                  "README.md": f"**The modules.** Below:\n\n```\n main.c  runs\n{rows}```\n"}
        self.assertEqual(self.violations(listed), [])
        self.one({**listed, "src/CMakeLists.txt": "foreach(module comm base)\nendforeach()\n"}, "src/CMakeLists.txt:1:")
        self.one({**listed, "README.md": listed["README.md"].replace(" cli ", " gui ")}, "README.md:1:", "highest first")

    def test_a_module_links_to_what_it_includes(self):
        self.one({"src/comm/CMakeLists.txt": "pb_module(comm SOURCES mpi.c)\n"},
                 "include/pb/comm.h:4:", "base, to which comm does not link")
        self.assertEqual(self.violations({"src/comm/CMakeLists.txt": "pb_module(comm SOURCES mpi.c # USES pb_base\n"
                                                                     "    USES pb_base)\n"}), [])

    def test_a_foreign_header_stays_at_home(self):
        for header in ("mpi.h", "hdf5.h", "cblas.h", "oneapi/dnnl/dnnl.h", "openssl/evp.h", "pcre2.h", "utf8proc.h"):
            self.one(self.source(f"#include <{header}>"), f"<{header}> belongs to")

    KERNELS = {
        "src/backend/CMakeLists.txt": "pb_module(backend SOURCES cuda/norm.c USES pb_base)\n"
                                      "pb_cuda_library(kernels cuda/norm.cu)\n",
        "src/backend/cuda/kernels.h": SPDX + "#pragma once\n\n#include <cuda_runtime_api.h>\n",
        "src/backend/cuda/device.cuh": SPDX + "#pragma once\n\n#if defined(__CUDACC__)\n#endif\n",
        "src/backend/cuda/norm.c": SPDX + '#include "kernels.h"\n',
        "src/backend/cuda/norm.cu": SPDX + '#include "kernels.h"\n\n#include "device.cuh"\n',
        "tests/cuda_host/CMakeLists.txt": "add_library(host fake.cpp)\n",
        "tests/cuda_host/fake.cpp": SPDX + "#include <cublasLt.h>\n",
    }

    def test_cuda_stays_at_home(self):
        self.assertEqual(self.violations(self.KERNELS), [])
        for header in ("cuda_runtime_api.h", "cuda_bf16.h", "cublasLt.h"):
            self.one({"tests/unit/base/test_status.c": SPDX + f"#include <{header}>\n"}, "belongs to", "tests/cuda_host/")
            self.assertIn("belongs to", self.violations(self.source(f"#include <{header}>"), "foreign")[0])
        self.one(self.source("#ifdef PB_HAVE_CUDA\nint x;\n#endif"), "src/config/read.c:2:", "backend/registry.def")

    def test_kernels_are_written_with_device_cuh(self):
        norm = self.KERNELS["src/backend/cuda/norm.cu"]
        for text, message in (("#include <cuda_bf16.h>", "includes kernels.h and .cuh files"),
                              ("void f(void)\n{\n    k<<<1, 32>>>();\n}", "'<<<' is not for kernels"),
                              ("__constant__ float table[4];", "'__constant__' is not for kernels")):
            self.one({**self.KERNELS, "src/backend/cuda/norm.cu": norm + text + "\n"}, "norm.cu:", message)

    def test_c_plus_plus_keeps_the_rules_of_text(self):
        fake = "tests/cuda_host/fake.cpp"
        self.one({**self.KERNELS, fake: "int x;\n"}, "SPDX")
        self.one({**self.KERNELS, fake: SPDX + "// " + "x" * 98 + "\n"}, "101 columns")
        self.one({**self.KERNELS, fake: SPDX + "\n" * 600}, "longer than 600")
        self.one({**self.KERNELS, "tests/cuda_host/more.cpp": SPDX}, "no CMakeLists.txt lists")

    def test_a_public_header_names_no_foreign_one(self):
        self.one({"include/pb/comm.h": SPDX + "#pragma once\n#include <mpi.h>\n"}, "belongs to")

    def test_an_unknown_foreign_header_is_reported(self):
        self.one(self.source("#include <glib.h>"), "not in any list")

    def test_forbidden_calls_are_found(self):
        for call in ("exit(1)", "abort()", "MPI_Abort(c, 1)", 'printf("x")', "puts(s)",
                     "fprintf(stderr, s)", "fputs(s, stdout)", "malloc(4)", "sprintf(s, t)"):
            self.one(self.source(f"void f(void)\n{{\n    {call};\n}}"), "src/config/read.c:4:")

    def test_temporary_files_have_one_home(self):
        self.one(self.source("void f(void)\n{\n    mkdtemp(path);\n}"), "src/config/read.c:4:", "pb_temporary_make")
        self.assertEqual(self.violations({"src/base/temporary.c": SPDX + "void f(void)\n{\n    mkdtemp(path);\n}\n",
                                          "src/base/CMakeLists.txt": "pb_module(base SOURCES status.c temporary.c)\n"}), [])

    def test_json_has_one_writer(self):
        for text in ('\\"rows\\": %d', '{\\"name\\":\\"%s\\"}'):
            self.one(self.source(f'char *s = "{text}";'), "src/config/read.c:2:", "JSON made by hand")
        self.assertEqual(self.violations(self.source('char *s = "the key \\"%s\\": %s, {\\"ids\\": […]}";')), [])

    def test_texts_are_cut_at_whole_characters(self):
        self.one(self.source('char *s = "%.60s";'), "src/config/read.c:2:", "PB_FIT")
        self.assertEqual(self.violations(self.source('char *s = "%.*s %.3g";')), [])

    def test_calls_in_comments_and_texts_are_not_calls(self):
        self.assertEqual(self.violations(self.source('/* exit(1) */ char *s = "abort()"; // puts(s)')),
                         [])

    def test_calls_are_allowed_at_home(self):
        self.assertEqual(self.violations(
            {"src/comm/mpi.c": SPDX + '#include "group.h"\nvoid f(void)\n{\n    abort();\n}\n'}), [])

    def test_long_files_are_found(self):
        self.one({"src/config/read.c": SPDX + "\n" * 600}, "longer than 600")
        self.one({"include/pb/status.h": SPDX + "#pragma once\n\nint pb_status_get(void);\n" + "\n" * 228},
                 "longer than 230")
        self.one({"include/pb/operations.def": SPDX + "\n" * 230}, "longer than 230")
        self.one({"src/comm/list.def": SPDX + "\n" * 600}, "longer than 600")

    def test_long_functions_are_found(self):
        body = "    x++;\n" * 101
        self.one(self.source(f"void f(void)\n{{\n{body}}}"), "src/config/read.c:3:", "function")
        self.one({"src/comm/group.h": SPDX + f"#pragma once\n\nstatic inline void f(void)\n{{\n{body}}}\n"},
                 "src/comm/group.h:5:", "function")

    def test_text_rules(self):
        self.one({"src/config/read.c": "/* none */\n"}, "SPDX")
        self.one({"src/comm/group.h": SPDX}, "#pragma once")
        self.one(self.source("// " + "x" * 98), "101 columns")
        self.one(self.source("int x; "), "white space")
        self.one(self.source("\tint x;"), "tab")
        self.one(self.source("// TO" "DO: more"), "undone")
        self.one(self.source("// see /ho" "me/someone/file"), "path of one machine")
        self.one({"src/config/read.c": SPDX + "int x;"}, "end of the file")
        self.one({"tests/a.py": "print()\n"}, "SPDX")

    def test_every_source_is_listed(self):
        self.one({"src/config/more.c": SPDX}, "src/config/more.c:1: no CMakeLists.txt")
        self.one({"tests/unit/base/test_other.c": SPDX}, "no CMakeLists.txt lists")

    REGISTRY_C = ('static const pb_comm_ops *const groups[] = {\n#define PB_ENTRY(name, source) &comm_##name,\n'
                  '#include "registry.def"\n    NULL,\n};\n\n'
                  'int pb_comm_find(void)\n{\n    return pb_registry_find(&registry, name, &index);\n}\n')
    REGISTRY = {
        "src/comm/registry.def": SPDX + "PB_ENTRY(mpi, mpi.c)\n#undef PB_ENTRY\n",
        "src/comm/registry.c": SPDX + '#include "group.h"\n\n' + REGISTRY_C,
        "src/comm/CMakeLists.txt": "pb_module(comm SOURCES registry.c USES pb_base)\n",
        "src/comm/mpi.c": GOOD["src/comm/mpi.c"] + "\nconst pb_comm_ops comm_mpi = {0};\n",
    }

    def test_a_registry_lists_what_its_sources_define(self):
        self.assertEqual(self.violations(self.REGISTRY), [])
        for path, text, message in (
                ("registry.def", SPDX + "PB_ENTRY(mpi)\n", "PB_ENTRY(name, source)"),
                ("registry.def", SPDX + "PB_ENTRY(gpu, mpi.c)\nPB_ENTRY(mpi, mpi.c)\n", "does not define comm_gpu"),
                ("mpi.c", self.REGISTRY["src/comm/mpi.c"] + "const pb_comm_ops comm_two = {0};\n",
                 "comm_two is not in src/comm/registry.def"),
                ("registry.def", SPDX + "PB_ENTRY(mpi, mpi.c)\nPB_ENTRY(mpi, mpi.c)\n", "'mpi' is listed twice"),
                ("registry.c", SPDX + '#include "group.h"\n', "not made of registry.def alone"),
                ("registry.c", self.REGISTRY["src/comm/registry.c"].replace("    NULL,", "    &comm_self,\n    NULL,"),
                 "not made of registry.def alone"),
                ("registry.c", self.REGISTRY["src/comm/registry.c"].replace("pb_registry_find(", "find_by_hand("),
                 "not found by pb_registry_find")):
            found = self.violations({**self.REGISTRY, f"src/comm/{path}": text}, "registries")
            self.assertTrue(found and message in found[0], found)

    def test_a_registry_without_a_list_is_reported(self):
        changed = {path: text for path, text in self.REGISTRY.items() if not path.endswith(".def")}
        self.assertIn("no registry.def", self.violations(changed, "registries")[0])

    def test_pb_marks_the_names_of_public_headers(self):
        self.assertEqual(self.violations({"src/comm/group.h": SPDX + "#pragma once\n\nint pb_status_get(void);\n"}), [])
        for code in ("int pb_group(void);", "typedef struct pb_group {\n    int a;\n} pb_group;", "#define PB_GROUP 1",
                     "extern const int pb_group;", "enum { PB_GROUP = 3 };", "typedef void (*pb_group)(int a);",
                     "static inline int pb_group(int a)\n{\n    return a;\n}"):
            self.one({"src/comm/group.h": SPDX + f"#pragma once\n\n{code}\n"}, "src/comm/group.h:", "like a public name")
            self.one({**self.KERNELS, "src/backend/cuda/device.cuh": SPDX + f"#pragma once\n\n{code}\n"},
                     "src/backend/cuda/device.cuh:", "like a public name")
        for code in ("int group(void);", "typedef struct group {\n    int a;\n} group;", "#define GROUP 1", "enum { GROUP };"):
            self.one({"include/pb/train.h": SPDX + f"#pragma once\n\n{code}\n"}, "include/pb/train.h:", "pb_ or PB_")

    def test_every_listed_source_is_there(self):
        self.one({"src/config/CMakeLists.txt": "pb_module(config SOURCES read.c gone.c USES pb_base)\n"},
                 "'gone.c' is listed")

    def test_every_private_header_is_included(self):
        self.one({"src/config/unused.h": SPDX + "#pragma once\n"}, "nothing includes")

    def test_circles_of_calls_are_found(self):
        front = SPDX + '#include "group.h"\n\nint pb_status_get(void)\n{\n    return read_one();\n}\n'
        part = SPDX + '#include "group.h"\n\nint read_one(void)\n{\n    return %s;\n}\n'
        tree = {"src/config/CMakeLists.txt": "pb_module(config SOURCES read.c part.c USES pb_base)\n",
                "src/config/group.h": SPDX + "#pragma once\n", "src/config/read.c": front}
        self.one({**tree, "src/config/part.c": part % "pb_status_get()"}, "src/config/part.c:1:", "circle with src/config/read.c")
        for harmless in ("0 /* pb_status_get() */", "this->pb_status_get()", '"pb_status_get()"[0]'):
            self.assertEqual(self.violations({**tree, "src/config/part.c": part % harmless}), [])

    def test_a_registry_counts_as_using_its_entries(self):
        tree = {"src/comm/CMakeLists.txt": "pb_module(comm SOURCES mpi.c registry.c USES pb_base)\n",
                "src/comm/registry.def": SPDX + "PB_ENTRY(mpi, mpi.c)\n",
                "src/comm/registry.c": SPDX + self.REGISTRY_C,
                "src/comm/mpi.c": SPDX + '#include "pb/comm.h"\n#include "group.h"\n\n'
                                         "static int find(void)\n{\n    return pb_comm_find();\n}\n\n"
                                         "const pb_comm_ops comm_mpi = {0};\n"}
        self.one(tree, "src/comm/mpi.c:1:", "circle with src/comm/registry.c")

    def test_a_function_of_one_file_is_not_named_like_a_public_one(self):
        self.one(self.source("static int pb_read(void)\n{\n    return 0;\n}"), "src/config/read.c:2:", "'pb_read'")
        self.assertEqual(self.violations(self.source("static int read_one(void)\n{\n    return pb_status_get();\n}")), [])

    def test_a_type_or_macro_of_one_file_is_not_named_like_a_public_one(self):
        for code in ("typedef enum pb_read { ONE, TWO } pb_read;", "typedef int pb_read;", "struct pb_read {\n    int a;\n};",
                     "enum { PB_READ = 3 };", "#define PB_READ 1", "typedef void (*pb_read)(int a);"):
            self.one(self.source(code), "src/config/read.c:2:", "like a public name")
        self.assertEqual(self.violations({**self.source("#define PB_OPERATION 1"), "include/pb/status.h":
                                          GOOD["include/pb/status.h"] + "#define PB_OPERATION 0\n"}), [])

    def test_a_list_of_operations_declares_public_names(self):
        front = self.source("int pb_copy(void)\n{\n    return 0;\n}")
        self.one(front, "'pb_copy'")
        self.assertEqual(self.violations({**front, "include/pb/operations.def": SPDX + "PB_OPERATION(copy, int x)\n"}), [])

    def test_documents_name_what_is_there(self):
        commands = {"src/cli/CMakeLists.txt": "pb_module(cli SOURCES cli.c)\n",
                    "src/cli/cli.c": SPDX + "void *registry[] = {&command_run};\n"}
        self.assertEqual(self.violations({**commands, "README.md": "| `run GRID.cfg` | runs |\n"}),
                         [])
        self.one({**commands, "README.md": "none\n"}, "lacks 'run'")
        self.one({**commands, "README.md": "| `run` | x |\n| `fly` | x |\n"}, "'fly' is not a command")
        self.one({"CONTRIBUTING.md": "Copy `src/base/gone.c`.\n"}, "no 'src/base/gone.c'")
        self.one({"INSTALL.md": "Run `jobs/gone`.\n"}, "no 'jobs/gone'")

    def test_the_citation_has_the_version(self):
        cmake = {"CMakeLists.txt": "project(peftbench VERSION 0.2.0 LANGUAGES C)\n"}
        self.assertEqual(self.violations({**cmake, "CITATION.cff": "type: software\nversion: 0.2.0\n"}), [])
        self.one({**cmake, "CITATION.cff": "type: software\nversion: 0.1.0\n"}, "not that of CMakeLists.txt")


if __name__ == "__main__":
    unittest.main()
