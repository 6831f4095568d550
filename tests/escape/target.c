/* What an attempt is told, and what it tells, as text. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "escape.h"

void target_set(struct attempt_target *t, const char *name, const char *value)
{
        const struct {
                const char *name;
                int *number;
        } numbers[] = {
                {"neighbour", &t->neighbour},
                {"supervisor", &t->supervisor},
                {"ipc_key", &t->ipc_key},
                {"tcp_port", &t->tcp_port},
        };
        const struct {
                const char *name, **text;
        } texts[] = {
                {"file", &t->file},
                {"socket_path", &t->socket_path},
                {"abstract_socket", &t->abstract_socket},
                {"queue", &t->queue},
                {"key", &t->key},
        };

        for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
                if (strcmp(name, numbers[i].name) == 0)
                        *numbers[i].number = (int)strtol(value, NULL, 10);
        for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
                if (strcmp(name, texts[i].name) == 0)
                        *texts[i].text = value;
}

void words_take(char *text, void (*take)(const char *name, const char *value))
{
        for (char *rest, *word = strtok_r(text, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
                char *value = strchr(word, '=');

                if (!value)
                        continue;
                *value++ = '\0';
                take(word, value);
        }
}

void result_line(const struct attempt_result *r, char *line, size_t size)
{
        static const char *const outcomes[] = {
                [ATTEMPT_REFUSED] = "refused",
                [ATTEMPT_CONTAINED] = "contained",
                [ATTEMPT_SUCCEEDED] = "succeeded",
                [ATTEMPT_NOT_RUN] = "not-run",
        };

        snprintf(line, size, "escape: %s %d %s\n", outcomes[r->outcome], r->error, r->detail ? r->detail : "");
}
