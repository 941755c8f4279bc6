// SPDX-License-Identifier: Apache-2.0
/* Templates as ids: each piece is tokenised on its own; in the corrected form the special tokens
 * spelled in the texts of a row are plain text. And the truncation rules. */
#include "internal.h"
#include "template_parts.h"

#include "pb/utf8.h"

#include <inttypes.h>
#include <string.h>

void pb_rendered_clear(pb_rendered *r)
{
    pb_ids_clear(&r->ids);
    *r = (pb_rendered){0};
}

/* Every marker must be one token: spelled out in letters it would be meaningless to the model. */
static pb_status check_markers(const pb_template *tpl, const pb_tokenizer *t, bool with_answer)
{
    int32_t id = -1;

    for (size_t i = 0; tpl->markers[i] != NULL; i++) {
        if (!pb_tokenizer_id(t, tpl->markers[i], &id)) {
            return PB_FAIL(PB_ERR_CONFIG,
                           "template %s: the tokenizer has no token \"%s\"; choose the template of "
                           "this model, or none",
                           tpl->name, tpl->markers[i]);
        }
    }
    if (tpl->bos && !tpl->bos_optional && pb_tokenizer_bos(t) < 0) {
        return PB_FAIL(PB_ERR_CONFIG,
                       "template %s: tokenizer_config.json does not name a bos_token; add it",
                       tpl->name);
    }
    if (tpl->eos && with_answer && pb_tokenizer_eos(t) < 0) {
        return PB_FAIL(PB_ERR_CONFIG,
                       "template %s: tokenizer_config.json does not name an eos_token; add it",
                       tpl->name);
    }
    return PB_OK;
}

/* The ids that the piece shares with head alone at the front, and with tail alone at the end: the
 * user's text is between them. */
static pb_status find_user(const pb_template *tpl, const pb_tokenizer *t, const pb_ids *ids,
                           int64_t piece, int64_t *begin, int64_t *end)
{
    pb_ids border    = {0};
    pb_status status = PB_OK;
    int64_t front    = piece;
    int64_t back     = ids->count;

    PB_TRY_GOTO(status, pb_tokenizer_encode(t, tpl->head, strlen(tpl->head), false, &border),
                err_clear);
    for (int64_t i = 0; i < border.count && front < ids->count; i++, front++) {
        if (ids->items[front] != border.items[i]) {
            break;
        }
    }
    border.count = 0;
    PB_TRY_GOTO(status, pb_tokenizer_encode(t, tpl->tail, strlen(tpl->tail), false, &border),
                err_clear);
    for (int64_t i = border.count - 1; i >= 0 && back > front; i--, back--) {
        if (ids->items[back - 1] != border.items[i]) {
            break;
        }
    }
    *begin = front;
    *end   = back;

err_clear:
    pb_ids_clear(&border);
    return status;
}

static pb_status render_answer(const pb_template *tpl, const pb_tokenizer *t,
                               const text_parts *parts, bool corrected, pb_ids *ids)
{
    size_t size      = parts->answer.length - strlen(tpl->answer_tail);
    text_plain plain = {0, corrected ? size : 0};

    PB_TRY(tokenizer_encode_mixed(t, parts->answer.data, parts->answer.length, plain, false, ids));
    return tpl->eos ? pb_ids_append(ids, pb_tokenizer_eos(t)) : PB_OK;
}

static pb_status render_parts(const pb_template *tpl, const pb_tokenizer *t,
                              const text_parts *parts, bool with_answer, bool corrected,
                              pb_rendered *r)
{
    size_t user_end  = parts->user_begin + parts->user_size;
    text_plain plain = {parts->user_begin, corrected ? user_end : parts->user_begin};

    if (tpl->bos && pb_tokenizer_bos(t) >= 0) {
        PB_TRY(pb_ids_append(&r->ids, pb_tokenizer_bos(t)));
    }
    int64_t piece = r->ids.count;
    PB_TRY(
        tokenizer_encode_mixed(t, parts->prompt.data, parts->prompt.length, plain, false, &r->ids));
    PB_TRY(find_user(tpl, t, &r->ids, piece, &r->user_begin, &r->user_end));
    if (parts->thought) {
        PB_TRY(pb_tokenizer_encode(t, tpl->thought, strlen(tpl->thought), false, &r->ids));
    }
    r->prompt_length = r->ids.count;
    return with_answer ? render_answer(tpl, t, parts, corrected, &r->ids) : PB_OK;
}

/* `user_size` bytes of the user's text. */
static pb_status render(const pb_template *tpl, const pb_tokenizer *t, const char *user,
                        size_t user_size, const char *answer, bool corrected, pb_rendered *out)
{
    text_parts parts = {0};
    pb_rendered r    = {0};
    pb_status status = PB_OK;

    PB_TRY(check_markers(tpl, t, answer != NULL));
    PB_TRY(parts_fill(tpl, user, user_size, answer, corrected, &parts));
    status = render_parts(tpl, t, &parts, answer != NULL, corrected, &r);
    parts_clear(&parts);
    if (status != PB_OK) {
        pb_rendered_clear(&r);
        return PB_FRAME(status);
    }
    *out = r;
    return PB_OK;
}

