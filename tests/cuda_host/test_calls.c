// SPDX-License-Identifier: Apache-2.0
/* A cell in which a call of the runtime fails, once each, from the opening of the backend over
 * placed weights, steps of the optimiser and validation to generation: a clear error, nothing left
 * behind, and the next cell has the results of one before it. */
#include "fake_cuda.h"
#include "network_fixture.h"

#include "pb/memory.h"
#include "pb/train.h"

#include <cuda_runtime_api.h>

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { STEPS = 2, NEW_TOKENS = 3, TEXT = 1 << 14, STRIDE = 149 };

typedef struct cell {
    method_case method;
    pb_dtype dtype;
    pb_model *model;
} cell;

typedef struct outcome {
    double loss, validation;
    int32_t ids[NEW_TOKENS];
} outcome;

static pb_status train(network_fixture *f, const pb_sample rows[2], outcome *o)
{
    pb_train_options options;
    pb_train_result result    = {0};
    const pb_train_data data  = {rows, 1, rows + 1, 1};
    pb_train_observer nothing = {0};
    assert_ok(pb_config_defaults(pb_train_fields, &options));
    options.max_steps    = STEPS;
    options.batch        = 1;
    options.warmup_ratio = 0.0;
    PB_TRY(pb_train_run(f->net, f->method, &options, 3, &data, &nothing, &result));
    o->loss       = result.final_loss;
    o->validation = result.best_loss;
    return PB_OK;
}

static pb_status generate(network_fixture *f, const pb_sample *row, outcome *o)
{
    pb_generate_options options = {.max_new_tokens = NEW_TOKENS, .batch = 1};
    pb_generated out            = {0};
    PB_TRY(pb_network_generate(f->net, row, 1, &options, &out));
    memcpy(o->ids, out.ids, (size_t)out.count * sizeof *out.ids);
    pb_memory_free(out.ids);
    return PB_OK;
}

static pb_status run_on(network_fixture *f, const cell *c, const pb_sample rows[2], outcome *o)
{
    PB_TRY(network_open_on(f, "cuda", c->dtype, &c->method));
    PB_TRY(train(f, rows, o));
    return generate(f, rows, o);
}

/* From the opening of the backend to its end. */
static pb_status run(const cell *c, outcome *o)
{
    static const int32_t ids[]    = {3, 14, 15, 9, 26};
    static const int32_t labels[] = {PB_LABEL_NONE, PB_LABEL_NONE, 15, 9, 26};
    pb_sample row                 = {.ids = ids, .labels = labels, .length = 5};
    const pb_sample rows[2]       = {row, row};
    network_fixture f             = {.model = c->model};
    memset(o, 0, sizeof *o);
    pb_status status = run_on(&f, c, rows, o);
    pb_network_destroy(f.net);
    pb_method_destroy(f.method);
    pb_weights_close(f.weights);
    pb_backend_close(f.backend);
    return status;
}

/* The same, with what it writes into the log. */
static pb_status run_logged(const cell *c, outcome *o, char log[TEXT])
{
    FILE *file = tmpfile();
    assert_non_null(file);
    int kept = dup(STDERR_FILENO);
    (void)dup2(fileno(file), STDERR_FILENO);
    pb_status status = run(c, o);
    (void)dup2(kept, STDERR_FILENO);
    (void)close(kept);
    rewind(file);
    log[fread(log, 1, TEXT - 1, file)] = '\0';
    (void)fclose(file);
    return status;
}

static bool says(const char *text, const char *words)
{
    return strstr(text, words) != NULL;
}

/* The operation with its sizes for a kernel or a product, else the name of the call; and CUDA's own
 * text, or the memory that there is. */
