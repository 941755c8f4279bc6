// SPDX-License-Identifier: Apache-2.0
/* Requests to stop: SIGTERM, SIGUSR1, SIGINT, SIGHUP (unless it is ignored, as under nohup), and a
 * deadline. They belong to the process as a whole, as signals do.
 *
 *     pb_stop_catch();              signals are noted and no longer end the process
 *     pb_stop_arm(deadline);        pb_stop_check fails from the next signal or the deadline on
 *     PB_TRY_GOTO(status, pb_stop_check(), out);     in every loop that may take long
 *     pb_stop_release(); */
#pragma once

#include "pb/status.h"

#include <stdbool.h>
#include <stdint.h>

/* Calls nest: the outermost pair counts, and its first call forgets earlier signals. A second
 * SIGINT ends the process at once. */
void pb_stop_catch(void);
void pb_stop_release(void);

/* Before the process becomes another program (exec), which calls pb_stop_catch: signals wait for
 * that, and so does the one that was noted here. `wait` false: there was no other program. Without
 * an effect outside of pb_stop_catch and pb_stop_release. */
void pb_stop_hold(bool wait);

/* "SIGTERM": the latest signal since the outermost pb_stop_catch; NULL: none came. */
const char *pb_stop_signal(void);

/* These files are removed as soon as a signal arrives, whatever becomes of the process then. The
 * paths are borrowed until the next call; NULL: none. */
void pb_stop_unlink(char *const *paths, int64_t count);

/* From this call until the outermost pb_stop_release, pb_stop_check responds to later signals and
 * to the deadline (clock seconds, 0: none). */
void pb_stop_arm(double deadline);

/* PB_STOPPED, with the reason, once there is one; always PB_OK when nothing is armed. */
pb_status pb_stop_check(void) PB_MUST_USE;
