// SPDX-License-Identifier: Apache-2.0
/* One walk over tree-sitter's own subtrees, hidden ones included, with a stack of its own, since
 * the text decides the depth. It makes the nodes, as ts_node_child and ts_node_child_by_field_name
 * give them, and the shapes, as ts_node_string writes them: hidden nodes pass fields and children
 * on to the parent, and a hidden token that the parser put in is written too.
 *
 * tree-sitter's private headers are here because its public functions cannot tell
 *   - what an S-expression has beside the visible nodes: hidden tokens that the parser put in, the
 *     field under which a hidden node passes its children on, the character of an error. Only
 *     ts_node_string writes these, by recursion, and for all subtrees as much text as the square
 *     of the program's size;
 *   - which alias a node hands down, as the older grammar needs it (below).
 * Private structures may change with any version: cmake/pb_tree_sitter.cmake pins one by its hash,
 * and a new one means that this file is checked again, by the golden pairs and trees. */
#include "syntax_tree.h"

#include "pb/memory.h"

#include <language.h>
#include <subtree.h>
#include <tree.h>
#include <tree_sitter/api.h>

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { WORD = 96 };

const TSLanguage *tree_sitter_python(void);

/* A subtree whose children are being visited. */
typedef struct frame {
    const Subtree *tree;
    Length start, end;           /* of the subtree; of what was visited in it */
    TSSymbol alias;              /* 0: none */
    TSSymbol shown;              /* the alias of the node, see below */
    TSSymbol spread;             /* the alias of its children; 0: none */
    uint32_t child, structural;  /* next child; the same without extra ones (comments) */
    int32_t node;                /* itself, or the node that its children belong to */
    int32_t field, passed_field; /* word it is written under; what its children inherit; -1 */
    bool is_node, is_written;
    int64_t written; /* where its children begin in `written` */
} frame;

typedef struct builder {
    const TSTree *tree;
    const TSLanguage *language;
    const char *text;
    code_shapes *shapes;
    code_tree *out;
    const void **ids; /* [nodes] tree-sitter's name of each node */
    frame *stack;
    int64_t depth;
    int32_t (*written)[2]; /* fields and shapes of children of the open subtrees */
    int64_t written_count;
} builder;

static code_kind kind_of(const char *type)
{
    static const struct {
        const char *type;
        code_kind kind;
    } kinds[] = {
        {"identifier", CODE_IDENTIFIER},
        {"string", CODE_STRING},
        {"comment", CODE_COMMENT},
        {",", CODE_COMMA},
        {"block", CODE_BLOCK},
        {"default_parameter", CODE_DEFAULT_PARAMETER},
        {"assignment", CODE_ASSIGNMENT},
        {"augmented_assignment", CODE_ASSIGNMENT},
        {"for_in_clause", CODE_FOR_IN_CLAUSE},
        {"for_statement", CODE_FOR_STATEMENT},
        {"while_statement", CODE_WHILE_STATEMENT},
        {"if_statement", CODE_IF_STATEMENT},
        {"elif_clause", CODE_ELIF_CLAUSE},
        {"else_clause", CODE_ELSE_CLAUSE},
        {"else", CODE_ELSE},
    };
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (strcmp(type, kinds[i].type) == 0) {
            return kinds[i].kind;
        }
    }
    return CODE_OTHER;
}

/* How tree-sitter names an unexpected character. */
static void character_text(int32_t c, char *out, size_t size)
{
    static const char *const escapes[] = {
        ['\0'] = "\\0", ['\n'] = "\\n", ['\t'] = "\\t", ['\r'] = "\\r"};
    if (c == -1) {
        (void)snprintf(out, size, "UNEXPECTED INVALID");
    } else if (c >= 0 && c < (int32_t)(sizeof escapes / sizeof *escapes) && escapes[c] != NULL) {
        (void)snprintf(out, size, "UNEXPECTED '%s'", escapes[c]);
    } else if (c > 0 && c < 0x80 && isprint(c)) {
        (void)snprintf(out, size, "UNEXPECTED '%c'", (char)c);
    } else {
        (void)snprintf(out, size, "UNEXPECTED %" PRId32, c);
    }
}

