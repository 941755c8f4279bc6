// SPDX-License-Identifier: Apache-2.0
/* Comparing processes with rank 0, by hashes of texts; the texts themselves travel only when two
 * differ. */
#include "internal.h"

#include "pb/memory.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Texts that must be the same everywhere. */
typedef struct comparison {
    pb_comm *comm;
    void *context;
    char (*hashes)[PB_HASH_TEXT]; /* [count] */
    int64_t count;
    bool takes_part; /* this process has hashes of its own */
    pb_status (*text)(void *context, int64_t index, pb_string *out);
    /* The failure: what differs between this process's text and rank 0's. */
    pb_status (*fail)(const char *own, const char *first, const char *hosts);
} comparison;

/* From one process to all, which have nothing in *text before. */
static pb_status share_text(pb_comm *comm, int root, pb_string *text)
{
    int64_t length = (int64_t)text->length;
    char *bytes    = NULL;
    pb_status status;

    PB_TRY(pb_comm_broadcast(comm, &length, sizeof length, root));
    status = PB_ALLOC(bytes, length + 1);
    PB_TRY_GOTO(status, pb_comm_agree(comm, status), out);
    if (pb_comm_rank(comm) == root && length > 0) {
        memcpy(bytes, text->data, (size_t)length);
    }
    PB_TRY_GOTO(status, pb_comm_broadcast(comm, bytes, (size_t)length, root), out);
    pb_string_clear(text);
    status = pb_comm_agree(comm, pb_string_append(text, bytes, (size_t)length));
out:
    pb_memory_free(bytes);
    return status;
}

static pb_status hash_hashes(const comparison *c, char text[PB_HASH_TEXT])
{
    size_t bytes = (size_t)c->count * sizeof *c->hashes;
    return pb_hash_bytes(bytes > 0 ? (const void *)c->hashes : "", bytes, text);
}

/* The lowest rank that differs from rank 0; -1: none does. */
static pb_status find_rank(const comparison *c, int *out)
{
    int size                 = pb_comm_size(c->comm);
    char own[PB_HASH_TEXT]   = "";
    char first[PB_HASH_TEXT] = "";
    PB_TRY(pb_comm_agree(c->comm, hash_hashes(c, own)));
    memcpy(first, own, sizeof first);
    PB_TRY(pb_comm_broadcast(c->comm, first, sizeof first, 0));
    bool differs  = c->takes_part && strcmp(own, first) != 0;
    int64_t claim = differs ? size - pb_comm_rank(c->comm) : 0;
    PB_TRY(pb_comm_reduce_max(c->comm, &claim, 1));
    *out = claim > 0 ? size - (int)claim : -1;
    return PB_OK;
}

/* The first text of `rank` that is not rank 0's. */
static pb_status find_text(const comparison *c, int rank, int64_t *index)
{
    int64_t count              = c->count;
    char(*first)[PB_HASH_TEXT] = NULL;
    pb_status status;

    PB_TRY(pb_comm_broadcast(c->comm, &count, sizeof count, 0));
    status = PB_ALLOC(first, count + 1);
    PB_TRY_GOTO(status, pb_comm_agree(c->comm, status), out);
    if (pb_comm_rank(c->comm) == 0) {
        memcpy(first, c->hashes, (size_t)count * sizeof *first);
    }
    PB_TRY_GOTO(status, pb_comm_broadcast(c->comm, first, (size_t)count * sizeof *first, 0), out);
    *index = 0;
    while (*index < count && *index < c->count && strcmp(first[*index], c->hashes[*index]) == 0) {
        ++*index;
    }
    status = pb_comm_broadcast(c->comm, index, sizeof *index, rank);
out:
    pb_memory_free(first);
    return status;
}

