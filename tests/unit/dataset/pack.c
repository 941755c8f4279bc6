// SPDX-License-Identifier: Apache-2.0
#include "pack.h"

#include "support.h"

#ifdef PB_HAVE_ZLIB
#include <zlib.h>
#endif
#ifdef PB_HAVE_ZSTD
#include <zstd.h>
#endif

#include <stdint.h>
#include <stdlib.h>

bool pack_gzip(const char *bytes, size_t size, pb_string *out)
{
#ifdef PB_HAVE_ZLIB
    z_stream z = {0};
    assert_int_equal(deflateInit2(&z, 1, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
    size_t room = deflateBound(&z, size);
    char *into  = malloc(room);
    assert_non_null(into);
    z.next_in   = (z_const Bytef *)(uintptr_t)bytes;
    z.avail_in  = (uInt)size;
    z.next_out  = (Bytef *)into;
    z.avail_out = (uInt)room;
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    assert_ok(pb_string_append(out, into, z.total_out));
    (void)deflateEnd(&z);
    free(into);
    return true;
#else
    (void)bytes;
    (void)size;
    (void)out;
    return false;
#endif
}

bool pack_zstd(const char *bytes, size_t size, pb_string *out)
{
#ifdef PB_HAVE_ZSTD
    ZSTD_CCtx *context = ZSTD_createCCtx();
    size_t room        = ZSTD_compressBound(size);
    char *into         = malloc(room);
    assert_non_null(context);
    assert_non_null(into);
    assert_false(ZSTD_isError(ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, 1)));
    size_t packed = ZSTD_compress2(context, into, room, bytes, size);
    assert_false(ZSTD_isError(packed));
    assert_ok(pb_string_append(out, into, packed));
    (void)ZSTD_freeCCtx(context);
    free(into);
    return true;
#else
    (void)bytes;
    (void)size;
    (void)out;
    return false;
#endif
}
