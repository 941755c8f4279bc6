// SPDX-License-Identifier: Apache-2.0
/* Synthetic text for the benchmarks: words of an artificial language by Zipf's law, and other
 * scripts. */
#include "text.h"

#include "pb/utf8.h"

made_text made_text_begin(int64_t seed)
{
    return (made_text){.stream = pb_random_stream((uint64_t)seed, PB_RANDOM_SYNTHETIC, 0)};
}

enum { WORDS = 20000 };

uint64_t made_below(made_text *m, uint64_t n)
{
    return pb_random_below(m->stream, m->draw++, n);
}

/* A word of a language of `WORDS` words: the most frequent ones are English, the others consist of
 * syllables, short ones first. */
pb_status made_word(made_text *m, uint64_t number, bool capital)
{
    static const char *const common[] = {
        "the",    "of",    "and",    "to",       "in",     "is",       "that",     "it",
        "was",    "for",   "on",     "are",      "as",     "with",     "they",     "be",
        "at",     "one",   "have",   "this",     "from",   "by",       "not",      "but",
        "what",   "some",  "we",     "can",      "out",    "other",    "were",     "all",
        "there",  "when",  "up",     "use",      "your",   "how",      "said",     "an",
        "each",   "she",   "which",  "do",       "their",  "time",     "if",       "will",
        "way",    "about", "many",   "then",     "them",   "write",    "would",    "like",
        "these",  "her",   "long",   "make",     "thing",  "see",      "him",      "two",
        "has",    "look",  "more",   "day",      "could",  "go",       "come",     "did",
        "number", "sound", "most",   "people",   "over",   "know",     "water",    "than",
        "call",   "first", "who",    "may",      "down",   "side",     "been",     "now",
        "find",   "any",   "new",    "work",     "part",   "take",     "get",      "place",
        "made",   "live",  "where",  "after",    "back",   "little",   "only",     "round",
        "man",    "year",  "came",   "show",     "every",  "good",     "give",     "our",
        "under",  "name",  "very",   "through",  "just",   "form",     "sentence", "great",
        "think",  "say",   "help",   "low",      "line",   "differ",   "turn",     "cause",
        "much",   "mean",  "before", "question", "answer", "function", "value",    "return"};
    const uint64_t known                 = sizeof common / sizeof *common;
    static const char *const syllables[] = {
        "the", "in", "er", "an", "re", "on", "at", "en", "nd", "ti", "es", "or",
        "te",  "of", "ed", "is", "it", "al", "ar", "st", "to", "nt", "ng", "se",
        "ha",  "as", "ou", "io", "le", "ve", "co", "me", "de", "hi", "ri", "ro",
        "ic",  "ne", "ea", "ra", "ce", "li", "ch", "ll", "be", "ma", "si", "om"};
    const uint64_t count = sizeof syllables / sizeof *syllables;
    size_t begin         = m->text.length;

    if (number < known) {
        PB_TRY(pb_string_puts(&m->text, common[number]));
    }
    for (uint64_t left = number < known ? 0 : number; left > 0; left /= count) {
        PB_TRY(pb_string_puts(&m->text, syllables[left % count]));
    }
    if (capital) {
        m->text.data[begin] = (char)(m->text.data[begin] - 'a' + 'A');
    }
    return PB_OK;
}

/* Roughly Zipf's law: half of all words are among the first 140. */
uint64_t made_draw_word(made_text *m)
{
    double x = pb_random_uniform(m->stream, m->draw++);
    double y = x * x;

    return (uint64_t)(y * y * y * x * WORDS);
}

pb_status made_prose(made_text *m)
{
    uint64_t words = made_below(m, 20) + 4;

    for (uint64_t i = 0; i < words; i++) {
        PB_TRY(made_word(m, made_draw_word(m), i == 0));
        uint64_t mark = made_below(m, 24);
        PB_TRY(pb_string_puts(&m->text, i + 1 == words ? ". " : mark == 0 ? ", " : " "));
    }
    return made_below(m, 5) == 0 ? pb_string_puts(&m->text, "\n") : PB_OK;
}

static pb_status put_code_point(made_text *m, uint32_t code)
{
    char bytes[4];

    return pb_string_append(&m->text, bytes, pb_utf8_encode((int32_t)code, bytes));
}

/* Words of another script: Cyrillic, Greek, Hebrew, Devanagari, kana, Han, Hangul. */
pb_status made_script(made_text *m)
{
    static const uint32_t scripts[][2] = {{0x430, 32},    {0x3b1, 24},  {0x5d0, 27},
                                          {0x905, 50},    {0x3042, 80}, {0x4e00, 20000},
                                          {0xac00, 11000}};
    const uint64_t count               = sizeof scripts / sizeof *scripts;
    const uint32_t *script             = scripts[made_below(m, count)];

    for (uint64_t words = made_below(m, 8) + 1; words > 0; words--) {
        for (uint64_t letters = made_below(m, 7) + 1; letters > 0; letters--) {
            PB_TRY(put_code_point(m, script[0] + (uint32_t)made_below(m, script[1])));
        }
        PB_TRY(pb_string_puts(&m->text, " "));
    }
    return PB_OK;
}
