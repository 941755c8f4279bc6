# tree-sitter and its grammar of Python, for the metric codebleu: an optional component, compiled from the sources that
# jobs/fetch_treesitter.py leaves in the build folder. Its syntax trees are part of the metric's definition, and the walk
# over them reads the library's own structures: only the sources with this hash are taken.
set(PB_TREE_SITTER "${CMAKE_SOURCE_DIR}/build/tree-sitter" CACHE PATH "Sources that jobs/fetch_treesitter.py fetched")
set(PB_TREE_SITTER_VERSION "0.22.3, python 0.23.2")
set(tree_sitter_sha256 df34b2210ca51fc80faf36f0d9af3d462c0e09932f977c7cfa0a0252dbf8f2ff)

# The hash over the names and hashes of all sources, sorted by name.
function(pb_tree_sitter_hash folder out)
    file(GLOB_RECURSE files RELATIVE ${folder} ${folder}/core/*.c ${folder}/core/*.h ${folder}/python/*.c ${folder}/python/*.h)
    list(SORT files)
    set(text "")
    foreach(name IN LISTS files)
        file(SHA256 ${folder}/${name} hash)
        string(APPEND text "${hash}  ${name}\n")
    endforeach()
    string(SHA256 hash "${text}")
    set(${out} ${hash} PARENT_SCOPE)
endfunction()

set(PB_HAVE_TREE_SITTER OFF)
if(NOT EXISTS ${PB_TREE_SITTER}/PACKAGES)
    message(STATUS "tree-sitter: absent, the metric codebleu is left out; jobs/fetch_treesitter.py fetches it, then configure again")
    return()
endif()
set_property(DIRECTORY ${CMAKE_SOURCE_DIR} APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${PB_TREE_SITTER}/PACKAGES)
pb_tree_sitter_hash(${PB_TREE_SITTER} found)
if(NOT found STREQUAL tree_sitter_sha256)
    message(FATAL_ERROR "tree-sitter: the sources in ${PB_TREE_SITTER} are not those of ${PB_TREE_SITTER_VERSION} "
        "(hash ${found}, expected ${tree_sitter_sha256}); delete the folder, start jobs/fetch_treesitter.py, configure again")
endif()
set(PB_HAVE_TREE_SITTER ON)
message(STATUS "tree-sitter: ${PB_TREE_SITTER_VERSION}")

# Foreign code: without our warnings, and without its assertions in every build, so that no text can end the
# process. The address sanitizer checks it; the undefined-behaviour one does not, since the parser tables rely on what it refuses.
add_library(pb_tree_sitter STATIC ${PB_TREE_SITTER}/core/src/lib.c ${PB_TREE_SITTER}/python/src/parser.c
    ${PB_TREE_SITTER}/python/src/scanner.c)
target_include_directories(pb_tree_sitter SYSTEM
    PUBLIC ${PB_TREE_SITTER}/core/include ${PB_TREE_SITTER}/core/src
    PRIVATE ${PB_TREE_SITTER}/core/src/unicode ${PB_TREE_SITTER}/python/src)
set_target_properties(pb_tree_sitter PROPERTIES C_STANDARD 11 C_EXTENSIONS ON)
target_compile_definitions(pb_tree_sitter PRIVATE NDEBUG _GNU_SOURCE)
target_compile_options(pb_tree_sitter PRIVATE -w $<$<CONFIG:Debug>:-O1>)
if(PB_SANITIZE)
    target_compile_options(pb_tree_sitter PRIVATE -fsanitize=address -fno-omit-frame-pointer)
endif()
