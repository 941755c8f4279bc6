// SPDX-License-Identifier: Apache-2.0
/* The process group at 1, 2 and 4 processes under uneven load and with failing ranks. Each rank's
 * findings are summed over the group before they are asserted, so that no rank waits for one that
 * gave up. */
#include "pb/comm.h"
#include "pb/clock.h"
#include "pb/memory.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

extern const pb_comm_ops comm_mpi;

static pb_comm *comm;

/* The number of ranks with a true value, on all ranks. */
static int64_t ranks_that(bool say_so)
{
    int64_t count = say_so;

    assert_int_equal(pb_comm_reduce_sum(comm, &count, 1), PB_OK);
    return count;
}

static bool everywhere(bool holds)
{
    return ranks_that(holds) == pb_comm_size(comm);
}

static void pause_for(double seconds)
{
    struct timespec time = {.tv_sec = (time_t)seconds};

    time.tv_nsec = (long)((seconds - (double)time.tv_sec) * 1e9);
    (void)nanosleep(&time, NULL);
}

static void a_start_under_the_launcher_is_an_mpi_group(void **state)
{
    const char *size = getenv("OMPI_COMM_WORLD_SIZE");

    (void)state;
    assert_string_equal(pb_comm_name(comm), "mpi");
    assert_true(strlen(pb_comm_library(comm)) > 0);
    assert_null(strchr(pb_comm_library(comm), '\n'));
    if (size != NULL) {
        assert_int_equal(pb_comm_size(comm), atoi(size));
    }
}

/* Every rank requests numbers from rank 0, at its own pace; rank 0 answers and also requests some
 * itself. */
static void messages_carry_questions_and_answers_under_uneven_load(void **state)
{
    enum { EACH = 100 };
    int rank      = pb_comm_rank(comm);
    int64_t total = EACH * pb_comm_size(comm);
    int64_t next = 0, sum = 0, word = 0;
    bool fine  = true;
    int left   = EACH;
    bool asked = false;

    (void)state;
    while (fine && (left > 0 || (rank == 0 && next < total))) {
        int from = -1;
        if (!asked && left > 0) {
            word  = -1;
            fine  = pb_comm_send(comm, 0, &word, sizeof word) == PB_OK;
            asked = true;
        }
        fine = fine && pb_comm_receive(comm, &word, sizeof word, &from) == PB_OK;
        if (from >= 0 && word < 0) {
            word = next++;
            fine = fine && pb_comm_send(comm, from, &word, sizeof word) == PB_OK;
        } else if (from >= 0) {
            sum += word;
            left--;
            asked = false;
            pause_for(0.0005 * rank);
        }
    }
    assert_true(everywhere(fine));
    assert_int_equal(pb_comm_reduce_sum(comm, &sum, 1), PB_OK);
    assert_int_equal(sum, total * (total - 1) / 2);
}

/* A cell's memory is measured while messages are exchanged: they must not count. */
static void a_question_and_an_answer_take_no_memory(void **state)
{
    size_t held  = pb_memory_current();
    int64_t word = 0;
    bool fine = true, same = true;

    (void)state;
    for (int i = 0; i < 50; i++) {
        int from = -1;
        fine     = fine && pb_comm_send(comm, pb_comm_rank(comm), &word, sizeof word) == PB_OK;
        same     = same && pb_memory_current() == held;
        while (fine && from < 0) {
            fine = pb_comm_receive(comm, &word, sizeof word, &from) == PB_OK;
        }
        same = same && pb_memory_current() == held;
    }
    assert_true(everywhere(fine && same));
}

/* A send only copies: rank 0 checks its messages late, and no rank waits for it. */
static void a_send_does_not_wait_for_the_receiver(void **state)
{
    enum { EACH = 200 };
    char text[PB_COMM_MESSAGE_BYTES] = "";
    int64_t got                      = 0;
    bool fine                        = true;

    (void)state;
    for (int i = 0; pb_comm_rank(comm) > 0 && i < EACH; i++) {
        fine = fine && pb_comm_send(comm, 0, text, sizeof text) == PB_OK;
    }
    assert_int_equal(pb_comm_barrier(comm), PB_OK);
    while (pb_comm_rank(comm) == 0 && fine && got < EACH * (pb_comm_size(comm) - 1)) {
        int from = -1;
        fine     = pb_comm_receive(comm, text, sizeof text, &from) == PB_OK;
        got += from > 0;
    }
    assert_true(everywhere(fine));
    int from = 0;
    assert_int_equal(pb_comm_receive(comm, text, sizeof text, &from), PB_OK);
    assert_int_equal(from, -1);
}

