// SPDX-License-Identifier: Apache-2.0
#include "edges.h"

#include "pb/memory.h"

pb_status code_edges_add(code_edges *e, code_edge edge)
{
    PB_TRY(PB_GROW(e->all, e->count + 1));
    e->all[e->count++] = edge;
    return PB_OK;
}

pb_status code_edges_merge(code_edges *e, int64_t first, code_states *s)
{
    pb_interned keys = {0};
    pb_status status = PB_OK;
    int64_t kept     = first;

    for (int64_t i = first; i < e->count; i++) {
        code_edge edge = e->all[i];
        int32_t key[]  = {edge.name, edge.index, (int32_t)edge.relation};
        int32_t number = 0;
        PB_TRY_GOTO(status, pb_interned_add_list(&keys, key, 3, &number), done);
        code_edge *target = &e->all[first + number];
        if (first + number == kept) {
            *target = edge;
            kept++;
            continue;
        }
        PB_TRY_GOTO(status, code_list_joined(s, target->names, edge.names, &target->names), done);
        PB_TRY_GOTO(status, code_list_sorted(s, target->indices, edge.indices, &target->indices),
                    done);
    }
    e->count = kept;
done:
    pb_interned_clear(&keys);
    return status;
}

/* By counting: indices are small. */
static pb_status sort(code_edges *e, int32_t indices)
{
    int64_t *places   = NULL;
    code_edge *sorted = NULL;
    pb_status status;

    PB_TRY_GOTO(status, PB_ALLOC(places, (size_t)indices + 1), done);
    PB_TRY_GOTO(status, PB_ALLOC(sorted, e->count), done);
    for (int64_t i = 0; i < e->count; i++) {
        places[e->all[i].index + 1]++;
    }
    for (int32_t i = 0; i < indices; i++) {
        places[i + 1] += places[i];
    }
    for (int64_t i = 0; i < e->count; i++) {
        sorted[places[e->all[i].index]++] = e->all[i];
    }
    pb_memory_free(e->all);
    e->all = sorted;
    sorted = NULL;
done:
    pb_memory_free(places);
    pb_memory_free(sorted);
    return status;
}

/* Indices that have parents or are parents. */
static void mark(const code_edges *e, const code_states *s, bool *connected, bool *visited)
{
    for (int64_t i = 0; i < e->count; i++) {
        int64_t count         = 0;
        int32_t list          = e->all[i].indices;
        const int32_t *parent = pb_interned_list(&s->values, list, &count);
        if (count > 0) {
            connected[e->all[i].index] = true;
        }
        for (int64_t k = 0; k < count && !visited[list]; k++) {
            connected[parent[k]] = true;
        }
        visited[list] = true;
    }
}

static pb_status keep_connected(code_edges *e, const bool *connected, code_states *s)
{
    int64_t kept = 0;

    for (int64_t i = 0; i < e->count; i++) {
        code_edge edge = e->all[i];
        if (!connected[edge.index]) {
            continue;
        }
        if (kept > 0 && e->all[kept - 1].index == edge.index) {
            kept--;
            PB_TRY(code_list_joined(s, e->all[kept].names, edge.names, &edge.names));
        }
        e->all[kept++] = edge;
    }
    e->count = kept;
    return PB_OK;
}

pb_status code_edges_reduce(code_edges *e, int32_t indices, code_states *s)
{
    bool *connected = NULL, *visited = NULL;
    pb_status status;

    PB_TRY(sort(e, indices));
    PB_TRY_GOTO(status, PB_ALLOC(connected, indices), done);
    PB_TRY_GOTO(status, PB_ALLOC(visited, s->values.count), done);
    mark(e, s, connected, visited);
    PB_TRY_GOTO(status, keep_connected(e, connected, s), done);
done:
    pb_memory_free(connected);
    pb_memory_free(visited);
    return status;
}

/* The number of a name, given on first sight; 0 in `numbers` is none. */
static int32_t number_of(int32_t name, int32_t *numbers, int32_t *used)
{
    if (numbers[name] == 0) {
        numbers[name] = ++*used;
    }
    return numbers[name] - 1;
}

static pb_status number_all(const code_edges *e, const code_states *s, int32_t *numbers,
                            int32_t **list, pb_interned *table, code_flow *out)
{
    int32_t used = 0;

    PB_TRY(PB_ALLOC(out->edges, e->count));
    for (int64_t i = 0; i < e->count; i++) {
        const code_edge *edge = &e->all[i];
        int64_t count         = 0;
        const int32_t *names  = pb_interned_list(&s->values, edge->names, &count);
        PB_TRY(PB_GROW(*list, count + 2));
        for (int64_t k = 0; k < count; k++) {
            (*list)[2 + k] = number_of(names[k], numbers, &used);
        }
        (*list)[0] = number_of(edge->name, numbers, &used);
        (*list)[1] = (int32_t)edge->relation;
        PB_TRY(pb_interned_add_list(table, *list, count + 2, &out->edges[i]));
    }
    out->count = e->count;
    return PB_OK;
}

pb_status code_edges_number(const code_edges *e, const code_states *s, int32_t names,
                            pb_interned *table, code_flow *out)
{
    int32_t *numbers = NULL, *list = NULL;
    pb_status status;

    PB_TRY(PB_ALLOC(numbers, names));
    status = number_all(e, s, numbers, &list, table, out);
    pb_memory_free(numbers);
    pb_memory_free(list);
    return status;
}
