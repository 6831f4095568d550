/* The operator's terminal: raw while a guest uses it, and as it was afterwards. */
#pragma once

#include <stdbool.h>
#include <termios.h>

struct terminal {
        int fd; /* -1: standard input and output are no terminal, or it is not ours to use */
        struct termios saved;
        bool raw;
};

/* Looks whether standard input and output are one terminal this process is in the foreground of. */
void terminal_init(struct terminal *t);

/* Every key reaches the guest, also Ctrl-C. Returns 0 or a negative errno. */
int terminal_enter_raw(struct terminal *t);

/* Back to how it was. Can be called at any time, twice too. */
void terminal_restore(struct terminal *t);
