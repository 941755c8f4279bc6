// SPDX-License-Identifier: Apache-2.0
/* Files that are compressed, damaged, cut off, or not files: the outcome of each. */
#include "hostile.h"
#include "pack.h"

#include "pb/memory.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static const hostile_case packed_cases[] = {
    HOSTILE("bzip2", "a.jsonl.bz2", "BZh91AY&SY\x01", "open",
            "compressed by bzip2; gzip and zstd are"),
    HOSTILE("xz", "a.jsonl.xz", "\xFD\x37zXZ\0\0", "open", "compressed by xz"),
    HOSTILE("zip", "a.zip", "PK\x03\x04\x14", "open", "compressed by zip"),
    HOSTILE("plain in spite of its name", "a.jsonl.gz", "{\"s\":1}\n", "{\"s\":1}", NULL),
};

static void other_compressions_are_refused_with_what_to_do(void **state)
{
    (void)state;
    HOSTILE_CHECK_ALL(packed_cases);
}

static const char rows_text[] = "{\"s\":1}\n{\"s\":2}\n";
#define BOTH "{\"s\":1}{\"s\":2}"

typedef bool (*packer)(const char *bytes, size_t size, pb_string *out);

/* Packs the rows, cuts `cut` bytes off, flips the byte `flip` from the end (0: none), appends. */
static void check_packed(const char *name, packer pack, const char *file, size_t cut, size_t flip,
                         const char *tail, size_t tail_size, const char *outcome, const char *part)
{
    pb_string packed = {0};

    if (pack(rows_text, sizeof rows_text - 1, &packed)) {
        packed.length -= cut;
        if (flip > 0) {
            packed.data[packed.length - flip] ^= 0x55;
        }
        assert_ok(pb_string_append(&packed, tail, tail_size));
        hostile_case c = {name, file, packed.data, packed.length, outcome, part};
        hostile_check(&c);
    }
    pb_string_clear(&packed);
}

static void gzip_is_whole_or_an_error(void **state)
{
    const char *file = "a.jsonl.gz";
    const char *ends = "a.jsonl.gz: the file ends inside its gzip data; it was cut off";

    (void)state;
    check_packed("whole", pack_gzip, file, 0, 0, "", 0, BOTH, NULL);
    check_packed("unexpected name", pack_gzip, "a.jsonl", 0, 0, "", 0, BOTH, NULL);
    check_packed("capital name", pack_gzip, "A.JSONL.GZ", 0, 0, "", 0, BOTH, NULL);
    check_packed("no trailer", pack_gzip, file, 8, 0, "", 0, "open", ends);
    check_packed("one byte less", pack_gzip, file, 1, 0, "", 0, "open", ends);
    check_packed("wrong length", pack_gzip, file, 0, 1, "", 0, "open", "incorrect length check");
    check_packed("wrong checksum", pack_gzip, file, 0, 8, "", 0, "open", "incorrect data check");
    check_packed("tail", pack_gzip, file, 0, 0, "tail", 4, "open",
                 "bytes that are not gzip follow the gzip data");
    check_packed("tail of a byte", pack_gzip, file, 0, 0, "\0", 1, "open", ends);
    check_packed("tail of zeros", pack_gzip, file, 0, 0, "\0\0\0\0", 4, "open",
                 "follow the gzip data");
}

static void zstd_is_whole_or_an_error(void **state)
{
    const char *file  = "a.jsonl.zst";
    const char *ends  = "a.jsonl.zst: the file ends inside its zstd data; it was cut off";
    const char skip[] = "\x5A\x2A\x4D\x18\x03\0\0\0abc";

    (void)state;
    check_packed("whole", pack_zstd, file, 0, 0, "", 0, BOTH, NULL);
    check_packed("unexpected name", pack_zstd, "a.json", 0, 0, "", 0, BOTH, NULL);
    check_packed("no checksum", pack_zstd, file, 4, 0, "", 0, "open", ends);
    check_packed("wrong checksum", pack_zstd, file, 0, 1, "", 0, "open", "match checksum");
    check_packed("tail", pack_zstd, file, 0, 0, "a long tail", 11, "open",
                 "bytes that are not zstd follow the zstd data");
    check_packed("short tail", pack_zstd, file, 0, 0, "ab", 2, "open", "follow the zstd data");
    check_packed("frame to skip", pack_zstd, file, 0, 0, skip, sizeof skip - 1, BOTH, NULL);
}

