// SPDX-License-Identifier: Apache-2.0
/* peftbench list: the names that other commands and grid files accept, each with a one-line
 * description. */
#include "commands.h"

#include "pb/file.h"
#include "pb/grid.h"
#include "pb/json.h"
#include "pb/memory.h"
#include "pb/metric.h"
#include "pb/registry.h"
#include "pb/table.h"
#include "pb/template.h"

#include <ctype.h>
#include <string.h>

enum { TEXT_BYTES = 1 << 20, ABOUT_BYTES = 1024, INDENT = 2, NAME_COLUMNS = 24 };

static const pb_option options[] = {
    PB_CLI_FLAG("json", "print one JSON array"),
    PB_OPTION_END,
};

typedef struct listing {
    pb_string *out;
    int64_t width;
    pb_json *json; /* NULL: text */
} listing;

/* `path`: NULL for parts of the program. */
static pb_status add(listing *list, const char *name, const char *about, const char *path)
{
    if (list->json != NULL) {
        pb_json_put_object(list->json, NULL, PB_JSON_INLINE);
        pb_json_put_text(list->json, "name", name);
        pb_json_put_text(list->json, "about", about);
        pb_json_put_text(list->json, "path", path);
        pb_json_end(list->json);
        return PB_FRAME(list->json->status);
    }
    int64_t used = INDENT + (int64_t)strlen(name);
    PB_TRY(pb_string_printf(list->out, "%*s%s", INDENT, "", name));
    if (used + INDENT > INDENT + NAME_COLUMNS) { /* a long name gets its own line */
        PB_TRY(pb_string_puts(list->out, "\n"));
        used = 0;
    }
    PB_TRY(pb_string_printf(list->out, "%*s", (int)(INDENT + NAME_COLUMNS - used), ""));
    return pb_table_note(list->out, list->width, INDENT + NAME_COLUMNS, "%s",
                         *about != '\0' ? about : PB_TABLE_NOTHING);
}

/* The place after the first full stop outside brackets that is followed by a space and a capital
 * letter and is not that of "et al."; without one, the end of the text. */
static char *sentence_end(char *text)
{
    int depth = 0;
    char *p   = text;
    for (; *p != '\0'; p++) {
        depth += (*p == '(') - (*p == ')');
        bool follows = p[0] == '.' && p[1] == ' ' && isupper((unsigned char)p[2]);
        bool et_al   = p - text >= 6 && memcmp(p - 6, " et al", 6) == 0;
        if (follows && depth == 0 && !et_al) {
            return p + 1;
        }
    }
    return p;
}

/* The first sentence of the comment at the top, without the licence. */
static pb_status find_about(char *text, pb_string *about)
{
    char *rest = NULL;
    for (char *line = strtok_r(text, "\r\n", &rest); line != NULL && *line == '#';
         line       = strtok_r(NULL, "\r\n", &rest)) {
        line += strspn(line, "# ");
        if (strncmp(line, "SPDX-", 5) != 0) {
            PB_TRY(pb_string_printf(about, "%s%s", about->length > 0 ? " " : "", line));
        }
    }
    if (about->length > 0) {
        *sentence_end(about->data) = '\0';
    }
    return PB_OK;
}

static pb_status add_file(listing *list, const pb_grid_file *file)
{
    char shown[ABOUT_BYTES] = "";
    pb_string text          = {0};
    pb_string about         = {0};
    pb_status status        = PB_OK;

    if (pb_file_read(file->path, TEXT_BYTES, &text) != PB_OK) {
        pb_error_clear(); /* reported where the file is used */
    } else if (text.data != NULL) {
        status = find_about(text.data, &about);
    }
    if (status == PB_OK && about.data != NULL) {
        (void)pb_string_printable(about.data, shown, sizeof shown);
    }
    if (status == PB_OK) {
        status = add(list, file->name, shown, file->path);
    }
    pb_string_clear(&about);
    pb_string_clear(&text);
    return status;
}

