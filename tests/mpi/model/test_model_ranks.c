// SPDX-License-Identifier: Apache-2.0
/* A checkpoint opened by a group: 16-bit weights are converted once per node into a window and
 * equal those of a private model, and a failure on any rank is a failure on all. */
#include "fixture.h"

#include "pb/comm.h"
#include "pb/memory.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static pb_comm *comm;

static bool is_root(void)
{
    return pb_comm_rank(comm) == 0;
}

/* Rank 0's folder, on all ranks. */
static void share_folder(char *path, size_t size)
{
    if (is_root()) {
        snprintf(path, size, "%s", fixture_folder());
    }
    assert_int_equal(pb_comm_broadcast(comm, path, size, 0), PB_OK);
}

/* A checkpoint made by rank 0, with its weights rounded to BF16 if `bf16`. */
static void make_model(const char *name, bool bf16, float poison)
{
    if (is_root()) {
        pb_model *model        = NULL;
        pb_model_config config = fixture_config();
        pb_tensor weights[16];
        static uint16_t halves[16][256];
        static float floats[256];
        assert_int_equal(pb_model_open_random(&config, 11, 1, &model), PB_OK);
        assert_true(pb_model_site_count(model) <= 16);
        for (int64_t i = 0; i < pb_model_site_count(model); i++) {
            weights[i] = pb_model_site_at(model, i)->weight;
            if (bf16) {
                assert_true(pb_tensor_count(&weights[i]) <= 256);
                for (int64_t k = 0; k < pb_tensor_count(&weights[i]); k++) {
                    halves[i][k] = pb_f32_to_bf16(((const float *)weights[i].data)[k]);
                }
                weights[i].data  = halves[i];
                weights[i].dtype = PB_DTYPE_BF16;
            }
        }
        if (poison != 0.0f) {
            weights[2].data = floats;
            floats[5]       = poison;
        }
        assert_int_equal(pb_model_save(fixture_path(name), &config, NULL, weights, NULL), PB_OK);
        pb_model_close(model);
    }
    assert_int_equal(pb_comm_barrier(comm), PB_OK);
}

static void expect_equal(const char *path)
{
    pb_model *shared  = NULL;
    pb_model *private = NULL;
    char texts[2][PB_HASH_TEXT];
    assert_int_equal(pb_model_open(path, comm, 1, &shared), PB_OK);
    assert_int_equal(pb_model_open(path, NULL, 1, &private), PB_OK);
    for (int64_t i = 0; i < pb_model_site_count(private); i++) {
        const pb_tensor *a = &pb_model_site_at(shared, i)->weight;
        const pb_tensor *b = &pb_model_site_at(private, i)->weight;
        assert_true(pb_tensor_same_shape(a, b));
        assert_memory_equal(a->data, b->data, pb_tensor_bytes(a));
    }
    assert_int_equal(pb_model_bytes(shared), pb_model_bytes(private));
    assert_int_equal(pb_model_hash(shared, texts[0]), PB_OK);
    assert_int_equal(pb_model_hash(private, texts[1]), PB_OK);
    assert_string_equal(texts[0], texts[1]);
    pb_model_close(private);
    pb_model_close(shared);
}

static void shared_weights_are_those_of_a_private_model(void **state)
{
    (void)state;
    char folder[4096];
    char path[4200];
    size_t held = pb_memory_current();
    share_folder(folder, sizeof folder);
    for (int bf16 = 0; bf16 < 2; bf16++) {
        const char *name = bf16 ? "ranks_bf16" : "ranks_f32";
        make_model(name, bf16, 0.0f);
        snprintf(path, sizeof path, "%s/%s", folder, name);
        expect_equal(path);
    }
    assert_int_equal(pb_memory_current(), held);
}

