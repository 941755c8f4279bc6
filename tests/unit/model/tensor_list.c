// SPDX-License-Identifier: Apache-2.0
/* See tensor_list.h. */
#include "tensor_list.h"

#include "pb/memory.h"

#include <stdio.h>
#include <string.h>

void list_open(tensor_list *list, const char *directory)
{
    memset(list, 0, sizeof *list);
    assert_int_equal(pb_safetensors_open(directory, &list->file), PB_OK);
    list->count = pb_safetensors_count(list->file);
    assert_true(list->count < TENSOR_LIST_MAX);
    for (int64_t i = 0; i < list->count; i++) {
        list->items[i] = *pb_safetensors_at(list->file, i);
        snprintf(list->names[i], TENSOR_LIST_NAME, "%s", list->items[i].name);
        list->items[i].name = list->names[i];
    }
}

pb_named_tensor *list_find(tensor_list *list, const char *name)
{
    for (int64_t i = 0; i < list->count; i++) {
        if (strcmp(list->items[i].name, name) == 0) {
            return &list->items[i];
        }
    }
    fail_msg("no tensor %s", name);
    return NULL;
}

void list_remove(tensor_list *list, const char *name)
{
    *list_find(list, name) = list->items[list->count - 1];
    list->count--;
}

void list_write(tensor_list *list, const char *directory)
{
    char path[4200];
    snprintf(path, sizeof path, "%s/model.safetensors", directory);
    assert_int_equal(pb_safetensors_write(path, list->items, list->count, "pt"), PB_OK);
    pb_safetensors_close(list->file);
    list->file = NULL;
}

void expect_open_fails(const char *directory, pb_status expected, const char *word,
                       const char *second)
{
    size_t held     = pb_memory_current();
    pb_model *model = NULL;
    fixture_expect(pb_model_open(directory, NULL, 1, &model), expected, directory, word, second,
                   NULL);
    assert_null(model);
    assert_int_equal(pb_memory_current(), held);
}
