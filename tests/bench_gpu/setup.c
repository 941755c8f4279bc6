// SPDX-License-Identifier: Apache-2.0
/* Tensors, clocks and networks for the parts. */
#include "setup.h"

#include "shapes.h"

#include "pb/clock.h"
#include "pb/memory.h"
#include "pb/random.h"
#include "pb/usage.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

pb_status open_device(const bench *b, pb_dtype dtype, pb_backend **out)
{
    pb_backend *be = NULL;
    PB_TRY(pb_backend_open(b->backend, b->number, 0, &be));
    pb_status status = pb_backend_use_dtype(be, dtype);
    if (status != PB_OK) {
        pb_backend_close(be);
        return PB_FRAME(status);
    }
    *out = be;
    return PB_OK;
}

/* Tensors ------------------------------------------------------------------------------------- */

enum { POOL = 1 << 20, TINY_POOL = 1 << 12, POOL_STEP = 7919 };

/* Values that all tensors are made of, in order but from different places; kept for the process. */
static const pb_tensor *values_of_pool(bool tiny)
{
    static pb_tensor kept;
    static float values[POOL];
    pb_random stream = pb_random_stream(1, PB_RANDOM_TEST, 0);
    if (pb_tensor_is_none(&kept)) {
        kept = pb_tensor_1d(values, PB_DTYPE_F32, tiny ? TINY_POOL : POOL);
        for (int64_t i = 0; i < kept.shape[0]; i++) {
            values[i] = (float)pb_random_normal(stream, (uint64_t)i);
        }
    }
    return &kept;
}

/* `pool`: the same values in backend memory. */
static pb_status fill(pb_backend *be, const pb_tensor *t, const pb_tensor *pool, uint64_t salt)
{
    int64_t total = pb_tensor_count(t);
    int64_t half  = pool->shape[0] / 2;
    int64_t begin = (int64_t)(salt * 104729 % (uint64_t)half);
    for (int64_t at = 0, count = 0; at < total; at += count) {
        count          = total - at < half ? total - at : half;
        size_t before  = (size_t)at * pb_dtype_size(t->dtype);
        pb_tensor to   = pb_tensor_1d((char *)t->data + before, t->dtype, count);
        pb_tensor from = pb_tensor_rows(pool, begin, count);
        begin          = (begin + POOL_STEP) % half;
        PB_TRY(pb_copy(be, &to, &from));
    }
    return pb_sync(be);
}

static pb_status make_pool(pb_backend *be, bool tiny, pb_tensor *pool)
{
    const pb_tensor *values = values_of_pool(tiny);
    void *memory            = NULL;
    PB_TRY(pb_backend_alloc(be, pb_tensor_bytes(values), &memory));
    *pool      = *values;
    pool->data = memory;
    return pb_copy(be, pool, values);
}

pb_status random_matrix(const bench *b, pb_backend *be, pb_dtype dtype, int64_t rows,
                        int64_t columns, uint64_t salt, pb_tensor *out)
{
    pb_tensor pool   = {0};
    void *memory     = NULL;
    pb_status status = PB_OK;
    size_t bytes     = (size_t)rows * (size_t)columns * pb_dtype_size(dtype);
    PB_TRY(pb_backend_alloc(be, bytes, &memory));
    pb_tensor made = pb_tensor_2d(memory, dtype, rows, columns);
    status         = make_pool(be, b->tiny, &pool);
    if (status == PB_OK) {
        status = fill(be, &made, &pool, salt);
    }
    pb_backend_free(be, pool.data);
    if (status != PB_OK) {
        pb_backend_free(be, memory);
        return PB_FRAME(status);
    }
    *out = made;
    return PB_OK;
}

/* Clocks -------------------------------------------------------------------------------------- */

static pb_status time_calls(pb_backend *be, timed_call *call, void *context, int64_t calls,
                            double *seconds)
{
    PB_TRY(pb_sync(be));
    double start = pb_clock_seconds();
    for (int64_t i = 0; i < calls; i++) {
        PB_TRY(call(be, context));
    }
    PB_TRY(pb_sync(be));
    *seconds = (pb_clock_seconds() - start) / (double)calls;
    return PB_OK;
}

