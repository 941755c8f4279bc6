// SPDX-License-Identifier: Apache-2.0
/* Checksums of shards and merged files: what breaks them, what does not, and that a system error is
 * never mistaken for damage. */
#include "cell.h"
#include "sample.h"
#include "seal.h"
#include "support.h"

#include "pb/file.h"
#include "pb/memory.h"

#include <hdf5.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

/* Called before the record module disables links to other files in this process. */
static char with_link[128], target[128];

static int make_link(void **state)
{
    const char *directory = sample_directory();

    (void)state;
    (void)snprintf(with_link, sizeof with_link, "%s/link.h5", directory);
    (void)snprintf(target, sizeof target, "%s/target.h5", directory);
    hid_t file   = H5Fcreate(with_link, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    herr_t wrong = H5Lcreate_external(target, "cells", file, "cells", H5P_DEFAULT, H5P_DEFAULT);
    return wrong < 0 || H5Fclose(file) < 0 ? -1 : 0;
}

/* The linker substitutes these for open and read. */
int __real_open(const char *path, int flags, mode_t mode);
int __wrap_open(const char *path, int flags, mode_t mode);
ssize_t __real_read(int fd, void *bytes, size_t size);
ssize_t __wrap_read(int fd, void *bytes, size_t size);

static int open_failures, read_failures; /* the number of next calls that fail */
static int failure;                      /* with this errno */

int __wrap_open(const char *path, int flags, mode_t mode)
{
    if (open_failures > 0 && strstr(path, ".h5") != NULL) {
        open_failures--;
        errno = failure;
        return -1;
    }
    return __real_open(path, flags, mode);
}

ssize_t __wrap_read(int fd, void *bytes, size_t size)
{
    if (read_failures > 0) {
        read_failures--;
        errno = failure;
        return -1;
    }
    return __real_read(fd, bytes, size);
}

/* Two shards and their merged file. */
typedef struct folder {
    const char *directory;
    pb_record_key key; /* of the first */
    char *shard;       /* its path */
    char merged[128];
} folder;

static void put(const char *directory, int64_t seed, pb_record_key *key)
{
    pb_record a;

    assert_ok(sample_record("m", "d", "lora", seed, &a));
    assert_ok(pb_shard_write(directory, &a));
    if (key != NULL) {
        *key         = a.key;
        a.key.model  = NULL;
        a.key.method = a.key.dataset = NULL;
    }
    pb_record_clear(&a);
}

static folder make_folder(void)
{
    folder f           = {.directory = sample_directory()};
    pb_results results = {0};

    put(f.directory, 1, &f.key);
    put(f.directory, 2, NULL);
    assert_ok(pb_shard_path(f.directory, &f.key, &f.shard));
    (void)snprintf(f.merged, sizeof f.merged, "%s/all.h5", f.directory);
    assert_ok(pb_results_open_directory(f.directory, &results));
    assert_ok(pb_results_write(&results, NULL, f.merged));
    pb_results_clear(&results);
    return f;
}

static void clear_folder(folder *f)
{
    pb_memory_free(f->shard);
    pb_record_key_clear(&f->key);
}

static pb_shard_state state_of(const folder *f)
{
    pb_shard_state state = PB_SHARD_MISSING;
    pb_record record     = {0};
    char *damage         = NULL;

    assert_ok(pb_shard_find(f->directory, &f->key, PB_RECORD_HEAD, &record, &state, &damage));
    pb_memory_free(damage);
    pb_record_clear(&record);
    return state;
}

static pb_status open_file(const char *path)
{
    pb_results results = {0};
    pb_status status   = pb_results_open(&path, 1, &results);

    pb_results_clear(&results);
    return status;
}

static void write_bytes(const char *path, const char *bytes, size_t size)
{
    FILE *file = fopen(path, "wb");

    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

/* /checksum as HDF5 reads it. */
static void read_line(const char *path, char line[256])
{
    hid_t file    = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT);
    hid_t dataset = H5Dopen2(file, "checksum", H5P_DEFAULT);
    hid_t type    = H5Dget_type(dataset);

    memset(line, 0, 256);
    assert_in_range(H5Tget_size(type), 100, 255);
    assert_true(H5Dread(dataset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, line) >= 0);
    assert_true(H5Tclose(type) >= 0 && H5Dclose(dataset) >= 0 && H5Fclose(file) >= 0);
}

static void the_line_tells_the_checksum_of_the_file(void **state)
{
    folder f                        = make_folder();
    const char *const paths[]       = {f.shard, f.merged};
    static const char *const kind[] = {"shard", "results"};

    (void)state;
    for (int i = 0; i < 2; i++) {
        pb_string bytes = {0};
        char hash[PB_HASH_TEXT];
        char line[256];
        char expected[256];
        read_line(paths[i], line);
        assert_ok(pb_file_read(paths[i], 0, &bytes));
        assert_memory_equal(bytes.data, "\x89HDF", 4); /* by which readers recognise it */
        char *digits = memmem(bytes.data, bytes.length, line, strlen(line));
        assert_non_null(digits);
        memset(digits + strlen(line) - 65, '0', 64);
        assert_ok(pb_hash_bytes(bytes.data, bytes.length, hash));
        (void)snprintf(expected, sizeof expected,
                       "peftbench %s file, SHA-256 of all its bytes with these digits as zeros: "
                       "%s\n",
                       kind[i], hash);
        assert_string_equal(line, expected);
        pb_string_clear(&bytes);
    }
    clear_folder(&f);
}

/* A prediction may contain any text, even the line of another file. */
static void a_quoted_line_is_not_the_seal(void **state)
{
    folder f = make_folder();
    char line[256];
    pb_record a;

    (void)state;
    read_line(f.merged, line);
    assert_ok(sample_record("m", "d", "lora", 1, &a));
    assert_ok(pb_record_set_text(&a.message, line));
    assert_ok(pb_record_set_text(&a.config, line));
    assert_ok(pb_shard_write(f.directory, &a));
    assert_int_equal(state_of(&f), PB_SHARD_DONE);
    assert_ok(open_file(f.shard));
    pb_record_clear(&a);
    clear_folder(&f);
}

/* Every byte of a file counts, except HDF5's mark that it is open for writing. */
static void a_flipped_byte_is_found_before_hdf5_sees_it(void **state)
{
    folder f                  = make_folder();
    const char *const paths[] = {f.shard, f.merged};

    (void)state;
    for (int p = 0; p < 2; p++) {
        pb_string bytes = {0};
        assert_ok(pb_file_read(paths[p], 0, &bytes));
        for (size_t i = 0; i < 200; i++) {
            size_t at = i < 4 ? i * 5 : (i * 7919 + i * i * 131) % bytes.length;
            bytes.data[at] ^= (char)(1 << (i % 8));
            write_bytes(paths[p], bytes.data, bytes.length);
            assert_error(open_file(paths[p]), PB_ERR_FORMAT, paths[p]);
            bytes.data[at] ^= (char)(1 << (i % 8));
        }
        /* The line itself, with the mark by which it is found, and the digits. */
        char *line = memmem(bytes.data, bytes.length, "peftbench ", 10);
        assert_non_null(line);
        for (size_t i = 0; i < 150; i++) {
            line[i] ^= 1;
            write_bytes(paths[p], bytes.data, bytes.length);
            assert_error(open_file(paths[p]), PB_ERR_FORMAT, paths[p]);
            line[i] ^= 1;
        }
        for (size_t cut = 0; cut < bytes.length; cut += bytes.length / 7) {
            write_bytes(paths[p], bytes.data, cut);
            assert_error(open_file(paths[p]), PB_ERR_FORMAT, paths[p]);
        }
        write_bytes(paths[p], bytes.data, bytes.length);
        assert_ok(open_file(paths[p]));
        pb_string_clear(&bytes);
    }
    clear_folder(&f);
}

static void the_remedy_is_that_of_the_kind_of_file(void **state)
{
    folder f = make_folder();

    (void)state;
    assert_int_equal(truncate(f.merged, 5000), 0);
    assert_int_equal(truncate(f.shard, 5000), 0);
    assert_error(open_file(f.merged), PB_ERR_FORMAT, "peftbench merge");
    assert_error(open_file(f.shard), PB_ERR_FORMAT, "the same `peftbench run`");
    write_bytes(f.merged, "this is text\n", 13);
    assert_error(open_file(f.merged), PB_ERR_FORMAT, "is not a results file");
    clear_folder(&f);
}

/* Opens files as h5py did by default before version 3. */
static void opening_for_writing_alone_costs_nothing(void **state)
{
    folder f                  = make_folder();
    const char *const paths[] = {f.shard, f.merged};

    (void)state;
    for (int latest = 0; latest < 2; latest++) {
        hid_t access = H5Pcreate(H5P_FILE_ACCESS);
        assert_true(!latest ||
                    H5Pset_libver_bounds(access, H5F_LIBVER_LATEST, H5F_LIBVER_LATEST) >= 0);
        for (int p = 0; p < 2; p++) {
            hid_t file = H5Fopen(paths[p], H5F_ACC_RDWR, access);
            assert_true(file >= 0);
            assert_true(H5Fclose(file) >= 0);
            assert_ok(open_file(paths[p]));
        }
        assert_true(H5Pclose(access) >= 0);
    }
    assert_int_equal(state_of(&f), PB_SHARD_DONE);
    clear_folder(&f);
}

/* Removes the seal, and gives a shard the line that earlier versions appended. */
static void make_earlier(const char *path, bool shard)
{
    pb_string bytes = {0};
    char hash[PB_HASH_TEXT];

    hid_t file = H5Fopen(path, H5F_ACC_RDWR, H5P_DEFAULT); /* replaced by a name of equal length */
    assert_true(H5Lmove(file, "checksum", file, "-hecksum", H5P_DEFAULT, H5P_DEFAULT) >= 0);
    assert_true(H5Fclose(file) >= 0);
    assert_ok(pb_file_read(path, 0, &bytes));
    char *mark = memmem(bytes.data, bytes.length, " file, SHA-256 ", 15);
    assert_non_null(mark);
    *mark = '-';
    assert_ok(pb_hash_bytes(bytes.data, bytes.length, hash));
    if (shard) {
        assert_ok(pb_string_printf(&bytes, "\nSHA-256 %s\n", hash));
    }
    write_bytes(path, bytes.data, bytes.length);
    pb_string_clear(&bytes);
}

static void files_of_earlier_versions_are_read(void **state)
{
    folder f           = make_folder();
    pb_results results = {0};
    pb_record whole;

    (void)state;
    make_earlier(f.shard, true);
    assert_int_equal(state_of(&f), PB_SHARD_DONE);
    assert_ok(open_file(f.shard));
    assert_ok(pb_results_open_directory(f.directory, &results));
    assert_int_equal(results.count, 2);
    assert_ok(sample_load(&results.records[0], &whole));
    pb_record_clear(&whole);
    pb_results_clear(&results);
    make_earlier(f.merged, false);
    assert_ok(open_file(f.merged));
    /* A shard whose line was cut off differs from a merged file that never had one. */
    struct pb_string bytes = {0};
    assert_ok(pb_file_read(f.shard, 0, &bytes));
    assert_int_equal(truncate(f.shard, (off_t)bytes.length - 74), 0);
    assert_int_equal(state_of(&f), PB_SHARD_DAMAGED);
    assert_error(open_file(f.shard), PB_ERR_FORMAT, "without its checksum");
    pb_string_clear(&bytes);
    clear_folder(&f);
}

static void locks_of_others_do_not_matter(void **state)
{
    folder f                  = make_folder();
    const char *const paths[] = {f.shard, f.merged};
    pb_results results        = {0};

    (void)state;
    for (int p = 0; p < 2; p++) {
        FILE *file = fopen(paths[p], "r+");
        assert_non_null(file);
        assert_int_equal(flock(fileno(file), LOCK_EX), 0);
        assert_ok(open_file(paths[p]));
        assert_int_equal(state_of(&f), PB_SHARD_DONE);
        assert_ok(pb_results_open_directory(f.directory, &results));
        assert_ok(pb_results_write(&results, NULL, f.merged));
        pb_results_clear(&results);
        assert_int_equal(fclose(file), 0);
    }
    clear_folder(&f);
}

static void what_fails_once_is_tried_again(void **state)
{
    static const int transient[] = {EIO, ESTALE, EAGAIN, ENOLCK};
    folder f                     = make_folder();

    (void)state;
    for (size_t i = 0; i < sizeof transient / sizeof *transient; i++) {
        failure       = transient[i];
        open_failures = 1;
        assert_int_equal(state_of(&f), PB_SHARD_DONE);
        read_failures = 2;
        assert_int_equal(state_of(&f), PB_SHARD_DONE);
        open_failures = 1;
        assert_ok(open_file(f.merged));
    }
    clear_folder(&f);
}

static void what_fails_for_good_is_an_error_and_no_damage(void **state)
{
    static const int reasons[] = {EIO, EACCES, ENOMEM, EMFILE, ENOLCK};
    folder f                   = make_folder();
    pb_shard_state found       = PB_SHARD_MISSING;
    pb_results results         = {0};
    char *damage               = NULL;
    pb_record record;

    (void)state;
    for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++) {
        failure       = reasons[i];
        open_failures = 1000;
        assert_error(pb_shard_find(f.directory, &f.key, PB_RECORD_HEAD, &record, &found, &damage),
                     PB_ERR_IO, strerror(reasons[i]));
        assert_null(damage);
        assert_error(pb_results_open_directory(f.directory, &results), PB_ERR_IO, f.shard);
        open_failures = 0;
        read_failures = 1000;
        assert_error(pb_shard_find(f.directory, &f.key, PB_RECORD_HEAD, &record, &found, &damage),
                     PB_ERR_IO, strerror(reasons[i]));
        assert_error(open_file(f.merged), PB_ERR_IO, f.merged);
        read_failures = 0;
    }
    assert_int_equal(state_of(&f), PB_SHARD_DONE);
    clear_folder(&f);
}

