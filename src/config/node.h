// SPDX-License-Identifier: Apache-2.0
/* The tree that a configuration becomes: own nodes instead of libconfig's, so that every key keeps
 * its file and line for life, even after several files are merged.
 *
 * A merge shares nodes: many configurations made of the same files hold each value once. A group
 * that is shared is copied before it changes. */
#pragma once

#include "pb/config.h"

typedef enum node_kind {
    NODE_GROUP,
    NODE_LIST, /* libconfig's lists and arrays */
    NODE_INT,
    NODE_FLOAT,
    NODE_BOOL,
    NODE_TEXT,
} node_kind;

/* What a key came from: a file, or a `--set`. */
typedef struct node_origin {
    int64_t users;   /* nodes and configurations; the last one frees it */
    char *label;     /* appears in messages */
    char *directory; /* relative paths start here */
} node_origin;

typedef struct config_node {
    int64_t users; /* parents; the last one frees it */
    char *name;    /* NULL for the root and for elements of a list */
    node_kind kind;
    int64_t integer; /* int, bool */
    double number;   /* float */
    char *text;      /* text */
    struct config_node **children;
    int64_t count;
    node_origin *origin;
    int line; /* 0 when there is none */
} config_node;

struct pb_config {
    config_node *root;
    node_origin **origins; /* [0] is the file that was opened */
    int64_t origin_count;
};

/* A text prepared for libconfig: includes are expanded, integers are 64-bit, comments are removed,
 * and each quoted text is replaced by a hexadecimal number, its index in `texts`; no input may
 * contain such a number. lines[k] gives the origin of line k + 1. */
typedef struct config_source_line {
    node_origin *origin;
    int line;
} config_source_line;

typedef struct text_source {
    pb_string text;
    pb_string texts; /* each ends in NUL */
    config_source_line *lines;
    int64_t count;
    bool comments; /* at least one was dropped */
} text_source;

#define PLACE_SIZE 512 /* room for "file:line" */

/* origin.c: the origin with that label and directory, made once per configuration. */
pb_status config_origin(pb_config *config, const char *label, const char *directory,
                        node_origin **out) PB_MUST_USE;
void config_origins_clear(pb_config *config);
void origin_release(node_origin *origin); /* accepts NULL */
/* "file:line", or the file alone for line 0; returns text. */
const char *place_text(const node_origin *origin, int line, char text[PLACE_SIZE]);

/* node.c */
pb_status node_create(const char *name, node_kind kind, node_origin *origin, int line,
                      config_node **out) PB_MUST_USE;
void node_destroy(config_node *node); /* accepts NULL */
pb_status node_append(config_node *parent,
                      config_node *child) PB_MUST_USE; /* takes child on success */
/* Shares the child with its other users: a group is merged into the parent's group of its name,
 * anything else takes the place of what has its name. */
pb_status node_put(config_node *parent, config_node *child) PB_MUST_USE;
/* The parent's group of this name, to be changed: made when it is missing, with the place of
 * `like`. */
pb_status node_group(config_node *parent, const char *name, size_t length, const config_node *like,
                     config_node **out) PB_MUST_USE;
config_node *node_child(const config_node *group, const char *name, size_t length);
/* The node at a path like "a.b.[0].c"; NULL when there is none. */
config_node *node_find(const config_node *root, const char *path);
/* The same; anything but a group is an error. */
pb_status node_find_group(const config_node *root, const char *path, config_node **out) PB_MUST_USE;
const char *node_where(const config_node *node, char text[PLACE_SIZE]);
/* "the integer 3", "the string "x"", "a group". */
void node_describe(const config_node *node, char *text, size_t size);

/* config.c */
pb_status config_create(const char *label, const char *directory, pb_config **out) PB_MUST_USE;

/* scan.c */
pb_status config_source_scan(pb_config *config, node_origin *origin, const char *text, size_t size,
                             bool includes, text_source *out) PB_MUST_USE;
void config_source_clear(text_source *source);

/* parse.c: children of the text's top level become children of `root`. */
pb_status config_source_parse(const text_source *source, config_node *root) PB_MUST_USE;

/* value.c: one value as its field requires it. */
typedef union config_value {
    pb_config_list list; /* first, and as large as any: so {0} clears every byte */
    pb_config_ints ints;
    int64_t integer;
    double number;
    bool flag;
    int choice;
    char *text;
} config_value;

pb_status value_read(const config_node *node, const pb_config_field *field,
                     config_value *out) PB_MUST_USE;
pb_status value_default(const pb_config_field *field, config_value *out) PB_MUST_USE;
/* A value of its own from a field's place in an object. */
pb_status value_copy(const pb_config_field *field, const void *object,
                     config_value *out) PB_MUST_USE;
size_t value_size(pb_config_type type); /* bytes of a struct's member */
void value_clear(pb_config_type type, config_value *value);
/* Moves the value into its place in the object, freeing what was there. */
void value_store_take(const pb_config_field *field, config_value *value, void *object);
/* "an integer 1 … 4096", "one of f32, bf16": what a field accepts. */
pb_status field_describe(const pb_config_field *field, pb_string *out) PB_MUST_USE;
