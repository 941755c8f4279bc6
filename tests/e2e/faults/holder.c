// SPDX-License-Identifier: Apache-2.0
/* Opens files for writing with HDF5, as viewers do, reports this on standard output, and closes
 * them when its standard input ends. */
#include <hdf5.h>

#include <stdio.h>

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (H5Fopen(argv[i], H5F_ACC_RDWR, H5P_DEFAULT) < 0) {
            return 1;
        }
    }
    (void)puts("open");
    (void)fflush(stdout);
    while (getchar() != EOF) {
    }
    return H5close() < 0;
}