/* Its checksum is correct, so the file is unchanged, but written by an unknown program. */
static void a_whole_shard_that_cannot_be_understood_is_not_damaged(void **state)
{
    folder f             = make_folder();
    pb_shard_state found = PB_SHARD_MISSING;
    char *damage         = NULL;
    int64_t schema       = 99;
    pb_record record;

    (void)state;
    hid_t file      = H5Fopen(f.shard, H5F_ACC_RDWR, H5P_DEFAULT);
    hid_t attribute = H5Aopen(file, "schema", H5P_DEFAULT);
    assert_true(H5Awrite(attribute, H5T_NATIVE_INT64, &schema) >= 0);
    assert_true(H5Aclose(attribute) >= 0 && H5Fclose(file) >= 0);
    assert_int_equal(state_of(&f), PB_SHARD_DAMAGED);
    assert_ok(seal_file(f.shard));
    assert_error(pb_shard_find(f.directory, &f.key, PB_RECORD_HEAD, &record, &found, &damage),
                 PB_ERR_FORMAT, "schema 99");
    assert_null(damage);
    clear_folder(&f);
}

static void a_shard_that_is_replaced_meanwhile_is_an_error(void **state)
{
    folder f           = make_folder();
    pb_results results = {0};
    pb_record_values values;
    pb_record a;

    (void)state;
    assert_ok(pb_results_open_directory(f.directory, &results));
    assert_ok(sample_record("m", "d", "lora", 1, &a));
    a.score = 1;
    assert_ok(pb_shard_write(f.directory, &a));
    pb_record_clear(&a);
    assert_error(sample_load(&results.records[0], &a), PB_ERR_IO, "was replaced while it was read");
    assert_error(pb_record_values_read(&results.records[0], &values), PB_ERR_IO, f.shard);
    assert_error(pb_results_write(&results, NULL, f.merged), PB_ERR_IO, f.shard);
    assert_ok(open_file(f.merged)); /* the earlier one */
    pb_results_clear(&results);
    clear_folder(&f);
}