static const char *name_of(const builder *b, Subtree tree, TSSymbol alias)
{
    const char *name =
        ts_language_symbol_name(b->language, alias != 0 ? alias : ts_subtree_symbol(tree));
    return name != NULL ? name : "";
}

/* The word after the opening parenthesis. */
static void head_of(const builder *b, const frame *f, char *out, size_t size)
{
    Subtree tree     = *f->tree;
    const char *type = name_of(b, tree, f->alias);

    if (ts_subtree_is_error(tree) && ts_subtree_child_count(tree) == 0 &&
        ts_subtree_size(tree).bytes > 0) {
        character_text(tree.ptr->lookahead_char, out, size);
    } else if (!ts_subtree_missing(tree)) {
        (void)snprintf(out, size, "%s", type);
    } else if (ts_subtree_named(tree) ||
               (f->alias != 0 && ts_language_symbol_metadata(b->language, f->alias).named)) {
        (void)snprintf(out, size, "MISSING %s", type);
    } else {
        (void)snprintf(out, size, "MISSING \"%s\"", type);
    }
}

static bool is_written(const builder *b, Subtree tree, TSSymbol alias)
{
    if (ts_subtree_missing(tree)) {
        return true;
    }
    return alias != 0 ? ts_language_symbol_metadata(b->language, alias).named
                      : ts_subtree_visible(tree) && ts_subtree_named(tree);
}

static pb_status add_node(builder *b, const frame *f, int32_t parent)
{
    code_tree *out   = b->out;
    int32_t node     = out->count;
    Length end       = length_add(f->start, ts_subtree_size(*f->tree));
    const char *type = name_of(b, *f->tree, f->shown);

    if (node == INT32_MAX) {
        return PB_FAIL(PB_ERR_MEMORY, "a syntax tree has more than %d nodes", INT32_MAX);
    }
    PB_TRY(PB_GROW(out->nodes, (size_t)node + 1));
    PB_TRY(PB_GROW(b->ids, (size_t)node + 1));
    b->ids[node]     = f->tree;
    out->nodes[node] = (code_node){
        .first      = -1,
        .last       = -1,
        .next       = -1,
        .left       = -1,
        .right      = -1,
        .shape      = -1,
        .depth      = parent < 0 ? 1 : out->nodes[parent].depth + 1,
        .start_row  = f->start.extent.row,
        .start_byte = f->start.extent.column,
        .end_row    = end.extent.row,
        .end_byte   = end.extent.column,
        .type       = type,
        .kind       = kind_of(type),
    };
    if (parent >= 0) {
        code_node *p = &out->nodes[parent];
        if (p->last >= 0) {
            out->nodes[p->last].next = node;
        } else {
            p->first = node;
        }
        p->last = node;
    }
    out->count++;
    return PB_OK;
}

/* The metric is defined with an older grammar than this one, in which
 *
 *   - "not in" and "is not" are two nodes of that type beside the operands, one for each word
 * (among errors just the words); here a node has the words as children;
 *   - a backslash that begins no escape is not a node;
 *   - a backslash and one or two digits are not an escape.
 *
 * The metric is defined by nodes as a cursor of tree-sitter shows them: what is extra (errors,
 * comments) then has the alias of the node above, in its type and in its own S-expression. */

/* The type of the words below, or 0: the node does not consist of words. */
static TSSymbol spread_of(const builder *b, Subtree tree, TSSymbol alias)
{
    TSSymbol symbol       = alias != 0 ? alias : ts_subtree_symbol(tree);
    TSSymbolMetadata meta = ts_language_symbol_metadata(b->language, symbol);

    return meta.visible && !meta.named && ts_subtree_child_count(tree) > 0 ? symbol : 0;
}

static bool is_error(Subtree tree)
{
    return ts_subtree_is_error(tree) || ts_subtree_symbol(tree) == ts_builtin_sym_error_repeat;
}

