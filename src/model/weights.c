// SPDX-License-Identifier: Apache-2.0
/* From the files of a checkpoint to the weights of the sites.
 *
 * A tensor is used in the mapping where possible: a matrix of F32, BF16 or F16, a norm or bias of
 * F32. All others are converted once into one arena: a window that the ranks of a node share, or
 * private memory in a group of one. Values are checked to be finite once per node; its ranks share
 * the work. Ranks agree on a status before every collective call. */
#include "model_private.h"

#include "pb/log.h"
#include "pb/memory.h"
#include "pb/string.h"
#include "pb/utf8.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define ALIGN_FLOATS 16   /* 64 bytes */
#define SCAN_BLOCK   4096 /* values */

/* One tensor of a site. */
typedef struct weight_slot {
    pb_tensor *tensor; /* the site's */
    pb_tensor shape;   /* F32, without memory */
    int64_t index;     /* in the file's sorted list */
    bool converts;
    int64_t offset; /* floats in the arena, where it converts */
} weight_slot;

/* The prefixes of the names of the decoder's tensors and of the head. */
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
    weight_slot *slots; /* [slot_count], room for two of every site */
    int64_t slot_count;
    int64_t floats; /* of the arena */
    bool *used;     /* [count of the file] */
    const prefix *prefix;
    int threads;
} loading;

static int64_t padded(int64_t floats)
{
    return (floats + ALIGN_FLOATS - 1) / ALIGN_FLOATS * ALIGN_FLOATS;
}

static pb_status agree(const loading *l, pb_status status)
{
    return l->comm != NULL ? pb_comm_agree(l->comm, status) : status;
}

int64_t model_lay_out(pb_model *model, float *memory)
{
    int64_t floats = 0;
    for (int64_t i = 0; i < model->site_count; i++) {
        pb_site *site      = &model->sites[i];
        pb_tensor *slots[] = {&site->weight, &site->bias};
        pb_tensor shapes[] = {site_weight_shape(site), site_bias_shape(site)};
        bool exists[]      = {site->has_weight, site->has_bias};
        for (int s = 0; s < 2; s++) {
            if (!exists[s]) {
                continue;
            }
            if (memory != NULL) {
                *slots[s]      = shapes[s];
                slots[s]->data = memory + floats;
            }
            floats += padded(pb_tensor_count(&shapes[s]));
        }
    }
    return floats;
}

void model_finish(pb_model *model)
{
    pb_site *head = &model->sites[model->site_count - 1];
    if (model->config.tied) {
        head->weight = model->sites[0].weight;
    }
    model->bytes = 0;
    for (int64_t i = 0; i < model->site_count; i++) {
        const pb_site *site = &model->sites[i];
        model->bytes += site->has_weight ? pb_tensor_bytes(&site->weight) : 0;
        model->bytes += pb_tensor_bytes(&site->bias);
    }
}

/* Whether the tensor can be used as stored: factors of products and looked-up rows may have 16
 * bits; norms and biases may not. */
static bool is_usable(const loading *l, const weight_slot *slot, const pb_tensor *found)
{
    bool half = found->dtype == PB_DTYPE_BF16 || found->dtype == PB_DTYPE_F16;
    return pb_safetensors_is_mapped(l->file, slot->index) &&
           (found->dtype == PB_DTYPE_F32 || (half && slot->shape.ndim == 2));
}

/* A tensor whose name ends like that of the missing one; NULL when there is none. */
static const char *find_alike(const loading *l, const char *module, const char *part)
{
    char end[128];
    snprintf(end, sizeof end, "%s.%s", module, part);
    for (int64_t i = 0; i < pb_safetensors_count(l->file); i++) {
        const char *name = pb_safetensors_at(l->file, i)->name;
        if (!l->used[i] && pb_string_ends(name, end)) {
            return name;
        }
    }
    return NULL;
}

static pb_status fail_missing(const loading *l, const pb_site *site, const char *name,
                              const char *module, const char *part)
{
    const char *alike = find_alike(l, module, part);
    if (site->kind == PB_SITE_HEAD) {
        return PB_FAIL(PB_ERR_NOT_FOUND,
                       "%s: tensor %s is missing, though tie_word_embeddings is false in "
                       "config.json: set it to true if the head is the embedding, or copy the "
                       "folder again",
                       l->model->directory, name);
    }
    if (alike != NULL) {
        return PB_FAIL(PB_ERR_NOT_FOUND,
                       "%s: tensor %s is missing; there is %.*s, but transformers knows no such "
                       "prefix either: rename the tensors",
                       l->model->directory, name, PB_FIT(alike, 200));
    }
    return PB_FAIL(PB_ERR_NOT_FOUND,
                   "%s: tensor %s is missing; config.json asks for it: the files do not "
                   "belong together, or one is incomplete",
                   l->model->directory, name);
}