pb_status time_call(const bench *b, pb_backend *be, timed_call *call, void *context,
                    double *seconds)
{
    enum { ROUNDS = 5, MOST_CALLS = 2000 };
    const double round = 0.02; /* seconds */
    double times[ROUNDS];
    double once = 0.0;
    PB_TRY(time_calls(be, call, context, 1, &once));
    if (b->tiny) {
        *seconds = once;
        return PB_OK;
    }
    PB_TRY(time_calls(be, call, context, 1, &once)); /* warm */
    double fit    = round / (once > 1e-9 ? once : 1e-9);
    int64_t calls = fit < 2.0 ? 2 : fit > MOST_CALLS ? MOST_CALLS : (int64_t)fit;
    for (int i = 0; i < ROUNDS; i++) {
        PB_TRY(time_calls(be, call, context, calls, &times[i]));
    }
    pb_clock_sort(times, ROUNDS);
    *seconds = times[ROUNDS / 2];
    return PB_OK;
}

/* Facts of the device ------------------------------------------------------------------------- */

typedef struct wanted_fact {
    const char *name;
    double value;
} wanted_fact;

static pb_status take_fact(void *context, const char *name, const char *value)
{
    wanted_fact *f = context;
    if (strcmp(name, f->name) == 0) {
        f->value = strtod(value, NULL);
    }
    return PB_OK;
}

double device_fact(pb_backend *be, const char *name)
{
    wanted_fact f = {.name = name, .value = (double)NAN};
    if (pb_backend_facts(be, take_fact, &f) != PB_OK) {
        pb_error_clear();
    }
    return f.value;
}

static double joules(pb_backend *be)
{
    const char *why = NULL;
    return pb_backend_energy(be, &why);
}

/* The counter advances at intervals of up to a tenth of a second: shorter spans say nothing. */
static double mean_watts(double used, double seconds)
{
    return seconds >= 1.0 ? used / seconds : (double)NAN;
}

pb_status measure_load(pb_backend *be, timed_call *call, void *context, double seconds, load *out)
{
    double once = 0.0;
    PB_TRY(time_calls(be, call, context, 1, &once));
    int64_t batch = 1 + (int64_t)(0.05 / once); /* calls between two looks at the clock */
    int64_t calls = 0;
    double before = joules(be);
    double start  = pb_clock_seconds();
    double took   = 0.0;
    while (took < seconds) {
        for (int64_t i = 0; i < batch; i++) {
            PB_TRY(call(be, context));
        }
        out->mhz = device_fact(be, "sm_clock_mhz"); /* while the device works */
        PB_TRY(pb_sync(be));
        calls += batch;
        took = pb_clock_seconds() - start;
    }
    out->seconds = took / (double)calls;
    out->watts   = mean_watts(joules(be) - before, took);
    return PB_OK;
}

void put_load(const bench *b, const char *sizes, const load *l)
{
    if (isfinite(l->watts)) {
        put_figure(b, "mean power", sizes, l->watts, "W");
    }
    if (isfinite(l->mhz)) {
        put_figure(b, "clock of multiprocessors", sizes, l->mhz, "MHz");
    }
}

/* Copies -------------------------------------------------------------------------------------- */

static pb_status call_copy(pb_backend *be, void *context)
{
    pb_tensor *t = context;
    return pb_copy(be, &t[0], &t[1]);
}

pb_status copy_rate(const bench *b, pb_backend *be, double *bytes_per_second)
{
    int64_t rows     = b->tiny ? 4 : 1 << 16;
    int64_t columns  = 1 << 12; /* 1 GiB each */
    pb_tensor t[2]   = {0};
    double seconds   = 0.0;
    pb_status status = PB_OK;
    for (int i = 0; i < 2 && status == PB_OK; i++) {
        status = random_matrix(b, be, PB_DTYPE_F32, rows, columns, (uint64_t)i, &t[i]);
    }
    if (status == PB_OK) {
        status = time_call(b, be, call_copy, t, &seconds);
    }
    pb_backend_free(be, t[0].data);
    pb_backend_free(be, t[1].data);
    *bytes_per_second = status == PB_OK ? 2.0 * (double)pb_tensor_bytes(&t[0]) / seconds : 0.0;
    return PB_FRAME(status);
}

/* Rows ---------------------------------------------------------------------------------------- */

