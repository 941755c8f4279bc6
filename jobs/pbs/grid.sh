#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A grid on PBS (OpenPBS, PBS Professional), from the folder of the sources:
#   jobs/submit pbs [option of qsub]… -- GRID.cfg [option of peftbench run]…
# Options of qsub replace the lines below: jobs/submit pbs -l select=8:ncpus=64:mpiprocs=8:ompthreads=8 -- …
# On GPUs, one process for each: -l select=2:ncpus=32:ngpus=4:mpiprocs=4:ompthreads=8 -- GRID.cfg --device cuda …
#
# PBS sends no signal in advance: the program is told its time, and stops three minutes before the
# end. After its code 3 the same job is submitted again, at most PB_REQUEUES times.
#PBS -N peftbench
#PBS -l select=2:ncpus=16:mpiprocs=2:ompthreads=8
#PBS -l walltime=04:00:00
#PBS -j oe
cd "${PBS_O_WORKDIR:-.}" || exit 2
script=pbs/grid.sh
usage="jobs/submit pbs --"
# shellcheck source=jobs/batch.sh
. "${PB_JOBS:-jobs}/batch.sh" || { echo "$script: submit from the folder of the sources, or set PB_JOBS" >&2 && exit 2; }
pb_line "$@"

# The node file has a line for every process.
threads=${OMP_NUM_THREADS:-1}
tasks=$(grep -c . "${PBS_NODEFILE:-/dev/null}")

# Hours, minutes and seconds of the limit.
walltime=$(qstat -f "${PBS_JOBID:-}" 2>/dev/null | sed -n 's/^ *Resource_List.walltime = //p')
pb_limit "$(awk -F: '{ for (i = 1; i <= NF; i++) s = 60 * s + $i; print s }' <<<"$walltime")"

starts=${PB_STARTS:-0}
say "start $((starts + 1)): $tasks tasks, $threads threads each, limit ${walltime:-unknown}"
pb_run mpirun -n "$tasks" --hostfile "${PBS_NODEFILE:-}" --map-by "slot:PE=$threads"
pb_end "$starts" pb_resubmit pbs grid.sh
