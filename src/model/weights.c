// SPDX-License-Identifier: Apache-2.0
/* From the files of a checkpoint to the weights of the sites.
 *
 * A checkpoint that is wholly F32 is used where it is mapped. Any other is converted once into one
 * arena: a window that the ranks of a node share, or private memory in a group of one. Values are
 * checked to be finite once per node. Ranks agree on a status before every collective call. */
#include "model_private.h"

#include "pb/log.h"
#include "pb/memory.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define ALIGN_FLOATS 16   /* 64 bytes */
#define SCAN_BLOCK   4096 /* values */
#define INDEX_NONE   (-1)

/* Where in the file the tensors of a site are: indices into the sorted list, or INDEX_NONE. */
typedef struct source {
    int64_t weight, bias;
} source;

/* What stands before the names of the decoder's tensors and of the head. */
typedef struct prefix {
    const char *body, *head;
} prefix;

/* As saved with a head; the bare decoder; the language part of a larger model, in the names of
 * transformers 4 and of later ones. */
static const prefix prefixes[] = {{"model.", ""},
                                  {"", ""},
                                  {"language_model.model.", "language_model."},
                                  {"model.language_model.", ""}};

typedef struct loading {
    pb_model *model;
    pb_comm *comm; /* NULL in a group of one */
    pb_safetensors *file;
    source *sources; /* [site_count] */
    bool *used;      /* [count of the file] */
    const prefix *prefix;
    bool convert;
} loading;

static pb_status agree(const loading *l, pb_status status)
{
    return l->comm != NULL ? pb_comm_agree(l->comm, status) : status;
}

int64_t pb_model_lay_out(pb_model *model, float *memory)
{
    int64_t floats = 0;
    for (int64_t i = 0; i < model->site_count; i++) {
        pb_site *site      = &model->sites[i];
        pb_tensor *slots[] = {&site->weight, &site->bias};
        pb_tensor shapes[] = {pb_site_weight_shape(site), pb_site_bias_shape(site)};
        bool exists[]      = {site->has_weight, site->has_bias};
        for (int s = 0; s < 2; s++) {
            if (!exists[s]) {
                continue;
            }
            if (memory != NULL) {
                *slots[s]      = shapes[s];
                slots[s]->data = memory + floats;
            }
            int64_t count = pb_tensor_count(&shapes[s]);
            floats += (count + ALIGN_FLOATS - 1) / ALIGN_FLOATS * ALIGN_FLOATS;
        }
    }
    return floats;
}

/* The index of the site's tensor `part` ("weight", "bias") with its dtype and shape checked. */
static pb_status locate(loading *l, const pb_site *site, const char *part,
                        const pb_tensor *expected, int64_t *index)
{
    char name[128];
    char found_text[128];
    char expected_text[128];
    pb_tensor found    = {0};
    const char *module = site->hf_name;
    if (strncmp(module, "model.", strlen("model.")) == 0) {
        module += strlen("model.");
        snprintf(name, sizeof name, "%s%s.%s", l->prefix->body, module, part);
    } else {
        snprintf(name, sizeof name, "%s%s.%s", l->prefix->head, module, part);
    }
    *index = pb_safetensors_index(l->file, name);
    if (*index < 0) {
        return PB_FAIL(PB_ERR_NOT_FOUND,
                       "%s: tensor %s is missing; config.json asks for it: the files do not belong "
                       "together, or one is incomplete",
                       l->model->directory, name);
    }
    PB_TRY(pb_safetensors_get(l->file, name, &found));
    const char *path = pb_safetensors_path(l->file, *index);
    if (found.dtype == PB_DTYPE_I32) {
        return PB_FAIL(PB_ERR_UNSUPPORTED,
                       "%s: tensor %s is of dtype I32; weights are F32, F16 or "
                       "BF16",
                       path, name);
    }
    if (!pb_tensor_same_shape(&found, expected)) {
        return PB_FAIL(PB_ERR_SHAPE,
                       "%s: tensor %s has shape %s, config.json asks for %s; the files do not "
                       "belong together",
                       path, name, pb_tensor_shape_text(&found, found_text, sizeof found_text),
                       pb_tensor_shape_text(expected, expected_text, sizeof expected_text));
    }
    l->used[*index] = true;
    l->convert |= found.dtype != PB_DTYPE_F32 || !pb_safetensors_is_mapped(l->file, *index);
    return PB_OK;
}

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text);
    size_t m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

