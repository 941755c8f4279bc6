// SPDX-License-Identifier: Apache-2.0
/* The names of the status codes, and the error record: one per thread, overwritten by the next
 * failure. A record belongs to one code; a frame for another code starts a new record with that
 * code's sentence, so that a bare `return PB_STOPPED` never shows a stale message. */
#include "pb/status.h"
#include "pb/utf8.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum { MESSAGE_BYTES = 2048, FRAMES = 32 };

typedef struct frame {
    const char *file;
    const char *function;
    int line;
} frame;

typedef struct record {
    pb_status code;
    int frame_count;
    char message[MESSAGE_BYTES];
    frame frames[FRAMES];
} record;

static _Thread_local record current;

static const char *const names[] = {
#define NAME(name, sentence) #name,
    PB_STATUS_LIST(NAME)
#undef NAME
};

static const char *const sentences[] = {
#define SENTENCE(name, sentence) sentence,
    PB_STATUS_LIST(SENTENCE)
#undef SENTENCE
};

static bool is_known(pb_status status)
{
    return (int)status >= 0 && (int)status < (int)PB_STATUS_COUNT;
}

const char *pb_status_name(pb_status status)
{
    return is_known(status) ? names[status] : "ERR_UNKNOWN";
}

const char *pb_status_sentence(pb_status status)
{
    return is_known(status) ? sentences[status] : "an unknown status code";
}

/* Ends a message that was cut at a whole UTF-8 character, with three dots: messages are stored as
 * UTF-8 text in the results. */
static void mark_cut(char *message)
{
    memcpy(message + pb_utf8_floor(message, MESSAGE_BYTES - 4), "...", 4);
}

static void add_frame(const char *file, int line, const char *function)
{
    if (current.frame_count < FRAMES) {
        current.frames[current.frame_count++] =
            (frame){.file = file, .function = function, .line = line};
    }
}

pb_status pb_error_set(pb_status code, const char *file, int line, const char *function,
                       const char *format, ...)
{
    /* Formatted into a second buffer, because an argument may be the current message. */
    char message[MESSAGE_BYTES];
    va_list arguments;

    va_start(arguments, format);
    int length = vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    if (length < 0) {
        message[0] = '\0';
    } else if (length >= MESSAGE_BYTES) {
        mark_cut(message);
    }
    PB_ASSERT(code != PB_OK);
    current.code        = code == PB_OK ? PB_ERR_INTERNAL : code;
    current.frame_count = 0;
    memcpy(current.message, message, strlen(message) + 1);
    add_frame(file, line, function);
    return current.code;
}

pb_status pb_error_frame(pb_status status, const char *file, int line, const char *function)
{
    if (status == PB_OK) {
        return PB_OK;
    }
    if (current.code != status) {
        return pb_error_set(status, file, line, function, "%s", pb_status_sentence(status));
    }
    add_frame(file, line, function);
    return status;
}

pb_status pb_error_prefix(pb_status status, const char *format, ...)
{
    char prefix[MESSAGE_BYTES];
    char message[2 * MESSAGE_BYTES];
    va_list arguments;

    if (status == PB_OK) {
        return PB_OK;
    }
    if (current.code != status) {
        current.code        = status;
        current.frame_count = 0;
        (void)snprintf(current.message, sizeof current.message, "%s", pb_status_sentence(status));
    }
    va_start(arguments, format);
    int length = vsnprintf(prefix, sizeof prefix, format, arguments);
    va_end(arguments);
    if (length < 0) {
        return status;
    }
    length = snprintf(message, sizeof message, "%s: %s", prefix, current.message);
    memcpy(current.message, message, MESSAGE_BYTES - 1);
    current.message[MESSAGE_BYTES - 1] = '\0';
    if (length >= MESSAGE_BYTES) {
        mark_cut(current.message);
    }
    return status;
}

const char *pb_error_message(void)
{
    return current.message;
}

/* The path from its last folder "src" or "tests" on; the part before depends on the machine. */
static const char *short_path(const char *file)
{
    static const char *const roots[] = {"/src/", "/tests/"};

    for (size_t i = 0; i < sizeof roots / sizeof roots[0]; i++) {
        const char *found = NULL;
        for (const char *at = strstr(file, roots[i]); at != NULL; at = strstr(at + 1, roots[i])) {
            found = at + 1;
        }
        if (found != NULL) {
            return found;
        }
    }
    return file;
}

void pb_error_describe(char *text, size_t size)
{
    if (size == 0) {
        return;
    }
    int length  = snprintf(text, size, "%s", current.message);
    size_t used = length < 0 ? 0 : (size_t)length;
    for (int i = 0; i < current.frame_count && used < size; i++) {
        const frame *f = &current.frames[i];
        length = snprintf(text + used, size - used, "\n  at %s:%d %s", short_path(f->file), f->line,
                          f->function);
        used += length < 0 ? 0 : (size_t)length;
    }
}

void pb_error_clear(void)
{
    current.code        = PB_OK;
    current.frame_count = 0;
    current.message[0]  = '\0';
}
