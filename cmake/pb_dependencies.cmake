# The libraries this program needs; each becomes one imported target and belongs to one module (see README).
include(CheckFunctionExists)
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
find_package(OpenMP REQUIRED COMPONENTS C)
find_package(MPI REQUIRED COMPONENTS C)
find_package(HDF5 REQUIRED COMPONENTS C)
find_package(OpenSSL REQUIRED COMPONENTS Crypto)
pkg_check_modules(LIBCONFIG REQUIRED IMPORTED_TARGET libconfig)
pkg_check_modules(JANSSON REQUIRED IMPORTED_TARGET jansson)
pkg_check_modules(PCRE2 REQUIRED IMPORTED_TARGET libpcre2-8)
pkg_check_modules(UTF8PROC REQUIRED IMPORTED_TARGET libutf8proc)

# Optional: without them compressed data files are refused with the remedy.
find_package(ZLIB)
pkg_check_modules(ZSTD IMPORTED_TARGET libzstd)

# Optional: without it a plan does not know sockets and NUMA domains.
pkg_check_modules(HWLOC IMPORTED_TARGET hwloc)

# Any CBLAS. OpenBLAS by its own pkg-config file, else what FindBLAS knows.
pkg_check_modules(OPENBLAS IMPORTED_TARGET openblas)
add_library(pb_cblas INTERFACE)
if(OPENBLAS_FOUND)
    target_link_libraries(pb_cblas INTERFACE PkgConfig::OPENBLAS)
    target_compile_definitions(pb_cblas INTERFACE PB_HAVE_OPENBLAS=1)
else()
    find_package(BLAS REQUIRED)
    target_link_libraries(pb_cblas INTERFACE BLAS::BLAS)
endif()

# LAPACK, for singular values: OpenBLAS mostly holds it. Optional: without it the method svft says so.
add_library(pb_lapack INTERFACE)
set(CMAKE_REQUIRED_LIBRARIES ${OPENBLAS_LINK_LIBRARIES})
check_function_exists(dgesdd_ PB_OPENBLAS_HAS_LAPACK)
unset(CMAKE_REQUIRED_LIBRARIES)
if(NOT PB_OPENBLAS_HAS_LAPACK)
    find_package(LAPACK)
endif()
if(LAPACK_FOUND)
    target_link_libraries(pb_lapack INTERFACE LAPACK::LAPACK)
endif()
if(PB_OPENBLAS_HAS_LAPACK OR LAPACK_FOUND)
    target_compile_definitions(pb_lapack INTERFACE PB_HAVE_LAPACK=1)
endif()

# oneDNN, for products of BF16 factors by the processor's own instructions: its headers, as the library is opened when it is
# first needed. Optional: without it they are products of F32.
find_path(PB_ONEDNN_INCLUDE oneapi/dnnl/dnnl.h)
mark_as_advanced(PB_ONEDNN_INCLUDE)
add_library(pb_onednn INTERFACE)
if(PB_ONEDNN_INCLUDE)
    target_include_directories(pb_onednn SYSTEM INTERFACE ${PB_ONEDNN_INCLUDE})
    target_link_libraries(pb_onednn INTERFACE ${CMAKE_DL_LIBS})
    target_compile_definitions(pb_onednn INTERFACE PB_HAVE_ONEDNN=1)
endif()

add_library(pb_hdf5 INTERFACE)
target_include_directories(pb_hdf5 SYSTEM INTERFACE ${HDF5_C_INCLUDE_DIRS})
target_link_libraries(pb_hdf5 INTERFACE ${HDF5_C_LIBRARIES})
