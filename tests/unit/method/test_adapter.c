// SPDX-License-Identifier: Apache-2.0
/* Adapter folders: written ones read back bit for bit, and each kind of damage has its message. */
#include "method_fixture.h"

#include "pb/adapter.h"
#include "pb/file.h"
#include "pb/memory.h"
#include "pb/utf8.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool has_file(const char *folder, const char *name)
{
    char *path = NULL;
    assert_ok(pb_path_join(folder, name, &path));
    bool there = pb_path_exists(path);
    pb_memory_free(path);
    return there;
}

/* An encoder left in the folder by an earlier adapter is not mistaken for this one's. */
static void a_left_over_encoder_is_removed(void **state)
{
    (void)state;
    method_fixture f;
    char folder[512];
    method_fixture_open(&f, false, false);
    method_fixture_folder(folder, sizeof folder);
    pb_method *m = method_fixture_make(&f, "prompt", "num_virtual_tokens = 3;", 4);
    method_fixture_write(folder, "encoder.safetensors", "left over from another adapter");
    assert_ok(pb_method_save(m, folder));
    assert_false(has_file(folder, "encoder.safetensors"));
    pb_method_destroy(m);
    method_fixture_remove(folder);
    method_fixture_close(&f);
}

static void a_method_without_a_form_of_file_is_refused(void **state)
{
    (void)state;
    method_fixture f;
    char folder[512], inside[600];
    method_fixture_open(&f, false, false);
    method_fixture_folder(folder, sizeof folder);
    (void)snprintf(inside, sizeof inside, "%s/adapter", folder);
    pb_method *m           = method_fixture_make(&f, "lora", "", 4);
    pb_method_ops nameless = *m->ops;
    nameless.peft_type     = NULL;
    m->ops                 = &nameless;
    assert_error(pb_method_save(m, inside), PB_ERR_UNSUPPORTED, "method lora cannot be saved");
    assert_false(has_file(folder, "adapter"));
    pb_method_destroy(m);
    method_fixture_remove(folder);
    method_fixture_close(&f);
}

static void lora_options_survive(void **state)
{
    (void)state;
    method_fixture f;
    char folder[512];
    pb_string before = {0}, after = {0};
    pb_method *back = NULL;
    method_fixture_open(&f, false, false);
    method_fixture_folder(folder, sizeof folder);
    pb_method *m = method_fixture_make(&f, "lora",
                                       "r = 3; alpha = 0.3; rslora = true; dropout = 0.25;"
                                       "targets = [\"k_proj\", \"q_proj\"];",
                                       4);
    assert_ok(pb_method_save(m, folder));
    assert_ok(pb_method_load(folder, NULL, f.model, f.backend, 4, &back));
    assert_ok(method_describe(m, &before));
    assert_ok(method_describe(back, &after));
    assert_string_equal(before.data, after.data);
    pb_string_clear(&before);
    pb_string_clear(&after);
    pb_method_destroy(back);
    pb_method_destroy(m);
    method_fixture_remove(folder);
    method_fixture_close(&f);
}

static void full_saves_a_checkpoint(void **state)
{
    (void)state;
    method_fixture f;
    char folder[512];
    pb_model *model = NULL;
    method_fixture_open(&f, true, false);
    method_fixture_folder(folder, sizeof folder);
    pb_method *m = method_fixture_make(&f, "full", "", 4);
    method_fixture_scatter(m, 1, 0.5);
    assert_ok(pb_method_save(m, folder));
    assert_ok(pb_model_open(folder, NULL, 1, &model));
    const pb_site *up     = pb_model_site(model, PB_SITE_UP, 1);
    const pb_trainable *t = method_fixture_find(m, "model.layers.1.mlp.up_proj.weight");
    assert_true(host_equal(f.backend, &up->weight, &t->value));
    pb_model_close(model);
    pb_method_destroy(m);
    m = method_fixture_make(&f, "none", "", 4);
    assert_error(pb_method_save(m, folder), PB_ERR_UNSUPPORTED, "nothing to save");
    pb_method_destroy(m);
    method_fixture_remove(folder);
    method_fixture_close(&f);
}

