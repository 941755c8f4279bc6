// SPDX-License-Identifier: Apache-2.0
/* Chooses among the variants of methods: the axis of methods then has their bases, and each (model,
 * data set) holds the cells of the chosen variant under its base. */
#include "pb/memory.h"
#include "pb/report.h"
#include "pb/variant.h"

#include <math.h>
#include <string.h>

void pb_report_choices_clear(pb_report_choices *choices)
{
    pb_memory_free_texts(choices->names, (size_t)choices->names_count);
    pb_memory_free(choices->items);
    *choices = (pb_report_choices){0};
}

/* The methods of the results by base. */
typedef struct bases {
    char **names; /* [count], NULL after the last */
    int64_t count;
    int64_t *of;   /* [methods] the base of each */
    int64_t *from; /* [models][datasets][count] the variant chosen, -1 where none was planned */
} bases;

static void clear_bases(bases *b)
{
    pb_memory_free_texts(b->names, (size_t)b->count);
    pb_memory_free(b->of);
    pb_memory_free(b->from);
}

static pb_status find_bases(const pb_results *r, bases *b)
{
    PB_TRY(PB_ALLOC(b->names, r->methods_count + 1));
    PB_TRY(PB_ALLOC(b->of, r->methods_count + 1));
    for (int64_t t = 0; t < r->methods_count; t++) {
        pb_string base = {0};
        PB_TRY(pb_string_printf(&base, "%.*s", pb_variant_base(r->methods[t]), r->methods[t]));
        int64_t *of = &b->of[t];
        while (*of < b->count && strcmp(b->names[*of], base.data) != 0) {
            ++*of;
        }
        if (*of < b->count) {
            pb_string_clear(&base);
        } else {
            b->names[b->count++] = base.data;
        }
    }
    return PB_ALLOC(b->from, r->models_count * r->datasets_count * b->count + 1);
}

/* The cells of a variant on a data set: planned, done, and those with a value. */
typedef struct standing {
    double mean;
    int64_t planned, done, known;
} standing;

static standing find_standing(const pb_results *r, pb_report_best by, int64_t m, int64_t d,
                              int64_t t)
{
    standing s = {0};
    double sum = 0;
    for (int64_t seed = 0; seed < r->seeds_count; seed++) {
        int64_t at = pb_results_index(r, m, d, t, seed);
        s.planned += r->state[at] != PB_CELL_EXCLUDED;
        if (r->state[at] != PB_CELL_DONE) {
            continue;
        }
        const pb_record *record = &r->records[r->grid[at]];
        double value = by == PB_REPORT_BEST_SCORE ? record->score : record->validation_loss;
        s.done++;
        if (!isnan(value)) {
            sum += value;
            s.known++;
        }
    }
    s.mean = s.known > 0 ? sum / (double)s.known : NAN;
    return s;
}

/* More seeds first: a single lucky one must not beat the mean of five. Equal ones keep the order of
 * the grid. */
static bool is_better(pb_report_best by, const standing *a, const standing *b)
{
    if (a->known != b->known) {
        return a->known > b->known;
    }
    return by == PB_REPORT_BEST_SCORE ? a->mean > b->mean : a->mean < b->mean;
}

static pb_status choose(const pb_results *r, const bases *b, pb_report_choices *choices, int64_t m,
                        int64_t d, int64_t base)
{
    int64_t *from    = &b->from[(m * r->datasets_count + d) * b->count + base];
    int64_t variants = 0;
    int64_t done     = 0;
    standing best    = {0};
    *from            = -1;
    for (int64_t t = 0; t < r->methods_count; t++) {
        standing s = {0};
        if (b->of[t] == base) {
            s = find_standing(r, choices->by, m, d, t);
        }
        if (s.planned == 0) {
            continue;
        }
        variants++;
        done += s.done;
        if (*from < 0 || is_better(choices->by, &s, &best)) {
            best  = s;
            *from = t;
        }
    }
    if (variants > 1 && done > 0 && best.known == 0) {
        bool score = choices->by == PB_REPORT_BEST_SCORE;
        return PB_FAIL(PB_ERR_ARGUMENT, "no variant of %s has a %s on %s/%s%s", b->names[base],
                       score ? "score" : "validation loss", r->models[m], r->datasets[d],
                       score ? "" : "; train with data.validation_share, or choose by score");
    }
    if (*from < 0 || (variants == 1 && strcmp(r->methods[*from], b->names[base]) == 0)) {
        return PB_OK; /* there is nothing to choose */
    }
    PB_TRY(PB_GROW(choices->items, choices->count + 1));
    choices->items[choices->count++] = (pb_report_choice){.model    = m,
                                                          .dataset  = d,
                                                          .method   = base,
                                                          .variant  = r->methods[*from],
                                                          .value    = best.mean,
                                                          .seeds    = best.known,
                                                          .planned  = best.planned,
                                                          .variants = variants};
    return PB_OK;
}

