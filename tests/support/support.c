// SPDX-License-Identifier: Apache-2.0
#include "support.h"

#include "pb/file.h"
#include "pb/memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *shared_directory(void)
{
    const char *given = getenv("PB_SHARED");
    const char *path  = given != NULL && *given != '\0' ? given : PB_SOURCE_DIR "/../shared";
    if (pb_path_is_directory(path)) {
        return path;
    }
    fprintf(stderr, "shared inputs not found at %s: set PB_SHARED\n", path);
    exit(getenv("CI") != NULL ? 1 : 77);
}

int returns_all_bytes(void **state)
{
    (void)state;
    pb_memory_limit(0);
    return pb_memory_current() == 0 ? 0 : -1;
}

void need(pb_status status)
{
    if (status != PB_OK) {
        fprintf(stderr, "%s\n", pb_error_message());
        exit(getenv("CI") != NULL ? 1 : 77);
    }
}

const char *shared_path(const char *format, ...)
{
    enum { COUNT = 8, SIZE = 1024 };
    static char buffers[COUNT][SIZE];
    static int next;
    char *buffer = buffers[next++ % COUNT];
    int length   = snprintf(buffer, SIZE, "%s/", shared_directory());
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(buffer + length, (size_t)(SIZE - length), format, arguments);
    va_end(arguments);
    return buffer;
}

void assert_ok_at(pb_status status, const char *what, const char *file, int line)
{
    if (status == PB_OK) {
        return;
    }
    char text[4096];
    pb_error_describe(text, sizeof text);
    print_error("%s gave %s: %s\n", what, pb_status_name(status), text);
    _fail(file, line);
}

void assert_error_at(pb_status status, pb_status expected, const char *text, const char *what,
                     const char *file, int line)
{
    if (status != expected || strstr(pb_error_message(), text) == NULL) {
        print_error("%s gave %s \"%s\", expected %s with \"%s\"\n", what, pb_status_name(status),
                    pb_error_message(), pb_status_name(expected), text);
        _fail(file, line);
    }
    pb_error_clear();
}
