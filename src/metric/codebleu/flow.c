// SPDX-License-Identifier: Apache-2.0
/* The walk recurses: trees beyond the depth limit are rejected beforehand. A loop is walked twice,
 * and loops in loops would be walked 2^depth times; what a loop does depends on the states of its
 * own names alone, and these settle after one or two rounds, so every inner loop remembers its
 * effect and repeats it without walking. The step limit alone would also end such a walk, but only
 * after a second per text, and without edges from 17 nested loops on: a model that repeats itself
 * writes such texts in many rows.
 *
 * The package sorts the edges of every node by index, stably; one stable sort at the end gives the
 * same order, since only edges of equal index keep the order in which they were found. */
#include "flow.h"
#include "edges.h"
#include "leaf.h"

#include "pb/memory.h"

/* What a loop did from one state of its names. */
typedef struct memory {
    int64_t first_edge, edge_count; /* in remembered */
    int32_t after;                  /* list of the names' lists */
} memory;

typedef struct flow {
    const code_tree *tree;
    code_leaves leaves;
    code_states states;
    code_edges edges;
    int64_t loops;       /* that the walk is in */
    pb_interned befores; /* lists: loop, states of its names */
    memory *memories;    /* by number in `befores` */
    code_edges remembered;
    bool gave_up; /* no edges: a node lacks what its rule reads, or too many steps */
} flow;

static pb_status walk(flow *f, int32_t node);

static const code_node *node_at(const flow *f, int32_t node)
{
    return &f->tree->nodes[node];
}

/* The leaves below a node: [first, last). */
static void leaves_of(const flow *f, int32_t node, int32_t *first, int32_t *last)
{
    *first = f->leaves.before[node];
    *last  = f->leaves.before[node_at(f, node)->end];
}

static pb_status add_edge(flow *f, const code_leaf *leaf, code_relation relation, int32_t names,
                          int32_t indices)
{
    f->states.steps++;
    return code_edges_add(&f->edges,
                          (code_edge){leaf->name, leaf->index, relation, names, indices});
}

static pb_status define(flow *f, const code_leaf *leaf)
{
    int32_t list = 0;

    PB_TRY(code_list_of(&f->states, &leaf->index, 1, &list));
    return code_states_set(&f->states, leaf->name, list);
}

static pb_status walk_leaf(flow *f, int32_t node)
{
    code_leaf leaf = f->leaves.leaves[f->leaves.before[node]];
    int32_t names = 0, known = f->states.lists[leaf.name];

    if (!leaf.is_variable) {
        return PB_OK;
    }
    if (known != CODE_UNKNOWN) {
        PB_TRY(code_list_of(&f->states, &leaf.name, 1, &names));
        return add_edge(f, &leaf, CODE_COMES_FROM, names, known);
    }
    if (node_at(f, node)->kind == CODE_IDENTIFIER) {
        PB_TRY(define(f, &leaf));
    }
    PB_TRY(code_list_of(&f->states, NULL, 0, &names));
    return add_edge(f, &leaf, CODE_COMES_FROM, names, names);
}

/* Each name on the left comes from each leaf of the value, one edge per pair. */
static pb_status default_edges(flow *f, const code_leaf *name, int32_t first, int32_t last)
{
    for (int32_t i = first; i < last && f->states.steps < CODE_STEP_LIMIT; i++) {
        const code_leaf *value = &f->leaves.leaves[i];
        int32_t names = 0, indices = 0;
        if (value->is_variable) {
            PB_TRY(code_list_of(&f->states, &value->name, 1, &names));
            PB_TRY(code_list_of(&f->states, &value->index, 1, &indices));
            PB_TRY(add_edge(f, name, CODE_COMES_FROM, names, indices));
        }
    }
    return PB_OK;
}

static pb_status walk_default(flow *f, const code_node *n)
{
    int32_t name, name_end, value = 0, value_end = 0;

    if (n->left < 0 || n->right < 0) {
        f->gave_up = true;
        return PB_OK;
    }
    PB_TRY(walk(f, n->right));
    leaves_of(f, n->left, &name, &name_end);
    leaves_of(f, n->right, &value, &value_end);
    for (; name < name_end; name++) {
        const code_leaf *leaf = &f->leaves.leaves[name];
        if (leaf->is_variable) {
            PB_TRY(default_edges(f, leaf, value, value_end));
            PB_TRY(define(f, leaf));
        }
    }
    return PB_OK;
}

