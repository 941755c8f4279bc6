// SPDX-License-Identifier: Apache-2.0
/* Begin, end, padding and additional special tokens. */
#include "declared.h"
#include "internal.h"

static pb_status find_id(const pb_tokenizer *t, const text_source *source, const char *key,
                         const json_t *value, int32_t *out)
{
    const char *text = NULL;

    *out = -1;
    PB_TRY(declared_text(source, key, value, &text));
    if (text != NULL) {
        (void)pb_tokenizer_id(t, text, out);
    }
    return PB_OK;
}

pb_status tokenizer_read_names(pb_tokenizer *t, const text_source *source)
{
    size_t i      = 0;
    json_t *value = NULL;

    const struct {
        const char *key;
        int32_t *id;
    } named[] = {{"bos_token", &t->bos}, {"eos_token", &t->eos}, {"pad_token", &t->pad}};

    for (size_t k = 0; k < sizeof named / sizeof *named; k++) {
        PB_TRY(find_id(t, source, named[k].key, json_object_get(source->names, named[k].key),
                       named[k].id));
    }
    json_array_foreach(declared_list(source), i, value)
    {
        int32_t id = -1;
        PB_TRY(find_id(t, source, "extra_special_tokens", value, &id));
        if (id >= 0) {
            PB_TRY(pb_ids_append(&t->additional, id));
        }
    }
    return PB_OK;
}
