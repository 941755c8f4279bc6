// SPDX-License-Identifier: Apache-2.0
/* Writing and reading back: bits, order, views, alignment, shards and their index. */
#include "fixture.h"

#include "pb/memory.h"

#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <signal.h>
#include <unistd.h>

static float f32_values[6]     = {1.0f, -2.0f, 3.5f, 0.0f, -0.0f, 1e30f};
static uint16_t bf16_values[3] = {0x3f80, 0xc000, 0x7f80};
static uint16_t f16_values[1]  = {0x3c00};
static int32_t i32_values[2]   = {-1, 2147483647};

#define PATH fixture_path("written.safetensors")

static void write_three(const char *path, const char *format)
{
    pb_named_tensor tensors[] = {
        {"z.last", pb_tensor_2d(f32_values, PB_DTYPE_F32, 2, 3)},
        {"half \"quoted\" \xc3\xa4", pb_tensor_1d(bf16_values, PB_DTYPE_BF16, 3)},
        {"a.ids", pb_tensor_1d(i32_values, PB_DTYPE_I32, 2)},
        {"b.half", pb_tensor_1d(f16_values, PB_DTYPE_F16, 1)},
    };
    assert_int_equal(pb_safetensors_write(path, tensors, 4, format), PB_OK);
}

static void what_is_written_is_read_back_bit_for_bit(void **state)
{
    (void)state;
    pb_safetensors *file = NULL;
    pb_tensor t;
    write_three(PATH, "pt");
    assert_int_equal(pb_safetensors_open(PATH, &file), PB_OK);
    assert_int_equal(pb_safetensors_count(file), 4);
    assert_string_equal(pb_safetensors_at(file, 0)->name, "a.ids"); /* sorted by name */
    assert_string_equal(pb_safetensors_at(file, 3)->name, "z.last");
    assert_string_equal(pb_safetensors_path(file, 0), PATH);

    assert_int_equal(pb_safetensors_get(file, "z.last", &t), PB_OK);
    assert_int_equal(t.dtype, PB_DTYPE_F32);
    assert_int_equal(t.ndim, 2);
    assert_int_equal(t.shape[0], 2);
    assert_int_equal(t.shape[1], 3);
    assert_memory_equal(t.data, f32_values, sizeof f32_values);
    assert_int_equal(pb_safetensors_get(file, "half \"quoted\" \xc3\xa4", &t), PB_OK);
    assert_int_equal(t.dtype, PB_DTYPE_BF16);
    assert_memory_equal(t.data, bf16_values, sizeof bf16_values);
    assert_int_equal(pb_safetensors_get(file, "a.ids", &t), PB_OK);
    assert_memory_equal(t.data, i32_values, sizeof i32_values);
    pb_safetensors_close(file);
}

static void a_missing_name_is_null_and_an_error_where_it_is_needed(void **state)
{
    (void)state;
    pb_safetensors *file = NULL;
    pb_tensor t;
    write_three(PATH, NULL);
    assert_int_equal(pb_safetensors_open(PATH, &file), PB_OK);
    assert_null(pb_safetensors_find(file, "none"));
    assert_int_equal(pb_safetensors_index(file, "none"), -1);
    fixture_expect(pb_safetensors_get(file, "none", &t), PB_ERR_NOT_FOUND, "written.safetensors",
                   "tensor none", NULL);
    pb_safetensors_close(file);
}

/* The I32 tensor begins after 30 bytes, at an address that is not aligned for an I32. */
static void data_that_is_not_aligned_is_copied(void **state)
{
    (void)state;
    pb_safetensors *file = NULL;
    size_t held          = pb_memory_current();
    write_three(PATH, NULL);
    assert_int_equal(pb_safetensors_open(PATH, &file), PB_OK);
    int64_t index      = pb_safetensors_index(file, "a.ids");
    const pb_tensor *t = &pb_safetensors_at(file, index)->tensor;
    assert_false(pb_safetensors_is_mapped(file, index));
    assert_true(pb_safetensors_is_mapped(file, pb_safetensors_index(file, "z.last")));
    assert_int_equal((uintptr_t)t->data % sizeof(int32_t), 0);
    assert_int_equal(((const int32_t *)t->data)[1], 2147483647);
    pb_safetensors_close(file);
    assert_int_equal(pb_memory_current(), held);
}

