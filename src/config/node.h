// SPDX-License-Identifier: Apache-2.0
/* The tree that a configuration becomes: own nodes instead of libconfig's, so that every key keeps
 * its file and line for life, even after several files are merged.
 *
 * A merge shares nodes: many configurations made of the same files hold each value once. A group
 * that is shared is copied before it changes. */
#pragma once

#include "pb/config.h"

typedef enum pb_node_kind {
    PB_NODE_GROUP,
    PB_NODE_LIST, /* libconfig's lists and arrays */
    PB_NODE_INT,
    PB_NODE_FLOAT,
    PB_NODE_BOOL,
    PB_NODE_TEXT,
} pb_node_kind;

/* What a key came from: a file, or a `--set`. */
typedef struct pb_origin {
    int64_t users;   /* nodes and configurations; the last one frees it */
    char *label;     /* appears in messages */
    char *directory; /* relative paths start here */
} pb_origin;

typedef struct pb_node {
    int64_t users; /* parents; the last one frees it */
    char *name;    /* NULL for the root and for elements of a list */
    pb_node_kind kind;
    int64_t integer; /* int, bool */
    double number;   /* float */
    char *text;      /* text */
    struct pb_node **children;
    int64_t count;
    pb_origin *origin;
    int line; /* 0 when there is none */
} pb_node;

struct pb_config {
    pb_node *root;
    pb_origin **origins; /* [0] is the file that was opened */
    int64_t origin_count;
};

/* A text prepared for libconfig: includes are expanded, integers are 64-bit, comments are removed,
 * and each quoted text is replaced by a hexadecimal number, its index in `texts`; no input may
 * contain such a number. lines[k] gives the origin of line k + 1. */
typedef struct pb_config_source_line {
    pb_origin *origin;
    int line;
} pb_config_source_line;

typedef struct text_source {
    pb_string text;
    pb_string texts; /* each ends in NUL */
    pb_config_source_line *lines;
    int64_t count;
    bool comments; /* at least one was dropped */
} text_source;

#define PLACE_SIZE 512 /* room for "file:line" */

/* origin.c: the origin with that label and directory, made once per configuration. */
pb_status pb_config_origin(pb_config *config, const char *label, const char *directory,
                           pb_origin **out) PB_MUST_USE;
void pb_config_origins_clear(pb_config *config);
void pb_origin_release(pb_origin *origin); /* accepts NULL */
/* "file:line", or the file alone for line 0; returns text. */
const char *pb_place_text(const pb_origin *origin, int line, char text[PLACE_SIZE]);

/* node.c */
pb_status pb_node_create(const char *name, pb_node_kind kind, pb_origin *origin, int line,
                         pb_node **out) PB_MUST_USE;
void pb_node_destroy(pb_node *node);                                   /* accepts NULL */
pb_status pb_node_append(pb_node *parent, pb_node *child) PB_MUST_USE; /* takes child on success */
/* Shares the child with its other users: a group is merged into the parent's group of its name,
 * anything else takes the place of what has its name. */
pb_status pb_node_put(pb_node *parent, pb_node *child) PB_MUST_USE;
/* The parent's group of this name, to be changed: made when it is missing, with the place of
 * `like`. */
pb_status pb_node_group(pb_node *parent, const char *name, size_t length, const pb_node *like,
                        pb_node **out) PB_MUST_USE;
pb_node *pb_node_child(const pb_node *group, const char *name, size_t length);
/* The node at a path like "a.b.[0].c"; NULL when there is none. */
pb_node *pb_node_find(const pb_node *root, const char *path);
const char *pb_node_where(const pb_node *node, char text[PLACE_SIZE]);

/* config.c */
pb_status pb_config_create(const char *label, const char *directory, pb_config **out) PB_MUST_USE;

/* scan.c */
pb_status pb_config_source_scan(pb_config *config, pb_origin *origin, const char *text, size_t size,
                                bool includes, text_source *out) PB_MUST_USE;
void pb_config_source_clear(text_source *source);

/* parse.c: children of the text's top level become children of `root`. */
pb_status pb_config_source_parse(const text_source *source, pb_node *root) PB_MUST_USE;

/* value.c: one value as its field requires it. */
typedef union pb_value {
    pb_config_list list; /* first, and as large as any: so {0} clears every byte */
    pb_config_ints ints;
    int64_t integer;
    double number;
    bool flag;
    int choice;
    char *text;
} pb_value;

pb_status pb_value_read(const pb_node *node, const pb_config_field *field,
                        pb_value *out) PB_MUST_USE;
pb_status pb_value_default(const pb_config_field *field, pb_value *out) PB_MUST_USE;
/* A value of its own from a field's place in an object. */
pb_status pb_value_copy(const pb_config_field *field, const void *object,
                        pb_value *out) PB_MUST_USE;
size_t pb_value_size(pb_config_type type); /* bytes of a struct's member */
void pb_value_clear(pb_config_type type, pb_value *value);
/* Moves the value into its place in the object, freeing what was there. */
void pb_value_store_take(const pb_config_field *field, pb_value *value, void *object);
/* "an integer 1 … 4096", "one of f32, bf16": what a field accepts. */
pb_status pb_field_describe(const pb_config_field *field, pb_string *out) PB_MUST_USE;