pb_status rows_make(int64_t count, int64_t length, int64_t answer_start, int64_t vocabulary,
                    uint64_t seed, made_rows *out)
{
    pb_random stream = pb_random_stream(seed, PB_RANDOM_SYNTHETIC, 1);
    *out             = (made_rows){.count = count};
    pb_status status = PB_ALLOC(out->samples, count);
    if (status == PB_OK) {
        status = PB_ALLOC(out->ids, count * length);
    }
    if (status != PB_OK) {
        rows_free(out);
        return PB_FRAME(status);
    }
    for (int64_t i = 0; i < count * length; i++) {
        out->ids[i] = (int32_t)pb_random_below(stream, (uint64_t)i, (uint64_t)vocabulary);
    }
    for (int64_t i = 0; i < count; i++) {
        out->samples[i] = (pb_sample){
            .ids = out->ids + i * length, .length = length, .answer_start = answer_start};
    }
    return PB_OK;
}

void rows_free(made_rows *rows)
{
    pb_memory_free(rows->samples);
    pb_memory_free(rows->ids);
    *rows = (made_rows){0};
}

/* Networks ------------------------------------------------------------------------------------ */

void setup_close(setup *s)
{
    for (int m = 0; m < SETUP_MEMBERS; m++) {
        pb_network_destroy(s->nets[m]);
        pb_method_destroy(s->methods[m]);
    }
    pb_weights_close(s->weights);
    pb_model_close(s->own_model);
    pb_backend_close(s->be);
    *s = (setup){0};
}

static pb_status create_members(setup *s, const char *method, int members)
{
    const pb_method_ops *ops = NULL;
    pb_config *config        = NULL;
    pb_string text           = {0};
    pb_status status         = PB_OK;
    s->count                 = members;
    PB_TRY_GOTO(status, pb_string_printf(&text, "method = { %s };", method), done);
    PB_TRY_GOTO(status, pb_config_parse(text.data, "method", &config), done);
    PB_TRY_GOTO(status, pb_method_find_in(config, "method", &ops), done);
    for (int m = 0; m < members; m++) {
        PB_TRY_GOTO(status,
                    pb_method_create(ops, config, "method", s->model, s->be, (uint64_t)m + 1,
                                     &s->methods[m]),
                    done);
        if (s->own_model != NULL) {
            PB_TRY_GOTO(status, pb_method_give_values(s->methods[m], s->be), done);
        }
        PB_TRY_GOTO(status, pb_network_create(s->weights, s->methods[m], &s->nets[m]), done);
    }
done:
    pb_config_close(config);
    pb_string_clear(&text);
    return status;
}

pb_status setup_open(const bench *b, const char *shape, pb_dtype dtype, const char *method,
                     int members, const setup_without *without, setup *out)
{
    setup s          = {0};
    pb_status status = PB_OK;
    bool borders     = without == NULL || !without->border;
    pb_model_config config;
    PB_TRY(bench_shape(shape, &config));
    PB_TRY(open_device(b, dtype, &s.be));
    PB_TRY_GOTO(status, pb_model_open_shape(&config, &s.own_model), err);
    s.model        = s.own_model;
    int64_t border = borders ? pb_backend_border(s.be) : 0;
    PB_TRY_GOTO(status, pb_weights_random(s.model, s.be, border, dtype, 1, &s.weights), err);
    PB_TRY_GOTO(status, create_members(&s, method, members), err);
    *out = s;
    return PB_OK;
err:
    setup_close(&s);
    return status;
}

pb_status setup_over(const char *backend, int number, const pb_model *model, pb_dtype dtype,
                     const char *method, int members, setup *out)
{
    setup s          = {.model = model};
    pb_status status = PB_OK;
    PB_TRY_GOTO(status, pb_backend_open(backend, number, 0, &s.be), err);
    PB_TRY_GOTO(status, pb_backend_use_dtype(s.be, dtype), err);
    PB_TRY_GOTO(status, pb_weights_open(s.model, s.be, pb_backend_border(s.be), &s.weights), err);
    PB_TRY_GOTO(status, create_members(&s, method, members), err);
    *out = s;
    return PB_OK;
err:
    setup_close(&s);
    return status;
}

/* Training ------------------------------------------------------------------------------------ */

typedef struct member_run {
    double *losses; /* [steps] */
    pb_backend *be;
    training *all;        /* of member 0, which looks at the clock; else NULL */
    double joules, began; /* after the warm-up */
    pb_status status;
} member_run;