/* Every group of a merged file in turn. */
static void nothing_leads_to_other_places(void **state)
{
    static const char *const links[] = {"cells", "cells/m/d", "grid", "grid/model", "results"};
    folder f                         = make_folder();

    (void)state;
    for (size_t i = 0; i < sizeof links / sizeof *links; i++) {
        pb_results results = {0};
        assert_ok(pb_results_open_directory(f.directory, &results));
        assert_ok(pb_results_write(&results, NULL, f.merged));
        pb_results_clear(&results);
        hid_t file = H5Fopen(f.merged, H5F_ACC_RDWR, H5P_DEFAULT);
        assert_true(H5Lmove(file, links[i], file, "kept", H5P_DEFAULT, H5P_DEFAULT) >= 0);
        assert_true(H5Lcreate_soft("/kept", file, links[i], H5P_DEFAULT, H5P_DEFAULT) >= 0);
        assert_true(H5Fclose(file) >= 0);
        assert_ok(seal_file(f.merged));
        assert_error(open_file(f.merged), PB_ERR_FORMAT, "is a link to another place");
    }
    clear_folder(&f);
}

/* A shard whose cells are in another, intact file. */
static void nothing_leads_into_other_files(void **state)
{
    folder f   = make_folder();
    hid_t file = H5Fopen(with_link, H5F_ACC_RDWR, H5P_DEFAULT);

    (void)state;
    assert_ok(cell_root_write(file, "shard"));
    assert_true(H5Fclose(file) >= 0);
    assert_int_equal(rename(f.shard, target), 0);
    assert_ok(seal_file(with_link));
    assert_error(open_file(with_link), PB_ERR_FORMAT, "\"cells\" is a link to another file");
    assert_int_equal(remove(target), 0);
    clear_folder(&f);
}