static int64_t sleeps_so_far(void)
{
    struct rusage usage = {0};

    assert_int_equal(getrusage(RUSAGE_SELF, &usage), 0);
    return usage.ru_nvcsw;
}

/* The first rank at a collective sleeps: otherwise it would take processor time from the others. */
static void waiting_for_a_late_rank_is_done_asleep(void **state)
{
    bool late     = pb_comm_rank(comm) == pb_comm_size(comm) - 1;
    int64_t value = 1;

    (void)state;
    assert_int_equal(pb_comm_barrier(comm), PB_OK);
    for (int i = 0; i < 2; i++) {
        int64_t before = sleeps_so_far();
        if (late) {
            pause_for(0.5);
        }
        assert_int_equal(i == 0 ? pb_comm_barrier(comm) : pb_comm_reduce_max(comm, &value, 1),
                         PB_OK);
        assert_true(everywhere(late || sleeps_so_far() >= before + 10));
    }
}

static void what_the_filler_writes_all_ranks_of_the_node_see(void **state)
{
    enum { WORDS = 1 << 20 };
    pb_comm_window *window = NULL;
    size_t held            = pb_memory_current();
    int64_t wrong          = 0;

    (void)state;
    assert_int_equal(pb_comm_window_create(comm, WORDS * sizeof(uint64_t), &window), PB_OK);
    uint64_t *words = pb_comm_window_data(window);
    bool filler     = pb_comm_window_is_filler(window);
    assert_int_equal(ranks_that(filler), ranks_that(pb_comm_node_rank(comm) == 0));
    for (uint64_t round = 1; round <= 3; round++) {
        for (uint64_t i = 0; filler && i < WORDS; i++) {
            words[i] = i * round;
        }
        assert_int_equal(pb_comm_barrier(comm), PB_OK);
        for (uint64_t i = 0; i < WORDS; i++) {
            wrong += words[i] != i * round;
        }
        assert_int_equal(pb_comm_barrier(comm), PB_OK);
    }
    assert_true(everywhere(wrong == 0));
    /* The bytes are counted once per node. */
    int64_t counted = (int64_t)(pb_memory_current() - held) / (int64_t)(WORDS * sizeof(uint64_t));
    assert_int_equal(counted, filler);
    pb_comm_window_destroy(window);
    assert_true(everywhere(pb_memory_current() == held));
}

static void one_failing_rank_is_known_everywhere_with_its_message(void **state)
{
    (void)state;
    for (int failing = 0; failing < pb_comm_size(comm); failing++) {
        char expected[64] = "disk 3 is full";
        bool me           = pb_comm_rank(comm) == failing;
        if (!me) {
            (void)snprintf(expected, sizeof expected, "rank %d: disk 3 is full", failing);
        }
        pb_status own    = me ? PB_FAIL(PB_ERR_IO, "disk %d is full", 3) : PB_OK;
        pb_status agreed = pb_comm_agree(comm, own);
        assert_true(everywhere(agreed == PB_ERR_IO));
        assert_true(everywhere(strcmp(pb_error_message(), expected) == 0));
        pb_error_clear();
        assert_int_equal(pb_comm_agree(comm, PB_OK), PB_OK);
    }
}

static void of_several_failures_the_lowest_rank_is_heard(void **state)
{
    int size = pb_comm_size(comm);
    int rank = pb_comm_rank(comm);
    /* Every rank except the first fails, each in its own way; alone, rank 0 does. */
    int lowest    = size > 1 ? 1 : 0;
    pb_status own = PB_OK;

    (void)state;
    if (rank >= lowest) {
        own = PB_FAIL(rank == lowest ? PB_ERR_ARGUMENT : PB_ERR_INTERNAL, "failure of %d", rank);
    }
    pb_status agreed = pb_comm_agree(comm, own);
    assert_true(everywhere(agreed == PB_ERR_ARGUMENT));
    bool named = rank == lowest ? strcmp(pb_error_message(), "failure of 1") == 0 || size == 1
                                : strcmp(pb_error_message(), "rank 1: failure of 1") == 0;
    assert_true(everywhere(named));
}