static void members_and_frames_are_read_one_behind_the_other(void **state)
{
    static const char first[]  = "{\"s\":";
    static const char second[] = "1}\n{\"s\":2}\n";
    const packer packers[]     = {pack_gzip, pack_zstd};

    (void)state;
    for (int i = 0; i < 2; i++) {
        pb_string packed = {0};
        bool is_there    = packers[i](first, sizeof first - 1, &packed);
        is_there         = is_there && packers[i]("", 0, &packed);
        is_there         = is_there && packers[i](second, sizeof second - 1, &packed);
        if (is_there) {
            hostile_case c = {"members", "a.jsonl", packed.data, packed.length, BOTH, NULL};
            hostile_check(&c);
        }
        pb_string_clear(&packed);
    }
}

static void packed_emptiness_is_empty(void **state)
{
    const packer packers[] = {pack_gzip, pack_zstd};

    (void)state;
    for (int i = 0; i < 2; i++) {
        pb_string packed = {0};
        if (packers[i]("", 0, &packed)) {
            hostile_case c = {"empty", "a.csv.gz", packed.data, packed.length, "open", "is empty"};
            hostile_check(&c);
        }
        pb_string_clear(&packed);
    }
}

/* 300 MiB of one line, from a file of less than 2 MiB. */
static void bombs_take_no_more_memory_than_a_record_may(void **state)
{
    enum { CHUNKS = 300 };
    char *zeros      = calloc(MIB, 1);
    pb_string packed = {0};

    (void)state;
    assert_non_null(zeros);
    for (int i = 0; i < CHUNKS; i++) {
        if (!pack_gzip(zeros, MIB, &packed)) {
            free(zeros);
            skip();
        }
    }
    hostile_case c = {"bomb", "a.jsonl.gz", packed.data, packed.length, "!", "314572800 bytes"};
    size_t before  = pb_memory_current();
    pb_memory_peak_reset();
    hostile_check(&c);
    assert_true(pb_memory_peak() - before < 200u * MIB);
    pb_string_clear(&packed);
    free(zeros);
}

static bool reads(const char *compression)
{
    const char *const *names = pb_dataset_compressions();

    while (*names != NULL && strcmp(*names, compression) != 0) {
        names++;
    }
    return *names != NULL;
}

static void builds_without_a_library_refuse_its_files_with_what_to_do(void **state)
{
    static const hostile_case gzip =
        HOSTILE("gzip", "a.jsonl.gz", "\x1F\x8B\x08", "open",
                "this build has no zlib: build with it, or unpack the file (gzip -d)");
    static const hostile_case zstd =
        HOSTILE("zstd", "a.jsonl.zst", "\x28\xB5\x2F\xFD", "open",
                "this build has no libzstd: build with it, or unpack the file (zstd -d)");

    (void)state;
    if (reads("gzip") && reads("zstd")) {
        skip();
    }
    if (!reads("gzip")) {
        hostile_check(&gzip);
    }
    if (!reads("zstd")) {
        hostile_check(&zstd);
    }
}

