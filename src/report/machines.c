// SPDX-License-Identifier: Apache-2.0
/* The provenance of the cells together. */
#include "sections.h"

#include "pb/memory.h"

#include <inttypes.h>
#include <string.h>

enum { VALUES_MAX = 4 }; /* of a name that are listed */

typedef struct value_of {
    const char *name, *value; /* borrowed from the records */
    int64_t cells;
} value_of;

typedef struct values_found {
    value_of *items;
    int64_t count;
} values_found;

/* Few names have many values: those of a record are looked for among all. */
static pb_status count_value(values_found *found, const pb_record_pair *pair)
{
    for (int64_t i = 0; i < found->count; i++) {
        if (strcmp(found->items[i].name, pair->name) == 0 &&
            strcmp(found->items[i].value, pair->value) == 0) {
            found->items[i].cells++;
            return PB_OK;
        }
    }
    PB_TRY(PB_GROW(found->items, found->count + 1));
    found->items[found->count++] = (value_of){pair->name, pair->value, 1};
    return PB_OK;
}

/* "a (12 cells), b (3 cells), and 2 others"; the values of the first name's item at `first`. */
static pb_status put_values(const values_found *found, int64_t first, pb_string *out)
{
    const char *name = found->items[first].name;
    char cells[PB_TABLE_NUMBER];
    int64_t values = 0;

    for (int64_t i = first; i < found->count; i++) {
        if (strcmp(found->items[i].name, name) == 0 && values++ < VALUES_MAX) {
            PB_TRY(pb_string_printf(out, "%s%s (%s)", values > 1 ? "; " : "", found->items[i].value,
                                    pb_table_count(cells, found->items[i].cells, "cell")));
        }
    }
    return values > VALUES_MAX
               ? pb_string_printf(out, "; and %" PRId64 " other values", values - VALUES_MAX)
               : PB_OK;
}

static bool is_first(const values_found *found, int64_t at)
{
    for (int64_t i = 0; i < at; i++) {
        if (strcmp(found->items[i].name, found->items[at].name) == 0) {
            return false;
        }
    }
    return true;
}

static pb_status add_rows(const values_found *found, pb_table *table)
{
    for (int64_t i = 0; i < found->count; i++) {
        pb_string text = {0};
        if (!is_first(found, i)) {
            continue;
        }
        pb_status status = put_values(found, i, &text);
        if (status == PB_OK) {
            status = pb_table_add(table, "%s", found->items[i].name);
        }
        if (status == PB_OK) {
            status = pb_table_add(table, "%s", text.data);
        }
        pb_string_clear(&text);
        PB_TRY(status);
    }
    return PB_OK;
}

static pb_status find_values(const pb_results *results, values_found *found)
{
    for (int64_t i = 0; i < results->count; i++) {
        for (int64_t p = 0; p < results->records[i].provenance_count; p++) {
            PB_TRY(count_value(found, &results->records[i].provenance[p]));
        }
    }
    return PB_OK;
}

pb_status section_machines(const pb_results *results, document *doc)
{
    static const char *const header[] = {"name", "values", NULL};
    values_found found                = {0};
    pb_status status;

    PB_TRY_GOTO(status, find_values(results, &found), out);
    PB_TRY_GOTO(status,
                document_add(doc, DOCUMENT_SECTION, "machines",
                             "what the cells ran with, as their records say"),
                out);
    PB_TRY_GOTO(status, pb_table_begin(document_table(doc), header, 2), out);
    PB_TRY_GOTO(status, add_rows(&found, document_table(doc)), out);
out:
    pb_memory_free(found.items);
    return status;
}
