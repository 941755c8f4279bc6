// SPDX-License-Identifier: Apache-2.0
/* Shared by the tests of tokenizers: a folder, and tokenizers made of a few lines of JSON. */
#pragma once

#include "../../support/support.h"

#include "pb/tokenizer.h"

/* A fresh folder for this process; the same at every call. */
const char *fixture_folder(void);
void fixture_write(const char *name, const void *bytes, size_t size);
void fixture_delete(const char *name);
/* Tear-down of a group of tests: removes the folder; all accounted memory has been returned. */
int fixture_remove(void **state);

/* A tokenizer from the text of a tokenizer.json. */
pb_tokenizer *fixture_open(const char *json);

/* A tokenizer with the given stages ("\"normalizer\": {…}", or "") whose vocabulary is the expected
 * pieces ("one|two"), each a separate token; added: the content of "added_tokens". Fails unless the
 * text gives exactly these pieces. */
void fixture_check_pieces(const char *stages, const char *added, const char *text,
                          const char *expected);

/* Fails unless the ids of the text are, for example, "1 2 3". */
void fixture_check_ids(const pb_tokenizer *t, const char *text, bool special, const char *expected);
