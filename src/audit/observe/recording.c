/* Asks another observer and writes down what it said, as a fixture. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "audit/observe/fixture.h"
#include "audit/observe/observe.h"
#include "audit/text.h"

struct recording {
        struct observer o;
        struct observer *inner;
        FILE *file;
};

static void recording_ask(struct observer *o, const char *question, struct answer *ret)
{
        struct recording *r = (struct recording *)o;
        char *copy, *rest, *line;

        r->inner->ask(r->inner, question, ret);
        fprintf(r->file, "? %s\n", text_escape(o->arena, question, strlen(question)));
        if (ret->error < 0) {
                fprintf(r->file, "! %d\n", -ret->error);
                return;
        }
        /* A number, a link; a command line, an ELF header: one line, escaped. */
        if (!memchr(ret->bytes, '\n', ret->len) || memchr(ret->bytes, '\0', ret->len)) {
                fprintf(r->file, "= %s\n", text_escape(o->arena, ret->bytes, ret->len));
                return;
        }
        copy = arena_copy(o->arena, ret->bytes, ret->len);
        for (rest = copy; (line = text_next_line(&rest));)
                fprintf(r->file, "%c%s\n", rest ? '|' : '\\', text_escape(o->arena, line, strlen(line)));
}

static void recording_forget(struct observer *o, pid_t pid)
{
        observe_forget(((struct recording *)o)->inner, pid);
}

static void recording_close(struct observer *o)
{
        struct recording *r = (struct recording *)o;

        if (fclose(r->file) == EOF)
                fprintf(stderr, "bulkhead: write the recording: %s\n", strerror(errno));
        r->inner->close(r->inner);
}

struct observer *observer_recording(struct arena *a, struct observer *inner, const char *path, struct err *e)
{
        struct recording *r = arena_alloc(a, sizeof(*r));
        int fd;

        r->o = (struct observer){
                .arena = a, .ask = recording_ask, .forget = recording_forget, .close = recording_close};
        r->inner = inner;
        /* Command lines and what else root may see of others' processes. */
        fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        r->file = fd < 0 ? NULL : fdopen(fd, "w");
        if (!r->file) {
                err_set(e, -errno, "write the recording %s", path);
                return NULL;
        }
        fprintf(r->file, FIXTURE_MAGIC "\n");
        return &r->o;
}
