// SPDX-License-Identifier: Apache-2.0
/* Where the Unicode versions differ. The reference tokenizers use version 16 in their regular
 * expressions, 11 in their normalisation and 8 in their punctuation; the libraries here use
 * whatever version is installed. The characters that differ are listed. */
#include "unicode_versions.h"

#include "pb/string.h"

#include <stddef.h>

typedef struct range {
    int32_t first, last;
} range;

typedef struct category_range {
    int32_t first, last;
    utf8proc_category_t category;
} category_range;

/* Assigned in the versions 15.0 to 16.0. */
static const category_range assigned[] = {
    {0x0897, 0x0897, UTF8PROC_CATEGORY_MN},   {0x0cf3, 0x0cf3, UTF8PROC_CATEGORY_MC},
    {0x0ece, 0x0ece, UTF8PROC_CATEGORY_MN},   {0x1b4e, 0x1b4f, UTF8PROC_CATEGORY_PO},
    {0x1b7f, 0x1b7f, UTF8PROC_CATEGORY_PO},   {0x1c89, 0x1c89, UTF8PROC_CATEGORY_LU},
    {0x1c8a, 0x1c8a, UTF8PROC_CATEGORY_LL},   {0x2427, 0x2429, UTF8PROC_CATEGORY_SO},
    {0x2ffc, 0x2fff, UTF8PROC_CATEGORY_SO},   {0x31e4, 0x31e5, UTF8PROC_CATEGORY_SO},
    {0x31ef, 0x31ef, UTF8PROC_CATEGORY_SO},   {0xa7cb, 0xa7cc, UTF8PROC_CATEGORY_LU},
    {0xa7cd, 0xa7cd, UTF8PROC_CATEGORY_LL},   {0xa7da, 0xa7da, UTF8PROC_CATEGORY_LU},
    {0xa7db, 0xa7db, UTF8PROC_CATEGORY_LL},   {0xa7dc, 0xa7dc, UTF8PROC_CATEGORY_LU},
    {0x105c0, 0x105f3, UTF8PROC_CATEGORY_LO}, {0x10d40, 0x10d49, UTF8PROC_CATEGORY_ND},
    {0x10d4a, 0x10d4d, UTF8PROC_CATEGORY_LO}, {0x10d4e, 0x10d4e, UTF8PROC_CATEGORY_LM},
    {0x10d4f, 0x10d4f, UTF8PROC_CATEGORY_LO}, {0x10d50, 0x10d65, UTF8PROC_CATEGORY_LU},
    {0x10d69, 0x10d6d, UTF8PROC_CATEGORY_MN}, {0x10d6e, 0x10d6e, UTF8PROC_CATEGORY_PD},
    {0x10d6f, 0x10d6f, UTF8PROC_CATEGORY_LM}, {0x10d70, 0x10d85, UTF8PROC_CATEGORY_LL},
    {0x10d8e, 0x10d8f, UTF8PROC_CATEGORY_SM}, {0x10ec2, 0x10ec4, UTF8PROC_CATEGORY_LO},
    {0x10efc, 0x10eff, UTF8PROC_CATEGORY_MN}, {0x1123f, 0x11240, UTF8PROC_CATEGORY_LO},
    {0x11241, 0x11241, UTF8PROC_CATEGORY_MN}, {0x11380, 0x11389, UTF8PROC_CATEGORY_LO},
    {0x1138b, 0x1138b, UTF8PROC_CATEGORY_LO}, {0x1138e, 0x1138e, UTF8PROC_CATEGORY_LO},
    {0x11390, 0x113b5, UTF8PROC_CATEGORY_LO}, {0x113b7, 0x113b7, UTF8PROC_CATEGORY_LO},
    {0x113b8, 0x113ba, UTF8PROC_CATEGORY_MC}, {0x113bb, 0x113c0, UTF8PROC_CATEGORY_MN},
    {0x113c2, 0x113c2, UTF8PROC_CATEGORY_MC}, {0x113c5, 0x113c5, UTF8PROC_CATEGORY_MC},
    {0x113c7, 0x113ca, UTF8PROC_CATEGORY_MC}, {0x113cc, 0x113cd, UTF8PROC_CATEGORY_MC},
    {0x113ce, 0x113ce, UTF8PROC_CATEGORY_MN}, {0x113cf, 0x113cf, UTF8PROC_CATEGORY_MC},
    {0x113d0, 0x113d0, UTF8PROC_CATEGORY_MN}, {0x113d1, 0x113d1, UTF8PROC_CATEGORY_LO},
    {0x113d2, 0x113d2, UTF8PROC_CATEGORY_MN}, {0x113d3, 0x113d3, UTF8PROC_CATEGORY_LO},
    {0x113d4, 0x113d5, UTF8PROC_CATEGORY_PO}, {0x113d7, 0x113d8, UTF8PROC_CATEGORY_PO},
    {0x113e1, 0x113e2, UTF8PROC_CATEGORY_MN}, {0x116d0, 0x116e3, UTF8PROC_CATEGORY_ND},
    {0x11b00, 0x11b09, UTF8PROC_CATEGORY_PO}, {0x11bc0, 0x11be0, UTF8PROC_CATEGORY_LO},
    {0x11be1, 0x11be1, UTF8PROC_CATEGORY_PO}, {0x11bf0, 0x11bf9, UTF8PROC_CATEGORY_ND},
    {0x11f00, 0x11f01, UTF8PROC_CATEGORY_MN}, {0x11f02, 0x11f02, UTF8PROC_CATEGORY_LO},
    {0x11f03, 0x11f03, UTF8PROC_CATEGORY_MC}, {0x11f04, 0x11f10, UTF8PROC_CATEGORY_LO},
    {0x11f12, 0x11f33, UTF8PROC_CATEGORY_LO}, {0x11f34, 0x11f35, UTF8PROC_CATEGORY_MC},
    {0x11f36, 0x11f3a, UTF8PROC_CATEGORY_MN}, {0x11f3e, 0x11f3f, UTF8PROC_CATEGORY_MC},
    {0x11f40, 0x11f40, UTF8PROC_CATEGORY_MN}, {0x11f41, 0x11f41, UTF8PROC_CATEGORY_MC},
    {0x11f42, 0x11f42, UTF8PROC_CATEGORY_MN}, {0x11f43, 0x11f4f, UTF8PROC_CATEGORY_PO},
    {0x11f50, 0x11f59, UTF8PROC_CATEGORY_ND}, {0x11f5a, 0x11f5a, UTF8PROC_CATEGORY_MN},
    {0x1342f, 0x1342f, UTF8PROC_CATEGORY_LO}, {0x13439, 0x1343f, UTF8PROC_CATEGORY_CF},
    {0x13440, 0x13440, UTF8PROC_CATEGORY_MN}, {0x13441, 0x13446, UTF8PROC_CATEGORY_LO},
    {0x13447, 0x13455, UTF8PROC_CATEGORY_MN}, {0x13460, 0x143fa, UTF8PROC_CATEGORY_LO},
    {0x16100, 0x1611d, UTF8PROC_CATEGORY_LO}, {0x1611e, 0x16129, UTF8PROC_CATEGORY_MN},
    {0x1612a, 0x1612c, UTF8PROC_CATEGORY_MC}, {0x1612d, 0x1612f, UTF8PROC_CATEGORY_MN},
    {0x16130, 0x16139, UTF8PROC_CATEGORY_ND}, {0x16d40, 0x16d42, UTF8PROC_CATEGORY_LM},
    {0x16d43, 0x16d6a, UTF8PROC_CATEGORY_LO}, {0x16d6b, 0x16d6c, UTF8PROC_CATEGORY_LM},
    {0x16d6d, 0x16d6f, UTF8PROC_CATEGORY_PO}, {0x16d70, 0x16d79, UTF8PROC_CATEGORY_ND},
    {0x18cff, 0x18cff, UTF8PROC_CATEGORY_LO}, {0x1b132, 0x1b132, UTF8PROC_CATEGORY_LO},
    {0x1b155, 0x1b155, UTF8PROC_CATEGORY_LO}, {0x1cc00, 0x1ccef, UTF8PROC_CATEGORY_SO},
    {0x1ccf0, 0x1ccf9, UTF8PROC_CATEGORY_ND}, {0x1cd00, 0x1ceb3, UTF8PROC_CATEGORY_SO},
    {0x1d2c0, 0x1d2d3, UTF8PROC_CATEGORY_NO}, {0x1df25, 0x1df2a, UTF8PROC_CATEGORY_LL},
    {0x1e030, 0x1e06d, UTF8PROC_CATEGORY_LM}, {0x1e08f, 0x1e08f, UTF8PROC_CATEGORY_MN},
    {0x1e4d0, 0x1e4ea, UTF8PROC_CATEGORY_LO}, {0x1e4eb, 0x1e4eb, UTF8PROC_CATEGORY_LM},
    {0x1e4ec, 0x1e4ef, UTF8PROC_CATEGORY_MN}, {0x1e4f0, 0x1e4f9, UTF8PROC_CATEGORY_ND},
    {0x1e5d0, 0x1e5ed, UTF8PROC_CATEGORY_LO}, {0x1e5ee, 0x1e5ef, UTF8PROC_CATEGORY_MN},
    {0x1e5f0, 0x1e5f0, UTF8PROC_CATEGORY_LO}, {0x1e5f1, 0x1e5fa, UTF8PROC_CATEGORY_ND},
    {0x1e5ff, 0x1e5ff, UTF8PROC_CATEGORY_PO}, {0x1f6dc, 0x1f6dc, UTF8PROC_CATEGORY_SO},
    {0x1f774, 0x1f776, UTF8PROC_CATEGORY_SO}, {0x1f77b, 0x1f77f, UTF8PROC_CATEGORY_SO},
    {0x1f7d9, 0x1f7d9, UTF8PROC_CATEGORY_SO}, {0x1f8b2, 0x1f8bb, UTF8PROC_CATEGORY_SO},
    {0x1f8c0, 0x1f8c1, UTF8PROC_CATEGORY_SO}, {0x1fa75, 0x1fa77, UTF8PROC_CATEGORY_SO},
    {0x1fa87, 0x1fa89, UTF8PROC_CATEGORY_SO}, {0x1fa8f, 0x1fa8f, UTF8PROC_CATEGORY_SO},
    {0x1faad, 0x1faaf, UTF8PROC_CATEGORY_SO}, {0x1fabb, 0x1fabf, UTF8PROC_CATEGORY_SO},
    {0x1fac6, 0x1fac6, UTF8PROC_CATEGORY_SO}, {0x1face, 0x1facf, UTF8PROC_CATEGORY_SO},
    {0x1fada, 0x1fadc, UTF8PROC_CATEGORY_SO}, {0x1fadf, 0x1fadf, UTF8PROC_CATEGORY_SO},
    {0x1fae8, 0x1fae9, UTF8PROC_CATEGORY_SO}, {0x1faf7, 0x1faf8, UTF8PROC_CATEGORY_SO},
    {0x1fbcb, 0x1fbef, UTF8PROC_CATEGORY_SO}, {0x2b739, 0x2b739, UTF8PROC_CATEGORY_LO},
    {0x2ebf0, 0x2ee5d, UTF8PROC_CATEGORY_LO}, {0x31350, 0x323af, UTF8PROC_CATEGORY_LO},
};

