// SPDX-License-Identifier: Apache-2.0
/* Opening checkpoints: sites, names, tied heads, biases, conversion, hash. The checkpoints are made
 * here. */
#include "tensor_list.h"

#include "pb/file.h"
#include "pb/memory.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static void sites_have_names_sizes_and_an_order(void **state)
{
    (void)state;
    pb_model *model        = NULL;
    pb_model_config config = fixture_config();
    config.layers          = 2;
    assert_int_equal(pb_model_open_shape(&config, &model), PB_OK);
    assert_int_equal(pb_model_site_count(model), 2 * 9 + 3);
    const pb_site *k = pb_model_site(model, PB_SITE_K, 1);
    assert_string_equal(k->name, "layers.1.attn.k");
    assert_string_equal(k->hf_name, "model.layers.1.self_attn.k_proj");
    assert_int_equal(k->out, 4);
    assert_int_equal(k->in, 8);
    assert_int_equal(k->layer, 1);
    assert_true(pb_tensor_is_none(&k->weight));
    const pb_site *down = pb_model_site(model, PB_SITE_DOWN, 0);
    assert_string_equal(down->name, "layers.0.mlp.down");
    assert_string_equal(down->hf_name, "model.layers.0.mlp.down_proj");
    assert_int_equal(down->out, 8);
    assert_int_equal(down->in, 12);
    assert_string_equal(pb_model_site(model, PB_SITE_MLP_NORM, 0)->hf_name,
                        "model.layers.0.post_attention_layernorm");
    assert_string_equal(pb_model_site(model, PB_SITE_FINAL_NORM, 0)->hf_name, "model.norm");
    assert_int_equal(pb_model_site(model, PB_SITE_FINAL_NORM, 0)->layer, -1);
    assert_int_equal(pb_model_site(model, PB_SITE_EMBEDDING, 0)->out, 16);
    assert_string_equal(pb_model_site(model, PB_SITE_HEAD, 0)->hf_name, "lm_head");
    for (int64_t i = 0; i < pb_model_site_count(model); i++) {
        const pb_site *site = pb_model_site_at(model, i);
        assert_int_equal(site->index, i);
        assert_ptr_equal(pb_model_site(model, site->kind, site->layer), site);
    }
    assert_null(pb_model_site(model, PB_SITE_Q_NORM, 0));
    assert_null(pb_model_site(model, PB_SITE_QKV, 0));
    pb_model_close(model);
}

static void a_saved_model_opens_with_the_same_bits(void **state)
{
    (void)state;
    pb_model *made         = NULL;
    pb_model *read         = NULL;
    size_t held            = pb_memory_current();
    pb_model_config config = fixture_config();
    config.qkv_bias        = true;
    config.o_bias          = true;
    config.mlp_bias        = true;
    config.rope.type       = PB_ROPE_LLAMA3;
    config.rope.theta      = 500000.0;
    config.rope.factor     = 8.0;
    config.rope.low_freq   = 1.1;
    config.rope.high_freq  = 4.0;
    config.eos_count       = 2;
    config.eos_ids[1]      = 3;
    config.bos_id          = -1;

    config.rope.original_positions = 64;
    config.rope_sliding            = config.rope;

    const char *path = fixture_model("saved", &config);
    assert_int_equal(pb_model_open_random(&config, 7, 1, &made), PB_OK);
    assert_int_equal(pb_model_open(path, NULL, 1, &read), PB_OK);
    fixture_expect_equal(pb_model_get_config(read), &config);
    assert_string_equal(pb_model_directory(read), path);
    assert_string_equal(pb_model_directory(made), "");
    assert_int_equal(pb_model_bytes(read), pb_model_parameters(read) * 4);
    for (int64_t i = 0; i < pb_model_site_count(made); i++) {
        const pb_site *a = pb_model_site_at(made, i);
        const pb_site *b = pb_model_site_at(read, i);
        assert_true(pb_tensor_same_shape(&a->weight, &b->weight));
        assert_memory_equal(a->weight.data, b->weight.data, pb_tensor_bytes(&a->weight));
        assert_true(pb_tensor_same_shape(&a->bias, &b->bias));
        assert_int_equal(pb_tensor_is_none(&b->bias), b->kind > PB_SITE_DOWN);
    }
    pb_model_close(made);
    pb_model_close(read);
    assert_int_equal(pb_memory_current(), held);
}