/* Without its file, the encoder's output is trained; a foreign encoder is refused. */
static void an_encoder_may_be_missing_but_not_foreign(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"ptuning", "num_virtual_tokens = 3; encoder_hidden_size = 5;"},
        {"prefix", "num_virtual_tokens = 3; encoder_hidden_size = 5;"},
    };
    for (size_t i = 0; i < 2; i++) {
        method_fixture f;
        char folder[512], other[512];
        char *from = NULL, *to = NULL;
        pb_method *back = NULL;
        method_fixture_open(&f, false, false);
        method_fixture_folder(folder, sizeof folder);
        method_fixture_folder(other, sizeof other);
        pb_method *m = method_fixture_make(&f, cases[i][0], cases[i][1], 4);
        assert_ok(pb_method_save(m, folder));
        method_fixture_scatter(m, 2, 0.5);
        assert_ok(pb_method_save(m, other));
        assert_ok(pb_path_join(other, "encoder.safetensors", &from));
        assert_ok(pb_path_join(folder, "encoder.safetensors", &to));

        assert_ok(pb_method_load(folder, from, f.model, f.backend, 1, &back));
        method_fixture_same(m, back);
        pb_method_destroy(back);
        back = NULL;
        assert_int_equal(rename(from, to), 0);
        assert_error(pb_method_load(folder, NULL, f.model, f.backend, 1, &back), PB_ERR_FORMAT,
                     "belongs to another adapter");
        assert_int_equal(remove(to), 0);
        assert_ok(pb_method_load(folder, NULL, f.model, f.backend, 1, &back));
        assert_int_equal(back->count, 1);
        assert_string_equal(back->trainables[0].name, "prompt_embeddings");
        assert_ok(pb_method_save(back, other));
        assert_false(has_file(other, "encoder.safetensors"));
        pb_method_destroy(back);
        pb_memory_free(from);
        pb_memory_free(to);
        pb_method_destroy(m);
        method_fixture_remove(folder);
        method_fixture_remove(other);
        method_fixture_close(&f);
    }
}

/* The places of the entries of a scattered pattern come from the file, not from the seed. */
static void positions_of_svft_come_from_the_file(void **state)
{
    (void)state;
    method_fixture f;
    char folder[512];
    pb_method *back = NULL;
    method_fixture_open(&f, false, false);
    method_fixture_folder(folder, sizeof folder);
    pb_method *m =
        method_fixture_make(&f, "svft", "pattern = \"random\"; targets = [\"q_proj\"];", 4);
    pb_trainable *at = &m->trainables[3];
    assert_string_equal(at->name,
                        "base_model.model.model.layers.0.self_attn.q_proj.svft_positions");
    assert_ok(pb_method_save(m, folder));
    assert_ok(pb_method_load(folder, NULL, f.model, f.backend, 9, &back));
    assert_true(host_equal(f.backend, &at->value, &back->trainables[3].value));
    pb_method_destroy(back);
    back = NULL;
    host_set(f.backend, &at->value, 5, 16.0f);
    assert_ok(pb_method_save(m, folder));
    assert_error(pb_method_load(folder, NULL, f.model, f.backend, 9, &back), PB_ERR_FORMAT,
                 "adapter_model.safetensors: base_model.model.model.layers.0.self_attn.q_proj."
                 "svft_positions holds 16; a position is a row and a column below 16");
    pb_method_destroy(m);
    method_fixture_remove(folder);
    method_fixture_close(&f);
}

#define LSTM(rest)                                                             \
    "{\"peft_type\": \"P_TUNING\", \"num_virtual_tokens\": 3, "                \
    "\"encoder_reparameterization_type\": \"LSTM\", \"encoder_hidden_size\": " \
    "5" rest "}"

/* Dropout acts between the layers of an LSTM, so it has no meaning with only one. */
static void an_lstm_encoder_has_no_dropout(void **state)
{
    (void)state;
    method_fixture f;
    char folder[512];
    pb_method *back = NULL;
    method_fixture_open(&f, false, false);
    method_fixture_folder(folder, sizeof folder);
    pb_method *m = method_fixture_make(&f, "ptuning",
                                       "num_virtual_tokens = 3; encoder = \"lstm\"; "
                                       "encoder_hidden_size = 5; encoder_num_layers = 1;",
                                       4);
    assert_ok(pb_method_save(m, folder));
    method_fixture_write(folder, "adapter_config.json",
                         LSTM(", \"encoder_num_layers\": 1, \"encoder_dropout\": 0.1"));
    assert_ok(pb_method_load(folder, NULL, f.model, f.backend, 1, &back));
    method_fixture_same(m, back);
    pb_method_destroy(back);
    back = NULL;
    method_fixture_write(folder, "adapter_config.json", LSTM(", \"encoder_dropout\": 0.1"));
    assert_error(pb_method_load(folder, NULL, f.model, f.backend, 1, &back), PB_ERR_UNSUPPORTED,
                 "encoder_dropout = 0.1");
    method_fixture_write(folder, "adapter_config.json", LSTM(", \"encoder_num_layers\": 65"));
    assert_error(pb_method_load(folder, NULL, f.model, f.backend, 1, &back), PB_ERR_FORMAT,
                 "encoder_num_layers is 65; it must be 1 … 64");
    pb_method_destroy(m);
    method_fixture_remove(folder);
    method_fixture_close(&f);
}