/* Only the filler of the node accounts for the window. */
static void converted_weights_are_accounted_once_per_node(void **state)
{
    (void)state;
    char folder[4096];
    char path[4200];
    pb_model *model = NULL;
    share_folder(folder, sizeof folder);
    make_model("ranks_once", true, 0.0f);
    snprintf(path, sizeof path, "%s/ranks_once", folder);
    int64_t before = (int64_t)pb_memory_current();
    assert_int_equal(pb_model_open(path, comm, 1, &model), PB_OK);
    int64_t grown = (int64_t)pb_memory_current() - before;
    int64_t bytes = (int64_t)pb_model_bytes(model);
    /* The memory of every rank besides the weights: the list of sites and names. */
    int64_t own = (int64_t)sizeof(pb_site) * pb_model_site_count(model) + 8192;
    int64_t sum = grown;
    assert_int_equal(pb_comm_reduce_sum(comm, &sum, 1), PB_OK);
    int64_t nodes = pb_comm_node_rank(comm) == 0;
    assert_int_equal(pb_comm_reduce_sum(comm, &nodes, 1), PB_OK);
    assert_true(sum >= nodes * bytes);
    assert_true(sum <= nodes * (bytes + 4096) + pb_comm_size(comm) * own);
    assert_true(pb_comm_node_rank(comm) == 0 || grown <= own);
    pb_model_close(model);
    assert_int_equal(pb_memory_current(), before);
}

static void failures_are_the_same_on_all_ranks(void **state)
{
    (void)state;
    char folder[4096];
    char path[4200];
    pb_model *model = NULL;
    size_t held     = pb_memory_current();
    share_folder(folder, sizeof folder);
    snprintf(path, sizeof path, "%s/absent", folder);
    fixture_expect(pb_model_open(path, comm, 1, &model), PB_ERR_NOT_FOUND, "absent/config.json",
                   NULL);

    /* The scan runs on one rank of the node; the others learn of it. */
    make_model("ranks_nan", false, NAN);
    snprintf(path, sizeof path, "%s/ranks_nan", folder);
    fixture_expect(pb_model_open(path, comm, 1, &model), PB_ERR_NUMERIC, "value 5", "ranks_nan",
                   NULL);

    make_model("ranks_lost", true, 0.0f);
    if (is_root()) {
        assert_int_equal(unlink(fixture_path("ranks_lost/model.safetensors")), 0);
    }
    assert_int_equal(pb_comm_barrier(comm), PB_OK);
    snprintf(path, sizeof path, "%s/ranks_lost", folder);
    fixture_expect(pb_model_open(path, comm, 1, &model), PB_ERR_NOT_FOUND, "ranks_lost", NULL);
    assert_null(model);
    assert_int_equal(pb_memory_current(), held);
}

/* The last rank gives a folder that does not exist: no rank opens the model. */
static void one_rank_that_fails_fails_all(void **state)
{
    (void)state;
    char folder[4096];
    char path[4200];
    pb_model *model = NULL;
    share_folder(folder, sizeof folder);
    make_model("ranks_good", true, 0.0f);
    bool last = pb_comm_rank(comm) == pb_comm_size(comm) - 1;
    snprintf(path, sizeof path, "%s/%s", folder, last ? "ranks_bad" : "ranks_good");
    fixture_expect(pb_model_open(path, comm, 1, &model), PB_ERR_NOT_FOUND, "ranks_bad", NULL);
    assert_null(model);
}

/* Ranks that see models of different sizes must not share a window. */
static void different_models_on_different_ranks_are_refused(void **state)
{
    (void)state;
    char folder[4096];
    char path[4200];
    pb_model *model = NULL;
    if (pb_comm_size(comm) == 1) {
        return;
    }
    share_folder(folder, sizeof folder);
    make_model("ranks_one", true, 0.0f);
    if (is_root()) {
        pb_model_config config = fixture_config();
        config.layers          = 2;
        fixture_model("ranks_two", &config);
    }
    assert_int_equal(pb_comm_barrier(comm), PB_OK);
    snprintf(path, sizeof path, "%s/%s", folder, is_root() ? "ranks_two" : "ranks_one");
    fixture_expect(pb_model_open(path, comm, 1, &model), PB_ERR_FORMAT, "different sizes", NULL);
    assert_null(model);
}

static int finish(void **state)
{
    (void)state;
    if (pb_comm_barrier(comm) != PB_OK) {
        return 1;
    }
    if (is_root()) {
        fixture_remove();
    }
    return 0;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shared_weights_are_those_of_a_private_model),
        cmocka_unit_test(converted_weights_are_accounted_once_per_node),
        cmocka_unit_test(failures_are_the_same_on_all_ranks),
        cmocka_unit_test(one_rank_that_fails_fails_all),
        cmocka_unit_test(different_models_on_different_ranks_are_refused),
    };
    if (pb_comm_open(&argc, &argv, &comm) != PB_OK) {
        fprintf(stderr, "%s\n", pb_error_message());
        return 1;
    }
    int failed = cmocka_run_group_tests(tests, NULL, finish);
    pb_comm_close(comm);
    return failed;
}
