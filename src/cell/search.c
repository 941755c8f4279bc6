// SPDX-License-Identifier: Apache-2.0
/* The group `search` of a recorded configuration. */
#include "internal.h"

const pb_config_field cell_search_fields[] = {
    PB_FIELD_INT_LIST(cell_search, rungs, NULL, 1, 99, "percent of the steps"),
    PB_FIELD_FLOAT(cell_search, keep, 0.5, 0.01, 0.99, "", "share that goes on"),
    PB_FIELD_TEXT(cell_search, group, "", "hash of the variants that were compared"),
    PB_FIELD_END,
};

pb_status cell_write_search(const pb_train_search *search, const char *group, pb_string *out)
{
    const cell_search o = {.rungs = {.items = (int64_t *)search->rungs, .count = search->count},
                           .keep  = search->keep,
                           .group = (char *)group};
    PB_TRY(pb_string_puts(out, "search = {\n"));
    PB_TRY(pb_config_write(cell_search_fields, &o, "    ", 0, out));
    return pb_string_puts(out, "};\n");
}
