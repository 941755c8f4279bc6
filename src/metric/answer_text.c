// SPDX-License-Identifier: Apache-2.0
/* Normalised answers. White space, case and word characters are those of Python's str and re, as in
 * the original scripts. */
#include "answer_text.h"

#include "pb/memory.h"
#include "pb/python.h"
#include "pb/string.h"

#include <string.h>

static bool is_punctuation(int32_t c)
{
    return (c >= '!' && c <= '/') || (c >= ':' && c <= '@') || (c >= '[' && c <= '`') ||
           (c >= '{' && c <= '~');
}

static bool is_article(const char *word, size_t length)
{
    return (length == 1 && *word == 'a') || (length == 2 && memcmp(word, "an", 2) == 0) ||
           (length == 3 && memcmp(word, "the", 3) == 0);
}

/* Removes punctuation in place. */
static void drop_punctuation(pb_string *s)
{
    size_t used = 0;

    for (size_t i = 0; i < s->length; i++) {
        if (!is_punctuation((unsigned char)s->data[i])) {
            s->data[used++] = s->data[i];
        }
    }
    s->length     = used;
    s->data[used] = '\0';
}

/* Replaces articles, which are whole runs of word characters, by spaces. */
static void blank_articles(pb_string *s)
{
    size_t bytes, start = 0;

    for (size_t at = 0; at <= s->length; at += bytes) {
        bytes     = 1;
        int32_t c = at < s->length ? pb_str_next(s->data + at, s->length - at, &bytes) : ' ';
        if (!pb_str_is_word(c)) {
            if (is_article(s->data + start, at - start)) {
                memset(s->data + start, ' ', at - start);
            }
            start = at + bytes;
        }
    }
}

/* One space between words, none at the ends; returns how many words there are. */
static int64_t join_words(pb_string *s)
{
    size_t bytes, used = 0;
    int64_t words = 0;
    bool inside   = false;

    for (size_t at = 0; at < s->length; at += bytes) {
        bool space = pb_str_is_space(pb_str_next(s->data + at, s->length - at, &bytes));
        if (!space && !inside) {
            words++;
            if (used > 0) {
                s->data[used++] = ' ';
            }
        }
        if (!space) {
            memmove(s->data + used, s->data + at, bytes);
            used += bytes;
        }
        inside = !space;
    }
    s->length     = used;
    s->data[used] = '\0';
    return words;
}

static pb_status sort_words(answer_text *a)
{
    char *at = NULL;

    PB_TRY(PB_TEXT(a->storage, a->words));
    PB_TRY(PB_ALLOC(a->sorted, a->count));
    at = a->storage;
    for (int64_t i = 0; i < a->count; i++) {
        char *end    = strchr(at, ' ');
        a->sorted[i] = at;
        if (end != NULL) {
            *end = '\0';
            at   = end + 1;
        }
    }
    pb_string_sort(a->sorted, (size_t)a->count);
    return PB_OK;
}

pb_status answer_text_make(const char *text, answer_text *out)
{
    pb_string s   = {0};
    answer_text a = {0};
    pb_status status;

    PB_TRY_GOTO(status, pb_string_append(&s, "", 0), err_text);
    PB_TRY_GOTO(status, pb_str_lower(text, strlen(text), &s), err_text);
    drop_punctuation(&s);
    blank_articles(&s);
    a.count = join_words(&s);
    a.words = s.data;
    PB_TRY_GOTO(status, sort_words(&a), err_words);
    *out = a;
    return PB_OK;

err_words:
    answer_text_clear(&a);
    return status;
err_text:
    pb_string_clear(&s);
    return status;
}

void answer_text_clear(answer_text *a)
{
    pb_memory_free(a->words);
    pb_memory_free(a->storage);
    pb_memory_free(a->sorted);
    *a = (answer_text){0};
}

bool answer_text_equal(const answer_text *a, const answer_text *b)
{
    return strcmp(a->words, b->words) == 0;
}

double answer_text_f1(const answer_text *prediction, const answer_text *answer)
{
    int64_t shared = 0;

    for (int64_t p = 0, q = 0; p < prediction->count && q < answer->count;) {
        int order = strcmp(prediction->sorted[p], answer->sorted[q]);
        shared += order == 0;
        p += order <= 0;
        q += order >= 0;
    }
    if (shared == 0) {
        return 0;
    }
    double precision = (double)shared / (double)prediction->count;
    double recall    = (double)shared / (double)answer->count;
    return 2 * precision * recall / (precision + recall);
}