/* Names and indices of the variable leaves below a node, as lists. */
static pb_status parents_of(flow *f, int32_t node, int32_t *names, int32_t *indices)
{
    int32_t first, last, *list = NULL;
    int64_t count = 0;

    leaves_of(f, node, &first, &last);
    PB_TRY(PB_ALLOC(list, 2 * ((int64_t)last - first)));
    int32_t *second = list + (last - first);
    for (int32_t i = first; i < last; i++) {
        if (f->leaves.leaves[i].is_variable) {
            list[count]     = f->leaves.leaves[i].name;
            second[count++] = f->leaves.leaves[i].index;
        }
    }
    pb_status status;
    PB_TRY_GOTO(status, code_list_of(&f->states, list, count, names), done);
    PB_TRY_GOTO(status, code_list_of(&f->states, second, count, indices), done);
done:
    pb_memory_free(list);
    return status;
}

static pb_status pair(flow *f, int32_t left, int32_t right)
{
    int32_t names = 0, indices = 0, first, last;

    PB_TRY(parents_of(f, right, &names, &indices));
    leaves_of(f, left, &first, &last);
    for (; first < last; first++) {
        const code_leaf *leaf = &f->leaves.leaves[first];
        if (leaf->is_variable) {
            PB_TRY(add_edge(f, leaf, CODE_COMPUTED_FROM, names, indices));
            PB_TRY(define(f, leaf));
        }
    }
    return PB_OK;
}

/* The two sides of an assignment: their children without commas pair up where there are as many,
 * else each side is one item. */
typedef struct sides {
    int32_t left, right; /* the current items; -1: none left */
    bool are_split;
} sides;

static int32_t past_commas(const flow *f, int32_t node)
{
    while (node >= 0 && node_at(f, node)->kind == CODE_COMMA) {
        node = node_at(f, node)->next;
    }
    return node;
}

static int64_t items_of(const flow *f, int32_t node)
{
    int64_t count = 0;

    for (int32_t i = past_commas(f, node_at(f, node)->first); i >= 0;
         i         = past_commas(f, node_at(f, i)->next)) {
        count++;
    }
    return count;
}

static sides sides_of(const flow *f, int32_t left, int32_t right, bool may_split)
{
    int64_t count = may_split ? items_of(f, left) : 0;

    if (count == 0 || count != items_of(f, right)) {
        return (sides){left, right, false};
    }
    return (sides){past_commas(f, node_at(f, left)->first),
                   past_commas(f, node_at(f, right)->first), true};
}

static sides next_sides(const flow *f, sides s)
{
    if (!s.are_split) {
        return (sides){-1, -1, false};
    }
    return (sides){past_commas(f, node_at(f, s.left)->next),
                   past_commas(f, node_at(f, s.right)->next), true};
}

/* All of the right side, then the pairs; the left side is not walked. */
static pb_status assign(flow *f, int32_t left, int32_t right, bool may_split)
{
    if (left < 0 || right < 0) {
        f->gave_up = true;
        return PB_OK;
    }
    sides all = sides_of(f, left, right, may_split);
    if (all.are_split &&
        (node_at(f, left)->kind == CODE_STRING || node_at(f, right)->kind == CODE_STRING)) {
        f->gave_up = true; /* the package looks for leaves in the string, and fails */
        return PB_OK;
    }
    for (sides s = all; s.right >= 0; s = next_sides(f, s)) {
        PB_TRY(walk(f, s.right));
    }
    for (sides s = all; s.left >= 0; s = next_sides(f, s)) {
        PB_TRY(pair(f, s.left, s.right));
    }
    return PB_OK;
}

static bool is_clause(const code_node *n)
{
    return n->kind == CODE_ELIF_CLAUSE || n->kind == CODE_ELSE_CLAUSE;
}

/* The branches of an if statement: what each does to the states of the entry. */
typedef struct branches {
    int64_t mark;
    code_outcome *outcomes; /* the first is that of the statement itself */
    int64_t count;
    bool is_taken; /* the first outcome was taken back from the running state */
    bool has_else;
} branches;

