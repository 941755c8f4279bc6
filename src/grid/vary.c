// SPDX-License-Identifier: Apache-2.0
/* Variants: an entry of an axis with lists of values becomes one value of the axis for each of
 * their combinations, in the order written, the last list fastest. A variant is the file of its
 * entry with settings over it, so its cells are those of a file that holds the same settings. */
#include "internal.h"

#include "pb/memory.h"
#include "pb/string.h"
#include "pb/variant.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define MAX_VARIANTS 10000
#define KEY_BYTES    192

const char *const grid_cell_groups[] = {"model", "dataset", "method", "train",
                                        "data",  "eval",    NULL};

/* The name of the file that varies, under the word of its axis. */
typedef struct entry_base {
    char *model, *dataset, *method;
} entry_base;

static const pb_config_field base_fields[PB_AXIS_FILES][2] = {
    {PB_FIELD_TEXT(entry_base, model, NULL, "the model that varies"), PB_FIELD_END},
    {PB_FIELD_TEXT(entry_base, dataset, NULL, "the data set that varies"), PB_FIELD_END},
    {PB_FIELD_TEXT(entry_base, method, NULL, "the method that varies"), PB_FIELD_END},
};

/* A list of values. */
typedef struct setting {
    char key[KEY_BYTES];  /* "method.r" */
    char path[KEY_BYTES]; /* of the list in the configuration */
    int64_t count;
} setting;

typedef struct entry {
    pb_grid *grid;
    pb_grid_axis_kind kind;
    const pb_config *config;
    const char *key; /* of the entry */
    setting *settings;
    int64_t count;
    int64_t variants;
} entry;

/* The key in a name. Those of `eval` and `dataset` keep their group, since other groups have keys
 * of the same names. */
static const char *shown_key(const char *key)
{
    bool whole = pb_string_begins(key, "eval.") || pb_string_begins(key, "dataset.");
    return whole ? key : strchr(key, '.') + 1;
}

/* A key varies on one axis, and no two keys are called the same: names and columns of results must
 * say what they mean. */
static pb_status check_key(const entry *e, const setting *s, const grid_varied *other,
                           const char *place)
{
    bool same = strcmp(other->key, s->key) == 0;
    if (same && other->kind != e->kind) {
        return PB_FAIL(PB_ERR_CONFIG, "%s: %s varies in %s too; let it vary on one axis", place,
                       s->key, grid_axis_keys[other->kind]);
    }
    if (!same && strcmp(shown_key(other->key), shown_key(s->key)) == 0) {
        return PB_FAIL(PB_ERR_CONFIG,
                       "%s: %s and %s both vary and would both be called %s; let them vary in two "
                       "grids",
                       place, other->key, s->key, shown_key(s->key));
    }
    return PB_OK;
}

static pb_status note_key(const entry *e, const setting *s, const char *place)
{
    pb_grid *grid = e->grid;
    bool known    = false;
    char set[GRID_PLACE];
    if (pb_config_has(grid->sets, s->key)) {
        return PB_FAIL(PB_ERR_CONFIG, "%s: %s varies (%s); choose variants instead, by their names",
                       pb_config_where(grid->sets, s->key, set, sizeof set), s->key, place);
    }
    for (int64_t i = 0; i < grid->varied_count; i++) {
        PB_TRY(check_key(e, s, &grid->varied[i], place));
        known = known || strcmp(grid->varied[i].key, s->key) == 0;
    }
    if (!known) {
        PB_TRY(PB_GROW(grid->varied, grid->varied_count + 1));
        grid_varied *varied = &grid->varied[grid->varied_count];
        PB_TRY(PB_TEXT(varied->key, s->key));
        varied->kind = e->kind;
        grid->varied_count++;
    }
    return PB_OK;
}

static pb_status put_value(const entry *e, const setting *s, int64_t index, pb_string *out)
{
    char path[KEY_BYTES + 32];
    snprintf(path, sizeof path, "%s.[%" PRId64 "]", s->path, index);
    return pb_config_word(e->config, path, out);
}

