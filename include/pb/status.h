// SPDX-License-Identifier: Apache-2.0
/* Status codes and the thread-local error record.
 *
 * Every function that can fail returns a pb_status. The function that first sees a failure writes
 * the message with PB_FAIL (cause, values, remedy); callers add one frame each with PB_TRY or
 * PB_TRY_GOTO.
 *
 *     if (rows < 0) {
 *         return PB_FAIL(PB_ERR_ARGUMENT, "rmsnorm: %" PRId64 " rows", rows);
 *     }
 *     PB_TRY(pb_file_read(path, &text));
 */
#pragma once

#include <stddef.h>

/* name, sentence */
#define PB_STATUS_LIST(X)                                        \
    X(OK, "done")                                                \
    X(ERR_ARGUMENT, "an argument does not fit")                  \
    X(ERR_USAGE, "the command line is not understood")           \
    X(ERR_CONFIG, "the configuration is not valid")              \
    X(ERR_NOT_FOUND, "something named does not exist")           \
    X(ERR_IO, "reading or writing failed")                       \
    X(ERR_FORMAT, "a file does not follow its format")           \
    X(ERR_SHAPE, "a tensor has another shape than expected")     \
    X(ERR_UNSUPPORTED, "this is not supported")                  \
    X(ERR_NUMERIC, "a number is not finite or out of its range") \
    X(ERR_MEMORY, "out of memory")                               \
    X(ERR_COMM, "the process group is broken")                   \
    X(ERR_LIBRARY, "a library reported a failure")               \
    X(ERR_DEVICE, "the device is lost to this process")          \
    X(ERR_INTERNAL, "an internal invariant does not hold")       \
    X(STOPPED, "stopped early on request")

typedef enum pb_status {
#define PB_STATUS_ENUM(name, sentence) PB_##name,
    PB_STATUS_LIST(PB_STATUS_ENUM)
#undef PB_STATUS_ENUM
        PB_STATUS_COUNT
} pb_status;

#define PB_MUST_USE        __attribute__((warn_unused_result))
#define PB_PRINTF(fmt, va) __attribute__((format(printf, fmt, va)))

/* The name ("ERR_IO") and the sentence of a code; never NULL, whatever the value. */
const char *pb_status_name(pb_status status);
const char *pb_status_sentence(pb_status status);

/* Starts a new error record on this thread: code, message, first frame. Returns the code.
 * Use PB_FAIL. `code` must not be PB_OK. */
pb_status pb_error_set(pb_status code, const char *file, int line, const char *function,
                       const char *format, ...) PB_PRINTF(5, 6);

/* Adds a frame to the record (ignored once 32 are held). Returns `status`. Use PB_FRAME. */
pb_status pb_error_frame(pb_status status, const char *file, int line, const char *function);

/* Puts "text: " before the message, for a caller that knows the place (a file name, a cell).
 * Returns `status`. */
pb_status pb_error_prefix(pb_status status, const char *format, ...) PB_PRINTF(2, 3);

/* The message of this thread's record, "" when there is none. Valid until the next call that fails.
 */
const char *pb_error_message(void);

/* Message, then the frames, innermost first, one a line; truncated to `size` bytes, always
 * terminated. */
void pb_error_describe(char *text, size_t size);

void pb_error_clear(void);

#define PB_FAIL(code, ...) pb_error_set((code), __FILE__, __LINE__, __func__, __VA_ARGS__)

/* For a caller that returns a failure without PB_TRY: a no-op for PB_OK. */
#define PB_FRAME(status) pb_error_frame((status), __FILE__, __LINE__, __func__)

#define PB_TRY(expression)                \
    do {                                  \
        pb_status pb_try_ = (expression); \
        if (pb_try_ != PB_OK) {           \
            return PB_FRAME(pb_try_);     \
        }                                 \
    } while (0)

#define PB_TRY_GOTO(status, expression, label) \
    do {                                       \
        (status) = (expression);               \
        if ((status) != PB_OK) {               \
            PB_FRAME(status);                  \
            goto label;                        \
        }                                      \
    } while (0)

/* Internal invariants only: no side effects, never for input. */
#ifdef NDEBUG
#define PB_ASSERT(condition) ((void)sizeof(condition))
#else
#include <assert.h>
#define PB_ASSERT(condition) assert(condition)
#endif