static void data_of_other_files_is_not_read(void **state)
{
    folder f     = make_folder();
    hsize_t rows = 2;

    (void)state;
    hid_t file     = H5Fopen(f.merged, H5F_ACC_RDWR, H5P_DEFAULT);
    hid_t creation = H5Pcreate(H5P_DATASET_CREATE);
    hid_t space    = H5Screate_simple(1, &rows, NULL);
    assert_true(H5Pset_external(creation, "/etc/passwd", 0, 16) >= 0);
    assert_true(H5Ldelete(file, "grid/seed", H5P_DEFAULT) >= 0);
    hid_t data =
        H5Dcreate2(file, "grid/seed", H5T_STD_I64LE, space, H5P_DEFAULT, creation, H5P_DEFAULT);
    assert_true(data >= 0 && H5Dclose(data) >= 0);
    assert_true(H5Sclose(space) >= 0 && H5Pclose(creation) >= 0 && H5Fclose(file) >= 0);
    assert_ok(seal_file(f.merged));
    assert_error(open_file(f.merged), PB_ERR_FORMAT, "\"seed\" has its data in another file");
    clear_folder(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(the_line_tells_the_checksum_of_the_file, returns_all_bytes),
        cmocka_unit_test_teardown(a_quoted_line_is_not_the_seal, returns_all_bytes),
        cmocka_unit_test_teardown(a_flipped_byte_is_found_before_hdf5_sees_it, returns_all_bytes),
        cmocka_unit_test_teardown(the_remedy_is_that_of_the_kind_of_file, returns_all_bytes),
        cmocka_unit_test_teardown(opening_for_writing_alone_costs_nothing, returns_all_bytes),
        cmocka_unit_test_teardown(files_of_earlier_versions_are_read, returns_all_bytes),
        cmocka_unit_test_teardown(locks_of_others_do_not_matter, returns_all_bytes),
        cmocka_unit_test_teardown(what_fails_once_is_tried_again, returns_all_bytes),
        cmocka_unit_test_teardown(what_fails_for_good_is_an_error_and_no_damage, returns_all_bytes),
        cmocka_unit_test_teardown(a_whole_shard_that_cannot_be_understood_is_not_damaged,
                                  returns_all_bytes),
        cmocka_unit_test_teardown(a_shard_that_is_replaced_meanwhile_is_an_error,
                                  returns_all_bytes),
        cmocka_unit_test_teardown(nothing_leads_to_other_places, returns_all_bytes),
        cmocka_unit_test_teardown(nothing_leads_into_other_files, returns_all_bytes),
        cmocka_unit_test_teardown(data_of_other_files_is_not_read, returns_all_bytes),
    };
    return cmocka_run_group_tests_name("seal", tests, make_link, NULL);
}