static bool drops(const builder *b, Subtree tree, uint32_t start)
{
    const char *name = ts_language_symbol_name(b->language, ts_subtree_symbol(tree));

    if (ts_subtree_child_count(tree) > 0 || name == NULL) {
        return false;
    }
    if (strcmp(name, "\\") == 0) {
        return true;
    }
    uint32_t length = ts_subtree_size(tree).bytes;
    return strcmp(name, "escape_sequence") == 0 && length > 1 && length < 4 &&
           b->text[start + 1] >= '0' && b->text[start + 1] <= '9';
}

static pb_status push(builder *b, const Subtree *tree, Length start, TSSymbol alias, int32_t field)
{
    const frame *above = b->depth > 0 ? &b->stack[b->depth - 1] : NULL;
    bool is_dropped    = above != NULL && drops(b, *tree, start.bytes);
    TSSymbol spread    = spread_of(b, *tree, alias);
    frame new          = {
                 .tree       = tree,
                 .start      = start,
                 .end        = start,
                 .alias      = alias,
                 .shown      = alias,
                 .spread     = above != NULL && is_error(*above->tree) ? 0 : spread,
                 .field      = field,
                 .is_written = !is_dropped && is_written(b, *tree, alias),
                 .written    = b->written_count,
    };
    int32_t parent = above != NULL ? above->node : -1;
    new.is_node =
        above == NULL || (spread == 0 && !is_dropped && (alias != 0 || ts_subtree_visible(*tree)));
    new.node         = new.is_node ? b->out->count : parent;
    new.passed_field = new.is_written ? -1 : field;
    if (above != NULL && (!new.is_node || ts_subtree_extra(*tree))) {
        new.shown = above->shown;
    }
    PB_TRY(PB_GROW(b->stack, b->depth + 1));
    b->stack[b->depth++] = new;
    return new.is_node ? add_node(b, &new, parent) : PB_OK;
}

/* The field of a child in its production; `inherited` unless it has one. */
static pb_status field_of(builder *b, const frame *f, int32_t inherited, int32_t *field)
{
    const TSFieldMapEntry *map = NULL, *end = NULL;

    *field = inherited;
    ts_language_field_map(b->language, ts_subtree_production_id(*f->tree), &map, &end);
    for (; map < end; map++) {
        if (!map->inherited && map->child_index == f->structural) {
            const char *name = ts_language_field_name_for_id(b->language, map->field_id);
            return code_shapes_word(b->shapes, name, field);
        }
    }
    return PB_OK;
}

static pb_status push_child(builder *b)
{
    frame *f             = &b->stack[b->depth - 1];
    const Subtree *child = &ts_subtree_children(*f->tree)[f->child];
    TSSymbol alias       = 0;
    int32_t field        = -1;

    if (f->child > 0) {
        f->end = length_add(f->end, ts_subtree_padding(*child));
    }
    Length start = f->end;
    f->end       = length_add(f->end, ts_subtree_size(*child));
    f->child++;
    if (!ts_subtree_extra(*child)) {
        PB_TRY(field_of(b, f, f->passed_field, &field));
        alias =
            ts_language_alias_at(b->language, ts_subtree_production_id(*f->tree), f->structural);
        alias = f->spread != 0 ? f->spread : alias;
        f->structural++;
    }
    return push(b, child, start, alias, field);
}

/* The child of the node that has the field. */
static int32_t child_by_field(const builder *b, const frame *f, const char *name)
{
    TSNode node  = ts_node_new(b->tree, f->tree, f->start, f->alias);
    TSNode found = ts_node_child_by_field_name(node, name, (uint32_t)strlen(name));

    if (ts_node_is_null(found)) {
        return -1;
    }
    for (int32_t i = b->out->nodes[f->node].first; i >= 0; i = b->out->nodes[i].next) {
        if (b->ids[i] == found.id) {
            return i;
        }
    }
    return -1;
}

static void find_fields(const builder *b, const frame *f)
{
    code_node *node = &b->out->nodes[f->node];

    switch (node->kind) {
    case CODE_DEFAULT_PARAMETER:
        node->left  = child_by_field(b, f, "name");
        node->right = child_by_field(b, f, "value");
        break;
    case CODE_ASSIGNMENT:
    case CODE_FOR_IN_CLAUSE:
    case CODE_FOR_STATEMENT:
        node->left  = child_by_field(b, f, "left");
        node->right = child_by_field(b, f, "right");
        break;
    default:
        break;
    }
}

