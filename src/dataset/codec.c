// SPDX-License-Identifier: Apache-2.0
/* Which compression a file has, and whether this build reads it. */
#include "codec.h"

#include "pb/dataset.h"

#include <string.h>

#ifdef PB_HAVE_ZLIB
#define GZIP &codec_gzip
#else
#define GZIP NULL
#endif
#ifdef PB_HAVE_ZSTD
#define ZSTD &codec_zstd
#else
#define ZSTD NULL
#endif

typedef struct compression {
    const char *name;
    const char *magic;
    size_t size;   /* bytes of the magic */
    size_t offset; /* where they lie */
    const dataset_codec *codec;
    const char *library; /* what a build needs for it; NULL: no build reads it */
    const char *unpack;  /* the program that unpacks it */
} compression;

static const compression compressions[] = {
    {"gzip", "\x1f\x8b", 2, 0, GZIP, "zlib", "gzip -d"},
    {"zstd", "\x28\xb5\x2f\xfd", 4, 0, ZSTD, "libzstd", "zstd -d"},
    {"bzip2", "1AY&SY", 6, 4, NULL, NULL, "bzip2 -d"},
    {"xz", "\xfd\x37zXZ", 5, 0, NULL, NULL, "xz -d"},
    {"zip", "PK\x03\x04", 4, 0, NULL, NULL, "unzip"},
};

enum { COMPRESSIONS = sizeof compressions / sizeof *compressions };

/* A zstd file may begin with a skippable frame: 0x184D2A50 … 0x184D2A5F. */
static bool is_skippable_zstd(const unsigned char *bytes, size_t size)
{
    return size >= 4 && (bytes[0] & 0xF0) == 0x50 && memcmp(bytes + 1, "\x2a\x4d\x18", 3) == 0;
}

static bool begins_so(const compression *c, const unsigned char *bytes, size_t size)
{
    if (size >= c->offset + c->size && memcmp(bytes + c->offset, c->magic, c->size) == 0) {
        return true;
    }
    return strcmp(c->name, "zstd") == 0 && is_skippable_zstd(bytes, size);
}

pb_status codec_find(const void *bytes, size_t size, const dataset_codec **out)
{
    for (int i = 0; i < COMPRESSIONS; i++) {
        const compression *c = &compressions[i];
        if (!begins_so(c, bytes, size)) {
            continue;
        }
        if (c->codec == NULL && c->library != NULL) {
            return PB_FAIL(PB_ERR_UNSUPPORTED,
                           "it is compressed by %s, and this build has no %s: build with it, or "
                           "unpack the file (%s)",
                           c->name, c->library, c->unpack);
        }
        if (c->codec == NULL) {
            return PB_FAIL(PB_ERR_UNSUPPORTED,
                           "it is compressed by %s; gzip and zstd are read, so unpack it (%s)",
                           c->name, c->unpack);
        }
        *out = c->codec;
        return PB_OK;
    }
    *out = NULL;
    return PB_OK;
}

const char *const *pb_dataset_compressions(void)
{
    static const char *const names[] = {
#ifdef PB_HAVE_ZLIB
        "gzip",
#endif
#ifdef PB_HAVE_ZSTD
        "zstd",
#endif
        NULL,
    };
    return names;
}