/* Finds the site's tensor `part` ("weight", "bias"), with its dtype and shape checked. */
static pb_status locate(loading *l, const pb_site *site, const char *part, weight_slot slot)
{
    char name[128];
    char found_text[128];
    char expected_text[128];
    pb_tensor found    = {0};
    const char *module = site->hf_name;
    const char *body   = sites_body(&l->model->config);
    if (pb_string_begins(module, body)) {
        module += strlen(body);
        snprintf(name, sizeof name, "%s%s.%s", l->prefix->body, module, part);
    } else {
        snprintf(name, sizeof name, "%s%s.%s", l->prefix->head, module, part);
    }
    slot.index = pb_safetensors_index(l->file, name);
    if (slot.index < 0 && site->kind == PB_SITE_EMBEDDING && l->model->config.tied) {
        /* One matrix has two names; a writer may have stored the other one. */
        snprintf(name, sizeof name, "%slm_head.weight", l->prefix->head);
        slot.index = pb_safetensors_index(l->file, name);
    }
    if (slot.index < 0) {
        return fail_missing(l, site, name, module, part);
    }
    PB_TRY(pb_safetensors_get(l->file, name, &found));
    const char *path = pb_safetensors_path(l->file, slot.index);
    if (!pb_dtype_is_float(found.dtype)) {
        return PB_FAIL(PB_ERR_UNSUPPORTED,
                       "%s: tensor %s is of dtype %s; weights are F32, F16, BF16, F64 or F8_E4M3",
                       path, name, pb_dtype_name(found.dtype));
    }
    if (!pb_tensor_same_shape(&found, &slot.shape)) {
        return PB_FAIL(PB_ERR_SHAPE,
                       "%s: tensor %s has shape %s, config.json asks for %s; the files do not "
                       "belong together",
                       path, name, pb_tensor_shape_text(&found, found_text, sizeof found_text),
                       pb_tensor_shape_text(&slot.shape, expected_text, sizeof expected_text));
    }
    l->used[slot.index] = true;
    slot.converts       = !is_usable(l, &slot, &found);
    if (slot.converts) {
        slot.offset = l->floats;
        l->floats += padded(pb_tensor_count(&found));
    }
    l->slots[l->slot_count++] = slot;
    return PB_OK;
}

/* A tensor of another part of a model of several parts. */
static bool is_of_another_part(const loading *l, const char *name)
{
    const char *body = l->prefix->body;
    const char *head = l->prefix->head;
    if (!l->model->config.inner || pb_string_begins(name, body)) {
        return false;
    }
    return head[0] == '\0' || !pb_string_begins(name, head);
}

/* A head beside a tied embedding: a copy is ignored. A different one is ignored by transformers 4
 * and used by 5; which is meant cannot be known. */
static pb_status check_tied_head(const loading *l, int64_t index)
{
    char name[64];
    const pb_named_tensor *head = pb_safetensors_at(l->file, index);
    snprintf(name, sizeof name, "%sembed_tokens.weight", l->prefix->body);
    const pb_named_tensor *table = pb_safetensors_find(l->file, name);
    if (table != NULL && table->tensor.dtype == head->tensor.dtype &&
        pb_tensor_same_shape(&table->tensor, &head->tensor) &&
        memcmp(table->tensor.data, head->tensor.data, pb_tensor_bytes(&head->tensor)) == 0) {
        return PB_OK;
    }
    return PB_FAIL(
        PB_ERR_FORMAT,
        "%s: tensor %s is not the embedding, but tie_word_embeddings in config.json says "
        "so: set it to false, or remove the tensor",
        pb_safetensors_path(l->file, index), head->name);
}

/* Tensors that may be in a file unused: the other parts of a model of several parts, rotary
 * frequencies, which old writers stored and which follow from config.json, and a copy of the
 * embedding as the head of a tied model. */
