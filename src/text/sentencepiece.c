// SPDX-License-Identifier: Apache-2.0
/* A field is a number that encodes the field's number and type, followed by a number, by four or
 * eight bytes, or by a length and that many bytes. Unknown fields are skipped; of a repeated one
 * the last counts. */
#include "sentencepiece.h"

#include "pb/memory.h"
#include "pb/string.h"
#include "pb/utf8.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

/* The rest of a message; `offset`, its start in the file, is for error messages. */
typedef struct reader {
    const uint8_t *begin, *at, *end;
} reader;

/* How a field's value is written. */
enum { WIRE_NUMBER = 0, WIRE_EIGHT = 1, WIRE_BYTES = 2, WIRE_FOUR = 5 };

typedef struct field {
    uint64_t number; /* which field */
    int wire;
    uint64_t value;       /* of numbers, and the bits of four or eight bytes */
    const uint8_t *bytes; /* [value] */
} field;

/* Bytes of a piece with a text of one byte: bounds the memory by the size of the file. */
enum { SMALLEST_PIECE = 3 };

enum { TYPE_BPE = 2 };

static pb_status damaged(const reader *r, const char *what)
{
    return PB_FAIL(PB_ERR_FORMAT, "%s at byte %td; fetch the file again", what, r->at - r->begin);
}

/* Seven bits a byte, low ones first; the top bit says that more follow. */
static pb_status read_number(reader *r, uint64_t *out)
{
    uint64_t value = 0;

    for (int shift = 0; shift < 64; shift += 7) {
        if (r->at == r->end) {
            return damaged(r, "the file ends inside a number");
        }
        uint8_t byte = *r->at++;
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            *out = value;
            return PB_OK;
        }
    }
    return damaged(r, "a number of more than ten bytes");
}

static pb_status read_fixed(reader *r, int size, uint64_t *out)
{
    if (r->end - r->at < size) {
        return damaged(r, "the file ends inside a field");
    }
    *out = 0;
    for (int i = 0; i < size; i++) {
        *out |= (uint64_t)*r->at++ << 8 * i;
    }
    return PB_OK;
}

/* The next field; only called when the message is not at its end. */
static pb_status read_field(reader *r, field *out)
{
    uint64_t tag = 0;

    PB_TRY(read_number(r, &tag));
    *out = (field){.number = tag >> 3, .wire = (int)(tag & 7)};
    switch (out->wire) {
    case WIRE_NUMBER:
        return read_number(r, &out->value);
    case WIRE_EIGHT:
        return read_fixed(r, 8, &out->value);
    case WIRE_FOUR:
        return read_fixed(r, 4, &out->value);
    case WIRE_BYTES:
        PB_TRY(read_number(r, &out->value));
        if (out->value > (uint64_t)(r->end - r->at)) {
            return damaged(r, "a field that is longer than the rest of the file");
        }
        out->bytes = r->at;
        r->at += out->value;
        return PB_OK;
    default:
        return damaged(r, "a field of unknown type");
    }
}

/* A reader of the message that a field holds. */
static pb_status open_message(const reader *r, const field *f, reader *out)
{
    if (f->wire != WIRE_BYTES) {
        return damaged(r, "a message is expected, found a number");
    }
    *out = (reader){r->begin, f->bytes, f->bytes + f->value};
    return PB_OK;
}

static pb_status check_piece(const reader *r, const text_piece *piece, size_t index)
{
    if (piece->length == 0 || piece->length > PIECE_LIMIT ||
        !pb_utf8_is_valid(piece->text, piece->length, NULL) ||
        memchr(piece->text, '\0', piece->length) != NULL) {
        return PB_FAIL(PB_ERR_FORMAT,
                       "piece %zu: a text of 1 to %d bytes of UTF-8 is expected (before byte %td); "
                       "fetch the file again",
                       index, PIECE_LIMIT, r->at - r->begin);
    }
    if (!isfinite(piece->score)) {
        return PB_FAIL(PB_ERR_FORMAT, "piece %zu: its score is not finite; fetch the file again",
                       index);
    }
    if (piece->type < PIECE_NORMAL || piece->type > PIECE_BYTE) {
        return PB_FAIL(PB_ERR_FORMAT, "piece %zu: its type %d is not known; fetch the file again",
                       index, (int)piece->type);
    }
    if (piece->type == PIECE_UNUSED) {
        return PB_FAIL(PB_ERR_UNSUPPORTED,
                       "piece %zu: pieces of the type UNUSED are not supported; use the "
                       "tokenizer.json of this model",
                       index);
    }
    return PB_OK;
}

static pb_status read_piece(const reader *outer, const field *f, size_t index, text_piece *out)
{
    reader r = {0};

    *out = (text_piece){.type = PIECE_NORMAL};
    PB_TRY(open_message(outer, f, &r));
    while (r.at < r.end) {
        field part = {0};
        PB_TRY(read_field(&r, &part));
        if (part.number == 1 && part.wire == WIRE_BYTES) {
            out->text   = (const char *)part.bytes;
            out->length = (size_t)part.value;
        } else if (part.number == 2 && part.wire == WIRE_FOUR) {
            uint32_t bits = (uint32_t)part.value;
            memcpy(&out->score, &bits, sizeof bits);
        } else if (part.number == 3 && part.wire == WIRE_NUMBER) {
            out->type = part.value > PIECE_BYTE ? 0 : (piece_type)part.value;
        }
    }
    return check_piece(&r, out, index);
}