/* Where work is queued ahead, the device is already at the next step when a step is reported. */
static void look(member_run *run, int64_t step)
{
    training *t          = run->all;
    t->seconds[step - 1] = pb_clock_seconds();
    if (step == t->warm) {
        run->joules = joules(run->be);
        run->began  = pb_clock_seconds();
    } else if (step == t->steps - 1) {
        t->load.mhz = device_fact(run->be, "sm_clock_mhz");
    } else if (step == t->steps) {
        double used   = joules(run->be) - run->joules;
        t->load.watts = mean_watts(used, pb_clock_seconds() - run->began);
    }
}

static pb_status on_step(void *context, const pb_train_step *step)
{
    member_run *run             = context;
    run->losses[step->step - 1] = step->loss;
    if (run->all != NULL) {
        look(run, step->step);
    }
    return PB_OK;
}

static void on_end(void *context, pb_status status)
{
    ((member_run *)context)->status = status;
}

static pb_status run_members(setup *s, pb_train_member *members, const member_run *runs)
{
    if (s->count == 1) {
        return pb_train_run(members[0].net, members[0].method, members[0].options, members[0].seed,
                            members[0].data, members[0].observer, members[0].result);
    }
    PB_TRY(pb_train_gang(members, s->count));
    for (int m = 0; m < s->count; m++) {
        if (runs[m].status != PB_OK) {
            return PB_FAIL(runs[m].status, "member %d of the gang failed: %s", m,
                           pb_error_message());
        }
    }
    return PB_OK;
}

static double median_seconds(const training *t)
{
    double sorted[256];
    int64_t count = t->steps - t->warm;
    count         = count > 256 ? 256 : count;
    memcpy(sorted, t->seconds + t->warm, (size_t)count * sizeof *sorted);
    pb_clock_sort(sorted, (size_t)count);
    return sorted[count / 2];
}

pb_status train(setup *s, const made_rows *rows, int64_t batch, int64_t warm, int64_t steps,
                training *out)
{
    const double none    = (double)NAN;
    pb_train_options how = {0};
    pb_train_data data   = {.train = rows->samples, .train_count = rows->count};
    pb_train_member members[SETUP_MEMBERS];
    pb_train_observer observers[SETUP_MEMBERS];
    pb_train_result results[SETUP_MEMBERS];
    member_run runs[SETUP_MEMBERS];
    pb_status status = PB_OK;
    *out = (training){.warm = warm, .steps = steps, .load = {.watts = none, .mhz = none}};
    PB_TRY_GOTO(status, PB_ALLOC(out->losses, s->count * steps), err);
    PB_TRY_GOTO(status, PB_ALLOC(out->seconds, steps), err);
    PB_TRY_GOTO(status, pb_config_defaults(pb_train_fields, &how), err);
    how.learning_rate = 1e-3;
    how.schedule      = PB_SCHEDULE_CONSTANT;
    how.warmup_ratio  = 0.0;
    how.batch         = batch;
    how.epochs        = 1e6;
    how.max_steps     = steps;
    how.shuffle       = false;
    how.restore_best  = false;
    for (int m = 0; m < s->count; m++) {
        runs[m]      = (member_run){.losses = out->losses + m * steps,
                                    .be     = s->be,
                                    .all    = m == 0 ? out : NULL,
                                    .joules = none};
        observers[m] = (pb_train_observer){.context = &runs[m], .step = on_step, .ended = on_end};
        members[m]   = (pb_train_member){.net      = s->nets[m],
                                         .method   = s->methods[m],
                                         .options  = &how,
                                         .seed     = (uint64_t)m + 1,
                                         .data     = &data,
                                         .observer = &observers[m],
                                         .result   = &results[m]};
    }
    double start = pb_clock_seconds();
    PB_TRY_GOTO(status, run_members(s, members, runs), err);
    for (int64_t i = steps - 1; i >= 0; i--) {
        out->seconds[i] -= i > 0 ? out->seconds[i - 1] : start;
    }
    out->load.seconds = median_seconds(out);
    return PB_OK;
err:
    training_free(out);
    return status;
}

void training_free(training *t)
{
    pb_memory_free(t->losses);
    pb_memory_free(t->seconds);
    *t = (training){0};
}
