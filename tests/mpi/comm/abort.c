// SPDX-License-Identifier: Apache-2.0
/* Rank 1 aborts the group while rank 0 is busy elsewhere; no process may be left. */
#include "pb/comm.h"

#include <stdio.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    pb_comm *comm = NULL;

    if (pb_comm_open(&argc, &argv, &comm) != PB_OK) {
        return 1;
    }
    if (pb_comm_rank(comm) == 1) {
        pb_comm_abort(comm, 23);
        (void)printf("survived the abort\n");
    }
    (void)sleep(20);
    (void)printf("survived the other's abort\n");
    return 1;
}