static void random_weights_depend_on_the_seed_alone(void **state)
{
    (void)state;
    pb_model *models[3]    = {NULL};
    pb_model_config config = fixture_config();
    const uint64_t seeds[] = {5, 5, 6};
    config.vocab           = 4000;
    double sum             = 0.0;
    double squares         = 0.0;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(pb_model_open_random(&config, seeds[i], i + 1, &models[i]), PB_OK);
    }
    const pb_tensor *x = &pb_model_site(models[0], PB_SITE_EMBEDDING, 0)->weight;
    const pb_tensor *y = &pb_model_site(models[1], PB_SITE_EMBEDDING, 0)->weight;
    const pb_tensor *z = &pb_model_site(models[2], PB_SITE_EMBEDDING, 0)->weight;
    assert_memory_equal(x->data, y->data, pb_tensor_bytes(x));
    assert_memory_not_equal(x->data, z->data, pb_tensor_bytes(x));
    for (int64_t i = 0; i < pb_tensor_count(x); i++) {
        sum += ((const float *)x->data)[i];
        squares += (double)((const float *)x->data)[i] * ((const float *)x->data)[i];
    }
    double n = (double)pb_tensor_count(x);
    assert_true(fabs(sum / n) < 5 * 0.02 / sqrt(n));
    assert_true(fabs(sqrt(squares / n) - 0.02) < 0.001);
    assert_true(((float *)pb_model_site(models[0], PB_SITE_ATTN_NORM, 0)->weight.data)[3] == 1.0f);
    for (int i = 0; i < 3; i++) {
        pb_model_close(models[i]);
    }
}

static void a_tied_head_is_the_embedding_and_counts_once(void **state)
{
    (void)state;
    pb_model *model        = NULL;
    pb_model_config config = fixture_config();
    int64_t untied         = 0;
    assert_int_equal(pb_model_open_shape(&config, &model), PB_OK);
    untied = pb_model_parameters(model);
    pb_model_close(model);

    config.tied      = true;
    const char *path = fixture_model("tied", &config);
    assert_int_equal(pb_model_open(path, NULL, 1, &model), PB_OK);
    assert_ptr_equal(pb_model_site(model, PB_SITE_HEAD, 0)->weight.data,
                     pb_model_site(model, PB_SITE_EMBEDDING, 0)->weight.data);
    assert_int_equal(pb_model_parameters(model), untied - 16 * 8);
    pb_model_close(model);

    /* A copy of the embedding as the head in the file of a tied model is not used. */
    tensor_list list;
    float copy[16 * 8];
    list_open(&list, path);
    const pb_tensor *embedding = &list_find(&list, "model.embed_tokens.weight")->tensor;
    memcpy(copy, embedding->data, sizeof copy);
    list.items[list.count++] =
        (pb_named_tensor){"lm_head.weight", pb_tensor_2d(copy, PB_DTYPE_F32, 16, 8)};
    list_write(&list, path);
    assert_int_equal(pb_model_open(path, NULL, 1, &model), PB_OK);
    assert_ptr_equal(pb_model_site(model, PB_SITE_HEAD, 0)->weight.data,
                     pb_model_site(model, PB_SITE_EMBEDDING, 0)->weight.data);
    pb_model_close(model);

    /* Another one contradicts the configuration. */
    copy[77] += 1.0f;
    list_open(&list, path);
    list_find(&list, "lm_head.weight")->tensor.data = copy;
    list_write(&list, path);
    expect_open_fails(path, PB_ERR_FORMAT, "lm_head.weight", "tie_word_embeddings");
}

