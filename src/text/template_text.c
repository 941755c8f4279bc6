// SPDX-License-Identifier: Apache-2.0
/* The table of templates, those of one family before those of several, and the filling of their
 * pieces with text. */
#include "template_parts.h"

#include "pb/log.h"
#include "pb/registry.h"

#include <string.h>
#include <strings.h>

static const pb_template templates[] = {
    {
        .name        = "llama3",
        .bos         = true,
        .bos_text    = "<|begin_of_text|>",
        .fills       = true,
        .head        = "<|start_header_id|>user<|end_header_id|>\n\n",
        .tail        = "<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n",
        .answer_head = "",
        .answer_tail = "<|eot_id|>",
        .markers     = {"<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"},
        .stops       = {"<|eot_id|>", "<|eom_id|>"},
        .families    = {"Llama"},
    },
    {
        .name            = "qwen3",
        .fills           = true,
        .head            = "<|im_start|>user\n",
        .tail            = "<|im_end|>\n<|im_start|>assistant\n",
        .thought         = "<think>\n\n</think>\n\n",
        .answer_head     = "",
        .answer_tail     = "<|im_end|>\n",
        .markers         = {"<|im_start|>", "<|im_end|>", "<think>", "</think>"},
        .stops           = {"<|im_end|>"},
        .stop_additional = true,
        .families        = {"Qwen3"},
    },
    {
        .name        = "gemma",
        .bos         = true,
        .bos_text    = "<bos>",
        .head        = "<start_of_turn>user\n",
        .tail        = "<end_of_turn>\n<start_of_turn>model\n",
        .answer_head = "",
        .answer_tail = "<end_of_turn>\n",
        .markers     = {"<start_of_turn>", "<end_of_turn>"},
        .stops       = {"<end_of_turn>"},
        .families    = {"Gemma"},
    },
    {
        .name        = "mistral",
        .bos         = true,
        .bos_text    = "<s>",
        .eos         = true,
        .eos_text    = "</s>",
        .head        = "[INST] ",
        .tail        = "[/INST]",
        .answer_head = " ",
        .answer_tail = "",
        .markers     = {"[INST]", "[/INST]"},
        .stop_eos    = true,
        .families    = {"Mistral"},
    },
    {
        .name        = "phi3",
        .head        = "<|user|>\n",
        .tail        = "<|end|>\n<|assistant|>\n",
        .answer_head = "",
        .answer_tail = "<|end|>\n",
        .markers     = {"<|user|>", "<|end|>", "<|assistant|>"},
        .stops       = {"<|end|>"},
        .stop_eos    = true,
        .families    = {"Phi3"},
    },
    {
        .name        = "chatml",
        .head        = "<|im_start|>user\n",
        .tail        = "<|im_end|>\n<|im_start|>assistant\n",
        .answer_head = "",
        .answer_tail = "<|im_end|>\n",
        .markers     = {"<|im_start|>", "<|im_end|>"},
        .stops       = {"<|im_end|>"},
        .families    = {"Qwen2", "Qwen3", "Llama", "Mistral"},
    },
    {
        .name         = "none",
        .bos          = true,
        .bos_optional = true,
        .eos          = true,
        .head         = "",
        .tail         = "\n",
        .answer_head  = "",
        .answer_tail  = "",
        .stop_eos     = true,
        .families     = {""},
    },
    {.name = NULL},
};

static const pb_registry registry = {
    .kind = "chat template", .entries = templates, .stride = sizeof *templates, .also = "auto"};

pb_status pb_template_find(const char *name, const pb_template **out)
{
    size_t index;

    PB_TRY(pb_registry_find(&registry, name, &index));
    *out = &templates[index];
    return PB_OK;
}

const pb_template *pb_template_at(size_t index)
{
    return pb_registry_name(&registry, index) != NULL ? &templates[index] : NULL;
}

static bool is_family(const pb_template *tpl, const char *architecture)
{
    for (size_t i = 0; tpl->families[i] != NULL; i++) {
        if (strncasecmp(tpl->families[i], architecture, strlen(tpl->families[i])) == 0) {
            return true;
        }
    }
    return false;
}

