// SPDX-License-Identifier: Apache-2.0
/* Requirements for every registered process group, whatever its size: the same checks over each
 * table in turn. Every assertion holds on all ranks or on none, so no rank waits alone. */
#include "pb/comm.h"
#include "pb/memory.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static pb_comm *comm;
static size_t bytes_before;

static int open_group(void **state)
{
    (void)state;
    bytes_before = pb_memory_current();
    return pb_comm_open(NULL, NULL, &comm) != PB_OK;
}

static int close_group(void **state)
{
    (void)state;
    pb_comm_close(comm);
    pb_comm_close(NULL);
    return pb_memory_current() != bytes_before;
}

static void it_has_the_name_it_was_asked_for_by(void **state)
{
    (void)state;
    assert_string_equal(pb_comm_name(comm), getenv("PB_COMM"));
    assert_non_null(pb_comm_library(comm));
}

static void ranks_lie_within_the_sizes(void **state)
{
    (void)state;
    assert_true(pb_comm_rank(comm) >= 0 && pb_comm_rank(comm) < pb_comm_size(comm));
    assert_true(pb_comm_node_rank(comm) >= 0 && pb_comm_node_rank(comm) < pb_comm_node_size(comm));
    assert_true(pb_comm_node_size(comm) <= pb_comm_size(comm));
    assert_in_range(pb_comm_node_first(comm), 0, pb_comm_rank(comm));
    assert_int_equal(pb_comm_node_first(comm) == pb_comm_rank(comm), pb_comm_node_rank(comm) == 0);
}

static void a_broadcast_carries_the_bytes_of_its_root(void **state)
{
    (void)state;
    for (int root = 0; root < pb_comm_size(comm); root++) {
        char text[32] = "";
        if (pb_comm_rank(comm) == root) {
            (void)snprintf(text, sizeof text, "from %d", root);
        }
        assert_int_equal(pb_comm_broadcast(comm, text, sizeof text, root), PB_OK);
        assert_int_equal(atoi(text + 5), root);
        assert_int_equal(strncmp(text, "from ", 5), 0);
    }
    assert_int_equal(pb_comm_broadcast(comm, NULL, 0, 0), PB_OK);
}

static void arguments_that_do_not_fit_are_refused(void **state)
{
    int64_t value          = 0;
    pb_comm_window *window = NULL;

    (void)state;
    assert_int_equal(pb_comm_broadcast(comm, &value, 8, -1), PB_ERR_ARGUMENT);
    assert_int_equal(pb_comm_broadcast(comm, &value, 8, pb_comm_size(comm)), PB_ERR_ARGUMENT);
    assert_int_equal(pb_comm_reduce_max(comm, &value, -1), PB_ERR_ARGUMENT);
    assert_int_equal(pb_comm_reduce_sum(comm, &value, -1), PB_ERR_ARGUMENT);
    int from = 0;
    assert_int_equal(pb_comm_send(comm, -1, &value, 8), PB_ERR_ARGUMENT);
    assert_int_equal(pb_comm_send(comm, pb_comm_size(comm), &value, 8), PB_ERR_ARGUMENT);
    assert_int_equal(pb_comm_post(comm, -1, &(pb_comm_letter){&value, NULL, 8, 0}),
                     PB_ERR_ARGUMENT);
    assert_int_equal(pb_comm_send(comm, 0, &value, 0), PB_ERR_ARGUMENT);
    assert_int_equal(pb_comm_send(comm, 0, &value, PB_COMM_MESSAGE_BYTES + 1), PB_ERR_ARGUMENT);
    assert_int_equal(pb_comm_receive(comm, &value, 0, &from), PB_ERR_ARGUMENT);
    assert_int_equal(from, -1);
    assert_int_equal(pb_comm_window_create(comm, SIZE_MAX, &window), PB_ERR_ARGUMENT);
    assert_null(window);
}

static void reductions_are_over_all_ranks(void **state)
{
    int64_t rank      = pb_comm_rank(comm);
    int64_t size      = pb_comm_size(comm);
    int64_t most[3]   = {rank, -rank, INT64_MIN + rank};
    int64_t totals[2] = {rank, INT64_C(1) << 40};

    (void)state;
    assert_int_equal(pb_comm_reduce_max(comm, most, 3), PB_OK);
    assert_int_equal(most[0], size - 1);
    assert_int_equal(most[1], 0);
    assert_true(most[2] == INT64_MIN + size - 1);
    assert_int_equal(pb_comm_reduce_sum(comm, totals, 2), PB_OK);
    assert_int_equal(totals[0], size * (size - 1) / 2);
    assert_true(totals[1] == size << 40);
    assert_int_equal(pb_comm_reduce_sum(comm, totals, 0), PB_OK);
}

