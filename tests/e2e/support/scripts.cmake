# Tests that start the program as its users do: Python scripts that need only the standard library and share the
# files that world.py makes.
find_package(Python3 3.8 REQUIRED COMPONENTS Interpreter)
find_program(PB_H5DUMP h5dump)
include_guard(GLOBAL)

set(world ${CMAKE_BINARY_DIR}/tests/e2e/world)
add_test(NAME e2e_world COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_LIST_DIR}/world.py ${world})
set_tests_properties(e2e_world PROPERTIES LABELS e2e TIMEOUT 120 FIXTURES_SETUP e2e_world
    ENVIRONMENT "PYTHONDONTWRITEBYTECODE=1;PB_PROGRAM=$<TARGET_FILE:peftbench>")

# e2e_script(NAME FILE [TIMEOUT s] [LABELS …] [CASES Class.test …])
function(e2e_script name file)
    cmake_parse_arguments(arg "" "TIMEOUT" "LABELS;CASES" ${ARGN})
    if(NOT arg_TIMEOUT)
        set(arg_TIMEOUT 300)
    endif()
    add_test(NAME ${name} COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_SOURCE_DIR}/${file} ${arg_CASES})
    set(labels e2e ${arg_LABELS})
    set_tests_properties(${name} PROPERTIES LABELS "${labels}" TIMEOUT ${arg_TIMEOUT} COST ${arg_TIMEOUT} SKIP_RETURN_CODE 77
        FIXTURES_REQUIRED e2e_world ENVIRONMENT_MODIFICATION "${PB_TEST_SHELL}")
    set_property(TEST ${name} PROPERTY ENVIRONMENT "PYTHONPATH=${CMAKE_CURRENT_FUNCTION_LIST_DIR}"
        "PYTHONDONTWRITEBYTECODE=1" "PB_PROGRAM=$<TARGET_FILE:peftbench>" "PB_MPIEXEC=${MPIEXEC_EXECUTABLE}"
        "PB_SOURCE_DIR=${CMAKE_SOURCE_DIR}" "PB_E2E_WORLD=${CMAKE_BINARY_DIR}/tests/e2e/world"
        "PB_H5DUMP=$<$<BOOL:${PB_H5DUMP}>:${PB_H5DUMP}>")
endfunction()