/* More characters of two bytes than a message shows. */
#define E10  "\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9"
#define LONG E10 E10 E10 E10 E10 E10 E10 E10 E10 E10 E10

#define LORA(rest)                                             \
    "{\"peft_type\": \"LORA\", \"r\": 3, \"lora_alpha\": 16, " \
    "\"target_modules\": [\"q_proj\"]" rest "}"

static void broken_configurations_are_named(void **state)
{
    (void)state;
    static const struct {
        const char *json;
        pb_status status;
        const char *text;
    } cases[] = {
        {"", PB_ERR_FORMAT, "invalid JSON"},
        {"{\"peft_type\": \"LORA\"", PB_ERR_FORMAT, "invalid JSON"},
        {"{\"peft_type\": \"LORA\", \"peft_type\": \"IA3\"}", PB_ERR_FORMAT, "invalid JSON"},
        {"[1]", PB_ERR_FORMAT, "JSON object"},
        {"{}", PB_ERR_FORMAT, "peft_type is missing"},
        {"{\"peft_type\": 3}", PB_ERR_FORMAT, "peft_type must be a string"},
        {"{\"peft_type\": \"LOHA\"}", PB_ERR_UNSUPPORTED, "known are LORA, ADALORA"},
        {"{\"peft_type\": \"LORA\", \"r\": 3}", PB_ERR_FORMAT, "target_modules is missing"},
        {"{\"peft_type\": \"LORA\", \"r\": 3, \"target_modules\": [1]}", PB_ERR_FORMAT,
         "list of strings"},
        {"{\"peft_type\": \"LORA\", \"r\": 0, \"target_modules\": [\"q_proj\"]}", PB_ERR_FORMAT,
         "r is 0"},
        {"{\"peft_type\": \"LORA\", \"r\": \"3\", \"target_modules\": "
         "[\"q_proj\"]}",
         PB_ERR_FORMAT, "r must be an integer"},
        {"{\"peft_type\": \"LORA\", \"r\": 3, \"target_modules\": [\"c_attn\"]}", PB_ERR_FORMAT,
         "adapter_config.json: target_modules: lora: target \"c_attn\" matches no module"},
        {"{\"peft_type\": \"LORA\", \"r\": 3, \"target_modules\": [\"embed_tokens\"]}",
         PB_ERR_FORMAT,
         "adapter_config.json: target_modules: lora: target \"embed_tokens\" matches no module"},
        {"{\"peft_type\": \"LORA\", \"r\": 3, \"target_modules\": []}", PB_ERR_FORMAT,
         "adapter_config.json: target_modules is empty"},
        {"{\"peft_type\": \"LORA\", \"lora_alpha\": null, \"target_modules\": [\"q_proj\"]}",
         PB_ERR_FORMAT, "adapter_config.json: lora_alpha is null"},
        {"{\"peft_type\": \"IA3\", \"target_modules\": [\"k_proj\"], \"feedforward_modules\": "
         "[\"down_proj\"]}",
         PB_ERR_FORMAT,
         "adapter_config.json: feedforward_modules: ia3: feedforward \"down_proj\" is not among "
         "the "
         "targets"},
        {"{\"peft_type\": \"ADALORA\", \"target_modules\": [\"q_proj\"], \"init_r\": 1, "
         "\"target_r\": 1, \"rank_pattern\": {\"model.layers.0.mlp.up_proj.lora_E\": [true]}}",
         PB_ERR_FORMAT,
         "adapter_config.json: rank_pattern: adalora: rank_pattern names "
         "model.layers.0.mlp.up_proj, which is "
         "not a target"},
        {LORA(", \"use_dora\": 1"), PB_ERR_FORMAT, "use_dora must be true or false"},
        {LORA(", \"rank_pattern\": {\"q_proj\": \"2\"}"), PB_ERR_FORMAT,
         "rank_pattern must be an object of numbers"},
        {LORA(", \"rank_pattern\": {\"q_proj\": 2.5}"), PB_ERR_FORMAT,
         "\"q_proj=2.5\" is not a pattern, =, and a whole number of 1"},
        {LORA(", \"rank_pattern\": [3]"), PB_ERR_FORMAT, "rank_pattern must be an object"},
        {LORA(", \"alpha_pattern\": {\"q_(proj\": 2}"), PB_ERR_FORMAT,
         "adapter_config.json: alpha_pattern: the regular expression \"q_(proj\" has a ( without "
         "its "
         ") (byte 7)"},
        {LORA(", \"layers_to_transform\": [3]"), PB_ERR_FORMAT,
         "layer 3 is not in this model, which has 0 … 2"},
        {LORA(", \"layers_to_transform\": \"0\""), PB_ERR_FORMAT,
         "layers_to_transform must be a whole number from 0, or a list"},
        {LORA(", \"layers_pattern\": \"layers\""), PB_ERR_FORMAT,
         "layers_pattern is given without layers_to_transform"},
        {LORA(", \"layers_to_transform\": 0, \"layers_pattern\": \"h)\""), PB_ERR_FORMAT,
         "adapter_config.json: layers_pattern: the regular expression \"h)\" has a ) without its ( "
         "(byte"},
        {LORA(", \"exclude_modules\": [\"q_proj\"]"), PB_ERR_FORMAT,
         "layers and exclude leave none of the targets"},
        {LORA(", \"exclude_modules\": 3"), PB_ERR_FORMAT,
         "exclude_modules must be a string or a list of strings"},
        {"{\"peft_type\": \"LORA\", \"target_modules\": \".*x_proj\"}", PB_ERR_FORMAT,
         "lora: target \".*x_proj\" matches no module"},
        {"{\"peft_type\": \"LORA\", \"target_modules\": \"([a-z._0-9]+)+[!?]\"}", PB_ERR_FORMAT,
         "adapter_config.json: target_modules: the regular expression \"([a-z._0-9]+)+[!?]\": "
         "match limit "
         "exceeded; nest no repetitions in it"},
        {"{\"peft_type\": \"LORA\", \"target_modules\": \"all-linear\", "
         "\"layers_to_transform\": [0]}",
         PB_ERR_FORMAT, "layers narrow a list of targets alone"},
        {LORA(", \"modules_to_save\": [\"lm_head\"]"), PB_ERR_UNSUPPORTED, "modules_to_save"},
        {LORA(", \"bias\": \"all\""), PB_ERR_UNSUPPORTED, "bias = \"all\""},
        {LORA(", \"bias\": \"" LONG "\""), PB_ERR_UNSUPPORTED,
         "\u00e9 changes what the adapter computes"},
        {LORA(", \"lora_bias\": true"), PB_ERR_UNSUPPORTED, "lora_bias"},
        {LORA(", \"fan_in_fan_out\": true"), PB_ERR_UNSUPPORTED, "fan_in_fan_out"},
        {LORA(", \"init_lora_weights\": \"pissa\""), PB_ERR_UNSUPPORTED, "pissa"},
        {LORA(", \"lora_dropout\": 1.5"), PB_ERR_FORMAT,
         "adapter_config.json: lora_dropout is 1.5"},
        {LORA(", \"use_rslora\": 1"), PB_ERR_FORMAT, "use_rslora must be true or false"},
        {"{\"peft_type\": \"PROMPT_TUNING\", \"num_virtual_tokens\": 3, "
         "\"token_dim\": 32}",
         PB_ERR_SHAPE, "token_dim is 32, this model needs 16"},
        {"{\"peft_type\": \"HRA\", \"apply_GS\": true, \"target_modules\": [\"k_proj\"]}",
         PB_ERR_UNSUPPORTED, "apply_GS = true"},
        {"{\"peft_type\": \"BOTTLENECK\", \"placement\": \"houlsbi\"}", PB_ERR_UNSUPPORTED,
         "placement \"houlsbi\" is not known; did you mean \"houlsby\"?"},
        {"{\"peft_type\": \"PREFIX_TUNING\", \"num_virtual_tokens\": 3, "
         "\"num_layers\": 4}",
         PB_ERR_SHAPE, "num_layers is 4"},
    };
    method_fixture f;
    char folder[512];
    method_fixture_open(&f, false, false);
    method_fixture_folder(folder, sizeof folder);
    pb_method *m    = method_fixture_make(&f, "lora", "r = 3; targets = [\"q_proj\"];", 4);
    pb_method *back = NULL;
    assert_ok(pb_method_save(m, folder));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        method_fixture_write(folder, "adapter_config.json", cases[i].json);
        pb_status status = pb_method_load(folder, NULL, f.model, f.backend, 1, &back);
        assert_true(pb_utf8_is_valid(pb_error_message(), strlen(pb_error_message()), NULL));
        assert_error(status, cases[i].status, cases[i].text);
        assert_null(back);
    }
    method_fixture_write(folder, "adapter_config.json",
                         LORA(", \"a_key_of_tomorrow\": {\"x\": 1}"));
    assert_ok(pb_method_load(folder, NULL, f.model, f.backend, 1, &back));
    pb_method_destroy(back);
    pb_method_destroy(m);
    method_fixture_remove(folder);
    assert_error(pb_method_load(folder, NULL, f.model, f.backend, 1, &back), PB_ERR_NOT_FOUND,
                 "adapter_config.json");
    method_fixture_close(&f);
}

