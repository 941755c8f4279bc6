# What `cmake --install` puts below its prefix, and the Debian package of it (cpack -G DEB). The program finds its
# configurations from its own place, ../share/peftbench/configs: the whole folder may be moved.
install(TARGETS peftbench DESTINATION bin)
install(DIRECTORY configs jobs DESTINATION share/peftbench USE_SOURCE_PERMISSIONS PATTERN __pycache__ EXCLUDE)
install(FILES README.md INSTALL.md CHANGELOG.md DESTINATION share/doc/peftbench)
install(FILES results/README.md DESTINATION share/doc/peftbench RENAME results.md)
install(FILES LICENSE DESTINATION share/doc/peftbench RENAME copyright)

# The program prints its manual page and completions; where it cannot run, they are left out.
function(pb_install_printed folder name)
    list(JOIN ARGN " " words)
    install(CODE "
        set(file \"${CMAKE_BINARY_DIR}/printed/${name}\")
        file(MAKE_DIRECTORY \"${CMAKE_BINARY_DIR}/printed\")
        execute_process(COMMAND \"$<TARGET_FILE:peftbench>\" ${words} OUTPUT_FILE \"\${file}\" RESULT_VARIABLE code)
        if(code EQUAL 0)
            file(INSTALL \"\${file}\" DESTINATION \"\${CMAKE_INSTALL_PREFIX}/share/${folder}\")
        else()
            message(WARNING \"peftbench ${words} does not run here: share/${folder}/${name} is left out\")
        endif()")
endfunction()
pb_install_printed(man/man1 peftbench.1 manual)
pb_install_printed(bash-completion/completions peftbench completion bash)
pb_install_printed(zsh/site-functions _peftbench completion zsh)

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_VENDOR "The peftbench authors")
set(CPACK_PACKAGE_CONTACT "The peftbench authors" CACHE STRING "Maintainer of packages: Name <address>")
set(CPACK_PACKAGE_DESCRIPTION "Trains and tests every combination of models, data sets, methods and seeds as one restartable MPI job,
and writes scores, costs, learning curves and predictions to one HDF5 file.")
set(CPACK_STRIP_FILES ON)
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION science)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_RECOMMENDS openmpi-bin) # mpirun; a machine may have a launcher of its own
set(CPACK_DEBIAN_PACKAGE_SUGGESTS "gnuplot-nox, libdnnl2, python3") # opened or started by name
include(CPack)
