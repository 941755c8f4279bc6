# One static library per folder of src/. USES names the modules and libraries it may include: the layering of the tree is
# what the linker and include paths allow, and tests/style checks the rest.
add_library(pb_flags INTERFACE)
target_compile_features(pb_flags INTERFACE c_std_17)
target_include_directories(pb_flags INTERFACE ${CMAKE_SOURCE_DIR}/include)
target_compile_definitions(pb_flags INTERFACE _GNU_SOURCE)
# -ffp-contract=off: products and sums are rounded the same way in every build, so results compare across compilers.
target_compile_options(pb_flags INTERFACE
    -ffp-contract=off -fno-math-errno -Wall -Wextra -Wshadow
    "$<$<COMPILE_LANGUAGE:C>:-Wpedantic;-Wstrict-prototypes;-Wmissing-prototypes;-Wvla;-Wconversion;-Wno-sign-conversion>"
    "$<$<COMPILE_LANGUAGE:CXX>:-fno-exceptions;-fno-rtti>"
    $<$<BOOL:${PB_WERROR}>:-Werror>
    $<$<CONFIG:Release>:-O3>
    $<$<AND:$<BOOL:${PB_MARCH}>,$<NOT:$<BOOL:${PB_SANITIZE}>>>:-march=${PB_MARCH}>)
# -O1: the checks that sanitizers add are several times slower without any optimization. They keep clang from vectorizing loops,
# and it warns of each that asks for it.
if(PB_SANITIZE)
    target_compile_options(pb_flags INTERFACE $<$<CONFIG:Debug>:-O1> $<$<C_COMPILER_ID:Clang,AppleClang>:-Wno-pass-failed>
        -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer)
    target_link_options(pb_flags INTERFACE -fsanitize=address,undefined)
endif()

# The entries of registry.def, where the folder has one, bring a source each, or a folder with its own list.
function(pb_module name)
    cmake_parse_arguments(arg "" "" "SOURCES;USES" ${ARGN})
    add_library(pb_${name} STATIC ${arg_SOURCES})
    target_include_directories(pb_${name} PRIVATE ${CMAKE_CURRENT_SOURCE_DIR})
    target_link_libraries(pb_${name} PUBLIC pb_flags ${arg_USES})
    if(EXISTS ${CMAKE_CURRENT_SOURCE_DIR}/registry.def)
        pb_entries(pb_${name} registry.def)
    endif()
endfunction()

function(pb_entries target list)
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${list})
    file(STRINGS ${list} entries REGEX "^PB_ENTRY\\(")
    list(TRANSFORM entries REPLACE "^PB_ENTRY\\([a-z0-9_]+, ([^)]+)\\)$" "\\1")
    list(REMOVE_DUPLICATES entries)
    foreach(source ${entries})
        if(source MATCHES "/$")
            add_subdirectory(${source})
        else()
            target_sources(${target} PRIVATE ${source})
        endif()
    endforeach()
endfunction()

# The backends that tests marked BACKENDS run over beside the CPU; see tests/guarded.
set(PB_TEST_BACKENDS guarded)
# Settings of the shell that change which products are computed: a test that needs one sets it.
set(PB_TEST_SHELL OPENBLAS_CORETYPE=unset: OPENBLAS_L2_SIZE=unset:)
# The leak check guesses the size of a thread-local block of an opened library, like oneDNN, from what lies before it, and reads
# anywhere if that looks like a header of glibc 2.18 (one block in 256). It finds the blocks as memory of the heap, too.
if(PB_SANITIZE)
    list(APPEND PB_TEST_SHELL ASAN_OPTIONS=path_list_append:intercept_tls_get_addr=0)
endif()

