// SPDX-License-Identifier: Apache-2.0
/* Paired tests: data sets × methods against the best of each data set, or a list of all pairs. */
#include "paired.h"
#include "sections.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define LISTED_MAX 20 /* pairs that could not be compared and are named one by one */

enum { LIST_LEFT = 3 };

/* The part of one model, which grows data set by data set. */
typedef struct section {
    const summary *all;
    const pb_results *results;
    int64_t model;
    bool best_only;
    document *doc;
    pb_table *table;
    int64_t pairs, not_compared;
} section;

/* The pair of a method with the best one, as method - best; false when there is none. */
static bool find_pair(const paired_list *list, int64_t best, int64_t method, paired *out)
{
    for (int64_t i = 0; i < list->count; i++) {
        if (list->pairs[i].a == method && list->pairs[i].b == best) {
            *out = list->pairs[i];
            return true;
        }
        if (list->pairs[i].a == best && list->pairs[i].b == method) {
            *out = paired_swapped(&list->pairs[i]);
            return true;
        }
    }
    return false;
}

static void print_p(double p, char text[24])
{
    if (p < 0.0001) {
        strcpy(text, "<0.0001");
    } else {
        (void)snprintf(text, 24, "%.4f", p);
    }
}

static pb_status remark(section *s, int64_t dataset, const paired *pair)
{
    const pb_results *r = s->results;

    s->not_compared++;
    return s->not_compared > LISTED_MAX
               ? PB_OK
               : document_remark(s->doc, "not compared: %s: %s and %s: %s", r->datasets[dataset],
                                 r->methods[pair->a], r->methods[pair->b], pair->problem);
}

/* "-5.73 (0.0021)", p after Holm. */
static pb_status add_cell(section *s, int64_t dataset, const paired *pair)
{
    char p[24];
    char difference[PB_TABLE_NUMBER];

    s->pairs++;
    if (pair->problem[0] != '\0') {
        PB_TRY(remark(s, dataset, pair));
        return pb_table_add(s->table, PB_TABLE_UNKNOWN);
    }
    print_p(pair->p_holm, p);
    return pb_table_add(s->table, "%s (%s)", pb_table_number(difference, pair->difference, 2, true),
                        p);
}

/* The number of rows that all pairs are based on, if it is the same for all. */
static pb_status add_rows(section *s, const paired_list *list)
{
    int64_t rows = 0;
    bool same    = true;

    for (int64_t i = 0; i < list->count; i++) {
        if (list->pairs[i].problem[0] == '\0') {
            same = same && (rows == 0 || rows == list->pairs[i].rows);
            rows = list->pairs[i].rows;
        }
    }
    return same && rows > 0 ? pb_table_add(s->table, "%" PRId64, rows)
                            : pb_table_add(s->table, PB_TABLE_NOTHING);
}

static pb_status add_table_row(section *s, int64_t dataset, const paired_list *list)
{
    int64_t best = summary_best(s->all, s->results, s->model, dataset);
    paired pair;

    PB_TRY(pb_table_add(s->table, "%s", s->results->datasets[dataset]));
    PB_TRY(add_rows(s, list));
    for (int64_t t = 0; t < s->results->methods_count; t++) {
        if (!section_has_column(s->all, s->results, s->model, t)) {
            continue;
        }
        if (t == best) {
            PB_TRY(pb_table_add(s->table, "best"));
            pb_table_mark_last(s->table, PB_TABLE_BEST);
        } else if (best >= 0 && find_pair(list, best, t, &pair)) {
            PB_TRY(add_cell(s, dataset, &pair));
        } else {
            PB_TRY(section_add_without(s->table,
                                       summary_score_at(s->all, s->results, s->model, dataset, t)));
        }
    }
    return PB_OK;
}

static const char *test_name(const char *test)
{
    return strcmp(test, "mcnemar") == 0     ? "McNemar"
           : strcmp(test, "sign_flip") == 0 ? "sign flip"
                                            : "exact sign flip";
}

static pb_status add_line(section *s, int64_t dataset, const paired *pair)
{
    const pb_results *r = s->results;
    char p[24], holm[24];
    char difference[PB_TABLE_NUMBER];

    s->pairs++;
    if (pair->problem[0] != '\0') {
        return remark(s, dataset, pair);
    }
    print_p(pair->p, p);
    print_p(pair->p_holm, holm);
    PB_TRY(pb_table_add(s->table, "%s", r->datasets[dataset]));
    PB_TRY(pb_table_add(s->table, "%s", r->methods[pair->a]));
    PB_TRY(pb_table_add(s->table, "%s", r->methods[pair->b]));
    PB_TRY(pb_table_add(s->table, "%s", pb_table_number(difference, pair->difference, 2, true)));
    PB_TRY(section_add_interval(s->table, pair->low, pair->high, true));
    PB_TRY(pb_table_add(s->table, "%s", p));
    PB_TRY(pb_table_add(s->table, "%s", holm));
    PB_TRY(pb_table_add(s->table, "%" PRId64, pair->rows));
    PB_TRY(pb_table_add(s->table, "%" PRId64, pair->seeds));
    return pb_table_add(s->table, "%s", test_name(pair->test));
}

static pb_status add_dataset(section *s, int64_t dataset)
{
    paired_list list = {0};
    pb_status status = PB_OK;

    PB_TRY(paired_make(s->results, s->model, dataset, &list));
    if (s->best_only) {
        status = add_table_row(s, dataset, &list);
    }
    for (int64_t i = 0; !s->best_only && i < list.count && status == PB_OK; i++) {
        status = add_line(s, dataset, &list.pairs[i]);
    }
    paired_clear(&list);
    return status;
}

static pb_status add_header(section *s)
{
    static const char *const list[] = {"dataset",       "A",    "B",      "A - B",
                                       "95 % interval", "p",    "p Holm", "rows",
                                       "seeds",         "test", NULL};

    return s->best_only ? section_begin(s->all, s->results, s->model, "rows", s->table)
                        : pb_table_begin(s->table, list, LIST_LEFT);
}

static pb_status fill(section *s)
{
    PB_TRY(add_header(s));
    for (int64_t d = 0; d < s->results->datasets_count; d++) {
        if (section_has_row(s->all, s->results, s->model, d)) {
            PB_TRY(add_dataset(s, d));
        }
    }
    return PB_OK;
}

/* Takes back a section that compares nothing, or its table. */
static pb_status finish(section *s)
{
    if (s->pairs == 0) {
        document_drop(s->doc);
    } else if (s->pairs == s->not_compared) {
        pb_table_clear(s->table);
    }
    return s->not_compared > LISTED_MAX ? document_remark(s->doc, "not compared: %" PRId64 " more",
                                                          s->not_compared - LISTED_MAX)
                                        : PB_OK;
}

pb_status section_paired(const summary *all, const pb_results *results, int64_t model,
                         pb_report_pairs pairs, document *doc)
{
    section s = {.all       = all,
                 .results   = results,
                 .model     = model,
                 .best_only = pairs == PB_REPORT_PAIRS_BEST,
                 .doc       = doc};

    if (pairs == PB_REPORT_PAIRS_NONE) {
        return PB_OK;
    }
    PB_TRY(document_add(doc, DOCUMENT_SECTION, "paired",
                        "paired tests: mean value of a test row times 100, %s",
                        s.best_only ? "less that of the best method, and p (two-sided, Holm over "
                                      "all pairs of the data set)"
                                    : "A - B; p two-sided, Holm over all pairs of the data set"));
    s.table = document_table(doc);
    PB_TRY(fill(&s));
    return finish(&s);
}