static pb_status explain(const comparison *c, int rank, int64_t index)
{
    bool here        = pb_comm_rank(c->comm) == rank;
    char hosts[600]  = "";
    char host[256]   = "";
    char other[256]  = "";
    pb_string first  = {0};
    pb_string own    = {0};
    pb_status status = PB_OK;

    (void)gethostname(host, sizeof host - 1);
    memcpy(other, host, sizeof other);
    PB_TRY(pb_comm_broadcast(c->comm, other, sizeof other, 0));
    snprintf(hosts, sizeof hosts, "this process on host %s differs from rank 0 on host %s", host,
             other);
    if (pb_comm_rank(c->comm) == 0 && index < c->count) {
        status = c->text(c->context, index, &first);
    }
    PB_TRY_GOTO(status, pb_comm_agree(c->comm, status), out);
    PB_TRY_GOTO(status, share_text(c->comm, 0, &first), out);
    if (here && index < c->count) {
        status = c->text(c->context, index, &own);
    }
    if (here && status == PB_OK) {
        status = c->fail(own.data != NULL ? own.data : "", first.data, hosts);
    }
    status = pb_comm_agree(c->comm, status);
out:
    pb_string_clear(&first);
    pb_string_clear(&own);
    return status;
}

static pb_status compare(const comparison *c)
{
    int rank      = -1;
    int64_t index = 0;

    PB_TRY(find_rank(c, &rank));
    if (rank < 0) {
        return PB_OK;
    }
    PB_TRY(find_text(c, rank, &index));
    return explain(c, rank, index);
}

/* ---------------------------------------------------------------- configuration */

/* Texts before those of the cells. */
enum { TEXT_PROGRAM, TEXT_OPTIONS, TEXT_SETS, TEXT_CELLS };

typedef struct configuration {
    const pb_sweep *s;
    pb_grid_cells cells; /* in the order of the grid file: costs are not known yet */
} configuration;

static pb_status options_text(const pb_sweep *s, pb_string *out)
{
    const pb_sweep_options *o      = &s->options;
    const pb_grid_run_options *run = pb_grid_get_run(s->grid);
    const char *const typed[]      = {"output", o->output, "device", o->device, "dtype", o->dtype};
    for (size_t i = 0; i < sizeof typed / sizeof *typed; i += 2) {
        if (typed[i + 1] != NULL) {
            PB_TRY(pb_string_printf(out, "--%s %s\n", typed[i], typed[i + 1]));
        }
    }
    if (o->has_threads) {
        PB_TRY(pb_string_printf(out, "--threads %" PRId64 "\n", o->threads));
    }
    PB_TRY(pb_string_printf(out, "sweep.name = \"%s\"\n", pb_sweep_name(s)));
    PB_TRY(pb_string_printf(out, "run.output = \"%s\"\n", run->output));
    PB_TRY(pb_string_printf(out, "run.threads = %" PRId64 "\nrun.dtype = %d\nrun.device = %s\n",
                            run->threads, run->dtype, run->device));
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

/* A configuration that cannot be read is reported later, by its own message. */
static pb_status cell_text(const configuration *c, const pb_grid_cell *cell, pb_string *out)
{
    pb_config *config = NULL;
    PB_TRY(pb_string_printf(out, "cell %s/%s/%s/%" PRId64 "\n", cell->model, cell->dataset,
                            cell->method, cell->seed));
    PB_TRY(pb_grid_cell_config(c->s->grid, cell, &config));
    pb_cell whole    = {.model    = cell->model,
                        .dataset  = cell->dataset,
                        .method   = cell->method,
                        .seed     = cell->seed,
                        .protocol = cell->protocol,
                        .config   = config};
    pb_status status = pb_cell_text(&whole, out);
    pb_config_close(config);
    if (status != PB_OK && status != PB_ERR_MEMORY) {
        pb_error_clear();
        status = pb_string_puts(out, "a configuration that cannot be read\n");
    }
    return status;
}

static pb_status configuration_text(void *context, int64_t index, pb_string *out)
{
    const configuration *c = context;
    switch (index) {
    case TEXT_PROGRAM:
        return pb_string_printf(out, "%s\n", pb_cell_program());
    case TEXT_OPTIONS:
        return options_text(c->s, out);
    case TEXT_SETS:
        return sets_text(c->s, out);
    default:
        return cell_text(c, &c->cells.items[index - TEXT_CELLS], out);
    }
}

/* Cuts the next line off *at; the group of libconfig that it opens or closes is noted. */
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
static pb_status fail_configuration(const char *own, const char *first, const char *hosts)
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
    return PB_FAIL(PB_ERR_CONFIG,
                   "%s%s: \"%s%s\" here, \"%s%s\" there; start all processes of a run with the "
                   "same program, grid file and options",
                   hosts, named ? "" : cell, groups[0], own_line[0] != '\0' ? own_line : "nothing",
                   groups[1], first_line[0] != '\0' ? first_line : "nothing");
}