static pb_status choose_all(const pb_results *r, const bases *b, pb_report_choices *choices)
{
    for (int64_t m = 0; m < r->models_count; m++) {
        for (int64_t d = 0; d < r->datasets_count; d++) {
            for (int64_t base = 0; base < b->count; base++) {
                PB_TRY(choose(r, b, choices, m, d, base));
            }
        }
    }
    return PB_OK;
}

/* Moves the chosen cells to their places; `kept` is over the axes with bases. The records of the
 * others are freed. */
static void move_cells(pb_results *r, const bases *b, pb_results *kept, pb_report_choices *choices)
{
    for (int64_t at = 0; at < pb_results_positions(r); at++) {
        choices->left_out += r->state[at] != PB_CELL_EXCLUDED;
        choices->left_out_failed += r->state[at] == PB_CELL_FAILED;
    }
    for (int64_t at = 0; at < pb_results_positions(kept); at++) {
        int64_t place   = at / r->seeds_count;
        int64_t from    = b->from[place];
        kept->grid[at]  = -1;
        kept->state[at] = PB_CELL_EXCLUDED;
        if (from < 0) {
            continue;
        }
        int64_t row  = place / b->count;
        int64_t here = pb_results_index(r, row / r->datasets_count, row % r->datasets_count, from,
                                        at % r->seeds_count);
        kept->state[at] = r->state[here];
        choices->left_out -= r->state[here] != PB_CELL_EXCLUDED;
        choices->left_out_failed -= r->state[here] == PB_CELL_FAILED;
        if (r->grid[here] >= 0) {
            kept->grid[at]               = kept->count;
            kept->records[kept->count++] = r->records[r->grid[here]];
            r->records[r->grid[here]]    = (pb_record){0};
        }
    }
    for (int64_t i = 0; i < r->count; i++) {
        pb_record_clear(&r->records[i]);
    }
}

/* Replaces the axis of methods, the records and the grid. The names of the variants go to the
 * choices, which borrow from them. */
static pb_status regroup(pb_results *r, bases *b, pb_report_choices *choices)
{
    pb_results kept    = *r;
    pb_status status   = PB_OK;
    int64_t positions  = r->models_count * r->datasets_count * b->count * r->seeds_count;
    kept.methods       = b->names;
    kept.methods_count = b->count;
    kept.count         = 0;
    kept.records       = NULL;
    kept.grid          = NULL;
    kept.state         = NULL;
    PB_TRY_GOTO(status, PB_ALLOC(kept.records, r->count + 1), err_kept);
    PB_TRY_GOTO(status, PB_ALLOC(kept.grid, positions + 1), err_kept);
    PB_TRY_GOTO(status, PB_ALLOC(kept.state, positions + 1), err_kept);
    move_cells(r, b, &kept, choices);
    choices->names       = r->methods;
    choices->names_count = r->methods_count;
    pb_memory_free(r->records);
    pb_memory_free(r->grid);
    pb_memory_free(r->state);
    *r       = kept;
    b->names = NULL;
    b->count = 0;
    return PB_OK;

err_kept:
    pb_memory_free(kept.records);
    pb_memory_free(kept.grid);
    pb_memory_free(kept.state);
    return status;
}

pb_status pb_report_choose(pb_results *results, pb_report_best by, pb_report_choices *out)
{
    pb_report_choices choices = {.by = by};
    bases b                   = {0};
    pb_status status;
    PB_TRY_GOTO(status, find_bases(results, &b), done);
    PB_TRY_GOTO(status, choose_all(results, &b, &choices), done);
    PB_TRY_GOTO(status, regroup(results, &b, &choices), done);
    *out    = choices;
    choices = (pb_report_choices){0};
done:
    pb_report_choices_clear(&choices);
    clear_bases(&b);
    return status;
}