static void strided_views_are_written_contiguously(void **state)
{
    (void)state;
    pb_safetensors *file     = NULL;
    pb_tensor whole          = pb_tensor_2d(f32_values, PB_DTYPE_F32, 2, 3);
    pb_named_tensor column[] = {{"column", pb_tensor_columns(&whole, 1, 2)}};
    const float expected[4]  = {-2.0f, 3.5f, -0.0f, 1e30f};
    assert_int_equal(pb_safetensors_write(PATH, column, 1, NULL), PB_OK);
    assert_int_equal(pb_safetensors_open(PATH, &file), PB_OK);
    assert_memory_equal(pb_safetensors_at(file, 0)->tensor.data, expected, sizeof expected);
    pb_safetensors_close(file);
}

static void empty_files_and_empty_tensors_are_legal(void **state)
{
    (void)state;
    pb_safetensors *file    = NULL;
    pb_named_tensor empty[] = {{"empty", pb_tensor_2d(NULL, PB_DTYPE_F32, 0, 5)}};
    assert_int_equal(pb_safetensors_write(PATH, NULL, 0, NULL), PB_OK);
    assert_int_equal(pb_safetensors_open(PATH, &file), PB_OK);
    assert_int_equal(pb_safetensors_count(file), 0);
    pb_safetensors_close(file);
    assert_int_equal(pb_safetensors_write(PATH, empty, 1, "pt"), PB_OK);
    assert_int_equal(pb_safetensors_open(PATH, &file), PB_OK);
    assert_int_equal(pb_safetensors_at(file, 0)->tensor.shape[1], 5);
    assert_int_equal(pb_tensor_count(&pb_safetensors_at(file, 0)->tensor), 0);
    pb_safetensors_close(file);
}

static void write_raw(const char *path, const char *header, size_t data)
{
    char bytes[1024] = {0};
    size_t length    = strlen(header);
    assert_true(8 + length + data <= sizeof bytes);
    bytes[0] = (char)(unsigned char)length;
    bytes[1] = (char)(unsigned char)(length >> 8);
    memcpy(bytes + 8, header, length);
    fixture_write(path, bytes, 8 + length + data);
}

static void types_that_are_not_held_fail_only_where_they_are_used(void **state)
{
    (void)state;
    pb_safetensors *file = NULL;
    pb_tensor t;
    write_raw(PATH,
              "{\"__metadata__\":{\"format\":\"pt\"},"
              "\"f8\":{\"dtype\":\"F8_E5M2\",\"shape\":[3],\"data_offsets\":[0,3]},"
              "\"deep\":{\"dtype\":\"F16\",\"shape\":[1,1,1,1,1],\"data_offsets\":[3,5]},"
              "\"bool\":{\"dtype\":\"BOOL\",\"shape\":[1],\"data_offsets\":[5,6]},"
              "\"one\":{\"dtype\":\"F16\",\"shape\":[],\"data_offsets\":[6,8]},"
              "\"long\":{\"dtype\":\"I64\",\"shape\":[1],\"data_offsets\":[8,16]}}   ",
              16);
    assert_int_equal(pb_safetensors_open(PATH, &file), PB_OK);
    assert_int_equal(pb_safetensors_count(file), 5);
    assert_true(pb_tensor_is_none(&pb_safetensors_find(file, "f8")->tensor));
    fixture_expect(pb_safetensors_get(file, "f8", &t), PB_ERR_UNSUPPORTED, "tensor f8", "F8_E5M2",
                   "written.safetensors", NULL);
    fixture_expect(pb_safetensors_get(file, "bool", &t), PB_ERR_UNSUPPORTED, "BOOL", NULL);
    fixture_expect(pb_safetensors_get(file, "long", &t), PB_ERR_UNSUPPORTED, "I64", NULL);
    fixture_expect(pb_safetensors_get(file, "deep", &t), PB_ERR_UNSUPPORTED, "5 dimensions", NULL);
    assert_int_equal(pb_safetensors_get(file, "one", &t), PB_OK);
    assert_int_equal(t.ndim, 1);
    assert_int_equal(t.shape[0], 1);
    pb_safetensors_close(file);
}