/* Classes, decompositions and compositions added after version 11. */
static const range normalised_later[] = {
    {0x07fd, 0x07fd},   {0x0898, 0x089f},   {0x08ca, 0x08d3},   {0x09fe, 0x09fe},
    {0x0c3c, 0x0c3c},   {0x0d3b, 0x0d3c},   {0x0eba, 0x0eba},   {0x1715, 0x1715},
    {0x1abf, 0x1ace},   {0x1df6, 0x1dfa},   {0x32ff, 0x32ff},   {0xa7f2, 0xa7f4},
    {0xa82c, 0xa82c},   {0xab69, 0xab69},   {0x10781, 0x10785}, {0x10787, 0x107b0},
    {0x107b2, 0x107ba}, {0x10d24, 0x10d27}, {0x10eab, 0x10eac}, {0x10efd, 0x10eff},
    {0x10f46, 0x10f50}, {0x10f82, 0x10f85}, {0x11070, 0x11070}, {0x1133b, 0x1133b},
    {0x1145e, 0x1145e}, {0x11839, 0x1183a}, {0x11930, 0x11930}, {0x11938, 0x11938},
    {0x1193d, 0x1193e}, {0x11943, 0x11943}, {0x119e0, 0x119e0}, {0x11a34, 0x11a34},
    {0x11a47, 0x11a47}, {0x11a99, 0x11a99}, {0x11d42, 0x11d42}, {0x11d44, 0x11d45},
    {0x11d97, 0x11d97}, {0x11f41, 0x11f42}, {0x16ff0, 0x16ff1}, {0x1e030, 0x1e06d},
    {0x1e08f, 0x1e08f}, {0x1e130, 0x1e136}, {0x1e2ae, 0x1e2ae}, {0x1e2ec, 0x1e2ef},
    {0x1e4ec, 0x1e4ef}, {0x1f16c, 0x1f16c}, {0x1fbf0, 0x1fbf9},
};