# pb_test(NAME unit_base_memory SOURCES test_memory.c USES pb_base LABELS unit [PROCESSES n …] [TIMEOUT s] [ARGS …] [BACKENDS])
# One cmocka executable, registered with CTest under NAME; tests with a long TIMEOUT start first. PROCESSES runs it under the MPI
# launcher instead, as NAME_<n> with n ranks and as NAME_tcp_<n> over TCP, without any component for one-sided communication, as
# between nodes of a system that has none; `alone` is without the launcher, under NAME. BACKENDS: it opens the backend that PB_TEST_BACKEND names, and is registered as NAME_<backend> for
# each of the others. cmocka prints that the tear-down of a group failed, but returns 0: the text makes the test fail.
function(pb_test)
    cmake_parse_arguments(arg "BACKENDS" "NAME;TIMEOUT" "SOURCES;USES;LABELS;ARGS;PROCESSES" ${ARGN})
    if(NOT arg_TIMEOUT AND PB_CUDA_BUILD STREQUAL "HOST")
        set(arg_TIMEOUT 300) # kernels on the CPU, under sanitizers
    elseif(NOT arg_TIMEOUT)
        set(arg_TIMEOUT 120)
    endif()
    set(backends cpu)
    if(arg_BACKENDS)
        list(APPEND arg_USES pb_test_guarded)
        list(APPEND backends ${PB_TEST_BACKENDS})
    endif()
    if(arg_SOURCES)
        add_executable(${arg_NAME} ${arg_SOURCES})
        target_link_libraries(${arg_NAME} PRIVATE ${arg_USES} pb_flags PkgConfig::CMOCKA m)
        target_compile_definitions(${arg_NAME} PRIVATE PB_SOURCE_DIR="${CMAKE_SOURCE_DIR}")
        if("unit" IN_LIST arg_LABELS) # they take longer to compile than to run
            set_source_files_properties(${arg_SOURCES} PROPERTIES COMPILE_OPTIONS "$<$<CONFIG:Release>:-O1>")
        endif()
    endif()
    if(TARGET cuda_tests AND arg_SOURCES AND ("cuda" IN_LIST arg_LABELS OR "cuda" IN_LIST backends))
        add_dependencies(cuda_tests ${arg_NAME})
    endif()
    set(command $<TARGET_FILE:${arg_NAME}> ${arg_ARGS})
    foreach(processes IN LISTS arg_PROCESSES)
        pb_test_ranks(${arg_NAME} ${processes} ${arg_TIMEOUT} "${arg_LABELS}" ${command})
    endforeach()
    if(arg_PROCESSES)
        return()
    endif()
    foreach(backend IN LISTS backends)
        set(name ${arg_NAME})
        set(labels ${arg_LABELS})
        if(NOT backend STREQUAL "cpu")
            string(APPEND name _${backend})
            list(APPEND labels ${backend})
        endif()
        add_test(NAME ${name} COMMAND ${command})
        set_tests_properties(${name} PROPERTIES LABELS "${labels}" TIMEOUT ${arg_TIMEOUT} COST ${arg_TIMEOUT}
            SKIP_RETURN_CODE 77 FAIL_REGULAR_EXPRESSION "FAILED  ] GROUP" ENVIRONMENT_MODIFICATION "${PB_TEST_SHELL}"
            ENVIRONMENT "OMP_NUM_THREADS=1;OMP_WAIT_POLICY=passive;PB_TEST_BACKEND=${backend}")
    endforeach()
endfunction()

# One entry of PROCESSES. Ranks mostly sleep, so that more of them than two do not need a processor each. Memory that an MPI
# library keeps until the process ends is not our leak: tests count our own bytes.
function(pb_test_ranks name processes timeout labels)
    set(launcher)
    set(processors 1)
    if(NOT processes STREQUAL "alone")
        string(APPEND name _${processes})
        set(launcher ${MPIEXEC_EXECUTABLE} --allow-run-as-root --oversubscribe)
        if(processes MATCHES "^tcp_")
            list(APPEND launcher --mca btl tcp,self --mca osc ^ucx,pt2pt,sm,rdma)
        endif()
        string(REGEX MATCH "[0-9]+" ranks ${processes})
        list(APPEND launcher ${MPIEXEC_NUMPROC_FLAG} ${ranks})
        if(ranks GREATER 1)
            set(processors 2)
        endif()
    endif()
    add_test(NAME ${name} COMMAND ${launcher} ${ARGN})
    set_tests_properties(${name} PROPERTIES LABELS "${labels}" TIMEOUT ${timeout} COST ${timeout} PROCESSORS ${processors}
        SKIP_RETURN_CODE 77 FAIL_REGULAR_EXPRESSION "FAILED  ] GROUP" ENVIRONMENT_MODIFICATION "${PB_TEST_SHELL}"
        ENVIRONMENT "OMP_NUM_THREADS=1;OMP_WAIT_POLICY=passive;ASAN_OPTIONS=detect_leaks=0")
endfunction()
