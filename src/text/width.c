// SPDX-License-Identifier: Apache-2.0
#include "pb/width.h"

#include <string.h>
#include <utf8proc.h>

size_t pb_width_next(const char *text, int *columns)
{
    utf8proc_int32_t code = -1;
    utf8proc_ssize_t size =
        utf8proc_iterate((const utf8proc_uint8_t *)text, (utf8proc_ssize_t)strnlen(text, 4), &code);
    if (size <= 0) {
        *columns = 1;
        return 1;
    }
    *columns = utf8proc_charwidth(code);
    return (size_t)size;
}

int64_t pb_width(const char *text)
{
    int64_t sum = 0;

    while (*text != '\0') {
        int columns = 0;
        text += pb_width_next(text, &columns);
        sum += columns;
    }
    return sum;
}
