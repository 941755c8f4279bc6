// SPDX-License-Identifier: Apache-2.0
/* SHA-256 against the examples of FIPS 180-4, in pieces, from files. */
#include "pb/hash.h"
#include "pb/file.h"
#include "pb/memory.h"

#include "scratch.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

static const char EMPTY[]     = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
static const char ABC[]       = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
static const char LONGER[]    = "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1";
static const char MILLION_A[] = "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0";

static void known_digests_are_reproduced(void **state)
{
    static const char longer[] = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
    char text[PB_HASH_TEXT];

    (void)state;
    assert_int_equal(pb_hash_bytes("", 0, text), PB_OK);
    assert_string_equal(text, EMPTY);
    assert_int_equal(pb_hash_bytes("abc", 3, text), PB_OK);
    assert_string_equal(text, ABC);
    assert_int_equal(pb_hash_bytes(longer, sizeof longer - 1, text), PB_OK);
    assert_string_equal(text, LONGER);
}

static void a_digest_is_the_beginning_of_the_hash(void **state)
{
    pb_digest digest;
    char text[2 * PB_DIGEST_BYTES + 1];

    (void)state;
    assert_int_equal(pb_digest_of("abc", 3, &digest), PB_OK);
    for (size_t i = 0; i < PB_DIGEST_BYTES; i++) {
        (void)snprintf(text + 2 * i, 3, "%02x", (unsigned)digest.bytes[i]);
    }
    assert_memory_equal(text, ABC, 2 * PB_DIGEST_BYTES);
}

static void a_hash_does_not_depend_on_the_pieces(void **state)
{
    size_t before = pb_memory_current();
    char text[PB_HASH_TEXT];
    char piece[997];
    pb_hash *h = NULL;

    (void)state;
    memset(piece, 'a', sizeof piece);
    assert_int_equal(pb_hash_create(&h), PB_OK);
    for (size_t left = 1000000; left > 0;) {
        size_t size = left < sizeof piece ? left : sizeof piece;
        assert_int_equal(pb_hash_update(h, piece, size), PB_OK);
        left -= size;
    }
    assert_int_equal(pb_hash_finish(h, text), PB_OK);
    assert_string_equal(text, MILLION_A);
    pb_hash_destroy(h);
    pb_hash_destroy(NULL);
    assert_int_equal(pb_memory_current(), before);
}

static void neighbouring_texts_do_not_run_together(void **state)
{
    char texts[2][PB_HASH_TEXT];
    const char *const pairs[2][2] = {{"ab", "c"}, {"a", "bc"}};

    (void)state;
    for (int i = 0; i < 2; i++) {
        pb_hash *h = NULL;
        assert_int_equal(pb_hash_create(&h), PB_OK);
        assert_int_equal(pb_hash_update_text(h, pairs[i][0]), PB_OK);
        assert_int_equal(pb_hash_update_text(h, pairs[i][1]), PB_OK);
        assert_int_equal(pb_hash_finish(h, texts[i]), PB_OK);
        pb_hash_destroy(h);
    }
    assert_string_not_equal(texts[0], texts[1]);
}

static void a_hash_is_not_used_after_its_end(void **state)
{
    char text[PB_HASH_TEXT];
    pb_hash *h = NULL;

    (void)state;
    assert_int_equal(pb_hash_create(&h), PB_OK);
    assert_int_equal(pb_hash_finish(h, text), PB_OK);
    assert_int_equal(pb_hash_update(h, "x", 1), PB_ERR_ARGUMENT);
    assert_non_null(strstr(pb_error_message(), "after its digest"));
    assert_int_equal(pb_hash_finish(h, text), PB_ERR_ARGUMENT);
    pb_hash_destroy(h);
}

static void files_are_hashed_whole(void **state)
{
    enum { BYTES = 1000000 };
    char *bytes = NULL;
    char text[PB_HASH_TEXT];

    (void)state;
    assert_int_equal(PB_ALLOC(bytes, BYTES), PB_OK);
    memset(bytes, 'a', BYTES);
    assert_int_equal(pb_file_write_atomic(scratch_path("f"), bytes, BYTES), PB_OK);
    pb_memory_free(bytes);
    assert_int_equal(pb_hash_file(scratch_path("f"), text), PB_OK);
    assert_string_equal(text, MILLION_A);
    assert_int_equal(pb_hash_file(scratch_path("absent"), text), PB_ERR_NOT_FOUND);
    assert_non_null(strstr(pb_error_message(), scratch_path("absent")));
    assert_int_equal(pb_hash_file(scratch, text), PB_ERR_IO);
}

static void memory_failures_are_passed_on(void **state)
{
    char text[PB_HASH_TEXT];
    pb_hash *h    = NULL;
    size_t before = pb_memory_current();

    (void)state;
    pb_memory_account(100);
    pb_memory_limit(1);
    assert_int_equal(pb_hash_create(&h), PB_ERR_MEMORY);
    pb_memory_limit(pb_memory_current() + 1000);
    assert_int_equal(pb_hash_file("/proc/self/status", text), PB_ERR_MEMORY);
    pb_memory_limit(0);
    pb_memory_account(-100);
    assert_int_equal(pb_memory_current(), before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_digests_are_reproduced),
        cmocka_unit_test(a_digest_is_the_beginning_of_the_hash),
        cmocka_unit_test(a_hash_does_not_depend_on_the_pieces),
        cmocka_unit_test(neighbouring_texts_do_not_run_together),
        cmocka_unit_test(a_hash_is_not_used_after_its_end),
        cmocka_unit_test_setup_teardown(files_are_hashed_whole, scratch_create, scratch_destroy),
        cmocka_unit_test(memory_failures_are_passed_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
