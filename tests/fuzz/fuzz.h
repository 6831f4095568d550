/*
 * What the fuzz targets share: reading an input piece by piece, and claims that end the program when they do not hold.
 *
 * A target is one file that defines LLVMFuzzerTestOneInput(). It is linked with libFuzzer (make fuzz), with replay.c
 * (make test), and with replay.c and coverage (make fuzz, at its end).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* Ends the program with the place and the claim, so that every sanitizer build takes it for a crash. */
#define MUST(claim)                                              \
        do {                                                     \
                if (!(claim))                                    \
                        must_failed(__FILE__, __LINE__, #claim); \
        } while (0)

_Noreturn void must_failed(const char *file, int line, const char *claim);

/* What is left of an input. Where it has ended, numbers are 0 and bytes are none. */
struct reader {
        const uint8_t *data;
        size_t len;
};

uint8_t read_u8(struct reader *r);
uint16_t read_u16(struct reader *r);
uint32_t read_u32(struct reader *r);
uint64_t read_u64(struct reader *r);
uint64_t read_in(struct reader *r, uint64_t min, uint64_t max); /* min..max; only max + 1 = 0 is not possible */

/* The next len bytes, or as many as there are; returns how many. */
size_t read_bytes(struct reader *r, void *buf, size_t len);

/* Cuts the last len bytes off: parameters behind a file whose format starts at the front. Fewer when there are fewer.
 */
struct reader read_tail(struct reader *r, size_t len);

/* A copy of everything that is left, with a zero behind it, for free(3); a read past that zero is one that the
 * sanitizer sees. */
char *read_text(struct reader *r);

/* Holds of every error that went up: one text of bounded length, and one of the statuses (a bit each). */
#define STATUS_BIT(s) (1U << (s))
void must_be_error(const struct err *e, int r, unsigned int statuses);

/* True while a target is at work: what it replaces by -Wl,--wrap must stay what it is for libFuzzer. */
extern bool target_runs;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
