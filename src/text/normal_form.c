// SPDX-License-Identifier: Apache-2.0
/* A character is inert in a form when its combining class is 0, the form does not change it, and it
 * never joins the character before it: a text may be cut before it and normalised in parts (Unicode
 * Standard Annex 15, section 9). */
#include "normal_form.h"

#include "unicode.h"
#include "unicode_versions.h"

#include "pb/memory.h"
#include "pb/utf8.h"

#include <pthread.h>
#include <string.h>

/* Characters from here on are not in the table: they never count as inert. */
enum { TABLE_END = 0x30000 };

/* Bits of the table: one per form in which the character is active, that is, not inert; and one for
 * characters that are too new for the reference: nothing joins them. */
enum { ALL_FORMS = (1 << FORM_COUNT) - 1, BARRIER = 1 << FORM_COUNT };

static const utf8proc_option_t options_of[FORM_COUNT] = {
    [FORM_NFC]  = UTF8PROC_STABLE | UTF8PROC_COMPOSE,
    [FORM_NFD]  = UTF8PROC_STABLE | UTF8PROC_DECOMPOSE,
    [FORM_NFKC] = UTF8PROC_STABLE | UTF8PROC_COMPOSE | UTF8PROC_COMPAT,
    [FORM_NFKD] = UTF8PROC_STABLE | UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT,
};

/* Filled once, then only read. */
static uint8_t traits[TABLE_END];
static pthread_once_t filled = PTHREAD_ONCE_INIT;

/* The result for one character; its canonical parts may join a preceding character. */
static void fill_one(int32_t code)
{
    enum { PARTS = 32 };
    const utf8proc_property_t *property = utf8proc_get_property(code);
    bool hangul                         = code >= 0xac00 && code <= 0xd7a3;

    if (property->combining_class != 0) {
        traits[code] |= ALL_FORMS;
    }
    if (property->decomp_seqindex == UINT16_MAX && !hangul) {
        return;
    }
    for (int form = 0; form < FORM_COUNT; form++) {
        int32_t parts[PARTS];
        int class              = 0;
        utf8proc_option_t how  = options_of[form];
        utf8proc_ssize_t count = utf8proc_decompose_char(code, parts, PARTS, how, &class);
        for (utf8proc_ssize_t i = 1; (how & UTF8PROC_COMPOSE) != 0 && i < count; i++) {
            traits[parts[i]] |= (uint8_t)(1 << form);
        }
        count = utf8proc_normalize_utf32(parts, count, how);
        if (count != 1 || parts[0] != code) {
            traits[code] |= (uint8_t)(1 << form);
        }
    }
}

static void fill(void)
{
    for (int32_t code = 0x80; code < TABLE_END; code++) {
        if (unicode_is_normalised_later(code)) {
            traits[code] = BARRIER;
        } else {
            fill_one(code);
        }
    }
}

static inline uint8_t traits_of(int32_t code)
{
    return code < TABLE_END ? traits[code] : ALL_FORMS;
}

/* Where the next active character begins, or the end; *begin: the start of the stretch to be
 * normalised with it, at the character before it. */
static size_t next_active(text_form form, const char *text, size_t length, size_t at, size_t *begin)
{
    *begin = at;
    while (at < length) {
        size_t size = 1;
        uint8_t t   = 0;
        if ((unsigned char)text[at] >= 0x80) {
            t = traits_of(pb_utf8_decode(text + at, &size));
        }
        if ((t >> form & 1) != 0) {
            break;
        }
        *begin = (t & BARRIER) != 0 ? at + size : at;
        at += size;
    }
    return at;
}

/* The end of the run of active characters. */
static size_t behind_active(text_form form, const char *text, size_t length, size_t at)
{
    while (at < length) {
        size_t size = 0;
        if ((traits_of(pb_utf8_decode(text + at, &size)) >> form & 1) == 0) {
            break;
        }
        at += size;
    }
    return at;
}

/* Appends a stretch in the form. */
static pb_status normalise(text_form form, const char *text, size_t length, pb_string *out)
{
    const uint8_t *bytes   = (const uint8_t *)text;
    utf8proc_option_t how  = options_of[form];
    utf8proc_ssize_t size  = (utf8proc_ssize_t)length;
    utf8proc_ssize_t count = utf8proc_decompose(bytes, size, NULL, 0, how);
    int32_t *codes         = NULL;
    pb_status status       = PB_OK;

    if (count < 0) {
        return PB_FAIL(PB_ERR_LIBRARY, "tokenizer: Unicode normalization: %s",
                       utf8proc_errmsg(count));
    }
    PB_TRY(PB_ALLOC(codes, count + 1));
    count = utf8proc_decompose(bytes, size, codes, count, how);
    count = utf8proc_normalize_utf32(codes, count, how);
    for (utf8proc_ssize_t i = 0; i < count; i++) {
        char encoded[4];
        size_t n = pb_utf8_encode(codes[i], encoded);
        PB_TRY_GOTO(status, pb_string_append(out, encoded, n), err_free);
    }

err_free:
    pb_memory_free(codes);
    return status;
}

pb_status form_apply(text_form form, const char *text, size_t length, pb_string *out, bool *changed)
{
    size_t done = 0; /* copied or normalised */

    (void)pthread_once(&filled, fill);
    *changed = false;
    for (size_t at = 0; at < length;) {
        size_t begin = 0;
        size_t first = next_active(form, text, length, at, &begin);
        if (first == length) {
            break;
        }
        at = behind_active(form, text, length, first);
        PB_TRY(pb_string_append(out, text + done, begin - done));
        PB_TRY(normalise(form, text + begin, at - begin, out));
        done     = at;
        *changed = true;
    }
    return *changed ? pb_string_append(out, text + done, length - done) : PB_OK;
}
