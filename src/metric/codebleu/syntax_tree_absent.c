// SPDX-License-Identifier: Apache-2.0
/* Replaces syntax_tree.c where tree-sitter is absent. */
#include "syntax_tree.h"

pb_status code_tree_available(void)
{
    return PB_FAIL(PB_ERR_CONFIG,
                   "metric codebleu: this program was built without tree-sitter; start "
                   "jobs/fetch_treesitter.py, configure (cmake --preset release) and build again, "
                   "or leave the data sets with this metric (conala, codealpacapy, apps) out of "
                   "the sweep");
}

const char *code_tree_library(void)
{
    return "absent";
}

pb_status code_tree_parse(const char *text, size_t length, code_shapes *shapes, code_tree *out)
{
    (void)text;
    (void)length;
    (void)shapes;
    (void)out;
    return code_tree_available();
}

void code_tree_clear(code_tree *t)
{
    *t = (code_tree){0};
}
