// SPDX-License-Identifier: Apache-2.0
/* Checks what must be the same on every process of a run: program, options and cells; then the
 * files. */
#include "compare.h"
#include "internal.h"

#include "pb/memory.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---------------------------------------------------------------- configuration */

/* The first texts; the cells' texts follow. */
enum { TEXT_PROGRAM, TEXT_OPTIONS, TEXT_SETS, TEXT_CELLS };

static pb_status options_text(const pb_sweep *s, pb_string *out)
{
    const pb_sweep_options *o      = &s->options;
    const pb_grid_run_options *run = pb_grid_get_run(s->grid);
    const char *const typed[]      = {"output", o->output, "device",   o->device,
                                      "dtype",  o->dtype,  "products", o->products};
    for (size_t i = 0; i < sizeof typed / sizeof *typed; i += 2) {
        if (typed[i + 1] != NULL) {
            PB_TRY(pb_string_printf(out, "--%s %s\n", typed[i], typed[i + 1]));
        }
    }
    if (o->has_threads) {
        PB_TRY(pb_string_printf(out, "--threads %" PRId64 "\n", o->threads));
    }
    PB_TRY(pb_string_printf(out, "sweep.name = \"%s\"\n", pb_grid_get_sweep(s->grid)->name));
    PB_TRY(pb_string_printf(out, "run.output = \"%s\"\n", run->output));
    PB_TRY(pb_string_printf(
        out, "run.threads = %" PRId64 "\nrun.dtype = %d\nrun.device = %s\nrun.products = %s\n",
        run->threads, run->dtype, run->device, run->products));
    PB_TRY(pb_string_printf(out,
                            "run.gang = %" PRId64 "\nrun.graphs = %d\nrun.save_adapters = %d\n"
                            "run.pack_cells = %" PRId64 "\n",
                            run->gang, run->graphs, run->save_adapters, run->pack_cells));
    PB_TRY(search_text(s, out));
    return pb_string_printf(out, "run.time_limit_seconds = %g\nrun.time_reserve_seconds = %g\n",
                            run->time_limit_seconds, run->time_reserve_seconds);
}

static pb_status sets_text(const pb_sweep *s, pb_string *out)
{
    for (int64_t i = 0; i < s->options.set_count; i++) {
        PB_TRY(pb_string_printf(out, "--set %s\n", s->options.sets[i]));
    }
    return PB_OK;
}

/* A configuration that cannot be read is reported later, with its own message. */
pb_status alike_cell_text(const pb_grid_cell *c, pb_string *out)
{
    PB_TRY(pb_string_printf(out, "cell %s/%s/%s/%" PRId64 "\n", c->model, c->dataset, c->method,
                            c->seed));
    pb_status status = pb_cell_text(c->cell, out);
    if (status != PB_OK && status != PB_ERR_MEMORY) {
        pb_error_clear();
        status = pb_string_puts(out, "a configuration that cannot be read\n");
    }
    return status;
}

static pb_status configuration_text(void *context, int64_t index, pb_string *out)
{
    const pb_sweep *s = context;
    switch (index) {
    case TEXT_PROGRAM:
        return pb_string_printf(out, "%s\n", pb_cell_program());
    case TEXT_OPTIONS:
        return options_text(s, out);
    case TEXT_SETS:
        return sets_text(s, out);
    default:
        return alike_cell_text(&s->cells.items[index - TEXT_CELLS], out);
    }
}

/* Takes the next line from *at, and tracks the libconfig group that it opens or closes. */
static const char *next_line(const char **at, char *group, size_t group_size, char *line,
                             size_t size)
{
    size_t length    = strcspn(*at, "\n");
    const char *from = *at;
    snprintf(line, size, "%.*s", (int)(length < size ? length : size - 1), from);
    *at += length + ((*at)[length] == '\n');
    char *opens = strstr(line, " = {");
    if (opens != NULL && line[0] != ' ') {
        snprintf(group, group_size, "%.*s.", (int)(opens - line), line);
    } else if (line[0] == '}') {
        group[0] = '\0';
    }
    return line + strspn(line, " ");
}

/* The first line that differs, with its group; both texts begin with the name of their cell. */
pb_status alike_fail(const char *own, const char *first, const char *who, const char *remedy)
{
    char groups[2][64] = {"", ""};
    char lines[2][1024];
    char cell[512] = "";
    const char *own_line, *first_line;
    bool cells = strncmp(own, "cell ", 5) == 0 && strncmp(first, "cell ", 5) == 0;

    if (cells) {
        snprintf(cell, sizeof cell, " in %.*s", (int)strcspn(own, "\n"), own);
    }
    do {
        own_line   = next_line(&own, groups[0], sizeof groups[0], lines[0], sizeof lines[0]);
        first_line = next_line(&first, groups[1], sizeof groups[1], lines[1], sizeof lines[1]);
    } while (strcmp(own_line, first_line) == 0 && (*own != '\0' || *first != '\0'));
    bool named = strncmp(own_line, "cell ", 5) == 0;
    return PB_FAIL(PB_ERR_CONFIG, "%s%s: \"%s%s\" here, \"%s%s\" there; %s", who, named ? "" : cell,
                   groups[0], own_line[0] != '\0' ? own_line : "nothing", groups[1],
                   first_line[0] != '\0' ? first_line : "nothing", remedy);
}

