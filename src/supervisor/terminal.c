#include "supervisor/terminal.h"

#include <errno.h>
#include <unistd.h>

void terminal_init(struct terminal *t)
{
        *t = (struct terminal){.fd = -1};
        if (isatty(STDIN_FILENO) && isatty(STDOUT_FILENO) && tcgetpgrp(STDIN_FILENO) == getpgrp() &&
            tcgetattr(STDIN_FILENO, &t->saved) == 0)
                t->fd = STDIN_FILENO;
}

int terminal_enter_raw(struct terminal *t)
{
        struct termios raw = t->saved;

        if (t->fd < 0 || t->raw)
                return 0;
        cfmakeraw(&raw);
        if (tcsetattr(t->fd, TCSANOW, &raw) < 0)
                return -errno;
        t->raw = true;
        return 0;
}

void terminal_restore(struct terminal *t)
{
        if (t->raw)
                tcsetattr(t->fd, TCSADRAIN, &t->saved); /* a terminal that has gone away needs no restoring */
        t->raw = false;
}
