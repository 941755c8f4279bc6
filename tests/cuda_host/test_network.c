// SPDX-License-Identifier: Apache-2.0
/* A network on the backend: steps that neither allocate nor wait, and every call of the runtime
 * that may fail while weights are placed, steps are made and tokens generated. */
#include "fake_cuda.h"
#include "network_fixture.h"

#include "pb/memory.h"
#include "pb/train.h"
#include "pb/usage.h"

#include <cuda_runtime_api.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { STEPS = 4, NEW_TOKENS = 3, TEXT = 1 << 14 };

static const method_case lora = {"lora", "r = 8; dropout = 0.1;"};

/* Numbers of a step, F64 [PB_NUMBERS]. */
static pb_status new_numbers(pb_backend *be, pb_tensor *numbers)
{
    void *data = NULL;
    PB_TRY(pb_backend_alloc(be, PB_NUMBERS * sizeof(double), &data));
    *numbers = pb_tensor_1d(data, PB_DTYPE_F64, PB_NUMBERS);
    return PB_OK;
}

/* As training makes it: the numbers of the step before are taken. */
static pb_status make_step(network_fixture *f, const pb_batch *batch, pb_tensor *numbers, int step,
                           double *loss)
{
    pb_tensor sum = pb_number(numbers, PB_NUMBER_LOSS);
    double taken[PB_NUMBERS];
    PB_TRY(pb_zero(f->backend, numbers));
    PB_TRY(pb_network_step(f->net, batch, 1.0, (uint64_t)step, &sum));
    PB_TRY(pb_post(f->backend, step % PB_SLOTS, numbers));
    if (step > 0) {
        PB_TRY(pb_take(f->backend, (step - 1) % PB_SLOTS, taken));
        *loss = taken[PB_NUMBER_LOSS];
    }
    return PB_OK;
}

/* One layer, so that a run has few calls. */
static void open_model(pb_model **model)
{
    static const char json[] =
        "{\"architectures\": [\"LlamaForCausalLM\"], \"num_hidden_layers\": 1, \"hidden_size\": "
        "16, "
        "\"num_attention_heads\": 2, \"num_key_value_heads\": 1, \"head_dim\": 8, "
        "\"intermediate_size\": 24, \"vocab_size\": 40, \"max_position_embeddings\": 64, "
        "\"rms_norm_eps\": 1e-5}";
    pb_model_config config = {0};
    assert_ok(pb_model_config_parse(json, sizeof json - 1, "test", &config));
    assert_ok(pb_model_open_random(&config, 7, 1, model));
}

static pb_status create_method(network_fixture *f, const method_case *c)
{
    pb_config *options       = NULL;
    const pb_method_ops *ops = NULL;
    char text[256];
    assert_in_range(snprintf(text, sizeof text, "method = { %s };", c->options), 1, 255);
    assert_ok(pb_config_parse(text, "test", &options));
    assert_ok(pb_method_find(c->method, &ops));
    pb_status status =
        pb_method_create(ops, options, "method", f->model, f->backend, 5, &f->method);
    pb_config_close(options);
    return status;
}

static pb_status open_network(network_fixture *f, const method_case *c)
{
    PB_TRY(pb_backend_open("cuda", 0, 1, &f->backend));
    PB_TRY(pb_backend_use_dtype(f->backend, PB_DTYPE_BF16));
    PB_TRY(pb_weights_open(f->model, f->backend, pb_backend_border(f->backend), &f->weights));
    PB_TRY(create_method(f, c));
    return pb_network_create(f->weights, f->method, &f->net);
}

/* The counts of the runtime when each step is reported. */
typedef struct counted_run {
    fake_cuda_counts after[STEPS + 1];
    double loss;
} counted_run;

static pb_status count_step(void *context, const pb_train_step *step)
{
    counted_run *r       = context;
    r->after[step->step] = fake_cuda_count();
    r->loss              = step->loss;
    return PB_OK;
}

/* Steps over the same rows, so that graphs are recorded and launched. */
static void run_counted(network_fixture *f, counted_run *r)
{
    network_rows rows;
    pb_train_options options;
    pb_train_result result;
    pb_train_observer observer = {.context = r, .step = count_step};
    network_rows_fill(&rows);
    pb_train_data data = {.train = rows.samples, .train_count = NETWORK_ROWS};
    assert_ok(pb_config_defaults(pb_train_fields, &options));
    options.max_steps = STEPS;
    options.batch     = NETWORK_ROWS;
    options.shuffle   = false;
    assert_ok(pb_train_run(f->net, f->method, &options, 3, &data, &observer, &result));
    assert_int_equal(result.steps, STEPS);
}

