// SPDX-License-Identifier: Apache-2.0
/* Imitates an OpenBLAS that is older than the processor, by preloading: unless OPENBLAS_CORETYPE is
 * set when it is loaded, it reports that it chose its kernels for SSE3, and every product takes
 * several times as long. A set but empty variable is an unknown name to it, as to OpenBLAS. Results
 * are those of the real library. */
#include <cblas.h>
#include <dlfcn.h>
#include <stdlib.h>

enum { TIMES_SLOWER = 5 };

char *openblas_get_corename(void);

typedef char *(*corename)(void);
typedef void (*sgemm)(enum CBLAS_ORDER, enum CBLAS_TRANSPOSE, enum CBLAS_TRANSPOSE, blasint,
                      blasint, blasint, float, const float *, blasint, const float *, blasint,
                      float, float *, blasint);

static int is_told(void)
{
    static int told = -1;
    if (told < 0) {
        const char *setting = getenv("OPENBLAS_CORETYPE");
        told                = setting != NULL && *setting != '\0';
    }
    return told;
}

__attribute__((constructor)) static void load(void)
{
    (void)is_told();
}

char *openblas_get_corename(void)
{
    static char old[] = "Prescott";
    corename real     = (corename)dlsym(RTLD_NEXT, "openblas_get_corename");
    return is_told() ? real() : old;
}

/* A product that does not read C may be repeated. */
void cblas_sgemm(enum CBLAS_ORDER order, enum CBLAS_TRANSPOSE ta, enum CBLAS_TRANSPOSE tb,
                 blasint m, blasint n, blasint k, float alpha, const float *a, blasint lda,
                 const float *b, blasint ldb, float beta, float *c, blasint ldc)
{
    sgemm real = (sgemm)dlsym(RTLD_NEXT, "cblas_sgemm");
    for (int i = 0; i < (is_told() || beta != 0.0f ? 1 : TIMES_SLOWER); i++) {
        real(order, ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
    }
}