static void check_error(pb_status status, const char *call, const char *message)
{
    bool sized = strcmp(call, "launch") == 0 || strcmp(call, "cublasLtMatmul") == 0;
    bool full  = says(message, "cuda: device 0 has no 0.") && says(message, "GB are free");
    bool own   = says(message, "cudaErrorUnknown: unknown error") ||
               says(message, "cudaErrorMemoryAllocation: out of memory") ||
               says(message, "CUBLAS_STATUS_");
    if (!(status == PB_ERR_LIBRARY || status == PB_ERR_MEMORY) || !(full || own) ||
        !(full || says(message, sized ? " [" : call))) {
        fail_msg("%s fails, and the error is: %s", call, message);
    }
}

/* Only what releases something may fail without ending the run, and the wait before it, and what
 * makes a graph: with a warning. */
static void check_warning(const char *call, const char *log)
{
    bool harmless = says(call, "Free") || says(call, "Destroy") || says(call, "Synchronize") ||
                    says(call, "Capture") || says(call, "Instantiate");
    if (!harmless || !says(log, "cuda: ") || !says(log, call)) {
        fail_msg("%s fails, and the run does not; its log: %s", call, log);
    }
}

static void check_nothing_is_left(size_t memory)
{
    fake_cuda_counts left = fake_cuda_count();
    assert_int_equal(left.live_blocks + left.live_pinned + left.live_streams + left.live_events +
                         left.live_graphs + left.live_handles,
                     0);
    assert_int_equal(left.bytes, 0);
    assert_int_equal(pb_memory_current(), memory);
    assert_int_equal(cudaPeekAtLastError(), cudaSuccess); /* the next launch reports its own */
}

/* The first call that fails, and every `stride`-th after it. */
static void fail_calls(const cell *c, int64_t first, int64_t stride)
{
    static char log[TEXT];
    outcome before, after;
    int64_t ended = 0;
    int64_t tried = 0;
    assert_ok(run(c, &before));
    size_t memory = pb_memory_current();
    int64_t calls = fake_cuda_count().calls;
    assert_ok(run_logged(c, &after, log));
    assert_string_equal(log, "");
    calls = fake_cuda_count().calls - calls;
    for (int64_t n = first; n <= calls; n += stride, tried++) {
        fake_cuda_fail(n);
        pb_status status = run_logged(c, &after, log);
        fake_cuda_fail(0);
        if (status != PB_OK) {
            check_error(status, fake_cuda_failed(), pb_error_message());
            pb_error_clear();
            ended++;
        } else {
            check_warning(fake_cuda_failed(), log);
            assert_memory_equal(&after, &before, sizeof after);
        }
        check_nothing_is_left(memory);
    }
    assert_ok(run(c, &after));
    assert_memory_equal(&after, &before, sizeof after);
    print_message("%s: %lld of %lld calls, %lld of them end the run\n",
                  method_case_text(&c->method), (long long)tried, (long long)calls,
                  (long long)ended);
}

static void every_call_of_lora_in_bf16_may_fail(void **state)
{
    cell c = {{"lora", "r = 8; dropout = 0.1;"}, PB_DTYPE_BF16, NULL};
    (void)state;
    network_small_model(&c.model);
    fail_calls(&c, 1, 1);
    pb_model_close(c.model);
}

/* Of each method, the calls at other places. */
static void calls_of_every_method_may_fail(void **state)
{
    int64_t methods = 0;
    cell c          = {0};
    (void)state;
    network_small_model(&c.model);
    for (int i = 0; i < method_case_count(); i++) {
        if (method_case_is_first(i)) {
            c.method = *method_case_at(i);
            c.dtype  = methods % 2 == 0 ? PB_DTYPE_F32 : PB_DTYPE_BF16;
            fail_calls(&c, 1 + methods++ % STRIDE, STRIDE);
        }
    }
    pb_model_close(c.model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_call_of_lora_in_bf16_may_fail),
        cmocka_unit_test(calls_of_every_method_may_fail),
    };
    return cmocka_run_group_tests_name("cuda_host_calls", tests, NULL, NULL);
}