/* Punctuation added after version 8, except U+166D and U+111C9, which were punctuation then. */
static const range punctuation_later[] = {
    {0x061d, 0x061d},   {0x09fd, 0x09fd},   {0x0a76, 0x0a76},   {0x0c77, 0x0c77},
    {0x0c84, 0x0c84},   {0x1b7d, 0x1b7e},   {0x2e43, 0x2e4f},   {0x2e52, 0x2e5d},
    {0x10ead, 0x10ead}, {0x10f55, 0x10f59}, {0x10f86, 0x10f89}, {0x1144b, 0x1144f},
    {0x1145a, 0x1145b}, {0x1145d, 0x1145d}, {0x11660, 0x1166c}, {0x116b9, 0x116b9},
    {0x1183b, 0x1183b}, {0x11944, 0x11946}, {0x119e2, 0x119e2}, {0x11a3f, 0x11a46},
    {0x11a9a, 0x11a9c}, {0x11a9e, 0x11aa2}, {0x11b00, 0x11b09}, {0x11c41, 0x11c45},
    {0x11c70, 0x11c71}, {0x11ef7, 0x11ef8}, {0x11f43, 0x11f4f}, {0x11fff, 0x11fff},
    {0x12ff1, 0x12ff2}, {0x16e97, 0x16e9a}, {0x16fe2, 0x16fe2}, {0x1e95e, 0x1e95f},
};

