// SPDX-License-Identifier: Apache-2.0
/* The provenance of the cells together. */
#include "compare.h"
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

/* "a (12 cells); b (3 cells); and 2 other values"; `counted`: with the numbers of cells. */
static pb_status put_values(const values_found *found, const char *name, bool counted,
                            pb_string *out)
{
    char cells[PB_TABLE_NUMBER];
    int64_t values = 0;

    for (int64_t i = 0; i < found->count; i++) {
        if (strcmp(found->items[i].name, name) != 0 || values++ >= VALUES_MAX) {
            continue;
        }
        PB_TRY(pb_string_printf(out, "%s%s", values > 1 ? "; " : "", found->items[i].value));
        if (counted) {
            PB_TRY(pb_string_printf(out, " (%s)",
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
        pb_status status = put_values(found, found->items[i].name, true, &text);
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

static pb_status add_component(const pb_results *results, int64_t model, const char *name,
                               const char *component, document *doc)
{
    values_found found = {0};
    pb_string text     = {0};
    pb_status status   = PB_OK;
    for (int64_t i = 0; i < results->count; i++) {
        const pb_record *r  = &results->records[i];
        const char *known   = pb_record_find_provenance(r, name);
        pb_record_pair pair = {(char *)name, (char *)known};
        bool counts         = known != NULL && strcmp(r->key.model, results->models[model]) == 0;
        PB_TRY_GOTO(status, counts ? count_value(&found, &pair) : PB_OK, out);
    }
    PB_TRY_GOTO(status, put_values(&found, name, true, &text), out);
    if (text.length > 0) {
        status = document_remark(doc, "energy of the %s: %s", component, text.data);
    }
out:
    pb_string_clear(&text);
    pb_memory_free(found.items);
    return status;
}

pb_status section_energy(const pb_results *results, int64_t model, document *doc)
{
    static const char *const names[][2] = {{"energy", "device"},
                                           {"energy_package", "package"},
                                           {"energy_dram", "dram"},
                                           {"energy_node", "node"}};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        PB_TRY(add_component(results, model, names[i][0], names[i][1], doc));
    }
    return PB_OK;
}

/* The cells of a name with its values; those of both sweeps must be the same, whatever their
 * number.
 */
static pb_status add_difference(const values_found found[2], const char *name, pb_table *table)
{
    pb_string texts[2] = {0};
    pb_status status   = pb_string_puts(&texts[0], "");

    for (int i = 0; i < 2 && status == PB_OK; i++) {
        status = put_values(&found[i], name, false, &texts[i]);
        status = status == PB_OK && texts[i].length == 0
                     ? pb_string_puts(&texts[i], PB_TABLE_NOTHING)
                     : status;
    }
    if (status == PB_OK && strcmp(texts[0].data, texts[1].data) != 0) {
        status = pb_table_add(table, "%s", name);
        for (int i = 0; i < 2 && status == PB_OK; i++) {
            status = pb_table_add(table, "%s", texts[i].data);
        }
    }
    pb_string_clear(&texts[0]);
    pb_string_clear(&texts[1]);
    return status;
}

static bool has_name(const values_found *found, const char *name)
{
    for (int64_t i = 0; i < found->count; i++) {
        if (strcmp(found->items[i].name, name) == 0) {
            return true;
        }
    }
    return false;
}

static pb_status add_differences(const values_found found[2], document *doc)
{
    static const char *const header[] = {"name", "A", "B", NULL};

    PB_TRY(document_add(doc, DOCUMENT_SECTION, "machines",
                        "machines and versions: names of the records with other values"));
    PB_TRY(pb_table_begin(document_table(doc), header, 3));
    for (int side = 0; side < 2; side++) {
        for (int64_t i = 0; i < found[side].count; i++) {
            const char *name = found[side].items[i].name;
            if (is_first(&found[side], i) && !(side == 1 && has_name(&found[0], name))) {
                PB_TRY(add_difference(found, name, document_table(doc)));
            }
        }
    }
    return document_table(doc)->count == 3 ? document_remark(doc, "no difference") : PB_OK;
}

pb_status compare_machines(const pb_results *a, const pb_results *b, document *doc)
{
    values_found found[2] = {0};
    pb_status status;

    PB_TRY_GOTO(status, find_values(a, &found[0]), out);
    PB_TRY_GOTO(status, find_values(b, &found[1]), out);
    PB_TRY_GOTO(status, add_differences(found, doc), out);
out:
    pb_memory_free(found[0].items);
    pb_memory_free(found[1].items);
    return status;
}
