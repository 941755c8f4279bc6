// SPDX-License-Identifier: Apache-2.0
/* Training steps: long rows, short rows alone and in gangs; decoding. */
#include "flops.h"
#include "steps.h"

#include "pb/clock.h"
#include "pb/memory.h"
#include "pb/usage.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static const char all_linears[] =
    "name = \"lora\"; r = 16; dropout = 0.0; targets = \"all-linear\";";
static const char defaults[] = "name = \"lora\";";

#define PEAK_FLOPS 989e12 /* dense bf16 of an H100 or H200 */

void describe_workload(const workload *w, const char *more, char text[BENCH_TEXT])
{
    (void)snprintf(text, BENCH_TEXT, "%s, %" PRId64 " x %" PRId64 " tokens%s", w->shape, w->rows,
                   w->length, more);
}

/* 8: a step over long rows -------------------------------------------------------------------- */

static void put_rates(const bench *b, const setup *s, const workload *w, double seconds,
                      const char *sizes)
{
    const step_size size = {w->rows, w->length, w->length - w->answer_start};
    double tokens        = (double)(w->rows * w->length);
    double counted       = flops_counted(s->model, s->methods[0]->parameters, &size);
    double simple        = flops_by_parameters(s->model, &size);
    put_figure(b, "step, median of 10", sizes, 1e3 * seconds, "ms");
    put_figure(b, "training", sizes, tokens / seconds, "tokens/s");
    put_figure(b, "counted operations of a step", sizes, counted * 1e-12, "TFLOP");
    put_goal(b, "MFU of 989 TFLOP/s, counted", sizes, 100.0 * counted / seconds / PEAK_FLOPS, "%",
             "55 % with mma.sync, 60 % with wgmma");
    put_figure(b, "MFU of 989 TFLOP/s, 4 N tokens", sizes, 100.0 * simple / seconds / PEAK_FLOPS,
               "%");
}

/* Steps once more with events around products and attention. */
static pb_status put_kinds(const bench *b, setup *s, const workload *w, const made_rows *rows,
                           double step, const char *sizes)
{
    training timed = {0};
    int64_t steps  = 3;
    pb_backend_work_reset(s->be, true);
    PB_TRY(train(s, rows, w->rows, 0, steps, &timed));
    pb_backend_work done = pb_backend_work_get(s->be);
    pb_backend_work_reset(s->be, false);
    double matmul    = done.matmul_seconds / (double)steps;
    double attention = done.attention_seconds / (double)steps;
    training_free(&timed);
    put_figure(b, "of it products", sizes, 1e3 * matmul, "ms");
    put_figure(b, "of it attention", sizes, 1e3 * attention, "ms");
    put_figure(b, "of it all else", sizes, 1e3 * (step - matmul - attention), "ms");
    if (matmul > 0.0 && attention > 0.0) {
        put_figure(b, "products as executed", sizes,
                   done.matmul_flops / done.matmul_seconds * 1e-12, "TFLOP/s");
        put_figure(b, "attention, 2 and 5 products", sizes,
                   done.attention_flops / done.attention_seconds * 1e-12, "TFLOP/s");
    }
    return PB_OK;
}

static pb_status measure_step(const bench *b, setup *s, const workload *w, const made_rows *rows,
                              const char *sizes)
{
    training made = {0};
    size_t peak   = 0;
    PB_TRY(train(s, rows, w->rows, w->warm, w->warm + w->steps, &made));
    load l      = made.load;
    double last = made.losses[made.steps - 1];
    training_free(&made);
    put_rates(b, s, w, l.seconds, sizes);
    put_verdict(b, "loss is finite", sizes, isfinite(last), "");
    put_figure(b, "last loss", sizes, last, "nats");
    pb_backend_memory(s->be, NULL, &peak);
    put_figure(b, "peak memory of the device", sizes, (double)peak * 1e-9, "GB");
    put_load(b, sizes, &l);
    return put_kinds(b, s, w, rows, l.seconds, sizes);
}

static pb_status long_rows(const setup *s, const workload *w, made_rows *rows)
{
    return rows_make(w->rows * 4, w->length, w->answer_start, pb_model_get_config(s->model)->vocab,
                     7, rows);
}

