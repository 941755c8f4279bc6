# SPDX-License-Identifier: Apache-2.0
"""For Spack. In a repository of your own (spack repo create), as packages/peftbench/package.py; then, in the folder of the
sources:  spack dev-build peftbench@main

A release adds a line such as version("0.1.0", sha256="…") and its address as url; neither exists yet."""
from spack.package import *

try:
    from spack_repo.builtin.build_systems.cmake import CMakePackage  # Spack 1
except ImportError:
    pass


class Peftbench(CMakePackage):
    """Measures parameter-efficient fine-tuning of language models over a grid of models, data sets, methods and seeds."""

    license("Apache-2.0")
    version("main")

    variant("cuda", default=False, description="the backend for NVIDIA GPUs")
    variant("onednn", default=True, description="products of BF16 factors by the processor's own instructions")
    variant("gnuplot", default=False, description="figures of report --plots")

    depends_on("c", type="build")
    depends_on("cxx", type="build", when="+cuda")
    depends_on("cmake@3.24:", type="build")
    depends_on("ninja", type="build")
    depends_on("pkgconfig", type="build")
    depends_on("mpi@3:")
    depends_on("hdf5@1.10: +hl")
    depends_on("openblas threads=openmp")
    depends_on("libconfig")
    depends_on("jansson")
    depends_on("pcre2")
    depends_on("utf8proc")
    depends_on("openssl")
    depends_on("zlib-api")
    depends_on("zstd")
    depends_on("hwloc@2:")
    depends_on("onednn@2.6: cpu_runtime=omp", when="+onednn")
    depends_on("cuda@12:", when="+cuda")
    depends_on("gnuplot+cairo", type="run", when="+gnuplot")

    generator("ninja")

    def cmake_args(self):
        # Spack's compiler wrapper chooses the processor.
        return [self.define("PB_TESTS", False), self.define("PB_MARCH", ""), self.define("PB_CUDA", "ON" if "+cuda" in self.spec else "OFF")]