static pb_status check_unused(const loading *l)
{
    for (int64_t i = 0; i < pb_safetensors_count(l->file); i++) {
        const char *name = pb_safetensors_at(l->file, i)->name;
        if (l->used[i] || pb_string_ends(name, "rotary_emb.inv_freq") ||
            is_of_another_part(l, name)) {
            continue;
        }
        if (l->model->config.tied && pb_string_ends(name, "lm_head.weight")) {
            PB_TRY(check_tied_head(l, i));
            continue;
        }
        return PB_FAIL(PB_ERR_UNSUPPORTED,
                       "%s: tensor %.*s is not part of a %s with %" PRId64
                       " layers as config.json describes it; the files do not belong together, or "
                       "config.json lacks a key",
                       pb_safetensors_path(l->file, i), PB_FIT(name, 200),
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
        PB_TRY(PB_TEXT(model->files[i], pb_safetensors_file_path(l->file, i)));
        model->file_count++;
    }
    return PB_OK;
}

/* The first prefix under which there is an embedding or, failing that, a final norm. */
static void find_prefix(loading *l)
{
    static const char *const modules[] = {"embed_tokens", "norm"};
    char name[64];
    l->prefix = &prefixes[0];
    for (size_t m = 0; m < sizeof modules / sizeof modules[0]; m++) {
        for (size_t i = 0; i < sizeof prefixes / sizeof prefixes[0]; i++) {
            snprintf(name, sizeof name, "%s%s.weight", prefixes[i].body, modules[m]);
            if (pb_safetensors_find(l->file, name) != NULL) {
                l->prefix = &prefixes[i];
                return;
            }
        }
    }
}

/* Local: opens the files, finds and checks every tensor. */
static pb_status find_tensors(loading *l)
{
    pb_model *model = l->model;
    PB_TRY(pb_safetensors_open(model->directory, &l->file));
    PB_TRY(keep_paths(l));
    PB_TRY(PB_ALLOC(l->slots, 2 * model->site_count));
    PB_TRY(PB_ALLOC(l->used, pb_safetensors_count(l->file)));
    find_prefix(l);
    for (int64_t i = 0; i < model->site_count; i++) {
        pb_site *site = &model->sites[i];
        if (site->has_weight) {
            PB_TRY(
                locate(l, site, "weight",
                       (weight_slot){.tensor = &site->weight, .shape = site_weight_shape(site)}));
        }
        if (site->has_bias) {
            PB_TRY(locate(l, site, "bias",
                          (weight_slot){.tensor = &site->bias, .shape = site_bias_shape(site)}));
        }
    }
    return check_unused(l);
}

/* All ranks must lay out the same arena, whatever copy of the files their node has. */
static pb_status agree_on_layout(const loading *l)
{
    if (l->comm == NULL) {
        return PB_OK;
    }
    int64_t values[] = {l->floats, -l->floats};
    PB_TRY(pb_comm_reduce_max(l->comm, values, 2));
    if (values[0] != -values[1]) {
        return PB_FAIL(PB_ERR_FORMAT,
                       "%s: the processes see models of different sizes; give all nodes the same "
                       "files",
                       l->model->directory);
    }
    return PB_OK;
}

/* Whether a block has a NaN or infinite value: its largest exponent decides, a search that
 * compilers vectorise. */
static bool block_is_finite(const void *block, pb_dtype dtype, int64_t n)
{
    uint32_t largest = 0;
    if (dtype == PB_DTYPE_F32) {
        for (int64_t i = 0; i < n; i++) {
            uint32_t bits;
            memcpy(&bits, (const float *)block + i, sizeof bits);
            bits &= 0x7fffffffu;
            largest = bits > largest ? bits : largest;
        }
        return largest < 0x7f800000u;
    }
    uint16_t top          = 0;
    const uint16_t *halfs = block;
    for (int64_t i = 0; i < n; i++) {
        uint16_t bits = halfs[i] & 0x7fffu;
        top           = bits > top ? bits : top;
    }
    return top < (dtype == PB_DTYPE_BF16 ? 0x7f80u : 0x7c00u);
}

/* The place in a block that is known to have one. */
static int64_t first_not_finite(const void *block, pb_dtype dtype, int64_t n)
{
    size_t size = pb_dtype_size(dtype);
    for (int64_t i = 0; i < n; i++) {
        if (!block_is_finite((const char *)block + (size_t)i * size, dtype, 1)) {
            return i;
        }
    }
    return n;
}

/* Converts the tensor where necessary, block by block, and checks that all values are finite. */
static pb_status fill_slot(const loading *l, const weight_slot *slot)
{
    const pb_tensor *from = &pb_safetensors_at(l->file, slot->index)->tensor;
    const pb_tensor *held = slot->tensor;
    size_t from_size      = pb_dtype_size(from->dtype);
    size_t held_size      = pb_dtype_size(held->dtype);
    int64_t count         = pb_tensor_count(held);
    int64_t bad           = count;
#pragma omp parallel for schedule(static) num_threads(l->threads) \
    reduction(min                                                 \
              : bad) if (count > 16 * SCAN_BLOCK)
    for (int64_t start = 0; start < count; start += SCAN_BLOCK) {
        int64_t n   = count - start < SCAN_BLOCK ? count - start : SCAN_BLOCK;
        char *block = (char *)held->data + (size_t)start * held_size;
        if (slot->converts) {
            pb_floats_to_f32((float *)(void *)block,
                             (const char *)from->data + (size_t)start * from_size, from->dtype, n);
        }
        if (!block_is_finite(block, held->dtype, n)) {
            int64_t at = start + first_not_finite(block, held->dtype, n);
            bad        = at < bad ? at : bad;
        }
    }
    if (bad == count) {
        return PB_OK;
    }
    return PB_FAIL(PB_ERR_NUMERIC,
                   "%s: tensor %.*s: value %" PRId64
                   " is NaN or infinite; the checkpoint is damaged or its training diverged",
                   pb_safetensors_path(l->file, slot->index),
                   PB_FIT(pb_safetensors_at(l->file, slot->index)->name, 200), bad);
}

/* This rank's share of its node's work: the filler converts; mapped tensors are dealt out in
 * turn. */
static pb_status fill_node(const loading *l, bool fills)
{
    int64_t ranks = l->comm != NULL ? pb_comm_node_size(l->comm) : 1;
    int64_t rank  = l->comm != NULL ? pb_comm_node_rank(l->comm) : 0;
    for (int64_t i = 0; i < l->slot_count; i++) {
        if (l->slots[i].converts ? fills : i % ranks == rank) {
            PB_TRY(fill_slot(l, &l->slots[i]));
        }
    }
    return PB_OK;
}

static void place_slots(const loading *l, float *arena)
{
    for (int64_t i = 0; i < l->slot_count; i++) {
        const weight_slot *slot = &l->slots[i];
        *slot->tensor           = slot->shape;
        if (slot->converts) {
            slot->tensor->data = arena + slot->offset;
        } else {
            *slot->tensor = pb_safetensors_at(l->file, slot->index)->tensor;
        }
    }
}

/* Gives every site its memory. `fills`: this rank converts for its node. */
static pb_status provide_memory(const loading *l, bool *fills)
{
    pb_model *model = l->model;
    *fills          = l->comm == NULL;
    if (l->floats > 0 && l->comm == NULL) {
        PB_TRY(PB_ALLOC(model->arena, l->floats));
        place_slots(l, model->arena);
        return PB_OK;
    }
    if (l->floats > 0) {
        PB_TRY(pb_comm_window_create(l->comm, (size_t)l->floats * sizeof(float), &model->window));
        *fills = pb_comm_window_is_filler(model->window);
        place_slots(l, pb_comm_window_data(model->window));
        return PB_OK;
    }
    place_slots(l, NULL);
    return PB_OK;
}

pb_status model_load(pb_model *model, pb_comm *comm, int threads)
{
    loading l        = {.model = model, .comm = comm, .threads = threads};
    bool fills       = false;
    pb_status status = find_tensors(&l);

    PB_TRY_GOTO(status, agree(&l, status), out_loading);
    PB_TRY_GOTO(status, agree_on_layout(&l), out_loading);
    PB_TRY_GOTO(status, provide_memory(&l, &fills), out_loading);
    PB_TRY_GOTO(status, agree(&l, fill_node(&l, fills)), out_loading);
    if (model->window != NULL) {
        PB_TRY_GOTO(status, pb_comm_barrier(comm), out_loading);
    }
    model_finish(model);
    model->file = l.file;
    l.file      = NULL;
out_loading:
    pb_memory_free(l.used);
    pb_memory_free(l.slots);
    pb_safetensors_close(l.file);
    return status;
}