static void agreement_on_success_is_success(void **state)
{
    (void)state;
    pb_error_clear();
    assert_int_equal(pb_comm_agree(comm, PB_OK), PB_OK);
    assert_string_equal(pb_error_message(), "");
}

static void agreement_on_a_failure_is_that_failure_with_its_message(void **state)
{
    char expected[64] = "cause 42";

    (void)state;
    if (pb_comm_rank(comm) > 0) {
        (void)snprintf(expected, sizeof expected, "rank 0: cause 42");
    }
    pb_status own = pb_comm_rank(comm) == 0 ? PB_FAIL(PB_ERR_NUMERIC, "cause %d", 42) : PB_OK;
    assert_int_equal(pb_comm_agree(comm, own), PB_ERR_NUMERIC);
    assert_string_equal(pb_error_message(), expected);
    assert_int_equal(pb_comm_agree(comm, PB_STOPPED), PB_STOPPED);
}

/* Waits for a message, which every implementation delivers while both sides make calls. */
static int receive(void *bytes, size_t size)
{
    int from = -1;

    while (from < 0) {
        assert_int_equal(pb_comm_receive(comm, bytes, size, &from), PB_OK);
    }
    return from;
}

/* Every rank to every rank, including itself; messages of one sender arrive in order. */
static void messages_arrive_once_and_in_the_order_of_their_sender(void **state)
{
    enum { EACH = 20 };
    int size          = pb_comm_size(comm);
    int64_t *expected = calloc((size_t)size, sizeof *expected);
    int64_t words[3]  = {pb_comm_rank(comm), 0, -7};
    int from          = 0;

    (void)state;
    for (words[1] = 0; words[1] < EACH; words[1]++) {
        for (int to = 0; to < size; to++) {
            assert_int_equal(pb_comm_send(comm, to, words, sizeof words), PB_OK);
        }
    }
    for (int i = 0; i < EACH * size; i++) {
        from = receive(words, sizeof words);
        assert_int_equal(words[0], from);
        assert_int_equal(words[1], expected[from]);
        assert_int_equal(words[2], -7);
        expected[from]++;
    }
    assert_int_equal(pb_comm_receive(comm, words, sizeof words, &from), PB_OK);
    assert_int_equal(from, -1);
    free(expected);
    assert_int_equal(pb_comm_barrier(comm), PB_OK);
}

static void messages_have_any_size_up_to_the_largest(void **state)
{
    unsigned char sent[PB_COMM_MESSAGE_BYTES], got[PB_COMM_MESSAGE_BYTES];
    const size_t sizes[] = {1, 7, 64, PB_COMM_MESSAGE_BYTES};

    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        memset(sent, (int)i + 1, sizeof sent);
        assert_int_equal(pb_comm_send(comm, pb_comm_rank(comm), sent, sizes[i]), PB_OK);
        memset(sent, 0, sizeof sent); /* the bytes were copied */
        memset(got, 0, sizeof got);
        assert_int_equal(receive(got, sizes[i]), pb_comm_rank(comm));
        assert_int_equal(got[0], i + 1);
        assert_int_equal(got[sizes[i] - 1], i + 1);
    }
}

