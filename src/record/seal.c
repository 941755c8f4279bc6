// SPDX-License-Identifier: Apache-2.0
/* Sealing and checking. The bytes of /checksum are stored verbatim: a contiguous dataset is neither
 * compressed nor covered by a checksum of HDF5's own. Shards of earlier versions have their
 * checksum in a line after the part that HDF5 reads. */
#include "seal.h"

#include "hdf.h"

#include "pb/file.h"
#include "pb/memory.h"
#include "pb/stop.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define DIGITS ((size_t)PB_HASH_TEXT - 1)

/* The line: mark, kind, end of the mark, digits, line end. */
#define MARK     "peftbench "
#define MARK_END " file, SHA-256 of all its bytes with these digits as zeros: "

/* The name of the dataset as HDF5 writes it, after its length. */
#define LINK "\bchecksum"

#define HDF5_SIGNATURE "\x89HDF\r\n\x1a\n"
#define SIGNATURE_SIZE (sizeof HDF5_SIGNATURE - 1)

#define EARLIER_MARK  "\nSHA-256 "
#define EARLIER_BYTES (sizeof EARLIER_MARK - 1 + PB_HASH_TEXT) /* mark, digits, line end */

/* Texts of cells may quote the line: only this many places are tried. */
enum { PLACES = 8 };

static const char zeros[] = "0000000000000000000000000000000000000000000000000000000000000000";

_Static_assert(sizeof zeros == PB_HASH_TEXT, "a zero for every digit");

pb_status seal_put(hid_t file, const char *kind)
{
    char line[256];
    hid_t type       = -1;
    hid_t space      = -1;
    hid_t creation   = -1;
    hid_t dataset    = -1;
    pb_status status = PB_OK;

    int length = snprintf(line, sizeof line, MARK "%s" MARK_END "%s\n", kind, zeros);
    TRY_HDF5(status, type = H5Tcopy(H5T_C_S1), out);
    TRY_HDF5(status, H5Tset_size(type, (size_t)length), out);
    TRY_HDF5(status, H5Tset_strpad(type, H5T_STR_NULLPAD), out);
    TRY_HDF5(status, space = H5Screate(H5S_SCALAR), out);
    TRY_HDF5(status, creation = H5Pcreate(H5P_DATASET_CREATE), out);
    TRY_HDF5(status, H5Pset_layout(creation, H5D_CONTIGUOUS), out);
    TRY_HDF5(status,
             H5Pset_attr_creation_order(creation, H5P_CRT_ORDER_TRACKED | H5P_CRT_ORDER_INDEXED),
             out);
    TRY_HDF5(status,
             dataset =
                 H5Dcreate2(file, "checksum", type, space, H5P_DEFAULT, creation, H5P_DEFAULT),
             out);
    TRY_HDF5(status, H5Dwrite(dataset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, line), out);
    PB_TRY_GOTO(status, hdf_put_text(dataset, "long_name", "checksum of the file", NULL), out);
out:
    hdf_release(&dataset);
    hdf_release(&creation);
    hdf_release(&space);
    hdf_release(&type);
    return status;
}

/* The offset of the digits of the next line at or after `from`; 0: there is none. */
static size_t find_digits(const char *bytes, size_t size, size_t from, bool *is_shard)
{
    static const char *const marks[] = {MARK "shard" MARK_END, MARK "results" MARK_END};

    while (from < size) {
        const char *at = memmem(bytes + from, size - from, MARK, sizeof MARK - 1);
        if (at == NULL) {
            return 0;
        }
        from = (size_t)(at - bytes);
        for (int k = 0; k < 2; k++) {
            size_t length = strlen(marks[k]);
            if (size - from > length + DIGITS && memcmp(at, marks[k], length) == 0) {
                *is_shard = k == 0;
                return from + length;
            }
        }
        from++;
    }
    return 0;
}

/* The hash of all bytes, with zeros in place of the digits. A stop interrupts the sealing of a
 * merged file alone: not that of a shard, which would lose its cell, nor a check that a command
 * waits for. Pages that are mapped are given back as they are read. */
static pb_status hash_around(const pb_mapping *file, bool mapped, size_t digits, bool stops,
                             char hash[PB_HASH_TEXT])
{
    const char *bytes = file->data;
    const size_t size = file->size;
    const size_t step = (size_t)1 << 22;
    pb_hash *h        = NULL;
    pb_status status;

    PB_TRY(pb_hash_create(&h));
    PB_TRY_GOTO(status, pb_hash_update(h, bytes, digits), out);
    PB_TRY_GOTO(status, pb_hash_update(h, zeros, DIGITS), out);
    for (size_t at = digits + DIGITS; at < size; at += step) {
        if (stops) {
            PB_TRY_GOTO(status, pb_stop_check(), out);
        }
        PB_TRY_GOTO(status, pb_hash_update(h, bytes + at, size - at < step ? size - at : step),
                    out);
        if (mapped) {
            pb_mapping_release(file);
        }
    }
    PB_TRY_GOTO(status, pb_hash_finish(h, hash), out);
out:
    pb_hash_destroy(h);
    return status;
}

/* The offset of the line's digits, and the correct digits. HDF5 puts /checksum, which is the first
 * object of a file, before the texts of cells. */