/* Capital letters added after version 15.0, and the distance to their small letters. */
static const struct {
    int32_t first, last, distance;
} lowered[] = {
    {0x1c89, 0x1c89, 1},      {0xa7cb, 0xa7cb, 0x264 - 0xa7cb},
    {0xa7cc, 0xa7cc, 1},      {0xa7ce, 0xa7ce, 1},
    {0xa7d2, 0xa7d2, 1},      {0xa7d4, 0xa7d4, 1},
    {0xa7da, 0xa7da, 1},      {0xa7dc, 0xa7dc, 0x19b - 0xa7dc},
    {0x10d50, 0x10d65, 0x20}, {0x16ea0, 0x16eb8, 0x1b},
};

/* The index of the range that holds the code, -1 when none does. `stride`: bytes from one range to
 * the next; every range begins with first and last. */
static ptrdiff_t find(const void *ranges, size_t count, size_t stride, int32_t code)
{
    size_t low  = 0;
    size_t high = count;

    while (low < high) {
        size_t middle  = low + (high - low) / 2;
        const range *r = (const range *)((const char *)ranges + middle * stride);
        if (code < r->first) {
            high = middle;
        } else if (code > r->last) {
            low = middle + 1;
        } else {
            return (ptrdiff_t)middle;
        }
    }
    return -1;
}

#define FIND(table, code) find((table), sizeof(table) / sizeof *(table), sizeof *(table), (code))

utf8proc_category_t unicode_category(int32_t code)
{
    utf8proc_category_t known = utf8proc_category(code);

    if (known == UTF8PROC_CATEGORY_CN) {
        ptrdiff_t i = FIND(assigned, code);
        known       = i < 0 ? known : assigned[i].category;
    }
    return known;
}

bool unicode_is_normalised_later(int32_t code)
{
    return FIND(normalised_later, code) >= 0;
}

bool unicode_is_punctuation_later(int32_t code)
{
    return FIND(punctuation_later, code) >= 0;
}

int32_t unicode_lower(int32_t code)
{
    ptrdiff_t i = FIND(lowered, code);
    return i < 0 ? utf8proc_tolower(code) : code + lowered[i].distance;
}

/* The name of a category as expressions write it: "Lu". */
static const char *name_of(utf8proc_category_t category)
{
    static const char *const names[] = {"Cn", "Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Me", "Nd",
                                        "Nl", "No", "Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po", "Sm",
                                        "Sc", "Sk", "So", "Zs", "Zl", "Zp", "Cc", "Cf", "Cs", "Co"};
    return names[category];
}

pb_status unicode_append_assigned(const char *category, pb_string *out)
{
    for (size_t i = 0; i < sizeof assigned / sizeof *assigned; i++) {
        if (pb_string_begins(name_of(assigned[i].category), category)) {
            PB_TRY(pb_string_printf(out, "\\x{%x}-\\x{%x}", (unsigned)assigned[i].first,
                                    (unsigned)assigned[i].last));
        }
    }
    return PB_OK;
}