/* A tensor of another part of a model of several parts. */
static bool is_of_another_part(const loading *l, const char *name)
{
    const char *body = l->prefix->body;
    const char *head = l->prefix->head;
    if (!l->model->config.inner || strncmp(name, body, strlen(body)) == 0) {
        return false;
    }
    return head[0] == '\0' || strncmp(name, head, strlen(head)) != 0;
}

/* What may be in a file without being used: the other parts of a model of several parts, rotary
 * frequencies, which old writers stored and which follow from config.json, and the head of a tied
 * model, which transformers ignores too. */
static pb_status check_unused(const loading *l)
{
    for (int64_t i = 0; i < pb_safetensors_count(l->file); i++) {
        const char *name = pb_safetensors_at(l->file, i)->name;
        if (l->used[i] || ends_with(name, "rotary_emb.inv_freq") || is_of_another_part(l, name)) {
            continue;
        }
        if (l->model->config.tied && ends_with(name, "lm_head.weight")) {
            pb_log0_info("%s: lm_head.weight is not used, the head is tied to the embedding",
                         pb_safetensors_path(l->file, i));
            continue;
        }
        return PB_FAIL(PB_ERR_UNSUPPORTED,
                       "%s: tensor %.200s is no part of a %s with %" PRId64
                       " layers as config.json describes it; the files do not belong together, or "
                       "config.json lacks a key",
                       pb_safetensors_path(l->file, i), name,
                       pb_model_architecture(&l->model->config), l->model->config.layers);
    }
    return PB_OK;
}

static pb_status keep_paths(loading *l)
{
    pb_model *model = l->model;
    int64_t count   = pb_safetensors_file_count(l->file);
    PB_TRY(PB_ALLOC(model->files, count));
    for (int64_t i = 0; i < count; i++) {
        model->files[i] = pb_memory_text(pb_safetensors_file_path(l->file, i));
        if (model->files[i] == NULL) {
            return PB_ERR_MEMORY;
        }
        model->file_count++;
    }
    return PB_OK;
}

/* The first that leads to an embedding. */
static void find_prefix(loading *l)
{
    char name[64];
    l->prefix = &prefixes[0];
    for (size_t i = 0; i < sizeof prefixes / sizeof prefixes[0]; i++) {
        snprintf(name, sizeof name, "%sembed_tokens.weight", prefixes[i].body);
        if (pb_safetensors_find(l->file, name) != NULL) {
            l->prefix = &prefixes[i];
            return;
        }
    }
}

/* Local: opens the files, finds and checks every tensor. */
static pb_status find_tensors(loading *l)
{
    pb_model *model = l->model;
    PB_TRY(pb_safetensors_open(model->directory, &l->file));
    PB_TRY(keep_paths(l));
    PB_TRY(PB_ALLOC(l->sources, model->site_count));
    PB_TRY(PB_ALLOC(l->used, pb_safetensors_count(l->file)));
    find_prefix(l);
    for (int64_t i = 0; i < model->site_count; i++) {
        const pb_site *site = &model->sites[i];
        pb_tensor weight    = pb_site_weight_shape(site);
        pb_tensor bias      = pb_site_bias_shape(site);
        l->sources[i]       = (source){INDEX_NONE, INDEX_NONE};
        if (site->has_weight) {
            PB_TRY(locate(l, site, "weight", &weight, &l->sources[i].weight));
        }
        if (site->has_bias) {
            PB_TRY(locate(l, site, "bias", &bias, &l->sources[i].bias));
        }
    }
    return check_unused(l);
}

/* All ranks must lay out the same arena and take the same path, whatever their node's copy of the
 * files is. */
static pb_status agree_on_layout(loading *l)
{
    if (l->comm == NULL) {
        return PB_OK;
    }
    int64_t floats   = pb_model_lay_out(l->model, NULL);
    int64_t values[] = {l->convert, floats, -floats};
    PB_TRY(pb_comm_reduce_max(l->comm, values, 3));
    if (values[1] != -values[2]) {
        return PB_FAIL(PB_ERR_FORMAT,
                       "%s: the processes see models of different sizes; give all nodes the same "
                       "files",
                       l->model->directory);
    }
    l->convert = values[0] != 0;
    return PB_OK;
}

/* The index of the first value that is NaN or infinite, -1 when all are finite. Blocks are tested
 * by the largest exponent, which compilers vectorise. */