static pb_status walk_branch(flow *f, int32_t child, branches *b)
{
    const code_node *n = node_at(f, child);

    b->has_else |= n->kind == CODE_ELSE_CLAUSE || n->kind == CODE_ELSE;
    if (!is_clause(n)) {
        if (n->kind == CODE_COMMENT) {
            return PB_OK;
        }
        if (b->is_taken) {
            PB_TRY(code_states_apply(&f->states, b->outcomes[0]));
            b->is_taken = false;
        }
        return walk(f, child);
    }
    if (!b->is_taken) {
        PB_TRY(code_states_take(&f->states, b->mark, &b->outcomes[0]));
        b->is_taken = true;
    }
    PB_TRY(walk(f, child));
    PB_TRY(PB_GROW(b->outcomes, b->count + 1));
    return code_states_take(&f->states, b->mark, &b->outcomes[b->count++]);
}

static pb_status walk_branches(flow *f, const code_node *n, branches *b)
{
    PB_TRY(PB_GROW(b->outcomes, 1));
    for (int32_t i = n->first; i >= 0; i = node_at(f, i)->next) {
        PB_TRY(walk_branch(f, i, b));
    }
    if (!b->is_taken) {
        PB_TRY(code_states_take(&f->states, b->mark, &b->outcomes[0]));
    }
    return code_states_unite(&f->states, b->outcomes, b->count, !b->has_else);
}

static pb_status walk_if(flow *f, const code_node *n)
{
    int64_t outcomes = f->states.outcome_count;
    branches b       = {.mark = f->states.trail_count, .count = 1};
    pb_status status = PB_OK;

    f->states.branchings++;
    status = walk_branches(f, n, &b);
    f->states.branchings--;
    f->states.outcome_count = outcomes;
    if (f->states.branchings == 0) {
        f->states.trail_count = 0;
    }
    pb_memory_free(b.outcomes);
    return status;
}

static pb_status walk_children(flow *f, const code_node *n)
{
    for (int32_t i = n->first; i >= 0; i = node_at(f, i)->next) {
        PB_TRY(walk(f, i));
    }
    return PB_OK;
}

static pb_status walk_loop_twice(flow *f, const code_node *n)
{
    int64_t first = f->edges.count;

    f->loops++;
    for (int round = 0; round < 2 && !f->gave_up; round++) {
        if (n->kind == CODE_WHILE_STATEMENT) {
            PB_TRY(walk_children(f, n));
        } else {
            PB_TRY(assign(f, n->left, n->right, true));
            if (!f->gave_up && node_at(f, n->last)->kind == CODE_BLOCK) {
                PB_TRY(walk(f, n->last));
            }
        }
    }
    f->loops--;
    return code_edges_merge(&f->edges, first, &f->states);
}

/* The loop, and the lists of all its leaves' names as they are, as one list. */
static pb_status states_of(flow *f, int32_t loop, int32_t *list, int64_t *count)
{
    int32_t first, last;

    leaves_of(f, loop, &first, &last);
    list[0] = loop;
    for (int32_t i = first; i < last; i++) {
        list[1 + i - first] = f->states.lists[f->leaves.leaves[i].name];
    }
    *count = 1 + (int64_t)last - first;
    f->states.steps += *count;
    return PB_OK;
}

static pb_status remember(flow *f, int32_t before, int64_t first_edge, const int32_t *after,
                          int64_t count)
{
    memory *m = &f->memories[before];

    m->first_edge = f->remembered.count;
    m->edge_count = f->edges.count - first_edge;
    f->states.steps += m->edge_count;
    for (int64_t i = 0; i < m->edge_count; i++) {
        PB_TRY(code_edges_add(&f->remembered, f->edges.all[first_edge + i]));
    }
    return code_list_of(&f->states, after, count, &m->after);
}

static pb_status repeat(flow *f, int32_t loop, const memory *m)
{
    int32_t first, last;
    int64_t count = 0;

    for (int64_t i = 0; i < m->edge_count; i++) {
        PB_TRY(code_edges_add(&f->edges, f->remembered.all[m->first_edge + i]));
    }
    f->states.steps += m->edge_count;
    leaves_of(f, loop, &first, &last);
    for (int32_t i = first; i < last; i++) {
        int32_t name = f->leaves.leaves[i].name;
        int32_t list = pb_interned_list(&f->states.values, m->after, &count)[1 + i - first];
        if (f->states.lists[name] != list) {
            PB_TRY(code_states_set(&f->states, name, list));
        }
    }
    return PB_OK;
}