static pb_status refuse_type(uint64_t type)
{
    static const char *const names[] = {"?", "Unigram", "BPE", "Word", "Char"};

    return PB_FAIL(PB_ERR_UNSUPPORTED,
                   "trainer_spec.model_type: %s (%" PRIu64
                   ") is not supported, only BPE is; choose "
                   "a model whose tokenizer is BPE",
                   names[type < sizeof names / sizeof *names ? type : 0], type);
}

static pb_status read_trainer(const reader *outer, const field *f, uint64_t *type,
                              sentencepiece *out)
{
    reader r = {0};

    PB_TRY(open_message(outer, f, &r));
    while (r.at < r.end) {
        field part = {0};
        PB_TRY(read_field(&r, &part));
        if (part.wire != WIRE_NUMBER) {
            continue;
        }
        if (part.number == 3) {
            *type = part.value;
        } else if (part.number == 24 && part.value != 0) {
            return PB_FAIL(PB_ERR_UNSUPPORTED,
                           "trainer_spec.treat_whitespace_as_suffix is not supported; use the "
                           "tokenizer.json of this model");
        } else if (part.number == 35) {
            out->byte_fallback = part.value != 0;
        }
    }
    return PB_OK;
}

/* `place` names the specification. Without rules nothing is normalised but spaces. */
static pb_status read_normalizer(const reader *outer, const field *f, const char *place,
                                 sentencepiece *out)
{
    reader r         = {0};
    field name       = {0};
    uint64_t charmap = 0;

    PB_TRY(open_message(outer, f, &r));
    while (r.at < r.end) {
        field part = {0};
        PB_TRY(read_field(&r, &part));
        if (part.number == 1 && part.wire == WIRE_BYTES) {
            name = part;
        } else if (part.number == 2 && part.wire == WIRE_BYTES) {
            charmap = part.value;
        } else if (part.number == 3 && part.wire == WIRE_NUMBER) {
            out->dummy_prefix = part.value != 0;
        } else if (part.number == 4 && part.wire == WIRE_NUMBER) {
            out->remove_spaces = part.value != 0;
        } else if (part.number == 5 && part.wire == WIRE_NUMBER && part.value == 0) {
            return PB_FAIL(PB_ERR_UNSUPPORTED,
                           "%s.escape_whitespaces = false is not supported; use the "
                           "tokenizer.json of this model",
                           place);
        }
    }
    if (charmap > 0) {
        return PB_FAIL(PB_ERR_UNSUPPORTED,
                       "%s: the rules \"%.*s\" are not supported, only \"identity\" is; use the "
                       "tokenizer.json of this model",
                       place, name.bytes == NULL || name.value > 60 ? 0 : (int)name.value,
                       name.bytes == NULL ? "" : (const char *)name.bytes);
    }
    return PB_OK;
}

static pb_status read_fields(reader *r, size_t room, uint64_t *type, sentencepiece *out)
{
    sentencepiece ignored = {0};

    while (r->at < r->end) {
        field f = {0};
        PB_TRY(read_field(r, &f));
        if (f.number == 1 && out->count < room) {
            PB_TRY(read_piece(r, &f, out->count, &out->pieces[out->count]));
            if (out->pieces[out->count].type == PIECE_UNKNOWN) {
                out->unknown = out->count;
            }
            out->count++;
        } else if (f.number == 2) {
            PB_TRY(read_trainer(r, &f, type, out));
        } else if (f.number == 3) {
            PB_TRY(read_normalizer(r, &f, "normalizer_spec", out));
        } else if (f.number == 5) {
            PB_TRY(read_normalizer(r, &f, "denormalizer_spec", &ignored));
        }
    }
    return PB_OK;
}

static pb_status count_pieces(reader r, size_t *out)
{
    *out = 0;
    while (r.at < r.end) {
        field f = {0};
        PB_TRY(read_field(&r, &f));
        if (f.number == 1 && f.value < SMALLEST_PIECE) {
            return damaged(&r, "a piece without text");
        }
        *out += f.number == 1;
    }
    return PB_OK;
}

pb_status sentencepiece_parse(const char *bytes, size_t length, sentencepiece *out)
{
    const uint8_t *begin = (const uint8_t *)bytes;
    reader r             = {begin, begin, begin + length};
    uint64_t type        = 1; /* Unigram, when the file does not say */
    size_t room          = 0;
    pb_status status     = PB_OK;

    *out = (sentencepiece){.unknown = SIZE_MAX, .dummy_prefix = true, .remove_spaces = true};
    PB_TRY(count_pieces(r, &room));
    if (room == 0) {
        return PB_FAIL(PB_ERR_FORMAT, "it holds no pieces; fetch the file again");
    }
    PB_TRY(PB_ALLOC(out->pieces, room));
    PB_TRY_GOTO(status, read_fields(&r, room, &type, out), err_clear);
    if (type != TYPE_BPE) {
        status = refuse_type(type);
        goto err_clear;
    }
    if (out->unknown == SIZE_MAX) {
        status = PB_FAIL(PB_ERR_FORMAT, "it holds no piece of type UNKNOWN; fetch the file again");
        goto err_clear;
    }
    return PB_OK;

err_clear:
    sentencepiece_clear(out);
    return status;
}

void sentencepiece_clear(sentencepiece *sp)
{
    pb_memory_free(sp->pieces);
    *sp = (sentencepiece){0};
}
