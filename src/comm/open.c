// SPDX-License-Identifier: Apache-2.0
/* Opening the process group: which one it is follows from PB_COMM or from the launcher. */
#include "group.h"

#include <stdlib.h>

/* What launchers give to each process they start. The variables of a whole batch job (SLURM_NTASKS,
 * PBS_NODEFILE) do not count: a plain start inside an allocation is one process. */
static const char *const launcher_marks[] = {
    "OMPI_COMM_WORLD_SIZE", /* Open MPI's mpirun */
    "PMIX_RANK",            /* srun --mpi=pmix, prterun, flux */
    "PMI_RANK",             /* MPICH and Intel hydra, srun --mpi=pmi2, flux */
    "PMI_SIZE",
    "PALS_RANKID",         /* HPE Cray */
    "MV2_COMM_WORLD_SIZE", /* MVAPICH2 */
    "JSM_NAMESPACE_RANK",  /* jsrun under LSF */
};

static bool started_by_launcher(void)
{
    for (size_t i = 0; i < sizeof launcher_marks / sizeof launcher_marks[0]; i++) {
        if (getenv(launcher_marks[i]) != NULL) {
            return true;
        }
    }
    return false;
}

/* srun without an MPI plug-in starts unconnected copies: each would do all the work and write the
 * same files. */
static pb_status refuse_unconnected_copies(void)
{
    const char *tasks = getenv("SLURM_STEP_NUM_TASKS");

    if (tasks != NULL && strtol(tasks, NULL, 10) > 1) {
        return PB_FAIL(PB_ERR_COMM,
                       "srun started %s tasks without connecting them; use srun --mpi=pmix (or "
                       "mpirun), or set PB_COMM=self for independent copies",
                       tasks);
    }
    return PB_OK;
}

static pb_status choose(const pb_comm_ops **out)
{
    const char *wanted = getenv("PB_COMM");

    if (wanted == NULL || wanted[0] == '\0') {
        bool launched = started_by_launcher();
        if (!launched) {
            PB_TRY(refuse_unconnected_copies());
        }
        *out = launched ? &comm_mpi : &comm_self;
        return PB_OK;
    }
    return pb_error_prefix(pb_comm_find(wanted, out), "PB_COMM");
}

pb_status pb_comm_open(int *argc, char ***argv, pb_comm **out)
{
    const pb_comm_ops *ops = NULL;

    PB_TRY(choose(&ops));
    return PB_FRAME(ops->open(argc, argv, out));
}
