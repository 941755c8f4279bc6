// SPDX-License-Identifier: Apache-2.0
/* One struct with a field of every type, and helpers that check values and whole messages. */
#pragma once

#include "pb/config.h"
#include "pb/memory.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <float.h>
#include <string.h>

typedef struct settings {
    int64_t r;
    int64_t big;
    double alpha;
    double free;
    bool merge;
    char *name;
    char *file;
    int dtype;
    pb_config_list targets;
    pb_config_ints seeds;
} settings;

static const char *const dtypes[] = {"f32", "bf16", NULL};

static const pb_config_field fields[] = {
    PB_FIELD_INT(settings, r, 8, 1, 4096, "", "adapter width"),
    PB_FIELD_INT(settings, big, 5000000000, INT64_MIN, INT64_MAX, "bytes", "any integer"),
    PB_FIELD_FLOAT(settings, alpha, 16.5, 0, 1000, "", "scale"),
    PB_FIELD_FLOAT(settings, free, 0.1, -DBL_MAX, DBL_MAX, "seconds", "any number"),
    PB_FIELD_BOOL(settings, merge, true, "whether to merge"),
    PB_FIELD_TEXT(settings, name, "lora", "a name"),
    PB_FIELD_PATH(settings, file, "", "a file"),
    PB_FIELD_CHOICE(settings, dtype, 1, dtypes, "type of numbers"),
    PB_FIELD_TEXT_LIST(settings, targets, "q v", "sites"),
    PB_FIELD_INT_LIST(settings, seeds, "42 123", 0, 1000000, "seeds"),
    PB_FIELD_END,
};

static inline pb_status read_text(const char *text, settings *out)
{
    pb_config *config = NULL;
    pb_status status  = pb_config_parse(text, "x.cfg", &config);
    if (status == PB_OK) {
        status = pb_config_read(config, "lora", fields, NULL, out);
    }
    pb_config_close(config);
    return status;
}

/* The text is refused with exactly this message, and no memory stays allocated. */
static inline void expect_message(const char *text, const char *message)
{
    settings s;
    size_t before = pb_memory_current();
    memset(&s, 0x5a, sizeof s);
    assert_int_not_equal(read_text(text, &s), PB_OK);
    assert_string_equal(pb_error_message(), message);
    assert_int_equal(pb_memory_current(), before);
    pb_error_clear();
}

/* As above, when only a part of the message matters. */
static inline void expect_part(const char *text, const char *part)
{
    settings s;
    assert_int_equal(read_text(text, &s), PB_ERR_CONFIG);
    if (strstr(pb_error_message(), part) == NULL) {
        fail_msg("\"%s\" is not in \"%s\"", part, pb_error_message());
    }
    pb_error_clear();
}
