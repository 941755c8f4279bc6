// SPDX-License-Identifier: Apache-2.0
/* Damaged and malicious safetensors files: each is refused with a given status and a message that
 * names the file; random damage never crashes. The base is a file of two tensors and 32 bytes. */
#include "fixture.h"

#include "pb/memory.h"
#include "pb/random.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_NAME "hostile.safetensors"
#define A         "\"a\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,24]}"
#define B         "\"b\":{\"dtype\":\"F16\",\"shape\":[4],\"data_offsets\":[24,32]}"
#define BASE      "{" A "," B "}"
#define BASE_DATA 32
#define FILE_MAX  4096

typedef struct header_case {
    const char *name; /* what the file is */
    const char *header;
    int64_t data; /* bytes after the header */
    const char *word;
} header_case;

/* One tensor "a" with the given dtype, shape and offsets. */
#define ONE(dtype, shape, offsets) \
    "{\"a\":{\"dtype\":" dtype ",\"shape\":" shape ",\"data_offsets\":" offsets "}}"

static const header_case header_cases[] = {
    {"not JSON", "{hello}", 0, "invalid JSON"},
    {"an open brace alone", "{", 0, "invalid JSON"},
    {"a list", "[1,2]", 0, "does not begin with {"},
    {"a number", "17", 0, "does not begin with {"},
    {"leading space", " " BASE, 32, "does not begin with {"},
    {"text after the object", BASE "x", 32, "invalid JSON"},
    {"a second object", BASE "{}", 32, "invalid JSON"},
    {"a name twice", "{" A "," A "}", 24, "duplicate"},
    {"metadata twice", "{\"__metadata__\":{},\"__metadata__\":{}}", 0, "duplicate"},
    {"a key of a tensor twice",
     "{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4,
     "duplicate"},
    {"invalid UTF-8 in a name", "{\"\xff\xfe\":1}", 0, "invalid JSON"},
    {"a surrogate half", "{\"\\ud800\":1}", 0, "invalid JSON"},
    {"a NUL in a name", "{\"a\\u0000b\":1}", 0, "invalid JSON"},
    {"a newline in a name", "{\"a\\nb\":1}", 0, "control characters"},
    {"an empty name", "{\"\":1}", 0, "control characters"},
    {"metadata is a list", "{\"__metadata__\":[]}", 0, "__metadata__"},
    {"metadata holds a number", "{\"__metadata__\":{\"x\":1}}", 0, "__metadata__.x"},
    {"an entry is a number", "{\"a\":1}", 0, "tensor a"},
    {"an entry is null", "{\"a\":null}", 0, "tensor a"},
    {"an unknown key", "{\"a\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0],\"x\":1}}", 0,
     "keys other than"},
    {"dtype is missing", "{\"a\":{\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "dtype"},
    {"shape is missing", "{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,4]}}", 4, "shape"},
    {"data_offsets is missing", "{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", 4, "data_offsets"},
    {"dtype is unknown", ONE("\"F33\"", "[1]", "[0,4]"), 4, "F33"},
    {"dtype is lower case", ONE("\"f32\"", "[1]", "[0,4]"), 4, "f32"},
    {"dtype is a number", ONE("32", "[1]", "[0,4]"), 4, "dtype"},
    {"shape is a number", ONE("\"F32\"", "1", "[0,4]"), 4, "shape"},
    {"shape has a text", ONE("\"F32\"", "[\"1\"]", "[0,4]"), 4, "shape"},
    {"shape has a float", ONE("\"F32\"", "[1.0]", "[0,4]"), 4, "shape"},
    {"shape is negative", ONE("\"F32\"", "[-1]", "[0,4]"), 4, "shape"},
    {"shape is negative twice", ONE("\"F32\"", "[-1,-1]", "[0,4]"), 4, "shape"},
    {"shape is too small", ONE("\"F32\"", "[1]", "[0,8]"), 8, "do not fill"},
    {"shape is too large", ONE("\"F32\"", "[3]", "[0,8]"), 8, "do not fill"},
    {"elements overflow", ONE("\"F32\"", "[4294967296,4294967296]", "[0,0]"), 0, "2^63"},
    {"elements overflow to a fit", ONE("\"U8\"", "[4611686018427387904,4]", "[0,0]"), 0, "2^63"},
    {"bytes overflow", ONE("\"F64\"", "[2305843009213693952]", "[0,0]"), 0, "do not fill"},
    {"a dimension of 20 digits", ONE("\"F32\"", "[99999999999999999999]", "[0,4]"), 4,
     "invalid JSON"},
    {"offsets are a number", ONE("\"F32\"", "[1]", "4"), 4, "data_offsets"},
    {"one offset", ONE("\"F32\"", "[1]", "[0]"), 4, "data_offsets"},
    {"three offsets", ONE("\"F32\"", "[1]", "[0,4,8]"), 4, "data_offsets"},
    {"offsets are floats", ONE("\"F32\"", "[1]", "[0.0,4.0]"), 4, "data_offsets[0]"},
    {"an offset is negative", ONE("\"F32\"", "[1]", "[-4,0]"), 4, "data_offsets[0]"},
    {"an offset is negative behind", ONE("\"F32\"", "[1]", "[0,-4]"), 4, "data_offsets[1]"},
    {"offsets are reversed", ONE("\"F32\"", "[1]", "[4,0]"), 4, "do not lie inside"},
    {"the end is outside", ONE("\"F32\"", "[2]", "[0,8]"), 4, "do not lie inside"},
    {"the end is huge", ONE("\"U8\"", "[9223372036854775807]", "[0,9223372036854775807]"), 4,
     "do not lie inside"},
    {"an offset of 20 digits", ONE("\"F32\"", "[1]", "[0,18446744073709551615]"), 4,
     "invalid JSON"},
    {"a hole at the start", ONE("\"F32\"", "[1]", "[4,8]"), 8, "hole"},
    {"a hole between", "{" A ",\"b\":{\"dtype\":\"F16\",\"shape\":[2],\"data_offsets\":[28,32]}}",
     32, "hole"},
    {"an overlap", "{" A ",\"b\":{\"dtype\":\"F16\",\"shape\":[6],\"data_offsets\":[20,32]}}", 32,
     "inside"},
    {"the same bytes twice",
     "{" A ",\"b\":{\"dtype\":\"F32\",\"shape\":[6],\"data_offsets\":[0,24]}}", 24, "inside"},
    {"bytes at the end", BASE, 33, "belong to nothing"},
    {"bytes without a tensor", "{}", 1, "belong to nothing"},
};

static const char *hostile_path(void)
{
    return fixture_path(FILE_NAME);
}

/* Header size, header, `data` ascending bytes. Returns the size of the file. */
static size_t build(unsigned char *out, uint64_t announced, const char *header, size_t data)
{
    size_t length = strlen(header);
    assert_true(8 + length + data <= FILE_MAX);
    for (int i = 0; i < 8; i++) {
        out[i] = (unsigned char)(announced >> (8 * i));
    }
    memcpy(out + 8, header, length);
    for (size_t i = 0; i < data; i++) {
        out[8 + length + i] = (unsigned char)i;
    }
    return 8 + length + data;
}

static void expect_refused(const unsigned char *bytes, size_t size, pb_status expected,
                           const char *word)
{
    size_t held          = pb_memory_current();
    pb_safetensors *file = NULL;
    fixture_write(hostile_path(), bytes, size);
    fixture_expect(pb_safetensors_open(hostile_path(), &file), expected, FILE_NAME, word, NULL);
    assert_null(file);
    assert_int_equal(pb_memory_current(), held);
}

static void the_base_file_is_valid(void **state)
{
    (void)state;
    unsigned char bytes[FILE_MAX];
    pb_safetensors *file = NULL;
    size_t size          = build(bytes, strlen(BASE), BASE, BASE_DATA);
    fixture_write(hostile_path(), bytes, size);
    assert_int_equal(pb_safetensors_open(hostile_path(), &file), PB_OK);
    assert_int_equal(pb_safetensors_count(file), 2);
    pb_safetensors_close(file);
}

static void a_wrong_header_is_refused_with_its_place(void **state)
{
    (void)state;
    unsigned char bytes[FILE_MAX];
    for (size_t i = 0; i < sizeof header_cases / sizeof header_cases[0]; i++) {
        const header_case *c = &header_cases[i];
        size_t size          = build(bytes, strlen(c->header), c->header, (size_t)c->data);
        print_message("  %s\n", c->name);
        expect_refused(bytes, size, PB_ERR_FORMAT, c->word);
    }
}

static void a_wrong_header_size_is_refused(void **state)
{
    (void)state;
    const uint64_t sizes[] = {0,
                              1,
                              strlen(BASE) - 1,
                              strlen(BASE) + 1,
                              strlen(BASE) + BASE_DATA,
                              strlen(BASE) + BASE_DATA + 1,
                              100000000,
                              100000001,
                              UINT64_C(1) << 32,
                              INT64_MAX,
                              (uint64_t)INT64_MIN,
                              UINT64_MAX - 7,
                              UINT64_MAX};
    unsigned char bytes[FILE_MAX];
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        size_t size = build(bytes, sizes[i], BASE, BASE_DATA);
        print_message("  header size %" PRIu64 "\n", sizes[i]);
        expect_refused(bytes, size, PB_ERR_FORMAT, FILE_NAME);
    }
}

