# The CUDA backend. PB_CUDA = ON: nvcc compiles the kernels; OFF: the backend is left out; AUTO: ON where CUDA 12 or later
# is found, else OFF; HOST: the C++ compiler compiles the same kernels for the CPU and a fake runtime runs them, for tests
# (tests/cuda_host), which needs the toolkit's headers for their types and nothing else of CUDA.
#
# The result is PB_CUDA_BUILD: ON, OFF or HOST, and the target pb_cuda with what the C side of the backend needs.
set(PB_CUDA "AUTO" CACHE STRING "CUDA backend: ON, OFF, AUTO (ON where CUDA 12 or later is found), HOST (kernels run on the CPU, for tests)")
set_property(CACHE PB_CUDA PROPERTY STRINGS AUTO ON OFF HOST)

function(pb_cuda_headers)
    find_path(PB_CUDA_INCLUDE cuda_bf16.h
        HINTS ENV CUDAToolkit_ROOT ENV CUDA_HOME ENV CUDA_PATH PATHS /usr/local/cuda PATH_SUFFIXES include
        DOC "The headers of CUDA 12 or later")
    set(version 0)
    if(EXISTS ${PB_CUDA_INCLUDE}/cuda_runtime_api.h AND EXISTS ${PB_CUDA_INCLUDE}/cublasLt.h)
        file(STRINGS ${PB_CUDA_INCLUDE}/cuda_runtime_api.h version REGEX "^#define CUDART_VERSION ")
        string(REGEX REPLACE "[^0-9]*([0-9]+).*" "\\1" version "${version}")
    endif()
    if(version LESS 12000)
        message(FATAL_ERROR "PB_CUDA=HOST needs the headers of CUDA 12 or later (cuda_runtime_api.h, cuda_bf16.h, cublasLt.h); "
            "CUDAToolkit_ROOT names the folder of a toolkit")
    endif()
    target_include_directories(pb_cuda SYSTEM INTERFACE ${PB_CUDA_INCLUDE})
endfunction()

set(PB_CUDA_BUILD ${PB_CUDA})
if(NOT PB_CUDA MATCHES "^(ON|OFF|AUTO|HOST)$")
    message(FATAL_ERROR "PB_CUDA is ON, OFF, AUTO or HOST, not '${PB_CUDA}'")
endif()
if(PB_CUDA STREQUAL "AUTO")
    find_package(CUDAToolkit 12 QUIET)
    set(PB_CUDA_BUILD ${CUDAToolkit_FOUND})
elseif(PB_CUDA STREQUAL "ON")
    find_package(CUDAToolkit 12 REQUIRED)
endif()
if(PB_CUDA_BUILD)
    add_library(pb_cuda INTERFACE)
endif()
if(PB_CUDA_BUILD STREQUAL "HOST")
    if(NOT PB_TESTS)
        message(FATAL_ERROR "PB_CUDA=HOST is for tests: it needs PB_TESTS=ON")
    endif()
    enable_language(CXX)
    if(NOT CMAKE_CXX_COMPILER_ID STREQUAL CMAKE_C_COMPILER_ID)
        message(FATAL_ERROR "PB_CUDA=HOST: the C and C++ compilers differ (${CMAKE_C_COMPILER_ID}, ${CMAKE_CXX_COMPILER_ID}); set CC and CXX")
    endif()
    pb_cuda_headers()
    # Everything that tests labelled cuda start.
    add_custom_target(cuda_tests)
    add_dependencies(cuda_tests peftbench)
    target_link_libraries(pb_cuda INTERFACE pb_cuda_host)
    target_compile_features(pb_flags INTERFACE cxx_std_17)
    file(STRINGS ${CMAKE_SOURCE_DIR}/src/backend/registry.def entry REGEX "^PB_ENTRY\\(cuda,")
    if(entry)
        list(APPEND PB_TEST_BACKENDS cuda)
    endif()
elseif(PB_CUDA_BUILD)
    set(PB_CUDA_BUILD ON)
    target_include_directories(pb_cuda SYSTEM INTERFACE ${CUDAToolkit_INCLUDE_DIRS})
    target_link_libraries(pb_cuda INTERFACE CUDA::cudart_static)
else()
    set(PB_CUDA_BUILD OFF)
endif()
if(PB_CUDA STREQUAL "AUTO" AND NOT PB_CUDA_BUILD)
    message(STATUS "CUDA backend: OFF, since CMake finds no toolkit of CUDA 12 or later; CUDAToolkit_ROOT names the folder of one")
else()
    message(STATUS "CUDA backend: ${PB_CUDA_BUILD}")
endif()

# Machine code for A100 and H100, and PTX for what comes after.
set(pb_nvcc_flags -std=c++17 -O3 -Xptxas -v
    -gencode arch=compute_80,code=sm_80 -gencode "arch=compute_90,code=[sm_90,compute_90]"
    -Xcompiler -Wall,-Wextra,-fno-exceptions,-fno-rtti,-fno-threadsafe-statics)
if(PB_WERROR)
    list(APPEND pb_nvcc_flags -Werror all-warnings)
endif()

# pb_cuda_library(pb_cuda_kernels norm.cu …): a static library of launchers. nvcc is called directly and CMake's language CUDA
# stays off, so that programs are linked as C, without the C++ library.
function(pb_cuda_library target)
    set(objects)
    foreach(source ${ARGN})
        if(PB_CUDA_BUILD STREQUAL "HOST")
            set_source_files_properties(${source} PROPERTIES LANGUAGE CXX COMPILE_OPTIONS "-x;c++;-O2")
            list(APPEND objects ${source})
        else()
            set(object ${CMAKE_CURRENT_BINARY_DIR}/${source}.o)
            add_custom_command(OUTPUT ${object}
                COMMAND ${CMAKE_SOURCE_DIR}/cmake/with_log.sh ${object}.log ${CUDAToolkit_NVCC_EXECUTABLE} ${pb_nvcc_flags} -ccbin ${CMAKE_C_COMPILER}
                    -MD -MF ${object}.d -c ${CMAKE_CURRENT_SOURCE_DIR}/${source} -o ${object}
                DEPENDS ${source} DEPFILE ${object}.d VERBATIM COMMENT "nvcc ${source}")
            list(APPEND objects ${object})
        endif()
    endforeach()
    add_library(${target} STATIC ${objects})
    target_link_libraries(${target} PUBLIC pb_flags pb_cuda)
    if(PB_CUDA_BUILD STREQUAL "ON")
        set_target_properties(${target} PROPERTIES LINKER_LANGUAGE C)
    endif()
endfunction()
