# SPDX-License-Identifier: Apache-2.0
# What the batch scripts share, for bash to source: the site's settings, the line of the program, its start, and what follows
# its end. A script says its name (script), its line (usage) and the threads of a process (threads), and ends with pb_end.
# shellcheck shell=bash
# shellcheck disable=SC2154
set -u

say() { printf '%s: %s\n' "$script" "$*" >&2; }

refuse() {
    say "$*"
    exit 2
}

export PB_JOBS=${PB_JOBS:-jobs}
export PB_SITE=${PB_SITE:-$PB_JOBS/site}
# shellcheck source=jobs/site
. "$PB_SITE" || refuse "there is no $PB_SITE here: PB_SITE names the file with the site's settings"
case $PB_REQUEUES in
'' | *[!0-9]*) refuse "PB_REQUEUES is '$PB_REQUEUES': give a number, 0 or more" ;;
esac

# pb_submit SYSTEM SCRIPT [ARGUMENT]…: asks the batch system for a job, with PB_OPTIONS, the options of its own, and, where its
# scripts take no arguments, PB_ARGUMENTS; both are words as bash quotes them.
pb_submit() {
    local system=$1 file=$2 options names parent=
    shift 2
    eval "options=(${PB_OPTIONS:-})"
    case $system in
    slurm)
        sbatch ${PB_ACCOUNT:+"--account=$PB_ACCOUNT"} ${PB_QUEUE:+"--partition=$PB_QUEUE"} \
            ${options[@]+"${options[@]}"} "$file" "$@"
        ;;
    pbs) # which passes on the variables that it is told
        names=$(compgen -e PB_ | paste -sd,)
        qsub ${PB_ACCOUNT:+-A "$PB_ACCOUNT"} ${PB_QUEUE:+-q "$PB_QUEUE"} -v "$names" ${options[@]+"${options[@]}"} "$file"
        ;;
    lsf) # which reads the options of a script that it is given as input
        bsub ${PB_ACCOUNT:+-P "$PB_ACCOUNT"} ${PB_QUEUE:+-q "$PB_QUEUE"} ${options[@]+"${options[@]}"} <"$file"
        ;;
    flux)
        # Inside a job, `flux` alone is the instance of the job.
        [ "${PB_STARTS:-0}" -eq 0 ] || parent=--parent
        flux ${parent:+"$parent"} batch ${PB_ACCOUNT:+"--bank=$PB_ACCOUNT"} ${PB_QUEUE:+"--queue=$PB_QUEUE"} \
            ${options[@]+"${options[@]}"} "$file"
        ;;
    esac
}

# pb_line [ARGUMENT]…: the arguments of the script, else those of jobs/submit → grid, words; -o and --fresh among them, which
# decide what follows a stop, → folder, fresh. Checks the program.
pb_line() {
    local previous='' word
    [ $# -gt 0 ] || eval "set -- ${PB_ARGUMENTS:-}"
    [ $# -gt 0 ] || refuse "usage: $usage GRID.cfg [option of peftbench run]…"
    grid=$1
    words=("${@:2}")
    folder='' fresh=''
    for word in ${words[@]+"${words[@]}"}; do
        case $previous in
        -o | --output) folder=$word ;;
        esac
        case $word in
        --output=*) folder=${word#--output=} ;;
        --fresh) fresh=yes ;;
        esac
        previous=$word
    done
    program=${PB_PROGRAM:-build/release/src/peftbench}
    [ -n "$PB_PROGRAM" ] || [ -x "$program" ] || program=peftbench
    command -v "$program" >/dev/null ||
        refuse "there is no program '$program' here: build it, submit from the folder of the sources, or set PB_PROGRAM"
}

# pb_limit SECONDS: the program stops by itself three minutes before they are over; not a number: no limit → limit.
pb_limit() {
    limit=()
    if [ "${1:-0}" -gt 0 ] 2>/dev/null; then
        limit=(--set "run.time_limit_seconds=$1" --set "run.time_reserve_seconds=$(($1 > 360 ? 180 : $1 / 2))")
    fi
}

# pb_run LAUNCH…: starts the processes, by PB_LAUNCH where it is set, and waits for their end → code. A signal to the script
# alone (scancel --batch, bkill -s) is passed on. SIGTERM means that the job is cancelled or out of time: the program has it too,
# and nothing continues.
pb_run() {
    local step='' interrupted line=("$@")
    ended=''
    # shellcheck disable=SC2016
    [ -z "$PB_LAUNCH" ] || eval "line=($PB_LAUNCH)"
    trap 'interrupted=yes; [ -z "$step" ] || kill -USR1 "$step" 2>/dev/null' USR1
    trap 'interrupted=yes; ended=yes' TERM
    "${line[@]}" "$program" run "$grid" --threads "$threads" ${limit[@]+"${limit[@]}"} ${words[@]+"${words[@]}"} &
    step=$!
    while :; do
        interrupted=''
        wait "$step"
        code=$?
        [ -n "$interrupted" ] || break # else a signal ended the wait
    done
}

# Every start writes plan.json; without a folder the number of starts alone is bounded.
made_progress() {
    [ -z "$folder" ] ||
        [ -n "$(find "$folder/shards" "$folder/checkpoints" -type f -newer "$folder/plan.json" 2>/dev/null | head -n 1)" ]
}

# pb_end STARTS COMMAND…: after code 3, and STARTS earlier starts, COMMAND continues the job. Ends with the program's code.
pb_end() {
    local starts=$1 again="submit the same line again to go on"
    shift
    if [ "$code" -eq 3 ]; then
        if [ -n "$ended" ]; then
            say "the job was cancelled or reached its time limit: $again"
        elif [ -n "$fresh" ]; then
            say "not continued, because --fresh would run every cell again"
        elif ! made_progress; then
            say "not continued: no cell got further in this start; give the job more time"
        elif [ "$starts" -ge "$PB_REQUEUES" ]; then
            say "not continued: this was start $((starts + 1)), and PB_REQUEUES is $PB_REQUEUES; $again"
        else
            # Printed first: a requeue ends the script.
            say "stopped with everything kept; the job goes back to the queue"
            "$@" || say "'$1' failed: $again"
        fi
    fi
    exit "$code"
}

# pb_resubmit SYSTEM FILE: for batch systems that do not run a job again; PB_STARTS counts.
pb_resubmit() { PB_STARTS=$((${PB_STARTS:-0} + 1)) pb_submit "$1" "$PB_JOBS/$1/$2"; }