static void a_tied_matrix_may_stand_under_the_name_of_the_head(void **state)
{
    (void)state;
    pb_model *model        = NULL;
    pb_model_config config = fixture_config();
    tensor_list list;
    config.tied      = true;
    const char *path = fixture_model("renamed", &config);
    list_open(&list, path);
    pb_named_tensor *table = list_find(&list, "model.embed_tokens.weight");
    float first            = ((const float *)table->tensor.data)[0];
    table->name            = "lm_head.weight";
    list_write(&list, path);
    assert_int_equal(pb_model_open(path, NULL, 1, &model), PB_OK);
    const pb_tensor *embedding = &pb_model_site(model, PB_SITE_EMBEDDING, 0)->weight;
    assert_true(((const float *)embedding->data)[0] == first);
    assert_ptr_equal(pb_model_site(model, PB_SITE_HEAD, 0)->weight.data, embedding->data);
    pb_model_close(model);

    /* If the head is a separate matrix, neither replaces the other. */
    config.tied = false;
    path        = fixture_model("untied", &config);
    list_open(&list, path);
    list_remove(&list, "lm_head.weight");
    list_write(&list, path);
    expect_open_fails(path, PB_ERR_NOT_FOUND, "lm_head.weight", "set it to true");
}

static void a_prefix_that_nobody_knows_is_shown(void **state)
{
    (void)state;
    static char names[32][80];
    pb_model_config config = fixture_config();
    tensor_list list;
    const char *path = fixture_model("prefix", &config);
    list_open(&list, path);
    for (int64_t i = 0; i < list.count; i++) {
        snprintf(names[i], sizeof names[i], "module.%s", list.items[i].name);
        list.items[i].name = names[i];
    }
    list_write(&list, path);
    expect_open_fails(path, PB_ERR_NOT_FOUND, "model.embed_tokens.weight is missing",
                      "there is module.model.embed_tokens.weight");
}

static void generation_ends_where_its_own_file_says(void **state)
{
    (void)state;
    pb_model_config config = fixture_config();
    pb_model_config read   = {0};
    char path[1024];
    static const char good[] = "{\"eos_token_id\": [2, 5]}";
    static const char bad[]  = "{\"eos_token_id\": 16}";
    const char *folder       = fixture_model("generation", &config);
    snprintf(path, sizeof path, "%s/generation_config.json", folder);
    fixture_write(path, good, strlen(good));
    assert_int_equal(pb_model_config_read(folder, &read), PB_OK);
    assert_int_equal(read.eos_count, 2);
    assert_int_equal(read.eos_ids[1], 5);
    fixture_write(path, bad, strlen(bad));
    fixture_expect(pb_model_config_read(folder, &read), PB_ERR_FORMAT, "generation_config.json",
                   "eos_token_id", NULL);
}

static void names_without_the_first_part_and_stored_frequencies_are_accepted(void **state)
{
    (void)state;
    tensor_list list;
    pb_model *model        = NULL;
    float frequencies[2]   = {1.0f, 0.01f};
    pb_model_config config = fixture_config();
    config.tied            = true;
    const char *path       = fixture_model("bare", &config);
    list_open(&list, path);
    for (int64_t i = 0; i < list.count; i++) {
        list.items[i].name += strlen("model.");
    }
    list.items[list.count++] = (pb_named_tensor){"layers.0.self_attn.rotary_emb.inv_freq",
                                                 pb_tensor_1d(frequencies, PB_DTYPE_F32, 2)};
    list_write(&list, path);
    assert_int_equal(pb_model_open(path, NULL, 1, &model), PB_OK);
    assert_false(pb_tensor_is_none(&pb_model_site(model, PB_SITE_Q, 0)->weight));
    pb_model_close(model);
}

/* Writes the fixture's weights in another dtype, except for one norm that stays F32. */
static const char *write_as(pb_dtype dtype, tensor_list *list, unsigned char *room, size_t size)
{
    pb_model_config config = fixture_config();
    const char *path       = fixture_model(pb_dtype_name(dtype), &config);
    size_t used            = 0;
    list_open(list, path);
    for (int64_t i = 0; i < list->count; i++) {
        pb_tensor *t   = &list->items[i].tensor;
        const float *x = t->data;
        if (strcmp(list->items[i].name, "model.norm.weight") == 0) {
            continue;
        }
        t->data  = room + used;
        t->dtype = dtype;
        used += pb_tensor_bytes(t);
        assert_true(used <= size);
        for (int64_t k = 0; k < pb_tensor_count(t); k++) {
            if (dtype == PB_DTYPE_BF16) {
                ((uint16_t *)t->data)[k] = pb_f32_to_bf16(x[k]);
            } else if (dtype == PB_DTYPE_F64) {
                ((double *)t->data)[k] = (double)x[k];
            } else {
                ((unsigned char *)t->data)[k] = (unsigned char)(k % 0x7f); /* no NaN */
            }
        }
    }
    list_write(list, path);
    return path;
}