static void a_file_cut_anywhere_is_refused(void **state)
{
    (void)state;
    unsigned char bytes[FILE_MAX];
    size_t size = build(bytes, strlen(BASE), BASE, BASE_DATA);
    for (size_t cut = 0; cut < size; cut++) {
        expect_refused(bytes, cut, PB_ERR_FORMAT, FILE_NAME);
    }
}

static void deep_nesting_is_refused_without_a_crash(void **state)
{
    (void)state;
    enum { DEPTH = 100000 };
    size_t length = 5 + DEPTH;
    char *bytes   = NULL;
    assert_int_equal(PB_ALLOC(bytes, 8 + length), PB_OK);
    for (int i = 0; i < 8; i++) {
        bytes[i] = (char)(unsigned char)(length >> (8 * i));
    }
    memcpy(bytes + 8, "{\"a\":", 5);
    memset(bytes + 8 + 5, '[', DEPTH);
    expect_refused((unsigned char *)bytes, 8 + length, PB_ERR_FORMAT, "invalid JSON");
    pb_memory_free(bytes);
}

static void a_name_of_a_megabyte_is_refused_in_a_short_message(void **state)
{
    (void)state;
    enum { LENGTH = 1 << 20 };
    static const char end[] = "\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}";
    size_t header           = 2 + LENGTH + sizeof end - 1;
    char *bytes             = NULL;
    assert_int_equal(PB_ALLOC(bytes, 8 + header + 4), PB_OK);
    for (int i = 0; i < 8; i++) {
        bytes[i] = (char)(unsigned char)(header >> (8 * i));
    }
    memcpy(bytes + 8, "{\"", 2);
    memset(bytes + 8 + 2, 'n', LENGTH);
    memcpy(bytes + 8 + 2 + LENGTH, end, sizeof end - 1);
    expect_refused((unsigned char *)bytes, 8 + header + 4, PB_ERR_FORMAT, "longer than 1000 bytes");
    pb_memory_free(bytes);
}

