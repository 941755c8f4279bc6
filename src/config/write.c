// SPDX-License-Identifier: Apache-2.0
/* Writes a struct as libconfig text that reads back to the same values, and a table as help. */
#include "node.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* A libconfig text: quotes, backslashes and control characters escaped. */
static pb_status write_text(const char *text, pb_string *out)
{
    PB_TRY(pb_string_puts(out, "\""));
    for (; *text != '\0'; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\') {
            PB_TRY(pb_string_printf(out, "\\%c", c));
        } else if (c < 0x20 || c == 0x7f) {
            PB_TRY(pb_string_printf(out, "\\x%02X", c));
        } else {
            PB_TRY(pb_string_append(out, text, 1));
        }
    }
    return pb_string_puts(out, "\"");
}

/* libconfig's plain integers have 32 bits, those with an L 64; an array holds one kind only. */
static pb_status write_int(int64_t value, bool wide, pb_string *out)
{
    return pb_string_printf(out, "%" PRId64 "%s", value, wide ? "L" : "");
}

static bool is_wide(int64_t value)
{
    return value < INT32_MIN || value > INT32_MAX;
}

static pb_status write_ints(const pb_config_ints *ints, pb_string *out)
{
    bool wide = false;
    for (int64_t i = 0; i < ints->count; i++) {
        wide = wide || is_wide(ints->items[i]);
    }
    PB_TRY(pb_string_puts(out, "["));
    for (int64_t i = 0; i < ints->count; i++) {
        PB_TRY(pb_string_puts(out, i > 0 ? ", " : ""));
        PB_TRY(write_int(ints->items[i], wide, out));
    }
    return pb_string_puts(out, "]");
}

static pb_status write_list(const pb_config_list *list, pb_string *out)
{
    PB_TRY(pb_string_puts(out, "["));
    for (int64_t i = 0; i < list->count; i++) {
        PB_TRY(pb_string_puts(out, i > 0 ? ", " : ""));
        PB_TRY(write_text(list->items[i], out));
    }
    return pb_string_puts(out, "]");
}

static pb_status write_float(const char *key, double value, pb_string *out)
{
    char text[PB_NUMBER_BYTES];
    if (!isfinite(value)) {
        return PB_FAIL(PB_ERR_NUMERIC, "config: %s = %g cannot be written, it is not finite", key,
                       value);
    }
    return pb_string_puts(out, pb_number_text(value, 15, text));
}

static pb_status write_value(const pb_config_field *field, const void *member, pb_string *out)
{
    switch (field->type) {
    case PB_CONFIG_INT:
        return write_int(*(const int64_t *)member, is_wide(*(const int64_t *)member), out);
    case PB_CONFIG_FLOAT:
        return write_float(field->key, *(const double *)member, out);
    case PB_CONFIG_BOOL:
        return pb_string_puts(out, *(const bool *)member ? "true" : "false");
    case PB_CONFIG_TEXT:
    case PB_CONFIG_PATH: {
        const char *text = *(const char *const *)member;
        return write_text(text == NULL ? "" : text, out);
    }
    case PB_CONFIG_CHOICE:
        return write_text(field->choices[*(const int *)member], out);
    case PB_CONFIG_TEXT_LIST:
        return write_list(member, out);
    case PB_CONFIG_INT_LIST:
        return write_ints(member, out);
    }
    return PB_FAIL(PB_ERR_INTERNAL, "config: key \"%s\" has type %d", field->key, (int)field->type);
}

static pb_status is_default(const pb_config_field *field, const void *member, bool *out)
{
    config_value value = {0};
    pb_string a = {0}, b = {0};
    pb_status status;
    PB_TRY_GOTO(status, value_default(field, &value), done);
    PB_TRY_GOTO(status, write_value(field, &value, &a), done);
    PB_TRY_GOTO(status, write_value(field, member, &b), done);
    *out = strcmp(a.data, b.data) == 0;
done:
    value_clear(field->type, &value);
    pb_string_clear(&a);
    pb_string_clear(&b);
    return status;
}

/* Whether what is `kept` depends on the value of the field. */
static pb_status depends_on(const pb_config_field *field, const void *member, unsigned kept,
                            bool *out)
{
    *out = (field->unaffected & kept) == 0;
    if (kept != 0 && *out && (field->unaffected & PB_KEPT_BEFORE) != 0) {
        bool same = false;
        PB_TRY(is_default(field, member, &same));
        *out = !same;
    }
    return PB_OK;
}

pb_status pb_config_write(const pb_config_field *fields, const void *object, const char *indent,
                          unsigned kept, pb_string *out)
{
    for (; fields->key != NULL; fields++) {
        const void *member = (const char *)object + fields->offset;
        bool wanted        = false;
        PB_TRY(depends_on(fields, member, kept, &wanted));
        if (wanted) {
            PB_TRY(pb_string_printf(out, "%s%s = ", indent, fields->key));
            PB_TRY(write_value(fields, member, out));
            PB_TRY(pb_string_puts(out, ";\n"));
        }
    }
    return PB_OK;
}

static pb_status write_default(const pb_config_field *field, pb_string *out)
{
    char number[PB_NUMBER_BYTES];
    switch (field->type) {
    case PB_CONFIG_INT:
        return pb_string_printf(out, "%.0f", field->number);
    case PB_CONFIG_FLOAT:
        return pb_string_puts(out, pb_number_text(field->number, 15, number));
    case PB_CONFIG_BOOL:
        return pb_string_puts(out, field->number != 0 ? "true" : "false");
    case PB_CONFIG_CHOICE:
        return pb_string_puts(out, field->choices[(int)field->number]);
    default:
        return pb_string_printf(out, "\"%s\"", field->text == NULL ? "" : field->text);
    }
}

pb_status pb_config_help(const char *title, const pb_config_field *fields, pb_string *out)
{
    PB_TRY(pb_string_printf(out, "%s\n", title));
    for (; fields->key != NULL; fields++) {
        PB_TRY(pb_string_printf(out, "  %-24s %s\n%27s", fields->key, fields->help, ""));
        PB_TRY(field_describe(fields, out));
        if (fields->required) {
            PB_TRY(pb_string_puts(out, ", required\n"));
            continue;
        }
        PB_TRY(pb_string_puts(out, ", default "));
        PB_TRY(write_default(fields, out));
        PB_TRY(pb_string_puts(out, "\n"));
    }
    return PB_OK;
}
