// SPDX-License-Identifier: Apache-2.0
/* From the files of a folder to a tokenizer: vocabulary first, then the stages, the added tokens
 * and the merges. */
#include "internal.h"

#include "pb/memory.h"
#include "pb/utf8.h"

#include <inttypes.h>
#include <string.h>

static pb_status check_root(const json_t *root)
{
    json_text type      = {0};
    const json_t *model = json_object_get(root, "model");

    PB_TRY(json_only(root, "tokenizer",
                     "version truncation padding added_tokens normalizer pre_tokenizer "
                     "post_processor decoder model"));
    if (!json_is_object(model)) {
        return PB_FAIL(PB_ERR_FORMAT,
                       "model: an object is expected, found %s; fetch the tokenizer "
                       "again",
                       pb_json_kind(model));
    }
    PB_TRY(json_text_or_none(model, "model", "type", &type));
    if (type.data != NULL && strcmp(type.data, "BPE") != 0) {
        return PB_FAIL(PB_ERR_UNSUPPORTED,
                       "model.type: \"%.*s\" is not supported, only BPE is; choose a model whose "
                       "tokenizer is BPE",
                       PB_FIT(type.data, 60));
    }
    /* Old files name no type; an object as vocabulary, and merges, mean BPE. */
    if (!json_is_object(json_object_get(model, "vocab")) ||
        json_object_get(model, "merges") == NULL) {
        return PB_FAIL(PB_ERR_FORMAT,
                       "model: \"vocab\" (an object) and \"merges\" are expected; fetch the "
                       "tokenizer again");
    }
    return PB_OK;
}

/* Ids may have gaps, but the table by id must stay in proportion to the file. */
static pb_status check_highest(int64_t highest, int64_t count)
{
    if (highest > 4 * count + 1024) {
        return PB_FAIL(PB_ERR_FORMAT,
                       "tokenizer: the highest id is %" PRId64 " though there are %" PRId64
                       " tokens only; fetch the tokenizer again",
                       highest, count);
    }
    return PB_OK;
}

/* The highest id and the bytes of model.vocab. */
static pb_status measure_vocabulary(json_t *vocab, int64_t *highest, size_t *bytes)
{
    const char *text = NULL;
    json_t *value    = NULL;

    *highest = -1;
    *bytes   = 0;
    json_object_foreach(vocab, text, value)
    {
        int64_t id = json_is_integer(value) ? (int64_t)json_integer_value(value) : -1;
        if (id < 0 || id >= INT32_MAX) {
            return PB_FAIL(PB_ERR_FORMAT,
                           "model.vocab[\"%.*s\"]: an id from 0 to 2^31 - 2 is expected",
                           PB_FIT(text, 60));
        }
        *highest = id > *highest ? id : *highest;
        *bytes += strlen(text);
    }
    return PB_OK;
}

static pb_status read_vocabulary(const json_t *root, pb_tokenizer *t)
{
    json_t *vocab         = json_object_get(json_object_get(root, "model"), "vocab");
    int64_t count         = (int64_t)json_object_size(vocab);
    int64_t highest       = -1;
    int64_t added_highest = -1;
    int64_t added_count   = 0;
    size_t bytes          = 0;
    size_t added_bytes    = 0;
    const char *text      = NULL;
    json_t *value         = NULL;

    PB_TRY(measure_vocabulary(vocab, &highest, &bytes));
    PB_TRY(added_measure(root, &added_highest, &added_count, &added_bytes));
    highest = added_highest > highest ? added_highest : highest;
    PB_TRY(check_highest(highest, count + added_count));
    t->size = highest + 1;
    PB_TRY(lexicon_create(&t->vocabulary, t->size, count, bytes));
    json_object_foreach(vocab, text, value)
    {
        int64_t id        = (int64_t)json_integer_value(value);
        const char *owner = lexicon_text(&t->vocabulary, id, NULL);
        if (owner != NULL) {
            return PB_FAIL(PB_ERR_FORMAT,
                           "model.vocab[\"%.*s\"]: the id %" PRId64
                           " belongs to \"%.*s\" already; fetch the tokenizer again",
                           PB_FIT(text, 60), id, PB_FIT(owner, 60));
        }
        (void)lexicon_put(&t->vocabulary, (int32_t)id, text, strlen(text));
    }
    return PB_OK;
}

static pb_status read_root(const json_t *root, text_scratch *w, pb_tokenizer *t)
{
    const json_t *decoder = json_object_get(root, "decoder");
    bool by_bytes         = false;

    PB_TRY(check_root(root));
    PB_TRY(read_vocabulary(root, t));
    PB_TRY(steps_parse(&stage_normalizer, root, &t->normalizer));
    PB_TRY(steps_parse(&stage_pretokenizer, root, &t->pretokenizer));
    PB_TRY(steps_check_start(&t->normalizer, &t->pretokenizer));
    PB_TRY(steps_parse(&stage_decoder, root, &t->decoder));
    t->has_decoder = decoder != NULL && !json_is_null(decoder);
    PB_TRY(postprocessor_parse(root, t->size, &t->post));
    PB_TRY(added_parse(root, t->size, &t->vocabulary, &t->normalizer, w, &t->added));
    PB_TRY(steps_are_bytes(&t->pretokenizer, &by_bytes));
    return PB_FRAME(
        bpe_parse(json_object_get(root, "model"), &t->vocabulary, by_bytes, w, &t->bpe));
}

pb_status pb_tokenizer_open(const char *model_dir, pb_tokenizer **out)
{
    text_source source = {0};
    pb_tokenizer *t    = NULL;
    text_scratch *w    = NULL;
    pb_status status   = PB_OK;

    PB_TRY(source_read(model_dir, &source));
    PB_TRY_GOTO(status, PB_ALLOC(t, 1), err_clear);
    (void)pthread_mutex_init(&t->lock, NULL);
    PB_TRY_GOTO(status, tokenizer_borrow(t, &w), err_clear);
    status = read_root(source.root, w, t);
    tokenizer_return(t, w);
    if (status != PB_OK) {
        status = pb_error_prefix(status, "%s", source.path);
        goto err_clear;
    }
    status = tokenizer_read_names(t, &source);
    if (status != PB_OK) {
        status = pb_error_prefix(status, "%s", model_dir);
        goto err_clear;
    }
    memcpy(t->hash, source.hash, sizeof t->hash);
    t->chat_file         = source.chat_file;
    t->chat_template     = source.chat_template;
    source.chat_template = (pb_string){0};
    pb_tokenizer_trim(t); /* its working memory was created before the vocabulary was known */
    source_clear(&source);
    *out = t;
    return PB_OK;

err_clear:
    pb_tokenizer_close(t);
    source_clear(&source);
    return status;
}

void pb_tokenizer_close(pb_tokenizer *t)
{
    if (t == NULL) {
        return;
    }
    pb_tokenizer_trim(t);
    bpe_clear(&t->bpe);
    postprocessor_clear(&t->post);
    steps_clear(&t->decoder);
    steps_clear(&t->pretokenizer);
    steps_clear(&t->normalizer);
    added_clear(&t->added);
    lexicon_clear(&t->vocabulary);
    pb_ids_clear(&t->additional);
    pb_string_clear(&t->chat_template);
    (void)pthread_mutex_destroy(&t->lock);
    pb_memory_free(t);
}