static void sixteen_bit_weights_are_used_where_they_are_mapped(void **state)
{
    (void)state;
    tensor_list list;
    pb_model *model = NULL;
    static unsigned char room[65536];
    const char *path        = write_as(PB_DTYPE_BF16, &list, room, sizeof room);
    size_t held             = pb_memory_current();
    const pb_named_tensor q = *list_find(&list, "model.layers.0.self_attn.q_proj.weight");
    const pb_named_tensor n = *list_find(&list, "model.layers.0.input_layernorm.weight");
    assert_int_equal(pb_model_open(path, NULL, 2, &model), PB_OK);
    const pb_tensor *held_q = &pb_model_site(model, PB_SITE_Q, 0)->weight;
    const pb_tensor *held_n = &pb_model_site(model, PB_SITE_ATTN_NORM, 0)->weight;
    assert_int_equal(held_q->dtype, PB_DTYPE_BF16);
    assert_memory_equal(held_q->data, q.tensor.data, pb_tensor_bytes(held_q));
    assert_int_equal(held_n->dtype, PB_DTYPE_F32);
    for (int64_t k = 0; k < pb_tensor_count(held_n); k++) {
        assert_true(((const float *)held_n->data)[k] ==
                    pb_bf16_to_f32(((const uint16_t *)n.tensor.data)[k]));
    }
    assert_true(((const float *)pb_model_site(model, PB_SITE_FINAL_NORM, 0)->weight.data)[0] ==
                1.0f);
    pb_model_close(model);
    assert_int_equal(pb_memory_current(), held);
}

static void other_floats_are_converted(void **state)
{
    (void)state;
    static const pb_dtype dtypes[] = {PB_DTYPE_F64, PB_DTYPE_F8_E4M3};
    static unsigned char room[65536];
    for (size_t d = 0; d < sizeof dtypes / sizeof dtypes[0]; d++) {
        tensor_list list;
        pb_model *model  = NULL;
        const char *path = write_as(dtypes[d], &list, room, sizeof room);
        size_t held      = pb_memory_current();
        assert_int_equal(pb_model_open(path, NULL, 1, &model), PB_OK);
        const pb_tensor *q    = &pb_model_site(model, PB_SITE_Q, 0)->weight;
        const pb_tensor *from = &list_find(&list, "model.layers.0.self_attn.q_proj.weight")->tensor;
        static float expected[4096];
        assert_true(pb_tensor_count(from) <= 4096);
        pb_floats_to_f32(expected, from->data, dtypes[d], pb_tensor_count(from));
        assert_int_equal(q->dtype, PB_DTYPE_F32);
        assert_memory_equal(q->data, expected, pb_tensor_bytes(q));
        pb_model_close(model);
        assert_int_equal(pb_memory_current(), held);
    }
}

static void the_hash_covers_configuration_and_weights(void **state)
{
    (void)state;
    char text[4][PB_HASH_TEXT];
    pb_model *model        = NULL;
    pb_model_config config = fixture_config();
    for (int i = 0; i < 4; i++) {
        tensor_list list;
        config.rms_eps   = i == 2 ? 1e-6 : 1e-5;
        const char *path = fixture_model(i == 1 ? "hash_b" : "hash_a", &config);
        if (i == 3) {
            list_open(&list, path);
            float *norm = list_find(&list, "model.norm.weight")->tensor.data;
            float values[8];
            memcpy(values, norm, sizeof values);
            values[7] = 1.5f;

            list_find(&list, "model.norm.weight")->tensor.data = values;
            list_write(&list, path);
        }
        assert_int_equal(pb_model_open(path, NULL, 1, &model), PB_OK);
        assert_int_equal(pb_model_hash(model, text[i]), PB_OK);
        pb_model_close(model);
    }
    assert_string_equal(text[0], text[1]); /* the folder's name is not part of it */
    assert_string_not_equal(text[0], text[2]);
    assert_string_not_equal(text[0], text[3]);
    assert_string_not_equal(text[2], text[3]);
    assert_int_equal(pb_model_open_random(&config, 1, 1, &model), PB_OK);
    fixture_expect(pb_model_hash(model, text[0]), PB_ERR_ARGUMENT, "no hash", NULL);
    pb_model_close(model);
}