static pb_status measure_whole_step(const bench *b, const workload *w, const char *sizes)
{
    made_rows rows = {0};
    setup s;
    double start = pb_clock_seconds();
    PB_TRY(setup_open(b, w->shape, PB_DTYPE_BF16, all_linears, 1, NULL, &s));
    put_figure(b, "weights made on the device", sizes, pb_clock_seconds() - start, "s");
    pb_status status = long_rows(&s, w, &rows);
    status           = status == PB_OK ? measure_step(b, &s, w, &rows, sizes) : status;
    rows_free(&rows);
    setup_close(&s);
    return PB_FRAME(status);
}

/* The same step without something. */
static pb_status measure_less(const bench *b, const workload *w, const setup_without *without,
                              const char *sizes)
{
    made_rows rows = {0};
    training made  = {0};
    setup s;
    PB_TRY(setup_open(b, w->shape, PB_DTYPE_BF16, all_linears, 1, without, &s));
    pb_status status = long_rows(&s, w, &rows);
    status =
        status == PB_OK ? train(&s, &rows, w->rows, w->warm, w->warm + w->steps, &made) : status;
    if (status == PB_OK) {
        put_figure(b, "step, median of 10", sizes, 1e3 * made.load.seconds, "ms");
    }
    training_free(&made);
    rows_free(&rows);
    setup_close(&s);
    return PB_FRAME(status);
}

pb_status part_step(const bench *b)
{
    static const workload full        = {"llama-3-8b", 2, 4096, 1, 3, 10};
    static const workload tiny        = {"tiny", 2, 12, 1, 1, 2};
    static const setup_without border = {.border = true};
    const workload *w                 = b->tiny ? &tiny : &full;
    pb_status status                  = PB_OK;
    char sizes[BENCH_TEXT];
    describe_workload(w, ", LoRA r 16, all linears", sizes);
    if (item_begin(b, "step", sizes)) {
        status = measure_whole_step(b, w, sizes);
        if (status != PB_OK) {
            put_failure(b, "step", sizes, status);
        }
    }
    describe_workload(w, ", LoRA r 16, no border", sizes);
    if (item_begin(b, "step", sizes)) {
        status = measure_less(b, w, &border, sizes);
        if (status != PB_OK) {
            put_failure(b, "step", sizes, status);
        }
    }
    return PB_OK;
}

/* 9: short rows ------------------------------------------------------------------------------- */

pb_status measure_gang(const bench *b, const workload *w, const made_rows *rows, int members,
                       bool graphs, load *l, double *last_loss)
{
    setup s;
    training made = {0};
    PB_TRY(setup_open(b, w->shape, PB_DTYPE_BF16, defaults, members, NULL, &s));
    pb_backend_use_graphs(s.be, graphs);
    pb_status status = train(&s, rows, w->rows, w->warm, w->warm + w->steps, &made);
    if (status == PB_OK) {
        *l         = made.load;
        *last_loss = made.losses[made.steps - 1];
    }
    training_free(&made);
    setup_close(&s);
    return PB_FRAME(status);
}

pb_status workload_rows(const workload *w, made_rows *rows)
{
    return rows_make(w->rows * 8, w->length, w->answer_start,
                     strcmp(w->shape, "tiny") == 0 ? 512 : 128256, 7, rows);
}

static void put_gangs(const bench *b, const workload *w)
{
    static const int gangs[] = {1, 4, 8};
    made_rows rows           = {0};
    pb_status status         = workload_rows(w, &rows);
    if (status != PB_OK) {
        put_failure(b, "short rows", w->shape, status);
        return;
    }
    for (size_t i = 0; i < 2 * (b->tiny ? 2 : sizeof gangs / sizeof *gangs); i++) {
        char more[48];
        char sizes[BENCH_TEXT];
        bool graphs = i % 2 == 0;
        int members = gangs[i / 2];
        double loss = 0.0;
        load l      = {0};
        (void)snprintf(more, sizeof more, ", gang of %d%s", members, graphs ? "" : ", no graphs");
        describe_workload(w, more, sizes);
        if (!item_begin(b, "short rows", sizes)) {
            continue;
        }
        status = measure_gang(b, w, &rows, members, graphs, &l, &loss);
        if (status != PB_OK) {
            put_failure(b, "short rows", sizes, status);
            continue;
        }
        put_figure(b, "step, per member", sizes, 1e3 * l.seconds / members, "ms");
        put_figure(b, "training", sizes, (double)(members * w->rows) / l.seconds, "rows/s");
        put_load(b, sizes, &l);
    }
    rows_free(&rows);
}