static void what_is_no_regular_file_is_refused(void **state)
{
    (void)state;
    pb_safetensors *file = NULL;
    const char *path     = fixture_path("folder");
    assert_int_equal(mkdir(path, 0700), 0);
    fixture_expect(pb_safetensors_open(path, &file), PB_ERR_NOT_FOUND, "folder",
                   "model.safetensors", NULL);
    const char *inner = fixture_path("folder/model.safetensors");
    assert_int_equal(mkdir(inner, 0700), 0);
    fixture_expect(pb_safetensors_open(path, &file), PB_ERR_IO, "folder/model.safetensors",
                   "directory", NULL);
    fixture_expect(pb_safetensors_open(fixture_path("absent.safetensors"), &file), PB_ERR_NOT_FOUND,
                   "absent.safetensors", NULL);
    const char *loop = fixture_path("loop.safetensors");
    assert_int_equal(symlink("loop.safetensors", loop), 0);
    pb_status status = pb_safetensors_open(loop, &file);
    assert_true(status == PB_ERR_IO || status == PB_ERR_NOT_FOUND);
    assert_non_null(strstr(pb_error_message(), "loop.safetensors"));
    assert_null(file);
}

/* Damages 1 to 4 bytes of the header (and sometimes the length); the file opens or is refused, and
 * if it opens, it can be read completely. */