/* The same places as in the commands that read one data set: ./configs first. */
static pb_status add_files(listing *list, const char *axis)
{
    pb_grid_files files = {0};
    pb_status status    = PB_OK;

    PB_TRY_GOTO(status, pb_grid_list_files(axis, "configs", &files), out);
    for (int64_t i = 0; i < files.count; i++) {
        PB_TRY_GOTO(status, add_file(list, &files.items[i]), out);
    }
out:
    pb_grid_files_clear(&files);
    return status;
}

static pb_status add_metrics(listing *list)
{
    for (const pb_metric *const *m = pb_metric_registry(); *m != NULL; m++) {
        PB_TRY(add(list, (*m)->name, (*m)->about, NULL));
    }
    return PB_OK;
}

static pb_status add_template(listing *list, const pb_template *tpl)
{
    const char *const *family = pb_template_families(tpl);
    pb_string about           = {0};
    pb_status status          = pb_string_puts(
                 &about,
        **family == '\0' ? "the plain message, for models without a chat format" : "chat form of ");
    for (bool first = true; status == PB_OK && *family != NULL && **family != '\0'; family++) {
        status = pb_string_printf(&about, "%s%s", first ? "" : ", ", *family);
        first  = false;
    }
    if (status == PB_OK) {
        status = add(list, pb_template_name(tpl), about.data, NULL);
    }
    pb_string_clear(&about);
    return status;
}

static pb_status add_templates(listing *list)
{
    PB_TRY(add(list, "auto", "the template of the model's family whose markers its tokenizer has",
               NULL));
    const pb_template *tpl;
    for (size_t i = 0; (tpl = pb_template_at(i)) != NULL; i++) {
        PB_TRY(add_template(list, tpl));
    }
    return PB_OK;
}

static pb_status gather(const char *kind, listing *list)
{
    static const struct {
        const char *name;
        pb_status (*add)(listing *list);
        const char *axis; /* lists the files of this folder when `add` is NULL */
    } kinds[] = {
        {.name = "models", .axis = "model"},
        {.name = "datasets", .axis = "dataset"},
        {.name = "methods", .axis = "method"},
        {.name = "grids", .axis = "grid"},
        {.name = "metrics", .add = add_metrics},
        {.name = "templates", .add = add_templates},
        {.name = NULL},
    };
    static const pb_registry registry = {
        .kind = "list of", .entries = kinds, .stride = sizeof *kinds};
    size_t k;

    PB_TRY(pb_registry_find(&registry, kind, &k));
    return kinds[k].add != NULL ? kinds[k].add(list) : add_files(list, kinds[k].axis);
}

static pb_status run(pb_cli *cli)
{
    pb_string text   = {0};
    listing list     = {.out = &text, .width = pb_cli_width(cli)};
    const char *kind = pb_cli_argument(cli, 0);
    if (!pb_cli_flag(cli, "json")) {
        return cli_print_made(cli, gather(kind, &list), &text);
    }
    pb_json json     = pb_json_begin_array(&text, PB_JSON_LINES, 1);
    list.json        = &json;
    pb_status status = gather(kind, &list);
    return cli_print_made(cli, status == PB_OK ? pb_json_finish(&json, "\n") : status, &text);
}

const pb_command command_list = {
    .name    = "list",
    .help    = "list the models, data sets, methods, metrics, templates or grids",
    .usage   = "models|datasets|methods|metrics|templates|grids [--width N] [--json]",
    .details = "Models, data sets, methods and grids are files model/NAME.cfg, dataset/NAME.cfg "
               "and so on in ./configs, in the folders that PB_CONFIGS lists, and beside the "
               "program; of files with the same name the first counts. Each is shown with the "
               "first sentence of its first comment.\n",
    .options = {options},
    .first   = true,
    .min_arguments = 1,
    .max_arguments = 1,
    .run           = run,
};
