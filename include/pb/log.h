// SPDX-License-Identifier: Apache-2.0
/* The log: lines on stderr. pb_log_* speaks on every rank and marks it, pb_log0_* on rank 0 only.
 * Lower case, no trailing stop, unit after the value. `info` is one line per phase. */
#pragma once

#include "pb/status.h"

#include <stdbool.h>

typedef enum pb_log_level {
    PB_LOG_ERROR,
    PB_LOG_WARN,
    PB_LOG_INFO,
    PB_LOG_DEBUG,
    PB_LOG_TRACE,
} pb_log_level;

/* Lines above `level` are dropped. `rank` and `size` make the mark; a group of one is not marked.
 */
void pb_log_setup(pb_log_level level, int rank, int size);

pb_log_level pb_log_get_level(void);

/* "error", "warn", "info", "debug", "trace" → level. */
pb_status pb_log_parse_level(const char *text, pb_log_level *level) PB_MUST_USE;

/* Use the macros below. `file` is the calling source file: its folder is the module of the mark. */
void pb_log_at(pb_log_level level, bool rank0_only, const char *file, const char *format, ...)
    PB_PRINTF(4, 5);

#define pb_log_line(level, rank0_only, ...) pb_log_at((level), (rank0_only), __FILE__, __VA_ARGS__)

/* Drops a status on purpose: logs a warning when it is not PB_OK and clears the record. */
void pb_ignore(pb_status status, const char *why);

bool pb_log_on_terminal(void); /* stderr is a terminal */

/* Lines, divided by line ends, that overwrite themselves when stderr is a terminal and are dropped
 * when it is not. NULL ends them. */
void pb_log_progress(const char *text);

/* If stderr is a pipe, waits at most a second until its reader has read everything: a launcher that
 * forwards both streams would otherwise put late lines into the middle of a table. */
void pb_log_settle(void);

#define pb_log_error(...)  pb_log_line(PB_LOG_ERROR, false, __VA_ARGS__)
#define pb_log_warn(...)   pb_log_line(PB_LOG_WARN, false, __VA_ARGS__)
#define pb_log_info(...)   pb_log_line(PB_LOG_INFO, false, __VA_ARGS__)
#define pb_log_debug(...)  pb_log_line(PB_LOG_DEBUG, false, __VA_ARGS__)
#define pb_log_trace(...)  pb_log_line(PB_LOG_TRACE, false, __VA_ARGS__)
#define pb_log0_error(...) pb_log_line(PB_LOG_ERROR, true, __VA_ARGS__)
#define pb_log0_warn(...)  pb_log_line(PB_LOG_WARN, true, __VA_ARGS__)
#define pb_log0_info(...)  pb_log_line(PB_LOG_INFO, true, __VA_ARGS__)