/* Sizes that the file of values does not have are refused before memory is asked for. */
static void sizes_are_checked_before_anything_is_allocated(void **state)
{
    (void)state;
    enum { HUGE_SIZE = 1048576, ROOM = 4 << 20 };
    static const struct {
        const char *method, *options, *key;
    } cases[] = {
        {"lora", "r = 3;", "r"},
        {"dora", "r = 3;", "r"},
        {"hra", "r = 2;", "r"},
        {"vera", "r = 3;", "r"},
        {"vera", "r = 3; save_projection = false;", "r"},
        {"adalora", "init_r = 3; target_r = 2;", "init_r"},
        {"bn_adapter", "size = 4;", "bottleneck_size"},
        {"prompt", "num_virtual_tokens = 3;", "num_virtual_tokens"},
        {"prefix", "num_virtual_tokens = 3; encoder_hidden_size = 5;", "num_virtual_tokens"},
        {"ptuning", "num_virtual_tokens = 3; encoder_hidden_size = 5;", "encoder_hidden_size"},
        {"ptuning", "num_virtual_tokens = 3; encoder = \"lstm\"; encoder_hidden_size = 5;",
         "encoder_hidden_size"},
    };
    method_fixture f;
    char folder[512];
    char *path = NULL;
    method_fixture_open(&f, false, false);
    method_fixture_folder(folder, sizeof folder);
    assert_ok(pb_path_join(folder, "adapter_config.json", &path));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        pb_method *back = NULL;
        pb_method *m    = method_fixture_make(&f, cases[i].method, cases[i].options, 4);
        assert_ok(pb_method_save(m, folder));
        json_t *json = json_load_file(path, 0, NULL);
        assert_int_equal(json_object_set_new(json, cases[i].key, json_integer(HUGE_SIZE)), 0);
        assert_int_equal(json_dump_file(json, path, 0), 0);
        json_decref(json);
        pb_memory_limit(pb_memory_current() + ROOM);
        pb_status status = pb_method_load(folder, NULL, f.model, f.backend, 1, &back);
        pb_memory_limit(0);
        assert_error(status, PB_ERR_SHAPE, "this model and method need [");
        assert_null(back);
        pb_method_destroy(m);
    }
    pb_memory_free(path);
    method_fixture_remove(folder);
    method_fixture_close(&f);
}