static int64_t first_not_finite(const float *x, int64_t n)
{
    for (int64_t start = 0; start < n; start += SCAN_BLOCK) {
        int64_t end      = start + SCAN_BLOCK < n ? start + SCAN_BLOCK : n;
        uint32_t largest = 0;
        for (int64_t i = start; i < end; i++) {
            uint32_t bits;
            memcpy(&bits, &x[i], sizeof bits);
            bits &= 0x7fffffffu;
            largest = bits > largest ? bits : largest;
        }
        if (largest < 0x7f800000u) {
            continue;
        }
        for (int64_t i = start; i < end; i++) {
            uint32_t bits;
            memcpy(&bits, &x[i], sizeof bits);
            if ((bits & 0x7f800000u) == 0x7f800000u) {
                return i;
            }
        }
    }
    return -1;
}

static pb_status check_finite(const loading *l, int64_t index, const pb_tensor *held)
{
    int64_t bad = first_not_finite(held->data, pb_tensor_count(held));
    if (bad < 0) {
        return PB_OK;
    }
    return PB_FAIL(PB_ERR_NUMERIC,
                   "%s: tensor %.200s: value %" PRId64
                   " is NaN or infinite; the checkpoint is damaged or its training diverged",
                   pb_safetensors_path(l->file, index), pb_safetensors_at(l->file, index)->name,
                   bad);
}

/* The work that is done once per node: one tensor's conversion where there is one, and the scan. */
static pb_status fill_tensor(const loading *l, int64_t index, pb_tensor *held)
{
    if (index == INDEX_NONE) {
        return PB_OK;
    }
    if (l->convert) {
        PB_TRY(pb_tensor_to_f32(held, &pb_safetensors_at(l->file, index)->tensor));
    }
    return check_finite(l, index, held);
}

static pb_status fill_node(const loading *l)
{
    for (int64_t i = 0; i < l->model->site_count; i++) {
        pb_site *site = &l->model->sites[i];
        PB_TRY(fill_tensor(l, l->sources[i].weight, &site->weight));
        PB_TRY(fill_tensor(l, l->sources[i].bias, &site->bias));
    }
    return PB_OK;
}

static void view_mapping(const loading *l)
{
    for (int64_t i = 0; i < l->model->site_count; i++) {
        pb_site *site = &l->model->sites[i];
        if (l->sources[i].weight != INDEX_NONE) {
            site->weight = pb_safetensors_at(l->file, l->sources[i].weight)->tensor;
        }
        if (l->sources[i].bias != INDEX_NONE) {
            site->bias = pb_safetensors_at(l->file, l->sources[i].bias)->tensor;
        }
    }
}

/* Gives every site its memory. `fills` is whether this rank does its node's work. */
static pb_status provide_memory(loading *l, bool *fills)
{
    pb_model *model = l->model;
    int64_t floats  = pb_model_lay_out(model, NULL);
    *fills          = l->comm == NULL || pb_comm_node_rank(l->comm) == 0;
    if (!l->convert) {
        view_mapping(l);
        return PB_OK;
    }
    if (l->comm == NULL) {
        PB_TRY(PB_ALLOC(model->arena, floats));
        pb_model_lay_out(model, model->arena);
        return PB_OK;
    }
    PB_TRY(pb_comm_window_create(l->comm, (size_t)floats * sizeof(float), &model->window));
    *fills = pb_comm_window_is_filler(model->window);
    pb_model_lay_out(model, pb_comm_window_data(model->window));
    return PB_OK;
}

pb_status pb_model_load(pb_model *model, pb_comm *comm)
{
    loading l        = {.model = model, .comm = comm};
    bool fills       = false;
    pb_status status = find_tensors(&l);

    PB_TRY_GOTO(status, agree(&l, status), out_loading);
    PB_TRY_GOTO(status, agree_on_layout(&l), out_loading);
    PB_TRY_GOTO(status, provide_memory(&l, &fills), out_loading);
    status = fills ? fill_node(&l) : PB_OK;
    PB_TRY_GOTO(status, agree(&l, status), out_loading);
    if (model->window != NULL) {
        PB_TRY_GOTO(status, pb_comm_barrier(comm), out_loading);
    }
    pb_model_finish(model);
    if (!l.convert) {
        model->file = l.file;
        l.file      = NULL;
    }
out_loading:
    pb_memory_free(l.used);
    pb_memory_free(l.sources);
    pb_safetensors_close(l.file);
    return status;
}