/* A step waits once: for the numbers of the one before. */
static void check_counts(const method_case *c, const counted_run *r)
{
    const fake_cuda_counts *first = &r->after[1];
    const fake_cuda_counts *last  = &r->after[STEPS - 1];
    int64_t waits                 = last->waits - first->waits - (STEPS - 2);
    int64_t queries               = last->queries - first->queries;
    int64_t allocations           = last->allocations - first->allocations;
    if (waits != 0 || queries != 0 || allocations != 0) {
        fail_msg("%s: %lld waits too many, %lld queries, %lld allocations", method_case_text(c),
                 (long long)waits, (long long)queries, (long long)allocations);
    }
    if (!(last->graphs > first->graphs && r->loss > 0.0)) {
        fail_msg("%s: no step was launched as a graph, or the loss is %g", method_case_text(c),
                 r->loss);
    }
}

/* In BF16, where factors are converted. */
static void check_steps(const method_case *c)
{
    counted_run r     = {0};
    network_fixture f = {0};
    open_model(&f.model);
    assert_ok(open_network(&f, c));
    if (f.method->parameters > 0) {
        run_counted(&f, &r);
        check_counts(c, &r);
    }
    network_fixture_close(&f);
}

static void steps_neither_allocate_nor_wait(void **state)
{
    (void)state;
    for (int i = 0; i < method_case_count(); i++) {
        const method_case *c = method_case_at(i);
        bool lists_positions = strstr(c->options, "random") != NULL;
        if (method_case_is_first(i) || lists_positions) {
            check_steps(c);
        }
    }
}

static pb_status train(network_fixture *f, const pb_sample *row)
{
    pb_batch batch   = {0};
    pb_tensor number = {0};
    double loss      = 0.0;
    pb_status status;
    pb_batch_options packing = pb_network_batch_options(f->net, true);
    assert_ok(pb_batch_build(row, 1, &packing, &batch));
    PB_TRY_GOTO(status, new_numbers(f->backend, &number), done);
    PB_TRY_GOTO(status, pb_network_reserve(f->net, &batch), done);
    for (int step = 0; step < 2; step++) {
        PB_TRY_GOTO(status, make_step(f, &batch, &number, step, &loss), done);
    }
    PB_TRY_GOTO(status, pb_sync(f->backend), done);
done:
    pb_backend_free(f->backend, number.data);
    pb_batch_clear(&batch);
    return status;
}

static pb_status generate(network_fixture *f, const pb_sample *row)
{
    pb_generate_options options = {.max_new_tokens = NEW_TOKENS, .batch = 1};
    pb_generated out            = {0};
    PB_TRY(pb_network_generate(f->net, row, 1, &options, &out));
    pb_memory_free(out.ids);
    return PB_OK;
}

static pb_status run_on(network_fixture *f, const pb_sample *row)
{
    PB_TRY(open_network(f, &lora));
    PB_TRY(train(f, row));
    return generate(f, row);
}

/* A cell from the opening of the backend to its end. */
static pb_status run(pb_model *model)
{
    static const int32_t ids[]    = {3, 14, 15, 9, 26};
    static const int32_t labels[] = {PB_LABEL_NONE, PB_LABEL_NONE, 15, 9, 26};
    pb_sample row     = {.ids = ids, .labels = labels, .length = sizeof ids / sizeof ids[0]};
    network_fixture f = {.model = model};
    pb_status status  = run_on(&f, &row);
    pb_network_destroy(f.net);
    pb_method_destroy(f.method);
    pb_weights_close(f.weights);
    pb_backend_close(f.backend);
    return status;
}

/* The same, with what it writes into the log. */
static pb_status run_logged(pb_model *model, char log[TEXT])
{
    FILE *file = tmpfile();
    assert_non_null(file);
    int kept = dup(STDERR_FILENO);
    (void)dup2(fileno(file), STDERR_FILENO);
    pb_status status = run(model);
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

static void every_call_of_a_run_may_fail(void **state)
{
    static char log[TEXT];
    (void)state;
    pb_model *model = NULL;
    open_model(&model);
    assert_ok(run(model));
    size_t memory = pb_memory_current();
    int64_t first = fake_cuda_count().calls;
    assert_ok(run_logged(model, log));
    assert_string_equal(log, "");
    int64_t calls = fake_cuda_count().calls - first;
    int64_t ended = 0;
    for (int64_t n = 1; n <= calls; n++) {
        fake_cuda_fail(n);
        pb_status status = run_logged(model, log);
        fake_cuda_fail(0);
        if (status != PB_OK) {
            check_error(status, fake_cuda_failed(), pb_error_message());
            pb_error_clear();
            ended++;
        } else {
            check_warning(fake_cuda_failed(), log);
        }
        check_nothing_is_left(memory);
    }
    assert_ok(run(model)); /* nothing is left behind */
    print_message("%lld calls, %lld of them end the run\n", (long long)calls, (long long)ended);
    pb_model_close(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(steps_neither_allocate_nor_wait),
        cmocka_unit_test(every_call_of_a_run_may_fail),
    };
    return cmocka_run_group_tests_name("cuda_host_network", tests, NULL, NULL);
}
