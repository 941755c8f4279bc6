// SPDX-License-Identifier: Apache-2.0
/* The tensors of a checkpoint, to be changed and written again. */
#pragma once

#include "fixture.h"

enum { TENSOR_LIST_MAX = 64, TENSOR_LIST_NAME = 128 };

typedef struct tensor_list {
    pb_safetensors *file;
    pb_named_tensor items[TENSOR_LIST_MAX];
    char names[TENSOR_LIST_MAX][TENSOR_LIST_NAME];
    int64_t count;
} tensor_list;

void list_open(tensor_list *list, const char *directory);
pb_named_tensor *list_find(tensor_list *list, const char *name);
void list_remove(tensor_list *list, const char *name);
/* Also closes it. */
void list_write(tensor_list *list, const char *directory);

/* The model of this folder is refused with both words in the message, and holds no memory. */
void expect_open_fails(const char *directory, pb_status expected, const char *word,
                       const char *second);