/* The first marker that is not a token; NULL when all are. */
static const char *lacking(const pb_template *tpl, const pb_tokenizer *t)
{
    size_t i   = 0;
    int32_t id = -1;

    while (tpl->markers[i] != NULL && pb_tokenizer_id(t, tpl->markers[i], &id)) {
        i++;
    }
    return tpl->markers[i];
}

/* The last one, none, is for every family and has no markers. */
const pb_template *pb_template_for(const char *architecture, const pb_tokenizer *t)
{
    const pb_template *tpl = templates;

    while (!is_family(tpl, architecture) || lacking(tpl, t) != NULL) {
        tpl++;
    }
    return tpl;
}

static bool is_for_all(const pb_template *tpl)
{
    return tpl->families[0][0] == '\0';
}

/* Appends the templates of a family, each with a token that the tokenizer lacks. */
static pb_status list_lacking(const char *architecture, const pb_tokenizer *t, pb_string *out)
{
    for (size_t i = 0; templates[i].name != NULL; i++) {
        const pb_template *tpl = &templates[i];
        if (is_family(tpl, architecture) && !is_for_all(tpl)) {
            PB_TRY(pb_string_printf(out, "%s%s lacks %s", out->length > 0 ? ", " : "", tpl->name,
                                    lacking(tpl, t)));
        }
    }
    return PB_OK;
}

static bool mentions(const char *text, const pb_template *tpl)
{
    size_t i = 0;

    while (tpl->markers[i] != NULL && strstr(text, tpl->markers[i]) == NULL) {
        i++;
    }
    return tpl->markers[i] != NULL;
}

pb_status pb_template_warn(const char *architecture, const pb_tokenizer *t, const char *path)
{
    static const char remedy[] =
        "name the template that the model was trained with, or \"none\" for "
        "a base model";
    const pb_template *tpl = pb_template_for(architecture, t);
    const char *file       = NULL;
    const char *own        = pb_tokenizer_chat_template(t, &file);
    pb_string list         = {0};
    pb_status status       = PB_OK;

    if (!is_for_all(tpl)) {
        if (own != NULL && !mentions(own, tpl)) {
            pb_log0_warn("%s: chat template \"auto\" is %s here, but %s has none of its tokens; %s",
                         path, tpl->name, file, remedy);
        }
        return PB_OK;
    }
    PB_TRY_GOTO(status, list_lacking(architecture, t, &list), err_clear);
    if (own != NULL) {
        pb_log0_warn(
            "%s: chat template \"auto\" is none, plain text, though %s holds one: no known "
            "template fits the tokenizer (%s); %s",
            path, file, list.length > 0 ? list.data : architecture, remedy);
    } else if (list.length > 0) {
        pb_log0_warn(
            "%s: chat template \"auto\" is none, plain text: no template of this family fits "
            "the tokenizer (%s); %s",
            path, list.data, remedy);
    }

err_clear:
    pb_string_clear(&list);
    return status;
}

const char *const *pb_template_families(const pb_template *tpl)
{
    return tpl->families;
}

const char *pb_template_name(const pb_template *tpl)
{
    return tpl->name;
}

/* Appends the text with its first placeholder filled. */
static pb_status append_filled(pb_string *out, const char *text, size_t size)
{
    static const char placeholder[] = "{{idx}}";
    const char *at                  = memmem(text, size, placeholder, sizeof placeholder - 1);

    if (at == NULL) {
        return pb_string_append(out, text, size);
    }
    const char *rest = at + sizeof placeholder - 1;
    PB_TRY(pb_string_append(out, text, (size_t)(at - text)));
    PB_TRY(pb_string_puts(out, "0"));
    return pb_string_append(out, rest, size - (size_t)(rest - text));
}

/* Appends the answer without thoughts ("<think>\n" up to the next "\n</think>\n\n") and without the
 * line feeds that are then at its start. */
