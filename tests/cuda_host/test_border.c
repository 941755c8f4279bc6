// SPDX-License-Identifier: Apache-2.0
/* Networks whose low-rank parts ride in the products of the weights, against the same networks with
 * weights that have no borders; and whose the borders are where networks share weights. */
#include "fake_cuda.h"
#include "golden.h"
#include "network_fixture.h"
#include "waited.h"

#include "pb/usage.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The same sums in another order, and in BF16 without the rounding of what the part is added to. */
#define TOLERANCE_F32  1e-5
#define TOLERANCE_BF16 2e-2

#define EVERYWHERE "targets = [\"all-linear\"];"

static const method_case plain    = {"lora", "r = 8; alpha = 1.0; dropout = 0.0; " EVERYWHERE};
static const method_case dropping = {"lora", "r = 16; alpha = 1.0; dropout = 0.3; " EVERYWHERE};

/* Two layers of a family, and its weights with borders and without. */
typedef struct bases {
    network_fixture with, without; /* no method, no network */
} bases;

static void open_bases(bases *b, const char *family, bool bf16)
{
    char json[512];
    pb_model_config config = {0};
    pb_backend *be         = NULL;
    pb_model *model        = NULL;
    int length =
        snprintf(json, sizeof json,
                 "{\"architectures\": [\"%sForCausalLM\"], \"num_hidden_layers\": 2, "
                 "\"hidden_size\": 32, \"num_attention_heads\": 2, \"num_key_value_heads\": 1, "
                 "\"head_dim\": 16, \"intermediate_size\": 40, \"vocab_size\": %d, "
                 "\"pad_token_id\": 0, \"max_position_embeddings\": 64, \"rms_norm_eps\": 1e-5}",
                 family, NETWORK_VOCAB);
    assert_ok(pb_model_config_parse(json, (size_t)length, "test", &config));
    assert_ok(pb_model_open_random(&config, 7, 1, &model));
    assert_ok(pb_backend_open("cuda", 0, 1, &be));
    assert_ok(pb_backend_use_dtype(be, bf16 ? PB_DTYPE_BF16 : PB_DTYPE_F32));
    b->with    = (network_fixture){.backend = be, .model = model};
    b->without = b->with;
    assert_true(pb_backend_border(be) > 0);
    assert_ok(pb_weights_open(model, be, pb_backend_border(be), &b->with.weights));
    assert_ok(pb_weights_open(model, be, 0, &b->without.weights));
}

static void close_bases(bases *b)
{
    pb_weights_close(b->without.weights);
    network_fixture_close(&b->with);
}

typedef struct outcome {
    double loss;
    float *grads; /* of the method */
    int64_t count;
    int64_t launches;
} outcome;

static outcome step(network_fixture *f)
{
    network_rows rows;
    network_rows_fill(&rows);
    pb_batch batch = network_pack(f, rows.samples, NETWORK_ROWS, true);
    outcome o      = {.count = f->method->parameters};
    int64_t before = fake_cuda_count().launches;
    o.loss         = network_step(f, &batch, 4);
    o.launches     = fake_cuda_count().launches - before;
    o.grads        = host_values(f->backend, &f->method->grads);
    pb_batch_clear(&batch);
    return o;
}

static void assert_same_bits(const outcome *a, const outcome *b)
{
    assert_memory_equal(&a->loss, &b->loss, sizeof a->loss);
    assert_int_equal(a->count, b->count);
    assert_memory_equal(a->grads, b->grads, (size_t)a->count * sizeof *a->grads);
}

/* A step of the same method on one of the weights. */
static outcome step_of(const char *family, bool bf16, bool border, const method_case *c)
{
    bases b;
    network_fixture f;
    open_bases(&b, family, bf16);
    network_fixture_open_beside(&f, border ? &b.with : &b.without, c);
    outcome o = step(&f);
    network_fixture_close_beside(&f);
    close_bases(&b);
    return o;
}

static double error_of(const outcome *o, const outcome *reference)
{
    double loss     = fabs(o->loss - reference->loss) / reference->loss;
    double gradient = golden_error(o->grads, reference->grads, reference->count);
    return loss > gradient ? loss : gradient;
}

static void compare(const char *family, const method_case *c)
{
    outcome reference = step_of(family, false, false, c);
    for (int bf16 = 0; bf16 < 2; bf16++) {
        outcome riding = step_of(family, bf16 != 0, true, c);
        outcome apart  = step_of(family, bf16 != 0, false, c);
        double error   = error_of(&riding, &reference);
        print_message("%s %s %s: off by %.3g, apart %.3g; %d launches of %d\n", family,
                      bf16 != 0 ? "bf16" : "f32", c->options, error, error_of(&apart, &reference),
                      (int)riding.launches, (int)apart.launches);
        assert_true(error <= (bf16 != 0 ? TOLERANCE_BF16 : TOLERANCE_F32));
        assert_true(riding.launches < apart.launches);
        free(riding.grads);
        free(apart.grads);
    }
    free(reference.grads);
}

static void riding_parts_give_what_parts_apart_do(void **state)
{
    (void)state;
    compare("Llama", &plain);
    compare("Llama", &dropping);
    compare("Qwen3", &plain); /* norms of heads */
    compare("Phi3", &plain);  /* one product for q, k and v, one for gate and up */
}