/* A file whose only tensor, named like the first of the method, has eight bytes per value. */
static void write_f64(const char *folder, const pb_method *m)
{
    enum { BYTES = 48 * 8, ROOM = 512 };
    char *path                  = NULL;
    char file[8 + ROOM + BYTES] = {0};
    static const char header[] =
        "{\"%s\":{\"dtype\":\"F64\",\"shape\":[3,16],\"data_offsets\":[0,%d]}}";
    int length = snprintf(file + 8, ROOM, header, m->trainables[0].name, BYTES);
    memset(file + 8 + length, ' ', (size_t)(ROOM - length));
    file[0] = (char)(ROOM & 0xFF);
    file[1] = (char)(ROOM >> 8);
    assert_ok(pb_path_join(folder, "adapter_model.safetensors", &path));
    assert_ok(pb_file_write_atomic(path, file, sizeof file));
    pb_memory_free(path);
}

/* HF takes the architecture's module if the key is null, and does not require it to be a target. */
static void feedforward_modules_that_are_null_need_not_be_targets(void **state)
{
    (void)state;
    method_fixture f;
    char folder[512];
    pb_method *back = NULL;
    method_fixture_open(&f, false, false);
    method_fixture_folder(folder, sizeof folder);
    pb_method *m = method_fixture_make(&f, "ia3", "targets = [\"k_proj\"]; feedforward = [];", 4);
    assert_ok(pb_method_save(m, folder));
    method_fixture_write(folder, "adapter_config.json",
                         "{\"peft_type\": \"IA3\", \"target_modules\": [\"k_proj\"], "
                         "\"feedforward_modules\": null}");
    assert_ok(pb_method_load(folder, NULL, f.model, f.backend, 1, &back));
    method_fixture_same(m, back);
    pb_method_destroy(back);
    pb_method_destroy(m);
    method_fixture_remove(folder);
    method_fixture_close(&f);
}