/* Every value must be fit for a name, and differ from those before it: `words` holds ",4,8,". */
static pb_status check_value(const entry *e, const setting *s, int64_t index, pb_string *words)
{
    char place[GRID_PLACE], path[KEY_BYTES + 32];
    pb_string word = {0};
    pb_status status;
    PB_TRY_GOTO(status, pb_string_puts(&word, ","), done);
    PB_TRY_GOTO(status, put_value(e, s, index, &word), done);
    PB_TRY_GOTO(status, pb_string_puts(&word, ","), done);
    if (index > 0 && strstr(words->data, word.data) != NULL) {
        snprintf(path, sizeof path, "%s.[%" PRId64 "]", s->path, index);
        status = PB_FAIL(PB_ERR_CONFIG, "%s: %s = %.*s is listed twice",
                         pb_config_where(e->config, path, place, sizeof place), s->key,
                         (int)word.length - 2, word.data + 1);
        goto done;
    }
    status = pb_string_puts(words, word.data + (index > 0));
done:
    pb_string_clear(&word);
    return status;
}

static pb_status check_values(const entry *e, const setting *s)
{
    pb_string words  = {0};
    pb_status status = PB_OK;
    for (int64_t i = 0; i < s->count && status == PB_OK; i++) {
        status = check_value(e, s, i, &words);
    }
    pb_string_clear(&words);
    return status;
}

static pb_status add_setting(entry *e, const char *group, const char *key)
{
    setting s = {0};
    char place[GRID_PLACE];
    int path = snprintf(s.path, sizeof s.path, "%s.vary.%s.%s", e->key, group, key);
    snprintf(s.key, sizeof s.key, "%s.%s", group, key);
    if ((size_t)path >= sizeof s.path) {
        return PB_FAIL(PB_ERR_CONFIG, "%s: key \"%s\" is too long",
                       pb_config_where(e->config, e->key, place, sizeof place), key);
    }
    pb_config_where(e->config, s.path, place, sizeof place);
    PB_TRY(pb_config_items(e->config, s.path, &s.count));
    PB_TRY(check_values(e, &s));
    PB_TRY(note_key(e, &s, place));
    if ((double)e->variants * (double)s.count > MAX_VARIANTS) {
        return PB_FAIL(PB_ERR_CONFIG, "%s: more than %d variants", place, MAX_VARIANTS);
    }
    e->variants *= s.count;
    PB_TRY(PB_GROW(e->settings, e->count + 1));
    e->settings[e->count++] = s;
    return PB_OK;
}

static pb_status read_settings(entry *e)
{
    char vary[128], place[GRID_PLACE], group[KEY_BYTES];
    const char *name = NULL;
    const char *key  = NULL;
    snprintf(vary, sizeof vary, "%s.vary", e->key);
    PB_TRY(grid_check_groups(e->config, vary, grid_cell_groups));
    e->variants = 1;
    for (int64_t g = 0; g < pb_config_length(e->config, vary); g++) {
        PB_TRY(pb_config_key(e->config, vary, g, &name));
        snprintf(group, sizeof group, "%s.%s", vary, name);
        for (int64_t k = 0; k < pb_config_length(e->config, group); k++) {
            PB_TRY(pb_config_key(e->config, group, k, &key));
            PB_TRY(add_setting(e, name, key));
        }
    }
    if (e->count == 0) {
        return PB_FAIL(
            PB_ERR_CONFIG,
            "%s: nothing varies; an entry is a name, or { %s = \"…\"; vary = { train = { "
            "learning_rate = [ … ]; }; }; }",
            pb_config_where(e->config, e->key, place, sizeof place), grid_axis_words[e->kind]);
    }
    return PB_OK;
}

/* The place of variant n in the list of setting s. */
static int64_t place_in(const entry *e, int64_t s, int64_t n)
{
    for (int64_t later = e->count - 1; later > s; later--) {
        n /= e->settings[later].count;
    }
    return n % e->settings[s].count;
}

