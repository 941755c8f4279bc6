// SPDX-License-Identifier: Apache-2.0
/* The innermost loop of products with BF16 factors, by Intel's tiles: 16 rows of 64 bytes each, of
 * which there are eight. Four hold sums, two rows of A and two columns of B. */
#include "panel.h"

#if defined(__AMX_BF16__) && defined(__AMX_TILE__) && defined(__linux__)
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
    REQUEST   = 0x1023, /* ARCH_REQ_XCOMP_PERM */
    TILE_DATA = 18,
    ROW_BYTES = PANEL_COLUMNS * 4,
    SIDE      = 16
};

bool panel_amx_is_here(void)
{
    return __builtin_cpu_supports("amx-bf16") && syscall(SYS_arch_prctl, REQUEST, TILE_DATA) == 0;
}

/* Static: compilers do not know that the instruction reads all of it. */
static const struct {
    uint8_t palette, unused[15];
    uint16_t bytes[16];
    uint8_t rows[16];
} setting = {.palette = 1,
             .bytes   = {64, 64, 64, 64, 64, 64, 64, 64},
             .rows    = {SIDE, SIDE, SIDE, SIDE, SIDE, SIDE, SIDE, SIDE}};

void panel_amx_begin(void)
{
    _tile_loadconfig(&setting);
}

void panel_amx_end(void)
{
    _tile_release();
}

void panel_amx_sums(const uint16_t *a, int64_t stride, const float *panel, int64_t units,
                    float *sums)
{
    const size_t row_bytes = (size_t)stride * sizeof *a;
    const uint16_t *lower  = a + SIDE * stride;
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (int64_t u = 0; u < units; u += AMX_UNITS) {
        _tile_loadd(4, a + 2 * u, row_bytes);
        _tile_loadd(6, panel + u * PANEL_COLUMNS, ROW_BYTES);
        _tile_loadd(7, panel + u * PANEL_COLUMNS + SIDE, ROW_BYTES);
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 4, 7);
        _tile_loadd(5, lower + 2 * u, row_bytes);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
    }
    _tile_stored(0, sums, ROW_BYTES);
    _tile_stored(1, sums + SIDE, ROW_BYTES);
    _tile_stored(2, sums + SIDE * PANEL_COLUMNS, ROW_BYTES);
    _tile_stored(3, sums + SIDE * PANEL_COLUMNS + SIDE, ROW_BYTES);
}
#else
bool panel_amx_is_here(void)
{
    return false;
}

void panel_amx_begin(void)
{
}

void panel_amx_end(void)
{
}

void panel_amx_sums(const uint16_t *a, int64_t stride, const float *panel, int64_t units,
                    float *sums)
{
    (void)a;
    (void)stride;
    (void)panel;
    (void)units;
    (void)sums;
}
#endif