/* Lengths of PEFT-Bench's rows: about 110 tokens, of them 8 of the answer. */
static const workload large[] = {{"llama-3.2-1b", 4, 110, 102, 5, 30},
                                 {"llama-3-8b", 4, 110, 102, 5, 20}};
static const workload small[] = {{"tiny", 2, 9, 6, 1, 2}};

const workload *short_workload(const bench *b, int index)
{
    return index >= (b->tiny ? 1 : 2) ? NULL : b->tiny ? &small[index] : &large[index];
}

pb_status part_short_rows(const bench *b)
{
    for (int i = 0; short_workload(b, i) != NULL; i++) {
        put_gangs(b, short_workload(b, i));
    }
    return PB_OK;
}

/* 10: decoding -------------------------------------------------------------------------------- */

static pb_status generate(setup *s, const made_rows *rows, int64_t tokens, double *seconds)
{
    const pb_generate_options how = {.max_new_tokens = tokens, .batch = rows->count};
    pb_generated *out             = NULL;
    PB_TRY(PB_ALLOC(out, rows->count));
    double start     = pb_clock_seconds();
    pb_status status = pb_network_generate(s->nets[0], rows->samples, rows->count, &how, out);
    *seconds         = pb_clock_seconds() - start;
    for (int64_t i = 0; status == PB_OK && i < rows->count; i++) {
        pb_memory_free(out[i].ids);
    }
    pb_memory_free(out);
    return PB_FRAME(status);
}

/* Bytes of weights that a token reads: all linears and the head, in BF16. */
static double bytes_per_token(const pb_model *model)
{
    double elements = 0.0;
    for (int64_t i = 0; i < pb_model_site_count(model); i++) {
        const pb_site *site = pb_model_site_at(model, i);
        bool read           = site->site_class == PB_SITE_LINEAR || site->kind == PB_SITE_HEAD;
        elements += read ? (double)(site->in * site->out) : 0.0;
    }
    return 2.0 * elements;
}

/* The difference between many and few new tokens leaves out the prompts. */
static pb_status measure_decoding(const bench *b, setup *s, int64_t count, double copy,
                                  const char *sizes)
{
    int64_t few  = 1;
    int64_t many = b->tiny ? 3 : 65;
    double times[2];
    made_rows rows = {0};
    PB_TRY(rows_make(count, b->tiny ? 6 : 64, 0, pb_model_get_config(s->model)->vocab, 11, &rows));
    pb_status status = generate(s, &rows, few, &times[0]); /* warm */
    status           = status == PB_OK ? generate(s, &rows, few, &times[0]) : status;
    status           = status == PB_OK ? generate(s, &rows, many, &times[1]) : status;
    rows_free(&rows);
    PB_TRY(status);
    double token = (times[1] - times[0]) / (double)(many - few);
    put_figure(b, "prompts and first token", sizes, 1e3 * times[0], "ms");
    put_figure(b, "further token", sizes, 1e3 * token, "ms");
    put_figure(b, "decoding", sizes, (double)count / token, "tokens/s");
    put_figure(b, "weights read, share of a copy", sizes, bytes_per_token(s->model) / token / copy,
               "");
    return PB_OK;
}

static void put_decoding(const bench *b, const char *shape)
{
    static const int64_t counts[] = {16, 64};
    setup s;
    double copy = 0.0;
    if (!item_begin(b, "decoding", shape)) {
        return;
    }
    pb_status status = setup_open(b, shape, PB_DTYPE_BF16, "name = \"none\";", 1, NULL, &s);
    if (status != PB_OK) {
        put_failure(b, "decoding", shape, status);
        return;
    }
    status = copy_rate(b, s.be, &copy);
    for (size_t i = 0; status == PB_OK && i < sizeof counts / sizeof *counts; i++) {
        char sizes[BENCH_TEXT];
        int64_t count = b->tiny ? 1 + (int64_t)i : counts[i];
        (void)snprintf(sizes, sizeof sizes, "%s, %" PRId64 " rows", shape, count);
        item_at("decoding", sizes);
        status = measure_decoding(b, &s, count, copy, sizes);
    }
    if (status != PB_OK) {
        put_failure(b, "decoding", shape, status);
    }
    setup_close(&s);
}

pb_status part_decoding(const bench *b)
{
    if (b->tiny) {
        put_decoding(b, "tiny");
        return PB_OK;
    }
    put_decoding(b, "llama-3.2-1b");
    put_decoding(b, "llama-3-8b");
    return PB_OK;
}
