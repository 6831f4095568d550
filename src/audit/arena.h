/*
 * Memory that lives as long as the audit. The auditor collects facts, judges them, prints and ends: nothing is freed in
 * between, so nothing can be freed too early.
 *
 * An auditor without memory has no verdict: the arena never returns NULL, it calls the handler it was given, which does
 * not return (main() prints one line and ends with STATUS_FAILURE).
 */
#pragma once

#include <stdarg.h>
#include <stddef.h>

struct arena {
        struct arena_block *last;
        void (*exhausted)(void) __attribute__((noreturn));
};

/* Zeroed memory for size bytes, aligned for every type. */
void *arena_alloc(struct arena *a, size_t size);

/* Zeroed memory for count elements of size bytes; a product that overflows counts as exhausted. */
void *arena_array(struct arena *a, size_t count, size_t size);

/* A copy of len bytes with a zero behind it. */
char *arena_copy(struct arena *a, const void *bytes, size_t len);
char *arena_text(struct arena *a, const char *text);
char *arena_printf(struct arena *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
char *arena_vprintf(struct arena *a, const char *fmt, va_list ap) __attribute__((format(printf, 2, 0)));

/*
 * Makes room for one more element in the array *items of *count elements of size bytes, whose capacity is *room, and
 * returns it (zeroed, already counted). What was in *items before moves.
 */
void *arena_append(struct arena *a, void *items, size_t *count, size_t *room, size_t size);

/* Typed form: GROW(a, list) for a struct with members items, count and room. */
#define GROW(a, list)                                                                                \
        ((__typeof__((list)->items))arena_append((a), &(list)->items, &(list)->count, &(list)->room, \
                                                 sizeof(*(list)->items)))

void arena_free(struct arena *a);
