// SPDX-License-Identifier: Apache-2.0
/* Finding the first text that differs from rank 0's. */
#include "compare.h"

#include "pb/memory.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Sends a text from one process to the others, whose *text is empty. */
static pb_status share_text(pb_comm *comm, int root, pb_string *text)
{
    int64_t length = (int64_t)text->length;
    char *bytes    = NULL;
    pb_status status;

    PB_TRY(pb_comm_broadcast(comm, &length, sizeof length, root));
    status = PB_ALLOC(bytes, length + 1);
    PB_TRY_GOTO(status, pb_comm_agree(comm, status), out);
    if (pb_comm_rank(comm) == root && length > 0) {
        memcpy(bytes, text->data, (size_t)length);
    }
    PB_TRY_GOTO(status, pb_comm_broadcast(comm, bytes, (size_t)length, root), out);
    pb_string_clear(text);
    status = pb_comm_agree(comm, pb_string_append(text, bytes, (size_t)length));
out:
    pb_memory_free(bytes);
    return status;
}

static pb_status hash_hashes(const comparison *c, char text[PB_HASH_TEXT])
{
    size_t bytes = (size_t)c->count * sizeof *c->hashes;
    return pb_hash_bytes(bytes > 0 ? (const void *)c->hashes : "", bytes, text);
}

/* The lowest rank that differs from rank 0; -1: none. */
static pb_status find_rank(const comparison *c, int *out)
{
    int size                 = pb_comm_size(c->comm);
    char own[PB_HASH_TEXT]   = "";
    char first[PB_HASH_TEXT] = "";
    PB_TRY(pb_comm_agree(c->comm, hash_hashes(c, own)));
    memcpy(first, own, sizeof first);
    PB_TRY(pb_comm_broadcast(c->comm, first, sizeof first, 0));
    bool differs  = c->takes_part && strcmp(own, first) != 0;
    int64_t claim = differs ? size - pb_comm_rank(c->comm) : 0;
    PB_TRY(pb_comm_reduce_max(c->comm, &claim, 1));
    *out = claim > 0 ? size - (int)claim : -1;
    return PB_OK;
}

/* The first text of `rank` that is not rank 0's. */
static pb_status find_text(const comparison *c, int rank, int64_t *index)
{
    int64_t count              = c->count;
    char(*first)[PB_HASH_TEXT] = NULL;
    pb_status status;

    PB_TRY(pb_comm_broadcast(c->comm, &count, sizeof count, 0));
    status = PB_ALLOC(first, count + 1);
    PB_TRY_GOTO(status, pb_comm_agree(c->comm, status), out);
    if (pb_comm_rank(c->comm) == 0) {
        memcpy(first, c->hashes, (size_t)count * sizeof *first);
    }
    PB_TRY_GOTO(status, pb_comm_broadcast(c->comm, first, (size_t)count * sizeof *first, 0), out);
    *index = 0;
    while (*index < count && *index < c->count && strcmp(first[*index], c->hashes[*index]) == 0) {
        ++*index;
    }
    status = pb_comm_broadcast(c->comm, index, sizeof *index, rank);
out:
    pb_memory_free(first);
    return status;
}

static pb_status explain(const comparison *c, int rank, int64_t index)
{
    bool here        = pb_comm_rank(c->comm) == rank;
    char hosts[600]  = "";
    char host[256]   = "";
    char other[256]  = "";
    pb_string first  = {0};
    pb_string own    = {0};
    pb_status status = PB_OK;

    (void)gethostname(host, sizeof host - 1);
    memcpy(other, host, sizeof other);
    PB_TRY(pb_comm_broadcast(c->comm, other, sizeof other, 0));
    snprintf(hosts, sizeof hosts, "this process on host %s differs from rank 0 on host %s", host,
             other);
    if (pb_comm_rank(c->comm) == 0 && index < c->count) {
        status = c->text(c->context, index, &first);
    }
    PB_TRY_GOTO(status, pb_comm_agree(c->comm, status), out);
    PB_TRY_GOTO(status, share_text(c->comm, 0, &first), out);
    if (here && index < c->count) {
        status = c->text(c->context, index, &own);
    }
    if (here && status == PB_OK) {
        status = c->fail(own.data != NULL ? own.data : "", first.data, hosts);
    }
    status = pb_comm_agree(c->comm, status);
out:
    pb_string_clear(&first);
    pb_string_clear(&own);
    return status;
}

pb_status compare_with_first(const comparison *c)
{
    int rank      = -1;
    int64_t index = 0;

    PB_TRY(find_rank(c, &rank));
    if (rank < 0) {
        return PB_OK;
    }
    PB_TRY(find_text(c, rank, &index));
    return explain(c, rank, index);
}