static pb_status fail_configuration(const char *own, const char *first, const char *hosts)
{
    return alike_fail(own, first, hosts,
                      "start all processes of a run with the same program, grid file and options");
}

static pb_status hash_texts(comparison *all)
{
    pb_status status = PB_ALLOC(all->hashes, all->count);
    for (int64_t i = 0; i < all->count && status == PB_OK; i++) {
        pb_string text = {0};
        status         = configuration_text(all->context, i, &text);
        if (status == PB_OK) {
            status = pb_hash_bytes(text.length > 0 ? text.data : "", text.length, all->hashes[i]);
        }
        pb_string_clear(&text);
    }
    return status;
}

pb_status alike_check_configuration(pb_sweep *s)
{
    comparison all = {.comm       = s->comm,
                      .context    = s,
                      .count      = TEXT_CELLS + s->cells.count,
                      .takes_part = true,
                      .text       = configuration_text,
                      .fail       = fail_configuration};
    pb_status status;

    if (pb_comm_size(s->comm) == 1) {
        return PB_OK;
    }
    PB_TRY_GOTO(status, pb_comm_agree(s->comm, hash_texts(&all)), out);
    PB_TRY_GOTO(status, compare_with_first(&all), out);
out:
    pb_memory_free(all.hashes);
    return status;
}

/* ---------------------------------------------------------------- inputs */

typedef struct inputs {
    const pb_sweep *s;
    char (*hashes)[PB_HASH_TEXT]; /* [cells · PB_INPUT_COUNT] */
} inputs;

/* A number that identifies the places of all inputs of this process. */
static pb_status number_places(const pb_sweep *s, int64_t *out)
{
    pb_hash *hash           = NULL;
    char text[PB_HASH_TEXT] = "";
    pb_status status;

    PB_TRY(pb_hash_create(&hash));
    for (int64_t i = 0; i < s->cells.count; i++) {
        PB_TRY_GOTO(status, pb_cell_input_places(s->cells.items[i].cell, hash), out);
    }
    PB_TRY_GOTO(status, pb_hash_finish(hash, text), out);
    text[15] = '\0'; /* as many digits as fit in an int64 */
    *out     = (int64_t)strtoll(text, NULL, 16);
out:
    pb_hash_destroy(hash);
    return status;
}

/* False if the node's first process has the same files and reads them for this one. */
static pb_status reads_itself(const pb_sweep *s, bool *out)
{
    pb_comm *comm    = s->comm;
    int64_t *places  = NULL;
    int size         = pb_comm_size(comm);
    pb_status status = PB_ALLOC(places, size);
    if (status == PB_OK) {
        status = number_places(s, &places[pb_comm_rank(comm)]);
    }
    PB_TRY_GOTO(status, pb_comm_agree(comm, status), out);
    PB_TRY_GOTO(status, pb_comm_reduce_max(comm, places, size), out);
    *out = pb_comm_node_rank(comm) == 0 ||
           places[pb_comm_rank(comm)] != places[pb_comm_node_first(comm)];
out:
    pb_memory_free(places);
    return status;
}

static pb_status hash_inputs(const pb_sweep *s, comparison *all)
{
    PB_TRY(PB_ALLOC(all->hashes, s->cells.count * PB_INPUT_COUNT));
    all->count = s->cells.count * PB_INPUT_COUNT;
    for (int64_t i = 0; i < s->cells.count && all->takes_part; i++) {
        PB_TRY(
            pb_cell_input_hashes(s->env, s->cells.items[i].cell, &all->hashes[i * PB_INPUT_COUNT]));
    }
    return PB_OK;
}

static pb_status input_text(void *context, int64_t index, pb_string *out)
{
    const inputs *in    = context;
    const pb_cell *cell = in->s->cells.items[index / PB_INPUT_COUNT].cell;
    int input           = (int)(index % PB_INPUT_COUNT);
    const char *hash    = in->hashes[index];
    return pb_string_printf(out, "%s %s (%s%s)", pb_cell_input_names[input],
                            pb_cell_input_path(cell, (pb_cell_input)input),
                            strlen(hash) == PB_HASH_TEXT - 1 ? "SHA-256 " : "", hash);
}

static pb_status fail_inputs(const char *own, const char *first, const char *hosts)
{
    return PB_FAIL(PB_ERR_CONFIG,
                   "%s: %s here, %s there; give all nodes the same files, or let all processes "
                   "read them from one place",
                   hosts, own, first);
}

pb_status alike_check_inputs(const pb_sweep *s)
{
    inputs in      = {.s = s};
    comparison all = {.comm = s->comm, .context = &in, .text = input_text, .fail = fail_inputs};
    pb_status status;

    if (pb_comm_size(s->comm) == 1) {
        return PB_OK;
    }
    PB_TRY(reads_itself(s, &all.takes_part));
    PB_TRY_GOTO(status, pb_comm_agree(s->comm, hash_inputs(s, &all)), out);
    in.hashes = all.hashes;
    PB_TRY_GOTO(status, compare_with_first(&all), out);
out:
    pb_memory_free(all.hashes);
    return status;
}