static pb_status compute(const pb_mapping *file, bool mapped, size_t *digits,
                         char hash[PB_HASH_TEXT])
{
    bool is_shard = false;

    *digits = find_digits(file->data, file->size, 0, &is_shard);
    if (*digits == 0) {
        return PB_FAIL(PB_ERR_FORMAT, "the dataset /checksum to fill in is missing");
    }
    return hash_around(file, mapped, *digits, mapped, hash);
}

pb_status seal_bytes(char *bytes, size_t size)
{
    const pb_mapping file = {.data = bytes, .size = size};
    char hash[PB_HASH_TEXT];
    size_t digits = 0;

    PB_TRY(compute(&file, false, &digits, hash));
    memcpy(bytes + digits, hash, DIGITS);
    return PB_OK;
}

static pb_status write_digits(const char *path, size_t digits, const char *hash)
{
    ssize_t written;
    pb_status status = PB_OK;

    int fd = open(path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) {
        return PB_FAIL(PB_ERR_IO, "cannot open %s: %s%s", path, strerror(errno),
                       pb_file_remedy(errno));
    }
    do {
        written = pwrite(fd, hash, DIGITS, (off_t)digits);
    } while (written < 0 && errno == EINTR);
    if (written != (ssize_t)DIGITS) {
        status = PB_FAIL(PB_ERR_IO, "cannot write %s: %s%s", path, strerror(errno),
                         pb_file_remedy(errno));
    }
    /* Network file systems report late failures here. */
    if (close(fd) != 0 && errno != EINTR && status == PB_OK) {
        status = PB_FAIL(PB_ERR_IO, "cannot close %s: %s%s", path, strerror(errno),
                         pb_file_remedy(errno));
    }
    return status;
}

pb_status seal_file(const char *path)
{
    pb_mapping file = {0};
    char hash[PB_HASH_TEXT];
    size_t digits = 0;

    PB_TRY(pb_mapping_open(path, &file));
    pb_status status = compute(&file, true, &digits, hash);
    pb_mapping_close(&file);
    PB_TRY(status);
    return write_digits(path, digits, hash);
}

static bool is_hdf5(const char *bytes, size_t size)
{
    return size >= SIGNATURE_SIZE && memcmp(bytes, HDF5_SIGNATURE, SIGNATURE_SIZE) == 0;
}

/* In superblocks of versions 0 and 1, at these offsets. */
enum { VERSION = 8, OPEN_MARK = 20, OPEN_MARK_BYTES = 4 };

bool seal_has_open_mark(const char *bytes, size_t size)
{
    static const char none[OPEN_MARK_BYTES];
    return size > OPEN_MARK + OPEN_MARK_BYTES && is_hdf5(bytes, size) &&
           (bytes[VERSION] == 0 || bytes[VERSION] == 1) &&
           memcmp(bytes + OPEN_MARK, none, sizeof none) != 0;
}

void seal_clear_open_mark(char *bytes, size_t size)
{
    if (seal_has_open_mark(bytes, size)) {
        memset(bytes + OPEN_MARK, 0, OPEN_MARK_BYTES);
    }
}

/* A file that has the dataset but no line in it was damaged in just that place. */
static pb_status check_lines(const pb_mapping *file, bool mapped, seal *out)
{
    const char *bytes = file->data;
    const size_t size = file->size;
    bool is_shard     = false;
    size_t digits     = find_digits(bytes, size, 0, &is_shard);
    bool sealed       = digits > 0 || memmem(bytes, size, LINK, sizeof LINK - 1) != NULL;

    out->state    = sealed ? SEAL_BROKEN : SEAL_NONE;
    out->is_shard = digits > 0 && is_shard;
    for (int i = 0; i < PLACES && digits > 0; i++) {
        char hash[PB_HASH_TEXT];
        PB_TRY(hash_around(file, mapped, digits, false, hash));
        if (memcmp(bytes + digits, hash, DIGITS) == 0) {
            out->state    = SEAL_WHOLE;
            out->is_shard = is_shard;
            memcpy(out->hash, hash, sizeof hash);
            return PB_OK;
        }
        digits = find_digits(bytes, size, digits, &is_shard);
    }
    return PB_OK;
}

static pb_status check_earlier(const char *bytes, size_t size, seal *out)
{
    const char *digits = bytes + size - EARLIER_BYTES + strlen(EARLIER_MARK);
    char hash[PB_HASH_TEXT];

    out->is_shard = true;
    PB_TRY(pb_hash_bytes(bytes, size - EARLIER_BYTES, hash));
    if (memcmp(digits, hash, DIGITS) == 0) {
        out->state = SEAL_WHOLE;
        memcpy(out->hash, hash, sizeof hash);
    }
    return PB_OK;
}

pb_status seal_check(const pb_mapping *file, bool mapped, seal *out)
{
    const char *bytes = file->data;
    const size_t size = file->size;

    *out = (seal){.state = SEAL_BROKEN};
    if (size > EARLIER_BYTES &&
        memcmp(bytes + size - EARLIER_BYTES, EARLIER_MARK, sizeof EARLIER_MARK - 1) == 0) {
        return check_earlier(bytes, size, out);
    }
    PB_TRY(check_lines(file, mapped, out));
    /* Without a seal, a file must at least look like HDF5. */
    if (out->state == SEAL_NONE && !is_hdf5(bytes, size)) {
        out->state = SEAL_BROKEN;
    }
    return PB_OK;
}
