// SPDX-License-Identifier: Apache-2.0
/* A network on the backend: steps that neither allocate nor wait, for each kind of layer. */
#include "fake_cuda.h"
#include "network_fixture.h"

#include "pb/train.h"

#include <string.h>

enum { STEPS = 4, ROWS = 2 };

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
    pb_train_data data = {.train = rows.samples, .train_count = ROWS};
    assert_ok(pb_config_defaults(pb_train_fields, &options));
    options.max_steps = STEPS;
    options.batch     = ROWS;
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
    network_small_model(&f.model);
    assert_ok(network_open_on(&f, "cuda", PB_DTYPE_BF16, c));
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

/* A layer that sees all keys between two that see few. */
static const char windows[] =
    "{\"architectures\": [\"Gemma3ForCausalLM\"], \"num_hidden_layers\": 3, \"hidden_size\": 16, "
    "\"num_attention_heads\": 1, \"num_key_value_heads\": 1, \"head_dim\": 64, "
    "\"intermediate_size\": 24, \"vocab_size\": 40, \"max_position_embeddings\": 512, "
    "\"hidden_activation\": \"gelu_pytorch_tanh\", \"rms_norm_eps\": 1e-6, "
    "\"sliding_window\": 8, \"sliding_window_pattern\": 2, \"query_pre_attn_scalar\": 64}";

enum { SHARED = 192, TAILS = 100 };

/* Keys that many rows share, so that sums of their gradients take memory, in one of the layers more
 * than in the others and than any product. */
static void every_kind_of_layer_is_reserved_for(void **state)
{
    static int32_t ids[TAILS][SHARED + 2], labels[TAILS][SHARED + 2];
    pb_sample rows[TAILS];
    pb_model_config config = {0};
    pb_batch batch         = {0};
    pb_tensor number       = {0};
    network_fixture f      = {0};
    (void)state;
    for (int i = 0; i < TAILS; i++) {
        for (int k = 0; k < SHARED + 2; k++) {
            ids[i][k]    = (k < SHARED ? k : i + k) % NETWORK_VOCAB;
            labels[i][k] = k < SHARED ? PB_LABEL_NONE : ids[i][k];
        }
        rows[i] = (pb_sample){.ids = ids[i], .labels = labels[i], .length = SHARED + 2};
    }
    assert_ok(pb_model_config_parse(windows, strlen(windows), "test", &config));
    assert_ok(pb_model_open_random(&config, 7, 1, &f.model));
    assert_ok(network_open_on(&f, "cuda", PB_DTYPE_BF16,
                              &(method_case){"lora", "r = 8; dropout = 0.0;"}));
    pb_batch_options packing = pb_network_batch_options(f.net, true);
    assert_ok(pb_batch_build(rows, TAILS, &packing, &batch));
    assert_ok(pb_backend_vector(f.backend, PB_DTYPE_F64, 1, &number));
    assert_ok(pb_network_reserve(f.net, &batch));
    int64_t before = fake_cuda_count().allocations;
    assert_ok(pb_network_step(f.net, &batch, 1.0, 0, &number));
    assert_int_equal(fake_cuda_count().allocations, before);
    pb_backend_free(f.backend, number.data);
    pb_batch_clear(&batch);
    network_fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(steps_neither_allocate_nor_wait),
        cmocka_unit_test(every_kind_of_layer_is_reserved_for),
    };
    return cmocka_run_group_tests_name("cuda_host_network", tests, NULL, NULL);
}
