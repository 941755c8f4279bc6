#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A grid on LSF, from the folder of the sources:
#   jobs/submit lsf [option of bsub]… -- GRID.cfg [option of peftbench run]…
# Options of bsub replace the lines below: jobs/submit lsf -n 16 -W 12:00 -- …
# A slot is a process, with the 8 cores of `affinity`; PB_THREADS is the same number. On GPUs, one
# process for each: -n 8 -gpu num=1/task -- GRID.cfg --device cuda …
#
# Three minutes before the run limit LSF sends SIGUSR1. After code 3 of the program the same job is
# submitted again, at most PB_REQUEUES times.
#BSUB -J peftbench
#BSUB -n 4
#BSUB -R "span[ptile=2] affinity[core(8)]"
#BSUB -W 4:00
#BSUB -wa USR1 -wt 3
#BSUB -o peftbench-%J.log
script=lsf/grid.sh
usage="jobs/submit lsf --"
# shellcheck source=jobs/batch.sh
. "${PB_JOBS:-jobs}/batch.sh" || { echo "$script: submit from the folder of the sources, or set PB_JOBS" >&2 && exit 2; }
pb_line "$@"

threads=$PB_THREADS
tasks=${LSB_DJOB_NUMPROC:-1}

starts=${PB_STARTS:-0}
say "start $((starts + 1)): $tasks tasks, $threads threads each"
pb_run mpirun -n "$tasks" --map-by "slot:PE=$threads"
pb_end "$starts" pb_resubmit lsf grid.sh