/* The shape of the node by itself; `shape` is its shape within others. */
static pb_status own_shape(builder *b, const frame *f, int32_t shape)
{
    int32_t word = 0;

    if (f->shown != f->alias) {
        PB_TRY(code_shapes_word(b->shapes, name_of(b, *f->tree, f->shown), &word));
        PB_TRY(code_shapes_add(b->shapes, word, (const int32_t(*)[2])(b->written + f->written),
                               b->written_count - f->written, &shape));
    }
    b->out->nodes[f->node].shape = shape;
    return PB_OK;
}

/* All children were visited: the shape is known. */
static pb_status pop(builder *b)
{
    frame f       = b->stack[b->depth - 1];
    int32_t shape = -1;

    if (f.is_node) {
        b->out->nodes[f.node].end = b->out->count;
        find_fields(b, &f);
    }
    bool has_children = f.is_node && b->out->nodes[f.node].first >= 0;
    if (f.is_written || has_children || b->depth == 1) {
        char head[WORD];
        int32_t word = 0;
        head_of(b, &f, head, sizeof head);
        PB_TRY(code_shapes_word(b->shapes, head, &word));
        PB_TRY(code_shapes_add(b->shapes, word, (const int32_t(*)[2])(b->written + f.written),
                               b->written_count - f.written, &shape));
    }
    if (has_children || b->depth == 1) {
        PB_TRY(own_shape(b, &f, shape));
    }
    if (f.is_written) {
        b->written_count = f.written;
        PB_TRY(PB_GROW(b->written, b->written_count + 1));
        b->written[b->written_count][0]   = f.field;
        b->written[b->written_count++][1] = shape;
    }
    b->depth--;
    return PB_OK;
}

static pb_status build(builder *b)
{
    const Subtree *root = &b->tree->root;

    PB_TRY(PB_GROW(b->written, 1));
    PB_TRY(push(b, root, ts_subtree_padding(*root), 0, -1));
    while (b->depth > 0) {
        const frame *top = &b->stack[b->depth - 1];
        if (top->child < ts_subtree_child_count(*top->tree)) {
            PB_TRY(push_child(b));
        } else {
            PB_TRY(pop(b));
        }
    }
    return PB_OK;
}

static pb_status build_tree(const TSTree *tree, const char *text, code_shapes *shapes,
                            code_tree *out)
{
    builder b = {
        .tree = tree, .language = tree->language, .text = text, .shapes = shapes, .out = out};
    pb_status status = build(&b);

    pb_memory_free(b.ids);
    pb_memory_free(b.stack);
    pb_memory_free(b.written);
    if (status != PB_OK) {
        code_tree_clear(out);
    }
    return status;
}

pb_status code_tree_parse(const char *text, size_t length, code_shapes *shapes, code_tree *out)
{
    if (length > CODE_TEXT_LIMIT) {
        return PB_FAIL(PB_ERR_UNSUPPORTED,
                       "metric codebleu: a text of %zu bytes; at most %zu are parsed", length,
                       CODE_TEXT_LIMIT);
    }
    TSParser *parser = ts_parser_new();
    TSTree *tree     = NULL;
    pb_status status = PB_OK;

    *out = (code_tree){0};
    if (ts_parser_set_language(parser, tree_sitter_python())) {
        tree = ts_parser_parse_string(parser, NULL, text, (uint32_t)length);
    }
    status = tree != NULL
                 ? build_tree(tree, text, shapes, out)
                 : PB_FAIL(PB_ERR_LIBRARY, "tree-sitter did not parse a text of %zu bytes", length);
    if (tree != NULL) {
        ts_tree_delete(tree);
    }
    ts_parser_delete(parser);
    return status;
}

void code_tree_clear(code_tree *t)
{
    pb_memory_free(t->nodes);
    *t = (code_tree){0};
}

pb_status code_tree_available(void)
{
    return PB_OK;
}

const char *code_tree_library(void)
{
    return PB_TREE_SITTER_VERSION;
}
