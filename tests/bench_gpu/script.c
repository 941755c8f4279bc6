// SPDX-License-Identifier: Apache-2.0
/* A script at the other end of two pipes. */
#include "script.h"

#include "pb/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

struct script {
    pid_t process; /* 0: it has ended, with this state */
    int state;
    FILE *to, *from;
    const char *python;
    char path[4096];
};

/* Does not return. */
static void become_script(const script *s, int input, int output)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    dup2(input, STDIN_FILENO);
    dup2(output, STDOUT_FILENO);
    execlp(s->python, s->python, s->path, (char *)NULL);
    fprintf(stderr, "%s: %s\n", s->python, strerror(errno));
    _exit(127);
}

static pb_status start(script *s)
{
    int there[2], back[2];
    if (pipe2(there, O_CLOEXEC) != 0) {
        return PB_FAIL(PB_ERR_IO, "no pipe: %s", strerror(errno));
    }
    if (pipe2(back, O_CLOEXEC) != 0) {
        close(there[0]);
        close(there[1]);
        return PB_FAIL(PB_ERR_IO, "no pipe: %s", strerror(errno));
    }
    s->process = fork();
    if (s->process == 0) {
        become_script(s, there[0], back[1]);
    }
    close(there[0]);
    close(back[1]);
    s->to   = fdopen(there[1], "w");
    s->from = fdopen(back[0], "r");
    return s->process > 0 && s->to != NULL && s->from != NULL
               ? PB_OK
               : PB_FAIL(PB_ERR_IO, "no process: %s", strerror(errno));
}

pb_status script_open(const bench *b, script **out)
{
    script *s         = NULL;
    const char *slash = strrchr(b->program, '/');
    PB_TRY(PB_ALLOC(s, 1));
    s->python = b->python != NULL ? b->python : "python3";
    (void)snprintf(s->path, sizeof s->path, "%.*s/bench_peer.py",
                   slash != NULL ? (int)(slash - b->program) : 1, slash != NULL ? b->program : ".");
    if (b->peer != NULL) {
        (void)snprintf(s->path, sizeof s->path, "%s", b->peer);
    }
    (void)signal(SIGPIPE, SIG_IGN); /* a script that has ended is a failed write */
    pb_status status = access(s->path, R_OK) == 0
                           ? start(s)
                           : PB_FAIL(PB_ERR_NOT_FOUND, "%s: %s; --peer names the script", s->path,
                                     strerror(errno));
    if (status != PB_OK) {
        script_close(s);
        return PB_FRAME(status);
    }
    *out = s;
    return PB_OK;
}

/* Why there is no answer, at the first time and later. */
static pb_status ended(script *s)
{
    if (s->process > 0) {
        (void)waitpid(s->process, &s->state, 0);
        s->process = 0;
    }
    bool killed = WIFSIGNALED(s->state);
    return PB_FAIL(PB_ERR_IO,
                   "%s %s ended with %s %d; it needs torch, transformers and peft, and --python "
                   "names the interpreter",
                   s->python, s->path, killed ? "signal" : "exit code",
                   killed ? WTERMSIG(s->state) : WEXITSTATUS(s->state));
}

pb_status script_ask(script *s, const pb_string *line, json_t **answer)
{
    char *text  = NULL;
    size_t room = 0;
    bool sent   = s->process > 0 && fwrite(line->data, 1, line->length, s->to) == line->length &&
                fflush(s->to) == 0;
    if (!sent || getline(&text, &room, s->from) <= 0) {
        free(text);
        return ended(s);
    }
    json_t *read      = json_loads(text, 0, NULL);
    const char *error = json_string_value(json_object_get(read, "error"));
    pb_status status  = PB_OK;
    if (read == NULL || error != NULL) {
        status = PB_FAIL(PB_ERR_IO, "%s answers: %.400s", s->path, error != NULL ? error : text);
        json_decref(read);
        read = NULL;
    }
    free(text);
    *answer = read;
    return status;
}

void script_close(script *s)
{
    if (s == NULL) {
        return;
    }
    if (s->to != NULL) {
        fclose(s->to);
    }
    if (s->from != NULL) {
        fclose(s->from);
    }
    if (s->process > 0) {
        (void)waitpid(s->process, NULL, 0);
    }
    pb_memory_free(s);
}