/* Writes `count` tensors as the adapter's file and loads the folder. */
static void load_with(const method_fixture *f, const char *folder, const pb_named_tensor *tensors,
                      int64_t count, pb_status status, const char *text)
{
    char *path      = NULL;
    pb_method *back = NULL;
    assert_ok(pb_path_join(folder, "adapter_model.safetensors", &path));
    assert_ok(pb_safetensors_write_from(f->backend, path, tensors, count, "pt"));
    assert_error(pb_method_load(folder, NULL, f->model, f->backend, 1, &back), status, text);
    assert_null(back);
    pb_memory_free(path);
}

static void broken_tensors_are_named(void **state)
{
    (void)state;
    method_fixture f;
    char folder[512];
    pb_method *back = NULL;
    method_fixture_open(&f, false, false);
    method_fixture_folder(folder, sizeof folder);
    pb_method *m = method_fixture_make(
        &f, "lora",
        "r = 3; targets = [\"layers.0.self_attn.q_proj\", \"layers.1.self_attn.q_proj\"];", 4);
    assert_int_equal(m->count, 4);
    assert_ok(pb_method_save(m, folder));
    pb_named_tensor tensors[5];
    assert_int_equal(pb_method_list(m, PB_LIST_SAVED, tensors), 4);
    load_with(&f, folder, tensors, 3, PB_ERR_FORMAT,
              "layers.1.self_attn.q_proj.lora_B.weight is missing");
    tensors[4] = (pb_named_tensor){.name = "lm_head.weight", .tensor = tensors[0].tensor};
    load_with(&f, folder, tensors, 5, PB_ERR_FORMAT, "lm_head.weight is not one");
    pb_tensor right   = tensors[0].tensor;
    tensors[0].tensor = pb_tensor_2d(right.data, PB_DTYPE_F32, 16, 3);
    load_with(&f, folder, tensors, 4, PB_ERR_SHAPE,
              "is [16, 3], this model and method need [3, 16]");
    tensors[0].tensor = pb_tensor_1d(right.data, PB_DTYPE_F32, 48);
    load_with(&f, folder, tensors, 4, PB_ERR_SHAPE, "is [48]");
    tensors[0].tensor = right;
    int32_t whole[48] = {0};
    tensors[1].tensor = pb_tensor_2d(whole, PB_DTYPE_I32, 16, 3);
    load_with(&f, folder, tensors, 4, PB_ERR_FORMAT, "lora_B.weight is of dtype I32");
    tensors[1].tensor = m->trainables[1].value;
    host_set(f.backend, &right, 5, NAN);
    load_with(&f, folder, tensors, 4, PB_ERR_NUMERIC, "not finite at 5");
    write_f64(folder, m);
    assert_error(pb_method_load(folder, NULL, f.model, f.backend, 1, &back), PB_ERR_FORMAT,
                 "lora_A.weight is of dtype F64");
    method_fixture_write(folder, "adapter_model.safetensors", "short");
    assert_error(pb_method_load(folder, NULL, f.model, f.backend, 1, &back), PB_ERR_FORMAT,
                 "adapter_model.safetensors");
    pb_method_destroy(m);
    method_fixture_remove(folder);
    method_fixture_close(&f);
}

