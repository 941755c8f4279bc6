// SPDX-License-Identifier: Apache-2.0
/* Two sweeps side by side: what they ran with, which cells only one of them has, and how far the
 * numbers of the others are apart. */
#include "compare.h"

#include "pb/clock.h"
#include "pb/memory.h"
#include "pb/statistics.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LISTED_MAX = 40 };

/* What is compared of a cell: results, then what they cost. */
enum { SCORE, VALIDATION, TRAINING, RESULTS, SECONDS_TRAIN = RESULTS, SECONDS_TEST, MEMORY, COUNT };

static const char *const names[COUNT] = {"score",         "validation_loss", "training losses",
                                         "seconds_train", "seconds_test",    "memory_peak_gb"};

typedef struct measure {
    int64_t cells, equal, beyond;
    double largest; /* relative difference */
    pb_record_key key;
    double *ratios; /* [cells] B / A */
} measure;

typedef struct comparison {
    const pb_results *a, *b;
    const pb_report_tolerances *tolerances;
    measure measures[COUNT];
    record_pairs pairs;
    int64_t only_a, only_b, states, configurations;
    document *doc;
} comparison;

static void note(comparison *c, int which, const pb_record_key *key, double difference)
{
    measure *m       = &c->measures[which];
    double tolerance = which < RESULTS ? c->tolerances->results : c->tolerances->costs;

    m->equal += difference == 0;
    m->beyond += difference > tolerance;
    if (m->cells == 0 || difference > m->largest) {
        m->largest = difference;
        m->key     = *key;
    }
    m->cells++;
}

static pb_status note_number(comparison *c, int which, const pb_record *a, double x, double y)
{
    measure *m = &c->measures[which];

    if (isnan(x) && isnan(y)) {
        return PB_OK;
    }
    PB_TRY(PB_GROW(m->ratios, m->cells + 1));
    m->ratios[m->cells] = x == y ? 1 : y / x;
    note(c, which, &a->key, pb_statistics_relative(x, y));
    return PB_OK;
}

typedef struct curves {
    const pb_record *a, *b;
    double difference;
} curves;

static pb_status with_b(void *context, const pb_record *b)
{
    curves *c          = context;
    const pb_record *a = c->a;

    c->difference = a->train_count != b->train_count ? INFINITY : 0;
    for (int64_t i = 0; i < a->train_count && i < b->train_count; i++) {
        c->difference =
            fmax(c->difference, pb_statistics_relative(a->train[i].loss, b->train[i].loss));
    }
    return PB_OK;
}

static pb_status with_a(void *context, const pb_record *a)
{
    curves *c = context;

    c->a = a;
    return pb_record_visit(c->b, with_b, c);
}

static pb_status compare_numbers(comparison *c, const pb_record *a, const pb_record *b)
{
    curves found = {.b = b};

    PB_TRY(note_number(c, SCORE, a, a->score, b->score));
    PB_TRY(note_number(c, VALIDATION, a, a->validation_loss, b->validation_loss));
    PB_TRY(note_number(c, SECONDS_TRAIN, a, a->seconds_train, b->seconds_train));
    PB_TRY(note_number(c, SECONDS_TEST, a, a->seconds_test, b->seconds_test));
    PB_TRY(note_number(c, MEMORY, a, a->memory_peak_gb, b->memory_peak_gb));
    PB_TRY(pb_record_visit(a, with_a, &found));
    note(c, TRAINING, &a->key, found.difference);
    return PB_OK;
}

static int compare_keys(const void *a, const void *b)
{
    const pb_record *const *x = a, *const *y = b;

    return pb_record_key_compare(&(*x)->key, &(*y)->key);
}

/* The records by their keys. */
static pb_status sort(const pb_results *results, const pb_record ***out)
{
    PB_TRY(PB_ALLOC(*out, results->count + 1));
    for (int64_t i = 0; i < results->count; i++) {
        (*out)[i] = &results->records[i];
    }
    qsort(*out, (size_t)results->count, sizeof **out, compare_keys);
    return PB_OK;
}

static pb_status list(comparison *c, int64_t number, const char *what, const pb_record_key *key)
{
    return number > LISTED_MAX ? PB_OK
                               : document_remark(c->doc, "%s: %s/%s/%s/%" PRId64, what, key->model,
                                                 key->dataset, key->method, key->seed);
}

static pb_status add_pair(comparison *c, const pb_record *a, const pb_record *b)
{
    char what[64];

    PB_TRY(PB_GROW(c->pairs.items, c->pairs.count + 1));
    c->pairs.items[c->pairs.count++] = (record_pair){a, b};
    c->configurations += strcmp(a->key.config_hash, b->key.config_hash) != 0;
    if (strcmp(pb_record_state(a), pb_record_state(b)) == 0) {
        return PB_OK;
    }
    (void)snprintf(what, sizeof what, "%s in A, %s in B", pb_record_state(a), pb_record_state(b));
    return list(c, ++c->states, what, &a->key);
}

static pb_status walk(comparison *c, const pb_record **a, const pb_record **b)
{
    int64_t i = 0, j = 0;

    while (i < c->a->count || j < c->b->count) {
        int order = i == c->a->count   ? 1
                    : j == c->b->count ? -1
                                       : pb_record_key_compare(&a[i]->key, &b[j]->key);
        if (order == 0) {
            PB_TRY(add_pair(c, a[i], b[j]));
        } else if (order < 0) {
            PB_TRY(list(c, ++c->only_a, "only in A", &a[i]->key));
        } else {
            PB_TRY(list(c, ++c->only_b, "only in B", &b[j]->key));
        }
        i += order <= 0;
        j += order >= 0;
    }
    return PB_OK;
}

