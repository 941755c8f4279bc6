// SPDX-License-Identifier: Apache-2.0
/* Configuration: libconfig text → checked plain structs, through one table of fields per struct
 * (pb/config_field.h).
 *
 * Each module owns the table of its own struct; this module only reads tables. Defaults, bounds,
 * units, help and the text stored with a result all come from the table. Unknown keys, wrong types
 * and values out of bounds are errors that name file:line, the key, the nearest valid key and what
 * is allowed.
 *
 *     static const pb_config_field fields[] = {
 *         PB_FIELD_INT(pb_lora, r, 8, 1, 4096, "", "adapter width"),
 *         PB_FIELD_END,
 *     };
 */
#pragma once

#include "pb/config_field.h"
#include "pb/status.h"
#include "pb/string.h"

/* An open configuration: the text of a file and what `--set` put over it. */
typedef struct pb_config pb_config;

pb_status pb_config_open(const char *path, pb_config **out) PB_MUST_USE;
pb_status pb_config_parse(const char *text, const char *name,
                          pb_config **out) PB_MUST_USE; /* `name` appears in messages */
void pb_config_close(pb_config *config);                /* accepts NULL */
const char *pb_config_path(const pb_config *config);

/* "train.batch=8", "sweep.seeds=[1,2]": libconfig syntax on the right, a bare word is taken as
 * text. Replaces or adds. */
pb_status pb_config_set(pb_config *config, const char *assignment) PB_MUST_USE;

/* Lays `from` of `src` ("" for the top level) over `to` of `dst`, making groups that are missing:
 * groups merge key by key, everything else replaces. Every key keeps its file and line, so messages
 * and relative paths stay right. An absent `from` changes nothing. */
pb_status pb_config_merge(pb_config *dst, const char *to, const pb_config *src,
                          const char *from) PB_MUST_USE;

/* Where a key or group was written, "file:line"; the file alone when it is absent. Returns text. */
const char *pb_config_where(const pb_config *config, const char *key, char *text, size_t size);

/* Puts "file:line" of `group.key`, or of entry `index` of its list (-1: none), before the message
 * of a failure that the value of this key caused; gives `status` back. `config` NULL: changes
 * nothing. */
pb_status pb_config_at(const pb_config *config, const char *group, const char *key, int64_t index,
                       pb_status status) PB_MUST_USE;

/* True for a group, a list or a plain value. */
bool pb_config_has(const pb_config *config, const char *key);

/* True when both have one and the same group, merged from one place with nothing laid over it, or
 * none: what is read from it is the same. */
bool pb_config_shares(const pb_config *a, const pb_config *b, const char *group);

/* Fills `object` (storage of the caller, defaults first) from `group` ("" for the top level, "a.b"
 * for nested ones; an absent group gives the defaults). Keys of the group that the table does not
 * know are errors, except those in `also_allowed` (NULL-terminated, may be NULL). On failure
 * `object` holds nothing that needs freeing. */
pb_status pb_config_read(const pb_config *config, const char *group, const pb_config_field *fields,
                         const char *const *also_allowed, void *object) PB_MUST_USE;

/* The defaults alone. */
pb_status pb_config_defaults(const pb_config_field *fields, void *object) PB_MUST_USE;

/* Reads one group into an object that is already filled; members of absent keys keep their
 * values. */
pb_status pb_config_overlay(const pb_config *config, const char *group,
                            const pb_config_field *fields, const char *const *also_allowed,
                            void *object) PB_MUST_USE;

/* Keys of a group in file order ("" for the top level); each call fills *name (borrowed) or NULL at
 * the end. For lists of groups, `group` may hold an index: "sweep.override.[0]". */
pb_status pb_config_key(const pb_config *config, const char *group, int64_t index,
                        const char **name) PB_MUST_USE;
int64_t pb_config_length(const pb_config *config,
                         const char *group); /* entries of a list, array or group; 0 when absent */

/* How many groups the list "key = ( { … }, { … } );" holds, 0 when it is absent; anything but a
 * list of groups is an error. Its groups are "key.[0]", "key.[1]", … */
pb_status pb_config_groups(const pb_config *config, const char *key, int64_t *count) PB_MUST_USE;

/* How many values the list at `key` holds; anything but a list with values is an error. They are
 * "key.[0]", … */
pb_status pb_config_items(const pb_config *config, const char *key, int64_t *count) PB_MUST_USE;
/* Appends a value as part of a name: 16, 1e-04, true, linear; a list as q_proj+v_proj. Numbers read
 * back the same. A group, an empty list, and a text that is not a word are errors. */
pb_status pb_config_word(const pb_config *config, const char *key, pb_string *out) PB_MUST_USE;
/* Gives the key `to` of `dst`, "group.name", the value at `from` of `src`, which keeps its file and
 * line. */
pb_status pb_config_put(pb_config *dst, const char *to, const pb_config *src,
                        const char *from) PB_MUST_USE;

/* A copy of the object, of `size` bytes, with texts and lists of its own. */
pb_status pb_config_copy(const pb_config_field *fields, size_t size, const void *object,
                         void *copy) PB_MUST_USE;

/* Frees the texts and lists of an object; accepts a zeroed one. */
void pb_config_clear(const pb_config_field *fields, void *object);

/* Appends "key = value;" lines in table order, in libconfig syntax: numbers print so that they read
 * back the same. `kept` (a PB_KEPT_…) selects the fields that what is kept depends on; 0: all. */
pb_status pb_config_write(const pb_config_field *fields, const void *object, const char *indent,
                          unsigned kept, pb_string *out) PB_MUST_USE;

/* Appends the help: key, type, default, bounds, unit, one line. */
pb_status pb_config_help(const char *title, const pb_config_field *fields,
                         pb_string *out) PB_MUST_USE;