static void networks_in_turn_find_their_own_parts(void **state)
{
    (void)state;
    bases b;
    network_fixture f[2];
    outcome first[2];
    open_bases(&b, "Llama", false);
    network_fixture_open_beside(&f[0], &b.with, &plain);
    network_fixture_open_beside(&f[1], &b.with, &dropping);
    for (int turn = 0; turn < 4; turn++) {
        outcome o = step(&f[turn % 2]);
        if (turn < 2) {
            first[turn] = o;
            continue;
        }
        assert_same_bits(&o, &first[turn % 2]);
        free(o.grads);
    }
    free(first[0].grads);
    free(first[1].grads);
    network_fixture_close_beside(&f[0]);
    /* A network that comes to lie where another one was finds nothing of it. */
    network_fixture_open_beside(&f[0], &b.with, &plain);
    outcome want = step(&f[0]);
    host_set(f[0].backend, &f[0].method->values, 0, 9.0f);
    pb_network_destroy(f[0].net);
    assert_ok(pb_network_create(f[0].weights, f[0].method, &f[0].net));
    outcome got = step(&f[0]);
    assert_true(got.loss != want.loss);
    free(got.grads);
    free(want.grads);
    network_fixture_close_beside(&f[0]);
    network_fixture_close_beside(&f[1]);
    close_bases(&b);
}

static void parts_are_written_when_values_have_changed(void **state)
{
    (void)state;
    bases b;
    network_fixture riding;
    network_fixture apart;
    open_bases(&b, "Llama", false);
    network_fixture_open_beside(&riding, &b.with, &plain);
    network_fixture_open_beside(&apart, &b.without, &plain);
    outcome first = step(&riding); /* writes them */
    outcome again = step(&riding);
    assert_same_bits(&again, &first);
    assert_int_equal(again.launches, first.launches - 1);
    for (int64_t i = 0; i < riding.method->parameters; i += 3) {
        host_set(riding.backend, &riding.method->values, i, 0.05f);
        host_set(apart.backend, &apart.method->values, i, 0.05f);
    }
    assert_ok(pb_method_values_changed(riding.method));
    outcome changed = step(&riding);
    outcome want    = step(&apart);
    assert_int_equal(changed.launches, first.launches);
    assert_true(fabs(changed.loss - first.loss) > 1e-3);
    assert_true(fabs(changed.loss - want.loss) <= TOLERANCE_F32 * want.loss);
    assert_true(golden_error(changed.grads, want.grads, want.count) <= TOLERANCE_F32);
    free(first.grads);
    free(again.grads);
    free(changed.grads);
    free(want.grads);
    network_fixture_close_beside(&riding);
    network_fixture_close_beside(&apart);
    close_bases(&b);
}

/* Of the same model: where B is zero, and where there is no method and no border. */
static void a_border_of_zeros_changes_no_bit(void **state)
{
    (void)state;
    for (int bf16 = 0; bf16 < 2; bf16++) {
        bases b;
        network_fixture f;
        network_rows rows;
        double with    = 0.0;
        double without = 0.0;
        open_bases(&b, "Llama", bf16 != 0);
        network_fixture_open_beside(&f, &b.with, &plain);
        for (int64_t i = 0; i < f.method->count; i++) {
            pb_trainable *t = &f.method->trainables[i];
            if (strstr(t->name, "lora_B") != NULL) {
                assert_ok(pb_zero(f.backend, &t->value));
            }
        }
        assert_ok(pb_method_values_changed(f.method));
        assert_ok(pb_network_create(b.without.weights, NULL, &b.without.net));
        network_rows_fill(&rows);
        pb_batch batch = network_pack(&f, rows.samples, NETWORK_ROWS, false);
        assert_ok(waited_loss(f.net, &batch, &with, NULL));
        assert_ok(waited_loss(b.without.net, &batch, &without, NULL));
        assert_true(with == without);
        pb_batch_clear(&batch);
        pb_network_destroy(b.without.net);
        network_fixture_close_beside(&f);
        close_bases(&b);
    }
}

/* Device memory of a network's passes. */
static size_t bytes_of(network_fixture *f)
{
    size_t before;
    size_t after;
    pb_backend_memory(f->backend, &before, NULL);
    pb_network_destroy(f->net);
    pb_backend_memory(f->backend, &after, NULL);
    f->net = NULL;
    return before - after;
}

static void activations_have_borders_only_where_a_part_rides(void **state)
{
    (void)state;
    static const method_case narrow = {"lora", "r = 4; dropout = 0.0; " EVERYWHERE};
    bases b;
    network_fixture f[3];
    open_bases(&b, "Llama", false);
    network_fixture_open_beside(&f[0], &b.with, &plain);
    network_fixture_open_beside(&f[1], &b.with, &narrow);
    network_fixture_open_beside(&f[2], &b.without, &narrow);
    size_t bytes[3];
    for (int i = 0; i < 3; i++) {
        free(step(&f[i]).grads);
        bytes[i] = bytes_of(&f[i]);
        network_fixture_close_beside(&f[i]);
    }
    assert_true(bytes[0] > bytes[1]);
    assert_int_equal(bytes[1], bytes[2]);
    assert_true(pb_weights_bytes(b.with.weights) > pb_weights_bytes(b.without.weights));
    close_bases(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(riding_parts_give_what_parts_apart_do),
        cmocka_unit_test(networks_in_turn_find_their_own_parts),
        cmocka_unit_test(parts_are_written_when_values_have_changed),
        cmocka_unit_test(a_border_of_zeros_changes_no_bit),
        cmocka_unit_test(activations_have_borders_only_where_a_part_rides),
    };
    return cmocka_run_group_tests_name("cuda_host_border", tests, NULL, NULL);
}