static pb_status find_pairs(comparison *c)
{
    const pb_record **a = NULL, **b = NULL;
    pb_status status;

    PB_TRY_GOTO(status, sort(c->a, &a), out);
    PB_TRY_GOTO(status, sort(c->b, &b), out);
    PB_TRY_GOTO(status, walk(c, a, b), out);
out:
    pb_memory_free(a);
    pb_memory_free(b);
    return status;
}

static pb_status add_measure(const comparison *c, int which, pb_table *table)
{
    const measure *m = &c->measures[which];
    char number[PB_TABLE_NUMBER];

    PB_TRY(pb_table_add(table, "%s", names[which]));
    PB_TRY(pb_table_add(table, "%" PRId64, m->cells));
    PB_TRY(pb_table_add(table, "%" PRId64, m->equal));
    PB_TRY(pb_table_add(table, "%" PRId64, m->beyond));
    if (m->beyond > 0) {
        pb_table_mark_last(table, PB_TABLE_BAD);
    }
    if (which == TRAINING || m->cells == 0) {
        PB_TRY(pb_table_add(table, PB_TABLE_NOTHING));
    } else {
        pb_clock_sort(m->ratios, (size_t)m->cells);
        PB_TRY(pb_table_add(
            table, "%s",
            pb_table_number(number, pb_statistics_quantile(m->ratios, m->cells, 0.5), 4, false)));
    }
    if (m->cells == 0 || m->largest == 0) {
        PB_TRY(pb_table_add(table, m->cells == 0 ? PB_TABLE_NOTHING : "0"));
        return pb_table_add(table, PB_TABLE_NOTHING);
    }
    PB_TRY(pb_table_add(table, "%.3g", m->largest));
    return pb_table_add(table, "%s/%s/%s/%" PRId64, m->key.model, m->key.dataset, m->key.method,
                        m->key.seed);
}

static pb_status add_measures(const comparison *c)
{
    static const char *const header[] = {"number",     "cells",   "equal", "beyond",
                                         "median B/A", "largest", "in",    NULL};

    PB_TRY(document_add(c->doc, DOCUMENT_SECTION, "numbers",
                        "numbers of the cells that both have, by the relative difference; training "
                        "losses: the largest of all steps, inf with other steps; tolerance %g for "
                        "scores and losses, %g "
                        "for seconds and memory",
                        c->tolerances->results, c->tolerances->costs));
    PB_TRY(pb_table_begin(document_table(c->doc), header, 1));
    for (int i = 0; i < COUNT; i++) {
        PB_TRY(add_measure(c, i, document_table(c->doc)));
    }
    return PB_OK;
}

static pb_status add_head(const comparison *c)
{
    const pb_results *both[] = {c->a, c->b};

    for (int i = 0; i < 2; i++) {
        const pb_results *r = both[i];
        PB_TRY(document_add(c->doc, DOCUMENT_NOTE, NULL,
                            "%c: sweep %s, protocol %s, %" PRId64 " cells with a result, %s%s%s",
                            'A' + i, r->sweep != NULL ? r->sweep : PB_TABLE_UNKNOWN,
                            r->protocol != NULL ? r->protocol : PB_TABLE_UNKNOWN, r->count,
                            r->program != NULL ? r->program : PB_TABLE_UNKNOWN,
                            r->created != NULL ? ", " : "", r->created != NULL ? r->created : ""));
    }
    return PB_OK;
}

static pb_status add_cells(comparison *c)
{
    PB_TRY(document_add(c->doc, DOCUMENT_SECTION, "cells", "cells that do not correspond"));
    PB_TRY(find_pairs(c));
    return document_remark(c->doc,
                           "in both: %" PRId64 ", %" PRId64 " of them in another configuration, "
                           "%" PRId64 " in another state; only in A: %" PRId64 "; only in B: "
                           "%" PRId64,
                           c->pairs.count, c->configurations, c->states, c->only_a, c->only_b);
}

static pb_status make(comparison *c)
{
    PB_TRY(add_head(c));
    PB_TRY(add_cells(c));
    PB_TRY(compare_machines(c->a, c->b, c->doc));
    PB_TRY(compare_settings(&c->pairs, c->doc));
    for (int64_t i = 0; i < c->pairs.count; i++) {
        const record_pair *pair = &c->pairs.items[i];
        if (pair->a->status == PB_OK && pair->b->status == PB_OK) {
            PB_TRY(compare_numbers(c, pair->a, pair->b));
        }
    }
    return add_measures(c);
}

pb_status pb_report_compare(const pb_results *a, const pb_results *b,
                            const pb_report_tolerances *tolerances,
                            const pb_report_options *options, pb_report_form form, bool *alike,
                            pb_string *out)
{
    document doc = {0};
    comparison c = {.a = a, .b = b, .tolerances = tolerances, .doc = &doc};
    int64_t apart;
    pb_status status;

    PB_TRY_GOTO(status, make(&c), out);
    PB_TRY_GOTO(status, document_write(&doc, options, form, out), out);
    apart = c.only_a + c.only_b + c.states;
    for (int i = 0; i < COUNT; i++) {
        apart += c.measures[i].beyond;
    }
    *alike = apart == 0;
out:
    for (int i = 0; i < COUNT; i++) {
        pb_memory_free(c.measures[i].ratios);
    }
    pb_memory_free(c.pairs.items);
    document_clear(&doc);
    return status;
}
