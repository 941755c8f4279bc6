// SPDX-License-Identifier: Apache-2.0
/* SentencePiece's tokenizer.model: a message in the protocol-buffers format
 * (sentencepiece_model.proto of google/sentencepiece), of which the pieces and a few settings
 * matter. */
#pragma once

#include "pb/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum piece_type {
    PIECE_NORMAL       = 1,
    PIECE_UNKNOWN      = 2,
    PIECE_CONTROL      = 3,
    PIECE_USER_DEFINED = 4,
    PIECE_UNUSED       = 5,
    PIECE_BYTE         = 6,
} piece_type;

/* Bytes of the longest piece: all ways to cut one in two are tried. SentencePiece's own limit is
 * 512. */
enum { PIECE_LIMIT = 1024 };

typedef struct text_piece {
    const char *text; /* UTF-8 without U+0000, not terminated, borrowed from the file's bytes */
    size_t length;    /* bytes, 1 to PIECE_LIMIT */
    float score;      /* pairs that make a piece of higher score are merged first */
    piece_type type;
} text_piece;

typedef struct sentencepiece {
    text_piece *pieces; /* [count], by id */
    size_t count;
    size_t unknown; /* the piece of that type */
    bool byte_fallback;
    bool dummy_prefix;  /* a space is put before a text */
    bool remove_spaces; /* leading, trailing and repeated ones */
} sentencepiece;

/* Reads the bytes of a file. Models of other types than BPE, and rules of normalisation beside
 * "identity", are refused by name. */
pb_status sentencepiece_parse(const char *bytes, size_t length, sentencepiece *out) PB_MUST_USE;
void sentencepiece_clear(sentencepiece *sp);
