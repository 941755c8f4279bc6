// SPDX-License-Identifier: Apache-2.0
/* Converts the files of older layouts to the form of a tokenizer.json, as the converters of
 * transformers do. */
#pragma once

#include "sentencepiece.h"
#include "source.h"

/* vocab.json and merges.txt: by tokenizer_class of the configuration, GPT2Tokenizer (also when it
 * names none) or Qwen2Tokenizer. Others are refused. */
pb_status compose_two_files(const text_source *source, json_t *vocab, json_t *merges,
                            json_t **root) PB_MUST_USE;

/* tokenizer.model: as LlamaTokenizer, with `legacy`, `add_prefix_space`, `add_bos_token` and
 * `add_eos_token` of the configuration. */
pb_status compose_sentencepiece(const text_source *source, const sentencepiece *sp,
                                json_t **root) PB_MUST_USE;

/* compose_merges.c: the merges of pieces. Appends ["left", "right"] to `out`. */
pb_status compose_merges(const sentencepiece *sp, json_t *out) PB_MUST_USE;