static pb_status append_without_thoughts(pb_string *out, const char *answer)
{
    static const char open[]  = "<think>\n";
    static const char close[] = "\n</think>\n\n";
    pb_string kept            = {0};
    pb_status status          = PB_OK;
    const char *begin         = strstr(answer, open);
    const char *end           = begin == NULL ? NULL : strstr(begin + sizeof open - 1, close);

    while (end != NULL) {
        PB_TRY_GOTO(status, pb_string_append(&kept, answer, (size_t)(begin - answer)), err_clear);
        answer = end + sizeof close - 1;
        begin  = strstr(answer, open);
        end    = begin == NULL ? NULL : strstr(begin + sizeof open - 1, close);
    }
    PB_TRY_GOTO(status, pb_string_puts(&kept, answer), err_clear);
    size_t lead = strspn(kept.data, "\n");
    PB_TRY_GOTO(status, pb_string_append(out, kept.data + lead, kept.length - lead), err_clear);

err_clear:
    pb_string_clear(&kept);
    return status;
}

static pb_status fill_answer(const pb_template *tpl, const char *answer, text_parts *out)
{
    PB_TRY(pb_string_puts(&out->answer, tpl->answer_head));
    if (tpl->thought == NULL) {
        PB_TRY(pb_string_puts(&out->answer, answer));
    } else {
        PB_TRY(append_without_thoughts(&out->answer, answer));
        out->thought = strstr(out->answer.data, "<think>") == NULL &&
                       strstr(out->answer.data, "</think>") == NULL;
    }
    return pb_string_puts(&out->answer, tpl->answer_tail);
}

pb_status parts_fill(const pb_template *tpl, const char *user, size_t user_size, const char *answer,
                     bool corrected, text_parts *out)
{
    pb_status status = PB_OK;

    *out = (text_parts){.thought = tpl->thought != NULL};
    PB_TRY_GOTO(status, pb_string_puts(&out->prompt, tpl->head), err_clear);
    out->user_begin = out->prompt.length;
    if (tpl->fills && !corrected) {
        PB_TRY_GOTO(status, append_filled(&out->prompt, user, user_size), err_clear);
    } else {
        PB_TRY_GOTO(status, pb_string_append(&out->prompt, user, user_size), err_clear);
    }
    out->user_size = out->prompt.length - out->user_begin;
    PB_TRY_GOTO(status, pb_string_puts(&out->prompt, tpl->tail), err_clear);
    if (answer != NULL) {
        PB_TRY_GOTO(status, fill_answer(tpl, answer, out), err_clear);
    }
    return PB_OK;

err_clear:
    parts_clear(out);
    return status;
}

void parts_clear(text_parts *parts)
{
    pb_string_clear(&parts->prompt);
    pb_string_clear(&parts->answer);
}

/* The text of a special id: the tokenizer's, without one that of the template's own model. */
static pb_status append_token(const pb_tokenizer *t, int32_t (*id_of)(const pb_tokenizer *),
                              const char *own, pb_string *out)
{
    int32_t id       = t == NULL ? -1 : id_of(t);
    const char *text = t == NULL ? own : id < 0 ? NULL : pb_tokenizer_token(t, id);

    return text == NULL ? PB_OK : pb_string_puts(out, text);
}

pb_status pb_template_text(const pb_template *tpl, const pb_tokenizer *t, const char *user,
                           const char *answer, bool corrected, pb_string *out_prompt,
                           pb_string *out_answer)
{
    text_parts parts = {0};
    pb_status status = PB_OK;

    PB_TRY(parts_fill(tpl, user, strlen(user), answer, corrected, &parts));
    if (tpl->bos) {
        PB_TRY_GOTO(status, append_token(t, pb_tokenizer_bos, tpl->bos_text, out_prompt),
                    err_clear);
    }
    PB_TRY_GOTO(status, pb_string_append(out_prompt, parts.prompt.data, parts.prompt.length),
                err_clear);
    if (parts.thought) {
        PB_TRY_GOTO(status, pb_string_puts(out_prompt, tpl->thought), err_clear);
    }
    if (out_answer != NULL && answer != NULL) {
        PB_TRY_GOTO(status, pb_string_append(out_answer, parts.answer.data, parts.answer.length),
                    err_clear);
        if (tpl->eos) {
            PB_TRY_GOTO(status, append_token(t, pb_tokenizer_eos, tpl->eos_text, out_answer),
                        err_clear);
        }
    }

err_clear:
    parts_clear(&parts);
    return status;
}