static pb_status hash_texts(configuration *c, comparison *all)
{
    pb_status status = PB_OK;
    PB_TRY(pb_grid_expand(c->s->grid, NULL, NULL, &c->cells));
    PB_TRY(PB_ALLOC(all->hashes, TEXT_CELLS + c->cells.count));
    all->count = TEXT_CELLS + c->cells.count;
    for (int64_t i = 0; i < all->count && status == PB_OK; i++) {
        pb_string text = {0};
        status         = configuration_text(c, i, &text);
        if (status == PB_OK) {
            status = pb_hash_bytes(text.length > 0 ? text.data : "", text.length, all->hashes[i]);
        }
        pb_string_clear(&text);
    }
    return status;
}

pb_status alike_check_configuration(const pb_sweep *s)
{
    configuration c = {.s = s};
    comparison all  = {.comm       = s->comm,
                       .context    = &c,
                       .takes_part = true,
                       .text       = configuration_text,
                       .fail       = fail_configuration};
    pb_status status;

    if (pb_comm_size(s->comm) == 1) {
        return PB_OK;
    }
    PB_TRY_GOTO(status, pb_comm_agree(s->comm, hash_texts(&c, &all)), out);
    PB_TRY_GOTO(status, compare(&all), out);
out:
    pb_memory_free(all.hashes);
    pb_grid_cells_clear(&c.cells);
    return status;
}

/* ---------------------------------------------------------------- inputs */

typedef struct inputs {
    const pb_sweep *s;
    char (*hashes)[PB_HASH_TEXT]; /* [cells · PB_INPUT_COUNT] */
} inputs;

/* A number for where all inputs of this process lie. */
static pb_status number_places(const pb_sweep *s, int64_t *out)
{
    pb_hash *hash           = NULL;
    char text[PB_HASH_TEXT] = "";
    pb_status status;

    PB_TRY(pb_hash_create(&hash));
    for (int64_t i = 0; i < s->cells.count; i++) {
        pb_cell cell = sweep_cell(s, i);
        PB_TRY_GOTO(status, pb_cell_input_places(&cell, hash), out);
    }
    PB_TRY_GOTO(status, pb_hash_finish(hash, text), out);
    text[15] = '\0'; /* as many digits as an int64 holds */
    *out     = (int64_t)strtoll(text, NULL, 16);
out:
    pb_hash_destroy(hash);
    return status;
}

/* False where the node's first process has the same files and reads them for this one. */
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
        pb_cell cell = sweep_cell(s, i);
        PB_TRY(pb_cell_input_hashes(s->env, &cell, &all->hashes[i * PB_INPUT_COUNT]));
    }
    return PB_OK;
}

static pb_status input_text(void *context, int64_t index, pb_string *out)
{
    const inputs *in = context;
    pb_cell cell     = sweep_cell(in->s, index / PB_INPUT_COUNT);
    PB_TRY(pb_string_printf(out, "%s ", pb_cell_input_names[index % PB_INPUT_COUNT]));
    PB_TRY(pb_cell_input_path(&cell, (pb_cell_input)(index % PB_INPUT_COUNT), out));
    const char *hash = in->hashes[index];
    return pb_string_printf(out, " (%s%s)", strlen(hash) == PB_HASH_TEXT - 1 ? "SHA-256 " : "",
                            hash);
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
    PB_TRY_GOTO(status, compare(&all), out);
out:
    pb_memory_free(all.hashes);
    return status;
}
