#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A grid on Flux, from the folder of the sources:
#   jobs/submit flux [option of flux batch]… -- GRID.cfg [option of peftbench run]…
# Options of flux batch replace the lines below: jobs/submit flux -N 8 -n 32 -t 12h -- …
# A process takes PB_THREADS cores, as many as -c gives to each of the slots (-n). On GPUs, one
# process for each: -N 2 -n 8 -c 8 -g 1 -- GRID.cfg --device cuda …
#
# The program is told the time that is left, and stops three minutes before the end. After its
# code 3 the same job is submitted again, at most PB_REQUEUES times.
# flux: --job-name=peftbench
# flux: --nodes=2
# flux: --nslots=4
# flux: --cores-per-slot=8
# flux: --time-limit=4h
# flux: --output=peftbench-{{id}}.log
script=flux/grid.sh
usage="jobs/submit flux --"
# shellcheck source=jobs/batch.sh
. "${PB_JOBS:-jobs}/batch.sh" || { echo "$script: submit from the folder of the sources, or set PB_JOBS" >&2 && exit 2; }
pb_line "$@"

# Such as "2 Nodes, 32 Cores, 0 GPUs".
threads=$PB_THREADS
resources=$(flux resource info) || refuse "flux resource info does not say what this job has"
tasks=$(($(sed -n 's/.* \([0-9]*\) Core.*/\1/p' <<<"$resources") / threads))
[ "$tasks" -gt 0 ] || refuse "PB_THREADS is $threads, and this job has $resources"
gpu=()
[[ $resources == *" 0 GPU"* ]] || gpu=(-g 1)

pb_limit "$(flux job timeleft 2>/dev/null)"

starts=${PB_STARTS:-0}
say "start $((starts + 1)): $tasks tasks, $threads threads each, ${limit[*]:-no time limit}"
pb_run flux run -n "$tasks" -c "$threads" ${gpu[@]+"${gpu[@]}"}
pb_end "$starts" pb_resubmit flux grid.sh