static pb_status walk_inner_loop(flow *f, int32_t loop, int32_t *list)
{
    int64_t count = 0, first_edge = f->edges.count;
    int32_t before = 0, known = f->befores.count;

    PB_TRY(states_of(f, loop, list, &count));
    PB_TRY(pb_interned_add_list(&f->befores, list, count, &before));
    if (before < known) {
        return repeat(f, loop, &f->memories[before]);
    }
    PB_TRY(PB_GROW(f->memories, (size_t)before + 1));
    PB_TRY(walk_loop_twice(f, node_at(f, loop)));
    if (f->gave_up) {
        return PB_OK;
    }
    PB_TRY(states_of(f, loop, list, &count));
    return remember(f, before, first_edge, list, count);
}

static pb_status walk_loop(flow *f, int32_t loop)
{
    int32_t first, last, *list = NULL;

    if (f->loops == 0) {
        return walk_loop_twice(f, node_at(f, loop));
    }
    leaves_of(f, loop, &first, &last);
    PB_TRY(PB_ALLOC(list, (int64_t)last - first + 1));
    pb_status status = walk_inner_loop(f, loop, list);
    pb_memory_free(list);
    return status;
}

static pb_status walk_other(flow *f, const code_node *n)
{
    for (int clauses = 1; clauses >= 0; clauses--) {
        for (int32_t i = n->first; i >= 0; i = node_at(f, i)->next) {
            if ((node_at(f, i)->kind == CODE_FOR_IN_CLAUSE) == (clauses == 1)) {
                PB_TRY(walk(f, i));
            }
        }
    }
    return PB_OK;
}

static pb_status walk(flow *f, int32_t node)
{
    const code_node *n = node_at(f, node);

    f->gave_up |= ++f->states.steps > CODE_STEP_LIMIT;
    if (f->gave_up) {
        return PB_OK;
    }
    if (code_is_leaf(n)) {
        return walk_leaf(f, node);
    }
    switch (n->kind) {
    case CODE_DEFAULT_PARAMETER:
        return walk_default(f, n);
    case CODE_ASSIGNMENT:
        return n->right < 0 ? PB_OK : assign(f, n->left, n->right, true);
    case CODE_FOR_IN_CLAUSE:
        return assign(f, n->left, n->last, false);
    case CODE_IF_STATEMENT:
        return walk_if(f, n);
    case CODE_FOR_STATEMENT:
    case CODE_WHILE_STATEMENT:
        return walk_loop(f, node);
    default:
        return walk_other(f, n);
    }
}

static pb_status find(flow *f, pb_interned *table, code_flow *out)
{
    PB_TRY(code_states_init(&f->states, f->leaves.names.count));
    PB_TRY(walk(f, 0));
    if (f->gave_up) {
        return PB_OK;
    }
    PB_TRY(code_edges_reduce(&f->edges, f->leaves.count, &f->states));
    for (int64_t i = 0; i < f->edges.count; i++) {
        int64_t count = 0;
        (void)pb_interned_list(&f->states.values, f->edges.all[i].names, &count);
        f->states.steps += count;
    }
    if (f->states.steps > CODE_STEP_LIMIT) {
        return PB_OK;
    }
    return code_edges_number(&f->edges, &f->states, f->leaves.names.count, table, out);
}

pb_status code_flow_find(const code_tree *tree, const char *text, size_t length, pb_interned *edges,
                         code_flow *out)
{
    flow f           = {.tree = tree};
    pb_status status = PB_OK;

    *out = (code_flow){0};
    PB_TRY(code_leaves_find(tree, text, length, &f.leaves));
    if (f.leaves.depth <= CODE_DEPTH_LIMIT) {
        status = find(&f, edges, out);
    }
    code_leaves_clear(&f.leaves);
    code_states_clear(&f.states);
    pb_interned_clear(&f.befores);
    pb_memory_free(f.edges.all);
    pb_memory_free(f.memories);
    pb_memory_free(f.remembered.all);
    if (status != PB_OK) {
        code_flow_clear(out);
    }
    return status;
}

void code_flow_clear(code_flow *f)
{
    pb_memory_free(f->edges);
    *f = (code_flow){0};
}