static void saving_refuses_wrong_shapes_and_places(void **state)
{
    (void)state;
    pb_model *model        = NULL;
    pb_model_config config = fixture_config();
    pb_tensor weights[16]  = {{0}};
    assert_int_equal(pb_model_open_random(&config, 1, 1, &model), PB_OK);
    assert_true(pb_model_site_count(model) <= 16);
    for (int64_t i = 0; i < pb_model_site_count(model); i++) {
        weights[i] = pb_model_site_at(model, i)->weight;
    }
    fixture_write_text(fixture_path("a_file"), "x");
    fixture_expect(pb_model_save(fixture_path("a_file"), &config, NULL, weights, NULL), PB_ERR_IO,
                   "a_file", NULL);
    weights[0] = pb_tensor_rows(&weights[0], 0, 3);
    fixture_expect(pb_model_save(fixture_path("wrong"), &config, NULL, weights, NULL), PB_ERR_SHAPE,
                   "embed_tokens", "[3, 8]", "[16, 8]", NULL);
    assert_false(pb_path_exists(fixture_path("wrong")));
    pb_model_close(model);
}

static void the_rope_table_holds_cosines_then_sines(void **state)
{
    (void)state;
    float table[3 * 4];
    pb_model_config config = fixture_config();
    assert_int_equal(pb_model_rope_table(&config.rope, config.head_dim, 3, table), PB_OK);
    for (int p = 0; p < 3; p++) {
        assert_true(table[p * 4] == (float)cos(p));
        assert_true(table[p * 4 + 1] == (float)cos(p * 0.01));
        assert_true(table[p * 4 + 2] == (float)sin(p));
        assert_true(table[p * 4 + 3] == (float)sin(p * 0.01));
    }
    /* Frequencies 1 and 0.01 have wave lengths of 6.28 and 628 positions; in a context of 64, the
     * first is short (below 64/4) and stays, the second is long (above 64/1) and is divided. */
    config.rope.type      = PB_ROPE_LLAMA3;
    config.rope.factor    = 8.0;
    config.rope.low_freq  = 1.0;
    config.rope.high_freq = 4.0;

    config.rope.original_positions = 64;
    assert_int_equal(pb_model_rope_table(&config.rope, config.head_dim, 3, table), PB_OK);
    assert_true(table[4] == (float)cos(1.0));
    assert_true(fabsf(table[7] - (float)sin(0.01 / 8.0)) < 1e-9f);
    fixture_expect(pb_model_rope_table(&config.rope, config.head_dim, -1, table), PB_ERR_ARGUMENT,
                   "-1", NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sites_have_names_sizes_and_an_order),
        cmocka_unit_test(a_saved_model_opens_with_the_same_bits),
        cmocka_unit_test(random_weights_depend_on_the_seed_alone),
        cmocka_unit_test(a_tied_head_is_the_embedding_and_counts_once),
        cmocka_unit_test(a_tied_matrix_may_stand_under_the_name_of_the_head),
        cmocka_unit_test(a_prefix_that_nobody_knows_is_shown),
        cmocka_unit_test(generation_ends_where_its_own_file_says),
        cmocka_unit_test(names_without_the_first_part_and_stored_frequencies_are_accepted),
        cmocka_unit_test(sixteen_bit_weights_are_used_where_they_are_mapped),
        cmocka_unit_test(other_floats_are_converted),
        cmocka_unit_test(the_hash_covers_configuration_and_weights),
        cmocka_unit_test(saving_refuses_wrong_shapes_and_places),
        cmocka_unit_test(the_rope_table_holds_cosines_then_sines),
    };
    return cmocka_run_group_tests(tests, NULL, fixture_finish);
}
