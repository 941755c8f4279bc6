// SPDX-License-Identifier: Apache-2.0
#include "states.h"

#include "pb/memory.h"

pb_status code_states_init(code_states *s, int32_t names)
{
    pb_status status;

    *s = (code_states){0};
    PB_TRY_GOTO(status, PB_ALLOC(s->lists, names), failed);
    PB_TRY_GOTO(status, PB_ALLOC(s->stamp, names), failed);
    PB_TRY_GOTO(status, PB_ALLOC(s->seen, names), failed);
    PB_TRY_GOTO(status, PB_ALLOC(s->united, names), failed);
    for (int32_t i = 0; i < names; i++) {
        s->lists[i] = CODE_UNKNOWN;
    }
    return PB_OK;

failed:
    code_states_clear(s);
    return status;
}

void code_states_clear(code_states *s)
{
    pb_memory_free(s->lists);
    pb_interned_clear(&s->values);
    pb_memory_free(s->trail);
    pb_memory_free(s->outcomes);
    pb_memory_free(s->stamp);
    pb_memory_free(s->seen);
    pb_memory_free(s->united);
    pb_memory_free(s->scratch);
    *s = (code_states){0};
}

pb_status code_states_set(code_states *s, int32_t name, int32_t list)
{
    if (s->branchings > 0) {
        PB_TRY(PB_GROW(s->trail, s->trail_count + 1));
        s->trail[s->trail_count++] = (code_change){name, s->lists[name]};
    }
    s->lists[name] = list;
    s->steps++;
    return PB_OK;
}

pb_status code_states_take(code_states *s, int64_t mark, code_outcome *out)
{
    int32_t now = ++s->now;

    *out = (code_outcome){.first = s->outcome_count};
    for (int64_t i = mark; i < s->trail_count; i++) {
        int32_t name = s->trail[i].name;
        if (s->stamp[name] != now) {
            s->stamp[name] = now;
            PB_TRY(PB_GROW(s->outcomes, s->outcome_count + 1));
            s->outcomes[s->outcome_count++] = (code_change){name, s->lists[name]};
        }
    }
    s->steps += s->trail_count - mark;
    while (s->trail_count > mark) {
        s->trail_count--;
        s->lists[s->trail[s->trail_count].name] = s->trail[s->trail_count].list;
    }
    out->count = s->outcome_count - out->first;
    return PB_OK;
}

pb_status code_states_apply(code_states *s, code_outcome outcome)
{
    for (int64_t i = 0; i < outcome.count; i++) {
        code_change change = s->outcomes[outcome.first + i];
        PB_TRY(code_states_set(s, change.name, change.list));
    }
    return PB_OK;
}

/* Unites into united[name] what an outcome has, and counts in seen[name] how many have the name. */
static pb_status gather(code_states *s, code_outcome outcome, int32_t now)
{
    for (int64_t i = 0; i < outcome.count; i++) {
        code_change change = s->outcomes[outcome.first + i];
        if (s->stamp[change.name] != now) {
            s->stamp[change.name]  = now;
            s->seen[change.name]   = 0;
            s->united[change.name] = CODE_UNKNOWN;
        }
        s->seen[change.name]++;
        PB_TRY(code_list_sorted(s, s->united[change.name], change.list, &s->united[change.name]));
    }
    return PB_OK;
}

pb_status code_states_unite(code_states *s, const code_outcome *outcomes, int64_t count, bool stays)
{
    int32_t now = ++s->now;

    for (int64_t k = 0; k < count; k++) {
        PB_TRY(gather(s, outcomes[k], now));
    }
    for (int64_t k = 0; k < count; k++) {
        for (int64_t i = 0; i < outcomes[k].count; i++) {
            int32_t name = s->outcomes[outcomes[k].first + i].name;
            if (s->stamp[name] == now) {
                int32_t list   = s->united[name];
                s->stamp[name] = 0;
                if (stays || s->seen[name] < count) {
                    PB_TRY(code_list_sorted(s, list, s->lists[name], &list));
                }
                PB_TRY(code_states_set(s, name, list));
            }
        }
    }
    return PB_OK;
}

pb_status code_list_of(code_states *s, const int32_t *items, int64_t count, int32_t *list)
{
    s->steps += count;
    return pb_interned_add_list(&s->values, items, count, list);
}

/* Room for the items of two lists, which the caller then reads: the table may not move. */
static pb_status open_lists(code_states *s, int32_t a, int32_t b, const int32_t *items[2],
                            int64_t counts[2])
{
    int32_t lists[2] = {a, b};

    for (int k = 0; k < 2; k++) {
        items[k]  = NULL;
        counts[k] = 0;
        if (lists[k] != CODE_UNKNOWN) {
            items[k] = pb_interned_list(&s->values, lists[k], &counts[k]);
        }
    }
    s->steps += counts[0] + counts[1];
    return PB_GROW(s->scratch, counts[0] + counts[1] + 1);
}

pb_status code_list_sorted(code_states *s, int32_t a, int32_t b, int32_t *list)
{
    const int32_t *items[2];
    int64_t counts[2], i = 0, k = 0, used = 0;

    if (a == CODE_UNKNOWN || a == b) {
        *list = b;
        return PB_OK;
    }
    *list = a;
    if (b == CODE_UNKNOWN || s->steps > CODE_STEP_LIMIT) {
        return PB_OK;
    }
    PB_TRY(open_lists(s, a, b, items, counts));
    while (i < counts[0] || k < counts[1]) {
        bool first   = k == counts[1] || (i < counts[0] && items[0][i] <= items[1][k]);
        int32_t item = first ? items[0][i++] : items[1][k++];
        if (used == 0 || s->scratch[used - 1] != item) {
            s->scratch[used++] = item;
        }
    }
    return code_list_of(s, s->scratch, used, list);
}

pb_status code_list_joined(code_states *s, int32_t a, int32_t b, int32_t *list)
{
    const int32_t *items[2];
    int64_t counts[2], used = 0;
    int32_t now = ++s->now;

    *list = a;
    if (s->steps > CODE_STEP_LIMIT) {
        return PB_OK;
    }
    PB_TRY(open_lists(s, a, b, items, counts));
    for (int k = 0; k < 2; k++) {
        for (int64_t i = 0; i < counts[k]; i++) {
            if (s->stamp[items[k][i]] != now) {
                s->stamp[items[k][i]] = now;
                s->scratch[used++]    = items[k][i];
            }
        }
    }
    return code_list_of(s, s->scratch, used, list);
}