static void an_error_outweighs_an_early_stop_of_a_lower_rank(void **state)
{
    int last = pb_comm_size(comm) - 1;
    bool me  = pb_comm_rank(comm) == last;

    (void)state;
    pb_status own    = me ? PB_FAIL(PB_ERR_IO, "cannot write") : PB_STOPPED;
    pb_status agreed = pb_comm_agree(comm, own);
    assert_true(everywhere(agreed == PB_ERR_IO));
    agreed = pb_comm_agree(comm, me ? PB_STOPPED : PB_OK);
    assert_true(everywhere(agreed == PB_STOPPED));
}

static void a_reached_memory_limit_on_one_rank_fails_all_without_a_hang(void **state)
{
    pb_comm_window *window = NULL;
    size_t held            = pb_memory_current();

    (void)state;
    if (pb_comm_rank(comm) == pb_comm_size(comm) - 1) {
        pb_memory_limit(held);
    }
    pb_status status = pb_comm_window_create(comm, 1000, &window);
    pb_memory_limit(0);
    assert_true(everywhere(status == PB_ERR_MEMORY && window == NULL));
    assert_true(everywhere(pb_memory_current() == held));
}

static void a_failing_call_is_named_with_the_librarys_text(void **state)
{
    int64_t value = 0;

    (void)state;
    /* Bypasses the front, which would refuse the root itself. */
    pb_status status = comm_mpi.broadcast(comm, &value, sizeof value, 1000);
    assert_true(everywhere(status == PB_ERR_COMM));
    assert_non_null(strstr(pb_error_message(), "MPI_Bcast failed: "));
    assert_true(strlen(pb_error_message()) > strlen("MPI_Bcast failed: ") + 5);
}

/* More than any node has: detected before it is touched, and reported to all. */
static void a_window_beyond_the_nodes_memory_fails_everywhere(void **state)
{
    pb_comm_window *window = NULL;
    size_t held            = pb_memory_current();

    (void)state;
    pb_status status = pb_comm_window_create(comm, (size_t)1 << 50, &window);
    assert_true(everywhere(status == PB_ERR_MEMORY && window == NULL));
    assert_non_null(strstr(pb_error_message(), "available"));
    assert_true(everywhere(pb_memory_current() == held));
}

static void a_group_is_opened_once_per_process(void **state)
{
    pb_comm *second = NULL;
    size_t held     = pb_memory_current();

    (void)state;
    pb_status status = pb_comm_open(NULL, NULL, &second);
    assert_true(everywhere(status == PB_ERR_COMM && second == NULL));
    assert_true(everywhere(pb_memory_current() == held));
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_start_under_the_launcher_is_an_mpi_group),
        cmocka_unit_test(messages_carry_questions_and_answers_under_uneven_load),
        cmocka_unit_test(a_question_and_an_answer_take_no_memory),
        cmocka_unit_test(a_send_does_not_wait_for_the_receiver),
        cmocka_unit_test(waiting_for_a_late_rank_is_done_asleep),
        cmocka_unit_test(what_the_filler_writes_all_ranks_of_the_node_see),
        cmocka_unit_test(one_failing_rank_is_known_everywhere_with_its_message),
        cmocka_unit_test(of_several_failures_the_lowest_rank_is_heard),
        cmocka_unit_test(an_error_outweighs_an_early_stop_of_a_lower_rank),
        cmocka_unit_test(a_reached_memory_limit_on_one_rank_fails_all_without_a_hang),
        cmocka_unit_test(a_failing_call_is_named_with_the_librarys_text),
        cmocka_unit_test(a_window_beyond_the_nodes_memory_fails_everywhere),
        cmocka_unit_test(a_group_is_opened_once_per_process),
    };

    if (pb_comm_open(&argc, &argv, &comm) != PB_OK) {
        return 1;
    }
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    pb_comm_close(comm);
    return failed + (pb_memory_current() != 0);
}
