// SPDX-License-Identifier: Apache-2.0
/* Thousands of damaged configurations: each is read or refused with its place, and no memory stays
 * allocated, not even in libconfig, where the sanitizer or the C library's own count finds
 * leaks. */
#include "pb/config.h"
#include "pb/file.h"
#include "pb/memory.h"
#include "pb/random.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <malloc.h>
#include <string.h>

enum { TEXTS = 4000, TEXT_BYTES = 16384 };

static const char *const folders[]  = {"dataset", "grid", "method", "model"};
static const char *const snippets[] = {"\"",      "\"a\"", "\"a\" \"b\"",
                                       ";",       "{",     "}",
                                       "(",       ")",     "[",
                                       "]",       ",",     "=",
                                       " 1 ",     " 0x1 ", "1.5",
                                       "x = 1;",  "\\",    "\\x41",
                                       "/*",      "*/",    "#",
                                       "\n",      "@",     "true",
                                       "\xc3",    "x",     "[1, \"a\"]",
                                       "[\"a\"]", "\\x",   "\\x0",
                                       "\"\\q",   "-",     "@include \"nothing\""};

typedef struct chance {
    pb_random stream;
    uint64_t used;
} chance;

static size_t below(chance *c, size_t n)
{
    return (size_t)pb_random_below(c->stream, c->used++, n);
}

/* text[at, at + length) becomes `with`. */
static void replace(char text[TEXT_BYTES], size_t at, size_t length, const char *with)
{
    size_t all  = strlen(text);
    size_t more = strlen(with);

    if (all - length + more < TEXT_BYTES) {
        memmove(text + at + more, text + at + length, all - at - length + 1);
        memcpy(text + at, with, more);
    }
}

/* Cuts something out, puts something in, doubles a part, or ends the text early. */
static void damage(chance *c, char text[TEXT_BYTES])
{
    char part[16] = "";
    size_t all    = strlen(text);
    size_t at     = below(c, all + 1);
    size_t length = below(c, sizeof part);

    length = length < all - at ? length : all - at;
    switch (below(c, 4)) {
    case 0:
        replace(text, at, length, "");
        break;
    case 1:
        memcpy(part, text + at, length);
        replace(text, at, 0, part);
        break;
    case 2:
        text[at] = '\0';
        break;
    default:
        replace(text, at, below(c, 2) * length,
                snippets[below(c, sizeof snippets / sizeof *snippets)]);
    }
}

/* The files of configs/, end to end in `names`. */
static void list_files(char ***paths, size_t *count)
{
    for (size_t f = 0; f < sizeof folders / sizeof *folders; f++) {
        char folder[1024];
        char **names = NULL;
        size_t found = 0;
        (void)snprintf(folder, sizeof folder, PB_SOURCE_DIR "/configs/%s", folders[f]);
        assert_int_equal(pb_path_list(folder, ".cfg", &names, &found), PB_OK);
        assert_true(found > 0);
        assert_int_equal(PB_GROW(*paths, *count + found), PB_OK);
        for (size_t i = 0; i < found; i++) {
            assert_int_equal(pb_path_join(folder, names[i], &(*paths)[(*count)++]), PB_OK);
        }
        pb_memory_free_texts(names, found);
    }
}

static void parse(const char *text, int64_t *good, int64_t *bad)
{
    pb_config *config = NULL;
    pb_status status  = pb_config_parse(text, "damaged.cfg", &config);

    if (status == PB_OK) {
        (*good)++;
        pb_config_close(config);
        return;
    }
    (*bad)++;
    assert_true(status == PB_ERR_CONFIG || status == PB_ERR_NOT_FOUND); /* an include */
    assert_non_null(strstr(pb_error_message(), "damaged.cfg"));
    pb_error_clear();
}

/* Bytes that the C library has allocated; a sanitizer that replaces it reports none. */
static size_t bytes_in_use(void)
{
    return mallinfo2().uordblks;
}

static void parse_damaged(char *const *paths, size_t count)
{
    static char text[TEXT_BYTES];
    chance c     = {.stream = pb_random_stream(7, PB_RANDOM_TEST, 0)};
    int64_t good = 0;
    int64_t bad  = 0;

    for (int i = 0; i < TEXTS; i++) {
        pb_string file = {0};
        assert_int_equal(pb_file_read(paths[below(&c, count)], TEXT_BYTES - 1, &file), PB_OK);
        memcpy(text, file.data, file.length + 1);
        pb_string_clear(&file);
        for (size_t changes = 1 + below(&c, 3); changes > 0; changes--) {
            damage(&c, text);
        }
        parse(text, &good, &bad);
    }
    assert_true(good > TEXTS / 20 && bad > TEXTS / 4);
}

/* The first round makes lasting allocations; the second one must leave none. */
static void damaged_texts_are_refused_and_leave_nothing_behind(void **state)
{
    char **paths = NULL;
    size_t count = 0;

    (void)state;
    size_t accounted = pb_memory_current();
    list_files(&paths, &count);
    parse_damaged(paths, count);
    size_t before = bytes_in_use();
    parse_damaged(paths, count);
    assert_int_equal(bytes_in_use(), before);
    pb_memory_free_texts(paths, count);
    assert_int_equal(pb_memory_current(), accounted);
}

static void a_text_in_a_wrong_place_leaves_nothing_behind(void **state)
{
    static const char *const texts[] = {"a \"x\";",         "\"x\"",
                                        "a = 1 \"x\";",     "a = { \"x\" };",
                                        "a = [ 1 \"x\" ];", "a = ( \"x\" \"y\" = 1 );"};
    size_t before                    = 0;
    int64_t good                     = 0;
    int64_t bad                      = 0;

    (void)state;
    for (int round = 0; round < 10; round++) {
        for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
            parse(texts[i], &good, &bad);
        }
        before = round == 0 ? bytes_in_use() : before;
    }
    assert_int_equal(good, 0);
    assert_int_equal(bytes_in_use(), before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(damaged_texts_are_refused_and_leave_nothing_behind),
        cmocka_unit_test(a_text_in_a_wrong_place_leaves_nothing_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