/* Every rank to every rank, of sizes from none to more than travels at once, among messages. */
static void letters_arrive_whole_and_in_the_order_of_their_sender(void **state)
{
    static const size_t sizes[] = {0, 1, 55, 56, 57, 64, 1000003};
    enum { EACH = sizeof sizes / sizeof sizes[0] };
    int size            = pb_comm_size(comm);
    int64_t *expected   = calloc((size_t)size, sizeof *expected);
    int64_t head[2]     = {pb_comm_rank(comm), 0};
    unsigned char word  = 3;
    unsigned char *body = malloc(sizes[EACH - 1]);

    (void)state;
    for (size_t i = 0; i < EACH; i++) {
        head[1] = (int64_t)i;
        memset(body, 17 * (int)i + pb_comm_rank(comm), sizes[EACH - 1]);
        for (int to = 0; to < size; to++) {
            const pb_comm_letter letter = {head, body, sizeof head, sizes[i]};
            assert_int_equal(pb_comm_post(comm, to, &letter), PB_OK);
        }
    }
    assert_int_equal(pb_comm_send(comm, pb_comm_rank(comm), &word, 1), PB_OK);
    memset(body, 0, sizes[EACH - 1]); /* the bytes were copied */
    for (int i = 0; i < EACH * size;) {
        void *bytes   = NULL;
        size_t length = 0;
        int from      = -1;
        assert_int_equal(pb_comm_fetch(comm, &bytes, &length, &from), PB_OK);
        if (bytes == NULL) {
            assert_int_equal(from, -1);
            continue;
        }
        memcpy(head, bytes, sizeof head);
        assert_int_equal(head[0], from);
        assert_int_equal(head[1], expected[from]);
        assert_int_equal(length, sizeof head + sizes[head[1]]);
        for (size_t k = sizeof head; k < length; k++) {
            assert_int_equal(((unsigned char *)bytes)[k], (17 * head[1] + from) % 256);
        }
        pb_memory_free(bytes);
        expected[from]++;
        i++;
    }
    assert_int_equal(receive(&word, 1), pb_comm_rank(comm));
    free(expected);
    free(body);
    assert_int_equal(pb_comm_barrier(comm), PB_OK);
}

static void a_message_of_another_size_is_refused(void **state)
{
    int64_t words[2] = {0};
    int from         = -1;
    pb_status status = PB_OK;

    (void)state;
    assert_int_equal(pb_comm_send(comm, pb_comm_rank(comm), words, sizeof words[0]), PB_OK);
    while (status == PB_OK && from < 0) {
        status = pb_comm_receive(comm, words, sizeof words, &from);
    }
    assert_int_equal(status, PB_ERR_COMM);
    assert_int_equal(from, -1);
    assert_int_equal(receive(words, sizeof words[0]),
                     pb_comm_rank(comm)); /* it is still available */
}

static void a_window_is_zeroed_aligned_and_filled_by_one_rank_of_a_node(void **state)
{
    const size_t sizes[] = {0, 1, 63, 64, 100001};

    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        pb_comm_window *window = NULL;
        size_t held            = pb_memory_current();
        assert_int_equal(pb_comm_window_create(comm, sizes[i], &window), PB_OK);
        unsigned char *data = pb_comm_window_data(window);
        bool filler         = pb_comm_window_is_filler(window);
        assert_non_null(data);
        assert_int_equal((uintptr_t)data % 64, 0);
        assert_int_equal(filler, pb_comm_node_rank(comm) == 0);
        assert_true(pb_memory_current() >= held + (filler ? sizes[i] : 0));
        for (size_t at = 0; at < sizes[i]; at++) {
            assert_int_equal(data[at], 0);
        }
        assert_int_equal(pb_comm_barrier(comm), PB_OK);
        if (filler) {
            memset(data, (int)i + 1, sizes[i]);
        }
        assert_int_equal(pb_comm_barrier(comm), PB_OK);
        for (size_t at = 0; at < sizes[i]; at++) {
            assert_int_equal(data[at], i + 1);
        }
        assert_int_equal(pb_comm_barrier(comm), PB_OK);
        pb_comm_window_destroy(window);
        assert_int_equal(pb_memory_current(), held);
    }
    pb_comm_window_destroy(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_has_the_name_it_was_asked_for_by),
        cmocka_unit_test(ranks_lie_within_the_sizes),
        cmocka_unit_test(a_broadcast_carries_the_bytes_of_its_root),
        cmocka_unit_test(arguments_that_do_not_fit_are_refused),
        cmocka_unit_test(reductions_are_over_all_ranks),
        cmocka_unit_test(agreement_on_success_is_success),
        cmocka_unit_test(agreement_on_a_failure_is_that_failure_with_its_message),
        cmocka_unit_test(messages_arrive_once_and_in_the_order_of_their_sender),
        cmocka_unit_test(messages_have_any_size_up_to_the_largest),
        cmocka_unit_test(letters_arrive_whole_and_in_the_order_of_their_sender),
        cmocka_unit_test(a_message_of_another_size_is_refused),
        cmocka_unit_test(a_window_is_zeroed_aligned_and_filled_by_one_rank_of_a_node),
    };
    int failed = 0;

    for (const pb_comm_ops *const *ops = pb_comm_registry(); *ops != NULL; ops++) {
        (void)setenv("PB_COMM", (*ops)->name, 1);
        failed += cmocka_run_group_tests_name((*ops)->name, tests, open_group, close_group);
    }
    return failed;
}
