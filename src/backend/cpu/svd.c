// SPDX-License-Identifier: Apache-2.0
/* See pb/svd.h. LAPACK stores a matrix column by column, so it is given aᵀ = v diag(s) uᵀ, and what
 * it calls u is our vt. */
#include "kernels.h"

#include "pb/memory.h"
#include "pb/svd.h"

#include <inttypes.h>
#include <limits.h>
#include <math.h>

#ifdef PB_HAVE_LAPACK

/* Divide and conquer; the last argument is the length of `job`, as Fortran passes it. */
extern void dgesdd_(const char *job, const int *m, const int *n, double *a, const int *lda,
                    double *s, double *u, const int *ldu, double *vt, const int *ldvt, double *work,
                    const int *lwork, int *iwork, int *info, size_t job_length);

typedef struct svd_room {
    double *a, *s, *left, *right, *work;
    int *iwork;
} svd_room;

static void room_free(svd_room *room)
{
    pb_memory_free(room->iwork);
    pb_memory_free(room->work);
    pb_memory_free(room->right);
    pb_memory_free(room->left);
    pb_memory_free(room->s);
    pb_memory_free(room->a);
}

static int call(svd_room *room, int m, int n, double *work, int work_count)
{
    int r    = m < n ? m : n;
    int info = 0;
    dgesdd_("S", &m, &n, room->a, &m, room->s, room->left, &m, room->right, &r, work, &work_count,
            room->iwork, &info, 1);
    return info;
}

/* aᵀ is m × n to LAPACK. */
static pb_status decompose(svd_room *room, int m, int n)
{
    double best = 0.0;
    int info    = call(room, m, n, &best, -1); /* asks for the size of its workspace */
    if (info == 0 && best > (double)INT_MAX) {
        return PB_FAIL(PB_ERR_UNSUPPORTED,
                       "singular values: a matrix of %d by %d needs more room than LAPACK counts",
                       n, m);
    }
    PB_TRY(PB_ALLOC(room->work, (int64_t)best));
    info = info == 0 ? call(room, m, n, room->work, (int)best) : info;
    if (info != 0) {
        return PB_FAIL(PB_ERR_NUMERIC,
                       "singular values of a matrix of %d by %d: LAPACK's dgesdd ends with %d; "
                       "look for values that are not finite",
                       n, m, info);
    }
    return PB_OK;
}

static double sign_of(const double *u, int64_t m, int64_t r, int64_t k)
{
    double largest = 0.0;
    for (int64_t i = 0; i < m; i++) {
        double value = u[i * r + k];
        largest      = fabs(value) > fabs(largest) ? value : largest;
    }
    return largest < 0.0 ? -1.0 : 1.0;
}

pb_status pb_svd(const float *a, int64_t m, int64_t n, int threads, float *u, float *vt)
{
    int64_t r        = m < n ? m : n;
    svd_room room    = {0};
    pb_status status = PB_OK;
    if (m < 1 || n < 1 || m > INT_MAX || n > INT_MAX) {
        return PB_FAIL(PB_ERR_ARGUMENT, "singular values: a matrix of %" PRId64 " by %" PRId64, m,
                       n);
    }
    PB_TRY_GOTO(status, PB_ALLOC(room.a, m * n), out_room);
    PB_TRY_GOTO(status, PB_ALLOC(room.s, r), out_room);
    PB_TRY_GOTO(status, PB_ALLOC(room.left, n * r), out_room);
    PB_TRY_GOTO(status, PB_ALLOC(room.right, r * m), out_room);
    PB_TRY_GOTO(status, PB_ALLOC(room.iwork, 8 * r), out_room);
    for (int64_t i = 0; i < m * n; i++) {
        room.a[i] = (double)a[i];
    }
    kernels_threads_each(threads);
    status = decompose(&room, (int)n, (int)m);
    kernels_threads_each(1);
    PB_TRY_GOTO(status, status, out_room);
    for (int64_t k = 0; k < r; k++) {
        double sign = sign_of(room.right, m, r, k);
        for (int64_t i = 0; i < m; i++) {
            u[i * r + k] = (float)(sign * room.right[i * r + k]);
        }
        for (int64_t j = 0; j < n; j++) {
            vt[k * n + j] = (float)(sign * room.left[k * n + j]);
        }
    }
out_room:
    room_free(&room);
    return status;
}

#else

pb_status pb_svd(const float *a, int64_t m, int64_t n, int threads, float *u, float *vt)
{
    (void)a;
    (void)threads;
    (void)u;
    (void)vt;
    return PB_FAIL(PB_ERR_UNSUPPORTED,
                   "singular values of a matrix of %" PRId64 " by %" PRId64
                   ": this build has no LAPACK; install liblapack-dev or OpenBLAS and build again",
                   m, n);
}

#endif