static void what_cannot_be_written_is_refused(void **state)
{
    (void)state;
    pb_named_tensor none[]     = {{"none", {0}}};
    pb_named_tensor unnamed[]  = {{"", pb_tensor_1d(f32_values, PB_DTYPE_F32, 1)}};
    pb_named_tensor reserved[] = {{"__metadata__", pb_tensor_1d(f32_values, PB_DTYPE_F32, 1)}};
    pb_named_tensor twice[]    = {{"a", pb_tensor_1d(f32_values, PB_DTYPE_F32, 1)},
                                  {"b", pb_tensor_1d(f32_values, PB_DTYPE_F32, 1)},
                                  {"a", pb_tensor_1d(f32_values, PB_DTYPE_F32, 1)}};
    const char *path           = fixture_path("refused.safetensors");
    fixture_expect(pb_safetensors_write(path, none, 1, NULL), PB_ERR_ARGUMENT, "none",
                   "refused.safetensors", NULL);
    fixture_expect(pb_safetensors_write(path, unnamed, 1, NULL), PB_ERR_ARGUMENT, "name", NULL);
    fixture_expect(pb_safetensors_write(path, reserved, 1, NULL), PB_ERR_ARGUMENT, "name", NULL);
    fixture_expect(pb_safetensors_write(path, twice, 3, NULL), PB_ERR_ARGUMENT, "a", "twice", NULL);
    assert_int_not_equal(access(path, F_OK), 0);
    fixture_expect(pb_safetensors_write("/nonexistent/x.safetensors", unnamed, 0, NULL), PB_ERR_IO,
                   "/nonexistent/x.safetensors", NULL);
}

static void a_full_disk_leaves_the_old_file(void **state)
{
    (void)state;
    static float large[65536];
    struct rlimit old;
    pb_safetensors *file      = NULL;
    pb_named_tensor tensors[] = {{"large", pb_tensor_1d(large, PB_DTYPE_F32, 65536)}};
    write_three(PATH, NULL);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    struct rlimit small  = {.rlim_cur = 10000, .rlim_max = old.rlim_max};
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    pb_status status = pb_safetensors_write(PATH, tensors, 1, NULL);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    signal(SIGXFSZ, handler);
    fixture_expect(status, PB_ERR_IO, "written.safetensors", NULL);
    assert_int_equal(pb_safetensors_open(PATH, &file), PB_OK);
    assert_int_equal(pb_safetensors_count(file), 4);
    pb_safetensors_close(file);
}

static void every_float_type_converts_to_f32(void **state)
{
    (void)state;
    float out[6]   = {0};
    pb_tensor bf16 = pb_tensor_1d(bf16_values, PB_DTYPE_BF16, 2);
    pb_tensor f16  = pb_tensor_1d(f16_values, PB_DTYPE_F16, 1);
    pb_tensor i32  = pb_tensor_1d(i32_values, PB_DTYPE_I32, 2);
    pb_tensor f32  = pb_tensor_2d(f32_values, PB_DTYPE_F32, 2, 3);
    pb_tensor part = pb_tensor_columns(&f32, 1, 2);
    pb_tensor one  = pb_tensor_1d(out, PB_DTYPE_F32, 1);
    pb_tensor two  = pb_tensor_1d(out, PB_DTYPE_F32, 2);
    pb_tensor four = pb_tensor_2d(out, PB_DTYPE_F32, 2, 2);
    assert_int_equal(pb_tensor_to_f32(&two, &bf16), PB_OK);
    assert_true(out[0] == 1.0f && out[1] == -2.0f);
    assert_int_equal(pb_tensor_to_f32(&one, &f16), PB_OK);
    assert_true(out[0] == 1.0f);
    assert_int_equal(pb_tensor_to_f32(&four, &part), PB_OK);
    assert_true(out[0] == -2.0f && out[1] == 3.5f && out[2] == 0.0f && out[3] == 1e30f);
    fixture_expect(pb_tensor_to_f32(&two, &i32), PB_ERR_UNSUPPORTED, "I32", NULL);
    fixture_expect(pb_tensor_to_f32(&one, &bf16), PB_ERR_SHAPE, "[2]", "[1]", NULL);
}

#define ENTRY(name) "{\"" name "\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}"

/* A fresh folder with two shards that contain x and y, and the given index. */
static const char *sharded(const char *index)
{
    static int number;
    char name[32];
    char inner[80];
    snprintf(name, sizeof name, "sharded%d", number++);
    const char *path = fixture_path(name);
    assert_int_equal(mkdir(path, 0700), 0);
    snprintf(inner, sizeof inner, "%s/one.safetensors", name);
    write_raw(fixture_path(inner), ENTRY("x"), 4);
    snprintf(inner, sizeof inner, "%s/two.safetensors", name);
    write_raw(fixture_path(inner), ENTRY("y"), 4);
    snprintf(inner, sizeof inner, "%s/model.safetensors.index.json", name);
    fixture_write_text(fixture_path(inner), index);
    return path;
}