pb_status pb_template_render(const pb_template *tpl, const pb_tokenizer *t, const char *user,
                             const char *answer, bool corrected, pb_rendered *out)
{
    return render(tpl, t, user, strlen(user), answer, corrected, out);
}

/* The longest fitting part of the user's text, by bisection: each attempt is rendered, so the kept
 * text is tokenised as if nothing had followed it. `fitting` holds the best so far. */
static pb_status bisect(const pb_template *tpl, const pb_tokenizer *t, const char *user,
                        const char *answer, int64_t cutoff, pb_rendered *fitting, size_t *kept)
{
    size_t low  = 0;
    size_t high = strlen(user);

    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        size_t size   = pb_utf8_floor(user, middle);
        pb_rendered r = {0};
        if (size <= low) {
            low = middle; /* inside a character that begins at or before `low` */
            continue;
        }
        PB_TRY(render(tpl, t, user, size, answer, true, &r));
        if (r.ids.count > cutoff) {
            pb_rendered_clear(&r);
            high = size;
        } else {
            pb_rendered_clear(fitting);
            *fitting = r;
            *kept    = size;
            low      = middle;
        }
    }
    return PB_OK;
}

pb_status pb_template_render_within(const pb_template *tpl, const pb_tokenizer *t, const char *user,
                                    const char *answer, int64_t cutoff, pb_rendered *out,
                                    size_t *dropped, bool *fits)
{
    pb_rendered r    = {0};
    size_t kept      = 0;
    pb_status status = PB_OK;

    PB_TRY(render(tpl, t, user, strlen(user), answer, true, &r));
    if (r.ids.count <= cutoff) {
        kept = strlen(user);
    } else {
        pb_rendered_clear(&r);
        PB_TRY(render(tpl, t, user, 0, answer, true, &r));
        if (r.ids.count <= cutoff) {
            PB_TRY_GOTO(status, bisect(tpl, t, user, answer, cutoff, &r, &kept), err_clear);
        }
    }
    *fits    = r.ids.count <= cutoff;
    *dropped = strlen(user) - kept;
    *out     = r;
    return PB_OK;

err_clear:
    pb_rendered_clear(&r);
    return status;
}

/* The quotient is taken in double precision, as the original does. */
void pb_template_truncate_paper(int64_t prompt, int64_t answer, int64_t cutoff,
                                int64_t *kept_prompt, int64_t *kept_answer)
{
    int64_t limit = cutoff;

    if (2 * answer >= cutoff && prompt + answer > 0) {
        if (2 * prompt < cutoff) {
            limit = cutoff - prompt;
        } else {
            limit = (int64_t)((double)cutoff * ((double)answer / (double)(prompt + answer)));
        }
    }
    *kept_answer = limit < answer ? limit : answer;
    int64_t room = cutoff - *kept_answer;
    room         = room > 0 ? room : 0;
    *kept_prompt = room < prompt ? room : prompt;
}

void pb_rendered_truncate_paper(pb_rendered *r, int64_t cutoff)
{
    int64_t answer      = r->ids.count - r->prompt_length;
    int64_t kept_prompt = 0;
    int64_t kept_answer = 0;

    pb_template_truncate_paper(r->prompt_length, answer, cutoff, &kept_prompt, &kept_answer);
    if (kept_answer > 0) {
        memmove(r->ids.items + kept_prompt, r->ids.items + r->prompt_length,
                (size_t)kept_answer * sizeof *r->ids.items);
    }
    r->ids.count     = kept_prompt + kept_answer;
    r->prompt_length = kept_prompt;
    r->user_begin    = r->user_begin < kept_prompt ? r->user_begin : kept_prompt;
    r->user_end      = r->user_end < kept_prompt ? r->user_end : kept_prompt;
}

/* Appends an id unless it is already there. */
static pb_status append_once(pb_ids *ids, int64_t first, int32_t id)
{
    for (int64_t i = first; i < ids->count; i++) {
        if (ids->items[i] == id) {
            return PB_OK;
        }
    }
    return pb_ids_append(ids, id);
}

pb_status pb_template_stop_ids(const pb_template *tpl, const pb_tokenizer *t, pb_ids *out)
{
    const pb_ids *additional = pb_tokenizer_additional(t);
    int64_t first            = out->count;
    int32_t id               = -1;

    for (size_t i = 0; tpl->stops[i] != NULL; i++) {
        if (pb_tokenizer_id(t, tpl->stops[i], &id)) {
            PB_TRY(append_once(out, first, id));
        }
    }
    if (tpl->stop_eos && pb_tokenizer_eos(t) >= 0) {
        PB_TRY(append_once(out, first, pb_tokenizer_eos(t)));
    }
    for (int64_t i = 0; tpl->stop_additional && i < additional->count; i++) {
        PB_TRY(append_once(out, first, additional->items[i]));
    }
    if (out->count == first) {
        return PB_FAIL(PB_ERR_CONFIG,
                       "template %s: the tokenizer has no token that ends an answer (%s); choose "
                       "the template of this model",
                       tpl->name, tpl->stops[0] == NULL ? "eos_token" : tpl->stops[0]);
    }
    return PB_OK;
}