/* BF16 values, which HF writes for adapters of bf16 models, are widened. */
static void sixteen_bit_adapters_load(void **state)
{
    (void)state;
    method_fixture f;
    char folder[512];
    char *path      = NULL;
    pb_method *back = NULL;
    uint16_t bits[48];
    method_fixture_open(&f, false, false);
    method_fixture_folder(folder, sizeof folder);
    pb_method *m = method_fixture_make(&f, "prompt", "num_virtual_tokens = 3;", 4);
    assert_ok(pb_method_save(m, folder));
    for (int i = 0; i < 48; i++) {
        bits[i] = pb_f32_to_bf16((float)i - 20.0f);
    }
    pb_named_tensor rows = {"prompt_embeddings", pb_tensor_2d(bits, PB_DTYPE_BF16, 3, 16)};
    assert_ok(pb_path_join(folder, "adapter_model.safetensors", &path));
    assert_ok(pb_safetensors_write(path, &rows, 1, "pt"));
    assert_ok(pb_method_load(folder, NULL, f.model, f.backend, 1, &back));
    for (int i = 0; i < 48; i++) {
        assert_true(host_get(f.backend, &back->values, i) == (float)i - 20.0f);
    }
    pb_method_destroy(back);
    pb_memory_free(path);
    pb_method_destroy(m);
    method_fixture_remove(folder);
    method_fixture_close(&f);
}

/* A folder in place of the second file stops the save halfway. */
static void an_interrupted_save_leaves_no_adapter(void **state)
{
    (void)state;
    method_fixture f;
    char folder[512], inside[600];
    pb_method *back = NULL;
    method_fixture_open(&f, false, false);
    method_fixture_folder(folder, sizeof folder);
    snprintf(inside, sizeof inside, "%s/adapter_model.safetensors", folder);
    pb_method *m = method_fixture_make(&f, "prefix", "num_virtual_tokens = 3;", 4);
    assert_ok(pb_method_save(m, folder));
    assert_int_equal(unlink(inside), 0);
    assert_int_equal(mkdir(inside, 0777), 0);
    assert_error(pb_method_save(m, folder), PB_ERR_IO, "adapter_model.safetensors");
    assert_false(has_file(folder, "adapter_config.json"));
    assert_false(has_file(folder, "encoder.safetensors"));
    assert_int_equal(rmdir(inside), 0);
    assert_error(pb_method_load(folder, NULL, f.model, f.backend, 4, &back), PB_ERR_NOT_FOUND,
                 "adapter_config.json");
    pb_method_destroy(m);
    method_fixture_remove(folder);
    method_fixture_close(&f);
}

static void unwritable_folders_are_named(void **state)
{
    (void)state;
    method_fixture f;
    char folder[512], below[600];
    method_fixture_open(&f, false, false);
    method_fixture_folder(folder, sizeof folder);
    method_fixture_write(folder, "file", "x");
    snprintf(below, sizeof below, "%s/file/adapter", folder);
    pb_method *m = method_fixture_make(&f, "ia3", "", 4);
    assert_error(pb_method_save(m, below), PB_ERR_IO, "file");
    pb_method_destroy(m);
    method_fixture_remove(folder);
    method_fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_left_over_encoder_is_removed),
        cmocka_unit_test(a_method_without_a_form_of_file_is_refused),
        cmocka_unit_test(lora_options_survive),
        cmocka_unit_test(full_saves_a_checkpoint),
        cmocka_unit_test(an_encoder_may_be_missing_but_not_foreign),
        cmocka_unit_test(positions_of_svft_come_from_the_file),
        cmocka_unit_test(an_lstm_encoder_has_no_dropout),
        cmocka_unit_test(broken_configurations_are_named),
        cmocka_unit_test(feedforward_modules_that_are_null_need_not_be_targets),
        cmocka_unit_test(broken_tensors_are_named),
        cmocka_unit_test(sizes_are_checked_before_anything_is_allocated),
        cmocka_unit_test(sixteen_bit_adapters_load),
        cmocka_unit_test(an_interrupted_save_leaves_no_adapter),
        cmocka_unit_test(unwritable_folders_are_named),
    };
    return cmocka_run_group_tests_name("unit_method_adapter", tests, NULL, NULL);
}
