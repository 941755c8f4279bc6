// SPDX-License-Identifier: Apache-2.0
/* The table of fields of a struct: every option is one line, with its type, default, bounds, unit,
 * help, and what does not depend on it. The table belongs to the module whose struct it is. */
#pragma once

#include <float.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum pb_config_type {
    PB_CONFIG_INT,       /* int64_t */
    PB_CONFIG_FLOAT,     /* double; an integer in the file is accepted */
    PB_CONFIG_BOOL,      /* bool */
    PB_CONFIG_TEXT,      /* char *, owned by the struct, never NULL after reading */
    PB_CONFIG_PATH,      /* char *: ${VAR} replaced, relative to the file it stands in */
    PB_CONFIG_CHOICE,    /* int: index into choices */
    PB_CONFIG_TEXT_LIST, /* pb_config_list */
    PB_CONFIG_INT_LIST,  /* pb_config_ints */
} pb_config_type;

typedef struct pb_config_list {
    char **items; /* owned */
    int64_t count;
} pb_config_list;

typedef struct pb_config_ints {
    int64_t *items; /* owned */
    int64_t count;
} pb_config_ints;

/* What is kept under a hash of the options it depends on, and found by that hash later. */
enum {
    PB_KEPT_RESULT       = 1,
    PB_KEPT_TRAIN_TOKENS = 2,
    PB_KEPT_TEST_TOKENS  = 4,
    PB_KEPT_ALL          = 7,
    PB_KEPT_BEFORE       = 8, /* what was kept before the program had the field: its default */
};

typedef struct pb_config_field {
    const char *key; /* NULL ends a table */
    pb_config_type type;
    size_t offset;
    double number;    /* default of int, float, bool, choice */
    const char *text; /* default of text and path; lists: items separated by a space; NULL:
                         required. Of an int: a word that stands for 0, or NULL */
    double minimum, maximum;
    const char *const *choices; /* NULL-terminated */
    const char *unit;           /* "" when there is none */
    const char *help;           /* one line */
    bool required;
    bool groups; /* of a list of texts: an item may be a group, which is read as NULL */
    /* PB_KEPT_…: what does not depend on this field. Everything depends on a field that does not
     * say otherwise, so one that is added later is marked PB_KEPT_BEFORE where its default changes
     * nothing: else finished cells would run again. */
    unsigned unaffected;
} pb_config_field;

#define PB_FIELD_INT_FOR(unaffected_, type_, member, default_, min_, max_, unit_, help_)    \
    {                                                                                       \
        .key = #member, .type = PB_CONFIG_INT, .offset = offsetof(type_, member),           \
        .number = (double)(default_), .minimum = (double)(min_), .maximum = (double)(max_), \
        .unit = (unit_), .help = (help_), .unaffected = (unaffected_)                       \
    }
#define PB_FIELD_INT(...) PB_FIELD_INT_FOR(0, __VA_ARGS__)
/* The word may be written for 0. */
#define PB_FIELD_INT_OR(type_, member, default_, min_, max_, unit_, word_, help_)           \
    {                                                                                       \
        .key = #member, .type = PB_CONFIG_INT, .offset = offsetof(type_, member),           \
        .number = (double)(default_), .minimum = (double)(min_), .maximum = (double)(max_), \
        .unit = (unit_), .text = (word_), .help = (help_)                                   \
    }
#define PB_FIELD_FLOAT_FOR(unaffected_, type_, member, default_, min_, max_, unit_, help_) \
    {                                                                                      \
        .key = #member, .type = PB_CONFIG_FLOAT, .offset = offsetof(type_, member),        \
        .number = (default_), .minimum = (min_), .maximum = (max_), .unit = (unit_),       \
        .help = (help_), .unaffected = (unaffected_)                                       \
    }
#define PB_FIELD_FLOAT(...) PB_FIELD_FLOAT_FOR(0, __VA_ARGS__)
/* A limit that only refuses: what it lets pass does not depend on it. */
#define PB_FIELD_GUARD(...) PB_FIELD_FLOAT_FOR(PB_KEPT_ALL, __VA_ARGS__)
#define PB_FIELD_BOOL_FOR(unaffected_, type_, member, default_, help_)             \
    {                                                                              \
        .key = #member, .type = PB_CONFIG_BOOL, .offset = offsetof(type_, member), \
        .number = (default_), .maximum = 1, .unit = "", .help = (help_),           \
        .unaffected = (unaffected_)                                                \
    }
#define PB_FIELD_BOOL(...) PB_FIELD_BOOL_FOR(0, __VA_ARGS__)
#define PB_FIELD_TEXTS(kind_, unaffected_, type_, member, default_, help_)                       \
    {                                                                                            \
        .key = #member, .type = (kind_), .offset = offsetof(type_, member), .text = (default_),  \
        .unit = "", .help = (help_), .required = (default_) == NULL, .unaffected = (unaffected_) \
    }
#define PB_FIELD_TEXT(...)      PB_FIELD_TEXTS(PB_CONFIG_TEXT, 0, __VA_ARGS__)
#define PB_FIELD_TEXT_LIST(...) PB_FIELD_TEXTS(PB_CONFIG_TEXT_LIST, 0, __VA_ARGS__)
#define PB_FIELD_ENTRIES(type_, member, help_)                                          \
    {                                                                                   \
        .key = #member, .type = PB_CONFIG_TEXT_LIST, .offset = offsetof(type_, member), \
        .unit = "", .help = (help_), .required = true, .groups = true                   \
    }
/* Places differ between machines: what counts is what the files hold. */
#define PB_FIELD_PATH(...) PB_FIELD_TEXTS(PB_CONFIG_PATH, PB_KEPT_ALL, __VA_ARGS__)
/* Texts for readers. */
#define PB_FIELD_NOTE(type_, member, help_) \
    PB_FIELD_TEXTS(PB_CONFIG_TEXT, PB_KEPT_ALL, type_, member, "", help_)
#define PB_FIELD_NOTE_LIST(type_, member, help_) \
    PB_FIELD_TEXTS(PB_CONFIG_TEXT_LIST, PB_KEPT_ALL, type_, member, "", help_)
#define PB_FIELD_CHOICE_FOR(unaffected_, type_, member, default_, choices_, help_)   \
    {                                                                                \
        .key = #member, .type = PB_CONFIG_CHOICE, .offset = offsetof(type_, member), \
        .number = (default_), .choices = (choices_), .unit = "", .help = (help_),    \
        .unaffected = (unaffected_)                                                  \
    }
#define PB_FIELD_CHOICE(...) PB_FIELD_CHOICE_FOR(0, __VA_ARGS__)
#define PB_FIELD_INT_LIST_FOR(unaffected_, type_, member, default_, min_, max_, help_)        \
    {                                                                                         \
        .key = #member, .type = PB_CONFIG_INT_LIST, .offset = offsetof(type_, member),        \
        .text = (default_), .minimum = (double)(min_), .maximum = (double)(max_), .unit = "", \
        .help = (help_), .required = (default_) == NULL, .unaffected = (unaffected_)          \
    }
#define PB_FIELD_INT_LIST(...) PB_FIELD_INT_LIST_FOR(0, __VA_ARGS__)
#define PB_FIELD_END \
    {                \
        .key = NULL  \
    }
