// SPDX-License-Identifier: Apache-2.0
/* SentencePiece's tokenizer.model: a message in the protocol-buffers format
 * (sentencepiece_model.proto of google/sentencepiece), of which the pieces and a few settings
 * matter. */
#pragma once

#include "pb/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum pb_piece_type {
    PB_PIECE_NORMAL       = 1,
    PB_PIECE_UNKNOWN      = 2,
    PB_PIECE_CONTROL      = 3,
    PB_PIECE_USER_DEFINED = 4,
    PB_PIECE_UNUSED       = 5,
    PB_PIECE_BYTE         = 6,
} pb_piece_type;

/* Bytes of the longest piece: all ways to cut one in two are tried. SentencePiece's own limit is
 * 512. */
enum { PB_PIECE_LIMIT = 1024 };

typedef struct pb_piece {
    const char *text; /* UTF-8 without U+0000, not terminated, borrowed from the file's bytes */
    size_t length;    /* bytes, 1 to PB_PIECE_LIMIT */
    float score;      /* pairs that make a piece of higher score are merged first */
    pb_piece_type type;
} pb_piece;

typedef struct pb_sentencepiece {
    pb_piece *pieces; /* [count], by id */
    size_t count;
    size_t unknown; /* the piece of that type */
    bool byte_fallback;
    bool dummy_prefix;  /* a space is put before a text */
    bool remove_spaces; /* leading, trailing and repeated ones */
} pb_sentencepiece;

/* Reads the bytes of a file. Models of other types than BPE, and rules of normalisation beside
 * "identity", are refused by name. */
pb_status pb_sentencepiece_parse(const char *bytes, size_t length,
                                 pb_sentencepiece *out) PB_MUST_USE;
void pb_sentencepiece_clear(pb_sentencepiece *sp);