static pb_status name_variant(const entry *e, int64_t n, const char *base, pb_string *out)
{
    PB_TRY(pb_string_puts(out, base));
    for (int64_t s = 0; s < e->count; s++) {
        PB_TRY(pb_string_printf(out, "%s%s=", s == 0 ? "{" : ",", shown_key(e->settings[s].key)));
        PB_TRY(put_value(e, &e->settings[s], place_in(e, s, n), out));
    }
    return pb_string_puts(out, "}");
}

static pb_status lay_settings(const entry *e, int64_t n, pb_config *layer)
{
    for (int64_t s = 0; s < e->count; s++) {
        char path[KEY_BYTES + 32];
        snprintf(path, sizeof path, "%s.[%" PRId64 "]", e->settings[s].path, place_in(e, s, n));
        PB_TRY(pb_config_put(layer, e->settings[s].key, e->config, path));
    }
    return PB_OK;
}

/* Adds variant n of a file, which its first variant takes over. */
static pb_status add_variant(const entry *e, int64_t n, const char *only, const char *place,
                             grid_value *base)
{
    pb_string name     = {0};
    grid_value variant = {.file = base->file, .borrows = true};
    pb_status status;
    PB_TRY_GOTO(status, name_variant(e, n, base->name, &name), done);
    if (only != NULL && strcmp(only, name.data) != 0) {
        goto done;
    }
    variant.name = name.data;
    name         = (pb_string){0};
    PB_TRY_GOTO(status, pb_config_parse("", pb_config_path(e->grid->config), &variant.settings),
                done);
    PB_TRY_GOTO(status, lay_settings(e, n, variant.settings), done);
    variant.borrows = base->borrows;
    base->borrows   = true;
    status          = grid_value_add_take(e->grid, e->kind, place, &variant);
done:
    pb_string_clear(&name);
    grid_value_close(&variant);
    return status;
}

static pb_status add_variants(entry *e, const char *value, const char *only)
{
    grid_value base = {0};
    char place[GRID_PLACE];
    pb_config_where(e->config, e->key, place, sizeof place);
    pb_status status = read_settings(e);
    if (status == PB_OK) {
        status = grid_value_open(e->grid, e->kind, place, value, &base);
    }
    for (int64_t n = 0; status == PB_OK && n < e->variants; n++) {
        status = add_variant(e, n, only, place, &base);
    }
    grid_value_close(&base);
    return status;
}

pb_status grid_vary(pb_grid *grid, pb_grid_axis_kind kind, const pb_config *config, const char *key,
                    const char *only)
{
    static const char *const vary[] = {"vary", NULL};
    const pb_config_field *fields   = base_fields[kind];
    entry e                         = {.grid = grid, .kind = kind, .config = config, .key = key};
    entry_base base                 = {0};
    PB_TRY(pb_config_read(config, key, fields, vary, &base));
    pb_status status = add_variants(&e, *(char **)((char *)&base + fields->offset), only);
    pb_config_clear(fields, &base);
    pb_memory_free(e.settings);
    return status;
}

pb_status grid_vary_select(pb_grid *grid, pb_grid_axis_kind kind, const char *place,
                           const char *name)
{
    const pb_config *written = grid->written;
    int64_t before           = grid->axes[kind].count;
    char list[64], key[96];
    snprintf(list, sizeof list, "sweep.%s", grid_axis_keys[kind]);
    for (int64_t i = 0; i < pb_config_length(written, list); i++) {
        const char *first = NULL;
        snprintf(key, sizeof key, "%s.[%" PRId64 "]", list, i);
        if (pb_config_key(written, key, 0, &first) != PB_OK) {
            pb_error_clear(); /* a name */
            continue;
        }
        PB_TRY(grid_vary(grid, kind, written, key, name));
    }
    if (grid->axes[kind].count == before) {
        return PB_FAIL(PB_ERR_CONFIG, "%s: %s \"%s\" is not among the variants of %s in %s", place,
                       grid_axis_words[kind], name, list, pb_config_path(grid->config));
    }
    return PB_OK;
}
