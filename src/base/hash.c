// SPDX-License-Identifier: Apache-2.0
/* SHA-256 through OpenSSL's EVP interface, which picks the processor's own instructions. */
#include "pb/hash.h"

#include "file_private.h"

#include "pb/file.h"
#include "pb/memory.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/sha.h>

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

enum { READ_BYTES = 1 << 20 };

struct pb_hash {
    EVP_MD_CTX *context;
    bool finished;
};

static void put_hex(const unsigned char digest[PB_HASH_BYTES], char text[PB_HASH_TEXT])
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < PB_HASH_BYTES; i++) {
        text[2 * i]     = digits[digest[i] >> 4];
        text[2 * i + 1] = digits[digest[i] & 15];
    }
    text[2 * PB_HASH_BYTES] = '\0';
}

static pb_status library_failure(const char *call)
{
    const char *reason = ERR_reason_error_string(ERR_peek_last_error());

    ERR_clear_error();
    return PB_FAIL(PB_ERR_LIBRARY, "hash: %s failed: %s", call,
                   reason != NULL ? reason : "no reason given");
}

/* Not every version of the library reports this, but the digest would be wrong. */
static pb_status check_open(const pb_hash *h)
{
    if (h->finished) {
        return PB_FAIL(PB_ERR_ARGUMENT, "hash: used after its digest was taken");
    }
    return PB_OK;
}

pb_status pb_hash_create(pb_hash **out)
{
    pb_status status;
    pb_hash *h = NULL;

    PB_TRY(PB_ALLOC(h, 1));
    h->context = EVP_MD_CTX_new();
    if (h->context == NULL) {
        status = library_failure("EVP_MD_CTX_new");
        goto err_hash;
    }
    if (EVP_DigestInit_ex(h->context, EVP_sha256(), NULL) != 1) {
        status = library_failure("EVP_DigestInit_ex");
        goto err_hash;
    }
    *out = h;
    return PB_OK;

err_hash:
    pb_hash_destroy(h);
    return status;
}

void pb_hash_destroy(pb_hash *h)
{
    if (h == NULL) {
        return;
    }
    EVP_MD_CTX_free(h->context);
    pb_memory_free(h);
}

pb_status pb_hash_update(pb_hash *h, const void *bytes, size_t size)
{
    PB_TRY(check_open(h));
    if (EVP_DigestUpdate(h->context, bytes, size) != 1) {
        return library_failure("EVP_DigestUpdate");
    }
    return PB_OK;
}

pb_status pb_hash_update_text(pb_hash *h, const char *text)
{
    return pb_hash_update(h, text, strlen(text) + 1);
}

pb_status pb_hash_finish(pb_hash *h, char text[PB_HASH_TEXT])
{
    unsigned char digest[EVP_MAX_MD_SIZE];

    PB_TRY(check_open(h));
    h->finished = true;
    if (EVP_DigestFinal_ex(h->context, digest, NULL) != 1) {
        return library_failure("EVP_DigestFinal_ex");
    }
    put_hex(digest, text);
    return PB_OK;
}

/* Hashing a whole text needs no object. */
static pb_status digest_of(const void *bytes, size_t size, unsigned char digest[PB_HASH_BYTES])
{
    if (SHA256(bytes, size, digest) == NULL) {
        return library_failure("SHA256");
    }
    return PB_OK;
}

pb_status pb_hash_bytes(const void *bytes, size_t size, char text[PB_HASH_TEXT])
{
    unsigned char digest[PB_HASH_BYTES];

    PB_TRY(digest_of(bytes, size, digest));
    put_hex(digest, text);
    return PB_OK;
}

pb_status pb_digest_of(const void *bytes, size_t size, pb_digest *out)
{
    unsigned char digest[PB_HASH_BYTES];

    PB_TRY(digest_of(bytes, size, digest));
    memcpy(out->bytes, digest, sizeof out->bytes);
    return PB_OK;
}

static pb_status update_from(pb_hash *h, int fd, const char *path)
{
    pb_status status = PB_OK;
    char *bytes      = NULL;

    PB_TRY(PB_ALLOC(bytes, READ_BYTES));
    for (;;) {
        ssize_t got = read(fd, bytes, READ_BYTES);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            status = PB_FAIL(PB_ERR_IO, "cannot read %s: %s", path, strerror(errno));
            break;
        }
        if (got == 0) {
            break;
        }
        PB_TRY_GOTO(status, pb_hash_update(h, bytes, (size_t)got), out_bytes);
    }
out_bytes:
    pb_memory_free(bytes);
    return status;
}

/* *reason: the system's, when a read failed. */
static pb_status hash_once(const char *path, char text[PB_HASH_TEXT], int *reason)
{
    pb_status status;
    pb_hash *h = NULL;
    int fd     = -1;

    PB_TRY(pb_file_open(path, &fd));
    PB_TRY_GOTO(status, pb_hash_create(&h), out_file);
    errno   = 0;
    status  = update_from(h, fd, path);
    *reason = errno;
    PB_TRY_GOTO(status, status, out_hash);
    PB_TRY_GOTO(status, pb_hash_finish(h, text), out_hash);
out_hash:
    pb_hash_destroy(h);
out_file:
    (void)close(fd);
    return status;
}

pb_status pb_hash_file(const char *path, char text[PB_HASH_TEXT])
{
    for (int tries = 1;; tries++) {
        int reason       = 0;
        pb_status status = hash_once(path, text, &reason);

        if (!file_try_again(status, reason, tries)) {
            return status;
        }
    }
}