static void shards_are_one_list_of_tensors(void **state)
{
    (void)state;
    pb_safetensors *file = NULL;
    const char *path     = sharded("{\"metadata\":{\"total_size\":8.0},\"weight_map\":"
                                       "{\"y\":\"two.safetensors\",\"x\":\"one.safetensors\"}}");
    assert_int_equal(pb_safetensors_open(path, &file), PB_OK);
    assert_int_equal(pb_safetensors_count(file), 2);
    assert_int_equal(pb_safetensors_file_count(file), 2);
    assert_non_null(strstr(pb_safetensors_file_path(file, 0), "one.safetensors"));
    assert_string_equal(pb_safetensors_at(file, 0)->name, "x");
    assert_non_null(strstr(pb_safetensors_path(file, 0), "one.safetensors"));
    assert_non_null(strstr(pb_safetensors_path(file, 1), "two.safetensors"));
    pb_safetensors_close(file);
}

static void shards_may_be_symbolic_links(void **state)
{
    (void)state;
    char target[4200];
    pb_safetensors *file = NULL;
    write_raw(fixture_path("blob"), ENTRY("z"), 4);
    const char *path = sharded("{\"weight_map\":{\"y\":\"two.safetensors\","
                               "\"x\":\"one.safetensors\",\"z\":\"link.safetensors\"}}");
    snprintf(target, sizeof target, "%s/link.safetensors", path);
    assert_int_equal(symlink("../blob", target), 0);
    assert_int_equal(pb_safetensors_open(path, &file), PB_OK);
    assert_non_null(pb_safetensors_find(file, "z"));
    pb_safetensors_close(file);
}

static void an_index_that_does_not_fit_its_shards_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *index;
        pb_status status;
        const char *word;
    } cases[] = {
        {"", PB_ERR_FORMAT, "invalid JSON"},
        {"[]", PB_ERR_FORMAT, "not a JSON object"},
        {"{}", PB_ERR_FORMAT, "weight_map"},
        {"{\"weight_map\":[]}", PB_ERR_FORMAT, "weight_map"},
        {"{\"weight_map\":{}}", PB_ERR_FORMAT, "weight_map"},
        {"{\"weight_map\":{\"x\":1}}", PB_ERR_FORMAT, "tensor x"},
        {"{\"weight_map\":{\"x\":\"\"}}", PB_ERR_FORMAT, "plain name"},
        {"{\"weight_map\":{\"x\":\"..\"}}", PB_ERR_FORMAT, "plain name"},
        {"{\"weight_map\":{\"x\":\".\"}}", PB_ERR_FORMAT, "plain name"},
        {"{\"weight_map\":{\"x\":\"../one.safetensors\"}}", PB_ERR_FORMAT, "plain name"},
        {"{\"weight_map\":{\"x\":\"/etc/passwd\"}}", PB_ERR_FORMAT, "plain name"},
        {"{\"weight_map\":{\"x\":\"a/one.safetensors\"}}", PB_ERR_FORMAT, "plain name"},
        {"{\"weight_map\":{\"x\":\"three.safetensors\"}}", PB_ERR_NOT_FOUND, "three.safetensors"},
        {"{\"weight_map\":{\"x\":\"two.safetensors\"}}", PB_ERR_FORMAT, "tensor y"},
        {"{\"weight_map\":{\"x\":\"two.safetensors\",\"y\":\"one.safetensors\"}}", PB_ERR_FORMAT,
         "places it in"},
        {"{\"weight_map\":{\"x\":\"one.safetensors\",\"w\":\"one.safetensors\"}}", PB_ERR_FORMAT,
         "tensor w"},
        {"{\"weight_map\":{\"x\":\"one.safetensors\",\"x\":\"two.safetensors\"}}", PB_ERR_FORMAT,
         "duplicate"},
    };
    size_t held = pb_memory_current();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        pb_safetensors *file = NULL;
        fixture_expect(pb_safetensors_open(sharded(cases[i].index), &file), cases[i].status,
                       "model.safetensors.index.json", cases[i].word, NULL);
        assert_null(file);
    }
    assert_int_equal(pb_memory_current(), held);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read_back_bit_for_bit),
        cmocka_unit_test(a_missing_name_is_null_and_an_error_where_it_is_needed),
        cmocka_unit_test(data_that_is_not_aligned_is_copied),
        cmocka_unit_test(strided_views_are_written_contiguously),
        cmocka_unit_test(empty_files_and_empty_tensors_are_legal),
        cmocka_unit_test(types_that_are_not_held_fail_only_where_they_are_used),
        cmocka_unit_test(what_cannot_be_written_is_refused),
        cmocka_unit_test(a_full_disk_leaves_the_old_file),
        cmocka_unit_test(every_float_type_converts_to_f32),
        cmocka_unit_test(shards_are_one_list_of_tensors),
        cmocka_unit_test(shards_may_be_symbolic_links),
        cmocka_unit_test(an_index_that_does_not_fit_its_shards_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, fixture_finish);
}