/* Damage far beyond the first window: the rows before it have been read by then. */
static void damage_further_on_ends_the_reading_there(void **state)
{
    const packer packers[] = {pack_gzip, pack_zstd};
    pb_string plain        = {0};
    uint64_t noise         = 1;

    (void)state;
    for (int i = 0; i < 100000; i++) {
        noise = noise * 6364136223846793005u + 1442695040888963407u;
        assert_ok(pb_string_printf(&plain, "{\"s\":%d,\"t\":%" PRIu64 "}\n", i, noise >> 2));
    }
    for (int i = 0; i < 2; i++) {
        pb_string packed       = {0};
        dataset_reader *reader = NULL;
        pb_string record       = {0};
        int64_t line           = 0;
        int64_t rows           = 0;
        bool has               = true;
        pb_status status       = PB_OK;
        if (packers[i](plain.data, plain.length, &packed)) {
            fixture_write("a.jsonl", packed.data, packed.length - 9);
            assert_ok(reader_open(fixture_path("a.jsonl"), FORMAT_AUTO, NULL, &reader));
            for (; status == PB_OK && has; rows += status == PB_OK) {
                record.length = 0;
                status        = reader_next(reader, &record, &line, &has);
            }
            assert_in_range(rows, 50000, 99999);
            assert_error(status, PB_ERR_IO, "it was cut off: download it again");
            reader_close(reader);
            pb_string_clear(&record);
        }
        pb_string_clear(&packed);
    }
    pb_string_clear(&plain);
}

static void windows_beyond_the_librarys_limit_are_refused(void **state)
{
    /* An empty frame that requests 256 MiB. */
    static const hostile_case large = HOSTILE("window", "a.jsonl", "\x28\xB5\x2F\xFD\0\x90\x01\0\0",
                                              "open", "requires too much memory");

    (void)state;
    if (!reads("zstd")) {
        skip();
    }
    hostile_check(&large);
}

static void assert_not_opened(const char *path, pb_status expected, const char *part)
{
    dataset_reader *reader = NULL;

    assert_error(reader_open(path, FORMAT_AUTO, NULL, &reader), expected, part);
    assert_null(reader);
}

static void what_is_no_file_is_refused_at_once(void **state)
{
    char path[100];

    (void)state;
    assert_not_opened("/tmp", PB_ERR_IO, "/tmp is a directory");
    assert_not_opened("/dev/zero", PB_ERR_IO, "a device, not a regular file");
    assert_not_opened(fixture_path("none.csv"), PB_ERR_NOT_FOUND, "none.csv");
    (void)snprintf(path, sizeof path, "%s", fixture_path("pipe.jsonl"));
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_not_opened(path, PB_ERR_IO, "a pipe, not a regular file");
    assert_int_equal(unlink(path), 0);

    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd                     = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_true(fd >= 0);
    (void)snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    assert_int_equal(bind(fd, (const struct sockaddr *)&address, sizeof address), 0);
    assert_not_opened(path, PB_ERR_IO, "it is a socket or a device");
    assert_int_equal(close(fd), 0);
    assert_int_equal(unlink(path), 0);
}

static void unreadable_file_is_refused(void **state)
{
    char path[100];

    (void)state;
    if (geteuid() == 0) {
        skip(); /* root reads everything */
    }
    fixture_write("secret.jsonl", "{}", 2);
    (void)snprintf(path, sizeof path, "%s", fixture_path("secret.jsonl"));
    assert_int_equal(chmod(path, 0), 0);
    assert_not_opened(path, PB_ERR_IO, "check its permissions");
    assert_int_equal(unlink(path), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(other_compressions_are_refused_with_what_to_do),
        cmocka_unit_test(gzip_is_whole_or_an_error),
        cmocka_unit_test(zstd_is_whole_or_an_error),
        cmocka_unit_test(members_and_frames_are_read_one_behind_the_other),
        cmocka_unit_test(packed_emptiness_is_empty),
        cmocka_unit_test(damage_further_on_ends_the_reading_there),
        cmocka_unit_test(windows_beyond_the_librarys_limit_are_refused),
        cmocka_unit_test(builds_without_a_library_refuse_its_files_with_what_to_do),
        cmocka_unit_test(bombs_take_no_more_memory_than_a_record_may),
        cmocka_unit_test(what_is_no_file_is_refused_at_once),
        cmocka_unit_test(unreadable_file_is_refused),
    };
    return cmocka_run_group_tests(tests, fixture_open, fixture_close);
}