static void random_damage_never_crashes(void **state)
{
    (void)state;
    enum { ROUNDS = 400 };
    unsigned char bytes[FILE_MAX];
    pb_random stream = pb_random_stream(1, PB_RANDOM_TEST, 0);
    uint64_t draw    = 0;
    int refused      = 0;
    size_t held      = pb_memory_current();
    for (int round = 0; round < ROUNDS; round++) {
        pb_safetensors *file = NULL;
        size_t size          = build(bytes, strlen(BASE), BASE, BASE_DATA);
        uint64_t changes     = 1 + pb_random_below(stream, draw++, 4);
        for (uint64_t c = 0; c < changes; c++) {
            uint64_t at = pb_random_below(stream, draw++, 8 + strlen(BASE));
            bytes[at]   = (unsigned char)pb_random_below(stream, draw++, 256);
        }
        if (pb_random_below(stream, draw++, 8) == 0) {
            size = (size_t)pb_random_below(stream, draw++, size);
        }
        fixture_write(hostile_path(), bytes, size);
        pb_status status = pb_safetensors_open(hostile_path(), &file);
        if (status != PB_OK) {
            refused++;
            assert_non_null(strstr(pb_error_message(), FILE_NAME));
            continue;
        }
        unsigned sum = 0;
        for (int64_t i = 0; i < pb_safetensors_count(file); i++) {
            const pb_tensor *t        = &pb_safetensors_at(file, i)->tensor;
            const unsigned char *data = t->data;
            for (size_t k = 0; k < pb_tensor_bytes(t); k++) {
                sum += data[k];
            }
        }
        assert_true(sum <= 31 * 32 / 2); /* every byte counts once at most */
        pb_safetensors_close(file);
    }
    assert_true(refused > ROUNDS / 2);
    assert_int_equal(pb_memory_current(), held);
}

static void running_out_of_memory_is_reported_and_leaks_nothing(void **state)
{
    (void)state;
    unsigned char bytes[FILE_MAX];
    size_t held = pb_memory_current();
    int failed  = 0;
    fixture_write(hostile_path(), bytes, build(bytes, strlen(BASE), BASE, BASE_DATA));
    for (size_t limit = 1; limit < 2000; limit += 7) {
        pb_safetensors *file = NULL;
        pb_memory_limit(held + limit);
        pb_status status = pb_safetensors_open(hostile_path(), &file);
        pb_memory_limit(0);
        assert_true(status == PB_OK || status == PB_ERR_MEMORY);
        failed += status == PB_ERR_MEMORY;
        pb_safetensors_close(file);
        assert_int_equal(pb_memory_current(), held);
    }
    assert_true(failed > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_base_file_is_valid),
        cmocka_unit_test(a_wrong_header_is_refused_with_its_place),
        cmocka_unit_test(a_wrong_header_size_is_refused),
        cmocka_unit_test(a_file_cut_anywhere_is_refused),
        cmocka_unit_test(deep_nesting_is_refused_without_a_crash),
        cmocka_unit_test(a_name_of_a_megabyte_is_refused_in_a_short_message),
        cmocka_unit_test(what_is_no_regular_file_is_refused),
        cmocka_unit_test(random_damage_never_crashes),
        cmocka_unit_test(running_out_of_memory_is_reported_and_leaks_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, fixture_finish);
}
